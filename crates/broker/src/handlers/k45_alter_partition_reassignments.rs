//! AlterPartitionReassignments (key 45, versions 0–1; KIP-455, KIP-860): moves partitions between brokers.
//!
//! Decided by the controller. The replicas that a partition has already are no error, so that Apache's
//! kafka-reassign-partitions can move them between log directories; other brokers are refused.

use std::sync::Arc;

use logrun_controller::{Command, Reply};
use logrun_wire::messages::{AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse};

use crate::Broker;
use crate::context::RequestContext;
use crate::controller::refused;

pub async fn handle(
    broker: &Arc<Broker>,
    _context: &RequestContext,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    let failure = match broker.controller().submit(Command::AlterPartitionReassignments { request }).await {
        Ok(Reply::AlterPartitionReassignments(response)) => return response,
        Ok(other) => refused(other),
        Err(failure) => failure,
    };
    AlterPartitionReassignmentsResponse {
        error_code: failure.code.code(),
        error_message: failure.message.as_deref().map(Into::into),
        ..Default::default()
    }
}
