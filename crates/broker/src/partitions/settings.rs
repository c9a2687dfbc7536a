//! A topic's configuration in the form in which a partition uses it.

use logrun_config::{
    CompressionType as Codec, Durability as ConfigDurability, TimestampType as Timestamps, TopicConfig,
};
use logrun_log::{Durability, LogConfig};
use logrun_model::TimestampMs;
use logrun_partition::ReplicaConfig;
use logrun_record::{AppendOrigin, Compression, CompressionType, TargetCompression, TimestampType, ValidationRules};

/// What a partition takes from its topic's configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    pub log: LogConfig,
    pub replica: ReplicaConfig,
    pub max_message_bytes: usize,
    /// `logrun.compact.requested.ms`.
    pub compact_requested_ms: i64,
    compression: TargetCompression,
    timestamp_type: TimestampType,
    timestamp_before_max_ms: i64,
    timestamp_after_max_ms: i64,
}

impl Settings {
    /// `replica_lag_time_max_ms` and `producer_id_expiration_ms` are the broker's.
    pub fn new(topic: &TopicConfig, replica_lag_time_max_ms: i64, producer_id_expiration_ms: i64) -> Self {
        let max_message_bytes = topic.max_message_bytes.max(0) as usize;
        Self {
            log: LogConfig {
                segment_bytes: topic.segment_size().max(1) as u64,
                segment_ms: topic.segment_ms,
                segment_jitter_ms: topic.segment_jitter_ms,
                segment_index_bytes: topic.segment_index_bytes.max(0) as u64,
                index_interval_bytes: topic.index_interval_bytes.max(0) as u64,
                retention_ms: topic.retention_ms,
                retention_bytes: topic.retention_bytes,
                file_delete_delay_ms: topic.file_delete_delay_ms,
                flush_messages: topic.flush_messages,
                flush_ms: topic.flush_ms,
                delete: topic.cleanup_policy.delete,
                compact: topic.cleanup_policy.compact,
                min_cleanable_dirty_ratio: topic.min_cleanable_dirty_ratio,
                min_compaction_lag_ms: topic.min_compaction_lag_ms,
                max_compaction_lag_ms: topic.max_compaction_lag_ms,
                delete_retention_ms: topic.delete_retention_ms,
                max_message_bytes,
                producer_id_expiration_ms,
                durability: match topic.durability {
                    ConfigDurability::Memory => Durability::Memory,
                    ConfigDurability::Write => Durability::Write,
                    ConfigDurability::Sync => Durability::Sync,
                },
            },
            replica: ReplicaConfig {
                min_insync_replicas: topic.min_insync_replicas.max(1) as usize,
                replica_lag_time_max_ms,
            },
            max_message_bytes,
            compact_requested_ms: topic.compact_requested_ms,
            compression: target(topic),
            timestamp_type: match topic.message_timestamp_type {
                Timestamps::CreateTime => TimestampType::CreateTime,
                Timestamps::LogAppendTime => TimestampType::LogAppendTime,
            },
            timestamp_before_max_ms: topic.message_timestamp_before_max_ms,
            timestamp_after_max_ms: topic.message_timestamp_after_max_ms,
        }
    }

    /// What appends by `origin` must obey.
    pub fn validation_rules(&self, origin: AppendOrigin, now: TimestampMs) -> ValidationRules {
        ValidationRules {
            target_compression: self.compression,
            timestamp_type: self.timestamp_type,
            timestamp_before_max_ms: self.timestamp_before_max_ms,
            timestamp_after_max_ms: self.timestamp_after_max_ms,
            max_message_bytes: self.max_message_bytes,
            compacted: self.log.compact,
            ..ValidationRules::new(origin, now)
        }
    }

    pub fn is_log_append_time(&self) -> bool {
        self.timestamp_type == TimestampType::LogAppendTime
    }
}

fn target(topic: &TopicConfig) -> TargetCompression {
    let codec = |codec, level| TargetCompression::Codec(Compression { codec, level });
    match topic.compression_type {
        Codec::Producer => TargetCompression::Producer,
        Codec::Uncompressed => TargetCompression::Codec(Compression::NONE),
        Codec::Gzip => codec(CompressionType::Gzip, Some(topic.compression_gzip_level)),
        Codec::Snappy => codec(CompressionType::Snappy, None),
        Codec::Lz4 => codec(CompressionType::Lz4, Some(topic.compression_lz4_level)),
        Codec::Zstd => codec(CompressionType::Zstd, Some(topic.compression_zstd_level)),
    }
}
