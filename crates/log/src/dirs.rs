//! `log.dirs`: the directories that hold partitions' logs, and the files in each that are of no partition
//! (the directory half of Kafka's `LogManager`).
//!
//! A directory belongs to one process (`.lock`), one node of one cluster (`meta.properties`), and may fail
//! by itself. What stops the start is an error that names cause and remedy; a directory that the system
//! refuses is left out as long as another one is there.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;
use std::io;
use std::path::{Path, PathBuf};

use logrun_io::Io;
use logrun_io::disk::{DirLock, read_all, replace, replace_unsynced};
use logrun_model::{BrokerEpoch, DirectoryId, NodeId, Str, TopicPartition};
use rustc_hash::FxHasher;
use thiserror::Error;

use crate::files::{
    CLEAN_SHUTDOWN_FILE, CleanShutdown, META_PROPERTIES, MalformedFile, MetaProperties, OffsetCheckpoint,
};
use crate::journal;
use crate::names::{DirKind, parse_dir_name};

/// Taken for as long as the process lives.
const LOCK_FILE: &str = ".lock";
/// The metadata log is opened by the quorum, not with the partitions.
pub const METADATA_TOPIC: &str = "__cluster_metadata";

/// Why the log directories can't be used. The texts are for the person who starts the node.
#[derive(Debug, Error)]
pub enum DirsError {
    #[error("log.dirs is empty; name at least one directory")]
    NoDirs,
    #[error("log.dirs names {} twice; name each directory once", .0.display())]
    NamedTwice(PathBuf),
    #[error("{} is in use by another process; stop it, or choose another directory with log.dirs", .0.display())]
    Locked(PathBuf),
    #[error("{} can't be written: {reason}; make it writable for the user that runs Logrun, or choose another directory with log.dirs", path.display())]
    NotWritable { path: PathBuf, reason: io::Error },
    #[error("could not {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{} can't be understood ({error}); restore it from a copy, or move the directory away to begin anew", path.display())]
    Malformed { path: PathBuf, error: MalformedFile },
    #[error("{} belongs to cluster {found}, this node is to be of cluster {expected}; correct log.dirs or the cluster id", path.display())]
    OtherCluster { path: PathBuf, found: Str, expected: Str },
    #[error("{} belongs to node {found}, this node has node.id={expected}; correct log.dirs or node.id", path.display())]
    OtherNode { path: PathBuf, found: NodeId, expected: NodeId },
    #[error("{} and {} have the same directory.id {id}; one is a copy of the other, which must be removed from log.dirs", first.display(), second.display())]
    SameDirectoryId { first: PathBuf, second: PathBuf, id: DirectoryId },
}

/// A log directory that this process holds.
#[derive(Debug)]
pub struct LogDir {
    pub path: PathBuf,
    /// `None` until the directory is formatted.
    pub meta: Option<MetaProperties>,
    /// Whether the last process closed its logs in it; see [`LogDirs::take_clean_shutdown`].
    pub clean_shutdown: bool,
    /// Whether the directory works. One that failed is not used again before a new start.
    pub online: bool,
    partitions: usize,
    /// What this process has last written to its checkpoint files: a hash of it, and whether it is on the device.
    checkpoints: BTreeMap<String, (u64, bool)>,
    _lock: Box<dyn DirLock>,
}

/// A partition's directory in a log directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartitionDir {
    pub partition: TopicPartition,
    pub kind: DirKind,
    pub path: PathBuf,
}

/// The log directories of a process.
#[derive(Debug)]
pub struct LogDirs {
    io: Io,
    dirs: Vec<LogDir>,
}

/// The directories that could be taken, and those that the system refused.
#[derive(Debug)]
pub struct OpenDirs {
    pub dirs: LogDirs,
    pub failed: Vec<(PathBuf, DirsError)>,
}

impl LogDirs {
    /// Makes, locks and reads the directories at `paths`.
    ///
    /// # Errors
    /// Whatever a person must put right. If the system refuses some of several directories, they are told
    /// in [`OpenDirs::failed`] instead.
    pub fn open(io: &Io, paths: &[PathBuf]) -> Result<OpenDirs, DirsError> {
        let mut seen = BTreeSet::new();
        if let Some(twice) = paths.iter().find(|p| !seen.insert(p.as_path())) {
            return Err(DirsError::NamedTwice(twice.clone()));
        }
        let mut dirs: Vec<LogDir> = Vec::new();
        let mut failed = Vec::new();
        for path in paths {
            match take(io, path) {
                Ok(dir) => dirs.push(dir),
                Err(e @ (DirsError::Io { .. } | DirsError::NotWritable { .. })) => failed.push((path.clone(), e)),
                Err(e) => return Err(e),
            }
        }
        if dirs.is_empty() {
            return Err(failed.into_iter().next().map_or(DirsError::NoDirs, |(_, e)| e));
        }
        for (i, a) in dirs.iter().enumerate() {
            for b in &dirs[..i] {
                if let (Some(id), Some(other)) = (a.directory_id(), b.directory_id())
                    && id == other
                {
                    return Err(DirsError::SameDirectoryId { first: b.path.clone(), second: a.path.clone(), id });
                }
            }
        }
        Ok(OpenDirs { dirs: Self { io: io.clone(), dirs }, failed })
    }

    /// All directories, online or not.
    pub fn dirs(&self) -> &[LogDir] {
        &self.dirs
    }

    /// The cluster that the directories belong to, if any is formatted.
    pub fn cluster_id(&self) -> Option<&Str> {
        self.dirs.iter().find_map(|d| d.meta.as_ref()).map(|m| &m.cluster_id)
    }

    /// Whether each directory is formatted.
    pub fn is_formatted(&self) -> bool {
        self.dirs.iter().all(|d| d.directory_id().is_some())
    }

    /// Checks that all formatted directories are of this node and of one cluster: `cluster_id`, if given.
    pub fn check_owner(&self, cluster_id: Option<&Str>, node_id: NodeId) -> Result<(), DirsError> {
        let expected = cluster_id.or_else(|| self.cluster_id());
        for d in &self.dirs {
            let Some(m) = &d.meta else { continue };
            if let Some(expected) = expected
                && *expected != m.cluster_id
            {
                let (found, expected) = (m.cluster_id.clone(), expected.clone());
                return Err(DirsError::OtherCluster { path: d.path.clone(), found, expected });
            }
            if m.node_id != node_id {
                return Err(DirsError::OtherNode { path: d.path.clone(), found: m.node_id, expected: node_id });
            }
        }
        Ok(())
    }

    /// Formats the directories that are not: writes `meta.properties` with a new directory id each. On the
    /// device when this returns.
    pub fn format(&mut self, cluster_id: &Str, node_id: NodeId) -> Result<(), DirsError> {
        for i in 0..self.dirs.len() {
            if self.dirs[i].directory_id().is_none() {
                self.format_one(i, cluster_id, node_id, self.io.random.uuid())?;
            }
        }
        Ok(())
    }

    /// Formats directory `dir`, which gets this id.
    pub fn format_one(
        &mut self,
        dir: usize,
        cluster_id: &Str,
        node_id: NodeId,
        directory_id: DirectoryId,
    ) -> Result<(), DirsError> {
        let d = &mut self.dirs[dir];
        let meta = MetaProperties { cluster_id: cluster_id.clone(), node_id, directory_id: Some(directory_id) };
        let path = d.path.join(META_PROPERTIES);
        replace(&*self.io.disk, &path, &meta.encode()).map_err(|e| failed("write", &path, e))?;
        d.meta = Some(meta);
        Ok(())
    }

    /// Brings the logs to where the directories' journals end, so that they may be opened;
    /// reads and removes the clean-shutdown files, for good, so that a crash from now on is seen as one;
    /// [`LogDir::clean_shutdown`] says which directories had one. Returns the broker epoch in them if all
    /// agree, for the registration.
    pub fn take_clean_shutdown(&mut self) -> Result<BrokerEpoch, DirsError> {
        let mut epochs = BTreeSet::new();
        for d in self.dirs.iter_mut().filter(|d| d.online) {
            let path = d.path.join(CLEAN_SHUTDOWN_FILE);
            let disk = &self.io.disk;
            let found = read_all(&**disk, &path).map_err(|e| failed("read", &path, e))?;
            d.clean_shutdown = found.is_some();
            epochs.insert(found.map_or(BrokerEpoch::NONE, |f| CleanShutdown::decode(&f).broker_epoch));
            let journal = if d.clean_shutdown { journal::remove } else { journal::redo };
            journal(&**disk, &d.path).map_err(|e| failed("do what the journal says in", &d.path, e))?;
            if d.clean_shutdown {
                disk.remove_file(&path).map_err(|e| failed("remove", &path, e))?;
                disk.sync_dir(&d.path).map_err(|e| failed("sync", &d.path, e))?;
            }
        }
        Ok(match (epochs.len(), epochs.first()) {
            (1, Some(epoch)) => *epoch,
            _ => BrokerEpoch::NONE,
        })
    }

    /// Writes the clean-shutdown file of directory `dir`, all of whose logs are closed and checkpoints
    /// written. On the device when this returns.
    pub fn write_clean_shutdown(&self, dir: usize, broker_epoch: BrokerEpoch) -> Result<(), DirsError> {
        let root = &self.dirs[dir].path;
        journal::remove(&*self.io.disk, root).map_err(|e| failed("remove the journal of", root, e))?;
        let path = root.join(CLEAN_SHUTDOWN_FILE);
        replace(&*self.io.disk, &path, &CleanShutdown { broker_epoch }.encode()).map_err(|e| failed("write", &path, e))
    }

    /// The partitions' directories in directory `dir`, by name. The metadata log is not among them, nor is
    /// what is not a partition's.
    pub fn partitions(&self, dir: usize) -> Result<Vec<PartitionDir>, DirsError> {
        let root = &self.dirs[dir].path;
        let mut out = Vec::new();
        for e in self.io.disk.list(root).map_err(|e| failed("list", root, e))? {
            if let (true, Some((partition, kind))) = (e.is_dir, parse_dir_name(&e.name))
                && partition.topic.as_str() != METADATA_TOPIC
            {
                out.push(PartitionDir { partition, kind, path: root.join(e.name) });
            }
        }
        Ok(out)
    }

    /// Reads a checkpoint file of directory `dir`. One that's missing is empty; so is one that makes no
    /// sense, which means more recovery, not less data.
    pub fn read_checkpoint(&self, dir: usize, name: &str) -> Result<OffsetCheckpoint, DirsError> {
        let path = self.dirs[dir].path.join(name);
        let file = read_all(&*self.io.disk, &path).map_err(|e| failed("read", &path, e))?;
        Ok(match file.as_deref().map(OffsetCheckpoint::decode) {
            None => OffsetCheckpoint::default(),
            Some(Ok(c)) => c,
            Some(Err(error)) => {
                tracing::warn!(path = %path.display(), %error, "ignoring a checkpoint that makes no sense");
                OffsetCheckpoint::default()
            }
        })
    }

    /// Replaces a checkpoint file of directory `dir`, unless it says that already. On the device when this returns if it is
    /// to be `lasting`; else a power cut may leave an older one, or none that makes sense.
    pub fn write_checkpoint(
        &mut self,
        dir: usize,
        name: &str,
        checkpoint: &OffsetCheckpoint,
        lasting: bool,
    ) -> Result<(), DirsError> {
        let dir = &mut self.dirs[dir];
        let contents = checkpoint.encode();
        let mut hasher = FxHasher::default();
        hasher.write(&contents);
        let hash = hasher.finish();
        if dir.checkpoints.get(name).is_some_and(|(there, lasts)| *there == hash && (*lasts || !lasting)) {
            return Ok(());
        }
        let path = dir.path.join(name);
        let replace = if lasting { replace } else { replace_unsynced };
        replace(&*self.io.disk, &path, &contents).map_err(|e| failed("write", &path, e))?;
        dir.checkpoints.insert(name.to_owned(), (hash, lasting));
        Ok(())
    }

    /// The directory that a new partition goes to: the one online with the fewest.
    pub fn choose(&self) -> Option<usize> {
        let online = self.dirs.iter().enumerate().filter(|(_, d)| d.online);
        online.min_by_key(|(i, d)| (d.partitions, *i)).map(|(i, _)| i)
    }

    /// The directory of this id.
    pub fn find(&self, id: DirectoryId) -> Option<usize> {
        self.dirs.iter().position(|d| d.directory_id() == Some(id))
    }

    /// A partition was put into directory `dir`.
    pub fn added(&mut self, dir: usize) {
        self.dirs[dir].partitions += 1;
    }

    /// A partition has left directory `dir`.
    pub fn removed(&mut self, dir: usize) {
        self.dirs[dir].partitions = self.dirs[dir].partitions.saturating_sub(1);
    }

    /// Directory `dir` has failed; nothing new goes there.
    pub fn set_offline(&mut self, dir: usize) {
        self.dirs[dir].online = false;
    }
}

impl LogDir {
    /// The id of the directory, once it's formatted.
    pub fn directory_id(&self) -> Option<DirectoryId> {
        self.meta.as_ref().and_then(|m| m.directory_id)
    }
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> DirsError {
    DirsError::Io { action, path: path.to_path_buf(), source }
}

/// Makes a directory and those above it; on the device when this returns.
fn make_dir(io: &Io, path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = {
        let mut list = Vec::new();
        for p in path.ancestors().take_while(|p| !p.as_os_str().is_empty()) {
            if io.disk.info(p)?.is_some() {
                break;
            }
            list.push(p);
        }
        list
    };
    io.disk.create_dir_all(path)?;
    // Until the directory is formatted, one that is there may be what a process left that was killed on the way here.
    let unformatted = io.disk.info(&path.join(META_PROPERTIES))?.is_none();
    for p in path.ancestors().take_while(|p| !p.as_os_str().is_empty()) {
        let Some(parent) = p.parent().filter(|p| !p.as_os_str().is_empty()) else { continue };
        if missing.contains(&p) {
            io.disk.sync_dir(parent)?;
        } else if unformatted && let Err(e) = io.disk.sync_dir(parent) {
            // Not every directory above is ours to open.
            tracing::debug!(dir = %parent.display(), "not synced: {e}");
        }
    }
    Ok(())
}

fn take(io: &Io, path: &Path) -> Result<LogDir, DirsError> {
    let refused = |e: io::Error| match e.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            DirsError::NotWritable { path: path.to_path_buf(), reason: e }
        }
        _ => failed("open", path, e),
    };
    make_dir(io, path).map_err(refused)?;
    let lock = io.disk.lock(&path.join(LOCK_FILE)).map_err(refused)?;
    let lock = lock.ok_or_else(|| DirsError::Locked(path.to_path_buf()))?;
    let file = path.join(META_PROPERTIES);
    let meta = read_all(&*io.disk, &file).map_err(|e| failed("read", &file, e))?;
    let meta = meta.map(|m| MetaProperties::decode(&m)).transpose();
    let meta = meta.map_err(|error| DirsError::Malformed { path: file, error })?;
    Ok(LogDir {
        path: path.to_path_buf(),
        meta,
        clean_shutdown: false,
        online: true,
        partitions: 0,
        checkpoints: BTreeMap::new(),
        _lock: lock,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::RECOVERY_POINT_CHECKPOINT;
    use crate::tests::support::World;
    use logrun_io::Random;
    use logrun_model::Offset;

    fn paths() -> Vec<PathBuf> {
        vec![PathBuf::from("/a/data"), PathBuf::from("/b/data")]
    }

    #[test]
    fn formats_once_and_knows_its_own() {
        let world = World::new(1);
        let mut dirs = LogDirs::open(&world.io, &paths()).unwrap().dirs;
        assert!(!dirs.is_formatted());
        let cluster = Str::from("4L6g3nShT-eMCtK--X86sw");
        dirs.format(&cluster, NodeId(1)).unwrap();
        let ids: Vec<_> = dirs.dirs().iter().map(|d| d.directory_id().unwrap()).collect();
        assert_ne!(ids[0], ids[1]);
        drop(dirs);
        world.disk.crash(&world.io.random);
        let dirs = LogDirs::open(&world.io, &paths()).unwrap().dirs;
        assert!(dirs.is_formatted() || dirs.dirs().iter().any(|d| d.meta.is_none()));
        assert_eq!(dirs.find(ids[1]).is_some(), dirs.dirs()[1].meta.is_some());
        let other = Str::from("other");
        dirs.check_owner(dirs.cluster_id(), NodeId(1)).unwrap();
        if dirs.cluster_id().is_some() {
            let e = dirs.check_owner(Some(&other), NodeId(1)).unwrap_err();
            assert!(e.to_string().contains("belongs to cluster"), "{e}");
            let e = dirs.check_owner(None, NodeId(2)).unwrap_err();
            assert!(e.to_string().contains("node.id=2"), "{e}");
        }
    }

    /// Found by the simulation: only the process that made a directory brought its name to the device.
    #[test]
    fn a_directory_of_a_killed_process_survives_once_it_is_formatted() {
        for seed in 0..100 {
            let world = World::new(seed);
            world.disk.halt_at(world.disk.counts().mutations + 1 + seed % 8);
            assert!(LogDirs::open(&world.io, &paths()).is_err() || seed % 8 > 3);
            world.disk.kill();
            let mut dirs = LogDirs::open(&world.io, &paths()).unwrap().dirs;
            dirs.format(&Str::from("4L6g3nShT-eMCtK--X86sw"), NodeId(1)).unwrap();
            drop(dirs);
            world.disk.crash(&logrun_io::Random::from_seed(seed));
            assert!(LogDirs::open(&world.io, &paths()).unwrap().dirs.is_formatted(), "seed {seed}");
        }
    }

    #[test]
    fn one_process_at_a_time() {
        let world = World::new(1);
        let held = LogDirs::open(&world.io, &paths()).unwrap();
        let e = LogDirs::open(&world.io, &paths()).unwrap_err();
        assert!(matches!(e, DirsError::Locked(_)), "{e}");
        assert!(e.to_string().contains("/a/data is in use"));
        drop(held);
        LogDirs::open(&world.io, &paths()).unwrap();
        assert!(matches!(LogDirs::open(&world.io, &[]).unwrap_err(), DirsError::NoDirs));
        let twice = vec![PathBuf::from("/a"), PathBuf::from("/a")];
        assert!(matches!(LogDirs::open(&world.io, &twice).unwrap_err(), DirsError::NamedTwice(_)));
    }

    #[test]
    fn a_broken_directory_is_left_out() {
        let world = World::new(1);
        world.disk.break_dir("/a/data");
        let open = LogDirs::open(&world.io, &paths()).unwrap();
        assert_eq!(open.failed.len(), 1);
        assert_eq!(open.dirs.dirs().len(), 1);
        drop(open);
        world.disk.break_dir("/b/data");
        assert!(matches!(LogDirs::open(&world.io, &paths()).unwrap_err(), DirsError::Io { .. }));
    }

    #[test]
    fn tells_a_clean_shutdown_once() {
        let world = World::new(1);
        let open = || LogDirs::open(&world.io, &paths()).unwrap().dirs;
        let mut dirs = open();
        assert_eq!(dirs.take_clean_shutdown().unwrap(), BrokerEpoch::NONE);
        for i in 0..2 {
            dirs.write_clean_shutdown(i, BrokerEpoch(77)).unwrap();
        }
        drop(dirs);
        let mut dirs = open();
        assert_eq!(dirs.take_clean_shutdown().unwrap(), BrokerEpoch(77));
        assert!(dirs.dirs().iter().all(|d| d.clean_shutdown));
        drop(dirs);
        world.disk.kill();
        let mut dirs = open();
        assert_eq!(dirs.take_clean_shutdown().unwrap(), BrokerEpoch::NONE);
        assert!(dirs.dirs().iter().all(|d| !d.clean_shutdown));
    }

    #[test]
    fn lists_partitions_and_chooses_the_emptiest() {
        let world = World::new(1);
        let mut dirs = LogDirs::open(&world.io, &paths()).unwrap().dirs;
        for name in ["t-0", "t-1", "__cluster_metadata-0", "junk", "u-3.0123456789abcdef0123456789abcdef-delete"] {
            world.io.disk.create_dir_all(&PathBuf::from("/a/data").join(name)).unwrap();
        }
        let found: Vec<_> =
            dirs.partitions(0).unwrap().into_iter().map(|p| (p.partition.to_string(), p.kind)).collect();
        assert_eq!(
            found,
            [
                ("t-0".to_owned(), DirKind::Current),
                ("t-1".to_owned(), DirKind::Current),
                ("u-3".to_owned(), DirKind::Delete)
            ]
        );
        dirs.added(0);
        dirs.added(0);
        assert_eq!(dirs.choose(), Some(1));
        dirs.set_offline(1);
        assert_eq!(dirs.choose(), Some(0));
        dirs.set_offline(0);
        assert_eq!(dirs.choose(), None);
    }

    #[test]
    fn checkpoints_survive_power_cuts() {
        let world = World::new(1);
        let mut dirs = LogDirs::open(&world.io, &paths()).unwrap().dirs;
        assert_eq!(dirs.read_checkpoint(0, RECOVERY_POINT_CHECKPOINT).unwrap(), OffsetCheckpoint::default());
        let mut c = OffsetCheckpoint::default();
        c.0.insert(TopicPartition::new("t", 0), Offset(5));
        dirs.write_checkpoint(0, RECOVERY_POINT_CHECKPOINT, &c, true).unwrap();
        // What does not last costs no sync, what is there already nothing; but a lasting one is asked for.
        let cost = |dirs: &mut LogDirs, name, lasting| {
            let before = world.disk.counts().mutations;
            dirs.write_checkpoint(0, name, &c, lasting).unwrap();
            world.disk.counts().mutations - before
        };
        let costs = [(RECOVERY_POINT_CHECKPOINT, true), ("other", false), ("other", false), ("other", true)]
            .map(|(name, lasting)| cost(&mut dirs, name, lasting));
        assert_eq!(costs, [0, 4, 0, 6]);
        world.disk.crash(&Random::from_seed(1));
        for name in [RECOVERY_POINT_CHECKPOINT, "other"] {
            assert_eq!(dirs.read_checkpoint(0, name).unwrap(), c);
        }
    }
}
