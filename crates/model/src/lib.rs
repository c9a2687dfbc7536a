//! The field's terms as types, shared by every crate: offsets, epochs, ids, names, times.
//!
//! Mixing two of them is a compile error: an offset is not a count and a leader epoch is not a
//! producer epoch. Arithmetic exists only where it means something. Nothing here does IO.

mod ids;
mod murmur2;
mod offsets;
mod str;
mod time;
mod topic;
mod uuid;
pub mod varint;

pub use ids::{GroupId, MemberId, NodeId, ProducerId};
pub use murmur2::{murmur2, partition_for_key};
pub use offsets::{
    BrokerEpoch, CoordinatorEpoch, GenerationId, LeaderEpoch, MetadataOffset, Offset, PartitionEpoch, ProducerEpoch,
    RaftEpoch, Sequence, TimestampMs,
};
pub use str::{InvalidUtf8, Str};
pub use time::{Monotonic, Now};
pub use topic::{
    InvalidTopicName, PartitionIndex, TopicId, TopicIdPartition, TopicPartition, is_internal_topic, validate_topic_name,
};
pub use uuid::{DirectoryId, InvalidUuid, Uuid};
