//! The questions that clients and replicas ask of a partition: records, offsets by time, ends of epochs.

use std::sync::Arc;

use logrun_log::{AbortedTxn, LogError, LogRange, ReadPlan};
use logrun_model::{BrokerEpoch, LeaderEpoch, NodeId, Now, Offset, TimestampMs};
use logrun_partition::{Event, FetchBounds, FetchRange, Reader};
use logrun_wire::{Elsewhere, Records};

use super::partition::Partition;
use crate::errors::Failure;
use crate::waiting::Waiter;

/// Who fetches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetcher {
    ReadUncommitted,
    ReadCommitted,
    Replica {
        id: NodeId,
        epoch: BrokerEpoch,
    },
    /// Replica id -2: a debugging consumer that sees everything.
    Debugging,
}

impl Fetcher {
    /// By the replica id (-1: a consumer) and isolation level of a request.
    pub fn from_wire(replica_id: i32, replica_epoch: i64, isolation_level: i8) -> Self {
        match (replica_id, isolation_level) {
            (id, _) if id >= 0 => Self::Replica { id: NodeId(id), epoch: BrokerEpoch(replica_epoch) },
            (-2, _) => Self::Debugging,
            (_, 1) => Self::ReadCommitted,
            _ => Self::ReadUncommitted,
        }
    }

    fn reader(self) -> Reader {
        match self {
            Self::ReadUncommitted => Reader::ReadUncommitted,
            Self::ReadCommitted => Reader::ReadCommitted,
            Self::Replica { id, .. } => Reader::Replica(id),
            Self::Debugging => Reader::Debugging,
        }
    }
}

/// A fetch from one partition.
#[derive(Clone, Copy, Debug)]
pub struct FetchRead<'a> {
    pub fetcher: Fetcher,
    pub offset: Offset,
    /// A follower's own log start offset.
    pub log_start_offset: Offset,
    pub current_leader_epoch: LeaderEpoch,
    pub last_fetched_epoch: LeaderEpoch,
    pub max_bytes: usize,
    /// The first batch comes whole whatever the limits.
    pub at_least_one_batch: bool,
    /// Hears of the partition's next change.
    pub waiter: Option<&'a Arc<Waiter>>,
}

/// What a fetch is answered with, but for the records, which the plan still has to get.
#[derive(Debug)]
pub struct PlannedRead {
    pub plan: Option<ReadPlan>,
    pub high_watermark: Offset,
    pub last_stable_offset: Offset,
    pub log_start_offset: Offset,
    /// Where the fetcher's log parts from ours.
    pub diverging: Option<(LeaderEpoch, Offset)>,
}

/// Records, and the aborted transactions among them.
#[derive(Debug, Default)]
pub struct ReadRecords {
    pub records: Records,
    pub aborted: Option<Vec<AbortedTxn>>,
}

/// What ListOffsets asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetQuestion {
    Earliest,
    Latest,
    /// The record with the greatest timestamp (KIP-734).
    MaxTimestamp,
    /// The earliest offset on a local disk (KIP-405).
    EarliestLocal,
    /// The end of what tiered storage holds (KIP-1005): nothing here.
    LatestTiered,
    /// The first offset that tiered storage still waits for (KIP-1023): nothing here.
    EarliestPendingUpload,
    /// The first record with this timestamp or a later one.
    AtOrAfter(TimestampMs),
}

/// What ListOffsets answers; all none if there is no such record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundOffset {
    pub timestamp: TimestampMs,
    pub offset: Offset,
    pub leader_epoch: LeaderEpoch,
}

impl FoundOffset {
    const NOTHING: Self = Self { timestamp: TimestampMs::NONE, offset: Offset::NONE, leader_epoch: LeaderEpoch::NONE };
}

impl Partition {
    /// Decides how far a fetch may read and plans the read.
    pub fn plan_fetch(&self, now: Now, fetch: FetchRead<'_>) -> Result<PlannedRead, Failure> {
        let mut state = self.state.lock();
        if let Some(waiter) = fetch.waiter {
            state.watch(waiter);
        }
        let range = FetchRange {
            reader: fetch.fetcher.reader(),
            only_leader: true,
            fetch_offset: fetch.offset,
            current_leader_epoch: fetch.current_leader_epoch,
            last_fetched_epoch: fetch.last_fetched_epoch,
        };
        let bounds = state.replica.fetch_bounds(&range, state.log.epochs());
        let bounds =
            bounds.map_err(|e| Failure { log_start_offset: Some(state.log.log_start_offset()), ..e.into() })?;
        if let Fetcher::Replica { id, .. } = fetch.fetcher
            && matches!(bounds, FetchBounds::Read { .. })
        {
            let event = Event::FollowerFetched {
                replica: id,
                fetch_offset: fetch.offset,
                log_start_offset: fetch.log_start_offset,
                eligible: false,
            };
            state.on(now, event, self);
        }
        match bounds {
            FetchBounds::Read { upper_bound, offsets } => {
                let plan = state.log.plan_read(fetch.offset, upper_bound, fetch.max_bytes, fetch.at_least_one_batch);
                Ok(PlannedRead {
                    plan: Some(plan.map_err(|e| self.storage_failed(e))?),
                    high_watermark: offsets.high_watermark,
                    last_stable_offset: offsets.last_stable_offset,
                    log_start_offset: offsets.log_start_offset,
                    diverging: None,
                })
            }
            FetchBounds::Diverging { epoch, end_offset, offsets } => Ok(PlannedRead {
                plan: None,
                high_watermark: offsets.high_watermark,
                last_stable_offset: offsets.last_stable_offset,
                log_start_offset: offsets.log_start_offset,
                diverging: Some((epoch, end_offset)),
            }),
        }
    }

    /// Gets the records of a plan; may wait for the disk unless the plan is in memory.
    pub fn run_read(&self, fetcher: Fetcher, from: Offset, plan: ReadPlan) -> Result<ReadRecords, Failure> {
        let found = plan.run().map_err(|e| self.storage_failed(e))?;
        let aborted = self.aborted_within(fetcher, from, found.next_offset, found.bytes)?;
        Ok(ReadRecords { records: found.slices.into(), aborted })
    }

    /// Records that are sent from their file.
    pub fn range_read(&self, fetcher: Fetcher, from: Offset, found: LogRange) -> Result<ReadRecords, Failure> {
        let len = found.range.len();
        let aborted = self.aborted_within(fetcher, from, found.next_offset, len)?;
        Ok(ReadRecords { records: Elsewhere { source: Arc::new(found.range), len }.into(), aborted })
    }

    /// The aborted transactions that a reader must know of for the `bytes` of records from `from` to before `end`.
    fn aborted_within(
        &self,
        fetcher: Fetcher,
        from: Offset,
        end: Offset,
        bytes: usize,
    ) -> Result<Option<Vec<AbortedTxn>>, Failure> {
        match fetcher {
            Fetcher::ReadCommitted if bytes > 0 => {
                let list = self.state.lock().log.aborted_transactions(from, end);
                Ok(Some(list.map_err(|e| self.storage_failed(e))?))
            }
            Fetcher::ReadCommitted => Ok(Some(Vec::new())),
            _ => Ok(None),
        }
    }

    /// Answers ListOffsets. A search by time may wait for the disk.
    pub fn find_offset(
        &self,
        fetcher: Fetcher,
        current_leader_epoch: LeaderEpoch,
        question: OffsetQuestion,
    ) -> Result<FoundOffset, Failure> {
        let needs_end = !matches!(
            question,
            OffsetQuestion::Earliest
                | OffsetQuestion::EarliestLocal
                | OffsetQuestion::LatestTiered
                | OffsetQuestion::EarliestPendingUpload
        );
        let (plan, end) = {
            let state = self.state.lock();
            let bounds = state.replica.list_offsets_bounds(fetcher.reader(), current_leader_epoch, needs_end)?;
            let at = |offset: Offset, epoch: Option<LeaderEpoch>| FoundOffset {
                timestamp: TimestampMs::NONE,
                offset,
                leader_epoch: epoch.unwrap_or(LeaderEpoch::NONE),
            };
            let end = bounds.last_fetchable_offset;
            let plan = match question {
                OffsetQuestion::Earliest | OffsetQuestion::EarliestLocal => {
                    let start = bounds.log_start_offset;
                    return Ok(at(start, state.log.epochs().epoch_for_offset(start)));
                }
                OffsetQuestion::Latest => return Ok(at(end, state.log.latest_epoch())),
                OffsetQuestion::LatestTiered | OffsetQuestion::EarliestPendingUpload => {
                    return Ok(FoundOffset::NOTHING);
                }
                OffsetQuestion::MaxTimestamp => state.log.plan_max_timestamp(),
                OffsetQuestion::AtOrAfter(timestamp) => state.log.plan_offset_for_timestamp(timestamp),
            };
            (plan, end)
        };
        let found = plan.run().map_err(|e: LogError| self.storage_failed(e))?;
        Ok(match found {
            // What is not fetchable yet is not found yet.
            Some(found) if found.offset < end => {
                FoundOffset { timestamp: found.timestamp, offset: found.offset, leader_epoch: found.leader_epoch }
            }
            _ => FoundOffset::NOTHING,
        })
    }

    /// Where `requested` ended: (epoch, end offset), both none if unknown.
    pub fn end_offset_for_epoch(
        &self,
        current: LeaderEpoch,
        requested: LeaderEpoch,
    ) -> Result<(LeaderEpoch, Offset), Failure> {
        let state = self.state.lock();
        Ok(state.replica.end_offset_for_epoch(current, requested, state.log.epochs())?)
    }
}
