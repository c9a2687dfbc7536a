//! A member of a classic group: Kafka's `ClassicGroupMember`. Data only; the group keeps the counts that depend on it.

use std::collections::BTreeSet;

use bytes::Bytes;
use logrun_model::{MemberId, Str};
use logrun_wire::messages::join_group_request::JoinGroupRequestProtocol;

use crate::request::Token;

/// A protocol (an assignor, for consumers) that a member supports, and its subscription for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    pub name: Str,
    pub metadata: Bytes,
}

/// A member, parked or not.
#[derive(Clone, Debug)]
pub struct Member {
    pub id: MemberId,
    /// `group.instance.id` of a static member (KIP-345).
    pub instance_id: Option<Str>,
    pub client_id: Str,
    pub client_host: Str,
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    /// In the member's order of preference; names are distinct.
    pub protocols: Vec<Protocol>,
    pub assignment: Bytes,
    /// Its JoinGroup, parked until the rebalance completes.
    pub awaiting_join: Option<Token>,
    /// Its SyncGroup, parked until the leader's assignment is committed.
    pub awaiting_sync: Option<Token>,
    /// In its first join: it can't send heartbeats, so being parked does not keep it alive.
    pub is_new: bool,
}

impl Member {
    /// Its subscription for the protocol; empty if it does not support it.
    pub fn metadata(&self, protocol: Option<&Str>) -> Bytes {
        let found = protocol.and_then(|name| self.protocols.iter().find(|p| p.name == *name));
        found.map(|p| p.metadata.clone()).unwrap_or_default()
    }

    /// Whether an elapsed session means nothing: a member that is parked can't send heartbeats.
    pub fn has_satisfied_heartbeat(&self) -> bool {
        !self.is_new && (self.awaiting_join.is_some() || self.awaiting_sync.is_some())
    }

    /// Its vote: the first of its protocols that is a candidate.
    pub fn vote(&self, is_candidate: impl Fn(&Str) -> bool) -> Option<&Str> {
        self.protocols.iter().map(|p| &p.name).find(|name| is_candidate(name))
    }
}

/// The protocols of a request, copied out of its frame so that a group does not keep frames alive. Of two with the
/// same name the first counts.
pub(super) fn protocols_of(requested: &[JoinGroupRequestProtocol]) -> Vec<Protocol> {
    let mut names = BTreeSet::new();
    let distinct = requested.iter().filter(|p| names.insert(&p.name));
    distinct.map(|p| Protocol { name: p.name.detached(), metadata: Bytes::copy_from_slice(&p.metadata) }).collect()
}

/// The id of a new member: its client id or instance id and a random UUID in Java's notation.
pub(super) fn new_member_id(prefix: &str, random: u128) -> MemberId {
    // Version 4, variant 2.
    let bits = (random & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    Str::from(format!("{prefix}-{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn member_ids_look_as_javas() {
        assert_eq!(new_member_id("c", u128::MAX), "c-ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(new_member_id("", 0), "-00000000-0000-4000-8000-000000000000");
    }
}
