//! DeleteGroups (key 42, versions 0–2; KIP-229): removes groups without members and their offsets.
//!
//! The group decides.

use std::sync::Arc;

use logrun_wire::messages::{DeleteGroupsRequest, DeleteGroupsResponse};

use crate::Broker;
use crate::context::RequestContext;

pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: DeleteGroupsRequest,
) -> DeleteGroupsResponse {
    broker.groups().delete_groups(context, request).await
}
