//! Metadata logs that Apache Kafka 4.3.1 wrote, under `testdata/`, give the image that they describe.

use std::io::IoSlice;
use std::path::{Path, PathBuf};

use logrun_io::disk::{RealDisk, SimDisk, read_all};
use logrun_io::{Disk, OpenMode};
use logrun_log::LogEnv;
use logrun_metadata::{ConfigResource, ConfigResourceType, MetadataImage};
use logrun_model::{LeaderEpoch, NodeId, PartitionEpoch, ProducerId, RaftEpoch, Uuid};

use crate::support::*;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/kafka-4.3.1").join(name)
}

fn put(disk: &SimDisk, name: &str, bytes: &[u8]) {
    let path = Path::new("/data/__cluster_metadata-0").join(name);
    let file = disk.open(&path, OpenMode::Create).unwrap();
    file.write_all_at(0, &[IoSlice::new(bytes)]).unwrap();
}

/// A simulated disk with the golden log, but for the files that `without` picks.
fn copied(name: &str, without: impl Fn(&str) -> bool) -> (SimDisk, LogEnv) {
    let (disk, env) = simulated(1);
    disk.create_dir_all(Path::new("/data/__cluster_metadata-0")).unwrap();
    let real = RealDisk::new();
    for e in real.list(&golden(name)).unwrap() {
        if !without(&e.name) {
            put(&disk, &e.name, &read_all(&real, &golden(name).join(&e.name)).unwrap().unwrap());
        }
    }
    (disk, env)
}

fn directory() -> Uuid {
    "NZMgQ2oBQKW6uDrYN5a9gw".parse().unwrap()
}

fn open(env: &LogEnv, clean: bool) -> Loaded {
    load(env, &data_dir(), raft_config(directory()), clean).unwrap()
}

/// What every one of the golden logs has.
fn check(image: &MetadataImage) {
    let levels: Vec<(String, i16)> = image.features.iter().map(|(n, l)| (n.to_string(), *l)).collect();
    let expected = [
        ("eligible.leader.replicas.version", 1),
        ("group.version", 1),
        ("metadata.version", 30),
        ("share.version", 1),
        ("streams.version", 1),
        ("transaction.version", 2),
    ];
    assert_eq!(levels, expected.map(|(n, l)| (n.to_string(), l)));
    assert!(image.topics.by_name("gone").is_none());
    let orders = image.topics.by_name("orders").unwrap();
    assert_eq!(orders.partition_count(), 4);
    assert_eq!(image.topics.by_name("a.b").unwrap().partition_count(), 1);
    assert_eq!(orders.partition(0).unwrap().directories, [directory()]);
    let get = |r: ConfigResource, k: &str| image.configs.get(&r, k).map(ToString::to_string);
    assert_eq!(get(ConfigResource::topic("orders"), "cleanup.policy").as_deref(), Some("compact,delete"));
    assert_eq!(get(ConfigResource::topic("orders"), "retention.ms"), None);
    assert_eq!(get(ConfigResource::DEFAULT_BROKER, "min.insync.replicas").as_deref(), Some("1"));
    assert_eq!(get(ConfigResource::DEFAULT_BROKER, "log.cleaner.threads").as_deref(), Some("2"));
    assert_eq!(get(ConfigResource::broker(1), "message.max.bytes").as_deref(), Some("2000000"));
    let group = ConfigResource::new(ConfigResourceType::Group, "g1");
    assert_eq!(get(group, "consumer.session.timeout.ms").as_deref(), Some("46000"));
    assert_eq!(
        get(ConfigResource::new(ConfigResourceType::ClientMetrics, "m1"), "interval.ms").as_deref(),
        Some("1000")
    );
    let quotas: Vec<_> =
        image.client_quotas.iter().map(|(e, q)| (e[0].1.as_deref(), q["producer_byte_rate"])).collect();
    assert_eq!(quotas, [(None, 2000.0), (Some("alice"), 1000.0)]);
    assert_eq!(image.scram.len(), 1);
    assert_eq!(image.next_producer_id, ProducerId(1000));
    let broker = image.cluster.broker(NodeId(1)).unwrap();
    assert_eq!(broker.directories, [directory()]);
    assert_eq!(broker.listener("PLAINTEXT").unwrap().port, 39192);
    assert_eq!(image.cluster.controllers.get(&NodeId(1)).unwrap().listeners[0].port, 39193);
}

#[tokio::test(start_paused = true)]
async fn after_a_clean_stop() {
    let (_, env) = copied("clean", |_| false);
    let mut node = open(&env, true);
    check(node.image());
    same(node.image(), node.machine.image());
    let p = node.image().topics.by_name("orders").unwrap().partition(3).unwrap().clone();
    assert_eq!((p.leader, p.isr.len(), p.elr.clone()), (NodeId::NONE, 0, vec![NodeId(1)]));
    assert!(node.image().cluster.broker(NodeId(1)).unwrap().fenced);
    // The next leader of the quorum is this node, and the broker comes back uncleanly.
    assert_eq!(node.lead().unwrap(), RaftEpoch(2));
    node.activate().await.unwrap();
    node.register(directory(), 1).await.unwrap();
    let p = node.image().topics.by_name("orders").unwrap().partition(3).unwrap().clone();
    assert_eq!((p.leader, p.leader_epoch), (NodeId(1), LeaderEpoch(2)));
}

#[tokio::test(start_paused = true)]
async fn after_being_killed() {
    let (disk, env) = copied("killed", |_| false);
    // Kafka maps its indexes at their full size, and cuts them only when it closes them.
    for (name, len) in [("index", 10_485_760), ("timeindex", 10_485_756)] {
        put(&disk, &format!("00000000000000000000.{name}"), &vec![0; len]);
    }
    let mut node = open(&env, false);
    check(node.image());
    let p = node.image().topics.by_name("a.b").unwrap().partition(0).unwrap().clone();
    assert_eq!((p.leader, p.leader_epoch, p.partition_epoch), (NodeId(1), LeaderEpoch(2), PartitionEpoch(2)));
    assert_eq!(node.lead().unwrap(), RaftEpoch(3));
}

#[tokio::test(start_paused = true)]
async fn from_a_snapshot() {
    let (_, env) = copied("snapshots", |_| false);
    let from_snapshot = open(&env, true);
    check(from_snapshot.image());
    assert_eq!(from_snapshot.image().topics.len(), 4);
    let (_, env) = copied("snapshots", |n| n.ends_with(".checkpoint") && !n.starts_with("00000000000000000000-"));
    let mut from_log = open(&env, true);
    same(from_snapshot.image(), from_log.image());
    same(from_snapshot.machine.image(), from_log.machine.image());
    assert_eq!(from_snapshot.log.end_offset(), from_log.log.end_offset());
    assert_eq!(from_log.lead().unwrap(), RaftEpoch(4));
}
