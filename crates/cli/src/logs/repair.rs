//! `logrun log repair`: says what it would do to a damaged log directory, and does it if it is told to.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use logrun_inspect::repair::{execute, plan};
use logrun_inspect::verify::{Level, Mend};
use logrun_io::{Disk, Io};

use super::verify::verify;
use crate::args::RepairArgs;
use logrun_ctl::Failure;

/// Runs the command.
///
/// # Errors
/// The directory is in use, or a step fails.
pub fn run(disk: &Arc<dyn Disk>, args: &RepairArgs) -> Result<ExitCode, Failure> {
    let verified = verify(disk, &args.dir, true)?;
    let dir = &verified.dir;
    let cannot = |e: std::io::Error| Failure::new(format!("can't look into {}: {e}", dir.path.display()));
    if dir.is_held(&**disk).map_err(cannot)? {
        return Err(Failure::new(format!(
            "{} is in use by another process: stop the broker first",
            dir.path.display()
        )));
    }
    let steps = plan(&**disk, dir, &verified.findings).map_err(cannot)?;
    let mut helpless = 0;
    for f in verified.findings.iter().filter(|f| f.level > Level::Note) {
        println!("{}: {}: {}", f.level.word(), f.path.display(), f.what);
        if f.mend == Mend::None {
            println!("  not for a program to mend: {}", f.remedy);
            helpless += 1;
        }
    }
    let after = if helpless == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    if steps.is_empty() {
        println!("there is nothing to repair in {}", dir.path.display());
        return Ok(after);
    }
    let backup = args.backup.clone().unwrap_or_else(|| {
        let mut name = dir.path.clone().into_os_string();
        name.push(format!(".repair-{}", Io::real().clock.read().wall.get()));
        PathBuf::from(name)
    });
    if !args.execute {
        println!("logrun log repair --execute would:");
        for step in &steps {
            println!("  {step}");
        }
        println!("with a backup in {}; nothing has been changed", backup.display());
        return Ok(ExitCode::FAILURE);
    }
    execute(&**disk, dir, &steps, &backup, |step| println!("done: {step}")).map_err(Failure::new)?;
    println!("what was cut or put away is in {}", backup.display());
    Ok(after)
}
