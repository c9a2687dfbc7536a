//! The offset index: from an offset to a place in the segment (Kafka's `OffsetIndex`).
//!
//! ```text
//! entry:  0                4          8
//!         | relative offset | position |      both u32, big-endian
//! ```
//!
//! The offset is the *last* offset of the batch that begins at the position, less the segment's base
//! offset. Both rise strictly. It's sparse: one entry in `index.interval.bytes`.

use logrun_model::Offset;

use super::{Entry, SegmentIndex};

/// (relative offset, position).
pub(crate) type OffsetEntry = (u32, u32);

/// The offset index of one segment.
pub type OffsetIndex = SegmentIndex<OffsetEntry>;

impl Entry for OffsetEntry {
    const BYTES: usize = 8;

    fn offset(&self, base_offset: Offset) -> Offset {
        base_offset.plus(i64::from(self.0))
    }

    fn encode(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.0.to_be_bytes());
        to.extend_from_slice(&self.1.to_be_bytes());
    }
}

impl OffsetIndex {
    /// Takes the entries at the front of `file` that can be a log's: rising, and inside a segment of
    /// `segment_len` bytes. A file that Kafka had preallocated ends in zeros.
    ///
    /// Also says whether that was all of the file; if not, the rest is cut off at the next write.
    pub fn parse(base_offset: Offset, file: &[u8], segment_len: u64) -> (Self, bool) {
        let mut list: Vec<(u32, u32)> = Vec::new();
        for e in file.chunks_exact(OffsetEntry::BYTES) {
            let (o, p) = e.split_at(4);
            let entry = (be(o), be(p));
            let rises = list.last().is_none_or(|last| entry.0 > last.0 && entry.1 > last.1);
            // Zeros are an entry only as the first: the batch at 0 is never indexed, so not even then.
            if !rises || entry == (0, 0) || u64::from(entry.1) >= segment_len {
                break;
            }
            list.push(entry);
        }
        Self::parsed(base_offset, list, file.len())
    }

    /// Whether one more entry would exceed an index file of `bytes_max`.
    pub fn is_full(&self, bytes_max: u64) -> bool {
        ((self.len() + 1) * OffsetEntry::BYTES) as u64 > bytes_max
    }

    /// The position from which to look for `offset`: that of the last entry at or before it, or 0.
    pub fn lookup(&self, offset: Offset) -> (Offset, u64) {
        let Ok(relative) = u32::try_from(offset.distance_from(self.base_offset)) else {
            // Before the segment, or further than any entry can be.
            return if offset < self.base_offset { (self.base_offset, 0) } else { self.last() };
        };
        match self.list.partition_point(|e| e.0 <= relative) {
            0 => (self.base_offset, 0),
            n => self.at(n - 1),
        }
    }

    /// The greatest position up to `position_max` of a batch before which all have offsets below `upper_bound`, as far as
    /// entries tell; else 0.
    pub fn last_at(&self, upper_bound: Offset, position_max: u64) -> u64 {
        let n =
            self.list.partition_point(|e| u64::from(e.1) <= position_max && e.offset(self.base_offset) <= upper_bound);
        n.checked_sub(1).map_or(0, |i| self.at(i).1)
    }

    /// The last entry, or the segment's beginning.
    pub fn last(&self) -> (Offset, u64) {
        match self.len() {
            0 => (self.base_offset, 0),
            n => self.at(n - 1),
        }
    }

    fn at(&self, i: usize) -> (Offset, u64) {
        let (o, p) = self.list[i];
        (self.base_offset.plus(i64::from(o)), u64::from(p))
    }

    /// Adds the batch that ends with `last_offset` and begins at `position`. One that does not rise above
    /// the last entry, or does not fit into 32 bits (a legacy segment), is left out.
    pub fn append(&mut self, last_offset: Offset, position: u64) {
        let relative = u32::try_from(last_offset.distance_from(self.base_offset));
        let (Ok(relative), Ok(position)) = (relative, u32::try_from(position)) else { return };
        if i32::try_from(relative).is_err() || (relative, position) == (0, 0) {
            return;
        }
        if self.list.last().is_none_or(|last| relative > last.0 && position > last.1) {
            self.list.push((relative, position));
        }
    }
}

fn be(b: &[u8]) -> u32 {
    b.iter().fold(0, |n, b| n << 8 | u32::from(*b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file_of(index: &OffsetIndex) -> Vec<u8> {
        let mut fresh = index.clone();
        fresh.persisted = 0;
        fresh.unwritten().map_or(Vec::new(), |u| u.bytes)
    }

    #[test]
    fn finds_the_entry_at_or_before() {
        let mut index = OffsetIndex::new(Offset(100));
        index.append(Offset(110), 4096);
        index.append(Offset(120), 8192);
        index.append(Offset(120), 9000);
        assert_eq!(index.len(), 2);
        assert_eq!(index.lookup(Offset(5)), (Offset(100), 0));
        assert_eq!(index.lookup(Offset(109)), (Offset(100), 0));
        assert_eq!(index.lookup(Offset(110)), (Offset(110), 4096));
        assert_eq!(index.lookup(Offset(119)), (Offset(110), 4096));
        assert_eq!(index.lookup(Offset(i64::MAX)), (Offset(120), 8192));
        let upto = |upper, position| index.last_at(Offset(upper), position);
        assert_eq!([upto(500, 4095), upto(500, 4096), upto(500, 9999), upto(119, 9999)], [0, 4096, 8192, 4096]);
        assert_eq!([upto(120, 9999), upto(109, 9999), upto(0, 0)], [8192, 0, 0]);
        index.truncate_to(Offset(120));
        assert_eq!(index.last(), (Offset(110), 4096));
    }

    #[test]
    fn takes_what_is_sound_of_a_preallocated_file() {
        let mut index = OffsetIndex::new(Offset(7));
        index.append(Offset(9), 100);
        index.append(Offset(20), 200);
        let mut file = file_of(&index);
        file.resize(1024, 0);
        let (parsed, whole) = OffsetIndex::parse(Offset(7), &file, 1000);
        assert!(!whole);
        assert_eq!(parsed.last(), (Offset(20), 200));
        assert_eq!(parsed.unwritten(), Some(crate::index::Missing { at: 16, bytes: vec![], len: 16, cut: true }));
        // Beyond the segment's end.
        assert_eq!(OffsetIndex::parse(Offset(7), &file, 150).0.len(), 1);
    }

    #[test]
    fn offsets_too_far_for_the_format_are_left_out() {
        let mut index = OffsetIndex::new(Offset(0));
        index.append(Offset(i64::from(i32::MAX) + 1), 10);
        index.append(Offset(5), 1 << 33);
        assert!(index.is_empty());
    }

    proptest! {
        #[test]
        fn round_trips(steps in proptest::collection::vec((1u32..1000, 1u32..10_000), 0..100)) {
            let mut index = OffsetIndex::new(Offset(50));
            let (mut o, mut p) = (50i64, 0u64);
            for (a, b) in steps {
                o += i64::from(a);
                p += u64::from(b);
                index.append(Offset(o), p);
            }
            let (mut parsed, whole) = OffsetIndex::parse(Offset(50), &file_of(&index), u64::MAX);
            prop_assert!(whole);
            prop_assert!(parsed.unwritten().is_none());
            index.mark_persisted();
            prop_assert_eq!(&parsed, &index);
            parsed.truncate_to(Offset(50 + o / 2));
            prop_assert!(parsed.last().0 < Offset(50 + o / 2) || parsed.is_empty());
        }

        #[test]
        fn any_bytes_give_a_rising_index(bytes in proptest::collection::vec(any::<u8>(), 0..200), len: u32) {
            let (index, _) = OffsetIndex::parse(Offset(3), &bytes, u64::from(len));
            prop_assert!(index.list.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 < w[1].1));
            let _ = (index.lookup(Offset(0)), index.lookup(Offset(i64::MAX)), index.unwritten());
        }
    }
}
