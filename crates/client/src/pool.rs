//! [`Pool`]: the connections of one client: made on first use, shared, replaced when they end.
//!
//! One attempt to connect at a time for each peer, and a back-off between failures (`reconnect.backoff.ms`), whoever
//! asks. A peer is a bootstrap address or a node; requests that may wait long (fetches, joins) and those that must not
//! (heartbeats) go on different [`Lane`]s to the same node.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use logrun_config::ClientConfig;
use logrun_io::Io;
use logrun_model::{Monotonic, NodeId, Str};
use parking_lot::Mutex;

use crate::backoff::Backoff;
use crate::connection::Connection;
use crate::error::Error;
use crate::link::Link;
use crate::security::Security;

/// Which of a node's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Lane {
    /// Everything that has no lane of its own.
    #[default]
    Main,
    /// A group's or transaction's coordinator: never behind a fetch.
    Coordinator,
    /// A consumer's fetches, which wait at the broker.
    Fetch,
}

/// Whom a connection goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    /// The n-th bootstrap address.
    Bootstrap(usize),
    Node(NodeId, Lane),
}

/// An address as users and brokers give it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Address {
    /// `host:port`, with brackets around an IPv6 address, and perhaps a protocol in front as listeners have it.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let plain = text.rsplit_once("://").map_or(text, |(_, rest)| rest);
        let parsed = plain.rsplit_once(':').and_then(|(host, port)| {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let port = port.parse().ok().filter(|p| *p != 0)?;
            (!host.is_empty()).then(|| Self { host: host.to_owned(), port })
        });
        parsed.ok_or_else(|| Error::Invalid(format!("bootstrap.servers: `{text}` isn't host:port")))
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// How to connect.
#[derive(Debug)]
pub(crate) struct Dialer {
    pub(crate) io: Io,
    pub(crate) client_id: Str,
    pub(crate) security: Arc<dyn Security>,
    pub(crate) setup_timeout_ms: i64,
    pub(crate) setup_timeout_max_ms: i64,
    pub(crate) request_timeout: Duration,
    pub(crate) idle_max: Option<Duration>,
    pub(crate) backoff: Backoff,
}

impl Dialer {
    pub(crate) fn of(io: &Io, config: &ClientConfig, security: Arc<dyn Security>) -> Self {
        Self {
            io: io.clone(),
            client_id: config.client_id.as_str().into(),
            security,
            setup_timeout_ms: config.socket_connection_setup_timeout_ms,
            setup_timeout_max_ms: config.socket_connection_setup_timeout_max_ms,
            request_timeout: Duration::from_millis(u64::try_from(config.request_timeout_ms).unwrap_or(0)),
            idle_max: u64::try_from(config.connections_max_idle_ms).ok().map(Duration::from_millis),
            backoff: Backoff::new(config.reconnect_backoff_ms, config.reconnect_backoff_max_ms),
        }
    }

    async fn dial(&self, address: &Address, failures: u32) -> Result<Connection, Error> {
        let setup = Backoff::new(self.setup_timeout_ms, self.setup_timeout_max_ms).after(failures, &self.io.random);
        let work = self.dial_all(address);
        tokio::select! {
            biased;
            done = work => done,
            () = self.io.clock.sleep(setup) => Err(Error::Connect {
                address: address.to_string(),
                reason: format!("no connection within {} ms", setup.as_millis()),
            }),
        }
    }

    async fn dial_all(&self, address: &Address) -> Result<Connection, Error> {
        let failed = |e: std::io::Error| Error::Connect { address: address.to_string(), reason: e.to_string() };
        let mut last = None;
        for socket in self.io.net.resolve(&address.host, address.port).await.map_err(failed)? {
            match self.io.net.connect(socket).await {
                Ok(stream) => return self.introduce(stream, address).await,
                Err(e) => last = Some(e),
            }
        }
        Err(failed(last.unwrap_or_else(|| std::io::ErrorKind::NotFound.into())))
    }

    async fn introduce(&self, stream: logrun_io::Stream, address: &Address) -> Result<Connection, Error> {
        let stream = self.security.wrap(stream, &address.host).await?;
        let mut link = Link::new(&self.io, stream, self.client_id.clone(), address.to_string());
        let versions = link.api_versions(self.request_timeout).await.map_err(|e| match e {
            // Nothing was asked of the broker yet: it could not be connected to.
            Error::Disconnected { address, reason } => Error::Connect { address, reason },
            e => e,
        })?;
        let lifetime = self.security.authenticate(&mut link, &versions, self.request_timeout).await?;
        Ok(Connection::start(&self.io, link, versions, self.idle_max, lifetime))
    }
}

#[derive(Debug, Default)]
struct Slot {
    current: Mutex<Option<(Address, Connection)>>,
    dialling: tokio::sync::Mutex<Failures>,
}

/// What became of the last attempts.
#[derive(Debug, Default)]
struct Failures {
    attempts: u64,
    in_a_row: u32,
    not_before: Monotonic,
    last: Option<Error>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Pool {
    dialer: Dialer,
    slots: Mutex<BTreeMap<Peer, Arc<Slot>>>,
}

impl Pool {
    pub(crate) fn new(dialer: Dialer) -> Self {
        Self { dialer, slots: Mutex::default() }
    }

    /// The connection to `peer` if there is one.
    pub(crate) fn existing(&self, peer: Peer) -> Option<Connection> {
        let slot = self.slots.lock().get(&peer).cloned()?;
        let current = slot.current.lock();
        current.as_ref().map(|(_, c)| c).filter(|c| c.is_usable()).cloned()
    }

    /// The connection to `peer` at `address`, made if there is none. Fails at the first failed attempt, after waiting
    /// for the back-off of the failures before it.
    pub(crate) async fn get(&self, peer: Peer, address: &Address) -> Result<Connection, Error> {
        let slot = self.slots.lock().entry(peer).or_default().clone();
        if let Some(c) = usable(&slot, address) {
            return Ok(c);
        }
        let attempts_before = slot.dialling.try_lock().ok().map(|f| f.attempts);
        let mut failures = slot.dialling.lock().await;
        if let Some(c) = usable(&slot, address) {
            return Ok(c);
        }
        // Somebody else's attempt failed while this one waited: that is this one's answer too.
        if attempts_before.is_none()
            && let Some(e) = &failures.last
        {
            return Err(e.clone());
        }
        let Dialer { io, backoff, .. } = &self.dialer;
        io.clock.sleep_until(failures.not_before).await;
        failures.attempts += 1;
        match self.dialer.dial(address, failures.in_a_row).await {
            Ok(c) => {
                failures.in_a_row = 0;
                failures.not_before = Monotonic::default();
                failures.last = None;
                *slot.current.lock() = Some((address.clone(), c.clone()));
                Ok(c)
            }
            Err(e) => {
                tracing::debug!(%address, "connecting failed: {e}");
                failures.not_before = io.clock.now().plus(backoff.after(failures.in_a_row, &io.random));
                failures.in_a_row = failures.in_a_row.saturating_add(1);
                failures.last = Some(e.clone());
                Err(e)
            }
        }
    }

    /// Whether the last attempt to reach `peer` failed and it is too early for the next.
    pub(crate) fn is_backing_off(&self, peer: Peer) -> bool {
        let Some(slot) = self.slots.lock().get(&peer).cloned() else { return false };
        let Ok(failures) = slot.dialling.try_lock() else { return false };
        failures.not_before > self.dialer.io.clock.now()
    }

    /// Forgets all connections; those with requests under way end when these are answered or dropped.
    pub(crate) fn clear(&self) {
        self.slots.lock().clear();
    }
}

fn usable(slot: &Slot, address: &Address) -> Option<Connection> {
    let mut current = slot.current.lock();
    match &*current {
        Some((at, c)) if at == address && c.is_usable() => Some(c.clone()),
        Some(_) => {
            *current = None;
            None
        }
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let at = |text: &str| Address::parse(text).map(|a| (a.host, a.port));
        assert_eq!(at("localhost:9092"), Ok(("localhost".into(), 9092)));
        assert_eq!(at("PLAINTEXT://h:1"), Ok(("h".into(), 1)));
        assert_eq!(at("[::1]:9092"), Ok(("::1".into(), 9092)));
        assert_eq!(Address::parse("[::1]:9092").unwrap().to_string(), "[::1]:9092");
        for bad in ["localhost", ":9092", "h:", "h:x", "h:99999", "h:0"] {
            assert!(at(bad).is_err(), "{bad}");
        }
    }
}
