//! [`Error`]: why a call failed, each as a sentence with the cause; told apart by what the caller can do about it.

use std::time::Duration;

use logrun_config::{ConfigError, ConfigErrors};
use logrun_model::Str;
use logrun_wire::{ApiKey, DecodeError, EncodeError, ErrorCode, VersionRange};
use thiserror::Error;

/// What can come of a call instead of a result.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum Error {
    /// The configuration can't be used.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The broker refused, with one of Kafka's error codes.
    #[error("{}", broker_text(*code, message.as_ref()))]
    Broker {
        /// Kafka's code.
        code: ErrorCode,
        /// What the broker says beyond the code.
        message: Option<Str>,
    },
    /// No connection could be made.
    #[error("can't connect to {address}: {reason}")]
    Connect {
        /// `host:port`.
        address: String,
        /// What the system or the broker said.
        reason: String,
    },
    /// The connection ended before the response came; whether the broker acted on the request is not known.
    #[error("the connection to {address} is gone: {reason}")]
    Disconnected {
        /// `host:port`.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// TLS or SASL said no. Trying again won't help.
    #[error("{address} refuses this client: {reason}")]
    Authentication {
        /// `host:port`.
        address: String,
        /// What the broker or the TLS library said.
        reason: String,
    },
    /// Time ran out.
    #[error("{what} took longer than {} ms{}", after.as_millis(), cause(last.as_deref()))]
    TimedOut {
        /// What was waited for.
        what: String,
        /// How long.
        after: Duration,
        /// What went wrong the last time it was tried.
        last: Option<Box<Error>>,
    },
    /// The broker has no version of the API that this client speaks, or that the call needs.
    #[error("{address} doesn't serve {api} in a version that the call needs (it has {theirs}, needed is {ours})")]
    Unsupported {
        /// The broker.
        address: String,
        /// The API.
        api: ApiKey,
        /// What the broker serves.
        theirs: VersionRange,
        /// What the client can use.
        ours: VersionRange,
    },
    /// A response that can't be read.
    #[error("a response is malformed: {0}")]
    Malformed(#[from] DecodeError),
    /// A request that can't be written, mostly because the broker is too old for what it asks.
    #[error("the request can't be written: {0}")]
    Encode(#[from] EncodeError),
    /// The call itself makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// A consumer's position in a partition is not known, or what it pointed at is gone.
    #[error("{0}")]
    NoPosition(String),
    /// A poll was ended from elsewhere.
    #[error("the poll was woken")]
    Woken,
    /// The client has been closed.
    #[error("the client is closed")]
    Closed,
}

fn broker_text(code: ErrorCode, message: Option<&Str>) -> String {
    match message {
        Some(message) if !message.is_empty() => format!("{code}: {message}"),
        _ => code.to_string(),
    }
}

fn cause(last: Option<&Error>) -> String {
    last.map_or_else(String::new, |e| format!("; the last attempt: {e}"))
}

impl From<ConfigError> for Error {
    fn from(e: ConfigError) -> Self {
        Self::Config(e.into())
    }
}

impl From<ErrorCode> for Error {
    fn from(code: ErrorCode) -> Self {
        Self::Broker { code, message: None }
    }
}

impl Error {
    /// The broker's error code, if the broker gave one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Broker { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether the same call may succeed later: Kafka's `RetriableException`.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Broker { code, .. } => code.is_retriable(),
            Self::Connect { .. } | Self::Disconnected { .. } | Self::TimedOut { .. } => true,
            _ => false,
        }
    }

    /// Whether what the client knows of the cluster is out of date: Kafka's `InvalidMetadataException`.
    pub fn is_invalid_metadata(&self) -> bool {
        match self {
            Self::Broker { code, .. } => code.is_invalid_metadata(),
            Self::Connect { .. } | Self::Disconnected { .. } => true,
            _ => false,
        }
    }

    /// Whether the coordinator has to be looked up again.
    pub fn is_coordinator_moved(&self) -> bool {
        matches!(self.code(), Some(ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable))
            || matches!(self, Self::Connect { .. } | Self::Disconnected { .. })
    }
}

/// The error of a response's code and message; `Ok` for no error.
pub fn check(code: i16, message: Option<&Str>) -> Result<(), Error> {
    match ErrorCode::from_code(code) {
        Some(ErrorCode::None) => Ok(()),
        Some(code) => Err(Error::Broker { code, message: message.map(Str::detached) }),
        None => Err(Error::Broker {
            code: ErrorCode::UnknownServerError,
            message: Some(format!("the broker gave error code {code}, which this client doesn't know").into()),
        }),
    }
}
