//! `RangeAssignor`: of each topic every member gets a run of partitions (KIP-881 with racks).
//!
//! Topics with as many partitions and the same members are divided alike, so that partition N of each goes to the
//! same member; this goes before racks.

use std::collections::{BTreeMap, BTreeSet};

use logrun_model::{MemberId, Str, TopicPartition};

use super::{GroupAssignment, MemberSubscription, PartitionAssignor, PartitionRacks, TopicRacks};

/// See [the module](self).
#[derive(Clone, Copy, Debug, Default)]
pub struct RangeAssignor;

impl PartitionAssignor for RangeAssignor {
    fn name(&self) -> &str {
        "range"
    }

    fn assign(&self, topics: &TopicRacks, members: &[(MemberId, MemberSubscription)]) -> GroupAssignment {
        let mut assignment: GroupAssignment = members.iter().map(|(id, _)| (id.clone(), Vec::new())).collect();
        let mut sorted: Vec<_> = members.iter().collect();
        super::sort_members(&mut sorted);
        let mut states: Vec<Topic<'_>> = topics
            .iter()
            .filter(|(_, partitions)| !partitions.is_empty())
            .map(|(name, partitions)| Topic::new(name, partitions, &sorted))
            .collect();
        if states.iter().any(|t| t.rack_aware) {
            match_racks(&mut states, &mut assignment);
        }
        for topic in &mut states {
            topic.assign_ranges(&mut assignment, |_, _, _| true);
        }
        for partitions in assignment.values_mut() {
            partitions.sort();
        }
        assignment
    }
}

/// The state of one topic's division.
struct Topic<'a> {
    name: &'a Str,
    /// Who wants it, in order, with their racks.
    consumers: Vec<(&'a MemberId, Option<&'a Str>)>,
    /// How many partitions each has of it; parallel to `consumers`.
    assigned: Vec<usize>,
    /// The racks of all partitions by their position.
    partitions: &'a [PartitionRacks],
    unassigned: BTreeSet<usize>,
    per_consumer: usize,
    remaining_with_extra: usize,
    rack_aware: bool,
}

impl<'a> Topic<'a> {
    fn new(name: &'a Str, partitions: &'a [PartitionRacks], sorted: &[&'a (MemberId, MemberSubscription)]) -> Self {
        let consumers: Vec<_> =
            sorted.iter().filter(|(_, s)| s.topics.contains(name)).map(|(id, s)| (id, super::rack(s))).collect();
        let consumer_racks: BTreeSet<&Str> = consumers.iter().filter_map(|(_, r)| *r).collect();
        let all: BTreeSet<&Str> = partitions.iter().flat_map(|p| &p.racks).collect();
        let rack_aware = super::use_rack_aware(&consumer_racks, &all, partitions.iter().map(|p| p.racks.clone()));
        let n = consumers.len();
        Self {
            name,
            assigned: vec![0; n],
            unassigned: (0..partitions.len()).collect(),
            per_consumer: partitions.len().checked_div(n).unwrap_or(0),
            remaining_with_extra: partitions.len().checked_rem(n).unwrap_or(0),
            consumers,
            partitions,
            rack_aware,
        }
    }

    fn racks_match(&self, consumer: usize, partition: usize) -> bool {
        self.consumers[consumer].1.is_none_or(|rack| self.partitions[partition].racks.contains(rack))
    }

    /// How many more partitions the consumer may get.
    fn max_assignable(&self, consumer: usize) -> usize {
        (self.per_consumer + usize::from(self.remaining_with_extra > 0)).saturating_sub(self.assigned[consumer])
    }

    fn assign(&mut self, consumer: usize, partitions: &[usize], assignment: &mut GroupAssignment) {
        self.assigned[consumer] += partitions.len();
        if self.assigned[consumer] > self.per_consumer {
            self.remaining_with_extra -= 1;
        }
        let list = assignment.entry(self.consumers[consumer].0.clone()).or_default();
        for p in partitions {
            self.unassigned.remove(p);
            list.push(TopicPartition { topic: self.name.clone(), partition: self.partitions[*p].partition });
        }
    }

    fn assign_ranges(&mut self, assignment: &mut GroupAssignment, may: impl Fn(&Self, usize, usize) -> bool) {
        for consumer in 0..self.consumers.len() {
            let most = self.max_assignable(consumer);
            let fit: Vec<usize> =
                self.unassigned.iter().copied().filter(|p| may(self, consumer, *p)).take(most).collect();
            if !fit.is_empty() {
                self.assign(consumer, &fit, assignment);
            }
        }
    }
}

/// First what fits the racks: topics that are divided alike together, the others each for itself.
fn match_racks(states: &mut [Topic<'_>], assignment: &mut GroupAssignment) {
    type Alike<'a> = (Vec<(&'a MemberId, Option<&'a Str>)>, usize);
    let mut groups: BTreeMap<Alike<'_>, Vec<usize>> = BTreeMap::new();
    for (i, t) in states.iter().enumerate() {
        // Where no consumer has a rack, the partitions' racks are not looked at and count as none.
        let racks_known = t.consumers.iter().any(|(_, r)| r.is_some());
        let count = if racks_known { t.partitions.len() } else { 0 };
        groups.entry((t.consumers.clone(), count)).or_default().push(i);
    }
    for ((consumers, partitions), topics) in groups {
        if let [one] = topics[..] {
            let topic = &mut states[one];
            if topic.rack_aware {
                topic.assign_ranges(assignment, Topic::racks_match);
            }
            continue;
        }
        let mut remaining: Vec<usize> = (0..consumers.len()).collect();
        for p in 0..partitions {
            let fits =
                |c: &usize| topics.iter().all(|t| states[*t].racks_match(*c, p) && states[*t].max_assignable(*c) > 0);
            let Some(consumer) = remaining.iter().copied().find(fits) else { continue };
            for t in &topics {
                states[*t].assign(consumer, &[p], assignment);
            }
            if topics.iter().all(|t| states[*t].max_assignable(consumer) == 0) {
                remaining.retain(|c| *c != consumer);
                if remaining.is_empty() {
                    break;
                }
            }
        }
    }
}
