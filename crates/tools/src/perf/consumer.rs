//! `kafka-consumer-perf-test`: how fast records can be consumed (Kafka's `ConsumerPerformance`). Times are in UTC.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use logrun_client::consumer::{CloseOptions, Consumer, RebalanceListener, TopicPattern};
use logrun_client::{ClientKind, TopicPartition};

use super::block_on_threads;
use crate::console::{CONSUMER_PROPERTY, client_properties};
use crate::datetime::Civil;
use crate::failure::Failure;
use crate::files::Properties;
use crate::options::{BOOTSTRAP_SERVER, COMMAND_CONFIG, Given, HELP, Opt, Syntax, VERSION};
use crate::session::{config_of, failure};
use crate::{Out, Tool};

pub const TOOL: Tool = Tool { name: "kafka-consumer-perf-test", about: SYNTAX.about, run };

const SYNTAX: Syntax = Syntax {
    tool: "kafka-consumer-perf-test",
    about: "Measures how fast records can be consumed",
    words: "",
    options: &[
        HELP,
        VERSION,
        BOOTSTRAP_SERVER,
        Opt::value("broker-list", "HOST:PORT,…", "").instead("bootstrap-server"),
        COMMAND_CONFIG,
        Opt::value("consumer.config", "FILE", "").instead("command-config"),
        CONSUMER_PROPERTY,
        Opt::value("topic", "TOPIC", "The topic."),
        Opt::value("include", "REGEX", "All topics whose names match."),
        Opt::value("num-records", "COUNT", "How many records (required)."),
        Opt::value("messages", "COUNT", "").instead("num-records"),
        Opt::value("group", "GROUP", "The group; one of its own without it."),
        Opt::value("fetch-size", "BYTES", "max.partition.fetch.bytes (1048576)"),
        Opt::value("socket-buffer-size", "BYTES", "receive.buffer.bytes (2097152)"),
        Opt::flag("from-latest", "From the end on, where the group has no committed offset."),
        Opt::maybe("timeout", "MS", "End when nothing has come for so long (10000)."),
        Opt::value("reporting-interval", "MS", "How often to say how it goes (5000)."),
        Opt::flag("show-detailed-stats", "Say how it goes."),
        Opt::flag("print-metrics", "Print the client's metrics at the end."),
        Opt::value(
            "date-format",
            "FORMAT",
            "How times are written: Java's SimpleDateFormat (yyyy-MM-dd HH:mm:ss:SSS).",
        ),
        Opt::flag("hide-header", "Leave out the names of the columns."),
    ],
    examples: &["--bootstrap-server localhost:9092 --topic perf --num-records 1000000"],
};

fn run(args: &[OsString]) -> ExitCode {
    crate::tool(&SYNTAX, args, |given, out| {
        let brokers = given.value("bootstrap-server")?.or(given.value("broker-list")?);
        let brokers = brokers.ok_or_else(|| given.missing("bootstrap-server"))?;
        let count = given.parsed::<u64>(given.either("num-records", "messages")?)?;
        let count = count.ok_or_else(|| given.missing("num-records"))?;
        if given.count(&["topic", "include"]) != 1 {
            return Err(given.syntax.wrong("Exactly one of the following arguments is required: [topic], [include]"));
        }
        let properties = properties(given, brokers)?;
        block_on_threads(measure(given, out, properties, count))
    })
}

fn properties(given: &Given<'_>, brokers: &str) -> Result<Properties, Failure> {
    let mut properties =
        client_properties(given, ("command-config", "consumer.config"), ("command-property", "command-property"))?;
    let random = logrun_io::Random::from_entropy();
    let group = given.value("group")?.map_or_else(|| format!("perf-consumer-{}", random.below(100_000)), str::to_owned);
    let reset = if given.has("from-latest") { "latest" } else { "earliest" };
    let set = [
        ("bootstrap.servers", brokers),
        ("group.id", &group),
        ("receive.buffer.bytes", given.value("socket-buffer-size")?.unwrap_or("2097152")),
        ("max.partition.fetch.bytes", given.value("fetch-size")?.unwrap_or("1048576")),
        ("auto.offset.reset", reset),
        ("check.crcs", "false"),
    ];
    properties.extend(set.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())));
    properties.entry("client.id".to_owned()).or_insert_with(|| "perf-consumer-client".to_owned());
    Ok(properties)
}

/// How long the consumer waited for partitions.
struct Joins {
    clock: logrun_io::Clock,
    had: AtomicU64,
    since: AtomicI64,
    total: AtomicI64,
}

/// The listener's share of it.
struct Listener(Arc<Joins>);

impl RebalanceListener for Listener {
    fn on_revoked<'a>(&'a self, _: &'a Consumer, gone: &'a [TopicPartition]) -> BoxFuture<'a, ()> {
        let joins = &self.0;
        let gone = gone.len() as u64;
        let before = joins.had.fetch_sub(gone.min(joins.had.load(Ordering::Relaxed)), Ordering::Relaxed);
        if before <= gone {
            joins.since.store(joins.clock.wall().get(), Ordering::Relaxed);
        }
        Box::pin(std::future::ready(()))
    }

    fn on_assigned<'a>(&'a self, _: &'a Consumer, new: &'a [TopicPartition]) -> BoxFuture<'a, ()> {
        let joins = &self.0;
        if joins.had.fetch_add(new.len() as u64, Ordering::Relaxed) == 0 {
            let waited = joins.clock.wall().get() - joins.since.load(Ordering::Relaxed);
            joins.total.fetch_add(waited, Ordering::Relaxed);
        }
        Box::pin(std::future::ready(()))
    }
}

const MB: f64 = 1_048_576.0;

async fn measure(given: &Given<'_>, out: &mut Out, properties: Properties, count: u64) -> Result<(), Failure> {
    let config = config_of(ClientKind::Consumer, properties);
    let detailed = given.has("show-detailed-stats");
    let format = given.value("date-format")?.unwrap_or("yyyy-MM-dd HH:mm:ss:SSS").to_owned();
    let interval: i64 = given.parsed("reporting-interval")?.unwrap_or(5000);
    if interval <= 0 {
        return Err(given.syntax.wrong("Reporting interval must be greater than 0."));
    }
    let patience: i64 = given.parsed("timeout")?.unwrap_or(10_000);
    if !given.has("hide-header") {
        let first = if detailed { "time, threadId" } else { "start.time, end.time" };
        writeln!(
            out,
            "{first}, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec"
        )?;
        out.flush()?;
    }
    let consumer = Consumer::connect(&config).map_err(|e| failure(&e))?;
    let clock = consumer.client().io().clock.clone();
    let start = clock.wall().get();
    let joins = Arc::new(Joins {
        clock: clock.clone(),
        had: AtomicU64::new(0),
        since: AtomicI64::new(start),
        total: AtomicI64::new(0),
    });
    match given.value("include")? {
        Some(pattern) => {
            let pattern = TopicPattern::new(pattern).map_err(|e| failure(&e))?;
            consumer.subscribe_pattern(pattern, Listener(joins.clone())).map_err(|e| failure(&e))?;
        }
        None => {
            let topic = given.value("topic")?.unwrap_or_default();
            consumer.subscribe_with([topic], Listener(joins.clone())).map_err(|e| failure(&e))?;
        }
    }
    let (mut records, mut bytes) = (0_u64, 0_u64);
    let (mut last_records, mut last_bytes, mut last_report, mut last_join) = (0_u64, 0_u64, start, 0);
    let mut last_consumed = start;
    while records < count && clock.wall().get() - last_consumed <= patience {
        let polled = consumer.poll(Duration::from_millis(100)).await.map_err(|e| failure(&e))?;
        let now = clock.wall().get();
        if !polled.is_empty() {
            last_consumed = now;
        }
        for record in polled.iter() {
            records += 1;
            bytes += record.key().map_or(0, <[u8]>::len) as u64 + record.value().map_or(0, <[u8]>::len) as u64;
        }
        if now - last_report >= interval {
            if detailed {
                let joined = joins.total.load(Ordering::Relaxed);
                let (ms, join) = ((now - last_report) as f64, joined - last_join);
                let (mb, n) = ((bytes - last_bytes) as f64 / MB, (records - last_records) as f64);
                let fetch_ms = now - last_report - join;
                let per_second = |n: f64, ms: f64| if ms <= 0.0 { 0.0 } else { 1000.0 * n / ms };
                writeln!(
                    out,
                    "{}, 0, {:.4}, {:.4}, {records}, {:.4}, {join}, {fetch_ms}, {:.4}, {:.4}",
                    Civil::of(now).java(&format),
                    bytes as f64 / MB,
                    per_second(mb, ms),
                    per_second(n, ms),
                    per_second(mb, fetch_ms as f64),
                    per_second(n, fetch_ms as f64)
                )?;
                out.flush()?;
                last_join = joined;
            }
            (last_report, last_records, last_bytes) = (now, records, bytes);
        }
    }
    let end = clock.wall().get();
    if records < count {
        writeln!(
            out,
            "WARNING: Exiting before consuming the expected number of messages: timeout ({patience} ms) exceeded. You can use the --timeout option to increase the timeout."
        )?;
    }
    consumer.close(CloseOptions::default()).await.map_err(|e| failure(&e))?;
    if !detailed {
        let (seconds, join) = ((end - start) as f64 / 1000.0, joins.total.load(Ordering::Relaxed));
        let fetch_ms = end - start - join;
        let fetch_seconds = fetch_ms as f64 / 1000.0;
        let mb = bytes as f64 / MB;
        writeln!(
            out,
            "{}, {}, {mb:.4}, {:.4}, {records}, {:.4}, {join}, {fetch_ms}, {:.4}, {:.4}",
            Civil::of(start).java(&format),
            Civil::of(end).java(&format),
            mb / seconds,
            records as f64 / seconds,
            mb / fetch_seconds,
            records as f64 / fetch_seconds
        )?;
    }
    if given.has("print-metrics") {
        eprintln!("this client keeps no metrics of its own; the broker's are with the broker");
    }
    Ok(())
}
