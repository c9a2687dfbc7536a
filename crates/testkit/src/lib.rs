//! Brokers as processes, Logrun's and Apache Kafka's alike: start one, ask it whether it serves, measure what it
//! costs, end it politely or with `kill -9`.
//!
//! For tests and measurements. It must never be linked into the program, and it depends on none of the program's
//! crates, so that what it says about the program is not said with the program's own code.

mod background;
mod broker;
pub mod command;
pub mod load;
mod ports;
pub mod probe;
pub mod procfs;
mod scratch;
mod secured;

pub use background::Background;
pub use broker::{Home, Product, Ready, Running, exit_code, judge, logrun_binary};
pub use ports::free_port_pair;
pub use scratch::Scratch;
pub use secured::{Certificates, Secured};

use std::path::{Path, PathBuf};

/// The repository's root.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or_else(|| Path::new(".")).to_owned()
}
