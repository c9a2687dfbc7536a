//! What a start finds in the directories: logs by name, what the checkpoint files say of them, and what belongs to nobody.
//!
//! Kafka's counterparts are `LogManager.loadLogs` and `UnifiedLog.isStrayKraftReplica`. Nothing is opened here, but to
//! choose between two logs of one partition.

use std::collections::BTreeMap;
use std::path::Path;

use logrun_io::disk::read_all;
use logrun_log::{
    CLEANER_OFFSET_CHECKPOINT, DirKind, DirsError, HIGH_WATERMARK_CHECKPOINT, LOG_START_OFFSET_CHECKPOINT, LogDirs,
    LogError, METADATA_TOPIC, OffsetCheckpoint, PARTITION_METADATA, PartitionMetadata, RECOVERY_POINT_CHECKPOINT,
};
use logrun_model::{Offset, TimestampMs, TopicId, TopicIdPartition, TopicPartition};
use tracing::{error, warn};

use super::Logs;
use crate::partitions::AtRest;

/// What the checkpoint files of one directory said at start, until somebody takes it.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    recovery_points: OffsetCheckpoint,
    log_starts: OffsetCheckpoint,
    high_watermarks: OffsetCheckpoint,
    /// Where each log's uncompacted part begins.
    first_dirty: OffsetCheckpoint,
    clean_shutdown: bool,
}

impl Checkpoints {
    /// Reads those of directory `dir`.
    pub fn read(dirs: &LogDirs, dir: usize) -> Result<Self, DirsError> {
        let mut this = Self {
            recovery_points: dirs.read_checkpoint(dir, RECOVERY_POINT_CHECKPOINT)?,
            log_starts: dirs.read_checkpoint(dir, LOG_START_OFFSET_CHECKPOINT)?,
            high_watermarks: dirs.read_checkpoint(dir, HIGH_WATERMARK_CHECKPOINT)?,
            first_dirty: dirs.read_checkpoint(dir, CLEANER_OFFSET_CHECKPOINT)?,
            clean_shutdown: dirs.dirs()[dir].clean_shutdown,
        };
        // That of the metadata log is for others to read.
        this.take(&TopicPartition::new(METADATA_TOPIC, 0));
        Ok(this)
    }

    /// What they say of a partition, once.
    fn take(&mut self, name: &TopicPartition) -> AtRest {
        let take = |c: &mut OffsetCheckpoint| c.0.remove(name).unwrap_or(Offset::ZERO);
        AtRest {
            on_disk: true,
            clean: self.clean_shutdown,
            log_start_offset: take(&mut self.log_starts),
            recovery_point: take(&mut self.recovery_points),
            high_watermark: take(&mut self.high_watermarks),
            first_dirty: take(&mut self.first_dirty),
            compacted: false,
            size: None,
            retained_until: TimestampMs(0),
        }
    }

    /// Whether nobody has taken all that they said.
    fn any_left(&self) -> bool {
        [&self.recovery_points, &self.log_starts, &self.high_watermarks, &self.first_dirty]
            .iter()
            .any(|c| !c.0.is_empty())
    }
}

/// What was found at the start and not asked for yet; nothing once the metadata is in force.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub checkpoints: Vec<Checkpoints>,
    /// The directories that hold a log of this name. Several if a failure left one behind: the topic's own is among
    /// them, or none is.
    pub partitions: BTreeMap<TopicPartition, Vec<usize>>,
}

impl Logs {
    /// Takes the directory that was found at start for the partition; if there are several, the topic's own first.
    pub(super) fn take_found(
        &self,
        id: TopicIdPartition,
        name: &TopicPartition,
    ) -> Result<Option<(usize, AtRest)>, LogError> {
        let mut all = self.found.lock();
        let Some(found) = all.partitions.get_mut(name) else { return Ok(None) };
        let (mut own, mut own_end) = (0, None);
        if found.len() > 1 {
            for (i, dir) in found.iter().enumerate() {
                let path = self.path_in(*dir, name);
                if self.owner_of(&path)? == Some(id.topic_id) {
                    let end = Some(self.log_end_in(&path)?);
                    if end > own_end {
                        (own, own_end) = (i, end);
                    }
                }
            }
            let path = self.path_in(found[own], name);
            error!("{} directories hold {name}; {} is taken", found.len(), path.display());
        }
        let dir = found.remove(own);
        if found.is_empty() {
            all.partitions.remove(name);
        }
        Ok(Some((dir, all.checkpoints[dir].take(name))))
    }

    /// The topic that a log's directory says it belongs to, if it says.
    pub(super) fn owner_of(&self, path: &Path) -> Result<Option<TopicId>, LogError> {
        let path = path.join(PARTITION_METADATA);
        let read = read_all(&*self.env.io.disk, &path);
        let text = read.map_err(|e| LogError::Io { action: "read", path, source: e.into() })?;
        Ok(text.and_then(|t| PartitionMetadata::decode(&t).ok()).map(|m| m.topic_id))
    }

    /// Sets aside what was found at start and belongs to no partition of the metadata: from now on nothing is. Returns
    /// whether checkpoint files speak of logs that are not there.
    pub fn set_strays_aside(&self) -> bool {
        let found = std::mem::take(&mut *self.found.lock());
        let any_left = found.checkpoints.iter().any(Checkpoints::any_left);
        for (name, dir) in
            found.partitions.into_iter().flat_map(|(n, dirs)| dirs.into_iter().map(move |d| (n.clone(), d)))
        {
            match self.rename(&self.path_in(dir, &name), &name, DirKind::Stray) {
                Ok(_) => warn!(partition = %name, "no topic owns this log any more; it is set aside as a stray"),
                Err(e) => error!(partition = %name, "a stray log can't be set aside: {e}"),
            }
            self.dirs.lock().removed(dir);
        }
        any_left
    }
}
