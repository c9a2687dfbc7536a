//! `kafka-transactions find-hanging`: transactions that are open longer than any may be and that no coordinator will end.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use logrun_wire::messages as m;

use super::{Producer, because, producers_of, transaction, transactions};
use crate::Out;
use crate::cluster::metadata;
use crate::failure::Failure;
use crate::options::Given;
use crate::session::{Session, check};
use crate::text::table;

/// How many partitions one request asks for.
const BATCH: usize = 500;

/// Prints them.
///
/// # Errors
/// The search is not limited to a topic or broker, or a broker doesn't answer.
pub async fn find(given: &Given<'_>, out: &mut Out, session: &Session) -> Result<(), Failure> {
    let broker: Option<i32> = given.parsed("broker-id")?;
    let topic = given.value("topic")?;
    let partition: Option<i32> = given.parsed("partition")?;
    if topic.is_none() && broker.is_none() {
        return Err(Failure::new(
            "The `find-hanging` command requires either --topic or --broker-id to limit the scope of the search",
        ));
    }
    if partition.is_some() && topic.is_none() {
        return Err(Failure::new("The --partition argument requires --topic to be provided"));
    }
    let minutes: i64 = given.parsed("max-transaction-timeout")?.unwrap_or(15);
    let now = session.client.io().clock.wall().get();
    let wanted = match (topic, partition) {
        (Some(topic), Some(partition)) => vec![(topic.to_owned(), partition)],
        _ => search(session, topic, broker).await?,
    };
    let mut open = Vec::new();
    for batch in wanted.chunks(BATCH) {
        let what = format!("Failed to describe producers for {} partitions", batch.len());
        for (partition, producers) in producers_of(session, batch, broker).await.map_err(because(&what))? {
            let old = |p: &Producer| {
                p.current_txn_start_offset >= 0 && now.saturating_sub(p.last_timestamp) > minutes.saturating_mul(60_000)
            };
            open.extend(producers.into_iter().filter(old).map(|p| (partition.clone(), p)));
        }
    }
    let hanging = hanging(session, open).await?;
    let row = |((topic, partition), p): &((String, i32), Producer)| {
        vec![
            topic.clone(),
            partition.to_string(),
            p.producer_id.to_string(),
            p.producer_epoch.to_string(),
            p.coordinator_epoch.to_string(),
            p.current_txn_start_offset.to_string(),
            p.last_timestamp.to_string(),
            (now.saturating_sub(p.last_timestamp) / 60_000).to_string(),
        ]
    };
    let rows: Vec<_> = hanging.iter().map(row).collect();
    let headers = [
        "Topic",
        "Partition",
        "ProducerId",
        "ProducerEpoch",
        "CoordinatorEpoch",
        "StartOffset",
        "LastTimestamp",
        "Duration(min)",
    ];
    Ok(write!(out, "{}", table(&headers, &rows))?)
}

/// The partitions of a topic, or of all, that have a replica on the broker.
async fn search(session: &Session, topic: Option<&str>, broker: Option<i32>) -> Result<Vec<(String, i32)>, Failure> {
    let names = topic.map(|t| vec![t]);
    let cluster = metadata(session, names.as_deref()).await?;
    let mut found = Vec::new();
    for t in &cluster.topics {
        if topic.is_some() {
            check(t.error_code, None).map_err(because("Failed to describe 1 topics"))?;
        }
        let here = t.partitions.iter().filter(|p| broker.is_none_or(|b| p.replica_nodes.contains(&b)));
        found.extend(here.map(|p| (t.name.as_deref().unwrap_or_default().to_owned(), p.partition_index)));
    }
    Ok(found)
}

/// Those of which no coordinator knows that they are under way in that partition.
async fn hanging(
    session: &Session,
    open: Vec<((String, i32), Producer)>,
) -> Result<Vec<((String, i32), Producer)>, Failure> {
    if open.is_empty() {
        return Ok(open);
    }
    let producers: BTreeSet<i64> = open.iter().map(|(_, p)| p.producer_id).collect();
    let request = m::ListTransactionsRequest {
        producer_id_filters: producers.iter().copied().collect(),
        duration_filter: -1,
        ..Default::default()
    };
    let what = format!("Failed to list transactions for {} producers", producers.len());
    let known = transactions(session, &request).await.map_err(because(&what))?;
    let mut under_way: BTreeMap<i64, BTreeSet<(String, i32)>> = BTreeMap::new();
    for (_, listed) in known.iter().filter(|(_, t)| producers.contains(&t.producer_id)) {
        if let Some((_, described)) = transaction(session, &listed.transactional_id).await? {
            let entry = under_way.entry(listed.producer_id).or_default();
            for topic in &described.topics {
                entry.extend(topic.partitions.iter().map(|p| (topic.topic.to_string(), *p)));
            }
        }
    }
    let hangs = |((topic, partition), p): &((String, i32), Producer)| {
        !under_way.get(&p.producer_id).is_some_and(|known| known.contains(&(topic.clone(), *partition)))
    };
    Ok(open.into_iter().filter(hangs).collect())
}
