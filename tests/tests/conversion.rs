//! Conversion on append (`compression.type`, `compression.*.level`, `message.timestamp.type`), beside Apache Kafka: both
//! get the same batches from Apache Kafka's own producer, and both must answer the same and store the same.
//!
//! Compared are what producers are told, and, as Kafka's DumpLogSegments shows it, every batch (its bounds, codec,
//! timestamps, producer, whether its CRC fits) and every record. How many bytes a codec makes of a batch is its own
//! matter, and compared only where nothing was compressed here. Ignored unless asked for, because it needs Apache
//! Kafka: `cargo test -p logrun-tests --test conversion -- --ignored --nocapture`

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use logrun_testkit::{Home, Product, Scratch, judge};
use logrun_tests::{here, logrun};

const PATIENCE: Duration = Duration::from_secs(90);
/// What a record's time may be in these tests.
const HOUR_MS: i64 = 3_600_000;

/// Runs a program of Kafka's, or the source of one.
fn tool(args: &[&str]) -> String {
    let done = Command::new(judge().expect("Apache Kafka")).arg("tool").args(args).output().expect("the judge");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{args:?}: {said}{}", String::from_utf8_lossy(&done.stderr));
    said
}

/// What a broker answered, and its files as DumpLogSegments shows them: for each topic its lines.
type Outcome = (Vec<String>, BTreeMap<String, Vec<String>>);

fn converted(product: Product, scratch: &Scratch, name: &str, timestamp: i64) -> Outcome {
    let home = Home::new(product, &scratch.join(name), "").expect("a home");
    let (mut running, _) = home.start(PATIENCE).unwrap_or_else(|e| panic!("{name}: {e}\n{}", home.log()));
    let program = here().join("conversion/Convert.java");
    let answers = tool(&[&program.to_string_lossy(), &home.bootstrap(), &timestamp.to_string()]);
    running.terminate(PATIENCE).expect("SIGTERM ends it");
    (answers.lines().map(str::to_owned).collect(), pictures(&home.data(), timestamp))
}

/// The logs of all topics.
fn pictures(data: &Path, timestamp: i64) -> BTreeMap<String, Vec<String>> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(data).expect("a directory").flatten() {
        let log = entry.path().join("00000000000000000000.log");
        if log.is_file() && !entry.file_name().to_string_lossy().starts_with("__") {
            logs.push(log.to_string_lossy().into_owned());
        }
    }
    logs.sort();
    let said = tool(&["DumpLogSegments", "--deep-iteration", "--print-data-log", "--files", &logs.join(",")]);
    let mut out: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut topic = String::new();
    let mut producers = BTreeMap::new();
    for line in said.lines() {
        if let Some(path) = line.strip_prefix("Dumping ") {
            let dir = Path::new(path).parent().and_then(Path::file_name).expect("a partition's directory");
            topic = dir.to_string_lossy().into_owned();
            producers.clear();
        } else if line.starts_with("baseOffset: ") || line.starts_with("| offset: ") {
            assert!(!line.contains("isvalid: false"), "{topic}: {line}");
            out.entry(topic.clone()).or_default().push(normal(&topic, line, timestamp, &mut producers));
        }
    }
    out
}

/// A line without what no two brokers have in common: when they appended, the producer ids that they gave, and what a
/// compressor makes of a batch.
fn normal(topic: &str, line: &str, timestamp: i64, producers: &mut BTreeMap<String, usize>) -> String {
    let compressed_here = !(topic.starts_with("producer") || topic.starts_with("uncompressed"));
    let append_time = topic.contains("LogAppendTime");
    let idempotent = line.contains("producerId: ") && !line.contains("producerId: -1");
    let mut words = line.split(' ');
    let mut out = Vec::new();
    while let Some(word) = words.next() {
        out.push(word.to_owned());
        let value = match word {
            "position:" | "size:" | "crc:" | "CreateTime:" | "LogAppendTime:" | "producerId:" => {
                words.next().expect("a value").to_owned()
            }
            _ => continue,
        };
        out.push(match word {
            "CreateTime:" => value,
            "LogAppendTime:" => {
                let time: i64 = value.parse().expect("a time");
                // The broker's own time, and not the records'.
                assert!(append_time && (timestamp..timestamp + HOUR_MS).contains(&time), "{topic}: {line}");
                "now".to_owned()
            }
            "producerId:" if value == "-1" => value,
            "producerId:" => {
                let next = producers.len();
                format!("no {}", producers.entry(value).or_insert(next))
            }
            _ if compressed_here => "?".to_owned(),
            // The time and the producer's id are in it.
            "crc:" if append_time || idempotent => "?".to_owned(),
            _ => value,
        });
    }
    out.join(" ")
}

#[test]
#[ignore = "needs Apache Kafka"]
fn what_is_stored_is_what_apache_kafka_stores() {
    let scratch = Scratch::new("conversion").expect("a directory");
    let kafka = Product::Kafka(judge().expect("Apache Kafka: KAFKA_JUDGE or ../shared/kafka/kafka"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64;
    let timestamp = now - 10_000;
    let (their_answers, theirs) = converted(kafka, &scratch, "kafka", timestamp);
    let (own_answers, own) = converted(logrun(), &scratch, "logrun", timestamp);
    for (a, b) in their_answers.iter().zip(&own_answers) {
        assert_eq!(a, b, "what producers were told: Kafka's, then ours");
    }
    assert_eq!(their_answers.len(), own_answers.len());
    assert_eq!(theirs.keys().collect::<Vec<_>>(), own.keys().collect::<Vec<_>>());
    let (mut batches, mut records, mut codecs) = (0, 0, BTreeSet::new());
    for (topic, lines) in &theirs {
        for (a, b) in lines.iter().zip(&own[topic]) {
            assert_eq!(a, b, "{topic}: Kafka's, then ours");
        }
        assert_eq!(lines.len(), own[topic].len(), "{topic}");
        let heads = lines.iter().filter(|l| l.starts_with("baseOffset: "));
        let codec = |l: &String| l.split("compresscodec: ").nth(1).and_then(|c| c.split(' ').next().map(str::to_owned));
        codecs.extend(heads.clone().filter_map(codec));
        batches += heads.count();
        records += lines.iter().filter(|l| l.starts_with("| offset: ")).count();
    }
    println!("{} topics, {batches} batches, {records} records are the same; codecs {codecs:?}", theirs.len());
    assert_eq!(codecs.len(), 5, "{codecs:?}");
    assert!(theirs.len() == 28 && batches > 1_000);
}
