//! The logs of this broker in their directories: found at start, opened and deleted by metadata, checkpointed.
//!
//! Kafka's counterpart is `LogManager`. What a directory holds is found once, at start; from then on only this
//! module adds and removes partitions' directories. The metadata log is not among them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use logrun_log::{
    DirKind, DirsError, HIGH_WATERMARK_CHECKPOINT, LOG_START_OFFSET_CHECKPOINT, Log, LogConfig, LogDirs, LogEnv,
    LogError, OffsetCheckpoint, OpenState, RECOVERY_POINT_CHECKPOINT, Removals, dir_name,
};
use logrun_model::{BrokerEpoch, DirectoryId, Monotonic, Now, Offset, Str, TopicIdPartition, TopicPartition};
use parking_lot::Mutex;
use tracing::{error, info, warn};

use crate::partitions::Partition;

/// A directory found at start whose partition has not been asked for yet.
#[derive(Debug)]
struct Found {
    dir: usize,
    path: PathBuf,
}

/// What the checkpoint files of one directory said at start.
#[derive(Debug, Default)]
struct Checkpoints {
    recovery_points: OffsetCheckpoint,
    log_starts: OffsetCheckpoint,
    high_watermarks: OffsetCheckpoint,
    clean_shutdown: bool,
}

/// A directory of `log.dirs` as it is described.
#[derive(Clone, Debug)]
pub struct DirState {
    pub path: PathBuf,
    /// Whether it works. What the system refused at the start does not.
    pub online: bool,
    pub id: Option<DirectoryId>,
}

impl DirState {
    /// The absolute path, by which clients know the directory.
    pub fn shown(&self) -> Str {
        let absolute = std::path::absolute(&self.path);
        Str::from(absolute.as_ref().unwrap_or(&self.path).to_string_lossy().into_owned())
    }
}

/// The logs of this broker.
#[derive(Debug)]
pub struct Logs {
    env: LogEnv,
    dirs: Mutex<LogDirs>,
    checkpoints: Vec<Checkpoints>,
    found: Mutex<BTreeMap<TopicPartition, Found>>,
    /// In which directory each open partition lies.
    placed: Mutex<BTreeMap<TopicIdPartition, usize>>,
    /// Deleted partitions whose files go when their delay is over.
    removals: Mutex<Vec<(Monotonic, Removals)>>,
}

/// A log that was opened, and what the checkpoints say of it.
#[derive(Debug)]
pub struct OpenedLog {
    pub log: Log,
    pub high_watermark: Offset,
    /// The id of the directory that it lies in.
    pub directory_id: DirectoryId,
}

impl Logs {
    /// Looks through the directories. Their clean-shutdown files must have been taken.
    pub fn scan(env: LogEnv, dirs: LogDirs) -> Result<Self, DirsError> {
        let mut found = BTreeMap::new();
        let mut checkpoints = Vec::new();
        let mut removals = Vec::new();
        let mut dirs = dirs;
        for i in 0..dirs.dirs().len() {
            if !dirs.dirs()[i].online {
                checkpoints.push(Checkpoints::default());
                continue;
            }
            checkpoints.push(Checkpoints {
                recovery_points: dirs.read_checkpoint(i, RECOVERY_POINT_CHECKPOINT)?,
                log_starts: dirs.read_checkpoint(i, LOG_START_OFFSET_CHECKPOINT)?,
                high_watermarks: dirs.read_checkpoint(i, HIGH_WATERMARK_CHECKPOINT)?,
                clean_shutdown: dirs.dirs()[i].clean_shutdown,
            });
            for p in dirs.partitions(i)? {
                match p.kind {
                    DirKind::Current => {
                        if let Some(Found { path, .. }) =
                            found.insert(p.partition, Found { dir: i, path: p.path.clone() })
                        {
                            error!(
                                "{} and {} hold the same partition; the first is left alone",
                                path.display(),
                                p.path.display()
                            );
                        }
                        dirs.added(i);
                    }
                    // A deletion that the end of the process has interrupted.
                    DirKind::Delete => {
                        removals.push((Monotonic::default(), Removals::of_dir(env.io.disk.clone(), p.path)));
                    }
                    DirKind::Future => {
                        warn!("{} is half of a move between directories and is left alone", p.path.display())
                    }
                    DirKind::Stray => info!("{} belongs to no topic; remove it if it is not needed", p.path.display()),
                }
            }
        }
        Ok(Self {
            env,
            dirs: Mutex::new(dirs),
            checkpoints,
            found: Mutex::new(found),
            placed: Mutex::default(),
            removals: Mutex::new(removals),
        })
    }

    /// How many partitions' directories were found at start and not asked for yet.
    pub fn unclaimed(&self) -> usize {
        self.found.lock().len()
    }

    /// The ids of the directories that work.
    pub fn directory_ids(&self) -> Vec<DirectoryId> {
        let dirs = self.dirs.lock();
        dirs.dirs().iter().filter(|d| d.online).filter_map(|d| d.directory_id()).collect()
    }

    /// The directories at `paths` in that order, each once, those among them that don't work too.
    pub fn describe_dirs(&self, paths: &[PathBuf]) -> Vec<DirState> {
        let dirs = self.dirs.lock();
        let mut described: Vec<DirState> = Vec::with_capacity(paths.len());
        for path in paths {
            if described.iter().any(|d| d.path == *path) {
                continue;
            }
            let held = dirs.dirs().iter().find(|d| d.path == *path);
            described.push(DirState {
                path: path.clone(),
                online: held.is_some_and(|d| d.online),
                id: held.and_then(|d| d.directory_id()),
            });
        }
        described
    }

    /// The directory that the log of an open partition lies in.
    pub fn dir_of(&self, id: TopicIdPartition) -> Option<PathBuf> {
        let dir = self.placed.lock().get(&id).copied()?;
        Some(self.dirs.lock().dirs().get(dir)?.path.clone())
    }

    /// Opens the log of a partition, or makes it: in `preferred` if that is here, else where there are fewest. Waits for
    /// the disk. A directory of the same name that belonged to another topic is set aside as a stray.
    pub fn open(
        &self,
        id: TopicIdPartition,
        name: &TopicPartition,
        preferred: Option<DirectoryId>,
        config: LogConfig,
        now: Now,
    ) -> Result<OpenedLog, LogError> {
        if let Some(found) = self.found.lock().remove(name) {
            let checkpoints = &self.checkpoints[found.dir];
            let at = |c: &OffsetCheckpoint| c.0.get(name).copied().unwrap_or(Offset::ZERO);
            let state = OpenState {
                log_start_offset: at(&checkpoints.log_starts),
                recovery_point: at(&checkpoints.recovery_points),
                clean_shutdown: checkpoints.clean_shutdown,
            };
            let (mut log, _) = Log::open(&self.env, &found.path, config.clone(), state, now)?;
            if log.topic_id().is_none_or(|t| t == id.topic_id) {
                log.set_topic_id(id.topic_id)?;
                return Ok(self.placed(id, found.dir, log, at(&checkpoints.high_watermarks)));
            }
            warn!(partition = %name, "found a log of another topic of this name; it is set aside as a stray");
            log.rename_dir(&dir_name(name, DirKind::Stray, self.env.io.random.uuid()))?;
            self.dirs.lock().removed(found.dir);
        }
        let (dir, path) = {
            let mut dirs = self.dirs.lock();
            let chosen = preferred.and_then(|p| dirs.find(p)).or_else(|| dirs.choose());
            let Some(dir) = chosen else { return Err(LogError::Offline { dir: PathBuf::from("log.dirs") }) };
            dirs.added(dir);
            (dir, dirs.dirs()[dir].path.join(name.to_string()))
        };
        let (mut log, _) = Log::open(&self.env, &path, config, OpenState::NEW, now)?;
        log.set_topic_id(id.topic_id)?;
        Ok(self.placed(id, dir, log, Offset::ZERO))
    }

    fn placed(&self, id: TopicIdPartition, dir: usize, log: Log, high_watermark: Offset) -> OpenedLog {
        self.placed.lock().insert(id, dir);
        let directory_id = self.dirs.lock().dirs()[dir].directory_id().unwrap_or_default();
        OpenedLog { log, high_watermark, directory_id }
    }

    /// Deletes a partition: its directory gets another name now and goes `delay_ms` later.
    pub fn delete(&self, partition: &Arc<Partition>, now: Now, delay_ms: i64) -> Result<(), LogError> {
        let name = dir_name(&partition.name, DirKind::Delete, self.env.io.random.uuid());
        let removals = partition.delete(now, &name)?;
        if let Some(dir) = self.placed.lock().remove(&partition.id) {
            self.dirs.lock().removed(dir);
        }
        self.removals.lock().push((now.monotonic.plus_ms(delay_ms), removals));
        Ok(())
    }

    /// Deletes or sets aside what was found at start and belongs to no partition of the metadata: a deleted topic's
    /// remains go, as far as `partition.metadata` says whose they are, everything else becomes a stray.
    pub fn set_strays_aside(&self, now: Now) {
        for (name, found) in std::mem::take(&mut *self.found.lock()) {
            let renamed = Log::open(
                &self.env,
                &found.path,
                LogConfig::default(),
                OpenState { clean_shutdown: true, ..OpenState::NEW },
                now,
            )
            .and_then(|(mut log, _)| log.rename_dir(&dir_name(&name, DirKind::Stray, self.env.io.random.uuid())));
            match renamed {
                Ok(()) => warn!(partition = %name, "no topic owns this log any more; it is set aside as a stray"),
                Err(e) => error!(partition = %name, "a stray log can't be set aside: {e}"),
            }
            self.dirs.lock().removed(found.dir);
        }
    }

    /// Removes the files of deleted partitions whose delay is over. Waits for the disk.
    pub fn remove_deleted(&self, now: Now) {
        let due = {
            let mut removals = self.removals.lock();
            let (due, later) = std::mem::take(&mut *removals).into_iter().partition(|(at, _)| *at <= now.monotonic);
            *removals = later;
            due
        };
        let due: Vec<(Monotonic, Removals)> = due;
        for (_, removals) in due {
            if let Err(e) = removals.run() {
                error!("files of a deleted partition can't be removed: {e}");
            }
        }
    }

    /// Writes the checkpoint files of every directory. `extra` are the metadata log's (name, log start, recovery point) in
    /// its directory. Waits for the disk.
    pub fn write_checkpoints(
        &self,
        partitions: &[Arc<Partition>],
        metadata: Option<(&PathBuf, Offset, Offset)>,
    ) -> Result<(), DirsError> {
        let placed = self.placed.lock().clone();
        let dirs = self.dirs.lock();
        for i in 0..dirs.dirs().len() {
            if !dirs.dirs()[i].online {
                continue;
            }
            let (mut recovery, mut starts, mut high) =
                (OffsetCheckpoint::default(), OffsetCheckpoint::default(), OffsetCheckpoint::default());
            for p in partitions.iter().filter(|p| placed.get(&p.id) == Some(&i)) {
                let offsets = p.offsets();
                recovery.0.insert(p.name.clone(), p.recovery_point());
                high.0.insert(p.name.clone(), offsets.high_watermark);
                if offsets.log_start_offset > Offset::ZERO {
                    starts.0.insert(p.name.clone(), offsets.log_start_offset);
                }
            }
            // What was found and not claimed yet keeps what was said of it.
            for (name, found) in self.found.lock().iter().filter(|(_, f)| f.dir == i) {
                let old = &self.checkpoints[found.dir];
                let keep = |from: &OffsetCheckpoint, to: &mut OffsetCheckpoint| {
                    if let Some(offset) = from.0.get(name) {
                        to.0.insert(name.clone(), *offset);
                    }
                };
                keep(&old.recovery_points, &mut recovery);
                keep(&old.log_starts, &mut starts);
                keep(&old.high_watermarks, &mut high);
            }
            if let Some((path, start, point)) = metadata
                && *path == dirs.dirs()[i].path
            {
                let name = TopicPartition::new("__cluster_metadata", 0);
                recovery.0.insert(name.clone(), point);
                starts.0.insert(name, start);
            }
            dirs.write_checkpoint(i, RECOVERY_POINT_CHECKPOINT, &recovery)?;
            dirs.write_checkpoint(i, LOG_START_OFFSET_CHECKPOINT, &starts)?;
            dirs.write_checkpoint(i, HIGH_WATERMARK_CHECKPOINT, &high)?;
        }
        Ok(())
    }

    /// Brings everything in the directories to the device.
    pub fn sync_all(&self) -> std::io::Result<()> {
        let dirs = self.dirs.lock();
        dirs.dirs().iter().filter(|d| d.online).try_for_each(|d| self.env.io.disk.sync_tree(&d.path))
    }

    /// Writes the clean-shutdown files: every log is closed and checkpointed.
    pub fn write_clean_shutdown(&self, epoch: BrokerEpoch) -> Result<(), DirsError> {
        let dirs = self.dirs.lock();
        for i in 0..dirs.dirs().len() {
            if dirs.dirs()[i].online {
                dirs.write_clean_shutdown(i, epoch)?;
            }
        }
        Ok(())
    }
}
