//! Kafka's command line tools by their own names, on the client library.
//!
//! Each takes Kafka's options and prints what Apache Kafka's tool prints, with its exit code, where scripts read
//! them. A tool talks to a broker through the client library and never reaches into one; the command line
//! (`logrun-cli`) finds a tool here by the name it is called by.

use std::ffi::OsString;
use std::process::ExitCode;

/// A program of Kafka's that this one also is.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    /// What it is called by, without `.sh`: `kafka-topics`.
    pub name: &'static str,
    /// What it is for, in one line, for lists of tools.
    pub about: &'static str,
    /// Runs it on what follows its name. What goes wrong it says itself.
    pub run: fn(&[OsString]) -> ExitCode,
}

/// The tools, by name.
pub const TOOLS: &[Tool] = &[];
