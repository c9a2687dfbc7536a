//! Compaction on request: `logrun.compact.requested.ms` of a topic, which Kafka has not.
//!
//! A request is a time, so it means the same wherever and however often it is read: on every replica, and after a
//! start. The first look at it begins a new segment, and then rounds are due until all that was there is compacted. One
//! from before the start may have been served already; for it no segment is begun.

use std::collections::BTreeMap;

use logrun_log::LogError;
use logrun_model::{Now, Offset, TimestampMs, TopicIdPartition};

use crate::partitions::Partition;

/// The requests that were seen.
#[derive(Debug)]
pub(super) struct Demands {
    started: TimestampMs,
    seen: BTreeMap<TopicIdPartition, Demand>,
}

#[derive(Clone, Copy, Debug)]
struct Demand {
    requested: TimestampMs,
    /// What is to be compacted (exclusive).
    to: Offset,
}

impl Demands {
    pub fn new(started: TimestampMs) -> Self {
        Self { started, seen: BTreeMap::new() }
    }

    /// Forgets the partitions that are no longer here.
    pub fn retain(&mut self, present: impl Fn(TopicIdPartition) -> bool) {
        self.seen.retain(|id, _| present(*id));
    }

    /// Whether there is a request for `partition` that is not served yet.
    pub fn pending(&mut self, partition: &Partition, requested: TimestampMs, now: Now) -> Result<bool, LogError> {
        if requested.get() <= 0 || requested > now.wall {
            return Ok(false);
        }
        let demand = match self.seen.get(&partition.id) {
            Some(d) if d.requested == requested => *d,
            _ => {
                let to = if requested >= self.started { partition.roll(now)? } else { partition.active_segment() };
                let demand = Demand { requested, to };
                self.seen.insert(partition.id, demand);
                demand
            }
        };
        Ok(partition.first_dirty_offset() < demand.to)
    }
}
