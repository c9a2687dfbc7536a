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

use super::{Entry, SegmentIndex};

/// A timestamp and the last offset of the batch that has it as its highest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampOffset {
    pub timestamp: TimestampMs,
    pub offset: Offset,
}

/// (timestamp, relative offset).
pub(crate) type TimeEntry = (i64, u32);

/// The time index of one segment.
pub type TimeIndex = SegmentIndex<TimeEntry>;

impl Entry for TimeEntry {
    const BYTES: usize = 12;

    fn offset(&self, base_offset: Offset) -> Offset {
        base_offset.plus(i64::from(self.1))
    }

    fn encode(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.0.to_be_bytes());
        to.extend_from_slice(&self.1.to_be_bytes());
    }
}

impl TimeIndex {
    /// Takes the entries at the front of `file` that can be a log's; also says whether that was all of it.
    pub fn parse(base_offset: Offset, file: &[u8]) -> (Self, bool) {
        let mut list: Vec<(i64, u32)> = Vec::new();
        for e in file.chunks_exact(TimeEntry::BYTES) {
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
        Self::parsed(base_offset, list, file.len())
    }

    /// Whether one more entry, and the last one at closing, would exceed an index file of `bytes_max`.
    pub fn is_full(&self, bytes_max: u64) -> bool {
        ((self.len() + 2) * TimeEntry::BYTES) as u64 > bytes_max
    }

    /// The last entry, or no timestamp at the segment's base offset.
    pub fn last(&self) -> TimestampOffset {
        self.at(self.len().checked_sub(1))
    }

    /// The last entry whose timestamp is at or before `timestamp`: records that are as late as it lie behind.
    pub fn lookup(&self, timestamp: TimestampMs) -> TimestampOffset {
        self.at(self.list.partition_point(|e| e.0 <= timestamp.get()).checked_sub(1))
    }

    fn at(&self, i: Option<usize>) -> TimestampOffset {
        match i.map(|i| self.list[i]) {
            Some((t, o)) => TimestampOffset { timestamp: TimestampMs(t), offset: self.base_offset.plus(i64::from(o)) },
            None => TimestampOffset { timestamp: TimestampMs::NONE, offset: self.base_offset },
        }
    }

    /// Adds `entry` if it is later than the last one.
    pub fn maybe_append(&mut self, entry: TimestampOffset) {
        let Ok(relative) = u32::try_from(entry.offset.distance_from(self.base_offset)) else { return };
        let timestamp = entry.timestamp.get();
        let rises = match self.list.last() {
            Some(last) => timestamp > last.0 && relative >= last.1,
            None => timestamp > TimestampMs::NONE.get(),
        };
        if rises {
            self.list.push((timestamp, relative));
        }
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
            prop_assert!(index.list.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 <= w[1].1));
            let _ = (index.lookup(TimestampMs(0)), index.last(), index.unwritten());
        }
    }
}
