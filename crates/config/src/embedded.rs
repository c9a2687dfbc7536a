//! What Logrun chooses where nobody chose: the configuration of a start without configuration.
//!
//! One node that is broker and controller, on port 9092 of every interface, its controller on the loopback, its data
//! in `./logrun-data`, its internal topics with one replica since there is one broker. A new group's first assignment
//! is not delayed: the three seconds of Kafka's default save a cluster a rebalance, and cost someone at a laptop
//! three seconds of every first try. With a file only the roles are filled in, if a file of the ZooKeeper time has
//! none.

use std::collections::BTreeMap;

use crate::listeners::{Endpoint, ListenerName};
use crate::load::Notice;
use crate::settings::{Origin, Setting};

/// Without a file: options, and what they are then.
const WITHOUT_FILE: &[(&str, &str)] = &[("log.dirs", DATA_DIR), ("group.initial.rebalance.delay.ms", "0")];

/// With one broker: the internal topics' options.
const ONE_BROKER: &[(&str, &str)] = &[
    ("offsets.topic.replication.factor", "1"),
    ("transaction.state.log.replication.factor", "1"),
    ("transaction.state.log.min.isr", "1"),
    ("share.coordinator.state.topic.replication.factor", "1"),
    ("share.coordinator.state.topic.min.isr", "1"),
];

/// Where the data is when nobody says.
pub const DATA_DIR: &str = "./logrun-data";

/// Where clients are served when nobody says: Kafka's default.
const LISTENERS: &str = "PLAINTEXT://:9092";

/// The name of the controllers' listener when nobody says: everybody's.
const CONTROLLER: &str = "CONTROLLER";

/// Adds what is missing.
pub(crate) fn complete(fixed: &mut BTreeMap<String, Setting>, has_file: bool, notices: &mut Vec<Notice>) {
    let text = |fixed: &BTreeMap<String, Setting>, name: &str| {
        fixed.get(name).map(|s| s.value.trim().to_owned()).filter(|text| !text.is_empty())
    };
    let own_roles = text(fixed, "process.roles").is_none();
    if own_roles {
        put(fixed, "process.roles", "broker,controller");
        if has_file {
            notices
                .push(Notice::Assumed("process.roles isn't set: this node is broker and controller in one".to_owned()));
        }
    }
    let ours = own_roles || !has_file;
    if text(fixed, "node.id").is_none() {
        match text(fixed, "broker.id").filter(|id| id.parse::<i32>().is_ok_and(|id| id >= 0)) {
            Some(id) => put(fixed, "node.id", &id),
            None if ours => put(fixed, "node.id", "1"),
            None => {}
        }
    }
    let is_controller = text(fixed, "process.roles").is_some_and(|roles| roles.contains("controller"));
    if ours && text(fixed, "controller.listener.names").is_none() {
        put(fixed, "controller.listener.names", CONTROLLER);
    }
    if text(fixed, "listeners").is_none()
        && let Some(derived) = from_advertised(&text(fixed, "advertised.listeners").unwrap_or_default())
    {
        put(fixed, "listeners", &derived);
    }
    if ours && is_controller {
        controller_listener(fixed, &text(fixed, "listeners").unwrap_or_else(|| LISTENERS.to_owned()));
    }
    if has_file {
        return;
    }
    for (name, value) in WITHOUT_FILE {
        if !fixed.contains_key(*name) && !(*name == "log.dirs" && fixed.contains_key("log.dir")) {
            put(fixed, name, value);
        }
    }
    let several = text(fixed, "controller.quorum.voters").is_some_and(|voters| voters.contains(','))
        || text(fixed, "controller.quorum.bootstrap.servers").is_some_and(|servers| servers.contains(','));
    if is_controller && !several {
        for (name, value) in ONE_BROKER {
            if !fixed.contains_key(*name) {
                put(fixed, name, value);
            }
        }
    }
}

fn put(fixed: &mut BTreeMap<String, Setting>, name: &str, value: &str) {
    fixed.insert(name.to_owned(), Setting { value: value.to_owned(), origin: Origin::BuiltIn });
}

/// Where to listen if only `advertised.listeners` is set and has names that Kafka's default hasn't: on the advertised
/// ports of every interface. Kafka would refuse to start; Confluent's image does this for it, and compose files rely
/// on it.
fn from_advertised(advertised: &str) -> Option<String> {
    let endpoints: Option<Vec<Endpoint>> = advertised.split(',').map(|item| Endpoint::parse(item.trim())).collect();
    let endpoints = endpoints?;
    if endpoints.iter().all(|endpoint| endpoint.name.as_str() == "PLAINTEXT") {
        return None;
    }
    let open: Vec<String> = endpoints.iter().map(|e| format!("{}://:{}", e.name, e.port)).collect();
    Some(open.join(","))
}

/// Adds a controller listener on the loopback if no listener is a controller's. Its port is the first that follows
/// the first client port and is not taken by another listener; with port 0 (any) it is any too.
fn controller_listener(fixed: &mut BTreeMap<String, Setting>, listeners: &str) {
    let names = fixed.get("controller.listener.names").map(|s| s.value.clone()).unwrap_or_default();
    let names: Vec<ListenerName> = names.split(',').map(ListenerName::new).collect();
    // What can't be read is told of when the listeners are.
    let open: Vec<Endpoint> = listeners.split(',').filter_map(|item| Endpoint::parse(item.trim())).collect();
    let Some(name) = names.first() else { return };
    if open.iter().any(|endpoint| names.contains(&endpoint.name)) {
        return;
    }
    let first = open.first().map_or(9092, |endpoint| endpoint.port);
    let port = match first {
        0 => 0,
        first => (first.saturating_add(1)..=u16::MAX).find(|port| open.iter().all(|e| e.port != *port)).unwrap_or(0),
    };
    let origin = fixed.get("listeners").map_or(Origin::BuiltIn, |setting| setting.origin.clone());
    let value = format!("{listeners},{name}://127.0.0.1:{port}");
    fixed.insert("listeners".to_owned(), Setting { value, origin });
    if let Some(map) = fixed.get_mut("listener.security.protocol.map")
        && !map.value.to_uppercase().split(',').any(|pair| pair.trim().starts_with(&format!("{name}:")))
    {
        map.value = format!("{},{name}:PLAINTEXT", map.value);
    }
}
