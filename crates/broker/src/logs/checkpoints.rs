//! What is written down of the logs: the checkpoint files, and at a stop that all was closed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use logrun_log::{
    CLEANER_OFFSET_CHECKPOINT, DirsError, HIGH_WATERMARK_CHECKPOINT, LOG_START_OFFSET_CHECKPOINT, METADATA_TOPIC,
    OffsetCheckpoint, RECOVERY_POINT_CHECKPOINT,
};
use logrun_model::{BrokerEpoch, Offset, TopicIdPartition, TopicPartition};

use super::Logs;

/// What the checkpoint files are to say of a partition.
#[derive(Clone, Debug)]
pub struct Checkpointed {
    pub id: TopicIdPartition,
    pub name: TopicPartition,
    pub log_start_offset: Offset,
    pub recovery_point: Offset,
    pub high_watermark: Offset,
    /// Up to where the log is compacted (exclusive); none if none of it is.
    pub first_dirty: Offset,
}

impl Logs {
    /// Writes the checkpoint files of every directory. `metadata` is the metadata log's directory, log start and recovery
    /// point. Waits for the disk. What is not named counts as zero, here as in Kafka.
    ///
    /// A file that would say what it says is not written. High watermarks change all the time and can be done without, since
    /// a leader finds its own: they are brought to the device only at `last`, when the process ends. Each sync is a commit of
    /// the file system's journal, behind which appends wait for milliseconds.
    pub fn write_checkpoints(
        &self,
        partitions: &[Checkpointed],
        metadata: Option<(&PathBuf, Offset, Offset)>,
        last: bool,
    ) -> Result<(), DirsError> {
        #[derive(Default)]
        struct Files {
            recovery: OffsetCheckpoint,
            starts: OffsetCheckpoint,
            high: OffsetCheckpoint,
            first_dirty: OffsetCheckpoint,
        }
        let mut files: BTreeMap<usize, Files> = BTreeMap::new();
        {
            let placed = self.placed.lock();
            for p in partitions {
                let Some(dir) = placed.get(&p.id) else { continue };
                let files = files.entry(*dir).or_default();
                for (offset, file) in [
                    (p.recovery_point, &mut files.recovery),
                    (p.log_start_offset, &mut files.starts),
                    (p.high_watermark, &mut files.high),
                    (p.first_dirty, &mut files.first_dirty),
                ] {
                    if offset > Offset::ZERO {
                        file.0.insert(p.name.clone(), offset);
                    }
                }
            }
        }
        let mut dirs = self.dirs.lock();
        for i in 0..dirs.dirs().len() {
            let dir = &dirs.dirs()[i];
            if !dir.online {
                continue;
            }
            let mut files = files.remove(&i).unwrap_or_default();
            if let Some((path, start, point)) = metadata
                && *path == dir.path
            {
                let name = TopicPartition::new(METADATA_TOPIC, 0);
                files.recovery.0.insert(name.clone(), point);
                files.starts.0.insert(name, start);
            }
            for (name, file, lasting) in [
                (RECOVERY_POINT_CHECKPOINT, &files.recovery, true),
                (LOG_START_OFFSET_CHECKPOINT, &files.starts, true),
                (HIGH_WATERMARK_CHECKPOINT, &files.high, last),
                (CLEANER_OFFSET_CHECKPOINT, &files.first_dirty, true),
            ] {
                let written = dirs.write_checkpoint(i, name, file, lasting);
                written.inspect_err(|e| self.directories[i].saw_dirs_error(e))?;
            }
        }
        Ok(())
    }

    /// Brings everything in the directories to the device.
    pub fn sync_all(&self) -> std::io::Result<()> {
        let dirs = self.dirs.lock();
        dirs.dirs().iter().filter(|d| d.online).try_for_each(|d| self.env.io.disk.sync_tree(&d.path))
    }

    /// Writes the clean-shutdown files of the directories in which every log is closed and checkpointed: of all but those
    /// of `unclean`, which the next start must check.
    pub fn write_clean_shutdown(&self, epoch: BrokerEpoch, unclean: &[TopicIdPartition]) -> Result<(), DirsError> {
        let spoilt: BTreeSet<usize> = {
            let placed = self.placed.lock();
            unclean.iter().filter_map(|id| placed.get(id).copied()).collect()
        };
        let dirs = self.dirs.lock();
        for i in 0..dirs.dirs().len() {
            if dirs.dirs()[i].online && !spoilt.contains(&i) {
                dirs.write_clean_shutdown(i, epoch)?;
            }
        }
        Ok(())
    }
}
