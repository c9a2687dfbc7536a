//! The share consumer: records of topics dealt out to the members of a share group, each record to one of them, settled
//! one by one (KIP-932). Kafka's `KafkaShareConsumer`.
//!
//! ```no_run
//! # async fn example() -> Result<(), logrun_client::Error> {
//! use std::time::Duration;
//! use logrun_client::{Config, share::{AcknowledgeType, ShareConsumer}};
//!
//! let config = Config::new("localhost:9092").set("group.id", "workers").set("share.acknowledgement.mode", "explicit");
//! let consumer = ShareConsumer::connect(&config)?;
//! consumer.subscribe(["jobs"])?;
//! loop {
//!     for job in &consumer.poll(Duration::from_secs(1)).await? {
//!         let done = job.value().is_some_and(|v| !v.is_empty());
//!         consumer.acknowledge(&job, if done { AcknowledgeType::Accept } else { AcknowledgeType::Reject })?;
//!     }
//! }
//! # }
//! ```
//!
//! [`ShareConsumer`] is what programs use; the rest is what it is made of, each part without IO: `membership` (the group's
//! heartbeat), `session` (what a broker knows of us), `acknowledgements`, and `core`, which puts them together behind one
//! lock; `task` does what they say is due.

mod acknowledgements;
mod consumer;
mod core;
mod membership;
mod record;
mod session;
mod task;

pub use crate::group::Waker;
pub use acknowledgements::AcknowledgeType;
pub use consumer::{Acknowledged, ShareConsumer};
pub use record::{ShareIter, ShareRecord, ShareRecords};
