//! The indexes of a segment: by offset, by time, of aborted transactions.
//!
//! They are kept in memory as arrays and written behind: whatever the files lack after a crash is built
//! again from the batches. Nothing here does IO; a file's bytes come in and go out.

mod offset;
mod time;
mod txn;

use logrun_model::Offset;

pub use offset::OffsetIndex;
pub use time::{TimeIndex, TimestampOffset};
pub use txn::{AbortedTxn, TxnIndex};

/// An entry as an index file holds it.
pub(crate) trait Entry: Copy {
    /// Its length in bytes.
    const BYTES: usize;

    /// Where it points to in a segment of that base offset.
    fn offset(&self, base_offset: Offset) -> Offset;

    fn encode(&self, to: &mut Vec<u8>);
}

/// An index of one segment: its entries, and how many of them its file is known to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentIndex<E> {
    base_offset: Offset,
    list: Vec<E>,
    /// The file holds the first so many entries as they are here.
    persisted: usize,
    /// The file may hold more than `persisted`, which must be cut off.
    excess: bool,
}

#[expect(private_bounds, reason = "the kinds of entries are a closed set, named by the three indexes")]
impl<E: Entry> SegmentIndex<E> {
    pub fn new(base_offset: Offset) -> Self {
        Self { base_offset, list: Vec::new(), persisted: 0, excess: false }
    }

    /// Of a file of `file_bytes` whose first entries are `list`; also says whether that was all of it. If not, the rest
    /// is cut off at the next write.
    fn parsed(base_offset: Offset, list: Vec<E>, file_bytes: usize) -> (Self, bool) {
        let whole = list.len() * E::BYTES == file_bytes;
        (Self { base_offset, persisted: list.len(), excess: !whole, list }, whole)
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The length of the index file.
    pub fn bytes(&self) -> u64 {
        (self.len() * E::BYTES) as u64
    }

    /// Drops the entries at and after `offset`.
    pub fn truncate_to(&mut self, offset: Offset) {
        let keep = self.list.partition_point(|e| e.offset(self.base_offset) < offset);
        if keep < self.persisted {
            self.persisted = keep;
            self.excess = true;
        }
        self.list.truncate(keep);
    }

    /// Drops all entries.
    pub fn clear(&mut self) {
        self.list.clear();
        self.persisted = 0;
        self.excess = true;
    }

    /// What the file lacks; `None` if it's up to date.
    pub fn unwritten(&self) -> Option<Missing> {
        if !self.excess && self.persisted == self.list.len() {
            return None;
        }
        let new = &self.list[self.persisted..];
        let mut bytes = Vec::with_capacity(new.len() * E::BYTES);
        new.iter().for_each(|e| e.encode(&mut bytes));
        Some(Missing { at: (self.persisted * E::BYTES) as u64, bytes, len: self.bytes(), cut: self.excess })
    }

    /// What [`Self::unwritten`] gave has been written.
    pub fn mark_persisted(&mut self) {
        self.persisted = self.list.len();
        self.excess = false;
    }
}

/// What must be written for an index file to be up to date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Where `bytes` go.
    pub at: u64,
    pub bytes: Vec<u8>,
    /// The file's length afterwards.
    pub len: u64,
    /// The file must be cut to `at` first.
    pub cut: bool,
}
