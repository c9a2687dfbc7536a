//! [`Core`]: the state of one consumer, between the application that polls and the task that talks to brokers.
//!
//! It stands behind a lock that is never held over a wait. [`Core::turn`] says what work is due, [`Core::done`] takes what
//! came of it; both sides put the machines' effects into force here. Nothing in it does IO.

mod positions;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use logrun_config::OffsetReset;
use logrun_model::{
    GenerationId, LeaderEpoch, MemberId, Monotonic, NodeId, Now, Str, TimestampMs, TopicPartition, Uuid,
};
use logrun_wire::ErrorCode;
use logrun_wire::messages::FetchResponse;

use super::assignor::{MemberSubscription, PartitionAssignor, PartitionRacks, TopicRacks};
use super::fetch::fetched::Manner;
use super::fetch::{Fetcher, Planned};
use super::membership::{
    Callback, Effect, Event, GroupMembershipOperation, Identity, Membership, Reply, Request, Wish,
};
use super::offsets::{OffsetAndMetadata, OffsetAndTimestamp};
use super::record::{Part, Records};
use super::subscription::{Place, Position, Subscription, Wanted};
use crate::Client;
use crate::cluster::{Broker, Cluster, LeaderHint};
use crate::error::Error;
use crate::group::{Flags, MetadataRetry, Unnamed, refused};

/// What the core is configured with.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub group_id: Option<Str>,
    pub auto_commit_interval_ms: Option<i32>,
    pub max_poll_records: usize,
    pub manner: Manner,
    pub allow_auto_create_topics: bool,
    pub exclude_internal_topics: bool,
    pub assignors: Vec<Arc<dyn PartitionAssignor>>,
}

/// A commit that was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// Commits are numbered in the order in which they were decided.
    pub number: u64,
    /// Who the member was then. A later generation may not have the partitions.
    pub identity: Identity,
}

/// What the consumer's task is to do.
#[derive(Debug)]
pub(crate) enum Work {
    /// To the group's coordinator.
    Send(u64, Request),
    ForgetCoordinator,
    Fetch(Planned),
    /// Ask for committed offsets.
    Committed(Vec<TopicPartition>),
    /// Find positions by time, for these lives of the partitions.
    List(BTreeMap<TopicPartition, u64>, BTreeMap<TopicPartition, TimestampMs>),
    /// Ask whether positions still exist.
    Validate(BTreeMap<TopicPartition, Position>),
    Commit(Ticket, BTreeMap<TopicPartition, OffsetAndMetadata>),
    /// Divide, as soon as the topics' metadata is known.
    Assign {
        protocol: Str,
        members: Vec<(MemberId, MemberSubscription)>,
    },
    /// Learn the names of topics.
    NameTopics(BTreeSet<Uuid>),
    UpdateMetadata,
    Hints(Str, Vec<LeaderHint>, Vec<Broker>),
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Done {
    Answered(u64, Reply),
    /// Nobody waits for it.
    Nothing,
    Fetched(NodeId, Result<FetchResponse, Error>),
    Committed(Vec<TopicPartition>, Result<BTreeMap<TopicPartition, OffsetAndMetadata>, Error>),
    Listed(BTreeMap<TopicPartition, u64>, BTreeMap<TopicPartition, Result<OffsetAndTimestamp, Error>>),
    Validated(BTreeMap<TopicPartition, Position>, BTreeMap<TopicPartition, Result<Position, Error>>),
    AutoCommitted(Result<(), Error>),
    Assign {
        protocol: Str,
        members: Vec<(MemberId, MemberSubscription)>,
    },
    Named(Vec<(Uuid, Str)>),
}

/// See the module.
pub(crate) struct Core {
    pub settings: Settings,
    pub subscription: Subscription,
    pub membership: Option<Membership>,
    pub fetcher: Fetcher,
    pub callbacks: VecDeque<Callback>,
    pub errors: VecDeque<Error>,
    pub is: Flags,
    /// How many wait for a position: each turn of the task may have brought it.
    pub awaiting: usize,
    /// How many commits that nobody waits for have no fate.
    pub open_commits: usize,
    /// Nobody will poll any more: there is nobody to be told of partitions.
    pub abandoned: bool,
    client: Client,
    cluster: Arc<Cluster>,
    work: Vec<Work>,
    effects: Vec<Effect>,
    auto_commit_due: Option<Monotonic>,
    auto_committing: bool,
    /// The topics of the group, with their partitions, as the leader has divided them.
    divided: Option<BTreeMap<Str, usize>>,
    unnamed: Unnamed,
    wants_all_topics: bool,
    /// A topic that is wanted is not known.
    missing: bool,
    /// A partition's leader is not known.
    missing_leader: bool,
    metadata: MetadataRetry,
    last_ticket: u64,
}

impl AsMut<Flags> for Core {
    fn as_mut(&mut self) -> &mut Flags {
        &mut self.is
    }
}

impl Core {
    pub fn new(
        client: Client,
        settings: Settings,
        reset: Option<OffsetReset>,
        membership: Option<Membership>,
        fetcher: Fetcher,
    ) -> Self {
        Self {
            subscription: Subscription::new(reset),
            settings,
            membership,
            fetcher,
            callbacks: VecDeque::new(),
            errors: VecDeque::new(),
            is: Flags::default(),
            awaiting: 0,
            open_commits: 0,
            abandoned: false,
            cluster: client.cluster(),
            client,
            work: Vec::new(),
            effects: Vec::new(),
            auto_commit_due: None,
            auto_committing: false,
            divided: None,
            unnamed: Unnamed::default(),
            wants_all_topics: false,
            missing: false,
            missing_leader: false,
            metadata: MetadataRetry::default(),
            last_ticket: 0,
        }
    }

    pub fn is_modern(&self) -> bool {
        matches!(self.membership, Some(Membership::Modern(_)))
    }

    /// Sets a position. False if the partition is not assigned.
    pub fn seek(&mut self, tp: &TopicPartition, position: Position) -> bool {
        let assigned = self.subscription.seek(tp, position);
        self.leader_seen(tp);
        assigned
    }

    /// Whether the application has something to hear.
    pub fn has_news(&self) -> bool {
        self.awaiting > 0
            || !self.errors.is_empty()
            || self.subscription.iter().any(|(_, p)| p.place == Place::Missing)
            || !self.callbacks.is_empty()
            || self.is.woken
            || (self.is.gone && self.is.leaving > 0)
            || self.fetcher.buffer.any(|f| self.can_be_taken(f))
    }

    /// Whether records may be given out now, or are to be dropped. Those of a partition that is paused, or whose
    /// position is in doubt, wait: whoever were woken for them would ask again at once, for ever.
    fn can_be_taken(&self, fetched: &super::fetch::fetched::Fetched) -> bool {
        let p = self.subscription.get(&fetched.tp).filter(|p| p.incarnation == fetched.incarnation);
        p.is_none_or(super::subscription::Partition::is_fetchable)
    }

    /// Who the member is, for commits.
    pub fn identity(&self) -> Identity {
        let inside = self.membership.as_ref().filter(|_| self.subscription.wanted != Wanted::Partitions);
        let inside = inside.map(Membership::identity).filter(|i| i.generation.is_some());
        inside.unwrap_or(Identity { member_id: MemberId::EMPTY, generation: GenerationId::NONE })
    }

    /// Who commits now. Kafka's `CommitFailedException`.
    ///
    /// # Errors
    /// If the consumer should be a member and is none: the group may have given its partitions to another, and would take
    /// a commit of nobody while it has no members.
    pub fn committer(&self) -> Result<Identity, Error> {
        let identity = self.identity();
        if self.subscription.is_group_managed() && !identity.generation.is_some() {
            let message = "the consumer is not a member of its group now, so it can't commit".into();
            return Err(Error::Broker { code: ErrorCode::UnknownMemberId, message: Some(message) });
        }
        Ok(identity)
    }

    /// Gives an event to the membership and puts its effects into force.
    pub fn member(&mut self, now: Monotonic, event: Event) {
        let Some(membership) = &mut self.membership else { return };
        let mut effects = std::mem::take(&mut self.effects);
        membership.on(now, event, &mut effects);
        for effect in effects.drain(..) {
            self.apply(effect);
        }
        self.effects = effects;
    }

    fn apply(&mut self, effect: Effect) {
        tracing::trace!(?effect, "membership");
        match effect {
            Effect::Send(number, request) => self.work.push(Work::Send(number, request)),
            Effect::ForgetCoordinator => self.work.push(Work::ForgetCoordinator),
            Effect::Call(callback) => {
                if let Callback::Revoked(taken) | Callback::Lost(taken) = &callback {
                    for tp in taken {
                        if let Some(p) = self.subscription.get_mut(tp) {
                            p.held_back = true;
                        }
                    }
                }
                self.callbacks.push_back(callback);
            }
            Effect::Has(partitions) => {
                let before = self.subscription.assigned();
                self.subscription.assign(&partitions);
                for tp in partitions.difference(&before) {
                    // Until the application knows of it.
                    if let Some(p) = self.subscription.get_mut(tp) {
                        p.held_back = true;
                    }
                }
                self.want(partitions.iter().map(|tp| &*tp.topic));
            }
            Effect::MakeAssignment { protocol, members } => {
                self.want(members.iter().flat_map(|(_, s)| s.topics.iter().map(|t| &**t)));
                self.work.push(Work::Assign { protocol, members });
            }
            Effect::NameTopics(ids) => self.work.extend(self.unnamed.want(ids).map(Work::NameTopics)),
            Effect::Fail(e) => self.errors.push_back(e),
            Effect::Gone => {
                self.unnamed.clear();
                self.is.gone = true;
            }
        }
    }

    fn want<'a>(&self, topics: impl IntoIterator<Item = &'a str>) {
        self.client.want_topics(topics, self.settings.allow_auto_create_topics);
    }

    /// The application has begun a poll. Says whether that makes work for the task.
    pub fn polled(&mut self, now: Monotonic) -> bool {
        self.member(now, Event::Polled);
        self.auto_commit(now);
        !self.work.is_empty()
    }

    fn auto_commit(&mut self, now: Monotonic) {
        let Some(interval_ms) = self.settings.auto_commit_interval_ms else { return };
        let due = *self.auto_commit_due.get_or_insert(now.plus_ms(interval_ms.into()));
        if now < due || self.auto_committing {
            return;
        }
        self.auto_commit_due = Some(now.plus_ms(interval_ms.into()));
        let rebalancing = self.membership.as_ref().is_some_and(Membership::is_rebalancing);
        let offsets = self.consumed();
        if !(offsets.is_empty() || rebalancing && self.subscription.is_group_managed())
            && let Ok(ticket) = self.ticket()
        {
            self.auto_committing = true;
            self.work.push(Work::Commit(ticket, offsets));
        }
    }

    /// Decides a commit.
    ///
    /// # Errors
    /// As [`Self::committer`].
    pub fn ticket(&mut self) -> Result<Ticket, Error> {
        let identity = self.committer()?;
        self.last_ticket += 1;
        Ok(Ticket { number: self.last_ticket, identity })
    }

    /// What was given out, for a commit.
    pub fn consumed(&self) -> BTreeMap<TopicPartition, OffsetAndMetadata> {
        let positions = self.subscription.consumed().into_iter();
        let offset = |p: Position| OffsetAndMetadata { offset: p.offset, leader_epoch: p.epoch, metadata: Str::EMPTY };
        positions.map(|(tp, p)| (tp, offset(p))).collect()
    }

    /// Sets what the application wants.
    pub fn subscribe(&mut self, now: Monotonic, wanted: Wanted) {
        let all = matches!(wanted, Wanted::Pattern(_));
        if all != self.wants_all_topics {
            self.wants_all_topics = all;
            self.client.want_all_topics(all);
        }
        if let Wanted::Topics(topics) = &wanted {
            self.want(topics.iter().map(|t| &**t));
        }
        self.subscription.wanted = wanted;
        self.is.gone = false;
        self.wish(now);
    }

    /// Tells the membership what topics are wanted now.
    fn wish(&mut self, now: Monotonic) {
        let wish = match &self.subscription.wanted {
            Wanted::Topics(topics) => Wish { topics: topics.clone(), regex: None },
            Wanted::BrokerPattern(regex) => Wish { topics: BTreeSet::new(), regex: Some(regex.clone()) },
            Wanted::Pattern(pattern) => {
                // Before any metadata nothing can be said.
                if self.cluster.brokers.is_empty() {
                    return;
                }
                let hidden = self.settings.exclude_internal_topics;
                let topics = self.cluster.topics().filter(|t| t.error.is_none() && !(hidden && t.is_internal));
                let topics = topics.filter(|t| pattern.matches(&t.name)).map(|t| t.name.clone()).collect();
                Wish { topics, regex: None }
            }
            Wanted::Nothing | Wanted::Partitions => return,
        };
        self.member(now, Event::Subscribed(wish));
    }

    /// Has these partitions without a group's help.
    pub fn assign(&mut self, partitions: &BTreeSet<TopicPartition>) {
        self.subscription.wanted = Wanted::Partitions;
        self.is.gone = false;
        self.subscription.assign(partitions);
        self.want(partitions.iter().map(|tp| &*tp.topic));
        self.drop_stale();
    }

    /// Wants nothing any more.
    pub fn unsubscribe(&mut self, now: Monotonic, operation: GroupMembershipOperation) {
        let managed = self.subscription.is_group_managed();
        if self.wants_all_topics {
            self.wants_all_topics = false;
            self.client.want_all_topics(false);
        }
        self.subscription.wanted = Wanted::Nothing;
        if managed && self.membership.is_some() {
            self.member(now, Event::Unsubscribed(operation));
        } else {
            self.subscription.assign(&BTreeSet::new());
            self.is.gone = true;
        }
    }

    /// The application has been told.
    pub fn called_back(&mut self, now: Monotonic, callback: &Callback) {
        if let Callback::Assigned(added) = callback {
            for tp in added {
                if let Some(p) = self.subscription.get_mut(tp) {
                    p.held_back = false;
                }
            }
        }
        self.member(now, Event::CalledBack);
    }

    /// Another picture of the cluster.
    pub fn cluster_changed(&mut self, now: Monotonic, cluster: Arc<Cluster>) {
        self.cluster = cluster;
        let assigned: Vec<TopicPartition> = self.subscription.iter().map(|(tp, _)| tp.clone()).collect();
        for tp in assigned {
            if let Some(p) = self.cluster.partition(&tp.topic, tp.partition) {
                self.subscription.leader_seen(&tp, LeaderEpoch(p.leader_epoch));
            }
        }
        if let Wanted::Topics(topics) = &self.subscription.wanted {
            self.errors.extend(refused(&self.cluster, topics));
        }
        if matches!(self.subscription.wanted, Wanted::Pattern(_)) {
            self.wish(now);
        }
        if let Some(divided) = &self.divided
            && self.membership.as_ref().is_some_and(Membership::is_leader)
            && self.counts(divided.keys()) != *divided
        {
            self.member(now, Event::Rejoin("cached metadata has changed"));
        }
        self.missing = match &self.subscription.wanted {
            Wanted::Topics(topics) => {
                topics.iter().any(|t| self.cluster.topic(t).is_none_or(|t| t.error.is_retriable()))
            }
            _ => false,
        };
    }

    fn counts<'a>(&self, topics: impl IntoIterator<Item = &'a Str>) -> BTreeMap<Str, usize> {
        let count = |t: &Str| self.cluster.topic(t).filter(|t| t.error.is_none()).map_or(0, |t| t.partitions.len());
        topics.into_iter().map(|t| (t.clone(), count(t))).collect()
    }

    /// Divides the partitions of the members' topics.
    fn divide(&mut self, now: Monotonic, protocol: &Str, members: &[(MemberId, MemberSubscription)]) {
        self.cluster_changed(now, self.client.cluster());
        let topics: BTreeSet<&Str> = members.iter().flat_map(|(_, s)| &s.topics).collect();
        let mut racks = TopicRacks::new();
        for name in &topics {
            let Some(t) = self.cluster.topic(name).filter(|t| t.error.is_none() && !t.partitions.is_empty()) else {
                continue;
            };
            let rack = |id: &NodeId| self.cluster.brokers.get(id)?.rack.clone();
            let partition = |p: &crate::cluster::Partition| PartitionRacks {
                partition: p.index,
                racks: p.replicas.iter().filter_map(rack).collect(),
            };
            racks.insert((*name).clone(), t.partitions.iter().map(partition).collect());
        }
        self.divided = Some(self.counts(topics));
        let assignment = match self.settings.assignors.iter().find(|a| a.name() == &**protocol) {
            Some(assignor) => assignor.assign(&racks, members).into_iter().collect(),
            None => {
                let e = format!("the group has chosen the assignor `{protocol}`, which this consumer doesn't have");
                self.errors.push_back(Error::Invalid(e));
                Vec::new()
            }
        };
        self.member(now, Event::AssignmentMade(assignment));
    }

    /// What is to be done now.
    pub fn turn(&mut self, now: Now) -> Vec<Work> {
        let t = now.monotonic;
        if self.is.polling {
            self.member(t, Event::Polled);
            self.auto_commit(t);
        }
        while self.abandoned
            && let Some(callback) = self.callbacks.pop_front()
        {
            self.called_back(t, &callback);
        }
        if self.membership.as_ref().and_then(Membership::next_deadline).is_some_and(|at| at <= t) {
            self.member(t, Event::DeadlineReached);
        }
        if !self.is.closing {
            self.missing_leader = false;
            self.find_positions(now);
            let (planned, leaderless) = self.fetcher.plan(t, &self.subscription, &self.cluster);
            self.work.extend(planned.into_iter().map(Work::Fetch));
            self.missing_leader |= leaderless;
            if self.metadata.is_due(t, self.missing || self.missing_leader, &self.client) {
                self.work.push(Work::UpdateMetadata);
            }
        }
        std::mem::take(&mut self.work)
    }

    /// When there is something to do without anything happening.
    pub fn next_deadline(&self, now: Monotonic) -> Option<Monotonic> {
        let member = self.membership.as_ref().and_then(Membership::next_deadline);
        let places = self.subscription.iter().filter_map(|(_, p)| match p.place {
            Place::Reset { not_before, asked: false, .. } | Place::Unvalidated { not_before, asked: false } => {
                Some(not_before).filter(|at| *at > now)
            }
            _ => None,
        });
        let commit = self.auto_commit_due.filter(|_| self.is.polling && !self.auto_committing);
        let missing = (self.missing || self.missing_leader) && !self.is.closing;
        let metadata = self.metadata.next_deadline(missing);
        member
            .into_iter()
            .chain(commit)
            .chain(metadata)
            .chain(places)
            .chain(self.fetcher.next_deadline(now, &self.subscription))
            .min()
    }

    /// What the application must hear before any records.
    pub fn next_error(&mut self) -> Option<Error> {
        self.errors.pop_front().or_else(|| {
            let missing = self.subscription.iter().find(|(_, p)| p.place == Place::Missing && !p.held_back);
            missing.map(|(tp, _)| {
                Error::NoPosition(format!("{tp} has no committed offset, and auto.offset.reset is none"))
            })
        })
    }

    /// Takes what came of work.
    pub fn done(&mut self, now: Monotonic, done: Done) {
        tracing::trace!(?done, "done");
        match done {
            Done::Nothing => {}
            Done::Answered(number, reply) => self.member(now, Event::Answered(number, reply)),
            Done::Assign { protocol, members } => self.divide(now, &protocol, &members),
            Done::Named(names) => {
                self.work.extend(self.unnamed.answered(&names).map(Work::NameTopics));
                if !names.is_empty() {
                    self.member(now, Event::TopicsNamed(names));
                }
            }
            Done::Fetched(node, result) => {
                let c = self.fetcher.answered(now, node, result, &mut self.subscription);
                if c.update_metadata {
                    self.work.push(Work::UpdateMetadata);
                }
                self.errors.extend(c.errors);
                let brokers = c.brokers;
                self.work.extend(c.hints.into_iter().map(|(t, hints)| Work::Hints(t, hints, brokers.clone())));
            }
            Done::Committed(asked, result) => self.committed(asked, result),
            Done::Listed(lives, results) => self.listed(now, &lives, results),
            Done::Validated(asked, results) => self.validated(now, &asked, results),
            Done::AutoCommitted(result) => {
                self.auto_committing = false;
                if let Err(e) = result {
                    tracing::warn!("offsets were not committed: {e}");
                    self.commit_failed(now, &e);
                }
            }
        }
    }

    /// A commit was refused because the member is none any more: it joins again.
    pub fn commit_failed(&mut self, now: Monotonic, e: &Error) {
        if matches!(
            e.code(),
            Some(ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration | ErrorCode::RebalanceInProgress)
        ) {
            self.member(now, Event::Rejoin("a commit was refused"));
        }
    }

    /// Forgets fetched records that nobody can ask for any more.
    fn drop_stale(&mut self) {
        let s = &self.subscription;
        let keep = |f: &super::fetch::fetched::Fetched| {
            s.get(&f.tp).is_some_and(|p| p.incarnation == f.incarnation).then_some(false)
        };
        self.fetcher.buffer.drain(keep, |_| true);
    }

    /// Gives out records. An error stands for a partition whose records can't be read; what precedes it comes first.
    pub fn take(&mut self) -> Result<Records, Error> {
        if self.fetcher.buffer.is_empty() {
            return Ok(Records::default());
        }
        let (manner, max) = (self.settings.manner, self.settings.max_poll_records);
        let mut parts: Vec<Part> = Vec::new();
        let mut left = max;
        let mut failed = None;
        let subscription = std::cell::RefCell::new(&mut self.subscription);
        self.fetcher.buffer.drain(
            |f| {
                let s = subscription.borrow();
                let p = s.get(&f.tp).filter(|p| p.incarnation == f.incarnation)?;
                Some(p.is_fetchable())
            },
            |f| {
                let mut s = subscription.borrow_mut();
                let Some(p) = s.get_mut(&f.tp) else { return false };
                let before = parts.len();
                if let Err(e) = f.take(&mut p.position, left, manner, &mut parts) {
                    let message = format!("{} at offset {}: {e}", f.tp, p.position.offset);
                    failed = Some(Error::Broker { code: ErrorCode::CorruptMessage, message: Some(message.into()) });
                    return true;
                }
                let taken: usize = parts[before..].iter().map(|p| p.slots.len()).sum();
                left = left.saturating_sub(taken);
                left == 0
            },
        );
        match failed {
            Some(e) if parts.is_empty() => Err(e),
            // The next poll meets it again.
            _ => {
                // What is given out now must not be committed before the next poll.
                self.is.polling &= parts.is_empty();
                Ok(Records::of(parts))
            }
        }
    }
}
