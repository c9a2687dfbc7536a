//! Time: a monotonic clock for deadlines and a wall clock for timestamps.
//!
//! Wall-clock time is for records and for people; only monotonic time decides when something is due.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use logrun_model::{Monotonic, Now, TimestampMs};

/// The clock of one process. Cheap to clone; all clones agree.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Source>);

#[derive(Debug)]
struct Source {
    start: tokio::time::Instant,
    /// The wall-clock time at `start` in a simulated world; `None` asks the system.
    simulated_wall_ms: Option<i64>,
}

impl Clock {
    /// The operating system's clocks.
    pub fn real() -> Self {
        Self(Arc::new(Source { start: tokio::time::Instant::now(), simulated_wall_ms: None }))
    }

    /// Virtual time: the wall clock reads `wall_ms` now and moves with the runtime's paused clock.
    pub fn simulated(wall_ms: i64) -> Self {
        Self(Arc::new(Source { start: tokio::time::Instant::now(), simulated_wall_ms: Some(wall_ms) }))
    }

    /// Monotonic time.
    pub fn now(&self) -> Monotonic {
        Monotonic(self.0.start.elapsed())
    }

    /// Wall-clock time in milliseconds since the Unix epoch.
    pub fn wall(&self) -> TimestampMs {
        match self.0.simulated_wall_ms {
            Some(base) => TimestampMs(base + self.now().as_ms()),
            // A clock set before 1970 reads as 1970.
            None => TimestampMs(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)),
        }
    }

    /// Both times at once, as the state machines take them.
    pub fn read(&self) -> Now {
        Now { monotonic: self.now(), wall: self.wall() }
    }

    /// Waits until the monotonic clock reads `at`: for ever, if that is more than the system's clock can say.
    pub async fn sleep_until(&self, at: Monotonic) {
        match self.0.start.checked_add(at.0) {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    /// Holds the calling thread, one that may wait for the disk, for `d`. `false`, at once, in a simulated world: there time
    /// stands still while a thread waits.
    pub fn hold(&self, d: Duration) -> bool {
        let passes = self.0.simulated_wall_ms.is_none();
        if passes {
            std::thread::sleep(d);
        }
        passes
    }

    /// Waits for `d`.
    pub async fn sleep(&self, d: Duration) {
        tokio::time::sleep(d).await;
    }
}
