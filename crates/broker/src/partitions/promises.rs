//! How far a log counts as durable while some of its appends wait to be on the device, some to be written, and others for
//! nothing.
//!
//! | an append | is promised | is told |
//! |---|---|---|
//! | under `logrun.durability=sync`, or the one that `flush.messages` asks a flush for | [`Promise::Synced`] | when the device has it |
//! | a large one, which is gathered | [`Promise::Written`] | when its segment's file has it |
//! | any other | nothing more | at once |
//!
//! They come in any mixture and are told in any order: one that only had to be written may be while one before it still
//! waits for the device. Taken for durable then it would carry the high watermark past what waits: that would be
//! acknowledged, and read, before it is safe. Kafka flushes under the log's lock, so that nothing can come behind. Must never
//! give an offset behind an append that still waits. One that fails waits for good, unless a later sync covers it.

use std::collections::VecDeque;
use std::ops::Range;

use logrun_log::Promise;
use logrun_model::Offset;

/// The promises of one log that are not kept yet.
#[derive(Debug)]
pub(super) struct Promises {
    /// Behind the last append.
    log_end_offset: Offset,
    /// The appends that wait to be written, in their order.
    written: VecDeque<Range<Offset>>,
    /// Those that wait to be on the device.
    synced: VecDeque<Range<Offset>>,
}

impl Promises {
    /// Those of a log that ends at `log_end_offset`: there are none.
    pub fn new(log_end_offset: Offset) -> Self {
        Self { log_end_offset, written: VecDeque::new(), synced: VecDeque::new() }
    }

    /// The log took an append, which waits for `promise`, if for any.
    pub fn appended(&mut self, offsets: Range<Offset>, promise: Option<Promise>) {
        self.log_end_offset = offsets.end;
        match promise {
            None => {}
            Some(Promise::Written) => self.written.push_back(offsets),
            Some(Promise::Synced) => self.synced.push_back(offsets),
        }
    }

    /// The append that ends at `end` has what it was promised, and so has all before it that was promised no more.
    pub fn kept(&mut self, promise: Promise, end: Offset) {
        let keep = |waiting: &mut VecDeque<Range<Offset>>| while waiting.pop_front_if(|w| w.end <= end).is_some() {};
        keep(&mut self.written);
        if promise == Promise::Synced {
            keep(&mut self.synced);
        }
    }

    /// All appends below have what they were promised.
    pub fn durable_offset(&self) -> Offset {
        let waiting = [self.written.front(), self.synced.front()];
        waiting.into_iter().flatten().map(|w| w.start).min().unwrap_or(self.log_end_offset)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Fixture(Promises);

    impl Fixture {
        fn new() -> Self {
            Self(Promises::new(Offset(3)))
        }

        fn appended(&mut self, end: i64, promise: Option<Promise>) -> i64 {
            self.0.appended(self.0.log_end_offset..Offset(end), promise);
            self.0.durable_offset().get()
        }

        fn kept(&mut self, promise: Promise, end: i64) -> i64 {
            self.0.kept(promise, Offset(end));
            self.0.durable_offset().get()
        }
    }

    #[test]
    fn what_comes_behind_one_that_waits_waits_with_it() {
        let mut p = Fixture::new();
        assert_eq!(p.appended(5, Some(Promise::Synced)), 3);
        assert_eq!(p.appended(7, None), 3);
        assert_eq!(p.appended(10, Some(Promise::Synced)), 3);
        assert_eq!(p.appended(12, None), 3);
        assert_eq!(p.kept(Promise::Synced, 5), 7);
        assert_eq!(p.kept(Promise::Synced, 10), 12);
        assert_eq!(p.appended(13, None), 13);
    }

    #[test]
    fn a_sync_covers_what_is_before_it_and_a_write_only_what_need_not_be_synced() {
        let mut p = Fixture::new();
        p.appended(5, Some(Promise::Written));
        p.appended(7, Some(Promise::Synced));
        p.appended(9, Some(Promise::Written));
        p.appended(11, Some(Promise::Written));
        assert_eq!(p.kept(Promise::Written, 9), 5);
        assert_eq!(p.kept(Promise::Synced, 7), 9);
        assert_eq!(p.kept(Promise::Written, 11), 11);
        p.appended(13, Some(Promise::Synced));
        p.appended(15, Some(Promise::Synced));
        assert_eq!(p.kept(Promise::Synced, 15), 15);
        assert_eq!(p.kept(Promise::Synced, 13), 15);
    }

    #[test]
    fn one_that_failed_stays_in_the_way_until_a_sync_covers_it() {
        let mut p = Fixture::new();
        p.appended(5, Some(Promise::Synced));
        p.appended(7, Some(Promise::Written));
        assert_eq!(p.kept(Promise::Written, 7), 3);
        assert_eq!(p.appended(8, None), 3);
        p.appended(10, Some(Promise::Synced));
        assert_eq!(p.kept(Promise::Synced, 10), 10);
    }

    proptest! {
        /// Against the appends one by one: the log is durable up to the first that lacks something, and no less far.
        #[test]
        fn the_first_append_that_waits_is_where_it_ends(
            steps in prop::collection::vec((0..3u8, 1..4i64, any::<prop::sample::Index>(), any::<bool>()), 1..60),
        ) {
            let mut p = Fixture::new();
            let mut appends: Vec<(Range<i64>, Option<Promise>, bool)> = Vec::new();
            for (kind, records, which, tells) in steps {
                if tells && !appends.is_empty() {
                    let (of, promise, _) = appends[which.index(appends.len())].clone();
                    let Some(promise) = promise else { continue };
                    for (offsets, needs, has) in &mut appends {
                        let enough = promise == Promise::Synced || *needs == Some(Promise::Written);
                        *has |= offsets.end <= of.end && enough;
                    }
                    p.kept(promise, of.end);
                } else {
                    let start = p.0.log_end_offset.get();
                    let promise = [None, Some(Promise::Written), Some(Promise::Synced)][usize::from(kind)];
                    p.appended(start + records, promise);
                    appends.push((start..start + records, promise, promise.is_none()));
                }
                let expected = appends.iter().find(|(_, _, has)| !has).map(|(offsets, ..)| offsets.start);
                prop_assert_eq!(p.0.durable_offset().get(), expected.unwrap_or(p.0.log_end_offset.get()));
            }
        }
    }
}
