//! The broker: dispatch, one handler per API, partitions, waiting, publishing metadata.
//!
//! A request comes in by [`BrokerService`], is looked up in the table of [`api`], and goes to its handler. Metadata
//! comes in by [`publish`]. What is decided is decided by the state machines of the lower crates; this crate holds
//! their shells. Must never answer what a handler's state machine has not said.

pub mod api;
mod broker;
mod cleaner;
mod context;
pub mod controller;
pub mod directories;
mod dispatch;
pub mod errors;
mod groups;
mod handlers;
pub mod logs;
mod moves;
mod opening;
mod partitions;
mod producer_ids;
mod publish;
mod quorum;
mod schema;
mod throttle;
mod upkeep;
mod waiting;

pub use broker::{Broker, BrokerParts};
pub use context::{ListenerInfo, ListenerKind, Principal, RequestContext};
pub use dispatch::BrokerService;
pub use publish::publish;
pub use schema::Schema;
