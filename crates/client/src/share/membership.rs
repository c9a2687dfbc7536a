//! [`Member`]: membership in a share group by ShareGroupHeartbeat. Kafka's `ShareMembershipManager` and
//! `ShareHeartbeatRequestManager`.
//!
//! ```text
//! Out ──Subscribed──▶ Unjoined ──Polled──▶ Member (epoch 0, then the coordinator's) ──Leave──▶ Leaving ──▶ Out
//!                        ▲                    │
//!                        └── fenced, or no poll for max.poll.interval.ms
//! ```
//!
//! Unlike in a consumer group nothing is handed over: what the coordinator assigns is where the member fetches from, at
//! once, and what it has acquired it may acknowledge afterwards too. Reactive; it does no IO.

use std::collections::{BTreeMap, BTreeSet};

use logrun_io::Random;
use logrun_model::{MemberId, Monotonic, Str, TopicPartition, Uuid};
use logrun_wire::ErrorCode;
use logrun_wire::messages::{ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse};

use crate::backoff::Backoff;
use crate::consumer::new_member_id;
use crate::error::Error;
use crate::group::Heartbeats;

const JOIN_EPOCH: i32 = 0;
const LEAVE_EPOCH: i32 = -1;
/// Until the coordinator says otherwise.
const HEARTBEAT_INTERVAL_MS: i32 = 5000;

/// What a member is configured with.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub group_id: Str,
    pub rack_id: Option<Str>,
    pub max_poll_interval_ms: i32,
    pub backoff: Backoff,
}

/// What happens to a member.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    /// The application wants these topics from now on.
    Subscribed(BTreeSet<Str>),
    /// The application wants nothing any more.
    Unsubscribed,
    /// The application polled: it lives.
    Polled,
    /// The answer to the heartbeat with this number.
    Answered(u64, Result<ShareGroupHeartbeatResponse, Error>),
    /// Names of topics that [`Effect::NameTopics`] asked for.
    TopicsNamed(Vec<(Uuid, Str)>),
    /// Some deadline has come.
    DeadlineReached,
}

/// What the shell must do, in this order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    /// Send to the coordinator; [`Event::Answered`] with this number must follow once.
    Send(u64, ShareGroupHeartbeatRequest),
    /// Look the coordinator up again before the next request.
    ForgetCoordinator,
    /// These are the member's partitions from now on, each with its topic's id.
    Has(BTreeMap<TopicPartition, Uuid>),
    /// Learn the names of these topics, and of no others any more.
    NameTopics(BTreeSet<Uuid>),
    /// The application's next poll fails with this.
    Fail(Error),
    /// The member is out of the group, as it was asked to be.
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Out,
    /// Wants to join, as soon as the application polls.
    Unjoined,
    Member,
    /// The coordinator is being told.
    Leaving,
}

/// A member of a share group.
#[derive(Debug)]
pub(crate) struct Member {
    settings: Settings,
    beats: Heartbeats,
    state: State,
    member_id: MemberId,
    epoch: i32,
    wish: BTreeSet<Str>,
    /// What the coordinator has been told; nothing after a failure.
    told: Option<BTreeSet<Str>>,
    /// What the coordinator has assigned.
    target: BTreeMap<Uuid, BTreeSet<i32>>,
    names: BTreeMap<Uuid, Str>,
    unnamed: BTreeSet<Uuid>,
}

impl Member {
    pub fn new(settings: Settings, random: Random) -> Self {
        Self {
            member_id: new_member_id(&random),
            beats: Heartbeats::new(HEARTBEAT_INTERVAL_MS, settings.max_poll_interval_ms, settings.backoff, random),
            settings,
            state: State::Out,
            epoch: JOIN_EPOCH,
            wish: BTreeSet::new(),
            told: None,
            target: BTreeMap::new(),
            names: BTreeMap::new(),
            unnamed: BTreeSet::new(),
        }
    }

    /// Who it is, also in share sessions.
    pub fn member_id(&self) -> &MemberId {
        &self.member_id
    }

    /// Takes an event. Effects are appended in the order in which they must be done.
    pub fn on(&mut self, now: Monotonic, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Subscribed(topics) => {
                if matches!(self.state, State::Out | State::Leaving) {
                    self.state = State::Unjoined;
                    self.beats.await_poll();
                }
                self.wish = topics;
                if self.told.as_ref() != Some(&self.wish) {
                    self.beats.hurry(now);
                }
            }
            Event::Unsubscribed => self.leave(effects),
            Event::Polled => self.beats.polled(now),
            Event::Answered(number, result) => {
                if self.beats.answered(number) {
                    match self.state {
                        State::Leaving => self.left(effects),
                        State::Member => self.answered(now, result, effects),
                        State::Out | State::Unjoined => {}
                    }
                }
            }
            Event::TopicsNamed(names) => {
                self.names.extend(names);
                self.reconcile(effects);
            }
            Event::DeadlineReached => {}
        }
        self.turn(now, effects);
    }

    /// When there is something to do.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        match self.state {
            State::Unjoined => self.beats.join_deadline(),
            State::Member => Some(self.beats.deadline()),
            State::Out | State::Leaving => None,
        }
    }

    fn turn(&mut self, now: Monotonic, effects: &mut Vec<Effect>) {
        if self.state == State::Member && self.beats.is_abandoned(now) {
            self.send(LEAVE_EPOCH, effects);
            self.fenced(effects);
            self.beats.await_poll();
            return;
        }
        if self.state == State::Unjoined && self.beats.may_join(now) {
            self.state = State::Member;
            self.epoch = JOIN_EPOCH;
        }
        if self.state == State::Member && !self.beats.is_under_way() && self.beats.is_due(now) {
            let number = self.send(self.epoch, effects);
            self.beats.sent(now, number);
        }
    }

    fn send(&mut self, member_epoch: i32, effects: &mut Vec<Effect>) -> u64 {
        let mut request = ShareGroupHeartbeatRequest {
            group_id: self.settings.group_id.clone(),
            member_id: self.member_id.clone(),
            member_epoch,
            ..Default::default()
        };
        if member_epoch >= 0 && (member_epoch == JOIN_EPOCH || self.told.as_ref() != Some(&self.wish)) {
            request.rack_id = self.settings.rack_id.clone();
            request.subscribed_topic_names = Some(self.wish.iter().cloned().collect());
            self.told = Some(self.wish.clone());
        }
        let number = self.beats.number();
        effects.push(Effect::Send(number, request));
        number
    }

    /// Out of the group against its will: it joins again.
    fn fenced(&mut self, effects: &mut Vec<Effect>) {
        self.state = State::Unjoined;
        self.epoch = JOIN_EPOCH;
        self.beats.forget();
        self.told = None;
        self.nothing(effects);
    }

    fn nothing(&mut self, effects: &mut Vec<Effect>) {
        self.unnamed.clear();
        if !std::mem::take(&mut self.target).is_empty() {
            effects.push(Effect::Has(BTreeMap::new()));
        }
    }

    fn answered(
        &mut self,
        now: Monotonic,
        result: Result<ShareGroupHeartbeatResponse, Error>,
        effects: &mut Vec<Effect>,
    ) {
        let response = match result.and_then(|r| crate::check(r.error_code, r.error_message.as_ref()).map(|()| r)) {
            Ok(r) => r,
            Err(e) => return self.refused(now, e, effects),
        };
        if let Some(id) = &response.member_id {
            self.member_id = id.detached();
        }
        self.epoch = response.member_epoch;
        let news = self.told.as_ref() != Some(&self.wish);
        self.beats.accepted(now, response.heartbeat_interval_ms.max(1), news);
        if let Some(assignment) = response.assignment {
            let topics = assignment.topic_partitions.into_iter();
            self.target = topics.map(|t| (t.topic_id, t.partitions.into_iter().collect())).collect();
            self.reconcile(effects);
        }
    }

    fn refused(&mut self, now: Monotonic, e: Error, effects: &mut Vec<Effect>) {
        self.told = None;
        match e.code() {
            Some(ErrorCode::UnknownMemberId | ErrorCode::FencedMemberEpoch) => {
                self.fenced(effects);
                self.beats.hurry(now);
            }
            _ if e.is_coordinator_moved() || e.is_retriable() => {
                if e.is_coordinator_moved() {
                    effects.push(Effect::ForgetCoordinator);
                }
                self.beats.failed(now);
            }
            _ => {
                self.fenced(effects);
                self.beats.failed(now);
                self.beats.await_poll();
                effects.push(Effect::Fail(e));
            }
        }
    }

    /// Takes what is assigned, as far as the topics' names are known.
    fn reconcile(&mut self, effects: &mut Vec<Effect>) {
        if self.state != State::Member {
            return;
        }
        let unnamed: BTreeSet<Uuid> = self.target.keys().filter(|id| !self.names.contains_key(*id)).copied().collect();
        if unnamed != self.unnamed {
            self.unnamed.clone_from(&unnamed);
            effects.push(Effect::NameTopics(unnamed));
        }
        let mut has = BTreeMap::new();
        for (id, partitions) in &self.target {
            let Some(name) = self.names.get(id) else { continue };
            has.extend(partitions.iter().map(|p| (TopicPartition { topic: name.clone(), partition: *p }, *id)));
        }
        effects.push(Effect::Has(has));
    }

    fn leave(&mut self, effects: &mut Vec<Effect>) {
        self.wish.clear();
        self.told = None;
        let joined = self.state == State::Member && (self.epoch > 0 || self.beats.is_under_way());
        self.nothing(effects);
        if joined {
            self.state = State::Leaving;
            let number = self.send(LEAVE_EPOCH, effects);
            self.beats.expect(number);
        } else if self.state != State::Leaving {
            self.left(effects);
        }
    }

    fn left(&mut self, effects: &mut Vec<Effect>) {
        self.state = State::Out;
        self.epoch = JOIN_EPOCH;
        self.beats.forget();
        effects.push(Effect::Gone);
    }
}

#[cfg(test)]
#[path = "membership_tests.rs"]
mod tests;
