//! [`PreparedBatch`]: a validated batch on its way into the log.
//!
//! The 61 bytes of the header are a copy that offsets, epoch and timestamp are patched in; the records stay the slice
//! of the frame that they arrived in. So an append copies nothing and the two segments go to disk in one vectored write.

use bytes::Bytes;
use logrun_model::{LeaderEpoch, Offset, TimestampMs};

use crate::TimestampType;
use crate::batch::Batch;
use crate::crc;
use crate::header::{
    ATTRIBUTES_OFFSET, BASE_OFFSET_OFFSET, BatchHeader, PARTITION_LEADER_EPOCH_OFFSET, RECORD_BATCH_OVERHEAD,
    RECORDS_OFFSET, put,
};

/// A batch that is ready for append once [`Self::assign`] has given it its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedBatch {
    header: BatchHeader,
    prefix: [u8; RECORD_BATCH_OVERHEAD],
    body: Bytes,
}

impl PreparedBatch {
    /// Takes `batch` as it is, its offsets included: a follower appends it verbatim.
    pub fn from_batch(batch: &Batch) -> Self {
        let prefix = batch.header.encode();
        Self { header: batch.header, prefix, body: batch.bytes.slice(RECORDS_OFFSET..) }
    }

    /// A batch of `body` under `header`, whose length and CRC fields are computed here.
    ///
    /// Returns none if the batch would not fit into its 32-bit length.
    pub fn from_parts(mut header: BatchHeader, body: Bytes) -> Option<Self> {
        let length = RECORD_BATCH_OVERHEAD - crate::header::LOG_OVERHEAD + body.len();
        header.batch_length = i32::try_from(length).ok()?;
        let mut this = Self { header, prefix: [0; RECORD_BATCH_OVERHEAD], body };
        this.reseal();
        Some(this)
    }

    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The records' bytes as they'll be stored.
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    pub const fn size_in_bytes(&self) -> usize {
        self.header.size_in_bytes()
    }

    /// Gives the batch its place in the log. Both fields lie outside the CRC.
    pub fn assign(&mut self, base_offset: Offset, leader_epoch: LeaderEpoch) {
        self.header.base_offset = base_offset;
        self.header.partition_leader_epoch = leader_epoch;
        put(&mut self.prefix, BASE_OFFSET_OFFSET, base_offset.get().to_be_bytes());
        put(&mut self.prefix, PARTITION_LEADER_EPOCH_OFFSET, leader_epoch.get().to_be_bytes());
    }

    /// Sets the timestamp type and the highest timestamp, as the broker does for `LogAppendTime` and to correct a
    /// producer's own maximum. The CRC follows from the one that the batch has, without another pass over the records.
    pub fn set_max_timestamp(&mut self, timestamp_type: TimestampType, max_timestamp: TimestampMs) {
        if self.header.attributes.timestamp_type() == timestamp_type && self.header.max_timestamp == max_timestamp {
            return;
        }
        let before = crc::append(0, &self.prefix[ATTRIBUTES_OFFSET..]);
        self.header.attributes = self.header.attributes.with_timestamp_type(timestamp_type);
        self.header.max_timestamp = max_timestamp;
        self.prefix = self.header.encode();
        let after = crc::append(0, &self.prefix[ATTRIBUTES_OFFSET..]);
        self.header.crc ^= crc::behind(before ^ after, self.body.len());
        put(&mut self.prefix, crate::header::CRC_OFFSET, self.header.crc.to_be_bytes());
    }

    fn reseal(&mut self) {
        self.prefix = self.header.encode();
        self.header.crc = crc::append(crc::append(0, &self.prefix[ATTRIBUTES_OFFSET..]), &self.body);
        put(&mut self.prefix, crate::header::CRC_OFFSET, self.header.crc.to_be_bytes());
    }

    /// The batch's bytes in order: header and records. For one vectored write.
    pub fn segments(&self) -> [&[u8]; 2] {
        [&self.prefix, &self.body]
    }

    /// The batch in one piece (a copy).
    pub fn to_bytes(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.size_in_bytes());
        out.extend_from_slice(&self.prefix);
        out.extend_from_slice(&self.body);
        Bytes::from(out)
    }

    /// The batch as a [`Batch`] (a copy).
    pub fn to_batch(&self) -> Batch {
        Batch { header: self.header, bytes: self.to_bytes() }
    }
}
