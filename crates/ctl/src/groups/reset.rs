//! `logrun groups reset`: moves where a group goes on. Never one with active members; never before it was shown what
//! changes: to which date, how many records are read again or skipped.

use std::collections::{BTreeMap, BTreeSet};

use clap::{ArgGroup, Args};
use logrun_client::admin::{OffsetAndMetadata, OffsetSpec};
use logrun_client::{ErrorCode, Str, TopicPartition};
use logrun_config::IsolationLevel;
use logrun_tools::plan;

use super::is_free;
use crate::Failure;
use crate::ask::confirm;
use crate::names::count;
use crate::output::{Cell, Column, Format, Screen, Table, Tone};
use crate::session::{Session, about, explain};
use crate::time::{point_ms, span_ms, stamp};

/// Where to.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("to").required(true).multiple(false))]
pub struct ResetArgs {
    /// The group
    group: String,
    /// Only this topic, or some of its partitions (orders:0,2); may come several times [default: all that it has
    /// committed offsets of]
    #[arg(long, value_name = "TOPIC")]
    topic: Vec<String>,
    /// To the first record there is
    #[arg(long, group = "to")]
    to_earliest: bool,
    /// To what comes from now on
    #[arg(long, group = "to")]
    to_latest: bool,
    /// Stay where it is (with --csv: for moving it back later)
    #[arg(long, group = "to")]
    to_current: bool,
    /// To this offset
    #[arg(long, group = "to", value_name = "OFFSET")]
    to_offset: Option<i64>,
    /// To the first record since then: 2026-11-21T08:00, yesterday, 2h
    #[arg(long, group = "to", value_name = "TIME", visible_alias = "to-datetime")]
    to_time: Option<String>,
    /// To the first record since so long ago: 2h, P1D
    #[arg(long, group = "to", value_name = "DURATION", aliases = ["by-duration", "by-period"])]
    ago: Option<String>,
    /// So many records later, or earlier if negative
    #[arg(long, group = "to", value_name = "N", allow_hyphen_values = true)]
    shift_by: Option<i64>,
    /// To what a file of lines topic,partition,offset says
    #[arg(long, group = "to", value_name = "FILE")]
    from_file: Option<String>,
    /// Only print the plan, as lines for --from-file
    #[arg(long)]
    csv: bool,
    /// Only show what would change
    #[arg(long)]
    dry_run: bool,
    /// Don't ask
    #[arg(long, short)]
    yes: bool,
}

/// A partition's way.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Move {
    partition: TopicPartition,
    from: Option<i64>,
    to: i64,
    /// When the first record there was written; none at the end.
    time: Option<i64>,
}

impl Move {
    fn effect(&self) -> Cell {
        match self.from.map(|from| self.to - from) {
            None => Cell::from("nothing was committed"),
            Some(0) => Cell::from("stays").tone(Tone::Dim),
            Some(n) if n < 0 => Cell::from(format!("{} read again", count(-n, "record"))).tone(Tone::Warn),
            Some(n) => Cell::from(format!("{} skipped", count(n, "record"))).tone(Tone::Bad),
        }
    }
}

/// Runs it.
///
/// # Errors
/// The group is in use, a partition isn't there, or nobody answers.
pub async fn reset(screen: &mut Screen, session: &Session, args: &ResetArgs) -> Result<(), Failure> {
    let group = Str::from(&args.group);
    let mut described = session.admin.describe_consumer_groups(std::slice::from_ref(&group), false).await;
    match described.remove(&group) {
        Some(Ok(description)) => is_free(&description, "moved")?,
        // A group may be given offsets before it is first used, if they are named.
        Some(Err(e)) if e.code() == Some(ErrorCode::GroupIdNotFound) && !args.topic.is_empty() => {}
        Some(Err(e)) if e.code() == Some(ErrorCode::GroupIdNotFound) => {
            return Err(session.no_group(&args.group).await);
        }
        Some(Err(e)) => return Err(about(&format!("group {group}"), &e)),
        None => return Err(session.no_group(&args.group).await),
    }
    let moves = plan(session, args, &group).await?;
    if args.csv {
        let offsets = moves.iter().map(|m| ((m.partition.topic.to_string(), m.partition.partition), m.to)).collect();
        return screen.raw(plan::to_csv(&BTreeMap::from([(args.group.clone(), offsets)]), true).as_bytes());
    }
    let changes: BTreeMap<TopicPartition, OffsetAndMetadata> = moves
        .iter()
        .filter(|m| m.from != Some(m.to))
        .map(|m| (m.partition.clone(), OffsetAndMetadata::of(m.to)))
        .collect();
    if screen.format == Format::Table || args.dry_run {
        screen.table(&table(&moves))?;
        screen.flush()?;
    }
    if changes.is_empty() {
        return screen.remark("nothing changes");
    }
    if args.dry_run {
        return screen.remark(&format!("{} (--dry-run: nothing was changed)", summary(&moves)));
    }
    if screen.format == Format::Table {
        screen.remark(&summary(&moves))?;
    }
    confirm(&format!("Move group {group}?"), args.yes)?;
    let results = session.admin.alter_group_offsets(&group, &changes).await.map_err(|e| explain(&e))?;
    for (tp, result) in results {
        result.map_err(|e| about(&format!("{tp}"), &e))?;
    }
    match screen.format {
        Format::Table => screen.done(&format!("group {group} goes on there"), &[]),
        _ => screen.table(&table(&moves)),
    }
}

fn table(moves: &[Move]) -> Table {
    let mut table = Table::new([
        Column::long("topic"),
        Column::number("partition"),
        Column::number("from"),
        Column::number("to"),
        Column::text("record_time"),
        Column::text("effect"),
    ]);
    for m in moves {
        let time = m.time.map_or_else(|| Cell::shown(serde_json::Value::Null, "the end"), |ms| stamp(ms).into());
        table.push(vec![
            Cell::from(&m.partition.topic).tone(Tone::Name),
            m.partition.partition.into(),
            m.from.into(),
            m.to.into(),
            time,
            m.effect(),
        ]);
    }
    table
}

fn summary(moves: &[Move]) -> String {
    let sum = |fits: fn(i64) -> bool| -> i64 {
        let by = moves.iter().filter_map(|m| Some(m.to - m.from?));
        by.filter(|n| fits(*n)).map(i64::abs).sum()
    };
    let again = sum(|n| n < 0);
    let skipped = sum(|n| n > 0);
    let mut parts = Vec::new();
    if again > 0 {
        parts.push(format!("{} will be read again", count(again, "record")));
    }
    if skipped > 0 {
        parts.push(format!("{} will be skipped", count(skipped, "record")));
    }
    if parts.is_empty() {
        parts.push("offsets will be committed where there were none".to_owned());
    }
    parts.join(", ")
}

/// The partitions that are meant, and where each of them goes.
async fn plan(session: &Session, args: &ResetArgs, group: &Str) -> Result<Vec<Move>, Failure> {
    let committed = session.admin.list_group_offsets(group, None, false).await.map_err(|e| explain(&e))?;
    let committed: BTreeMap<TopicPartition, i64> =
        committed.into_iter().filter_map(|(tp, o)| Some((tp, o.ok()??.offset))).collect();
    let file = match &args.from_file {
        Some(path) => Some(of_file(path, &args.group)?),
        None => None,
    };
    let scope: BTreeSet<TopicPartition> = match &file {
        Some(offsets) => offsets.keys().cloned().collect(),
        None if args.topic.is_empty() => committed.keys().cloned().collect(),
        None => named(session, &args.topic).await?,
    };
    if scope.is_empty() {
        return Err(Failure::usage(format!("group {group} has committed nothing: name a topic with --topic")));
    }
    all_there(session, &scope).await?;
    let at = Offsets { session };
    let (starts, ends) = (at.of(&scope, OffsetSpec::Earliest).await?, at.of(&scope, OffsetSpec::Latest).await?);
    let now = session.now_ms();
    let time = match (&args.to_time, &args.ago) {
        (Some(text), _) => Some(point_ms(text, now).map_err(Failure::usage)?),
        (_, Some(text)) => Some(now.saturating_sub(span_ms(text).map_err(Failure::usage)?)),
        _ => None,
    };
    let since = match time {
        Some(ms) => at.of(&scope, OffsetSpec::Timestamp(ms)).await?,
        None => BTreeMap::new(),
    };
    let mut moves = Vec::new();
    for tp in scope {
        let known = |offsets: &BTreeMap<TopicPartition, Option<i64>>| offsets.get(&tp).copied().flatten();
        let (start, end) = (known(&starts).unwrap_or(0), known(&ends).unwrap_or(0));
        let from = committed.get(&tp).copied();
        let wanted = if args.to_earliest {
            start
        } else if args.to_latest {
            end
        } else if args.to_current {
            from.unwrap_or(end)
        } else if let Some(offset) = args.to_offset {
            offset
        } else if let Some(by) = args.shift_by {
            let from = from.ok_or_else(|| {
                Failure::usage(format!("--shift-by needs a committed offset, and {tp} has none in group {group}"))
            })?;
            from.saturating_add(by)
        } else if let Some(offsets) = &file {
            offsets.get(&tp).copied().unwrap_or(end)
        } else {
            // No record is that young: what comes from now on.
            known(&since).unwrap_or(end)
        };
        let to = wanted.clamp(start, end.max(start));
        if to != wanted {
            eprintln!("logrun: {tp} has offsets {start} to {end}: {wanted} becomes {to}");
        }
        moves.push(Move { partition: tp, from, to, time: None });
    }
    let targets = moves.iter().map(|m| (m.partition.clone(), m.to)).collect();
    let times = session.admin.record_times(&targets).await;
    for m in &mut moves {
        // A date that can't be had is not shown; the plan stands without it.
        m.time = times.get(&m.partition).and_then(|t| t.as_ref().ok()).copied().flatten();
    }
    Ok(moves)
}

fn of_file(path: &str, group: &str) -> Result<BTreeMap<TopicPartition, i64>, Failure> {
    let text = std::fs::read_to_string(path).map_err(|e| Failure::new(format!("can't read {path}: {e}")))?;
    let mut plan = plan::of_csv(&text, Some(group)).map_err(|e| Failure::usage(format!("{path}: {e}")))?;
    let offsets = plan.remove(group).ok_or_else(|| Failure::usage(format!("{path} says nothing of group {group}")))?;
    Ok(offsets.into_iter().map(|((topic, p), offset)| (TopicPartition::new(topic, p), offset)).collect())
}

/// The partitions of `--topic`: of whole topics, or `topic:0,1`.
async fn named(session: &Session, arguments: &[String]) -> Result<BTreeSet<TopicPartition>, Failure> {
    let (some, whole): (Vec<String>, Vec<String>) = arguments.iter().cloned().partition(|a| a.contains(':'));
    let mut found = BTreeSet::new();
    for topic in session.topics(&whole).await? {
        found.extend(topic.partitions.iter().map(|p| TopicPartition::new(topic.name.clone(), p.partition)));
    }
    for argument in some {
        let partitions = plan::partitions_of(&argument).map_err(|e| Failure::usage(e.to_string()))?;
        found.extend(partitions.into_iter().map(|(topic, p)| TopicPartition::new(topic, p)));
    }
    Ok(found)
}

async fn all_there(session: &Session, scope: &BTreeSet<TopicPartition>) -> Result<(), Failure> {
    let names: BTreeSet<String> = scope.iter().map(|tp| tp.topic.to_string()).collect();
    let topics = session.topics(&names.into_iter().collect::<Vec<_>>()).await?;
    for tp in scope {
        let topic = topics.iter().find(|t| t.name == tp.topic);
        match topic.and_then(|t| t.partitions.iter().find(|p| p.partition == tp.partition)) {
            None => {
                let n = topic.map_or(0, |t| t.partitions.len());
                return Err(Failure::usage(format!(
                    "topic {} has partitions 0 to {}, not {}",
                    tp.topic,
                    n.max(1) - 1,
                    tp.partition
                )));
            }
            Some(p) if p.leader.is_none() => {
                return Err(Failure::new(format!("{tp} has no leader now: its offsets can't be looked up")));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

struct Offsets<'a> {
    session: &'a Session,
}

impl Offsets<'_> {
    async fn of(
        &self,
        scope: &BTreeSet<TopicPartition>,
        spec: OffsetSpec,
    ) -> Result<BTreeMap<TopicPartition, Option<i64>>, Failure> {
        let specs = scope.iter().map(|tp| (tp.clone(), spec)).collect();
        let listed = self.session.admin.list_offsets(&specs, IsolationLevel::ReadUncommitted).await;
        listed.into_iter().map(|(tp, found)| Ok((tp, found.map_err(|e| explain(&e))?.offset))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(from: Option<i64>, to: i64, time: Option<i64>) -> Move {
        Move { partition: TopicPartition::new("orders", 0), from, to, time }
    }

    #[test]
    fn the_plan_says_what_changes() {
        let moves = [
            moved(Some(100), 40, Some(1_709_209_815_250)),
            moved(Some(1), 2, None),
            moved(Some(7), 7, Some(0)),
            moved(None, 3, Some(0)),
        ];
        insta::assert_snapshot!("reset_plan", table(&moves).text(crate::output::Paint::new(false), None));
        assert_eq!(summary(&moves), "60 records will be read again, 1 record will be skipped");
        assert_eq!(summary(&moves[3..]), "offsets will be committed where there were none");
    }
}
