//! `kafka-streams-groups`: groups of Kafka Streams applications (KIP-1071), their tasks, lag and offsets (Kafka's
//! `StreamsGroupCommand`).
//!
//! What the cluster refuses is told on standard output, as with consumer groups, but ends with 1. Topics are only deleted
//! that the group's topology names as its own and that are called so.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use logrun_client::admin::{GroupDescription, GroupKind};
use logrun_client::{ErrorCode, Str};
use logrun_wire::messages::streams_group_describe_response as wire;

use super::SCENARIOS;
use super::common::opts::*;
use super::common::{check_describe, check_reset, chosen, delete, list, number, told_as_kafka_does};
use super::lookup::{Group, committed};
use super::reset::{Kind, reset};
use crate::cluster::{EARLIEST, LATEST, Partition, list_offsets, partitions};
use crate::errors;
use crate::failure::Failure;
use crate::options::{BOOTSTRAP_SERVER, COMMAND_CONFIG, Given, HELP, Opt, Syntax, VERSION};
use crate::session::{Session, block_on, failure, thrown};
use crate::text::commas;
use crate::{Out, Tool};

pub const TOOL: Tool = Tool { name: "kafka-streams-groups", about: SYNTAX.about, run };

const SYNTAX: Syntax = Syntax {
    tool: "kafka-streams-groups",
    about: "Lists and describes groups of Kafka Streams, deletes them, and moves their offsets",
    words: "",
    options: &[
        HELP,
        VERSION,
        BOOTSTRAP_SERVER,
        COMMAND_CONFIG,
        Opt::flag("list", "List the streams groups."),
        Opt::flag("describe", "Show a group's lag by partition, or its members or state."),
        DELETE,
        DELETE_OFFSETS,
        RESET_OFFSETS,
        GROUP,
        Opt::flag("all-groups", "All streams groups."),
        Opt::value("input-topic", "TOPIC", "An input topic, or some of its partitions: `topic:0,1`. Can come again."),
        Opt::flag("all-input-topics", "All input topics of which the group has committed offsets."),
        TIMEOUT,
        DRY_RUN,
        EXECUTE,
        EXPORT,
        TO_OFFSET,
        FROM_FILE,
        TO_DATETIME,
        BY_DURATION,
        BY_PERIOD,
        TO_EARLIEST,
        TO_LATEST,
        Opt::flag("to-current", "Stay at the committed offsets (for --export)."),
        SHIFT_BY,
        Opt::value(
            "delete-internal-topic",
            "TOPIC",
            "With --reset-offsets --execute: delete this topic of the group's own.",
        ),
        Opt::flag(
            "delete-all-internal-topics",
            "With --delete or --reset-offsets --execute: delete the group's own topics.",
        ),
        Opt::flag("members", "With --describe: the members and their tasks."),
        VERBOSE,
        OFFSETS,
        STATE,
    ],
    examples: &[
        "--bootstrap-server localhost:9092 --list",
        "--bootstrap-server localhost:9092 --describe --group word-count",
        "--bootstrap-server localhost:9092 --group word-count --input-topic words --reset-offsets --to-earliest --dry-run",
    ],
};

fn run(args: &[OsString]) -> ExitCode {
    crate::tool(&SYNTAX, args, |given, out| {
        check_options(given)?;
        block_on(act(given, out)).map_err(|f| told_as_kafka_does(f, "streams").code(1))
    })
}

fn check_options(given: &Given<'_>) -> Result<(), Failure> {
    let wrong = |message: &str| Err(given.syntax.wrong(message));
    given.require(&["bootstrap-server"])?;
    check_describe(given)?;
    if given.has("delete") {
        if given.count(&["group", "all-groups"]) == 0 {
            return wrong("Option [delete] takes one of these options: [group], [all-groups]");
        }
        if given.has("input-topic") || given.has("all-input-topics") {
            return wrong("Kafka Streams does not support topic-specific offset deletion from a streams group.");
        }
    }
    if given.has("delete-offsets") && (!given.has("group") || given.count(&["input-topic", "all-input-topics"]) == 0) {
        return wrong(
            "Option [delete-offsets] takes the [group] and one of these options: [input-topic], [all-input-topics]",
        );
    }
    check_reset(given, &SCENARIOS, true)?;
    if given.has("reset-offsets") {
        if given.count(&["all-input-topics", "input-topic", "from-file"]) == 0 {
            return wrong("One of the reset scopes should be defined: --all-input-topics, --input-topic.");
        }
        if given.count(&["delete-internal-topic", "delete-all-internal-topics"]) > 0 && !given.has("execute") {
            return wrong("Internal topics are deleted only with --execute.");
        }
    } else if given.count(&["dry-run", "execute"]) > 0 {
        return wrong("Only Option [reset-offsets] accepts [execute] or [dry-run]");
    }
    given.exclusive("group", &["all-groups", "list"])?;
    given.exclusive("list", &["members", "offsets"])?;
    given.one_action(
        &["list", "describe", "delete", "reset-offsets", "delete-offsets"],
        "--list, --describe, --delete, --reset-offsets, or --delete-offsets.",
    )
}

async fn act(given: &Given<'_>, out: &mut Out) -> Result<(), Failure> {
    let session = Session::of(given)?;
    if given.has("list") {
        let states = ["Empty", "NotReady", "Stable", "Assigning", "Reconciling", "Dead"];
        list(given, out, &session, GroupKind::Streams, &states).await
    } else if given.has("describe") {
        describe(given, out, &session).await
    } else if given.has("delete") {
        delete_groups(given, out, &session).await
    } else if given.has("delete-offsets") {
        delete_offsets(given, out, &session).await
    } else {
        let names = names(given, &session).await?;
        let plan = reset(given, out, &session, &names, Kind::Streams).await?;
        // A group that goes on as it was, because it is active or it was refused, keeps its topics.
        let moved: Vec<String> = plan.into_iter().filter(|(_, to)| !to.is_empty()).map(|(group, _)| group).collect();
        let mut topics = internal_topics(&session, &moved).await?;
        if !given.has("delete-all-internal-topics") {
            let named = given.values("delete-internal-topic");
            topics.values_mut().for_each(|topics| topics.retain(|t| named.contains(&&**t)));
        }
        let done = delete_topics(out, &session, topics).await?;
        // Kafka's tool doesn't say it here.
        if !done.is_empty() {
            eprintln!("Internal topics were deleted of: {}.", done.join(", "));
        }
        Ok(())
    }
}

async fn names(given: &Given<'_>, session: &Session) -> Result<Vec<String>, Failure> {
    Ok(chosen(given, session, GroupKind::Streams).await?.iter().map(ToString::to_string).collect())
}

/// A group and its topology.
///
/// # Errors
/// There is none such, or nobody answers.
pub async fn described(session: &Session, name: &str) -> Result<GroupDescription, Failure> {
    let id = Str::from(name);
    let found = session.admin().describe_streams_groups(std::slice::from_ref(&id), false).await.remove(&id);
    let found = found.ok_or_else(|| Failure::new(format!("the coordinator says nothing of group {name}")))?;
    found.map_err(|e| thrown(&e))
}

async fn describe(given: &Given<'_>, out: &mut Out, session: &Session) -> Result<(), Failure> {
    let verbose = given.has("verbose");
    for name in names(given, session).await? {
        let mut description = described(session, &name).await?;
        let streams = description.streams.take().map(|s| *s).unwrap_or_default();
        let group = Group::of(session, description);
        if given.has("members") {
            members(out, &group, &streams, verbose)?;
        } else if given.has("state") {
            state(out, &group, verbose)?;
        } else {
            offsets(out, session, &group, &streams, verbose).await?;
        }
    }
    Ok(())
}

/// There is nothing to print: Kafka's tool is silent, and for people it is said where scripts don't read.
fn nobody(group: &Group) -> Result<(), Failure> {
    eprintln!("Streams group '{}' has no active members ({}).", group.id, group.state);
    Ok(())
}

/// Says what the state means for the reader.
fn announce(out: &mut Out, group: &Group) -> Result<(), Failure> {
    match group.state.as_str() {
        "Dead" => writeln!(out, "\nError: Streams group '{}' does not exist.", group.id)?,
        "Empty" => writeln!(out, "\nError: Streams group '{}' has no active members.", group.id)?,
        _ => {}
    }
    Ok(())
}

fn state(out: &mut Out, group: &Group, verbose: bool) -> Result<(), Failure> {
    announce(out, group)?;
    let coordinator = format!("{} ({})", group.coordinator.1, group.coordinator.0);
    let (group_width, width) = (group.id.chars().count().max(15), coordinator.chars().count().max(25));
    let (epoch, assignment_epoch) = (number(group.epoch), number(group.assignment_epoch));
    let members = group.members.len().to_string();
    for [id, coordinator, state, epoch, assignment_epoch, members] in [
        ["GROUP", "COORDINATOR (ID)", "STATE", "GROUP-EPOCH", "TARGET-ASSIGNMENT-EPOCH", "#MEMBERS"],
        [&group.id, &coordinator, &group.state, &epoch, &assignment_epoch, &members],
    ] {
        write!(out, "{id:<group_width$} {coordinator:<width$} {state:<25} ")?;
        if verbose {
            write!(out, "{epoch:<15} {assignment_epoch:<25} ")?;
        }
        writeln!(out, "{members}")?;
    }
    Ok(())
}

/// `ACTIVE: 0:[0,1]; 1:[0]; `, for the tasks of each kind that there are.
fn tasks(of: &wire::Assignment, prefix: &str) -> String {
    let mut text = String::new();
    for (kind, tasks) in [("ACTIVE", &of.active_tasks), ("STANDBY", &of.standby_tasks), ("WARMUP", &of.warmup_tasks)] {
        if !tasks.is_empty() {
            text.push_str(&format!("{prefix}{kind}: "));
        }
        for task in tasks {
            text.push_str(&format!("{}:[{}]; ", task.subtopology_id, commas(&task.partitions)));
        }
    }
    text
}

fn members(out: &mut Out, group: &Group, streams: &wire::DescribedGroup, verbose: bool) -> Result<(), Failure> {
    if group.state == "Dead" || streams.members.is_empty() {
        return nobody(group);
    }
    let width = |f: &dyn Fn(&wire::Member) -> usize| streams.members.iter().map(f).fold(15, usize::max);
    let group_width = group.id.chars().count().max(15);
    let member_width = width(&|m| m.member_id.chars().count());
    let process_width = width(&|m| m.process_id.chars().count());
    let client_width = width(&|m| m.client_id.chars().count());
    let mut line = |[group, target_epoch, topology_epoch, member, protocol, epoch, process, client, tasks]: [&str;
                        9]| {
        write!(out, "{group:<group_width$} ")?;
        match verbose {
            true => write!(
                out,
                "{target_epoch:<25} {topology_epoch:<15}{member:<member_width$} {protocol:<15} {epoch:<15} "
            )?,
            false => write!(out, "{member:<member_width$} ")?,
        }
        writeln!(out, "{process:<process_width$} {client:<client_width$} {tasks}")
    };
    line([
        "GROUP",
        "TARGET-ASSIGNMENT-EPOCH",
        "TOPOLOGY-EPOCH",
        "MEMBER",
        "MEMBER-PROTOCOL",
        "MEMBER-EPOCH",
        "PROCESS",
        "CLIENT-ID",
        "ASSIGNMENTS",
    ])?;
    let target_epoch = group.assignment_epoch.unwrap_or(-1).to_string();
    for member in &streams.members {
        let mut all = tasks(&member.assignment, "");
        if verbose {
            all.push_str(&tasks(&member.target_assignment, "TARGET-"));
        }
        line([
            &group.id,
            &target_epoch,
            &member.topology_epoch.to_string(),
            &member.member_id,
            if member.is_classic { "classic" } else { "streams" },
            &member.member_epoch.to_string(),
            &member.process_id,
            &member.client_id,
            &all,
        ])?;
    }
    Ok(())
}

/// The partitions that members have active tasks of.
fn active(streams: &wire::DescribedGroup) -> Result<BTreeSet<Partition>, Failure> {
    let mut found = BTreeSet::new();
    let subtopologies = streams.topology.iter().flat_map(|t| t.subtopologies.iter().flatten());
    let by_id: BTreeMap<&str, &wire::Subtopology> = subtopologies.map(|s| (&*s.subtopology_id, s)).collect();
    for task in streams.members.iter().flat_map(|m| &m.assignment.active_tasks) {
        let subtopology = by_id.get(&*task.subtopology_id).ok_or_else(|| {
            Failure::usage(format!("Subtopology {} not found in group description!", task.subtopology_id))
        })?;
        let repartitioned = subtopology.repartition_source_topics.iter().map(|t| &t.name);
        for topic in subtopology.source_topics.iter().chain(repartitioned) {
            found.extend(task.partitions.iter().map(|p| (topic.to_string(), *p)));
        }
    }
    Ok(found)
}

async fn offsets(
    out: &mut Out,
    session: &Session,
    group: &Group,
    streams: &wire::DescribedGroup,
    verbose: bool,
) -> Result<(), Failure> {
    if group.state == "Dead" || streams.members.is_empty() {
        return nobody(group);
    }
    let all = active(streams)?;
    let topics: BTreeSet<&str> = all.iter().map(|(topic, _)| topic.as_str()).collect();
    let leaders = partitions(session, &topics.into_iter().collect::<Vec<_>>()).await?;
    let at = async |time| list_offsets(session, &leaders, all.iter().map(|p| (p.clone(), time))).await;
    let (starts, ends, committed) = tokio::try_join!(at(EARLIEST), at(LATEST), committed(session, &group.id))?;
    let group_width = group.id.chars().count().max(15);
    let topic_width = all.iter().map(|(t, _)| t.chars().count()).fold(15, usize::max);
    let mut line = |[id, topic, partition, current, epoch, end, lag]: [&str; 7]| {
        write!(out, "{id:<group_width$} {topic:<topic_width$} {partition:<10} ")?;
        match verbose {
            true => writeln!(out, "{current:<15} {epoch:<15} {end:<15} {lag:<15}"),
            false => writeln!(out, "{lag}"),
        }
    };
    line(["GROUP", "TOPIC", "PARTITION", "CURRENT-OFFSET", "LEADER-EPOCH", "LOG-END-OFFSET", "OFFSET-LAG"])?;
    for partition in &all {
        let offset = |of: &BTreeMap<Partition, Result<i64, _>>| match of.get(partition) {
            Some(Ok(offset)) => Ok(*offset),
            Some(Err(e)) => Err(failure(e)),
            None => Err(Failure::new(errors::message(ErrorCode::UnknownTopicOrPartition.code(), None))),
        };
        let (start, end) = (offset(&starts)?, offset(&ends)?);
        let current = committed.get(partition);
        line([
            &group.id,
            &partition.0,
            &partition.1.to_string(),
            &number(current.map(|c| c.offset)),
            &number(current.and_then(|c| c.leader_epoch)),
            &end.to_string(),
            &(end - current.map_or(start, |c| c.offset)).to_string(),
        ])?;
    }
    Ok(())
}

/// Whether a topic is called as Kafka Streams calls those of an application.
fn is_internal(group: &str, topic: &str) -> bool {
    const ENDS: [&str; 4] =
        ["-changelog", "-repartition", "-subscription-registration-topic", "-subscription-response-topic"];
    let joins = ["-KTABLE-FK-JOIN-SUBSCRIPTION-REGISTRATION-", "-KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE-"];
    let own = topic.strip_prefix(group).is_some_and(|rest| rest.starts_with('-'));
    own && (ENDS.iter().any(|end| topic.ends_with(end))
        || (topic.ends_with("-topic") && joins.iter().any(|join| topic.contains(join))))
}

/// The topics that each of these groups has for itself; none where there is no such group any more.
async fn internal_topics(session: &Session, names: &[String]) -> Result<BTreeMap<String, Vec<Str>>, Failure> {
    let ids: Vec<Str> = names.iter().map(|n| Str::from(n.as_str())).collect();
    let mut found = BTreeMap::new();
    for (id, description) in session.admin().describe_streams_groups(&ids, false).await {
        let topology = match description {
            Ok(description) => description.streams.and_then(|s| s.topology),
            Err(e) if e.code() == Some(ErrorCode::GroupIdNotFound) => None,
            Err(e) => return Err(failure(&e)),
        };
        let subtopologies = topology.into_iter().flat_map(|t| t.subtopologies.unwrap_or_default());
        let names = subtopologies.flat_map(|s| s.state_changelog_topics.into_iter().chain(s.repartition_source_topics));
        let names: BTreeSet<Str> = names.map(|t| t.name).filter(|t| is_internal(&id, t)).collect();
        found.insert(id.to_string(), names.into_iter().collect());
    }
    Ok(found)
}

/// Deletes groups' own topics; the groups of which that was done.
async fn delete_topics(
    out: &mut Out,
    session: &Session,
    topics: BTreeMap<String, Vec<Str>>,
) -> Result<Vec<String>, Failure> {
    let (mut done, mut kept) = (Vec::new(), BTreeMap::new());
    for (group, topics) in topics.into_iter().filter(|(_, topics)| !topics.is_empty()) {
        let results = session.admin().delete_topics(&topics).await.map_err(|e| failure(&e))?;
        match results.into_values().find_map(Result::err) {
            None => done.push(group),
            Some(e) => drop(kept.insert(group, thrown(&e))),
        }
    }
    if !kept.is_empty() {
        writeln!(out, "\nError: Deletion of some associated internal topics failed:")?;
    }
    for (group, why) in kept {
        writeln!(out, "* Internal topics of the streams group '{group}' could not be deleted due to: {why}")?;
    }
    Ok(done)
}

async fn delete_groups(given: &Given<'_>, out: &mut Out, session: &Session) -> Result<(), Failure> {
    let chosen = chosen(given, session, GroupKind::Streams).await?;
    let mut topics = BTreeMap::new();
    if given.has("delete-all-internal-topics") {
        let names: Vec<String> = chosen.iter().map(ToString::to_string).collect();
        topics = internal_topics(session, &names).await?;
    }
    let deleted = delete(out, session, GroupKind::Streams, chosen).await?;
    topics.retain(|group, _| deleted.iter().any(|name| **name == **group));
    let done = delete_topics(out, session, topics).await?;
    if !done.is_empty() {
        let groups = done.join("', '");
        writeln!(out, "Deletion of associated internal topics of the streams groups ('{groups}') was successful.")?;
    }
    Ok(())
}

async fn delete_offsets(given: &Given<'_>, out: &mut Out, session: &Session) -> Result<(), Failure> {
    let group = given.value("group")?.unwrap_or_default();
    let all: BTreeSet<String> = match given.has("all-input-topics") {
        true => committed(session, group).await?.into_keys().map(|(topic, _)| topic).collect(),
        false => given.values("input-topic").into_iter().map(str::to_owned).collect(),
    };
    let topics: Vec<&str> = all.iter().map(String::as_str).filter(|t| !is_internal(group, t)).collect();
    super::delete::offsets(out, session, group, &topics).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_groups_own_topics_are_internal() {
        for own in
            ["app-counts-changelog", "app-by-word-repartition", "app-KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE-0004-topic"]
        {
            assert!(is_internal("app", own), "{own}");
        }
        for other in ["app", "words", "apple-counts-changelog", "app-orders", "other-app-counts-changelog"] {
            assert!(!is_internal("app", other), "{other}");
        }
    }

    #[test]
    fn tasks_are_kafkas_text() {
        let task = |id: &'static str, partitions: &[i32]| wire::TaskIds {
            subtopology_id: id.into(),
            partitions: partitions.to_vec(),
            ..Default::default()
        };
        let assignment = wire::Assignment {
            active_tasks: vec![task("0", &[0, 1]), task("1", &[2])],
            warmup_tasks: vec![task("0", &[3])],
            ..Default::default()
        };
        assert_eq!(tasks(&assignment, ""), "ACTIVE: 0:[0,1]; 1:[2]; WARMUP: 0:[3]; ");
        assert_eq!(tasks(&wire::Assignment::default(), "TARGET-"), "");
    }
}
