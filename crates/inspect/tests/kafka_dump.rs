//! The dump of a directory that Apache Kafka 4.3.1 wrote is, line by line, what its own `DumpLogSegments` printed.
//!
//! `tests/kafka-4.3` was filled by `tests/oracle/LogCorpus.java` of the repository, `tests/expected` holds what the tool
//! printed. `tests/dump_log.rs` of the whole makes both anew and compares both products' files.

use std::path::Path;
use std::sync::Arc;

use logrun_inspect::kafka_dump::{DumpError, DumpOptions, PlainDecoder, RecordDecoder, dump};
use logrun_inspect::schema::CoordinatorLog;
use logrun_io::Disk;
use logrun_io::disk::RealDisk;

const DIR: &str = "tests/kafka-4.3";
const PLAIN: RecordDecoder = RecordDecoder::Plain { key: PlainDecoder::Text, value: PlainDecoder::Text };

/// The files below the directory whose path has `part` and whose name ends in one of `endings`, in order.
fn files(part: &str, endings: &[&str]) -> Vec<String> {
    fn walk(dir: &Path, out: &mut Vec<String>) {
        for entry in std::fs::read_dir(dir).expect("a directory").flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, out);
            } else if entry.metadata().is_ok_and(|m| m.len() > 0) {
                out.push(path.to_string_lossy().into_owned());
            }
        }
    }
    let mut all = Vec::new();
    walk(Path::new(DIR), &mut all);
    all.retain(|path| path.contains(part) && endings.iter().any(|e| path.ends_with(e)));
    all.sort();
    all
}

fn options(files: Vec<String>, decoder: Option<RecordDecoder>) -> DumpOptions {
    DumpOptions {
        print_data_log: decoder.is_some(),
        verify_index_only: false,
        index_sanity_check: false,
        files,
        max_message_size: 5 << 20,
        max_bytes: None,
        deep_iteration: decoder.is_some(),
        skip_record_metadata: false,
        decoder: decoder.unwrap_or(PLAIN),
    }
}

/// What is printed, and what goes to standard error.
fn run(options: &DumpOptions) -> (String, String, Result<(), DumpError>) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::default());
    let result = dump(disk, options, &mut out, &mut err);
    (String::from_utf8(out).expect("UTF-8"), String::from_utf8(err).expect("UTF-8"), result)
}

fn same(name: &str, options: &DumpOptions) -> String {
    let expected = std::fs::read_to_string(format!("tests/expected/{name}.txt")).expect(name);
    let (out, err, result) = run(options);
    result.expect(name);
    for (i, (ours, theirs)) in out.lines().zip(expected.lines()).enumerate() {
        assert_eq!(ours, theirs, "{name}, line {}", i + 1);
    }
    assert_eq!(out.lines().count(), expected.lines().count(), "{name}");
    err
}

fn one(dir: &str) -> Vec<String> {
    files(&format!("/{dir}/"), &[".log"])
}

#[test]
fn what_kafka_wrote_of_itself() {
    let mut metadata = files("__cluster_metadata", &[".log", ".checkpoint"]);
    metadata.push(format!("{DIR}/bootstrap.checkpoint"));
    same("metadata", &options(metadata, Some(RecordDecoder::Metadata)));
    for (name, dir, log) in [
        ("offsets", "__consumer_offsets-0", CoordinatorLog::Group),
        ("transactions", "__transaction_state-0", CoordinatorLog::Transaction),
        ("shares", "__share_group_state-0", CoordinatorLog::Share),
    ] {
        same(name, &options(one(dir), Some(RecordDecoder::Coordinator(log))));
    }
}

#[test]
fn what_producers_wrote() {
    let mut logs = files("", &[".log"]);
    logs.retain(|path| !path.contains("/__"));
    let err = same("data", &options(logs, Some(PLAIN)));
    assert!(err.starts_with("Non-consecutive offsets in /") && err.ends_with("\n  -1 is followed by 10\n"), "{err}");
    let few = vec![
        format!("{DIR}/codec-none-0/00000000000000000000.log"),
        format!("{DIR}/transactions-0/00000000000000000010.log"),
    ];
    let skip = DumpOptions { skip_record_metadata: true, max_bytes: Some(1000), ..options(few, Some(PLAIN)) };
    same("skip", &skip);
}

#[test]
fn indexes_and_snapshots() {
    assert_eq!(same("indexes", &options(files("", &["index"]), None)), "");
    assert_eq!(same("snapshots", &options(files("", &[".snapshot"]), None)), "");
}

#[test]
fn what_is_wrong_is_said() {
    let dir = std::env::temp_dir().join(format!("logrun-dump-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    let copy = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = std::fs::read(format!("{DIR}/codec-none-0/{name}")).expect(name);
        change(&mut bytes);
        let path = dir.join(name);
        std::fs::write(&path, bytes).expect(name);
        path.to_string_lossy().into_owned()
    };
    // A byte of a record turned over, and half a batch at the end.
    let log = copy("00000000000000000000.log", &|bytes| {
        bytes[100] ^= 1;
        bytes.truncate(bytes.len() - 5);
    });
    let (out, _, result) = run(&options(vec![log], None));
    result.expect("a torn tail is no reason to stop");
    assert!(out.lines().nth(2).is_some_and(|line| line.ends_with("isvalid: false")), "{out}");
    assert!(out.lines().last().is_some_and(|l| l.starts_with("Found ") && l.contains("invalid bytes")), "{out}");

    // An index whose first entry names another offset than the batch that it leads to.
    copy("00000000000000000000.log", &|_| {});
    let index = copy("00000000000000000000.index", &|bytes| bytes[3] -= 1);
    let (_, err, result) = run(&options(vec![index], None));
    result.expect("told of");
    assert!(err.starts_with("Mismatches in :/") && err.contains("  Index offset: "), "{err}");
    // One that leads into the middle of a batch.
    let index = copy("00000000000000000000.index", &|bytes| bytes[7] += 1);
    assert!(run(&options(vec![index], None)).2.is_err());

    let zeros = copy("00000000000000000000.log", &|bytes| bytes.resize(bytes.len() + 64, 0));
    let (out, _, result) = run(&options(vec![zeros], None));
    assert!(result.is_err() && out.lines().count() > 3, "{out}");
    for name in ["x.log", "no-dot", "0.index"] {
        let path = dir.join(name).to_string_lossy().into_owned();
        let (out, err, result) = run(&options(vec![path], None));
        assert!(result.is_err() || err.starts_with("Ignoring unknown file"), "{name}: {out}{err}");
    }
    std::fs::remove_dir_all(&dir).expect("removed");
}
