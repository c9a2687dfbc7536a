//! DescribeQuorum (key 55, versions 0–2; KIP-595, KIP-836, KIP-853): the metadata quorum's leader, voters and observers.
//!
//! Version 1 adds when each replica fetched and was caught up last, version 2 the voters' directories and addresses.
//! Any topic but the metadata's is UNKNOWN_TOPIC_OR_PARTITION. The leader has fetched from itself just now; in a
//! quorum of one the others are observers, which is what brokers are.

use std::sync::Arc;

use logrun_metadata::MetadataImage;
use logrun_model::{Str, TimestampMs, Uuid};
use logrun_wire::ErrorCode;
use logrun_wire::messages::describe_quorum_request::{self, DescribeQuorumRequest};
use logrun_wire::messages::describe_quorum_response::{
    DescribeQuorumResponse, Listener, Node, PartitionData, ReplicaState, TopicData,
};

use super::METADATA_TOPIC;
use crate::Broker;
use crate::context::RequestContext;
use crate::controller::{Observed, Quorum};

pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: DescribeQuorumRequest,
) -> DescribeQuorumResponse {
    if !asks_for_metadata(&request.topics) {
        return unknown(context.api_version, request.topics);
    }
    let Some(quorum) = broker.controller().quorum() else {
        // The controllers are elsewhere, and none has answered.
        let (error_code, error_message) = (ErrorCode::RequestTimedOut.code(), None);
        return DescribeQuorumResponse { error_code, error_message, ..Default::default() };
    };
    described(context.api_version, quorum, &broker.image(), broker.now().wall)
}

fn described(version: i16, quorum: Quorum, image: &MetadataImage, now: TimestampMs) -> DescribeQuorumResponse {
    let voter = ReplicaState {
        replica_id: quorum.leader_id.get(),
        replica_directory_id: if version >= 2 { quorum.directory_id } else { Uuid::ZERO },
        log_end_offset: quorum.log_end_offset.get(),
        last_fetch_timestamp: now.get(),
        last_caught_up_timestamp: now.get(),
        ..Default::default()
    };
    let observer = |o: &Observed| ReplicaState {
        replica_id: o.id.get(),
        replica_directory_id: if version >= 2 { o.directory_id } else { Uuid::ZERO },
        log_end_offset: o.log_end_offset.get(),
        last_fetch_timestamp: o.last_fetch.get(),
        last_caught_up_timestamp: o.last_caught_up.get(),
        ..Default::default()
    };
    let partition = PartitionData {
        leader_id: quorum.leader_id.get(),
        leader_epoch: quorum.leader_epoch.get(),
        // With one voter what is published is what is committed.
        high_watermark: image.provenance.offset.get() + 1,
        current_voters: vec![voter],
        observers: quorum.observers.iter().map(observer).collect(),
        error_message: no_message(version),
        ..Default::default()
    };
    let topic = TopicData { topic_name: METADATA_TOPIC.into(), partitions: vec![partition], ..Default::default() };
    let registered = image.cluster.controllers.values().filter(|c| version >= 2 && c.id == quorum.leader_id);
    let nodes = registered.map(|c| {
        let listeners = c.listeners.iter().map(|l| Listener {
            name: l.name.clone(),
            host: l.host.clone(),
            port: l.port,
            ..Default::default()
        });
        Node { node_id: c.id.get(), listeners: listeners.collect(), ..Default::default() }
    });
    DescribeQuorumResponse {
        topics: vec![topic],
        error_message: no_message(version),
        nodes: nodes.collect(),
        ..Default::default()
    }
}

/// Whether exactly the one partition of the metadata is asked for.
fn asks_for_metadata(topics: &[describe_quorum_request::TopicData]) -> bool {
    match topics {
        [topic] => {
            topic.topic_name == *METADATA_TOPIC && matches!(topic.partitions.as_slice(), [p] if p.partition_index == 0)
        }
        _ => false,
    }
}

fn unknown(version: i16, topics: Vec<describe_quorum_request::TopicData>) -> DescribeQuorumResponse {
    let code = ErrorCode::UnknownTopicOrPartition;
    let topics = topics.into_iter().map(|t| {
        let partitions = t.partitions.into_iter().map(|p| PartitionData {
            partition_index: p.partition_index,
            error_code: code.code(),
            error_message: (version >= 2).then(|| "Only the partition 0 of __cluster_metadata has a quorum.".into()),
            ..Default::default()
        });
        TopicData { topic_name: t.topic_name, partitions: partitions.collect(), ..Default::default() }
    });
    DescribeQuorumResponse { topics: topics.collect(), error_message: no_message(version), ..Default::default() }
}

/// Where nothing is wrong Kafka's message is empty and not null.
fn no_message(version: i16) -> Option<Str> {
    (version >= 2).then_some(Str::EMPTY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use logrun_model::{MetadataOffset, NodeId, RaftEpoch};
    use logrun_wire::Message;

    #[test]
    fn every_version_has_what_it_can_carry() {
        let quorum = Quorum {
            leader_id: NodeId(1),
            directory_id: Uuid::from_random(7).unwrap(),
            leader_epoch: RaftEpoch(3),
            log_end_offset: MetadataOffset(20),
            kraft_version: 1,
            observers: vec![Observed {
                id: NodeId(5),
                directory_id: Uuid::from_random(8).unwrap(),
                log_end_offset: MetadataOffset(19),
                last_fetch: TimestampMs(4),
                last_caught_up: TimestampMs::NONE,
            }],
        };
        let image = MetadataImage::empty("c");
        for version in 0..=2 {
            let response = described(version, quorum.clone(), &image, TimestampMs(5));
            response.to_bytes(version).unwrap();
            let voter = &response.topics[0].partitions[0].current_voters[0];
            assert_eq!((voter.log_end_offset, voter.replica_directory_id.is_zero()), (20, version < 2));
            unknown(version, Vec::new()).to_bytes(version).unwrap();
        }
    }

    #[test]
    fn only_the_metadata_partition_is_described() {
        let topic = |name: &str, partitions: &[i32]| describe_quorum_request::TopicData {
            topic_name: name.into(),
            partitions: partitions
                .iter()
                .map(|&partition_index| describe_quorum_request::PartitionData {
                    partition_index,
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        };
        assert!(asks_for_metadata(&[topic(METADATA_TOPIC, &[0])]));
        assert!(!asks_for_metadata(&[]));
        assert!(!asks_for_metadata(&[topic(METADATA_TOPIC, &[1])]));
        assert!(!asks_for_metadata(&[topic(METADATA_TOPIC, &[0, 0])]));
        assert!(!asks_for_metadata(&[topic(METADATA_TOPIC, &[0]), topic(METADATA_TOPIC, &[0])]));
        let refused = unknown(2, vec![topic("other", &[0])]);
        assert_eq!(refused.topics[0].partitions[0].error_code, ErrorCode::UnknownTopicOrPartition.code());
    }
}
