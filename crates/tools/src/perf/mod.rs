//! The tools that measure: producer, consumer and end-to-end.

pub mod consumer;
pub mod end_to_end;
pub mod producer;

use tokio::runtime::Builder;

use crate::failure::Failure;
use crate::runtime;

/// Runs a future on a runtime with threads: what is measured shall not wait for the measuring.
///
/// # Errors
/// What the future gives, or the runtime can't be made.
pub fn block_on_threads<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    runtime::run(Builder::new_multi_thread(), Failure::new, future)
}

/// A source of letters that costs nothing worth measuring (xorshift).
pub struct Letters(u64);

impl Letters {
    pub fn new() -> Self {
        Self(0x9E37_79B9_7F4A_7C15)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Fills with capital letters.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            for (byte, random) in chunk.iter_mut().zip(self.next().to_le_bytes()) {
                *byte = b'A' + random % 26;
            }
        }
    }
}
