//! A topic as it is now: who has its partitions, from where to where they reach, how large they are.

use std::collections::BTreeMap;

use logrun_client::TopicPartition;
use logrun_client::admin::{ConfigResource, OffsetSpec, TopicDescription, TopicPartitionInfo};
use logrun_config::IsolationLevel;

use super::sizes::{self, led};
use crate::Failure;
use crate::configs;
use crate::output::progress::size;
use crate::output::{Cell, Column, Screen, Table, Tone};
use crate::session::Session;

/// Where partitions begin and end, and what their leaders' logs take on disk; as far as somebody answers.
#[derive(Debug, Default)]
pub struct Extent {
    starts: BTreeMap<TopicPartition, i64>,
    ends: BTreeMap<TopicPartition, i64>,
    bytes: BTreeMap<TopicPartition, i64>,
}

impl Extent {
    /// Asks the leaders.
    ///
    /// # Errors
    /// Nobody answers.
    pub async fn of(session: &Session, topics: &[TopicDescription]) -> Result<Self, Failure> {
        let all: Vec<TopicPartition> = led(topics).map(|(tp, _)| tp).collect();
        if all.is_empty() {
            return Ok(Self::default());
        }
        let offsets = async |spec: OffsetSpec| {
            let specs = all.iter().map(|tp| (tp.clone(), spec)).collect();
            let listed = session.admin.list_offsets(&specs, IsolationLevel::ReadUncommitted).await;
            let known = listed.into_iter().filter_map(|(tp, found)| Some((tp, found.ok()?.offset?)));
            known.collect::<BTreeMap<_, _>>()
        };
        let (starts, ends) = tokio::join!(offsets(OffsetSpec::Earliest), offsets(OffsetSpec::Latest));
        let bytes = sizes::of(session, topics).await?;
        Ok(Self { starts, ends, bytes })
    }

    /// How many offsets there are between a topic's beginnings and ends: as many records, unless some were compacted
    /// away or belong to transactions.
    pub fn records(&self, topic: &TopicDescription) -> i64 {
        let of = |p: &TopicPartitionInfo| {
            let tp = TopicPartition::new(topic.name.clone(), p.partition);
            self.ends.get(&tp).zip(self.starts.get(&tp)).map_or(0, |(end, start)| end - start)
        };
        topic.partitions.iter().map(of).sum()
    }

    /// The bytes of the leaders' logs, if they say.
    pub fn bytes(&self, topic: &TopicDescription) -> Option<i64> {
        let of = |p: &TopicPartitionInfo| self.bytes.get(&TopicPartition::new(topic.name.clone(), p.partition));
        topic.partitions.iter().map(|p| of(p).copied()).sum()
    }
}

/// Bytes as people read them.
pub fn bytes(n: Option<i64>) -> Cell {
    match n.and_then(|n| u64::try_from(n).ok()) {
        Some(n) => Cell::shown(n, size(n)),
        None => Cell::default(),
    }
}

/// What is wrong with a topic's partitions.
pub fn state(topic: &TopicDescription) -> Cell {
    let offline = topic.partitions.iter().filter(|p| p.leader.is_none()).count();
    let behind = topic.partitions.iter().filter(|p| p.leader.is_some() && p.isr.len() < p.replicas.len()).count();
    match (offline, behind) {
        (0, 0) => Cell::from("ok").tone(Tone::Good),
        (0, n) => Cell::from(format!("{n} under-replicated")).tone(Tone::Warn),
        (n, _) => Cell::from(format!("{n} offline")).tone(Tone::Bad),
    }
}

/// Prints topics, each whole.
///
/// # Errors
/// One isn't there, or nobody answers.
pub async fn describe(screen: &mut Screen, session: &Session, names: &[String]) -> Result<(), Failure> {
    let topics = session.topics(names).await?;
    let extent = Extent::of(session, &topics).await?;
    for topic in &topics {
        let resource = ConfigResource::topic(topic.name.clone());
        // Who may not see configs may see the rest.
        let own = configs::described(session, &resource, false).await.unwrap_or_default();
        let mut overrides = Table::new([Column::text("config"), Column::long("value"), Column::long("default")]);
        for config in own.iter().filter(|c| c.is_own()) {
            overrides.push(vec![Cell::from(config.name.as_str()).tone(Tone::Name), config.value(), config.default()]);
        }
        let replicas = topic.partitions.iter().map(|p| p.replicas.len()).max().unwrap_or(0);
        let fields = [
            ("topic", Cell::from(&topic.name).tone(Tone::Strong)),
            ("id", topic.id.to_string().into()),
            ("state", state(topic)),
            ("partitions", topic.partitions.len().into()),
            ("replicas", replicas.into()),
            ("records", extent.records(topic).into()),
            ("bytes", bytes(extent.bytes(topic))),
        ];
        screen.sheet(&fields, &[("assignment", &partitions(topic, &extent)), ("configs", &overrides)])?;
    }
    Ok(())
}

fn partitions(topic: &TopicDescription, extent: &Extent) -> Table {
    let mut table = Table::new([
        Column::number("partition"),
        Column::number("leader"),
        Column::text("replicas"),
        Column::text("in_sync"),
        Column::number("start"),
        Column::number("end"),
        Column::number("records"),
        Column::number("bytes"),
    ]);
    for p in &topic.partitions {
        let tp = TopicPartition::new(topic.name.clone(), p.partition);
        let ids = |nodes: &[logrun_client::NodeId]| -> Cell {
            serde_json::Value::from(nodes.iter().map(|n| n.get()).collect::<Vec<i32>>()).into()
        };
        let leader = match p.leader {
            Some(node) => Cell::from(node.get()),
            None => Cell::shown(serde_json::Value::Null, "none").tone(Tone::Bad),
        };
        let in_sync = ids(&p.isr).tone(if p.isr.len() < p.replicas.len() { Tone::Warn } else { Tone::Plain });
        let (start, end) = (extent.starts.get(&tp).copied(), extent.ends.get(&tp).copied());
        table.push(vec![
            p.partition.into(),
            leader,
            ids(&p.replicas),
            in_sync,
            start.into(),
            end.into(),
            end.zip(start).map(|(end, start)| end - start).into(),
            bytes(extent.bytes.get(&tp).copied()),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use logrun_client::NodeId;

    use super::*;

    fn topic(partitions: Vec<TopicPartitionInfo>) -> TopicDescription {
        TopicDescription { name: "t".into(), partitions, ..Default::default() }
    }

    fn partition(n: i32, leader: Option<i32>, isr: &[i32]) -> TopicPartitionInfo {
        let nodes = |ids: &[i32]| ids.iter().copied().map(NodeId).collect::<Vec<_>>();
        TopicPartitionInfo {
            partition: n,
            leader: leader.map(NodeId),
            replicas: nodes(&[1, 2]),
            isr: nodes(isr),
            ..Default::default()
        }
    }

    #[test]
    fn states_tell_the_worst() {
        assert_eq!(state(&topic(vec![partition(0, Some(1), &[1, 2])])).text(), "ok");
        assert_eq!(state(&topic(vec![partition(0, Some(1), &[1])])).text(), "1 under-replicated");
        let both = vec![partition(0, None, &[]), partition(1, Some(1), &[1])];
        assert_eq!(state(&topic(both)).text(), "1 offline");
    }

    #[test]
    fn what_is_not_known_is_not_shown() {
        let topic = topic(vec![partition(0, Some(1), &[1, 2]), partition(1, None, &[])]);
        let tp = TopicPartition::new("t", 0);
        let extent =
            Extent { starts: [(tp.clone(), 5)].into(), ends: [(tp.clone(), 25)].into(), bytes: [(tp, 12_345)].into() };
        assert_eq!((extent.records(&topic), extent.bytes(&topic)), (20, None));
        let text = partitions(&topic, &extent).text(crate::output::Paint::new(false), None);
        insta::assert_snapshot!("partitions", text);
    }
}
