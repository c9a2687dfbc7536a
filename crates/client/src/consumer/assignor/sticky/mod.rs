//! `StickyAssignor` and `CooperativeStickyAssignor`: even, and as much as possible as it was (KIP-54, KIP-429, KIP-881).
//!
//! Where all members want the same topics a fast way is taken (`constrained`), else a search that moves partitions
//! until it is even (`general`). The cooperative one then takes back from the result what another member must give up
//! first: the next rebalance hands it over.

mod constrained;
mod general;
mod movements;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use logrun_model::{GenerationId, MemberId, Str, TopicPartition};
use logrun_wire::{Decoder, Encoder};

use super::java_order::{iteration_order, string_hash};
use super::{GroupAssignment, MemberSubscription, PartitionAssignor, RebalanceProtocol, TopicRacks};

/// See [the module](self).
#[derive(Clone, Copy, Debug, Default)]
pub struct StickyAssignor;

/// See [the module](self).
#[derive(Clone, Copy, Debug, Default)]
pub struct CooperativeStickyAssignor;

impl PartitionAssignor for StickyAssignor {
    fn name(&self) -> &str {
        "sticky"
    }

    /// `StickyAssignorUserData` version 1: topics with partitions, and the generation.
    fn user_data(&self, last: Option<(&BTreeSet<TopicPartition>, GenerationId)>) -> Option<Bytes> {
        let (partitions, generation) = last?;
        let mut by_topic: BTreeMap<&Str, Vec<i32>> = BTreeMap::new();
        for tp in partitions {
            by_topic.entry(&tp.topic).or_default().push(tp.partition);
        }
        let mut e = Encoder::new();
        e.i32(i32::try_from(by_topic.len()).ok()?);
        for (topic, partitions) in by_topic {
            e.string("topic", topic, false).ok()?;
            e.i32(i32::try_from(partitions.len()).ok()?);
            partitions.into_iter().for_each(|p| e.i32(p));
        }
        e.i32(generation.get());
        Some(e.into_bytes())
    }

    fn assign(&self, topics: &TopicRacks, members: &[(MemberId, MemberSubscription)]) -> GroupAssignment {
        let data = |s: &MemberSubscription| match &s.user_data {
            None => MemberData::default(),
            // A former assignment that can't be read is as good as none.
            Some(bytes) => read_user_data(bytes).unwrap_or(MemberData { generation: Some(-1), ..Default::default() }),
        };
        assign(topics, members, data).0
    }
}

impl PartitionAssignor for CooperativeStickyAssignor {
    fn name(&self) -> &str {
        "cooperative-sticky"
    }

    fn rebalance_protocol(&self) -> RebalanceProtocol {
        RebalanceProtocol::Cooperative
    }

    /// `CooperativeStickyAssignorUserData`: the generation, for leaders older than subscription version 2.
    fn user_data(&self, last: Option<(&BTreeSet<TopicPartition>, GenerationId)>) -> Option<Bytes> {
        let generation = last.map_or(GenerationId::NONE, |(_, g)| g);
        Some(Bytes::copy_from_slice(&generation.get().to_be_bytes()))
    }

    fn assign(&self, topics: &TopicRacks, members: &[(MemberId, MemberSubscription)]) -> GroupAssignment {
        let data = |s: &MemberSubscription| {
            let generation = if s.generation_id.is_some() {
                Some(s.generation_id.get())
            } else {
                let read = |b: &Bytes| b.first_chunk::<4>().map_or(-1, |b| i32::from_be_bytes(*b));
                s.user_data.as_ref().map(read)
            };
            MemberData { partitions: s.owned_partitions.clone(), generation }
        };
        let (mut assignment, transferring) = assign(topics, members, data);
        let transferring = transferring.unwrap_or_else(|| changing_hands(members, &assignment));
        for (tp, member) in transferring {
            if let Some(list) = assignment.get_mut(&member) {
                list.retain(|p| *p != tp);
            }
        }
        assignment
    }
}

/// What a member says it had, and since which generation.
#[derive(Clone, Debug, Default)]
struct MemberData {
    partitions: Vec<TopicPartition>,
    generation: Option<i32>,
}

const DEFAULT_GENERATION: i32 = -1;

fn read_user_data(bytes: &Bytes) -> Option<MemberData> {
    if bytes.is_empty() {
        return Some(MemberData::default());
    }
    let mut d = Decoder::new(bytes.clone());
    let mut partitions = Vec::new();
    for _ in 0..d.i32("topics").ok()? {
        let topic = d.string("topic", false).ok()?;
        for _ in 0..d.i32("partitions").ok()? {
            partitions.push(TopicPartition { topic: topic.clone(), partition: d.i32("partition").ok()? });
        }
    }
    // Version 0 has no generation.
    let generation = if d.remaining() >= 4 { d.i32("generation").ok() } else { None };
    Some(MemberData { partitions, generation })
}

/// Partitions that one member gains and another loses, with who gains them.
fn changing_hands(
    members: &[(MemberId, MemberSubscription)],
    assignment: &GroupAssignment,
) -> BTreeMap<TopicPartition, MemberId> {
    let (mut added, mut revoked) = (BTreeMap::new(), BTreeSet::new());
    for (id, s) in members {
        let assigned: BTreeSet<_> = assignment.get(id).into_iter().flatten().collect();
        let owned: BTreeSet<_> = s.owned_partitions.iter().collect();
        added.extend(assigned.difference(&owned).map(|tp| ((*tp).clone(), id.clone())));
        revoked.extend(owned.difference(&assigned).map(|tp| (*tp).clone()));
    }
    added.retain(|tp, _| revoked.contains(tp));
    added
}

/// The racks of consumers and partitions, and whether they are to be looked at.
#[derive(Debug, Default)]
struct RackInfo {
    /// Empty if racks don't matter.
    consumers: BTreeMap<MemberId, Str>,
    partitions: BTreeMap<TopicPartition, BTreeSet<Str>>,
    /// How many consumers are on the racks of a partition: those with the fewest are dealt first. Empty if no consumer
    /// has a rack.
    consumer_counts: BTreeMap<TopicPartition, usize>,
}

impl RackInfo {
    fn new(topics: &TopicRacks, members: &[(MemberId, MemberSubscription)]) -> Self {
        let racks: Vec<(&MemberId, &Str)> =
            members.iter().filter_map(|(id, s)| super::rack(s).map(|rack| (id, rack))).collect();
        if racks.is_empty() {
            return Self::default();
        }
        let mut partitions = BTreeMap::new();
        for (topic, list) in topics {
            for p in list {
                partitions.insert(TopicPartition { topic: topic.clone(), partition: p.partition }, p.racks.clone());
            }
        }
        let mut by_rack: BTreeMap<&Str, usize> = BTreeMap::new();
        for (_, rack) in &racks {
            *by_rack.entry(rack).or_default() += 1;
        }
        let count = |racks: &BTreeSet<Str>| racks.iter().map(|r| by_rack.get(r).copied().unwrap_or(0)).sum();
        let consumer_counts = partitions.iter().map(|(tp, racks)| (tp.clone(), count(racks))).collect();
        let all: BTreeSet<&Str> = partitions.values().flatten().collect();
        let consumer_racks: BTreeSet<&Str> = by_rack.keys().copied().collect();
        if super::use_rack_aware(&consumer_racks, &all, partitions.values().cloned()) {
            let consumers = racks.into_iter().map(|(id, rack)| (id.clone(), rack.clone())).collect();
            Self { consumers, partitions, consumer_counts }
        } else {
            Self { consumer_counts, ..Default::default() }
        }
    }

    fn mismatch(&self, consumer: &MemberId, tp: &TopicPartition) -> bool {
        self.consumers
            .get(consumer)
            .is_some_and(|rack| !self.partitions.get(tp).is_some_and(|racks| racks.contains(rack)))
    }

    fn sort_by_consumers(&self, partitions: &mut [TopicPartition]) {
        if !self.consumer_counts.is_empty() {
            partitions.sort_by_key(|tp| self.consumer_counts.get(tp).copied().unwrap_or(0));
        }
    }

    /// The first consumer from `first` on, around, that is on a rack of the partition.
    fn next_consumer(&self, tp: &TopicPartition, list: &[MemberId], first: usize) -> Option<usize> {
        let racks = self.partitions.get(tp).filter(|r| !r.is_empty())?;
        let on_rack = |i: &usize| self.consumers.get(&list[*i]).is_some_and(|r| racks.contains(r));
        (0..list.len()).map(|i| (first + i) % list.len()).find(on_rack)
    }
}

/// What the two ways begin with.
struct Start<'a> {
    topics: &'a TopicRacks,
    racks: RackInfo,
    /// What each member owns and may keep, in the order in which Kafka goes through the members.
    owned: Vec<(MemberId, Vec<TopicPartition>)>,
    /// What several members of one generation claim to own.
    claimed_twice: BTreeSet<TopicPartition>,
}

/// Assigns; the second part is what changes hands, with who gains it, or none where that is not known.
fn assign(
    topics: &TopicRacks,
    members: &[(MemberId, MemberSubscription)],
    data: impl Fn(&MemberSubscription) -> MemberData,
) -> (GroupAssignment, Option<BTreeMap<TopicPartition, MemberId>>) {
    if members.is_empty() {
        return Default::default();
    }
    let mut members: Vec<_> = members.iter().map(|(id, s)| (id, s, data(s))).collect();
    iteration_order(&mut members, |(id, _, _)| string_hash(id));

    let mut equal = true;
    let mut subscribed: BTreeSet<&Str> = BTreeSet::new();
    let mut owned: Vec<(MemberId, Vec<TopicPartition>)> = Vec::new();
    let mut claimed_twice = BTreeSet::new();
    // By partition: the position of its owner so far.
    let mut owners: BTreeMap<&TopicPartition, usize> = BTreeMap::new();
    for (i, (id, s, data)) in members.iter().enumerate() {
        if subscribed.is_empty() {
            subscribed = s.topics.iter().collect();
        } else if s.topics.len() != subscribed.len() || !s.topics.iter().all(|t| subscribed.contains(t)) {
            equal = false;
        }
        owned.push(((*id).clone(), Vec::new()));
        let generation = data.generation.unwrap_or(DEFAULT_GENERATION);
        // A topic that was made anew may have fewer partitions than somebody still owns.
        let exists = |tp: &&TopicPartition| {
            topics.get(&tp.topic).is_some_and(|list| list.iter().any(|p| p.partition == tp.partition))
        };
        for tp in data.partitions.iter().filter(exists) {
            let Some(other) = owners.get(tp).copied() else {
                owned[i].1.push(tp.clone());
                owners.insert(tp, i);
                continue;
            };
            let others = members[other].1.generation_id.get();
            if generation < others {
                continue;
            }
            if generation == others {
                claimed_twice.insert(tp.clone());
            } else {
                owned[i].1.push(tp.clone());
            }
            if let Some(at) = owned[other].1.iter().position(|p| p == tp) {
                owned[other].1.remove(at);
            }
            owners.insert(tp, i);
        }
    }
    let plain: Vec<_> = members.iter().map(|(id, s, _)| ((*id).clone(), (*s).clone())).collect();
    let racks = RackInfo::new(topics, &plain);
    let start = Start { topics, racks, owned, claimed_twice };
    if equal {
        let (assignment, transferring) = constrained::assign(start);
        (assignment, Some(transferring))
    } else {
        let data: Vec<_> = members.into_iter().map(|(id, s, data)| (id.clone(), s, data)).collect();
        (general::assign(start, &data), None)
    }
}
