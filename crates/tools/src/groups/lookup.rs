//! What a coordinator says of a group: state, members, committed offsets; of classic groups and of the new protocol
//! (KIP-848) alike.

use std::collections::BTreeMap;

use bytes::Bytes;
use logrun_client::{Call, CoordinatorKey, Error, Target};
use logrun_wire::messages as m;
use logrun_wire::{Decoder, ErrorCode, Message};

use crate::cluster::Partition;
use crate::failure::Failure;
use crate::session::{Session, check, failure};

/// A member of a group.
#[derive(Clone, Debug)]
pub struct Member {
    pub id: String,
    pub instance: String,
    pub client: String,
    pub host: String,
    pub assignment: Vec<Partition>,
    /// What it shall have, and its epoch: the new protocol only.
    pub target: Vec<Partition>,
    pub epoch: Option<i32>,
    /// Whether it speaks the new protocol, in a group that does.
    pub upgraded: Option<bool>,
}

/// A group as its coordinator describes it.
#[derive(Clone, Debug)]
pub struct Group {
    pub id: String,
    pub state: String,
    pub assignor: String,
    pub coordinator: (i32, String),
    pub members: Vec<Member>,
    pub epoch: Option<i32>,
    pub assignment_epoch: Option<i32>,
}

fn coordinator(group: &str) -> CoordinatorKey {
    CoordinatorKey::Group(group.into())
}

/// Describes a group: with the new protocol's call, and where that is unknown or knows it not, with the classic one.
///
/// # Errors
/// There is no such group, or nobody answers.
pub async fn describe(session: &Session, group: &str) -> Result<Group, Failure> {
    let target = || Target::Coordinator(coordinator(group));
    let request = m::ConsumerGroupDescribeRequest { group_ids: vec![group.into()], ..Default::default() };
    let mut described = match session.call(target(), request).await {
        Ok(response) => match response.groups.into_iter().next() {
            Some(g) if g.error_code == ErrorCode::GroupIdNotFound.code() => None,
            Some(g) if g.error_code == ErrorCode::UnsupportedVersion.code() => None,
            Some(g) => {
                check(g.error_code, g.error_message.as_deref())?;
                Some(of_consumer(g))
            }
            None => None,
        },
        Err(Error::Unsupported { .. }) => None,
        Err(e) => return Err(failure(&e)),
    };
    if described.is_none() {
        let request = m::DescribeGroupsRequest { groups: vec![group.into()], ..Default::default() };
        let response = session.call(target(), request).await.map_err(|e| failure(&e))?;
        let Some(g) = response.groups.into_iter().next() else {
            return Err(Failure::new(format!("the coordinator says nothing of group {group}")));
        };
        check(g.error_code, g.error_message.as_deref()).map_err(|f| match g.error_code {
            c if c == ErrorCode::GroupIdNotFound.code() => {
                f.prefixed("org.apache.kafka.common.errors.GroupIdNotFoundException: ", false)
            }
            _ => f,
        })?;
        if !matches!(&*g.protocol_type, "" | "consumer") {
            return Err(Failure::new(format!("GroupId {group} is not a consumer group ({}).", g.protocol_type)));
        }
        described = Some(of_classic(g)?);
    }
    let mut described = described.ok_or_else(|| Failure::new(format!("nobody knows group {group}")))?;
    let node = session.client.coordinator(&coordinator(group)).await.map_err(|e| failure(&e))?;
    let address = session.client.cluster().brokers.get(&node).map(|b| format!("{}:{}", b.host, b.port));
    described.coordinator = (node.get(), address.unwrap_or_default());
    Ok(described)
}

fn of_consumer(g: m::consumer_group_describe_response::DescribedGroup) -> Group {
    let partitions = |a: &m::consumer_group_describe_response::Assignment| {
        let of_topic = |t: &m::consumer_group_describe_response::TopicPartitions| {
            let name = t.topic_name.to_string();
            t.partitions.clone().into_iter().map(move |p| (name.clone(), p))
        };
        a.topic_partitions.iter().flat_map(of_topic).collect()
    };
    let member = |member: &m::consumer_group_describe_response::Member| Member {
        id: member.member_id.to_string(),
        instance: member.instance_id.as_deref().unwrap_or_default().to_owned(),
        client: member.client_id.to_string(),
        host: member.client_host.to_string(),
        assignment: partitions(&member.assignment),
        target: partitions(&member.target_assignment),
        epoch: Some(member.member_epoch),
        upgraded: match member.member_type {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        },
    };
    Group {
        id: g.group_id.to_string(),
        state: g.group_state.to_string(),
        assignor: g.assignor_name.to_string(),
        coordinator: (-1, String::new()),
        members: g.members.iter().map(member).collect(),
        epoch: Some(g.group_epoch),
        assignment_epoch: Some(g.assignment_epoch),
    }
}

fn of_classic(g: m::describe_groups_response::DescribedGroup) -> Result<Group, Failure> {
    let mut members = Vec::new();
    for member in g.members {
        members.push(Member {
            id: member.member_id.to_string(),
            instance: member.group_instance_id.as_deref().unwrap_or_default().to_owned(),
            client: member.client_id.to_string(),
            host: member.client_host.to_string(),
            assignment: assignment(&member.member_assignment)?,
            target: Vec::new(),
            epoch: None,
            upgraded: None,
        });
    }
    Ok(Group {
        id: g.group_id.to_string(),
        state: g.group_state.to_string(),
        assignor: g.protocol_data.to_string(),
        coordinator: (-1, String::new()),
        members,
        epoch: None,
        assignment_epoch: None,
    })
}

/// A classic member's partitions: `ConsumerProtocolAssignment` behind its version. Members that have none yet have no
/// bytes either.
fn assignment(bytes: &Bytes) -> Result<Vec<Partition>, Failure> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let unreadable = |e: &dyn std::fmt::Display| Failure::new(format!("a member's assignment can't be read: {e}"));
    let mut decoder = Decoder::new(bytes.clone());
    let version = decoder.i16("version").map_err(|e| unreadable(&e))?;
    // A newer version begins as the newest known one.
    let version = version.clamp(0, 3);
    let decoded = m::ConsumerProtocolAssignment::decode(&mut decoder, version).map_err(|e| unreadable(&e))?;
    let of_topic = |t: m::consumer_protocol_assignment::TopicPartition| {
        let topic = t.topic.to_string();
        t.partitions.into_iter().map(move |p| (topic.clone(), p))
    };
    Ok(decoded.assigned_partitions.into_iter().flat_map(of_topic).collect())
}

/// A committed offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    pub offset: i64,
    pub leader_epoch: Option<i32>,
}

/// All committed offsets of a group; a group that isn't there has none.
///
/// # Errors
/// Nobody answers, or the coordinator refuses.
pub async fn committed(session: &Session, group: &str) -> Result<BTreeMap<Partition, Committed>, Failure> {
    // From version 10 topics have ids only; names are what is shown.
    let call = Call::to(Target::Coordinator(coordinator(group))).versions(2, 9);
    let build = |version: i16| {
        Ok(match version {
            ..8 => m::OffsetFetchRequest { group_id: group.into(), topics: None, ..Default::default() },
            _ => m::OffsetFetchRequest {
                groups: vec![m::offset_fetch_request::OffsetFetchRequestGroup {
                    group_id: group.into(),
                    member_epoch: -1,
                    topics: None,
                    ..Default::default()
                }],
                ..Default::default()
            },
        })
    };
    let check = |_, response: &m::OffsetFetchResponse| {
        let code = response.groups.first().map_or(response.error_code, |g| g.error_code);
        logrun_client::check(code, None)
    };
    let response = session.client.call_with(call, build, check).await.map_err(|e| failure(&e))?;
    let mut found = BTreeMap::new();
    let mut add = |topic: &str, partition: i32, offset: i64, epoch: i32| {
        if offset >= 0 {
            let committed = Committed { offset, leader_epoch: (epoch >= 0).then_some(epoch) };
            found.insert((topic.to_owned(), partition), committed);
        }
    };
    for topic in &response.topics {
        for p in &topic.partitions {
            add(&topic.name, p.partition_index, p.committed_offset, p.committed_leader_epoch);
        }
    }
    for topic in response.groups.iter().flat_map(|g| &g.topics) {
        for p in &topic.partitions {
            add(&topic.name, p.partition_index, p.committed_offset, p.committed_leader_epoch);
        }
    }
    Ok(found)
}

/// Commits offsets for a group without members.
///
/// # Errors
/// Nobody answers, or the coordinator refuses one of them.
pub async fn commit(session: &Session, group: &str, offsets: &BTreeMap<Partition, i64>) -> Result<(), Failure> {
    let mut topics: BTreeMap<&str, Vec<(i32, i64)>> = BTreeMap::new();
    for ((topic, partition), offset) in offsets {
        topics.entry(topic).or_default().push((*partition, *offset));
    }
    let topic = |(name, partitions): (&str, Vec<(i32, i64)>)| m::offset_commit_request::OffsetCommitRequestTopic {
        name: name.into(),
        partitions: partitions
            .into_iter()
            .map(|(partition_index, committed_offset)| m::offset_commit_request::OffsetCommitRequestPartition {
                partition_index,
                committed_offset,
                committed_leader_epoch: -1,
                committed_metadata: Some("".into()),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    let request = m::OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: -1,
        retention_time_ms: -1,
        topics: topics.into_iter().map(topic).collect(),
        ..Default::default()
    };
    let call = Call::to(Target::Coordinator(coordinator(group))).versions(2, 9);
    let response = session.call(call, request).await.map_err(|e| failure(&e))?;
    for p in response.topics.iter().flat_map(|t| &t.partitions) {
        check(p.error_code, None)?;
    }
    Ok(())
}
