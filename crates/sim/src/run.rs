//! A run: one seed, one disk, several lives of a process one after the other, each ended as planned, then a last one
//! in which everything is looked at once more.
//!
//! | a life      | what happens                                                                          |
//! |-------------|---------------------------------------------------------------------------------------|
//! | start       | on the disk as the life before left it; may be cut off already here                     |
//! | audit       | everything that was acknowledged is looked for                                         |
//! | work        | producers, readers, members, an administrator; the disk begins to fail, if it is to      |
//! | end         | stop: asked to, while clients go on · kill, power cut: at a change of the disk or a time |
//!
//! Each life has a runtime of its own, so that nothing of a process outlives it. Time stands still while anything
//! runs and jumps when everything waits.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use logrun_io::disk::SimDisk;
use logrun_io::{Io, MemoryNet, Random};
use tokio::sync::Notify;

use crate::model::{Model, Violation};
use crate::panics::caught;
use crate::phase::{Phase, Run};
use crate::plan::{DiskFault, End, PhasePlan, Plan};
use crate::stats::Stats;
use crate::system::{Local, System};
use crate::trace::{Sink, Trace};
use crate::workload::member::{self, Member};
use crate::workload::producer::Producer;
use crate::workload::reader::Reader;
use crate::workload::{admin, audit};

/// The wall clock's time at the beginning of every run: 2025-01-01.
pub const WALL_MS: i64 = 1_735_689_600_000;
/// How long a start or a stop may take, in virtual time.
const START_WITHIN: Duration = Duration::from_secs(60);
const STOP_WITHIN: Duration = Duration::from_secs(30);

/// About how many requests each workload makes in one life.
const ROUNDS: u64 = 20;

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub seed: u64,
    /// Stands for everything that happened.
    pub trace: u64,
    pub events: u64,
    pub virtual_ms: i64,
    pub stats: Stats,
    pub violation: Option<Violation>,
}

struct Workloads {
    producers: Vec<Producer>,
    readers: Vec<Reader>,
    members: Vec<Member>,
}

/// How a life ended.
enum Ended {
    AsPlanned,
    /// It did not even start, because the world had been told to end.
    CutOff,
}

/// Runs one seed. `sink` is told of every event.
pub fn run(seed: u64, system: &dyn System, sink: Option<Sink>) -> Outcome {
    let random = Random::from_seed(seed);
    let plan = Plan::new(&random);
    let mut workloads = Workloads {
        producers: (0..).zip(&plan.producers).map(|(i, p)| Producer::new(i, *p)).collect(),
        readers: (0..plan.readers).map(Reader::new).collect(),
        members: (0..plan.members).map(Member::new).collect(),
    };
    let last = PhasePlan { length_ms: 0, end: End::Stop, at_mutation: None, fault: None };
    let phases: Vec<PhasePlan> = plan.phases.iter().cloned().chain([last]).collect();
    let disk = SimDisk::new();
    // A stream of its own: how often a reader looks changes nothing for the workloads.
    disk.cache_randomly(Random::from_seed(!seed));
    let run = Rc::new(Run {
        disk,
        random,
        model: RefCell::new(Model::default()),
        trace: RefCell::new(Trace::new(sink)),
        stats: RefCell::default(),
        violation: RefCell::default(),
        plan,
    });
    run.trace.borrow_mut().note(0, format_args!("seed {seed}: {:?}", run.plan));
    let mut begun_ms = 0;
    for (number, phase) in phases.iter().enumerate() {
        let (life, panics) = caught(|| live(&run, number, phase, begun_ms, system, &mut workloads));
        if !panics.is_empty() {
            // It is the cause of whatever else was seen.
            run.violation.borrow_mut().take();
            fail(&run, begun_ms, Violation::new("panic", panics.join("; ")));
        }
        if let Some(ended_ms) = life {
            begun_ms = ended_ms;
        }
        if run.violation.borrow().is_some() {
            break;
        }
    }
    let mut trace = run.trace.borrow_mut();
    trace.note_bytes(&run.disk.trace().to_le_bytes());
    let violation = run.violation.borrow().clone();
    let stats = run.stats.borrow().clone();
    Outcome { seed, trace: trace.hash(), events: trace.events(), virtual_ms: begun_ms, stats, violation }
}

fn fail(run: &Run, at_ms: i64, violation: Violation) {
    run.trace.borrow_mut().note(at_ms, format_args!("VIOLATION {violation}"));
    run.violation.borrow_mut().get_or_insert(violation);
}

/// One life of the process; the time at which the next may begin.
fn live(run: &Rc<Run>, number: usize, plan: &PhasePlan, begun_ms: i64, system: &dyn System, w: &mut Workloads) -> i64 {
    run.trace.borrow_mut().note(begun_ms, format_args!("life {number}: {plan:?}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(e) => {
            fail(run, begun_ms, Violation::new("simulator", format!("no runtime: {e}")));
            return begun_ms;
        }
    };
    let (ended_ms, ended) = runtime.block_on(life(run, plan, begun_ms, system, w));
    // Whatever the process does while it is being torn down, it does not do to the disk.
    run.disk.halt_at(1);
    drop(runtime);
    let mut model = run.model.borrow_mut();
    match (plan.end, ended) {
        (End::PowerCut, _) => {
            run.disk.crash(&run.random);
            run.stats.borrow_mut().add("power cuts", 1);
        }
        (End::Kill, _) => {
            run.disk.kill();
            run.stats.borrow_mut().add("kills", 1);
        }
        (End::Stop, Ended::AsPlanned) => {
            run.disk.kill();
            run.stats.borrow_mut().add("stops", 1);
        }
        (End::Stop, Ended::CutOff) => run.disk.kill(),
    }
    run.disk.set_capacity(None);
    run.plan.log_dirs.iter().for_each(|dir| run.disk.mend_dir(Path::new(dir)));
    let in_good_order = plan.end == End::Stop && plan.fault.is_none();
    model.process_ended(in_good_order);
    // What the process had acknowledged from memory a failing disk may have refused in the end.
    if !in_good_order && model.died(plan.end == End::PowerCut, run.plan.durability) {
        w.producers.iter_mut().for_each(Producer::forget);
    }
    ended_ms + run.random.below(2_000) as i64
}

async fn life(run: &Rc<Run>, plan: &PhasePlan, begun_ms: i64, system: &dyn System, w: &mut Workloads) -> (i64, Ended) {
    let io = Io::simulated(run.random.u64(), WALL_MS + begun_ms, Arc::new(run.disk.clone()), MemoryNet::new());
    run.disk.set_now_ms(WALL_MS + begun_ms);
    let ends_at_mutation = plan.at_mutation.map(|n| run.disk.counts().mutations + n);
    if let Some(at) = ends_at_mutation {
        run.disk.halt_at(at);
    }
    let cut_off = || ends_at_mutation.is_some_and(|at| run.disk.counts().mutations >= at);
    let settings = run.plan.settings();
    let started = tokio::select! {
        biased;
        started = system.start(io.clone(), &settings) => started,
        () = io.clock.sleep(START_WITHIN) => Err(format!("not within {START_WITHIN:?}")),
    };
    let now_ms = || begun_ms + io.clock.now().as_ms();
    let process = match started {
        _ if cut_off() => return (now_ms(), Ended::CutOff),
        Ok(process) => process,
        Err(e) => {
            fail(run, now_ms(), Violation::new("starts", e));
            return (now_ms(), Ended::CutOff);
        }
    };
    let phase = Rc::new(Phase {
        run: run.clone(),
        io: io.clone(),
        addr: process.addr(),
        begun_ms,
        pace_ms: (plan.length_ms / ROUNDS * 2).max(20),
        calm: Cell::new(true),
        disk_fails: Cell::new(false),
        ends_at_mutation: Cell::new(ends_at_mutation),
        over: Notify::new(),
    });
    phase.note(format_args!("started"));
    let mut groups: Vec<_> = w.readers.iter().map(|r| r.group().clone()).collect();
    if !w.members.is_empty() {
        groups.push(member::group());
    }
    if audit::work(phase.clone(), &groups).await.is_err() || phase.is_over() {
        return (now_ms(), Ended::CutOff);
    }
    break_disk(&phase, plan.fault);
    let mut actors: Vec<Local<'_, ()>> = Vec::new();
    if plan.length_ms > 0 {
        actors.extend(w.producers.iter_mut().map(|p| Box::pin(p.work(phase.clone())) as Local<'_, ()>));
        actors.extend(w.readers.iter_mut().map(|r| Box::pin(r.work(phase.clone())) as Local<'_, ()>));
        actors.extend(w.members.iter_mut().map(|m| Box::pin(m.work(phase.clone())) as Local<'_, ()>));
        if run.plan.admin {
            actors.push(Box::pin(admin::work(phase.clone())));
        }
    }
    let mut actors = join_all(actors);
    tokio::select! {
        biased;
        _ = &mut actors => {}
        () = phase.over.notified() => {}
        () = disk_mends(&phase, plan.fault) => {}
        () = io.clock.sleep(Duration::from_millis(plan.length_ms)) => {}
    }
    if plan.end == End::Stop && run.violation.borrow().is_none() {
        phase.note(format_args!("stopping"));
        phase.calm.set(false);
        tokio::select! {
            biased;
            () = process.stop() => phase.note(format_args!("stopped")),
            () = async { actors.await; std::future::pending().await } => {}
            () = io.clock.sleep(STOP_WITHIN) => {
                if plan.fault.is_none() {
                    phase.fail(Violation::new("stops", format!("not within {STOP_WITHIN:?}")));
                }
            }
        }
    }
    phase.note(format_args!("the end: {:?}", plan.end));
    (now_ms(), Ended::AsPlanned)
}

fn break_disk(phase: &Phase, fault: Option<DiskFault>) {
    let disk = &phase.run.disk;
    match fault {
        None => return,
        Some(DiskFault::Once { nth, fault }) => disk.fail_mutation(disk.counts().mutations + nth, fault),
        Some(DiskFault::Often { one_in, fault }) => disk.fail_randomly(phase.run.random.clone(), 1, one_in, fault),
        Some(DiskFault::Gone) => {
            if let Some(dir) = phase.run.plan.log_dirs.last() {
                disk.break_dir(dir);
            }
        }
        Some(DiskFault::Full { bytes, .. }) => disk.set_capacity(Some(disk.used() + bytes)),
    }
    phase.calm.set(false);
    phase.disk_fails.set(true);
    phase.run.stats.borrow_mut().add("disk faults", 1);
}

/// Makes room on a full disk when it is time, and never returns.
async fn disk_mends(phase: &Phase, fault: Option<DiskFault>) {
    if let Some(DiskFault::Full { lifted_after_ms, .. }) = fault {
        phase.io.clock.sleep(Duration::from_millis(lifted_after_ms)).await;
        phase.run.disk.set_capacity(None);
        phase.note(format_args!("the disk has room again"));
    }
    std::future::pending().await
}
