//! A topic's configuration, typed: `LogConfig` of Kafka.
//!
//! A value comes from the topic if it has one, else from the broker options that the table names, in their order and
//! with their units, else it is the default.

use crate::error::{ConfigError, inconsistent};
use crate::fields::{Field, Values, option_struct, text_enum};
use crate::key::{ConfigKey, Type};
use crate::settings::{BrokerSettings, ConfigSource, Overrides};
use crate::tables::topic_options;
use crate::value::Value;

/// What becomes of old records: `cleanup.policy`. Neither is possible: then they stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct CleanupPolicy {
    pub delete: bool,
    pub compact: bool,
}

impl Field for CleanupPolicy {
    fn of(value: Option<Value>) -> Option<Self> {
        let Some(Value::List(items)) = value else { return None };
        let has = |name: &str| items.iter().any(|item| item == name);
        Some(Self { delete: has("delete"), compact: has("compact") })
    }
}

text_enum! {
    /// How records are kept: `compression.type`.
    CompressionType {
        /// As the producer sent them.
        Producer = "producer",
        Uncompressed = "uncompressed",
        Gzip = "gzip",
        Snappy = "snappy",
        Lz4 = "lz4",
        Zstd = "zstd",
    }
}

text_enum! {
    /// Whose time a record carries: `message.timestamp.type`.
    TimestampType {
        CreateTime = "CreateTime",
        LogAppendTime = "LogAppendTime",
    }
}

text_enum! {
    /// When an append is acknowledged: `logrun.durability`.
    Durability {
        /// Once it can be read.
        Memory = "memory",
        /// Once the system has it: a killed process loses nothing.
        Write = "write",
        /// Once the device has it: a power cut loses nothing.
        Sync = "sync",
    }
}

option_struct! {
    /// Everything that a topic can be configured with, resolved.
    TopicConfig {
        cleanup_policy: CleanupPolicy = "cleanup.policy",
        compression_type: CompressionType = "compression.type",
        compression_gzip_level: i32 = "compression.gzip.level",
        compression_lz4_level: i32 = "compression.lz4.level",
        compression_zstd_level: i32 = "compression.zstd.level",
        compact_requested_ms: i64 = "logrun.compact.requested.ms",
        delete_retention_ms: i64 = "delete.retention.ms",
        durability: Durability = "logrun.durability",
        file_delete_delay_ms: i64 = "file.delete.delay.ms",
        flush_messages: i64 = "flush.messages",
        flush_ms: i64 = "flush.ms",
        follower_replication_throttled_replicas: Vec<String> = "follower.replication.throttled.replicas",
        index_interval_bytes: i32 = "index.interval.bytes",
        internal_segment_bytes: Option<i32> = "internal.segment.bytes",
        leader_replication_throttled_replicas: Vec<String> = "leader.replication.throttled.replicas",
        local_retention_bytes: i64 = "local.retention.bytes",
        local_retention_ms: i64 = "local.retention.ms",
        max_compaction_lag_ms: i64 = "max.compaction.lag.ms",
        max_message_bytes: i32 = "max.message.bytes",
        message_timestamp_after_max_ms: i64 = "message.timestamp.after.max.ms",
        message_timestamp_before_max_ms: i64 = "message.timestamp.before.max.ms",
        message_timestamp_type: TimestampType = "message.timestamp.type",
        min_cleanable_dirty_ratio: f64 = "min.cleanable.dirty.ratio",
        min_compaction_lag_ms: i64 = "min.compaction.lag.ms",
        min_insync_replicas: i32 = "min.insync.replicas",
        preallocate: bool = "preallocate",
        remote_log_copy_disable: bool = "remote.log.copy.disable",
        remote_log_delete_on_disable: bool = "remote.log.delete.on.disable",
        remote_storage_enable: bool = "remote.storage.enable",
        retention_bytes: i64 = "retention.bytes",
        retention_ms: i64 = "retention.ms",
        segment_bytes: i32 = "segment.bytes",
        segment_index_bytes: i32 = "segment.index.bytes",
        segment_jitter_ms: i64 = "segment.jitter.ms",
        segment_ms: i64 = "segment.ms",
        unclean_leader_election_enable: bool = "unclean.leader.election.enable",
    }
}

/// One resource's options over a broker's.
pub(crate) struct Resolved<'a> {
    pub(crate) settings: &'a BrokerSettings,
    pub(crate) overrides: &'a Overrides,
    pub(crate) options: &'static crate::tables::Options,
}

impl Resolved<'_> {
    /// The value of `key` without the resource's own: from the broker, or the default.
    pub(crate) fn inherited(&self, key: &ConfigKey) -> Result<(Option<Value>, ConfigSource), ConfigError> {
        for synonym in key.synonyms {
            let Some(broker_key) = crate::tables::broker_options().get(synonym.name) else { continue };
            if let Some(value) = self.settings.parse(broker_key)? {
                let source = self.settings.get(synonym.name).map_or(ConfigSource::Default, |(_, source)| source);
                return Ok((Some(adapt(key, value, synonym.factor)), source));
            }
        }
        let value = match key.default.text() {
            Some("") if key.kind == Type::List => Some(Value::List(Vec::new())),
            Some(text) => Some(key.parse(text).map_err(|source| ConfigError::Value { origin: None, source })?),
            None => None,
        };
        Ok((value, ConfigSource::Default))
    }
}

impl Values for Resolved<'_> {
    fn value(&self, name: &str) -> Result<Option<Value>, ConfigError> {
        let Some(key) = self.options.get(name) else { return Ok(None) };
        match self.overrides.get(name) {
            Some(text) => {
                let value = key.parse(text).map_err(|source| ConfigError::Value { origin: None, source })?;
                Ok(Some(value))
            }
            None => Ok(self.inherited(key)?.0),
        }
    }
}

/// A broker option's value as `key` would hold it: its unit, its width, and any negative retention as -1.
fn adapt(key: &ConfigKey, value: Value, factor: i64) -> Value {
    let number = match value {
        Value::Short(n) => i64::from(n),
        Value::Int(n) => i64::from(n),
        Value::Long(n) => n,
        other => return other,
    };
    let number = number.saturating_mul(factor);
    let number = if key.name == "retention.ms" && number < 0 { -1 } else { number };
    match key.kind {
        Type::Int => Value::Int(i32::try_from(number).unwrap_or(i32::MAX)),
        _ => Value::Long(number),
    }
}

impl TopicConfig {
    /// The configuration of a topic with these configs of its own on a broker with these settings.
    ///
    /// # Errors
    /// If a value can't be read, or two contradict each other.
    pub fn resolve(settings: &BrokerSettings, overrides: &Overrides) -> Result<Self, ConfigError> {
        let config = Self::read(&Resolved { settings, overrides, options: topic_options() })?;
        config.check()?;
        Ok(config)
    }

    /// As [`TopicConfig::resolve`], for configs that are in the metadata log already: what can't be read there
    /// (a later Kafka wrote it) counts as not set, so that the partition still comes up. Says what it left out.
    pub fn resolve_leniently(
        settings: &BrokerSettings,
        overrides: &Overrides,
    ) -> Result<(Self, Vec<String>), ConfigError> {
        let (mut kept, mut left_out) = (Overrides::new(), Vec::new());
        for (name, value) in overrides {
            match topic_options().get(name) {
                Some(key) if key.parse(value).is_ok() => {
                    kept.insert(name.clone(), value.clone());
                }
                Some(_) => left_out.push(name.to_string()),
                None => {}
            }
        }
        Ok((Self::read(&Resolved { settings, overrides: &kept, options: topic_options() })?, left_out))
    }

    /// `segment.bytes`, or what a test of Kafka puts in its place.
    pub fn segment_size(&self) -> i32 {
        self.internal_segment_bytes.unwrap_or(self.segment_bytes)
    }

    /// What Kafka's `LogConfig.validate` asks of the whole.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.min_compaction_lag_ms > self.max_compaction_lag_ms {
            return Err(inconsistent(format!(
                "min.compaction.lag.ms={} is more than max.compaction.lag.ms={}: lower the first or raise the second",
                self.min_compaction_lag_ms, self.max_compaction_lag_ms
            )));
        }
        if self.remote_storage_enable {
            return Err(inconsistent(
                "remote.storage.enable=true: tiered storage is not enabled on this broker, leave it out",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::settings::{Origin, Setting};

    fn settings(pairs: &[(&str, &str)]) -> BrokerSettings {
        let fixed: BTreeMap<String, Setting> = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), Setting { value: (*v).to_owned(), origin: Origin::CommandLine }))
            .collect();
        BrokerSettings { fixed, ..BrokerSettings::default() }
    }

    fn overrides(pairs: &[(&str, &str)]) -> Overrides {
        pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect()
    }

    #[test]
    fn defaults_are_kafkas() {
        let config = TopicConfig::resolve(&settings(&[]), &overrides(&[])).expect("valid");
        assert_eq!(config.retention_ms, 604_800_000);
        assert_eq!(config.segment_ms, 604_800_000);
        assert_eq!(config.segment_bytes, 1 << 30);
        assert_eq!(config.flush_ms, i64::MAX);
        assert_eq!(config.max_message_bytes, 1_048_588);
        assert_eq!(config.cleanup_policy, CleanupPolicy { delete: true, compact: false });
        assert_eq!(config.compression_type, CompressionType::Producer);
        assert_eq!(config.durability, Durability::Write);
    }

    #[test]
    fn retention_comes_from_the_finest_unit_that_is_set() {
        let of = |broker: &[(&str, &str)], topic: &[(&str, &str)]| {
            TopicConfig::resolve(&settings(broker), &overrides(topic)).expect("valid").retention_ms
        };
        assert_eq!(of(&[("log.retention.hours", "1")], &[]), 3_600_000);
        assert_eq!(of(&[("log.retention.hours", "1"), ("log.retention.minutes", "2")], &[]), 120_000);
        assert_eq!(of(&[("log.retention.hours", "1"), ("log.retention.ms", "3")], &[]), 3);
        assert_eq!(of(&[("log.retention.hours", "-1")], &[]), -1);
        assert_eq!(of(&[("log.retention.ms", "3")], &[("retention.ms", "4")]), 4);
    }

    #[test]
    fn dynamic_layers_beat_the_file() {
        let mut s = settings(&[("log.retention.ms", "3"), ("log.segment.bytes", "2000000")]);
        s.dynamic_default = overrides(&[("log.retention.ms", "5")]);
        assert_eq!(TopicConfig::resolve(&s, &overrides(&[])).expect("valid").retention_ms, 5);
        s.dynamic_broker = overrides(&[("log.retention.ms", "6")]);
        assert_eq!(TopicConfig::resolve(&s, &overrides(&[])).expect("valid").retention_ms, 6);
    }

    #[test]
    fn contradictions_are_refused_and_a_later_kafkas_value_is_passed_over() {
        let topic = overrides(&[("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5")]);
        assert!(TopicConfig::resolve(&settings(&[]), &topic).is_err());
        let topic = overrides(&[("cleanup.policy", "forget"), ("some.later.key", "x"), ("retention.ms", "9")]);
        let (config, left_out) = TopicConfig::resolve_leniently(&settings(&[]), &topic).expect("valid");
        assert_eq!(config.retention_ms, 9);
        assert!(config.cleanup_policy.delete);
        assert_eq!(left_out, ["cleanup.policy"]);
    }
}
