//! The time index: from a timestamp to an offset (Kafka's `TimeIndex`).
//!
//! ```text
//! entry:  0           8                12
//!         | timestamp | relative offset |      i64 and u32, big-endian
//! ```
//!
//! An entry says: up to and including this offset no record has a later timestamp. Timestamps rise
//! strictly, offsets rise.

use logrun_model::{Offset, TimestampMs};

use super::{Entries, Unwritten};

/// The length of an entry in bytes.
pub const TIME_ENTRY_BYTES: usize = 12;

/// A timestamp and the last offset of the batch that has it as its highest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampOffset {
    pub timestamp: TimestampMs,
    pub offset: Offset,
}

/// The time index of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeIndex {
    base_offset: Offset,
    /// (timestamp, relative offset).
    entries: Entries<(i64, u32)>,
}

impl TimeIndex {
    pub fn new(base_offset: Offset) -> Self {
        Self { base_offset, entries: Entries::default() }
    }

    /// Takes the entries at the front of `file` that can be a log's; also says whether that was all of it.
    pub fn parse(base_offset: Offset, file: &[u8]) -> (Self, bool) {
        let mut list: Vec<(i64, u32)> = Vec::new();
        for e in file.chunks_exact(TIME_ENTRY_BYTES) {
            let (t, o) = e.split_at(8);
            let entry = (be(t) as i64, be(o) as u32);
            let rises = match list.last() {
                Some(last) => entry.0 > last.0 && entry.1 >= last.1,
                // The zeros of a preallocated file.
                None => entry.0 >= 0 && entry != (0, 0),
            };
            if !rises {
                break;
            }
            list.push(entry);
        }
        let whole = list.len() * TIME_ENTRY_BYTES == file.len();
        let entries = Entries { persisted: list.len(), excess: !whole, list };
        (Self { base_offset, entries }, whole)
    }

    pub fn len(&self) -> usize {
        self.entries.list.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.list.is_empty()
    }

    /// The length of the index file.
    pub fn bytes(&self) -> u64 {
        (self.len() * TIME_ENTRY_BYTES) as u64
    }

    /// Whether one more entry, and the last one at closing, would exceed an index file of `bytes_max`.
    pub fn is_full(&self, bytes_max: u64) -> bool {
        ((self.len() + 2) * TIME_ENTRY_BYTES) as u64 > bytes_max
    }

    /// The last entry, or no timestamp at the segment's base offset.
    pub fn last(&self) -> TimestampOffset {
        self.at(self.len().checked_sub(1))
    }

    /// The last entry whose timestamp is at or before `timestamp`: records that are as late as it lie behind.
    pub fn lookup(&self, timestamp: TimestampMs) -> TimestampOffset {
        self.at(self.entries.list.partition_point(|e| e.0 <= timestamp.get()).checked_sub(1))
    }

    fn at(&self, i: Option<usize>) -> TimestampOffset {
        match i.map(|i| self.entries.list[i]) {
            Some((t, o)) => TimestampOffset { timestamp: TimestampMs(t), offset: self.base_offset.plus(i64::from(o)) },
            None => TimestampOffset { timestamp: TimestampMs::NONE, offset: self.base_offset },
        }
    }

    /// Adds `entry` if it is later than the last one.
    pub fn maybe_append(&mut self, entry: TimestampOffset) {
        let Ok(relative) = u32::try_from(entry.offset.distance_from(self.base_offset)) else { return };
        let timestamp = entry.timestamp.get();
        let rises = match self.entries.list.last() {
            Some(last) => timestamp > last.0 && relative >= last.1,
            None => timestamp > TimestampMs::NONE.get(),
        };
        if rises {
            self.entries.list.push((timestamp, relative));
        }
    }

    /// Drops the entries at and after `offset`.
    pub fn truncate_to(&mut self, offset: Offset) {
        let keep = self.entries.list.partition_point(|e| self.base_offset.plus(i64::from(e.1)) < offset);
        self.entries.truncate(keep);
    }

    /// Drops all entries.
    pub fn clear(&mut self) {
        self.entries.excess = true;
        self.entries.truncate(0);
        self.entries.persisted = 0;
    }

    /// What the file lacks; `None` if it's up to date.
    pub fn unwritten(&self) -> Option<Unwritten> {
        if !self.entries.is_dirty() {
            return None;
        }
        let new = &self.entries.list[self.entries.persisted..];
        let mut bytes = Vec::with_capacity(new.len() * TIME_ENTRY_BYTES);
        for (t, o) in new {
            bytes.extend_from_slice(&t.to_be_bytes());
            bytes.extend_from_slice(&o.to_be_bytes());
        }
        Some(Unwritten {
            at: (self.entries.persisted * TIME_ENTRY_BYTES) as u64,
            bytes,
            len: (self.len() * TIME_ENTRY_BYTES) as u64,
            cut: self.entries.excess,
        })
    }

    /// What [`Self::unwritten`] gave has been written.
    pub fn mark_persisted(&mut self) {
        self.entries.mark_persisted();
    }
}

fn be(b: &[u8]) -> u64 {
    b.iter().fold(0, |n, b| n << 8 | u64::from(*b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(t: i64, o: i64) -> TimestampOffset {
        TimestampOffset { timestamp: TimestampMs(t), offset: Offset(o) }
    }

    #[test]
    fn finds_where_to_begin() {
        let mut index = TimeIndex::new(Offset(100));
        assert_eq!(index.last(), entry(-1, 100));
        index.maybe_append(entry(1000, 110));
        index.maybe_append(entry(1000, 115));
        index.maybe_append(entry(900, 116));
        index.maybe_append(entry(2000, 120));
        assert_eq!(index.len(), 2);
        assert_eq!(index.lookup(TimestampMs(999)), entry(-1, 100));
        assert_eq!(index.lookup(TimestampMs(1000)), entry(1000, 110));
        assert_eq!(index.lookup(TimestampMs(9999)), entry(2000, 120));
        index.truncate_to(Offset(120));
        assert_eq!(index.last(), entry(1000, 110));
    }

    proptest! {
        #[test]
        fn round_trips(steps in proptest::collection::vec((1i64..1000, 0u32..1000), 0..100)) {
            let mut index = TimeIndex::new(Offset(50));
            let (mut t, mut o) = (1i64, 50i64);
            for (a, b) in steps {
                t += a;
                o += i64::from(b);
                index.maybe_append(entry(t, o));
            }
            let file = index.unwritten().map_or(Vec::new(), |u| u.bytes);
            index.mark_persisted();
            let (parsed, whole) = TimeIndex::parse(Offset(50), &file);
            prop_assert!(whole);
            prop_assert_eq!(parsed, index);
        }

        #[test]
        fn any_bytes_give_a_rising_index(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (index, _) = TimeIndex::parse(Offset(3), &bytes);
            prop_assert!(index.entries.list.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 <= w[1].1));
            let _ = (index.lookup(TimestampMs(0)), index.last(), index.unwritten());
        }
    }
}
