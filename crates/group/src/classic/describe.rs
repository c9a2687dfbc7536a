//! What is told of a group, and the rules that depend on its state but concern its offsets: who may commit, delete,
//! and what may expire. KIP-211 (expiry), KIP-496 (OffsetDelete).

use std::collections::BTreeSet;

use logrun_model::{Str, TimestampMs};
use logrun_wire::ErrorCode;
use logrun_wire::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use logrun_wire::messages::list_groups_response::ListedGroup;

use super::record::CONSUMER;
use super::{ClassicGroup, State};

/// From when on an offset's retention counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    /// Not at all: members are there whose subscription is not known, or a rebalance is under way.
    Never,
    /// From its commit.
    SinceCommit,
    /// From when the group became empty, however old the commit is.
    Since(TimestampMs),
}

/// The topics whose offsets must not expire or be deleted because members consume them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subscribed {
    Nothing,
    To(BTreeSet<Str>),
    /// Consumers whose subscription could not be read: everything, to be safe.
    Everything,
}

impl Subscribed {
    pub fn contains(&self, topic: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::To(topics) => topics.contains(topic),
            Self::Everything => true,
        }
    }
}

impl ClassicGroup {
    /// Whether a member, or somebody who is none, may commit offsets now.
    ///
    /// A negative generation comes from a consumer that does not use membership, or from a tool.
    pub fn check_offset_commit(
        &self,
        member_id: &Str,
        instance_id: Option<&Str>,
        generation_id: i32,
        is_transactional: bool,
    ) -> Result<(), ErrorCode> {
        if generation_id < 0 && self.state == State::Empty {
            return Ok(());
        }
        if generation_id >= 0 || !member_id.is_empty() || instance_id.is_some() {
            self.validate_member(member_id, instance_id)?;
            if generation_id != self.generation.get() {
                return Err(ErrorCode::IllegalGeneration);
            }
        } else if !is_transactional && self.state != State::Empty {
            return Err(ErrorCode::UnknownMemberId);
        }
        if !is_transactional && self.state == State::CompletingRebalance {
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(())
    }

    /// Whether offsets may be deleted at all; [`Self::subscribed`] says of which topics they may not.
    pub fn check_offset_delete(&self) -> Result<(), ErrorCode> {
        let allowed = self.state == State::Empty || self.uses_consumer_protocol();
        if allowed { Ok(()) } else { Err(ErrorCode::NonEmptyGroup) }
    }

    pub fn check_delete(&self) -> Result<(), ErrorCode> {
        if self.state == State::Empty { Ok(()) } else { Err(ErrorCode::NonEmptyGroup) }
    }

    fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type.as_ref().is_some_and(|t| *t == CONSUMER)
    }

    pub fn subscribed(&self) -> Subscribed {
        match &self.subscribed {
            Some(topics) => Subscribed::To(topics.clone()),
            None if self.uses_consumer_protocol() => Subscribed::Everything,
            None => Subscribed::Nothing,
        }
    }

    pub fn expiry(&self) -> Expiry {
        if self.protocol_type.is_none() {
            return Expiry::SinceCommit;
        }
        match self.state {
            State::Empty if self.state_since.is_some() => Expiry::Since(self.state_since),
            State::Empty => Expiry::SinceCommit,
            State::Stable if self.uses_consumer_protocol() && self.subscribed.is_some() => Expiry::SinceCommit,
            State::Stable | State::PreparingRebalance | State::CompletingRebalance => Expiry::Never,
        }
    }

    pub fn listed(&self) -> ListedGroup {
        ListedGroup {
            group_id: self.id.clone(),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            group_state: Str::from_static(self.state.name()),
            group_type: Str::from_static("classic"),
            ..Default::default()
        }
    }

    /// Members' subscriptions and the protocol are told only of a stable group: before, they are not agreed upon.
    pub fn described(&self) -> DescribedGroup {
        let is_stable = self.state == State::Stable;
        let protocol = self.protocol.as_ref().filter(|_| is_stable);
        let member = |m: &super::Member| DescribedGroupMember {
            member_id: m.id.clone(),
            group_instance_id: m.instance_id.clone(),
            client_id: m.client_id.clone(),
            client_host: m.client_host.clone(),
            member_metadata: m.metadata(protocol),
            member_assignment: m.assignment.clone(),
            ..Default::default()
        };
        DescribedGroup {
            group_id: self.id.clone(),
            group_state: Str::from_static(self.state.name()),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            protocol_data: protocol.cloned().unwrap_or_default(),
            members: self.members.values().map(member).collect(),
            ..Default::default()
        }
    }
}
