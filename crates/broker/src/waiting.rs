//! Requests that wait for a partition to change: parked fetches and produces.
//!
//! Kafka's counterpart is the delayed-operation purgatory. A waiting request is woken by every
//! change that may matter to it and looks again; nothing here decides whether it is satisfied.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use logrun_model::Offset;
use rustc_hash::FxHashSet;
use tokio::sync::{Notify, oneshot};

/// A request that waits for any of several partitions to change.
#[derive(Debug, Default)]
pub struct Waiter(Notify);

impl Waiter {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Tells the request to look again.
    pub fn notify(&self) {
        self.0.notify_one();
    }

    /// Waits for the next change; a change since the last call is not missed.
    pub async fn changed(&self) {
        self.0.notified().await;
    }
}

/// The waiters of one partition.
#[derive(Debug, Default)]
pub struct Waiters {
    waiters: Vec<Weak<Waiter>>,
    /// At this many entries those that have gone, and repeats, are swept out.
    sweep_at: usize,
}

impl Waiters {
    /// `waiter` will hear of the next change.
    pub fn register(&mut self, waiter: &Arc<Waiter>) {
        if self.waiters.len() >= self.sweep_at.max(8) {
            // A fetch registers with all of its partitions whenever one of them wakes it. The order stays.
            let mut seen = FxHashSet::default();
            self.waiters.retain(|w| w.strong_count() > 0 && seen.insert(w.as_ptr()));
            self.sweep_at = self.waiters.len() * 2;
        }
        self.waiters.push(Arc::downgrade(waiter));
    }

    /// Whether anybody still waits.
    pub fn any(&self) -> bool {
        self.waiters.iter().any(|w| w.strong_count() > 0)
    }

    /// Tells everyone who registered since the last change, once.
    pub fn wake(&mut self) {
        for waiter in self.waiters.drain(..) {
            if let Some(waiter) = waiter.upgrade() {
                waiter.notify();
            }
        }
    }
}

/// Why a produce that waited fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotReplicated {
    /// Another broker leads now, or the partition is gone: the batch may or may not survive.
    NotLeader,
    /// The records were cut off, or deleted, before they were what was promised.
    Truncated,
    /// The directory that held them failed.
    Storage,
}

/// Produces that wait until an offset passes their last record: the high watermark (`acks=all`), or the one up to which
/// the leader's own log has what it promises (`acks=1`).
#[derive(Debug, Default)]
pub struct AwaitingOffset(BTreeMap<Offset, Vec<oneshot::Sender<Result<(), NotReplicated>>>>);

impl AwaitingOffset {
    /// Completes when `required` (the offset behind the last record) is reached.
    pub fn register(&mut self, required: Offset) -> oneshot::Receiver<Result<(), NotReplicated>> {
        let (tx, rx) = oneshot::channel();
        self.0.entry(required).or_default().push(tx);
        rx
    }

    /// Whether anybody waits.
    pub fn any(&self) -> bool {
        !self.0.is_empty()
    }

    /// Completes all that waited for `offset` or less.
    pub fn reached(&mut self, offset: Offset) {
        while let Some(first) = self.0.first_entry()
            && *first.key() <= offset
        {
            for tx in first.remove() {
                // A client that has gone no longer listens.
                let _ = tx.send(Ok(()));
            }
        }
    }

    /// Fails everything that waits.
    pub fn fail(&mut self, reason: NotReplicated) {
        for tx in std::mem::take(&mut self.0).into_values().flatten() {
            let _ = tx.send(Err(reason));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn produces_complete_in_offset_order_and_only_up_to_what_is_reached() {
        let mut waiting = AwaitingOffset::default();
        let (mut a, mut b) = (waiting.register(Offset(5)), waiting.register(Offset(9)));
        waiting.reached(Offset(5));
        assert_eq!(a.try_recv(), Ok(Ok(())));
        assert!(b.try_recv().is_err());
        waiting.fail(NotReplicated::Truncated);
        assert_eq!(b.try_recv(), Ok(Err(NotReplicated::Truncated)));
    }

    #[test]
    fn waiters_that_have_gone_are_swept_out() {
        let mut waiters = Waiters::default();
        for _ in 0..10_000 {
            waiters.register(&Waiter::new());
        }
        assert!(waiters.waiters.len() <= 16);
    }

    /// A fetch of many partitions, of which one is busy, waits at the others for long.
    #[tokio::test]
    async fn a_waiter_that_registers_again_and_again_is_kept_once() {
        let mut waiters = Waiters::default();
        let waiting: Vec<_> = (0..20).map(|_| Waiter::new()).collect();
        for n in 0..10_000 {
            waiters.register(&waiting[n % waiting.len()]);
        }
        assert!(waiters.waiters.len() <= 2 * waiting.len(), "{}", waiters.waiters.len());
        waiters.wake();
        for waiter in &waiting {
            waiter.changed().await;
        }
    }
}
