//! The logs of partitions that move between directories: future logs, and two logs of one partition after a crash.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use logrun_log::{Log, LogConfig, LogError, OpenState, Removals};
use logrun_model::{Now, Offset, TopicPartition};

use super::Logs;
use crate::directories::Directory;
use crate::partitions::Partition;

/// A future log that was found at the start.
#[derive(Debug)]
pub struct FutureDir {
    pub name: TopicPartition,
    pub directory: Arc<Directory>,
    pub path: PathBuf,
}

impl Logs {
    /// The future logs that were found at the start, once.
    pub fn take_futures(&self) -> Vec<FutureDir> {
        let all = std::mem::take(&mut *self.futures.lock());
        let each =
            all.into_iter().map(|(name, dir, path)| FutureDir { name, directory: self.directories[dir].clone(), path });
        each.collect()
    }

    /// Opens a future log, or makes it. Waits for the disk.
    pub fn open_future(&self, path: &Path, config: LogConfig, state: OpenState, now: Now) -> Result<Log, LogError> {
        Log::open(&self.env, path, config, state, now).map(|(log, _)| log)
    }

    /// The partition's log lies in `to` now; `removals` are the files that it had before.
    pub fn moved(&self, partition: &Partition, to: &Arc<Directory>, removals: Option<Removals>, now: Now) {
        if let Some(dir) = self.directories.iter().position(|d| Arc::ptr_eq(d, to)) {
            let before = self.placed.lock().insert(partition.id, dir);
            let mut dirs = self.dirs.lock();
            dirs.added(dir);
            if let Some(before) = before {
                dirs.removed(before);
            }
        }
        let due = now.monotonic.plus_ms(partition.settings().log.file_delete_delay_ms);
        self.removals.lock().extend(removals.map(|r| (due, r)));
    }

    /// Where the log in `path` ends. A crash at the end of a move leaves two logs of one partition: the one that ends
    /// later is the one that was written last.
    pub(super) fn log_end_in(&self, path: &Path) -> Result<Offset, LogError> {
        let now = self.env.io.clock.read();
        // Nothing is known of it here, so that the gaps of a compacted log must not be taken for a loss.
        let config = LogConfig { compact: true, ..LogConfig::default() };
        let (log, _) = Log::open(&self.env, path, config, OpenState::NEW, now)?;
        Ok(log.log_end_offset())
    }
}
