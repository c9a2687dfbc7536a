//! The index of aborted transactions (KIP-98, Kafka's `TransactionIndex` and `AbortedTxn`).
//!
//! ```text
//! entry:  0         2             10             18            26                   34
//!         | version | producer id | first offset | last offset | last stable offset |   big-endian
//! ```
//!
//! In the order of the abort markers (`last offset`). The file is there only if a transaction of the
//! segment was aborted.

use logrun_model::{Offset, ProducerId};

use super::{Entry, SegmentIndex};

/// A transaction that was aborted: its records between the two offsets are to be left out by those who
/// read only what is committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AbortedTxn {
    pub producer_id: ProducerId,
    pub first_offset: Offset,
    /// The offset of the abort marker.
    pub last_offset: Offset,
    /// Everything below was decided when the marker was written.
    pub last_stable_offset: Offset,
}

const VERSION: i16 = 0;

/// The aborted transactions whose markers are in one segment.
pub type TxnIndex = SegmentIndex<AbortedTxn>;

impl Entry for AbortedTxn {
    const BYTES: usize = 34;

    /// A transaction is the segment's that has its marker.
    fn offset(&self, _base_offset: Offset) -> Offset {
        self.last_offset
    }

    fn encode(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&VERSION.to_be_bytes());
        for n in
            [self.producer_id.get(), self.first_offset.get(), self.last_offset.get(), self.last_stable_offset.get()]
        {
            to.extend_from_slice(&n.to_be_bytes());
        }
    }
}

impl TxnIndex {
    /// Takes the entries of `file`; also says whether that was all of it. One that isn't whole must be built
    /// again from the batches, because an aborted transaction that it lacks would be read as committed.
    pub fn parse(base_offset: Offset, file: &[u8]) -> (Self, bool) {
        let mut list: Vec<AbortedTxn> = Vec::new();
        for e in file.chunks_exact(AbortedTxn::BYTES) {
            let (version, rest) = e.split_at(2);
            let n = |i: usize| rest[i * 8..i * 8 + 8].iter().fold(0u64, |n, b| n << 8 | u64::from(*b)) as i64;
            let txn = AbortedTxn {
                producer_id: ProducerId(n(0)),
                first_offset: Offset(n(1)),
                last_offset: Offset(n(2)),
                last_stable_offset: Offset(n(3)),
            };
            // Kafka reads entries of later versions too, as long as they begin alike.
            let sound = i16::from_be_bytes([version[0], version[1]]) >= VERSION
                && txn.last_offset >= base_offset
                && txn.first_offset <= txn.last_offset
                && list.last().is_none_or(|l| l.last_offset < txn.last_offset);
            if !sound {
                break;
            }
            list.push(txn);
        }
        Self::parsed(base_offset, list, file.len())
    }

    pub fn entries(&self) -> &[AbortedTxn] {
        &self.list
    }

    /// Adds a transaction whose marker has just been appended.
    pub fn append(&mut self, txn: AbortedTxn) {
        self.list.push(txn);
    }

    /// Collects into `found` what a reader of `from..to` must leave out; says whether later segments can't
    /// have any more.
    pub fn collect(&self, from: Offset, to: Offset, found: &mut Vec<AbortedTxn>) -> bool {
        for txn in &self.list {
            if txn.last_offset >= from && txn.first_offset < to {
                found.push(*txn);
            }
            // Everything before the last stable offset was decided when this marker was written.
            if txn.last_stable_offset >= to {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn txn(first: i64, last: i64, lso: i64) -> AbortedTxn {
        AbortedTxn {
            producer_id: ProducerId(first * 7),
            first_offset: Offset(first),
            last_offset: Offset(last),
            last_stable_offset: Offset(lso),
        }
    }

    #[test]
    fn finds_the_transactions_of_a_range() {
        let mut index = TxnIndex::new(Offset(0));
        for t in [txn(0, 10, 11), txn(5, 15, 13), txn(18, 35, 25), txn(32, 50, 35)] {
            index.append(t);
        }
        let find = |from, to| {
            let mut found = Vec::new();
            let done = index.collect(Offset(from), Offset(to), &mut found);
            (found.iter().map(|t| t.first_offset.get()).collect::<Vec<_>>(), done)
        };
        assert_eq!(find(0, 100), (vec![0, 5, 18, 32], false));
        assert_eq!(find(0, 32), (vec![0, 5, 18], true));
        assert_eq!(find(0, 35), (vec![0, 5, 18, 32], true));
        assert_eq!(find(10, 35), (vec![0, 5, 18, 32], true));
        assert_eq!(find(11, 35), (vec![5, 18, 32], true));
        assert_eq!(find(51, 100), (vec![], false));
        assert_eq!(find(0, 11), (vec![0], true));
    }

    #[test]
    fn cuts_from_the_end() {
        let mut index = TxnIndex::new(Offset(0));
        index.append(txn(0, 10, 11));
        index.append(txn(5, 15, 13));
        index.mark_persisted();
        index.truncate_to(Offset(15));
        assert_eq!(index.unwritten(), Some(crate::index::Missing { at: 34, bytes: vec![], len: 34, cut: true }));
    }

    proptest! {
        #[test]
        fn round_trips(steps in proptest::collection::vec((0i64..10, 1i64..10), 0..50)) {
            let mut index = TxnIndex::new(Offset(0));
            let mut last = 0;
            for (first, step) in steps {
                last += step;
                index.append(txn(first.min(last), last, first));
            }
            let file = index.unwritten().map_or(Vec::new(), |u| u.bytes);
            index.mark_persisted();
            prop_assert_eq!(TxnIndex::parse(Offset(0), &file), (index, true));
        }

        #[test]
        fn any_bytes_are_taken_or_left(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (index, whole) = TxnIndex::parse(Offset(0), &bytes);
            prop_assert!(!whole || index.entries().len() * AbortedTxn::BYTES == bytes.len());
        }
    }
}
