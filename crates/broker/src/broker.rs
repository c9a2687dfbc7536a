//! [`Broker`]: what the handlers of one node share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use logrun_admission::{FetchSessions, SessionLimits};
use logrun_config::{BrokerConfig, ListenerName};
use logrun_group::GroupConfig;
use logrun_io::Io;
use logrun_metadata::{ConfigResource, MetadataImage};
use logrun_model::{BrokerEpoch, NodeId, Now, Str};
use logrun_wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use parking_lot::{Mutex, RwLock};
use tracing::error;

use crate::cleaner::Cleaner;
use crate::context::{ListenerKind, RequestContext};
use crate::controller::Controller;
use crate::directories::Fatal;
use crate::groups::{Groups, OFFSETS_TOPIC};
use crate::logs::Logs;
use crate::moves::Moves;
use crate::partitions::{Partitions, Settings};
use crate::producer_ids::ProducerIds;

/// A fetch session unused for this long may be evicted (Kafka's `MIN_INCREMENTAL_FETCH_SESSION_EVICTION_MS`).
const FETCH_SESSION_EVICTION: Duration = Duration::from_secs(120);

/// What a broker is made of.
pub struct BrokerParts {
    pub io: Io,
    pub config: BrokerConfig,
    pub cluster_id: Str,
    pub image: Arc<MetadataImage>,
    pub controller: Controller,
    pub logs: Logs,
    /// Told when the node can't go on.
    pub fatal: Arc<Fatal>,
    /// What other nodes and tools are told of this host where nothing is advertised.
    pub host_name: Str,
}

/// The state that all requests share.
pub struct Broker {
    io: Io,
    /// As it was at the start: what can't change while the node runs.
    fixed_config: BrokerConfig,
    /// With the dynamic configs.
    config: RwLock<Arc<BrokerConfig>>,
    cluster_id: Str,
    host_name: Str,
    epoch: AtomicI64,
    open: AtomicBool,
    closing: AtomicBool,
    /// What the checkpoint files say, as [`Self::checkpoint`] sums it up.
    checkpointed: Mutex<Option<u64>>,
    image: RwLock<Arc<MetadataImage>>,
    /// Held while an image is brought into force: one at a time.
    publishing: tokio::sync::Mutex<()>,
    controller: Controller,
    logs: Logs,
    fatal: Arc<Fatal>,
    moves: Moves,
    partitions: Partitions,
    groups: Groups,
    producer_ids: ProducerIds,
    fetch_sessions: Mutex<FetchSessions>,
    cleaner: Cleaner,
}

impl Broker {
    pub fn new(parts: BrokerParts) -> Arc<Self> {
        let BrokerParts { io, config, cluster_id, image, controller, logs, fatal, host_name } = parts;
        let groups = &config.groups;
        let group_config = GroupConfig {
            group_min_session_timeout_ms: groups.min_session_timeout_ms,
            group_max_session_timeout_ms: groups.max_session_timeout_ms,
            group_initial_rebalance_delay_ms: groups.initial_rebalance_delay_ms,
            group_max_size: groups.max_size,
            offset_metadata_max_bytes: groups.offset_metadata_max_bytes,
            offsets_retention_ms: i64::from(groups.offsets_retention_minutes) * 60_000,
            offsets_retention_check_interval_ms: groups.offsets_retention_check_interval_ms,
            offsets_commit_timeout_ms: i64::from(groups.offsets_commit_timeout_ms),
            group_consumer_session_timeout_ms: i64::from(groups.consumer_session_timeout_ms),
            ..GroupConfig::default()
        };
        let threads = config.logs.alter_dirs_threads.and_then(|n| usize::try_from(n).ok());
        let moves_at_a_time = threads.unwrap_or_else(|| logs.directories().len());
        let limits = SessionLimits {
            slots: config.fetch.max_incremental_session_cache_slots.max(0) as usize,
            min_eviction: FETCH_SESSION_EVICTION,
        };
        let started = io.clock.wall();
        let broker = Arc::new(Self {
            groups: Groups::new(io.clone(), group_config),
            io,
            config: RwLock::new(Arc::new(config.clone())),
            fixed_config: config,
            cluster_id,
            host_name,
            epoch: AtomicI64::new(BrokerEpoch::NONE.get()),
            open: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            checkpointed: Mutex::default(),
            image: RwLock::new(image.clone()),
            publishing: tokio::sync::Mutex::default(),
            controller,
            moves: Moves::new(moves_at_a_time),
            logs,
            fatal,
            partitions: Partitions::default(),
            producer_ids: ProducerIds::default(),
            fetch_sessions: Mutex::new(FetchSessions::new(limits)),
            cleaner: Cleaner::new(started),
        });
        broker.reload_dynamic_config(&image);
        broker
    }

    pub fn io(&self) -> &Io {
        &self.io
    }

    pub fn now(&self) -> Now {
        self.io.clock.read()
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<BrokerConfig> {
        self.config.read().clone()
    }

    pub fn node_id(&self) -> NodeId {
        self.fixed_config.node_id
    }

    pub fn cluster_id(&self) -> Str {
        self.cluster_id.clone()
    }

    /// The epoch of this broker's registration.
    pub fn epoch(&self) -> BrokerEpoch {
        BrokerEpoch(self.epoch.load(Ordering::Acquire))
    }

    pub fn set_epoch(&self, epoch: BrokerEpoch) {
        self.epoch.store(epoch.get(), Ordering::Release);
    }

    /// Whether this node has the broker role.
    pub fn hosts_partitions(&self) -> bool {
        self.fixed_config.roles.broker
    }

    /// Whether the partitions are open, so that metadata is acted on.
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    pub(crate) fn set_open(&self) {
        self.open.store(true, Ordering::Release);
    }

    /// Whether this broker is about to stop, so that work which takes long is to be left.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    pub(crate) fn checkpointed(&self) -> &Mutex<Option<u64>> {
        &self.checkpointed
    }

    pub(crate) fn set_closing(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// Takes the partitions that the metadata gives this broker: the last step before requests are served. Their logs
    /// are opened when they are used.
    pub async fn take_partitions(self: &Arc<Self>) {
        crate::publish::take_all(self).await;
    }

    /// The metadata that requests are answered from.
    pub fn image(&self) -> Arc<MetadataImage> {
        self.image.read().clone()
    }

    pub(crate) fn publishing(&self) -> &tokio::sync::Mutex<()> {
        &self.publishing
    }

    pub(crate) fn set_image(&self, image: Arc<MetadataImage>) {
        *self.image.write() = image;
    }

    pub fn controller(&self) -> &Controller {
        &self.controller
    }

    /// The node that clients are told is the controller: a broker, so that they can reach it, which sends on what it can't
    /// answer itself. Kafka names any broker that lives; a broker here names itself.
    pub(crate) fn controller_id(&self) -> NodeId {
        self.node_id()
    }

    pub fn logs(&self) -> &Logs {
        &self.logs
    }

    pub(crate) fn moves(&self) -> &Moves {
        &self.moves
    }

    pub(crate) fn fatal(&self) -> &Fatal {
        &self.fatal
    }

    pub(crate) fn partitions(&self) -> &Partitions {
        &self.partitions
    }

    pub(crate) fn groups(&self) -> &Groups {
        &self.groups
    }

    pub(crate) fn producer_ids(&self) -> &ProducerIds {
        &self.producer_ids
    }

    pub(crate) fn cleaner(&self) -> &Cleaner {
        &self.cleaner
    }

    pub(crate) fn fetch_sessions(&self) -> &Mutex<FetchSessions> {
        &self.fetch_sessions
    }

    /// Where the asking client reaches `node`: by the advertised address of the listener that it came through, or,
    /// where none is advertised, at the address that it used itself.
    pub(crate) fn endpoint_of(&self, context: &RequestContext, node: NodeId) -> Option<(Str, i32)> {
        if node != self.node_id() {
            let image = self.image();
            let broker = image.cluster.broker(node)?;
            let endpoint = broker.listener(&context.listener.name)?;
            return Some((endpoint.host.clone(), i32::from(endpoint.port)));
        }
        let listeners = &self.fixed_config.listeners;
        let advertised = match context.listener.kind {
            ListenerKind::Broker => listeners.advertised_of(&ListenerName::new(&context.listener.name)),
            ListenerKind::Controller => None,
        };
        match advertised {
            Some(a) if a.host.is_some() => Some((Str::from(a.host.unwrap_or_default()), i32::from(a.port))),
            _ => Some((host_of(context), i32::from(context.local.port()))),
        }
    }

    /// What other nodes are told of a listener that advertises nothing.
    pub fn host_name(&self) -> &Str {
        &self.host_name
    }

    /// The settings that partitions of the topic `name` have now.
    pub(crate) fn settings_of(&self, name: &str) -> Arc<Settings> {
        let config = self.config();
        let explicit = self.image().configs.of(&ConfigResource::topic(name));
        let topic = config.topic(&explicit).unwrap_or_else(|e| {
            error!(topic = name, "the topic's configuration can't be read, the broker's defaults are used: {e}");
            config.topic_defaults.clone()
        });
        let lag_ms = config.settings.text("replica.lag.time.max.ms").and_then(|t| t.parse().ok()).unwrap_or(30_000);
        Arc::new(Settings::new(&topic, lag_ms, i64::from(config.logs.producer_id_expiration_ms)))
    }

    /// Takes the brokers' dynamic configs of `image` into force.
    pub(crate) fn reload_dynamic_config(&self, image: &MetadataImage) {
        let default = image.configs.of(&ConfigResource::DEFAULT_BROKER);
        let own = image.configs.of(&ConfigResource::broker(self.node_id().get()));
        match self.fixed_config.with_dynamic(&default, &own) {
            Ok(config) => *self.config.write() = Arc::new(config),
            Err(e) => error!("the dynamic configuration contradicts itself and is not used: {e}"),
        }
    }

    /// A topic as it is made when it is first asked for: the brokers' defaults, or what Kafka gives its own topics.
    pub(crate) fn auto_created(&self, name: &Str) -> CreatableTopic {
        let config = self.config();
        let (partitions, replication, configs): (i32, i16, Vec<(&str, String)>) = if *name == OFFSETS_TOPIC {
            let groups = &config.groups;
            let configs = vec![
                ("cleanup.policy", "compact".to_owned()),
                ("compression.type", "producer".to_owned()),
                ("segment.bytes", groups.offsets_topic_segment_bytes.to_string()),
            ];
            (groups.offsets_topic_num_partitions, groups.offsets_topic_replication_factor, configs)
        } else {
            (config.topics.num_partitions, config.topics.default_replication_factor as i16, Vec::new())
        };
        CreatableTopic {
            name: name.detached(),
            num_partitions: partitions,
            replication_factor: replication,
            configs: configs
                .into_iter()
                .map(|(name, value)| CreatableTopicConfig {
                    name: name.into(),
                    value: Some(value.into()),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        }
    }
}

/// The address that the client used, as it would write it.
fn host_of(context: &RequestContext) -> Str {
    Str::from(context.local.ip().to_canonical().to_string())
}
