//! Broker options: Transactions.

use crate::key::DefaultValue::Text;
use crate::key::Valid::{Any, AtLeast};
use crate::key::Why::{Buffers, Transactions};
use crate::key::{ConfigKey, broker_options, no};

#[rustfmt::skip]
pub(super) static OPTIONS: &[ConfigKey] = broker_options![
    ("transaction.max.timeout.ms", Int, Text("900000"), AtLeast(1), High, ReadOnly, no(Transactions),
     "The longest timeout that a transactional producer may ask for."),
    ("transaction.two.phase.commit.enable", Boolean, Text("false"), Any, Low, ReadOnly, no(Transactions),
     "Whether a producer may leave the decision to an outside coordinator (KIP-939)."),
    ("transaction.partition.verification.enable", Boolean, Text("true"), Any, Low, ClusterWide, no(Transactions),
     "Whether a broker asks the coordinator, before it writes, that a partition belongs to the transaction."),
    ("transaction.abort.timed.out.transaction.cleanup.interval.ms", Int, Text("10000"), AtLeast(1), Low, ReadOnly, no(Transactions),
     "How often overdue transactions are aborted."),
    ("transaction.remove.expired.transaction.cleanup.interval.ms", Int, Text("3600000"), AtLeast(1), Low, ReadOnly, no(Transactions),
     "How often transactional ids that nobody uses are removed."),
    ("transactional.id.expiration.ms", Int, Text("604800000"), AtLeast(1), High, ReadOnly, no(Transactions),
     "After how long unused a transactional id is forgotten."),
    ("transaction.state.log.num.partitions", Int, Text("50"), AtLeast(1), High, ReadOnly, no(Transactions),
     "Partitions of `__transaction_state`. Never change it later."),
    ("transaction.state.log.replication.factor", Short, Text("3"), AtLeast(1), High, ReadOnly, no(Transactions),
     "Replicas of `__transaction_state`. No configuration at all: 1."),
    ("transaction.state.log.min.isr", Int, Text("2"), AtLeast(1), High, ReadOnly, no(Transactions),
     "`min.insync.replicas` of `__transaction_state`. No configuration at all: 1."),
    ("transaction.state.log.segment.bytes", Int, Text("104857600"), AtLeast(1), High, ReadOnly, no(Transactions),
     "The segment size of `__transaction_state`; small, so that loading is quick."),
    ("transaction.state.log.load.buffer.size", Int, Text("5242880"), AtLeast(1), High, ReadOnly, no(Buffers),
     "How much of `__transaction_state` is read at once when a coordinator loads."),
    ("add.partitions.to.txn.retry.backoff.ms", Int, Text("20"), AtLeast(1), High, ReadOnly, no(Transactions),
     "How long the broker waits before it adds a partition to a transaction again."),
    ("add.partitions.to.txn.retry.backoff.max.ms", Int, Text("100"), AtLeast(0), High, ReadOnly, no(Transactions),
     "How long the broker keeps trying to add a partition to a transaction."),
];
