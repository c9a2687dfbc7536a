//! The logrun command line: parsing, the run of a node until a signal, small look-ups.
//!
//! It reads the configuration file and the environment, which nothing below does, and hands text to `logrun-config`
//! and a checked configuration to `logrun-node`. It is also each of Kafka's tools, by the name it is called by
//! (`registry.rs`). It never reaches into the broker. What goes wrong is one sentence
//! with the cause and the remedy, and exit code 1, or 2 if the command line itself is wrong.

mod args;
mod banner;
mod install;
mod kafka;
mod logging;
mod logs;
mod lookup;
mod registry;
mod serve;
mod source;
mod storage;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Instant;

use clap::{CommandFactory, FromArgMatches};

use crate::args::{Cli, Command};
use logrun_ctl::Failure;

/// Runs the program.
pub fn main() -> ExitCode {
    let started = Instant::now();
    let words: Vec<OsString> = std::env::args_os().collect();
    match registry::called(&words) {
        // kcat has its own, and its -V.
        Ok(Some((tool, [only]))) if only == "--version" && tool.name.starts_with("kafka-") => {
            print(&logrun_tools::version()).unwrap_or_else(|failure| failure.report())
        }
        Ok(Some((tool, rest))) => (tool.run)(rest),
        Ok(None) => own(started),
        Err(failure) => failure.report(),
    }
}

/// `logrun` by its own name.
fn own(started: Instant) -> ExitCode {
    let matches = logrun_ctl::with_examples(Cli::command()).get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|e| e.exit());
    let result = match &cli.command {
        None => serve::serve(&cli.serve, started),
        Some(Command::Serve(args)) => serve::serve(args, started),
        Some(Command::Config(command)) => lookup::run(command).and_then(|text| print(&text)),
        Some(Command::Storage(command)) => storage::run(command).and_then(|text| print(&text)),
        Some(Command::Log(command)) => logs::run(command),
        Some(Command::Completion { shell }) => print(&completion(*shell)),
        Some(Command::People(command)) => logrun_ctl::run(command),
        Some(Command::InstallTools(args)) => install::run(args).and_then(|text| print(&text)),
    };
    result.unwrap_or_else(|failure| failure.report())
}

fn completion(shell: clap_complete::Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "logrun", &mut script);
    let words = String::from_utf8_lossy(&script).into_owned();
    words + logrun_ctl::completion_of_names(&shell.to_string())
}

fn print(text: &str) -> Result<ExitCode, Failure> {
    match std::io::stdout().write_all(text.as_bytes()) {
        // `logrun config list | head` has what it wanted.
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::new(format!("can't print: {e}"))),
        _ => Ok(ExitCode::SUCCESS),
    }
}
