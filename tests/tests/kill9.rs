//! `kill -9` in the middle of producers with acks=1 at full speed, a hundred times: every acknowledged record is there,
//! in order, once.
//!
//! Four producers, one to a partition, keep five batches in flight each, never retry and never send a record twice. The
//! broker is killed when a random number of batches is acknowledged; after the next start everything behind what is
//! already checked is read. Records that were not acknowledged may be there or not, but in their order. At the end all
//! is read again from the beginning.
//!
//! `KILL9_ROUNDS=N` (100 with `LOGRUN_BIN`, else 10), `KILL9_SEED=N` replays the numbers drawn (not the kernel's scheduling), `KILL9_JUDGE=1` runs
//! against Apache Kafka (with few rounds: it takes its time to start).

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use logrun_testkit::{Home, Product, Scratch, judge};
use logrun_tests::logrun;
use logrun_tests::wire::{Connection, batch};

const TOPIC: &str = "kill9";
const PARTITIONS: i32 = 4;
const IN_FLIGHT: usize = 5;
/// Records of a batch.
const RECORDS: u64 = 10;
const VALUE_BYTES: usize = 120;
const PATIENCE: Duration = Duration::from_secs(60);

fn env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |v| v.parse().unwrap_or_else(|e| panic!("{name}={v}: {e}")))
}

/// xorshift64*: the numbers only have to differ from round to round.
fn draw(state: &mut u64, below: u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_F491_4F6C_DD1D) % below
}

/// A record's value: its number, then bytes that follow from it.
fn value(number: u64) -> Vec<u8> {
    let mut out = number.to_be_bytes().to_vec();
    out.extend((0..VALUE_BYTES as u64 - 8).map(|n| (number.wrapping_mul(31).wrapping_add(n)) as u8));
    out
}

/// What is known of one partition.
#[derive(Default)]
struct Partition {
    /// The number that the next record gets. Never taken back.
    next: u64,
    /// Offsets of acknowledged batches that are not yet seen in the log: base offset -> first number.
    acknowledged: BTreeMap<i64, u64>,
    /// Everything below is checked; the greatest number seen there.
    checked: i64,
    last: Option<u64>,
}

/// Produces until the broker is gone.
fn produce(addr: SocketAddr, partition: i32, state: &mut Partition, total: &AtomicU64) {
    let Ok(mut connection) = Connection::open(addr, PATIENCE) else { return };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64;
    let mut flying = VecDeque::new();
    loop {
        while flying.len() < IN_FLIGHT {
            let values: Vec<_> = (state.next..state.next + RECORDS).map(value).collect();
            flying.push_back(state.next);
            state.next += RECORDS;
            if connection.produce(TOPIC, partition, &batch(&values, now)).is_err() {
                // What was sent before may still be answered.
                while let (Some(first), Ok(base)) = (flying.pop_front(), connection.produced()) {
                    state.acknowledged.insert(base, first);
                }
                return;
            }
        }
        let first = flying.pop_front().expect("five are in flight");
        match connection.produced() {
            Ok(base) => {
                assert!(state.acknowledged.insert(base, first).is_none(), "{TOPIC}-{partition}: offset {base} twice");
                total.fetch_add(1, Ordering::Relaxed);
            }
            Err(e) if e.kind() == std::io::ErrorKind::InvalidData => panic!("{TOPIC}-{partition}: {e}"),
            Err(_) => return,
        }
    }
}

/// Reads from `state.checked` to the end.
fn check(connection: &mut Connection, partition: i32, state: &mut Partition) {
    loop {
        let (high_watermark, records) =
            connection.fetch(TOPIC, partition, state.checked).unwrap_or_else(|e| panic!("{TOPIC}-{partition}: {e}"));
        for (offset, bytes) in records {
            assert_eq!(offset, state.checked, "{TOPIC}-{partition}: a gap or a repeated offset");
            let number = u64::from_be_bytes(bytes[..8].try_into().expect("a number"));
            assert_eq!(bytes, value(number), "{TOPIC}-{partition}: bytes of the record at {offset}");
            assert!(
                state.last < Some(number),
                "{TOPIC}-{partition}: {number} at {offset} comes after {:?}",
                state.last
            );
            if let Some(first) = state.acknowledged.remove(&offset) {
                assert_eq!(number, first, "{TOPIC}-{partition}: another record at the acknowledged offset {offset}");
                // The batch's other records must follow; they are looked at as single acknowledgements.
                if number % RECORDS == 0 {
                    state.acknowledged.extend((1..RECORDS).map(|n| (offset + n as i64, first + n)));
                }
            }
            state.last = Some(number);
            state.checked += 1;
        }
        if state.checked >= high_watermark {
            break;
        }
    }
    let lost = state.acknowledged.iter().next();
    assert!(
        lost.is_none(),
        "{TOPIC}-{partition}: acknowledged but lost (offset, number) {lost:?}, end {}",
        state.checked
    );
}

#[test]
fn what_was_acknowledged_survives_a_hundred_kills() {
    // A hundred for the binary that is named; a taste of it in a plain `cargo test` of a debug build.
    let rounds = env("KILL9_ROUNDS", if std::env::var_os("LOGRUN_BIN").is_some() { 100 } else { 10 });
    let mut random = env("KILL9_SEED", u64::from(std::process::id()) * 7919 + 1).max(1);
    println!("KILL9_SEED={random} KILL9_ROUNDS={rounds}");
    let product = match env("KILL9_JUDGE", 0) {
        0 => logrun(),
        _ => Product::Kafka(judge().expect("KAFKA_JUDGE")),
    };
    let scratch = Scratch::new("kill9").expect("a directory");
    // Small segments, so that kills also meet rolls.
    let home = Home::new(product, scratch.path(), "log.segment.bytes=4194304\n").expect("a home");
    let mut partitions: Vec<Partition> = (0..PARTITIONS).map(|_| Partition::default()).collect();
    let began = Instant::now();
    for round in 0..=rounds {
        let (mut running, _) = home.start(PATIENCE).unwrap_or_else(|e| panic!("start {round}: {e}"));
        let mut connection = Connection::open(home.addr(), PATIENCE).expect("a connection");
        if round == 0 {
            connection.create_topic(TOPIC, PARTITIONS).expect("the topic");
        }
        wait_until_led(&home);
        for (n, partition) in partitions.iter_mut().enumerate() {
            check(&mut connection, n as i32, partition);
        }
        if round == rounds {
            break;
        }
        drop(connection);
        let (total, target) = (AtomicU64::new(0), 1 + draw(&mut random, 2000));
        std::thread::scope(|scope| {
            for (n, partition) in partitions.iter_mut().enumerate() {
                let (total, addr) = (&total, home.addr());
                scope.spawn(move || produce(addr, n as i32, partition, total));
            }
            let deadline = Instant::now() + PATIENCE;
            while total.load(Ordering::Relaxed) < target && Instant::now() < deadline {
                std::thread::yield_now();
            }
            running.kill().expect("kill -9");
        });
        assert!(total.into_inner() >= target, "round {round}: nothing moved for {PATIENCE:?}\n{}", home.log());
    }
    // All of it again, from the beginning.
    let (mut running, _) = home.start(PATIENCE).expect("the last start");
    wait_until_led(&home);
    let mut connection = Connection::open(home.addr(), PATIENCE).expect("a connection");
    let mut records = 0;
    for (n, partition) in partitions.iter_mut().enumerate() {
        let end = partition.checked;
        (partition.checked, partition.last) = (0, None);
        check(&mut connection, n as i32, partition);
        assert_eq!(partition.checked, end, "{TOPIC}-{n}: the end moved");
        records += end;
    }
    running.kill().expect("kill -9");
    println!("{rounds} kills in {:.1?}, {records} records, none lost", began.elapsed());
    assert!(records > 0);
}

/// Until every partition answers a fetch at offset 0 without an error: right after its start a broker may not lead yet.
fn wait_until_led(home: &Home) {
    let deadline = Instant::now() + PATIENCE;
    for partition in 0..PARTITIONS {
        loop {
            let asked = Connection::open(home.addr(), PATIENCE).and_then(|mut c| c.fetch(TOPIC, partition, 0));
            match asked {
                Ok(_) => break,
                Err(e) => assert!(Instant::now() < deadline, "{TOPIC}-{partition} is not led: {e}\n{}", home.log()),
            }
            std::thread::yield_now();
        }
    }
}
