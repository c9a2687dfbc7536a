//! DescribeGroups (key 15, versions 0–6): classic groups with their members.
//!
//! A group that is not there is Dead; from version 6 on it is GROUP_ID_NOT_FOUND (KIP-1043).

use std::sync::Arc;

use logrun_wire::messages::{DescribeGroupsRequest, DescribeGroupsResponse};

use crate::Broker;
use crate::context::RequestContext;

pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    broker.groups().describe_groups(context, request).await
}
