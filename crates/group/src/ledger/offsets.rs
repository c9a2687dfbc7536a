//! Committed offsets by group, topic and partition, and those of transactions that are still open.
//! Kafka's `OffsetMetadataManager.Offsets` and `OpenTransactions`.

use std::collections::{BTreeMap, BTreeSet};

use logrun_coordinator::records::group::{OffsetCommitKey, OffsetCommitValue};
use logrun_model::{GroupId, LeaderEpoch, Offset, PartitionIndex, ProducerId, Str, TimestampMs, TopicId};

/// Kafka's `OffsetAndMetadata`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Committed {
    /// Where in `__consumer_offsets` it stands: the later of two commits wins, whichever kind they are.
    pub record_offset: Offset,
    pub offset: Offset,
    pub leader_epoch: LeaderEpoch,
    pub metadata: Str,
    pub commit_timestamp: TimestampMs,
    /// Only of commits with a retention time of their own (OffsetCommit v2–4); else `NONE`.
    pub expire_timestamp: TimestampMs,
    /// Zero if the committer did not say.
    pub topic_id: TopicId,
}

impl Committed {
    fn from_value(record_offset: Offset, v: &OffsetCommitValue) -> Self {
        Self {
            record_offset,
            offset: Offset(v.offset),
            leader_epoch: LeaderEpoch(v.leader_epoch),
            metadata: if v.metadata.is_empty() { Str::EMPTY } else { v.metadata.detached() },
            commit_timestamp: TimestampMs(v.commit_timestamp),
            expire_timestamp: TimestampMs(v.expire_timestamp),
            topic_id: v.topic_id,
        }
    }
}

pub(crate) type ByPartition<V> = BTreeMap<PartitionIndex, V>;
pub(crate) type ByTopic<V> = BTreeMap<Str, ByPartition<V>>;

/// A value for each group, topic and partition; no empty maps are kept.
#[derive(Clone, Debug, PartialEq)]
struct Table<V>(BTreeMap<GroupId, ByTopic<V>>);

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<V> Table<V> {
    fn get(&self, key: &OffsetCommitKey) -> Option<&V> {
        self.0.get(&key.group)?.get(&key.topic)?.get(&key.partition)
    }

    fn get_mut(&mut self, key: &OffsetCommitKey) -> Option<&mut V> {
        self.0.get_mut(&key.group)?.get_mut(&key.topic)?.get_mut(&key.partition)
    }

    /// Names are copied out of the frame or batch they came in, and only when they are new.
    fn insert(&mut self, key: &OffsetCommitKey, value: V) {
        if let Some(slot) = self.get_mut(key) {
            *slot = value;
            return;
        }
        let topics = self.0.entry(key.group.detached()).or_default();
        topics.entry(key.topic.detached()).or_default().insert(key.partition, value);
    }

    fn remove(&mut self, key: &OffsetCommitKey) -> Option<V> {
        let topics = self.0.get_mut(&key.group)?;
        let partitions = topics.get_mut(&key.topic)?;
        let removed = partitions.remove(&key.partition);
        if partitions.is_empty() {
            topics.remove(&key.topic);
        }
        if topics.is_empty() {
            self.0.remove(&key.group);
        }
        removed
    }

    fn keys(&self) -> impl Iterator<Item = OffsetCommitKey> {
        self.0.iter().flat_map(|(group, topics)| {
            topics.iter().flat_map(move |(topic, partitions)| {
                let key = move |p: &PartitionIndex| OffsetCommitKey {
                    group: group.clone(),
                    topic: topic.clone(),
                    partition: *p,
                };
                partitions.keys().map(key)
            })
        })
    }
}

/// All offsets of a partition of `__consumer_offsets`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Offsets {
    committed: Table<Committed>,
    /// What open transactions of each producer have committed so far.
    pending: BTreeMap<ProducerId, Table<Committed>>,
    /// Which producers have something pending there.
    open: Table<BTreeSet<ProducerId>>,
}

impl Offsets {
    pub fn replay(
        &mut self,
        record_offset: Offset,
        producer_id: ProducerId,
        key: &OffsetCommitKey,
        value: Option<&OffsetCommitValue>,
    ) {
        match value {
            Some(v) if !producer_id.is_some() => {
                self.committed.insert(key, Committed::from_value(record_offset, v));
            }
            Some(v) => {
                let pending = self.pending.entry(producer_id).or_default();
                pending.insert(key, Committed::from_value(record_offset, v));
                match self.open.get_mut(key) {
                    Some(producers) => {
                        producers.insert(producer_id);
                    }
                    None => self.open.insert(key, BTreeSet::from([producer_id])),
                }
            }
            None => {
                self.committed.remove(key);
                for producer_id in self.open.remove(key).unwrap_or_default() {
                    if let Some(pending) = self.pending.get_mut(&producer_id) {
                        pending.remove(key);
                    }
                }
            }
        }
    }

    /// A transaction has ended. A pending offset takes effect unless a later commit stands there already: the log
    /// may have been compacted, so the order in which records are met says nothing.
    pub fn end_transaction(&mut self, producer_id: ProducerId, is_committed: bool) {
        let Some(pending) = self.pending.remove(&producer_id) else { return };
        for key in pending.keys() {
            if let Some(producers) = self.open.get_mut(&key) {
                producers.remove(&producer_id);
                if producers.is_empty() {
                    self.open.remove(&key);
                }
            }
        }
        if !is_committed {
            return;
        }
        for key in pending.keys() {
            let (now, ours) = (self.committed.get(&key), pending.get(&key));
            if let Some(ours) = ours
                && now.is_none_or(|standing| ours.record_offset > standing.record_offset)
            {
                self.committed.insert(&key, ours.clone());
            }
        }
    }

    pub fn get(&self, group: &str, topic: &str, partition: PartitionIndex) -> Option<&Committed> {
        self.committed.0.get(group)?.get(topic)?.get(&partition)
    }

    pub fn of_group(&self, group: &str) -> Option<&ByTopic<Committed>> {
        self.committed.0.get(group)
    }

    pub fn is_pending(&self, group: &str, topic: &str, partition: PartitionIndex) -> bool {
        let topics = self.open.0.get(group);
        topics.and_then(|t| t.get(topic)).is_some_and(|p| p.contains_key(&partition))
    }

    pub fn has_pending(&self, group: &str) -> bool {
        self.open.0.contains_key(group)
    }

    /// Whether the group has anything here.
    pub fn has_group(&self, group: &str) -> bool {
        self.committed.0.contains_key(group) || self.has_pending(group)
    }

    /// The groups that have anything here, each once.
    pub fn groups(&self) -> impl Iterator<Item = &GroupId> {
        let only_pending = self.open.0.keys().filter(|id| !self.committed.0.contains_key(*id));
        self.committed.0.keys().chain(only_pending)
    }

    /// The keys of all that the group has committed or pending, each once.
    pub fn keys_of_group(&self, group: &str) -> Vec<OffsetCommitKey> {
        let key = |topic: &Str, partition: &PartitionIndex| OffsetCommitKey {
            group: Str::from(group),
            topic: topic.clone(),
            partition: *partition,
        };
        let mut keys = Vec::new();
        for (topic, partitions) in self.committed.0.get(group).into_iter().flatten() {
            keys.extend(partitions.keys().map(|p| key(topic, p)));
        }
        for (topic, partitions) in self.open.0.get(group).into_iter().flatten() {
            let only_pending = partitions.keys().filter(|p| self.get(group, topic, **p).is_none());
            keys.extend(only_pending.map(|p| key(topic, p)));
        }
        keys
    }

    /// The keys of what was committed, for good or in an open transaction, for a topic that is no more. A commit that
    /// names another topic id is one for the topic's namesake, and stays.
    pub fn keys_of_topic(&self, topic: &str, topic_id: TopicId) -> Vec<OffsetCommitKey> {
        let mut keys: BTreeSet<(GroupId, PartitionIndex)> = BTreeSet::new();
        for table in std::iter::once(&self.committed).chain(self.pending.values()) {
            for (group, topics) in &table.0 {
                let of_topic = topics.get(topic).into_iter().flatten();
                let gone = of_topic.filter(|(_, c)| c.topic_id.is_zero() || c.topic_id == topic_id);
                keys.extend(gone.map(|(p, _)| (group.clone(), *p)));
            }
        }
        let key = |(group, partition)| OffsetCommitKey { group, topic: Str::from(topic), partition };
        keys.into_iter().map(key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(partition: i32) -> OffsetCommitKey {
        OffsetCommitKey { group: "g".into(), topic: "t".into(), partition }
    }

    fn value(offset: i64) -> OffsetCommitValue {
        OffsetCommitValue { offset, ..Default::default() }
    }

    fn committed(o: &Offsets, partition: i32) -> Option<i64> {
        o.get("g", "t", partition).map(|c| c.offset.get())
    }

    #[test]
    fn a_transaction_takes_effect_at_its_end() {
        let mut o = Offsets::default();
        let p = ProducerId(7);
        o.replay(Offset(0), p, &key(0), Some(&value(5)));
        o.replay(Offset(1), p, &key(1), Some(&value(6)));
        o.replay(Offset(2), ProducerId::NONE, &key(1), Some(&value(60)));
        assert_eq!((committed(&o, 0), committed(&o, 1)), (None, Some(60)));
        assert!(o.is_pending("g", "t", 0) && o.has_pending("g"));
        assert_eq!(o.keys_of_group("g").len(), 2);
        o.end_transaction(p, true);
        assert_eq!((committed(&o, 0), committed(&o, 1)), (Some(5), Some(60)), "the later commit stands");
        assert!(!o.has_pending("g"));
        o.replay(Offset(9), p, &key(2), Some(&value(1)));
        o.end_transaction(p, false);
        assert_eq!(committed(&o, 2), None);
        o.end_transaction(p, true);
    }

    #[test]
    fn a_tombstone_takes_pending_offsets_too_and_leaves_nothing_behind() {
        let mut o = Offsets::default();
        o.replay(Offset(0), ProducerId(7), &key(0), Some(&value(5)));
        o.replay(Offset(1), ProducerId::NONE, &key(0), Some(&value(4)));
        o.replay(Offset(2), ProducerId::NONE, &key(0), None);
        o.end_transaction(ProducerId(7), true);
        assert_eq!(o, Offsets::default());
    }

    #[test]
    fn a_deleted_topic_spares_its_namesake() {
        let mut o = Offsets::default();
        let with_id = |id| OffsetCommitValue { topic_id: id, ..value(1) };
        let (old, new) = (TopicId::ONE, TopicId::MIGRATING_DIR);
        o.replay(Offset(0), ProducerId::NONE, &key(0), Some(&with_id(old)));
        o.replay(Offset(1), ProducerId::NONE, &key(1), Some(&with_id(new)));
        o.replay(Offset(2), ProducerId::NONE, &key(2), Some(&value(1)));
        let partitions: Vec<_> = o.keys_of_topic("t", old).iter().map(|k| k.partition).collect();
        assert_eq!(partitions, [0, 2]);
        assert!(o.keys_of_topic("u", old).is_empty());
    }
}
