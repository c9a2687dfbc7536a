//! What the controller must know of configs, told by whoever holds the table of options: [`ConfigSchema`].
//!
//! The controller decides who may set what and when; what a key means and which values it takes is not known here.

use std::collections::BTreeMap;

use logrun_metadata::{ConfigResource, ConfigResourceType};
use logrun_model::Str;
use logrun_wire::messages::create_topics_response::CreatableTopicConfigs;

use crate::error::ApiError;

/// The options of the broker, of topics, of groups and of client-metrics subscriptions.
pub trait ConfigSchema: Send + Sync + std::fmt::Debug {
    /// Checks the explicit configs that `resource` is to have. `changed` are the keys that this change touches.
    fn validate(
        &self,
        resource: &ConfigResource,
        configs: &BTreeMap<Str, Str>,
        changed: &[Str],
    ) -> Result<(), ApiError>;

    /// Whether the option's values are lists, to which items may be appended.
    fn is_list(&self, resource_type: ConfigResourceType, key: &str) -> bool;

    /// The value that `key` has on this node when nothing is set dynamically.
    fn static_or_default(&self, resource_type: ConfigResourceType, key: &str) -> Option<Str>;

    /// All configs of a topic with the given explicit ones, sorted by name, for the reply to CreateTopics.
    /// `cluster` are the dynamic defaults of all brokers and `broker` the dynamic configs of this one.
    fn describe_topic(
        &self,
        explicit: &BTreeMap<Str, Str>,
        broker: &BTreeMap<Str, Str>,
        cluster: &BTreeMap<Str, Str>,
    ) -> Vec<CreatableTopicConfigs>;
}

/// Takes every key and value: for tests of everything else.
#[derive(Clone, Copy, Debug, Default)]
pub struct AnyConfig;

impl ConfigSchema for AnyConfig {
    fn validate(&self, _: &ConfigResource, _: &BTreeMap<Str, Str>, _: &[Str]) -> Result<(), ApiError> {
        Ok(())
    }

    fn is_list(&self, _: ConfigResourceType, key: &str) -> bool {
        key == "cleanup.policy" || key.ends_with(".replicas")
    }

    fn static_or_default(&self, _: ConfigResourceType, key: &str) -> Option<Str> {
        (key == "min.insync.replicas").then(|| Str::from_static("1"))
    }

    fn describe_topic(
        &self,
        explicit: &BTreeMap<Str, Str>,
        _: &BTreeMap<Str, Str>,
        _: &BTreeMap<Str, Str>,
    ) -> Vec<CreatableTopicConfigs> {
        let describe = |(name, value): (&Str, &Str)| CreatableTopicConfigs {
            name: name.clone(),
            value: Some(value.clone()),
            // DYNAMIC_TOPIC_CONFIG
            config_source: 1,
            ..Default::default()
        };
        explicit.iter().map(describe).collect()
    }
}
