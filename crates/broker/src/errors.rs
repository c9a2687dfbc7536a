//! The one map from what can go wrong to Kafka's error codes.
//!
//! Each operation has a small typed error of its own; here, and only here, they become codes. A code says whose
//! fault it is: the client's (not retriable), ours to move (NOT_LEADER, retriable), the disk's (KAFKA_STORAGE_ERROR),
//! or our bug (UNKNOWN_SERVER_ERROR, logged where it happens).

use std::sync::Arc;

use logrun_admission::SessionError;
use logrun_log::LogError;
use logrun_model::Offset;
use logrun_partition::{AccessError, AppendPlanError, ProducerStateError};
use logrun_record::ValidationError;
use logrun_wire::ErrorCode;

use crate::waiting::NotReplicated;

/// A record that was refused, by its place in its batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    pub batch_index: i32,
    pub message: Option<String>,
}

/// A refusal as a response carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub code: ErrorCode,
    /// Shown to people; `None` lets the client use its own text for the code.
    pub message: Option<Arc<str>>,
    /// The partition's log start offset, where the response has a place for it.
    pub log_start_offset: Option<Offset>,
    pub record_errors: Vec<RecordError>,
}

impl Failure {
    pub fn of(code: ErrorCode) -> Self {
        Self { code, message: None, log_start_offset: None, record_errors: Vec::new() }
    }

    pub fn with(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { message: Some(message.into().into()), ..Self::of(code) }
    }
}

impl From<ErrorCode> for Failure {
    fn from(code: ErrorCode) -> Self {
        Self::of(code)
    }
}

impl From<AccessError> for Failure {
    fn from(e: AccessError) -> Self {
        let code = match e {
            AccessError::NotLeaderOrFollower => ErrorCode::NotLeaderOrFollower,
            AccessError::FencedLeaderEpoch { .. } => ErrorCode::FencedLeaderEpoch,
            AccessError::UnknownLeaderEpoch { .. } => ErrorCode::UnknownLeaderEpoch,
            AccessError::NotEnoughReplicas => ErrorCode::NotEnoughReplicas,
            AccessError::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            AccessError::OffsetNotAvailable => ErrorCode::OffsetNotAvailable,
            // A follower that the metadata does not know yet asks again, as Kafka has it.
            AccessError::UnknownReplica(_) => ErrorCode::NotLeaderOrFollower,
        };
        Self::with(code, e.to_string())
    }
}

impl From<ValidationError> for Failure {
    fn from(e: ValidationError) -> Self {
        let code = match &e {
            ValidationError::CorruptMessage(_) => ErrorCode::CorruptMessage,
            ValidationError::InvalidRecord { .. } => ErrorCode::InvalidRecord,
            ValidationError::InvalidTimestamp { .. } => ErrorCode::InvalidTimestamp,
            ValidationError::MessageTooLarge { .. } => ErrorCode::MessageTooLarge,
            ValidationError::UnsupportedCompressionType(_) => ErrorCode::UnsupportedCompressionType,
            ValidationError::UnsupportedForMessageFormat(_) => ErrorCode::UnsupportedForMessageFormat,
        };
        let each = e.record_errors().iter();
        let record_errors = each.map(|r| RecordError { batch_index: r.batch_index, message: Some(r.message.clone()) });
        Self { record_errors: record_errors.collect(), ..Self::with(code, e.to_string()) }
    }
}

impl From<AppendPlanError> for Failure {
    fn from(e: AppendPlanError) -> Self {
        let code = match &e {
            AppendPlanError::Producer(p) => match p {
                ProducerStateError::InvalidProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
                ProducerStateError::OutOfOrderSequenceNumber { .. } => ErrorCode::OutOfOrderSequenceNumber,
                ProducerStateError::InvalidTxnState { .. } | ProducerStateError::NoOngoingTransaction { .. } => {
                    ErrorCode::InvalidTxnState
                }
                ProducerStateError::TransactionCoordinatorFenced { .. } => ErrorCode::TransactionCoordinatorFenced,
            },
            AppendPlanError::UnexpectedAppendOffset { .. } | AppendPlanError::OffsetsOutOfOrder { .. } => {
                ErrorCode::UnknownServerError
            }
            AppendPlanError::OffsetsExhausted => ErrorCode::InvalidRecord,
            AppendPlanError::Marker(_) => ErrorCode::CorruptMessage,
        };
        Self::with(code, e.to_string())
    }
}

impl From<LogError> for Failure {
    fn from(e: LogError) -> Self {
        let code = match &e {
            LogError::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            LogError::BatchTooLarge { .. } => ErrorCode::RecordListTooLarge,
            LogError::Corrupt { .. } => ErrorCode::CorruptMessage,
            LogError::DiskFull { .. } | LogError::Io { .. } | LogError::Offline { .. } => ErrorCode::KafkaStorageError,
            LogError::Truncated => ErrorCode::NotLeaderOrFollower,
            LogError::UnexpectedAppendOffset { .. } => ErrorCode::UnknownServerError,
        };
        Self::with(code, e.to_string())
    }
}

/// Why a produce with `acks=all` was not acknowledged.
pub fn code_of_not_replicated(reason: NotReplicated) -> ErrorCode {
    match reason {
        NotReplicated::NotLeader | NotReplicated::Truncated => ErrorCode::NotLeaderOrFollower,
        NotReplicated::Storage => ErrorCode::KafkaStorageError,
    }
}

pub fn code_of_session_error(e: SessionError) -> ErrorCode {
    match e {
        SessionError::IdNotFound => ErrorCode::FetchSessionIdNotFound,
        SessionError::InvalidEpoch => ErrorCode::InvalidFetchSessionEpoch,
        SessionError::TopicId => ErrorCode::FetchSessionTopicIdError,
    }
}
