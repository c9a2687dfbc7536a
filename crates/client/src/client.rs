//! [`Client`]: one way to any node: connections, metadata, coordinators, retries. Cheap to clone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use logrun_config::{ClientConfig, ClientKind, MetadataRecovery};
use logrun_io::Io;
use logrun_model::{NodeId, Str, TopicPartition};
use logrun_wire::{ErrorCode, Request, VersionRange};
use tokio::sync::watch;

use crate::backoff::Backoff;
use crate::cluster::{Broker, Cluster, LeaderHint, Topic};
use crate::config::Config;
use crate::connection::{ANY_VERSION, Connection};
use crate::coordinators::{CoordinatorKey, Coordinators};
use crate::deadline::Deadline;
use crate::error::Error;
use crate::exchange::{Exchange, Typed};
use crate::metadata::{Metadata, Policy, Seen, keep};
use crate::pool::{Address, Dialer, Lane, Pool};
use crate::security::{self, Security};

/// Who is to answer a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Whoever is there.
    Any,
    /// A node.
    Node(NodeId),
    /// The node that serves the controller's calls.
    Controller,
    /// A partition's leader.
    Leader(TopicPartition),
    /// A coordinator.
    Coordinator(CoordinatorKey),
}

/// How a request is sent and when to give up. See [`Client::call`].
#[derive(Clone, Debug)]
pub struct Call {
    target: Target,
    timeout: Option<Duration>,
    versions: VersionRange,
    lane: Option<Lane>,
    retry: bool,
}

impl Call {
    /// A call of `target` with the client's defaults.
    pub fn to(target: Target) -> Self {
        Self { target, timeout: None, versions: ANY_VERSION, lane: None, retry: true }
    }

    /// Gives up after `timeout`, all retries included; without it after `default.api.timeout.ms`.
    #[must_use]
    pub fn timeout(mut self, timeout: Option<Duration>) -> Self {
        self.timeout = timeout.or(self.timeout);
        self
    }

    /// Only in these versions.
    #[must_use]
    pub fn versions(mut self, min: i16, max: i16) -> Self {
        self.versions = VersionRange::new(min, max);
        self
    }

    /// On this lane.
    #[must_use]
    pub fn lane(mut self, lane: Lane) -> Self {
        self.lane = Some(lane);
        self
    }

    /// Once: the first error is the result.
    #[must_use]
    pub fn once(mut self) -> Self {
        self.retry = false;
        self
    }
}

impl From<Target> for Call {
    fn from(target: Target) -> Self {
        Self::to(target)
    }
}

#[derive(Debug)]
struct Inner {
    io: Io,
    kind: ClientKind,
    config: ClientConfig,
    metadata: Arc<Metadata>,
    coordinators: Coordinators,
    backoff: Backoff,
    /// How long a call may take with all its retries: `default.api.timeout.ms`, a producer's `max.block.ms`.
    api_timeout: Duration,
    /// Ends the metadata's task when it is dropped.
    _stop: watch::Sender<bool>,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>);

impl Client {
    /// An admin client's connections over the operating system's network. Nothing is connected before the first call.
    ///
    /// # Errors
    /// If the configuration can't be used.
    pub fn connect(config: &Config) -> Result<Self, Error> {
        Self::new(Io::real(), config, ClientKind::Admin)
    }

    /// The connections of a client of this kind, over `io`. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// If the configuration can't be used.
    pub fn new(io: Io, config: &Config, kind: ClientKind) -> Result<Self, Error> {
        config.check(kind)?;
        let resolved = ClientConfig::resolve(config.settings(), kind)?;
        let security = security::of_config(&io, &resolved)?;
        Self::with_security(io, config, kind, security)
    }

    /// As [`Self::new`], with a security of the program's own.
    ///
    /// # Errors
    /// If the configuration can't be used.
    pub fn with_security(
        io: Io,
        config: &Config,
        kind: ClientKind,
        security: Arc<dyn Security>,
    ) -> Result<Self, Error> {
        config.check(kind)?;
        let resolved = ClientConfig::resolve(config.settings(), kind)?;
        let (mut bootstrap, mut controllers) = (resolved.bootstrap_servers.clone(), Vec::new());
        let api_timeout_ms;
        let mut max_idle = None;
        match kind {
            ClientKind::Admin => {
                let admin = logrun_config::AdminConfig::resolve(config.settings())?;
                controllers = admin.bootstrap_controllers;
                api_timeout_ms = i64::from(admin.default_api_timeout_ms);
            }
            ClientKind::Producer => {
                let producer = logrun_config::ProducerConfig::resolve(config.settings())?;
                api_timeout_ms = producer.max_block_ms;
                max_idle = u64::try_from(producer.metadata_max_idle_ms).ok().map(Duration::from_millis);
            }
            ClientKind::Consumer => {
                let consumer = logrun_config::ConsumerConfig::resolve(config.settings())?;
                api_timeout_ms = i64::from(consumer.default_api_timeout_ms);
            }
        }
        let of_controllers = bootstrap.is_empty() && !controllers.is_empty();
        if of_controllers {
            bootstrap = controllers;
        }
        let bootstrap = bootstrap.iter().map(|text| Address::parse(text)).collect::<Result<Vec<_>, _>>()?;
        let ms = |ms: i64| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
        let backoff = Backoff::new(resolved.retry_backoff_ms, resolved.retry_backoff_max_ms);
        let pool = Arc::new(Pool::new(Dialer::of(&io, &resolved, security)));
        let policy = Policy {
            bootstrap,
            controllers: of_controllers,
            max_age: ms(resolved.metadata_max_age_ms),
            max_idle,
            backoff,
            request_timeout: ms(i64::from(resolved.request_timeout_ms)),
            rebootstrap: resolved.metadata_recovery_strategy == MetadataRecovery::Rebootstrap,
            rebootstrap_after: ms(resolved.metadata_recovery_rebootstrap_trigger_ms),
        };
        let metadata = Metadata::start(&io, policy, pool);
        let (stop, stopped) = watch::channel(false);
        io.tasks.spawn(keep(metadata.clone(), stopped));
        Ok(Self(Arc::new(Inner {
            io,
            kind,
            config: resolved,
            metadata,
            coordinators: Coordinators::default(),
            backoff,
            api_timeout: ms(api_timeout_ms),
            _stop: stop,
        })))
    }

    /// The seams that this client uses.
    pub fn io(&self) -> &Io {
        &self.0.io
    }

    /// What the client was made as.
    pub fn kind(&self) -> ClientKind {
        self.0.kind
    }

    /// The options that every client has, resolved.
    pub fn config(&self) -> &ClientConfig {
        &self.0.config
    }

    /// `request.timeout.ms`.
    pub fn request_timeout(&self) -> Duration {
        self.0.metadata.policy().request_timeout
    }

    /// The wait after that many failures in a row, the first of which is number 0.
    pub fn backoff(&self, failures: u32) -> Duration {
        self.0.backoff.after(failures, &self.0.io.random)
    }

    pub(crate) fn metadata(&self) -> &Metadata {
        &self.0.metadata
    }

    /// What is known of the cluster now; at first nothing.
    pub fn cluster(&self) -> Arc<Cluster> {
        self.0.metadata.cluster()
    }

    /// Tells of each new picture of the cluster.
    pub fn watch(&self) -> ClusterWatch {
        ClusterWatch(self.0.metadata.subscribe())
    }

    /// Says that topics are of interest: their metadata is kept from now on. `may_create`: asking may create them.
    /// True if one of them is news; it is asked for at once.
    pub fn want_topics<'a>(&self, topics: impl IntoIterator<Item = &'a str>, may_create: bool) -> bool {
        let mut news = false;
        for topic in topics {
            news |= self.0.metadata.want(topic, may_create);
        }
        if news {
            self.0.metadata.request_update();
        }
        news
    }

    /// Says that a topic is of no more interest.
    pub fn forget_topic(&self, topic: &str) {
        self.0.metadata.forget(topic);
    }

    /// Says that all topics are of interest, or no more (each `true` wants one `false`).
    pub fn want_all_topics(&self, on: bool) {
        self.0.metadata.want_all(on);
        if on {
            self.0.metadata.request_update();
        }
    }

    /// Asks for metadata without waiting for it.
    pub fn request_update(&self) {
        self.0.metadata.request_update();
    }

    /// Asks for metadata and waits for the answer; one attempt.
    ///
    /// # Errors
    /// If the attempt fails.
    pub async fn refresh(&self) -> Result<Arc<Cluster>, Error> {
        let attempts = self.0.metadata.request_update();
        self.0.metadata.attempted(attempts).await
    }

    /// What is known of the cluster, waiting for the first metadata if there is none yet.
    ///
    /// # Errors
    /// If none comes in time.
    pub async fn known_cluster(&self) -> Result<Arc<Cluster>, Error> {
        let deadline = self.deadline(None);
        let mut failures = 0;
        loop {
            let cluster = self.cluster();
            if !cluster.brokers.is_empty() {
                return Ok(cluster);
            }
            if let Err(e) = self.in_time(deadline, "metadata", self.refresh()).await {
                self.pause(deadline, failures, "metadata", e).await?;
                failures += 1;
            }
        }
    }

    /// A topic's metadata, waited for until `timeout` (or the client's own) has passed. From now on it is kept.
    ///
    /// # Errors
    /// If the broker refuses, or the topic doesn't appear in time.
    pub async fn topic(&self, name: &str, may_create: bool, timeout: Option<Duration>) -> Result<Arc<Topic>, Error> {
        let deadline = self.deadline(timeout);
        self.0.metadata.want(name, may_create);
        let mut failures = 0;
        loop {
            let error = match self.cluster().topic(name) {
                Some(t) if t.error.is_none() => return Ok(t.clone()),
                Some(t) if !t.error.is_retriable() => {
                    let message = Some(format!("topic {name}").into());
                    return Err(Error::Broker { code: t.error, message });
                }
                Some(t) if failures > 0 => {
                    Some(Error::Broker { code: t.error, message: Some(format!("topic {name}").into()) })
                }
                None if failures > 1 => Some(ErrorCode::UnknownTopicOrPartition.into()),
                _ => None,
            };
            let what = format!("metadata of topic {name}");
            if let Some(e) = error {
                self.pause(deadline, failures - 1, &what, e).await?;
            }
            if let Err(e) = self.in_time(deadline, &what, self.refresh()).await {
                self.pause(deadline, failures, &what, e).await?;
            }
            failures += 1;
        }
    }

    /// Takes leaders that a response told of in passing (KIP-951). True if they are news.
    pub fn leader_hints(&self, topic: &str, hints: &[LeaderHint], nodes: &[Broker]) -> bool {
        self.0.metadata.hint(topic, hints, nodes)
    }

    /// The connection to a node, made if there is none: for callers that keep requests of their own under way.
    ///
    /// # Errors
    /// If the node isn't known or can't be connected to.
    pub async fn node(&self, id: NodeId, lane: Lane) -> Result<Connection, Error> {
        self.0.metadata.node(id, lane).await
    }

    /// A connection to whichever node is there.
    ///
    /// # Errors
    /// If none can be connected to.
    pub async fn any(&self) -> Result<Connection, Error> {
        self.0.metadata.any().await
    }

    /// The node that coordinates `key`; one attempt, remembered.
    ///
    /// # Errors
    /// If nobody knows it.
    pub async fn coordinator(&self, key: &CoordinatorKey) -> Result<NodeId, Error> {
        let found = self.coordinators(&BTreeSet::from([key.clone()])).await?.remove(key);
        found.unwrap_or(Err(ErrorCode::CoordinatorNotAvailable.into()))
    }

    /// As [`Self::coordinator`], for several.
    ///
    /// # Errors
    /// If nobody can be asked.
    pub async fn coordinators(
        &self,
        keys: &BTreeSet<CoordinatorKey>,
    ) -> Result<BTreeMap<CoordinatorKey, Result<NodeId, Error>>, Error> {
        self.0.coordinators.find(self, keys).await
    }

    /// Forgets who coordinates `key`: it turned out to be another.
    pub fn forget_coordinator(&self, key: &CoordinatorKey) {
        self.0.coordinators.forget(key);
    }

    /// Sends `request` to `to` and returns the response. Tried again, after a back-off, while no connection can be made
    /// or it breaks; error codes within the response are the caller's business (see [`Self::call_with`]).
    ///
    /// # Errors
    /// If there is no response in time.
    pub async fn call<R: Request>(&self, to: impl Into<Call>, request: R) -> Result<R::Response, Error> {
        self.call_with(to, |_| Ok(request.clone()), |_, _: &R::Response| Ok(())).await
    }

    /// As [`Self::call`]: `build` makes the request for the version that will be sent; `check` looks into the response
    /// and gives the error that concerns all of it. A retriable one is tried again, after looking for the new
    /// controller, leader or coordinator if that is what it says; another is the result.
    ///
    /// # Errors
    /// If there is no good response in time.
    pub async fn call_with<R: Request>(
        &self,
        to: impl Into<Call>,
        build: impl FnMut(i16) -> Result<R, Error> + Send,
        check: impl FnMut(i16, &R::Response) -> Result<(), Error> + Send,
    ) -> Result<R::Response, Error> {
        let mut exchange = Typed::<R, _, _>::new(build, check);
        self.exchange(to.into(), &mut exchange).await?;
        exchange.into_response().ok_or_else(|| Error::Invalid(format!("{} ended without a response", R::NAME)))
    }

    /// The loop of [`Self::call_with`]. Boxed, so that it is compiled here and not by each caller.
    fn exchange<'a>(&'a self, call: Call, exchange: &'a mut dyn Exchange) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let deadline = self.deadline(call.timeout);
            let name = exchange.name();
            let mut failures: u32 = 0;
            loop {
                let attempt = async {
                    let connection = self.resolve(&call).await?;
                    let pending = exchange.send(&connection, call.versions, self.request_timeout())?;
                    let (id, version) = (pending.id(), pending.version());
                    exchange.take(pending.frame().await?, id, version)
                };
                let error = match self.in_time(deadline, name, attempt).await {
                    Ok(()) => return Ok(()),
                    Err(e) => e,
                };
                self.learn(&call.target, &error);
                if !call.retry {
                    return Err(error);
                }
                self.pause(deadline, failures, name, error).await?;
                failures += 1;
            }
        })
    }

    /// Draws the conclusion from an error for what is known of the cluster.
    pub(crate) fn learn(&self, target: &Target, error: &Error) {
        match target {
            Target::Coordinator(key) if error.is_coordinator_moved() => self.forget_coordinator(key),
            Target::Leader(_) if error.is_invalid_metadata() => self.request_update(),
            Target::Controller if error.code() == Some(ErrorCode::NotController) => self.request_update(),
            Target::Node(_) | Target::Controller if error.is_invalid_metadata() => self.request_update(),
            _ => {}
        }
    }

    async fn resolve(&self, call: &Call) -> Result<Connection, Error> {
        let lane = call.lane.unwrap_or_default();
        match &call.target {
            Target::Any => self.any().await,
            Target::Node(id) => {
                if !self.cluster().brokers.contains_key(id) {
                    self.refresh().await?;
                }
                self.node(*id, lane).await
            }
            Target::Controller => match self.cluster().controller {
                Some(id) => self.node(id, lane).await,
                // A broker passes it on to the controller; one of the time before says that it is not the one.
                None => self.any().await,
            },
            Target::Leader(tp) => {
                let topic = self.topic(&tp.topic, false, call.timeout).await?;
                let Some(partition) = topic.partition(tp.partition) else {
                    return Err(Error::Broker {
                        code: ErrorCode::UnknownTopicOrPartition,
                        message: Some(format!("topic {} has no partition {}", tp.topic, tp.partition).into()),
                    });
                };
                match partition.leader {
                    Some(id) => self.node(id, lane).await,
                    None => Err(Error::Broker {
                        code: ErrorCode::LeaderNotAvailable,
                        message: Some(Str::from(tp.to_string())),
                    }),
                }
            }
            Target::Coordinator(key) => {
                let id = self.coordinator(key).await?;
                self.node(id, call.lane.unwrap_or(Lane::Coordinator)).await
            }
        }
    }

    /// When a call with this timeout, or the client's own, has to end.
    pub(crate) fn deadline(&self, timeout: Option<Duration>) -> Deadline {
        Deadline::new(self.0.io.clock.now(), timeout.unwrap_or(self.0.api_timeout))
    }

    /// The result of `work`, unless `deadline` comes first.
    pub(crate) async fn in_time<T>(
        &self,
        deadline: Deadline,
        what: &str,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::select! {
            biased;
            result = work => result,
            () = self.0.io.clock.sleep_until(deadline.at()) => Err(deadline.missed(what, None)),
        }
    }

    /// Waits before the next attempt.
    ///
    /// # Errors
    /// The error of the last attempt, if another makes no sense; or that time is up.
    pub(crate) async fn pause(&self, deadline: Deadline, failures: u32, what: &str, error: Error) -> Result<(), Error> {
        if !error.is_retriable() {
            return Err(error);
        }
        let clock = &self.0.io.clock;
        let wait = self.backoff(failures);
        if clock.now().plus(wait) >= deadline.at() {
            let last = match error {
                Error::TimedOut { last, .. } => last.map(|last| *last),
                e => Some(e),
            };
            return Err(deadline.missed(what, last));
        }
        clock.sleep(wait).await;
        Ok(())
    }
}

/// Waits for pictures of the cluster that its owner has not seen.
#[derive(Debug)]
pub struct ClusterWatch(watch::Receiver<Seen>);

impl ClusterWatch {
    /// The picture now, which counts as seen.
    pub fn current(&mut self) -> Arc<Cluster> {
        self.0.borrow_and_update().cluster.clone()
    }

    /// Waits until an attempt to get metadata ends or a leader changes; `None` when the client is gone. Cancelling it
    /// loses nothing.
    pub async fn changed(&mut self) -> Option<Arc<Cluster>> {
        self.0.changed().await.ok()?;
        Some(self.current())
    }

    /// Why the last attempt to get metadata failed, if it did.
    pub fn error(&self) -> Option<Error> {
        self.0.borrow().error.clone()
    }
}
