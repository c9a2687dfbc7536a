//! The recorded contract: a machine whose every change is a record in a log (KIP-631 for the controller,
//! KIP-848's coordinator runtime for groups), and the one driver that runs such a machine.
//!
//! A machine decides from what it has replayed and can't change anything by deciding; the driver
//! appends, replays, and lets replies out once their records are committed. Nothing here does IO.

mod driver;
pub mod records;

use logrun_model::{Now, Offset};

pub use driver::{Answer, AppendFailed, Driver, Failure, Phase, RecordLog};

/// What a machine answers to a command: the records that make it so, and the reply that goes out once they are committed.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision<Record, Reply> {
    /// Appended as one atomic unit; empty for a read or a refusal.
    pub records: Vec<Record>,
    pub reply: Reply,
}

impl<Record, Reply> Decision<Record, Reply> {
    /// A decision that changes nothing.
    pub fn reply(reply: Reply) -> Self {
        Self { records: Vec::new(), reply }
    }
}

/// A state machine under the recorded contract.
pub trait Recorded {
    type Command;
    type Record;
    type Reply;

    /// Decides from the replayed state; changes nothing. The same state, time and command give the same decision.
    fn decide(&self, now: Now, command: Self::Command) -> Decision<Self::Record, Self::Reply>;

    /// The only mutator: used when leading, right after the append, and when loading.
    fn replay(&mut self, record: &Self::Record);

    /// [`Self::replay`] for a machine to which the record's place in the log matters.
    fn replay_at(&mut self, _offset: Offset, record: &Self::Record) {
        self.replay(record);
    }
}
