//! A line on the terminal that shows how far a long work is; nothing where nobody looks.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const WIDTH: usize = 30;
const BETWEEN: Duration = Duration::from_millis(100);

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Bytes,
    Records,
}

/// What is done of all that there is.
pub struct Progress {
    unit: Unit,
    total: u64,
    done: AtomicU64,
    /// Whether the line is to be seen now.
    visible: AtomicBool,
    /// When the line was last drawn; none if it is not.
    drawn: Option<Mutex<Instant>>,
    started: Instant,
}

impl Progress {
    /// For a work of `total`. Draws only if standard error is a terminal and `wanted`.
    pub fn new(unit: Unit, total: u64, wanted: bool) -> Self {
        let started = Instant::now();
        let drawn = (wanted && std::io::stderr().is_terminal()).then(|| Mutex::new(started));
        Self { unit, total, done: AtomicU64::new(0), visible: AtomicBool::new(false), drawn, started }
    }

    /// So much more is done.
    pub fn add(&self, more: u64) {
        self.draw(self.done.fetch_add(more, Ordering::Relaxed) + more);
    }

    /// All but so much is done.
    pub fn is_left(&self, left: u64) {
        self.draw(self.total.saturating_sub(left));
    }

    fn draw(&self, done: u64) {
        let Some(drawn) = &self.drawn else { return };
        // Another thread draws.
        let Ok(mut last) = drawn.try_lock() else { return };
        if last.elapsed() >= BETWEEN {
            *last = Instant::now();
            self.visible.store(true, Ordering::Relaxed);
            let line = line(self.unit, done, self.total, self.started.elapsed());
            let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
        }
    }

    /// Takes the line away, until there is more done.
    pub fn hide(&self) {
        if self.visible.swap(false, Ordering::Relaxed) {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn line(unit: Unit, done: u64, total: u64, took: Duration) -> String {
    let part = if total == 0 { 1.0 } else { (done as f64 / total as f64).min(1.0) };
    let full = (part * WIDTH as f64) as usize;
    let rate = done as f64 / took.as_secs_f64().max(0.001);
    let left = if rate > 0.0 { total.saturating_sub(done) as f64 / rate } else { 0.0 };
    let amounts = match unit {
        Unit::Bytes => format!("{} of {}, {}/s", size(done), size(total), size(rate as u64)),
        Unit::Records => format!("{done} of {total}, {rate:.0}/s"),
    };
    let bar = "#".repeat(full) + &".".repeat(WIDTH - full);
    format!("[{bar}] {:3.0} %  {amounts}, {left:.0} s left", part * 100.0)
}

/// Bytes as people read them.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut n = bytes as f64;
    let mut unit = 0;
    while n >= 999.5 && unit + 1 < UNITS.len() {
        n /= 1000.0;
        unit += 1;
    }
    if unit == 0 || n >= 99.5 { format!("{n:.0} {}", UNITS[unit]) } else { format!("{n:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        assert_eq!(
            line(Unit::Bytes, 1_500_000_000, 6_000_000_000, Duration::from_secs(1)),
            "[#######.......................]  25 %  1.5 GB of 6.0 GB, 1.5 GB/s, 3 s left"
        );
        assert_eq!(
            line(Unit::Records, 1_500_000, 3_000_000, Duration::from_secs(1)),
            "[###############...............]  50 %  1500000 of 3000000, 1500000/s, 1 s left"
        );
        assert_eq!([0, 999, 1000, 99_900, 123_456_789].map(size), ["0 B", "999 B", "1.0 kB", "100 kB", "123 MB"]);
    }
}
