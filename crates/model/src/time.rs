//! Points in time as the state machines take them: as a parameter, never asked for.

use std::time::Duration;

use crate::TimestampMs;

/// A point on the process's monotonic clock: time since the clock was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Monotonic(pub Duration);

impl Monotonic {
    /// The point `d` later, saturating.
    pub fn plus(self, d: Duration) -> Self {
        Self(self.0.saturating_add(d))
    }

    /// The point `ms` milliseconds later; a negative `ms` is now.
    pub fn plus_ms(self, ms: i64) -> Self {
        self.plus(Duration::from_millis(u64::try_from(ms).unwrap_or(0)))
    }

    /// Time since `earlier`, zero if it lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// Whole milliseconds since the clock was made.
    pub fn as_ms(self) -> i64 {
        self.0.as_millis() as i64
    }
}

/// The time at which a state machine is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For deadlines and time-outs.
    pub monotonic: Monotonic,
    /// For timestamps in records and for retention.
    pub wall: TimestampMs,
}
