//! The small files of a partition's directory: the topic's id, leader epochs, producers' snapshots, leftovers.

use std::path::Path;
use std::sync::Arc;

use logrun_io::Disk;
use logrun_io::disk::{DirEntry, read_all};
use logrun_log::{LEADER_EPOCH_CHECKPOINT, PARTITION_METADATA, PartitionMetadata, parse_segment_name};
use logrun_model::{Offset, TopicId};
use logrun_partition::{EpochCache, decode_snapshot};

use super::{Finding, Mend};

/// What they say.
#[derive(Debug, Default)]
pub(super) struct Side {
    pub topic_id: Option<TopicId>,
    pub epochs: Option<EpochCache>,
}

/// Files of a partition's directory that belong to no segment.
const KNOWN: &[&str] = &[PARTITION_METADATA, LEADER_EPOCH_CHECKPOINT, "quorum-state"];

pub(super) fn check(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    entries: &[DirEntry],
    bases: &[Offset],
    found: &mut Vec<Finding>,
) -> Side {
    let mut side = Side::default();
    let read = |path: &Path, found: &mut Vec<Finding>| match read_all(&**disk, path) {
        Ok(bytes) => bytes,
        Err(e) => {
            let remedy = "check the file's permissions and the device (dmesg)";
            found.push(Finding::error(path, format!("it can't be read: {e}"), remedy));
            None
        }
    };
    let path = dir.join(PARTITION_METADATA);
    match read(&path, found).map(|bytes| PartitionMetadata::decode(&bytes)) {
        Some(Ok(metadata)) => side.topic_id = Some(metadata.topic_id),
        Some(Err(e)) => {
            let remedy = "write the topic's id (kafka-topics --describe) into it: `version: 0`, `topic_id: ID`";
            found.push(Finding::error(&path, format!("it can't be understood: {e}"), remedy));
        }
        None => found.push(Finding::note(&path, "it is missing", "the next start writes it")),
    }
    let path = dir.join(LEADER_EPOCH_CHECKPOINT);
    if let Some(bytes) = read(&path, found) {
        // Kafka makes the file before it has something to write into it.
        match EpochCache::decode(&String::from_utf8_lossy(&bytes)) {
            Ok(epochs) => side.epochs = Some(epochs),
            Err(_) if bytes.is_empty() => {}
            Err(e) => {
                let remedy = "put the file away (logrun log repair does): a recovery writes it anew";
                found.push(Finding::error(&path, e.to_string(), remedy).mend(Mend::SetAside));
            }
        }
    }
    for entry in entries {
        let path = dir.join(&entry.name);
        match parse_segment_name(&entry.name) {
            Some((_, ".log")) => {}
            Some((_, ".snapshot")) => {
                if let Some(Err(e)) = read(&path, found).map(|bytes| decode_snapshot(&bytes)) {
                    let remedy = "put the file away (logrun log repair does): producers are read from the log instead";
                    found.push(Finding::warning(&path, e.to_string(), remedy).mend(Mend::SetAside));
                }
            }
            Some((base, ".index" | ".timeindex" | ".txnindex")) => {
                if bases.binary_search(&base).is_err() {
                    let remedy = "the next start removes it";
                    found.push(Finding::note(&path, "it belongs to no segment", remedy));
                }
            }
            Some((_, suffix)) if [".deleted", ".cleaned", ".swap"].iter().any(|end| suffix.ends_with(end)) => {
                let what = "it is left over from a deletion or a compaction that was interrupted";
                found.push(Finding::note(&path, what, "the next start takes care of it"));
            }
            None if KNOWN.contains(&entry.name.as_str()) || entry.name.contains(".checkpoint") => {}
            _ => found.push(Finding::note(&path, "it is no file of a log", "move it away if nobody needs it")),
        }
    }
    side
}

impl Side {
    /// What the files say must end where the log ends.
    pub fn against_end(&self, dir: &Path, end: Offset, is_cut: bool, found: &mut Vec<Finding>) {
        let behind = self.epochs.as_ref().and_then(EpochCache::latest_entry).filter(|e| e.start_offset > end);
        if let (Some(entry), false) = (behind, is_cut) {
            let what = format!("epoch {} begins at {}, behind the log's end {end}", entry.epoch, entry.start_offset);
            let remedy = "the next start removes the entry; if the log was longer, bring it back from a copy";
            found.push(Finding::warning(&dir.join(LEADER_EPOCH_CHECKPOINT), what, remedy));
        }
    }
}
