//! How fast work in the background may read and write: compaction (`log.cleaner.io.max.bytes.per.second`) and moves
//! between log directories (`replica.alter.log.dirs.io.max.bytes.per.second`).
//!
//! Kafka's counterparts are `Throttler` and `ReplicationQuotaManager`. What was done is paid for afterwards, at the rate
//! that is in force then, so that a change of it is felt by those who wait already. Must never be asked with a lock held.

use std::time::Duration;

use logrun_io::Clock;
use logrun_model::Monotonic;
use parking_lot::Mutex;

/// How often those who wait look at the rate again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Lets so many bytes through in a second, all who share it together.
#[derive(Debug, Default)]
pub(crate) struct Throttle(Mutex<Account>);

/// Counted in bytes, as floats because rates are.
#[derive(Debug, Default)]
struct Account {
    charged: f64,
    paid: f64,
    /// When it was paid last.
    at: Monotonic,
}

impl Throttle {
    /// How much may be done at once at `rate` bytes in a second: a quarter of a second's worth, at most `bytes_max`.
    pub fn step_bytes(&self, rate: f64, bytes_max: usize) -> usize {
        // A float that is too large for the integer is its maximum.
        ((rate / 4.0) as usize).clamp(1, bytes_max)
    }

    /// Waits until `bytes`, which were done, and all that others did before, have been paid for at `rate`.
    pub async fn pass(&self, clock: &Clock, bytes: usize, rate: impl Fn() -> f64) {
        let ticket = self.charge(clock.now(), bytes, rate());
        loop {
            let wait = self.wait(clock.now(), ticket, rate());
            if wait.is_zero() {
                return;
            }
            clock.sleep(wait.min(LOOK_AGAIN)).await;
        }
    }

    /// Returns what must have been paid until the caller may go on.
    fn charge(&self, now: Monotonic, bytes: usize, rate: f64) -> f64 {
        let mut account = self.0.lock();
        account.pay(now, rate);
        account.charged += bytes as f64;
        account.charged
    }

    /// How long it is until `ticket` is paid.
    fn wait(&self, now: Monotonic, ticket: f64, rate: f64) -> Duration {
        let mut account = self.0.lock();
        account.pay(now, rate);
        let owed = ticket - account.paid;
        // Less than a byte is what the clock can't measure.
        if owed < 1.0 { Duration::ZERO } else { Duration::from_secs_f64((owed / at_least_some(rate)).clamp(1e-9, 1e6)) }
    }
}

impl Account {
    fn pay(&mut self, now: Monotonic, rate: f64) {
        let seconds = now.since(self.at).as_secs_f64();
        self.paid = (self.paid + seconds * at_least_some(rate)).min(self.charged);
        self.at = now;
    }
}

/// A rate of nothing is one byte in a second: it has to end some time.
fn at_least_some(rate: f64) -> f64 {
    rate.max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Monotonic {
        Monotonic(Duration::from_millis(ms))
    }

    #[test]
    fn those_who_share_it_share_the_rate() {
        let throttle = Throttle::default();
        let one = throttle.charge(at(1000), 500, 1000.0);
        let two = throttle.charge(at(1000), 500, 1000.0);
        assert_eq!(throttle.wait(at(1000), one, 1000.0), Duration::from_millis(500));
        assert_eq!(throttle.wait(at(1000), two, 1000.0), Duration::from_secs(1));
        assert_eq!(throttle.wait(at(1500), one, 1000.0), Duration::ZERO);
        assert_eq!(throttle.wait(at(1500), two, 1000.0), Duration::from_millis(500));
        // What nobody used is not saved up.
        let later = throttle.charge(at(9000), 1000, 1000.0);
        assert_eq!(throttle.wait(at(9000), later, 1000.0), Duration::from_secs(1));
        let huge = throttle.charge(at(10_000), usize::MAX >> 12, f64::MAX);
        assert_eq!(throttle.wait(at(10_001), huge, f64::MAX), Duration::ZERO);
        assert_eq!((throttle.step_bytes(f64::MAX, 100), throttle.step_bytes(0.0, 100)), (100, 1));
        assert_eq!(throttle.step_bytes(200.0, 100), 50);
    }

    #[test]
    fn another_rate_is_felt_by_those_who_wait() {
        let throttle = Throttle::default();
        let ticket = throttle.charge(at(0), 1_000_000, 0.0);
        assert!(throttle.wait(at(1000), ticket, 0.0) > Duration::from_secs(900_000));
        assert!(throttle.wait(at(1000), ticket, 1e6) <= Duration::from_secs(1));
        assert_eq!(throttle.wait(at(2000), ticket, 1e6), Duration::ZERO);
    }
}
