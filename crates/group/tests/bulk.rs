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
const AT_ONCE: usize = 1_000;

fn world(options: &str) -> World {
    let mut world = World::new(if options.is_empty() { GroupConfig::default() } else { config(options) });
    world.elect();
    let partitions = (0..OFFSETS)
        .map(|partition_index| OffsetCommitRequestPartition { partition_index, ..Default::default() })
        .collect();
    let topic = OffsetCommitRequestTopic { name: Str::from_static("t"), partitions, ..Default::default() };
    let request = OffsetCommitRequest {
        group_id: Str::from_static("g"),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    };
    world.request(9, "c", Request::OffsetCommit(request));
    world.commit();
    world.log.appends.clear();
    world.forget_log();
    world
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
    assert_eq!(world.log.appends, [AT_ONCE, AT_ONCE, 500]);
    assert_eq!(tombstones(&world), OFFSETS as usize);
    world.forget_log();
    assert!(world.line("commit").contains("delete [g ok]"));
    assert!(world.line("list").contains("list ok []"));
}

#[test]
fn a_deleted_topics_offsets_go_in_parts() {
    let mut world = world("");
    world.line("topic-deleted t");
    assert_eq!(world.log.appends, [AT_ONCE, AT_ONCE, 500]);
}

#[test]
fn expiry_goes_on_after_a_full_disk() {
    let mut world = world("offsets.retention.ms=5000 offsets.retention.check.interval.ms=1000");
    world.log.full = true;
    world.pass(6_000);
    assert!(world.log.appends.is_empty());
    world.log.full = false;
    world.pass(1_000);
    assert_eq!(world.log.appends, [AT_ONCE, AT_ONCE, 500]);
    world.pass(5_000);
    assert_eq!(world.log.appends.len(), 3, "nothing is left to do");
}
