//! A batch in the making or under way, and the promise that each of its records is given.
//!
//! All records of a batch share one [`Completion`]: a record costs a reference to it, not a channel.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use logrun_model::{Monotonic, ProducerEpoch, ProducerId, Sequence, TopicPartition};
use logrun_record::{BatchBuilder, PreparedBatch};
use parking_lot::Mutex;

use super::record::RecordMetadata;
use crate::error::Error;

/// Called with a record's fate, on one of the producer's tasks: it must not wait.
pub type Callback = Box<dyn FnOnce(Result<RecordMetadata, Error>) + Send>;

/// What the broker said of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) base_offset: Option<i64>,
    pub(super) log_append_time: Option<i64>,
}

#[derive(Default)]
struct State {
    done: Option<Result<Written, Error>>,
    wakers: Vec<Waker>,
    callbacks: Vec<(u32, i64, Callback)>,
}

/// What becomes of a batch, for all who wait for one of its records.
pub(super) struct Completion {
    partition: TopicPartition,
    state: Mutex<State>,
}

impl std::fmt::Debug for Completion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Completion({})", self.partition)
    }
}

impl Completion {
    pub(super) fn new(partition: TopicPartition) -> Arc<Self> {
        Arc::new(Self { partition, state: Mutex::default() })
    }

    pub(super) fn call(&self, index: u32, timestamp: i64, callback: Callback) {
        self.state.lock().callbacks.push((index, timestamp, callback));
    }

    /// Says what became of the batch, once: to callbacks first, so that whoever waits finds them done.
    pub(super) fn finish(&self, result: Result<Written, Error>) {
        let callbacks = std::mem::take(&mut self.state.lock().callbacks);
        for (index, timestamp, callback) in callbacks {
            callback(self.of(&result, index, timestamp));
        }
        let wakers = {
            let mut state = self.state.lock();
            state.done.get_or_insert(result);
            std::mem::take(&mut state.wakers)
        };
        for waker in wakers {
            waker.wake();
        }
    }

    fn of(&self, result: &Result<Written, Error>, index: u32, timestamp: i64) -> Result<RecordMetadata, Error> {
        result.as_ref().map_err(Clone::clone).map(|w| RecordMetadata {
            partition: self.partition.clone(),
            offset: w.base_offset.map(|base| base + i64::from(index)),
            timestamp: w.log_append_time.unwrap_or(timestamp),
        })
    }

    fn poll(&self, cx: &Context<'_>, index: u32, timestamp: i64) -> Poll<Result<RecordMetadata, Error>> {
        let mut state = self.state.lock();
        match &state.done {
            Some(result) => Poll::Ready(self.of(result, index, timestamp)),
            None => {
                if !state.wakers.iter().any(|w| w.will_wake(cx.waker())) {
                    state.wakers.push(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }
}

/// A record that is on its way: a future of where it was written. Dropping it doesn't take the record back.
#[derive(Clone, Debug)]
#[must_use = "the record may still fail"]
pub struct Delivery {
    pub(super) completion: Arc<Completion>,
    pub(super) index: u32,
    pub(super) timestamp: i64,
}

impl Future for Delivery {
    type Output = Result<RecordMetadata, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.completion.poll(cx, self.index, self.timestamp)
    }
}

/// A producer's identity on a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) id: ProducerId,
    pub(super) epoch: ProducerEpoch,
    pub(super) sequence: Sequence,
}

/// A batch, from its first record to its fate.
#[derive(Debug)]
pub(super) struct Batch {
    /// The records until they are sealed.
    pub(super) builder: Option<BatchBuilder>,
    /// The bytes as they were sent, for sending them again.
    pub(super) sealed: Option<PreparedBatch>,
    pub(super) completion: Arc<Completion>,
    pub(super) number: u64,
    pub(super) count: i32,
    pub(super) created: Monotonic,
    pub(super) deadline: Monotonic,
    /// Bytes of `buffer.memory` that it holds.
    pub(super) reserved: usize,
    /// No more records fit.
    pub(super) closed: bool,
    pub(super) attempts: u32,
    pub(super) stamp: Option<Stamp>,
}

impl Batch {
    /// How many bytes it has now, before compression.
    pub(super) fn size(&self) -> usize {
        match (&self.sealed, &self.builder) {
            (Some(sealed), _) => sealed.size_in_bytes(),
            (None, Some(builder)) => builder.uncompressed_size(),
            (None, None) => 0,
        }
    }

    /// The bytes to be sent: compressed on the first attempt, stamped anew if the stamp has changed.
    pub(super) fn seal(&mut self, transactional: bool) -> Result<&PreparedBatch, Error> {
        let malformed = |e: logrun_record::BatchError| Error::Invalid(format!("a batch can't be built: {e}"));
        if let Some(builder) = self.builder.take() {
            let builder = match self.stamp {
                Some(s) => builder.producer(s.id, s.epoch, s.sequence),
                None => builder,
            };
            self.sealed = Some(builder.transactional(transactional).prepare().map_err(malformed)?);
        }
        let Some(sealed) = &mut self.sealed else { return Err(Error::Invalid("a batch without records".to_owned())) };
        if let Some(s) = self.stamp {
            let mut header = *sealed.header();
            if (header.producer_id, header.producer_epoch, header.base_sequence) != (s.id, s.epoch, s.sequence) {
                header.producer_id = s.id;
                header.producer_epoch = s.epoch;
                header.base_sequence = s.sequence;
                let body = sealed.body().clone();
                if let Some(again) = PreparedBatch::from_parts(header, body) {
                    *sealed = again;
                }
            }
        }
        Ok(sealed)
    }
}
