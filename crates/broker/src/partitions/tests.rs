//! One partition on a simulated disk: what is acknowledged when, while its log waits for the files, for the device, for room,
//! or gives its place to another.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use logrun_config::{BrokerSettings, TopicConfig};
use logrun_io::disk::SimDisk;
use logrun_io::{Disk, Io, MemoryNet};
use logrun_log::{Log, LogEnv, OpenState, TailCache, Writing};
use logrun_model::{
    LeaderEpoch, NodeId, Offset, PartitionEpoch, ProducerEpoch, ProducerId, Sequence, TimestampMs, TopicIdPartition,
    TopicPartition, Uuid,
};
use logrun_partition::PartitionRegistration;
use logrun_record::{BatchBuilder, Compression};

use super::*;
use crate::directories::{Directory, Room};
use crate::logs::OpenedLog;
use crate::waiting::NotReplicated;

const NODE: NodeId = NodeId(1);
const LARGE: usize = 100_000;
const SMALL: usize = 100;

struct World {
    disk: SimDisk,
    env: LogEnv,
    partition: Arc<Partition>,
}

fn settings(durability: &str) -> Arc<Settings> {
    settings_of([("logrun.durability", durability)])
}

fn settings_of<const N: usize>(overrides: [(&str, &str); N]) -> Arc<Settings> {
    let overrides = overrides.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
    let topic = TopicConfig::resolve(&BrokerSettings::default(), &overrides).unwrap();
    Arc::new(Settings::new(&topic, 30_000, 86_400_000))
}

fn directory(io: &Io, path: &str) -> Arc<Directory> {
    let path = Path::new(path);
    Arc::new(Directory::new(
        io,
        path,
        Uuid([path.as_os_str().len() as u8; 16]),
        Arc::new(Room::new(path)),
        Arc::default(),
    ))
}

impl World {
    fn new(durability: &str) -> Self {
        let disk = SimDisk::new();
        for dir in ["/a", "/b"] {
            disk.create_dir_all(Path::new(dir)).unwrap();
        }
        disk.sync_dir(Path::new("/")).unwrap();
        let io = Io::simulated(1, 0, Arc::new(disk.clone()), MemoryNet::default());
        let writing = Writing { gather_bytes: 64 << 10, ..Writing::default() };
        let env = LogEnv { io: io.clone(), tail: TailCache::with_writing(8 << 20, writing) };
        let settings = settings(durability);
        let opened = OpenedLog {
            log: open(&env, "/a/t-0", &settings),
            high_watermark: Offset::ZERO,
            directory: directory(&io, "/a"),
        };
        let id = TopicIdPartition { topic_id: Uuid([7; 16]), partition: 0 };
        let partition = Partition::new(id, TopicPartition::new("t", 0), io.clone(), NODE, opened, settings);
        let registration = PartitionRegistration {
            replicas: vec![NODE],
            isr: vec![NODE],
            leader: NODE,
            leader_epoch: LeaderEpoch(0),
            partition_epoch: PartitionEpoch(0),
        };
        partition.register(io.clock.read(), registration);
        Self { disk, env, partition: Arc::new(partition) }
    }

    /// The `n`-th batch of the one producer, with `bytes` bytes in one record.
    fn append(&self, n: i32, bytes: usize, acks: Acks) -> Appended {
        let mut batch = BatchBuilder::new(Compression::NONE).producer(ProducerId(5), ProducerEpoch(0), Sequence(n));
        batch.append(TimestampMs(0), None, Some(&vec![b'v'; bytes]), &[]).unwrap();
        let request = AppendRequest { records: batch.prepare().unwrap().to_bytes(), acks, zstd_allowed: true };
        self.partition.append_from_client(self.env.io.clock.read(), request).unwrap()
    }

    /// Has another log, in the other directory, take the place of the current one.
    fn replace(&self) {
        let now = self.env.io.clock.read();
        let mut future = open(&self.env, "/b/t-0.07070707070707070707070707070707-future", &self.partition.settings());
        future.truncate_fully_and_start_at(Offset::ZERO, now).unwrap();
        let directory = directory(&self.env.io, "/b");
        let old = "t-0.07070707070707070707070707070707-delete";
        self.partition.replace_log(now, future, directory, old).map_err(|e| e.error).unwrap().unwrap().run().unwrap();
    }
}

fn open(env: &LogEnv, path: &str, settings: &Settings) -> Log {
    let now = env.io.clock.read();
    let mut log = Log::open(env, Path::new(path), settings.log.clone(), OpenState::NEW, now).unwrap().0;
    log.set_topic_id(Uuid([7; 16])).unwrap();
    log
}

/// What is known of the one partition, which is not open.
fn at_rest(partitions: &Partitions) -> AtRest {
    match &partitions.all()[..] {
        [(_, Known::AtRest(rest))] => *rest,
        other => panic!("{other:?}"),
    }
}

/// Its log was closed under the old settings: nobody would have looked at it again.
#[test]
fn settings_that_change_while_a_log_is_being_closed_hold_for_it() {
    let id = TopicIdPartition { topic_id: Uuid([7; 16]), partition: 0 };
    let (clean, stale) = (AtRest::NEW, AtRest { compacted: false, retained_until: TimestampMs(0), ..AtRest::NEW });
    for (changes, expected) in [(false, clean), (true, stale)] {
        let partitions = Partitions::default();
        partitions.insert(id, Hosted::Closed(clean));
        assert!(matches!(partitions.want(id), Wanted::Open(_)));
        if changes {
            assert!(matches!(partitions.changed(id), Changed::Later));
        }
        partitions.settled(id, Hosted::Closed(clean));
        assert_eq!(at_rest(&partitions), expected);
    }
}

async fn outcome(appended: Appended) -> Result<(), NotReplicated> {
    match appended.commit {
        Some(commit) => commit.await.unwrap(),
        None => Ok(()),
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_acknowledged_when_what_it_repeats_is() {
    for acks in [Acks::Leader, Acks::All] {
        let world = World::new("write");
        let first = world.append(0, LARGE, acks);
        let again = world.append(0, LARGE, acks);
        assert_eq!((again.base_offset, again.last_offset), (first.base_offset, first.last_offset));
        assert!(first.commit.is_some() && again.commit.is_some());
        assert_eq!(outcome(again).await, Ok(()));
        assert_eq!(outcome(first).await, Ok(()));
        // Now there is nothing to wait for.
        assert!(world.append(0, LARGE, acks).commit.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn who_waited_for_a_log_that_was_replaced_is_answered_by_the_one_that_took_its_place() {
    for durability in ["write", "sync"] {
        let world = World::new(durability);
        let mut waiting = vec![world.append(0, LARGE, Acks::Leader), world.append(1, LARGE, Acks::All)];
        assert!(waiting.iter().all(|a| a.commit.is_some()));
        world.replace();
        // Beside those who still wait for the old log.
        waiting.push(world.append(2, LARGE, Acks::Leader));
        waiting.push(world.append(3, LARGE, Acks::All));
        waiting.push(world.append(4, SMALL, Acks::All));
        for (n, appended) in waiting.into_iter().enumerate() {
            assert_eq!(outcome(appended).await, Ok(()), "{durability}: {n}");
        }
        assert_eq!(world.partition.high_watermark(), Offset(5));
        if durability == "sync" {
            world.disk.crash(&world.env.io.random);
        } else {
            world.disk.kill();
        }
        let found = open(&world.env, "/b/t-0", &world.partition.settings());
        assert_eq!(found.log_end_offset(), Offset(5));
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_log_took_on_a_full_disk_is_acknowledged_when_there_is_room() {
    for durability in ["write", "sync"] {
        let world = World::new(durability);
        assert_eq!(outcome(world.append(0, LARGE, Acks::All)).await, Ok(()));
        world.disk.set_capacity(Some(world.disk.used() + 50_000));
        let (leader, all) = (world.append(1, LARGE, Acks::Leader), world.append(2, LARGE, Acks::All));
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(world.partition.high_watermark(), Offset(1));
        world.disk.set_capacity(None);
        assert_eq!((outcome(leader).await, outcome(all).await), (Ok(()), Ok(())), "{durability}");
        assert_eq!(world.partition.high_watermark(), Offset(3));
    }
}

#[tokio::test(start_paused = true)]
async fn what_fails_in_a_directory_that_the_log_has_left_is_no_failure_of_its_new_one() {
    let mut failed = 0;
    for n in 1..=20 {
        let world = World::new("write");
        let (old, waiting) = (world.partition.directory(), world.append(0, LARGE, Acks::Leader));
        // Whoever waits has not had its turn when the log is replaced.
        world.disk.fail_mutation(world.disk.counts().mutations + n, logrun_io::disk::Fault::Io);
        let flushed = world.partition.flush();
        world.replace();
        assert_eq!(outcome(waiting).await, Ok(()), "{n}: {flushed:?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(world.partition.directory().is_online(), "{n}: {flushed:?}");
        failed += usize::from(!old.is_online());
        assert_eq!(outcome(world.append(1, LARGE, Acks::All)).await, Ok(()));
    }
    assert!(failed > 0);
}

#[tokio::test(start_paused = true)]
async fn a_flush_that_fails_takes_the_directory_offline() {
    let world = World::new("write");
    assert_eq!(outcome(world.append(0, LARGE, Acks::All)).await, Ok(()));
    world.disk.set_capacity(Some(world.disk.used()));
    assert!(world.partition.flush().is_err_and(|e| e.is_retriable()));
    assert!(world.partition.directory().is_online());
    world.disk.set_capacity(None);
    world.disk.break_dir("/a");
    assert!(world.partition.flush().is_err_and(|e| e.is_storage_failure()));
    assert!(!world.partition.directory().is_online());
}

#[tokio::test(start_paused = true)]
async fn so_does_the_one_that_follows_a_new_segment() {
    let world = World::new("write");
    let now = world.env.io.clock.read();
    world.partition.configure(now, settings_of([("logrun.durability", "write"), ("segment.bytes", "1048576")]));
    assert_eq!(outcome(world.append(0, 1_000_000, Acks::All)).await, Ok(()));
    let segments = || world.disk.list(Path::new("/a/t-0")).unwrap().iter().filter(|e| e.name.ends_with(".log")).count();
    // Small enough to be written at once: what fails is the flush alone.
    let mut n = 0;
    while segments() == 1 {
        n += 1;
        assert!(world.append(n, 40_000, Acks::All).commit.is_none());
    }
    world.disk.break_dir("/a");
    assert!(world.partition.directory().is_online());
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(!world.partition.directory().is_online());
}

#[tokio::test(start_paused = true)]
async fn what_is_written_does_not_commit_what_is_still_to_be_synced() {
    let world = World::new("sync");
    assert_eq!(outcome(world.append(0, LARGE, Acks::All)).await, Ok(()));
    // The sync of this one waits for room.
    world.disk.set_capacity(Some(world.disk.used()));
    let synced = world.append(1, LARGE, Acks::All);
    let turn = || async {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    };
    turn().await;
    world.disk.set_capacity(None);
    world.partition.configure(world.env.io.clock.read(), settings("write"));
    let own = |world: &World| {
        let mut batch = BatchBuilder::new(Compression::NONE);
        batch.append(TimestampMs(0), None, Some(&[b'v'; LARGE]), &[]).unwrap();
        world.partition.append_from_coordinator(world.env.io.clock.read(), batch.prepare().unwrap())
    };
    // What waits for room is written before this one; its sync has yet to be tried again.
    let written = own(&world).unwrap();
    assert_eq!(written.base_offset, Offset(2));
    turn().await;
    let file = world.disk.info(Path::new("/a/t-0/00000000000000000000.log")).unwrap().unwrap();
    assert!(file.len > 3 * LARGE as u64, "both are in the file");
    assert_eq!(world.partition.high_watermark(), Offset(1));
    assert_eq!((outcome(synced).await, outcome(written).await), (Ok(()), Ok(())));
    assert_eq!(world.partition.high_watermark(), Offset(3));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_partition_answers_those_who_wait() {
    let world = World::new("write");
    let (leader, all) = (world.append(0, LARGE, Acks::Leader), world.append(1, LARGE, Acks::All));
    let now = world.env.io.clock.read();
    drop(world.partition.delete(now, "t-0.07070707070707070707070707070707-delete").unwrap());
    assert_eq!(outcome(leader).await, Err(NotReplicated::Truncated));
    assert_eq!(outcome(all).await, Err(NotReplicated::NotLeader));
}
