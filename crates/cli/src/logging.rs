//! Logs: to standard error, coloured only on a terminal.

use std::io::IsTerminal;
use std::str::FromStr;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use logrun_ctl::Failure;

/// Starts logging at `level`, which is a level, or a list of `target=level`.
///
/// # Errors
/// If `level` is neither.
pub fn start(level: &str) -> Result<(), Failure> {
    let targets = Targets::from_str(level).map_err(|e| {
        Failure::usage(format!(
            "--log-level {level}: {e}: give error, warn, info, debug or trace, or info,logrun_raft=debug"
        ))
    })?;
    // NO_COLOR: no-color.org
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(colour);
    // Already started: a program that holds this one logs as it likes.
    let _ = tracing_subscriber::registry().with(targets).with(lines).try_init();
    Ok(())
}
