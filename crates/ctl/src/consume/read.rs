//! Where reading begins and ends, and the loop between.

use std::collections::{BTreeMap, VecDeque};
use std::io::IsTerminal;
use std::time::Duration;

use logrun_client::consumer::{CloseOptions, Consumer, OwnedRecord};
use logrun_client::{ClientKind, Offset, TopicPartition};
use logrun_model::TimestampMs;

use super::merge::Merge;
use super::view::View;
use super::{ConsumeArgs, Finding, Printer};
use crate::Failure;
use crate::names::count;
use crate::output::progress::{Progress, Unit};
use crate::session::{Session, config, explain};
use crate::time::point_ms;

/// How long a poll waits.
const POLL: Duration = Duration::from_millis(200);

/// Where each partition begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    Earliest,
    Latest,
    At(i64),
    BeforeEnd(i64),
    Since(i64),
}

impl Start {
    fn parse(text: &str) -> Result<Self, Failure> {
        match text {
            "earliest" | "beginning" => Ok(Self::Earliest),
            "latest" | "end" => Ok(Self::Latest),
            _ => match text.parse::<i64>() {
                Ok(n) if text.starts_with('-') => Ok(Self::BeforeEnd(n.saturating_neg())),
                Ok(n) => Ok(Self::At(n)),
                Err(_) => Err(Failure::usage(format!(
                    "--offset {text}: write earliest, latest, an offset, or -N for N before the end"
                ))),
            },
        }
    }
}

/// What has come of it, for the remark at the end.
#[derive(Debug, Default)]
struct Tally {
    seen: u64,
    shown: u64,
}

/// A consumer that has a client which answers.
async fn consumer(args: &ConsumeArgs, group: Option<&str>) -> Result<(Session, Consumer), Failure> {
    let mut config = config(&args.connection)?;
    if let Some(group) = group {
        config = config.set("group.id", group).default_to("auto.offset.reset", "earliest");
    }
    // Nothing is skipped or read again because of a default.
    let config = config.default_to("auto.offset.reset", "none").default_to("max.poll.records", 1000);
    let session = Session::with(config, ClientKind::Consumer).await?;
    let consumer = Consumer::new(session.client.clone(), &session.config).map_err(|e| explain(&e))?;
    Ok((session, consumer))
}

/// Reads partitions without a group.
///
/// # Errors
/// A sentence.
pub async fn alone(args: &ConsumeArgs, finding: &mut Finding, printer: &mut Printer) -> Result<(), Failure> {
    let (session, consumer) = consumer(args, None).await?;
    let now = session.now_ms();
    let point = |text: &Option<String>| text.as_deref().map(|t| point_ms(t, now)).transpose().map_err(Failure::usage);
    finding.since = point(&args.since)?;
    finding.until = point(&args.until)?;
    if let (Some(since), Some(until)) = (finding.since, finding.until)
        && since >= until
    {
        return Err(Failure::usage("--since is later than --until: nothing lies between"));
    }
    let partitions = partitions(&session, args).await?;
    let start = match (finding.since, &args.offset, args.tail) {
        (Some(ms), _, _) => Start::Since(ms),
        (_, Some(text), _) => Start::parse(text)?,
        (_, _, Some(n)) => Start::BeforeEnd(i64::try_from(n).unwrap_or(i64::MAX)),
        _ if args.follow => Start::Latest,
        _ => Start::Earliest,
    };
    let mut merge = begin(&consumer, &partitions, start, finding.until, args.follow).await?;
    let is_seen = std::io::stdout().is_terminal() && !finding.is_choosy() && args.tail.is_none();
    printer.progress = Progress::new(Unit::Records, merge.left(), !args.follow && !is_seen);
    let mut tally = Tally::default();
    let mut tail = args.tail.map(|n| Tail { n, records: VecDeque::new() });
    let left = args.count.unwrap_or(u64::MAX);
    while tally.shown < left {
        while let Some(record) = merge.pop() {
            match &mut tail {
                Some(tail) => tail.put(record),
                None => show(record, finding, printer, &mut tally)?,
            }
            if tally.shown >= left {
                break;
            }
        }
        if tally.shown >= left {
            break;
        }
        if tail.is_some() && merge.behind().next().is_none() {
            for record in tail.take().map(|t| t.records).into_iter().flatten() {
                if tally.shown < left {
                    show(record, finding, printer, &mut tally)?;
                }
            }
        }
        printer.screen.flush()?;
        if merge.is_over() || tally.shown >= left {
            break;
        }
        printer.progress.is_left(merge.left());
        let pace = merge.pace();
        consumer.pause(&pace.pause).and_then(|()| consumer.resume(&pace.resume)).map_err(|e| explain(&e))?;
        for record in &consumer.poll(POLL).await.map_err(|e| explain(&e))? {
            merge.push(record.to_shared());
        }
        // Where the last offsets are no records (transactions' ends, what compaction took) only the position tells.
        let behind: Vec<TopicPartition> = merge.behind().cloned().collect();
        for tp in behind {
            if !pace.pause.contains(&tp) {
                merge.reached(&tp, consumer.position(&tp).await.map_err(|e| explain(&e))?.get());
            }
        }
    }
    remark(printer, &tally, args)
}

/// The last records, whatever they are.
struct Tail {
    n: usize,
    records: VecDeque<OwnedRecord>,
}

impl Tail {
    fn put(&mut self, record: OwnedRecord) {
        if self.records.len() == self.n {
            self.records.pop_front();
        }
        if self.n > 0 {
            self.records.push_back(record);
        }
    }
}

fn show(record: OwnedRecord, finding: &Finding, printer: &mut Printer, tally: &mut Tally) -> Result<(), Failure> {
    tally.seen += 1;
    let view = View::of(&record);
    if finding.finds(&view) {
        printer.print(&view)?;
        tally.shown += 1;
    }
    Ok(())
}

fn remark(printer: &mut Printer, tally: &Tally, args: &ConsumeArgs) -> Result<(), Failure> {
    printer.progress.hide();
    let records = |n: u64| count(n, "record");
    let remark = match (tally.shown, tally.seen) {
        (0, 0) if args.follow => return Ok(()),
        (0, 0) => "no records there".to_owned(),
        (shown, seen) if shown == seen => records(shown),
        (shown, seen) => format!("{shown} of {}", records(seen)),
    };
    printer.screen.remark(&printer.screen.paint.tone(crate::output::Tone::Dim, &remark))
}

/// The partitions that are meant.
async fn partitions(session: &Session, args: &ConsumeArgs) -> Result<Vec<TopicPartition>, Failure> {
    let mut found = Vec::new();
    for topic in session.topics(&args.topics).await? {
        let all = topic.partitions.len();
        if let Some(wrong) = args.partition.iter().find(|p| !topic.partitions.iter().any(|q| q.partition == **p)) {
            return Err(Failure::usage(format!(
                "topic {} has partitions 0 to {}, not {wrong}",
                topic.name,
                all.max(1) - 1
            )));
        }
        for p in &topic.partitions {
            if !args.partition.is_empty() && !args.partition.contains(&p.partition) {
                continue;
            }
            if p.leader.is_none() {
                return Err(Failure::new(format!(
                    "{}-{} has no leader now; --partition chooses others",
                    topic.name, p.partition
                )));
            }
            found.push(TopicPartition::new(topic.name.clone(), p.partition));
        }
    }
    Ok(found)
}

/// Puts the consumer where reading begins, and the merge from there to where it ends.
async fn begin(
    consumer: &Consumer,
    partitions: &[TopicPartition],
    start: Start,
    until: Option<i64>,
    follow: bool,
) -> Result<Merge, Failure> {
    let failed = |e: logrun_client::Error| explain(&e);
    consumer.assign(partitions.iter().cloned()).map_err(failed)?;
    let all = || partitions.iter().cloned();
    let (starts, ends) =
        tokio::try_join!(consumer.beginning_offsets(all()), consumer.end_offsets(all())).map_err(failed)?;
    // The first record at or behind a time; where there is none, the end.
    let at_time = async |ms: i64| {
        let times = partitions.iter().map(|tp| (tp.clone(), TimestampMs(ms)));
        let found = consumer.offsets_for_times(times).await.map_err(failed)?;
        Ok::<BTreeMap<TopicPartition, i64>, Failure>(
            found.into_iter().filter_map(|(tp, o)| Some((tp, o?.offset.get()))).collect(),
        )
    };
    let since = match start {
        Start::Since(ms) => at_time(ms).await?,
        _ => BTreeMap::new(),
    };
    let before = match until {
        Some(ms) => at_time(ms).await?,
        None => BTreeMap::new(),
    };
    let mut merge = Merge::default();
    for tp in partitions {
        let get = |offsets: &BTreeMap<TopicPartition, Offset>| offsets.get(tp).map_or(0, |o| o.get());
        let (first, end) = (get(&starts), get(&ends));
        let from = match start {
            Start::Earliest => first,
            Start::Latest => end,
            Start::At(offset) => offset,
            Start::BeforeEnd(n) => end.saturating_sub(n),
            Start::Since(_) => since.get(tp).copied().unwrap_or(end),
        };
        let from = from.clamp(first, end.max(first));
        let end = before.get(tp).copied().unwrap_or(end).max(from);
        consumer.seek(tp, Offset(from)).map_err(failed)?;
        if from == end && !follow {
            consumer.pause([tp]).map_err(failed)?;
        }
        merge.add(tp.clone(), from, end, follow);
    }
    Ok(merge)
}

/// Reads as a member of a group, until it is stopped, and commits what was printed.
///
/// # Errors
/// A sentence.
pub async fn as_member(
    args: &ConsumeArgs,
    group: &str,
    finding: &Finding,
    printer: &mut Printer,
) -> Result<(), Failure> {
    if !args.partition.is_empty() {
        return Err(Failure::usage("a group divides partitions by itself: --partition and --group don't go together"));
    }
    let (session, consumer) = consumer(args, Some(group)).await?;
    session.topics(&args.topics).await?;
    consumer.subscribe(args.topics.iter().map(String::as_str)).map_err(|e| explain(&e))?;
    let mut stop = std::pin::pin!(tokio::signal::ctrl_c());
    let mut tally = Tally::default();
    let left = args.count.unwrap_or(u64::MAX);
    let result = loop {
        let records = tokio::select! {
            records = consumer.poll(POLL) => records,
            _ = &mut stop => break Ok(()),
        };
        let records = match records {
            Ok(records) => records,
            Err(e) => break Err(explain(&e)),
        };
        let mut last = None;
        let mut result = Ok(());
        for record in &records {
            result = show(record.to_shared(), finding, printer, &mut tally);
            last = Some(record);
            if result.is_err() || tally.shown >= left {
                break;
            }
        }
        result = result.and(printer.screen.flush());
        if result.is_err() {
            break result;
        }
        if tally.shown >= left {
            // What the poll brought beyond it is somebody's next record, of this partition and of the others.
            let printed = printed(&records, last.map(|r| (r.topic_partition().clone(), r.offset().get())));
            break consumer
                .commit_sync_offsets(&printed)
                .await
                .map_err(|e| explain(&e))
                .and_then(|()| rewind(&consumer, &printed));
        }
    };
    let closed = consumer.close(CloseOptions::default()).await.map_err(|e| explain(&e));
    remark(printer, &tally, args)?;
    result.and(closed)
}

type Offsets = BTreeMap<TopicPartition, logrun_client::consumer::OffsetAndMetadata>;

/// Where each partition of a poll goes on if it was printed up to `last`.
fn printed(records: &logrun_client::consumer::Records, last: Option<(TopicPartition, i64)>) -> Offsets {
    let mut next: Offsets = BTreeMap::new();
    let Some(last) = last else { return next };
    let mut is_printed = true;
    for record in records {
        let tp = record.topic_partition();
        if is_printed {
            next.insert(tp.clone(), record.offset().next().into());
        } else {
            next.entry(tp.clone()).or_insert_with(|| record.offset().into());
        }
        if (tp, record.offset().get()) == (&last.0, last.1) {
            is_printed = false;
        }
    }
    next
}

/// Closing commits positions: they are put back to what was printed.
fn rewind(consumer: &Consumer, to: &Offsets) -> Result<(), Failure> {
    let assigned = consumer.assignment();
    for (tp, offset) in to.iter().filter(|(tp, _)| assigned.contains(*tp)) {
        consumer.seek(tp, offset.clone()).map_err(|e| explain(&e))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_reading_begins() {
        let start = |text: &str| Start::parse(text).ok();
        assert_eq!(start("earliest"), Some(Start::Earliest));
        assert_eq!(start("end"), Some(Start::Latest));
        assert_eq!(start("7"), Some(Start::At(7)));
        assert_eq!(start("-7"), Some(Start::BeforeEnd(7)));
        assert_eq!(start("-9223372036854775808"), Some(Start::BeforeEnd(i64::MAX)));
        assert_eq!(start("x"), None);
    }
}
