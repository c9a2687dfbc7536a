//! OffsetCommit (key 8, versions 2–10; KIP-211, KIP-320, KIP-345, KIP-848).
//!
//! | version | what it brought                     |
//! |---------|-------------------------------------|
//! | 5       | no retention time any more          |
//! | 6       | leader epochs                       |
//! | 7       | static members                      |
//! | 8       | flexible                            |
//! | 10      | topic ids                           |
//!
//! Topics are checked and named here; whether the commit is allowed is the group's business. A topic that
//! does not exist gets its error and does not hold up the others.

use std::sync::Arc;

use logrun_wire::messages::offset_commit_request::OffsetCommitRequest;
use logrun_wire::messages::offset_commit_response::{
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};

use super::find_topic;
use crate::Broker;
use crate::context::RequestContext;

pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    mut request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let image = broker.image();
    let by_id = context.api_version >= 10;
    // Answers in the order of the request: `Err` is an answer given here, `Ok` one to come from the group.
    let mut order = Vec::with_capacity(request.topics.len());
    let mut known = Vec::with_capacity(request.topics.len());
    for mut topic in std::mem::take(&mut request.topics) {
        match find_topic(&image, by_id, &topic.name, topic.topic_id) {
            Ok(found) => {
                let (mut here, mut missing) = (Vec::new(), Vec::new());
                for p in std::mem::take(&mut topic.partitions) {
                    if found.has_partition(p.partition_index) { here.push(p) } else { missing.push(p.partition_index) }
                }
                topic.name = found.name.clone();
                topic.topic_id = found.id;
                topic.partitions = here;
                if !missing.is_empty() {
                    let code = logrun_wire::ErrorCode::UnknownTopicOrPartition;
                    order.push(refused(&topic.name, topic.topic_id, missing.into_iter(), code.code()));
                }
                if !topic.partitions.is_empty() {
                    known.push(topic);
                }
            }
            Err(failure) => {
                let partitions = topic.partitions.iter().map(|p| p.partition_index);
                order.push(refused(&topic.name, topic.topic_id, partitions, failure.code.code()));
            }
        }
    }
    request.topics = known;
    let mut response = if request.topics.is_empty() && !order.is_empty() {
        OffsetCommitResponse::default()
    } else {
        broker.groups().offset_commit(context, request).await
    };
    for topic in &mut response.topics {
        if by_id && let Some(found) = image.topics.by_name(&topic.name) {
            topic.topic_id = found.id;
        }
    }
    for topic in order {
        match response.topics.iter_mut().find(|t| t.name == topic.name && t.topic_id == topic.topic_id) {
            Some(t) => t.partitions.extend(topic.partitions),
            None => response.topics.push(topic),
        }
    }
    response
}

fn refused(
    name: &logrun_model::Str,
    topic_id: logrun_model::Uuid,
    partitions: impl Iterator<Item = i32>,
    error_code: i16,
) -> OffsetCommitResponseTopic {
    OffsetCommitResponseTopic {
        name: name.clone(),
        topic_id,
        partitions: partitions
            .map(|partition_index| OffsetCommitResponsePartition { partition_index, error_code, ..Default::default() })
            .collect(),
        ..Default::default()
    }
}
