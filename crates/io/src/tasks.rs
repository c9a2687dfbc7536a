//! Tasks: what runs beside the caller, and what may block a thread.

use std::future::Future;

/// Spawns tasks on the current tokio runtime.
#[derive(Clone, Copy, Debug)]
pub struct Tasks {
    inline: bool,
}

/// A spawned task. Dropping the handle lets the task run on.
#[derive(Debug)]
pub struct TaskHandle<T>(tokio::task::JoinHandle<T>);

impl<T> TaskHandle<T> {
    /// Ends the task at its next await point.
    pub fn abort(&self) {
        self.0.abort();
    }

    /// Waits for the task's value; `None` if it was aborted. A panic in the task goes on here.
    pub async fn join(self) -> Option<T> {
        match self.0.await {
            Ok(v) => Some(v),
            Err(e) if e.is_panic() => std::panic::resume_unwind(e.into_panic()),
            Err(_) => None,
        }
    }
}

impl Tasks {
    /// Blocking work goes to threads of its own.
    pub fn threaded() -> Self {
        Self { inline: false }
    }

    /// Blocking work runs at once on the caller's thread: for the simulator, whose disk never waits.
    pub fn inline() -> Self {
        Self { inline: true }
    }

    /// Runs `future` beside the caller.
    pub fn spawn<F>(&self, future: F) -> TaskHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        TaskHandle(tokio::spawn(future))
    }

    /// Runs `work`, which may wait for a disk, beside the caller. In the simulator it has its turn on the one thread
    /// when the caller waits; where no runtime is, as in a unit test, it runs at once: call it with no lock held.
    pub fn detach<W>(&self, work: W)
    where
        W: FnOnce() + Send + 'static,
    {
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if self.inline => drop(runtime.spawn(async move { work() })),
            Ok(runtime) => drop(runtime.spawn_blocking(work)),
            Err(_) => work(),
        }
    }

    /// Runs `work`, which may wait for a disk, without holding up other tasks. A panic in it goes on here.
    pub async fn blocking<T, W>(&self, work: W) -> T
    where
        W: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        if self.inline {
            return work();
        }
        match tokio::task::spawn_blocking(work).await {
            Ok(v) => v,
            Err(e) => std::panic::resume_unwind(e.into_panic()),
        }
    }
}
