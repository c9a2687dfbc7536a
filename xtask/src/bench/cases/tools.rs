//! How long a command line tool takes from being called to having answered, ours and Apache Kafka's, on one broker.

use super::Scale;
use crate::bench::measure::{Quantity, Table};
use crate::bench::side::Contest;

/// What is asked: the tool, the class of Apache's, and the rest of the line. `B` stands for the broker, which is named at
/// the end where it isn't named before.
const LINES: &[(&str, &str, &[&str])] = &[
    ("kafka-topics --list", "org.apache.kafka.tools.TopicCommand", &["--list"]),
    ("kafka-topics --describe", "org.apache.kafka.tools.TopicCommand", &["--describe"]),
    ("kafka-consumer-groups --list", "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", &["--list"]),
    (
        "kafka-consumer-groups --describe",
        "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
        &["--describe", "--group", "readers"],
    ),
    (
        "kafka-consumer-groups --reset-offsets",
        "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
        &["--reset-offsets", "--group", "readers", "--topic", "asked", "--to-earliest", "--execute"],
    ),
    ("kafka-configs --describe", "kafka.admin.ConfigCommand", &["--describe", "--entity-type", "topics"]),
    ("kafka-get-offsets", "org.apache.kafka.tools.GetOffsetShell", &[]),
    ("kafka-groups --list", "org.apache.kafka.tools.GroupsCommand", &["--list"]),
    ("kafka-broker-api-versions", "org.apache.kafka.tools.BrokerApiVersionsCommand", &[]),
    ("kafka-log-dirs --describe", "org.apache.kafka.tools.LogDirsCommand", &["--describe"]),
    ("kafka-cluster cluster-id", "org.apache.kafka.tools.ClusterTool", &["cluster-id"]),
    (
        "kafka-metadata-quorum describe",
        "org.apache.kafka.tools.MetadataQuorumCommand",
        &["--bootstrap-server", "B", "describe", "--status"],
    ),
    ("kafka-features describe", "org.apache.kafka.tools.FeatureCommand", &["--bootstrap-server", "B", "describe"]),
    (
        "kafka-transactions describe-producers",
        "org.apache.kafka.tools.TransactionsCommand",
        &["--bootstrap-server", "B", "describe-producers", "--topic", "asked", "--partition", "0"],
    ),
    ("kafka-topics --version", "org.apache.kafka.tools.TopicCommand", &["--version"]),
];

pub fn answer(contest: &Contest, scale: Scale, table: &mut Table) -> Result<(), String> {
    let side = contest.start_ours("")?;
    side.create_now("asked", 6)?;
    contest.ask(&side, LINES[4].0, LINES[4].1, LINES[4].2)?;
    for _ in 0..scale.rounds {
        for (name, class, args) in LINES {
            let (ours, theirs) = contest.ask(&side, name, class, args)?;
            table.add(Quantity::less(name, "ms", 0.1), ours, theirs);
        }
    }
    Ok(())
}
