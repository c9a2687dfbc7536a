//! [`ClassicGroup`]: the membership of one classic group, a reactive machine. Kafka's `ClassicGroup` and the
//! classic half of `GroupMetadataManager`.
//!
//! The table of transitions is at the top of the crate. The group answers parked requests and asks for records to
//! be written by effects; it is told by [`Event::Written`] when they are committed. It never touches offsets,
//! and what it holds beyond its last written record is soft: lost with leadership, rebuilt by clients that rejoin.

mod describe;
mod join;
mod leave;
mod member;
mod rebalance;
mod record;
mod sync;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;
use logrun_coordinator::records::group::GroupMetadataValue;
use logrun_model::{GenerationId, GroupId, MemberId, Monotonic, Now, Str, TimestampMs};
use logrun_wire::ErrorCode;
use logrun_wire::messages::{HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest};

use crate::config::GroupConfig;
use crate::request::{Client, Response, Token, join_refused, sync_refused};
use crate::timers::Timers;

pub(crate) use describe::{Expiry, Subscribed};
use member::{Member, Protocol};

/// The state of a classic group. A group that is not there is what Kafka calls `Dead`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No members; offsets may remain.
    Empty,
    /// Members are joining; joins are parked.
    PreparingRebalance,
    /// Joined; waiting for the leader's assignment, syncs are parked.
    CompletingRebalance,
    /// Members have their assignments and send heartbeats.
    Stable,
}

impl State {
    /// Kafka's name, as clients see it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Numbers a group's writes, so that it knows which one was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WriteId(pub u64);

/// What happens to a group.
#[derive(Debug)]
pub(crate) enum Event {
    Join {
        token: Token,
        client: Client,
        request: JoinGroupRequest,
    },
    Sync {
        token: Token,
        request: SyncGroupRequest,
    },
    Heartbeat {
        token: Token,
        request: HeartbeatRequest,
    },
    Leave {
        token: Token,
        request: LeaveGroupRequest,
    },
    /// A member committed offsets, which keeps its session alive.
    OffsetsCommitted {
        member_id: MemberId,
    },
    /// A record of [`Effect::Write`] was committed, or never will be.
    Written {
        write: WriteId,
        outcome: Result<(), ErrorCode>,
    },
    /// The group was found in the log by a new leader.
    Elected,
    /// Some deadline has come.
    DeadlineReached,
    /// This node no longer leads: every parked request is refused.
    Resigned,
}

/// What the shard must do, in this order.
#[derive(Debug, PartialEq)]
pub(crate) enum Effect {
    Reply {
        token: Token,
        response: Response,
    },
    /// Append a GroupMetadata record; [`Event::Written`] must follow once.
    Write {
        write: WriteId,
        value: GroupMetadataValue,
    },
}

/// The turn in which an event is taken: the time, the options, and where its effects go.
pub(crate) struct Turn<'a> {
    pub now: Now,
    pub config: &'a GroupConfig,
    /// To be done in this order.
    pub effects: &'a mut Vec<Effect>,
}

impl Turn<'_> {
    fn reply(&mut self, token: Token, response: Response) {
        self.effects.push(Effect::Reply { token, response });
    }

    fn refuse_join(&mut self, token: Token, member_id: Str, error: ErrorCode) {
        self.reply(token, Response::JoinGroup(join_refused(member_id, error)));
    }

    fn refuse_sync(&mut self, token: Token, error: ErrorCode) {
        self.reply(token, Response::SyncGroup(sync_refused(error)));
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// The end of the join phase.
    Join,
    /// The end of waiting for syncs.
    Sync,
    /// The session of a member, pending or not.
    Session(MemberId),
}

/// The extended join phase of an empty group: KIP-134.
#[derive(Clone, Copy, Debug)]
struct InitialDelay {
    delay_ms: i32,
    remaining_ms: i32,
}

/// What is to be done once a write is committed, or to be undone if it is not.
#[derive(Debug)]
enum Write {
    /// The group has become empty; nobody waits.
    Empty,
    /// The leader's assignment.
    Assignment { generation: GenerationId, assignments: BTreeMap<MemberId, Bytes> },
    /// A static member came back under a new id and needs no rebalance (KIP-345, KIP-814).
    StaticMember(Box<join::Replaced>),
}

/// One classic group.
pub(crate) struct ClassicGroup {
    id: GroupId,
    state: State,
    previous: Option<State>,
    /// Since when it is in its state; `NONE` if the record did not say.
    state_since: TimestampMs,
    generation: GenerationId,
    protocol_type: Option<Str>,
    /// The protocol that the present generation uses.
    protocol: Option<Str>,
    leader: Option<MemberId>,
    members: BTreeMap<MemberId, Member>,
    /// Instance id to member id.
    static_members: BTreeMap<Str, MemberId>,
    /// Ids that were given out by MEMBER_ID_REQUIRED and have not joined yet (KIP-394).
    pending: BTreeSet<MemberId>,
    /// Members that have not sent their sync in this generation.
    pending_sync: BTreeSet<MemberId>,
    /// How many members are parked in their join.
    awaiting_join: usize,
    /// How many members support each protocol.
    supported: BTreeMap<Str, usize>,
    /// The topics that the members subscribe to; `None` where that can't be known.
    subscribed: Option<BTreeSet<Str>>,
    initial: Option<InitialDelay>,
    new_member_added: bool,
    timers: Timers<Timer>,
    writes: BTreeMap<WriteId, Write>,
    next_write: u64,
}

impl ClassicGroup {
    /// A group that nobody has joined yet.
    pub fn new(id: GroupId, now: Now) -> Self {
        Self {
            id,
            state: State::Empty,
            previous: None,
            state_since: now.wall,
            generation: GenerationId(0),
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending: BTreeSet::new(),
            pending_sync: BTreeSet::new(),
            awaiting_join: 0,
            supported: BTreeMap::new(),
            subscribed: None,
            initial: None,
            new_member_added: false,
            timers: Timers::default(),
            writes: BTreeMap::new(),
            next_write: 0,
        }
    }

    /// Takes an event. Effects are appended in the order in which they must be done.
    pub fn on(&mut self, turn: &mut Turn<'_>, event: Event) {
        match event {
            Event::Join { token, client, request } => self.join(turn, token, &client, &request),
            Event::Sync { token, request } => self.sync(turn, token, &request),
            Event::Heartbeat { token, request } => self.heartbeat(turn, token, &request),
            Event::Leave { token, request } => self.leave(turn, token, request),
            Event::OffsetsCommitted { member_id } => {
                if matches!(self.state, State::Stable | State::PreparingRebalance) {
                    self.restart_session(turn.now, &member_id);
                }
            }
            Event::Written { write, outcome } => self.written(turn, write, outcome),
            Event::Elected => self.elected(turn),
            Event::DeadlineReached => {
                while let Some(timer) = self.timers.pop_due(turn.now.monotonic) {
                    match timer {
                        Timer::Join => self.join_phase_ended(turn),
                        Timer::Sync => self.sync_phase_ended(turn),
                        Timer::Session(member_id) => self.session_ended(turn, &member_id),
                    }
                }
            }
            Event::Resigned => self.resigned(turn),
        }
    }

    /// When [`Event::DeadlineReached`] is due.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        self.timers.next()
    }

    pub fn state(&self) -> State {
        self.state
    }

    /// Nobody is in it, on the way into it, or waiting for it: it can be forgotten if the log knows nothing of it.
    pub fn is_vacant(&self) -> bool {
        self.state == State::Empty && self.pending.is_empty() && self.writes.is_empty()
    }

    /// It has not made a generation yet.
    pub fn is_unformed(&self) -> bool {
        self.generation == GenerationId(0)
    }

    fn written(&mut self, turn: &mut Turn<'_>, write: WriteId, outcome: Result<(), ErrorCode>) {
        match self.writes.remove(&write) {
            // Without a record the last generation lives on in the log, and its members time out after a restart.
            None | Some(Write::Empty) => {}
            Some(Write::Assignment { generation, assignments }) => {
                self.assignment_written(turn, generation, assignments, outcome);
            }
            Some(Write::StaticMember(replaced)) => self.replacement_written(turn, *replaced, outcome),
        }
    }

    fn resigned(&mut self, turn: &mut Turn<'_>) {
        for member in std::mem::take(&mut self.members).into_values() {
            if let Some(token) = member.awaiting_join {
                turn.refuse_join(token, member.id.clone(), ErrorCode::NotCoordinator);
            }
            if let Some(token) = member.awaiting_sync {
                turn.refuse_sync(token, ErrorCode::NotCoordinator);
            }
        }
        self.awaiting_join = 0;
        self.timers = Timers::default();
    }

    fn transition(&mut self, now: Now, to: State) {
        self.previous = Some(self.state);
        self.state = to;
        self.state_since = now.wall;
    }

    fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_ref().is_some_and(|leader| *leader == *member_id)
    }

    fn has_all_members_joined(&self) -> bool {
        self.members.len() == self.awaiting_join && self.pending.is_empty()
    }

    /// The longest rebalance time-out of the members.
    fn rebalance_timeout_ms(&self) -> i32 {
        self.members.values().map(|m| m.rebalance_timeout_ms).max().unwrap_or(0).max(0)
    }

    /// Whether a member may speak: its id is known, and its instance id, if it has one, is its own.
    fn validate_member(&self, member_id: &str, instance_id: Option<&Str>) -> Result<(), ErrorCode> {
        if let Some(instance_id) = instance_id {
            match self.static_members.get(instance_id) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(known) if *known != *member_id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    /// Whether a group may take a member with these protocols: one of them is supported by all.
    fn supports_protocols(&self, protocol_type: &Str, protocols: &[Protocol]) -> bool {
        if self.state == State::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type.as_ref() == Some(protocol_type) && protocols.iter().any(|p| self.is_candidate(&p.name))
    }

    fn is_candidate(&self, protocol: &Str) -> bool {
        self.supported.get(protocol).copied().unwrap_or(0) == self.members.len()
    }

    /// The candidate with the most votes; of several the first by name, so that it does not depend on chance.
    fn select_protocol(&self) -> Option<Str> {
        let mut votes: BTreeMap<&Str, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some(name) = member.vote(|p| self.is_candidate(p)) {
                *votes.entry(name).or_default() += 1;
            }
        }
        let most = votes.values().copied().max()?;
        votes.into_iter().find(|(_, n)| *n == most).map(|(name, _)| name.clone())
    }

    fn count_protocols(&mut self, protocols: &[Protocol]) {
        for p in protocols {
            *self.supported.entry(p.name.clone()).or_default() += 1;
        }
    }

    fn uncount_protocols(&mut self, protocols: &[Protocol]) {
        for p in protocols {
            if let Some(n) = self.supported.get_mut(&p.name) {
                *n -= 1;
                if *n == 0 {
                    self.supported.remove(&p.name);
                }
            }
        }
    }

    /// Adds a member that is not in the group. The first one gives the group its protocol type and becomes leader.
    fn add(&mut self, protocol_type: &Str, member: Member) {
        if let Some(instance_id) = &member.instance_id {
            self.static_members.insert(instance_id.clone(), member.id.clone());
        }
        if self.members.is_empty() {
            self.protocol_type = Some(protocol_type.detached());
        }
        if self.leader.is_none() {
            self.leader = Some(member.id.clone());
        }
        self.count_protocols(&member.protocols);
        self.awaiting_join += usize::from(member.awaiting_join.is_some());
        self.pending.remove(&member.id);
        self.members.insert(member.id.clone(), member);
    }

    /// Takes a member or a pending id out of the group. What it had parked is answered: it must join anew.
    fn remove(&mut self, turn: &mut Turn<'_>, member_id: &MemberId) {
        self.timers.cancel(&Timer::Session(member_id.clone()));
        self.pending.remove(member_id);
        self.pending_sync.remove(member_id);
        if let Some(mut member) = self.members.remove(member_id) {
            self.uncount_protocols(&member.protocols);
            if let Some(token) = member.awaiting_join.take() {
                self.awaiting_join -= 1;
                turn.refuse_join(token, Str::EMPTY, ErrorCode::UnknownMemberId);
            }
            if let Some(token) = member.awaiting_sync.take() {
                turn.refuse_sync(token, ErrorCode::UnknownMemberId);
            }
            if let Some(instance_id) = &member.instance_id {
                self.static_members.remove(instance_id);
            }
        }
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
    }

    fn restart_session(&mut self, now: Now, member_id: &MemberId) {
        if let Some(member) = self.members.get(member_id) {
            let at = now.monotonic.plus_ms(member.session_timeout_ms.into());
            self.timers.set(Timer::Session(member_id.clone()), at);
        }
    }

    fn restart_session_of(&mut self, now: Now, member_id: &MemberId, timeout_ms: i32) {
        self.timers.set(Timer::Session(member_id.clone()), now.monotonic.plus_ms(timeout_ms.into()));
    }

    fn take_awaiting_join(&mut self, member_id: &MemberId) -> Option<Token> {
        let token = self.members.get_mut(member_id)?.awaiting_join.take()?;
        self.awaiting_join -= 1;
        Some(token)
    }

    fn write(&mut self, turn: &mut Turn<'_>, write: Write, value: GroupMetadataValue) {
        let id = WriteId(self.next_write);
        self.next_write += 1;
        self.writes.insert(id, write);
        turn.effects.push(Effect::Write { write: id, value });
    }
}
