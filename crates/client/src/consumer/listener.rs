//! [`RebalanceListener`]: what an application wants to hear of its partitions. Kafka's `ConsumerRebalanceListener`.

use futures_util::future::{BoxFuture, ready};
use logrun_model::TopicPartition;

use super::Consumer;

/// Is told what the group gives and takes, inside [`Consumer::poll`] and [`Consumer::close`]. What it may do: seek, pause,
/// commit. It must not poll.
pub trait RebalanceListener: Send + Sync + 'static {
    /// These are taken away, but not yet: their offsets can still be committed. With `enable.auto.commit` they have been.
    fn on_revoked<'a>(&'a self, _consumer: &'a Consumer, _partitions: &'a [TopicPartition]) -> BoxFuture<'a, ()> {
        Box::pin(ready(()))
    }

    /// These are gone: the group took this consumer for dead, and another may have them. Their offsets can't be committed.
    fn on_lost<'a>(&'a self, consumer: &'a Consumer, partitions: &'a [TopicPartition]) -> BoxFuture<'a, ()> {
        self.on_revoked(consumer, partitions)
    }

    /// These are new; none if the rebalance brought nothing new.
    fn on_assigned<'a>(&'a self, _consumer: &'a Consumer, _partitions: &'a [TopicPartition]) -> BoxFuture<'a, ()> {
        Box::pin(ready(()))
    }
}

/// Hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Deaf;

impl RebalanceListener for Deaf {}
