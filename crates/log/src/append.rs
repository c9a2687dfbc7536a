//! Appending, and rolling to a new segment when the active one is full or old.
//!
//! Batches come with offsets and leader epochs assigned: a leader's append plan did that, or the leader
//! that a follower fetches from. The batches of one call go to the disk in one vectored write.

use std::io::IoSlice;
use std::sync::Arc;

use logrun_model::{Now, Offset, TimestampMs};
use logrun_partition::ProducerUpdate;
use logrun_record::PreparedBatch;

use crate::config::Durability;
use crate::error::{IoContext, LogError};
use crate::log::Log;
use crate::segment::SegmentShared;
use crate::sync::Durable;
use crate::tail::Piece;
use crate::writer::Terms;

/// What an append did.
#[derive(Debug)]
pub struct Appended {
    /// The base offset of the first batch.
    pub first_offset: Offset,
    /// The last offset of the last batch (inclusive).
    pub last_offset: Offset,
    pub bytes: usize,
    /// A new segment was begun: a flush now keeps a later recovery short.
    pub rolled: bool,
    /// When the append has reached `logrun.durability`.
    pub durable: Durable,
}

impl Log {
    /// Appends `batches`, whose offsets rise from the log's end on, and takes them into producers' state and
    /// leader epochs as a follower does. An empty slice appends nothing.
    ///
    /// # Errors
    /// [`LogError::DiskFull`]: nothing was appended, try again later. [`LogError::BatchTooLarge`],
    /// [`LogError::UnexpectedAppendOffset`]: nothing was appended. [`LogError::Io`]: nothing was appended,
    /// and the directory should go offline. If the batches are more than a segment holds, those of earlier
    /// segments stay appended when a later one fails; the log end offset tells.
    pub fn append(&mut self, batches: &[PreparedBatch], now: Now) -> Result<Appended, LogError> {
        self.append_groups(batches, None, false, now)
    }

    /// As [`Self::append`], with the changes to the producers' state that the append plan has prepared. What is large is
    /// gathered and written beside the caller, who waits for `durable`.
    pub fn append_prepared(
        &mut self,
        batches: &[PreparedBatch],
        update: ProducerUpdate,
        now: Now,
    ) -> Result<Appended, LogError> {
        self.append_groups(batches, Some(update), true, now)
    }

    pub(crate) fn append_groups(
        &mut self,
        batches: &[PreparedBatch],
        update: Option<ProducerUpdate>,
        may_wait: bool,
        now: Now,
    ) -> Result<Appended, LogError> {
        self.check_online()?;
        let mut appended = Appended {
            first_offset: batches.first().map_or(self.log_end_offset, |b| b.header().base_offset),
            last_offset: batches.last().map_or(Offset(self.log_end_offset.get() - 1), |b| b.header().last_offset()),
            bytes: 0,
            rolled: false,
            durable: Durable::Ready,
        };
        self.check_order(batches)?;
        if !batches.is_empty() {
            self.make()?;
        }
        let mut update = update;
        let mut rest = batches;
        while !rest.is_empty() {
            let n = self.fitting(rest);
            let (group, later) = rest.split_at(n);
            // What was prepared is of the whole append, so it can only be taken with the whole.
            let group_update = if n == batches.len() { update.take() } else { None };
            appended.rolled |= self.maybe_roll(group, now)?;
            appended.bytes += self.append_group(group, group_update, may_wait, now)?;
            rest = later;
        }
        let unflushed = self.log_end_offset.distance_from(self.recovery_point.max(self.flush_asked));
        if !batches.is_empty()
            && (self.config.durability == Durability::Sync || unflushed >= self.config.flush_messages)
        {
            self.flush_asked = self.log_end_offset;
            appended.durable = self.durable();
        } else if self.config.durability == Durability::Write {
            appended.durable = self.writer.written(self.log_end_offset);
        }
        Ok(appended)
    }

    /// When what the log has now is on the device.
    pub(crate) fn durable(&self) -> Durable {
        self.writer.durable(self.log_end_offset)
    }

    fn check_order(&self, batches: &[PreparedBatch]) -> Result<(), LogError> {
        let mut next = self.log_end_offset;
        for b in batches {
            let h = b.header();
            if h.base_offset < next || h.last_offset() < h.base_offset || h.last_offset().get() == i64::MAX {
                return Err(LogError::UnexpectedAppendOffset { base_offset: h.base_offset, log_end_offset: next });
            }
            if b.size_in_bytes() as u64 > self.config.segment_bytes {
                let segment_bytes = self.config.segment_bytes;
                return Err(LogError::BatchTooLarge { batch_bytes: b.size_in_bytes(), segment_bytes });
            }
            next = h.next_offset();
        }
        Ok(())
    }

    /// How many of `batches` fit into one segment together: at least one.
    fn fitting(&self, batches: &[PreparedBatch]) -> usize {
        let mut bytes = 0;
        let base = batches[0].header().base_offset;
        batches
            .iter()
            .take_while(|b| {
                bytes += b.size_in_bytes() as u64;
                bytes <= self.config.segment_bytes
                    && b.header().last_offset().distance_from(base) <= i64::from(i32::MAX)
            })
            .count()
            .max(1)
    }

    fn append_group(
        &mut self,
        group: &[PreparedBatch],
        update: Option<ProducerUpdate>,
        may_wait: bool,
        now: Now,
    ) -> Result<usize, LogError> {
        let last = group.last().expect("a group has a batch").header();
        // What noting the batches needs is read before they are written: afterwards a failure would be final.
        self.active_mut().max_timestamp()?;
        let active = self.active();
        let (shared, at) = (active.shared.clone(), active.size);
        let bytes = group.iter().map(PreparedBatch::size_in_bytes).sum();
        let needed = self.writer.begins(bytes, now.monotonic);
        let staged = self.tail.stage(group, at, now.monotonic, needed);
        let pace = self.writer.pace().clone();
        let appending = pace.append(0);
        let written = self.write_group(&shared, at, staged.as_deref(), group, may_wait);
        drop(appending);
        if written.is_err() {
            self.tail.unstage(self.log_end_offset);
        }
        let queued = written?;
        for b in group {
            let h = b.header();
            let active = self.active_mut();
            // The batch is in the file: what fails from here on would leave memory and file apart.
            let noted = active.appended(h.last_offset(), h.max_timestamp, b.size_in_bytes(), now.wall.get());
            if noted.is_err() {
                self.offline = true;
            }
            noted?;
            self.assign_epoch_start(h.partition_leader_epoch, h.base_offset);
        }
        self.log_end_offset = last.next_offset();
        self.bytes_since_snapshot += bytes as u64;
        if !queued {
            shared.file.wrote_buffered(at, now.monotonic);
            self.tail.written_mark().set(self.log_end_offset);
        }
        let taken = match update {
            Some(update) => self.take_producer_update(update),
            None => self.take_into_producers(group),
        };
        if taken.is_err() {
            self.offline = true;
        }
        taken?;
        self.producers.update_map_end_offset(self.log_end_offset);
        Ok(bytes)
    }

    /// Gives batches to the writer, or else writes them to the segment's file; says whether the writer took them.
    fn write_group(
        &mut self,
        shared: &Arc<SegmentShared>,
        at: u64,
        staged: Option<&[Piece]>,
        group: &[PreparedBatch],
        may_wait: bool,
    ) -> Result<bool, LogError> {
        let in_memory = self.config.durability == Durability::Memory;
        let terms = Terms { promised: self.config.promises_sync(), may_wait, in_memory };
        if let Some(pieces) = staged
            && self.writer.append(shared, pieces, group, terms)?
        {
            return Ok(true);
        }
        self.writer.flush()?;
        let path = || shared.file.path();
        let file = shared.file.writer().during("open", &path())?;
        let slices: Vec<_> = match staged {
            Some(pieces) => pieces.iter().map(|p| IoSlice::new(p.bytes())).collect(),
            None => group.iter().flat_map(|b| b.segments()).map(IoSlice::new).collect(),
        };
        if let Err(e) = file.write_all_at(at, &slices) {
            // What was written of it must not be taken for batches later, so it has to go, for good.
            if file.set_len(at).and_then(|()| file.sync_data()).is_err() {
                self.offline = true;
            }
            return Err(e).during("write", &path());
        }
        self.writer.wrote_at_once(shared, at, &slices, group, terms.promised);
        Ok(false)
    }

    fn maybe_roll(&mut self, group: &[PreparedBatch], now: Now) -> Result<bool, LogError> {
        let first = group[0].header().base_offset;
        let last = group[group.len() - 1].header().last_offset();
        let bytes: u64 = group.iter().map(|b| b.size_in_bytes() as u64).sum();
        let max_timestamp = group.iter().map(|b| b.header().max_timestamp).max().unwrap_or(TimestampMs::NONE);
        if !self.should_roll(bytes, max_timestamp, last, now)? {
            return Ok(false);
        }
        // A gap goes into the segment that it comes before, so that segments follow each other without one and
        // a recovery can tell a lost end; unless the offset behind it does not fit into the index.
        let fits = last.distance_from(self.log_end_offset) <= i64::from(i32::MAX);
        self.roll_to(if fits { self.log_end_offset } else { first }, now)
    }

    fn should_roll(
        &mut self,
        bytes: u64,
        max_timestamp: TimestampMs,
        last_offset: Offset,
        now: Now,
    ) -> Result<bool, LogError> {
        let (segment_bytes, segment_ms) = (self.config.segment_bytes, self.config.max_segment_ms());
        let index_bytes = self.config.segment_index_bytes;
        let active = self.active_mut();
        if active.size + bytes > segment_bytes || last_offset.distance_from(active.base_offset()) > i64::from(i32::MAX)
        {
            return Ok(true);
        }
        if active.size == 0 {
            return Ok(false);
        }
        let waited_ms = active.waited_for_roll_ms(now.wall.get(), max_timestamp)?;
        if waited_ms > segment_ms.saturating_sub(active.roll_jitter_ms) {
            return Ok(true);
        }
        let mut sparse = active.shared.sparse(active.size)?;
        let (offset, time) = sparse.parts();
        Ok(offset.is_full(index_bytes) || time.is_full(index_bytes))
    }

    /// Begins a new segment at the log's end, if the active one has any batches. Returns whether it did.
    pub fn roll(&mut self, now: Now) -> Result<bool, LogError> {
        self.check_online()?;
        self.roll_to(self.log_end_offset, now)
    }

    /// Begins a new segment that starts at `base_offset`, at or behind the log's end.
    fn roll_to(&mut self, base_offset: Offset, now: Now) -> Result<bool, LogError> {
        let base_offset = base_offset.max(self.log_end_offset);
        if self.active().base_offset() == base_offset {
            return Ok(false);
        }
        self.active_mut().seal()?;
        let mut written = Vec::new();
        self.active().shared.touch_indexes(&mut written)?;
        self.active().shared.persist_indexes(&mut written)?;
        self.unsynced_files.extend(written);
        self.producers.update_map_end_offset(base_offset);
        self.take_snapshot()?;
        self.sync.renamed_in(&self.dir);
        let segment = match self.make_segment(base_offset, now) {
            Ok(segment) => segment,
            Err(e) => {
                // An empty segment that's left would hide what is appended to the active one from now on.
                self.offline |= self.unmake_segment(base_offset).is_err();
                return Err(e);
            }
        };
        self.active().shared.release();
        self.segments.insert(base_offset, segment);
        self.refresh_sealed();
        Ok(true)
    }
}
