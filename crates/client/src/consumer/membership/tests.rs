//! Transcripts of both machines: `transcripts/*.txt` beside this file say what happens and what comes of it.
//!
//! `UPDATE_TRANSCRIPTS=1 cargo test -p logrun-client membership` writes them anew; the difference is then to be judged.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use logrun_io::Random;
use logrun_model::{GenerationId, Monotonic, Str, TopicPartition, Uuid};
use logrun_wire::ErrorCode;
use logrun_wire::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use logrun_wire::messages::join_group_response::JoinGroupResponseMember;
use logrun_wire::messages::{ConsumerGroupHeartbeatResponse, HeartbeatResponse, JoinGroupResponse, SyncGroupResponse};

use super::super::assignor::{CooperativeStickyAssignor, MemberSubscription, PartitionAssignor, RangeAssignor};
use super::super::protocol;
use super::classic::Classic;
use super::modern::Modern;
use super::{Callback, Effect, Event, GroupMembershipOperation, Membership, Reply, Request, Settings, Wish};
use crate::backoff::Backoff;
use crate::error::Error;

fn partitions(text: &str) -> BTreeSet<TopicPartition> {
    let one = |t: &str| {
        let (topic, p) = t.rsplit_once('-').expect("topic-partition");
        TopicPartition::new(topic, p.parse().expect("a number"))
    };
    text.split('+').filter(|t| !t.is_empty() && *t != "-").map(one).collect()
}

fn list(set: &BTreeSet<TopicPartition>) -> String {
    let list: Vec<String> = set.iter().map(ToString::to_string).collect();
    format!("[{}]", list.join(" "))
}

fn id_of(topic: &str) -> Uuid {
    Uuid([topic.as_bytes()[0]; 16])
}

struct World {
    machine: Membership,
    now: Monotonic,
    last: u64,
}

impl World {
    fn new(words: &[&str]) -> Self {
        let has = |word: &str| words.contains(&word);
        let eager: Arc<dyn PartitionAssignor> = Arc::new(RangeAssignor);
        let settings = Settings {
            group_id: "g".into(),
            instance_id: has("static").then(|| "i".into()),
            rack_id: None,
            session_timeout_ms: 45_000,
            heartbeat_interval_ms: 3_000,
            max_poll_interval_ms: 60_000,
            backoff: Backoff::new(100, 1000),
            assignors: vec![if has("cooperative") { Arc::new(CooperativeStickyAssignor) } else { eager }],
            remote_assignor: None,
        };
        let random = Random::from_seed(7);
        let machine = match has("modern") {
            true => Membership::Modern(Modern::new(settings, random)),
            false => Membership::Classic(Classic::new(settings, random)),
        };
        Self { machine, now: Monotonic::default(), last: 0 }
    }

    /// Takes one line; what comes of it, a line for each effect.
    fn line(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let value = |name: &str| words.iter().find_map(|w| w.strip_prefix(name)?.strip_prefix('='));
        let error = value("error")
            .map(|name| ErrorCode::ALL.iter().find(|e| e.name() == name).unwrap_or_else(|| panic!("{name}")).code());
        let error_code = error.unwrap_or(0);
        let answer = |reply| Event::Answered(self.last, reply);
        let gone = || Error::Disconnected { address: "a:1".into(), reason: "gone".into() };
        let event = match words[0] {
            "subscribe" => Event::Subscribed(Wish {
                topics: words[1..].iter().filter(|w| !w.contains('=')).map(|t| Str::from(*t)).collect(),
                regex: value("regex").map(Str::from),
            }),
            "leave" => Event::Unsubscribed(match value("operation") {
                Some("remain") => GroupMembershipOperation::RemainInGroup,
                Some("leave") => GroupMembershipOperation::LeaveGroup,
                _ => GroupMembershipOperation::Default,
            }),
            "poll" => Event::Polled,
            "called" => Event::CalledBack,
            "rejoin" => Event::Rejoin("because"),
            "wait" => {
                self.now = self.now.plus_ms(words[1].parse().expect("milliseconds"));
                Event::DeadlineReached
            }
            "assigned" => Event::AssignmentMade(
                words[1..]
                    .iter()
                    .map(|w| w.split_once(':').expect("member:partitions"))
                    .map(|(m, p)| (m.into(), partitions(p).into_iter().collect()))
                    .collect(),
            ),
            "named" => Event::TopicsNamed(words[1..].iter().map(|t| (id_of(t), Str::from(*t))).collect()),
            "joined" => answer(Reply::Join(Ok(JoinGroupResponse {
                error_code,
                generation_id: value("generation").map_or(-1, |g| g.parse().expect("a number")),
                protocol_name: Some("range".into()),
                leader: value("leader").unwrap_or("other").into(),
                member_id: value("member").unwrap_or("m").into(),
                members: value("members")
                    .into_iter()
                    .flat_map(|m| m.split('+'))
                    .map(|m| JoinGroupResponseMember {
                        member_id: m.into(),
                        metadata: protocol::write_subscription(&MemberSubscription {
                            topics: vec!["t".into()],
                            generation_id: GenerationId::NONE,
                            ..Default::default()
                        })
                        .unwrap(),
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            }))),
            "join-lost" => answer(Reply::Join(Err(gone()))),
            "synced" => answer(Reply::Sync(Ok(SyncGroupResponse {
                error_code,
                assignment: protocol::write_assignment(
                    &partitions(value("has").unwrap_or("")).into_iter().collect::<Vec<_>>(),
                )
                .unwrap(),
                ..Default::default()
            }))),
            "beaten" => answer(Reply::Heartbeat(Ok(HeartbeatResponse { error_code, ..Default::default() }))),
            "beat-lost" => answer(Reply::Heartbeat(Err(gone()))),
            "answered" => answer(Reply::ConsumerHeartbeat(Ok(ConsumerGroupHeartbeatResponse {
                error_code,
                member_epoch: value("epoch").map_or(0, |e| e.parse().expect("a number")),
                heartbeat_interval_ms: 5_000,
                assignment: value("has").map(|has| {
                    let mut topic_partitions: Vec<TopicPartitions> = Vec::new();
                    for tp in partitions(has) {
                        let topic_id = id_of(&tp.topic);
                        match topic_partitions.last_mut() {
                            Some(t) if t.topic_id == topic_id => t.partitions.push(tp.partition),
                            _ => topic_partitions.push(TopicPartitions {
                                topic_id,
                                partitions: vec![tp.partition],
                                ..Default::default()
                            }),
                        }
                    }
                    Assignment { topic_partitions, ..Default::default() }
                }),
                ..Default::default()
            }))),
            "answer-lost" => answer(Reply::ConsumerHeartbeat(Err(gone()))),
            other => panic!("what is {other}?"),
        };
        let mut effects = Vec::new();
        self.machine.on(self.now, event, &mut effects);
        let mut out = String::new();
        for e in effects {
            let line = self.print(e);
            writeln!(out, "  {line}").unwrap();
        }
        let due =
            self.machine.next_deadline().map_or("-".into(), |at| format!("{} ms", at.since(self.now).as_millis()));
        let generation = self.machine.identity().generation;
        let rebalancing = if self.machine.is_rebalancing() { ", rebalancing" } else { "" };
        writeln!(out, "  = generation {generation}{rebalancing}, next in {due}").unwrap();
        out
    }

    fn print(&mut self, effect: Effect) -> String {
        match effect {
            Effect::Send(number, request) => {
                if !matches!(request, Request::Leave(_)) {
                    self.last = number;
                }
                match request {
                    Request::Join(r) => {
                        let owned = protocol::read_subscription(&r.protocols[0].metadata).unwrap();
                        let owned: BTreeSet<_> = owned.owned_partitions.into_iter().collect();
                        format!("join as `{}` owning {}: {}", r.member_id, list(&owned), r.reason.unwrap_or_default())
                    }
                    Request::Sync(r) => {
                        let give = |a: &logrun_wire::messages::sync_group_request::SyncGroupRequestAssignment| {
                            let p = protocol::read_assignment(&a.assignment).unwrap();
                            format!("{} {}", a.member_id, list(&p.into_iter().collect()))
                        };
                        let all: Vec<String> = r.assignments.iter().map(give).collect();
                        format!("sync generation {} {}", r.generation_id, all.join(", ")).trim_end().to_owned()
                    }
                    Request::Heartbeat(r) => {
                        format!("heartbeat of `{}` in generation {}", r.member_id, r.generation_id)
                    }
                    Request::Leave(r) => format!("leave: {}", r.members[0].reason.clone().unwrap_or_default()),
                    Request::ConsumerHeartbeat(r) => {
                        let mut line = format!("heartbeat in epoch {}", r.member_epoch);
                        if let Some(t) = &r.subscribed_topic_names {
                            write!(line, ", topics {t:?}").unwrap();
                        }
                        if let Some(t) = &r.subscribed_topic_regex {
                            write!(line, ", regex {t:?}").unwrap();
                        }
                        if let Some(t) = &r.topic_partitions {
                            let t: Vec<_> =
                                t.iter().map(|t| format!("{}{:?}", t.topic_id.0[0] as char, t.partitions)).collect();
                            write!(line, ", has [{}]", t.join(" ")).unwrap();
                        }
                        if r.rebalance_timeout_ms >= 0 {
                            write!(line, ", in full").unwrap();
                        }
                        line
                    }
                }
            }
            Effect::ForgetCoordinator => "forget the coordinator".into(),
            Effect::Call(Callback::Revoked(p)) => format!("tell: revoked {}", list(&p)),
            Effect::Call(Callback::Lost(p)) => format!("tell: lost {}", list(&p)),
            Effect::Call(Callback::Assigned(p)) => format!("tell: assigned {}", list(&p)),
            Effect::Has(p) => format!("has {}", list(&p)),
            Effect::MakeAssignment { members, .. } => {
                format!("divide among {}", members.iter().map(|(m, _)| &**m).collect::<Vec<_>>().join(" "))
            }
            Effect::NameTopics(ids) => format!("name {} topics", ids.len()),
            Effect::Fail(e) => format!("fail: {e}"),
            Effect::Gone => "gone".into(),
        }
    }
}

fn play(text: &str) -> String {
    let mut world = World::new(&[]);
    let mut out = String::new();
    for line in text.lines().filter(|l| !l.starts_with("  ")) {
        writeln!(out, "{line}").unwrap();
        if let Some(options) = line.strip_prefix("member") {
            world = World::new(&options.split_whitespace().collect::<Vec<_>>());
        } else if !line.trim().is_empty() && !line.starts_with('#') {
            out.push_str(&world.line(line));
        }
    }
    out
}

#[test]
fn transcripts_are_as_written() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/consumer/membership/transcripts");
    let update = std::env::var_os("UPDATE_TRANSCRIPTS").is_some();
    let mut paths: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 5, "transcripts are missing");
    for path in paths {
        let written = std::fs::read_to_string(&path).unwrap();
        let played = play(&written);
        if update {
            std::fs::write(&path, &played).unwrap();
        } else {
            assert_eq!(written, played, "{}", path.display());
        }
    }
}
