//! Groups of every kind: list, describe, delete, their members; the offsets that groups committed.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use logrun_model::{NodeId, Str, TopicPartition};
use logrun_wire::messages::leave_group_request::MemberIdentity;
use logrun_wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use logrun_wire::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use logrun_wire::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use logrun_wire::messages::{
    ConsumerGroupDescribeRequest, ConsumerProtocolAssignment, DeleteGroupsRequest, DescribeGroupsRequest,
    LeaveGroupRequest, ListGroupsRequest, OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest,
    ShareGroupDescribeRequest, StreamsGroupDescribeRequest,
};
use logrun_wire::{Decoder, ErrorCode, Message, Request};

use super::fan_out::Outcomes;
use super::topics::operations;
use super::{Admin, Each, by_topic};
use crate::client::Target;
use crate::coordinators::CoordinatorKey;
use crate::error::{Error, check};

/// What kind of group it is: `GroupType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupKind {
    /// The protocol of JoinGroup and SyncGroup, used by consumers, Connect workers and others.
    Classic,
    /// Consumers of KIP-848.
    Consumer,
    /// KIP-932.
    Share,
    /// KIP-1071.
    Streams,
}

impl GroupKind {
    /// As Kafka writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Classic => "Classic",
            Self::Consumer => "Consumer",
            Self::Share => "Share",
            Self::Streams => "Streams",
        }
    }

    /// By its name, in any case.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Classic, Self::Consumer, Self::Share, Self::Streams]
            .into_iter()
            .find(|k| k.name().eq_ignore_ascii_case(name))
    }
}

/// A group in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupListing {
    /// Its id.
    pub group_id: Str,
    /// What its members are: `consumer`, `connect`, `share`, or empty for a group that only commits.
    pub protocol_type: Str,
    /// Its state, if the broker says: `Stable`, `Empty`, …
    pub state: Option<Str>,
    /// Its kind, if the broker says.
    pub kind: Option<GroupKind>,
    /// Who coordinates it.
    pub coordinator: NodeId,
}

/// Partitions of topics.
pub type TopicPartitions = BTreeSet<TopicPartition>;

/// A member of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupMember {
    /// The id that the coordinator gave it.
    pub member_id: Str,
    /// The name of a static member.
    pub instance_id: Option<Str>,
    /// The rack that it said it is in.
    pub rack_id: Option<Str>,
    /// Its `client.id`.
    pub client_id: Str,
    /// Where it connects from.
    pub client_host: Str,
    /// What it has, of a consumer or share group.
    pub assignment: TopicPartitions,
    /// What it is to have, under the protocol of KIP-848.
    pub target_assignment: Option<TopicPartitions>,
    /// Its epoch, but for classic groups.
    pub member_epoch: Option<i32>,
    /// Whether it speaks the classic protocol in a group of the new one, if the broker says.
    pub upgraded: Option<bool>,
    /// What it said when it joined a classic group, and what the leader gave it, as they are.
    pub classic: Option<(Bytes, Bytes)>,
}

/// A group, whole.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupDescription {
    /// Its id.
    pub group_id: Str,
    /// Its kind.
    pub kind: GroupKind,
    /// What the members of a classic group are.
    pub protocol_type: Str,
    /// Its state: `Stable`, `Empty`, `Dead`, …
    pub state: Str,
    /// The assignor, or the protocol that the members of a classic group agreed on.
    pub assignor: Str,
    /// The group's epoch, but for classic groups.
    pub group_epoch: Option<i32>,
    /// The epoch of its target assignment, but for classic groups.
    pub assignment_epoch: Option<i32>,
    /// Who coordinates it.
    pub coordinator: Option<NodeId>,
    /// Its members.
    pub members: Vec<GroupMember>,
    /// What the caller may do with it, if it was asked for.
    pub authorized_operations: Option<i32>,
    /// All that the broker says of a streams group.
    pub streams: Option<Box<logrun_wire::messages::streams_group_describe_response::DescribedGroup>>,
}

/// An offset that a group committed, or is to commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OffsetAndMetadata {
    /// The offset of the next record to be read.
    pub offset: i64,
    /// The epoch of the leader that wrote the last record that was read, if it is known.
    pub leader_epoch: Option<i32>,
    /// What the committer noted.
    pub metadata: Str,
}

impl OffsetAndMetadata {
    /// An offset without more.
    pub fn of(offset: i64) -> Self {
        Self { offset, ..Self::default() }
    }
}

/// A member to be removed from a classic group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberToRemove {
    /// By the id that the coordinator gave it.
    Member(Str),
    /// By the name of a static member.
    Instance(Str),
}

/// The last version of the offset calls that has topics by name.
const NAMES_MAX: i16 = 9;

fn groups(ids: &[Str]) -> BTreeSet<CoordinatorKey> {
    ids.iter().cloned().map(CoordinatorKey::Group).collect()
}

fn id_of(key: &CoordinatorKey) -> Str {
    match key {
        CoordinatorKey::Group(id) | CoordinatorKey::Transaction(id) | CoordinatorKey::Share(id) => id.clone(),
    }
}

pub(super) fn by_id<V>(results: Each<CoordinatorKey, V>) -> Each<Str, V> {
    results.into_iter().map(|(key, v)| (id_of(&key), v)).collect()
}

/// What each group of a response is; the responses differ in nothing but their types.
macro_rules! described {
    ($groups:expr, $description:ident) => {
        $groups
            .into_iter()
            .map(|g| {
                let outcome = check(g.error_code, g.error_message.as_ref());
                (g.group_id.clone(), outcome.map(|()| $description(g)))
            })
            .collect()
    };
}

impl Admin {
    /// All groups of all brokers, of these states and kinds if any are named. A broker that can't be asked is an error
    /// beside what the others say.
    ///
    /// # Errors
    /// If the brokers are not known.
    pub async fn list_groups(
        &self,
        states: &[Str],
        kinds: &[GroupKind],
    ) -> Result<(Vec<GroupListing>, Vec<Error>), Error> {
        let request = |version: i16, _| {
            if (version < 4 && !states.is_empty()) || (version < 5 && !kinds.is_empty()) {
                return Err(Error::Invalid("the broker is too old to list groups by state or type".to_owned()));
            }
            Ok(ListGroupsRequest {
                states_filter: states.to_vec(),
                types_filter: kinds.iter().map(|k| Str::from_static(k.name())).collect(),
                ..Default::default()
            })
        };
        let answers = self.at_nodes(None, request, |r| check(r.error_code, None).map(|()| r.groups)).await?;
        let (mut listings, mut errors) = (Vec::new(), Vec::new());
        for (coordinator, answer) in answers {
            match answer {
                Ok(groups) => listings.extend(groups.into_iter().map(|g| GroupListing {
                    kind: GroupKind::parse(&g.group_type),
                    state: (!g.group_state.is_empty()).then_some(g.group_state),
                    group_id: g.group_id,
                    protocol_type: g.protocol_type,
                    coordinator,
                })),
                Err(e) => errors.push(e),
            }
        }
        listings.sort_by(|a, b| a.group_id.cmp(&b.group_id));
        Ok((listings, errors))
    }

    /// Asks the coordinators of groups: `build` makes a request for the version and some of the groups, `read` says what
    /// its answer is to each.
    async fn each_group<R: Request, V>(
        &self,
        ids: &[Str],
        versions: (i16, i16),
        build: impl Fn(i16, Vec<Str>) -> R + Sync,
        read: impl Fn(R::Response) -> Outcomes<Str, V>,
    ) -> Each<Str, V> {
        let build = |version: i16, keys: &[CoordinatorKey]| Ok(build(version, keys.iter().map(id_of).collect()));
        let read = |_: i16, response: R::Response, _: &[CoordinatorKey]| {
            read(response).into_iter().map(|(id, outcome)| (CoordinatorKey::Group(id), outcome)).collect()
        };
        by_id(self.at_brokers_of(groups(ids), versions, build, read).await)
    }

    /// The same, with the names of the coordinators put into what they described.
    async fn describe<R: Request>(
        &self,
        ids: &[Str],
        versions: (i16, i16),
        build: impl Fn(i16, Vec<Str>) -> R + Sync,
        read: impl Fn(R::Response) -> Outcomes<Str, GroupDescription>,
    ) -> Each<Str, GroupDescription> {
        let mut described = self.each_group(ids, versions, build, read).await;
        for (id, description) in &mut described {
            // Known from the call before, unless it has moved since.
            if let Ok(description) = description {
                description.coordinator = self.client.coordinator(&CoordinatorKey::Group(id.clone())).await.ok();
            }
        }
        described
    }

    /// Groups of consumers, of the classic protocol and of the new one.
    pub async fn describe_consumer_groups(&self, ids: &[Str], operations: bool) -> Each<Str, GroupDescription> {
        let request = |_, group_ids| ConsumerGroupDescribeRequest {
            group_ids,
            include_authorized_operations: operations,
            ..Default::default()
        };
        let mut described = self.describe(ids, (0, i16::MAX), request, |r| described!(r.groups, consumer_group)).await;
        // A classic group is none of the new ones, and an old broker has none of those.
        let classic = described.iter().filter(|(_, result)| {
            matches!(result, Err(Error::Unsupported { .. }))
                || matches!(result, Err(e) if matches!(e.code(), Some(ErrorCode::GroupIdNotFound | ErrorCode::UnsupportedVersion)))
        });
        let classic: Vec<Str> = classic.map(|(id, _)| id.clone()).collect();
        if !classic.is_empty() {
            described.extend(self.describe_classic_groups(&classic, operations).await);
        }
        described
    }

    /// Groups of the classic protocol.
    pub async fn describe_classic_groups(&self, ids: &[Str], operations: bool) -> Each<Str, GroupDescription> {
        let request = |version: i16, groups| DescribeGroupsRequest {
            groups,
            include_authorized_operations: operations && version >= 3,
            ..Default::default()
        };
        self.describe(ids, (0, i16::MAX), request, |r| described!(r.groups, classic_group)).await
    }

    /// Share groups (KIP-932).
    pub async fn describe_share_groups(&self, ids: &[Str], operations: bool) -> Each<Str, GroupDescription> {
        let request = |_, group_ids| ShareGroupDescribeRequest {
            group_ids,
            include_authorized_operations: operations,
            ..Default::default()
        };
        self.describe(ids, (1, i16::MAX), request, |r| described!(r.groups, share_group)).await
    }

    /// Streams groups (KIP-1071).
    pub async fn describe_streams_groups(&self, ids: &[Str], operations: bool) -> Each<Str, GroupDescription> {
        let request = |_, group_ids| StreamsGroupDescribeRequest {
            group_ids,
            include_authorized_operations: operations,
            ..Default::default()
        };
        self.describe(ids, (0, i16::MAX), request, |r| described!(r.groups, streams_group)).await
    }

    /// Deletes groups that have no members, with their offsets.
    pub async fn delete_groups(&self, ids: &[Str]) -> Each<Str, ()> {
        let request = |_, groups_names| DeleteGroupsRequest { groups_names, ..Default::default() };
        self.each_group(ids, (0, i16::MAX), request, |response| {
            let results = response.results.into_iter();
            results.map(|g| (g.group_id, check(g.error_code, g.error_message.as_ref()))).collect()
        })
        .await
    }

    /// Removes members from a classic group; all of them if `members` is empty. The result is by member id or name.
    ///
    /// # Errors
    /// If the request as a whole fails.
    pub async fn remove_members(
        &self,
        group: &Str,
        members: &[MemberToRemove],
        reason: Option<&str>,
    ) -> Result<Each<Str, ()>, Error> {
        let all: Vec<MemberToRemove>;
        let members = if members.is_empty() {
            let described = self.describe_consumer_groups(std::slice::from_ref(group), false).await.remove(group);
            let group = described.unwrap_or(Err(ErrorCode::GroupIdNotFound.into()))?;
            all = group
                .members
                .into_iter()
                .map(|m| m.instance_id.map_or(MemberToRemove::Member(m.member_id), MemberToRemove::Instance))
                .collect();
            &all
        } else {
            members
        };
        let identity = |m: &MemberToRemove| {
            let reason = reason.map(Str::from);
            match m {
                MemberToRemove::Member(id) => MemberIdentity { member_id: id.clone(), reason, ..Default::default() },
                MemberToRemove::Instance(id) => {
                    MemberIdentity { group_instance_id: Some(id.clone()), reason, ..Default::default() }
                }
            }
        };
        let members: Vec<MemberIdentity> = members.iter().map(identity).collect();
        let request = LeaveGroupRequest { group_id: group.clone(), members, ..Default::default() };
        let call = self.to(Target::Coordinator(CoordinatorKey::Group(group.clone()))).versions(3, i16::MAX);
        let response = self.client.call_with(call, |_| Ok(request.clone()), |_, r| check(r.error_code, None)).await?;
        let name = |m: &logrun_wire::messages::leave_group_response::MemberResponse| {
            m.group_instance_id.clone().unwrap_or_else(|| m.member_id.clone())
        };
        Ok(response.members.iter().map(|m| (name(m), check(m.error_code, None))).collect())
    }

    /// The offsets that a group committed: of these partitions, or all. A partition without one is `None`.
    ///
    /// # Errors
    /// If the request as a whole fails.
    pub async fn list_group_offsets(
        &self,
        group: &Str,
        partitions: Option<&[TopicPartition]>,
        require_stable: bool,
    ) -> Result<Each<TopicPartition, Option<OffsetAndMetadata>>, Error> {
        let topics = partitions.map(|partitions| by_topic(partitions.iter().map(|tp| (tp, ()))));
        let indexes = |p: &Vec<(i32, ())>| p.iter().map(|(i, ())| *i).collect::<Vec<i32>>();
        let build = |version| {
            Ok(match version {
                8.. => {
                    let topics = topics.as_ref().map(|topics| {
                        topics.iter().map(|(name, p)| OffsetFetchRequestTopics {
                            name: (*name).clone(),
                            partition_indexes: indexes(p),
                            ..Default::default()
                        })
                    });
                    let group = OffsetFetchRequestGroup {
                        group_id: group.clone(),
                        topics: topics.map(Iterator::collect),
                        ..Default::default()
                    };
                    OffsetFetchRequest { groups: vec![group], require_stable, ..Default::default() }
                }
                _ => {
                    let topics = topics.as_ref().map(|topics| {
                        topics.iter().map(|(name, p)| OffsetFetchRequestTopic {
                            name: (*name).clone(),
                            partition_indexes: indexes(p),
                            ..Default::default()
                        })
                    });
                    OffsetFetchRequest {
                        group_id: group.clone(),
                        topics: topics.map(Iterator::collect),
                        require_stable: require_stable && version >= 7,
                        ..Default::default()
                    }
                }
            })
        };
        let check_all = |version, r: &logrun_wire::messages::OffsetFetchResponse| match version {
            8.. => r.groups.first().map_or(Ok(()), |g| check(g.error_code, None)),
            _ => check(r.error_code, None),
        };
        let call = self.to(Target::Coordinator(CoordinatorKey::Group(group.clone()))).versions(1, NAMES_MAX);
        let response = self.client.call_with(call, build, check_all).await?;
        let offset = |offset: i64, epoch: i32, metadata: Option<Str>, code| {
            check(code, None).map(|()| {
                (offset >= 0).then(|| OffsetAndMetadata {
                    offset,
                    leader_epoch: (epoch >= 0).then_some(epoch),
                    metadata: metadata.unwrap_or_default(),
                })
            })
        };
        let mut result = Each::new();
        for t in response.groups.into_iter().flat_map(|g| g.topics) {
            for p in t.partitions {
                let found = offset(p.committed_offset, p.committed_leader_epoch, p.metadata, p.error_code);
                result.insert(TopicPartition::new(t.name.clone(), p.partition_index), found);
            }
        }
        for t in response.topics {
            for p in t.partitions {
                let found = offset(p.committed_offset, p.committed_leader_epoch, p.metadata, p.error_code);
                result.insert(TopicPartition::new(t.name.clone(), p.partition_index), found);
            }
        }
        Ok(result)
    }

    /// Commits offsets for a group that has no members.
    ///
    /// # Errors
    /// If the request as a whole fails.
    pub async fn alter_group_offsets(
        &self,
        group: &Str,
        offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>,
    ) -> Result<Each<TopicPartition, ()>, Error> {
        let build = |version: i16| {
            let topics = by_topic(offsets).into_iter().map(|(name, partitions)| OffsetCommitRequestTopic {
                name: name.clone(),
                partitions: partitions
                    .into_iter()
                    .map(|(partition_index, o)| OffsetCommitRequestPartition {
                        partition_index,
                        committed_offset: o.offset,
                        committed_leader_epoch: if version >= 6 { o.leader_epoch.unwrap_or(-1) } else { -1 },
                        committed_metadata: Some(o.metadata.clone()),
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            });
            Ok(OffsetCommitRequest { group_id: group.clone(), topics: topics.collect(), ..Default::default() })
        };
        // Every partition says so when the coordinator is another, or still loading.
        let check_all = |_, r: &logrun_wire::messages::OffsetCommitResponse| {
            let codes = r.topics.iter().flat_map(|t| &t.partitions).map(|p| p.error_code);
            let errors = codes.filter_map(|code| check(code, None).err());
            errors
                .into_iter()
                .find(|e| e.is_coordinator_moved() || e.code() == Some(ErrorCode::CoordinatorLoadInProgress))
                .map_or(Ok(()), Err)
        };
        let call = self.to(Target::Coordinator(CoordinatorKey::Group(group.clone()))).versions(2, NAMES_MAX);
        let response = self.client.call_with(call, build, check_all).await?;
        let all = response.topics.iter().flat_map(|t| t.partitions.iter().map(|p| (t.name.clone(), p)));
        Ok(all.map(|(name, p)| (TopicPartition::new(name, p.partition_index), check(p.error_code, None))).collect())
    }

    /// Forgets offsets that a group committed, of topics that it doesn't read any more.
    ///
    /// # Errors
    /// If the request as a whole fails.
    pub async fn delete_group_offsets(
        &self,
        group: &Str,
        partitions: &[TopicPartition],
    ) -> Result<Each<TopicPartition, ()>, Error> {
        let topics =
            by_topic(partitions.iter().map(|tp| (tp, ()))).into_iter().map(|(name, p)| OffsetDeleteRequestTopic {
                name: name.clone(),
                partitions: p
                    .into_iter()
                    .map(|(partition_index, ())| OffsetDeleteRequestPartition { partition_index })
                    .collect(),
            });
        let request = OffsetDeleteRequest { group_id: group.clone(), topics: topics.collect() };
        let target = Target::Coordinator(CoordinatorKey::Group(group.clone()));
        let response = self.ask(target, request, |r| check(r.error_code, None)).await?;
        let all = response.topics.iter().flat_map(|t| t.partitions.iter().map(|p| (t.name.clone(), p)));
        Ok(all.map(|(name, p)| (TopicPartition::new(name, p.partition_index), check(p.error_code, None))).collect())
    }
}

fn classic_group(g: logrun_wire::messages::describe_groups_response::DescribedGroup) -> GroupDescription {
    let consumers = g.protocol_type == "consumer";
    let member = |m: logrun_wire::messages::describe_groups_response::DescribedGroupMember| GroupMember {
        assignment: if consumers { classic_assignment(&m.member_assignment) } else { TopicPartitions::new() },
        member_id: m.member_id,
        instance_id: m.group_instance_id,
        client_id: m.client_id,
        client_host: m.client_host,
        classic: Some((m.member_metadata, m.member_assignment)),
        ..Default::default()
    };
    GroupDescription {
        group_id: g.group_id,
        kind: GroupKind::Classic,
        protocol_type: g.protocol_type,
        state: g.group_state,
        assignor: g.protocol_data,
        group_epoch: None,
        assignment_epoch: None,
        coordinator: None,
        members: g.members.into_iter().map(member).collect(),
        authorized_operations: operations(g.authorized_operations),
        streams: None,
    }
}

/// What a classic group's leader gave a consumer; nothing if it can't be read, since any client may have written it.
fn classic_assignment(bytes: &Bytes) -> TopicPartitions {
    let mut d = Decoder::new(bytes.clone());
    let Ok(version) = d.i16("version") else { return TopicPartitions::new() };
    let known = ConsumerProtocolAssignment::VALID_VERSIONS;
    match ConsumerProtocolAssignment::decode(&mut d, version.clamp(known.min, known.max)) {
        Ok(a) => a
            .assigned_partitions
            .into_iter()
            .flat_map(|t| t.partitions.into_iter().map(move |p| TopicPartition::new(t.topic.clone(), p)))
            .collect(),
        Err(_) => TopicPartitions::new(),
    }
}

fn consumer_group(g: logrun_wire::messages::consumer_group_describe_response::DescribedGroup) -> GroupDescription {
    let partitions = |a: logrun_wire::messages::consumer_group_describe_response::Assignment| {
        let topics = a.topic_partitions.into_iter();
        topics
            .flat_map(|t| t.partitions.into_iter().map(move |p| TopicPartition::new(t.topic_name.clone(), p)))
            .collect()
    };
    let member = |m: logrun_wire::messages::consumer_group_describe_response::Member| GroupMember {
        member_id: m.member_id,
        instance_id: m.instance_id,
        rack_id: m.rack_id,
        client_id: m.client_id,
        client_host: m.client_host,
        assignment: partitions(m.assignment),
        target_assignment: Some(partitions(m.target_assignment)),
        member_epoch: Some(m.member_epoch),
        upgraded: (m.member_type >= 0).then_some(m.member_type == 1),
        classic: None,
    };
    GroupDescription {
        group_id: g.group_id,
        kind: GroupKind::Consumer,
        protocol_type: Str::from_static("consumer"),
        state: g.group_state,
        assignor: g.assignor_name,
        group_epoch: Some(g.group_epoch),
        assignment_epoch: Some(g.assignment_epoch),
        coordinator: None,
        members: g.members.into_iter().map(member).collect(),
        authorized_operations: operations(g.authorized_operations),
        streams: None,
    }
}

fn share_group(g: logrun_wire::messages::share_group_describe_response::DescribedGroup) -> GroupDescription {
    let member = |m: logrun_wire::messages::share_group_describe_response::Member| GroupMember {
        member_id: m.member_id,
        rack_id: m.rack_id,
        client_id: m.client_id,
        client_host: m.client_host,
        assignment: m
            .assignment
            .topic_partitions
            .into_iter()
            .flat_map(|t| t.partitions.into_iter().map(move |p| TopicPartition::new(t.topic_name.clone(), p)))
            .collect(),
        member_epoch: Some(m.member_epoch),
        ..Default::default()
    };
    GroupDescription {
        group_id: g.group_id,
        kind: GroupKind::Share,
        protocol_type: Str::from_static("share"),
        state: g.group_state,
        assignor: g.assignor_name,
        group_epoch: Some(g.group_epoch),
        assignment_epoch: Some(g.assignment_epoch),
        coordinator: None,
        members: g.members.into_iter().map(member).collect(),
        authorized_operations: operations(g.authorized_operations),
        streams: None,
    }
}

fn streams_group(g: logrun_wire::messages::streams_group_describe_response::DescribedGroup) -> GroupDescription {
    let member = |m: &logrun_wire::messages::streams_group_describe_response::Member| GroupMember {
        member_id: m.member_id.clone(),
        instance_id: m.instance_id.clone(),
        rack_id: m.rack_id.clone(),
        client_id: m.client_id.clone(),
        client_host: m.client_host.clone(),
        member_epoch: Some(m.member_epoch),
        upgraded: Some(!m.is_classic),
        ..Default::default()
    };
    GroupDescription {
        group_id: g.group_id.clone(),
        kind: GroupKind::Streams,
        protocol_type: Str::from_static("streams"),
        state: g.group_state.clone(),
        assignor: g.assignor_name.clone().unwrap_or_default(),
        group_epoch: Some(g.group_epoch),
        assignment_epoch: Some(g.assignment_epoch),
        coordinator: None,
        members: g.members.iter().map(member).collect(),
        authorized_operations: operations(g.authorized_operations),
        streams: Some(Box::new(g)),
    }
}
