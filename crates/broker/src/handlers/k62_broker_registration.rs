//! BrokerRegistration (key 62, versions 0–4; KIP-631, KIP-858, KIP-966): a broker's process makes itself known and gets its
//! epoch.
//!
//! Version 2 brought the log directories, 3 the epoch of the last clean shutdown, 4 features from level 0 on. A broker
//! whose former process may still live is DUPLICATE_BROKER_REGISTRATION until that one's session is over; one of another
//! cluster is INCONSISTENT_CLUSTER_ID.

use std::sync::Arc;

use logrun_controller::{Command, Reply};
use logrun_wire::ErrorCode;
use logrun_wire::messages::{BrokerRegistrationRequest, BrokerRegistrationResponse};
use tracing::{info, warn};

use crate::Broker;
use crate::context::RequestContext;
use crate::controller::refused;

pub async fn handle(
    broker: &Arc<Broker>,
    _context: &RequestContext,
    request: BrokerRegistrationRequest,
) -> BrokerRegistrationResponse {
    let id = request.broker_id;
    // The controller shares its id with nobody but the broker in its own process.
    let code = if id == broker.node_id().get() {
        warn!("a broker elsewhere has this controller's node.id={id}, and is refused: give each node an id of its own");
        ErrorCode::DuplicateBrokerRegistration
    } else {
        let command = Command::RegisterBroker { request, former_self_is_dead: false, session_is_valid: false };
        let failure = match broker.controller().submit(command).await {
            Ok(Reply::RegisterBroker(response)) if response.error_code == 0 => {
                info!(broker = id, epoch = response.broker_epoch, "registered");
                return response;
            }
            Ok(Reply::RegisterBroker(response)) => return response,
            Ok(other) => refused(other),
            Err(failure) => failure,
        };
        failure.code
    };
    BrokerRegistrationResponse { error_code: code.code(), ..Default::default() }
}
