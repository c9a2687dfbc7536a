//! The task that sends what the accumulator gives and hands it the answers. Kafka's `Sender`. It decides nothing that
//! the accumulator can decide.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use logrun_model::{Monotonic, NodeId, ProducerEpoch, ProducerId, Str, TopicPartition};
use logrun_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use logrun_wire::messages::produce_response::PartitionProduceResponse;
use logrun_wire::messages::{InitProducerIdRequest, ProduceRequest, ProduceResponse};
use logrun_wire::{Records, VersionRange};
use tokio::sync::mpsc;

use super::accumulator::{Answer, Outgoing};
use super::batch::Written;
use super::shared::Shared;
use crate::client::Target;
use crate::cluster::{Broker, Cluster, LeaderHint};
use crate::connection::{Connection, Reply};
use crate::error::Error;
use crate::link::Link;
use crate::pool::Lane;

/// The first version that names topics by their ids (KIP-516), and the last of the first generation of transactions.
const TOPIC_ID_VERSION: i16 = 13;
const FIRST_TRANSACTIONS_MAX: i16 = 11;

/// What the sender hears.
pub(super) enum Event {
    Connected(NodeId, Result<Connection, Error>),
    Answered(Box<Answered>),
    ProducerId(Result<(ProducerId, ProducerEpoch), Error>),
    /// Partitions are part of the transaction now, or not.
    Added(BTreeSet<TopicPartition>, Result<(), Error>),
}

/// A produce request that is over.
pub(super) struct Answered {
    node: NodeId,
    version: i16,
    batches: Vec<Outgoing>,
    frame: Result<Bytes, Error>,
}

/// Batches that are under way; if nobody ever answers, they come back as lost.
struct UnderWay {
    node: NodeId,
    version: i16,
    batches: Vec<Outgoing>,
    events: mpsc::UnboundedSender<Event>,
}

impl UnderWay {
    fn over(&mut self, frame: Result<Bytes, Error>) {
        let batches = std::mem::take(&mut self.batches);
        if !batches.is_empty() {
            let answered = Answered { node: self.node, version: self.version, batches, frame };
            // The sender is gone only when nobody waits any more.
            drop(self.events.send(Event::Answered(Box::new(answered))));
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.over(Err(Error::Disconnected {
            address: format!("node {}", self.node),
            reason: "it was closed".to_owned(),
        }));
    }
}

#[derive(Default)]
struct Node {
    connection: Option<Connection>,
    connecting: bool,
    in_flight: usize,
    not_before: Monotonic,
    failures: u32,
}

/// See the module.
pub(super) struct Sender {
    shared: Arc<Shared>,
    events: mpsc::UnboundedReceiver<Event>,
    to_self: mpsc::UnboundedSender<Event>,
    nodes: BTreeMap<NodeId, Node>,
    cluster: Arc<Cluster>,
    asking_for_id: bool,
    asked_for_metadata: Option<Monotonic>,
    failures: u32,
}

impl Sender {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let (to_self, events) = mpsc::unbounded_channel();
        Self {
            shared,
            events,
            to_self,
            nodes: BTreeMap::new(),
            cluster: Arc::default(),
            asking_for_id: false,
            asked_for_metadata: None,
            failures: 0,
        }
    }

    /// Runs until the producer is closed and every batch has its fate.
    pub(super) async fn run(mut self) {
        let shared = self.shared.clone();
        let clock = shared.client.io().clock.clone();
        let mut watch = shared.client.watch();
        self.cluster = watch.current();
        loop {
            let now = clock.now();
            let (next, done) = self.step(now);
            // What can be sent is on its way before anybody is told of what was.
            if shared.tell() {
                continue;
            }
            if done {
                shared.ended.notify_waiters();
                return;
            }
            let due = async {
                match next {
                    Some(at) if at <= now => {}
                    Some(at) => clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                event = self.events.recv() => {
                    if let Some(event) = event {
                        self.hear(event);
                    }
                }
                cluster = watch.changed() => {
                    if let Some(cluster) = cluster {
                        shared.state.lock().learn(&cluster);
                        self.cluster = cluster;
                        shared.memory.notify_waiters();
                    }
                }
                () = shared.wake.notified() => {}
                () = due => {}
            }
            while let Ok(event) = self.events.try_recv() {
                self.hear(event);
            }
        }
    }

    /// Sends what can be sent. When to look again, and whether all is over.
    fn step(&mut self, now: Monotonic) -> (Option<Monotonic>, bool) {
        let shared = self.shared.clone();
        let mut state = shared.state.lock();
        let held = state.accumulator.memory();
        let expires = state.accumulator.expire(now);
        // A transaction that can only be aborted sends no more (Kafka's `abortUndrainedBatches`).
        if let Some(e) = state.lost() {
            state.accumulator.abandon(&e);
        }
        let freed = state.accumulator.memory() < held;
        let transaction = state.transaction.clone();
        let (cluster, nodes) = (&self.cluster, &self.nodes);
        let most = state.accumulator.settings.max_in_flight;
        let unconnected = std::cell::RefCell::new(BTreeSet::new());
        let drained = state.accumulator.drain(
            now,
            |tp| cluster.leader(&tp.topic, tp.partition),
            |id| {
                let node = nodes.get(&id);
                if node.is_some_and(|n| n.not_before > now || n.in_flight >= most) {
                    return false;
                }
                let usable = node.is_some_and(|n| n.connection.as_ref().is_some_and(Connection::is_usable));
                if !usable {
                    unconnected.borrow_mut().insert(id);
                }
                usable
            },
            |tp| transaction.as_ref().is_none_or(|t| t.admits(tp)),
        );
        let unadmitted: BTreeSet<TopicPartition> = match &transaction {
            Some(t) if t.is_open && !t.adding => {
                state.accumulator.partitions().filter(|tp| !t.admits(tp)).cloned().collect()
            }
            _ => BTreeSet::new(),
        };
        if let (Some(t), false) = (&mut state.transaction, unadmitted.is_empty()) {
            t.adding = true;
        }
        // What adds partitions is waited for by whoever ends the transaction.
        let adding = state.transaction.as_ref().is_some_and(|t| t.adding);
        let done = state.closed && state.accumulator.incomplete() == 0 && !adding;
        drop(state);
        if freed {
            shared.memory.notify_waiters();
        }
        let mut next = drained.next.into_iter().chain(expires).min();
        let mut look_at = |at: Monotonic| next = Some(next.map_or(at, |n: Monotonic| n.min(at)));
        for node in self.nodes.values().filter(|n| n.not_before > now) {
            look_at(node.not_before);
        }
        if !drained.leaderless.is_empty() {
            let again = self.asked_for_metadata.map(|at| at.plus(shared.client.backoff(0)));
            match again {
                Some(at) if at > now => look_at(at),
                _ => {
                    self.asked_for_metadata = Some(now);
                    shared.client.want_topics(drained.leaderless.iter().map(Str::as_str), true);
                    shared.client.request_update();
                    look_at(now.plus(Duration::from_millis(100)));
                }
            }
        }
        if drained.wants_producer_id && !self.asking_for_id && transaction.is_none() {
            self.ask_for_id();
        }
        if !unadmitted.is_empty() {
            let (to_self, shared) = (self.to_self.clone(), shared.clone());
            shared.client.io().tasks.clone().spawn(async move {
                let result = shared.add_partitions(&unadmitted).await;
                drop(to_self.send(Event::Added(unadmitted, result)));
            });
        }
        for node in unconnected.into_inner() {
            self.connect(node);
        }
        for (node, batches) in drained.requests {
            self.send(node, batches, now);
        }
        (next, done)
    }

    fn ask_for_id(&mut self) {
        self.asking_for_id = true;
        let (client, to_self) = (self.shared.client.clone(), self.to_self.clone());
        let wait = if self.failures > 0 { client.backoff(self.failures - 1) } else { Duration::ZERO };
        self.shared.client.io().tasks.spawn(async move {
            client.io().clock.sleep(wait).await;
            let request = InitProducerIdRequest {
                transactional_id: None,
                transaction_timeout_ms: i32::MAX,
                ..Default::default()
            };
            let response =
                client.call_with(Target::Any, |_| Ok(request.clone()), |_, r| crate::check(r.error_code, None)).await;
            let id = response.map(|r| (ProducerId(r.producer_id), ProducerEpoch(r.producer_epoch)));
            drop(to_self.send(Event::ProducerId(id)));
        });
    }

    fn connect(&mut self, id: NodeId) {
        let node = self.nodes.entry(id).or_default();
        if node.connecting {
            return;
        }
        node.connecting = true;
        let (client, to_self) = (self.shared.client.clone(), self.to_self.clone());
        self.shared.client.io().tasks.spawn(async move {
            let connection = client.node(id, Lane::Main).await;
            drop(to_self.send(Event::Connected(id, connection)));
        });
    }

    fn send(&mut self, id: NodeId, batches: Vec<Outgoing>, now: Monotonic) {
        let Some(connection) = self.nodes.get(&id).and_then(|n| n.connection.clone()) else {
            let gone = Error::Disconnected { address: format!("node {id}"), reason: "it was closed".to_owned() };
            return self.refuse(batches, &gone, now);
        };
        if let Err((batches, e)) = self.submit(id, &connection, batches) {
            self.refuse(batches, &e, now);
        }
    }

    fn submit(
        &mut self,
        id: NodeId,
        connection: &Connection,
        mut batches: Vec<Outgoing>,
    ) -> Result<(), (Vec<Outgoing>, Error)> {
        let (transactional_id, first_transactions) = {
            let state = self.shared.state.lock();
            let t = state.transaction.as_ref();
            (t.map(|t| t.id.clone()), t.is_some_and(|t| !t.implicit))
        };
        let ids_known = batches.iter().all(|b| self.cluster.topic(&b.tp.topic).is_some_and(|t| !t.id.is_zero()));
        let max = match (first_transactions, ids_known) {
            (true, _) => FIRST_TRANSACTIONS_MAX,
            (false, true) => i16::MAX,
            (false, false) => TOPIC_ID_VERSION - 1,
        };
        let version = match connection.versions().pick::<ProduceRequest>(VersionRange::new(0, max)) {
            Ok(version) => version,
            Err(e) => return Err((batches, e)),
        };
        let mut topics: Vec<TopicProduceData> = Vec::new();
        let mut failed = None;
        for outgoing in &mut batches {
            let sealed = match outgoing.batch.seal(transactional_id.is_some()) {
                Ok(sealed) => sealed,
                Err(e) => {
                    failed = Some(e);
                    break;
                }
            };
            let [head, _] = sealed.segments();
            let records: Records = vec![Bytes::copy_from_slice(head), sealed.body().clone()].into();
            let data =
                PartitionProduceData { index: outgoing.tp.partition, records: Some(records), ..Default::default() };
            let name = &outgoing.tp.topic;
            let by_id = version >= TOPIC_ID_VERSION;
            let topic_id = self.cluster.topic(name).filter(|_| by_id).map(|t| t.id).unwrap_or_default();
            outgoing.topic_id = topic_id;
            let same = |t: &&mut TopicProduceData| if by_id { t.topic_id == topic_id } else { t.name == *name };
            match topics.iter_mut().find(same) {
                Some(topic) => topic.partition_data.push(data),
                None => {
                    // What is written to stays of interest (`metadata.max.idle.ms` is about the others).
                    self.shared.client.want_topics([name.as_str()], true);
                    topics.push(TopicProduceData {
                        name: if by_id { Str::EMPTY } else { name.clone() },
                        topic_id,
                        partition_data: vec![data],
                        ..Default::default()
                    });
                }
            }
        }
        if let Some(e) = failed {
            return Err((batches, e));
        }
        let timeout = self.shared.client.request_timeout();
        let request = ProduceRequest {
            transactional_id,
            acks: self.shared.acks,
            timeout_ms: i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX),
            topic_data: topics,
            ..Default::default()
        };
        let mut under_way = UnderWay { node: id, version, batches, events: self.to_self.clone() };
        self.nodes.entry(id).or_default().in_flight += 1;
        let reply: Reply = Box::new(move |frame| under_way.over(frame));
        if let Err(e) = connection.submit(&request, version, timeout, self.shared.acks != 0, reply) {
            // The batches come back by themselves.
            tracing::debug!(node = %id, "produce: {e}");
        }
        Ok(())
    }

    fn refuse(&mut self, batches: Vec<Outgoing>, error: &Error, now: Monotonic) {
        let mut stale = false;
        {
            let mut state = self.shared.state.lock();
            for outgoing in batches {
                let attempt = outgoing.batch.attempts.saturating_sub(1);
                let backoff = self.shared.client.backoff(attempt);
                stale |= state.accumulator.answer(outgoing, Answer::Refused(error.clone()), now, backoff);
            }
        }
        self.shared.memory.notify_waiters();
        if stale {
            self.shared.client.request_update();
        }
    }

    fn hear(&mut self, event: Event) {
        let now = self.shared.client.io().clock.now();
        match event {
            Event::Connected(id, result) => {
                let node = self.nodes.entry(id).or_default();
                node.connecting = false;
                match result {
                    Ok(connection) => {
                        node.connection = Some(connection);
                        node.failures = 0;
                    }
                    Err(e) => {
                        tracing::debug!(node = %id, "producer: {e}");
                        node.connection = None;
                        node.not_before = now.plus(self.shared.client.backoff(node.failures));
                        node.failures += 1;
                        self.shared.client.request_update();
                        if matches!(e, Error::Authentication { .. }) {
                            self.shared.state.lock().accumulator.abandon(&e);
                        }
                    }
                }
            }
            Event::ProducerId(result) => {
                self.asking_for_id = false;
                match result {
                    Ok((id, epoch)) => {
                        self.failures = 0;
                        self.shared.state.lock().accumulator.set_producer(id, epoch);
                    }
                    Err(e) if e.is_retriable() => self.failures += 1,
                    Err(e) => self.shared.state.lock().accumulator.abandon(&e),
                }
            }
            Event::Added(partitions, result) => {
                let mut state = self.shared.state.lock();
                if let Some(t) = &mut state.transaction {
                    t.adding = false;
                    match result {
                        Ok(()) => t.admitted.extend(partitions),
                        Err(e) => {
                            t.fail(e.clone());
                            state.accumulator.abandon(&e);
                        }
                    }
                }
                drop(state);
                self.shared.memory.notify_waiters();
            }
            Event::Answered(answered) => self.answered(*answered, now),
        }
    }

    fn answered(&mut self, answered: Answered, now: Monotonic) {
        let Answered { node, version, batches, frame } = answered;
        if let Some(n) = self.nodes.get_mut(&node) {
            n.in_flight = n.in_flight.saturating_sub(1);
        }
        let decoded = frame.and_then(|frame| {
            if self.shared.acks == 0 {
                return Ok(None);
            }
            // The connection has checked that it is the answer to this request.
            let id = frame.first_chunk::<4>().map_or(-1, |b| i32::from_be_bytes(*b));
            Link::response::<ProduceRequest>(frame, id, version).map(Some)
        });
        let response = match decoded {
            Ok(Some(response)) => response,
            // That it was written to the connection is all that is ever known.
            Ok(None) => {
                let mut state = self.shared.state.lock();
                for outgoing in batches {
                    let sent = Answer::Written(Written { base_offset: None, log_append_time: None });
                    state.accumulator.answer(outgoing, sent, now, Duration::ZERO);
                }
                drop(state);
                self.shared.memory.notify_waiters();
                return;
            }
            Err(e) => {
                let e = match e {
                    // Whether it was written is not known: it is sent again, under the same number.
                    Error::TimedOut { what, .. } => {
                        Error::Disconnected { address: format!("node {node}"), reason: what }
                    }
                    e => e,
                };
                return self.refuse(batches, &e, now);
            }
        };
        if response.throttle_time_ms > 0
            && let Some(n) = self.nodes.get_mut(&node)
        {
            n.not_before = now.plus_ms(i64::from(response.throttle_time_ms));
        }
        let nodes: Vec<Broker> = response
            .node_endpoints
            .iter()
            .filter_map(|n| {
                let port = u16::try_from(n.port).ok()?;
                let rack = n.rack.as_ref().map(Str::detached);
                Some(Broker { id: NodeId(n.node_id), host: n.host.detached(), port, rack })
            })
            .collect();
        let (mut stale, mut any_news) = (false, false);
        {
            let mut state = self.shared.state.lock();
            for outgoing in batches {
                let tp = outgoing.tp.clone();
                let attempt = outgoing.batch.attempts.saturating_sub(1);
                let found = find(&response, &outgoing, version);
                let (answer, hinted) = match found {
                    Some(p) => (answer(p), hint(p)),
                    None => {
                        let missing = Error::Invalid(format!("the broker's answer doesn't mention {tp}"));
                        (Answer::Refused(missing), None)
                    }
                };
                if let (Answer::Refused(e), Some(t)) = (&answer, &mut state.transaction) {
                    t.note(e);
                }
                // Somebody who knows the new leader saves the wait for metadata, if that is news.
                let moved = matches!(&answer, Answer::Refused(e) if e.is_invalid_metadata());
                let hint = hinted.filter(|_| moved);
                let is_news = hint.is_some_and(|hint| self.shared.client.leader_hints(&tp.topic, &[hint], &nodes));
                any_news |= is_news;
                let backoff = if is_news { Duration::ZERO } else { self.shared.client.backoff(attempt) };
                stale |= state.accumulator.answer(outgoing, answer, now, backoff);
            }
        }
        self.shared.memory.notify_waiters();
        if any_news {
            self.cluster = self.shared.client.cluster();
        }
        if stale {
            self.shared.client.request_update();
        }
    }
}

fn find<'a>(response: &'a ProduceResponse, sent: &Outgoing, version: i16) -> Option<&'a PartitionProduceResponse> {
    let by_id = version >= TOPIC_ID_VERSION;
    let mut topics = response.responses.iter();
    let topic = topics.find(|t| if by_id { t.topic_id == sent.topic_id } else { t.name == sent.tp.topic })?;
    topic.partition_responses.iter().find(|p| p.index == sent.tp.partition)
}

fn answer(p: &PartitionProduceResponse) -> Answer {
    match crate::check(p.error_code, p.error_message.as_ref()) {
        Ok(()) => Answer::Written(Written {
            base_offset: (p.base_offset >= 0).then_some(p.base_offset),
            log_append_time: (p.log_append_time_ms >= 0).then_some(p.log_append_time_ms),
        }),
        Err(e) => {
            // The broker knows which record it is that it doesn't like.
            let reasons: Vec<String> = p
                .record_errors
                .iter()
                .map(|r| {
                    let text = r.batch_index_error_message.as_ref().map_or("refused", |m| m.as_str());
                    format!("record {}: {text}", r.batch_index)
                })
                .collect();
            match e {
                Error::Broker { code, message: None } if !reasons.is_empty() => {
                    Answer::Refused(Error::Broker { code, message: Some(reasons.join("; ").into()) })
                }
                e => Answer::Refused(e),
            }
        }
    }
}

fn hint(p: &PartitionProduceResponse) -> Option<LeaderHint> {
    let l = &p.current_leader;
    (l.leader_id >= 0 && l.leader_epoch >= 0).then_some(LeaderHint {
        partition: p.index,
        leader: NodeId(l.leader_id),
        leader_epoch: l.leader_epoch,
    })
}
