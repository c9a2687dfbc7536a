//! Listeners: where the node listens, what clients are told, which security protocol each name has.
//!
//! `SocketServerConfigs` and the listener half of `AbstractKafkaConfig` in Kafka. An advertised address that nobody
//! configured stays unknown here: the broker answers with the address that the asking client used.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::error::{ConfigError, inconsistent};
use crate::settings::BrokerSettings;

/// How the bytes of a listener are protected and who is behind them: `SecurityProtocol` of Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecurityProtocol {
    Plaintext,
    Ssl,
    SaslPlaintext,
    SaslSsl,
}

impl SecurityProtocol {
    /// By its name, in any case.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Plaintext, Self::Ssl, Self::SaslPlaintext, Self::SaslSsl]
            .into_iter()
            .find(|protocol| protocol.name().eq_ignore_ascii_case(name))
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }

    /// The number that stands for it in RegisterBrokerRecord and Metadata.
    pub const fn id(self) -> i16 {
        match self {
            Self::Plaintext => 0,
            Self::Ssl => 1,
            Self::SaslPlaintext => 2,
            Self::SaslSsl => 3,
        }
    }
}

/// The name of a listener, in upper case as Kafka compares it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListenerName(String);

impl ListenerName {
    pub fn new(name: &str) -> Self {
        Self(name.trim().to_uppercase())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ListenerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name and an address as the options write them: `NAME://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub name: ListenerName,
    /// Empty for every interface; an IPv6 address without its brackets.
    pub host: String,
    pub port: u16,
}

impl Endpoint {
    /// Reads `NAME://host:port`; the host may be empty or an IPv6 address in brackets.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, rest) = text.split_once("://")?;
        let (host, port) = host_port(rest)?;
        if name.trim().is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
            return None;
        }
        Some(Self { name: ListenerName::new(name), host, port })
    }
}

/// Reads `host:port`; the host may be empty or an IPv6 address in brackets.
pub(crate) fn host_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.trim().rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?,
        None => host,
    };
    let known = |b: u8| b.is_ascii_alphanumeric() || b"-%._:".contains(&b);
    (host.bytes().all(known)).then_some(())?;
    Some((host.to_owned(), port.parse().ok()?))
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "{}://[{}]:{}", self.name, self.host, self.port)
        } else {
            write!(f, "{}://{}:{}", self.name, self.host, self.port)
        }
    }
}

/// A socket that the node opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    pub name: ListenerName,
    /// Empty for every interface, IPv4 and IPv6.
    pub host: String,
    pub port: u16,
    pub protocol: SecurityProtocol,
}

/// What clients are told to connect to on one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertised {
    pub name: ListenerName,
    /// `None`: the address that the asking client itself used.
    pub host: Option<String>,
    pub port: u16,
}

/// All of a node's listeners, consistent with each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listeners {
    /// Where clients and brokers are served; empty on a controller-only node.
    pub broker: Vec<Listener>,
    /// Where controllers are served; empty on a broker-only node.
    pub controller: Vec<Listener>,
    /// `advertised.listeners`; `None` if unset: each listener under the address that the asking client used.
    pub advertised: Option<Vec<Advertised>>,
    /// The listener that brokers use among themselves.
    pub inter_broker: ListenerName,
    /// `controller.listener.names`; the first is the one that brokers use.
    pub controller_names: Vec<ListenerName>,
    /// The protocol of each known name, listened on here or not.
    pub protocols: BTreeMap<ListenerName, SecurityProtocol>,
}

/// Which parts a process runs: `process.roles`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    pub broker: bool,
    pub controller: bool,
}

fn items<'a>(settings: &'a BrokerSettings, name: &str) -> Vec<&'a str> {
    settings.text(name).into_iter().flat_map(|text| text.split(',')).map(str::trim).filter(|t| !t.is_empty()).collect()
}

fn endpoints(settings: &BrokerSettings, option: &str) -> Result<Vec<Endpoint>, ConfigError> {
    items(settings, option)
        .into_iter()
        .map(|text| {
            Endpoint::parse(text).ok_or_else(|| {
                inconsistent(format!(
                    "{option}: `{text}` is no listener: write NAME://host:port, e.g. PLAINTEXT://:9092"
                ))
            })
        })
        .collect()
}

impl Listeners {
    /// Reads and checks everything about listeners.
    ///
    /// # Errors
    /// The first thing that does not fit, with its remedy.
    pub fn read(settings: &BrokerSettings, roles: Roles) -> Result<Self, ConfigError> {
        let controller_names: Vec<ListenerName> =
            items(settings, "controller.listener.names").into_iter().map(ListenerName::new).collect();
        if controller_names.is_empty() {
            return Err(ConfigError::Missing {
                name: "controller.listener.names".to_owned(),
                remedy: "name the listener of the controllers, e.g. controller.listener.names=CONTROLLER".to_owned(),
            });
        }
        let open = endpoints(settings, "listeners")?;
        check_distinct(&open)?;
        let protocols = protocols(settings, &open, &controller_names)?;
        let inter_broker = inter_broker(settings)?;
        let (mut broker, mut controller) = (Vec::new(), Vec::new());
        for endpoint in open {
            let is_controller = controller_names.contains(&endpoint.name);
            if is_controller && !roles.controller {
                return Err(inconsistent(format!(
                    "listeners has {}, which is a controller's: a node with process.roles=broker doesn't listen there",
                    endpoint.name
                )));
            }
            if !is_controller && !roles.broker {
                return Err(inconsistent(format!(
                    "listeners has {}, which is not among controller.listener.names: a node with \
                     process.roles=controller listens only for controllers",
                    endpoint.name
                )));
            }
            let listener = Listener {
                protocol: protocol_of(&protocols, &endpoint.name)?,
                name: endpoint.name,
                host: endpoint.host,
                port: endpoint.port,
            };
            if is_controller { controller.push(listener) } else { broker.push(listener) }
        }
        if roles.controller && controller.is_empty() {
            let names: Vec<&str> = controller_names.iter().map(ListenerName::as_str).collect();
            return Err(inconsistent(format!(
                "no controller listener: add {}://:9093 to listeners, or change controller.listener.names",
                names.join("://:9093 or ")
            )));
        }
        if roles.broker {
            if broker.is_empty() {
                return Err(inconsistent("no listener for clients: add PLAINTEXT://:9092 to listeners"));
            }
            if controller_names.contains(&inter_broker) {
                return Err(inconsistent(format!(
                    "inter.broker.listener.name={inter_broker} is a controller listener: name another one"
                )));
            }
            let inter_broker_is_open = broker.iter().any(|l| l.name == inter_broker);
            let chosen =
                settings.is_set("inter.broker.listener.name") || settings.is_set("security.inter.broker.protocol");
            if !inter_broker_is_open && chosen {
                return Err(inconsistent(format!(
                    "brokers are to use the listener {inter_broker} among themselves, and listeners hasn't got it: \
                     add it or change inter.broker.listener.name"
                )));
            }
        }
        // Kafka demands a name when no listener is called PLAINTEXT; with one broker the first will do.
        let inter_broker = match broker.first() {
            Some(first) if !broker.iter().any(|l| l.name == inter_broker) => first.name.clone(),
            _ => inter_broker,
        };
        let advertised = advertised(settings, &broker, &controller_names)?;
        Ok(Self { broker, controller, advertised, inter_broker, controller_names, protocols })
    }

    /// What clients of the listener `name` are told; the host is `None` for the address that they used themselves.
    pub fn advertised_of(&self, name: &ListenerName) -> Option<Advertised> {
        if let Some(advertised) = self.advertised.as_ref().and_then(|all| all.iter().find(|a| &a.name == name)) {
            return Some(advertised.clone());
        }
        let listener = self.broker.iter().chain(&self.controller).find(|l| &l.name == name)?;
        let host = Some(listener.host.clone()).filter(|host| !is_wildcard(host));
        Some(Advertised { name: listener.name.clone(), host, port: listener.port })
    }
}

/// Whether a listener on `host` listens on every interface, so that it names no address to connect to.
pub fn is_wildcard(host: &str) -> bool {
    matches!(host, "" | "0.0.0.0" | "::" | "0:0:0:0:0:0:0:0")
}

fn check_distinct(open: &[Endpoint]) -> Result<(), ConfigError> {
    for (at, one) in open.iter().enumerate() {
        for other in open.iter().skip(at + 1) {
            if one.name == other.name {
                return Err(inconsistent(format!(
                    "listeners has the name {} twice: give one another name, and map it in \
                     listener.security.protocol.map",
                    one.name
                )));
            }
            let both_families = one.host.contains(':') != other.host.contains(':')
                && [&one.host, &other.host].iter().all(|h| h.parse::<std::net::IpAddr>().is_ok());
            if one.port == other.port && one.port != 0 && !both_families {
                return Err(inconsistent(format!("listeners {one} and {other} share a port: give each its own")));
            }
        }
    }
    Ok(())
}

fn protocols(
    settings: &BrokerSettings,
    open: &[Endpoint],
    controller_names: &[ListenerName],
) -> Result<BTreeMap<ListenerName, SecurityProtocol>, ConfigError> {
    const OPTION: &str = "listener.security.protocol.map";
    let mut map = BTreeMap::new();
    for item in items(settings, OPTION) {
        let (name, protocol) = item
            .split_once(':')
            .ok_or_else(|| inconsistent(format!("{OPTION}: `{item}` is no pair: write NAME:PROTOCOL")))?;
        let protocol = SecurityProtocol::parse(protocol.trim()).ok_or_else(|| {
            inconsistent(format!(
                "{OPTION}: `{protocol}` is no security protocol: take PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"
            ))
        })?;
        if map.insert(ListenerName::new(name), protocol).is_some() {
            return Err(inconsistent(format!("{OPTION} has {} twice: keep one", ListenerName::new(name))));
        }
    }
    // As in Kafka: without a map of one's own and without security elsewhere, controllers speak plain text.
    let secured = open.iter().any(|e| SecurityProtocol::parse(e.name.as_str()).is_some_and(|p| p.id() != 0));
    if !settings.is_set(OPTION) && !secured {
        for name in controller_names {
            map.entry(name.clone()).or_insert(SecurityProtocol::Plaintext);
        }
    }
    Ok(map)
}

fn protocol_of(
    protocols: &BTreeMap<ListenerName, SecurityProtocol>,
    name: &ListenerName,
) -> Result<SecurityProtocol, ConfigError> {
    protocols.get(name).copied().ok_or_else(|| {
        inconsistent(format!(
            "the listener {name} has no security protocol: add {name}:PLAINTEXT (or SSL, SASL_PLAINTEXT, SASL_SSL) to \
             listener.security.protocol.map"
        ))
    })
}

fn inter_broker(settings: &BrokerSettings) -> Result<ListenerName, ConfigError> {
    let by_name = settings.text("inter.broker.listener.name").filter(|_| settings.is_set("inter.broker.listener.name"));
    if by_name.is_some() && settings.is_set("security.inter.broker.protocol") {
        return Err(inconsistent(
            "both inter.broker.listener.name and security.inter.broker.protocol are set: remove one of them",
        ));
    }
    let name = by_name.or_else(|| settings.text("security.inter.broker.protocol")).unwrap_or("PLAINTEXT");
    Ok(ListenerName::new(name))
}

fn advertised(
    settings: &BrokerSettings,
    broker: &[Listener],
    controller_names: &[ListenerName],
) -> Result<Option<Vec<Advertised>>, ConfigError> {
    const OPTION: &str = "advertised.listeners";
    if !settings.is_set(OPTION) {
        return Ok(None);
    }
    let mut names = BTreeSet::new();
    let mut all = Vec::new();
    for endpoint in endpoints(settings, OPTION)? {
        if controller_names.contains(&endpoint.name) {
            // Controllers may advertise since KIP-853; the addresses in the quorum's records are what counts.
            continue;
        }
        if !broker.iter().any(|l| l.name == endpoint.name) {
            return Err(inconsistent(format!(
                "{OPTION} has {}, which is not among listeners: add it to listeners or remove it here",
                endpoint.name
            )));
        }
        if !names.insert(endpoint.name.clone()) {
            return Err(inconsistent(format!("{OPTION} has {} twice: keep one", endpoint.name)));
        }
        if !endpoint.host.is_empty() && is_wildcard(&endpoint.host) {
            return Err(inconsistent(format!(
                "{OPTION} has {endpoint}, and nobody can connect to {}: write a name or address that clients reach, or \
                 leave {OPTION} out and each client is told the address that it used",
                endpoint.host
            )));
        }
        let host = Some(endpoint.host).filter(|host| !host.is_empty());
        all.push(Advertised { name: endpoint.name, host, port: endpoint.port });
    }
    Ok(Some(all))
}
