//! What the storage of a whole node does by itself, in virtual time: retention and its intervals, policies and durability
//! that change while a topic is written, moves at their rate, topics that come again under the same name.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use logrun_client::link::Link;
use logrun_io::disk::SimDisk;
use logrun_io::{Disk, Io, MemoryNet, Random};
use logrun_model::{Str, TimestampMs};
use logrun_record::{BatchBuilder, Compression, Limits, split_batches};
use logrun_sim::{System, World};
use logrun_wire::messages as m;
use logrun_wire::{ErrorCode, Request};

const WALL_MS: i64 = 1_735_689_600_000;
const PATIENCE: Duration = Duration::from_secs(60);
/// `ConfigResource.Type` of a topic and of a broker.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
/// Every batch of the tests begins a new segment.
const SMALL: (&str, &str) = ("internal.segment.bytes", "150");

/// How a life of the node ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Stop,
    Kill,
    /// With the seed of what is lost.
    PowerCut(u64),
}

/// A node and its one client.
struct Node {
    io: Io,
    disk: SimDisk,
    link: Link,
}

/// One life of a node on `disk`, which has its data in `/data/a` and `/data/b`.
fn life<T>(disk: &SimDisk, settings: &[(&str, &str)], end: End, what: impl AsyncFnOnce(&mut Node) -> T) -> T {
    let fixed = [
        ("process.roles", "broker,controller"),
        ("node.id", "1"),
        ("controller.quorum.voters", "1@127.0.0.1:9093"),
        ("listeners", "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093"),
        ("controller.listener.names", "CONTROLLER"),
        ("log.dirs", "/data/a,/data/b"),
    ];
    let settings: Vec<(String, String)> =
        fixed.iter().chain(settings).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let out = runtime.block_on(async {
        let io = Io::simulated(7, WALL_MS, Arc::new(disk.clone()), MemoryNet::new());
        disk.set_now_ms(WALL_MS);
        let process = World::default().start(io.clone(), &settings).await.unwrap();
        let link = Link::connect(&io, process.addr(), "test").await.unwrap();
        let mut node = Node { io, disk: disk.clone(), link };
        let out = what(&mut node).await;
        if matches!(end, End::Stop) {
            drop(node);
            process.stop().await;
        }
        out
    });
    // Whatever is torn down, nothing is done to the disk any more.
    disk.halt_at(1);
    drop(runtime);
    match end {
        End::Stop | End::Kill => disk.kill(),
        End::PowerCut(seed) => disk.crash(&Random::from_seed(seed)),
    }
    out
}

fn code(code: i16) -> ErrorCode {
    ErrorCode::from_code(code).unwrap()
}

impl Node {
    async fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.link.call(version, request, PATIENCE).await.unwrap()
    }

    async fn wait(&self, ms: u64) {
        self.io.clock.sleep(Duration::from_millis(ms)).await;
        self.disk.set_now_ms(self.io.clock.wall().get());
    }

    async fn create(&mut self, topic: &str, configs: &[(&str, &str)]) {
        let configs = configs.iter().map(|(name, value)| m::create_topics_request::CreatableTopicConfig {
            name: (*name).into(),
            value: Some((*value).into()),
            ..Default::default()
        });
        let topic = m::create_topics_request::CreatableTopic {
            name: topic.into(),
            num_partitions: 1,
            replication_factor: 1,
            configs: configs.collect(),
            ..Default::default()
        };
        let request = m::CreateTopicsRequest { topics: vec![topic], timeout_ms: 5_000, ..Default::default() };
        let response = self.call(7, &request).await;
        assert_eq!(code(response.topics[0].error_code), ErrorCode::None, "{:?}", response.topics[0].error_message);
    }

    async fn delete(&mut self, topic: &str) {
        let request =
            m::DeleteTopicsRequest { topic_names: vec![topic.into()], timeout_ms: 5_000, ..Default::default() };
        assert_eq!(code(self.call(5, &request).await.responses[0].error_code), ErrorCode::None);
    }

    /// Sets configs, and waits until they are in force.
    async fn alter(&mut self, resource_type: i8, name: &str, configs: &[(&str, &str)]) {
        use m::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
        let configs = configs.iter().map(|(name, value)| AlterableConfig {
            name: (*name).into(),
            value: Some((*value).into()),
            ..Default::default()
        });
        let resource = AlterConfigsResource {
            resource_type,
            resource_name: name.into(),
            configs: configs.collect(),
            ..Default::default()
        };
        let request = m::IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
        let response = self.call(1, &request).await;
        assert_eq!(code(response.responses[0].error_code), ErrorCode::None, "{:?}", response.responses);
        self.wait(10).await;
    }

    /// Writes one batch of one record; its offset.
    async fn try_produce(&mut self, topic: &str, key: Option<&str>, value: &[u8]) -> Result<i64, ErrorCode> {
        use m::produce_request::{PartitionProduceData, TopicProduceData};
        let mut batch = BatchBuilder::new(Compression::NONE);
        let now = TimestampMs(self.io.clock.wall().get());
        batch.append(now, key.map(str::as_bytes), Some(value), &[]).unwrap();
        let records = batch.build().unwrap().bytes.into();
        let partition = PartitionProduceData { index: 0, records: Some(records), ..Default::default() };
        let topic = TopicProduceData { name: topic.into(), partition_data: vec![partition], ..Default::default() };
        let request = m::ProduceRequest { acks: -1, timeout_ms: 5_000, topic_data: vec![topic], ..Default::default() };
        let response = self.call(9, &request).await;
        let p = &response.responses[0].partition_responses[0];
        match code(p.error_code) {
            ErrorCode::None => Ok(p.base_offset),
            e => Err(e),
        }
    }

    async fn produce(&mut self, topic: &str, key: &str, value: &[u8]) -> i64 {
        self.try_produce(topic, Some(key), value).await.unwrap()
    }

    async fn list_offset(&mut self, topic: &str, timestamp: i64) -> i64 {
        use m::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
        let partition = ListOffsetsPartition { partition_index: 0, timestamp, ..Default::default() };
        let topic = ListOffsetsTopic { name: topic.into(), partitions: vec![partition], ..Default::default() };
        let request = m::ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
        let response = self.call(5, &request).await;
        let p = &response.topics[0].partitions[0];
        assert_eq!(code(p.error_code), ErrorCode::None);
        p.offset
    }

    /// Where the topic's log starts and ends.
    async fn bounds(&mut self, topic: &str) -> (i64, i64) {
        (self.list_offset(topic, -2).await, self.list_offset(topic, -1).await)
    }

    /// The offsets and keys that a reader finds.
    async fn read(&mut self, topic: &str) -> Vec<(i64, String)> {
        use m::fetch_request::{FetchPartition, FetchTopic};
        let (mut at, end) = self.bounds(topic).await;
        let mut out = Vec::new();
        while at < end {
            let partition =
                FetchPartition { partition: 0, fetch_offset: at, partition_max_bytes: 1 << 20, ..Default::default() };
            let topic = FetchTopic { topic: topic.into(), partitions: vec![partition], ..Default::default() };
            let request = m::FetchRequest { max_wait_ms: 0, topics: vec![topic], ..Default::default() };
            let response = self.call(11, &request).await;
            let p = response.responses.into_iter().next().unwrap().partitions.into_iter().next().unwrap();
            assert_eq!(code(p.error_code), ErrorCode::None);
            let before = at;
            for batch in split_batches(p.records.unwrap_or_default().into_bytes()) {
                let batch = batch.unwrap();
                batch.verify_crc().unwrap();
                at = batch.header.next_offset().get();
                for record in batch.records(&Limits::default()).unwrap().map(Result::unwrap) {
                    let key = record.key.map(|k| String::from_utf8_lossy(&k).into_owned());
                    out.push((record.offset.get(), key.unwrap_or_default()));
                }
            }
            if at == before {
                break;
            }
        }
        out
    }

    async fn delete_records(&mut self, topic: &str, offset: i64) -> Result<i64, ErrorCode> {
        use m::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
        let partition = DeleteRecordsPartition { partition_index: 0, offset, ..Default::default() };
        let topic = DeleteRecordsTopic { name: topic.into(), partitions: vec![partition], ..Default::default() };
        let request = m::DeleteRecordsRequest { topics: vec![topic], timeout_ms: 5_000, ..Default::default() };
        let response = self.call(2, &request).await;
        let p = &response.topics[0].partitions[0];
        match code(p.error_code) {
            ErrorCode::None => Ok(p.low_watermark),
            e => Err(e),
        }
    }

    /// The directory in which the topic's partition lies, and whether a copy is under way.
    async fn place(&mut self, topic: &str) -> (Str, bool) {
        let request = m::DescribeLogDirsRequest { topics: None, ..Default::default() };
        let response = self.call(4, &request).await;
        let (mut place, mut moving) = (Str::EMPTY, false);
        for dir in &response.results {
            for p in dir.topics.iter().filter(|t| t.name == topic).flat_map(|t| &t.partitions) {
                if p.is_future_key {
                    moving = true;
                } else {
                    place = dir.log_dir.clone();
                }
            }
        }
        (place, moving)
    }

    async fn move_to(&mut self, dir: &str, topic: &str) {
        use m::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
        let topic = AlterReplicaLogDirTopic { name: topic.into(), partitions: vec![0], ..Default::default() };
        let dir = AlterReplicaLogDir { path: dir.into(), topics: vec![topic], ..Default::default() };
        let request = m::AlterReplicaLogDirsRequest { dirs: vec![dir], ..Default::default() };
        let response = self.call(2, &request).await;
        assert_eq!(code(response.results[0].partitions[0].error_code), ErrorCode::None);
    }

    /// The names of the partition's files that end so.
    fn files(&self, topic: &str, ending: &str) -> Vec<String> {
        let mut out = Vec::new();
        for dir in ["/data/a", "/data/b"] {
            let path = Path::new(dir).join(format!("{topic}-0"));
            let names = self.disk.list(&path).unwrap_or_default().into_iter().map(|e| e.name);
            out.extend(names.filter(|n| n.ends_with(ending)));
        }
        out
    }
}

#[test]
fn retention_looks_at_its_interval_and_files_go_after_their_delay() {
    let settings = [("log.retention.check.interval.ms", "60000")];
    life(&SimDisk::new(), &settings, End::Stop, async |node| {
        let configs = [SMALL, ("retention.ms", "10000"), ("file.delete.delay.ms", "30000")];
        node.create("t", &configs).await;
        for _ in 0..5 {
            node.produce("t", "k", &[7; 60]).await;
        }
        assert_eq!(node.files("t", ".log").len(), 5);
        // Over for long, and nobody has looked.
        node.wait(55_000).await;
        assert_eq!(node.bounds("t").await, (0, 5));
        node.wait(6_000).await;
        assert_eq!(node.bounds("t").await, (5, 5));
        // The active segment has gone too, and an empty one is there.
        assert_eq!((node.files("t", ".log").len(), node.files("t", ".log.deleted").len()), (1, 5));
        node.wait(25_000).await;
        assert_eq!(node.files("t", ".log.deleted").len(), 5);
        node.wait(16_000).await;
        assert_eq!(node.files("t", ".deleted").len(), 0);
        // It goes on behind them.
        assert_eq!(node.produce("t", "k", &[7; 60]).await, 5);
    });
}

#[test]
fn retention_by_size_and_by_log_start() {
    let settings = [("log.retention.check.interval.ms", "1000")];
    life(&SimDisk::new(), &settings, End::Stop, async |node| {
        node.create("t", &[SMALL, ("retention.bytes", "500"), ("retention.ms", "-1")]).await;
        for _ in 0..10 {
            node.produce("t", "k", &[7; 30]).await;
        }
        node.wait(2_000).await;
        let (start, end) = node.bounds("t").await;
        // A segment goes only if what is left is not less than the limit.
        let left: u64 = node
            .files("t", ".log")
            .iter()
            .map(|name| {
                let paths = ["/data/a", "/data/b"].map(|d| Path::new(d).join("t-0").join(name));
                paths.iter().find_map(|p| node.disk.info(p).unwrap()).unwrap().len
            })
            .sum();
        assert!((500..620).contains(&left) && start > 3 && end == 10, "{left} bytes, {start} to {end}");
        assert_eq!(node.delete_records("t", 9).await, Ok(9));
        node.wait(2_000).await;
        assert_eq!((node.bounds("t").await, node.files("t", ".log").len()), ((9, 10), 1));
    });
}

#[test]
fn a_policy_changes_while_the_topic_is_written() {
    let settings = [("log.retention.check.interval.ms", "1000"), ("log.cleaner.backoff.ms", "200")];
    life(&SimDisk::new(), &settings, End::Stop, async |node| {
        let none = [("cleanup.policy", ""), ("retention.ms", "2000"), ("retention.bytes", "1")];
        node.create("t", &[SMALL, none[0], none[1], none[2], ("min.cleanable.dirty.ratio", "0")]).await;
        for n in 0..6 {
            node.produce("t", &format!("k{}", n % 2), &[7; 60]).await;
        }
        node.try_produce("t", None, &[7; 60]).await.unwrap();
        // Neither deleted nor compacted; but what somebody deletes goes.
        node.wait(20_000).await;
        assert_eq!(node.read("t").await.len(), 7);
        assert_eq!(node.delete_records("t", 1).await, Ok(1));
        node.wait(2_000).await;
        assert_eq!((node.bounds("t").await, node.files("t", ".log").len()), ((1, 7), 6));
        // Compacted: of each key the last, and no record without one any more.
        node.alter(TOPIC, "t", &[("cleanup.policy", "compact")]).await;
        assert_eq!(node.try_produce("t", None, &[7; 60]).await, Err(ErrorCode::InvalidRecord));
        assert_eq!(node.delete_records("t", 3).await, Err(ErrorCode::PolicyViolation));
        node.produce("t", "k0", &[7; 60]).await;
        node.produce("t", "k2", &[7; 60]).await;
        node.wait(2_000).await;
        let keys = |records: &[(i64, &str)]| records.iter().map(|(o, k)| (*o, (*k).to_owned())).collect::<Vec<_>>();
        assert_eq!(node.read("t").await, keys(&[(5, "k1"), (7, "k0"), (8, "k2")]));
        // Both: compacted, and what is too old goes.
        node.alter(TOPIC, "t", &[("cleanup.policy", "compact,delete"), ("retention.bytes", "-1")]).await;
        node.wait(3_000).await;
        assert_eq!(node.bounds("t").await, (9, 9));
        for n in 0..4 {
            node.produce("t", &format!("k{}", n % 2), &[7; 60]).await;
        }
        node.wait(600).await;
        // What lies in the active segment does not count yet.
        assert_eq!(node.read("t").await, keys(&[(10, "k1"), (11, "k0"), (12, "k1")]));
        // And by deletion alone: nothing is compacted any more.
        node.alter(TOPIC, "t", &[("cleanup.policy", "delete"), ("retention.ms", "10000")]).await;
        for _ in 0..3 {
            node.produce("t", "k1", &[7; 60]).await;
        }
        node.wait(5_000).await;
        assert_eq!(node.read("t").await.len(), 6);
        node.wait(12_000).await;
        assert_eq!(node.bounds("t").await, (16, 16));
    });
}

/// What is promised from the change on is kept, and with it all that was there before.
#[test]
fn durability_changes_while_the_topic_is_written() {
    for seed in 0..30 {
        let settings =
            [("logrun.journal", ["none", "all", "sync"][seed as usize % 3]), ("logrun.journal.bytes", "16384")];
        let changes: [&[(&str, &str)]; 4] = [
            &[("logrun.durability", "sync")],
            &[("flush.messages", "1")],
            &[("flush.messages", "3")],
            &[("flush.ms", "500")],
        ];
        let change = changes[seed as usize % 4];
        let disk = SimDisk::new();
        let kept = life(&disk, &settings, End::PowerCut(seed), async |node| {
            node.create("t", &[("internal.segment.bytes", "1000")]).await;
            for _ in 0..20 {
                node.produce("t", "k", &[7; 60]).await;
            }
            node.alter(TOPIC, "t", change).await;
            let mut kept = 0;
            for _ in 0..4 {
                kept = node.produce("t", "k", &[7; 60]).await + 1;
            }
            if change[0].0 == "flush.ms" {
                node.wait(2_000).await;
            }
            // At most so many are not on the device.
            let behind = if change == [("flush.messages", "3")] { 2 } else { 0 };
            // Back again: nothing is promised of these.
            node.alter(TOPIC, "t", &[("logrun.durability", "memory"), ("flush.messages", "1000000")]).await;
            for _ in 0..3 {
                node.produce("t", "k", &[7; 60]).await;
            }
            kept - behind
        });
        life(&disk, &settings, End::Kill, async |node| {
            let (start, end) = node.bounds("t").await;
            assert!(start == 0 && end >= kept, "seed {seed} {change:?}: {start} to {end}, {kept} was promised");
            assert_eq!(node.read("t").await.len() as i64, end, "seed {seed}");
        });
    }
}

#[test]
fn moves_keep_to_their_rate() {
    life(&SimDisk::new(), &[], End::Stop, async |node| {
        node.create("t", &[]).await;
        for _ in 0..20 {
            node.produce("t", "k", &[7; 50_000]).await;
        }
        let rate = "replica.alter.log.dirs.io.max.bytes.per.second";
        node.alter(BROKER, "1", &[(rate, "100000")]).await;
        let from = node.place("t").await.0;
        let to = if from == "/data/a" { "/data/b" } else { "/data/a" };
        let began = node.io.clock.now();
        node.move_to(to, "t").await;
        node.wait(5_000).await;
        assert_eq!(node.place("t").await, (from.clone(), true));
        // Written meanwhile.
        assert_eq!(node.produce("t", "k", &[7; 50_000]).await, 20);
        while node.place("t").await.0 == from {
            node.wait(50).await;
        }
        let took = node.io.clock.now().since(began).as_secs_f64();
        assert!((9.0..13.0).contains(&took), "{took} s for a megabyte at 100 kB/s");
        assert_eq!(node.read("t").await.len(), 21);
        // A move that waits feels another rate.
        node.alter(BROKER, "1", &[(rate, "0")]).await;
        node.move_to(&from, "t").await;
        node.wait(60_000).await;
        assert_eq!(node.place("t").await, (to.into(), true));
        node.alter(BROKER, "1", &[(rate, "1000000000")]).await;
        node.wait(3_000).await;
        assert_eq!(node.place("t").await, (from, false));
    });
}

/// The checkpoints said where the first topic's log began; a crash before the next ones told it of the second.
#[test]
fn a_topic_that_comes_again_under_its_name_is_a_new_one_after_a_crash_too() {
    let settings = [("log.flush.offset.checkpoint.interval.ms", "1000")];
    for end in [End::Kill, End::PowerCut(3), End::Stop] {
        let disk = SimDisk::new();
        life(&disk, &settings, end, async |node| {
            node.create("t", &[]).await;
            for _ in 0..50 {
                node.produce("t", "old", &[7; 60]).await;
            }
            assert_eq!(node.delete_records("t", 40).await, Ok(40));
            node.wait(5_000).await;
            node.delete("t").await;
            node.create("t", &[("logrun.durability", "sync")]).await;
            for _ in 0..10 {
                node.produce("t", "new", &[7; 60]).await;
            }
        });
        life(&disk, &settings, End::Stop, async |node| {
            let found = node.read("t").await;
            assert_eq!(found.len(), 10, "{end:?}: {found:?}");
            assert!(found.iter().all(|(_, key)| key == "new"));
        });
    }
}
