//! `kafka-consumer-groups --reset-offsets`: moves where groups go on, with care.
//!
//! Never a group with active members, and it says which they are. On a terminal it shows first what would change: from
//! where to where, the date of the record there, how many records are read again or skipped.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal, Write};

use logrun_client::admin::GroupKind;
use logrun_client::{Admin, TopicPartition};

use super::lookup::{Committed, Group, commit, committed, describe};
use super::plan::{Plan, bounded, of_csv, partitions_of, to_csv};
use super::streams;
use crate::Out;
use crate::cluster::{EARLIEST, LATEST, Partition, Topics, list_groups, list_offsets, partitions};
use crate::datetime::{self, Civil};
use crate::failure::Failure;
use crate::files;
use crate::options::Given;
use crate::session::{Session, failure};
use crate::text::topic_partition;

/// Which tool it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Consumer,
    Streams,
}

impl Kind {
    /// What it calls a topic, and all of them.
    fn options(self) -> (&'static str, &'static str) {
        match self {
            Self::Consumer => ("topic", "all-topics"),
            Self::Streams => ("input-topic", "all-input-topics"),
        }
    }
}

/// Runs it for these groups. Where each goes on; nowhere if it was refused.
///
/// # Errors
/// What the command line asks can't be done, or nobody answers.
pub async fn reset(
    given: &Given<'_>,
    out: &mut Out,
    session: &Session,
    groups: &[String],
    kind: Kind,
) -> Result<Plan, Failure> {
    let execute = given.has("execute") && !given.has("dry-run");
    if !given.has("execute") && !given.has("dry-run") {
        eprintln!(
            "WARN: No action will be performed as the --execute option is missing. \
             Say --dry-run to keep it so, or --execute to do it: Apache Kafka 5.0 will want one of them."
        );
    }
    if given.has("by-period") {
        eprintln!("--by-period is taken as --by-duration, Kafka's name for it.");
    }
    let one_group = groups.len() == 1 && !given.has("all-groups");
    let file = match given.value("from-file")? {
        Some(path) => Some(of_csv(&files::text(path)?, groups.first().filter(|_| one_group).map(String::as_str))?),
        None => None,
    };
    let mut plan = Plan::new();
    for group in groups {
        let offsets = match inactive(out, session, group, kind).await? {
            true => offsets_of(given, out, session, group, file.as_ref(), kind).await?,
            false => BTreeMap::new(),
        };
        if std::io::stdout().is_terminal() && !offsets.is_empty() && !given.has("export") {
            preview(out, session, group, &offsets).await?;
        }
        if execute && !offsets.is_empty() {
            commit(session, group, &offsets).await?;
        }
        plan.insert(group.clone(), offsets);
    }
    if given.has("export") {
        writeln!(out, "{}", to_csv(&plan, one_group))?;
    } else {
        table(out, &plan, if kind == Kind::Streams { STREAMS_WIDTHS } else { WIDTHS })?;
    }
    Ok(plan)
}

/// The least widths of the columns of groups, of topics, and of new offsets.
pub const WIDTHS: [usize; 3] = [15, 15, 0];
const STREAMS_WIDTHS: [usize; 3] = [30, 30, 15];

/// Prints where groups shall go on, as Kafka does.
///
/// # Errors
/// Nobody reads it.
pub fn table(out: &mut Out, plan: &Plan, least: [usize; 3]) -> Result<(), Failure> {
    let count = |text: &str| text.chars().count();
    let group_width = plan.keys().map(|g| count(g)).fold(least[0], usize::max);
    let topic_width = plan.values().flat_map(BTreeMap::keys).map(|(t, _)| count(t)).fold(least[1], usize::max);
    let width = least[2];
    if !plan.is_empty() {
        let [group, topic, offset] = ["GROUP", "TOPIC", "NEW-OFFSET"];
        write!(out, "\n{group:<group_width$} {topic:<topic_width$} {:<10} {offset:<width$}", "PARTITION")?;
    }
    for (group, offsets) in plan {
        for ((topic, partition), offset) in offsets {
            write!(out, "\n{group:<group_width$} {topic:<topic_width$} {partition:<10} {offset:<width$}")?;
        }
    }
    Ok(writeln!(out)?)
}

/// Whether the group may be moved: it has no active members, or isn't there yet.
async fn inactive(out: &mut Out, session: &Session, name: &str, kind: Kind) -> Result<bool, Failure> {
    let described = match kind {
        Kind::Consumer => describe(session, name).await,
        Kind::Streams => streams::described(session, name).await.map(|group| Group::of(session, group)),
    };
    let group = match described {
        Ok(group) => group,
        Err(failure) if failure.message().contains("GroupIdNotFoundException") => {
            if kind == Kind::Streams {
                return Ok(true);
            }
            let groups = list_groups(session, &[], &[]).await?;
            if groups.iter().any(|g| &*g.group_id == name && g.kind == Some(GroupKind::Streams)) {
                writeln!(
                    out,
                    "\nError: Group '{name}' is a streams group. Use kafka-streams-groups.sh to reset its offsets."
                )?;
                return Ok(false);
            }
            return Ok(true);
        }
        Err(failure) => return Err(failure),
    };
    if matches!(&*group.state, "Empty" | "Dead") {
        return Ok(true);
    }
    writeln!(
        out,
        "\nError: Assignments can only be reset if the group '{name}' is inactive, but the current state is {}.",
        group.state
    )?;
    out.flush()?;
    if !group.members.is_empty() {
        eprintln!("Its active members, which have to be stopped first:");
    }
    for member in &group.members {
        let host = member.host.trim_start_matches('/');
        let partitions: Vec<String> = member.assignment.iter().map(|(t, p)| topic_partition(t, *p)).collect();
        let has = if partitions.is_empty() { "no partition yet".to_owned() } else { partitions.join(", ") };
        eprintln!("  {} at {host} ({}): {has}", member.client, member.id);
    }
    Ok(false)
}

async fn offsets_of(
    given: &Given<'_>,
    out: &mut Out,
    session: &Session,
    group: &str,
    file: Option<&Plan>,
    kind: Kind,
) -> Result<BTreeMap<Partition, i64>, Failure> {
    let (topic, all_topics) = kind.options();
    // Of a streams group only what it has read.
    let only_its_own = kind == Kind::Streams && given.has(topic);
    let current = match only_its_own || given.has(all_topics) || given.has("shift-by") || given.has("to-current") {
        true => committed(session, group).await?,
        false => BTreeMap::new(),
    };
    let scope = if given.has(all_topics) {
        current.keys().cloned().collect()
    } else if given.has(topic) {
        let named = named_partitions(session, &given.values(topic)).await?;
        if only_its_own && named.iter().any(|partition| !current.contains_key(partition)) {
            writeln!(out, "\nError: One or more topics are not part of the group '{group}'.")?;
            return Ok(BTreeMap::new());
        }
        named
    } else {
        BTreeSet::new()
    };
    let mut wanted = BTreeMap::new();
    if let Some(plan) = file {
        match plan.get(group) {
            Some(plan) => wanted = plan.clone(),
            None => writeln!(out, "\nError: No reset plan for group {group} found.")?,
        }
    }
    let all: BTreeSet<&Partition> = scope.iter().chain(wanted.keys()).collect();
    let topics: BTreeSet<&str> = all.iter().map(|(topic, _)| topic.as_str()).collect();
    let leaders = partitions(session, &topics.into_iter().collect::<Vec<_>>()).await?;
    all_there(&scope, &leaders)?;
    let at = Asked { session, leaders: &leaders };
    if let Some(offset) = given.parsed::<i64>("to-offset")? {
        return at.within(scope.into_iter().map(|p| (p, offset)).collect()).await;
    }
    if given.has("to-earliest") {
        return at.offsets(&scope, EARLIEST).await;
    }
    if given.has("to-latest") {
        return at.offsets(&scope, LATEST).await;
    }
    if let Some(by) = given.parsed::<i64>("shift-by")? {
        return at.within(shifted(&scope, &current, by)?).await;
    }
    if let Some(text) = given.value("to-datetime")? {
        return at.since(out, &scope, datetime::parse(text).map_err(Failure::new)?).await;
    }
    if let Some(text) = given.value("by-duration")?.or(given.value("by-period")?) {
        let ms = logrun_config::duration::duration_ms(text).ok_or_else(|| {
            Failure::new(format!("'{text}' is not a duration of the form PnDTnHnMnS, e.g. P1DT12H or PT15M"))
        })?;
        let now = session.client.io().clock.wall().get();
        return at.since(out, &scope, now.saturating_sub(ms)).await;
    }
    if file.is_some() {
        return at.within(wanted).await;
    }
    // --to-current: where nothing is committed, the end.
    let (known, unknown): (BTreeSet<Partition>, BTreeSet<Partition>) =
        scope.into_iter().partition(|p| current.contains_key(p));
    let mut offsets = at.offsets(&unknown, LATEST).await?;
    offsets.extend(known.into_iter().filter_map(|p| Some((p.clone(), current.get(&p)?.offset))));
    Ok(offsets)
}

fn shifted(
    scope: &BTreeSet<Partition>,
    current: &BTreeMap<Partition, Committed>,
    by: i64,
) -> Result<BTreeMap<Partition, i64>, Failure> {
    let shift = |partition: &Partition| match current.get(partition) {
        Some(committed) => Ok((partition.clone(), committed.offset.saturating_add(by))),
        None => Err(Failure::usage(format!(
            "Cannot shift offset for partition {} since there is no current committed offset",
            topic_partition(&partition.0, partition.1)
        ))),
    };
    scope.iter().map(shift).collect()
}

/// The partitions of `--topic` arguments: whole topics, or `topic:0,1`.
///
/// # Errors
/// An argument has another form, or there is no such topic.
pub async fn named_partitions(session: &Session, arguments: &[&str]) -> Result<BTreeSet<Partition>, Failure> {
    let (some, whole): (Vec<&str>, Vec<&str>) = arguments.iter().partition(|a| a.contains(':'));
    let mut found: BTreeSet<Partition> = partitions(session, &whole).await?.0.into_keys().collect();
    for argument in some {
        found.extend(partitions_of(argument)?);
    }
    Ok(found)
}

/// All partitions must be there, with leaders.
///
/// # Errors
/// Those that aren't.
pub fn all_there(scope: &BTreeSet<Partition>, leaders: &Topics) -> Result<(), Failure> {
    let names = |fits: &dyn Fn(&Partition) -> bool| {
        let names: Vec<String> = scope.iter().filter(|p| fits(p)).map(|(t, p)| topic_partition(t, *p)).collect();
        names.join(",")
    };
    let missing = names(&|p| !leaders.0.contains_key(p));
    if !missing.is_empty() {
        return Err(Failure::new(format!("The partitions \"{missing}\" do not exist")));
    }
    let leaderless = names(&|p| leaders.0.get(p).is_some_and(|l| *l < 0));
    if !leaderless.is_empty() {
        return Err(Failure::new(format!("The partitions \"{leaderless}\" have no leader")));
    }
    Ok(())
}

/// The leaders, asked for offsets.
pub struct Asked<'a> {
    pub session: &'a Session,
    pub leaders: &'a Topics,
}

impl Asked<'_> {
    /// The offset of each partition at a time, or place.
    ///
    /// # Errors
    /// A leader refuses or doesn't answer.
    pub async fn offsets(&self, scope: &BTreeSet<Partition>, time: i64) -> Result<BTreeMap<Partition, i64>, Failure> {
        let wanted = scope.iter().map(|p| (p.clone(), time));
        let listed = list_offsets(self.session, self.leaders, wanted).await?;
        listed.into_iter().map(|(p, result)| result.map(|offset| (p, offset)).map_err(|e| failure(&e))).collect()
    }

    /// The first records since `time`; the end of partitions that have none.
    ///
    /// # Errors
    /// As [`Self::offsets`].
    pub async fn since(
        &self,
        out: &mut Out,
        scope: &BTreeSet<Partition>,
        time: i64,
    ) -> Result<BTreeMap<Partition, i64>, Failure> {
        let mut found = self.offsets(scope, time).await?;
        let none: BTreeSet<Partition> = found.iter().filter(|(_, o)| **o < 0).map(|(p, _)| p.clone()).collect();
        for (topic, partition) in &none {
            writeln!(
                out,
                "\nWarn: Partition {partition} from topic {topic} is empty. Falling back to latest known offset."
            )?;
        }
        found.extend(self.offsets(&none, LATEST).await?);
        Ok(found)
    }

    /// What is wanted, but not outside of what there is.
    ///
    /// # Errors
    /// As [`Self::offsets`].
    pub async fn within(&self, wanted: BTreeMap<Partition, i64>) -> Result<BTreeMap<Partition, i64>, Failure> {
        let scope: BTreeSet<Partition> = wanted.keys().cloned().collect();
        let (starts, ends) = tokio::try_join!(self.offsets(&scope, EARLIEST), self.offsets(&scope, LATEST))?;
        let bound = |(partition, offset): (Partition, i64)| {
            let (start, end) = (starts.get(&partition).copied(), ends.get(&partition).copied());
            let (offset, warning) = bounded(&partition, offset, start, end);
            if let Some(warning) = warning {
                eprintln!("WARN {warning}");
            }
            (partition, offset)
        };
        Ok(wanted.into_iter().map(bound).collect())
    }
}

/// Shows a person what is going to change.
async fn preview(
    out: &mut Out,
    session: &Session,
    group: &str,
    offsets: &BTreeMap<Partition, i64>,
) -> Result<(), Failure> {
    let current = committed(session, group).await?;
    let named = |(topic, partition): &Partition| TopicPartition::new(topic.as_str(), *partition);
    let wanted = offsets.iter().map(|(partition, offset)| (named(partition), *offset)).collect();
    let times = Admin::of(session.client.clone()).record_times(&wanted).await;
    writeln!(out, "\nGroup {group}:")?;
    for (partition, new) in offsets {
        let name = topic_partition(&partition.0, partition.1);
        let date = match times.get(&named(partition)) {
            Some(found) => found.clone().map_err(|e| failure(&e))?,
            None => None,
        };
        let date = date.map_or_else(|| "the end".to_owned(), |ms| format!("the record of {}", Civil::of(ms).iso()));
        let old = current.get(partition).map(|c| c.offset);
        writeln!(out, "  {name}: {}", change(old, *new, &date))?;
    }
    Ok(out.flush()?)
}

fn change(old: Option<i64>, new: i64, date: &str) -> String {
    let records = |n: i64| if n == 1 { "1 record".to_owned() } else { format!("{n} records") };
    match old {
        None => format!("nothing committed yet → {new} ({date})"),
        Some(old) if old == new => format!("stays at {new} ({date})"),
        Some(old) if new < old => format!("{old} → {new} ({date}): {} will be read again", records(old - new)),
        Some(old) => format!("{old} → {new} ({date}): {} will be skipped", records(new - old)),
    }
}
