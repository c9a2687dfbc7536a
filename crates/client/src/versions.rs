//! [`Versions`]: what a broker serves (ApiVersions, KIP-35, KIP-511), and the version to speak with it.

use std::collections::BTreeMap;

use logrun_model::Str;
use logrun_wire::messages::ApiVersionsResponse;
use logrun_wire::{ApiKey, Request, VersionRange};

use crate::error::Error;

/// A broker's answer to ApiVersions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Versions {
    address: String,
    apis: BTreeMap<i16, VersionRange>,
    /// The features that the broker supports, with the lowest and highest level.
    pub supported_features: BTreeMap<Str, (i16, i16)>,
    /// The cluster's finalised features, with their level.
    pub finalized_features: BTreeMap<Str, i16>,
    /// The epoch of the finalised features, if the broker knows one.
    pub finalized_features_epoch: Option<i64>,
}

impl Versions {
    /// Of the response that the broker at `address` gave.
    pub fn of(address: &str, response: &ApiVersionsResponse) -> Self {
        let range = |k: &logrun_wire::messages::api_versions_response::ApiVersion| {
            VersionRange::new(k.min_version, k.max_version)
        };
        Self {
            address: address.to_owned(),
            apis: response.api_keys.iter().map(|k| (k.api_key, range(k))).collect(),
            supported_features: response
                .supported_features
                .iter()
                .map(|f| (f.name.detached(), (f.min_version, f.max_version)))
                .collect(),
            finalized_features: response
                .finalized_features
                .iter()
                .map(|f| (f.name.detached(), f.max_version_level))
                .collect(),
            finalized_features_epoch: (response.finalized_features_epoch >= 0)
                .then_some(response.finalized_features_epoch),
        }
    }

    /// All APIs by key with the versions that the broker serves, those that this client doesn't know among them.
    pub fn apis(&self) -> impl Iterator<Item = (i16, VersionRange)> + '_ {
        self.apis.iter().map(|(key, range)| (*key, *range))
    }

    /// What the broker serves of `api`.
    pub fn of_api(&self, api: ApiKey) -> VersionRange {
        self.apis.get(&api.code()).copied().unwrap_or(VersionRange::NONE)
    }

    /// The highest version that both know, of those in `allowed`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if there is none.
    pub fn pick<R: Request>(&self, allowed: VersionRange) -> Result<i16, Error> {
        let theirs = self.of_api(R::API_KEY);
        let known = R::API_KEY.stable_versions();
        let ours = VersionRange::new(known.min.max(allowed.min), known.max.min(allowed.max));
        let version = ours.max.min(theirs.max);
        if theirs.is_empty() || ours.is_empty() || version < theirs.min || version < ours.min {
            return Err(Error::Unsupported { address: self.address.clone(), api: R::API_KEY, theirs, ours });
        }
        Ok(version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use logrun_wire::messages::api_versions_response::ApiVersion;
    use logrun_wire::messages::{FetchRequest, MetadataRequest};

    #[test]
    fn the_highest_that_both_know() {
        let key = |api: ApiKey, min_version, max_version| ApiVersion {
            api_key: api.code(),
            min_version,
            max_version,
            ..Default::default()
        };
        let response = ApiVersionsResponse {
            api_keys: vec![key(ApiKey::Metadata, 0, 5), key(ApiKey::Fetch, 90, 99)],
            ..Default::default()
        };
        let versions = Versions::of("a:1", &response);
        let any = VersionRange::new(0, i16::MAX);
        assert_eq!(versions.pick::<MetadataRequest>(any), Ok(5));
        assert_eq!(versions.pick::<MetadataRequest>(VersionRange::new(0, 3)), Ok(3));
        assert!(versions.pick::<MetadataRequest>(VersionRange::new(6, 9)).is_err());
        assert!(versions.pick::<FetchRequest>(any).is_err());
        assert!(versions.pick::<logrun_wire::messages::VoteRequest>(any).is_err());
    }
}
