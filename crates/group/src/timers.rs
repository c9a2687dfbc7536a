//! [`Timers`]: deadlines by key. Soft state, rebuilt at load; nothing here knows what time it is.

use std::collections::{BTreeMap, BTreeSet};

use logrun_model::Monotonic;

/// At most one deadline for each key.
#[derive(Clone, Debug)]
pub(crate) struct Timers<K> {
    by_key: BTreeMap<K, Monotonic>,
    by_time: BTreeSet<(Monotonic, K)>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self { by_key: BTreeMap::new(), by_time: BTreeSet::new() }
    }
}

impl<K: Ord + Clone> Timers<K> {
    /// Sets the key's deadline in place of the one it had.
    pub fn set(&mut self, key: K, at: Monotonic) {
        if let Some(old) = self.by_key.insert(key.clone(), at) {
            if old == at {
                return;
            }
            self.by_time.remove(&(old, key.clone()));
        }
        self.by_time.insert((at, key));
    }

    pub fn cancel(&mut self, key: &K) {
        if let Some(old) = self.by_key.remove(key) {
            self.by_time.remove(&(old, key.clone()));
        }
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Monotonic> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes a key whose deadline has come, the earliest first.
    pub fn pop_due(&mut self, now: Monotonic) -> Option<K> {
        if self.next()? > now {
            return None;
        }
        let (_, key) = self.by_time.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        debug_assert_eq!(self.by_key.len(), self.by_time.len());
        self.by_key.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_goes_first_and_a_key_has_one_deadline() {
        let at = |ms| Monotonic::default().plus_ms(ms);
        let mut t = Timers::default();
        t.set("a", at(5));
        t.set("b", at(3));
        t.set("a", at(2));
        t.set("c", at(9));
        t.cancel(&"c");
        t.cancel(&"d");
        assert_eq!((t.len(), t.next()), (2, Some(at(2))));
        assert_eq!(t.pop_due(at(1)), None);
        assert_eq!(t.pop_due(at(3)), Some("a"));
        assert_eq!(t.pop_due(at(3)), Some("b"));
        assert_eq!((t.pop_due(at(99)), t.next()), (None, None));
    }
}
