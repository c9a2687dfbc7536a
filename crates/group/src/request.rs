//! What the broker asks of a shard and what it gets: wire types at the face, a version number where behaviour
//! depends on it. Requests that span several shards (OffsetFetch v8+, DescribeGroups, DeleteGroups, ListGroups)
//! come in parts, which the broker makes and puts together again.

use logrun_model::Str;
use logrun_wire::ErrorCode;
use logrun_wire::messages::delete_groups_response::DeletableGroupResult;
use logrun_wire::messages::describe_groups_response::DescribedGroup;
use logrun_wire::messages::leave_group_response::MemberResponse;
use logrun_wire::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use logrun_wire::messages::offset_fetch_request::OffsetFetchRequestGroup;
use logrun_wire::messages::offset_fetch_response::OffsetFetchResponseGroup;
use logrun_wire::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse,
    ListGroupsRequest, ListGroupsResponse, OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest,
    OffsetDeleteResponse, SyncGroupRequest, SyncGroupResponse,
};

/// Finds the asker again; the broker makes it up, the shard only carries it. Each token gets exactly one reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Who asks, and by which version of the API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    pub api_version: i16,
    pub client_id: Str,
    /// As Kafka writes it: `/127.0.0.1`.
    pub client_host: Str,
    /// Fresh random bits, for the id of a new member.
    pub random: u128,
}

/// A request, or the part of one that is this shard's.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    JoinGroup(JoinGroupRequest),
    SyncGroup(SyncGroupRequest),
    Heartbeat(HeartbeatRequest),
    LeaveGroup(LeaveGroupRequest),
    /// Topics bear their names in every version; their ids too where the broker knows them.
    OffsetCommit(OffsetCommitRequest),
    /// One group in the form of version 8 and later; topics bear their names.
    OffsetFetch {
        group: OffsetFetchRequestGroup,
        require_stable: bool,
    },
    OffsetDelete(OffsetDeleteRequest),
    DescribeGroups(Vec<Str>),
    ListGroups(ListGroupsRequest),
    DeleteGroups(Vec<Str>),
}

/// The reply to the request of the same name.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    JoinGroup(JoinGroupResponse),
    SyncGroup(SyncGroupResponse),
    Heartbeat(HeartbeatResponse),
    LeaveGroup(LeaveGroupResponse),
    OffsetCommit(OffsetCommitResponse),
    OffsetFetch(OffsetFetchResponseGroup),
    OffsetDelete(OffsetDeleteResponse),
    DescribeGroups(Vec<DescribedGroup>),
    ListGroups(ListGroupsResponse),
    DeleteGroups(Vec<DeletableGroupResult>),
}

/// What the shell must do, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Send the response to whoever gave the token.
    Reply { token: Token, response: Response },
}

impl Request {
    /// The response that says only `error`, wherever the API has a place for it.
    pub fn refused(&self, error: ErrorCode) -> Response {
        match self {
            Self::JoinGroup(r) => Response::JoinGroup(join_refused(r.member_id.clone(), error)),
            Self::SyncGroup(_) => Response::SyncGroup(sync_refused(error)),
            Self::Heartbeat(_) => {
                Response::Heartbeat(HeartbeatResponse { error_code: error.code(), ..Default::default() })
            }
            Self::LeaveGroup(_) => Response::LeaveGroup(leave_refused(error)),
            Self::OffsetCommit(r) => Response::OffsetCommit(commit_refused(r, error)),
            Self::OffsetFetch { group, .. } => Response::OffsetFetch(fetch_refused(group, error)),
            Self::OffsetDelete(_) => Response::OffsetDelete(offset_delete_refused(error)),
            Self::DescribeGroups(ids) => {
                Response::DescribeGroups(ids.iter().map(|id| describe_refused(id, error)).collect())
            }
            Self::ListGroups(_) => Response::ListGroups(list_refused(error)),
            Self::DeleteGroups(ids) => Response::DeleteGroups(ids.iter().map(|id| delete_result(id, error)).collect()),
        }
    }
}

pub(crate) fn join_refused(member_id: Str, error: ErrorCode) -> JoinGroupResponse {
    JoinGroupResponse { error_code: error.code(), member_id, ..Default::default() }
}

pub(crate) fn sync_refused(error: ErrorCode) -> SyncGroupResponse {
    SyncGroupResponse { error_code: error.code(), ..Default::default() }
}

pub(crate) fn leave_refused(error: ErrorCode) -> LeaveGroupResponse {
    LeaveGroupResponse { error_code: error.code(), ..Default::default() }
}

pub(crate) fn member_left(member_id: Str, group_instance_id: Option<Str>, error: ErrorCode) -> MemberResponse {
    MemberResponse { member_id, group_instance_id, error_code: error.code(), ..Default::default() }
}

pub(crate) fn commit_refused(request: &OffsetCommitRequest, error: ErrorCode) -> OffsetCommitResponse {
    let topics = request.topics.iter().map(|t| OffsetCommitResponseTopic {
        name: t.name.clone(),
        topic_id: t.topic_id,
        partitions: t.partitions.iter().map(|p| partition_committed(p.partition_index, error)).collect(),
        ..Default::default()
    });
    OffsetCommitResponse { topics: topics.collect(), ..Default::default() }
}

pub(crate) fn partition_committed(partition_index: i32, error: ErrorCode) -> OffsetCommitResponsePartition {
    OffsetCommitResponsePartition { partition_index, error_code: error.code(), ..Default::default() }
}

pub(crate) fn fetch_refused(group: &OffsetFetchRequestGroup, error: ErrorCode) -> OffsetFetchResponseGroup {
    OffsetFetchResponseGroup { group_id: group.group_id.clone(), error_code: error.code(), ..Default::default() }
}

pub(crate) fn offset_delete_refused(error: ErrorCode) -> OffsetDeleteResponse {
    OffsetDeleteResponse { error_code: error.code(), ..Default::default() }
}

pub(crate) fn describe_refused(group_id: &Str, error: ErrorCode) -> DescribedGroup {
    DescribedGroup { group_id: group_id.clone(), error_code: error.code(), ..Default::default() }
}

pub(crate) fn list_refused(error: ErrorCode) -> ListGroupsResponse {
    ListGroupsResponse { error_code: error.code(), ..Default::default() }
}

pub(crate) fn delete_result(group_id: &Str, error: ErrorCode) -> DeletableGroupResult {
    DeletableGroupResult { group_id: group_id.clone(), error_code: error.code(), ..Default::default() }
}
