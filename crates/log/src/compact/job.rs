//! [`Compaction`]: one round over one log, in steps (Kafka's `Cleaner.doClean`).
//!
//! ```text
//!  first dirty offset            map full, or      first uncleanable
//!          |--- 1. keys mapped --->|                      |
//!  |--- 2. segments rewritten ---->|                      |
//! ```
//!
//! Planned under the partition's lock, run outside of it: sealed segments don't change. Each step does so much work
//! that the caller can keep to a rate, look at the clock, and stop; what was begun then leaves `.cleaned` files, which
//! mean nothing. A finished group of segments is swapped in by the caller, under the lock.

use std::sync::Arc;

use logrun_model::{Now, Offset};
use logrun_record::{AnyBatch, BatchError, Limits};

use super::filter::{Filter, Outcome, RecordCounts, control_type};
use super::group::{Member, group};
use super::key_hash::HashSecret;
use super::offset_map::OffsetMap;
use super::replace::Replacement;
use super::transactions::CleanedTransactions;
use super::writer::CleanedWriter;
use crate::config::LogConfig;
use crate::error::{IoContext, LogError};
use crate::index::AbortedTxn;
use crate::log::LogEnv;
use crate::names::CLEANED_SUFFIX;
use crate::read::SegmentRef;
use crate::segment::SegmentShared;
use crate::walk::{Span, Walker};

/// What a round may use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CompactionLimits {
    /// For the offset map: this thread's share of `log.cleaner.dedupe.buffer.size`.
    pub dedupe_buffer_bytes: usize,
    /// `log.cleaner.io.buffer.load.factor`.
    pub load_factor: f64,
    /// For reading, and again for writing: this thread's share of `log.cleaner.io.buffer.size`.
    pub io_buffer_bytes: usize,
}

/// A segment that a round reads.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub shared: Arc<SegmentShared>,
    pub size: u64,
    /// The base offset of the next segment.
    pub next_offset: Offset,
    pub modified_ms: i64,
}

/// What a round did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CompactionReport {
    pub first_dirty_offset: Offset,
    /// Up to here (exclusive) the log is compacted now.
    pub end_offset: Offset,
    pub records: RecordCounts,
    /// Of the segments that were looked at.
    pub bytes_before: u64,
    pub bytes_after: u64,
    /// Reads and writes of batches.
    pub io_bytes: u64,
    /// Which share of the offset map was used.
    pub map_use: f64,
}

/// What a step came to.
#[derive(Debug)]
pub enum Step {
    /// There is more to do; so many bytes were read and written.
    Working { io_bytes: usize },
    /// [`crate::Log::replace_segments`] is to be called with this before the next step.
    Replace(Replacement),
    /// [`crate::Log::compacted`] is to be called with this.
    Done(CompactionReport),
}

/// What is under way.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one for each job under way")]
enum Phase {
    Start,
    /// Reading segment `at`.
    Mapping {
        at: usize,
        walker: Option<Walker>,
    },
    /// Rewriting group `group`, of it segment `at`.
    Cleaning {
        group: usize,
        at: usize,
        walker: Option<Walker>,
        writer: Option<CleanedWriter>,
    },
    Done,
}

/// One round over one log.
#[derive(Debug)]
pub struct Compaction {
    config: LogConfig,
    generation: u64,
    /// Oldest first, all below the first uncleanable offset.
    sources: Vec<Source>,
    /// The segments behind, for what they know of transactions that began before.
    later: Vec<SegmentRef>,
    first_dirty: Offset,
    first_uncleanable: Offset,
    limits: CompactionLimits,
    filter: Filter,
    now: Now,
    phase: Phase,
    aborted: Vec<AbortedTxn>,
    groups: Vec<std::ops::Range<usize>>,
    report: CompactionReport,
}

/// The parts of a round that the log gives.
pub(super) struct Parts {
    pub env: LogEnv,
    pub config: LogConfig,
    pub generation: u64,
    pub sources: Vec<Source>,
    pub later: Vec<SegmentRef>,
    pub first_dirty: Offset,
    pub first_uncleanable: Offset,
    pub producers: std::collections::BTreeMap<logrun_model::ProducerId, super::filter::LastRecord>,
}

/// Removes what a round that failed has left in the directory: after a crash it would be taken for a part of this round that had
/// not come to its end, and what this one has put in place behind it would go with it.
fn remove_unfinished(any: &SegmentShared) -> Result<(), LogError> {
    let path = any.file.path();
    let Some(dir) = path.parent() else { return Ok(()) };
    let disk = any.file.disk();
    let entries = match disk.list(dir) {
        // It's just being deleted or moved: the round will be told.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        listed => listed.during("list", dir)?,
    };
    for entry in entries.into_iter().filter(|e| e.name.ends_with(CLEANED_SUFFIX)) {
        let path = dir.join(entry.name);
        match disk.remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e).during("remove", &path),
            _ => {}
        }
    }
    Ok(())
}

impl Compaction {
    pub(super) fn new(parts: Parts, limits: CompactionLimits, now: Now) -> Self {
        let Parts { env, config, generation, sources, later, first_dirty, first_uncleanable, producers } = parts;
        let secret: HashSecret = (env.io.random.u64(), env.io.random.u64());
        let records = u64::try_from(first_uncleanable.distance_from(first_dirty)).unwrap_or(0);
        let filter = Filter {
            map: OffsetMap::new(secret, limits.dedupe_buffer_bytes, limits.load_factor, records),
            transactions: CleanedTransactions::default(),
            producers,
            now: now.wall,
            delete_retention_ms: config.delete_retention_ms,
            round_end: first_uncleanable,
            counts: RecordCounts::default(),
            still_aborted: Vec::new(),
            limits: Limits::default(),
        };
        let report = CompactionReport { first_dirty_offset: first_dirty, ..CompactionReport::default() };
        Self {
            config,
            generation,
            sources,
            later,
            first_dirty,
            first_uncleanable,
            limits,
            filter,
            now,
            phase: Phase::Start,
            aborted: Vec::new(),
            groups: Vec::new(),
            report,
        }
    }

    /// Works on, for about `io_bytes` bytes of reads and writes. Waits for the disk.
    ///
    /// # Errors
    /// [`LogError::Corrupt`] if a batch can't be read: the log can't be compacted. [`LogError::DiskFull`]: try again
    /// later. Either way the log is as it was, but for what was swapped in.
    pub fn step(&mut self, io_bytes: usize) -> Result<Step, LogError> {
        match std::mem::replace(&mut self.phase, Phase::Done) {
            Phase::Start => {
                self.start()?;
                Ok(Step::Working { io_bytes: 0 })
            }
            Phase::Mapping { at, walker } => self.map(at, walker, io_bytes),
            Phase::Cleaning { group, at, walker, writer } => self.clean(group, at, walker, writer, io_bytes),
            Phase::Done => Ok(Step::Done(self.report)),
        }
    }

    /// The round ends here: what it was writing goes. Waits for the disk.
    pub fn abandon(self) -> Result<(), LogError> {
        if let Phase::Cleaning { writer: Some(writer), .. } = self.phase {
            writer.remove()?;
        }
        Ok(())
    }

    fn start(&mut self) -> Result<(), LogError> {
        remove_unfinished(&self.sources[0].shared)?;
        let from = self.sources[0].shared.base_offset;
        let all = self.sources.iter().map(|s| &s.shared).chain(self.later.iter().map(|s| &s.shared));
        for shared in all {
            if shared.with_txn(|index| index.collect(from, self.first_uncleanable, &mut self.aborted))? {
                break;
            }
        }
        // The markers of those that ended before are not met.
        let dirty: Vec<AbortedTxn> =
            self.aborted.iter().filter(|t| t.last_offset >= self.first_dirty).copied().collect();
        self.filter.transactions = CleanedTransactions::new(&dirty);
        let at = self.sources.partition_point(|s| s.next_offset <= self.first_dirty);
        self.phase = Phase::Mapping { at, walker: None };
        Ok(())
    }

    fn walker(&self, source: &Source, position: u64) -> Result<Walker, LogError> {
        let file = source.shared.file.reader().during("open", &source.shared.file.path())?;
        Ok(Walker::new(file, position, source.size, self.limits.io_buffer_bytes))
    }

    /// Puts the keys of the uncompacted segments into the map.
    fn map(&mut self, mut at: usize, mut walker: Option<Walker>, budget: usize) -> Result<Step, LogError> {
        let mut done = 0;
        while let Some(source) = self.sources.get(at).cloned() {
            let shared = &source.shared;
            let w = match &mut walker {
                Some(w) => w,
                none => {
                    let position = shared.sparse(source.size)?.parts().0.lookup(self.first_dirty).1;
                    none.insert(self.walker(&source, position)?)
                }
            };
            let Some(span) = w.next_span().map_err(|e| shared.walk_error(e))? else {
                // Behind the last batch there is a gap up to the next segment, or nothing.
                self.filter.map.mapped_to(Offset(source.next_offset.get() - 1));
                (at, walker) = (at + 1, None);
                continue;
            };
            if span.last_offset < self.first_dirty {
                continue;
            }
            let batch = sound_batch(shared, w, &span)?;
            if !self.map_batch(&batch).map_err(|e| unreadable(shared, &span, e))? {
                if self.filter.map.latest_offset() < self.first_dirty {
                    let reason = format!(
                        "it has more than {} keys, for which log.cleaner.dedupe.buffer.size has no room",
                        self.filter.map.keys_max()
                    );
                    return Err(LogError::Corrupt { path: shared.file.path(), position: span.position, reason });
                }
                // The rest is for the next round.
                break;
            }
            self.filter.map.mapped_to(span.last_offset);
            done += span.size;
            if done >= budget {
                self.report.io_bytes += done as u64;
                self.phase = Phase::Mapping { at, walker };
                return Ok(Step::Working { io_bytes: done });
            }
        }
        self.report.io_bytes += done as u64;
        self.begin_cleaning()?;
        Ok(Step::Working { io_bytes: done })
    }

    /// False if the map has no room for a key of the batch.
    fn map_batch(&mut self, batch: &AnyBatch) -> Result<bool, BatchError> {
        let Filter { map, transactions, limits, .. } = &mut self.filter;
        let mut put = |key: Option<&[u8]>, offset: Offset| {
            key.is_none_or(|key| offset < self.first_dirty || map.put(key, offset))
        };
        match batch {
            AnyBatch::V2(b) => {
                let h = &b.header;
                if h.is_control() {
                    transactions.on_control(h.producer_id, h.last_offset(), control_type(b, limits)?);
                } else if !transactions.on_batch(h.producer_id, h.last_offset(), h.is_transactional()) {
                    let body = b.decompressed(limits)?;
                    for parts in logrun_record::RecordWalker::new(&body, h.records_count) {
                        let parts = parts?;
                        let offset = h.base_offset.plus(i64::from(parts.offset_delta));
                        if !put(parts.key.map(|r| &body[r]), offset) {
                            return Ok(false);
                        }
                    }
                }
            }
            AnyBatch::Legacy(b) => {
                for r in b.records(limits)? {
                    if !put(r.key.as_deref(), r.offset) {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    fn begin_cleaning(&mut self) -> Result<(), LogError> {
        let map = &self.filter.map;
        let end = map.latest_offset().next();
        self.report.end_offset = end.max(self.first_dirty);
        self.report.map_use = map.keys() as f64 / map.keys_max() as f64;
        self.sources.truncate(self.sources.partition_point(|s| s.shared.base_offset < end));
        let mut members = Vec::with_capacity(self.sources.len());
        for s in &self.sources {
            let mut sparse = s.shared.sparse(s.size)?;
            let (offset, time) = sparse.parts();
            members.push(Member {
                base_offset: s.shared.base_offset,
                next_offset: s.next_offset,
                size: s.size,
                index_bytes: offset.bytes(),
                time_index_bytes: time.bytes(),
            });
        }
        self.groups = group(&members, self.config.segment_bytes, self.config.segment_index_bytes);
        self.filter.transactions = CleanedTransactions::new(&self.aborted);
        self.phase = Phase::Cleaning { group: 0, at: 0, walker: None, writer: None };
        Ok(())
    }

    /// When a segment must have been written for its tombstones of magic 0 and 1 to go, which have no horizon of their
    /// own: `delete.retention.ms` before the last of what is compacted already.
    fn legacy_horizon_ms(&self) -> i64 {
        let clean = self.sources.iter().take_while(|s| s.shared.base_offset < self.first_dirty).last();
        clean.map_or(0, |s| s.modified_ms.saturating_sub(self.config.delete_retention_ms))
    }

    fn clean(
        &mut self,
        group: usize,
        mut at: usize,
        mut walker: Option<Walker>,
        writer: Option<CleanedWriter>,
        budget: usize,
    ) -> Result<Step, LogError> {
        let Some(range) = self.groups.get(group).cloned() else {
            self.report.records = self.filter.counts;
            return Ok(Step::Done(self.report));
        };
        let sources = &self.sources[range];
        let mut writer = match writer {
            Some(writer) => writer,
            None => CleanedWriter::new(sources, self.limits.io_buffer_bytes)?,
        };
        let legacy_horizon_ms = self.legacy_horizon_ms();
        let mut done = 0;
        while let Some(source) = sources.get(at) {
            let shared = &source.shared;
            let w = match &mut walker {
                Some(w) => w,
                none => none.insert(self.walker(source, 0)?),
            };
            let Some(span) = w.next_span().map_err(|e| shared.walk_error(e))? else {
                (at, walker) = (at + 1, None);
                continue;
            };
            let batch = sound_batch(shared, w, &span)?;
            let outcome = self.filter.batch(&batch, source.modified_ms > legacy_horizon_ms);
            done += span.size
                + match outcome.map_err(|e| unreadable(shared, &span, e))? {
                    Outcome::Gone => writer.drop_batch(source)?,
                    Outcome::Kept => writer.keep(&span, batch.bytes())?,
                    Outcome::Changed(b) => writer.replace(source, &b)?,
                };
            writer.note_aborted(&mut self.filter.still_aborted);
            if done >= budget {
                self.report.io_bytes += done as u64;
                self.phase = Phase::Cleaning { group, at, walker, writer: Some(writer) };
                return Ok(Step::Working { io_bytes: done });
            }
        }
        self.report.io_bytes += done as u64;
        let before: u64 = sources.iter().map(|s| s.size).sum();
        self.report.bytes_before += before;
        let finished = writer.finish(sources, self.now.wall.get())?;
        self.phase = Phase::Cleaning { group: group + 1, at: 0, walker: None, writer: None };
        let Some(cleaned) = finished else {
            self.report.bytes_after += before;
            return Ok(Step::Working { io_bytes: done });
        };
        self.report.bytes_after += cleaned.size;
        Ok(Step::Replace(Replacement { generation: self.generation, cleaned, old: sources.to_vec() }))
    }
}

/// The batch of `span`, whose CRC is good: what is written anew gets a new one, which must not hide damage.
fn sound_batch(shared: &SegmentShared, walker: &mut Walker, span: &Span) -> Result<AnyBatch, LogError> {
    let batch = walker.batch(span).map_err(|e| shared.walk_error(e))?;
    batch.verify_crc().map_err(|e| unreadable(shared, span, e))?;
    Ok(batch)
}

fn unreadable(shared: &SegmentShared, span: &Span, e: BatchError) -> LogError {
    LogError::Corrupt { path: shared.file.path(), position: span.position, reason: e.to_string() }
}
