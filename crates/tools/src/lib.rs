//! Kafka's command line tools by their own names, on the client library.
//!
//! Each takes Kafka's options and prints what Apache Kafka's tool prints, with its exit code, where scripts read
//! them. A tool talks to a broker through the client library and never reaches into one; the command line
//! (`logrun-cli`) finds a tool here by the name it is called by.

mod acls;
mod all_groups;
mod api_versions;
mod client_metrics;
mod cluster;
mod cluster_tool;
mod configs;
mod console;
pub mod datetime;
mod election;
mod errors;
mod failure;
mod features;
mod files;
mod filter;
mod groups;
mod kcat;
mod log_dirs;
mod offsets;
pub mod options;
mod perf;
mod quorum;
mod reassign;
mod records;
pub mod runtime;
mod scram;
mod session;
mod text;
mod tokens;
mod topics;
mod transactions;
mod verifiable;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

pub use crate::failure::Failure;
pub use crate::groups::plan;
use crate::options::{Given, Syntax};

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
pub const TOOLS: &[Tool] = &[
    acls::TOOL,
    api_versions::TOOL,
    client_metrics::TOOL,
    cluster_tool::TOOL,
    configs::TOOL,
    console::consumer::TOOL,
    console::producer::TOOL,
    console::share::TOOL,
    groups::TOOL,
    perf::consumer::TOOL,
    tokens::TOOL,
    records::TOOL,
    perf::end_to_end::TOOL,
    features::TOOL,
    offsets::TOOL,
    all_groups::TOOL,
    election::TOOL,
    log_dirs::TOOL,
    quorum::TOOL,
    perf::producer::TOOL,
    reassign::TOOL,
    groups::share::TOOL,
    groups::streams::TOOL,
    topics::TOOL,
    transactions::TOOL,
    verifiable::consumer::TOOL,
    verifiable::producer::TOOL,
    kcat::FORMER,
    kcat::TOOL,
];

/// The release of Apache Kafka whose tools these are, which is what scripts look for, and our own.
pub fn version() -> String {
    format!("4.3.1 (logrun {})\n", env!("CARGO_PKG_VERSION"))
}

/// Where a tool prints. Buffered; what is printed before a failure is there before its message.
pub type Out = io::BufWriter<io::Stdout>;

/// The frame of every tool: reads the command line, answers `--help` and `--version`, runs, and reports what went wrong.
pub fn tool(
    syntax: &'static Syntax,
    args: &[OsString],
    body: impl FnOnce(&Given<'_>, &mut Out) -> Result<(), Failure>,
) -> ExitCode {
    let mut out = io::BufWriter::new(io::stdout());
    let result = framed(syntax, args, &mut out, body);
    let flushed = out.flush().map_err(Failure::from);
    match result.and(flushed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn framed(
    syntax: &'static Syntax,
    args: &[OsString],
    out: &mut Out,
    body: impl FnOnce(&Given<'_>, &mut Out) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let text = |arg: &OsString| {
        arg.to_str()
            .map(str::to_owned)
            .ok_or_else(|| Failure::new(format!("{} is not UTF-8 text", arg.to_string_lossy())))
    };
    let args = args.iter().map(text).collect::<Result<Vec<_>, _>>()?;
    let given = syntax.parse(&args)?;
    if let Some(answer) = given.is_asked() {
        return Ok(out.write_all(answer.as_bytes())?);
    }
    if args.is_empty() {
        return Err(Failure::usage(syntax.help()));
    }
    for said in given.deprecations() {
        writeln!(out, "{said}")?;
    }
    body(&given, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_each_is_there_once() {
        assert!(TOOLS.windows(2).all(|w| w[0].name < w[1].name));
    }
}
