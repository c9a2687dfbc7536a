//! Loading: what is kept of the log that was read.

mod common;

use bytes::Bytes;
use common::World;
use logrun_group::{GroupConfig, GroupShard};
use logrun_model::{LeaderEpoch, Offset, ProducerId};

#[test]
fn a_loaded_group_does_not_hold_on_to_what_was_read_with_it() {
    let mut world = World::new(GroupConfig::default());
    world.elect();
    world.line("join g v=3 client=c");
    world.pass(3_000);
    world.line("sync g v=3 gen=1 member=c-#1 assign=c-#1:everything");
    world.commit();
    world.line("offset-commit g gen=1 member=c-#1 t:0=7/note");
    world.commit();
    assert_eq!(world.log.records.len(), 2, "a group and an offset");
    // Keys and values as slices of one buffer, as a read of the log gives them.
    let mut read = Vec::new();
    for (key, value) in &world.log.records {
        read.extend_from_slice(key);
        read.extend_from_slice(value.as_ref().unwrap());
    }
    let read = Bytes::from(read);
    let mut effects = Vec::new();
    let epoch = LeaderEpoch(9);
    let mut shard = GroupShard::new(GroupConfig::default());
    shard.elected(epoch, &mut effects);
    let mut at = 0;
    for (offset, (key, value)) in (0..).map(Offset).zip(&world.log.records) {
        let (value_at, end) = (at + key.len(), at + key.len() + value.as_ref().unwrap().len());
        let (key, value) = (read.slice(at..value_at), read.slice(value_at..end));
        shard.replay(offset, ProducerId::NONE, key, Some(value)).unwrap();
        at = end;
    }
    world.shard = shard;
    world.turn(|shard, turn| assert!(shard.loaded(turn, epoch)));
    world.line("describe g");
    assert!(world.line("commit").contains("c-#1"));
    assert!(read.is_unique());
}
