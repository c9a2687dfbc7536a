//! DescribeProducers (key 61, version 0; KIP-664): the producers that a partition remembers, and their open
//! transactions.
//!
//! A topic whose name is none is INVALID_TOPIC_EXCEPTION.

use std::sync::Arc;

use logrun_model::{PartitionIndex, Str, Uuid, validate_topic_name};
use logrun_wire::ErrorCode;
use logrun_wire::messages::DescribeProducersRequest;
use logrun_wire::messages::describe_producers_response::{
    DescribeProducersResponse, PartitionResponse, ProducerState, TopicResponse,
};

use super::find_topic;
use crate::Broker;
use crate::context::RequestContext;
use crate::errors::Failure;

pub async fn handle(
    broker: &Arc<Broker>,
    _context: &RequestContext,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partition_indexes.len());
        for &partition_index in &topic.partition_indexes {
            partitions.push(match producers(broker, &topic.name, partition_index).await {
                Ok(active_producers) => PartitionResponse { partition_index, active_producers, ..Default::default() },
                Err(failure) => PartitionResponse {
                    partition_index,
                    error_code: failure.code.code(),
                    error_message: failure.message.as_deref().map(Into::into),
                    ..Default::default()
                },
            });
        }
        topics.push(TopicResponse { name: topic.name, partitions, ..Default::default() });
    }
    DescribeProducersResponse { topics, ..Default::default() }
}

async fn producers(broker: &Arc<Broker>, name: &Str, index: PartitionIndex) -> Result<Vec<ProducerState>, Failure> {
    validate_topic_name(name).map_err(|e| Failure::with(ErrorCode::InvalidTopicException, e.to_string()))?;
    let topic = find_topic(&broker.image(), false, name, Uuid::ZERO)?;
    let mut producers = broker.partition(&topic, index).await?.active_producers();
    producers.sort_by_key(|p| p.producer_id);
    let states = producers.iter().map(|p| ProducerState {
        producer_id: p.producer_id.get(),
        producer_epoch: i32::from(p.producer_epoch.get()),
        last_sequence: p.last_sequence().get(),
        last_timestamp: p.last_timestamp.get(),
        coordinator_epoch: p.coordinator_epoch.get(),
        current_txn_start_offset: p.current_txn_first_offset.map_or(-1, |o| o.get()),
        ..Default::default()
    });
    Ok(states.collect())
}
