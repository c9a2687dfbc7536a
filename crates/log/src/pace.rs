//! Those who read what is in no memory give way to those who append.
//!
//! A device does what it is asked in about the order in which it was asked. Who scans a long log asks for megabytes, again and
//! again, and whatever the file system has to write so that an append can go on waits behind them: for hundreds of
//! milliseconds, as Kafka's producers know. So beside appends to the same directory the reads of cold data are short, one
//! at a time, and the slower the appends the longer the rests between them:
//!
//! | appends to the directory | a cold read |
//! |---|---|
//! | none for [`ALONE`] | goes at once, whole |
//! | quick | waits for the one before it, and is done in pieces of [`PIECE_BYTES`] |
//! | one was slow, a while ago | the same, and a rest follows each piece: longer by each slow one, shorter with time |
//! | one is slow right now | waits until that is over, though not for ever |
//!
//! Must never hold up who reads alone, nor who appends. Decides by the times that it is told; [`Pace`] does the waiting.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use logrun_io::Clock;
use logrun_model::Monotonic;
use parking_lot::Mutex;

/// When nobody has appended for so long, whoever reads is alone.
const ALONE: Duration = Duration::from_millis(200);
/// An append that takes longer is slow: into the page cache it's a few microseconds.
const SLOW: Duration = Duration::from_millis(2);
/// What was gathered, and may have to wait for the device, is slow when less than so many bytes get done in a millisecond more.
const SLOW_BYTES_PER_MS: u64 = 64 << 10;
/// What is read at a time beside appends.
pub(crate) const PIECE_BYTES: usize = 512 << 10;
/// The rest after a piece, when appends have been slow once, and at most.
const REST_MIN: Duration = Duration::from_millis(1);
const REST_MAX: Duration = Duration::from_millis(32);
/// In so long without a slow append the rest becomes half as long.
const FORGIVEN: Duration = Duration::from_millis(100);
/// How long one piece waits at most: who reads must come to an end, too.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long until it's looked again whether a slow append is over.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// The decisions.
#[derive(Debug, Default)]
struct Machine {
    next: u64,
    /// When the appends that have not ended will be slow.
    under_way: BTreeMap<u64, Monotonic>,
    last_append: Option<Monotonic>,
    rest: Duration,
    /// When the rest was made longer or shorter.
    judged_at: Monotonic,
    /// No piece is read before.
    rests_until: Monotonic,
}

impl Machine {
    /// An append begins, or the write of `gathered_bytes`.
    fn append_begins(&mut self, gathered_bytes: u64, now: Monotonic) -> u64 {
        self.next += 1;
        self.under_way.insert(self.next, now.plus(SLOW + Duration::from_millis(gathered_bytes / SLOW_BYTES_PER_MS)));
        self.next
    }

    fn append_ends(&mut self, number: u64, now: Monotonic) {
        let Some(slow_from) = self.under_way.remove(&number) else { return };
        self.last_append = Some(now);
        self.forgive(now);
        if now > slow_from {
            self.rest = (self.rest * 2).clamp(REST_MIN, REST_MAX);
            self.judged_at = now;
        }
    }

    /// Makes the rest shorter for the time that has gone well.
    fn forgive(&mut self, now: Monotonic) {
        while !self.rest.is_zero() && now.since(self.judged_at) >= FORGIVEN {
            self.judged_at = self.judged_at.plus(FORGIVEN);
            self.rest = if self.rest > REST_MIN { self.rest / 2 } else { Duration::ZERO };
        }
    }

    fn is_alone(&self, now: Monotonic) -> bool {
        self.under_way.is_empty() && self.last_append.is_none_or(|at| now.since(at) >= ALONE)
    }

    /// How long a piece whose turn came at `since` has to wait; `None`: it may be read.
    fn wait(&mut self, since: Monotonic, now: Monotonic) -> Option<Duration> {
        if self.is_alone(now) || now.since(since) >= PATIENCE {
            return None;
        }
        if self.under_way.values().any(|slow_from| now > *slow_from) {
            return Some(LOOK_AGAIN);
        }
        (now < self.rests_until).then(|| self.rests_until.since(now))
    }

    fn piece_read(&mut self, now: Monotonic) {
        self.forgive(now);
        self.rests_until = now.plus(self.rest);
    }
}

/// The pace of the cold reads in one log directory.
#[derive(Debug)]
pub(crate) struct Pace {
    clock: Clock,
    machine: Mutex<Machine>,
    /// Held by the one who reads beside appends, and waits for that.
    turn: Mutex<()>,
}

/// An append that is under way, until it is dropped.
#[derive(Debug)]
#[must_use = "it ends when it's dropped"]
pub(crate) struct Appending<'a> {
    pace: &'a Pace,
    number: u64,
}

impl Drop for Appending<'_> {
    fn drop(&mut self) {
        let now = self.pace.clock.now();
        self.pace.machine.lock().append_ends(self.number, now);
    }
}

impl Pace {
    pub fn new(clock: Clock) -> Self {
        Self { clock, machine: Mutex::default(), turn: Mutex::default() }
    }

    /// Somebody begins to write what was appended: one append, or what was gathered, of which there are `gathered_bytes`.
    pub fn append(&self, gathered_bytes: u64) -> Appending<'_> {
        let now = self.clock.now();
        Appending { pace: self, number: self.machine.lock().append_begins(gathered_bytes, now) }
    }

    /// Fills `room` by calls of `read`, which gets a part of it and how much lies before; one that fills less has met the end.
    /// Gives how much there was. Waits for the disk, and for those who append.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn read(
        &self,
        room: &mut [u8],
        mut read: impl FnMut(usize, &mut [u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let mut done = 0;
        while done < room.len() {
            if self.machine.lock().is_alone(self.clock.now()) {
                return Ok(done + read(done, &mut room[done..])?);
            }
            let end = room.len().min(done + PIECE_BYTES);
            let n = {
                let _turn = self.turn.lock();
                self.wait();
                let n = read(done, &mut room[done..end])?;
                self.machine.lock().piece_read(self.clock.now());
                n
            };
            let short = n < end - done;
            done += n;
            if short {
                break;
            }
        }
        Ok(done)
    }

    fn wait(&self) {
        let since = self.clock.now();
        loop {
            let wait = self.machine.lock().wait(since, self.clock.now());
            // Where time stands still while a thread waits nothing can be waited for.
            if !wait.is_some_and(|wait| self.clock.hold(wait)) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use logrun_io::Random;

    use super::*;

    fn at(ms: u64) -> Monotonic {
        Monotonic(Duration::from_millis(ms))
    }

    fn append(m: &mut Machine, from_ms: u64, to_ms: u64) {
        let number = m.append_begins(0, at(from_ms));
        m.append_ends(number, at(to_ms));
    }

    #[test]
    fn who_is_alone_is_not_held_up() {
        let mut m = Machine::default();
        assert!(m.is_alone(at(0)));
        append(&mut m, 10, 50);
        assert!(!m.is_alone(at(249)) && m.is_alone(at(250)));
        m.piece_read(at(60));
        assert_eq!((m.wait(at(60), at(60)), m.wait(at(250), at(250))), (Some(REST_MIN), None));
    }

    #[test]
    fn quick_appends_cost_no_rest() {
        let mut m = Machine::default();
        for ms in 0..100 {
            append(&mut m, ms, ms + 2);
            m.piece_read(at(ms));
            assert_eq!(m.wait(at(ms), at(ms)), None);
            assert!(!m.is_alone(at(ms)));
        }
    }

    #[test]
    fn slow_appends_make_rests_longer_and_time_makes_them_shorter() {
        let mut m = Machine::default();
        let rest = |m: &mut Machine, ms| {
            m.piece_read(at(ms));
            // Somebody goes on appending.
            append(m, ms, ms);
            m.wait(at(ms), at(ms)).unwrap_or_default().as_millis()
        };
        let mut rests = Vec::new();
        for n in 0..7 {
            append(&mut m, n * 10, n * 10 + 3);
            rests.push(rest(&mut m, n * 10 + 3));
        }
        assert_eq!(rests, [1, 2, 4, 8, 16, 32, 32]);
        let later: Vec<_> = (1..8).map(|n| rest(&mut m, 63 + n * 100)).collect();
        assert_eq!(later, [16, 8, 4, 2, 1, 0, 0]);
    }

    #[test]
    fn a_slow_append_under_way_is_waited_for_but_not_for_ever() {
        let mut m = Machine::default();
        let number = m.append_begins(0, at(5));
        assert_eq!(m.wait(at(6), at(7)), None);
        assert_eq!((m.wait(at(6), at(8)), m.wait(at(6), at(105))), (Some(LOOK_AGAIN), Some(LOOK_AGAIN)));
        assert_eq!(m.wait(at(6), at(106)), None);
        m.append_ends(number, at(200));
        m.append_ends(number, at(300));
        assert_eq!(m.wait(at(210), at(210)), None);
    }

    #[test]
    fn what_goes_to_the_device_has_its_time() {
        let mut m = Machine::default();
        let number = m.append_begins(1 << 20, at(0));
        // 16 ms at the least rate, beside what any append has.
        assert_eq!((m.wait(at(1), at(18)), m.wait(at(1), at(19))), (None, Some(LOOK_AGAIN)));
        m.append_ends(number, at(18));
        m.piece_read(at(18));
        assert_eq!(m.wait(at(18), at(18)), None);
        let number = m.append_begins(1 << 20, at(20));
        m.append_ends(number, at(39));
        m.piece_read(at(39));
        assert_eq!(m.wait(at(39), at(39)), Some(REST_MIN));
    }

    #[test]
    fn all_of_it_is_read_whatever_the_pieces() {
        let random = Random::from_seed(7);
        let contents: Vec<u8> = (0..3 * PIECE_BYTES).map(|i| (i / 4096 + i) as u8).collect();
        for beside in [false, true] {
            let pace = Pace::new(Clock::real());
            let _appending = beside.then(|| pace.append(0));
            for _ in 0..20 {
                let (start, len) = (random.below(2_000_000) as usize, random.below(2_000_000) as usize + 1);
                let (mut room, mut calls) = (vec![0; len], Vec::new());
                let n = pace.read(&mut room, |done, part| {
                    let from = contents.len().min(start + done);
                    let n = part.len().min(contents.len() - from);
                    part[..n].copy_from_slice(&contents[from..from + n]);
                    calls.push(part.len());
                    Ok(n)
                });
                let expected = &contents[start.min(contents.len())..(start + len).min(contents.len())];
                assert!(n.unwrap() == expected.len() && room[..expected.len()] == *expected);
                let most = if beside { PIECE_BYTES } else { usize::MAX };
                assert!(calls.iter().all(|c| *c <= most));
            }
            let failed = pace.read(&mut [0; 10], |_, _| Err(io::ErrorKind::NotFound.into()));
            assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::NotFound);
        }
    }
}
