//! Large appends, which are gathered and written beside who appends: how much at once, who is told when, and what of it a
//! failing disk, a full one or a deletion leaves.

use std::path::Path;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use logrun_io::disk::Fault;
use logrun_model::Offset;
use tokio::runtime::Runtime;

use super::support::*;
use crate::{Durability, Durable, Log, LogConfig, LogError, OpenState, TailCache, Writing};

const GATHER_BYTES: usize = 64 << 10;

struct Fixture {
    world: World,
    runtime: Runtime,
    log: Log,
}

impl Fixture {
    fn new(config: LogConfig) -> Self {
        let mut world = World::with_config(1, LogConfig { segment_bytes: 2 << 20, ..config });
        let writing = Writing { gather_bytes: GATHER_BYTES, ..Writing::default() };
        world.env.tail = TailCache::with_writing(8 << 20, writing);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let log = world.open(OpenState::NEW).0;
        Self { world, runtime, log }
    }

    fn append(&mut self, base_offset: i64, bytes: usize) -> Result<Durable, LogError> {
        let _in = self.runtime.enter();
        Ok(self.log.append_groups(&[large(base_offset, bytes)], None, true, self.world.now())?.durable)
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
fn a_small_append_alone_is_written_at_once() {
    let mut f = Fixture::new(LogConfig::default());
    assert!(matches!(f.append(0, 100).unwrap(), Durable::Ready));
    assert_eq!(f.killed().log_end_offset(), Offset(1));
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
    // The append that was refused has it tried again.
    f.turn();
    poll(&mut first).unwrap().unwrap();
    poll(&mut second).unwrap().unwrap();
    f.append(3, 100).unwrap();
    assert_eq!(f.killed().log_end_offset(), Offset(4));
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
