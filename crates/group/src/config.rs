//! The options that the group coordinator acts on, as plain values; `GroupCoordinatorConfig` in Kafka.
//!
//! Parsing and validation are the config crate's; the broker fills this.

/// Times are in milliseconds. The defaults are Kafka's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    /// `group.min.session.timeout.ms`
    pub group_min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`
    pub group_max_session_timeout_ms: i32,
    /// `group.initial.rebalance.delay.ms`: how long an empty group waits for more members to join its first rebalance.
    pub group_initial_rebalance_delay_ms: i32,
    /// `group.max.size`
    pub group_max_size: i32,
    /// How long a new member may stay parked in its first join. Not an option in Kafka either.
    pub new_member_join_timeout_ms: i32,
    /// `offset.metadata.max.bytes`: the longest metadata of a commit, in UTF-16 units as Kafka counts it.
    pub offset_metadata_max_bytes: i32,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`
    pub offsets_retention_check_interval_ms: i64,
    /// `offsets.commit.timeout.ms`: how long a reply waits for its records to be committed.
    pub offsets_commit_timeout_ms: i64,
    /// `group.consumer.session.timeout.ms`: after it, members of a KIP-848 group found in the log are gone.
    pub group_consumer_session_timeout_ms: i64,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            group_min_session_timeout_ms: 6_000,
            group_max_session_timeout_ms: 30 * 60 * 1_000,
            group_initial_rebalance_delay_ms: 3_000,
            group_max_size: i32::MAX,
            new_member_join_timeout_ms: 5 * 60 * 1_000,
            offset_metadata_max_bytes: 4096,
            offsets_retention_ms: 7 * 24 * 60 * 60 * 1_000,
            offsets_retention_check_interval_ms: 10 * 60 * 1_000,
            offsets_commit_timeout_ms: 5_000,
            group_consumer_session_timeout_ms: 45_000,
        }
    }
}
