//! Options that Kafka no longer has: files and images still carry them, so they are taken, ignored and told of.

/// Why an option of an older Kafka means nothing now; `None` if it never was one.
pub(crate) fn retired(name: &str) -> Option<&'static str> {
    if name.starts_with("zookeeper.") {
        return Some("there is no ZooKeeper: the metadata is in the node's own log");
    }
    if name.starts_with("password.encoder.") {
        return Some("it encrypted passwords in ZooKeeper");
    }
    if name.starts_with("confluent.") {
        return Some("it belongs to another distribution of Kafka");
    }
    Some(match name {
        "inter.broker.protocol.version" => "protocol versions are agreed on by features now",
        "log.message.format.version" | "log.message.downconversion.enable" => {
            "records have had one format since Kafka 4.0"
        }
        "log.message.timestamp.difference.max.ms" => {
            "it became log.message.timestamp.before.max.ms and log.message.timestamp.after.max.ms"
        }
        "host.name" | "port" => "it became listeners",
        "advertised.host.name" | "advertised.port" => "it became advertised.listeners",
        "broker.id.generation.enable" | "reserved.broker.max.id" => "a node's number is given by node.id now",
        "control.plane.listener.name" => "controllers have listeners of their own: controller.listener.names",
        "controlled.shutdown.max.retries" | "controlled.shutdown.retry.backoff.ms" => {
            "a controlled shutdown goes by heartbeats now"
        }
        "delegation.token.master.key" => "it became delegation.token.secret.key",
        "offsets.commit.required.acks" => "commits wait for all in-sync replicas",
        "leader.imbalance.per.broker.percentage" => "leaders go back whenever that is possible",
        "group.coordinator.new.enable" => "there is one group coordinator",
        "eligible.leader.replicas.enable" => "it became a feature of the cluster",
        "auto.include.jmx.reporter" => "metrics don't come from a JVM",
        "snapshot.trust.empty" => "there is no ZooKeeper snapshot",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::{broker_options, topic_options};

    #[test]
    fn nothing_is_both_retired_and_declared() {
        for key in broker_options().iter().chain(topic_options().iter()) {
            assert_eq!(retired(key.name), None, "{}", key.name);
        }
        assert!(retired("zookeeper.connect").is_some());
    }
}
