//! The clients' configuration, typed: `ProducerConfig`, `ConsumerConfig` and `AdminClientConfig` of Kafka.
//!
//! [`ClientSettings`] holds what was set, as text under Kafka's names; the structs are read from it. A name that no
//! client knows is answered with what was probably meant.

use std::collections::BTreeMap;

use crate::duration::OffsetReset;
use crate::error::{ConfigError, ConfigErrors};
use crate::fields::{Field, Values, option_struct, text_enum};
use crate::group::IsolationLevel;
use crate::key::{Effect, Type};
use crate::listeners::SecurityProtocol;
use crate::properties;
use crate::suggest::{Scope, hint};
use crate::tables::{Options, admin_options, consumer_options, producer_options};
use crate::value::Value;

/// What a client is, which decides what it can be configured with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKind {
    Producer,
    Consumer,
    Admin,
}

impl ClientKind {
    fn options(self) -> &'static Options {
        match self {
            Self::Producer => producer_options(),
            Self::Consumer => consumer_options(),
            Self::Admin => admin_options(),
        }
    }
}

/// What was set for a client, as text.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ClientSettings(BTreeMap<String, String>);

impl std::fmt::Debug for ClientSettings {
    /// Values may be secrets; the names are not.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl ClientSettings {
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets an option; the last value counts.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    /// What was set under `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All that was set, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Sets all pairs of the text of a `.properties` file. `path` is for messages.
    ///
    /// # Errors
    /// If the text is malformed.
    pub fn load(&mut self, path: &str, text: &str) -> Result<(), ConfigError> {
        let parsed = properties::parse(text).map_err(|source| ConfigError::File { path: path.to_owned(), source })?;
        for property in parsed {
            self.set(property.key, property.value);
        }
        Ok(())
    }

    /// Sets one `name=value`, as it is given on a command line.
    ///
    /// # Errors
    /// If there is no `=`.
    pub fn set_pair(&mut self, pair: &str) -> Result<(), ConfigError> {
        let (name, value) = pair.split_once('=').ok_or_else(|| ConfigError::NoSetting { text: pair.to_owned() })?;
        self.set(name.trim(), value.trim());
        Ok(())
    }

    /// The names that no kind of client knows, each with a hint. A producer may be given the file of a consumer.
    pub fn unknown(&self) -> Vec<ConfigError> {
        let kinds = [ClientKind::Producer, ClientKind::Consumer, ClientKind::Admin];
        let unknown = self.0.keys().filter(|name| kinds.iter().all(|kind| kind.options().get(name).is_none()));
        unknown
            .map(|name| {
                let hint = hint(name, Scope::Client).map_or_else(String::new, |hint| format!(": {hint}"));
                ConfigError::Unknown { name: name.clone(), hint }
            })
            .collect()
    }

    /// What was set and has no effect on a client of this kind though one might count on it: a sentence each.
    pub fn without_effect(&self, kind: ClientKind) -> Vec<String> {
        let keys = self.0.keys().filter_map(|name| kind.options().get(name));
        keys.filter_map(|key| match key.effect {
            Effect::Accepted(why) if why.is_gap() => Some(format!("{} has no effect: {}", key.name, why.text())),
            _ => None,
        })
        .collect()
    }

    /// Checks every known value of a client of this kind.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn check(&self, kind: ClientKind) -> Result<(), ConfigErrors> {
        let values = Of { settings: self, kind };
        let wrong: Vec<ConfigError> = self
            .0
            .keys()
            .filter(|name| kind.options().get(name).is_some())
            .filter_map(|name| values.value(name).err())
            .collect();
        if wrong.is_empty() { Ok(()) } else { Err(ConfigErrors(wrong)) }
    }
}

/// The settings as a client of a kind reads them.
struct Of<'a> {
    settings: &'a ClientSettings,
    kind: ClientKind,
}

impl Values for Of<'_> {
    fn value(&self, name: &str) -> Result<Option<Value>, ConfigError> {
        let Some(key) = self.kind.options().get(name) else { return Ok(None) };
        if let Some(text) = self.settings.get(name) {
            return key.parse(text).map(Some).map_err(|source| ConfigError::Value { origin: None, source });
        }
        Ok(match key.default.text() {
            // Kafka's own empty defaults need not be values that it would take.
            Some("") if key.kind == Type::List => Some(Value::List(Vec::new())),
            Some("") => Some(Value::String(String::new())),
            Some(text) => Some(key.parse(text).map_err(|source| ConfigError::Value { origin: None, source })?),
            None => None,
        })
    }
}

/// The codec of a producer's batches: `compression.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Field for Codec {
    fn of(value: Option<Value>) -> Option<Self> {
        let Some(Value::String(text)) = value else { return None };
        Some(match text.as_str() {
            "none" => Self::None,
            "gzip" => Self::Gzip,
            "snappy" => Self::Snappy,
            "lz4" => Self::Lz4,
            "zstd" => Self::Zstd,
            _ => return None,
        })
    }
}

text_enum! {
    /// What to do when no known broker answers: `metadata.recovery.strategy`.
    MetadataRecovery {
        None = "none",
        Rebootstrap = "rebootstrap",
    }
}

impl Field for SecurityProtocol {
    fn of(value: Option<Value>) -> Option<Self> {
        match value {
            Some(Value::String(text)) => Self::parse(&text),
            _ => None,
        }
    }
}

/// Where a consumer begins without a committed offset: `auto.offset.reset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoOffsetReset {
    /// It is an error.
    None,
    To(OffsetReset),
}

impl Field for AutoOffsetReset {
    fn of(value: Option<Value>) -> Option<Self> {
        match value {
            Some(Value::String(text)) if text == "none" => Some(Self::None),
            Some(Value::String(text)) => OffsetReset::parse(&text).map(Self::To),
            _ => None,
        }
    }
}

option_struct! {
    /// What every client can be configured with.
    ClientConfig {
        bootstrap_servers: Vec<String> = "bootstrap.servers",
        client_dns_lookup: String = "client.dns.lookup",
        client_id: String = "client.id",
        connections_max_idle_ms: i64 = "connections.max.idle.ms",
        metadata_max_age_ms: i64 = "metadata.max.age.ms",
        metadata_recovery_rebootstrap_trigger_ms: i64 = "metadata.recovery.rebootstrap.trigger.ms",
        metadata_recovery_strategy: MetadataRecovery = "metadata.recovery.strategy",
        reconnect_backoff_max_ms: i64 = "reconnect.backoff.max.ms",
        reconnect_backoff_ms: i64 = "reconnect.backoff.ms",
        request_timeout_ms: i32 = "request.timeout.ms",
        retry_backoff_max_ms: i64 = "retry.backoff.max.ms",
        retry_backoff_ms: i64 = "retry.backoff.ms",
        sasl_jaas_config: Option<String> = "sasl.jaas.config",
        sasl_mechanism: String = "sasl.mechanism",
        security_protocol: SecurityProtocol = "security.protocol",
        socket_connection_setup_timeout_max_ms: i64 = "socket.connection.setup.timeout.max.ms",
        socket_connection_setup_timeout_ms: i64 = "socket.connection.setup.timeout.ms",
        ssl_enabled_protocols: Vec<String> = "ssl.enabled.protocols",
        ssl_endpoint_identification_algorithm: Option<String> = "ssl.endpoint.identification.algorithm",
        ssl_keystore_certificate_chain: Option<String> = "ssl.keystore.certificate.chain",
        ssl_keystore_key: Option<String> = "ssl.keystore.key",
        ssl_keystore_location: Option<String> = "ssl.keystore.location",
        ssl_keystore_type: String = "ssl.keystore.type",
        ssl_truststore_certificates: Option<String> = "ssl.truststore.certificates",
        ssl_truststore_location: Option<String> = "ssl.truststore.location",
        ssl_truststore_type: String = "ssl.truststore.type",
    }
}

option_struct! {
    /// What only an admin client can be configured with.
    AdminConfig {
        bootstrap_controllers: Vec<String> = "bootstrap.controllers",
        default_api_timeout_ms: i32 = "default.api.timeout.ms",
        retries: i32 = "retries",
    }
}

option_struct! {
    /// What only a producer can be configured with.
    ProducerConfig {
        acks: String = "acks",
        batch_size: i32 = "batch.size",
        buffer_memory: i64 = "buffer.memory",
        compression_gzip_level: i32 = "compression.gzip.level",
        compression_type: Codec = "compression.type",
        compression_zstd_level: i32 = "compression.zstd.level",
        delivery_timeout_ms: i32 = "delivery.timeout.ms",
        enable_idempotence: bool = "enable.idempotence",
        linger_ms: i64 = "linger.ms",
        max_block_ms: i64 = "max.block.ms",
        max_in_flight_requests_per_connection: i32 = "max.in.flight.requests.per.connection",
        max_request_size: i32 = "max.request.size",
        metadata_max_idle_ms: i64 = "metadata.max.idle.ms",
        partitioner_adaptive_partitioning_enable: bool = "partitioner.adaptive.partitioning.enable",
        partitioner_availability_timeout_ms: i64 = "partitioner.availability.timeout.ms",
        partitioner_class: Option<String> = "partitioner.class",
        partitioner_ignore_keys: bool = "partitioner.ignore.keys",
        retries: i32 = "retries",
        transaction_timeout_ms: i32 = "transaction.timeout.ms",
        transactional_id: Option<String> = "transactional.id",
    }
}

option_struct! {
    /// What only a consumer can be configured with.
    ConsumerConfig {
        allow_auto_create_topics: bool = "allow.auto.create.topics",
        auto_commit_interval_ms: i32 = "auto.commit.interval.ms",
        auto_offset_reset: AutoOffsetReset = "auto.offset.reset",
        check_crcs: bool = "check.crcs",
        client_rack: String = "client.rack",
        default_api_timeout_ms: i32 = "default.api.timeout.ms",
        enable_auto_commit: bool = "enable.auto.commit",
        exclude_internal_topics: bool = "exclude.internal.topics",
        fetch_max_bytes: i32 = "fetch.max.bytes",
        fetch_max_wait_ms: i32 = "fetch.max.wait.ms",
        fetch_min_bytes: i32 = "fetch.min.bytes",
        group_id: Option<String> = "group.id",
        group_instance_id: Option<String> = "group.instance.id",
        group_protocol: String = "group.protocol",
        group_remote_assignor: Option<String> = "group.remote.assignor",
        heartbeat_interval_ms: i32 = "heartbeat.interval.ms",
        isolation_level: IsolationLevel = "isolation.level",
        max_partition_fetch_bytes: i32 = "max.partition.fetch.bytes",
        max_poll_interval_ms: i32 = "max.poll.interval.ms",
        max_poll_records: i32 = "max.poll.records",
        partition_assignment_strategy: Vec<String> = "partition.assignment.strategy",
        session_timeout_ms: i32 = "session.timeout.ms",
        share_acknowledgement_mode: String = "share.acknowledgement.mode",
        share_acquire_mode: String = "share.acquire.mode",
    }
}

impl ClientConfig {
    /// The part that every client of `kind` has.
    ///
    /// # Errors
    /// If a value can't be read or a required one is missing.
    pub fn resolve(settings: &ClientSettings, kind: ClientKind) -> Result<Self, ConfigError> {
        if settings.get("bootstrap.servers").is_none_or(|s| s.trim().is_empty())
            && settings.get("bootstrap.controllers").is_none_or(|s| s.trim().is_empty())
        {
            let remedy = "give it the `host:port` of a broker or of several".to_owned();
            return Err(ConfigError::Missing { name: "bootstrap.servers".to_owned(), remedy });
        }
        let mut config = Self::read(&Fallback(Of { settings, kind }))?;
        config.bootstrap_servers.retain(|server| !server.is_empty());
        Ok(config)
    }
}

/// As [`Of`], with an empty list where a required one was not set (`bootstrap.servers` of an admin client).
struct Fallback<'a>(Of<'a>);

impl Values for Fallback<'_> {
    fn value(&self, name: &str) -> Result<Option<Value>, ConfigError> {
        match self.0.value(name)? {
            None if name == "bootstrap.servers" => Ok(Some(Value::List(Vec::new()))),
            value => Ok(value),
        }
    }
}

impl AdminConfig {
    /// # Errors
    /// If a value can't be read.
    pub fn resolve(settings: &ClientSettings) -> Result<Self, ConfigError> {
        Self::read(&Of { settings, kind: ClientKind::Admin })
    }
}

impl ProducerConfig {
    /// # Errors
    /// If a value can't be read, or two contradict each other.
    pub fn resolve(settings: &ClientSettings) -> Result<Self, ConfigError> {
        let mut config = Self::read(&Of { settings, kind: ClientKind::Producer })?;
        let set = |name| settings.get(name).is_some();
        // What Kafka's `ProducerConfig.postProcessAndValidateIdempotenceConfigs` does.
        let all = matches!(config.acks.as_str(), "all" | "-1");
        let contradiction = if config.retries == 0 {
            Some("retries=0")
        } else if !all {
            Some("acks other than all")
        } else if config.max_in_flight_requests_per_connection > 5 {
            Some("max.in.flight.requests.per.connection above 5")
        } else {
            None
        };
        let wanted = config.enable_idempotence && set("enable.idempotence");
        match contradiction {
            Some(what) if wanted || config.transactional_id.is_some() => {
                return Err(ConfigError::Inconsistent(format!("an idempotent producer can't have {what}")));
            }
            Some(_) => config.enable_idempotence = false,
            None => {}
        }
        if config.transactional_id.is_some() && !config.enable_idempotence {
            let sentence = "transactional.id needs enable.idempotence=true".to_owned();
            return Err(ConfigError::Inconsistent(sentence));
        }
        let least = config.linger_ms.saturating_add(
            ClientConfig::resolve(settings, ClientKind::Producer).map_or(30_000, |c| i64::from(c.request_timeout_ms)),
        );
        if i64::from(config.delivery_timeout_ms) < least {
            if set("delivery.timeout.ms") {
                return Err(ConfigError::Inconsistent(
                    "delivery.timeout.ms must be at least linger.ms and request.timeout.ms together".to_owned(),
                ));
            }
            config.delivery_timeout_ms = i32::try_from(least).unwrap_or(i32::MAX);
        }
        Ok(config)
    }
}

impl ConsumerConfig {
    /// # Errors
    /// If a value can't be read.
    pub fn resolve(settings: &ClientSettings) -> Result<Self, ConfigError> {
        Self::read(&Of { settings, kind: ClientKind::Consumer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> ClientSettings {
        let mut settings = ClientSettings::new();
        settings.load("client.properties", text).expect("properties");
        settings
    }

    #[test]
    fn every_field_has_its_option() {
        let s = settings("bootstrap.servers=a:1");
        for kind in [ClientKind::Producer, ClientKind::Consumer, ClientKind::Admin] {
            assert_eq!(ClientConfig::resolve(&s, kind).expect("all").bootstrap_servers, ["a:1"]);
        }
        let keys = [
            (ClientKind::Admin, ClientConfig::KEYS),
            (ClientKind::Admin, AdminConfig::KEYS),
            (ClientKind::Producer, ProducerConfig::KEYS),
            (ClientKind::Consumer, ConsumerConfig::KEYS),
        ];
        for (kind, keys) in keys {
            for key in keys {
                assert!(kind.options().get(key).is_some(), "{kind:?} {key}");
            }
        }
        assert_eq!(ProducerConfig::resolve(&s).expect("producer").linger_ms, 5);
        assert_eq!(ConsumerConfig::resolve(&s).expect("consumer").max_poll_records, 500);
        assert_eq!(AdminConfig::resolve(&s).expect("admin").default_api_timeout_ms, 60_000);
    }

    #[test]
    fn a_slip_is_answered_and_anothers_option_is_not_one() {
        let s = settings("bootstrap.servers=a:1\nlinger.msec=1\ngroup.id=g\n");
        let unknown = s.unknown();
        assert_eq!(unknown.len(), 1);
        assert!(unknown[0].to_string().contains("did you mean `linger.ms`?"), "{}", unknown[0]);
        assert!(s.check(ClientKind::Producer).is_ok());
        let wrong = settings("acks=2\nbatch.size=x\n").check(ClientKind::Producer).expect_err("wrong");
        assert_eq!(wrong.0.len(), 2);
    }

    #[test]
    fn idempotence_gives_way_unless_it_was_asked_for() {
        assert!(!ProducerConfig::resolve(&settings("acks=1")).expect("fine").enable_idempotence);
        assert!(ProducerConfig::resolve(&settings("acks=1\nenable.idempotence=true")).is_err());
        assert!(ProducerConfig::resolve(&settings("transactional.id=t\nretries=0")).is_err());
        assert!(ProducerConfig::resolve(&settings("delivery.timeout.ms=1")).is_err());
        let long = ProducerConfig::resolve(&settings("linger.ms=200000")).expect("fine");
        assert_eq!(long.delivery_timeout_ms, 230_000);
    }

    #[test]
    fn where_to_begin() {
        let of = |text: &str| ConsumerConfig::resolve(&settings(text)).map(|c| c.auto_offset_reset);
        assert_eq!(of("auto.offset.reset=none"), Ok(AutoOffsetReset::None));
        assert_eq!(of("auto.offset.reset=by_duration:PT1S"), Ok(AutoOffsetReset::To(OffsetReset::ByDuration(1000))));
        assert!(of("auto.offset.reset=sometimes").is_err());
    }
}
