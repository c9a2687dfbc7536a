//! [`Security`]: what lies between a fresh socket and the first request: TLS and SASL.
//!
//! A client has one; `security.protocol` chooses it, or the program gives its own to `Client::with_security`.
//! [`with_token`] is the hook for OAUTHBEARER: the program says where tokens come from.

mod jaas;
mod pem;
mod sasl;
pub(crate) mod scram;
mod tls;

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use logrun_config::{ClientConfig, ClientKind, SecurityProtocol};
use logrun_io::{Io, Stream};

use crate::config::Config;
use crate::error::Error;
use crate::link::{Link, Transport};
use crate::versions::Versions;

pub use scram::{base64_decode, base64_encode};

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

/// Where OAUTHBEARER's tokens come from: called for each connection; the result is a JWT, or a sentence why there is none.
pub type TokenSource = Arc<dyn Fn() -> BoxFuture<'static, Result<String, String>> + Send + Sync>;

/// What `security.protocol` names.
#[derive(Debug)]
struct Configured {
    tls: Option<tls::Tls>,
    login: Option<sasl::Login>,
}

impl Security for Configured {
    fn wrap<'a>(&'a self, stream: Stream, host: &'a str) -> BoxFuture<'a, Result<Box<dyn Transport>, Error>> {
        match &self.tls {
            Some(tls) => Box::pin(tls.wrap(stream, host)),
            None => Box::pin(std::future::ready(Ok(Box::new(stream) as Box<dyn Transport>))),
        }
    }

    fn authenticate<'a>(
        &'a self,
        link: &'a mut Link,
        versions: &'a Versions,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Option<Duration>, Error>> {
        match &self.login {
            Some(login) => Box::pin(login.log_in(link, versions, timeout)),
            None => Box::pin(std::future::ready(Ok(None))),
        }
    }
}

/// What the configuration asks for.
///
/// # Errors
/// If it asks for what this client can't do.
pub fn of_config(io: &Io, config: &ClientConfig) -> Result<Arc<dyn Security>, Error> {
    configured(io, config, None)
}

/// What the configuration asks for, with `sasl.mechanism=OAUTHBEARER` and tokens from the program: for
/// [`Client::with_security`](crate::Client::with_security).
///
/// # Errors
/// If the configuration can't be used.
pub fn with_token(io: &Io, config: &Config, kind: ClientKind, tokens: TokenSource) -> Result<Arc<dyn Security>, Error> {
    configured(io, &ClientConfig::resolve(config.settings(), kind)?, Some(tokens))
}

fn configured(io: &Io, config: &ClientConfig, tokens: Option<TokenSource>) -> Result<Arc<dyn Security>, Error> {
    let (has_tls, has_login) = match config.security_protocol {
        SecurityProtocol::Plaintext => (false, false),
        SecurityProtocol::Ssl => (true, false),
        SecurityProtocol::SaslPlaintext => (false, true),
        SecurityProtocol::SaslSsl => (true, true),
    };
    let tls = has_tls.then(|| tls::Tls::of(io, config)).transpose()?;
    let login = has_login.then(|| sasl::Login::of(io, config, tokens)).transpose()?;
    Ok(Arc::new(Configured { tls, login }))
}
