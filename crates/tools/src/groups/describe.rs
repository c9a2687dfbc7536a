//! `kafka-consumer-groups --describe`: offsets and lag, members, state.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use futures_util::future::try_join_all;

use super::chosen;
use super::common::{MISSING, number};
use super::lookup::{Committed, Group, Member, committed, describe as look_up};
use crate::Out;
use crate::cluster::{LATEST, Partition, list_offsets, partitions};
use crate::failure::Failure;
use crate::options::Given;
use crate::session::Session;
use crate::text::commas;

/// Runs it.
///
/// # Errors
/// A group is not there, or nobody answers.
pub async fn describe(given: &Given<'_>, out: &mut Out, session: &Session) -> Result<(), Failure> {
    let mut names = chosen(given, session).await?;
    names.sort();
    names.dedup();
    let groups = try_join_all(names.iter().map(|name| look_up(session, name))).await?;
    let verbose = given.has("verbose");
    for group in &groups {
        if given.has("members") {
            members(out, group, verbose)?;
        } else if given.has("state") {
            state(out, group, verbose)?;
        } else {
            let rows = offsets(session, group).await?;
            lag(out, group, &rows, verbose)?;
        }
    }
    Ok(())
}

/// Says what the state means for the reader; whether there is anything to show.
fn announce(out: &mut Out, group: &Group, rows: usize) -> Result<bool, Failure> {
    let note = match &*group.state {
        "Dead" => {
            writeln!(out, "\nError: Consumer group '{}' does not exist.", group.id)?;
            return Ok(false);
        }
        "Empty" => format!("\nConsumer group '{}' has no active members.", group.id),
        "PreparingRebalance" | "CompletingRebalance" | "Assigning" | "Reconciling" => {
            format!("\nWarning: Consumer group '{}' is rebalancing.", group.id)
        }
        _ => String::new(),
    };
    if !note.is_empty() {
        out.flush()?;
        eprintln!("{note}");
    }
    Ok(rows > 0)
}

/// A partition of the group, with the member that has it.
struct Row<'g> {
    partition: Option<Partition>,
    committed: Option<Committed>,
    end: Option<i64>,
    member: Option<&'g Member>,
}

async fn offsets<'g>(session: &Session, group: &'g Group) -> Result<Vec<Row<'g>>, Failure> {
    let committed = committed(session, &group.id).await?;
    let assigned: BTreeSet<&Partition> = group.members.iter().flat_map(|m| &m.assignment).collect();
    let all: BTreeSet<&Partition> = assigned.iter().copied().chain(committed.keys()).collect();
    let topics: BTreeSet<&str> = all.iter().map(|(topic, _)| topic.as_str()).collect();
    let leaders = partitions(session, &topics.into_iter().collect::<Vec<_>>()).await?;
    let ends = list_offsets(session, &leaders, all.into_iter().map(|p| (p.clone(), LATEST))).await?;
    let row = |partition: &Partition, member: Option<&'g Member>| Row {
        partition: Some(partition.clone()),
        committed: committed.get(partition).copied(),
        end: ends.get(partition).and_then(|r| r.as_ref().ok()).copied(),
        member,
    };
    let mut members: Vec<&Member> = group.members.iter().filter(|m| !m.assignment.is_empty()).collect();
    members.sort_by_key(|m| std::cmp::Reverse(m.assignment.len()));
    let mut rows = Vec::new();
    for member in members {
        let mut own: Vec<&Partition> = member.assignment.iter().collect();
        own.sort();
        rows.extend(own.into_iter().map(|p| row(p, Some(member))));
    }
    rows.extend(committed.keys().filter(|p| !assigned.contains(p)).map(|p| row(p, None)));
    Ok(rows)
}

fn lag(out: &mut Out, group: &Group, rows: &[Row<'_>], verbose: bool) -> Result<(), Failure> {
    if !announce(out, group, rows.len())? {
        return Ok(());
    }
    let width = |f: &dyn Fn(&Row<'_>) -> usize| rows.iter().map(f).fold(15, usize::max);
    let count = |text: &str| text.chars().count();
    let group_width = count(&group.id).max(15);
    let topic_width = width(&|r| r.partition.as_ref().map_or(1, |p| count(&p.0)));
    let id_width = width(&|r| r.member.map_or(1, |m| count(&m.id)));
    let host_width = width(&|r| r.member.map_or(1, |m| count(&m.host)));
    let mut line = |cells: [&str; 10]| {
        let [group, topic, partition, epoch, current, end, lag, id, host, client] = cells;
        write!(out, "\n{group:<group_width$} {topic:<topic_width$} {partition:<10} ")?;
        if verbose {
            write!(out, "{epoch:<15} ")?;
        }
        write!(out, "{current:<15} {end:<15} {lag:<15} {id:<id_width$} {host:<host_width$} {client}")
    };
    line([
        "GROUP",
        "TOPIC",
        "PARTITION",
        "LEADER-EPOCH",
        "CURRENT-OFFSET",
        "LOG-END-OFFSET",
        "LAG",
        "CONSUMER-ID",
        "HOST",
        "CLIENT-ID",
    ])?;
    for row in rows {
        let current = row.committed.map(|c| c.offset);
        let lag = row.end.zip(current).map(|(end, current)| end - current);
        let epoch = row.committed.and_then(|c| c.leader_epoch);
        line([
            &group.id,
            row.partition.as_ref().map_or(MISSING, |p| &p.0),
            &row.partition.as_ref().map_or(MISSING.to_owned(), |p| p.1.to_string()),
            &number(epoch),
            &number(current),
            &number(row.end),
            &number(lag),
            row.member.map_or(MISSING, |m| &m.id),
            row.member.map_or(MISSING, |m| &m.host),
            row.member.map_or(MISSING, |m| &m.client),
        ])?;
    }
    Ok(writeln!(out)?)
}

/// `topic:0,1;other:2`, or what stands for nothing.
pub fn assignment_text(assignment: &[Partition], nothing: &str) -> String {
    let mut topics: BTreeMap<&str, BTreeSet<i32>> = BTreeMap::new();
    for (topic, partition) in assignment {
        topics.entry(topic).or_default().insert(*partition);
    }
    if topics.is_empty() {
        return nothing.to_owned();
    }
    let texts: Vec<String> =
        topics.into_iter().map(|(topic, partitions)| format!("{topic}:{}", commas(partitions))).collect();
    texts.join(";")
}

fn members(out: &mut Out, group: &Group, verbose: bool) -> Result<(), Failure> {
    announce(out, group, group.members.len())?;
    let all = &group.members;
    let width = |least: usize, f: &dyn Fn(&Member) -> usize| all.iter().map(f).fold(least, usize::max);
    let count = |text: &str| text.chars().count();
    let widths = [
        count(&group.id).max(15),
        width(15, &|m| count(&m.id)),
        width(17, &|m| count(&m.instance)),
        width(15, &|m| count(&m.host)),
        width(15, &|m| count(&m.client)),
        width(20, &|m| count(&assignment_text(&m.assignment, MISSING))),
        width(20, &|m| count(&assignment_text(&m.target, MISSING))),
    ];
    let with_instance = all.iter().any(|m| !m.instance.is_empty());
    let mixed = all.iter().any(|m| m.upgraded == Some(false)) && all.iter().any(|m| m.upgraded == Some(true));
    let mut line = |cells: [&str; 11]| {
        let [group, id, instance, host, client, partitions, epoch, current, target_epoch, target, upgraded] = cells;
        let [group_w, id_w, instance_w, host_w, client_w, current_w, target_w] = widths;
        write!(out, "{group:<group_w$} {id:<id_w$} ")?;
        if with_instance {
            write!(out, "{instance:<instance_w$} ")?;
        }
        write!(out, "{host:<host_w$} {client:<client_w$} {partitions:<15} ")?;
        if verbose {
            write!(out, "{epoch:<15} {current:<current_w$} {target_epoch:<15} {target:<target_w$}")?;
            if mixed {
                write!(out, " {upgraded}")?;
            }
        }
        writeln!(out)
    };
    let header = [
        "\nGROUP",
        "CONSUMER-ID",
        "GROUP-INSTANCE-ID",
        "HOST",
        "CLIENT-ID",
        "#PARTITIONS",
        "CURRENT-EPOCH",
        "CURRENT-ASSIGNMENT",
        "TARGET-EPOCH",
        "TARGET-ASSIGNMENT",
        "UPGRADED",
    ];
    // The line feed before the header is no letter of its column.
    let padded = format!("\n{:<width$}", "GROUP", width = widths[0]);
    let mut first = header;
    first[0] = &padded;
    line(first)?;
    for member in all {
        line([
            &group.id,
            &member.id,
            &member.instance,
            &member.host,
            &member.client,
            &member.assignment.len().to_string(),
            &number(member.epoch),
            &assignment_text(&member.assignment, MISSING),
            &number(group.assignment_epoch),
            &assignment_text(&member.target, MISSING),
            member.upgraded.map_or(MISSING, |u| if u { "true" } else { "false" }),
        ])?;
    }
    Ok(())
}

fn state(out: &mut Out, group: &Group, verbose: bool) -> Result<(), Failure> {
    if !announce(out, group, 1)? {
        return Ok(());
    }
    let coordinator = format!("{}  ({})", group.coordinator.1, group.coordinator.0);
    let coordinator_width = coordinator.chars().count().max(25);
    let group_width = group.id.chars().count().max(15);
    let assignor = if group.assignor.is_empty() { MISSING } else { &group.assignor };
    let mut line = |cells: [&str; 7]| {
        let [group, coordinator, assignor, state, epoch, assignment_epoch, members] = cells;
        write!(out, "\n{group:<group_width$} {coordinator:<coordinator_width$} {assignor:<20} {state:<20} ")?;
        if verbose {
            write!(out, "{epoch:<15} {assignment_epoch:<25} ")?;
        }
        write!(out, "{members}")
    };
    line([
        "GROUP",
        "COORDINATOR (ID)",
        "ASSIGNMENT-STRATEGY",
        "STATE",
        "GROUP-EPOCH",
        "TARGET-ASSIGNMENT-EPOCH",
        "#MEMBERS",
    ])?;
    line([
        &group.id,
        &coordinator,
        assignor,
        &group.state,
        &number(group.epoch),
        &number(group.assignment_epoch),
        &group.members.len().to_string(),
    ])?;
    Ok(writeln!(out)?)
}
