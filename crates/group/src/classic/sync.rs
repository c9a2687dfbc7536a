//! SyncGroup: the leader's assignment is written before anybody learns of it. KIP-559 (protocol type and name).

use std::collections::BTreeMap;

use bytes::Bytes;
use logrun_model::{GenerationId, MemberId};
use logrun_wire::ErrorCode;
use logrun_wire::messages::{SyncGroupRequest, SyncGroupResponse};

use super::{ClassicGroup, State, Timer, Turn, Write};
use crate::request::{Response, Token};

impl ClassicGroup {
    pub(super) fn sync(&mut self, turn: &mut Turn<'_>, token: Token, request: &SyncGroupRequest) {
        if let Err(error) = self.validate_sync(request) {
            turn.refuse_sync(token, error);
            return;
        }
        match self.state {
            State::Empty => turn.refuse_sync(token, ErrorCode::UnknownMemberId),
            State::PreparingRebalance => turn.refuse_sync(token, ErrorCode::RebalanceInProgress),
            State::CompletingRebalance => {
                self.synced(&request.member_id);
                let parked = self.members.get_mut(&request.member_id).map(|m| m.awaiting_sync.replace(token));
                if let Some(Some(overtaken)) = parked {
                    turn.refuse_sync(overtaken, ErrorCode::RebalanceInProgress);
                }
                if self.is_leader(&request.member_id) {
                    self.assign(turn, request);
                }
            }
            State::Stable => {
                self.synced(&request.member_id);
                let assignment = self.members.get(&request.member_id).map(|m| m.assignment.clone());
                let response = self.synced_response(assignment.unwrap_or_default());
                turn.reply(token, Response::SyncGroup(response));
            }
        }
    }

    fn validate_sync(&self, request: &SyncGroupRequest) -> Result<(), ErrorCode> {
        self.validate_member(&request.member_id, request.group_instance_id.as_ref())?;
        if request.generation_id != self.generation.get() {
            return Err(ErrorCode::IllegalGeneration);
        }
        let differs = |asked: &Option<_>, ours: &Option<_>| asked.is_some() && ours.is_some() && asked != ours;
        if differs(&request.protocol_type, &self.protocol_type) || differs(&request.protocol_name, &self.protocol) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        Ok(())
    }

    fn synced(&mut self, member_id: &MemberId) {
        self.pending_sync.remove(member_id);
        if self.pending_sync.is_empty() {
            self.timers.cancel(&Timer::Sync);
        }
    }

    /// Writes what the leader assigned. Members that it left out get an empty assignment; others are ignored.
    fn assign(&mut self, turn: &mut Turn<'_>, request: &SyncGroupRequest) {
        let mut assignments: BTreeMap<MemberId, Bytes> =
            self.members.keys().map(|id| (id.clone(), Bytes::new())).collect();
        for given in &request.assignments {
            if let Some(assignment) = assignments.get_mut(&given.member_id) {
                *assignment = Bytes::copy_from_slice(&given.assignment);
            }
        }
        let value = self.to_record(|m| assignments.get(&m.id).cloned().unwrap_or_default());
        self.write(turn, Write::Assignment { generation: self.generation, assignments }, value);
    }

    pub(super) fn assignment_written(
        &mut self,
        turn: &mut Turn<'_>,
        generation: GenerationId,
        mut assignments: BTreeMap<MemberId, Bytes>,
        outcome: Result<(), ErrorCode>,
    ) {
        // Another rebalance may have begun meanwhile; then it has answered those who were parked.
        if self.state != State::CompletingRebalance || self.generation != generation {
            return;
        }
        if let Err(error) = outcome {
            self.propagate_error(turn, error);
            self.rebalance_or_complete_join(turn);
            return;
        }
        for member in self.members.values_mut() {
            member.assignment = assignments.remove(&member.id).unwrap_or_default();
        }
        self.transition(turn.now, State::Stable);
        for (id, token) in self.take_awaiting_sync() {
            let assignment = self.members.get(&id).map(|m| m.assignment.clone()).unwrap_or_default();
            let response = Response::SyncGroup(self.synced_response(assignment));
            turn.reply(token, response);
            self.restart_session(turn.now, &id);
        }
    }

    /// Refuses every parked sync and takes the assignments back.
    pub(super) fn propagate_error(&mut self, turn: &mut Turn<'_>, error: ErrorCode) {
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
        }
        for (id, token) in self.take_awaiting_sync() {
            turn.refuse_sync(token, error);
            self.restart_session(turn.now, &id);
        }
    }

    fn take_awaiting_sync(&mut self) -> Vec<(MemberId, Token)> {
        self.members.values_mut().filter_map(|m| Some((m.id.clone(), m.awaiting_sync.take()?))).collect()
    }

    fn synced_response(&self, assignment: Bytes) -> SyncGroupResponse {
        SyncGroupResponse {
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol.clone(),
            assignment,
            ..Default::default()
        }
    }

    /// Those who have not sent their sync in time are out, and the rest rebalances.
    pub(super) fn sync_phase_ended(&mut self, turn: &mut Turn<'_>) {
        let expected = matches!(self.state, State::CompletingRebalance | State::Stable);
        if !expected || self.pending_sync.is_empty() {
            return;
        }
        for id in std::mem::take(&mut self.pending_sync) {
            self.remove(turn, &id);
        }
        self.prepare_rebalance(turn);
    }
}
