//! The typed halves of a broker's configuration, one struct per part of the broker that acts on them.
//!
//! Times are in milliseconds and sizes in bytes unless the name says otherwise. Whether the part that a
//! struct is for acts on a field already is said in the option's row, and by it to the user.

use crate::error::ConfigError;
use crate::fields::{Values, option_struct};
use crate::settings::BrokerSettings;
use crate::tables::broker_options;
use crate::value::Value;

impl Values for BrokerSettings {
    fn value(&self, name: &str) -> Result<Option<Value>, ConfigError> {
        match broker_options().get(name) {
            Some(key) => self.parse(key),
            None => Ok(None),
        }
    }
}

option_struct! {
    /// Accepted sockets and the limits on them.
    SocketConfig {
        request_max_bytes: i32 = "socket.request.max.bytes",
        listen_backlog_size: i32 = "socket.listen.backlog.size",
        receive_buffer_bytes: i32 = "socket.receive.buffer.bytes",
        send_buffer_bytes: i32 = "socket.send.buffer.bytes",
        connections_max_idle_ms: i64 = "connections.max.idle.ms",
        max_connections: i32 = "max.connections",
        max_connections_per_ip: i32 = "max.connections.per.ip",
    }
}

option_struct! {
    /// What a topic gets that says nothing about it, and what may be done with topics.
    TopicsConfig {
        auto_create_enable: bool = "auto.create.topics.enable",
        delete_enable: bool = "delete.topic.enable",
        num_partitions: i32 = "num.partitions",
        default_replication_factor: i32 = "default.replication.factor",
        max_request_partition_size_limit: i32 = "max.request.partition.size.limit",
    }
}

option_struct! {
    /// The work on all logs of the node: `LogManager`.
    LogManagerConfig {
        retention_check_interval_ms: i64 = "log.retention.check.interval.ms",
        flush_scheduler_interval_ms: i64 = "log.flush.scheduler.interval.ms",
        flush_offset_checkpoint_interval_ms: i32 = "log.flush.offset.checkpoint.interval.ms",
        flush_start_offset_checkpoint_interval_ms: i32 = "log.flush.start.offset.checkpoint.interval.ms",
        partition_idle_close_ms: i64 = "logrun.partition.idle.close.ms",
        high_watermark_checkpoint_interval_ms: i64 = "replica.high.watermark.checkpoint.interval.ms",
        cache_bytes: i64 = "logrun.cache.bytes",
        journal: String = "logrun.journal",
        journal_bytes: i64 = "logrun.journal.bytes",
        write_gather_bytes: i64 = "logrun.write.gather.bytes",
        disk_reserve_bytes: i64 = "logrun.disk.reserve.bytes",
        dir_failure_timeout_ms: i64 = "log.dir.failure.timeout.ms",
        alter_dirs_threads: Option<i32> = "num.replica.alter.log.dirs.threads",
        initial_task_delay_ms: i64 = "log.initial.task.delay.ms",
        producer_id_expiration_ms: i32 = "producer.id.expiration.ms",
        producer_id_expiration_check_interval_ms: i32 = "producer.id.expiration.check.interval.ms",
    }
}

option_struct! {
    /// Compaction: `CleanerConfig`.
    CleanerConfig {
        enable: bool = "log.cleaner.enable",
        threads: i32 = "log.cleaner.threads",
        backoff_ms: i64 = "log.cleaner.backoff.ms",
        dedupe_buffer_size: i64 = "log.cleaner.dedupe.buffer.size",
        dedupe_buffer_load_factor: f64 = "log.cleaner.io.buffer.load.factor",
        io_buffer_size: i32 = "log.cleaner.io.buffer.size",
        io_max_bytes_per_second: f64 = "log.cleaner.io.max.bytes.per.second",
    }
}

option_struct! {
    /// Fetch requests of clients.
    FetchConfig {
        max_bytes: i32 = "fetch.max.bytes",
        max_incremental_session_cache_slots: i32 = "max.incremental.fetch.session.cache.slots",
    }
}

option_struct! {
    /// Classic groups and committed offsets: `GroupCoordinatorConfig`.
    GroupCoordinatorConfig {
        initial_rebalance_delay_ms: i32 = "group.initial.rebalance.delay.ms",
        min_session_timeout_ms: i32 = "group.min.session.timeout.ms",
        max_session_timeout_ms: i32 = "group.max.session.timeout.ms",
        max_size: i32 = "group.max.size",
        offset_metadata_max_bytes: i32 = "offset.metadata.max.bytes",
        offsets_commit_timeout_ms: i32 = "offsets.commit.timeout.ms",
        offsets_retention_minutes: i32 = "offsets.retention.minutes",
        offsets_retention_check_interval_ms: i64 = "offsets.retention.check.interval.ms",
        offsets_topic_num_partitions: i32 = "offsets.topic.num.partitions",
        offsets_topic_replication_factor: i16 = "offsets.topic.replication.factor",
        offsets_topic_segment_bytes: i32 = "offsets.topic.segment.bytes",
        consumer_session_timeout_ms: i32 = "group.consumer.session.timeout.ms",
    }
}

option_struct! {
    /// The transaction coordinator's topic and limits: `TransactionLogConfig`, `TransactionStateManagerConfig`.
    TransactionConfig {
        max_timeout_ms: i32 = "transaction.max.timeout.ms",
        transactional_id_expiration_ms: i32 = "transactional.id.expiration.ms",
        state_log_num_partitions: i32 = "transaction.state.log.num.partitions",
        state_log_replication_factor: i16 = "transaction.state.log.replication.factor",
        state_log_min_isr: i32 = "transaction.state.log.min.isr",
        state_log_segment_bytes: i32 = "transaction.state.log.segment.bytes",
    }
}

option_struct! {
    /// The share coordinator's topic: `ShareCoordinatorConfig`.
    ShareCoordinatorConfig {
        state_topic_num_partitions: i32 = "share.coordinator.state.topic.num.partitions",
        state_topic_replication_factor: i16 = "share.coordinator.state.topic.replication.factor",
        state_topic_min_isr: i16 = "share.coordinator.state.topic.min.isr",
        state_topic_segment_bytes: i32 = "share.coordinator.state.topic.segment.bytes",
    }
}

option_struct! {
    /// The metadata log: `MetadataLogConfig`.
    MetadataLogConfig {
        segment_bytes: i32 = "metadata.log.segment.bytes",
        segment_ms: i64 = "metadata.log.segment.ms",
        max_record_bytes_between_snapshots: i64 = "metadata.log.max.record.bytes.between.snapshots",
        max_snapshot_interval_ms: i64 = "metadata.log.max.snapshot.interval.ms",
        max_idle_interval_ms: i32 = "metadata.max.idle.interval.ms",
        max_retention_bytes: i64 = "metadata.max.retention.bytes",
        max_retention_ms: i64 = "metadata.max.retention.ms",
        fetch_max_bytes: i32 = "controller.quorum.fetch.max.bytes",
        fetch_snapshot_max_bytes: i32 = "controller.quorum.fetch.snapshot.max.bytes",
    }
}

option_struct! {
    /// The broker and its controller.
    LifecycleConfig {
        heartbeat_interval_ms: i32 = "broker.heartbeat.interval.ms",
        session_timeout_ms: i32 = "broker.session.timeout.ms",
        initial_registration_timeout_ms: i32 = "initial.broker.registration.timeout.ms",
        controlled_shutdown_enable: bool = "controlled.shutdown.enable",
        request_timeout_ms: i32 = "request.timeout.ms",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Effect;
    use crate::tables::{group_options, topic_options};
    use crate::topic::TopicConfig;

    /// Read where roles, ids, listeners, quorum and directories are read.
    const ELSEWHERE: &[&str] = &[
        "process.roles",
        "node.id",
        "broker.id",
        "broker.rack",
        "listeners",
        "advertised.listeners",
        "listener.security.protocol.map",
        "inter.broker.listener.name",
        "security.inter.broker.protocol",
        "controller.listener.names",
        "controller.quorum.voters",
        "controller.quorum.bootstrap.servers",
        "log.dir",
        "log.dirs",
        "metadata.log.dir",
        "max.connections.per.ip.overrides",
    ];

    #[test]
    fn what_is_said_to_have_an_effect_is_read_somewhere() {
        let structs: &[&[&str]] = &[
            SocketConfig::KEYS,
            TopicsConfig::KEYS,
            LogManagerConfig::KEYS,
            CleanerConfig::KEYS,
            FetchConfig::KEYS,
            GroupCoordinatorConfig::KEYS,
            TransactionConfig::KEYS,
            ShareCoordinatorConfig::KEYS,
            MetadataLogConfig::KEYS,
            LifecycleConfig::KEYS,
            ELSEWHERE,
        ];
        for name in structs.iter().copied().flatten() {
            assert!(broker_options().get(name).is_some(), "{name} is read and not declared");
        }
        for key in broker_options().iter().filter(|key| key.effect == Effect::Active) {
            let is_synonym = topic_options().iter().any(|topic| topic.synonyms.iter().any(|s| s.name == key.name));
            assert!(is_synonym || structs.iter().any(|names| names.contains(&key.name)), "nothing reads {}", key.name);
        }
        for key in topic_options().iter() {
            assert!(TopicConfig::KEYS.contains(&key.name), "TopicConfig lacks {}", key.name);
        }
        for key in group_options().iter() {
            assert!(crate::group::GroupConfig::KEYS.contains(&key.name), "GroupConfig lacks {}", key.name);
        }
    }
}
