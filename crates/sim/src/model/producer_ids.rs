//! No producer id is given twice, whatever happens between.

use std::collections::BTreeSet;

use super::{Checked, Violation};

/// The invariant's name.
const NAME: &str = "producer_ids";

/// The producer ids that were given.
#[derive(Debug, Default)]
pub struct ProducerIds(BTreeSet<i64>);

impl ProducerIds {
    /// A producer was given `id` at `epoch` without having asked for one of its own.
    pub fn given(&mut self, id: i64, epoch: i16) -> Checked {
        if id < 0 || epoch != 0 {
            return Err(Violation::new(NAME, format!("a new producer was given id {id} at epoch {epoch}")));
        }
        match self.0.insert(id) {
            true => Ok(()),
            false => Err(Violation::new(NAME, format!("{id} was given twice"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twice_is_too_often() {
        let mut ids = ProducerIds::default();
        ids.given(0, 0).unwrap();
        assert_eq!(ids.given(0, 0).unwrap_err().invariant, NAME);
        assert_eq!(ids.given(1, 1).unwrap_err().invariant, NAME);
    }
}
