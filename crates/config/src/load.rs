//! From text to a configuration: which source wins, what is said about what was found.
//!
//! Weakest first: what Logrun has built in, the file, the environment, the command line. A file may hold names that
//! nobody knows, since Kafka's files hold the options of plugins and are shared with tools: that is a warning, as in
//! Kafka. On the command line a name was typed for Logrun alone: there an unknown one is an error.

use std::collections::BTreeMap;
use std::fmt;

use crate::alter::without_listener;
use crate::broker::BrokerConfig;
use crate::environment::{Variable, variable};
use crate::error::{ConfigError, ConfigErrors};
use crate::key::{Effect, Why};
use crate::properties;
use crate::retired::retired;
use crate::settings::{BrokerSettings, Origin, Setting};
use crate::suggest::{Scope, hint};
use crate::tables::broker_options;

/// Something that whoever starts the node should know; the node starts all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A name that nobody knows.
    Unknown { name: String, origin: Origin, hint: Option<String> },
    /// An option of an older Kafka.
    Retired { name: String, origin: Origin, why: &'static str },
    /// Options that are set to something else than their default and change nothing.
    NotActedOn { names: Vec<String>, why: Why },
    /// A choice that was made where nobody made one.
    Assumed(String),
}

impl Notice {
    /// Whether something may not be as the user believes, rather than just being worth a line.
    pub fn is_warning(&self) -> bool {
        match self {
            Self::Unknown { .. } => true,
            Self::NotActedOn { why, .. } => why.is_gap(),
            Self::Retired { .. } | Self::Assumed(_) => false,
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name, origin, hint } => {
                write!(f, "{origin}: {name} is no option that Logrun knows and is ignored")?;
                hint.as_ref().map_or(Ok(()), |hint| write!(f, "; {hint}"))
            }
            Self::Retired { name, origin, why } => write!(f, "{origin}: {name} is ignored: {why}"),
            Self::NotActedOn { names, why } => {
                let verb = if names.len() == 1 { "has" } else { "have" };
                write!(f, "{} {verb} no effect: {}", names.join(", "), why.text())
            }
            Self::Assumed(sentence) => f.write_str(sentence),
        }
    }
}

/// A configuration and what is to be said about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: BrokerConfig,
    pub notices: Vec<Notice>,
}

/// Gathers the sources of a node's configuration.
///
/// ```
/// let mut loader = logrun_config::Loader::new();
/// loader.set("num.partitions=3")?;
/// let loaded = loader.finish()?;
/// assert_eq!(loaded.config.topics.num_partitions, 3);
/// # Ok::<(), logrun_config::ConfigErrors>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Loader {
    file: Option<BTreeMap<String, Setting>>,
    environment: BTreeMap<String, Setting>,
    command_line: BTreeMap<String, Setting>,
    cluster_id: Option<String>,
    notices: Vec<Notice>,
}

impl Loader {
    /// Nothing set: the embedded default, one node that is broker and controller.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the text of a `server.properties` file; `path` is for messages. With a file, Logrun's own choices for a
    /// start without configuration no longer apply: what the file leaves out has Kafka's default.
    ///
    /// # Errors
    /// If the text is none that Java reads.
    pub fn file(&mut self, path: &str, text: &str) -> Result<(), ConfigErrors> {
        let pairs = properties::parse(text).map_err(|source| ConfigError::File { path: path.to_owned(), source })?;
        let settings = self.file.get_or_insert_default();
        for pair in pairs {
            let origin = Origin::File { path: path.to_owned(), line: pair.line };
            settings.insert(pair.key, Setting { value: pair.value, origin });
        }
        Ok(())
    }

    /// Takes the environment's variables; those that are not for a broker are passed over.
    pub fn environment<K: AsRef<str>, V: AsRef<str>>(&mut self, variables: impl IntoIterator<Item = (K, V)>) {
        for (name, value) in variables {
            let (name, value) = (name.as_ref(), value.as_ref());
            match variable(name, value) {
                Variable::Option(option) => {
                    let origin = Origin::Environment(name.to_owned());
                    self.environment.insert(option, Setting { value: value.to_owned(), origin });
                }
                Variable::ClusterId if !value.trim().is_empty() => self.cluster_id = Some(value.trim().to_owned()),
                Variable::ClusterId | Variable::Ignored => {}
            }
        }
    }

    /// Takes one `key=value` of the command line.
    ///
    /// # Errors
    /// If it has no `=`, or the key is unknown.
    pub fn set(&mut self, text: &str) -> Result<(), ConfigErrors> {
        let Some((name, value)) = text.split_once('=') else {
            return Err(ConfigError::NoSetting { text: text.to_owned() }.into());
        };
        let name = name.trim();
        if broker_options().get(without_listener(name)).is_none() && retired(name).is_none() {
            let hint = hint(name, Scope::Broker).map_or_else(String::new, |hint| format!(": {hint}"));
            return Err(ConfigError::Unknown { name: name.to_owned(), hint }.into());
        }
        self.put(name, value);
        Ok(())
    }

    /// As [`Loader::set`] for a name that the caller knows to be right.
    pub fn put(&mut self, name: &str, value: &str) {
        self.command_line.insert(name.to_owned(), Setting { value: value.to_owned(), origin: Origin::CommandLine });
    }

    /// Whether anything set `name` so far.
    pub fn has(&self, name: &str) -> bool {
        self.command_line.contains_key(name)
            || self.environment.contains_key(name)
            || self.file.as_ref().is_some_and(|file| file.contains_key(name))
    }

    /// Puts everything together and checks it.
    ///
    /// # Errors
    /// Everything that can't be read, or the first contradiction.
    pub fn finish(self) -> Result<Loaded, ConfigErrors> {
        let has_file = self.file.is_some();
        let mut fixed = self.file.unwrap_or_default();
        fixed.extend(self.environment);
        fixed.extend(self.command_line);
        let mut notices = self.notices;
        notices.extend(about(&fixed));
        crate::embedded::complete(&mut fixed, has_file, &mut notices);
        let settings = BrokerSettings { fixed, ..BrokerSettings::default() };
        let config = BrokerConfig::from_settings(settings, self.cluster_id)?;
        Ok(Loaded { config, notices })
    }
}

/// What is to be said about the settings by themselves.
fn about(fixed: &BTreeMap<String, Setting>) -> Vec<Notice> {
    let mut notices = Vec::new();
    let mut without_effect: BTreeMap<Why, Vec<String>> = BTreeMap::new();
    for (name, setting) in fixed {
        let origin = setting.origin.clone();
        if let Some(key) = broker_options().get(without_listener(name)) {
            let text = setting.value.trim();
            if let Effect::Accepted(why) = key.effect
                && key.default.text() != Some(text)
                // A list without items is no choice either.
                && !(text.is_empty() && key.default.text().is_none())
            {
                without_effect.entry(why).or_default().push(name.clone());
            }
        } else if let Some(why) = retired(name) {
            notices.push(Notice::Retired { name: name.clone(), origin, why });
        } else {
            notices.push(Notice::Unknown { name: name.clone(), origin, hint: hint(name, Scope::Broker) });
        }
    }
    notices.extend(without_effect.into_iter().map(|(why, names)| Notice::NotActedOn { names, why }));
    notices
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails(pairs: &[&str]) -> String {
        let mut loader = Loader::new();
        for pair in pairs {
            let (name, value) = pair.split_once('=').expect("a pair");
            loader.put(name, value);
        }
        loader.finish().map(|_| ()).expect_err("invalid").to_string()
    }

    #[test]
    fn the_stronger_source_wins() {
        let mut loader = Loader::new();
        loader.file("f", "num.partitions=2\nfetch.max.bytes=2000\nlog.roll.ms=5\nprocess.roles=broker,controller\nnode.id=3\ncontroller.listener.names=C\nlisteners=PLAINTEXT://:1,C://:2").expect("valid");
        loader.environment([("KAFKA_NUM_PARTITIONS", "3"), ("KAFKA_FETCH_MAX_BYTES", "3000")]);
        loader.set("num.partitions=4").expect("known");
        let config = loader.finish().expect("valid").config;
        assert_eq!(config.topics.num_partitions, 4);
        assert_eq!(config.fetch.max_bytes, 3000);
        assert_eq!(config.topic_defaults.segment_ms, 5);
        assert_eq!(config.topic_defaults.retention_ms, 604_800_000);
    }

    #[test]
    fn unknown_names_are_told_of_in_a_file_and_refused_on_the_command_line() {
        let mut loader = Loader::new();
        loader.file("server.properties", "\noffset.retention.minutees=5\nmy.plugin.x=1").expect("valid");
        let e = loader.set("log.segment.ms=5").expect_err("unknown");
        assert_eq!(
            e.to_string(),
            "log.segment.ms is no option that Logrun knows: did you mean `log.roll.ms`? (`segment.ms` is the topic's name for it)"
        );
        assert!(loader.set("num.partitions").is_err());
        let said: Vec<String> = loader.finish().expect("valid").notices.iter().map(ToString::to_string).collect();
        assert!(
            said.contains(
                &"server.properties, line 3: my.plugin.x is no option that Logrun knows and is ignored".to_owned()
            ),
            "{said:?}"
        );
        assert!(said.contains(&"server.properties, line 2: offset.retention.minutees is no option that Logrun knows and is ignored; did you mean `offsets.retention.minutes`?".to_owned()), "{said:?}");
    }

    #[test]
    fn what_changes_nothing_is_said_once_for_each_reason() {
        let mut loader = Loader::new();
        for pair in [
            "num.io.threads=16",
            "num.network.threads=9",
            "log.cleaner.threads=4",
            "num.recovery.threads.per.data.dir=2",
        ] {
            loader.set(pair).expect("known");
        }
        let notices = loader.finish().expect("valid").notices;
        let said: Vec<(String, bool)> = notices.iter().map(|n| (n.to_string(), n.is_warning())).collect();
        assert!(
            said.contains(&(
                "num.io.threads, num.network.threads have no effect: Logrun's threads follow the machine's cores"
                    .to_owned(),
                false
            )),
            "{said:?}"
        );
        assert!(!said.iter().any(|(text, _)| text.contains("recovery")), "the default changes nothing: {said:?}");
    }

    #[test]
    fn all_unreadable_values_at_once_with_their_places() {
        let mut loader = Loader::new();
        loader.file("server.properties", "num.partitions=many\nprocess.roles=broker,controller\n").expect("valid");
        loader.environment([("KAFKA_LOG_SEGMENT_BYTES", "10")]);
        let e = loader.finish().map(|_| ()).expect_err("invalid").to_string();
        assert_eq!(
            e,
            "environment variable KAFKA_LOG_SEGMENT_BYTES: log.segment.bytes=10: the least is 1048576\n\
             server.properties, line 1: num.partitions=many: give a whole number up to 2147483647"
        );
    }

    #[test]
    fn sentences_about_contradictions() {
        let sentences: Vec<String> = [
            &["listeners=9092"][..],
            &[
                "listeners=PLAINTEXT://:9092,OTHER://:9092",
                "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,OTHER:PLAINTEXT",
            ],
            &["listeners=INTERNAL://:9092"],
            &["listeners=SSL://:9093"],
            &["advertised.listeners=PLAINTEXT://0.0.0.0:9092"],
            &["advertised.listeners=PLAINTEXT://a:9092,OTHER://a:1", "listeners=PLAINTEXT://:9092"],
            &["process.roles=broker"],
            &["process.roles=broker", "controller.quorum.voters=1@a:9093"],
            &["controller.quorum.voters=2@a:9093"],
            &["controller.quorum.voters=a:9093"],
            &["node.id=1", "broker.id=2"],
            &["process.roles=zookeeper"],
            &["inter.broker.listener.name=NOWHERE"],
            &["listener.security.protocol.map=PLAINTEXT:TLS"],
            &["group.min.session.timeout.ms=9", "group.max.session.timeout.ms=8"],
            &["log.retention.hours=0"],
            &["authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer"],
            &["max.connections.per.ip.overrides=localhost"],
        ]
        .into_iter()
        .map(fails)
        .collect();
        insta::assert_snapshot!(sentences.join("\n"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[ -~\\n]{0,60}", name in 0usize..360, value in "[ -~]{0,30}") {
            let mut loader = Loader::new();
            let _ = loader.file("f", &text);
            if let Some(key) = broker_options().iter().nth(name) {
                loader.put(key.name, &value);
            }
            let _ = loader.finish();
        }
    }
}
