//! Envelope (key 58, version 0; KIP-590): a client's request that a broker sends on to the active controller, with who asked
//! from where.
//!
//! What is in it goes to the same handler as a request that came by itself. Only what a broker may not answer itself may be
//! in an envelope, anything else is INVALID_REQUEST; a principal that can't be read is PRINCIPAL_DESERIALIZATION_FAILURE.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use logrun_net::Outcome;
use logrun_wire::messages::{EnvelopeRequest, EnvelopeResponse};
use logrun_wire::{ApiKey, ErrorCode, frame};
use tracing::warn;

use crate::Broker;
use crate::api;
use crate::context::RequestContext;
use crate::controller::{address_of, principal_of};

/// Of a frame.
const LENGTH_BYTES: usize = 4;

pub async fn handle(broker: &Arc<Broker>, context: &RequestContext, request: EnvelopeRequest) -> EnvelopeResponse {
    match open(broker, context, request).await {
        Ok(response) => EnvelopeResponse { response_data: Some(response), ..Default::default() },
        Err(code) => EnvelopeResponse { error_code: code.code(), ..Default::default() },
    }
}

async fn open(broker: &Arc<Broker>, context: &RequestContext, request: EnvelopeRequest) -> Result<Bytes, ErrorCode> {
    let refuse = |code: ErrorCode, why: &dyn std::fmt::Display| {
        warn!(peer = %context.peer, "refusing an envelope: {why}");
        code
    };
    let principal = request.request_principal.as_ref().and_then(principal_of);
    let principal =
        principal.ok_or_else(|| refuse(ErrorCode::PrincipalDeserializationFailure, &"its principal can't be read"))?;
    let address = address_of(&request.client_host_address)
        .ok_or_else(|| refuse(ErrorCode::UnknownServerError, &"its client has no address"))?;
    let (header, _, body) =
        frame::decode_request_header(request.request_data).map_err(|e| refuse(ErrorCode::UnknownServerError, &e))?;
    let api_key = ApiKey::from_i16(header.request_api_key).ok_or(ErrorCode::InvalidRequest)?;
    let entry = api::find(api_key, context.listener.kind).filter(|e| e.is_forwarded);
    let entry = entry.ok_or_else(|| refuse(ErrorCode::InvalidRequest, &api_key.name()))?;
    if !entry.serves(header.request_api_version) {
        return Err(refuse(ErrorCode::UnsupportedVersion, &header.request_api_version));
    }
    let inner = RequestContext {
        api_key,
        api_version: header.request_api_version,
        correlation_id: header.correlation_id,
        client_id: header.client_id,
        listener: context.listener.clone(),
        principal,
        peer: SocketAddr::new(address, 0),
        local: context.local,
        is_forwarded: true,
    };
    match (entry.run)(broker, inner, body).await {
        Ok(Outcome::Now(response)) => {
            // The length is the outer frame's business.
            response.into_bytes().map(|r| r.slice(LENGTH_BYTES..)).ok_or(ErrorCode::UnknownServerError)
        }
        Ok(_) => Err(ErrorCode::UnknownServerError),
        Err(e) => Err(refuse(ErrorCode::InvalidRequest, &e)),
    }
}
