//! Replay: the only way in which metadata changes. One function for the controller and for every broker.
//!
//! A record that does not fit what was replayed before is a broken log: an error that stops the node, as in Kafka.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use logrun_model::{BrokerEpoch, NodeId, PartitionIndex, ProducerId, Str, TopicId};
use thiserror::Error;

use crate::image::{
    BrokerRegistration, ClientQuotaEntity, ConfigResource, ConfigResourceType, ControllerRegistration, MetadataImage,
    PartitionRegistration, TopicImage,
};
use crate::ordmap::OrdMap;
use crate::records::{
    BrokerRegistrationChangeRecord, ClientQuotaRecord, MetadataRecord, PartitionChangeRecord, PartitionRecord,
    TopicRecord,
};

/// A record contradicts those before it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReplayError {
    #[error("the metadata log has a {record} for the topic {topic_id}, which does not exist")]
    NoSuchTopic { record: &'static str, topic_id: TopicId },
    #[error("the metadata log changes partition {partition} of topic {topic_id}, which does not exist")]
    NoSuchPartition { topic_id: TopicId, partition: PartitionIndex },
    #[error("the metadata log clears eligible leader replicas of the topic `{name}`, which does not exist")]
    NoSuchTopicName { name: Str },
    #[error("the metadata log has a {record} for broker {id}, which is not registered")]
    NoSuchBroker { record: &'static str, id: NodeId },
    #[error("the metadata log has a {record} for broker {id} of epoch {epoch}; it is registered with {registered}")]
    StaleBroker { record: &'static str, id: NodeId, epoch: BrokerEpoch, registered: BrokerEpoch },
    #[error("the metadata log has {record} where {where_} a metadata transaction")]
    Transaction { record: &'static str, where_: &'static str },
}

/// What a sequence of records has changed, for those who act on it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    pub topics_created: BTreeSet<TopicId>,
    /// With the names they had.
    pub topics_deleted: BTreeMap<TopicId, Str>,
    /// Partitions added or changed, those of created topics included.
    pub partitions: BTreeMap<TopicId, BTreeSet<PartitionIndex>>,
    pub configs: BTreeSet<ConfigResource>,
    /// Registered, changed or gone.
    pub brokers: BTreeSet<NodeId>,
    pub controllers: BTreeSet<NodeId>,
    pub features: BTreeSet<Str>,
    pub client_quotas: BTreeSet<ClientQuotaEntity>,
    pub producer_ids: bool,
    pub acls: bool,
    pub scram: bool,
    pub delegation_tokens: bool,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What stands between two images however they came about: a snapshot takes the place of a base all at once.
    pub fn between(base: &MetadataImage, image: &MetadataImage) -> Self {
        let mut changes = Self {
            producer_ids: base.next_producer_id != image.next_producer_id,
            acls: base.acls != image.acls,
            scram: base.scram != image.scram,
            delegation_tokens: base.delegation_tokens != image.delegation_tokens,
            ..Self::default()
        };
        for topic in image.topics.iter() {
            let before = base.topics.by_id(topic.id);
            if before.is_none() {
                changes.topics_created.insert(topic.id);
            }
            for (index, partition) in topic.partitions.iter() {
                if before.and_then(|t| t.partition(*index)) != Some(partition) {
                    changes.partition(topic.id, *index);
                }
            }
        }
        let gone = base.topics.iter().filter(|t| image.topics.by_id(t.id).is_none());
        changes.topics_deleted = gone.map(|t| (t.id, t.name.clone())).collect();
        for (resource, configs) in image.configs.iter() {
            if base.configs.of(resource) != *configs {
                changes.configs.insert(resource.clone());
            }
        }
        let gone = base.configs.iter().filter(|(resource, _)| image.configs.of(resource).is_empty());
        changes.configs.extend(gone.map(|(resource, _)| resource.clone()));
        changes.brokers = differing(&base.cluster.brokers, &image.cluster.brokers);
        changes.controllers = differing(&base.cluster.controllers, &image.cluster.controllers);
        changes.features = differing(&base.features, &image.features);
        changes.client_quotas = differing(&base.client_quotas, &image.client_quotas);
        changes
    }

    fn partition(&mut self, topic_id: TopicId, partition: PartitionIndex) {
        self.partitions.entry(topic_id).or_default().insert(partition);
    }
}

/// The keys whose values are not the same in both.
fn differing<K: Ord + Clone, V: PartialEq + Clone>(a: &OrdMap<K, V>, b: &OrdMap<K, V>) -> BTreeSet<K> {
    let keys = a.keys().chain(b.keys());
    keys.filter(|key| a.get(*key) != b.get(*key)).cloned().collect()
}

impl MetadataImage {
    /// Applies one record and notes in `changes` what it changed. After an error the image must not be used.
    ///
    /// Records of metadata transactions' bounds change nothing here: whoever publishes images minds them.
    pub fn replay(&mut self, record: &MetadataRecord, changes: &mut Changes) -> Result<(), ReplayError> {
        match record {
            MetadataRecord::Topic(r) => self.replay_topic(r, changes),
            MetadataRecord::Partition(r) => self.replay_partition(r, changes)?,
            MetadataRecord::PartitionChange(r) => self.replay_partition_change(r, changes)?,
            MetadataRecord::RemoveTopic(r) => self.replay_remove_topic(r.topic_id, changes)?,
            MetadataRecord::ClearElr(r) => self.replay_clear_elr(&r.topic_name, changes)?,
            MetadataRecord::Config(r) => {
                let resource =
                    ConfigResource::new(ConfigResourceType::from_id(r.resource_type), r.resource_name.clone());
                self.configs.set(&resource, &r.name, r.value.as_ref());
                changes.configs.insert(ConfigResource { name: resource.name.detached(), ..resource });
            }
            MetadataRecord::FeatureLevel(r) => {
                let name = r.name.detached();
                match r.feature_level {
                    0 => self.features.remove(&name),
                    level => self.features.insert(name.clone(), level),
                };
                changes.features.insert(name);
            }
            MetadataRecord::RegisterBroker(r) => {
                let broker = BrokerRegistration::from_record(r);
                changes.brokers.insert(broker.id);
                self.cluster.brokers.insert(broker.id, Arc::new(broker));
            }
            MetadataRecord::UnregisterBroker(r) => {
                self.broker_mut("UnregisterBrokerRecord", r.broker_id, r.broker_epoch, changes)?;
                self.cluster.brokers.remove(&NodeId(r.broker_id));
            }
            MetadataRecord::FenceBroker(r) => {
                self.broker_mut("FenceBrokerRecord", r.id, r.epoch, changes)?.fenced = true;
            }
            MetadataRecord::UnfenceBroker(r) => {
                self.broker_mut("UnfenceBrokerRecord", r.id, r.epoch, changes)?.fenced = false;
            }
            MetadataRecord::BrokerRegistrationChange(r) => self.replay_registration_change(r, changes)?,
            MetadataRecord::RegisterController(r) => {
                let controller = ControllerRegistration::from_record(r);
                changes.controllers.insert(controller.id);
                self.cluster.controllers.insert(controller.id, Arc::new(controller));
            }
            MetadataRecord::UnregisterController(r) => {
                self.cluster.controllers.remove(&NodeId(r.controller_id));
                changes.controllers.insert(NodeId(r.controller_id));
            }
            MetadataRecord::ProducerIds(r) => {
                self.next_producer_id = ProducerId(r.next_producer_id);
                changes.producer_ids = true;
            }
            MetadataRecord::ClientQuota(r) => self.replay_client_quota(r, changes),
            MetadataRecord::AccessControlEntry(r) => {
                self.acls.insert(r.id, Arc::new(r.clone()));
                changes.acls = true;
            }
            MetadataRecord::RemoveAccessControlEntry(r) => {
                self.acls.remove(&r.id);
                changes.acls = true;
            }
            MetadataRecord::UserScramCredential(r) => {
                self.scram.insert((r.mechanism, r.name.detached()), Arc::new(r.clone()));
                changes.scram = true;
            }
            MetadataRecord::RemoveUserScramCredential(r) => {
                self.scram.remove(&(r.mechanism, r.name.clone()));
                changes.scram = true;
            }
            MetadataRecord::DelegationToken(r) => {
                self.delegation_tokens.insert(r.token_id.detached(), Arc::new(r.clone()));
                changes.delegation_tokens = true;
            }
            MetadataRecord::RemoveDelegationToken(r) => {
                self.delegation_tokens.remove(&r.token_id);
                changes.delegation_tokens = true;
            }
            // Kafka 4 has no ZooKeeper to be migrated from: it reads this record and does nothing.
            MetadataRecord::ZkMigrationState(_)
            | MetadataRecord::NoOp(_)
            | MetadataRecord::BeginTransaction(_)
            | MetadataRecord::EndTransaction(_)
            | MetadataRecord::AbortTransaction(_) => {}
        }
        Ok(())
    }

    fn replay_topic(&mut self, r: &TopicRecord, changes: &mut Changes) {
        self.put_topic(TopicImage {
            id: r.topic_id,
            name: r.name.detached(),
            partitions: OrdMap::new(),
            unknown_tagged_fields: r.unknown_tagged_fields.clone(),
        });
        changes.topics_created.insert(r.topic_id);
    }

    fn replay_partition(&mut self, r: &PartitionRecord, changes: &mut Changes) -> Result<(), ReplayError> {
        let no_topic = ReplayError::NoSuchTopic { record: "PartitionRecord", topic_id: r.topic_id };
        let topic = self.topic_mut(r.topic_id).ok_or(no_topic)?;
        topic.partitions.insert(r.partition_id, Arc::new(PartitionRegistration::from_record(r)));
        changes.partition(r.topic_id, r.partition_id);
        Ok(())
    }

    fn replay_partition_change(&mut self, r: &PartitionChangeRecord, changes: &mut Changes) -> Result<(), ReplayError> {
        let no_topic = ReplayError::NoSuchTopic { record: "PartitionChangeRecord", topic_id: r.topic_id };
        let topic = self.topic_mut(r.topic_id).ok_or(no_topic)?;
        let no_partition = ReplayError::NoSuchPartition { topic_id: r.topic_id, partition: r.partition_id };
        let partition = topic.partitions.get_mut(&r.partition_id).ok_or(no_partition)?;
        *partition = Arc::new(partition.merge(r));
        changes.partition(r.topic_id, r.partition_id);
        Ok(())
    }

    fn replay_remove_topic(&mut self, topic_id: TopicId, changes: &mut Changes) -> Result<(), ReplayError> {
        let no_topic = ReplayError::NoSuchTopic { record: "RemoveTopicRecord", topic_id };
        let name = self.remove_topic(topic_id).ok_or(no_topic)?;
        let configs = ConfigResource::topic(name.clone());
        if self.configs.remove(&configs) {
            changes.configs.insert(configs);
        }
        changes.partitions.remove(&topic_id);
        // A topic that came and went within these records was never seen.
        if !changes.topics_created.remove(&topic_id) {
            changes.topics_deleted.insert(topic_id, name);
        }
        Ok(())
    }

    fn replay_clear_elr(&mut self, name: &Str, changes: &mut Changes) -> Result<(), ReplayError> {
        let topics: Vec<TopicId> = if name.is_empty() {
            self.topics.iter().map(|t| t.id).collect()
        } else {
            vec![self.topics.id_of(name).ok_or_else(|| ReplayError::NoSuchTopicName { name: name.detached() })?]
        };
        for topic_id in topics {
            let Some(topic) = self.topics.by_id(topic_id) else { continue };
            let has_elr = |p: &PartitionRegistration| !p.elr.is_empty() || !p.last_known_elr.is_empty();
            let affected: Vec<PartitionIndex> =
                topic.partitions.iter().filter(|(_, p)| has_elr(p)).map(|(i, _)| *i).collect();
            for partition_id in affected {
                let change = PartitionChangeRecord {
                    partition_id,
                    topic_id,
                    eligible_leader_replicas: Some(Vec::new()),
                    last_known_elr: Some(Vec::new()),
                    ..Default::default()
                };
                self.replay_partition_change(&change, changes)?;
            }
        }
        Ok(())
    }

    fn replay_registration_change(
        &mut self,
        r: &BrokerRegistrationChangeRecord,
        changes: &mut Changes,
    ) -> Result<(), ReplayError> {
        let broker = self.broker_mut("BrokerRegistrationChangeRecord", r.broker_id, r.broker_epoch, changes)?;
        match r.fenced {
            0 => {}
            n => broker.fenced = n > 0,
        }
        if r.in_controlled_shutdown > 0 {
            broker.in_controlled_shutdown = true;
        }
        if !r.log_dirs.is_empty() {
            broker.directories = r.log_dirs.clone();
        }
        if let Some(cordoned) = &r.cordoned_log_dirs {
            broker.cordoned_directories = Some(cordoned.clone());
        }
        Ok(())
    }

    fn broker_mut(
        &mut self,
        record: &'static str,
        id: i32,
        epoch: i64,
        changes: &mut Changes,
    ) -> Result<&mut BrokerRegistration, ReplayError> {
        let (id, epoch) = (NodeId(id), BrokerEpoch(epoch));
        let broker = self.cluster.brokers.get_mut(&id).ok_or(ReplayError::NoSuchBroker { record, id })?;
        if broker.epoch != epoch {
            return Err(ReplayError::StaleBroker { record, id, epoch, registered: broker.epoch });
        }
        changes.brokers.insert(id);
        Ok(Arc::make_mut(broker))
    }

    fn replay_client_quota(&mut self, r: &ClientQuotaRecord, changes: &mut Changes) {
        let mut entity: ClientQuotaEntity =
            r.entity.iter().map(|e| (e.entity_type.detached(), e.entity_name.as_ref().map(Str::detached))).collect();
        entity.sort();
        let mut quotas = self.client_quotas.get(&entity).cloned().unwrap_or_default();
        let values = Arc::make_mut(&mut quotas);
        if r.remove {
            values.remove(&r.key);
        } else {
            values.insert(r.key.detached(), r.value);
        }
        if quotas.is_empty() {
            self.client_quotas.remove(&entity);
        } else {
            self.client_quotas.insert(entity.clone(), quotas);
        }
        changes.client_quotas.insert(entity);
    }
}
