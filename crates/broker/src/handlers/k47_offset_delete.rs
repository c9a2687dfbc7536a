//! OffsetDelete (key 47, version 0; KIP-496): removes committed offsets of topics that the group does not subscribe to.
//!
//! The group decides. A topic or partition that does not exist gets its error here and does not hold up the others.

use std::sync::Arc;

use logrun_metadata::MetadataImage;
use logrun_model::Uuid;
use logrun_wire::ErrorCode;
use logrun_wire::messages::offset_delete_request::OffsetDeleteRequestTopic;
use logrun_wire::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use logrun_wire::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

use super::find_topic;
use crate::Broker;
use crate::context::RequestContext;

pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    mut request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    let unknown = take_unknown(&broker.image(), &mut request.topics);
    // The group is asked even if nothing is left: what is wrong with it goes before what is wrong with topics.
    merged(unknown, broker.groups().offset_delete(context, request).await)
}

/// Takes what does not exist out of the request and gives its answers.
fn take_unknown(image: &MetadataImage, topics: &mut Vec<OffsetDeleteRequestTopic>) -> Vec<OffsetDeleteResponseTopic> {
    let mut unknown = Vec::new();
    for topic in topics.iter_mut() {
        let found = find_topic(image, false, &topic.name, Uuid::ZERO).ok();
        let (known, missing): (Vec<_>, Vec<_>) = std::mem::take(&mut topic.partitions)
            .into_iter()
            .partition(|p| found.as_ref().is_some_and(|t| t.has_partition(p.partition_index)));
        topic.partitions = known;
        if !missing.is_empty() {
            let partitions = missing.iter().map(|p| OffsetDeleteResponsePartition {
                partition_index: p.partition_index,
                error_code: ErrorCode::UnknownTopicOrPartition.code(),
            });
            unknown.push(OffsetDeleteResponseTopic { name: topic.name.clone(), partitions: partitions.collect() });
        }
    }
    topics.retain(|topic| !topic.partitions.is_empty());
    unknown
}

/// The answers for what does not exist and the group's; a group that refuses the request answers alone.
fn merged(unknown: Vec<OffsetDeleteResponseTopic>, group: OffsetDeleteResponse) -> OffsetDeleteResponse {
    if group.error_code != ErrorCode::None.code() {
        return group;
    }
    let mut out = OffsetDeleteResponse { topics: unknown, ..group };
    for topic in group.topics {
        match out.topics.iter_mut().find(|t| t.name == topic.name) {
            Some(t) => t.partitions.extend(topic.partitions),
            None => out.topics.push(topic),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use logrun_wire::messages::offset_delete_request::OffsetDeleteRequestPartition;

    fn answer(name: &str, partition_index: i32, error: ErrorCode) -> OffsetDeleteResponseTopic {
        let partition = OffsetDeleteResponsePartition { partition_index, error_code: error.code() };
        OffsetDeleteResponseTopic { name: name.into(), partitions: vec![partition] }
    }

    #[test]
    fn what_does_not_exist_is_answered_without_the_group() {
        let partitions = vec![OffsetDeleteRequestPartition { partition_index: 3 }];
        let mut topics = vec![OffsetDeleteRequestTopic { name: "t".into(), partitions }];
        let unknown = take_unknown(&MetadataImage::default(), &mut topics);
        assert!(topics.is_empty());
        assert_eq!(unknown, [answer("t", 3, ErrorCode::UnknownTopicOrPartition)]);
    }

    #[test]
    fn a_groups_refusal_goes_before_unknown_topics() {
        let unknown = || vec![answer("t", 3, ErrorCode::UnknownTopicOrPartition)];
        let refused = OffsetDeleteResponse { error_code: ErrorCode::GroupIdNotFound.code(), ..Default::default() };
        assert_eq!(merged(unknown(), refused.clone()), refused);
        let topics = vec![answer("t", 0, ErrorCode::None), answer("u", 1, ErrorCode::GroupSubscribedToTopic)];
        let out = merged(unknown(), OffsetDeleteResponse { topics, ..Default::default() });
        let codes: Vec<Vec<i16>> =
            out.topics.iter().map(|t| t.partitions.iter().map(|p| p.error_code).collect()).collect();
        assert_eq!(codes, [vec![3, 0], vec![86]]);
    }
}
