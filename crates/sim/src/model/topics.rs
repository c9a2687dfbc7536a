//! Topics are what they were acknowledged to be, through every restart, and a topic id is never used twice.
//!
//! | known     | created      | deleted      | answer lost | seen with an id     | seen to be absent |
//! |-----------|--------------|--------------|-------------|---------------------|-------------------|
//! | absent    | exists       | violation    | unknown     | violation           | absent            |
//! | exists    | violation    | absent       | unknown     | the same id or none | violation         |
//! | unknown   | exists       | absent       | unknown     | exists              | absent            |

use std::collections::{BTreeMap, BTreeSet};

use logrun_model::{Str, Uuid};

use super::{Checked, Violation};

/// The invariant's name.
const NAME: &str = "topics";

/// Whether a topic is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Known {
    #[default]
    Absent,
    Exists(Uuid),
    /// A request that makes or deletes it had no answer; before that it had this id.
    Unknown(Option<Uuid>),
}

/// All topics that the workloads ever named.
#[derive(Debug, Default)]
pub struct Topics {
    known: BTreeMap<Str, Known>,
    ids: BTreeSet<Uuid>,
    partitions: BTreeMap<Str, i32>,
}

impl Topics {
    pub fn get(&self, name: &Str) -> Known {
        self.known.get(name).copied().unwrap_or_default()
    }

    /// All names with what is known.
    pub fn all(&self) -> impl Iterator<Item = (&Str, Known)> {
        self.known.iter().map(|(n, k)| (n, *k))
    }

    fn new_id(&mut self, name: &Str, id: Uuid) -> Checked {
        if id.is_zero() || !self.ids.insert(id) {
            return Err(Violation::new(NAME, format!("{name} was given the id {id}, which is not new")));
        }
        self.known.insert(name.clone(), Known::Exists(id));
        Ok(())
    }

    /// Its creation was acknowledged.
    pub fn created(&mut self, name: &Str, id: Uuid, partitions: i32) -> Checked {
        if let Known::Exists(old) = self.get(name) {
            return Err(Violation::new(NAME, format!("{name} was created as {id} though it existed as {old}")));
        }
        self.partitions.insert(name.clone(), partitions);
        self.new_id(name, id)
    }

    /// The node said that it exists already.
    pub fn exists_already(&mut self, name: &Str) -> Checked {
        match self.get(name) {
            Known::Absent => Err(Violation::new(NAME, format!("{name} exists already, which nobody created"))),
            _ => Ok(()),
        }
    }

    /// Its deletion was acknowledged.
    pub fn deleted(&mut self, name: &Str) -> Checked {
        if self.get(name) == Known::Absent {
            return Err(Violation::new(NAME, format!("{name} was deleted, which did not exist")));
        }
        self.known.insert(name.clone(), Known::Absent);
        Ok(())
    }

    /// A request that makes it or deletes it had no answer.
    pub fn unknown(&mut self, name: &Str) {
        let known = match self.get(name) {
            Known::Exists(id) => Known::Unknown(Some(id)),
            Known::Absent => {
                self.partitions.remove(name);
                Known::Unknown(None)
            }
            unknown => unknown,
        };
        self.known.insert(name.clone(), known);
    }

    /// Metadata, asked for when nothing else was under way, knows it by `id` with so many partitions.
    pub fn seen(&mut self, name: &Str, id: Uuid, partitions: i32) -> Checked {
        match self.get(name) {
            Known::Absent => {
                return Err(Violation::new(NAME, format!("{name} is there as {id}, which nobody created")));
            }
            Known::Exists(known) if known != id => {
                return Err(Violation::new(NAME, format!("{name} is there as {id}; it was {known}")));
            }
            Known::Unknown(before) if before != Some(id) => self.new_id(name, id)?,
            Known::Exists(_) | Known::Unknown(_) => {
                self.known.insert(name.clone(), Known::Exists(id));
            }
        }
        match self.partitions.get(name) {
            Some(known) if *known != partitions => {
                Err(Violation::new(NAME, format!("{name} has {partitions} partitions; it was created with {known}")))
            }
            _ => Ok(()),
        }
    }

    /// Metadata, asked for when nothing else was under way, does not know it.
    pub fn seen_absent(&mut self, name: &Str) -> Checked {
        if let Known::Exists(id) = self.get(name) {
            return Err(Violation::new(NAME, format!("{name} is not there; it was acknowledged as {id}")));
        }
        self.known.insert(name.clone(), Known::Absent);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_holds() {
        let id = |n: u128| Uuid::from_random(n << 64 | 0x8000_0000_0000_0000 | n).unwrap();
        let name = Str::from("t");
        let mut t = Topics::default();
        assert!(t.seen(&name, id(1), 1).is_err() && t.deleted(&name).is_err() && t.exists_already(&name).is_err());
        t.created(&name, id(1), 1).unwrap();
        assert!(t.created(&name, id(2), 1).is_err() && t.seen(&name, id(2), 1).is_err());
        assert!(t.seen_absent(&name).is_err() && t.seen(&name, id(1), 2).is_err());
        t.seen(&name, id(1), 1).unwrap();
        t.deleted(&name).unwrap();
        assert!(t.created(&name, id(1), 1).is_err(), "an id is used once");
        t.created(&name, id(3), 1).unwrap();
        t.unknown(&name);
        t.seen(&name, id(3), 1).unwrap();
        t.unknown(&name);
        t.seen_absent(&name).unwrap();
        t.unknown(&name);
        assert!(t.seen(&name, id(3), 1).is_err());
    }
}
