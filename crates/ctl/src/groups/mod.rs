//! `logrun groups`: list, describe with lag, move offsets, delete.

pub mod lag;
mod reset;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use logrun_client::admin::{GroupDescription, GroupListing};
use logrun_client::{ErrorCode, Str};

use crate::Failure;
use crate::args::Common;
use crate::ask::confirm;
use crate::names::{Pattern, count};
use crate::output::{Cell, Column, Format, Screen, Table, Tone};
use crate::session::{Session, about, block_on, explain};
use crate::time::span;

const EXAMPLES: &str = "\
Examples:
  logrun groups                              all of them, with state
  logrun groups list --long                  with members and lag
  logrun groups describe billing             lag of each partition; members
  logrun groups reset billing --to-earliest  shows what would change, then asks
  logrun groups reset billing --topic orders --to-time 2026-11-21T08:00 --yes
  logrun groups reset billing --ago 2h --dry-run
  logrun groups delete billing";

/// What to do with groups.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct GroupsArgs {
    #[command(subcommand)]
    command: Option<GroupsCommand>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum GroupsCommand {
    /// List groups; this is what `logrun groups` alone does
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Show a group's partitions with lag in records and seconds, and its members
    Describe {
        /// Groups
        #[arg(required = true, value_name = "GROUP")]
        groups: Vec<String>,
    },
    /// Move where a group goes on reading; shows first what would change
    Reset(reset::ResetArgs),
    /// Delete groups with their offsets
    #[command(visible_alias = "rm")]
    Delete {
        /// Groups
        #[arg(required = true, value_name = "GROUP")]
        groups: Vec<String>,
        /// Don't ask
        #[arg(long, short)]
        yes: bool,
    },
}

#[derive(Args, Debug, Default)]
struct ListArgs {
    /// Only those with this in their name, or that fit a pattern with * and ?
    pattern: Option<String>,
    /// Members and lag too
    #[arg(long, short)]
    long: bool,
}

/// Runs it.
///
/// # Errors
/// A sentence.
pub fn run(args: &GroupsArgs) -> Result<ExitCode, Failure> {
    let mut screen = Screen::new(&args.common.output);
    let screen = &mut screen;
    block_on(async {
        let session = Session::open(&args.common).await?;
        match args.command.as_ref().unwrap_or(&GroupsCommand::List(ListArgs::default())) {
            GroupsCommand::List(args) => list(screen, &session, args).await?,
            GroupsCommand::Describe { groups } => describe(screen, &session, groups).await?,
            GroupsCommand::Reset(args) => reset::reset(screen, &session, args).await?,
            GroupsCommand::Delete { groups, yes } => delete(screen, &session, groups, *yes).await?,
        }
        screen.flush()?;
        Ok(ExitCode::SUCCESS)
    })
}

/// All groups. A broker that can't be asked is said on the side.
pub async fn listed(session: &Session) -> Result<Vec<GroupListing>, Failure> {
    let (groups, errors) = session.admin.list_groups(&[], &[]).await.map_err(|e| explain(&e))?;
    match errors.first() {
        Some(e) if groups.is_empty() => Err(explain(e)),
        Some(e) => {
            eprintln!("logrun: not all brokers answered: {}", explain(e).sentence);
            Ok(groups)
        }
        None => Ok(groups),
    }
}

fn state(name: &str) -> Cell {
    let tone = match name {
        "Stable" => Tone::Good,
        "Empty" => Tone::Dim,
        "Dead" => Tone::Bad,
        _ => Tone::Warn,
    };
    Cell::from(name).tone(tone)
}

async fn list(screen: &mut Screen, session: &Session, args: &ListArgs) -> Result<(), Failure> {
    let pattern = Pattern::new(args.pattern.as_deref())?;
    let groups: Vec<GroupListing> = listed(session).await?.into_iter().filter(|g| pattern.fits(&g.group_id)).collect();
    if groups.is_empty() && screen.format == Format::Table {
        let none = if args.pattern.is_some() { "no group fits" } else { "no groups yet: they begin with a consumer" };
        return screen.remark(none);
    }
    let mut columns = vec![
        Column::long("group"),
        Column::text("state"),
        Column::text("type"),
        Column::hidden("protocol_type"),
        Column::number("coordinator"),
    ];
    if args.long {
        columns.extend([
            Column::number("members"),
            Column::number("partitions"),
            Column::number("lag"),
            behind_column(),
        ]);
    }
    let mut table = Table::new(columns);
    for group in &groups {
        let mut row = vec![
            Cell::from(&group.group_id).tone(Tone::Name),
            group.state.as_ref().map_or_else(Cell::default, |s| state(s)),
            group.kind.map(|k| k.name().to_owned()).into(),
            Cell::from(&group.protocol_type),
            group.coordinator.get().into(),
        ];
        if args.long {
            row.extend(match described(session, &group.group_id).await {
                Ok(group) => {
                    let lags = lag::of(session, &group, true).await?;
                    let total = lag::Total::of(&lags);
                    [group.members.len().into(), lags.len().into(), lag_cell(total.records), behind(total.behind_ms)]
                }
                // Of another kind, or gone meanwhile.
                Err(_) => [Cell::default(), Cell::default(), Cell::default(), Cell::default()],
            });
        }
        table.push(row);
    }
    screen.table(&table)
}

/// A group of consumers.
///
/// # Errors
/// There is none of that name, or it is of another kind.
pub async fn described(session: &Session, name: &str) -> Result<GroupDescription, Failure> {
    let id = Str::from(name);
    let mut groups = session.admin.describe_consumer_groups(std::slice::from_ref(&id), false).await;
    match groups.remove(&id) {
        Some(Ok(group)) if group.state == "Dead" => Err(missing(session, name).await),
        Some(Ok(group)) => Ok(group),
        Some(Err(e)) if e.code() == Some(ErrorCode::GroupIdNotFound) => Err(missing(session, name).await),
        Some(Err(e)) => Err(about(&format!("group {name}"), &e)),
        None => Err(missing(session, name).await),
    }
}

async fn missing(session: &Session, name: &str) -> Failure {
    let groups = session.admin.list_groups(&[], &[]).await.map(|(groups, _)| groups).unwrap_or_default();
    match groups.iter().find(|g| g.group_id == name).and_then(|g| g.kind) {
        Some(kind) => {
            let kind = kind.name().to_lowercase();
            Failure::new(format!(
                "{name} is a {kind} group, not one of consumers: `logrun kafka-{kind}-groups` knows them"
            ))
        }
        None => session.no_group(name).await,
    }
}

fn behind_column() -> Column {
    Column::number("behind_ms")
}

/// Lag in records.
pub fn lag_cell(records: Option<i64>) -> Cell {
    Cell::from(records).tone(if records.is_some_and(|n| n > 0) { Tone::Warn } else { Tone::Plain })
}

/// Lag in time.
pub fn behind(ms: Option<i64>) -> Cell {
    match ms {
        Some(ms) => Cell::shown(ms, span(ms)),
        None => Cell::default(),
    }
}

async fn describe(screen: &mut Screen, session: &Session, names: &[String]) -> Result<(), Failure> {
    for name in names {
        let group = described(session, name).await?;
        let lags = lag::of(session, &group, true).await?;
        let total = lag::Total::of(&lags);
        let broker = group.coordinator.and_then(|id| session.client.cluster().brokers.get(&id).cloned());
        let coordinator = match &broker {
            Some(b) => Cell::shown(b.id.get(), format!("{} ({}:{})", b.id, b.host, b.port)),
            None => group.coordinator.map(|id| id.get()).into(),
        };
        let fields = [
            ("group", Cell::from(&group.group_id).tone(Tone::Strong)),
            ("state", state(&group.state)),
            ("type", group.kind.name().into()),
            ("assignor", Some(group.assignor.to_string()).filter(|a| !a.is_empty()).into()),
            ("coordinator", coordinator),
            ("members", group.members.len().into()),
            ("lag", lag_cell(total.records)),
            ("behind_ms", behind(total.behind_ms)),
        ];
        screen.sheet(&fields, &[("partitions", &partitions(&group, &lags)), ("group_members", &members(&group))])?;
        if group.members.is_empty() {
            screen.remark(&format!("group {name} has no active members"))?;
        }
    }
    Ok(())
}

fn partitions(group: &GroupDescription, lags: &[lag::Lag]) -> Table {
    let mut table = Table::new([
        Column::long("topic"),
        Column::number("partition"),
        Column::number("committed"),
        Column::number("end"),
        Column::number("lag"),
        behind_column(),
        Column::long("client"),
        Column::text("host"),
        Column::hidden("member"),
    ]);
    for lag in lags {
        let member = lag.member.and_then(|m| group.members.get(m));
        table.push(vec![
            Cell::from(&lag.partition.topic).tone(Tone::Name),
            lag.partition.partition.into(),
            lag.committed.into(),
            lag.end.into(),
            lag_cell(lag.records),
            behind(lag.behind_ms),
            member.map(|m| m.client_id.to_string()).into(),
            member.map(|m| m.client_host.trim_start_matches('/').to_owned()).into(),
            member.map(|m| m.member_id.to_string()).into(),
        ]);
    }
    table
}

/// Members that have no partition are told nowhere else.
fn members(group: &GroupDescription) -> Table {
    let mut table = Table::new([
        Column::long("idle_member"),
        Column::text("host"),
        Column::long("id"),
        Column::hidden("instance_id"),
    ]);
    for member in group.members.iter().filter(|m| m.assignment.is_empty()) {
        table.push(vec![
            Cell::from(&member.client_id),
            member.client_host.trim_start_matches('/').into(),
            Cell::from(&member.member_id),
            member.instance_id.as_ref().map(ToString::to_string).into(),
        ]);
    }
    table
}

/// Fails if a group is in use, and says by whom.
fn is_free(group: &GroupDescription, what: &str) -> Result<(), Failure> {
    if group.members.is_empty() {
        return Ok(());
    }
    let mut sentence = format!(
        "group {} can't be {what} while it has {}; stop them first:",
        group.group_id,
        count(i64::try_from(group.members.len()).unwrap_or(i64::MAX), "active member")
    );
    for member in &group.members {
        let partitions: Vec<String> = member.assignment.iter().map(ToString::to_string).collect();
        let has = if partitions.is_empty() { "no partition".to_owned() } else { partitions.join(", ") };
        let host = member.client_host.trim_start_matches('/');
        sentence.push_str(&format!("\n  {} at {host} ({}): {has}", member.client_id, member.member_id));
    }
    Err(Failure::new(sentence))
}

async fn delete(screen: &mut Screen, session: &Session, names: &[String], yes: bool) -> Result<(), Failure> {
    let mut what = Vec::new();
    for name in names {
        let group = described(session, name).await?;
        is_free(&group, "deleted")?;
        what.push(name.as_str());
    }
    confirm(&format!("Delete {} with all committed offsets?", what.join(", ")), yes)?;
    let ids: Vec<Str> = names.iter().map(Str::from).collect();
    let mut failed = Vec::new();
    for (name, result) in session.admin.delete_groups(&ids).await {
        match result {
            Ok(()) => {
                screen.done(&format!("group {name} deleted"), &[("group", (&name).into()), ("deleted", true.into())])?
            }
            Err(e) => failed.push(about(&format!("group {name}"), &e)),
        }
    }
    screen.flush()?;
    match failed.into_iter().next() {
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}
