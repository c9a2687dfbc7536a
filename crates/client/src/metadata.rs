//! Keeping the picture of the cluster current: who is interested in what, when to ask, whom to ask.
//!
//! One task a client asks; everybody else says what it wants and waits for the next picture. The task ends with the
//! client. Kafka's `Metadata` and the metadata half of its `NetworkClient` (KIP-899, KIP-1102).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use logrun_io::Io;
use logrun_model::{Monotonic, NodeId, Str};
use logrun_wire::messages::metadata_request::MetadataRequestTopic;
use logrun_wire::messages::{DescribeClusterRequest, MetadataRequest, MetadataResponse};
use logrun_wire::{ErrorCode, VersionRange};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::backoff::Backoff;
use crate::cluster::{Broker, Cluster, LeaderHint};
use crate::connection::{ANY_VERSION, Connection};
use crate::error::Error;
use crate::pool::{Address, Lane, Peer, Pool};

/// DescribeCluster's word for controllers (KIP-919).
const ENDPOINT_CONTROLLER: i8 = 2;

/// What everybody sees.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) cluster: Arc<Cluster>,
    /// How many attempts to fetch metadata ended, well or not.
    pub(crate) attempts: u64,
    /// Why the last one failed, if it did.
    pub(crate) error: Option<Error>,
}

/// Which topics a client wants to know of.
#[derive(Debug, Default)]
struct Interest {
    topics: BTreeMap<Str, Wanted>,
    /// How many want all topics.
    all: usize,
}

#[derive(Clone, Copy, Debug)]
struct Wanted {
    /// Whether asking may create it.
    may_create: bool,
    /// When it was used last.
    used: Monotonic,
}

/// How metadata is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) bootstrap: Vec<Address>,
    /// The bootstrap addresses are those of controllers.
    pub(crate) controllers: bool,
    pub(crate) max_age: Duration,
    /// How long a topic that nobody uses is kept.
    pub(crate) max_idle: Option<Duration>,
    pub(crate) backoff: Backoff,
    pub(crate) request_timeout: Duration,
    pub(crate) rebootstrap: bool,
    pub(crate) rebootstrap_after: Duration,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Metadata {
    io: Io,
    policy: Policy,
    pool: Arc<Pool>,
    seen: watch::Sender<Seen>,
    interest: Mutex<Interest>,
    asked: Notify,
    asked_at: Mutex<u64>,
}

impl Metadata {
    /// Metadata, and the task that keeps it, which ends when the metadata is dropped.
    pub(crate) fn start(io: &Io, policy: Policy, pool: Arc<Pool>) -> Arc<Self> {
        Arc::new(Self {
            io: io.clone(),
            policy,
            pool,
            seen: watch::Sender::new(Seen::default()),
            interest: Mutex::default(),
            asked: Notify::new(),
            asked_at: Mutex::new(0),
        })
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(crate) fn cluster(&self) -> Arc<Cluster> {
        self.seen.borrow().cluster.clone()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Seen> {
        self.seen.subscribe()
    }

    /// Says that `topic` is of interest from now on. True if that is news.
    pub(crate) fn want(&self, topic: &str, may_create: bool) -> bool {
        let used = self.io.clock.now();
        let mut interest = self.interest.lock();
        match interest.topics.get_mut(topic) {
            Some(w) => {
                w.used = used;
                w.may_create |= may_create;
                false
            }
            None => {
                interest.topics.insert(topic.into(), Wanted { may_create, used });
                true
            }
        }
    }

    pub(crate) fn forget(&self, topic: &str) {
        self.interest.lock().topics.remove(topic);
    }

    pub(crate) fn want_all(&self, on: bool) {
        let mut interest = self.interest.lock();
        interest.all = if on { interest.all + 1 } else { interest.all.saturating_sub(1) };
    }

    /// Asks for a new picture; how many attempts had ended when it was asked for.
    pub(crate) fn request_update(&self) -> u64 {
        let attempts = self.seen.borrow().attempts;
        *self.asked_at.lock() = attempts + 1;
        self.asked.notify_one();
        attempts
    }

    /// Waits for the end of an attempt that began after `attempts` of them had ended.
    pub(crate) async fn attempted(&self, attempts: u64) -> Result<Arc<Cluster>, Error> {
        let mut seen = self.seen.subscribe();
        match seen.wait_for(|s| s.attempts > attempts).await {
            Ok(s) => match &s.error {
                None => Ok(s.cluster.clone()),
                Some(e) => Err(e.clone()),
            },
            Err(_) => Err(Error::Closed),
        }
    }

    /// Takes leaders that a response told of in passing. True if they are news.
    pub(crate) fn hint(&self, topic: &str, hints: &[LeaderHint], nodes: &[Broker]) -> bool {
        self.seen.send_if_modified(|seen| match seen.cluster.with_leaders(topic, hints, nodes) {
            Some(cluster) => {
                seen.cluster = Arc::new(cluster);
                true
            }
            None => false,
        })
    }

    fn is_asked(&self) -> bool {
        *self.asked_at.lock() > self.seen.borrow().attempts
    }

    fn end_attempt(&self, result: Result<Cluster, Error>) {
        self.seen.send_modify(|seen| {
            seen.attempts += 1;
            match result {
                Ok(cluster) => {
                    seen.cluster = Arc::new(cluster);
                    seen.error = None;
                }
                Err(e) => seen.error = Some(e),
            }
        });
    }

    fn expire(&self) {
        let Some(max_idle) = self.policy.max_idle else { return };
        let now = self.io.clock.now();
        self.interest.lock().topics.retain(|_, w| now.since(w.used) < max_idle);
    }

    /// Asks once.
    async fn fetch(&self) -> Result<Cluster, Error> {
        self.expire();
        let connection = self.any().await?;
        let cluster = self.cluster();
        let timeout = self.policy.request_timeout;
        if self.policy.controllers {
            let request = DescribeClusterRequest { endpoint_type: ENDPOINT_CONTROLLER, ..Default::default() };
            let response = connection.call(&request, VersionRange::new(1, i16::MAX), timeout).await?;
            crate::check(response.error_code, response.error_message.as_ref())?;
            let brokers = response.brokers.into_iter().map(|b| {
                logrun_wire::messages::metadata_response::MetadataResponseBroker {
                    node_id: b.broker_id,
                    host: b.host,
                    port: b.port,
                    rack: b.rack,
                    ..Default::default()
                }
            });
            let response = MetadataResponse {
                brokers: brokers.collect(),
                cluster_id: Some(response.cluster_id),
                controller_id: response.controller_id,
                ..Default::default()
            };
            return Ok(cluster.merge(&response, true, |_| true));
        }
        let (request, complete) = self.request(&connection)?;
        let response = connection.call(&request, ANY_VERSION, timeout).await?;
        crate::check(response.error_code, None)?;
        let interest = self.interest.lock();
        Ok(cluster.merge(&response, complete, |name| complete || interest.topics.contains_key(name)))
    }

    fn request(&self, connection: &Connection) -> Result<(MetadataRequest, bool), Error> {
        let version = connection.versions().pick::<MetadataRequest>(ANY_VERSION)?;
        let interest = self.interest.lock();
        let all = interest.all > 0;
        let topics =
            interest.topics.keys().map(|name| MetadataRequestTopic { name: Some(name.clone()), ..Default::default() });
        // Version 0 has an empty list for all topics, and no way to ask for none.
        let topics = match all {
            true if version == 0 => Some(Vec::new()),
            true => None,
            false => Some(topics.collect()),
        };
        let may_create = interest.topics.values().any(|w| w.may_create);
        // Before version 4 asking always may create.
        let request = MetadataRequest {
            topics,
            allow_auto_topic_creation: version < 4 || (may_create && !all),
            ..Default::default()
        };
        Ok((request, all))
    }

    /// A connection to any node: one that there is already and that is least busy, else to a node by chance, else to a
    /// bootstrap address.
    pub(crate) async fn any(&self) -> Result<Connection, Error> {
        let cluster = self.cluster();
        let peers = || {
            let nodes = cluster.brokers.keys().map(|id| Peer::Node(*id, Lane::Main));
            (0..self.policy.bootstrap.len()).map(Peer::Bootstrap).chain(nodes)
        };
        let there = peers().filter_map(|p| self.pool.existing(p)).min_by_key(Connection::in_flight);
        if let Some(connection) = there {
            return Ok(connection);
        }
        let mut nodes: Vec<(Peer, Address)> =
            cluster.brokers.values().map(|b| (Peer::Node(b.id, Lane::Main), address_of(b))).collect();
        let mut bootstrap: Vec<(Peer, Address)> =
            self.policy.bootstrap.iter().enumerate().map(|(i, a)| (Peer::Bootstrap(i), a.clone())).collect();
        for list in [&mut nodes, &mut bootstrap] {
            if !list.is_empty() {
                let by = self.io.random.below(list.len() as u64) as usize;
                list.rotate_left(by);
            }
        }
        // With a strategy of none, the bootstrap addresses are of no more use once nodes are known.
        if !nodes.is_empty() && !self.policy.rebootstrap {
            bootstrap.clear();
        }
        // Those that failed a moment ago come last.
        let mut order: Vec<_> = nodes.into_iter().chain(bootstrap).collect();
        order.sort_by_key(|(peer, _)| self.pool.is_backing_off(*peer));
        let mut last = None;
        for (peer, address) in order {
            match self.pool.get(peer, &address).await {
                Ok(connection) => return Ok(connection),
                Err(e @ Error::Authentication { .. }) => return Err(e),
                Err(e) => last = Some(e),
            }
        }
        Err(last.unwrap_or_else(|| Error::Invalid("bootstrap.servers names no broker".to_owned())))
    }

    /// A connection to a node that is known.
    pub(crate) async fn node(&self, id: NodeId, lane: Lane) -> Result<Connection, Error> {
        let cluster = self.cluster();
        let Some(broker) = cluster.brokers.get(&id) else {
            return Err(Error::Connect { address: format!("node {id}"), reason: "no such node is known".to_owned() });
        };
        self.pool.get(Peer::Node(id, lane), &address_of(broker)).await
    }

    fn begin_again(&self) {
        tracing::info!("no known broker can be reached: beginning again at the bootstrap servers");
        self.pool.clear();
        self.seen.send_modify(|seen| {
            let mut cluster = Cluster::clone(&seen.cluster);
            cluster.version += 1;
            cluster.brokers.clear();
            seen.cluster = Arc::new(cluster);
        });
    }
}

pub(crate) fn address_of(broker: &Broker) -> Address {
    Address { host: broker.host.to_string(), port: broker.port }
}

/// Fetches metadata when it is asked for or old. Ends when `stop` changes or its sender is gone.
pub(crate) async fn keep(metadata: Arc<Metadata>, mut stop: watch::Receiver<bool>) {
    let Metadata { io, policy, .. } = &*metadata;
    let mut failures: u32 = 0;
    let mut failing_since: Option<Monotonic> = None;
    let mut fetched: Option<Monotonic> = None;
    loop {
        let wait = async {
            if failures > 0 {
                io.clock.sleep(policy.backoff.after(failures - 1, &io.random)).await;
                return;
            }
            let old = fetched.map(|at| at.plus(policy.max_age));
            let due = async {
                match old {
                    Some(at) => io.clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = asked(&metadata) => {}
                () = due => {}
            }
        };
        tokio::select! {
            biased;
            _ = stop.changed() => return,
            () = wait => {}
        }
        let result = tokio::select! {
            biased;
            _ = stop.changed() => return,
            result = metadata.fetch() => result,
        };
        let now = io.clock.now();
        match &result {
            Ok(_) => {
                failures = 0;
                failing_since = None;
                fetched = Some(now);
            }
            Err(e) => {
                tracing::debug!("metadata: {e}");
                failures = failures.saturating_add(1);
                let since = *failing_since.get_or_insert(now);
                let told = e.code() == Some(ErrorCode::RebootstrapRequired);
                if policy.rebootstrap && (told || now.since(since) >= policy.rebootstrap_after) {
                    failing_since = None;
                    metadata.begin_again();
                }
            }
        }
        metadata.end_attempt(result);
        // Nobody asks any more, nothing was there to go stale: an error does not have to be repeated for ever.
        if failures > 0 && !metadata.is_asked() {
            failures = 0;
        }
    }
}

async fn asked(metadata: &Metadata) {
    while !metadata.is_asked() {
        metadata.asked.notified().await;
    }
}
