//! The controller's decisions: topics, brokers, configs, leadership, features, producer ids (KIP-500, KIP-631).
//!
//! [`Controller`] is a machine under the recorded contract: a [`Command`] becomes metadata records and a [`Reply`].
//! [`Liveness`] is the soft state beside it. Absent here: the metadata log and its quorum (raft's), authorisation
//! (the broker's), the meaning of configs (asked of a [`ConfigSchema`]).

mod brokers;
mod change;
mod command;
mod configs;
mod error;
mod features;
mod liveness;
mod machine;
mod partitions;
mod placement;
mod reassign;
mod schema;
mod topics;

pub use brokers::registered_features;
pub use change::{Election, PartitionChange};
pub use command::{Command, Reply};
pub use error::ApiError;
pub use liveness::Liveness;
pub use machine::{
    Controller, ControllerConfig, Decided, MIN_INSYNC_REPLICAS, RECORDS_PER_COMMAND_MAX, bootstrap_records,
};
pub use placement::{UsableBroker, place};
pub use schema::{AnyConfig, ConfigSchema};
