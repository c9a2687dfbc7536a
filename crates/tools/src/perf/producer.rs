//! `kafka-producer-perf-test`: how fast records can be produced (Kafka's `ProducerPerformance`).

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use logrun_client::ClientKind;
use logrun_client::producer::{Producer, Record};
use logrun_io::Io;
use parking_lot::Mutex;

use super::{Letters, block_on_threads};
use crate::failure::Failure;
use crate::files::{self, Properties};
use crate::options::{COMMAND_CONFIG, Given, HELP, Opt, Syntax};
use crate::session::{config_of, failure};
use crate::{Out, Tool};

pub const TOOL: Tool = Tool { name: "kafka-producer-perf-test", about: SYNTAX.about, run };

const SYNTAX: Syntax = Syntax {
    tool: "kafka-producer-perf-test",
    about: "Measures how fast records can be produced, and how long each takes",
    words: "",
    options: &[
        HELP.short("h"),
        Opt::value("bootstrap-server", "HOST:PORT,…", "The brokers to begin with."),
        COMMAND_CONFIG,
        Opt::value("producer.config", "FILE", "").instead("command-config"),
        Opt::value("command-property", "NAME=VALUE …", "Configurations of the producer."),
        Opt::value("producer-props", "NAME=VALUE …", "").instead("command-property"),
        Opt::value("topic", "TOPIC", "The topic (required)."),
        Opt::value("num-records", "COUNT", "How many records (required)."),
        Opt::value("record-size", "BYTES", "How large each is."),
        Opt::value("payload-file", "FILE", "Send what is in a file instead, in any order."),
        Opt::value("payload-delimiter", "TEXT", "What parts the payloads in the file; a line's end without it."),
        Opt::flag("payload-monotonic", "Send numbers that count up instead."),
        Opt::value("throughput", "RECORDS/S", "At most so many a second; -1 for as many as possible (required)."),
        Opt::flag("print-metrics", "Print the client's metrics at the end."),
        Opt::value("transactional-id", "ID", "Send in transactions."),
        Opt::value("transaction-duration-ms", "MS", "How long each transaction is (3000)."),
        Opt::value("warmup-records", "COUNT", "Leave so many out of a second line, of the steady state."),
        Opt::value("reporting-interval", "MS", "How often to say how it goes (5000)."),
    ],
    examples: &[
        "--bootstrap-server localhost:9092 --topic perf --num-records 1000000 --record-size 100 --throughput -1",
    ],
};

fn run(args: &[OsString]) -> ExitCode {
    crate::tool(&SYNTAX, args, |given, out| {
        let plan = Plan::of(given)?;
        block_on_threads(measure(given, out, plan))
    })
}

/// What each record holds.
enum Payload {
    Letters(usize),
    Of(Vec<Vec<u8>>),
    Numbers,
}

struct Plan {
    topic: String,
    records: u64,
    payload: Payload,
    throughput: f64,
    warmup: u64,
    properties: Properties,
    transaction: Option<Duration>,
    interval_ms: i64,
}

impl Plan {
    fn of(given: &Given<'_>) -> Result<Self, Failure> {
        let needed = |name: &str| given.syntax.wrong(format!("argument --{name} is required"));
        let wrong = |message: &str| Err(given.syntax.wrong(message));
        let records: i64 = given.parsed("num-records")?.ok_or_else(|| needed("num-records"))?;
        let records = match u64::try_from(records) {
            Ok(records @ 1..) => records,
            _ => return wrong("--num-records should be greater than zero"),
        };
        let payload = match given.count(&["record-size", "payload-file", "payload-monotonic"]) {
            1 => payload(given)?,
            _ => return wrong("one of the arguments --record-size --payload-file --payload-monotonic is required"),
        };
        let warmup = u64::try_from(given.parsed::<i64>("warmup-records")?.unwrap_or(0)).unwrap_or(0);
        if warmup >= records {
            return wrong(
                "The value for --warmup-records must be strictly fewer than the number of records in the test, --num-records.",
            );
        }
        let mut properties = match given.value(given.either("command-config", "producer.config")?)? {
            Some(path) => files::load(path)?,
            None => Properties::new(),
        };
        // Several pairs may follow the option: what is no option is one of them.
        let pairs = given.values(given.either("command-property", "producer-props")?);
        for pair in pairs.iter().copied().chain(given.words.iter().map(String::as_str)) {
            match pair.split_once('=') {
                Some((name, value)) if !value.is_empty() => properties.insert(name.to_owned(), value.to_owned()),
                _ => return wrong(&format!("Invalid property: {pair}")),
            };
        }
        if let Some(server) = given.value("bootstrap-server")? {
            properties.insert("bootstrap.servers".to_owned(), server.to_owned());
        }
        if !properties.contains_key("bootstrap.servers") {
            return wrong(
                "At least one of --bootstrap-server, --command-property, --producer-props, --producer.config or --command-config must be specified.",
            );
        }
        properties.entry("client.id".to_owned()).or_insert_with(|| "perf-producer-client".to_owned());
        let duration: Option<i64> = given.parsed("transaction-duration-ms")?;
        if duration.is_some_and(|ms| ms <= 0) {
            return wrong("--transaction-duration-ms should be greater than zero");
        }
        if let Some(id) = given.value("transactional-id")? {
            properties.insert("transactional.id".to_owned(), id.to_owned());
        }
        let transactional = duration.is_some() || properties.contains_key("transactional.id");
        if transactional {
            let random = Io::real().random;
            properties
                .entry("transactional.id".to_owned())
                .or_insert_with(|| format!("performance-producer-{}", random.uuid()));
        }
        let ms = duration.and_then(|ms| u64::try_from(ms).ok()).unwrap_or(3000);
        Ok(Self {
            topic: given.value("topic")?.ok_or_else(|| needed("topic"))?.to_owned(),
            records,
            payload,
            throughput: given.parsed("throughput")?.ok_or_else(|| needed("throughput"))?,
            warmup,
            properties,
            transaction: transactional.then(|| Duration::from_millis(ms)),
            interval_ms: given.parsed("reporting-interval")?.unwrap_or(5000),
        })
    }
}

fn payload(given: &Given<'_>) -> Result<Payload, Failure> {
    if let Some(size) = given.parsed::<i64>("record-size")? {
        return match usize::try_from(size) {
            Ok(size @ 1..) => Ok(Payload::Letters(size)),
            _ => Err(given.syntax.wrong("--record-size should be greater than zero")),
        };
    }
    let Some(path) = given.value("payload-file")? else { return Ok(Payload::Numbers) };
    println!("Reading payloads from: {path}");
    let text = files::text(path)?;
    if text.is_empty() {
        return Err(Failure::new("File does not exist or empty file provided."));
    }
    let delimiter = match given.value("payload-delimiter")? {
        None | Some("\\n") => "\n",
        Some(delimiter) => delimiter,
    };
    let payloads: Vec<Vec<u8>> =
        text.split(delimiter).filter(|p| !p.is_empty()).map(|p| p.as_bytes().to_vec()).collect();
    println!("Number of messages read: {}", payloads.len());
    match payloads.is_empty() {
        true => Err(Failure::new("File does not exist or empty file provided.")),
        false => Ok(Payload::Of(payloads)),
    }
}

/// What became of the records.
struct Stats {
    start: i64,
    steady: bool,
    quiet: bool,
    interval_ms: i64,
    /// How many latencies took so many milliseconds, by milliseconds.
    latencies: Vec<u64>,
    count: u64,
    bytes: u64,
    window: Window,
}

struct Window {
    start: i64,
    count: u64,
    bytes: u64,
    total: i64,
    max: i64,
}

impl Window {
    fn at(start: i64) -> Self {
        Self { start, count: 0, bytes: 0, total: 0, max: 0 }
    }
}

fn ratio(a: f64, b: f64) -> f64 {
    if b == 0.0 { 0.0 } else { a / b }
}

impl Stats {
    fn new(now: i64, interval_ms: i64, steady: bool) -> Self {
        Self {
            start: now,
            steady,
            quiet: false,
            interval_ms,
            latencies: Vec::new(),
            count: 0,
            bytes: 0,
            window: Window::at(now),
        }
    }

    /// Counts a record; gives the line of an interval that is over.
    fn record(&mut self, latency: i64, bytes: usize, now: i64) -> Option<String> {
        let bucket = usize::try_from(latency).unwrap_or(0).min(10_000_000);
        if self.latencies.len() <= bucket {
            self.latencies.resize(bucket + 1, 0);
        }
        if let Some(n) = self.latencies.get_mut(bucket) {
            *n += 1;
        }
        self.count += 1;
        self.bytes += bytes as u64;
        let w = &mut self.window;
        w.count += 1;
        w.bytes += bytes as u64;
        w.total += latency;
        w.max = w.max.max(latency);
        let elapsed = now - w.start;
        if elapsed < self.interval_ms {
            return None;
        }
        let (rate, mb) = Self::rates(w.count, w.bytes, elapsed);
        let line = format!(
            "{} records sent, {rate:.1} records/sec ({mb:.2} MB/sec), {:.1} ms avg latency, {:.1} ms max latency.",
            w.count,
            ratio(w.total as f64, w.count as f64),
            w.max as f64
        );
        let first = self.steady && self.count == w.count;
        self.window = Window::at(now);
        match (self.quiet, first) {
            (true, _) => None,
            (false, true) => Some(format!("In steady state.\n{line}")),
            (false, false) => Some(line),
        }
    }

    fn rates(count: u64, bytes: u64, elapsed_ms: i64) -> (f64, f64) {
        let seconds = elapsed_ms as f64 / 1000.0;
        (ratio(count as f64, seconds), ratio(bytes as f64 / 1_048_576.0, seconds))
    }

    /// The latency below which `share` of the records are.
    fn percentile(&self, share: f64) -> usize {
        let mut left = (share * self.count as f64) as u64;
        for (ms, n) in self.latencies.iter().enumerate() {
            if left < *n {
                return ms;
            }
            left -= n;
        }
        self.latencies.len().saturating_sub(1)
    }

    fn total(&self, now: i64) -> String {
        let (rate, mb) = Self::rates(self.count, self.bytes, now - self.start);
        let total: f64 = self.latencies.iter().enumerate().map(|(ms, n)| ms as f64 * *n as f64).sum();
        let [p50, p95, p99, p999] = [0.5, 0.95, 0.99, 0.999].map(|share| self.percentile(share));
        format!(
            "{}{} records sent, {rate:.6} records/sec ({mb:.2} MB/sec), {:.2} ms avg latency, {:.2} ms max latency, \
             {p50} ms 50th, {p95} ms 95th, {p99} ms 99th, {p999} ms 99.9th.",
            self.count,
            if self.steady { " steady state" } else { "" },
            ratio(total, self.count as f64),
            self.latencies.len().saturating_sub(1) as f64
        )
    }
}

/// What callbacks write to.
type Shared = Arc<Mutex<(Stats, Option<Stats>)>>;

async fn measure(given: &Given<'_>, out: &mut Out, plan: Plan) -> Result<(), Failure> {
    let config = config_of(ClientKind::Producer, plan.properties.clone());
    let producer = Producer::connect(&config).map_err(|e| failure(&e))?;
    let clock = producer.client().io().clock.clone();
    let wall = || clock.wall().get();
    if plan.transaction.is_some() {
        producer.init_transactions().await.map_err(|e| failure(&e))?;
    }
    if plan.warmup > 0 {
        println!(
            "Warmup first {} records. Steady state results will print after the complete test summary.",
            plan.warmup
        );
    }
    let start = wall();
    let stats: Shared = Arc::new(Mutex::new((Stats::new(start, plan.interval_ms, false), None)));
    let mut letters = Letters::new();
    let mut buffer = match plan.payload {
        Payload::Letters(size) => vec![0; size],
        _ => Vec::new(),
    };
    let mut transaction_began = None;
    for i in 0..plan.records {
        let value: &[u8] = match &plan.payload {
            Payload::Letters(_) => {
                letters.fill(&mut buffer);
                &buffer
            }
            Payload::Of(payloads) => {
                let at = usize::try_from(letters.next()).unwrap_or(0) % payloads.len();
                payloads.get(at).map_or(&[], Vec::as_slice)
            }
            Payload::Numbers => {
                buffer = i.to_string().into_bytes();
                &buffer
            }
        };
        if plan.transaction.is_some() && transaction_began.is_none() {
            producer.begin_transaction().map_err(|e| failure(&e))?;
            transaction_began = Some(clock.now());
        }
        let sent_at = wall();
        if plan.warmup > 0 && i == plan.warmup {
            let mut stats = stats.lock();
            stats.1 = Some(Stats::new(sent_at, plan.interval_ms, true));
            stats.0.quiet = true;
        }
        let steady = plan.warmup > 0 && i >= plan.warmup;
        let (stats, clock_then, size) = (stats.clone(), clock.clone(), value.len());
        let done = move |result: Result<_, logrun_client::Error>| match result {
            Err(e) => eprintln!("{}", failure(&e)),
            Ok(_) => {
                let now = clock_then.wall().get();
                let mut stats = stats.lock();
                let lines = [
                    stats.0.record(now - sent_at, size, now),
                    stats.1.as_mut().filter(|_| steady).and_then(|s| s.record(now - sent_at, size, now)),
                ];
                for line in lines.into_iter().flatten() {
                    println!("{line}");
                }
            }
        };
        producer.send_with(Record::to(&plan.topic).value(value), done).await.map_err(|e| failure(&e))?;
        if let (Some(longest), Some(began)) = (plan.transaction, transaction_began)
            && clock.now().since(began) >= longest
        {
            producer.commit_transaction().await.map_err(|e| failure(&e))?;
            transaction_began = None;
        }
        // Ahead of the wanted rate: wait until it is time for the next.
        if plan.throughput > 0.0 {
            let due_ms = (i + 1) as f64 / plan.throughput * 1000.0;
            let ahead_ms = due_ms - (wall() - start) as f64;
            if ahead_ms >= 1.0 {
                clock.sleep(Duration::from_secs_f64(ahead_ms / 1000.0)).await;
            }
        }
    }
    if transaction_began.is_some() {
        producer.commit_transaction().await.map_err(|e| failure(&e))?;
    }
    producer.close().await;
    let now = wall();
    let stats = stats.lock();
    writeln!(out, "{}", stats.0.total(now))?;
    if let Some(steady) = &stats.1 {
        writeln!(out, "{}", steady.total(now))?;
    }
    if given.has("print-metrics") {
        eprintln!("this client keeps no metrics of its own; the broker's are with the broker");
    }
    match stats.0.count == plan.records {
        true => Ok(()),
        false => {
            Err(Failure::new(format!("{} of {} records were not written", plan.records - stats.0.count, plan.records)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_kafkas() {
        let mut stats = Stats::new(0, 5000, false);
        for latency in 0..1000 {
            stats.record(latency, 1024, latency);
        }
        assert_eq!(
            stats.total(2000),
            "1000 records sent, 500.000000 records/sec (0.49 MB/sec), 499.50 ms avg latency, 999.00 ms max latency, \
             500 ms 50th, 950 ms 95th, 990 ms 99th, 999 ms 99.9th."
        );
    }

    #[test]
    fn an_interval_ends_with_a_line() {
        let mut stats = Stats::new(0, 1000, false);
        assert_eq!(stats.record(5, 10, 999), None);
        assert!(stats.record(15, 10, 1000).is_some_and(|l| l.starts_with("2 records sent, 2.0 records/sec")
            && l.ends_with("10.0 ms avg latency, 15.0 ms max latency.")));
        assert_eq!(stats.record(5, 10, 1500), None);
    }
}
