//! [`Phase`]: one life of the process, as the workloads see it; [`Run`]: what outlives it.
//!
//! Everything here lives on one thread. A life that ends by a kill or a power cut is over at that very change of the
//! disk: whatever the process goes on to say is not heard, as it could not have been said.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use logrun_io::disk::SimDisk;
use logrun_io::{Io, Random};
use logrun_model::{Str, TopicPartition};
use tokio::sync::Notify;

use crate::model::{Model, Violation};
use crate::plan::Plan;
use crate::stats::Stats;
use crate::trace::Trace;

/// What outlives the process: the disk, the model, the trace.
pub struct Run {
    pub plan: Plan,
    pub disk: SimDisk,
    /// What the workloads draw from.
    pub random: Random,
    pub model: RefCell<Model>,
    pub trace: RefCell<Trace>,
    pub stats: RefCell<Stats>,
    pub violation: RefCell<Option<Violation>>,
}

/// One life of the process.
pub struct Phase {
    pub run: Rc<Run>,
    pub io: Io,
    pub addr: SocketAddr,
    /// Virtual time of the run at the phase's start, in milliseconds.
    pub begun_ms: i64,
    /// The longest pause between two requests of a workload, in virtual milliseconds: it bounds how much one does.
    pub pace_ms: u64,
    /// The disk is sound and the process is not being stopped: every request must be answered.
    pub calm: Cell<bool>,
    /// The disk has begun to fail.
    pub disk_fails: Cell<bool>,
    /// The change of the disk at which the process is no more.
    pub ends_at_mutation: Cell<Option<u64>>,
    /// Told when the phase has to end early.
    pub over: Notify,
}

impl Phase {
    /// Virtual time of the run in milliseconds.
    pub fn now_ms(&self) -> i64 {
        self.begun_ms + self.io.clock.now().as_ms()
    }

    /// Notes an event of the run.
    pub fn note(&self, event: fmt::Arguments<'_>) {
        self.run.disk.set_now_ms(self.io.clock.wall().get());
        self.run.trace.borrow_mut().note(self.now_ms(), event);
    }

    /// Whether the process has been cut off, as far as can be seen from outside.
    pub fn is_over(&self) -> bool {
        let cut = self.ends_at_mutation.get().is_some_and(|at| self.run.disk.counts().mutations >= at);
        let over = cut || self.run.violation.borrow().is_some();
        if over {
            self.over.notify_one();
        }
        over
    }

    /// Waits for as long as chance will have it, below `max_ms`.
    pub async fn pause(&self, max_ms: u64) {
        let ms = self.run.random.below(max_ms.max(1));
        self.io.clock.sleep(Duration::from_millis(ms)).await;
    }

    /// An invariant does not hold: the run ends. The first one counts.
    pub fn fail(&self, violation: Violation) {
        self.note(format_args!("VIOLATION {violation}"));
        let mut first = self.run.violation.borrow_mut();
        if first.is_none() {
            *first = Some(violation);
        }
        self.over.notify_one();
    }

    /// Asks the model.
    pub fn check(&self, ask: impl FnOnce(&mut Model) -> Result<(), Violation>) {
        let answer = ask(&mut self.run.model.borrow_mut());
        if let Err(violation) = answer {
            self.fail(violation);
        }
    }

    /// A random one of the plan's data partitions.
    pub fn any_partition(&self) -> TopicPartition {
        let topic = self.run.random.below(self.run.plan.topics.len() as u64) as usize;
        let partition = self.run.random.below(self.run.plan.topics[topic].partitions as u64) as i32;
        TopicPartition::new(data_topic(topic), partition)
    }
}

/// The name of the data topic of that index.
pub fn data_topic(index: usize) -> Str {
    Str::from(format!("data-{index}"))
}
