//! Record batches: view, builder, validation, compression, legacy formats.
//!
//! A batch stays an opaque, reference-counted slice from the socket to the disk; only its 61-byte header is looked at.
//! Records are decoded where something needs them. Absent here: IO, offsets of a log, producer state.

mod batch;
mod builder;
mod compress;
mod control;
mod crc;
mod error;
pub mod header;
pub mod legacy;
#[cfg(test)]
mod passes;
mod prepared;
mod record;
mod validate;

#[cfg(test)]
mod golden_tests;

pub use batch::{AnyBatch, Batch, Batches, split_batches};
pub use builder::BatchBuilder;
pub use compress::{Compression, CompressionType, Limits, compress, decompress};
pub use control::{ControlRecordType, EndTxnMarker, build_control_batch, build_end_txn_marker, end_txn_marker};
pub use error::BatchError;
pub use header::{
    Attributes, BatchHeader, EntryHead, HEADER_SIZE_UP_TO_MAGIC, LOG_OVERHEAD, MAGIC_V2, RECORD_BATCH_OVERHEAD,
};
pub use prepared::PreparedBatch;
pub use record::{HeaderWalker, Record, RecordHeader, RecordParts, RecordWalker, Records};
pub use validate::{
    AppendOrigin, RecordConversionStats, RecordError, TargetCompression, Validated, ValidationError, ValidationRules,
    validate,
};

/// Whose clock a batch's timestamps are of (KIP-32).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum TimestampType {
    /// The producer's.
    #[default]
    CreateTime,
    /// The broker's, at append: the batch's highest timestamp stands for every record.
    LogAppendTime,
}
