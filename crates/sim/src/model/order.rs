//! The records of one writer lie in the order in which it wrote them, as far as it waited for each before the next.

use std::collections::BTreeMap;

use super::{Audit, Checked, Partition, Violation};

/// The invariant's name.
const NAME: &str = "order";

/// Looks at where each record is first.
pub fn check(partition: &Partition, audit: &Audit) -> Checked {
    let mut highest: BTreeMap<u16, u32> = BTreeMap::new();
    let mut seen = std::collections::BTreeSet::new();
    for (offset, tag) in &audit.records {
        if !partition.writers.get(&tag.writer).is_some_and(|w| w.in_order) || !seen.insert(*tag) {
            continue;
        }
        match highest.get(&tag.writer) {
            // Behind what the log still has, an earlier copy may have been deleted.
            Some(high) if *high > tag.number && !was_deleted(partition, audit, *tag) => {
                return Err(Violation::new(NAME, format!("{tag} at {offset} lies behind the writer's #{high}")));
            }
            _ => {
                let high = highest.entry(tag.writer).or_default();
                *high = tag.number.max(*high);
            }
        }
    }
    Ok(())
}

fn was_deleted(partition: &Partition, audit: &Audit, tag: crate::tag::Tag) -> bool {
    let twice = partition.sent.get(&tag).is_some_and(|s| s.attempts > 1);
    twice && audit.log_start > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::partition::Writing;
    use crate::tag::Tag;

    #[test]
    fn a_record_overtaken_shows_and_a_late_copy_does_not() {
        let tag = |number| Tag { writer: 3, number };
        let mut p = Partition::default();
        p.writer(3, Writing { idempotent: false, in_order: true });
        let audit =
            |tags: &[u32]| Audit { records: (0..).zip(tags.iter().map(|n| tag(*n))).collect(), ..Audit::default() };
        check(&p, &audit(&[0, 0, 1, 0, 2])).unwrap();
        assert_eq!(check(&p, &audit(&[0, 2, 1])).unwrap_err().invariant, NAME);
        p.writer(3, Writing::default());
        check(&p, &audit(&[0, 2, 1])).unwrap();
    }
}
