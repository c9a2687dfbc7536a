//! Whose configuration: `--entity-type`, `--entity-name`, `--entity-default` and their short forms.

use std::net::ToSocketAddrs;

use crate::cluster::ResourceType;
use crate::failure::Failure;
use crate::options::Given;

/// A kind of thing that has a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Topics,
    Clients,
    Users,
    Brokers,
    BrokerLoggers,
    Ips,
    ClientMetrics,
    Groups,
}

const KINDS: [(Kind, &str); 8] = [
    (Kind::BrokerLoggers, "broker-loggers"),
    (Kind::Topics, "topics"),
    (Kind::Clients, "clients"),
    (Kind::Users, "users"),
    (Kind::Brokers, "brokers"),
    (Kind::Ips, "ips"),
    (Kind::ClientMetrics, "client-metrics"),
    (Kind::Groups, "groups"),
];

/// The short forms, with a name and without.
const NAMED: [(&str, Kind); 8] = [
    ("topic", Kind::Topics),
    ("client", Kind::Clients),
    ("user", Kind::Users),
    ("broker", Kind::Brokers),
    ("broker-logger", Kind::BrokerLoggers),
    ("ip", Kind::Ips),
    ("client-metrics", Kind::ClientMetrics),
    ("group", Kind::Groups),
];
const DEFAULTS: [(&str, Kind); 4] = [
    ("client-defaults", Kind::Clients),
    ("user-defaults", Kind::Users),
    ("broker-defaults", Kind::Brokers),
    ("ip-defaults", Kind::Ips),
];

impl Kind {
    pub fn plural(self) -> &'static str {
        KINDS.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }

    /// Kafka cuts the last letter off, also of `client-metrics`.
    pub fn singular(self) -> &'static str {
        let plural = self.plural();
        plural.get(..plural.len().saturating_sub(1)).unwrap_or(plural)
    }

    /// The resource on the wire; quotas and credentials have calls of their own.
    pub fn resource(self) -> Option<ResourceType> {
        Some(match self {
            Self::Topics => ResourceType::Topic,
            Self::Brokers => ResourceType::Broker,
            Self::BrokerLoggers => ResourceType::BrokerLogger,
            Self::ClientMetrics => ResourceType::ClientMetrics,
            Self::Groups => ResourceType::Group,
            Self::Clients | Self::Users | Self::Ips => return None,
        })
    }

    /// Where what was set for `name` itself comes from: `ConfigSource`; `None` if that makes no difference.
    pub fn own_source(self, name: &str) -> Option<i8> {
        match self {
            Self::Topics => Some(1),
            Self::Brokers if name.is_empty() => Some(3),
            Self::Brokers => Some(2),
            Self::ClientMetrics => Some(7),
            Self::Groups => Some(8),
            _ => None,
        }
    }

    /// What a quota calls it.
    pub fn quota_entity(self) -> &'static str {
        match self {
            Self::Users => "user",
            Self::Clients => "client-id",
            _ => "ip",
        }
    }

    fn has_defaults(self) -> bool {
        matches!(self, Self::Users | Self::Clients | Self::Brokers | Self::Ips)
    }
}

/// A kind, and which of it: an empty name is the default, `None` all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entity {
    pub kind: Kind,
    pub name: Option<String>,
}

/// One entity, or a user and a client.
#[derive(Clone, Debug)]
pub struct Entities {
    pub list: Vec<Entity>,
}

impl Entities {
    /// Reads and checks the command line.
    ///
    /// # Errors
    /// It says too little, too much, or what doesn't go together.
    pub fn of(given: &Given<'_>) -> Result<Self, Failure> {
        let wrong = |message: &str| Err(given.syntax.wrong(message));
        if given.count(&["alter", "describe"]) != 1 {
            return wrong("Command must include exactly one action: --describe, --alter");
        }
        given.exclusive("describe", &["add-config", "delete-config"])?;
        if !given.has("bootstrap-server") && !given.has("bootstrap-controller") {
            return wrong("Either --bootstrap-server or --bootstrap-controller must be specified.");
        }
        if given.has("bootstrap-server") && given.has("bootstrap-controller") {
            return wrong("Only one of --bootstrap-server or --bootstrap-controller can be specified");
        }
        let (kinds, names) = (kinds(given)?, names(given)?);
        let [first, rest @ ..] = kinds.as_slice() else { return wrong("At least one entity type must be specified") };
        if rest.contains(first) {
            return wrong(&format!("Duplicate entity type(s) specified: {}", first.plural()));
        }
        let user_and_client = kinds.len() == 2 && kinds.contains(&Kind::Users) && kinds.contains(&Kind::Clients);
        if !rest.is_empty() && !user_and_client {
            return wrong("Only 'users' and 'clients' entity types may be specified together");
        }
        let short = NAMED.iter().chain(&DEFAULTS).any(|(option, _)| given.has(option));
        if short && given.count(&["entity-name", "entity-type", "entity-default"]) > 0 {
            return wrong("--entity-{type,name,default} should not be used in conjunction with specific entity flags");
        }
        if names.len() > kinds.len() {
            return wrong("More entity names specified than entity types");
        }
        let named = names.iter().any(|n| !n.is_empty());
        if matches!(first, Kind::Brokers | Kind::BrokerLoggers)
            && let Some(name) = names.iter().find(|n| !n.is_empty() && n.parse::<i32>().is_err())
        {
            let kind = first.plural();
            return wrong(&format!("The entity name for {kind} must be a valid integer broker id, but it is: {name}"));
        }
        if *first == Kind::Ips
            && let Some(name) = names.iter().find(|n| !n.is_empty() && (n.as_str(), 0).to_socket_addrs().is_err())
        {
            return wrong(&format!("The entity name for ips must be a valid IP or resolvable host, but it is: {name}"));
        }
        let kind = first.plural();
        if given.has("describe") {
            if given.has("entity-default") && !kinds.iter().any(|k| k.has_defaults()) {
                return wrong(&format!("--entity-default must not be specified with --describe of {kind}"));
            }
            if *first == Kind::BrokerLoggers && !named {
                return wrong(&format!("An entity name must be specified with --describe of {kind}"));
            }
        } else {
            if kinds.iter().any(|k| k.has_defaults()) && names.is_empty() {
                return wrong(
                    "An entity-name or default entity must be specified with --alter of users, clients, brokers or ips",
                );
            }
            if !kinds.iter().any(|k| k.has_defaults()) && !named {
                return wrong(&format!("An entity name must be specified with --alter of {kind}"));
            }
            if names.len() != kinds.len() {
                return wrong("An entity name must be specified for every entity type");
            }
            if given.has("add-config") && given.has("add-config-file") {
                return wrong("Only one of --add-config or --add-config-file must be specified");
            }
            if given.count(&["add-config", "add-config-file", "delete-config"]) == 0 {
                return wrong(
                    "At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter",
                );
            }
        }
        let mut names = names.into_iter();
        Ok(Self { list: kinds.into_iter().map(|kind| Entity { kind, name: names.next() }).collect() })
    }

    /// Whether a client is among them.
    pub fn has_client(&self) -> bool {
        self.list.iter().any(|e| e.kind == Kind::Clients)
    }
}

fn kinds(given: &Given<'_>) -> Result<Vec<Kind>, Failure> {
    let mut kinds = Vec::new();
    for text in given.values("entity-type") {
        let Some((kind, _)) = KINDS.iter().find(|(_, name)| *name == text) else {
            let all: Vec<&str> = KINDS.iter().map(|(_, name)| *name).collect();
            return Err(given.syntax.wrong(format!(
                "Invalid entity type {text}, the entity type must be one of {} with a --bootstrap-server or --bootstrap-controller argument",
                all.join(", ")
            )));
        };
        kinds.push(*kind);
    }
    kinds.extend(NAMED.iter().chain(&DEFAULTS).filter(|(option, _)| given.has(option)).map(|(_, kind)| *kind));
    Ok(kinds)
}

fn names(given: &Given<'_>) -> Result<Vec<String>, Failure> {
    // In the order of the command line, so that each stands for the type in its place.
    let by_type = given.in_order().filter_map(|(option, value)| match option {
        "entity-name" => Some(value.unwrap_or_default().to_owned()),
        "entity-default" => Some(String::new()),
        _ => None,
    });
    let mut names: Vec<String> = by_type.collect();
    for (option, _) in NAMED {
        names.extend(given.value(option)?.map(str::to_owned));
    }
    names.extend(DEFAULTS.iter().filter(|(option, _)| given.has(option)).map(|_| String::new()));
    Ok(names)
}
