//! The small text files beside the logs, each read and written whole, in Kafka's formats.

mod checkpoint;
mod clean_shutdown;
mod meta_properties;
mod partition_metadata;

pub use checkpoint::{
    CLEANER_OFFSET_CHECKPOINT, HIGH_WATERMARK_CHECKPOINT, LOG_START_OFFSET_CHECKPOINT, OffsetCheckpoint,
    RECOVERY_POINT_CHECKPOINT,
};
pub use clean_shutdown::{CLEAN_SHUTDOWN_FILE, CleanShutdown};
pub use meta_properties::{META_PROPERTIES, MetaProperties};
pub use partition_metadata::PartitionMetadata;

/// Why a small file can't be read. The texts name what was found; the caller names the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct MalformedFile {
    /// From 1.
    pub line: usize,
    pub reason: String,
}

pub(crate) fn malformed(line: usize, reason: impl Into<String>) -> MalformedFile {
    MalformedFile { line, reason: reason.into() }
}

/// The file as lines of text.
pub(crate) fn text(bytes: &[u8]) -> Result<&str, MalformedFile> {
    std::str::from_utf8(bytes).map_err(|_| malformed(1, "it is not text"))
}
