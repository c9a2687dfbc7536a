//! The same records are compacted by Apache Kafka and by Logrun, and the same are left: every batch and record, as
//! Kafka's own DumpLogSegments shows them, in segments of the same names.
//!
//! What is compacted is what Kafka wrote for its own clients (`tests/compaction/Fill.java`): all codecs, tombstones,
//! idempotent producers, transactions. Twice, so that delete horizons of the first round are over in the second. Ignored
//! unless asked for, because it needs Apache Kafka: `cargo test -p logrun-tests --test compaction -- --ignored --nocapture`

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use logrun_testkit::{Home, Product, Scratch, judge};
use logrun_tests::{here, logrun};

const PATIENCE: Duration = Duration::from_secs(90);
const PARTITION: &str = "table-0";
/// Compaction rests, all the while that the test runs.
const RESTING: &str = "log.cleaner.backoff.ms=3600000\n";
const AT_WORK: &str = "log.cleaner.backoff.ms=100\nlog.flush.offset.checkpoint.interval.ms=200\n";

fn kafka() -> Product {
    Product::Kafka(judge().expect("Apache Kafka: KAFKA_JUDGE or ../shared/kafka/kafka"))
}

/// Runs a program of Kafka's, or the source of one.
fn tool(args: &[&str]) -> String {
    let done = Command::new(judge().expect("Apache Kafka")).arg("tool").args(args).output().expect("the judge");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{args:?}: {said}{}", String::from_utf8_lossy(&done.stderr));
    said
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory").flatten() {
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).expect("a copy");
        }
    }
}

/// The files of the partition that end in `ending`.
fn files(data: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(data.join(PARTITION)).expect("the partition").flatten();
    let mut out: Vec<_> = entries.map(|e| e.path()).filter(|p| p.to_string_lossy().ends_with(ending)).collect();
    out.sort();
    out
}

fn names(files: &[PathBuf]) -> Vec<String> {
    files.iter().filter_map(|f| f.file_name()).map(|n| n.to_string_lossy().into_owned()).collect()
}

/// A broker's turn on `data`, with `during` while it serves.
fn turn(product: Product, scratch: &Scratch, name: &str, data: &Path, extra: &str, during: impl FnOnce(&Home)) {
    let home = Home::new(product, &scratch.join(name), extra).expect("a home");
    let place = home.data();
    fs::create_dir_all(place.parent().expect("a parent")).expect("a directory");
    std::os::unix::fs::symlink(data, &place).expect("a link");
    let (mut running, _) = home.start(PATIENCE).unwrap_or_else(|e| panic!("{name}: {e}\n{}", home.log()));
    during(&home);
    running.terminate(PATIENCE).expect("SIGTERM ends it");
}

/// Lets the broker compact all that there is but the active segment.
fn compact(product: Product, scratch: &Scratch, name: &str, data: &Path) {
    let active = files(data, ".log").pop().expect("a segment");
    let active: i64 = active.file_stem().and_then(|s| s.to_str()).and_then(|s| s.parse().ok()).expect("an offset");
    let done = format!("table 0 {active}");
    let begun = Instant::now();
    turn(product, scratch, name, data, AT_WORK, |home| {
        let checkpoint = data.join("cleaner-offset-checkpoint");
        let said = || fs::read_to_string(&checkpoint).unwrap_or_default();
        while !said().lines().any(|l| l == done) {
            assert!(begun.elapsed() < PATIENCE, "{name}: {done} is not in {:?}; {}", said(), home.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    println!("{name}: compacted up to {active}");
}

/// What DumpLogSegments shows of the partition, but for where it lies and when it was compacted.
fn picture(data: &Path) -> Vec<String> {
    let logs: Vec<_> = files(data, ".log").iter().map(|f| f.to_string_lossy().into_owned()).collect();
    let said = tool(&["DumpLogSegments", "--deep-iteration", "--print-data-log", "--files", &logs.join(",")]);
    let shown = said.lines().filter(|l| l.starts_with("baseOffset: ") || l.starts_with("| offset: "));
    let mut out = Vec::new();
    for line in shown {
        assert!(!line.contains("isvalid: false"), "{line}");
        let mut words = line.split(' ').peekable();
        let mut kept = Vec::new();
        while let Some(word) = words.next() {
            match word {
                "position:" | "size:" | "crc:" => drop(words.next()),
                "deleteHorizonMs:" => {
                    kept.push(if words.next() == Some("OptionalLong.empty") { "no horizon" } else { "a horizon" });
                }
                _ => kept.push(word),
            }
        }
        out.push(kept.join(" "));
    }
    out
}

/// Kafka's opinion of the indexes.
fn check_indexes(data: &Path) {
    let indexes = [".index", ".timeindex", ".txnindex", ".snapshot"].map(|e| files(data, e)).concat();
    let list: Vec<_> = indexes.iter().map(|f| f.to_string_lossy().into_owned()).collect();
    let said = tool(&["DumpLogSegments", "--files", &list.join(",")]).to_lowercase();
    let complaint =
        said.lines().find(|l| ["mismatch", "exception", "corrupt", "not found"].iter().any(|w| l.contains(w)));
    assert!(complaint.is_none(), "{complaint:?}");
}

#[test]
#[ignore = "needs Apache Kafka"]
fn what_is_left_is_what_apache_kafka_leaves() {
    let scratch = Scratch::new("compaction").expect("a directory");
    let data = scratch.join("data");
    fs::create_dir(&data).expect("a directory");
    let fill = here().join("compaction/Fill.java");
    for stage in 0..2 {
        turn(kafka(), &scratch, &format!("fill-{stage}"), &data, RESTING, |home| {
            tool(&[&fill.to_string_lossy(), &home.bootstrap(), &stage.to_string()]);
        });
        let before = picture(&data);
        let ours = scratch.join(&format!("ours-{stage}"));
        copy(&data, &ours);
        compact(kafka(), &scratch, &format!("kafka-{stage}"), &data);
        compact(logrun(), &scratch, &format!("logrun-{stage}"), &ours);
        let (theirs, own) = (picture(&data), picture(&ours));
        println!(
            "stage {stage}: {} lines before, {} after Kafka, {} after Logrun",
            before.len(),
            theirs.len(),
            own.len()
        );
        for (i, (a, b)) in theirs.iter().zip(&own).enumerate() {
            assert_eq!(a, b, "line {i} differs: Kafka's, then ours");
        }
        assert_eq!(theirs.len(), own.len());
        assert!(theirs.len() < before.len() / 2 + 4200);
        assert_eq!(names(&files(&data, ".log")), names(&files(&ours, ".log")));
        assert_eq!(names(&files(&data, ".txnindex")), names(&files(&ours, ".txnindex")));
        check_indexes(&ours);
    }
}
