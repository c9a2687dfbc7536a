//! Fetching: what is asked of which broker, and what is done with the answers. Kafka's `AbstractFetch`.
//!
//! One fetch at a time for each broker. While its records wait to be polled a partition is asked for further on, until so
//! many bytes wait that the application is the slower one. Nothing here does IO.

pub(crate) mod fetched;
pub(crate) mod session;

use std::collections::BTreeMap;
use std::time::Duration;

use logrun_io::Random;
use logrun_model::{LeaderEpoch, Monotonic, NodeId, Offset, ProducerId, Str, TopicPartition};
use logrun_wire::ErrorCode;
use logrun_wire::messages::fetch_response::PartitionData;
use logrun_wire::messages::{FetchRequest, FetchResponse};

use super::subscription::Subscription;
use crate::backoff::Backoff;
use crate::cluster::{Broker, Cluster, LeaderHint};
use crate::error::Error;
use fetched::{Buffer, Fetched};
use session::{Session, Wanted};

/// The last version that names topics.
const LAST_VERSION_WITH_NAMES: i16 = 12;
/// The first version that Kafka 4 still serves.
const FIRST_VERSION: i16 = 4;

/// How it is fetched.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub min_bytes: i32,
    pub max_bytes: i32,
    pub max_wait_ms: i32,
    pub partition_max_bytes: i32,
    pub read_committed: bool,
    pub rack: Str,
    /// How long a preferred replica counts: `metadata.max.age.ms`.
    pub replica_max_age: Duration,
    pub backoff: Backoff,
    pub random: Random,
}

impl Settings {
    fn wait(&self, failures: u32) -> Duration {
        self.backoff.after(failures, &self.random)
    }
}

/// A request to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub node: NodeId,
    pub request: FetchRequest,
    pub max_version: i16,
}

#[derive(Debug)]
struct Node {
    session: Session,
    busy: bool,
    not_before: Monotonic,
    failures: u32,
}

/// What follows from an answer, beyond the records.
#[derive(Debug, Default)]
pub(crate) struct Consequences {
    /// What is known of the cluster is out of date.
    pub update_metadata: bool,
    /// What the application must hear.
    pub errors: Vec<Error>,
    /// Leaders that the broker told of (KIP-951), by topic.
    pub hints: BTreeMap<Str, Vec<LeaderHint>>,
    pub brokers: Vec<Broker>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Fetcher {
    settings: Settings,
    nodes: BTreeMap<NodeId, Node>,
    pub buffer: Buffer,
}

impl Fetcher {
    pub fn new(settings: Settings) -> Self {
        let enough = usize::try_from(settings.partition_max_bytes).unwrap_or(0).max(1);
        Self { settings, nodes: BTreeMap::new(), buffer: Buffer::new(enough) }
    }

    /// The requests to be sent now. The flag says that a leader is missing.
    pub fn plan(&mut self, now: Monotonic, subscription: &Subscription, cluster: &Cluster) -> (Vec<Planned>, bool) {
        let mut wanted: BTreeMap<NodeId, BTreeMap<TopicPartition, Wanted>> = BTreeMap::new();
        let mut leaderless = false;
        let mut topic: Option<&std::sync::Arc<crate::cluster::Topic>> = None;
        for (tp, p) in subscription.iter() {
            if !p.is_fetchable() || now < p.not_before || self.buffer.has_enough(tp) {
                continue;
            }
            if topic.is_none_or(|t| t.name != tp.topic) {
                topic = cluster.topic(&tp.topic);
            }
            let Some((topic, partition)) = topic.and_then(|t| Some((t, t.partition(tp.partition)?))) else {
                leaderless = true;
                continue;
            };
            let preferred =
                p.preferred_replica.filter(|(node, until)| now < *until && cluster.brokers.contains_key(node));
            let Some(node) = preferred.map(|(node, _)| node).or(partition.leader) else {
                leaderless = true;
                continue;
            };
            if self.nodes.get(&node).is_some_and(|n| n.busy || now < n.not_before) {
                continue;
            }
            let w = Wanted {
                incarnation: p.incarnation,
                topic_id: topic.id,
                offset: p.fetch_offset,
                max_bytes: self.settings.partition_max_bytes,
                leader_epoch: LeaderEpoch(partition.leader_epoch),
            };
            wanted.entry(node).or_default().insert(tp.clone(), w);
        }
        let planned = wanted.into_iter().map(|(node, wanted)| self.request(node, &wanted)).collect();
        (planned, leaderless)
    }

    fn request(&mut self, id: NodeId, wanted: &BTreeMap<TopicPartition, Wanted>) -> Planned {
        let fresh = || Node { session: Session::new(), busy: false, not_before: Monotonic::default(), failures: 0 };
        let node = self.nodes.entry(id).or_insert_with(fresh);
        node.busy = true;
        let s = &self.settings;
        let mut request = FetchRequest {
            max_wait_ms: s.max_wait_ms,
            min_bytes: s.min_bytes,
            max_bytes: s.max_bytes,
            isolation_level: i8::from(s.read_committed),
            rack_id: s.rack.clone(),
            ..Default::default()
        };
        node.session.next(wanted, &mut request);
        let named = wanted.values().any(|w| w.topic_id.is_zero());
        let max_version = if named { LAST_VERSION_WITH_NAMES } else { i16::MAX };
        Planned { node: id, request, max_version }
    }

    /// The versions that a request may be sent in.
    pub fn versions(planned: &Planned) -> logrun_wire::VersionRange {
        logrun_wire::VersionRange::new(FIRST_VERSION, planned.max_version)
    }

    /// When a request that can't be sent now can.
    pub fn next_deadline(&self, now: Monotonic, subscription: &Subscription) -> Option<Monotonic> {
        let nodes = self.nodes.values().filter(|n| !n.busy).map(|n| n.not_before);
        let partitions = subscription.iter().filter(|(_, p)| p.is_fetchable()).map(|(_, p)| p.not_before);
        nodes.chain(partitions).filter(|at| *at > now).min()
    }

    /// Takes the answer to the request that is under way to `id`.
    pub fn answered(
        &mut self,
        now: Monotonic,
        id: NodeId,
        result: Result<FetchResponse, Error>,
        subscription: &mut Subscription,
    ) -> Consequences {
        let mut c = Consequences::default();
        let Some(node) = self.nodes.get_mut(&id) else { return c };
        node.busy = false;
        let wait = self.settings.wait(node.failures);
        let response = match result {
            Ok(r) => r,
            Err(e) => {
                tracing::debug!("fetch from node {id}: {e}");
                node.session.failed();
                node.not_before = now.plus(wait);
                node.failures = node.failures.saturating_add(1);
                c.update_metadata = e.is_invalid_metadata();
                if !e.is_retriable() {
                    c.errors.push(e);
                }
                return c;
            }
        };
        let error = ErrorCode::from_code(response.error_code).unwrap_or(ErrorCode::UnknownServerError);
        if !node.session.answered(error, response.session_id) {
            tracing::debug!("fetch session with node {id}: {error}");
            c.update_metadata = matches!(error, ErrorCode::UnknownTopicId | ErrorCode::InconsistentTopicId);
            if !matches!(error, ErrorCode::FetchSessionIdNotFound | ErrorCode::InvalidFetchSessionEpoch) {
                node.not_before = now.plus(wait);
                node.failures = node.failures.saturating_add(1);
            }
            return c;
        }
        node.failures = 0;
        if response.throttle_time_ms > 0 {
            // The broker keeps the connection silent for so long (KIP-219).
            node.not_before = now.plus_ms(response.throttle_time_ms.into());
        }
        let names = node.session.names();
        for topic in response.responses {
            let name = if topic.topic.is_empty() { names.get(&topic.topic_id).cloned() } else { Some(topic.topic) };
            let Some(name) = name else { continue };
            for data in topic.partitions {
                let tp = TopicPartition { topic: name.clone(), partition: data.partition_index };
                let Some(asked) = self.nodes.get(&id).and_then(|n| n.session.asked(&tp)).copied() else { continue };
                // The key that the subscription has, not the response's: a slice of it would keep the whole alive.
                self.partition(now, tp, asked, data, subscription, &mut c);
            }
        }
        for n in response.node_endpoints {
            if let Ok(port) = u16::try_from(n.port) {
                c.brokers.push(Broker { id: NodeId(n.node_id), host: n.host.detached(), port, rack: n.rack });
            }
        }
        c
    }

    fn partition(
        &mut self,
        now: Monotonic,
        tp: TopicPartition,
        asked: Wanted,
        data: PartitionData,
        subscription: &mut Subscription,
        c: &mut Consequences,
    ) {
        let Some(p) = subscription.get_mut(&tp) else { return };
        if p.incarnation != asked.incarnation || p.fetch_offset != asked.offset {
            return;
        }
        let error = ErrorCode::from_code(data.error_code).unwrap_or(ErrorCode::UnknownServerError);
        if error != ErrorCode::None {
            return self.refused(now, &tp, error, &data, subscription, c);
        }
        p.high_watermark = Offset(data.high_watermark);
        p.last_stable_offset = Offset(data.last_stable_offset);
        p.log_start_offset = Offset(data.log_start_offset);
        if data.preferred_read_replica >= 0 {
            p.preferred_replica = Some((NodeId(data.preferred_read_replica), now.plus(self.settings.replica_max_age)));
        }
        let records = data.records.map(logrun_wire::Records::into_bytes).unwrap_or_default();
        if records.is_empty() {
            return;
        }
        let aborted = self.settings.read_committed.then_some(data.aborted_transactions).flatten().unwrap_or_default();
        let aborted = aborted.iter().map(|a| (Offset(a.first_offset), ProducerId(a.producer_id)));
        let topic = tp.topic.clone();
        match Fetched::new(tp.clone(), asked.incarnation, asked.offset, records, aborted) {
            Ok(Some(fetched)) => {
                p.fetch_offset = fetched.next_fetch;
                self.buffer.push(fetched);
            }
            Ok(None) => {
                p.not_before = now.plus(self.settings.wait(3));
                let message = format!("{tp}: the record at offset {} is larger than any fetch", asked.offset);
                c.errors.push(Error::Broker { code: ErrorCode::RecordListTooLarge, message: Some(message.into()) });
            }
            Err(e) => {
                p.not_before = now.plus(self.settings.wait(3));
                let message = format!("{topic}-{} from offset {}: {e}", tp.partition, asked.offset);
                c.errors.push(Error::Broker { code: ErrorCode::CorruptMessage, message: Some(message.into()) });
            }
        }
    }

    fn refused(
        &mut self,
        now: Monotonic,
        tp: &TopicPartition,
        error: ErrorCode,
        data: &PartitionData,
        subscription: &mut Subscription,
        c: &mut Consequences,
    ) {
        let Some(p) = subscription.get_mut(tp) else { return };
        p.not_before = now.plus(self.settings.wait(0));
        match error {
            ErrorCode::OffsetOutOfRange => {
                if p.preferred_replica.take().is_some() {
                    // The follower may lag behind: the leader knows.
                    p.not_before = now;
                } else if self.buffer.unread(tp) == 0 {
                    let offset = p.position.offset;
                    if !subscription.reset(tp, None) {
                        let message = format!("{tp} has no offset {offset}, and auto.offset.reset is none");
                        c.errors.push(Error::Broker { code: error, message: Some(message.into()) });
                    }
                }
            }
            ErrorCode::TopicAuthorizationFailed => {
                c.errors.push(Error::Broker { code: error, message: Some(tp.to_string().into()) });
            }
            ErrorCode::UnknownLeaderEpoch | ErrorCode::OffsetNotAvailable | ErrorCode::UnknownServerError => {
                p.preferred_replica = None;
            }
            _ => {
                p.preferred_replica = None;
                c.update_metadata = true;
                let (leader, epoch) = (data.current_leader.leader_id, data.current_leader.leader_epoch);
                if leader >= 0 && epoch >= 0 {
                    let hint = LeaderHint { partition: tp.partition, leader: NodeId(leader), leader_epoch: epoch };
                    c.hints.entry(tp.topic.detached()).or_default().push(hint);
                    p.not_before = now;
                }
                if !error.is_retriable() {
                    c.errors.push(Error::Broker { code: error, message: Some(tp.to_string().into()) });
                }
            }
        }
    }

    /// Requests that end the sessions, for brokers whose memory they take.
    pub fn close(&mut self) -> Vec<Planned> {
        let close = |(id, node): (&NodeId, &mut Node)| {
            let request = FetchRequest { max_wait_ms: 0, max_bytes: self.settings.max_bytes, ..node.session.close()? };
            Some(Planned { node: *id, request, max_version: i16::MAX })
        };
        self.nodes.iter_mut().filter_map(close).collect()
    }
}
