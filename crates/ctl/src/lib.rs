//! The commands that people type: `logrun topics`, `configs`, `groups`, `produce`, `consume`, `top`, `doctor`,
//! `contexts`.
//!
//! They stand on the public client library: each works against Apache Kafka too, and none reaches into a broker. Kafka's
//! own tools, whose words and output scripts rely on, are `logrun-tools`, from which the reading of times and the plans of
//! offsets come; here a person is spoken to. Every command prints through [`output`], reaches a cluster through [`session`]
//! and ends with a [`Failure`] that says what to do.

pub mod args;
mod ask;
mod complete;
mod configs;
mod consume;
mod contexts;
mod doctor;
mod failure;
mod groups;
mod names;
pub mod output;
mod produce;
mod session;
mod time;
mod top;
mod topics;

use std::process::ExitCode;

pub use crate::args::{Command, with_examples};
pub use crate::complete::script as completion_of_names;
pub use crate::failure::Failure;

/// Runs a command.
///
/// # Errors
/// A sentence, if it can't be done.
pub fn run(command: &Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Topics(args) => topics::run(args),
        Command::Configs(args) => configs::run(args),
        Command::Groups(args) => groups::run(args),
        Command::Produce(args) => produce::run(args),
        Command::Consume(args) => consume::run(args),
        Command::Top(args) => top::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Contexts(args) => contexts::run(args),
        Command::Complete(args) => complete::run(args),
    }
}
