//! Batches of the metadata log and of its snapshots: metadata records, or control records.

use bytes::Bytes;
use logrun_metadata::MetadataVersion;
use logrun_metadata::records::MetadataRecord;
use logrun_model::{LeaderEpoch, Offset, TimestampMs};
use logrun_record::{Batch, BatchBuilder, Compression, ControlRecordType, Limits, PreparedBatch, split_batches};

use crate::RaftError;
use crate::control::ControlRecord;

/// What a batch holds.
pub enum Contents {
    Control(Vec<ControlRecord>),
    Data(Vec<MetadataRecord>),
}

/// A decoded batch and its place.
pub struct Decoded {
    pub base_offset: Offset,
    pub last_offset: Offset,
    pub epoch: LeaderEpoch,
    pub timestamp: TimestampMs,
    pub contents: Contents,
}

/// Builds a batch of metadata records, each at the version that `metadata_version` writes.
pub fn data(
    base_offset: Offset,
    epoch: LeaderEpoch,
    timestamp: TimestampMs,
    metadata_version: MetadataVersion,
    records: &[MetadataRecord],
) -> Result<PreparedBatch, RaftError> {
    let mut b = builder(base_offset, epoch);
    for record in records {
        let value = record.encode_value(metadata_version.record_version(record))?;
        b.append(timestamp, None, Some(&value), &[])?;
    }
    Ok(b.prepare()?)
}

/// Builds a batch of control records.
pub fn control(
    base_offset: Offset,
    epoch: LeaderEpoch,
    timestamp: TimestampMs,
    records: &[ControlRecord],
) -> Result<PreparedBatch, RaftError> {
    let mut b = builder(base_offset, epoch).control(true);
    for (kind, value) in records {
        b.append(timestamp, Some(&kind.key()), Some(value), &[])?;
    }
    Ok(b.prepare()?)
}

fn builder(base_offset: Offset, epoch: LeaderEpoch) -> BatchBuilder {
    BatchBuilder::new(Compression::NONE).base_offset(base_offset).partition_leader_epoch(epoch)
}

/// Cuts `bytes` into batches and decodes each.
pub fn decode_all(bytes: Bytes, mut each: impl FnMut(Decoded) -> Result<(), RaftError>) -> Result<(), RaftError> {
    for batch in split_batches(bytes) {
        let batch = batch.map_err(|e| RaftError::record(-1, e))?;
        each(decode(&batch)?)?;
    }
    Ok(())
}

fn decode(batch: &Batch) -> Result<Decoded, RaftError> {
    let h = &batch.header;
    let at = h.base_offset.get();
    batch.verify_crc().map_err(|e| RaftError::record(at, e))?;
    let records = batch.records(&Limits::default()).map_err(|e| RaftError::record(at, e))?;
    let contents = if h.is_control() {
        let mut out = Vec::new();
        for record in records {
            let record = record.map_err(|e| RaftError::record(at, e))?;
            let kind = ControlRecordType::parse_key(record.key.as_deref()).map_err(|e| RaftError::record(at, e))?;
            out.push((kind, record.value.unwrap_or_default()));
        }
        Contents::Control(out)
    } else {
        let mut out = Vec::new();
        for record in records {
            let record = record.map_err(|e| RaftError::record(at, e))?;
            let offset = record.offset.get();
            let value = record.value.ok_or_else(|| RaftError::record(offset, "it has no value"))?;
            out.push(MetadataRecord::decode_value(value).map_err(|e| RaftError::record(offset, e))?);
        }
        Contents::Data(out)
    };
    Ok(Decoded {
        base_offset: h.base_offset,
        last_offset: h.last_offset(),
        epoch: h.partition_leader_epoch,
        timestamp: h.max_timestamp,
        contents,
    })
}
