//! SyncGroup (key 14, versions 0–5): a member asks for its assignment, the leader brings all of them.
//!
//! Parks until the leader's assignment is committed.

use std::sync::Arc;

use logrun_wire::messages::{SyncGroupRequest, SyncGroupResponse};

use crate::Broker;
use crate::context::RequestContext;

pub async fn handle(broker: &Arc<Broker>, context: &RequestContext, request: SyncGroupRequest) -> SyncGroupResponse {
    broker.groups().sync_group(context, request).await
}
