//! ControllerRegistration (key 70, version 0; KIP-919): a controller's process says where it listens and what it supports.

use std::sync::Arc;

use logrun_controller::{Command, Reply};
use logrun_wire::messages::{ControllerRegistrationRequest, ControllerRegistrationResponse};

use crate::Broker;
use crate::context::RequestContext;
use crate::controller::refused;

pub async fn handle(
    broker: &Arc<Broker>,
    _context: &RequestContext,
    request: ControllerRegistrationRequest,
) -> ControllerRegistrationResponse {
    let failure = match broker.controller().submit(Command::RegisterController { request }).await {
        Ok(Reply::RegisterController(response)) => return response,
        Ok(other) => refused(other),
        Err(failure) => failure,
    };
    ControllerRegistrationResponse {
        error_code: failure.code.code(),
        error_message: failure.message.as_deref().map(Into::into),
        ..Default::default()
    }
}
