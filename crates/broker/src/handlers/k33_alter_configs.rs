//! AlterConfigs (key 33, versions 0–2; KIP-133): replaces all dynamic configs of a resource.
//!
//! The controller validates and decides; topics' and brokers' configs are in force by the time of the answer.

use std::sync::Arc;

use logrun_controller::{Command, Reply};
use logrun_wire::messages::AlterConfigsRequest;
use logrun_wire::messages::alter_configs_response::{AlterConfigsResourceResponse, AlterConfigsResponse};

use crate::Broker;
use crate::context::RequestContext;
use crate::controller::refused;

pub async fn handle(
    broker: &Arc<Broker>,
    _context: &RequestContext,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let resources: Vec<_> = request.resources.iter().map(|r| (r.resource_type, r.resource_name.clone())).collect();
    let failure = match broker.controller().submit(Command::AlterConfigs { request }).await {
        Ok(Reply::AlterConfigs(response)) => return response,
        Ok(other) => refused(other),
        Err(failure) => failure,
    };
    let responses = resources.into_iter().map(|(resource_type, resource_name)| AlterConfigsResourceResponse {
        resource_type,
        resource_name,
        error_code: failure.code.code(),
        error_message: failure.message.as_deref().map(Into::into),
        ..Default::default()
    });
    AlterConfigsResponse { responses: responses.collect(), ..Default::default() }
}
