//! [`Remote`]: the controllers are other processes. Kafka's `NodeToControllerChannelManager` and `ForwardingManager`.
//!
//! Heartbeats have a connection of their own, so that no administrative request that takes long stands in their way; the
//! fetches of the metadata log have another ([`super::observation`]). A request whose connection ends, or whose receiver
//! no longer is the active controller, goes to whoever is by then, until its time is over: as with Kafka, one that was
//! acted on without an answer is sent again.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use logrun_client::backoff::Backoff;
use logrun_client::connection::{ANY_VERSION, Connection};
use logrun_client::link::Link;
use logrun_client::{Error, Versions};
use logrun_controller::{Command, Reply};
use logrun_io::Io;
use logrun_metadata::MetadataImage;
use logrun_model::{Monotonic, NodeId, Offset};
use logrun_raft::{Leader, MetadataLog, Node, RaftError};
use logrun_wire::messages as m;
use logrun_wire::messages::DefaultPrincipalData;
use logrun_wire::{ApiKey, ErrorCode, Message, Request};
use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::debug;

use crate::context::{Principal, RequestContext};
use crate::errors::Failure;

/// Between two attempts, at first and at most.
const RETRY_BACKOFF_MS: (i64, i64) = (50, 1000);
/// The version in which a principal travels.
const PRINCIPAL_VERSION: i16 = 0;

/// What the way to the controllers takes from the configuration.
#[derive(Clone, Debug)]
pub struct RemoteConfig {
    pub node_id: NodeId,
    /// `request.timeout.ms`
    pub request_timeout: Duration,
    /// `broker.session.timeout.ms`: a heartbeat that is not answered by then is of no more use.
    pub session_timeout: Duration,
}

/// The controllers as this broker reaches them.
pub struct Remote {
    io: Io,
    config: RemoteConfig,
    pub(super) log: Mutex<MetadataLog>,
    leader: watch::Sender<Option<Leader>>,
    heartbeats: Channel,
    others: Channel,
}

/// A connection to the active controller, made when it is needed.
#[derive(Default)]
struct Channel(tokio::sync::Mutex<Option<(Leader, Connection)>>);

impl Remote {
    /// A way to the controllers of the quorum whose metadata `log` is a copy of.
    pub fn new(io: Io, config: RemoteConfig, log: MetadataLog) -> Self {
        let (leader, _) = watch::channel(None);
        let (heartbeats, others) = (Channel::default(), Channel::default());
        Self { io, config, log: Mutex::new(log), leader, heartbeats, others }
    }

    /// The active controller, as far as it's known.
    pub fn leader(&self) -> Option<Leader> {
        self.leader.borrow().clone()
    }

    /// The observer has found the active controller, or lost it.
    pub(super) fn found(&self, leader: Option<&Leader>) {
        self.leader.send_if_modified(|known| {
            let is_news = known.as_ref() != leader;
            if is_news {
                *known = leader.cloned();
            }
            is_news
        });
    }

    pub(super) fn kraft_version(&self) -> i16 {
        self.log.lock().kraft_version()
    }

    pub(super) fn maybe_snapshot(&self, image: &MetadataImage) -> Result<(), RaftError> {
        let now = self.io.clock.read();
        let mut log = self.log.lock();
        if log.wants_snapshot() {
            log.write_snapshot(image, now)?;
        }
        log.clean_up(now)
    }

    pub(super) fn checkpoints(&self) -> (Offset, Offset) {
        self.log.lock().checkpoints()
    }

    pub(super) fn close(&self) -> Result<(), RaftError> {
        self.log.lock().close(self.io.clock.read())
    }

    /// Sends a command as the broker's own request. What only clients ask for is [`Self::forward`]ed and comes here when
    /// that has failed.
    pub async fn submit(&self, command: Command) -> Result<Reply, Failure> {
        match command {
            Command::RegisterBroker { request, .. } => {
                self.call(&self.heartbeats, &request, self.config.request_timeout).await.map(Reply::RegisterBroker)
            }
            Command::BrokerHeartbeat { request, .. } => {
                self.call(&self.heartbeats, &request, self.config.session_timeout).await.map(Reply::BrokerHeartbeat)
            }
            Command::AllocateProducerIds { request } => {
                self.call(&self.others, &request, self.config.request_timeout).await.map(Reply::AllocateProducerIds)
            }
            Command::AssignReplicasToDirs { request } => {
                self.call(&self.others, &request, self.config.request_timeout).await.map(Reply::AssignReplicasToDirs)
            }
            Command::AlterPartition { request } => {
                self.call(&self.others, &request, self.config.request_timeout).await.map(Reply::AlterPartition)
            }
            _ => Err(no_controller()),
        }
    }

    /// CreateTopics in the broker's own name.
    pub async fn create_topics(&self, request: &m::CreateTopicsRequest) -> Result<m::CreateTopicsResponse, Failure> {
        self.call(&self.others, request, self.config.request_timeout).await
    }

    /// Sends a client's request, whose frame is `request`, to the active controller and gives the response's bytes, the
    /// header among them.
    pub async fn forward(&self, request: Bytes, context: &RequestContext) -> Result<Bytes, Failure> {
        let malformed = |e: logrun_wire::EncodeError| Failure::with(ErrorCode::UnknownServerError, e.to_string());
        let envelope = m::EnvelopeRequest {
            request_data: request,
            request_principal: Some(principal_bytes(&context.principal).map_err(malformed)?),
            client_host_address: address_bytes(context.peer.ip()),
            ..Default::default()
        };
        let deadline = self.io.clock.now().plus(self.config.request_timeout);
        let mut failures = 0;
        loop {
            let response = self.call_until(&self.others, &envelope, deadline).await?;
            match ErrorCode::from_code(response.error_code) {
                Some(ErrorCode::None) => return response.response_data.ok_or_else(no_controller),
                // Another one is active by now, and the observer will know it.
                Some(ErrorCode::NotController) if self.io.clock.now() < deadline => self.back_off(&mut failures).await,
                code => return Err(Failure::of(code.unwrap_or(ErrorCode::UnknownServerError))),
            }
        }
    }

    /// What the active controller serves, if it has been asked for anything yet.
    pub async fn versions(&self) -> Option<Versions> {
        let channel = self.others.0.lock().await;
        channel.as_ref().map(|(_, connection)| connection.versions().clone())
    }

    async fn call<R: Request>(
        &self,
        channel: &Channel,
        request: &R,
        patience: Duration,
    ) -> Result<R::Response, Failure> {
        self.call_until(channel, request, self.io.clock.now().plus(patience)).await
    }

    async fn call_until<R: Request>(
        &self,
        channel: &Channel,
        request: &R,
        deadline: Monotonic,
    ) -> Result<R::Response, Failure> {
        tokio::select! {
            biased;
            answered = self.call_again_and_again(channel, request, deadline) => answered,
            () = self.io.clock.sleep_until(deadline) => Err(no_controller()),
        }
    }

    async fn call_again_and_again<R: Request>(
        &self,
        channel: &Channel,
        request: &R,
        deadline: Monotonic,
    ) -> Result<R::Response, Failure> {
        let mut failures = 0;
        loop {
            let mut known = self.leader.subscribe();
            let leader = match known.wait_for(Option::is_some).await.ok().and_then(|leader| leader.clone()) {
                Some(leader) => leader,
                None => return Err(no_controller()),
            };
            let answered = match self.connection(channel, &leader).await {
                Ok(connection) => {
                    let left = deadline.since(self.io.clock.now()).max(Duration::from_millis(1));
                    connection.call(request, ANY_VERSION, left).await
                }
                Err(e) => Err(e),
            };
            match answered {
                Ok(response) => return Ok(response),
                Err(e @ (Error::Unsupported { .. } | Error::Encode(_))) => {
                    return Err(Failure::with(ErrorCode::UnsupportedVersion, e.to_string()));
                }
                Err(e) => {
                    debug!(api = R::NAME, "the active controller was not reached: {e}");
                    *channel.0.lock().await = None;
                }
            }
            self.back_off(&mut failures).await;
        }
    }

    async fn back_off(&self, failures: &mut u32) {
        let (first, max) = RETRY_BACKOFF_MS;
        self.io.clock.sleep(Backoff::new(first, max).after(*failures, &self.io.random)).await;
        *failures += 1;
    }

    async fn connection(&self, channel: &Channel, leader: &Leader) -> Result<Connection, Error> {
        let mut current = channel.0.lock().await;
        if let Some((to, connection)) = &*current
            && to == leader
            && connection.is_usable()
        {
            return Ok(connection.clone());
        }
        *current = None;
        let (link, versions) = dial(&self.io, &leader.at, self.config.node_id, self.config.session_timeout).await?;
        let connection = Connection::start(&self.io, link, versions, None, None);
        *current = Some((leader.clone(), connection.clone()));
        Ok(connection)
    }
}

/// Connects to a controller and asks what it serves.
pub(super) async fn dial(io: &Io, to: &Node, own: NodeId, timeout: Duration) -> Result<(Link, Versions), Error> {
    let client_id = format!("broker-{own}");
    let failed = |reason: String| Error::Connect { address: format!("{}:{}", to.host, to.port), reason };
    let connecting = async {
        let mut last = None;
        for address in io.net.resolve(&to.host, to.port).await.map_err(|e| failed(e.to_string()))? {
            match Link::connect(io, address, &client_id).await {
                Ok(mut link) => {
                    let versions = link.api_versions(timeout).await?;
                    return Ok((link, versions));
                }
                Err(e) => last = Some(e),
            }
        }
        Err(last.unwrap_or_else(|| failed("its name has no address".to_owned())))
    };
    tokio::select! {
        biased;
        done = connecting => done,
        () = io.clock.sleep(timeout) => Err(failed(format!("no connection within {} ms", timeout.as_millis()))),
    }
}

/// The failure of a request that no controller has answered: the client may ask again.
pub(super) fn no_controller() -> Failure {
    Failure::with(ErrorCode::RequestTimedOut, "No controller has answered this broker in time.")
}

/// A principal as Kafka's brokers send it: its version, then the message (`DefaultKafkaPrincipalBuilder`).
fn principal_bytes(principal: &Principal) -> Result<Bytes, logrun_wire::EncodeError> {
    let data =
        DefaultPrincipalData { r#type: principal.kind.clone(), name: principal.name.clone(), ..Default::default() };
    let mut out = PRINCIPAL_VERSION.to_be_bytes().to_vec();
    out.extend_from_slice(&data.to_bytes(PRINCIPAL_VERSION)?);
    Ok(out.into())
}

/// The principal of such bytes; `None` if they are none.
pub(crate) fn principal_of(bytes: &Bytes) -> Option<Principal> {
    let version = i16::from_be_bytes(bytes.get(..2)?.try_into().ok()?);
    let data = DefaultPrincipalData::decode_exact(bytes.slice(2..), version).ok()?;
    Some(Principal { kind: data.r#type.detached(), name: data.name.detached() })
}

/// A client's address in the order of the network.
fn address_bytes(address: IpAddr) -> Bytes {
    match address.to_canonical() {
        IpAddr::V4(a) => Bytes::copy_from_slice(&a.octets()),
        IpAddr::V6(a) => Bytes::copy_from_slice(&a.octets()),
    }
}

/// The address of such bytes; `None` if they are none.
pub(crate) fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    match *bytes {
        [a, b, c, d] => Some(IpAddr::from([a, b, c, d])),
        _ => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
    }
}

/// What clients name in a request that only the controller can answer may be served here only as far as it is over there.
pub(crate) fn within(versions: &Versions, api: ApiKey, min: i16, max: i16) -> Option<(i16, i16)> {
    let theirs = versions.of_api(api);
    let (min, max) = (min.max(theirs.min), max.min(theirs.max));
    (!theirs.is_empty() && min <= max).then_some((min, max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asked_comes_through_an_envelope() {
        let principal = Principal { kind: "User".into(), name: "alice".into() };
        let bytes = principal_bytes(&principal).unwrap();
        // As Apache Kafka's DefaultKafkaPrincipalBuilder has it: version 0, "User", "alice", no token, no tags.
        assert_eq!(&bytes[..], b"\x00\x00\x05User\x06alice\x00\x00");
        assert_eq!(principal_of(&bytes), Some(principal));
        assert_eq!(principal_of(&Bytes::from_static(b"\x00")), None);
        assert_eq!(principal_of(&Bytes::from_static(b"\x00\x07\x05User")), None);
        for address in ["10.1.2.3", "2001:db8::7"] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(address_of(&address_bytes(address)), Some(address));
        }
        assert_eq!(address_of(b"abc"), None);
    }
}
