//! [`Runs`]: what became of acquired records, as runs of offsets: how acknowledgements travel. Kafka's `Acknowledgements`.

use std::collections::BTreeMap;

use logrun_model::Offset;

/// What becomes of a record that was acquired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AcknowledgeType {
    /// It was processed.
    Accept,
    /// It wasn't; somebody may try again, until the group's limit of deliveries is reached.
    Release,
    /// It can't be processed, by anybody: it is not delivered again.
    Reject,
    /// It is still being processed: the acquisition lock begins anew, and the next poll gives the record again
    /// (KIP-1222).
    Renew,
}

impl AcknowledgeType {
    /// As it is on the wire.
    pub(crate) fn code(self) -> i8 {
        match self {
            Self::Accept => 1,
            Self::Release => 2,
            Self::Reject => 3,
            Self::Renew => 4,
        }
    }
}

/// The type of offsets that were acquired and have no record: transactions' markers, and what compaction removed.
pub(crate) const GAP: i8 = 0;

/// Offsets and their types, as runs that don't overlap: first offset to last offset and type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Runs(BTreeMap<i64, (i64, i8)>);

impl Runs {
    /// Adds a run that lies apart from all others.
    pub fn add(&mut self, first: Offset, last: Offset, kind: i8) {
        if let Some((before, (end, k))) = self.0.range_mut(..first.get()).next_back()
            && *k == kind
            && end.checked_add(1) == Some(first.get())
        {
            debug_assert!(*before < first.get());
            *end = last.get();
            return;
        }
        self.0.insert(first.get(), (last.get(), kind));
    }

    /// Adds all of another's.
    pub fn extend(&mut self, other: Self) {
        for (first, (last, kind)) in other.0 {
            self.add(Offset(first), Offset(last), kind);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether something is renewed, which a request has to say.
    pub fn has_renewals(&self) -> bool {
        self.0.values().any(|(_, kind)| *kind == AcknowledgeType::Renew.code())
    }

    /// First offset, last offset and type of each.
    pub fn iter(&self) -> impl Iterator<Item = (i64, i64, i8)> + '_ {
        self.0.iter().map(|(first, (last, kind))| (*first, *last, *kind))
    }

    /// Each offset: only of runs that are no longer than somebody has records.
    pub fn offsets(&self) -> Vec<Offset> {
        self.iter().flat_map(|(first, last, _)| (first..=last).map(Offset)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn neighbours_of_one_type_are_one_run() {
        let mut runs = Runs::default();
        for (offset, kind) in [(3, AcknowledgeType::Accept), (4, AcknowledgeType::Accept), (5, AcknowledgeType::Reject)]
        {
            runs.add(Offset(offset), Offset(offset), kind.code());
        }
        assert_eq!(runs.offsets(), [Offset(3), Offset(4), Offset(5)]);
        runs.add(Offset(6), Offset(i64::MAX), GAP);
        assert_eq!(runs.iter().collect::<Vec<_>>(), [(3, 4, 1), (5, 5, 3), (6, i64::MAX, 0)]);
        assert!(!runs.has_renewals());
    }

    proptest! {
        #[test]
        fn every_offset_keeps_its_type(types in proptest::collection::btree_map(0i64..60, 1i8..5, 0..40)) {
            let mut runs = Runs::default();
            for (offset, kind) in &types {
                runs.add(Offset(*offset), Offset(*offset), *kind);
            }
            let back: BTreeMap<i64, i8> = runs.iter().flat_map(|(a, b, k)| (a..=b).map(move |o| (o, k))).collect();
            prop_assert_eq!(back, types);
        }
    }
}
