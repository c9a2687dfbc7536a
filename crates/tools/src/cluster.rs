//! What several tools ask of a cluster: its topics, offsets, configurations and groups, by the client's admin calls,
//! whose results become the tools' sentences here.

use std::collections::BTreeMap;

use futures_util::future::join_all;
pub use logrun_client::admin::ResourceType;
use logrun_client::admin::{ConfigAlteration, ConfigDescription, ConfigResource, GroupKind, GroupListing, OffsetSpec};
use logrun_client::{Error, Str, TopicPartition};
use logrun_config::IsolationLevel;
use logrun_wire::ErrorCode;
use logrun_wire::messages as m;

use crate::failure::Failure;
use crate::session::{Session, check, failure};

/// A topic's name and a partition of it.
pub type Partition = (String, i32);

/// All topics, or those named; asking creates none.
///
/// # Errors
/// Nobody answers.
pub async fn metadata(session: &Session, topics: Option<&[&str]>) -> Result<m::MetadataResponse, Failure> {
    let topic =
        |name: &&str| m::metadata_request::MetadataRequestTopic { name: Some((*name).into()), ..Default::default() };
    let request = m::MetadataRequest {
        topics: topics.map(|t| t.iter().map(topic).collect()),
        allow_auto_topic_creation: false,
        ..Default::default()
    };
    session.any(request).await
}

/// The partitions of the named topics, by name.
///
/// # Errors
/// One of them is not there.
pub async fn partitions(session: &Session, topics: &[&str]) -> Result<Topics, Failure> {
    if topics.is_empty() {
        return Ok(Topics::default());
    }
    let cluster = metadata(session, Some(topics)).await?;
    for topic in &cluster.topics {
        // A topic whose leaders are being elected is there all the same.
        if topic.error_code != ErrorCode::LeaderNotAvailable.code() {
            check(topic.error_code, None)?;
        }
    }
    Ok(Topics::of(&cluster))
}

/// Topics with the leader of each partition, -1 where there is none.
#[derive(Clone, Debug, Default)]
pub struct Topics(pub BTreeMap<Partition, i32>);

impl Topics {
    pub fn of(cluster: &m::MetadataResponse) -> Self {
        let all = cluster.topics.iter().flat_map(|t| {
            let name = t.name.as_deref().unwrap_or_default();
            t.partitions.iter().map(|p| ((name.to_owned(), p.partition_index), p.leader_id))
        });
        Self(all.collect())
    }
}

/// `ListOffsets` for earliest and latest.
pub const EARLIEST: i64 = -2;
pub const LATEST: i64 = -1;

/// The offset of each partition at the time (or [`EARLIEST`], [`LATEST`], …) asked of it, from its leader; -1 where no
/// record is that late.
///
/// # Errors
/// Nobody can be asked. What a broker says of one partition is in the map.
pub async fn list_offsets(
    session: &Session,
    leaders: &Topics,
    wanted: impl IntoIterator<Item = (Partition, i64)>,
) -> Result<BTreeMap<Partition, Result<i64, Error>>, Failure> {
    let mut found = BTreeMap::new();
    let mut specs = BTreeMap::new();
    for (partition, time) in wanted {
        match leaders.0.get(&partition) {
            None => drop(found.insert(partition, Err(ErrorCode::UnknownTopicOrPartition.into()))),
            Some(..0) => drop(found.insert(partition, Err(ErrorCode::LeaderNotAvailable.into()))),
            Some(_) => {
                specs.insert(TopicPartition::new(partition.0, partition.1), spec(time));
            }
        }
    }
    for (tp, result) in session.admin().list_offsets(&specs, IsolationLevel::ReadUncommitted).await {
        match result {
            // Not a partition's trouble: nobody could be asked, or in words that the broker knows.
            Err(e) if e.code().is_none() => return Err(failure(&e)),
            result => {
                let name = (tp.topic.to_string(), tp.partition);
                found.insert(name, result.map(|listed| listed.offset.unwrap_or(-1)));
            }
        }
    }
    Ok(found)
}

/// What a time, or the number that stands for a place, asks for.
fn spec(time: i64) -> OffsetSpec {
    use OffsetSpec::{Earliest, EarliestLocal, EarliestPendingUpload, Latest, LatestTiered, MaxTimestamp};
    let places = [Earliest, Latest, MaxTimestamp, EarliestLocal, LatestTiered, EarliestPendingUpload];
    places.into_iter().find(|place| place.timestamp() == time).unwrap_or(OffsetSpec::Timestamp(time))
}

/// The configuration of each of `names`, in their order. A broker's is asked of that broker.
///
/// # Errors
/// A broker doesn't answer, or refuses one of them.
pub async fn describe_configs(
    session: &Session,
    kind: ResourceType,
    names: &[&str],
    synonyms: bool,
) -> Result<Vec<(String, Vec<ConfigDescription>)>, Failure> {
    let resources: Vec<ConfigResource> = names.iter().map(|name| ConfigResource::new(kind, *name)).collect();
    let mut described = session.admin().describe_configs(&resources, synonyms, false).await;
    let take = |resource: ConfigResource| {
        let configs = described.remove(&resource).unwrap_or_else(|| Ok(Vec::new())).map_err(|e| failure(&e))?;
        Ok((resource.name.to_string(), configs))
    };
    resources.into_iter().map(take).collect()
}

/// Changes configurations. A broker's are sent to that broker.
///
/// # Errors
/// A broker doesn't answer, or refuses one of them.
pub async fn alter_configs(
    session: &Session,
    kind: ResourceType,
    changes: impl IntoIterator<Item = (String, Vec<ConfigAlteration>)>,
) -> Result<(), Failure> {
    let changes = changes.into_iter().map(|(name, changes)| (ConfigResource::new(kind, name), changes)).collect();
    let results = session.admin().incremental_alter_configs(&changes, false).await;
    results.into_values().try_for_each(|r| r.map_err(|e| failure(&e)))
}

/// The names of the client-metrics subscriptions or groups that have a configuration.
///
/// # Errors
/// The client's: `Unsupported` or `Invalid` from a broker before KIP-1142.
pub async fn config_resources(session: &Session, kind: ResourceType) -> Result<Vec<String>, Error> {
    let listed = session.admin().list_config_resources(&[kind]).await?;
    Ok(listed.into_iter().map(|r| r.name.to_string()).collect())
}

/// All groups of these kinds and states (all, if none are given), from every broker, by name.
///
/// # Errors
/// A broker doesn't answer.
pub async fn list_groups(
    session: &Session,
    kinds: &[GroupKind],
    states: &[&str],
) -> Result<Vec<GroupListing>, Failure> {
    let states: Vec<Str> = states.iter().map(|s| Str::from(*s)).collect();
    let (mut groups, errors) = session.admin().list_groups(&states, kinds).await.map_err(|e| failure(&e))?;
    if let Some(e) = errors.first() {
        return Err(failure(e));
    }
    groups.dedup_by(|a, b| a.group_id == b.group_id);
    Ok(groups)
}

/// The results of one future for each item, in order.
pub async fn each<I, T, F: Future<Output = T>>(items: impl IntoIterator<Item = I>, f: impl Fn(I) -> F) -> Vec<T> {
    join_all(items.into_iter().map(f)).await
}
