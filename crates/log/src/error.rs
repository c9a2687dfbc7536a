//! What can go wrong with a partition's log, told apart by what the caller should do.
//!
//! A full disk is retriable, a failing disk takes its directory offline, an offset out of range is the
//! client's affair, and a broken order of appends is our own fault.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use logrun_model::Offset;
use thiserror::Error;

/// Why an operation on a log failed. Cheap to clone: every waiter for one sync gets it.
#[derive(Clone, Debug, Error)]
pub enum LogError {
    /// A read, truncation or DeleteRecords outside of the log (Kafka's OFFSET_OUT_OF_RANGE).
    #[error("offset {offset} is out of range: the log holds {log_start_offset} to {log_end_offset} (exclusive)")]
    OffsetOutOfRange { offset: Offset, log_start_offset: Offset, log_end_offset: Offset },
    /// A batch that no segment can hold (Kafka's RECORD_LIST_TOO_LARGE).
    #[error("a batch of {batch_bytes} bytes does not fit into a segment of segment.bytes = {segment_bytes}")]
    BatchTooLarge { batch_bytes: usize, segment_bytes: u64 },
    /// Batches came in an order that no log can have. From a leader's own append this is our bug; from a
    /// fetched append it's Kafka's UnexpectedAppendOffsetException.
    #[error("a batch with base offset {base_offset} can't follow log end offset {log_end_offset}")]
    UnexpectedAppendOffset { base_offset: Offset, log_end_offset: Offset },
    /// No room; nothing was appended and the log goes on (retriable).
    #[error("the disk that holds {} is full", path.display())]
    DiskFull { path: PathBuf },
    /// The operating system refused; unless that passes ([`is_passing`]), the log directory is to be taken offline.
    #[error("could not {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: Arc<io::Error> },
    /// A file holds what no log writes there (Kafka's CORRUPT_MESSAGE or KAFKA_STORAGE_ERROR).
    #[error("{} is corrupt at byte {position}: {reason}", path.display())]
    Corrupt { path: PathBuf, position: u64, reason: String },
    /// The append that was waited for has been cut off since.
    #[error("the records were truncated before they reached the device")]
    Truncated,
    /// An earlier failure left the files in a state that only a new start can sort out.
    #[error("the log in {} is offline after an earlier failure", dir.display())]
    Offline { dir: PathBuf },
}

impl LogError {
    /// Whether the same call may succeed later, with nothing else done about it.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::DiskFull { .. } => true,
            Self::Io { source, .. } => is_passing(source),
            _ => false,
        }
    }

    /// Whether it's that a file could not be opened, for want of a descriptor: nothing was done to it.
    pub(crate) fn is_out_of_files(&self) -> bool {
        matches!(self, Self::Io { source, .. } if is_out_of_files(source))
    }

    /// Whether the directory that holds the log should be taken offline.
    pub fn is_storage_failure(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Offline { .. }) && !self.is_retriable()
    }
}

/// Names what was being done, and where, to an error of the operating system.
pub(crate) trait IoContext<T> {
    fn during(self, action: &'static str, path: &Path) -> Result<T, LogError>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn during(self, action: &'static str, path: &Path) -> Result<T, LogError> {
        self.map_err(|e| match is_full(&e) {
            true => LogError::DiskFull { path: path.to_path_buf() },
            false => LogError::Io { action, path: path.to_path_buf(), source: Arc::new(e) },
        })
    }
}

/// Whether the operating system had no descriptor or no memory for a call, or broke it off: that passes, and says nothing
/// of the disk.
pub fn is_passing(e: &io::Error) -> bool {
    is_out_of_files(e)
        || matches!(e.kind(), io::ErrorKind::OutOfMemory | io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock)
}

/// Whether no file could be opened, for want of a descriptor.
fn is_out_of_files(e: &io::Error) -> bool {
    // ENFILE and EMFILE have no kind of their own.
    matches!(e.raw_os_error(), Some(23 | 24))
}

/// Whether the operating system had no room, be it for bytes or for a name.
pub(crate) fn is_full(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
