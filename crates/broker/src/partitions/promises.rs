//! How far a log counts as durable while some of its appends wait for the device and others need not.
//!
//! An append under `logrun.durability=sync`, or the one that `flush.messages` asks a flush for, waits; one that comes
//! behind it, because the setting was changed or the count begins anew, may not. Taken for durable at once it would carry
//! the high watermark past what waits: that would be acknowledged, and read, before it is safe. Kafka flushes under the
//! log's lock, so that nothing can come behind. Must never give an offset behind an append that still waits.

use logrun_model::Offset;

/// The promises of one log that are not kept yet.
#[derive(Debug, Default)]
pub(super) struct Promises {
    waiting: usize,
    /// The end of what came behind them and needs no more.
    behind: Option<Offset>,
}

impl Promises {
    /// An append up to `end` is as durable as it needs to be: how far the log is now; `None` while others wait.
    pub fn ready(&mut self, end: Offset) -> Option<Offset> {
        if self.waiting == 0 {
            return Some(end);
        }
        self.behind = self.behind.max(Some(end));
        None
    }

    /// An append waits for the device.
    pub fn begun(&mut self) {
        self.waiting += 1;
    }

    /// Everything below `end`, the end of one that waited, is on the device: how far the log is now.
    pub fn kept(&mut self, end: Offset) -> Offset {
        self.waiting -= 1;
        match self.behind.take() {
            Some(behind) if self.waiting == 0 => end.max(behind),
            behind => {
                self.behind = behind;
                end
            }
        }
    }

    /// One that waited failed: what came behind it is no better off.
    pub fn broken(&mut self) {
        self.waiting -= 1;
        self.behind = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_behind_one_that_waits_waits_with_it() {
        let mut p = Promises::default();
        assert_eq!(p.ready(Offset(3)), Some(Offset(3)));
        p.begun();
        assert_eq!(p.ready(Offset(7)), None);
        p.begun();
        assert_eq!(p.ready(Offset(12)), None);
        assert_eq!(p.kept(Offset(5)), Offset(5));
        assert_eq!(p.kept(Offset(10)), Offset(12));
        assert_eq!(p.ready(Offset(13)), Some(Offset(13)));
    }

    #[test]
    fn the_later_one_covers_the_earlier() {
        let mut p = Promises::default();
        p.begun();
        assert_eq!(p.ready(Offset(7)), None);
        p.begun();
        assert_eq!(p.kept(Offset(10)), Offset(10));
        assert_eq!(p.kept(Offset(5)), Offset(7));
    }

    #[test]
    fn a_failure_lets_nothing_through() {
        let mut p = Promises::default();
        p.begun();
        p.begun();
        assert_eq!(p.ready(Offset(7)), None);
        p.broken();
        assert_eq!(p.kept(Offset(10)), Offset(10));
        assert_eq!(p.ready(Offset(11)), Some(Offset(11)));
    }
}
