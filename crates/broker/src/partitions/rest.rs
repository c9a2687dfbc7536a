//! A partition at rest: what is known of a log that is not open, and the way there.
//!
//! Most partitions of a large broker are idle. One that nobody uses costs an entry in a map: no log, no descriptor, no
//! file if it never took a record. Kafka opens every log at its start and keeps it open.

use std::sync::atomic::Ordering;

use logrun_log::{Log, LogError};
use logrun_model::{Monotonic, Now, Offset, TimestampMs};

use super::partition::Partition;

/// What is known of a log without opening it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AtRest {
    /// Whether it has a directory. One that never took a record has none.
    pub on_disk: bool,
    /// Everything in its files is sound and on the device, so that an opening need not check it.
    pub clean: bool,
    pub log_start_offset: Offset,
    pub recovery_point: Offset,
    pub high_watermark: Offset,
    /// Up to where it is compacted (exclusive); zero if none of it is.
    pub first_dirty: Offset,
    /// Compaction will have nothing to do in it while it is closed and its settings stay.
    pub compacted: bool,
    /// The bytes of its segments; `None` until somebody has asked.
    pub size: Option<u64>,
    /// Before this time no retention takes anything from it.
    pub retained_until: TimestampMs,
}

impl AtRest {
    /// A partition without a record.
    pub const NEW: Self = Self {
        on_disk: false,
        clean: true,
        log_start_offset: Offset::ZERO,
        recovery_point: Offset::ZERO,
        high_watermark: Offset::ZERO,
        first_dirty: Offset::ZERO,
        compacted: true,
        size: Some(0),
        retained_until: TimestampMs(i64::MAX),
    };

    /// What was found under other settings is worth nothing: retention and compaction look at the log again.
    pub(super) fn settings_changed(&mut self) {
        self.retained_until = TimestampMs(0);
        self.compacted = false;
    }
}

impl Partition {
    /// It was asked for just now.
    pub fn touch(&self, now: Monotonic) {
        self.last_used_ms.store(now.as_ms(), Ordering::Relaxed);
    }

    /// When it was last asked for, in milliseconds of the monotonic clock; the least number if never.
    pub fn last_used_ms(&self) -> i64 {
        self.last_used_ms.load(Ordering::Relaxed)
    }

    /// Whether it remembers any producer.
    pub fn has_producers(&self) -> bool {
        !self.state.lock().log.producers().is_empty()
    }

    /// Whether nothing is under way that a closed partition would lose.
    pub(super) fn may_rest(&self) -> bool {
        let state = self.state.lock();
        !state.waiters.any()
            && !state.commits.any()
            && state.replica.fetch_offsets().high_watermark == state.log.log_end_offset()
            && state.log.producers().first_unstable_offset().is_none()
            && state.log.next_removal().is_none()
            && is_compacted(&state.log)
    }

    /// What is known of it at this moment, should it be closed without more ado.
    pub fn at_rest(&self) -> AtRest {
        let state = self.state.lock();
        let offsets = state.replica.fetch_offsets();
        let first_dirty = state.log.first_dirty_offset();
        AtRest {
            on_disk: state.log.is_on_disk(),
            clean: false,
            log_start_offset: offsets.log_start_offset,
            recovery_point: state.log.recovery_point(),
            high_watermark: offsets.high_watermark,
            first_dirty: if first_dirty > offsets.log_start_offset { first_dirty } else { Offset::ZERO },
            compacted: false,
            size: Some(state.log.size()),
            retained_until: TimestampMs(0),
        }
    }

    /// Closes the log for good; waits for the device. After a failure it may still be online, and then must be kept: it
    /// may hold what its files do not have yet.
    pub fn close_to_rest(&self, now: Now) -> Result<AtRest, LogError> {
        let rest = self.at_rest();
        let mut state = self.state.lock();
        let retained_until = state.log.retained_until(rest.high_watermark, now)?;
        state.log.close(now)?;
        let recovery_point = state.log.recovery_point();
        Ok(AtRest { clean: true, compacted: true, recovery_point, retained_until, ..rest })
    }

    /// Whether the log takes requests, as far as it knows itself.
    pub fn is_online(&self) -> bool {
        self.state.lock().log.is_online()
    }

    /// Gives back descriptors and indexes; the next use takes them again.
    pub fn release_idle(&self) {
        self.state.lock().log.release_idle();
    }
}

/// Whether compaction has nothing to do in a log unless more is written: all but the active segment is compacted, and no
/// time will come at which the active one is to be closed for it.
fn is_compacted(log: &Log) -> bool {
    let config = log.config();
    !config.compact
        || log.log_end_offset() == log.log_start_offset()
        || (log.first_dirty_offset() >= log.active_base_offset() && config.max_compaction_lag_ms == i64::MAX)
}
