//! CreateTopics and DeleteTopics: names, assignments, configs, records. Kafka's `ReplicationControlManager`.
//!
//! A request is one atomic unit: its topics' records are appended together, and a topic that is refused costs the
//! others nothing. A topic's configs come between its TopicRecord and its PartitionRecords.

use std::collections::{BTreeMap, BTreeSet};

use logrun_coordinator::Decision;
use logrun_metadata::records::{ConfigRecord, MetadataRecord, RemoveTopicRecord, TopicRecord};
use logrun_metadata::{ConfigResource, PartitionRegistration};
use logrun_model::{LeaderEpoch, NodeId, PartitionEpoch, Str, TopicId, Uuid, validate_topic_name};
use logrun_wire::ErrorCode;
use logrun_wire::messages::create_topics_request::CreatableTopic;
use logrun_wire::messages::create_topics_response::CreatableTopicResult;
use logrun_wire::messages::delete_topics_response::DeletableTopicResult;
use logrun_wire::messages::{CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse};

use crate::command::Reply;
use crate::error::{ApiError, outcome};
use crate::machine::{Controller, Decided, RECORDS_PER_COMMAND_MAX};
use crate::placement::{UsableBroker, place};

/// The log that holds the metadata itself, which is no topic.
pub(crate) const CLUSTER_METADATA_TOPIC: &str = "__cluster_metadata";

impl Controller {
    pub(crate) fn create_topics(
        &self,
        request: &CreateTopicsRequest,
        topic_ids: &[TopicId],
        seed: u64,
        describable: Option<&[Str]>,
    ) -> Decided {
        let mut records = Vec::new();
        let mut times_named: BTreeMap<&Str, usize> = BTreeMap::new();
        request.topics.iter().for_each(|t| *times_named.entry(&t.name).or_default() += 1);
        let excess = self.check_partition_total(request);
        let mut topics = Vec::with_capacity(request.topics.len());
        for (i, topic) in request.topics.iter().enumerate() {
            let duplicate = times_named.get(&topic.name).is_some_and(|n| *n > 1);
            if duplicate && topics.iter().any(|t: &CreatableTopicResult| t.name == topic.name) {
                continue;
            }
            let describe = describable.is_none_or(|names| names.contains(&topic.name));
            let created = match &excess {
                Err(e) => Err(e.clone()),
                Ok(()) if duplicate => {
                    Err(ApiError::new(ErrorCode::InvalidRequest, "The request names this topic more than once."))
                }
                Ok(()) => {
                    let id = topic_ids.get(i).copied().unwrap_or(Uuid::ZERO);
                    self.create_topic(topic, id, seed.wrapping_add(i as u64), describe)
                }
            };
            topics.push(match created {
                Ok((topic_records, result)) => {
                    records.extend(topic_records);
                    result
                }
                Err(e) => CreatableTopicResult {
                    name: topic.name.clone(),
                    error_code: e.code.code(),
                    error_message: e.message,
                    configs: None,
                    ..Default::default()
                },
            });
        }
        if request.validate_only {
            records.clear();
        }
        Decision { records, reply: Reply::CreateTopics(CreateTopicsResponse { topics, ..Default::default() }) }
    }

    fn check_partition_total(&self, request: &CreateTopicsRequest) -> Result<(), ApiError> {
        let wanted = |t: &CreatableTopic| match (t.assignments.len(), t.num_partitions) {
            (0, -1) => i64::from(self.config.num_partitions),
            (0, n) => i64::from(n.max(0)),
            (n, _) => n as i64,
        };
        if request.topics.iter().map(wanted).sum::<i64>() > RECORDS_PER_COMMAND_MAX as i64 {
            let message = format!("A request can create at most {RECORDS_PER_COMMAND_MAX} partitions.");
            return Err(ApiError::new(ErrorCode::PolicyViolation, message));
        }
        Ok(())
    }

    /// The records that make `topic`, and its result.
    fn create_topic(
        &self,
        topic: &CreatableTopic,
        id: TopicId,
        seed: u64,
        describe: bool,
    ) -> Result<(Vec<MetadataRecord>, CreatableTopicResult), ApiError> {
        self.check_new_name(&topic.name)?;
        if id.is_zero() || self.image.topics.by_id(id).is_some() {
            return Err(ApiError::new(ErrorCode::UnknownServerError, "The topic got no id of its own."));
        }
        let configs = self.creation_configs(topic)?;
        let partitions = self.partitions_of_new_topic(topic, seed)?;
        let name = topic.name.detached();
        let mut records = Vec::with_capacity(1 + configs.len() + partitions.len());
        records.push(TopicRecord { name: name.clone(), topic_id: id, ..Default::default() }.into());
        let resource = ConfigResource::topic(name.clone());
        records.extend(configs.iter().map(|(key, value)| {
            ConfigRecord {
                resource_type: resource.resource_type.id(),
                resource_name: name.clone(),
                name: key.clone(),
                value: Some(value.clone()),
                ..Default::default()
            }
            .into()
        }));
        let version = self.version();
        records.extend((0..).zip(&partitions).map(|(i, p)| p.to_record(id, i, version).into()));
        let mut result = CreatableTopicResult { name, topic_id: id, configs: None, ..Default::default() };
        if describe {
            result.num_partitions = partitions.len() as i32;
            result.replication_factor = partitions.first().map_or(-1, |p| p.replicas.len() as i16);
            let own = self.image.configs.of(&ConfigResource::broker(self.config.node_id.get()));
            let cluster = self.image.configs.of(&ConfigResource::DEFAULT_BROKER);
            result.configs = Some(self.config.schema.describe_topic(&configs, &own, &cluster));
        } else {
            result.topic_config_error_code = ErrorCode::TopicAuthorizationFailed.code();
        }
        Ok((records, result))
    }

    fn check_new_name(&self, name: &Str) -> Result<(), ApiError> {
        let invalid = |message: String| ApiError::new(ErrorCode::InvalidTopicException, message);
        validate_topic_name(name).map_err(|e| invalid(format!("Topic name is invalid: {e}")))?;
        if *name == CLUSTER_METADATA_TOPIC {
            let message = format!("{CLUSTER_METADATA_TOPIC} is the cluster's own log and can't be created.");
            return Err(ApiError::new(ErrorCode::InvalidRequest, message));
        }
        if self.image.topics.id_of(name).is_some() {
            return Err(ApiError::new(ErrorCode::TopicAlreadyExists, format!("Topic '{name}' already exists.")));
        }
        match self.collision(name) {
            Some(other) => Err(invalid(format!(
                "Topic '{name}' collides with existing topic: {other}; metrics can't tell '.' from '_'."
            ))),
            None => Ok(()),
        }
    }

    fn creation_configs(&self, topic: &CreatableTopic) -> Result<BTreeMap<Str, Str>, ApiError> {
        let mut configs = BTreeMap::new();
        for c in &topic.configs {
            let Some(value) = &c.value else {
                let message = format!("Null value not supported for topic configs: {}", c.name);
                return Err(ApiError::new(ErrorCode::InvalidConfig, message));
            };
            configs.insert(c.name.detached(), value.detached());
        }
        let changed: Vec<Str> = configs.keys().cloned().collect();
        self.check_config_sizes(&configs)?;
        self.config.schema.validate(&ConfigResource::topic(topic.name.clone()), &configs, &changed)?;
        Ok(configs)
    }

    fn partitions_of_new_topic(
        &self,
        topic: &CreatableTopic,
        seed: u64,
    ) -> Result<Vec<PartitionRegistration>, ApiError> {
        if !topic.assignments.is_empty() {
            return self.assigned_partitions(topic);
        }
        if topic.replication_factor < -1 || topic.replication_factor == 0 {
            return Err(ApiError::new(
                ErrorCode::InvalidReplicationFactor,
                "Replication factor must be larger than 0, or -1 to use the default value.",
            ));
        }
        if topic.num_partitions < -1 || topic.num_partitions == 0 {
            return Err(ApiError::new(
                ErrorCode::InvalidPartitions,
                "Number of partitions must be larger than 0, or -1 to use the default value.",
            ));
        }
        let or = |given: i32, default: i32| if given == -1 { default } else { given };
        let count = or(topic.num_partitions, self.config.num_partitions);
        let factor = or(topic.replication_factor.into(), self.config.default_replication_factor.into()) as i16;
        self.place_partitions(count as usize, factor, seed)
    }

    /// New partitions wherever the brokers are.
    pub(crate) fn place_partitions(
        &self,
        count: usize,
        factor: i16,
        seed: u64,
    ) -> Result<Vec<PartitionRegistration>, ApiError> {
        let refuse = |why: &str| {
            let message = format!("Unable to replicate the partition {factor} time(s): {why}");
            ApiError::new(ErrorCode::InvalidReplicationFactor, message)
        };
        let placed = place(&self.usable_brokers(), count, factor, seed)
            .map_err(|e| refuse(e.message.as_deref().unwrap_or("there are too few brokers.")))?;
        // Behind the placement: where there are too few brokers, Kafka's own sentence says it.
        self.check_replica_count(factor.max(0) as usize)?;
        let placed = placed.into_iter().map(|replicas| self.new_partition(replicas));
        placed
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| refuse("All brokers are currently fenced or in controlled shutdown."))
    }

    /// Whether a partition may have that many replicas: never more than are kept in step.
    pub(crate) fn check_replica_count(&self, replicas: usize) -> Result<(), ApiError> {
        match self.config.replicas_max {
            Some(max) if replicas > max => Err(ApiError::new(
                ErrorCode::InvalidReplicationFactor,
                format!(
                    "The replication factor {replicas} can't be kept: Logrun doesn't replicate between brokers yet; use {max}."
                ),
            )),
            _ => Ok(()),
        }
    }

    fn usable_brokers(&self) -> Vec<UsableBroker> {
        let usable = self.image.cluster.brokers.values().filter(|b| !b.all_directories_cordoned());
        usable.map(|b| UsableBroker { id: b.id, rack: b.rack.clone(), fenced: !b.is_active() }).collect()
    }

    /// A partition on `replicas` as it begins; none if no replica is fit to lead.
    pub(crate) fn new_partition(&self, replicas: Vec<NodeId>) -> Option<PartitionRegistration> {
        let active = |id: &NodeId| self.image.cluster.broker(*id).is_some_and(|b| b.is_active());
        let isr: Vec<NodeId> = replicas.iter().copied().filter(active).collect();
        let directory =
            |id: &NodeId| self.image.cluster.broker(*id).map_or(Uuid::UNASSIGNED_DIR, |b| b.default_directory());
        Some(PartitionRegistration {
            directories: replicas.iter().map(directory).collect(),
            leader: *isr.first()?,
            leader_epoch: LeaderEpoch(0),
            partition_epoch: PartitionEpoch(0),
            replicas,
            isr,
            ..Default::default()
        })
    }

    fn assigned_partitions(&self, topic: &CreatableTopic) -> Result<Vec<PartitionRegistration>, ApiError> {
        let bad = |message: &str| Err(ApiError::new(ErrorCode::InvalidRequest, message));
        if topic.replication_factor != -1 {
            return bad("With a manual assignment of replicas, the replication factor must be -1.");
        }
        if topic.num_partitions != -1 {
            return bad("With a manual assignment of replicas, the number of partitions must be -1.");
        }
        let invalid = |message: String| ApiError::new(ErrorCode::InvalidReplicaAssignment, message);
        let mut partitions = BTreeMap::new();
        let mut factor = None;
        for a in &topic.assignments {
            let index = a.partition_index;
            self.check_assignment(&a.broker_ids, factor)?;
            factor = Some(a.broker_ids.len());
            let partition = self.new_partition(a.broker_ids.iter().map(|b| NodeId(*b)).collect());
            let partition = partition.ok_or_else(|| {
                invalid(format!(
                    "All brokers specified in the manual partition assignment for partition {index} are fenced or in \
                     controlled shutdown."
                ))
            })?;
            if partitions.insert(index, partition).is_some() {
                return Err(invalid(format!("Partition {index} has more than one manual assignment.")));
            }
        }
        if !partitions.keys().copied().eq(0..partitions.len() as i32) {
            return Err(invalid("The partitions of a manual assignment must be numbered from 0 without gaps.".into()));
        }
        Ok(partitions.into_values().collect())
    }

    /// Whether `brokers` can hold a partition; `factor` is how many replicas its siblings have.
    pub(crate) fn check_assignment(&self, brokers: &[i32], factor: Option<usize>) -> Result<(), ApiError> {
        let invalid = |message: String| Err(ApiError::new(ErrorCode::InvalidReplicaAssignment, message));
        if brokers.is_empty() {
            return invalid("The manual partition assignment includes an empty replica list.".into());
        }
        self.check_replica_count(brokers.len())?;
        let mut seen = BTreeSet::new();
        for id in brokers {
            if self.image.cluster.broker(NodeId(*id)).is_none() {
                return invalid(format!(
                    "The manual partition assignment includes broker {id}, but no such broker is registered."
                ));
            }
            if !seen.insert(id) {
                return invalid(format!("The manual partition assignment includes broker {id} more than once."));
            }
        }
        match factor {
            Some(n) if n != brokers.len() => invalid(format!(
                "The manual partition assignment includes a partition with {} replica(s), while the others have {n}.",
                brokers.len()
            )),
            _ => Ok(()),
        }
    }

    pub(crate) fn delete_topics(&self, request: &DeleteTopicsRequest) -> Decided {
        // Before version 6 a request has names, since then names or ids.
        let named = request.topic_names.iter().map(|n| (Some(n.clone()), Uuid::ZERO));
        let listed = request.topics.iter().map(|t| (t.name.clone(), t.topic_id));
        let wanted: Vec<(Option<Str>, TopicId)> = named.chain(listed).collect();
        let mut doomed = BTreeSet::new();
        let mut responses = Vec::with_capacity(wanted.len());
        for (name, id) in &wanted {
            let found = self.topic_to_delete(name.as_ref(), *id).and_then(|found| {
                let times = wanted.iter().filter(|(n, i)| n == name && i == id).count();
                if times > 1 || doomed.contains(&found) {
                    let message = "The request names this topic more than once.";
                    return Err(ApiError::new(ErrorCode::InvalidRequest, message));
                }
                Ok(found)
            });
            let (error_code, error_message) = outcome(&found);
            let mut result = DeletableTopicResult {
                name: name.clone(),
                topic_id: *id,
                error_code,
                error_message,
                ..Default::default()
            };
            if let Ok(found) = found {
                doomed.insert(found);
                result.topic_id = found;
                result.name = self.image.topics.name_of(found).cloned();
            }
            responses.push(result);
        }
        let records =
            doomed.into_iter().map(|topic_id| RemoveTopicRecord { topic_id, ..Default::default() }.into()).collect();
        Decision { records, reply: Reply::DeleteTopics(DeleteTopicsResponse { responses, ..Default::default() }) }
    }

    fn topic_to_delete(&self, name: Option<&Str>, id: TopicId) -> Result<TopicId, ApiError> {
        let bad = |message: &str| Err(ApiError::new(ErrorCode::InvalidRequest, message));
        if !self.config.delete_topic_enable {
            return Err(ApiError::new(ErrorCode::TopicDeletionDisabled, "delete.topic.enable is false."));
        }
        match (name, id.is_zero()) {
            (None, true) => bad("Neither topic name nor id were specified."),
            (Some(_), false) => bad("You may not specify both topic name and topic id."),
            (Some(name), true) => self.image.topics.id_of(name).ok_or(ErrorCode::UnknownTopicOrPartition.into()),
            (None, false) => self.image.topics.by_id(id).map(|t| t.id).ok_or(ErrorCode::UnknownTopicId.into()),
        }
    }
}
