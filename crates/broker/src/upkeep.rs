//! What a broker does by itself, again and again: retention, flushes, checkpoints, heartbeats, stop.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use logrun_controller::{Command, Reply};
use logrun_io::TaskHandle;
use logrun_log::DirsError;
use logrun_metadata::MetadataImage;
use logrun_model::{Offset, TopicIdPartition, TopicPartition};
use logrun_wire::ErrorCode;
use logrun_wire::messages::BrokerHeartbeatRequest;
use parking_lot::Mutex;
use rustc_hash::FxHasher;
use tracing::{error, info, warn};

use crate::Broker;
use crate::controller::refused;
use crate::errors::Failure;
use crate::logs::Checkpointed;
use crate::partitions::{AtRest, Known, Partition};

/// How often it is looked for deleted files whose delay is over: what compaction and retention free is free soon after.
const REMOVALS: Duration = Duration::from_secs(10);
/// How many logs are closed at a time.
const CLOSERS: usize = 16;

/// What the controller says to a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulse {
    /// Whether the broker is fenced.
    pub fenced: bool,
    /// Whether nothing depends on it any more, so that it may end.
    pub may_stop: bool,
}

impl Broker {
    /// Begins the recurring work; aborting the tasks ends it. `metadata_dir` is where the metadata log lies.
    pub fn start_upkeep(self: &Arc<Self>, metadata_dir: PathBuf) -> Vec<TaskHandle<()>> {
        let config = self.config();
        let ms = |v: i64| Duration::from_millis(v.max(1) as u64);
        let logs = &config.logs;
        let retention = logs.retention_check_interval_ms;
        let checkpoint = i64::from(logs.flush_offset_checkpoint_interval_ms)
            .min(i64::from(logs.flush_start_offset_checkpoint_interval_ms))
            .min(logs.high_watermark_checkpoint_interval_ms);
        let idle = i64::from(config.metadata_log.max_idle_interval_ms);
        // `flush.ms` is rarely set, and nothing is due sooner than a second then.
        let flush = logs.flush_scheduler_interval_ms.clamp(1, 1_000);
        let recovering = self.clone();
        let mut tasks = vec![
            self.io().tasks.spawn(async move { recovering.recover_unclean().await }),
            self.every(ms(retention), |b| b.clean_up()),
            self.every(REMOVALS, |b| b.remove_files()),
            self.every(ms(flush), |b| b.flush_due()),
            self.every(ms(logs.partition_idle_close_ms.clamp(2, 60_000) / 2), |b| b.close_unused()),
            self.every(ms(checkpoint), |b| {
                b.checkpoint();
            }),
            self.every(ms(10_000), |b| b.snapshot_metadata()),
            self.watch_directories(metadata_dir),
        ];
        tasks.extend(self.start_cleaner());
        if let Some(local) = self.controller().local() {
            tasks.push(local.watch_sessions());
            if idle > 0 {
                tasks.push(self.show_quorum_lives(ms(idle)));
            }
        }
        if self.hosts_partitions() {
            tasks.push(self.heartbeats(ms(i64::from(config.lifecycle.heartbeat_interval_ms))));
        }
        tasks
    }

    /// Runs `work`, which may wait for the disk, once in `interval`.
    fn every(
        self: &Arc<Self>,
        interval: Duration,
        work: impl Fn(&Arc<Self>) + Send + Sync + 'static,
    ) -> TaskHandle<()> {
        let broker = self.clone();
        let work = Arc::new(work);
        self.io().tasks.spawn(async move {
            loop {
                broker.io().clock.sleep(interval).await;
                let (broker, work) = (broker.clone(), work.clone());
                let tasks = broker.io().tasks;
                tasks.blocking(move || work(&broker)).await;
            }
        })
    }

    fn clean_up(self: &Arc<Self>) {
        let now = self.now();
        for partition in self.partitions().all_online() {
            if let Err(e) = partition.clean_up(now) {
                partition.directory().saw(&e);
                error!(partition = %partition.name, "old segments can't be deleted: {e}");
            }
        }
        // What is not clean is visited by the recovery, and looked at the next time.
        let due = |rest: &AtRest| rest.on_disk && rest.clean && rest.retained_until <= now.wall;
        for id in self.partitions().closed_where(due) {
            if self.is_closing() {
                return;
            }
            self.visit(id, |partition| partition.clean_up(now));
        }
    }

    fn remove_files(&self) {
        let now = self.now();
        for partition in self.partitions().all_online() {
            if let Err(e) = partition.remove_due_files(now) {
                partition.directory().saw(&e);
                error!(partition = %partition.name, "files of deleted segments can't be removed: {e}");
            }
        }
        self.logs().remove_deleted(now);
    }

    fn flush_due(&self) {
        let now = self.now();
        for partition in self.partitions().all_online() {
            if partition.is_flush_due(now)
                && let Err(e) = partition.flush()
            {
                error!(partition = %partition.name, "a flush failed: {e}");
            }
        }
    }

    fn snapshot_metadata(&self) {
        let image: Arc<MetadataImage> = self.image();
        if let Err(e) = self.controller().maybe_snapshot(&image) {
            error!("a snapshot of the metadata can't be written: {e}");
        }
    }

    /// Writes the checkpoint files, if they lack anything, and says whether they lack nothing now; a failure is logged.
    /// Waits for the disk.
    pub fn checkpoint(&self) -> bool {
        let written = self.write_checkpoints(false);
        if let Err(e) = &written {
            error!("the checkpoints can't be written: {e}");
        }
        written.is_ok()
    }

    fn write_checkpoints(&self, last: bool) -> Result<(), DirsError> {
        let (start, point) = self.controller().checkpoints();
        let mut known = self.checkpointed().lock();
        let state = self.checkpoint_state(start, point);
        if *known == Some(state) && !last {
            return Ok(());
        }
        let image = self.image();
        let all = self.partitions().all().into_iter().filter_map(|(id, known)| {
            let rest = match known {
                Known::Online(partition) => partition.at_rest(),
                Known::AtRest(rest) => rest,
            };
            // What is just being deleted has no name any more.
            let name = image.topics.name_of(id.topic_id)?;
            Some(Checkpointed {
                id,
                name: TopicPartition::new(name.clone(), id.partition),
                log_start_offset: rest.log_start_offset,
                recovery_point: rest.recovery_point,
                high_watermark: rest.high_watermark,
                first_dirty: rest.first_dirty,
            })
        });
        let all: Vec<_> = all.collect();
        self.logs().write_checkpoints(&all, Some((&self.config().metadata_log_dir, start, point)), last)?;
        *known = Some(state);
        Ok(())
    }

    /// Stands for everything that the checkpoints say: as long as it is the same, so are they.
    fn checkpoint_state(&self, metadata_start: Offset, metadata_point: Offset) -> u64 {
        let mut hasher = FxHasher::default();
        (self.partitions().changes(), metadata_start, metadata_point).hash(&mut hasher);
        for partition in self.partitions().all_online() {
            let rest = partition.at_rest();
            (rest.log_start_offset, rest.recovery_point, rest.high_watermark, rest.first_dirty).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Shows that the quorum lives, by a record now and then.
    fn show_quorum_lives(self: &Arc<Self>, idle: Duration) -> TaskHandle<()> {
        let broker = self.clone();
        self.io().tasks.spawn(async move {
            let (mut seen, mut refused) = (broker.image().provenance.offset, false);
            loop {
                broker.io().clock.sleep(idle).await;
                if broker.image().provenance.offset == seen {
                    // Said once: on a full disk this goes on for as long as people need.
                    let done = broker.controller().submit(Command::NoOp).await;
                    match (&done, refused) {
                        (Err(f), false) => warn!("the metadata log takes no records for now: {}", f.code),
                        (Ok(_), true) => info!("the metadata log takes records again"),
                        _ => {}
                    }
                    refused = done.is_err();
                }
                seen = broker.image().provenance.offset;
            }
        })
    }

    /// Shows the controller that this broker lives. One that was fenced, because it was not heard of for long, is unfenced
    /// by this as well.
    fn heartbeats(self: &Arc<Self>, interval: Duration) -> TaskHandle<()> {
        let broker = self.clone();
        self.io().tasks.spawn(async move {
            let mut fenced = false;
            loop {
                broker.io().clock.sleep(interval).await;
                match broker.heartbeat(false).await {
                    Ok(pulse) => {
                        if pulse.fenced && !fenced {
                            warn!("the controller has fenced this broker; it goes on asking to be let in again");
                        } else if !pulse.fenced && fenced {
                            info!("the controller has let this broker in again");
                        }
                        fenced = pulse.fenced;
                    }
                    Err(f) => warn!("a heartbeat was not taken: {}", f.code),
                }
            }
        })
    }

    /// Tells the controller that this broker lives and how far it has come; `shut_down` asks to be let go.
    pub async fn heartbeat(&self, shut_down: bool) -> Result<Pulse, Failure> {
        let request = BrokerHeartbeatRequest {
            broker_id: self.node_id().get(),
            broker_epoch: self.epoch().get(),
            current_metadata_offset: self.image().provenance.offset.get(),
            want_fence: false,
            want_shut_down: shut_down,
            offline_log_dirs: self.logs().failed_directories().iter().map(|d| d.id).collect(),
            ..Default::default()
        };
        match self.controller().submit(Command::BrokerHeartbeat { request, others_caught_up: true }).await? {
            Reply::BrokerHeartbeat(r) if r.error_code == ErrorCode::None.code() => {
                Ok(Pulse { fenced: r.is_fenced, may_stop: r.should_shut_down })
            }
            Reply::BrokerHeartbeat(r) => {
                Err(Failure::of(ErrorCode::from_code(r.error_code).unwrap_or(ErrorCode::UnknownServerError)))
            }
            other => Err(refused(other)),
        }
    }

    /// Asks the controller to let this broker go (KIP-631's controlled shutdown): its leaderships end before it does. Asks
    /// again, every `interval`, until it may.
    pub async fn leave(&self, interval: Duration) -> Result<(), Failure> {
        while !self.heartbeat(true).await?.may_stop {
            self.io().clock.sleep(interval).await;
        }
        Ok(())
    }

    /// Ends the groups and closes every log cleanly; writes the checkpoints. What fails is logged, and then the
    /// directories are not marked as cleanly shut down.
    pub async fn close(self: &Arc<Self>) {
        self.set_closing();
        self.groups().stop();
        self.moves().leave().await;
        let partitions = self.partitions().all_online();
        let count = partitions.len();
        // Side by side, because each writes some small files.
        let queue = Arc::new(Mutex::new(partitions));
        let closers = (0..CLOSERS.min(count)).map(|_| {
            let (broker, queue) = (self.clone(), queue.clone());
            self.io().tasks.blocking(move || broker.close_partitions(&queue))
        });
        let closed = join_all(closers).await.concat();
        let broker = self.clone();
        self.io().tasks.blocking(move || broker.close_directories(&closed)).await;
    }

    /// Returns those that could be closed.
    fn close_partitions(&self, queue: &Mutex<Vec<Arc<Partition>>>) -> Vec<TopicIdPartition> {
        let mut closed = Vec::new();
        loop {
            let Some(partition) = queue.lock().pop() else { return closed };
            match partition.close() {
                Ok(()) => closed.push(partition.id),
                Err(e) => error!(partition = %partition.name, "the log can't be closed: {e}"),
            }
        }
    }

    fn close_directories(&self, closed: &[TopicIdPartition]) {
        let mut clean = true;
        if let Err(e) = self.controller().close() {
            error!("the metadata log can't be closed: {e}");
            clean = false;
        }
        match self.logs().sync_all() {
            Ok(()) => {
                let synced = closed.iter().filter_map(|id| self.partitions().online(*id));
                synced.for_each(|p| p.synced_after_close());
            }
            Err(e) => {
                error!("the logs can't be brought to the device: {e}");
                clean = false;
            }
        }
        // Nothing may vouch for a log that was not closed, or that nobody has checked since the last crash.
        let closed: BTreeSet<_> = closed.iter().copied().collect();
        let unclean = self.partitions().all().into_iter().filter_map(|(id, known)| match known {
            Known::Online(_) => (!closed.contains(&id)).then_some(id),
            Known::AtRest(rest) => (rest.on_disk && !rest.clean).then_some(id),
        });
        let unclean: Vec<_> = unclean.collect();
        let written = self
            .write_checkpoints(true)
            .and_then(|()| if clean { self.logs().write_clean_shutdown(self.epoch(), &unclean) } else { Ok(()) });
        match written {
            Ok(()) => info!(partitions = closed.len(), unchecked = unclean.len(), "closed"),
            Err(e) => error!("the checkpoints can't be written: {e}"),
        }
    }
}
