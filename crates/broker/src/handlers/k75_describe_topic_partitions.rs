//! DescribeTopicPartitions (key 75, version 0; KIP-966): topics page by page, with eligible leader replicas.
//!
//! Topics come in the order of their names; a page ends after `response_partition_limit` partitions and the
//! cursor says where the next one begins. No topic named means all.

use std::collections::BTreeSet;
use std::sync::Arc;

use logrun_model::{Str, is_internal_topic, validate_topic_name};
use logrun_wire::ErrorCode;
use logrun_wire::messages::describe_topic_partitions_request::DescribeTopicPartitionsRequest;
use logrun_wire::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
};

use super::TOPIC_OPERATIONS;
use crate::Broker;
use crate::context::RequestContext;

pub async fn handle(
    broker: &Arc<Broker>,
    _context: &RequestContext,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let image = broker.image();
    let all = request.topics.is_empty();
    let mut names: BTreeSet<Str> = if all {
        image.topics.iter().map(|t| t.name.clone()).collect()
    } else {
        request.topics.iter().map(|t| t.name.clone()).collect()
    };
    let mut first_partition = 0;
    if let Some(cursor) = &request.cursor {
        names.retain(|n| *n >= cursor.topic_name);
        first_partition = if names.first() == Some(&cursor.topic_name) { cursor.partition_index } else { 0 };
    }
    let mut left =
        request.response_partition_limit.clamp(1, broker.config().topics.max_request_partition_size_limit) as usize;
    let mut response = DescribeTopicPartitionsResponse::default();
    for name in names {
        let first = std::mem::take(&mut first_partition);
        let Some(topic) = image.topics.by_name(&name) else {
            let code = match validate_topic_name(&name) {
                Err(_) => ErrorCode::InvalidTopicException,
                Ok(()) => ErrorCode::UnknownTopicOrPartition,
            };
            response.topics.push(DescribeTopicPartitionsResponseTopic {
                error_code: code.code(),
                is_internal: is_internal_topic(&name),
                name: Some(name),
                ..Default::default()
            });
            continue;
        };
        if left == 0 {
            response.next_cursor = Some(Cursor { topic_name: name, partition_index: 0, ..Default::default() });
            break;
        }
        let mut partitions = Vec::new();
        let mut next = None;
        for (index, p) in topic.partitions.iter().map(|(i, p)| (*i, p)).filter(|(i, _)| *i >= first) {
            if left == 0 {
                next = Some(index);
                break;
            }
            left -= 1;
            partitions.push(DescribeTopicPartitionsResponsePartition {
                error_code: if p.leader.get() >= 0 { 0 } else { ErrorCode::LeaderNotAvailable.code() },
                partition_index: index,
                leader_id: p.leader.get(),
                leader_epoch: p.leader_epoch.get(),
                replica_nodes: p.replicas.iter().map(|r| r.get()).collect(),
                isr_nodes: p.isr.iter().map(|r| r.get()).collect(),
                eligible_leader_replicas: Some(p.elr.iter().map(|r| r.get()).collect()),
                last_known_elr: Some(p.last_known_elr.iter().map(|r| r.get()).collect()),
                offline_replicas: p
                    .replicas
                    .iter()
                    .filter(|r| image.cluster.broker(**r).is_none_or(|b| b.fenced))
                    .map(|r| r.get())
                    .collect(),
                ..Default::default()
            });
        }
        response.topics.push(DescribeTopicPartitionsResponseTopic {
            name: Some(name.clone()),
            topic_id: topic.id,
            is_internal: is_internal_topic(&name),
            partitions,
            topic_authorized_operations: TOPIC_OPERATIONS,
            ..Default::default()
        });
        if let Some(partition_index) = next {
            response.next_cursor = Some(Cursor { topic_name: name, partition_index, ..Default::default() });
            break;
        }
    }
    response
}
