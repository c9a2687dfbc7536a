//! The few lines that a person sees when a node is ready.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What there is to say.
#[derive(Clone, Debug)]
pub struct Ready {
    /// Names and addresses, the clients' first.
    pub listeners: Vec<(String, SocketAddr)>,
    pub data_dirs: Vec<PathBuf>,
    /// The data is gone when the node stops.
    pub is_ephemeral: bool,
    /// The directories were empty before.
    pub is_new: bool,
    pub node_id: i32,
    pub cluster_id: String,
    /// Where a client on this machine connects to; `None` without a broker.
    pub broker: Option<SocketAddr>,
    /// Since the start of the process.
    pub took: Duration,
}

/// The lines, each with its line end.
pub fn ready(ready: &Ready) -> String {
    let mut text = format!("Logrun {}: ready in {} ms\n", env!("CARGO_PKG_VERSION"), ready.took.as_millis());
    let _ = writeln!(text, "  cluster  {}, node {}", ready.cluster_id, ready.node_id);
    for (at, (name, address)) in ready.listeners.iter().enumerate() {
        let label = if at == 0 { "listens" } else { "" };
        let everywhere = if address.ip().is_unspecified() { " (every interface)" } else { "" };
        let _ = writeln!(text, "  {label:<8} {name}://{address}{everywhere}");
    }
    for (at, dir) in ready.data_dirs.iter().enumerate() {
        let label = if at == 0 { "data" } else { "" };
        let note = match (ready.is_ephemeral, ready.is_new) {
            (true, _) => " (gone when this stops)",
            (false, true) => " (new)",
            (false, false) => "",
        };
        let _ = writeln!(text, "  {label:<8} {}{note}", dir.display());
    }
    if let Some(broker) = ready.broker {
        let host = if broker.ip().is_loopback() { format!("localhost:{}", broker.port()) } else { broker.to_string() };
        let _ =
            writeln!(text, "  try      echo hello | kcat -P -b {host} -t greetings; kcat -C -b {host} -t greetings -e");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let of = |is_ephemeral, is_new| {
            ready(&Ready {
                listeners: vec![
                    ("PLAINTEXT".to_owned(), "[::]:9092".parse().expect("an address")),
                    ("CONTROLLER".to_owned(), "127.0.0.1:9093".parse().expect("an address")),
                ],
                data_dirs: vec!["/home/me/logrun-data".into()],
                is_ephemeral,
                is_new,
                node_id: 1,
                cluster_id: "4L6g3nShT-eMCtK--X86sw".to_owned(),
                broker: Some("127.0.0.1:9092".parse().expect("an address")),
                took: Duration::from_micros(12_345),
            })
        };
        insta::assert_snapshot!("banner", of(false, true));
        assert!(of(true, true).contains("gone when this stops"));
        assert!(!of(false, false).contains("(new)"));
    }
}
