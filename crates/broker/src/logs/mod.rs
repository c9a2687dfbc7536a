//! The logs of this broker in their directories: found at start, placed and deleted by metadata, opened when they are
//! used, checkpointed.
//!
//! Kafka's counterpart is `LogManager`. What a directory holds is found once, at start; from then on only this
//! module adds and removes partitions' directories. The metadata log is not among them.

mod checkpoints;
mod deleted;
mod found;
mod moved;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use logrun_io::Io;
use logrun_log::{DirKind, DirsError, Log, LogConfig, LogDirs, LogEnv, LogError, OpenState, Removals, dir_name};
use logrun_model::{DirectoryId, Monotonic, Now, Offset, Str, TopicIdPartition, TopicPartition, Uuid};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::{info, warn};

use crate::directories::{Directory, Room, shown};
use crate::partitions::AtRest;

pub use checkpoints::Checkpointed;
use found::{Checkpoints, Found};
pub use moved::FutureDir;

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
            found.checkpoints.push(Checkpoints::read(&dirs, i)?);
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

    /// How many bytes are on their way to the files of the directories that share `room`.
    pub fn waiting_bytes(&self, room: &Arc<Room>) -> u64 {
        let shared = self.directories.iter().filter(|d| Arc::ptr_eq(d.room(), room));
        shared.map(|d| self.env.tail.waiting_bytes(&d.path)).sum()
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
            first_dirty: rest.first_dirty,
            clean_shutdown: rest.on_disk && rest.clean,
        };
        let (mut log, _) = Log::open(&self.env, &path, config.clone(), state, now)?;
        let mut high_watermark = rest.high_watermark;
        // What lies at the place of a new one is what a failed deletion, or a failed creation, has left.
        if log.topic_id().is_some_and(|t| t != id.topic_id) || (!rest.on_disk && log.log_end_offset() > Offset::ZERO) {
            warn!(partition = %name, "found a log of another topic of this name; it is set aside as a stray");
            log.rename_dir(&dir_name(name, DirKind::Stray, self.env.io.random.uuid()))?;
            log = Log::open(&self.env, &path, config, OpenState::NEW, now)?.0;
            high_watermark = Offset::ZERO;
        }
        log.set_topic_id(id.topic_id)?;
        Ok(OpenedLog { log, high_watermark, directory })
    }

    /// How many bytes the segments of a closed log take. Waits for the disk.
    pub fn size_at_rest(&self, id: TopicIdPartition, name: &TopicPartition) -> Result<u64, LogError> {
        Log::size_in(&*self.env.io.disk, &self.path_of(id, name)?)
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
