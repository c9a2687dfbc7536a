//! `logrun top`: throughput and lag, live.
//!
//! It looks every few seconds at offsets (ListOffsets, OffsetFetch), sizes of logs (DescribeLogDirs) and producers'
//! sequence numbers (DescribeProducers) and shows what changed between. On a terminal it has the screen until `q`;
//! elsewhere it prints rows. Kafka's protocol doesn't tell what a client id reads or writes in bytes: that is not shown.

mod sample;
mod screen;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};

use self::sample::{GroupRow, History, ProducerRow, Sample, TopicRow, Wanted};
use self::screen::Terminal;
use crate::Failure;
use crate::args::Common;
use crate::groups::{behind, lag_cell};
use crate::names::Pattern;
use crate::output::progress::size;
use crate::output::{Cell, Column, Format, Screen, Table, Tone, terminal_size};
use crate::session::{Session, block_on};
use crate::time::{span_arg, stamp};
use crate::topics::bytes;

const EXAMPLES: &str = "\
Examples:
  logrun top                       topics, the busiest first
  logrun top groups --sort lag     groups, the latest first
  logrun top partitions 'orders*'  partitions of some topics
  logrun top topics --sort bytes   those that grow fastest
  logrun top producers             who writes, by producer id
  logrun top groups -n 2 -o json | jq -r 'select(.lag > 1000) | .group'

Keys: t topics, p partitions, g groups, c clients of groups, w producers; s sorts by the next column, r the other way
round; q ends.

Rates are of the last few looks. Bytes are those of the leaders' logs on disk, compressed: their growth is the throughput.
A group's rate, and a client's, is that of its commits. A producer's is that of its sequence numbers: one without
idempotence has none, and Kafka's protocol tells a producer's id but not its client id, nor anybody's bytes by client.";

/// What is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum What {
    #[default]
    Topics,
    Partitions,
    Groups,
    /// The clients of groups
    Clients,
    /// Who writes, by producer id
    Producers,
}

impl What {
    fn is_of_groups(self) -> bool {
        matches!(self, Self::Groups | Self::Clients)
    }

    /// What has to be looked at for it.
    fn wanted(self, internal: bool) -> Wanted {
        Wanted { internal, groups: self.is_of_groups(), producers: self == Self::Producers }
    }
}

/// What comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Sort {
    Name,
    Rate,
    /// Bytes a second, of topics and partitions
    Bytes,
    /// Of topics: records
    Lag,
    /// Of producers: how long they have been idle
    Behind,
}

const SORTS: [Sort; 5] = [Sort::Rate, Sort::Bytes, Sort::Lag, Sort::Behind, Sort::Name];

/// What to watch.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct TopArgs {
    /// What to show
    #[arg(value_enum, default_value = "topics")]
    what: What,
    /// Only those with this in their name, or that fit a pattern with * and ?
    pattern: Option<String>,
    /// What comes first [default: rate, of groups lag]
    #[arg(long, short, value_enum)]
    sort: Option<Sort>,
    /// The other way round
    #[arg(long, short)]
    reverse: bool,
    /// Between two looks
    #[arg(long, short, value_name = "DURATION", default_value = "2s", value_parser = span_arg)]
    interval: Duration,
    /// End after so many looks
    #[arg(long, short = 'n', value_name = "N")]
    times: Option<u64>,
    /// The cluster's own topics too
    #[arg(long)]
    internal: bool,
    #[command(flatten)]
    common: Common,
}

/// How it is looked at now; keys change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    what: What,
    sort: Sort,
    reverse: bool,
}

impl Look {
    fn of(args: &TopArgs) -> Self {
        let usual = if args.what.is_of_groups() { Sort::Lag } else { Sort::Rate };
        Self { what: args.what, sort: args.sort.unwrap_or(usual), reverse: args.reverse }
    }

    /// After a key; none if it ends everything.
    fn after(mut self, key: u8) -> Option<Self> {
        match key {
            b'q' | b'Q' | 3 | 4 => return None,
            b't' => self.what = What::Topics,
            b'p' => self.what = What::Partitions,
            b'g' => self.what = What::Groups,
            b'c' => self.what = What::Clients,
            b'w' => self.what = What::Producers,
            b'r' => self.reverse = !self.reverse,
            b's' => {
                let at = SORTS.iter().position(|s| *s == self.sort).unwrap_or(0);
                self.sort = SORTS[(at + 1) % SORTS.len()];
            }
            _ => {}
        }
        Some(self)
    }
}

/// Runs it.
///
/// # Errors
/// A sentence.
pub fn run(args: &TopArgs) -> Result<ExitCode, Failure> {
    if args.interval < Duration::from_millis(100) {
        return Err(Failure::usage("--interval is at least 100ms"));
    }
    let pattern = Pattern::new(args.pattern.as_deref())?;
    let mut screen = Screen::new(&args.common.output);
    block_on(async {
        let session = Session::open(&args.common).await?;
        match screen.format == Format::Table && Terminal::is_there() {
            true => live(args, &pattern, &session, &screen).await?,
            false => rows(args, &pattern, &session, &mut screen).await?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Rows, a block for each look after the first.
async fn rows(args: &TopArgs, pattern: &Pattern, session: &Session, screen: &mut Screen) -> Result<(), Failure> {
    let look = Look::of(args);
    let mut history = History::default();
    history.push(Sample::take(session, look.what.wanted(args.internal)).await?);
    let mut shown = 0;
    while args.times.is_none_or(|n| shown < n) {
        session.client.io().clock.sleep(args.interval).await;
        history.push(Sample::take(session, look.what.wanted(args.internal)).await?);
        screen.more(&table(&history, look, pattern, Some(session.now_ms())), shown == 0)?;
        screen.flush()?;
        shown += 1;
    }
    Ok(())
}

async fn live(args: &TopArgs, pattern: &Pattern, session: &Session, screen: &Screen) -> Result<(), Failure> {
    let mut look = Look::of(args);
    let mut history = History::default();
    history.push(Sample::take(session, look.what.wanted(args.internal)).await?);
    let (terminal, mut keys) = Terminal::take()?;
    let mut stop = std::pin::pin!(tokio::signal::ctrl_c());
    let clock = &session.client.io().clock;
    let servers = session.config.get("bootstrap.servers").unwrap_or_default().to_owned();
    let mut next = clock.now().plus(args.interval);
    let mut shown = 0;
    loop {
        let (columns, lines) = terminal_size().unwrap_or((80, 24));
        let text = page(&history, look, pattern, screen, columns, &servers, session.now_ms());
        terminal.show(&text, lines)?;
        if args.times.is_some_and(|n| shown >= n) {
            return Ok(());
        }
        tokio::select! {
            key = keys.recv() => {
                let Some(after) = key.and_then(|key| look.after(key)) else { return Ok(()) };
                let before = look.what.wanted(args.internal);
                look = after;
                // What nobody sees is not looked at.
                let wanted = look.what.wanted(args.internal);
                if wanted != before && wanted != What::Topics.wanted(args.internal) {
                    history.push(Sample::take(session, wanted).await?);
                }
            }
            _ = &mut stop => return Ok(()),
            () = clock.sleep_until(next) => {
                history.push(Sample::take(session, look.what.wanted(args.internal)).await?);
                next = clock.now().plus(args.interval);
                shown += 1;
            }
        }
    }
}

/// All of the screen.
fn page(
    history: &History,
    look: Look,
    pattern: &Pattern,
    screen: &Screen,
    width: usize,
    servers: &str,
    now: i64,
) -> String {
    let topics = history.topics(false);
    let sum = |of: fn(&TopicRow) -> Option<f64>| topics.iter().filter_map(of).fold(0.0, |sum, rate| sum + rate);
    let (records, bytes) = (sum(|t| t.rate), sum(|t| t.bytes_per_s));
    let time = stamp(now);
    let name = |v: &dyn ValueEnumName| v.name();
    let order = if look.reverse { ", the other way round" } else { "" };
    let head = format!(
        "logrun top  {} by {}{order}  {}  {} records/s  {}/s  {servers}",
        name(&look.what),
        name(&look.sort),
        time.get(11..19).unwrap_or(&time),
        rate_text(records),
        size(bytes as u64)
    );
    let keys = "t topics  p partitions  g groups  c clients  w producers  s,r sort  q quit";
    let table = table(history, look, pattern, None);
    let none = if table.rows.is_empty() { "\n(nothing)" } else { "" };
    format!(
        "{}\n{}\n\n{}{none}",
        screen.paint.tone(Tone::Strong, &crate::output::cut(&head, width)),
        screen.paint.tone(Tone::Dim, &crate::output::cut(keys, width)),
        table.text(screen.paint, Some(width))
    )
}

/// A choice's name, as it is typed.
trait ValueEnumName {
    fn name(&self) -> String;
}

impl<T: ValueEnum> ValueEnumName for T {
    fn name(&self) -> String {
        self.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned())
    }
}

/// `12`, `3.4k`, `1.2M`.
fn rate_text(rate: f64) -> String {
    match rate {
        r if r < 10.0 && r > 0.0 => format!("{r:.1}"),
        r if r < 10_000.0 => format!("{r:.0}"),
        r if r < 10_000_000.0 => format!("{:.1}k", r / 1e3),
        r => format!("{:.1}M", r / 1e6),
    }
}

fn busy(is_busy: bool) -> Tone {
    if is_busy { Tone::Good } else { Tone::Dim }
}

fn rate(rate: Option<f64>) -> Cell {
    match rate {
        Some(rate) => Cell::shown((rate * 10.0).round() / 10.0, rate_text(rate)).tone(busy(rate > 0.0)),
        None => Cell::default(),
    }
}

fn table(history: &History, look: Look, pattern: &Pattern, time: Option<i64>) -> Table {
    let mut table = match look.what {
        What::Groups | What::Clients => {
            let mut rows = history.groups(look.what == What::Clients);
            rows.retain(|row| pattern.fits(&row.group));
            sort(
                &mut rows,
                look,
                |row| &row.group,
                |row| Numbers { rate: row.rate, lag: row.lag, behind_ms: row.behind_ms, ..Numbers::default() },
            );
            of_groups(rows, look.what == What::Clients)
        }
        What::Topics | What::Partitions => {
            let mut rows = history.topics(look.what == What::Partitions);
            rows.retain(|row| pattern.fits(&row.topic));
            sort(
                &mut rows,
                look,
                |row| &row.topic,
                |row| Numbers { rate: row.rate, bytes: row.bytes_per_s, lag: Some(row.end), ..Numbers::default() },
            );
            of_topics(rows, look.what == What::Partitions)
        }
        What::Producers => {
            let mut rows = history.producers();
            rows.retain(|row| row.topics.iter().any(|topic| pattern.fits(topic)));
            sort(
                &mut rows,
                look,
                |row| &row.producer,
                |row| Numbers { rate: row.rate, behind_ms: Some(row.idle_ms), ..Numbers::default() },
            );
            of_producers(rows)
        }
    };
    // Blocks of rows are told apart by when they were looked at.
    if let Some(ms) = time {
        table.columns.insert(0, Column::text("time"));
        for row in &mut table.rows {
            row.insert(0, Cell::from(stamp(ms)).tone(Tone::Dim));
        }
    }
    table
}

/// What rows are sorted by; what they haven't comes last.
#[derive(Clone, Copy, Debug, Default)]
struct Numbers {
    rate: Option<f64>,
    bytes: Option<f64>,
    lag: Option<i64>,
    behind_ms: Option<i64>,
}

/// The largest first; the names decide where that is the same.
fn sort<R, N: Ord>(rows: &mut [R], look: Look, name: impl Fn(&R) -> &N, numbers: impl Fn(&R) -> Numbers) {
    rows.sort_by(|a, b| {
        let (of_a, of_b) = (numbers(a), numbers(b));
        let descending = |a: Option<f64>, b: Option<f64>| b.unwrap_or(-1.0).total_cmp(&a.unwrap_or(-1.0));
        let by = match look.sort {
            Sort::Name => std::cmp::Ordering::Equal,
            Sort::Rate => descending(of_a.rate, of_b.rate),
            Sort::Bytes => descending(of_a.bytes, of_b.bytes),
            Sort::Lag => of_b.lag.cmp(&of_a.lag),
            Sort::Behind => of_b.behind_ms.cmp(&of_a.behind_ms),
        };
        by.then_with(|| name(a).cmp(name(b)))
    });
    if look.reverse {
        rows.reverse();
    }
}

fn of_topics(rows: Vec<TopicRow>, by_partition: bool) -> Table {
    let mut columns = vec![Column::long("topic")];
    columns.push(Column::number(if by_partition { "partition" } else { "partitions" }));
    columns.extend(["records_per_s", "bytes_per_s", "end", "bytes"].map(Column::number));
    let mut table = Table::new(columns);
    for row in rows {
        let place = row.partition.map_or_else(|| Cell::from(row.partitions), Cell::from);
        let growth = row.bytes_per_s.map(|n| n as u64);
        table.push(vec![
            Cell::from(&row.topic).tone(Tone::Name),
            place,
            rate(row.rate),
            growth.map_or_else(Cell::default, |n| Cell::shown(n, size(n)).tone(busy(n > 0))),
            row.end.into(),
            bytes(row.bytes),
        ]);
    }
    table
}

fn of_producers(rows: Vec<ProducerRow>) -> Table {
    let mut table = Table::new([
        Column::number("producer_id"),
        Column::long("topics"),
        Column::number("partitions"),
        Column::number("records_per_s"),
        Column::number("idle_ms"),
        Column::text("in_transaction"),
    ]);
    for row in rows {
        let topics: Vec<serde_json::Value> = row.topics.iter().map(|t| t.to_string().into()).collect();
        table.push(vec![
            Cell::from(row.producer.get()).tone(Tone::Name),
            Cell::from(serde_json::Value::Array(topics)),
            row.partitions.into(),
            rate(row.rate),
            behind(Some(row.idle_ms)),
            row.in_transaction.into(),
        ]);
    }
    table
}

fn of_groups(rows: Vec<GroupRow>, by_client: bool) -> Table {
    let mut columns = vec![Column::long("group")];
    if by_client {
        columns.push(Column::long("client"));
    }
    columns.extend([
        Column::number("partitions"),
        Column::number("records_per_s"),
        Column::number("lag"),
        Column::number("behind_ms"),
        Column::number("caught_up_in_ms"),
    ]);
    let mut table = Table::new(columns);
    for row in rows {
        let mut cells = vec![Cell::from(&row.group).tone(Tone::Name)];
        if by_client {
            cells.push(row.client.map(|c| c.to_string()).filter(|c| !c.is_empty()).into());
        }
        cells.extend([
            row.partitions.into(),
            rate(row.rate),
            lag_cell(row.lag),
            behind(row.behind_ms),
            behind(row.caught_up_ms),
        ]);
        table.push(cells);
    }
    table
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use logrun_client::TopicPartition;
    use logrun_model::ProducerId;

    use super::sample::Written;
    use super::*;
    use crate::groups::lag::Lag;
    use crate::output::Paint;

    fn history() -> History {
        let sample = |at_ms, orders: i64, clicks: i64, committed: i64| {
            let tp = |topic: &str, partition| TopicPartition::new(topic, partition);
            let lag = |p: i32, committed: i64, end: i64| Lag {
                partition: tp("orders", p),
                committed: Some(committed),
                end: Some(end),
                records: Some(end - committed),
                behind_ms: Some((end - committed) * 10),
                member: None,
            };
            let written = Written { epoch: 0, sequence: orders as i32, last_ms: at_ms, in_transaction: true };
            Sample {
                at_ms,
                wall_ms: at_ms + 3000,
                sizes: BTreeMap::from([(tp("orders", 0), orders * 100), (tp("orders", 1), 50_000)]),
                producers: Some(BTreeMap::from([((ProducerId(4001), tp("orders", 0)), written)])),
                ends: BTreeMap::from([(tp("orders", 0), orders), (tp("orders", 1), 500), (tp("clicks", 0), clicks)]),
                groups: BTreeMap::from([
                    (("billing".into(), "b-1".into()), vec![lag(0, committed, orders)]),
                    (("audit".into(), "".into()), vec![lag(1, 500, 500)]),
                ]),
            }
        };
        let mut history = History::default();
        history.push(sample(0, 1000, 0, 0));
        history.push(sample(2000, 1240, 90_000_000, 640));
        history
    }

    #[test]
    fn pages() {
        let mut pages = String::new();
        for what in [What::Topics, What::Partitions, What::Groups, What::Clients, What::Producers] {
            let look = Look { what, sort: if what.is_of_groups() { Sort::Lag } else { Sort::Rate }, reverse: false };
            let screen = Screen::capture(Format::Table, None, Box::new(std::io::sink()));
            let all = Pattern::new(None).expect("all");
            pages.push_str(&page(&history(), look, &all, &screen, 80, "localhost:9092", 1_709_209_815_250));
            pages.push('\n');
        }
        insta::assert_snapshot!("top_pages", pages);
    }

    #[test]
    fn keys_change_the_look() {
        let look = Look { what: What::Topics, sort: Sort::Rate, reverse: false };
        assert_eq!(look.after(b'q'), None);
        assert_eq!(look.after(b'g').map(|l| l.what), Some(What::Groups));
        assert_eq!(look.after(b's').map(|l| l.sort), Some(Sort::Bytes));
        assert_eq!(look.after(b'r').map(|l| l.reverse), Some(true));
        assert_eq!(look.after(b'x'), Some(look));
    }

    #[test]
    fn sorting_and_choosing() {
        let names = |look: Look, pattern: Option<&str>| -> Vec<String> {
            let pattern = Pattern::new(pattern).expect("a pattern");
            let table = table(&history(), look, &pattern, None);
            table.rows.iter().map(|row| row[0].text()).collect()
        };
        let look = Look { what: What::Topics, sort: Sort::Name, reverse: false };
        assert_eq!(names(look, None), ["clicks", "orders"]);
        assert_eq!(names(Look { reverse: true, ..look }, None), ["orders", "clicks"]);
        assert_eq!(names(look, Some("ord*")), ["orders"]);
        let groups = Look { what: What::Groups, sort: Sort::Behind, reverse: false };
        assert_eq!(names(groups, None), ["billing", "audit"]);
        let text = table(&history(), groups, &Pattern::new(None).expect("all"), Some(0)).text(Paint::new(false), None);
        assert!(text.starts_with("TIME"), "{text}");
    }

    #[test]
    fn rates_are_short() {
        let texts = [0.0, 0.25, 9.99, 12.4, 9_999.0, 12_345.0, 45_000_000.0].map(rate_text);
        assert_eq!(texts, ["0", "0.2", "10.0", "12", "9999", "12.3k", "45.0M"]);
    }
}
