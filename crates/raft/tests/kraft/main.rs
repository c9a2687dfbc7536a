//! The metadata log over restarts, deaths and power cuts; Apache Kafka's files read here, and ours read there.

mod judge;
mod kafka;
mod restarts;
mod support;
