//! One partition's decisions: producer state, leader epochs, append plan, ISR, high watermark, last stable offset, fetch
//! bounds.
//!
//! Pure state: no IO, no clock, no locks. The log owns producer state and leader epochs, since they're rebuilt with it;
//! the broker's partition shell owns a [`Replica`]. Absent here: bytes on disk, waiting requests, metadata records.

pub mod append_plan;
pub mod bounds;
pub mod epoch_cache;
pub mod producer_entry;
pub mod producer_snapshot;
pub mod producer_state;
pub mod replica;

pub use append_plan::{AppendPlan, AppendPlanError, Planned, plan_append_as_follower, plan_append_as_leader};
pub use bounds::{AccessError, FetchBounds, FetchOffsets, FetchRange, ListOffsetsBounds, Reader};
pub use epoch_cache::{EpochCache, EpochEntry, InvalidEpochCheckpoint};
pub use producer_entry::{BatchMetadata, ProducerStateEntry};
pub use producer_snapshot::{CorruptSnapshot, decode_snapshot, encode_snapshot};
pub use producer_state::{
    CompletedTxn, Prepared, ProducerStateError, ProducerStateManager, ProducerUpdate, TransactionVersion,
};
pub use replica::{
    Effect, Event, FailReason, FollowerState, LogOffsets, PartitionRegistration, Replica, ReplicaConfig, Role,
};
