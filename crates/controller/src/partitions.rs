//! CreatePartitions, ElectLeaders, AlterPartition and AssignReplicasToDirs: what changes partitions one by one.

use std::collections::BTreeSet;

use logrun_coordinator::Decision;
use logrun_metadata::records::MetadataRecord;
use logrun_metadata::{LeaderRecoveryState, PartitionRegistration};
use logrun_model::{BrokerEpoch, LeaderEpoch, NodeId, PartitionEpoch, PartitionIndex, Str, TopicId, TopicIdPartition};
use logrun_wire::ErrorCode;
use logrun_wire::messages::create_partitions_request::CreatePartitionsTopic;
use logrun_wire::messages::create_partitions_response::CreatePartitionsTopicResult;
use logrun_wire::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use logrun_wire::messages::{
    AlterPartitionRequest, AlterPartitionResponse, AssignReplicasToDirsRequest, AssignReplicasToDirsResponse,
    CreatePartitionsRequest, CreatePartitionsResponse, ElectLeadersRequest, ElectLeadersResponse,
    alter_partition_request as apq, alter_partition_response as apr, assign_replicas_to_dirs_response as adr,
};

use crate::change::{Election, PartitionChange};
use crate::command::Reply;
use crate::error::{ApiError, outcome};
use crate::machine::{Controller, Decided, RECORDS_PER_COMMAND_MAX};

impl Controller {
    pub(crate) fn create_partitions(&self, request: &CreatePartitionsRequest, seed: u64) -> Decided {
        let mut records = Vec::new();
        let mut results: Vec<CreatePartitionsTopicResult> = Vec::with_capacity(request.topics.len());
        for (i, topic) in request.topics.iter().enumerate() {
            if results.iter().any(|r| r.name == topic.name) {
                continue;
            }
            let duplicate = request.topics.iter().filter(|t| t.name == topic.name).count() > 1;
            let result = if duplicate {
                Err(ApiError::new(ErrorCode::InvalidRequest, "The request names this topic more than once."))
            } else {
                self.add_partitions(topic, seed.wrapping_add(i as u64), RECORDS_PER_COMMAND_MAX - records.len())
            };
            let (error_code, error_message) = outcome(&result);
            records.extend(result.unwrap_or_default());
            results.push(CreatePartitionsTopicResult {
                name: topic.name.clone(),
                error_code,
                error_message,
                ..Default::default()
            });
        }
        if request.validate_only {
            records.clear();
        }
        Decision { records, reply: Reply::CreatePartitions(CreatePartitionsResponse { results, ..Default::default() }) }
    }

    fn add_partitions(
        &self,
        wanted: &CreatePartitionsTopic,
        seed: u64,
        records_max: usize,
    ) -> Result<Vec<MetadataRecord>, ApiError> {
        let topic = self.image.topics.by_name(&wanted.name).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let invalid = |message: String| Err(ApiError::new(ErrorCode::InvalidPartitions, message));
        let existing = topic.partition_count();
        if wanted.count == existing {
            return invalid(format!("Topic already has {existing} partition(s)."));
        }
        if wanted.count < existing {
            return invalid(format!(
                "The topic {} currently has {existing} partition(s); {} would not be an increase.",
                wanted.name, wanted.count
            ));
        }
        let additional = (wanted.count - existing) as usize;
        if additional > records_max {
            let message = format!("A request can create at most {RECORDS_PER_COMMAND_MAX} partitions.");
            return Err(ApiError::new(ErrorCode::PolicyViolation, message));
        }
        let factor = topic.partitions.values().next().map_or(1, |p| p.replicas.len());
        let partitions = match &wanted.assignments {
            None => self.place_partitions(additional, factor as i16, seed)?,
            Some(assignments) => {
                if assignments.len() != additional {
                    let message = format!(
                        "{additional} partition(s) are to be added, but {} assignment(s) were given.",
                        assignments.len()
                    );
                    return Err(ApiError::new(ErrorCode::InvalidReplicaAssignment, message));
                }
                let mut partitions = Vec::with_capacity(additional);
                for a in assignments {
                    self.check_assignment(&a.broker_ids, Some(factor))?;
                    let partition = self.new_partition(a.broker_ids.iter().map(|b| NodeId(*b)).collect());
                    partitions.push(partition.ok_or_else(|| {
                        let message = "All brokers of a manual assignment are fenced or in controlled shutdown.";
                        ApiError::new(ErrorCode::InvalidReplicaAssignment, message)
                    })?);
                }
                partitions
            }
        };
        let version = self.version();
        Ok((existing..).zip(&partitions).map(|(i, p)| p.to_record(topic.id, i, version).into()).collect())
    }

    /// A change of `partition` under this topic's configs.
    pub(crate) fn partition_change<'a>(
        &self,
        partition: &'a PartitionRegistration,
        topic: &Str,
        id: TopicIdPartition,
    ) -> PartitionChange<'a> {
        let min_isr = self.min_isr(topic, partition.replicas.len());
        let mut change = PartitionChange::new(partition, id.topic_id, id.partition, self.version(), min_isr);
        change.elr_enabled = self.elr_enabled();
        if self.unclean_election_enabled(topic) {
            change.election = Election::Unclean;
        }
        change
    }

    /// Whether `broker` is active and has the directory that holds its replica of `partition`.
    pub(crate) fn may_lead(&self, partition: &PartitionRegistration, broker: NodeId) -> bool {
        let Some(registration) = self.image.cluster.broker(broker) else { return false };
        registration.is_active() && partition.directory(broker).is_none_or(|d| registration.has_online_directory(d))
    }

    pub(crate) fn elect_leaders(&self, request: &ElectLeadersRequest) -> Decided {
        let election = match request.election_type {
            0 => Election::Preferred,
            1 => Election::Unclean,
            other => {
                let message = format!("Unknown election type {other}");
                return Decision::reply(Reply::Refused(ApiError::new(ErrorCode::InvalidRequest, message)));
            }
        };
        let mut records = Vec::new();
        let wanted: Vec<(Str, Vec<PartitionIndex>)> = match &request.topic_partitions {
            Some(topics) => topics.iter().map(|t| (t.topic.clone(), t.partitions.clone())).collect(),
            None => {
                let topics = self.image.topics.iter_by_name(None);
                topics.map(|t| (t.name.clone(), t.partitions.keys().copied().collect())).collect()
            }
        };
        let all = request.topic_partitions.is_none();
        let mut replica_election_results = Vec::with_capacity(wanted.len());
        for (topic, partitions) in wanted {
            let mut partition_result = Vec::new();
            for partition_id in partitions {
                let result = self.elect_leader(&topic, partition_id, election);
                let (error_code, error_message) = outcome(&result);
                // Asked for all, Kafka leaves out the partitions that needed nothing, though not their topics.
                if !(all && error_code == ErrorCode::ElectionNotNeeded.code()) {
                    let result = PartitionResult { partition_id, error_code, error_message, ..Default::default() };
                    partition_result.push(result);
                }
                records.extend(result.ok());
            }
            replica_election_results.push(ReplicaElectionResult { topic, partition_result, ..Default::default() });
        }
        let response = ElectLeadersResponse { replica_election_results, ..Default::default() };
        Decision { records, reply: Reply::ElectLeaders(response) }
    }

    fn elect_leader(&self, topic: &Str, index: PartitionIndex, election: Election) -> Result<MetadataRecord, ApiError> {
        let unknown =
            || ApiError::new(ErrorCode::UnknownTopicOrPartition, format!("No such partition as {topic}-{index}"));
        let image = self.image.topics.by_name(topic).ok_or_else(unknown)?;
        let partition = image.partition(index).ok_or_else(unknown)?;
        let not_needed = match election {
            Election::Preferred => partition.has_preferred_leader(),
            _ => partition.has_leader(),
        };
        if not_needed {
            return Err(ErrorCode::ElectionNotNeeded.into());
        }
        let id = TopicIdPartition { topic_id: image.id, partition: index };
        let mut change = self.partition_change(partition, topic, id);
        change.election = election;
        change.build(&|b| self.may_lead(partition, b)).map(Into::into).ok_or_else(|| {
            if election == Election::Preferred {
                ErrorCode::PreferredLeaderNotAvailable.into()
            } else {
                ErrorCode::EligibleLeadersNotAvailable.into()
            }
        })
    }

    pub(crate) fn alter_partition(&self, request: &AlterPartitionRequest) -> Decided {
        if let Err(e) = self.check_broker_epoch(request.broker_id, request.broker_epoch) {
            let response = AlterPartitionResponse { error_code: e.code.code(), ..Default::default() };
            return Decision::reply(Reply::AlterPartition(response));
        }
        let mut records: Vec<MetadataRecord> = Vec::new();
        let mut topics = Vec::with_capacity(request.topics.len());
        for t in &request.topics {
            let partitions = t.partitions.iter().map(|p| {
                let altered = self.alter_one(NodeId(request.broker_id), t.topic_id, p);
                altered.map_or_else(
                    |code| apr::PartitionData {
                        partition_index: p.partition_index,
                        error_code: code.code(),
                        ..Default::default()
                    },
                    |(record, data)| {
                        records.extend(record);
                        data
                    },
                )
            });
            topics.push(apr::TopicData {
                topic_id: t.topic_id,
                partitions: partitions.collect(),
                ..Default::default()
            });
        }
        let response = AlterPartitionResponse { topics, ..Default::default() };
        Decision { records, reply: Reply::AlterPartition(response) }
    }

    fn alter_one(
        &self,
        leader: NodeId,
        topic_id: TopicId,
        p: &apq::PartitionData,
    ) -> Result<(Option<MetadataRecord>, apr::PartitionData), ErrorCode> {
        let topic = self.image.topics.by_id(topic_id).ok_or(ErrorCode::UnknownTopicId)?;
        let partition = topic.partition(p.partition_index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let isr = self.check_new_isr(leader, partition, p)?;
        let id = TopicIdPartition { topic_id, partition: p.partition_index };
        let mut change = self.partition_change(partition, &topic.name, id);
        change.election = Election::Online;
        change.target_isr = isr;
        if let Some(state) = LeaderRecoveryState::from_id(p.leader_recovery_state) {
            change.target_leader_recovery_state = state;
        }
        let record = change.build(&|b| self.may_lead(partition, b));
        let after = record.as_ref().map_or_else(|| (**partition).clone(), |r| partition.merge(r));
        if after.leader_epoch != partition.leader_epoch && after.leader != partition.leader {
            // A reassignment is complete and the leader is not in it: the broker learns of it from the metadata.
            let data = apr::PartitionData {
                partition_index: p.partition_index,
                error_code: ErrorCode::NewLeaderElected.code(),
                ..Default::default()
            };
            return Ok((record.map(Into::into), data));
        }
        let data = apr::PartitionData {
            partition_index: p.partition_index,
            error_code: ErrorCode::None.code(),
            leader_id: after.leader.get(),
            leader_epoch: after.leader_epoch.get(),
            isr: logrun_metadata::image::ids(&after.isr),
            leader_recovery_state: after.leader_recovery_state.id(),
            partition_epoch: after.partition_epoch.get(),
            ..Default::default()
        };
        Ok((record.map(Into::into), data))
    }

    /// The ISR that the leader asks for, if it may ask.
    fn check_new_isr(
        &self,
        broker: NodeId,
        partition: &PartitionRegistration,
        p: &apq::PartitionData,
    ) -> Result<Vec<NodeId>, ErrorCode> {
        let (leader_epoch, partition_epoch) = (LeaderEpoch(p.leader_epoch), PartitionEpoch(p.partition_epoch));
        if leader_epoch > partition.leader_epoch || partition_epoch > partition.partition_epoch {
            // The broker knows more than we do: we are not the controller any longer.
            return Err(ErrorCode::NotController);
        }
        if leader_epoch < partition.leader_epoch {
            return Err(ErrorCode::FencedLeaderEpoch);
        }
        if broker != partition.leader {
            return Err(ErrorCode::InvalidRequest);
        }
        if partition_epoch < partition.partition_epoch {
            return Err(ErrorCode::InvalidUpdateVersion);
        }
        let with_epochs = p.new_isr_with_epochs.iter().map(|b| (NodeId(b.broker_id), BrokerEpoch(b.broker_epoch)));
        let isr: Vec<(NodeId, BrokerEpoch)> =
            with_epochs.chain(p.new_isr.iter().map(|b| (NodeId(*b), BrokerEpoch::NONE))).collect();
        let members: BTreeSet<NodeId> = isr.iter().map(|(b, _)| *b).collect();
        let valid = members.len() == isr.len()
            && members.contains(&partition.leader)
            && members.iter().all(|b| partition.replicas.contains(b));
        let recovering = p.leader_recovery_state == LeaderRecoveryState::Recovering.id();
        let recovery_valid =
            !recovering || (isr.len() == 1 && partition.leader_recovery_state == LeaderRecoveryState::Recovering);
        if !valid || !recovery_valid {
            return Err(ErrorCode::InvalidRequest);
        }
        let eligible = |(id, epoch): &(NodeId, BrokerEpoch)| {
            let registration = self.image.cluster.broker(*id);
            registration.is_some_and(|b| b.is_active() && (*epoch == BrokerEpoch::NONE || *epoch == b.epoch))
        };
        if !isr.iter().all(eligible) {
            return Err(ErrorCode::IneligibleReplica);
        }
        Ok(isr.into_iter().map(|(b, _)| b).collect())
    }

    pub(crate) fn assign_replicas_to_dirs(&self, request: &AssignReplicasToDirsRequest) -> Decided {
        let refused = if !self.version().has_directory_assignment() {
            Err(ApiError::from(ErrorCode::UnsupportedVersion))
        } else {
            self.check_broker_epoch(request.broker_id, request.broker_epoch)
        };
        if let Err(e) = refused {
            let response = AssignReplicasToDirsResponse { error_code: e.code.code(), ..Default::default() };
            return Decision::reply(Reply::AssignReplicasToDirs(response));
        }
        let broker = NodeId(request.broker_id);
        let mut records: Vec<MetadataRecord> = Vec::new();
        let mut directories = Vec::with_capacity(request.directories.len());
        for d in &request.directories {
            let mut topics = Vec::with_capacity(d.topics.len());
            for t in &d.topics {
                let mut partitions = Vec::with_capacity(t.partitions.len());
                for p in &t.partitions {
                    let id = TopicIdPartition { topic_id: t.topic_id, partition: p.partition_index };
                    let result = self.assign_directory(broker, id, d.id);
                    let error_code = result.as_ref().err().copied().unwrap_or(ErrorCode::None).code();
                    records.extend(result.ok().flatten());
                    let partition_index = p.partition_index;
                    partitions.push(adr::PartitionData { partition_index, error_code, ..Default::default() });
                }
                topics.push(adr::TopicData { topic_id: t.topic_id, partitions, ..Default::default() });
            }
            directories.push(adr::DirectoryData { id: d.id, topics, ..Default::default() });
        }
        let response = AssignReplicasToDirsResponse { directories, ..Default::default() };
        Decision { records, reply: Reply::AssignReplicasToDirs(response) }
    }

    fn assign_directory(
        &self,
        broker: NodeId,
        id: TopicIdPartition,
        directory: logrun_model::DirectoryId,
    ) -> Result<Option<MetadataRecord>, ErrorCode> {
        let topic = self.image.topics.by_id(id.topic_id).ok_or(ErrorCode::UnknownTopicId)?;
        let partition = topic.partition(id.partition).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        if !partition.replicas.contains(&broker) {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        let mut change = self.partition_change(partition, &topic.name, id);
        change.set_directory(broker, directory);
        let online = |b: NodeId| {
            self.may_lead(partition, b)
                && (b != broker || self.image.cluster.broker(b).is_some_and(|r| r.has_online_directory(directory)))
        };
        if !online(broker) {
            change.remove_from_isr(&[broker]);
        }
        Ok(change.build(&online).map(Into::into))
    }
}
