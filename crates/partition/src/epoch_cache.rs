//! Which leader epoch each offset of a log belongs to (Kafka's `LeaderEpochFileCache`, KIP-101, KIP-279).
//!
//! Entries are `(epoch, start offset)`, both rising. The end of an epoch is the start of the next; a follower or a
//! consumer that asks for it learns where its own log departs from the leader's.
//!
//! The file `leader-epoch-checkpoint` is text: `0`, the number of entries, then `epoch offset` on a line each.

use std::fmt::Write;

use logrun_model::{LeaderEpoch, Offset};
use thiserror::Error;

/// The first offset that was written in an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEntry {
    pub epoch: LeaderEpoch,
    pub start_offset: Offset,
}

/// Why a `leader-epoch-checkpoint` can't be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidEpochCheckpoint {
    #[error("line {line} of the leader epoch checkpoint is not {expected}")]
    Line { line: usize, expected: &'static str },
    #[error("the leader epoch checkpoint has version {0}, and only version 0 is known")]
    Version(String),
    #[error("the leader epoch checkpoint declares {declared} entries and has {found}")]
    Count { declared: usize, found: usize },
}

/// The epochs of one log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EpochCache {
    /// Rising in both epoch and offset.
    entries: Vec<EpochEntry>,
}

impl EpochCache {
    /// No epochs.
    pub const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// The cache that a checkpoint's text describes.
    pub fn decode(text: &str) -> Result<Self, InvalidEpochCheckpoint> {
        let line_error = |line, expected| InvalidEpochCheckpoint::Line { line, expected };
        let mut lines = text.lines();
        match lines.next().map(str::trim) {
            Some("0") => {}
            Some(version) => return Err(InvalidEpochCheckpoint::Version(version.chars().take(20).collect())),
            None => return Err(line_error(1, "a version")),
        }
        let declared: usize =
            lines.next().and_then(|l| l.trim().parse().ok()).ok_or(line_error(2, "a number of entries"))?;
        let mut cache = Self::new();
        let mut found = 0;
        for (line, text) in (3..).zip(lines) {
            if text.trim().is_empty() {
                continue;
            }
            let expected = line_error(line, "an epoch and an offset");
            let (epoch, offset) = text.trim().split_once(char::is_whitespace).ok_or(expected.clone())?;
            match (epoch.parse::<i32>(), offset.trim_start().parse::<i64>()) {
                (Ok(epoch @ 0..), Ok(offset @ 0..)) => cache.assign(LeaderEpoch(epoch), Offset(offset)),
                _ => return Err(expected),
            };
            found += 1;
        }
        if found != declared {
            return Err(InvalidEpochCheckpoint::Count { declared, found });
        }
        Ok(cache)
    }

    /// The checkpoint's text.
    pub fn encode(&self) -> String {
        let mut text = format!("0\n{}\n", self.entries.len());
        for e in &self.entries {
            writeln!(text, "{} {}", e.epoch, e.start_offset).expect("writing to a string can't fail");
        }
        text
    }

    /// From `start_offset` on records are of `epoch`. Entries that contradict it, which are never in the log any more,
    /// go. Returns whether anything changed, and the checkpoint has to be written.
    pub fn assign(&mut self, epoch: LeaderEpoch, start_offset: Offset) -> bool {
        if !epoch.is_some() || !start_offset.is_some() {
            return false;
        }
        if let Some(latest) = self.entries.last()
            && latest.epoch == epoch
            && latest.start_offset <= start_offset
        {
            return false;
        }
        while self.entries.pop_if(|e| e.epoch >= epoch || e.start_offset >= start_offset).is_some() {}
        self.entries.push(EpochEntry { epoch, start_offset });
        true
    }

    /// The end of `requested` or of the largest epoch below it, as `OffsetForLeaderEpoch` answers; both none if unknown.
    pub fn end_offset_for_epoch(&self, requested: LeaderEpoch, log_end_offset: Offset) -> (LeaderEpoch, Offset) {
        const UNDEFINED: (LeaderEpoch, Offset) = (LeaderEpoch::NONE, Offset::NONE);
        if !requested.is_some() {
            return UNDEFINED;
        }
        if self.latest_epoch() == Some(requested) {
            return (requested, log_end_offset);
        }
        let higher = self.entries.partition_point(|e| e.epoch <= requested);
        let Some(next) = self.entries.get(higher) else { return UNDEFINED };
        match higher.checked_sub(1) {
            // Older than all that is known: its records are deleted, and what's left begins with the next epoch.
            None => (requested, next.start_offset),
            Some(floor) => (self.entries[floor].epoch, next.start_offset),
        }
    }

    /// The epoch that the record at `offset` is of.
    pub fn epoch_for_offset(&self, offset: Offset) -> Option<LeaderEpoch> {
        let behind = self.entries.partition_point(|e| e.start_offset <= offset);
        behind.checked_sub(1).map(|i| self.entries[i].epoch)
    }

    /// The log now ends at `end_offset`: epochs that began there or later go. Returns whether any did.
    pub fn truncate_from_end(&mut self, end_offset: Offset) -> bool {
        let before = self.entries.len();
        if end_offset.is_some() {
            while self.entries.pop_if(|e| e.start_offset >= end_offset).is_some() {}
        }
        before != self.entries.len()
    }

    /// The log now begins at `start_offset`: older epochs go, and the one that holds the offset begins there. Returns
    /// whether anything changed.
    pub fn truncate_from_start(&mut self, start_offset: Offset) -> bool {
        let behind = self.entries.partition_point(|e| e.start_offset <= start_offset);
        let Some(first) = behind.checked_sub(1) else { return false };
        if first == 0 && self.entries[0].start_offset == start_offset {
            return false;
        }
        self.entries.drain(..first);
        self.entries[0].start_offset = start_offset;
        true
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// The epoch of the last assigned entry.
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|e| e.epoch)
    }

    pub fn latest_entry(&self) -> Option<EpochEntry> {
        self.entries.last().copied()
    }

    /// The largest known epoch below `epoch`.
    pub fn previous_epoch(&self, epoch: LeaderEpoch) -> Option<LeaderEpoch> {
        let at = self.entries.partition_point(|e| e.epoch < epoch);
        at.checked_sub(1).map(|i| self.entries[i].epoch)
    }

    /// All entries, rising.
    pub fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cache(entries: &[(i32, i64)]) -> EpochCache {
        let mut c = EpochCache::new();
        for &(e, o) in entries {
            c.assign(LeaderEpoch(e), Offset(o));
        }
        c
    }

    fn end(c: &EpochCache, epoch: i32) -> (i32, i64) {
        let (e, o) = c.end_offset_for_epoch(LeaderEpoch(epoch), Offset(100));
        (e.get(), o.get())
    }

    #[test]
    fn answers_as_kafka() {
        let c = cache(&[(2, 10), (4, 20), (7, 50)]);
        assert_eq!(end(&c, -1), (-1, -1));
        assert_eq!(end(&c, 1), (1, 10));
        assert_eq!(end(&c, 2), (2, 20));
        assert_eq!(end(&c, 3), (2, 20));
        assert_eq!(end(&c, 6), (4, 50));
        assert_eq!(end(&c, 7), (7, 100));
        assert_eq!(end(&c, 8), (-1, -1));
        assert_eq!(end(&EpochCache::new(), 0), (-1, -1));
        assert_eq!(c.epoch_for_offset(Offset(9)), None);
        assert_eq!(c.epoch_for_offset(Offset(19)), Some(LeaderEpoch(2)));
        assert_eq!(c.epoch_for_offset(Offset(500)), Some(LeaderEpoch(7)));
    }

    #[test]
    fn conflicting_entries_go() {
        let mut c = cache(&[(1, 0), (2, 10), (3, 20)]);
        assert!(!c.assign(LeaderEpoch(3), Offset(25)));
        assert!(c.assign(LeaderEpoch(4), Offset(20)));
        assert_eq!(c, cache(&[(1, 0), (2, 10), (4, 20)]));
        assert!(c.assign(LeaderEpoch(2), Offset(5)));
        assert_eq!(c, cache(&[(1, 0), (2, 5)]));
        assert!(!c.assign(LeaderEpoch(-1), Offset(5)));
    }

    #[test]
    fn truncates_at_both_ends() {
        let mut c = cache(&[(1, 0), (2, 10), (3, 20)]);
        assert!(c.truncate_from_start(Offset(15)));
        assert_eq!(c, cache(&[(2, 15), (3, 20)]));
        assert!(!c.truncate_from_start(Offset(15)));
        assert!(c.truncate_from_end(Offset(20)));
        assert_eq!(c, cache(&[(2, 15)]));
        assert!(!c.truncate_from_end(Offset(16)));
        assert!(c.truncate_from_end(Offset(0)));
        assert!(c.entries().is_empty());
    }

    #[test]
    fn reads_and_writes_kafkas_text() {
        let c = cache(&[(0, 0), (3, 17)]);
        assert_eq!(c.encode(), "0\n2\n0 0\n3 17\n");
        assert_eq!(EpochCache::decode("0\n2\n0 0\n3 17\n"), Ok(c));
        assert_eq!(EpochCache::decode("0\n0\n"), Ok(EpochCache::new()));
        for bad in
            ["", "1\n0\n", "0\n", "0\n-1\n", "0\n1\n", "0\n1\n1\n", "0\n1\n1 x\n", "0\n1\n-1 3\n", "0\n1\n1 2\n2 3\n"]
        {
            assert!(EpochCache::decode(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn stays_monotonic_and_agrees_with_a_model(ops in proptest::collection::vec((0u8..4, 0i32..6, 0i64..30), 0..40)) {
            let mut c = EpochCache::new();
            for (op, epoch, offset) in ops {
                match op {
                    0 | 1 => { c.assign(LeaderEpoch(epoch), Offset(offset)); }
                    2 => { c.truncate_from_end(Offset(offset)); }
                    _ => { c.truncate_from_start(Offset(offset)); }
                }
                let e = c.entries();
                prop_assert!(e.windows(2).all(|w| w[0].epoch < w[1].epoch && w[0].start_offset < w[1].start_offset));
                prop_assert_eq!(&EpochCache::decode(&c.encode()).unwrap(), &c);
                for o in 0..31 {
                    let model = e.iter().rev().find(|e| e.start_offset.get() <= o).map(|e| e.epoch);
                    prop_assert_eq!(c.epoch_for_offset(Offset(o)), model);
                }
            }
        }

        #[test]
        fn hostile_text_never_panics(text in ".{0,60}") {
            let _ = EpochCache::decode(&text);
            let _ = EpochCache::decode(&format!("0\n1\n{text}"));
        }
    }
}
