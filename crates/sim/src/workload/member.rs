//! A member of a consumer group by the classic protocol: joins, leads or follows, heartbeats, commits what it owns,
//! leaves or dies without a word; and the commits and their look-up that readers use too.

use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::{BufMut, Bytes, BytesMut};
use logrun_model::{Str, TopicPartition, Uuid};
use logrun_wire::messages::join_group_request::JoinGroupRequestProtocol;
use logrun_wire::messages::leave_group_request::MemberIdentity;
use logrun_wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use logrun_wire::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use logrun_wire::messages::sync_group_request::SyncGroupRequestAssignment;
use logrun_wire::messages::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, FindCoordinatorRequest, HeartbeatRequest,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, OffsetCommitRequest, OffsetFetchRequest, SyncGroupRequest,
    consumer_protocol_assignment,
};
use logrun_wire::{ErrorCode, Message};

use super::{Link, Lost, error, is_disk_trouble, is_not_ready};
use crate::model::Violation;
use crate::model::topics::Known;
use crate::phase::{Phase, data_topic};

const TIMEOUT_MS: u64 = 10_000;
/// A join waits for the other members, at most for the rebalance timeout.
const JOIN_TIMEOUT_MS: u64 = 30_000;
const PROTOCOL_TYPE: &str = "consumer";
const PROTOCOL: &str = "range";
/// The version of what members tell each other.
const CONSUMER_PROTOCOL_VERSION: i16 = 1;

/// The group that the members share.
pub fn group() -> Str {
    Str::from_static("members")
}

/// A member, from one join to the next.
pub struct Member {
    name: String,
    group: Str,
    member_id: Str,
    /// Its generation and what it owns in it.
    place: Option<(i32, Vec<TopicPartition>)>,
}

/// Who commits.
#[derive(Clone, Debug)]
pub struct Committer {
    pub generation: i32,
    pub member_id: Str,
}

/// What became of a request that only a member in good standing may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Good,
    /// It must join again, by its id.
    Rejoin,
    /// It is not known any more.
    Unknown,
}

impl Member {
    pub fn new(number: usize) -> Self {
        Self { name: format!("member-{number}"), group: group(), member_id: Str::EMPTY, place: None }
    }

    /// Takes part for as long as the phase lasts.
    pub async fn work(&mut self, phase: Rc<Phase>) {
        let mut link = Link::new(&phase, self.name.clone());
        let mut found = false;
        while !phase.is_over() {
            if !found {
                found = find_coordinator(&mut link, &self.group).await.is_ok();
                phase.pause(300).await;
                continue;
            }
            let standing = match &self.place {
                None => self.join(&mut link).await,
                Some(_) => self.act(&mut link).await,
            };
            match standing {
                Ok(Standing::Good) => {}
                Ok(Standing::Rejoin) => self.place = None,
                Ok(Standing::Unknown) => {
                    self.place = None;
                    self.member_id = Str::EMPTY;
                }
                Err(Lost) => phase.pause(300).await,
            }
            phase.pause(500).await;
        }
    }

    async fn act(&mut self, link: &mut Link) -> Result<Standing, Lost> {
        let Some((generation, owns)) = self.place.clone() else { return Ok(Standing::Rejoin) };
        let phase = link.phase.clone();
        let r = &phase.run.random;
        let committer = Committer { generation, member_id: self.member_id.clone() };
        let owned = if owns.is_empty() { None } else { Some(&owns[r.below(owns.len() as u64) as usize]) };
        match (r.below(24), owned) {
            (0, _) => {
                phase.note(format_args!("{} dies", self.name));
                link.cut();
                phase.pause(4_000).await;
                Ok(Standing::Unknown)
            }
            (1, _) => self.leave(link).await,
            (2, _) => Ok(Standing::Rejoin),
            (3..9, Some(tp)) => commit(link, &self.group, Some(committer), tp).await,
            (9..12, Some(tp)) => fetch_commit(link, &self.group, tp).await.map(|()| Standing::Good),
            _ => self.heartbeat(link, &committer).await,
        }
    }

    async fn join(&mut self, link: &mut Link) -> Result<Standing, Lost> {
        let phase = link.phase.clone();
        let topics = (0..phase.run.plan.topics.len()).map(data_topic).collect();
        let subscription = ConsumerProtocolSubscription { topics, ..Default::default() };
        let request = JoinGroupRequest {
            group_id: self.group.clone(),
            session_timeout_ms: 4_000,
            rebalance_timeout_ms: 3_000,
            member_id: self.member_id.clone(),
            protocol_type: PROTOCOL_TYPE.into(),
            protocols: vec![JoinGroupRequestProtocol {
                name: PROTOCOL.into(),
                metadata: versioned(&phase, &subscription)?,
                ..Default::default()
            }],
            ..Default::default()
        };
        let version = [2, 4, 5, 7, 9][phase.run.random.below(5) as usize];
        let response = link.call(version, &request, JOIN_TIMEOUT_MS).await?;
        match error(response.error_code) {
            ErrorCode::None => {}
            ErrorCode::MemberIdRequired => {
                self.member_id = response.member_id;
                return Ok(Standing::Rejoin);
            }
            e => return self.standing(&phase, "JoinGroup", e),
        }
        self.member_id = response.member_id.clone();
        phase.check(|m| m.generations.joined(&self.group, response.generation_id, &response.leader));
        self.sync(link, response).await
    }

    async fn sync(&mut self, link: &mut Link, joined: JoinGroupResponse) -> Result<Standing, Lost> {
        let phase = link.phase.clone();
        let assignments = if joined.leader == self.member_id { assign(&phase, &joined)? } else { Vec::new() };
        let generation = joined.generation_id;
        let request = SyncGroupRequest {
            group_id: self.group.clone(),
            generation_id: generation,
            member_id: self.member_id.clone(),
            protocol_type: Some(PROTOCOL_TYPE.into()),
            protocol_name: Some(PROTOCOL.into()),
            assignments,
            ..Default::default()
        };
        let version = [0, 2, 3, 5][phase.run.random.below(4) as usize];
        let response = link.call(version, &request, JOIN_TIMEOUT_MS).await?;
        match error(response.error_code) {
            ErrorCode::None => {}
            e => return self.standing(&phase, "SyncGroup", e),
        }
        let owns = owned(&phase, response.assignment)?;
        phase.note(format_args!("{} owns {} partitions in generation {generation}", self.name, owns.len()));
        phase.check(|m| m.generations.assigned(&self.group, generation, &self.member_id, &owns));
        phase.run.stats.borrow_mut().add("assignments", 1);
        self.place = Some((generation, owns));
        Ok(Standing::Good)
    }

    async fn heartbeat(&self, link: &mut Link, who: &Committer) -> Result<Standing, Lost> {
        let request = HeartbeatRequest {
            group_id: self.group.clone(),
            generation_id: who.generation,
            member_id: who.member_id.clone(),
            ..Default::default()
        };
        let version = [0, 2, 3, 4][link.phase.run.random.below(4) as usize];
        let response = link.call(version, &request, TIMEOUT_MS).await?;
        match error(response.error_code) {
            ErrorCode::None => Ok(Standing::Good),
            e => self.standing(&link.phase, "Heartbeat", e),
        }
    }

    async fn leave(&self, link: &mut Link) -> Result<Standing, Lost> {
        let version = [0, 2, 3, 5][link.phase.run.random.below(4) as usize];
        let mut request = LeaveGroupRequest { group_id: self.group.clone(), ..Default::default() };
        match version {
            0..=2 => request.member_id = self.member_id.clone(),
            _ => {
                let member = MemberIdentity { member_id: self.member_id.clone(), ..Default::default() };
                request.members = vec![member];
            }
        }
        let response = link.call(version, &request, TIMEOUT_MS).await?;
        match error(response.error_code) {
            ErrorCode::None => Ok(Standing::Unknown),
            e => self.standing(&link.phase, "LeaveGroup", e),
        }
    }

    fn standing(&self, phase: &Phase, what: &str, e: ErrorCode) -> Result<Standing, Lost> {
        standing(phase, what, e)
    }
}

/// What an error of the group protocol says of the member.
fn standing(phase: &Phase, what: &str, e: ErrorCode) -> Result<Standing, Lost> {
    match e {
        ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration => Ok(Standing::Rejoin),
        ErrorCode::UnknownMemberId => Ok(Standing::Unknown),
        e if is_not_ready(e) || is_disk_trouble(e) => Err(Lost),
        e => {
            phase.fail(Violation::new("errors", format!("{what}: {e}")));
            Err(Lost)
        }
    }
}

/// All data partitions, dealt out to the members in turn.
fn assign(phase: &Phase, joined: &JoinGroupResponse) -> Result<Vec<SyncGroupRequestAssignment>, Lost> {
    let mut members: Vec<&Str> = joined.members.iter().map(|m| &m.member_id).collect();
    members.sort();
    if members.windows(2).any(|w| w[0] == w[1]) || members.is_empty() {
        phase.fail(Violation::new("ownership", format!("a leader was told of the members {members:?}")));
        return Err(Lost);
    }
    let mut dealt: BTreeMap<&Str, BTreeMap<Str, Vec<i32>>> = members.iter().map(|m| (*m, BTreeMap::new())).collect();
    let partitions = phase.run.plan.topics.iter().map(|t| t.partitions).enumerate();
    let all = partitions.flat_map(|(topic, count)| (0..count).map(move |p| (data_topic(topic), p)));
    for (i, (topic, partition)) in all.enumerate() {
        let owner = members[i % members.len()];
        dealt.entry(owner).or_default().entry(topic).or_default().push(partition);
    }
    let mut out = Vec::new();
    for (member, topics) in dealt {
        let assigned_partitions = topics
            .into_iter()
            .map(|(topic, partitions)| consumer_protocol_assignment::TopicPartition { topic, partitions });
        let assignment =
            ConsumerProtocolAssignment { assigned_partitions: assigned_partitions.collect(), ..Default::default() };
        out.push(SyncGroupRequestAssignment {
            member_id: member.clone(),
            assignment: versioned(phase, &assignment)?,
            ..Default::default()
        });
    }
    Ok(out)
}

fn versioned<M: Message>(phase: &Phase, message: &M) -> Result<Bytes, Lost> {
    match message.to_bytes(CONSUMER_PROTOCOL_VERSION) {
        Ok(bytes) => {
            let mut out = BytesMut::with_capacity(2 + bytes.len());
            out.put_i16(CONSUMER_PROTOCOL_VERSION);
            out.extend_from_slice(&bytes);
            Ok(out.freeze())
        }
        Err(e) => {
            phase.fail(Violation::new("simulator", e.to_string()));
            Err(Lost)
        }
    }
}

/// What an assignment says; an empty one is that of a member whom the leader did not know.
fn owned(phase: &Phase, assignment: Bytes) -> Result<Vec<TopicPartition>, Lost> {
    if assignment.is_empty() {
        return Ok(Vec::new());
    }
    let body = assignment.slice(2.min(assignment.len())..);
    match ConsumerProtocolAssignment::decode_exact(body, CONSUMER_PROTOCOL_VERSION) {
        Ok(a) => {
            let each = a.assigned_partitions.into_iter();
            Ok(each
                .flat_map(|t| t.partitions.into_iter().map(move |p| TopicPartition::new(t.topic.clone(), p)))
                .collect())
        }
        Err(e) => {
            phase.fail(Violation::new("intact", format!("an assignment: {e}")));
            Err(Lost)
        }
    }
}

/// Asks where the group is looked after, which also makes sure that there is a place.
pub async fn find_coordinator(link: &mut Link, group: &Str) -> Result<(), Lost> {
    let version = [0, 1, 3, 4, 6][link.phase.run.random.below(5) as usize];
    let mut request = FindCoordinatorRequest::default();
    match version {
        0..=3 => request.key = group.clone(),
        _ => request.coordinator_keys = vec![group.clone()],
    }
    let response = link.call(version, &request, TIMEOUT_MS).await?;
    let code = match version {
        0..=3 => response.error_code,
        _ => response.coordinators.first().map_or(ErrorCode::UnknownServerError.code(), |c| c.error_code),
    };
    match error(code) {
        ErrorCode::None => Ok(()),
        e if is_not_ready(e) || is_disk_trouble(e) => Err(Lost),
        e => {
            link.phase.fail(Violation::new("errors", format!("FindCoordinator: {e}")));
            Err(Lost)
        }
    }
}

/// Commits a new offset of the partition for the group, as a member or, if the group has none, as nobody.
pub async fn commit(
    link: &mut Link,
    group: &Str,
    who: Option<Committer>,
    tp: &TopicPartition,
) -> Result<Standing, Lost> {
    let phase = link.phase.clone();
    let r = &phase.run.random;
    let version = [2, 5, 6, 8, 9, 10][r.below(6) as usize];
    let by_id = version >= 10;
    let topic_id = match phase.run.model.borrow().topics.get(&tp.topic) {
        Known::Exists(id) if by_id => id,
        _ => Uuid::ZERO,
    };
    let (value, newest) = {
        let mut m = phase.run.model.borrow_mut();
        (m.commits.next_value(group, tp, 1 + r.below(3) as i64), m.generations.newest(group))
    };
    let topic = OffsetCommitRequestTopic {
        name: if by_id { Str::EMPTY } else { tp.topic.clone() },
        topic_id,
        partitions: vec![OffsetCommitRequestPartition {
            partition_index: tp.partition,
            committed_offset: value,
            committed_metadata: Some(Str::EMPTY),
            ..Default::default()
        }],
        ..Default::default()
    };
    let request = OffsetCommitRequest {
        group_id: group.clone(),
        generation_id_or_member_epoch: who.as_ref().map_or(-1, |w| w.generation),
        member_id: who.as_ref().map_or(Str::EMPTY, |w| w.member_id.clone()),
        topics: vec![topic],
        ..Default::default()
    };
    phase.note(format_args!("{group} commits {value} of {}-{}", tp.topic, tp.partition));
    let response = link.call(version, &request, TIMEOUT_MS).await?;
    let code = response.topics.first().and_then(|t| t.partitions.first()).map(|p| p.error_code);
    match error(code.unwrap_or(ErrorCode::UnknownServerError.code())) {
        ErrorCode::None => {
            phase.check(|m| {
                m.commits.acked(group, tp, value);
                who.map_or(Ok(()), |w| m.generations.committed(group, w.generation, newest))
            });
            phase.run.stats.borrow_mut().add("commits", 1);
            Ok(Standing::Good)
        }
        e if is_not_ready(e) || is_disk_trouble(e) => Err(Lost),
        e @ (ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration | ErrorCode::UnknownMemberId)
            if who.is_some() =>
        {
            phase.check(|m| {
                m.commits.refused(group, tp, value);
                Ok(())
            });
            standing(&phase, "OffsetCommit", e)
        }
        // A power cut took the group. Before version 9 this is ILLEGAL_GENERATION.
        ErrorCode::GroupIdNotFound if who.is_some() && !phase.run.plan.durability.survives_power_cut() => {
            phase.check(|m| {
                m.commits.refused(group, tp, value);
                Ok(())
            });
            Ok(Standing::Unknown)
        }
        e => {
            phase.fail(Violation::new("errors", format!("OffsetCommit of {group}: {e}")));
            Err(Lost)
        }
    }
}

/// Looks up what the group has committed for the partition and tells the model.
pub async fn fetch_commit(link: &mut Link, group: &Str, tp: &TopicPartition) -> Result<(), Lost> {
    let phase = link.phase.clone();
    let version = [1, 5, 7, 8, 9, 10][phase.run.random.below(6) as usize];
    let topic_id = match phase.run.model.borrow().topics.get(&tp.topic) {
        Known::Exists(id) if version >= 10 => id,
        _ => Uuid::ZERO,
    };
    let partition_indexes = vec![tp.partition];
    let mut request = OffsetFetchRequest::default();
    if version < 8 {
        request.group_id = group.clone();
        request.topics =
            Some(vec![OffsetFetchRequestTopic { name: tp.topic.clone(), partition_indexes, ..Default::default() }]);
    } else {
        let name = if version >= 10 { Str::EMPTY } else { tp.topic.clone() };
        let topic = OffsetFetchRequestTopics { name, topic_id, partition_indexes, ..Default::default() };
        request.groups =
            vec![OffsetFetchRequestGroup { group_id: group.clone(), topics: Some(vec![topic]), ..Default::default() }];
    }
    let floor = phase.run.model.borrow_mut().commits.floor(group, tp);
    let response = link.call(version, &request, TIMEOUT_MS).await?;
    let found = if version < 8 {
        let p = response.topics.first().and_then(|t| t.partitions.first());
        p.map(|p| (if response.error_code != 0 { response.error_code } else { p.error_code }, p.committed_offset))
            .unwrap_or((response.error_code, -1))
    } else {
        let g = response.groups.first();
        let p = g.and_then(|g| g.topics.first()).and_then(|t| t.partitions.first());
        match (g, p) {
            (Some(g), _) if g.error_code != 0 => (g.error_code, -1),
            (_, Some(p)) => (p.error_code, p.committed_offset),
            _ => (ErrorCode::UnknownServerError.code(), -1),
        }
    };
    match error(found.0) {
        ErrorCode::None => {
            phase.note(format_args!("{group} has {} of {}-{}", found.1, tp.topic, tp.partition));
            phase.check(|m| m.commits.fetched(group, tp, floor, found.1));
            Ok(())
        }
        e if is_not_ready(e) || is_disk_trouble(e) => Err(Lost),
        e => {
            phase.fail(Violation::new("errors", format!("OffsetFetch of {group}: {e}")));
            Err(Lost)
        }
    }
}
