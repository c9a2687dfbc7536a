//! A consumer's membership in its group: two reactive machines with one face, [`classic`] (JoinGroup, SyncGroup,
//! Heartbeat, LeaveGroup) and [`modern`] (ConsumerGroupHeartbeat, KIP-848).
//!
//! They decide what is sent and when the application is called; they do no IO, know no offsets, and never give a
//! partition out before the application has been told, nor keep one back after.

pub(crate) mod classic;
pub(crate) mod modern;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use logrun_io::Random;
use logrun_model::{GenerationId, GroupId, MemberId, Monotonic, Str, TopicPartition, Uuid};
use logrun_wire::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, HeartbeatRequest, HeartbeatResponse,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest, SyncGroupResponse,
};

use super::assignor::{MemberSubscription, PartitionAssignor};
use crate::backoff::Backoff;
use crate::error::Error;

/// What a member is configured with.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub group_id: GroupId,
    /// `group.instance.id`: a static member (KIP-345).
    pub instance_id: Option<Str>,
    pub rack_id: Option<Str>,
    pub session_timeout_ms: i32,
    pub heartbeat_interval_ms: i32,
    pub max_poll_interval_ms: i32,
    pub backoff: Backoff,
    /// `partition.assignment.strategy`, the preferred one first. Of the classic protocol.
    pub assignors: Vec<Arc<dyn PartitionAssignor>>,
    /// `group.remote.assignor`. Of the new protocol.
    pub remote_assignor: Option<Str>,
}

/// What the member wants of the group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    pub topics: BTreeSet<Str>,
    /// An expression that the coordinator evaluates. Of the new protocol.
    pub regex: Option<Str>,
}

/// Whether a member that goes away gives up its place (KIP-1092).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupMembershipOperation {
    /// A dynamic member leaves; a static one keeps its place until its session ends.
    #[default]
    Default,
    /// It leaves, static or not.
    LeaveGroup,
    /// It keeps its place until its session ends, static or not.
    RemainInGroup,
}

/// What a member sends to its coordinator.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Request {
    Join(JoinGroupRequest),
    Sync(SyncGroupRequest),
    Heartbeat(HeartbeatRequest),
    Leave(LeaveGroupRequest),
    ConsumerHeartbeat(ConsumerGroupHeartbeatRequest),
}

/// What came of a [`Request`]. Nobody waits for a Leave's.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reply {
    Join(Result<JoinGroupResponse, Error>),
    Sync(Result<SyncGroupResponse, Error>),
    Heartbeat(Result<HeartbeatResponse, Error>),
    ConsumerHeartbeat(Result<ConsumerGroupHeartbeatResponse, Error>),
}

/// What the application is told, one at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Callback {
    /// These are taken away; their offsets can still be committed.
    Revoked(BTreeSet<TopicPartition>),
    /// These are gone; somebody else may have them already.
    Lost(BTreeSet<TopicPartition>),
    /// These are new.
    Assigned(BTreeSet<TopicPartition>),
}

/// What happens to a member.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    /// The application wants this from now on.
    Subscribed(Wish),
    /// The application wants nothing any more.
    Unsubscribed(GroupMembershipOperation),
    /// The application polled: it lives.
    Polled,
    /// The answer to the request with this number.
    Answered(u64, Reply),
    /// The application has been told what [`Effect::Call`] said.
    CalledBack,
    /// What [`Effect::MakeAssignment`] asked for. Of the classic protocol.
    AssignmentMade(Vec<(MemberId, Vec<TopicPartition>)>),
    /// The group should be divided anew: the reason.
    Rejoin(&'static str),
    /// The names of topics were learnt that were asked for by [`Effect::NameTopics`]. Of the new protocol.
    TopicsNamed(Vec<(Uuid, Str)>),
    /// Some deadline has come.
    DeadlineReached,
}

/// What the shell must do, in this order.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "a few a second, done at once")]
pub(crate) enum Effect {
    /// Send to the coordinator; [`Event::Answered`] with this number must follow once.
    Send(u64, Request),
    /// Look the coordinator up again before the next request.
    ForgetCoordinator,
    /// Tell the application; [`Event::CalledBack`] must follow once. Partitions that are taken are given out no more.
    Call(Callback),
    /// These are the member's partitions from now on.
    Has(BTreeSet<TopicPartition>),
    /// Divide the partitions of these members' topics; [`Event::AssignmentMade`] must follow once.
    MakeAssignment { protocol: Str, members: Vec<(MemberId, MemberSubscription)> },
    /// Learn the names of these topics, and of no others any more; [`Event::TopicsNamed`] may follow whenever some are
    /// known.
    NameTopics(BTreeSet<Uuid>),
    /// The application's next poll fails with this.
    Fail(Error),
    /// The member is out of the group, as it was asked to be.
    Gone,
}

/// Who the member is in its group, for commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub member_id: MemberId,
    /// The generation, or the member epoch of the new protocol; `NONE` outside the group.
    pub generation: GenerationId,
}

/// One of the two machines.
#[derive(Debug)]
pub(crate) enum Membership {
    Classic(classic::Classic),
    Modern(modern::Modern),
}

impl Membership {
    /// Takes an event. Effects are appended in the order in which they must be done.
    pub fn on(&mut self, now: Monotonic, event: Event, effects: &mut Vec<Effect>) {
        match self {
            Self::Classic(m) => m.on(now, event, effects),
            Self::Modern(m) => m.on(now, event, effects),
        }
    }

    /// When [`Event::DeadlineReached`] is due.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        match self {
            Self::Classic(m) => m.next_deadline(),
            Self::Modern(m) => m.next_deadline(),
        }
    }

    pub fn identity(&self) -> Identity {
        match self {
            Self::Classic(m) => m.identity(),
            Self::Modern(m) => m.identity(),
        }
    }

    /// Whether a rebalance is under way or due, so that what is committed may be refused.
    pub fn is_rebalancing(&self) -> bool {
        match self {
            Self::Classic(m) => m.is_rebalancing(),
            Self::Modern(m) => m.is_rebalancing(),
        }
    }

    /// Whether this member divides the group, so that a change of the topics concerns it.
    pub fn is_leader(&self) -> bool {
        matches!(self, Self::Classic(m) if m.is_leader())
    }
}

/// A member id that the client makes itself (KIP-848, KIP-1082).
pub(crate) fn new_member_id(random: &Random) -> MemberId {
    random.uuid().to_string().into()
}
