//! JoinGroup (key 11, versions 0–9; KIP-62, KIP-345, KIP-394, KIP-559, KIP-800, KIP-814).
//!
//! Parks until the group's rebalance completes; the coordinator answers every member at once.

use std::sync::Arc;

use logrun_wire::messages::{JoinGroupRequest, JoinGroupResponse};

use crate::Broker;
use crate::context::RequestContext;

pub async fn handle(broker: &Arc<Broker>, context: &RequestContext, request: JoinGroupRequest) -> JoinGroupResponse {
    broker.groups().join_group(context, request).await
}
