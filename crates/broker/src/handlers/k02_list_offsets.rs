//! ListOffsets (key 2, versions 1–11; KIP-79, KIP-207, KIP-734, KIP-405, KIP-1005, KIP-1023).
//!
//! A timestamp ≥ 0 asks for the first record at or after it. The negative ones are questions of their own:
//! latest (-1), earliest (-2), greatest timestamp (-3, from version 7), earliest local (-4, from 8),
//! latest tiered (-5, from 9), earliest pending upload (-6, from 11).

use std::collections::BTreeSet;
use std::sync::Arc;

use logrun_model::{LeaderEpoch, PartitionIndex, TimestampMs, TopicIdPartition, Uuid};
use logrun_wire::ErrorCode;
use logrun_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest};
use logrun_wire::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};

use super::{FoundTopic, find_topic};
use crate::Broker;
use crate::context::RequestContext;
use crate::errors::Failure;
use crate::partitions::{Fetcher, FoundOffset, OffsetQuestion};

pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let fetcher = Fetcher::from_wire(request.replica_id, -1, request.isolation_level);
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        let twice = named_twice(&topic.partitions);
        let target = find_topic(&broker.image(), false, &topic.name, Uuid::ZERO);
        let named = &topic.partitions;
        let mut all = target.as_ref().ok().map(|t| || named.iter().map(|p| t.partition(p.partition_index)));
        for wanted in &topic.partitions {
            let found = if twice.contains(&wanted.partition_index) {
                Err(Failure::of(ErrorCode::InvalidRequest))
            } else {
                find(broker, context, &target, &mut all, wanted, fetcher).await
            };
            partitions.push(match found {
                Ok(found) => ListOffsetsPartitionResponse {
                    partition_index: wanted.partition_index,
                    timestamp: found.timestamp.get(),
                    offset: found.offset.get(),
                    leader_epoch: if context.api_version >= 4 { found.leader_epoch.get() } else { -1 },
                    ..Default::default()
                },
                Err(failure) => ListOffsetsPartitionResponse {
                    partition_index: wanted.partition_index,
                    error_code: failure.code.code(),
                    ..Default::default()
                },
            });
        }
        topics.push(ListOffsetsTopicResponse { name: topic.name, partitions, ..Default::default() });
    }
    ListOffsetsResponse { topics, ..Default::default() }
}

/// The partitions that are named more than once: a confused client gets the same answer of Kafka's for each time.
fn named_twice(partitions: &[ListOffsetsPartition]) -> BTreeSet<PartitionIndex> {
    let mut seen = BTreeSet::new();
    partitions.iter().map(|p| p.partition_index).filter(|index| !seen.insert(*index)).collect()
}

async fn find<I: Iterator<Item = TopicIdPartition>>(
    broker: &Arc<Broker>,
    context: &RequestContext,
    target: &Result<FoundTopic, Failure>,
    all: &mut Option<impl FnOnce() -> I>,
    wanted: &ListOffsetsPartition,
    fetcher: Fetcher,
) -> Result<FoundOffset, Failure> {
    let question = match (wanted.timestamp, context.api_version) {
        (-1, _) => OffsetQuestion::Latest,
        (-2, _) => OffsetQuestion::Earliest,
        (-3, 7..) => OffsetQuestion::MaxTimestamp,
        (-4, 8..) => OffsetQuestion::EarliestLocal,
        (-5, 9..) => OffsetQuestion::LatestTiered,
        (-6, 11..) => OffsetQuestion::EarliestPendingUpload,
        (t, _) if t >= 0 => OffsetQuestion::AtOrAfter(TimestampMs(t)),
        _ => return Err(Failure::of(ErrorCode::UnsupportedVersion)),
    };
    let topic = target.as_ref().map_err(Failure::clone)?;
    let partition = broker.partition_among(topic, wanted.partition_index, all).await?;
    let epoch = LeaderEpoch(wanted.current_leader_epoch);
    // A search by time reads index and records: it may wait for the disk.
    match question {
        OffsetQuestion::AtOrAfter(_) | OffsetQuestion::MaxTimestamp => {
            broker.io().tasks.blocking(move || partition.find_offset(fetcher, epoch, question)).await
        }
        _ => partition.find_offset(fetcher, epoch, question),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_named_more_than_once_are_found() {
        let named = |indexes: &[i32]| {
            let each = indexes.iter().map(|i| ListOffsetsPartition { partition_index: *i, ..Default::default() });
            named_twice(&each.collect::<Vec<_>>()).into_iter().collect::<Vec<_>>()
        };
        assert!(named(&[]).is_empty() && named(&[3, 1, 2]).is_empty());
        assert_eq!(named(&[3, 1, 3, 2, 1, 3]), [1, 3]);
    }
}
