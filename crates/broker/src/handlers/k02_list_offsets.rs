//! ListOffsets (key 2, versions 1–11; KIP-79, KIP-207, KIP-734, KIP-405, KIP-1005, KIP-1023).
//!
//! A timestamp ≥ 0 asks for the first record at or after it. The negative ones are questions of their own:
//! latest (-1), earliest (-2), greatest timestamp (-3, from version 7), earliest local (-4, from 8),
//! latest tiered (-5, from 9), earliest pending upload (-6, from 11).

use std::sync::Arc;

use logrun_model::{LeaderEpoch, TimestampMs, Uuid};
use logrun_wire::ErrorCode;
use logrun_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use logrun_wire::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};

use super::find_topic;
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
        for (i, wanted) in topic.partitions.iter().enumerate() {
            // A partition named twice is a confused client: both get the same answer of Kafka's.
            let twice =
                topic.partitions.iter().enumerate().any(|(j, p)| j != i && p.partition_index == wanted.partition_index);
            let found = if twice {
                Err(Failure::of(ErrorCode::InvalidRequest))
            } else {
                find(broker, context, &topic, wanted, fetcher).await
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

async fn find(
    broker: &Arc<Broker>,
    context: &RequestContext,
    asked: &ListOffsetsTopic,
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
    let topic = find_topic(&broker.image(), false, &asked.name, Uuid::ZERO)?;
    let all = || asked.partitions.iter().map(|p| topic.partition(p.partition_index));
    let partition = broker.partition_among(&topic, wanted.partition_index, all).await?;
    let epoch = LeaderEpoch(wanted.current_leader_epoch);
    // A search by time reads index and records: it may wait for the disk.
    match question {
        OffsetQuestion::AtOrAfter(_) | OffsetQuestion::MaxTimestamp => {
            broker.io().tasks.blocking(move || partition.find_offset(fetcher, epoch, question)).await
        }
        _ => partition.find_offset(fetcher, epoch, question),
    }
}
