//! Topics: create, delete, list, describe, add partitions.

use std::collections::BTreeMap;

use logrun_model::{NodeId, Str, Uuid};
use logrun_wire::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
use logrun_wire::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig};
use logrun_wire::messages::delete_topics_request::DeleteTopicState;
use logrun_wire::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use logrun_wire::messages::metadata_request::MetadataRequestTopic;
use logrun_wire::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeTopicPartitionsRequest, MetadataRequest,
};
use logrun_wire::{ApiKey, ErrorCode};

use super::{Admin, Each};
use crate::client::Target;
use crate::error::{Error, check};

/// A topic to be created.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: Str,
    /// How many partitions; `None` for the broker's default.
    pub partitions: Option<i32>,
    /// How many replicas of each; `None` for the broker's default.
    pub replication_factor: Option<i16>,
    /// Instead of the two numbers: the replicas of each partition, the preferred leader first.
    pub assignments: BTreeMap<i32, Vec<NodeId>>,
    /// Its own configs.
    pub configs: BTreeMap<Str, Str>,
}

impl NewTopic {
    /// A topic with so many partitions and the broker's default of everything else.
    pub fn new(name: impl Into<Str>, partitions: i32) -> Self {
        Self { name: name.into(), partitions: Some(partitions), ..Self::default() }
    }

    /// Sets a config.
    #[must_use]
    pub fn config(mut self, name: impl Into<Str>, value: impl Into<Str>) -> Self {
        self.configs.insert(name.into(), value.into());
        self
    }
}

/// What the broker says of a topic that it created, or would create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its id; zero if the broker is too old to say.
    pub id: Uuid,
    /// Partitions, if the broker says.
    pub partitions: Option<i32>,
    /// Replicas of each, if the broker says.
    pub replication_factor: Option<i16>,
    /// The configs that are in force, if the caller may see them.
    pub configs: Option<BTreeMap<Str, Option<Str>>>,
}

/// Partitions to be added to a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewPartitions {
    /// How many there are to be in all.
    pub total: i32,
    /// The replicas of each of the new ones; `None` leaves it to the controller.
    pub assignments: Option<Vec<Vec<NodeId>>>,
}

/// A topic in a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TopicListing {
    /// Its name.
    pub name: Str,
    /// Its id; zero if the broker is too old to say.
    pub id: Uuid,
    /// Whether it is one of Kafka's own.
    pub is_internal: bool,
    /// How many partitions it has.
    pub partitions: usize,
}

/// A partition and who has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicPartitionInfo {
    /// Its number.
    pub partition: i32,
    /// The leader, if there is one.
    pub leader: Option<NodeId>,
    /// The leader's epoch; -1 if unknown.
    pub leader_epoch: i32,
    /// All replicas, the preferred leader first.
    pub replicas: Vec<NodeId>,
    /// Those in sync.
    pub isr: Vec<NodeId>,
    /// Those that may be elected though they are not in sync (KIP-966), if the broker says.
    pub elr: Option<Vec<NodeId>>,
    /// Those that were the last to be so, if the broker says.
    pub last_known_elr: Option<Vec<NodeId>>,
    /// Those that are offline.
    pub offline: Vec<NodeId>,
}

/// A topic, whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicDescription {
    /// Its name.
    pub name: Str,
    /// Its id; zero if the broker is too old to say.
    pub id: Uuid,
    /// Whether it is one of Kafka's own.
    pub is_internal: bool,
    /// Its partitions, by number.
    pub partitions: Vec<TopicPartitionInfo>,
    /// What the caller may do with it, a bit for each operation (`AclOperation`), if it was asked for.
    pub authorized_operations: Option<i32>,
}

/// What stands for "not asked for" among authorized operations.
const NO_OPERATIONS: i32 = i32::MIN;

pub(super) fn operations(bits: i32) -> Option<i32> {
    (bits != NO_OPERATIONS).then_some(bits)
}

pub(super) fn nodes(ids: &[i32]) -> Vec<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

pub(super) fn ids(nodes: &[NodeId]) -> Vec<i32> {
    nodes.iter().map(|n| n.get()).collect()
}

impl Admin {
    /// Creates topics, or with `validate_only` says what would come of it.
    ///
    /// # Errors
    /// If the request as a whole fails.
    pub async fn create_topics(
        &self,
        topics: &[NewTopic],
        validate_only: bool,
    ) -> Result<Each<Str, CreatedTopic>, Error> {
        let creatable = |t: &NewTopic| CreatableTopic {
            name: t.name.clone(),
            num_partitions: if t.assignments.is_empty() { t.partitions.unwrap_or(-1) } else { -1 },
            replication_factor: if t.assignments.is_empty() { t.replication_factor.unwrap_or(-1) } else { -1 },
            assignments: t
                .assignments
                .iter()
                .map(|(p, replicas)| CreatableReplicaAssignment {
                    partition_index: *p,
                    broker_ids: ids(replicas),
                    ..Default::default()
                })
                .collect(),
            configs: t
                .configs
                .iter()
                .map(|(name, value)| CreatableTopicConfig {
                    name: name.clone(),
                    value: Some(value.clone()),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        };
        let request = CreateTopicsRequest {
            topics: topics.iter().map(creatable).collect(),
            timeout_ms: self.timeout_ms(),
            validate_only,
            ..Default::default()
        };
        let response =
            self.ask(Target::Controller, request, |r| not_controller(r.topics.iter().map(|t| t.error_code))).await?;
        Ok(response
            .topics
            .into_iter()
            .map(|t| {
                let created = check(t.error_code, t.error_message.as_ref()).map(|()| CreatedTopic {
                    id: t.topic_id,
                    partitions: (t.num_partitions >= 0).then_some(t.num_partitions),
                    replication_factor: (t.replication_factor >= 0).then_some(t.replication_factor),
                    configs: t.configs.map(|c| c.into_iter().map(|c| (c.name, c.value)).collect()),
                });
                (t.name, created)
            })
            .collect())
    }

    /// Deletes topics by name.
    ///
    /// # Errors
    /// If the request as a whole fails.
    pub async fn delete_topics(&self, names: &[Str]) -> Result<Each<Str, ()>, Error> {
        let timeout_ms = self.timeout_ms();
        let build = |version| {
            let by_name = |name: &Str| DeleteTopicState { name: Some(name.clone()), ..Default::default() };
            Ok(match version {
                6.. => DeleteTopicsRequest {
                    topics: names.iter().map(by_name).collect(),
                    timeout_ms,
                    ..Default::default()
                },
                _ => DeleteTopicsRequest { topic_names: names.to_vec(), timeout_ms, ..Default::default() },
            })
        };
        let check_all = |_, r: &logrun_wire::messages::DeleteTopicsResponse| {
            not_controller(r.responses.iter().map(|t| t.error_code))
        };
        let response = self.client.call_with(self.to(Target::Controller), build, check_all).await?;
        Ok(response
            .responses
            .into_iter()
            .map(|t| (t.name.unwrap_or_default(), check(t.error_code, t.error_message.as_ref())))
            .collect())
    }

    /// Deletes topics by id.
    ///
    /// # Errors
    /// If the request as a whole fails.
    pub async fn delete_topics_by_id(&self, topic_ids: &[Uuid]) -> Result<Each<Uuid, ()>, Error> {
        let by_id = |id: &Uuid| DeleteTopicState { name: None, topic_id: *id, ..Default::default() };
        let request = DeleteTopicsRequest {
            topics: topic_ids.iter().map(by_id).collect(),
            timeout_ms: self.timeout_ms(),
            ..Default::default()
        };
        let call = self.to(Target::Controller).versions(6, i16::MAX);
        let response = self.client.call_with(call, |_| Ok(request.clone()), |_, _| Ok(())).await?;
        Ok(response
            .responses
            .into_iter()
            .map(|t| (t.topic_id, check(t.error_code, t.error_message.as_ref())))
            .collect())
    }

    /// All topics that the caller may see, by name; Kafka's own too with `internal`.
    ///
    /// # Errors
    /// If the request fails.
    pub async fn list_topics(&self, internal: bool) -> Result<Vec<TopicListing>, Error> {
        let request = MetadataRequest { topics: None, allow_auto_topic_creation: false, ..Default::default() };
        let response = self.ask(Target::Any, request, |r| check(r.error_code, None)).await?;
        let mut topics: Vec<TopicListing> = response
            .topics
            .into_iter()
            .filter(|t| t.error_code == 0 && (internal || !t.is_internal))
            .map(|t| TopicListing {
                name: t.name.unwrap_or_default(),
                id: t.topic_id,
                is_internal: t.is_internal,
                partitions: t.partitions.len(),
            })
            .collect();
        topics.sort();
        Ok(topics)
    }

    /// Topics, whole.
    ///
    /// # Errors
    /// If a request as a whole fails.
    pub async fn describe_topics(&self, names: &[Str], operations: bool) -> Result<Each<Str, TopicDescription>, Error> {
        if names.is_empty() {
            return Ok(Each::new());
        }
        let any = self.client.in_time(self.client.deadline(self.timeout), "connecting", self.client.any()).await;
        // The older call is for older brokers.
        if any.is_ok_and(|c| c.versions().of_api(ApiKey::DescribeTopicPartitions).is_empty()) {
            let topics = names.iter().map(|n| MetadataRequestTopic { name: Some(n.clone()), ..Default::default() });
            return self
                .describe_by_metadata(topics.collect(), operations)
                .await
                .map(|topics| topics.into_iter().map(|(name, _, description)| (name, description)).collect());
        }
        let mut result: Each<Str, TopicDescription> = Each::new();
        let mut cursor: Option<Cursor> = None;
        loop {
            let mut wanted: Vec<&Str> = names.iter().collect();
            wanted.sort();
            wanted.dedup();
            let request = DescribeTopicPartitionsRequest {
                topics: wanted.iter().map(|n| TopicRequest { name: (*n).clone(), ..Default::default() }).collect(),
                cursor: cursor.take(),
                ..Default::default()
            };
            let response = self.ask(Target::Any, request, |_| Ok(())).await?;
            for t in response.topics {
                let name = t.name.unwrap_or_default();
                let partitions = t.partitions.into_iter().map(|p| TopicPartitionInfo {
                    partition: p.partition_index,
                    leader: (p.leader_id >= 0).then_some(NodeId(p.leader_id)),
                    leader_epoch: p.leader_epoch,
                    replicas: nodes(&p.replica_nodes),
                    isr: nodes(&p.isr_nodes),
                    elr: p.eligible_leader_replicas.as_deref().map(nodes),
                    last_known_elr: p.last_known_elr.as_deref().map(nodes),
                    offline: nodes(&p.offline_replicas),
                });
                match check(t.error_code, None) {
                    Err(e) => drop(result.insert(name, Err(e))),
                    Ok(()) => match result.get_mut(&name) {
                        // It goes on from the page before.
                        Some(Ok(topic)) => topic.partitions.extend(partitions),
                        _ => {
                            let topic = TopicDescription {
                                name: name.clone(),
                                id: t.topic_id,
                                is_internal: t.is_internal,
                                partitions: partitions.collect(),
                                authorized_operations: operations
                                    .then(|| self::operations(t.topic_authorized_operations))
                                    .flatten(),
                            };
                            result.insert(name, Ok(topic));
                        }
                    },
                }
            }
            match response.next_cursor {
                None => return Ok(result),
                Some(next) => {
                    cursor = Some(Cursor {
                        topic_name: next.topic_name,
                        partition_index: next.partition_index,
                        ..Default::default()
                    });
                }
            }
        }
    }

    /// Topics, whole, by their ids.
    ///
    /// # Errors
    /// If the request as a whole fails.
    pub async fn describe_topics_by_id(
        &self,
        topic_ids: &[Uuid],
        operations: bool,
    ) -> Result<Each<Uuid, TopicDescription>, Error> {
        let topics =
            topic_ids.iter().map(|id| MetadataRequestTopic { topic_id: *id, name: None, ..Default::default() });
        let described = self.describe_by_metadata(topics.collect(), operations).await?;
        Ok(described.into_iter().map(|(_, id, description)| (id, description)).collect())
    }

    async fn describe_by_metadata(
        &self,
        topics: Vec<MetadataRequestTopic>,
        operations: bool,
    ) -> Result<Vec<(Str, Uuid, Result<TopicDescription, Error>)>, Error> {
        let request = MetadataRequest {
            topics: Some(topics),
            allow_auto_topic_creation: false,
            include_topic_authorized_operations: operations,
            ..Default::default()
        };
        let response = self.ask(Target::Any, request, |r| check(r.error_code, None)).await?;
        let describe = |t: logrun_wire::messages::metadata_response::MetadataResponseTopic| {
            let name = t.name.unwrap_or_default();
            let mut partitions: Vec<TopicPartitionInfo> = t
                .partitions
                .into_iter()
                .map(|p| TopicPartitionInfo {
                    partition: p.partition_index,
                    leader: (p.leader_id >= 0).then_some(NodeId(p.leader_id)),
                    leader_epoch: p.leader_epoch,
                    replicas: nodes(&p.replica_nodes),
                    isr: nodes(&p.isr_nodes),
                    elr: None,
                    last_known_elr: None,
                    offline: nodes(&p.offline_replicas),
                })
                .collect();
            partitions.sort_by_key(|p| p.partition);
            let description = check(t.error_code, None).map(|()| TopicDescription {
                name: name.clone(),
                id: t.topic_id,
                is_internal: t.is_internal,
                partitions,
                authorized_operations: self::operations(t.topic_authorized_operations),
            });
            (name, t.topic_id, description)
        };
        Ok(response.topics.into_iter().map(describe).collect())
    }

    /// Adds partitions to topics.
    ///
    /// # Errors
    /// If the request as a whole fails.
    pub async fn create_partitions(
        &self,
        topics: &BTreeMap<Str, NewPartitions>,
        validate_only: bool,
    ) -> Result<Each<Str, ()>, Error> {
        let assignment =
            |replicas: &Vec<NodeId>| CreatePartitionsAssignment { broker_ids: ids(replicas), ..Default::default() };
        let request = CreatePartitionsRequest {
            topics: topics
                .iter()
                .map(|(name, new)| CreatePartitionsTopic {
                    name: name.clone(),
                    count: new.total,
                    assignments: new.assignments.as_ref().map(|a| a.iter().map(assignment).collect()),
                    ..Default::default()
                })
                .collect(),
            timeout_ms: self.timeout_ms(),
            validate_only,
            ..Default::default()
        };
        let response =
            self.ask(Target::Controller, request, |r| not_controller(r.results.iter().map(|t| t.error_code))).await?;
        Ok(response.results.into_iter().map(|t| (t.name, check(t.error_code, t.error_message.as_ref()))).collect())
    }
}

/// All items say so if the wrong node was asked.
fn not_controller(mut codes: impl Iterator<Item = i16>) -> Result<(), Error> {
    match codes.any(|code| code == ErrorCode::NotController.code()) {
        true => Err(ErrorCode::NotController.into()),
        false => Ok(()),
    }
}
