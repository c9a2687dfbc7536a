//! The tables: every option of a broker, a topic, a group, a client-metrics subscription and a client.
//!
//! One file per subsystem. A row here is all that an option needs to be parsed, checked, described and documented;
//! a field of a typed struct is needed only where Logrun acts on it.

mod cleaner;
mod client_metrics;
mod client_security;
mod clients;
mod consumer_groups;
mod group;
mod kraft;
mod listeners;
mod log;
mod logrun;
mod metrics;
mod oauth;
mod offsets;
mod producers;
mod quotas;
mod remote;
mod replication;
mod sasl;
mod security;
mod server;
mod share;
mod sockets;
mod ssl;
mod streams_groups;
mod topic;
mod topics;
mod transactions;

use std::sync::OnceLock;

use crate::key::ConfigKey;

/// Options that belong together, in the order of the reference page.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    pub title: &'static str,
    pub options: &'static [ConfigKey],
}

const fn section(title: &'static str, options: &'static [ConfigKey]) -> Section {
    Section { title, options }
}

/// The options of a broker or controller, as `server.properties` has them.
pub static BROKER: &[Section] = &[
    section("The process", server::OPTIONS),
    section("Listeners", listeners::OPTIONS),
    section("Sockets and connections", sockets::OPTIONS),
    section("Topics", topics::OPTIONS),
    section("The log", log::OPTIONS),
    section("Compaction", cleaner::OPTIONS),
    section("Producers and fetches", producers::OPTIONS),
    section("Replication", replication::OPTIONS),
    section("The metadata log and its quorum", kraft::OPTIONS),
    section("Consumer groups and offsets", offsets::OPTIONS),
    section("Consumer groups of the new protocol (KIP-848)", consumer_groups::OPTIONS),
    section("Streams groups (KIP-1071)", streams_groups::OPTIONS),
    section("Share groups (KIP-932)", share::OPTIONS),
    section("Transactions", transactions::OPTIONS),
    section("Quotas", quotas::OPTIONS),
    section("Metrics", metrics::OPTIONS),
    section("Authorisation, principals, delegation tokens", security::OPTIONS),
    section("TLS", ssl::OPTIONS),
    section("SASL and Kerberos", sasl::OPTIONS),
    section("OAuth 2", oauth::OPTIONS),
    section("Tiered storage", remote::OPTIONS),
    section("Logrun's own", logrun::BROKER_OPTIONS),
];

/// The options of a topic.
pub static TOPIC: &[Section] = &[section("Kafka's", topic::OPTIONS), section("Logrun's own", logrun::TOPIC_OPTIONS)];

/// The options of a group.
pub static GROUP: &[Section] = &[section("Groups", group::OPTIONS)];

/// The options of a client-metrics subscription.
pub static CLIENT_METRICS: &[Section] = &[section("Client metrics", client_metrics::OPTIONS)];

/// The options of clients.
pub static CLIENT: &[Section] = &[
    section("All clients", clients::COMMON),
    section("Producers", clients::PRODUCER),
    section("Consumers", clients::CONSUMER),
    section("Admin clients", clients::ADMIN),
    section("TLS and SASL of clients", client_security::SECURITY),
];

/// All options of one kind of resource, by name.
#[derive(Debug)]
pub struct Options(Vec<&'static ConfigKey>);

impl Options {
    fn of(sections: &[Section]) -> Self {
        let mut all: Vec<&'static ConfigKey> = sections.iter().flat_map(|s| s.options).collect();
        all.sort_unstable_by_key(|key| key.name);
        Self(all)
    }

    /// The option of that name.
    pub fn get(&self, name: &str) -> Option<&'static ConfigKey> {
        self.0.binary_search_by(|key| key.name.cmp(name)).ok().and_then(|at| self.0.get(at)).copied()
    }

    /// All, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = &'static ConfigKey> + '_ {
        self.0.iter().copied()
    }
}

/// The options of a broker, by name.
pub fn broker_options() -> &'static Options {
    static INDEX: OnceLock<Options> = OnceLock::new();
    INDEX.get_or_init(|| Options::of(BROKER))
}

/// The option of a broker of that name that no file has, because it is only set while the broker runs.
pub(crate) fn dynamic_only_option(name: &str) -> Option<&'static ConfigKey> {
    quotas::DYNAMIC_ONLY.iter().find(|key| key.name == name)
}

/// The options of a topic, by name.
pub fn topic_options() -> &'static Options {
    static INDEX: OnceLock<Options> = OnceLock::new();
    INDEX.get_or_init(|| Options::of(TOPIC))
}

/// The options of a group, by name.
pub fn group_options() -> &'static Options {
    static INDEX: OnceLock<Options> = OnceLock::new();
    INDEX.get_or_init(|| Options::of(GROUP))
}

/// The options of a client-metrics subscription, by name.
pub fn client_metrics_options() -> &'static Options {
    static INDEX: OnceLock<Options> = OnceLock::new();
    INDEX.get_or_init(|| Options::of(CLIENT_METRICS))
}

fn of_client(own: &'static [ConfigKey]) -> Options {
    let sections = [clients::COMMON, client_security::SECURITY, own].map(|options| section("", options));
    Options::of(&sections)
}

/// The options of a producer, by name.
pub fn producer_options() -> &'static Options {
    static INDEX: OnceLock<Options> = OnceLock::new();
    INDEX.get_or_init(|| of_client(clients::PRODUCER))
}

/// The options of a consumer, by name.
pub fn consumer_options() -> &'static Options {
    static INDEX: OnceLock<Options> = OnceLock::new();
    INDEX.get_or_init(|| of_client(clients::CONSUMER))
}

/// The options of an admin client, by name.
pub fn admin_options() -> &'static Options {
    static INDEX: OnceLock<Options> = OnceLock::new();
    INDEX.get_or_init(|| of_client(clients::ADMIN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::DefaultValue;

    fn kinds() -> [(&'static str, &'static Options); 7] {
        [
            ("broker", broker_options()),
            ("topic", topic_options()),
            ("group", group_options()),
            ("client-metrics", client_metrics_options()),
            ("producer", producer_options()),
            ("consumer", consumer_options()),
            ("admin", admin_options()),
        ]
    }

    #[test]
    fn no_option_is_declared_twice_and_each_is_found() {
        for (kind, options) in kinds() {
            let names: Vec<&str> = options.iter().map(|key| key.name).collect();
            let mut once = names.clone();
            once.dedup();
            assert_eq!(names, once, "{kind}");
            for name in names {
                assert_eq!(options.get(name).map(|key| key.name), Some(name));
            }
        }
    }

    #[test]
    fn defaults_are_valid_and_written_as_they_would_be_answered() {
        for (kind, options) in kinds() {
            for key in options.iter() {
                if let DefaultValue::Text(text) = key.default {
                    // Kafka's own lists of controllers begin empty though an empty list can't be given.
                    if text.is_empty() {
                        continue;
                    }
                    let value = key.parse(text).unwrap_or_else(|e| panic!("{kind}: {e}"));
                    assert_eq!(value.to_string(), text, "{kind} {}", key.name);
                }
            }
        }
    }

    #[test]
    fn every_option_has_a_text_and_known_synonyms() {
        for (_, options) in kinds() {
            for key in options.iter() {
                assert!(key.text.ends_with('.') && key.text.len() > 12, "{}: {:?}", key.name, key.text);
                for synonym in key.synonyms {
                    assert!(broker_options().get(synonym.name).is_some(), "{} of {}", synonym.name, key.name);
                }
            }
        }
    }

    /// What Apache Kafka 4.3.1 declares: resource, name, type, default, importance, mode of change, publicity, range.
    const KAFKA: &str = include_str!("../../testdata/kafka-4.3.1.tsv");

    #[test]
    fn the_tables_say_what_kafka_says() {
        let mut seen = 0;
        for line in KAFKA.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            let [resource, name, kind, default, importance, mode, publicity, _range] = fields[..] else {
                panic!("a row of eight columns: {line:?}")
            };
            let (_, options) = kinds().into_iter().find(|(kind, _)| *kind == resource).expect(resource);
            let key = options.get(name).unwrap_or_else(|| panic!("{resource} {name} is missing"));
            assert_eq!(key.kind.name(), kind.to_lowercase(), "{name}");
            let ours = match key.default {
                DefaultValue::Required => "<required>",
                DefaultValue::Null => "<null>",
                DefaultValue::Text(text) => text,
            };
            assert_eq!(ours, default, "{name}");
            let of_client = ["producer", "consumer", "admin"].contains(&resource);
            if !of_client {
                assert_eq!(key.importance.name(), importance.to_lowercase(), "{name}");
            }
            assert_eq!(key.internal, publicity == "internal", "{name}");
            if resource == "broker" {
                assert_eq!(key.update.name(), mode, "{name}");
            }
            seen += 1;
        }
        let ours: usize = kinds().iter().map(|(_, options)| options.iter().count()).sum();
        let own = kinds().iter().flat_map(|(_, o)| o.iter()).filter(|key| key.name.starts_with("logrun.")).count();
        assert_eq!(seen, ours - own, "options that Kafka doesn't have are named logrun.*");
    }
}
