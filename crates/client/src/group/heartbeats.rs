//! [`Heartbeats`]: when a member of a group speaks, if the coordinator divides (KIP-848, KIP-932). Kafka's
//! `AbstractHeartbeatRequestManager`.
//!
//! One heartbeat at a time, at the distances that the coordinator asks for: sooner with news, later after failures. The
//! first only after a poll, and none any more when the last poll is `max.poll.interval.ms` ago. No IO, no clock.

use logrun_io::Random;
use logrun_model::Monotonic;

use crate::backoff::Backoff;

/// See the module.
#[derive(Debug)]
pub(crate) struct Heartbeats {
    max_poll_interval_ms: i32,
    backoff: Backoff,
    random: Random,
    interval_ms: i32,
    due: Monotonic,
    in_flight: Option<u64>,
    next_number: u64,
    awaits_poll: bool,
    failures: u32,
    last_poll: Monotonic,
}

impl Heartbeats {
    /// `interval_ms` until the coordinator says otherwise.
    pub fn new(interval_ms: i32, max_poll_interval_ms: i32, backoff: Backoff, random: Random) -> Self {
        Self {
            max_poll_interval_ms,
            backoff,
            random,
            interval_ms,
            due: Monotonic::default(),
            in_flight: None,
            next_number: 1,
            awaits_poll: true,
            failures: 0,
            last_poll: Monotonic::default(),
        }
    }

    /// The application has polled: it lives.
    pub fn polled(&mut self, now: Monotonic) {
        self.last_poll = now;
        self.awaits_poll = false;
    }

    /// The member doesn't join before the application polls.
    pub fn await_poll(&mut self) {
        self.awaits_poll = true;
    }

    /// Whether the application hasn't polled for too long.
    pub fn is_abandoned(&self, now: Monotonic) -> bool {
        now >= self.poll_deadline()
    }

    fn poll_deadline(&self) -> Monotonic {
        self.last_poll.plus_ms(self.max_poll_interval_ms.into())
    }

    /// Whether a member that is none yet may say so.
    pub fn may_join(&self, now: Monotonic) -> bool {
        !self.awaits_poll && self.is_due(now)
    }

    /// Whether it is time for the next one.
    pub fn is_due(&self, now: Monotonic) -> bool {
        now >= self.due
    }

    /// Whether one is without an answer.
    pub fn is_under_way(&self) -> bool {
        self.in_flight.is_some()
    }

    /// When a member that is none yet may say so.
    pub fn join_deadline(&self) -> Option<Monotonic> {
        (!self.awaits_poll).then_some(self.due)
    }

    /// When a member has something to do: to speak, or to find that nobody polls.
    pub fn deadline(&self) -> Monotonic {
        let poll = self.poll_deadline();
        if self.is_under_way() { poll } else { poll.min(self.due) }
    }

    /// There is something to say at once.
    pub fn hurry(&mut self, now: Monotonic) {
        self.due = self.due.min(now);
    }

    /// The number of another request.
    pub fn number(&mut self) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        number
    }

    /// The heartbeat with this number is on its way.
    pub fn sent(&mut self, now: Monotonic, number: u64) {
        self.due = now.plus_ms(self.interval_ms.into());
        self.expect(number);
    }

    /// The answer to this number is the one that counts.
    pub fn expect(&mut self, number: u64) {
        self.in_flight = Some(number);
    }

    /// Whatever is on its way, its answer doesn't count.
    pub fn forget(&mut self) {
        self.in_flight = None;
    }

    /// An answer has come. Whether it counts.
    pub fn answered(&mut self, number: u64) -> bool {
        self.in_flight.take_if(|expected| *expected == number).is_some()
    }

    /// The coordinator has taken what it was told, and wants to hear the next after `interval_ms`; at once if there is
    /// `news` since.
    pub fn accepted(&mut self, now: Monotonic, interval_ms: i32, news: bool) {
        self.failures = 0;
        self.interval_ms = interval_ms;
        if !news {
            self.due = now.plus_ms(interval_ms.into());
        }
    }

    /// It failed: the next one comes after a back-off.
    pub fn failed(&mut self, now: Monotonic) {
        self.due = now.plus(self.backoff.after(self.failures, &self.random));
        self.failures = self.failures.saturating_add(1);
    }
}
