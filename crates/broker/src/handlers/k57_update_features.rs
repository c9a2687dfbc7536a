//! UpdateFeatures (key 57, versions 0–2; KIP-584, KIP-778, KIP-1022): raises or lowers the cluster's finalized features.
//!
//! The controller decides, all updates of a request or none. Version 1 has a kind of upgrade instead of a flag, and
//! can ask for a check only; from version 2 on the whole has one error and no results.

use std::sync::Arc;

use logrun_controller::{Command, Reply};
use logrun_wire::ErrorCode;
use logrun_wire::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};

use crate::Broker;
use crate::context::RequestContext;
use crate::controller::refused;

pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    mut request: UpdateFeaturesRequest,
) -> UpdateFeaturesResponse {
    // Kafka's controller looks at the kind of upgrade only, which version 0 does not have: there nothing is lowered.
    request.feature_updates.iter_mut().for_each(|u| u.allow_downgrade = false);
    // The level is the controller's to say.
    let failure = match broker.controller().submit(Command::UpdateFeatures { request, kraft_version: 0 }).await {
        Ok(Reply::UpdateFeatures(response)) => return shaped(context.api_version, response),
        Ok(other) => refused(other),
        Err(failure) => failure,
    };
    UpdateFeaturesResponse {
        error_code: failure.code.code(),
        error_message: failure.message.as_deref().map(Into::into),
        ..Default::default()
    }
}

/// The reply as the version has it: results belong to versions 0 and 1, and only to a success.
fn shaped(version: i16, mut response: UpdateFeaturesResponse) -> UpdateFeaturesResponse {
    if version >= 2 || response.error_code != ErrorCode::None.code() {
        response.results.clear();
    }
    for result in &mut response.results {
        // As Kafka has it: the name of the error that there is not.
        result.error_message = Some(ErrorCode::None.name().into());
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use logrun_wire::messages::update_features_response::UpdatableFeatureResult;

    #[test]
    fn results_only_with_success_and_before_version_2() {
        let response = |error_code| UpdateFeaturesResponse {
            error_code,
            results: vec![UpdatableFeatureResult::default()],
            ..Default::default()
        };
        assert_eq!(shaped(1, response(0)).results[0].error_message.as_deref(), Some("NONE"));
        assert!(shaped(1, response(95)).results.is_empty());
        assert!(shaped(2, response(0)).results.is_empty());
    }
}
