//! Metadata (key 3, versions 0–13; KIP-4, KIP-430, KIP-516, KIP-1102).
//!
//! | version | what it brought                                             |
//! |---------|-------------------------------------------------------------|
//! | 1       | a null topic list is all topics, an empty one none; controller |
//! | 4       | the client says whether a missing topic may be made         |
//! | 5, 7    | offline replicas; leader epochs                             |
//! | 8       | authorized operations                                       |
//! | 10, 12  | topic ids; asking by topic id                               |
//! | 13      | top-level error                                             |
//!
//! A missing topic is made here if the broker and the client allow it; meanwhile the answer is
//! UNKNOWN_TOPIC_OR_PARTITION, which clients retry. Addresses are those that the asking client can reach.

use std::sync::Arc;

use logrun_metadata::{MetadataImage, PartitionRegistration, TopicImage};
use logrun_model::{NodeId, Str, Uuid, is_internal_topic, validate_topic_name};
use logrun_wire::ErrorCode;
use logrun_wire::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use logrun_wire::messages::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};

use super::{CLUSTER_OPERATIONS, NO_OPERATIONS, TOPIC_OPERATIONS};
use crate::Broker;
use crate::context::RequestContext;

pub async fn handle(broker: &Arc<Broker>, context: &RequestContext, request: MetadataRequest) -> MetadataResponse {
    let version = context.api_version;
    let wanted = match request.topics {
        Some(topics) if version == 0 && topics.is_empty() => None,
        other => other,
    };
    let topics = match &wanted {
        None => broker.image().topics.iter().map(|t| describe(broker, context, t, version)).collect(),
        Some(wanted) => {
            let may_create =
                (request.allow_auto_topic_creation || version < 4) && broker.config().topics.auto_create_enable;
            named(broker, context, wanted, may_create).await
        }
    };
    let mut topics: Vec<MetadataResponseTopic> = topics;
    if request.include_topic_authorized_operations {
        for topic in topics.iter_mut().filter(|t| t.error_code == 0) {
            topic.topic_authorized_operations = TOPIC_OPERATIONS;
        }
    }
    let image = broker.image();
    let brokers = image.cluster.brokers.values().filter(|b| !b.fenced).filter_map(|b| {
        let (host, port) = broker.endpoint_of(context, b.id)?;
        Some(MetadataResponseBroker { node_id: b.id.get(), host, port, rack: b.rack.clone(), ..Default::default() })
    });
    MetadataResponse {
        brokers: brokers.collect(),
        cluster_id: Some(broker.cluster_id()),
        controller_id: broker.controller_id().get(),
        topics,
        cluster_authorized_operations: if request.include_cluster_authorized_operations {
            CLUSTER_OPERATIONS
        } else {
            NO_OPERATIONS
        },
        ..Default::default()
    }
}

async fn named(
    broker: &Arc<Broker>,
    context: &RequestContext,
    wanted: &[MetadataRequestTopic],
    may_create: bool,
) -> Vec<MetadataResponseTopic> {
    let image = broker.image();
    let mut out = Vec::with_capacity(wanted.len());
    let mut missing = Vec::new();
    for topic in wanted {
        let by_id = !topic.topic_id.is_zero();
        let found = match &topic.name {
            _ if by_id => image.topics.by_id(topic.topic_id),
            Some(name) => image.topics.by_name(name),
            None => None,
        };
        out.push(match (found, &topic.name) {
            (Some(found), _) => describe(broker, context, found, context.api_version),
            (None, _) if by_id => failed(ErrorCode::UnknownTopicId, None, topic.topic_id),
            (None, Some(name)) if validate_topic_name(name).is_err() => {
                failed(ErrorCode::InvalidTopicException, Some(name.clone()), Uuid::ZERO)
            }
            (None, Some(name)) => {
                if may_create {
                    missing.push(name.clone());
                }
                failed(ErrorCode::UnknownTopicOrPartition, Some(name.clone()), Uuid::ZERO)
            }
            (None, None) => failed(ErrorCode::InvalidRequest, Some(Str::EMPTY), Uuid::ZERO),
        });
    }
    if !missing.is_empty() {
        for (name, code) in broker.controller().auto_create(broker, &missing).await {
            if let Some(entry) = out.iter_mut().find(|t| t.name.as_ref() == Some(&name)) {
                entry.error_code = code.code();
            }
        }
    }
    out
}

fn failed(code: ErrorCode, name: Option<Str>, topic_id: Uuid) -> MetadataResponseTopic {
    MetadataResponseTopic {
        error_code: code.code(),
        is_internal: name.as_ref().is_some_and(|n| is_internal_topic(n)),
        name,
        topic_id,
        ..Default::default()
    }
}

fn describe(broker: &Broker, context: &RequestContext, topic: &TopicImage, version: i16) -> MetadataResponseTopic {
    let image = broker.image();
    let partitions = topic.partitions.iter().map(|(i, p)| (*i, p)).map(|(index, p)| {
        let live = |id: &i32| image.cluster.broker((*id).into()).is_some_and(|b| !b.fenced);
        // KIP-951's leader must be one that the client can be told the address of.
        let leader_known = p.leader.get() >= 0 && broker.endpoint_of(context, p.leader).is_some();
        let replicas: Vec<i32> = p.replicas.iter().map(|r| r.get()).collect();
        MetadataResponsePartition {
            error_code: if leader_known { 0 } else { ErrorCode::LeaderNotAvailable.code() },
            partition_index: index,
            leader_id: if leader_known { p.leader.get() } else { -1 },
            leader_epoch: p.leader_epoch.get(),
            isr_nodes: p.isr.iter().map(|r| r.get()).collect(),
            offline_replicas: if version >= 5 { offline(&image, p, live) } else { Vec::new() },
            replica_nodes: replicas,
            ..Default::default()
        }
    });
    MetadataResponseTopic {
        name: Some(topic.name.clone()),
        topic_id: topic.id,
        is_internal: is_internal_topic(&topic.name),
        partitions: partitions.collect(),
        ..Default::default()
    }
}

/// The replicas whose broker does not live, or whose log directory has failed (KIP-858).
fn offline(image: &MetadataImage, p: &PartitionRegistration, live: impl Fn(&i32) -> bool) -> Vec<i32> {
    let dir_failed = |r: &NodeId| match (image.cluster.broker(*r), p.directory(*r)) {
        (Some(broker), Some(dir)) => !broker.has_online_directory(dir),
        _ => false,
    };
    p.replicas.iter().filter(|r| !live(&r.get()) || dir_failed(r)).map(|r| r.get()).collect()
}
