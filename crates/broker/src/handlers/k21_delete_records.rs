//! DeleteRecords (key 21, versions 0–2; KIP-107): moves a partition's log start offset up.
//!
//! Offset -1 stands for the high watermark. The low watermark answered is the least log start offset
//! of the partition's live replicas: with one replica its own.

use std::sync::Arc;

use logrun_model::{Offset, Str, Uuid, is_internal_topic};
use logrun_wire::ErrorCode;
use logrun_wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsRequest};
use logrun_wire::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsResponse, DeleteRecordsTopicResult,
};

use super::find_topic;
use crate::Broker;
use crate::context::RequestContext;
use crate::errors::Failure;

pub async fn handle(
    broker: &Arc<Broker>,
    _context: &RequestContext,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in topic.partitions {
            let result = delete(broker, &topic.name, &wanted).await;
            partitions.push(DeleteRecordsPartitionResult {
                partition_index: wanted.partition_index,
                low_watermark: result.as_ref().map_or(-1, |o| o.get()),
                error_code: result.err().map_or(0, |f| f.code.code()),
                ..Default::default()
            });
        }
        topics.push(DeleteRecordsTopicResult { name: topic.name, partitions, ..Default::default() });
    }
    DeleteRecordsResponse { topics, ..Default::default() }
}

async fn delete(broker: &Arc<Broker>, name: &Str, wanted: &DeleteRecordsPartition) -> Result<Offset, Failure> {
    let topic = find_topic(&broker.image(), false, name, Uuid::ZERO)?;
    if is_internal_topic(&topic.name) {
        return Err(Failure::of(ErrorCode::InvalidTopicException));
    }
    let partition = broker.partition(&topic, wanted.partition_index).await?;
    let (offset, now) = (wanted.offset, broker.now());
    broker.io().tasks.blocking(move || partition.delete_records_before(now, Offset(offset))).await
}
