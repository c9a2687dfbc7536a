//! kcat's jobs under kcat's name and with kcat's options: produce, consume, list, query
//! (<https://github.com/edenhill/kcat>, whose output scripts read).
//!
//! `args` reads the command line, `properties` its configuration; each job has a file. All of it runs on one thread.

mod args;
mod consume;
mod format;
mod input;
mod list;
mod offsets;
mod pack;
mod produce;
mod properties;
mod query;

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use logrun_client::{Client, ClientKind, Error, ErrorCode};
use logrun_io::Io;

use self::args::{Args, Asked, Mode};
use crate::{Tool, runtime};

pub const TOOL: Tool =
    Tool { name: "kcat", about: "produce, consume, list and query in the manner of cat", run: |words| run(words) };

/// Its former name.
pub const FORMER: Tool = Tool { name: "kafkacat", ..TOOL };

fn run(words: &[OsString]) -> ExitCode {
    let text: Option<Vec<String>> = words.iter().map(|w| w.to_str().map(str::to_owned)).collect();
    let Some(text) = text else { return failed("an argument is not UTF-8 text") };
    match args::parse(&text) {
        Ok(Asked::Help) => printed(include_str!("help.txt")),
        Ok(Asked::Version) => printed(&format!("kcat of logrun {}\n", env!("CARGO_PKG_VERSION"))),
        Ok(Asked::Properties) => {
            printed("Kafka's names, and librdkafka's for the same: `logrun config list` shows them.\n")
        }
        Ok(Asked::Run(args)) => match go(&args) {
            Ok(code) => code,
            Err(message) => failed(&message),
        },
        Err(message) => {
            eprintln!("Error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn printed(text: &str) -> ExitCode {
    // Whoever closed our output needs no more of it.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn failed(message: &str) -> ExitCode {
    eprintln!("% ERROR: {message}");
    ExitCode::FAILURE
}

fn go(args: &Args) -> Result<ExitCode, String> {
    let mode = mode(args)?;
    let set = properties::collect(args, mode)?;
    if args.properties.iter().any(|p| p == "dump") {
        let lines: String = set.iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
        return Ok(printed(&lines));
    }
    let config = properties::config(&set);
    runtime::block_on(String::from, async {
        let topic = || args.topics.first().ok_or_else(|| "-t <topic> missing".to_owned());
        match mode {
            Mode::List => {
                let client = Client::new(Io::real(), &config, ClientKind::Admin).map_err(|e| client_error(&e))?;
                Ok(printed(&list::run(&client, args).await?))
            }
            Mode::Query => Ok(printed(&query::run(&config, args).await?)),
            Mode::Produce => produce::run(&config, args, topic()?).await,
            Mode::Consume => consume::partitions(&config, args, topic()?).await.map(|()| ExitCode::SUCCESS),
            Mode::Group => {
                let group = args.group.as_deref().unwrap_or_default();
                consume::group(&config, args, group).await.map(|()| ExitCode::SUCCESS)
            }
        }
    })
}

/// What is to be done where no letter says it: what is piped in is produced.
fn mode(args: &Args) -> Result<Mode, String> {
    if let Some(mode) = args.mode {
        if mode == Mode::Group && args.rest.is_empty() && args.topics.is_empty() {
            return Err("-G <group> asks for the topics to read, behind the options".to_owned());
        }
        return Ok(mode);
    }
    if args.topics.is_empty() {
        return Err("one of -C, -P, -L, -Q or -G says what is to be done; `kcat -h` says more".to_owned());
    }
    let (mode, name) =
        if std::io::stdin().is_terminal() { (Mode::Consume, "Consumer") } else { (Mode::Produce, "Producer") };
    if !args.quiet {
        eprintln!("% Auto-selecting {name} mode (use -P or -C to override)");
    }
    Ok(mode)
}

/// A broker's error, in librdkafka's manner.
fn broker_error(code: ErrorCode) -> String {
    let words = crate::errors::message(code.code(), None);
    let name = code.name();
    if words.is_empty() { format!("Broker: {name}") } else { format!("Broker: {name}: {words}") }
}

/// What went wrong, as a sentence.
fn client_error(error: &Error) -> String {
    match error.code() {
        Some(code) => broker_error(code),
        None => error.to_string(),
    }
}
