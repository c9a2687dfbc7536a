//! `kafka-get-offsets`: the offsets of partitions at a time (Kafka's `GetOffsetShell`).

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use logrun_model::is_internal_topic;

use crate::cluster::{Partition, Topics, list_offsets, metadata};
use crate::failure::Failure;
use crate::filter::TopicPartitionFilter;
use crate::options::{BOOTSTRAP_SERVER, COMMAND_CONFIG, Given, HELP, Opt, Syntax, VERSION};
use crate::session::{Session, block_on, thrown};
use crate::text::topic_partition;
use crate::{Out, Tool};

pub const TOOL: Tool = Tool { name: "kafka-get-offsets", about: SYNTAX.about, run };

const SYNTAX: Syntax = Syntax {
    tool: "kafka-get-offsets",
    about: "Prints the offsets of partitions: their ends, their beginnings, or those at a time",
    words: "",
    options: &[
        HELP,
        VERSION,
        BOOTSTRAP_SERVER,
        COMMAND_CONFIG,
        Opt::value(
            "topic-partitions",
            "RULES",
            "Which partitions: topics (regular expressions) with partitions, e.g. a:1,b:0-3,c,d:5-,:-3.",
        ),
        Opt::value("topic", "TOPIC", "Which topics (a regular expression); all without it."),
        Opt::value("partitions", "IDS", "Which partitions of them, e.g. 0,2; all without it."),
        Opt::value(
            "time",
            "TIME",
            "latest (-1, without it), earliest (-2), max-timestamp (-3), earliest-local (-4), latest-tiered (-5), earliest-pending-upload (-6), or milliseconds since 1970.",
        ),
        Opt::value("broker-list", "HOST:PORT,…", "The brokers to begin with.").instead("bootstrap-server"),
        Opt::flag("exclude-internal-topics", "Leave out the cluster's own topics."),
    ],
    examples: &[
        "--bootstrap-server localhost:9092 --topic orders",
        "--bootstrap-server localhost:9092 --topic orders --time earliest",
    ],
};

fn run(args: &[OsString]) -> ExitCode {
    crate::tool(&SYNTAX, args, |given, out| {
        block_on(print(given, out))
            .map_err(|f| if f.message().is_empty() { f } else { f.prefixed("Error occurred: ", false) })
    })
}

/// What `--time` means to ListOffsets.
fn time(text: &str) -> Result<i64, Failure> {
    let names = ["latest", "earliest", "max-timestamp", "earliest-local", "latest-tiered", "earliest-pending-upload"];
    if let Some((number, _)) = (1..).zip(names).find(|(_, name)| *name == text) {
        return Ok(-number);
    }
    text.parse().map_err(|_| {
        Failure::new(format!(
            "Malformed time argument {text}. Please use -1 or latest / -2 or earliest / -3 or max-timestamp / \
             -4 or earliest-local / -5 or latest-tiered / -6 or earliest-pending-upload, or a specified long format timestamp"
        ))
    })
}

async fn print(given: &Given<'_>, out: &mut Out) -> Result<(), Failure> {
    if given.has("topic-partitions") && (given.has("topic") || given.has("partitions")) {
        return Err(Failure::new("--topic-partitions cannot be used with --topic or --partitions"));
    }
    let filter = match given.value("topic-partitions")? {
        Some(rules) => TopicPartitionFilter::rules(rules)?,
        None => TopicPartitionFilter::of(given.value("topic")?, given.value("partitions")?)?,
    };
    let time = time(given.value("time")?.unwrap_or("latest"))?;
    let session = match given.value("broker-list")? {
        Some(brokers) if !given.has("bootstrap-server") => {
            Session::with([("bootstrap.servers".to_owned(), brokers.to_owned())].into())?
        }
        _ => Session::of(given)?,
    };
    let cluster = metadata(&session, None).await?;
    let exclude = given.has("exclude-internal-topics");
    let leaders = Topics::of(&cluster);
    let meant = |(topic, partition): &&Partition| {
        !(exclude && is_internal_topic(topic)) && filter.allows_topic(topic) && filter.allows(topic, *partition)
    };
    let wanted: Vec<Partition> = leaders.0.keys().filter(meant).cloned().collect();
    if wanted.is_empty() {
        return Err(Failure::new("Could not match any topic-partitions with the specified filters"));
    }
    let found = list_offsets(&session, &leaders, wanted.into_iter().map(|p| (p, time))).await?;
    // In the order of the names `topic-partition`, as Kafka has it: 10 before 2.
    let mut lines: Vec<(String, &Partition, _)> =
        found.iter().map(|(p, result)| (topic_partition(&p.0, p.1), p, result)).collect();
    lines.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, (topic, partition), result) in lines {
        match result {
            Ok(offset) if *offset >= 0 => writeln!(out, "{topic}:{partition}:{offset}")?,
            Ok(_) => {}
            Err(e) => eprintln!("Skip getting offsets for topic-partition {name} due to error: {}", thrown(e)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::time;

    #[test]
    fn times_have_names() {
        assert_eq!(time("latest").ok(), Some(-1));
        assert_eq!(time("earliest-pending-upload").ok(), Some(-6));
        assert_eq!(time("1700000000000").ok(), Some(1_700_000_000_000));
        assert!(time("now").is_err());
    }
}
