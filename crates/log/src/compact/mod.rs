//! Log compaction (`cleanup.policy=compact`): of each key the last record stays (Kafka's `LogCleaner`, KIP-58, KIP-98,
//! KIP-354, KIP-534).
//!
//! [`candidate`] says what a log needs, [`job`] does a round over it in steps: it maps the keys of the new part
//! ([`offset_map`]), decides batch by batch ([`filter`], [`transactions`]), writes segments anew in groups ([`group`],
//! [`writer`]), and [`replace`] swaps them in. Absent here: which log comes next, at what rate, and when.
//!
//! Offsets are never renumbered, nothing is touched that is not decided, and the log can be read and appended to all
//! the while.

mod candidate;
mod filter;
mod group;
mod job;
mod key_hash;
mod offset_map;
mod replace;
mod transactions;
mod writer;

#[cfg(test)]
mod tests;

pub use candidate::CompactionNeed;
pub use filter::RecordCounts;
pub use job::{Compaction, CompactionLimits, CompactionReport, Step};
pub use replace::{Replaced, Replacement};
