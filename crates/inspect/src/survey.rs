//! What lies in a log directory, by names alone: partitions, the files beside them, and what doesn't belong there.
//!
//! Nothing is opened but `meta.properties` and the checkpoints, and nothing is made: unlike a broker's start, this
//! leaves a directory as it was found.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use logrun_io::Disk;
use logrun_io::disk::read_all;
use logrun_log::{
    CLEAN_SHUTDOWN_FILE, HIGH_WATERMARK_CHECKPOINT, JOURNAL_PREFIX, LOG_START_OFFSET_CHECKPOINT, META_PROPERTIES,
    MalformedFile, MetaProperties, OffsetCheckpoint, PartitionDir, RECOVERY_POINT_CHECKPOINT, parse_dir_name,
};
use logrun_model::{Offset, TopicPartition};

/// Held by the process that uses the directory.
pub const LOCK_FILE: &str = ".lock";
/// How far compaction has come (Kafka's `LogCleanerManager`).
pub const CLEANER_CHECKPOINT: &str = "cleaner-offset-checkpoint";
/// What a cluster's first metadata come from (Kafka's `BootstrapDirectory`).
pub const BOOTSTRAP_CHECKPOINT: &str = "bootstrap.checkpoint";

/// The checkpoints of a log directory.
pub const CHECKPOINTS: [&str; 4] =
    [RECOVERY_POINT_CHECKPOINT, LOG_START_OFFSET_CHECKPOINT, HIGH_WATERMARK_CHECKPOINT, CLEANER_CHECKPOINT];

/// A log directory.
#[derive(Debug)]
pub struct LogDirectory {
    pub path: PathBuf,
    /// None if it was never formatted.
    pub meta: Option<Result<MetaProperties, MalformedFile>>,
    /// Whether the last process closed its logs.
    pub clean_shutdown: bool,
    /// By file name; those that are there.
    pub checkpoints: BTreeMap<&'static str, Result<OffsetCheckpoint, MalformedFile>>,
    /// In the order of their names, `__cluster_metadata` among them.
    pub partitions: Vec<PartitionDir>,
    /// Names of directories that are no partition's.
    pub foreign: Vec<String>,
    /// A process with `logrun.journal` was killed, or runs: what was appended last may be in its journal only.
    pub journal: bool,
}

/// Whether the log directory at `path` has a journal, which the next start brings to the partitions' files.
///
/// # Errors
/// It can't be listed.
pub fn has_journal(disk: &dyn Disk, path: &Path) -> io::Result<bool> {
    Ok(disk.list(path)?.iter().any(|e| !e.is_dir && e.name.starts_with(JOURNAL_PREFIX)))
}

impl LogDirectory {
    /// Looks into the directory at `path`.
    ///
    /// # Errors
    /// It can't be listed, or one of its small files can't be read.
    pub fn survey(disk: &dyn Disk, path: &Path) -> io::Result<Self> {
        let mut found = Self {
            path: path.to_owned(),
            meta: read_all(disk, &path.join(META_PROPERTIES))?.map(|bytes| MetaProperties::decode(&bytes)),
            clean_shutdown: disk.info(&path.join(CLEAN_SHUTDOWN_FILE))?.is_some(),
            checkpoints: BTreeMap::new(),
            partitions: Vec::new(),
            foreign: Vec::new(),
            journal: has_journal(disk, path)?,
        };
        for name in CHECKPOINTS {
            if let Some(bytes) = read_all(disk, &path.join(name))? {
                found.checkpoints.insert(name, OffsetCheckpoint::decode(&bytes));
            }
        }
        for entry in disk.list(path)?.into_iter().filter(|e| e.is_dir) {
            match parse_dir_name(&entry.name) {
                Some((partition, kind)) => {
                    found.partitions.push(PartitionDir { partition, kind, path: path.join(&entry.name) });
                }
                None => found.foreign.push(entry.name),
            }
        }
        Ok(found)
    }

    /// Whether this looks like a log directory at all.
    pub fn is_one(&self) -> bool {
        self.meta.is_some() || !self.partitions.is_empty() || !self.checkpoints.is_empty()
    }

    /// What a checkpoint says of a partition.
    pub fn checkpoint(&self, file: &str, partition: &TopicPartition) -> Option<Offset> {
        self.checkpoints.get(file)?.as_ref().ok()?.0.get(partition).copied()
    }

    /// Whether another process holds the directory. Nothing is made: a directory without a lock file is nobody's.
    ///
    /// # Errors
    /// The lock can't be looked at.
    pub fn is_held(&self, disk: &dyn Disk) -> io::Result<bool> {
        let lock = self.path.join(LOCK_FILE);
        Ok(disk.info(&lock)?.is_some() && disk.lock(&lock)?.is_none())
    }
}
