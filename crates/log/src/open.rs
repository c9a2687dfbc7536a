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
use logrun_partition::{EpochCache, ProducerStateManager, ProducerUpdate, TransactionVersion};
use logrun_record::{AppendOrigin, Limits};

use crate::config::LogConfig;
use crate::error::{IoContext, LogError};
use crate::files::PartitionMetadata;
use crate::log::{Log, LogEnv, new_segment};
use crate::names::{
    DELETED_SUFFIX, LEADER_EPOCH_CHECKPOINT, LOG_SUFFIX, PARTITION_METADATA, SEGMENT_SUFFIXES, SNAPSHOT_SUFFIX,
    parse_segment_name, segment_path,
};
use crate::producers::aborted;
use crate::segment::{IndexBuilder, Segment};
use crate::swap::settle;
use crate::sync::SyncState;
use crate::tail::Tail;
use crate::walk::{WalkError, Walker};

/// How much is read at a time when whole batches are checked.
const RECOVERY_CHUNK_BYTES: usize = 1 << 20;

/// What the checkpoints beside the log say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenState {
    /// From `log-start-offset-checkpoint`; 0 if it has none.
    pub log_start_offset: Offset,
    /// From `recovery-point-offset-checkpoint`; 0 if it has none.
    pub recovery_point: Offset,
    /// The directory's clean-shutdown file was there.
    pub clean_shutdown: bool,
}

impl OpenState {
    /// A log that is not there yet, or of which nothing is known.
    pub const NEW: Self = Self { log_start_offset: Offset(0), recovery_point: Offset(0), clean_shutdown: false };
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
    /// Opens the log in `dir`, which is made if it is not there. Waits for the disk.
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
            disk.create_dir_all(dir).during("create", dir)?;
        } else if settle(&**disk, dir)? {
            disk.sync_dir(dir).during("sync", dir)?;
        }
        let found = list(env, dir, &config, now)?;
        let mut log = empty_log(env, dir, config, state, found.snapshots, now);
        log.segments = found.segments;
        if is_new {
            log.sync.renamed_in(dir);
            log.sync.renamed_in(dir.parent().unwrap_or(Path::new("")));
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
        let trusted = if state.clean_shutdown && report.cut.is_none() { Offset(i64::MAX) } else { log.recovery_point };
        let from = log.usable_snapshot(trusted, state.clean_shutdown, now)?;
        let end = log.log_end_offset;
        load_producers(&mut log, from, end, now)?;
        log.drop_stray_snapshots()?;
        log.refresh_sealed();
        log.sync.opened(end, log.recovery_point);
        if log.recovery_point < end {
            // What was recovered is in the files, and not known to be on the device.
            for s in log.segments.range(log.floor(log.recovery_point)..).map(|(_, s)| s) {
                log.sync.wrote(&s.shared, end);
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
                Ok(m) => self.topic_id = Some(m.topic_id),
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

    /// Finds where the log ends, checking and cutting what has to be.
    fn recover(&mut self, state: OpenState, report: &mut RecoveryReport) -> Result<(), LogError> {
        self.drop_abandoned_segment()?;
        let Some((&last, _)) = self.segments.last_key_value() else { return Ok(()) };
        let first = if state.clean_shutdown { last } else { self.floor(state.recovery_point) };
        let mut bases: Vec<Offset> = self.segments.range(first..).map(|(o, _)| *o).collect();
        if state.clean_shutdown {
            match self.segments[&last].next_offset() {
                Ok(end) => {
                    self.log_end_offset = end;
                    self.recovery_point = end;
                    return Ok(());
                }
                // The shutdown was clean, and still this is no log's end: somebody else was here.
                Err(LogError::Corrupt { .. }) => bases = vec![last],
                Err(e) => return Err(e),
            }
        }
        let recovery_point = if state.clean_shutdown { Offset(0) } else { state.recovery_point };
        let epochs_before = self.epochs.clone();
        let mut end = bases[0];
        let mut stop = None;
        let mut previous = None;
        for base in bases {
            // A power cut may have taken the end of a segment and left the next one. Only compaction leaves
            // gaps for good, so with it they can't be told apart.
            if let Some((base_before, size)) = previous
                && base > end
                && base > recovery_point
                && !self.config.compact
            {
                stop = Some((base_before, size, format!("offsets {end} to {base} are missing")));
                break;
            }
            let segment = self.segments.get_mut(&base).expect("its key was just read");
            previous = Some((base, segment.size));
            let checked = check_segment(segment, &mut self.epochs, end.max(base), recovery_point, report)?;
            end = checked.end.max(end);
            if let Some((position, reason)) = checked.stop {
                stop = Some((base, position, reason));
                break;
            }
        }
        if let Some((base, position, reason)) = stop {
            self.cut_behind(base, position, reason, report)?;
        }
        self.epochs_dirty |= self.epochs != epochs_before;
        self.log_end_offset = end;
        self.recovery_point = recovery_point.min(end);
        Ok(())
    }

    /// Removes an empty last segment that begins inside of the one before it: a roll that failed, whose
    /// removal a power cut has undone.
    fn drop_abandoned_segment(&mut self) -> Result<(), LogError> {
        let mut newest = self.segments.values().rev();
        let (Some(last), Some(before)) = (newest.next(), newest.next()) else { return Ok(()) };
        if last.size > 0 {
            return Ok(());
        }
        let base = last.base_offset();
        let start = before.shared.trusted_sparse(before.size, base)?.map_or(0, |(offset, _)| offset.last().1);
        let mut walker = before.shared.headers(start, before.size)?;
        // Whatever is torn in it is for its recovery to find.
        while let Ok(Some(span)) = walker.next_span() {
            if span.last_offset >= base {
                self.unmake_segment(base)?;
                self.segments.remove(&base);
                return self.env.io.disk.sync_dir(&self.dir).during("sync", &self.dir);
            }
        }
        Ok(())
    }

    /// Cuts the segment `base` at `position` and removes all later ones, which nothing vouches for. From the
    /// last one down and for good, so that what is left after another crash has no hole either, and nothing
    /// comes back behind what is written next.
    fn cut_behind(
        &mut self,
        base: Offset,
        position: u64,
        reason: String,
        report: &mut RecoveryReport,
    ) -> Result<(), LogError> {
        while let Some((&last, segment)) = self.segments.last_key_value()
            && last > base
        {
            let path = segment.shared.file.path();
            segment.shared.mark_deleted(DELETED_SUFFIX).during("rename", &path)?;
            self.segments.remove(&last);
            report.removed_segments += 1;
        }
        if report.removed_segments > 0 {
            self.env.io.disk.sync_dir(&self.dir).during("sync", &self.dir)?;
        }
        let segment = self.segments.get_mut(&base).expect("it was just checked");
        let path = segment.shared.file.path();
        let file = segment.shared.file.writer().during("open", &path)?;
        file.set_len(position).during("cut", &path)?;
        file.sync_data().during("sync", &path)?;
        report.cut = Some(Cut { path, position, bytes: segment.size - position, reason });
        segment.size = position;
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

    /// The latest snapshot that can be believed, after removing those that can't; none if there is no such.
    pub(crate) fn usable_snapshot(&mut self, trusted: Offset, clean: bool, now: Now) -> Result<Offset, LogError> {
        let mut trusted = trusted.min(self.log_end_offset);
        // A transaction index that isn't whole is built again, which takes the state from where it begins.
        for (base, s) in &self.segments {
            if matches!(s.shared.with_txn(|_| ()), Err(LogError::Corrupt { .. })) {
                s.shared.reset_txn();
                trusted = trusted.min(*base);
            }
        }
        let had_any = !self.snapshots.is_empty();
        for offset in self.snapshots.range(trusted.next()..).copied().collect::<Vec<_>>() {
            self.remove_snapshot(offset)?;
        }
        while let Some(&offset) = self.snapshots.last() {
            let path = segment_path(&self.dir, offset, SNAPSHOT_SUFFIX);
            let file = read_all(&*self.env.io.disk, &path).during("read", &path)?.unwrap_or_default();
            match self.producers.load_snapshot(offset, &file, now.wall) {
                Ok(()) => return Ok(offset),
                Err(e) => {
                    tracing::warn!(path = %path.display(), error = %e, "removing a corrupt snapshot");
                    self.remove_snapshot(offset)?;
                }
            }
        }
        // A log that was closed cleanly without ever having a snapshot is of a Kafka before idempotence.
        Ok(if clean && !had_any { self.log_end_offset } else { Offset::NONE })
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
    Log {
        dir: dir.to_path_buf(),
        producers: ProducerStateManager::new(start, config.producer_id_expiration_ms),
        config,
        segments: BTreeMap::new(),
        sealed: Arc::default(),
        log_start_offset: start,
        log_end_offset: start,
        recovery_point: start,
        last_flush: now,
        epochs: EpochCache::new(),
        epochs_dirty: false,
        snapshots,
        bytes_since_snapshot: 0,
        unsynced_files: BTreeSet::new(),
        topic_id: None,
        tail: Tail::new(env.tail.clone()),
        sync: Arc::new(SyncState::new(env.io.disk.clone(), env.io.tasks, start, start)),
        waiting: Vec::new(),
        offline: false,
        env: env.clone(),
    }
}

/// What the batches of a segment turned out to be.
struct Checked {
    /// The offset behind the last sound batch.
    end: Offset,
    /// Where the first one begins that is not sound, and why it isn't.
    stop: Option<(u64, String)>,
}

/// Checks a segment's batches, from the recovery point on if the indexes below it can be believed, and
/// builds the indexes from them.
fn check_segment(
    segment: &mut Segment,
    epochs: &mut EpochCache,
    expected: Offset,
    recovery_point: Offset,
    report: &mut RecoveryReport,
) -> Result<Checked, LogError> {
    let (shared, size) = (segment.shared.clone(), segment.size);
    let base = shared.base_offset;
    let trusted = if recovery_point > base { shared.trusted_sparse(size, recovery_point)? } else { None };
    let interval_bytes = shared.index_interval_bytes();
    let (mut builder, start) = match trusted {
        Some((offset, time)) => {
            let position = offset.last().1;
            (IndexBuilder::resume(offset, time, interval_bytes), position)
        }
        None => (IndexBuilder::new(base, interval_bytes), 0),
    };
    let file = shared.file.reader().during("open", &shared.file.path())?;
    let mut walker = Walker::new(file, start, size, RECOVERY_CHUNK_BYTES);
    let (mut end, mut next) = (base, if start == 0 { expected } else { base });
    let mut first = true;
    let stop = loop {
        let position = walker.position();
        match walker.next_span() {
            Ok(None) => break None,
            Err(WalkError::NotABatch { reason, .. }) => break Some((position, reason)),
            Err(e) => return Err(shared.walk_error(e)),
            Ok(Some(span)) => {
                let batch = match walker.batch(&span) {
                    Ok(b) => b,
                    Err(WalkError::NotABatch { reason, .. }) => break Some((position, reason)),
                    Err(e) => return Err(shared.walk_error(e)),
                };
                if let Err(e) = batch.verify_crc() {
                    break Some((position, e.to_string()));
                }
                if span.last_offset < next {
                    break Some((position, format!("offset {} comes after {next}", span.base_offset)));
                }
                if first {
                    epochs.truncate_from_end(span.base_offset);
                    first = false;
                }
                if epochs.latest_epoch().is_none_or(|latest| span.leader_epoch > latest) {
                    epochs.assign(span.leader_epoch, span.base_offset);
                }
                // The batch at the last trusted entry is in the index already.
                if start == 0 || position > start {
                    builder.add(&span);
                } else {
                    builder.skip(&span);
                }
                next = span.next_offset();
                end = next;
            }
        }
    };
    report.checked_segments += 1;
    report.checked_bytes += walker.position() - start;
    segment.set_max_timestamp(builder.max());
    let (offset, time) = builder.finish();
    shared.set_sparse(offset, time);
    Ok(Checked { end, stop })
}

/// Replays the batches from the loaded snapshot at `from` (none: from the log's start) up to `end` into the
/// producers' state and the transaction indexes.
pub(crate) fn load_producers(log: &mut Log, from: Offset, end: Offset, now: Now) -> Result<(), LogError> {
    let from = if from.is_some() {
        if log.producers.map_end_offset() != from || !log.snapshots.contains(&from) {
            let path = segment_path(&log.dir, from, SNAPSHOT_SUFFIX);
            let file = read_all(&*log.env.io.disk, &path).during("read", &path)?.unwrap_or_default();
            if log.producers.load_snapshot(from, &file, now.wall).is_err() {
                log.producers.truncate_fully_and_start_at(from);
            }
        }
        from
    } else {
        log.producers.truncate_fully_and_start_at(log.log_start_offset);
        log.log_start_offset
    };
    let limits = Limits::default();
    let bases: Vec<Offset> = log.segments.range(log.floor(from)..).map(|(base, _)| *base).collect();
    for base in &bases {
        if *base > from && end > from {
            // As a roll would have left it.
            log.producers.update_map_end_offset(*base);
            log.take_snapshot()?;
        }
        let s = &log.segments[base];
        s.shared.with_txn(|index| index.truncate_to(from.max(*base)))?;
        if end <= from || s.size == 0 {
            continue;
        }
        let position = if from > *base { s.position_of(from)? } else { 0 };
        let mut walker = s.shared.headers(position, s.size)?;
        while let Some(span) = walker.next_span().map_err(|e| s.shared.walk_error(e))? {
            let Some(h) = span.header.filter(|h| h.has_producer_id()) else { continue };
            if span.last_offset < from || span.last_offset >= end {
                continue;
            }
            let completed = if h.is_control() {
                let batch = walker.batch(&span).map_err(|e| s.shared.walk_error(e))?;
                let corrupt =
                    |reason: String| LogError::Corrupt { path: s.shared.file.path(), position: span.position, reason };
                let batch = batch.v2().ok_or_else(|| corrupt("a control batch of an old format".to_owned()))?;
                log.producers.replay(batch, &limits).map_err(|e| corrupt(e.to_string()))?
            } else {
                let mut update = ProducerUpdate::default();
                let version = TransactionVersion::default();
                match log.producers.prepare(&mut update, &h, None, AppendOrigin::Replication, version) {
                    Ok(_) => log.producers.update(update),
                    Err(e) => unreachable!("a replicated batch was refused: {e}"),
                }
            };
            for txn in completed.iter().filter_map(aborted) {
                s.shared.with_txn(|index| index.append(txn))?;
            }
        }
    }
    log.producers.update_map_end_offset(end);
    if from.is_some() && log.snapshots.contains(&from) {
        log.producers.snapshot_taken(from);
    }
    Ok(())
}
