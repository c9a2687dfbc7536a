//! Reading a topic as fast as it comes, one request after the other.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::wire;

/// What to read: partitions 0 to `partitions` - 1 of a topic from their start on.
#[derive(Clone, Debug)]
pub struct Consume<'a> {
    pub topic: &'a str,
    pub partitions: i32,
    /// It ends when so many records have come.
    pub records: u64,
    /// `fetch.max.bytes` and `max.partition.fetch.bytes`.
    pub bytes_max: i32,
    pub partition_bytes_max: i32,
}

/// `fetch.max.wait.ms`.
const WAIT_MS: i32 = 500;

/// Waits until each of a new topic's partitions has a leader that knows of it.
///
/// # Errors
/// What it lacks when `deadline` passes.
pub fn wait_led(addr: SocketAddr, topic: &str, partitions: i32, deadline: Instant) -> io::Result<()> {
    let mut stream = wire::connect(addr)?;
    let mut responses = wire::Responses::new(stream.try_clone()?);
    let from: Vec<(i32, i64)> = (0..partitions).map(|p| (p, 0)).collect();
    let request = wire::fetch(topic, &from, 0, 1, 1);
    loop {
        stream.write_all(&request)?;
        responses.next()?;
        match wire::fetched(&mut responses, |_| ()) {
            Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
            ended => return ended,
        }
    }
}

/// What came.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Consumed {
    pub records: u64,
    pub bytes: u64,
    pub elapsed: Duration,
}

impl<'a> Consume<'a> {
    /// `records` of a topic, asked for as a consumer with default settings does.
    pub fn new(topic: &'a str, partitions: i32, records: u64) -> Self {
        Self { topic, partitions, records, bytes_max: 50 << 20, partition_bytes_max: 1 << 20 }
    }

    /// Reads until it has the records or `stop` says so..
    ///
    /// # Errors
    /// What the socket gives; `InvalidData` for a malformed response or an error of a partition.
    pub fn run(&self, addr: SocketAddr, stop: impl Fn() -> bool) -> io::Result<Consumed> {
        let mut stream = wire::connect(addr)?;
        let mut responses = wire::Responses::new(stream.try_clone()?);
        let mut positions: Vec<(i32, i64)> = (0..self.partitions).map(|p| (p, 0)).collect();
        let begin = Instant::now();
        let mut out = Consumed { records: 0, bytes: 0, elapsed: Duration::ZERO };
        while out.records < self.records && !stop() {
            stream.write_all(&wire::fetch(
                self.topic,
                &positions,
                WAIT_MS,
                self.bytes_max,
                self.partition_bytes_max,
            ))?;
            responses.next()?;
            wire::fetched(&mut responses, |f| {
                out.records += f.records;
                out.bytes += f.bytes;
                if let (Some(next), Some(p)) =
                    (f.next_offset, positions.iter_mut().find(|(partition, _)| *partition == f.partition))
                {
                    p.1 = next;
                }
            })?;
            // The first ones get all of the response where it is full.
            positions.rotate_left(1);
        }
        out.elapsed = begin.elapsed();
        Ok(out)
    }
}
