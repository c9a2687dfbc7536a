//! DescribeConfigs: values, where they come from, what else they would be, and the options' texts (KIP-226, KIP-569).
//!
//! `ConfigHelper` in Kafka. A password's value is never in an answer, and neither is the value of a name that nobody
//! knows, since it may be a plugin's password.

use std::collections::BTreeMap;

use crate::error::ConfigError;
use crate::key::{ConfigKey, Type, UpdateMode};
use crate::settings::{BrokerSettings, ConfigSource, Overrides};
use crate::tables::{Options, broker_options, client_metrics_options, group_options, topic_options};
use crate::topic::Resolved;
use crate::value::Value;

/// A value that a config has, or would have if the stronger ones were deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SynonymValue {
    pub name: String,
    /// `None` if it is sensitive.
    pub value: Option<String>,
    pub source: ConfigSource,
}

/// One config of a resource as DescribeConfigs answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    pub name: String,
    /// `None` if it has none or is sensitive.
    pub value: Option<String>,
    pub source: ConfigSource,
    pub read_only: bool,
    pub is_sensitive: bool,
    /// `None` for a name that nobody knows.
    pub kind: Option<Type>,
    /// The strongest first; the first is the value itself.
    pub synonyms: Vec<SynonymValue>,
    pub documentation: Option<&'static str>,
}

impl Described {
    /// DescribeConfigs' number of the type; 0 for unknown.
    pub const fn type_code(&self) -> i8 {
        match self.kind {
            Some(kind) => kind.code(),
            None => 0,
        }
    }
}

/// The configs of a topic, sorted by name. `wanted` says which.
///
/// # Errors
/// If a value in the metadata log can't be read.
pub fn topic(
    settings: &BrokerSettings,
    overrides: &Overrides,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Vec<Described>, ConfigError> {
    resource(settings, overrides, topic_options(), ConfigSource::Topic, wanted)
}

/// The configs of a group, sorted by name. `wanted` says which.
///
/// # Errors
/// If a value in the metadata log can't be read.
pub fn group(
    settings: &BrokerSettings,
    overrides: &Overrides,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Vec<Described>, ConfigError> {
    let mut all = resource(settings, overrides, group_options(), ConfigSource::Group, wanted)?;
    // Where no broker option stands behind a group's, Kafka names the group's own default.
    for described in &mut all {
        let key = group_options().get(&described.name);
        if let Some(default) = key.filter(|key| key.synonyms.is_empty()).and_then(|key| key.default.text()) {
            described.synonyms.push(SynonymValue {
                name: described.name.clone(),
                value: Some(default.to_owned()),
                source: ConfigSource::Default,
            });
        }
    }
    Ok(all)
}

/// The configs of a client-metrics subscription, sorted by name. `wanted` says which.
///
/// # Errors
/// If a value in the metadata log can't be read.
pub fn client_metrics(overrides: &Overrides, wanted: &dyn Fn(&str) -> bool) -> Result<Vec<Described>, ConfigError> {
    let none = BrokerSettings::default();
    resource(&none, overrides, client_metrics_options(), ConfigSource::ClientMetrics, wanted)
}

fn resource(
    settings: &BrokerSettings,
    overrides: &Overrides,
    options: &'static Options,
    own: ConfigSource,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Vec<Described>, ConfigError> {
    let resolved = Resolved { settings, overrides, options };
    let mut all = Vec::new();
    for key in options.iter().filter(|key| wanted(key.name) && (!key.internal || overrides.contains_key(key.name))) {
        let text = overrides.get(key.name);
        // What can't be read is shown as it stands: someone has to see it to mend it.
        let value = match text {
            Some(text) => Some(key.parse(text).map_or_else(|_| text.to_string(), |value| value.to_string())),
            None => resolved.inherited(key)?.0.map(|value| value.to_string()),
        };
        let mut synonyms = Vec::new();
        if text.is_some() {
            synonyms.push(SynonymValue { name: key.name.to_owned(), value: value.clone(), source: own });
        }
        let names: Vec<&str> = key.synonyms.iter().map(|synonym| synonym.name).collect();
        if let Some(first) = names.first() {
            synonyms.extend(broker_synonyms(settings, first, &names, false));
        }
        all.push(described(key, value, synonyms, false));
    }
    Ok(all)
}

fn described(key: &ConfigKey, value: Option<String>, synonyms: Vec<SynonymValue>, read_only: bool) -> Described {
    Described {
        name: key.name.to_owned(),
        value: value.filter(|_| !key.is_sensitive()),
        source: synonyms.first().map_or(ConfigSource::Default, |synonym| synonym.source),
        read_only,
        is_sensitive: key.is_sensitive(),
        kind: Some(key.kind),
        synonyms,
        documentation: Some(key.text),
    }
}

/// The values of `names`, layer by layer; what stands before the first of `name` itself is left out, as in Kafka.
fn broker_synonyms(settings: &BrokerSettings, name: &str, names: &[&str], sensitive: bool) -> Vec<SynonymValue> {
    let mut all = Vec::new();
    let mut layer = |source: ConfigSource, of: &dyn Fn(&str) -> Option<String>| {
        for name in names {
            if let Some(value) = of(name) {
                let value = Some(value).filter(|_| !sensitive);
                all.push(SynonymValue { name: (*name).to_owned(), value, source });
            }
        }
    };
    let dynamic = |configs: &Overrides, name: &str| configs.get(name).map(ToString::to_string);
    layer(ConfigSource::DynamicBroker, &|name| dynamic(&settings.dynamic_broker, name));
    layer(ConfigSource::DynamicDefaultBroker, &|name| dynamic(&settings.dynamic_default, name));
    layer(ConfigSource::StaticBroker, &|name| settings.fixed.get(name).map(|setting| setting.value.clone()));
    layer(ConfigSource::Default, &|name| {
        broker_options().get(name).and_then(|key| key.default.text()).map(str::to_owned)
    });
    let first = all.iter().position(|synonym| synonym.name == name).unwrap_or(all.len());
    all.split_off(first)
}

/// The broker options that stand for each other, the one that wins first: `DynamicBrokerConfig.brokerConfigSynonyms`.
const BROKER_SYNONYMS: &[&[&str]] = &[
    &["log.retention.ms", "log.retention.minutes", "log.retention.hours"],
    &["log.roll.ms", "log.roll.hours"],
    &["log.roll.jitter.ms", "log.roll.jitter.hours"],
];

fn synonyms_of(name: &str) -> Vec<&str> {
    if let Some(known) = BROKER_SYNONYMS.iter().find(|names| names.contains(&name)) {
        return known.to_vec();
    }
    // One way only: the scheduler's interval stands in for the flush interval.
    if name == "log.flush.interval.ms" {
        return vec![name, "log.flush.scheduler.interval.ms"];
    }
    // A listener's own option falls back on the plain one.
    let plain = crate::alter::without_listener(name);
    if plain == name { vec![name] } else { vec![name, plain] }
}

/// The configs of this broker, sorted by name. `wanted` says which.
pub fn broker(settings: &BrokerSettings, wanted: &dyn Fn(&str) -> bool) -> Vec<Described> {
    let mut names: BTreeMap<&str, Option<&'static ConfigKey>> =
        broker_options().iter().filter(|key| !key.internal).map(|key| (key.name, Some(key))).collect();
    let set = settings.fixed.keys().map(String::as_str);
    let dynamic = settings.dynamic_default.keys().chain(settings.dynamic_broker.keys()).map(|name| name.as_str());
    for name in set.chain(dynamic) {
        names.insert(name, broker_options().get(crate::alter::without_listener(name)));
    }
    names.into_iter().filter(|(name, _)| wanted(name)).map(|(name, key)| broker_config(settings, name, key)).collect()
}

fn broker_config(settings: &BrokerSettings, name: &str, key: Option<&'static ConfigKey>) -> Described {
    let sensitive = key.is_none_or(ConfigKey::is_sensitive);
    let synonyms = broker_synonyms(settings, name, &synonyms_of(name), sensitive);
    let Some(key) = key else {
        return Described {
            name: name.to_owned(),
            value: None,
            source: synonyms.first().map_or(ConfigSource::Default, |synonym| synonym.source),
            read_only: true,
            is_sensitive: true,
            kind: None,
            synonyms,
            documentation: None,
        };
    };
    let value = settings.text(name).map(|text| shown(key, text));
    Described { name: name.to_owned(), ..described(key, value, synonyms, key.update == UpdateMode::ReadOnly) }
}

/// `text` as Kafka writes the value it reads from it.
fn shown(key: &ConfigKey, text: &str) -> String {
    match key.parse(text) {
        Ok(Value::List(items)) => items.join(","),
        Ok(value) => value.to_string(),
        Err(_) => text.to_owned(),
    }
}

/// The configs that are set as the default of all brokers, sorted by name. `wanted` says which.
pub fn broker_default(default: &Overrides, wanted: &dyn Fn(&str) -> bool) -> Vec<Described> {
    let mut all = Vec::new();
    for (name, text) in default.iter().filter(|(name, _)| wanted(name)) {
        let key = broker_options().get(crate::alter::without_listener(name));
        let is_sensitive = key.is_none_or(ConfigKey::is_sensitive);
        let value = Some(text.to_string()).filter(|_| !is_sensitive);
        let source = ConfigSource::DynamicDefaultBroker;
        all.push(Described {
            name: name.to_string(),
            value: value.clone(),
            source,
            read_only: key.is_none_or(|key| key.update == UpdateMode::ReadOnly),
            is_sensitive,
            kind: key.map(|key| key.kind),
            synonyms: vec![SynonymValue { name: name.to_string(), value, source }],
            documentation: key.map(|key| key.text),
        });
    }
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::settings::{Origin, Setting};

    fn overrides(pairs: &[(&str, &str)]) -> Overrides {
        pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect()
    }

    /// The settings of the broker of Apache Kafka 4.3.1 that answered what the data file holds.
    fn asked() -> BrokerSettings {
        let fixed = [
            ("process.roles", "broker,controller"),
            ("node.id", "1"),
            ("broker.id", "1"),
            ("listeners", "PLAINTEXT://127.0.0.1:29792,CONTROLLER://127.0.0.1:29793"),
            ("advertised.listeners", "PLAINTEXT://127.0.0.1:29792"),
            ("controller.listener.names", "CONTROLLER"),
            ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"),
            ("controller.quorum.bootstrap.servers", "127.0.0.1:29793"),
            ("log.dirs", "/data"),
            ("offsets.topic.replication.factor", "1"),
            ("transaction.state.log.replication.factor", "1"),
            ("transaction.state.log.min.isr", "1"),
            ("share.coordinator.state.topic.replication.factor", "1"),
            ("share.coordinator.state.topic.min.isr", "1"),
            ("group.initial.rebalance.delay.ms", "0"),
            ("log.retention.hours", "48"),
            ("log.roll.hours", "24"),
            ("num.partitions", "3"),
            ("unknown.key", "5"),
            ("log.cleaner.min.cleanable.ratio", "0.4"),
            ("auto.create.topics.enable", "FALSE"),
        ];
        let setting = |v: &str| Setting { value: v.to_owned(), origin: Origin::CommandLine };
        BrokerSettings {
            fixed: fixed.iter().map(|(k, v)| ((*k).to_owned(), setting(v))).collect(),
            dynamic_default: overrides(&[
                ("log.segment.bytes", "2000000"),
                ("compression.type", "lz4"),
                ("log.cleaner.io.max.bytes.per.second", "1e7"),
                ("min.insync.replicas", "1"),
            ]),
            dynamic_broker: overrides(&[
                ("log.retention.ms", "7000"),
                ("compression.type", "gzip"),
                ("log.cleaner.backoff.ms", "20000"),
            ]),
        }
    }

    const KAFKA: &str = include_str!("../testdata/kafka-4.3.1-describe.tsv");

    fn source_name(source: ConfigSource) -> &'static str {
        match source {
            ConfigSource::Unknown => "UNKNOWN",
            ConfigSource::Topic => "DYNAMIC_TOPIC_CONFIG",
            ConfigSource::DynamicBroker => "DYNAMIC_BROKER_CONFIG",
            ConfigSource::DynamicDefaultBroker => "DYNAMIC_DEFAULT_BROKER_CONFIG",
            ConfigSource::StaticBroker => "STATIC_BROKER_CONFIG",
            ConfigSource::Default => "DEFAULT_CONFIG",
            ConfigSource::DynamicBrokerLogger => "DYNAMIC_BROKER_LOGGER_CONFIG",
            ConfigSource::ClientMetrics => "DYNAMIC_CLIENT_METRICS_CONFIG",
            ConfigSource::Group => "DYNAMIC_GROUP_CONFIG",
        }
    }

    fn line(resource: &str, d: &Described) -> String {
        let null = |value: &Option<String>| value.clone().unwrap_or_else(|| "null".to_owned());
        let synonyms: String =
            d.synonyms.iter().map(|s| format!("{}:{}={};", source_name(s.source), s.name, null(&s.value))).collect();
        [
            resource,
            &d.name,
            &null(&d.value),
            source_name(d.source),
            if d.read_only { "ro" } else { "rw" },
            if d.is_sensitive { "secret" } else { "open" },
            &d.kind.map_or_else(|| "UNKNOWN".to_owned(), |kind| kind.name().to_uppercase()),
            &synonyms,
            if d.documentation.is_some() { "doc" } else { "nodoc" },
        ]
        .join("\t")
    }

    #[test]
    fn answers_as_kafka_answers() {
        let settings = asked();
        let every = |_: &str| true;
        let own = overrides(&[
            ("retention.ms", "1000"),
            ("cleanup.policy", "compact,delete"),
            ("min.cleanable.dirty.ratio", "0.25"),
        ]);
        let none = Overrides::new();
        let answers = [
            ("TOPIC:plain", topic(&settings, &none, &every).expect("valid")),
            ("TOPIC:own", topic(&settings, &own, &every).expect("valid")),
            ("BROKER:1", broker(&settings, &every)),
            ("BROKER:", broker_default(&settings.dynamic_default, &every)),
            (
                "GROUP:g",
                group(&settings, &overrides(&[("consumer.session.timeout.ms", "50000")]), &every).expect("valid"),
            ),
            ("GROUP:none", group(&settings, &none, &every).expect("valid")),
            ("CLIENT_METRICS:m", client_metrics(&overrides(&[("interval.ms", "60000")]), &every).expect("valid")),
            ("CLIENT_METRICS:none", client_metrics(&none, &every).expect("valid")),
        ];
        let ours: BTreeSet<String> = answers
            .iter()
            .flat_map(|(resource, all)| all.iter().map(move |d| line(resource, d)))
            .filter(|line| !line.contains("logrun."))
            .collect();
        // Kafka forgets the hours in the file once the milliseconds are set dynamically, and shows their default.
        let kafka = KAFKA.replace("log.retention.hours\t168\tSTATIC", "log.retention.hours\t48\tSTATIC");
        let kafka: BTreeSet<String> = kafka.lines().map(str::to_owned).collect();
        let differ: Vec<&String> = ours.symmetric_difference(&kafka).collect();
        assert!(differ.is_empty(), "{differ:#?}");
    }

    #[test]
    fn only_what_is_asked_for_is_answered() {
        let one = topic(&asked(), &Overrides::new(), &|name| name == "retention.ms").expect("valid");
        assert_eq!(one.iter().map(|d| d.name.as_str()).collect::<Vec<_>>(), ["retention.ms"]);
    }

    #[test]
    fn secrets_stay_secret() {
        let mut settings = asked();
        let secret = Setting { value: "hunter2".to_owned(), origin: Origin::CommandLine };
        for name in ["ssl.key.password", "listener.name.internal.ssl.key.password", "my.plugin.password"] {
            settings.fixed.insert(name.to_owned(), secret.clone());
        }
        assert!(!format!("{:?}", broker(&settings, &|_| true)).contains("hunter2"));
    }
}
