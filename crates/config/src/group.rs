//! A group's configuration, typed: `GroupConfig` of Kafka (KIP-848, KIP-932, KIP-1071).

use crate::duration::OffsetReset;
use crate::error::ConfigError;
use crate::fields::{Field, option_struct, text_enum};
use crate::settings::{BrokerSettings, Overrides};
use crate::tables::group_options;
use crate::topic::Resolved;
use crate::value::Value;

impl Field for OffsetReset {
    fn of(value: Option<Value>) -> Option<Self> {
        match value {
            Some(Value::String(text)) => Self::parse(&text),
            _ => None,
        }
    }
}

text_enum! {
    /// Which records of transactions are handed out: `share.isolation.level`.
    IsolationLevel {
        ReadUncommitted = "read_uncommitted",
        ReadCommitted = "read_committed",
    }
}

option_struct! {
    /// Everything that a group can be configured with, resolved.
    GroupConfig {
        consumer_assignment_interval_ms: i32 = "consumer.assignment.interval.ms",
        consumer_heartbeat_interval_ms: i32 = "consumer.heartbeat.interval.ms",
        consumer_session_timeout_ms: i32 = "consumer.session.timeout.ms",
        share_assignment_interval_ms: i32 = "share.assignment.interval.ms",
        share_auto_offset_reset: OffsetReset = "share.auto.offset.reset",
        share_delivery_count_limit: i32 = "share.delivery.count.limit",
        share_heartbeat_interval_ms: i32 = "share.heartbeat.interval.ms",
        share_isolation_level: IsolationLevel = "share.isolation.level",
        share_partition_max_record_locks: i32 = "share.partition.max.record.locks",
        share_record_lock_duration_ms: i32 = "share.record.lock.duration.ms",
        share_renew_acknowledge_enable: bool = "share.renew.acknowledge.enable",
        share_session_timeout_ms: i32 = "share.session.timeout.ms",
        streams_assignment_interval_ms: i32 = "streams.assignment.interval.ms",
        streams_heartbeat_interval_ms: i32 = "streams.heartbeat.interval.ms",
        streams_initial_rebalance_delay_ms: i32 = "streams.initial.rebalance.delay.ms",
        streams_num_standby_replicas: i32 = "streams.num.standby.replicas",
        streams_session_timeout_ms: i32 = "streams.session.timeout.ms",
    }
}

impl GroupConfig {
    /// The configuration of a group with these configs of its own on a broker with these settings.
    ///
    /// # Errors
    /// If a value can't be read.
    pub fn resolve(settings: &BrokerSettings, overrides: &Overrides) -> Result<Self, ConfigError> {
        Self::read(&Resolved { settings, overrides, options: group_options() })
    }
}
