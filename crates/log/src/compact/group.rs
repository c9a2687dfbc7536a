//! Which segments are compacted into one (Kafka's `Cleaner.groupSegmentsBySize`), so that they don't become smaller
//! and smaller. Pure.

use std::ops::Range;

use logrun_model::Offset;

/// What of a segment decides with which others it goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    pub base_offset: Offset,
    /// The base offset of the next segment.
    pub next_offset: Offset,
    pub size: u64,
    pub index_bytes: u64,
    pub time_index_bytes: u64,
}

/// Splits `segments` into runs that fit into one segment of `segment_bytes` each, with indexes of `index_bytes`, and
/// with offsets that 32 bits count.
pub(crate) fn group(segments: &[Member], segment_bytes: u64, index_bytes: u64) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    let mut sum =
        Member { base_offset: Offset(0), next_offset: Offset(0), size: 0, index_bytes: 0, time_index_bytes: 0 };
    for (i, s) in segments.iter().enumerate() {
        let fits = sum.size + s.size <= segment_bytes
            && sum.index_bytes + s.index_bytes <= index_bytes
            && sum.time_index_bytes + s.time_index_bytes <= index_bytes
            // An empty one has no offset that must be counted.
            && (s.size == 0 || s.next_offset.get() - 1 - sum.base_offset.get() <= i64::from(i32::MAX));
        match groups.last_mut() {
            Some(last) if fits => {
                last.end = i + 1;
                sum.size += s.size;
                sum.index_bytes += s.index_bytes;
                sum.time_index_bytes += s.time_index_bytes;
            }
            _ => {
                groups.push(i..i + 1);
                sum = *s;
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn segments(list: &[(u64, i64)]) -> Vec<Member> {
        let mut at = 0;
        list.iter()
            .map(|(size, offsets)| {
                let base_offset = Offset(at);
                at += offsets;
                Member {
                    base_offset,
                    next_offset: Offset(at),
                    size: *size,
                    index_bytes: size / 10,
                    time_index_bytes: size / 5,
                }
            })
            .collect()
    }

    #[test]
    fn by_each_limit() {
        let all = segments(&[(50, 10), (50, 10), (1, 10), (100, 10), (0, 10), (30, 10)]);
        assert_eq!(group(&all, 100, 1000), [0..2, 2..3, 3..5, 5..6]);
        assert_eq!(group(&all, 1000, 20), [0..3, 3..5, 5..6]);
        assert_eq!(group(&all, 1000, 1000), vec![0..6; 1]);
        let far = segments(&[(1, 1 << 30), (1, 1 << 30), (1, 1), (0, 1 << 31), (1, 5)]);
        assert_eq!(group(&far, 1000, 1000), [0..2, 2..4, 4..5]);
        assert!(group(&[], 1, 1).is_empty());
    }

    proptest! {
        #[test]
        fn groups_follow_each_other(list in proptest::collection::vec((0u64..200, 1i64..1 << 31), 0..20)) {
            let all = segments(&list);
            let groups = group(&all, 300, 40);
            let flat: Vec<usize> = groups.iter().cloned().flatten().collect();
            prop_assert_eq!(flat, (0..all.len()).collect::<Vec<_>>());
            for g in groups.iter().filter(|g| g.len() > 1) {
                prop_assert!(all[g.clone()].iter().map(|s| s.size).sum::<u64>() <= 300);
            }
        }
    }
}
