//! OffsetDelete (key 47, version 0; KIP-496): removes committed offsets of topics that the group does not subscribe to.
//!
//! The group decides.

use std::sync::Arc;

use logrun_wire::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

use crate::Broker;
use crate::context::RequestContext;

pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    broker.groups().offset_delete(context, request).await
}
