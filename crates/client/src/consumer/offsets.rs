//! What a consumer asks about offsets: commits, committed offsets, offsets by time, ends of epochs.
//!
//! Each is one question to whom it concerns, tried again while that makes sense. What follows from the answer is decided
//! elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use logrun_model::{GroupId, LeaderEpoch, NodeId, Offset, Str, TimestampMs, TopicPartition, Uuid};
use logrun_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use logrun_wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use logrun_wire::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use logrun_wire::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use logrun_wire::messages::{
    ListOffsetsRequest, ListOffsetsResponse, OffsetCommitRequest, OffsetFetchRequest, OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
};
use logrun_wire::{ErrorCode, Request};

use parking_lot::Mutex;

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

/// The numbers of partitions, each with what goes with it, by topic.
type ByTopic<'a, T> = BTreeMap<&'a Str, Vec<(i32, T)>>;

fn by_topic<'a, T>(list: impl IntoIterator<Item = (&'a TopicPartition, T)>) -> ByTopic<'a, T> {
    let mut topics = ByTopic::new();
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

/// The names of the topics that a request asks about, by the ids that it has: an answer is of what was asked, whatever the
/// cluster looks like when it comes.
#[derive(Default)]
struct Named(Mutex<BTreeMap<Uuid, Str>>);

impl Named {
    /// A topic's id, for the request.
    fn id(&self, cluster: &Cluster, name: &Str) -> Uuid {
        let id = id_of(cluster, name);
        self.0.lock().insert(id, name.clone());
        id
    }

    /// The topic of an answer; an empty name if it wasn't asked about.
    fn name(&self, name: &Str, id: Uuid) -> Str {
        if name.is_empty() { self.0.lock().get(&id).cloned().unwrap_or_default() } else { name.detached() }
    }
}

fn of_partition(tp: &TopicPartition, code: i16) -> Result<(), Error> {
    crate::check(code, None).map_err(|e| match e.code() {
        Some(code) => Error::Broker { code, message: Some(tp.to_string().into()) },
        None => e,
    })
}

/// Commits, as whoever `identity` is.
pub(crate) async fn commit(
    client: &Client,
    group: &GroupId,
    instance_id: Option<&Str>,
    identity: &Identity,
    offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>,
    timeout: Option<Duration>,
    retry: bool,
) -> Result<(), Error> {
    if offsets.is_empty() {
        return Ok(());
    }
    let topics = by_topic(offsets.iter());
    let names: Vec<&Str> = topics.keys().copied().collect();
    let named = Named::default();
    let build = |_| {
        let cluster = client.cluster();
        let partition = |(partition_index, o): &(i32, &OffsetAndMetadata)| OffsetCommitRequestPartition {
            partition_index: *partition_index,
            committed_offset: o.offset.get(),
            committed_leader_epoch: o.leader_epoch.get(),
            committed_metadata: Some(o.metadata.clone()),
            ..Default::default()
        };
        let topics = topics.iter().map(|(name, partitions)| OffsetCommitRequestTopic {
            name: (*name).clone(),
            topic_id: named.id(&cluster, name),
            partitions: partitions.iter().map(partition).collect(),
            ..Default::default()
        });
        Ok(OffsetCommitRequest {
            group_id: group.clone(),
            generation_id_or_member_epoch: identity.generation.get(),
            member_id: identity.member_id.clone(),
            group_instance_id: instance_id.cloned(),
            topics: topics.collect(),
            ..Default::default()
        })
    };
    let call = call(client, group, timeout, 2, &names);
    let call = if retry { call } else { call.once() };
    let check = |_, r: &logrun_wire::messages::OffsetCommitResponse| {
        for t in &r.topics {
            for p in &t.partitions {
                let topic = named.name(&t.name, t.topic_id);
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
    identity: impl Fn() -> Identity + Sync,
    partitions: &[TopicPartition],
    timeout: Option<Duration>,
) -> Result<BTreeMap<TopicPartition, OffsetAndMetadata>, Error> {
    if partitions.is_empty() {
        return Ok(BTreeMap::new());
    }
    let topics = by_topic(partitions.iter().map(|tp| (tp, ())));
    let names: Vec<&Str> = topics.keys().copied().collect();
    let named = Named::default();
    let build = |_| {
        let cluster = client.cluster();
        let identity = identity();
        let topics = topics.iter().map(|(name, partitions)| OffsetFetchRequestTopics {
            name: (*name).clone(),
            topic_id: named.id(&cluster, name),
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
        for t in r.groups.iter().flat_map(|g| &g.topics) {
            for p in &t.partitions {
                let topic = named.name(&t.name, t.topic_id);
                of_partition(&TopicPartition { topic, partition: p.partition_index }, p.error_code)?;
            }
        }
        Ok(())
    };
    let call = call(client, group, timeout, 8, &names);
    let response = client.call_with::<OffsetFetchRequest>(call, build, check).await?;
    let mut found = BTreeMap::new();
    let mut unsaid: BTreeSet<&TopicPartition> = partitions.iter().collect();
    for t in response.groups.into_iter().flat_map(|g| g.topics) {
        let topic = named.name(&t.name, t.topic_id);
        for p in &t.partitions {
            let tp = TopicPartition { topic: topic.clone(), partition: p.partition_index };
            unsaid.remove(&tp);
            if p.committed_offset < 0 {
                continue;
            }
            let offset = OffsetAndMetadata {
                offset: Offset(p.committed_offset),
                leader_epoch: LeaderEpoch(p.committed_leader_epoch),
                metadata: p.metadata.as_ref().map(Str::detached).unwrap_or_default(),
            };
            found.insert(tp, offset);
        }
    }
    // Where nothing is committed the answer says so: silence must not be taken for that.
    if let Some(tp) = unsaid.first() {
        return Err(Error::Invalid(format!("the coordinator's answer about committed offsets doesn't mention {tp}")));
    }
    Ok(found)
}

fn leader_of(cluster: &Cluster, tp: &TopicPartition) -> Result<NodeId, Error> {
    cluster.leader(&tp.topic, tp.partition).ok_or_else(|| {
        let known = cluster.partition(&tp.topic, tp.partition).is_some();
        let code = if known { ErrorCode::LeaderNotAvailable } else { ErrorCode::UnknownTopicOrPartition };
        Error::Broker { code, message: Some(tp.to_string().into()) }
    })
}

/// What the leader of a partition is asked about it.
#[derive(Clone, Copy)]
struct Asked<T> {
    leader_epoch: i32,
    about: T,
}

/// Asks each leader once about its partitions: `build` makes the request of their numbers by topic, `read` gives what the
/// response says of each, with its error code.
async fn at_leaders<'a, T: Copy + 'a, R: Request, A>(
    client: &Client,
    cluster: &Cluster,
    wanted: impl Iterator<Item = (&'a TopicPartition, T)>,
    build: impl Fn(ByTopic<'_, Asked<T>>) -> R,
    read: impl Fn(R::Response) -> Vec<(TopicPartition, i16, A)>,
) -> BTreeMap<TopicPartition, Result<A, Error>> {
    let mut results = BTreeMap::new();
    let mut nodes: BTreeMap<NodeId, Vec<(&TopicPartition, Asked<T>)>> = BTreeMap::new();
    for (tp, about) in wanted {
        match leader_of(cluster, tp) {
            Ok(node) => {
                let leader_epoch = cluster.partition(&tp.topic, tp.partition).map_or(-1, |p| p.leader_epoch);
                nodes.entry(node).or_default().push((tp, Asked { leader_epoch, about }));
            }
            Err(e) => drop(results.insert(tp.clone(), Err(e))),
        }
    }
    let (mut calls, mut lists) = (Vec::new(), Vec::new());
    for (node, list) in nodes {
        calls.push(client.call(Call::to(Target::Node(node)).once(), build(by_topic(list.iter().copied()))));
        lists.push(list);
    }
    for (list, result) in lists.into_iter().zip(join_all(calls).await) {
        match result {
            Ok(response) => {
                let said = read(response).into_iter();
                let mut said: BTreeMap<_, _> = said.map(|(tp, code, answer)| (tp, (code, answer))).collect();
                results.extend(list.into_iter().map(|(tp, _)| {
                    let result = match said.remove(tp) {
                        Some((code, answer)) => of_partition(tp, code).map(|()| answer),
                        None => Err(Error::Invalid(format!("the leader's answer doesn't mention {tp}"))),
                    };
                    (tp.clone(), result)
                }));
            }
            Err(e) => results.extend(list.into_iter().map(|(tp, _)| (tp.clone(), Err(e.clone())))),
        }
    }
    results
}

/// The offsets of these times (or [`EARLIEST`], [`LATEST`]); one attempt. `NONE` where there is no such record.
pub(crate) async fn list_once(
    client: &Client,
    cluster: &Cluster,
    wanted: &BTreeMap<TopicPartition, TimestampMs>,
    read_committed: bool,
) -> BTreeMap<TopicPartition, Result<OffsetAndTimestamp, Error>> {
    let partition = |(partition_index, asked): (i32, Asked<TimestampMs>)| ListOffsetsPartition {
        partition_index,
        current_leader_epoch: asked.leader_epoch,
        timestamp: asked.about.get(),
        ..Default::default()
    };
    let build = |topics: ByTopic<'_, Asked<TimestampMs>>| ListOffsetsRequest {
        replica_id: -1,
        isolation_level: i8::from(read_committed),
        topics: topics
            .into_iter()
            .map(|(name, partitions)| ListOffsetsTopic {
                name: name.clone(),
                partitions: partitions.into_iter().map(partition).collect(),
                ..Default::default()
            })
            .collect(),
        timeout_ms: i32::try_from(client.request_timeout().as_millis()).unwrap_or(i32::MAX),
        ..Default::default()
    };
    let read = |response: ListOffsetsResponse| {
        let mut found = Vec::new();
        for t in response.topics {
            let topic = t.name.detached();
            found.extend(t.partitions.into_iter().map(|p| {
                let answer = OffsetAndTimestamp {
                    offset: Offset(p.offset),
                    timestamp: TimestampMs(p.timestamp),
                    leader_epoch: LeaderEpoch(p.leader_epoch),
                };
                (TopicPartition { topic: topic.clone(), partition: p.partition_index }, p.error_code, answer)
            }));
        }
        found
    };
    at_leaders(client, cluster, wanted.iter().map(|(tp, time)| (tp, *time)), build, read).await
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
    let partition = |(partition, asked): (i32, Asked<LeaderEpoch>)| OffsetForLeaderPartition {
        partition,
        current_leader_epoch: asked.leader_epoch,
        leader_epoch: asked.about.get(),
        ..Default::default()
    };
    let build = |topics: ByTopic<'_, Asked<LeaderEpoch>>| OffsetForLeaderEpochRequest {
        // Consumers are no replica.
        replica_id: -1,
        topics: topics
            .into_iter()
            .map(|(topic, partitions)| OffsetForLeaderTopic {
                topic: topic.clone(),
                partitions: partitions.into_iter().map(partition).collect(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    let read = |response: OffsetForLeaderEpochResponse| {
        let mut ends = Vec::new();
        for t in response.topics {
            let topic = t.topic.detached();
            ends.extend(t.partitions.into_iter().map(|p| {
                let end = Position { offset: Offset(p.end_offset), epoch: LeaderEpoch(p.leader_epoch) };
                (TopicPartition { topic: topic.clone(), partition: p.partition }, p.error_code, end)
            }));
        }
        ends
    };
    at_leaders(client, cluster, positions.iter().map(|(tp, position)| (tp, position.epoch)), build, read).await
}
