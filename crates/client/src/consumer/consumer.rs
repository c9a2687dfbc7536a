//! [`Consumer`]: what programs use.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, Stream};
use logrun_config::{ClientKind, ConsumerConfig, OffsetReset};
use logrun_io::Io;
use logrun_model::{GenerationId, LeaderEpoch, MemberId, Offset, Str, TimestampMs, TopicPartition};
use logrun_wire::ErrorCode;
use parking_lot::Mutex;

use super::assignor::PartitionAssignor;
use super::commits::Commits;
use super::core::Core;
use super::fetch::Fetcher;
use super::listener::Deaf;
use super::membership::{Callback, Event, GroupMembershipOperation};
use super::offsets::{self, EARLIEST, LATEST, OffsetAndMetadata, OffsetAndTimestamp};
use super::record::{ConsumerRecord, OwnedRecord, Records};
use super::settings;
use super::subscription::{Position, Wanted};
use super::task::{self, Group, Shared};
use super::{RebalanceListener, TopicPattern};
use crate::cluster::Topic;
use crate::config::Config;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::group::{Leaving, Polling, Waker};
use crate::{Client, Result};

/// Reads topics, alone ([`Self::assign`]) or as a member of a group ([`Self::subscribe`]).
///
/// A task in the background keeps the membership alive and fetches ahead; [`Self::poll`] gives out what it has brought
/// and must be called at least every `max.poll.interval.ms`. Dropping a consumer leaves the group without a commit;
/// [`Self::close`] commits first.
pub struct Consumer {
    shared: Arc<Shared>,
    listener: Mutex<Arc<dyn RebalanceListener>>,
    auto_commit: bool,
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("group_id", &self.shared.group.id).finish_non_exhaustive()
    }
}

/// How a consumer is closed (KIP-1092).
#[derive(Clone, Copy, Debug, Default)]
pub struct CloseOptions {
    /// How long it may take; 30 s if `None`.
    pub timeout: Option<Duration>,
    /// Whether it gives up its place in the group.
    pub operation: GroupMembershipOperation,
}

/// Who a consumer is in its group, for a producer's `send_offsets_to_transaction`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerGroupMetadata {
    /// The group.
    pub group_id: Str,
    /// The generation, or the member epoch of the new protocol; `NONE` outside the group.
    pub generation_id: GenerationId,
    /// The member; empty outside the group.
    pub member_id: MemberId,
    /// `group.instance.id`.
    pub group_instance_id: Option<Str>,
}

impl ConsumerGroupMetadata {
    /// Of a consumer that assigns itself: only the group's name counts.
    pub fn of(group_id: impl Into<Str>) -> Self {
        Self {
            group_id: group_id.into(),
            generation_id: GenerationId::NONE,
            member_id: MemberId::EMPTY,
            group_instance_id: None,
        }
    }
}

/// Somebody waits for a position; its end, however it comes.
struct Awaiting<'a>(&'a Shared);

impl Drop for Awaiting<'_> {
    fn drop(&mut self) {
        self.0.core.lock().awaiting -= 1;
    }
}

impl Consumer {
    /// A consumer over the operating system's network. Nothing is connected before it is needed. Must be called inside a
    /// tokio runtime.
    ///
    /// # Errors
    /// If the configuration can't be used.
    pub fn connect(config: &Config) -> Result<Self> {
        Self::new(Client::new(Io::real(), config, ClientKind::Consumer)?, config)
    }

    /// A consumer over `client`'s connections, which may be shared.
    ///
    /// # Errors
    /// If the configuration can't be used.
    pub fn new(client: Client, config: &Config) -> Result<Self> {
        Self::with_assignors(client, config, Vec::new())
    }

    /// As [`Self::new`], with assignors of the program's own, preferred to those of `partition.assignment.strategy`.
    ///
    /// # Errors
    /// If the configuration can't be used.
    pub fn with_assignors(client: Client, config: &Config, more: Vec<Arc<dyn PartitionAssignor>>) -> Result<Self> {
        let options = ConsumerConfig::resolve(config.settings())?;
        let parts = settings::parts(&client, &options, config.get("enable.auto.commit").is_some(), more)?;
        let read_committed = parts.core.manner.read_committed;
        let auto_commit = parts.core.auto_commit_interval_ms.is_some();
        let fetcher = Fetcher::new(parts.fetch);
        let core = Core::new(client.clone(), parts.core, parts.reset, parts.membership, fetcher);
        let group =
            Group { id: parts.group_id, instance_id: parts.instance_id, read_committed, commits: Commits::default() };
        let shared = Arc::new(Shared::new(client.clone(), core, group));
        client.io().tasks.spawn(task::run(shared.clone()));
        Ok(Self { shared, listener: Mutex::new(Arc::new(Deaf)), auto_commit })
    }

    /// The connections that it uses.
    pub fn client(&self) -> &Client {
        &self.shared.client
    }

    /// Subscribes to topics, whose partitions the group divides. Replaces a former subscription.
    ///
    /// # Errors
    /// Without a `group.id`, or while partitions are assigned by hand.
    pub fn subscribe<T: Into<Str>>(&self, topics: impl IntoIterator<Item = T>) -> Result<()> {
        self.subscribe_with(topics, Deaf)
    }

    /// As [`Self::subscribe`], with somebody who is told of the partitions.
    ///
    /// # Errors
    /// As [`Self::subscribe`].
    pub fn subscribe_with<T: Into<Str>>(
        &self,
        topics: impl IntoIterator<Item = T>,
        listener: impl RebalanceListener,
    ) -> Result<()> {
        self.want(Wanted::Topics(topics.into_iter().map(Into::into).collect()), listener)
    }

    /// Subscribes to all topics whose names match, now or later (at the latest after `metadata.max.age.ms`).
    ///
    /// # Errors
    /// As [`Self::subscribe`].
    pub fn subscribe_pattern(&self, pattern: TopicPattern, listener: impl RebalanceListener) -> Result<()> {
        self.want(Wanted::Pattern(pattern), listener)
    }

    /// Subscribes to all topics that match an expression in RE2 syntax, which the broker evaluates. Needs
    /// `group.protocol=consumer`.
    ///
    /// # Errors
    /// As [`Self::subscribe`]; a broker that refuses the expression fails the next poll.
    pub fn subscribe_broker_pattern(&self, expression: &str, listener: impl RebalanceListener) -> Result<()> {
        if !self.shared.core.lock().is_modern() {
            let sentence = "a pattern that the broker evaluates needs group.protocol=consumer";
            return Err(Error::Invalid(sentence.to_owned()));
        }
        self.want(Wanted::BrokerPattern(expression.into()), listener)
    }

    fn want(&self, wanted: Wanted, listener: impl RebalanceListener) -> Result<()> {
        if self.shared.group.id.is_none() {
            let sentence = "to subscribe, a consumer needs a group.id; to read without a group, assign partitions";
            return Err(Error::Invalid(sentence.to_owned()));
        }
        self.shared.change(|core, now| {
            if core.subscription.wanted == Wanted::Partitions {
                let sentence = "partitions are assigned by hand: unsubscribe first, then subscribe to topics";
                return Err(Error::Invalid(sentence.to_owned()));
            }
            *self.listener.lock() = Arc::new(listener);
            core.subscribe(now, wanted);
            Ok(())
        })
    }

    /// Reads exactly these partitions, without a group's help; a `group.id` is then only the name that commits go under.
    /// Replaces a former assignment; partitions that were in it keep their positions.
    ///
    /// # Errors
    /// While subscribed to topics.
    pub fn assign(&self, partitions: impl IntoIterator<Item = TopicPartition>) -> Result<()> {
        let partitions: BTreeSet<TopicPartition> = partitions.into_iter().collect();
        self.shared.change(|core, _| {
            if core.subscription.is_group_managed() {
                let sentence = "topics are subscribed to: unsubscribe first, then assign partitions";
                return Err(Error::Invalid(sentence.to_owned()));
            }
            core.assign(&partitions);
            Ok(())
        })
    }

    /// Gives up all topics and partitions, and the place in the group. Waits until the listener has been told.
    ///
    /// # Errors
    /// None so far.
    pub async fn unsubscribe(&self) -> Result<()> {
        self.leave(GroupMembershipOperation::Default, self.shared.client.deadline(None)).await
    }

    async fn leave(&self, operation: GroupMembershipOperation, deadline: Deadline) -> Result<()> {
        let _leaving = Leaving::of(&self.shared);
        self.shared.change(|core, now| core.unsubscribe(now, operation));
        loop {
            let changed = self.shared.to_app.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            self.call_back().await;
            if self.shared.core.lock().is.gone {
                return Ok(());
            }
            if !self.shared.wait(changed, deadline).await {
                return Err(deadline.missed("leaving the group", None));
            }
        }
    }

    /// Tells the listener what is to be told. If that is cut short it is told again.
    async fn call_back(&self) {
        loop {
            let Some(callback) = self.shared.core.lock().callbacks.front().cloned() else { return };
            let listener = self.listener.lock().clone();
            let list = |partitions: &BTreeSet<TopicPartition>| partitions.iter().cloned().collect::<Vec<_>>();
            match &callback {
                Callback::Revoked(partitions) => {
                    if self.auto_commit {
                        self.commit_before_revocation(partitions).await;
                    }
                    listener.on_revoked(self, &list(partitions)).await;
                }
                Callback::Lost(partitions) => listener.on_lost(self, &list(partitions)).await,
                Callback::Assigned(partitions) => listener.on_assigned(self, &list(partitions)).await,
            }
            self.shared.change(|core, now| {
                core.callbacks.pop_front();
                core.called_back(now, &callback);
            });
        }
    }

    async fn commit_before_revocation(&self, partitions: &BTreeSet<TopicPartition>) {
        let mut offsets = self.shared.core.lock().consumed();
        offsets.retain(|tp, _| partitions.contains(tp));
        let timeout = Some(self.shared.client.request_timeout());
        if let Err(e) = self.commit_within(&offsets, timeout).await {
            tracing::warn!("offsets were not committed before their partitions were given up: {e}");
        }
    }

    /// Gives out records, waiting at most `timeout` for the first ones; at most `max.poll.records`. What it gave out
    /// before counts as processed: that is what is committed. The listener is told of partitions in here.
    ///
    /// # Errors
    /// What the application must hear: that it may not read, that a position is gone, that a record is damaged,
    /// [`Error::Woken`]. Polling may go on after any of them.
    pub async fn poll(&self, timeout: Duration) -> Result<Records> {
        let deadline = self.shared.client.deadline(Some(timeout));
        let _polling = {
            let mut core = self.shared.core.lock();
            if core.is.polling {
                return Err(Error::Invalid("another poll is under way on this consumer".to_owned()));
            }
            if core.subscription.wanted == Wanted::Nothing {
                return Err(Error::Invalid(
                    "the consumer is not subscribed to any topics or assigned any partitions".to_owned(),
                ));
            }
            core.is.polling = true;
            if core.polled(self.shared.now()) {
                self.shared.to_task.notify_one();
            }
            Polling(&self.shared)
        };
        let mut told = false;
        loop {
            let changed = self.shared.to_app.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            self.call_back().await;
            {
                let mut core = self.shared.core.lock();
                if std::mem::take(&mut core.is.woken) {
                    return Err(Error::Woken);
                }
                if let Some(e) = core.next_error() {
                    return Err(e);
                }
                let records = core.take();
                let has_room = core.fetcher.buffer.take_room();
                drop(core);
                // To wake the task costs more than to give out records: only if it can fetch more now, or if we begin to
                // wait. If each wake-up were answered, somebody who waits for a position would have both run in circles.
                let waits = records.as_ref().map_or(true, Records::is_empty);
                if has_room || waits && !told {
                    told = true;
                    self.shared.to_task.notify_one();
                }
                let records = records?;
                if !records.is_empty() {
                    return Ok(records);
                }
            }
            if !self.shared.wait(changed, deadline).await {
                return Ok(Records::default());
            }
        }
    }

    /// The records of one poll after the other, as a stream that ends never; empty polls are left out.
    pub fn batches(&self) -> impl Stream<Item = Result<Records>> + '_ {
        const WAIT: Duration = Duration::from_secs(60);
        stream::unfold(self, |consumer| async move {
            loop {
                match consumer.poll(WAIT).await {
                    Ok(records) if records.is_empty() => {}
                    result => return Some((result, consumer)),
                }
            }
        })
    }

    /// Record by record, as a stream that ends never. A record counts as processed when the poll after the one that
    /// brought it begins.
    pub fn records(&self) -> impl Stream<Item = Result<OwnedRecord>> + '_ {
        use futures_util::StreamExt;
        self.batches().flat_map(|batch| {
            let list: Vec<Result<OwnedRecord>> = match batch {
                Ok(records) => records.iter().map(|r| Ok(r.to_shared())).collect(),
                Err(e) => vec![Err(e)],
            };
            stream::iter(list)
        })
    }

    /// Ends a poll from elsewhere.
    pub fn waker(&self) -> Waker {
        Waker::of(&self.shared)
    }

    /// The partitions that it has now.
    pub fn assignment(&self) -> BTreeSet<TopicPartition> {
        self.shared.core.lock().subscription.assigned()
    }

    /// The topics that it is subscribed to by name.
    pub fn subscription(&self) -> BTreeSet<Str> {
        match &self.shared.core.lock().subscription.wanted {
            Wanted::Topics(topics) => topics.clone(),
            _ => BTreeSet::new(),
        }
    }

    /// Stops giving out records of these partitions; they stay assigned.
    ///
    /// # Errors
    /// If one is not assigned.
    pub fn pause<'a>(&self, partitions: impl IntoIterator<Item = &'a TopicPartition>) -> Result<()> {
        self.set_paused(partitions, true)
    }

    /// Goes on giving out records of these partitions.
    ///
    /// # Errors
    /// If one is not assigned.
    pub fn resume<'a>(&self, partitions: impl IntoIterator<Item = &'a TopicPartition>) -> Result<()> {
        self.set_paused(partitions, false)
    }

    fn set_paused<'a>(&self, partitions: impl IntoIterator<Item = &'a TopicPartition>, paused: bool) -> Result<()> {
        self.shared.change(|core, _| {
            for tp in partitions {
                core.subscription.get_mut(tp).ok_or_else(|| not_assigned(tp))?.paused = paused;
            }
            Ok(())
        })
    }

    /// The partitions that are paused.
    pub fn paused(&self) -> BTreeSet<TopicPartition> {
        let core = self.shared.core.lock();
        core.subscription.iter().filter(|(_, p)| p.paused).map(|(tp, _)| tp.clone()).collect()
    }

    /// The next record to be given out of this partition is that at `offset`.
    ///
    /// # Errors
    /// If the partition is not assigned, or the offset negative.
    pub fn seek(&self, tp: &TopicPartition, offset: impl Into<OffsetAndMetadata>) -> Result<()> {
        let to: OffsetAndMetadata = offset.into();
        if !to.offset.is_some() {
            return Err(Error::Invalid(format!("{} is no offset to seek to", to.offset)));
        }
        self.shared.change(|core, _| {
            let position = Position { offset: to.offset, epoch: to.leader_epoch };
            if core.seek(tp, position) { Ok(()) } else { Err(not_assigned(tp)) }
        })
    }

    /// Begins these partitions anew; all that are assigned if the list is empty.
    ///
    /// # Errors
    /// If one is not assigned.
    pub fn seek_to_beginning<'a>(&self, partitions: impl IntoIterator<Item = &'a TopicPartition>) -> Result<()> {
        self.reset(partitions, OffsetReset::Earliest)
    }

    /// Goes to the end of these partitions; of all that are assigned if the list is empty.
    ///
    /// # Errors
    /// If one is not assigned.
    pub fn seek_to_end<'a>(&self, partitions: impl IntoIterator<Item = &'a TopicPartition>) -> Result<()> {
        self.reset(partitions, OffsetReset::Latest)
    }

    fn reset<'a>(&self, partitions: impl IntoIterator<Item = &'a TopicPartition>, to: OffsetReset) -> Result<()> {
        let mut list: Vec<TopicPartition> = partitions.into_iter().cloned().collect();
        self.shared.change(|core, _| {
            if list.is_empty() {
                list.extend(core.subscription.assigned());
            }
            for tp in &list {
                if !core.subscription.reset(tp, Some(to)) {
                    return Err(not_assigned(tp));
                }
            }
            Ok(())
        })
    }

    /// The offset of the next record to be given out of this partition, waiting until it is known.
    ///
    /// # Errors
    /// If the partition is not assigned, or the position isn't found in time.
    pub async fn position(&self, tp: &TopicPartition) -> Result<Offset> {
        let deadline = self.shared.client.deadline(None);
        self.shared.change(|core, _| core.awaiting += 1);
        let _awaiting = Awaiting(&self.shared);
        let position = self.shared.until(deadline, |core| {
            let Some(p) = core.subscription.get(tp) else { return Some(Err(not_assigned(tp))) };
            if let Some(position) = p.known() {
                return Some(Ok(position.offset));
            }
            if let Some(e) = core.next_error() {
                return Some(Err(e));
            }
            None
        });
        position.await.unwrap_or_else(|| Err(deadline.missed(&format!("the position of {tp}"), None)))
    }

    /// How many records are behind the position, as of the last fetch; `None` before one.
    pub fn current_lag(&self, tp: &TopicPartition) -> Option<i64> {
        self.shared.core.lock().subscription.lag(tp, self.shared.group.read_committed)
    }

    /// Commits what was given out, and waits for it.
    ///
    /// # Errors
    /// If it is not committed; after a rebalance that took the partitions it can't be.
    pub async fn commit_sync(&self) -> Result<()> {
        let offsets = self.shared.core.lock().consumed();
        self.commit_within(&offsets, None).await
    }

    /// Commits these offsets, and waits for it. A committed offset is that of the next record.
    ///
    /// # Errors
    /// As [`Self::commit_sync`].
    pub async fn commit_sync_offsets(&self, offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>) -> Result<()> {
        self.commit_within(offsets, None).await
    }

    /// Commits everything up to this record, this one included, and waits for it.
    ///
    /// # Errors
    /// As [`Self::commit_sync`].
    pub async fn commit_record(&self, record: &ConsumerRecord<'_>) -> Result<()> {
        let next = OffsetAndMetadata {
            offset: record.offset().next(),
            leader_epoch: record.leader_epoch(),
            metadata: Str::EMPTY,
        };
        self.commit_within(&BTreeMap::from([(record.topic_partition().clone(), next)]), None).await
    }

    /// Commits these offsets, or what was given out, without waiting; not tried again, since a later commit would be
    /// overtaken. `done` hears what came of it; of commits that wait for the one before them, one may stand for several.
    ///
    /// # Errors
    /// Without a `group.id`, or while a consumer that has subscribed is no member of its group.
    pub fn commit_async(
        &self,
        offsets: Option<BTreeMap<TopicPartition, OffsetAndMetadata>>,
        done: impl FnOnce(&BTreeMap<TopicPartition, OffsetAndMetadata>, Result<()>) + Send + 'static,
    ) -> Result<()> {
        self.shared.commit_later(offsets, Box::new(done))
    }

    async fn commit_within(
        &self,
        offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>,
        timeout: Option<Duration>,
    ) -> Result<()> {
        let s = &self.shared;
        let deadline = s.client.deadline(timeout);
        s.group.required()?;
        if offsets.is_empty() {
            return Ok(());
        }
        let mut ticket = s.core.lock().ticket()?;
        loop {
            let result = s.commit(&ticket, offsets, deadline).await;
            let Err(e) = result else { return Ok(()) };
            // The epoch of a member of the new protocol moves on while it commits; the next heartbeat tells.
            let wait = s.client.backoff(0);
            if e.code() == Some(ErrorCode::StaleMemberEpoch) && s.now().plus(wait) < deadline.at() {
                s.client.io().clock.sleep(wait).await;
                ticket.identity = s.core.lock().committer()?;
                continue;
            }
            s.change(|core, now| core.commit_failed(now, &e));
            return Err(e);
        }
    }

    /// What the group has committed for these partitions; those without a commit are left out.
    ///
    /// # Errors
    /// If the coordinator can't be asked in time.
    pub async fn committed(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, OffsetAndMetadata>> {
        let group = self.shared.group.required()?;
        let partitions: Vec<_> = partitions.into_iter().collect();
        let identity = || self.shared.core.lock().identity();
        offsets::committed(&self.shared.client, &group, identity, &partitions, None).await
    }

    /// The first offset of each partition.
    ///
    /// # Errors
    /// If they can't be had in time.
    pub async fn beginning_offsets(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, Offset>> {
        let wanted = partitions.into_iter().map(|tp| (tp, EARLIEST)).collect();
        let found = offsets::list(&self.shared.client, &wanted, false, None).await?;
        Ok(found.into_iter().map(|(tp, o)| (tp, o.offset)).collect())
    }

    /// The offset after the last record of each partition; with `isolation.level=read_committed` after the last that
    /// can be read.
    ///
    /// # Errors
    /// If they can't be had in time.
    pub async fn end_offsets(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, Offset>> {
        let wanted = partitions.into_iter().map(|tp| (tp, LATEST)).collect();
        let found = offsets::list(&self.shared.client, &wanted, self.shared.group.read_committed, None).await?;
        Ok(found.into_iter().map(|(tp, o)| (tp, o.offset)).collect())
    }

    /// The first record of each partition that is as young as its time; `None` if there is none.
    ///
    /// # Errors
    /// If they can't be had in time.
    pub async fn offsets_for_times(
        &self,
        times: impl IntoIterator<Item = (TopicPartition, TimestampMs)>,
    ) -> Result<BTreeMap<TopicPartition, Option<OffsetAndTimestamp>>> {
        let wanted: BTreeMap<_, _> = times.into_iter().collect();
        if let Some((tp, time)) = wanted.iter().find(|(_, t)| t.get() < 0) {
            return Err(Error::Invalid(format!("{time} is no time to look for in {tp}")));
        }
        let found = offsets::list(&self.shared.client, &wanted, self.shared.group.read_committed, None).await?;
        Ok(found.into_iter().map(|(tp, o)| (tp, o.offset.is_some().then_some(o))).collect())
    }

    /// A topic and its partitions.
    ///
    /// # Errors
    /// If there is no such topic, or it can't be had in time.
    pub async fn partitions_for(&self, topic: &str) -> Result<Arc<Topic>> {
        self.shared.client.topic(topic, false, None).await
    }

    /// Who it is in its group.
    ///
    /// # Errors
    /// Without a `group.id`.
    pub fn group_metadata(&self) -> Result<ConsumerGroupMetadata> {
        let identity = self.shared.core.lock().identity();
        Ok(ConsumerGroupMetadata {
            group_id: self.shared.group.required()?,
            generation_id: identity.generation,
            member_id: identity.member_id,
            group_instance_id: self.shared.group.instance_id.clone(),
        })
    }

    /// Asks the group to be divided anew. Of the classic protocol.
    pub fn enforce_rebalance(&self) {
        self.shared.change(|core, now| core.member(now, Event::Rejoin("rebalance enforced by user")));
    }

    /// Commits what was given out (with `enable.auto.commit`), tells the listener that the partitions go, leaves the
    /// group and ends.
    ///
    /// # Errors
    /// If the last commit fails; the consumer is closed all the same.
    pub async fn close(self, options: CloseOptions) -> Result<()> {
        let timeout = options.timeout.unwrap_or(Duration::from_secs(30));
        let deadline = self.shared.client.deadline(Some(timeout));
        let mut result = Ok(());
        if self.auto_commit {
            let offsets = self.shared.core.lock().consumed();
            result = self.commit_within(&offsets, Some(timeout)).await;
        }
        // Those that nobody waits for, too, before the member goes.
        self.shared.until(deadline, |core| (core.open_commits == 0).then_some(())).await;
        self.shared.core.lock().is.closing = true;
        let left = self.leave(options.operation, deadline).await;
        self.shared.change(|core, _| core.is.gone = true);
        // The task ends in the background, if it can't in time.
        self.shared.until(deadline, |core| core.is.ended.then_some(())).await;
        result.and(left)
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.shared.change(|core, now| {
            if !core.is.closing {
                core.abandoned = true;
                core.is.closing = true;
                core.unsubscribe(now, GroupMembershipOperation::Default);
            }
        });
    }
}

fn not_assigned(tp: &TopicPartition) -> Error {
    Error::Invalid(format!("{tp} is not assigned to this consumer"))
}

impl From<i64> for OffsetAndMetadata {
    fn from(offset: i64) -> Self {
        Self { offset: Offset(offset), leader_epoch: LeaderEpoch::NONE, metadata: Str::EMPTY }
    }
}
