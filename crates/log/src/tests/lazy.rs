//! Logs that take no room before their first record, and what a start finds of those that were cut short.

use std::path::Path;

use logrun_io::{Disk, OpenMode, Random};
use logrun_model::{Offset, TimestampMs, Uuid};

use super::support::{DIR, World, batch_at, small_config};
use crate::{Durability, LogConfig, LogError};

fn topic() -> Uuid {
    Uuid::from_random(7 << 64 | 7).unwrap()
}

#[test]
fn a_log_has_no_file_before_its_first_record() {
    let world = World::new(1);
    let there = || world.disk.info(Path::new(DIR)).unwrap().is_some();
    let mut log = world.open_small();
    log.set_topic_id(topic()).unwrap();
    assert!(log.plan_flush(world.now()).unwrap().is_none());
    assert_eq!(log.delete_old_segments(Offset(0), world.now()).unwrap(), 0);
    assert_eq!(log.plan_offset_for_timestamp(TimestampMs(0)).run().unwrap(), None);
    assert_eq!(log.read(Offset(0), Offset(0), 100, true).unwrap().bytes, 0);
    assert!(log.roll(world.now()).is_ok_and(|rolled| !rolled));
    log.close(world.now()).unwrap();
    assert!(!there());

    let mut log = world.open_small();
    log.set_topic_id(topic()).unwrap();
    assert!(log.delete("t-0.x-delete").unwrap().is_empty());
    assert!(!there());

    let mut log = world.open_small();
    log.set_topic_id(topic()).unwrap();
    log.append(&[batch_at(0, 2, 0)], world.now()).unwrap();
    assert!(there() && log.is_on_disk());
    log.close(world.now()).unwrap();
    let log = world.reopen_clean();
    assert_eq!((log.log_end_offset(), log.topic_id()), (Offset(2), Some(topic())));
}

#[test]
fn a_full_disk_at_the_first_record_is_met_again_later() {
    let world = World::new(1);
    let mut log = world.open_small();
    log.set_topic_id(topic()).unwrap();
    world.disk.set_capacity(Some(world.disk.used()));
    let refused = log.append(&[batch_at(0, 2, 0)], world.now()).unwrap_err();
    assert!(matches!(refused, LogError::DiskFull { .. }), "{refused}");
    world.disk.set_capacity(None);
    log.append(&[batch_at(0, 2, 0)], world.now()).unwrap();
    log.close(world.now()).unwrap();
    let log = world.reopen_clean();
    assert_eq!((log.log_end_offset(), log.topic_id()), (Offset(2), Some(topic())));
}

/// The directory and the names in it are made with the first record, and as durable as it is.
#[test]
fn a_power_cut_takes_no_directory_whose_first_record_was_acknowledged() {
    for seed in 0..100 {
        let world = World::with_config(seed, LogConfig { durability: Durability::Sync, ..small_config() });
        let mut log = world.open_small();
        log.set_topic_id(topic()).unwrap();
        let appended = log.append(&[batch_at(0, 2, 0)], world.now()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(appended.durable.wait()).unwrap();
        drop(log);
        world.disk.crash(&Random::from_seed(seed));
        let (log, _) = world.reopen_unclean(Offset(0));
        assert_eq!((log.log_end_offset(), log.topic_id()), (Offset(2), Some(topic())), "seed {seed}");
    }
}

/// Found by the simulation: a roll failed, its empty segment was removed, appends went on, and a power cut brought the
/// removed name back, inside of the segment before.
#[test]
fn a_roll_that_was_undone_and_came_back_hides_nothing() {
    let world = World::new(1);
    let mut log = world.open_small();
    for i in 0..3 {
        log.append(&[batch_at(i * 2, 2, 0)], world.now()).unwrap();
    }
    assert_eq!(log.segment_count(), 1);
    log.flush(world.now()).unwrap();
    drop(log);
    let abandoned = Path::new(DIR).join("00000000000000000002.log");
    world.disk.open(&abandoned, OpenMode::CreateNew).unwrap();
    let (mut log, _) = world.reopen_unclean(Offset(0));
    assert_eq!((log.log_end_offset(), log.segment_count()), (Offset(6), 1));
    assert!(world.disk.info(&abandoned).unwrap().is_none());
    log.append(&[batch_at(6, 2, 0)], world.now()).unwrap();
    assert_eq!(world.read_all(&mut log).len(), 4);
}
