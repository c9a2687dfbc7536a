//! A shard on a log in memory, driven by lines of text and printing what comes of them.
//!
//! A line is a command; the lines indented below it are what it did. Members get ids that end in `#n`, which stands
//! for a whole UUID, so that they can be written down. See `transcripts.rs` for the files.

#![allow(dead_code)]

pub mod print;
mod wire;

use std::collections::BTreeMap;

use bytes::Bytes;
use logrun_coordinator::{AppendFailed, RecordLog};
use logrun_group::{Client, Effect, GroupConfig, GroupShard, KeyValue, Request, Token, Turn};
use logrun_model::{LeaderEpoch, Monotonic, Now, Offset, ProducerId, Str, TimestampMs, Uuid};
use logrun_wire::ErrorCode;
use logrun_wire::messages::join_group_request::JoinGroupRequestProtocol;
use logrun_wire::messages::leave_group_request::MemberIdentity;
use logrun_wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use logrun_wire::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use logrun_wire::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use logrun_wire::messages::sync_group_request::SyncGroupRequestAssignment;
use logrun_wire::messages::{
    HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, ListGroupsRequest, OffsetCommitRequest, OffsetDeleteRequest,
    SyncGroupRequest,
};

/// When the tests begin, on the wall.
const START: i64 = 1_000_000_000_000;

/// `__consumer_offsets-0`.
pub struct MemLog {
    pub records: Vec<KeyValue>,
    pub full: bool,
    /// An append of more bytes is refused.
    pub max_bytes: usize,
    /// Of how many records each append was.
    pub appends: Vec<usize>,
}

impl RecordLog for MemLog {
    type Record = KeyValue;

    fn append(&mut self, records: &[KeyValue]) -> Result<Offset, AppendFailed> {
        if self.full {
            return Err(AppendFailed::new(ErrorCode::KafkaStorageError, "the disk is full"));
        }
        let bytes: usize = records.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Bytes::len)).sum();
        if bytes > self.max_bytes {
            return Err(AppendFailed::new(ErrorCode::RecordListTooLarge, "the records are too large"));
        }
        self.appends.push(records.len());
        self.records.extend_from_slice(records);
        Ok(Offset(self.records.len() as i64 - 1))
    }
}

pub struct World {
    pub shard: GroupShard,
    pub log: MemLog,
    pub committed: usize,
    pub now_ms: i64,
    pub epoch: i32,
    next_token: u64,
    /// The version that each token was asked at.
    versions: BTreeMap<Token, i16>,
    next_random: u128,
    /// Records below are printed already.
    printed: usize,
}

/// The words of a command: plain ones, and `name=value`.
struct Words<'a> {
    plain: Vec<&'a str>,
    named: BTreeMap<&'a str, &'a str>,
}

impl<'a> Words<'a> {
    fn new(line: &'a str) -> Self {
        let (mut plain, mut named) = (Vec::new(), BTreeMap::new());
        for word in line.split_whitespace() {
            match word.split_once('=') {
                Some((name, value)) if !name.contains(':') => {
                    named.insert(name, value);
                }
                _ => plain.push(word),
            }
        }
        Self { plain, named }
    }

    fn text(&self, name: &str) -> Option<Str> {
        self.named.get(name).map(|v| expand(v))
    }

    fn number(&self, name: &str, default: i64) -> i64 {
        self.named.get(name).map_or(default, |v| v.parse().unwrap_or_else(|_| panic!("{name}={v} is no number")))
    }
}

/// `c-#1` is `c-00000000-0000-4000-8000-000000000001`.
pub fn expand(text: &str) -> Str {
    match text.split_once('#') {
        Some((head, n)) => {
            let n: u64 = n.parse().expect("a number after #");
            Str::from(format!("{head}00000000-0000-4000-8000-{n:012x}"))
        }
        None => Str::from(text),
    }
}

/// A consumer's subscription in version 1, with the topics; anything else is bytes as they are.
pub fn subscription(text: &str) -> Bytes {
    let Some(topics) = text.strip_prefix('@') else { return Bytes::copy_from_slice(text.as_bytes()) };
    let topics: Vec<&str> = topics.split('+').filter(|t| !t.is_empty()).collect();
    let mut out = vec![0, 1];
    out.extend((topics.len() as i32).to_be_bytes());
    for t in topics {
        out.extend((t.len() as i16).to_be_bytes());
        out.extend(t.as_bytes());
    }
    out.extend((-1i32).to_be_bytes());
    out.extend(0i32.to_be_bytes());
    Bytes::from(out)
}

impl World {
    pub fn new(config: GroupConfig) -> Self {
        Self {
            shard: GroupShard::new(config),
            log: MemLog { records: Vec::new(), full: false, max_bytes: usize::MAX, appends: Vec::new() },
            committed: 0,
            now_ms: 0,
            epoch: 0,
            next_token: 0,
            versions: BTreeMap::new(),
            next_random: 0,
            printed: 0,
        }
    }

    pub fn now(&self) -> Now {
        Now { monotonic: Monotonic::default().plus_ms(self.now_ms), wall: TimestampMs(START + self.now_ms) }
    }

    /// Runs `f` and gives the effects.
    pub fn turn(&mut self, f: impl FnOnce(&mut GroupShard, &mut Turn<'_>)) -> Vec<Effect> {
        let mut effects = Vec::new();
        let now = self.now();
        f(&mut self.shard, &mut Turn { now, log: &mut self.log, effects: &mut effects });
        self.through_the_wire(effects)
    }

    /// The effects with their responses as clients get them.
    fn through_the_wire(&self, effects: Vec<Effect>) -> Vec<Effect> {
        let each = |Effect::Reply { token, response }| {
            let version = self.versions.get(&token).copied().expect("a token that was given");
            Effect::Reply { token, response: wire::through_the_wire(version, response) }
        };
        effects.into_iter().map(each).collect()
    }

    /// A request; its token is the next number.
    pub fn request(&mut self, api_version: i16, client_id: &str, request: Request) -> (Token, Vec<Effect>) {
        self.next_token += 1;
        self.next_random += 1;
        let token = Token(self.next_token);
        self.versions.insert(token, api_version);
        let client = Client {
            api_version,
            client_id: Str::from(client_id),
            client_host: Str::from_static("/127.0.0.1"),
            random: self.next_random,
        };
        (token, self.turn(|shard, turn| shard.handle(turn, token, client, request)))
    }

    pub fn commit(&mut self) -> Vec<Effect> {
        self.committed = self.log.records.len();
        let high_watermark = Offset(self.committed as i64);
        self.turn(|shard, turn| shard.on_committed(turn, high_watermark))
    }

    /// It is time; the high watermark is where it was.
    pub fn on_deadline(&mut self) -> Vec<Effect> {
        let high_watermark = Offset(self.committed as i64);
        self.turn(|shard, turn| shard.on_deadline(turn, high_watermark))
    }

    /// Becomes leader: reads the log from its beginning.
    pub fn elect(&mut self) -> Vec<Effect> {
        self.epoch += 1;
        let epoch = LeaderEpoch(self.epoch);
        let mut effects = Vec::new();
        self.shard.elected(epoch, &mut effects);
        let mut effects = self.through_the_wire(effects);
        for (i, (key, value)) in self.log.records.clone().into_iter().enumerate() {
            self.shard.replay(Offset(i as i64), ProducerId::NONE, key, value).expect("a record of our own");
        }
        effects.extend(self.turn(|shard, turn| assert!(shard.loaded(turn, epoch))));
        effects.extend(self.commit());
        effects
    }

    pub fn resign(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.shard.resigned(&mut effects);
        self.through_the_wire(effects)
    }

    /// Loses what is not committed and becomes leader again.
    pub fn crash(&mut self) -> Vec<Effect> {
        let mut effects = self.resign();
        self.log.records.truncate(self.committed);
        self.printed = self.printed.min(self.committed);
        effects.extend(self.elect());
        effects
    }

    /// What is in the log now will not be printed.
    pub fn forget_log(&mut self) {
        self.printed = self.log.records.len();
    }

    /// Lets time pass, deadline by deadline; each batch of effects with its time.
    pub fn pass(&mut self, ms: i64) -> Vec<(i64, Vec<Effect>)> {
        let mut out = Vec::new();
        self.pass_each(ms, |world, effects| out.push((world.now_ms, effects)));
        out
    }

    fn pass_each(&mut self, ms: i64, mut each: impl FnMut(&mut Self, Vec<Effect>)) {
        let end = self.now_ms + ms;
        while let Some(at) = self.shard.next_deadline().map(Monotonic::as_ms).filter(|at| *at <= end) {
            self.now_ms = self.now_ms.max(at);
            let effects = self.on_deadline();
            each(self, effects);
        }
        self.now_ms = end;
    }

    /// Does a line.
    pub fn effects_of(&mut self, line: &str) -> Vec<Effect> {
        let mut words = line.split_whitespace();
        let (command, argument) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        match command {
            "elect" => self.elect(),
            "crash" => self.crash(),
            "resign" => self.resign(),
            "commit" => self.commit(),
            "log-full" => {
                self.log.full = argument == "on";
                Vec::new()
            }
            "topic-deleted" => {
                let topic = (Str::from(argument), Uuid::ONE);
                self.turn(|shard, turn| shard.topics_deleted(turn, &[topic]))
            }
            "pass" => {
                let passed = self.pass(argument.parse().expect("milliseconds"));
                passed.into_iter().flat_map(|(_, effects)| effects).collect()
            }
            _ => {
                let (version, client_id, request) = request_of(line);
                self.request(version, &client_id, request).1
            }
        }
    }

    /// Does a line and says what came of it.
    pub fn line(&mut self, line: &str) -> String {
        let mut out = String::new();
        if let Some(ms) = line.strip_prefix("pass ") {
            self.pass_each(ms.trim().parse().expect("milliseconds"), |world, effects| {
                let before = out.len();
                world.print(&mut out, &effects);
                if out.len() > before {
                    out.insert_str(before, &format!("  at {}:\n", world.now_ms));
                }
            });
            return out;
        }
        let asked = self.next_token;
        let effects = self.effects_of(line);
        if self.next_token > asked {
            out.push_str(&format!("  is #{}\n", self.next_token));
        }
        self.print(&mut out, &effects);
        out
    }

    fn print(&mut self, out: &mut String, effects: &[Effect]) {
        for (offset, record) in self.log.records.iter().enumerate().skip(self.printed) {
            out.push_str(&format!("  append {offset}: {}\n", print::record(record)));
        }
        self.printed = self.log.records.len();
        for Effect::Reply { token, response } in effects {
            out.push_str(&format!("  reply #{}: {}\n", token.0, print::response(response)));
        }
    }
}

/// The request that a line asks: its version, the client id, the request.
pub fn request_of(line: &str) -> (i16, Str, Request) {
    let words = Words::new(line);
    let (command, args) = words.plain.split_first().expect("a command");
    let version = words.number("v", default_version(command)) as i16;
    (version, words.text("client").unwrap_or_default(), parse(command, args, &words, version))
}

/// Kafka's options, `name=value` each.
pub fn config(options: &str) -> GroupConfig {
    let mut c = GroupConfig::default();
    for option in options.split_whitespace() {
        let (name, value) = option.split_once('=').expect("name=value");
        let n: i64 = value.parse().expect("a number");
        match name {
            "group.initial.rebalance.delay.ms" => c.group_initial_rebalance_delay_ms = n as i32,
            "group.max.size" => c.group_max_size = n as i32,
            "offset.metadata.max.bytes" => c.offset_metadata_max_bytes = n as i32,
            "offsets.retention.ms" => c.offsets_retention_ms = n,
            "offsets.retention.check.interval.ms" => c.offsets_retention_check_interval_ms = n,
            "offsets.commit.timeout.ms" => c.offsets_commit_timeout_ms = n,
            other => panic!("no such option: {other}"),
        }
    }
    c
}

fn default_version(command: &str) -> i64 {
    match command {
        "join" => 9,
        "leave" | "sync" => 5,
        "offset-commit" | "offset-fetch" => 9,
        "describe" => 6,
        "delete" => 2,
        "offset-delete" => 0,
        "list" => 5,
        _ => 4,
    }
}

fn parse(command: &str, args: &[&str], words: &Words<'_>, version: i16) -> Request {
    // A lone dash is the empty group id.
    let group_id = Str::from(args.first().copied().filter(|g| *g != "-").unwrap_or_default());
    let member_id = words.text("member").unwrap_or_default();
    let group_instance_id = words.text("instance");
    let generation_id = words.number("gen", -1) as i32;
    match command {
        "join" => Request::JoinGroup(JoinGroupRequest {
            group_id,
            session_timeout_ms: words.number("session", 10_000) as i32,
            rebalance_timeout_ms: words.number("rebalance", 60_000) as i32,
            member_id,
            group_instance_id,
            protocol_type: words.text("type").unwrap_or(Str::from_static("consumer")),
            protocols: words
                .named
                .get("protocols")
                .unwrap_or(&"range:@t")
                .split(',')
                .filter(|p| !p.is_empty())
                .map(|p| {
                    let (name, metadata) = p.split_once(':').unwrap_or((p, ""));
                    let metadata = subscription(metadata);
                    JoinGroupRequestProtocol { name: Str::from(name), metadata, ..Default::default() }
                })
                .collect(),
            ..Default::default()
        }),
        "sync" => {
            let assignments = words.named.get("assign").unwrap_or(&"").split(',').filter(|a| !a.is_empty());
            let given = |a: &str| {
                let (member, assignment) = a.split_once(':').expect("member:assignment");
                SyncGroupRequestAssignment {
                    member_id: expand(member),
                    assignment: Bytes::copy_from_slice(assignment.as_bytes()),
                    ..Default::default()
                }
            };
            let named = version >= 5;
            Request::SyncGroup(SyncGroupRequest {
                group_id,
                generation_id,
                member_id,
                group_instance_id,
                protocol_type: words.text("type").or(named.then(|| Str::from_static("consumer"))),
                protocol_name: words.text("protocol").or(named.then(|| Str::from_static("range"))),
                assignments: assignments.map(given).collect(),
                ..Default::default()
            })
        }
        "heartbeat" => Request::Heartbeat(HeartbeatRequest {
            group_id,
            generation_id,
            member_id,
            group_instance_id,
            ..Default::default()
        }),
        "leave" if version < 3 => Request::LeaveGroup(LeaveGroupRequest { group_id, member_id, ..Default::default() }),
        "leave" => {
            let members = words.named.get("members").unwrap_or(&"").split(',').filter(|m| !m.is_empty());
            let identity = |m: &str| match m.split_once('/') {
                Some((member, instance)) => MemberIdentity {
                    member_id: expand(member),
                    group_instance_id: Some(Str::from(instance)),
                    ..Default::default()
                },
                None => MemberIdentity { member_id: expand(m), ..Default::default() },
            };
            Request::LeaveGroup(LeaveGroupRequest {
                group_id,
                members: members.map(identity).collect(),
                ..Default::default()
            })
        }
        "offset-commit" => Request::OffsetCommit(OffsetCommitRequest {
            group_id,
            generation_id_or_member_epoch: generation_id,
            member_id,
            group_instance_id,
            retention_time_ms: words.number("retention", -1),
            topics: args[1..]
                .iter()
                .map(|a| {
                    let (place, value) = a.split_once('=').expect("topic:partition=offset");
                    let (topic, partition) = place.split_once(':').expect("topic:partition");
                    let (offset, metadata) = value.split_once('/').map_or((value, None), |(o, m)| (o, Some(m)));
                    OffsetCommitRequestTopic {
                        name: Str::from(topic),
                        partitions: vec![OffsetCommitRequestPartition {
                            partition_index: partition.parse().expect("a partition"),
                            committed_offset: offset.parse().expect("an offset"),
                            committed_metadata: metadata.map(Str::from),
                            ..Default::default()
                        }],
                        ..Default::default()
                    }
                })
                .collect(),
            ..Default::default()
        }),
        "offset-fetch" => {
            let topics = args[1..].iter().map(|a| {
                let (topic, partition) = a.split_once(':').expect("topic:partition");
                OffsetFetchRequestTopics {
                    name: Str::from(topic),
                    partition_indexes: vec![partition.parse().expect("a partition")],
                    ..Default::default()
                }
            });
            let topics = (args.len() > 1).then(|| topics.collect());
            let group = OffsetFetchRequestGroup { group_id, topics, ..Default::default() };
            Request::OffsetFetch { group, require_stable: words.named.contains_key("stable") }
        }
        "offset-delete" => Request::OffsetDelete(OffsetDeleteRequest {
            group_id,
            topics: args[1..]
                .iter()
                .map(|a| {
                    let (topic, partition) = a.split_once(':').expect("topic:partition");
                    let partition_index = partition.parse().expect("a partition");
                    OffsetDeleteRequestTopic {
                        name: Str::from(topic),
                        partitions: vec![OffsetDeleteRequestPartition { partition_index }],
                    }
                })
                .collect(),
        }),
        "describe" => Request::DescribeGroups(args.iter().map(|a| Str::from(*a)).collect()),
        "list" => {
            let filter = |name| words.text(name).map(|s| s.split(',').map(Str::from).collect()).unwrap_or_default();
            Request::ListGroups(ListGroupsRequest {
                states_filter: filter("states"),
                types_filter: filter("types"),
                ..Default::default()
            })
        }
        "delete" => Request::DeleteGroups(args.iter().map(|a| Str::from(*a)).collect()),
        other => panic!("no such command: {other}"),
    }
}
