//! From a frame to its handler and back to a response: one road for every API.
//!
//! Kafka's counterpart is `KafkaApis.handle`. What differs between APIs stands in the table of [`crate::api`].

use std::sync::Arc;

use bytes::Bytes;
use logrun_io::FileRange;
use logrun_net::{Outcome, PeerInfo, Piece, Response, Service};
use logrun_wire::{ApiKey, EncodeError, Message, frame};
use tracing::{debug, error, warn};

use crate::Broker;
use crate::api;
use crate::context::{ListenerInfo, Principal, RequestContext};
use crate::handlers::k18_api_versions;

/// Serves one connection of a listener.
pub struct BrokerService {
    broker: Arc<Broker>,
    listener: ListenerInfo,
    peer: PeerInfo,
}

impl BrokerService {
    pub fn new(broker: Arc<Broker>, listener: ListenerInfo, peer: PeerInfo) -> Self {
        Self { broker, listener, peer }
    }
}

impl Service for BrokerService {
    async fn handle(&mut self, frame: Bytes) -> Outcome {
        // A reference to the bytes, in case they are to be sent on as they are.
        let whole = self.broker.controller().remote().map(|remote| (remote, frame.clone()));
        let (header, body) = match frame::decode_request_header(frame) {
            Ok((header, _, body)) => (header, body),
            Err(e) => {
                warn!(peer = %self.peer.peer, "closing a connection that sent a request without a valid header: {e}");
                return Outcome::Close;
            }
        };
        let Some(api_key) = ApiKey::from_i16(header.request_api_key) else {
            warn!(peer = %self.peer.peer, key = header.request_api_key, "closing a connection that asked for an unknown API");
            return Outcome::Close;
        };
        let context = RequestContext {
            api_key,
            api_version: header.request_api_version,
            correlation_id: header.correlation_id,
            client_id: header.client_id,
            listener: self.listener.clone(),
            principal: Principal::ANONYMOUS,
            peer: self.peer.peer,
            local: self.peer.local,
            is_forwarded: false,
        };
        let entry = api::find(api_key, self.listener.kind).filter(|e| e.serves(context.api_version));
        let Some(entry) = entry else {
            // KIP-511: a client that is newer than the broker learns the versions instead of being cut off.
            if api_key == ApiKey::ApiVersions {
                return respond(&context, 0, &k18_api_versions::unsupported_version());
            }
            warn!(peer = %self.peer.peer, client = context.client_id().as_str(),
                "closing a connection that sent {} version {}, which is not served here", api_key.name(), context.api_version);
            return Outcome::Close;
        };
        if let Some((remote, frame)) = whole.filter(|_| entry.is_forwarded) {
            match remote.forward(frame, &context).await {
                Ok(response) => return forwarded(response),
                // The handler says it in the API's own words, since nothing is decided here.
                Err(f) => warn!(api = api_key.name(), "no controller has taken a request: {}", f.code),
            }
        }
        match (entry.run)(&self.broker, context, body).await {
            Ok(outcome) => outcome,
            Err(e) => {
                warn!(peer = %self.peer.peer, "closing a connection that sent a malformed request: {e}");
                Outcome::Close
            }
        }
    }
}

/// A response that came from the controller, header and all.
fn forwarded(response: Bytes) -> Outcome {
    match i32::try_from(response.len()) {
        Ok(length) => Outcome::Now(vec![Bytes::copy_from_slice(&length.to_be_bytes()), response].into()),
        Err(_) => Outcome::Close,
    }
}

/// What a handler gives: a response, or one of the special cases of [`Reply`].
pub trait IntoOutcome {
    fn into_outcome(self, context: RequestContext) -> Outcome;
}

impl<M: Message> IntoOutcome for M {
    fn into_outcome(self, context: RequestContext) -> Outcome {
        respond(&context, context.api_version, &self)
    }
}

/// A response that is not simply there when the handler returns.
pub enum Reply<M> {
    Now(M),
    /// The connection's next request may begin before this one is answered.
    Later(std::pin::Pin<Box<dyn Future<Output = M> + Send>>),
    /// The client wants no response (produce with `acks=0`).
    Nothing,
    /// The connection is closed: how `acks=0` learns of an error.
    Close,
}

impl<M: Message + Send + 'static> IntoOutcome for Reply<M> {
    fn into_outcome(self, mut context: RequestContext) -> Outcome {
        // The response may be owed for long, and the request's frame is the buffer that the next request is read into.
        context.client_id = None;
        match self {
            Self::Now(response) => response.into_outcome(context),
            Self::Later(response) => Outcome::Later(Box::pin(async move {
                let response = response.await;
                encode(&context, context.api_version, &response).unwrap_or_else(|e| {
                    error!("a response can't be encoded: {e}");
                    Response::default()
                })
            })),
            Self::Nothing => Outcome::Nothing,
            Self::Close => Outcome::Close,
        }
    }
}

fn respond<M: Message>(context: &RequestContext, version: i16, response: &M) -> Outcome {
    match encode(context, version, response) {
        Ok(response) => Outcome::Now(response),
        Err(e) => {
            // Our own bug: the client is cut off, which it survives, instead of being sent half a response.
            error!(api = context.api_key.name(), version, "a response can't be encoded: {e}");
            Outcome::Close
        }
    }
}

fn encode<M: Message>(context: &RequestContext, version: i16, response: &M) -> Result<Response, EncodeError> {
    debug!(api = context.api_key.name(), version, client = context.client_id().as_str(), "answered");
    let pieces = frame::encode_response(context.correlation_id, context.api_key, version, response)?;
    let sent = pieces.into_iter().map(|piece| match piece {
        logrun_wire::Piece::Memory(bytes) => Piece::Memory(bytes),
        logrun_wire::Piece::Elsewhere(e) => {
            let range = e.source.downcast_ref::<FileRange>().expect("what is not in memory is in a file");
            Piece::File(range.clone())
        }
    });
    Ok(sent.collect())
}
