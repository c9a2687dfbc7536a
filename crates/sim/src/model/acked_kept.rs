//! No acknowledged record is lost: it is in the log at the offset that the acknowledgement named, until it is
//! deleted by somebody's wish.

use std::collections::BTreeSet;

use super::{Audit, Checked, Fate, Partition, Violation};

/// The invariant's name.
const NAME: &str = "acked_kept";

/// Looks for every acknowledged record in the whole log.
pub fn check(partition: &Partition, audit: &Audit) -> Checked {
    let there: BTreeSet<_> = audit.records.iter().copied().collect();
    let tags: BTreeSet<_> = audit.records.iter().map(|(_, tag)| *tag).collect();
    for (tag, sent) in &partition.sent {
        let kept = match sent.fate {
            Fate::Acked(Some(offset)) => offset < audit.log_start || there.contains(&(offset, *tag)),
            // It may have been deleted wherever it was.
            Fate::Acked(None) => audit.log_start > 0 || tags.contains(tag),
            Fate::Unknown | Fate::Refused => true,
        };
        if !kept {
            return Err(Violation::new(
                NAME,
                format!(
                    "{tag} was acknowledged ({:?}) and is not in the log, which has {} to {}",
                    sent.fate, audit.log_start, audit.log_end
                ),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Durability;
    use crate::tag::Tag;

    #[test]
    fn a_lost_record_is_missed_and_a_deleted_one_is_not() {
        let tag = Tag { writer: 0, number: 0 };
        let mut p = Partition::default();
        p.sending(&[tag]);
        check(&p, &Audit::default()).unwrap();
        p.acked(Some(0), &[tag], Durability::Write).unwrap();
        assert_eq!(check(&p, &Audit::default()).unwrap_err().invariant, NAME);
        check(&p, &Audit { log_start: 1, log_end: 1, ..Audit::default() }).unwrap();
        check(&p, &Audit { log_end: 1, records: vec![(0, tag)], ..Audit::default() }).unwrap();
    }
}
