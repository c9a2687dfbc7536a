//! A world for tests: a simulated disk, small segments, and batches to append.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use logrun_io::{Disk, Io, MemoryNet, disk::SimDisk};
use logrun_model::{
    CoordinatorEpoch, LeaderEpoch, Monotonic, Now, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs,
};
use logrun_record::{
    Batch, BatchBuilder, BatchHeader, Compression, EndTxnMarker, PreparedBatch, build_end_txn_marker, split_batches,
};

use crate::{JournalConfig, Journaled, Log, LogConfig, LogEnv, OpenState, RecoveryReport, TailCache};

pub(crate) const DIR: &str = "/data/t-0";
pub(crate) const WALL_MS: i64 = 1_700_000_000_000;

pub(crate) struct World {
    pub disk: SimDisk,
    pub io: Io,
    pub env: LogEnv,
    pub config: LogConfig,
}

/// A journal for all appends; with no bytes none.
pub(crate) fn journal_for_all(bytes: u64) -> Option<JournalConfig> {
    (bytes > 0).then_some(JournalConfig { journaled: Journaled::All, bytes })
}

/// Settings under which a few hundred bytes fill a segment and an index interval.
pub(crate) fn small_config() -> LogConfig {
    LogConfig { segment_bytes: 420, index_interval_bytes: 100, ..LogConfig::default() }
}

impl World {
    pub fn new(seed: u64) -> Self {
        Self::with_config(seed, small_config())
    }

    pub fn with_config(seed: u64, config: LogConfig) -> Self {
        let disk = SimDisk::new();
        disk.create_dir_all(Path::new("/data")).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        let io = Io::simulated(seed, WALL_MS, Arc::new(disk.clone()), MemoryNet::default());
        let env = LogEnv { io: io.clone(), tail: TailCache::new(1 << 20) };
        Self { disk, io, env, config }
    }

    pub fn now(&self) -> Now {
        Now { monotonic: Monotonic(Duration::from_secs(1)), wall: TimestampMs(WALL_MS) }
    }

    pub fn open(&self, state: OpenState) -> (Log, RecoveryReport) {
        Log::open(&self.env, Path::new(DIR), self.config.clone(), state, self.now()).unwrap()
    }

    pub fn open_at(&self, dir: &str) -> Log {
        Log::open(&self.env, Path::new(dir), self.config.clone(), OpenState::NEW, self.now()).unwrap().0
    }

    pub fn open_small(&self) -> Log {
        self.open(OpenState::NEW).0
    }

    pub fn reopen_clean(&self) -> Log {
        let state = OpenState { clean_shutdown: true, ..OpenState::NEW };
        let (log, report) = self.open(state);
        assert_eq!(report, RecoveryReport::default());
        log
    }

    pub fn reopen_unclean(&self, recovery_point: Offset) -> (Log, RecoveryReport) {
        self.open(OpenState { recovery_point, ..OpenState::NEW })
    }

    /// The headers of all batches, read in small steps, each checked against its CRC.
    pub fn read_all(&self, log: &mut Log) -> Vec<BatchHeader> {
        read_batches(log, 1).into_iter().map(|b| b.header).collect()
    }

    pub fn files(&self) -> Vec<String> {
        self.io.disk.list(&PathBuf::from(DIR)).unwrap().into_iter().map(|e| e.name).collect()
    }
}

/// All batches from the log's start on, `max_bytes` at a time.
pub(crate) fn read_batches(log: &Log, max_bytes: usize) -> Vec<Batch> {
    let mut at = log.log_start_offset();
    let mut out = Vec::new();
    while at < log.log_end_offset() {
        let got = log.read(at, log.log_end_offset(), max_bytes, true).unwrap();
        if got.bytes == 0 {
            break;
        }
        for b in split_batches(joined(&got.slices)) {
            let b = b.unwrap();
            b.verify_crc().unwrap();
            assert!(b.header.last_offset() >= at);
            at = b.header.next_offset();
            out.push(b);
        }
        assert_eq!(got.next_offset, at);
    }
    out
}

pub(crate) fn joined(slices: &[Bytes]) -> Bytes {
    Bytes::from(slices.concat())
}

/// A batch of `records` records of a few bytes at `base_offset`.
pub(crate) fn batch_at(base_offset: i64, records: i64, epoch: i32) -> PreparedBatch {
    batch_with_time(base_offset, records, epoch, WALL_MS + base_offset)
}

pub(crate) fn batch_with_time(base_offset: i64, records: i64, epoch: i32, timestamp: i64) -> PreparedBatch {
    let mut b = BatchBuilder::new(Compression::NONE);
    for i in 0..records {
        let value = format!("value {:06}", base_offset + i);
        b.append(TimestampMs(timestamp), Some(b"key"), Some(value.as_bytes()), &[]).unwrap();
    }
    place(b, base_offset, epoch)
}

/// A batch of an idempotent or transactional producer.
pub(crate) fn producer_batch(
    base_offset: i64,
    records: i64,
    producer: i64,
    sequence: i32,
    transactional: bool,
) -> PreparedBatch {
    let mut b = BatchBuilder::new(Compression::NONE)
        .producer(ProducerId(producer), ProducerEpoch(0), Sequence(sequence))
        .transactional(transactional);
    for _ in 0..records {
        b.append(TimestampMs(WALL_MS), None, Some(b"v"), &[]).unwrap();
    }
    place(b, base_offset, 0)
}

/// The marker that ends a transaction.
/// One record of `bytes` bytes, which no other offset has.
pub(crate) fn large(base_offset: i64, bytes: usize) -> PreparedBatch {
    let mut b = BatchBuilder::new(Compression::NONE);
    let value: Vec<u8> = (0..bytes).map(|i| (i as i64 * 31 + base_offset) as u8).collect();
    b.append(TimestampMs(WALL_MS), None, Some(&value), &[]).unwrap();
    let mut p = b.prepare().unwrap();
    p.assign(Offset(base_offset), LeaderEpoch(0));
    p
}

pub(crate) fn marker(base_offset: i64, producer: i64, commit: bool) -> PreparedBatch {
    let marker = EndTxnMarker { commit, coordinator_epoch: CoordinatorEpoch(0), timestamp: TimestampMs(WALL_MS) };
    let batch = build_end_txn_marker(ProducerId(producer), ProducerEpoch(0), marker).unwrap();
    let mut p = PreparedBatch::from_batch(&batch);
    p.assign(Offset(base_offset), LeaderEpoch(0));
    p
}

fn place(b: BatchBuilder, base_offset: i64, epoch: i32) -> PreparedBatch {
    let mut p = b.prepare().unwrap();
    p.assign(Offset(base_offset), LeaderEpoch(epoch));
    p
}

/// Runs a future that never waits for anything outside.
pub(crate) fn block_on<F: Future>(f: F) -> F::Output {
    let mut f = std::pin::pin!(f);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match f.as_mut().poll(&mut cx) {
        std::task::Poll::Ready(v) => v,
        std::task::Poll::Pending => panic!("the future waits"),
    }
}
