//! [`Controller`]: the controller as a machine under the recorded contract. Kafka's `QuorumController` (KIP-631).
//!
//! Its state is the metadata image itself, changed by the same replay that every broker uses, so what it decides
//! from is what everyone will see. `decide` is spread over one file for each subject. Liveness is not in here: see
//! [`crate::Liveness`]. Must never consult anything that a standby controller would lack.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use logrun_coordinator::{Decision, Recorded};
use logrun_metadata::features::{ELIGIBLE_LEADER_REPLICAS_VERSION, levels_at_format};
use logrun_metadata::records::{
    AbortTransactionRecord, BeginTransactionRecord, ConfigRecord, EndTransactionRecord, FeatureLevelRecord,
    MetadataRecord, NoOpRecord,
};
use logrun_metadata::{Changes, ConfigResource, MetadataImage, MetadataVersion, ReplayError};
use logrun_model::{MetadataOffset, NodeId, Now, Offset, Str, is_internal_topic};
use logrun_wire::ErrorCode;

use crate::command::{Command, Reply};
use crate::error::ApiError;
use crate::schema::ConfigSchema;

/// The most records of one atomic unit, as Kafka's `QuorumController.MAX_RECORDS_PER_USER_OP`.
pub const RECORDS_PER_COMMAND_MAX: usize = 10_000;

/// The key whose value decides how small an ISR may be that still takes writes with acks=all.
pub const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";
const UNCLEAN_LEADER_ELECTION_ENABLE: &str = "unclean.leader.election.enable";

/// What the controller takes from its node's configuration.
#[derive(Clone, Debug)]
pub struct ControllerConfig {
    pub node_id: NodeId,
    pub cluster_id: Str,
    /// `num.partitions`
    pub num_partitions: i32,
    /// `default.replication.factor`
    pub default_replication_factor: i16,
    /// The most replicas that a partition may have; `None` for as many as there are brokers.
    pub replicas_max: Option<usize>,
    /// `delete.topic.enable`
    pub delete_topic_enable: bool,
    pub schema: Arc<dyn ConfigSchema>,
}

/// A decision of the controller.
pub type Decided = Decision<MetadataRecord, Reply>;

/// The controller's replayed state.
#[derive(Clone, Debug)]
pub struct Controller {
    pub(crate) config: Arc<ControllerConfig>,
    pub(crate) image: MetadataImage,
    /// The offset that the next record will get: a registering broker's epoch.
    next_offset: MetadataOffset,
    /// The image before the metadata transaction that is under way.
    before_transaction: Option<MetadataImage>,
    /// Topic names that have a `.` or `_`, by their name with `_` for `.`: metrics can't tell them apart.
    colliding_names: BTreeMap<String, BTreeSet<Str>>,
    fault: Option<ReplayError>,
}

impl Controller {
    /// The state before the first record, whose offset will be `next_offset` or later.
    pub fn new(config: ControllerConfig, next_offset: MetadataOffset) -> Self {
        Self {
            image: MetadataImage::empty(config.cluster_id.clone()),
            config: Arc::new(config),
            next_offset,
            before_transaction: None,
            colliding_names: BTreeMap::new(),
            fault: None,
        }
    }

    /// The metadata as far as it is decided, committed or not.
    pub fn image(&self) -> &MetadataImage {
        &self.image
    }

    /// The log contradicts itself: the node must stop.
    pub fn fault(&self) -> Option<&ReplayError> {
        self.fault.as_ref()
    }

    /// The offset that the next record will get.
    pub fn next_offset(&self) -> MetadataOffset {
        self.next_offset
    }

    /// Says which offset comes next, where control records lie between.
    pub fn set_next_offset(&mut self, next_offset: MetadataOffset) {
        self.next_offset = self.next_offset.max(next_offset);
    }

    /// The finalized `metadata.version`: at which versions records are written.
    pub fn metadata_version(&self) -> MetadataVersion {
        self.image.metadata_version()
    }

    pub(crate) fn version(&self) -> MetadataVersion {
        self.metadata_version()
    }

    pub(crate) fn elr_enabled(&self) -> bool {
        self.version().has_elr() && self.image.feature_level(ELIGIBLE_LEADER_REPLICAS_VERSION) > 0
    }

    /// An existing topic whose metrics would be mixed up with those of `name`.
    pub(crate) fn collision(&self, name: &str) -> Option<&Str> {
        self.colliding_names.get(&unify(name)?)?.iter().find(|existing| ***existing != *name)
    }

    /// The value of `key` for `topic`: its own, the cluster's, this broker's, or the static one.
    fn topic_config(&self, topic: &str, key: &str) -> Option<Str> {
        let configs = &self.image.configs;
        let explicit = configs
            .get(&ConfigResource::topic(topic), key)
            // A broker's own value is not asked for once eligible leader replicas are on: it would differ by leader.
            .or_else(|| {
                let own = ConfigResource::broker(self.config.node_id.get());
                if self.elr_enabled() && key == MIN_INSYNC_REPLICAS { None } else { configs.get(&own, key) }
            })
            .or_else(|| configs.get(&ConfigResource::DEFAULT_BROKER, key));
        let schema = &self.config.schema;
        explicit.cloned().or_else(|| schema.static_or_default(logrun_metadata::ConfigResourceType::Broker, key))
    }

    pub(crate) fn min_isr(&self, topic: &str, replicas: usize) -> usize {
        let value = self.topic_config(topic, MIN_INSYNC_REPLICAS).and_then(|v| v.trim().parse().ok());
        value.unwrap_or(1).clamp(1, replicas.max(1))
    }

    pub(crate) fn unclean_election_enabled(&self, topic: &str) -> bool {
        // Kafka's own topics would lose commits: never.
        !is_internal_topic(topic)
            && self.topic_config(topic, UNCLEAN_LEADER_ELECTION_ENABLE).is_some_and(|v| v.eq_ignore_ascii_case("true"))
    }

    fn note_name(&mut self, name: &Str) {
        if let Some(unified) = unify(name) {
            self.colliding_names.entry(unified).or_default().insert(name.clone());
        }
    }

    fn forget_name(&mut self, name: &Str) {
        let Some(unified) = unify(name) else { return };
        if let Some(names) = self.colliding_names.get_mut(&unified) {
            names.remove(name);
            if names.is_empty() {
                self.colliding_names.remove(&unified);
            }
        }
    }

    /// What a new active controller writes first: Kafka's `ActivationRecordsGenerator`.
    fn activate(&self, bootstrap: Vec<MetadataRecord>) -> Decided {
        let mut records: Vec<MetadataRecord> = Vec::new();
        let in_transaction = self.before_transaction.is_some();
        let empty = self.before_transaction.as_ref().unwrap_or(&self.image).is_empty();
        if in_transaction {
            let reason = if empty { "the bootstrap records are incomplete" } else { "the controller has changed" };
            records.push(AbortTransactionRecord { reason: Some(reason.into()), ..Default::default() }.into());
        }
        if empty {
            records
                .push(BeginTransactionRecord { name: Some("Bootstrap records".into()), ..Default::default() }.into());
            let elr = |r: &MetadataRecord| matches!(r, MetadataRecord::FeatureLevel(f) if f.name == ELIGIBLE_LEADER_REPLICAS_VERSION && f.feature_level > 0);
            let with_elr = bootstrap.iter().any(elr);
            records.extend(bootstrap);
            if with_elr {
                records.push(self.cluster_min_isr_record().into());
            }
            records.push(EndTransactionRecord::default().into());
        }
        Decision { records, reply: Reply::Done }
    }

    /// With eligible leader replicas, the minimum ISR is the cluster's and no longer each broker's.
    pub(crate) fn cluster_min_isr_record(&self) -> ConfigRecord {
        let broker = logrun_metadata::ConfigResourceType::Broker;
        let value = self.config.schema.static_or_default(broker, MIN_INSYNC_REPLICAS);
        ConfigRecord {
            resource_type: broker.id(),
            resource_name: Str::EMPTY,
            name: MIN_INSYNC_REPLICAS.into(),
            value: Some(value.unwrap_or_else(|| "1".into())),
            ..Default::default()
        }
    }

    fn try_replay(&mut self, record: &MetadataRecord) -> Result<(), ReplayError> {
        match record {
            MetadataRecord::BeginTransaction(_) => {
                if self.before_transaction.is_some() {
                    return Err(ReplayError::Transaction {
                        record: "BeginTransactionRecord",
                        where_: "there already is",
                    });
                }
                self.before_transaction = Some(self.image.clone());
            }
            MetadataRecord::EndTransaction(_) => {
                if self.before_transaction.take().is_none() {
                    return Err(ReplayError::Transaction { record: "EndTransactionRecord", where_: "there is not" });
                }
            }
            MetadataRecord::AbortTransaction(_) => {
                let Some(before) = self.before_transaction.take() else {
                    return Err(ReplayError::Transaction { record: "AbortTransactionRecord", where_: "there is not" });
                };
                self.image = before;
                self.colliding_names.clear();
                let names: Vec<Str> = self.image.topics.iter().map(|t| t.name.clone()).collect();
                names.iter().for_each(|n| self.note_name(n));
            }
            MetadataRecord::Topic(r) => {
                self.note_name(&r.name.detached());
                self.image.replay(record, &mut Changes::default())?;
            }
            MetadataRecord::RemoveTopic(r) => {
                if let Some(name) = self.image.topics.name_of(r.topic_id).cloned() {
                    self.forget_name(&name);
                }
                self.image.replay(record, &mut Changes::default())?;
            }
            _ => self.image.replay(record, &mut Changes::default())?,
        }
        Ok(())
    }
}

/// The name with `_` for `.`, if it has either.
fn unify(name: &str) -> Option<String> {
    name.contains(['.', '_']).then(|| name.replace('.', "_"))
}

/// The feature levels that `kafka-storage format` puts into an empty cluster's log.
pub fn bootstrap_records(version: MetadataVersion) -> Vec<MetadataRecord> {
    let record = |(name, feature_level)| FeatureLevelRecord { name, feature_level, ..Default::default() }.into();
    levels_at_format(version).into_iter().map(record).collect()
}

impl Recorded for Controller {
    type Command = Command;
    type Record = MetadataRecord;
    type Reply = Reply;

    fn decide(&self, _now: Now, command: Command) -> Decided {
        if let Some(fault) = &self.fault {
            let refusal = ApiError::new(ErrorCode::UnknownServerError, fault.to_string());
            return Decision::reply(Reply::Refused(refusal));
        }
        match command {
            Command::Activate { bootstrap } => self.activate(bootstrap),
            Command::CreateTopics { request, topic_ids, seed, describable } => {
                self.create_topics(&request, &topic_ids, seed, describable.as_deref())
            }
            Command::DeleteTopics { request } => self.delete_topics(&request),
            Command::CreatePartitions { request, seed } => self.create_partitions(&request, seed),
            Command::IncrementalAlterConfigs { request } => self.incremental_alter_configs(&request),
            Command::AlterConfigs { request } => self.alter_configs(&request),
            Command::RegisterBroker { request, former_self_is_dead, session_is_valid } => {
                self.register_broker(&request, former_self_is_dead, session_is_valid)
            }
            Command::BrokerHeartbeat { request, others_caught_up } => self.broker_heartbeat(&request, others_caught_up),
            Command::FenceBroker { broker_id, broker_epoch } => self.fence_broker(broker_id, broker_epoch),
            Command::UnregisterBroker { request } => self.unregister_broker(&request),
            Command::RegisterController { request } => self.register_controller(&request),
            Command::ElectLeaders { request } => self.elect_leaders(&request),
            Command::AlterPartitionReassignments { request } => self.alter_partition_reassignments(&request),
            Command::AlterPartition { request } => self.alter_partition(&request),
            Command::AllocateProducerIds { request } => self.allocate_producer_ids(&request),
            Command::UpdateFeatures { request, kraft_version } => self.update_features(&request, kraft_version),
            Command::AssignReplicasToDirs { request } => self.assign_replicas_to_dirs(&request),
            Command::NoOp => Decision { records: vec![NoOpRecord::default().into()], reply: Reply::Done },
        }
    }

    fn replay(&mut self, record: &MetadataRecord) {
        if self.fault.is_none()
            && let Err(fault) = self.try_replay(record)
        {
            self.fault = Some(fault);
        }
    }

    fn replay_at(&mut self, offset: Offset, record: &MetadataRecord) {
        self.replay(record);
        self.next_offset = MetadataOffset(offset.get()).next();
    }
}
