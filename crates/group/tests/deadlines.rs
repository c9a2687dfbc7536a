//! A deadline and a commit that meet: what is committed is told as such, however late the shard looks.

mod common;

use common::{World, config, request_of};
use logrun_group::{Effect, Response};

#[test]
fn what_is_committed_when_its_time_is_up_is_no_timeout() {
    let mut world = World::new(config("offsets.commit.timeout.ms=5000"));
    world.elect();
    let (version, client_id, request) = request_of("offset-commit g t:0=7");
    assert!(world.request(version, &client_id, request).1.is_empty());
    // The high watermark has moved, and nobody has told the shard.
    world.committed = world.log.records.len();
    world.now_ms += 5_000;
    let effects = world.on_deadline();
    let [Effect::Reply { response: Response::OffsetCommit(response), .. }] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(response.topics[0].partitions[0].error_code, 0);
}
