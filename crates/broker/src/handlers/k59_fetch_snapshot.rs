//! FetchSnapshot (key 59, versions 0–1; KIP-630, KIP-853): a replica takes a snapshot of the metadata in pieces.
//!
//! Version 1 has the replica's directory, and the controllers' addresses in the answer. A snapshot that is gone by now is
//! SNAPSHOT_NOT_FOUND: the replica fetches again and is named the present one.

use std::sync::Arc;

use logrun_model::{Offset, RaftEpoch};
use logrun_raft::SnapshotId;
use logrun_wire::ErrorCode;
use logrun_wire::messages::fetch_snapshot_request::FetchSnapshotRequest;
use logrun_wire::messages::fetch_snapshot_response::{
    self as fsr, FetchSnapshotResponse, LeaderIdAndEpoch, PartitionSnapshot, TopicSnapshot,
};
use tracing::error;

use super::METADATA_TOPIC;
use crate::Broker;
use crate::context::RequestContext;
use crate::quorum::leader_endpoint;

/// The largest piece, whatever is asked for.
const PIECE_BYTES_MAX: usize = 8 << 20;

pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: FetchSnapshotRequest,
) -> FetchSnapshotResponse {
    let refuse = |code: ErrorCode| FetchSnapshotResponse { error_code: code.code(), ..Default::default() };
    let Some(local) = broker.controller().local().cloned() else { return refuse(ErrorCode::NotController) };
    if request.cluster_id.as_ref().is_some_and(|id| *id != broker.cluster_id()) {
        return refuse(ErrorCode::InconsistentClusterId);
    }
    let asked = match request.topics.as_slice() {
        [topic] if topic.name == METADATA_TOPIC => match topic.partitions.as_slice() {
            [p] if p.partition == 0 => p.clone(),
            _ => return refuse(ErrorCode::UnknownTopicOrPartition),
        },
        _ => return refuse(ErrorCode::UnknownTopicOrPartition),
    };
    let id = SnapshotId { end_offset: Offset(asked.snapshot_id.end_offset), epoch: RaftEpoch(asked.snapshot_id.epoch) };
    let max = usize::try_from(request.max_bytes).unwrap_or(0).clamp(1, PIECE_BYTES_MAX);
    let (epoch, position) = (RaftEpoch(asked.current_leader_epoch), asked.position);
    let reading = local.clone();
    let read = broker.io().tasks.blocking(move || reading.snapshot_piece(epoch, id, position, max)).await;
    let (leader_epoch, piece) = read.unwrap_or_else(|e| {
        error!("a snapshot of the metadata can't be read: {e}");
        (epoch, Err(ErrorCode::KafkaStorageError))
    });
    let voter = local.voter();
    let mut partition = PartitionSnapshot {
        index: 0,
        snapshot_id: fsr::SnapshotId { end_offset: id.end_offset.get(), epoch: id.epoch.get(), ..Default::default() },
        current_leader: LeaderIdAndEpoch {
            leader_id: voter.id.get(),
            leader_epoch: leader_epoch.get(),
            ..Default::default()
        },
        position,
        ..Default::default()
    };
    match piece {
        Ok(piece) => {
            partition.size = i64::try_from(piece.size).unwrap_or(i64::MAX);
            partition.unaligned_records = Some(bytes::Bytes::from(piece.bytes).into());
        }
        Err(code) => {
            partition.error_code = code.code();
            partition.unaligned_records = Some(logrun_wire::Records::EMPTY);
        }
    }
    let topic = TopicSnapshot { name: METADATA_TOPIC.into(), partitions: vec![partition], ..Default::default() };
    let mut response = FetchSnapshotResponse { topics: vec![topic], ..Default::default() };
    if context.api_version >= 1 {
        let (host, port) = leader_endpoint(&voter, context);
        let node_id = voter.id.get();
        response.node_endpoints.push(fsr::NodeEndpoint { node_id, host, port, ..Default::default() });
    }
    response
}
