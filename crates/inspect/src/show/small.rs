//! Indexes, producers' snapshots, checkpoints and the other small files.

use std::path::Path;

use logrun_io::disk::read_all;
use logrun_log::{OffsetCheckpoint, TxnIndex, parse_segment_name};
use logrun_model::Offset;
use logrun_partition::{EpochCache, decode_snapshot};

use super::{Show, ShowError, corrupt, io_error};
use crate::raw_index::{offset_entries, time_entries, used};
use crate::schema::Json;
use crate::survey::CHECKPOINTS;

impl Show<'_> {
    fn bytes(&self, path: &Path) -> Result<Vec<u8>, ShowError> {
        let bytes = read_all(&**self.disk, path).map_err(io_error(path))?;
        bytes.ok_or_else(|| io_error(path)(std::io::ErrorKind::NotFound.into()))
    }

    pub(super) fn index(&mut self, path: &Path, name: &str) -> Result<(), ShowError> {
        let (base, suffix) = parse_segment_name(name).ok_or_else(|| ShowError::Unknown(path.to_owned()))?;
        let bytes = self.bytes(path)?;
        match suffix {
            ".index" => {
                self.sink.section(path, "offset index")?;
                let entries = offset_entries(base, &bytes[..used(&bytes).next_multiple_of(8).min(bytes.len())]);
                for (offset, position) in entries {
                    self.sink.row(vec![("offset", offset.into()), ("position", (position as i64).into())])?;
                }
            }
            ".timeindex" => {
                self.sink.section(path, "time index")?;
                let entries = time_entries(base, &bytes[..used(&bytes).next_multiple_of(12).min(bytes.len())]);
                for (timestamp, offset) in entries {
                    self.sink.row(vec![("timestamp", timestamp.into()), ("offset", offset.into())])?;
                }
            }
            ".txnindex" => {
                self.sink.section(path, "aborted transactions")?;
                for t in TxnIndex::parse(base, &bytes).0.entries() {
                    self.sink.row(vec![
                        ("producerId", t.producer_id.get().into()),
                        ("firstOffset", t.first_offset.get().into()),
                        ("lastOffset", t.last_offset.get().into()),
                        ("lastStableOffset", t.last_stable_offset.get().into()),
                    ])?;
                }
            }
            ".snapshot" => {
                self.sink.section(path, "producers")?;
                for e in decode_snapshot(&bytes).map_err(|e| corrupt(path, e))? {
                    self.sink.row(vec![
                        ("producerId", e.producer_id.get().into()),
                        ("producerEpoch", i64::from(e.producer_epoch.get()).into()),
                        ("lastSequence", i64::from(e.last_sequence().get()).into()),
                        ("lastOffset", e.last_data_offset().get().into()),
                        ("lastTimestamp", e.last_timestamp.get().into()),
                        ("currentTxnFirstOffset", e.current_txn_first_offset.map(Offset::get).into()),
                    ])?;
                }
            }
            _ => return Err(ShowError::Unknown(path.to_owned())),
        }
        Ok(())
    }

    pub(super) fn text(&mut self, path: &Path, name: &str) -> Result<(), ShowError> {
        let bytes = self.bytes(path)?;
        if CHECKPOINTS.contains(&name) {
            self.sink.section(path, "checkpoint")?;
            for (partition, offset) in OffsetCheckpoint::decode(&bytes).map_err(|e| corrupt(path, e))?.0 {
                let partition_id = i64::from(partition.partition);
                self.sink.row(vec![
                    ("topic", partition.topic.as_str().into()),
                    ("partition", partition_id.into()),
                    ("offset", offset.get().into()),
                ])?;
            }
            return Ok(());
        }
        let text = String::from_utf8_lossy(&bytes);
        if name == logrun_log::LEADER_EPOCH_CHECKPOINT {
            self.sink.section(path, "leader epochs")?;
            if !bytes.is_empty() {
                for e in EpochCache::decode(&text).map_err(|e| corrupt(path, e))?.entries() {
                    let (epoch, start) = (i64::from(e.epoch.get()), e.start_offset.get());
                    self.sink.row(vec![("leaderEpoch", epoch.into()), ("startOffset", start.into())])?;
                }
            }
            return Ok(());
        }
        if !["meta.properties", "partition.metadata", "quorum-state", ".kafka_cleanshutdown"].contains(&name) {
            return Err(ShowError::Unknown(path.to_owned()));
        }
        self.sink.section(path, "file")?;
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (key, value) = line.split_once(['=', ':']).filter(|_| !line.starts_with('{')).unwrap_or(("json", line));
            let key = Json::Text(key.trim().to_owned());
            self.sink.row(vec![("name", key), ("value", value.trim().into())])?;
        }
        Ok(())
    }
}
