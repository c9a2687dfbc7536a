//! The fast way: all members want the same topics. Each keeps what it has up to its share, the rest is dealt out.
//!
//! Must give every member the floor or the ceiling of the mean, never anything else.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use logrun_model::{MemberId, TopicPartition};

use super::super::GroupAssignment;
use super::Start;

/// Assigns; the second part is what changes hands and who gains it.
pub(super) fn assign(start: Start<'_>) -> (GroupAssignment, BTreeMap<TopicPartition, MemberId>) {
    let total: usize = start.topics.values().map(Vec::len).sum();
    let members = start.owned.len();
    let mut b = Builder {
        min_quota: total / members,
        max_quota: total.div_ceil(members),
        over_min_expected: total % members,
        over_min: 0,
        under: Vec::new(),
        exactly: VecDeque::new(),
        maybe_revoked: BTreeMap::new(),
        assigned: BTreeSet::new(),
        assignment: start.owned.iter().map(|(id, _)| (id.clone(), Vec::new())).collect(),
        transferring: BTreeMap::new(),
        start,
    };
    b.keep_owned();
    let mut unassigned: Vec<TopicPartition> = Vec::with_capacity(total - b.assigned.len());
    for (topic, partitions) in b.start.topics {
        let all = partitions.iter().map(|p| TopicPartition { topic: topic.clone(), partition: p.partition });
        unassigned.extend(all.filter(|tp| !b.assigned.contains(tp)));
    }
    b.under.sort();
    b.exactly.make_contiguous().sort();
    b.start.racks.sort_by_consumers(&mut unassigned);
    if !b.start.racks.consumers.is_empty() {
        unassigned = b.deal_within_racks(unassigned);
    }
    b.deal(unassigned);
    (b.assignment, b.transferring)
}

struct Builder<'a> {
    start: Start<'a>,
    min_quota: usize,
    max_quota: usize,
    /// How many members get more than `min_quota`: none if all get the same.
    over_min_expected: usize,
    over_min: usize,
    /// Members below `min_quota`.
    under: Vec<MemberId>,
    /// Members at `min_quota` that may still get one more.
    exactly: VecDeque<MemberId>,
    /// What members had beyond their share, or on the wrong rack.
    maybe_revoked: BTreeMap<TopicPartition, MemberId>,
    assigned: BTreeSet<TopicPartition>,
    assignment: GroupAssignment,
    transferring: BTreeMap<TopicPartition, MemberId>,
}

impl Builder<'_> {
    /// Leaves the members what they have, as long as the racks match, up to their share.
    fn keep_owned(&mut self) {
        for (consumer, owned) in std::mem::take(&mut self.start.owned) {
            let (misplaced, mut owned): (Vec<_>, Vec<_>) =
                owned.into_iter().partition(|tp| self.start.racks.mismatch(&consumer, tp));
            self.maybe_revoked.extend(misplaced.into_iter().map(|tp| (tp, consumer.clone())));
            owned.retain(|tp| !self.start.claimed_twice.contains(tp));
            owned.sort_by(|a, b| (a.partition, &a.topic).cmp(&(b.partition, &b.topic)));
            let kept = if owned.len() < self.min_quota {
                self.under.push(consumer.clone());
                owned.len()
            } else if owned.len() >= self.max_quota && self.over_min < self.over_min_expected {
                self.over_min += 1;
                if self.over_min == self.over_min_expected {
                    self.exactly.clear();
                }
                self.max_quota
            } else {
                if self.over_min < self.over_min_expected {
                    self.exactly.push_back(consumer.clone());
                }
                self.min_quota
            };
            self.maybe_revoked.extend(owned.split_off(kept).into_iter().map(|tp| (tp, consumer.clone())));
            self.assigned.extend(owned.iter().cloned());
            self.assignment.insert(consumer, owned);
        }
    }

    fn count(&self, consumer: &MemberId) -> usize {
        self.assignment.get(consumer).map_or(0, Vec::len)
    }

    /// Gives the partition to the consumer; how many it has then.
    fn give(&mut self, tp: TopicPartition, consumer: &MemberId) -> usize {
        let from_another = self.maybe_revoked.get(&tp).is_some_and(|owner| owner != consumer);
        if from_another || self.start.claimed_twice.contains(&tp) {
            self.transferring.insert(tp.clone(), consumer.clone());
        }
        let list = self.assignment.entry(consumer.clone()).or_default();
        list.push(tp);
        list.len()
    }

    /// Deals within racks, around; gives back what fits nowhere.
    fn deal_within_racks(&mut self, unassigned: Vec<TopicPartition>) -> Vec<TopicPartition> {
        let mut left = Vec::new();
        let mut next = 0;
        for tp in unassigned {
            let mut chosen = None;
            if let Some(mut index) = self.start.racks.next_consumer(&tp, &self.under, next) {
                let consumer = self.under[index].clone();
                let count = self.count(&consumer) + 1;
                if count >= self.min_quota {
                    self.under.remove(index);
                    if count < self.max_quota && self.over_min < self.over_min_expected {
                        self.exactly.push_back(consumer.clone());
                    }
                } else {
                    index += 1;
                }
                next = index.checked_rem(self.under.len()).unwrap_or(0);
                chosen = Some(consumer);
            } else if let Some(index) = self.start.racks.next_consumer(&tp, self.exactly.make_contiguous(), 0) {
                let consumer = self.exactly[index].clone();
                if self.count(&consumer) + 1 == self.max_quota {
                    self.exactly.remove(index);
                    self.over_min += 1;
                    if self.over_min == self.over_min_expected {
                        self.exactly.clear();
                    }
                }
                chosen = Some(consumer);
            }
            match chosen {
                Some(consumer) => {
                    self.give(tp, &consumer);
                }
                None => left.push(tp),
            }
        }
        left
    }

    /// Deals the rest: around those below their share, then one each to those that may have one more.
    fn deal(&mut self, unassigned: Vec<TopicPartition>) {
        let mut next = 0;
        for tp in unassigned {
            if next >= self.under.len() {
                next = 0;
            }
            let from_under = self.under.get(next).cloned();
            let Some(consumer) = from_under.clone().or_else(|| self.exactly.pop_front()) else {
                debug_assert!(false, "a partition is left and every member has its share");
                return;
            };
            let count = self.give(tp, &consumer);
            if from_under.is_some() {
                if count == self.min_quota {
                    self.under.remove(next);
                    self.exactly.push_back(consumer);
                } else {
                    next += 1;
                }
            }
        }
    }
}
