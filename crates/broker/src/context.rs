//! Who asks, through which door: what every handler knows of its request.

use std::net::SocketAddr;

use logrun_model::Str;
use logrun_wire::ApiKey;

/// Which of the two listener worlds a connection came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerKind {
    /// For clients and other brokers.
    Broker,
    /// For the metadata quorum, and for brokers that talk to its leader.
    Controller,
}

/// The listener that a connection came through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerInfo {
    /// Its name in `listeners`, such as `PLAINTEXT`.
    pub name: Str,
    pub kind: ListenerKind,
}

/// Who a request acts for. Without authentication that is `User:ANONYMOUS`, as in Kafka.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    pub kind: Str,
    pub name: Str,
}

impl Principal {
    pub const ANONYMOUS: Self = Self { kind: Str::from_static("User"), name: Str::from_static("ANONYMOUS") };
}

/// What is known of a request besides its own fields.
#[derive(Clone, Debug)]
pub struct RequestContext {
    pub api_key: ApiKey,
    pub api_version: i16,
    pub correlation_id: i32,
    pub client_id: Option<Str>,
    pub listener: ListenerInfo,
    pub principal: Principal,
    /// The client's address.
    pub peer: SocketAddr,
    /// The address of ours that the client connected to: answered where `advertised.listeners` says nothing.
    pub local: SocketAddr,
    /// Whether it came in an envelope: `principal` and `peer` are then the client's, and all else is the broker's that
    /// sent it on.
    pub is_forwarded: bool,
}

impl RequestContext {
    /// The client id, empty if the client gave none.
    pub fn client_id(&self) -> Str {
        self.client_id.clone().unwrap_or_default()
    }

    /// The client's address as Kafka writes it into groups: `/127.0.0.1`.
    pub fn client_host(&self) -> Str {
        Str::from(format!("/{}", self.peer.ip()))
    }
}
