//! [`Classic`]: membership by JoinGroup, SyncGroup and Heartbeat. Kafka's `AbstractCoordinator` and the membership half
//! of `ConsumerCoordinator`.
//!
//! ```text
//! Out ──Subscribed──▶ Unjoined ──Polled──▶ Preparing ──CalledBack──▶ Joining ──▶ (leader: Assigning ──▶) Syncing
//!  ▲                    ▲  ▲                   ▲                        │                                   │
//!  │                    │  └── refused ────────┼────────────────────────┘◀──────────────────────────────────┤
//!  │                    │                      └── Rejoin, REBALANCE_IN_PROGRESS ── Stable ◀── CalledBack ── Reconciling
//!  └── Leaving ◀── Unsubscribed               (max.poll.interval.ms without a poll: leaves; Unjoined)
//! ```
//!
//! A join begins only after a poll: an application that doesn't poll must not be given partitions.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use logrun_io::Random;
use logrun_model::{GenerationId, MemberId, Monotonic, Str, TopicPartition};
use logrun_wire::messages::join_group_request::JoinGroupRequestProtocol;
use logrun_wire::messages::leave_group_request::MemberIdentity;
use logrun_wire::messages::sync_group_request::SyncGroupRequestAssignment;
use logrun_wire::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest,
    SyncGroupResponse,
};
use logrun_wire::{EncodeError, ErrorCode};

use super::super::assignor::{MemberSubscription, PartitionAssignor, RebalanceProtocol};
use super::super::protocol::{self, PROTOCOL_TYPE};
use super::{Callback, Effect, Event, GroupMembershipOperation, Identity, Reply, Request, Settings, Wish};
use crate::error::Error;

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Wants nothing.
    Out,
    /// Wants to join, as soon as it may.
    Unjoined,
    /// The application is being told what it loses before the join.
    Preparing,
    /// JoinGroup is under way.
    Joining,
    /// The leader's assignment is being made.
    Assigning,
    /// SyncGroup is under way.
    Syncing,
    /// The application is being told what is taken, then what is new.
    Reconciling { target: BTreeSet<TopicPartition>, added: Option<BTreeSet<TopicPartition>>, rejoin: bool },
    /// Has its partitions.
    Stable,
    /// The application is being told what it loses before the member leaves.
    Leaving(GroupMembershipOperation),
    /// Another member has its `group.instance.id`: it may not come back.
    Fenced,
}

/// A member of a classic group.
#[derive(Debug)]
pub(crate) struct Classic {
    settings: Settings,
    random: Random,
    protocol: RebalanceProtocol,
    state: State,
    wish: Wish,
    joined_wish: Wish,
    member_id: MemberId,
    generation: GenerationId,
    /// The assignor that the group agreed on.
    chosen: Option<Str>,
    is_leader: bool,
    owned: BTreeSet<TopicPartition>,
    /// The last assignment, for the sticky assignors.
    last: Option<(BTreeSet<TopicPartition>, GenerationId)>,
    rejoin: Option<&'static str>,
    /// How many calls of the application are under way: nothing is decided before the last is back.
    calling: u32,
    /// Nothing is tried before this time.
    not_before: Monotonic,
    /// Nothing is tried before the application polls.
    awaits_poll: bool,
    failures: u32,
    last_poll: Monotonic,
    heartbeat_due: Monotonic,
    heartbeat_sent: bool,
    last_heard: Monotonic,
    /// The number of the request whose answer counts.
    awaited: u64,
    next_number: u64,
    /// Heartbeats sent before this number belong to a former life.
    life: u64,
}

impl Classic {
    pub fn new(settings: Settings, random: Random) -> Self {
        // All assignors must be able to follow the protocol.
        let protocol =
            settings.assignors.iter().map(|a| a.rebalance_protocol()).min().unwrap_or(RebalanceProtocol::Eager);
        Self {
            settings,
            random,
            protocol,
            state: State::Out,
            wish: Wish::default(),
            joined_wish: Wish::default(),
            member_id: MemberId::EMPTY,
            generation: GenerationId::NONE,
            chosen: None,
            is_leader: false,
            owned: BTreeSet::new(),
            last: None,
            rejoin: None,
            calling: 0,
            not_before: Monotonic::default(),
            awaits_poll: true,
            failures: 0,
            last_poll: Monotonic::default(),
            heartbeat_due: Monotonic::default(),
            heartbeat_sent: false,
            last_heard: Monotonic::default(),
            awaited: 0,
            next_number: 1,
            life: 0,
        }
    }

    pub fn identity(&self) -> Identity {
        Identity { member_id: self.member_id.clone(), generation: self.generation }
    }

    pub fn is_rebalancing(&self) -> bool {
        !matches!(self.state, State::Stable | State::Out) || self.rejoin.is_some()
    }

    pub fn is_leader(&self) -> bool {
        self.is_leader && self.state == State::Stable
    }

    /// Takes an event.
    pub fn on(&mut self, now: Monotonic, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Subscribed(wish) => {
                if matches!(self.state, State::Out | State::Leaving(_)) {
                    self.state = State::Unjoined;
                    self.awaits_poll = true;
                }
                if wish != self.joined_wish {
                    self.rejoin = Some("the subscription has changed");
                }
                self.wish = wish;
            }
            Event::Unsubscribed(operation) => self.leave(operation, effects),
            Event::Polled => {
                self.last_poll = now;
                self.awaits_poll = false;
                if self.state == State::Fenced {
                    effects.push(Effect::Fail(ErrorCode::FencedInstanceId.into()));
                }
            }
            Event::Answered(number, reply) => self.answered(now, number, reply, effects),
            Event::CalledBack => {
                self.calling = self.calling.saturating_sub(1);
                if self.calling == 0 {
                    self.called_back(now, effects);
                }
            }
            Event::AssignmentMade(assignment) => {
                if self.state == State::Assigning {
                    self.sync(assignment, effects);
                }
            }
            Event::Rejoin(reason) => {
                if !matches!(self.state, State::Out | State::Unjoined | State::Leaving(_) | State::Fenced) {
                    self.rejoin = Some(reason);
                }
            }
            Event::TopicsNamed(_) => {}
            Event::DeadlineReached => {}
        }
        self.turn(now, effects);
    }

    /// When there is something to do.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        let mut next: Option<Monotonic> = None;
        let mut at = |t: Monotonic| next = Some(next.map_or(t, |n| n.min(t)));
        if self.may_join() && !self.awaits_poll {
            at(self.not_before);
        }
        if self.is_member() {
            if !self.heartbeat_sent {
                at(self.heartbeat_due);
            }
            at(self.poll_deadline());
        }
        next
    }

    fn poll_deadline(&self) -> Monotonic {
        self.last_poll.plus_ms(self.settings.max_poll_interval_ms.into())
    }

    fn may_join(&self) -> bool {
        self.calling == 0 && (self.state == State::Unjoined || self.state == State::Stable && self.rejoin.is_some())
    }

    /// Whether the coordinator expects heartbeats.
    fn is_member(&self) -> bool {
        self.generation.is_some()
            && matches!(self.state, State::Preparing | State::Assigning | State::Reconciling { .. } | State::Stable)
    }

    /// Does what is due.
    fn turn(&mut self, now: Monotonic, effects: &mut Vec<Effect>) {
        if self.is_member() && now >= self.poll_deadline() {
            return self.poll_timed_out(effects);
        }
        if self.may_join() && !self.awaits_poll && now >= self.not_before {
            self.prepare(now, effects);
        }
        if self.is_member() && !self.heartbeat_sent && now >= self.heartbeat_due {
            self.heartbeat(now, effects);
        }
    }

    fn call(&mut self, callback: Callback, effects: &mut Vec<Effect>) {
        self.calling += 1;
        effects.push(Effect::Call(callback));
    }

    fn number(&mut self) -> u64 {
        let n = self.next_number;
        self.next_number += 1;
        n
    }

    /// The application has not polled for too long: others may have its partitions.
    fn poll_timed_out(&mut self, effects: &mut Vec<Effect>) {
        if self.settings.instance_id.is_none() {
            self.send_leave("consumer poll timeout has expired.", effects);
        }
        self.reset(true);
        self.awaits_poll = true;
        // A callback that is still running is waited for; what it was about is void.
        if matches!(self.state, State::Assigning | State::Stable) {
            self.state = State::Unjoined;
        }
    }

    /// Forgets the generation, and the member's id too if `all`.
    fn reset(&mut self, all: bool) {
        self.generation = GenerationId::NONE;
        self.is_leader = false;
        self.heartbeat_sent = false;
        self.life = self.next_number;
        self.awaited = 0;
        if all {
            self.member_id = MemberId::EMPTY;
        }
    }

    /// Before a join: the application gives up what it can't keep.
    fn prepare(&mut self, now: Monotonic, effects: &mut Vec<Effect>) {
        let given_up: BTreeSet<TopicPartition> =
            if !self.generation.is_some() || self.protocol == RebalanceProtocol::Eager {
                self.owned.clone()
            } else {
                self.owned.iter().filter(|tp| !self.wish.topics.contains(&tp.topic)).cloned().collect()
            };
        self.owned.retain(|tp| !given_up.contains(tp));
        self.state = State::Preparing;
        if given_up.is_empty() {
            return self.join(now, effects);
        }
        let callback = if self.generation.is_some() { Callback::Revoked(given_up) } else { Callback::Lost(given_up) };
        self.call(callback, effects);
    }

    fn subscription(&self, assignor: &Arc<dyn PartitionAssignor>) -> MemberSubscription {
        let last = self.last.as_ref().map(|(partitions, generation)| (partitions, *generation));
        MemberSubscription {
            topics: self.wish.topics.iter().cloned().collect(),
            user_data: assignor.user_data(last),
            owned_partitions: self.owned.iter().cloned().collect(),
            generation_id: self.last.as_ref().map_or(GenerationId::NONE, |(_, g)| *g),
            rack_id: self.settings.rack_id.clone(),
            group_instance_id: None,
        }
    }

    fn join(&mut self, now: Monotonic, effects: &mut Vec<Effect>) {
        let protocols: Result<Vec<_>, EncodeError> = self
            .settings
            .assignors
            .iter()
            .map(|a| {
                let metadata = protocol::write_subscription(&self.subscription(a))?;
                Ok(JoinGroupRequestProtocol { name: a.name().into(), metadata, ..Default::default() })
            })
            .collect();
        let protocols = match protocols {
            Ok(p) => p,
            Err(e) => return self.fail(now, e.into(), effects),
        };
        let reason = self.rejoin.take().unwrap_or_default();
        self.joined_wish = self.wish.clone();
        self.state = State::Joining;
        self.awaited = self.number();
        effects.push(Effect::Send(
            self.awaited,
            Request::Join(JoinGroupRequest {
                group_id: self.settings.group_id.clone(),
                session_timeout_ms: self.settings.session_timeout_ms,
                rebalance_timeout_ms: self.settings.max_poll_interval_ms,
                member_id: self.member_id.clone(),
                group_instance_id: self.settings.instance_id.clone(),
                protocol_type: PROTOCOL_TYPE,
                protocols,
                reason: Some(Str::from_static(reason)),
                ..Default::default()
            }),
        ));
    }

    fn answered(&mut self, now: Monotonic, number: u64, reply: Reply, effects: &mut Vec<Effect>) {
        match reply {
            Reply::Heartbeat(result) => {
                if number >= self.life {
                    self.heartbeat_answered(now, result, effects);
                }
            }
            _ if number != self.awaited => {}
            Reply::Join(result) => self.join_answered(now, result, effects),
            Reply::Sync(result) => self.sync_answered(now, result, effects),
            Reply::ConsumerHeartbeat(_) => {}
        }
    }

    fn join_answered(&mut self, now: Monotonic, result: Result<JoinGroupResponse, Error>, effects: &mut Vec<Effect>) {
        let response = match result.and_then(|r| {
            if r.error_code == ErrorCode::MemberIdRequired.code() {
                self.member_id = r.member_id.detached();
            }
            crate::check(r.error_code, None).map(|()| r)
        }) {
            Ok(r) => r,
            Err(e) => return self.refused(now, e, effects),
        };
        self.member_id = response.member_id.detached();
        self.generation = GenerationId(response.generation_id);
        self.life = self.next_number;
        self.heartbeat_sent = false;
        self.last_heard = now;
        self.heartbeat_due = now.plus_ms(self.settings.heartbeat_interval_ms.into());
        self.chosen = response.protocol_name.as_ref().map(Str::detached);
        self.is_leader = response.leader == response.member_id;
        if !self.is_leader || response.skip_assignment {
            return self.sync(Vec::new(), effects);
        }
        let mut members = Vec::with_capacity(response.members.len());
        for m in &response.members {
            match protocol::read_subscription(&m.metadata) {
                Ok(mut s) => {
                    s.group_instance_id = m.group_instance_id.clone();
                    members.push((m.member_id.clone(), s));
                }
                Err(e) => return self.fail(now, e.into(), effects),
            }
        }
        self.state = State::Assigning;
        let protocol = self.chosen.clone().unwrap_or_default();
        effects.push(Effect::MakeAssignment { protocol, members });
    }

    fn sync(&mut self, assignment: Vec<(MemberId, Vec<TopicPartition>)>, effects: &mut Vec<Effect>) {
        let mut assignments = Vec::with_capacity(assignment.len());
        for (member_id, partitions) in assignment {
            match protocol::write_assignment(&partitions) {
                Ok(assignment) => {
                    assignments.push(SyncGroupRequestAssignment { member_id, assignment, ..Default::default() });
                }
                Err(e) => effects.push(Effect::Fail(e.into())),
            }
        }
        self.state = State::Syncing;
        self.awaited = self.number();
        effects.push(Effect::Send(
            self.awaited,
            Request::Sync(SyncGroupRequest {
                group_id: self.settings.group_id.clone(),
                generation_id: self.generation.get(),
                member_id: self.member_id.clone(),
                group_instance_id: self.settings.instance_id.clone(),
                protocol_type: Some(PROTOCOL_TYPE),
                protocol_name: self.chosen.clone(),
                assignments,
                ..Default::default()
            }),
        ));
    }

    fn sync_answered(&mut self, now: Monotonic, result: Result<SyncGroupResponse, Error>, effects: &mut Vec<Effect>) {
        let target = result.and_then(|r| {
            crate::check(r.error_code, None)?;
            Ok(protocol::read_assignment(&r.assignment)?)
        });
        let target: BTreeSet<TopicPartition> = match target {
            Ok(t) => t.into_iter().map(|tp| TopicPartition { topic: tp.topic.detached(), ..tp }).collect(),
            Err(e) => return self.refused(now, e, effects),
        };
        self.failures = 0;
        self.last_heard = now;
        if target.iter().any(|tp| !self.joined_wish.topics.contains(&tp.topic)) {
            // The leader has made it from a subscription that is no longer ours.
            self.state = State::Stable;
            self.rejoin = Some("the assignment does not match the subscription");
            return;
        }
        self.last = Some((target.clone(), self.generation));
        let revoked: BTreeSet<_> = self.owned.difference(&target).cloned().collect();
        self.owned.retain(|tp| target.contains(tp));
        let rejoin = !revoked.is_empty();
        self.state = State::Reconciling { target, added: None, rejoin };
        if rejoin {
            self.call(Callback::Revoked(revoked), effects);
        } else {
            self.called_back(now, effects);
        }
    }

    fn called_back(&mut self, now: Monotonic, effects: &mut Vec<Effect>) {
        match std::mem::replace(&mut self.state, State::Unjoined) {
            State::Preparing => {
                effects.push(Effect::Has(self.owned.clone()));
                if self.generation.is_some() || !self.awaits_poll {
                    self.join(now, effects);
                }
            }
            State::Reconciling { target, added: None, rejoin } => {
                if !self.generation.is_some() {
                    // Meanwhile the member is none any more; what it kept is lost.
                    return;
                }
                let added: BTreeSet<_> = target.difference(&self.owned).cloned().collect();
                self.owned = target.clone();
                effects.push(Effect::Has(target.clone()));
                self.call(Callback::Assigned(added.clone()), effects);
                self.state = State::Reconciling { target, added: Some(added), rejoin };
            }
            State::Reconciling { rejoin, .. } => {
                if self.generation.is_some() {
                    self.state = State::Stable;
                }
                if rejoin {
                    self.rejoin = Some("need to revoke partitions and re-join");
                }
            }
            State::Leaving(operation) => self.left(operation, effects),
            // Nobody was called.
            other => self.state = other,
        }
    }

    fn heartbeat(&mut self, now: Monotonic, effects: &mut Vec<Effect>) {
        let session = Duration::from_millis(u64::try_from(self.settings.session_timeout_ms).unwrap_or(0));
        if now.since(self.last_heard) > session {
            // Nothing was heard for so long that another node may be the coordinator.
            effects.push(Effect::ForgetCoordinator);
        }
        self.heartbeat_sent = true;
        let number = self.number();
        effects.push(Effect::Send(
            number,
            Request::Heartbeat(HeartbeatRequest {
                group_id: self.settings.group_id.clone(),
                generation_id: self.generation.get(),
                member_id: self.member_id.clone(),
                group_instance_id: self.settings.instance_id.clone(),
                ..Default::default()
            }),
        ));
    }

    fn heartbeat_answered(
        &mut self,
        now: Monotonic,
        result: Result<HeartbeatResponse, Error>,
        effects: &mut Vec<Effect>,
    ) {
        self.heartbeat_sent = false;
        self.heartbeat_due = now.plus_ms(self.settings.heartbeat_interval_ms.into());
        let Err(e) = result.and_then(|r| crate::check(r.error_code, None)) else {
            self.last_heard = now;
            return;
        };
        match e.code() {
            Some(ErrorCode::RebalanceInProgress) => {
                self.last_heard = now;
                if self.state == State::Stable {
                    self.rejoin = Some("group is already rebalancing");
                }
            }
            Some(ErrorCode::IllegalGeneration | ErrorCode::UnknownMemberId) => {
                self.reset(e.code() == Some(ErrorCode::UnknownMemberId));
                if matches!(self.state, State::Stable | State::Assigning) {
                    self.state = State::Unjoined;
                }
            }
            Some(ErrorCode::FencedInstanceId) => self.fail(now, e, effects),
            _ if e.is_coordinator_moved() => {
                effects.push(Effect::ForgetCoordinator);
                self.heartbeat_due = now.plus(self.settings.backoff.after(0, &self.random));
            }
            _ if e.is_retriable() => self.heartbeat_due = now.plus(self.settings.backoff.after(0, &self.random)),
            _ => effects.push(Effect::Fail(e)),
        }
    }

    /// JoinGroup or SyncGroup was refused, or nobody knows what became of it.
    fn refused(&mut self, now: Monotonic, e: Error, effects: &mut Vec<Effect>) {
        self.state = State::Unjoined;
        self.awaited = 0;
        self.rejoin = Some("rebalance failed");
        let mut wait = true;
        match e.code() {
            Some(ErrorCode::MemberIdRequired) => {
                self.rejoin = Some("need to re-join with the given member-id");
                wait = false;
            }
            Some(ErrorCode::UnknownMemberId) => {
                self.reset(true);
                wait = false;
            }
            Some(ErrorCode::IllegalGeneration) => {
                self.reset(false);
                wait = false;
            }
            // Somebody joined meanwhile.
            Some(ErrorCode::RebalanceInProgress) => wait = false,
            _ if e.is_coordinator_moved() => effects.push(Effect::ForgetCoordinator),
            _ if e.is_retriable() => {}
            _ => return self.fail(now, e, effects),
        }
        if wait {
            self.not_before = now.plus(self.settings.backoff.after(self.failures, &self.random));
            self.failures = self.failures.saturating_add(1);
        }
    }

    /// Something that the application must hear of.
    fn fail(&mut self, now: Monotonic, e: Error, effects: &mut Vec<Effect>) {
        let fenced = e.code() == Some(ErrorCode::FencedInstanceId);
        self.reset(true);
        self.state = if fenced { State::Fenced } else { State::Unjoined };
        self.awaits_poll = true;
        self.not_before = now.plus(self.settings.backoff.after(self.failures, &self.random));
        self.failures = self.failures.saturating_add(1);
        effects.push(Effect::Fail(e));
    }

    fn send_leave(&mut self, reason: &'static str, effects: &mut Vec<Effect>) {
        if self.member_id.is_empty() {
            return;
        }
        let member = MemberIdentity {
            member_id: self.member_id.clone(),
            group_instance_id: self.settings.instance_id.clone(),
            reason: Some(Str::from_static(reason)),
            ..Default::default()
        };
        let number = self.number();
        effects.push(Effect::Send(
            number,
            Request::Leave(LeaveGroupRequest {
                group_id: self.settings.group_id.clone(),
                members: vec![member],
                ..Default::default()
            }),
        ));
    }

    fn leave(&mut self, operation: GroupMembershipOperation, effects: &mut Vec<Effect>) {
        self.wish = Wish::default();
        self.rejoin = None;
        // What is under way must not bring the member back.
        self.awaited = 0;
        self.life = self.next_number;
        self.state = State::Leaving(operation);
        if self.calling > 0 {
            // The call that is under way comes first; what is left is given up with it.
            return;
        }
        let owned = std::mem::take(&mut self.owned);
        if owned.is_empty() {
            return self.left(operation, effects);
        }
        let callback = if self.generation.is_some() { Callback::Revoked(owned) } else { Callback::Lost(owned) };
        self.call(callback, effects);
    }

    fn left(&mut self, operation: GroupMembershipOperation, effects: &mut Vec<Effect>) {
        if !self.owned.is_empty() {
            return self.leave_rest(operation, effects);
        }
        let leaves = match operation {
            GroupMembershipOperation::Default => self.settings.instance_id.is_none(),
            GroupMembershipOperation::LeaveGroup => true,
            GroupMembershipOperation::RemainInGroup => false,
        };
        if leaves {
            self.send_leave("the consumer is being closed", effects);
        }
        self.reset(leaves);
        self.state = State::Out;
        self.joined_wish = Wish::default();
        self.last = None;
        effects.push(Effect::Has(BTreeSet::new()));
        effects.push(Effect::Gone);
    }

    fn leave_rest(&mut self, operation: GroupMembershipOperation, effects: &mut Vec<Effect>) {
        self.state = State::Leaving(operation);
        let owned = std::mem::take(&mut self.owned);
        self.call(Callback::Revoked(owned), effects);
    }
}
