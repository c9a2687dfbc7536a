//! The controller in this process: the shell around the controller's machine, the metadata log, and the sessions of the
//! brokers elsewhere.
//!
//! A command is decided and appended under the lock; a task of its own then waits for the device, in the order of
//! the appends, publishes the image that the records make, and only then lets the replies out. So whoever has a
//! reply finds its effect in this node's image. Brokers that copy the log are woken at the same moment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use logrun_controller::{Command, Controller as Machine, Liveness, Reply};
use logrun_coordinator::{Answer, AppendFailed, Driver, RecordLog};
use logrun_io::{Io, TaskHandle};
use logrun_log::Durable;
use logrun_metadata::records::MetadataRecord;
use logrun_metadata::{MetadataLoader, MetadataVersion, Published};
use logrun_model::{
    BrokerEpoch, DirectoryId, LeaderEpoch, MetadataOffset, Monotonic, NodeId, Now, Offset, RaftEpoch, TimestampMs,
};
use logrun_raft::{
    CommittedBatch, FetchAnswer, FetchQuestion, MetadataLog, RaftError, SnapshotId, SnapshotPiece, Voter,
};
use logrun_wire::ErrorCode;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot};
use tracing::{info, warn};

use super::{Observed, Quorum};
use crate::errors::Failure;
use crate::waiting::{Waiter, Waiters};

/// An observer that has not fetched for this long is no longer told of (Kafka's `OBSERVER_SESSION_TIMEOUT_MS`).
const OBSERVER_SESSION_MS: i64 = 300_000;

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
    /// The sessions of the brokers elsewhere. This process's own lives as long as its controller does.
    liveness: Liveness,
    observers: BTreeMap<(NodeId, DirectoryId), Observed>,
    /// Fetches that wait for the high watermark to move.
    waiting: Waiters,
}

/// What a replica that copies the metadata log is told.
#[derive(Debug)]
pub struct Fetched {
    pub answer: FetchedAnswer,
    pub leader_epoch: RaftEpoch,
    pub high_watermark: Offset,
    pub log_start_offset: Offset,
}

/// See [`FetchAnswer`]; with the records read.
#[derive(Debug)]
pub enum FetchedAnswer {
    Refused(ErrorCode),
    Diverging { epoch: RaftEpoch, end_offset: Offset },
    Snapshot(SnapshotId),
    Records(Vec<bytes::Bytes>),
}

/// Who copies the metadata log, and what it has of it.
#[derive(Clone, Copy, Debug)]
pub struct Replica {
    pub id: NodeId,
    pub directory_id: DirectoryId,
    /// What it knows to be committed; none if it doesn't say.
    pub high_watermark: Option<Offset>,
}

/// What the committing task is to do next.
enum Work {
    Commit(CommittedBatch, Durable),
    /// The log can't be written any more.
    Failed(RaftError),
    /// Everything before it is committed and published.
    Barrier(oneshot::Sender<()>),
}

/// The controller of this node.
pub struct Local {
    io: Io,
    node_id: NodeId,
    inner: Mutex<Inner>,
    work: mpsc::UnboundedSender<Work>,
    /// Told when a session may end sooner than before.
    sessions: Notify,
}

/// What the committing task holds: see [`Committer::run`].
pub struct Committer {
    controller: Arc<Local>,
    loader: MetadataLoader,
    work: mpsc::UnboundedReceiver<Work>,
}

impl Local {
    /// The controller whose machine has replayed `log`, which this node leads. The committer continues from `loader`'s
    /// image, whose unfenced brokers each get a whole session to show themselves.
    pub fn new(
        io: Io,
        node_id: NodeId,
        session_timeout: Duration,
        driver: Driver<Machine, oneshot::Sender<Result<Reply, Failure>>>,
        log: MetadataLog,
        loader: MetadataLoader,
    ) -> (Arc<Self>, Committer) {
        let (tx, rx) = mpsc::unbounded_channel();
        let mut liveness = Liveness::new(session_timeout);
        liveness.load(io.clock.now(), loader.image());
        liveness.remove(node_id);
        let (observers, waiting) = (BTreeMap::new(), Waiters::default());
        let inner = Mutex::new(Inner { driver, log, liveness, observers, waiting });
        let controller = Arc::new(Self { io, node_id, inner, work: tx, sessions: Notify::new() });
        let committer = Committer { controller: controller.clone(), loader, work: rx };
        (controller, committer)
    }

    /// The quorum as it is now.
    pub fn quorum(&self) -> Quorum {
        let now = self.io.clock.wall();
        let mut inner = self.inner.lock();
        let lives = |o: &Observed| now.get() - o.last_fetch.get() < OBSERVER_SESSION_MS;
        inner.observers.retain(|_, o| lives(o));
        Quorum {
            leader_id: self.node_id,
            directory_id: inner.log.voter().directory_id,
            leader_epoch: inner.log.epoch(),
            log_end_offset: inner.log.end_offset(),
            kraft_version: inner.log.kraft_version(),
            observers: inner.observers.values().copied().collect(),
        }
    }

    /// The finalized level of the feature `kraft.version`.
    pub fn kraft_version(&self) -> i16 {
        self.inner.lock().log.kraft_version()
    }

    /// This node as a voter of the quorum.
    pub fn voter(&self) -> Voter {
        self.inner.lock().log.voter().clone()
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
            let id = self.elsewhere(&command);
            let is_noop = matches!(command, Command::NoOp);
            let contact = heartbeat_of(&command);
            let command = inner.with_what_it_lacks(now.monotonic, command);
            if let Err(e) = inner.before(&command, now) {
                let refused = Failure::with(ErrorCode::KafkaStorageError, e.to_string());
                if matches!(&e, RaftError::Log(e) if e.is_storage_failure()) {
                    let _ = self.work.send(Work::Failed(e));
                }
                let _ = ticket.send(Err(refused));
                return;
            }
            let Inner { driver, log, .. } = &mut *inner;
            let version = driver.machine().map_or(MetadataVersion::LATEST, Machine::metadata_version);
            let mut appender = Appender { log, version, now, appended: None, failed: None };
            driver.submit(now, ticket, command, &mut appender, &mut answers);
            let (appended, failed) = (appender.appended, appender.failed);
            if let Some((batch, mut durable)) = appended {
                // That the quorum lives need not survive a power cut where nobody elsewhere has heard of it, and a sync twice
                // a second holds up whoever appends to the same file system. Whatever comes next brings it to the device.
                if is_noop && inner.observers.is_empty() {
                    durable = Durable::Ready;
                }
                // Under the lock, so that batches are committed in the order of their offsets.
                let _ = self.work.send(Work::Commit(batch, durable));
            }
            if let Some(e) = failed {
                let _ = self.work.send(Work::Failed(e));
            }
            if let Some(id) = id {
                inner.track(now.monotonic, id, contact);
                self.sessions.notify_one();
            }
        }
        send(answers);
    }

    /// The broker, if it is not this node's, whose life a command is about.
    fn elsewhere(&self, command: &Command) -> Option<NodeId> {
        let id = match command {
            Command::RegisterBroker { request, .. } => NodeId(request.broker_id),
            Command::BrokerHeartbeat { request, .. } => NodeId(request.broker_id),
            Command::FenceBroker { broker_id, .. } => *broker_id,
            Command::UnregisterBroker { request } => NodeId(request.broker_id),
            _ => return None,
        };
        Some(id).filter(|id| *id != self.node_id)
    }

    /// Fences the brokers that fall silent, for as long as the task lives.
    pub fn watch_sessions(self: &Arc<Self>) -> TaskHandle<()> {
        let this = self.clone();
        self.io.tasks.spawn(async move {
            loop {
                let deadline = this.inner.lock().liveness.next_deadline();
                let over = async {
                    match deadline {
                        Some(at) => this.io.clock.sleep_until(at).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    biased;
                    () = over => {}
                    () = this.sessions.notified() => continue,
                }
                let expired = this.inner.lock().liveness.expire(this.io.clock.now());
                for (broker_id, broker_epoch) in expired {
                    info!(broker = %broker_id, "fenced: it has sent no heartbeat within broker.session.timeout.ms");
                    if let Err(f) = this.submit(Command::FenceBroker { broker_id, broker_epoch }).await {
                        warn!(broker = %broker_id, "a silent broker could not be fenced: {}", f.code);
                    }
                }
            }
        })
    }

    /// Answers a replica that copies the metadata log, at the latest at `deadline`.
    pub async fn fetch(
        &self,
        replica: Replica,
        asked: FetchQuestion,
        deadline: Monotonic,
    ) -> Result<Fetched, RaftError> {
        let waiter = Waiter::new();
        loop {
            let (answer, mut fetched, now) = {
                let mut inner = self.inner.lock();
                inner.waiting.register(&waiter);
                let answer = inner.log.answer_fetch(&asked)?;
                let now = self.io.clock.read();
                if matches!(answer, FetchAnswer::Records(_)) {
                    inner.observed(replica, asked.offset, now.wall);
                }
                let fetched = Fetched {
                    answer: FetchedAnswer::Records(Vec::new()),
                    leader_epoch: inner.log.epoch(),
                    high_watermark: inner.log.high_watermark(),
                    log_start_offset: inner.log.checkpoints().0,
                };
                (answer, fetched, now.monotonic)
            };
            fetched.answer = match answer {
                FetchAnswer::Refused(code) => FetchedAnswer::Refused(code),
                FetchAnswer::Diverging { epoch, end_offset } => FetchedAnswer::Diverging { epoch, end_offset },
                FetchAnswer::Snapshot(id) => FetchedAnswer::Snapshot(id),
                FetchAnswer::Records(plan) => {
                    let read = match plan.is_in_memory() {
                        true => plan.run()?,
                        false => self.io.tasks.blocking(move || plan.run()).await?,
                    };
                    let is_news = replica.high_watermark.is_some_and(|known| known < fetched.high_watermark);
                    if read.bytes == 0 && !is_news && now < deadline {
                        tokio::select! {
                            biased;
                            () = waiter.changed() => {}
                            () = self.io.clock.sleep_until(deadline) => {}
                        }
                        continue;
                    }
                    FetchedAnswer::Records(read.slices)
                }
            };
            return Ok(fetched);
        }
    }

    /// A piece of a snapshot, with the epoch of the leader. Waits for the disk.
    pub fn snapshot_piece(
        &self,
        epoch: RaftEpoch,
        id: SnapshotId,
        position: i64,
        max_bytes: usize,
    ) -> Result<(RaftEpoch, Result<SnapshotPiece, ErrorCode>), RaftError> {
        let inner = self.inner.lock();
        Ok((inner.log.epoch(), inner.log.snapshot_piece(epoch, id, position, max_bytes)?))
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
}

impl Inner {
    /// The command with what only the sessions and the quorum know.
    fn with_what_it_lacks(&self, now: Monotonic, command: Command) -> Command {
        match command {
            Command::RegisterBroker { request, former_self_is_dead, .. } => {
                let id = NodeId(request.broker_id);
                let registered = self.driver.machine().and_then(|m| m.image().cluster.broker_epoch(id));
                let session_is_valid = registered.is_some_and(|epoch| self.liveness.has_valid_session(now, id, epoch));
                Command::RegisterBroker { request, former_self_is_dead, session_is_valid }
            }
            Command::BrokerHeartbeat { request, .. } => {
                let others_caught_up = self.liveness.others_caught_up(NodeId(request.broker_id));
                Command::BrokerHeartbeat { request, others_caught_up }
            }
            Command::UpdateFeatures { request, .. } => {
                Command::UpdateFeatures { request, kraft_version: self.log.kraft_version() }
            }
            other => other,
        }
    }

    /// Does what a command asks of the quorum itself, before its records are decided and appended.
    fn before(&mut self, command: &Command, now: Now) -> Result<(), RaftError> {
        let Command::UpdateFeatures { request, kraft_version } = command else { return Ok(()) };
        let Some(machine) = self.driver.machine_mut() else { return Ok(()) };
        if machine.raises_kraft_version(request, *kraft_version) {
            self.log.raise_kraft_version(now)?;
            machine.set_next_offset(self.log.end_offset());
        }
        Ok(())
    }

    /// Brings the session of broker `id` to what was decided; `contact` is its heartbeat, if it was one.
    fn track(&mut self, now: Monotonic, id: NodeId, contact: Option<(BrokerEpoch, MetadataOffset)>) {
        let Some(machine) = self.driver.machine() else { return };
        let Some(broker) = machine.image().cluster.broker(id).filter(|b| !b.fenced) else {
            return self.liveness.remove(id);
        };
        if let Some((_, offset)) = contact.filter(|(epoch, _)| *epoch == broker.epoch) {
            self.liveness.touch(now, id, broker.epoch, offset);
            if broker.in_controlled_shutdown {
                self.liveness.stops(id, MetadataOffset(self.driver.last_written().get()));
            }
        }
    }

    /// A replica has asked for what follows on `offset`.
    fn observed(&mut self, replica: Replica, offset: Offset, now: TimestampMs) {
        if let Some(high_watermark) = replica.high_watermark.filter(|o| o.is_some()) {
            self.liveness.replicated(replica.id, MetadataOffset(high_watermark.get() - 1));
        }
        let end = self.log.end_offset();
        let key = (replica.id, replica.directory_id);
        let caught_up = offset.get() >= end.get();
        let before = self.observers.get(&key).map_or(TimestampMs::NONE, |o| o.last_caught_up);
        let observed = Observed {
            id: replica.id,
            directory_id: replica.directory_id,
            log_end_offset: MetadataOffset(offset.get()),
            last_fetch: now,
            last_caught_up: if caught_up { now } else { before },
        };
        self.observers.insert(key, observed);
    }
}

/// The epoch and the metadata offset that a heartbeat tells.
fn heartbeat_of(command: &Command) -> Option<(BrokerEpoch, MetadataOffset)> {
    match command {
        Command::BrokerHeartbeat { request, .. } => {
            Some((BrokerEpoch(request.broker_epoch), MetadataOffset(request.current_metadata_offset)))
        }
        _ => None,
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
                    {
                        let mut inner = self.controller.inner.lock();
                        inner.log.committed(committed);
                        inner.waiting.wake();
                        inner.driver.committed(committed, &mut answers);
                    }
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
