//! Finding offsets: by timestamp, the highest timestamp, aborted transactions in a range.

use std::sync::Arc;

use logrun_model::{LeaderEpoch, Offset, TimestampMs};
use logrun_record::{AnyBatch, Limits};

use crate::error::LogError;
use crate::index::AbortedTxn;
use crate::log::Log;
use crate::read::SegmentRef;
use crate::walk::{Span, Walker};

/// A record found by its timestamp (ListOffsets).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundTimestamp {
    pub timestamp: TimestampMs,
    pub offset: Offset,
    /// None for records of magic 0 and 1.
    pub leader_epoch: LeaderEpoch,
}

/// A look-up that can be done without the log. Runs on any thread; may wait for the disk.
#[derive(Clone, Debug)]
pub struct TimestampPlan {
    start_offset: Offset,
    target: Target,
    /// Oldest first; with the highest timestamp where it is known.
    segments: Vec<(SegmentRef, Option<TimestampMs>)>,
}

#[derive(Clone, Copy, Debug)]
enum Target {
    /// The first record at or after this time.
    AtOrAfter(TimestampMs),
    /// The first record of the highest time.
    Max,
}

impl Log {
    /// Plans the search for the first record whose timestamp is at or after `timestamp`.
    pub fn plan_offset_for_timestamp(&self, timestamp: TimestampMs) -> TimestampPlan {
        self.timestamp_plan(Target::AtOrAfter(timestamp))
    }

    /// Plans the search for the record with the highest timestamp (KIP-734).
    pub fn plan_max_timestamp(&self) -> TimestampPlan {
        self.timestamp_plan(Target::Max)
    }

    fn timestamp_plan(&self, target: Target) -> TimestampPlan {
        let first = self.floor(self.log_start_offset);
        let segments = self
            .segments
            .range(first..)
            .filter(|(_, s)| s.size > 0)
            .map(|(_, s)| {
                let known = s.known_max_timestamp().map(|m| m.timestamp);
                (SegmentRef { shared: s.shared.clone(), size: s.size }, known)
            })
            .collect();
        TimestampPlan { start_offset: self.log_start_offset, target, segments }
    }

    /// The transactions whose records between `from` and `to` (exclusive) were aborted, for a reader of what
    /// is committed.
    pub fn aborted_transactions(&self, from: Offset, to: Offset) -> Result<Vec<AbortedTxn>, LogError> {
        let mut found = Vec::new();
        for s in self.segments.range(self.floor(from)..).map(|(_, s)| s) {
            if s.shared.with_txn(|index| index.collect(from, to, &mut found))? {
                break;
            }
        }
        Ok(found)
    }
}

impl TimestampPlan {
    /// Searches; `None` if no record is as late, or none has a timestamp.
    ///
    /// # Errors
    /// [`LogError::Io`] from the disk; [`LogError::Corrupt`] if what is there is not a batch.
    pub fn run(self) -> Result<Option<FoundTimestamp>, LogError> {
        match self.target {
            Target::AtOrAfter(timestamp) => {
                for (segment, max) in &self.segments {
                    let max = max.map_or_else(|| max_timestamp(segment), Ok)?;
                    if max >= timestamp
                        && let Some(found) = self.search(segment, timestamp)?
                    {
                        return Ok(Some(found));
                    }
                }
                Ok(None)
            }
            Target::Max => {
                let mut best: Option<(TimestampMs, &SegmentRef)> = None;
                for (segment, max) in &self.segments {
                    let max = max.map_or_else(|| max_timestamp(segment), Ok)?;
                    if max.is_some() && best.is_none_or(|(b, _)| max > b) {
                        best = Some((max, segment));
                    }
                }
                match best {
                    Some((max, segment)) => self.search(segment, max),
                    None => Ok(None),
                }
            }
        }
    }

    /// The first record of `segment` that's not before `timestamp`, nor below the log's start.
    fn search(&self, segment: &SegmentRef, timestamp: TimestampMs) -> Result<Option<FoundTimestamp>, LogError> {
        let SegmentRef { shared, size } = segment;
        let from = {
            let mut sparse = shared.sparse(*size)?;
            let (offset, time) = sparse.parts();
            // Up to the entry no record is later than its time, and its batch is the first that reaches it.
            let known = time.lookup(timestamp).offset;
            offset.lookup(known.max(self.start_offset)).1
        };
        let mut walker = shared.headers(from, *size)?;
        while let Some(span) = walker.next_span().map_err(|e| shared.walk_error(e))? {
            if span.max_timestamp < timestamp || span.last_offset < self.start_offset {
                continue;
            }
            if let Some(found) = self.search_batch(shared, &mut walker, &span, timestamp)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn search_batch(
        &self,
        shared: &Arc<crate::segment::SegmentShared>,
        walker: &mut Walker,
        span: &Span,
        timestamp: TimestampMs,
    ) -> Result<Option<FoundTimestamp>, LogError> {
        let corrupt = |e: logrun_record::BatchError| LogError::Corrupt {
            path: shared.file.path(),
            position: span.position,
            reason: e.to_string(),
        };
        let fits = |t: TimestampMs, o: Offset| t >= timestamp && o >= self.start_offset;
        let limits = Limits::default();
        match walker.batch(span).map_err(|e| shared.walk_error(e))? {
            AnyBatch::V2(batch) => {
                for r in batch.records(&limits).map_err(corrupt)? {
                    let r = r.map_err(corrupt)?;
                    if fits(r.timestamp, r.offset) {
                        let leader_epoch = span.leader_epoch;
                        return Ok(Some(FoundTimestamp { timestamp: r.timestamp, offset: r.offset, leader_epoch }));
                    }
                }
            }
            AnyBatch::Legacy(batch) => {
                for r in batch.records(&limits).map_err(corrupt)? {
                    if fits(r.timestamp, r.offset) {
                        let leader_epoch = LeaderEpoch::NONE;
                        return Ok(Some(FoundTimestamp { timestamp: r.timestamp, offset: r.offset, leader_epoch }));
                    }
                }
            }
        }
        Ok(None)
    }
}

/// The highest timestamp of a segment that nobody has looked at yet.
fn max_timestamp(segment: &SegmentRef) -> Result<TimestampMs, LogError> {
    let SegmentRef { shared, size } = segment;
    let (mut max, from) = {
        let mut sparse = shared.sparse(*size)?;
        let (offset, time) = sparse.parts();
        (time.last().timestamp, offset.last().1)
    };
    let mut walker = shared.headers(from, *size)?;
    while let Some(span) = walker.next_span().map_err(|e| shared.walk_error(e))? {
        max = max.max(span.max_timestamp);
    }
    Ok(max)
}
