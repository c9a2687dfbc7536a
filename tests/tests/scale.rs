//! A hundred thousand idle partitions, made by CreateTopics, against the real binary: what they take in memory, and how
//! long the node then needs to serve again after a clean stop and after `kill -9`.
//!
//! The limits hold for a release build: `LOGRUN_BIN=target/release/logrun cargo test -p logrun-tests --test scale --
//! --ignored --nocapture`; `SCALE_PARTITIONS=N` makes as many, and tells instead of judging if there are more.

use std::time::{Duration, Instant};

use logrun_testkit::{Home, Product, Running, Scratch, logrun_binary};
use logrun_tests::wire::{Connection, batch};

const PATIENCE: Duration = Duration::from_secs(300);
const PARTITIONS: u32 = 100_000;
const PARTITIONS_OF_A_TOPIC: u32 = 100;
/// What is promised of that many.
const RESIDENT_BYTES_MAX: u64 = 1_000_000_000;
const SERVES_WITHIN: Duration = Duration::from_secs(5);

fn connect(home: &Home) -> Connection {
    Connection::open(home.addr(), PATIENCE).expect("a connection")
}

/// What the node takes, and one record to a partition that nobody has used: it must work.
fn look(home: &Home, running: &Running, what: &str, partition: i32) -> u64 {
    let mut connection = connect(home);
    connection.produce("t-7", partition, &batch(&[b"one".to_vec()], 1_700_000_000_000)).expect("a request");
    assert_eq!(connection.produced().expect("an acknowledgement"), 0);
    for n in 0..=partition {
        let (high_watermark, records) = connection.fetch("t-7", n, 0).expect("a fetch");
        assert_eq!((high_watermark, records.len()), (1, 1), "{what}: partition {n}");
    }
    let resident = running.resident_bytes().expect("the process");
    println!("{what}: {:.0} MB resident", resident as f64 / 1e6);
    resident
}

#[test]
#[ignore = "takes a minute, and means something only for a release build"]
fn a_hundred_thousand_idle_partitions() {
    let partitions = std::env::var("SCALE_PARTITIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(PARTITIONS);
    let (binary, release) = logrun_binary().expect("a binary");
    let judged = release && partitions <= PARTITIONS;
    let scratch = Scratch::new("scale").expect("a directory");
    let home = Home::new(Product::Logrun(binary), &scratch.join("home"), "").expect("a home");
    let start = |what: &str| {
        let (running, ready) = home.start(PATIENCE).unwrap_or_else(|e| panic!("{what}: {e}"));
        println!("{what}: answers after {:?}, serves after {:?}", ready.answers, ready.serves);
        assert!(!judged || ready.serves < SERVES_WITHIN, "{what}: {:?}", ready.serves);
        running
    };
    let mut running = start("an empty directory");
    let begun = Instant::now();
    let mut connection = connect(&home);
    for n in 0..partitions / PARTITIONS_OF_A_TOPIC {
        connection.create_topic(&format!("t-{n}"), PARTITIONS_OF_A_TOPIC as i32).expect("a topic");
    }
    println!("{partitions} partitions made in {:?}", begun.elapsed());
    let mut resident = vec![look(&home, &running, "after that", 0)];
    let (took, _) = running.terminate(PATIENCE).expect("SIGTERM ends it");
    println!("a clean stop took {took:?}");
    let mut running = start("after a clean stop");
    resident.push(look(&home, &running, "after a clean stop", 1));
    running.kill().expect("SIGKILL ends it");
    let running = start("after kill -9");
    resident.push(look(&home, &running, "after kill -9", 2));
    assert!(!judged || resident.iter().all(|bytes| *bytes < RESIDENT_BYTES_MAX), "{resident:?}");
}
