//! `logrun produce`: writes records from lines, files or JSON.

mod input;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::{Args, ValueEnum};
use logrun_client::admin::NewTopic;
use logrun_client::producer::RecordMetadata;
use logrun_client::{ClientKind, Error, ErrorCode, Producer, Record};

use self::input::{Form, Item, Items};
use crate::Failure;
use crate::args::Common;
use crate::consume::unescaped;
use crate::names::count;
use crate::output::progress::{Progress, Unit};
use crate::output::{Column, Format, Screen, Table};
use crate::session::{Session, about, block_on, config, explain};

const EXAMPLES: &str = "\
Examples:
  logrun produce orders                               what is typed, to Ctrl-D
  seq 1 1000000 | logrun produce numbers -z zstd
  logrun produce orders -K : <<< '42:a book'          key, colon, value
  logrun produce orders -k 42 -H source=test < order.json
  logrun produce orders access.log                    the lines of a file
  logrun produce pictures --whole *.jpg               each file is one record
  logrun consume orders -o json | logrun produce copy --json
  echo 42: | logrun produce customers -K : --null ''  deletes a key
  logrun produce orders big.txt --rate 1000           no faster than that";

/// Codecs, by Kafka's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// What to write.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ProduceArgs {
    /// The topic
    topic: String,
    /// Files to read, - for standard input, which is also what is read without any
    #[arg(value_name = "FILE")]
    files: Vec<String>,
    /// The key stands before this in each line
    #[arg(long, short = 'K', value_name = "TEXT", conflicts_with_all = ["json", "whole"])]
    key_separator: Option<String>,
    /// The key of records that have none of their own
    #[arg(long, short, value_name = "TEXT")]
    key: Option<String>,
    /// A header of each record; may come several times
    #[arg(long, short = 'H', value_name = "NAME=VALUE")]
    header: Vec<String>,
    /// Each file is one record
    #[arg(long, requires = "files", conflicts_with = "json")]
    whole: bool,
    /// Each line is an object with key, value, headers, timestamp, as `logrun consume -o json` writes it
    #[arg(long)]
    json: bool,
    /// A value of this text is none: a deletion, in a compacted topic
    #[arg(long, value_name = "TEXT")]
    null: Option<String>,
    /// Write to this partition instead of the one that the key decides
    #[arg(long, short, value_name = "N")]
    partition: Option<i32>,
    /// How to compress
    #[arg(long, short = 'z', value_name = "CODEC", value_enum)]
    compression: Option<Codec>,
    /// Who must have a record before it counts as written: all in-sync replicas, the leader (1) or nobody (0)
    #[arg(long, value_name = "all|1|0", value_parser = ["all", "1", "0", "-1"])]
    acks: Option<String>,
    /// At most so many records in a second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Create the topic if it isn't there
    #[arg(long)]
    create: bool,
    #[command(flatten)]
    common: Common,
}

/// What became of records.
#[derive(Debug, Default)]
struct Tally {
    partitions: BTreeMap<i32, Written>,
    failed: u64,
    error: Option<Error>,
}

#[derive(Clone, Copy, Debug)]
struct Written {
    records: u64,
    first: Option<i64>,
    last: Option<i64>,
}

impl Tally {
    fn take(&mut self, fate: Result<RecordMetadata, Error>) {
        match fate {
            Ok(at) => {
                let entry = self.partitions.entry(at.partition.partition);
                let written = entry.or_insert(Written { records: 0, first: at.offset, last: at.offset });
                written.records += 1;
                written.first = written.first.min(at.offset);
                written.last = written.last.max(at.offset);
            }
            Err(e) => {
                self.failed += 1;
                self.error.get_or_insert(e);
            }
        }
    }

    fn records(&self) -> u64 {
        self.partitions.values().map(|w| w.records).sum()
    }
}

type Shared = Arc<Mutex<Tally>>;

fn locked(tally: &Shared) -> std::sync::MutexGuard<'_, Tally> {
    // Counters are right whoever panicked.
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs it.
///
/// # Errors
/// A sentence.
pub fn run(args: &ProduceArgs) -> Result<ExitCode, Failure> {
    let form = form(args)?;
    let mut screen = Screen::new(&args.common.output);
    block_on(async {
        let session = open(args).await?;
        topic(&session, args).await?;
        let producer = Producer::of(session.client.clone(), &session.config, None).map_err(|e| explain(&e))?;
        let tally = Shared::default();
        let ended = send(args, &form, &producer, &tally).await;
        producer.close().await;
        report(&mut screen, args, &locked(&tally), ended)
    })
}

fn form(args: &ProduceArgs) -> Result<Form, Failure> {
    let header = |text: &String| match text.split_once('=') {
        Some((name, value)) => Ok((name.as_bytes().to_vec(), Some(value.as_bytes().to_vec()))),
        None => Err(Failure::usage(format!("--header {text} is not NAME=VALUE"))),
    };
    let separator = args.key_separator.as_deref().map(unescaped);
    if separator.as_ref().is_some_and(Vec::is_empty) {
        return Err(Failure::usage("--key-separator is empty: say what stands between key and value"));
    }
    Ok(Form {
        key_separator: separator,
        key: args.key.as_ref().map(|k| k.as_bytes().to_vec()),
        headers: args.header.iter().map(header).collect::<Result<_, _>>()?,
        null: args.null.as_ref().map(|n| n.as_bytes().to_vec()),
        json: args.json,
    })
}

async fn open(args: &ProduceArgs) -> Result<Session, Failure> {
    let mut config = config(&args.common.connection)?;
    if let Some(codec) = args.compression {
        let name = codec.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned());
        config = config.set("compression.type", name);
    }
    if let Some(acks) = &args.acks {
        config = config.set("acks", acks);
        if acks == "0" || acks == "1" {
            config = config.default_to("enable.idempotence", false);
        }
    }
    let timeout = config.get("default.api.timeout.ms").unwrap_or("30000").to_owned();
    let delivery = timeout.parse::<i64>().unwrap_or(30_000).max(30_000) + 10_000;
    // Lines are small and come fast: larger batches than a service would want.
    let config = config
        .default_to("max.block.ms", timeout)
        .default_to("delivery.timeout.ms", delivery)
        .default_to("batch.size", 1 << 17);
    Session::with(config, ClientKind::Producer).await
}

/// The topic must be there: a typo would otherwise make one where topics are created by themselves.
async fn topic(session: &Session, args: &ProduceArgs) -> Result<(), Failure> {
    let found = match session.topics(std::slice::from_ref(&args.topic)).await {
        Ok(found) => found,
        Err(_) if args.create => {
            let new = NewTopic { name: args.topic.as_str().into(), ..NewTopic::default() };
            let created = session.admin.create_topics(&[new], false).await.map_err(|e| explain(&e))?;
            for result in created.into_values() {
                match result {
                    Err(e) if e.code() == Some(ErrorCode::TopicAlreadyExists) => {}
                    result => drop(result.map_err(|e| about(&format!("topic {}", args.topic), &e))?),
                }
            }
            return Ok(());
        }
        Err(failure) => {
            let hint = if failure.sentence.contains("did you mean") { "" } else { ", --create makes this one" };
            let sentence = format!("{}{hint}", failure.sentence);
            return Err(failure.saying(sentence));
        }
    };
    if let (Some(wanted), Some(topic)) = (args.partition, found.first())
        && !topic.partitions.iter().any(|p| p.partition == wanted)
    {
        let n = topic.partitions.len().max(1) - 1;
        return Err(Failure::usage(format!("topic {} has partitions 0 to {n}, not {wanted}", args.topic)));
    }
    Ok(())
}

/// How sending ended.
enum Ended {
    All,
    Interrupted,
}

async fn send(args: &ProduceArgs, form: &Form, producer: &Producer, tally: &Shared) -> Result<Ended, Failure> {
    let is_typed = args.files.is_empty() && input::prompts();
    if is_typed {
        eprintln!("each line is a record of {}; Ctrl-D ends", args.topic);
    }
    let size = input::size(&args.files);
    let progress = Progress::new(Unit::Bytes, size.unwrap_or(0), size.is_some_and(|n| n > 0) && !is_typed);
    let items = if args.whole { input::whole(args.files.clone()) } else { input::lines(args.files.clone()) };
    let result = send_all(args, form, producer, tally, items, &progress).await;
    progress.hide();
    result
}

async fn send_all(
    args: &ProduceArgs,
    form: &Form,
    producer: &Producer,
    tally: &Shared,
    mut items: Items,
    progress: &Progress,
) -> Result<Ended, Failure> {
    let clock = &producer.client().io().clock;
    let begun = clock.now();
    let mut sent: u64 = 0;
    let mut stop = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        let chunk = tokio::select! {
            chunk = items.recv() => chunk,
            _ = &mut stop => return Ok(Ended::Interrupted),
        };
        let Some(chunk) = chunk else { return Ok(Ended::All) };
        for item in chunk.map_err(Failure::new)? {
            if let Some(rate) = args.rate {
                let due = begun.plus(Duration::from_secs_f64(sent as f64 / f64::from(rate)));
                tokio::select! {
                    () = clock.sleep_until(due) => {}
                    _ = &mut stop => return Ok(Ended::Interrupted),
                }
            }
            if locked(tally).failed > 0 {
                return Ok(Ended::All);
            }
            let taken = item.taken;
            tokio::select! {
                result = send_one(args, form, producer, tally, item) => result?,
                _ = &mut stop => return Ok(Ended::Interrupted),
            }
            sent += 1;
            progress.add(taken);
        }
    }
}

async fn send_one(
    args: &ProduceArgs,
    form: &Form,
    producer: &Producer,
    tally: &Shared,
    item: Item,
) -> Result<(), Failure> {
    let number = item.number;
    let what = if args.whole { "file" } else { "line" };
    let place = |e: String| Failure::usage(format!("{what} {number}: {e}"));
    let parsed = form.read(item.bytes).map_err(place)?;
    let headers: Vec<(&[u8], Option<&[u8]>)> =
        parsed.headers.iter().map(|(name, value)| (name.as_slice(), value.as_deref())).collect();
    let record = Record {
        topic: &args.topic,
        partition: args.partition,
        timestamp: parsed.timestamp,
        key: parsed.key.as_deref(),
        value: parsed.value.as_deref(),
        headers: &headers,
    };
    let tally = tally.clone();
    let taken = producer.send_with(record, move |fate| locked(&tally).take(fate)).await;
    taken.map_err(|e| about(&format!("{what} {number}"), &e))
}

fn report(
    screen: &mut Screen,
    args: &ProduceArgs,
    tally: &Tally,
    ended: Result<Ended, Failure>,
) -> Result<ExitCode, Failure> {
    let written = tally.records();
    let topic = &args.topic;
    if screen.format == Format::Table {
        let mut places = tally.partitions.iter().map(|(partition, w)| match w.first.zip(w.last) {
            Some((first, last)) if first == last => format!("partition {partition}, offset {first}"),
            Some((first, last)) => format!("partition {partition}, offsets {first} to {last}"),
            None => format!("partition {partition}"),
        });
        let place = match tally.partitions.len() {
            0 => String::new(),
            1 => format!(": {}", places.next().unwrap_or_default()),
            n => format!(" in {n} partitions"),
        };
        if written > 0 || ended.is_ok() {
            screen.done(&format!("{} written to {topic}{place}", count(written, "record")), &[])?;
        }
    } else {
        let mut table = Table::new([
            Column::text("topic"),
            Column::number("partition"),
            Column::number("records"),
            Column::number("first_offset"),
            Column::number("last_offset"),
        ]);
        for (partition, w) in &tally.partitions {
            let row = vec![topic.as_str().into(), (*partition).into(), w.records.into(), w.first.into(), w.last.into()];
            table.push(row);
        }
        screen.table(&table)?;
    }
    screen.flush()?;
    if let Some(error) = &tally.error {
        let failure = explain(error);
        let sentence = format!("{} could not be written: {}", count(tally.failed, "record"), failure.sentence);
        return Err(failure.saying(sentence));
    }
    match ended? {
        Ended::All => Ok(ExitCode::SUCCESS),
        // As a shell tells of a program that Ctrl-C ended.
        Ended::Interrupted => Ok(ExitCode::from(130)),
    }
}

#[cfg(test)]
mod tests {
    use logrun_client::TopicPartition;

    use super::*;

    #[test]
    fn tallies() {
        let mut tally = Tally::default();
        let at =
            |partition, offset| RecordMetadata { partition: TopicPartition::new("t", partition), offset, timestamp: 0 };
        for fate in [Ok(at(0, Some(5))), Ok(at(0, Some(4))), Ok(at(1, None)), Err(Error::Closed)] {
            tally.take(fate);
        }
        assert_eq!((tally.records(), tally.failed, tally.error.is_some()), (3, 1, true));
        assert_eq!((tally.partitions[&0].first, tally.partitions[&0].last), (Some(4), Some(5)));
    }
}
