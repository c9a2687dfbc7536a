//! The tail cache: what was appended last, kept in memory so that those who read at the end of the log
//! are served without the disk and without a copy.
//!
//! One budget for the process. The oldest append of any log goes first, so that busy logs push out idle
//! ones. A batch's records are the slice of the frame that they arrived in; small ones are copied, so
//! that a few bytes don't keep a whole frame alive. Nothing depends on what is cached: the file has it.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use bytes::{Bytes, BytesMut};
use logrun_model::Offset;
use logrun_record::PreparedBatch;
use parking_lot::Mutex;

/// Bodies up to this size are copied.
const COPY_BYTES_MAX: usize = 4096;

/// The cache of one process. Clones are the same cache.
#[derive(Clone, Debug)]
pub struct TailCache(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    budget_bytes: usize,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    used_bytes: usize,
    /// In the order of the appends, all logs together.
    appends: VecDeque<Kept>,
}

#[derive(Debug)]
struct Kept {
    tail: Weak<Mutex<Batches>>,
    sequence: u64,
    bytes: usize,
}

impl TailCache {
    /// A cache of at most `budget_bytes`; 0 keeps nothing.
    pub fn new(budget_bytes: usize) -> Self {
        Self(Arc::new(Shared { budget_bytes, queue: Mutex::default() }))
    }

    /// How many bytes are kept, counted as batches (frames that they are slices of may be larger).
    pub fn used_bytes(&self) -> usize {
        self.0.queue.lock().used_bytes
    }

    /// Takes note of an append and gives up the oldest ones beyond the budget.
    fn kept(&self, kept: Kept) {
        let mut evicted = Vec::new();
        {
            let mut q = self.0.queue.lock();
            q.used_bytes += kept.bytes;
            q.appends.push_back(kept);
            while q.used_bytes > self.0.budget_bytes {
                let Some(oldest) = q.appends.pop_front() else { break };
                q.used_bytes -= oldest.bytes;
                evicted.push(oldest);
            }
        }
        // Frames are freed outside of the lock that every append of the process takes.
        for e in evicted {
            if let Some(tail) = e.tail.upgrade() {
                let freed = tail.lock().drop_up_to(e.sequence);
                drop(freed);
            }
        }
    }
}

#[derive(Debug)]
struct CachedBatch {
    base_offset: Offset,
    last_offset: Offset,
    sequence: u64,
    size: usize,
    /// The whole batch, or its header if `body` has the records.
    head: Bytes,
    body: Bytes,
}

#[derive(Debug, Default)]
struct Batches {
    list: VecDeque<CachedBatch>,
    next_sequence: u64,
}

impl Batches {
    fn drop_up_to(&mut self, sequence: u64) -> VecDeque<CachedBatch> {
        let n = self.list.partition_point(|b| b.sequence <= sequence);
        let rest = self.list.split_off(n);
        std::mem::replace(&mut self.list, rest)
    }
}

/// A log's share of the cache: batches that follow each other up to the log's end.
#[derive(Debug)]
pub(crate) struct Tail {
    cache: TailCache,
    batches: Arc<Mutex<Batches>>,
}

/// What a reader gets from the tail.
#[derive(Clone, Debug, Default)]
pub(crate) struct TailSlices {
    pub slices: Vec<Bytes>,
    pub bytes: usize,
    /// The offset behind the last batch.
    pub next_offset: Option<Offset>,
}

impl Tail {
    pub fn new(cache: TailCache) -> Self {
        Self { cache, batches: Arc::default() }
    }

    /// Keeps batches that were just appended at the log's end.
    pub fn push(&self, appended: &[PreparedBatch]) {
        if self.cache.0.budget_bytes == 0 {
            return;
        }
        let mut bytes = 0;
        let sequence = {
            let mut batches = self.batches.lock();
            let sequence = batches.next_sequence;
            batches.next_sequence += 1;
            for b in appended {
                let [prefix, _] = b.segments();
                let (head, body) = if b.body().len() <= COPY_BYTES_MAX {
                    (b.to_bytes(), Bytes::new())
                } else {
                    (Bytes::copy_from_slice(prefix), b.body().clone())
                };
                let size = b.size_in_bytes();
                bytes += size;
                let h = b.header();
                batches.list.push_back(CachedBatch {
                    base_offset: h.base_offset,
                    last_offset: h.last_offset(),
                    sequence,
                    size,
                    head,
                    body,
                });
            }
            sequence
        };
        self.cache.kept(Kept { tail: Arc::downgrade(&self.batches), sequence, bytes });
    }

    /// The batches from the one that holds `from` on, whole, below `upper_bound`, up to `max_bytes` (the
    /// first in any case if `min_one`). `None` if the tail does not reach back to `from`.
    pub fn read(&self, from: Offset, upper_bound: Offset, max_bytes: usize, min_one: bool) -> Option<TailSlices> {
        let batches = self.batches.lock();
        let list = &batches.list;
        // In a log with gaps the batch before the first kept one may still hold `from`.
        if list.front().is_none_or(|b| b.base_offset > from) {
            return None;
        }
        let start = list.partition_point(|b| b.last_offset < from);
        let mut out = TailSlices::default();
        for b in list.range(start..) {
            let first = out.next_offset.is_none();
            if b.last_offset >= upper_bound || (out.bytes + b.size > max_bytes && !(first && min_one)) {
                break;
            }
            out.slices.push(b.head.clone());
            if !b.body.is_empty() {
                out.slices.push(b.body.clone());
            }
            out.bytes += b.size;
            out.next_offset = Some(b.last_offset.next());
        }
        Some(out)
    }

    /// Forgets everything: the log was cut, or is closed.
    pub fn clear(&self) {
        let freed = std::mem::take(&mut self.batches.lock().list);
        drop(freed);
    }
}

/// Joins runs of small slices, so that a reader is not handed thousands of them.
pub(crate) fn join_small(slices: Vec<Bytes>) -> Vec<Bytes> {
    const SLICES_MIN: usize = 16;
    const RUN_BYTES_MAX: usize = 256 << 10;
    if slices.len() < SLICES_MIN {
        return slices;
    }
    let mut out = Vec::new();
    let mut run = BytesMut::new();
    for s in slices {
        if s.len() > COPY_BYTES_MAX * 2 {
            if !run.is_empty() {
                out.push(run.split().freeze());
            }
            out.push(s);
            continue;
        }
        if run.len() + s.len() > RUN_BYTES_MAX {
            out.push(run.split().freeze());
        }
        run.extend_from_slice(&s);
    }
    if !run.is_empty() {
        out.push(run.freeze());
    }
    out
}
