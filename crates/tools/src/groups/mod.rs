//! `kafka-consumer-groups`: groups, their members, lag and offsets (Kafka's `ConsumerGroupCommand`).
//!
//! Apache Kafka's tool ends with 0 also when the cluster refused what was asked, and says so on standard output;
//! scripts know it so. Only a command line that can't be obeyed and a cluster that can't be reached end with 1.

mod common;
mod delete;
mod describe;
pub mod lookup;
pub mod plan;
mod reset;
pub mod share;
pub mod streams;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use logrun_client::admin::{GroupKind, GroupListing};

use self::common::opts::*;
use self::common::{by_state, check_describe, check_reset, named, told_as_kafka_does};
use crate::cluster::list_groups;
use crate::failure::Failure;
use crate::options::{BOOTSTRAP_SERVER, COMMAND_CONFIG, Given, HELP, Opt, Syntax, VERSION};
use crate::session::{Session, block_on};
use crate::{Out, Tool};

pub const TOOL: Tool = Tool { name: "kafka-consumer-groups", about: SYNTAX.about, run };

/// The ways to say where a group shall go on.
const SCENARIOS: [&str; 9] = [
    "to-offset",
    "shift-by",
    "to-datetime",
    "by-duration",
    "by-period",
    "to-earliest",
    "to-latest",
    "to-current",
    "from-file",
];

const SYNTAX: Syntax = Syntax {
    tool: "kafka-consumer-groups",
    about: "Lists and describes consumer groups, deletes them, and moves their offsets",
    words: "",
    options: &[
        HELP,
        VERSION,
        BOOTSTRAP_SERVER,
        COMMAND_CONFIG,
        Opt::flag("list", "List the groups."),
        Opt::flag("describe", "Show a group's partitions with their offsets and lag, or its members or state."),
        DELETE,
        DELETE_OFFSETS,
        Opt::flag(
            "reset-offsets",
            "Move where a group without active members goes on. Shows what it would do unless --execute is given.",
        ),
        GROUP,
        Opt::flag("all-groups", "All groups."),
        TOPIC,
        Opt::flag("all-topics", "All topics of which the group has committed offsets."),
        Opt::value("timeout", "MS", "How long to wait for an answer (5000)."),
        DRY_RUN,
        EXECUTE,
        EXPORT,
        TO_OFFSET,
        FROM_FILE,
        Opt::value(
            "to-datetime",
            "YYYY-MM-DDTHH:mm:SS.sss",
            "Go on with the first records since then (UTC unless a zone is behind it).",
        ),
        BY_DURATION,
        BY_PERIOD,
        TO_EARLIEST,
        TO_LATEST,
        Opt::flag("to-current", "Stay at the committed offsets (for --export); at the end where there are none."),
        SHIFT_BY,
        MEMBERS,
        VERBOSE,
        OFFSETS,
        Opt::maybe(
            "state",
            "STATES",
            "With --describe: the state. With --list: states, or only groups in these (stable,empty).",
        ),
        Opt::maybe("type", "TYPES", "With --list: types, or only groups of these (classic,consumer)."),
        Opt::value("validate-regex", "REGEX", "Say whether this is a regular expression that a subscription can use."),
    ],
    examples: &[
        "--bootstrap-server localhost:9092 --list",
        "--bootstrap-server localhost:9092 --describe --group billing",
        "--bootstrap-server localhost:9092 --group billing --topic orders --reset-offsets --to-datetime 2026-11-01T00:00:00.000 --execute",
    ],
};

fn run(args: &[OsString]) -> ExitCode {
    crate::tool(&SYNTAX, args, |given, out| {
        check_options(given)?;
        if let Some(regex) = given.value("validate-regex")? {
            let verdict = match regex::Regex::new(regex) {
                Ok(_) => "is valid.".to_owned(),
                Err(e) => format!(
                    "is invalid: {}.",
                    e.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ")
                ),
            };
            return Ok(writeln!(out, "The regular expression `{regex}` {verdict}")?);
        }
        block_on(act(given, out)).map_err(|f| told_as_kafka_does(f, "consumer"))
    })
}

fn check_options(given: &Given<'_>) -> Result<(), Failure> {
    let wrong = |message: &str| Err(given.syntax.wrong(message));
    if given.has("validate-regex") {
        return Ok(());
    }
    given.require(&["bootstrap-server"])?;
    check_describe(given)?;
    given.only_with("type", &["list"])?;
    if given.has("delete") {
        if given.count(&["group", "all-groups"]) == 0 {
            return wrong("Option [delete] takes one of these options: [group], [all-groups]");
        }
        if given.has("topic") {
            return wrong("The consumer does not support topic-specific offset deletion from a consumer group.");
        }
    }
    if given.has("delete-offsets") && !(given.has("group") && given.has("topic")) {
        return wrong("Option [delete-offsets] takes the following options: [group], [topic]");
    }
    check_reset(given, &SCENARIOS, false)?;
    if given.has("reset-offsets") && given.count(&["all-topics", "topic", "from-file"]) == 0 {
        return wrong("One of the reset scopes should be defined: --all-topics, --topic.");
    }
    given.exclusive("group", &["all-groups", "list"])?;
    given.exclusive("topic", &["list", "describe", "delete"])?;
    if given.count(&["list", "describe", "delete", "delete-offsets", "reset-offsets"]) != 1 {
        return wrong(
            "Command must include exactly one action: --list, --describe, --delete, --reset-offsets, --delete-offsets, --validate-regex",
        );
    }
    Ok(())
}

async fn act(given: &Given<'_>, out: &mut Out) -> Result<(), Failure> {
    let session = Session::of(given)?;
    if given.has("list") {
        list(given, out, &session).await
    } else if given.has("describe") {
        describe::describe(given, out, &session).await
    } else if given.has("delete") {
        delete::groups(given, out, &session).await
    } else if given.has("delete-offsets") {
        delete::offsets(out, &session, given.value("group")?.unwrap_or_default(), &given.values("topic")).await
    } else {
        let names = chosen(given, &session).await?;
        reset::reset(given, out, &session, &names, reset::Kind::Consumer).await.map(drop)
    }
}

async fn list(given: &Given<'_>, out: &mut Out, session: &Session) -> Result<(), Failure> {
    let states = ["Empty", "Stable", "PreparingRebalance", "CompletingRebalance", "Assigning", "Reconciling", "Dead"];
    let states = named(given.syntax, "state", given.value("state")?, &states)?;
    let types = named(given.syntax, "type", given.value("type")?, &["Classic", "Consumer"])?;
    let mut groups = consumer_groups(session).await?;
    groups = by_state(groups, &states);
    groups.retain(|g| types.is_empty() || types.contains(&kind_name(g)));
    let (with_type, with_state) = (given.has("type"), given.has("state"));
    if !with_type && !with_state {
        for group in &groups {
            writeln!(out, "{}", group.group_id)?;
        }
        return Ok(());
    }
    let width = 10 + groups.iter().map(|g| g.group_id.chars().count()).fold(15, usize::max);
    let mut line = |group: &str, kind: &str, state: &str| {
        write!(out, "{group:<width$}")?;
        if with_type {
            write!(out, " {kind:<20}")?;
        }
        if with_state {
            write!(out, " {state:<20}")?;
        }
        writeln!(out)
    };
    line("GROUP", "TYPE", "STATE")?;
    for group in &groups {
        line(&group.group_id, kind_name(group), group.state.as_deref().unwrap_or("Unknown"))?;
    }
    Ok(())
}

/// The name of a group's kind; brokers that say nothing have classic groups.
pub fn kind_name(group: &GroupListing) -> &'static str {
    group.kind.map_or("Classic", GroupKind::name)
}

/// The groups of consumers: not those of Connect, streams or share consumers.
async fn consumer_groups(session: &Session) -> Result<Vec<GroupListing>, Failure> {
    let mut groups = list_groups(session, &[], &[]).await?;
    groups.retain(|g| matches!(&*g.protocol_type, "" | "consumer") && matches!(kind_name(g), "Classic" | "Consumer"));
    Ok(groups)
}

/// The groups that the command line names.
async fn chosen(given: &Given<'_>, session: &Session) -> Result<Vec<String>, Failure> {
    if given.has("all-groups") {
        return Ok(consumer_groups(session).await?.into_iter().map(|g| g.group_id.to_string()).collect());
    }
    Ok(given.values("group").into_iter().map(str::to_owned).collect())
}
