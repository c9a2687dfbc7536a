//! Partitions and their replicas: log directories, elections, reassignments.

use std::collections::{BTreeMap, BTreeSet};

use logrun_model::{NodeId, Str, TopicPartition};
use logrun_wire::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use logrun_wire::messages::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
use logrun_wire::messages::describe_log_dirs_request::DescribableLogDirTopic;
use logrun_wire::messages::elect_leaders_request::TopicPartitions;
use logrun_wire::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
use logrun_wire::messages::{
    AlterPartitionReassignmentsRequest, AlterReplicaLogDirsRequest, DescribeLogDirsRequest, ElectLeadersRequest,
    ListPartitionReassignmentsRequest,
};

use super::topics::{ids, nodes};
use super::{Admin, Each, by_topic};
use crate::client::Target;
use crate::error::{Error, check};

/// A log directory of a broker and what lies in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogDir {
    /// Its replicas.
    pub replicas: BTreeMap<TopicPartition, LogDirReplica>,
    /// The size of its file system in bytes, if the broker says.
    pub total_bytes: Option<i64>,
    /// What is free of that.
    pub usable_bytes: Option<i64>,
    /// Whether no new replicas are placed in it, if the broker says.
    pub is_cordoned: bool,
}

/// A replica in a log directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogDirReplica {
    /// Its log's size in bytes.
    pub size: i64,
    /// How far it is behind the high watermark, or, of a future replica, behind the current one.
    pub offset_lag: i64,
    /// Whether it will take the current one's place once it has caught up.
    pub is_future: bool,
}

/// Which replica is to lead: `ElectionType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum ElectionType {
    /// The first one of the assignment, if it is in sync.
    Preferred = 0,
    /// Any one, even if records are lost by it.
    Unclean = 1,
}

/// A reassignment that is under way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reassignment {
    /// All replicas, those to come and to go included.
    pub replicas: Vec<NodeId>,
    /// Those to come.
    pub adding: Vec<NodeId>,
    /// Those to go.
    pub removing: Vec<NodeId>,
}

impl Admin {
    /// The log directories of brokers, by path.
    ///
    /// # Errors
    /// If the brokers are not known.
    pub async fn describe_log_dirs(
        &self,
        brokers: Option<&[NodeId]>,
        partitions: Option<&[TopicPartition]>,
    ) -> Result<Each<NodeId, Each<Str, LogDir>>, Error> {
        let topics = partitions.map(|partitions| {
            let topics = by_topic(partitions.iter().map(|tp| (tp, ()))).into_iter();
            topics
                .map(|(name, p)| DescribableLogDirTopic {
                    topic: name.clone(),
                    partitions: p.into_iter().map(|(i, ())| i).collect(),
                    ..Default::default()
                })
                .collect::<Vec<_>>()
        });
        let request = |_, _| Ok(DescribeLogDirsRequest { topics: topics.clone(), ..Default::default() });
        self.at_nodes(brokers, request, |r| {
            check(r.error_code, None)?;
            let dir = |d: logrun_wire::messages::describe_log_dirs_response::DescribeLogDirsResult| {
                let known = |n: i64| (n >= 0).then_some(n);
                let described = check(d.error_code, None).map(|()| LogDir {
                    replicas: d
                        .topics
                        .into_iter()
                        .flat_map(|t| {
                            t.partitions.into_iter().map(move |p| {
                                let replica = LogDirReplica {
                                    size: p.partition_size,
                                    offset_lag: p.offset_lag,
                                    is_future: p.is_future_key,
                                };
                                (TopicPartition::new(t.name.clone(), p.partition_index), replica)
                            })
                        })
                        .collect(),
                    total_bytes: known(d.total_bytes),
                    usable_bytes: known(d.usable_bytes),
                    is_cordoned: d.is_cordoned,
                });
                (d.log_dir, described)
            };
            Ok(r.results.into_iter().map(dir).collect())
        })
        .await
    }

    /// Moves replicas into other log directories of their brokers.
    pub async fn alter_replica_log_dirs(
        &self,
        moves: &BTreeMap<(NodeId, TopicPartition), Str>,
    ) -> Each<(NodeId, TopicPartition), ()> {
        let brokers: BTreeSet<NodeId> = moves.keys().map(|(broker, _)| *broker).collect();
        let brokers: Vec<NodeId> = brokers.into_iter().collect();
        let request = |_, node: NodeId| {
            let mut dirs: BTreeMap<&Str, Vec<&TopicPartition>> = BTreeMap::new();
            for ((_, tp), dir) in moves.iter().filter(|((broker, _), _)| *broker == node) {
                dirs.entry(dir).or_default().push(tp);
            }
            let topic = |(name, p): (&Str, Vec<(i32, ())>)| AlterReplicaLogDirTopic {
                name: name.clone(),
                partitions: p.into_iter().map(|(i, ())| i).collect(),
                ..Default::default()
            };
            let dir = |(path, partitions): (&Str, Vec<&TopicPartition>)| AlterReplicaLogDir {
                path: path.clone(),
                topics: by_topic(partitions.into_iter().map(|tp| (tp, ()))).into_iter().map(topic).collect(),
                ..Default::default()
            };
            Ok(AlterReplicaLogDirsRequest { dirs: dirs.into_iter().map(dir).collect(), ..Default::default() })
        };
        let mut results = Each::new();
        let answers = match self
            .at_nodes(Some(&brokers), request, |r: logrun_wire::messages::AlterReplicaLogDirsResponse| Ok(r.results))
            .await
        {
            Ok(answers) => answers,
            Err(e) => return moves.keys().map(|key| (key.clone(), Err(e.clone()))).collect(),
        };
        for (node, answer) in answers {
            match answer {
                Ok(topics) => {
                    for t in topics {
                        for p in t.partitions {
                            let tp = TopicPartition::new(t.topic_name.clone(), p.partition_index);
                            results.insert((node, tp), check(p.error_code, None));
                        }
                    }
                }
                Err(e) => {
                    let asked = moves.keys().filter(|(broker, _)| *broker == node);
                    results.extend(asked.map(|key| (key.clone(), Err(e.clone()))));
                }
            }
        }
        results
    }

    /// Elects leaders of these partitions, or of all where it is due; those that had to be are in the result.
    ///
    /// # Errors
    /// If the request as a whole fails.
    pub async fn elect_leaders(
        &self,
        kind: ElectionType,
        partitions: Option<&[TopicPartition]>,
    ) -> Result<Each<TopicPartition, ()>, Error> {
        let topics = partitions.map(|partitions| {
            let topics = by_topic(partitions.iter().map(|tp| (tp, ()))).into_iter();
            topics
                .map(|(name, p)| TopicPartitions {
                    topic: name.clone(),
                    partitions: p.into_iter().map(|(i, ())| i).collect(),
                    ..Default::default()
                })
                .collect::<Vec<_>>()
        });
        let timeout_ms = self.timeout_ms();
        let build = |version: i16| {
            if version == 0 && kind != ElectionType::Preferred {
                return Err(Error::Invalid("the broker is too old for unclean elections".to_owned()));
            }
            let election_type = kind as i8;
            Ok(ElectLeadersRequest {
                election_type,
                topic_partitions: topics.clone(),
                timeout_ms,
                ..Default::default()
            })
        };
        let check_all = |_, r: &logrun_wire::messages::ElectLeadersResponse| check(r.error_code, None);
        let response = self.client.call_with(self.to(Target::Controller), build, check_all).await?;
        let all = response.replica_election_results.into_iter().flat_map(|t| {
            let result = move |p: logrun_wire::messages::elect_leaders_response::PartitionResult| {
                (TopicPartition::new(t.topic.clone(), p.partition_id), check(p.error_code, p.error_message.as_ref()))
            };
            t.partition_result.into_iter().map(result)
        });
        Ok(all.collect())
    }

    /// Gives partitions other replicas; `None` takes a reassignment that is under way back.
    ///
    /// # Errors
    /// If the request as a whole fails.
    pub async fn alter_partition_reassignments(
        &self,
        reassignments: &BTreeMap<TopicPartition, Option<Vec<NodeId>>>,
        allow_replication_factor_change: bool,
    ) -> Result<Each<TopicPartition, ()>, Error> {
        let topics = by_topic(reassignments).into_iter().map(|(name, p)| ReassignableTopic {
            name: name.clone(),
            partitions: p
                .into_iter()
                .map(|(partition_index, replicas)| ReassignablePartition {
                    partition_index,
                    replicas: replicas.as_deref().map(ids),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        });
        let request = AlterPartitionReassignmentsRequest {
            timeout_ms: self.timeout_ms(),
            allow_replication_factor_change,
            topics: topics.collect(),
            ..Default::default()
        };
        let response = self.ask(Target::Controller, request, |r| check(r.error_code, r.error_message.as_ref())).await?;
        let all = response.responses.into_iter().flat_map(|t| {
            let result = move |p: logrun_wire::messages::alter_partition_reassignments_response::ReassignablePartitionResponse| {
                (TopicPartition::new(t.name.clone(), p.partition_index), check(p.error_code, p.error_message.as_ref()))
            };
            t.partitions.into_iter().map(result)
        });
        Ok(all.collect())
    }

    /// The reassignments that are under way: of these partitions, or all.
    ///
    /// # Errors
    /// If the request fails.
    pub async fn list_partition_reassignments(
        &self,
        partitions: Option<&[TopicPartition]>,
    ) -> Result<BTreeMap<TopicPartition, Reassignment>, Error> {
        let topics = partitions.map(|partitions| {
            let topics = by_topic(partitions.iter().map(|tp| (tp, ()))).into_iter();
            topics
                .map(|(name, p)| ListPartitionReassignmentsTopics {
                    name: name.clone(),
                    partition_indexes: p.into_iter().map(|(i, ())| i).collect(),
                    ..Default::default()
                })
                .collect()
        });
        let request = ListPartitionReassignmentsRequest { timeout_ms: self.timeout_ms(), topics, ..Default::default() };
        let response = self.ask(Target::Controller, request, |r| check(r.error_code, r.error_message.as_ref())).await?;
        let all = response.topics.into_iter().flat_map(|t| {
            t.partitions.into_iter().map(move |p| {
                let reassignment = Reassignment {
                    replicas: nodes(&p.replicas),
                    adding: nodes(&p.adding_replicas),
                    removing: nodes(&p.removing_replicas),
                };
                (TopicPartition::new(t.name.clone(), p.partition_index), reassignment)
            })
        });
        Ok(all.collect())
    }
}
