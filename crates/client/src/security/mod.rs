//! [`Security`]: what lies between a fresh socket and the first request: TLS and SASL.
//!
//! A client has one; `security.protocol` chooses it, or the program gives its own to `Client::with_security`.

mod jaas;
mod sasl;
mod scram;

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use logrun_config::{ClientConfig, SecurityProtocol};
use logrun_io::{Random, Stream};

use crate::error::Error;
use crate::link::{Link, Transport};
use crate::versions::Versions;

/// A boxed future, as the methods of [`Security`] return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Makes a socket safe and says who is there.
pub trait Security: Debug + Send + Sync {
    /// Wraps a connected socket; `host` is the name that the client was told, for checking certificates.
    fn wrap<'a>(&'a self, stream: Stream, host: &'a str) -> BoxFuture<'a, Result<Box<dyn Transport>, Error>>;

    /// Logs in, before any other request but ApiVersions. The time after which the broker wants to see a login again
    /// (KIP-368), if it does; the connection is replaced before.
    fn authenticate<'a>(
        &'a self,
        link: &'a mut Link,
        versions: &'a Versions,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Option<Duration>, Error>>;
}

/// `security.protocol=PLAINTEXT`: nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plaintext;

impl Security for Plaintext {
    fn wrap<'a>(&'a self, stream: Stream, _host: &'a str) -> BoxFuture<'a, Result<Box<dyn Transport>, Error>> {
        Box::pin(std::future::ready(Ok(Box::new(stream) as Box<dyn Transport>)))
    }

    fn authenticate<'a>(
        &'a self,
        _link: &'a mut Link,
        _versions: &'a Versions,
        _timeout: Duration,
    ) -> BoxFuture<'a, Result<Option<Duration>, Error>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

/// What the configuration asks for.
///
/// # Errors
/// If it asks for what this client can't do.
pub fn of_config(config: &ClientConfig, random: &Random) -> Result<Arc<dyn Security>, Error> {
    match config.security_protocol {
        SecurityProtocol::Plaintext => Ok(Arc::new(Plaintext)),
        SecurityProtocol::SaslPlaintext => Ok(Arc::new(sasl::SaslPlaintext::of(config, random)?)),
        other => Err(Error::Invalid(format!(
            "security.protocol={} can't be served by this build: only PLAINTEXT and SASL_PLAINTEXT, or a `Security` given in the program",
            other.name()
        ))),
    }
}
