//! [`Observation`]: the shell around a broker's [`Observer`]: it asks over the network, does what follows to the copy of the
//! metadata log, and publishes what is committed. Kafka's `KafkaRaftManager` and `MetadataLoader` on a broker.
//!
//! While no controller answers it goes on asking, and the broker goes on with the metadata that it has.

use std::sync::Arc;
use std::time::Duration;

use logrun_client::backoff::Backoff;
use logrun_client::link::Link;
use logrun_client::{Error, Versions};
use logrun_io::Io;
use logrun_log::LogError;
use logrun_metadata::{MetadataLoader, Provenance, Published, ReplayError};
use logrun_model::{NodeId, Offset};
use logrun_raft::{Ask, CommittedBatch, Effect, Event, Leader, Node, Observer, RaftError};
use logrun_wire::{Request, VersionRange};
use thiserror::Error;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::remote::{Remote, dial};

/// Metadata is named by its topic's id, and the replica by its state, from these versions on (Kafka 3.5).
const FETCH_VERSIONS: VersionRange = VersionRange::new(15, i16::MAX);
const SNAPSHOT_VERSIONS: VersionRange = VersionRange::new(0, i16::MAX);
/// Between two attempts to reach a controller, at first and at most.
const RETRY_BACKOFF_MS: (i64, i64) = (50, 1000);
/// What an answer may take beyond the time for which the leader may hold it back.
const ANSWER_MAX: Duration = Duration::from_secs(4);

/// Why a broker can't go on with its metadata.
#[derive(Debug, Error)]
pub enum ObservationError {
    #[error("its copy of the metadata log has failed: {0}")]
    Log(#[from] RaftError),
    #[error("the metadata contradicts itself: {0}")]
    Replay(#[from] ReplayError),
    #[error(
        "the controllers are of another cluster: correct controller.quorum.bootstrap.servers (or controller.quorum.voters), or give this node the log.dirs of their cluster"
    )]
    OtherCluster,
}

/// What was committed, in order.
enum Applied {
    Batch(CommittedBatch),
    /// It stands for all metadata.
    Snapshot(CommittedBatch),
}

/// What came of the effects.
#[derive(Default)]
struct Done {
    applied: Vec<Applied>,
    caught_up: bool,
    back_off: bool,
    other_cluster: bool,
}

/// See the module.
pub struct Observation {
    io: Io,
    node_id: NodeId,
    remote: Arc<Remote>,
    observer: Observer,
    loader: MetadataLoader,
    link: Option<(Node, Link, Versions)>,
    failures: u32,
    caught_up: watch::Sender<bool>,
}

impl Observation {
    /// Goes on from `loader`'s image; the receiver says when this copy has once been level with the controllers' log.
    pub fn new(
        io: Io,
        node_id: NodeId,
        remote: Arc<Remote>,
        observer: Observer,
        loader: MetadataLoader,
    ) -> (Self, watch::Receiver<bool>) {
        let (caught_up, is_caught_up) = watch::channel(false);
        (Self { io, node_id, remote, observer, loader, link: None, failures: 0, caught_up }, is_caught_up)
    }

    /// Copies and publishes until something is wrong that no patience mends. `publish` acts on each image.
    pub async fn run<P, F>(mut self, publish: P) -> Result<(), ObservationError>
    where
        P: Fn(Published) -> F,
        F: Future<Output = ()>,
    {
        loop {
            let position = self.remote.log.lock().position();
            let event = match self.observer.ask(position) {
                Ask::Fetch(to, request) => {
                    let answered = self.call(&to, &request, FETCH_VERSIONS).await;
                    self.answered(&to, answered.map(Event::Fetched))
                }
                Ask::FetchSnapshot(to, request) => {
                    let answered = self.call(&to, &request, SNAPSHOT_VERSIONS).await;
                    self.answered(&to, answered.map(Event::SnapshotFetched))
                }
            };
            let mut effects = Vec::new();
            self.observer.on(event, &mut effects);
            self.tell_leader();
            let done = match effects.is_empty() {
                true => Done::default(),
                false => {
                    let remote = self.remote.clone();
                    let io = self.io.clone();
                    self.io.tasks.blocking(move || perform(&io, &remote, effects)).await?
                }
            };
            if done.other_cluster {
                return Err(ObservationError::OtherCluster);
            }
            for applied in done.applied {
                for published in self.take_in(applied)? {
                    publish(published).await;
                }
            }
            if done.caught_up {
                self.caught_up.send_replace(true);
            }
            if done.back_off {
                let (first, max) = RETRY_BACKOFF_MS;
                self.io.clock.sleep(Backoff::new(first, max).after(self.failures, &self.io.random)).await;
                self.failures = self.failures.saturating_add(1);
            } else {
                self.failures = 0;
            }
        }
    }

    fn take_in(&mut self, applied: Applied) -> Result<Vec<Published>, ReplayError> {
        match applied {
            Applied::Batch(b) => self.loader.commit(&b.records, b.last_offset, b.epoch, b.timestamp),
            Applied::Snapshot(b) => {
                let at = Provenance { offset: b.last_offset, epoch: b.epoch, timestamp: b.timestamp };
                Ok(vec![self.loader.install(&b.records, at)?])
            }
        }
    }

    /// The others of this broker who talk to the controller follow the observer.
    fn tell_leader(&self) {
        let (before, now) = (self.remote.leader(), self.observer.leader());
        if let Some(Leader { id, at }) = now
            && before.as_ref() != now
        {
            info!(controller = %id, epoch = %self.observer.epoch(), "follows the controller at {}:{}", at.host, at.port);
        } else if let (Some(before), None) = (&before, now) {
            warn!(controller = %before.id, "the controller doesn't answer; going on with the metadata that is here");
        }
        self.remote.found(now);
    }

    fn answered(&mut self, to: &Node, answered: Result<Event, Error>) -> Event {
        answered.unwrap_or_else(|e| {
            self.link = None;
            debug!("the controller at {}:{} was not reached: {e}", to.host, to.port);
            Event::Failed
        })
    }

    async fn call<R: Request>(&mut self, to: &Node, request: &R, versions: VersionRange) -> Result<R::Response, Error> {
        if self.link.as_ref().is_none_or(|(at, ..)| at != to) {
            self.link = None;
            let (link, served) = dial(&self.io, to, self.node_id, ANSWER_MAX).await?;
            self.link = Some((to.clone(), link, served));
        }
        let Some((_, link, served)) = &mut self.link else { return Err(Error::Closed) };
        let version = served.pick::<R>(versions)?;
        link.call(version, request, ANSWER_MAX).await
    }
}

/// Does to the log what follows from an answer. Waits for the disk.
fn perform(io: &Io, remote: &Remote, effects: Vec<Effect>) -> Result<Done, ObservationError> {
    let now = io.clock.read();
    let mut log = remote.log.lock();
    let mut done = Done::default();
    for effect in effects {
        match effect {
            Effect::Remember { epoch, leader } => log.saw_leader(epoch, leader)?,
            Effect::CutTo { epoch, end_offset } => log.cut_to(epoch, end_offset, now)?,
            Effect::Append(records) => {
                if let Err(e) = log.append_fetched(records, now) {
                    if is_ours(&e) {
                        return Err(e.into());
                    }
                    warn!("the controller sent metadata that can't be taken, and is asked again: {e}");
                    done.back_off = true;
                    return Ok(done);
                }
            }
            Effect::Commit(high_watermark) => {
                let applied = &mut done.applied;
                let whole = log.commit_to(high_watermark, |batch| {
                    applied.push(Applied::Batch(batch));
                    Ok(())
                })?;
                done.caught_up |= whole && high_watermark > Offset::ZERO;
            }
            Effect::WriteSnapshotPiece { id, position, bytes } => log.write_snapshot_piece(id, position, &bytes)?,
            Effect::InstallSnapshot(id) => {
                let batch = log.install_snapshot(id, now)?;
                info!(end_offset = %id.end_offset, "took the controller's snapshot of the metadata");
                done.applied.push(Applied::Snapshot(batch));
            }
            Effect::BackOff => done.back_off = true,
            Effect::OtherCluster => done.other_cluster = true,
        }
    }
    Ok(done)
}

/// Whether the disk is to blame, and not what was sent.
fn is_ours(e: &RaftError) -> bool {
    match e {
        RaftError::Record { .. } => false,
        RaftError::Log(e) => !matches!(e, LogError::UnexpectedAppendOffset { .. } | LogError::BatchTooLarge { .. }),
        _ => true,
    }
}
