//! AllocateProducerIds (key 67, version 0; KIP-730): a broker gets a block of producer ids that nobody else gets.
//!
//! A broker that isn't registered with the epoch that it names is STALE_BROKER_EPOCH.

use std::sync::Arc;

use logrun_controller::{Command, Reply};
use logrun_wire::messages::{AllocateProducerIdsRequest, AllocateProducerIdsResponse};

use crate::Broker;
use crate::context::RequestContext;
use crate::controller::refused;

pub async fn handle(
    broker: &Arc<Broker>,
    _context: &RequestContext,
    request: AllocateProducerIdsRequest,
) -> AllocateProducerIdsResponse {
    let failure = match broker.controller().submit(Command::AllocateProducerIds { request }).await {
        Ok(Reply::AllocateProducerIds(response)) => return response,
        Ok(other) => refused(other),
        Err(failure) => failure,
    };
    AllocateProducerIdsResponse { error_code: failure.code.code(), ..Default::default() }
}
