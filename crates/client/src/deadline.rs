//! [`Deadline`]: until when a call may go on, and what is said of one that did not make it.

use std::time::Duration;

use logrun_model::Monotonic;

use crate::error::Error;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadline {
    begun: Monotonic,
    at: Monotonic,
}

impl Deadline {
    /// The end of a call that begins now.
    pub fn new(now: Monotonic, timeout: Duration) -> Self {
        Self { begun: now, at: now.plus(timeout) }
    }

    /// When that is.
    pub fn at(self) -> Monotonic {
        self.at
    }

    /// What is left until then.
    pub fn left(self, now: Monotonic) -> Duration {
        self.at.since(now)
    }

    /// `what` has not ended in time; `last` is what the last attempt met with.
    pub fn missed(self, what: &str, last: Option<Error>) -> Error {
        Error::TimedOut { what: what.to_owned(), after: self.left(self.begun), last: last.map(Box::new) }
    }
}
