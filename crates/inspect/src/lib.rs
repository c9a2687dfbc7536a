//! Log directories looked at, checked and mended while no broker runs on them; Apache Kafka's as well as ours.
//!
//! A broker never uses this. Nothing is changed but by a repair that was asked for, and nothing is decided about what
//! records mean: what can be shown of them comes from `schema/`.

pub mod kafka_dump;
mod raw_index;
pub mod repair;
pub mod schema;
pub mod show;
pub mod survey;
pub mod verify;
