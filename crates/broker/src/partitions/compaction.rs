//! What compaction asks of a partition: how much it needs it, a round over its log, the exchange of its segments.

use logrun_log::{Compaction, CompactionLimits, CompactionNeed, CompactionReport, LogError, Replacement};
use logrun_model::{Now, Offset};

use super::partition::Partition;

impl Partition {
    /// How much the log needs compaction. An idle one gets a new segment first, if `max.compaction.lag.ms` asks for it.
    pub fn compaction_need(&self, now: Now) -> Result<CompactionNeed, LogError> {
        let mut state = self.state.lock();
        state.log.roll_for_compaction(now)?;
        let decided = state.replica.fetch_offsets().last_stable_offset;
        state.log.compaction_need(decided, now)
    }

    /// Begins a new segment, so that all that is there now can be compacted; says up to where that is. All of it is on the
    /// device then: what isn't is not compacted, and the next flush may be far. Waits for the disk.
    pub fn roll(&self, now: Now) -> Result<Offset, LogError> {
        let end = {
            let mut state = self.state.lock();
            state.log.roll(now)?;
            state.log.log_end_offset()
        };
        self.flush()?;
        Ok(end)
    }

    /// Plans a round over what is decided, and on the device; `None` if there is nothing to do. Waits for the disk.
    pub fn plan_compaction(&self, limits: CompactionLimits) -> Result<Option<Compaction>, LogError> {
        // Names too: what a round that failed has left there is settled on the device before the next begins.
        self.state.lock().log.settle_replacement()?;
        self.flush()?;
        let now = self.io.clock.read();
        let mut state = self.state.lock();
        let decided = state.replica.fetch_offsets().last_stable_offset;
        state.log.plan_compaction(decided, limits, now)
    }

    /// Puts a compacted segment in its place; false if the round has been overtaken and is to be given up. Waits for the
    /// disk, without the lock where that takes long.
    pub fn replace_segments(&self, replacement: Replacement) -> Result<bool, LogError> {
        let now = self.io.clock.read();
        let Some(replaced) = self.state.lock().log.replace_segments(replacement, now)? else { return Ok(false) };
        replaced.sync()?;
        self.state.lock().log.settle_replacement()?;
        Ok(true)
    }

    /// A round has ended.
    pub fn compacted(&self, report: &CompactionReport) {
        self.state.lock().log.compacted(report);
    }

    /// Where the uncompacted part of the log begins.
    pub fn first_dirty_offset(&self) -> Offset {
        self.state.lock().log.first_dirty_offset()
    }

    /// Where the active segment begins, which compaction leaves alone.
    pub fn active_segment(&self) -> Offset {
        self.state.lock().log.active_base_offset()
    }
}
