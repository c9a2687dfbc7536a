//! `kafka-reassign-partitions --generate`: proposes replicas for the partitions of topics (Kafka's
//! `AdminUtils.assignReplicasToBrokers`), over racks where brokers have one.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use serde_json::Value;

use super::{directories, replicas, to_json};
use crate::Out;
use crate::cluster::{Partition, metadata};
use crate::failure::Failure;
use crate::files;
use crate::options::Given;
use crate::session::Session;
use crate::text::commas;

/// Prints the present assignment and a proposal.
///
/// # Errors
/// The file or the list of brokers is wrong, or a topic isn't there.
pub async fn generate(given: &Given<'_>, out: &mut Out, session: &Session) -> Result<(), Failure> {
    let brokers = brokers(given)?;
    let json = files::json(given.value("topics-to-move-json-file")?.unwrap_or_default())?;
    let topics = topics(&json)?;
    let names: BTreeSet<&str> = topics.iter().map(String::as_str).collect();
    let current = replicas(session, &names).await?;
    if let Some(missing) = names.iter().find(|name| !current.keys().any(|(topic, _)| topic == *name)) {
        return Err(Failure::new(format!("Topic {missing} not found.")));
    }
    let cluster = metadata(session, Some(&[])).await?;
    let aware = !given.has("disable-rack-aware");
    let racks: Vec<(i32, Option<String>)> = cluster
        .brokers
        .iter()
        .filter(|b| brokers.contains(&b.node_id))
        .map(|b| (b.node_id, b.rack.as_deref().filter(|_| aware).map(str::to_owned)))
        .collect();
    let rackless = racks.iter().filter(|(_, rack)| rack.is_none()).count();
    if aware && rackless != 0 && rackless != racks.len() {
        return Err(Failure::new(
            "Not all brokers have rack information. Add --disable-rack-aware in command line to make replica assignment \
             without rack information.",
        ));
    }
    let mut proposed: BTreeMap<Partition, Vec<i32>> = BTreeMap::new();
    let random = &session.client.io().random;
    for topic in &topics {
        let own: Vec<&Vec<i32>> = current.iter().filter(|((t, _), _)| t == topic).map(|(_, r)| r).collect();
        let factor = own.first().map_or(0, |r| r.len());
        if racks.len() < factor {
            return Err(Failure::new(format!(
                "Unable to replicate the partition {factor} time(s): The target replication factor of {factor} cannot be \
                 reached because only {} broker(s) are registered.",
                racks.len()
            )));
        }
        let order = by_racks(&racks);
        let count = u64::try_from(order.len()).unwrap_or(1).max(1);
        let start = usize::try_from(random.below(count)).unwrap_or(0);
        let shift = usize::try_from(random.below(count)).unwrap_or(0);
        for (partition, assigned) in (0..).zip(assign(&order, own.len(), factor, start, shift)) {
            proposed.insert((topic.clone(), partition), assigned);
        }
    }
    let wanted = current.iter().flat_map(|(p, brokers)| brokers.iter().map(move |b| (p.clone(), *b))).collect();
    let dirs = directories(session, &wanted).await?;
    let dirs = dirs.into_iter().filter_map(|(replica, (current, _))| Some((replica, current?))).collect();
    writeln!(out, "Current partition replica assignment\n{}\n", to_json(&current, &dirs))?;
    Ok(writeln!(out, "Proposed partition reassignment configuration\n{}", to_json(&proposed, &BTreeMap::new()))?)
}

fn brokers(given: &Given<'_>) -> Result<BTreeSet<i32>, Failure> {
    let text = given.value("broker-list")?.unwrap_or_default();
    let ids: Vec<i32> = text
        .split(',')
        .map(|id| id.trim().parse().map_err(|_| given.syntax.wrong(format!("--broker-list: {id} is no broker id"))))
        .collect::<Result<_, _>>()?;
    let distinct: BTreeSet<i32> = ids.iter().copied().collect();
    if distinct.len() != ids.len() {
        let twice = distinct.iter().filter(|b| ids.iter().filter(|i| i == b).count() > 1);
        return Err(Failure::new(format!("Broker list contains duplicate entries: [{}]", commas(twice))));
    }
    Ok(distinct)
}

fn topics(json: &Value) -> Result<BTreeSet<String>, Failure> {
    let list = json.get("topics").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut topics = BTreeSet::new();
    for entry in list {
        let topic = entry.get("topic").and_then(Value::as_str);
        let topic = topic.ok_or_else(|| Failure::new(format!("each of \"topics\" needs a \"topic\": {entry}")))?;
        if !topics.insert(topic.to_owned()) {
            return Err(Failure::new(format!("List of topics to reassign contains duplicate entries: [{topic}]")));
        }
    }
    Ok(topics)
}

/// The brokers, those of different racks taking turns.
fn by_racks(brokers: &[(i32, Option<String>)]) -> Vec<(i32, Option<String>)> {
    let mut racks: BTreeMap<&Option<String>, Vec<i32>> = BTreeMap::new();
    for (broker, rack) in brokers {
        racks.entry(rack).or_default().push(*broker);
    }
    let most = racks.values().map(Vec::len).max().unwrap_or(0);
    (0..most)
        .flat_map(|turn| racks.iter().filter_map(move |(rack, ids)| Some((*ids.get(turn)?, (*rack).clone()))))
        .collect()
}

/// The replicas of each partition: the first go round, the others follow at a distance that grows with each round, and
/// no rack gets a second replica while another has none.
fn assign(
    brokers: &[(i32, Option<String>)],
    partitions: usize,
    factor: usize,
    start: usize,
    mut shift: usize,
) -> Vec<Vec<i32>> {
    let count = brokers.len().max(1);
    let racks: BTreeSet<&Option<String>> = brokers.iter().map(|(_, rack)| rack).collect();
    let mut assigned = Vec::new();
    for partition in 0..partitions {
        if partition > 0 && partition % count == 0 {
            shift += 1;
        }
        let first = (partition + start) % count;
        let mut replicas: Vec<i32> = Vec::new();
        let mut used: BTreeSet<&Option<String>> = BTreeSet::new();
        if let Some((broker, rack)) = brokers.get(first) {
            replicas.push(*broker);
            used.insert(rack);
        }
        let mut step = 0;
        while replicas.len() < factor && step < count * count {
            let at = (first + 1 + (shift + step) % (count - 1).max(1)) % count;
            step += 1;
            let Some((broker, rack)) = brokers.get(at) else { break };
            let full = used.len() == racks.len();
            if !replicas.contains(broker) && (full || !used.contains(rack)) {
                replicas.push(*broker);
                used.insert(rack);
            }
        }
        assigned.push(replicas);
    }
    assigned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_spread() {
        let brokers: Vec<(i32, Option<String>)> = (1..=3).map(|id| (id, None)).collect();
        let assigned = assign(&brokers, 6, 2, 0, 0);
        for replicas in &assigned {
            assert_eq!(replicas.iter().collect::<BTreeSet<_>>().len(), 2);
        }
        for broker in 1..=3 {
            assert_eq!(assigned.iter().filter(|r| r[0] == broker).count(), 2, "leaders of {broker}");
        }
    }

    #[test]
    fn no_rack_has_two_while_another_has_none() {
        let rack = |r: &str| Some(r.to_owned());
        let brokers = vec![(1, rack("a")), (2, rack("a")), (3, rack("b")), (4, rack("b"))];
        let order = by_racks(&brokers);
        for start in 0..4 {
            for replicas in assign(&order, 8, 2, start, start) {
                let racks: BTreeSet<bool> = replicas.iter().map(|b| *b <= 2).collect();
                assert_eq!(racks.len(), 2, "{replicas:?}");
            }
        }
    }
}
