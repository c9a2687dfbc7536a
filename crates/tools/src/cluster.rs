//! What several tools ask of a cluster: its topics, offsets, configurations and groups.
//!
//! One request to each broker that has to be asked, all at once; the answers in order.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::{join_all, try_join_all};
use logrun_client::Error;
use logrun_wire::ErrorCode;
use logrun_wire::messages as m;

use crate::failure::Failure;
use crate::session::{Session, check};

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

/// The offset of each partition at the time (or -1, -2, …) asked of it, from its leader.
///
/// # Errors
/// A leader doesn't answer. What a broker says of one partition is in the map.
pub async fn list_offsets(
    session: &Session,
    leaders: &Topics,
    wanted: impl IntoIterator<Item = (Partition, i64)>,
) -> Result<BTreeMap<Partition, Result<i64, i16>>, Failure> {
    let mut found = BTreeMap::new();
    let mut nodes: BTreeMap<i32, BTreeMap<String, Vec<(i32, i64)>>> = BTreeMap::new();
    for (partition, timestamp) in wanted {
        match leaders.0.get(&partition) {
            None => {
                found.insert(partition, Err(ErrorCode::UnknownTopicOrPartition.code()));
            }
            Some(-1) => {
                found.insert(partition, Err(ErrorCode::LeaderNotAvailable.code()));
            }
            Some(leader) => {
                nodes.entry(*leader).or_default().entry(partition.0).or_default().push((partition.1, timestamp));
            }
        }
    }
    let ask = |(node, topics): (i32, BTreeMap<String, Vec<(i32, i64)>>)| {
        let topics = topics.into_iter().map(|(name, partitions)| m::list_offsets_request::ListOffsetsTopic {
            name: name.into(),
            partitions: partitions
                .into_iter()
                .map(|(partition_index, timestamp)| m::list_offsets_request::ListOffsetsPartition {
                    partition_index,
                    current_leader_epoch: -1,
                    timestamp,
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        });
        let request = m::ListOffsetsRequest { replica_id: -1, topics: topics.collect(), ..Default::default() };
        session.node(node, request)
    };
    for response in try_join_all(nodes.into_iter().map(ask)).await? {
        for topic in response.topics {
            for p in topic.partitions {
                let result = match p.error_code {
                    0 => Ok(p.offset),
                    code => Err(code),
                };
                found.insert((topic.name.to_string(), p.partition_index), result);
            }
        }
    }
    Ok(found)
}

/// The kinds of things that have a configuration: Kafka's `ConfigResource.Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceType {
    Topic = 2,
    Broker = 4,
    BrokerLogger = 8,
    ClientMetrics = 16,
    Group = 32,
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
) -> Result<Vec<m::describe_configs_response::DescribeConfigsResult>, Failure> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let request = |names: &[&str]| m::DescribeConfigsRequest {
        resources: names
            .iter()
            .map(|name| m::describe_configs_request::DescribeConfigsResource {
                resource_type: kind as i8,
                resource_name: (*name).into(),
                configuration_keys: None,
                ..Default::default()
            })
            .collect(),
        include_synonyms: synonyms,
        ..Default::default()
    };
    let mut results = match kind {
        ResourceType::Broker | ResourceType::BrokerLogger => {
            let ask = async |name: &&str| match name.parse() {
                Ok(node) => session.node(node, request(&[*name])).await,
                // The default of all brokers has no name.
                Err(_) => session.any(request(&[*name])).await,
            };
            let answers = try_join_all(names.iter().map(ask)).await?;
            answers.into_iter().flat_map(|a| a.results).collect()
        }
        _ => session.any(request(names)).await?.results,
    };
    for result in &results {
        check(result.error_code, result.error_message.as_deref())?;
    }
    let place = |name: &str| names.iter().position(|n| *n == name);
    results.sort_by_key(|r| place(&r.resource_name));
    Ok(results)
}

/// One change of a configuration: a name, and its new value or `None` for the default.
pub type ConfigChange = (String, Option<String>);

/// Changes configurations. A broker's are sent to that broker.
///
/// # Errors
/// A broker doesn't answer, or refuses one of them.
pub async fn alter_configs(
    session: &Session,
    kind: ResourceType,
    changes: Vec<(String, Vec<ConfigChange>)>,
) -> Result<(), Failure> {
    let resource = |(name, changes): (String, Vec<ConfigChange>)| {
        let configs = changes.into_iter().map(|(name, value)| m::incremental_alter_configs_request::AlterableConfig {
            name: name.into(),
            config_operation: i8::from(value.is_none()),
            value: value.map(Into::into),
            ..Default::default()
        });
        m::incremental_alter_configs_request::AlterConfigsResource {
            resource_type: kind as i8,
            resource_name: name.into(),
            configs: configs.collect(),
            ..Default::default()
        }
    };
    let request = |resources| m::IncrementalAlterConfigsRequest { resources, ..Default::default() };
    let answers = match kind {
        ResourceType::Broker | ResourceType::BrokerLogger => {
            let ask = async |change: (String, Vec<ConfigChange>)| match change.0.parse() {
                Ok(node) => session.node(node, request(vec![resource(change)])).await,
                Err(_) => session.any(request(vec![resource(change)])).await,
            };
            try_join_all(changes.into_iter().map(ask)).await?
        }
        _ => vec![session.any(request(changes.into_iter().map(resource).collect())).await?],
    };
    for result in answers.iter().flat_map(|a| &a.responses) {
        check(result.error_code, result.error_message.as_deref())?;
    }
    Ok(())
}

/// The names of the client-metrics subscriptions or groups that have a configuration.
///
/// # Errors
/// The client's: `Unsupported` from a broker before KIP-1142.
pub async fn config_resources(session: &Session, kind: ResourceType) -> Result<Vec<String>, Error> {
    let request = m::ListConfigResourcesRequest { resource_types: vec![kind as i8], ..Default::default() };
    let response = session.call(logrun_client::Target::Any, request).await?;
    logrun_client::check(response.error_code, None)?;
    Ok(response.config_resources.into_iter().map(|r| r.resource_name.to_string()).collect())
}

/// All groups of these types and states (all, if none are given), from every broker.
///
/// # Errors
/// A broker doesn't answer.
pub async fn list_groups(
    session: &Session,
    types: &[&str],
    states: &[&str],
) -> Result<Vec<m::list_groups_response::ListedGroup>, Failure> {
    let cluster = metadata(session, Some(&[])).await?;
    let text = |names: &[&str]| names.iter().map(|n| (*n).into()).collect::<Vec<_>>();
    let ask = |node: i32| {
        let request =
            m::ListGroupsRequest { states_filter: text(states), types_filter: text(types), ..Default::default() };
        session.node(node, request)
    };
    let mut groups = Vec::new();
    let mut seen = BTreeSet::new();
    for response in try_join_all(cluster.brokers.iter().map(|b| ask(b.node_id))).await? {
        check(response.error_code, None)?;
        groups.extend(response.groups.into_iter().filter(|g| seen.insert(g.group_id.to_string())));
    }
    groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
    Ok(groups)
}

/// The results of one future for each item, in order.
pub async fn each<I, T, F: Future<Output = T>>(items: impl IntoIterator<Item = I>, f: impl Fn(I) -> F) -> Vec<T> {
    join_all(items.into_iter().map(f)).await
}
