//! The logs of this broker in their directories: found at start, opened and deleted by metadata, checkpointed.
//!
//! Kafka's counterpart is `LogManager`. What a directory holds is found once, at start; from then on only this
//! module adds and removes partitions' directories. The metadata log is not among them.

mod moved;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use logrun_io::Io;
use logrun_io::disk::read_all;
use logrun_log::{
    CLEANER_OFFSET_CHECKPOINT, DirKind, DirsError, HIGH_WATERMARK_CHECKPOINT, LOG_START_OFFSET_CHECKPOINT, Log,
    LogConfig, LogDirs, LogEnv, LogError, OffsetCheckpoint, OpenState, PARTITION_METADATA, PartitionMetadata,
    RECOVERY_POINT_CHECKPOINT, Removals, dir_name,
};
use logrun_model::{BrokerEpoch, DirectoryId, Monotonic, Now, Offset, Str, TopicIdPartition, TopicPartition, Uuid};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::{error, info, warn};

use crate::directories::{Directory, Room, shown};
use crate::partitions::Partition;

pub use moved::FutureDir;

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
    /// Where each log's uncompacted part begins.
    first_dirty: OffsetCheckpoint,
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
        shown(&self.path)
    }
}

/// The logs of this broker.
#[derive(Debug)]
pub struct Logs {
    env: LogEnv,
    dirs: Mutex<LogDirs>,
    /// The same, in the same order, as those know them who use them.
    directories: Vec<Arc<Directory>>,
    /// Told when somebody should look after the directories.
    attention: Arc<Notify>,
    /// Of `log.dirs` there are some that could not be taken at the start.
    some_missing: bool,
    checkpoints: Vec<Checkpoints>,
    /// Several of one name if a failure left one behind: the topic's own is among them, or none is.
    found: Mutex<BTreeMap<TopicPartition, Vec<Found>>>,
    /// In which directory each open partition lies.
    placed: Mutex<BTreeMap<TopicIdPartition, usize>>,
    /// Copies that the process before has not come to the end of.
    futures: Mutex<Vec<(TopicPartition, usize, PathBuf)>>,
    /// Deleted partitions whose files go when their delay is over.
    removals: Mutex<Vec<(Monotonic, Removals)>>,
}

/// A log that was opened, and what the checkpoints say of it.
#[derive(Debug)]
pub struct OpenedLog {
    pub log: Log,
    pub high_watermark: Offset,
    /// Where it lies.
    pub directory: Arc<Directory>,
}

impl Logs {
    /// Looks through the directories. Their clean-shutdown files must have been taken. `some_missing`: there are more of
    /// them, which could not be taken, and nobody knows what is in them.
    pub fn scan(env: LogEnv, dirs: LogDirs, some_missing: bool) -> Result<Self, DirsError> {
        let mut found: BTreeMap<TopicPartition, Vec<Found>> = BTreeMap::new();
        let mut checkpoints = Vec::new();
        let mut removals = Vec::new();
        let mut futures = Vec::new();
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
                first_dirty: dirs.read_checkpoint(i, CLEANER_OFFSET_CHECKPOINT)?,
                clean_shutdown: dirs.dirs()[i].clean_shutdown,
            });
            for p in dirs.partitions(i)? {
                match p.kind {
                    DirKind::Current => {
                        found.entry(p.partition).or_default().push(Found { dir: i, path: p.path });
                        dirs.added(i);
                    }
                    // A deletion that the end of the process has interrupted.
                    DirKind::Delete => {
                        removals.push((Monotonic::default(), Removals::of_dir(env.io.disk.clone(), p.path)));
                    }
                    DirKind::Future => futures.push((p.partition, i, p.path)),
                    DirKind::Stray => info!("{} belongs to no topic; remove it if it is not needed", p.path.display()),
                }
            }
        }
        let attention = Arc::new(Notify::new());
        Ok(Self {
            directories: directories(&env.io, &dirs, &attention),
            attention,
            some_missing,
            env,
            dirs: Mutex::new(dirs),
            checkpoints,
            found: Mutex::new(found),
            placed: Mutex::default(),
            futures: Mutex::new(futures),
            removals: Mutex::new(removals),
        })
    }

    /// How many partitions' directories were found at start and not asked for yet.
    pub fn unclaimed(&self) -> usize {
        self.found.lock().values().map(Vec::len).sum()
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

    /// The directories that this process holds, those that have failed since too.
    pub fn directories(&self) -> &[Arc<Directory>] {
        &self.directories
    }

    /// The directories that have failed since the start.
    pub fn failed_directories(&self) -> Vec<Arc<Directory>> {
        self.directories.iter().filter(|d| !d.is_online()).cloned().collect()
    }

    /// The rooms of the directories that work, each once.
    pub fn rooms(&self) -> Vec<Arc<Room>> {
        let mut rooms: Vec<Arc<Room>> = Vec::new();
        for dir in self.directories.iter().filter(|d| d.is_online()) {
            if !rooms.iter().any(|r| Arc::ptr_eq(r, dir.room())) {
                rooms.push(dir.room().clone());
            }
        }
        rooms
    }

    /// Completes when somebody should look after the directories.
    pub async fn attention(&self) {
        self.attention.notified().await;
    }

    /// Nothing more is done in the directories that have failed.
    pub fn take_offline(&self, failed: &[Arc<Directory>]) {
        let mut dirs = self.dirs.lock();
        for (i, dir) in self.directories.iter().enumerate() {
            if failed.iter().any(|f| Arc::ptr_eq(f, dir)) {
                dirs.set_offline(i);
            }
        }
        self.found.lock().retain(|_, found| {
            found.retain(|f| self.directories[f.dir].is_online());
            !found.is_empty()
        });
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
        while let Some(found) = self.take_found(id, name)? {
            let checkpoints = &self.checkpoints[found.dir];
            let at = |c: &OffsetCheckpoint| c.0.get(name).copied().unwrap_or(Offset::ZERO);
            let state = OpenState {
                log_start_offset: at(&checkpoints.log_starts),
                recovery_point: at(&checkpoints.recovery_points),
                clean_shutdown: checkpoints.clean_shutdown,
            };
            let (mut log, _) = match Log::open(&self.env, &found.path, config.clone(), state, now) {
                Ok(opened) => opened,
                Err(e) => {
                    // It is still where it was, and no other may be made in its place.
                    self.found.lock().entry(name.clone()).or_default().push(found);
                    return Err(e);
                }
            };
            if log.topic_id().is_none_or(|t| t == id.topic_id) {
                log.set_topic_id(id.topic_id)?;
                log.set_first_dirty_offset(at(&checkpoints.first_dirty));
                return Ok(self.placed(id, found.dir, log, at(&checkpoints.high_watermarks)));
            }
            self.set_aside(&mut log, name)?;
            self.dirs.lock().removed(found.dir);
        }
        let (dir, path) = {
            let mut dirs = self.dirs.lock();
            let assigned = preferred.filter(|p| *p != Uuid::UNASSIGNED_DIR);
            let found = assigned.and_then(|p| dirs.find(p)).filter(|i| dirs.dirs()[*i].online);
            // It may lie in a directory that can't be looked into, and must not begin anew elsewhere.
            let may_be_there = assigned.is_some() && (self.some_missing || dirs.dirs().iter().any(|d| !d.online));
            let chosen = if may_be_there { found } else { found.or_else(|| dirs.choose()) };
            let Some(dir) = chosen else { return Err(LogError::Offline { dir: PathBuf::from("log.dirs") }) };
            dirs.added(dir);
            (dir, dirs.dirs()[dir].path.join(name.to_string()))
        };
        let (mut log, _) = Log::open(&self.env, &path, config.clone(), OpenState::NEW, now)?;
        // What lies here already is what a failed deletion, or a failed creation, of this process has left.
        if log.topic_id().is_some_and(|t| t != id.topic_id) || log.log_end_offset() > Offset::ZERO {
            self.set_aside(&mut log, name)?;
            log = Log::open(&self.env, &path, config, OpenState::NEW, now)?.0;
        }
        log.set_topic_id(id.topic_id)?;
        Ok(self.placed(id, dir, log, Offset::ZERO))
    }

    /// Takes the directory that was found at start for the partition; if there are several, the topic's own first.
    fn take_found(&self, id: TopicIdPartition, name: &TopicPartition) -> Result<Option<Found>, LogError> {
        let mut all = self.found.lock();
        let Some(found) = all.get_mut(name) else { return Ok(None) };
        let (mut own, mut own_end) = (0, None);
        if found.len() > 1 {
            for (i, f) in found.iter().enumerate() {
                let path = f.path.join(PARTITION_METADATA);
                let text = read_all(&*self.env.io.disk, &path).map_err(|e| LogError::Io {
                    action: "read",
                    path: path.clone(),
                    source: e.into(),
                })?;
                if text.and_then(|t| PartitionMetadata::decode(&t).ok()).is_some_and(|m| m.topic_id == id.topic_id) {
                    let end = Some(self.log_end_in(&f.path)?);
                    if end > own_end {
                        (own, own_end) = (i, end);
                    }
                }
            }
            error!("{} directories hold {name}; {} is taken", found.len(), found[own].path.display());
        }
        let taken = (own < found.len()).then(|| found.remove(own));
        if found.is_empty() {
            all.remove(name);
        }
        Ok(taken)
    }

    fn set_aside(&self, log: &mut Log, name: &TopicPartition) -> Result<(), LogError> {
        warn!(partition = %name, "found a log of another topic of this name; it is set aside as a stray");
        log.rename_dir(&dir_name(name, DirKind::Stray, self.env.io.random.uuid()))
    }

    fn placed(&self, id: TopicIdPartition, dir: usize, log: Log, high_watermark: Offset) -> OpenedLog {
        self.placed.lock().insert(id, dir);
        OpenedLog { log, high_watermark, directory: self.directories[dir].clone() }
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
        let all = std::mem::take(&mut *self.found.lock());
        for (name, found) in all.into_iter().flat_map(|(name, all)| all.into_iter().map(move |f| (name.clone(), f))) {
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
        self.remove(due);
    }

    /// Removes the files of all deleted partitions. Waits for the disk.
    pub fn remove_deleted_at_once(&self) {
        let all = std::mem::take(&mut *self.removals.lock());
        self.remove(all);
    }

    fn remove(&self, due: Vec<(Monotonic, Removals)>) {
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
            let (mut recovery, mut starts) = (OffsetCheckpoint::default(), OffsetCheckpoint::default());
            let (mut high, mut first_dirty) = (OffsetCheckpoint::default(), OffsetCheckpoint::default());
            for p in partitions.iter().filter(|p| placed.get(&p.id) == Some(&i)) {
                let offsets = p.offsets();
                recovery.0.insert(p.name.clone(), p.recovery_point());
                high.0.insert(p.name.clone(), offsets.high_watermark);
                if offsets.log_start_offset > Offset::ZERO {
                    starts.0.insert(p.name.clone(), offsets.log_start_offset);
                }
                if let Some(offset) = p.compacted_to() {
                    first_dirty.0.insert(p.name.clone(), offset);
                }
            }
            // What was found and not claimed yet keeps what was said of it.
            let unclaimed = self.found.lock();
            let here = unclaimed.iter().flat_map(|(name, all)| all.iter().map(move |f| (name, f)));
            for (name, found) in here.filter(|(_, f)| f.dir == i) {
                let old = &self.checkpoints[found.dir];
                let keep = |from: &OffsetCheckpoint, to: &mut OffsetCheckpoint| {
                    if let Some(offset) = from.0.get(name) {
                        to.0.insert(name.clone(), *offset);
                    }
                };
                keep(&old.recovery_points, &mut recovery);
                keep(&old.log_starts, &mut starts);
                keep(&old.high_watermarks, &mut high);
                keep(&old.first_dirty, &mut first_dirty);
            }
            if let Some((path, start, point)) = metadata
                && *path == dirs.dirs()[i].path
            {
                let name = TopicPartition::new("__cluster_metadata", 0);
                recovery.0.insert(name.clone(), point);
                starts.0.insert(name, start);
            }
            dirs.write_checkpoint(i, RECOVERY_POINT_CHECKPOINT, &recovery)
                .and_then(|()| dirs.write_checkpoint(i, LOG_START_OFFSET_CHECKPOINT, &starts))
                .and_then(|()| dirs.write_checkpoint(i, HIGH_WATERMARK_CHECKPOINT, &high))
                .and_then(|()| dirs.write_checkpoint(i, CLEANER_OFFSET_CHECKPOINT, &first_dirty))
                .inspect_err(|e| self.directories[i].saw_dirs_error(e))?;
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

/// The directories as their users know them; those of one file system share its room.
fn directories(io: &Io, dirs: &LogDirs, attention: &Arc<Notify>) -> Vec<Arc<Directory>> {
    let mut rooms: BTreeMap<u64, Arc<Room>> = BTreeMap::new();
    let each = dirs.dirs().iter().map(|d| {
        let room = match io.disk.space(&d.path) {
            Ok(space) => rooms.entry(space.file_system).or_insert_with(|| Arc::new(Room::new(&d.path))).clone(),
            // The watch will find it again, and say so.
            Err(_) => Arc::new(Room::new(&d.path)),
        };
        let id = d.directory_id().unwrap_or_default();
        Arc::new(Directory::new(io, &d.path, id, room, attention.clone()))
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use logrun_io::disk::SimDisk;
    use logrun_io::{Disk, MemoryNet};
    use logrun_log::TailCache;
    use logrun_model::{NodeId, TimestampMs};
    use logrun_record::{BatchBuilder, Compression};

    use super::*;

    struct World {
        disk: SimDisk,
        io: Io,
        name: TopicPartition,
    }

    impl World {
        fn new() -> Self {
            let disk = SimDisk::new();
            let io = Io::simulated(1, 0, Arc::new(disk.clone()), MemoryNet::new());
            Self { disk, io, name: TopicPartition::new("t", 0) }
        }

        fn logs(&self) -> Logs {
            let mut dirs = LogDirs::open(&self.io, &[PathBuf::from("/a"), PathBuf::from("/b")]).unwrap().dirs;
            dirs.format(&Str::from("4L6g3nShT-eMCtK--X86sw"), NodeId(1)).unwrap();
            dirs.take_clean_shutdown().unwrap();
            Logs::scan(LogEnv { io: self.io.clone(), tail: TailCache::new(1 << 20) }, dirs, false).unwrap()
        }

        fn open(&self, logs: &Logs, topic_id: Uuid, dir: Option<DirectoryId>) -> Log {
            let id = TopicIdPartition { topic_id, partition: 0 };
            logs.open(id, &self.name, dir, LogConfig::default(), self.io.clock.read()).unwrap().log
        }

        fn append(&self, log: &mut Log) {
            let mut batch = BatchBuilder::new(Compression::NONE);
            batch.append(TimestampMs(0), None, Some(b"v"), &[]).unwrap();
            log.append(&[batch.prepare().unwrap()], self.io.clock.read()).unwrap();
        }

        fn names(&self, dir: &str) -> Vec<String> {
            let entries = self.disk.list(Path::new(dir)).unwrap().into_iter();
            entries.filter(|e| e.is_dir).map(|e| e.name.split('.').next().unwrap_or_default().to_owned()).collect()
        }
    }

    fn topic(n: u128) -> Uuid {
        Uuid::from_random(n << 64 | n).unwrap()
    }

    /// Found by the simulation: a deletion whose rename failed left its records to the next topic of the name.
    #[test]
    fn a_new_topic_begins_empty_whatever_lies_at_its_place() {
        let world = World::new();
        let logs = world.logs();
        let first = logs.directory_ids()[0];
        let mut log = world.open(&logs, topic(1), Some(first));
        world.append(&mut log);
        drop(log);
        let log = world.open(&logs, topic(2), Some(first));
        assert_eq!((log.log_end_offset(), log.topic_id()), (Offset::ZERO, Some(topic(2))));
        assert_eq!(world.names("/a"), ["t-0", "t-0"]);
    }

    /// Found by the simulation: with two directories of one name the wrong one was taken, and the topic was empty.
    #[test]
    fn of_two_directories_the_topics_own_is_taken() {
        let world = World::new();
        for own in 0..2 {
            let logs = world.logs();
            let ids = logs.directory_ids();
            let mut log = world.open(&logs, topic(1), Some(ids[own]));
            world.append(&mut log);
            // What a creation that failed has left.
            let other = if own == 0 { "/b/t-0" } else { "/a/t-0" };
            world.disk.create_dir_all(Path::new(other)).unwrap();
            drop((log, logs));
            world.disk.kill();
            let logs = world.logs();
            assert_eq!(world.open(&logs, topic(1), None).log_end_offset(), Offset(1));
            logs.set_strays_aside(world.io.clock.read());
            assert_eq!(logs.unclaimed(), 0);
            drop(logs);
            for dir in ["/a/t-0", "/b/t-0"] {
                let _ = world.disk.remove_dir_all(Path::new(dir));
            }
            world.disk.kill();
        }
    }
}
