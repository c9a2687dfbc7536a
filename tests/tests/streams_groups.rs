//! `kafka-streams-groups` with groups that live: ours and Apache Kafka's, on Apache Kafka, which is the only broker yet
//! that has such groups. Their members are heartbeats (KIP-1071) of the test's own, so that no Streams library is needed;
//! what can be asked without members is in `tests/tools/matrix.txt`.
//!
//! Ignored unless asked for, because it needs the judge:
//! `cargo test -p logrun-tests --test streams_groups -- --ignored`

use std::time::{Duration, Instant};

use logrun_client::{Call, Client, Config, CoordinatorKey, ErrorCode, Target};
use logrun_model::Str;
use logrun_testkit::{Home, Product, Scratch, judge};
use logrun_tests::tools::{Tools, comparable};
use logrun_wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use logrun_wire::messages::streams_group_heartbeat_request::{Subtopology, TaskIds, TopicInfo, Topology};
use logrun_wire::messages::{OffsetCommitRequest, StreamsGroupHeartbeatRequest};

const PATIENCE: Duration = Duration::from_secs(60);
/// Between two heartbeats.
const BETWEEN: Duration = Duration::from_millis(200);

/// The only member of a group.
struct Member<'a> {
    client: &'a Client,
    group: Str,
    epoch: i32,
    /// The partitions of the one subtopology's tasks.
    tasks: Vec<i32>,
}

impl<'a> Member<'a> {
    fn call(&self) -> Call {
        Call::to(Target::Coordinator(CoordinatorKey::Group(self.group.clone())))
    }

    async fn beat(&mut self, epoch: i32) {
        let first = epoch == 0;
        let changelog = TopicInfo { name: format!("{}-counts-changelog", self.group).into(), ..Default::default() };
        let counting = Subtopology {
            subtopology_id: "0".into(),
            source_topics: vec!["words".into()],
            state_changelog_topics: vec![changelog],
            ..Default::default()
        };
        let owned = TaskIds { subtopology_id: "0".into(), partitions: self.tasks.clone(), ..Default::default() };
        let owned = if self.tasks.is_empty() { Vec::new() } else { vec![owned] };
        let request = StreamsGroupHeartbeatRequest {
            group_id: self.group.clone(),
            member_id: "member-1".into(),
            member_epoch: epoch,
            rebalance_timeout_ms: if first { 60_000 } else { -1 },
            topology: first.then(|| Topology { subtopologies: vec![counting], ..Default::default() }),
            active_tasks: (epoch >= 0).then_some(owned),
            standby_tasks: (epoch >= 0).then(Vec::new),
            warmup_tasks: (epoch >= 0).then(Vec::new),
            process_id: first.then(|| "process-1".into()),
            ..Default::default()
        };
        let response = loop {
            let response = self.client.call(self.call(), request.clone()).await.expect("a heartbeat");
            match ErrorCode::from_code(response.error_code) {
                // The groups' topic has only just been made.
                Some(code) if code.is_retriable() => tokio::time::sleep(BETWEEN).await,
                _ => break response,
            }
        };
        assert_eq!(response.error_code, 0, "{:?}", response.error_message);
        self.epoch = response.member_epoch;
        if let Some(tasks) = response.active_tasks {
            self.tasks = tasks.into_iter().flat_map(|t| t.partitions).collect();
        }
    }

    /// Joins, and beats until both tasks are its own.
    async fn join(client: &'a Client, group: &str) -> Self {
        let mut member = Self { client, group: group.into(), epoch: 0, tasks: Vec::new() };
        member.beat(0).await;
        let begun = Instant::now();
        while member.tasks.len() < 2 {
            assert!(begun.elapsed() < PATIENCE, "{group} has no tasks");
            tokio::time::sleep(BETWEEN).await;
            member.beat(member.epoch).await;
        }
        member.beat(member.epoch).await;
        member
    }

    async fn commit(&self, offsets: [i64; 2]) {
        let partition = |(i, offset): (usize, i64)| OffsetCommitRequestPartition {
            partition_index: i as i32,
            committed_offset: offset,
            ..Default::default()
        };
        let topic = OffsetCommitRequestTopic {
            name: "words".into(),
            partitions: offsets.into_iter().enumerate().map(partition).collect(),
            ..Default::default()
        };
        let request = OffsetCommitRequest {
            group_id: self.group.clone(),
            generation_id_or_member_epoch: self.epoch,
            member_id: "member-1".into(),
            topics: vec![topic],
            ..Default::default()
        };
        // Later versions name topics by id.
        let response = self.client.call(self.call().versions(9, 9), request).await.expect("a commit");
        assert!(response.topics.iter().flat_map(|t| &t.partitions).all(|p| p.error_code == 0), "{response:?}");
    }
}

/// Asks both tools; how many answers differ.
fn compare(tools: &mut Tools, bootstrap: &str, lines: &[&str]) -> usize {
    let mut differences = 0;
    for line in lines {
        let args = |who: &str| -> Vec<String> {
            let words = line.split(' ').map(|word| word.replace('@', who));
            words.chain(["--bootstrap-server".to_owned(), bootstrap.to_owned()]).collect()
        };
        let ours = tools.ours("kafka-streams-groups", &args("mine"), "").expect("an answer");
        let theirs = tools.apaches("kafka-streams-groups", &args("java"), "").expect("an answer");
        let same = (ours.0, comparable(&ours.1)) == (theirs.0, comparable(&theirs.1));
        if !same || std::env::var_os("MATRIX_SHOW").is_some() {
            println!("\n{line}\nours: {} {}{}\ntheirs: {} {}{}", ours.0, ours.1, ours.2, theirs.0, theirs.1, theirs.2);
        }
        differences += usize::from(!same);
    }
    differences
}

const WITH_A_MEMBER: &[&str] = &[
    "--list",
    "--list --state",
    "--list --state Stable",
    "--describe --group @wc",
    "--describe --group @wc --verbose",
    "--describe --group @wc --offsets",
    "--describe --group @wc --members",
    "--describe --group @wc --members --verbose",
    "--describe --group @wc --state",
    "--describe --group @wc --state --verbose",
    "--reset-offsets --group @wc --input-topic words --to-earliest --execute",
    "--reset-offsets --group @wc --input-topic words --to-earliest --execute --delete-all-internal-topics",
    "--delete --group @wc",
    "--delete-offsets --group @wc --input-topic words",
];

const WITHOUT: &[&str] = &[
    "--list --state",
    "--describe --group @wc",
    "--describe --group @wc --members",
    "--describe --group @wc --state",
    "--reset-offsets --group @wc --all-input-topics --to-earliest --dry-run",
    "--reset-offsets --group @wc --input-topic words --to-latest --execute",
    "--reset-offsets --group @wc --input-topic words:1 --shift-by -2 --execute",
    "--reset-offsets --group @wc --input-topic words --to-current --export --dry-run",
    "--describe --group @wc --offsets --verbose",
    "--delete-offsets --group @wc --input-topic words",
    "--reset-offsets --group @wc --input-topic words --to-earliest --execute --delete-all-internal-topics",
    "--delete --group @wc",
    "--list",
];

#[test]
#[ignore = "needs Apache Kafka"]
fn groups_of_streams_applications() {
    let scratch = Scratch::new("streams-groups").expect("a directory");
    let kafka = Product::Kafka(judge().expect("Apache Kafka: KAFKA_JUDGE or ../shared/kafka/kafka"));
    let lines = "group.streams.initial.rebalance.delay.ms=0\ngroup.streams.session.timeout.ms=60000\n";
    let home = Home::new(kafka, &scratch.join("kafka"), lines).expect("a home");
    let (_running, _) = home.start(PATIENCE).unwrap_or_else(|e| panic!("Apache Kafka: {e}"));
    let bootstrap = home.bootstrap();
    let mut tools = Tools::start(&scratch.join("kafka/lib-4.3.1"), &scratch.join("runs")).expect("java");
    let words = |text: &str| -> Vec<String> {
        text.split(' ').map(str::to_owned).chain(["--bootstrap-server".to_owned(), bootstrap.clone()]).collect()
    };
    let made = tools.ours("kafka-topics", &words("--create --topic words --partitions 2"), "").expect("an end");
    assert_eq!(made.0, 0, "{}{}", made.1, made.2);
    let input: String = (0..10).map(|n| format!("word {n}\n")).collect();
    let written = tools.ours("kafka-console-producer", &words("--topic words --sync"), &input).expect("an end");
    assert_eq!(written.0, 0, "{}{}", written.1, written.2);

    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let client = runtime.block_on(async { Client::connect(&Config::new(&bootstrap)) }).expect("a client");
    let mut members = Vec::new();
    for group in ["minewc", "javawc"] {
        let member = runtime.block_on(Member::join(&client, group));
        runtime.block_on(member.commit([0, 1]));
        members.push(member);
    }
    let mut differences = compare(&mut tools, &bootstrap, WITH_A_MEMBER);
    let topics = tools.ours("kafka-topics", &words("--list"), "").expect("an end").1;
    assert!(topics.contains("minewc-counts-changelog"), "a group that lives keeps its topics: {topics}");
    for member in &mut members {
        runtime.block_on(member.beat(-1));
    }
    differences += compare(&mut tools, &bootstrap, WITHOUT);
    assert_eq!(differences, 0, "answers that are not the same");
}
