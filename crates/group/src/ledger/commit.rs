//! The decisions on offsets: OffsetCommit, OffsetFetch, OffsetDelete.
//! KIP-211 (retention), KIP-320 (leader epochs), KIP-447 (stable fetches), KIP-496 (OffsetDelete).

use logrun_coordinator::records::group::{OffsetCommitKey, OffsetCommitValue};
use logrun_model::{Now, PartitionIndex, Str, TopicId};
use logrun_wire::ErrorCode;
use logrun_wire::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use logrun_wire::messages::offset_fetch_request::OffsetFetchRequestGroup;
use logrun_wire::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use logrun_wire::messages::{OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse};

use super::offsets::Committed;
use super::{Entry, Ledger, tombstone};
use crate::classic::Subscribed;
use crate::request::{commit_refused, partition_committed};

impl Ledger {
    pub(super) fn commit_offsets(&self, now: Now, request: &OffsetCommitRequest) -> (Vec<Entry>, OffsetCommitResponse) {
        let expire_timestamp = match request.retention_time_ms {
            -1 => -1,
            retention_ms => now.wall.plus_ms(retention_ms).get(),
        };
        let mut response = commit_refused(request, ErrorCode::None);
        let mut records = Vec::new();
        for (topic, answers) in request.topics.iter().zip(&mut response.topics) {
            for (partition, answer) in topic.partitions.iter().zip(&mut answers.partitions) {
                let metadata = partition.committed_metadata.clone().unwrap_or_default();
                if self.is_too_long(&metadata) {
                    let error = ErrorCode::OffsetMetadataTooLarge;
                    *answer = partition_committed(partition.partition_index, error);
                    continue;
                }
                let key = OffsetCommitKey {
                    group: request.group_id.clone(),
                    topic: topic.name.clone(),
                    partition: partition.partition_index,
                };
                let value = OffsetCommitValue {
                    offset: partition.committed_offset,
                    leader_epoch: partition.committed_leader_epoch,
                    metadata,
                    commit_timestamp: now.wall.get(),
                    expire_timestamp,
                    topic_id: topic.topic_id,
                    ..Default::default()
                };
                records.push(Entry::offset(key, Some(value)));
            }
        }
        (records, response)
    }

    /// Kafka compares the length of a Java string: UTF-16 units.
    fn is_too_long(&self, metadata: &str) -> bool {
        let max = usize::try_from(self.offset_metadata_max_bytes).unwrap_or(0);
        metadata.len() > max && metadata.encode_utf16().count() > max
    }

    pub(super) fn delete_offsets(
        &self,
        request: &OffsetDeleteRequest,
        subscribed: &Subscribed,
    ) -> (Vec<Entry>, OffsetDeleteResponse) {
        let mut records = Vec::new();
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let consumed = subscribed.contains(&topic.name);
            let error = if consumed { ErrorCode::GroupSubscribedToTopic } else { ErrorCode::None };
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in &topic.partitions {
                let partition = partition.partition_index;
                partitions.push(OffsetDeleteResponsePartition { partition_index: partition, error_code: error.code() });
                let (group, topic) = (&request.group_id, &topic.name);
                let is_there = self.offsets.get(group, topic, partition).is_some()
                    || self.offsets.is_pending(group, topic, partition);
                if !consumed && is_there {
                    records.push(tombstone(OffsetCommitKey { group: group.clone(), topic: topic.clone(), partition }));
                }
            }
            topics.push(OffsetDeleteResponseTopic { name: topic.name.clone(), partitions });
        }
        (records, OffsetDeleteResponse { topics, ..Default::default() })
    }

    pub(super) fn fetch_offsets(
        &self,
        request: &OffsetFetchRequestGroup,
        require_stable: bool,
    ) -> OffsetFetchResponseGroup {
        let group_id = &request.group_id;
        let answer = |topic: &str, topic_id: TopicId, partition: PartitionIndex, committed: Option<&Committed>| {
            let unstable = require_stable && self.offsets.is_pending(group_id, topic, partition);
            let same_topic = |c: &&Committed| c.topic_id.is_zero() || topic_id.is_zero() || c.topic_id == topic_id;
            match committed.filter(same_topic).filter(|_| !unstable) {
                Some(c) => OffsetFetchResponsePartitions {
                    partition_index: partition,
                    committed_offset: c.offset.get(),
                    committed_leader_epoch: c.leader_epoch.get(),
                    metadata: Some(c.metadata.clone()),
                    ..Default::default()
                },
                None => OffsetFetchResponsePartitions {
                    partition_index: partition,
                    committed_offset: -1,
                    committed_leader_epoch: -1,
                    metadata: Some(Str::EMPTY),
                    error_code: if unstable { ErrorCode::UnstableOffsetCommit.code() } else { 0 },
                    ..Default::default()
                },
            }
        };
        let topics = match &request.topics {
            Some(topics) => topics
                .iter()
                .map(|t| {
                    let of =
                        |p: &PartitionIndex| answer(&t.name, t.topic_id, *p, self.offsets.get(group_id, &t.name, *p));
                    OffsetFetchResponseTopics {
                        name: t.name.clone(),
                        topic_id: t.topic_id,
                        partitions: t.partition_indexes.iter().map(of).collect(),
                        ..Default::default()
                    }
                })
                .collect(),
            None => {
                let all = self.offsets.of_group(group_id).into_iter().flatten();
                all.map(|(name, partitions)| OffsetFetchResponseTopics {
                    name: name.clone(),
                    partitions: partitions.iter().map(|(p, c)| answer(name, TopicId::ZERO, *p, Some(c))).collect(),
                    ..Default::default()
                })
                .collect()
            }
        };
        OffsetFetchResponseGroup { group_id: group_id.clone(), topics, ..Default::default() }
    }
}
