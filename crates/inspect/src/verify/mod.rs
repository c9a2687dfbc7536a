//! Whether what lies in log directories is whole: every CRC, record, index, snapshot and checkpoint, and whether they
//! agree.
//!
//! Each [`Finding`] is one sentence with its remedy and, where a repair can do it, what the repair would do. A directory
//! of a process that was killed is not wrong: what the next start mends by itself is a [`Level::Note`].

mod dir;
mod metadata;
mod partition;
mod segment;
mod side_files;

use std::path::{Path, PathBuf};

use logrun_log::AbortedTxn;
use logrun_model::{Offset, TopicId, TopicPartition};

pub use dir::{conclude, examine};
pub use partition::{Context, segment_bytes, verify_partition};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Ordinary: the next start takes care of it, or it harms nothing.
    Note,
    /// Nothing is lost, but it should be put right.
    Warning,
    /// Data is damaged, missing or would be read wrongly.
    Error,
}

impl Level {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// What a repair would do about a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mend {
    /// Nothing that a program may decide.
    None,
    /// End the log before `position` of the segment of `base_offset`, whose first offset there would be `end_offset`.
    Cut { base_offset: Offset, position: u64, end_offset: Offset },
    /// Put the file away: the next start builds it again or does without.
    SetAside,
    /// Write the index of aborted transactions anew.
    TxnIndex(Vec<AbortedTxn>),
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub path: PathBuf,
    pub level: Level,
    pub what: String,
    pub remedy: String,
    pub mend: Mend,
}

impl Finding {
    pub(crate) fn note(path: &Path, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { path: path.into(), level: Level::Note, what: what.into(), remedy: remedy.into(), mend: Mend::None }
    }

    pub(crate) fn warning(path: &Path, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Warning, ..Self::note(path, what, remedy) }
    }

    pub(crate) fn error(path: &Path, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Error, ..Self::note(path, what, remedy) }
    }

    pub(crate) fn mend(self, mend: Mend) -> Self {
        Self { mend, ..self }
    }
}

/// What was seen of one partition.
#[derive(Clone, Debug)]
pub struct PartitionReport {
    pub dir: PathBuf,
    pub partition: TopicPartition,
    pub topic_id: Option<TopicId>,
    /// The first segment's base offset.
    pub first_offset: Offset,
    pub log_end_offset: Offset,
    pub segments: usize,
    pub batches: u64,
    pub records: u64,
    pub bytes: u64,
    pub findings: Vec<Finding>,
}
