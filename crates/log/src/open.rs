//! Opening a log: after a clean shutdown its files are believed; else everything from the recovery point
//! on is checked, torn tails are cut, and what was derived from them is built again (Kafka's `LogLoader`).
//!
//! | found | done |
//! |---|---|
//! | bytes at the end that are not a whole batch with a good CRC | cut there; later segments go |
//! | an index file that's missing or makes no sense | built again from the batches |
//! | a snapshot of the producers that's corrupt, or above the recovery point after a crash | removed |
//! | a `leader-epoch-checkpoint` that's corrupt | built again from the batches |
//! | a log that ends below its start | begun anew at its start |

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use logrun_io::disk::read_all;
use logrun_model::{Now, Offset};
use logrun_partition::{EpochCache, ProducerStateManager};

use crate::config::LogConfig;
use crate::error::{IoContext, LogError};
use crate::files::PartitionMetadata;
use crate::log::{Log, LogEnv, new_segment};
use crate::names::{
    LEADER_EPOCH_CHECKPOINT, LOG_SUFFIX, PARTITION_METADATA, SEGMENT_SUFFIXES, SNAPSHOT_SUFFIX, parse_segment_name,
};
use crate::replay::load_producers;
use crate::segment::Segment;
use crate::swap::settle;
use crate::sync::SyncState;
use crate::tail::Tail;
use crate::writer::LogWriter;

/// What the checkpoints beside the log say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenState {
    /// From `log-start-offset-checkpoint`; 0 if it has none.
    pub log_start_offset: Offset,
    /// From `recovery-point-offset-checkpoint`; 0 if it has none.
    pub recovery_point: Offset,
    /// From `cleaner-offset-checkpoint`: below it the log is compacted; 0 if it has none.
    pub first_dirty: Offset,
    /// The directory's clean-shutdown file was there.
    pub clean_shutdown: bool,
}

impl OpenState {
    /// A log that is not there yet, or of which nothing is known.
    pub const NEW: Self =
        Self { log_start_offset: Offset(0), recovery_point: Offset(0), first_dirty: Offset(0), clean_shutdown: false };
}

/// What opening a log had to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Segments whose batches were checked.
    pub checked_segments: usize,
    /// Bytes of batches that were checked.
    pub checked_bytes: u64,
    /// What was cut off.
    pub cut: Option<Cut>,
    /// Segments behind the cut, which went as a whole.
    pub removed_segments: usize,
    /// The log ended below its start offset and was begun anew.
    pub started_anew: bool,
}

/// A torn tail that was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    pub path: PathBuf,
    pub position: u64,
    pub bytes: u64,
    pub reason: String,
}

impl Log {
    /// Opens the log in `dir`. One that is not there is an empty log, whose directory is made with its first record.
    /// Waits for the disk.
    pub fn open(
        env: &LogEnv,
        dir: &Path,
        config: LogConfig,
        state: OpenState,
        now: Now,
    ) -> Result<(Self, RecoveryReport), LogError> {
        let disk = &env.io.disk;
        let is_new = disk.info(dir).during("look at", dir)?.is_none();
        if is_new {
            let mut log = empty_log(env, dir, config, state, BTreeSet::new(), now);
            let start = state.log_start_offset;
            log.segments.insert(start, new_segment(env, dir, &log.config, start, 0, now));
            log.refresh_sealed();
            return Ok((log, RecoveryReport::default()));
        }
        if settle(&**disk, dir)? {
            disk.sync_dir(dir).during("sync", dir)?;
        }
        let found = list(env, dir, &config, now)?;
        let mut log = empty_log(env, dir, config, state, found.snapshots, now);
        log.on_disk = true;
        log.segments = found.segments;
        // A process that was killed may have left names, and small files, that are not on the device.
        if !state.clean_shutdown {
            log.sync.renamed_in(dir);
            log.sync.renamed_in(dir.parent().unwrap_or(Path::new("")));
            // By it the journal's entries are known to be of this log.
            log.sync.replaced(dir.join(PARTITION_METADATA));
        }
        let mut report = RecoveryReport::default();
        log.load_metadata()?;
        let epochs_lost = log.load_epochs()?;
        log.recover(state, &mut report)?;
        log.settle_start(state, now, &mut report)?;
        if epochs_lost {
            log.rebuild_epochs()?;
        }
        log.epochs_dirty |= log.epochs.truncate_from_end(log.log_end_offset);
        log.epochs_dirty |= log.epochs.truncate_from_start(log.log_start_offset);
        log.set_first_dirty_offset(state.first_dirty);
        let trusted = if state.clean_shutdown && report.cut.is_none() { Offset(i64::MAX) } else { log.recovery_point };
        let from = log.usable_snapshot(trusted, state.clean_shutdown, now)?;
        let end = log.log_end_offset;
        load_producers(&mut log, from, end, now)?;
        log.drop_stray_snapshots()?;
        // Opened, it needs neither descriptors nor indexes before somebody reads or appends.
        log.release_idle();
        log.refresh_sealed();
        log.sync.opened(end, log.recovery_point);
        if log.recovery_point < end {
            // What was recovered is in the files, and not known to be on the device.
            for s in log.segments.range(log.floor(log.recovery_point)..).map(|(_, s)| s) {
                log.sync.wrote(&s.shared, end);
            }
            // Whoever leads takes all that is here for committed.
            if log.config.promises_sync() {
                log.sync.sync_now()?;
            }
        }
        if let Some(cut) = &report.cut {
            tracing::warn!(path = %cut.path.display(), position = cut.position, bytes = cut.bytes, reason = %cut.reason,
                "cut a torn tail off the log");
        }
        Ok((log, report))
    }

    fn load_metadata(&mut self) -> Result<(), LogError> {
        let path = self.dir.join(PARTITION_METADATA);
        if let Some(file) = read_all(&*self.env.io.disk, &path).during("read", &path)? {
            match PartitionMetadata::decode(&file) {
                Ok(m) => {
                    self.topic_id = Some(m.topic_id);
                    self.writer.set_topic_id(m.topic_id);
                }
                Err(e) => tracing::warn!(path = %path.display(), error = %e, "ignoring a file that makes no sense"),
            }
        }
        Ok(())
    }

    /// Says whether the epochs must be built from the batches.
    fn load_epochs(&mut self) -> Result<bool, LogError> {
        let path = self.dir.join(LEADER_EPOCH_CHECKPOINT);
        let Some(file) = read_all(&*self.env.io.disk, &path).during("read", &path)? else { return Ok(false) };
        match std::str::from_utf8(&file)
            .map_err(|e| e.to_string())
            .and_then(|text| EpochCache::decode(text).map_err(|e| e.to_string()))
        {
            Ok(epochs) => {
                self.epochs = epochs;
                Ok(false)
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "building the leader epochs from the batches");
                Ok(true)
            }
        }
    }

    fn rebuild_epochs(&mut self) -> Result<(), LogError> {
        let mut epochs = EpochCache::new();
        for s in self.segments.values() {
            let mut walker = s.shared.headers(0, s.size)?;
            while let Some(span) = walker.next_span().map_err(|e| s.shared.walk_error(e))? {
                if epochs.latest_epoch().is_none_or(|latest| span.leader_epoch > latest) {
                    epochs.assign(span.leader_epoch, span.base_offset);
                }
            }
        }
        self.epochs = epochs;
        self.epochs_dirty = true;
        Ok(())
    }

    /// Makes sure that there is a segment, and that the log doesn't end before it starts.
    fn settle_start(&mut self, state: OpenState, now: Now, report: &mut RecoveryReport) -> Result<(), LogError> {
        let start = state.log_start_offset;
        if !self.segments.is_empty() && self.log_end_offset < start {
            tracing::warn!(dir = %self.dir.display(), end = %self.log_end_offset, %start, "the log ends before its start; beginning it anew");
            for base in self.segments.keys().rev().copied().collect::<Vec<_>>() {
                self.remove_segment(base, now)?;
            }
            self.epochs.clear();
            self.epochs_dirty = true;
            report.started_anew = true;
        }
        if self.segments.is_empty() {
            let segment = self.make_segment(start, now)?;
            self.sync.renamed_in(&self.dir);
            self.segments.insert(start, segment);
            self.log_end_offset = start;
            self.recovery_point = start;
        }
        let first = *self.segments.first_key_value().expect("there is one now").0;
        self.log_start_offset = start.max(first);
        Ok(())
    }
}

struct Found {
    segments: BTreeMap<Offset, Segment>,
    snapshots: BTreeSet<Offset>,
}

/// The segments and snapshots in `dir`; index files without their segment go.
fn list(env: &LogEnv, dir: &Path, config: &LogConfig, now: Now) -> Result<Found, LogError> {
    let disk = &env.io.disk;
    let mut found = Found { segments: BTreeMap::new(), snapshots: BTreeSet::new() };
    let mut others = Vec::new();
    for e in disk.list(dir).during("list", dir)? {
        let Some((offset, suffix)) = parse_segment_name(&e.name) else { continue };
        match suffix {
            _ if e.is_dir => {}
            LOG_SUFFIX => {
                let path = dir.join(&e.name);
                let info = disk.info(&path).during("look at", &path)?;
                let (len, modified_ms) = info.map_or((0, 0), |i| (i.len, i.modified_ms));
                let mut segment = new_segment(env, dir, config, offset, len, now);
                segment.modified_ms = modified_ms;
                found.segments.insert(offset, segment);
            }
            SNAPSHOT_SUFFIX => {
                found.snapshots.insert(offset);
            }
            s if SEGMENT_SUFFIXES.contains(&s) => others.push((offset, e.name)),
            _ => {}
        }
    }
    for (offset, name) in others {
        if !found.segments.contains_key(&offset) {
            let path = dir.join(name);
            disk.remove_file(&path).during("remove", &path)?;
        }
    }
    Ok(found)
}

fn empty_log(
    env: &LogEnv,
    dir: &Path,
    config: LogConfig,
    state: OpenState,
    snapshots: BTreeSet<Offset>,
    now: Now,
) -> Log {
    let start = state.log_start_offset;
    let tail = Tail::new(env.tail.clone());
    let sync = Arc::new(SyncState::new(env.io.disk.clone(), env.io.tasks, start, start));
    let home = env.tail.home(&env.io, dir.parent().unwrap_or(Path::new("")));
    let name = dir.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    let writer = Arc::new(LogWriter::new(home, sync.clone(), tail.written_mark(), name));
    Log {
        dir: dir.to_path_buf(),
        producers: ProducerStateManager::new(start, config.producer_id_expiration_ms),
        config,
        segments: BTreeMap::new(),
        sealed: Arc::default(),
        log_start_offset: start,
        log_end_offset: start,
        recovery_point: start,
        flush_asked: start,
        first_dirty: start,
        replaced: Vec::new(),
        last_flush: now,
        epochs: EpochCache::new(),
        epochs_dirty: false,
        snapshots,
        bytes_since_snapshot: 0,
        unsynced_files: BTreeSet::new(),
        topic_id: None,
        on_disk: false,
        tail,
        sync,
        writer,
        waiting: Vec::new(),
        offline: false,
        env: env.clone(),
    }
}
