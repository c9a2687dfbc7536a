//! [`Weather`]: connections as they are on a bad day, as the client's own `Security`, which sees every socket first.
//! What a process says after it was cut off is not heard.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use logrun_client::Error;
use logrun_client::Versions;
use logrun_client::link::{Link, Transport};
use logrun_client::security::{BoxFuture, Security};
use logrun_io::disk::SimDisk;
use logrun_io::{Clock, Io, Random, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What goes wrong, and how often it did.
pub struct Weather(Arc<Inner>);

struct Inner {
    random: Random,
    clock: Clock,
    disk: SimDisk,
    /// The change of the disk at which the process is no more.
    ends_at_mutation: AtomicU64,
    clear: AtomicBool,
    lost: AtomicU64,
    unanswered: AtomicU64,
    slow: AtomicU64,
}

impl fmt::Debug for Weather {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Weather")
    }
}

impl Weather {
    pub fn new(io: &Io, disk: SimDisk, seed: u64) -> Self {
        let count = AtomicU64::default;
        Self(Arc::new(Inner {
            random: Random::from_seed(seed ^ 0x5eed),
            clock: io.clock.clone(),
            disk,
            ends_at_mutation: AtomicU64::new(u64::MAX),
            clear: AtomicBool::new(false),
            lost: count(),
            unanswered: count(),
            slow: count(),
        }))
    }

    pub fn random(&self) -> &Random {
        &self.0.random
    }

    /// From now on nothing goes wrong.
    pub fn clears(&self) {
        self.0.clear.store(true, Ordering::Relaxed);
    }

    /// The process is no more at that change of the disk.
    pub fn ends_at_mutation(&self, at: Option<u64>) {
        self.0.ends_at_mutation.store(at.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Whether the process has been cut off.
    pub fn is_cut_off(&self) -> bool {
        self.0.is_cut_off()
    }

    /// What went wrong, and how often.
    pub fn told(&self) -> [(&'static str, u64); 3] {
        let w = &self.0;
        [("requests lost", &w.lost), ("answers lost", &w.unanswered), ("answers late", &w.slow)]
            .map(|(what, count)| (what, count.load(Ordering::Relaxed)))
    }
}

impl Inner {
    fn is_cut_off(&self) -> bool {
        self.disk.counts().mutations >= self.ends_at_mutation.load(Ordering::Relaxed)
    }

    fn chance(&self, one_in: u64, count: &AtomicU64) -> bool {
        let happens = !self.clear.load(Ordering::Relaxed) && self.random.chance(1, one_in);
        if happens {
            count.fetch_add(1, Ordering::Relaxed);
        }
        happens
    }
}

impl Security for Weather {
    fn wrap<'a>(&'a self, stream: Stream, _host: &'a str) -> BoxFuture<'a, Result<Box<dyn Transport>, Error>> {
        let rough = Rough { stream: Some(stream), weather: self.0.clone(), wait: None, deaf: false };
        Box::pin(std::future::ready(Ok(Box::new(rough) as Box<dyn Transport>)))
    }

    fn authenticate<'a>(
        &'a self,
        _link: &'a mut Link,
        _versions: &'a Versions,
        _timeout: Duration,
    ) -> BoxFuture<'a, Result<Option<Duration>, Error>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

/// One connection.
struct Rough {
    /// Nothing once it has broken.
    stream: Option<Stream>,
    weather: Arc<Inner>,
    wait: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// What the node answers is not heard.
    deaf: bool,
}

impl fmt::Debug for Rough {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rough")
    }
}

impl AsyncRead for Rough {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.wait.is_none() && self.weather.chance(60, &self.weather.slow) {
            let (clock, ms) = (self.weather.clock.clone(), self.weather.random.below(500));
            self.wait = Some(Box::pin(async move { clock.sleep(Duration::from_millis(ms)).await }));
        }
        if let Some(wait) = &mut self.wait {
            ready!(wait.as_mut().poll(cx));
            self.wait = None;
        }
        let Some(stream) = &mut self.stream else { return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())) };
        let before = buf.filled().len();
        let read = ready!(Pin::new(stream).poll_read(cx, buf));
        if self.deaf || self.weather.is_cut_off() {
            // The node has acted and answered, or is no more.
            buf.set_filled(before);
            self.stream = None;
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Rough {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let lost = self.weather.chance(150, &self.weather.lost);
        let deaf = self.weather.chance(150, &self.weather.unanswered);
        self.deaf |= deaf;
        let Some(stream) = &mut self.stream else { return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())) };
        if lost {
            // Half a request is as good as none.
            let half = ready!(Pin::new(stream).poll_write(cx, &buf[..buf.len() / 2]));
            self.stream = None;
            return Poll::Ready(half.and(Err(io::ErrorKind::BrokenPipe.into())));
        }
        Pin::new(stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Some(stream) => Pin::new(stream).poll_flush(cx),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Some(stream) => Pin::new(stream).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}
