//! One tool's talk with one cluster: the client, made from a tool's options, on a runtime of one thread.
//!
//! What the client answers becomes the sentences that Kafka's tools print ([`Failure`]).

use std::future::Future;

use logrun_client::{Admin, Call, Client, ClientKind, Config, CoordinatorKey, Error, Target};
use logrun_wire::Request;

use crate::errors;
use crate::failure::Failure;
use crate::files::{self, Properties};
use crate::options::Given;
use crate::runtime;

/// Runs a tool's future on one thread.
///
/// # Errors
/// What the future gives, or the runtime can't be made.
pub fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    runtime::block_on(Failure::new, future)
}

/// A cluster to ask.
#[derive(Clone, Debug)]
pub struct Session {
    pub client: Client,
}

impl Session {
    /// Of the usual options: `--bootstrap-server` (or `--bootstrap-controller` where the tool has it) and
    /// `--command-config`.
    ///
    /// # Errors
    /// The file can't be read, or the configuration is wrong.
    pub fn of(given: &Given<'_>) -> Result<Self, Failure> {
        Self::with(properties(given)?)
    }

    /// Of a configuration.
    ///
    /// # Errors
    /// The configuration is wrong.
    pub fn with(properties: Properties) -> Result<Self, Failure> {
        let client = Client::connect(&config(properties)).map_err(|e| failure(&e))?;
        Ok(Self { client })
    }

    /// The administrator's calls.
    pub fn admin(&self) -> Admin {
        Admin::of(self.client.clone())
    }

    /// A call to any broker.
    ///
    /// # Errors
    /// See [`failure`].
    pub async fn any<R: Request>(&self, request: R) -> Result<R::Response, Failure> {
        self.call(Target::Any, request).await.map_err(|e| failure(&e))
    }

    /// A call to the controller.
    ///
    /// # Errors
    /// See [`failure`].
    pub async fn controller<R: Request>(&self, request: R) -> Result<R::Response, Failure> {
        self.call(Target::Controller, request).await.map_err(|e| failure(&e))
    }

    /// A call to one broker.
    ///
    /// # Errors
    /// See [`failure`].
    pub async fn node<R: Request>(&self, node: i32, request: R) -> Result<R::Response, Failure> {
        self.call(Target::Node(node.into()), request).await.map_err(|e| failure(&e))
    }

    /// A call to a group's coordinator.
    ///
    /// # Errors
    /// See [`failure`].
    pub async fn group<R: Request>(&self, group: &str, request: R) -> Result<R::Response, Failure> {
        self.call(Target::Coordinator(CoordinatorKey::Group(group.into())), request).await.map_err(|e| failure(&e))
    }

    /// Any call, with the client's own error.
    ///
    /// # Errors
    /// The client's.
    pub async fn call<R: Request>(&self, to: impl Into<Call>, request: R) -> Result<R::Response, Error> {
        self.client.call(to, request).await
    }
}

/// The client's configuration from a tool's options.
///
/// # Errors
/// The file can't be read; both or neither of the bootstrap options are given.
pub fn properties(given: &Given<'_>) -> Result<Properties, Failure> {
    properties_of(given, given.value("command-config")?)
}

/// The same with the file of `config`, where a tool calls that option differently.
///
/// # Errors
/// As [`properties`].
pub fn properties_of(given: &Given<'_>, config: Option<&str>) -> Result<Properties, Failure> {
    let declared = |name: &str| given.syntax.options.iter().any(|o| o.name == name);
    let mut properties = match config {
        Some(path) => files::load(path)?,
        None => Properties::new(),
    };
    let server = given.value("bootstrap-server")?;
    let controller = if declared("bootstrap-controller") { given.value("bootstrap-controller")? } else { None };
    match (server, controller) {
        (Some(_), Some(_)) => {
            Err(given.syntax.wrong("You cannot specify both --bootstrap-controller and --bootstrap-server."))
        }
        (Some(server), None) => {
            properties.remove("bootstrap.controllers");
            properties.insert("bootstrap.servers".to_owned(), server.to_owned());
            Ok(properties)
        }
        (None, Some(controller)) => {
            properties.remove("bootstrap.servers");
            properties.insert("bootstrap.controllers".to_owned(), controller.to_owned());
            Ok(properties)
        }
        (None, None) if properties.contains_key("bootstrap.servers") => Ok(properties),
        (None, None) if declared("bootstrap-controller") => {
            Err(given.syntax.wrong("You must specify either --bootstrap-controller or --bootstrap-server."))
        }
        (None, None) => Err(given.missing("bootstrap-server")),
    }
}

/// The client's configuration. Names that no client knows are passed over, as Kafka's own tools do: files are shared.
pub fn config(properties: Properties) -> Config {
    properties.into_iter().fold(Config::default().lenient(), |config, (name, value)| config.set(name, value))
}

/// The same for one kind of client, with a warning on standard error for each option that does nothing.
pub fn config_of(kind: ClientKind, properties: Properties) -> Config {
    let config = config(properties);
    for warning in config.warnings(kind) {
        eprintln!("WARN {warning}");
    }
    config
}

/// What a call came to, in the words that Kafka's tools use.
pub fn failure(error: &Error) -> Failure {
    match error {
        Error::Connect { .. } | Error::Disconnected { .. } | Error::Authentication { .. } | Error::TimedOut { .. } => {
            Failure::unreachable(errors::sentence(error))
        }
        Error::Config(_) => Failure::usage(error.to_string()),
        _ => Failure::new(errors::sentence(error)),
    }
}

/// The same with the class before the sentence where the cluster refused, as Java shows what a future threw.
pub fn thrown(error: &Error) -> Failure {
    match error {
        Error::Broker { code, message } => Failure::new(errors::exception(code.code(), message.as_deref())),
        _ => failure(error),
    }
}

/// A response's error, if it is one.
///
/// # Errors
/// It is: in the broker's words, or else in Kafka's for the code.
pub fn check(code: i16, message: Option<&str>) -> Result<(), Failure> {
    match code {
        0 => Ok(()),
        _ => Err(Failure::new(errors::message(code, message))),
    }
}
