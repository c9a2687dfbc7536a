//! AlterReplicaLogDirs (key 34, versions 1–2; KIP-113): moves a replica to another log directory of its broker.
//!
//! The answer says that the move has begun; DescribeLogDirs tells how far it has come. To be told the directory that it
//! lies in already changes nothing and is no error, but ends a move to elsewhere. A directory that is not of `log.dirs`
//! is LOG_DIR_NOT_FOUND, one that has failed KAFKA_STORAGE_ERROR.

use std::collections::BTreeMap;
use std::sync::Arc;

use logrun_model::{PartitionIndex, Str, TopicPartition, Uuid};
use logrun_wire::ErrorCode;
use logrun_wire::messages::AlterReplicaLogDirsRequest;
use logrun_wire::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult, AlterReplicaLogDirsResponse,
};

use super::find_topic;
use crate::Broker;
use crate::context::RequestContext;
use crate::logs::DirState;
use crate::moves;

/// How long a file's name can be. A replica on the move lies in a directory with the topic's name and 40 more signs.
const FILE_NAME_MAX: usize = 255;
/// `.`, a UUID without dashes, and `-future`.
const FUTURE_SUFFIX: usize = 1 + 32 + "-future".len();

pub async fn handle(
    broker: &Arc<Broker>,
    _context: &RequestContext,
    request: AlterReplicaLogDirsRequest,
) -> AlterReplicaLogDirsResponse {
    let dirs = broker.logs().describe_dirs(&broker.config().log_dirs);
    let mut results: BTreeMap<Str, Vec<AlterReplicaLogDirPartitionResult>> = BTreeMap::new();
    for wanted in &request.dirs {
        for topic in &wanted.topics {
            for &partition_index in &topic.partitions {
                let error_code = alter(broker, &dirs, &wanted.path, &topic.name, partition_index).await.code();
                results.entry(topic.name.clone()).or_default().push(AlterReplicaLogDirPartitionResult {
                    partition_index,
                    error_code,
                    ..Default::default()
                });
            }
        }
    }
    let results = results.into_iter().map(|(topic_name, partitions)| AlterReplicaLogDirTopicResult {
        topic_name,
        partitions,
        ..Default::default()
    });
    AlterReplicaLogDirsResponse { results: results.collect(), ..Default::default() }
}

async fn alter(broker: &Arc<Broker>, dirs: &[DirState], path: &Str, topic: &Str, index: PartitionIndex) -> ErrorCode {
    let name = TopicPartition { topic: topic.clone(), partition: index };
    if name.to_string().len() + FUTURE_SUFFIX > FILE_NAME_MAX {
        return ErrorCode::InvalidTopicException;
    }
    let Some(dir) = dirs.iter().find(|d| d.shown() == *path) else { return ErrorCode::LogDirNotFound };
    if !dir.online {
        return ErrorCode::KafkaStorageError;
    }
    let found = find_topic(&broker.image(), false, topic, Uuid::ZERO);
    let partition = match found {
        Ok(topic) => broker.partition(&topic, index).await,
        Err(failure) => Err(failure),
    };
    let partition = match partition {
        Ok(partition) => partition,
        Err(failure) => return failure.code,
    };
    match broker.logs().directories().iter().find(|d| d.path == dir.path && d.is_online()) {
        Some(to) => moves::alter(broker, partition, to.clone()),
        None => return ErrorCode::KafkaStorageError,
    }
    ErrorCode::None
}
