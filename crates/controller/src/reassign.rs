//! AlterPartitionReassignments (KIP-455), as far as a cluster of one broker can be asked for it.
//!
//! To be told the replicas that a partition has already changes nothing and is no error: that is how Apache's
//! `kafka-reassign-partitions` begins when it moves a replica between log directories. A move between brokers is refused.

use logrun_coordinator::Decision;
use logrun_model::{NodeId, PartitionIndex, Str};
use logrun_wire::ErrorCode;
use logrun_wire::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use logrun_wire::messages::{AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse};

use crate::command::Reply;
use crate::error::{ApiError, outcome};
use crate::machine::{Controller, Decided};

impl Controller {
    pub(crate) fn alter_partition_reassignments(&self, request: &AlterPartitionReassignmentsRequest) -> Decided {
        let responses = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|p| {
                let result = self.reassign(&topic.name, p.partition_index, p.replicas.as_deref());
                let (error_code, error_message) = outcome(&result);
                let partition_index = p.partition_index;
                ReassignablePartitionResponse { partition_index, error_code, error_message, ..Default::default() }
            });
            let partitions = partitions.collect();
            ReassignableTopicResponse { name: topic.name.clone(), partitions, ..Default::default() }
        });
        let response = AlterPartitionReassignmentsResponse {
            allow_replication_factor_change: request.allow_replication_factor_change,
            responses: responses.collect(),
            ..Default::default()
        };
        Decision::reply(Reply::AlterPartitionReassignments(response))
    }

    fn reassign(&self, topic: &Str, index: PartitionIndex, replicas: Option<&[i32]>) -> Result<(), ApiError> {
        let partition = self.image.topics.by_name(topic).and_then(|t| t.partition(index));
        let partition = partition.ok_or_else(|| {
            let message = format!("Unable to find a partition {topic}-{index}.");
            ApiError::new(ErrorCode::UnknownTopicOrPartition, message)
        })?;
        let Some(replicas) = replicas else {
            return Err(ErrorCode::NoReassignmentInProgress.into());
        };
        self.check_assignment(replicas, None)?;
        if replicas.iter().map(|r| NodeId(*r)).eq(partition.replicas.iter().copied()) {
            return Ok(());
        }
        let message = "Moving partitions between brokers is not built yet.";
        Err(ApiError::new(ErrorCode::InvalidReplicaAssignment, message))
    }
}
