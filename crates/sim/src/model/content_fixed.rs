//! An offset is never used for two records: what it once held, by an acknowledgement or by a read, it holds for ever.

use std::collections::btree_map::Entry;

use super::{Checked, Partition, Violation};
use crate::tag::Tag;

/// The invariant's name.
const NAME: &str = "content_fixed";

/// `offset` holds `tag`.
pub fn holds(partition: &mut Partition, offset: i64, tag: Tag) -> Checked {
    match partition.content.entry(offset) {
        Entry::Vacant(free) => {
            free.insert(tag);
            partition.places.entry(tag).or_insert(offset);
            Ok(())
        }
        Entry::Occupied(known) if *known.get() == tag => Ok(()),
        Entry::Occupied(known) => {
            Err(Violation::new(NAME, format!("offset {offset} held {} and now holds {tag}", known.get())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_keeps_its_record() {
        let mut p = Partition::default();
        let tag = |number| Tag { writer: 0, number };
        holds(&mut p, 5, tag(1)).unwrap();
        holds(&mut p, 5, tag(1)).unwrap();
        assert_eq!(holds(&mut p, 5, tag(2)).unwrap_err().invariant, NAME);
    }
}
