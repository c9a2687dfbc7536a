//! Cutting a log at its end: a follower whose log departs from its leader's (KIP-101), a quorum's replica,
//! a log that must begin anew.
//!
//! The order makes every crash leave a log that ends at or behind the cut without a hole: snapshots above
//! it first, then segments from the last one down, then the tail of the one that holds the offset. Each
//! step is on the device before the next. Bytes that readers hold already stay as they are.

use logrun_model::{Now, Offset};

use crate::error::{IoContext, LogError};
use crate::log::Log;
use crate::replay::load_producers;

impl Log {
    /// Removes everything at and after `offset`; nothing if the log ends there or before. Waits for the
    /// device. The caller writes the recovery-point checkpoint before the next append, and fails produces
    /// that wait for what is gone. Returns whether anything was cut.
    pub fn truncate_to(&mut self, offset: Offset, now: Now) -> Result<bool, LogError> {
        self.check_online()?;
        if !offset.is_some() {
            return Err(self.out_of_range(offset));
        }
        if offset >= self.log_end_offset {
            return Ok(false);
        }
        let first = *self.segments.first_key_value().expect("a log has an active segment").0;
        if offset < first {
            self.truncate_fully_and_start_at(offset, now)?;
            return Ok(true);
        }
        self.forget_journal()?;
        tracing::info!(dir = %self.dir.display(), from = %self.log_end_offset, to = %offset, "truncating the log");
        self.tail.clear();
        let result = self.cut_files(offset, now);
        // A cut that stopped half-way left files that don't match what is known here.
        self.offline |= result.is_err();
        result?;
        Ok(true)
    }

    fn cut_files(&mut self, offset: Offset, now: Now) -> Result<(), LogError> {
        self.drop_snapshots_above(offset)?;
        while let Some((&base, _)) = self.segments.last_key_value()
            && base > offset
        {
            self.remove_segment(base, now)?;
        }
        self.sync_dir()?;
        let active = self.active_mut();
        let position = active.position_of(offset)?;
        if position < active.size {
            active.cut(offset, position)?;
        }
        self.after_cut(offset);
        self.log_start_offset = self.log_start_offset.min(offset);
        self.epochs_dirty |= self.epochs.truncate_from_end(offset);
        self.write_epochs()?;
        let from = self.usable_snapshot(offset, false, now)?;
        load_producers(self, from, offset, now)?;
        Ok(())
    }

    /// Removes everything; the next record gets `offset`. Waits for the device. The caller writes the
    /// recovery-point and log-start checkpoints before the next append.
    pub fn truncate_fully_and_start_at(&mut self, offset: Offset, now: Now) -> Result<(), LogError> {
        self.check_online()?;
        if !offset.is_some() {
            return Err(self.out_of_range(offset));
        }
        self.forget_journal()?;
        tracing::info!(dir = %self.dir.display(), at = %offset, "truncating the whole log");
        self.tail.clear();
        let result = self.start_anew(offset, now);
        self.offline |= result.is_err();
        result
    }

    fn start_anew(&mut self, offset: Offset, now: Now) -> Result<(), LogError> {
        self.make()?;
        self.drop_snapshots_above(Offset(-1))?;
        // The one to come may have the name of one that goes.
        let bases: Vec<Offset> = self.segments.keys().rev().copied().collect();
        for base in bases {
            self.mark_segment_deleted(base, false, now)?;
        }
        self.sync_dir()?;
        self.segments.clear();
        let segment = self.make_segment(offset, now)?;
        self.segments.insert(offset, segment);
        self.sync_dir()?;
        self.after_cut(offset);
        self.log_start_offset = offset;
        self.epochs.clear();
        self.epochs_dirty = true;
        self.write_epochs()?;
        self.producers.truncate_fully_and_start_at(offset);
        Ok(())
    }

    /// Before segments' files are cut or replaced: see [`crate::writer::LogWriter::forget`].
    pub(crate) fn forget_journal(&self) -> Result<(), LogError> {
        self.writer.forget()
    }

    fn after_cut(&mut self, offset: Offset) {
        self.log_end_offset = offset;
        self.recovery_point = self.recovery_point.min(offset);
        self.flush_asked = self.flush_asked.min(offset);
        self.first_dirty = self.first_dirty.min(offset);
        self.sync.truncated(offset);
        self.tail.written_mark().set(offset);
        self.refresh_sealed();
    }

    fn drop_snapshots_above(&mut self, offset: Offset) -> Result<(), LogError> {
        let above: Vec<Offset> = self.snapshots.range(offset.next()..).copied().collect();
        for o in above {
            self.remove_snapshot(o)?;
        }
        Ok(())
    }

    fn sync_dir(&self) -> Result<(), LogError> {
        self.env.io.disk.sync_dir(&self.dir).during("sync", &self.dir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::support::{World, batch_at};

    #[test]
    fn cuts_within_and_across_segments() {
        for to in 0..=40 {
            let world = World::new(1);
            let mut log = world.open_small();
            for i in 0..20 {
                log.append(&[batch_at(i * 2, 2, 1 + (i / 5) as i32)], world.now()).unwrap();
            }
            assert!(log.segment_count() > 3);
            let held = log.read(Offset(0), Offset(40), 1 << 20, true).unwrap();
            let before: Vec<Vec<u8>> = held.slices.iter().map(|s| s.to_vec()).collect();
            log.truncate_to(Offset(to), world.now()).unwrap();
            assert_eq!(log.log_end_offset(), Offset(to));
            assert_eq!(held.slices, before);
            // A cut inside of a batch takes the whole batch and leaves a gap.
            let end = to - to % 2;
            let epoch = if end == 0 { None } else { Some(1 + ((end - 1) / 10) as i32) };
            assert_eq!(
                log.latest_epoch().map(|e| e.get()),
                epoch.max(if to % 10 == 1 { Some(1 + (to / 10) as i32) } else { None })
            );
            let read = world.read_all(&mut log);
            assert_eq!(read.last().map_or(0, |h| h.next_offset().get()), end);
            log.append(&[batch_at(to, 3, 9)], world.now()).unwrap();
            let read = world.read_all(&mut log);
            assert_eq!(read.last().unwrap().base_offset, Offset(to));
            log.close(world.now()).unwrap();
            let log = world.reopen_clean();
            assert_eq!(log.log_end_offset(), Offset(to + 3));
        }
    }

    #[test]
    fn begins_anew() {
        let world = World::new(1);
        let mut log = world.open_small();
        for i in 0..20 {
            log.append(&[batch_at(i * 2, 2, 1)], world.now()).unwrap();
        }
        log.truncate_fully_and_start_at(Offset(1000), world.now()).unwrap();
        assert_eq!((log.log_start_offset(), log.log_end_offset()), (Offset(1000), Offset(1000)));
        assert_eq!(log.latest_epoch(), None);
        log.append(&[batch_at(1000, 2, 3)], world.now()).unwrap();
        assert!(log.read(Offset(999), Offset(1002), 1000, true).is_err());
        log.truncate_to(Offset(7), world.now()).unwrap();
        assert_eq!((log.log_start_offset(), log.log_end_offset()), (Offset(7), Offset(7)));
    }
}
