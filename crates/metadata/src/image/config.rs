//! Configs as the metadata holds them: explicit values by resource (KIP-226, KIP-339).
//!
//! The resource of the empty name is the default of its type. What a value means is not known here.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use logrun_model::Str;

use crate::ordmap::OrdMap;

/// What kind of thing a config belongs to. Kafka's `ConfigResource.Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConfigResourceType {
    Topic,
    Broker,
    BrokerLogger,
    /// A subscription to client metrics (KIP-714).
    ClientMetrics,
    Group,
    /// Of a later Kafka; kept by number.
    Unknown(i8),
}

impl ConfigResourceType {
    pub const fn from_id(id: i8) -> Self {
        match id {
            2 => Self::Topic,
            4 => Self::Broker,
            8 => Self::BrokerLogger,
            16 => Self::ClientMetrics,
            32 => Self::Group,
            other => Self::Unknown(other),
        }
    }

    pub const fn id(self) -> i8 {
        match self {
            Self::Topic => 2,
            Self::Broker => 4,
            Self::BrokerLogger => 8,
            Self::ClientMetrics => 16,
            Self::Group => 32,
            Self::Unknown(id) => id,
        }
    }
}

/// A thing that has configs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigResource {
    pub resource_type: ConfigResourceType,
    /// A topic's name, a broker's id in decimal, a group's id; empty for the default of the type.
    pub name: Str,
}

impl ConfigResource {
    pub fn new(resource_type: ConfigResourceType, name: impl Into<Str>) -> Self {
        Self { resource_type, name: name.into() }
    }

    pub fn topic(name: impl Into<Str>) -> Self {
        Self::new(ConfigResourceType::Topic, name)
    }

    pub fn broker(id: i32) -> Self {
        Self::new(ConfigResourceType::Broker, id.to_string())
    }

    /// What holds for every broker unless it says otherwise itself.
    pub const DEFAULT_BROKER: Self = Self { resource_type: ConfigResourceType::Broker, name: Str::EMPTY };

    pub fn is_default(&self) -> bool {
        self.name.is_empty()
    }
}

impl fmt::Display for ConfigResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} '{}'", self.resource_type, self.name)
    }
}

impl fmt::Debug for ConfigResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The explicit configs of one resource, by key.
pub type ConfigMap = Arc<BTreeMap<Str, Str>>;

/// The explicit configs of all resources. A resource without any is not in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConfigurationsImage(OrdMap<ConfigResource, ConfigMap>);

impl ConfigurationsImage {
    /// The explicit configs of `resource`; empty if there are none.
    pub fn of(&self, resource: &ConfigResource) -> ConfigMap {
        self.0.get(resource).cloned().unwrap_or_default()
    }

    /// The explicit value of `key` on `resource`.
    pub fn get(&self, resource: &ConfigResource, key: &str) -> Option<&Str> {
        self.0.get(resource)?.get(key)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&ConfigResource, &ConfigMap)> {
        self.0.iter()
    }

    /// The resources of that type that have configs.
    pub fn of_type(&self, t: ConfigResourceType) -> impl Iterator<Item = (&ConfigResource, &ConfigMap)> {
        self.0.iter().filter(move |(r, _)| r.resource_type == t)
    }

    pub(crate) fn set(&mut self, resource: &ConfigResource, key: &Str, value: Option<&Str>) {
        if !self.0.contains_key(resource) {
            if value.is_none() {
                return;
            }
            let own = ConfigResource { resource_type: resource.resource_type, name: resource.name.detached() };
            self.0.insert(own, ConfigMap::default());
        }
        let Some(map) = self.0.get_mut(resource) else { return };
        let map = Arc::make_mut(map);
        match value {
            Some(v) => {
                map.insert(key.detached(), v.detached());
            }
            None => {
                map.remove(key);
                if map.is_empty() {
                    self.0.remove(resource);
                }
            }
        }
    }

    pub(crate) fn remove(&mut self, resource: &ConfigResource) -> bool {
        self.0.remove(resource).is_some()
    }
}
