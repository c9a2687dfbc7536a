//! Partitions are opened by their first use, and closed again when nobody has used them for long.
//!
//! | a partition is | and then | it becomes |
//! |---|---|---|
//! | closed | it is asked for: by a request, its coordinator, a recovery, retention | busy, then online |
//! | busy | it is asked for | busy: whoever asks waits |
//! | online | unused for `logrun.partition.idle.close.ms`, nothing under way | busy, then closed; online if it can't be |
//!
//! So a start reads no log, whatever lies in the directories. Opening runs on threads that may wait for the disk, one
//! for each partition, and holds no lock that another partition needs. After a crash the partitions that nobody asks
//! for are recovered in the background, one by one, so that no recovery point stays old.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use logrun_log::LogError;
use logrun_model::{PartitionIndex, TopicIdPartition, TopicPartition};
use logrun_wire::ErrorCode;
use parking_lot::Mutex;
use tracing::{error, info};

use crate::Broker;
use crate::errors::Failure;
use crate::handlers::FoundTopic;
use crate::partitions::{AtRest, Hosted, Partition, Wanted};
use crate::publish::register;

/// How many partitions of one request are opened at a time.
const OPENERS: usize = 8;

impl Broker {
    /// The partition that a request names. Opens its log if it is not open, and waits for that.
    pub(crate) async fn partition(
        self: &Arc<Self>,
        topic: &FoundTopic,
        partition: PartitionIndex,
    ) -> Result<Arc<Partition>, Failure> {
        let id = topic.partition(partition);
        if let Some(partition) = self.online(id) {
            return Ok(partition);
        }
        match self.open(id).await {
            Some(opened) => opened,
            None if topic.has_partition(partition) => Err(Failure::of(ErrorCode::NotLeaderOrFollower)),
            None => Err(Failure::of(ErrorCode::UnknownTopicOrPartition)),
        }
    }

    /// The partition, if it is open; it is used now.
    fn online(&self, id: TopicIdPartition) -> Option<Arc<Partition>> {
        let partition = self.partitions().online(id)?;
        partition.touch(self.io().clock.now());
        Some(partition)
    }

    /// The partition that a request names, one of `all` that it names: if it must be opened, the others that must be
    /// are opened beside it, since one after the other each would wait for the disk. `all` is taken by the first that is
    /// not open: a request whose partitions are nowhere here would look through all of them for each.
    pub(crate) async fn partition_among<I: Iterator<Item = TopicIdPartition>>(
        self: &Arc<Self>,
        topic: &FoundTopic,
        partition: PartitionIndex,
        all: &mut Option<impl FnOnce() -> I>,
    ) -> Result<Arc<Partition>, Failure> {
        if let Some(partition) = self.online(topic.partition(partition)) {
            return Ok(partition);
        }
        if let Some(all) = all.take() {
            self.open_together(all()).await;
        }
        self.partition(topic, partition).await
    }

    /// Opens those partitions of a request that are not open, several at a time. What goes wrong is found again when
    /// they are asked for.
    async fn open_together(self: &Arc<Self>, ids: impl Iterator<Item = TopicIdPartition>) {
        let closed = self.partitions().closed_among(ids);
        if closed.len() < 2 {
            return;
        }
        let openers = OPENERS.min(closed.len());
        let queue = Mutex::new(closed.into_iter());
        let next = || queue.lock().next();
        join_all((0..openers).map(|_| async {
            while let Some(id) = next() {
                let _ = self.open(id).await;
            }
        }))
        .await;
    }

    /// The partition, opened if need be; `None` if it is not here.
    pub(crate) async fn open(self: &Arc<Self>, id: TopicIdPartition) -> Option<Result<Arc<Partition>, Failure>> {
        loop {
            match self.partitions().want(id) {
                Wanted::Online(partition) => {
                    partition.touch(self.io().clock.now());
                    return Some(Ok(partition));
                }
                Wanted::Open(rest) => {
                    let broker = self.clone();
                    let opened = self.io().tasks.blocking(move || open(&broker, id, rest)).await;
                    return Some(opened.inspect(|partition| partition.touch(self.io().clock.now())));
                }
                // It is looked at again, whatever came of it.
                Wanted::Wait(done) => drop(done.await),
                Wanted::Offline(dir) => return Some(Err(offline(&dir))),
                Wanted::Absent => return None,
            }
        }
    }

    /// Recovers the partitions that a crash has left and that nobody has asked for, one by one, half of the time.
    pub(crate) async fn recover_unclean(self: &Arc<Self>) {
        let unclean = self.partitions().closed_where(|rest| rest.on_disk && !rest.clean);
        let begun = self.io().clock.now();
        let (count, mut failed) = (unclean.len(), 0);
        for id in unclean {
            if self.is_closing() {
                return;
            }
            let began = self.io().clock.now();
            let broker = self.clone();
            failed += usize::from(!self.io().tasks.blocking(move || broker.recover(id)).await);
            self.io().clock.sleep(self.io().clock.now().since(began)).await;
        }
        if count > 0 {
            let ms = self.io().clock.now().since(begun).as_millis();
            info!(partitions = count, failed, ms, "recovered what nobody has asked for");
        }
    }

    /// Recovers a closed partition. One that has producers stays open for a while: what they had in flight when the
    /// process ended will come again, and a log that was closed remembers only the last batch of each.
    fn recover(self: &Arc<Self>, id: TopicIdPartition) -> bool {
        let now = self.io().clock.now();
        self.visit(id, |partition| {
            if partition.has_producers() {
                partition.touch(now);
            }
            partition.flush()
        })
    }

    /// Opens a closed partition, does `work`, and closes it again unless somebody has asked for it meanwhile. Waits for
    /// the disk. Returns whether all went well; what did not is logged, and the directory hears of it if it will not pass.
    pub(crate) fn visit(
        self: &Arc<Self>,
        id: TopicIdPartition,
        work: impl FnOnce(&Partition) -> Result<(), LogError>,
    ) -> bool {
        // Whoever is at work on it does what is needed.
        let Wanted::Open(rest) = self.partitions().want(id) else { return true };
        let Ok(partition) = open(self, id, rest) else { return false };
        let done = work(&partition);
        if let Err(e) = &done {
            error!(partition = %partition.name, "a closed log could not be looked after: {e}");
            if !e.is_retriable() {
                partition.directory().saw(e);
            }
        }
        drop(partition);
        self.rest(id, NEVER) && done.is_ok()
    }

    /// Closes the logs of partitions that nobody uses, and takes descriptors from those that are seldom used. Waits for
    /// the disk.
    pub(crate) fn close_unused(self: &Arc<Self>) {
        let idle_ms = self.config().logs.partition_idle_close_ms;
        let now_ms = self.io().clock.now().as_ms();
        for partition in self.partitions().all_online() {
            if self.is_closing() {
                return;
            }
            let unused_ms = now_ms.saturating_sub(partition.last_used_ms());
            let id = partition.id;
            let keep_ms = if partition.has_producers() { idle_ms.max(RETRY_MS) } else { idle_ms };
            if unused_ms >= keep_ms {
                drop(partition);
                self.rest(id, now_ms - keep_ms);
            } else if unused_ms >= RELEASE_AFTER.as_millis() as i64 {
                partition.release_idle();
            }
        }
    }

    /// Closes a partition if nothing is under way in it and nobody has used it since `unused_since_ms`. Returns whether
    /// the log could be closed, if it was to be.
    fn rest(self: &Arc<Self>, id: TopicIdPartition, unused_since_ms: i64) -> bool {
        let Some(partition) = self.partitions().take_to_rest(id, unused_since_ms) else { return true };
        let before = partition.at_rest();
        match partition.close_to_rest(self.now()) {
            Ok(rest) => {
                self.partitions().settled(id, Hosted::Closed(rest));
                true
            }
            Err(e) => {
                error!(partition = %partition.name, "the log can't be closed: {e}");
                partition.directory().saw(&e);
                if partition.is_online() {
                    // What the journal has and the log's files have not, only this log and a new start can tell.
                    put_online(self, &Arc::new(partition));
                } else {
                    // Its next opening checks it.
                    self.partitions().settled(id, Hosted::Closed(before));
                }
                false
            }
        }
    }
}

/// For so long an unused partition keeps its descriptors.
const RELEASE_AFTER: Duration = Duration::from_secs(30);

/// For so long a producer may send a batch again (`delivery.timeout.ms` is two minutes unless somebody changes it), and
/// the open log knows its last five batches, a closed one only the very last.
const RETRY_MS: i64 = 300_000;
/// The time of the last use of a partition that nobody has used.
const NEVER: i64 = i64::MIN;

/// What a client is told of a partition whose directory has failed.
fn offline(dir: &std::path::Path) -> Failure {
    Failure::with(ErrorCode::KafkaStorageError, format!("the log directory {} has failed", dir.display()))
}

/// Leaves no partition busy for ever, whatever happens to the thread.
struct Opening<'a> {
    broker: &'a Broker,
    id: TopicIdPartition,
    rest: AtRest,
    ended: bool,
}

impl Opening<'_> {
    fn end(mut self, hosted: Hosted) {
        self.ended = true;
        self.broker.partitions().settled(self.id, hosted);
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.broker.partitions().settled(self.id, Hosted::Offline(Box::new((PathBuf::new(), self.rest))));
        }
    }
}

/// Opens the log of a partition that was marked as busy for it, tells it what the metadata says, and puts it in place.
fn open(broker: &Arc<Broker>, id: TopicIdPartition, rest: AtRest) -> Result<Arc<Partition>, Failure> {
    let mut opening = Opening { broker, id, rest, ended: false };
    let Some(topic) = broker.image().topics.by_id(id.topic_id).cloned() else {
        // Its deletion waits for us.
        opening.end(Hosted::Closed(rest));
        return Err(Failure::of(ErrorCode::UnknownTopicOrPartition));
    };
    let name = TopicPartition::new(topic.name.clone(), id.partition);
    let settings = broker.settings_of(&topic.name);
    let opened = match broker.logs().open(id, &name, &rest, settings.log.clone(), broker.now()) {
        Ok(opened) => opened,
        Err(e) => {
            error!(partition = %name, "the log can't be opened: {e}");
            let directory = broker.logs().directory_of(id);
            directory.iter().for_each(|d| d.saw(&e));
            let dir = directory.map(|d| d.path.clone()).unwrap_or_default();
            opening.end(if e.is_retriable() { Hosted::Closed(rest) } else { Hosted::Offline(Box::new((dir, rest))) });
            return Err(e.into());
        }
    };
    let partition = Arc::new(Partition::new(id, name, broker.io().clone(), broker.node_id(), opened, settings));
    put_online(broker, &partition);
    opening.ended = true;
    // Whoever looked after the failed directory may not have seen it.
    let directory = partition.directory();
    if !directory.is_online() {
        broker.take_offline(&partition);
        return Err(offline(&directory.path));
    }
    Ok(partition)
}

/// Tells a partition, which is marked as busy, what the metadata says, and puts it in place.
fn put_online(broker: &Arc<Broker>, partition: &Arc<Partition>) {
    let id = partition.id;
    loop {
        if let Some(topic) = broker.image().topics.by_id(id.topic_id)
            && let Some(registration) = topic.partition(id.partition)
        {
            register(broker, topic, partition, registration);
        }
        if broker.partitions().opened(id, partition) {
            return;
        }
        partition.configure(broker.now(), broker.settings_of(&partition.name.topic));
    }
}
