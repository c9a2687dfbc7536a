//! The client library for Kafka's protocol: producer, consumer and admin client, for Logrun and for Apache Kafka.
//!
//! - [`Config`]: what to connect to and how, under Kafka's names.
//! - [`Client`]: connections, metadata, and `call`: any request to any node, the controller, a leader, a coordinator.
//! - [`admin::Admin`]: every call of Kafka's `Admin`.
//! - [`consumer::Consumer`]: alone or in a group, the classic protocol and the new one.
//! - [`share::ShareConsumer`]: a member of a share group, which settles each record by itself.
//! - [`producer::Producer`]: batching, retries, idempotence, transactions.
//!
//! Any request to any node:
//!
//! ```no_run
//! # async fn example() -> Result<(), logrun_client::Error> {
//! use logrun_client::{Client, Config, Target};
//! use logrun_wire::messages::DescribeClusterRequest;
//!
//! let client = Client::connect(&Config::new("localhost:9092"))?;
//! let cluster = client.call(Target::Controller, DescribeClusterRequest::default()).await?;
//! println!("{} with {} brokers", cluster.cluster_id, cluster.brokers.len());
//! # Ok(())
//! # }
//! ```
//!
//! Decisions are pure state machines ([`cluster`], the producer's accumulator and bookkeeping); the rest is a thin shell
//! over `logrun-io`, so that all of it runs in the simulator: [`Client::new`] takes an [`Io`](logrun_io::Io).

#![warn(missing_docs)]

pub mod admin;
pub mod backoff;
mod client;
pub mod cluster;
mod config;
pub mod connection;
pub mod consumer;
mod coordinators;
mod deadline;
mod error;
mod exchange;
mod group;
pub mod link;
mod metadata;
mod pool;
pub mod producer;
pub mod security;
pub mod share;
mod versions;

pub use admin::Admin;
pub use client::{Call, Client, Target};
pub use cluster::Cluster;
pub use config::Config;
pub use coordinators::CoordinatorKey;
pub use error::{Error, check};
pub use logrun_config::ClientKind;
pub use logrun_model::{NodeId, Offset, Str, TopicPartition, Uuid};
pub use logrun_wire::ErrorCode;
pub use pool::Lane;
pub use producer::{Producer, Record};
pub use versions::Versions;

/// What calls return.
pub type Result<T> = std::result::Result<T, Error>;
