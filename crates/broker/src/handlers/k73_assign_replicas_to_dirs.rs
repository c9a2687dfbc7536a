//! AssignReplicasToDirs (key 73, version 0; KIP-858): a broker tells in which of its log directories its replicas lie.
//!
//! The controller then knows which partitions go offline with a directory.

use std::sync::Arc;

use logrun_controller::{Command, Reply};
use logrun_wire::messages::{AssignReplicasToDirsRequest, AssignReplicasToDirsResponse};

use crate::Broker;
use crate::context::RequestContext;
use crate::controller::refused;

pub async fn handle(
    broker: &Arc<Broker>,
    _context: &RequestContext,
    request: AssignReplicasToDirsRequest,
) -> AssignReplicasToDirsResponse {
    let failure = match broker.controller().submit(Command::AssignReplicasToDirs { request }).await {
        Ok(Reply::AssignReplicasToDirs(response)) => return response,
        Ok(other) => refused(other),
        Err(failure) => failure,
    };
    AssignReplicasToDirsResponse { error_code: failure.code.code(), ..Default::default() }
}
