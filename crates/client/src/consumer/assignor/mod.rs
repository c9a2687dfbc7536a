//! Who of a classic group gets which partitions: Kafka's `ConsumerPartitionAssignor` and its four assignors.
//!
//! Only the group's leader assigns. The four give what Apache Kafka 4.3's classes give for the same group, so that it
//! doesn't matter whose consumer leads; the result depends on nothing but the arguments. Nothing here does IO.

mod java_order;
mod range;
mod round_robin;
mod sticky;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;
use logrun_model::{GenerationId, MemberId, Str, TopicPartition};

pub use range::RangeAssignor;
pub use round_robin::RoundRobinAssignor;
pub use sticky::{CooperativeStickyAssignor, StickyAssignor};

/// What a member of the group brought along when it joined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberSubscription {
    /// The topics that it wants.
    pub topics: Vec<Str>,
    /// What its assignor added for the leader's.
    pub user_data: Option<Bytes>,
    /// The partitions that it had when it joined.
    pub owned_partitions: Vec<TopicPartition>,
    /// The generation that gave it these; `NONE` if it did not say.
    pub generation_id: GenerationId,
    /// `client.rack`.
    pub rack_id: Option<Str>,
    /// `group.instance.id` of a static member.
    pub group_instance_id: Option<Str>,
}

/// A partition and the racks of its replicas' brokers, as far as these have one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionRacks {
    /// The partition's number.
    pub partition: i32,
    /// The racks of all its replicas, in sync or not.
    pub racks: BTreeSet<Str>,
}

/// The topics that exist and that somebody wants, each with its partitions in order.
pub type TopicRacks = BTreeMap<Str, Vec<PartitionRacks>>;

/// Who gets what. Every member is in it.
pub type GroupAssignment = BTreeMap<MemberId, Vec<TopicPartition>>;

/// How a rebalance treats the partitions that a member keeps (KIP-429).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RebalanceProtocol {
    /// Every member gives up everything before it joins.
    Eager,
    /// A member keeps what it has and gives up only what is taken from it.
    Cooperative,
}

/// Divides partitions among the members of a group. Kafka's `ConsumerPartitionAssignor`.
pub trait PartitionAssignor: fmt::Debug + Send + Sync {
    /// The name under which the members agree on it.
    fn name(&self) -> &str;

    /// The protocol that it can follow at best. One that can follow [`RebalanceProtocol::Cooperative`] can follow the
    /// other one too.
    fn rebalance_protocol(&self) -> RebalanceProtocol {
        RebalanceProtocol::Eager
    }

    /// What goes with this member's subscription, from its last assignment and the generation that gave it, if it has
    /// had one.
    fn user_data(&self, _last: Option<(&BTreeSet<TopicPartition>, GenerationId)>) -> Option<Bytes> {
        None
    }

    /// Assigns. `members` are in the order in which the coordinator lists them.
    fn assign(&self, topics: &TopicRacks, members: &[(MemberId, MemberSubscription)]) -> GroupAssignment;
}

/// Whether racks matter: some consumer has a rack that some partition has, and not every partition is on every rack.
fn use_rack_aware(
    consumer_racks: &BTreeSet<&Str>,
    all_partition_racks: &BTreeSet<&Str>,
    mut each_partition: impl Iterator<Item = BTreeSet<Str>>,
) -> bool {
    if consumer_racks.is_disjoint(all_partition_racks) {
        return false;
    }
    !each_partition.all(|racks| racks.iter().collect::<BTreeSet<_>>() == *all_partition_racks)
}

/// The rack of a member, if it has one.
fn rack(member: &MemberSubscription) -> Option<&Str> {
    member.rack_id.as_ref().filter(|r| !r.is_empty())
}

/// Kafka's order of members: static ones first, by instance id; the others by member id.
fn sort_members(members: &mut [&(MemberId, MemberSubscription)]) {
    members.sort_by(|(a, a_sub), (b, b_sub)| match (&a_sub.group_instance_id, &b_sub.group_instance_id) {
        (Some(x), Some(y)) => x.cmp(y),
        (Some(_), None) => std::cmp::Ordering::Less,
        (None, Some(_)) => std::cmp::Ordering::Greater,
        (None, None) => a.cmp(b),
    });
}
