//! Producing: as fast as the broker takes it, or at a given pace with each record timed from when it was due.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use super::batch::batch;
use super::latency::Latencies;
use super::wire;

/// How fast.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// `requests` as fast as they are taken, each with a batch of `batch_records` for each of `batches` partitions.
    Flat { requests: u64, batches: u32, batch_records: u32 },
    /// `per_second` records for `time`, each in a batch of its own for the next partition in turn; requests are at
    /// least `linger` apart and take all that is due.
    Spread { per_second: u32, time: Duration, linger: Duration },
    /// `per_second` records for `time`; a request takes all that is due in one batch for the next partition in turn.
    Stacked { per_second: u32, time: Duration },
}

/// A load for partitions 0 to `partitions` - 1 of a topic.
#[derive(Clone, Debug)]
pub struct Load<'a> {
    pub topic: &'a str,
    pub partitions: u32,
    pub value_bytes: usize,
    /// -1 (all), 0 is not served here, 1.
    pub acks: i16,
    /// Requests on their way at a time, for each connection.
    pub in_flight: usize,
    pub connections: u32,
    pub pace: Pace,
    /// What is answered within so long from the beginning is not in the latencies.
    pub warm_up: Duration,
}

/// What was produced, all of it acknowledged.
#[derive(Clone, Debug)]
pub struct Produced {
    pub records: u64,
    /// Of values.
    pub bytes: u64,
    pub elapsed: Duration,
    /// For each record of a pace, for each request of a flat load.
    pub latencies: Latencies,
}

impl Produced {
    pub fn mib_per_second(&self) -> f64 {
        self.bytes as f64 / f64::from(1 << 20) / self.elapsed.as_secs_f64()
    }

    pub fn records_per_second(&self) -> f64 {
        self.records as f64 / self.elapsed.as_secs_f64()
    }
}

/// More records are never in one batch of a paced load, as a client's `batch.size` bounds them.
const STACK_MAX: u32 = 64;
/// More batches are never in one request of a paced load.
const SPREAD_MAX: u32 = 512;

impl Load<'_> {
    /// Runs it to its end.
    ///
    /// # Errors
    /// What a socket gives; `InvalidData` for a malformed response or an error of a partition.
    pub fn run(&self, addr: SocketAddr) -> io::Result<Produced> {
        let begin = Instant::now();
        let done = std::thread::scope(|scope| {
            let connections: Vec<_> =
                (0..self.connections).map(|c| scope.spawn(move || self.connection(addr, c, begin))).collect();
            let joined = connections.into_iter().map(|c| c.join().unwrap_or_else(|p| std::panic::resume_unwind(p)));
            joined.collect::<io::Result<Vec<_>>>()
        })?;
        let elapsed = begin.elapsed();
        let mut out = Produced { records: 0, bytes: 0, elapsed, latencies: Latencies::default() };
        for (records, latencies) in done {
            out.records += records;
            out.latencies.merge(&latencies);
        }
        out.bytes = out.records * self.value_bytes as u64;
        Ok(out)
    }

    fn connection(&self, addr: SocketAddr, number: u32, begin: Instant) -> io::Result<(u64, Latencies)> {
        let stream = wire::connect(addr)?;
        let flight = Flight::default();
        self.be_on_time();
        std::thread::scope(|scope| {
            let answers = scope.spawn(|| {
                self.be_on_time();
                let received = stream.try_clone().and_then(|s| flight.receive(s, begin + self.warm_up));
                if received.is_err() {
                    flight.fail();
                }
                received
            });
            let sent = stream.try_clone().and_then(|s| self.send(s, number, &flight, begin));
            flight.finish();
            let received = answers.join().unwrap_or_else(|p| std::panic::resume_unwind(p));
            // The receiver knows why the sender could not go on.
            let latencies = received?;
            Ok((sent?, latencies))
        })
    }

    /// Whoever times a pace goes before others, where the system lets it (as root): what is told is the broker's latency, not
    /// when the scheduler got round to the one that looks at the clock.
    fn be_on_time(&self) {
        if !matches!(self.pace, Pace::Flat { .. }) {
            let _ = rustix::process::setpriority_process(None, -20);
        }
    }

    fn send(&self, mut stream: TcpStream, number: u32, flight: &Flight, begin: Instant) -> io::Result<u64> {
        match self.pace {
            Pace::Flat { requests, batches, batch_records } => {
                let bytes = batch(batch_records, self.value_bytes);
                let templates: Vec<wire::Template> = (0..self.partitions.div_ceil(batches))
                    .map(|t| {
                        let parts = (0..batches).map(|b| (((t * batches + b) % self.partitions) as i32, &bytes[..]));
                        wire::Template::new(&wire::produce(self.topic, self.acks, parts))
                    })
                    .collect::<io::Result<_>>()?;
                let count = templates.len();
                let (connections, number) = (u64::from(self.connections), u64::from(number));
                let mine = requests / connections + u64::from(number < requests % connections);
                for i in 0..mine {
                    flight.take_place(self.in_flight)?;
                    flight.sent(Sent { due: vec![(Instant::now(), 1)] });
                    templates[(i + number) as usize % count].send(&stream)?;
                }
                Ok(mine * u64::from(batches) * u64::from(batch_records))
            }
            Pace::Spread { per_second, time, linger } => {
                let one = batch(1, self.value_bytes);
                self.paced(&mut stream, flight, (number, per_second, time, linger, begin), |at, due| {
                    let parts = (0..due).map(|i| (((at + u64::from(i)) % u64::from(self.partitions)) as i32, &one[..]));
                    wire::produce(self.topic, self.acks, parts)
                })
            }
            Pace::Stacked { per_second, time } => {
                let stacks: Vec<Vec<u8>> = (1..=STACK_MAX).map(|n| batch(n, self.value_bytes)).collect();
                let mut turn = u64::from(number);
                self.paced(&mut stream, flight, (number, per_second, time, Duration::ZERO, begin), |_, due| {
                    turn += 1;
                    let partition = (turn % u64::from(self.partitions)) as i32;
                    wire::produce(self.topic, self.acks, [(partition, &stacks[due as usize - 1][..])].into_iter())
                })
            }
        }
    }

    fn paced(
        &self,
        stream: &mut TcpStream,
        flight: &Flight,
        (number, per_second, time, linger, begin): (u32, u32, Duration, Duration, Instant),
        mut request: impl FnMut(u64, u32) -> Vec<u8>,
    ) -> io::Result<u64> {
        let per_second = f64::from(per_second) / f64::from(self.connections);
        let total = (per_second * time.as_secs_f64()) as u64;
        let due_at = |n: u64| begin + Duration::from_secs_f64(n as f64 / per_second);
        let mut sent = 0_u64;
        while sent < total {
            let earliest = due_at(sent) + linger;
            if let Some(wait) = earliest.checked_duration_since(Instant::now()) {
                std::thread::sleep(wait);
            }
            flight.take_place(self.in_flight)?;
            let passed = begin.elapsed().as_secs_f64() * per_second;
            let due = (passed as u64 + 1).min(total).saturating_sub(sent).clamp(1, u64::from(self.most()));
            // Connections begin at different partitions, so that they don't meet.
            let at = sent + u64::from(number) * u64::from(self.partitions / self.connections);
            let bytes = request(at, due as u32);
            flight.sent(Sent { due: (sent..sent + due).map(|n| (due_at(n), 1)).collect() });
            stream.write_all(&bytes)?;
            sent += due;
        }
        Ok(sent)
    }

    /// How many records a request may take; it names no partition twice.
    fn most(&self) -> u32 {
        if matches!(self.pace, Pace::Spread { .. }) { self.partitions.min(SPREAD_MAX) } else { STACK_MAX }
    }
}

/// A request on its way: when its records were due, and how many at a time.
struct Sent {
    due: Vec<(Instant, usize)>,
}

/// What a connection's two threads share.
#[derive(Default)]
struct Flight {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    sent: VecDeque<Sent>,
    finished: bool,
    failed: bool,
}

impl Flight {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Waits until less than `most` are on their way.
    fn take_place(&self, most: usize) -> io::Result<()> {
        let mut state = self.state();
        while state.sent.len() >= most && !state.failed {
            state = self.changed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        if state.failed { Err(io::Error::other("the responses have failed")) } else { Ok(()) }
    }

    fn sent(&self, sent: Sent) {
        self.state().sent.push_back(sent);
        self.changed.notify_one();
    }

    fn finish(&self) {
        self.state().finished = true;
        self.changed.notify_one();
    }

    fn fail(&self) {
        self.state().failed = true;
        self.changed.notify_one();
    }

    /// Takes the responses until all are there.
    fn receive(&self, stream: TcpStream, count_from: Instant) -> io::Result<Latencies> {
        let mut latencies = Latencies::default();
        let mut responses = wire::Responses::new(stream);
        loop {
            {
                let mut state = self.state();
                while state.sent.is_empty() && !state.finished {
                    state = self.changed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
                }
                if state.sent.is_empty() {
                    return Ok(latencies);
                }
            }
            responses.next()?;
            let now = Instant::now();
            wire::check_produced(&mut responses)?;
            let answered = self.state().sent.pop_front();
            self.changed.notify_one();
            if now >= count_from {
                for (due, count) in answered.into_iter().flat_map(|s| s.due) {
                    latencies.add(now.saturating_duration_since(due), count);
                }
            }
        }
    }
}
