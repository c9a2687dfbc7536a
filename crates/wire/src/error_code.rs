//! [`ErrorCode`]: Kafka's `Errors`, generated from the schema.

use std::fmt;

include!(concat!(env!("OUT_DIR"), "/error_code.rs"));

impl ErrorCode {
    /// The number on the wire.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// The error with this number, if Kafka has one.
    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.binary_search_by_key(&code, |e| e.code()).ok().map(|i| Self::ALL[i])
    }

    pub const fn is_none(self) -> bool {
        matches!(self, Self::None)
    }
}

impl From<ErrorCode> for i16 {
    fn from(error: ErrorCode) -> Self {
        error.code()
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_kafkas() {
        assert_eq!(ErrorCode::UnknownTopicOrPartition.code(), 3);
        assert_eq!(ErrorCode::UnknownServerError.code(), -1);
        assert_eq!(ErrorCode::from_code(0), Some(ErrorCode::None));
        assert_eq!(ErrorCode::from_code(9999), None);
        assert_eq!(ErrorCode::UnknownTopicOrPartition.to_string(), "UNKNOWN_TOPIC_OR_PARTITION");
        assert!(ErrorCode::NotLeaderOrFollower.is_retriable());
        assert!(ErrorCode::NotLeaderOrFollower.is_invalid_metadata());
        assert!(!ErrorCode::TopicAlreadyExists.is_retriable());
        for e in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_code(e.code()), Some(*e));
        }
    }
}
