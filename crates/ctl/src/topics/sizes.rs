//! What partitions take on disk: their leaders' logs, as brokers tell by DescribeLogDirs. Compressed, and headers too.

use std::collections::BTreeMap;

use logrun_client::TopicPartition;
use logrun_client::admin::{TopicDescription, TopicPartitionInfo};

use crate::Failure;
use crate::session::{Session, explain};

/// Those that have a leader: others can't be asked, and asking would wait for one.
pub fn led(topics: &[TopicDescription]) -> impl Iterator<Item = (TopicPartition, &TopicPartitionInfo)> {
    let all =
        topics.iter().flat_map(|t| t.partitions.iter().map(|p| (TopicPartition::new(t.name.clone(), p.partition), p)));
    all.filter(|(_, p)| p.leader.is_some())
}

/// Bytes. What a broker doesn't tell, because it is down or this user may not ask, isn't there.
///
/// # Errors
/// The cluster doesn't answer.
pub async fn of(session: &Session, topics: &[TopicDescription]) -> Result<BTreeMap<TopicPartition, i64>, Failure> {
    let leaders: BTreeMap<TopicPartition, _> = led(topics).map(|(tp, p)| (tp, p.leader)).collect();
    let all: Vec<TopicPartition> = leaders.keys().cloned().collect();
    if all.is_empty() {
        return Ok(BTreeMap::new());
    }
    let dirs = session.admin.describe_log_dirs(None, Some(&all)).await.map_err(|e| explain(&e))?;
    let mut bytes = BTreeMap::new();
    for (node, dirs) in dirs {
        let replicas = dirs.into_iter().flat_map(BTreeMap::into_values).flatten().flat_map(|dir| dir.replicas);
        let of_leader = replicas.filter(|(tp, r)| !r.is_future && leaders.get(tp) == Some(&Some(node)));
        bytes.extend(of_leader.map(|(tp, r)| (tp, r.size)));
    }
    Ok(bytes)
}
