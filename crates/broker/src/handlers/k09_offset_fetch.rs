//! OffsetFetch (key 9, versions 1–10; KIP-447, KIP-709, KIP-848).
//!
//! | version | what it brought                                         |
//! |---------|---------------------------------------------------------|
//! | 2       | all topics of a group (no topics given); group error     |
//! | 5       | leader epochs                                           |
//! | 6       | flexible                                                |
//! | 7       | `require_stable`                                        |
//! | 8       | several groups in one request                           |
//! | 9       | member id and epoch                                     |
//! | 10      | topic ids                                               |
//!
//! Up to version 7 the one group is turned into the newer form and its answer back.

use std::sync::Arc;

use logrun_wire::ErrorCode;
use logrun_wire::messages::offset_fetch_request::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use logrun_wire::messages::offset_fetch_response::{
    OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};

use super::find_topic;
use crate::Broker;
use crate::context::RequestContext;

pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    if context.api_version >= 8 {
        let mut groups = Vec::with_capacity(request.groups.len());
        for group in request.groups {
            groups.push(fetch(broker, context, group, request.require_stable).await);
        }
        return OffsetFetchResponse { groups, ..Default::default() };
    }
    let group = OffsetFetchRequestGroup {
        group_id: request.group_id,
        member_epoch: -1,
        topics: request.topics.map(|topics| {
            let each = topics.into_iter().map(|t| OffsetFetchRequestTopics {
                name: t.name,
                partition_indexes: t.partition_indexes,
                ..Default::default()
            });
            each.collect()
        }),
        ..Default::default()
    };
    let group = fetch(broker, context, group, request.require_stable).await;
    let topics = group.topics.into_iter().map(|t| OffsetFetchResponseTopic {
        name: t.name,
        partitions: t
            .partitions
            .into_iter()
            .map(|p| OffsetFetchResponsePartition {
                partition_index: p.partition_index,
                committed_offset: p.committed_offset,
                committed_leader_epoch: p.committed_leader_epoch,
                metadata: p.metadata,
                // Version 1 has no place for the group's error but in its partitions.
                error_code: if group.error_code != 0 { group.error_code } else { p.error_code },
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    });
    OffsetFetchResponse { topics: topics.collect(), error_code: group.error_code, ..Default::default() }
}

async fn fetch(
    broker: &Arc<Broker>,
    context: &RequestContext,
    mut group: OffsetFetchRequestGroup,
    require_stable: bool,
) -> OffsetFetchResponseGroup {
    let by_id = context.api_version >= 10;
    let mut unknown = Vec::new();
    let wanted = group.topics.clone();
    if by_id && let Some(topics) = &mut group.topics {
        let image = broker.image();
        topics.retain_mut(|topic| match find_topic(&image, true, &topic.name, topic.topic_id) {
            Ok(found) => {
                topic.name = found.name;
                true
            }
            Err(_) => {
                unknown.push(OffsetFetchResponseTopics {
                    topic_id: topic.topic_id,
                    partitions: topic
                        .partition_indexes
                        .iter()
                        .map(|p| no_offset(*p, ErrorCode::UnknownTopicId))
                        .collect(),
                    ..Default::default()
                });
                false
            }
        });
    }
    let mut response = broker.groups().offset_fetch(context, group, require_stable).await;
    if by_id {
        let image = broker.image();
        // Offsets of topics that are gone have no id to be named by.
        response.topics.retain_mut(|topic| match image.topics.by_name(&topic.name) {
            Some(found) => {
                topic.topic_id = found.id;
                true
            }
            None => false,
        });
        response.topics.extend(unknown);
    }
    if response.error_code != 0
        && context.api_version < 8
        && let Some(topics) = wanted
    {
        let code = ErrorCode::from_code(response.error_code).unwrap_or(ErrorCode::UnknownServerError);
        let each = topics.into_iter().map(|t| OffsetFetchResponseTopics {
            partitions: t.partition_indexes.iter().map(|p| no_offset(*p, code)).collect(),
            name: t.name,
            ..Default::default()
        });
        response.topics = each.collect();
    }
    response
}

fn no_offset(partition_index: i32, code: ErrorCode) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(Default::default()),
        error_code: code.code(),
        ..Default::default()
    }
}
