//! Large appends, which are gathered and written beside who appends: how much at once, who is told when, and what of it a
//! failing disk, a full one or a deletion leaves.

use std::path::Path;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use logrun_io::Random;
use logrun_io::disk::{Fault, read_all};
use logrun_model::{Monotonic, Now, Offset, Uuid};
use tokio::runtime::Runtime;

use super::support::*;
use crate::names::INDEX_SUFFIX;
use crate::{Durability, Durable, Log, LogConfig, LogError, OpenState, TailCache, Writing, is_passing};

const GATHER_BYTES: usize = 64 << 10;

struct Fixture {
    world: World,
    runtime: Runtime,
    log: Log,
}

impl Fixture {
    fn new(config: LogConfig) -> Self {
        Self::with_cache(config, 8 << 20)
    }

    fn with_cache(config: LogConfig, cache_bytes: usize) -> Self {
        Self::with(LogConfig { segment_bytes: 2 << 20, ..config }, cache_bytes, 0)
    }

    fn with(config: LogConfig, cache_bytes: usize, journal_bytes: u64) -> Self {
        let mut world = World::with_config(1, config);
        let writing = Writing { gather_bytes: GATHER_BYTES, journal: journal_for_all(journal_bytes) };
        world.env.tail = TailCache::with_writing(cache_bytes, writing);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let log = world.open(OpenState::NEW).0;
        Self { world, runtime, log }
    }

    fn append(&mut self, base_offset: i64, bytes: usize) -> Result<Durable, LogError> {
        let _in = self.runtime.enter();
        Ok(self.log.append_groups(&[large(base_offset, bytes)], None, true, self.world.now())?.durable)
    }

    /// An append when so many milliseconds have passed.
    fn append_after(&mut self, ms: u64, base_offset: i64, bytes: usize) -> Durable {
        let _in = self.runtime.enter();
        let now = Now { monotonic: Monotonic(Duration::from_millis(ms)), ..self.world.now() };
        self.log.append_groups(&[large(base_offset, bytes)], None, true, now).unwrap().durable
    }

    /// What runs beside has its turn.
    fn turn(&self) {
        self.runtime.block_on(tokio::task::yield_now());
    }

    fn killed(self) -> Log {
        drop(self.log);
        self.world.disk.kill();
        Log::open(&self.world.env, Path::new(DIR), self.world.config.clone(), OpenState::NEW, self.world.now())
            .unwrap()
            .0
    }
}

fn poll(durable: &mut Durable) -> Option<Result<(), LogError>> {
    match durable {
        Durable::Ready => Some(Ok(())),
        Durable::Pending(_, told) => match told.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => None,
        },
    }
}

#[test]
fn what_comes_together_is_written_together_and_told_then() {
    for refuses in [false, true] {
        let mut f = Fixture::new(LogConfig::default());
        f.world.disk.refuse_direct(refuses);
        let mut expected = Vec::new();
        drop(f.append(0, 100).unwrap());
        expected.push(large(0, 100).to_bytes());
        for round in 0..12 {
            let (before, segments) = (f.world.disk.counts().mutations, f.log.segment_count());
            let mut told: Vec<Durable> = Vec::new();
            for i in 0..8 {
                // A small one behind a large one has its place in the order.
                let bytes = if i == 5 { 100 } else { GATHER_BYTES + 1000 * i };
                let at = 1 + round * 8 + i as i64;
                expected.push(large(at, bytes).to_bytes());
                told.push(f.append(at, bytes).unwrap());
            }
            assert!(told.iter_mut().all(|d| poll(d).is_none()));
            // Readers have it from memory meanwhile.
            assert_eq!(read_batches(&f.log, 1 << 20).len(), expected.len());
            f.turn();
            for durable in &mut told {
                poll(durable).expect("it is written").unwrap();
            }
            let writes = f.world.disk.counts().mutations - before;
            // The ragged ends and what is between; a new segment has files of its own, and divides what is written.
            let most = if f.log.segment_count() == segments { 3 } else { 20 };
            assert!(writes <= most, "{writes} for 8 appends");
        }
        assert!(f.log.segment_count() > 1);
        let log = f.killed();
        let found: Vec<_> = read_batches(&log, 1 << 20).into_iter().map(|b| b.bytes).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn what_went_through_the_page_cache_is_sent_from_it() {
    // Past it from 256 KiB on, where the file system can.
    for (bytes, refuses, cached) in [(100_000, false, true), (400_000, false, false), (400_000, true, true)] {
        let mut f = Fixture::new(LogConfig::default());
        f.world.disk.refuse_direct(refuses);
        for at in 0..3 {
            drop(f.append(at, bytes).unwrap());
            f.turn();
        }
        f.log.tail.clear();
        let file = &f.log.active().shared.file;
        assert_eq!(file.is_settled(f.world.io.clock.now()), !cached);
        for at in 0..3 {
            let plan = f.log.plan_read(Offset(at), Offset(3), 1, true).unwrap();
            let found = plan.cached();
            assert_eq!(found.is_some(), cached, "{bytes} at {at}");
            assert!(found.is_none_or(|found| found.range.len() == large(at, bytes).size_in_bytes()));
            assert_eq!(plan.run().unwrap().slices.concat(), large(at, bytes).to_bytes());
        }
    }
}

#[test]
fn what_is_queued_behind_a_cut_is_kept_for_readers_until_it_is_written() {
    let mut f = Fixture::with_cache(LogConfig::default(), 1 << 20);
    let mut other = f.world.open_at("/data/other-0");
    for at in 0..10 {
        drop(f.append(at, 100_000).unwrap());
    }
    f.turn();
    f.log.truncate_to(Offset(2), f.world.now()).unwrap();
    for at in 2..8 {
        drop(f.append(at, 100_000).unwrap());
    }
    for at in 0..4 {
        other.append(&[large(at, 100_000)], f.world.now()).unwrap();
    }
    assert!(f.log.plan_read(Offset(2), Offset(8), 1, true).unwrap().is_in_memory());
    assert_eq!(read_batches(&f.log, 1 << 20).len(), 8);
}

#[test]
fn what_the_journal_has_behind_gathered_appends_is_told_with_them() {
    for refuses in [false, true] {
        let mut f = Fixture::with(LogConfig::default(), 32 << 20, 8 << 20);
        f.world.disk.refuse_direct(refuses);
        f.log.set_topic_id(Uuid([1; 16])).unwrap();
        // More than is written at once.
        let mut told: Vec<_> = (0..5).map(|at| f.append(at, 1_000_000).unwrap()).collect();
        let now = f.world.now();
        let in_it = f.runtime.enter();
        told.push(f.log.append(&[large(5, 100)], now).unwrap().durable);
        drop(in_it);
        assert!(told.iter_mut().all(|d| poll(d).is_none()));
        f.turn();
        for durable in &mut told {
            poll(durable).expect("it is written").unwrap();
        }
    }
}

#[test]
fn small_appends_are_gathered_while_there_are_very_many() {
    let mut f = Fixture::with(LogConfig::default(), 32 << 20, 0);
    for at in 0..200 {
        assert!(matches!(f.append_after(1000, at, GATHER_BYTES - 1000), Durable::Ready));
    }
    let mut gathered = f.append_after(1050, 200, 100);
    assert!(poll(&mut gathered).is_none());
    f.turn();
    poll(&mut gathered).expect("it is written").unwrap();
    assert!(matches!(f.append_after(10_000, 201, 100), Durable::Ready));
}

/// What the journal has of earlier appends is written a megabyte at a time, and the device may be busy.
#[test]
fn a_large_append_does_not_wait_for_what_the_journal_has() {
    let mut f = Fixture::with(LogConfig::default(), 32 << 20, 64 << 20);
    f.log.set_topic_id(Uuid([1; 16])).unwrap();
    assert!(matches!(f.append(0, 100).unwrap(), Durable::Ready));
    assert!(matches!(f.append(1, GATHER_BYTES).unwrap(), Durable::Ready));
    // Those that go on being large are written once only.
    let waiting = (2..100).find(|at| !matches!(f.append(*at, GATHER_BYTES).unwrap(), Durable::Ready));
    assert!((60..70).contains(&waiting.unwrap()), "{waiting:?}");
}

/// The journal is full, and the device is busy.
#[test]
fn without_room_in_the_journal_an_append_is_gathered() {
    let mut f = Fixture::with(LogConfig::default(), 32 << 20, 1 << 20);
    f.log.set_topic_id(Uuid([1; 16])).unwrap();
    let waiting = (0..20).find(|at| !matches!(f.append(*at, GATHER_BYTES - 100).unwrap(), Durable::Ready));
    let mut last = f.append(waiting.unwrap() + 1, 100).unwrap();
    assert!(poll(&mut last).is_none());
    f.turn();
    poll(&mut last).expect("it is written").unwrap();
}

#[test]
fn a_small_append_alone_is_written_at_once() {
    let mut f = Fixture::new(LogConfig::default());
    assert!(matches!(f.append(0, 100).unwrap(), Durable::Ready));
    assert_eq!(f.killed().log_end_offset(), Offset(1));
}

#[test]
fn a_write_that_fails_or_comes_short_is_told_and_acknowledges_nothing() {
    for fault in [Fault::Io, Fault::Torn] {
        for n in 1..4 {
            let mut f = Fixture::new(LogConfig::default());
            for at in 0..4 {
                drop(f.append(at, GATHER_BYTES).unwrap());
            }
            f.turn();
            f.world.disk.fail_mutation(f.world.disk.counts().mutations + n, fault);
            let mut told: Vec<_> = (4..12).map(|at| f.append(at, 100_000).unwrap()).collect();
            f.turn();
            let failed = told.iter_mut().filter_map(poll).filter(Result::is_err).count();
            let acknowledged = told.len() - failed;
            if failed > 0 {
                assert!(matches!(f.append(12, 100_000), Err(LogError::Io { .. })));
            }
            let found = read_batches(&f.killed(), 1 << 20);
            assert!(found.len() >= 4 + acknowledged, "{} of {}", found.len(), 4 + acknowledged);
            for (i, b) in found.iter().enumerate() {
                assert_eq!(b.bytes, large(i as i64, if i < 4 { GATHER_BYTES } else { 100_000 }).to_bytes());
            }
        }
    }
}

#[test]
fn a_panic_stops_the_log_that_it_is_of_and_no_other() {
    let mut f = Fixture::new(LogConfig::default());
    let mut other = f.world.open_at("/data/other-0");
    for at in 0..3 {
        let now = f.world.now();
        drop(f.append(at, GATHER_BYTES).unwrap());
        let in_it = f.runtime.enter();
        drop(other.append_groups(&[large(at, GATHER_BYTES)], None, true, now).unwrap());
        drop(in_it);
        f.turn();
    }
    f.world.disk.fail_mutation(f.world.disk.counts().mutations + 1, Fault::Panic);
    let mut lost = f.append(3, GATHER_BYTES).unwrap();
    let in_it = f.runtime.enter();
    let now = f.world.now();
    let mut kept = other.append_groups(&[large(3, GATHER_BYTES)], None, true, now).unwrap().durable;
    drop(in_it);
    f.turn();
    f.turn();
    poll(&mut kept).expect("it is written").unwrap();
    // What it was about to write is gone, so that nothing may follow.
    assert!(matches!(poll(&mut lost), Some(Err(LogError::Offline { .. }))));
    assert!(matches!(f.append(4, GATHER_BYTES), Err(LogError::Offline { .. })));
    assert_eq!(f.killed().log_end_offset(), Offset(3));
}

#[test]
fn who_waits_for_room_on_a_full_disk_gets_it() {
    let mut f = Fixture::new(LogConfig::default());
    drop(f.append(0, GATHER_BYTES).unwrap());
    f.turn();
    f.world.disk.set_capacity(Some(f.world.disk.used() + 150_000));
    let mut first = f.append(1, 100_000).unwrap();
    let mut second = f.append(2, 100_000).unwrap();
    f.turn();
    assert!(poll(&mut first).is_none() && poll(&mut second).is_none());
    assert!(matches!(f.append(3, 100), Err(LogError::DiskFull { .. })));
    f.world.disk.set_capacity(None);
    // The next append has it tried again, and is itself not told of what was: there is room.
    f.append(3, 100).unwrap();
    poll(&mut first).unwrap().unwrap();
    poll(&mut second).unwrap().unwrap();
    assert_eq!(f.killed().log_end_offset(), Offset(4));
}

#[test]
fn who_reads_a_segment_whose_end_is_queued_waits_for_nothing_and_leaves_its_index() {
    let mut f = Fixture::with_cache(LogConfig::default(), 1 << 20);
    for at in 0..10 {
        drop(f.append(at, 100_000).unwrap());
    }
    f.turn();
    // The segment is full, and the next one begun, while its second half is queued.
    let end = (10..).find(|at| f.append(*at, 100_000).map(|_| f.log.segment_count()).unwrap() > 1).unwrap() + 1;
    let index = || read_all(&f.world.disk, &f.log.segments[&Offset(0)].shared.path(INDEX_SUFFIX)).unwrap().unwrap();
    let (before, whole) = (f.world.disk.counts().mutations, index());
    let read = |from| f.log.plan_read(Offset(from), Offset(end), 1, true).unwrap();
    assert!(!read(0).is_in_memory() && read(15).is_in_memory());
    assert_eq!(read(3).run().unwrap().slices.concat(), large(3, 100_000).to_bytes());
    // What neither memory nor the file has is not there yet, and not skipped.
    f.log.tail.clear();
    for from in 10..end - 1 {
        let found = read(from).run().unwrap();
        assert_eq!((found.bytes, found.next_offset), (0, Offset(from)));
    }
    assert_eq!(f.world.disk.counts().mutations, before);
    f.turn();
    assert_eq!(read_batches(&f.log, 1 << 20).len() as i64, end);
    f.log.flush(f.world.now()).unwrap();
    let index = || read_all(&f.world.disk, &f.log.segments[&Offset(0)].shared.path(INDEX_SUFFIX)).unwrap().unwrap();
    assert_eq!(index(), whole);
}

#[test]
fn a_full_disk_is_forgotten_with_what_it_had_no_room_for() {
    let mut f = Fixture::new(LogConfig::default());
    drop(f.append(0, GATHER_BYTES).unwrap());
    f.turn();
    f.world.disk.fail_mutation(f.world.disk.counts().mutations + 1, Fault::NoSpace);
    let mut told = f.append(1, GATHER_BYTES).unwrap();
    f.turn();
    assert!(poll(&mut told).is_none());
    // What is in the way of everybody is deleted.
    let now = f.world.now();
    f.log.set_log_start_offset(Offset(2)).unwrap();
    assert!(f.log.roll(now).unwrap());
    assert_eq!(f.log.delete_old_segments(Offset(2), now).unwrap(), 1);
    poll(&mut told).unwrap().unwrap();
    let mut told = f.append(2, GATHER_BYTES).unwrap();
    f.turn();
    poll(&mut told).unwrap().unwrap();
    assert_eq!(f.killed().log_end_offset(), Offset(3));
}

#[test]
fn a_flush_that_finds_no_room_leaves_its_files_to_the_next() {
    for seed in 0..20 {
        let mut f = Fixture::new(LogConfig::default());
        for at in 0..8 {
            drop(f.append(at, GATHER_BYTES).unwrap());
        }
        f.turn();
        drop(f.append(8, GATHER_BYTES).unwrap());
        let plan = f.log.plan_flush(f.world.now()).unwrap().unwrap();
        f.world.disk.fail_mutation(f.world.disk.counts().mutations + 1, Fault::NoSpace);
        assert!(matches!(plan.run(), Err(LogError::DiskFull { .. })));
        let flushed = f.log.plan_flush(f.world.now()).unwrap().unwrap().run().unwrap();
        f.log.finish_flush(flushed).unwrap();
        assert_eq!(f.log.recovery_point(), Offset(9));
        let index = || {
            let path = f.log.active().shared.path(INDEX_SUFFIX);
            read_all(&f.world.disk, &path).unwrap().unwrap()
        };
        let before = index();
        assert!(before.len() > 8);
        f.world.disk.crash(&Random::from_seed(seed));
        assert_eq!(index(), before, "seed {seed}");
    }
}

#[test]
fn a_want_of_descriptors_fails_no_log() {
    // Through the page cache, and past it.
    for bytes in [GATHER_BYTES, 400_000] {
        let mut f = Fixture::new(LogConfig::default());
        drop(f.append(0, GATHER_BYTES).unwrap());
        f.turn();
        f.log.active().shared.file.release();
        f.world.disk.refuse_opens(true);
        let mut told = f.append(1, bytes).unwrap();
        f.turn();
        assert!(poll(&mut told).is_none());
        let refused = f.append(2, bytes).unwrap_err();
        assert!(matches!(&refused, LogError::Io { .. }) && refused.is_retriable(), "{refused}");
        // Nor does one who wants the file take it for a failure of the directory.
        assert!(is_passing(&f.log.active().shared.file.reader().unwrap_err()));
        f.turn();
        f.world.disk.refuse_opens(false);
        // The next append has it tried again.
        drop(f.append(2, bytes).unwrap());
        poll(&mut told).unwrap().unwrap();
        f.log.active().shared.file.release();
        f.world.disk.refuse_opens(true);
        assert!(f.log.sync.sync_now().is_err());
        f.world.disk.refuse_opens(false);
        f.log.sync.sync_now().unwrap();
        // A segment that was just begun has its indexes to be looked for.
        let now = f.world.now();
        assert!(f.log.roll(now).unwrap());
        f.world.disk.refuse_opens(true);
        assert!(f.append(3, 100).unwrap_err().is_retriable());
        f.world.disk.refuse_opens(false);
        assert!(f.append(3, 100).is_ok());
        assert_eq!(f.killed().log_end_offset(), Offset(4));
    }
}

#[test]
fn what_is_to_be_on_the_device_waits_for_room_as_well() {
    let mut f = Fixture::new(LogConfig { durability: Durability::Sync, ..LogConfig::default() });
    drop(f.append(0, GATHER_BYTES).unwrap());
    f.turn();
    f.world.disk.set_capacity(Some(f.world.disk.used() + 50_000));
    let (told, other) = (f.append(1, 100_000).unwrap(), f.append(2, 100_000).unwrap());
    let disk = f.world.disk.clone();
    f.runtime.block_on(async {
        tokio::time::pause();
        let room = async {
            tokio::time::sleep(Duration::from_millis(1500)).await;
            disk.set_capacity(None);
        };
        let (told, other, ()) = tokio::join!(told.wait(), other.wait(), room);
        told.unwrap();
        other.unwrap();
    });
    f.world.disk.crash(&f.world.io.random);
    assert_eq!(f.world.open(OpenState::NEW).0.log_end_offset(), Offset(3));
}

#[test]
fn a_sync_that_finds_no_room_is_a_failure_of_the_device() {
    let mut f = Fixture::new(LogConfig { durability: Durability::Sync, ..LogConfig::default() });
    let mut told = f.append(0, 100).unwrap();
    f.world.disk.fail_mutation(f.world.disk.counts().mutations + 1, Fault::NoSpace);
    let outcome = poll(&mut told).expect("nobody waits for room");
    assert!(outcome.is_err_and(|e| e.is_storage_failure()));
}

#[test]
fn a_deletion_is_no_failure_of_the_directory() {
    let mut f = Fixture::new(LogConfig::default());
    drop(f.append(0, 100).unwrap());
    let mut told = f.append(1, GATHER_BYTES).unwrap();
    f.log.delete("t-0.0123456789abcdef0123456789abcdef-delete").unwrap().run().unwrap();
    let outcome = poll(&mut told).expect("nobody waits for what is deleted");
    assert!(matches!(outcome, Err(LogError::Truncated)), "{outcome:?}");
    f.turn();
}

#[test]
fn under_memory_an_append_is_done_when_it_can_be_read_and_written_a_moment_later() {
    let config = LogConfig { durability: Durability::Memory, ..LogConfig::default() };
    let mut f = Fixture::new(config);
    drop(f.append(0, 100).unwrap());
    f.turn();
    let before = f.world.disk.counts().mutations;
    for at in 1..50 {
        assert!(matches!(f.append(at, 100).unwrap(), Durable::Ready));
    }
    assert_eq!(f.world.disk.counts().mutations, before);
    assert_eq!(read_batches(&f.log, 1 << 20).len(), 50);
    // By itself: nobody appends or reads.
    f.runtime.block_on(async { tokio::time::sleep(Duration::from_millis(20)).await });
    let writes = f.world.disk.counts().mutations - before;
    assert!((1..4).contains(&writes), "{writes}");
    assert_eq!(f.killed().log_end_offset(), Offset(50));
}
