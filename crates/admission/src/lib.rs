//! What a request may do and how much: fetch sessions today; quotas and ACLs belong here.
//!
//! Pure: time and random numbers are parameters. No partition's data is touched here.

mod fetch_session;

pub use fetch_session::{
    FetchContext, FetchPartition, FetchSessions, PartitionKey, PartitionState, SessionError, SessionLimits,
};
