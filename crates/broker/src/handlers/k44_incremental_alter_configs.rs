//! IncrementalAlterConfigs (key 44, versions 0–1; KIP-339): sets, deletes, appends to and subtracts from single configs.
//!
//! The controller validates and decides; topics' and brokers' configs are in force by the time of the answer.

use std::sync::Arc;

use logrun_controller::{Command, Reply};
use logrun_wire::messages::IncrementalAlterConfigsRequest;
use logrun_wire::messages::incremental_alter_configs_response::{
    AlterConfigsResourceResponse, IncrementalAlterConfigsResponse,
};

use crate::Broker;
use crate::context::RequestContext;
use crate::controller::refused;

pub async fn handle(
    broker: &Arc<Broker>,
    _context: &RequestContext,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let resources: Vec<_> = request.resources.iter().map(|r| (r.resource_type, r.resource_name.clone())).collect();
    let failure = match broker.controller().submit(Command::IncrementalAlterConfigs { request }).await {
        Ok(Reply::IncrementalAlterConfigs(response)) => return response,
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
    IncrementalAlterConfigsResponse { responses: responses.collect(), ..Default::default() }
}
