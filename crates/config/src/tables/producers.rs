//! Broker options: Producers and requests that wait.

use crate::key::DefaultValue::Text;
use crate::key::Valid::{Any, AtLeast};
use crate::key::Why::{NotYet, Purgatory};
use crate::key::{ACTIVE, ConfigKey, broker_options, no};

#[rustfmt::skip]
pub(super) static OPTIONS: &[ConfigKey] = broker_options![
    ("producer.id.expiration.ms", Int, Text("86400000"), AtLeast(1), Low, ClusterWide, ACTIVE,
     "After how long without a record the broker forgets an idempotent producer on a partition."),
    ("producer.id.expiration.check.interval.ms", Int, Text("600000"), AtLeast(1), Low, ReadOnly, no(NotYet),
     "How often forgotten producers are swept.", internal),
    ("producer.purgatory.purge.interval.requests", Int, Text("1000"), Any, Medium, ReadOnly, no(Purgatory),
     "How many answered produce requests Kafka lets pile up before it sweeps."),
    ("fetch.purgatory.purge.interval.requests", Int, Text("1000"), Any, Medium, ReadOnly, no(Purgatory),
     "How many answered fetch requests Kafka lets pile up before it sweeps."),
    ("delete.records.purgatory.purge.interval.requests", Int, Text("1"), Any, Medium, ReadOnly, no(Purgatory),
     "How many answered DeleteRecords requests Kafka lets pile up before it sweeps."),
    ("fetch.max.bytes", Int, Text("57671680"), AtLeast(1024), Medium, ReadOnly, ACTIVE,
     "The most that one fetch is answered with, whatever the client asks for."),
    ("max.incremental.fetch.session.cache.slots", Int, Text("1000"), AtLeast(0), Medium, ReadOnly, ACTIVE,
     "How many incremental fetch sessions are kept; without a free one a client sends whole requests."),
];
