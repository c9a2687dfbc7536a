//! Moves of partitions between the log directories of this broker (KIP-113, AlterReplicaLogDirs).
//!
//! Kafka's counterpart is `ReplicaAlterLogDirsThread`. A move copies the current log into a future log in the other
//! directory while the current one is read and written, and puts it in its place when it is level (see
//! `crates/log/src/future.rs`). Only then is the controller told of the directory (AssignReplicasToDirs, KIP-858): what
//! the metadata names is never a copy that lacks something.
//!
//! | what happens | what becomes of the future log |
//! |---|---|
//! | it is level | it is the partition's log |
//! | the partition is to go elsewhere, or to stay; its topic is deleted; a batch can't be copied | it is deleted |
//! | the other directory is full | it waits for room |
//! | the node stops; one of the directories fails | it stays as it is; the next start goes on with it |
//!
//! All moves together keep to `replica.alter.log.dirs.io.max.bytes.per.second`. Must never hold the partition's lock but
//! for the last step.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use logrun_log::{DirKind, Log, LogError, OpenState, Removals, dir_name};
use logrun_model::{Now, Offset, TopicIdPartition, Uuid};
use logrun_wire::ErrorCode;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tracing::{error, info, warn};

use crate::Broker;
use crate::directories::Directory;
use crate::handlers::find_topic;
use crate::logs::FutureDir;
use crate::partitions::Partition;
use crate::publish::tell_directories;
use crate::throttle::Throttle;

/// How much is copied at a time.
const CHUNK_BYTES: usize = 1 << 20;
/// How long a move waits that can't go on now.
const WAIT: Duration = Duration::from_secs(1);

/// What a move is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    GoOn,
    /// End, and delete the future log.
    Cancel,
    /// End, and leave the future log to the next start.
    Leave,
}

/// A partition on its way to another directory.
#[derive(Debug)]
pub struct Move {
    pub partition: Arc<Partition>,
    pub to: Arc<Directory>,
    order: AtomicU8,
    ordered: Notify,
    log_end_offset: AtomicI64,
    size: AtomicU64,
}

/// The moves of this broker.
#[derive(Debug)]
pub struct Moves {
    moves: Mutex<BTreeMap<TopicIdPartition, Arc<Move>>>,
    at_a_time: Semaphore,
    throttle: Throttle,
    ended: Notify,
}

/// What came of one step of a move.
enum Step {
    /// So many bytes were copied.
    Copied(Box<Log>, usize),
    /// Nothing to do for the moment.
    Wait(Box<Log>),
    Replaced,
}

/// What came of copying a chunk.
enum Copied {
    Some {
        bytes: usize,
    },
    /// The future log is level.
    All {
        bytes: usize,
    },
    NoRoom,
}

/// A move that can't go on, and its future log.
struct Stopped {
    future: Option<Box<Log>>,
    error: LogError,
}

impl Move {
    fn order(&self) -> Order {
        match self.order.load(Ordering::Acquire) {
            0 => Order::GoOn,
            1 => Order::Cancel,
            _ => Order::Leave,
        }
    }

    /// The first order stands.
    fn give_order(&self, order: Order) {
        let _ = self.order.compare_exchange(0, order as u8, Ordering::AcqRel, Ordering::Acquire);
        self.ordered.notify_one();
    }

    /// How many bytes of batches the future log holds.
    pub fn size(&self) -> u64 {
        self.size.load(Ordering::Relaxed)
    }

    /// How many offsets the future log lies behind the current one.
    pub fn offset_lag(&self) -> i64 {
        let end = Offset(self.log_end_offset.load(Ordering::Relaxed));
        self.partition.log_end_offset().distance_from(end).max(0)
    }

    fn note(&self, future: &Log) {
        self.log_end_offset.store(future.log_end_offset().get(), Ordering::Relaxed);
        self.size.store(future.size(), Ordering::Relaxed);
    }
}

impl Moves {
    /// `at_a_time`: how many are under way at most; others wait for their turn.
    pub fn new(at_a_time: usize) -> Self {
        let at_a_time = Semaphore::new(at_a_time.max(1));
        Self { moves: Mutex::default(), at_a_time, throttle: Throttle::default(), ended: Notify::new() }
    }

    /// All that are under way.
    pub fn all(&self) -> Vec<Arc<Move>> {
        self.moves.lock().values().cloned().collect()
    }

    /// Ends the move of a partition, if there is one, and deletes its future log.
    pub fn cancel(&self, id: TopicIdPartition) {
        if let Some(m) = self.moves.lock().remove(&id) {
            m.give_order(Order::Cancel);
        }
    }

    /// Ends all moves and leaves them to the next start.
    pub async fn leave(&self) {
        loop {
            let ended = self.ended.notified();
            {
                let moves = self.moves.lock();
                if moves.is_empty() {
                    return;
                }
                moves.values().for_each(|m| m.give_order(Order::Leave));
            }
            ended.await;
        }
    }
}

/// Moves `partition` to `to`: begins, goes on, or, if it lies there already, ends a move to elsewhere.
pub fn alter(broker: &Arc<Broker>, partition: Arc<Partition>, to: Arc<Directory>) {
    begin(broker, partition, to, None);
}

/// Goes on with the future logs that the process before has left. What is of no topic any more, or lies beside its
/// current log, goes; what belongs to a partition that is offline stays.
pub async fn resume(broker: &Arc<Broker>) {
    let image = broker.image();
    for FutureDir { name, directory, path } in broker.logs().take_futures() {
        let found = find_topic(&image, false, &name.topic, Uuid::ZERO);
        let partition = match found {
            Ok(topic) => broker.partition(&topic, name.partition).await.map_err(|f| f.code),
            Err(f) => Err(f.code),
        };
        match partition {
            Ok(partition) if partition.directory().id != directory.id => {
                begin(broker, partition, directory, Some(path))
            }
            Err(ErrorCode::KafkaStorageError) => warn!("{} waits for {name}, which is offline", path.display()),
            Ok(_) | Err(_) => {
                info!("{} is of no use any more and is removed", path.display());
                let removals = Removals::of_dir(broker.io().disk.clone(), path);
                if let Err(e) = broker.io().tasks.blocking(move || removals.run()).await {
                    directory.saw(&e);
                    warn!("a future log can't be removed: {e}");
                }
            }
        }
    }
}

fn begin(broker: &Arc<Broker>, partition: Arc<Partition>, to: Arc<Directory>, found: Option<PathBuf>) {
    let moves = broker.moves();
    let id = partition.id;
    let this = {
        let mut under_way = moves.moves.lock();
        if let Some(m) = under_way.get(&id) {
            if m.to.id == to.id {
                return;
            }
            m.give_order(Order::Cancel);
            under_way.remove(&id);
        }
        if partition.directory().id == to.id {
            return;
        }
        let this = Arc::new(Move {
            partition,
            to,
            order: AtomicU8::new(0),
            ordered: Notify::new(),
            log_end_offset: AtomicI64::new(0),
            size: AtomicU64::new(0),
        });
        under_way.insert(id, this.clone());
        this
    };
    let broker = broker.clone();
    let tasks = broker.io().tasks;
    tasks.spawn(async move {
        run(&broker, &this, found).await;
        let mut under_way = broker.moves().moves.lock();
        if under_way.get(&id).is_some_and(|m| Arc::ptr_eq(m, &this)) {
            under_way.remove(&id);
        }
        drop(under_way);
        broker.moves().ended.notify_waiters();
    });
}

async fn run(broker: &Arc<Broker>, this: &Arc<Move>, found: Option<PathBuf>) {
    let turn = tokio::select! {
        biased;
        () = this.ordered.notified() => None,
        turn = broker.moves().at_a_time.acquire() => turn.ok(),
    };
    let name = &this.partition.name;
    if turn.is_some() {
        info!(partition = %name, "moving from {} to {}", this.partition.directory().path.display(), this.to.path.display());
    } else if found.is_none() {
        return;
    }
    let mut future = match blocking(broker, this, |broker, this| open(&broker, &this, found)).await {
        Ok(future) => future,
        Err(stopped) => return end(broker, this, stopped).await,
    };
    let stopped = loop {
        if this.order() != Order::GoOn {
            break Stopped { future: Some(future), error: LogError::Truncated };
        }
        match blocking(broker, this, |broker, this| step(&broker, &this, future)).await {
            Ok(Step::Copied(log, bytes)) => {
                future = log;
                tokio::select! {
                    biased;
                    () = broker.moves().throttle.pass(&broker.io().clock, bytes, || rate(broker)) => {}
                    () = this.ordered.notified() => {}
                }
            }
            Ok(Step::Wait(log)) => {
                future = log;
                tokio::select! {
                    biased;
                    () = this.ordered.notified() => {}
                    () = broker.io().clock.sleep(WAIT) => {}
                }
            }
            Ok(Step::Replaced) => {
                info!(partition = %name, "moved to {}", this.to.path.display());
                return tell_directories(broker, vec![(this.partition.id, this.to.id)]);
            }
            Err(stopped) => break stopped,
        }
    };
    end(broker, this, stopped).await;
}

async fn blocking<T: Send + 'static>(
    broker: &Arc<Broker>,
    this: &Arc<Move>,
    work: impl FnOnce(Arc<Broker>, Arc<Move>) -> T + Send + 'static,
) -> T {
    let (at_work, this) = (broker.clone(), this.clone());
    broker.io().tasks.blocking(move || work(at_work, this)).await
}

/// Opens the future log: the one that was found, or a new one.
fn open(broker: &Broker, this: &Move, found: Option<PathBuf>) -> Result<Box<Log>, Stopped> {
    let partition = &this.partition;
    let now = broker.now();
    let is_found = found.is_some();
    let path = found
        .unwrap_or_else(|| this.to.path.join(dir_name(&partition.name, DirKind::Future, broker.io().random.uuid())));
    let config = partition.settings().log.clone();
    // Nothing vouches for what was found: it is checked from its beginning.
    let opened = broker.logs().open_future(&path, config, OpenState::NEW, now);
    let mut future = opened.map(Box::new).map_err(|error| Stopped { future: None, error })?;
    let ready = if is_found {
        partition.cut_future(&mut future, now)
    } else {
        let start = partition.offsets().log_start_offset;
        future.set_topic_id(partition.id.topic_id).and_then(|()| future.truncate_fully_and_start_at(start, now))
    };
    match ready {
        Ok(()) if future.topic_id() != Some(partition.id.topic_id) => {
            // It was of another topic of this name, and is of no use to anybody.
            this.give_order(Order::Cancel);
            Err(Stopped { future: Some(future), error: LogError::Truncated })
        }
        Ok(()) => {
            this.note(&future);
            Ok(future)
        }
        Err(error) => Err(Stopped { future: Some(future), error }),
    }
}

/// Copies a chunk; what is level takes the partition's place.
fn step(broker: &Broker, this: &Move, mut future: Box<Log>) -> Result<Step, Stopped> {
    let now = broker.now();
    let partition = &this.partition;
    let max_bytes = broker.moves().throttle.step_bytes(rate(broker), CHUNK_BYTES);
    let copied = match copy(this, &mut future, max_bytes, now) {
        Ok(Copied::NoRoom) => return Ok(Step::Wait(future)),
        Err(e) if e.is_retriable() => return Ok(Step::Wait(future)),
        Ok(Copied::Some { bytes }) => return Ok(Step::Copied(future, bytes)),
        Ok(Copied::All { bytes }) => bytes,
        Err(error) => return Err(Stopped { future: Some(future), error }),
    };
    // What has come in meanwhile is little; so is then what is left to do with the partition's lock held.
    let flushed = future.flush(now).and_then(|()| copy(this, &mut future, CHUNK_BYTES, now));
    match flushed {
        Ok(_) => {}
        Err(e) if e.is_retriable() => return Ok(Step::Wait(future)),
        Err(error) => return Err(Stopped { future: Some(future), error }),
    }
    if this.order() != Order::GoOn {
        return Ok(Step::Copied(future, copied));
    }
    // A round that ends now would speak of another log than it has read.
    if !broker.cleaner().hold_off(partition.id) {
        return Ok(Step::Wait(future));
    }
    let old_name = dir_name(&partition.name, DirKind::Delete, broker.io().random.uuid());
    let replaced = partition.replace_log(now, *future, this.to.clone(), &old_name);
    broker.cleaner().let_go(partition.id);
    match replaced {
        Ok(removals) => {
            broker.logs().moved(partition, &this.to, removals, now);
            Ok(Step::Replaced)
        }
        // Somebody has written a gap and nothing behind it yet.
        Err(e) if matches!(e.error, LogError::UnexpectedAppendOffset { .. }) => Ok(Step::Wait(Box::new(e.future))),
        Err(e) if e.error.is_retriable() => Ok(Step::Wait(Box::new(e.future))),
        Err(e) => Err(Stopped { future: Some(Box::new(e.future)), error: e.error }),
    }
}

/// How many bytes all moves together may copy in a second.
fn rate(broker: &Broker) -> f64 {
    broker.config().alter_log_dirs_bytes_per_second() as f64
}

fn copy(this: &Move, future: &mut Log, max_bytes: usize, now: Now) -> Result<Copied, LogError> {
    let (read, log_end_offset) = this.partition.read_for_future(future.log_end_offset(), max_bytes)?;
    if read.bytes > 0 {
        // The reserve is for what the node needs, which this is not.
        if this.to.take_room(read.bytes).is_err() {
            return Ok(Copied::NoRoom);
        }
        future.append_copied(&read, now).inspect_err(|e| this.to.saw(e))?;
        this.note(future);
    }
    let level = read.bytes == 0 || future.log_end_offset() >= log_end_offset;
    let bytes = read.bytes;
    Ok(if level { Copied::All { bytes } } else { Copied::Some { bytes } })
}

/// The move does not go on: the future log goes, or is left to the next start.
async fn end(broker: &Arc<Broker>, this: &Arc<Move>, stopped: Stopped) {
    let Stopped { future, error } = stopped;
    let name = this.partition.name.clone();
    let order = this.order();
    let failed = !this.to.is_online() || !this.partition.directory().is_online();
    match order {
        Order::Cancel => info!(partition = %name, "the move to {} has been given up", this.to.path.display()),
        Order::Leave => info!(partition = %name, "the next start goes on moving to {}", this.to.path.display()),
        Order::GoOn if matches!(error, LogError::Offline { .. }) => {}
        Order::GoOn => {
            this.to.saw(&error);
            error!(partition = %name, "the move to {} has failed: {error}", this.to.path.display());
        }
    }
    let Some(mut future) = future else { return };
    let delete = match order {
        Order::Cancel => true,
        Order::Leave => false,
        // A log that is offline although its directory works is one that is being closed or deleted.
        Order::GoOn => !failed && this.to.is_online() && !matches!(error, LogError::Offline { .. }),
    };
    blocking(broker, this, move |broker, this| {
        let done = if delete {
            let name = dir_name(&this.partition.name, DirKind::Delete, broker.io().random.uuid());
            future.delete(&name).and_then(|removals| removals.run())
        } else if this.to.is_online() {
            future.close(broker.now())
        } else {
            Ok(())
        };
        if let Err(e) = done {
            this.to.saw(&e);
            warn!(partition = %this.partition.name, "a future log can't be put away: {e}");
        }
    })
    .await;
}
