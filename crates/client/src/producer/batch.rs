//! A batch in the making or under way, and the promise that each of its records is given.
//!
//! All records of a batch share one [`Completion`]: a record costs a reference to it, not a channel. Should the batch be
//! cut, its parts have their fates one by one.

use std::future::{Future, poll_fn};
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use logrun_model::{Monotonic, ProducerEpoch, ProducerId, Sequence, TopicPartition};
use logrun_record::{BatchBuilder, BatchError, Compression, Limits, PreparedBatch, Record};
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

struct State {
    /// Fates, and the records that each is of: one for all of them unless the batch was cut.
    done: Vec<(Range<u32>, Result<Written, Error>)>,
    /// How many parts of the batch have none yet.
    pending: usize,
    wakers: Vec<Waker>,
    callbacks: Vec<(u32, i64, Callback)>,
}

impl State {
    fn wait(&mut self, cx: &Context<'_>) {
        if !self.wakers.iter().any(|w| w.will_wake(cx.waker())) {
            self.wakers.push(cx.waker().clone());
        }
    }
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
        let state = State { done: Vec::new(), pending: 1, wakers: Vec::new(), callbacks: Vec::new() };
        Arc::new(Self { partition, state: Mutex::new(state) })
    }

    pub(super) fn call(&self, index: u32, timestamp: i64, callback: Callback) {
        self.state.lock().callbacks.push((index, timestamp, callback));
    }

    /// Says what became of a part of the batch, once: to callbacks first, so that whoever waits finds them done. True if
    /// it was the last part.
    pub(super) fn finish(&self, part: Range<u32>, result: Result<Written, Error>) -> bool {
        let callbacks: Vec<_> =
            self.state.lock().callbacks.extract_if(.., |(index, ..)| part.contains(index)).collect();
        for (index, timestamp, callback) in callbacks {
            callback(self.of(&part, &result, index, timestamp));
        }
        let (wakers, whole) = {
            let mut state = self.state.lock();
            state.done.push((part, result));
            state.pending -= 1;
            (std::mem::take(&mut state.wakers), state.pending == 0)
        };
        for waker in wakers {
            waker.wake();
        }
        whole
    }

    /// Waits until each record has its fate.
    pub(super) async fn whole(&self) {
        poll_fn(|cx| {
            let mut state = self.state.lock();
            if state.pending == 0 {
                return Poll::Ready(());
            }
            state.wait(cx);
            Poll::Pending
        })
        .await;
    }

    fn of(
        &self,
        part: &Range<u32>,
        result: &Result<Written, Error>,
        index: u32,
        timestamp: i64,
    ) -> Result<RecordMetadata, Error> {
        result.as_ref().map_err(Clone::clone).map(|w| RecordMetadata {
            partition: self.partition.clone(),
            offset: w.base_offset.map(|base| base + i64::from(index - part.start)),
            timestamp: w.log_append_time.unwrap_or(timestamp),
        })
    }

    fn poll(&self, cx: &Context<'_>, index: u32, timestamp: i64) -> Poll<Result<RecordMetadata, Error>> {
        let mut state = self.state.lock();
        match state.done.iter().find(|(part, _)| part.contains(&index)) {
            Some((part, result)) => Poll::Ready(self.of(part, result, index, timestamp)),
            None => {
                state.wait(cx);
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
    /// Which of the completion's records is its first: not 0 if it was cut from a larger batch.
    pub(super) first: u32,
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

    /// Its records, as its completion counts them.
    pub(super) fn part(&self) -> Range<u32> {
        self.first..self.first + self.count as u32
    }

    /// Its place among its partition's batches.
    pub(super) fn place(&self) -> (u64, u32) {
        (self.number, self.first)
    }

    /// Two batches with half of its records each, under the numbers that these have, for a broker to which it is too
    /// large (Kafka's `ProducerBatch.split`). It must have been sealed, and have two records at least.
    pub(super) fn halves(&self, compression: Compression) -> Result<[Self; 2], Error> {
        let Some(sealed) = &self.sealed else { return Err(Error::Invalid("a batch that was never sent".to_owned())) };
        // It is our own: there is nobody to be careful of.
        let all = i32::MAX as usize;
        let limits = Limits { max_decompressed_bytes: all, max_ratio: all, ratio_exempt_bytes: all };
        let mut records = sealed.to_batch().records(&limits).map_err(malformed)?;
        let mut half = |first: u32, count: i32, reserved: usize| -> Result<Self, Error> {
            let builder = copied(records.by_ref().take(count as usize), compression).map_err(malformed)?;
            let sequence = |s: Stamp| s.sequence.plus((first - self.first) as i32);
            Ok(Self {
                builder: Some(builder),
                sealed: None,
                completion: self.completion.clone(),
                number: self.number,
                first,
                count,
                created: self.created,
                deadline: self.deadline,
                reserved,
                closed: true,
                attempts: self.attempts,
                stamp: self.stamp.map(|s| Stamp { sequence: sequence(s), ..s }),
            })
        };
        let (count, reserved) = (self.count / 2, self.reserved / 2);
        let one = half(self.first, count, reserved)?;
        let two = half(self.first + count as u32, self.count - count, self.reserved - reserved)?;
        self.completion.state.lock().pending += 1;
        Ok([one, two])
    }

    /// The bytes to be sent: compressed on the first attempt, stamped anew if the stamp has changed.
    pub(super) fn seal(&mut self, transactional: bool) -> Result<&PreparedBatch, Error> {
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

fn copied(
    records: impl Iterator<Item = Result<Record, BatchError>>,
    compression: Compression,
) -> Result<BatchBuilder, BatchError> {
    let mut builder = BatchBuilder::new(compression);
    for record in records {
        let record = record?;
        let headers: Vec<(&[u8], Option<&[u8]>)> =
            record.headers.iter().map(|h| (&h.key[..], h.value.as_deref())).collect();
        builder.append(record.timestamp, record.key.as_deref(), record.value.as_deref(), &headers)?;
    }
    Ok(builder)
}

fn malformed(e: BatchError) -> Error {
    Error::Invalid(format!("a batch can't be built: {e}"))
}
