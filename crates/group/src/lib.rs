//! The group coordinator: classic groups and committed offsets, for one partition of `__consumer_offsets` at a time.
//!
//! # The two halves
//!
//! ```text
//!  broker ──request──▶ GroupShard ──event──▶ ClassicGroup   reactive: who is in, who is parked, timers
//!     ▲                  │    ▲                │
//!     └────reply─────────┘    └──Written───────┤ Write
//!                        │                     ▼
//!                        └──command──▶ Driver<Ledger>       recorded: offsets, GroupMetadata records
//!                                        │        ▲
//!                                     append   high watermark
//! ```
//!
//! What must survive is recorded: the [`ledger`] decides records and changes only by replaying them, and the driver
//! holds replies back until they are committed. What clients rebuild by themselves is soft: the membership between two
//! syncs lives in a reactive machine for each group ([`classic`]), which asks for a record by an effect and is told when
//! that is committed. Neither knows the other; the [`shard`] passes data between them.
//!
//! # A classic group
//!
//! | state | event | next | what happens |
//! |---|---|---|---|
//! | Empty | a member joins | PreparingRebalance | parked; the join phase lasts `group.initial.rebalance.delay.ms`, again and again while new members come, at most the rebalance time-out |
//! | PreparingRebalance | all have joined, or the rebalance time-out | CompletingRebalance | generation + 1, absent dynamic members are out, a leader and a protocol are chosen, joins are answered |
//! | PreparingRebalance | nobody is left | Empty | generation + 1, written |
//! | PreparingRebalance | nobody has joined, static members remain | PreparingRebalance | another rebalance time-out |
//! | CompletingRebalance | the leader syncs | CompletingRebalance | the assignment is written |
//! | CompletingRebalance | the assignment is committed | Stable | syncs are answered |
//! | CompletingRebalance | the write fails | PreparingRebalance | syncs are refused |
//! | CompletingRebalance, Stable | a member joins, changes, leaves, times out, does not sync | PreparingRebalance | parked syncs get REBALANCE_IN_PROGRESS, heartbeats say so to the others |
//! | Stable | a follower joins unchanged | Stable | told of the present generation |
//! | Stable | a static member comes back, same protocol | Stable | new id, the old one is fenced, written, then told; no rebalance |
//! | Stable, found in the log | | Stable | sessions begin anew |
//! | any | leadership is lost | gone | all that is parked gets NOT_COORDINATOR |
//!
//! Differences from Kafka, none of which a client that follows the protocol can be hurt by: a parked join or sync that
//! the same member repeats is answered (REBALANCE_IN_PROGRESS) instead of forgotten; a group that nobody got into is
//! neither written nor listed; when a member is turned away because the group is full, the others do not go on waiting
//! for it; a malformed subscription does not stop the join.
//!
//! KIP-848 consumer groups, share and streams groups that Apache Kafka left in the log are seen and preserved, not
//! served. Transactional commits are replayed; requests for them come with the transaction coordinator.
//!
//! No IO, no clock, no randomness: time and random bits are parameters.

mod classic;
mod config;
mod ledger;
mod partition;
mod request;
mod shard;
mod timers;

pub use classic::State;
pub use config::GroupConfig;
pub use partition::{java_string_hash, partition_for};
pub use request::{Client, Effect, Request, Response, Token};
pub use shard::{GroupShard, KeyValue, Turn};
