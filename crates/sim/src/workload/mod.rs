//! What clients do to the node, and what they tell the model of it. A workload outlives the process: what it has
//! under way when the process ends it finds in doubt when the next one begins.

pub mod admin;
pub mod audit;
mod link;
pub mod member;
pub mod moves;
pub mod producer;
pub mod reader;
pub mod scratch;

pub use link::{Link, Lost};

use logrun_wire::ErrorCode;

/// The error of this number; one that Kafka does not have counts as the server's fault.
pub fn error(code: i16) -> ErrorCode {
    ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError)
}

/// The node says that its disk fails or is full. It may have done what it was asked for, or not.
pub fn is_disk_trouble(e: ErrorCode) -> bool {
    matches!(e, ErrorCode::KafkaStorageError | ErrorCode::NotEnoughReplicas | ErrorCode::NotEnoughReplicasAfterAppend)
}

/// The node is not ready, or not for this, and says that the client should try again.
pub fn is_not_ready(e: ErrorCode) -> bool {
    matches!(
        e,
        ErrorCode::NotLeaderOrFollower
            | ErrorCode::LeaderNotAvailable
            | ErrorCode::UnknownTopicOrPartition
            | ErrorCode::UnknownTopicId
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::NotCoordinator
            | ErrorCode::NotController
            | ErrorCode::RequestTimedOut
            | ErrorCode::BrokerNotAvailable
            | ErrorCode::FencedLeaderEpoch
            | ErrorCode::UnknownLeaderEpoch
    )
}
