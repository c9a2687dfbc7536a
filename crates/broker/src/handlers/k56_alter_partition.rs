//! AlterPartition (key 56, versions 2–3; KIP-497, KIP-841, KIP-903): a leader tells of a partition's new ISR.
//!
//! The controller decides; the leader acts on the answer before it comes by the metadata. Version 3 has the epochs of the
//! brokers in the ISR, so that one that has restarted meanwhile is not taken for its former self.

use std::sync::Arc;

use logrun_controller::{Command, Reply};
use logrun_wire::messages::{AlterPartitionRequest, AlterPartitionResponse};

use crate::Broker;
use crate::context::RequestContext;
use crate::controller::refused;

pub async fn handle(
    broker: &Arc<Broker>,
    _context: &RequestContext,
    request: AlterPartitionRequest,
) -> AlterPartitionResponse {
    let failure = match broker.controller().submit(Command::AlterPartition { request }).await {
        Ok(Reply::AlterPartition(response)) => return response,
        Ok(other) => refused(other),
        Err(failure) => failure,
    };
    AlterPartitionResponse { error_code: failure.code.code(), ..Default::default() }
}
