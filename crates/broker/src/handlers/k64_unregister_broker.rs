//! UnregisterBroker (key 64, version 0; KIP-500): forgets a broker that is gone for good.
//!
//! The controller decides; a broker that it does not know is BROKER_ID_NOT_REGISTERED.

use std::sync::Arc;

use logrun_controller::{Command, Reply};
use logrun_wire::messages::{UnregisterBrokerRequest, UnregisterBrokerResponse};

use crate::Broker;
use crate::context::RequestContext;
use crate::controller::refused;

pub async fn handle(
    broker: &Arc<Broker>,
    _context: &RequestContext,
    request: UnregisterBrokerRequest,
) -> UnregisterBrokerResponse {
    let failure = match broker.controller().submit(Command::UnregisterBroker { request }).await {
        Ok(Reply::UnregisterBroker(response)) => return response,
        Ok(other) => refused(other),
        Err(failure) => failure,
    };
    UnregisterBrokerResponse {
        error_code: failure.code.code(),
        error_message: failure.message.as_deref().map(Into::into),
        ..Default::default()
    }
}
