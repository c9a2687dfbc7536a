//! Logs that are written by way of a journal: many at once, in large writes, and what another program left.

use std::path::Path;

use logrun_io::{Disk, OpenMode, Random};
use logrun_model::{Offset, Uuid};

use super::support::*;
use crate::{Durability, JournalConfig, Journaled, Log, LogConfig, OpenState, TailCache, Writing, journal};

const JOURNAL_BYTES: u64 = 8 << 20;

fn world(config: LogConfig, journal_bytes: u64) -> World {
    let mut world = World::with_config(1, config);
    restart(&mut world, journal_bytes);
    world
}

/// With a journal for what a power cut must not take.
fn synced_world(journal_bytes: u64) -> World {
    let mut world = World::with_config(1, LogConfig { durability: Durability::Sync, ..small_config() });
    restart_synced(&mut world, journal_bytes);
    world
}

fn restart_synced(world: &mut World, journal_bytes: u64) {
    restart(world, journal_bytes);
    let writing = Writing {
        journal: Some(JournalConfig { journaled: Journaled::Synced, bytes: journal_bytes }),
        ..Writing::default()
    };
    world.env.tail = TailCache::with_writing(8 << 20, writing);
}

/// What a process does at its start.
fn restart(world: &mut World, journal_bytes: u64) {
    journal::redo(&world.disk, Path::new("/data")).unwrap();
    world.env.tail =
        TailCache::with_writing(8 << 20, Writing { journal: journal_for_all(journal_bytes), ..Writing::default() });
}

fn open(world: &World, n: u8) -> Log {
    let dir = format!("/data/t-{n}");
    let (mut log, _) =
        Log::open(&world.env, Path::new(&dir), world.config.clone(), OpenState::NEW, world.now()).unwrap();
    log.set_topic_id(Uuid([n + 1; 16])).unwrap();
    log
}

fn len(world: &World, path: &str) -> u64 {
    world.disk.info(Path::new(path)).unwrap().unwrap().len
}

#[test]
fn large_appends_are_written_in_whole_blocks_and_read_from_anywhere() {
    for refuses in [false, true] {
        let mut world = world(LogConfig { segment_bytes: 6 << 20, ..LogConfig::default() }, JOURNAL_BYTES);
        world.disk.refuse_direct(refuses);
        let mut log = open(&world, 0);
        for i in 0..80 {
            log.append(&[large(i, 130_000 + i as usize * 7)], world.now()).unwrap();
            if i == 40 && !refuses {
                let len = len(&world, "/data/t-0/00000000000000000000.log");
                assert!(len > 4 << 20 && len.is_multiple_of(4096), "{len}");
            }
        }
        assert!(log.segment_count() > 1);
        let all = read_batches(&log, 100_000);
        assert_eq!(all.len(), 80);
        let cold = log.plan_read(Offset(3), Offset(80), 1 << 20, true).unwrap();
        assert!(!cold.is_in_memory());
        assert_eq!(cold.run().unwrap().slices[0][..61], all[3].bytes[..61]);
        drop(log);
        world.disk.kill();
        restart(&mut world, JOURNAL_BYTES);
        let (log, report) =
            Log::open(&world.env, Path::new(DIR), world.config.clone(), OpenState::NEW, world.now()).unwrap();
        assert_eq!(report.cut, None);
        assert_eq!(read_batches(&log, 1 << 20), all);
    }
}

#[test]
fn a_batch_of_which_the_file_has_a_part_is_not_taken_for_damage() {
    const BLOCK: usize = 4096;
    // Whole blocks are written: the last one ends within the last batch, or within its header.
    let mut divided = 0;
    for short_by in [1000, 30, 8] {
        let world = world(LogConfig::default(), 32 << 20);
        let mut log = open(&world, 0);
        let mut ends = Vec::new();
        for end in 1..12 {
            let bytes = match end {
                1 => 256 * BLOCK - short_by,
                _ if end % 2 == 0 => BLOCK,
                _ => 255 * BLOCK,
            };
            let overhead = large(0, bytes).size_in_bytes() - bytes;
            log.append(&[large(end - 1, bytes - overhead)], world.now()).unwrap();
            ends.push(log.size());
            log.tail.clear();
            let there = len(&world, "/data/t-0/00000000000000000000.log");
            divided += usize::from(ends.iter().any(|at| (*at + 1..*at + 61).contains(&there)));
            for from in 0..end {
                let read = log.read(Offset(from), Offset(end), 1, true).unwrap();
                let is_there = ends[from as usize] <= there;
                assert_eq!((read.bytes > 0, read.next_offset), (is_there, Offset(from + i64::from(is_there))));
            }
        }
    }
    assert!(divided > 16, "{divided}");
}

#[test]
fn a_power_cut_takes_nothing_of_many_logs_that_one_sync_of_the_journal_covered() {
    for seed in 0..120 {
        let config = LogConfig { durability: Durability::Sync, ..small_config() };
        let mut world = if seed < 60 { world(config, 24 << 10) } else { synced_world(24 << 10) };
        let mut logs: Vec<Log> = (0..5).map(|n| open(&world, n)).collect();
        let mut ends = [0; 5];
        let random = Random::from_seed(seed);
        for _ in 0..120 {
            let n = random.below(5) as usize;
            let appended = logs[n].append(&[batch_at(ends[n], 2, 0)], world.now()).unwrap();
            block_on(appended.durable.wait()).unwrap();
            ends[n] += 2;
        }
        // Not waited for: it may be there or not, but nothing in between is missing.
        logs[0].append(&[batch_at(ends[0], 2, 0)], world.now()).unwrap();
        drop(logs);
        world.disk.crash(&random);
        restart(&mut world, 24 << 10);
        for n in 0..5 {
            let log = open(&world, n);
            assert!(log.log_end_offset().get() >= ends[usize::from(n)], "seed {seed} log {n}");
            assert_eq!(read_batches(&log, 1000).len() as i64, log.log_end_offset().get() / 2);
        }
    }
}

#[test]
fn one_sync_serves_all_logs() {
    let config = LogConfig { durability: Durability::Sync, ..LogConfig::default() };
    for (world, mutations) in [(world(config, JOURNAL_BYTES), 12), (synced_world(JOURNAL_BYTES), 22)] {
        one_sync_serves_all_logs_of(&world, mutations);
    }
}

/// Ten entries, in the second case ten writes to the logs' files as well, one sync, and the journal's name.
fn one_sync_serves_all_logs_of(world: &World, mutations: u64) {
    let mut logs: Vec<Log> = (0..10).map(|n| open(world, n)).collect();
    // The first promise of a log brings its names and files to the device.
    for log in &mut logs {
        block_on(log.append(&[batch_at(0, 2, 0)], world.now()).unwrap().durable.wait()).unwrap();
    }
    let before = world.disk.counts().mutations;
    let waits: Vec<_> =
        logs.iter_mut().map(|log| log.append(&[batch_at(2, 2, 0)], world.now()).unwrap().durable).collect();
    for wait in waits {
        block_on(wait.wait()).unwrap();
    }
    assert_eq!(world.disk.counts().mutations - before, mutations);
}

/// What another program finds after a kill, which doesn't know the journal.
#[test]
fn the_files_lack_nothing_that_the_journal_has_only_for_a_power_cut() {
    let world = synced_world(24 << 10);
    let mut log = open(&world, 0);
    for i in 0..40 {
        block_on(log.append(&[batch_at(2 * i, 2, 0)], world.now()).unwrap().durable.wait()).unwrap();
    }
    let all = read_batches(&log, 1000);
    drop(log);
    world.disk.kill();
    assert!(len(&world, "/data/logrun-journal-1") > 0);
    journal::remove(&world.disk, Path::new("/data")).unwrap();
    assert_eq!(read_batches(&open(&world, 0), 1000), all);
    assert_eq!(all.len(), 40);
}

#[test]
fn what_another_program_wrote_since_is_not_overwritten() {
    let mut world = world(LogConfig::default(), JOURNAL_BYTES);
    let mut log = open(&world, 0);
    log.append(&[batch_at(0, 2, 0)], world.now()).unwrap();
    drop(log);
    world.disk.kill();
    // It doesn't know the journal, and writes where the file ends.
    let theirs = batch_at(0, 5, 1).to_bytes();
    let file = world.disk.open(Path::new("/data/t-0/00000000000000000000.log"), OpenMode::Write).unwrap();
    file.write_all_at(0, &[std::io::IoSlice::new(&theirs)]).unwrap();
    restart(&mut world, JOURNAL_BYTES);
    let log = open(&world, 0);
    assert_eq!(read_batches(&log, 1000)[0].bytes, theirs);
    assert_eq!(log.log_end_offset(), Offset(5));
}

#[test]
fn a_topic_of_the_same_name_gets_nothing_of_the_one_before() {
    let mut world = world(LogConfig::default(), JOURNAL_BYTES);
    let mut log = open(&world, 0);
    log.append(&[batch_at(0, 2, 0)], world.now()).unwrap();
    log.delete("t-0.0123456789abcdef0123456789abcdef-delete").unwrap().run().unwrap();
    drop(log);
    let mut log = open(&world, 0);
    log.set_topic_id(Uuid([99; 16])).unwrap();
    drop(log);
    world.disk.kill();
    restart(&mut world, JOURNAL_BYTES);
    let (log, _) = Log::open(&world.env, Path::new(DIR), world.config.clone(), OpenState::NEW, world.now()).unwrap();
    assert_eq!(log.log_end_offset(), Offset(0));
}

#[test]
fn a_full_disk_refuses_appends_and_keeps_what_it_took() {
    let mut world = world(LogConfig::default(), JOURNAL_BYTES);
    let mut log = open(&world, 0);
    let mut taken = 0;
    while taken < 5 {
        log.append(&[large(taken, 100_000)], world.now()).unwrap();
        taken += 1;
    }
    world.disk.set_capacity(Some(world.disk.used() + 500_000));
    let full = loop {
        match log.append(&[large(taken, 100_000)], world.now()) {
            Ok(_) => taken += 1,
            Err(e) => break e,
        }
    };
    assert!(full.is_retriable(), "{full}");
    assert_eq!(read_batches(&log, 1 << 20).len() as i64, taken);
    world.disk.set_capacity(None);
    let mut tries = 0;
    while log.append(&[large(taken, 100_000)], world.now()).is_err() {
        tries += 1;
        assert!(tries < 5);
    }
    log.close(world.now()).unwrap();
    restart(&mut world, JOURNAL_BYTES);
    let log = world.reopen_clean();
    assert_eq!(log.log_end_offset(), Offset(taken + 1));
}

#[test]
fn a_deleted_log_does_not_hold_the_journal_up() {
    for durability in [Durability::Write, Durability::Sync] {
        let world = world(LogConfig { durability, ..LogConfig::default() }, 64 << 10);
        let (mut busy, mut deleted) = (open(&world, 0), open(&world, 1));
        deleted.append(&[batch_at(0, 2, 0)], world.now()).unwrap();
        deleted.delete("t-1.0123456789abcdef0123456789abcdef-delete").unwrap().run().unwrap();
        for i in 0..2_000 {
            busy.append(&[batch_at(i * 2, 2, 0)], world.now()).unwrap();
        }
        let before = len(&world, "/data/t-0/00000000000000000000.log");
        busy.append(&[batch_at(4_000, 2, 0)], world.now()).unwrap();
        assert_eq!(len(&world, "/data/t-0/00000000000000000000.log"), before, "it's in the journal");
        assert!(busy.truncate_to(Offset(4_000), world.now()).unwrap());
    }
}

#[test]
fn a_log_that_is_seldom_written_does_not_hold_the_journal_up() {
    let world = world(LogConfig::default(), 64 << 10);
    let (mut busy, mut idle) = (open(&world, 0), open(&world, 1));
    idle.append(&[batch_at(0, 2, 0)], world.now()).unwrap();
    let before = world.disk.counts().mutations;
    for i in 0..2_000 {
        busy.append(&[batch_at(i * 2, 2, 0)], world.now()).unwrap();
    }
    let each = (world.disk.counts().mutations - before) as f64 / 2_000.0;
    assert!(each < 1.1, "{each} writes for an append");
}
