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

mod answers;
mod settling;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use logrun_model::{Monotonic, NodeId, Str, TopicPartition, Uuid};
use logrun_wire::ErrorCode;
use logrun_wire::messages::{
    ShareAcknowledgeRequest, ShareAcknowledgeResponse, ShareFetchRequest, ShareFetchResponse,
    ShareGroupHeartbeatRequest,
};

use self::settling::{Commit, Held, Pending, Source, runs};
use super::consumer::Acknowledged;
use super::membership::{Effect, Event, Member};
use super::record::{SharePart, ShareRecords};
use super::session::{self, Id, Session};
use crate::Client;
use crate::cluster::{Broker, Cluster, LeaderHint};
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

    /// Whether the application has something to hear.
    pub fn has_news(&self) -> bool {
        !self.errors.is_empty()
            || self.is.woken
            || (self.is.gone && self.is.leaving > 0)
            || !self.fetched.is_empty()
            || !self.renewed.is_empty()
            || self.commits.values().any(|c| c.open == 0)
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
        let metadata = self.metadata.next_deadline(self.missing_leader && !self.is.closing);
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
}
