//! SASL logins: SaslHandshake, then the mechanism's messages in SaslAuthenticate (KIP-43, KIP-152, KIP-368).

use std::time::Duration;

use bytes::Bytes;
use logrun_config::ClientConfig;
use logrun_io::{Random, Stream};
use logrun_model::Str;
use logrun_wire::VersionRange;
use logrun_wire::messages::{SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest};

use super::scram::{Hash, Scram, base64_encode};
use super::{BoxFuture, Security, jaas};
use crate::connection::ANY_VERSION;
use crate::error::Error;
use crate::link::{Link, Transport};
use crate::versions::Versions;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mechanism {
    Plain,
    Scram(Hash),
}

/// `security.protocol=SASL_PLAINTEXT`: a login over a connection that anybody on the way can read.
pub(super) struct SaslPlaintext {
    name: Str,
    mechanism: Mechanism,
    user: String,
    password: String,
    /// The user is a delegation token's id.
    token: bool,
    random: Random,
}

impl std::fmt::Debug for SaslPlaintext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SaslPlaintext({} as {})", self.name, self.user)
    }
}

impl SaslPlaintext {
    pub(super) fn of(config: &ClientConfig, random: &Random) -> Result<Self, Error> {
        let mechanism = match config.sasl_mechanism.as_str() {
            "PLAIN" => Mechanism::Plain,
            "SCRAM-SHA-256" => Mechanism::Scram(Hash::Sha256),
            "SCRAM-SHA-512" => Mechanism::Scram(Hash::Sha512),
            other => {
                return Err(Error::Invalid(format!(
                    "sasl.mechanism={other}: this client knows PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512"
                )));
            }
        };
        let options = config.sasl_jaas_config.as_deref().and_then(jaas::options);
        let options = options.ok_or_else(|| {
            let form = "sasl.jaas.config must be `Module required username=\"…\" password=\"…\";`";
            Error::Invalid(form.to_owned())
        })?;
        let get = |name: &str| options.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
        let needed = |name: &str| get(name).ok_or_else(|| Error::Invalid(format!("sasl.jaas.config has no {name}")));
        Ok(Self {
            name: config.sasl_mechanism.as_str().into(),
            mechanism,
            user: needed("username")?,
            password: needed("password")?,
            token: get("tokenauth").is_some_and(|t| t.eq_ignore_ascii_case("true")),
            random: random.clone(),
        })
    }

    async fn log_in(&self, link: &mut Link, versions: &Versions, timeout: Duration) -> Result<Option<Duration>, Error> {
        let refused = |link: &Link, reason: String| Error::Authentication { address: link.address.clone(), reason };
        // Version 0 would go on without frames.
        let version = versions.pick::<SaslHandshakeRequest>(VersionRange::new(1, i16::MAX))?;
        let handshake = SaslHandshakeRequest { mechanism: self.name.clone() };
        let response = link.call(version, &handshake, timeout).await?;
        if let Err(e) = crate::check(response.error_code, None) {
            let theirs: Vec<&str> = response.mechanisms.iter().map(Str::as_str).collect();
            return Err(refused(link, format!("{e}; the broker takes {}", theirs.join(", "))));
        }
        let version = versions.pick::<SaslAuthenticateRequest>(ANY_VERSION)?;
        let say = async |link: &mut Link, text: String| -> Result<SaslAuthenticateResponse, Error> {
            let request = SaslAuthenticateRequest { auth_bytes: Bytes::from(text), ..Default::default() };
            let response = link.call(version, &request, timeout).await?;
            match crate::check(response.error_code, response.error_message.as_ref()) {
                Ok(()) => Ok(response),
                Err(e) => Err(refused(link, e.to_string())),
            }
        };
        let last = match self.mechanism {
            Mechanism::Plain => say(link, format!("\0{}\0{}", self.user, self.password)).await?,
            Mechanism::Scram(hash) => {
                let nonce: Vec<u8> = (0..3).flat_map(|_| self.random.u64().to_be_bytes()).collect();
                let (mut scram, first) = Scram::begin(hash, &self.user, base64_encode(&nonce), self.token);
                let text = |r: &SaslAuthenticateResponse| String::from_utf8_lossy(&r.auth_bytes).into_owned();
                let challenge = say(link, first).await?;
                let proof = scram.prove(&text(&challenge), &self.password).map_err(|e| refused(link, e))?;
                let last = say(link, proof).await?;
                scram.finish(&text(&last)).map_err(|e| refused(link, e))?;
                last
            }
        };
        let lifetime = u64::try_from(last.session_lifetime_ms).ok().filter(|ms| *ms > 0);
        Ok(lifetime.map(Duration::from_millis))
    }
}

impl Security for SaslPlaintext {
    fn wrap<'a>(&'a self, stream: Stream, _host: &'a str) -> BoxFuture<'a, Result<Box<dyn Transport>, Error>> {
        Box::pin(std::future::ready(Ok(Box::new(stream) as Box<dyn Transport>)))
    }

    fn authenticate<'a>(
        &'a self,
        link: &'a mut Link,
        versions: &'a Versions,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Option<Duration>, Error>> {
        Box::pin(self.log_in(link, versions, timeout))
    }
}
