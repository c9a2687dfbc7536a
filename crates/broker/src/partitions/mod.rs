//! The partitions of this broker: one [`Partition`] for each replica it holds, found by topic id.
//!
//! Kafka's counterpart is `ReplicaManager`. Partitions come and go by metadata (see [`crate::publish`]), never by
//! request.

mod compaction;
mod describe;
mod moving;
mod partition;
mod read;
mod settings;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use logrun_model::{PartitionIndex, TopicIdPartition};
use logrun_wire::ErrorCode;
use parking_lot::RwLock;

pub use partition::{Acks, AppendRequest, Appended, Partition};
pub use read::{FetchRead, Fetcher, FoundOffset, OffsetQuestion, PlannedRead, ReadRecords};
pub use settings::Settings;

use crate::errors::Failure;
use crate::handlers::FoundTopic;

/// A partition whose log is open, or the directory that failed under it.
#[derive(Clone, Debug)]
pub enum Hosted {
    Online(Arc<Partition>),
    Offline(PathBuf),
}

/// All partitions that this broker holds.
#[derive(Debug, Default)]
pub struct Partitions(RwLock<BTreeMap<TopicIdPartition, Hosted>>);

impl Partitions {
    /// The partition that a request names.
    pub fn find(&self, topic: &FoundTopic, partition: PartitionIndex) -> Result<Arc<Partition>, Failure> {
        match self.0.read().get(&TopicIdPartition { topic_id: topic.id, partition }) {
            Some(Hosted::Online(p)) => Ok(p.clone()),
            Some(Hosted::Offline(dir)) => Err(Failure::with(
                ErrorCode::KafkaStorageError,
                format!("the log directory {} has failed", dir.display()),
            )),
            None if topic.has_partition(partition) => Err(Failure::of(ErrorCode::NotLeaderOrFollower)),
            None => Err(Failure::of(ErrorCode::UnknownTopicOrPartition)),
        }
    }

    /// The partition with this id, if its log is open.
    pub fn online(&self, id: TopicIdPartition) -> Option<Arc<Partition>> {
        match self.0.read().get(&id) {
            Some(Hosted::Online(p)) => Some(p.clone()),
            _ => None,
        }
    }

    /// All partitions whose logs are open, by id.
    pub fn all_online(&self) -> Vec<Arc<Partition>> {
        let map = self.0.read();
        map.values().filter_map(|h| if let Hosted::Online(p) = h { Some(p.clone()) } else { None }).collect()
    }

    pub fn insert(&self, id: TopicIdPartition, hosted: Hosted) {
        self.0.write().insert(id, hosted);
    }

    pub fn remove(&self, id: TopicIdPartition) -> Option<Hosted> {
        self.0.write().remove(&id)
    }
}
