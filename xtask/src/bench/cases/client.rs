//! Our client library beside librdkafka (through Rust's rdkafka) and Apache Kafka's Java client: the same work against the
//! same broker, Logrun, in turn.
//!
//! Ours and librdkafka's are programs of a few lines (`crates/client/examples/perf.rs`,
//! `tests/clients/rust/src/bin/perf.rs`); Java's are Apache Kafka's ProducerPerformance and ConsumerPerformance, so that
//! beside those ours is run as `kafka-producer-perf-test` and `kafka-consumer-perf-test`, which count as much of every
//! record. Client CPU is that of the whole process: a JVM's start and compiling are in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use logrun_testkit::{Product, procfs, repository};

use super::{GB, Scale};
use crate::bench::measure::{Quantity, Table};
use crate::bench::side::{Contest, Produce, Side};
use crate::bench::tools;

/// What is done, and how much of it.
pub struct Work {
    pub name: &'static str,
    pub consume: bool,
    pub records: u64,
    pub record_bytes: u64,
    pub properties: &'static [&'static str],
}

pub const PRODUCE_1K: Work = Work {
    name: "client-produce-1k",
    consume: false,
    records: 2_000_000,
    record_bytes: 1024,
    properties: &["acks=all", "enable.idempotence=true", "linger.ms=5", "batch.size=131072"],
};
pub const PRODUCE_100B: Work = Work {
    name: "client-produce-100b",
    consume: false,
    records: 10_000_000,
    record_bytes: 100,
    properties: &["acks=all", "enable.idempotence=true", "linger.ms=5", "batch.size=16384"],
};
pub const CONSUME_1K: Work =
    Work { name: "client-consume-1k", consume: true, records: 2_000_000, record_bytes: 1024, properties: &[] };
pub const CONSUME_100B: Work =
    Work { name: "client-consume-100b", consume: true, records: 10_000_000, record_bytes: 100, properties: &[] };

/// The cases of this file.
pub const NAMES: [&str; 4] = [PRODUCE_1K.name, PRODUCE_100B.name, CONSUME_1K.name, CONSUME_100B.name];

/// What the two columns of a page of these cases alone are.
pub fn sides() -> (String, String) {
    ("logrun-client".to_owned(), "librdkafka, the Java client".to_owned())
}

/// The programs, built if need be.
struct Programs {
    ours: PathBuf,
    logrun: PathBuf,
    librdkafka: PathBuf,
}

fn built(mut command: Command, what: &str) -> Result<(), String> {
    match command.stdin(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{what}: {status}")),
        Err(e) => Err(format!("{what}: {e}")),
    }
}

impl Programs {
    fn build(contest: &Contest) -> Result<Self, String> {
        let root = repository();
        let Product::Logrun(logrun) = &contest.ours else { return Err("these cases need Logrun".to_owned()) };
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--quiet", "--release", "-p", "logrun-client", "--example", "perf"]).current_dir(&root);
        built(cargo, "building the client's example")?;
        let mut setup = Command::new("bash");
        setup.arg("tests/clients/setup.sh").arg("rust").current_dir(&root);
        built(setup, "building librdkafka")?;
        let work = std::env::var_os("CLIENTS_WORK").map_or_else(|| root.join("tests/.work/clients"), PathBuf::from);
        Ok(Self {
            ours: target.join("release/examples/perf"),
            logrun: logrun.clone(),
            librdkafka: work.join("rust/debug/perf"),
        })
    }
}

/// What one run gave.
#[derive(Clone, Copy)]
struct Run {
    records_per_second: f64,
    cpu_seconds: f64,
}

/// Runs a program and gives what it printed, with the CPU seconds of it and all that it started.
fn with_cpu(run: impl FnOnce() -> Result<String, String>) -> Result<(String, f64), String> {
    let cpu = || procfs::cpu_seconds_of_children().map_err(|e| e.to_string());
    let before = cpu()?;
    let printed = run()?;
    Ok((printed, cpu()? - before))
}

fn printed(program: &Path, args: &[String]) -> Result<String, String> {
    let out = Command::new(program).args(args).stdin(Stdio::null()).output();
    let out = out.map_err(|e| format!("{}: {e}", program.display()))?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    if out.status.success() {
        return Ok(text);
    }
    let why = String::from_utf8_lossy(&out.stderr).into_owned();
    Err(format!("{} {}: {}\n{text}{why}", program.display(), args.join(" "), out.status))
}

impl Work {
    /// A program of a few lines.
    fn by(&self, program: &Path, side: &Side, topic: &str, number: usize) -> Result<Run, String> {
        let what = if self.consume { "consume" } else { "produce" };
        let mut args = vec![what.to_owned(), side.bootstrap(), topic.to_owned()];
        args.extend([self.records_of(side), self.record_bytes].map(|n| n.to_string()));
        args.extend(self.properties.iter().map(|p| (*p).to_owned()));
        if self.consume {
            let set = ["auto.offset.reset=earliest", "check.crcs=false", "enable.auto.commit=false"];
            args.extend(set.map(str::to_owned));
            args.push(format!("group.id={}-{number}", program.display()).replace('/', "-"));
        }
        let (text, cpu_seconds) = with_cpu(|| printed(program, &args))?;
        let seconds = text.split(" records in ").nth(1).and_then(|t| t.split(' ').next()).and_then(|t| t.parse().ok());
        let seconds: f64 = seconds.ok_or_else(|| format!("{} printed {text}", program.display()))?;
        Ok(Run { records_per_second: self.records_of(side) as f64 / seconds, cpu_seconds })
    }

    /// Kafka's performance programs: Java's, or ours of the same name.
    fn by_tool(&self, ours: Option<&Path>, side: &Side, topic: &str) -> Result<Run, String> {
        let run = |class: &str, name: &str, args: Vec<String>| match ours {
            None => side.tool(class, &args.iter().map(String::as_str).collect::<Vec<_>>()),
            Some(logrun) => {
                let mut all = vec![name.to_owned(), "--bootstrap-server".to_owned(), side.bootstrap()];
                all.extend(args);
                printed(logrun, &all)
            }
        };
        let records = self.records_of(side).to_string();
        let base = |options: &[&str]| -> Vec<String> { options.iter().map(|o| (*o).to_owned()).collect() };
        if self.consume {
            let args = base(&["--topic", topic, "--num-records", &records]);
            let (text, cpu_seconds) = with_cpu(|| run("ConsumerPerformance", "kafka-consumer-perf-test", args))?;
            let c = tools::consumer(&text)?;
            let seconds = c.mib / c.fetch_mib_per_second;
            return Ok(Run { records_per_second: c.records / seconds, cpu_seconds });
        }
        let work = Produce {
            topic,
            records: self.records_of(side),
            record_bytes: self.record_bytes,
            throughput: None,
            warmup: 0,
            properties: self.properties,
        };
        let args = work.arguments();
        let (text, cpu_seconds) = with_cpu(|| run("ProducerPerformance", "kafka-producer-perf-test", args))?;
        Ok(Run { records_per_second: tools::producer(&text)?.records_per_second, cpu_seconds })
    }

    fn records_of(&self, side: &Side) -> u64 {
        self.records / side.divisor.max(1)
    }
}

/// Runs the work with each client in turn.
pub fn compare(contest: &Contest, scale: Scale, table: &mut Table, work: &Work) -> Result<(), String> {
    let programs = Programs::build(contest)?;
    let mut side = contest.start_ours("")?;
    side.divisor = scale.divisor;
    let topic = |n: usize| if work.consume { "hot".to_owned() } else { format!("round-{n}") };
    if work.consume {
        side.create_now("hot", 6)?;
        let fill = Work { consume: false, properties: &["acks=1", "batch.size=131072"], ..*work };
        fill.by(&programs.ours, &side, "hot", 0)?;
    }
    let mut number = 0;
    let mut fresh = |run: &dyn Fn(&Side, &str, usize) -> Result<Run, String>| {
        number += 1;
        let topic = topic(number);
        if work.consume {
            return run(&side, &topic, number);
        }
        side.create_now(&topic, 6)?;
        let done = run(&side, &topic, number)?;
        side.delete(&topic)?;
        Ok(done)
    };
    // The broker's memory and caches are warm before anything counts.
    fresh(&|side, topic, n| work.by(&programs.ours, side, topic, n))?;
    let gb = (work.records / scale.divisor.max(1) * work.record_bytes) as f64 / GB;
    for _ in 0..scale.rounds {
        let ours = fresh(&|side, topic, n| work.by(&programs.ours, side, topic, n))?;
        let c = fresh(&|side, topic, n| work.by(&programs.librdkafka, side, topic, n))?;
        let tool = fresh(&|side, topic, _| work.by_tool(Some(&programs.logrun), side, topic))?;
        let java = fresh(&|side, topic, _| work.by_tool(None, side, topic))?;
        table.add(
            Quantity::more("beside librdkafka: throughput", "records/s"),
            ours.records_per_second,
            c.records_per_second,
        );
        let cpu = |r: Run| r.cpu_seconds / gb;
        table.add(Quantity::less("beside librdkafka: client CPU", "s/GB", 0.01), cpu(ours), cpu(c));
        table.add(
            Quantity::more("beside Java: throughput", "records/s"),
            tool.records_per_second,
            java.records_per_second,
        );
        table.add(Quantity::less("beside Java: client CPU", "s/GB", 0.01), cpu(tool), cpu(java));
    }
    Ok(())
}
