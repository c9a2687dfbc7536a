//! The assignor oracle: our assignors give every member what Apache Kafka's own classes give it.
//!
//! Kafka's side is `tests/oracle/AssignorOracle.java`. Groups are made from a seed: members and topics come and go
//! between rounds, with what they were assigned before, in old generations and with claims that contradict each other.

use std::collections::BTreeSet;
use std::fmt::Write;

use logrun_client::consumer::assignor::{
    CooperativeStickyAssignor, MemberSubscription, PartitionAssignor, PartitionRacks, RangeAssignor,
    RoundRobinAssignor, StickyAssignor, TopicRacks,
};
use logrun_io::Random;
use logrun_model::{GenerationId, Str, TopicPartition};
use logrun_tests::oracle;

const GROUPS: u64 = 400;
const ROUNDS: i32 = 4;

fn join<T: ToString>(list: impl IntoIterator<Item = T>) -> String {
    let text = list.into_iter().map(|t| t.to_string()).collect::<Vec<_>>().join("+");
    if text.is_empty() { "-".to_owned() } else { text }
}

/// A group in words that the oracle understands.
fn question(assignor: &dyn PartitionAssignor, topics: &TopicRacks, members: &[(Str, MemberSubscription)]) -> String {
    let topic = |(name, partitions): (&Str, &Vec<PartitionRacks>)| {
        let racks: Vec<String> = partitions.iter().map(|p| join(&p.racks)).collect();
        format!("{name}:{}", racks.join("/"))
    };
    let member = |(id, s): &(Str, MemberSubscription)| {
        let text = |o: &Option<Str>| o.as_ref().map_or("-".to_owned(), ToString::to_string);
        let hex = |data: &[u8]| {
            data.iter().fold(String::new(), |mut s, b| {
                let _ = write!(s, "{b:02x}");
                s
            })
        };
        let data = s.user_data.as_ref().map_or("-".to_owned(), |d| hex(d));
        let (instance, rack) = (text(&s.group_instance_id), text(&s.rack_id));
        format!("{id};{instance};{rack};{};{};{};{data}", s.generation_id, join(&s.topics), join(&s.owned_partitions))
    };
    let topics: Vec<String> = topics.iter().map(topic).collect();
    let members: Vec<String> = members.iter().map(member).collect();
    format!("{} {} {}", assignor.name(), topics.join(","), members.join(","))
}

struct Group<'a> {
    random: Random,
    assignor: &'a dyn PartitionAssignor,
    topics: TopicRacks,
    members: Vec<(Str, MemberSubscription)>,
    equal: bool,
    racks: u64,
    next: u64,
}

impl Group<'_> {
    fn rack(&self) -> Option<Str> {
        (self.racks > 0 && self.random.below(8) > 0).then(|| format!("rack{}", self.random.below(self.racks)).into())
    }

    fn add_topic(&mut self) {
        let name: Str = format!("topic-{}", self.random.below(30)).into();
        let partitions = 1 + self.random.below(9) as i32;
        let racks = |_| (0..self.random.below(4)).filter_map(|_| self.rack()).collect::<BTreeSet<_>>();
        let list = (0..partitions).map(|partition| PartitionRacks { partition, racks: racks(partition) }).collect();
        // Partitions never become fewer: Kafka's classes would go on assigning those that are gone.
        self.topics.entry(name).or_insert(list);
    }

    fn add_member(&mut self) {
        self.next += 1;
        let id: Str = format!("consumer-{}-{:x}", self.next, self.random.u64()).into();
        let group_instance_id =
            (self.random.below(4) == 0).then(|| format!("instance{}", self.random.below(1000)).into());
        let s = MemberSubscription { rack_id: self.rack(), group_instance_id, ..Default::default() };
        self.members.push((id, s));
    }

    fn choose_topics(&mut self) {
        for (_, s) in &mut self.members {
            let keeps = |_: &&Str| self.equal || self.random.below(3) > 0;
            s.topics = self.topics.keys().filter(keeps).cloned().collect();
        }
        // Kafka is only asked about topics that somebody wants.
        self.topics.retain(|t, _| self.members.iter().any(|(_, s)| s.topics.contains(t)));
    }

    /// What the members bring along to the next round.
    fn carry_over(&mut self, assignment: &std::collections::BTreeMap<Str, Vec<TopicPartition>>, generation: i32) {
        for (id, s) in &mut self.members {
            // Some have missed the last rounds, and come with what they had before.
            if self.random.below(6) == 0 {
                continue;
            }
            let owned: BTreeSet<TopicPartition> = assignment[id].iter().cloned().collect();
            s.generation_id = GenerationId(generation);
            s.user_data = self.assignor.user_data(Some((&owned, s.generation_id)));
            s.owned_partitions = owned.into_iter().collect();
        }
    }

    fn change(&mut self) {
        for _ in 0..self.random.below(3) {
            match self.random.below(4) {
                0 => self.add_topic(),
                1 if self.members.len() > 1 => {
                    let at = self.random.below(self.members.len() as u64) as usize;
                    self.members.remove(at);
                }
                _ => self.add_member(),
            }
        }
        if self.topics.is_empty() {
            self.add_topic();
        }
    }
}

#[test]
fn members_get_what_kafka_gives_them() {
    if !oracle::is_there() {
        return;
    }
    let assignors: [&dyn PartitionAssignor; 4] =
        [&RangeAssignor, &RoundRobinAssignor, &StickyAssignor, &CooperativeStickyAssignor];
    let (mut questions, mut ours) = (Vec::new(), Vec::new());
    for seed in 0..GROUPS {
        let random = Random::from_seed(seed);
        let mut group = Group {
            assignor: assignors[(seed % 4) as usize],
            topics: TopicRacks::new(),
            members: Vec::new(),
            equal: random.below(2) == 0,
            racks: random.below(3) * 2,
            next: 0,
            random,
        };
        for _ in 0..1 + group.random.below(5) {
            group.add_topic();
        }
        for _ in 0..1 + group.random.below(8) {
            group.add_member();
        }
        for generation in 1..=ROUNDS {
            group.choose_topics();
            if group.topics.is_empty() {
                break;
            }
            let assignment = group.assignor.assign(&group.topics, &group.members);
            questions.push(question(group.assignor, &group.topics, &group.members));
            let line = assignment.iter().map(|(id, list)| {
                let mut list: Vec<String> = list.iter().map(ToString::to_string).collect();
                list.sort();
                format!("{id}={}", list.join("+"))
            });
            ours.push(line.collect::<Vec<_>>().join(","));
            group.carry_over(&assignment, generation);
            group.change();
        }
    }
    let theirs = oracle::ask("AssignorOracle.java", &questions);
    let differing: Vec<String> = questions
        .iter()
        .zip(ours.iter().zip(&theirs))
        // Where members had something in older generations Kafka's search may end in a NullPointerException.
        .filter(|(_, (_, theirs))| !theirs.as_ref().is_err_and(|e| e.contains("NullPointerException")))
        .filter(|(_, (ours, theirs))| theirs.as_ref() != Ok(ours))
        .map(|(q, (ours, theirs))| format!("{q}\n ours {ours}\n theirs {theirs:?}"))
        .collect();
    let some = differing.iter().take(3).cloned().collect::<Vec<_>>().join("\n");
    assert!(differing.is_empty(), "{} of {} differ:\n{some}", differing.len(), questions.len());
    assert!(questions.len() > 1000 && theirs.iter().filter(|t| t.is_err()).count() < 20);
}
