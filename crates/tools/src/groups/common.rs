//! What the tools for groups of every kind have in common: checks of the command line, lists, deletion, how refusals are
//! told.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use logrun_client::Str;
use logrun_client::admin::{GroupKind, GroupListing};
use logrun_wire::ErrorCode;

use crate::Out;
use crate::cluster::list_groups;
use crate::errors;
use crate::failure::Failure;
use crate::options::{Given, Syntax};
use crate::session::{Session, thrown};

/// Options that several of these tools have alike.
pub mod opts {
    use crate::options::Opt;

    pub const DELETE: Opt = Opt::flag("delete", "Delete groups with their offsets.");
    pub const DELETE_OFFSETS: Opt = Opt::flag("delete-offsets", "Delete a group's offsets of some topics.");
    pub const GROUP: Opt = Opt::value("group", "GROUP", "The group. Can be given several times.");
    pub const TOPIC: Opt =
        Opt::value("topic", "TOPIC", "A topic, or some of its partitions: `topic:0,1`. Can be given several times.");
    pub const DRY_RUN: Opt = Opt::flag("dry-run", "With --reset-offsets: show, change nothing.");
    pub const EXECUTE: Opt = Opt::flag("execute", "With --reset-offsets: do it.");
    pub const EXPORT: Opt = Opt::flag("export", "With --reset-offsets: print as CSV, for --from-file.");
    pub const TO_OFFSET: Opt = Opt::value("to-offset", "OFFSET", "Go on at this offset.");
    pub const FROM_FILE: Opt = Opt::value(
        "from-file",
        "FILE",
        "Go on where a CSV file says: topic,partition,offset (with the group before it, for several).",
    );
    pub const BY_DURATION: Opt =
        Opt::value("by-duration", "PnDTnHnMnS", "Go on with the first records since so long ago.");
    pub const BY_PERIOD: Opt =
        Opt::value("by-period", "PnDTnHnMnS", "The same as --by-duration, which is Kafka's name for it.");
    pub const TO_EARLIEST: Opt = Opt::flag("to-earliest", "Go on with the first records there are.");
    pub const TO_LATEST: Opt = Opt::flag("to-latest", "Go on with the records that are still to come.");
    pub const SHIFT_BY: Opt = Opt::value("shift-by", "N", "Go on so many records later, or earlier if negative.");
    pub const MEMBERS: Opt = Opt::flag("members", "With --describe: the members.");
    pub const VERBOSE: Opt = Opt::flag("verbose", "With --describe: more columns.");
    pub const OFFSETS: Opt =
        Opt::flag("offsets", "With --describe: offsets and lag, which is also what it shows if nothing is said.");
    pub const RESET_OFFSETS: Opt =
        Opt::flag("reset-offsets", "Move where a group without active members goes on: --dry-run or --execute.");
    pub const TIMEOUT: Opt = Opt::value("timeout", "MS", "How long to wait for an answer (30000).");
    pub const TO_DATETIME: Opt =
        Opt::value("to-datetime", "YYYY-MM-DDTHH:mm:SS.sss", "Go on with the first records since then.");
    pub const STATE: Opt =
        Opt::maybe("state", "STATES", "With --describe: the state. With --list: states, or only groups in these.");
}

/// What stands where nothing is known.
pub const MISSING: &str = "-";

/// A number, if it is known.
pub fn number<T: ToString>(n: Option<T>) -> String {
    n.map_or_else(|| MISSING.to_owned(), |n| n.to_string())
}

/// What the cluster refuses is told on standard output and is no failure to the shell. `kind` is that of the groups.
pub fn told_as_kafka_does(failure: Failure, kind: &str) -> Failure {
    match failure.is_refusal() {
        true => failure.prefixed(&format!("\nError: Executing {kind} group command failed due to "), true).code(0),
        false => failure,
    }
}

/// `--describe` and what goes only with it.
///
/// # Errors
/// It says too little or too much.
pub fn check_describe(given: &Given<'_>) -> Result<(), Failure> {
    let wrong = |message: &str| Err(given.syntax.wrong(message));
    for option in ["members", "verbose", "offsets"] {
        given.only_with(option, &["describe"])?;
    }
    given.only_with("state", &["describe", "list"])?;
    if !given.has("describe") {
        return Ok(());
    }
    if given.count(&["group", "all-groups"]) == 0 {
        return wrong("Option [describe] takes one of these options: [group], [all-groups]");
    }
    if given.count(&["members", "offsets", "state"]) > 1 {
        return wrong("Option [describe] takes at most one of these options: [members], [offsets], [state]");
    }
    match given.value("state")? {
        Some(_) => wrong("Option [describe] does not take a value for [state]"),
        None => Ok(()),
    }
}

/// `--reset-offsets`: one of the scenarios; at most one of `--dry-run` and `--execute`, and `always` one; for some group.
///
/// # Errors
/// It says too little or too much.
pub fn check_reset(given: &Given<'_>, scenarios: &[&'static str], always: bool) -> Result<(), Failure> {
    let wrong = |message: &str| Err(given.syntax.wrong(message));
    if !given.has("reset-offsets") {
        return Ok(());
    }
    match given.count(&["dry-run", "execute"]) {
        2 => return wrong("Option [reset-offsets] only accepts one of [execute] and [dry-run]"),
        0 if always => return wrong("Option [reset-offsets] takes the option: [execute] or [dry-run]"),
        _ => {}
    }
    if given.count(&["group", "all-groups"]) == 0 {
        return wrong("Option [reset-offsets] takes one of these options: [group], [all-groups]");
    }
    for scenario in scenarios {
        given.exclusive(scenario, scenarios)?;
    }
    if given.count(scenarios) == 0 {
        let known: Vec<String> = scenarios.iter().map(|s| format!("--{s}")).collect();
        let known = known.join(", ");
        return wrong(&format!("Option '[reset-offsets]' requires one of the following scenarios: {known}"));
    }
    Ok(())
}

/// The names in a comma-separated list, or an error that lists the right ones.
///
/// # Errors
/// One of them is none of `valid`.
pub fn named<'v>(syntax: &Syntax, what: &str, text: Option<&str>, valid: &[&'v str]) -> Result<Vec<&'v str>, Failure> {
    let text = text.unwrap_or_default();
    let parts = text.split(',').map(str::trim).filter(|p| !p.is_empty());
    parts
        .map(|part| {
            let plain = |name: &str| name.replace('_', "").to_lowercase();
            valid.iter().copied().find(|v| plain(v) == plain(part)).ok_or_else(|| {
                syntax.wrong(format!("Invalid {what} list '{text}'. Valid {what}s are: {}", valid.join(", ")))
            })
        })
        .collect()
}

/// Those in one of these states, or all if none are given.
pub fn by_state(mut groups: Vec<GroupListing>, states: &[&str]) -> Vec<GroupListing> {
    groups.retain(|g| states.is_empty() || g.state.as_deref().is_some_and(|state| states.contains(&state)));
    groups
}

/// Lists the groups of one kind, with their states if those are asked for; `states` are those that there are.
///
/// # Errors
/// A broker doesn't answer, or there is no such state.
pub async fn list(
    given: &Given<'_>,
    out: &mut Out,
    session: &Session,
    kind: GroupKind,
    states: &[&str],
) -> Result<(), Failure> {
    let states = named(given.syntax, "state", given.value("state")?, states)?;
    let groups = by_state(list_groups(session, &[kind], &[]).await?, &states);
    if !given.has("state") {
        for group in &groups {
            writeln!(out, "{}", group.group_id)?;
        }
        return Ok(());
    }
    let width = groups.iter().map(|g| g.group_id.chars().count()).fold(15, usize::max);
    writeln!(out, "{:<width$} STATE", "GROUP")?;
    for group in &groups {
        writeln!(out, "{:<width$} {}", group.group_id, group.state.as_deref().unwrap_or("Unknown"))?;
    }
    Ok(())
}

/// The groups of one kind that the command line names, once each, by name.
///
/// # Errors
/// A broker doesn't answer.
pub async fn chosen(given: &Given<'_>, session: &Session, kind: GroupKind) -> Result<BTreeSet<Str>, Failure> {
    Ok(match given.has("all-groups") {
        true => list_groups(session, &[kind], &[]).await?.into_iter().map(|g| g.group_id).collect(),
        false => given.values("group").into_iter().map(Str::from).collect(),
    })
}

/// Deletes share or streams groups and says how each went; gives those that are gone.
///
/// # Errors
/// A broker doesn't answer.
pub async fn delete(
    out: &mut Out,
    session: &Session,
    kind: GroupKind,
    names: BTreeSet<Str>,
) -> Result<Vec<Str>, Failure> {
    let known = list_groups(session, &[kind], &[]).await?;
    let mut kept: BTreeMap<Str, String> = BTreeMap::new();
    for name in &names {
        let why = match known.iter().find(|g| g.group_id == *name) {
            None if kind == GroupKind::Share => format!("Group '{name}' is not a share group."),
            None => format!("Group '{name}' does not exist or is not a streams group."),
            Some(g) if g.state.as_deref().is_some_and(|s| s != "Empty") => {
                let why = format!("{} group '{name}' is not EMPTY.", kind.name());
                kept.insert(name.clone(), errors::exception(ErrorCode::NonEmptyGroup.code(), Some(&why)));
                continue;
            }
            Some(_) => continue,
        };
        kept.insert(name.clone(), format!("java.lang.IllegalArgumentException: {why}"));
    }
    let names: Vec<Str> = names.into_iter().filter(|name| !kept.contains_key(name)).collect();
    let mut deleted = Vec::new();
    for (name, result) in session.admin().delete_groups(&names).await {
        match result {
            Ok(()) => deleted.push(name),
            Err(e) => drop(kept.insert(name, thrown(&e).message().to_owned())),
        }
    }
    tell_deleted(out, &kind.name().to_lowercase(), &deleted, &kept)?;
    Ok(deleted)
}

/// Says which groups are gone, and why others aren't.
///
/// # Errors
/// Nobody reads it.
pub fn tell_deleted(out: &mut Out, kind: &str, deleted: &[Str], kept: &BTreeMap<Str, String>) -> Result<(), Failure> {
    let quoted: Vec<String> = deleted.iter().map(|name| format!("'{name}'")).collect();
    let quoted = quoted.join(", ");
    if kept.is_empty() {
        return Ok(writeln!(out, "Deletion of requested {kind} groups ({quoted}) was successful.")?);
    }
    writeln!(out, "\nError: Deletion of some {kind} groups failed:")?;
    for (name, why) in kept {
        writeln!(out, "* Group '{name}' could not be deleted due to: {why}")?;
    }
    if !deleted.is_empty() {
        // Kafka's tool for streams groups ends its sentence.
        let end = if kind == "streams" { "." } else { "" };
        writeln!(out, "\nThese {kind} groups were deleted successfully: {quoted}{end}")?;
    }
    Ok(())
}
