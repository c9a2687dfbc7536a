//! Broker options: Quotas.

use crate::key::DefaultValue::{Null, Text};
use crate::key::Valid::{Any, AtLeast};
use crate::key::Why::{JavaClass, Quotas};
use crate::key::{ACTIVE, ConfigKey, broker_options, no};

#[rustfmt::skip]
pub(super) static OPTIONS: &[ConfigKey] = broker_options![
    ("quota.window.num", Int, Text("11"), AtLeast(1), Low, ReadOnly, no(Quotas),
     "Samples that client quotas are measured over."),
    ("quota.window.size.seconds", Int, Text("1"), AtLeast(1), Low, ReadOnly, no(Quotas),
     "The length of one of those samples."),
    ("replication.quota.window.num", Int, Text("11"), AtLeast(1), Low, ReadOnly, no(Quotas),
     "Samples that replication throttles are measured over."),
    ("replication.quota.window.size.seconds", Int, Text("1"), AtLeast(1), Low, ReadOnly, no(Quotas),
     "The length of one of those samples."),
    ("alter.log.dirs.replication.quota.window.num", Int, Text("11"), AtLeast(1), Low, ReadOnly, no(Quotas),
     "Samples that the throttle of moves between directories is measured over."),
    ("alter.log.dirs.replication.quota.window.size.seconds", Int, Text("1"), AtLeast(1), Low, ReadOnly, no(Quotas),
     "The length of one of those samples."),
    ("controller.quota.window.num", Int, Text("11"), AtLeast(1), Low, ReadOnly, no(Quotas),
     "Samples that the quota of topic creations and deletions is measured over."),
    ("controller.quota.window.size.seconds", Int, Text("1"), AtLeast(1), Low, ReadOnly, no(Quotas),
     "The length of one of those samples."),
    ("client.quota.callback.class", Class, Null, Any, Low, ReadOnly, no(JavaClass),
     "A Java class that decides quotas."),
];

/// What can be set only while the broker runs, and on a broker only: `QuotaConfig.brokerQuotaConfigs`. No file has it.
#[rustfmt::skip]
pub(super) static DYNAMIC_ONLY: &[ConfigKey] = broker_options![
    ("follower.replication.throttled.rate", Long, Text("9223372036854775807"), AtLeast(0), Medium, ClusterWide, no(Quotas),
     "How many bytes in a second throttled replicas may fetch."),
    ("leader.replication.throttled.rate", Long, Text("9223372036854775807"), AtLeast(0), Medium, ClusterWide, no(Quotas),
     "How many bytes in a second may be sent to throttled replicas."),
    ("replica.alter.log.dirs.io.max.bytes.per.second", Long, Text("9223372036854775807"), AtLeast(0), Medium, ClusterWide, ACTIVE,
     "How many bytes in a second moves between log directories may copy, all together."),
];
