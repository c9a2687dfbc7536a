//! OffsetForLeaderEpoch (key 23, versions 2–4; KIP-101, KIP-279, KIP-320): where an epoch ended.

use std::sync::Arc;

use logrun_model::{LeaderEpoch, Offset, Str, Uuid};
use logrun_wire::messages::offset_for_leader_epoch_request::{OffsetForLeaderEpochRequest, OffsetForLeaderPartition};
use logrun_wire::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};

use super::find_topic;
use crate::Broker;
use crate::context::RequestContext;
use crate::errors::Failure;

pub async fn handle(
    broker: &Arc<Broker>,
    _context: &RequestContext,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in &topic.partitions {
            partitions.push(match end_offset(broker, &topic.topic, wanted).await {
                Ok((epoch, end)) => EpochEndOffset {
                    partition: wanted.partition,
                    leader_epoch: epoch.get(),
                    end_offset: end.get(),
                    ..Default::default()
                },
                Err(failure) => EpochEndOffset {
                    partition: wanted.partition,
                    error_code: failure.code.code(),
                    ..Default::default()
                },
            });
        }
        topics.push(OffsetForLeaderTopicResult { topic: topic.topic, partitions, ..Default::default() });
    }
    OffsetForLeaderEpochResponse { topics, ..Default::default() }
}

async fn end_offset(
    broker: &Arc<Broker>,
    name: &Str,
    wanted: &OffsetForLeaderPartition,
) -> Result<(LeaderEpoch, Offset), Failure> {
    let topic = find_topic(&broker.image(), false, name, Uuid::ZERO)?;
    let partition = broker.partition(&topic, wanted.partition).await?;
    partition.end_offset_for_epoch(LeaderEpoch(wanted.current_leader_epoch), LeaderEpoch(wanted.leader_epoch))
}
