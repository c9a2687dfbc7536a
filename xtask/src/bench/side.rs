//! The two brokers of a contest, and Apache Kafka's programs that are run against them.

use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use logrun_testkit::load::{self, Consume, Load, Produced as Made};
use logrun_testkit::{Home, Product, Ready, Running, Scratch, probe};

use super::tools::{self, Consumed, EndToEnd, Produced};

/// Apache Kafka waits eleven seconds for its former self; a busy machine makes it more.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs Apache Kafka's programs.
#[derive(Clone, Debug)]
pub struct Judge {
    script: PathBuf,
}

impl Judge {
    pub fn new(script: PathBuf) -> Self {
        Self { script }
    }

    fn tool(&self, class: &str, args: &[String]) -> Result<String, String> {
        let out = Command::new(&self.script)
            .arg("tool")
            .arg(format!("org.apache.kafka.tools.{class}"))
            .args(args)
            .stdin(Stdio::null())
            .output()
            .map_err(|e| format!("{}: {e}", self.script.display()))?;
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        if out.status.success() {
            return Ok(text);
        }
        Err(format!("{class} {}: {}\n{text}{}", args.join(" "), out.status, String::from_utf8_lossy(&out.stderr)))
    }
}

/// The two products.
#[derive(Debug)]
pub struct Contest {
    pub ours: Product,
    pub theirs: Product,
    judge: Judge,
}

impl Contest {
    pub fn new(ours: Product, theirs: Product, judge: Judge) -> Self {
        Self { ours, theirs, judge }
    }

    /// How the two are called in the report.
    pub fn names(&self) -> (String, String) {
        let name = |p: &Product| match p {
            Product::Logrun(_) => "Logrun",
            Product::Kafka(_) => "Apache Kafka 4.3.1",
        };
        match name(&self.ours) == name(&self.theirs) {
            true => (format!("{} (A)", name(&self.ours)), format!("{} (B)", name(&self.theirs))),
            false => (name(&self.ours).to_owned(), name(&self.theirs).to_owned()),
        }
    }

    /// Both, each on an empty directory, started.
    pub fn start(&self, extra: &str) -> Result<(Side, Side), String> {
        self.start_as(extra, extra)
    }

    /// As [`Self::start`] where the two call a thing by different names: further lines of ours, and of theirs. With
    /// the same product on both sides both get that one's.
    pub fn start_as(&self, ours: &str, theirs: &str) -> Result<(Side, Side), String> {
        let is_kafka = |p: &Product| matches!(p, Product::Kafka(_));
        let (ours, theirs) = match (is_kafka(&self.ours), is_kafka(&self.theirs)) {
            (true, true) => (theirs, theirs),
            (false, false) => (ours, ours),
            _ => (ours, theirs),
        };
        Ok((self.side(&self.ours, ours)?, self.side(&self.theirs, theirs)?))
    }

    /// Ours alone.
    pub fn start_ours(&self, extra: &str) -> Result<Side, String> {
        self.side(&self.ours, extra)
    }

    /// How many milliseconds ours and Apache's tool take to answer the same question about `side`. `line` begins with
    /// the name of ours; with Apache Kafka on both sides its tool is asked twice.
    pub fn ask(&self, side: &Side, line: &str, class: &str, args: &[&str]) -> Result<(f64, f64), String> {
        let timed = |mut command: Command| {
            let broker = side.home.bootstrap();
            command.args(args.iter().copied().map(|arg| if arg == "B" { &*broker } else { arg }));
            if !args.contains(&"B") {
                command.args(["--bootstrap-server", &broker]);
            }
            let started = Instant::now();
            let out = command.stdin(Stdio::null()).output().map_err(|e| format!("{line}: {e}"))?;
            let took = started.elapsed().as_secs_f64() * 1000.0;
            match out.status.success() {
                true => Ok(took),
                false => Err(format!("{line}: {}{}", out.status, String::from_utf8_lossy(&out.stderr))),
            }
        };
        let theirs = || {
            let mut command = Command::new(&self.judge.script);
            command.arg("tool").arg(class);
            command
        };
        let ours = match &self.ours {
            Product::Logrun(binary) => {
                let mut command = Command::new(binary);
                command.arg(line.split(' ').next().unwrap_or(line));
                command
            }
            Product::Kafka(_) => theirs(),
        };
        Ok((timed(ours)?, timed(theirs())?))
    }

    fn side(&self, product: &Product, extra: &str) -> Result<Side, String> {
        let make = || -> io::Result<Side> {
            let scratch = Scratch::new("bench")?;
            let home = Home::new(product.clone(), scratch.path(), extra)?;
            let (running, first) = home.start(PATIENCE)?;
            Ok(Side { running: Some(running), home, judge: self.judge.clone(), first, divisor: 1, _scratch: scratch })
        };
        make().map_err(|e| e.to_string())
    }
}

/// One started broker.
///
/// The fields are dropped in their order: the process ends before its directory goes.
#[derive(Debug)]
pub struct Side {
    running: Option<Running>,
    home: Home,
    judge: Judge,
    /// How long the start on the empty directory took, formatting included.
    pub first: Ready,
    /// Of the cases that divide the work themselves.
    pub divisor: u64,
    _scratch: Scratch,
}

/// A producer's work.
#[derive(Clone, Debug)]
pub struct Produce<'a> {
    pub topic: &'a str,
    pub records: u64,
    pub record_bytes: u64,
    /// Records per second; none for as fast as it goes.
    pub throughput: Option<u64>,
    pub warmup: u64,
    pub properties: &'a [&'a str],
}

impl Produce<'_> {
    /// For ProducerPerformance, and for ours of that kind.
    pub fn arguments(&self) -> Vec<String> {
        let throughput = self.throughput.map_or_else(|| "-1".to_owned(), |t| t.to_string());
        let (records, bytes) = (self.records.to_string(), self.record_bytes.to_string());
        let mut args = vec!["--topic", self.topic, "--num-records", &records, "--record-size", &bytes];
        args.extend(["--throughput", &throughput]);
        let warmup = self.warmup.to_string();
        if self.warmup > 0 {
            args.extend(["--warmup-records", &warmup]);
        }
        if !self.properties.is_empty() {
            args.push("--command-property");
            args.extend(self.properties);
        }
        args.into_iter().map(str::to_owned).collect()
    }
}

impl Side {
    fn broker(&self) -> Result<&Running, String> {
        self.running.as_ref().ok_or_else(|| "the broker is stopped".to_owned())
    }

    /// Where clients begin.
    pub fn bootstrap(&self) -> String {
        self.home.bootstrap()
    }

    /// Runs one of Apache Kafka's programs against it.
    pub fn tool(&self, class: &str, args: &[&str]) -> Result<String, String> {
        let mut all = vec!["--bootstrap-server".to_owned(), self.home.bootstrap()];
        all.extend(args.iter().map(|a| (*a).to_owned()));
        self.judge.tool(class, &all)
    }

    pub fn create(&self, topic: &str, partitions: u64) -> Result<(), String> {
        self.tool("TopicCommand", &["--create", "--topic", topic, "--partitions", &partitions.to_string()]).map(|_| ())
    }

    /// As [`Self::create`], without a program's start.
    pub fn create_now(&self, topic: &str, partitions: i32) -> Result<(), String> {
        let (addr, deadline) = (self.home.addr(), Instant::now() + PATIENCE);
        probe::create_topic(addr, topic, partitions, deadline)
            .and_then(|()| load::wait_led(addr, topic, partitions, deadline))
            .map_err(|e| format!("creating {topic}: {e}"))
    }

    /// Runs a load against it.
    pub fn load(&self, load: &Load<'_>) -> Result<Made, String> {
        load.run(self.home.addr()).map_err(|e| format!("producing to {}: {e}", load.topic))
    }

    /// Reads a topic.
    pub fn consume_now(&self, consume: &Consume<'_>, stop: impl Fn() -> bool) -> Result<load::Consumed, String> {
        consume.run(self.home.addr(), stop).map_err(|e| format!("consuming {}: {e}", consume.topic))
    }

    pub fn delete(&self, topic: &str) -> Result<(), String> {
        self.tool("TopicCommand", &["--delete", "--topic", topic]).map(|_| ())
    }

    pub fn produce(&self, work: &Produce<'_>) -> Result<Produced, String> {
        let args = work.arguments();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        tools::producer(&self.tool("ProducerPerformance", &args)?)
    }

    pub fn consume(&self, topic: &str, records: u64) -> Result<Consumed, String> {
        let output = self.tool("ConsumerPerformance", &["--topic", topic, "--num-records", &records.to_string()])?;
        let consumed = tools::consumer(&output)?;
        if consumed.records < records as f64 {
            return Err(format!("only {} of {records} records were consumed", consumed.records));
        }
        Ok(consumed)
    }

    pub fn end_to_end(&self, topic: &str, records: u64, record_bytes: u64) -> Result<EndToEnd, String> {
        let (records, bytes) = (records.to_string(), record_bytes.to_string());
        let args = ["--topic", topic, "--num-records", &records, "--producer-acks", "all", "--record-size", &bytes];
        tools::end_to_end(&self.tool("EndToEndLatency", &args)?)
    }

    /// Runs `work` and gives the broker's CPU seconds for it.
    pub fn with_cpu<T>(&self, work: impl FnOnce(&Self) -> Result<T, String>) -> Result<(T, f64), String> {
        let cpu = || self.broker()?.cpu_seconds().map_err(|e| e.to_string());
        let before = cpu()?;
        let done = work(self)?;
        Ok((done, cpu()? - before))
    }

    pub fn resident_mib(&self) -> Result<f64, String> {
        let bytes = self.broker()?.resident_bytes().map_err(|e| e.to_string())?;
        Ok(bytes as f64 / f64::from(1 << 20))
    }

    /// How long the process has run, in the clock of [`Ready`].
    pub fn since_start(&self) -> Result<Duration, String> {
        Ok(self.broker()?.since_start())
    }

    /// Ends the broker, politely or not, and starts it again; gives how long the end took, too.
    pub fn restart(&mut self, kill: bool) -> Result<(Duration, Ready), String> {
        let mut running = self.running.take().ok_or("the broker is stopped")?;
        let begin = Instant::now();
        let ended = if kill { running.kill() } else { running.terminate(PATIENCE).map(|_| ()) };
        ended.map_err(|e| e.to_string())?;
        let stopped = begin.elapsed();
        drop(running);
        let (running, ready) = self.home.start(PATIENCE).map_err(|e| e.to_string())?;
        self.running = Some(running);
        Ok((stopped, ready))
    }
}
