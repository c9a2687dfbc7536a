//! LeaveGroup (key 13, versions 0–5; from 3 on several members at once, KIP-345; from 5 with reasons, KIP-800).
//!
//! The group decides.

use std::sync::Arc;

use logrun_wire::messages::{LeaveGroupRequest, LeaveGroupResponse};

use crate::Broker;
use crate::context::RequestContext;

pub async fn handle(broker: &Arc<Broker>, context: &RequestContext, request: LeaveGroupRequest) -> LeaveGroupResponse {
    broker.groups().leave_group(context, request).await
}
