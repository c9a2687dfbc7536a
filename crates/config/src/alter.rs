//! Changes of configs while the node runs: what IncrementalAlterConfigs and AlterConfigs check (KIP-339, KIP-226).
//!
//! Nothing is stored here: the controller's records are where a config lives.

use crate::error::{ConfigError, inconsistent};
use crate::key::{ConfigKey, Type, UpdateMode};
use crate::settings::{BrokerSettings, Overrides};
use crate::suggest::{self, Scope};
use crate::tables::{
    Options, broker_options, client_metrics_options, dynamic_only_option, group_options, topic_options,
};
use crate::topic::TopicConfig;

/// A kind of resource that has configs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    Topic,
    /// One broker, or with an empty name the default of all.
    Broker,
    Group,
    ClientMetrics,
}

impl Resource {
    /// By the number that the protocol and ConfigRecord have for it: `ConfigResource.Type`.
    pub const fn from_code(code: i8) -> Option<Self> {
        match code {
            2 => Some(Self::Topic),
            4 => Some(Self::Broker),
            16 => Some(Self::ClientMetrics),
            32 => Some(Self::Group),
            _ => None,
        }
    }

    /// Whether Kafka refuses a config of it with INVALID_REQUEST rather than INVALID_CONFIG.
    pub const fn refuses_with_invalid_request(self) -> bool {
        matches!(self, Self::Broker | Self::ClientMetrics)
    }

    /// What can be set on it.
    pub fn options(self) -> &'static Options {
        match self {
            Self::Topic => topic_options(),
            Self::Broker => broker_options(),
            Self::Group => group_options(),
            Self::ClientMetrics => client_metrics_options(),
        }
    }

    const fn scope(self) -> Scope {
        match self {
            Self::Topic => Scope::Topic,
            Self::Broker => Scope::Broker,
            Self::Group => Scope::Group,
            Self::ClientMetrics => Scope::ClientMetrics,
        }
    }

    /// The option of that name; for a broker also with a listener's prefix.
    pub fn option(self, name: &str) -> Option<&'static ConfigKey> {
        match self {
            Self::Broker => dynamic_only_option(name).or_else(|| self.options().get(without_listener(name))),
            _ => self.options().get(name),
        }
    }
}

/// What is done with one config: `AlterConfigOp.OpType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlterOp {
    Set,
    Delete,
    Append,
    Subtract,
}

impl AlterOp {
    /// By the number that the protocol has for it.
    pub const fn from_code(code: i8) -> Option<Self> {
        match code {
            0 => Some(Self::Set),
            1 => Some(Self::Delete),
            2 => Some(Self::Append),
            3 => Some(Self::Subtract),
            _ => None,
        }
    }
}

/// The option behind `listener.name.NAME.` and, for SASL, a mechanism's name; other names as they are.
pub(crate) fn without_listener(name: &str) -> &str {
    let Some(rest) = name.strip_prefix("listener.name.").and_then(|rest| rest.split_once('.')).map(|(_, rest)| rest)
    else {
        return name;
    };
    if broker_options().get(rest).is_some() {
        return rest;
    }
    match rest.split_once('.') {
        Some((_, inner)) if broker_options().get(inner).is_some() => inner,
        _ => rest,
    }
}

/// Whether a broker config from the metadata log can be used: known, changeable, readable.
pub(crate) fn is_dynamic_value(name: &str, value: &str) -> bool {
    let key = Resource::Broker.option(name);
    key.is_some_and(|key| key.update != UpdateMode::ReadOnly && key.parse(value).is_ok())
}

/// The value that `name` has after one operation, given the resource's own value before; `None` to delete it.
/// APPEND and SUBTRACT start from the option's default if the resource has no value of its own, as in Kafka.
///
/// # Errors
/// If the operation doesn't fit the option, or a value is needed and missing.
pub fn alter(
    resource: Resource,
    name: &str,
    op: AlterOp,
    value: Option<&str>,
    current: Option<&str>,
) -> Result<Option<String>, ConfigError> {
    if op == AlterOp::Delete {
        return Ok(None);
    }
    let value = value.ok_or_else(|| inconsistent(format!("{name} has no value to set: use DELETE to remove it")))?;
    if op == AlterOp::Set {
        return Ok(Some(value.to_owned()));
    }
    let key = resource.option(name).ok_or_else(|| unknown(resource, name))?;
    if key.kind != Type::List {
        let word = if op == AlterOp::Append { "append to" } else { "subtract from" };
        return Err(inconsistent(format!("can't {word} {name}, which is no list: use SET")));
    }
    let items = |text: &str| -> Vec<String> {
        text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
    };
    let mut list = items(current.or_else(|| key.default.text()).unwrap_or(""));
    for item in items(value) {
        match op {
            AlterOp::Append if list.contains(&item) => {}
            AlterOp::Append => list.push(item),
            _ => list.retain(|known| *known != item),
        }
    }
    Ok(Some(list.join(",")))
}

fn unknown(resource: Resource, name: &str) -> ConfigError {
    let hint = suggest::hint(name, resource.scope()).map_or_else(String::new, |hint| format!(": {hint}"));
    ConfigError::Unknown { name: name.to_owned(), hint }
}

/// Checks one config of a resource by itself. A broker takes names that nobody knows, as Kafka does, since they may
/// be a plugin's; those that resemble a known one are refused all the same, being slips of the hand.
///
/// # Errors
/// If the name is unknown or the value is not one that it takes.
pub fn validate(resource: Resource, name: &str, value: &str) -> Result<(), ConfigError> {
    let Some(key) = resource.option(name) else {
        let error = unknown(resource, name);
        let foreign =
            resource == Resource::Broker && matches!(&error, ConfigError::Unknown { hint, .. } if hint.is_empty());
        return if foreign { Ok(()) } else { Err(error) };
    };
    key.parse(value).map_err(|source| ConfigError::Value { origin: None, source })?;
    Ok(())
}

/// Checks one config of a topic.
///
/// # Errors
/// As [`validate`].
pub fn validate_topic_config(name: &str, value: &str) -> Result<(), ConfigError> {
    validate(Resource::Topic, name, value)
}

/// Checks all configs that a resource would have after a change.
///
/// # Errors
/// The first config that is unknown, unreadable, not changeable here, or at odds with another.
pub fn validate_all(
    resource: Resource,
    resource_name: &str,
    settings: &BrokerSettings,
    configs: &Overrides,
) -> Result<(), ConfigError> {
    for (name, value) in configs {
        validate(resource, name, value)?;
    }
    match resource {
        Resource::Topic => TopicConfig::resolve(settings, configs).map(|_| ()),
        Resource::Broker => configs.keys().try_for_each(|name| changeable(resource_name, name)),
        Resource::Group => crate::limits::check_group(settings, configs),
        Resource::ClientMetrics => crate::limits::check_client_metrics(configs),
    }
}

/// Whether a broker option can change on this resource while brokers run.
fn changeable(resource_name: &str, name: &str) -> Result<(), ConfigError> {
    let Some(key) = Resource::Broker.option(name) else { return Ok(()) };
    match key.update {
        UpdateMode::ReadOnly => Err(inconsistent(format!(
            "{name} can't change while the broker runs: set it in the broker's configuration and restart"
        ))),
        UpdateMode::PerBroker if resource_name.is_empty() => {
            Err(inconsistent(format!("{name} can't be a default of all brokers: set it for one broker by its id")))
        }
        _ if resource_name.is_empty() && name.starts_with("listener.name.") => {
            Err(inconsistent(format!("{name} belongs to one listener: set it for one broker by its id")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_grow_and_shrink() {
        let policy = |op, value, current| alter(Resource::Topic, "cleanup.policy", op, Some(value), current);
        assert_eq!(policy(AlterOp::Append, "compact", None), Ok(Some("delete,compact".to_owned())));
        assert_eq!(policy(AlterOp::Append, "delete", Some("delete")), Ok(Some("delete".to_owned())));
        assert_eq!(policy(AlterOp::Subtract, "delete", Some("compact,delete")), Ok(Some("compact".to_owned())));
        assert_eq!(policy(AlterOp::Subtract, "delete", None), Ok(Some(String::new())));
        assert_eq!(policy(AlterOp::Set, "x", Some("y")), Ok(Some("x".to_owned())));
        assert_eq!(policy(AlterOp::Delete, "x", Some("y")), Ok(None));
        let e = alter(Resource::Topic, "retention.ms", AlterOp::Append, Some("1"), None).expect_err("a number");
        assert_eq!(e.to_string(), "can't append to retention.ms, which is no list: use SET");
    }

    #[test]
    fn brokers_change_only_what_can_change() {
        let check = |resource: &str, name: &str, value: &str| {
            let configs: Overrides = [(name.into(), value.into())].into_iter().collect();
            validate_all(Resource::Broker, resource, &BrokerSettings::default(), &configs).map_err(|e| e.to_string())
        };
        assert_eq!(check("1", "log.retention.ms", "5"), Ok(()));
        assert_eq!(check("1", "my.plugin.setting", "5"), Ok(()));
        assert_eq!(check("", "log.retention.ms", "5"), Ok(()));
        assert_eq!(check("1", "listener.name.plaintext.max.connections", "5"), Ok(()));
        assert!(check("", "listener.name.plaintext.max.connections", "5").is_err());
        assert!(check("", "listeners", "PLAINTEXT://:1").is_err());
        assert!(check("1", "log.dirs", "/x").is_err());
        assert!(check("1", "log.retention.ms", "soon").is_err());
        // What Kafka has for brokers and for no file.
        let throttle = "replica.alter.log.dirs.io.max.bytes.per.second";
        assert_eq!((check("1", throttle, "5"), check("", throttle, "0")), (Ok(()), Ok(())));
        assert!(check("1", throttle, "-1").is_err() && check("1", throttle, "fast").is_err());
        let e = check("1", "log.retention.mss", "1").expect_err("misspelt");
        assert!(e.contains("did you mean `log.retention.ms`"), "{e}");
    }

    #[test]
    fn topics_are_checked_as_a_whole() {
        let check = |pairs: &[(&str, &str)]| {
            let configs: Overrides = pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
            validate_all(Resource::Topic, "t", &BrokerSettings::default(), &configs)
        };
        assert_eq!(check(&[("retention.ms", "-1"), ("logrun.durability", "sync")]), Ok(()));
        assert!(check(&[("min.compaction.lag.ms", "9"), ("max.compaction.lag.ms", "8")]).is_err());
        assert!(check(&[("log.retention.ms", "8")]).is_err());
        assert!(validate_topic_config("retention.ms", "-2").is_err());
    }
}
