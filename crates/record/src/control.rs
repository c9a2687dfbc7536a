//! Control records: the markers that Kafka itself writes between the producers' data.
//!
//! ```text
//! key:   version 2 = 0 | type 2
//! value: of a transaction's end: version 2 = 0 | coordinator epoch 4
//! ```
//!
//! See `ControlRecordType` and `EndTransactionMarker`. The values of the quorum's control records (leader change,
//! voters and so on) are generated messages; here they are bytes.

use bytes::Bytes;
use logrun_model::{CoordinatorEpoch, LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};

use crate::batch::Batch;
use crate::builder::BatchBuilder;
use crate::compress::{Compression, Limits};
use crate::error::BatchError;

/// What a control record says. Types that a later Kafka adds are kept by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ControlRecordType {
    Abort,
    Commit,
    LeaderChange,
    SnapshotHeader,
    SnapshotFooter,
    KRaftVersion,
    KRaftVoters,
    Unknown(i16),
}

impl ControlRecordType {
    pub const fn from_id(id: i16) -> Self {
        match id {
            0 => Self::Abort,
            1 => Self::Commit,
            2 => Self::LeaderChange,
            3 => Self::SnapshotHeader,
            4 => Self::SnapshotFooter,
            5 => Self::KRaftVersion,
            6 => Self::KRaftVoters,
            other => Self::Unknown(other),
        }
    }

    pub const fn id(self) -> i16 {
        match self {
            Self::Abort => 0,
            Self::Commit => 1,
            Self::LeaderChange => 2,
            Self::SnapshotHeader => 3,
            Self::SnapshotFooter => 4,
            Self::KRaftVersion => 5,
            Self::KRaftVoters => 6,
            Self::Unknown(id) => id,
        }
    }

    /// The record's key.
    pub fn key(self) -> [u8; 4] {
        let mut key = [0; 4];
        key[2..].copy_from_slice(&self.id().to_be_bytes());
        key
    }

    /// Reads the type from a control record's key. Later versions of the key may be longer.
    pub fn parse_key(key: Option<&[u8]>) -> Result<Self, BatchError> {
        let key: &[u8; 4] =
            key.and_then(|k| k.first_chunk()).ok_or(BatchError::MalformedControlRecord("its key is too short"))?;
        if i16::from_be_bytes([key[0], key[1]]) < 0 {
            return Err(BatchError::MalformedControlRecord("its key's version is negative"));
        }
        Ok(Self::from_id(i16::from_be_bytes([key[2], key[3]])))
    }
}

/// A transaction's end on one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndTxnMarker {
    /// Commit, or else abort.
    pub commit: bool,
    pub coordinator_epoch: CoordinatorEpoch,
    /// The time of the marker.
    pub timestamp: TimestampMs,
}

impl EndTxnMarker {
    pub const fn control_type(&self) -> ControlRecordType {
        if self.commit { ControlRecordType::Commit } else { ControlRecordType::Abort }
    }

    fn value(&self) -> [u8; 6] {
        let mut value = [0; 6];
        value[2..].copy_from_slice(&self.coordinator_epoch.get().to_be_bytes());
        value
    }
}

/// Reads the marker of a control batch: none if compaction has emptied the batch or if it's another control record.
pub fn end_txn_marker(batch: &Batch, limits: &Limits) -> Result<Option<EndTxnMarker>, BatchError> {
    if !batch.header.is_control() {
        return Ok(None);
    }
    let Some(record) = batch.records(limits)?.next() else { return Ok(None) };
    let record = record?;
    let commit = match ControlRecordType::parse_key(record.key.as_deref())? {
        ControlRecordType::Commit => true,
        ControlRecordType::Abort => false,
        _ => return Ok(None),
    };
    let value: &[u8; 6] = record
        .value
        .as_deref()
        .and_then(|v| v.first_chunk())
        .ok_or(BatchError::MalformedControlRecord("its value is too short for a transaction marker"))?;
    if i16::from_be_bytes([value[0], value[1]]) < 0 {
        return Err(BatchError::MalformedControlRecord("its value's version is negative"));
    }
    Ok(Some(EndTxnMarker {
        commit,
        coordinator_epoch: CoordinatorEpoch(i32::from_be_bytes([value[2], value[3], value[4], value[5]])),
        timestamp: record.timestamp,
    }))
}

/// A batch of control records of `(type, value)`, as the quorum writes them: one batch, no producer, not compressed.
pub fn build_control_batch(
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
    timestamp: TimestampMs,
    records: &[(ControlRecordType, Bytes)],
) -> Result<Batch, BatchError> {
    let mut b = BatchBuilder::new(Compression::NONE)
        .base_offset(base_offset)
        .partition_leader_epoch(leader_epoch)
        .control(true);
    for (t, value) in records {
        b.append(timestamp, Some(&t.key()), Some(value), &[])?;
    }
    b.build()
}

/// The batch of one transaction marker of a producer, transactional and without a sequence, as `MemoryRecords.withEndTransactionMarker`.
pub fn build_end_txn_marker(
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    marker: EndTxnMarker,
) -> Result<Batch, BatchError> {
    let mut b = BatchBuilder::new(Compression::NONE)
        .producer(producer_id, producer_epoch, Sequence::NONE)
        .transactional(true)
        .control(true);
    b.append(marker.timestamp, Some(&marker.control_type().key()), Some(&marker.value()), &[])?;
    b.build()
}
