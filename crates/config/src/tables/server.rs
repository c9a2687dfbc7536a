//! Broker options: The process: roles, threads, requests, features.

use crate::key::DefaultValue::{Null, Required, Text};
use crate::key::Valid::{Any, AtLeast, Items, SomeItemsOf};
use crate::key::Why::{Acls, JavaClass, Needless, Threads};
use crate::key::{ACTIVE, ConfigKey, broker_options, no};

#[rustfmt::skip]
pub(super) static OPTIONS: &[ConfigKey] = broker_options![
    ("process.roles", List, Required, SomeItemsOf(&["broker", "controller"]), High, ReadOnly, ACTIVE,
     "Which parts this process runs: `broker`, `controller` or both. Unset, Logrun runs both."),
    ("node.id", Int, Required, AtLeast(0), High, ReadOnly, ACTIVE,
     "The node's number in the cluster, the same for its broker and its controller. Never give one number to two nodes."),
    ("broker.id", Int, Text("-1"), Any, High, ReadOnly, ACTIVE,
     "The older name of `node.id`. When both are set they must agree."),
    ("broker.rack", String, Null, Any, Medium, ReadOnly, ACTIVE,
     "Where the broker stands (a rack, a zone). Replicas of a partition are spread over racks, and consumers may read from a near one."),
    ("broker.heartbeat.interval.ms", Int, Text("2000"), Any, Medium, ReadOnly, ACTIVE,
     "How often the broker tells the controller that it lives."),
    ("broker.session.timeout.ms", Int, Text("9000"), Any, Medium, ReadOnly, ACTIVE,
     "After how long without a heartbeat the controller fences a broker."),
    ("initial.broker.registration.timeout.ms", Int, Text("60000"), Any, Medium, ReadOnly, ACTIVE,
     "How long a starting broker tries to register with the controller before it gives up."),
    ("controlled.shutdown.enable", Boolean, Text("true"), Any, Medium, ReadOnly, ACTIVE,
     "Whether a stopping broker first hands over its leaders."),
    ("server.max.startup.time.ms", Long, Text("9223372036854775807"), AtLeast(0), Medium, ReadOnly, no(Needless),
     "A limit on the time to start; Kafka has it for its tests.", internal),
    ("background.threads", Int, Text("10"), AtLeast(1), High, ClusterWide, no(Threads),
     "Threads for odd jobs in Kafka."),
    ("num.io.threads", Int, Text("8"), AtLeast(1), High, ClusterWide, no(Threads),
     "Threads that handle requests in Kafka, disk work included."),
    ("request.timeout.ms", Int, Text("30000"), Any, High, ReadOnly, ACTIVE,
     "How long the node waits for an answer from another node before it tries again."),
    ("delete.topic.enable", Boolean, Text("true"), Any, High, ReadOnly, ACTIVE,
     "Whether topics can be deleted. When false, DeleteTopics is refused."),
    ("auto.create.topics.enable", Boolean, Text("true"), Any, High, ReadOnly, ACTIVE,
     "Whether a topic is made when a client asks for the metadata of an unknown one, as producers do."),
    ("create.topic.policy.class.name", Class, Null, Any, Low, ReadOnly, no(JavaClass),
     "A Java class that is asked before a topic is created."),
    ("alter.config.policy.class.name", Class, Null, Any, Low, ReadOnly, no(JavaClass),
     "A Java class that is asked before a config is changed."),
    ("config.providers", List, Text(""), Items, Low, ClusterWide, no(JavaClass),
     "Names of Java classes that fetch config values from elsewhere (`${provider:path:key}`)."),
    ("unstable.api.versions.enable", Boolean, Text("false"), Any, High, ReadOnly, no(Needless),
     "Lets a Kafka broker serve API versions that are still in work. Logrun lists exactly what works.", internal),
    ("unstable.feature.versions.enable", Boolean, Text("false"), Any, High, ReadOnly, no(Needless),
     "Lets a Kafka node use feature levels that are still in work.", internal),
    ("early.start.listeners", List, Null, Items, High, ReadOnly, no(Acls),
     "Listeners that open before the authorizer is ready. Without an authorizer all open together."),
    ("max.request.partition.size.limit", Int, Text("2000"), AtLeast(1), Medium, ReadOnly, ACTIVE,
     "How many partitions one DescribeTopicPartitions answer may hold; the rest is fetched with a cursor."),
];
