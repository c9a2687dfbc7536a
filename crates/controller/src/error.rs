//! [`ApiError`]: why the controller refuses, as the protocol says it: a code and a sentence for people.

use logrun_model::Str;
use logrun_wire::ErrorCode;

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    pub code: ErrorCode,
    /// Shown to people; without one, clients show their own text for the code.
    pub message: Option<Str>,
}

impl ApiError {
    pub fn new(code: ErrorCode, message: impl Into<Str>) -> Self {
        Self { code, message: Some(message.into()) }
    }
}

impl From<ErrorCode> for ApiError {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: None }
    }
}

/// The code and message of a result for a response.
pub(crate) fn outcome<T>(result: &Result<T, ApiError>) -> (i16, Option<Str>) {
    match result {
        Ok(_) => (ErrorCode::None.code(), None),
        Err(e) => (e.code.code(), e.message.clone()),
    }
}
