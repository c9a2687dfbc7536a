//! Compaction against a model: what stays, what goes, what a stop at any moment leaves.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use logrun_io::{Random, disk::Fault};
use logrun_model::{LeaderEpoch, Now, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};
use logrun_partition::ProducerStateManager;
use logrun_record::{BatchBuilder, Compression, CompressionType, Limits, PreparedBatch};
use proptest::prelude::*;

use super::*;
use crate::tests::support::{DIR, WALL_MS, World, marker, read_batches};
use crate::{Log, LogConfig, LogError, OpenState};

pub(crate) const LIMITS: CompactionLimits =
    CompactionLimits { dedupe_buffer_bytes: 1 << 20, load_factor: 0.9, io_buffer_bytes: 300 };

const RETENTION_MS: i64 = 1_000;

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 600,
        index_interval_bytes: 100,
        compact: true,
        delete: false,
        delete_retention_ms: RETENTION_MS,
        file_delete_delay_ms: 0,
        producer_id_expiration_ms: i64::MAX,
        ..LogConfig::default()
    }
}

/// Does a whole round, in small steps; `None` if there was nothing to do.
pub(crate) fn compact(log: &mut Log, now: Now, limits: CompactionLimits) -> Result<Option<CompactionReport>, LogError> {
    log.flush(now)?;
    let decided = log.producers().first_undecided_offset().unwrap_or(log.log_end_offset());
    let Some(mut round) = log.plan_compaction(decided, limits, now)? else { return Ok(None) };
    loop {
        match round.step(200)? {
            Step::Working { .. } => {}
            Step::Replace(replacement) => {
                let replaced = log.replace_segments(replacement, now)?.expect("nobody else was here");
                replaced.sync()?;
                log.settle_replacement()?;
                log.due_removals(now).run()?;
            }
            Step::Done(report) => {
                log.compacted(&report);
                return Ok(Some(report));
            }
        }
    }
}

/// A record as a reader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    key: Option<Bytes>,
    value: Option<Bytes>,
    timestamp: TimestampMs,
    sequence: Sequence,
    leader_epoch: LeaderEpoch,
    committed: bool,
}

/// All data records by their offsets; what was aborted is marked.
fn seen(log: &Log) -> BTreeMap<i64, Seen> {
    let (from, to) = (log.log_start_offset(), log.log_end_offset());
    let aborted = log.aborted_transactions(from, to).unwrap();
    let mut out = BTreeMap::new();
    for b in read_batches(log, 1) {
        if b.header.is_control() {
            continue;
        }
        for r in b.records(&Limits::default()).unwrap() {
            let r = r.unwrap();
            let committed = !b.header.is_transactional()
                || !aborted.iter().any(|t| {
                    t.producer_id == b.header.producer_id && (t.first_offset..=t.last_offset).contains(&r.offset)
                });
            let seen = Seen {
                key: r.key,
                value: r.value,
                timestamp: r.timestamp,
                sequence: r.sequence,
                leader_epoch: b.header.partition_leader_epoch,
                committed,
            };
            assert!(out.insert(r.offset.get(), seen).is_none());
        }
    }
    out
}

/// The table that the log stands for: each key's last committed value.
fn table(seen: &BTreeMap<i64, Seen>) -> BTreeMap<Bytes, Bytes> {
    let mut table = BTreeMap::new();
    for r in seen.values().filter(|r| r.committed) {
        match (&r.key, &r.value) {
            (Some(k), Some(v)) => table.insert(k.clone(), v.clone()),
            (Some(k), None) => table.remove(k),
            (None, _) => None,
        };
    }
    table
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Append { codec: u8, first: u8, records: u8, tombstones: bool },
    Producer { producer: u8, transactional: bool, first: u8, records: u8 },
    Marker { producer: u8, commit: bool },
    Roll,
    Compact,
    Reopen,
    Wait,
}

fn op() -> impl Strategy<Value = Op> {
    let append = (0u8..5, 0u8..12, 1u8..6, any::<bool>());
    let producer = (0u8..3, any::<bool>(), 0u8..12, 1u8..4);
    prop_oneof![
        5 => append.prop_map(|(codec, first, records, tombstones)| Op::Append { codec, first, records, tombstones }),
        4 => producer.prop_map(|(producer, transactional, first, records)| {
            Op::Producer { producer, transactional, first, records }
        }),
        2 => (0u8..3, any::<bool>()).prop_map(|(producer, commit)| Op::Marker { producer, commit }),
        2 => Just(Op::Roll),
        3 => Just(Op::Compact),
        1 => Just(Op::Reopen),
        1 => Just(Op::Wait),
    ]
}

struct Run {
    world: World,
    now: Now,
    sequences: [i32; 3],
    in_txn: [bool; 3],
    serial: i64,
    limits: CompactionLimits,
    recovery_point: Offset,
    first_dirty: Offset,
}

impl Run {
    fn new(limits: CompactionLimits) -> Self {
        let world = World::with_config(1, config());
        let now = world.now();
        let (recovery_point, first_dirty) = (Offset(0), Offset(0));
        Self { world, now, sequences: [0; 3], in_txn: [false; 3], serial: 0, limits, recovery_point, first_dirty }
    }

    fn open(&self, clean_shutdown: bool) -> Log {
        let (recovery_point, first_dirty) = (self.recovery_point, self.first_dirty);
        let state = OpenState { recovery_point, first_dirty, clean_shutdown, ..OpenState::NEW };
        Log::open(&self.world.env, Path::new(DIR), self.world.config.clone(), state, self.now).unwrap().0
    }

    fn build(&mut self, mut b: BatchBuilder, first: u8, records: u8, tombstones: bool, at: Offset) -> PreparedBatch {
        for i in 0..records {
            self.serial += 1;
            let key = format!("key {}", (first + i) % 12);
            let value = format!("value {}", self.serial);
            let value = (!tombstones || i % 2 == 1).then_some(value.as_bytes());
            b.append(TimestampMs(WALL_MS + self.serial * 7 % 50), Some(key.as_bytes()), value, &[(b"h", None)])
                .unwrap();
        }
        let mut p = b.prepare().unwrap();
        p.assign(at, LeaderEpoch((self.serial / 20) as i32));
        p
    }

    fn step(&mut self, log: &mut Log, op: Op) -> Result<(), LogError> {
        let end = log.log_end_offset();
        match op {
            Op::Append { codec, first, records, tombstones } => {
                let codec = CompressionType::from_id(codec).unwrap();
                let batch = self.build(BatchBuilder::new(Compression::of(codec)), first, records, tombstones, end);
                log.append(&[batch], self.now)?;
            }
            Op::Producer { producer, transactional, first, records } => {
                let p = usize::from(producer);
                let transactional = transactional || self.in_txn[p];
                let b = BatchBuilder::new(Compression::NONE)
                    .producer(ProducerId(i64::from(producer) + 10), ProducerEpoch(0), Sequence(self.sequences[p]))
                    .transactional(transactional);
                let batch = self.build(b, first, records, false, end);
                log.append(&[batch], self.now)?;
                self.sequences[p] += i32::from(records);
                self.in_txn[p] |= transactional;
            }
            Op::Marker { producer, commit } => {
                log.append(&[marker(end.get(), i64::from(producer) + 10, commit)], self.now)?;
                self.in_txn[usize::from(producer)] = false;
            }
            Op::Roll => {
                log.roll(self.now)?;
            }
            Op::Wait => self.now.wall = self.now.wall.plus_ms(RETENTION_MS + 1),
            Op::Reopen => {
                self.first_dirty = log.first_dirty_offset();
                log.close(self.now)?;
                self.recovery_point = log.recovery_point();
                *log = self.open(true);
            }
            Op::Compact => {
                self.compact(log)?;
            }
        }
        Ok(())
    }

    /// A round, and what must hold behind it.
    fn compact(&mut self, log: &mut Log) -> Result<(), LogError> {
        let before = seen(log);
        let producers: Vec<_> =
            log.producers().active_producers().map(|p| (p.producer_id, p.producer_epoch, p.last_sequence())).collect();
        let (start, end) = (log.log_start_offset(), log.log_end_offset());
        let Some(report) = compact(log, self.now, self.limits)? else { return Ok(()) };
        assert!(report.end_offset > report.first_dirty_offset, "no progress: {report:?}");
        assert_eq!((log.log_start_offset(), log.log_end_offset()), (start, end));
        let after = seen(log);
        assert_eq!(table(&after), table(&before));
        for (offset, record) in &after {
            assert_eq!(Some(record), before.get(offset), "the record at {offset} is not what it was");
        }
        let mut last: BTreeMap<_, i64> = BTreeMap::new();
        for (offset, r) in after.range(..report.end_offset.get()) {
            assert!(r.committed, "an aborted record is left at {offset}");
            if let Some(earlier) = last.insert(r.key.clone(), *offset) {
                panic!("{:?} is at {earlier} and at {offset}", r.key);
            }
        }
        assert!(report.records.kept <= report.records.read && report.bytes_after <= report.bytes_before + 400);
        // What the batches alone tell of the producers is what was known before.
        let mut again = ProducerStateManager::new(start, i64::MAX);
        for b in read_batches(log, 10_000) {
            again.replay(&b, &Limits::default()).unwrap();
        }
        // (As in Kafka, an emptied marker tells nothing of a producer that has no data batch.)
        for (id, epoch, last_sequence) in producers.into_iter().filter(|(_, _, last)| last.is_some()) {
            let p = again.entry(id).expect("compaction has lost a producer");
            assert_eq!((p.producer_epoch, p.last_sequence()), (epoch, last_sequence));
        }
        let left = self.world.files();
        assert!(!left.iter().any(|n| n.contains(".cleaned") || n.contains(".swap")), "{left:?}");
        Ok(())
    }

    /// Runs `ops` until one fails.
    fn run(&mut self, ops: &[Op]) -> Result<Log, LogError> {
        let mut log = self.open(false);
        for op in ops {
            self.step(&mut log, *op)?;
        }
        Ok(log)
    }
}

/// How often a property is tried: `PROPTEST_CASES`, or else `usually`.
fn cases(usually: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|v| v.parse().ok()).unwrap_or(usually)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(48)))]

    #[test]
    fn the_last_of_each_key_stays_where_it_is(
        ops in proptest::collection::vec(op(), 1..60),
        memory in prop_oneof![Just(1usize << 20), Just(24 * 14), Just(24 * 9)],
    ) {
        let mut run = Run::new(CompactionLimits { dedupe_buffer_bytes: memory, ..LIMITS });
        let mut log = run.run(&ops).unwrap();
        // To the end: everything decided, and all horizons over.
        for producer in 0..3 {
            run.step(&mut log, Op::Marker { producer, commit: false }).unwrap();
        }
        run.step(&mut log, Op::Roll).unwrap();
        let table_before = table(&seen(&log));
        for _ in 0..3 {
            for _ in 0..200 {
                run.step(&mut log, Op::Compact).unwrap();
                if log.first_dirty_offset() == log.log_end_offset() {
                    break;
                }
            }
            prop_assert_eq!(log.first_dirty_offset(), log.log_end_offset());
            run.step(&mut log, Op::Wait).unwrap();
            run.step(&mut log, Op::Append { codec: 0, first: 0, records: 1, tombstones: false }).unwrap();
            run.step(&mut log, Op::Roll).unwrap();
        }
        for _ in 0..200 {
            run.step(&mut log, Op::Compact).unwrap();
        }
        let left = seen(&log);
        prop_assert!(left.values().all(|r| r.value.is_some()), "a tombstone is left: {:?}", left);
        let mut expected = table_before;
        expected.extend(table(&left).into_iter().filter(|(k, _)| k[..] == b"key 0"[..]));
        prop_assert_eq!(table(&left), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(16)))]

    #[test]
    fn a_stop_at_any_moment_of_a_round_leaves_the_table(
        ops in proptest::collection::vec(op(), 5..40),
        power_cut: bool,
        seed: u64,
    ) {
        let mut n = 0;
        loop {
            n += 1;
            let mut run = Run::new(LIMITS);
            let mut log = run.run(&ops).unwrap();
            run.step(&mut log, Op::Roll).unwrap();
            log.flush(run.now).unwrap();
            run.recovery_point = log.recovery_point();
            let before = seen(&log);
            let end = log.log_end_offset();
            let disk = run.world.disk.clone();
            disk.halt_at(disk.counts().mutations + n);
            let stopped = compact(&mut log, run.now, LIMITS).is_err();
            drop(log);
            if power_cut {
                disk.crash(&Random::from_seed(seed ^ n));
            } else {
                disk.kill();
            }
            // By then the topic may have another policy: what was compacted is no loss under any.
            (run.world.config.compact, run.world.config.delete) = (seed % 2 == 0, seed % 2 == 1);
            let mut log = run.open(false);
            (run.world.config.compact, run.world.config.delete) = (true, false);
            log.set_config(run.world.config.clone());
            prop_assert_eq!(log.log_end_offset(), end);
            let after = seen(&log);
            prop_assert_eq!(table(&after), table(&before));
            for (offset, record) in &after {
                prop_assert_eq!(Some(&record.value), before.get(offset).map(|b| &b.value));
            }
            // And it goes on from there.
            run.compact(&mut log).unwrap();
            run.step(&mut log, Op::Append { codec: 0, first: 3, records: 2, tombstones: false }).unwrap();
            run.step(&mut log, Op::Reopen).unwrap();
            run.compact(&mut log).unwrap();
            if !stopped {
                break;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(400)))]

    /// Found by the simulation: a segment that a full disk had kept from getting its own name was taken for the next one.
    #[test]
    fn a_disk_that_is_full_now_and_then_leaves_the_table(
        ops in proptest::collection::vec(op(), 5..40),
        full_at in proptest::collection::vec(1u64..40, 1..4),
        power_cut: bool,
        seed: u64,
    ) {
        let mut run = Run::new(LIMITS);
        let mut log = run.run(&ops).unwrap();
        run.step(&mut log, Op::Roll).unwrap();
        log.flush(run.now).unwrap();
        (run.recovery_point, run.first_dirty) = (log.recovery_point(), log.first_dirty_offset());
        let mut before = table(&seen(&log));
        let disk = run.world.disk.clone();
        for n in full_at {
            let fails_at = disk.counts().mutations + n;
            disk.fail_mutation(fails_at, Fault::NoSpace);
            // Whether it goes well or not, the next one tries again.
            if compact(&mut log, run.now, LIMITS).is_err() && disk.counts().mutations >= fails_at && log.is_online() {
                run.step(&mut log, Op::Append { codec: 0, first: n as u8 % 12, records: 2, tombstones: false }).unwrap();
                run.step(&mut log, Op::Roll).unwrap();
                log.flush(run.now).unwrap();
                run.recovery_point = log.recovery_point();
                before = table(&seen(&log));
            }
        }
        drop(log);
        if power_cut {
            disk.crash(&Random::from_seed(seed));
        } else {
            disk.kill();
        }
        let mut log = run.open(false);
        prop_assert_eq!(table(&seen(&log)), before.clone());
        run.compact(&mut log).unwrap();
        prop_assert_eq!(table(&seen(&log)), before);
    }
}

/// A topic that was compacted once and has another `cleanup.policy` now keeps its gaps; only what the checkpoints do
/// not vouch for is a loss.
#[test]
fn gaps_of_a_topic_that_was_compacted_once_are_no_loss() {
    let mut world = World::with_config(1, LogConfig { segment_bytes: 200, ..config() });
    let mut log = world.open_small();
    for i in 0..30 {
        let key = if i % 10 == 0 { format!("only {i}") } else { "often".to_owned() };
        keyed(&mut log, world.now(), &[(&key, Some(&"x".repeat(60)))]);
    }
    log.roll(world.now()).unwrap();
    let report = compact(&mut log, world.now(), LIMITS).unwrap().unwrap();
    let before = seen(&log);
    assert!(before.len() < 10);
    drop(log);
    world.disk.kill();
    (world.config.compact, world.config.delete) = (false, true);
    let none = Offset(0);
    for (recovery_point, first_dirty) in [(report.end_offset, none), (none, report.end_offset)] {
        let (log, recovered) = world.open(OpenState { recovery_point, first_dirty, ..OpenState::NEW });
        assert_eq!((recovered.cut, recovered.removed_segments), (None, 0));
        assert_eq!(seen(&log), before);
    }
    let (_, recovered) = world.open(OpenState::NEW);
    assert!(recovered.cut.is_some_and(|cut| cut.reason.contains("are missing")), "the log has no gaps");
}

fn keyed(log: &mut Log, now: Now, records: &[(&str, Option<&str>)]) {
    let mut b = BatchBuilder::new(Compression::NONE);
    for (k, v) in records {
        b.append(TimestampMs(WALL_MS), Some(k.as_bytes()), v.map(str::as_bytes), &[]).unwrap();
    }
    let mut p = b.prepare().unwrap();
    p.assign(log.log_end_offset(), LeaderEpoch(0));
    log.append(&[p], now).unwrap();
}

#[test]
fn tombstones_have_a_horizon() {
    let world = World::with_config(1, config());
    let mut log = world.open_small();
    let mut now = world.now();
    keyed(&mut log, now, &[("a", Some("1")), ("b", Some("2")), ("a", None)]);
    log.roll(now).unwrap();
    compact(&mut log, now, LIMITS).unwrap().unwrap();
    let batch = &read_batches(&log, 1000)[0];
    assert_eq!(batch.header.delete_horizon(), Some(now.wall.plus_ms(RETENTION_MS)));
    assert_eq!(batch.header.max_timestamp, TimestampMs(WALL_MS));
    assert_eq!(seen(&log).keys().copied().collect::<Vec<_>>(), [1, 2]);
    for (wait_ms, left) in [(RETENTION_MS - 1, vec![1, 2, 3]), (1, vec![1, 3])] {
        now.wall = now.wall.plus_ms(wait_ms);
        keyed(&mut log, now, &[("c", Some("x"))]);
        log.roll(now).unwrap();
        compact(&mut log, now, LIMITS).unwrap().unwrap();
        let offsets: Vec<_> = seen(&log).keys().copied().filter(|o| *o < 4 && left.contains(o) || *o < 3).collect();
        assert_eq!(offsets, left.iter().copied().filter(|o| seen(&log).contains_key(o)).collect::<Vec<_>>());
        assert_eq!(seen(&log).contains_key(&2), left.contains(&2));
    }
}

/// Found by the property above: what was aborted before the new part made a later transaction of its producer look so.
#[test]
fn a_producer_that_aborted_once_is_believed_later() {
    let mut run = Run::new(LIMITS);
    let producer = |first, records| Op::Producer { producer: 0, transactional: true, first, records };
    let end = |commit| Op::Marker { producer: 0, commit };
    let append = |first| Op::Append { codec: 0, first, records: 1, tombstones: false };
    let mut log = run
        .run(&[producer(0, 1), end(false), append(0), Op::Roll, producer(11, 2), Op::Compact, end(true), append(1)])
        .unwrap();
    for op in [Op::Roll, Op::Compact, append(0), Op::Roll, Op::Compact] {
        run.step(&mut log, op).unwrap();
    }
    assert!(!seen(&log).contains_key(&2) && seen(&log).contains_key(&3));
}

#[test]
fn what_does_not_change_is_not_written() {
    let world = World::with_config(1, LogConfig { segment_bytes: 200, ..config() });
    let mut log = world.open_small();
    for i in 0..10 {
        keyed(&mut log, world.now(), &[(&format!("key {i}"), Some(&"x".repeat(100)))]);
        log.roll(world.now()).unwrap();
    }
    let names = world.files();
    let before = world.disk.counts().mutations;
    log.flush(world.now()).unwrap();
    let flushed = world.disk.counts().mutations - before;
    let report = compact(&mut log, world.now(), LIMITS).unwrap().unwrap();
    assert_eq!((report.records.read, report.records.kept, report.end_offset), (10, 10, Offset(10)));
    assert!(world.disk.counts().mutations - before <= flushed + 10 * 4);
    keyed(&mut log, world.now(), &[("key 4", Some("y"))]);
    log.roll(world.now()).unwrap();
    let report = compact(&mut log, world.now(), LIMITS).unwrap().unwrap();
    assert_eq!((report.records.read, report.records.kept), (11, 10));
    assert!(names.iter().all(|n| world.files().contains(n)));
    assert!(!seen(&log).contains_key(&4));
}

#[test]
fn lags_hold_it_back_and_drive_it() {
    let lagging = LogConfig { min_compaction_lag_ms: 10_000, max_compaction_lag_ms: 60_000, ..config() };
    let world = World::with_config(1, lagging);
    let mut log = world.open_small();
    let mut now = world.now();
    keyed(&mut log, now, &[("a", Some("1"))]);
    keyed(&mut log, now, &[("a", Some("2"))]);
    let need = |log: &mut Log, now: Now| log.compaction_need(log.log_end_offset(), now).unwrap();
    // The active segment is never compacted, and an idle one is rolled when its time has come.
    assert_eq!(need(&mut log, now).cleanable_bytes, 0);
    assert!(!log.roll_for_compaction(now).unwrap());
    now.wall = now.wall.plus_ms(60_001);
    assert!(log.roll_for_compaction(now).unwrap());
    assert!(!log.roll_for_compaction(now).unwrap());
    // What the device may not have is not touched.
    assert_eq!(need(&mut log, now).cleanable_bytes, 0);
    log.flush(now).unwrap();
    let overdue = need(&mut log, now);
    assert!(overdue.cleanable_bytes > 0 && overdue.overdue_ms == 1 && overdue.is_due(1.0));
    let mut young = now;
    young.wall = world.now().wall.plus_ms(9_999);
    assert_eq!(need(&mut log, young).cleanable_bytes, 0);
    young.wall = world.now().wall.plus_ms(10_001);
    let due = need(&mut log, young);
    assert!(due.is_due(0.5) && !due.is_due(1.0) && due.dirty_ratio() > 0.99);
    compact(&mut log, now, LIMITS).unwrap().unwrap();
    assert!(!need(&mut log, now).is_due(0.0));
    assert_eq!(seen(&log).keys().copied().collect::<Vec<_>>(), [1]);
}

#[test]
fn a_round_that_was_overtaken_changes_nothing() {
    let world = World::with_config(1, config());
    for overtaken_by in 0..3 {
        let dir = format!("/data/t-{overtaken_by}");
        let (mut log, _) = Log::open(&world.env, Path::new(&dir), config(), OpenState::NEW, world.now()).unwrap();
        for i in 0..40 {
            keyed(&mut log, world.now(), &[("a", Some(&format!("{i}")))]);
        }
        log.flush(world.now()).unwrap();
        let mut round = log.plan_compaction(Offset(40), LIMITS, world.now()).unwrap().unwrap();
        let replacement = loop {
            match round.step(1 << 20).unwrap() {
                Step::Replace(r) => break r,
                Step::Working { .. } => {}
                Step::Done(_) => panic!("nothing was replaced"),
            }
        };
        match overtaken_by {
            0 => drop(log.truncate_to(Offset(1), world.now()).unwrap()),
            1 => {
                log.set_log_start_offset(Offset(30)).unwrap();
                log.delete_old_segments(Offset(40), world.now()).unwrap();
            }
            _ => log.rename_dir("moved-2").unwrap(),
        }
        let before = seen(&log);
        assert!(log.replace_segments(replacement, world.now()).unwrap().is_none());
        assert_eq!(seen(&log), before);
        round.abandon().unwrap();
        let left = world.io.disk.list(log.dir()).unwrap();
        assert!(overtaken_by == 2 || left.iter().all(|e| !e.name.ends_with(".cleaned")), "{left:?}");
        assert!(log.first_dirty_offset() <= log.log_end_offset());
    }
}

#[test]
fn damage_stops_the_round() {
    let world = World::with_config(1, config());
    let mut log = world.open_small();
    keyed(&mut log, world.now(), &[("a", Some("some value"))]);
    log.roll(world.now()).unwrap();
    let file = world.io.disk.open(&log.dir().join("00000000000000000000.log"), logrun_io::OpenMode::Write).unwrap();
    file.write_all_at(70, &[std::io::IoSlice::new(b"?")]).unwrap();
    assert!(matches!(compact(&mut log, world.now(), LIMITS), Err(LogError::Corrupt { .. })));
    assert!(log.check_online().is_ok());
}

#[test]
fn readers_of_replaced_segments_go_on() {
    let world = World::with_config(1, config());
    let world = World { env: crate::LogEnv { tail: crate::TailCache::new(0), ..world.env.clone() }, ..world };
    let mut log = world.open_small();
    for i in 0..20 {
        keyed(&mut log, world.now(), &[("a", Some(&format!("{i}")))]);
    }
    log.release_idle();
    let plan = log.plan_read(Offset(0), Offset(20), 1 << 20, true).unwrap();
    compact(&mut log, world.now(), LIMITS).unwrap().unwrap();
    assert!(plan.run().unwrap().next_offset > Offset(1));
    let now = log.read(Offset(0), Offset(20), 1 << 20, true).unwrap();
    assert!(now.bytes > 0 && seen(&log).len() < 10);
}

/// A rename needs room for a name, now and then. Wherever in an exchange that is missing, the log goes on, and a later round
/// does what this one could not.
#[test]
fn an_exchange_without_room_for_a_name_is_made_up_for() {
    let mut n = 0;
    loop {
        n += 1;
        let world = World::with_config(1, config());
        let mut log = world.open_small();
        for i in 0..20 {
            keyed(&mut log, world.now(), &[("a", Some(&format!("{i}"))), ("b", Some("x"))]);
        }
        log.flush(world.now()).unwrap();
        let before = table(&seen(&log));
        let mut round = log.plan_compaction(log.log_end_offset(), LIMITS, world.now()).unwrap().unwrap();
        let replacement = loop {
            match round.step(1000).unwrap() {
                Step::Replace(replacement) => break replacement,
                step => assert!(matches!(step, Step::Working { .. }), "there is something to replace"),
            }
        };
        let fails_at = world.disk.counts().mutations + n;
        world.disk.fail_mutation(fails_at, Fault::NoSpace);
        let exchanged = log.replace_segments(replacement, world.now()).and_then(|replaced| {
            replaced.expect("nobody else was here").sync()?;
            log.settle_replacement()
        });
        if let Err(e) = &exchanged {
            assert!(e.is_retriable(), "{n}: {e}");
        } else if world.disk.counts().mutations < fails_at {
            break;
        }
        assert!(log.is_online(), "{n}");
        assert_eq!(table(&seen(&log)), before, "{n}");
        keyed(&mut log, world.now(), &[("c", Some("later"))]);
        log.settle_replacement().unwrap();
        compact(&mut log, world.now(), LIMITS).unwrap();
        log.due_removals(world.now()).run().unwrap();
        let mut after = before.clone();
        after.insert(Bytes::from_static(b"c"), Bytes::from_static(b"later"));
        assert_eq!(table(&seen(&log)), after, "{n}");
        assert!(seen(&log).len() < 30, "{n}: it is compacted");
        let left = world.files();
        assert!(
            left.iter().all(|f| !f.contains(".cleaned") && !f.contains(".swap") && !f.contains(".deleted")),
            "{left:?}"
        );
        drop(log);
        world.disk.crash(&Random::from_seed(n));
        let log = world.reopen_unclean(Offset(0)).0;
        assert_eq!(table(&seen(&log)).get(&b"b"[..]), after.get(&b"b"[..]), "{n}");
    }
    assert!(n > 5, "every rename of an exchange had its turn: {n}");
}

#[test]
fn retention_without_room_for_a_name_deletes_at_once() {
    let config = LogConfig { compact: false, delete: true, retention_bytes: 0, ..config() };
    let mut n = 0;
    loop {
        n += 1;
        let world = World::with_config(1, config.clone());
        let mut log = world.open_small();
        for i in 0..20 {
            keyed(&mut log, world.now(), &[("a", Some(&format!("{i}")))]);
        }
        let plan = log.plan_read(Offset(0), Offset(20), 1 << 20, true).unwrap();
        let fails_at = world.disk.counts().mutations + n;
        world.disk.fail_mutation(fails_at, Fault::NoSpace);
        let deleted = log.delete_old_segments(Offset(20), world.now());
        // A new segment for the log's end does need room; then nothing was deleted yet.
        if let Err(e) = deleted {
            assert!(e.is_retriable(), "{n}: {e}");
            log.delete_old_segments(Offset(20), world.now()).unwrap();
        }
        assert!(log.is_online() && log.segment_count() == 1, "{n}");
        // Who was about to read goes on.
        assert!(plan.run().unwrap().bytes > 0, "{n}");
        if world.disk.counts().mutations < fails_at {
            break;
        }
        log.due_removals(world.now()).run().unwrap();
        let logs = world.files().into_iter().filter(|f| f.contains(".log")).count();
        assert_eq!(logs, 1, "{n}: {:?}", world.files());
    }
}
