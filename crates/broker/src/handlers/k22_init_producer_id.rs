//! InitProducerId (key 22, versions 0–5; KIP-98, KIP-360): an id and an epoch for an idempotent producer.
//!
//! Ids come in blocks from the controller, so that none is ever given twice. Transactional ids need the
//! transaction coordinator, which is not here yet: they are refused.

use std::sync::Arc;

use logrun_wire::ErrorCode;
use logrun_wire::messages::{InitProducerIdRequest, InitProducerIdResponse};

use crate::Broker;
use crate::context::RequestContext;

pub async fn handle(
    broker: &Arc<Broker>,
    _context: &RequestContext,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let refuse = |code: ErrorCode| InitProducerIdResponse {
        error_code: code.code(),
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    };
    match request.transactional_id.as_deref() {
        Some("") => return refuse(ErrorCode::InvalidRequest),
        Some(_) => return refuse(ErrorCode::InvalidRequest),
        None => {}
    }
    if (request.producer_id == -1) != (request.producer_epoch == -1) {
        return refuse(ErrorCode::InvalidRequest);
    }
    match broker.producer_ids().next(broker).await {
        Ok(id) => InitProducerIdResponse { producer_id: id.get(), producer_epoch: 0, ..Default::default() },
        Err(failure) => refuse(failure.code),
    }
}
