//! `kafka-share-groups`: share groups (KIP-932), their members and start offsets (Kafka's `ShareGroupCommand`).
//!
//! As with consumer groups, what the cluster refuses is told on standard output and is no failure to the shell.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use logrun_client::admin::{GroupKind, ShareOffset};
use logrun_client::{Error, ErrorCode, Str, TopicPartition};

use super::common::opts::*;
use super::common::{check_describe, check_reset, chosen, delete, list, number, told_as_kafka_does};
use super::describe::assignment_text;
use super::lookup::{Group, Member, named};
use super::plan::Plan;
use super::reset::{Asked, WIDTHS, all_there, named_partitions, table};
use crate::cluster::{EARLIEST, LATEST, Partition, partitions};
use crate::datetime;
use crate::errors;
use crate::failure::Failure;
use crate::options::{BOOTSTRAP_SERVER, COMMAND_CONFIG, Given, HELP, Opt, Syntax, VERSION};
use crate::session::{Session, block_on, failure, thrown};
use crate::{Out, Tool};

pub const TOOL: Tool = Tool { name: "kafka-share-groups", about: SYNTAX.about, run };

const SCENARIOS: [&str; 3] = ["to-datetime", "to-earliest", "to-latest"];

const SYNTAX: Syntax = Syntax {
    tool: "kafka-share-groups",
    about: "Lists and describes share groups, deletes them, and moves their start offsets",
    words: "",
    options: &[
        HELP,
        VERSION,
        BOOTSTRAP_SERVER,
        COMMAND_CONFIG,
        Opt::flag("list", "List the share groups."),
        Opt::flag("describe", "Show a group's partitions with their start offsets, or its members or state."),
        Opt::flag("delete", "Delete groups."),
        DELETE_OFFSETS,
        RESET_OFFSETS,
        GROUP,
        Opt::flag("all-groups", "All share groups."),
        TOPIC,
        Opt::flag("all-topics", "All topics that the group has offsets of."),
        TIMEOUT,
        DRY_RUN,
        EXECUTE,
        TO_DATETIME,
        TO_EARLIEST,
        TO_LATEST,
        MEMBERS,
        VERBOSE,
        Opt::flag("offsets", "With --describe: start offsets and lag, which is also what it shows if nothing is said."),
        STATE,
    ],
    examples: &[
        "--bootstrap-server localhost:9092 --list",
        "--bootstrap-server localhost:9092 --describe --group workers",
        "--bootstrap-server localhost:9092 --group workers --topic jobs --reset-offsets --to-earliest --execute",
    ],
};

fn run(args: &[OsString]) -> ExitCode {
    crate::tool(&SYNTAX, args, |given, out| {
        check_options(given)?;
        block_on(act(given, out)).map_err(|f| told_as_kafka_does(f, "share"))
    })
}

fn check_options(given: &Given<'_>) -> Result<(), Failure> {
    let wrong = |message: &str| Err(given.syntax.wrong(message));
    given.require(&["bootstrap-server"])?;
    check_describe(given)?;
    if given.has("delete") {
        match (given.has("group"), given.has("all-groups")) {
            (false, false) => return wrong("Option [delete] takes the options [group] or [all-groups]"),
            (true, true) => return wrong("Option [delete] takes either [group] or [all-groups], not both."),
            _ if given.has("topic") => return wrong("Option [delete] does not take the option: [topic]"),
            _ => {}
        }
    }
    if given.has("delete-offsets") && !(given.has("group") && given.has("topic")) {
        return wrong("Option [delete-offsets] takes the following options: [group], [topic]");
    }
    check_reset(given, &SCENARIOS, true)?;
    if given.has("reset-offsets") && given.count(&["all-topics", "topic"]) == 0 {
        return wrong("One of the reset scopes should be defined: --all-topics, --topic.");
    }
    given.exclusive("group", &["all-groups", "list"])?;
    given.exclusive("topic", &["list", "describe"])?;
    given.one_action(
        &["list", "describe", "delete", "reset-offsets", "delete-offsets"],
        "--list, --describe, --delete, --reset-offsets, --delete-offsets.",
    )
}

async fn act(given: &Given<'_>, out: &mut Out) -> Result<(), Failure> {
    let session = Session::of(given)?;
    if given.has("list") {
        list(given, out, &session, GroupKind::Share, &["Empty", "Stable", "Dead"]).await
    } else if given.has("describe") {
        describe(given, out, &session).await
    } else if given.has("delete") {
        delete(out, &session, GroupKind::Share, chosen(given, &session, GroupKind::Share).await?).await.map(drop)
    } else if given.has("delete-offsets") {
        delete_offsets(given, out, &session).await
    } else {
        reset(given, out, &session).await
    }
}

/// The groups that the command line names, described; by name.
async fn described(given: &Given<'_>, session: &Session) -> Result<Vec<Group>, Failure> {
    let names: Vec<Str> = chosen(given, session, GroupKind::Share).await?.into_iter().collect();
    let groups = session.admin().describe_share_groups(&names, false).await;
    groups.into_values().map(|g| g.map(|g| Group::of(session, g)).map_err(|e| thrown(&e))).collect()
}

async fn describe(given: &Given<'_>, out: &mut Out, session: &Session) -> Result<(), Failure> {
    let verbose = given.has("verbose");
    for group in described(given, session).await? {
        if given.has("members") {
            members(out, &group, verbose)?;
        } else if given.has("state") {
            state(out, &group, verbose)?;
        } else {
            let found = session.admin().list_share_group_offsets(&group.id.as_str().into(), None).await;
            offsets(out, &group.id, found.map_err(|e| failure(&e))?, verbose)?;
        }
    }
    Ok(())
}

/// Says what the state means for the reader; whether there is anything to show.
fn announce(out: &mut Out, group: &Group, rows: usize) -> Result<bool, Failure> {
    match group.state.as_str() {
        "Dead" => writeln!(out, "\nError: Share group '{}' does not exist.", group.id)?,
        "Empty" => {
            out.flush()?;
            eprintln!("\nShare group '{}' has no active members.", group.id);
        }
        _ => {}
    }
    Ok(group.state != "Dead" && rows > 0)
}

type Offsets = BTreeMap<TopicPartition, Result<ShareOffset, Error>>;

fn offsets(out: &mut Out, group: &str, found: Offsets, verbose: bool) -> Result<(), Failure> {
    if found.is_empty() {
        return Ok(writeln!(out, "\nShare group '{group}' has no offset information.")?);
    }
    let group_width = group.chars().count().max(15);
    let topic_width = found.keys().map(|tp| tp.topic.chars().count()).fold(15, usize::max);
    let mut line = |topic: &str, partition: &str, epoch: &str, start: &str, lag: &str, group: &str| {
        write!(out, "\n{group:<group_width$} {topic:<topic_width$} {partition:<10} ")?;
        if verbose {
            write!(out, "{epoch:<13} ")?;
        }
        write!(out, "{start:<13} {lag}")
    };
    line("TOPIC", "PARTITION", "LEADER-EPOCH", "START-OFFSET", "LAG", "GROUP")?;
    for (tp, offset) in found {
        let offset = offset.map_err(|e| failure(&e))?;
        let epoch = offset.start_offset.map(|_| i64::from(offset.leader_epoch));
        let partition = tp.partition.to_string();
        line(&tp.topic, &partition, &number(epoch), &number(offset.start_offset), &number(offset.lag), group)?;
    }
    Ok(writeln!(out)?)
}

fn state(out: &mut Out, group: &Group, verbose: bool) -> Result<(), Failure> {
    announce(out, group, 1)?;
    let coordinator = format!("{}  ({})", group.coordinator.1, group.coordinator.0);
    let (group_width, width) = (group.id.chars().count().max(15), coordinator.chars().count().max(25));
    let (epoch, assignment_epoch) = (number(group.epoch), number(group.assignment_epoch));
    let members = group.members.len().to_string();
    for [id, coordinator, state, epoch, assignment_epoch, members] in [
        ["GROUP", "COORDINATOR (ID)", "STATE", "GROUP-EPOCH", "ASSIGNMENT-EPOCH", "#MEMBERS"],
        [&group.id, &coordinator, &group.state, &epoch, &assignment_epoch, &members],
    ] {
        write!(out, "\n{id:<group_width$} {coordinator:<width$} {state:<15} ")?;
        if verbose {
            write!(out, "{epoch:<12} {assignment_epoch:<17} ")?;
        }
        write!(out, "{members}")?;
    }
    Ok(writeln!(out)?)
}

fn members(out: &mut Out, group: &Group, verbose: bool) -> Result<(), Failure> {
    if !announce(out, group, group.members.len())? {
        return Ok(());
    }
    let mut all: Vec<&Member> = group.members.iter().collect();
    all.sort_by(|a, b| a.id.cmp(&b.id));
    let width = |f: &dyn Fn(&Member) -> usize| group.members.iter().map(f).fold(15, usize::max);
    let count = |text: &str| text.chars().count();
    let group_width = count(&group.id).max(15);
    let (id_width, host_width, client_width) =
        (width(&|m| count(&m.id)), width(&|m| count(&m.host)), width(&|m| count(&m.client)));
    let mut line = |[group, id, host, client, partitions, epoch, assignment]: [&str; 7]| {
        write!(
            out,
            "\n{group:<group_width$} {id:<id_width$} {host:<host_width$} {client:<client_width$} {partitions:<12} "
        )?;
        if verbose {
            write!(out, "{epoch:<13} ")?;
        }
        write!(out, "{assignment}")
    };
    line(["GROUP", "CONSUMER-ID", "HOST", "CLIENT-ID", "#PARTITIONS", "MEMBER-EPOCH", "ASSIGNMENT"])?;
    for member in all {
        let epoch = number(member.epoch);
        let assignment = assignment_text(&member.assignment, "");
        let partitions = member.assignment.len().to_string();
        line([&group.id, &member.id, &member.host, &member.client, &partitions, &epoch, &assignment])?;
    }
    Ok(writeln!(out)?)
}

async fn delete_offsets(given: &Given<'_>, out: &mut Out, session: &Session) -> Result<(), Failure> {
    let group = given.value("group")?.unwrap_or_default();
    let topics: BTreeSet<Str> = given.values("topic").into_iter().map(Str::from).collect();
    let topics: Vec<Str> = topics.into_iter().collect();
    let results = match session.admin().delete_share_group_offsets(&group.into(), &topics).await {
        Ok(results) => results,
        Err(e @ Error::Broker { .. }) => {
            match e.code() {
                Some(
                    ErrorCode::InvalidGroupId
                    | ErrorCode::GroupIdNotFound
                    | ErrorCode::GroupAuthorizationFailed
                    | ErrorCode::NonEmptyGroup,
                ) => writeln!(out, "\nError: {}", errors::sentence(&e))?,
                _ => writeln!(out, "\nError: Encounter some unknown error: {}", thrown(&e))?,
            }
            topics.into_iter().map(|topic| (topic, Err(e.clone()))).collect()
        }
        Err(e) => return Err(failure(&e)),
    };
    let width = results.keys().map(|t| t.chars().count()).fold(15, usize::max);
    write!(out, "\n{:<width$} STATUS", "TOPIC")?;
    for (topic, result) in results {
        let status = match result {
            Ok(()) => "Successful".to_owned(),
            Err(e) => format!("Error: {}", errors::sentence(&e)),
        };
        write!(out, "\n{topic:<width$} {status}")?;
    }
    Ok(writeln!(out)?)
}

async fn reset(given: &Given<'_>, out: &mut Out, session: &Session) -> Result<(), Failure> {
    let name = given.value("group")?.unwrap_or_default();
    let id = Str::from(name);
    match session.admin().describe_share_groups(std::slice::from_ref(&id), false).await.remove(&id) {
        Some(Ok(group)) if !matches!(&*group.state, "Empty" | "Dead") => {
            let members: Vec<String> = group
                .members
                .iter()
                .map(|m| format!("  {} at {} ({})", m.client_id, m.client_host, m.member_id))
                .collect();
            let said =
                format!("Share group '{name}' is not empty.\nIts active members, which have to be stopped first:");
            return Err(given.syntax.wrong(format!("{said}\n{}", members.join("\n"))));
        }
        Some(Err(e)) if e.code() != Some(ErrorCode::GroupIdNotFound) => return Err(failure(&e)),
        // A group that isn't there yet begins so.
        _ => {}
    }
    let scope: BTreeSet<Partition> = match given.has("topic") {
        true => named_partitions(session, &given.values("topic")).await?,
        false => {
            let known = session.admin().list_share_group_offsets(&id, None).await.map_err(|e| failure(&e))?;
            known.keys().map(named).collect()
        }
    };
    let topics: BTreeSet<&str> = scope.iter().map(|(topic, _)| topic.as_str()).collect();
    let leaders = partitions(session, &topics.into_iter().collect::<Vec<_>>()).await?;
    all_there(&scope, &leaders)?;
    let at = Asked { session, leaders: &leaders };
    let offsets = if given.has("to-earliest") {
        at.offsets(&scope, EARLIEST).await?
    } else if given.has("to-latest") {
        at.offsets(&scope, LATEST).await?
    } else {
        let text = given.value("to-datetime")?.unwrap_or_default();
        at.since(out, &scope, datetime::parse(text).map_err(Failure::new)?).await?
    };
    if given.has("execute") && !offsets.is_empty() {
        let wanted = offsets.iter().map(|((t, p), offset)| (TopicPartition::new(t.as_str(), *p), *offset)).collect();
        let results = session.admin().alter_share_group_offsets(&id, &wanted).await.map_err(|e| failure(&e))?;
        results.into_values().try_for_each(|r| r.map_err(|e| failure(&e)))?;
    }
    let mut plan = Plan::new();
    plan.insert(name.to_owned(), offsets);
    table(out, &plan, WIDTHS)
}
