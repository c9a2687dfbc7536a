//! `kafka-topics`: create, list, describe, change and delete topics (Kafka's `TopicCommand`).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use logrun_client::admin::ConfigDescription;
use logrun_client::{Error, Target, Uuid};
use logrun_model::is_internal_topic;
use logrun_wire::ErrorCode;
use logrun_wire::messages as m;

use crate::cluster::{ResourceType, describe_configs, metadata};
use crate::failure::Failure;
use crate::filter::IncludeList;
use crate::options::{BOOTSTRAP_SERVER, COMMAND_CONFIG, Given, HELP, Opt, Syntax, VERSION};
use crate::session::{Session, block_on, check, failure};
use crate::text::commas;
use crate::{Out, Tool};

pub const TOOL: Tool = Tool { name: "kafka-topics", about: SYNTAX.about, run };

const REPORTS: [&str; 4] =
    ["under-replicated-partitions", "unavailable-partitions", "under-min-isr-partitions", "at-min-isr-partitions"];
const ACTIONS: [&str; 5] = ["create", "list", "alter", "describe", "delete"];

const SYNTAX: Syntax = Syntax {
    tool: "kafka-topics",
    about: "Creates, deletes, describes and changes topics",
    words: "",
    options: &[
        HELP,
        VERSION,
        BOOTSTRAP_SERVER,
        COMMAND_CONFIG,
        Opt::flag("list", "List the topics."),
        Opt::flag("create", "Create a topic."),
        Opt::flag("delete", "Delete topics."),
        Opt::flag("alter", "Give a topic more partitions. For its configuration see kafka-configs."),
        Opt::flag("describe", "Show partitions, leaders, replicas and configuration."),
        Opt::value("topic", "TOPIC", "The topic; except with --create a regular expression, or several with commas."),
        Opt::value("topic-id", "ID", "The topic to describe, by its id."),
        Opt::value("config", "NAME=VALUE", "With --create: a configuration of the topic. Can be given several times."),
        Opt::value("delete-config", "NAME", "No longer supported; see kafka-configs.").instead("config"),
        Opt::value(
            "partitions",
            "COUNT",
            "How many partitions; without it, the cluster's default. More partitions for a topic with keys send keys elsewhere.",
        ),
        Opt::value(
            "replication-factor",
            "COUNT",
            "How many replicas of each partition; without it, the cluster's default.",
        ),
        Opt::value(
            "replica-assignment",
            "B:B,B:B",
            "The brokers of each partition, the first being its preferred leader.",
        ),
        Opt::flag("under-replicated-partitions", "With --describe: only partitions with replicas out of sync."),
        Opt::flag("unavailable-partitions", "With --describe: only partitions without a live leader."),
        Opt::flag(
            "under-min-isr-partitions",
            "With --describe: only partitions with fewer replicas in sync than min.insync.replicas.",
        ),
        Opt::flag(
            "at-min-isr-partitions",
            "With --describe: only partitions with exactly min.insync.replicas in sync.",
        ),
        Opt::flag(
            "topics-with-overrides",
            "With --describe: only topics whose configuration differs from the default.",
        ),
        Opt::flag("if-exists", "Do nothing, successfully, if the topic is not there."),
        Opt::flag("if-not-exists", "With --create: do nothing, successfully, if the topic is there."),
        Opt::flag("exclude-internal", "Leave out the cluster's own topics."),
        Opt::value(
            "partition-size-limit-per-response",
            "COUNT",
            "How many partitions one response may describe (2000).",
        ),
    ],
    examples: &[
        "--bootstrap-server localhost:9092 --list",
        "--bootstrap-server localhost:9092 --create --topic orders --partitions 3 --config retention.ms=86400000",
        "--bootstrap-server localhost:9092 --describe --topic orders",
    ],
};

fn run(args: &[OsString]) -> ExitCode {
    crate::tool(&SYNTAX, args, |given, out| {
        check_options(given)?;
        block_on(act(given, out)).map_err(|f| match f.message() {
            "" => f,
            _ => f.prefixed("Error while executing topic command : ", true),
        })
    })
}

fn check_options(given: &Given<'_>) -> Result<(), Failure> {
    given.one_action(&ACTIONS, "--list, --describe, --create, --alter or --delete")?;
    if !given.has("bootstrap-server") {
        return Err(given.syntax.wrong("--bootstrap-server must be specified"));
    }
    if given.has("describe") && given.has("if-exists") && !given.has("topic") && !given.has("topic-id") {
        return Err(given.syntax.wrong("--topic or --topic-id is required to describe a topic"));
    }
    if !given.has("list") && !given.has("describe") {
        given.require(&["topic"])?;
    }
    if given.has("alter") {
        if given.has("config") {
            return Err(given.syntax.wrong(
                "Option combination \"[bootstrap-server],[config]\" can't be used with option \"[alter]\" \
                 (the kafka-configs tool can alter topic configurations)",
            ));
        }
        given.require(&["partitions"])?;
    }
    let except = |with: &[&'static str]| -> Vec<&'static str> {
        ACTIONS.iter().copied().filter(|a| !with.contains(a)).collect()
    };
    given.exclusive("config", &except(&["alter", "create"]))?;
    given.exclusive("partitions", &except(&["alter", "create"]))?;
    given.exclusive("replication-factor", &except(&["create"]))?;
    given.exclusive("replica-assignment", &except(&["alter", "create"]))?;
    if given.has("create") {
        given.exclusive("replica-assignment", &["partitions", "replication-factor"])?;
    }
    for report in REPORTS {
        given.exclusive(report, &[except(&["describe"]), vec!["topics-with-overrides"]].concat())?;
    }
    given.exclusive("topics-with-overrides", &[except(&["describe"]), REPORTS.to_vec()].concat())?;
    given.exclusive("if-exists", &except(&["alter", "delete", "describe"]))?;
    given.exclusive("if-not-exists", &except(&["create"]))?;
    given.exclusive("exclude-internal", &except(&["list", "describe"]))
}

async fn act(given: &Given<'_>, out: &mut Out) -> Result<(), Failure> {
    // What is wrong without asking anybody is said before anybody is asked.
    let plan = given.has("create").then(|| creation(given)).transpose()?;
    let session = Session::of(given)?;
    match plan {
        Some(plan) => create(given, out, &session, plan).await,
        None if given.has("alter") => alter(given, &session).await,
        None if given.has("list") => {
            let cluster = metadata(&session, None).await?;
            let names: Vec<&str> = chosen(given, &cluster)?.into_iter().map(name).collect();
            Ok(writeln!(out, "{}", names.join("\n"))?)
        }
        None if given.has("describe") => describe(given, out, &session).await,
        None => delete(given, &session).await,
    }
}

/// `1:2,2:3`: the replicas of each partition.
fn assignment(given: &Given<'_>) -> Result<Vec<Vec<i32>>, Failure> {
    let Some(text) = given.value("replica-assignment")?.filter(|t| !t.is_empty()) else { return Ok(Vec::new()) };
    let mut partitions: Vec<Vec<i32>> = Vec::new();
    for (index, list) in text.split(',').enumerate() {
        let brokers: Vec<i32> = list
            .split(':')
            .map(|b| b.trim().parse().map_err(|_| Failure::new(format!("For input string: \"{}\"", b.trim()))))
            .collect::<Result<_, _>>()?;
        let distinct: BTreeSet<i32> = brokers.iter().copied().collect();
        if distinct.len() != brokers.len() {
            let twice = distinct.into_iter().filter(|b| brokers.iter().filter(|x| *x == b).count() > 1);
            return Err(Failure::new(format!(
                "Partition replica lists may not contain duplicate entries: {}",
                commas(twice)
            )));
        }
        if partitions.first().is_some_and(|first| first.len() != brokers.len()) {
            return Err(Failure::new(format!("Partition {index} has different replication factor: {brokers:?}")));
        }
        partitions.push(brokers);
    }
    Ok(partitions)
}

fn creation(given: &Given<'_>) -> Result<m::create_topics_request::CreatableTopic, Failure> {
    let topic = given.value("topic")?.unwrap_or_default();
    let replicas: Option<i32> = given.parsed("replication-factor")?;
    let replication_factor = match replicas {
        None => -1,
        Some(n) => i16::try_from(n).ok().filter(|n| *n >= 1).ok_or_else(|| {
            Failure::new(format!("The replication factor must be between 1 and {} inclusive", i16::MAX))
        })?,
    };
    let partitions: Option<i32> = given.parsed("partitions")?;
    if partitions.is_some_and(|p| p < 1) {
        return Err(Failure::new("The partitions must be greater than 0"));
    }
    let mut configs = BTreeMap::new();
    for pair in given.values("config") {
        match pair.split('=').map(str::trim).collect::<Vec<_>>().as_slice() {
            [name, value] if !value.is_empty() => configs.insert((*name).to_owned(), (*value).to_owned()),
            _ => {
                return Err(Failure::new(
                    "requirement failed: Invalid topic config: all configs to be added must be in the format \"key=val\".",
                ));
            }
        };
    }
    let assignment = assignment(given)?;
    let by_hand = !assignment.is_empty();
    Ok(m::create_topics_request::CreatableTopic {
        name: topic.into(),
        num_partitions: if by_hand { -1 } else { partitions.unwrap_or(-1) },
        replication_factor: if by_hand { -1 } else { replication_factor },
        assignments: (0..)
            .zip(assignment)
            .map(|(partition_index, brokers)| m::create_topics_request::CreatableReplicaAssignment {
                partition_index,
                broker_ids: brokers,
                ..Default::default()
            })
            .collect(),
        configs: configs
            .into_iter()
            .map(|(name, value)| m::create_topics_request::CreatableTopicConfig {
                name: name.into(),
                value: Some(value.into()),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    })
}

async fn create(
    given: &Given<'_>,
    out: &mut Out,
    session: &Session,
    topic: m::create_topics_request::CreatableTopic,
) -> Result<(), Failure> {
    let name = topic.name.clone();
    if name.contains(['.', '_']) {
        writeln!(
            out,
            "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') could collide. \
             To avoid issues it is best to use either, but not both."
        )?;
    }
    let request = m::CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() };
    let response = session.controller(request).await?;
    for result in &response.topics {
        if given.has("if-not-exists") && result.error_code == ErrorCode::TopicAlreadyExists.code() {
            return Ok(());
        }
        check(result.error_code, result.error_message.as_deref())?;
    }
    Ok(writeln!(out, "Created topic {name}.")?)
}

fn name(topic: &m::metadata_response::MetadataResponseTopic) -> &str {
    topic.name.as_deref().unwrap_or_default()
}

/// The topics that `--topic` and `--exclude-internal` mean, by name.
fn chosen<'c>(
    given: &Given<'_>,
    cluster: &'c m::MetadataResponse,
) -> Result<Vec<&'c m::metadata_response::MetadataResponseTopic>, Failure> {
    let exclude = given.has("exclude-internal");
    let pattern = given.value("topic")?.map(IncludeList::new).transpose()?;
    let allowed = |topic: &str| match &pattern {
        Some(pattern) => pattern.allows(topic, exclude),
        None => !(exclude && is_internal_topic(topic)),
    };
    let mut topics: Vec<_> = cluster.topics.iter().filter(|t| allowed(name(t))).collect();
    topics.sort_by_key(|t| name(t));
    Ok(topics)
}

/// A topic that was asked for by name has to be there.
fn must_exist<T>(given: &Given<'_>, found: &[T]) -> Result<(), Failure> {
    match given.value("topic")? {
        Some(topic) if !topic.is_empty() && !given.has("if-exists") && found.is_empty() => {
            Err(Failure::new(format!("Topic '{topic}' does not exist as expected")))
        }
        _ => Ok(()),
    }
}

async fn alter(given: &Given<'_>, session: &Session) -> Result<(), Failure> {
    let count = given.parsed("partitions")?.unwrap_or_default();
    let assignment = assignment(given)?;
    let cluster = metadata(session, None).await?;
    let topics = chosen(given, &cluster)?;
    must_exist(given, &topics)?;
    if topics.is_empty() {
        return Ok(());
    }
    let change = |t: &&m::metadata_response::MetadataResponseTopic| {
        let new = assignment.iter().skip(t.partitions.len());
        let new = new.map(|brokers| m::create_partitions_request::CreatePartitionsAssignment {
            broker_ids: brokers.clone(),
            ..Default::default()
        });
        m::create_partitions_request::CreatePartitionsTopic {
            name: name(t).into(),
            count,
            assignments: (!assignment.is_empty()).then(|| new.collect()),
            ..Default::default()
        }
    };
    let request = m::CreatePartitionsRequest {
        topics: topics.iter().map(change).collect(),
        timeout_ms: 30_000,
        ..Default::default()
    };
    for result in &session.controller(request).await?.results {
        check(result.error_code, result.error_message.as_deref())?;
    }
    Ok(())
}

async fn delete(given: &Given<'_>, session: &Session) -> Result<(), Failure> {
    let cluster = metadata(session, None).await?;
    let topics = chosen(given, &cluster)?;
    must_exist(given, &topics)?;
    if topics.is_empty() {
        return Ok(());
    }
    let state = |t: &&m::metadata_response::MetadataResponseTopic| m::delete_topics_request::DeleteTopicState {
        name: Some(name(t).into()),
        ..Default::default()
    };
    let request = m::DeleteTopicsRequest {
        topics: topics.iter().map(state).collect(),
        topic_names: topics.iter().map(|t| name(t).into()).collect(),
        timeout_ms: 30_000,
        ..Default::default()
    };
    for result in &session.controller(request).await?.responses {
        check(result.error_code, result.error_message.as_deref())?;
    }
    Ok(())
}

/// A partition as `--describe` shows it.
struct Shown {
    index: i32,
    leader: i32,
    replicas: Vec<i32>,
    isr: Vec<i32>,
    /// Eligible leader replicas and the last known ones (KIP-966), where the broker tells of them.
    elr: Option<(Vec<i32>, Vec<i32>)>,
}

type Reassignments = BTreeMap<(String, i32), m::list_partition_reassignments_response::OngoingPartitionReassignment>;

/// The replicas that count: those that a reassignment is only adding don't.
fn replication_factor(partition: &Shown, reassignments: &Reassignments, topic: &str) -> usize {
    match reassignments.get(&(topic.to_owned(), partition.index)) {
        Some(r)
            if partition.replicas.iter().any(|b| r.adding_replicas.contains(b) || r.removing_replicas.contains(b)) =>
        {
            r.replicas.len().saturating_sub(r.adding_replicas.len())
        }
        _ => partition.replicas.len(),
    }
}

async fn describe(given: &Given<'_>, out: &mut Out, session: &Session) -> Result<(), Failure> {
    let cluster = metadata(session, None).await?;
    let wanted_id: Option<Uuid> = given.parsed::<Uuid>("topic-id")?.filter(|id| *id != Uuid::default());
    let topics = match wanted_id {
        Some(id) => {
            let found: Vec<_> = cluster.topics.iter().filter(|t| t.topic_id == id).collect();
            if found.is_empty() && !given.has("if-exists") {
                return Err(Failure::new(format!("TopicId '{id}' does not exist as expected")));
            }
            found
        }
        None => {
            let found = chosen(given, &cluster)?;
            must_exist(given, &found)?;
            found
        }
    };
    if topics.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = topics.iter().map(|t| name(t)).collect();
    let limit = given.parsed("partition-size-limit-per-response")?.unwrap_or(2000);
    let (elrs, configs, reassignments) = tokio::join!(
        eligible_leaders(session, &names, limit),
        describe_configs(session, ResourceType::Topic, &names, false),
        reassignments(session),
    );
    let (elrs, configs, reassignments) = (elrs?, configs?, reassignments?);
    let live: BTreeSet<i32> = cluster.brokers.iter().map(|b| b.node_id).collect();
    for (topic, config) in topics.iter().zip(&configs) {
        let mut partitions: Vec<Shown> = topic
            .partitions
            .iter()
            .map(|p| Shown {
                index: p.partition_index,
                leader: p.leader_id,
                replicas: p.replica_nodes.clone(),
                isr: p.isr_nodes.clone(),
                elr: elrs.get(&(name(topic).to_owned(), p.partition_index)).cloned(),
            })
            .collect();
        partitions.sort_by_key(|p| p.index);
        show(given, out, topic, &config.1, &partitions, &reassignments, &live)?;
    }
    Ok(())
}

fn show(
    given: &Given<'_>,
    out: &mut Out,
    topic: &m::metadata_response::MetadataResponseTopic,
    configs: &[ConfigDescription],
    partitions: &[Shown],
    reassignments: &Reassignments,
    live: &BTreeSet<i32>,
) -> Result<(), Failure> {
    let reports = given.count(&REPORTS) > 0;
    let overrides_only = given.has("topics-with-overrides");
    let overridden: Vec<String> = configs
        .iter()
        .filter(|c| c.config_source != SOURCE_DEFAULT)
        .map(|c| format!("{}={}", c.name, c.value.as_deref().unwrap_or("null")))
        .collect();
    if !reports && (!overrides_only || !overridden.is_empty()) {
        write!(out, "Topic: {}", name(topic))?;
        if topic.topic_id != Uuid::default() {
            write!(out, "\tTopicId: {}", topic.topic_id)?;
        }
        let factor = partitions.first().map_or(0, |p| replication_factor(p, reassignments, name(topic)));
        let count = partitions.len();
        writeln!(out, "\tPartitionCount: {count}\tReplicationFactor: {factor}\tConfigs: {}", overridden.join(","))?;
    }
    if overrides_only {
        return Ok(());
    }
    let min_isr = configs
        .iter()
        .find(|c| &*c.name == "min.insync.replicas")
        .and_then(|c| c.value.as_deref()?.parse::<usize>().ok())
        .unwrap_or(1);
    for p in partitions {
        let leaderless = p.leader < 0;
        let asked_for = [
            ("under-replicated-partitions", replication_factor(p, reassignments, name(topic)) > p.isr.len()),
            ("unavailable-partitions", leaderless || !live.contains(&p.leader)),
            ("under-min-isr-partitions", leaderless || p.isr.len() < min_isr),
            ("at-min-isr-partitions", p.isr.len() == min_isr),
        ];
        if reports && !asked_for.iter().any(|(report, is_so)| given.has(report) && *is_so) {
            continue;
        }
        let leader = if leaderless { "none".to_owned() } else { p.leader.to_string() };
        write!(out, "\tTopic: {}\tPartition: {}\tLeader: {leader}", name(topic), p.index)?;
        write!(out, "\tReplicas: {}\tIsr: {}", commas(&p.replicas), commas(&p.isr))?;
        if let Some(r) = reassignments.get(&(name(topic).to_owned(), p.index)) {
            write!(out, "\tAdding Replicas: {}", commas(&r.adding_replicas))?;
            write!(out, "\tRemoving Replicas: {}", commas(&r.removing_replicas))?;
        }
        match &p.elr {
            Some((elr, last)) => writeln!(out, "\tElr: {}\tLastKnownElr: {}", commas(elr), commas(last))?,
            None => writeln!(out, "\tElr: N/A\tLastKnownElr: N/A")?,
        }
    }
    Ok(())
}

/// `ConfigSource.DEFAULT_CONFIG`.
const SOURCE_DEFAULT: i8 = 5;

/// The eligible leader replicas of each partition (KIP-966); nothing from a broker that doesn't tell.
async fn eligible_leaders(
    session: &Session,
    topics: &[&str],
    limit: i32,
) -> Result<BTreeMap<(String, i32), (Vec<i32>, Vec<i32>)>, Failure> {
    let mut found = BTreeMap::new();
    let mut cursor = None;
    let mut names: Vec<&str> = topics.to_vec();
    names.sort_unstable();
    loop {
        let topic = |name: &&str| m::describe_topic_partitions_request::TopicRequest {
            name: (*name).into(),
            ..Default::default()
        };
        let request = m::DescribeTopicPartitionsRequest {
            topics: names.iter().map(topic).collect(),
            response_partition_limit: limit,
            cursor: cursor.take(),
            ..Default::default()
        };
        let response = match session.call(Target::Any, request).await {
            Ok(response) => response,
            Err(Error::Unsupported { .. }) => return Ok(found),
            Err(e) => return Err(failure(&e)),
        };
        for topic in &response.topics {
            let name = topic.name.as_deref().unwrap_or_default();
            for p in &topic.partitions {
                let list = |ids: &Option<Vec<i32>>| ids.clone().unwrap_or_default();
                let elrs = (list(&p.eligible_leader_replicas), list(&p.last_known_elr));
                found.insert((name.to_owned(), p.partition_index), elrs);
            }
        }
        let Some(next) = response.next_cursor else { return Ok(found) };
        names.retain(|n| *n >= &*next.topic_name);
        cursor = Some(m::describe_topic_partitions_request::Cursor {
            topic_name: next.topic_name,
            partition_index: next.partition_index,
            ..Default::default()
        });
    }
}

/// What is being moved. A broker that can't tell, or won't, moves nothing that we could show.
async fn reassignments(session: &Session) -> Result<Reassignments, Failure> {
    let request = m::ListPartitionReassignmentsRequest { timeout_ms: 30_000, topics: None, ..Default::default() };
    let response = match session.call(Target::Controller, request).await {
        Ok(response) => response,
        Err(Error::Unsupported { .. }) => return Ok(Reassignments::new()),
        Err(e) => return Err(failure(&e)),
    };
    if response.error_code == ErrorCode::ClusterAuthorizationFailed.code() {
        return Ok(Reassignments::new());
    }
    check(response.error_code, response.error_message.as_deref())?;
    let of_topic = |t: m::list_partition_reassignments_response::OngoingTopicReassignment| {
        let name = t.name.to_string();
        t.partitions.into_iter().map(move |p| ((name.clone(), p.partition_index), p))
    };
    Ok(response.topics.into_iter().flat_map(of_topic).collect())
}
