//! Counts what is done to records' bytes, for the tests that say how often a batch may be looked at on its way into a log.
//!
//! Only in tests: it must never cost a broker anything.

use std::cell::Cell;

thread_local! {
    static PASSES: Cell<Passes> = const { Cell::new(Passes { crc_bytes: 0, walks: 0, decompressions: 0, compressions: 0 }) };
}

/// What was done on this thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Passes {
    /// How many bytes went into CRCs.
    pub crc_bytes: usize,
    /// How often the records of a batch were walked over.
    pub walks: usize,
    pub decompressions: usize,
    pub compressions: usize,
}

/// Counts something.
pub(crate) fn count(change: impl FnOnce(&mut Passes)) {
    let mut passes = PASSES.get();
    change(&mut passes);
    PASSES.set(passes);
}

/// Does `work`, and says what it took.
pub(crate) fn during<T>(work: impl FnOnce() -> T) -> (T, Passes) {
    PASSES.set(Passes::default());
    let done = work();
    (done, PASSES.get())
}
