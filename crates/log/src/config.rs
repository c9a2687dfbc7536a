//! The settings of one log, under Kafka's names and with Kafka's defaults.
//!
//! A plain struct: where the values come from (broker, topic, `logrun.durability`) is not known here.

/// When an append counts as done (`logrun.durability`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Durability {
    /// As soon as it can be read; the write may still be under way.
    Memory,
    /// When the operating system has the bytes: a killed process loses nothing.
    #[default]
    Write,
    /// When the device has them: a power cut loses nothing.
    Sync,
}

/// The settings that a log works by; each is the topic config of that name.
#[derive(Clone, Debug, PartialEq)]
pub struct LogConfig {
    /// `segment.bytes`: a segment is at most so long.
    pub segment_bytes: u64,
    /// `segment.ms`: a segment is rolled when its records span so much time.
    pub segment_ms: i64,
    /// `segment.jitter.ms`: at most so much is taken off `segment_ms`, at random, for each segment.
    pub segment_jitter_ms: i64,
    /// `segment.index.bytes`: an index is at most so long.
    pub segment_index_bytes: u64,
    /// `index.interval.bytes`: how many bytes of batches lie between index entries.
    pub index_interval_bytes: u64,
    /// `retention.ms`; negative for ever.
    pub retention_ms: i64,
    /// `retention.bytes`; negative without limit.
    pub retention_bytes: i64,
    /// `file.delete.delay.ms`: how long a deleted segment's files stay for those who still read them.
    pub file_delete_delay_ms: i64,
    /// `flush.messages`: after so many records an append waits for the device.
    pub flush_messages: i64,
    /// `flush.ms`: how long records may stay unflushed.
    pub flush_ms: i64,
    /// `cleanup.policy` contains `delete`.
    pub delete: bool,
    /// `cleanup.policy` contains `compact`.
    pub compact: bool,
    /// `min.cleanable.dirty.ratio`: compaction waits until so much of the log is new.
    pub min_cleanable_dirty_ratio: f64,
    /// `min.compaction.lag.ms`: so long a record stays as it is at least.
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`: so long a record waits for compaction at most.
    pub max_compaction_lag_ms: i64,
    /// `delete.retention.ms`: so long a tombstone stays after the first compaction that met it.
    pub delete_retention_ms: i64,
    /// `max.message.bytes`; only told here, checked where batches are validated.
    pub max_message_bytes: usize,
    /// `producer.id.expiration.ms`.
    pub producer_id_expiration_ms: i64,
    /// `logrun.durability`.
    pub durability: Durability,
}

impl LogConfig {
    /// How long a segment takes records: `segment.ms`, or the time in which they must be compacted if that is less.
    pub fn max_segment_ms(&self) -> i64 {
        if self.compact && self.max_compaction_lag_ms > 0 {
            self.segment_ms.min(self.max_compaction_lag_ms)
        } else {
            self.segment_ms
        }
    }

    /// Whether an append waits for the device, so that a power cut takes nothing that was acknowledged.
    pub(crate) fn promises_sync(&self) -> bool {
        self.durability == Durability::Sync || self.flush_messages <= 1
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        const DAY_MS: i64 = 24 * 60 * 60 * 1000;
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 7 * DAY_MS,
            segment_jitter_ms: 0,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            retention_ms: 7 * DAY_MS,
            retention_bytes: -1,
            file_delete_delay_ms: 60_000,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            delete: true,
            compact: false,
            min_cleanable_dirty_ratio: 0.5,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            delete_retention_ms: DAY_MS,
            max_message_bytes: 1024 * 1024 + 12,
            producer_id_expiration_ms: DAY_MS,
            durability: Durability::default(),
        }
    }
}
