//! Broker options: Streams groups (KIP-1071).

use crate::key::DefaultValue::Text;
use crate::key::Valid::AtLeast;
use crate::key::Why::StreamsGroups;
use crate::key::{ConfigKey, broker_options, no};

#[rustfmt::skip]
pub(super) static OPTIONS: &[ConfigKey] = broker_options![
    ("group.streams.max.size", Int, Text("2147483647"), AtLeast(1), Medium, ReadOnly, no(StreamsGroups),
     "How many members a streams group may have."),
    ("group.streams.heartbeat.interval.ms", Int, Text("5000"), AtLeast(1), Medium, ReadOnly, no(StreamsGroups),
     "How often members are told to send heartbeats."),
    ("group.streams.min.heartbeat.interval.ms", Int, Text("5000"), AtLeast(1), Medium, ReadOnly, no(StreamsGroups),
     "The shortest heartbeat interval that a group may set."),
    ("group.streams.max.heartbeat.interval.ms", Int, Text("15000"), AtLeast(1), Medium, ReadOnly, no(StreamsGroups),
     "The longest heartbeat interval that a group may set."),
    ("group.streams.session.timeout.ms", Int, Text("45000"), AtLeast(1), Medium, ReadOnly, no(StreamsGroups),
     "After how long without a heartbeat a member is removed."),
    ("group.streams.min.session.timeout.ms", Int, Text("45000"), AtLeast(1), Medium, ReadOnly, no(StreamsGroups),
     "The shortest session timeout that a group may set."),
    ("group.streams.max.session.timeout.ms", Int, Text("60000"), AtLeast(1), Medium, ReadOnly, no(StreamsGroups),
     "The longest session timeout that a group may set."),
    ("group.streams.initial.rebalance.delay.ms", Int, Text("3000"), AtLeast(0), Medium, ReadOnly, no(StreamsGroups),
     "How long a new group waits for more members before its first assignment."),
    ("group.streams.num.standby.replicas", Int, Text("0"), AtLeast(0), Medium, ReadOnly, no(StreamsGroups),
     "Standby copies of each task's state."),
    ("group.streams.max.standby.replicas", Int, Text("2"), AtLeast(0), Medium, ReadOnly, no(StreamsGroups),
     "The most standby copies that a group may set."),
    ("group.streams.assignment.interval.ms", Int, Text("1000"), AtLeast(0), Medium, ClusterWide, no(StreamsGroups),
     "The shortest time between two assignments of a group."),
    ("group.streams.min.assignment.interval.ms", Int, Text("0"), AtLeast(0), Medium, ReadOnly, no(StreamsGroups),
     "The smallest assignment interval that a group may set."),
    ("group.streams.max.assignment.interval.ms", Int, Text("15000"), AtLeast(0), Medium, ReadOnly, no(StreamsGroups),
     "The largest assignment interval that a group may set."),
];
