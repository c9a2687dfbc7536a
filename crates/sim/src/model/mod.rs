//! What must be true of a node, kept apart from it: one file for each invariant.
//!
//! The model hears what clients asked for and what they were told. It knows nothing of how the node works; where
//! Kafka lets an outcome be unknown (a connection that broke, a timeout), so does the model. An invariant that does
//! not hold is a [`Violation`], which ends the run.
//!
//! | file                | what it says                                                                          |
//! |---------------------|---------------------------------------------------------------------------------------|
//! | `acked_kept`        | no acknowledged record is lost                                                        |
//! | `content_fixed`     | an offset never holds anything else than it once held                                 |
//! | `once`              | idempotent records are there once, others at most as often as they were sent          |
//! | `order`             | the records of one writer lie in the order in which it wrote them                      |
//! | `dense`             | a log that is not compacted has no holes                                              |
//! | `high_watermark`    | the high watermark never falls                                                        |
//! | `incarnations`      | a topic begins empty and keeps what was acknowledged                                  |
//! | `log_start`         | the log start never falls and never passes what was asked for                         |
//! | `promised`          | the end of a process takes nothing that its durability promised to keep (`promises`)   |
//! | `readable`          | what lies between log start and high watermark can be read                            |
//! | `commits`           | committed offsets never go back on their own                                          |
//! | `ownership`         | a partition has one owner in a generation; the past generation commits nothing        |
//! | `producer_ids`      | no producer id is given twice                                                         |
//! | `topics`            | topics stay what they were acknowledged to be; no topic id is used twice              |

pub mod acked_kept;
pub mod commits;
pub mod content_fixed;
pub mod dense;
pub mod high_watermark;
pub mod incarnations;
pub mod log_start;
pub mod once;
pub mod order;
pub mod ownership;
mod partition;
pub mod producer_ids;
pub mod promises;
pub mod readable;
pub mod topics;

use std::collections::BTreeMap;
use std::fmt;

use logrun_model::TopicPartition;

use crate::plan::Durability;

pub use partition::{Audit, Fate, Partition, Sent, Writing};

/// An invariant that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The name of the invariant: its file.
    pub invariant: &'static str,
    pub text: String,
}

impl Violation {
    pub fn new(invariant: &'static str, text: impl Into<String>) -> Self {
        Self { invariant, text: text.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.text)
    }
}

/// What an invariant says of an event.
pub type Checked = Result<(), Violation>;

/// Everything that a run knows of its node.
#[derive(Debug, Default)]
pub struct Model {
    pub partitions: BTreeMap<TopicPartition, Partition>,
    pub commits: commits::Commits,
    pub generations: ownership::Generations,
    pub producer_ids: producer_ids::ProducerIds,
    pub topics: topics::Topics,
    pub incarnations: incarnations::Incarnations,
    pub promises: promises::Promises,
}

impl Model {
    pub fn partition(&mut self, tp: &TopicPartition) -> &mut Partition {
        self.partitions.entry(tp.clone()).or_default()
    }

    /// The process ended: all its connections with it.
    pub fn process_ended(&mut self, in_good_order: bool) {
        if !in_good_order {
            self.partitions.values_mut().for_each(|p| p.log_start_may_fall = true);
        }
        self.commits.process_ended();
        self.generations.process_ended();
    }

    /// The process was killed, or the power failed: what was not promised to survive that may be gone. `node` is what
    /// holds where no topic says otherwise. Returns whether data may be gone.
    pub fn died(&mut self, power_failed: bool, node: Durability) -> bool {
        let survives = if power_failed { Durability::survives_power_cut } else { Durability::survives_kill };
        if !survives(node) {
            self.commits.may_have_lost();
            self.generations.may_have_lost();
            self.incarnations.may_have_lost();
        }
        let mut any = false;
        for (tp, partition) in &mut self.partitions {
            if !self.promises.always(&tp.topic, survives) {
                partition.died(power_failed);
                any = true;
            }
        }
        any
    }

    /// The whole log of a partition was read.
    pub fn audited(&mut self, tp: &TopicPartition, audit: &Audit) -> Checked {
        let named = |v: Violation| Violation::new(v.invariant, format!("{}-{}: {}", tp.topic, tp.partition, v.text));
        self.partition(tp).audited(audit).map_err(named)
    }
}
