//! Every option declared once: parser, validation, typed structs, descriptions.
//!
//! The tables in `tables/` are the declaration; everything else is computed from them. A start goes through
//! [`Loader`], which ends in a [`BrokerConfig`]; a topic's configs become a [`TopicConfig`], a group's a
//! [`GroupConfig`]; [`describe`] answers DescribeConfigs and [`alter`] checks changes. This crate never reads a file,
//! the environment or a clock: text comes in, values go out.

pub mod alter;
mod broker;
mod checks;
mod client;
pub mod describe;
pub mod duration;
mod embedded;
pub mod environment;
mod error;
mod fields;
mod group;
mod key;
mod limits;
mod listeners;
mod load;
pub mod page;
pub mod properties;
mod quorum;
mod retired;
mod sections;
mod settings;
pub mod suggest;
pub mod tables;
mod topic;
mod value;

pub use alter::{AlterOp, Resource, validate_topic_config};
pub use broker::BrokerConfig;
pub use client::{
    AdminConfig, AutoOffsetReset, ClientConfig, ClientKind, ClientSettings, Codec, ConsumerConfig, MetadataRecovery,
    ProducerConfig,
};
pub use duration::{OffsetReset, duration_ms};
pub use embedded::DATA_DIR;
pub use error::{ConfigError, ConfigErrors};
pub use group::{GroupConfig, IsolationLevel};
pub use key::{ConfigKey, DefaultValue, Effect, Importance, Synonym, Type, UpdateMode, Valid, Why};
pub use listeners::{Advertised, Endpoint, Listener, ListenerName, Listeners, Roles, SecurityProtocol, is_wildcard};
pub use load::{Loaded, Loader, Notice};
pub use quorum::Quorum;
pub use sections::{
    CleanerConfig, FetchConfig, GroupCoordinatorConfig, LifecycleConfig, LogManagerConfig, MetadataLogConfig,
    ShareCoordinatorConfig, SocketConfig, TopicsConfig, TransactionConfig,
};
pub use settings::{BrokerSettings, ConfigSource, Origin, Overrides, Setting};
pub use topic::{CleanupPolicy, CompressionType, Durability, TimestampType, TopicConfig};
pub use value::{HIDDEN, InvalidValue, Value};
