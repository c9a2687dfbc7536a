//! The consumer: reads topics, alone or as a member of a group. Kafka's `KafkaConsumer`.
//!
//! ```no_run
//! # async fn example() -> Result<(), logrun_client::Error> {
//! use std::time::Duration;
//! use logrun_client::{Config, consumer::Consumer};
//!
//! let config = Config::new("localhost:9092").set("group.id", "readers").set("enable.auto.commit", false);
//! let consumer = Consumer::connect(&config)?;
//! consumer.subscribe(["orders"])?;
//! loop {
//!     for record in &consumer.poll(Duration::from_secs(1)).await? {
//!         println!("{} at {}: {:?}", record.partition(), record.offset(), record.value());
//!     }
//!     consumer.commit_sync().await?;
//! }
//! # }
//! ```
//!
//! A member that is told of its partitions:
//!
//! ```no_run
//! # async fn example() -> Result<(), logrun_client::Error> {
//! use logrun_client::consumer::{Consumer, RebalanceListener};
//! use logrun_client::security::BoxFuture;
//! use logrun_client::{Config, TopicPartition};
//!
//! struct FromTheBeginning;
//!
//! impl RebalanceListener for FromTheBeginning {
//!     fn on_assigned<'a>(&'a self, consumer: &'a Consumer, new: &'a [TopicPartition]) -> BoxFuture<'a, ()> {
//!         Box::pin(async move {
//!             if let Err(e) = consumer.seek_to_beginning(new) {
//!                 eprintln!("{e}");
//!             }
//!         })
//!     }
//! }
//!
//! let consumer = Consumer::connect(&Config::new("localhost:9092").set("group.id", "readers"))?;
//! consumer.subscribe_with(["orders"], FromTheBeginning)?;
//! # Ok(())
//! # }
//! ```
//!
//! [`Consumer`] is what programs use; the rest is what it is made of, each part a machine without IO:
//!
//! - `subscription`: what is wanted, what is assigned, where it stands.
//! - `membership`: the classic group protocol and the new one (KIP-848); [`assignor`], [`protocol`].
//! - `fetch`: sessions (KIP-227), what is asked of whom, what was fetched and not yet polled.
//! - `commits`: one exchange at a time, in the order in which they were decided.
//! - `core` puts them together behind one lock; `task` does what they say is due.

pub mod assignor;
mod commits;
#[allow(clippy::module_inception)]
mod consumer;
mod core;
mod fetch;
mod listener;
mod membership;
mod offsets;
mod pattern;
pub mod protocol;
pub(crate) mod record;
mod settings;
pub(crate) mod subscription;
pub(crate) mod task;

pub(crate) use fetch::fetched;
pub(crate) use membership::new_member_id;

pub use crate::group::Waker;
pub use consumer::{CloseOptions, Consumer, ConsumerGroupMetadata};
pub use listener::RebalanceListener;
pub use membership::GroupMembershipOperation;
pub use offsets::{OffsetAndMetadata, OffsetAndTimestamp};
pub use pattern::TopicPattern;
pub use record::{ConsumerRecord, Iter, OwnedRecord, Records};
