//! `kafka-log-dirs`: the log directories of brokers and what lies in them (Kafka's `LogDirsCommand`).

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use futures_util::future::try_join_all;
use logrun_wire::ErrorCode;
use logrun_wire::messages as m;
use serde_json::Value;

use crate::cluster::metadata;
use crate::errors;
use crate::failure::Failure;
use crate::options::{BOOTSTRAP_SERVER, COMMAND_CONFIG, Given, HELP, Opt, Syntax, VERSION};
use crate::session::{Session, block_on, check};
use crate::text::{commas, topic_partition};
use crate::{Out, Tool};

pub const TOOL: Tool = Tool { name: "kafka-log-dirs", about: SYNTAX.about, run };

const SYNTAX: Syntax = Syntax {
    tool: "kafka-log-dirs",
    about: "Prints, as JSON, the log directories of brokers with the partitions in them and their sizes",
    words: "",
    options: &[
        HELP,
        VERSION,
        BOOTSTRAP_SERVER,
        COMMAND_CONFIG,
        Opt::flag("describe", "Describe the directories."),
        Opt::value("topic-list", "TOPIC,…", "Only partitions of these topics."),
        Opt::value("broker-list", "ID,…", "Only these brokers."),
    ],
    examples: &["--bootstrap-server localhost:9092 --describe --topic-list orders"],
};

fn run(args: &[OsString]) -> ExitCode {
    crate::tool(&SYNTAX, args, |given, out| {
        given.require(&["bootstrap-server", "describe"])?;
        block_on(describe(given, out))
    })
}

async fn describe(given: &Given<'_>, out: &mut Out) -> Result<(), Failure> {
    let list = |name: &str| -> Result<Vec<String>, Failure> {
        let text = given.value(name)?.unwrap_or_default();
        Ok(text.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect())
    };
    let topics: BTreeSet<String> = list("topic-list")?.into_iter().collect();
    let wanted: BTreeSet<i32> = list("broker-list")?
        .iter()
        .map(|id| id.trim().parse().map_err(|_| given.syntax.wrong(format!("--broker-list: {id} is no broker id"))))
        .collect::<Result<_, _>>()?;
    let session = Session::of(given)?;
    let cluster: BTreeSet<i32> = metadata(&session, Some(&[])).await?.brokers.iter().map(|b| b.node_id).collect();
    let missing: Vec<&i32> = wanted.difference(&cluster).collect();
    if !missing.is_empty() {
        return Err(Failure::new(format!(
            "ERROR: The given brokers do not exist from --broker-list: {}. Current existent brokers: {}",
            commas(missing),
            commas(&cluster)
        )));
    }
    let brokers: Vec<i32> = if wanted.is_empty() { cluster } else { wanted }.into_iter().collect();
    writeln!(out, "Querying brokers for log directories information")?;
    let ask = |id: &i32| session.node(*id, m::DescribeLogDirsRequest { topics: None, ..Default::default() });
    let answers = try_join_all(brokers.iter().map(ask)).await?;
    let mut described = Vec::new();
    for (broker, answer) in brokers.iter().zip(answers) {
        check(answer.error_code, None)?;
        let dirs: Vec<String> = answer.results.iter().map(|dir| of_dir(dir, &topics)).collect();
        described.push(format!("{{\"broker\":{broker},\"logDirs\":[{}]}}", dirs.join(",")));
    }
    writeln!(out, "Received log directory information from brokers {}", commas(&brokers))?;
    Ok(writeln!(out, "{{\"brokers\":[{}],\"version\":1}}", described.join(","))?)
}

/// The directory as JSON, its fields in the order in which Kafka's tool writes them.
fn of_dir(dir: &m::describe_log_dirs_response::DescribeLogDirsResult, topics: &BTreeSet<String>) -> String {
    let mut partitions = Vec::new();
    for topic in dir.topics.iter().filter(|t| topics.is_empty() || topics.contains(&*t.name)) {
        for p in &topic.partitions {
            let name = Value::from(topic_partition(&topic.name, p.partition_index));
            partitions.push(format!(
                "{{\"partition\":{name},\"size\":{},\"offsetLag\":{},\"isFuture\":{}}}",
                p.partition_size, p.offset_lag, p.is_future_key
            ));
        }
    }
    let error = match (dir.error_code, ErrorCode::from_code(dir.error_code)) {
        (0, _) => Value::Null,
        (_, Some(code)) => errors::class(code).into(),
        (code, None) => format!("error {code}").into(),
    };
    let log_dir = Value::from(dir.log_dir.to_string());
    format!("{{\"partitions\":[{}],\"error\":{error},\"logDir\":{log_dir}}}", partitions.join(","))
}
