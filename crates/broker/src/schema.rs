//! What the controller asks about configs, answered from the tables of `crates/config`.

use std::collections::BTreeMap;

use logrun_config::describe::{self, Described};
use logrun_config::{BrokerConfig, BrokerSettings, Overrides, Resource, Type, alter};
use logrun_controller::{ApiError, ConfigSchema};
use logrun_metadata::{ConfigResource, ConfigResourceType};
use logrun_model::Str;
use logrun_wire::ErrorCode;
use logrun_wire::messages::create_topics_response::CreatableTopicConfigs;

/// The options that exist, seen from one node's static configuration.
#[derive(Debug)]
pub struct Schema {
    config: BrokerConfig,
}

impl Schema {
    pub fn new(config: BrokerConfig) -> Self {
        Self { config }
    }
}

/// The tables' word for a kind of resource; `None` for kinds that have no options here.
pub(crate) fn resource_of(resource_type: ConfigResourceType) -> Option<Resource> {
    match resource_type {
        ConfigResourceType::Topic => Some(Resource::Topic),
        ConfigResourceType::Broker => Some(Resource::Broker),
        ConfigResourceType::Group => Some(Resource::Group),
        ConfigResourceType::ClientMetrics => Some(Resource::ClientMetrics),
        _ => None,
    }
}

impl ConfigSchema for Schema {
    fn validate(
        &self,
        resource: &ConfigResource,
        configs: &BTreeMap<Str, Str>,
        changed: &[Str],
    ) -> Result<(), ApiError> {
        let Some(kind) = resource_of(resource.resource_type) else {
            return Err(ApiError::new(ErrorCode::InvalidRequest, "Unexpected resource type.".to_owned()));
        };
        // A name that a later Kafka wrote stays, and does not stand in the way of changing another.
        let judged = configs.iter().filter(|(name, _)| changed.contains(name) || kind.option(name).is_some());
        let judged: Overrides = judged.map(|(n, v)| (n.clone(), v.clone())).collect();
        let code =
            if kind.refuses_with_invalid_request() { ErrorCode::InvalidRequest } else { ErrorCode::InvalidConfig };
        alter::validate_all(kind, &resource.name, &self.config.settings, &judged)
            .map_err(|e| ApiError::new(code, e.to_string()))
    }

    fn is_list(&self, resource_type: ConfigResourceType, key: &str) -> bool {
        let option = resource_of(resource_type).and_then(|kind| kind.option(key));
        option.is_some_and(|o| o.kind == Type::List)
    }

    fn static_or_default(&self, resource_type: ConfigResourceType, key: &str) -> Option<Str> {
        match resource_type {
            ConfigResourceType::Broker => self.config.settings.text(key).map(Str::from),
            _ => {
                let wanted = |name: &str| name == key;
                let all = describe::topic(&self.config.settings, &Overrides::new(), &wanted).ok()?;
                all.into_iter().next()?.value.map(Str::from)
            }
        }
    }

    fn describe_topic(
        &self,
        explicit: &BTreeMap<Str, Str>,
        broker: &BTreeMap<Str, Str>,
        cluster: &BTreeMap<Str, Str>,
    ) -> Vec<CreatableTopicConfigs> {
        let settings = BrokerSettings {
            fixed: self.config.settings.fixed.clone(),
            dynamic_default: cluster.clone(),
            dynamic_broker: broker.clone(),
        };
        let all = describe::topic(&settings, explicit, &|_| true).unwrap_or_default();
        let each = all.into_iter().map(|Described { name, value, source, read_only, is_sensitive, .. }| {
            CreatableTopicConfigs {
                name: name.into(),
                value: value.map(Str::from),
                read_only,
                config_source: source.code(),
                is_sensitive,
                ..Default::default()
            }
        });
        each.collect()
    }
}
