//! A broker whose controllers are other processes: it asks them for the cluster's id, copies their metadata log, registers,
//! and is let in. Kafka's `BrokerServer.startup` with `BrokerLifecycleManager` (KIP-631).
//!
//! While no controller answers it waits: they may be started after it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use logrun_broker::Broker;
use logrun_broker::controller::{Controller, Observation, Remote, RemoteConfig};
use logrun_client::backoff::Backoff;
use logrun_client::link::Link;
use logrun_client::{Error, check};
use logrun_config::{BrokerConfig, SecurityProtocol};
use logrun_controller::{Command, Reply};
use logrun_io::Io;
use logrun_log::{LogDirs, LogEnv};
use logrun_metadata::{MetadataImage, MetadataLoader};
use logrun_model::{BrokerEpoch, NodeId, Str};
use logrun_raft::{MetadataLog, Node as Address, Observer, ObserverConfig, RaftConfig, RaftError, Voter};
use logrun_wire::messages as m;
use logrun_wire::{ErrorCode, VersionRange};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::StartError;
use crate::start::{Metadata, MetadataPlace, Source, metadata_place};

/// The kind of endpoint that DescribeCluster is asked for.
const CONTROLLERS: i8 = 2;
/// DescribeCluster knows kinds of endpoints from this version on (KIP-919).
const DESCRIBE_VERSIONS: VersionRange = VersionRange::new(1, i16::MAX);
/// Between two attempts, at first and at most.
const RETRY_BACKOFF_MS: (i64, i64) = (100, 1000);
/// How often a person who waits is told for what.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// Between two looks at whether metadata has come that is on its way.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
const ANSWER_MAX: Duration = Duration::from_secs(4);

/// The id of the controllers' cluster, which is `known` if this node has one already.
pub async fn cluster_id(io: &Io, config: &BrokerConfig, known: Option<Str>) -> Result<Str, StartError> {
    check_protocol(config)?;
    let controllers = addresses(config);
    let at = controllers.iter().map(|c| format!("{}:{}", c.host, c.port)).collect::<Vec<_>>().join(", ");
    let mut told = None;
    let mut failures = 0;
    loop {
        for to in &controllers {
            let error = match describe(io, config.node_id, to).await {
                Ok(found) => return checked(config, known, &at, &found),
                Err(e) => e,
            };
            if let Error::Unsupported { .. } = error {
                // Before Kafka 3.7 controllers didn't tell. Whoever has an id finds out by the first fetch.
                return known.ok_or_else(|| StartError::UnknownCluster { at, reason: error.to_string() });
            }
            let now = io.clock.now();
            if told.is_none_or(|at| now.since(at) >= TELL_EVERY) {
                info!("waiting for a controller at {at} (controller.quorum.bootstrap.servers): {error}");
                told = Some(now);
            }
        }
        let (first, max) = RETRY_BACKOFF_MS;
        io.clock.sleep(Backoff::new(first, max).after(failures, &io.random)).await;
        failures += 1;
    }
}

/// Brokers speak to controllers as the first controller listener has it.
fn check_protocol(config: &BrokerConfig) -> Result<(), StartError> {
    let Some(name) = config.listeners.controller_names.first() else { return Ok(()) };
    match config.listeners.protocols.get(name) {
        None | Some(SecurityProtocol::Plaintext) => Ok(()),
        Some(other) => {
            Err(StartError::Protocol { listener: name.to_string(), protocol: format!("{other:?}").to_uppercase() })
        }
    }
}

fn addresses(config: &BrokerConfig) -> Vec<Address> {
    let quorum = &config.quorum;
    let named = match quorum.bootstrap_servers.is_empty() {
        true => quorum.voters.values().collect::<Vec<_>>(),
        false => quorum.bootstrap_servers.iter().collect(),
    };
    named.into_iter().map(|(host, port)| Address { host: host.as_str().into(), port: *port }).collect()
}

async fn describe(io: &Io, own: NodeId, to: &Address) -> Result<m::DescribeClusterResponse, Error> {
    let failed = |reason: String| Error::Connect { address: format!("{}:{}", to.host, to.port), reason };
    let asking = async {
        let mut last = failed("its name has no address".to_owned());
        for address in io.net.resolve(&to.host, to.port).await.map_err(|e| failed(e.to_string()))? {
            match Link::connect(io, address, &format!("broker-{own}")).await {
                Ok(mut link) => {
                    let version =
                        link.api_versions(ANSWER_MAX).await?.pick::<m::DescribeClusterRequest>(DESCRIBE_VERSIONS)?;
                    let request = m::DescribeClusterRequest { endpoint_type: CONTROLLERS, ..Default::default() };
                    let response = link.call(version, &request, ANSWER_MAX).await?;
                    check(response.error_code, response.error_message.as_ref())?;
                    return Ok(response);
                }
                Err(e) => last = e,
            }
        }
        Err(last)
    };
    tokio::select! {
        biased;
        answer = asking => answer,
        () = io.clock.sleep(ANSWER_MAX) => Err(failed(format!("no answer within {} ms", ANSWER_MAX.as_millis()))),
    }
}

/// Whether these controllers are this node's.
fn checked(
    config: &BrokerConfig,
    known: Option<Str>,
    at: &str,
    found: &m::DescribeClusterResponse,
) -> Result<Str, StartError> {
    if let Some(expected) = known.filter(|id| *id != found.cluster_id) {
        return Err(StartError::OtherCluster {
            at: at.to_owned(),
            found: found.cluster_id.to_string(),
            expected: expected.to_string(),
        });
    }
    let ids: Vec<i32> = found.brokers.iter().map(|b| b.broker_id).collect();
    let own = config.node_id.get();
    if ids.contains(&own) {
        return Err(StartError::ControllersId { id: own, at: at.to_owned() });
    }
    let voters: Vec<i32> = config.quorum.voters.keys().map(|id| id.get()).collect();
    if !voters.is_empty() && !ids.is_empty() && !ids.iter().any(|id| voters.contains(id)) {
        return Err(StartError::OtherVoters { at: at.to_owned(), voters, found: ids });
    }
    Ok(found.cluster_id.detached())
}

/// Opens this node's copy of the metadata log.
pub fn copy(env: &LogEnv, config: &BrokerConfig, dirs: &LogDirs, cluster_id: &Str) -> Result<Metadata, StartError> {
    let io = &env.io;
    let MetadataPlace { directory_id, state } = metadata_place(config, dirs)?;
    let raft = RaftConfig {
        voter: Voter { id: config.node_id, directory_id, endpoints: Vec::new() },
        segment_bytes: config.metadata_log.segment_bytes.max(1) as u64,
        max_record_bytes_between_snapshots: config.metadata_log.max_record_bytes_between_snapshots.max(1) as u64,
    };
    let mut loader = MetadataLoader::new(MetadataImage::empty(cluster_id.clone()));
    let log = MetadataLog::open_observer(env, &config.metadata_log_dir, raft, state, io.clock.read(), |batch| {
        loader
            .commit(&batch.records, batch.last_offset, batch.epoch, batch.timestamp)
            .map_err(|e| RaftError::Record { offset: batch.last_offset.get(), reason: e.to_string() })?;
        Ok(())
    })?;
    let address = |(host, port): &(String, u16)| Address { host: host.as_str().into(), port: *port };
    let voters: BTreeMap<_, _> = config.quorum.voters.iter().map(|(id, at)| (*id, address(at))).collect();
    let observer = ObserverConfig {
        id: config.node_id,
        directory_id,
        cluster_id: cluster_id.clone(),
        controllers: addresses(config),
        voters,
        fetch_max_bytes: config.metadata_log.fetch_max_bytes,
        fetch_snapshot_max_bytes: config.metadata_log.fetch_snapshot_max_bytes,
    };
    let observer = Observer::new(observer, log.epoch());
    let ms = |v: i32| Duration::from_millis(v.max(1) as u64);
    let lifecycle = &config.lifecycle;
    let remote = RemoteConfig {
        node_id: config.node_id,
        request_timeout: ms(lifecycle.request_timeout_ms),
        session_timeout: ms(lifecycle.session_timeout_ms),
    };
    let remote = Arc::new(Remote::new(io.clone(), remote, log));
    let image = loader.image().clone();
    let (observation, caught_up) = Observation::new(io.clone(), config.node_id, remote.clone(), observer, loader);
    Ok(Metadata {
        controller: Controller::there(io.clone(), remote),
        image,
        source: Source::Copied(Box::new(observation), caught_up),
    })
}

/// Registers this broker with the controllers, takes its partitions, and waits until it is let in.
pub async fn join(
    broker: &Arc<Broker>,
    config: &BrokerConfig,
    request: m::BrokerRegistrationRequest,
    mut caught_up: watch::Receiver<bool>,
) -> Result<(), StartError> {
    let stopped = || StartError::Metadataless("the metadata log is not followed any more".to_owned());
    caught_up.wait_for(|caught_up| *caught_up).await.map_err(|_| stopped())?;
    let epoch = register(broker, config, request).await?;
    broker.set_epoch(epoch);
    let registered = |image: &MetadataImage| image.cluster.broker_epoch(config.node_id) == Some(epoch);
    until(broker, registered).await;
    broker.take_partitions().await;
    let mut failures = 0;
    loop {
        match broker.heartbeat(false).await {
            Ok(pulse) if !pulse.fenced => break,
            Ok(_) => {}
            Err(f) => warn!("a heartbeat was not taken: {}", f.code),
        }
        back_off(broker.io(), &mut failures).await;
    }
    until(broker, |image| image.cluster.broker(config.node_id).is_some_and(|b| !b.fenced)).await;
    Ok(())
}

/// Waits until the metadata is as `reached` says; it is on its way.
async fn until(broker: &Arc<Broker>, reached: impl Fn(&MetadataImage) -> bool) {
    while !reached(&broker.image()) {
        broker.io().clock.sleep(LOOK_AGAIN).await;
    }
}

async fn back_off(io: &Io, failures: &mut u32) {
    let (first, max) = RETRY_BACKOFF_MS;
    io.clock.sleep(Backoff::new(first, max).after(*failures, &io.random)).await;
    *failures += 1;
}

/// Registers, again and again for at most `initial.broker.registration.timeout.ms`: a former process of this broker that was
/// killed is registered until its session is over.
async fn register(
    broker: &Arc<Broker>,
    config: &BrokerConfig,
    request: m::BrokerRegistrationRequest,
) -> Result<BrokerEpoch, StartError> {
    let io = broker.io();
    let deadline = io.clock.now().plus_ms(i64::from(config.lifecycle.initial_registration_timeout_ms));
    let mut failures = 0;
    loop {
        let command =
            Command::RegisterBroker { request: request.clone(), former_self_is_dead: false, session_is_valid: false };
        let code = match broker.controller().submit(command).await {
            Ok(Reply::RegisterBroker(r)) => {
                ErrorCode::from_code(r.error_code).map_or(Err(ErrorCode::UnknownServerError), |code| match code {
                    ErrorCode::None => Ok(BrokerEpoch(r.broker_epoch)),
                    code => Err(code),
                })
            }
            Ok(_) => Err(ErrorCode::UnknownServerError),
            Err(f) => Err(f.code),
        };
        let code = match code {
            Ok(epoch) => return Ok(epoch),
            Err(code) => code,
        };
        let id = config.node_id.get();
        match code {
            ErrorCode::DuplicateBrokerRegistration => {
                if failures == 0 {
                    info!("node {id} is registered already; waiting for the session of its former process to end");
                }
                if io.clock.now() >= deadline {
                    return Err(StartError::DuplicateId { id });
                }
            }
            ErrorCode::InconsistentClusterId | ErrorCode::UnsupportedVersion | ErrorCode::InvalidRequest => {
                return Err(StartError::NotRegistered(why(code)));
            }
            code if io.clock.now() >= deadline => return Err(StartError::NotRegistered(why(code))),
            code => warn!("the registration was not taken: {code}"),
        }
        back_off(io, &mut failures).await;
    }
}

fn why(code: ErrorCode) -> String {
    match code {
        ErrorCode::UnsupportedVersion => {
            "the cluster's features are of levels that this version of Logrun doesn't know: use a newer one".to_owned()
        }
        ErrorCode::InvalidRequest => {
            "one of its log.dirs is registered by another broker: was it copied? Remove meta.properties from the copy"
                .to_owned()
        }
        other => other.to_string(),
    }
}
