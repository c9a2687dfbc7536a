//! How members stay and go: Heartbeat, LeaveGroup (KIP-345: several at once, by instance id), ended sessions.

use logrun_model::MemberId;
use logrun_wire::ErrorCode;
use logrun_wire::messages::leave_group_request::MemberIdentity;
use logrun_wire::messages::leave_group_response::MemberResponse;
use logrun_wire::messages::{HeartbeatRequest, HeartbeatResponse, LeaveGroupRequest, LeaveGroupResponse};

use super::{ClassicGroup, State, Turn};
use crate::request::{Response, Token, member_left};

impl ClassicGroup {
    pub(super) fn heartbeat(&mut self, turn: &mut Turn<'_>, token: Token, request: &HeartbeatRequest) {
        let error = match self.validate_member(&request.member_id, request.group_instance_id.as_ref()) {
            Err(error) => error,
            Ok(()) if request.generation_id != self.generation.get() => ErrorCode::IllegalGeneration,
            Ok(()) => {
                self.restart_session(turn.now, &request.member_id);
                match self.state {
                    State::Empty => ErrorCode::UnknownMemberId,
                    State::PreparingRebalance => ErrorCode::RebalanceInProgress,
                    State::CompletingRebalance | State::Stable => ErrorCode::None,
                }
            }
        };
        let response = HeartbeatResponse { error_code: error.code(), ..Default::default() };
        turn.reply(token, Response::Heartbeat(response));
    }

    pub(super) fn leave(&mut self, turn: &mut Turn<'_>, token: Token, request: LeaveGroupRequest) {
        let members: Vec<MemberResponse> =
            request.members.into_iter().map(|identity| self.leave_one(turn, identity)).collect();
        let any_left = members.iter().any(|m| m.error_code == ErrorCode::None.code());
        let response = LeaveGroupResponse { members, ..Default::default() };
        turn.reply(token, Response::LeaveGroup(response));
        if any_left {
            match self.state {
                State::Stable | State::CompletingRebalance => self.rebalance_or_complete_join(turn),
                State::PreparingRebalance => self.maybe_complete_join(turn),
                State::Empty => {}
            }
        }
    }

    fn leave_one(&mut self, turn: &mut Turn<'_>, identity: MemberIdentity) -> MemberResponse {
        let MemberIdentity { member_id, group_instance_id, .. } = identity;
        let leaving: Result<MemberId, ErrorCode> = if member_id.is_empty() {
            // An administrator removes a static member and knows only its instance id.
            let known = group_instance_id.as_ref().and_then(|instance_id| self.static_members.get(instance_id));
            known.cloned().ok_or(ErrorCode::UnknownMemberId)
        } else if self.pending.contains(&member_id) {
            Ok(member_id.clone())
        } else {
            self.validate_member(&member_id, group_instance_id.as_ref()).map(|()| member_id.clone())
        };
        let error = match leaving {
            Ok(id) => {
                self.remove(turn, &id);
                ErrorCode::None
            }
            Err(error) => error,
        };
        member_left(member_id, group_instance_id, error)
    }

    pub(super) fn session_ended(&mut self, turn: &mut Turn<'_>, member_id: &MemberId) {
        let is_pending = self.pending.contains(member_id);
        let satisfied = self.members.get(member_id).is_none_or(|m| m.has_satisfied_heartbeat());
        if !is_pending && satisfied {
            return;
        }
        self.remove(turn, member_id);
        match self.state {
            State::PreparingRebalance if self.has_all_members_joined() => self.complete_join(turn),
            State::Stable | State::CompletingRebalance if !is_pending => {
                self.rebalance_or_complete_join(turn);
            }
            _ => {}
        }
    }
}
