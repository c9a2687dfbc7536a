//! One partition on this broker: the shell around its log and its decision core.
//!
//! The lock is held for a decision and the write that follows from it, never across a wait. Validation
//! (which may decompress) and reads of the disk happen outside. What the core decides is done by
//! [`State::perform`], in the order that it gives.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use bytes::Bytes;
use logrun_io::Io;
use logrun_log::{Durable, Log, LogError};
use logrun_model::{LeaderEpoch, Now, Offset, TimestampMs, TopicIdPartition, TopicPartition};
use logrun_partition::{
    Effect, Event, FailReason, LogOffsets, PartitionRegistration, Planned, Reader, Replica, ReplicaConfig,
    TransactionVersion, plan_append_as_leader,
};
use logrun_record::{AppendOrigin, PreparedBatch, RecordConversionStats, Validated, validate};
use parking_lot::{Mutex, RwLock};
use tokio::sync::oneshot;
use tracing::error;

use super::promises::Promises;
use super::settings::Settings;
use crate::directories::Directory;
use crate::errors::Failure;
use crate::logs::OpenedLog;
use crate::waiting::{AwaitingOffset, NotReplicated, Waiter, Waiters};

/// When a produce is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// Never.
    None,
    /// When the leader has appended, and its log has the durability that it promises.
    Leader,
    /// When all in-sync replicas have it.
    All,
}

impl Acks {
    pub fn from_wire(acks: i16) -> Option<Self> {
        match acks {
            0 => Some(Self::None),
            1 => Some(Self::Leader),
            -1 => Some(Self::All),
            _ => None,
        }
    }
}

/// What a client wants appended.
pub struct AppendRequest {
    pub records: Bytes,
    pub acks: Acks,
    /// Whether the client's version may know zstd.
    pub zstd_allowed: bool,
}

/// An append, or the one of which this was a retry.
#[derive(Debug)]
pub struct Appended {
    pub base_offset: Offset,
    pub last_offset: Offset,
    /// None where the client's own timestamps stand.
    pub log_append_time: TimestampMs,
    pub log_start_offset: Offset,
    /// Completes when it may be acknowledged; `None` if it may be now.
    pub commit: Option<oneshot::Receiver<Result<(), NotReplicated>>>,
}

/// A partition that this broker holds a replica of.
#[derive(Debug)]
pub struct Partition {
    pub id: TopicIdPartition,
    pub name: TopicPartition,
    pub(super) io: Io,
    settings: RwLock<Arc<Settings>>,
    pub(super) directory: RwLock<Arc<Directory>>,
    /// When it was last asked for, in milliseconds of the monotonic clock; the least number if never.
    pub(super) last_used_ms: AtomicI64,
    /// The last corruption that was reported.
    corrupt: Mutex<Option<String>>,
    pub(super) state: Mutex<State>,
}

/// What the lock protects.
#[derive(Debug)]
pub(super) struct State {
    pub log: Log,
    pub replica: Replica,
    /// Fetches, and coordinators that wait for their records to be committed.
    pub(super) waiters: Waiters,
    pub(super) commits: AwaitingOffset,
    /// What is to be acknowledged when this log has it, whoever else has.
    durables: AwaitingOffset,
    pub(super) promises: Promises,
    /// Counts the logs that took another's place: what is said of an earlier one is not of this one.
    pub(super) log_generation: u64,
    effects: Vec<Effect>,
}

impl Partition {
    /// A partition whose log is open. It has no role until metadata gives it one; `high_watermark` is the checkpointed one.
    pub fn new(
        id: TopicIdPartition,
        name: TopicPartition,
        io: Io,
        local: logrun_model::NodeId,
        opened: OpenedLog,
        settings: Arc<Settings>,
    ) -> Self {
        let OpenedLog { mut log, high_watermark, directory } = opened;
        let bounded = high_watermark.max(log.log_start_offset()).min(log.log_end_offset());
        log.producers_mut().on_high_watermark_updated(bounded);
        let offsets = LogOffsets {
            log_start_offset: log.log_start_offset(),
            log_end_offset: log.log_end_offset(),
            high_watermark,
            first_unstable_offset: log.producers().first_unstable_offset(),
        };
        let replica = Replica::new(local, offsets, settings.replica);
        let state = State {
            promises: Promises::new(log.log_end_offset()),
            log_generation: 0,
            log,
            replica,
            waiters: Waiters::default(),
            commits: AwaitingOffset::default(),
            durables: AwaitingOffset::default(),
            effects: Vec::new(),
        };
        let (settings, directory) = (RwLock::new(settings), RwLock::new(directory));
        let last_used_ms = AtomicI64::new(i64::MIN);
        let corrupt = Mutex::default();
        Self { id, name, io, settings, directory, last_used_ms, corrupt, state: Mutex::new(state) }
    }

    /// The log directory that it lies in.
    pub fn directory(&self) -> Arc<Directory> {
        self.directory.read().clone()
    }

    /// The settings in force.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.read().clone()
    }

    /// New settings: in force from the next request on.
    pub fn configure(&self, now: Now, settings: Arc<Settings>) {
        let (log, replica): (_, ReplicaConfig) = (settings.log.clone(), settings.replica);
        *self.settings.write() = settings;
        let mut state = self.state.lock();
        state.log.set_config(log);
        state.on(now, Event::Config(replica), self);
    }

    /// The metadata's word on this partition: the only thing that changes its role.
    pub fn register(&self, now: Now, registration: PartitionRegistration) {
        self.state.lock().on(now, Event::Metadata(registration), self);
    }

    /// Appends what a client sent. Returns as soon as the log has taken it.
    pub fn append_from_client(self: &Arc<Self>, now: Now, request: AppendRequest) -> Result<Appended, Failure> {
        let settings = self.settings();
        let mut rules = settings.validation_rules(AppendOrigin::Client, now.wall);
        rules.zstd_allowed = request.zstd_allowed;
        let validated = validate(request.records, &rules).map_err(Failure::from)?;
        self.append_validated(now, validated, request.acks, AppendOrigin::Client, &settings)
    }

    /// Appends a coordinator's own batch: as from a client, but the coordinator's rules hold.
    pub fn append_from_coordinator(self: &Arc<Self>, now: Now, batch: PreparedBatch) -> Result<Appended, Failure> {
        let settings = self.settings();
        let header = *batch.header();
        if batch.size_in_bytes() > settings.max_message_bytes {
            return Err(Failure::of(logrun_wire::ErrorCode::MessageTooLarge));
        }
        let validated = Validated {
            batches: vec![batch],
            max_timestamp: header.max_timestamp,
            offset_delta_of_max_timestamp: 0,
            record_conversion_stats: RecordConversionStats::default(),
        };
        self.append_validated(now, validated, Acks::All, AppendOrigin::Coordinator, &settings)
    }

    fn append_validated(
        self: &Arc<Self>,
        now: Now,
        validated: Validated,
        acks: Acks,
        origin: AppendOrigin,
        settings: &Settings,
    ) -> Result<Appended, Failure> {
        let mut state = self.state.lock();
        let leader_epoch = state.replica.check_append(acks == Acks::All)?;
        let log_end_offset = state.log.log_end_offset();
        let planned = plan_append_as_leader(
            validated,
            state.log.producers(),
            log_end_offset,
            leader_epoch,
            origin,
            TransactionVersion::default(),
        );
        let log_start_offset = state.log.log_start_offset();
        let plan = match planned? {
            Planned::Append(plan) => plan,
            Planned::Duplicate { first_offset, last_offset, timestamp } => {
                let log_append_time = if settings.is_log_append_time() { timestamp } else { TimestampMs::NONE };
                let required = last_offset.next();
                return Ok(Appended {
                    base_offset: first_offset,
                    last_offset,
                    log_append_time,
                    log_start_offset,
                    commit: state.acknowledged(acks, required),
                });
            }
            Planned::Nothing => {
                return Err(Failure::with(logrun_wire::ErrorCode::InvalidRecord, "the record batch holds no records"));
            }
        };
        if origin == AppendOrigin::Client {
            let bytes = plan.batches.iter().map(PreparedBatch::size_in_bytes).sum();
            self.directory.read().take_room(bytes)?;
        }
        let appended = match state.log.append_prepared(&plan.batches, plan.producers, now) {
            Ok(appended) => appended,
            Err(e) => return Err(self.storage_failed(e)),
        };
        let end = appended.last_offset.next();
        let first_unstable_offset = state.log.producers().first_unstable_offset();
        state.on(now, Event::Appended { log_end_offset: end, first_unstable_offset }, self);
        match appended.durable {
            Durable::Ready => {
                state.promises.appended(log_end_offset..end, None);
                state.durable_moved(now, self);
            }
            Durable::Pending(promise, durable) => {
                state.promises.appended(log_end_offset..end, Some(promise));
                let (partition, directory, generation) = (self.clone(), self.directory(), state.log_generation);
                self.io.tasks.spawn(async move {
                    let outcome = durable.await;
                    let now = partition.io.clock.read();
                    let mut state = partition.state.lock();
                    let is_this_log = state.log_generation == generation;
                    match outcome {
                        // The log that took this one's place had all of it on the device when it did.
                        Ok(()) if !is_this_log => {}
                        Ok(()) => {
                            state.promises.kept(promise, end);
                            state.durable_moved(now, &partition);
                        }
                        Err(e) => {
                            let reason = match e {
                                LogError::Truncated => NotReplicated::Truncated,
                                _ => NotReplicated::Storage,
                            };
                            partition.storage_failed_in(&directory, e);
                            if is_this_log {
                                state.commits.fail(reason);
                                state.durables.fail(reason);
                            }
                        }
                    }
                });
            }
        }
        if appended.rolled {
            self.flush_in_background();
        }
        Ok(Appended {
            base_offset: plan.first_offset,
            last_offset: plan.last_offset,
            log_append_time: if settings.is_log_append_time() { plan.max_timestamp } else { TimestampMs::NONE },
            log_start_offset,
            commit: state.acknowledged(acks, end),
        })
    }

    /// Brings everything so far to the device, beside the caller: a closed segment need not be looked at after a crash.
    fn flush_in_background(self: &Arc<Self>) {
        let partition = self.clone();
        self.io.tasks.spawn(async move {
            let tasks = partition.io.tasks;
            let flush = move || {
                if let Err(e) = partition.flush() {
                    error!(partition = %partition.name, "a flush failed: {e}");
                }
            };
            tasks.blocking(flush).await;
        });
    }

    /// Brings everything so far to the device. The lock is not held while the device works. The directory in which the log
    /// lay when it began is told of a failure: what a device has refused once, it may say to have the next time.
    pub fn flush(&self) -> Result<(), LogError> {
        let now = self.io.clock.read();
        let (plan, directory, generation) = {
            let mut state = self.state.lock();
            let directory = self.directory();
            let Some(plan) = state.log.plan_flush(now).inspect_err(|e| directory.saw(e))? else { return Ok(()) };
            (plan, directory, state.log_generation)
        };
        let flushed = plan.run().inspect_err(|e| directory.saw(e));
        let mut state = self.state.lock();
        if state.log_generation != generation {
            // The log that took this one's place had all of it on the device when it did.
            return Ok(());
        }
        state.log.finish_flush(flushed?).inspect_err(|e| directory.saw(e))
    }

    /// Whether `flush.ms` asks for a flush.
    pub fn is_flush_due(&self, now: Now) -> bool {
        self.state.lock().log.is_flush_due(now)
    }

    /// Deletes segments by retention, forgets expired producers and removes files whose delay is over.
    pub fn clean_up(&self, now: Now) -> Result<(), LogError> {
        self.clean_up_until(now, now)
    }

    /// As [`Self::clean_up`], and removes the files of deleted segments whatever their delay.
    pub fn clean_up_at_once(&self, now: Now) -> Result<(), LogError> {
        self.clean_up_until(now, Now { monotonic: now.monotonic.plus(Duration::MAX / 4), ..now })
    }

    /// Removes the files of deleted segments whose `file.delete.delay.ms` is over.
    pub fn remove_due_files(&self, now: Now) -> Result<(), LogError> {
        let removals = {
            let mut state = self.state.lock();
            if state.log.next_removal().is_none_or(|at| at > now.monotonic) {
                return Ok(());
            }
            state.log.due_removals(now)
        };
        removals.run()
    }

    fn clean_up_until(&self, now: Now, removed_until: Now) -> Result<(), LogError> {
        let removals = {
            let mut state = self.state.lock();
            let high_watermark = state.replica.fetch_offsets().high_watermark;
            if state.log.delete_old_segments(high_watermark, now)? > 0 {
                let log_start_offset = state.log.log_start_offset();
                state.on(now, Event::LogStartMoved { log_start_offset }, self);
            }
            state.log.producers_mut().remove_expired_producers(now.wall);
            state.log.due_removals(removed_until)
        };
        removals.run()
    }

    /// Moves the log start offset to `offset` (-1: the high watermark); gives the low watermark.
    pub fn delete_records_before(&self, now: Now, offset: Offset) -> Result<Offset, Failure> {
        if !self.settings().log.delete && self.settings().log.compact {
            return Err(Failure::with(
                logrun_wire::ErrorCode::PolicyViolation,
                format!("records of {} can't be deleted: its cleanup.policy is compact", self.name),
            ));
        }
        let mut state = self.state.lock();
        let to = state.replica.delete_records_offset(offset)?;
        state.log.set_log_start_offset(to).map_err(|e| self.storage_failed(e))?;
        let log_start_offset = state.log.log_start_offset();
        state.on(now, Event::LogStartMoved { log_start_offset }, self);
        Ok(state.replica.low_watermark())
    }

    /// The high watermark: below it records are committed.
    pub fn high_watermark(&self) -> Offset {
        self.state.lock().replica.fetch_offsets().high_watermark
    }

    /// Log start, log end, high watermark and last stable offset at one moment.
    pub fn offsets(&self) -> logrun_partition::FetchOffsets {
        self.state.lock().replica.fetch_offsets()
    }

    /// Below it everything is known to be on the device.
    pub fn recovery_point(&self) -> Offset {
        self.state.lock().log.recovery_point()
    }

    /// The epoch under which this broker leads; `None` if it doesn't.
    pub fn leader_epoch(&self) -> Option<LeaderEpoch> {
        self.state.lock().replica.check_append(false).ok()
    }

    /// `waiter` hears of the partition's next change.
    pub fn watch(&self, waiter: &Arc<Waiter>) {
        self.state.lock().waiters.register(waiter);
    }

    /// Reads committed records for a coordinator that loads its state: up to the high watermark.
    pub fn read_committed(&self, from: Offset, max_bytes: usize) -> Result<logrun_log::LogSlices, LogError> {
        let plan = {
            let state = self.state.lock();
            let upper_bound = state.replica.upper_bound(Reader::ReadUncommitted);
            state.log.plan_read(from.max(state.log.log_start_offset()), upper_bound, max_bytes, true)?
        };
        plan.run()
    }

    /// Ends the partition for good: its topic is deleted. The files go later, by the removal that is returned.
    pub fn delete(&self, now: Now, dir_name: &str) -> Result<logrun_log::Removals, LogError> {
        let mut state = self.state.lock();
        state.on(now, Event::Deleted, self);
        state.log.delete(dir_name)
    }

    /// The directory has failed: whoever waits is told, and nothing is done any more.
    pub fn directory_failed(&self) {
        let mut state = self.state.lock();
        state.log.take_offline();
        state.commits.fail(NotReplicated::Storage);
        state.durables.fail(NotReplicated::Storage);
        state.waiters.wake();
    }

    /// Closes the log cleanly, but for the sync, which is one for all logs of a directory.
    pub fn close(&self) -> Result<(), LogError> {
        self.state.lock().log.close_unsynced()
    }

    /// The directory of the closed log is on the device.
    pub fn synced_after_close(&self) {
        self.state.lock().log.synced_after_close();
    }

    /// Logs a failure of the disk and turns it into what a client is told.
    pub(crate) fn storage_failed(&self, e: LogError) -> Failure {
        self.storage_failed_in(&self.directory(), e)
    }

    /// As [`Self::storage_failed`], where the log has lain in `directory`.
    fn storage_failed_in(&self, directory: &Directory, e: LogError) -> Failure {
        match &e {
            LogError::Io { .. } => error!(partition = %self.name, "storage failed: {e}"),
            // Whoever reads there asks again and again.
            LogError::Corrupt { .. } if self.corrupt.lock().replace(e.to_string()) == Some(e.to_string()) => {}
            LogError::Corrupt { .. } => error!(partition = %self.name, "{e}; it is not served"),
            _ => {}
        }
        directory.saw(&e);
        Failure::from(e)
    }
}

impl State {
    /// Hands `event` to the core and does what it says.
    pub fn on(&mut self, now: Now, event: Event, partition: &Partition) {
        let mut effects = std::mem::take(&mut self.effects);
        self.replica.on(now, event, &mut effects);
        for effect in effects.drain(..) {
            self.perform(now, effect, partition);
        }
        self.effects = effects;
    }

    fn perform(&mut self, now: Now, effect: Effect, partition: &Partition) {
        match effect {
            Effect::FailWaiting(reason) => {
                self.commits.fail(match reason {
                    FailReason::NotLeaderOrFollower | FailReason::Deleted => NotReplicated::NotLeader,
                });
                self.waiters.wake();
            }
            Effect::AssignLeaderEpoch { leader_epoch, start_offset } => {
                self.log.assign_epoch_start(leader_epoch, start_offset);
            }
            Effect::HighWatermarkMoved(high_watermark) => {
                self.log.producers_mut().on_high_watermark_updated(high_watermark);
                self.commits.reached(high_watermark);
                self.waiters.wake();
                let first_unstable_offset = self.log.producers().first_unstable_offset();
                self.on(now, Event::FirstUnstableMoved { first_unstable_offset }, partition);
            }
            Effect::LastStableOffsetMoved(_) | Effect::LogStartMoved(_) | Effect::LowWatermarkMoved(_) => {
                self.waiters.wake();
            }
            Effect::LogEndMoved(_) if !self.replica.followers().is_empty() => self.waiters.wake(),
            Effect::LogEndMoved(_) => {}
            Effect::FollowLeader { leader, .. } => {
                error!(partition = %partition.name, %leader, "another broker leads; replication is not built yet");
            }
            Effect::ProposeIsr { .. } => {
                error!(partition = %partition.name, "the in-sync set would change; replication is not built yet");
            }
        }
    }

    pub fn watch(&mut self, waiter: &Arc<Waiter>) {
        self.waiters.register(waiter);
    }

    /// More of the log may be durable now.
    pub(super) fn durable_moved(&mut self, now: Now, partition: &Partition) {
        let log_end_offset = self.promises.durable_offset();
        self.durables.reached(log_end_offset);
        self.on(now, Event::Durable { log_end_offset }, partition);
    }

    /// A completion for when what ends at `required` may be acknowledged; `None` if it may be now, or never is.
    fn acknowledged(&mut self, acks: Acks, required: Offset) -> Option<oneshot::Receiver<Result<(), NotReplicated>>> {
        let (reached, waiting) = match acks {
            Acks::None => return None,
            Acks::Leader => (self.promises.durable_offset(), &mut self.durables),
            Acks::All => (self.replica.fetch_offsets().high_watermark, &mut self.commits),
        };
        (reached < required).then(|| waiting.register(required))
    }
}
