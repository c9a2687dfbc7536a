//! What only the metadata log has: snapshots of the metadata and the quorum's state.

use std::path::Path;
use std::sync::Arc;

use logrun_io::Disk;
use logrun_io::disk::{DirEntry, read_all};
use logrun_model::Offset;
use logrun_raft::{QuorumState, SnapshotId};
use logrun_record::{ControlRecordType, Limits, split_batches};

use super::Finding;
use crate::schema::metadata_record;

/// The topic of the metadata log.
pub(super) const TOPIC: &str = "__cluster_metadata";

pub(super) fn check(disk: &Arc<dyn Disk>, dir: &Path, entries: &[DirEntry], end: Offset, found: &mut Vec<Finding>) {
    if let Err(e) = QuorumState::read(&**disk, dir) {
        let remedy = "put right what it says, or bring it back from a copy: a voter must not forget its epochs";
        found.push(Finding::error(&dir.join("quorum-state"), e.to_string(), remedy));
    }
    let snapshots: Vec<SnapshotId> = entries.iter().filter_map(|e| SnapshotId::parse(&e.name)).collect();
    for id in &snapshots {
        let path = id.path(dir);
        if let Err(e) = snapshot(disk, &path) {
            let is_needed = snapshots.iter().max() == Some(id);
            let remedy = if is_needed {
                "bring it back from a copy or another controller: the metadata below its offset is only there"
            } else {
                "it is an older one: remove it"
            };
            found.push(Finding::error(&path, e, remedy));
        }
    }
    if let Some(last) = snapshots.iter().max().filter(|last| last.end_offset > end) {
        let what = format!("it ends at offset {}, behind the log's end {end}", last.end_offset);
        found.push(Finding::note(&last.path(dir), what, "the next start begins the log there"));
    }
}

/// Every batch, every record, and a footer at the end.
fn snapshot(disk: &Arc<dyn Disk>, path: &Path) -> Result<(), String> {
    let bytes = read_all(&**disk, path).map_err(|e| format!("it can't be read: {e}"))?.unwrap_or_default();
    let mut is_whole = false;
    for batch in split_batches(bytes.into()) {
        let batch = batch.map_err(|e| e.to_string())?;
        batch.verify_crc().map_err(|e| e.to_string())?;
        for record in batch.records(&Limits::default()).map_err(|e| e.to_string())? {
            let record = record.map_err(|e| e.to_string())?;
            if batch.header.is_control() {
                let kind = ControlRecordType::parse_key(record.key.as_deref()).map_err(|e| e.to_string())?;
                is_whole |= kind == ControlRecordType::SnapshotFooter;
            } else {
                metadata_record(record.value.unwrap_or_default()).map_err(|e| e.to_string())?;
            }
        }
    }
    if is_whole { Ok(()) } else { Err("it has no footer: it was not written to its end".to_owned()) }
}
