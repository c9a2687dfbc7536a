//! TLS: `security.protocol=SSL` and `SASL_SSL`, by rustls. Kafka's `DefaultSslEngineFactory`.
//!
//! Keys and certificates are PEM, in a file or in the option itself (KIP-651). Java's own stores are refused with the
//! command that turns them into PEM. Never is a certificate's chain unchecked; only the name in it may be, where
//! `ssl.endpoint.identification.algorithm` is empty.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use logrun_config::ClientConfig;
use logrun_io::disk::read_all;
use logrun_io::{Clock, Io, Stream};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedProtocolVersion};
use tokio_rustls::TlsConnector;

use super::pem;
use crate::error::Error;
use crate::link::Transport;

/// The client's side of TLS.
pub(super) struct Tls(TlsConnector);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

/// The wall clock, by which certificates are valid or not.
#[derive(Debug)]
struct Wall(Clock);

impl TimeProvider for Wall {
    fn current_time(&self) -> Option<UnixTime> {
        let ms = u64::try_from(self.0.wall().get()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_millis(ms)))
    }
}

fn invalid(sentence: impl Into<String>) -> Error {
    Error::Invalid(sentence.into())
}

impl Tls {
    pub(super) fn of(io: &Io, config: &ClientConfig) -> Result<Self, Error> {
        let provider = Arc::new(ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_details(provider.clone(), Arc::new(Wall(io.clock.clone())));
        let builder = builder
            .with_protocol_versions(&versions(&config.ssl_enabled_protocols)?)
            .map_err(|e| invalid(format!("ssl.enabled.protocols: {e}")))?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(trusted(io, config)?), provider.clone());
        let verifier = verifier.build().map_err(|e| invalid(format!("the trusted certificates can't be used: {e}")))?;
        let verifier: Arc<dyn ServerCertVerifier> = match checks_names(config)? {
            true => verifier,
            false => Arc::new(AnyName(verifier)),
        };
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let tls = match identity(io, config)? {
            Some((chain, key)) => builder
                .with_client_auth_cert(chain, key)
                .map_err(|e| invalid(format!("the key of ssl.keystore can't be used: {e}")))?,
            None => builder.with_no_client_auth(),
        };
        Ok(Self(TlsConnector::from(Arc::new(tls))))
    }

    /// Shakes hands with `host`.
    pub(super) async fn wrap(&self, stream: Stream, host: &str) -> Result<Box<dyn Transport>, Error> {
        let refused = |reason: String| Error::Authentication { address: host.to_owned(), reason };
        let plain = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(plain.to_owned()).map_err(|e| refused(format!("`{host}` is no name: {e}")))?;
        match self.0.connect(name, stream).await {
            Ok(stream) => Ok(Box::new(stream)),
            // What the peer or the library says against it is final; a connection that breaks may be made again.
            Err(e) if e.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => Err(refused(explained(&e))),
            Err(e) => Err(Error::Connect { address: host.to_owned(), reason: format!("TLS handshake: {e}") }),
        }
    }
}

/// What rustls says, with what to do about it where that is known.
fn explained(e: &std::io::Error) -> String {
    let inner = e.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let hint = match inner {
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            ": nothing in ssl.truststore vouches for the broker's certificate"
        }
        Some(rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => ": the certificate is another host's (an empty ssl.endpoint.identification.algorithm doesn't look)",
        Some(rustls::Error::InvalidMessage(_)) => ": the port seems to speak no TLS",
        _ => "",
    };
    format!("TLS: {e}{hint}")
}

fn versions(names: &[String]) -> Result<Vec<&'static SupportedProtocolVersion>, Error> {
    let known = |name: &String| match name.as_str() {
        "TLSv1.3" => Ok(&rustls::version::TLS13),
        "TLSv1.2" => Ok(&rustls::version::TLS12),
        other => Err(invalid(format!("ssl.enabled.protocols: `{other}` is unknown; there are TLSv1.3 and TLSv1.2"))),
    };
    names.iter().map(known).collect()
}

fn checks_names(config: &ClientConfig) -> Result<bool, Error> {
    match config.ssl_endpoint_identification_algorithm.as_deref().unwrap_or_default() {
        "" => Ok(false),
        name if name.eq_ignore_ascii_case("https") => Ok(true),
        other => Err(invalid(format!("ssl.endpoint.identification.algorithm is `https` or empty, and not `{other}`"))),
    }
}

/// The PEM of a store: given inline, or in a file. `None` if neither is set.
fn store(
    io: &Io,
    inline: Option<&str>,
    location: Option<&str>,
    kind: &str,
    what: Store,
) -> Result<Option<String>, Error> {
    if let Some(text) = inline.filter(|t| !t.is_empty()) {
        return Ok(Some(text.to_owned()));
    }
    let Some(path) = location.filter(|l| !l.is_empty()) else { return Ok(None) };
    let option = what.option();
    let bytes = read_all(io.disk.as_ref(), Path::new(path))
        .map_err(|e| invalid(format!("{option}.location: {path}: {e}")))?
        .ok_or_else(|| invalid(format!("{option}.location: there is no {path}")))?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    // Java's default type is JKS: a file that is PEM is taken as what it is.
    if kind.eq_ignore_ascii_case("PEM") || text.contains(pem::BEGIN) {
        return Ok(Some(text));
    }
    Err(invalid(format!(
        "{option}.type={kind}: Java's stores can't be read here; write {path} as PEM with `{}` and set {option}.type=PEM",
        what.conversion(kind, path)
    )))
}

#[derive(Clone, Copy)]
enum Store {
    Trust,
    Key,
}

impl Store {
    fn option(self) -> &'static str {
        match self {
            Self::Trust => "ssl.truststore",
            Self::Key => "ssl.keystore",
        }
    }

    /// The command that makes PEM of a Java store.
    fn conversion(self, kind: &str, path: &str) -> String {
        match self {
            Self::Trust => format!("keytool -list -rfc -keystore {path} > truststore.pem"),
            Self::Key if kind.eq_ignore_ascii_case("PKCS12") => {
                format!("openssl pkcs12 -nodes -in {path} -out keystore.pem")
            }
            Self::Key => format!(
                "keytool -importkeystore -srckeystore {path} -destkeystore keystore.p12 -deststoretype PKCS12 && \
                 openssl pkcs12 -nodes -in keystore.p12 -out keystore.pem"
            ),
        }
    }
}

fn certificates(option: &str, text: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let blocks = pem::blocks(text).map_err(|e| invalid(format!("{option}: {e}")))?;
    let certificates: Vec<_> =
        blocks.into_iter().filter(|(label, _)| label == "CERTIFICATE").map(|(_, der)| der.into()).collect();
    match certificates.is_empty() {
        true => Err(invalid(format!("{option} holds no certificate"))),
        false => Ok(certificates),
    }
}

/// The certificates that are trusted: those of the truststore, or the system's.
fn trusted(io: &Io, config: &ClientConfig) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    let (inline, location) = (config.ssl_truststore_certificates.as_deref(), config.ssl_truststore_location.as_deref());
    match store(io, inline, location, &config.ssl_truststore_type, Store::Trust)? {
        Some(text) => {
            for certificate in certificates("ssl.truststore", &text)? {
                roots.add(certificate).map_err(|e| invalid(format!("ssl.truststore: {e}")))?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            // The system's collection may hold what is not usable; Java passes over it as well.
            let (usable, _) = roots.add_parsable_certificates(found.certs);
            if usable == 0 {
                let sentence = "the system has no trusted certificates: set ssl.truststore.location or ssl.truststore.certificates";
                return Err(invalid(sentence));
            }
        }
    }
    Ok(roots)
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// The client's own certificate, if it has one.
fn identity(io: &Io, config: &ClientConfig) -> Result<Option<Identity>, Error> {
    let inline = match (&config.ssl_keystore_key, &config.ssl_keystore_certificate_chain) {
        (Some(key), Some(chain)) => Some(format!("{key}\n{chain}")),
        (None, None) => None,
        _ => return Err(invalid("ssl.keystore.key and ssl.keystore.certificate.chain go together")),
    };
    let location = config.ssl_keystore_location.as_deref();
    let Some(text) = store(io, inline.as_deref(), location, &config.ssl_keystore_type, Store::Key)? else {
        return Ok(None);
    };
    let chain = certificates("ssl.keystore", &text)?;
    for (label, der) in pem::blocks(&text).map_err(|e| invalid(format!("ssl.keystore: {e}")))? {
        let key = match label.as_str() {
            "PRIVATE KEY" => PrivateKeyDer::Pkcs8(der.into()),
            "RSA PRIVATE KEY" => PrivateKeyDer::Pkcs1(der.into()),
            "EC PRIVATE KEY" => PrivateKeyDer::Sec1(der.into()),
            "ENCRYPTED PRIVATE KEY" => {
                return Err(invalid(
                    "ssl.keystore: encrypted keys can't be read here (ssl.key.password); decrypt it with \
                     `openssl pkcs8 -in key.pem -out plain.pem`",
                ));
            }
            _ => continue,
        };
        return Ok(Some((chain, key)));
    }
    Err(invalid("ssl.keystore holds no private key"))
}

/// Checks the chain and takes any name.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is looked at last: the chain is sound.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            result => result,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use logrun_config::{ClientKind, ClientSettings};

    use super::*;

    fn refused(pairs: &[(&str, &str)]) -> String {
        let mut settings = ClientSettings::new();
        settings.set("bootstrap.servers", "localhost:1");
        pairs.iter().for_each(|(name, value)| settings.set(*name, *value));
        let config = ClientConfig::resolve(&settings, ClientKind::Admin).expect("a config");
        Tls::of(&Io::real(), &config).err().map(|e| e.to_string()).unwrap_or_default()
    }

    #[test]
    fn what_cannot_be_read_says_what_to_do() {
        let dir = std::env::temp_dir().join(format!("logrun-client-tls-{}", std::process::id()));
        std::fs::write(&dir, b"\xfe\xed\xfe\xed").expect("written");
        let path = dir.to_str().expect("a path");
        let jks = refused(&[("ssl.truststore.location", path)]);
        assert!(jks.contains(&format!("keytool -list -rfc -keystore {path}")), "{jks}");
        let p12 =
            [("ssl.truststore.certificates", ROOT), ("ssl.keystore.location", path), ("ssl.keystore.type", "PKCS12")];
        assert!(refused(&p12).contains("openssl pkcs12 -nodes"), "{}", refused(&p12));
        std::fs::remove_file(&dir).expect("removed");
        for (pairs, says) in [
            (vec![("ssl.truststore.location", "/no/such")], "there is no /no/such"),
            (vec![("ssl.truststore.certificates", "x")], "holds no certificate"),
            (
                vec![("ssl.truststore.certificates", "-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----")],
                "base64",
            ),
            (vec![("ssl.enabled.protocols", "SSLv3")], "TLSv1.3 and TLSv1.2"),
            (
                vec![("ssl.truststore.certificates", ROOT), ("ssl.endpoint.identification.algorithm", "ldap")],
                "`https` or empty",
            ),
            (vec![("ssl.truststore.certificates", ROOT), ("ssl.keystore.key", "k")], "go together"),
        ] {
            let sentence = refused(&pairs);
            assert!(sentence.contains(says), "{pairs:?}: {sentence}");
        }
        assert_eq!(refused(&[("ssl.truststore.certificates", ROOT)]), "");
    }

    /// A certificate that signed itself, good for nothing else.
    const ROOT: &str = include_str!("root.pem");
}
