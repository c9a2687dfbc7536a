//! Kafka's command line tools, Logrun's and Apache Kafka's: run the same way, and their answers made comparable.
//!
//! Apache's run inside of one Java machine (`tests/oracle/ToolHost.java`); those that end that machine get one each.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use logrun_testkit::command::{Ended, typed};
use logrun_testkit::{Product, judge};
use regex::Regex;

use crate::{here, logrun};

/// How long one run may take.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The class of each of Apache's tools, and whether it can run beside others: some end the whole machine.
pub const CLASSES: &[(&str, &str, bool)] = &[
    ("kafka-acls", "org.apache.kafka.tools.AclCommand", true),
    ("kafka-broker-api-versions", "org.apache.kafka.tools.BrokerApiVersionsCommand", true),
    ("kafka-client-metrics", "org.apache.kafka.tools.ClientMetricsCommand", true),
    ("kafka-cluster", "org.apache.kafka.tools.ClusterTool", true),
    ("kafka-configs", "kafka.admin.ConfigCommand", true),
    ("kafka-console-consumer", "org.apache.kafka.tools.consumer.ConsoleConsumer", true),
    ("kafka-console-producer", "org.apache.kafka.tools.ConsoleProducer", true),
    ("kafka-console-share-consumer", "org.apache.kafka.tools.consumer.ConsoleShareConsumer", true),
    ("kafka-consumer-groups", "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", true),
    ("kafka-consumer-perf-test", "org.apache.kafka.tools.ConsumerPerformance", true),
    ("kafka-delegation-tokens", "org.apache.kafka.tools.DelegationTokenCommand", true),
    ("kafka-delete-records", "org.apache.kafka.tools.DeleteRecordsCommand", true),
    ("kafka-e2e-latency", "org.apache.kafka.tools.EndToEndLatency", true),
    ("kafka-features", "org.apache.kafka.tools.FeatureCommand", true),
    ("kafka-get-offsets", "org.apache.kafka.tools.GetOffsetShell", true),
    ("kafka-groups", "org.apache.kafka.tools.GroupsCommand", true),
    ("kafka-leader-election", "org.apache.kafka.tools.LeaderElectionCommand", true),
    ("kafka-log-dirs", "org.apache.kafka.tools.LogDirsCommand", true),
    ("kafka-metadata-quorum", "org.apache.kafka.tools.MetadataQuorumCommand", true),
    ("kafka-producer-perf-test", "org.apache.kafka.tools.ProducerPerformance", true),
    ("kafka-reassign-partitions", "org.apache.kafka.tools.reassign.ReassignPartitionsCommand", true),
    ("kafka-share-groups", "org.apache.kafka.tools.consumer.group.ShareGroupCommand", true),
    ("kafka-streams-groups", "org.apache.kafka.tools.streams.StreamsGroupCommand", true),
    ("kafka-topics", "org.apache.kafka.tools.TopicCommand", true),
    ("kafka-transactions", "org.apache.kafka.tools.TransactionsCommand", true),
    ("kafka-verifiable-consumer", "org.apache.kafka.tools.VerifiableConsumer", false),
    ("kafka-verifiable-producer", "org.apache.kafka.tools.VerifiableProducer", false),
];

/// The running Java machine.
#[derive(Debug)]
pub struct Host {
    java: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Host {
    /// Starts it with the jars of the directory `jars`.
    ///
    /// # Errors
    /// There is no `java`.
    pub fn start(jars: &Path) -> io::Result<Self> {
        let mut java = Command::new("java")
            .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx512m", "-Dlevel=OFF", "-cp"])
            .arg(jars.join("*"))
            .arg(here().join("oracle/ToolHost.java"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let (questions, answers) = (java.stdin.take(), java.stdout.take());
        match (questions, answers) {
            (Some(questions), Some(answers)) => Ok(Self { java, questions, answers: BufReader::new(answers) }),
            _ => unreachable!("both are piped"),
        }
    }

    /// Runs a class's `main`.
    ///
    /// # Errors
    /// The machine has ended.
    pub fn run(&mut self, class: &str, args: &[String], input: &str) -> io::Result<(i32, String, String)> {
        let words = [class.to_owned(), input.to_owned()].into_iter().chain(args.iter().cloned());
        let words: Vec<String> = words.map(|w| w.replace('\n', "\u{1e}")).collect();
        writeln!(self.questions, "{}", words.join("\u{1f}"))?;
        self.questions.flush()?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let parts: Vec<&str> = line.trim_end_matches('\n').split(' ').collect();
        let [code, out, err] = parts.as_slice() else {
            return Err(io::Error::other(format!("the Java machine said `{line}`")));
        };
        let code = code.parse().map_err(|_| io::Error::other("no exit code"))?;
        Ok((code, text(out), text(err)))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.java.kill();
        let _ = self.java.wait();
    }
}

fn text(hex: &str) -> String {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap_or("3f"), 16).unwrap_or(b'?');
    String::from_utf8_lossy(&hex.as_bytes().chunks(2).map(byte).collect::<Vec<u8>>()).into_owned()
}

/// Both kinds of tools.
#[derive(Debug)]
pub struct Tools {
    jars: PathBuf,
    host: Host,
    place: PathBuf,
    runs: Cell<usize>,
}

impl Tools {
    /// With Apache's jars, and a place for what runs write.
    ///
    /// # Errors
    /// There is no `java`.
    pub fn start(jars: &Path, place: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(place)?;
        Ok(Self { jars: jars.to_owned(), host: Host::start(jars)?, place: place.to_owned(), runs: Cell::new(0) })
    }

    fn run(&self, command: &mut Command, input: &str) -> io::Result<Ended> {
        self.runs.set(self.runs.get() + 1);
        let place = self.place.join(self.runs.get().to_string());
        std::fs::create_dir(&place)?;
        let ended = typed(command, input, &place, PATIENCE);
        std::fs::remove_dir_all(place)?;
        ended
    }

    /// Runs one of ours: exit code, standard output, standard error.
    ///
    /// # Errors
    /// It doesn't end.
    pub fn ours(&self, tool: &str, args: &[String], input: &str) -> io::Result<(i32, String, String)> {
        let Product::Logrun(binary) = logrun() else { unreachable!("ours is Logrun") };
        let ended = self.run(Command::new(binary).arg(tool).args(args), input)?;
        Ok((ended.code, ended.stdout, ended.stderr))
    }

    /// Runs one of Apache's.
    ///
    /// # Errors
    /// There is no such tool, or it doesn't end.
    pub fn apaches(&mut self, tool: &str, args: &[String], input: &str) -> io::Result<(i32, String, String)> {
        let (_, class, beside) = CLASSES
            .iter()
            .find(|(name, ..)| *name == tool)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("Apache Kafka has no {tool} here")))?;
        if *beside {
            if let Ok(answer) = self.host.run(class, args, input) {
                return Ok(answer);
            }
            // It has ended the whole machine, as some do for `--help`: again, in one of its own.
            self.host = Host::start(&self.jars)?;
        }
        let script = judge().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the judge's script"))?;
        let ended = self.run(Command::new(script).arg("tool").arg(class).args(args), input)?;
        Ok((ended.code, ended.stdout, ended.stderr))
    }
}

/// A line with its list put in order: of the form `Configs: b=2,a=1`, or of objects in JSON.
fn in_order(line: &str) -> String {
    if line.starts_with('{') {
        let mut parts: Vec<&str> = line.split(['{', '}']).map(|part| part.trim_matches(',')).collect();
        parts.sort_unstable();
        return parts.join("|");
    }
    let Some((head, list)) = line.split_once("Configs: ") else { return line.to_owned() };
    let mut list: Vec<&str> = list.split(',').collect();
    list.sort_unstable();
    format!("{head}Configs: {}", list.join(","))
}

/// What must not differ between two answers: without times, ids and ports, and in no order, for Java's is often that of
/// a hash table.
pub fn comparable(answer: &str) -> Vec<String> {
    let mut lines: Vec<String> = stable(answer).lines().map(in_order).collect();
    lines.sort();
    lines
}

/// An answer without what is another each time: ids, times, ports, and who asked.
pub fn stable(answer: &str) -> String {
    static CHANGING: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        let of = |pattern: &str, with: &'static str| (Regex::new(pattern).expect("a pattern"), with);
        vec![
            of("mine|java", "@@@@"),
            of("TopicId: [A-Za-z0-9_-]{22}", "TopicId: ID"),
            of("topicId[\": ]*[A-Za-z0-9_-]{22}", "topicId: ID"),
            of("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID"),
            of("console-consumer-[0-9]+", "console-consumer-N"),
            of("\\b1[6-9][0-9]{11}\\b", "MS"),
            of("20[0-9]{2}-[0-9]{2}-[0-9]{2}[T ][0-9:.,]+Z?", "DATE"),
            of("[0-9]+ ms ago", "N ms ago"),
            // The metadata log of Apache Kafka goes on by itself.
            of("(Epoch: |HighWatermark: +)[0-9]+", "${1}N"),
            of("(?m)^([0-9]+ *\\t[A-Za-z0-9_-]{22}\\t)[0-9]+ *", "${1}N"),
            // A producer's id, which begins its line.
            of("(?m)^[0-9]+ *\\t", "N\\t"),
            of("avg_throughput\":[0-9.E-]+", "avg_throughput\":N"),
            of("127\\.0\\.0\\.1:[0-9]+", "HOST:PORT"),
        ]
    });
    let mut text = answer.to_owned();
    for (pattern, with) in CHANGING.iter() {
        text = pattern.replace_all(&text, *with).into_owned();
    }
    text
}
