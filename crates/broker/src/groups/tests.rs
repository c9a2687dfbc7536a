//! A shard over its partition on a simulated disk: what it loads when the log was written by an old Kafka, or can't be
//! read at once or at all, and whom it answers when a commit and its look cross.

use std::path::Path;

use logrun_config::{BrokerSettings, TopicConfig};
use logrun_io::disk::{Fault, SimDisk};
use logrun_io::{Disk, MemoryNet};
use logrun_log::{Log, LogEnv, OpenState, TailCache, Writing};
use logrun_model::{PartitionEpoch, TimestampMs, TopicIdPartition, Uuid};
use logrun_partition::PartitionRegistration;
use logrun_record::PreparedBatch;
use logrun_wire::ApiKey;
use logrun_wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};

use super::*;
use crate::context::{ListenerInfo, ListenerKind, Principal};
use crate::directories::{Directory, Room};
use crate::logs::OpenedLog;
use crate::partitions::Settings;

const NODE: NodeId = NodeId(1);
const EPOCH: LeaderEpoch = LeaderEpoch(0);

struct World {
    disk: SimDisk,
    shard: Arc<Shard>,
}

/// The record of an offset that group `g` has committed for a partition of topic `t`.
fn record(partition: i32, offset: i64) -> (Vec<u8>, Vec<u8>) {
    let key = [&[0, 1, 0, 1, b'g', 0, 1, b't'][..], &partition.to_be_bytes()].concat();
    // Version 3: offset, leader epoch, metadata, commit timestamp.
    let value = [&[0u8, 3][..], &offset.to_be_bytes(), &[255; 4], &[0; 2], &[0; 8]].concat();
    (key, value)
}

fn batch(base: i64, partition: i32, offset: i64) -> PreparedBatch {
    let (key, value) = record(partition, offset);
    let mut batch = BatchBuilder::new(Compression::NONE).base_offset(Offset(base));
    batch.append(TimestampMs(0), Some(&key), Some(&value), &[]).unwrap();
    batch.prepare().unwrap()
}

/// The same as a message of magic 1, as Kafka 0.10 wrote it.
fn legacy(base: i64, partition: i32, offset: i64) -> Vec<u8> {
    let (key, value) = record(partition, offset);
    let mut body = vec![1, 0];
    body.extend(0i64.to_be_bytes());
    for part in [key, value] {
        body.extend((part.len() as i32).to_be_bytes());
        body.extend(part);
    }
    let size = body.len() as i32 + 4;
    [&base.to_be_bytes()[..], &size.to_be_bytes(), &[0; 4], &body].concat()
}

fn open(io: &Io, settings: &Settings) -> Log {
    let env = LogEnv { io: io.clone(), tail: TailCache::with_writing(8 << 20, Writing::default()) };
    let path = Path::new("/a/__consumer_offsets-0");
    let mut log = Log::open(&env, path, settings.log.clone(), OpenState::NEW, io.clock.read()).unwrap().0;
    log.set_topic_id(Uuid([7; 16])).unwrap();
    log
}

impl World {
    /// A shard that is to load one commit from the disk.
    fn new() -> Self {
        let disk = SimDisk::new();
        disk.create_dir_all(Path::new("/a")).unwrap();
        let io = Io::simulated(1, 0, Arc::new(disk.clone()), MemoryNet::default());
        let overrides = [("logrun.durability".into(), "sync".into())].into_iter().collect();
        let topic = TopicConfig::resolve(&BrokerSettings::default(), &overrides).unwrap();
        let settings = Arc::new(Settings::new(&topic, 30_000, 86_400_000));
        let mut written = open(&io, &settings);
        written.append(&[batch(0, 0, 7)], io.clock.read()).unwrap();
        written.close_unsynced().unwrap();
        drop(written);
        let log = open(&io, &settings);
        assert_eq!(log.log_end_offset(), Offset(1));
        let path = Path::new("/a");
        let directory = Arc::new(Directory::new(&io, path, Uuid([1; 16]), Arc::new(Room::new(path)), Arc::default()));
        let opened = OpenedLog { log, high_watermark: Offset(1), directory };
        let id = TopicIdPartition { topic_id: Uuid([7; 16]), partition: 0 };
        let name = TopicPartition::new(OFFSETS_TOPIC, 0);
        let partition = Arc::new(Partition::new(id, name, io.clone(), NODE, opened, settings));
        let registration = PartitionRegistration {
            replicas: vec![NODE],
            isr: vec![NODE],
            leader: NODE,
            leader_epoch: EPOCH,
            partition_epoch: PartitionEpoch(0),
        };
        partition.register(io.clock.read(), registration);
        let shard = Shard::new(io, GroupConfig::default(), partition);
        shard.inner.lock().machine.elected(EPOCH, &mut Vec::new());
        Self { disk, shard }
    }

    /// What `g` has committed for partition 0, or why that can't be told.
    async fn committed(&self) -> Result<i64, i16> {
        let group = OffsetFetchRequestGroup { group_id: Str::from_static("g"), topics: None, ..Default::default() };
        let request = Request::OffsetFetch { group, require_stable: false };
        let Response::OffsetFetch(response) = self.shard.ask(Client::default(), request).await else { panic!() };
        match response.error_code {
            0 => Ok(response.topics[0].partitions[0].committed_offset),
            code => Err(code),
        }
    }
}

fn context() -> RequestContext {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], 9092));
    RequestContext {
        api_key: ApiKey::ListGroups,
        api_version: 5,
        correlation_id: 0,
        client_id: None,
        listener: ListenerInfo { name: Str::from_static("PLAINTEXT"), kind: ListenerKind::Broker },
        principal: Principal::ANONYMOUS,
        peer: address,
        local: address,
        is_forwarded: false,
    }
}

#[test]
fn batches_of_an_old_format_are_loaded_and_so_is_what_follows_them() {
    let name = TopicPartition::new(OFFSETS_TOPIC, 0);
    let log = [&batch(0, 0, 7).to_bytes()[..], &legacy(1, 1, 8), &batch(2, 2, 9).to_bytes()].concat();
    let mut machine = GroupShard::new(GroupConfig::default());
    machine.elected(EPOCH, &mut Vec::new());
    assert_eq!(replay(&mut machine, &name, log.clone().into()), Ok(3));
    let mut torn = log;
    torn.pop();
    assert!(matches!(replay(&mut machine, &name, torn.into()), Err(BatchError::Incomplete { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_load_that_fails_in_passing_is_tried_again() {
    let world = World::new();
    world.disk.fail_read(world.disk.counts().reads + 1, Fault::NoSpace);
    let began = world.shard.io.clock.now();
    assert!(world.shard.load(EPOCH).await);
    assert_eq!(world.shard.io.clock.now().since(began), RETRY_AFTER);
    assert_eq!(world.committed().await, Ok(7));
}

#[tokio::test(start_paused = true)]
async fn a_load_that_fails_for_good_sends_clients_elsewhere() {
    let world = World::new();
    assert_eq!(world.committed().await, Err(ErrorCode::CoordinatorLoadInProgress.code()));
    world.disk.fail_read(world.disk.counts().reads + 1, Fault::Io);
    assert!(!world.shard.load(EPOCH).await);
    assert_eq!(world.committed().await, Err(ErrorCode::NotCoordinator.code()));
}

#[tokio::test(start_paused = true)]
async fn a_commit_between_a_look_and_the_wait_is_not_missed() {
    let world = World::new();
    assert!(world.shard.load(EPOCH).await);
    let partitions = vec![OffsetCommitRequestPartition { committed_offset: 9, ..Default::default() }];
    let topic = OffsetCommitRequestTopic { name: Str::from_static("t"), partitions, ..Default::default() };
    let request = m::OffsetCommitRequest {
        group_id: Str::from_static("g"),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    };
    let shard = world.shard.clone();
    let asked = tokio::spawn(async move { shard.ask(Client::default(), Request::OffsetCommit(request)).await });
    while world.shard.partition.offsets().log_end_offset == Offset(1) {
        tokio::task::yield_now().await;
    }
    assert!(!asked.is_finished());
    world.shard.partition.flush().unwrap();
    assert_eq!(world.shard.partition.high_watermark(), Offset(2));
    let began = world.shard.io.clock.now();
    let running = tokio::spawn(world.shard.clone().run());
    let Response::OffsetCommit(response) = asked.await.unwrap() else { panic!() };
    assert_eq!(response.topics[0].partitions[0].error_code, 0);
    assert_eq!(world.shard.io.clock.now(), began, "nobody waited");
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn while_logs_are_opened_the_list_is_not_whole_and_members_are_well() {
    let world = World::new();
    assert!(world.shard.load(EPOCH).await);
    let groups = Groups::new(world.shard.io.clone(), GroupConfig::default());
    groups.shards.write().insert(0, world.shard.clone());
    let context = context();
    let list = async || groups.list_groups(&context, m::ListGroupsRequest::default()).await.error_code;
    groups.awaited(0, 2);
    assert_eq!(list().await, 0, "its log is open");
    groups.awaited(1, 2);
    assert_eq!(list().await, ErrorCode::CoordinatorLoadInProgress.code());
    let elsewhere = (0..).map(|n| Str::from(format!("g{n}"))).find(|g| partition_for(g, 2) == 1).unwrap();
    let heartbeat = m::HeartbeatRequest { group_id: elsewhere.clone(), ..Default::default() };
    assert_eq!(groups.heartbeat(&context, heartbeat.clone()).await.error_code, 0);
    let sync = m::SyncGroupRequest { group_id: elsewhere, ..Default::default() };
    let refused = groups.sync_group(&context, sync).await.error_code;
    assert_eq!(refused, ErrorCode::CoordinatorLoadInProgress.code());
    groups.resigned(1);
    assert_eq!(list().await, 0);
    assert_eq!(groups.heartbeat(&context, heartbeat).await.error_code, ErrorCode::NotCoordinator.code());
}
