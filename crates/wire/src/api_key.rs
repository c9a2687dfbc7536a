//! [`ApiKey`]: Kafka's `ApiKeys`, generated from the schema: keys, names, versions, headers, listeners.

use std::fmt;

use crate::codec::VersionRange;

/// A kind of listener that serves an API: `ApiMessageType.ListenerType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Listener {
    Broker,
    Controller,
}

include!(concat!(env!("OUT_DIR"), "/api_key.rs"));

impl ApiKey {
    /// The API with this key, if there is one.
    pub fn from_i16(key: i16) -> Option<Self> {
        Self::ALL.binary_search_by_key(&key, |k| k.code()).ok().map(|i| Self::ALL[i])
    }

    /// The number on the wire.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// Is the API served on this kind of listener?
    pub fn on(self, listener: Listener) -> bool {
        self.listeners().contains(&listener)
    }

    /// The version of the request header that goes with a version of the request, known or not.
    pub const fn request_header_version(self, version: i16) -> i16 {
        if version >= self.first_flexible_version() { 2 } else { 1 }
    }

    /// The version of the response header. ApiVersions is always answered with version 0, since the client
    /// can't know yet what the broker supports (KIP-511).
    pub const fn response_header_version(self, version: i16) -> i16 {
        if matches!(self, Self::ApiVersions) || version < self.first_flexible_version() { 0 } else { 1 }
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_kafkas() {
        assert_eq!(ApiKey::from_i16(0), Some(ApiKey::Produce));
        assert_eq!(ApiKey::from_i16(18), Some(ApiKey::ApiVersions));
        assert_eq!(ApiKey::from_i16(4), None, "removed in 4.0");
        assert_eq!(ApiKey::from_i16(-1), None);
        assert_eq!(ApiKey::Produce.name(), "Produce");
        for key in ApiKey::ALL {
            assert_eq!(ApiKey::from_i16(key.code()), Some(*key));
        }
    }

    #[test]
    fn headers_follow_flexible_versions() {
        assert_eq!(ApiKey::Produce.request_header_version(8), 1);
        assert_eq!(ApiKey::Produce.request_header_version(9), 2);
        assert_eq!(ApiKey::Produce.response_header_version(9), 1);
        assert_eq!(ApiKey::ApiVersions.request_header_version(99), 2);
        assert_eq!(ApiKey::ApiVersions.response_header_version(4), 0);
        assert_eq!(ApiKey::SaslHandshake.request_header_version(1), 1);
    }

    #[test]
    fn an_unstable_version_is_not_among_the_stable_ones() {
        assert_eq!(ApiKey::InitProducerId.valid_versions().max, ApiKey::InitProducerId.stable_versions().max + 1);
        assert_eq!(ApiKey::Fetch.valid_versions(), ApiKey::Fetch.stable_versions());
        assert!(ApiKey::Vote.on(Listener::Controller) && !ApiKey::Vote.on(Listener::Broker));
    }
}
