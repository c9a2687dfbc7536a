//! Which partitions were moved from whom to whom during one search, so that two members don't swap partitions of the
//! same topic: the one that came is sent back instead.

use std::collections::BTreeMap;

use logrun_model::{MemberId, Str, TopicPartition};

use super::super::java_order::{bucket, capacity, topic_partition_hash};

/// From whom, to whom.
type Pair = (MemberId, MemberId);

/// A set in the order of Java's `HashSet`, of which only the first matters.
#[derive(Debug, Default)]
struct Moved {
    partitions: Vec<TopicPartition>,
    most: usize,
}

impl Moved {
    fn add(&mut self, tp: TopicPartition) {
        self.partitions.push(tp);
        self.most = self.most.max(self.partitions.len());
    }

    fn first(&self) -> Option<&TopicPartition> {
        let capacity = capacity(self.most);
        self.partitions.iter().min_by_key(|tp| bucket(topic_partition_hash(tp), capacity))
    }
}

/// See [the module](self).
#[derive(Debug, Default)]
pub(super) struct Movements {
    by_topic: BTreeMap<Str, BTreeMap<Pair, Moved>>,
    by_partition: BTreeMap<TopicPartition, Pair>,
}

impl Movements {
    fn add(&mut self, tp: &TopicPartition, pair: Pair) {
        self.by_topic.entry(tp.topic.clone()).or_default().entry(pair.clone()).or_default().add(tp.clone());
        self.by_partition.insert(tp.clone(), pair);
    }

    /// The partition is moved.
    pub(super) fn moved(&mut self, tp: &TopicPartition, from: &MemberId, to: &MemberId) {
        let Some(former) = self.by_partition.remove(tp) else {
            return self.add(tp, (from.clone(), to.clone()));
        };
        if let Some(pairs) = self.by_topic.get_mut(&tp.topic)
            && let Some(moved) = pairs.get_mut(&former)
        {
            moved.partitions.retain(|p| p != tp);
            if moved.partitions.is_empty() {
                pairs.remove(&former);
            }
        }
        // Back where it was, it has not moved.
        if former.0 != *to {
            self.add(tp, (former.0, to.clone()));
        }
    }

    /// The partition that is to be moved in place of `tp`: one of its topic that went the other way before, if any.
    pub(super) fn instead_of(&self, tp: &TopicPartition, from: &MemberId, to: &MemberId) -> TopicPartition {
        let from = self.by_partition.get(tp).map_or(from, |former| &former.0);
        let reverse = (to.clone(), from.clone());
        let moved = self.by_topic.get(&tp.topic).and_then(|pairs| pairs.get(&reverse));
        moved.and_then(Moved::first).unwrap_or(tp).clone()
    }
}
