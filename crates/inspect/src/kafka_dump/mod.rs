//! The contents of a log's files in the words of Apache Kafka's `DumpLogSegments`, character by character: scripts read
//! them.
//!
//! What Kafka ends with an exception and a stack trace is here an error with one sentence. Nothing is written to a file.

mod batches;
mod decode;
mod indexes;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use logrun_io::{Disk, File, OpenMode};
use logrun_log::WalkError;
use logrun_model::Offset;
use logrun_partition::decode_snapshot;
use thiserror::Error;

pub use decode::{PlainDecoder, RecordDecoder};

/// What is to be shown.
#[derive(Clone, Debug)]
pub struct DumpOptions {
    pub print_data_log: bool,
    pub verify_index_only: bool,
    pub index_sanity_check: bool,
    pub files: Vec<String>,
    /// How far behind an index entry's position its batch may end, in bytes.
    pub max_message_size: u64,
    /// How much of a segment is read; `None` is all of it.
    pub max_bytes: Option<u64>,
    pub deep_iteration: bool,
    pub skip_record_metadata: bool,
    pub decoder: RecordDecoder,
}

/// Why a dump ended early.
#[derive(Debug, Error)]
pub enum DumpError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: {reason}", path.display())]
    Corrupt { path: PathBuf, reason: String },
    #[error("{name} is not the name of a file of a log: {reason}")]
    Name { name: String, reason: &'static str },
    #[error("can't print: {0}")]
    Print(#[from] io::Error),
}

impl DumpError {
    fn io(path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), source }
    }

    fn corrupt(path: &Path, reason: impl ToString) -> Self {
        Self::Corrupt { path: path.to_owned(), reason: reason.to_string() }
    }

    fn walk(path: &Path, e: WalkError) -> Self {
        match e {
            WalkError::Io(source) => Self::Io { path: path.to_owned(), source },
            WalkError::NotABatch { position, reason } => {
                Self::corrupt(path, format!("at position {position}: {reason}"))
            }
        }
    }
}

/// What doesn't agree, told behind everything else and on standard error.
#[derive(Debug, Default)]
struct Complaints {
    /// By file: (offset in the index, last offset of the batch at its position).
    index_mismatches: BTreeMap<PathBuf, Vec<(Offset, Offset)>>,
    time: indexes::TimeComplaints,
    /// By file: (offset, the one that follows it).
    non_consecutive: BTreeMap<PathBuf, BTreeMap<Offset, Offset>>,
}

/// A dump on its way.
struct Dump<'a> {
    disk: Arc<dyn Disk>,
    options: &'a DumpOptions,
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    complaints: Complaints,
}

/// Shows the files of `options` on `out`, what is wrong with them on `err`.
///
/// # Errors
/// A file can't be read, or is not what its name says.
pub fn dump(
    disk: Arc<dyn Disk>,
    options: &DumpOptions,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<(), DumpError> {
    let mut dump = Dump { disk, options, out, err, complaints: Complaints::default() };
    let mut result = Ok(());
    for name in &options.files {
        result = dump.file(&java_path(name));
        if result.is_err() {
            break;
        }
    }
    dump.out.flush()?;
    result.and_then(|()| dump.complain())
}

/// A path as Java's `File` prints it: without doubled and trailing slashes.
fn java_path(name: &str) -> PathBuf {
    let mut path = String::with_capacity(name.len());
    for c in name.chars() {
        if c != '/' || !path.ends_with('/') {
            path.push(c);
        }
    }
    let trimmed = if path.len() > 1 { path.trim_end_matches('/') } else { &path };
    PathBuf::from(trimmed)
}

impl Dump<'_> {
    fn file(&mut self, path: &Path) -> Result<(), DumpError> {
        writeln!(self.out, "Dumping {}", path.display())?;
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let suffix = name.rfind('.').map_or("", |dot| &name[dot..]);
        match suffix {
            ".log" | ".checkpoint" => self.log(path, &name),
            ".index" => self.offset_index(path, &name),
            ".timeindex" => self.time_index(path, &name),
            ".txnindex" => self.txn_index(path, &name),
            ".snapshot" => self.producer_snapshot(path),
            _ => Ok(writeln!(self.err, "Ignoring unknown file {}", path.display())?),
        }
    }

    fn open(&self, path: &Path) -> Result<(Arc<dyn File>, u64), DumpError> {
        let file = self.disk.open(path, OpenMode::Read).map_err(DumpError::io(path))?;
        let len = file.len().map_err(DumpError::io(path))?;
        Ok((file, len))
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, DumpError> {
        let bytes = logrun_io::disk::read_all(&*self.disk, path).map_err(DumpError::io(path))?;
        bytes.ok_or_else(|| DumpError::io(path)(io::ErrorKind::NotFound.into()))
    }

    fn producer_snapshot(&mut self, path: &Path) -> Result<(), DumpError> {
        let entries = match decode_snapshot(&self.read(path)?) {
            Ok(entries) => entries,
            Err(e) => return Ok(writeln!(self.err, "{e}")?),
        };
        for entry in entries {
            write!(
                self.out,
                "producerId: {} producerEpoch: {} coordinatorEpoch: {} currentTxnFirstOffset: {} lastTimestamp: {}",
                entry.producer_id,
                entry.producer_epoch,
                entry.coordinator_epoch,
                optional_long(entry.current_txn_first_offset.map(Offset::get)),
                entry.last_timestamp.get(),
            )?;
            if let Some(batch) = entry.last_batch() {
                write!(
                    self.out,
                    " firstSequence: {} lastSequence: {} lastOffset: {} offsetDelta: {} timestamp: {}",
                    batch.first_sequence(),
                    batch.last_sequence,
                    batch.last_offset,
                    batch.offset_delta,
                    batch.timestamp.get(),
                )?;
            }
            writeln!(self.out)?;
        }
        Ok(())
    }

    fn complain(&mut self) -> Result<(), DumpError> {
        for (path, pairs) in &self.complaints.index_mismatches {
            writeln!(self.err, "Mismatches in :{}", path.display())?;
            // The latest first.
            for (index, log) in pairs.iter().rev() {
                writeln!(self.err, "  Index offset: {index}, log offset: {log}")?;
            }
        }
        self.complaints.time.print(self.err)?;
        for (path, pairs) in &self.complaints.non_consecutive {
            writeln!(self.err, "Non-consecutive offsets in {}", path.display())?;
            for (offset, next) in pairs {
                writeln!(self.err, "  {offset} is followed by {next}")?;
            }
        }
        Ok(())
    }
}

/// Java's `OptionalLong` in text.
fn optional_long(n: Option<i64>) -> String {
    n.map_or_else(|| "OptionalLong.empty".to_owned(), |n| format!("OptionalLong[{n}]"))
}

/// The base offset in the name of a segment's file; Kafka takes whatever number stands before the first dot.
fn base_offset(name: &str) -> Result<Offset, DumpError> {
    let number = name.split('.').next().and_then(|n| n.parse().ok()).filter(|n| *n >= 0);
    let reason = "it does not begin with an offset";
    number.map(Offset).ok_or_else(|| DumpError::Name { name: name.to_owned(), reason })
}

/// The path of another file of the same segment.
fn beside(path: &Path, name: &str, suffix: &str) -> PathBuf {
    path.with_file_name(format!("{}{suffix}", name.split('.').next().unwrap_or_default()))
}

/// The whole path, as complaints have it.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
