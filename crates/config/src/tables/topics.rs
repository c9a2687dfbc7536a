//! Broker options: Topics: what a new one gets.

use crate::key::DefaultValue::Text;
use crate::key::Valid::{Any, AtLeast, Between, BetweenOrMinusOne, OneOf};
use crate::key::Why::{OneEncoder, Replicas};
use crate::key::{ACTIVE, ConfigKey, broker_options, no};

#[rustfmt::skip]
pub(super) static OPTIONS: &[ConfigKey] = broker_options![
    ("num.partitions", Int, Text("1"), AtLeast(1), Medium, ReadOnly, ACTIVE,
     "Partitions of a topic that is created without saying how many."),
    ("default.replication.factor", Int, Text("1"), Any, Medium, ReadOnly, ACTIVE,
     "Replicas of a topic that is created without saying how many."),
    ("min.insync.replicas", Int, Text("1"), AtLeast(1), High, ClusterWide, ACTIVE,
     "How many replicas must have a record before `acks=all` is answered. With fewer in sync such a produce is refused."),
    ("message.max.bytes", Int, Text("1048588"), AtLeast(0), High, ClusterWide, ACTIVE,
     "The largest record batch that is taken, as it arrives (compressed, if it is)."),
    ("compression.type", String, Text("producer"), OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), High, ClusterWide, ACTIVE,
     "How records are kept: `producer` as they come, or always with the named codec, or `uncompressed`."),
    ("compression.gzip.level", Int, Text("-1"), BetweenOrMinusOne(1, 9), Medium, ClusterWide, ACTIVE,
     "The level when the broker compresses with gzip."),
    ("compression.lz4.level", Int, Text("9"), Between(1, 17), Medium, ClusterWide, no(OneEncoder),
     "The level when the broker compresses with lz4."),
    ("compression.zstd.level", Int, Text("3"), Between(-131_072, 22), Medium, ClusterWide, ACTIVE,
     "The level when the broker compresses with zstd."),
    ("unclean.leader.election.enable", Boolean, Text("false"), Any, High, ClusterWide, no(Replicas),
     "Whether a replica that lacks records may lead when no complete one is left: available again, with records lost."),
    ("unclean.leader.election.interval.ms", Long, Text("300000"), AtLeast(1), Medium, ReadOnly, no(Replicas),
     "How often the controller looks for partitions without a leader that such an election would save.", internal),
];
