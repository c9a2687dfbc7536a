//! The console tools: lines in, records out, and back.

pub mod consumer;
pub mod formatter;
pub mod producer;
pub mod reader;
pub mod share;

use std::future::Future;
use std::io::Write;
use std::time::Duration;

use logrun_client::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::Out;
use crate::failure::Failure;
use crate::files::{self, Properties};
use crate::options::{Given, Opt};
use crate::session::failure;

/// Options that several of these tools have alike.
pub const CONSUMER_PROPERTY: Opt =
    Opt::value("command-property", "NAME=VALUE", "A configuration of the consumer. Can be given several times.");
const MAX_MESSAGES: Opt = Opt::value("max-messages", "COUNT", "End after so many records.");
const TIMEOUT_MS: Opt = Opt::value("timeout-ms", "MS", "End when nothing has come for so long.");
const SYSTEST_EVENTS: Opt = Opt::flag("enable-systest-events", "Say when it has ended.");

/// The client's properties: those of the file, then those of the command line, each under its new name or its old.
///
/// # Errors
/// Both names are given, or the file can't be read.
pub fn client_properties(
    given: &Given<'_>,
    (config, old_config): (&str, &str),
    (property, old_property): (&str, &str),
) -> Result<Properties, Failure> {
    let mut properties = match given.value(given.either(config, old_config)?)? {
        Some(path) => files::load(path)?,
        None => Properties::new(),
    };
    properties.extend(files::pairs(given.values(given.either(property, old_property)?)));
    Ok(properties)
}

/// Ctrl-C, or a polite end from elsewhere.
pub struct Stop(Signal, Signal);

impl Stop {
    /// # Errors
    /// Signals can't be caught.
    pub fn new() -> Result<Self, Failure> {
        Ok(Self(signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?))
    }

    pub async fn asked(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
        }
    }
}

/// How long a consumer goes on, unless it is stopped.
#[derive(Clone, Copy, Debug)]
struct Until {
    /// So many records.
    max: Option<u64>,
    /// Until nothing has come for so long.
    timeout: Option<Duration>,
}

impl Until {
    /// Of `--max-messages` and `--timeout-ms`; what is negative is no end.
    fn of(given: &Given<'_>) -> Result<Self, Failure> {
        let max = given.parsed::<i64>("max-messages")?.and_then(|n| u64::try_from(n).ok());
        let timeout = given.parsed::<i64>("timeout-ms")?.and_then(|ms| u64::try_from(ms).ok());
        Ok(Self { max, timeout: timeout.map(Duration::from_millis) })
    }

    /// How many more may be printed; `None` if there is no end to them.
    fn room(&self, printed: u64) -> Option<u64> {
        self.max.map(|max| max.saturating_sub(printed))
    }

    /// What the next poll gives; nothing when it is time to end.
    async fn next<T, F: Future<Output = Result<T, Error>>>(
        &self,
        printed: u64,
        stop: &mut Stop,
        poll: impl FnOnce(Duration) -> F,
        is_empty: impl FnOnce(&T) -> bool,
    ) -> Result<Option<T>, Failure> {
        const WAIT: Duration = Duration::from_secs(3600);
        if self.room(printed) == Some(0) {
            return Ok(None);
        }
        let polled = tokio::select! {
            polled = poll(self.timeout.unwrap_or(WAIT)) => polled.map_err(|e| failure(&e))?,
            () = stop.asked() => return Ok(None),
        };
        Ok(Some(polled).filter(|polled| self.timeout.is_none() || !is_empty(polled)))
    }
}

/// The end of a consumer that has printed so many records, with this result: what is printed goes out, the consumer is
/// closed, and only then is said how many they were.
async fn end(
    given: &Given<'_>,
    out: &mut Out,
    printed: u64,
    result: Result<(), Failure>,
    closing: impl Future<Output = Result<(), Error>>,
) -> Result<(), Failure> {
    let flushed = out.flush();
    let closed = closing.await;
    eprintln!("Processed a total of {printed} messages");
    if given.has("enable-systest-events") {
        println!("shutdown_complete");
    }
    result?;
    flushed?;
    closed.map_err(|e| failure(&e))
}
