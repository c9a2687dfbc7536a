//! The start of a node, step by step. What is different for a broker whose controllers are elsewhere is in `join.rs`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use logrun_broker::controller::{Committer, Controller, Local, Observation, loading_driver, refused};
use logrun_broker::directories::Fatal;
use logrun_broker::logs::Logs;
use logrun_broker::{Broker, BrokerParts, BrokerService, ListenerKind, Schema, publish};
use logrun_config::{BrokerConfig, Listener};
use logrun_controller::{
    Command, Controller as Machine, ControllerConfig, Reply, bootstrap_records, registered_features,
};
use logrun_coordinator::Recorded;
use logrun_io::Io;
use logrun_log::{JournalConfig, Journaled, LogDirs, LogEnv, OpenState, TailCache, Writing};
use logrun_metadata::{MetadataImage, MetadataLoader, MetadataVersion};
use logrun_model::{BrokerEpoch, DirectoryId, LeaderEpoch, MetadataOffset, Offset, Str};
use logrun_net::Connections;
use logrun_raft::{MetadataLog, RaftConfig, RaftError, Voter, VoterEndpoint};
use logrun_wire::ErrorCode;
use logrun_wire::messages as m;
use tokio::sync::{oneshot, watch};
use tracing::{info, warn};

use crate::listeners::{self, Bound};
use crate::{Node, StartError, join};

/// Without a limit of its own the cache gets this part of the memory.
const CACHE_SHARE_OF_MEMORY: u64 = 4;
/// And at most this much: memory that was never touched costs more than the records in it (measured: 2.5 s of CPU for a GB on
/// a virtual machine that gives free pages back to its host), and it's touched again only once the cache is full.
const CACHE_BYTES_MAX: u64 = 256 << 20;
/// The memory of a machine that doesn't say.
const MEMORY_BYTES_UNKNOWN: u64 = 1 << 30;

/// `logrun.cache.bytes`, or what stands for -1.
fn cache_bytes(io: &Io, setting: i64) -> usize {
    let bytes = u64::try_from(setting).unwrap_or_else(|_| {
        (io.memory_bytes().unwrap_or(MEMORY_BYTES_UNKNOWN) / CACHE_SHARE_OF_MEMORY).min(CACHE_BYTES_MAX)
    });
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

pub async fn start(io: Io, config: BrokerConfig) -> Result<Node, StartError> {
    let mut paths = config.log_dirs.clone();
    if !paths.contains(&config.metadata_log_dir) {
        paths.push(config.metadata_log_dir.clone());
    }
    let taken = LogDirs::open(&io, &paths)?;
    for (path, e) in &taken.failed {
        warn!("going on without {}: {e}", path.display());
    }
    let some_missing = !taken.failed.is_empty();
    let mut dirs = taken.dirs;
    let wanted_cluster: Option<Str> = config.cluster_id.as_deref().map(Str::from);
    dirs.check_owner(wanted_cluster.as_ref(), config.node_id)?;
    let bound = bind_all(&io, &config).await?;

    let formatted = !dirs.is_formatted();
    let known = wanted_cluster.or_else(|| dirs.cluster_id().cloned());
    let cluster_id = match known {
        known if !config.roles.controller => join::cluster_id(&io, &config, known).await?,
        Some(id) => id,
        None => Str::from(io.random.uuid().to_string()),
    };
    dirs.format(&cluster_id, config.node_id)?;
    let previous_epoch = dirs.take_clean_shutdown()?;

    let journaled = match config.logs.journal.as_str() {
        "none" => None,
        "sync" => Some(Journaled::Synced),
        _ => Some(Journaled::All),
    };
    let journal_bytes = config.logs.journal_bytes.unsigned_abs();
    let writing = Writing {
        journal: journaled.map(|journaled| JournalConfig { journaled, bytes: journal_bytes }),
        gather_bytes: usize::try_from(config.logs.write_gather_bytes).unwrap_or(usize::MAX),
    };
    let tail = TailCache::with_writing(cache_bytes(&io, config.logs.cache_bytes), writing);
    let env = LogEnv { io: io.clone(), tail };
    let host_name = host_name();
    let metadata = if config.roles.controller {
        lead(&env, &config, &dirs, &cluster_id, &host_name)?
    } else {
        join::copy(&env, &config, &dirs, &cluster_id)?
    };
    let Metadata { controller, image, source } = metadata;
    // Whoever made rules must not find them silently unheeded.
    if !image.acls.is_empty() && config.settings.text("authorizer.class.name").is_some_and(|name| !name.is_empty()) {
        return Err(StartError::Acls);
    }

    let logs = Logs::scan(env, dirs, some_missing)?;
    let (tell_failure, mut failed) = oneshot::channel();
    let fatal = Fatal::new(tell_failure);
    let directory_ids = logs.directory_ids();
    let broker = Broker::new(BrokerParts {
        io: io.clone(),
        config: config.clone(),
        cluster_id: cluster_id.clone(),
        image,
        controller: controller.clone(),
        logs,
        fatal: fatal.clone(),
        host_name: host_name.clone(),
    });
    let publisher = broker.clone();
    let publish = move |published| {
        let broker = publisher.clone();
        async move { publish(&broker, published).await }
    };
    let request = || registration(&io, &config, &cluster_id, directory_ids.clone(), previous_epoch, &bound, &host_name);
    let source = match source {
        Source::Led(committer) => {
            let committer = io.tasks.spawn(async move {
                if let Err(e) = committer.run(publish).await {
                    fatal.fail(format!("the metadata log has failed: {e}"));
                }
            });
            // Taken only if the metadata is empty, which it also is after a first start that was cut short.
            let bootstrap = logrun_raft::read_bootstrap(&*io.disk, &config.metadata_log_dir)?;
            let bootstrap = bootstrap.unwrap_or_else(|| bootstrap_records(MetadataVersion::LATEST));
            submit(&controller, Command::Activate { bootstrap }).await?;
            register_controller(&io, &controller, &config, &bound, &host_name).await?;
            if config.roles.broker {
                serve_here(&broker, request()).await?;
            }
            committer
        }
        Source::Copied(observation, caught_up) => {
            let observing = io.tasks.spawn(async move {
                if let Err(e) = observation.run(publish).await {
                    fatal.fail(e.to_string());
                }
            });
            tokio::select! {
                biased;
                joined = join::join(&broker, &config, request(), caught_up) => joined?,
                reason = &mut failed => return Err(StartError::Metadataless(reason.unwrap_or_default())),
            }
            observing
        }
    };

    let connections = Connections::default();
    let mut tasks = broker.start_upkeep(config.metadata_log_dir.clone());
    let mut listening = Vec::new();
    for Bound { info, acceptor, address } in bound {
        listening.push((info.name.to_string(), address));
        let (broker, open) = (broker.clone(), connections.clone());
        let service = move |peer| BrokerService::new(broker.clone(), info.clone(), peer);
        tasks.push(io.tasks.spawn(acceptor.run(io.clone(), open, service)));
    }
    info!(node = %config.node_id, cluster = %cluster_id, "serving");
    Ok(Node {
        io,
        broker,
        cluster_id,
        node_id: config.node_id,
        data_dirs: paths,
        listeners: listening,
        connections,
        tasks,
        source,
        failed: Some(failed),
        formatted,
    })
}

/// Where a node's metadata comes from.
pub enum Source {
    /// Its own controller's log.
    Led(Box<Committer>),
    /// A copy of the controllers' log; says when it has once been level with it.
    Copied(Box<Observation>, watch::Receiver<bool>),
}

/// The metadata as a node begins with it.
pub struct Metadata {
    pub controller: Controller,
    pub image: Arc<MetadataImage>,
    pub source: Source,
}

/// Loads the metadata log and leads its quorum.
fn lead(
    env: &LogEnv,
    config: &BrokerConfig,
    dirs: &LogDirs,
    cluster_id: &Str,
    host_name: &Str,
) -> Result<Metadata, StartError> {
    let io = &env.io;
    let MetadataAtStart { mut machine, loader, mut log } = load_metadata(env, config, dirs, cluster_id, host_name)?;
    let epoch = log.become_leader(io.clock.read())?;
    machine.set_next_offset(log.end_offset());
    if let Some(fault) = machine.fault() {
        return Err(fault.clone().into());
    }
    let image = loader.image().clone();
    let leader_epoch = LeaderEpoch(epoch.get());
    let mut driver = loading_driver(machine, leader_epoch);
    driver.loaded(leader_epoch);
    driver.committed(Offset(log.end_offset().get()), &mut Vec::new());
    let session_timeout = Duration::from_millis(config.lifecycle.session_timeout_ms.max(1) as u64);
    let (local, committer) = Local::new(io.clone(), config.node_id, session_timeout, driver, log, loader);
    Ok(Metadata { controller: Controller::here(io.clone(), local), image, source: Source::Led(Box::new(committer)) })
}

/// Registers the broker of this process with the controller of this process, and takes its partitions.
async fn serve_here(broker: &Arc<Broker>, request: m::BrokerRegistrationRequest) -> Result<(), StartError> {
    let controller = broker.controller();
    let command = Command::RegisterBroker { request, former_self_is_dead: true, session_is_valid: true };
    match submit(controller, command).await? {
        Reply::RegisterBroker(r) if r.error_code == ErrorCode::None.code() => {
            broker.set_epoch(BrokerEpoch(r.broker_epoch));
        }
        Reply::RegisterBroker(r) => {
            let code = ErrorCode::from_code(r.error_code).unwrap_or(ErrorCode::UnknownServerError);
            return Err(StartError::Refused(format!("the registration ended with {code}")));
        }
        other => return Err(StartError::Refused(refused(other).code.to_string())),
    }
    match broker.heartbeat(false).await {
        Ok(pulse) if !pulse.fenced => {}
        Ok(_) => return Err(StartError::Refused("it keeps this broker fenced".into())),
        Err(f) => return Err(StartError::Refused(f.code.to_string())),
    }
    controller.settled().await;
    broker.take_partitions().await;
    Ok(())
}

async fn bind_all(io: &Io, config: &BrokerConfig) -> Result<Vec<Bound>, StartError> {
    let max = config.sockets.request_max_bytes.max(0) as usize;
    let mut bound = Vec::new();
    if config.roles.broker {
        for listener in &config.listeners.broker {
            bound.push(listeners::bind(io, listener, ListenerKind::Broker, max).await?);
        }
    }
    for listener in &config.listeners.controller {
        bound.push(listeners::bind(io, listener, ListenerKind::Controller, max).await?);
    }
    Ok(bound)
}

struct MetadataAtStart {
    machine: Machine,
    loader: MetadataLoader,
    log: MetadataLog,
}

/// Formats the metadata log if it is not there, and replays it into the controller's machine and into an image.
fn load_metadata(
    env: &LogEnv,
    config: &BrokerConfig,
    dirs: &LogDirs,
    cluster_id: &Str,
    host_name: &Str,
) -> Result<MetadataAtStart, StartError> {
    let io = &env.io;
    let now = io.clock.read();
    let MetadataPlace { directory_id, state } = metadata_place(config, dirs)?;
    let endpoints = config.listeners.controller.iter().map(|l| VoterEndpoint {
        name: l.name.to_string().into(),
        host: host_of(l, host_name),
        port: l.port,
    });
    let voter = Voter { id: config.node_id, directory_id, endpoints: endpoints.collect() };
    MetadataLog::format(io, &config.metadata_log_dir, std::slice::from_ref(&voter), now)?;

    let machine_config = ControllerConfig {
        node_id: config.node_id,
        cluster_id: cluster_id.clone(),
        num_partitions: config.topics.num_partitions,
        default_replication_factor: config.topics.default_replication_factor as i16,
        // Until brokers copy partitions from each other.
        replicas_max: Some(1),
        delete_topic_enable: config.topics.delete_enable,
        schema: Arc::new(Schema::new(config.clone())),
    };
    let mut machine = Machine::new(machine_config, MetadataOffset(0));
    let mut loader = MetadataLoader::new(MetadataImage::empty(cluster_id.clone()));
    let raft = RaftConfig {
        voter,
        segment_bytes: config.metadata_log.segment_bytes.max(1) as u64,
        max_record_bytes_between_snapshots: config.metadata_log.max_record_bytes_between_snapshots.max(1) as u64,
    };
    let log = MetadataLog::open(env, &config.metadata_log_dir, raft, state, now, |batch| {
        let first = batch.last_offset.get() - (batch.records.len() as i64 - 1);
        for (offset, record) in (first..).zip(&batch.records) {
            machine.replay_at(Offset(offset), record);
        }
        loader
            .commit(&batch.records, batch.last_offset, batch.epoch, batch.timestamp)
            .map_err(|e| RaftError::Record { offset: batch.last_offset.get(), reason: e.to_string() })?;
        Ok(())
    })?;
    Ok(MetadataAtStart { machine, loader, log })
}

/// Where the metadata log lies and what is known of it.
pub struct MetadataPlace {
    pub directory_id: DirectoryId,
    pub state: OpenState,
}

/// Looks at the directory of the metadata log.
pub fn metadata_place(config: &BrokerConfig, dirs: &LogDirs) -> Result<MetadataPlace, StartError> {
    let gone = || RaftError::Io {
        action: "use",
        path: config.metadata_log_dir.clone(),
        source: std::io::Error::other("the metadata log's directory has failed"),
    };
    let at = |path: &Path| dirs.dirs().iter().position(|d| d.path == path);
    let i = at(&config.metadata_log_dir).ok_or_else(gone)?;
    let dir = &dirs.dirs()[i];
    let directory_id = dir.directory_id().ok_or_else(gone)?;
    let name = logrun_model::TopicPartition::new("__cluster_metadata", 0);
    let read = |file| -> Result<Offset, StartError> {
        Ok(dirs.read_checkpoint(i, file)?.0.get(&name).copied().unwrap_or(Offset::ZERO))
    };
    let state = OpenState {
        log_start_offset: read(logrun_log::LOG_START_OFFSET_CHECKPOINT)?,
        recovery_point: read(logrun_log::RECOVERY_POINT_CHECKPOINT)?,
        clean_shutdown: dir.clean_shutdown,
        ..OpenState::NEW
    };
    Ok(MetadataPlace { directory_id, state })
}

async fn submit(controller: &Controller, command: Command) -> Result<Reply, StartError> {
    match controller.submit(command).await {
        Ok(Reply::Refused(e)) => {
            Err(StartError::Refused(e.message.map_or_else(|| e.code.to_string(), |m| m.to_string())))
        }
        Ok(reply) => Ok(reply),
        Err(f) => Err(StartError::Refused(f.message.as_deref().map_or_else(|| f.code.to_string(), str::to_owned))),
    }
}

async fn register_controller(
    io: &Io,
    controller: &Controller,
    config: &BrokerConfig,
    bound: &[Bound],
    host_name: &Str,
) -> Result<(), StartError> {
    let listeners = config.listeners.controller.iter().map(|l| m::controller_registration_request::Listener {
        name: l.name.to_string().into(),
        host: host_of(l, host_name),
        port: real_port(l, bound),
        ..Default::default()
    });
    let features = registered_features().map(|f| m::controller_registration_request::Feature {
        name: f.name.into(),
        min_supported_version: f.min,
        max_supported_version: f.max,
        ..Default::default()
    });
    let request = m::ControllerRegistrationRequest {
        controller_id: config.node_id.get(),
        incarnation_id: io.random.uuid(),
        listeners: listeners.collect(),
        features: features.collect(),
        ..Default::default()
    };
    submit(controller, Command::RegisterController { request }).await.map(|_| ())
}

fn registration(
    io: &Io,
    config: &BrokerConfig,
    cluster_id: &Str,
    log_dirs: Vec<logrun_model::DirectoryId>,
    previous_epoch: BrokerEpoch,
    bound: &[Bound],
    host_name: &Str,
) -> m::BrokerRegistrationRequest {
    let listeners = config.listeners.broker.iter().map(|l| {
        let advertised = config.listeners.advertised_of(&l.name);
        let host = advertised.as_ref().and_then(|a| a.host.clone()).map_or_else(|| host_of(l, host_name), Str::from);
        let port = advertised.map_or(0, |a| a.port);
        m::broker_registration_request::Listener {
            name: l.name.to_string().into(),
            host,
            port: if port == 0 { real_port(l, bound) } else { port },
            ..Default::default()
        }
    });
    let features = registered_features().map(|f| m::broker_registration_request::Feature {
        name: f.name.into(),
        min_supported_version: f.min,
        max_supported_version: f.max,
        ..Default::default()
    });
    m::BrokerRegistrationRequest {
        broker_id: config.node_id.get(),
        cluster_id: cluster_id.clone(),
        incarnation_id: io.random.uuid(),
        listeners: listeners.collect(),
        features: features.collect(),
        rack: config.rack.as_deref().map(Str::from),
        log_dirs,
        previous_broker_epoch: previous_epoch.get(),
        ..Default::default()
    }
}

/// The host that others are told of a listener: its own, or this machine's name where it listens everywhere.
fn host_of(listener: &Listener, host_name: &Str) -> Str {
    if logrun_config::is_wildcard(&listener.host) { host_name.clone() } else { Str::from(listener.host.as_str()) }
}

fn real_port(listener: &Listener, bound: &[Bound]) -> u16 {
    let own = bound.iter().find(|b| *b.info.name == *listener.name.as_str());
    own.map_or(listener.port, |b| b.address.port())
}

fn host_name() -> Str {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Str::from(if name.is_empty() { "localhost".to_owned() } else { name })
}
