//! A line on the terminal that shows how far a long work is; nothing where nobody looks.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const WIDTH: usize = 30;
const BETWEEN: Duration = Duration::from_millis(100);

/// Bytes that are done of all that there are.
pub struct Progress {
    total: u64,
    done: AtomicU64,
    /// When the line was last drawn; none if it is not.
    drawn: Option<Mutex<Instant>>,
    started: Instant,
}

impl Progress {
    /// For a work of `total` bytes. Draws only if standard error is a terminal and `wanted`.
    pub fn new(total: u64, wanted: bool) -> Self {
        let started = Instant::now();
        let drawn = (wanted && std::io::stderr().is_terminal()).then(|| Mutex::new(started));
        Self { total, done: AtomicU64::new(0), drawn, started }
    }

    /// So many bytes more are done.
    pub fn add(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let Some(drawn) = &self.drawn else { return };
        // Another thread draws.
        let Ok(mut last) = drawn.try_lock() else { return };
        if last.elapsed() >= BETWEEN {
            *last = Instant::now();
            let _ = write!(std::io::stderr(), "\r\x1b[K{}", line(done, self.total, self.started.elapsed()));
        }
    }

    /// Takes the line away.
    pub fn end(&self) {
        if self.drawn.is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn line(done: u64, total: u64, took: Duration) -> String {
    let part = if total == 0 { 1.0 } else { (done as f64 / total as f64).min(1.0) };
    let full = (part * WIDTH as f64) as usize;
    let rate = done as f64 / took.as_secs_f64().max(0.001);
    let left = if rate > 0.0 { total.saturating_sub(done) as f64 / rate } else { 0.0 };
    format!(
        "[{}{}] {:3.0} %  {} of {}, {}/s, {left:.0} s left",
        "#".repeat(full),
        ".".repeat(WIDTH - full),
        part * 100.0,
        size(done),
        size(total),
        size(rate as u64)
    )
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
            line(1_500_000_000, 6_000_000_000, Duration::from_secs(1)),
            "[#######.......................]  25 %  1.5 GB of 6.0 GB, 1.5 GB/s, 3 s left"
        );
        assert_eq!([0, 999, 1000, 99_900, 123_456_789].map(size), ["0 B", "999 B", "1.0 kB", "100 kB", "123 MB"]);
    }
}
