//! [`Controller`]: the way of this node's requests to the active controller, wherever that is.
//!
//! | the controller is | a command goes | a client's administrative request goes |
//! |---|---|---|
//! | in this process ([`local`]) | to its machine | to its handler, which asks the machine |
//! | elsewhere ([`remote`]) | as the broker's own request | whole, in an Envelope (KIP-590), to the handler over there |
//!
//! So a request is decided by the same handler and the same machine whichever way it came. Must never decide anything.

pub mod local;
mod observation;
mod remote;

use std::sync::Arc;

use logrun_controller::{Command, Reply};
use logrun_io::Io;
use logrun_metadata::MetadataImage;
use logrun_model::{DirectoryId, MetadataOffset, NodeId, Offset, RaftEpoch, Str, TimestampMs, is_internal_topic};
use logrun_raft::RaftError;
use logrun_wire::ErrorCode;
use logrun_wire::messages as m;
use tracing::{debug, error, warn};

use crate::Broker;
use crate::errors::Failure;

pub use local::{Committer, Local, loading_driver};
pub use observation::{Observation, ObservationError};
pub use remote::{Remote, RemoteConfig};
pub(crate) use remote::{address_of, principal_of, within};

/// The active controller as this node's requests reach it.
#[derive(Clone)]
pub struct Controller {
    io: Io,
    to: To,
}

#[derive(Clone)]
enum To {
    Here(Arc<Local>),
    There(Arc<Remote>),
}

/// What the metadata quorum's leader tells of it.
#[derive(Clone, Debug)]
pub struct Quorum {
    pub leader_id: NodeId,
    /// Of the directory that holds the leader's metadata log.
    pub directory_id: DirectoryId,
    pub leader_epoch: RaftEpoch,
    pub log_end_offset: MetadataOffset,
    /// The finalized level of the feature `kraft.version`.
    pub kraft_version: i16,
    /// Those who copy the log and have no vote.
    pub observers: Vec<Observed>,
}

/// An observer and how far it has come.
#[derive(Clone, Copy, Debug)]
pub struct Observed {
    pub id: NodeId,
    pub directory_id: DirectoryId,
    pub log_end_offset: MetadataOffset,
    pub last_fetch: TimestampMs,
    /// When it last asked for what was not there yet.
    pub last_caught_up: TimestampMs,
}

impl Controller {
    /// The controller is in this process.
    pub fn here(io: Io, local: Arc<Local>) -> Self {
        Self { io, to: To::Here(local) }
    }

    /// The controllers are other processes.
    pub fn there(io: Io, remote: Arc<Remote>) -> Self {
        Self { io, to: To::There(remote) }
    }

    /// The controller, if it is in this process.
    pub fn local(&self) -> Option<&Arc<Local>> {
        match &self.to {
            To::Here(local) => Some(local),
            To::There(_) => None,
        }
    }

    /// The way to the controllers, if they are elsewhere.
    pub fn remote(&self) -> Option<&Arc<Remote>> {
        match &self.to {
            To::Here(_) => None,
            To::There(remote) => Some(remote),
        }
    }

    /// The quorum, if its leader is in this process: others are asked.
    pub fn quorum(&self) -> Option<Quorum> {
        self.local().map(|local| local.quorum())
    }

    /// The finalized level of the feature `kraft.version`, which is no record of the metadata.
    pub fn kraft_version(&self) -> i16 {
        match &self.to {
            To::Here(local) => local.kraft_version(),
            To::There(remote) => remote.kraft_version(),
        }
    }

    /// Has a command decided. In this process its effect is in this node's image by the time of the reply; elsewhere it
    /// is on its way.
    pub async fn submit(&self, command: Command) -> Result<Reply, Failure> {
        match &self.to {
            To::Here(local) => local.submit(command).await,
            To::There(remote) => remote.submit(command).await,
        }
    }

    /// Completes when everything decided so far in this process is committed and published.
    pub async fn settled(&self) {
        if let To::Here(local) = &self.to {
            local.settled().await;
        }
    }

    /// Writes a snapshot of the metadata if enough was written since the last one.
    pub fn maybe_snapshot(&self, image: &MetadataImage) -> Result<(), RaftError> {
        match &self.to {
            To::Here(local) => local.maybe_snapshot(image),
            To::There(remote) => remote.maybe_snapshot(image),
        }
    }

    /// The metadata log's start offset and recovery point, for the checkpoint files.
    pub fn checkpoints(&self) -> (Offset, Offset) {
        match &self.to {
            To::Here(local) => local.checkpoints(),
            To::There(remote) => remote.checkpoints(),
        }
    }

    /// Closes the metadata log; a leadership ends.
    pub fn close(&self) -> Result<(), RaftError> {
        match &self.to {
            To::Here(local) => local.close(),
            To::There(remote) => remote.close(),
        }
    }

    /// Makes the topics that clients asked for in passing, or that Kafka itself needs; gives each one's error for the
    /// answer meanwhile.
    pub async fn auto_create(&self, broker: &Arc<Broker>, names: &[Str]) -> Vec<(Str, ErrorCode)> {
        let topics = names.iter().map(|name| broker.auto_created(name)).collect();
        let request = m::CreateTopicsRequest { topics, timeout_ms: 30_000, ..Default::default() };
        let created = match &self.to {
            To::Here(_) => self.create_topics(request, None).await,
            To::There(remote) => remote.create_topics(&request).await,
        };
        let response = match created {
            Ok(response) => response,
            Err(failure) => return names.iter().map(|n| (n.clone(), failure.code)).collect(),
        };
        let each = response.topics.into_iter().map(|t| {
            let code = ErrorCode::from_code(t.error_code).unwrap_or(ErrorCode::UnknownServerError);
            match code {
                ErrorCode::None | ErrorCode::TopicAlreadyExists => {}
                // Nobody asked for it by name, so nobody else is told.
                _ if is_internal_topic(&t.name) => {
                    warn!(topic = t.name.as_str(), %code, "a topic that Kafka itself needs can't be made (see {}): {}",
                        "offsets.topic.replication.factor",
                        t.error_message.as_deref().unwrap_or_default());
                }
                _ => debug!(topic = t.name.as_str(), %code, "a topic can't be made in passing"),
            }
            // As in Kafka: the topic is there for the next request, this one is told to ask again.
            let code = match code {
                ErrorCode::None | ErrorCode::TopicAlreadyExists => ErrorCode::UnknownTopicOrPartition,
                ErrorCode::InvalidTopicException => ErrorCode::InvalidTopicException,
                ErrorCode::InvalidReplicationFactor => ErrorCode::InvalidReplicationFactor,
                _ => ErrorCode::UnknownTopicOrPartition,
            };
            (t.name, code)
        });
        each.collect()
    }

    /// CreateTopics with the random numbers that it needs.
    pub async fn create_topics(
        &self,
        request: m::CreateTopicsRequest,
        describable: Option<Vec<Str>>,
    ) -> Result<m::CreateTopicsResponse, Failure> {
        let topic_ids = request.topics.iter().map(|_| self.io.random.uuid()).collect();
        let seed = self.io.random.u64();
        match self.submit(Command::CreateTopics { request, topic_ids, seed, describable }).await? {
            Reply::CreateTopics(response) => Ok(response),
            other => Err(refused(other)),
        }
    }

    /// A seed for placements.
    pub fn seed(&self) -> u64 {
        self.io.random.u64()
    }
}

/// The failure of a reply that is not of the command's kind: a refusal of the whole.
pub fn refused(reply: Reply) -> Failure {
    match reply {
        Reply::Refused(e) => Failure { message: e.message.map(|m| m.as_str().into()), ..Failure::of(e.code) },
        other => {
            error!("the controller answered out of kind: {other:?}");
            Failure::of(ErrorCode::UnknownServerError)
        }
    }
}
