//! [`Driver`]: runs one machine under the recorded contract on its log partition. Kafka's `CoordinatorRuntime`
//! (KIP-848) for coordinators and the event queue of its `QuorumController` (KIP-631), without their threads.
//!
//! | phase | entered by | a command is | left by |
//! |---|---|---|---|
//! | `Unloaded` | start, [`Driver::unload`] | refused: not the coordinator | [`Driver::load`] |
//! | `Loading(epoch)` | [`Driver::load`] | refused: loading | [`Driver::loaded`], [`Driver::unload`] |
//! | `Active(epoch)` | [`Driver::loaded`] | decided, appended, replayed at once, answered when committed | [`Driver::unload`] |
//!
//! A reply leaves once the last offset that its decision *saw* is committed, a read's reply too: nobody is ever
//! told of a state that a new leader may not have. Replies leave in the order of their commands. If the append is
//! refused, nothing was replayed, so the machine is as it was. If appended records are never committed, leadership
//! was lost: every waiting reply fails and the machine is dropped, to be built again from the log. The driver never
//! does IO: it appends through [`RecordLog`] and is told of the high watermark.

use std::collections::VecDeque;
use std::time::Duration;

use logrun_model::{LeaderEpoch, Monotonic, Now, Offset};
use logrun_wire::ErrorCode;
use thiserror::Error;

use crate::{Decision, Recorded};

/// The log partition that a machine writes to.
pub trait RecordLog {
    type Record;

    /// Appends the records as one atomic unit with consecutive offsets and gives the last one's.
    ///
    /// They need not be durable or replicated on return: the driver learns that from the high watermark.
    fn append(&mut self, records: &[Self::Record]) -> Result<Offset, AppendFailed>;
}

/// An append that left the log as it was.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the records were not appended ({error}): {message}")]
pub struct AppendFailed {
    /// Why, as Kafka's produce path would say it: `KAFKA_STORAGE_ERROR`, `NOT_ENOUGH_REPLICAS`, `MESSAGE_TOO_LARGE`, …
    pub error: ErrorCode,
    /// A sentence for the log.
    pub message: String,
}

impl AppendFailed {
    pub fn new(error: ErrorCode, message: impl Into<String>) -> Self {
        Self { error, message: message.into() }
    }
}

/// Why a command has no reply of the machine's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Failure {
    #[error("this node does not lead the log partition")]
    NotActive,
    #[error("the state is still being read from the log")]
    Loading,
    #[error(transparent)]
    Append(#[from] AppendFailed),
    /// The records may or may not survive: the client must ask again.
    #[error("leadership was lost before the records were committed")]
    NeverCommitted,
    #[error("the records were not committed in time")]
    TimedOut,
}

/// Whether the driver has a machine, and in which epoch of its log partition's leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Unloaded,
    Loading(LeaderEpoch),
    Active(LeaderEpoch),
}

/// An answer on its way out: the ticket that came with the command, and the reply or why there is none.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer<Ticket, Reply> {
    pub ticket: Ticket,
    pub outcome: Result<Reply, Failure>,
}

struct Waiting<Ticket, Reply> {
    /// Released once the high watermark is beyond it.
    last_offset: Offset,
    since: Monotonic,
    ticket: Ticket,
    reply: Reply,
}

/// Runs a machine. `Ticket` is whatever finds the asker again; the driver only carries it.
pub struct Driver<M: Recorded, Ticket> {
    phase: Phase,
    machine: Option<M>,
    waiting: VecDeque<Waiting<Ticket, M::Reply>>,
    /// The last offset replayed: what a decision made now has seen.
    last_written: Offset,
    /// Exclusive.
    high_watermark: Offset,
}

impl<M: Recorded, Ticket> Default for Driver<M, Ticket> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M: Recorded, Ticket> Driver<M, Ticket> {
    /// A driver with no machine.
    pub fn new() -> Self {
        Self {
            phase: Phase::Unloaded,
            machine: None,
            waiting: VecDeque::new(),
            last_written: Offset::NONE,
            high_watermark: Offset::ZERO,
        }
    }

    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The machine while it is active: what the next decision would see, committed or not.
    pub fn machine(&self) -> Option<&M> {
        match self.phase {
            Phase::Active(_) => self.machine.as_ref(),
            Phase::Unloaded | Phase::Loading(_) => None,
        }
    }

    /// The same, to be told what it learns by no record. Its state for the records stays as they made it.
    pub fn machine_mut(&mut self) -> Option<&mut M> {
        match self.phase {
            Phase::Active(_) => self.machine.as_mut(),
            Phase::Unloaded | Phase::Loading(_) => None,
        }
    }

    /// The last offset that was replayed, [`Offset::NONE`] before the first.
    pub fn last_written(&self) -> Offset {
        self.last_written
    }

    /// How many replies wait for their commit.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Begins to load an empty `machine` because this node leads the log partition in `epoch`. What was there
    /// before is dropped as by [`Self::unload`].
    pub fn load(&mut self, epoch: LeaderEpoch, machine: M, answers: &mut Vec<Answer<Ticket, M::Reply>>) {
        self.unload(answers);
        self.phase = Phase::Loading(epoch);
        self.machine = Some(machine);
    }

    /// Replays a record found in the log at `offset`. Ignored unless loading, since a load that was cut short by
    /// a change of leader may still have records on their way.
    pub fn replay(&mut self, offset: Offset, record: &M::Record) {
        if let (Phase::Loading(_), Some(machine)) = (self.phase, self.machine.as_mut()) {
            machine.replay_at(offset, record);
            self.last_written = offset;
        }
    }

    /// The log was read to its end: from here on commands are decided. Whether this ended the load of `epoch`;
    /// false if another election came between.
    pub fn loaded(&mut self, epoch: LeaderEpoch) -> bool {
        let now_active = self.phase == Phase::Loading(epoch);
        if now_active {
            self.phase = Phase::Active(epoch);
        }
        now_active
    }

    /// Leadership is lost: every waiting reply fails with [`Failure::NeverCommitted`], the machine is dropped.
    pub fn unload(&mut self, answers: &mut Vec<Answer<Ticket, M::Reply>>) {
        self.phase = Phase::Unloaded;
        self.machine = None;
        self.last_written = Offset::NONE;
        self.high_watermark = Offset::ZERO;
        let failed = |w: Waiting<Ticket, M::Reply>| Answer { ticket: w.ticket, outcome: Err(Failure::NeverCommitted) };
        answers.extend(self.waiting.drain(..).map(failed));
    }

    /// Decides a command. The answer is in `answers` on return, or comes later from [`Self::committed`],
    /// [`Self::expire`] or [`Self::unload`]; exactly one answer comes for each ticket.
    pub fn submit<L>(
        &mut self,
        now: Now,
        ticket: Ticket,
        command: M::Command,
        log: &mut L,
        answers: &mut Vec<Answer<Ticket, M::Reply>>,
    ) where
        L: RecordLog<Record = M::Record> + ?Sized,
    {
        let refusal = match self.phase {
            Phase::Active(_) => None,
            Phase::Loading(_) => Some(Failure::Loading),
            Phase::Unloaded => Some(Failure::NotActive),
        };
        let (None, Some(machine)) = (&refusal, self.machine.as_mut()) else {
            answers.push(Answer { ticket, outcome: Err(refusal.unwrap_or(Failure::NotActive)) });
            return;
        };
        let Decision { records, reply } = machine.decide(now, command);
        if !records.is_empty() {
            match log.append(&records) {
                Ok(last) => {
                    let first = last.get() - (records.len() as i64 - 1);
                    for (offset, record) in (first..).zip(&records) {
                        machine.replay_at(Offset(offset), record);
                    }
                    self.last_written = last;
                }
                Err(failed) => {
                    answers.push(Answer { ticket, outcome: Err(failed.into()) });
                    return;
                }
            }
        }
        if self.is_committed(self.last_written) && self.waiting.is_empty() {
            answers.push(Answer { ticket, outcome: Ok(reply) });
        } else {
            self.waiting.push_back(Waiting { last_offset: self.last_written, since: now.monotonic, ticket, reply });
        }
    }

    /// The log is committed below `high_watermark`: releases the replies that waited for it.
    pub fn committed(&mut self, high_watermark: Offset, answers: &mut Vec<Answer<Ticket, M::Reply>>) {
        self.high_watermark = self.high_watermark.max(high_watermark);
        while self.waiting.front().is_some_and(|w| self.is_committed(w.last_offset)) {
            if let Some(w) = self.waiting.pop_front() {
                answers.push(Answer { ticket: w.ticket, outcome: Ok(w.reply) });
            }
        }
    }

    /// Gives up on the replies that have waited for `timeout` (`offsets.commit.timeout.ms` for groups). The
    /// records stay appended and replayed: whether they will be committed is open, as the client is told.
    pub fn expire(&mut self, now: Monotonic, timeout: Duration, answers: &mut Vec<Answer<Ticket, M::Reply>>) {
        while self.waiting.front().is_some_and(|w| w.since.plus(timeout) <= now) {
            if let Some(w) = self.waiting.pop_front() {
                answers.push(Answer { ticket: w.ticket, outcome: Err(Failure::TimedOut) });
            }
        }
    }

    /// Since when the longest-waiting reply has waited.
    pub fn oldest_waiting(&self) -> Option<Monotonic> {
        self.waiting.front().map(|w| w.since)
    }

    fn is_committed(&self, offset: Offset) -> bool {
        offset < self.high_watermark
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// A register per key; `Add` is refused above 100.
    #[derive(Clone, Debug, Default, PartialEq)]
    struct Registers(BTreeMap<u8, i64>);

    #[derive(Clone, Debug)]
    enum Command {
        Add(u8, i64),
        Read(u8),
    }

    impl Recorded for Registers {
        type Command = Command;
        type Record = (u8, i64);
        type Reply = Option<i64>;

        fn decide(&self, _: Now, command: Command) -> Decision<(u8, i64), Option<i64>> {
            let at = |k| self.0.get(&k).copied().unwrap_or(0);
            match command {
                Command::Add(k, n) if at(k) + n > 100 => Decision::reply(None),
                Command::Add(k, n) => Decision { records: vec![(k, at(k)), (k, at(k) + n)], reply: Some(at(k) + n) },
                Command::Read(k) => Decision::reply(Some(at(k))),
            }
        }

        fn replay(&mut self, (k, v): &(u8, i64)) {
            self.0.insert(*k, *v);
        }
    }

    #[derive(Default)]
    struct MemLog {
        records: Vec<(u8, i64)>,
        full: bool,
    }

    impl RecordLog for MemLog {
        type Record = (u8, i64);

        fn append(&mut self, records: &[(u8, i64)]) -> Result<Offset, AppendFailed> {
            if self.full {
                return Err(AppendFailed::new(ErrorCode::KafkaStorageError, "the disk is full"));
            }
            self.records.extend_from_slice(records);
            Ok(Offset(self.records.len() as i64 - 1))
        }
    }

    fn at(ms: i64) -> Now {
        Now { monotonic: Monotonic::default().plus_ms(ms), ..Now::default() }
    }

    fn active(log: &MemLog) -> Driver<Registers, u32> {
        let mut driver = Driver::new();
        let mut answers = Vec::new();
        driver.load(LeaderEpoch(3), Registers::default(), &mut answers);
        for (i, r) in log.records.iter().enumerate() {
            driver.replay(Offset(i as i64), r);
        }
        assert!(driver.loaded(LeaderEpoch(3)));
        driver.committed(Offset(log.records.len() as i64), &mut answers);
        assert!(answers.is_empty());
        driver
    }

    #[test]
    fn a_read_waits_for_what_it_saw() {
        let mut log = MemLog::default();
        let mut d = active(&log);
        let mut out = Vec::new();
        d.submit(at(0), 1, Command::Read(1), &mut log, &mut out);
        assert_eq!(out, [Answer { ticket: 1, outcome: Ok(Some(0)) }]);
        out.clear();
        d.submit(at(0), 2, Command::Add(1, 7), &mut log, &mut out);
        d.submit(at(0), 3, Command::Read(1), &mut log, &mut out);
        d.committed(Offset(1), &mut out);
        assert!(out.is_empty(), "the second record is at offset 1, so not yet below the high watermark");
        d.committed(Offset(2), &mut out);
        let ok = |ticket| Answer { ticket, outcome: Ok(Some(7)) };
        assert_eq!(out, [ok(2), ok(3)]);
    }

    #[test]
    fn a_refused_append_changes_nothing() {
        let mut log = MemLog { full: true, ..Default::default() };
        let mut d = active(&log);
        let mut out = Vec::new();
        d.submit(at(0), 1, Command::Add(1, 7), &mut log, &mut out);
        assert!(matches!(&out[0].outcome, Err(Failure::Append(f)) if f.error == ErrorCode::KafkaStorageError));
        assert_eq!(d.machine(), Some(&Registers::default()));
        log.full = false;
        d.submit(at(0), 2, Command::Add(1, 8), &mut log, &mut out);
        d.committed(Offset(2), &mut out);
        assert_eq!(out[1].outcome, Ok(Some(8)));
    }

    #[test]
    fn phases_refuse_and_fail() {
        let mut log = MemLog::default();
        let mut out = Vec::new();
        let mut d: Driver<Registers, u32> = Driver::new();
        d.submit(at(0), 1, Command::Read(1), &mut log, &mut out);
        d.load(LeaderEpoch(1), Registers::default(), &mut out);
        d.submit(at(0), 2, Command::Read(1), &mut log, &mut out);
        assert!(!d.loaded(LeaderEpoch(0)), "an older election's load does not end this one");
        assert!(d.loaded(LeaderEpoch(1)));
        d.submit(at(5), 3, Command::Add(1, 1), &mut log, &mut out);
        d.submit(at(9), 4, Command::Read(1), &mut log, &mut out);
        assert_eq!(d.oldest_waiting(), Some(at(5).monotonic));
        d.expire(at(10).monotonic, Duration::from_millis(5), &mut out);
        d.unload(&mut out);
        let outcomes: Vec<_> = out.iter().map(|a| (a.ticket, a.outcome.clone().unwrap_err())).collect();
        let expected =
            [(1, Failure::NotActive), (2, Failure::Loading), (3, Failure::TimedOut), (4, Failure::NeverCommitted)];
        assert_eq!(outcomes, expected);
        assert!(d.machine().is_none());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Submit(Command),
        Commit(u8),
        DiskFull(bool),
        Reelect,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0u8..3, -20i64..60).prop_map(|(k, n)| Step::Submit(Command::Add(k, n))),
            2 => (0u8..3).prop_map(|k| Step::Submit(Command::Read(k))),
            3 => (0u8..6).prop_map(Step::Commit),
            1 => any::<bool>().prop_map(Step::DiskFull),
            1 => Just(Step::Reelect),
        ]
    }

    proptest! {
        /// Each ticket is answered once; answers are those of a machine that applied exactly the log; replies in order;
        /// nothing uncommitted is ever told; a machine built again from the committed log agrees with all that was told.
        #[test]
        fn follows_its_log(steps in proptest::collection::vec(step(), 1..80)) {
            let mut log = MemLog::default();
            let mut d = active(&log);
            let mut out = Vec::new();
            let (mut hw, mut next, mut submitted) = (0usize, 0u32, 0u32);
            for s in steps {
                let before = out.len();
                match s {
                    Step::Submit(c) => {
                        d.submit(at(0), next, c, &mut log, &mut out);
                        next += 1;
                        submitted += 1;
                    }
                    Step::Commit(n) => {
                        // Units are of two records; the high watermark may stand between them.
                        hw = (hw + n as usize).min(log.records.len());
                        d.committed(Offset(hw as i64), &mut out);
                    }
                    Step::DiskFull(full) => log.full = full,
                    Step::Reelect => {
                        d.unload(&mut out);
                        log.records.truncate(hw - hw % 2);
                        hw = log.records.len();
                        let mut reloaded = active(&log);
                        std::mem::swap(&mut d, &mut reloaded);
                    }
                }
                for a in &out[before..] {
                    if let Ok(Some(_)) = a.outcome {
                        prop_assert!(d.phase() == Phase::Active(LeaderEpoch(3)));
                    }
                }
                let mut model = Registers::default();
                log.records.iter().for_each(|r| model.replay(r));
                prop_assert_eq!(d.machine(), Some(&model));
            }
            d.unload(&mut out);
            let mut tickets: Vec<u32> = out.iter().map(|a| a.ticket).collect();
            tickets.sort_unstable();
            prop_assert_eq!(tickets, (0..submitted).collect::<Vec<_>>());
            let ok: Vec<u32> = out.iter().filter(|a| a.outcome.is_ok()).map(|a| a.ticket).collect();
            prop_assert!(ok.is_sorted());
        }
    }
}
