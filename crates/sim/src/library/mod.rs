//! The client library put to the test: its producers and the members of a group work with a node that is stopped, killed
//! and cut from power, over connections that lose requests, lose answers (so that what was done is done again), break in
//! the middle and are slow. The clients outlive the node's processes, and begin none of their work anew.
//!
//! | what must hold | |
//! |---|---|
//! | `fate`     | every record is acknowledged in the end, for there is time enough |
//! | `kept`     | what was acknowledged is there, where the acknowledgement said |
//! | `once`     | a record is there once; twice only if a process has ended while several batches were under way, and then under another epoch of its producer |
//! | `order`    | the records of a writer lie in the order in which it sent them, under each of its epochs |
//! | `read`     | the group was given all that is there, and nothing else |
//! | `commits`  | a committed offset never goes back, and comes to the end |
//! | `progress` | all this is so before long |
//!
//! The disk itself is sound: what nodes do with one that fails is the other runs' (`run.rs`).

mod clients;
mod seen;
mod weather;

use std::sync::Arc;
use std::time::Duration;

use logrun_client::admin::{Admin, NewTopic};
use logrun_client::{Client, ClientKind, ErrorCode};
use logrun_io::disk::SimDisk;
use logrun_io::{Io, MemoryNet, Random, Tasks};

use crate::model::Violation;
use crate::panics::caught;
use crate::plan::{Durability, End, JOURNALS, one_node};
use crate::run::{Outcome, WALL_MS};
use crate::system::{Process, System};
use crate::trace::{Sink, Trace};
use crate::world::World;

use clients::{TOPIC, config};
use seen::Seen;
use weather::Weather;

/// The longest that a run may take, in virtual time.
const PATIENCE: Duration = Duration::from_secs(1800);
/// How often it is looked whether a process is no more, in virtual time.
const LOOK: Duration = Duration::from_millis(20);

/// One life of the node.
#[derive(Clone, Debug)]
struct Life {
    length_ms: u64,
    end: End,
    /// It ends at this change of the disk, counted from its start, if it comes to that.
    at_mutation: Option<u64>,
    /// How long nothing listens after it.
    pause_ms: u64,
}

/// A whole run.
#[derive(Clone, Debug)]
struct Plan {
    durability: Durability,
    journal: &'static str,
    journal_bytes: u64,
    partitions: i32,
    /// `max.in.flight.requests.per.connection` of each writer.
    writers: Vec<u64>,
    members: usize,
    lives: Vec<Life>,
}

impl Plan {
    fn new(r: &Random) -> Self {
        let durability = [Durability::Write, Durability::Flush, Durability::Sync][r.below(3) as usize];
        let ends = if durability.survives_power_cut() { 3 } else { 2 };
        let life = |r: &Random| {
            let end = [End::Stop, End::Kill, End::PowerCut][r.below(ends) as usize];
            let at_mutation = (end != End::Stop && r.chance(1, 2)).then(|| 1 + r.below(400));
            Life { length_ms: r.below(3_000), end, at_mutation, pause_ms: r.below(2_000) }
        };
        Self {
            durability,
            journal: JOURNALS[r.below(3) as usize],
            journal_bytes: [24 << 10, 1 << 20][r.below(2) as usize],
            partitions: 1 + r.below(3) as i32,
            writers: (0..1 + r.below(2)).map(|_| if r.chance(1, 2) { 1 } else { 2 + r.below(4) }).collect(),
            members: 1 + r.below(2) as usize,
            lives: (0..1 + r.below(3)).map(|_| life(r)).collect(),
        }
    }

    fn settings(&self) -> Vec<(String, String)> {
        let mut settings = one_node();
        settings.push(("group.initial.rebalance.delay.ms".into(), "500".into()));
        settings.push(("log.dirs".into(), "/data".into()));
        settings.push(("logrun.journal".into(), self.journal.into()));
        settings.push(("logrun.journal.bytes".into(), self.journal_bytes.to_string()));
        settings.extend(self.durability.node_config().map(|(k, v)| (k.to_owned(), v.to_owned())));
        settings
    }
}

/// A process of the node.
struct Node {
    process: Box<dyn Process>,
    tasks: Tasks,
}

/// What outlives the node's processes.
struct Stage {
    plan: Plan,
    random: Random,
    io: Io,
    disk: SimDisk,
    world: World,
    weather: Arc<Weather>,
    seen: Arc<Seen>,
}

/// Runs one seed. `sink` is told of every event.
pub fn run(seed: u64, sink: Option<Sink>) -> Outcome {
    let random = Random::from_seed(seed);
    let plan = Plan::new(&random);
    let mut trace = Trace::new(sink);
    trace.note(0, format_args!("seed {seed}, the client library: {plan:?}"));
    let disk = SimDisk::new();
    let (seen, world_disk) = (Arc::new(Seen::default()), disk.clone());
    let heard = seen.clone();
    let (lived, panics) = caught(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.map_err(|e| Violation::new("simulator", format!("no runtime: {e}")))?.block_on(async {
            let io = Io::simulated(random.u64(), WALL_MS, Arc::new(world_disk.clone()), MemoryNet::new());
            let weather = Arc::new(Weather::new(&io, world_disk.clone(), seed));
            let (seen, disk, world) = (heard, world_disk, World::default());
            let stage = Stage { plan, random, io: io.clone(), disk, world, weather, seen };
            let late = || Violation::new("progress", format!("it isn't over after {PATIENCE:?}"));
            let lived = tokio::time::timeout(PATIENCE, stage.live()).await.unwrap_or_else(|_| Err(late()));
            lived.map(|()| (io.clock.now().as_ms(), stage.weather.told()))
        })
    });
    let (mut stats, mut virtual_ms) = (seen.stats(), 0);
    seen.take_events().iter().for_each(|(at_ms, event)| trace.note(*at_ms, format_args!("{event}")));
    trace.note_bytes(&disk.trace().to_le_bytes());
    let violation = match lived {
        _ if !panics.is_empty() => Some(Violation::new("panic", panics.join("; "))),
        Some(Ok((ended_ms, told))) => {
            virtual_ms = ended_ms;
            told.iter().for_each(|(what, count)| stats.add(what, *count));
            None
        }
        Some(Err(violation)) => Some(violation),
        None => None,
    };
    if let Some(violation) = &violation {
        trace.note(virtual_ms, format_args!("VIOLATION {violation}"));
    }
    Outcome { seed, trace: trace.hash(), events: trace.events(), virtual_ms, stats, violation }
}

impl Stage {
    fn note(&self, event: String) {
        self.seen.note(&self.io, event);
    }

    async fn live(&self) -> Result<(), Violation> {
        let mut node = self.start(None).await?;
        let admin = self.admin()?;
        let created = admin.create_topics(&[NewTopic::new(TOPIC, self.plan.partitions)], false).await;
        let created = created.map_err(broken).and_then(|mut all| all.remove(TOPIC).ok_or_else(|| no_answer(TOPIC)))?;
        match created {
            // It was made, and what said so got lost.
            Err(e) if e.code() == Some(ErrorCode::TopicAlreadyExists) => {}
            created => drop(created.map_err(broken)?),
        }
        let tasks = self.io.tasks;
        let writers: Vec<_> = (0..).zip(&self.plan.writers).map(|(n, f)| tasks.spawn(self.writer(n, *f))).collect();
        let members: Vec<_> = (0..self.plan.members).map(|n| tasks.spawn(self.member(n))).collect();
        for life in &self.plan.lives {
            node = match node {
                // A start that was cut off ends its life.
                None => self.start(life.at_mutation).await?,
                Some(node) => {
                    self.arm(life.at_mutation);
                    Some(node)
                }
            };
            self.wait(life.length_ms).await;
            // What is cut off says nothing more.
            if let Ok(looked) = tokio::time::timeout(LOOK, self.seen.look_at_commits(&self.io, &admin)).await {
                looked?;
            }
            self.end(node.take(), life.end).await?;
            self.io.clock.sleep(Duration::from_millis(life.pause_ms)).await;
        }
        let node = self.start(None).await?;
        for writer in writers {
            writer.join().await;
        }
        self.weather.clears();
        let restarts = !self.plan.lives.is_empty();
        let client = self.client(ClientKind::Admin)?;
        let there = seen::whole(&client, self.plan.partitions).await?;
        self.seen.judge(&there, &self.plan.writers, restarts)?;
        // What was written is read, by the group as a whole, and the group's place is the end.
        while !self.seen.group_has(&there)? {
            self.io.clock.sleep(Duration::from_millis(300)).await;
            self.seen.look_at_commits(&self.io, &admin).await?;
        }
        self.seen.done();
        for member in members {
            member.join().await;
        }
        self.seen.look_at_commits(&self.io, &admin).await?;
        self.end(node, End::Stop).await
    }

    fn client(&self, kind: ClientKind) -> Result<Client, Violation> {
        Client::with_security(self.io.clone(), &config(), kind, self.weather.clone()).map_err(broken)
    }

    fn admin(&self) -> Result<Admin, Violation> {
        self.client(ClientKind::Admin).map(Admin::of)
    }

    fn writer(&self, number: usize, in_flight: u64) -> impl Future<Output = ()> + Send + use<> {
        let (io, weather, seen) = (self.io.clone(), self.weather.clone(), self.seen.clone());
        clients::write(io, weather, number, in_flight, self.plan.partitions, seen)
    }

    fn member(&self, number: usize) -> impl Future<Output = ()> + Send + use<> {
        clients::read(self.io.clone(), self.weather.clone(), number, self.seen.clone())
    }

    /// The world ends at the `n`-th change of the disk from now on.
    fn arm(&self, n: Option<u64>) {
        let at = n.map(|n| self.disk.counts().mutations + n);
        if let Some(at) = at {
            self.disk.halt_at(at);
        }
        self.weather.ends_at_mutation(at);
    }

    /// Starts a process; none if it was cut off before it served.
    async fn start(&self, at_mutation: Option<u64>) -> Result<Option<Node>, Violation> {
        self.arm(at_mutation);
        let tasks = Tasks::of_a_process();
        let io = Io { tasks, ..self.io.clone() };
        let started = tokio::time::timeout(Duration::from_secs(60), self.world.start(io, &self.plan.settings())).await;
        match started {
            Ok(Ok(process)) => {
                self.note("started".to_owned());
                Ok(Some(Node { process, tasks }))
            }
            _ if self.weather.is_cut_off() => {
                tasks.kill().await;
                Ok(None)
            }
            Ok(Err(e)) => Err(Violation::new("starts", e)),
            Err(_) => Err(Violation::new("starts", "not within a minute")),
        }
    }

    /// Waits until a life is over.
    async fn wait(&self, length_ms: u64) {
        let over = self.io.clock.now().plus_ms(length_ms as i64);
        while self.io.clock.now() < over && !self.weather.is_cut_off() {
            self.io.clock.sleep(LOOK).await;
        }
    }

    /// Ends a process: asked to, or at once, with all of its tasks and connections.
    async fn end(&self, node: Option<Node>, end: End) -> Result<(), Violation> {
        self.note(format!("the end: {end:?}"));
        if let Some(Node { process, tasks }) = node {
            if end == End::Stop {
                let stopped = tokio::time::timeout(Duration::from_secs(30), process.stop()).await;
                stopped.map_err(|_| Violation::new("stops", "not within half a minute"))?;
                self.disk.halt_at(1);
                tasks.kill().await;
            } else {
                // What it does while it is torn down, it does not do to the disk.
                self.disk.halt_at(1);
                tasks.kill().await;
                drop(process);
            }
        }
        match end {
            End::PowerCut => self.disk.crash(&self.random),
            End::Stop | End::Kill => self.disk.kill(),
        }
        self.arm(None);
        self.seen.count(match end {
            End::PowerCut => "power cuts",
            End::Kill => "kills",
            End::Stop => "stops",
        });
        Ok(())
    }
}

/// A call failed that must not.
fn broken(e: logrun_client::Error) -> Violation {
    Violation::new("errors", e.to_string())
}

fn no_answer(what: &str) -> Violation {
    Violation::new("errors", format!("nothing was said of {what}"))
}
