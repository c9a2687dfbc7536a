//! What is looked at, and the rates between two looks. Everything is derived from what brokers tell: offsets, sizes of
//! logs, sequence numbers; nothing is invented.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use logrun_client::admin::{OffsetSpec, TopicDescription};
use logrun_client::{Str, TopicPartition};
use logrun_config::IsolationLevel;
use logrun_model::ProducerId;

use crate::Failure;
use crate::groups::lag::{self, Lag};
use crate::groups::listed;
use crate::session::{Session, explain};
use crate::topics::sizes::{self, led};

/// Rates are over the last so many looks, so that a batch doesn't make them jump.
const LOOKS: usize = 4;

/// What a client of a group has.
pub type ClientKey = (Str, Str);

/// What a look is at, besides topics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The cluster's own topics too.
    pub internal: bool,
    pub groups: bool,
    pub producers: bool,
}

/// One look.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// When, on the monotonic clock.
    pub at_ms: i64,
    /// When, on the wall's.
    pub wall_ms: i64,
    pub ends: BTreeMap<TopicPartition, i64>,
    /// The bytes of the leaders' logs.
    pub sizes: BTreeMap<TopicPartition, i64>,
    /// By group and client id; partitions without a client have an empty one.
    pub groups: BTreeMap<ClientKey, Vec<Lag>>,
    /// What partitions remember of producers, if it was looked at.
    pub producers: Option<BTreeMap<(ProducerId, TopicPartition), Written>>,
}

/// How far a producer has come in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    pub epoch: i32,
    /// Of its last record; each has the next one.
    pub sequence: i32,
    /// The timestamp of its last batch.
    pub last_ms: i64,
    pub in_transaction: bool,
}

impl Written {
    /// The records since `before`. Behind 2³¹-1 comes 0; with a new epoch, or in a topic made anew, all begins at 0.
    fn since(self, before: Option<Self>) -> i64 {
        let same = before.filter(|before| before.epoch == self.epoch);
        let more = same.map(|before| (i64::from(self.sequence) - i64::from(before.sequence)).rem_euclid(1 << 31));
        more.filter(|n| *n < 1 << 30).unwrap_or(i64::from(self.sequence) + 1)
    }
}

impl Sample {
    /// Looks.
    ///
    /// # Errors
    /// Nobody answers.
    pub async fn take(session: &Session, wanted: Wanted) -> Result<Self, Failure> {
        let topics = session.admin.list_topics(wanted.internal).await.map_err(|e| explain(&e))?;
        let names: Vec<Str> = topics.into_iter().map(|t| t.name).collect();
        let described = session.admin.describe_topics(&names, false).await.map_err(|e| explain(&e))?;
        // A topic that has gone since it was listed has no row.
        let topics: Vec<TopicDescription> = described.into_values().flatten().collect();
        let specs = led(&topics).map(|(tp, _)| (tp, OffsetSpec::Latest)).collect();
        let (listed_offsets, sizes) = tokio::join!(
            session.admin.list_offsets(&specs, IsolationLevel::ReadUncommitted),
            sizes::of(session, &topics)
        );
        let ends = listed_offsets.into_iter().filter_map(|(tp, found)| Some((tp, found.ok()?.offset?))).collect();
        let at_ms = session.client.io().clock.now().as_ms();
        let mut sample = Self { at_ms, wall_ms: session.now_ms(), ends, sizes: sizes?, ..Self::default() };
        if wanted.groups {
            sample.look_at_groups(session).await?;
        }
        if wanted.producers {
            sample.look_at_producers(session, &specs.into_keys().collect::<Vec<_>>()).await;
        }
        Ok(sample)
    }

    async fn look_at_producers(&mut self, session: &Session, partitions: &[TopicPartition]) {
        let described = session.admin.describe_producers(partitions, None).await;
        let of_partition = |(tp, states): (TopicPartition, Result<Vec<_>, _>)| {
            let states = states.unwrap_or_default().into_iter();
            states.map(move |p: logrun_client::admin::ProducerState| {
                let written = Written {
                    epoch: p.producer_epoch,
                    sequence: p.last_sequence,
                    last_ms: p.last_timestamp,
                    in_transaction: p.current_txn_start_offset >= 0,
                };
                ((ProducerId(p.producer_id), tp.clone()), written)
            })
        };
        self.producers = Some(described.into_iter().flat_map(of_partition).collect());
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
    /// What the leaders' logs take, if all of them tell.
    pub bytes: Option<i64>,
    /// By how much they grow a second; what is deleted or compacted meanwhile is not seen.
    pub bytes_per_s: Option<f64>,
}

/// A row of producers.
#[derive(Clone, Debug, PartialEq)]
pub struct ProducerRow {
    pub producer: ProducerId,
    pub topics: BTreeSet<Str>,
    pub partitions: usize,
    pub rate: Option<f64>,
    /// For how long it has written nothing, by its own timestamps.
    pub idle_ms: i64,
    pub in_transaction: bool,
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
                bytes: Some(0),
                bytes_per_s: (seconds > 0.0).then_some(0.0),
            });
            row.partitions += 1;
            row.end += end;
            // A partition that is new has no past; a topic made anew begins at 0 again.
            let growth = |now: i64, then: i64| (now - then).max(0) as f64 / seconds;
            if let (Some(rate), Some(before)) = (&mut row.rate, first.ends.get(tp)) {
                *rate += growth(*end, *before);
            }
            let size = last.sizes.get(tp).copied();
            row.bytes = row.bytes.zip(size).map(|(sum, size)| sum + size);
            row.bytes_per_s = row
                .bytes_per_s
                .zip(size)
                .map(|(sum, size)| sum + first.sizes.get(tp).map_or(0.0, |before| growth(size, *before)));
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

    /// By producer id. Only producers with idempotence have one; the protocol tells no client id of any.
    pub fn producers(&self) -> Vec<ProducerRow> {
        let mut looks = self.0.iter().filter_map(|sample| Some((sample, sample.producers.as_ref()?)));
        let Some((first, before)) = looks.next() else { return Vec::new() };
        let (last, now) = looks.next_back().unwrap_or((first, before));
        let seconds = (last.at_ms - first.at_ms) as f64 / 1000.0;
        let mut rows: BTreeMap<ProducerId, ProducerRow> = BTreeMap::new();
        for ((producer, tp), written) in now {
            let idle_ms = (last.wall_ms - written.last_ms).max(0);
            let row = rows.entry(*producer).or_insert(ProducerRow {
                producer: *producer,
                topics: BTreeSet::new(),
                partitions: 0,
                rate: (seconds > 0.0).then_some(0.0),
                idle_ms,
                in_transaction: false,
            });
            row.topics.insert(tp.topic.clone());
            row.partitions += 1;
            row.idle_ms = row.idle_ms.min(idle_ms);
            row.in_transaction |= written.in_transaction;
            if let Some(rate) = &mut row.rate {
                *rate += written.since(before.get(&(*producer, tp.clone())).copied()) as f64 / seconds;
            }
        }
        rows.into_values().collect()
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
            wall_ms: 1_000_000 + at_ms,
            ends: [(tp("a", 0), a0), (tp("a", 1), a1), (tp("b", 0), 7)].into(),
            sizes: [(tp("a", 0), a0 * 50), (tp("a", 1), a1 * 50)].into(),
            producers: None,
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
    fn bytes_are_the_growth_of_logs() {
        let mut history = History::default();
        history.push(sample(0, 100, 0, 0));
        assert_eq!((history.topics(false)[0].bytes, history.topics(false)[0].bytes_per_s), (Some(5000), None));
        history.push(sample(2000, 300, 20, 260));
        let topics = history.topics(false);
        assert_eq!((topics[0].bytes, topics[0].bytes_per_s), (Some(16_000), Some(5500.0)));
        // Nobody tells of b.
        assert_eq!((topics[1].bytes, topics[1].bytes_per_s), (None, None));
        // What is deleted is no throughput.
        history.push(Sample { sizes: [(tp("a", 0), 10), (tp("a", 1), 10)].into(), ..sample(4000, 300, 20, 260) });
        assert_eq!(history.topics(false)[0].bytes_per_s, Some(2.5));
    }

    #[test]
    fn sequences_tell_what_producers_write() {
        let written = |epoch, sequence, last_ms| Written { epoch, sequence, last_ms, in_transaction: false };
        let with = |at_ms, all: &[(i64, i32, Written)]| Sample {
            producers: Some(all.iter().map(|(id, p, w)| ((ProducerId(*id), tp("a", *p)), *w)).collect()),
            ..sample(at_ms, 0, 0, 0)
        };
        let mut history = History::default();
        // A look at topics only tells nothing of producers.
        history.push(sample(0, 0, 0, 0));
        assert!(history.producers().is_empty());
        history.push(with(1000, &[(1, 0, written(0, 99, 1_000_500)), (2, 0, written(0, i32::MAX, 990_000))]));
        assert_eq!(history.producers()[0].rate, None);
        let in_transaction = Written { in_transaction: true, ..written(0, 9, 1_002_900) };
        history.push(with(
            3000,
            &[
                (1, 0, written(0, 299, 1_002_000)),
                (1, 1, in_transaction),
                (2, 0, written(0, 9, 990_000)),
                (3, 0, written(4, 1, 1_003_000)),
            ],
        ));
        let rows = history.producers();
        let told: Vec<_> =
            rows.iter().map(|r| (r.producer.get(), r.partitions, r.rate, r.idle_ms, r.in_transaction)).collect();
        assert_eq!(
            told,
            [(1, 2, Some(105.0), 100, true), (2, 1, Some(5.0), 13_000, false), (3, 1, Some(1.0), 0, false)]
        );
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
