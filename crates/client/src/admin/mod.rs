//! [`Admin`]: every call of Kafka's `Admin`, each a method, with a result for each item.
//!
//! A call that concerns several brokers is split, one request a broker, and what fails in a way that passes is tried
//! again for the items concerned until the timeout. Never is a call silently narrowed: what a broker is too old for is
//! [`Error::Unsupported`].
//!
//! ```no_run
//! # async fn example() -> Result<(), logrun_client::Error> {
//! use logrun_client::{Admin, Config, admin::NewTopic};
//!
//! let admin = Admin::connect(&Config::new("localhost:9092"))?;
//! let topics = [NewTopic::new("orders", 6).config("retention.ms", "60000"), NewTopic::new("jobs", 1)];
//! for (name, result) in admin.create_topics(&topics, false).await? {
//!     match result {
//!         Ok(created) => println!("{name} has the id {}", created.id),
//!         Err(e) => println!("{name}: {e}"),
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod cluster;
mod configs;
mod fan_out;
mod groups;
mod offsets;
mod partitions;
mod record_times;
mod security;
mod share;
mod topics;
mod transactions;

use std::collections::BTreeMap;
use std::time::Duration;

use logrun_wire::Request;

use crate::client::{Call, Client, Target};
use crate::config::Config;
use crate::error::Error;

pub use cluster::{ClusterDescription, Features, Quorum, UpgradeType};
pub use configs::{AlterOp, ConfigAlteration, ConfigDescription, ConfigResource, ResourceType};
pub use groups::{
    GroupDescription, GroupKind, GroupListing, GroupMember, MemberToRemove, OffsetAndMetadata, TopicPartitions,
};
pub use offsets::{ListedOffset, OffsetSpec};
pub use partitions::{ElectionType, LogDir, LogDirReplica, Reassignment};
pub use security::{
    AclBinding, AclFilter, DelegationToken, Principal, QuotaAlteration, QuotaComponent, QuotaEntity, QuotaMatch,
    ScramMechanism, ScramUpsertion,
};
pub use share::ShareOffset;
pub use topics::{CreatedTopic, NewPartitions, NewTopic, TopicDescription, TopicListing, TopicPartitionInfo};
pub use transactions::{ProducerState, TransactionDescription, TransactionListing};

/// A result for each item.
pub type Each<K, V> = BTreeMap<K, Result<V, Error>>;

/// An administrator's way to a cluster. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Admin {
    client: Client,
    timeout: Option<Duration>,
}

impl Admin {
    /// An admin client over the operating system's network. Nothing is connected before the first call.
    ///
    /// # Errors
    /// If the configuration can't be used.
    pub fn connect(config: &Config) -> Result<Self, Error> {
        Client::connect(config).map(Self::of)
    }

    /// An admin client over the connections of `client`.
    pub fn of(client: Client) -> Self {
        Self { client, timeout: None }
    }

    /// The same, giving up after `timeout` instead of `default.api.timeout.ms`.
    #[must_use]
    pub fn within(&self, timeout: Duration) -> Self {
        Self { client: self.client.clone(), timeout: Some(timeout) }
    }

    /// The connections beneath.
    pub fn client(&self) -> &Client {
        &self.client
    }

    fn to(&self, target: Target) -> Call {
        Call::to(target).timeout(self.timeout)
    }

    /// What a request that the controller works on says about its own timeout, in milliseconds.
    fn timeout_ms(&self) -> i32 {
        i32::try_from(self.timeout.unwrap_or(self.client.request_timeout()).as_millis()).unwrap_or(i32::MAX)
    }

    /// A call whose response has no error of its own, or one that is found by `check`.
    async fn ask<R: Request>(
        &self,
        target: Target,
        request: R,
        check: impl Fn(&R::Response) -> Result<(), Error> + Sync,
    ) -> Result<R::Response, Error> {
        self.client.call_with(self.to(target), |_| Ok(request.clone()), |_, response| check(response)).await
    }
}

/// `items` by topic, as most requests have them: the topics in order of their names, the partitions as they come.
pub(crate) fn by_topic<'a, T>(
    items: impl IntoIterator<Item = (&'a crate::TopicPartition, T)>,
) -> BTreeMap<&'a crate::Str, Vec<(i32, T)>> {
    let mut topics: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (tp, item) in items {
        topics.entry(&tp.topic).or_default().push((tp.partition, item));
    }
    topics
}
