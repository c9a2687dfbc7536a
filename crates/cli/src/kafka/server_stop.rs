//! `kafka-server-stop [--process-role=ROLE] [--node-id=N]`: asks the nodes of this machine to stop in order.
//!
//! A node is a process that holds the lock of a data directory: it is found by the open file, whatever the words on
//! its command line were. Only processes whose program is Logrun's are looked at; Apache Kafka has its own script.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use logrun_config::properties;
use rustix::process::{Pid, Signal, kill_process};

use logrun_ctl::Failure;

const USAGE: &str = "\
USAGE: kafka-server-stop [--process-role=broker|controller] [--node-id=N]

Asks the nodes that run on this machine to stop in order (SIGTERM): all of them, or those of one id or one role.
Exit code 1 if there are none. It doesn't wait until they have stopped.";

/// Which nodes are meant.
#[derive(Debug, Default, PartialEq, Eq)]
struct Which {
    role: Option<String>,
    node_id: Option<String>,
}

/// A node that runs.
#[derive(Debug)]
struct Running {
    pid: i32,
    /// The directories whose lock it holds.
    dirs: Vec<PathBuf>,
}

/// Runs the tool.
pub fn run(words: &[OsString]) -> ExitCode {
    stop(words).unwrap_or_else(|failure| failure.report())
}

fn stop(words: &[OsString]) -> Result<ExitCode, Failure> {
    let Some(which) = parse(words)? else {
        println!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    };
    let mut stopped = 0;
    for node in running()? {
        if which.node_id.is_some() && which.node_id != node_id(&node.dirs)
            || which.role.as_deref().is_some_and(|role| !has_role(&node.dirs, role))
        {
            continue;
        }
        let Some(pid) = Pid::from_raw(node.pid) else { continue };
        match kill_process(pid, Signal::TERM) {
            Ok(()) => stopped += 1,
            Err(e) => eprintln!("logrun: process {} can't be told to stop: {e}", node.pid),
        }
    }
    if stopped == 0 {
        println!("No kafka server to stop");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// `None` asks for the usage.
fn parse(words: &[OsString]) -> Result<Option<Which>, Failure> {
    let mut which = Which::default();
    let mut rest = words.iter().map(|word| word.to_string_lossy());
    while let Some(word) = rest.next() {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (word.clone().into_owned(), None),
        };
        let slot = match name.as_str() {
            "--help" => return Ok(None),
            "--process-role" => &mut which.role,
            "--node-id" => &mut which.node_id,
            _ => return Err(Failure::usage(format!("{word} is no option of kafka-server-stop\n{USAGE}"))),
        };
        *slot = value.or_else(|| rest.next().map(|value| value.into_owned()));
        if slot.is_none() {
            return Err(Failure::usage(format!("{name} needs a value\n{USAGE}")));
        }
    }
    Ok(Some(which))
}

/// The processes that hold a data directory, of those that may be looked at.
fn running() -> Result<Vec<Running>, Failure> {
    let cannot = |e: std::io::Error| Failure::new(format!("can't look for running nodes: {e}"));
    let program = std::env::current_exe().and_then(fs::canonicalize).map_err(cannot)?;
    let me = i32::try_from(std::process::id()).unwrap_or(0);
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").map_err(cannot)?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // Another user's process, or one that has ended meanwhile, shows nothing.
        let Ok(exe) = fs::read_link(entry.path().join("exe")) else { continue };
        if pid == me || exe.file_name() != program.file_name() {
            continue;
        }
        let dirs = locked(&entry.path());
        if !dirs.is_empty() {
            found.push(Running { pid, dirs });
        }
    }
    found.sort_by_key(|node| node.pid);
    Ok(found)
}

/// The directories whose `.lock` a process has open.
fn locked(process: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    let targets = files.filter_map(|file| fs::read_link(file.path()).ok());
    let mut dirs: Vec<PathBuf> = targets
        .filter(|target| target.file_name().is_some_and(|name| name == ".lock"))
        .filter_map(|target| target.parent().map(Path::to_path_buf))
        .collect();
    dirs.sort();
    dirs.dedup();
    dirs
}

fn node_id(dirs: &[PathBuf]) -> Option<String> {
    dirs.iter().find_map(|dir| {
        let text = fs::read_to_string(dir.join("meta.properties")).ok()?;
        properties::parse(&text).ok()?.into_iter().find(|p| p.key == "node.id").map(|p| p.value)
    })
}

/// A controller keeps the metadata log in order to vote; every node of ours that holds one has both roles, so that a
/// broker is any node with a directory.
fn has_role(dirs: &[PathBuf], role: &str) -> bool {
    match role {
        "controller" => dirs.iter().any(|dir| dir.join("__cluster_metadata-0").is_dir()),
        role => role == "broker",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let parse = |text: &str| parse(&text.split_whitespace().map(OsString::from).collect::<Vec<_>>());
        let which = |role: Option<&str>, id: Option<&str>| {
            Ok(Some(Which { role: role.map(str::to_owned), node_id: id.map(str::to_owned) }))
        };
        assert_eq!(parse(""), which(None, None));
        assert_eq!(parse("--node-id=3 --process-role controller"), which(Some("controller"), Some("3")));
        assert_eq!(parse("--help"), Ok(None));
        assert!(parse("--node-id").is_err() && parse("3").is_err());
    }
}
