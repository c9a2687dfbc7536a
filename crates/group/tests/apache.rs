//! A `__consumer_offsets` that Apache Kafka 4.3.1 wrote: classic groups with and without members, static members,
//! simple consumers, KIP-848 and share groups, transactions that were committed, aborted and left open, a deleted group.

mod common;

use std::collections::BTreeMap;

use bytes::Bytes;
use common::{World, print};
use logrun_group::{Effect, GroupConfig, Request, partition_for};
use logrun_model::{LeaderEpoch, Offset, ProducerId, Str};
use logrun_wire::messages::JoinGroupRequest;
use logrun_wire::messages::join_group_request::JoinGroupRequestProtocol;

const PARTITIONS: i32 = 50;

fn bytes(hex: &str) -> Option<Bytes> {
    if hex == "-" {
        return None;
    }
    let digits = hex.as_bytes().chunks(2).map(|d| std::str::from_utf8(d).unwrap());
    Some(digits.map(|d| u8::from_str_radix(d, 16).expect("hex")).collect::<Vec<_>>().into())
}

/// Each partition, loaded by a shard of ours.
fn load() -> BTreeMap<i32, World> {
    let text = include_str!("data/apache-4.3.1-consumer-offsets.txt");
    let mut worlds: BTreeMap<i32, World> = BTreeMap::new();
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |i: usize| words[i].parse::<i64>().expect("a number");
        let world = worlds.entry(number(0) as i32).or_insert_with(|| {
            let config = GroupConfig { group_initial_rebalance_delay_ms: 0, ..GroupConfig::default() };
            let mut world = World::new(config);
            world.epoch = 1;
            world.shard.elected(LeaderEpoch(1), &mut Vec::new());
            world
        });
        let (offset, producer) = (Offset(number(1)), ProducerId(number(2)));
        if words[3] == "marker" {
            world.shard.replay_marker(offset, producer, words[4] == "COMMIT");
            world.log.records.push((Bytes::new(), None));
            continue;
        }
        let (key, value) = (bytes(words[3]).expect("a key"), bytes(words[4]));
        world.shard.replay(offset, producer, key.clone(), value.clone()).expect("Kafka's own record");
        world.log.records.push((key, value));
        assert_eq!(world.log.records.len() as i64 - 1, number(1), "offsets without gaps");
    }
    for world in worlds.values_mut() {
        let effects = world.turn(|shard, turn| assert!(shard.loaded(turn, LeaderEpoch(1))));
        assert!(effects.is_empty());
        world.commit();
        world.forget_log();
    }
    worlds
}

struct Apache(BTreeMap<i32, World>);

impl Apache {
    fn world(&mut self, group: &str) -> &mut World {
        self.0.get_mut(&partition_for(group, PARTITIONS)).expect("a partition that was written to")
    }

    /// Does a line about the group and says what came of it.
    fn line(&mut self, group: &str, line: &str) -> String {
        let said = self.world(group).line(line);
        said.lines().skip(1).map(|l| l.trim().to_string()).collect::<Vec<_>>().join("\n")
    }

    fn join(&mut self, group: &str) -> String {
        let protocol = JoinGroupRequestProtocol { name: Str::from_static("range"), ..Default::default() };
        let request = JoinGroupRequest {
            group_id: Str::from(group),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 10_000,
            protocol_type: Str::from_static("consumer"),
            protocols: vec![protocol],
            ..Default::default()
        };
        let (_, effects) = self.world(group).request(3, "c", Request::JoinGroup(request));
        match &effects[..] {
            [Effect::Reply { response, .. }] => print::response(response),
            other => panic!("{other:?}"),
        }
    }
}

fn without_number(said: &str) -> &str {
    said.split_once(": ").map_or(said, |(_, rest)| rest)
}

#[test]
fn groups_are_where_kafka_put_them() {
    let mut apache = Apache(load());
    let mut listed = Vec::new();
    for (partition, world) in &mut apache.0 {
        let said = world.line("list");
        let groups = said.split_once('[').and_then(|(_, g)| g.split_once(']')).expect("a list").0;
        for group in groups.split(", ").filter(|g| !g.is_empty()) {
            let id = group.split(' ').next().expect("an id");
            assert_eq!(partition_for(id, PARTITIONS), *partition, "{id}");
            listed.push(group.to_string());
        }
    }
    listed.sort();
    // As Kafka's admin client listed them, but for "txn-aborted": nothing is left of it.
    assert_eq!(
        listed,
        [
            r#"classic-done classic Empty "consumer""#,
            r#"classic-live classic Stable "consumer""#,
            r#"modern-done consumer Empty "consumer""#,
            r#"modern-live consumer Stable "consumer""#,
            r#"share-live share Stable "share""#,
            r#"simple classic Empty """#,
            r#"static-live classic Stable "consumer""#,
            r#"txn-done classic Empty """#,
            r#"txn-open classic Empty """#,
        ]
    );
}

#[test]
fn offsets_are_as_committed() {
    let mut apache = Apache(load());
    for (group, offsets) in [
        ("classic-live", "t [0=5/from classic-live]"),
        ("classic-done", "t [0=7/from classic-done]"),
        ("static-live", "t [0=6/from static-live]"),
        ("modern-live", "t [0=8/from modern-live]"),
        ("modern-done", "t [0=9/from modern-done]"),
        ("simple", "u [0=3/note]"),
        ("txn-done", "t [0=11]"),
        ("txn-open", ""),
        ("txn-aborted", ""),
        ("deleted", ""),
    ] {
        let said = apache.line(group, &format!("offset-fetch {group}"));
        assert_eq!(without_number(&said), format!("offset-fetch {group} ok [{offsets}]"));
    }
    let said = apache.line("txn-open", "offset-fetch txn-open t:1 stable=yes");
    assert_eq!(without_number(&said), "offset-fetch txn-open ok [t [1=-1 UNSTABLE_OFFSET_COMMIT]]");
    let said = apache.line("txn-aborted", "offset-fetch txn-aborted t:2 stable=yes");
    assert_eq!(without_number(&said), "offset-fetch txn-aborted ok [t [2=-1]]");
}

#[test]
fn members_go_on_and_time_out() {
    let mut apache = Apache(load());
    let said = apache.line("static-live", "describe static-live");
    assert!(said.contains("static-live ok Stable consumer/range [one-"), "{said}");
    assert!(said.contains("/one /127.0.0.1 "), "{said}");
    // The member of Apache's, by its own id.
    let member = said.split_once("[one-").and_then(|(_, m)| m.split_once('/')).expect("a member").0.to_string();
    let said = apache.line("static-live", &format!("heartbeat static-live member=one-{member} gen=1 instance=one"));
    assert_eq!(without_number(&said), "heartbeat ok");
    // It restarts; the record that says so is Kafka's too.
    let said = apache.line("static-live", "join static-live client=c instance=one protocols=range:");
    assert!(
        said.starts_with("append 3: group static-live gen=1 protocol=consumer/range leader=one-#3 [one-#3 "),
        "{said}"
    );
    let said = apache.world("classic-live").line("pass 44999");
    assert_eq!(said, "");
    let said = apache.world("classic-live").line("pass 1");
    assert!(said.contains("append 3: group classic-live gen=2 protocol=consumer/null leader=null []"), "{said}");
    assert_eq!(apache.join("deleted"), "join ok gen=1 protocol=null/range leader=c-#1 member=c-#1 members=[c-#1 \"\"]");
}

#[test]
fn other_kinds_of_groups_are_not_overwritten() {
    let mut apache = Apache(load());
    assert_eq!(apache.join("modern-live"), "join INCONSISTENT_GROUP_PROTOCOL member=");
    assert_eq!(apache.join("share-live"), "join INCONSISTENT_GROUP_PROTOCOL member=");
    let said = apache.line("modern-live", "offset-commit modern-live t:0=1");
    assert_eq!(without_number(&said), "offset-commit [t [0 UNKNOWN_MEMBER_ID]]");
    let said = apache.line("modern-live", "delete modern-live");
    assert_eq!(without_number(&said), "delete [modern-live NON_EMPTY_GROUP]");
    let said = apache.line("modern-live", "describe modern-live");
    assert_eq!(without_number(&said), "describe [modern-live GROUP_ID_NOT_FOUND Dead / []]");
    // Once its members can't be there any more it may become classic, as an empty one may at once.
    apache.world("modern-live").pass(45_000);
    for group in ["modern-live", "modern-done"] {
        let before = apache.world(group).log.records.len();
        assert!(apache.join(group).starts_with("join ok gen=1"), "{group}");
        let written: Vec<String> = apache.world(group).log.records[before..].iter().map(print::record).collect();
        assert!(!written.is_empty() && written.iter().all(|r| r.ends_with("tombstone")), "{written:?}");
        apache.world(group).forget_log();
        let said = apache.line(group, "list");
        assert!(said.is_empty(), "held back until the tombstones are committed");
        let said = apache.world(group).line("commit");
        assert!(said.contains(&format!("list ok [{group} classic CompletingRebalance")), "{said}");
        // Its offsets are still there.
        assert!(apache.line(group, &format!("offset-fetch {group}")).contains("from modern"));
    }
}

#[test]
fn unknown_records_are_skipped_and_broken_ones_told() {
    let mut world = World::new(GroupConfig::default());
    world.shard.elected(LeaderEpoch(1), &mut Vec::new());
    let mut replay = |key: &'static [u8], value: Option<&'static [u8]>| {
        let (key, value) = (Bytes::from_static(key), value.map(Bytes::from_static));
        world.shard.replay(Offset(0), ProducerId::NONE, key, value)
    };
    assert!(replay(b"\x00\x63anything", Some(b"at all")).is_ok());
    assert!(replay(b"\x00\x03\x00\x01g", Some(b"\x7f\x7f a value of tomorrow")).is_ok(), "only the key is read");
    assert!(replay(b"", None).is_err());
    assert!(replay(b"\x00\x02\x00\x09g", None).is_err(), "a name longer than the key");
    assert!(replay(b"\x00\x02\x00\x01g", Some(b"\x00\x03\x7f\xff\xff\xff")).is_err());
    assert!(replay(b"\x00\x05\x00\x01g", None).is_err(), "a member without an id");
}
