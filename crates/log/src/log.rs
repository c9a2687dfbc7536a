//! [`Log`]: one partition's log (Kafka's `UnifiedLog` and `LocalLog`).
//!
//! ```text
//!  log_start_offset                     recovery_point      log_end_offset
//!  |--- segment 0 ---|--- segment 1 ---|--- active -+--------|
//!                                       on the device          next append
//! ```
//!
//! All methods are called under the partition's lock; none waits for the device except where it says so.
//! After a failed write that can't be taken back the log is offline and refuses everything.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use logrun_io::{Disk, Io};
use logrun_model::{LeaderEpoch, Now, Offset, TopicId};
use logrun_partition::{EpochCache, ProducerStateManager};

use crate::cache::TailCache;
use crate::config::LogConfig;
use crate::error::{IoContext, LogError};
use crate::files::PartitionMetadata;
use crate::names::{LOG_SUFFIX, PARTITION_METADATA, parse_segment_name, segment_path};
use crate::read::{LogSlices, ReadPlan, SegmentRef, Source};
use crate::remove::Waiting;
use crate::segment::{Segment, SegmentShared};
use crate::sync::SyncState;
use crate::tail::{Tail, TailSlices};
use crate::writer::LogWriter;

/// What all logs of a process share.
#[derive(Clone, Debug)]
pub struct LogEnv {
    pub io: Io,
    pub tail: TailCache,
}

/// One partition's log.
#[derive(Debug)]
pub struct Log {
    pub(crate) env: LogEnv,
    pub(crate) dir: PathBuf,
    pub(crate) config: LogConfig,
    /// By base offset; never empty. The last one is the active segment.
    pub(crate) segments: BTreeMap<Offset, Segment>,
    /// All but the active segment, as readers take them along.
    pub(crate) sealed: Arc<Vec<SegmentRef>>,
    pub(crate) log_start_offset: Offset,
    pub(crate) log_end_offset: Offset,
    pub(crate) recovery_point: Offset,
    /// Up to here appends have waited for the device, or are about to: `flush.messages` counts from here.
    pub(crate) flush_asked: Offset,
    /// Below it the log is compacted.
    pub(crate) first_dirty: Offset,
    /// Segments that compaction has put in place, while they have the names of such.
    pub(crate) replaced: Vec<Arc<SegmentShared>>,
    pub(crate) last_flush: Now,
    pub(crate) epochs: EpochCache,
    /// The checkpoint file lacks changes of `epochs`.
    pub(crate) epochs_dirty: bool,
    pub(crate) producers: ProducerStateManager,
    /// The offsets of the producer snapshots in the directory.
    pub(crate) snapshots: BTreeSet<Offset>,
    pub(crate) bytes_since_snapshot: u64,
    /// Files that were written and must be synced with the next flush.
    pub(crate) unsynced_files: BTreeSet<PathBuf>,
    pub(crate) topic_id: Option<TopicId>,
    /// The directory is there. A log that never took a record has none, nor any file.
    pub(crate) on_disk: bool,
    pub(crate) tail: Tail,
    pub(crate) sync: Arc<SyncState>,
    pub(crate) writer: Arc<LogWriter>,
    pub(crate) waiting: Vec<Waiting>,
    pub(crate) offline: bool,
}

impl Log {
    /// The directory that holds the log's files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The first offset that may be read.
    pub fn log_start_offset(&self) -> Offset {
        self.log_start_offset
    }

    /// The offset that the next record gets.
    pub fn log_end_offset(&self) -> Offset {
        self.log_end_offset
    }

    /// All offsets below are known to be on the device; for the recovery-point checkpoint.
    pub fn recovery_point(&self) -> Offset {
        self.recovery_point
    }

    /// How many bytes of batches the log holds.
    pub fn size(&self) -> u64 {
        self.segments.values().map(|s| s.size).sum()
    }

    /// How many bytes of batches the log in `dir` holds, without opening it; a log that is not there holds none.
    pub fn size_in(disk: &dyn Disk, dir: &Path) -> Result<u64, LogError> {
        let entries = match disk.list(dir) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(0),
            listed => listed.during("list", dir)?,
        };
        let mut size = 0;
        for e in entries {
            if matches!(parse_segment_name(&e.name), Some((_, LOG_SUFFIX))) {
                let path = dir.join(e.name);
                size += disk.info(&path).during("look at", &path)?.map_or(0, |i| i.len);
            }
        }
        Ok(size)
    }

    /// How many segments there are.
    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// Changes the settings; they hold from the next append, roll or deletion on.
    pub fn set_config(&mut self, config: LogConfig) {
        self.producers.set_producer_id_expiration_ms(config.producer_id_expiration_ms);
        self.config = config;
    }

    /// The producers' state, rebuilt with the log.
    pub fn producers(&self) -> &ProducerStateManager {
        &self.producers
    }

    /// For what the log does not do by itself: the high watermark's moves and expiry.
    pub fn producers_mut(&mut self) -> &mut ProducerStateManager {
        &mut self.producers
    }

    /// The leader epochs, rebuilt with the log.
    pub fn epochs(&self) -> &EpochCache {
        &self.epochs
    }

    /// A leader begins: records from the log's end on are of `epoch` (before the first append in it).
    pub fn assign_epoch_start(&mut self, epoch: LeaderEpoch, start_offset: Offset) {
        if self.epochs.latest_epoch().is_none_or(|latest| epoch > latest) && self.epochs.assign(epoch, start_offset) {
            self.epochs_dirty = true;
        }
    }

    /// The end of `epoch` or of the largest epoch below it: (epoch, offset), both none if unknown
    /// (OffsetForLeaderEpoch).
    pub fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> (LeaderEpoch, Offset) {
        self.epochs.end_offset_for_epoch(epoch, self.log_end_offset)
    }

    /// The latest leader epoch of which the log knows.
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.epochs.latest_epoch()
    }

    /// The topic's id according to `partition.metadata`; `None` if the file is not there or was lost in a
    /// power cut before the log's first flush.
    pub fn topic_id(&self) -> Option<TopicId> {
        self.topic_id
    }

    /// Writes `partition.metadata`, or has it written with the first record. On the device when the next append or
    /// flush that waits for it is.
    pub fn set_topic_id(&mut self, topic_id: TopicId) -> Result<(), LogError> {
        if self.topic_id == Some(topic_id) {
            return Ok(());
        }
        if !self.on_disk {
            self.topic_id = Some(topic_id);
            return Ok(());
        }
        self.write_small_file(PARTITION_METADATA, &PartitionMetadata { topic_id }.encode())?;
        self.topic_id = Some(topic_id);
        self.writer.set_topic_id(topic_id);
        Ok(())
    }

    /// Whether the log has a directory: it gets one with its first record.
    pub fn is_on_disk(&self) -> bool {
        self.on_disk
    }

    /// Makes the directory and what is in it before the first record. After a failure it can be called again.
    pub(crate) fn make(&mut self) -> Result<(), LogError> {
        if self.on_disk {
            return Ok(());
        }
        self.env.io.disk.create_dir_all(&self.dir).during("create", &self.dir)?;
        self.sync.renamed_in(&self.dir);
        self.sync.renamed_in(self.dir.parent().unwrap_or(Path::new("")));
        // First of all: a directory that has records says whose they are.
        if let Some(topic_id) = self.topic_id {
            self.write_small_file(PARTITION_METADATA, &PartitionMetadata { topic_id }.encode())?;
            self.writer.set_topic_id(topic_id);
        }
        let file = &self.active().shared.file;
        file.create().during("create", &file.path())?;
        self.on_disk = true;
        Ok(())
    }

    /// Puts a whole file in place, to be synced with the next flush.
    pub(crate) fn write_small_file(&mut self, name: &str, contents: &[u8]) -> Result<(), LogError> {
        let path = self.dir.join(name);
        let tmp = self.dir.join(format!("{name}.tmp"));
        let disk = &self.env.io.disk;
        let file = disk.open(&tmp, logrun_io::OpenMode::Create).during("create", &tmp)?;
        file.set_len(0).during("cut", &tmp)?;
        file.write_all_at(0, &[std::io::IoSlice::new(contents)]).during("write", &tmp)?;
        disk.rename(&tmp, &path).during("rename", &path)?;
        self.sync.replaced(path);
        self.sync.renamed_in(&self.dir);
        Ok(())
    }

    /// Plans a read of whole batches from the one that holds `from` on, below `upper_bound` (exclusive: high
    /// watermark, last stable offset or log end offset, for the caller to say), up to `max_bytes`; the first
    /// batch comes whole even if it's larger, if `min_one_batch`.
    ///
    /// # Errors
    /// [`LogError::OffsetOutOfRange`] if `from` is below the log's start or above its end.
    pub fn plan_read(
        &self,
        from: Offset,
        upper_bound: Offset,
        max_bytes: usize,
        min_one_batch: bool,
    ) -> Result<ReadPlan, LogError> {
        self.check_online()?;
        if from < self.log_start_offset || from > self.log_end_offset {
            return Err(self.out_of_range(from));
        }
        let upper_bound = upper_bound.min(self.log_end_offset);
        let plan = |source| ReadPlan { from, upper_bound, max_bytes, min_one_batch, source };
        if from >= upper_bound {
            return Ok(plan(Source::Memory(TailSlices::default())));
        }
        if let Some(slices) = self.tail.read(from, upper_bound, max_bytes, min_one_batch) {
            return Ok(plan(Source::Memory(slices)));
        }
        let first = self.sealed.partition_point(|s| s.shared.base_offset <= from).saturating_sub(1);
        let active = self.active();
        // The sealed segment before may be the floor only if the active one begins behind the offset.
        let first = if active.base_offset() <= from { self.sealed.len() } else { first };
        let active = SegmentRef { shared: active.shared.clone(), size: active.size };
        let (sealed, env, pace) = (self.sealed.clone(), self.env.clone(), self.writer.pace().clone());
        Ok(plan(Source::Files { sealed, first, active, env, pace }))
    }

    /// [`Self::plan_read`] and [`ReadPlan::run`] at once.
    pub fn read(
        &self,
        from: Offset,
        upper_bound: Offset,
        max_bytes: usize,
        min_one_batch: bool,
    ) -> Result<LogSlices, LogError> {
        self.plan_read(from, upper_bound, max_bytes, min_one_batch)?.run()
    }

    /// The log now starts at `offset` for its readers (DeleteRecords, or a follower's leader said so). Never
    /// goes back. The caller writes the log-start checkpoint; segments go with the next deletion.
    ///
    /// # Errors
    /// [`LogError::OffsetOutOfRange`] if `offset` is above the log's end.
    pub fn set_log_start_offset(&mut self, offset: Offset) -> Result<bool, LogError> {
        self.check_online()?;
        if offset > self.log_end_offset {
            return Err(self.out_of_range(offset));
        }
        if offset <= self.log_start_offset {
            return Ok(false);
        }
        self.log_start_offset = offset;
        self.epochs_dirty |= self.epochs.truncate_from_start(offset);
        self.producers.on_log_start_offset_incremented(offset);
        Ok(true)
    }

    /// The directory has failed: the log refuses everything from now on and touches no file.
    pub fn take_offline(&mut self) {
        self.offline = true;
        self.writer.fail(LogError::Offline { dir: self.dir.clone() });
        self.tail.clear();
        self.release_idle();
    }

    /// Gives back descriptors and memory that an idle log does not need.
    pub fn release_idle(&mut self) {
        for s in self.segments.values() {
            s.shared.release();
        }
    }

    pub(crate) fn out_of_range(&self, offset: Offset) -> LogError {
        LogError::OffsetOutOfRange {
            offset,
            log_start_offset: self.log_start_offset,
            log_end_offset: self.log_end_offset,
        }
    }

    /// Whether it has not been closed, deleted, or left by a failure in a state that only a new start can sort out.
    pub fn is_online(&self) -> bool {
        !self.offline
    }

    pub(crate) fn check_online(&self) -> Result<(), LogError> {
        if self.offline { Err(LogError::Offline { dir: self.dir.clone() }) } else { Ok(()) }
    }

    pub(crate) fn active(&self) -> &Segment {
        self.segments.last_key_value().expect("a log has an active segment").1
    }

    pub(crate) fn active_mut(&mut self) -> &mut Segment {
        self.segments.last_entry().expect("a log has an active segment").into_mut()
    }

    pub(crate) fn refresh_sealed(&mut self) {
        let n = self.segments.len() - 1;
        let sealed = self.segments.values().take(n);
        self.sealed = Arc::new(sealed.map(|s| SegmentRef { shared: s.shared.clone(), size: s.size }).collect());
    }

    /// Makes an empty segment that begins at `base_offset`, and its file.
    pub(crate) fn make_segment(&self, base_offset: Offset, now: Now) -> Result<Segment, LogError> {
        let segment = new_segment(&self.env, &self.dir, &self.config, base_offset, 0, now);
        segment.shared.file.create().during("create", &segment.shared.file.path())?;
        Ok(segment)
    }

    /// Removes the file of a segment that could not be made.
    pub(crate) fn unmake_segment(&self, base_offset: Offset) -> Result<(), LogError> {
        let path = segment_path(&self.dir, base_offset, LOG_SUFFIX);
        match self.env.io.disk.remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e).during("remove", &path),
            _ => Ok(()),
        }
    }
}

/// A segment whose file has `size` bytes.
pub(crate) fn new_segment(
    env: &LogEnv,
    dir: &Path,
    config: &LogConfig,
    base_offset: Offset,
    size: u64,
    now: Now,
) -> Segment {
    let shared = SegmentShared::new(env.io.disk.clone(), dir, base_offset, config.index_interval_bytes);
    let jitter = u64::try_from(config.segment_jitter_ms.min(config.max_segment_ms())).unwrap_or(0);
    let jitter = if jitter == 0 { 0 } else { env.io.random.below(jitter) as i64 };
    Segment::new(shared, size, now.wall.get(), now.wall.get(), jitter)
}
