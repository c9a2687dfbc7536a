//! Committed offsets never go back on their own: a fetch gives the last commit that was acknowledged, or a later one
//! whose answer was lost, and never an offset that nobody committed.
//!
//! The workloads commit ever higher values, so that each says which commit it was.

use std::collections::{BTreeMap, BTreeSet};

use logrun_model::{Str, TopicPartition};

use super::{Checked, Violation};

/// The invariant's name.
const NAME: &str = "commits";

/// The commits of all groups.
#[derive(Debug, Default)]
pub struct Commits {
    of: BTreeMap<(Str, TopicPartition), Committed>,
    /// Counts the processes that ended.
    process: u32,
}

#[derive(Debug, Default)]
struct Committed {
    /// The highest value acknowledged.
    acked: Option<i64>,
    /// Every value that was sent and not refused.
    sent: BTreeSet<i64>,
    /// Values whose answer was lost, with the process that they were sent to: each may still land in it, even behind
    /// later ones, for its connection may be served late.
    unknown: BTreeMap<i64, u32>,
    last: i64,
}

impl Commits {
    fn committed(&mut self, group: &Str, tp: &TopicPartition) -> &mut Committed {
        self.of.entry((group.clone(), tp.clone())).or_default()
    }

    /// A value to commit, higher than all before it.
    pub fn next_value(&mut self, group: &Str, tp: &TopicPartition, step: i64) -> i64 {
        let process = self.process;
        let c = self.committed(group, tp);
        c.last += step.max(1);
        c.sent.insert(c.last);
        c.unknown.insert(c.last, process);
        c.last
    }

    pub fn acked(&mut self, group: &Str, tp: &TopicPartition, value: i64) {
        let process = self.process;
        let c = self.committed(group, tp);
        c.acked = c.acked.max(Some(value));
        c.unknown.remove(&value);
        // What was sent to a process that has ended landed before this or never.
        c.unknown.retain(|_, sent_to| *sent_to == process);
    }

    pub fn refused(&mut self, group: &Str, tp: &TopicPartition, value: i64) {
        let c = self.committed(group, tp);
        c.unknown.remove(&value);
        c.sent.remove(&value);
    }

    /// What a fetch that is asked for now must give at least.
    pub fn floor(&mut self, group: &Str, tp: &TopicPartition) -> Option<i64> {
        self.committed(group, tp).acked
    }

    /// A fetch gave `value`, negative for none; `floor` was taken when it was asked for.
    pub fn fetched(&mut self, group: &Str, tp: &TopicPartition, floor: Option<i64>, value: i64) -> Checked {
        let c = self.committed(group, tp);
        let fail =
            |text: String| Err(Violation::new(NAME, format!("{group} at {}-{}: {text}", tp.topic, tp.partition)));
        // A power cut since then may have lowered it.
        let floor = floor.min(c.acked);
        if value < 0 {
            return match floor {
                Some(acked) => fail(format!("nothing is committed, {acked} was acknowledged")),
                None => Ok(()),
            };
        }
        if !c.sent.contains(&value) {
            return fail(format!("{value} is committed, which nobody did"));
        }
        if floor.is_some_and(|acked| value < acked) && !c.unknown.contains_key(&value) {
            return fail(format!("{value} is committed, {} was acknowledged", floor.unwrap_or(-1)));
        }
        Ok(())
    }

    pub fn process_ended(&mut self) {
        self.process += 1;
    }

    /// A power cut may have taken what was acknowledged.
    pub fn may_have_lost(&mut self) {
        let process = self.process;
        for c in self.of.values_mut() {
            c.acked = None;
            c.unknown = c.sent.iter().map(|v| (*v, process)).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_stands_until_the_next() {
        let mut c = Commits::default();
        let (g, tp) = (Str::from("g"), TopicPartition::new("t", 0));
        c.fetched(&g, &tp, None, -1).unwrap();
        let one = c.next_value(&g, &tp, 1);
        let floor = c.floor(&g, &tp);
        c.acked(&g, &tp, one);
        // Asked for before the acknowledgement.
        c.fetched(&g, &tp, floor, -1).unwrap();
        let floor = c.floor(&g, &tp);
        assert_eq!(c.fetched(&g, &tp, floor, -1).unwrap_err().invariant, NAME);
        let two = c.next_value(&g, &tp, 1);
        c.fetched(&g, &tp, floor, one).unwrap();
        c.fetched(&g, &tp, floor, two).unwrap();
        c.acked(&g, &tp, two);
        let floor = c.floor(&g, &tp);
        assert_eq!(c.fetched(&g, &tp, floor, one).unwrap_err().invariant, NAME);
        let three = c.next_value(&g, &tp, 1);
        c.refused(&g, &tp, three);
        assert_eq!(c.fetched(&g, &tp, floor, three).unwrap_err().invariant, NAME);
    }

    #[test]
    fn a_lost_answer_may_land_late_but_not_in_the_next_process() {
        let mut c = Commits::default();
        let (g, tp) = (Str::from("g"), TopicPartition::new("t", 0));
        let one = c.next_value(&g, &tp, 1);
        let two = c.next_value(&g, &tp, 1);
        c.acked(&g, &tp, two);
        let floor = c.floor(&g, &tp);
        c.fetched(&g, &tp, floor, one).unwrap();
        c.process_ended();
        c.fetched(&g, &tp, floor, one).unwrap();
        let three = c.next_value(&g, &tp, 1);
        c.acked(&g, &tp, three);
        let floor = c.floor(&g, &tp);
        assert!(c.fetched(&g, &tp, floor, one).is_err());
    }
}
