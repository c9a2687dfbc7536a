//! ListPartitionReassignments (key 46, version 0; KIP-455): the partitions that get or lose replicas just now.
//!
//! Told from the metadata. Topics and partitions that don't exist, or that nothing happens to, are left out.

use std::sync::Arc;

use logrun_metadata::image::ids;
use logrun_metadata::{MetadataImage, TopicImage};
use logrun_model::PartitionIndex;
use logrun_wire::messages::ListPartitionReassignmentsRequest;
use logrun_wire::messages::list_partition_reassignments_response::{
    ListPartitionReassignmentsResponse, OngoingPartitionReassignment, OngoingTopicReassignment,
};

use crate::Broker;
use crate::context::RequestContext;

pub async fn handle(
    broker: &Arc<Broker>,
    _context: &RequestContext,
    request: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    ListPartitionReassignmentsResponse { topics: ongoing(&broker.image(), &request), ..Default::default() }
}

fn ongoing(image: &MetadataImage, request: &ListPartitionReassignmentsRequest) -> Vec<OngoingTopicReassignment> {
    match &request.topics {
        Some(topics) => {
            let known = topics.iter().filter_map(|t| Some((image.topics.by_name(&t.name)?, &t.partition_indexes)));
            known.filter_map(|(topic, indexes)| ongoing_of(topic, indexes.iter().copied())).collect()
        }
        None => image.topics.iter_by_name(None).filter_map(|t| ongoing_of(t, t.partitions.keys().copied())).collect(),
    }
}

fn ongoing_of(topic: &TopicImage, indexes: impl Iterator<Item = PartitionIndex>) -> Option<OngoingTopicReassignment> {
    let reassigning = indexes.filter_map(|index| {
        let partition = topic.partition(index).filter(|p| p.is_reassigning())?;
        Some(OngoingPartitionReassignment {
            partition_index: index,
            replicas: ids(&partition.replicas),
            adding_replicas: ids(&partition.adding_replicas),
            removing_replicas: ids(&partition.removing_replicas),
            ..Default::default()
        })
    });
    let partitions: Vec<_> = reassigning.collect();
    (!partitions.is_empty()).then(|| OngoingTopicReassignment {
        name: topic.name.clone(),
        partitions,
        ..Default::default()
    })
}
