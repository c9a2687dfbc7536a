//! [`Connection`]: one connection to a broker, shared by any number of callers; requests are pipelined.
//!
//! One task owns the socket. It writes what callers submit, several requests in one vectored write if they are there,
//! and hands each response to its caller, in the order of the requests as Kafka answers them. A response that is late,
//! malformed or missing ends the connection and everything under way on it: which of the requests were acted upon is not
//! known then.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes};
use logrun_io::{Clock, Io};
use logrun_model::{Monotonic, Str};
use logrun_net::FrameReader;
use logrun_wire::{Request, VersionRange, frame};
use parking_lot::Mutex;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};

use crate::error::Error;
use crate::link::Link;
use crate::versions::Versions;

/// Segments handed to one vectored write.
const WRITE_SEGMENTS_MAX: usize = 64;
/// Bytes gathered before a write though more requests are waiting.
const GATHER_BYTES_MAX: usize = 1 << 20;

/// Gets the response's bytes, or the error that took their place. Called on the connection's task: it must not wait.
pub type Reply = Box<dyn FnOnce(Result<Bytes, Error>) + Send>;

/// Any version that both sides know.
pub const ANY_VERSION: VersionRange = VersionRange::new(0, i16::MAX);

struct Command {
    id: i32,
    segments: Vec<Bytes>,
    deadline: Monotonic,
    timeout: Duration,
    api: &'static str,
    /// Whether a response comes.
    answered: bool,
    reply: Reply,
}

#[derive(Debug)]
struct Shared {
    commands: mpsc::UnboundedSender<Command>,
    versions: Versions,
    address: String,
    client_id: Str,
    clock: Clock,
    next_id: AtomicI32,
    in_flight: AtomicUsize,
    used_at_ms: AtomicI64,
    expires: Option<Monotonic>,
    ended: Mutex<Option<Error>>,
}

/// A handle to a connection. When the last one is dropped the connection is closed.
#[derive(Clone, Debug)]
pub struct Connection(Arc<Shared>);

/// A request that is under way.
#[derive(Debug)]
pub struct Pending<R> {
    frame: PendingFrame,
    of: std::marker::PhantomData<fn() -> R>,
}

impl<R: Request> Pending<R> {
    /// Waits for the response.
    ///
    /// # Errors
    /// If none comes or it can't be read.
    pub async fn response(self) -> Result<R::Response, Error> {
        let (id, version) = (self.frame.id, self.frame.version);
        Link::response::<R>(self.frame.frame().await?, id, version)
    }

    /// The version in which the request was sent.
    pub fn version(&self) -> i16 {
        self.frame.version
    }
}

/// A request that is under way, whatever it asks.
#[derive(Debug)]
pub(crate) struct PendingFrame {
    receiver: oneshot::Receiver<Result<Bytes, Error>>,
    id: i32,
    version: i16,
    address: String,
}

impl PendingFrame {
    /// Waits for the response's bytes.
    pub(crate) async fn frame(self) -> Result<Bytes, Error> {
        let reason = || "the client stopped".to_owned();
        self.receiver.await.unwrap_or_else(|_| Err(Error::Disconnected { address: self.address, reason: reason() }))
    }

    pub(crate) fn id(&self) -> i32 {
        self.id
    }

    pub(crate) fn version(&self) -> i16 {
        self.version
    }
}

impl Connection {
    /// Takes over a link that has been through TLS, ApiVersions and SASL. A connection without a request for
    /// `idle_max` is closed; `lifetime` is how long the broker takes the login for good.
    pub fn start(
        io: &Io,
        link: Link,
        versions: Versions,
        idle_max: Option<Duration>,
        lifetime: Option<Duration>,
    ) -> Self {
        let (commands, incoming) = mpsc::unbounded_channel();
        let now = io.clock.now();
        let shared = Arc::new(Shared {
            commands,
            versions,
            address: link.address.clone(),
            client_id: link.client_id.clone(),
            clock: io.clock.clone(),
            next_id: AtomicI32::new(link.next_correlation_id),
            in_flight: AtomicUsize::new(0),
            used_at_ms: AtomicI64::new(now.as_ms()),
            // Kafka's clients log in again after 85 to 95 % of the session's life.
            expires: lifetime.map(|l| now.plus(l.mul_f64(0.85))),
            ended: Mutex::new(None),
        });
        let task = Task {
            shared: Arc::downgrade(&shared),
            clock: io.clock.clone(),
            address: link.address,
            incoming,
            awaited: VecDeque::new(),
            unanswered: VecDeque::new(),
            taken_bytes: 0,
            written_bytes: 0,
            out: VecDeque::new(),
            out_bytes: 0,
            idle_max,
            soonest: None,
        };
        io.tasks.spawn(task.run(link.stream, link.frames));
        Self(shared)
    }

    /// What the broker serves.
    pub fn versions(&self) -> &Versions {
        &self.0.versions
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.0.address
    }

    /// How many requests are without their response.
    pub fn in_flight(&self) -> usize {
        self.0.in_flight.load(Ordering::Relaxed)
    }

    /// Whether requests can still be sent on it.
    pub fn is_usable(&self) -> bool {
        !self.0.commands.is_closed()
            && self.0.ended.lock().is_none()
            && self.0.expires.is_none_or(|at| self.0.clock.now() < at)
    }

    /// Sends a request in the highest version of `allowed` that both sides know. The response is waited for at most
    /// `timeout`, after which the connection is given up.
    ///
    /// # Errors
    /// If the request can't be sent.
    pub fn send<R: Request>(&self, request: &R, allowed: VersionRange, timeout: Duration) -> Result<Pending<R>, Error> {
        let version = self.0.versions.pick::<R>(allowed)?;
        self.send_version(request, version, timeout)
    }

    /// As [`Self::send`], in this very version.
    ///
    /// # Errors
    /// If the request can't be sent.
    pub fn send_version<R: Request>(&self, request: &R, version: i16, timeout: Duration) -> Result<Pending<R>, Error> {
        Ok(Pending { frame: self.send_frame(request, version, timeout)?, of: std::marker::PhantomData })
    }

    pub(crate) fn send_frame<R: Request>(
        &self,
        request: &R,
        version: i16,
        timeout: Duration,
    ) -> Result<PendingFrame, Error> {
        let (sender, receiver) = oneshot::channel();
        // Whoever waited may be gone; then nobody wants the response.
        let reply: Reply = Box::new(move |frame| drop(sender.send(frame)));
        let id = self.submit(request, version, timeout, true, reply)?;
        Ok(PendingFrame { receiver, id, version, address: self.0.address.clone() })
    }

    /// Sends a request; `reply` gets the response's bytes on the connection's task, to be read by [`Link::response`]
    /// with the id that this returns. If it isn't `answered` (produce with `acks=0`), `reply` gets no bytes, as soon as the
    /// request has been written.
    ///
    /// # Errors
    /// If the request can't be sent; `reply` is dropped then.
    pub fn submit<R: Request>(
        &self,
        request: &R,
        version: i16,
        timeout: Duration,
        answered: bool,
        reply: Reply,
    ) -> Result<i32, Error> {
        let shared = &self.0;
        let id = shared.next_id.fetch_add(1, Ordering::Relaxed) & i32::MAX;
        let segments = frame::encode_request(id, Some(shared.client_id.clone()), version, request)?;
        let deadline = shared.clock.now().plus(timeout);
        self.hand_over(Command { id, segments, deadline, timeout, api: R::NAME, answered, reply })?;
        Ok(id)
    }

    fn hand_over(&self, command: Command) -> Result<(), Error> {
        let shared = &self.0;
        shared.used_at_ms.store(shared.clock.now().as_ms(), Ordering::Relaxed);
        shared.in_flight.fetch_add(1, Ordering::Relaxed);
        shared.commands.send(command).map_err(|_| {
            shared.in_flight.fetch_sub(1, Ordering::Relaxed);
            self.ended()
        })
    }

    /// Sends a request and waits for its response.
    ///
    /// # Errors
    /// If none comes or it can't be read.
    pub async fn call<R: Request>(
        &self,
        request: &R,
        allowed: VersionRange,
        timeout: Duration,
    ) -> Result<R::Response, Error> {
        self.send(request, allowed, timeout)?.response().await
    }

    fn ended(&self) -> Error {
        let reason = "it was closed".to_owned();
        self.0.ended.lock().clone().unwrap_or(Error::Disconnected { address: self.0.address.clone(), reason })
    }
}

struct Awaited {
    id: i32,
    deadline: Monotonic,
    timeout: Duration,
    api: &'static str,
    reply: Reply,
}

/// What the connection's task has.
struct Task {
    shared: std::sync::Weak<Shared>,
    clock: Clock,
    address: String,
    incoming: mpsc::UnboundedReceiver<Command>,
    awaited: VecDeque<Awaited>,
    /// Requests without a response that aren't written yet, each with where its last byte is in what was taken.
    unanswered: VecDeque<(u64, Awaited)>,
    /// Bytes of requests that were taken, and of these written, since the beginning.
    taken_bytes: u64,
    written_bytes: u64,
    out: VecDeque<Bytes>,
    out_bytes: usize,
    idle_max: Option<Duration>,
    /// No later than the first deadline of what is awaited.
    soonest: Option<Monotonic>,
}

impl Task {
    async fn run(mut self, stream: Box<dyn crate::link::Transport>, frames: FrameReader) {
        let error = match self.serve(stream, frames).await {
            Err(e) => e,
            Ok(()) => Error::Disconnected { address: self.address.clone(), reason: "it was closed".to_owned() },
        };
        tracing::debug!(address = self.address, "connection ended: {error}");
        let shared = self.shared.upgrade();
        if let Some(shared) = &shared {
            *shared.ended.lock() = Some(error.clone());
        }
        self.incoming.close();
        let mut failed: Vec<Reply> = self.awaited.drain(..).map(|a| a.reply).collect();
        failed.extend(self.unanswered.drain(..).map(|(_, a)| a.reply));
        while let Ok(command) = self.incoming.try_recv() {
            failed.push(command.reply);
        }
        if let Some(shared) = &shared {
            shared.in_flight.store(0, Ordering::Relaxed);
        }
        for reply in failed {
            reply(Err(error.clone()));
        }
    }

    fn gone(&self, reason: impl ToString) -> Error {
        Error::Disconnected { address: self.address.clone(), reason: reason.to_string() }
    }

    async fn serve(&mut self, stream: Box<dyn crate::link::Transport>, mut frames: FrameReader) -> Result<(), Error> {
        let (mut read, mut write) = tokio::io::split(stream);
        let mut alarm_at = self.next_deadline();
        let mut alarm = Box::pin(sleep_until(self.clock.clone(), alarm_at));
        let mut last = false;
        loop {
            // What is there already is gathered before anything waits.
            while self.out_bytes < GATHER_BYTES_MAX
                && let Ok(command) = self.incoming.try_recv()
            {
                self.take(command);
            }
            if let Some(due) = self.soonest
                && alarm_at.is_none_or(|at| due < at)
            {
                alarm_at = Some(due);
                alarm = Box::pin(sleep_until(self.clock.clone(), alarm_at));
            }
            tokio::select! {
                biased;
                frame = frames.next(&mut read) => match frame {
                    Ok(Some(frame)) => self.deliver(frame)?,
                    Ok(None) => return Err(self.gone("the broker closed it")),
                    Err(e) => return Err(self.gone(e)),
                },
                written = write_some(&mut write, &self.out), if !self.out.is_empty() => {
                    let written = written.map_err(|e| self.gone(e))?;
                    self.written(written);
                    if self.out.is_empty() {
                        // TLS keeps what it has not been told to let go.
                        write.flush().await.map_err(|e| self.gone(e))?;
                        if last {
                            return Ok(());
                        }
                    }
                    self.tell_written();
                }
                command = self.incoming.recv(), if !last && self.out_bytes < GATHER_BYTES_MAX => match command {
                    Some(command) => self.take(command),
                    // Nobody can ask any more, and nobody waits.
                    None if self.out.is_empty() => return Ok(()),
                    // But what was asked is sent; its deadline ends that too.
                    None => last = true,
                },
                () = &mut alarm => {
                    self.check_deadlines()?;
                    alarm_at = self.next_deadline();
                    self.soonest = alarm_at;
                    alarm = Box::pin(sleep_until(self.clock.clone(), alarm_at));
                }
            }
        }
    }

    fn take(&mut self, command: Command) {
        let Command { id, segments, deadline, timeout, api, answered, reply } = command;
        let bytes = segments.iter().map(Bytes::len).sum::<usize>();
        self.out_bytes += bytes;
        self.taken_bytes += bytes as u64;
        self.out.extend(segments);
        self.soonest = Some(self.soonest.map_or(deadline, |at| at.min(deadline)));
        let awaited = Awaited { id, deadline, timeout, api, reply };
        match answered {
            true => self.awaited.push_back(awaited),
            false => self.unanswered.push_back((self.taken_bytes, awaited)),
        }
    }

    /// Tells those that wait for no more than that their request is written.
    fn tell_written(&mut self) {
        while self.unanswered.front().is_some_and(|(end, _)| *end <= self.written_bytes)
            && let Some((_, awaited)) = self.unanswered.pop_front()
        {
            self.settled();
            (awaited.reply)(Ok(Bytes::new()));
        }
    }

    /// All that have a deadline.
    fn waiting(&self) -> impl Iterator<Item = &Awaited> {
        self.awaited.iter().chain(self.unanswered.iter().map(|(_, a)| a))
    }

    fn settled(&self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.in_flight.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn written(&mut self, mut n: usize) {
        self.out_bytes -= n;
        self.written_bytes += n as u64;
        while n > 0
            && let Some(first) = self.out.front_mut()
        {
            let step = n.min(first.len());
            first.advance(step);
            n -= step;
            if first.is_empty() {
                self.out.pop_front();
            }
        }
    }

    fn deliver(&mut self, frame: Bytes) -> Result<(), Error> {
        let id = frame.first_chunk::<4>().map(|b| i32::from_be_bytes(*b));
        let Some(awaited) = self.awaited.pop_front() else {
            return Err(self.gone("a response came that nobody asked for"));
        };
        self.settled();
        if id != Some(awaited.id) {
            let error = self.gone(format!("a response to request {} was awaited; {id:?} came", awaited.id));
            (awaited.reply)(Err(error.clone()));
            return Err(error);
        }
        (awaited.reply)(Ok(frame));
        Ok(())
    }

    fn next_deadline(&self) -> Option<Monotonic> {
        let due = self.waiting().map(|a| a.deadline).min();
        let used = self.shared.upgrade().map(|s| s.used_at_ms.load(Ordering::Relaxed));
        let idle = self.idle_max.zip(used).map(|(max, used)| Monotonic::default().plus_ms(used).plus(max));
        due.into_iter().chain(idle).min()
    }

    fn check_deadlines(&self) -> Result<(), Error> {
        let now = self.clock.now();
        if let Some(late) = self.waiting().find(|a| a.deadline <= now) {
            let what = format!("{} at {}", late.api, self.address);
            return Err(Error::TimedOut { what, after: late.timeout, last: None });
        }
        let used = self.shared.upgrade().map(|s| s.used_at_ms.load(Ordering::Relaxed));
        if let Some((max, used)) = self.idle_max.zip(used)
            && self.awaited.is_empty()
            && Monotonic::default().plus_ms(used).plus(max) <= now
        {
            return Err(self.gone("it was idle"));
        }
        Ok(())
    }
}

/// Waits until `at`; for ever if there is no time.
async fn sleep_until(clock: Clock, at: Option<Monotonic>) {
    match at {
        Some(at) => clock.sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn write_some<W: AsyncWrite + Unpin>(write: &mut W, out: &VecDeque<Bytes>) -> std::io::Result<usize> {
    let mut slices = [IoSlice::new(&[]); WRITE_SEGMENTS_MAX];
    let mut count = 0;
    for (slice, bytes) in slices.iter_mut().zip(out) {
        *slice = IoSlice::new(bytes);
        count += 1;
    }
    match write.write_vectored(&slices[..count]).await? {
        0 => Err(std::io::ErrorKind::WriteZero.into()),
        n => Ok(n),
    }
}
