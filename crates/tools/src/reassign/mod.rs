//! `kafka-reassign-partitions`: moves partitions between brokers and between directories (Kafka's
//! `ReassignPartitionsCommand`).

mod execute;
mod generate;
mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use logrun_client::Target;
use logrun_wire::messages as m;
use serde_json::Value;

use crate::cluster::{Partition, metadata};
use crate::failure::Failure;
use crate::files;
use crate::options::{BOOTSTRAP_SERVER, COMMAND_CONFIG, Given, HELP, Opt, Syntax, VERSION};
use crate::session::{Session, block_on, check, failure};
use crate::text::{commas, topic_partition};
use crate::{Out, Tool};

pub const TOOL: Tool = Tool { name: "kafka-reassign-partitions", about: SYNTAX.about, run };

const SYNTAX: Syntax = Syntax {
    tool: "kafka-reassign-partitions",
    about: "Moves partitions between brokers, and between the directories of a broker",
    words: "",
    options: &[
        HELP,
        VERSION,
        BOOTSTRAP_SERVER,
        Opt::value("bootstrap-controller", "HOST:PORT,…", "The controllers to begin with, for --cancel and --list."),
        COMMAND_CONFIG,
        Opt::flag("generate", "Propose where the partitions of topics could be; changes nothing."),
        Opt::flag("execute", "Begin to move partitions."),
        Opt::flag("verify", "Say how far it is, and lift the throttles when it is done."),
        Opt::flag("cancel", "Stop moving."),
        Opt::flag("list", "List what is being moved."),
        Opt::value(
            "reassignment-json-file",
            "FILE",
            "Where to: {\"partitions\": [{\"topic\": \"orders\", \"partition\": 0, \"replicas\": [1, 2], \"log_dirs\": [\"any\", \"/data\"]}], \"version\": 1}; log_dirs may be left out.",
        ),
        Opt::value(
            "topics-to-move-json-file",
            "FILE",
            "With --generate: {\"topics\": [{\"topic\": \"orders\"}], \"version\": 1}.",
        ),
        Opt::value("broker-list", "ID,…", "With --generate: the brokers to use."),
        Opt::flag("disable-rack-aware", "With --generate: don't look at racks."),
        Opt::value("throttle", "BYTES/S", "How fast data may move between brokers."),
        Opt::value("replica-alter-log-dirs-throttle", "BYTES/S", "How fast data may move between directories."),
        Opt::value("timeout", "MS", "How long to wait until moves between directories have begun (10000)."),
        Opt::flag("additional", "Although something is being moved already."),
        Opt::flag("preserve-throttles", "Leave the throttles as they are."),
        Opt::flag("disallow-replication-factor-change", "Refuse a plan that changes how many replicas there are."),
    ],
    examples: &[
        "--bootstrap-server localhost:9092 --generate --topics-to-move-json-file topics.json --broker-list 1,2,3",
        "--bootstrap-server localhost:9092 --execute --reassignment-json-file plan.json",
        "--bootstrap-server localhost:9092 --verify --reassignment-json-file plan.json",
    ],
};

const ACTIONS: [&str; 5] = ["generate", "execute", "verify", "cancel", "list"];

fn run(args: &[OsString]) -> ExitCode {
    crate::tool(&SYNTAX, args, |given, out| {
        check_options(given)?;
        block_on(act(given, out)).map_err(|f| if f.is_refusal() { f.prefixed("", true) } else { f })
    })
}

fn check_options(given: &Given<'_>) -> Result<(), Failure> {
    let listed: Vec<String> = ACTIONS.iter().map(|a| format!("--{a}")).collect();
    given.one_action(&ACTIONS, &listed.join(", "))?;
    match given.count(&["bootstrap-server", "bootstrap-controller"]) {
        0 => return Err(given.syntax.wrong("Please specify either --bootstrap-server or --bootstrap-controller")),
        2 => return Err(given.syntax.wrong("Please don't specify both --bootstrap-server and --bootstrap-controller")),
        _ => {}
    }
    let always = ["bootstrap-server", "bootstrap-controller", "command-config"];
    let (action, required, permitted): (&str, &[&str], &[&str]) = if given.has("verify") {
        ("verify", &["reassignment-json-file"], &["preserve-throttles"])
    } else if given.has("generate") {
        ("generate", &["topics-to-move-json-file", "broker-list"], &["disable-rack-aware"])
    } else if given.has("execute") {
        let permitted = &[
            "additional",
            "throttle",
            "replica-alter-log-dirs-throttle",
            "timeout",
            "disallow-replication-factor-change",
        ];
        ("execute", &["reassignment-json-file"], permitted)
    } else if given.has("cancel") {
        ("cancel", &["reassignment-json-file"], &["preserve-throttles", "timeout"])
    } else {
        ("list", &[], &[])
    };
    given.require(required)?;
    for (option, _) in given.in_order() {
        if option != action && !always.contains(&option) && !required.contains(&option) && !permitted.contains(&option)
        {
            return Err(given.syntax.wrong(format!("Option \"[{option}]\" can't be used with action \"[{action}]\"")));
        }
    }
    if given.has("bootstrap-controller") && !matches!(action, "cancel" | "list") {
        return Err(given.syntax.wrong("The --bootstrap-controller option is not supported with these action."));
    }
    Ok(())
}

async fn act(given: &Given<'_>, out: &mut Out) -> Result<(), Failure> {
    let plan = match given.value("reassignment-json-file")? {
        Some(path) => Plan::of(&files::json(path)?)?,
        None => Plan::default(),
    };
    let session = Session::of(given)?;
    if given.has("verify") {
        verify::verify(given, out, &session, &plan).await
    } else if given.has("generate") {
        generate::generate(given, out, &session).await
    } else if given.has("execute") {
        execute::execute(given, out, &session, &plan).await
    } else if given.has("cancel") {
        execute::cancel(given, out, &session, &plan).await
    } else {
        list(out, &session).await
    }
}

/// A replica of a partition on a broker.
type Replica = (Partition, i32);

/// Kafka's `TopicPartitionReplica.toString`.
fn replica_text(((topic, partition), broker): &Replica) -> String {
    format!("{topic}-{partition}-{broker}")
}

/// Where partitions shall be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Plan {
    /// The replicas of each, the first being the preferred leader.
    partitions: BTreeMap<Partition, Vec<i32>>,
    /// The directories that replicas shall be in, where one is named.
    dirs: BTreeMap<Replica, String>,
}

impl Plan {
    fn of(json: &Value) -> Result<Self, Failure> {
        match json.get("version").map_or(Some(1), Value::as_i64) {
            Some(1) => {}
            version => {
                return Err(Failure::new(format!("Not supported version field value {}", version.unwrap_or_default())));
            }
        }
        let mut plan = Self::default();
        let mut twice = BTreeSet::new();
        for (topic, partition, entry) in files::json_partitions(json, "The reassignment")? {
            let name = topic_partition(&topic, partition);
            let list = |field: &str| entry.get(field).and_then(Value::as_array);
            let replicas: Option<Vec<i32>> =
                list("replicas").and_then(|list| list.iter().map(|v| i32::try_from(v.as_i64()?).ok()).collect());
            let replicas =
                replicas.ok_or_else(|| Failure::new(format!("{name} needs \"replicas\", a list of broker ids")))?;
            if replicas.is_empty() {
                return Err(Failure::new("Partition replica list cannot be empty"));
            }
            let distinct: BTreeSet<&i32> = replicas.iter().collect();
            if distinct.len() != replicas.len() {
                let more = distinct.into_iter().filter(|b| replicas.iter().filter(|r| r == b).count() > 1);
                return Err(Failure::new(format!(
                    "Partition replica lists may not contain duplicate entries: {name} contains multiple entries for {}",
                    commas(more)
                )));
            }
            if let Some(dirs) = list("log_dirs") {
                let dirs: Vec<&str> = dirs.iter().filter_map(Value::as_str).collect();
                if dirs.len() != replicas.len() {
                    return Err(Failure::new(format!(
                        "Size of replicas list {replicas:?} is different from size of log dirs list {dirs:?} for partition {name}"
                    )));
                }
                for (broker, dir) in replicas.iter().zip(dirs).filter(|(_, dir)| *dir != "any") {
                    plan.dirs.insert(((topic.clone(), partition), *broker), dir.to_owned());
                }
            }
            if plan.partitions.insert((topic, partition), replicas).is_some() {
                twice.insert(name);
            }
        }
        if !twice.is_empty() {
            let names: Vec<String> = twice.into_iter().collect();
            return Err(Failure::new(format!(
                "Partition reassignment contains duplicate topic partitions: {}",
                names.join(",")
            )));
        }
        Ok(plan)
    }

    fn topics(&self) -> BTreeSet<&str> {
        self.partitions.keys().map(|(topic, _)| topic.as_str()).collect()
    }
}

/// Partitions as `--reassignment-json-file` takes them.
fn to_json(partitions: &BTreeMap<Partition, Vec<i32>>, dirs: &BTreeMap<Replica, String>) -> String {
    let one = |(partition, replicas): (&Partition, &Vec<i32>)| {
        let dir = |broker: &i32| {
            let dir = dirs.get(&(partition.clone(), *broker)).map_or("any", String::as_str);
            Value::from(dir).to_string()
        };
        let dirs: Vec<String> = replicas.iter().map(dir).collect();
        format!(
            "{{\"topic\":{},\"partition\":{},\"replicas\":[{}],\"log_dirs\":[{}]}}",
            Value::from(partition.0.as_str()),
            partition.1,
            commas(replicas),
            dirs.join(",")
        )
    };
    let all: Vec<String> = partitions.iter().map(one).collect();
    format!("{{\"version\":1,\"partitions\":[{}]}}", all.join(","))
}

type Ongoing = m::list_partition_reassignments_response::OngoingPartitionReassignment;

/// What is being moved now.
async fn ongoing(session: &Session) -> Result<BTreeMap<Partition, Ongoing>, Failure> {
    let request = m::ListPartitionReassignmentsRequest { timeout_ms: 30_000, topics: None, ..Default::default() };
    let response = session.call(Target::Controller, request).await.map_err(|e| failure(&e))?;
    check(response.error_code, response.error_message.as_deref())?;
    let of_topic = |t: m::list_partition_reassignments_response::OngoingTopicReassignment| {
        let name = t.name.to_string();
        t.partitions.into_iter().map(move |p| ((name.clone(), p.partition_index), p))
    };
    Ok(response.topics.into_iter().flat_map(of_topic).collect())
}

/// The replicas of all partitions of topics; a topic that isn't there has none.
async fn replicas(session: &Session, topics: &BTreeSet<&str>) -> Result<BTreeMap<Partition, Vec<i32>>, Failure> {
    if topics.is_empty() {
        return Ok(BTreeMap::new());
    }
    let names: Vec<&str> = topics.iter().copied().collect();
    let cluster = metadata(session, Some(&names)).await?;
    let of_topic = |t: m::metadata_response::MetadataResponseTopic| {
        let name = t.name.as_deref().unwrap_or_default().to_owned();
        t.partitions.into_iter().map(move |p| ((name.clone(), p.partition_index), p.replica_nodes))
    };
    Ok(cluster.topics.into_iter().flat_map(of_topic).collect())
}

/// Where each replica of some partitions lies, and where it is being moved to.
async fn directories(
    session: &Session,
    wanted: &BTreeSet<Replica>,
) -> Result<BTreeMap<Replica, (Option<String>, Option<String>)>, Failure> {
    let mut brokers: BTreeMap<i32, BTreeMap<&str, Vec<i32>>> = BTreeMap::new();
    for ((topic, partition), broker) in wanted.iter().map(|(p, b)| (p, b)) {
        brokers.entry(*broker).or_default().entry(topic).or_default().push(*partition);
    }
    let mut found = BTreeMap::new();
    for (broker, topics) in brokers {
        let topic = |(topic, partitions): (&str, Vec<i32>)| m::describe_log_dirs_request::DescribableLogDirTopic {
            topic: topic.into(),
            partitions,
            ..Default::default()
        };
        let request =
            m::DescribeLogDirsRequest { topics: Some(topics.into_iter().map(topic).collect()), ..Default::default() };
        let response = session.node(broker, request).await?;
        check(response.error_code, None)?;
        for dir in response.results.iter().filter(|d| d.error_code == 0) {
            for topic in &dir.topics {
                for p in &topic.partitions {
                    let replica = ((topic.name.to_string(), p.partition_index), broker);
                    let (current, future): &mut (Option<String>, Option<String>) = found.entry(replica).or_default();
                    let place = if p.is_future_key { future } else { current };
                    *place = Some(dir.log_dir.to_string());
                }
            }
        }
    }
    Ok(found)
}

async fn list(out: &mut Out, session: &Session) -> Result<(), Failure> {
    let ongoing = ongoing(session).await?;
    if ongoing.is_empty() {
        return Ok(writeln!(out, "No partition reassignments found.")?);
    }
    writeln!(out, "Current partition reassignments:")?;
    for ((topic, partition), r) in ongoing {
        let part = |word: &str, ids: &[i32]| match ids.is_empty() {
            true => String::new(),
            false => format!(" {word}: {}.", commas(ids)),
        };
        let name = topic_partition(&topic, partition);
        let (adding, removing) = (part("adding", &r.adding_replicas), part("removing", &r.removing_replicas));
        writeln!(out, "{name}: replicas: {}.{adding}{removing}", commas(&r.replicas))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> Result<Plan, String> {
        Plan::of(&serde_json::from_str(text).expect("json")).map_err(|f| f.message().to_owned())
    }

    #[test]
    fn a_plan_there_and_back() {
        let text =
            r#"{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[1,2],"log_dirs":["any","/d"]}]}"#;
        let plan = plan(text).expect("plan");
        assert_eq!(plan.dirs, [((("t".to_owned(), 0), 2), "/d".to_owned())].into());
        assert_eq!(to_json(&plan.partitions, &plan.dirs), text);
    }

    #[test]
    fn a_plan_must_make_sense() {
        for wrong in [
            r#"{"partitions":[{"topic":"t","partition":0,"replicas":[]}]}"#,
            r#"{"partitions":[{"topic":"t","partition":0,"replicas":[1,1]}]}"#,
            r#"{"partitions":[{"topic":"t","partition":0,"replicas":[1]},{"topic":"t","partition":0,"replicas":[2]}]}"#,
            r#"{"partitions":[{"topic":"t","partition":0,"replicas":[1],"log_dirs":[]}]}"#,
            r#"{"partitions":[{"topic":"t","partition":0}]}"#,
            r#"{"version":2,"partitions":[]}"#,
        ] {
            assert!(plan(wrong).is_err(), "{wrong}");
        }
    }
}
