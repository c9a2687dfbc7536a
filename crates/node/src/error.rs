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
        "the controllers at {at} are of cluster {found}, and this node is of cluster {expected}: correct controller.quorum.bootstrap.servers (or controller.quorum.voters), or give this node the log.dirs of their cluster, or empty ones"
    )]
    OtherCluster { at: String, found: String, expected: String },
    #[error(
        "node.id={id} is the id of a controller (at {at}): give this broker another node.id, or run both in one process with process.roles=broker,controller"
    )]
    ControllersId { id: i32, at: String },
    #[error(
        "controller.quorum.voters names the nodes {voters:?}, and the controllers at {at} are the nodes {found:?}: correct the ids or the addresses"
    )]
    OtherVoters { at: String, voters: Vec<i32>, found: Vec<i32> },
    #[error(
        "the controllers at {at} don't tell their cluster's id ({reason}), and this node's log.dirs are empty: format them with that id first (kafka-storage format, or KAFKA_CLUSTER_ID)"
    )]
    UnknownCluster { at: String, reason: String },
    #[error(
        "another broker with node.id={id} is registered and sends heartbeats: give each broker a node.id of its own"
    )]
    DuplicateId { id: i32 },
    #[error("the controllers refused this broker: {0}")]
    NotRegistered(String),
    #[error("the start was given up: {0}")]
    Metadataless(String),
    #[error("the cluster has ACLs, and Logrun doesn't check them yet: remove authorizer.class.name to serve everybody")]
    Acls,
    #[error("this node's controller refused it: {0}")]
    Refused(String),
}
