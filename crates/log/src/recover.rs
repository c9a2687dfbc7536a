//! Recovery after an unclean shutdown: where the log really ends, and what has to go.
//!
//! From the recovery point on every batch is checked against its CRC, and indexes and epochs are built from
//! what is sound. Behind the first thing that isn't, everything goes, last first, so that another crash on
//! the way leaves no hole.

use logrun_model::Offset;
use logrun_partition::EpochCache;

use crate::error::{IoContext, LogError};
use crate::log::Log;
use crate::names::DELETED_SUFFIX;
use crate::open::{Cut, OpenState, RecoveryReport};
use crate::segment::{IndexBuilder, Segment};
use crate::walk::{WalkError, Walker};

/// How much is read at a time when whole batches are checked.
const RECOVERY_CHUNK_BYTES: usize = 1 << 20;

impl Log {
    /// Finds where the log ends, checking and cutting what has to be.
    pub(crate) fn recover(&mut self, state: OpenState, report: &mut RecoveryReport) -> Result<(), LogError> {
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
            // A power cut may have taken the end of a segment and left the next one. Only compaction leaves gaps for good,
            // and ours only below the recovery point that was saved before, whatever `cleanup.policy` is by now; what
            // Kafka compacts may lie above it.
            if let Some((base_before, size)) = previous
                && base > end
                && base > recovery_point.max(state.first_dirty)
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
            segment.shared.set_mark(DELETED_SUFFIX).during("rename", &path)?;
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
