//! Batches of the metadata log and of its snapshots: metadata records, or control records.

use bytes::Bytes;
use logrun_metadata::MetadataVersion;
use logrun_metadata::records::MetadataRecord;
use logrun_model::{LeaderEpoch, Offset, TimestampMs};
use logrun_record::{Batch, BatchBuilder, Compression, ControlRecordType, Limits, PreparedBatch, split_batches};

use crate::RaftError;
use crate::control::ControlRecord;

/// What a record without key and headers takes beside its value, at most.
const RECORD_OVERHEAD_MAX: usize = 32;

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

/// As [`data`], in as many batches as keep each within `bytes_max`: one, but for the largest changes.
pub fn data_split(
    base_offset: Offset,
    epoch: LeaderEpoch,
    timestamp: TimestampMs,
    metadata_version: MetadataVersion,
    records: &[MetadataRecord],
    bytes_max: usize,
) -> Result<Vec<PreparedBatch>, RaftError> {
    let mut batches = Vec::with_capacity(1);
    let mut next = base_offset;
    let mut b = builder(next, epoch);
    for record in records {
        let value = record.encode_value(metadata_version.record_version(record))?;
        if !b.is_empty() && b.uncompressed_size() + value.len() + RECORD_OVERHEAD_MAX > bytes_max {
            next = next.plus(b.records_count().into());
            batches.push(std::mem::replace(&mut b, builder(next, epoch)).prepare()?);
        }
        b.append(timestamp, None, Some(&value), &[])?;
    }
    batches.push(b.prepare()?);
    Ok(batches)
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

#[cfg(test)]
mod tests {
    use super::*;
    use logrun_metadata::records::TopicRecord;

    #[test]
    fn what_is_too_large_for_a_batch_is_split() {
        let record = |i: u8| {
            MetadataRecord::from(TopicRecord {
                name: "t".into(),
                topic_id: logrun_model::Uuid([i; 16]),
                ..Default::default()
            })
        };
        let records: Vec<_> = (0..50).map(record).collect();
        let split = |max| {
            data_split(Offset(7), LeaderEpoch(3), TimestampMs(9), MetadataVersion::LATEST, &records, max).unwrap()
        };
        assert_eq!(split(1 << 20).len(), 1);
        let batches = split(300);
        assert!(batches.len() > 5 && batches.iter().all(|b| b.size_in_bytes() <= 300));
        let (mut next, mut read) = (Offset(7), Vec::new());
        for b in &batches {
            decode_all(b.to_bytes(), |d| {
                assert_eq!((d.base_offset, d.epoch), (next, LeaderEpoch(3)));
                next = d.last_offset.next();
                if let Contents::Data(r) = d.contents {
                    read.extend(r);
                }
                Ok(())
            })
            .unwrap();
        }
        assert_eq!(read, records);
    }
}
