//! One partition's log in Kafka's files: segments, indexes, recovery, retention; and the directories that hold logs.
//!
//! [`Log`] appends batches whose offsets are assigned (no validation here), reads them back as slices, cuts,
//! deletes and recovers. It owns the producers' state and the leader epochs, since they are rebuilt with it.
//! [`LogDirs`] owns what lies beside the logs: locks, `meta.properties`, checkpoints, the clean-shutdown file.
//!
//! What may wait for the disk for long is planned under the partition's lock and run outside of it:
//! [`ReadPlan`], [`TimestampPlan`], [`FlushPlan`], [`Compaction`], [`Removals`]. Absent here: who leads, the high
//! watermark, validation, which log is compacted when.

mod append;
mod cache;
mod cached;
mod cold;
mod compact;
mod config;
mod direct;
mod dirs;
mod error;
mod files;
mod flush;
mod future;
mod home;
mod index;
mod journal;
mod load;
mod log;
mod lookup;
mod names;
mod on_panic;
mod open;
mod pace;
mod producers;
mod read;
mod recover;
mod remove;
mod replay;
mod retention;
mod segment;
mod segment_file;
mod swap;
mod sync;
mod tail;
mod truncate;
mod unwritten;
mod walk;
mod writer;

pub use append::Appended;
pub use cache::{JournalConfig, Journaled, TailCache, Writing};
pub use cached::LogRange;
pub use compact::{
    Compaction, CompactionLimits, CompactionNeed, CompactionReport, RecordCounts, Replaced, Replacement, Step,
};
pub use config::{Durability, LogConfig};
pub use dirs::{DirsError, LogDir, LogDirs, METADATA_TOPIC, OpenDirs, PartitionDir};
pub use error::{LogError, is_passing};
pub use files::{
    CLEAN_SHUTDOWN_FILE, CLEANER_OFFSET_CHECKPOINT, CleanShutdown, HIGH_WATERMARK_CHECKPOINT,
    LOG_START_OFFSET_CHECKPOINT, META_PROPERTIES, MalformedFile, MetaProperties, OffsetCheckpoint, PartitionMetadata,
    RECOVERY_POINT_CHECKPOINT,
};
pub use index::{AbortedTxn, OffsetIndex, TimeIndex, TimestampOffset, TxnIndex};
pub use journal::JOURNAL_PREFIX;
pub use log::{Log, LogEnv};
pub use lookup::{FoundTimestamp, TimestampPlan};
pub use names::{
    DirKind, LEADER_EPOCH_CHECKPOINT, PARTITION_METADATA, dir_name, parse_dir_name, parse_segment_name, segment_path,
};
pub use open::{Cut, OpenState, RecoveryReport};
pub use read::{LogSlices, ReadPlan};
pub use remove::Removals;
pub use sync::{Durable, FlushPlan, Flushed, Promise};
pub use walk::{Span, WalkError, Walker};

#[cfg(test)]
mod tests;
