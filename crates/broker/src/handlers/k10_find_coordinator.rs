//! FindCoordinator (key 10, versions 0–6; KIP-699): which broker coordinates a group.
//!
//! The coordinator of a group is the leader of the partition of `__consumer_offsets` that the group's id
//! falls into; the topic is made when it is first asked for. Other kinds of key have no coordinator here yet.

use std::sync::Arc;

use logrun_model::Str;
use logrun_wire::ErrorCode;
use logrun_wire::messages::find_coordinator_request::FindCoordinatorRequest;
use logrun_wire::messages::find_coordinator_response::{Coordinator, FindCoordinatorResponse};

use crate::Broker;
use crate::context::RequestContext;
use crate::errors::Failure;

const GROUP: i8 = 0;

pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    if context.api_version >= 4 {
        let mut coordinators = Vec::with_capacity(request.coordinator_keys.len());
        for key in request.coordinator_keys {
            coordinators.push(find(broker, context, key, request.key_type).await);
        }
        return FindCoordinatorResponse { coordinators, ..Default::default() };
    }
    let one = find(broker, context, request.key, request.key_type).await;
    FindCoordinatorResponse {
        error_code: one.error_code,
        error_message: one.error_message,
        node_id: one.node_id,
        host: one.host,
        port: one.port,
        ..Default::default()
    }
}

async fn find(broker: &Arc<Broker>, context: &RequestContext, key: Str, key_type: i8) -> Coordinator {
    let found = match key_type {
        GROUP => broker.groups().coordinator_of(broker, &key).await,
        other => Err(Failure::with(
            ErrorCode::InvalidRequest,
            format!("this broker has no coordinator for keys of type {other}"),
        )),
    };
    let found = found.and_then(|node| {
        broker
            .endpoint_of(context, node)
            .map(|e| (node, e))
            .ok_or_else(|| Failure::of(ErrorCode::CoordinatorNotAvailable))
    });
    match found {
        Ok((node, (host, port))) => {
            Coordinator { key, node_id: node.get(), host, port, error_message: Some(Str::EMPTY), ..Default::default() }
        }
        Err(failure) => Coordinator {
            key,
            node_id: -1,
            port: -1,
            error_code: failure.code.code(),
            error_message: failure.message.as_deref().map(Into::into),
            ..Default::default()
        },
    }
}
