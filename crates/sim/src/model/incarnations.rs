//! A topic begins empty: no record of a topic that had its name before is in it, and what was acknowledged to be
//! written to it is.

use std::collections::BTreeMap;

use logrun_model::Uuid;

use super::{Checked, Violation};
use crate::tag::Tag;

/// The invariant's name.
const NAME: &str = "incarnations";
/// The writers of the incarnations are numbered from here on.
const FIRST_WRITER: u16 = 1_000;

/// The topics that come and go, by their ids.
#[derive(Debug, Default)]
pub struct Incarnations {
    of: BTreeMap<Uuid, Incarnation>,
}

#[derive(Debug)]
struct Incarnation {
    writer: u16,
    next_number: u32,
    /// What was acknowledged, by offset.
    acked: BTreeMap<i64, u32>,
    /// Up to where somebody asked to delete.
    delete_asked: i64,
}

impl Incarnations {
    /// The tags of the next `count` records of the topic.
    pub fn next_tags(&mut self, id: Uuid, count: u32) -> Vec<Tag> {
        let writer = FIRST_WRITER + self.of.len() as u16;
        let topic = self.of.entry(id).or_insert_with(|| Incarnation {
            writer,
            next_number: 0,
            acked: BTreeMap::new(),
            delete_asked: 0,
        });
        let first = topic.next_number;
        topic.next_number += count;
        (first..topic.next_number).map(|number| Tag { writer: topic.writer, number }).collect()
    }

    /// Records were acknowledged from offset `base` on.
    pub fn acked(&mut self, id: Uuid, base: i64, tags: &[Tag]) {
        if let Some(topic) = self.of.get_mut(&id) {
            topic.acked.extend((base..).zip(tags).map(|(offset, tag)| (offset, tag.number)));
        }
    }

    /// Where the acknowledged records end.
    pub fn end(&self, id: Uuid) -> i64 {
        self.of.get(&id).and_then(|topic| topic.acked.last_key_value()).map_or(0, |(offset, _)| offset + 1)
    }

    /// Somebody asks to delete what lies below `offset`.
    pub fn delete_asked(&mut self, id: Uuid, offset: i64) {
        if let Some(topic) = self.of.get_mut(&id) {
            topic.delete_asked = topic.delete_asked.max(offset);
        }
    }

    /// The topic was read from its beginning, `start`, to the high watermark.
    pub fn read(&self, id: Uuid, start: i64, records: &[(i64, Tag)]) -> Checked {
        let delete_asked = self.of.get(&id).map_or(0, |topic| topic.delete_asked);
        if start > delete_asked {
            return Err(Violation::new(NAME, format!("{id} starts at {start}, and {delete_asked} was asked for")));
        }
        let Some(topic) = self.of.get(&id) else {
            return match records.first() {
                None => Ok(()),
                Some((offset, tag)) => {
                    Err(Violation::new(NAME, format!("{id} was never written and has {tag} at {offset}")))
                }
            };
        };
        for (offset, tag) in records {
            if tag.writer != topic.writer || tag.number >= topic.next_number {
                let text = format!("{id} is written by w{} and has {tag} at {offset}", topic.writer);
                return Err(Violation::new(NAME, text));
            }
        }
        let there: BTreeMap<i64, u32> = records.iter().map(|(offset, tag)| (*offset, tag.number)).collect();
        for (offset, number) in topic.acked.range(start..) {
            if there.get(offset) != Some(number) {
                let text = format!("{id} lacks #{number}, which was acknowledged at {offset}; it has {there:?}");
                return Err(Violation::new(NAME, text));
            }
        }
        Ok(())
    }

    /// A power cut may have taken what was acknowledged.
    pub fn may_have_lost(&mut self) {
        self.of.values_mut().for_each(|topic| topic.acked.clear());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_has_its_own_records_only() {
        let id = |n: u128| Uuid::from_random(n << 64 | 0x8000_0000_0000_0000 | n).unwrap();
        let mut i = Incarnations::default();
        let old = i.next_tags(id(1), 2);
        let new = i.next_tags(id(2), 1);
        i.read(id(1), 0, &[]).unwrap();
        i.acked(id(1), 0, &old);
        i.read(id(1), 0, &[(0, old[0]), (1, old[1])]).unwrap();
        assert_eq!(i.read(id(1), 0, &[(0, old[0])]).unwrap_err().invariant, NAME);
        i.read(id(2), 0, &[(0, new[0])]).unwrap();
        assert_eq!(i.read(id(2), 0, &[(0, old[0])]).unwrap_err().invariant, NAME);
        assert_eq!(i.read(id(3), 0, &[(0, old[0])]).unwrap_err().invariant, NAME);
        assert_eq!((i.end(id(1)), i.end(id(2))), (2, 0));
        assert_eq!(i.read(id(1), 1, &[(1, old[1])]).unwrap_err().invariant, NAME);
        i.delete_asked(id(1), 1);
        i.read(id(1), 1, &[(1, old[1])]).unwrap();
        i.may_have_lost();
        i.read(id(1), 0, &[]).unwrap();
    }
}
