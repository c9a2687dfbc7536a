//! A node's configuration, typed and consistent: `KafkaConfig`.
//!
//! It is made once from all static settings, and again, cheaply, whenever the dynamic layers in the metadata log
//! change. It never reads files or the environment: whoever starts the node hands their text in.

use std::path::PathBuf;
use std::sync::Arc;

use logrun_model::NodeId;

use crate::error::{ConfigError, ConfigErrors, inconsistent};
use crate::listeners::{Listeners, Roles};
use crate::quorum::Quorum;
use crate::sections::{
    CleanerConfig, FetchConfig, GroupCoordinatorConfig, LifecycleConfig, LogManagerConfig, MetadataLogConfig,
    ShareCoordinatorConfig, SocketConfig, TopicsConfig, TransactionConfig,
};
use crate::settings::{BrokerSettings, Overrides};
use crate::tables::broker_options;
use crate::topic::TopicConfig;

/// A node's whole configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerConfig {
    /// What was set, where, and the dynamic layers; DescribeConfigs and topics' configs are computed from it.
    pub settings: Arc<BrokerSettings>,
    /// `process.roles`
    pub roles: Roles,
    /// `node.id`
    pub node_id: NodeId,
    /// `broker.rack`
    pub rack: Option<String>,
    /// The cluster that the data must belong to, if the environment says (`CLUSTER_ID`); formatting uses it too.
    pub cluster_id: Option<String>,
    pub listeners: Listeners,
    pub quorum: Quorum,
    /// `log.dirs`, or `log.dir`; at least one.
    pub log_dirs: Vec<PathBuf>,
    /// `metadata.log.dir`, or the first of `log_dirs`.
    pub metadata_log_dir: PathBuf,
    pub sockets: SocketConfig,
    pub topics: TopicsConfig,
    /// What a topic without configs of its own is like.
    pub topic_defaults: TopicConfig,
    pub logs: LogManagerConfig,
    pub cleaner: CleanerConfig,
    pub fetch: FetchConfig,
    pub groups: GroupCoordinatorConfig,
    pub transactions: TransactionConfig,
    pub share_coordinator: ShareCoordinatorConfig,
    pub metadata_log: MetadataLogConfig,
    pub lifecycle: LifecycleConfig,
}

impl BrokerConfig {
    /// Reads and checks everything.
    ///
    /// # Errors
    /// All values that can't be read; or, once they can, the first contradiction.
    pub fn from_settings(settings: BrokerSettings, cluster_id: Option<String>) -> Result<Self, ConfigErrors> {
        let unreadable: Vec<ConfigError> =
            broker_options().iter().filter_map(|key| settings.parse(key).err()).collect();
        if !unreadable.is_empty() {
            return Err(ConfigErrors(unreadable));
        }
        let roles = roles(&settings)?;
        let node_id = node_id(&settings)?;
        let listeners = Listeners::read(&settings, roles)?;
        let quorum = Quorum::read(&settings, roles, node_id)?;
        let list = |name: &str| -> Vec<PathBuf> {
            let mut dirs: Vec<PathBuf> = Vec::new();
            for dir in settings.text(name).unwrap_or("").split(',').map(str::trim).filter(|dir| !dir.is_empty()) {
                if !dirs.iter().any(|known| known == std::path::Path::new(dir)) {
                    dirs.push(PathBuf::from(dir));
                }
            }
            dirs
        };
        let mut log_dirs = list("log.dirs");
        if log_dirs.is_empty() {
            log_dirs = list("log.dir");
        }
        let Some(first_dir) = log_dirs.first() else {
            return Err(inconsistent("log.dirs is empty: name a directory for the data").into());
        };
        let metadata_log_dir = settings.text("metadata.log.dir").map_or_else(|| first_dir.clone(), PathBuf::from);
        let config = Self {
            roles,
            node_id,
            rack: settings.text("broker.rack").map(str::to_owned),
            cluster_id,
            listeners,
            quorum,
            log_dirs,
            metadata_log_dir,
            sockets: SocketConfig::read(&settings)?,
            topics: TopicsConfig::read(&settings)?,
            topic_defaults: TopicConfig::resolve(&settings, &Overrides::new())?,
            logs: LogManagerConfig::read(&settings)?,
            cleaner: CleanerConfig::read(&settings)?,
            fetch: FetchConfig::read(&settings)?,
            groups: GroupCoordinatorConfig::read(&settings)?,
            transactions: TransactionConfig::read(&settings)?,
            share_coordinator: ShareCoordinatorConfig::read(&settings)?,
            metadata_log: MetadataLogConfig::read(&settings)?,
            lifecycle: LifecycleConfig::read(&settings)?,
            settings: Arc::new(settings),
        };
        crate::checks::check(&config)?;
        Ok(config)
    }

    /// The same node with other dynamic configs. A name that is unknown or can't change while the node runs, and a
    /// value that can't be read, count as not set: the metadata log may hold what a later Kafka wrote.
    ///
    /// # Errors
    /// If the whole would be inconsistent; the node then keeps what it has.
    pub fn with_dynamic(&self, default: &Overrides, broker: &Overrides) -> Result<Self, ConfigErrors> {
        let readable = |configs: &Overrides| -> Overrides {
            configs
                .iter()
                .filter(|(name, value)| crate::alter::is_dynamic_value(name, value))
                .map(|(n, v)| (n.clone(), v.clone()))
                .collect()
        };
        let settings = BrokerSettings {
            fixed: self.settings.fixed.clone(),
            dynamic_default: readable(default),
            dynamic_broker: readable(broker),
        };
        Self::from_settings(settings, self.cluster_id.clone())
    }

    /// `replica.alter.log.dirs.io.max.bytes.per.second`, which can only be set while the broker runs.
    pub fn alter_log_dirs_bytes_per_second(&self) -> u64 {
        let name = "replica.alter.log.dirs.io.max.bytes.per.second";
        let set = self.settings.dynamic_broker.get(name).or_else(|| self.settings.dynamic_default.get(name));
        set.and_then(|text| text.parse().ok()).unwrap_or(u64::MAX)
    }

    /// The configuration of a topic with these configs of its own, as it is in the metadata log.
    ///
    /// # Errors
    /// If the broker's settings can't be read, which [`BrokerConfig::from_settings`] excludes.
    pub fn topic(&self, overrides: &Overrides) -> Result<TopicConfig, ConfigError> {
        TopicConfig::resolve_leniently(&self.settings, overrides).map(|(config, _)| config)
    }
}

fn roles(settings: &BrokerSettings) -> Result<Roles, ConfigError> {
    let Some(text) = settings.text("process.roles") else {
        return Err(ConfigError::Missing {
            name: "process.roles".to_owned(),
            remedy: "say broker, controller, or broker,controller for both in one node".to_owned(),
        });
    };
    let has = |role: &str| text.split(',').any(|item| item.trim() == role);
    Ok(Roles { broker: has("broker"), controller: has("controller") })
}

fn node_id(settings: &BrokerSettings) -> Result<NodeId, ConfigError> {
    let number = |name: &str| settings.text(name).and_then(|text| text.trim().parse::<i32>().ok());
    let old = number("broker.id").filter(|id| *id >= 0);
    match (number("node.id"), old) {
        (Some(id), Some(old)) if id != old => Err(inconsistent(format!(
            "node.id={id} and broker.id={old} differ: they are two names of one number, remove broker.id"
        ))),
        (Some(id), _) | (None, Some(id)) => Ok(NodeId(id)),
        (None, None) => Err(ConfigError::Missing {
            name: "node.id".to_owned(),
            remedy: "give the node a number that no other node of the cluster has, e.g. node.id=1".to_owned(),
        }),
    }
}
