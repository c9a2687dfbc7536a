//! [`Config`]: a client's options under Kafka's names.
//!
//! The options themselves, their types and defaults, are rows of the tables of `logrun-config`.

use logrun_config::{ClientKind, ClientSettings, ConfigErrors};

use crate::error::Error;

/// What a client is configured with. An option that no client knows is an error that says what was probably meant;
/// one of another kind of client is not, so that one file serves all.
#[derive(Clone, Debug, Default)]
pub struct Config {
    settings: ClientSettings,
    lenient: bool,
}

impl Config {
    /// A configuration with these `bootstrap.servers`: `host:port`, or several with commas.
    pub fn new(bootstrap_servers: impl ToString) -> Self {
        Self::default().set("bootstrap.servers", bootstrap_servers)
    }

    /// Sets an option; the last value counts.
    #[must_use]
    pub fn set(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.settings.set(name, value.to_string());
        self
    }

    /// Sets an option unless it is set already.
    #[must_use]
    pub fn default_to(self, name: &str, value: impl ToString) -> Self {
        if self.settings.get(name).is_some() { self } else { self.set(name, value) }
    }

    /// Sets everything in the text of a `.properties` file; `path` is for messages.
    ///
    /// # Errors
    /// If the text is malformed.
    pub fn load(mut self, path: &str, text: &str) -> Result<Self, Error> {
        self.settings.load(path, text)?;
        Ok(self)
    }

    /// Sets one `name=value`, as a command line gives it.
    ///
    /// # Errors
    /// If there is no `=`.
    pub fn set_pair(mut self, pair: &str) -> Result<Self, Error> {
        self.settings.set_pair(pair)?;
        Ok(self)
    }

    /// Takes options that nobody knows without an error, as Kafka's own clients do; [`Self::warnings`] tells of them.
    #[must_use]
    pub fn lenient(mut self) -> Self {
        self.lenient = true;
        self
    }

    /// What was set under `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.settings.get(name)
    }

    /// All that was set, as text.
    pub fn settings(&self) -> &ClientSettings {
        &self.settings
    }

    /// What somebody should hear: unknown options, and options that have no effect. A sentence each.
    pub fn warnings(&self, kind: ClientKind) -> Vec<String> {
        let unknown = self.settings.unknown().into_iter().map(|e| e.to_string());
        unknown.chain(self.settings.without_effect(kind)).collect()
    }

    /// Checks every name and value for a client of this kind.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn check(&self, kind: ClientKind) -> Result<(), Error> {
        let mut wrong = if self.lenient { Vec::new() } else { self.settings.unknown() };
        if let Err(ConfigErrors(values)) = self.settings.check(kind) {
            wrong.extend(values);
        }
        if wrong.is_empty() { Ok(()) } else { Err(Error::Config(ConfigErrors(wrong))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_is_answered() {
        let config = Config::new("localhost:9092").set("linger.mss", 3);
        let e = config.check(ClientKind::Producer).unwrap_err();
        assert!(e.to_string().contains("did you mean `linger.ms`?"), "{e}");
        assert_eq!(config.clone().lenient().check(ClientKind::Producer), Ok(()));
        assert_eq!(config.warnings(ClientKind::Producer).len(), 1);
    }
}
