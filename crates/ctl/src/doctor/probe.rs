//! One address looked at closely: the name, the port, what speaks there, and whether it lets us in.

use std::net::SocketAddr;
use std::time::Duration;

use logrun_client::connection::Connection;
use logrun_client::{Client, ClientKind, Config, Error};
use logrun_io::{Clock, Io};
use logrun_wire::ApiKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Verdict;
use crate::session::explain;

/// How long each step may take.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// A broker that lets us in.
pub struct Reached {
    pub client: Client,
    pub connection: Connection,
    pub sockets: Vec<SocketAddr>,
    /// How long the TCP connection took.
    pub connect_ms: f64,
    /// How long ApiVersions, TLS and the login took together.
    pub handshake_ms: f64,
}

/// What stopped us.
pub type Stopped = Verdict;

/// Milliseconds with a tenth, since `from`.
pub fn ms_since(clock: &Clock, from: logrun_model::Monotonic) -> f64 {
    (clock.now().since(from).as_secs_f64() * 10_000.0).round() / 10.0
}

/// `host:port`, or nothing.
pub fn split(address: &str) -> Option<(&str, u16)> {
    let plain = address.rsplit_once("://").map_or(address, |(_, rest)| rest);
    let (host, port) = plain.rsplit_once(':')?;
    Some((host.trim_start_matches('[').trim_end_matches(']'), port.parse().ok()?))
}

/// Tries an address: name, port, protocol, login.
///
/// # Errors
/// What stopped us, and what to do about it.
pub async fn reach(io: &Io, address: &str, config: &Config) -> Result<Reached, Stopped> {
    let Some((host, port)) = split(address) else {
        return Err(Verdict::bad(format!("`{address}` isn't host:port"), "write it as host:port, e.g. localhost:9092"));
    };
    let clock = &io.clock;
    let sockets = within(clock, io.net.resolve(host, port)).await.map_err(|e| {
        let remedy =
            "check its spelling, DNS or /etc/hosts; where brokers run in containers, their names are known only inside";
        Verdict::bad(format!("the name {host} has no address here ({e})"), remedy)
    })?;
    let begun = clock.now();
    let mut last = String::new();
    let mut connected = false;
    for socket in &sockets {
        match within(clock, io.net.connect(*socket)).await {
            Ok(_) => {
                connected = true;
                break;
            }
            Err(e) => last = e,
        }
    }
    if !connected {
        let remedy = match last.as_str() {
            reason if reason.contains("refused") => {
                "start a broker there (`logrun`), or name another address with -b: nobody listens"
            }
            reason if reason.contains("within") || reason.contains("timed out") => {
                "check the address, the firewall, and whether the machine is up: nothing answers at all"
            }
            _ => "check the address, and the network between here and there",
        };
        return Err(Verdict::bad(format!("can't connect to {address}: {last}"), remedy));
    }
    let connect_ms = ms_since(clock, begun);
    let begun = clock.now();
    let own = config.clone().set("bootstrap.servers", address);
    let client = Client::new(io.clone(), &own, ClientKind::Admin)
        .map_err(|e| Verdict::bad(explain(&e).sentence, "mend the client's properties (`logrun contexts show`)"))?;
    let connection = match within_error(clock, client.any()).await {
        Ok(connection) => connection,
        Err(e) => return Err(stopped(io, address, &sockets, config, &e).await),
    };
    let handshake_ms = ms_since(clock, begun);
    if connection.versions().of_api(ApiKey::Metadata).max < 0 {
        return Err(Verdict::bad(
            format!("{address} is a controller's listener: it doesn't serve clients"),
            "use the port of a broker's listener (`listeners` in its configuration, mostly 9092)",
        ));
    }
    // A broker that wants a login answers ApiVersions without one, and ends the connection at the next request.
    match within_error(clock, client.refresh()).await {
        Ok(_) => {}
        Err(Error::Disconnected { .. }) if !protocol(config).starts_with("SASL") => {
            return Err(Verdict::bad(
                format!("{address} answers ApiVersions and then ends the connection: it wants a login"),
                format!("set security.protocol={}, sasl.mechanism and sasl.jaas.config", with_login(&protocol(config))),
            ));
        }
        Err(e) => return Err(stopped(io, address, &sockets, config, &e).await),
    }
    Ok(Reached { client, connection, sockets, connect_ms, handshake_ms })
}

async fn within<T>(clock: &Clock, work: impl Future<Output = std::io::Result<T>>) -> Result<T, String> {
    tokio::select! {
        biased;
        done = work => done.map_err(|e| e.to_string().split(" (os error").next().unwrap_or_default().to_lowercase()),
        () = clock.sleep(PATIENCE) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

async fn within_error<T>(clock: &Clock, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::select! {
        biased;
        done = work => done,
        () = clock.sleep(PATIENCE) => {
            Err(Error::TimedOut { what: "the broker's first answer".to_owned(), after: PATIENCE, last: None })
        }
    }
}

fn protocol(config: &Config) -> String {
    config.get("security.protocol").unwrap_or("PLAINTEXT").to_uppercase()
}

/// The same with a login.
fn with_login(protocol: &str) -> &'static str {
    if protocol.ends_with("SSL") { "SASL_SSL" } else { "SASL_PLAINTEXT" }
}

/// The other side, or this one, has said that it doesn't trust or know the other.
fn refused(address: &str, reason: &str, protocol: &str) -> Stopped {
    let Some(reason) = reason.strip_prefix("TLS: ") else {
        // Of a listener that has nothing to do with logins.
        if reason.starts_with("ILLEGAL_SASL_STATE") {
            return Verdict::bad(
                format!("{address} takes no login, and this client wants to log in (security.protocol={protocol})"),
                format!("set security.protocol={}", if protocol.ends_with("SSL") { "SSL" } else { "PLAINTEXT" }),
            );
        }
        let remedy = match reason.starts_with("UNSUPPORTED_SASL_MECHANISM") {
            true => "set sasl.mechanism to one that the broker takes",
            false => "check sasl.mechanism, and user and password in sasl.jaas.config",
        };
        return Verdict::bad(format!("{address} refuses the login: {reason}"), remedy);
    };
    let remedy = match reason {
        r if r.contains("ssl.truststore") => {
            "set ssl.truststore.location (and ssl.truststore.type=PEM) to the certificate of the authority that signed \
             the broker's"
        }
        r if r.contains("another host") => {
            "use an address that is in the certificate, or have the broker's certificate name this one"
        }
        _ => "check ssl.truststore.location, the name in the certificate, and security.protocol",
    };
    Verdict::bad(format!("TLS with {address} fails: {reason}"), remedy)
}

/// What an error after a TCP connection means: the protocol of both sides tells.
async fn stopped(io: &Io, address: &str, sockets: &[SocketAddr], config: &Config, error: &Error) -> Stopped {
    let protocol = protocol(config);
    if let Error::Authentication { reason, .. } = error {
        return refused(address, reason, &protocol);
    }
    let speaks = match sockets.first() {
        Some(socket) => sniff(io, *socket).await,
        None => Speaks::Unknown,
    };
    let wants_tls = protocol.ends_with("SSL");
    match speaks {
        Speaks::Tls if !wants_tls => Verdict::bad(
            format!("{address} speaks TLS, and this client doesn't (security.protocol={protocol})"),
            format!("set security.protocol={}", if protocol.starts_with("SASL") { "SASL_SSL" } else { "SSL" }),
        ),
        Speaks::Http => Verdict::bad(
            format!("{address} is a web server, no Kafka broker"),
            "use the broker's port: 9092 unless it was changed",
        ),
        Speaks::Unknown if wants_tls => Verdict::bad(
            format!("{address} doesn't speak TLS, and this client does (security.protocol={protocol})"),
            format!(
                "set security.protocol={}",
                if protocol.starts_with("SASL") { "SASL_PLAINTEXT" } else { "PLAINTEXT" }
            ),
        ),
        // TLS 1.3 lets the client in first, and asks for its certificate then.
        Speaks::Tls
            if matches!(error, Error::Disconnected { .. } | Error::Connect { .. })
                && ["ssl.keystore.location", "ssl.keystore.key"].iter().all(|name| config.get(name).is_none()) =>
        {
            Verdict::bad(
                format!("{address} ends the connection as soon as TLS stands: it wants a certificate of this client"),
                "set ssl.keystore.location (and ssl.keystore.type=PEM) to this client's key and certificate",
            )
        }
        _ => match error {
            Error::TimedOut { .. } => Verdict::bad(
                format!("{address} takes the connection and then says nothing"),
                "whatever listens there is no Kafka broker, or one that hangs: look at its log",
            ),
            Error::Connect { reason, .. } | Error::Disconnected { reason, .. } => Verdict::bad(
                format!("{address} takes the connection and ends it ({reason})"),
                "whatever listens there is no Kafka broker, or it refuses this address: look at its log",
            ),
            e => Verdict::bad(explain(e).sentence, "look at the broker's log"),
        },
    }
}

/// What a port speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaks {
    Tls,
    Http,
    Unknown,
}

/// The beginning of a TLS conversation, with one cipher suite: enough for any answer that tells TLS.
fn client_hello() -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([0x5a; 32]);
    // No session; TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256; no compression.
    body.extend([0, 0, 2, 0xc0, 0x2f, 1, 0]);
    let mut handshake = vec![1, 0, 0, body.len() as u8];
    handshake.extend(body);
    let mut record = vec![0x16, 3, 1, 0, handshake.len() as u8];
    record.extend(handshake);
    record
}

/// Asks in other protocols what it is.
async fn sniff(io: &Io, socket: SocketAddr) -> Speaks {
    let ask = async |question: &[u8]| {
        let exchange = async {
            let mut stream = io.net.connect(socket).await?;
            stream.write_all(question).await?;
            stream.flush().await?;
            let mut answer = [0; 5];
            let n = stream.read(&mut answer).await?;
            Ok::<_, std::io::Error>(answer[..n].to_vec())
        };
        // What doesn't answer speaks something else.
        tokio::select! {
            biased;
            answer = exchange => answer.unwrap_or_default(),
            () = io.clock.sleep(Duration::from_secs(1)) => Vec::new(),
        }
    };
    // A handshake or an alert, of TLS 1.x.
    if matches!(ask(&client_hello()).await.as_slice(), [0x15 | 0x16, 3, ..]) {
        return Speaks::Tls;
    }
    match ask(b"GET / HTTP/1.0\r\n\r\n").await.starts_with(b"HTTP") {
        true => Speaks::Http,
        false => Speaks::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(split("h:1"), Some(("h", 1)));
        assert_eq!(split("SASL_SSL://[::1]:9092"), Some(("::1", 9092)));
        assert_eq!(split("h"), None);
    }

    /// A port that answers everything with `answer`.
    async fn answering(answer: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut question = [0; 512];
                // Whoever asks nothing gets nothing.
                if stream.read(&mut question).await.is_ok_and(|n| n > 0) {
                    let _ = stream.write_all(answer).await;
                }
            }
        });
        address
    }

    #[tokio::test]
    async fn what_is_no_broker_is_told() {
        let io = Io::real();
        let config = Config::default().set("default.api.timeout.ms", 3000).set("request.timeout.ms", 1000);
        let tell = async |answer: &'static [u8]| {
            let address = answering(answer).await.to_string();
            let stopped = reach(&io, &address, &config).await.err().expect("no broker");
            format!("{} ({})", stopped.detail.replace(&address, "HOST"), stopped.remedy.unwrap_or_default())
        };
        // An alert of TLS: handshake failure.
        let tls = tell(&[0x15, 3, 3, 0, 2, 2, 40]).await;
        assert_eq!(
            tls,
            "HOST speaks TLS, and this client doesn't (security.protocol=PLAINTEXT) (set security.protocol=SSL)"
        );
        let http = tell(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        assert!(http.starts_with("HOST is a web server"), "{http}");
        let closed = tell(b"").await;
        assert!(closed.contains("takes the connection and ends it"), "{closed}");
    }

    #[tokio::test]
    async fn a_closed_port_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        drop(listener);
        let stopped = reach(&Io::real(), &address, &Config::default()).await.err().expect("closed");
        assert!(stopped.detail.contains("connection refused"), "{}", stopped.detail);
        assert!(stopped.remedy.is_some_and(|r| r.contains("start a broker")));
    }
}
