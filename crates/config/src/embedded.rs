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
use crate::tables::broker_options;

const MAP: &str = "listener.security.protocol.map";

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
    // Two names of one number: whoever describes the broker sees it under both, as in Kafka.
    if let Some(id) = text(fixed, "node.id").filter(|_| !fixed.contains_key("broker.id")) {
        put(fixed, "broker.id", &id);
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
        let older_name_is_set = *name == "log.dirs" && fixed.contains_key("log.dir");
        if !fixed.contains_key(*name) && !older_name_is_set {
            put(fixed, name, value);
        }
    }
    let several = text(fixed, "controller.quorum.voters").is_some_and(|voters| voters.contains(','))
        || text(fixed, "controller.quorum.bootstrap.servers").is_some_and(|servers| servers.contains(','));
    if !several {
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
    // A map of one's own, or a listener with security, leaves the name of ours without a protocol.
    let mapped = |map: &str| map.to_uppercase().split(',').any(|pair| pair.trim().starts_with(&format!("{name}:")));
    match fixed.get_mut(MAP) {
        Some(map) if !mapped(&map.value) => map.value = format!("{},{name}:PLAINTEXT", map.value),
        Some(_) => {}
        None => {
            let default = broker_options().get(MAP).and_then(|key| key.default.text()).unwrap_or_default();
            if !mapped(default) {
                put(fixed, MAP, &format!("{default},{name}:PLAINTEXT"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::load::{Loaded, Loader, Notice};

    fn environment(pairs: &[(&str, &str)]) -> Loaded {
        let mut loader = Loader::new();
        loader.environment(pairs.iter().copied());
        loader.finish().unwrap_or_else(|e| panic!("{e}"))
    }

    fn listeners(loaded: &Loaded) -> Vec<String> {
        let listeners = &loaded.config.listeners;
        let all = listeners.broker.iter().chain(&listeners.controller);
        all.map(|l| format!("{}://{}:{}", l.name, l.host, l.port)).collect()
    }

    #[test]
    fn nothing_at_all() {
        let loaded = Loader::new().finish().expect("valid");
        let config = &loaded.config;
        assert_eq!(loaded.notices, []);
        assert!(config.roles.broker && config.roles.controller);
        assert_eq!(config.node_id.get(), 1);
        assert_eq!(listeners(&loaded), ["PLAINTEXT://:9092", "CONTROLLER://127.0.0.1:9093"]);
        assert_eq!(config.listeners.advertised, None);
        assert_eq!(config.log_dirs, [std::path::PathBuf::from("./logrun-data")]);
        assert_eq!(config.groups.initial_rebalance_delay_ms, 0);
        assert_eq!(config.groups.offsets_topic_replication_factor, 1);
        assert_eq!(config.transactions.state_log_min_isr, 1);
    }

    #[test]
    fn a_port_of_ones_own_moves_the_controller_too() {
        let with = |listeners: &str| {
            let mut loader = Loader::new();
            loader.put("listeners", listeners);
            loader.finish().expect("valid")
        };
        assert_eq!(listeners(&with("PLAINTEXT://:19092")), ["PLAINTEXT://:19092", "CONTROLLER://127.0.0.1:19093"]);
        assert_eq!(listeners(&with("PLAINTEXT://:0")), ["PLAINTEXT://:0", "CONTROLLER://127.0.0.1:0"]);
        assert_eq!(listeners(&with("PLAINTEXT://:65535")), ["PLAINTEXT://:65535", "CONTROLLER://127.0.0.1:0"]);
    }

    #[test]
    fn apaches_image() {
        let loaded = environment(&[
            ("KAFKA_NODE_ID", "7"),
            ("KAFKA_PROCESS_ROLES", "broker,controller"),
            ("KAFKA_LISTENERS", "PLAINTEXT://:9092,CONTROLLER://:9093"),
            ("KAFKA_ADVERTISED_LISTENERS", "PLAINTEXT://localhost:9092"),
            ("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER"),
            ("KAFKA_LISTENER_SECURITY_PROTOCOL_MAP", "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT"),
            ("KAFKA_CONTROLLER_QUORUM_VOTERS", "7@localhost:9093"),
            ("KAFKA_HEAP_OPTS", "-Xmx1g"),
            ("CLUSTER_ID", "4L6g3nShT-eMCtK--X86sw"),
        ]);
        assert_eq!(listeners(&loaded), ["PLAINTEXT://:9092", "CONTROLLER://:9093"]);
        assert_eq!(loaded.config.cluster_id.as_deref(), Some("4L6g3nShT-eMCtK--X86sw"));
        assert_eq!(loaded.config.node_id.get(), 7);
        assert_eq!(loaded.notices, []);
    }

    #[test]
    fn a_compose_file_of_the_zookeeper_time() {
        let loaded = environment(&[
            ("KAFKA_BROKER_ID", "2"),
            ("KAFKA_ZOOKEEPER_CONNECT", "zookeeper:2181"),
            ("KAFKA_ADVERTISED_LISTENERS", "HOST://localhost:9092,INTERNAL://broker-1:29092"),
            ("KAFKA_LISTENER_SECURITY_PROTOCOL_MAP", "HOST:PLAINTEXT,INTERNAL:PLAINTEXT"),
            ("KAFKA_INTER_BROKER_LISTENER_NAME", "INTERNAL"),
            ("KAFKA_SNAPSHOT_TRUST_EMPTY", "true"),
        ]);
        let config = &loaded.config;
        assert_eq!(listeners(&loaded), ["HOST://:9092", "INTERNAL://:29092", "CONTROLLER://127.0.0.1:9093"]);
        assert_eq!(config.node_id.get(), 2);
        assert_eq!(config.listeners.inter_broker.as_str(), "INTERNAL");
        let internal = config.listeners.advertised_of(&config.listeners.inter_broker).expect("advertised");
        assert_eq!((internal.host.as_deref(), internal.port), (Some("broker-1"), 29092));
        let said: Vec<String> = loaded.notices.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "environment variable KAFKA_SNAPSHOT_TRUST_EMPTY: snapshot.trust.empty is ignored: there is no ZooKeeper snapshot",
                "environment variable KAFKA_ZOOKEEPER_CONNECT: zookeeper.connect is ignored: there is no ZooKeeper: the \
                 metadata is in the node's own log",
            ]
        );
    }

    #[test]
    fn a_file_of_the_zookeeper_time() {
        let mut loader = Loader::new();
        loader
            .file("server.properties", "broker.id=0\nzookeeper.connect=localhost:2181\nlog.dirs=/var/kafka\n")
            .expect("valid");
        let loaded = loader.finish().expect("valid");
        assert!(loaded.config.roles.broker && loaded.config.roles.controller);
        assert_eq!(loaded.config.node_id.get(), 0);
        // What the file leaves out has Kafka's default, not the embedded one.
        assert_eq!(loaded.config.groups.initial_rebalance_delay_ms, 3000);
        assert!(loaded.notices.iter().any(|n| matches!(n, Notice::Assumed(_))), "{:?}", loaded.notices);
    }
}
