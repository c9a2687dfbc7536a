//! BrokerHeartbeat (key 63, versions 0–2; KIP-631, KIP-858, KIP-1066): a broker shows that it lives and how far it has come, and asks to
//! be unfenced, fenced or let go.
//!
//! From version 1 on it names the log directories that have failed, from 2 on those that take no new replicas. A broker that is silent for `broker.session.timeout.ms`
//! is fenced.

use std::sync::Arc;

use logrun_controller::{Command, Reply};
use logrun_wire::messages::{BrokerHeartbeatRequest, BrokerHeartbeatResponse};

use crate::Broker;
use crate::context::RequestContext;
use crate::controller::refused;

pub async fn handle(
    broker: &Arc<Broker>,
    _context: &RequestContext,
    request: BrokerHeartbeatRequest,
) -> BrokerHeartbeatResponse {
    let command = Command::BrokerHeartbeat { request, others_caught_up: true };
    let failure = match broker.controller().submit(command).await {
        Ok(Reply::BrokerHeartbeat(response)) => return response,
        Ok(other) => refused(other),
        Err(failure) => failure,
    };
    BrokerHeartbeatResponse { error_code: failure.code.code(), ..Default::default() }
}
