//! What the producer's handles and its sender have in common.

use std::collections::BTreeMap;

use logrun_model::{Str, TopicPartition};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::accumulator::{Accumulator, NotTaken};
use super::batch::{Callback, Delivery};
use super::partitioner::{Choice, Partitioner, Sticky};
use super::record::Record;
use super::transactions::{Transaction, aborted};
use crate::client::Client;
use crate::cluster::{Cluster, Topic};
use crate::error::Error;

/// What is known of a topic that is written to.
#[derive(Debug)]
struct Written {
    /// The accumulator's queue of each partition.
    queues: Vec<usize>,
    /// Whether each has a leader.
    has_leader: Vec<bool>,
    sticky: Sticky,
}

/// Behind the lock.
#[derive(Debug)]
pub(super) struct State {
    pub(super) accumulator: Accumulator,
    topics: BTreeMap<Str, Written>,
    pub(super) closed: bool,
    pub(super) transaction: Option<Transaction>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) client: Client,
    pub(super) state: Mutex<State>,
    pub(super) acks: i16,
    pub(super) choice: Choice,
    pub(super) partitioner: Option<Box<dyn Partitioner>>,
    /// The sender has something to do.
    pub(super) wake: Notify,
    /// Memory has come free, or something else that a record may have waited for has changed.
    pub(super) memory: Notify,
    /// The sender has ended.
    pub(super) ended: Notify,
}

/// Why a record waits.
pub(super) enum Waits {
    ForTopic,
    ForPartition(i32),
    ForMemory,
    Never(Error),
}

impl Shared {
    /// Tells the fates of batches, without the lock: a callback may use the producer. False if there was none.
    pub(super) fn tell(&self) -> bool {
        let finished = self.state.lock().accumulator.take_finished();
        if finished.is_empty() {
            return false;
        }
        let mut whole = Vec::with_capacity(finished.len());
        for (batch, result) in finished {
            if batch.completion.finish(batch.part(), result) {
                whole.push(batch.number);
            }
        }
        self.state.lock().accumulator.told(whole);
        true
    }
}

impl State {
    pub(super) fn new(accumulator: Accumulator, transaction: Option<Transaction>) -> Self {
        Self { accumulator, topics: BTreeMap::new(), closed: false, transaction }
    }

    /// Takes news of the topics that are written to.
    pub(super) fn learn(&mut self, cluster: &Cluster) {
        for (name, written) in &mut self.topics {
            if let Some(topic) = cluster.topic(name).filter(|t| t.error.is_none()) {
                written.take(topic, &mut self.accumulator);
            }
        }
    }

    /// Begins to write to a topic.
    pub(super) fn open(&mut self, topic: &Topic) {
        let written = self.topics.entry(topic.name.clone()).or_insert_with(|| Written {
            queues: Vec::new(),
            has_leader: Vec::new(),
            sticky: Sticky::default(),
        });
        written.take(topic, &mut self.accumulator);
    }

    /// Why nothing of the transaction is to be sent any more, if it can only be aborted.
    pub(super) fn lost(&self) -> Option<Error> {
        let t = self.transaction.as_ref()?;
        let failed = self.accumulator.failure().cloned().or_else(|| t.usable().err());
        failed.or_else(|| t.completing.is_some_and(|committed| !committed).then(aborted))
    }

    /// Takes a record. True if the sender is to be woken.
    pub(super) fn append(
        &mut self,
        shared: &Shared,
        record: &Record<'_>,
        callback: &mut Option<Callback>,
    ) -> Result<(Delivery, bool), Waits> {
        if self.closed {
            return Err(Waits::Never(Error::Closed));
        }
        if let Some(t) = &self.transaction {
            t.may_send().map_err(Waits::Never)?;
            if let Some(e) = self.accumulator.failure() {
                return Err(Waits::Never(e.clone()));
            }
        }
        let Self { accumulator, topics, transaction, .. } = self;
        let Some(topic) = topics.get_mut(record.topic) else { return Err(Waits::ForTopic) };
        let count = topic.queues.len();
        let chosen = record.partition.or_else(|| {
            let partitioner = shared.partitioner.as_ref()?;
            partitioner.partition(record, i32::try_from(count).unwrap_or(i32::MAX))
        });
        let bytes = record.size_max();
        let io = shared.client.io();
        let partition = chosen.unwrap_or_else(|| {
            let (queues, has_leader) = (&topic.queues, &topic.has_leader);
            let queue = |p: usize| queues.get(p).copied().unwrap_or(usize::MAX);
            let waiting = |p: usize| has_leader.get(p).is_some_and(|h| *h).then(|| accumulator.waiting(queue(p)));
            let full = |p: usize| accumulator.is_full(queue(p), bytes);
            let batch_size = accumulator.settings.batch_size;
            topic.sticky.choose(&shared.choice, record, bytes, batch_size, count, waiting, full, &io.random)
        });
        let Some(queue) = usize::try_from(partition).ok().and_then(|p| topic.queues.get(p)).copied() else {
            return Err(if partition < 0 {
                Waits::Never(Error::Invalid(format!("there can't be a partition {partition}")))
            } else {
                Waits::ForPartition(partition)
            });
        };
        let timestamp = record.timestamp.unwrap_or_else(|| io.clock.wall().get());
        match accumulator.append(queue, record, timestamp, io.clock.now()) {
            Ok((delivery, wake)) => {
                // It goes with the record that is taken, and stays with the caller otherwise.
                if let Some(callback) = callback.take() {
                    delivery.completion.call(delivery.index, timestamp, callback);
                }
                if let Some(t) = transaction {
                    t.touched = true;
                }
                Ok((delivery, wake))
            }
            Err(NotTaken::Full) => Err(Waits::ForMemory),
            Err(NotTaken::Refused(e)) => Err(Waits::Never(e)),
        }
    }
}

impl Written {
    fn take(&mut self, topic: &Topic, accumulator: &mut Accumulator) {
        // Partitions never become fewer; a topic that was made anew with fewer has to be waited for.
        let known = self.queues.len();
        for p in topic.partitions.iter().skip(known) {
            self.queues.push(accumulator.queue(TopicPartition::new(topic.name.clone(), p.index)));
        }
        self.has_leader = topic.partitions.iter().map(|p| p.leader.is_some()).collect();
    }
}
