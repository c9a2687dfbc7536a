//! What a broker does by itself, again and again: retention, flushes, checkpoints, heartbeats, stop.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use logrun_controller::{Command, Reply};
use logrun_io::TaskHandle;
use logrun_log::DirsError;
use logrun_metadata::MetadataImage;
use logrun_wire::ErrorCode;
use logrun_wire::messages::BrokerHeartbeatRequest;
use parking_lot::Mutex;
use tracing::{error, info, warn};

use crate::Broker;
use crate::controller::refused;
use crate::errors::Failure;
use crate::partitions::Partition;

/// How many logs are closed at a time.
const CLOSERS: usize = 16;

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
        let watched = metadata_dir.clone();
        let mut tasks = vec![
            self.every(ms(retention), |b| b.clean_up()),
            self.every(ms(flush), |b| b.flush_due()),
            self.every(ms(checkpoint), move |b| {
                if let Err(e) = b.checkpoint(&metadata_dir) {
                    error!("the checkpoints can't be written: {e}");
                }
            }),
            self.every(ms(10_000), |b| b.snapshot_metadata()),
            self.watch_directories(watched),
        ];
        tasks.extend(self.start_cleaner());
        if idle > 0 {
            tasks.push(self.heartbeats(ms(idle), ms(i64::from(config.lifecycle.heartbeat_interval_ms))));
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

    fn clean_up(&self) {
        let now = self.now();
        for partition in self.partitions().all_online() {
            if let Err(e) = partition.clean_up(now) {
                partition.directory().saw(&e);
                error!(partition = %partition.name, "old segments can't be deleted: {e}");
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
                partition.directory().saw(&e);
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

    /// Writes the checkpoint files. Waits for the disk.
    pub fn checkpoint(&self, metadata_dir: &PathBuf) -> Result<(), DirsError> {
        let (start, point) = self.controller().checkpoints();
        self.logs().write_checkpoints(&self.partitions().all_online(), Some((metadata_dir, start, point)))
    }

    /// Shows that the quorum lives, by a record now and then, and that this broker does.
    fn heartbeats(self: &Arc<Self>, idle: Duration, heartbeat: Duration) -> TaskHandle<()> {
        let broker = self.clone();
        self.io().tasks.spawn(async move {
            let mut next_heartbeat = broker.io().clock.now().plus(heartbeat);
            let mut seen = broker.image().provenance.offset;
            loop {
                broker.io().clock.sleep(idle).await;
                if broker.image().provenance.offset == seen
                    && let Err(f) = broker.controller().submit(Command::NoOp).await
                {
                    warn!("the metadata log takes no records: {}", f.code);
                }
                seen = broker.image().provenance.offset;
                if broker.hosts_partitions() && broker.io().clock.now() >= next_heartbeat {
                    if let Err(f) = broker.heartbeat(false).await {
                        warn!("a heartbeat was refused: {}", f.code);
                    }
                    next_heartbeat = broker.io().clock.now().plus(heartbeat);
                }
            }
        })
    }

    /// Tells the controller that this broker lives and how far it has come; `shut_down` asks to be let go. Returns
    /// whether the broker is unfenced.
    pub async fn heartbeat(&self, shut_down: bool) -> Result<bool, Failure> {
        let request = BrokerHeartbeatRequest {
            broker_id: self.node_id().get(),
            broker_epoch: self.epoch().get(),
            current_metadata_offset: self.image().provenance.offset.get(),
            want_fence: false,
            want_shut_down: shut_down,
            offline_log_dirs: self.logs().failed_directories().iter().map(|d| d.id).collect(),
            ..Default::default()
        };
        match self.controller().submit(Command::BrokerHeartbeat { request, lowest_active_offset: None }).await? {
            Reply::BrokerHeartbeat(r) if r.error_code == ErrorCode::None.code() => Ok(!r.is_fenced),
            Reply::BrokerHeartbeat(r) => {
                Err(Failure::of(ErrorCode::from_code(r.error_code).unwrap_or(ErrorCode::UnknownServerError)))
            }
            other => Err(refused(other)),
        }
    }

    /// Ends the groups and closes every log cleanly; writes the checkpoints. What fails is logged, and then the
    /// directories are not marked as cleanly shut down.
    pub async fn close(self: &Arc<Self>, metadata_dir: PathBuf) {
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
        let closed = join_all(closers).await;
        let broker = self.clone();
        let all_closed = closed.into_iter().all(|ok| ok);
        self.io().tasks.blocking(move || broker.close_directories(&metadata_dir, all_closed, count)).await;
    }

    fn close_partitions(&self, queue: &Mutex<Vec<Arc<Partition>>>) -> bool {
        let mut clean = true;
        loop {
            let Some(partition) = queue.lock().pop() else { return clean };
            if let Err(e) = partition.close() {
                error!(partition = %partition.name, "the log can't be closed: {e}");
                clean = false;
            }
        }
    }

    fn close_directories(&self, metadata_dir: &PathBuf, mut clean: bool, partitions: usize) {
        if let Err(e) = self.controller().close() {
            error!("the metadata log can't be closed: {e}");
            clean = false;
        }
        match self.logs().sync_all() {
            Ok(()) if clean => self.partitions().all_online().iter().for_each(|p| p.synced_after_close()),
            Ok(()) => {}
            Err(e) => {
                error!("the logs can't be brought to the device: {e}");
                clean = false;
            }
        }
        let written = self
            .checkpoint(metadata_dir)
            .and_then(|()| if clean { self.logs().write_clean_shutdown(self.epoch()) } else { Ok(()) });
        match written {
            Ok(()) => info!(partitions, "closed"),
            Err(e) => error!("the checkpoints can't be written: {e}"),
        }
    }
}
