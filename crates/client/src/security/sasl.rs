//! SASL logins: SaslHandshake, then the mechanism's messages in SaslAuthenticate (KIP-43, KIP-152, KIP-368).

use std::time::Duration;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use bytes::Bytes;
use logrun_config::ClientConfig;
use logrun_io::{Clock, Io, Random};
use logrun_model::Str;
use logrun_wire::VersionRange;
use logrun_wire::messages::{SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest};

use super::scram::{Hash, Scram, base64_encode};
use super::{TokenSource, jaas};
use crate::connection::ANY_VERSION;
use crate::error::Error;
use crate::link::Link;
use crate::versions::Versions;

enum Mechanism {
    Plain {
        user: String,
        password: String,
    },
    /// `token`: the user is a delegation token's id.
    Scram {
        hash: Hash,
        user: String,
        password: String,
        token: bool,
    },
    /// RFC 7628.
    OauthBearer(Tokens),
}

/// Where OAUTHBEARER's tokens come from.
enum Tokens {
    Program(TokenSource),
    /// A token that nobody signed, for trying things out: Kafka's own way if no retriever is configured.
    Unsecured {
        subject: String,
        clock: Clock,
    },
}

/// A login.
pub(super) struct Login {
    name: Str,
    mechanism: Mechanism,
    random: Random,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Login({})", self.name)
    }
}

impl Login {
    pub(super) fn of(io: &Io, config: &ClientConfig, tokens: Option<TokenSource>) -> Result<Self, Error> {
        let name: Str = config.sasl_mechanism.as_str().into();
        let random = io.random.clone();
        if let Some(source) = tokens {
            let mechanism = Mechanism::OauthBearer(Tokens::Program(source));
            return Ok(Self { name: Str::from_static("OAUTHBEARER"), mechanism, random });
        }
        let options = config.sasl_jaas_config.as_deref().and_then(jaas::options);
        let options = options.ok_or_else(|| {
            let form = "sasl.jaas.config must be `Module required username=\"…\" password=\"…\";`";
            Error::Invalid(form.to_owned())
        })?;
        let get = |name: &str| options.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
        let needed = |name: &str| get(name).ok_or_else(|| Error::Invalid(format!("sasl.jaas.config has no {name}")));
        let scram = |hash: Hash| -> Result<Mechanism, Error> {
            let token = get("tokenauth").is_some_and(|t| t.eq_ignore_ascii_case("true"));
            Ok(Mechanism::Scram { hash, user: needed("username")?, password: needed("password")?, token })
        };
        let mechanism = match name.as_str() {
            "PLAIN" => Mechanism::Plain { user: needed("username")?, password: needed("password")? },
            "SCRAM-SHA-256" => scram(Hash::Sha256)?,
            "SCRAM-SHA-512" => scram(Hash::Sha512)?,
            "OAUTHBEARER" => {
                let subject = get("unsecuredLoginStringClaim_sub").ok_or_else(|| {
                    let sentence = "sasl.mechanism=OAUTHBEARER: tokens come from the program (`security::with_token`), or \
                                    unsigned from unsecuredLoginStringClaim_sub in sasl.jaas.config";
                    Error::Invalid(sentence.to_owned())
                })?;
                Mechanism::OauthBearer(Tokens::Unsecured { subject, clock: io.clock.clone() })
            }
            other => {
                return Err(Error::Invalid(format!(
                    "sasl.mechanism={other}: this client knows PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 and OAUTHBEARER"
                )));
            }
        };
        Ok(Self { name, mechanism, random })
    }

    pub(super) async fn log_in(
        &self,
        link: &mut Link,
        versions: &Versions,
        timeout: Duration,
    ) -> Result<Option<Duration>, Error> {
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
        let last = match &self.mechanism {
            Mechanism::Plain { user, password } => say(link, format!("\0{user}\0{password}")).await?,
            Mechanism::OauthBearer(tokens) => {
                let token = tokens.next().await.map_err(|e| refused(link, format!("there is no token: {e}")))?;
                let last = say(link, format!("n,,\x01auth=Bearer {token}\x01\x01")).await?;
                if !last.auth_bytes.is_empty() {
                    // What the broker has against the token is JSON, and wants an answer before it refuses (RFC 7628).
                    let why = String::from_utf8_lossy(&last.auth_bytes).into_owned();
                    drop(say(link, "\x01".to_owned()).await);
                    return Err(refused(link, why));
                }
                last
            }
            Mechanism::Scram { hash, user, password, token } => {
                let nonce: Vec<u8> = (0..3).flat_map(|_| self.random.u64().to_be_bytes()).collect();
                let (mut scram, first) = Scram::begin(*hash, user, base64_encode(&nonce), *token);
                let text = |r: &SaslAuthenticateResponse| String::from_utf8_lossy(&r.auth_bytes).into_owned();
                let challenge = say(link, first).await?;
                let proof = scram.prove(&text(&challenge), password).map_err(|e| refused(link, e))?;
                let last = say(link, proof).await?;
                scram.finish(&text(&last)).map_err(|e| refused(link, e))?;
                last
            }
        };
        let lifetime = u64::try_from(last.session_lifetime_ms).ok().filter(|ms| *ms > 0);
        Ok(lifetime.map(Duration::from_millis))
    }
}

impl Tokens {
    async fn next(&self) -> Result<String, String> {
        match self {
            Self::Program(source) => source().await,
            Self::Unsecured { subject, clock } => {
                let now = clock.wall().get() / 1000;
                let subject = subject.replace('\\', "\\\\").replace('"', "\\\"");
                let claims = format!(r#"{{"sub":"{subject}","iat":{now},"exp":{}}}"#, now + 3600);
                Ok(format!(
                    "{}.{}.",
                    BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#),
                    BASE64_URL_SAFE_NO_PAD.encode(&claims)
                ))
            }
        }
    }
}
