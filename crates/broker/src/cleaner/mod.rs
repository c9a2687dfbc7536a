//! Which log is compacted when, at what rate, within what memory (Kafka's `LogCleaner` and `LogCleanerManager`).
//!
//! `log.cleaner.threads` workers each take the log of which the largest share is new, do a round over it in steps, and
//! rest for `log.cleaner.backoff.ms` when nothing is due. A log that can't be read is told and left alone until the
//! next start. [`demand`] is compaction on request. Nothing is decided here of what stays in a log.

mod demand;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use logrun_io::TaskHandle;
use logrun_log::{Compaction, CompactionLimits, CompactionReport, LogError, Step};
use logrun_model::{Now, TimestampMs, TopicId, TopicIdPartition};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::{error, info, warn};

use crate::Broker;
use crate::partitions::Partition;
use crate::throttle::Throttle;
use demand::Demands;

/// `log.cleaner.threads` may change while the node runs, up to this.
const WORKERS_MAX: usize = 64;
/// How often a worker beyond `log.cleaner.threads` looks whether there are more now.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// How much is read and written between two looks at the rate.
const STEP_BYTES: usize = 4 << 20;
/// The least memory that a round gets, whatever is configured.
const IO_BUFFER_BYTES_MIN: usize = 4 << 10;

/// What all workers share.
#[derive(Debug)]
pub struct Cleaner {
    state: Mutex<State>,
    throttle: Throttle,
    wake: Notify,
}

#[derive(Debug)]
struct State {
    busy: BTreeSet<TopicIdPartition>,
    /// Logs that could not be compacted.
    uncleanable: BTreeSet<TopicIdPartition>,
    demands: Demands,
}

/// A log that a worker has taken.
struct Taken {
    partition: Arc<Partition>,
    round: Compaction,
}

impl Cleaner {
    /// Of a broker that started at `started`.
    pub fn new(started: TimestampMs) -> Self {
        let state = State { busy: BTreeSet::new(), uncleanable: BTreeSet::new(), demands: Demands::new(started) };
        Self { state: Mutex::new(state), throttle: Throttle::default(), wake: Notify::new() }
    }

    /// Keeps the workers off a log until [`Self::let_go`]; false if one is at it.
    pub fn hold_off(&self, id: TopicIdPartition) -> bool {
        self.state.lock().busy.insert(id)
    }

    /// The workers may compact the log again.
    pub fn let_go(&self, id: TopicIdPartition) {
        self.state.lock().busy.remove(&id);
    }

    /// There may be something to do sooner than the workers think.
    pub fn wake(&self) {
        self.wake.notify_waiters();
    }
}

impl Broker {
    /// Begins compaction; aborting the task ends it. None if `log.cleaner.enable` is false.
    pub(crate) fn start_cleaner(self: &Arc<Self>) -> Option<TaskHandle<()>> {
        if !self.config().cleaner.enable {
            warn!("log.cleaner.enable is false: compacted topics, of which __consumer_offsets is one, grow for ever");
            return None;
        }
        let broker = self.clone();
        Some(self.io().tasks.spawn(async move {
            join_all((0..WORKERS_MAX).map(|n| broker.clone().clean_logs(n))).await;
        }))
    }

    /// Worker `n`.
    async fn clean_logs(self: Arc<Self>, n: usize) {
        loop {
            let config = self.config();
            let has_turn = usize::try_from(config.cleaner.threads).is_ok_and(|threads| n < threads);
            if !has_turn {
                self.io().clock.sleep(LOOK_AGAIN).await;
            } else if !self.clean_next().await {
                let backoff = Duration::from_millis(config.cleaner.backoff_ms.max(1) as u64);
                tokio::select! {
                    () = self.io().clock.sleep(backoff) => {}
                    () = self.cleaner().wake.notified() => {}
                }
            }
        }
    }

    /// Does a round over the log that needs it most; false if none does.
    async fn clean_next(self: &Arc<Self>) -> bool {
        let tasks = self.io().tasks;
        let broker = self.clone();
        let take = move || {
            broker.open_compacted();
            broker.take_dirtiest()
        };
        let Some(taken) = tasks.blocking(take).await else { return false };
        let partition = taken.partition.clone();
        // A gap above the saved recovery point would be taken for a loss after a crash. `plan_compaction` has flushed.
        let broker = self.clone();
        if !tasks.blocking(move || broker.checkpoint()).await {
            self.cleaner().let_go(partition.id);
            return false;
        }
        let done = self.clean(taken).await;
        self.cleaner().let_go(partition.id);
        match done {
            Ok(Some(report)) => tell(&partition, &report),
            Ok(None) => info!(partition = %partition.name, "its segments changed meanwhile, it is compacted later"),
            Err(e) => return self.could_not_clean(&partition, e),
        }
        true
    }

    /// Looks at the closed logs of compacted topics, once after a start or a change of their settings. Those in which
    /// there is something to compact, or may be later, stay open. Waits for the disk.
    fn open_compacted(self: &Arc<Self>) {
        let mut topic: Option<(TopicId, bool)> = None;
        for id in self.partitions().closed_where(|rest| rest.on_disk && rest.clean && !rest.compacted) {
            if self.is_closing() {
                return;
            }
            let compact = match topic {
                Some((of, compact)) if of == id.topic_id => compact,
                _ => match self.image().topics.name_of(id.topic_id) {
                    Some(name) => self.settings_of(name).log.compact,
                    // It is just being deleted.
                    None => false,
                },
            };
            topic = Some((id.topic_id, compact));
            if compact {
                self.visit(id, |partition| self.how_due(partition, self.now()).map(|_| ()));
            } else {
                self.partitions().needs_no_compaction(id);
            }
        }
    }

    /// Takes the log of which the largest share is new, among those that are due. Waits for the disk.
    fn take_dirtiest(&self) -> Option<Taken> {
        let now = self.now();
        let mut due = Vec::new();
        let partitions = self.partitions().all_online();
        {
            let mut state = self.cleaner().state.lock();
            state.uncleanable.retain(|id| self.partitions().holds(*id));
            state.demands.retain(|id| self.partitions().holds(id));
        }
        for p in partitions.into_iter().filter(|p| p.settings().log.compact) {
            {
                let state = self.cleaner().state.lock();
                if state.busy.contains(&p.id) || state.uncleanable.contains(&p.id) {
                    continue;
                }
            }
            match self.how_due(&p, now) {
                Ok(Some(ratio)) => due.push((ratio, p)),
                Ok(None) => {}
                Err(e) => {
                    self.could_not_clean(&p, e);
                }
            }
        }
        due.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.id.cmp(&b.1.id)));
        for (_, partition) in due {
            if !self.cleaner().state.lock().busy.insert(partition.id) {
                continue;
            }
            match partition.plan_compaction(self.compaction_limits()) {
                Ok(Some(round)) => return Some(Taken { partition, round }),
                Ok(None) => {}
                Err(e) => {
                    self.could_not_clean(&partition, e);
                }
            }
            self.cleaner().state.lock().busy.remove(&partition.id);
        }
        None
    }

    /// Which share of the log is new, if a round is due or asked for.
    fn how_due(&self, partition: &Partition, now: Now) -> Result<Option<f64>, LogError> {
        let settings = partition.settings();
        let demanded = {
            let requested = TimestampMs(settings.compact_requested_ms);
            let state = &mut *self.cleaner().state.lock();
            state.demands.pending(partition, requested, now)?
        };
        let need = partition.compaction_need(now)?;
        let threshold = if demanded { 0.0 } else { settings.log.min_cleanable_dirty_ratio };
        Ok(need.is_due(threshold).then(|| need.dirty_ratio()))
    }

    fn compaction_limits(&self) -> CompactionLimits {
        let config = self.config();
        let cleaner = &config.cleaner;
        let threads = usize::try_from(cleaner.threads).unwrap_or(1).max(1);
        let io_buffer_bytes = usize::try_from(cleaner.io_buffer_size).unwrap_or(0) / threads / 2;
        CompactionLimits {
            dedupe_buffer_bytes: usize::try_from(cleaner.dedupe_buffer_size).unwrap_or(0) / threads,
            load_factor: cleaner.dedupe_buffer_load_factor,
            io_buffer_bytes: io_buffer_bytes.max(IO_BUFFER_BYTES_MIN),
        }
    }

    /// Does the round; `None` if it was overtaken by a deletion, a truncation or a move.
    async fn clean(&self, taken: Taken) -> Result<Option<CompactionReport>, LogError> {
        let Taken { partition, mut round } = taken;
        let tasks = self.io().tasks;
        loop {
            let rate = || self.config().cleaner.io_max_bytes_per_second;
            let budget = self.cleaner().throttle.step_bytes(rate(), STEP_BYTES);
            let worker = partition.clone();
            let (back, step) = tasks
                .blocking(move || {
                    let step = match round.step(budget) {
                        Ok(Step::Replace(replacement)) => worker.replace_segments(replacement).map(Stepped::Replaced),
                        Ok(Step::Working { io_bytes }) => Ok(Stepped::Worked { io_bytes }),
                        Ok(Step::Done(report)) => {
                            worker.compacted(&report);
                            Ok(Stepped::Done(report))
                        }
                        Err(e) => Err(e),
                    };
                    (round, step)
                })
                .await;
            round = back;
            match step {
                Ok(Stepped::Worked { io_bytes }) => {
                    self.cleaner().throttle.pass(&self.io().clock, io_bytes, rate).await;
                }
                Ok(Stepped::Replaced(true)) => {}
                Ok(Stepped::Replaced(false)) => {
                    tasks.blocking(move || round.abandon()).await?;
                    return Ok(None);
                }
                Ok(Stepped::Done(report)) => return Ok(Some(report)),
                Err(e) => {
                    // What it leaves is worth nothing, and goes at the next attempt or start, if it does not go now.
                    let _ = tasks.blocking(move || round.abandon()).await;
                    return Err(e);
                }
            }
        }
    }

    /// Says why a log was not compacted, and whether it was a matter of this log alone, so that others may follow.
    fn could_not_clean(&self, partition: &Partition, e: LogError) -> bool {
        match &e {
            e if e.is_retriable() => {
                warn!(partition = %partition.name, "compaction waits until this is over: {e}");
                false
            }
            // It was deleted or closed, or its directory has failed: told where that happened.
            LogError::Offline { .. } | LogError::Truncated | LogError::OffsetOutOfRange { .. } => false,
            e if e.is_storage_failure() => {
                partition.storage_failed(e.clone());
                false
            }
            e => {
                error!(partition = %partition.name, "it can't be compacted, and grows until that is mended and the broker started again: {e}");
                self.cleaner().state.lock().uncleanable.insert(partition.id);
                true
            }
        }
    }
}

enum Stepped {
    Worked { io_bytes: usize },
    Replaced(bool),
    Done(CompactionReport),
}

fn tell(partition: &Partition, r: &CompactionReport) {
    info!(
        partition = %partition.name,
        from = %r.first_dirty_offset,
        to = %r.end_offset,
        records = r.records.read,
        records_kept = r.records.kept,
        bytes = r.bytes_before,
        bytes_kept = r.bytes_after,
        map_percent = (r.map_use * 100.0) as u32,
        "compacted"
    );
    if r.records.invalid > 0 {
        warn!(partition = %partition.name, records = r.records.invalid, "compaction dropped records without a key");
    }
}
