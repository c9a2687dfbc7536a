//! `logrun storage`: what a data directory holds, and new ids. A node formats its directories by itself.

use std::fmt::Write as _;
use std::path::Path;

use logrun_config::properties;
use logrun_io::{Io, disk};

use crate::args::{SourceArgs, StorageCommand};
use crate::source::{absolute, gather, process_environment};
use logrun_ctl::Failure;

/// What the command prints.
///
/// # Errors
/// If the configuration is unsound.
pub fn run(command: &StorageCommand) -> Result<String, Failure> {
    match command {
        StorageCommand::RandomUuid => Ok(format!("{}\n", Io::real().random.uuid())),
        StorageCommand::Info(source) => info(source),
    }
}

fn info(source: &SourceArgs) -> Result<String, Failure> {
    let config = gather(source, &process_environment())?.finish().map_err(Failure::new)?.config;
    let io = Io::real();
    let mut text = String::new();
    let mut dirs = config.log_dirs.clone();
    if !dirs.contains(&config.metadata_log_dir) {
        dirs.push(config.metadata_log_dir.clone());
    }
    for dir in &dirs {
        let _ = writeln!(text, "{}", absolute(dir).display());
        text.push_str(&meta_properties(&io, dir));
    }
    Ok(text)
}

/// The lines about one directory: its `meta.properties`.
fn meta_properties(io: &Io, dir: &Path) -> String {
    match disk::read_all(&*io.disk, &dir.join("meta.properties")) {
        Ok(None) => "  not formatted: the first start does it\n".to_owned(),
        Err(e) => format!("  can't be read: {e}\n"),
        Ok(Some(bytes)) => match properties::parse(&String::from_utf8_lossy(&bytes)) {
            Ok(pairs) => pairs.iter().map(|p| format!("  {}={}\n", p.key, p.value)).collect(),
            Err(e) => format!("  meta.properties is damaged: {e}\n"),
        },
    }
}
