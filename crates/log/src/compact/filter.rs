//! What compaction leaves of a batch (Kafka's `Cleaner.cleanInto` and `MemoryRecords.filterTo`).
//!
//! | batch | what stays |
//! |---|---|
//! | of an aborted transaction | nothing |
//! | a marker | as long as its transaction has a batch, and then until its delete horizon |
//! | any other | the last record of each key; of tombstones those before their delete horizon |
//!
//! The first compaction that keeps a tombstone, or the marker of an empty transaction, sets the batch's delete
//! horizon: `delete.retention.ms` from then, in place of the base timestamp (KIP-534). Offsets never change: a batch
//! keeps its first and its last one, and so its sequence numbers. The last batch of each producer stays even if it is
//! empty, and so does the last one of a round.

use std::collections::BTreeMap;

use bytes::Bytes;
use logrun_model::{Offset, ProducerEpoch, ProducerId, TimestampMs, varint};
use logrun_record::{
    AnyBatch, Attributes, Batch, BatchBuilder, BatchError, BatchHeader, Compression, CompressionType,
    ControlRecordType, Limits, PreparedBatch, RecordParts, RecordWalker, TimestampType, compress, legacy::LegacyBatch,
};

use super::offset_map::OffsetMap;
use super::transactions::CleanedTransactions;
use crate::index::AbortedTxn;

/// The last that a partition knows of a producer (Kafka's `LastRecord`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LastRecord {
    /// None if it has written only markers.
    pub last_data_offset: Offset,
    pub producer_epoch: ProducerEpoch,
}

/// What becomes of a batch.
#[derive(Debug)]
pub(crate) enum Outcome {
    Gone,
    /// As it is.
    Kept,
    Changed(PreparedBatch),
}

/// How many records went in and out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordCounts {
    pub read: u64,
    pub kept: u64,
    /// Without a key: they can't be in a compacted topic, and go.
    pub invalid: u64,
}

/// The rules of one round.
#[derive(Debug)]
pub(crate) struct Filter {
    pub map: OffsetMap,
    pub transactions: CleanedTransactions,
    pub producers: BTreeMap<ProducerId, LastRecord>,
    pub now: TimestampMs,
    pub delete_retention_ms: i64,
    /// Where the round ends (exclusive): the last batch before it is kept.
    pub round_end: Offset,
    pub counts: RecordCounts,
    /// The aborted transactions whose markers were kept since this was last taken.
    pub still_aborted: Vec<AbortedTxn>,
    pub limits: Limits,
}

/// What happens to a batch that has no record any more.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Empty {
    Goes,
    Stays,
}

impl Filter {
    /// Decides about the next batch. `keep_legacy_tombstones` is for batches of magic 0 and 1, which have no horizon.
    pub fn batch(&mut self, batch: &AnyBatch, keep_legacy_tombstones: bool) -> Result<Outcome, BatchError> {
        match batch {
            AnyBatch::V2(b) => self.v2(b),
            AnyBatch::Legacy(b) => self.legacy(b, keep_legacy_tombstones),
        }
    }

    fn v2(&mut self, batch: &Batch) -> Result<Outcome, BatchError> {
        let h = &batch.header;
        let mut ends_empty_txn = false;
        let discard = if h.is_control() {
            let control = control_type(batch, &self.limits)?;
            let ended = self.transactions.on_control(h.producer_id, h.last_offset(), control);
            self.still_aborted.extend(ended.still_aborted);
            ends_empty_txn = ended.is_empty;
            ended.is_empty && h.delete_horizon().is_some_and(|at| at <= self.now)
        } else {
            self.transactions.on_batch(h.producer_id, h.last_offset(), h.is_transactional())
        };
        let empty = if (h.has_producer_id() && self.is_last_of_producer(h)) || h.next_offset() == self.round_end {
            Empty::Stays
        } else {
            Empty::Goes
        };
        let records = u64::try_from(h.records_count).unwrap_or(0);
        self.counts.read += records;
        if discard {
            return Ok(if empty == Empty::Goes {
                Outcome::Gone
            } else if records == 0 {
                Outcome::Kept
            } else {
                emptied(h)?
            });
        }
        if !h.is_control() && h.base_offset > self.map.latest_offset() {
            // The round did not come so far; the next one decides.
            self.counts.kept += records;
            return Ok(Outcome::Kept);
        }
        let body = batch.decompressed(&self.limits)?;
        let (mut kept, mut kept_all, mut tombstones) = (Vec::new(), true, false);
        for parts in RecordWalker::new(&body, h.records_count) {
            let parts = parts?;
            if h.is_control() || self.keeps(h, &body, &parts) {
                tombstones |= parts.value.is_none();
                kept.push(parts);
            } else {
                kept_all = false;
            }
        }
        self.counts.kept += kept.len() as u64;
        if kept.is_empty() {
            return match empty {
                Empty::Goes => Ok(Outcome::Gone),
                Empty::Stays if kept_all => Ok(Outcome::Kept),
                Empty::Stays => emptied(h),
            };
        }
        let sets_horizon = (tombstones || ends_empty_txn) && h.delete_horizon().is_none();
        if kept_all && !sets_horizon {
            return Ok(Outcome::Kept);
        }
        let horizon = sets_horizon.then(|| self.now.plus_ms(self.delete_retention_ms));
        rewritten(h, &body, &kept, horizon).map(Outcome::Changed)
    }

    /// Whether the batch has the last that is known of its producer: its sequence, or at least its epoch.
    fn is_last_of_producer(&self, h: &BatchHeader) -> bool {
        self.producers.get(&h.producer_id).is_some_and(|last| {
            if last.last_data_offset.is_some() {
                h.last_offset() == last.last_data_offset
            } else {
                h.is_control() && h.producer_epoch == last.producer_epoch
            }
        })
    }

    fn keeps(&mut self, h: &BatchHeader, body: &[u8], parts: &RecordParts) -> bool {
        let offset = Offset(h.base_offset.get().saturating_add(i64::from(parts.offset_delta)));
        let may_be_deleted = h.delete_horizon().is_some_and(|at| at <= self.now);
        self.keeps_record(offset, parts.key.clone().map(|r| &body[r]), parts.value.is_some(), !may_be_deleted)
    }

    fn keeps_record(&mut self, offset: Offset, key: Option<&[u8]>, has_value: bool, keep_tombstones: bool) -> bool {
        if offset > self.map.latest_offset() {
            return true;
        }
        let Some(key) = key else {
            self.counts.invalid += 1;
            return false;
        };
        self.map.get(key).is_none_or(|last| offset >= last) && (has_value || keep_tombstones)
    }

    /// A batch of magic 0 or 1 becomes one of magic 2 with what is kept of it.
    fn legacy(&mut self, batch: &LegacyBatch, keep_tombstones: bool) -> Result<Outcome, BatchError> {
        let records = batch.records(&self.limits)?;
        self.counts.read += records.len() as u64;
        let kept: Vec<_> = records
            .into_iter()
            .filter(|r| self.keeps_record(r.offset, r.key.as_deref(), r.value.is_some(), keep_tombstones))
            .collect();
        self.counts.kept += kept.len() as u64;
        let Some(first) = kept.first() else {
            if batch.last_offset().next() != self.round_end {
                return Ok(Outcome::Gone);
            }
            let mut empty = BatchBuilder::new(Compression::NONE).base_offset(batch.last_offset());
            empty.last_offset_delta(0);
            return empty.prepare().map(Outcome::Changed);
        };
        let base = first.offset;
        let mut builder = BatchBuilder::new(Compression::of(batch.compression()?)).base_offset(base);
        if batch.timestamp_type() == TimestampType::LogAppendTime {
            builder = builder.log_append_time(batch.timestamp);
        }
        if kept.iter().any(|r| r.value.is_none()) {
            builder = builder.delete_horizon(self.now.plus_ms(self.delete_retention_ms));
        }
        for r in &kept {
            let delta = i32::try_from(r.offset.distance_from(base))
                .map_err(|_| BatchError::TooLargeToBuild("more offsets than 32 bits count"))?;
            builder.append_with_offset_delta(delta, r.timestamp, r.key.as_deref(), r.value.as_deref(), &[])?;
        }
        builder.prepare().map(Outcome::Changed)
    }
}

/// What the first record of a control batch says; none if it has no record.
pub(crate) fn control_type(batch: &Batch, limits: &Limits) -> Result<Option<ControlRecordType>, BatchError> {
    match batch.records(limits)?.next() {
        Some(record) => ControlRecordType::parse_key(record?.key.as_deref()).map(Some),
        None => Ok(None),
    }
}

/// The batch without its records, as `DefaultRecordBatch.writeEmptyHeader` writes it.
fn emptied(h: &BatchHeader) -> Result<Outcome, BatchError> {
    let attributes = Attributes::default()
        .with_compression(CompressionType::None)
        .with_timestamp_type(h.attributes.timestamp_type())
        .with_transactional(h.is_transactional())
        .with_control(h.is_control());
    let header = BatchHeader { attributes, base_timestamp: TimestampMs::NONE, records_count: 0, ..*h };
    finish(header, Vec::new()).map(Outcome::Changed)
}

/// The batch with only the records `kept`, and with a new delete horizon if there is one.
fn rewritten(
    h: &BatchHeader,
    body: &[u8],
    kept: &[RecordParts],
    horizon: Option<TimestampMs>,
) -> Result<PreparedBatch, BatchError> {
    let timestamp_type = h.attributes.timestamp_type();
    let mut out = Vec::with_capacity(kept.iter().map(|p| p.whole.len() + 4).sum());
    let mut max_timestamp = TimestampMs::NONE;
    for parts in kept {
        let timestamp = match timestamp_type {
            TimestampType::LogAppendTime => h.max_timestamp,
            TimestampType::CreateTime => TimestampMs(h.base_timestamp.get().wrapping_add(parts.timestamp_delta)),
        };
        max_timestamp = max_timestamp.max(timestamp);
        match horizon {
            None => out.extend_from_slice(&body[parts.whole.clone()]),
            Some(at) => put_with_delta(&mut out, body, parts, timestamp.get().wrapping_sub(at.get()))?,
        }
    }
    let header = BatchHeader {
        attributes: h.attributes.with_delete_horizon(h.attributes.has_delete_horizon() || horizon.is_some()),
        base_timestamp: horizon.unwrap_or(h.base_timestamp),
        max_timestamp,
        records_count: i32::try_from(kept.len()).map_err(|_| BatchError::TooLargeToBuild("too many records"))?,
        ..*h
    };
    finish(header, out)
}

fn finish(header: BatchHeader, records: Vec<u8>) -> Result<PreparedBatch, BatchError> {
    let body = match header.attributes.compression()? {
        CompressionType::None => records,
        codec => compress(Compression::of(codec), &records)?,
    };
    PreparedBatch::from_parts(header, Bytes::from(body))
        .ok_or(BatchError::TooLargeToBuild("more bytes than a batch's length counts"))
}

/// Copies a record, with another timestamp delta.
fn put_with_delta(out: &mut Vec<u8>, body: &[u8], parts: &RecordParts, delta: i64) -> Result<(), BatchError> {
    // Whoever made `parts` has read these fields, so they are there; they need not be of the shortest form.
    let varint_end = |from: usize| body[from..].iter().position(|b| *b < 0x80).map_or(from, |n| from + n + 1);
    let attributes = varint_end(parts.whole.start);
    let rest = varint_end(attributes + 1);
    let rest = &body[rest..parts.whole.end];
    let size = i32::try_from(1 + varint::len_i64(delta) + rest.len())
        .map_err(|_| BatchError::TooLargeToBuild("a record is longer than its length counts"))?;
    varint::put_i32(out, size);
    out.push(parts.attributes as u8);
    varint::put_i64(out, delta);
    out.extend_from_slice(rest);
    Ok(())
}
