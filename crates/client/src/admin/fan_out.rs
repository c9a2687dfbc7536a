//! Splitting a call over the brokers that have its items, and trying again for the items that failed for now.
//! Kafka's `AdminApiDriver`.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use logrun_model::{NodeId, Str, TopicPartition};
use logrun_wire::{ErrorCode, Request};

use super::{Admin, Each};
use crate::client::{Call, Client, Target};
use crate::coordinators::CoordinatorKey;
use crate::error::Error;
use crate::pool::Lane;

/// Where an item of a call has its broker.
pub(super) trait Locate: Ord + Clone + Send + Sync {
    /// The broker of each of `items`, as far as it is known or can be asked for now.
    fn locate(
        client: &Client,
        items: &BTreeSet<Self>,
    ) -> impl Future<Output = Result<Each<Self, NodeId>, Error>> + Send;
    /// Draws the conclusion from an item's error.
    fn learn(&self, client: &Client, error: &Error);
    /// The connections to use.
    const LANE: Lane;
}

/// An item whose broker is its leader.
impl Locate for TopicPartition {
    const LANE: Lane = Lane::Main;

    async fn locate(client: &Client, items: &BTreeSet<Self>) -> Result<Each<Self, NodeId>, Error> {
        for tp in items {
            client.metadata().want(&tp.topic, false);
        }
        let mut cluster = client.cluster();
        let known = |tp: &Self| cluster.leader(&tp.topic, tp.partition).is_some();
        if !items.iter().all(known) {
            cluster = client.refresh().await?;
        }
        let leader = |tp: &Self| -> Result<NodeId, Error> {
            let broker = |code| Error::Broker { code, message: Some(tp.to_string().into()) };
            let topic = cluster.topic(&tp.topic).ok_or_else(|| broker(ErrorCode::UnknownTopicOrPartition))?;
            if !topic.error.is_none() {
                return Err(broker(topic.error));
            }
            let partition = topic.partition(tp.partition);
            let partition = partition.ok_or_else(|| broker(ErrorCode::UnknownTopicOrPartition))?;
            partition.leader.ok_or_else(|| broker(ErrorCode::LeaderNotAvailable))
        };
        Ok(items.iter().map(|tp| (tp.clone(), leader(tp))).collect())
    }

    fn learn(&self, client: &Client, error: &Error) {
        if error.is_invalid_metadata() {
            client.request_update();
        }
    }
}

/// An item whose broker is its coordinator.
impl Locate for CoordinatorKey {
    const LANE: Lane = Lane::Coordinator;

    async fn locate(client: &Client, items: &BTreeSet<Self>) -> Result<Each<Self, NodeId>, Error> {
        client.coordinators(items).await
    }

    fn learn(&self, client: &Client, error: &Error) {
        if error.is_coordinator_moved() {
            client.forget_coordinator(self);
        }
    }
}

/// What comes of one item of a request.
pub(super) type Outcomes<K, V> = Vec<(K, Result<V, Error>)>;

impl Admin {
    /// Asks the broker of each item: one request a broker, made by `build` for the version and items, read by `read`.
    pub(super) async fn at_brokers_of<K: Locate, V, R: Request>(
        &self,
        items: BTreeSet<K>,
        versions: (i16, i16),
        build: impl Fn(i16, &[K]) -> Result<R, Error> + Sync,
        read: impl Fn(i16, R::Response, &[K]) -> Outcomes<K, V>,
    ) -> Each<K, V> {
        let deadline = self.client.deadline(self.timeout);
        let mut pending = items;
        let mut results: Each<K, V> = BTreeMap::new();
        let mut failures = 0;
        loop {
            let mut again: BTreeMap<K, Error> = BTreeMap::new();
            let mut by_node: BTreeMap<NodeId, Vec<K>> = BTreeMap::new();
            let mut settle = |key: K, result: Result<V, Error>, again: &mut BTreeMap<K, Error>| match result {
                Err(e) if e.is_retriable() => {
                    key.learn(&self.client, &e);
                    again.insert(key, e);
                }
                result => {
                    results.insert(key, result);
                }
            };
            match self.client.in_time(deadline, R::NAME, K::locate(&self.client, &pending)).await {
                Ok(located) => {
                    for (key, node) in located {
                        match node {
                            Ok(node) => by_node.entry(node).or_default().push(key),
                            Err(e) => settle(key, Err(e), &mut again),
                        }
                    }
                }
                Err(e) => pending.iter().for_each(|key| settle(key.clone(), Err(e.clone()), &mut again)),
            }
            let requests = by_node.into_iter().map(|(node, keys)| {
                let (build, read) = (&build, &read);
                async move {
                    let left = deadline.left(self.client.io().clock.now());
                    let call = Call::to(Target::Node(node)).timeout(Some(left)).versions(versions.0, versions.1);
                    let mut spoken = 0;
                    let response = self
                        .client
                        .call_with(
                            call.lane(K::LANE).once(),
                            |version| {
                                spoken = version;
                                build(version, &keys)
                            },
                            |_, _| Ok(()),
                        )
                        .await;
                    match response {
                        Ok(response) => {
                            let outcomes = read(spoken, response, &keys);
                            let answered: BTreeSet<K> = outcomes.iter().map(|(key, _)| key.clone()).collect();
                            let silent = keys.into_iter().filter(|key| !answered.contains(key));
                            let silent = silent.map(|key| (key, Err(unanswered::<R>()))).collect::<Vec<_>>();
                            outcomes.into_iter().chain(silent).collect()
                        }
                        Err(e) => keys.into_iter().map(|key| (key, Err(e.clone()))).collect::<Vec<_>>(),
                    }
                }
            });
            for (key, result) in join_all(requests).await.into_iter().flatten() {
                if pending.contains(&key) {
                    settle(key, result, &mut again);
                }
            }
            let Some(first) = again.values().next().cloned() else { return results };
            if let Err(e) = self.client.pause(deadline, failures, R::NAME, first).await {
                let timed_out = |last: Error| match &e {
                    Error::TimedOut { .. } if !matches!(last, Error::TimedOut { .. }) => {
                        deadline.missed(R::NAME, Some(last))
                    }
                    _ => last,
                };
                results.extend(again.into_iter().map(|(key, last)| (key, Err(timed_out(last)))));
                return results;
            }
            failures += 1;
            pending = again.into_keys().collect();
        }
    }

    /// Asks each of these nodes, or all that are known.
    pub(super) async fn at_nodes<V, R: Request>(
        &self,
        nodes: Option<&[NodeId]>,
        request: impl Fn(i16, NodeId) -> Result<R, Error> + Sync,
        read: impl Fn(R::Response) -> Result<V, Error>,
    ) -> Result<Each<NodeId, V>, Error> {
        let nodes: BTreeSet<NodeId> = match nodes {
            Some(nodes) => nodes.iter().copied().collect(),
            None => self.client.known_cluster().await?.brokers.keys().copied().collect(),
        };
        let calls = nodes.into_iter().map(|node| {
            let (request, read) = (&request, &read);
            async move {
                let call = self.to(Target::Node(node));
                let response = self.client.call_with(call, |version| request(version, node), |_, _| Ok(())).await;
                (node, response.and_then(read))
            }
        });
        Ok(join_all(calls).await.into_iter().collect())
    }
}

fn unanswered<R: Request>() -> Error {
    let message = format!("the response to {} doesn't mention it", R::NAME);
    Error::Broker { code: ErrorCode::UnknownServerError, message: Some(Str::from(message)) }
}
