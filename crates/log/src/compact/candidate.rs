//! Whether a log is worth a round, and how far one may go (Kafka's `LogCleanerManager.cleanableOffsets` and
//! `LogToClean`).
//!
//! ```text
//!  |---- compacted ----|---- cleanable ----|---- not yet ----|-- active --|
//!          first dirty offset     first uncleanable offset
//! ```
//!
//! Not yet: what is undecided or not committed, what is younger than `min.compaction.lag.ms`, what the device may not
//! have. Only whole segments, and never the active one.

use std::collections::BTreeMap;

use logrun_model::{Now, Offset};

use super::filter::LastRecord;
use super::job::{Compaction, CompactionLimits, Parts, Source};
use crate::error::LogError;
use crate::log::Log;
use crate::read::SegmentRef;

/// How much a log needs compaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactionNeed {
    /// Below this offset the log is compacted.
    pub first_dirty_offset: Offset,
    /// At this offset, where a segment begins, a round would end.
    pub first_uncleanable_offset: Offset,
    pub clean_bytes: u64,
    pub cleanable_bytes: u64,
    /// How long ago `max.compaction.lag.ms` was over for the oldest record; 0 if it isn't.
    pub overdue_ms: i64,
}

impl CompactionNeed {
    /// Which share of what a round would read is new.
    pub fn dirty_ratio(&self) -> f64 {
        match self.clean_bytes + self.cleanable_bytes {
            0 => 0.0,
            all => self.cleanable_bytes as f64 / all as f64,
        }
    }

    /// Whether a round is due, with `min.cleanable.dirty.ratio` as given.
    pub fn is_due(&self, min_cleanable_dirty_ratio: f64) -> bool {
        self.cleanable_bytes > 0 && (self.overdue_ms > 0 || self.dirty_ratio() > min_cleanable_dirty_ratio)
    }
}

impl Log {
    /// Below this offset (exclusive) the log is compacted; for the `cleaner-offset-checkpoint`.
    pub fn first_dirty_offset(&self) -> Offset {
        self.first_dirty
    }

    /// Where the active segment begins, which compaction leaves alone.
    pub fn active_base_offset(&self) -> Offset {
        self.active().base_offset()
    }

    /// What the `cleaner-offset-checkpoint` says. One that lies outside of the log counts for nothing.
    pub(crate) fn set_first_dirty_offset(&mut self, offset: Offset) {
        let inside = self.log_start_offset..=self.log_end_offset;
        self.first_dirty = if inside.contains(&offset) { offset } else { self.log_start_offset };
    }

    /// A round has ended.
    pub fn compacted(&mut self, report: &super::CompactionReport) {
        self.first_dirty = report.end_offset.clamp(self.log_start_offset, self.log_end_offset);
    }

    /// What a round would do, for a log whose records are all decided below `last_stable_offset`.
    pub fn compaction_need(&mut self, last_stable_offset: Offset, now: Now) -> Result<CompactionNeed, LogError> {
        self.check_online()?;
        self.first_dirty = self.first_dirty.max(self.log_start_offset);
        let first_dirty = self.first_dirty;
        let active = self.active().base_offset();
        let mut bound = last_stable_offset.min(self.recovery_point).min(active);
        let dirty: Vec<Offset> =
            self.segments.range(self.floor(first_dirty)..).map(|(o, _)| *o).filter(|o| *o < active).collect();
        if self.config.min_compaction_lag_ms > 0 {
            let young = now.wall.get().saturating_sub(self.config.min_compaction_lag_ms);
            for base in dirty.iter().take_while(|o| **o < bound) {
                let segment = self.segments.get_mut(base).expect("its key was just read");
                if segment.largest_timestamp()? > young {
                    bound = *base;
                    break;
                }
            }
        }
        // Whole segments only: the one that holds the bound is not cleanable either.
        let first_uncleanable = if bound >= active { active } else { self.floor(bound) };
        let first_uncleanable = first_uncleanable.max(self.floor(first_dirty));
        let mut need = CompactionNeed {
            first_dirty_offset: first_dirty,
            first_uncleanable_offset: first_uncleanable,
            clean_bytes: self.segments.range(..first_dirty).map(|(_, s)| s.size).sum(),
            cleanable_bytes: 0,
            overdue_ms: 0,
        };
        let from = self.floor(first_dirty).min(first_uncleanable);
        need.cleanable_bytes = self.segments.range(from..first_uncleanable).map(|(_, s)| s.size).sum();
        if self.config.max_compaction_lag_ms < i64::MAX {
            let until = now.wall.get().saturating_sub(self.config.max_compaction_lag_ms);
            for base in &dirty {
                let segment = self.segments.get_mut(base).expect("its key was just read");
                if let Some(first) = segment.first_timestamp()?
                    && first.get() > 0
                {
                    need.overdue_ms = need.overdue_ms.max(until.saturating_sub(first.get()));
                }
            }
        }
        Ok(need)
    }

    /// Begins a new segment if the active one has a record for which `max.compaction.lag.ms` is over: an idle log would
    /// else never be compacted. Kafka waits for the next append.
    pub fn roll_for_compaction(&mut self, now: Now) -> Result<bool, LogError> {
        if self.config.max_compaction_lag_ms == i64::MAX || self.active().size == 0 {
            return Ok(false);
        }
        let until = now.wall.get().saturating_sub(self.config.max_compaction_lag_ms);
        let first = self.active_mut().first_timestamp()?;
        if first.is_some_and(|t| t.get() > 0 && t.get() < until) { self.roll(now) } else { Ok(false) }
    }

    /// Plans a round; `None` if there is nothing that it could do.
    pub fn plan_compaction(
        &mut self,
        last_stable_offset: Offset,
        limits: CompactionLimits,
        now: Now,
    ) -> Result<Option<Compaction>, LogError> {
        // One that a full disk kept from getting its own name has the passing name that this round needs.
        self.settle_replacement()?;
        let need = self.compaction_need(last_stable_offset, now)?;
        if need.cleanable_bytes == 0 || need.first_dirty_offset >= need.first_uncleanable_offset {
            return Ok(None);
        }
        let bases: Vec<Offset> = self.segments.keys().copied().collect();
        let mut sources = Vec::new();
        for (i, base) in bases.iter().enumerate().take_while(|(_, b)| **b < need.first_uncleanable_offset) {
            let s = &self.segments[base];
            sources.push(Source {
                shared: s.shared.clone(),
                size: s.size,
                next_offset: bases.get(i + 1).copied().unwrap_or(self.log_end_offset),
                modified_ms: s.modified_ms,
            });
        }
        let behind = self.segments.range(need.first_uncleanable_offset..);
        let later = behind.map(|(_, s)| SegmentRef { shared: s.shared.clone(), size: s.size }).collect();
        let producers: BTreeMap<_, _> = self
            .producers
            .active_producers()
            .map(|p| {
                let last = LastRecord { last_data_offset: p.last_data_offset(), producer_epoch: p.producer_epoch };
                (p.producer_id, last)
            })
            .collect();
        let parts = Parts {
            env: self.env.clone(),
            config: self.config.clone(),
            generation: self.sync.generation(),
            sources,
            later,
            first_dirty: need.first_dirty_offset,
            first_uncleanable: need.first_uncleanable_offset,
            producers,
        };
        Ok(Some(Compaction::new(parts, limits, now)))
    }
}
