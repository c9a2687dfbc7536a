//! [`Core`]: the state of one share consumer, between the application that polls and the task that talks to brokers.
//!
//! A record that was acquired goes this way, and nothing else holds it:
//!
//! ```text
//! fetched ──poll──▶ in hand ──acknowledge──▶ pending ──sent──▶ under way ──answer──▶ settled
//!                      ▲                                                     │
//!                      └─────────────── poll ◀──── renewed ◀─────────────────┘ (Renew only)
//! ```
//!
//! Nothing is fetched ahead: a record's lock begins when it is acquired, so the brokers are asked only while a poll waits.
//! It stands behind a lock that is never held over a wait, and does no IO.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use logrun_model::{LeaderEpoch, Monotonic, NodeId, Offset, Str, TopicPartition, Uuid};
use logrun_wire::ErrorCode;
use logrun_wire::messages::share_fetch_response::{AcquiredRecords, PartitionData};
use logrun_wire::messages::{
    ShareAcknowledgeRequest, ShareAcknowledgeResponse, ShareFetchRequest, ShareFetchResponse,
    ShareGroupHeartbeatRequest, share_acknowledge_response, share_fetch_response,
};

use super::acknowledgements::{AcknowledgeType, GAP, Runs};
use super::consumer::Acknowledged;
use super::membership::{Effect, Event, Member};
use super::record::{SharePart, ShareRecords};
use super::session::{self, Id, Session};
use crate::Client;
use crate::cluster::{Broker, Cluster, LeaderHint};
use crate::consumer::fetched::{Fetched, Manner};
use crate::consumer::subscription::Position;
use crate::error::Error;
use crate::group::{Flags, MetadataRetry, Unnamed, refused};

/// What the core is configured with.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub session: session::Settings,
    pub max_poll_records: usize,
    pub check_crcs: bool,
    /// `share.acknowledgement.mode=explicit`.
    pub explicit: bool,
    pub allow_auto_create_topics: bool,
}

/// What the consumer's task is to do.
#[derive(Debug)]
pub(crate) enum Work {
    /// To the group's coordinator.
    Heartbeat(u64, ShareGroupHeartbeatRequest),
    ForgetCoordinator,
    Fetch(NodeId, ShareFetchRequest),
    Acknowledge(NodeId, ShareAcknowledgeRequest),
    NameTopics(BTreeSet<Uuid>),
    UpdateMetadata,
    Hints(Str, Vec<LeaderHint>, Vec<Broker>),
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Done {
    Heartbeat(u64, Result<logrun_wire::messages::ShareGroupHeartbeatResponse, Error>),
    Fetched(NodeId, Result<ShareFetchResponse, Error>),
    Acknowledged(NodeId, Result<ShareAcknowledgeResponse, Error>),
    Named(Vec<(Uuid, Str)>),
}

/// Where records came from: acknowledgements go back there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Source {
    tp: TopicPartition,
    node: NodeId,
    topic_id: Uuid,
}

impl Source {
    fn id(&self) -> Id {
        (self.topic_id, self.tp.partition)
    }
}

/// Records of one source that the application has.
#[derive(Debug, Default)]
struct Held {
    parts: Vec<Arc<SharePart>>,
    /// What the application has said of each.
    records: BTreeMap<Offset, Option<AcknowledgeType>>,
}

/// Acknowledgements of one source, and who waits for them.
#[derive(Debug, Default)]
struct Pending {
    runs: Runs,
    /// Numbers of commits.
    commits: BTreeSet<u64>,
    /// Records that are to be given out again, once renewed.
    renewing: Vec<SharePart>,
}

/// A commit whose acknowledgements have no answer yet.
#[derive(Debug, Default)]
struct Commit {
    open: usize,
    results: BTreeMap<TopicPartition, Result<(), Error>>,
}

#[derive(Debug)]
struct Node {
    session: Session,
    /// What the request under way acknowledges.
    in_flight: Option<BTreeMap<Source, Pending>>,
    pending: BTreeMap<Source, Pending>,
    not_before: Monotonic,
    failures: u32,
    /// The request under way ends its session.
    ending: bool,
    /// Its session has been ended.
    closed: bool,
}

impl Node {
    fn new() -> Self {
        Self {
            session: Session::new(),
            in_flight: None,
            pending: BTreeMap::new(),
            not_before: Monotonic::default(),
            failures: 0,
            ending: false,
            closed: false,
        }
    }
}

/// See the module.
pub(crate) struct Core {
    pub settings: Settings,
    pub errors: VecDeque<Error>,
    /// What the application's callback is to be told.
    pub settled: Vec<Acknowledged>,
    /// Whether there is a callback.
    pub tells: bool,
    pub is: Flags,
    /// Closing, it has begun to leave the group.
    left: bool,
    /// How long an acquired record is kept for this member; as the broker said last.
    pub lock_timeout: Option<Duration>,
    client: Client,
    member: Member,
    topics: BTreeSet<Str>,
    assigned: BTreeMap<TopicPartition, Uuid>,
    cluster: Arc<Cluster>,
    nodes: BTreeMap<NodeId, Node>,
    fetched: VecDeque<(Source, Arc<SharePart>)>,
    renewed: VecDeque<(Source, Arc<SharePart>)>,
    hand: BTreeMap<Source, Held>,
    commits: BTreeMap<u64, Commit>,
    next_commit: u64,
    work: Vec<Work>,
    unnamed: Unnamed,
    missing_leader: bool,
    metadata: MetadataRetry,
}

impl AsMut<Flags> for Core {
    fn as_mut(&mut self) -> &mut Flags {
        &mut self.is
    }
}

impl Core {
    pub fn new(client: Client, settings: Settings, member: Member) -> Self {
        Self {
            settings,
            errors: VecDeque::new(),
            settled: Vec::new(),
            tells: false,
            is: Flags { gone: true, ..Flags::default() },
            left: false,
            lock_timeout: None,
            cluster: client.cluster(),
            client,
            member,
            topics: BTreeSet::new(),
            assigned: BTreeMap::new(),
            nodes: BTreeMap::new(),
            fetched: VecDeque::new(),
            renewed: VecDeque::new(),
            hand: BTreeMap::new(),
            commits: BTreeMap::new(),
            next_commit: 1,
            work: Vec::new(),
            unnamed: Unnamed::default(),
            missing_leader: false,
            metadata: MetadataRetry::default(),
        }
    }

    /// The topics that the application wants.
    pub fn subscription(&self) -> &BTreeSet<Str> {
        &self.topics
    }

    pub fn subscribe(&mut self, now: Monotonic, topics: BTreeSet<Str>) {
        self.is.gone = false;
        self.want(&topics);
        self.topics.clone_from(&topics);
        self.member(now, Event::Subscribed(topics));
    }

    pub fn unsubscribe(&mut self, now: Monotonic) {
        self.topics.clear();
        self.member(now, Event::Unsubscribed);
    }

    /// Wants nothing any more: what is acknowledged is still sent, then the sessions are ended, then the group is left.
    pub fn close(&mut self) {
        if !self.is.closing {
            self.is.closing = true;
            self.is.polling = false;
            if self.settings.explicit {
                self.collect(None);
            }
            self.hand.clear();
        }
    }

    fn want(&self, topics: &BTreeSet<Str>) {
        self.client.want_topics(topics.iter().map(|t| &**t), self.settings.allow_auto_create_topics);
    }

    fn member(&mut self, now: Monotonic, event: Event) {
        let mut effects = Vec::new();
        self.member.on(now, event, &mut effects);
        for effect in effects {
            tracing::trace!(?effect, "share membership");
            match effect {
                Effect::Send(number, request) => self.work.push(Work::Heartbeat(number, request)),
                Effect::ForgetCoordinator => self.work.push(Work::ForgetCoordinator),
                Effect::Has(partitions) => {
                    self.want(&partitions.keys().map(|tp| tp.topic.clone()).collect());
                    self.assigned = partitions;
                }
                Effect::NameTopics(ids) => self.work.extend(self.unnamed.want(ids).map(Work::NameTopics)),
                Effect::Fail(e) => self.errors.push_back(e),
                Effect::Gone => {
                    self.unnamed.clear();
                    self.is.gone = true;
                }
            }
        }
    }

    /// Another picture of the cluster.
    pub fn cluster_changed(&mut self, cluster: Arc<Cluster>) {
        self.cluster = cluster;
        self.errors.extend(refused(&self.cluster, &self.topics));
    }

    /// What was given out before is settled, as far as the application has said: everything, if it need not say.
    ///
    /// # Errors
    /// If the application must say, and has not of all.
    pub fn begin_poll(&mut self, now: Monotonic) -> Result<(), Error> {
        self.collect(None);
        if self.hand.values().any(|held| !held.records.is_empty()) {
            let sentence = "with share.acknowledgement.mode=explicit every record of the last poll must be acknowledged before the next";
            return Err(Error::Invalid(sentence.to_owned()));
        }
        self.is.polling = true;
        self.member(now, Event::Polled);
        Ok(())
    }

    /// Says what becomes of a record.
    ///
    /// # Errors
    /// If the application has no such record, or nothing is to be said.
    pub fn acknowledge(&mut self, tp: &TopicPartition, offset: Offset, kind: AcknowledgeType) -> Result<(), Error> {
        if !self.settings.explicit {
            let sentence = "records are acknowledged one by one only with share.acknowledgement.mode=explicit";
            return Err(Error::Invalid(sentence.to_owned()));
        }
        let held = self.hand.iter_mut().filter(|(source, _)| source.tp == *tp);
        match held.filter_map(|(_, held)| held.records.get_mut(&offset)).next() {
            Some(said) => {
                *said = Some(kind);
                Ok(())
            }
            None => Err(Error::Invalid(format!(
                "{tp} at offset {offset} isn't a record of the last poll, or was sent already"
            ))),
        }
    }

    /// Moves what the application has settled out of its hand.
    fn collect(&mut self, commit: Option<u64>) {
        let implicit = !self.settings.explicit;
        for (source, mut held) in std::mem::take(&mut self.hand) {
            let mut pending = Pending::default();
            let mut renewing = BTreeSet::new();
            held.records.retain(|offset, said| {
                let Some(kind) = said.or(implicit.then_some(AcknowledgeType::Accept)) else { return true };
                pending.runs.add(*offset, *offset, kind.code());
                if kind == AcknowledgeType::Renew {
                    renewing.insert(*offset);
                }
                false
            });
            if !renewing.is_empty() {
                pending.renewing = held.parts.iter().filter_map(|p| p.only(|o| renewing.contains(&o))).collect();
            }
            pending.commits.extend(commit);
            if !pending.runs.is_empty() {
                self.pend(source.clone(), pending);
            }
            if !held.records.is_empty() {
                self.hand.insert(source, held);
            }
        }
    }

    fn pend(&mut self, source: Source, more: Pending) {
        for commit in &more.commits {
            self.commits.entry(*commit).or_default().open += 1;
        }
        let node = self.nodes.entry(source.node).or_insert_with(Node::new);
        let pending = node.pending.entry(source).or_default();
        pending.runs.extend(more.runs);
        pending.renewing.extend(more.renewing);
        // Two entries of one commit have become one.
        for commit in more.commits {
            if !pending.commits.insert(commit)
                && let Some(c) = self.commits.get_mut(&commit)
            {
                c.open -= 1;
            }
        }
    }

    /// Settles what the application has said; the number by which to ask what became of it. `None` if there is nothing.
    pub fn commit(&mut self) -> Option<u64> {
        let number = self.next_commit;
        self.next_commit += 1;
        self.collect(Some(number));
        self.commits.contains_key(&number).then_some(number)
    }

    /// What became of a commit, if all of it is known.
    pub fn committed(&mut self, number: u64) -> Option<BTreeMap<TopicPartition, Result<(), Error>>> {
        match self.commits.get(&number) {
            Some(c) if c.open > 0 => None,
            _ => Some(self.commits.remove(&number).unwrap_or_default().results),
        }
    }

    /// Nobody waits for a commit any more.
    pub fn forget_commit(&mut self, number: u64) {
        self.commits.remove(&number);
    }

    fn settle(&mut self, source: Source, pending: Pending, result: Result<(), Error>) {
        for commit in pending.commits {
            if let Some(c) = self.commits.get_mut(&commit) {
                c.open -= 1;
                let r = c.results.entry(source.tp.clone()).or_insert(Ok(()));
                if r.is_ok() {
                    r.clone_from(&result);
                }
            }
        }
        if result.is_ok() {
            self.renewed.extend(pending.renewing.into_iter().map(|part| (source.clone(), Arc::new(part))));
        }
        let offsets = pending.runs.offsets();
        if self.tells && !offsets.is_empty() {
            self.settled.push(Acknowledged { topic_partition: source.tp, offsets, result });
        }
    }

    /// Whether the application has something to hear.
    pub fn has_news(&self) -> bool {
        !self.errors.is_empty()
            || self.is.woken
            || self.is.gone
            || !self.fetched.is_empty()
            || !self.renewed.is_empty()
            || self.commits.values().any(|c| c.open == 0)
    }

    fn is_renewing(&self) -> bool {
        let under_way = |n: &Node| n.in_flight.iter().flatten().chain(&n.pending).any(|(_, p)| !p.renewing.is_empty());
        self.nodes.values().any(under_way)
    }

    /// Gives out records: those that were renewed if there are any, else those that were fetched.
    pub fn take(&mut self) -> ShareRecords {
        let mut parts = Vec::new();
        if !self.is_renewing() {
            let from = if self.renewed.is_empty() { &mut self.fetched } else { &mut self.renewed };
            let mut count = 0;
            while count < self.settings.max_poll_records
                && let Some((source, part)) = from.pop_front()
            {
                count += part.deliveries.len();
                let held = self.hand.entry(source).or_default();
                held.records.extend(part.part.slots.iter().map(|slot| (slot.offset, None)));
                held.parts.push(part.clone());
                parts.push(part);
            }
        }
        self.is.polling &= parts.is_empty();
        ShareRecords::of(parts)
    }

    /// What is to be done now.
    pub fn turn(&mut self, now: Monotonic) -> Vec<Work> {
        if self.is.polling {
            self.member(now, Event::Polled);
        }
        if self.member.next_deadline().is_some_and(|at| at <= now) {
            self.member(now, Event::DeadlineReached);
        }
        let mut wanted: BTreeMap<NodeId, BTreeSet<Id>> = BTreeMap::new();
        self.missing_leader = false;
        let fetches = self.is.polling && !self.is.closing && self.fetched.is_empty() && self.renewed.is_empty();
        for (tp, topic_id) in &self.assigned {
            match self.cluster.leader(&tp.topic, tp.partition) {
                Some(leader) => drop(wanted.entry(leader).or_default().insert((*topic_id, tp.partition))),
                None => self.missing_leader = true,
            }
        }
        for node in wanted.keys() {
            self.nodes.entry(*node).or_insert_with(Node::new);
        }
        let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
        for id in ids {
            let wanted = wanted.remove(&id).unwrap_or_default();
            self.turn_node(now, id, &wanted, fetches && !self.is_renewing());
        }
        if self.is.closing && !self.is.gone && !self.left && self.is_quiet() {
            self.left = true;
            self.unsubscribe(now);
        }
        if self.metadata.is_due(now, self.missing_leader, &self.client) {
            self.work.push(Work::UpdateMetadata);
        }
        std::mem::take(&mut self.work)
    }

    fn turn_node(&mut self, now: Monotonic, id: NodeId, wanted: &BTreeSet<Id>, fetches: bool) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if node.in_flight.is_some() || node.closed {
            return;
        }
        if !node.session.is_open() && !node.pending.is_empty() {
            // The session is gone in which these were acquired, and so are their locks.
            for (source, pending) in std::mem::take(&mut node.pending) {
                self.settle(source, pending, Err(ErrorCode::ShareSessionNotFound.into()));
            }
        }
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let (settings, member_id) = (&self.settings.session, self.member.member_id());
        if self.is.closing {
            if node.session.is_open() {
                let pending = std::mem::take(&mut node.pending);
                let request = node.session.acknowledge(settings, member_id, &runs(&pending), true);
                node.in_flight = Some(pending);
                node.ending = true;
                self.work.push(Work::Acknowledge(id, request));
            } else {
                node.closed = true;
            }
            return;
        }
        if node.not_before > now {
            return;
        }
        let alone = node.pending.iter().any(|(s, p)| p.runs.has_renewals() || !wanted.contains(&s.id()));
        if !node.pending.is_empty() && (alone || !fetches) {
            let pending = std::mem::take(&mut node.pending);
            let request = node.session.acknowledge(settings, member_id, &runs(&pending), false);
            node.in_flight = Some(pending);
            self.work.push(Work::Acknowledge(id, request));
        } else if fetches && !wanted.is_empty() {
            let pending = std::mem::take(&mut node.pending);
            let request = node.session.fetch(settings, member_id, wanted, &runs(&pending));
            node.in_flight = Some(pending);
            self.work.push(Work::Fetch(id, request));
        }
    }

    /// Whether nothing is left to be said to the brokers of the partitions.
    pub fn is_quiet(&self) -> bool {
        self.nodes.values().all(|n| n.closed && n.in_flight.is_none())
    }

    /// When there is something to do without anything happening.
    pub fn next_deadline(&self, now: Monotonic) -> Option<Monotonic> {
        let nodes = self.nodes.values().map(|n| n.not_before).filter(|at| *at > now);
        let metadata = self.metadata.next_deadline(self.missing_leader);
        self.member.next_deadline().into_iter().chain(nodes).chain(metadata).min()
    }

    /// Takes what came of work.
    pub fn done(&mut self, now: Monotonic, done: Done) {
        tracing::trace!(?done, "share: done");
        match done {
            Done::Heartbeat(number, result) => self.member(now, Event::Answered(number, result)),
            Done::Named(names) => {
                self.work.extend(self.unnamed.answered(&names).map(Work::NameTopics));
                if !names.is_empty() {
                    self.member(now, Event::TopicsNamed(names));
                }
            }
            Done::Fetched(id, result) => self.fetch_answered(now, id, result),
            Done::Acknowledged(id, result) => self.acknowledge_answered(now, id, result),
        }
    }

    /// Takes the part of a response that is about the session. `Err` if there is no more in it; what was acknowledged
    /// with the request has failed then.
    fn session_answered<T>(
        &mut self,
        now: Monotonic,
        id: NodeId,
        result: Result<T, Error>,
        code: impl Fn(&T) -> (i16, Option<Str>, i32),
    ) -> Result<(T, BTreeMap<Source, Pending>), ()> {
        let Some(node) = self.nodes.get_mut(&id) else { return Err(()) };
        let under_way = node.in_flight.take().unwrap_or_default();
        let mut throttle_ms = 0;
        let checked = match result {
            Ok(response) => {
                let (code, message, throttled) = code(&response);
                throttle_ms = throttled;
                let known = ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError);
                node.session.answered(known);
                crate::check(code, message.as_ref()).map(|()| response)
            }
            Err(e) => {
                node.session.lost();
                Err(e)
            }
        };
        node.closed = node.ending;
        match checked {
            Ok(response) => {
                node.failures = 0;
                node.not_before = now.plus_ms(throttle_ms.max(0).into());
                Ok((response, under_way))
            }
            Err(e) => {
                tracing::debug!("share session with node {id}: {e}");
                node.not_before = now.plus(self.client.backoff(node.failures));
                node.failures = node.failures.saturating_add(1);
                if e.is_invalid_metadata() {
                    self.work.push(Work::UpdateMetadata);
                }
                for (source, pending) in under_way {
                    self.settle(source, pending, Err(e.clone()));
                }
                if !e.is_retriable() && e.code() != Some(ErrorCode::UnknownMemberId) {
                    self.errors.push_back(e);
                }
                Err(())
            }
        }
    }

    fn acknowledge_answered(&mut self, now: Monotonic, id: NodeId, result: Result<ShareAcknowledgeResponse, Error>) {
        let head = |r: &ShareAcknowledgeResponse| (r.error_code, r.error_message.clone(), r.throttle_time_ms);
        let Ok((response, mut under_way)) = self.session_answered(now, id, result, head) else { return };
        if response.acquisition_lock_timeout_ms > 0 {
            self.lock_timeout = Some(Duration::from_millis(response.acquisition_lock_timeout_ms as u64));
        }
        let nodes = response.node_endpoints.into_iter();
        let brokers: Vec<Broker> = nodes
            .filter_map(|n: share_acknowledge_response::NodeEndpoint| broker(n.node_id, &n.host, n.port, n.rack))
            .collect();
        for topic in response.responses {
            for p in topic.partitions {
                let Some(source) = source_of(&under_way, (topic.topic_id, p.partition_index)) else { continue };
                let result = crate::check(p.error_code, p.error_message.as_ref());
                let leader = (p.current_leader.leader_id, p.current_leader.leader_epoch);
                self.leader_moved(&source.tp, result.as_ref().err(), leader, &brokers);
                if let Some(pending) = under_way.remove(&source) {
                    self.settle(source, pending, result);
                }
            }
        }
        // Brokers name every partition; one that is not named has no error.
        for (source, pending) in under_way {
            self.settle(source, pending, Ok(()));
        }
    }

    fn leader_moved(&mut self, tp: &TopicPartition, e: Option<&Error>, leader: (i32, i32), brokers: &[Broker]) {
        if !e.is_some_and(Error::is_invalid_metadata) {
            return;
        }
        if leader.0 >= 0 && leader.1 >= 0 {
            let hint = LeaderHint { partition: tp.partition, leader: NodeId(leader.0), leader_epoch: leader.1 };
            self.work.push(Work::Hints(tp.topic.clone(), vec![hint], brokers.to_vec()));
        }
        self.work.push(Work::UpdateMetadata);
    }

    fn fetch_answered(&mut self, now: Monotonic, id: NodeId, result: Result<ShareFetchResponse, Error>) {
        let head = |r: &ShareFetchResponse| (r.error_code, r.error_message.clone(), r.throttle_time_ms);
        let Ok((response, mut under_way)) = self.session_answered(now, id, result, head) else { return };
        if response.acquisition_lock_timeout_ms > 0 {
            self.lock_timeout = Some(Duration::from_millis(response.acquisition_lock_timeout_ms as u64));
        }
        let nodes = response.node_endpoints.into_iter();
        let brokers: Vec<Broker> = nodes
            .filter_map(|n: share_fetch_response::NodeEndpoint| broker(n.node_id, &n.host, n.port, n.rack))
            .collect();
        let names: BTreeMap<Uuid, Str> = self.assigned.iter().map(|(tp, id)| (*id, tp.topic.clone())).collect();
        let mut refused = false;
        for topic in response.responses {
            for data in topic.partitions {
                let partition = data.partition_index;
                if let Some(source) = source_of(&under_way, (topic.topic_id, partition))
                    && let Some(pending) = under_way.remove(&source)
                {
                    let result = crate::check(data.acknowledge_error_code, data.acknowledge_error_message.as_ref());
                    self.settle(source, pending, result);
                }
                let Some(name) = names.get(&topic.topic_id) else { continue };
                let tp = TopicPartition { topic: name.clone(), partition };
                if let Err(e) = crate::check(data.error_code, data.error_message.as_ref()) {
                    refused = true;
                    let leader = (data.current_leader.leader_id, data.current_leader.leader_epoch);
                    self.leader_moved(&tp, Some(&e), leader, &brokers);
                    if !e.is_retriable() && !e.is_invalid_metadata() {
                        self.errors.push_back(e);
                    }
                    continue;
                }
                self.acquired(Source { tp, node: id, topic_id: topic.topic_id }, data);
            }
        }
        for (source, pending) in under_way {
            self.settle(source, pending, Ok(()));
        }
        if refused && let Some(node) = self.nodes.get_mut(&id) {
            // The others wait for a moment with it.
            node.not_before = node.not_before.max(now.plus(self.client.backoff(0)));
        }
    }

    /// Takes what was acquired of a partition. What can't be read is released; gaps are said to be ones.
    fn acquired(&mut self, source: Source, data: PartitionData) {
        let ranges = &data.acquired_records;
        if ranges.is_empty() {
            return;
        }
        let sound = |r: &AcquiredRecords| r.first_offset >= 0 && r.first_offset <= r.last_offset;
        let ascending = |pair: &[AcquiredRecords]| matches!(pair, [a, b] if a.last_offset < b.first_offset);
        if !ranges.iter().all(sound) || !ranges.windows(2).all(ascending) {
            let sentence = format!("{}: the broker gives acquired offsets that overlap or run backwards", source.tp);
            return self.errors.push_back(Error::Invalid(sentence));
        }
        let mut parts = Vec::new();
        let (mut ends_at, read) = read(&source.tp, data.records, ranges, self.settings.check_crcs, &mut parts);
        if let Err(e) = read {
            let message = Some(format!("{}: {e}", source.tp).into());
            self.errors.push_back(Error::Broker { code: ErrorCode::CorruptMessage, message });
        } else {
            ends_at = Offset(i64::MAX);
        }
        let mut offsets = parts.iter().flat_map(|p| p.part.slots.iter().map(|slot| slot.offset)).peekable();
        let mut runs = Runs::default();
        for range in ranges {
            let mut from = range.first_offset;
            let mut without = |from: i64, to: i64| {
                let readable = to.min(ends_at.get().saturating_sub(1));
                if from <= readable {
                    runs.add(Offset(from), Offset(readable), GAP);
                }
                if from.max(ends_at.get()) <= to {
                    runs.add(Offset(from.max(ends_at.get())), Offset(to), AcknowledgeType::Release.code());
                }
            };
            while let Some(at) = offsets.next_if(|at| at.get() <= range.last_offset) {
                without(from, at.get() - 1);
                from = at.get().saturating_add(1);
            }
            without(from, range.last_offset);
        }
        drop(offsets);
        if !runs.is_empty() {
            self.pend(source.clone(), Pending { runs, ..Pending::default() });
        }
        self.fetched.extend(parts.into_iter().map(|part| (source.clone(), Arc::new(part))));
    }
}

fn runs(pending: &BTreeMap<Source, Pending>) -> BTreeMap<Id, Runs> {
    pending.iter().map(|(source, p)| (source.id(), p.runs.clone())).collect()
}

fn source_of(under_way: &BTreeMap<Source, Pending>, id: Id) -> Option<Source> {
    under_way.keys().find(|source| source.id() == id).cloned()
}

fn broker(id: i32, host: &Str, port: i32, rack: Option<Str>) -> Option<Broker> {
    Some(Broker { id: NodeId(id), host: host.detached(), port: u16::try_from(port).ok()?, rack })
}

/// The records of a response that were acquired, in order, and the offset before which everything was looked at.
fn read(
    tp: &TopicPartition,
    records: Option<logrun_wire::Records>,
    ranges: &[AcquiredRecords],
    check_crcs: bool,
    parts: &mut Vec<SharePart>,
) -> (Offset, Result<(), String>) {
    let first = Offset(ranges.first().map_or(0, |r| r.first_offset));
    let bytes = records.map(logrun_wire::Records::into_bytes).unwrap_or_default();
    let mut position = Position { offset: first, epoch: LeaderEpoch::NONE };
    let mut fetched = match Fetched::new(tp.clone(), 0, first, bytes, []) {
        Ok(Some(fetched)) => fetched,
        Ok(None) => return (first, Err("records were acquired that the broker did not send".to_owned())),
        Err(e) => return (first, Err(e.to_string())),
    };
    let manner = Manner { check_crcs, read_committed: false };
    let mut whole = Vec::new();
    let mut result = Ok(());
    while !fetched.is_done() {
        if let Err(e) = fetched.take(&mut position, usize::MAX, manner, &mut whole) {
            result = Err(e.to_string());
            break;
        }
    }
    let mut ranges = ranges.iter().peekable();
    for mut part in whole {
        let mut deliveries = Vec::with_capacity(part.slots.len());
        part.slots.retain(|slot| {
            while ranges.next_if(|r| r.last_offset < slot.offset.get()).is_some() {}
            let range = ranges.peek().filter(|r| r.first_offset <= slot.offset.get());
            deliveries.extend(range.map(|r| r.delivery_count));
            range.is_some()
        });
        if !part.slots.is_empty() {
            parts.push(SharePart { part, deliveries });
        }
    }
    (position.offset, result)
}
