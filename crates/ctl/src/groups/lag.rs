//! How far a group is behind: in records, and in time since the first record that it has not read was written.

use std::collections::{BTreeMap, BTreeSet};

use logrun_client::admin::{GroupDescription, OffsetSpec};
use logrun_client::{Str, TopicPartition};
use logrun_config::IsolationLevel;

use crate::Failure;
use crate::session::{Session, explain};

/// A partition of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lag {
    pub partition: TopicPartition,
    /// The offset at which the group goes on.
    pub committed: Option<i64>,
    pub end: Option<i64>,
    /// Records that are not read.
    pub records: Option<i64>,
    /// For how long the first of them has been there.
    pub behind_ms: Option<i64>,
    /// Who has it, by the place in the group's list.
    pub member: Option<usize>,
}

/// A group's lag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// The sum; none if nothing is known of any partition.
    pub records: Option<i64>,
    /// The longest.
    pub behind_ms: Option<i64>,
}

impl Total {
    pub fn of(lags: &[Lag]) -> Self {
        let known: Vec<i64> = lags.iter().filter_map(|l| l.records).collect();
        let records = (!known.is_empty()).then(|| known.iter().sum());
        Self { records, behind_ms: lags.iter().filter_map(|l| l.behind_ms).max() }
    }
}

/// The partitions that a group has or has committed for, with their lag; `times`: in time as well.
///
/// # Errors
/// Nobody answers.
pub async fn of(session: &Session, group: &GroupDescription, times: bool) -> Result<Vec<Lag>, Failure> {
    let committed = session.admin.list_group_offsets(&group.group_id, None, false).await.map_err(|e| explain(&e))?;
    let committed: BTreeMap<TopicPartition, i64> =
        committed.into_iter().filter_map(|(tp, o)| Some((tp, o.ok()??.offset))).collect();
    let owners: BTreeMap<&TopicPartition, usize> =
        group.members.iter().enumerate().flat_map(|(i, m)| m.assignment.iter().map(move |tp| (tp, i))).collect();
    let all: BTreeSet<&TopicPartition> = committed.keys().chain(owners.keys().copied()).collect();
    let ends = ends(session, &all).await?;
    let mut lags: Vec<Lag> = all
        .iter()
        .map(|tp| {
            let (committed, end) = (committed.get(*tp).copied(), ends.get(*tp).copied());
            let records = committed.zip(end).map(|(committed, end)| (end - committed).max(0));
            let behind_ms = records.filter(|n| *n == 0);
            Lag { partition: (*tp).clone(), committed, end, records, behind_ms, member: owners.get(tp).copied() }
        })
        .collect();
    if times {
        add_times(session, &mut lags).await;
    }
    Ok(lags)
}

/// The ends of those partitions that are there and have a leader.
async fn ends(session: &Session, all: &BTreeSet<&TopicPartition>) -> Result<BTreeMap<TopicPartition, i64>, Failure> {
    let topics: BTreeSet<Str> = all.iter().map(|tp| tp.topic.clone()).collect();
    if topics.is_empty() {
        return Ok(BTreeMap::new());
    }
    let topics: Vec<Str> = topics.into_iter().collect();
    let described = session.admin.describe_topics(&topics, false).await.map_err(|e| explain(&e))?;
    let specs = described.into_iter().flat_map(|(name, topic)| {
        let led = topic.map(|t| t.partitions).unwrap_or_default().into_iter().filter(|p| p.leader.is_some());
        led.map(move |p| (TopicPartition::new(name.clone(), p.partition), OffsetSpec::Latest))
    });
    let specs = specs.filter(|(tp, _)| all.contains(tp)).collect();
    let listed = session.admin.list_offsets(&specs, IsolationLevel::ReadUncommitted).await;
    Ok(listed.into_iter().filter_map(|(tp, found)| Some((tp, found.ok()?.offset?))).collect())
}

/// Adds since when there is lag, where there is and the record can be read.
pub async fn add_times(session: &Session, lags: &mut [Lag]) {
    let wanted: BTreeMap<TopicPartition, i64> = lags
        .iter()
        .filter(|l| l.records.is_some_and(|n| n > 0))
        .filter_map(|l| Some((l.partition.clone(), l.committed?)))
        .collect();
    let times = session.admin.record_times(&wanted).await;
    let now = session.now_ms();
    for lag in lags {
        if let Some(Ok(Some(time))) = times.get(&lag.partition) {
            lag.behind_ms = Some((now - time).max(0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_know_what_is_not_known() {
        let lag = |records, behind_ms| Lag {
            partition: TopicPartition::new("t", 0),
            committed: None,
            end: None,
            records,
            behind_ms,
            member: None,
        };
        assert_eq!(Total::of(&[lag(None, None)]), Total::default());
        let total = Total::of(&[lag(Some(3), Some(1000)), lag(None, None), lag(Some(0), Some(0))]);
        assert_eq!(total, Total { records: Some(3), behind_ms: Some(1000) });
    }
}
