//! What can be wrong with a configuration, each as one sentence with the cause and the remedy.

use thiserror::Error;

use crate::properties::PropertiesError;
use crate::settings::Origin;
use crate::value::InvalidValue;

/// A reason not to start with this configuration, or not to take this change.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    #[error("{}{source}", place(.origin.as_ref()))]
    Value {
        origin: Option<Origin>,
        #[source]
        source: InvalidValue,
    },
    #[error("{name} isn't set: {remedy}")]
    Missing { name: String, remedy: String },
    #[error("{0}")]
    Inconsistent(String),
    #[error("{name} is no option that Logrun knows{hint}")]
    Unknown { name: String, hint: String },
    #[error("`{text}` is no setting: write --set key=value")]
    NoSetting { text: String },
    #[error("{path}, {source}")]
    File {
        path: String,
        #[source]
        source: PropertiesError,
    },
}

fn place(origin: Option<&Origin>) -> String {
    origin.map_or_else(String::new, |origin| format!("{origin}: "))
}

/// Everything that is wrong with a configuration, so that one attempt shows it all.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}", lines(.0))]
pub struct ConfigErrors(pub Vec<ConfigError>);

fn lines(errors: &[ConfigError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}

/// Shorthand for the errors between options.
pub(crate) fn inconsistent(sentence: impl Into<String>) -> ConfigError {
    ConfigError::Inconsistent(sentence.into())
}
