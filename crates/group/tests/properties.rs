//! Members, tools, time, crashes and full disks in any order: what must hold all the same.
//!
//! - Each request is answered once, and none stays parked for ever.
//! - A group's generation never falls while a shard leads, and all members of a generation hear of one leader; only
//!   that leader is given the members.
//! - An acknowledged commit is never undone, whoever leads.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{World, subscription};
use logrun_group::{Effect, GroupConfig, Request, Response, Token};
use logrun_model::Str;
use logrun_wire::messages::join_group_request::JoinGroupRequestProtocol;
use logrun_wire::messages::leave_group_request::MemberIdentity;
use logrun_wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use logrun_wire::messages::offset_fetch_request::OffsetFetchRequestGroup;
use logrun_wire::messages::sync_group_request::SyncGroupRequestAssignment;
use logrun_wire::messages::{
    HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, OffsetCommitRequest, SyncGroupRequest,
};
use proptest::prelude::*;

/// One in three groups has static members too; leaders are then renamed within a generation.
const GROUPS: [&str; 3] = ["p", "q", "with-static"];
const SLOTS: usize = 4;

#[derive(Clone, Debug)]
enum Step {
    Join { group: usize, slot: usize, v: i16, static_: bool, forget: bool, protocols: u8, rebalance_ms: i32 },
    Sync { group: usize, slot: usize, stale: bool },
    Heartbeat { group: usize, slot: usize },
    Leave { group: usize, slot: usize, v: i16 },
    OffsetCommit { group: usize, slot: usize, as_member: bool },
    Delete { group: usize },
    Pass(i64),
    Commit,
    Full(bool),
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let (g, s) = (0..GROUPS.len(), 0..SLOTS);
    let v = prop_oneof![Just(0i16), Just(3), Just(5), Just(9)];
    prop_oneof![
        8 => (g.clone(), s.clone(), v.clone(), any::<(bool, bool)>(), 0u8..4, prop_oneof![Just(0), Just(500), Just(20_000)])
            .prop_map(|(group, slot, v, (static_, forget), protocols, rebalance_ms)| {
                Step::Join { group, slot, v, static_, forget: forget && static_, protocols, rebalance_ms }
            }),
        8 => (g.clone(), s.clone(), proptest::bool::weighted(0.1)).prop_map(|(group, slot, stale)| Step::Sync { group, slot, stale }),
        3 => (g.clone(), s.clone()).prop_map(|(group, slot)| Step::Heartbeat { group, slot }),
        1 => (g.clone(), s.clone(), v).prop_map(|(group, slot, v)| Step::Leave { group, slot, v: v.min(5) }),
        4 => (g.clone(), s.clone(), any::<bool>())
            .prop_map(|(group, slot, as_member)| Step::OffsetCommit { group, slot, as_member }),
        1 => g.prop_map(|group| Step::Delete { group }),
        4 => prop_oneof![Just(1i64), Just(400), Just(3_000), Just(12_000)].prop_map(Step::Pass),
        5 => Just(Step::Commit),
        1 => proptest::bool::weighted(0.3).prop_map(Step::Full),
        1 => Just(Step::Crash),
    ]
}

#[derive(Clone, Default)]
struct Slot {
    member_id: Str,
    generation: i32,
    leader: bool,
    members: Vec<Str>,
}

enum Asked {
    Join { group: usize, slot: usize },
    OffsetCommit { group: usize, offset: i64 },
    Delete { group: usize },
    Other,
}

struct Test {
    world: World,
    slots: BTreeMap<(usize, usize), Slot>,
    asked: BTreeMap<Token, Asked>,
    answered: BTreeSet<Token>,
    generation: BTreeMap<usize, i32>,
    leaders: BTreeMap<(usize, i32), Str>,
    acknowledged: BTreeMap<usize, i64>,
    next_offset: i64,
}

impl Test {
    fn new() -> Self {
        let mut world = World::new(GroupConfig {
            group_initial_rebalance_delay_ms: 300,
            group_max_size: 3,
            offsets_commit_timeout_ms: 2_000,
            // A group that is cleaned up begins anew, at generation 1.
            offsets_retention_check_interval_ms: i64::from(i32::MAX),
            ..GroupConfig::default()
        });
        assert!(world.elect().is_empty());
        Self {
            world,
            slots: BTreeMap::new(),
            asked: BTreeMap::new(),
            answered: BTreeSet::new(),
            generation: BTreeMap::new(),
            leaders: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            next_offset: 0,
        }
    }

    fn ask(&mut self, v: i16, client: &str, request: Request, asked: Asked) {
        let (token, effects) = self.world.request(v, client, request);
        self.asked.insert(token, asked);
        self.take(effects);
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for Effect::Reply { token, response } in effects {
            assert!(self.answered.insert(token), "{token:?} is answered twice");
            match (self.asked.get(&token).expect("a token that was given"), response) {
                (Asked::Join { group, slot }, Response::JoinGroup(r)) => {
                    let (group, slot) = (*group, *slot);
                    if r.error_code == 0 {
                        self.joined(group, slot, r);
                    } else {
                        // MEMBER_ID_REQUIRED gives an id, UNKNOWN_MEMBER_ID takes it.
                        let s = self.slots.entry((group, slot)).or_default();
                        match r.error_code {
                            79 => s.member_id = r.member_id,
                            25 | 81 | 82 => *s = Slot::default(),
                            _ => {}
                        }
                    }
                }
                (Asked::OffsetCommit { group, offset }, Response::OffsetCommit(r))
                    if r.topics[0].partitions[0].error_code == 0 =>
                {
                    let last = self.acknowledged.entry(*group).or_insert(-1);
                    *last = (*last).max(*offset);
                }
                (Asked::Delete { group }, Response::DeleteGroups(r)) if r[0].error_code == 0 => {
                    // It begins anew, and what it had committed is gone on purpose.
                    let group = *group;
                    self.acknowledged.remove(&group);
                    self.forget_generations(Some(group));
                }
                _ => {}
            }
        }
    }

    fn joined(&mut self, group: usize, slot: usize, r: logrun_wire::messages::JoinGroupResponse) {
        let newest = self.generation.entry(group).or_insert(0);
        assert!(r.generation_id >= *newest, "generation {} after {newest}", r.generation_id);
        *newest = r.generation_id;
        if GROUPS[group] != "with-static" {
            let leader = self.leaders.entry((group, r.generation_id)).or_insert_with(|| r.leader.clone());
            assert_eq!(*leader, r.leader, "two leaders in generation {}", r.generation_id);
            assert_eq!(!r.members.is_empty(), r.leader == r.member_id, "only the leader is given the members");
        }
        let members: Vec<Str> = r.members.iter().map(|m| m.member_id.clone()).collect();
        assert!(members.is_empty() || members.contains(&r.member_id));
        let leader = r.leader == r.member_id;
        self.slots.insert((group, slot), Slot { member_id: r.member_id, generation: r.generation_id, leader, members });
    }

    fn instance(group: usize, slot: usize, static_: bool) -> Option<Str> {
        (static_ && GROUPS[group] == "with-static").then(|| Str::from(format!("i{slot}")))
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Join { group, slot, v, static_, forget, protocols, rebalance_ms } => {
                let s = self.slots.entry((group, slot)).or_default();
                if forget && GROUPS[group] == "with-static" {
                    s.member_id = Str::EMPTY;
                }
                let names = [&["range"][..], &["range", "sticky"], &["sticky", "range"], &["sticky"]];
                let protocol = |name: &&str| JoinGroupRequestProtocol {
                    name: Str::from(*name),
                    metadata: subscription("@t"),
                    ..Default::default()
                };
                let request = JoinGroupRequest {
                    group_id: Str::from(GROUPS[group]),
                    session_timeout_ms: 10_000,
                    rebalance_timeout_ms: rebalance_ms,
                    member_id: s.member_id.clone(),
                    group_instance_id: if v >= 5 { Self::instance(group, slot, static_) } else { None },
                    protocol_type: Str::from_static("consumer"),
                    protocols: names[usize::from(protocols)].iter().map(protocol).collect(),
                    ..Default::default()
                };
                self.ask(v, &format!("c{slot}"), Request::JoinGroup(request), Asked::Join { group, slot });
            }
            Step::Sync { group, slot, stale } => {
                let s = self.slots.get(&(group, slot)).cloned().unwrap_or_default();
                let assigned = |m: &Str| SyncGroupRequestAssignment { member_id: m.clone(), ..Default::default() };
                let request = SyncGroupRequest {
                    group_id: Str::from(GROUPS[group]),
                    generation_id: s.generation - i32::from(stale),
                    member_id: s.member_id,
                    assignments: if s.leader { s.members.iter().map(assigned).collect() } else { Vec::new() },
                    ..Default::default()
                };
                self.ask(3, "c", Request::SyncGroup(request), Asked::Other);
            }
            Step::Heartbeat { group, slot } => {
                let s = self.slots.get(&(group, slot)).cloned().unwrap_or_default();
                let request = HeartbeatRequest {
                    group_id: Str::from(GROUPS[group]),
                    generation_id: s.generation,
                    member_id: s.member_id,
                    ..Default::default()
                };
                self.ask(4, "c", Request::Heartbeat(request), Asked::Other);
            }
            Step::Leave { group, slot, v } => {
                let s = self.slots.get(&(group, slot)).cloned().unwrap_or_default();
                let members = if v < 3 {
                    Vec::new()
                } else {
                    vec![MemberIdentity { member_id: s.member_id.clone(), ..Default::default() }]
                };
                let request = LeaveGroupRequest {
                    group_id: Str::from(GROUPS[group]),
                    member_id: s.member_id,
                    members,
                    ..Default::default()
                };
                self.ask(v, "c", Request::LeaveGroup(request), Asked::Other);
            }
            Step::OffsetCommit { group, slot, as_member } => {
                let s = self.slots.get(&(group, slot)).cloned().unwrap_or_default();
                let offset = self.next_offset;
                self.next_offset += 1;
                let request = OffsetCommitRequest {
                    group_id: Str::from(GROUPS[group]),
                    generation_id_or_member_epoch: if as_member { s.generation } else { -1 },
                    member_id: if as_member { s.member_id } else { Str::EMPTY },
                    topics: vec![OffsetCommitRequestTopic {
                        name: Str::from_static("t"),
                        partitions: vec![OffsetCommitRequestPartition {
                            committed_offset: offset,
                            ..Default::default()
                        }],
                        ..Default::default()
                    }],
                    ..Default::default()
                };
                self.ask(9, "c", Request::OffsetCommit(request), Asked::OffsetCommit { group, offset });
            }
            Step::Delete { group } => {
                let request = Request::DeleteGroups(vec![Str::from(GROUPS[group])]);
                self.ask(2, "c", request, Asked::Delete { group });
                let effects = self.world.commit();
                self.take(effects);
            }
            Step::Pass(ms) => {
                for (_, effects) in self.world.pass(ms) {
                    self.take(effects);
                }
            }
            Step::Commit => {
                let effects = self.world.commit();
                self.take(effects);
            }
            Step::Full(full) => self.world.log.full = full,
            Step::Crash => {
                // A generation that was never written may be made again.
                let effects = self.world.crash();
                self.take(effects);
                self.forget_generations(None);
                self.check_offsets();
            }
        }
    }

    fn forget_generations(&mut self, group: Option<usize>) {
        self.generation.retain(|g, _| group.is_some_and(|group| group != *g));
        self.leaders.retain(|(g, _), _| group.is_some_and(|group| group != *g));
    }

    /// What is fetched is never older than what was acknowledged.
    fn check_offsets(&mut self) {
        for (group, least) in self.acknowledged.clone() {
            let request =
                OffsetFetchRequestGroup { group_id: Str::from(GROUPS[group]), topics: None, ..Default::default() };
            let (token, effects) =
                self.world.request(9, "c", Request::OffsetFetch { group: request, require_stable: true });
            self.asked.insert(token, Asked::Other);
            let [Effect::Reply { response: Response::OffsetFetch(r), .. }] = &effects[..] else {
                panic!("no reply at once though all is committed: {effects:?}");
            };
            assert!(r.topics[0].partitions[0].committed_offset >= least, "{} went back to {r:?}", GROUPS[group]);
            self.take(effects);
        }
    }

    /// Left alone, with a disk that works, every parked request comes to an end.
    fn settle(&mut self) {
        self.world.log.full = false;
        for _ in 0..200 {
            let effects = self.world.commit();
            self.take(effects);
            for (_, effects) in self.world.pass(1_000) {
                self.take(effects);
            }
        }
        let effects = self.world.commit();
        self.take(effects);
        let parked: Vec<_> = self.asked.keys().filter(|t| !self.answered.contains(t)).collect();
        assert!(parked.is_empty(), "parked for ever: {parked:?}");
        self.check_offsets();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn holds_in_any_order(steps in proptest::collection::vec(step(), 1..150)) {
        let mut test = Test::new();
        for s in steps {
            test.step(s);
        }
        test.settle();
    }
}
