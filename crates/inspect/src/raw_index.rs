//! The entries of index files as they stand there, sound or not. What a log may use of them is `logrun-log`'s to say.

use logrun_model::Offset;

/// The length of an entry of an offset index in bytes.
pub const OFFSET_ENTRY_BYTES: usize = 8;
/// The length of an entry of a time index in bytes.
pub const TIME_ENTRY_BYTES: usize = 12;

fn be32(b: &[u8]) -> i64 {
    b.iter().take(4).fold(0, |n, b| n << 8 | i64::from(*b))
}

fn be64(b: &[u8]) -> i64 {
    b.iter().take(8).fold(0, |n, b| n << 8 | u64::from(*b)) as i64
}

/// Every entry that an offset index has room for: offset and position.
pub fn offset_entries(base: Offset, file: &[u8]) -> Vec<(i64, u64)> {
    file.chunks_exact(OFFSET_ENTRY_BYTES)
        .map(|e| (base.get().saturating_add(be32(e)), be32(&e[4..]).unsigned_abs()))
        .collect()
}

/// Every entry that a time index has room for: timestamp and offset.
pub fn time_entries(base: Offset, file: &[u8]) -> Vec<(i64, i64)> {
    file.chunks_exact(TIME_ENTRY_BYTES).map(|e| (be64(e), base.get().saturating_add(be32(&e[8..])))).collect()
}

/// How many bytes at the front of `file` are not the zeros of a preallocated end.
pub fn used(file: &[u8]) -> usize {
    file.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1)
}
