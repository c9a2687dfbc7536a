//! What a request may do on a partition, and how far it may read (Kafka's `Partition.readRecords`,
//! `fetchOffsetForTimestamp`, `lastOffsetForLeaderEpoch` and `checkEnoughReplicasReachOffset`).
//!
//! Pure questions to [`Replica`]: nothing changes here.

use logrun_model::{LeaderEpoch, NodeId, Offset};
use thiserror::Error;

use crate::epoch_cache::EpochCache;
use crate::replica::{Replica, Role};

/// Why a request is refused; each is Kafka's error of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AccessError {
    #[error("this node does not lead the partition")]
    NotLeaderOrFollower,
    #[error("the request's leader epoch {requested} is older than {current}")]
    FencedLeaderEpoch { requested: LeaderEpoch, current: LeaderEpoch },
    #[error("the request's leader epoch {requested} is newer than {current}, which this node knows")]
    UnknownLeaderEpoch { requested: LeaderEpoch, current: LeaderEpoch },
    #[error("fewer replicas are in sync than min.insync.replicas asks for")]
    NotEnoughReplicas,
    #[error("offset {offset} is out of range: the log holds {log_start_offset} to {log_end_offset}")]
    OffsetOutOfRange { offset: Offset, log_start_offset: Offset, log_end_offset: Offset },
    /// The new leader does not know yet how far its predecessor had committed.
    #[error("the high watermark has not caught up with the leader's epoch")]
    OffsetNotAvailable,
    #[error("node {0} is no replica of the partition")]
    UnknownReplica(NodeId),
}

/// Who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// A consumer that takes uncommitted transactions: up to the high watermark.
    ReadUncommitted,
    /// A consumer that doesn't: up to the last stable offset.
    ReadCommitted,
    /// A follower: up to the end.
    Replica(NodeId),
    /// A debugging consumer (replica id -2) that lists offsets: up to the end, of any replica.
    Debugging,
}

/// A fetch from one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchRange {
    pub reader: Reader,
    /// Whether a follower must refuse: followers that fetch, and consumers older than fetch-from-follower (KIP-392).
    pub only_leader: bool,
    pub fetch_offset: Offset,
    /// The leader epoch that the reader knows; none if it doesn't say.
    pub current_leader_epoch: LeaderEpoch,
    /// The epoch of the last record that the reader has; none if it doesn't say.
    pub last_fetched_epoch: LeaderEpoch,
}

/// The ends of the log at one moment, for the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchOffsets {
    pub log_start_offset: Offset,
    pub log_end_offset: Offset,
    pub high_watermark: Offset,
    pub last_stable_offset: Offset,
}

/// How a fetch is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchBounds {
    /// Records from the fetch offset up to `upper_bound` (exclusive); none if the fetch offset has reached it.
    Read { upper_bound: Offset, offsets: FetchOffsets },
    /// The reader's log departs from ours: it truncates to this end of this epoch (KIP-595).
    Diverging { epoch: LeaderEpoch, end_offset: Offset, offsets: FetchOffsets },
}

/// What a search for an offset (ListOffsets) may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListOffsetsBounds {
    pub log_start_offset: Offset,
    /// What `latest` answers; later records aren't found by timestamp.
    pub last_fetchable_offset: Offset,
}

impl Replica {
    /// Compares a request's leader epoch with ours (KIP-320); none passes.
    pub fn check_leader_epoch(&self, requested: LeaderEpoch) -> Result<(), AccessError> {
        let current = self.leader_epoch();
        if !requested.is_some() || requested == current {
            Ok(())
        } else if requested < current {
            Err(AccessError::FencedLeaderEpoch { requested, current })
        } else {
            Err(AccessError::UnknownLeaderEpoch { requested, current })
        }
    }

    /// The epoch to append under, if this node leads.
    pub fn leading(&self) -> Result<LeaderEpoch, AccessError> {
        match self.role {
            Role::Leader { leader_epoch } => Ok(leader_epoch),
            _ => Err(AccessError::NotLeaderOrFollower),
        }
    }

    /// Whether a produce may be appended, and under which epoch. `all_acks` asks for enough replicas in sync.
    pub fn check_append(&self, all_acks: bool) -> Result<LeaderEpoch, AccessError> {
        let leader_epoch = self.leading()?;
        if all_acks && self.is_under_min_isr() {
            return Err(AccessError::NotEnoughReplicas);
        }
        Ok(leader_epoch)
    }

    /// How far `fetch` may read.
    pub fn fetch_bounds(&self, fetch: &FetchRange, epochs: &EpochCache) -> Result<FetchBounds, AccessError> {
        self.check_leader_epoch(fetch.current_leader_epoch)?;
        if self.role == Role::Offline {
            return Err(AccessError::NotLeaderOrFollower);
        }
        if fetch.only_leader {
            self.leading()?;
        }
        if let Reader::Replica(id) = fetch.reader
            && !self.registration().replicas.contains(&id)
        {
            return Err(AccessError::UnknownReplica(id));
        }
        let offsets = self.fetch_offsets();
        let out_of_range = AccessError::OffsetOutOfRange {
            offset: fetch.fetch_offset,
            log_start_offset: self.log_start_offset,
            log_end_offset: self.log_end_offset,
        };
        if fetch.last_fetched_epoch.is_some() {
            let (epoch, end_offset) = epochs.end_offset_for_epoch(fetch.last_fetched_epoch, self.log_end_offset);
            if !epoch.is_some() || !end_offset.is_some() || fetch.fetch_offset < self.log_start_offset {
                return Err(out_of_range);
            }
            if epoch < fetch.last_fetched_epoch || end_offset < fetch.fetch_offset {
                return Ok(FetchBounds::Diverging { epoch, end_offset, offsets });
            }
        }
        if fetch.fetch_offset < self.log_start_offset || fetch.fetch_offset > self.log_end_offset {
            return Err(out_of_range);
        }
        Ok(FetchBounds::Read { upper_bound: self.upper_bound(fetch.reader), offsets })
    }

    /// Where the records that `reader` may see end (exclusive).
    pub const fn upper_bound(&self, reader: Reader) -> Offset {
        match reader {
            Reader::ReadUncommitted => self.high_watermark,
            Reader::ReadCommitted => self.last_stable_offset,
            Reader::Replica(_) | Reader::Debugging => self.log_end_offset,
        }
    }

    /// The log's ends now.
    pub const fn fetch_offsets(&self) -> FetchOffsets {
        FetchOffsets {
            log_start_offset: self.log_start_offset,
            log_end_offset: self.log_end_offset,
            high_watermark: self.high_watermark,
            last_stable_offset: self.last_stable_offset,
        }
    }

    /// What ListOffsets may see. The earliest offset is known even while `OffsetNotAvailable` is answered for others, so
    /// `needs_end` says whether the question is about the end or a timestamp.
    pub fn list_offsets_bounds(
        &self,
        reader: Reader,
        current_leader_epoch: LeaderEpoch,
        needs_end: bool,
    ) -> Result<ListOffsetsBounds, AccessError> {
        self.check_leader_epoch(current_leader_epoch)?;
        if self.role == Role::Offline {
            return Err(AccessError::NotLeaderOrFollower);
        }
        if reader != Reader::Debugging {
            self.leading()?;
        }
        let is_consumer = matches!(reader, Reader::ReadUncommitted | Reader::ReadCommitted);
        if needs_end && is_consumer && self.leader_epoch_start_offset > self.high_watermark {
            return Err(AccessError::OffsetNotAvailable);
        }
        Ok(ListOffsetsBounds {
            log_start_offset: self.log_start_offset,
            last_fetchable_offset: self.upper_bound(reader),
        })
    }

    /// The end of an epoch, as OffsetForLeaderEpoch answers; both none if unknown.
    pub fn end_offset_for_epoch(
        &self,
        current_leader_epoch: LeaderEpoch,
        requested: LeaderEpoch,
        epochs: &EpochCache,
    ) -> Result<(LeaderEpoch, Offset), AccessError> {
        self.check_leader_epoch(current_leader_epoch)?;
        self.leading()?;
        Ok(epochs.end_offset_for_epoch(requested, self.log_end_offset))
    }

    /// Where DeleteRecords may move the log's start for `offset` (-1: the high watermark).
    pub fn delete_records_offset(&self, offset: Offset) -> Result<Offset, AccessError> {
        self.leading()?;
        let to = if offset == Offset::NONE { self.high_watermark } else { offset };
        if !to.is_some() || to > self.high_watermark {
            return Err(AccessError::OffsetOutOfRange {
                offset,
                log_start_offset: self.log_start_offset,
                log_end_offset: self.high_watermark,
            });
        }
        Ok(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::{Event, LogOffsets, PartitionRegistration, ReplicaConfig};
    use logrun_model::{Now, PartitionEpoch};

    fn leader(offsets: LogOffsets) -> Replica {
        let mut r = Replica::new(NodeId(1), offsets, ReplicaConfig::default());
        let registration = PartitionRegistration {
            replicas: vec![NodeId(1), NodeId(2)],
            isr: vec![NodeId(1)],
            leader: NodeId(1),
            leader_epoch: LeaderEpoch(5),
            partition_epoch: PartitionEpoch(0),
        };
        r.on(Now::default(), Event::Metadata(registration), &mut Vec::new());
        r
    }

    fn offsets(start: i64, end: i64, high_watermark: i64, unstable: Option<i64>) -> LogOffsets {
        LogOffsets {
            log_start_offset: Offset(start),
            log_end_offset: Offset(end),
            high_watermark: Offset(high_watermark),
            first_unstable_offset: unstable.map(Offset),
        }
    }

    fn fetch(reader: Reader, offset: i64) -> FetchRange {
        FetchRange {
            reader,
            only_leader: true,
            fetch_offset: Offset(offset),
            current_leader_epoch: LeaderEpoch::NONE,
            last_fetched_epoch: LeaderEpoch::NONE,
        }
    }

    fn upper(r: &Replica, f: &FetchRange) -> Result<i64, AccessError> {
        match r.fetch_bounds(f, &EpochCache::new())? {
            FetchBounds::Read { upper_bound, .. } => Ok(upper_bound.get()),
            FetchBounds::Diverging { .. } => panic!("no epoch was given"),
        }
    }

    #[test]
    fn each_reader_has_its_end() {
        let mut r = leader(offsets(3, 10, 10, Some(6)));
        r.on(
            Now::default(),
            Event::Appended { log_end_offset: Offset(20), first_unstable_offset: Some(Offset(6)) },
            &mut Vec::new(),
        );
        assert_eq!(upper(&r, &fetch(Reader::ReadUncommitted, 4)), Ok(10));
        assert_eq!(upper(&r, &fetch(Reader::ReadCommitted, 4)), Ok(6));
        assert_eq!(upper(&r, &fetch(Reader::Replica(NodeId(2)), 4)), Ok(20));
        assert_eq!(upper(&r, &fetch(Reader::Replica(NodeId(9)), 4)), Err(AccessError::UnknownReplica(NodeId(9))));
        // Behind the high watermark but in the log: nothing yet, and no error.
        assert_eq!(upper(&r, &fetch(Reader::ReadUncommitted, 15)), Ok(10));
        for offset in [2, 21] {
            assert!(matches!(
                upper(&r, &fetch(Reader::ReadUncommitted, offset)),
                Err(AccessError::OffsetOutOfRange { .. })
            ));
        }
    }

    #[test]
    fn epochs_fence() {
        let r = leader(offsets(0, 10, 10, None));
        assert_eq!(r.check_leader_epoch(LeaderEpoch(5)), Ok(()));
        assert!(matches!(r.check_leader_epoch(LeaderEpoch(4)), Err(AccessError::FencedLeaderEpoch { .. })));
        assert!(matches!(r.check_leader_epoch(LeaderEpoch(6)), Err(AccessError::UnknownLeaderEpoch { .. })));
    }

    #[test]
    fn a_reader_from_another_history_is_sent_back() {
        let r = leader(offsets(0, 30, 30, None));
        let mut epochs = EpochCache::new();
        for (e, o) in [(1, 0), (3, 10), (5, 20)] {
            epochs.assign(LeaderEpoch(e), Offset(o));
        }
        let bounds = |epoch, offset| {
            let f = FetchRange { last_fetched_epoch: LeaderEpoch(epoch), ..fetch(Reader::Replica(NodeId(2)), offset) };
            match r.fetch_bounds(&f, &epochs) {
                Ok(FetchBounds::Read { .. }) => None,
                Ok(FetchBounds::Diverging { epoch, end_offset, .. }) => Some((epoch.get(), end_offset.get())),
                Err(_) => Some((-1, -1)),
            }
        };
        assert_eq!(bounds(3, 20), None);
        assert_eq!(bounds(3, 21), Some((3, 20)));
        assert_eq!(bounds(2, 10), Some((1, 10)));
        assert_eq!(bounds(5, 30), None);
        assert_eq!(bounds(5, 31), Some((5, 30)));
        assert_eq!(bounds(6, 30), Some((-1, -1)));
    }

    #[test]
    fn a_new_leader_does_not_know_the_end_yet() {
        let r = Replica::new(NodeId(1), offsets(0, 10, 4, None), ReplicaConfig::default());
        assert!(matches!(
            r.list_offsets_bounds(Reader::ReadUncommitted, LeaderEpoch::NONE, true),
            Err(AccessError::NotLeaderOrFollower)
        ));
        let mut r = leader(offsets(0, 10, 4, None));
        assert_eq!(r.high_watermark(), Offset(10));
        r.leader_epoch_start_offset = Offset(11);
        let list = |needs_end| r.list_offsets_bounds(Reader::ReadUncommitted, LeaderEpoch::NONE, needs_end);
        assert_eq!(list(true), Err(AccessError::OffsetNotAvailable));
        assert_eq!(list(false).unwrap().log_start_offset, Offset(0));
    }
}
