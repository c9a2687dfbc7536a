//! [`Modern`]: membership by ConsumerGroupHeartbeat alone (KIP-848). Kafka's `ConsumerMembershipManager` and
//! `ConsumerHeartbeatRequestManager`.
//!
//! ```text
//! Out ──Subscribed──▶ Unjoined ──Polled──▶ Member (epoch 0, then the coordinator's) ──Unsubscribed──▶ Leaving ──▶ Out
//!                        ▲                    │
//!                        └── fenced, or no poll for max.poll.interval.ms: what it had is lost
//! ```
//!
//! The coordinator divides; the member brings what it has to what it shall have in its own time, first giving up, then
//! taking, and acknowledges each by its next heartbeat. A heartbeat says only what has changed, except after a failure.

use std::collections::{BTreeMap, BTreeSet};

use logrun_io::Random;
use logrun_model::{GenerationId, MemberId, Monotonic, Str, TopicPartition, Uuid};
use logrun_wire::ErrorCode;
use logrun_wire::messages::consumer_group_heartbeat_request::TopicPartitions;
use logrun_wire::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};

use super::{Callback, Effect, Event, GroupMembershipOperation, Identity, Reply, Request, Settings, Wish};
use crate::error::Error;
use crate::group::Heartbeats;

/// The member epoch of a join.
const JOIN_EPOCH: i32 = 0;
/// The member epoch of a member that leaves.
const LEAVE_EPOCH: i32 = -1;
/// The member epoch of a static member that will be back.
const LEAVE_STATIC_EPOCH: i32 = -2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Out,
    /// Wants to join, as soon as it may.
    Unjoined,
    Member,
    /// The application is being told what it loses before the member leaves.
    Leaving(GroupMembershipOperation),
    /// Another member has its `group.instance.id`.
    Fenced,
}

/// What the application is being told.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    /// What is lost, before the member joins again.
    Losing,
    /// What is taken; then comes what is new.
    Revoking(BTreeSet<TopicPartition>),
    Assigning,
}

/// A member of a group of the new protocol.
#[derive(Debug)]
pub(crate) struct Modern {
    settings: Settings,
    beats: Heartbeats,
    state: State,
    phase: Phase,
    wish: Wish,
    member_id: MemberId,
    epoch: i32,
    /// What the coordinator wants the member to have.
    target: Option<BTreeMap<Uuid, BTreeSet<i32>>>,
    names: BTreeMap<Uuid, Str>,
    /// Topics whose names were asked for.
    unnamed: BTreeSet<Uuid>,
    owned: BTreeSet<TopicPartition>,
    /// What the coordinator has been told; nothing after a failure.
    told_wish: Option<Wish>,
    told_owned: Option<BTreeSet<TopicPartition>>,
    /// The coordinator waits to hear that the member has what it shall have.
    acknowledge: bool,
}

impl Modern {
    pub fn new(settings: Settings, random: Random) -> Self {
        Self {
            member_id: super::new_member_id(&random),
            beats: Heartbeats::new(
                settings.heartbeat_interval_ms,
                settings.max_poll_interval_ms,
                settings.backoff,
                random,
            ),
            settings,
            state: State::Out,
            phase: Phase::Idle,
            wish: Wish::default(),
            epoch: JOIN_EPOCH,
            target: None,
            names: BTreeMap::new(),
            unnamed: BTreeSet::new(),
            owned: BTreeSet::new(),
            told_wish: None,
            told_owned: None,
            acknowledge: false,
        }
    }

    pub fn identity(&self) -> Identity {
        let inside = matches!(self.state, State::Member | State::Leaving(_)) && self.epoch > 0;
        let generation = if inside { GenerationId(self.epoch) } else { GenerationId::NONE };
        Identity { member_id: if inside { self.member_id.clone() } else { MemberId::EMPTY }, generation }
    }

    pub fn is_rebalancing(&self) -> bool {
        self.state != State::Out && (self.state != State::Member || self.phase != Phase::Idle || self.epoch <= 0)
    }

    /// Takes an event.
    pub fn on(&mut self, now: Monotonic, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Subscribed(wish) => {
                if matches!(self.state, State::Out | State::Leaving(_)) {
                    self.state = State::Unjoined;
                    self.beats.await_poll();
                }
                self.wish = wish;
                if self.told_wish.as_ref() != Some(&self.wish) {
                    self.beats.hurry(now);
                }
            }
            Event::Unsubscribed(operation) => self.leave(operation, effects),
            Event::Polled => {
                self.beats.polled(now);
                if self.state == State::Fenced {
                    effects.push(Effect::Fail(ErrorCode::UnreleasedInstanceId.into()));
                }
            }
            Event::Answered(number, Reply::ConsumerHeartbeat(result)) => {
                if self.beats.answered(number) {
                    self.answered(now, result, effects);
                }
            }
            Event::CalledBack => self.called_back(now, effects),
            Event::TopicsNamed(names) => {
                self.names.extend(names);
                self.reconcile(effects);
            }
            Event::Rejoin(_) | Event::Answered(..) | Event::AssignmentMade(_) | Event::DeadlineReached => {}
        }
        self.turn(now, effects);
    }

    /// When there is something to do.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        match self.state {
            State::Unjoined if self.phase == Phase::Idle => self.beats.join_deadline(),
            State::Member => Some(self.beats.deadline()),
            _ => None,
        }
    }

    fn turn(&mut self, now: Monotonic, effects: &mut Vec<Effect>) {
        if self.state == State::Member && self.beats.is_abandoned(now) {
            let operation = GroupMembershipOperation::Default;
            self.send_leave(operation, effects);
            self.fenced();
            self.beats.await_poll();
            return;
        }
        if self.state == State::Unjoined && self.phase == Phase::Idle && self.beats.may_join(now) {
            if !self.owned.is_empty() {
                self.phase = Phase::Losing;
                effects.push(Effect::Call(Callback::Lost(std::mem::take(&mut self.owned))));
                return;
            }
            self.state = State::Member;
            self.epoch = JOIN_EPOCH;
        }
        let due = self.beats.is_due(now) || self.acknowledge && self.phase == Phase::Idle;
        if self.state == State::Member && !self.beats.is_under_way() && due {
            self.heartbeat(now, effects);
        }
    }

    fn topic_partitions(&self) -> Vec<TopicPartitions> {
        let ids: BTreeMap<&Str, Uuid> = self.names.iter().map(|(id, name)| (name, *id)).collect();
        let mut topics: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
        for tp in &self.owned {
            if let Some(id) = ids.get(&tp.topic) {
                topics.entry(*id).or_default().push(tp.partition);
            }
        }
        let list = topics.into_iter();
        list.map(|(topic_id, partitions)| TopicPartitions { topic_id, partitions, ..Default::default() }).collect()
    }

    fn send(&mut self, request: ConsumerGroupHeartbeatRequest, effects: &mut Vec<Effect>) -> u64 {
        let number = self.beats.number();
        effects.push(Effect::Send(number, Request::ConsumerHeartbeat(request)));
        number
    }

    fn heartbeat(&mut self, now: Monotonic, effects: &mut Vec<Effect>) {
        // Everything is said when joining, and again when it isn't known what was heard.
        let all = self.epoch == JOIN_EPOCH || self.told_wish.is_none();
        let mut request = ConsumerGroupHeartbeatRequest {
            group_id: self.settings.group_id.clone(),
            member_id: self.member_id.clone(),
            member_epoch: self.epoch,
            instance_id: self.settings.instance_id.clone(),
            ..Default::default()
        };
        if all {
            request.rack_id = self.settings.rack_id.clone();
            request.rebalance_timeout_ms = self.settings.max_poll_interval_ms;
            request.server_assignor = self.settings.remote_assignor.clone();
        }
        if all || self.told_wish.as_ref() != Some(&self.wish) {
            request.subscribed_topic_names = Some(self.wish.topics.iter().cloned().collect());
            // An expression that is no longer wanted is taken back by an empty one.
            let had = self.told_wish.as_ref().is_some_and(|w| w.regex.is_some());
            request.subscribed_topic_regex = self.wish.regex.clone().or(had.then_some(Str::EMPTY));
        }
        // What the application has not been told of yet is not acknowledged.
        let settled = self.phase == Phase::Idle;
        if all || settled && (self.acknowledge || self.told_owned.as_ref() != Some(&self.owned)) {
            request.topic_partitions = Some(self.topic_partitions());
            self.told_owned = Some(self.owned.clone());
            self.acknowledge &= !settled;
        }
        self.told_wish = Some(self.wish.clone());
        let number = self.send(request, effects);
        self.beats.sent(now, number);
    }

    /// What was told may not have been heard.
    fn forget_told(&mut self) {
        self.told_wish = None;
        self.told_owned = None;
    }

    /// Out of the group against its will: what it has is lost, and it joins again.
    fn fenced(&mut self) {
        self.state = State::Unjoined;
        self.epoch = JOIN_EPOCH;
        self.target = None;
        self.unnamed.clear();
        self.beats.forget();
        self.acknowledge = false;
        self.forget_told();
    }

    fn answered(
        &mut self,
        now: Monotonic,
        result: Result<ConsumerGroupHeartbeatResponse, Error>,
        effects: &mut Vec<Effect>,
    ) {
        let checked = result.and_then(|r| crate::check(r.error_code, r.error_message.as_ref()).map(|()| r));
        let response = match (checked, self.state) {
            (Ok(r), State::Member) => r,
            (Err(e), State::Member) => return self.refused(now, e, effects),
            // It leaves, whatever is said; only by its last epoch it can still commit.
            (Ok(r), State::Leaving(_)) if self.epoch >= JOIN_EPOCH => {
                self.epoch = r.member_epoch;
                return;
            }
            _ => return,
        };
        if let Some(id) = &response.member_id {
            self.member_id = id.detached();
        }
        self.epoch = response.member_epoch;
        let news = self.told_wish.as_ref() != Some(&self.wish);
        self.beats.accepted(now, response.heartbeat_interval_ms, news);
        if let Some(assignment) = response.assignment {
            let topics = assignment.topic_partitions.into_iter();
            self.target = Some(topics.map(|t| (t.topic_id, t.partitions.into_iter().collect())).collect());
            self.reconcile(effects);
        }
    }

    fn refused(&mut self, now: Monotonic, e: Error, effects: &mut Vec<Effect>) {
        self.forget_told();
        match e.code() {
            Some(ErrorCode::UnknownMemberId | ErrorCode::FencedMemberEpoch) => {
                self.fenced();
                self.beats.hurry(now);
            }
            _ if e.is_coordinator_moved() || e.is_retriable() => {
                if e.is_coordinator_moved() {
                    effects.push(Effect::ForgetCoordinator);
                }
                self.beats.failed(now);
            }
            code => {
                let fenced = matches!(code, Some(ErrorCode::UnreleasedInstanceId | ErrorCode::FencedInstanceId));
                self.fenced();
                self.beats.failed(now);
                self.beats.await_poll();
                if fenced {
                    self.state = State::Fenced;
                }
                effects.push(Effect::Fail(e));
            }
        }
    }

    /// Brings what the member has to what it shall have, as far as the topics' names are known.
    fn reconcile(&mut self, effects: &mut Vec<Effect>) {
        if self.state != State::Member || self.phase != Phase::Idle {
            return;
        }
        let Some(target) = &self.target else { return };
        let unknown: BTreeSet<Uuid> = target.keys().filter(|id| !self.names.contains_key(*id)).copied().collect();
        let target: BTreeSet<TopicPartition> = target
            .iter()
            .filter_map(|(id, partitions)| Some((self.names.get(id)?, partitions)))
            .flat_map(|(name, list)| list.iter().map(|p| TopicPartition { topic: name.clone(), partition: *p }))
            .collect();
        let all_known = unknown.is_empty();
        if unknown != self.unnamed {
            self.unnamed.clone_from(&unknown);
            effects.push(Effect::NameTopics(unknown));
        }
        if all_known {
            self.target = None;
        } else if target == self.owned {
            return;
        }
        let revoked: BTreeSet<_> = self.owned.difference(&target).cloned().collect();
        self.owned.retain(|tp| target.contains(tp));
        self.phase = Phase::Revoking(target);
        if revoked.is_empty() {
            self.take(effects);
        } else {
            effects.push(Effect::Call(Callback::Revoked(revoked)));
        }
    }

    /// What was taken is given up: now for what is new.
    fn take(&mut self, effects: &mut Vec<Effect>) {
        let Phase::Revoking(target) = std::mem::replace(&mut self.phase, Phase::Assigning) else { return };
        let added: BTreeSet<_> = target.difference(&self.owned).cloned().collect();
        self.owned = target;
        effects.push(Effect::Has(self.owned.clone()));
        effects.push(Effect::Call(Callback::Assigned(added)));
    }

    fn called_back(&mut self, now: Monotonic, effects: &mut Vec<Effect>) {
        if let State::Leaving(operation) = self.state {
            self.phase = Phase::Idle;
            return self.left(operation, effects);
        }
        match self.phase {
            Phase::Revoking(_) if self.state == State::Member => self.take(effects),
            _ => {
                let was = std::mem::replace(&mut self.phase, Phase::Idle);
                match was {
                    Phase::Losing => effects.push(Effect::Has(self.owned.clone())),
                    Phase::Assigning if self.state == State::Member => self.acknowledge = true,
                    _ => {}
                }
                if self.state == State::Unjoined {
                    self.beats.hurry(now);
                }
                self.reconcile(effects);
            }
        }
    }

    fn send_leave(&mut self, operation: GroupMembershipOperation, effects: &mut Vec<Effect>) {
        let is_static = self.settings.instance_id.is_some();
        let epoch = match operation {
            GroupMembershipOperation::LeaveGroup => LEAVE_EPOCH,
            _ if is_static => LEAVE_STATIC_EPOCH,
            GroupMembershipOperation::Default => LEAVE_EPOCH,
            GroupMembershipOperation::RemainInGroup => return,
        };
        let request = ConsumerGroupHeartbeatRequest {
            group_id: self.settings.group_id.clone(),
            member_id: self.member_id.clone(),
            member_epoch: epoch,
            instance_id: self.settings.instance_id.clone(),
            ..Default::default()
        };
        self.send(request, effects);
    }

    fn leave(&mut self, operation: GroupMembershipOperation, effects: &mut Vec<Effect>) {
        self.wish = Wish::default();
        if self.state == State::Unjoined {
            // What it had was lost already.
            self.epoch = JOIN_EPOCH;
        }
        let member = self.state == State::Member;
        self.state = State::Leaving(operation);
        if self.phase != Phase::Idle {
            return;
        }
        let owned = std::mem::take(&mut self.owned);
        if owned.is_empty() {
            if !member {
                self.epoch = LEAVE_EPOCH;
            }
            return self.left(operation, effects);
        }
        self.phase = Phase::Losing;
        effects.push(Effect::Call(if member { Callback::Revoked(owned) } else { Callback::Lost(owned) }));
    }

    fn left(&mut self, operation: GroupMembershipOperation, effects: &mut Vec<Effect>) {
        let owned = std::mem::take(&mut self.owned);
        if !owned.is_empty() {
            self.phase = Phase::Losing;
            return effects.push(Effect::Call(Callback::Revoked(owned)));
        }
        if self.epoch > 0 || self.beats.is_under_way() {
            self.send_leave(operation, effects);
        }
        self.fenced();
        self.state = State::Out;
        effects.push(Effect::Has(BTreeSet::new()));
        effects.push(Effect::Gone);
    }
}
