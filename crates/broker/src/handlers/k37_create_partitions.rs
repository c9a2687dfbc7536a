//! CreatePartitions (key 37, versions 0–3; KIP-195): raises topics' partition counts.
//!
//! The controller decides; by the time of the answer this node serves the partitions.

use std::sync::Arc;

use logrun_controller::{Command, Reply};
use logrun_wire::messages::CreatePartitionsRequest;
use logrun_wire::messages::create_partitions_response::{CreatePartitionsResponse, CreatePartitionsTopicResult};

use crate::Broker;
use crate::context::RequestContext;
use crate::controller::refused;

pub async fn handle(
    broker: &Arc<Broker>,
    _context: &RequestContext,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let names: Vec<_> = request.topics.iter().map(|t| t.name.clone()).collect();
    let seed = broker.controller().seed();
    let failure = match broker.controller().submit(Command::CreatePartitions { request, seed }).await {
        Ok(Reply::CreatePartitions(response)) => return response,
        Ok(other) => refused(other),
        Err(failure) => failure,
    };
    let results = names.into_iter().map(|name| CreatePartitionsTopicResult {
        name,
        error_code: failure.code.code(),
        error_message: failure.message.as_deref().map(Into::into),
        ..Default::default()
    });
    CreatePartitionsResponse { results: results.collect(), ..Default::default() }
}
