//! [`Fetched`]: what a fetch brought of one partition, given out record by record. Kafka's `CompletedFetch`.
//!
//! Batches are checked, decompressed and walked when their turn comes, not when they arrive. Control batches, and those
//! of aborted transactions if only committed records are wanted, are passed over; what is given out is never before the
//! position nor behind the batch's end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use logrun_model::{LeaderEpoch, Offset, ProducerId, TimestampMs, TopicPartition};
use logrun_record::{
    AnyBatch, Batch, BatchError, BatchHeader, ControlRecordType, EntryHead, Limits, RecordWalker, TimestampType,
};

use super::super::record::{Part, Slot, Span};
use super::super::subscription::Position;

/// How records are given out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    pub check_crcs: bool,
    pub read_committed: bool,
}

/// An offset that can't be, or that lies outside its batch.
const OUT_OF_RANGE: BatchError = BatchError::MalformedRecord { index: 0, reason: "its offset is out of range" };

/// Batches of one partition that wait to be given out.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub tp: TopicPartition,
    /// The life of the position that it was fetched for.
    pub incarnation: u64,
    /// Batches not looked at yet.
    rest: Bytes,
    open: Option<Open>,
    /// Aborted transactions that begin further on, by first offset.
    aborted: VecDeque<(Offset, ProducerId)>,
    /// Producers inside an aborted transaction.
    aborting: BTreeSet<ProducerId>,
    /// Where the next fetch goes on.
    pub next_fetch: Offset,
    limits: Limits,
}

/// A batch that is being given out.
#[derive(Debug)]
struct Open {
    header: BatchHeader,
    body: Bytes,
    position: usize,
    index: i32,
}

impl Fetched {
    /// Of the bytes that a broker sent for a fetch from `offset`. `None` if there is no whole batch in them.
    ///
    /// # Errors
    /// Bytes that are no batches.
    pub fn new(
        tp: TopicPartition,
        incarnation: u64,
        offset: Offset,
        records: Bytes,
        aborted: impl IntoIterator<Item = (Offset, ProducerId)>,
    ) -> Result<Option<Self>, BatchError> {
        let (mut at, mut next_fetch) = (0, offset);
        loop {
            let rest = &records[at..];
            match EntryHead::peek(rest) {
                Ok(head) if rest.len() >= head.size_in_bytes => {
                    next_fetch = next_fetch.max(last_offset(&records.slice(at..at + head.size_in_bytes))?.next());
                    at += head.size_in_bytes;
                }
                // The broker cuts where the fetch's size ends.
                Ok(_) | Err(BatchError::Incomplete { .. }) => break,
                Err(e) => return Err(e),
            }
        }
        if at == 0 {
            return Ok(None);
        }
        let mut aborted: Vec<_> = aborted.into_iter().collect();
        aborted.sort();
        Ok(Some(Self {
            tp,
            incarnation,
            rest: records.slice(..at),
            open: None,
            aborted: aborted.into(),
            aborting: BTreeSet::new(),
            next_fetch,
            limits: Limits::default(),
        }))
    }

    /// How many bytes wait, as they were fetched.
    pub fn unread_bytes(&self) -> usize {
        self.rest.len() + self.open.as_ref().map_or(0, |o| o.body.len() - o.position)
    }

    pub fn is_done(&self) -> bool {
        self.rest.is_empty() && self.open.is_none()
    }

    /// Gives out at most `max` records from the position on, and moves the position behind them. What was given out
    /// before an error stays given out.
    ///
    /// # Errors
    /// A batch that is damaged: it is where the position then is.
    pub fn take(
        &mut self,
        position: &mut Position,
        mut max: usize,
        manner: Manner,
        parts: &mut Vec<Part>,
    ) -> Result<(), BatchError> {
        while max > 0 {
            if self.open.is_none() {
                if self.rest.is_empty() {
                    return Ok(());
                }
                self.open_next(position, manner, &mut max, parts)?;
                continue;
            }
            max -= self.take_open(position, max, parts)?;
        }
        Ok(())
    }

    /// Opens the next batch, or passes it over.
    fn open_next(
        &mut self,
        position: &mut Position,
        manner: Manner,
        max: &mut usize,
        parts: &mut Vec<Part>,
    ) -> Result<(), BatchError> {
        let any = AnyBatch::parse(&self.rest)?;
        let size = match &any {
            AnyBatch::V2(b) => b.bytes.len(),
            AnyBatch::Legacy(b) => b.bytes.len(),
        };
        let last = any.last_offset();
        if last >= position.offset {
            if manner.check_crcs {
                any.verify_crc()?;
            }
            match any {
                AnyBatch::V2(batch) => {
                    if self.is_wanted(&batch, manner)? {
                        let body = batch.decompressed(&self.limits)?;
                        self.open = Some(Open { header: batch.header, body, position: 0, index: 0 });
                    } else {
                        *position = Position { offset: last.next(), epoch: batch.header.partition_leader_epoch };
                    }
                }
                AnyBatch::Legacy(batch) => {
                    // Never more than one batch beyond what was asked for: the format is rare and not worth a walk.
                    let part = legacy(&self.tp, &batch, position.offset, &self.limits)?;
                    *max = max.saturating_sub(part.slots.len());
                    if !part.slots.is_empty() {
                        parts.push(part);
                    }
                    *position = Position { offset: last.next(), epoch: LeaderEpoch::NONE };
                }
            }
        }
        self.rest = self.rest.slice(size..);
        Ok(())
    }

    /// Whether the batch has records for the application.
    fn is_wanted(&mut self, batch: &Batch, manner: Manner) -> Result<bool, BatchError> {
        let h = &batch.header;
        if manner.read_committed && h.producer_id.is_some() {
            while self.aborted.front().is_some_and(|(first, _)| *first <= h.last_offset()) {
                self.aborting.extend(self.aborted.pop_front().map(|(_, id)| id));
            }
            if h.attributes.is_control() {
                // A marker that compaction has emptied says nothing.
                if let Some(marker) = batch.records(&self.limits)?.next().transpose()?
                    && ControlRecordType::parse_key(marker.key.as_deref())? == ControlRecordType::Abort
                {
                    self.aborting.remove(&h.producer_id);
                }
            } else if h.attributes.is_transactional() && self.aborting.contains(&h.producer_id) {
                return Ok(false);
            }
        }
        Ok(!h.attributes.is_control())
    }

    /// Gives out of the open batch; how many.
    fn take_open(&mut self, position: &mut Position, max: usize, parts: &mut Vec<Part>) -> Result<usize, BatchError> {
        let Some(open) = &mut self.open else { return Ok(0) };
        let h = &open.header;
        let timestamp_type = h.attributes.timestamp_type();
        let left = usize::try_from(h.records_count.saturating_sub(open.index)).unwrap_or(0);
        let mut slots = Vec::with_capacity(left.min(max).min(open.body.len()));
        let mut walker = RecordWalker::resume(&open.body, h.records_count, open.position, open.index);
        let mut failed = None;
        let ended = loop {
            if slots.len() == max {
                break false;
            }
            let parts = match walker.next() {
                Some(Ok(parts)) => parts,
                Some(Err(e)) => {
                    failed = Some(e);
                    break false;
                }
                None => break true,
            };
            let offset = Offset(h.base_offset.get().saturating_add(i64::from(parts.offset_delta)));
            if offset > h.last_offset() {
                failed = Some(OUT_OF_RANGE);
                break false;
            }
            open.position = parts.whole.end;
            open.index += 1;
            if offset < position.offset {
                continue;
            }
            slots.push(Slot {
                offset,
                timestamp: match timestamp_type {
                    TimestampType::LogAppendTime => h.max_timestamp,
                    TimestampType::CreateTime => {
                        TimestampMs(h.base_timestamp.get().saturating_add(parts.timestamp_delta))
                    }
                },
                key: Span::of(parts.key.as_ref()),
                value: Span::of(parts.value.as_ref()),
                headers_start: parts.headers_start as u32,
                end: parts.whole.end as u32,
                header_count: parts.header_count as u32,
            });
        };
        let taken = slots.len();
        let epoch = h.partition_leader_epoch;
        if let Some(last) = slots.last() {
            *position = Position { offset: last.offset.next(), epoch };
            parts.push(Part {
                tp: self.tp.clone(),
                body: open.body.clone(),
                slots,
                timestamp_type,
                leader_epoch: epoch,
            });
        }
        if ended {
            // Compaction may have removed the last records.
            *position = Position { offset: h.last_offset().next().max(position.offset), epoch };
            self.open = None;
        }
        match failed {
            Some(e) if taken == 0 => Err(e),
            // The next take meets it again.
            _ => Ok(taken),
        }
    }
}

fn last_offset(entry: &Bytes) -> Result<Offset, BatchError> {
    let last = AnyBatch::parse(entry)?.last_offset();
    // The next offset must exist.
    if (0..i64::MAX).contains(&last.get()) { Ok(last) } else { Err(OUT_OF_RANGE) }
}

/// The records of a batch of magic 0 or 1, copied into one body.
fn legacy(
    tp: &TopicPartition,
    batch: &logrun_record::legacy::LegacyBatch,
    from: Offset,
    limits: &Limits,
) -> Result<Part, BatchError> {
    let (mut body, mut slots) = (Vec::new(), Vec::new());
    for r in batch.records(limits)? {
        if r.offset < from {
            continue;
        }
        if r.offset > batch.last_offset() {
            return Err(OUT_OF_RANGE);
        }
        let mut put = |bytes: &Option<Bytes>| {
            let range = bytes.as_ref().map(|b| body.len()..body.len() + b.len());
            body.extend_from_slice(bytes.as_deref().unwrap_or_default());
            Span::of(range.as_ref())
        };
        let (key, value) = (put(&r.key), put(&r.value));
        slots.push(Slot {
            offset: r.offset,
            timestamp: r.timestamp,
            key,
            value,
            headers_start: 0,
            end: 0,
            header_count: 0,
        });
    }
    Ok(Part {
        tp: tp.clone(),
        body: body.into(),
        slots,
        timestamp_type: batch.timestamp_type(),
        leader_epoch: LeaderEpoch::NONE,
    })
}

/// Everything that waits, in the order in which it came.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    queue: VecDeque<Fetched>,
    unread: BTreeMap<TopicPartition, usize>,
    /// As many bytes of a partition as are fetched ahead.
    enough: usize,
    /// A partition has less than that again.
    has_room: bool,
}

impl Buffer {
    pub fn new(enough: usize) -> Self {
        Self { enough, ..Self::default() }
    }

    /// Whether so much of the partition waits that no more is fetched.
    pub fn has_enough(&self, tp: &TopicPartition) -> bool {
        self.unread(tp) >= self.enough
    }

    /// Whether a partition that had enough has less now, since this was asked the last time.
    pub fn take_room(&mut self) -> bool {
        std::mem::take(&mut self.has_room)
    }

    pub fn push(&mut self, fetched: Fetched) {
        *self.unread.entry(fetched.tp.clone()).or_default() += fetched.unread_bytes();
        self.queue.push_back(fetched);
    }

    /// How many bytes of the partition wait.
    pub fn unread(&self, tp: &TopicPartition) -> usize {
        self.unread.get(tp).copied().unwrap_or(0)
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether `wanted` wants one of them.
    pub fn any(&self, wanted: impl FnMut(&Fetched) -> bool) -> bool {
        self.queue.iter().any(wanted)
    }

    /// Lets `take` have each in turn until it says that it has enough; those that are done are dropped. `take` is not
    /// asked for what `wanted` refuses: false keeps it, none drops it.
    pub fn drain(
        &mut self,
        mut wanted: impl FnMut(&Fetched) -> Option<bool>,
        mut take: impl FnMut(&mut Fetched) -> bool,
    ) {
        let mut kept = VecDeque::new();
        let mut enough = false;
        while let Some(mut fetched) = self.queue.pop_front() {
            if enough {
                kept.push_back(fetched);
                kept.append(&mut self.queue);
                break;
            }
            let before = fetched.unread_bytes();
            let after = match wanted(&fetched) {
                None => 0,
                Some(false) => {
                    kept.push_back(fetched);
                    continue;
                }
                Some(true) => {
                    enough = take(&mut fetched);
                    if fetched.is_done() { 0 } else { fetched.unread_bytes() }
                }
            };
            if let Some(unread) = self.unread.get_mut(&fetched.tp) {
                let had_enough = *unread >= self.enough;
                *unread = unread.saturating_sub(before).saturating_add(after);
                self.has_room |= had_enough && *unread < self.enough;
                if *unread == 0 {
                    self.unread.remove(&fetched.tp);
                }
            }
            if after > 0 {
                kept.push_back(fetched);
            }
        }
        self.queue = kept;
    }
}

#[cfg(test)]
#[path = "fetched_tests.rs"]
mod tests;
