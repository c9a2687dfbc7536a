//! Broker options: Consumer groups of the new protocol (KIP-848).

use crate::key::DefaultValue::Text;
use crate::key::Valid::{AtLeast, OneOfIgnoringCase, SomeItems};
use crate::key::Why::ConsumerGroups;
use crate::key::{ConfigKey, broker_options, no};

#[rustfmt::skip]
pub(super) static OPTIONS: &[ConfigKey] = broker_options![
    ("group.consumer.assignors", List, Text("uniform,range"), SomeItems, Medium, ReadOnly, no(ConsumerGroups),
     "The assignors that the broker offers; the first is used when a member names none."),
    ("group.consumer.migration.policy", String, Text("bidirectional"), OneOfIgnoringCase(&["DISABLED", "DOWNGRADE", "UPGRADE", "BIDIRECTIONAL"]), Medium, ReadOnly, no(ConsumerGroups),
     "Whether a group with members may change between the classic and the new protocol, and which way."),
    ("group.consumer.regex.refresh.interval.ms", Int, Text("600000"), AtLeast(10_000), Medium, ReadOnly, no(ConsumerGroups),
     "How often topics are matched anew against the patterns that members subscribe with.", internal),
    ("group.consumer.max.size", Int, Text("2147483647"), AtLeast(1), Medium, ReadOnly, no(ConsumerGroups),
     "How many members such a group may have."),
    ("group.consumer.heartbeat.interval.ms", Int, Text("5000"), AtLeast(1), Medium, ReadOnly, no(ConsumerGroups),
     "How often members are told to send heartbeats."),
    ("group.consumer.min.heartbeat.interval.ms", Int, Text("5000"), AtLeast(1), Medium, ReadOnly, no(ConsumerGroups),
     "The shortest heartbeat interval that a group may set."),
    ("group.consumer.max.heartbeat.interval.ms", Int, Text("15000"), AtLeast(1), Medium, ReadOnly, no(ConsumerGroups),
     "The longest heartbeat interval that a group may set."),
    ("group.consumer.session.timeout.ms", Int, Text("45000"), AtLeast(1), Medium, ReadOnly, no(ConsumerGroups),
     "After how long without a heartbeat a member is removed."),
    ("group.consumer.min.session.timeout.ms", Int, Text("45000"), AtLeast(1), Medium, ReadOnly, no(ConsumerGroups),
     "The shortest session timeout that a group may set."),
    ("group.consumer.max.session.timeout.ms", Int, Text("60000"), AtLeast(1), Medium, ReadOnly, no(ConsumerGroups),
     "The longest session timeout that a group may set."),
    ("group.consumer.assignment.interval.ms", Int, Text("1000"), AtLeast(0), Medium, ClusterWide, no(ConsumerGroups),
     "The shortest time between two assignments of a group."),
    ("group.consumer.min.assignment.interval.ms", Int, Text("0"), AtLeast(0), Medium, ReadOnly, no(ConsumerGroups),
     "The smallest assignment interval that a group may set."),
    ("group.consumer.max.assignment.interval.ms", Int, Text("15000"), AtLeast(0), Medium, ReadOnly, no(ConsumerGroups),
     "The largest assignment interval that a group may set."),
];
