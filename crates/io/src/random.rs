//! Randomness: one generator a process, from the system's entropy or from a seed.

use std::sync::Arc;

use logrun_model::Uuid;
use parking_lot::Mutex;

/// A source of random numbers. Cheap to clone; all clones draw from one stream.
///
/// The generator is SplitMix64 (Steele, Lea, Flood, 2014): for ids and jitter, not for secrets.
#[derive(Clone, Debug)]
pub struct Random(Arc<Mutex<u64>>);

impl Random {
    /// A generator that always gives the same numbers for the same seed.
    pub fn from_seed(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(seed)))
    }

    /// A generator seeded by the operating system.
    pub fn from_entropy() -> Self {
        // The standard library seeds its hasher from the system's entropy; this borrows that.
        use std::hash::{BuildHasher, Hasher};
        let state = std::collections::hash_map::RandomState::new();
        let mut hasher = state.build_hasher();
        hasher.write_u32(std::process::id());
        hasher.write_u128(std::time::UNIX_EPOCH.elapsed().map_or(0, |d| d.as_nanos()));
        Self::from_seed(hasher.finish())
    }

    /// A random 64-bit number.
    pub fn u64(&self) -> u64 {
        let mut state = self.0.lock();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A random number below `bound` (> 0).
    pub fn below(&self, bound: u64) -> u64 {
        // The bias is below 2^-32 for every bound in use.
        ((u128::from(self.u64()) * u128::from(bound)) >> 64) as u64
    }

    /// Whether an event of probability `numerator / denominator` happens.
    pub fn chance(&self, numerator: u64, denominator: u64) -> bool {
        self.below(denominator) < numerator
    }

    /// A new random id.
    pub fn uuid(&self) -> Uuid {
        loop {
            let bits = (u128::from(self.u64()) << 64) | u128::from(self.u64());
            if let Some(id) = Uuid::from_random(bits) {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_replays() {
        let (a, b) = (Random::from_seed(7), Random::from_seed(7));
        assert!((0..100).all(|_| a.u64() == b.u64()));
        assert!((0..1000).all(|_| a.below(10) < 10));
        assert_ne!(a.uuid(), a.uuid());
    }
}
