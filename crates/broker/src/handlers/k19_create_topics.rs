//! CreateTopics (key 19, versions 2–7; KIP-4, KIP-464, KIP-525): from 5 on the answer describes the topic, from 7 on
//! it has the topic's id.
//!
//! The controller decides; by the time of the answer this node serves the topics.

use std::sync::Arc;

use logrun_wire::messages::CreateTopicsRequest;
use logrun_wire::messages::create_topics_response::{CreatableTopicResult, CreateTopicsResponse};

use crate::Broker;
use crate::context::RequestContext;

pub async fn handle(
    broker: &Arc<Broker>,
    _context: &RequestContext,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let names: Vec<_> = request.topics.iter().map(|t| t.name.clone()).collect();
    match broker.controller().create_topics(request, None).await {
        Ok(response) => response,
        Err(failure) => {
            let topics = names.into_iter().map(|name| CreatableTopicResult {
                name,
                error_code: failure.code.code(),
                error_message: failure.message.as_deref().map(Into::into),
                ..Default::default()
            });
            CreateTopicsResponse { topics: topics.collect(), ..Default::default() }
        }
    }
}
