//! `kafka-leader-election`: lets partitions elect a leader (Kafka's `LeaderElectionCommand`).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use logrun_wire::ErrorCode;
use logrun_wire::messages as m;

use crate::cluster::Partition;
use crate::errors;
use crate::failure::Failure;
use crate::files;
use crate::options::{BOOTSTRAP_SERVER, COMMAND_CONFIG, Given, HELP, Opt, Syntax, VERSION};
use crate::session::{Session, block_on, check, properties_of};
use crate::text::topic_partition;
use crate::{Out, Tool};

pub const TOOL: Tool = Tool { name: "kafka-leader-election", about: SYNTAX.about, run };

const SYNTAX: Syntax = Syntax {
    tool: "kafka-leader-election",
    about: "Lets partitions elect their preferred leader, or any leader at all",
    words: "",
    options: &[
        HELP,
        VERSION,
        BOOTSTRAP_SERVER,
        COMMAND_CONFIG,
        Opt::value("admin.config", "FILE", "A properties file with the client's configuration.")
            .instead("command-config"),
        Opt::value(
            "election-type",
            "TYPE",
            "preferred: back to the first replica. unclean: any replica, where there is no leader; records may be lost.",
        ),
        Opt::value("topic", "TOPIC", "The topic of the partition."),
        Opt::value("partition", "ID", "The partition."),
        Opt::value(
            "path-to-json-file",
            "FILE",
            "Several: {\"partitions\": [{\"topic\": \"orders\", \"partition\": 1}]}.",
        ),
        Opt::flag("all-topic-partitions", "All partitions that need it."),
    ],
    examples: &["--bootstrap-server localhost:9092 --election-type preferred --all-topic-partitions"],
};

fn run(args: &[OsString]) -> ExitCode {
    crate::tool(&SYNTAX, args, |given, out| {
        check_options(given)?;
        block_on(elect(given, out))
    })
}

fn check_options(given: &Given<'_>) -> Result<(), Failure> {
    let missing: Vec<&str> =
        ["bootstrap-server", "election-type"].into_iter().filter(|name| !given.has(name)).collect();
    if !missing.is_empty() {
        return Err(given.syntax.wrong(format!("Missing required option(s): {}", missing.join(", "))));
    }
    given.exclusive("admin.config", &["command-config"])?;
    if given.count(&["topic", "all-topic-partitions", "path-to-json-file"]) != 1 {
        return Err(given.syntax.wrong(
            "One and only one of the following options is required: topic, all-topic-partitions, path-to-json-file",
        ));
    }
    match (given.has("topic"), given.has("partition")) {
        (true, false) => Err(given.syntax.wrong("Missing required option(s): partition")),
        (false, true) => Err(given.syntax.wrong("Option partition is only allowed if topic is used")),
        _ => Ok(()),
    }
}

fn wanted(given: &Given<'_>) -> Result<Option<BTreeSet<Partition>>, Failure> {
    if let Some(path) = given.value("path-to-json-file")? {
        let mut found = BTreeSet::new();
        for (topic, partition, _) in files::json_partitions(&files::json(path)?, "Replica election data")? {
            let name = topic_partition(&topic, partition);
            if !found.insert((topic, partition)) {
                return Err(Failure::new(format!("Replica election data contains duplicate partitions: {name}")));
            }
        }
        return Ok(Some(found));
    }
    let partition = given.parsed::<i32>("partition")?.unwrap_or_default();
    Ok(given.value("topic")?.map(|topic| [(topic.to_owned(), partition)].into()))
}

async fn elect(given: &Given<'_>, out: &mut Out) -> Result<(), Failure> {
    let text = given.value("election-type")?.unwrap_or_default();
    let (election_type, name) = match text.to_uppercase().as_str() {
        "PREFERRED" => (0, "PREFERRED"),
        "UNCLEAN" => (1, "UNCLEAN"),
        _ => {
            return Err(given
                .syntax
                .wrong(format!("Cannot parse argument '{text}' of option election-type: it is preferred or unclean")));
        }
    };
    let partitions = wanted(given)?;
    let config = given.value("command-config")?.or(given.value("admin.config")?);
    let session = Session::with(properties_of(given, config)?)?;
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in partitions.iter().flatten() {
        topics.entry(topic).or_default().push(*partition);
    }
    let topic = |(topic, partitions): (&str, Vec<i32>)| m::elect_leaders_request::TopicPartitions {
        topic: topic.into(),
        partitions,
        ..Default::default()
    };
    let request = m::ElectLeadersRequest {
        election_type,
        topic_partitions: partitions.as_ref().map(|_| topics.into_iter().map(topic).collect()),
        timeout_ms: 30_000,
        ..Default::default()
    };
    let response = session.controller(request).await?;
    check(response.error_code, None)?;
    let (mut done, mut idle, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for topic in &response.replica_election_results {
        for p in &topic.partition_result {
            let partition = topic_partition(&topic.topic, p.partition_id);
            match ErrorCode::from_code(p.error_code) {
                Some(ErrorCode::None) => done.push(partition),
                Some(ErrorCode::ElectionNotNeeded) => idle.push(partition),
                _ => failed.push((partition, errors::exception(p.error_code, p.error_message.as_deref()))),
            }
        }
    }
    if !done.is_empty() {
        writeln!(out, "Successfully completed leader election ({name}) for partitions {}", done.join(", "))?;
    }
    // Of all partitions, most need none: nobody wants them listed.
    if !idle.is_empty() && partitions.is_some() {
        writeln!(out, "Valid replica already elected for partitions {}", idle.join(", "))?;
    }
    for (partition, why) in &failed {
        writeln!(out, "Error completing leader election ({name}) for partition: {partition}: {why}")?;
    }
    match failed.len() {
        0 => Ok(()),
        n => Err(Failure::new(format!("{n} replica(s) could not be elected"))),
    }
}
