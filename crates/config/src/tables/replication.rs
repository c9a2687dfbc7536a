//! Broker options: Replication and leaders.

use crate::key::DefaultValue::{Null, Text};
use crate::key::Valid::{Any, AtLeast};
use crate::key::Why::{JavaClass, Replicas, TieredStorage};
use crate::key::{ACTIVE, ConfigKey, broker_options, no};

#[rustfmt::skip]
pub(super) static OPTIONS: &[ConfigKey] = broker_options![
    ("num.replica.fetchers", Int, Text("1"), AtLeast(1), High, ClusterWide, no(Replicas),
     "Fetchers per source broker."),
    ("replica.fetch.backoff.ms", Int, Text("1000"), AtLeast(0), Medium, ReadOnly, no(Replicas),
     "How long a follower waits after a failed fetch."),
    ("replica.fetch.max.bytes", Int, Text("1048576"), AtLeast(0), Medium, ReadOnly, no(Replicas),
     "How much a follower asks for per partition."),
    ("replica.fetch.min.bytes", Int, Text("1"), Any, High, ReadOnly, no(Replicas),
     "How much must be there before a follower's fetch is answered early."),
    ("replica.fetch.response.max.bytes", Int, Text("10485760"), AtLeast(0), Medium, ReadOnly, no(Replicas),
     "How much a follower takes in one answer."),
    ("replica.fetch.wait.max.ms", Int, Text("500"), Any, High, ReadOnly, no(Replicas),
     "How long a leader may hold a follower's fetch. Below `replica.lag.time.max.ms`."),
    ("replica.lag.time.max.ms", Long, Text("30000"), Any, High, ReadOnly, no(Replicas),
     "After how long behind a follower falls out of the ISR."),
    ("replica.high.watermark.checkpoint.interval.ms", Long, Text("5000"), Any, High, ReadOnly, ACTIVE,
     "How often the high watermarks are saved."),
    ("replica.socket.receive.buffer.bytes", Int, Text("65536"), Any, High, ReadOnly, no(Replicas),
     "SO_RCVBUF of a follower's connection to its leader."),
    ("replica.socket.timeout.ms", Int, Text("30000"), Any, High, ReadOnly, no(Replicas),
     "How long a follower waits on its connection to the leader."),
    ("replica.selector.class", String, Null, Any, Medium, ReadOnly, no(JavaClass),
     "A Java class that picks the replica a consumer should read from."),
    ("auto.leader.rebalance.enable", Boolean, Text("true"), Any, High, ReadOnly, no(Replicas),
     "Whether leadership goes back to the first replica of a partition by itself."),
    ("leader.imbalance.check.interval.seconds", Long, Text("300"), AtLeast(1), High, ReadOnly, no(Replicas),
     "How often the controller looks for leaders to move back."),
    ("follower.fetch.last.tiered.offset.enable", Boolean, Text("false"), Any, Medium, ClusterWide, no(TieredStorage),
     "Lets an empty follower begin behind what is tiered."),
    ("controller.socket.timeout.ms", Int, Text("30000"), Any, Medium, ReadOnly, no(Replicas),
     "How long the controller waits on its connections to brokers."),
];
