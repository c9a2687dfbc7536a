//! The indexes of a segment: by offset, by time, of aborted transactions.
//!
//! They are kept in memory as arrays and written behind: whatever the files lack after a crash is built
//! again from the batches. Nothing here does IO; a file's bytes come in and go out.

mod offset;
mod time;
mod txn;

pub use offset::OffsetIndex;
pub use time::{TimeIndex, TimestampOffset};
pub use txn::{AbortedTxn, TXN_ENTRY_BYTES, TxnIndex};

/// The entries of an index and how many of them its file is known to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entries<T> {
    pub list: Vec<T>,
    /// The file holds the first so many entries as they are here.
    pub persisted: usize,
    /// The file may hold more than `persisted`, which must be cut off.
    pub excess: bool,
}

impl<T> Entries<T> {
    pub fn truncate(&mut self, len: usize) {
        if len < self.list.len() {
            self.list.truncate(len);
            if len < self.persisted {
                self.persisted = len;
                self.excess = true;
            }
        }
    }

    /// Whether the file lacks entries or has too many.
    pub fn is_dirty(&self) -> bool {
        self.excess || self.persisted < self.list.len()
    }

    pub fn mark_persisted(&mut self) {
        self.persisted = self.list.len();
        self.excess = false;
    }
}

/// What must be written for an index file to be up to date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unwritten {
    /// Where `bytes` go.
    pub at: u64,
    pub bytes: Vec<u8>,
    /// The file's length afterwards.
    pub len: u64,
    /// The file must be cut to `at` first.
    pub cut: bool,
}
