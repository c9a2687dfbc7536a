//! In one generation of a group a partition has at most one owner, the group one leader and one protocol; and once a
//! generation has its assignment, an earlier one commits nothing any more.

use std::collections::BTreeMap;

use logrun_model::{Str, TopicPartition};

use super::{Checked, Violation};

/// The invariant's name.
const NAME: &str = "ownership";

/// The generations of all groups.
#[derive(Debug, Default)]
pub struct Generations {
    of: BTreeMap<Str, Group>,
}

#[derive(Debug, Default)]
struct Group {
    /// By generation: a generation that never got an assignment may be begun anew by the next process.
    leaders: BTreeMap<i32, Str>,
    owners: BTreeMap<i32, BTreeMap<TopicPartition, Str>>,
}

impl Generations {
    /// A member was told that it is in `generation`, which `leader` leads.
    pub fn joined(&mut self, group: &Str, generation: i32, leader: &Str) -> Checked {
        let g = self.of.entry(group.clone()).or_default();
        let known = g.leaders.entry(generation).or_insert_with(|| leader.clone());
        if known != leader {
            return Err(Violation::new(
                NAME,
                format!("generation {generation} of {group} is led by {known} and by {leader}"),
            ));
        }
        match g.owners.last_key_value() {
            Some((newest, _)) if *newest > generation => {
                Err(Violation::new(NAME, format!("{group} began generation {generation} after {newest}")))
            }
            _ => Ok(()),
        }
    }

    /// A member was told what it owns.
    pub fn assigned(&mut self, group: &Str, generation: i32, member: &Str, owns: &[TopicPartition]) -> Checked {
        let owners = self.of.entry(group.clone()).or_default().owners.entry(generation).or_default();
        for tp in owns {
            let owner = owners.entry(tp.clone()).or_insert_with(|| member.clone());
            if owner != member {
                return Err(Violation::new(
                    NAME,
                    format!(
                        "{}-{} belongs to {owner} and to {member} in generation {generation} of {group}",
                        tp.topic, tp.partition
                    ),
                ));
            }
        }
        Ok(())
    }

    /// The newest generation of which somebody has an assignment.
    pub fn newest(&self, group: &Str) -> i32 {
        self.of.get(group).and_then(|g| g.owners.last_key_value()).map_or(-1, |(g, _)| *g)
    }

    /// A commit of a member of `generation` was taken; `newest` was taken when it was sent.
    pub fn committed(&self, group: &Str, generation: i32, newest: i32) -> Checked {
        // A power cut since then may have taken the newer generation.
        if generation < newest.min(self.newest(group)) {
            return Err(Violation::new(
                NAME,
                format!("{group} is at generation {newest} and took a commit of {generation}"),
            ));
        }
        Ok(())
    }

    pub fn process_ended(&mut self) {
        self.of.values_mut().for_each(|g| g.leaders.clear());
    }

    pub fn may_have_lost(&mut self) {
        self.of.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_owner_one_leader_and_no_zombie() {
        let mut g = Generations::default();
        let (group, a, b) = (Str::from("g"), Str::from("a"), Str::from("b"));
        let tp = [TopicPartition::new("t", 0)];
        g.joined(&group, 1, &a).unwrap();
        g.joined(&group, 1, &a).unwrap();
        assert_eq!(g.joined(&group, 1, &b).unwrap_err().invariant, NAME);
        g.assigned(&group, 1, &a, &tp).unwrap();
        g.assigned(&group, 1, &b, &[]).unwrap();
        assert_eq!(g.assigned(&group, 1, &b, &tp).unwrap_err().invariant, NAME);
        g.assigned(&group, 2, &b, &tp).unwrap();
        g.committed(&group, 1, 1).unwrap();
        assert_eq!(g.committed(&group, 1, g.newest(&group)).unwrap_err().invariant, NAME);
        assert_eq!(g.joined(&group, 1, &a).unwrap_err().invariant, NAME);
        g.may_have_lost();
        g.joined(&group, 1, &b).unwrap();
    }
}
