//! Broker options: Consumer groups (classic) and their offsets.

use crate::key::DefaultValue::Text;
use crate::key::Valid::{Any, AtLeast, SomeItemsOf};
use crate::key::Why::{Buffers, ConsumerGroups, Needless, Threads};
use crate::key::{ACTIVE, ConfigKey, broker_options, no};

#[rustfmt::skip]
pub(super) static OPTIONS: &[ConfigKey] = broker_options![
    ("group.initial.rebalance.delay.ms", Int, Text("3000"), Any, Medium, ReadOnly, ACTIVE,
     "How long a new group waits for more members before its first assignment. No configuration at all: 0."),
    ("group.min.session.timeout.ms", Int, Text("6000"), Any, Medium, ReadOnly, ACTIVE,
     "The shortest session timeout that a member may ask for."),
    ("group.max.session.timeout.ms", Int, Text("1800000"), Any, Medium, ReadOnly, ACTIVE,
     "The longest session timeout that a member may ask for."),
    ("group.max.size", Int, Text("2147483647"), AtLeast(1), Medium, ReadOnly, ACTIVE,
     "How many members a group may have."),
    ("group.coordinator.rebalance.protocols", List, Text("classic,consumer,streams"), SomeItemsOf(&["consumer", "classic", "share", "streams"]), Medium, ReadOnly, no(ConsumerGroups),
     "The group protocols on offer: `classic`, `consumer`, `share`, `streams`."),
    ("group.coordinator.threads", Int, Text("4"), AtLeast(1), High, ReadOnly, no(Threads),
     "Threads of the group coordinator in Kafka."),
    ("group.coordinator.background.threads", Int, Text("2"), AtLeast(1), High, ReadOnly, no(Threads),
     "Threads for the coordinator's slow work in Kafka."),
    ("group.coordinator.append.linger.ms", Int, Text("-1"), AtLeast(-1), Medium, ReadOnly, no(Needless),
     "How long the coordinator gathers records before it writes them; -1 adapts to the load."),
    ("group.coordinator.cached.buffer.max.bytes", Int, Text("1048588"), AtLeast(524_288), Medium, ClusterWide, no(Buffers),
     "How large a write buffer the coordinator keeps for the next use."),
    ("offset.metadata.max.bytes", Int, Text("4096"), Any, High, ReadOnly, ACTIVE,
     "The longest text that a client may attach to a committed offset."),
    ("offsets.commit.timeout.ms", Int, Text("5000"), AtLeast(1), High, ReadOnly, ACTIVE,
     "How long a commit may wait until it is replicated."),
    ("offsets.load.buffer.size", Int, Text("5242880"), AtLeast(1), High, ReadOnly, no(Buffers),
     "How much of `__consumer_offsets` is read at once when a coordinator loads."),
    ("offsets.retention.minutes", Int, Text("10080"), AtLeast(1), High, ReadOnly, ACTIVE,
     "How long the committed offsets of a group without members are kept."),
    ("offsets.retention.check.interval.ms", Long, Text("600000"), AtLeast(1), High, ReadOnly, ACTIVE,
     "How often expired offsets are looked for."),
    ("offsets.topic.compression.codec", Int, Text("0"), Any, High, ReadOnly, no(Needless),
     "The codec of `__consumer_offsets`: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd."),
    ("offsets.topic.num.partitions", Int, Text("50"), AtLeast(1), High, ReadOnly, ACTIVE,
     "Partitions of `__consumer_offsets`. Changing it later sends groups to other coordinators: don't."),
    ("offsets.topic.replication.factor", Short, Text("3"), AtLeast(1), High, ReadOnly, ACTIVE,
     "Replicas of `__consumer_offsets`. No configuration at all: 1."),
    ("offsets.topic.segment.bytes", Int, Text("104857600"), AtLeast(1), High, ReadOnly, ACTIVE,
     "The segment size of `__consumer_offsets`; small, so that loading is quick."),
];
