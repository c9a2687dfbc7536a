//! Broker options: Sockets, connections and requests.

use crate::key::DefaultValue::Text;
use crate::key::Valid::{Any, AtLeast};
use crate::key::Why::{Needless, NotYet, Quotas, Replicas, Sasl, Threads};
use crate::key::{ACTIVE, ConfigKey, broker_options, no};

#[rustfmt::skip]
pub(super) static OPTIONS: &[ConfigKey] = broker_options![
    ("num.network.threads", Int, Text("3"), AtLeast(1), High, ClusterWide, no(Threads),
     "Threads per listener that read and write sockets in Kafka."),
    ("queued.max.requests", Int, Text("500"), AtLeast(1), High, ReadOnly, no(Needless),
     "How many requests Kafka queues before it stops reading. Logrun takes one request of a connection at a time, in order."),
    ("queued.max.request.bytes", Long, Text("-1"), Any, Medium, ReadOnly, no(Needless),
     "How many bytes of requests Kafka queues before it stops reading; -1 for no limit."),
    ("socket.listen.backlog.size", Int, Text("50"), AtLeast(1), Medium, ReadOnly, no(NotYet),
     "How many connections the system may hold that are not accepted yet."),
    ("socket.receive.buffer.bytes", Int, Text("102400"), Any, High, ReadOnly, no(NotYet),
     "SO_RCVBUF of accepted sockets; -1 leaves it to the system."),
    ("socket.send.buffer.bytes", Int, Text("102400"), Any, High, ReadOnly, no(NotYet),
     "SO_SNDBUF of accepted sockets; -1 leaves it to the system."),
    ("socket.request.max.bytes", Int, Text("104857600"), AtLeast(1), High, ReadOnly, ACTIVE,
     "The largest request. A connection that announces more is closed."),
    ("socket.connection.setup.timeout.ms", Long, Text("10000"), Any, Medium, ReadOnly, no(Replicas),
     "How long the first attempt to connect to another node may take."),
    ("socket.connection.setup.timeout.max.ms", Long, Text("30000"), Any, Medium, ReadOnly, no(Replicas),
     "How long an attempt to connect to another node may take after several that failed."),
    ("connections.max.idle.ms", Long, Text("600000"), Any, Medium, ReadOnly, no(NotYet),
     "A connection without a request for this long is closed."),
    ("connection.failed.authentication.delay.ms", Int, Text("100"), AtLeast(0), Low, ReadOnly, no(Sasl),
     "How long the answer to a failed login is held back, so that guessing is slow."),
    ("connections.max.reauth.ms", Long, Text("0"), Any, Medium, ReadOnly, no(Sasl),
     "How long a SASL session lasts before the client must log in again; 0 for ever."),
    ("max.connections", Int, Text("2147483647"), AtLeast(0), Medium, ClusterWide, no(NotYet),
     "How many connections the node takes at once; `listener.name.NAME.max.connections` limits one listener."),
    ("max.connections.per.ip", Int, Text("2147483647"), AtLeast(0), Medium, ClusterWide, no(NotYet),
     "How many connections one address may hold."),
    ("max.connections.per.ip.overrides", String, Text(""), Any, Medium, ClusterWide, no(NotYet),
     "Other limits for some addresses: `host:count`, several with commas."),
    ("max.connection.creation.rate", Int, Text("2147483647"), AtLeast(0), Medium, ClusterWide, no(Quotas),
     "How many connections are accepted in a second."),
];
