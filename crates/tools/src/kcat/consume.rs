//! `-C` and `-G`: reads partitions, or a group's share of topics, and writes what comes to standard output.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::time::Duration;

use futures_util::future::{BoxFuture, ready};
use logrun_client::consumer::{CloseOptions, Consumer, ConsumerRecord, RebalanceListener, Records, TopicPattern};
use logrun_client::{Config, Error, Offset, TopicPartition};
use logrun_model::{TimestampMs, validate_topic_name};
use logrun_record::TimestampType;

use super::args::Args;
use super::client_error;
use super::format::{Field, Format, Message, envelope};
use super::list;
use super::offsets::Start;
use super::pack::Pack;

/// How long a poll waits; also how late the end of a partition is noticed.
const POLL: Duration = Duration::from_millis(100);

/// Why reading ended.
enum End {
    Count,
    Partitions,
    Interrupted,
    OutputClosed,
}

/// Reads partitions of one topic, from where `-o` says.
///
/// # Errors
/// A sentence.
pub async fn partitions(config: &Config, args: &Args, topic: &str) -> Result<(), String> {
    let consumer = Consumer::connect(config).map_err(|e| client_error(&e))?;
    let timeout = Duration::from_secs(args.metadata_timeout_s);
    let known = list::partitions(consumer.client(), topic, timeout).await?;
    let all: Vec<TopicPartition> = known.into_iter().map(|p| part(topic, p)).collect();
    let wanted = match args.partition {
        None => all,
        Some(p) if all.iter().any(|tp| tp.partition == p) => vec![part(topic, p)],
        Some(p) => return Err(format!("Topic {topic} (with partitions 0-{}) has no partition {p}", all.len() - 1)),
    };
    consumer.assign(wanted.iter().cloned()).map_err(|e| client_error(&e))?;
    begin(&consumer, &wanted, args.start).await.map_err(|e| client_error(&e))?;
    read(consumer, args).await
}

fn part(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

/// Puts each partition where `-o` says.
async fn begin(consumer: &Consumer, partitions: &[TopicPartition], start: Start) -> Result<(), Error> {
    match start {
        Start::Default | Start::Beginning => consumer.seek_to_beginning(partitions),
        Start::End => consumer.seek_to_end(partitions),
        // Where the group left off is where an assignment begins by itself.
        Start::Stored => Ok(()),
        Start::At(offset) => partitions.iter().try_for_each(|tp| consumer.seek(tp, Offset(offset))),
        Start::BeforeEnd(count) => {
            let ends = consumer.end_offsets(partitions.iter().cloned()).await?;
            let begins = consumer.beginning_offsets(partitions.iter().cloned()).await?;
            ends.iter().try_for_each(|(tp, end)| {
                let first = begins.get(tp).copied().unwrap_or(Offset(0));
                consumer.seek(tp, Offset(end.get().saturating_sub(count)).max(first))
            })
        }
        Start::AtTime(ms) => {
            let times = partitions.iter().map(|tp| (tp.clone(), TimestampMs(ms)));
            for (tp, found) in consumer.offsets_for_times(times).await? {
                match found {
                    Some(found) => consumer.seek(&tp, found.offset)?,
                    None => consumer.seek_to_end([&tp])?,
                }
            }
            Ok(())
        }
    }
}

/// Reads topics as a member of a group.
///
/// # Errors
/// A sentence.
pub async fn group(config: &Config, args: &Args, group: &str) -> Result<(), String> {
    let consumer = Consumer::connect(config).map_err(|e| client_error(&e))?;
    let (mut legal, mut patterns) = (Vec::new(), Vec::new());
    for topic in &args.rest {
        match validate_topic_name(topic) {
            _ if topic.starts_with('^') => patterns.push(topic.clone()),
            Ok(()) => legal.push(topic.clone()),
            // The others of the group's topics are read nevertheless.
            Err(reason) => eprintln!("% ERROR: Topic {topic}: {reason} (INVALID_TOPIC_EXCEPTION)"),
        }
    }
    let said = Said { group: group.to_owned(), quiet: args.quiet };
    said.say(&"Waiting for group rebalance");
    let subscribed = if !patterns.is_empty() {
        patterns.extend(legal.iter().map(|t| regex::escape(t)));
        TopicPattern::new(&patterns.join("|")).and_then(|p| consumer.subscribe_pattern(p, said))
    } else if legal.is_empty() {
        return Err("none of the topics has a legal name".to_owned());
    } else {
        consumer.subscribe_with(legal, said)
    };
    subscribed.map_err(|e| client_error(&e))?;
    read(consumer, args).await
}

/// Tells of the group's rebalances.
struct Said {
    group: String,
    quiet: bool,
}

impl Said {
    fn say(&self, what: &dyn std::fmt::Display) {
        if !self.quiet {
            eprintln!("% {what}");
        }
    }

    fn rebalanced(&self, what: &str, partitions: &[TopicPartition]) {
        let list: Vec<String> = partitions.iter().map(|tp| format!("{} [{}]", tp.topic, tp.partition)).collect();
        self.say(&format!("Group {} rebalanced: {what}: {}", self.group, list.join(", ")));
    }
}

impl RebalanceListener for Said {
    fn on_assigned<'a>(&'a self, _: &'a Consumer, partitions: &'a [TopicPartition]) -> BoxFuture<'a, ()> {
        self.rebalanced("assigned", partitions);
        Box::pin(ready(()))
    }

    fn on_revoked<'a>(&'a self, _: &'a Consumer, partitions: &'a [TopicPartition]) -> BoxFuture<'a, ()> {
        self.rebalanced("revoked", partitions);
        Box::pin(ready(()))
    }
}

async fn read(consumer: Consumer, args: &Args) -> Result<(), String> {
    let mut reader = Reader::new(args);
    let ended = reader.run(&consumer).await;
    // A group's place is given up and its offsets are committed however it ends.
    let closed = consumer.close(CloseOptions::default()).await.map_err(|e| client_error(&e));
    match ended? {
        End::OutputClosed => Ok(()),
        End::Interrupted | End::Count | End::Partitions => closed,
    }
}

struct Reader<'a> {
    args: &'a Args,
    format: Format,
    out: io::BufWriter<io::StdoutLock<'static>>,
    left: Option<u64>,
    /// The partitions at whose end we are, with the offset at which that was said.
    at_end: BTreeMap<TopicPartition, Offset>,
    /// The partitions that are past `e@`.
    past: BTreeSet<TopicPartition>,
    line: Vec<u8>,
}

impl<'a> Reader<'a> {
    fn new(args: &'a Args) -> Self {
        let plain = || Format::plain(args.print_offset, args.key_delimiter.as_deref(), &args.delimiter);
        Self {
            args,
            format: args.format.clone().unwrap_or_else(plain),
            out: io::BufWriter::with_capacity(64 << 10, io::stdout().lock()),
            left: args.count,
            at_end: BTreeMap::new(),
            past: BTreeSet::new(),
            line: Vec::new(),
        }
    }

    async fn run(&mut self, consumer: &Consumer) -> Result<End, String> {
        let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
        loop {
            let records = tokio::select! {
                records = consumer.poll(POLL) => match records {
                    Ok(records) => records,
                    Err(e) if self.args.keep_going || e.is_retriable() => {
                        eprintln!("% ERROR: {}", client_error(&e));
                        continue;
                    }
                    Err(e) => return Err(client_error(&e)),
                },
                _ = &mut interrupt => return Ok(End::Interrupted),
            };
            match self.write_all(consumer, &records) {
                Ok(None) => {}
                Ok(Some(end)) => return Ok(end),
                Err(e) if e.kind() == io::ErrorKind::BrokenPipe => return Ok(End::OutputClosed),
                Err(e) => return Err(format!("writing to standard output: {e}")),
            }
            if let Some(end) = self.look_for_ends(consumer).await? {
                return Ok(end);
            }
        }
    }

    fn write_all(&mut self, consumer: &Consumer, records: &Records) -> io::Result<Option<End>> {
        let cluster = consumer.client().cluster();
        for record in records {
            let tp = record.topic_partition();
            if self.args.stop_at_ms.is_some_and(|stop| record.timestamp().get() >= stop) {
                if self.past.insert(tp.clone()) {
                    // Nothing else of it is wanted; that it's paused can fail only if it was taken away.
                    let _ = consumer.pause([tp]);
                }
                continue;
            }
            if self.past.contains(tp) {
                continue;
            }
            let leader = cluster.leader(&tp.topic, tp.partition).map_or(-1, |n| n.get());
            self.write(&record, leader)?;
            if let Some(left) = &mut self.left {
                *left -= 1;
                if *left == 0 {
                    self.out.flush()?;
                    return Ok(Some(End::Count));
                }
            }
        }
        self.out.flush()?;
        Ok(None)
    }

    fn write(&mut self, record: &ConsumerRecord<'_>, leader: i32) -> io::Result<()> {
        let names: Vec<_> = record.headers().map(|(name, value)| (String::from_utf8_lossy(name), value)).collect();
        let message = Message {
            topic: record.topic(),
            partition: record.partition(),
            offset: record.offset().get(),
            timestamp_type: match record.timestamp_type() {
                TimestampType::CreateTime => "create",
                TimestampType::LogAppendTime => "logappend",
            },
            timestamp_ms: record.timestamp().get(),
            broker: leader,
            key: record.key(),
            value: record.value(),
            headers: names.iter().map(|(name, value)| (name.as_ref(), *value)).collect(),
        };
        self.line.clear();
        if self.args.json {
            let field = |bytes: Option<&[u8]>, pack: &Option<Pack>| match (bytes, pack) {
                (Some(b), Some(pack)) => match pack.read(b) {
                    Ok(text) if text.parse::<i128>().is_ok() => Field::Json(text),
                    Ok(text) => Field::Text(text.into_bytes()),
                    Err(error) => Field::Error(error),
                },
                (bytes, _) => Field::of(bytes),
            };
            let (key, value) = (field(message.key, &self.args.key_pack), field(message.value, &self.args.value_pack));
            self.line.extend_from_slice(envelope(&message, &key, &value).as_bytes());
            self.line.push(b'\n');
        } else {
            let unpacked = |bytes: Option<&[u8]>, pack: &Option<Pack>, what: &str| match (bytes, pack) {
                (Some(b), Some(pack)) => match pack.read(b) {
                    Ok(text) => Some(text.into_bytes()),
                    Err(error) => {
                        let (topic, partition, offset) = (message.topic, message.partition, message.offset);
                        eprintln!(
                            "% ERROR: {topic} [{partition}] at offset {offset}: the {what} is not as -s says: {error}"
                        );
                        Some(b.to_vec())
                    }
                },
                _ => None,
            };
            let key = unpacked(message.key, &self.args.key_pack, "key");
            let value = unpacked(message.value, &self.args.value_pack, "value");
            let message =
                Message { key: key.as_deref().or(message.key), value: value.as_deref().or(message.value), ..message };
            let null = if self.args.nulls { "NULL" } else { "" };
            self.format.render(&message, null, &mut self.line);
        }
        self.out.write_all(&self.line)?;
        if self.args.unbuffered { self.out.flush() } else { Ok(()) }
    }

    /// Says which partitions have been read to their end since last time; the end of all with `-e`.
    async fn look_for_ends(&mut self, consumer: &Consumer) -> Result<Option<End>, String> {
        let assigned = consumer.assignment();
        self.at_end.retain(|tp, _| assigned.contains(tp));
        self.past.retain(|tp| assigned.contains(tp));
        let mut reached = Vec::new();
        for tp in &assigned {
            if self.past.contains(tp) {
                continue;
            }
            if consumer.current_lag(tp) != Some(0) {
                self.at_end.remove(tp);
                continue;
            }
            let position = consumer.position(tp).await.map_err(|e| client_error(&e))?;
            if self.at_end.insert(tp.clone(), position) != Some(position) {
                reached.push((tp.clone(), position));
            }
        }
        let ended = |tp: &TopicPartition| self.at_end.contains_key(tp) || self.past.contains(tp);
        let all = !assigned.is_empty() && assigned.iter().all(ended);
        let exits = all && (self.args.exit_at_end || self.past.len() == assigned.len());
        if !self.args.quiet {
            let last = reached.len();
            for (i, (tp, offset)) in reached.into_iter().enumerate() {
                let exiting = if exits && i + 1 == last { ": exiting" } else { "" };
                eprintln!("% Reached end of topic {} [{}] at offset {offset}{exiting}", tp.topic, tp.partition);
            }
        }
        Ok(exits.then_some(End::Partitions))
    }
}
