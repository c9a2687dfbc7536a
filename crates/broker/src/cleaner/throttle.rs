//! `log.cleaner.io.max.bytes.per.second`: how fast compaction may read and write, all workers together.

use std::time::Duration;

use logrun_io::Clock;
use logrun_model::Monotonic;
use parking_lot::Mutex;

/// Lets so many bytes through in a second.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    /// When what was let through so far is paid for.
    free_at: Mutex<Monotonic>,
}

impl Throttle {
    /// How much may be done at once at `rate` bytes in a second: a quarter of a second's worth, at most `bytes_max`.
    pub fn step_bytes(&self, rate: f64, bytes_max: usize) -> usize {
        // A float that is too large for the integer is its maximum.
        ((rate / 4.0) as usize).clamp(1, bytes_max)
    }

    /// Waits until `bytes` more have been paid for.
    pub async fn pass(&self, clock: &Clock, bytes: usize, rate: f64) {
        let until = self.charge(clock.now(), bytes, rate);
        if until > clock.now() {
            clock.sleep_until(until).await;
        }
    }

    fn charge(&self, now: Monotonic, bytes: usize, rate: f64) -> Monotonic {
        // A rate of nothing is one byte in a second: it has to end some time.
        let seconds = (bytes as f64 / rate.max(1.0)).min(1e6);
        let mut free_at = self.free_at.lock();
        *free_at = (*free_at).max(now).plus(Duration::from_secs_f64(seconds));
        *free_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_share_the_rate() {
        let throttle = Throttle::default();
        let at = |ms: u64| Monotonic(Duration::from_millis(ms));
        assert_eq!(throttle.charge(at(1000), 500, 1000.0), at(1500));
        assert_eq!(throttle.charge(at(1000), 500, 1000.0), at(2000));
        assert_eq!(throttle.charge(at(9000), 1000, 1000.0), at(10_000));
        assert_eq!(throttle.charge(at(10_000), usize::MAX >> 12, f64::MAX), at(10_000));
        assert_eq!((throttle.step_bytes(f64::MAX, 100), throttle.step_bytes(0.0, 100)), (100, 1));
        assert_eq!(throttle.step_bytes(200.0, 100), 50);
    }
}
