//! What can be wrong with the bytes of a record batch.
//!
//! Every variant is a property of the bytes, never of this node: the caller decides whether a client, a disk or a
//! leader is to blame.

use thiserror::Error;

/// Why bytes can't be read as a record batch, or a batch can't be built.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BatchError {
    /// The bytes end before the batch does: the torn tail of a log, or a fetch response cut at its size limit.
    #[error("the batch is incomplete: {needed} bytes are needed and {available} are there")]
    Incomplete { needed: usize, available: usize },
    /// The length field can't be a batch's.
    #[error("a batch of magic {magic} can't have length {length}")]
    InvalidLength { length: i32, magic: i8 },
    /// A magic that no Kafka has written.
    #[error("unknown magic {0}")]
    UnknownMagic(i8),
    /// The stored CRC is not that of the bytes.
    #[error("the record batch is corrupt: its CRC is {stored:#010x} and that of its bytes {computed:#010x}")]
    CrcMismatch { stored: u32, computed: u32 },
    /// The attributes name a codec that doesn't exist.
    #[error("unknown compression type id {0}")]
    UnknownCompression(u8),
    /// The codec refused the compressed bytes.
    #[error("the {codec} data can't be decompressed: {reason}")]
    Decompression { codec: &'static str, reason: String },
    /// Decompressing would exceed [`crate::Limits`].
    #[error("the {codec} data decompresses to more than {limit} bytes")]
    TooLargeDecompressed { codec: &'static str, limit: usize },
    /// The codec failed on our own bytes.
    #[error("{codec} compression failed: {reason}")]
    Compression { codec: &'static str, reason: String },
    /// A record is not well formed.
    #[error("record {index} of the batch is malformed: {reason}")]
    MalformedRecord { index: i32, reason: &'static str },
    /// The header's count is not the number of records that are there.
    #[error("the batch declares {declared} records, but {reason}")]
    WrongCount { declared: i32, reason: &'static str },
    /// The batch would not fit into a batch's 32-bit length, or its records into its 32-bit deltas.
    #[error("the batch would be too large: {0}")]
    TooLargeToBuild(&'static str),
    /// A control record's key or value is not what its type asks for.
    #[error("the control record is malformed: {0}")]
    MalformedControlRecord(&'static str),
}
