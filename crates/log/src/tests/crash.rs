//! Crashes at every operation, compared with a model.
//!
//! A run of random operations is repeated with the world stopping at each of its mutations in turn, by the
//! death of the process or by a power cut, and the log is opened again. What must hold then:
//!
//! - offsets are contiguous, every batch is one that was appended there, CRCs are good;
//! - a killed process loses nothing that was appended, a power cut nothing that was flushed;
//! - nothing comes back that a truncation removed;
//! - producers and aborted transactions are those that a walk over the batches gives;
//! - the log goes on from there.

use std::collections::VecDeque;
use std::path::Path;
use std::task::{Context, Poll, Waker};

use logrun_io::{Random, disk::Fault};
use logrun_model::{LeaderEpoch, Offset};
use logrun_partition::ProducerStateManager;
use logrun_record::{Batch, Limits, PreparedBatch};
use proptest::prelude::*;

use super::support::*;
use crate::error::IoContext;
use crate::{Durability, Durable, JournalConfig, Journaled, Log, LogConfig, LogError, OpenState, Promise, Writing};

const TOPIC_ID: logrun_model::TopicId = logrun_model::Uuid([7; 16]);

/// A batch's base and next offset, and its bytes.
type Appended = (i64, i64, Vec<u8>);

/// What the log is known to hold.
#[derive(Clone, Default)]
struct Model {
    batches: Vec<Appended>,
    /// What was appended by a call that did not return.
    in_flight: Vec<Appended>,
    /// All below must be there after a power cut.
    flushed: i64,
    /// A truncation to this offset was begun and did not return.
    truncating: Option<i64>,
    /// A deletion that was begun may have moved the start up to here.
    start: i64,
    start_max: i64,
    recovery_point: i64,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ranges = |list: &[Appended]| list.iter().map(|b| (b.0, b.1)).collect::<Vec<_>>();
        write!(
            f,
            "batches {:?} in flight {:?} flushed {} truncating {:?} start {}..{} recovery point {}",
            ranges(&self.batches),
            ranges(&self.in_flight),
            self.flushed,
            self.truncating,
            self.start,
            self.start_max,
            self.recovery_point
        )
    }
}

impl Model {
    fn end(&self) -> i64 {
        self.batches.last().map_or(self.start, |b| b.1)
    }
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Append {
        batches: u8,
        records: u8,
    },
    Producer {
        producer: u8,
        transactional: bool,
    },
    Marker {
        producer: u8,
        commit: bool,
    },
    /// Waits until what was appended is durable, as a produce under `logrun.durability=sync` does.
    Sync,
    Flush,
    Checkpoint,
    Roll,
    Truncate {
        percent: u8,
    },
    StartAnew {
        ahead: u8,
    },
    Delete {
        percent: u8,
    },
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (1u8..4, 1u8..5).prop_map(|(batches, records)| Op::Append { batches, records }),
        2 => (0u8..3, any::<bool>()).prop_map(|(producer, transactional)| Op::Producer { producer, transactional }),
        1 => (0u8..3, any::<bool>()).prop_map(|(producer, commit)| Op::Marker { producer, commit }),
        1 => Just(Op::Sync),
        2 => Just(Op::Flush),
        2 => Just(Op::Checkpoint),
        1 => Just(Op::Roll),
        1 => (0u8..110).prop_map(|percent| Op::Truncate { percent }),
        1 => (0u8..20).prop_map(|ahead| Op::StartAnew { ahead }),
        1 => (0u8..100).prop_map(|percent| Op::Delete { percent }),
        1 => Just(Op::Reopen),
    ]
}

struct Run {
    world: World,
    model: Model,
    sequences: [i32; 3],
    in_txn: [bool; 3],
    /// Counts all batches, so that no two are alike.
    serial: i64,
    epoch: i32,
    /// Goes on after an error that leaves the log online.
    keep_going: bool,
    writing: Writing,
    /// What was appended and is still to be written, with when it is.
    gathered: VecDeque<(Durable, Vec<Appended>)>,
    /// Where what is gathered is written, when it has its turn.
    runtime: tokio::runtime::Runtime,
}

/// How a run's log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    AtOnce,
    Journaled,
    JournaledAfter,
    Gathered,
    Both,
}

fn way() -> impl Strategy<Value = Way> {
    prop_oneof![
        Just(Way::AtOnce),
        Just(Way::Journaled),
        Just(Way::JournaledAfter),
        Just(Way::Gathered),
        Just(Way::Both)
    ]
}

impl Run {
    fn new(config: LogConfig) -> Self {
        let world = World::with_config(1, config);
        Self {
            world,
            model: Model::default(),
            sequences: [0; 3],
            in_txn: [false; 3],
            serial: 0,
            epoch: 0,
            keep_going: false,
            writing: Writing::default(),
            gathered: VecDeque::new(),
            runtime: tokio::runtime::Builder::new_current_thread().build().unwrap(),
        }
    }

    fn written(mut self, way: Way) -> Self {
        if way == Way::JournaledAfter {
            self.world.config.durability = Durability::Sync;
        }
        // The journal is small enough to be used round and round.
        self.writing = Writing {
            journal: match way {
                Way::Journaled | Way::Both => journal_for_all(8 << 10),
                Way::JournaledAfter => Some(JournalConfig { journaled: Journaled::Synced, bytes: 8 << 10 }),
                Way::AtOnce | Way::Gathered => None,
            },
            gather_bytes: match way {
                Way::Gathered => 0,
                Way::Both => 200,
                _ => usize::MAX,
            },
        };
        self
    }

    fn append(&mut self, log: &mut Log, mut batches: Vec<PreparedBatch>) -> Result<(), LogError> {
        for b in &mut batches {
            b.assign(b.header().base_offset, LeaderEpoch(self.epoch));
        }
        self.model.in_flight = batches
            .iter()
            .map(|b| (b.header().base_offset.get(), b.header().next_offset().get(), b.to_bytes().to_vec()))
            .collect();
        let appended = {
            let _in = self.runtime.enter();
            log.append_groups(&batches, None, true, self.world.now())?
        };
        if let Durable::Pending(Promise::Synced, _) = appended.durable {
            // Not each: the next one's promise is for those before it, too.
            if self.serial % 3 != 0 {
                block_on(appended.durable.wait())?;
                self.model.flushed = log.log_end_offset().get();
            }
            self.model.batches.append(&mut self.model.in_flight);
            return Ok(());
        }
        self.gathered.push_back((appended.durable, std::mem::take(&mut self.model.in_flight)));
        if self.serial % 3 == 0 {
            self.runtime.block_on(tokio::task::yield_now());
        }
        self.acknowledge()
    }

    /// What was waited for is there now, or has failed.
    fn acknowledge(&mut self) -> Result<(), LogError> {
        while let Some((durable, _)) = self.gathered.front_mut() {
            if let Durable::Pending(_, told) = durable {
                match told.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(outcome) => outcome?,
                    Poll::Pending => break,
                }
            }
            let acknowledged = self.gathered.pop_front().map(|(_, batches)| batches);
            self.model.batches.extend(acknowledged.into_iter().flatten());
        }
        Ok(())
    }

    /// Everything is written.
    fn settle(&mut self, log: &Log) -> Result<(), LogError> {
        log.write_queued()?;
        self.acknowledge()?;
        assert!(self.gathered.is_empty(), "somebody waits for what is written");
        Ok(())
    }

    fn step(&mut self, log: &mut Log, op: Op) -> Result<(), LogError> {
        let now = self.world.now();
        let end = log.log_end_offset().get();
        self.serial += 1;
        if !matches!(op, Op::Append { .. } | Op::Producer { .. } | Op::Marker { .. }) {
            self.settle(log)?;
        }
        match op {
            Op::Append { batches, records } => {
                let records = i64::from(records);
                let list = (0..i64::from(batches))
                    .map(|i| batch_with_time(end + i * records, records, self.epoch, WALL_MS + self.serial * 10 + i))
                    .collect();
                self.append(log, list)
            }
            Op::Producer { producer, transactional } => {
                let p = usize::from(producer);
                let transactional = transactional || self.in_txn[p];
                let batch = producer_batch(end, 2, i64::from(producer) + 10, self.sequences[p], transactional);
                self.append(log, vec![batch])?;
                self.sequences[p] += 2;
                self.in_txn[p] |= transactional;
                Ok(())
            }
            Op::Marker { producer, commit } => {
                self.append(log, vec![marker(end, i64::from(producer) + 10, commit)])?;
                self.in_txn[usize::from(producer)] = false;
                Ok(())
            }
            Op::Sync => {
                block_on(log.durable().wait())?;
                self.model.flushed = end;
                Ok(())
            }
            Op::StartAnew { ahead } => {
                let at = log.log_start_offset().get() + i64::from(ahead);
                self.model.truncating = Some(self.model.start);
                log.truncate_fully_and_start_at(Offset(at), now)?;
                self.model.truncating = None;
                self.model.batches.clear();
                // The caller writes both checkpoints before the next append.
                (self.model.start, self.model.start_max) = (at, at);
                (self.model.flushed, self.model.recovery_point) = (at, at);
                self.epoch += 1;
                self.in_txn = [false; 3];
                Ok(())
            }
            Op::Flush | Op::Checkpoint => {
                log.flush(now)?;
                self.model.flushed = end;
                if matches!(op, Op::Checkpoint) {
                    self.model.recovery_point = log.recovery_point().get();
                }
                Ok(())
            }
            Op::Roll => log.roll(now).map(|_| ()),
            Op::Truncate { percent } => {
                let span = end - log.log_start_offset().get();
                let to = log.log_start_offset().get() + span * i64::from(percent) / 100;
                // At a batch's beginning, as leaders' answers are.
                let to = self.model.batches.iter().map(|b| b.0).find(|b| *b >= to).unwrap_or(end);
                self.model.truncating = Some(to);
                log.truncate_to(Offset(to), now)?;
                self.model.truncating = None;
                self.model.batches.retain(|b| b.0 < to);
                self.model.flushed = self.model.flushed.min(to);
                // The caller writes the checkpoint before the next append.
                self.model.recovery_point = self.model.recovery_point.min(to);
                self.epoch += 1;
                self.in_txn = [false; 3];
                Ok(())
            }
            Op::Delete { percent } => {
                let span = end - log.log_start_offset().get();
                let start = log.log_start_offset().get() + span * i64::from(percent) / 100;
                self.model.start_max = start;
                log.set_log_start_offset(Offset(start))?;
                log.delete_old_segments(Offset(end), now)?;
                log.due_removals(now).run()?;
                // The caller writes the log-start checkpoint.
                self.model.start = start;
                self.model.batches.retain(|b| b.1 > start);
                Ok(())
            }
            Op::Reopen => {
                log.close(now)?;
                self.model.flushed = end;
                self.model.recovery_point = end;
                Ok(())
            }
        }
    }

    fn open(&mut self, clean: bool) -> Result<(Log, crate::RecoveryReport), LogError> {
        // As the start of a process does.
        let journal = if clean { crate::journal::remove } else { crate::journal::redo };
        journal(&self.world.disk, Path::new("/data")).during("redo", Path::new("/data"))?;
        self.world.env.tail = crate::TailCache::with_writing(1 << 20, self.writing);
        let state = OpenState {
            log_start_offset: Offset(self.model.start),
            recovery_point: Offset(self.model.recovery_point),
            clean_shutdown: clean,
            ..OpenState::NEW
        };
        let (mut log, report) =
            Log::open(&self.world.env, Path::new(DIR), self.world.config.clone(), state, self.world.now())?;
        if self.writing.journal.is_some() {
            log.set_topic_id(TOPIC_ID)?;
        }
        Ok((log, report))
    }

    /// Runs `ops` until one fails; returns whether all went well.
    fn run(&mut self, ops: &[Op]) -> bool {
        let Ok((mut log, _)) = self.open(false) else { return false };
        for op in ops {
            if self.step(&mut log, *op).is_err() {
                if !self.keep_going || log.check_online().is_err() {
                    return false;
                }
                if self.settle(&log).is_err() {
                    return false;
                }
                // What of a failed append is there, the log's end tells.
                let end = log.log_end_offset().get();
                let there = self.model.in_flight.iter().take_while(|b| b.1 <= end).count();
                self.model.batches.extend(self.model.in_flight.drain(..there));
                self.model.in_flight.clear();
                self.model.start = log.log_start_offset().get();
                let start = self.model.start;
                self.model.batches.retain(|b| b.1 > start);
                continue;
            }
            if matches!(op, Op::Reopen) {
                drop(log);
                match self.open(true) {
                    Ok((reopened, _)) => log = reopened,
                    Err(_) => return false,
                }
            }
        }
        true
    }

    /// Opens the log after a crash and compares it with the model; appends and checks once more.
    fn check(&mut self, power_cut: bool) {
        let (mut log, report) = self.open(false).unwrap();
        let m = &self.model;
        let found = read_batches(&log, 10_000);
        let mut possible: Vec<&Appended> = m.batches.iter().collect();
        possible.extend(self.gathered.iter().flat_map(|(_, batches)| batches));
        possible.extend(&m.in_flight);
        possible.retain(|b| b.1 > log.log_start_offset().get());
        for (i, b) in found.iter().enumerate() {
            let bytes = possible.get(i).unwrap_or_else(|| panic!("batch {i} is not the model's: {report:?} {m:?}"));
            let (at, wanted) = (b.header.base_offset.get(), bytes.0);
            assert!(b.bytes[..] == bytes.2[..], "batch {i} at {at} should be that at {wanted}; {report:?} {m:?}");
        }
        let end = found.last().map_or(log.log_start_offset().get(), |b| b.header.next_offset().get());
        let must = if power_cut { m.flushed } else { m.end() };
        let must = m.truncating.map_or(must, |to| must.min(to)).max(m.start);
        assert!(
            end >= must || log.log_end_offset().get() >= must && found.is_empty(),
            "{end} < {must}: {report:?} {m:?}"
        );
        assert!(end <= log.log_end_offset().get());
        self.check_state(&log, &found);
        // It goes on, and a clean stop and start changes nothing.
        let at = log.log_end_offset().get();
        let next = batch_at(at, 3, 1000);
        log.append(std::slice::from_ref(&next), self.world.now()).unwrap();
        log.close(self.world.now()).unwrap();
        let (log, report) = self.open(true).unwrap();
        assert_eq!(report, crate::RecoveryReport::default());
        let mut again = read_batches(&log, 10_000);
        assert_eq!(again.pop().unwrap().bytes, next.to_bytes());
        assert_eq!(again, found);
        self.check_state(&log, &read_batches(&log, 10_000));
    }

    fn check_state(&self, log: &Log, found: &[Batch]) {
        // Producers whose batches were all deleted may still be known; those that have batches must be.
        let mut producers = ProducerStateManager::new(log.log_start_offset(), i64::MAX);
        let mut aborted = 0;
        let limits = Limits::default();
        for b in found {
            aborted += producers.replay(b, &limits).unwrap().iter().filter(|t| t.is_aborted).count();
        }
        for p in producers.active_producers() {
            let known = log.producers().entry(p.producer_id).expect("a producer is unknown");
            if p.last_batch().is_some() {
                assert_eq!(known.last_sequence(), p.last_sequence());
            }
        }
        let listed = log.aborted_transactions(log.log_start_offset(), log.log_end_offset()).unwrap();
        assert!(listed.len() >= aborted, "{} aborted transactions are listed of {aborted}", listed.len());
        for e in log.epochs().entries() {
            assert!(e.start_offset < log.log_end_offset() || found.is_empty());
        }
        if let Some(last) = found.last() {
            assert_eq!(log.latest_epoch(), Some(last.header.partition_leader_epoch));
        }
    }
}

fn config() -> LogConfig {
    LogConfig { file_delete_delay_ms: 0, producer_id_expiration_ms: i64::MAX, ..small_config() }
}

/// How often a property is tried: `PROPTEST_CASES`, or else `usually`.
fn cases(usually: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|v| v.parse().ok()).unwrap_or(usually)
}

/// How many mutations `ops` take without faults.
fn mutations(ops: &[Op], way: Way) -> u64 {
    let mut run = Run::new(config()).written(way);
    assert!(run.run(ops));
    run.world.disk.counts().mutations
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(24)))]

    #[test]
    fn a_stop_at_any_operation_loses_nothing_it_should_not(
        ops in proptest::collection::vec(op(), 1..25),
        seed: u64,
        way in way(),
    ) {
        let total = mutations(&ops, way);
        for n in 1..=total + 1 {
            for power_cut in [false, true] {
                let mut run = Run::new(config()).written(way);
                run.world.disk.halt_at(n);
                run.run(&ops);
                if power_cut {
                    run.world.disk.crash(&Random::from_seed(seed ^ n));
                } else {
                    run.world.disk.kill();
                }
                run.check(power_cut);
            }
        }
    }

    #[test]
    fn a_fault_at_any_operation_keeps_the_log_whole(
        ops in proptest::collection::vec(op(), 1..20),
        fault in prop_oneof![Just(Fault::Io), Just(Fault::NoSpace), Just(Fault::Torn)],
        way in way(),
    ) {
        let total = mutations(&ops, way);
        for n in 1..=total {
            let mut run = Run::new(config()).written(way);
            run.keep_going = true;
            run.world.disk.fail_mutation(n, fault);
            run.run(&ops);
            run.world.disk.kill();
            run.check(false);
        }
    }
}

/// Found by the simulation: what a killed process left was in the page cache only, names included, and the next
/// process built on it.
#[test]
fn a_power_cut_takes_nothing_that_the_process_after_a_kill_acknowledged() {
    for seed in 0..200 {
        let config = LogConfig { durability: Durability::Sync, ..small_config() };
        let world = World::with_config(seed, config);
        let mut log = world.open_small();
        log.append(&[batch_at(0, 2, 0)], world.now()).unwrap();
        drop(log);
        world.disk.kill();
        let (mut log, _) = world.reopen_unclean(Offset(0));
        // What is there when it opens is what a leader takes for committed.
        let mut end = log.log_end_offset();
        if seed % 2 == 0 {
            let appended = log.append(&[batch_at(end.get(), 1, 0)], world.now()).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(appended.durable.wait()).unwrap();
            end = log.log_end_offset();
        }
        drop(log);
        world.disk.crash(&Random::from_seed(seed));
        assert_eq!(world.reopen_unclean(Offset(0)).0.log_end_offset(), end, "seed {seed}");
    }
}

/// The journal must be told again when it could not be told to forget: else what a truncation removed is taken, after a
/// kill, for what another program wrote, and what follows is lost.
#[test]
fn a_truncation_that_failed_is_told_to_the_journal_by_the_next() {
    let ops = [
        Op::Producer { producer: 0, transactional: false },
        Op::Truncate { percent: 0 },
        Op::Truncate { percent: 0 },
        Op::Append { batches: 1, records: 1 },
        Op::Append { batches: 1, records: 1 },
    ];
    for n in 1..=mutations(&ops, Way::Journaled) {
        let mut run = Run::new(config()).written(Way::Journaled);
        run.keep_going = true;
        run.world.disk.fail_mutation(n, Fault::Io);
        run.run(&ops);
        run.world.disk.kill();
        run.check(false);
    }
}
