//! `kafka-dump-log` beside Apache Kafka's `DumpLogSegments`: on directories that Apache Kafka and Logrun have just
//! written, both print the same and end with the same exit code.
//!
//! `tests/oracle/LogCorpus.java` fills the brokers. Ignored unless asked for: it needs the judge.
//! `cargo test -p logrun-tests --test dump_log -- --ignored --nocapture`

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use logrun_testkit::{Home, Product, Scratch, judge, logrun_binary};
use logrun_tests::here;

const PATIENCE: Duration = Duration::from_secs(90);
/// One partition of each of Kafka's own topics, so that all of it is in one file.
const EXTRA: &str = "offsets.topic.num.partitions=1\n\
                     transaction.state.log.num.partitions=1\n\
                     share.coordinator.state.topic.num.partitions=1";

fn java(jars: &Path) -> Command {
    let mut java = Command::new("java");
    java.args(["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        .arg(format!("-Dlog4j2.configurationFile={}", here().join("clients/java/log4j2.yaml").display()))
        .arg("-cp")
        .arg(jars.join("*"));
    java
}

/// All files below `dir` with something in them, in order.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in fs::read_dir(dir).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            out.extend(files(&path));
        } else if entry.metadata().is_ok_and(|m| m.len() > 0) {
            out.push(path);
        }
    }
    out.sort();
    out
}

/// Fills a broker, ends it and gives its directory.
fn filled(product: &Product, scratch: &Scratch, jars: &Path, words: &[&str], clean: bool) -> PathBuf {
    let name = if matches!(product, Product::Kafka(_)) { "kafka" } else { "logrun" };
    let home = Home::new(product.clone(), &scratch.join(&format!("{name}-{clean}")), EXTRA).expect("a home");
    let (mut running, _) = home.start(PATIENCE).unwrap_or_else(|e| panic!("{e}"));
    let done =
        java(jars).arg(here().join("oracle/LogCorpus.java")).arg(home.bootstrap()).args(words).output().expect("java");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    if clean {
        running.terminate(PATIENCE).expect("SIGTERM ends it");
    } else {
        running.kill().expect("kill -9");
    }
    home.data()
}

/// Both tools on the same files with the same options.
fn compare(jars: &Path, options: &[&str], files: &[PathBuf]) {
    if files.is_empty() {
        return;
    }
    let list: Vec<_> = files.iter().map(|f| f.to_string_lossy().into_owned()).collect();
    let list = list.join(",");
    let theirs =
        java(jars).arg("org.apache.kafka.tools.DumpLogSegments").args(options).args(["--files", &list]).output();
    let (binary, _) = logrun_binary().expect("a binary");
    let ours = Command::new(binary).arg("kafka-dump-log").args(options).args(["--files", &list]).output();
    let (ours, theirs) = (ours.expect("logrun"), theirs.expect("java"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (our_text, their_text) = (text(&ours.stdout), text(&theirs.stdout));
    for (our_line, their_line) in our_text.lines().zip(their_text.lines()) {
        assert_eq!(our_line, their_line, "{options:?}");
    }
    let (our_err, their_err) = (text(&ours.stderr), text(&theirs.stderr));
    assert_eq!(our_text.lines().count(), their_text.lines().count(), "{options:?}\n{our_err}\n{their_err}");
    assert_eq!(ours.status.code(), theirs.status.code(), "{options:?}\n{our_err}\n{their_err}");
    if theirs.status.success() {
        assert_eq!(our_err, their_err, "{options:?}");
    }
    println!(
        "{options:?}: {} files, {} lines, exit code {:?}",
        files.len(),
        our_text.lines().count(),
        ours.status.code()
    );
}

fn compare_all(jars: &Path, dir: &Path) {
    let all = files(dir);
    let of = |part: &str, endings: &[&str]| -> Vec<PathBuf> {
        let fits = |p: &&PathBuf| {
            let p = p.strip_prefix(dir).unwrap_or(p).to_string_lossy();
            p.starts_with(part) && endings.iter().any(|e| p.ends_with(e))
        };
        all.iter().filter(fits).cloned().collect()
    };
    compare(jars, &["--cluster-metadata-decoder"], &of("__cluster_metadata", &[".log", ".checkpoint"]));
    compare(jars, &["-offsets-decoder"], &of("__consumer_offsets", &[".log"]));
    compare(jars, &["--transaction-log-decoder"], &of("__transaction_state", &[".log"]));
    compare(jars, &["--share-group-state-decoder"], &of("__share_group_state", &[".log"]));
    let data: Vec<_> = of("", &[".log"]).into_iter().filter(|p| !p.to_string_lossy().contains("/__")).collect();
    compare(jars, &["--print-data-log"], &data);
    compare(jars, &["--deep-iteration", "--max-bytes=700"], &data);
    compare(jars, &[], &of("", &["index"]));
    compare(jars, &["--index-sanity-check"], &of("", &["index"]));
    compare(jars, &["--verify-index-only"], &of("", &["index"]));
    compare(jars, &[], &of("", &[".snapshot"]));
}

#[test]
#[ignore = "needs Apache Kafka"]
fn what_apache_kafka_wrote_and_what_logrun_wrote() {
    let scratch = Scratch::new("dump-log").expect("a directory");
    let kafka = Product::Kafka(judge().expect("Apache Kafka: KAFKA_JUDGE or ../shared/kafka/kafka"));
    let logrun = Product::Logrun(logrun_binary().expect("a binary").0);
    let jars = scratch.join("kafka-true/lib-4.3.1");
    fs::create_dir_all(scratch.join("kafka-true")).expect("a directory");
    Home::new(kafka.clone(), &scratch.join("kafka-true"), "").expect("the jars");
    for (product, words, clean) in
        [(&kafka, ["kafka"].as_slice(), true), (&logrun, &["logrun"], true), (&logrun, &["logrun"], false)]
    {
        println!("{product:?}, ended {}", if clean { "in order" } else { "by kill -9" });
        compare_all(&jars, &filled(product, &scratch, &jars, words, clean));
    }
}
