//! Group options: `GroupConfig` of Kafka, with the broker options that they fall back on.

use crate::key::DefaultValue::Text;
use crate::key::Valid::{Any, AtLeast, OffsetReset, OneOf};
use crate::key::Why::{ConsumerGroups, ShareGroups, StreamsGroups};
use crate::key::{ConfigKey, broker_options, no, resource_options};

#[rustfmt::skip]
pub(super) static OPTIONS: &[ConfigKey] = resource_options![
    ("consumer.assignment.interval.ms", Int, Text("1000"), AtLeast(0), ["group.consumer.assignment.interval.ms" * 1], no(ConsumerGroups),
     "The shortest time between two assignments of the group."),
    ("consumer.heartbeat.interval.ms", Int, Text("5000"), AtLeast(1), ["group.consumer.heartbeat.interval.ms" * 1], no(ConsumerGroups),
     "How often the group's members are told to send heartbeats."),
    ("consumer.session.timeout.ms", Int, Text("45000"), AtLeast(1), ["group.consumer.session.timeout.ms" * 1], no(ConsumerGroups),
     "After how long without a heartbeat a member is removed."),
    ("share.assignment.interval.ms", Int, Text("1000"), AtLeast(0), ["group.share.assignment.interval.ms" * 1], no(ShareGroups),
     "The shortest time between two assignments of the group."),
    ("share.auto.offset.reset", String, Text("latest"), OffsetReset, [], no(ShareGroups),
     "Where a new share group begins: `earliest`, `latest`, or `by_duration:` and an ISO 8601 duration back from now."),
    ("share.delivery.count.limit", Int, Text("5"), AtLeast(2), ["group.share.delivery.count.limit" * 1], no(ShareGroups),
     "How often a record is handed out before it is given up."),
    ("share.heartbeat.interval.ms", Int, Text("5000"), AtLeast(1), ["group.share.heartbeat.interval.ms" * 1], no(ShareGroups),
     "How often the group's members are told to send heartbeats."),
    ("share.isolation.level", String, Text("read_uncommitted"), OneOf(&["read_committed", "read_uncommitted"]), [], no(ShareGroups),
     "Whether records of open or aborted transactions are handed out (`read_uncommitted`) or not (`read_committed`)."),
    ("share.partition.max.record.locks", Int, Text("2000"), AtLeast(100), ["group.share.partition.max.record.locks" * 1], no(ShareGroups),
     "How many records of a partition may be out for work at once."),
    ("share.record.lock.duration.ms", Int, Text("30000"), AtLeast(1000), ["group.share.record.lock.duration.ms" * 1], no(ShareGroups),
     "How long a record is one member's to work on before another may have it."),
    ("share.renew.acknowledge.enable", Boolean, Text("true"), Any, [], no(ShareGroups),
     "Whether a member may prolong its lock on a record."),
    ("share.session.timeout.ms", Int, Text("45000"), AtLeast(1), ["group.share.session.timeout.ms" * 1], no(ShareGroups),
     "After how long without a heartbeat a member is removed."),
    ("streams.assignment.interval.ms", Int, Text("1000"), AtLeast(0), ["group.streams.assignment.interval.ms" * 1], no(StreamsGroups),
     "The shortest time between two assignments of the group."),
    ("streams.heartbeat.interval.ms", Int, Text("5000"), AtLeast(1), ["group.streams.heartbeat.interval.ms" * 1], no(StreamsGroups),
     "How often the group's members are told to send heartbeats."),
    ("streams.initial.rebalance.delay.ms", Int, Text("3000"), AtLeast(0), ["group.streams.initial.rebalance.delay.ms" * 1], no(StreamsGroups),
     "How long the group, when new, waits for more members before its first assignment."),
    ("streams.num.standby.replicas", Int, Text("0"), AtLeast(0), ["group.streams.num.standby.replicas" * 1], no(StreamsGroups),
     "Standby copies of each task's state."),
    ("streams.session.timeout.ms", Int, Text("45000"), AtLeast(1), ["group.streams.session.timeout.ms" * 1], no(StreamsGroups),
     "After how long without a heartbeat a member is removed."),
];
