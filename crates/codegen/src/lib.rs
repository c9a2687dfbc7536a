//! Reads the schema notation and writes Rust: Kafka's messages, log records and error codes are data.
//!
//! `schema/` holds what Apache Kafka's published jars say about every message, in a terse notation of our
//! own ([`parse`], [`print`]). The build scripts of `wire`, `metadata` and `coordinator` call [`build`],
//! which parses it and writes plain Rust ([`rust`]) into `OUT_DIR`. [`values`] is a second, independent
//! reading of the same schema: it makes random encoded messages for the codec oracle and the fuzz targets.
//!
//! Nothing here runs in the broker: it is used at build time, by `xtask` and by tests.

pub mod build;
pub mod names;
pub mod parse;
pub mod print;
pub mod rust;
pub mod schema;
pub mod values;

pub use parse::{ParseError, parse_errors, parse_messages};
pub use schema::{ErrorSpec, Field, FieldType, Kind, MessageSpec, StructSpec, Versions};
