//! The whole node under seeded virtual time with faults, checked against a model.
//!
//! [`run`] does everything for one seed: it draws a [`plan::Plan`], lets processes live and die on one simulated disk
//! while workloads produce, read, join and administer, and asks the model whether what clients were told can be true.
//! The same seed gives the same [`Outcome::trace`]; what makes it differ is a fault of the node. One seed in eight is
//! the client library's (`library/`); [`seed`] knows which.
//!
//! Only `world.rs` knows how a node is started and stopped. Nothing here looks inside it: clients speak the wire.

mod library;
pub mod model;
mod panics;
pub mod phase;
pub mod plan;
mod run;
mod stats;
mod system;
pub mod tag;
#[cfg(test)]
mod toy;
mod trace;
mod workload;
mod world;

pub use run::{Outcome, run};
pub use stats::Stats;
pub use system::{Local, Process, System};
pub use trace::{Sink, Trace};
pub use world::World;

/// Runs what a seed stands for. `sink` is told of every event.
pub fn seed(seed: u64, sink: Option<Sink>) -> Outcome {
    match seed % 8 {
        7 => library::run(seed, sink),
        _ => run(seed, &World::default(), sink),
    }
}
