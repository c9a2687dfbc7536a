//! A log that moves to another directory: what it must be then, and what a crash on the way may leave.

use std::path::{Path, PathBuf};

use logrun_io::Disk;
use logrun_io::disk::Fault;
use logrun_model::{Offset, TopicPartition, Uuid};

use super::support::*;
use crate::{DirKind, Log, LogError, OpenState, TailCache, Writing, dir_name};

const CURRENT: &str = "/a/t-0";
const MOVED: &str = "/b/t-0";

fn name(kind: DirKind) -> String {
    dir_name(&TopicPartition::new("t", 0), kind, Uuid([7; 16]))
}

fn world(seed: u64) -> World {
    let world = World::new(seed);
    for dir in ["/a", "/b"] {
        world.disk.create_dir_all(Path::new(dir)).unwrap();
    }
    world.disk.sync_dir(Path::new("/")).unwrap();
    world
}

fn open(world: &World, path: &str) -> Result<Log, LogError> {
    Log::open(&world.env, Path::new(path), world.config.clone(), OpenState::NEW, world.now()).map(|(log, _)| log)
}

fn future_path() -> String {
    format!("/b/{}", name(DirKind::Future))
}

/// A log with what is hard to copy: epochs, producers, an aborted and an open transaction, a start inside of a batch.
fn written(world: &World) -> Result<Log, LogError> {
    let mut log = open(world, CURRENT)?;
    for i in 0..6 {
        log.append(&[batch_at(i * 3, 3, i as i32 / 2)], world.now())?;
    }
    log.append(&[producer_batch(18, 2, 5, 0, true)], world.now())?;
    log.append(&[producer_batch(20, 2, 6, 0, false), marker(22, 5, false)], world.now())?;
    log.append(&[producer_batch(23, 1, 8, 0, true)], world.now())?;
    log.set_log_start_offset(Offset(4))?;
    log.assign_epoch_start(logrun_model::LeaderEpoch(9), Offset(24));
    log.flush(world.now())?;
    Ok(log)
}

fn copy(world: &World, current: &Log, future: &mut Log, max_bytes: usize) -> Result<bool, LogError> {
    let read = current.plan_copy(future.log_end_offset(), max_bytes)?.run()?;
    Ok(future.append_copied(&read, world.now())? > 0)
}

/// Moves the log; `between` is done when about half is copied.
fn moving(world: &World, current: &mut Log, between: impl FnOnce(&mut Log, &mut Log)) -> Result<Log, LogError> {
    let mut future = open(world, &future_path())?;
    future.truncate_fully_and_start_at(current.log_start_offset(), world.now())?;
    for _ in 0..3 {
        copy(world, current, &mut future, 200)?;
    }
    between(current, &mut future);
    while copy(world, current, &mut future, 1)? {}
    future.take_place_of(current, "t-0", world.now())?;
    current.delete(&name(DirKind::Delete))?.run()?;
    Ok(future)
}

fn bytes(log: &Log) -> Vec<Vec<u8>> {
    read_batches(log, 1).into_iter().map(|b| b.bytes.to_vec()).collect()
}

/// What must be the same before and after.
fn picture(log: &Log) -> String {
    let batches = bytes(log);
    let (start, end) = (log.log_start_offset(), log.log_end_offset());
    let aborted = log.aborted_transactions(start, end).unwrap();
    let (unstable, producers) = (log.producers().first_unstable_offset(), log.producers().encode_snapshot());
    format!("{start} {end} {:?} {unstable:?} {aborted:?} {producers:?} {batches:?}", log.epochs())
}

#[test]
fn a_moved_log_is_the_same_log() {
    let world = world(1);
    let mut current = written(&world).unwrap();
    let mut before = String::new();
    let mut moved = moving(&world, &mut current, |current, _| {
        for i in 0..20 {
            current.append(&[batch_at(24 + i * 2, 2, 9)], world.now()).unwrap();
        }
        current.append(&[producer_batch(64, 1, 6, 2, false)], world.now()).unwrap();
        before = picture(current);
    })
    .unwrap();
    assert_eq!(picture(&moved), before);
    assert!(matches!(current.append(&[batch_at(65, 1, 9)], world.now()), Err(LogError::Offline { .. })));
    moved.append(&[batch_at(65, 1, 9)], world.now()).unwrap();
    moved.close(world.now()).unwrap();
    let after = picture(&open(&world, MOVED).unwrap());
    let log = Log::open(
        &world.env,
        Path::new(MOVED),
        world.config.clone(),
        OpenState { log_start_offset: Offset(4), clean_shutdown: true, ..OpenState::NEW },
        world.now(),
    );
    let (log, report) = log.unwrap();
    assert_eq!(report, Default::default());
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (Offset(4), Offset(66)));
    assert!(!after.is_empty() && world.disk.list(Path::new("/a")).unwrap().is_empty());
}

#[test]
fn a_log_that_loses_its_front_on_the_way_is_moved_too() {
    let world = world(1);
    for start in [10, 16, 24] {
        let mut current = written(&world).unwrap();
        let moved = moving(&world, &mut current, |current, future| {
            assert!(future.log_end_offset() < Offset(16));
            current.set_log_start_offset(Offset(start)).unwrap();
        });
        let moved = moved.unwrap();
        assert_eq!((moved.log_start_offset(), moved.log_end_offset()), (Offset(start), Offset(24)));
        let first = read_batches(&moved, 1).first().map(|b| b.header.base_offset.get());
        assert!(first.is_none_or(|first| first <= start && first + 3 > start), "{first:?}");
        world.disk.remove_dir_all(Path::new(MOVED)).unwrap();
    }
}

#[test]
fn what_an_earlier_process_copied_is_cut_to_what_both_have() {
    let world = world(1);
    let mut current = written(&world).unwrap();
    let mut future = open(&world, &future_path()).unwrap();
    future.truncate_fully_and_start_at(current.log_start_offset(), world.now()).unwrap();
    while copy(&world, &current, &mut future, 1 << 20).unwrap() {}
    // What was deleted is there again: the copy lacks it.
    let mut again = open(&world, CURRENT).unwrap();
    assert_eq!(again.log_start_offset(), Offset(0));
    future.agree_with(&again, world.now()).unwrap();
    while copy(&world, &again, &mut future, 1 << 20).unwrap() {}
    assert_eq!(bytes(&future), bytes(&again));
    again.take_offline();
    // The end of the current log was lost, and is written anew under a later epoch.
    current.truncate_to(Offset(15), world.now()).unwrap();
    current.append(&[batch_at(15, 2, 10), batch_at(17, 6, 10)], world.now()).unwrap();
    future.agree_with(&current, world.now()).unwrap();
    assert_eq!(future.log_end_offset(), Offset(15));
    while copy(&world, &current, &mut future, 1 << 20).unwrap() {}
    future.take_place_of(&current, "t-0", world.now()).unwrap();
    assert_eq!(picture(&future), picture(&current));
}

/// The world stops at every step of a move in turn; then one of the directories holds the whole log.
#[test]
fn a_crash_at_any_step_leaves_a_whole_log() {
    for power_cut in [false, true] {
        let mut stopped_at_all = 0;
        for at in 1.. {
            let world = world(at);
            let mut current = written(&world).unwrap();
            let before = bytes(&current);
            world.disk.halt_at(world.disk.counts().mutations + at);
            let done = moving(&world, &mut current, |_, _| {}).is_ok();
            drop(current);
            if power_cut {
                world.disk.crash(&world.io.random);
            } else {
                world.disk.kill();
            }
            let there = |p: &&&str| world.disk.info(Path::new(p)).unwrap().is_some();
            let logs = [CURRENT, MOVED].iter().filter(there).map(|p| open(&world, p).unwrap());
            let mut whole = logs.max_by_key(Log::log_end_offset).expect("a log is left");
            whole.set_log_start_offset(Offset(4)).unwrap();
            assert_eq!(bytes(&whole), before, "stopped at {at}");
            // A future log that is left is gone on with.
            let left: Vec<PathBuf> =
                world.disk.list(Path::new("/b")).unwrap().into_iter().map(|e| Path::new("/b").join(e.name)).collect();
            if let Some(path) = left.iter().find(|p| p.to_string_lossy().ends_with("-future")) {
                let mut future = open(&world, &path.to_string_lossy()).unwrap();
                future.agree_with(&whole, world.now()).unwrap();
                while copy(&world, &whole, &mut future, 300).unwrap() {}
                future.take_place_of(&whole, "t-0", world.now()).unwrap();
                assert_eq!(picture(&future), picture(&whole), "stopped at {at}");
            }
            if done {
                break;
            }
            stopped_at_all += 1;
        }
        assert!(stopped_at_all > 30, "{stopped_at_all}");
    }
}

/// The disk is full at every step of the last one in turn: neither log is the worse for it, and the move goes on.
#[test]
fn a_full_disk_at_any_step_of_the_last_one_only_holds_it_up() {
    for journal_bytes in [0, 1 << 20] {
        let (mut waited, mut ended) = (0, 0);
        for at in 1..80 {
            let mut world = world(at);
            world.env.tail = TailCache::with_writing(
                1 << 20,
                Writing { journal: journal_for_all(journal_bytes), ..Writing::default() },
            );
            let current = written(&world).unwrap();
            let mut future = open(&world, &future_path()).unwrap();
            future.set_topic_id(Uuid([3; 16])).unwrap();
            future.truncate_fully_and_start_at(current.log_start_offset(), world.now()).unwrap();
            copy(&world, &current, &mut future, 200).unwrap();
            world.disk.fail_mutation(world.disk.counts().mutations + at, Fault::NoSpace);
            match future.take_place_of(&current, "t-0", world.now()) {
                // It came later, or nothing was lost by it.
                Ok(()) => {}
                Err(e) if e.is_retriable() => {
                    future.take_place_of(&current, "t-0", world.now()).unwrap_or_else(|e| panic!("at {at}: {e}"));
                    waited += 1;
                }
                // A sync that failed is no lack of room.
                Err(e) => {
                    assert!(e.is_storage_failure(), "at {at}: {e}");
                    ended += 1;
                    continue;
                }
            }
            assert_eq!(picture(&future), picture(&current), "at {at}");
            assert_eq!(future.dir(), Path::new(MOVED));
        }
        assert!(waited > 10 && ended > 5, "{waited} {ended}");
    }
}
