//! Apache Kafka and Logrun take turns on one directory and nothing is lost: topics and their ids, configs, every batch
//! and record in all codecs, log start and end offsets, groups and committed offsets.
//!
//! `tests/clients/keep.py` takes the picture after each turn and compares it at the next. Kafka's own DumpLogSegments
//! reads what Logrun wrote. Ignored unless asked for: it needs the judge and the clients that `tests/clients/setup.sh`
//! installs. `cargo test -p logrun-tests --test interop -- --ignored --nocapture`

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use logrun_testkit::{Home, Product, Running, Scratch, judge};
use logrun_tests::{here, logrun, script};

const PATIENCE: Duration = Duration::from_secs(90);

/// One directory and the brokers that take turns on it.
struct Turns {
    scratch: Scratch,
    shared: PathBuf,
    taken: usize,
}

impl Turns {
    fn new(name: &str) -> Self {
        assert!(script(&here().join("clients/setup.sh"), &["java", "python", "go"]), "tests/clients/setup.sh failed");
        let scratch = Scratch::new(name).expect("a directory");
        let shared = scratch.join("data");
        fs::create_dir(&shared).expect("the shared directory");
        Self { scratch, shared, taken: 0 }
    }

    /// A broker of this product on the shared directory. Its home is its own, its data directory leads to the shared.
    fn start(&self, product: &Product) -> (Home, Running) {
        let home = Home::new(product.clone(), &self.scratch.join(&format!("turn-{}", self.taken)), "").expect("a home");
        let data = home.data();
        fs::create_dir_all(data.parent().expect("a parent")).expect("a directory");
        std::os::unix::fs::symlink(&self.shared, &data).expect("a link");
        let (running, _) = home.start(PATIENCE).unwrap_or_else(|e| panic!("turn {}: {e}", self.taken));
        (home, running)
    }

    /// Starts the broker, compares the picture of the turn before, writes more, stops the broker cleanly.
    fn take(&mut self, product: &Product) {
        self.taken += 1;
        println!("turn {}: {product:?}", self.taken);
        let (home, mut running) = self.start(product);
        let (state, stage) = (self.scratch.join("picture.json"), format!("turn{}", self.taken));
        let kept = script(&here().join("clients/keep.py"), &[&home.bootstrap(), &state.to_string_lossy(), &stage]);
        assert!(kept, "turn {}: see above; the broker's log ends:\n{}", self.taken, tail(&home.log()));
        running.terminate(PATIENCE).expect("SIGTERM ends it");
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

fn kafka() -> Product {
    Product::Kafka(judge().expect("Apache Kafka: KAFKA_JUDGE or ../shared/kafka/kafka"))
}

/// All files below `dir` that end in one of `endings`, in order.
fn files(dir: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in fs::read_dir(dir).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            out.extend(files(&path, endings));
        } else if endings.iter().any(|e| path.to_string_lossy().ends_with(e)) {
            out.push(path);
        }
    }
    out.sort();
    out
}

/// Kafka's DumpLogSegments over all files of `dir`; panics on any complaint.
fn dump(dir: &Path) {
    let jars = here().join(".work/clients/java-lib/*");
    let log4j = here().join("clients/java/log4j2.yaml");
    let (metadata, rest): (Vec<_>, Vec<_>) = files(dir, &[".log", ".index", ".timeindex", ".txnindex", ".snapshot"])
        .into_iter()
        .partition(|p| p.to_string_lossy().contains("__cluster_metadata"));
    // A log's indexes are compared with the log beside them; offsets of groups are decoded as well.
    let (offsets, rest): (Vec<_>, Vec<_>) = rest
        .into_iter()
        .partition(|p| p.to_string_lossy().contains("__consumer_offsets") && p.extension().is_some_and(|e| e == "log"));
    let metadata = metadata.into_iter().filter(|p| p.extension().is_some_and(|e| e == "log")).collect();
    for (decoder, files) in
        [("--cluster-metadata-decoder", metadata), ("--offsets-decoder", offsets), ("--deep-iteration", rest)]
    {
        if files.is_empty() {
            continue;
        }
        let list: Vec<_> = files.iter().map(|f| f.to_string_lossy().into_owned()).collect();
        let done = Command::new("java")
            .args(["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
            .arg(format!("-Dlog4j2.configurationFile={}", log4j.display()))
            .arg("-cp")
            .arg(&jars)
            .args([
                "org.apache.kafka.tools.DumpLogSegments",
                decoder,
                "--skip-record-metadata",
                "--files",
                &list.join(","),
            ])
            .output()
            .expect("java");
        let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        let complaint = said.lines().find(|l| {
            let l = l.to_lowercase();
            ["exception", "mismatch", "non-consecutive", "corrupt", "could not", "cannot", "error ", "isvalid: false"]
                .iter()
                .any(|w| l.contains(w))
        });
        assert!(
            done.status.success() && complaint.is_none(),
            "{decoder}: {} {complaint:?}\n{}",
            done.status,
            tail(&said)
        );
        println!("DumpLogSegments {decoder}: {} files, no complaint", files.len());
    }
}

#[test]
#[ignore = "needs Apache Kafka and the clients of tests/clients"]
fn apache_kafka_then_logrun_then_apache_kafka() {
    let mut turns = Turns::new("interop-kafka");
    turns.take(&kafka());
    turns.take(&logrun());
    dump(&turns.shared);
    turns.take(&kafka());
    turns.take(&logrun());
}

#[test]
#[ignore = "needs Apache Kafka and the clients of tests/clients"]
fn logrun_then_apache_kafka_then_logrun() {
    let mut turns = Turns::new("interop-logrun");
    turns.take(&logrun());
    dump(&turns.shared);
    turns.take(&kafka());
    turns.take(&logrun());
}
