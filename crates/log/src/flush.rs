//! Flushing: everything up to the log's end reaches the device, then the recovery point moves there.

use logrun_model::{Now, Offset};

use crate::error::LogError;
use crate::log::Log;
use crate::names::LEADER_EPOCH_CHECKPOINT;
use crate::sync::{FlushPlan, Flushed};

impl Log {
    /// Writes what the files lack (indexes, epochs, a producer snapshot) and plans the syncs; `None` if
    /// everything is on the device. The plan runs outside of the lock; [`Self::finish_flush`] takes its result.
    pub fn plan_flush(&mut self, now: Now) -> Result<Option<FlushPlan>, LogError> {
        self.check_online()?;
        self.last_flush = now;
        if !self.on_disk {
            return Ok(None);
        }
        if self.recovery_point == self.log_end_offset
            && self.unsynced_files.is_empty()
            && !self.epochs_dirty
            && self.sync.has_synced_names()
        {
            return Ok(None);
        }
        self.write_epochs()?;
        let mut written = Vec::new();
        let first = self.floor(self.recovery_point);
        let persisted = self.segments.range(first..).try_for_each(|(_, s)| s.shared.persist_indexes(&mut written));
        // Those before the one that failed, too.
        self.unsynced_files.extend(written);
        persisted?;
        if self.wants_snapshot() {
            self.take_snapshot()?;
        }
        Ok(Some(FlushPlan {
            sync: self.sync.clone(),
            writer: self.writer.clone(),
            files: std::mem::take(&mut self.unsynced_files).into_iter().collect(),
            flushed: Flushed { offset: self.log_end_offset, generation: self.sync.generation() },
        }))
    }

    /// The flush is done: the recovery point moves, unless the log was cut in the meantime.
    pub fn finish_flush(&mut self, flushed: Flushed) -> Result<(), LogError> {
        if flushed.generation == self.sync.generation() {
            self.recovery_point = self.recovery_point.max(flushed.offset);
        }
        self.drop_stray_snapshots()
    }

    /// Plans, runs and finishes a flush; waits for the device. After an error that is retriable the log goes on, and the
    /// next flush does what this one could not.
    pub fn flush(&mut self, now: Now) -> Result<(), LogError> {
        if let Some(plan) = self.plan_flush(now)? {
            match plan.run() {
                Ok(flushed) => self.finish_flush(flushed)?,
                Err(e) => {
                    self.offline |= !e.is_retriable();
                    return Err(e);
                }
            }
        }
        Ok(())
    }

    /// Whether records have waited for `flush.ms`.
    pub fn is_flush_due(&self, now: Now) -> bool {
        self.recovery_point < self.log_end_offset
            && i64::try_from(now.monotonic.since(self.last_flush.monotonic).as_millis()).unwrap_or(i64::MAX)
                >= self.config.flush_ms
    }

    /// Closes the log cleanly: indexes end as Kafka's do, a snapshot stands at the log's end, and all is on
    /// the device, so that the next start need not look. Waits for the device.
    pub fn close(&mut self, now: Now) -> Result<(), LogError> {
        self.write_for_close()?;
        if self.on_disk {
            self.flush(now)?;
            self.drop_stray_snapshots()?;
            self.sync.renamed_in(&self.dir);
            self.sync.sync_now()?;
        }
        self.end();
        Ok(())
    }

    /// As [`Self::close`], for one of many logs: nothing is synced here. The caller syncs all of their directory with
    /// [`logrun_io::Disk::sync_tree`], says so by [`Self::synced_after_close`], and only then writes its checkpoints.
    pub fn close_unsynced(&mut self) -> Result<(), LogError> {
        self.write_for_close()?;
        self.drop_stray_snapshots()?;
        self.end();
        Ok(())
    }

    /// The caller has synced the directory of this log, which was closed unsynced: nothing of it needs a second look.
    pub fn synced_after_close(&mut self) {
        if self.offline {
            self.recovery_point = self.log_end_offset;
        }
    }

    fn write_for_close(&mut self) -> Result<(), LogError> {
        self.check_online()?;
        if !self.on_disk {
            return Ok(());
        }
        self.settle_replacement()?;
        self.write_queued()?;
        self.active_mut().seal()?;
        let mut written = Vec::new();
        self.active().shared.touch_indexes(&mut written)?;
        if !self.snapshots.contains(&self.log_end_offset) || self.producers.needs_snapshot() {
            self.producers.update_map_end_offset(self.log_end_offset);
            self.take_snapshot()?;
        }
        // All segments behind the recovery point; the time index may have got its last entry without a new record.
        let first = self.floor(self.recovery_point);
        for s in self.segments.range(first..).map(|(_, s)| s) {
            s.shared.persist_indexes(&mut written)?;
        }
        self.unsynced_files.extend(written);
        self.write_epochs()
    }

    /// Brings the segments' files to the log's end. Waits for the device.
    pub(crate) fn write_queued(&self) -> Result<(), LogError> {
        self.writer.flush()
    }

    fn end(&mut self) {
        self.tail.clear();
        self.release_idle();
        // Whatever comes now would not be covered by the clean shutdown.
        self.offline = true;
    }

    /// Writes `leader-epoch-checkpoint`, if it lacks anything.
    pub(crate) fn write_epochs(&mut self) -> Result<(), LogError> {
        if self.epochs_dirty {
            let text = self.epochs.encode();
            self.write_small_file(LEADER_EPOCH_CHECKPOINT, text.as_bytes())?;
            self.epochs_dirty = false;
        }
        Ok(())
    }

    /// The base offset of the segment that holds `offset`, or of the first one.
    pub(crate) fn floor(&self, offset: Offset) -> Offset {
        let before = self.segments.range(..=offset).next_back().map(|(o, _)| *o);
        before.unwrap_or_else(|| *self.segments.first_key_value().expect("a log has an active segment").0)
    }
}
