//! DescribeCluster (key 60, versions 0–2; KIP-700, KIP-919, KIP-1073): the cluster's id, controller and nodes.
//!
//! From version 1 on the client says whether it asks for brokers or for controllers; each kind of listener
//! answers for its own kind only. From version 2 on fenced brokers can be asked for.

use std::sync::Arc;

use logrun_wire::ErrorCode;
use logrun_wire::messages::DescribeClusterRequest;
use logrun_wire::messages::describe_cluster_response::{DescribeClusterBroker, DescribeClusterResponse};

use super::{CLUSTER_OPERATIONS, NO_OPERATIONS};
use crate::Broker;
use crate::context::{ListenerKind, RequestContext};

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    let (served, other) = match context.listener.kind {
        ListenerKind::Broker => (BROKERS, "controllers are asked through a controller listener"),
        ListenerKind::Controller => (CONTROLLERS, "brokers are asked through a broker listener"),
    };
    // Before version 1 there was only one kind to ask for.
    if context.api_version >= 1 && request.endpoint_type != served {
        let (code, message) = match request.endpoint_type {
            BROKERS | CONTROLLERS => (ErrorCode::MismatchedEndpointType, other.to_owned()),
            t => (ErrorCode::UnsupportedEndpointType, format!("there is no endpoint type {t}")),
        };
        return DescribeClusterResponse {
            error_code: code.code(),
            error_message: Some(message.into()),
            endpoint_type: served,
            ..Default::default()
        };
    }
    let image = broker.image();
    let brokers = if served == CONTROLLERS {
        let (host, port) = (context.local.ip().to_string().into(), i32::from(context.local.port()));
        vec![DescribeClusterBroker { broker_id: broker.node_id().get(), host, port, ..Default::default() }]
    } else {
        let known = image.cluster.brokers.values().filter(|b| request.include_fenced_brokers || !b.fenced);
        let described = known.filter_map(|b| {
            let (host, port) = broker.endpoint_of(context, b.id)?;
            Some(DescribeClusterBroker {
                broker_id: b.id.get(),
                host,
                port,
                rack: b.rack.clone(),
                is_fenced: b.fenced,
                ..Default::default()
            })
        });
        described.collect()
    };
    DescribeClusterResponse {
        endpoint_type: if context.api_version >= 1 { served } else { BROKERS },
        cluster_id: broker.cluster_id(),
        controller_id: broker.controller_id().get(),
        brokers,
        cluster_authorized_operations: if request.include_cluster_authorized_operations {
            CLUSTER_OPERATIONS
        } else {
            NO_OPERATIONS
        },
        ..Default::default()
    }
}
