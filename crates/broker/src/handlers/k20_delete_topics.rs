//! DeleteTopics (key 20, versions 1–6; from 6 on by name or by id, KIP-516).
//!
//! Disabled as a whole by `delete.topic.enable=false`. The files go later; a topic made anew under the same name is
//! another topic.

use std::sync::Arc;

use logrun_controller::{Command, Reply};
use logrun_model::{Str, Uuid};
use logrun_wire::ErrorCode;
use logrun_wire::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use logrun_wire::messages::delete_topics_response::{DeletableTopicResult, DeleteTopicsResponse};

use crate::Broker;
use crate::context::RequestContext;
use crate::controller::refused;
use crate::errors::Failure;

pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    mut request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    if context.api_version < 6 {
        let names = std::mem::take(&mut request.topic_names).into_iter();
        request.topics = names.map(|n| DeleteTopicState { name: Some(n), ..Default::default() }).collect();
    }
    let asked: Vec<(Option<Str>, Uuid)> = request.topics.iter().map(|t| (t.name.clone(), t.topic_id)).collect();
    let outcome = if broker.config().topics.delete_enable {
        match broker.controller().submit(Command::DeleteTopics { request }).await {
            Ok(Reply::DeleteTopics(response)) => return response,
            Ok(other) => refused(other),
            Err(failure) => failure,
        }
    } else if context.api_version < 3 {
        Failure::of(ErrorCode::InvalidRequest)
    } else {
        Failure::with(ErrorCode::TopicDeletionDisabled, "delete.topic.enable is false")
    };
    let responses = asked.into_iter().map(|(name, topic_id)| DeletableTopicResult {
        name,
        topic_id,
        error_code: outcome.code.code(),
        error_message: outcome.message.as_deref().map(Into::into),
        ..Default::default()
    });
    DeleteTopicsResponse { responses: responses.collect(), ..Default::default() }
}
