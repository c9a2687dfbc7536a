//! Tests of whole logs: under a simulated disk against a model, and against Apache Kafka's files.

mod basics;
mod crash;
mod gather;
mod journal;
mod kafka;
mod lazy;
mod moving;
pub(crate) mod support;
