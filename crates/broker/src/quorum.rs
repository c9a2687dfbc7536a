//! The metadata log as those copy it who have no vote: Fetch of `__cluster_metadata` on controllers' listeners (KIP-595).
//!
//! It is Fetch in form only: there are no sessions, one partition, and the leader says where a copy parts from its log or
//! must begin with a snapshot. What to answer is decided by `crates/raft`.

use std::sync::Arc;

use logrun_model::{LeaderEpoch, NodeId, Offset, RaftEpoch, Str, Uuid};
use logrun_raft::{FetchQuestion, Voter};
use logrun_wire::messages::fetch_request::FetchRequest;
use logrun_wire::messages::fetch_response::{
    EpochEndOffset, FetchResponse, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData, SnapshotId,
};
use logrun_wire::{ErrorCode, Records};
use tracing::error;

use crate::Broker;
use crate::context::RequestContext;
use crate::controller::local::{FetchedAnswer, Replica};
use crate::handlers::METADATA_TOPIC;

/// As much as one answer carries at most (Kafka's `KafkaRaftClient.MAX_FETCH_SIZE`).
const FETCH_BYTES_MAX: i32 = 8 << 20;

/// Answers a replica that copies the metadata log.
pub async fn fetch(broker: &Arc<Broker>, context: &RequestContext, request: FetchRequest) -> FetchResponse {
    let refuse = |code: ErrorCode| FetchResponse { error_code: code.code(), ..Default::default() };
    let Some(local) = broker.controller().local() else { return refuse(ErrorCode::NotController) };
    if request.cluster_id.as_ref().is_some_and(|id| *id != broker.cluster_id()) {
        return refuse(ErrorCode::InconsistentClusterId);
    }
    let by_id = context.api_version >= 13;
    let [topic] = request.topics.as_slice() else { return refuse(ErrorCode::InvalidRequest) };
    let is_metadata = if by_id { topic.topic_id == Uuid::ONE } else { topic.topic == METADATA_TOPIC };
    let partition = match topic.partitions.as_slice() {
        [p] if p.partition == 0 && is_metadata && request.max_wait_ms >= 0 => p,
        _ => return refuse(ErrorCode::InvalidRequest),
    };
    let id = match request.replica_state.replica_id {
        -1 => request.replica_id,
        id => id,
    };
    let replica = Replica {
        id: NodeId(id),
        directory_id: partition.replica_directory_id,
        // Whoever doesn't say has all that there is.
        high_watermark: (context.api_version >= 18).then_some(Offset(partition.high_watermark)),
    };
    let asked = FetchQuestion {
        current_epoch: RaftEpoch(partition.current_leader_epoch),
        offset: Offset(partition.fetch_offset),
        last_fetched_epoch: RaftEpoch(partition.last_fetched_epoch),
        max_bytes: request.max_bytes.clamp(1, FETCH_BYTES_MAX) as usize,
    };
    let deadline = broker.io().clock.now().plus_ms(i64::from(request.max_wait_ms));
    let fetched = match local.fetch(replica, asked, deadline).await {
        Ok(fetched) => fetched,
        Err(e) => {
            error!("the metadata log can't be read: {e}");
            return refuse(ErrorCode::KafkaStorageError);
        }
    };
    let voter = local.voter();
    let mut data = PartitionData {
        partition_index: 0,
        high_watermark: fetched.high_watermark.get(),
        log_start_offset: fetched.log_start_offset.get(),
        current_leader: LeaderIdAndEpoch {
            leader_id: voter.id.get(),
            leader_epoch: fetched.leader_epoch.get(),
            ..Default::default()
        },
        records: Some(Records::EMPTY),
        ..Default::default()
    };
    match fetched.answer {
        FetchedAnswer::Refused(code) => {
            data.error_code = code.code();
            data.high_watermark = -1;
            data.log_start_offset = -1;
        }
        FetchedAnswer::Diverging { epoch, end_offset } => {
            let epoch = LeaderEpoch(epoch.get()).get();
            data.diverging_epoch = EpochEndOffset { epoch, end_offset: end_offset.get(), ..Default::default() };
        }
        FetchedAnswer::Snapshot(id) => {
            data.snapshot_id =
                SnapshotId { end_offset: id.end_offset.get(), epoch: id.epoch.get(), ..Default::default() };
        }
        FetchedAnswer::Records(slices) => data.records = Some(Records::from(slices)),
    }
    let answered = FetchableTopicResponse {
        topic: topic.topic.clone(),
        topic_id: topic.topic_id,
        partitions: vec![data],
        ..Default::default()
    };
    let mut response = FetchResponse { responses: vec![answered], ..Default::default() };
    if context.api_version >= 16 {
        let (host, port) = leader_endpoint(&voter, context);
        let (node_id, port) = (voter.id.get(), i32::from(port));
        response.node_endpoints.push(NodeEndpoint { node_id, host, port, ..Default::default() });
    }
    response
}

/// Where the leader is reached by who asks: its address on the same listener, or the one that was used just now where
/// that has no fixed port.
pub fn leader_endpoint(voter: &Voter, context: &RequestContext) -> (Str, u16) {
    let endpoint = voter.endpoints.iter().find(|e| e.name == context.listener.name && e.port != 0);
    endpoint.map_or_else(
        || (context.local.ip().to_canonical().to_string().into(), context.local.port()),
        |e| (e.host.clone(), e.port),
    )
}
