//! What a consumer asks about offsets: commits, committed offsets, offsets by time, ends of epochs.
//!
//! Each is one question to whom it concerns, tried again while that makes sense. What follows from the answer is decided
//! elsewhere.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use logrun_model::{GroupId, LeaderEpoch, NodeId, Offset, Str, TimestampMs, TopicPartition, Uuid};
use logrun_wire::ErrorCode;
use logrun_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use logrun_wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use logrun_wire::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use logrun_wire::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use logrun_wire::messages::{ListOffsetsRequest, OffsetCommitRequest, OffsetFetchRequest, OffsetForLeaderEpochRequest};

use super::membership::Identity;
use super::subscription::Position;
use crate::cluster::Cluster;
use crate::error::Error;
use crate::{Call, Client, CoordinatorKey, Target};

/// A committed offset, with what goes with it. Kafka's `OffsetAndMetadata`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetAndMetadata {
    /// The offset of the next record to be read.
    pub offset: Offset,
    /// The leader epoch of the record before it; `NONE` if it isn't known.
    pub leader_epoch: LeaderEpoch,
    /// Anything, of at most `offset.metadata.max.bytes`.
    pub metadata: Str,
}

impl From<Offset> for OffsetAndMetadata {
    fn from(offset: Offset) -> Self {
        Self { offset, leader_epoch: LeaderEpoch::NONE, metadata: Str::EMPTY }
    }
}

/// An offset found by its time. Kafka's `OffsetAndTimestamp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetAndTimestamp {
    /// The first record of that time or later.
    pub offset: Offset,
    /// That record's time.
    pub timestamp: TimestampMs,
    /// The leader epoch that it was written in; `NONE` if it isn't known.
    pub leader_epoch: LeaderEpoch,
}

/// `ListOffsetsRequest.LATEST_TIMESTAMP`.
pub(crate) const LATEST: TimestampMs = TimestampMs(-1);
/// `ListOffsetsRequest.EARLIEST_TIMESTAMP`.
pub(crate) const EARLIEST: TimestampMs = TimestampMs(-2);

/// The versions that carry topic ids begin here, for commits and for committed offsets alike.
const FIRST_VERSION_WITH_IDS: i16 = 10;

fn by_topic<'a, T>(list: impl IntoIterator<Item = (&'a TopicPartition, T)>) -> BTreeMap<&'a Str, Vec<(i32, T)>> {
    let mut topics: BTreeMap<&Str, Vec<(i32, T)>> = BTreeMap::new();
    for (tp, item) in list {
        topics.entry(&tp.topic).or_default().push((tp.partition, item));
    }
    topics
}

fn id_of(cluster: &Cluster, topic: &str) -> Uuid {
    cluster.topic(topic).map_or(Uuid::ZERO, |t| t.id)
}

/// A call to the group's coordinator, with ids of topics only if all are known.
fn call(client: &Client, group: &GroupId, timeout: Option<Duration>, min: i16, topics: &[&Str]) -> Call {
    let cluster = client.cluster();
    let ids = topics.iter().all(|t| !id_of(&cluster, t).is_zero());
    let max = if ids { i16::MAX } else { FIRST_VERSION_WITH_IDS - 1 };
    Call::to(Target::Coordinator(CoordinatorKey::Group(group.clone()))).timeout(timeout).versions(min, max)
}

fn name_of(cluster: &Cluster, name: &Str, id: Uuid) -> Str {
    if name.is_empty() { cluster.topic_by_id(id).map(|t| t.name.clone()).unwrap_or_default() } else { name.detached() }
}

fn of_partition(tp: &TopicPartition, code: i16) -> Result<(), Error> {
    crate::check(code, None).map_err(|e| match e.code() {
        Some(code) => Error::Broker { code, message: Some(tp.to_string().into()) },
        None => e,
    })
}

/// Commits. `identity` is asked before each attempt: it changes with the group.
pub(crate) async fn commit(
    client: &Client,
    group: &GroupId,
    instance_id: Option<&Str>,
    identity: impl Fn() -> Identity,
    offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>,
    timeout: Option<Duration>,
    retry: bool,
) -> Result<(), Error> {
    if offsets.is_empty() {
        return Ok(());
    }
    let topics = by_topic(offsets.iter());
    let names: Vec<&Str> = topics.keys().copied().collect();
    let build = |_| {
        let cluster = client.cluster();
        let identity = identity();
        let partition = |(partition_index, o): &(i32, &OffsetAndMetadata)| OffsetCommitRequestPartition {
            partition_index: *partition_index,
            committed_offset: o.offset.get(),
            committed_leader_epoch: o.leader_epoch.get(),
            committed_metadata: Some(o.metadata.clone()),
            ..Default::default()
        };
        let topics = topics.iter().map(|(name, partitions)| OffsetCommitRequestTopic {
            name: (*name).clone(),
            topic_id: id_of(&cluster, name),
            partitions: partitions.iter().map(partition).collect(),
            ..Default::default()
        });
        Ok(OffsetCommitRequest {
            group_id: group.clone(),
            generation_id_or_member_epoch: identity.generation.get(),
            member_id: identity.member_id,
            group_instance_id: instance_id.cloned(),
            topics: topics.collect(),
            ..Default::default()
        })
    };
    let call = call(client, group, timeout, 2, &names);
    let call = if retry { call } else { call.once() };
    let check = |_, r: &logrun_wire::messages::OffsetCommitResponse| {
        let cluster = client.cluster();
        for t in &r.topics {
            for p in &t.partitions {
                let topic = name_of(&cluster, &t.name, t.topic_id);
                of_partition(&TopicPartition { topic, partition: p.partition_index }, p.error_code)?;
            }
        }
        Ok(())
    };
    client.call_with::<OffsetCommitRequest>(call, build, check).await.map(|_| ())
}

/// What the group has committed for these partitions; those without a commit are left out.
pub(crate) async fn committed(
    client: &Client,
    group: &GroupId,
    identity: impl Fn() -> Identity,
    partitions: &[TopicPartition],
    timeout: Option<Duration>,
) -> Result<BTreeMap<TopicPartition, OffsetAndMetadata>, Error> {
    if partitions.is_empty() {
        return Ok(BTreeMap::new());
    }
    let topics = by_topic(partitions.iter().map(|tp| (tp, ())));
    let names: Vec<&Str> = topics.keys().copied().collect();
    let build = |_| {
        let cluster = client.cluster();
        let identity = identity();
        let topics = topics.iter().map(|(name, partitions)| OffsetFetchRequestTopics {
            name: (*name).clone(),
            topic_id: id_of(&cluster, name),
            partition_indexes: partitions.iter().map(|(p, ())| *p).collect(),
            ..Default::default()
        });
        let group = OffsetFetchRequestGroup {
            group_id: group.clone(),
            member_id: identity.generation.is_some().then_some(identity.member_id),
            member_epoch: identity.generation.get(),
            topics: Some(topics.collect()),
            ..Default::default()
        };
        // Offsets of transactions that are still open are waited for.
        Ok(OffsetFetchRequest { groups: vec![group], require_stable: true, ..Default::default() })
    };
    let check = |_, r: &logrun_wire::messages::OffsetFetchResponse| {
        crate::check(r.groups.first().map_or(ErrorCode::UnknownServerError.code(), |g| g.error_code), None)?;
        let cluster = client.cluster();
        for t in r.groups.iter().flat_map(|g| &g.topics) {
            for p in &t.partitions {
                let topic = name_of(&cluster, &t.name, t.topic_id);
                of_partition(&TopicPartition { topic, partition: p.partition_index }, p.error_code)?;
            }
        }
        Ok(())
    };
    let call = call(client, group, timeout, 8, &names);
    let response = client.call_with::<OffsetFetchRequest>(call, build, check).await?;
    let cluster = client.cluster();
    let mut found = BTreeMap::new();
    for t in response.groups.into_iter().flat_map(|g| g.topics) {
        let topic = name_of(&cluster, &t.name, t.topic_id);
        for p in t.partitions.iter().filter(|p| p.committed_offset >= 0) {
            let offset = OffsetAndMetadata {
                offset: Offset(p.committed_offset),
                leader_epoch: LeaderEpoch(p.committed_leader_epoch),
                metadata: p.metadata.as_ref().map(Str::detached).unwrap_or_default(),
            };
            found.insert(TopicPartition { topic: topic.clone(), partition: p.partition_index }, offset);
        }
    }
    Ok(found)
}

/// Partitions, each with what is asked of it, by their leaders.
type ByLeader<'a, T> = BTreeMap<NodeId, Vec<(&'a TopicPartition, T)>>;

/// Partitions by their leaders; those without one are an error.
fn by_leader<'a, T>(
    cluster: &Cluster,
    list: impl IntoIterator<Item = (&'a TopicPartition, T)>,
) -> Result<ByLeader<'a, T>, Error> {
    let mut nodes: BTreeMap<NodeId, Vec<_>> = BTreeMap::new();
    for (tp, item) in list {
        let Some(leader) = cluster.leader(&tp.topic, tp.partition) else {
            let message = Some(tp.to_string().into());
            let known = cluster.partition(&tp.topic, tp.partition).is_some();
            let code = if known { ErrorCode::LeaderNotAvailable } else { ErrorCode::UnknownTopicOrPartition };
            return Err(Error::Broker { code, message });
        };
        nodes.entry(leader).or_default().push((tp, item));
    }
    Ok(nodes)
}

/// The offsets of these times (or [`EARLIEST`], [`LATEST`]); one attempt. `NONE` where there is no such record.
pub(crate) async fn list_once(
    client: &Client,
    cluster: &Cluster,
    wanted: &BTreeMap<TopicPartition, TimestampMs>,
    read_committed: bool,
) -> BTreeMap<TopicPartition, Result<OffsetAndTimestamp, Error>> {
    let mut results = BTreeMap::new();
    let mut nodes: BTreeMap<NodeId, Vec<(&TopicPartition, TimestampMs)>> = BTreeMap::new();
    for (tp, time) in wanted {
        match by_leader(cluster, [(tp, *time)]) {
            Ok(one) => one.into_iter().for_each(|(node, list)| nodes.entry(node).or_default().extend(list)),
            Err(e) => {
                results.insert(tp.clone(), Err(e));
            }
        }
    }
    let ask = nodes.into_iter().map(|(node, list)| async move {
        let partition = |(partition_index, (tp, time)): &(i32, (&TopicPartition, TimestampMs))| ListOffsetsPartition {
            partition_index: *partition_index,
            current_leader_epoch: cluster.partition(&tp.topic, tp.partition).map_or(-1, |p| p.leader_epoch),
            timestamp: time.get(),
            ..Default::default()
        };
        let topics = by_topic(list.iter().map(|(tp, time)| (*tp, (*tp, *time))));
        let topics = topics.iter().map(|(name, partitions)| ListOffsetsTopic {
            name: (*name).clone(),
            partitions: partitions.iter().map(partition).collect(),
            ..Default::default()
        });
        let request = ListOffsetsRequest {
            replica_id: -1,
            isolation_level: i8::from(read_committed),
            topics: topics.collect(),
            timeout_ms: i32::try_from(client.request_timeout().as_millis()).unwrap_or(i32::MAX),
            ..Default::default()
        };
        let result = client.call(Call::to(Target::Node(node)).once(), request).await;
        (list, result)
    });
    for (list, result) in join_all(ask).await {
        match result {
            Ok(response) => {
                for t in response.topics {
                    for p in t.partitions {
                        let tp = TopicPartition { topic: t.name.detached(), partition: p.partition_index };
                        let found = OffsetAndTimestamp {
                            offset: Offset(p.offset),
                            timestamp: TimestampMs(p.timestamp),
                            leader_epoch: LeaderEpoch(p.leader_epoch),
                        };
                        results.insert(tp.clone(), of_partition(&tp, p.error_code).map(|()| found));
                    }
                }
            }
            Err(e) => results.extend(list.into_iter().map(|(tp, _)| (tp.clone(), Err(e.clone())))),
        }
    }
    results
}

/// As [`list_once`], tried until all are known.
pub(crate) async fn list(
    client: &Client,
    wanted: &BTreeMap<TopicPartition, TimestampMs>,
    read_committed: bool,
    timeout: Option<Duration>,
) -> Result<BTreeMap<TopicPartition, OffsetAndTimestamp>, Error> {
    let deadline = client.deadline(timeout);
    let mut left = wanted.clone();
    let mut found = BTreeMap::new();
    let mut failures = 0;
    client.want_topics(wanted.keys().map(|tp| &*tp.topic), false);
    loop {
        let mut failed = None;
        for (tp, result) in list_once(client, &client.cluster(), &left, read_committed).await {
            match result {
                Ok(o) => {
                    left.remove(&tp);
                    found.insert(tp, o);
                }
                Err(e) => failed = Some(e),
            }
        }
        if left.is_empty() {
            return Ok(found);
        }
        let e = failed.unwrap_or_else(|| ErrorCode::UnknownServerError.into());
        if failures > 0 || !e.is_retriable() {
            client.pause(deadline, failures, "offsets", e).await?;
        }
        if let Err(e) = client.refresh().await {
            client.pause(deadline, failures, "offsets", e).await?;
        }
        failures += 1;
    }
}

/// Where the leader's log ends in the epoch of each position; one attempt (KIP-320).
pub(crate) async fn ends_of_epochs(
    client: &Client,
    cluster: &Cluster,
    positions: &BTreeMap<TopicPartition, Position>,
) -> BTreeMap<TopicPartition, Result<Position, Error>> {
    let mut results = BTreeMap::new();
    let mut nodes: BTreeMap<NodeId, Vec<(&TopicPartition, &Position)>> = BTreeMap::new();
    for (tp, position) in positions {
        match by_leader(cluster, [(tp, position)]) {
            Ok(one) => one.into_iter().for_each(|(node, list)| nodes.entry(node).or_default().extend(list)),
            Err(e) => {
                results.insert(tp.clone(), Err(e));
            }
        }
    }
    let ask = nodes.into_iter().map(|(node, list)| async move {
        let partition = |(partition, (tp, position)): &(i32, (&TopicPartition, &Position))| OffsetForLeaderPartition {
            partition: *partition,
            current_leader_epoch: cluster.partition(&tp.topic, tp.partition).map_or(-1, |p| p.leader_epoch),
            leader_epoch: position.epoch.get(),
            ..Default::default()
        };
        let topics = by_topic(list.iter().map(|(tp, position)| (*tp, (*tp, *position))));
        let topics = topics.iter().map(|(name, partitions)| OffsetForLeaderTopic {
            topic: (*name).clone(),
            partitions: partitions.iter().map(partition).collect(),
            ..Default::default()
        });
        // Consumers are no replica.
        let request = OffsetForLeaderEpochRequest { replica_id: -1, topics: topics.collect(), ..Default::default() };
        let result = client.call(Call::to(Target::Node(node)).once(), request).await;
        (list, result)
    });
    for (list, result) in join_all(ask).await {
        match result {
            Ok(response) => {
                for t in response.topics {
                    for p in t.partitions {
                        let tp = TopicPartition { topic: t.topic.detached(), partition: p.partition };
                        let end = Position { offset: Offset(p.end_offset), epoch: LeaderEpoch(p.leader_epoch) };
                        results.insert(tp.clone(), of_partition(&tp, p.error_code).map(|()| end));
                    }
                }
            }
            Err(e) => results.extend(list.into_iter().map(|(tp, _)| (tp.clone(), Err(e.clone())))),
        }
    }
    results
}
