//! What is looked at, and the rates between two looks. Everything is derived from offsets; nothing is invented.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use logrun_client::admin::OffsetSpec;
use logrun_client::{Str, TopicPartition};
use logrun_config::IsolationLevel;

use crate::Failure;
use crate::groups::lag::{self, Lag};
use crate::groups::listed;
use crate::session::{Session, explain};

/// Rates are over the last so many looks, so that a batch doesn't make them jump.
const LOOKS: usize = 4;

/// What a client of a group has.
pub type ClientKey = (Str, Str);

/// One look.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// When, on the monotonic clock.
    pub at_ms: i64,
    pub ends: BTreeMap<TopicPartition, i64>,
    /// By group and client id; partitions without a client have an empty one.
    pub groups: BTreeMap<ClientKey, Vec<Lag>>,
}

impl Sample {
    /// Looks.
    ///
    /// # Errors
    /// Nobody answers.
    pub async fn take(session: &Session, internal: bool, with_groups: bool) -> Result<Self, Failure> {
        let topics = session.admin.list_topics(internal).await.map_err(|e| explain(&e))?;
        let names: Vec<Str> = topics.into_iter().map(|t| t.name).collect();
        let described = session.admin.describe_topics(&names, false).await.map_err(|e| explain(&e))?;
        let led = described.into_iter().flat_map(|(name, topic)| {
            let partitions = topic.map(|t| t.partitions).unwrap_or_default();
            let led = partitions.into_iter().filter(|p| p.leader.is_some());
            led.map(move |p| (TopicPartition::new(name.clone(), p.partition), OffsetSpec::Latest))
        });
        let specs = led.collect();
        let listed_offsets = session.admin.list_offsets(&specs, IsolationLevel::ReadUncommitted).await;
        let ends = listed_offsets.into_iter().filter_map(|(tp, found)| Some((tp, found.ok()?.offset?))).collect();
        let mut sample = Self { at_ms: session.client.io().clock.now().as_ms(), ends, groups: BTreeMap::new() };
        if with_groups {
            sample.look_at_groups(session).await?;
        }
        Ok(sample)
    }

    async fn look_at_groups(&mut self, session: &Session) -> Result<(), Failure> {
        let ids: Vec<Str> = listed(session)
            .await?
            .into_iter()
            .filter(|g| matches!(&*g.protocol_type, "" | "consumer"))
            .map(|g| g.group_id)
            .collect();
        let described = session.admin.describe_consumer_groups(&ids, false).await;
        // A group of another kind, or one that has gone since it was listed, has no row.
        for group in described.into_values().flatten() {
            for lag in lag::of(session, &group, true).await? {
                let client = lag.member.and_then(|m| group.members.get(m)).map(|m| m.client_id.clone());
                self.groups.entry((group.group_id.clone(), client.unwrap_or_default())).or_default().push(lag);
            }
        }
        Ok(())
    }
}

/// The last looks.
#[derive(Debug, Default)]
pub struct History(VecDeque<Sample>);

/// A row of topics or partitions.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicRow {
    pub topic: Str,
    /// None where the whole topic is meant.
    pub partition: Option<i32>,
    pub partitions: usize,
    pub end: i64,
    /// Records a second; none before the second look.
    pub rate: Option<f64>,
}

/// A row of groups or their clients.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupRow {
    pub group: Str,
    /// None where the whole group is meant.
    pub client: Option<Str>,
    pub partitions: usize,
    /// Committed records a second.
    pub rate: Option<f64>,
    pub lag: Option<i64>,
    pub behind_ms: Option<i64>,
    /// How long until it has caught up at the rates of now, if it does.
    pub caught_up_ms: Option<i64>,
}

impl History {
    pub fn push(&mut self, sample: Sample) {
        self.0.push_back(sample);
        while self.0.len() > LOOKS {
            self.0.pop_front();
        }
    }

    fn ends(&self) -> Option<(&Sample, &Sample, f64)> {
        let (first, last) = (self.0.front()?, self.0.back()?);
        let seconds = (last.at_ms - first.at_ms) as f64 / 1000.0;
        Some((first, last, seconds))
    }

    /// By topic, or by partition.
    pub fn topics(&self, by_partition: bool) -> Vec<TopicRow> {
        let Some((first, last, seconds)) = self.ends() else { return Vec::new() };
        let mut rows: BTreeMap<(Str, Option<i32>), TopicRow> = BTreeMap::new();
        for (tp, end) in &last.ends {
            let partition = by_partition.then_some(tp.partition);
            let row = rows.entry((tp.topic.clone(), partition)).or_insert(TopicRow {
                topic: tp.topic.clone(),
                partition,
                partitions: 0,
                end: 0,
                rate: (seconds > 0.0).then_some(0.0),
            });
            row.partitions += 1;
            row.end += end;
            // A partition that is new has no past; a topic made anew begins at 0 again.
            if let (Some(rate), Some(before)) = (&mut row.rate, first.ends.get(tp)) {
                *rate += (end - before).max(0) as f64 / seconds;
            }
        }
        rows.into_values().collect()
    }

    /// By group, or by its clients.
    pub fn groups(&self, by_client: bool) -> Vec<GroupRow> {
        let Some((first, last, seconds)) = self.ends() else { return Vec::new() };
        let before: BTreeMap<(&Str, &TopicPartition), i64> = first
            .groups
            .iter()
            .flat_map(|((group, _), lags)| lags.iter().filter_map(move |l| Some(((group, &l.partition), l.committed?))))
            .collect();
        let mut keys: BTreeSet<(Str, Option<Str>)> = BTreeSet::new();
        keys.extend(last.groups.keys().map(|(g, c)| (g.clone(), by_client.then(|| c.clone()))));
        let row = |(group, client): (Str, Option<Str>)| {
            let of = last
                .groups
                .iter()
                .filter(|((g, c), _)| *g == group && client.as_ref().is_none_or(|wanted| wanted == c));
            let lags: Vec<Lag> = of.flat_map(|(_, lags)| lags.iter().cloned()).collect();
            let total = lag::Total::of(&lags);
            let (mut consumed, mut produced) = (0.0, 0.0);
            for lag in &lags {
                if let Some((now, then)) = lag.committed.zip(before.get(&(&group, &lag.partition)).copied()) {
                    consumed += (now - then).max(0) as f64;
                }
                if let Some((now, then)) = lag.end.zip(first.ends.get(&lag.partition).copied()) {
                    produced += (now - then).max(0) as f64;
                }
            }
            let rate = (seconds > 0.0).then(|| consumed / seconds);
            let gains = consumed - produced;
            let caught_up_ms = match total.records {
                Some(0) => Some(0),
                Some(n) if gains > 0.0 => Some((n as f64 / gains * seconds * 1000.0) as i64),
                _ => None,
            };
            GroupRow {
                client,
                partitions: lags.len(),
                rate,
                lag: total.records,
                behind_ms: total.behind_ms,
                caught_up_ms,
                group,
            }
        };
        keys.into_iter().map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tp(topic: &str, partition: i32) -> TopicPartition {
        TopicPartition::new(topic, partition)
    }

    fn lag(topic: &str, partition: i32, committed: i64, end: i64) -> Lag {
        Lag {
            partition: tp(topic, partition),
            committed: Some(committed),
            end: Some(end),
            records: Some(end - committed),
            behind_ms: Some(0),
            member: None,
        }
    }

    fn sample(at_ms: i64, a0: i64, a1: i64, committed: i64) -> Sample {
        Sample {
            at_ms,
            ends: [(tp("a", 0), a0), (tp("a", 1), a1), (tp("b", 0), 7)].into(),
            groups: [(("g".into(), "c1".into()), vec![lag("a", 0, committed, a0)])].into(),
        }
    }

    #[test]
    fn rates_come_from_offsets() {
        let mut history = History::default();
        assert!(history.topics(false).is_empty());
        history.push(sample(0, 100, 0, 0));
        assert_eq!(history.topics(false)[0].rate, None);
        history.push(sample(2000, 300, 20, 260));
        let topics = history.topics(false);
        assert_eq!((topics.len(), topics[0].partitions, topics[0].end, topics[0].rate), (2, 2, 320, Some(110.0)));
        assert_eq!(topics[1].rate, Some(0.0));
        let partitions = history.topics(true);
        assert_eq!((partitions.len(), partitions[1].partition, partitions[1].rate), (3, Some(1), Some(10.0)));
        let groups = history.groups(false);
        assert_eq!((groups[0].rate, groups[0].lag), (Some(130.0), Some(40)));
        // 260 read while 200 came: 60 gained in 2 s, 40 are left.
        assert_eq!(groups[0].caught_up_ms, Some(1333));
        assert_eq!(history.groups(true)[0].client.as_deref(), Some("c1"));
    }

    #[test]
    fn a_topic_made_anew_has_no_negative_rate() {
        let mut history = History::default();
        history.push(sample(0, 100, 0, 90));
        history.push(sample(1000, 3, 0, 0));
        assert_eq!(history.topics(true)[0].rate, Some(0.0));
        assert_eq!(history.groups(false)[0].rate, Some(0.0));
        for at in 0..10 {
            history.push(sample(2000 + at * 1000, 3, 0, 0));
        }
        assert_eq!(history.0.len(), LOOKS);
    }
}
