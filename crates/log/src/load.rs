//! Whether so much is appended to a directory that its logs had better gather, however small the appends are.
//!
//! A small append goes into the page cache at once, which is quickest while there are few. Of many it is dear: each fresh
//! page has to be found, on a virtual machine perhaps by its host, and later written back by the kernel (measured with
//! batches of 16 KiB at 300 MiB/s: 0.45-0.59 µs of CPU for a record of 100 bytes, gathered and past the page cache 0.21-0.28).

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use logrun_model::Monotonic;
use parking_lot::Mutex;

/// So long is looked at at a time.
const WINDOW: Duration = Duration::from_millis(50);
/// From so many bytes a second on it is much.
const HEAVY_BYTES_PER_SECOND: f64 = 128.0 * 1024.0 * 1024.0;

/// The load of one directory.
#[derive(Debug, Default)]
pub(crate) struct Load {
    heavy: AtomicBool,
    window: Mutex<Window>,
}

#[derive(Debug, Default)]
struct Window {
    from: Monotonic,
    bytes: u64,
}

impl Load {
    /// Something appends `bytes`.
    pub fn append(&self, bytes: usize, now: Monotonic) {
        let mut w = self.window.lock();
        let lasted = now.since(w.from);
        if lasted >= WINDOW {
            self.heavy.store(w.bytes as f64 >= HEAVY_BYTES_PER_SECOND * lasted.as_secs_f64(), Ordering::Relaxed);
            *w = Window { from: now, bytes: 0 };
        }
        w.bytes += bytes as u64;
    }

    /// Whether there was much in the window that ended last.
    pub fn is_heavy(&self) -> bool {
        self.heavy.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn much_in_a_short_time_is_heavy_until_a_window_without() {
        let load = Load::default();
        let at = |ms: u64| Monotonic(Duration::from_millis(1000 + ms));
        for ms in 0..=50 {
            load.append(100 << 10, at(ms));
        }
        assert!(!load.is_heavy(), "100 MiB/s");
        for ms in 51..=100 {
            load.append(200 << 10, at(ms));
        }
        assert!(load.is_heavy(), "200 MiB/s");
        load.append(10 << 20, at(120));
        assert!(load.is_heavy());
        // Nothing for long: what came before it was not much for the time.
        load.append(100, at(5000));
        assert!(!load.is_heavy());
    }
}
