//! [`MetadataImage`]: the whole metadata of the cluster at one offset of `__cluster_metadata`, immutable once
//! published (KIP-500, `org.apache.kafka.image`).
//!
//! Images share what they have in common, so that holding one is cheap. Only replaying records makes a new one:
//! see `replay.rs`. There is no side table that a standby would lack.

mod cluster;
mod config;
mod partition;

use std::collections::BTreeMap;
use std::sync::Arc;

use logrun_model::{
    BrokerEpoch, MetadataOffset, NodeId, PartitionIndex, ProducerId, RaftEpoch, Str, TimestampMs, TopicId,
    TopicIdPartition, Uuid,
};
use logrun_wire::RawTaggedField;

pub use cluster::{BrokerRegistration, ControllerRegistration, Endpoint, FeatureRange};
pub use config::{ConfigMap, ConfigResource, ConfigResourceType, ConfigurationsImage};
pub use partition::{LeaderRecoveryState, NO_LEADER_CHANGE, NO_RECOVERY_CHANGE, PartitionRegistration, ids};

use crate::features::{METADATA_VERSION, MetadataVersion};
use crate::ordmap::OrdMap;
use crate::records::{AccessControlEntryRecord, DelegationTokenRecord, UserScramCredentialRecord};

/// Up to where in the log an image goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// The last offset whose record is in the image.
    pub offset: MetadataOffset,
    /// The quorum leader's epoch of that record.
    pub epoch: RaftEpoch,
    /// When that record was appended.
    pub timestamp: TimestampMs,
}

impl Default for Provenance {
    fn default() -> Self {
        Self { offset: MetadataOffset::NONE, epoch: RaftEpoch::NONE, timestamp: TimestampMs::NONE }
    }
}

/// One topic.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicImage {
    pub id: TopicId,
    pub name: Str,
    pub partitions: OrdMap<PartitionIndex, Arc<PartitionRegistration>>,
    /// Tagged fields of a later Kafka, kept for the snapshot.
    pub unknown_tagged_fields: Vec<RawTaggedField>,
}

impl TopicImage {
    pub fn partition(&self, index: PartitionIndex) -> Option<&Arc<PartitionRegistration>> {
        self.partitions.get(&index)
    }

    /// How many partitions the topic has.
    pub fn partition_count(&self) -> i32 {
        self.partitions.len() as i32
    }
}

/// All topics, by id and by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TopicsImage {
    by_id: OrdMap<TopicId, Arc<TopicImage>>,
    by_name: OrdMap<Str, TopicId>,
}

impl TopicsImage {
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub fn by_id(&self, id: TopicId) -> Option<&Arc<TopicImage>> {
        self.by_id.get(&id)
    }

    pub fn by_name(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.by_id.get(self.by_name.get(name)?)
    }

    pub fn id_of(&self, name: &str) -> Option<TopicId> {
        self.by_name.get(name).copied()
    }

    pub fn name_of(&self, id: TopicId) -> Option<&Str> {
        self.by_id.get(&id).map(|t| &t.name)
    }

    pub fn partition(&self, p: TopicIdPartition) -> Option<&Arc<PartitionRegistration>> {
        self.by_id.get(&p.topic_id)?.partition(p.partition)
    }

    /// All topics in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<TopicImage>> {
        self.by_id.values()
    }

    /// The topics in the order of their names, from behind `after` on.
    pub fn iter_by_name<'a>(&'a self, after: Option<&str>) -> impl Iterator<Item = &'a Arc<TopicImage>> {
        self.by_name.iter_after(after).filter_map(|(_, id)| self.by_id.get(id))
    }
}

/// The cluster's nodes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClusterImage {
    pub brokers: OrdMap<NodeId, Arc<BrokerRegistration>>,
    pub controllers: OrdMap<NodeId, Arc<ControllerRegistration>>,
}

impl ClusterImage {
    pub fn broker(&self, id: NodeId) -> Option<&Arc<BrokerRegistration>> {
        self.brokers.get(&id)
    }

    /// The epoch of a registered broker.
    pub fn broker_epoch(&self, id: NodeId) -> Option<BrokerEpoch> {
        self.brokers.get(&id).map(|b| b.epoch)
    }

    /// The brokers that clients are told of.
    pub fn unfenced(&self) -> impl Iterator<Item = &Arc<BrokerRegistration>> {
        self.brokers.values().filter(|b| !b.fenced)
    }
}

/// Whom a client quota binds: entity types with a name, or `None` for the default of the type (KIP-546).
pub type ClientQuotaEntity = Vec<(Str, Option<Str>)>;

/// The metadata of the cluster at one offset.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetadataImage {
    pub cluster_id: Str,
    pub provenance: Provenance,
    /// Finalized feature levels, `metadata.version` included; those at 0 are not in it.
    pub features: OrdMap<Str, i16>,
    pub cluster: ClusterImage,
    pub topics: TopicsImage,
    pub configs: ConfigurationsImage,
    pub client_quotas: OrdMap<ClientQuotaEntity, Arc<BTreeMap<Str, f64>>>,
    /// The first producer id that no broker has been given.
    pub next_producer_id: ProducerId,
    pub acls: OrdMap<Uuid, Arc<AccessControlEntryRecord>>,
    /// SCRAM credentials by mechanism and user.
    pub scram: OrdMap<(i8, Str), Arc<UserScramCredentialRecord>>,
    pub delegation_tokens: OrdMap<Str, Arc<DelegationTokenRecord>>,
}

impl MetadataImage {
    /// The image before the first record.
    pub fn empty(cluster_id: impl Into<Str>) -> Self {
        Self { cluster_id: cluster_id.into(), ..Self::default() }
    }

    /// The finalized `metadata.version`; the oldest that is known before there is one.
    pub fn metadata_version(&self) -> MetadataVersion {
        self.features.get(METADATA_VERSION).map_or(MetadataVersion::MIN, |v| MetadataVersion(*v))
    }

    /// The finalized level of a feature, 0 if it has none.
    pub fn feature_level(&self, name: &str) -> i16 {
        self.features.get(name).copied().unwrap_or(0)
    }

    /// Whether no record has been replayed.
    pub fn is_empty(&self) -> bool {
        self.features.is_empty()
            && self.cluster.brokers.is_empty()
            && self.cluster.controllers.is_empty()
            && self.topics.is_empty()
            && self.configs.iter().next().is_none()
            && self.next_producer_id == ProducerId(0)
            && self.client_quotas.is_empty()
            && self.acls.is_empty()
            && self.scram.is_empty()
            && self.delegation_tokens.is_empty()
    }

    pub(crate) fn put_topic(&mut self, topic: TopicImage) {
        self.topics.by_name.insert(topic.name.clone(), topic.id);
        self.topics.by_id.insert(topic.id, Arc::new(topic));
    }

    pub(crate) fn topic_mut(&mut self, id: TopicId) -> Option<&mut TopicImage> {
        self.topics.by_id.get_mut(&id).map(Arc::make_mut)
    }

    pub(crate) fn remove_topic(&mut self, id: TopicId) -> Option<Str> {
        let topic = self.topics.by_id.remove(&id)?;
        self.topics.by_name.remove(&topic.name);
        Some(topic.name.clone())
    }
}
