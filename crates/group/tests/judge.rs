//! The transcripts, asked of Apache Kafka: its broker must give the replies that ours are written to give.
//!
//! Runs only if `KAFKA_JUDGE` names a script that starts Apache Kafka (`$KAFKA_JUDGE start PORT`, with `PEER_HOME` and
//! `EXTRA` in the environment). Time passes for real, so transcripts that depend on single milliseconds, and those
//! that crash a node or fill its disk, are left out.

mod common;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{World, config, expand, print, request_of};
use logrun_group::{Effect, Request, Response};
use logrun_model::Str;
use logrun_wire::frame;
use logrun_wire::messages::offset_commit_response::OffsetCommitResponseTopic;
use logrun_wire::messages::offset_fetch_response::OffsetFetchResponseTopics;
use logrun_wire::messages::{DeleteGroupsRequest, DescribeGroupsRequest, FindCoordinatorRequest, OffsetFetchRequest};

const PORT: u16 = 31_092;
/// The bound for a reply that is not parked.
const PROMPT: Duration = Duration::from_millis(600);

/// Not among them for what they show on purpose: `max_size`, where the others are not kept waiting for a member that was
/// turned away, and a group that nobody got into is not listed.
const COMPARED: [&str; 8] = [
    "cooperative",
    "initial_join",
    "leader_leaves",
    "member_times_out",
    "offsets",
    "rejoin",
    "static_rebalance",
    "static_restart",
];

fn call<R: logrun_wire::Request>(version: i16, client_id: &Str, request: &R) -> R::Response {
    let mut socket = TcpStream::connect(("127.0.0.1", PORT)).expect("a broker");
    for part in frame::encode_request(1, Some(client_id.clone()), version, request).expect("a request") {
        socket.write_all(&part).expect("a connection");
    }
    let mut length = [0; 4];
    if let Err(e) = socket.read_exact(&mut length) {
        panic!("no response to {request:?} in version {version}: {e}");
    }
    let mut body = vec![0; u32::from_be_bytes(length) as usize];
    socket.read_exact(&mut body).expect("a whole response");
    frame::decode_response::<R>(Bytes::from(body), version).expect("a response that can be read").1
}

/// Asks, and waits for the answer.
fn ask(version: i16, client_id: &Str, request: Request) -> Response {
    match request {
        Request::JoinGroup(r) => Response::JoinGroup(call(version, client_id, &r)),
        Request::SyncGroup(r) => Response::SyncGroup(call(version, client_id, &r)),
        Request::Heartbeat(r) => Response::Heartbeat(call(version, client_id, &r)),
        Request::LeaveGroup(r) => Response::LeaveGroup(call(version, client_id, &r)),
        Request::OffsetCommit(r) => Response::OffsetCommit(call(version, client_id, &r)),
        Request::OffsetDelete(r) => Response::OffsetDelete(call(version, client_id, &r)),
        Request::ListGroups(r) => Response::ListGroups(call(version, client_id, &r)),
        Request::OffsetFetch { group, require_stable } => {
            let request = OffsetFetchRequest { groups: vec![group], require_stable, ..Default::default() };
            Response::OffsetFetch(call(version, client_id, &request).groups.remove(0))
        }
        Request::DescribeGroups(groups) => {
            let request = DescribeGroupsRequest { groups, ..Default::default() };
            Response::DescribeGroups(call(version, client_id, &request).groups)
        }
        Request::DeleteGroups(groups_names) => {
            let request = DeleteGroupsRequest { groups_names, ..Default::default() };
            Response::DeleteGroups(call(version, client_id, &request).results)
        }
    }
}

/// Puts the ids that Kafka gave in the place of ours.
fn with_kafkas_ids(request: &mut Request, ids: &BTreeMap<Str, Str>) {
    let put = |id: &mut Str| {
        if let Some(theirs) = ids.get(id) {
            *id = theirs.clone();
        }
    };
    match request {
        Request::JoinGroup(r) => put(&mut r.member_id),
        Request::Heartbeat(r) => put(&mut r.member_id),
        Request::OffsetCommit(r) => put(&mut r.member_id),
        Request::SyncGroup(r) => {
            put(&mut r.member_id);
            r.assignments.iter_mut().for_each(|a| put(&mut a.member_id));
        }
        Request::LeaveGroup(r) => {
            put(&mut r.member_id);
            r.members.iter_mut().for_each(|m| put(&mut m.member_id));
        }
        _ => {}
    }
}

/// In one order: Kafka keeps members and groups in none, and puts a topic's partitions together.
fn sorted(mut response: Response) -> Response {
    match &mut response {
        Response::JoinGroup(r) => r.members.sort_by(|a, b| a.member_id.cmp(&b.member_id)),
        Response::DescribeGroups(groups) => {
            groups.iter_mut().for_each(|g| g.members.sort_by(|a, b| a.member_id.cmp(&b.member_id)));
        }
        Response::ListGroups(r) => r.groups.sort_by(|a, b| a.group_id.cmp(&b.group_id)),
        Response::OffsetFetch(r) => {
            let mut topics = BTreeMap::new();
            for mut topic in std::mem::take(&mut r.topics) {
                let known = topics.entry(topic.name.clone()).or_insert_with(Vec::new);
                known.append(&mut topic.partitions);
            }
            r.topics = topics
                .into_iter()
                .map(|(name, partitions)| OffsetFetchResponseTopics { name, partitions, ..Default::default() })
                .collect();
        }
        Response::OffsetCommit(r) => {
            let mut topics = BTreeMap::new();
            for mut topic in std::mem::take(&mut r.topics) {
                let known = topics.entry(topic.name.clone()).or_insert_with(Vec::new);
                known.append(&mut topic.partitions);
            }
            r.topics = topics
                .into_iter()
                .map(|(name, partitions)| OffsetCommitResponseTopic { name, partitions, ..Default::default() })
                .collect();
        }
        Response::DeleteGroups(results) => results.sort_by(|a, b| a.group_id.cmp(&b.group_id)),
        _ => {}
    }
    response
}

struct Judge {
    replies: Receiver<(usize, Response)>,
    sender: Sender<(usize, Response)>,
    /// Ours to Kafka's.
    ids: BTreeMap<Str, Str>,
    /// For each token, what the new member's id begins with.
    prefixes: BTreeMap<usize, Str>,
    said: BTreeMap<usize, String>,
    asked: usize,
}

impl Judge {
    fn new() -> Self {
        let (sender, replies) = channel();
        let (ids, prefixes, said) = Default::default();
        Self { replies, sender, ids, prefixes, said, asked: 0 }
    }

    fn line(&mut self, line: &str) {
        match line.split_whitespace().next() {
            Some("elect" | "commit" | "topic-deleted") => {}
            Some("pass") => {
                let ms: u64 = line[5..].trim().parse().expect("milliseconds");
                self.hear(Duration::from_millis(ms), None);
            }
            _ => {
                self.asked += 1;
                let token = self.asked;
                let (version, client_id, mut request) = request_of(line);
                if let Request::JoinGroup(r) = &request {
                    let prefix = r.group_instance_id.clone().unwrap_or(client_id.clone());
                    self.prefixes.insert(token, prefix);
                }
                with_kafkas_ids(&mut request, &self.ids);
                let sender = self.sender.clone();
                std::thread::spawn(move || {
                    // The test may have ended meanwhile.
                    let _ = sender.send((token, ask(version, &client_id, request)));
                });
                self.hear(PROMPT, Some(token));
            }
        }
    }

    /// Takes replies until the time is over or the one for `token` is here.
    fn hear(&mut self, time: Duration, token: Option<usize>) {
        let end = Instant::now() + time;
        while let Ok((of, response)) = self.replies.recv_timeout(end.saturating_duration_since(Instant::now())) {
            if let (Response::JoinGroup(r), Some(prefix)) = (&response, self.prefixes.get(&of)) {
                let known = self.ids.values().any(|theirs| *theirs == r.member_id);
                if !known && r.member_id.len() > 36 {
                    self.ids.insert(expand(&format!("{prefix}-#{of}")), r.member_id.clone());
                }
            }
            self.said.insert(of, print::response(&sorted(response)));
            if token == Some(of) {
                return;
            }
        }
    }

    /// With our ids in the place of Kafka's.
    fn said(&self) -> BTreeMap<usize, String> {
        let ours = |text: &String| {
            self.ids.iter().fold(text.clone(), |text, (ours, theirs)| {
                let short = print::response(&Response::JoinGroup(logrun_wire::messages::JoinGroupResponse {
                    error_code: 25,
                    member_id: ours.clone(),
                    ..Default::default()
                }));
                text.replace(&**theirs, short.trim_start_matches("join UNKNOWN_MEMBER_ID member="))
            })
        };
        self.said.iter().map(|(token, text)| (*token, ours(text))).collect()
    }
}

struct Node {
    judge: PathBuf,
    home: PathBuf,
}

impl Node {
    fn start(judge: &Path, options: &str) -> Self {
        let home = std::env::temp_dir().join(format!("logrun-group-judge-{}", std::process::id()));
        std::fs::create_dir_all(&home).unwrap();
        let jars = std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".cache/peer-kafka/lib-4.3.1"));
        if let Some(jars) = jars.filter(|j| j.exists()) {
            let _ = std::os::unix::fs::symlink(jars, home.join("lib-4.3.1"));
        }
        let node = Self { judge: judge.to_path_buf(), home };
        node.run("wipe", options);
        node.run("start", options);
        node
    }

    fn run(&self, what: &str, options: &str) {
        let extra = options.split_whitespace().collect::<Vec<_>>().join("\n");
        let mut command = Command::new(&self.judge);
        command.args([what, &PORT.to_string()]).env("PEER_HOME", &self.home).env("EXTRA", extra).env("HEAP", "512m");
        // It is not waited for by its output, which its own children inherit.
        let said = std::fs::File::create(self.home.join("said")).unwrap();
        command.stdout(said.try_clone().unwrap()).stderr(said);
        let done = command.status().expect("the judge").success();
        assert!(done, "{what}: {}", std::fs::read_to_string(self.home.join("said")).unwrap_or_default());
    }

    /// The offsets topic is created when the first coordinator is asked for.
    fn wait_for_coordinator(&self) {
        for _ in 0..100 {
            let request =
                FindCoordinatorRequest { coordinator_keys: vec![Str::from_static("g")], ..Default::default() };
            let found = call(4, &Str::EMPTY, &request);
            let probe = Request::OffsetFetch { group: Default::default(), require_stable: false };
            let is_found = found.coordinators.first().is_some_and(|c| c.error_code == 0);
            if is_found && matches!(ask(9, &Str::EMPTY, probe), Response::OffsetFetch(r) if r.error_code == 0) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("no coordinator");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.run("stop", "");
        let _ = std::fs::remove_dir_all(&self.home);
    }
}

/// What our own shard replies to the transcript, in the same order.
fn ours(text: &str) -> BTreeMap<usize, String> {
    let options = text.lines().find_map(|l| l.strip_prefix("config ")).unwrap_or_default();
    let mut world = World::new(config(options));
    let mut said = BTreeMap::new();
    for line in text.lines().filter(is_command) {
        for Effect::Reply { token, response } in world.effects_of(line) {
            said.insert(token.0 as usize, print::response(&sorted(response)));
        }
    }
    said
}

fn is_command(line: &&str) -> bool {
    !line.trim().is_empty() && !line.starts_with(['#', ' ']) && !line.starts_with("config ")
}

#[test]
#[ignore = "takes five minutes beside Apache Kafka: KAFKA_JUDGE=... cargo test -p logrun-group --test judge -- --ignored"]
fn apache_kafka_replies_as_written() {
    let Some(judge) = std::env::var_os("KAFKA_JUDGE").map(PathBuf::from) else {
        println!("skipped: KAFKA_JUDGE does not name a script that runs Apache Kafka");
        return;
    };
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let only = std::env::var("TRANSCRIPT").ok();
    let mut differing = Vec::new();
    for name in COMPARED.iter().filter(|n| only.as_ref().is_none_or(|o| o == *n)) {
        let text = std::fs::read_to_string(dir.join(format!("{name}.txt"))).unwrap();
        let default = "group.initial.rebalance.delay.ms=3000";
        let options = text.lines().find_map(|l| l.strip_prefix("config ")).unwrap_or(default);
        let node = Node::start(&judge, options);
        node.wait_for_coordinator();
        for topic in ["t", "u", "w"] {
            node.create_topic(topic);
        }
        let mut judge = Judge::new();
        for line in text.lines().filter(is_command) {
            judge.line(line);
        }
        judge.hear(PROMPT, None);
        println!("{name} was played");
        let (ours, theirs) = (ours(&text), judge.said());
        for token in ours.keys().chain(theirs.keys()).collect::<std::collections::BTreeSet<_>>() {
            let (ours, theirs) = (ours.get(token), theirs.get(token));
            if ours != theirs {
                let difference = format!("{name} #{token}\n  ours:    {ours:?}\n  Kafka's: {theirs:?}");
                println!("{difference}");
                differing.push(difference);
            }
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

impl Node {
    /// Commits are only taken for partitions that exist.
    fn create_topic(&self, topic: &str) {
        let topic = logrun_wire::messages::create_topics_request::CreatableTopic {
            name: Str::from(topic),
            num_partitions: 10,
            replication_factor: 1,
            ..Default::default()
        };
        let request = logrun_wire::messages::CreateTopicsRequest {
            topics: vec![topic],
            timeout_ms: 10_000,
            ..Default::default()
        };
        let created = call(7, &Str::EMPTY, &request);
        assert_eq!(created.topics[0].error_code, 0, "{created:?}");
        let name = Some(created.topics[0].name.clone());
        let topic = logrun_wire::messages::metadata_request::MetadataRequestTopic { name, ..Default::default() };
        let request = logrun_wire::messages::MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
        while call(12, &Str::EMPTY, &request).topics[0].error_code != 0 {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
