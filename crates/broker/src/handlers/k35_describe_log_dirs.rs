//! DescribeLogDirs (key 35, versions 1–5; KIP-113, KIP-827, KIP-1066): this broker's log directories and what each
//! replica takes in them.
//!
//! A replica that is the leader lags behind nothing. One on the move to another directory is in both, in the other as a
//! future replica that lags behind the one that it is to replace.
//! Version 4 adds the room of the directory's file system, version 5 whether the directory is cordoned. A directory
//! that has failed is told as KAFKA_STORAGE_ERROR, without replicas. The metadata log is not among the replicas.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use logrun_io::disk::Space;
use logrun_model::{PartitionIndex, Str, TopicIdPartition, TopicPartition};
use logrun_wire::ErrorCode;
use logrun_wire::messages::describe_log_dirs_request::{DescribableLogDirTopic, DescribeLogDirsRequest};
use logrun_wire::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResponse, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use tracing::error;

use crate::Broker;
use crate::context::RequestContext;
use crate::logs::DirState;
use crate::partitions::{AtRest, Known};

pub async fn handle(
    broker: &Arc<Broker>,
    _context: &RequestContext,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    let shared = broker.clone();
    // The room of a file system is asked of the system, which may have to wait for the device.
    let tasks = broker.io().tasks;
    let results = tasks.blocking(move || describe(&shared, request.topics.as_deref())).await;
    DescribeLogDirsResponse { results, ..Default::default() }
}

fn describe(broker: &Broker, wanted: Option<&[DescribableLogDirTopic]>) -> Vec<DescribeLogDirsResult> {
    let wanted = wanted.map(wanted_partitions);
    let is_wanted = |topic: &Str, index| {
        let Some(wanted) = &wanted else { return true };
        wanted.get(topic).is_some_and(|indexes| indexes.contains(&index))
    };
    let mut replicas: BTreeMap<&Path, BTreeMap<Str, Vec<DescribeLogDirsPartition>>> = BTreeMap::new();
    let dirs = broker.logs().describe_dirs(&broker.config().log_dirs);
    let image = broker.image();
    for (id, known) in broker.partitions().all() {
        let Some(dir) = broker.logs().directory_of(id) else { continue };
        let Some(dir) = dirs.iter().find(|d| d.path == dir.path) else { continue };
        let Some(topic) = image.topics.name_of(id.topic_id) else { continue };
        if is_wanted(topic, id.partition) {
            replicas.entry(&dir.path).or_default().entry(topic.clone()).or_default().push(DescribeLogDirsPartition {
                partition_index: id.partition,
                partition_size: i64::try_from(size(broker, id, topic, &known)).unwrap_or(i64::MAX),
                ..Default::default()
            });
        }
    }
    for m in broker.moves().all() {
        let Some(dir) = dirs.iter().find(|d| d.path == m.to.path) else { continue };
        let TopicPartition { topic, partition } = &m.partition.name;
        if is_wanted(topic, *partition) {
            replicas.entry(&dir.path).or_default().entry(topic.clone()).or_default().push(DescribeLogDirsPartition {
                partition_index: *partition,
                partition_size: i64::try_from(m.size()).unwrap_or(i64::MAX),
                offset_lag: m.offset_lag(),
                is_future_key: true,
                ..Default::default()
            });
        }
    }
    let registration = image.cluster.broker(broker.node_id());
    let cordoned = registration.and_then(|r| r.cordoned_directories.as_deref()).unwrap_or_default();
    let each = dirs.iter().map(|dir| match room(broker, dir) {
        Some(space) => DescribeLogDirsResult {
            log_dir: dir.shown(),
            topics: topics(replicas.remove(dir.path.as_path()).unwrap_or_default()),
            total_bytes: i64::try_from(space.total).unwrap_or(i64::MAX),
            usable_bytes: i64::try_from(space.available).unwrap_or(i64::MAX),
            is_cordoned: dir.id.is_some_and(|id| cordoned.contains(&id)),
            ..Default::default()
        },
        None => DescribeLogDirsResult {
            error_code: ErrorCode::KafkaStorageError.code(),
            log_dir: dir.shown(),
            ..Default::default()
        },
    });
    each.collect()
}

/// What a replica takes; a closed log is measured where it lies, once.
fn size(broker: &Broker, id: TopicIdPartition, topic: &Str, known: &Known) -> u64 {
    match known {
        Known::Online(partition) => partition.size(),
        Known::AtRest(AtRest { size: Some(size), .. }) => *size,
        Known::AtRest(_) => {
            let name = TopicPartition::new(topic.clone(), id.partition);
            match broker.logs().size_at_rest(id, &name) {
                Ok(size) => {
                    broker.partitions().measured(id, size);
                    size
                }
                Err(e) => {
                    error!(partition = %name, "a log can't be measured: {e}");
                    0
                }
            }
        }
    }
}

/// A topic that is named twice is asked for once.
fn wanted_partitions(topics: &[DescribableLogDirTopic]) -> BTreeMap<Str, BTreeSet<PartitionIndex>> {
    let mut wanted: BTreeMap<Str, BTreeSet<PartitionIndex>> = BTreeMap::new();
    for topic in topics {
        wanted.entry(topic.topic.clone()).or_default().extend(&topic.partitions);
    }
    wanted
}

/// The room of a directory's file system; `None` if the directory has failed.
fn room(broker: &Broker, dir: &DirState) -> Option<Space> {
    if !dir.online {
        return None;
    }
    let space = broker.io().disk.space(&dir.path);
    space.inspect_err(|e| error!("could not ask for the room of {}: {e}", dir.path.display())).ok()
}

fn topics(by_name: BTreeMap<Str, Vec<DescribeLogDirsPartition>>) -> Vec<DescribeLogDirsTopic> {
    let each = by_name.into_iter().map(|(name, mut partitions)| {
        partitions.sort_by_key(|p| p.partition_index);
        DescribeLogDirsTopic { name, partitions, ..Default::default() }
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_named_twice_are_joined_and_sorted() {
        let topic = |partitions: &[i32]| DescribableLogDirTopic {
            topic: "t".into(),
            partitions: partitions.to_vec(),
            ..Default::default()
        };
        let wanted = wanted_partitions(&[topic(&[2, 0]), topic(&[2, 1])]);
        assert_eq!(wanted[&Str::from("t")], BTreeSet::from([0, 1, 2]));
        let partition = |partition_index| DescribeLogDirsPartition { partition_index, ..Default::default() };
        let shown = topics(BTreeMap::from([(Str::from("t"), vec![partition(1), partition(0)])]));
        assert_eq!(shown[0].partitions.iter().map(|p| p.partition_index).collect::<Vec<_>>(), [0, 1]);
    }
}
