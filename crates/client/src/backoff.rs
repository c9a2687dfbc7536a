//! How long to wait before the next attempt: Kafka's `ExponentialBackoff` (KIP-580), doubling with 20 % of jitter.

use std::time::Duration;

use logrun_io::Random;

/// Grows from a first wait to a longest one.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    first_ms: u64,
    max_ms: u64,
}

impl Backoff {
    /// Waits of `first_ms`, doubling up to `max_ms`; negative numbers are none.
    pub fn new(first_ms: i64, max_ms: i64) -> Self {
        let first_ms = u64::try_from(first_ms).unwrap_or(0);
        // As in Kafka, a longest wait below the first one gives way to it.
        Self { first_ms, max_ms: u64::try_from(max_ms).unwrap_or(0).max(first_ms) }
    }

    /// The wait after `failures` failures, the first of which is number 0.
    pub fn after(self, failures: u32, random: &Random) -> Duration {
        let term =
            self.first_ms.saturating_mul(1u64.checked_shl(failures.min(32)).unwrap_or(u64::MAX)).min(self.max_ms);
        let jitter = term / 5;
        let ms = term - jitter + if jitter > 0 { random.below(2 * jitter + 1) } else { 0 };
        Duration::from_millis(ms.min(self.max_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_longest_with_jitter() {
        let random = Random::from_seed(1);
        let b = Backoff::new(100, 1000);
        for (failures, low, high) in
            [(0, 80, 120), (1, 160, 240), (2, 320, 480), (3, 640, 960), (9, 800, 1000), (u32::MAX, 800, 1000)]
        {
            for _ in 0..50 {
                let ms = b.after(failures, &random).as_millis();
                assert!((low..=high).contains(&ms), "{failures}: {ms}");
            }
        }
        assert_eq!(Backoff::new(0, 0).after(3, &random), Duration::ZERO);
    }
}
