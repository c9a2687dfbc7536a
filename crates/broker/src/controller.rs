//! The controller of this node: the shell around the controller's machine and the metadata log.
//!
//! A command is decided and appended under the lock; a task of its own then waits for the device, in the order of
//! the appends, publishes the image that the records make, and only then lets the replies out. So whoever has a
//! reply finds its effect in this node's image.

use std::sync::Arc;

use logrun_controller::{Command, Controller as Machine, Reply};
use logrun_coordinator::{Answer, AppendFailed, Driver, RecordLog};
use logrun_io::Io;
use logrun_log::Durable;
use logrun_metadata::records::MetadataRecord;
use logrun_metadata::{MetadataLoader, MetadataVersion, Published};
use logrun_model::{DirectoryId, LeaderEpoch, MetadataOffset, NodeId, Now, Offset, RaftEpoch, Str};
use logrun_raft::{CommittedBatch, MetadataLog, RaftError};
use logrun_wire::ErrorCode;
use logrun_wire::messages as m;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, error};

use crate::Broker;
use crate::errors::Failure;

type Ticket = oneshot::Sender<Result<Reply, Failure>>;

/// The metadata log as the driver appends to it.
struct Appender<'a> {
    log: &'a mut MetadataLog,
    version: MetadataVersion,
    now: Now,
    appended: Option<(CommittedBatch, Durable)>,
    failed: Option<RaftError>,
}

impl RecordLog for Appender<'_> {
    type Record = MetadataRecord;

    fn append(&mut self, records: &[MetadataRecord]) -> Result<Offset, AppendFailed> {
        match self.log.append(records.to_vec(), self.version, self.now) {
            Ok((batch, durable)) => {
                let last = Offset(batch.last_offset.get());
                self.appended = Some((batch, durable));
                Ok(last)
            }
            Err(e) => {
                let refused = AppendFailed::new(ErrorCode::KafkaStorageError, e.to_string());
                // A full disk may have room again.
                if matches!(&e, RaftError::Log(e) if e.is_storage_failure()) {
                    self.failed = Some(e);
                }
                Err(refused)
            }
        }
    }
}

struct Inner {
    driver: Driver<Machine, Ticket>,
    log: MetadataLog,
}

/// What the committing task is to do next.
enum Work {
    Commit(CommittedBatch, Durable),
    /// The log can't be written any more.
    Failed(RaftError),
    /// Everything before it is committed and published.
    Barrier(oneshot::Sender<()>),
}

/// What the metadata quorum's leader tells of it.
#[derive(Clone, Copy, Debug)]
pub struct Quorum {
    pub leader_id: NodeId,
    /// Of the directory that holds the leader's metadata log.
    pub directory_id: DirectoryId,
    pub leader_epoch: RaftEpoch,
    pub log_end_offset: MetadataOffset,
    /// The finalized level of the feature `kraft.version`.
    pub kraft_version: i16,
}

/// The controller of this node.
pub struct Controller {
    io: Io,
    node_id: NodeId,
    inner: Mutex<Inner>,
    work: mpsc::UnboundedSender<Work>,
}

/// What the committing task holds: see [`Committer::run`].
pub struct Committer {
    controller: Arc<Controller>,
    loader: MetadataLoader,
    work: mpsc::UnboundedReceiver<Work>,
}

impl Controller {
    /// The controller whose machine has replayed `log`, which this node leads since `epoch`. The committer continues
    /// from `loader`'s image.
    pub fn new(
        io: Io,
        node_id: NodeId,
        driver: Driver<Machine, oneshot::Sender<Result<Reply, Failure>>>,
        log: MetadataLog,
        loader: MetadataLoader,
    ) -> (Arc<Self>, Committer) {
        let (tx, rx) = mpsc::unbounded_channel();
        let controller = Arc::new(Self { io, node_id, inner: Mutex::new(Inner { driver, log }), work: tx });
        let committer = Committer { controller: controller.clone(), loader, work: rx };
        (controller, committer)
    }

    /// The node that leads the quorum.
    pub fn leader_id(&self) -> NodeId {
        self.node_id
    }

    /// The quorum as it is now.
    pub fn quorum(&self) -> Quorum {
        let inner = self.inner.lock();
        Quorum {
            leader_id: self.node_id,
            directory_id: inner.log.voter().directory_id,
            leader_epoch: inner.log.epoch(),
            log_end_offset: inner.log.end_offset(),
            kraft_version: inner.log.kraft_version(),
        }
    }

    /// Decides a command; the reply comes when its records are committed and published.
    pub async fn submit(&self, command: Command) -> Result<Reply, Failure> {
        let (tx, rx) = oneshot::channel();
        self.submit_now(command, tx);
        rx.await.unwrap_or_else(|_| Err(Failure::of(ErrorCode::NotController)))
    }

    fn submit_now(&self, command: Command, ticket: Ticket) {
        let now = self.io.clock.read();
        let mut answers = Vec::new();
        {
            let mut inner = self.inner.lock();
            let Inner { driver, log } = &mut *inner;
            let version = driver.machine().map_or(MetadataVersion::LATEST, Machine::metadata_version);
            let mut appender = Appender { log, version, now, appended: None, failed: None };
            driver.submit(now, ticket, command, &mut appender, &mut answers);
            let (appended, failed) = (appender.appended, appender.failed);
            if let Some((batch, durable)) = appended {
                // Under the lock, so that batches are committed in the order of their offsets.
                let _ = self.work.send(Work::Commit(batch, durable));
            }
            if let Some(e) = failed {
                let _ = self.work.send(Work::Failed(e));
            }
        }
        send(answers);
    }

    /// Completes when everything appended so far is committed and published.
    pub async fn settled(&self) {
        let (tx, rx) = oneshot::channel();
        let _ = self.work.send(Work::Barrier(tx));
        let _ = rx.await;
    }

    /// Writes a snapshot of the metadata if enough was written since the last one.
    pub fn maybe_snapshot(&self, image: &logrun_metadata::MetadataImage) -> Result<(), RaftError> {
        let now = self.io.clock.read();
        let mut inner = self.inner.lock();
        if inner.log.wants_snapshot() {
            inner.log.write_snapshot(image, now)?;
        }
        inner.log.clean_up(now)
    }

    /// The metadata log's start offset and recovery point, for the checkpoint files.
    pub fn checkpoints(&self) -> (Offset, Offset) {
        self.inner.lock().log.checkpoints()
    }

    /// Ends the leadership: what still waits fails, the log is closed.
    pub fn close(&self) -> Result<(), RaftError> {
        let mut answers = Vec::new();
        let mut inner = self.inner.lock();
        inner.driver.unload(&mut answers);
        let closed = inner.log.close(self.io.clock.read());
        drop(inner);
        send(answers);
        closed
    }

    /// Makes the topics that clients asked for in passing, or that Kafka itself needs; gives each one's error for the
    /// answer meanwhile.
    pub async fn auto_create(&self, broker: &Arc<Broker>, names: &[Str]) -> Vec<(Str, ErrorCode)> {
        let topics = names.iter().map(|name| broker.auto_created(name)).collect();
        let request = m::CreateTopicsRequest { topics, timeout_ms: 30_000, ..Default::default() };
        let response = match self.create_topics(request, None).await {
            Ok(response) => response,
            Err(failure) => return names.iter().map(|n| (n.clone(), failure.code)).collect(),
        };
        let each = response.topics.into_iter().map(|t| {
            let code = ErrorCode::from_code(t.error_code).unwrap_or(ErrorCode::UnknownServerError);
            if code != ErrorCode::None && code != ErrorCode::TopicAlreadyExists {
                debug!(topic = t.name.as_str(), %code, "a topic can't be made in passing");
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

impl Committer {
    /// Commits, publishes and answers, until the controller is gone or the device fails. `publish` acts on each image.
    pub async fn run<P, F>(mut self, publish: P) -> Result<(), RaftError>
    where
        P: Fn(Published) -> F,
        F: Future<Output = ()>,
    {
        while let Some(work) = self.work.recv().await {
            match work {
                Work::Commit(batch, durable) => {
                    durable.wait().await?;
                    let CommittedBatch { last_offset, epoch, timestamp, records } = batch;
                    let published = self
                        .loader
                        .commit(&records, last_offset, epoch, timestamp)
                        .map_err(|e| RaftError::Record { offset: last_offset.get(), reason: e.to_string() })?;
                    for each in published {
                        publish(each).await;
                    }
                    let mut answers = Vec::new();
                    let committed = Offset(last_offset.get()).next();
                    self.controller.inner.lock().driver.committed(committed, &mut answers);
                    send(answers);
                }
                Work::Failed(e) => return Err(e),
                Work::Barrier(done) => {
                    let _ = done.send(());
                }
            }
        }
        Ok(())
    }
}

/// Builds the driver of a machine that `replay` fills: what a node does before it leads.
pub fn loading_driver(machine: Machine, epoch: LeaderEpoch) -> Driver<Machine, Ticket> {
    let mut driver = Driver::new();
    driver.load(epoch, machine, &mut Vec::new());
    driver
}

fn send(answers: Vec<Answer<Ticket, Reply>>) {
    for Answer { ticket, outcome } in answers {
        let outcome = outcome.map_err(|e| match e {
            logrun_coordinator::Failure::NotActive | logrun_coordinator::Failure::NeverCommitted => {
                Failure::of(ErrorCode::NotController)
            }
            logrun_coordinator::Failure::Loading => Failure::of(ErrorCode::CoordinatorLoadInProgress),
            logrun_coordinator::Failure::TimedOut => Failure::of(ErrorCode::RequestTimedOut),
            logrun_coordinator::Failure::Append(e) => Failure::with(e.error, e.message),
        });
        // A caller that has gone no longer listens.
        let _ = ticket.send(outcome);
    }
}
