//! The logs of this broker in their directories: found at start, placed and deleted by metadata, opened when they are
//! used, checkpointed.
//!
//! Kafka's counterpart is `LogManager`. What a directory holds is found once, at start; from then on only this
//! module adds and removes partitions' directories. The metadata log is not among them.

mod moved;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use logrun_io::Io;
use logrun_io::disk::read_all;
use logrun_log::{
    CLEANER_OFFSET_CHECKPOINT, DirKind, DirsError, HIGH_WATERMARK_CHECKPOINT, LOG_START_OFFSET_CHECKPOINT, Log,
    LogConfig, LogDirs, LogEnv, LogError, OffsetCheckpoint, OpenState, PARTITION_METADATA, PartitionMetadata,
    RECOVERY_POINT_CHECKPOINT, Removals, dir_name,
};
use logrun_model::{
    BrokerEpoch, DirectoryId, Monotonic, Now, Offset, Str, TimestampMs, TopicId, TopicIdPartition, TopicPartition, Uuid,
};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::{error, info, warn};

use crate::directories::{Directory, Room, shown};
use crate::partitions::{AtRest, Partition};

pub use moved::FutureDir;

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

/// What was found at the start and not asked for yet; nothing once the metadata is in force.
#[derive(Debug, Default)]
struct Found {
    checkpoints: Vec<Checkpoints>,
    /// The directories that hold a log of this name. Several if a failure left one behind: the topic's own is among
    /// them, or none is.
    partitions: BTreeMap<TopicPartition, Vec<usize>>,
}

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
    found: Mutex<Found>,
    /// In which directory each partition lies, or will when it takes its first record.
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
        let mut found = Found::default();
        let mut removals = Vec::new();
        let mut futures = Vec::new();
        let mut dirs = dirs;
        for i in 0..dirs.dirs().len() {
            if !dirs.dirs()[i].online {
                found.checkpoints.push(Checkpoints::default());
                continue;
            }
            found.checkpoints.push(Checkpoints {
                recovery_points: dirs.read_checkpoint(i, RECOVERY_POINT_CHECKPOINT)?,
                log_starts: dirs.read_checkpoint(i, LOG_START_OFFSET_CHECKPOINT)?,
                high_watermarks: dirs.read_checkpoint(i, HIGH_WATERMARK_CHECKPOINT)?,
                first_dirty: dirs.read_checkpoint(i, CLEANER_OFFSET_CHECKPOINT)?,
                clean_shutdown: dirs.dirs()[i].clean_shutdown,
            });
            for p in dirs.partitions(i)? {
                match p.kind {
                    DirKind::Current => {
                        found.partitions.entry(p.partition).or_default().push(i);
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
            found: Mutex::new(found),
            placed: Mutex::default(),
            futures: Mutex::new(futures),
            removals: Mutex::new(removals),
        })
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
        self.found.lock().partitions.retain(|_, found| {
            found.retain(|dir| self.directories[*dir].is_online());
            !found.is_empty()
        });
    }

    /// The directory that the log of a partition lies in, or will.
    pub fn directory_of(&self, id: TopicIdPartition) -> Option<Arc<Directory>> {
        let dir = self.placed.lock().get(&id).copied()?;
        Some(self.directories[dir].clone())
    }

    /// Gives a partition its place: where its log was found at start, else in `preferred` if that is here, else where
    /// there are fewest. No log is opened and nothing is made. Returns what is known of the log, and the directory.
    pub fn take(
        &self,
        id: TopicIdPartition,
        name: &TopicPartition,
        preferred: Option<DirectoryId>,
    ) -> Result<(AtRest, Arc<Directory>), LogError> {
        let found = self.take_found(id, name)?;
        let (dir, rest) = match found {
            Some(found) => found,
            None => {
                let mut dirs = self.dirs.lock();
                let assigned = preferred.filter(|p| *p != Uuid::UNASSIGNED_DIR);
                let there = assigned.and_then(|p| dirs.find(p)).filter(|i| dirs.dirs()[*i].online);
                // It may lie in a directory that can't be looked into, and must not begin anew elsewhere.
                let may_be_there = assigned.is_some() && (self.some_missing || dirs.dirs().iter().any(|d| !d.online));
                let chosen = if may_be_there { there } else { there.or_else(|| dirs.choose()) };
                let Some(dir) = chosen else { return Err(LogError::Offline { dir: PathBuf::from("log.dirs") }) };
                dirs.added(dir);
                (dir, AtRest::NEW)
            }
        };
        self.placed.lock().insert(id, dir);
        Ok((rest, self.directories[dir].clone()))
    }

    /// Takes the directory that was found at start for the partition; if there are several, the topic's own first.
    fn take_found(&self, id: TopicIdPartition, name: &TopicPartition) -> Result<Option<(usize, AtRest)>, LogError> {
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
        let checkpoints = &all.checkpoints[dir];
        let at = |c: &OffsetCheckpoint| c.0.get(name).copied().unwrap_or(Offset::ZERO);
        let rest = AtRest {
            on_disk: true,
            clean: checkpoints.clean_shutdown,
            log_start_offset: at(&checkpoints.log_starts),
            recovery_point: at(&checkpoints.recovery_points),
            high_watermark: at(&checkpoints.high_watermarks),
            first_dirty: at(&checkpoints.first_dirty),
            compacted: false,
            size: None,
            retained_until: TimestampMs(0),
        };
        Ok(Some((dir, rest)))
    }

    /// The topic that a log's directory says it belongs to, if it says.
    fn owner_of(&self, path: &Path) -> Result<Option<TopicId>, LogError> {
        let path = path.join(PARTITION_METADATA);
        let read = read_all(&*self.env.io.disk, &path);
        let text = read.map_err(|e| LogError::Io { action: "read", path, source: e.into() })?;
        Ok(text.and_then(|t| PartitionMetadata::decode(&t).ok()).map(|m| m.topic_id))
    }

    fn path_in(&self, dir: usize, name: &TopicPartition) -> PathBuf {
        self.dirs.lock().dirs()[dir].path.join(name.to_string())
    }

    /// Where the log of a partition lies, or will.
    fn path_of(&self, id: TopicIdPartition, name: &TopicPartition) -> Result<PathBuf, LogError> {
        let dir = self.placed.lock().get(&id).copied();
        dir.map(|dir| self.path_in(dir, name)).ok_or(LogError::Offline { dir: PathBuf::from("log.dirs") })
    }

    /// Opens the log of a partition that has its place, of which `rest` is known. Waits for the disk. A directory of the
    /// same name that belonged to another topic is set aside as a stray.
    pub fn open(
        &self,
        id: TopicIdPartition,
        name: &TopicPartition,
        rest: &AtRest,
        config: LogConfig,
        now: Now,
    ) -> Result<OpenedLog, LogError> {
        let unplaced = || LogError::Offline { dir: PathBuf::from("log.dirs") };
        let directory = self.directory_of(id).ok_or_else(unplaced)?;
        if !directory.is_online() {
            return Err(LogError::Offline { dir: directory.path.clone() });
        }
        let path = self.path_of(id, name)?;
        let state = OpenState {
            log_start_offset: rest.log_start_offset,
            recovery_point: rest.recovery_point,
            clean_shutdown: rest.on_disk && rest.clean,
        };
        let (mut log, _) = Log::open(&self.env, &path, config.clone(), state, now)?;
        let (mut high_watermark, mut first_dirty) = (rest.high_watermark, rest.first_dirty);
        // What lies at the place of a new one is what a failed deletion, or a failed creation, has left.
        if log.topic_id().is_some_and(|t| t != id.topic_id) || (!rest.on_disk && log.log_end_offset() > Offset::ZERO) {
            warn!(partition = %name, "found a log of another topic of this name; it is set aside as a stray");
            log.rename_dir(&dir_name(name, DirKind::Stray, self.env.io.random.uuid()))?;
            log = Log::open(&self.env, &path, config, OpenState::NEW, now)?.0;
            (high_watermark, first_dirty) = (Offset::ZERO, Offset::ZERO);
        }
        log.set_topic_id(id.topic_id)?;
        log.set_first_dirty_offset(first_dirty);
        Ok(OpenedLog { log, high_watermark, directory })
    }

    /// How many bytes the segments of a closed log take. Waits for the disk.
    pub fn size_at_rest(&self, id: TopicIdPartition, name: &TopicPartition) -> Result<u64, LogError> {
        Log::size_in(&*self.env.io.disk, &self.path_of(id, name)?)
    }

    /// Deletes an open partition: its directory gets another name now and goes `delay_ms` later.
    pub fn delete(&self, partition: &Arc<Partition>, now: Now, delay_ms: i64) -> Result<(), LogError> {
        let name = dir_name(&partition.name, DirKind::Delete, self.env.io.random.uuid());
        let removals = partition.delete(now, &name)?;
        self.gone(partition.id);
        self.removals.lock().push((now.monotonic.plus_ms(delay_ms), removals));
        Ok(())
    }

    /// Deletes a partition whose log is not open, as [`Self::delete`] does.
    pub fn delete_at_rest(
        &self,
        id: TopicIdPartition,
        name: &TopicPartition,
        on_disk: bool,
        now: Now,
        delay_ms: i64,
    ) -> Result<(), LogError> {
        if on_disk {
            let path = self.path_of(id, name)?;
            if self.owner_of(&path)?.is_none_or(|owner| owner == id.topic_id) {
                let to = self.rename(&path, name, DirKind::Delete)?;
                let removals = Removals::of_dir(self.env.io.disk.clone(), to);
                self.removals.lock().push((now.monotonic.plus_ms(delay_ms), removals));
            } else {
                self.rename(&path, name, DirKind::Stray)?;
                warn!(partition = %name, "a log of another topic of this name is set aside as a stray");
            }
        }
        self.gone(id);
        Ok(())
    }

    fn gone(&self, id: TopicIdPartition) {
        let dir = self.placed.lock().remove(&id);
        if let Some(dir) = dir {
            self.dirs.lock().removed(dir);
        }
    }

    /// Gives the directory of a log that is not open the name of one of `kind`. On the device when this returns.
    fn rename(&self, path: &Path, name: &TopicPartition, kind: DirKind) -> Result<PathBuf, LogError> {
        let disk = &self.env.io.disk;
        let to = path.with_file_name(dir_name(name, kind, self.env.io.random.uuid()));
        let parent = path.parent().unwrap_or(Path::new(""));
        let renamed = disk.rename(path, &to).and_then(|()| disk.sync_dir(parent));
        renamed.map_err(|e| LogError::Io { action: "rename", path: path.to_path_buf(), source: e.into() })?;
        Ok(to)
    }

    /// Sets aside what was found at start and belongs to no partition of the metadata: from now on nothing is.
    pub fn set_strays_aside(&self) {
        let found = std::mem::take(&mut *self.found.lock());
        for (name, dir) in
            found.partitions.into_iter().flat_map(|(n, dirs)| dirs.into_iter().map(move |d| (n.clone(), d)))
        {
            match self.rename(&self.path_in(dir, &name), &name, DirKind::Stray) {
                Ok(_) => warn!(partition = %name, "no topic owns this log any more; it is set aside as a stray"),
                Err(e) => error!(partition = %name, "a stray log can't be set aside: {e}"),
            }
            self.dirs.lock().removed(dir);
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

    /// Writes the checkpoint files of every directory. `metadata` is the metadata log's directory, log start and recovery
    /// point. Waits for the disk. What is not named counts as zero, here as in Kafka.
    pub fn write_checkpoints(
        &self,
        partitions: &[Checkpointed],
        metadata: Option<(&PathBuf, Offset, Offset)>,
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
        let dirs = self.dirs.lock();
        for (i, dir) in dirs.dirs().iter().enumerate().filter(|(_, d)| d.online) {
            let mut files = files.remove(&i).unwrap_or_default();
            if let Some((path, start, point)) = metadata
                && *path == dir.path
            {
                let name = TopicPartition::new("__cluster_metadata", 0);
                files.recovery.0.insert(name.clone(), point);
                files.starts.0.insert(name, start);
            }
            dirs.write_checkpoint(i, RECOVERY_POINT_CHECKPOINT, &files.recovery)
                .and_then(|()| dirs.write_checkpoint(i, LOG_START_OFFSET_CHECKPOINT, &files.starts))
                .and_then(|()| dirs.write_checkpoint(i, HIGH_WATERMARK_CHECKPOINT, &files.high))
                .and_then(|()| dirs.write_checkpoint(i, CLEANER_OFFSET_CHECKPOINT, &files.first_dirty))
                .inspect_err(|e| self.directories[i].saw_dirs_error(e))?;
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
            let (rest, _) = logs.take(id, &self.name, dir).unwrap();
            logs.open(id, &self.name, &rest, LogConfig::default(), self.io.clock.read()).unwrap().log
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
        // The new one has no directory before its first record.
        assert_eq!(world.names("/a"), ["t-0"]);
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
            logs.set_strays_aside();
            let left = ["/a/t-0", "/b/t-0"].iter().filter(|d| world.disk.info(Path::new(d)).unwrap().is_some());
            assert_eq!(left.count(), 1);
            drop(logs);
            for dir in ["/a/t-0", "/b/t-0"] {
                let _ = world.disk.remove_dir_all(Path::new(dir));
            }
            world.disk.kill();
        }
    }
}
