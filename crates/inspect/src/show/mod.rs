//! The contents of log directories for people and machines: rows of named values, for a table or JSON.
//!
//! What `kafka_dump` prints for scripts of Kafka's is here shown as it is read best: whole directories as lists of their
//! partitions, partitions as lists of their segments, Kafka's own topics opened by their schema.

mod dirs;
mod records;
mod small;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use logrun_io::Disk;
use logrun_log::{WalkError, parse_dir_name};
use logrun_model::Offset;
use thiserror::Error;

use crate::schema::Json;
use crate::survey::LogDirectory;

/// One line of a table, one object of JSON.
pub type Row = Vec<(&'static str, Json)>;

/// Where rows go.
pub trait Sink {
    /// What follows is something else: the rows have other columns.
    fn section(&mut self, path: &Path, what: &'static str) -> io::Result<()>;
    fn row(&mut self, row: Row) -> io::Result<()>;
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct ShowOptions {
    /// Each record and not only batches.
    pub records: bool,
    /// The first offset that is shown.
    pub from: Offset,
    /// The offset that is shown no more.
    pub to: Offset,
    /// At most so many batches or records.
    pub limit: u64,
}

impl Default for ShowOptions {
    fn default() -> Self {
        Self { records: false, from: Offset::ZERO, to: Offset(i64::MAX), limit: u64::MAX }
    }
}

/// Why something can't be shown.
#[derive(Debug, Error)]
pub enum ShowError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: {reason}", path.display())]
    Corrupt { path: PathBuf, reason: String },
    #[error("{} is neither a log directory, nor a partition's, nor a file of one", .0.display())]
    Unknown(PathBuf),
    #[error("can't print: {0}")]
    Print(#[from] io::Error),
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> ShowError {
    move |source| ShowError::Io { path: path.to_owned(), source }
}

fn corrupt(path: &Path, reason: impl ToString) -> ShowError {
    ShowError::Corrupt { path: path.to_owned(), reason: reason.to_string() }
}

fn walk_error(path: &Path, e: WalkError) -> ShowError {
    match e {
        WalkError::Io(source) => io_error(path)(source),
        WalkError::NotABatch { position, reason } => corrupt(path, format!("at position {position}: {reason}")),
    }
}

/// A show on its way.
struct Show<'a> {
    disk: &'a Arc<dyn Disk>,
    options: &'a ShowOptions,
    sink: &'a mut dyn Sink,
    left: u64,
}

/// Shows what is at `path`.
///
/// # Errors
/// It can't be read or is not of a log, or the sink fails.
pub fn show(disk: &Arc<dyn Disk>, path: &Path, options: &ShowOptions, sink: &mut dyn Sink) -> Result<(), ShowError> {
    let info = disk.info(path).map_err(io_error(path))?;
    let info = info.ok_or_else(|| io_error(path)(io::ErrorKind::NotFound.into()))?;
    let mut show = Show { disk, options, sink, left: options.limit };
    if !info.is_dir {
        return show.file(path);
    }
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    if parse_dir_name(&name).is_some() {
        return show.partition(path);
    }
    let dir = LogDirectory::survey(&**disk, path).map_err(io_error(path))?;
    if !dir.is_one() {
        return Err(ShowError::Unknown(path.to_owned()));
    }
    show.log_dir(&dir)
}

impl Show<'_> {
    fn file(&mut self, path: &Path) -> Result<(), ShowError> {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        match name.rsplit_once('.').map(|(_, suffix)| suffix) {
            Some("log") => self.batches(path),
            Some("checkpoint") => self.batches(path),
            Some("index" | "timeindex" | "txnindex" | "snapshot") => self.index(path, &name),
            _ => self.text(path, &name),
        }
    }
}
