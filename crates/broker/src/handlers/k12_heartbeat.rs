//! Heartbeat (key 12, versions 0–4): a member lives, and learns that a rebalance is under way.
//!
//! The group decides.

use std::sync::Arc;

use logrun_wire::messages::{HeartbeatRequest, HeartbeatResponse};

use crate::Broker;
use crate::context::RequestContext;

pub async fn handle(broker: &Arc<Broker>, context: &RequestContext, request: HeartbeatRequest) -> HeartbeatResponse {
    broker.groups().heartbeat(context, request).await
}
