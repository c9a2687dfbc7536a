//! The offset map: for each key of the uncompacted part of a log the last offset that has it (Kafka's `SkimpyOffsetMap`).
//!
//! An open table of hash and offset, 24 bytes for each key, within `log.cleaner.dedupe.buffer.size`. It's made as
//! large as the offsets that it could get, so that a small log costs little.

use logrun_model::Offset;

use super::key_hash::{HashSecret, key_hash};

/// Low and high half of the hash, and the offset plus one: a slot of zeros is empty.
type Slot = [u64; 3];

/// The last offset of each key, up to a point in the log.
#[derive(Debug)]
pub(crate) struct OffsetMap {
    secret: HashSecret,
    slots: Vec<Slot>,
    keys: usize,
    keys_max: usize,
    latest_offset: Offset,
}

impl OffsetMap {
    /// A map of at most `memory_bytes`, `load_factor` of which is used, for at most `records_max` records.
    pub fn new(secret: HashSecret, memory_bytes: usize, load_factor: f64, records_max: u64) -> Self {
        let load_factor = if load_factor > 0.0 && load_factor < 1.0 { load_factor } else { 0.9 };
        let affordable = (memory_bytes / size_of::<Slot>()).max(2);
        let useful = usize::try_from(records_max).unwrap_or(usize::MAX).max(1) as f64 / load_factor;
        // A float that is too large for the integer is its maximum.
        let slots = affordable.min((useful.ceil() as usize).saturating_add(1));
        let keys_max = ((slots as f64 * load_factor) as usize).clamp(1, slots - 1);
        // Zeroed pages cost nothing before they are touched.
        Self { secret, slots: vec![[0; 3]; slots], keys: 0, keys_max, latest_offset: Offset::NONE }
    }

    /// Notes that `key` is at `offset`, which lies behind all before. False if there is no room.
    pub fn put(&mut self, key: &[u8], offset: Offset) -> bool {
        let hash = key_hash(self.secret, key);
        let at = self.find(hash);
        if self.slots[at][2] == 0 {
            if self.keys >= self.keys_max {
                return false;
            }
            self.keys += 1;
        }
        self.slots[at] = [hash as u64, (hash >> 64) as u64, offset.get() as u64 + 1];
        true
    }

    /// The last offset of `key`, if it is in the map.
    pub fn get(&self, key: &[u8]) -> Option<Offset> {
        match self.slots[self.find(key_hash(self.secret, key))][2] {
            0 => None,
            n => Some(Offset((n - 1) as i64)),
        }
    }

    /// Where the hash is, or belongs. There is always an empty slot.
    fn find(&self, hash: u128) -> usize {
        let (low, high) = (hash as u64, (hash >> 64) as u64);
        let n = self.slots.len();
        let mut at = ((u128::from(low) * n as u128) >> 64) as usize;
        loop {
            let slot = &self.slots[at];
            if slot[2] == 0 || (slot[0] == low && slot[1] == high) {
                return at;
            }
            at = if at + 1 == n { 0 } else { at + 1 };
        }
    }

    /// Every record up to this offset (inclusive) has been put; none before the first.
    pub fn latest_offset(&self) -> Offset {
        self.latest_offset
    }

    /// All records up to `offset` have been put.
    pub fn mapped_to(&mut self, offset: Offset) {
        self.latest_offset = self.latest_offset.max(offset);
    }

    /// How many keys there are.
    pub fn keys(&self) -> usize {
        self.keys
    }

    /// How many there may be.
    pub fn keys_max(&self) -> usize {
        self.keys_max
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn is_full_at_its_budget_and_still_takes_known_keys() {
        let mut map = OffsetMap::new((1, 2), 24 * 100, 0.9, 1_000_000);
        assert_eq!(map.keys_max(), 90);
        for i in 0..90 {
            assert!(map.put(format!("{i}").as_bytes(), Offset(i)));
        }
        assert!(!map.put(b"one more", Offset(90)));
        assert!(map.put(b"7", Offset(91)));
        assert_eq!((map.get(b"7"), map.get(b"one more"), map.keys()), (Some(Offset(91)), None, 90));
    }

    #[test]
    fn takes_no_more_memory_than_the_log_has_records() {
        for (memory, load, records) in [(128 << 20, 0.9, 10), (0, 0.9, 10), (1 << 20, 0.0, 1), (1 << 20, 7.5, u64::MAX)]
        {
            let map = OffsetMap::new((1, 2), memory, load, records);
            assert!(map.keys_max() >= 1 && map.keys_max() < map.slots.len());
            assert!(map.slots.len() <= 13 || map.slots.len() * 24 <= memory);
            assert!(records > 10 || memory < 24 * 12 || map.keys_max() as u64 >= records);
        }
    }

    proptest! {
        #[test]
        fn is_a_map(puts in proptest::collection::vec((0u16..300, 0i64..1 << 40), 0..400)) {
            let mut map = OffsetMap::new((3, 4), 1 << 20, 0.9, 400);
            let mut model = BTreeMap::new();
            for (key, offset) in puts {
                prop_assert!(map.put(&key.to_be_bytes(), Offset(offset)));
                model.insert(key, Offset(offset));
            }
            for key in 0u16..300 {
                prop_assert_eq!(map.get(&key.to_be_bytes()), model.get(&key).copied());
            }
            prop_assert_eq!(map.keys(), model.len());
        }
    }
}
