//! Responses as a client gets them: written at its version and read again. What can't be written is a bug of ours.

use logrun_group::Response;
use logrun_wire::messages::{
    DeleteGroupsResponse, DescribeGroupsResponse, HeartbeatResponse, JoinGroupResponse, LeaveGroupResponse,
    ListGroupsResponse, OffsetCommitResponse, OffsetDeleteResponse, OffsetFetchResponse, SyncGroupResponse,
};
use logrun_wire::{Decoder, Encoder, Message};

fn through<M: Message>(version: i16, message: &M) -> M {
    let mut e = Encoder::new();
    message.encode(&mut e, version).unwrap_or_else(|e| panic!("{message:?}: {e}"));
    M::decode(&mut Decoder::new(e.into_bytes()), version).expect("what we wrote")
}

pub fn through_the_wire(version: i16, response: Response) -> Response {
    match response {
        Response::JoinGroup(r) => Response::JoinGroup(through::<JoinGroupResponse>(version, &r)),
        Response::SyncGroup(r) => Response::SyncGroup(through::<SyncGroupResponse>(version, &r)),
        Response::Heartbeat(r) => Response::Heartbeat(through::<HeartbeatResponse>(version, &r)),
        Response::LeaveGroup(r) => Response::LeaveGroup(through::<LeaveGroupResponse>(version, &r)),
        Response::OffsetCommit(r) => Response::OffsetCommit(through::<OffsetCommitResponse>(version, &r)),
        Response::OffsetDelete(r) => Response::OffsetDelete(through::<OffsetDeleteResponse>(version, &r)),
        Response::ListGroups(r) => Response::ListGroups(through::<ListGroupsResponse>(version, &r)),
        Response::OffsetFetch(group) => {
            let r = OffsetFetchResponse { groups: vec![group], ..Default::default() };
            Response::OffsetFetch(through(version, &r).groups.remove(0))
        }
        Response::DescribeGroups(groups) => {
            let r = DescribeGroupsResponse { groups, ..Default::default() };
            Response::DescribeGroups(through(version, &r).groups)
        }
        Response::DeleteGroups(results) => {
            let r = DeleteGroupsResponse { results, ..Default::default() };
            Response::DeleteGroups(through(version, &r).results)
        }
    }
}
