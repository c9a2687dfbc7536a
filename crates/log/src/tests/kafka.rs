//! Files that Apache Kafka wrote, and Apache Kafka's judgement of ours.
//!
//! The golden directory is copied into a simulated disk. The judge is a script that runs Kafka's own
//! programs (`KAFKA_JUDGE`, called as `$KAFKA_JUDGE tool DumpLogSegments …`); without it that test says so.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use logrun_io::disk::{RealDisk, read_all};
use logrun_io::{Disk, OpenMode};
use logrun_model::{BrokerEpoch, LeaderEpoch, NodeId, Offset, ProducerId, TimestampMs, TopicPartition};
use logrun_record::{AnyBatch, Limits};

use super::support::*;
use crate::{
    CLEAN_SHUTDOWN_FILE, CleanShutdown, Log, LogConfig, LogDirs, LogEnv, META_PROPERTIES, OpenState,
    RECOVERY_POINT_CHECKPOINT, RecoveryReport,
};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/kafka-4.3.1")
}

/// Copies the golden directory to `/data` of a simulated disk.
fn copied() -> World {
    let world = World::with_config(1, LogConfig::default());
    let real = RealDisk::new();
    let copy = |from: &Path, to: &Path| {
        let bytes = read_all(&real, from).unwrap().unwrap();
        let f = world.io.disk.open(to, OpenMode::Create).unwrap();
        f.write_all_at(0, &[IoSlice::new(&bytes)]).unwrap();
    };
    for e in real.list(&golden()).unwrap() {
        let name = if e.name == "kafka_cleanshutdown" { CLEAN_SHUTDOWN_FILE } else { &e.name };
        let (from, to) = (golden().join(&e.name), Path::new("/data").join(name));
        if e.is_dir {
            world.io.disk.create_dir_all(&to).unwrap();
            for f in real.list(&from).unwrap() {
                copy(&from.join(&f.name), &to.join(&f.name));
            }
        } else {
            copy(&from, &to);
        }
    }
    world
}

fn open(world: &World, name: &str, config: LogConfig, state: OpenState) -> (Log, RecoveryReport) {
    Log::open(&world.env, &Path::new("/data").join(name), config, state, world.now()).unwrap()
}

fn values(log: &Log) -> Vec<String> {
    let mut out = Vec::new();
    for b in read_batches(log, 100) {
        for r in b.records(&Limits::default()).unwrap() {
            let r = r.unwrap();
            if !b.header.is_control() {
                out.push(String::from_utf8(r.value.unwrap().to_vec()).unwrap());
            }
        }
    }
    out
}

const CLEAN: OpenState = OpenState { clean_shutdown: true, ..OpenState::NEW };

fn check_plain(log: &Log) {
    let expected: Vec<String> = ["none", "gzip", "snappy", "lz4", "zstd"]
        .iter()
        .flat_map(|codec| (0..6).map(move |i| format!("value-{codec}-{i}")))
        .collect();
    assert_eq!(values(log), expected);
    assert_eq!((log.log_end_offset(), log.segment_count()), (Offset(30), 10));
    assert_eq!(log.producers().active_producers().len(), 1);
    assert_eq!(log.end_offset_for_epoch(LeaderEpoch(0)).1, Offset(30));
}

fn check_txn(log: &Log) {
    assert_eq!((values(log).len(), log.log_end_offset()), (18, Offset(24)));
    let aborted = log.aborted_transactions(Offset(0), Offset(24)).unwrap();
    let ranges: Vec<_> = aborted.iter().map(|t| (t.first_offset.get(), t.last_offset.get())).collect();
    assert_eq!(ranges, [(4, 7), (12, 15), (20, 23)]);
    assert!(aborted.iter().all(|t| t.last_stable_offset == t.last_offset.next()));
    assert_eq!(log.producers().first_undecided_offset(), None);
    assert_eq!(log.producers().active_producers().len(), 1);
}

#[test]
fn a_cleanly_closed_directory_is_read_as_it_is() {
    let world = copied();
    let mut dirs = LogDirs::open(&world.io, &[PathBuf::from("/data")]).unwrap().dirs;
    assert_eq!(dirs.cluster_id().unwrap(), "4L6g3nShT-eMCtK--X86sw");
    dirs.check_owner(None, NodeId(1)).unwrap();
    assert_eq!(dirs.take_clean_shutdown().unwrap(), BrokerEpoch(572));
    let checkpoint = dirs.read_checkpoint(0, RECOVERY_POINT_CHECKPOINT).unwrap();
    assert_eq!(checkpoint.0[&TopicPartition::new("txn", 0)], Offset(24));
    let found = dirs.partitions(0).unwrap();
    assert_eq!(found.len(), 4);
    let before = world.disk.counts().mutations;
    let (plain, report) = open(&world, "plain-0", LogConfig::default(), CLEAN);
    assert_eq!(report, RecoveryReport::default());
    check_plain(&plain);
    assert!(plain.topic_id().is_some());
    let (txn, _) = open(&world, "txn-0", LogConfig::default(), CLEAN);
    check_txn(&txn);
    assert_eq!(world.disk.counts().mutations, before, "opening and reading changed the directory");
    let first = plain.plan_offset_for_timestamp(TimestampMs(0)).run().unwrap().unwrap();
    assert_eq!(first.offset, Offset(0));
    let last = plain.plan_max_timestamp().run().unwrap().unwrap();
    assert!(last.offset >= Offset(27) && last.timestamp > first.timestamp);
    let none = plain.plan_offset_for_timestamp(last.timestamp.plus_ms(1)).run().unwrap();
    assert_eq!(none, None);
}

#[test]
fn a_killed_kafkas_directory_is_recovered() {
    for (name, recovery_point) in [("plain-0", 0), ("plain-0", 14), ("plain-0", 30), ("txn-0", 0), ("txn-0", 9)] {
        let world = copied();
        let dir = Path::new("/data").join(name);
        // As after a kill: preallocated indexes, a torn tail, no snapshot at the end.
        let active = world.io.disk.list(&dir).unwrap().into_iter().rfind(|e| e.name.ends_with(".log"));
        let active = active.unwrap().name;
        for suffix in [".index", ".timeindex"] {
            let path = dir.join(active.replace(".log", suffix));
            world.io.disk.open(&path, OpenMode::Write).unwrap().set_len(4092).unwrap();
        }
        let log_file = world.io.disk.open(&dir.join(&active), OpenMode::Write).unwrap();
        let len = log_file.len().unwrap();
        log_file.write_all_at(len, &[IoSlice::new(&[1; 77])]).unwrap();
        let state = OpenState { recovery_point: Offset(recovery_point), ..OpenState::NEW };
        let (mut log, report) = open(&world, name, LogConfig::default(), state);
        assert_eq!(report.cut.map(|c| (c.position, c.bytes)), Some((len, 77)));
        if name == "txn-0" {
            check_txn(&log)
        } else {
            check_plain(&log)
        }
        log.close(world.now()).unwrap();
        let golden_files: Vec<_> = RealDisk::new().list(&golden().join(name)).unwrap();
        // Closed by us, its files are those that Kafka left, byte for byte.
        for e in golden_files {
            let ours = read_all(&world.disk, &dir.join(&e.name)).unwrap();
            let theirs = read_all(&RealDisk::new(), &golden().join(name).join(&e.name)).unwrap();
            assert!(ours.is_some(), "{} is gone", e.name);
            let same = ours == theirs;
            assert!(same || e.name.ends_with("leader-epoch-checkpoint"), "{}/{} differs", name, e.name);
        }
        let (log, _) = open(&world, name, LogConfig::default(), CLEAN);
        if name == "txn-0" { check_txn(&log) } else { check_plain(&log) }
    }
}

#[test]
fn compacted_gaps_are_passed_and_kept() {
    for clean_shutdown in [true, false] {
        let world = copied();
        let config = LogConfig { compact: true, delete: false, ..LogConfig::default() };
        let state = OpenState { clean_shutdown, ..OpenState::NEW };
        let (log, report) = open(&world, "compacted-0", config, state);
        assert_eq!(report.cut, None);
        assert_eq!(log.log_end_offset(), Offset(125));
        let batches = read_batches(&log, 100);
        let count: i32 = batches.iter().map(|b| b.header.records_count).sum();
        assert!(count < 20 && batches[0].header.base_offset > Offset(50), "{count}");
        for from in 0..125 {
            let got = log.read(Offset(from), Offset(125), 1, true).unwrap();
            assert!(got.next_offset > Offset(from) && got.bytes > 0);
        }
    }
}

#[test]
fn old_formats_are_read() {
    for clean_shutdown in [true, false] {
        let world = copied();
        let state = OpenState { clean_shutdown, ..OpenState::NEW };
        let (mut log, report) = open(&world, "legacy-0", LogConfig::default(), state);
        assert_eq!(report.cut, None);
        assert_eq!(log.log_end_offset(), Offset(24));
        let got = log.read(Offset(0), Offset(24), 10_000, true).unwrap();
        let (mut bytes, mut offsets) = (joined(&got.slices), Vec::new());
        while !bytes.is_empty() {
            let batch = AnyBatch::parse(&bytes).unwrap();
            batch.verify_crc().unwrap();
            bytes = bytes.slice(batch.size_in_bytes()..);
            offsets.push(batch.last_offset().get());
        }
        assert_eq!(offsets, [0, 1, 2, 3, 7, 8, 9, 10, 11, 15, 19, 23]);
        for offset in 8..24 {
            let t = TimestampMs(1_600_000_000_000 + offset * 1000 - 500);
            let found = log.plan_offset_for_timestamp(t).run().unwrap().unwrap();
            assert_eq!(found.offset.get(), offset);
            assert!(log.read(Offset(offset), Offset(24), 1, true).unwrap().next_offset > Offset(offset));
        }
        log.append(&[batch_at(24, 2, 5)], world.now()).unwrap();
        log.truncate_to(Offset(16), world.now()).unwrap();
        assert_eq!(log.read(Offset(0), Offset(16), 10_000, true).unwrap().next_offset, Offset(16));
    }
}

#[test]
fn kafkas_small_files_are_understood() {
    let real = RealDisk::new();
    let read = |name: &str| read_all(&real, &golden().join(name)).unwrap().unwrap();
    assert_eq!(CleanShutdown::decode(&read("kafka_cleanshutdown")).broker_epoch, BrokerEpoch(572));
    let meta = crate::MetaProperties::decode(&read(META_PROPERTIES)).unwrap();
    assert_eq!((meta.node_id, meta.directory_id.is_some()), (NodeId(1), true));
}

/// Writes a directory of ours to a real disk and has DumpLogSegments go through every file.
#[test]
fn kafka_finds_nothing_wrong_with_our_files() {
    let Ok(judge) = std::env::var("KAFKA_JUDGE") else {
        println!("skipped: KAFKA_JUDGE does not name a script that runs Kafka's programs");
        return;
    };
    let world = World::new(1);
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new());
    let io = logrun_io::Io { disk: disk.clone(), ..world.io.clone() };
    let env = LogEnv { io, tail: world.env.tail.clone() };
    let root = std::env::temp_dir().join(format!("logrun-log-{}", std::process::id()));
    let dir = root.join("t-0");
    let config = LogConfig { segment_bytes: 2000, index_interval_bytes: 200, ..LogConfig::default() };
    let (mut log, _) = Log::open(&env, &dir, config, OpenState::NEW, world.now()).unwrap();
    let mut at = 0;
    for i in 0..60i32 {
        let time = WALL_MS + i64::from((i * 7) % 50);
        log.append(&[batch_with_time(at, 3, i / 20, time), batch_with_time(at + 3, 1, i / 20, time - 5)], world.now())
            .unwrap();
        log.append(&[producer_batch(at + 4, 2, 7, i * 2, true)], world.now()).unwrap();
        log.append(&[marker(at + 6, 7, i % 2 == 0)], world.now()).unwrap();
        at += 7;
    }
    log.set_topic_id(world.io.random.uuid()).unwrap();
    log.close(world.now()).unwrap();
    assert!(log.producers().entry(ProducerId(7)).is_some());
    let files: Vec<String> = disk
        .list(&dir)
        .unwrap()
        .into_iter()
        .filter(|e| [".log", ".index", ".timeindex", ".txnindex", ".snapshot"].iter().any(|s| e.name.ends_with(s)))
        .map(|e| dir.join(e.name).display().to_string())
        .collect();
    assert!(files.len() > 30);
    let output = Command::new(judge)
        .args(["tool", "DumpLogSegments", "--deep-iteration", "--files", &files.join(",")])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    disk.remove_dir_all(&root).unwrap();
    assert!(output.status.success(), "{text}");
    // The tool's count begins at -1 in each file, so that it complains of every segment but the first, of
    // Kafka's own too.
    let follows: Vec<&str> = text.lines().filter(|l| l.contains("is followed by")).collect();
    assert!(follows.iter().all(|l| l.trim().starts_with("-1 is followed by")), "{follows:?}");
    for complaint in ["xception", "ismatch", "orrupt", "out of order", "not valid", "Could not"] {
        let lines: Vec<&str> = text.lines().filter(|l| l.contains(complaint)).collect();
        assert!(lines.is_empty(), "{lines:?}");
    }
    let records = text.lines().filter(|l| l.contains("| offset: ")).count();
    assert_eq!(records as i64, at, "{text}");
    assert!(text.contains("Dumping") && text.contains("producerId: 7"));
}
