//! ListConfigResources (key 74, versions 0–1; KIP-1000, KIP-1142): the names of what can be configured.
//!
//! Version 0 lists the subscriptions to client metrics only; version 1 names the kinds that are asked for, none
//! standing for all: topics, brokers, broker loggers, client metrics, groups. Topics and brokers are those there are,
//! groups and subscriptions those that have configs. A kind beyond these is UNSUPPORTED_VERSION.

use std::sync::Arc;

use logrun_metadata::{ConfigResourceType, MetadataImage};
use logrun_model::Str;
use logrun_wire::ErrorCode;
use logrun_wire::messages::ListConfigResourcesRequest;
use logrun_wire::messages::list_config_resources_response::{ConfigResource, ListConfigResourcesResponse};

use crate::Broker;
use crate::context::RequestContext;

/// In the order in which Kafka lists them, whatever the order in the request.
const ALL: &[ConfigResourceType] = &[
    ConfigResourceType::Group,
    ConfigResourceType::ClientMetrics,
    ConfigResourceType::BrokerLogger,
    ConfigResourceType::Broker,
    ConfigResourceType::Topic,
];

pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: ListConfigResourcesRequest,
) -> ListConfigResourcesResponse {
    match wanted(context.api_version, &request.resource_types) {
        Some(kinds) => {
            let image = broker.image();
            let each = kinds.into_iter().flat_map(|kind| {
                names(&image, kind).into_iter().map(move |resource_name| ConfigResource {
                    resource_name,
                    resource_type: kind.id(),
                    ..Default::default()
                })
            });
            ListConfigResourcesResponse { config_resources: each.collect(), ..Default::default() }
        }
        None => ListConfigResourcesResponse { error_code: ErrorCode::UnsupportedVersion.code(), ..Default::default() },
    }
}

/// The kinds that a request asks for; `None` if one of them can't be listed.
fn wanted(version: i16, kinds: &[i8]) -> Option<Vec<ConfigResourceType>> {
    if version == 0 {
        return Some(vec![ConfigResourceType::ClientMetrics]);
    }
    if kinds.is_empty() {
        return Some(ALL.to_vec());
    }
    let asked: Vec<_> = kinds.iter().map(|k| ConfigResourceType::from_id(*k)).collect();
    let all_known = asked.iter().all(|kind| ALL.contains(kind));
    all_known.then(|| ALL.iter().copied().filter(|kind| asked.contains(kind)).collect())
}

fn names(image: &MetadataImage, kind: ConfigResourceType) -> Vec<Str> {
    match kind {
        ConfigResourceType::Topic => image.topics.iter_by_name(None).map(|t| t.name.clone()).collect(),
        ConfigResourceType::Broker | ConfigResourceType::BrokerLogger => {
            image.cluster.unfenced().map(|b| Str::from(b.id.to_string())).collect()
        }
        ConfigResourceType::ClientMetrics | ConfigResourceType::Group => {
            image.configs.of_type(kind).map(|(r, _)| r.name.clone()).collect()
        }
        ConfigResourceType::Unknown(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_follow_the_version() {
        use ConfigResourceType::{ClientMetrics, Group, Topic};
        assert_eq!(wanted(0, &[]), Some(vec![ClientMetrics]));
        assert_eq!(wanted(1, &[]).map(|k| k.len()), Some(5));
        assert_eq!(wanted(1, &[Topic.id(), Group.id(), Group.id()]), Some(vec![Group, Topic]));
        assert_eq!(wanted(1, &[1]), None);
    }
}
