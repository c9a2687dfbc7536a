//! `RoundRobinAssignor`: all partitions of all topics in order, dealt to the members in turn.

use logrun_model::{MemberId, TopicPartition};

use super::{GroupAssignment, MemberSubscription, PartitionAssignor, TopicRacks};

/// See [the module](self).
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundRobinAssignor;

impl PartitionAssignor for RoundRobinAssignor {
    fn name(&self) -> &str {
        "roundrobin"
    }

    fn assign(&self, topics: &TopicRacks, members: &[(MemberId, MemberSubscription)]) -> GroupAssignment {
        let mut assignment: GroupAssignment = members.iter().map(|(id, _)| (id.clone(), Vec::new())).collect();
        let mut sorted: Vec<_> = members.iter().collect();
        super::sort_members(&mut sorted);
        let mut next = 0;
        for (topic, partitions) in topics {
            if !sorted.iter().any(|(_, s)| s.topics.contains(topic)) {
                continue;
            }
            for p in partitions {
                while !sorted[next % sorted.len()].1.topics.contains(topic) {
                    next += 1;
                }
                let (id, _) = sorted[next % sorted.len()];
                next += 1;
                let tp = TopicPartition { topic: topic.clone(), partition: p.partition };
                assignment.entry(id.clone()).or_default().push(tp);
            }
        }
        assignment
    }
}
