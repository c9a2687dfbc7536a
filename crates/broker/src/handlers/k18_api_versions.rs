//! ApiVersions (key 18, versions 0–4; KIP-35, KIP-511, KIP-584, KIP-482).
//!
//! Answers from the table of [`crate::api`], so that exactly what is served is named. Versions up to 3 leave out
//! features whose lowest version is 0, which old Java clients take for an error (KAFKA-17492).

use std::sync::Arc;

use logrun_client::Versions;
use logrun_metadata::Feature;
use logrun_metadata::features::KRAFT_VERSION;
use logrun_wire::ErrorCode;
use logrun_wire::messages::ApiVersionsRequest;
use logrun_wire::messages::api_versions_response::{
    ApiVersion, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};

use crate::Broker;
use crate::api::APIS;
use crate::context::{ListenerKind, RequestContext};
use crate::controller::within;

pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: ApiVersionsRequest,
) -> ApiVersionsResponse {
    if context.api_version >= 3
        && !(is_name(&request.client_software_name) && is_name(&request.client_software_version))
    {
        return ApiVersionsResponse { error_code: ErrorCode::InvalidRequest.code(), ..Default::default() };
    }
    let image = broker.image();
    // What is sent on to controllers elsewhere is served as far as they serve it.
    let theirs = match broker.controller().remote() {
        Some(remote) => remote.versions().await,
        None => None,
    };
    let supported = Feature::served().filter(|f| context.api_version >= 4 || f.min > 0);
    // The quorum's own version is a control record of its log and not in the image; level 0 is none.
    let kraft = Some((KRAFT_VERSION.into(), broker.controller().kraft_version())).filter(|(_, level)| *level > 0);
    let finalized = image.features.iter().map(|(name, level)| (name.clone(), *level)).chain(kraft);
    ApiVersionsResponse {
        api_keys: api_keys(context.listener.kind, theirs.as_ref()),
        supported_features: supported
            .map(|f| SupportedFeatureKey {
                name: f.name.into(),
                min_version: f.min,
                max_version: f.max,
                ..Default::default()
            })
            .collect(),
        finalized_features_epoch: image.provenance.offset.get(),
        finalized_features: finalized
            .map(|(name, level)| FinalizedFeatureKey {
                name,
                max_version_level: level,
                min_version_level: level,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}

/// The answer, in version 0, to a client that asks in a version that is not served.
pub fn unsupported_version() -> ApiVersionsResponse {
    let own = APIS.iter().filter(|a| a.key == logrun_wire::ApiKey::ApiVersions);
    ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        api_keys: own.map(|a| version(a.key.code(), a.advertised_min, a.max)).collect(),
        ..Default::default()
    }
}

fn api_keys(kind: ListenerKind, controllers: Option<&Versions>) -> Vec<ApiVersion> {
    let served = APIS.iter().filter(|a| a.is_on(kind));
    let versions = served.filter_map(|a| {
        let range = match controllers {
            Some(theirs) if a.is_forwarded => within(theirs, a.key, a.advertised_min, a.max),
            _ => Some((a.advertised_min, a.max)),
        };
        range.map(|(min, max)| version(a.key.code(), min, max))
    });
    versions.collect()
}

fn version(api_key: i16, min_version: i16, max_version: i16) -> ApiVersion {
    ApiVersion { api_key, min_version, max_version, ..Default::default() }
}

/// Whether a client's name or version is one by KIP-511's rule: letters, digits, dots and dashes, not at the ends.
fn is_name(s: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_alphanumeric();
    s.starts_with(alphanumeric)
        && s.ends_with(alphanumeric)
        && s.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_kip_511() {
        assert!(is_name("apache-kafka-java") && is_name("4.3.1") && is_name("x"));
        assert!(!is_name("") && !is_name("-a") && !is_name("a b") && !is_name("a."));
    }
}
