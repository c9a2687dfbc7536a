//! `logrun log`: what lies in log directories, shown, checked and mended while no broker runs on them.

mod dump;
mod repair;
mod table;
mod verify;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use logrun_inspect::survey::LogDirectory;
use logrun_io::Disk;

use crate::args::LogCommand;
use logrun_ctl::Failure;

/// Runs the command.
///
/// # Errors
/// A sentence, if it can't be done.
pub fn run(command: &LogCommand) -> Result<ExitCode, Failure> {
    let disk = logrun_io::Io::real().disk;
    match command {
        LogCommand::Dump(args) => dump::run(&disk, args),
        LogCommand::Verify(args) => verify::run(&disk, args),
        LogCommand::Repair(args) => repair::run(&disk, args),
    }
}

/// The log directory at `path`; of a partition's directory the one around it, with that partition alone.
fn survey(disk: &Arc<dyn Disk>, path: &Path) -> Result<LogDirectory, Failure> {
    let cannot = |e: std::io::Error| {
        let remedy = if e.kind() == std::io::ErrorKind::NotFound { ": check the path" } else { "" };
        Failure::new(format!("can't look into {}: {e}{remedy}", path.display()))
    };
    let dir = LogDirectory::survey(&**disk, path).map_err(cannot)?;
    if dir.is_one() {
        return Ok(dir);
    }
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let name = whole.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let parent = whole.parent().map_or_else(PathBuf::new, Path::to_owned);
    if logrun_log::parse_dir_name(&name).is_some() {
        let mut around = LogDirectory::survey(&**disk, &parent).map_err(cannot)?;
        around.partitions.retain(|p| p.path == whole);
        return Ok(around);
    }
    Err(Failure::new(format!(
        "{} is no log directory: name one of log.dirs (it holds meta.properties), or a partition's directory in it",
        path.display()
    )))
}
