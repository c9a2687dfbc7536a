//! `kafka-reassign-partitions --execute` and `--cancel`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::time::Duration;

use logrun_client::Target;
use logrun_client::admin::ConfigAlteration;
use logrun_wire::ErrorCode;
use logrun_wire::messages as m;

use super::verify::{BROKER_THROTTLES, TOPIC_THROTTLES, clear_throttles};
use super::{Ongoing, Plan, Replica, directories, ongoing, replica_text, replicas, to_json};
use crate::Out;
use crate::cluster::{Partition, ResourceType, alter_configs, metadata};
use crate::errors;
use crate::failure::Failure;
use crate::options::Given;
use crate::session::{Session, check, failure};
use crate::text::{commas, topic_partition};

/// How often a broker is asked whether a replica is there that shall be moved.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Begins to move partitions.
///
/// # Errors
/// The plan doesn't fit the cluster, something is being moved already, or the cluster refuses.
pub async fn execute(given: &Given<'_>, out: &mut Out, session: &Session, plan: &Plan) -> Result<(), Failure> {
    if plan.partitions.is_empty() {
        return Err(Failure::new("Partition reassignment list cannot be empty"));
    }
    let moving = ongoing(session).await?;
    if !given.has("additional") && !moving.is_empty() {
        return Err(Failure::new(
            "Cannot execute because there is an existing partition assignment.  Use --additional to override this and \
             create a new partition assignment in addition to the existing one. The --additional flag can also be used to \
             change the throttle by resubmitting the current reassignment.",
        ));
    }
    let live: BTreeSet<i32> = metadata(session, Some(&[])).await?.brokers.iter().map(|b| b.node_id).collect();
    if let Some(unknown) = plan.partitions.values().flatten().find(|b| !live.contains(b)) {
        return Err(Failure::new(format!("Unknown broker id {unknown}")));
    }
    let mut current = replicas(session, &plan.topics()).await?;
    current.retain(|partition, _| plan.partitions.contains_key(partition));
    let missing: Vec<String> = plan
        .partitions
        .keys()
        .filter(|p| !current.contains_key(*p))
        .map(|(topic, partition)| topic_partition(topic, *partition))
        .collect();
    if !missing.is_empty() {
        return Err(Failure::new(format!("Unable to find partition: {}", missing.join(", "))));
    }
    let wanted = current.iter().flat_map(|(p, brokers)| brokers.iter().map(move |b| (p.clone(), *b))).collect();
    let dirs = directories(session, &wanted).await?;
    let dirs = dirs.into_iter().filter_map(|(replica, (current, _))| Some((replica, current?))).collect();
    writeln!(out, "Current partition replica assignment\n\n{}\n", to_json(&current, &dirs))?;
    writeln!(out, "Save this to use as the --reassignment-json-file option during rollback")?;
    throttle(given, out, session, plan, &moving, &current).await?;
    let allow = !given.has("disallow-replication-factor-change");
    let targets = plan.partitions.iter().map(|(p, r)| (p, Some(r.clone()))).collect();
    let errors = alter(session, targets, allow).await?;
    if !errors.is_empty() {
        return Err(Failure::new(format!("Error reassigning partition(s):\n{}", errors.join("\n"))));
    }
    let names: Vec<String> = plan.partitions.keys().map(|(t, p)| topic_partition(t, *p)).collect();
    let s = if names.len() == 1 { "" } else { "s" };
    writeln!(out, "Successfully started partition reassignment{s} for {}", names.join(","))?;
    move_dirs(given, out, session, plan.dirs.clone()).await
}

/// Replicas that send, and replicas that receive, by topic: `partition:broker`.
type Throttled = BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)>;

fn throttled(
    plan: &Plan,
    moving: &BTreeMap<Partition, Ongoing>,
    current: &BTreeMap<Partition, Vec<i32>>,
) -> (Throttled, BTreeSet<i32>) {
    let mut moves: BTreeMap<&Partition, (BTreeSet<i32>, BTreeSet<i32>)> = BTreeMap::new();
    for (partition, r) in moving {
        let to: BTreeSet<i32> = r.adding_replicas.iter().copied().collect();
        let from = r.replicas.iter().copied().filter(|b| !to.contains(b)).collect();
        moves.insert(partition, (from, to));
    }
    for (partition, target) in &plan.partitions {
        let from: BTreeSet<i32> = match moves.get(partition) {
            Some((from, _)) => from.clone(),
            None => current.get(partition).into_iter().flatten().copied().collect(),
        };
        let to = target.iter().copied().filter(|b| !from.contains(b)).collect();
        moves.insert(partition, (from, to));
    }
    let mut topics = Throttled::new();
    let mut brokers = BTreeSet::new();
    for ((topic, partition), (from, to)) in moves {
        let (leaders, followers) = topics.entry(topic.clone()).or_default();
        leaders.extend(from.iter().map(|b| format!("{partition}:{b}")));
        followers.extend(to.iter().map(|b| format!("{partition}:{b}")));
        brokers.extend(from.into_iter().chain(to));
    }
    (topics, brokers)
}

async fn throttle(
    given: &Given<'_>,
    out: &mut Out,
    session: &Session,
    plan: &Plan,
    moving: &BTreeMap<Partition, Ongoing>,
    current: &BTreeMap<Partition, Vec<i32>>,
) -> Result<(), Failure> {
    let between_brokers = given.parsed::<i64>("throttle")?.filter(|rate| *rate >= 0);
    let between_dirs = given.parsed::<i64>("replica-alter-log-dirs-throttle")?.filter(|rate| *rate >= 0);
    if between_brokers.is_some() || between_dirs.is_some() {
        writeln!(
            out,
            "Warning: You must run --verify periodically, until the reassignment completes, to ensure the throttle is removed."
        )?;
    }
    let set = |names: &[&str], rate: i64| -> Vec<_> {
        names.iter().map(|name| ConfigAlteration::set(*name, rate.to_string())).collect()
    };
    if let Some(rate) = between_brokers {
        let (topics, brokers) = throttled(plan, moving, current);
        let changes = topics.into_iter().map(|(topic, (leaders, followers))| {
            let [leader_config, follower_config] = TOPIC_THROTTLES;
            let set = |name: &'static str, replicas: BTreeSet<String>| ConfigAlteration::set(name, commas(replicas));
            (topic, vec![set(leader_config, leaders), set(follower_config, followers)])
        });
        alter_configs(session, ResourceType::Topic, changes).await?;
        let changes = brokers.iter().map(|b| (b.to_string(), set(&BROKER_THROTTLES[..2], rate)));
        alter_configs(session, ResourceType::Broker, changes).await?;
        writeln!(out, "The inter-broker throttle limit was set to {rate} B/s")?;
    }
    if let Some(rate) = between_dirs {
        let brokers: BTreeSet<i32> = plan.dirs.keys().map(|(_, broker)| *broker).collect();
        let changes = brokers.iter().map(|b| (b.to_string(), set(&BROKER_THROTTLES[2..], rate)));
        alter_configs(session, ResourceType::Broker, changes).await?;
        writeln!(out, "The replica-alter-dir throttle limit was set to {rate} B/s")?;
    }
    Ok(())
}

/// Sets targets, or gives them up (`None`); says which partitions failed and why.
async fn alter(
    session: &Session,
    targets: BTreeMap<&Partition, Option<Vec<i32>>>,
    allow_replication_factor_change: bool,
) -> Result<Vec<String>, Failure> {
    let mut topics: BTreeMap<&str, Vec<m::alter_partition_reassignments_request::ReassignablePartition>> =
        BTreeMap::new();
    for ((topic, partition_index), replicas) in targets {
        topics.entry(topic).or_default().push(m::alter_partition_reassignments_request::ReassignablePartition {
            partition_index: *partition_index,
            replicas,
            ..Default::default()
        });
    }
    let topic = |(name, partitions): (&str, Vec<_>)| m::alter_partition_reassignments_request::ReassignableTopic {
        name: name.into(),
        partitions,
        ..Default::default()
    };
    let request = m::AlterPartitionReassignmentsRequest {
        timeout_ms: 60_000,
        allow_replication_factor_change,
        topics: topics.into_iter().map(topic).collect(),
        ..Default::default()
    };
    let response = session.call(Target::Controller, request).await.map_err(|e| failure(&e))?;
    check(response.error_code, response.error_message.as_deref())?;
    let mut errors = Vec::new();
    for topic in &response.responses {
        for p in topic.partitions.iter().filter(|p| p.error_code != 0) {
            let why = errors::message(p.error_code, p.error_message.as_deref());
            errors.push(format!("{}: {why}", topic_partition(&topic.name, p.partition_index)));
        }
    }
    Ok(errors)
}

/// Moves replicas to directories; one that isn't on its broker yet is waited for.
async fn move_dirs(
    given: &Given<'_>,
    out: &mut Out,
    session: &Session,
    mut pending: BTreeMap<Replica, String>,
) -> Result<(), Failure> {
    let timeout = given.parsed::<u64>("timeout")?.unwrap_or(10_000);
    let clock = &session.client.io().clock;
    let deadline = clock.now().plus(Duration::from_millis(timeout));
    while !pending.is_empty() {
        for replica in alter_dirs(session, &pending).await? {
            if let Some(dir) = pending.remove(&replica) {
                let ((topic, partition), broker) = replica;
                writeln!(
                    out,
                    "Successfully started moving log directory to {dir} for replica {topic}-{partition} with broker {broker} "
                )?;
            }
        }
        if pending.is_empty() {
            break;
        }
        if clock.now() >= deadline {
            let s = if pending.len() == 1 { "" } else { "s" };
            let names: Vec<String> = pending.keys().map(replica_text).collect();
            return Err(Failure::new(format!(
                "Timed out before log directory move{s} could be started for: {}",
                names.join(",")
            )));
        }
        clock.sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

/// Asks brokers to move replicas to directories; gives those that it began with.
async fn alter_dirs(session: &Session, wanted: &BTreeMap<Replica, String>) -> Result<Vec<Replica>, Failure> {
    let mut brokers: BTreeMap<i32, BTreeMap<&str, BTreeMap<&str, Vec<i32>>>> = BTreeMap::new();
    for (((topic, partition), broker), dir) in wanted {
        let dirs = brokers.entry(*broker).or_default();
        dirs.entry(dir).or_default().entry(topic).or_default().push(*partition);
    }
    let mut begun = Vec::new();
    for (broker, dirs) in brokers {
        let topic = |(name, partitions): (&str, Vec<i32>)| m::alter_replica_log_dirs_request::AlterReplicaLogDirTopic {
            name: name.into(),
            partitions,
            ..Default::default()
        };
        let dirs = dirs.into_iter().map(|(path, topics)| m::alter_replica_log_dirs_request::AlterReplicaLogDir {
            path: path.into(),
            topics: topics.into_iter().map(topic).collect(),
            ..Default::default()
        });
        let request = m::AlterReplicaLogDirsRequest { dirs: dirs.collect(), ..Default::default() };
        let response = session.node(broker, request).await?;
        for topic in response.results {
            for p in topic.partitions {
                let replica = ((topic.topic_name.to_string(), p.partition_index), broker);
                match ErrorCode::from_code(p.error_code) {
                    Some(ErrorCode::None) => begun.push(replica),
                    Some(ErrorCode::ReplicaNotAvailable) => {}
                    _ => {
                        let why = errors::message(p.error_code, None);
                        return Err(Failure::new(format!("Failed to alter dir for {}: {why}", replica_text(&replica))));
                    }
                }
            }
        }
    }
    Ok(begun)
}

/// Stops moving the plan's partitions.
///
/// # Errors
/// The cluster refuses.
pub async fn cancel(given: &Given<'_>, out: &mut Out, session: &Session, plan: &Plan) -> Result<(), Failure> {
    let moving = ongoing(session).await?;
    let active: BTreeMap<&Partition, Option<Vec<i32>>> =
        plan.partitions.keys().filter(|p| moving.contains_key(*p)).map(|p| (p, None)).collect();
    if active.is_empty() {
        writeln!(out, "None of the specified partition reassignments are active.")?;
    } else {
        let names: Vec<String> = active.keys().map(|(t, p)| topic_partition(t, *p)).collect();
        let s = if names.len() == 1 { "" } else { "s" };
        let errors = alter(session, active, true).await?;
        if !errors.is_empty() {
            let s = if errors.len() == 1 { "" } else { "s" };
            return Err(Failure::new(format!(
                "Error cancelling partition reassignment{s} for:\n{}",
                errors.join("\n")
            )));
        }
        writeln!(out, "Successfully cancelled partition reassignment{s} for: {}", names.join(","))?;
    }
    let wanted = plan.dirs.keys().cloned().collect();
    let dirs = directories(session, &wanted).await?;
    let back: BTreeMap<Replica, String> = dirs
        .into_iter()
        .filter_map(|(replica, (current, future))| future.and(current).map(|current| (replica, current)))
        .collect();
    if back.is_empty() {
        // Without a line end, as Kafka has it.
        write!(out, "None of the specified partition moves are active.")?;
    } else {
        move_dirs(given, out, session, back).await?;
    }
    if !given.has("preserve-throttles") {
        clear_throttles(out, session, plan).await?;
    }
    Ok(())
}
