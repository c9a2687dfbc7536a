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
