//! What is in records that Kafka itself writes, shown without knowing each type: the schema as data and a reader that
//! follows it.
//!
//! The JSON is that of Kafka's generated `*JsonConverter` classes, field by field. Nothing here decides anything.

mod coordinator;
mod describe;
mod json;
mod metadata;

pub use coordinator::{CoordinatorLog, NotShown, Shown};
pub use describe::{Kind, Message, find};
pub use json::Json;
pub use metadata::{control_record, metadata_record, remote_metadata_record};
