//! The consumer: reads topics, alone or as a member of a group. Kafka's `KafkaConsumer`.
//!
//! [`Consumer`] is what programs use; the rest is what it is made of, each part a machine without IO:
//!
//! - `subscription`: what is wanted, what is assigned, where it stands.
//! - `membership`: the classic group protocol and the new one (KIP-848); [`assignor`], [`protocol`].
//! - `fetch`: sessions (KIP-227), what is asked of whom, what was fetched and not yet polled.
//! - `core` puts them together behind one lock; `task` does what they say is due.

pub mod assignor;
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
