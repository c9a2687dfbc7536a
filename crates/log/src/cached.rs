//! Reading what the system's page cache still has, without reading it: the place in the segment's file, from which the
//! kernel sends it (the counterpart of Kafka's `FileRecords` slices and `transferTo`).
//!
//! Only bytes that this process appended are given out so. They were checked when they came; what a disk
//! gave back is checked again, by [`ReadPlan::run`]. Nothing here waits for the device: whether the pages are there is tried
//! at the batches' headers and at every [`PROBE_BYTES`], and what isn't found is `run`'s.

use logrun_io::{File, FileRange};
use logrun_model::Offset;

use crate::read::{ReadPlan, SegmentRef, Source};
use crate::walk::{SPAN_BYTES, Span};

/// The page cache takes in and gives up pages in rows: one page is tried for so many bytes.
const PROBE_BYTES: usize = 128 << 10;

/// Whole batches, in order, in a file.
#[derive(Clone, Debug)]
pub struct LogRange {
    /// Not empty.
    pub range: FileRange,
    /// Behind the last batch, and not behind the one that follows.
    pub next_offset: Offset,
}

impl ReadPlan {
    /// What there is for the reader, if it is in the page cache and need not be looked at; `None` if not, or if there is
    /// nothing, and [`Self::run`] will say. Does not wait.
    pub fn cached(&self) -> Option<LogRange> {
        let Source::Files { sealed, first, active, .. } = &self.source else { return None };
        // A segment that compaction emptied has nothing at or after the offset; the next one may.
        for segment in sealed[(*first).min(sealed.len())..].iter().chain([active]) {
            if segment.shared.base_offset >= self.upper_bound {
                return None;
            }
            match self.cached_in(segment)? {
                Cached::Behind => {}
                Cached::Here(found) => return Some(found),
            }
        }
        None
    }

    fn cached_in(&self, segment: &SegmentRef) -> Option<Cached> {
        let shared = &segment.shared;
        let written_from = shared.file.appended_from()?;
        let size = shared.file.readable(segment.size);
        let mut at = shared.with_loaded_offsets(|index| index.lookup(self.from).1)?;
        let handle = shared.file.handle(false).ok()?;
        let file = &*handle;
        let first = loop {
            if at >= size {
                // Either all of it lies before, or the file lacks what is to come.
                return (size == segment.size).then_some(Cached::Behind);
            }
            let span = span(file, at)?;
            if span.last_offset >= self.from {
                break span;
            }
            at = span.end();
        };
        let too_large = first.size > self.max_bytes && !self.min_one_batch;
        if at < written_from || first.last_offset >= self.upper_bound || first.end() > size || too_large {
            return None;
        }
        let limit = size.min(at.saturating_add(self.max_bytes.max(first.size) as u64));
        let (mut end, mut next_offset) = (first.end(), first.next_offset());
        let far = shared.with_loaded_offsets(|index| index.last_at(self.upper_bound, limit))?;
        if far > end && far < size {
            end = far;
            next_offset = span(file, far)?.base_offset;
        }
        while end < limit {
            let span = span(file, end)?;
            if span.end() > limit || span.last_offset >= self.upper_bound {
                break;
            }
            end = span.end();
            next_offset = span.next_offset();
        }
        let probes = (at..end).step_by(PROBE_BYTES).chain([end - 1]);
        for place in probes {
            if file.read_cached(place, &mut [0]).ok()? != Some(1) {
                return None;
            }
        }
        let len = usize::try_from(end - at).ok()?;
        Some(Cached::Here(LogRange { range: FileRange::new(handle, at, len), next_offset }))
    }
}

enum Cached {
    /// All of the segment lies before the offset.
    Behind,
    Here(LogRange),
}

/// The batch at `at`, if its header is cached and says all that there is to know.
fn span(file: &dyn File, at: u64) -> Option<Span> {
    let mut head = [0; SPAN_BYTES];
    if file.read_cached(at, &mut head).ok()? != Some(SPAN_BYTES) {
        return None;
    }
    Span::parse(&head, at).ok().filter(|span| span.header.is_some())
}

#[cfg(test)]
mod tests {
    use logrun_io::Random;

    use super::*;
    use crate::tests::support::*;
    use crate::{Log, LogEnv, OpenState, TailCache};

    fn uncached_world() -> World {
        let mut world = World::new(1);
        world.env = LogEnv { tail: TailCache::new(0), ..world.env };
        world
    }

    fn filled(world: &World, from: i64, to: i64) -> Log {
        let mut log = world.open_small();
        for i in from..to {
            log.append(&[batch_at(i * 2, 2, 0)], world.now()).unwrap();
        }
        // The indexes are in memory from here on.
        read_batches(&log, 1);
        log
    }

    fn contents(found: &LogRange) -> Vec<u8> {
        let mut bytes = vec![0; found.range.len()];
        assert_eq!(found.range.file().read_at(found.range.offset(), &mut bytes).unwrap(), bytes.len());
        bytes
    }

    #[test]
    fn a_range_is_what_a_read_gives() {
        let world = uncached_world();
        let log = filled(&world, 0, 30);
        let one = batch_at(0, 2, 0).size_in_bytes();
        let mut ranges = 0;
        for random in [None, Some(Random::from_seed(3))] {
            for from in 0..60 {
                for max_bytes in [0, 1, one, one * 2 + 5, 10_000] {
                    for upper in [from, from + 1, from + 7, 60] {
                        for min_one in [false, true] {
                            let plan = log.plan_read(Offset(from), Offset(upper), max_bytes, min_one).unwrap();
                            if let Some(random) = &random {
                                world.disk.cache_randomly(random.clone());
                            }
                            let found = plan.cached();
                            let read = plan.run().unwrap();
                            assert!(found.is_some() || random.is_some() || read.bytes == 0);
                            if let Some(found) = found {
                                ranges += 1;
                                assert_eq!(
                                    (contents(&found), found.next_offset),
                                    (read.slices.concat(), read.next_offset)
                                );
                            }
                        }
                    }
                }
            }
        }
        assert!(ranges > 500);
    }

    #[test]
    fn what_the_page_cache_lacks_is_read() {
        let world = uncached_world();
        let log = filled(&world, 0, 10);
        let plan = log.plan_read(Offset(0), Offset(20), 10_000, true).unwrap();
        assert!(plan.cached().is_some());
        world.disk.keep_cached(false);
        assert!(plan.cached().is_none());
        world.disk.keep_cached(true);
        assert!(plan.cached().is_some());
    }

    #[test]
    fn what_an_earlier_process_wrote_is_checked_before_it_is_sent() {
        let world = uncached_world();
        drop(filled(&world, 0, 10));
        let (mut log, _) = world.open(OpenState::NEW);
        for i in 10..30 {
            log.append(&[batch_at(i * 2, 2, 0)], world.now()).unwrap();
        }
        for from in 0..60 {
            let plan = log.plan_read(Offset(from), Offset(60), 10_000, true).unwrap();
            plan.clone().run().unwrap();
            assert_eq!(plan.cached().is_some(), from >= 20, "{from}");
        }
    }

    #[test]
    fn a_range_outlives_the_log() {
        let world = uncached_world();
        let log = filled(&world, 0, 3);
        let found = log.plan_read(Offset(0), Offset(6), 10_000, true).unwrap().cached().unwrap();
        let read = log.read(Offset(0), Offset(6), 10_000, true).unwrap();
        drop(log);
        world.io.disk.remove_dir_all(std::path::Path::new(DIR)).unwrap();
        assert_eq!(contents(&found), read.slices.concat());
    }
}
