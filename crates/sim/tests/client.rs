//! The client library in virtual time: its producer and consumers work with a node that restarts, over connections that
//! lose requests, lose answers (so that what was done is done again), break in the middle and are slow.
//!
//! What must hold: every record has its fate; one that was acknowledged is there, at its offset, once, and in the order in
//! which it was sent; the group has read all of them; a committed offset never goes back. A seed that fails fails again.

mod rough;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use logrun_client::admin::{Admin, NewTopic};
use logrun_client::consumer::{CloseOptions, Consumer};
use logrun_client::producer::{Producer, Record};
use logrun_client::{Client, ClientKind, Config, TopicPartition};
use logrun_io::disk::SimDisk;
use logrun_io::{Io, MemoryNet, Random};
use logrun_sim::{Process, System, World};
use rough::Weather;
use std::sync::Mutex;

const WALL_MS: i64 = 1_735_689_600_000;
const TOPIC: &str = "t";
const GROUP: &str = "g";
/// Records of each producer.
const RECORDS: u32 = 150;
/// The longest a run may take, in virtual time.
const PATIENCE: Duration = Duration::from_secs(1800);

fn settings() -> Vec<(String, String)> {
    [
        ("process.roles", "broker,controller"),
        ("node.id", "1"),
        ("controller.quorum.voters", "1@127.0.0.1:9093"),
        ("listeners", "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093"),
        ("controller.listener.names", "CONTROLLER"),
        ("auto.create.topics.enable", "false"),
        ("offsets.topic.num.partitions", "2"),
        ("offsets.topic.replication.factor", "1"),
        ("group.initial.rebalance.delay.ms", "500"),
        ("log.dirs", "/data"),
    ]
    .map(|(k, v)| (k.to_owned(), v.to_owned()))
    .into()
}

/// What the clients were told.
#[derive(Debug, Default)]
struct Seen {
    /// What each acknowledged record is, by its place.
    acknowledged: BTreeMap<(i32, i64), String>,
    /// Records whose delivery failed: they may be there or not.
    failed: BTreeSet<String>,
    /// What the group's members were given.
    read: BTreeSet<(i32, i64)>,
    /// The last committed offset that was seen of each partition.
    committed: BTreeMap<i32, i64>,
}

type Shared = Arc<Mutex<Seen>>;

fn config() -> Config {
    Config::new("127.0.0.1:9092").set("reconnect.backoff.max.ms", 200).set("request.timeout.ms", 5_000)
}

async fn produce(io: Io, weather: Arc<Weather>, name: String, partitions: i32, seen: Shared) {
    let r = weather.random().clone();
    let config = config()
        .set("linger.ms", r.below(20))
        .set("batch.size", 200 + r.below(800))
        .set("max.in.flight.requests.per.connection", 1 + r.below(5))
        .set("delivery.timeout.ms", 600_000);
    let client = Client::with_security(io.clone(), &config, ClientKind::Producer, weather).expect("a client");
    let producer = Producer::of(client, &config, None).expect("a producer");
    for number in 0..RECORDS {
        let text = format!("{name} {number:05}");
        let partition = r.below(partitions as u64) as i32;
        let heard = seen.clone();
        let sent = text.clone();
        let delivered = move |result: Result<logrun_client::producer::RecordMetadata, logrun_client::Error>| {
            let mut seen = heard.lock().expect("sound");
            match result {
                Ok(written) => {
                    if let Some(offset) = written.offset {
                        let other = seen.acknowledged.insert((written.partition.partition, offset), sent.clone());
                        assert_eq!(other, None, "{sent} and another are both said to be at {offset}");
                    }
                }
                Err(e) => {
                    // A node that has started again knows a producer's last batch only.
                    let forgotten = e.to_string().contains("no longer knows whether it has a batch");
                    assert!(forgotten || e.is_retriable(), "{sent}: {e}");
                    seen.failed.insert(sent);
                }
            }
        };
        let record = Record::to(TOPIC).partition(partition).value(&text);
        producer.send_with(record, delivered).await.expect("taken");
        if r.chance(1, 3) {
            io.clock.sleep(Duration::from_millis(r.below(200))).await;
        }
    }
    producer.close().await;
}

async fn consume(io: Io, weather: Arc<Weather>, seen: Shared, done: Arc<AtomicBool>) {
    let r = weather.random().clone();
    let config = config()
        .set("group.id", GROUP)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", false)
        .set("max.poll.records", 1 + r.below(50))
        .set("session.timeout.ms", 10_000)
        .set("default.api.timeout.ms", 20_000);
    let client = Client::with_security(io.clone(), &config, ClientKind::Consumer, weather).expect("a client");
    let consumer = Consumer::new(client, &config).expect("a consumer");
    consumer.subscribe([TOPIC]).expect("subscribed");
    while !done.load(Ordering::Relaxed) {
        let records = match consumer.poll(Duration::from_millis(500)).await {
            Ok(records) => records,
            Err(e) => panic!("a poll fails: {e}"),
        };
        for record in &records {
            seen.lock().expect("sound").read.insert((record.partition(), record.offset().get()));
        }
        // A commit may fail, for the group may have been divided anew; what it covers is then read again.
        if r.chance(2, 3) {
            drop(consumer.commit_sync().await);
        }
    }
    drop(consumer.commit_sync().await);
    let options = CloseOptions { timeout: Some(Duration::from_secs(20)), ..CloseOptions::default() };
    drop(consumer.close(options).await);
}

/// Looks at what is committed; it never goes back.
async fn look(admin: &Admin, seen: &Shared) {
    let Ok(found) = admin.list_group_offsets(&GROUP.into(), None, false).await else { return };
    let mut seen = seen.lock().expect("sound");
    for (tp, offset) in found {
        let Ok(Some(committed)) = offset else { continue };
        let now = committed.offset;
        let last = seen.committed.insert(tp.partition, now).unwrap_or(-1);
        assert!(last <= now, "{tp}: {last} was committed, now it is {now}");
    }
}

/// All records of the topic, by a consumer that assigns itself.
async fn whole(io: &Io, partitions: i32) -> BTreeMap<(i32, i64), String> {
    let config = config().set("auto.offset.reset", "earliest");
    let client = Client::new(io.clone(), &config, ClientKind::Consumer).expect("a client");
    let consumer = Consumer::new(client, &config).expect("a consumer");
    let all: Vec<TopicPartition> = (0..partitions).map(|p| TopicPartition::new(TOPIC, p)).collect();
    consumer.assign(all.clone()).expect("assigned");
    let ends = consumer.end_offsets(all).await.expect("ends");
    let total: i64 = ends.values().map(|o| o.get()).sum();
    let mut found = BTreeMap::new();
    while (found.len() as i64) < total {
        for record in &consumer.poll(Duration::from_secs(10)).await.expect("records") {
            let text = String::from_utf8_lossy(record.value().unwrap_or_default()).into_owned();
            found.insert((record.partition(), record.offset().get()), text);
        }
    }
    found
}

async fn live(seed: u64, io: Io) -> String {
    let random = Random::from_seed(seed);
    let (world, settings) = (World::default(), settings());
    // What a stopped node leaves running may hold its directory for a moment; a process would be gone with all of it.
    let start = async || -> Box<dyn Process> {
        loop {
            match world.start(io.clone(), &settings).await {
                Ok(node) => break node,
                Err(e) if e.contains("is in use by another process") => {
                    io.clock.sleep(Duration::from_millis(100)).await;
                }
                Err(e) => panic!("a node: {e}"),
            }
        }
    };
    let mut node = start().await;
    let partitions = 1 + random.below(3) as i32;
    let admin = Admin::of(Client::new(io.clone(), &config(), ClientKind::Admin).expect("a client"));
    let created = admin.create_topics(&[NewTopic::new(TOPIC, partitions)], false).await.expect("an answer");
    created[TOPIC].as_ref().expect("created");

    let weather = Arc::new(Weather::new(&io, seed));
    let (seen, done) = (Shared::default(), Arc::new(AtomicBool::new(false)));
    let producers: Vec<_> = (0..1 + random.below(2))
        .map(|n| io.tasks.spawn(produce(io.clone(), weather.clone(), format!("p{n}"), partitions, seen.clone())))
        .collect();
    let consumers: Vec<_> = (0..1 + random.below(3))
        .map(|_| io.tasks.spawn(consume(io.clone(), weather.clone(), seen.clone(), done.clone())))
        .collect();
    let mut writing = producers.len() as u32;
    for _ in 0..2 + random.below(3) {
        io.clock.sleep(Duration::from_millis(random.below(4_000))).await;
        look(&admin, &seen).await;
        node.stop().await;
        io.clock.sleep(Duration::from_millis(random.below(3_000))).await;
        node = start().await;
    }
    for producer in producers {
        producer.join().await.expect("a producer");
        writing -= 1;
    }
    assert_eq!(writing, 0);
    weather.clears();
    let there = whole(&io, partitions).await;
    {
        let seen = seen.lock().expect("sound");
        for (place, text) in &seen.acknowledged {
            assert_eq!(there.get(place), Some(text), "acknowledged at {place:?}");
        }
        let mut last: BTreeMap<(i32, &str), &str> = BTreeMap::new();
        let mut once = BTreeSet::new();
        for ((partition, offset), text) in &there {
            assert!(once.insert(text), "{text} is there twice, the second time at {partition}-{offset}");
            let (producer, _) = text.split_once(' ').expect("a producer's name");
            let before = last.insert((*partition, producer), text).unwrap_or_default();
            assert!(before < text.as_str(), "{text} at {offset} lies behind {before}");
        }
        let known = seen.acknowledged.values().chain(&seen.failed).collect::<BTreeSet<_>>();
        assert!(once.iter().all(|text| known.contains(text)), "something is there that nobody heard of");
    }
    // What was written is read, by the group as a whole, and the group's place is the end.
    loop {
        look(&admin, &seen).await;
        let all = {
            let seen = seen.lock().expect("sound");
            let committed: i64 = seen.committed.values().sum();
            there.keys().all(|place| seen.read.contains(place)) && committed == there.len() as i64
        };
        if all {
            break;
        }
        io.clock.sleep(Duration::from_millis(300)).await;
    }
    done.store(true, Ordering::Relaxed);
    for consumer in consumers {
        consumer.join().await.expect("a consumer");
    }
    look(&admin, &seen).await;
    node.stop().await;
    let seen = seen.lock().expect("sound");
    format!(
        "{} acknowledged, {} there, {} ms, {}",
        seen.acknowledged.len(),
        there.len(),
        io.clock.now().as_ms(),
        weather.told()
    )
}

fn run(seed: u64) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let io = Io::simulated(seed, WALL_MS, Arc::new(SimDisk::new()), MemoryNet::new());
        let lived = tokio::time::timeout(PATIENCE, live(seed, io)).await;
        lived.unwrap_or_else(|_| panic!("seed {seed} does not come to an end"))
    })
}

/// Names the seed of what fails.
fn hold(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        match std::panic::catch_unwind(|| run(seed)) {
            Ok(told) => println!("seed {seed}: {told}"),
            Err(panic) => {
                println!("seed {seed} fails");
                std::panic::resume_unwind(panic);
            }
        }
    }
}

#[test]
fn seeds_0_to_16_hold() {
    hold(0..16);
}

#[test]
fn seeds_20_to_40_hold() {
    hold(20..40);
}

#[test]
fn the_same_seed_does_the_same() {
    for seed in 0..3 {
        assert_eq!(run(seed), run(seed));
    }
}
