//! How often a record may be there: an idempotent writer's once, another's at most as often as it was sent, and one
//! that was refused or never sent not at all.

use std::collections::BTreeMap;

use super::{Audit, Checked, Fate, Partition, Violation};
use crate::tag::Tag;

/// The invariant's name.
const NAME: &str = "once";

/// A record that was read must have been sent and not refused.
pub fn was_sent(partition: &Partition, offset: i64, tag: Tag) -> Checked {
    match partition.sent.get(&tag).map(|s| s.fate) {
        None => Err(Violation::new(NAME, format!("{tag} at {offset} was never sent here"))),
        Some(Fate::Refused) => Err(Violation::new(NAME, format!("{tag} at {offset} was refused"))),
        Some(_) => Ok(()),
    }
}

/// An idempotent writer's record is not anywhere but at `offset`.
pub fn at_one_place(partition: &Partition, offset: i64, tag: Tag) -> Checked {
    let idempotent = partition.writers.get(&tag.writer).is_some_and(|w| w.idempotent);
    if !idempotent {
        return Ok(());
    }
    match partition.places.get(&tag) {
        Some(other) if *other != offset => {
            Err(Violation::new(NAME, format!("{tag} of an idempotent producer is at {other} and at {offset}")))
        }
        _ => Ok(()),
    }
}

/// Counts the records of the whole log.
pub fn check(partition: &Partition, audit: &Audit) -> Checked {
    let mut counts: BTreeMap<Tag, u32> = BTreeMap::new();
    for (_, tag) in &audit.records {
        *counts.entry(*tag).or_default() += 1;
    }
    for (tag, count) in counts {
        let idempotent = partition.writers.get(&tag.writer).is_some_and(|w| w.idempotent);
        let most = if idempotent { 1 } else { partition.sent.get(&tag).map_or(0, |s| s.attempts) };
        if count > most {
            return Err(Violation::new(NAME, format!("{tag} is there {count} times; at most {most} can be")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::partition::Writing;
    use crate::plan::Durability;

    #[test]
    fn duplicates_need_retries_of_a_writer_that_is_not_idempotent() {
        let tag = Tag { writer: 0, number: 0 };
        let twice = Audit { log_end: 2, records: vec![(0, tag), (1, tag)], ..Audit::default() };
        let mut p = Partition::default();
        assert_eq!(was_sent(&p, 0, tag).unwrap_err().invariant, NAME);
        p.sending(&[tag]);
        assert_eq!(check(&p, &twice).unwrap_err().invariant, NAME);
        p.sending(&[tag]);
        check(&p, &twice).unwrap();
        p.writer(0, Writing { idempotent: true, in_order: true });
        assert_eq!(check(&p, &twice).unwrap_err().invariant, NAME);
        p.acked(Some(0), &[tag], Durability::Write).unwrap();
        assert_eq!(p.acked(Some(1), &[tag], Durability::Write).unwrap_err().invariant, NAME);
    }

    #[test]
    fn what_was_refused_is_not_there() {
        let tag = Tag { writer: 0, number: 0 };
        let mut p = Partition::default();
        p.sending(&[tag]);
        p.refused(&[tag]);
        assert_eq!(was_sent(&p, 0, tag).unwrap_err().invariant, NAME);
    }
}
