//! Putting a compacted segment in the place of those that it stands for, so that every crash leaves the one or the
//! others (Kafka's `UnifiedLog.replaceSegments`; what a crash leaves is settled by [`crate::swap`]).
//!
//! | step | on disk | after a crash |
//! |---|---|---|
//! | written and synced | `.cleaned` | it goes |
//! | [`Log::replace_segments`], under the lock | `.swap`, the old ones `.deleted` | it takes their place, whichever are left |
//! | [`Replacement::sync`] | names on the device | |
//! | [`Log::settle_replacement`], under the lock | its own name | |
//!
//! Readers that hold the old segments go on: their files are open and their indexes in memory.
//!
//! A full disk may have no room for a name. Before the exchange the round is given up; in it the old segments are removed
//! at once instead of renamed, which needs no room; after it the new one keeps its name until the next round begins.

use logrun_io::Disk;
use logrun_model::Now;

use super::job::Source;
use crate::error::{IoContext, LogError};
use crate::log::Log;
use crate::names::SWAP_SUFFIX;
use crate::segment::Segment;

/// A compacted segment and those that it stands for.
#[derive(Debug)]
pub struct Replacement {
    pub(super) generation: u64,
    pub(super) cleaned: Segment,
    pub(super) old: Vec<Source>,
}

/// A replacement that is made, and not yet on the device.
#[derive(Debug)]
#[must_use = "the segment keeps a temporary name"]
pub struct Replaced {
    disk: std::sync::Arc<dyn Disk>,
    dir: std::path::PathBuf,
}

impl Replaced {
    /// Brings the names to the device. Waits for it.
    pub fn sync(&self) -> Result<(), LogError> {
        self.disk.sync_dir(&self.dir).during("sync", &self.dir)
    }
}

impl Log {
    /// Puts a compacted segment in place; `None` if the segments that it stands for are no longer all there, because
    /// the log was cut, moved, or lost some to retention: then its files are removed, and the round is to be given up.
    pub fn replace_segments(&mut self, new: Replacement, now: Now) -> Result<Option<Replaced>, LogError> {
        self.check_online()?;
        let Replacement { generation, cleaned, old } = new;
        let is_current = generation == self.sync.generation()
            && cleaned.shared.file.path().parent() == Some(&self.dir)
            && old.iter().all(|o| {
                self.segments.get(&o.shared.base_offset).is_some_and(|s| std::sync::Arc::ptr_eq(&s.shared, &o.shared))
            });
        if !is_current {
            cleaned.shared.remove_files()?;
            return Ok(None);
        }
        // What the journal says of the old segments must not be done to the new one.
        self.forget_journal()?;
        for o in &old {
            o.shared.pin(o.size)?;
        }
        let path = cleaned.shared.file.path();
        if let Err(e) = cleaned.shared.set_mark(SWAP_SUFFIX).during("rename", &path) {
            // The old ones are untouched. Where names have no room the new one goes, and a later round writes it again.
            let undone = e.is_retriable() && cleaned.shared.remove_files_half_marked(SWAP_SUFFIX).is_ok();
            self.offline |= !undone;
            return Err(e);
        }
        let result = self.exchange(cleaned, &old, now);
        // Half of it is done, and only a new start knows the other half.
        self.offline |= result.is_err();
        result.map(Some)
    }

    fn exchange(&mut self, cleaned: Segment, old: &[Source], now: Now) -> Result<Replaced, LogError> {
        let base_offset = cleaned.base_offset();
        for o in old {
            self.mark_segment_deleted(o.shared.base_offset, o.shared.base_offset == base_offset, now)?;
            self.segments.remove(&o.shared.base_offset);
        }
        if let Some(last) = old.last() {
            self.tail.forget_below(last.next_offset);
        }
        self.replaced.push(cleaned.shared.clone());
        self.segments.insert(base_offset, cleaned);
        self.refresh_sealed();
        self.sync.renamed_in(&self.dir);
        Ok(Replaced { disk: self.env.io.disk.clone(), dir: self.dir.clone() })
    }

    /// Gives the segments that were put in place their own names, once [`Replaced::sync`] has returned.
    pub fn settle_replacement(&mut self) -> Result<(), LogError> {
        while let Some(shared) = self.replaced.last() {
            // One that was deleted since has another mark, and keeps it.
            if self.segments.get(&shared.base_offset).is_some_and(|s| std::sync::Arc::ptr_eq(&s.shared, shared)) {
                let path = shared.file.path();
                shared.set_mark("").during("rename", &path)?;
                shared.release();
                self.sync.renamed_in(&self.dir);
            }
            self.replaced.pop();
        }
        Ok(())
    }
}
