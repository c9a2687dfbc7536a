//! [`OrdMap`]: an ordered map whose clones share what they have in common.
//!
//! Sorted chunks behind reference counts: a clone costs one count, a change copies one chunk and the list of
//! chunks, and nothing at all while nobody else holds the map. It holds the topics, configs and ACLs of a metadata
//! image, of which every committed batch makes a new one. Must never iterate in an order other than the keys'.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// A chunk is split in two when it outgrows this.
const CHUNK_ENTRIES_MAX: usize = 128;

type Chunk<K, V> = Arc<Vec<(K, V)>>;

/// An ordered map with structural sharing. No chunk is ever empty.
pub struct OrdMap<K, V> {
    chunks: Arc<Vec<Chunk<K, V>>>,
    len: usize,
}

impl<K, V> Clone for OrdMap<K, V> {
    fn clone(&self) -> Self {
        Self { chunks: Arc::clone(&self.chunks), len: self.len }
    }
}

impl<K, V> Default for OrdMap<K, V> {
    fn default() -> Self {
        Self { chunks: Arc::new(Vec::new()), len: 0 }
    }
}

impl<K, V> OrdMap<K, V> {
    pub fn new() -> Self {
        Self::default()
    }

    pub const fn len(&self) -> usize {
        self.len
    }

    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The entries in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.chunks.iter().flat_map(|c| c.iter()).map(|(k, v)| (k, v))
    }

    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(k, _)| k)
    }

    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, v)| v)
    }

    /// The entry of the greatest key.
    pub fn last(&self) -> Option<(&K, &V)> {
        self.chunks.last().and_then(|c| c.last()).map(|(k, v)| (k, v))
    }

    /// The chunk that holds `key` or would, and the place in it.
    fn locate<Q>(&self, key: &Q) -> (usize, Result<usize, usize>)
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        let before = |c: &Chunk<K, V>| c.last().is_some_and(|(k, _)| k.borrow() < key);
        let chunk = self.chunks.partition_point(before);
        match self.chunks.get(chunk) {
            Some(c) => (chunk, c.binary_search_by(|(k, _)| k.borrow().cmp(key))),
            None => (chunk, Err(0)),
        }
    }

    pub fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        let (chunk, place) = self.locate(key);
        Some(&self.chunks.get(chunk)?.get(place.ok()?)?.1)
    }

    pub fn contains_key<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        self.locate(key).1.is_ok()
    }

    /// The entries whose keys are greater than `after` (all of them if `None`), in order.
    pub fn iter_after<'a, Q>(&'a self, after: Option<&Q>) -> impl Iterator<Item = (&'a K, &'a V)>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        let (chunk, skip) = match after {
            None => (0, 0),
            Some(key) => {
                let (chunk, place) = self.locate(key);
                (chunk, place.map_or_else(|i| i, |i| i + 1))
            }
        };
        self.chunks.iter().skip(chunk).flat_map(|c| c.iter()).skip(skip).map(|(k, v)| (k, v))
    }
}

impl<K: Ord + Clone, V: Clone> OrdMap<K, V> {
    /// Sets the value of `key` and returns the one it had.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let (chunk, place) = self.locate(&key);
        let chunks = Arc::make_mut(&mut self.chunks);
        // Beyond the last chunk means behind its last entry.
        let (chunk, place) = match (chunk, place) {
            (c, p) if c < chunks.len() => (c, p),
            (0, _) => {
                chunks.push(Arc::new(vec![(key, value)]));
                self.len += 1;
                return None;
            }
            (c, _) => (c - 1, Err(chunks[c - 1].len())),
        };
        let entries = Arc::make_mut(&mut chunks[chunk]);
        match place {
            Ok(i) => Some(std::mem::replace(&mut entries[i].1, value)),
            Err(i) => {
                entries.insert(i, (key, value));
                self.len += 1;
                if entries.len() > CHUNK_ENTRIES_MAX {
                    // Keys that arrive in order leave full chunks behind.
                    let at = if i + 1 == entries.len() { CHUNK_ENTRIES_MAX } else { entries.len() / 2 };
                    let tail = entries.split_off(at);
                    chunks.insert(chunk + 1, Arc::new(tail));
                }
                None
            }
        }
    }

    pub fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        let (chunk, place) = self.locate(key);
        let place = place.ok()?;
        let chunks = Arc::make_mut(&mut self.chunks);
        let entries = Arc::make_mut(&mut chunks[chunk]);
        let (_, value) = entries.remove(place);
        if entries.is_empty() {
            chunks.remove(chunk);
        }
        self.len -= 1;
        Some(value)
    }

    pub fn get_mut<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        let (chunk, place) = self.locate(key);
        let place = place.ok()?;
        let chunks = Arc::make_mut(&mut self.chunks);
        Some(&mut Arc::make_mut(&mut chunks[chunk])[place].1)
    }
}

impl<K: Ord + Clone, V: Clone> FromIterator<(K, V)> for OrdMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::new();
        for (k, v) in entries {
            map.insert(k, v);
        }
        map
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for OrdMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.chunks, &other.chunks) || (self.len == other.len && self.iter().eq(other.iter()))
    }
}

impl<K: Eq, V: Eq> Eq for OrdMap<K, V> {}

impl<K: Ord, V: Ord> PartialOrd for OrdMap<K, V> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: Ord, V: Ord> Ord for OrdMap<K, V> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for OrdMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// Agrees with `BTreeMap`; a clone taken earlier never changes.
        #[test]
        fn is_an_ordered_map(steps in proptest::collection::vec((0u8..3, 0u16..400, any::<u8>()), 1..900)) {
            let mut model = BTreeMap::new();
            let mut map = OrdMap::new();
            let mut earlier = (map.clone(), model.clone());
            for (i, (what, key, value)) in steps.into_iter().enumerate() {
                match what {
                    0 => prop_assert_eq!(map.remove(&key), model.remove(&key)),
                    1 => prop_assert_eq!(map.insert(key, value), model.insert(key, value)),
                    _ => {
                        if let Some(v) = map.get_mut(&key) { *v = value; }
                        if let Some(v) = model.get_mut(&key) { *v = value; }
                    }
                }
                prop_assert_eq!(map.get(&key), model.get(&key));
                if i % 100 == 50 {
                    earlier = (map.clone(), model.clone());
                }
            }
            prop_assert!(map.iter().eq(model.iter()));
            prop_assert!(map.iter_after(Some(&200)).eq(model.range(201..)));
            prop_assert!(earlier.0.iter().eq(earlier.1.iter()));
            prop_assert_eq!(map.len(), model.len());
            prop_assert_eq!(map.last(), model.iter().next_back());
        }
    }

    #[test]
    fn many_in_order() {
        let map: OrdMap<u32, u32> = (0..10_000).map(|i| (i, i)).collect();
        assert!(map.iter().map(|(k, _)| *k).eq(0..10_000));
        assert!(map.chunks.len() < 100, "chunks stay full: {}", map.chunks.len());
        assert_eq!(map.get(&777), Some(&777));
    }
}
