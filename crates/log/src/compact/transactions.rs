//! Which transactions a walk over the log is in, and when their markers may go (Kafka's `CleanedTransactionMetadata`).
//!
//! Nothing undecided is ever walked over, so that of every record it is known beforehand, from the transaction
//! indexes, whether it was aborted. A marker stays until a walk sees no batch of its transaction any more.

use std::collections::{BTreeMap, BTreeSet};

use logrun_model::{Offset, ProducerId};
use logrun_record::ControlRecordType;

use crate::index::AbortedTxn;

/// The transactions around the present place of a walk.
#[derive(Debug, Default)]
pub(crate) struct CleanedTransactions {
    /// Aborted ones that begin further on, by their first offsets.
    to_come: BTreeMap<(Offset, ProducerId), AbortedTxn>,
    /// Aborted ones that have begun, and whether a batch of theirs was seen.
    aborted: BTreeMap<ProducerId, (AbortedTxn, bool)>,
    /// Producers of whose committed transactions a batch was seen.
    committed: BTreeSet<ProducerId>,
}

/// What a marker's end of its transaction means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EndedTxn {
    /// No batch of it is left: the marker may go once its time has come.
    pub is_empty: bool,
    /// To be kept in the index of the new segment.
    pub still_aborted: Option<AbortedTxn>,
}

impl CleanedTransactions {
    /// A walk in whose way the transactions `aborted` lie.
    pub fn new(aborted: &[AbortedTxn]) -> Self {
        let to_come = aborted.iter().map(|t| ((t.first_offset, t.producer_id), *t)).collect();
        Self { to_come, ..Self::default() }
    }

    /// A control batch of `producer_id` that ends at `last_offset`; `None` stands for one without a record.
    pub fn on_control(
        &mut self,
        producer_id: ProducerId,
        last_offset: Offset,
        control: Option<ControlRecordType>,
    ) -> EndedTxn {
        self.begin_up_to(last_offset);
        let is_empty = match control {
            Some(ControlRecordType::Abort) => {
                let still_aborted = self.aborted.remove(&producer_id).and_then(|(txn, seen)| seen.then_some(txn));
                return EndedTxn { is_empty: still_aborted.is_none(), still_aborted };
            }
            Some(ControlRecordType::Commit) => !self.committed.remove(&producer_id),
            // What a quorum writes stays.
            Some(_) => false,
            // It was emptied by an earlier compaction.
            None => true,
        };
        EndedTxn { is_empty, still_aborted: None }
    }

    /// A data batch that ends at `last_offset`; says whether it was aborted.
    pub fn on_batch(&mut self, producer_id: ProducerId, last_offset: Offset, transactional: bool) -> bool {
        self.begin_up_to(last_offset);
        if !transactional {
            return false;
        }
        match self.aborted.get_mut(&producer_id) {
            Some((_, seen)) => {
                *seen = true;
                true
            }
            None => {
                self.committed.insert(producer_id);
                false
            }
        }
    }

    fn begin_up_to(&mut self, offset: Offset) {
        while let Some(entry) = self.to_come.first_entry()
            && entry.key().0 <= offset
        {
            let txn = entry.remove();
            self.aborted.entry(txn.producer_id).or_insert((txn, false));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: ProducerId = ProducerId(7);

    fn txn(first: i64, last: i64) -> AbortedTxn {
        AbortedTxn {
            producer_id: P,
            first_offset: Offset(first),
            last_offset: Offset(last),
            last_stable_offset: Offset(last),
        }
    }

    #[test]
    fn an_aborted_transaction_goes_and_its_marker_stays_for_one_more_round() {
        let list = [txn(10, 20)];
        let mut walk = CleanedTransactions::new(&list);
        assert!(!walk.on_batch(P, Offset(9), true));
        let committed = walk.on_control(P, Offset(9), Some(ControlRecordType::Commit));
        assert!(!committed.is_empty);
        assert!(walk.on_batch(P, Offset(12), true));
        assert!(!walk.on_batch(ProducerId(8), Offset(13), true));
        assert!(!walk.on_batch(P, Offset(14), false));
        let ended = walk.on_control(P, Offset(20), Some(ControlRecordType::Abort));
        assert_eq!(ended, EndedTxn { is_empty: false, still_aborted: Some(list[0]) });
        // The next round finds no batch.
        let mut walk = CleanedTransactions::new(&list);
        let ended = walk.on_control(P, Offset(20), Some(ControlRecordType::Abort));
        assert_eq!(ended, EndedTxn { is_empty: true, still_aborted: None });
    }

    #[test]
    fn a_commit_marker_goes_when_nothing_of_its_transaction_is_left() {
        let mut walk = CleanedTransactions::new(&[]);
        assert!(walk.on_control(P, Offset(3), Some(ControlRecordType::Commit)).is_empty);
        assert!(walk.on_control(P, Offset(4), None).is_empty);
        assert!(!walk.on_control(P, Offset(5), Some(ControlRecordType::LeaderChange)).is_empty);
    }
}
