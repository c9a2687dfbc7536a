//! Formatting before the first start, as Kafka's `Formatter` (KIP-631, KIP-853): `meta.properties` in each directory,
//! the records that the metadata begin with, and the voters of the quorum.
//!
//! A start formats what is not formatted by itself; this is for those who choose the cluster's id, the release or the
//! voters. A directory's `meta.properties` is written last, so that a format that was cut short begins anew.

use std::path::PathBuf;

use logrun_io::Io;
use logrun_log::{DirsError, LogDirs};
use logrun_metadata::MetadataVersion;
use logrun_metadata::records::MetadataRecord;
use logrun_model::{NodeId, Str};
use logrun_raft::{MetadataLog, RaftError, Voter, write_bootstrap};
use thiserror::Error;

/// What to format, and with what.
#[derive(Debug)]
pub struct FormatPlan {
    pub node_id: NodeId,
    pub cluster_id: Str,
    /// In the order in which they are formatted.
    pub directories: Vec<PathBuf>,
    pub metadata_log_dir: PathBuf,
    pub metadata_version: MetadataVersion,
    pub records: Vec<MetadataRecord>,
    /// The first voters; empty if the configuration names them or they are asked for later.
    pub voters: Vec<Voter>,
    pub ignore_formatted: bool,
}

/// One directory that is about to be formatted.
#[derive(Debug)]
pub struct Formatted {
    pub path: PathBuf,
    /// Kafka's words for what it is for.
    pub description: &'static str,
}

/// Why a directory isn't formatted.
#[derive(Debug, Error)]
pub enum FormatError {
    #[error(
        "Log directory {} is already formatted. Use --ignore-formatted to ignore this directory and format the others.",
        .0.display()
    )]
    AlreadyFormatted(PathBuf),
    #[error(transparent)]
    Dirs(#[from] DirsError),
    #[error(transparent)]
    Raft(#[from] RaftError),
}

/// Formats what is not formatted; `before` is told of each directory, once it is certain that there is one.
///
/// # Errors
/// A directory is in use, of another cluster or node, or formatted already; or it can't be written.
pub fn format(io: &Io, plan: &FormatPlan, mut before: impl FnMut(&Formatted)) -> Result<(), FormatError> {
    let open = LogDirs::open(io, &plan.directories)?;
    if let Some((_, e)) = open.failed.into_iter().next() {
        return Err(e.into());
    }
    let mut dirs = open.dirs;
    dirs.check_owner(Some(&plan.cluster_id), plan.node_id)?;
    let formatted = dirs.dirs().iter().find(|d| d.meta.is_some());
    if let (Some(d), false) = (formatted, plan.ignore_formatted) {
        return Err(FormatError::AlreadyFormatted(d.path.clone()));
    }
    let now = io.clock.read();
    for i in 0..dirs.dirs().len() {
        let dir = &dirs.dirs()[i];
        if dir.meta.is_some() {
            continue;
        }
        let path = dir.path.clone();
        let own = plan.voters.iter().find(|v| v.id == plan.node_id);
        let is_metadata = path == plan.metadata_log_dir;
        let description = match (is_metadata, own) {
            (false, _) => "data directory",
            (true, Some(_)) => "dynamic metadata voter directory",
            (true, None) if !plan.voters.is_empty() => "dynamic metadata directory",
            (true, None) => "metadata directory",
        };
        before(&Formatted { path: path.clone(), description });
        write_bootstrap(&*io.disk, &path, plan.metadata_version, &plan.records, now.wall)?;
        if is_metadata && !plan.voters.is_empty() {
            MetadataLog::format(io, &path, &plan.voters, now)?;
        }
        let id = own.filter(|_| is_metadata).map_or_else(|| io.random.uuid(), |v| v.directory_id);
        dirs.format_one(i, &plan.cluster_id, plan.node_id, id)?;
    }
    Ok(())
}
