//! Why a node does not start: one sentence with the cause and the remedy, for the person who started it.

use std::io;

use logrun_log::DirsError;
use logrun_raft::RaftError;
use thiserror::Error;

/// A node that can't start, or has to stop.
#[derive(Debug, Error)]
pub enum StartError {
    #[error(transparent)]
    Dirs(#[from] DirsError),
    #[error(transparent)]
    Metadata(#[from] RaftError),
    #[error("the metadata log contradicts itself: {0}")]
    Replay(#[from] logrun_metadata::ReplayError),
    #[error(
        "port {port} is in use by another program (listener {listener}): stop it, or choose another port with --set listeners=... (--port for the default listener)"
    )]
    PortInUse { listener: String, port: u16 },
    #[error("can't listen on {address} (listener {listener}): {source}")]
    Listen { listener: String, address: String, source: io::Error },
    #[error("the host `{host}` of listener {listener} has no address on this machine: {reason}")]
    UnknownHost { listener: String, host: String, reason: String },
    #[error(
        "listener {listener} asks for {protocol}, which is not served yet: use PLAINTEXT, on a network that you trust"
    )]
    Protocol { listener: String, protocol: String },
    #[error(
        "process.roles is `broker` alone, with its controllers elsewhere, which is not built yet: use process.roles=broker,controller"
    )]
    BrokerOnly,
    #[error("the cluster has ACLs, and Logrun doesn't check them yet: remove authorizer.class.name to serve everybody")]
    Acls,
    #[error("this node's controller refused it: {0}")]
    Refused(String),
}
