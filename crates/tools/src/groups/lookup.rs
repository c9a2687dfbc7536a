//! What a coordinator says of a group, as the tools show it: state, members, committed offsets; of classic groups and
//! of the new protocol (KIP-848) alike.

use std::collections::BTreeMap;

use logrun_client::admin::{GroupDescription, GroupKind, GroupMember, OffsetAndMetadata};
use logrun_client::{Str, TopicPartition};

use crate::cluster::Partition;
use crate::failure::Failure;
use crate::session::{Session, failure, thrown};

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

/// A partition, in the tools' form.
pub fn named(tp: &TopicPartition) -> Partition {
    (tp.topic.to_string(), tp.partition)
}

impl Group {
    /// From what the client's admin says.
    pub fn of(session: &Session, group: GroupDescription) -> Self {
        let node = group.coordinator.map_or(-1, |node| node.get());
        let cluster = session.client.cluster();
        let broker = group.coordinator.and_then(|node| cluster.brokers.get(&node));
        let member = |m: GroupMember| Member {
            id: m.member_id.to_string(),
            instance: m.instance_id.unwrap_or_default().to_string(),
            client: m.client_id.to_string(),
            host: m.client_host.to_string(),
            assignment: m.assignment.iter().map(named).collect(),
            target: m.target_assignment.iter().flatten().map(named).collect(),
            epoch: m.member_epoch,
            upgraded: m.upgraded,
        };
        Self {
            id: group.group_id.to_string(),
            state: group.state.to_string(),
            assignor: group.assignor.to_string(),
            coordinator: (node, broker.map(|b| format!("{}:{}", b.host, b.port)).unwrap_or_default()),
            members: group.members.into_iter().map(member).collect(),
            epoch: group.group_epoch,
            assignment_epoch: group.assignment_epoch,
        }
    }
}

/// Describes a group of consumers, of either protocol.
///
/// # Errors
/// There is no such group, or nobody answers.
pub async fn describe(session: &Session, name: &str) -> Result<Group, Failure> {
    let id = Str::from(name);
    let described = session.admin().describe_consumer_groups(std::slice::from_ref(&id), false).await.remove(&id);
    let group = described.ok_or_else(|| Failure::new(format!("the coordinator says nothing of group {name}")))?;
    let group = group.map_err(|e| thrown(&e))?;
    if group.kind == GroupKind::Classic && !matches!(&*group.protocol_type, "" | "consumer") {
        return Err(Failure::new(format!("GroupId {name} is not a consumer group ({}).", group.protocol_type)));
    }
    Ok(Group::of(session, group))
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
    let listed = session.admin().list_group_offsets(&group.into(), None, false).await.map_err(|e| failure(&e))?;
    let mut found = BTreeMap::new();
    for (tp, offset) in listed {
        if let Some(o) = offset.map_err(|e| failure(&e))? {
            found.insert(named(&tp), Committed { offset: o.offset, leader_epoch: o.leader_epoch });
        }
    }
    Ok(found)
}

/// Commits offsets for a group without members.
///
/// # Errors
/// Nobody answers, or the coordinator refuses one of them.
pub async fn commit(session: &Session, group: &str, offsets: &BTreeMap<Partition, i64>) -> Result<(), Failure> {
    let offset = |((topic, partition), offset): (&Partition, &i64)| {
        (TopicPartition::new(topic.as_str(), *partition), OffsetAndMetadata::of(*offset))
    };
    let offsets = offsets.iter().map(offset).collect();
    let results = session.admin().alter_group_offsets(&group.into(), &offsets).await.map_err(|e| failure(&e))?;
    results.into_values().try_for_each(|r| r.map_err(|e| failure(&e)))
}
