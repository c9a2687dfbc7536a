//! `kafka-reassign-partitions --verify`: how far moves are, and the end of their throttles.

use std::collections::BTreeSet;
use std::io::Write;

use super::{Plan, Replica, directories, ongoing, replica_text, replicas};
use crate::Out;
use crate::cluster::{ResourceType, alter_configs, metadata};
use crate::failure::Failure;
use crate::options::Given;
use crate::session::Session;
use crate::text::{commas, topic_partition};
use logrun_client::admin::ConfigAlteration;

/// The throttles of brokers and of topics.
pub const BROKER_THROTTLES: [&str; 3] = [
    "leader.replication.throttled.rate",
    "follower.replication.throttled.rate",
    "replica.alter.log.dirs.io.max.bytes.per.second",
];
pub const TOPIC_THROTTLES: [&str; 2] =
    ["leader.replication.throttled.replicas", "follower.replication.throttled.replicas"];

/// Prints the state of each partition and replica of the plan.
///
/// # Errors
/// Nobody answers.
pub async fn verify(given: &Given<'_>, out: &mut Out, session: &Session, plan: &Plan) -> Result<(), Failure> {
    let moving = ongoing(session).await?;
    let current = replicas(session, &plan.topics()).await?;
    writeln!(out, "Status of partition reassignment:")?;
    for (partition, target) in &plan.partitions {
        let name = topic_partition(&partition.0, partition.1);
        let now = current.get(partition).cloned().unwrap_or_default();
        if moving.contains_key(partition) {
            writeln!(out, "Reassignment of partition {name} is still in progress.")?;
        } else if now == *target {
            writeln!(out, "Reassignment of partition {name} is completed.")?;
        } else {
            writeln!(
                out,
                "There is no active reassignment of partition {name}, but replica set is {} rather than {}.",
                commas(&now),
                commas(target)
            )?;
        }
    }
    let mut lines = Vec::new();
    let mut moves_ongoing = false;
    let wanted: BTreeSet<Replica> = plan.dirs.keys().cloned().collect();
    let dirs = directories(session, &wanted).await?;
    for (replica, target) in &plan.dirs {
        let ((topic, partition), broker) = replica;
        let name = topic_partition(topic, *partition);
        let text = replica_text(replica);
        lines.push(match dirs.get(replica) {
            None => format!("Partition {name} cannot be found in any live log directory on broker {broker}."),
            Some((None, _)) => format!(
                "Partition {name} is not found in any live log dir on broker {broker}. There is likely an offline log directory on the broker."
            ),
            Some((Some(current), None)) if current == target => {
                format!("Reassignment of replica {text} completed successfully.")
            }
            Some((Some(current), None)) => {
                format!("Partition {name} on broker {broker} is not being moved from log dir {current} to {target}.")
            }
            Some((_, Some(future))) => {
                moves_ongoing = true;
                match future == target {
                    true => format!("Reassignment of replica {text} is still in progress."),
                    false => format!(
                        "Partition {name} on broker {broker} is being moved to log dir {future} instead of {target}."
                    ),
                }
            }
        });
    }
    writeln!(out, "{}", lines.join("\n"))?;
    if moving.is_empty() && !moves_ongoing && !given.has("preserve-throttles") {
        clear_throttles(out, session, plan).await?;
    }
    Ok(())
}

/// Lifts the throttles of all brokers and of the plan's topics.
///
/// # Errors
/// The cluster refuses.
pub async fn clear_throttles(out: &mut Out, session: &Session, plan: &Plan) -> Result<(), Failure> {
    let cluster = metadata(session, Some(&[])).await?;
    let mut brokers: BTreeSet<i32> = cluster.brokers.iter().map(|b| b.node_id).collect();
    brokers.extend(plan.partitions.values().flatten());
    let s = |n: usize| if n == 1 { "" } else { "s" };
    writeln!(out, "Clearing broker-level throttles on broker{} {}", s(brokers.len()), commas(&brokers))?;
    let clear = |names: &[&str]| names.iter().map(|name| ConfigAlteration::delete(*name)).collect::<Vec<_>>();
    let changes = brokers.iter().map(|b| (b.to_string(), clear(&BROKER_THROTTLES)));
    alter_configs(session, ResourceType::Broker, changes).await?;
    let topics = plan.topics();
    writeln!(out, "Clearing topic-level throttles on topic{} {}", s(topics.len()), commas(&topics))?;
    let changes = topics.iter().map(|topic| ((*topic).to_owned(), clear(&TOPIC_THROTTLES)));
    alter_configs(session, ResourceType::Topic, changes).await
}
