//! The join phase: how a rebalance begins, how long it waits, how a generation is made.
//! KIP-134 (`group.initial.rebalance.delay.ms`).

use logrun_model::{GenerationId, Now};
use logrun_wire::ErrorCode;
use logrun_wire::messages::JoinGroupResponse;

use super::{ClassicGroup, InitialDelay, State, Timer, Turn, Write};
use crate::request::Response;

impl ClassicGroup {
    /// Begins a rebalance, or ends the one that is under way if all are here.
    pub(super) fn rebalance_or_complete_join(&mut self, turn: &mut Turn<'_>) {
        match self.state {
            State::Empty | State::CompletingRebalance | State::Stable => self.prepare_rebalance(turn),
            State::PreparingRebalance => self.maybe_complete_join(turn),
        }
    }

    pub(super) fn prepare_rebalance(&mut self, turn: &mut Turn<'_>) {
        if self.state == State::CompletingRebalance {
            self.propagate_error(turn, ErrorCode::RebalanceInProgress);
        }
        self.pending_sync.clear();
        self.timers.cancel(&Timer::Sync);
        let is_initial = self.state == State::Empty;
        self.transition(turn.now, State::PreparingRebalance);
        self.new_member_added = false;
        if is_initial {
            let delay_ms = turn.config.group_initial_rebalance_delay_ms;
            let remaining_ms = self.rebalance_timeout_ms().saturating_sub(delay_ms).max(0);
            self.initial = Some(InitialDelay { delay_ms, remaining_ms });
            self.timers.set(Timer::Join, turn.now.monotonic.plus_ms(delay_ms.into()));
        } else if self.has_all_members_joined() {
            self.complete_join(turn);
        } else {
            self.schedule_join(turn.now);
        }
    }

    fn schedule_join(&mut self, now: Now) {
        self.initial = None;
        // At least a millisecond: with a time-out of 0 the phase would end and begin again within one turn for ever.
        self.timers.set(Timer::Join, now.monotonic.plus_ms(self.rebalance_timeout_ms().max(1).into()));
    }

    /// Ends the join phase if all members are here; an empty group's first one always waits for its delay.
    pub(super) fn maybe_complete_join(&mut self, turn: &mut Turn<'_>) {
        let is_initial = self.previous == Some(State::Empty);
        if self.state == State::PreparingRebalance && !is_initial && self.has_all_members_joined() {
            self.complete_join(turn);
        }
    }

    pub(super) fn join_phase_ended(&mut self, turn: &mut Turn<'_>) {
        if let Some(InitialDelay { delay_ms, remaining_ms }) = self.initial.take()
            && self.new_member_added
            && remaining_ms != 0
        {
            self.new_member_added = false;
            let next = InitialDelay {
                delay_ms: turn.config.group_initial_rebalance_delay_ms.min(remaining_ms),
                remaining_ms: remaining_ms.saturating_sub(delay_ms).max(0),
            };
            self.initial = Some(next);
            self.timers.set(Timer::Join, turn.now.monotonic.plus_ms(next.delay_ms.into()));
            return;
        }
        self.complete_join(turn);
    }

    /// Makes the next generation of those who have joined. Dynamic members that have not are out; static ones stay,
    /// since they may be restarting. If nobody at all has joined, the phase goes on until sessions end.
    pub(super) fn complete_join(&mut self, turn: &mut Turn<'_>) {
        self.timers.cancel(&Timer::Join);
        self.initial = None;
        let absent = |m: &&super::Member| m.awaiting_join.is_none() && m.instance_id.is_none();
        let absent: Vec<_> = self.members.values().filter(absent).map(|m| m.id.clone()).collect();
        for id in &absent {
            self.remove(turn, id);
        }
        if !self.members.is_empty() && !self.elect_joined_leader() {
            self.schedule_join(turn.now);
            return;
        }
        // Kafka's counter wraps; a record that says it is at its end must not stop us.
        self.generation = GenerationId(self.generation.get().checked_add(1).unwrap_or(0));
        self.pending_sync.clear();
        if self.members.is_empty() {
            self.protocol = None;
            self.subscribed = self.subscribed_topics();
            self.transition(turn.now, State::Empty);
            let value = self.to_record(|_| Default::default());
            self.write(turn, Write::Empty, value);
            return;
        }
        self.protocol = self.select_protocol();
        self.subscribed = self.subscribed_topics();
        self.transition(turn.now, State::CompletingRebalance);
        self.answer_joins(turn);
        self.timers.set(Timer::Sync, turn.now.monotonic.plus_ms(self.rebalance_timeout_ms().into()));
    }

    fn answer_joins(&mut self, turn: &mut Turn<'_>) {
        let joined = self.joined();
        let mut members = Some(self.joined_members());
        let ids: Vec<_> = self.members.keys().cloned().collect();
        for id in ids {
            if let Some(token) = self.take_awaiting_join(&id) {
                let members = if self.is_leader(&id) { members.take().unwrap_or_default() } else { Vec::new() };
                let response = JoinGroupResponse { members, member_id: id.clone(), ..joined.clone() };
                turn.reply(token, Response::JoinGroup(response));
            }
            self.restart_session(turn.now, &id);
            if let Some(member) = self.members.get_mut(&id) {
                member.is_new = false;
            }
            self.pending_sync.insert(id);
        }
    }

    /// Makes sure that the leader is one who has joined. Whether there is one.
    fn elect_joined_leader(&mut self) -> bool {
        let joined = |m: &super::Member| m.awaiting_join.is_some();
        if self.leader.as_ref().and_then(|id| self.members.get(id)).is_some_and(joined) {
            return true;
        }
        match self.members.values().find(|m| joined(m)) {
            Some(member) => {
                self.leader = Some(member.id.clone());
                true
            }
            None => false,
        }
    }

    /// A new leader of the log has found the group: sessions begin anew. If `group.max.size` was lowered below its
    /// size, a rebalance gives members the chance to commit before some are turned away.
    pub(super) fn elected(&mut self, turn: &mut Turn<'_>) {
        let ids: Vec<_> = self.members.keys().cloned().collect();
        for id in &ids {
            self.restart_session(turn.now, id);
        }
        if self.members.len() > usize::try_from(turn.config.group_max_size).unwrap_or(0) {
            self.prepare_rebalance(turn);
        }
    }
}
