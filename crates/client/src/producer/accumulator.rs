//! The producer's decisions: which batch a record joins, when a batch is sent, what a response means for it. Pure: time
//! is a parameter, and nothing here waits or sends. Kafka's `RecordAccumulator` and the bookkeeping of sequence numbers of
//! its `TransactionManager`.
//!
//! | a partition's front batch | is sent when |
//! |---|---|
//! | open, fresh | it is full, or as old as `linger.ms`, or something is flushed, or memory has run out |
//! | sent before, refused for now | its back-off is over, and no earlier batch of the partition is without an answer |
//!
//! Sequence numbers (KIP-98): a batch gets its number when it is sent first and keeps it. A batch that is given up with
//! a number leaves a hole, so that the producer's epoch is raised (KIP-360) and the partition begins again at 0 once
//! nothing of it is under way. Until a broker has taken the first batch of an epoch no second one is sent. Never are two
//! batches of one partition exchanged.
//!
//! A broker knows a repeated batch only among the last five of a partition. So a new batch has to be within five of the
//! oldest that has no fate, whatever became of those between: their acknowledgements don't make room. If a batch
//! runs out of time and nobody knows whether it was written, nothing new is sent either; those behind it go again under
//! their numbers, and what the broker says of them tells whether there is a hole.
//!
//! A broker that starts again knows the last batch of a producer only (`ProducerStateManager`'s snapshot). If it then
//! refuses the number of a batch whose first answer was lost, the epoch is raised and the batch goes again, as Kafka's
//! client does it (`TransactionManager.canRetry`): it isn't lost, but it may be there twice, once under each epoch. With
//! `max.in.flight.requests.per.connection=1` there is no such batch.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use logrun_model::{Monotonic, NodeId, ProducerEpoch, ProducerId, Sequence, Str, TimestampMs, TopicPartition, Uuid};
use logrun_record::{BatchBuilder, Compression, RECORD_BATCH_OVERHEAD};
use logrun_wire::ErrorCode;

use super::batch::{Batch, Completion, Delivery, Stamp, Written};
use super::record::Record;
use crate::error::Error;

/// What the accumulator goes by.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) batch_size: usize,
    pub(super) buffer_memory: usize,
    pub(super) linger: Duration,
    pub(super) delivery_timeout: Duration,
    pub(super) max_request_size: usize,
    pub(super) max_in_flight: usize,
    pub(super) retries: u32,
    pub(super) compression: Compression,
    pub(super) idempotent: bool,
}

/// A partition's batches and numbers.
#[derive(Debug)]
struct Queue {
    tp: TopicPartition,
    batches: VecDeque<Batch>,
    in_flight: usize,
    not_before: Monotonic,
    /// The batches that were sent, from the first without a fate on, in order.
    sent: VecDeque<Sent>,
    /// A batch was given up that may have been written, and the last one sent isn't acknowledged.
    in_doubt: bool,
    /// The producer's id and epoch that its numbers are of.
    producer: Option<(ProducerId, ProducerEpoch)>,
    next: Sequence,
    /// Its numbers begin anew once nothing is under way.
    reset: bool,
    /// The broker has taken a batch of this epoch.
    acknowledged: bool,
}

/// A number that was sent.
#[derive(Debug)]
struct Sent {
    sequence: Sequence,
    settled: bool,
}

impl Queue {
    /// Whether it is the first that was sent and has no fate.
    fn is_first(&self, stamp: &Stamp) -> bool {
        self.sent.front().is_some_and(|s| s.sequence == stamp.sequence)
    }

    /// Notes that a number has its fate. False if it isn't one of those that are under way.
    fn note_settled(&mut self, stamp: &Stamp) -> bool {
        let Some(sent) = self.sent.iter_mut().find(|s| s.sequence == stamp.sequence) else { return false };
        sent.settled = true;
        while self.sent.front().is_some_and(|s| s.settled) {
            self.sent.pop_front();
        }
        true
    }
}

/// A batch that leaves for its leader.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) queue: usize,
    pub(super) tp: TopicPartition,
    /// The topic's id as it was sent, by which the answer names it; zero if it was sent by name.
    pub(super) topic_id: Uuid,
    pub(super) batch: Batch,
}

/// What is to be sent now, and when to look again.
#[derive(Debug, Default)]
pub(super) struct Drained {
    pub(super) requests: Vec<(NodeId, Vec<Outgoing>)>,
    /// When the next batch falls due by time.
    pub(super) next: Option<Monotonic>,
    /// Batches wait for a leader that isn't known.
    pub(super) leaderless: Vec<Str>,
    /// Nothing with numbers can be sent before there is a producer id.
    pub(super) wants_producer_id: bool,
}

/// What a partition's leader said of a batch.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    Written(Written),
    /// It didn't take it, or nothing was heard.
    Refused(Error),
}

/// Why a record was not taken.
#[derive(Debug, PartialEq)]
pub(super) enum NotTaken {
    /// `buffer.memory` is used up.
    Full,
    /// Never will be.
    Refused(Error),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Accumulator {
    pub(super) settings: Settings,
    queues: Vec<Queue>,
    index: BTreeMap<TopicPartition, usize>,
    /// Queues with batches.
    active: BTreeSet<usize>,
    /// Where the last drain ended, so that none is always first.
    turn: usize,
    memory: usize,
    numbers: u64,
    /// Batches whose fate has not been told, by number.
    incomplete: BTreeMap<u64, Arc<Completion>>,
    /// Batches whose fates are to be told.
    finished: Vec<(Batch, Result<Written, Error>)>,
    flushing: usize,
    pub(super) waiting_for_memory: usize,
    /// The producer's id and epoch, once there is one.
    producer: Option<(ProducerId, ProducerEpoch)>,
    /// Batches are stamped as parts of a transaction.
    pub(super) transactional: bool,
    /// The first error of a batch since the last [`Self::take_failure`].
    failure: Option<Error>,
    /// When the sender looks again by itself.
    planned: Option<Monotonic>,
    /// An id with a new epoch has to be asked for: the last one can't be raised.
    pub(super) exhausted_epochs: bool,
    /// Numbers of a transaction were lost: the next one must not begin under the same epoch.
    needs_epoch: bool,
}

impl Accumulator {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            queues: Vec::new(),
            index: BTreeMap::new(),
            active: BTreeSet::new(),
            turn: 0,
            memory: 0,
            numbers: 0,
            incomplete: BTreeMap::new(),
            finished: Vec::new(),
            flushing: 0,
            waiting_for_memory: 0,
            producer: None,
            transactional: false,
            failure: None,
            planned: None,
            exhausted_epochs: false,
            needs_epoch: false,
        }
    }

    /// The queue of a partition.
    pub(super) fn queue(&mut self, tp: TopicPartition) -> usize {
        if let Some(at) = self.index.get(&tp) {
            return *at;
        }
        let at = self.queues.len();
        self.queues.push(Queue {
            tp: tp.clone(),
            batches: VecDeque::new(),
            in_flight: 0,
            not_before: Monotonic::default(),
            sent: VecDeque::new(),
            in_doubt: false,
            producer: None,
            next: Sequence(0),
            reset: false,
            acknowledged: false,
        });
        self.index.insert(tp, at);
        at
    }

    /// How many batches wait in a queue.
    pub(super) fn waiting(&self, queue: usize) -> usize {
        self.queues.get(queue).map_or(0, |q| q.batches.len())
    }

    /// Whether the batch that is open in a queue has no room for so many bytes.
    pub(super) fn is_full(&self, queue: usize, bytes: usize) -> bool {
        let last = self.queues.get(queue).and_then(|q| q.batches.back());
        last.is_some_and(|b| b.closed || b.size() + bytes > self.settings.batch_size)
    }

    /// Takes a record into the partition's batch, or into a new one. True if the sender has something to do or to plan.
    pub(super) fn append(
        &mut self,
        queue: usize,
        record: &Record<'_>,
        timestamp: i64,
        now: Monotonic,
    ) -> Result<(Delivery, bool), NotTaken> {
        let bytes = record.size_max();
        if RECORD_BATCH_OVERHEAD + bytes > self.settings.max_request_size {
            let message = format!(
                "the record takes up to {bytes} bytes, more than max.request.size={} allows",
                self.settings.max_request_size
            );
            return Err(NotTaken::Refused(Error::Broker {
                code: ErrorCode::MessageTooLarge,
                message: Some(message.into()),
            }));
        }
        let settings = &self.settings;
        let Some(q) = self.queues.get_mut(queue) else {
            return Err(NotTaken::Refused(Error::Invalid("no such partition".to_owned())));
        };
        let mut wake = false;
        let fits = q.batches.back().is_some_and(|b| !b.closed && b.size() + bytes <= settings.batch_size);
        if !fits {
            let size = settings.batch_size.max(RECORD_BATCH_OVERHEAD + bytes);
            if self.memory + size > settings.buffer_memory {
                return Err(NotTaken::Full);
            }
            if let Some(open) = q.batches.back_mut() {
                open.closed = true;
                wake = true;
            }
            self.memory += size;
            self.numbers += 1;
            let completion = Completion::new(q.tp.clone());
            self.incomplete.insert(self.numbers, completion.clone());
            let mut builder = BatchBuilder::new(settings.compression);
            builder.reserve(size - RECORD_BATCH_OVERHEAD);
            let due = now.plus(settings.linger);
            if self.planned.is_none_or(|planned| due < planned) {
                self.planned = Some(due);
                wake = true;
            }
            self.active.insert(queue);
            q.batches.push_back(Batch {
                builder: Some(builder),
                sealed: None,
                completion,
                number: self.numbers,
                first: 0,
                count: 0,
                created: now,
                deadline: now.plus(settings.delivery_timeout),
                reserved: size,
                closed: false,
                attempts: 0,
                stamp: None,
            });
        }
        let Some(batch) = q.batches.back_mut() else { return Err(NotTaken::Full) };
        let Some(builder) = &mut batch.builder else { return Err(NotTaken::Full) };
        builder
            .append(TimestampMs(timestamp), record.key, record.value, record.headers)
            .map_err(|e| NotTaken::Refused(Error::Invalid(e.to_string())))?;
        let index = batch.count as u32;
        batch.count += 1;
        if builder.uncompressed_size() >= settings.batch_size {
            batch.closed = true;
            wake = true;
        }
        Ok((Delivery { completion: batch.completion.clone(), index, timestamp }, wake))
    }

    /// Takes what is to be sent: to each leader that `may_send` at most one batch of each partition.
    pub(super) fn drain(
        &mut self,
        now: Monotonic,
        leader: impl Fn(&TopicPartition) -> Option<NodeId>,
        may_send: impl Fn(NodeId) -> bool,
        admitted: impl Fn(&TopicPartition) -> bool,
    ) -> Drained {
        let mut drained = Drained::default();
        let mut by_node: BTreeMap<NodeId, (usize, Vec<Outgoing>)> = BTreeMap::new();
        let order: Vec<usize> = self.active.range(self.turn..).chain(self.active.range(..self.turn)).copied().collect();
        let hurry = self.flushing > 0 || self.waiting_for_memory > 0;
        for at in order {
            let Some(q) = self.queues.get_mut(at) else { continue };
            let several = q.batches.len() > 1;
            let Some(front) = q.batches.front_mut() else { continue };
            let due = if front.closed || several || hurry || front.attempts > 0 {
                front.created
            } else {
                front.created.plus(self.settings.linger)
            };
            let due = due.max(q.not_before);
            if due > now {
                drained.next = Some(drained.next.map_or(due, |n| n.min(due)));
                continue;
            }
            // A batch that was sent before waits for those before it; new ones wait for it, behind it.
            let in_turn = match front.stamp {
                Some(s) => q.sent.front().is_some_and(|first| first.sequence == s.sequence),
                // A broker that knows nothing of the producer takes whatever number comes first: it must be the first.
                // One that knows it must still remember the oldest batch without a fate, should that come again.
                None if self.settings.idempotent => {
                    let has_room = q.sent.len() < self.settings.max_in_flight;
                    q.in_flight == 0 || (!q.reset && !q.in_doubt && q.acknowledged && has_room)
                }
                None => true,
            };
            // A broker remembers the last five batches of a partition, whichever connections they came on.
            if !in_turn || q.in_flight >= self.settings.max_in_flight {
                continue;
            }
            if self.settings.idempotent && self.producer.is_none() {
                drained.wants_producer_id = true;
                continue;
            }
            if !admitted(&q.tp) {
                continue;
            }
            let Some(node) = leader(&q.tp) else {
                if drained.leaderless.last() != Some(&q.tp.topic) {
                    drained.leaderless.push(q.tp.topic.clone());
                }
                continue;
            };
            if !may_send(node) {
                continue;
            }
            let (bytes, batches) = by_node.entry(node).or_default();
            if !batches.is_empty() && *bytes + front.size() > self.settings.max_request_size {
                continue;
            }
            let Some(mut batch) = q.batches.pop_front() else { continue };
            *bytes += batch.size();
            batch.closed = true;
            batch.attempts += 1;
            if let (true, Some(newest), None) = (self.settings.idempotent, self.producer, &batch.stamp) {
                // A raised epoch, or a new id, is taken when nothing is under way under the old one.
                if q.reset || (q.sent.is_empty() && q.producer != Some(newest)) {
                    q.sent.clear();
                    q.in_doubt = false;
                    q.producer = Some(newest);
                    q.next = Sequence(0);
                    q.reset = false;
                    q.acknowledged = false;
                }
                let (id, epoch) = q.producer.unwrap_or(newest);
                batch.stamp = Some(Stamp { id, epoch, sequence: q.next });
                q.sent.push_back(Sent { sequence: q.next, settled: false });
                q.next = q.next.plus(batch.count);
            }
            q.in_flight += 1;
            batches.push(Outgoing { queue: at, tp: q.tp.clone(), topic_id: Uuid::ZERO, batch });
            if q.batches.is_empty() {
                self.active.remove(&at);
            } else {
                // What is behind it may be due already.
                drained.next = Some(drained.next.map_or(now, |n| n.min(now)));
            }
            self.turn = at + 1;
        }
        // Whatever waits for an answer of its leader is looked at when the answer comes.
        self.planned = drained.next;
        drained.requests = by_node.into_iter().map(|(node, (_, batches))| (node, batches)).collect();
        drained
    }

    /// Takes what the leader said of a batch, or that nothing was heard. `backoff` is how long to wait before the next
    /// attempt. True if metadata is out of date.
    pub(super) fn answer(&mut self, outgoing: Outgoing, answer: Answer, now: Monotonic, backoff: Duration) -> bool {
        let Outgoing { queue, batch, .. } = outgoing;
        let Some(q) = self.queues.get_mut(queue) else { return false };
        q.in_flight -= 1;
        let error = match answer {
            Answer::Written(written) => {
                self.settle(queue, batch, Ok(written));
                return false;
            }
            // It is there already: an answer was lost.
            Answer::Refused(error) if error.code() == Some(ErrorCode::DuplicateSequenceNumber) => {
                self.settle(queue, batch, Ok(Written { base_offset: None, log_append_time: None }));
                return false;
            }
            Answer::Refused(error) => error,
        };
        if error.code() == Some(ErrorCode::MessageTooLarge) && batch.count > 1 && now < batch.deadline {
            self.cut(queue, batch);
            return false;
        }
        let stale = error.is_invalid_metadata();
        let mut batch = batch;
        let first = batch.stamp.is_none_or(|s| q.is_first(&s));
        let lost_state = match error.code() {
            // One before it is under way again: this one's turn comes after it.
            Some(ErrorCode::OutOfOrderSequenceNumber) => first,
            Some(ErrorCode::UnknownProducerId | ErrorCode::InvalidProducerEpoch) => batch.stamp.is_some(),
            _ => false,
        };
        let again = error.is_retriable() || error.code() == Some(ErrorCode::OutOfOrderSequenceNumber) || lost_state;
        let in_time = now < batch.deadline && batch.attempts <= self.settings.retries;
        if !again || !in_time || (lost_state && self.transactional) {
            let error = match error {
                e if again && !in_time => Error::TimedOut {
                    what: format!("delivery to {}", q.tp),
                    after: now.since(batch.created),
                    last: Some(Box::new(e)),
                },
                e => e,
            };
            self.settle(queue, batch, Err(error));
            return stale;
        }
        q.not_before = now.plus(backoff);
        if q.reset {
            // Its number is of a sequence that is over.
            batch.stamp = None;
        }
        self.put_back(queue, batch);
        if lost_state {
            self.begin_anew(queue);
        }
        stale
    }

    /// A batch goes back to its place: by number, in front of what has none.
    fn put_back(&mut self, queue: usize, batch: Batch) {
        let Some(q) = self.queues.get_mut(queue) else { return };
        let place = q.batches.iter().take_while(|b| b.place() < batch.place()).count();
        q.batches.insert(place, batch);
        self.active.insert(queue);
    }

    /// Two halves go in the place of a batch that is too large for the broker, at once and with its numbers, so that there
    /// is no hole and what was sent behind it keeps its own.
    fn cut(&mut self, queue: usize, batch: Batch) {
        let mut halves = match batch.halves(self.settings.compression) {
            Ok(halves) => halves,
            Err(e) => return self.settle(queue, batch, Err(e)),
        };
        if let Some(q) = self.queues.get_mut(queue) {
            let sent = batch.stamp.and_then(|s| q.sent.iter().position(|sent| sent.sequence == s.sequence));
            match (sent, halves.each_ref().map(|half| half.stamp)) {
                (Some(at), [_, Some(second)]) if !q.reset => {
                    q.sent.insert(at + 1, Sent { sequence: second.sequence, settled: false });
                }
                // Its numbers are of a sequence that is over.
                _ => halves.iter_mut().for_each(|half| half.stamp = None),
            }
        }
        for half in halves {
            self.put_back(queue, half);
        }
    }

    /// The broker has forgotten the producer in this partition, or there is a hole in its numbers: a higher epoch, and
    /// numbers from 0, also for what was sent before.
    fn begin_anew(&mut self, queue: usize) {
        let Some(q) = self.queues.get(queue) else { return };
        if q.reset {
            return;
        }
        // Another partition may have raised it since: then this one has only to take it.
        if self.producer == q.producer {
            self.raise_epoch();
        }
        if let Some(q) = self.queues.get_mut(queue) {
            q.reset = true;
            q.in_doubt = false;
            q.sent.clear();
            q.batches.iter_mut().for_each(|b| b.stamp = None);
        }
    }

    fn raise_epoch(&mut self) {
        // A transactional producer's epoch is the coordinator's to give.
        self.needs_epoch |= self.transactional;
        if let Some((id, epoch)) = self.producer
            && !self.transactional
        {
            match epoch.get().checked_add(1) {
                Some(next) if next < i16::MAX => self.producer = Some((id, ProducerEpoch(next))),
                _ => {
                    self.producer = None;
                    self.exhausted_epochs = true;
                }
            }
        }
    }

    /// Gives a batch its fate, which is told later.
    fn settle(&mut self, queue: usize, batch: Batch, result: Result<Written, Error>) {
        self.memory -= batch.reserved;
        if let Err(e) = &result {
            self.failure.get_or_insert_with(|| e.clone());
        }
        if let (Some(stamp), Some(q)) = (batch.stamp, self.queues.get_mut(queue)) {
            let current = q.producer == Some((stamp.id, stamp.epoch));
            let known = current && q.note_settled(&stamp);
            let hole = match &result {
                Ok(_) => {
                    q.acknowledged |= current;
                    // The broker has the last one, and so all before it.
                    if known && stamp.sequence.plus(batch.count) == q.next {
                        q.in_doubt = false;
                    }
                    false
                }
                Err(Error::TimedOut { .. }) if !self.transactional => {
                    q.in_doubt |= known;
                    false
                }
                Err(_) => known,
            };
            if hole || (q.in_doubt && q.sent.is_empty()) {
                self.begin_anew(queue);
            }
        }
        self.finished.push((batch, result));
    }

    /// Fates that are to be told, by [`Completion::finish`], while nobody holds a lock: programs' callbacks are called.
    /// What is finished as a whole is then [`Self::told`].
    pub(super) fn take_finished(&mut self) -> Vec<(Batch, Result<Written, Error>)> {
        std::mem::take(&mut self.finished)
    }

    /// The fates of these batches were told.
    pub(super) fn told(&mut self, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            self.incomplete.remove(&number);
        }
    }

    /// Gives up what has waited longer than `delivery.timeout.ms`; when the next falls due.
    pub(super) fn expire(&mut self, now: Monotonic) -> Option<Monotonic> {
        let mut next: Option<Monotonic> = None;
        for at in self.active.iter().copied().collect::<Vec<_>>() {
            while let Some(q) = self.queues.get_mut(at)
                && let Some(front) = q.batches.front()
            {
                if front.deadline > now {
                    let due = front.deadline;
                    next = Some(next.map_or(due, |n: Monotonic| n.min(due)));
                    break;
                }
                let what = format!("delivery to {}", q.tp);
                let Some(batch) = q.batches.pop_front() else { break };
                let after = now.since(batch.created);
                self.settle(at, batch, Err(Error::TimedOut { what, after, last: None }));
            }
            if self.waiting(at) == 0 {
                self.active.remove(&at);
            }
        }
        next
    }

    /// Gives up everything that isn't under way.
    pub(super) fn abandon(&mut self, error: &Error) {
        for at in std::mem::take(&mut self.active) {
            while let Some(batch) = self.queues.get_mut(at).and_then(|q| q.batches.pop_front()) {
                self.settle(at, batch, Err(error.clone()));
            }
        }
    }

    /// Begins to flush: everything is due now. What has no fate yet, to be waited for.
    pub(super) fn begin_flush(&mut self) -> Vec<Arc<Completion>> {
        self.flushing += 1;
        self.incomplete.values().cloned().collect()
    }

    pub(super) fn end_flush(&mut self) {
        self.flushing = self.flushing.saturating_sub(1);
    }

    /// Bytes of `buffer.memory` in use.
    pub(super) fn memory(&self) -> usize {
        self.memory
    }

    /// How many batches have no fate that was told.
    pub(super) fn incomplete(&self) -> usize {
        self.incomplete.len()
    }

    /// The producer's id and epoch. A partition's numbers begin anew with it when nothing is under way under the last one,
    /// which is what a broker knows a repeated batch by.
    pub(super) fn set_producer(&mut self, id: ProducerId, epoch: ProducerEpoch) {
        if self.producer != Some((id, epoch)) {
            self.producer = Some((id, epoch));
            self.exhausted_epochs = false;
            self.needs_epoch = false;
        }
    }

    pub(super) fn producer(&self) -> Option<(ProducerId, ProducerEpoch)> {
        self.producer
    }

    /// Whether the transaction has lost numbers, so that it must not be followed by another under the same epoch.
    pub(super) fn needs_epoch(&self) -> bool {
        self.needs_epoch
    }

    /// The first error of a batch since it was asked for the last time.
    pub(super) fn take_failure(&mut self) -> Option<Error> {
        self.failure.take()
    }

    pub(super) fn failure(&self) -> Option<&Error> {
        self.failure.as_ref()
    }

    /// The partitions that have batches.
    pub(super) fn partitions(&self) -> impl Iterator<Item = &TopicPartition> {
        self.active.iter().filter_map(|at| self.queues.get(*at)).map(|q| &q.tp)
    }
}

#[cfg(test)]
#[path = "accumulator_tests.rs"]
mod tests;
