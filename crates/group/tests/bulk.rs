//! Groups with thousands of offsets are deleted and expire in appends of a bounded size, and go on where a full disk
//! stopped them.

mod common;

use common::{World, config};
use logrun_coordinator::records::GroupRecord;
use logrun_group::{GroupConfig, Request};
use logrun_model::Str;
use logrun_wire::messages::OffsetCommitRequest;
use logrun_wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};

const OFFSETS: i32 = 2_500;
/// How many tombstones make an append of 16 KiB: 24 bytes each beside the two names.
const AT_ONCE: usize = (16 << 10) / (24 + 2);
const APPENDS: [usize; 4] = [AT_ONCE, AT_ONCE, AT_ONCE, OFFSETS as usize - 3 * AT_ONCE];

fn world(options: &str) -> World {
    let mut world = World::new(if options.is_empty() { GroupConfig::default() } else { config(options) });
    world.elect();
    commit(&mut world, "g", OFFSETS);
    world.log.appends.clear();
    world.forget_log();
    world
}

/// Commits offsets of that many partitions of one topic.
fn commit(world: &mut World, group_id: &str, count: i32) {
    let partitions = (0..count)
        .map(|partition_index| OffsetCommitRequestPartition { partition_index, ..Default::default() })
        .collect();
    let topic = OffsetCommitRequestTopic { name: Str::from_static("t"), partitions, ..Default::default() };
    let request = OffsetCommitRequest {
        group_id: Str::from(group_id),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    };
    world.request(9, "c", Request::OffsetCommit(request));
    world.commit();
}

fn tombstones(world: &World) -> usize {
    let is_tombstone =
        |(key, value): &&(_, _)| GroupRecord::decode(Clone::clone(key), Clone::clone(value)).unwrap().is_tombstone();
    world.log.records.iter().filter(is_tombstone).count()
}

#[test]
fn a_group_is_deleted_in_parts() {
    let mut world = world("");
    world.line("delete g");
    assert_eq!(world.log.appends, APPENDS);
    assert_eq!(tombstones(&world), OFFSETS as usize);
    world.forget_log();
    assert!(world.line("commit").contains("delete [g ok]"));
    assert!(world.line("list").contains("list ok []"));
}

#[test]
fn a_deleted_topics_offsets_go_in_parts() {
    let mut world = world("");
    world.line("topic-deleted t");
    assert_eq!(world.log.appends, APPENDS);
}

#[test]
fn expiry_goes_on_after_a_full_disk() {
    let mut world = world("offsets.retention.ms=5000 offsets.retention.check.interval.ms=1000");
    world.log.full = true;
    world.pass(6_000);
    assert!(world.log.appends.is_empty());
    world.log.full = false;
    world.pass(1_000);
    assert_eq!(world.log.appends, APPENDS);
    world.pass(5_000);
    assert_eq!(world.log.appends.len(), APPENDS.len(), "nothing is left to do");
}

#[test]
fn tombstones_of_long_names_go_in_appends_that_the_log_takes() {
    let mut world = World::new(config("offsets.retention.ms=5000 offsets.retention.check.interval.ms=1000"));
    world.elect();
    let (expiring, deleted) = ("e".repeat(30_000), "d".repeat(30_000));
    commit(&mut world, &expiring, 20);
    world.log.max_bytes = 100_000;
    world.pass(6_000);
    assert_eq!(tombstones(&world), 20);
    world.log.max_bytes = usize::MAX;
    commit(&mut world, &deleted, 20);
    world.log.max_bytes = 100_000;
    world.line(&format!("delete {deleted}"));
    assert_eq!(tombstones(&world), 40);
}

#[test]
fn a_group_whose_tombstones_the_log_refuses_does_not_hold_up_the_others() {
    let mut world = World::new(config("offsets.retention.ms=5000 offsets.retention.check.interval.ms=1000"));
    world.elect();
    commit(&mut world, &"a".repeat(30_000), 1);
    commit(&mut world, "b", 3);
    world.log.max_bytes = 1_000;
    world.pass(6_000);
    assert_eq!(tombstones(&world), 3);
}
