//! What was set, where, and which layer wins.
//!
//! The layers of a broker option, strongest first: dynamic for this broker, dynamic for all brokers, static (command
//! line over environment over file over what Logrun has built in), Kafka's default. The dynamic layers live in the
//! metadata log; the static one never changes while the process runs.

use std::collections::BTreeMap;
use std::fmt;

use logrun_model::Str;

use crate::error::ConfigError;
use crate::key::ConfigKey;
use crate::tables::broker_options;
use crate::value::Value;

/// The configs of one resource as the metadata log keeps them.
pub type Overrides = BTreeMap<Str, Str>;

/// Where a static setting was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Logrun's own choice where nobody made one.
    BuiltIn,
    File {
        path: String,
        line: usize,
    },
    /// The name of the environment variable.
    Environment(String),
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("built in"),
            Self::File { path, line } => write!(f, "{path}, line {line}"),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::CommandLine => f.write_str("command line"),
        }
    }
}

/// One static setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    pub value: String,
    pub origin: Origin,
}

/// The layer that a value comes from, with DescribeConfigs' number of it: `ConfigSource` of Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i8)]
pub enum ConfigSource {
    Unknown = 0,
    Topic = 1,
    DynamicBroker = 2,
    DynamicDefaultBroker = 3,
    StaticBroker = 4,
    Default = 5,
    DynamicBrokerLogger = 6,
    ClientMetrics = 7,
    Group = 8,
}

impl ConfigSource {
    pub const fn code(self) -> i8 {
        self as i8
    }
}

/// All layers of one broker's options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerSettings {
    /// Set before the start; unknown names among them.
    pub fixed: BTreeMap<String, Setting>,
    /// Of the broker resource named "".
    pub dynamic_default: Overrides,
    /// Of the broker resource named by this broker's id.
    pub dynamic_broker: Overrides,
}

impl BrokerSettings {
    /// The strongest value of `name` and its layer; `None` if it is set nowhere and has no default.
    pub fn get(&self, name: &str) -> Option<(&str, ConfigSource)> {
        if let Some(value) = self.dynamic_broker.get(name) {
            return Some((value.as_str(), ConfigSource::DynamicBroker));
        }
        if let Some(value) = self.dynamic_default.get(name) {
            return Some((value.as_str(), ConfigSource::DynamicDefaultBroker));
        }
        if let Some(setting) = self.fixed.get(name) {
            return Some((&setting.value, ConfigSource::StaticBroker));
        }
        let text = broker_options().get(name)?.default.text()?;
        Some((text, ConfigSource::Default))
    }

    /// The strongest value of `name`, as text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).map(|(text, _)| text)
    }

    /// Whether somebody set `name`, in whichever layer.
    pub fn is_set(&self, name: &str) -> bool {
        self.get(name).is_some_and(|(_, source)| source != ConfigSource::Default)
    }

    /// The parsed value of `key`.
    ///
    /// # Errors
    /// If the text is not one that the option takes.
    pub(crate) fn parse(&self, key: &ConfigKey) -> Result<Option<Value>, ConfigError> {
        let Some((text, source)) = self.get(key.name) else { return Ok(None) };
        // Kafka's empty lists are defaults that its own rules would refuse.
        if source == ConfigSource::Default && text.is_empty() {
            return Ok(Some(match key.kind {
                crate::key::Type::List => Value::List(Vec::new()),
                _ => Value::String(String::new()),
            }));
        }
        let value = key.parse(text).map_err(|source| ConfigError::Value {
            origin: self.fixed.get(key.name).map(|setting| setting.origin.clone()),
            source,
        })?;
        Ok(Some(value))
    }
}
