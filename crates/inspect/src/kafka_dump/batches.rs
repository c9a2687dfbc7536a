//! Batches and records of a segment or a snapshot of the metadata, as `DumpLogSegments` prints them.

use std::path::Path;

use logrun_log::{Span, WalkError, Walker};
use logrun_model::Offset;
use logrun_record::{AnyBatch, BatchHeader, ControlRecordType, EndTxnMarker, EntryHead, Limits, Record, TimestampType};
use logrun_record::{HEADER_SIZE_UP_TO_MAGIC, end_txn_marker};

use super::{Dump, DumpError, absolute, base_offset, optional_long};
use crate::schema::control_record;

/// How much is read at a time.
const CHUNK_BYTES: usize = 1 << 20;
/// The file that a cluster's first metadata come from.
const BOOTSTRAP: &str = "bootstrap.checkpoint";

impl Dump<'_> {
    pub(super) fn log(&mut self, path: &Path, name: &str) -> Result<(), DumpError> {
        if name.ends_with(".log") {
            writeln!(self.out, "Log starting offset: {}", base_offset(name)?)?;
        } else if name == BOOTSTRAP {
            writeln!(self.out, "KRaft bootstrap snapshot")?;
        } else {
            let id = logrun_raft::SnapshotId::parse(name);
            let reason = "it is neither a segment nor a snapshot of the metadata";
            let id = id.ok_or_else(|| DumpError::Name { name: name.to_owned(), reason })?;
            writeln!(self.out, "Snapshot end offset: {}, epoch: {}", id.end_offset, id.epoch)?;
        }
        let (file, len) = self.open(path)?;
        let end = len.min(self.options.max_bytes.unwrap_or(u64::MAX));
        let mut walker = Walker::new(file.clone(), 0, end, CHUNK_BYTES);
        let mut last_offset = Offset(-1);
        loop {
            let span = match walker.next_span() {
                Ok(Some(span)) => span,
                Ok(None) => break,
                Err(e @ WalkError::NotABatch { position, .. }) => {
                    // A batch that has only begun is what a crash leaves, and no reason to stop.
                    let mut head = [0; HEADER_SIZE_UP_TO_MAGIC];
                    let room = end - position;
                    let read = file.read_at(position, &mut head).map_err(DumpError::io(path))?;
                    let is_torn = room < HEADER_SIZE_UP_TO_MAGIC as u64
                        || EntryHead::peek(&head[..read]).is_ok_and(|head| head.size_in_bytes as u64 > room);
                    if is_torn {
                        break;
                    }
                    return Err(DumpError::walk(path, e));
                }
                Err(e) => return Err(DumpError::walk(path, e)),
            };
            let batch = walker.batch(&span).map_err(|e| DumpError::walk(path, e))?;
            self.batch_line(&batch, &span)?;
            if self.options.deep_iteration {
                self.records(path, &batch, &mut last_offset)?;
            }
        }
        let rest = end - walker.position();
        if rest > 0 && self.options.max_bytes.is_none() {
            writeln!(self.out, "Found {rest} invalid bytes at the end of {name}")?;
        }
        Ok(())
    }

    fn batch_line(&mut self, batch: &AnyBatch, span: &Span) -> Result<(), DumpError> {
        let (timestamp_type, magic, codec, crc) = match batch {
            AnyBatch::V2(b) => {
                let h = &b.header;
                write!(
                    self.out,
                    "baseOffset: {} lastOffset: {} count: {} baseSequence: {} lastSequence: {} producerId: {} \
                     producerEpoch: {} partitionLeaderEpoch: {} isTransactional: {} isControl: {} deleteHorizonMs: {}",
                    h.base_offset,
                    h.last_offset(),
                    h.records_count,
                    h.base_sequence,
                    h.last_sequence(),
                    h.producer_id,
                    h.producer_epoch,
                    h.partition_leader_epoch,
                    h.is_transactional(),
                    h.is_control(),
                    optional_long(h.delete_horizon().map(|t| t.get())),
                )?;
                (timestamp_type(batch), h.magic, h.attributes.compression(), h.crc)
            }
            AnyBatch::Legacy(b) => {
                write!(self.out, "offset: {}", b.last_offset())?;
                (timestamp_type(batch), b.magic, b.compression(), b.crc)
            }
        };
        let codec = codec.map_or_else(|e| e.to_string(), |codec| codec.name().to_owned());
        writeln!(
            self.out,
            " position: {} {timestamp_type}: {} size: {} magic: {magic} compresscodec: {codec} crc: {crc} isvalid: {}",
            span.position,
            batch.max_timestamp().get(),
            batch.size_in_bytes(),
            batch.verify_crc().is_ok(),
        )?;
        Ok(())
    }

    fn records(&mut self, path: &Path, batch: &AnyBatch, last_offset: &mut Offset) -> Result<(), DumpError> {
        let limits = Limits::default();
        match batch {
            AnyBatch::V2(b) => {
                for record in b.records(&limits).map_err(|e| DumpError::corrupt(path, e))? {
                    let record = record.map_err(|e| DumpError::corrupt(path, e))?;
                    self.record(path, batch, &record, last_offset)?;
                }
            }
            AnyBatch::Legacy(b) => {
                for record in b.records(&limits).map_err(|e| DumpError::corrupt(path, e))? {
                    self.record(path, batch, &record, last_offset)?;
                }
            }
        }
        Ok(())
    }

    fn record(
        &mut self,
        path: &Path,
        batch: &AnyBatch,
        record: &Record,
        last_offset: &mut Offset,
    ) -> Result<(), DumpError> {
        if record.offset.get() != last_offset.get() + 1 {
            let pairs = self.complaints.non_consecutive.entry(absolute(path)).or_default();
            pairs.insert(*last_offset, record.offset);
        }
        *last_offset = record.offset;
        let header = batch.v2().map(|b| &b.header);
        let is_control = header.is_some_and(BatchHeader::is_control);
        if !self.options.skip_record_metadata {
            let size = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(-1, |b| b.len() as i64);
            write!(
                self.out,
                "| offset: {} {}: {} keySize: {} valueSize: {}",
                record.offset,
                timestamp_type(batch),
                record.timestamp.get(),
                size(&record.key),
                size(&record.value),
            )?;
            match batch {
                AnyBatch::V2(_) => {
                    let keys: Vec<_> = record.headers.iter().map(|h| String::from_utf8_lossy(&h.key)).collect();
                    write!(self.out, " sequence: {} headerKeys: [{}]", record.sequence, keys.join(","))?;
                }
                AnyBatch::Legacy(b) => write!(self.out, " isValid: {} crc: {}", b.verify_crc().is_ok(), b.crc)?,
            }
            if is_control {
                self.control(path, batch, record)?;
            }
        }
        if self.options.print_data_log && !is_control {
            let (key, value) = self.options.decoder.show(record).map_err(|e| DumpError::corrupt(path, e))?;
            let mut prefix = if self.options.skip_record_metadata { "| " } else { " " };
            if let Some(key) = key {
                write!(self.out, "{prefix}key: {key}")?;
                prefix = " ";
            }
            if let Some(value) = value {
                write!(self.out, "{prefix}payload: {value}")?;
            }
        }
        writeln!(self.out)?;
        Ok(())
    }

    fn control(&mut self, path: &Path, batch: &AnyBatch, record: &Record) -> Result<(), DumpError> {
        let corrupt = |e: &dyn std::fmt::Display| DumpError::corrupt(path, e);
        let kind = ControlRecordType::parse_key(record.key.as_deref()).map_err(|e| corrupt(&e))?;
        let value = record.value.clone().unwrap_or_default();
        let json = control_record(kind, value).map_err(|e| corrupt(&e))?;
        match (kind, json) {
            (ControlRecordType::LeaderChange, Some(json)) => write!(self.out, " LeaderChange: {json}")?,
            (ControlRecordType::SnapshotHeader, Some(json)) => write!(self.out, " SnapshotHeader {json}")?,
            (ControlRecordType::SnapshotFooter, Some(json)) => write!(self.out, " SnapshotFooter {json}")?,
            (ControlRecordType::KRaftVersion, Some(json)) => write!(self.out, " KRaftVersion {json}")?,
            (ControlRecordType::KRaftVoters, Some(json)) => write!(self.out, " KRaftVoters {json}")?,
            (ControlRecordType::Commit | ControlRecordType::Abort, _) => {
                let marker = batch.v2().map(|b| end_txn_marker(b, &Limits::default())).transpose();
                let marker: Option<EndTxnMarker> = marker.map_err(|e| corrupt(&e))?.flatten();
                let marker = marker.ok_or_else(|| corrupt(&"a transaction's marker has no value"))?;
                let word = if marker.commit { "COMMIT" } else { "ABORT" };
                write!(self.out, " endTxnMarker: {word} coordinatorEpoch: {}", marker.coordinator_epoch)?;
            }
            (kind, _) => write!(self.out, " controlType: UNKNOWN({})", kind.id())?,
        }
        Ok(())
    }
}

/// Java's name of the batch's timestamp type. Magic 0 has no timestamps.
fn timestamp_type(batch: &AnyBatch) -> &'static str {
    let t = match batch {
        AnyBatch::V2(b) => b.header.attributes.timestamp_type(),
        AnyBatch::Legacy(b) if b.magic == 0 => return "NoTimestampType",
        AnyBatch::Legacy(b) => b.timestamp_type(),
    };
    match t {
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    }
}
