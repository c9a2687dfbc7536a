//! [`BatchBuilder`]: batches that this node writes itself — coordinators' records, the metadata log, control records —
//! and that tests and clients write.

use bytes::Bytes;
use logrun_model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs, varint};

use crate::TimestampType;
use crate::batch::Batch;
use crate::compress::{Compression, CompressionType, compress};
use crate::error::BatchError;
use crate::header::{Attributes, BatchHeader, MAGIC_V2, RECORD_BATCH_OVERHEAD};
use crate::prepared::PreparedBatch;

/// A batch of magic 2 in the making.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    compression: Compression,
    header: BatchHeader,
    /// The records, not yet compressed.
    body: Vec<u8>,
    log_append_time: Option<TimestampMs>,
}

impl BatchBuilder {
    /// An empty batch at offset 0 of no producer, with the producers' timestamps.
    pub fn new(compression: Compression) -> Self {
        Self {
            compression,
            header: BatchHeader {
                base_offset: Offset::ZERO,
                batch_length: 0,
                partition_leader_epoch: LeaderEpoch::NONE,
                magic: MAGIC_V2,
                crc: 0,
                attributes: Attributes::default(),
                last_offset_delta: -1,
                base_timestamp: TimestampMs::NONE,
                max_timestamp: TimestampMs::NONE,
                producer_id: ProducerId::NONE,
                producer_epoch: ProducerEpoch::NONE,
                base_sequence: Sequence::NONE,
                records_count: 0,
            },
            body: Vec::new(),
            log_append_time: None,
        }
    }

    /// Makes room for so many bytes of records.
    pub fn reserve(&mut self, bytes: usize) {
        self.body.reserve(bytes);
    }

    #[must_use]
    pub fn base_offset(mut self, base_offset: Offset) -> Self {
        self.header.base_offset = base_offset;
        self
    }

    #[must_use]
    pub fn partition_leader_epoch(mut self, epoch: LeaderEpoch) -> Self {
        self.header.partition_leader_epoch = epoch;
        self
    }

    #[must_use]
    pub fn producer(mut self, id: ProducerId, epoch: ProducerEpoch, base_sequence: Sequence) -> Self {
        self.header.producer_id = id;
        self.header.producer_epoch = epoch;
        self.header.base_sequence = base_sequence;
        self
    }

    #[must_use]
    pub fn transactional(mut self, on: bool) -> Self {
        self.header.attributes = self.header.attributes.with_transactional(on);
        self
    }

    #[must_use]
    pub fn control(mut self, on: bool) -> Self {
        self.header.attributes = self.header.attributes.with_control(on);
        self
    }

    /// Stamps the batch with the broker's time.
    #[must_use]
    pub fn log_append_time(mut self, now: TimestampMs) -> Self {
        self.log_append_time = Some(now);
        self
    }

    /// Sets the time from which compaction may drop the batch's tombstones or marker; to be called before the first record.
    #[must_use]
    pub fn delete_horizon(mut self, at: TimestampMs) -> Self {
        debug_assert_eq!(self.header.records_count, 0);
        self.header.attributes = self.header.attributes.with_delete_horizon(true);
        self.header.base_timestamp = at;
        self
    }

    /// Appends a record behind the last one.
    pub fn append(
        &mut self,
        timestamp: TimestampMs,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&[u8], Option<&[u8]>)],
    ) -> Result<(), BatchError> {
        let delta = self
            .header
            .last_offset_delta
            .checked_add(1)
            .ok_or(BatchError::TooLargeToBuild("more offsets than 32 bits count"))?;
        self.append_with_offset_delta(delta, timestamp, key, value, headers)
    }

    /// Appends a record at `base_offset + offset_delta`, which must lie behind the last record's: compaction leaves gaps.
    pub fn append_with_offset_delta(
        &mut self,
        offset_delta: i32,
        timestamp: TimestampMs,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&[u8], Option<&[u8]>)],
    ) -> Result<(), BatchError> {
        let h = &mut self.header;
        if offset_delta <= h.last_offset_delta {
            return Err(BatchError::TooLargeToBuild("offsets must rise"));
        }
        if h.records_count == 0 && !h.attributes.has_delete_horizon() {
            h.base_timestamp = timestamp;
        }
        h.last_offset_delta = offset_delta;
        h.max_timestamp = h.max_timestamp.max(timestamp);
        h.records_count += 1;
        let timestamp_delta = timestamp.get().wrapping_sub(h.base_timestamp.get());
        put_record(&mut self.body, timestamp_delta, offset_delta, key, value, headers)
    }

    /// Makes the last offset later than the last record's, as compaction does when it removes the records at the end.
    pub fn last_offset_delta(&mut self, delta: i32) {
        self.header.last_offset_delta = self.header.last_offset_delta.max(delta);
    }

    pub const fn records_count(&self) -> i32 {
        self.header.records_count
    }

    pub const fn is_empty(&self) -> bool {
        self.header.records_count == 0
    }

    /// The batch's size if it were not compressed.
    pub const fn uncompressed_size(&self) -> usize {
        RECORD_BATCH_OVERHEAD + self.body.len()
    }

    /// Finishes the batch.
    pub fn build(self) -> Result<Batch, BatchError> {
        self.prepare().map(|p| p.to_batch())
    }

    /// Finishes the batch in the form that the log appends.
    pub fn prepare(self) -> Result<PreparedBatch, BatchError> {
        let mut header = self.header;
        header.attributes = header.attributes.with_compression(self.compression.codec);
        if let Some(now) = self.log_append_time {
            header.attributes = header.attributes.with_timestamp_type(TimestampType::LogAppendTime);
            header.max_timestamp = now;
        }
        let body = match self.compression.codec {
            CompressionType::None => self.body,
            _ => compress(self.compression, &self.body)?,
        };
        PreparedBatch::from_parts(header, Bytes::from(body))
            .ok_or(BatchError::TooLargeToBuild("more bytes than a batch's length counts"))
    }
}

/// Appends one record to `body`.
fn put_record(
    body: &mut Vec<u8>,
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[(&[u8], Option<&[u8]>)],
) -> Result<(), BatchError> {
    let mut size = 1
        + varint::len_i64(timestamp_delta)
        + varint::len_i32(offset_delta)
        + nullable_len(key)?
        + nullable_len(value)?
        + varint::len_i32(length_of(headers.len())?);
    for (k, v) in headers {
        size += nullable_len(Some(k))? + nullable_len(*v)?;
    }
    varint::put_i32(body, length_of(size)?);
    body.push(0);
    varint::put_i64(body, timestamp_delta);
    varint::put_i32(body, offset_delta);
    put_nullable(body, key);
    put_nullable(body, value);
    varint::put_i32(body, headers.len() as i32);
    for (k, v) in headers {
        put_nullable(body, Some(k));
        put_nullable(body, *v);
    }
    Ok(())
}

fn length_of(n: usize) -> Result<i32, BatchError> {
    i32::try_from(n).map_err(|_| BatchError::TooLargeToBuild("a field is longer than its length counts"))
}

fn nullable_len(v: Option<&[u8]>) -> Result<usize, BatchError> {
    Ok(match v {
        None => varint::len_i32(-1),
        Some(v) => varint::len_i32(length_of(v.len())?) + v.len(),
    })
}

fn put_nullable(body: &mut Vec<u8>, v: Option<&[u8]>) {
    match v {
        None => varint::put_i32(body, -1),
        Some(v) => {
            // Measured by `nullable_len` before anything was written.
            varint::put_i32(body, v.len() as i32);
            body.extend_from_slice(v);
        }
    }
}
