//! Tasks: what runs beside the caller, and what may block a thread.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use crate::Clock;

use tokio::task::AbortHandle;

/// Spawns tasks on the current tokio runtime.
#[derive(Clone, Copy, Debug)]
pub struct Tasks {
    inline: bool,
    /// The simulated process that they belong to.
    process: Option<u64>,
}

thread_local! {
    /// The tasks of each simulated process that can be killed: a simulated world has one thread.
    static PROCESSES: RefCell<Processes> = const { RefCell::new(Processes { last: 0, tasks: BTreeMap::new() }) };
}

struct Processes {
    last: u64,
    tasks: BTreeMap<u64, Vec<AbortHandle>>,
}

impl Processes {
    fn note(&mut self, process: u64, task: AbortHandle) {
        let tasks = self.tasks.entry(process).or_default();
        if tasks.len() == tasks.capacity() {
            tasks.retain(|t| !t.is_finished());
            tasks.reserve(tasks.len() + 32);
        }
        tasks.push(task);
    }
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
        Self { inline: false, process: None }
    }

    /// Blocking work runs at once on the caller's thread: for the simulator, whose disk never waits.
    pub fn inline() -> Self {
        Self { inline: true, process: None }
    }

    /// As [`Self::inline`], for a process that can be killed while others in its world go on.
    pub fn of_a_process() -> Self {
        let process = PROCESSES.with_borrow_mut(|p| {
            p.last += 1;
            p.last
        });
        Self { inline: true, process: Some(process) }
    }

    /// Kills the process: each of its tasks ends where it waits, and is gone when this returns. Without a process
    /// nothing happens.
    pub async fn kill(&self) {
        let Some(process) = self.process else { return };
        // What a task holds may spawn others while it is dropped.
        while let Some(tasks) = PROCESSES.with_borrow_mut(|p| p.tasks.remove(&process)) {
            tasks.iter().for_each(AbortHandle::abort);
            for task in tasks {
                while !task.is_finished() {
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    fn note(&self, task: AbortHandle) {
        if let Some(process) = self.process {
            PROCESSES.with_borrow_mut(|p| p.note(process, task));
        }
    }

    /// Runs `future` beside the caller.
    pub fn spawn<F>(&self, future: F) -> TaskHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let task = tokio::spawn(future);
        self.note(task.abort_handle());
        TaskHandle(task)
    }

    /// Runs `work`, which may wait for a disk, beside the caller. In the simulator it has its turn on the one thread
    /// when the caller waits; where no runtime is, as in a unit test, it runs at once: call it with no lock held.
    pub fn detach<W>(&self, work: W)
    where
        W: FnOnce() + Send + 'static,
    {
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if self.inline => self.note(runtime.spawn(async move { work() }).abort_handle()),
            Ok(runtime) => drop(runtime.spawn_blocking(work)),
            Err(_) => work(),
        }
    }

    /// Runs `work`, which waits for nothing, after `delay`. Where no runtime is, as in a unit test, it is never run.
    pub fn detach_after<W>(&self, clock: &Clock, delay: Duration, work: W)
    where
        W: FnOnce() + Send + 'static,
    {
        let clock = clock.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                clock.sleep(delay).await;
                work();
            });
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Counts how many of it are there.
    struct Counted(Arc<AtomicU32>);

    impl Counted {
        fn new(count: &Arc<AtomicU32>) -> Self {
            count.fetch_add(1, Ordering::Relaxed);
            Self(count.clone())
        }
    }

    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn a_killed_process_leaves_no_task_and_the_others_go_on() {
        let (killed, other) = (Tasks::of_a_process(), Tasks::of_a_process());
        let count = Arc::new(AtomicU32::new(0));
        for tasks in [killed, killed, other] {
            let (held, inner) = (Counted::new(&count), Counted::new(&count));
            tasks.spawn(async move {
                tasks.spawn(async move {
                    std::future::pending::<()>().await;
                    drop(inner);
                });
                std::future::pending::<()>().await;
                drop(held);
            });
        }
        for _ in 0..200 {
            killed.spawn(async {});
        }
        tokio::task::yield_now().await;
        assert_eq!(count.load(Ordering::Relaxed), 6);
        killed.kill().await;
        assert_eq!(count.load(Ordering::Relaxed), 2);
        other.kill().await;
        assert_eq!(count.load(Ordering::Relaxed), 0);
    }
}
