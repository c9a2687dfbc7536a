//! ListGroups (key 16, versions 0–5; KIP-518, KIP-848): the groups that this broker coordinates.
//!
//! Filtered by state from version 4 and by type from version 5 on.

use std::sync::Arc;

use logrun_wire::messages::{ListGroupsRequest, ListGroupsResponse};

use crate::Broker;
use crate::context::RequestContext;

pub async fn handle(broker: &Arc<Broker>, context: &RequestContext, request: ListGroupsRequest) -> ListGroupsResponse {
    broker.groups().list_groups(context, request).await
}
