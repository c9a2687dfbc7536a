//! The metadata log of a KRaft quorum of one voter, and its copies on brokers, in Kafka's files (KIP-595, KIP-630, KIP-853).
//!
//! ```text
//! __cluster_metadata-0/
//!   00000000000000000000-0000000000.checkpoint   what the cluster began with: the voters
//!   00000000000000000000.log ...                 control records and metadata records
//!   00000000000000012345-0000000007.checkpoint   a snapshot: all metadata below that offset, of that epoch
//!   quorum-state                                 the epoch and its leader
//! ```
//!
//! | state     | entered by             | left by                                             |
//! |-----------|------------------------|-----------------------------------------------------|
//! | Resigned  | [`MetadataLog::open`]  | [`MetadataLog::become_leader`]: the epoch rises by one |
//! | Leader    | `become_leader`        | the end of the process                              |
//!
//! With one voter a record is committed when it is on the device. A broker's copy is an observer's: [`Observer`] decides
//! what it asks whom and what becomes of the answers, [`MetadataLog`] does it. Absent here: votes, fetches between voters,
//! the network, and what the records mean.

mod batches;
mod bootstrap;
mod control;
mod follow;
mod metadata_log;
mod observer;
mod quorum_state;
mod serve;
mod snapshot;

pub use bootstrap::{BOOTSTRAP_CHECKPOINT, read_bootstrap, write_bootstrap};
pub use control::{Voter, VoterEndpoint};
pub use follow::Position;
pub use metadata_log::{CommittedBatch, MetadataLog, RaftConfig};
pub use observer::{Ask, Effect, Event, Leader, Node, Observer, ObserverConfig};
pub use quorum_state::QuorumState;
pub use serve::{FetchAnswer, FetchQuestion, SnapshotPiece};
pub use snapshot::SnapshotId;

use std::path::PathBuf;

use logrun_log::LogError;
use logrun_record::BatchError;
use logrun_wire::EncodeError;
use thiserror::Error;

/// The directory of the metadata log in its log directory.
pub const METADATA_DIR: &str = "__cluster_metadata-0";

/// Why the metadata log can't be read or written. None of these can be ignored: a node without its metadata stops.
#[derive(Debug, Error)]
pub enum RaftError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("could not {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{} holds no valid quorum state ({reason}); it says which epochs this voter has seen, so it must be put right, not removed", path.display())]
    QuorumState { path: PathBuf, reason: String },
    #[error("the metadata at offset {offset} can't be read: {reason}")]
    Record { offset: i64, reason: String },
    #[error("the snapshot {} can't be read: {reason}", path.display())]
    Snapshot { path: PathBuf, reason: String },
    #[error("a metadata record can't be encoded: {0}")]
    Encode(#[from] EncodeError),
    #[error("a metadata batch can't be built: {0}")]
    Batch(#[from] BatchError),
    #[error(
        "the metadata log is of a quorum of the voters {voters:?}; this node is {node}, and a quorum of several voters can't be run yet"
    )]
    OtherVoters { voters: Vec<i32>, node: i32 },
    #[error(
        "node {node} is among the voters {voters:?} of the metadata log that it has here, and is to be a broker only: give it another node.id and log.dirs, or add controller to process.roles"
    )]
    IsVoter { voters: Vec<i32>, node: i32 },
    #[error(
        "the controllers' metadata ends at offset {offset}, below what this node knows to be committed ({committed}): they have lost metadata or are of another cluster; restore them, or give this node empty log.dirs"
    )]
    CommittedGone { offset: i64, committed: i64 },
    #[error("node {node} leads no epoch yet")]
    NotLeader { node: i32 },
}

impl RaftError {
    pub(crate) fn record(offset: i64, e: impl std::fmt::Display) -> Self {
        Self::Record { offset, reason: e.to_string() }
    }
}
