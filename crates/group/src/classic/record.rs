//! A group's GroupMetadata record: written when an assignment is made, when the group becomes empty and when a
//! static member changes its id; read by a new leader. Kafka's `GroupCoordinatorRecordHelpers.newGroupMetadataRecord`
//! and `GroupMetadataManager.replay`.

use std::collections::BTreeSet;

use bytes::Bytes;
use logrun_coordinator::records::group::GroupMetadataValue;
use logrun_coordinator::records::group::group_metadata_value::MemberMetadata;
use logrun_model::{GenerationId, GroupId, Now, Str, TimestampMs};
use logrun_wire::messages::ConsumerProtocolSubscription;
use logrun_wire::{Decoder, Message};

use super::member::{Member, Protocol};
use super::{ClassicGroup, State};

/// `ConsumerProtocol.PROTOCOL_TYPE`: the protocol type of consumers, whose subscriptions can be read.
pub(super) const CONSUMER: &str = "consumer";

impl ClassicGroup {
    /// The group as its last record tells it: Stable if it has members.
    pub fn from_record(id: GroupId, value: &GroupMetadataValue, now: Now) -> Self {
        let mut group = Self::new(id, now);
        let protocol = value.protocol.as_ref().map(Str::detached);
        for m in &value.members {
            let member = Member {
                id: m.member_id.detached(),
                instance_id: m.group_instance_id.as_ref().map(Str::detached),
                client_id: m.client_id.detached(),
                client_host: m.client_host.detached(),
                // Records of version 0 have none.
                rebalance_timeout_ms: if m.rebalance_timeout == -1 { m.session_timeout } else { m.rebalance_timeout },
                session_timeout_ms: m.session_timeout,
                protocols: vec![Protocol {
                    name: protocol.clone().unwrap_or_default(),
                    metadata: Bytes::copy_from_slice(&m.subscription),
                }],
                assignment: Bytes::copy_from_slice(&m.assignment),
                awaiting_join: None,
                awaiting_sync: None,
                is_new: false,
            };
            if !group.members.contains_key(&member.id) {
                group.add(&value.protocol_type, member);
            }
        }
        if !group.members.is_empty() {
            group.state = State::Stable;
        }
        group.generation = GenerationId(value.generation);
        group.state_since = TimestampMs(value.current_state_timestamp);
        group.protocol_type = Some(value.protocol_type.detached()).filter(|t| !t.is_empty());
        group.protocol = protocol;
        // A leader that is no member would never join and would be looked for in vain.
        let leader = value.leader.as_ref().map(Str::detached);
        group.leader = leader.filter(|l| group.members.contains_key(l)).or(group.leader);
        group.subscribed = group.subscribed_topics();
        group
    }

    /// The record of the group as it is now, with these assignments.
    pub(super) fn to_record(&self, assignment: impl Fn(&Member) -> Bytes) -> GroupMetadataValue {
        let member = |m: &Member| MemberMetadata {
            member_id: m.id.clone(),
            group_instance_id: m.instance_id.clone(),
            client_id: m.client_id.clone(),
            client_host: m.client_host.clone(),
            rebalance_timeout: m.rebalance_timeout_ms,
            session_timeout: m.session_timeout_ms,
            subscription: m.metadata(self.protocol.as_ref()),
            assignment: assignment(m),
            ..Default::default()
        };
        GroupMetadataValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation.get(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            current_state_timestamp: self.state_since.get(),
            members: self.members.values().map(member).collect(),
            ..Default::default()
        }
    }

    /// The topics of all members' subscriptions, if they are consumers and all subscriptions can be read.
    pub(super) fn subscribed_topics(&self) -> Option<BTreeSet<Str>> {
        if *self.protocol_type.as_ref()? != CONSUMER {
            return None;
        }
        if self.members.is_empty() {
            return Some(BTreeSet::new());
        }
        let protocol = self.protocol.as_ref();
        protocol?;
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            topics.extend(topics_of(member.metadata(protocol))?);
        }
        Some(topics)
    }
}

/// The topics of a consumer's subscription. Every version begins as version 0 does, so that is how it is read.
fn topics_of(subscription: Bytes) -> Option<Vec<Str>> {
    let mut d = Decoder::new(subscription);
    let version = d.i16("version").ok()?;
    if version < ConsumerProtocolSubscription::VALID_VERSIONS.min {
        return None;
    }
    let read = ConsumerProtocolSubscription::decode(&mut d, ConsumerProtocolSubscription::VALID_VERSIONS.min).ok()?;
    Some(read.topics.iter().map(Str::detached).collect())
}
