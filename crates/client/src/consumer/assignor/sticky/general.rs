//! The search: members want different topics. What can stay stays, the rest goes to whoever has least and wants it,
//! then partitions are moved one by one until no move makes it more even.
//!
//! Must leave no partition unassigned that somebody wants.

use std::collections::{BTreeMap, BTreeSet};

use logrun_model::{MemberId, Str, TopicPartition};

use super::super::{GroupAssignment, MemberSubscription, TopicRacks};
use super::movements::Movements;
use super::{DEFAULT_GENERATION, MemberData, RackInfo, Start};

/// The member that had a partition in an older generation, and that generation.
type Previous = BTreeMap<TopicPartition, (MemberId, i32)>;

pub(super) fn assign(start: Start<'_>, members: &[(MemberId, &MemberSubscription, MemberData)]) -> GroupAssignment {
    let topics = start.topics;
    let mut consumers_of: BTreeMap<&Str, Vec<MemberId>> = topics.keys().map(|t| (t, Vec::new())).collect();
    let mut topics_of: BTreeMap<MemberId, Vec<Str>> = BTreeMap::new();
    for (id, s, _) in members {
        let wanted: Vec<Str> = s.topics.iter().filter(|t| topics.contains_key(*t)).cloned().collect();
        for t in &wanted {
            if let Some(list) = consumers_of.get_mut(t) {
                list.push(id.clone());
            }
        }
        topics_of.insert(id.clone(), wanted);
    }
    let owners = start.owned.iter().flat_map(|(id, list)| list.iter().map(|tp| (tp.clone(), id.clone()))).collect();
    let mut order: Vec<&Str> = topics.keys().collect();
    order.sort_by_key(|t| (consumers_of[t].len(), *t));
    let all: Vec<TopicPartition> = order
        .iter()
        .flat_map(|t| topics[*t].iter().map(|p| TopicPartition { topic: (*t).clone(), partition: p.partition }))
        .collect();
    let mut search = Search {
        topics,
        racks: start.racks,
        consumers_of,
        topics_of,
        current: start.owned.into_iter().collect(),
        owners,
        by_load: BTreeSet::new(),
        movements: Movements::default(),
    };
    let (assigned, revocation_required) = search.keep_owned(members);
    let unassigned = all.iter().filter(|tp| !assigned.contains(tp)).cloned().collect();
    search.by_load = search.current.iter().map(|(id, list)| (list.len(), id.clone())).collect();
    search.balance(all, unassigned, &previous(members), revocation_required);
    search.current
}

/// Who had what in older generations.
fn previous(members: &[(MemberId, &MemberSubscription, MemberData)]) -> Previous {
    let newest = members.iter().filter_map(|m| m.2.generation).max().unwrap_or(DEFAULT_GENERATION);
    let mut previous = Previous::new();
    for (id, _, data) in members {
        let generation = data.generation.unwrap_or(DEFAULT_GENERATION);
        if generation >= newest {
            continue;
        }
        for tp in &data.partitions {
            if previous.get(tp).is_none_or(|(_, g)| generation > *g) {
                previous.insert(tp.clone(), (id.clone(), generation));
            }
        }
    }
    previous
}

struct Search<'a> {
    topics: &'a TopicRacks,
    racks: RackInfo,
    consumers_of: BTreeMap<&'a Str, Vec<MemberId>>,
    topics_of: BTreeMap<MemberId, Vec<Str>>,
    current: GroupAssignment,
    owners: BTreeMap<TopicPartition, MemberId>,
    /// The members that can take part in moves, by how much they have.
    by_load: BTreeSet<(usize, MemberId)>,
    movements: Movements,
}

impl Search<'_> {
    /// Takes from the members what they no longer want or what is on the wrong rack; the rest is assigned. The flag
    /// says whether something was taken.
    fn keep_owned(
        &mut self,
        members: &[(MemberId, &MemberSubscription, MemberData)],
    ) -> (BTreeSet<TopicPartition>, bool) {
        let (mut assigned, mut revoked) = (BTreeSet::new(), false);
        for (id, s, _) in members {
            let racks = &self.racks;
            if let Some(list) = self.current.get_mut(id) {
                list.retain(|tp| {
                    let stays = s.topics.contains(&tp.topic) && !racks.mismatch(id, tp);
                    revoked |= !stays;
                    stays
                });
                assigned.extend(list.iter().cloned());
            }
        }
        (assigned, revoked)
    }

    fn load(&self, consumer: &MemberId) -> Option<usize> {
        self.current.get(consumer).map(Vec::len)
    }

    fn wants(&self, consumer: &MemberId, topic: &Str) -> bool {
        self.topics_of.get(consumer).is_some_and(|t| t.contains(topic))
    }

    /// The most partitions that a consumer can have.
    fn most(&self, consumer: &MemberId) -> usize {
        self.topics_of.get(consumer).into_iter().flatten().map(|t| self.topics[t].len()).sum()
    }

    /// Gives the partition to whoever wants it and has least; within its rack if `rack` says so.
    fn give(&mut self, tp: &TopicPartition, rack: bool) -> bool {
        let fits = |(_, c): &&(usize, MemberId)| self.wants(c, &tp.topic) && !(rack && self.racks.mismatch(c, tp));
        let Some((load, consumer)) = self.by_load.iter().find(fits).cloned() else { return false };
        self.by_load.remove(&(load, consumer.clone()));
        self.current.entry(consumer.clone()).or_default().push(tp.clone());
        self.owners.insert(tp.clone(), consumer.clone());
        self.by_load.insert((load + 1, consumer));
        true
    }

    fn can_topic_move(&self, topic: &Str) -> bool {
        self.consumers_of.get(topic).is_some_and(|c| c.len() >= 2)
    }

    fn can_consumer_take_part(&self, consumer: &MemberId) -> bool {
        let list = &self.current[consumer];
        list.len() < self.most(consumer) || list.iter().any(|tp| self.can_topic_move(&tp.topic))
    }

    fn balance(
        &mut self,
        mut all: Vec<TopicPartition>,
        mut unassigned: Vec<TopicPartition>,
        previous: &Previous,
        revocation_required: bool,
    ) {
        let initializing = self.by_load.last().is_none_or(|(load, _)| *load == 0);
        let mut rest = unassigned.clone();
        if !self.racks.consumers.is_empty() {
            rest.retain(|tp| !self.give(tp, true));
        }
        for tp in &rest {
            self.give(tp, false);
        }

        // Only what can be moved, and only who can take part.
        all.retain(|tp| self.can_topic_move(&tp.topic));
        unassigned.retain(|tp| self.can_topic_move(&tp.topic));
        let fixed: Vec<MemberId> = self.topics_of.keys().filter(|c| !self.can_consumer_take_part(c)).cloned().collect();
        let mut fixed_assignments = GroupAssignment::new();
        for consumer in fixed {
            if let Some(list) = self.current.remove(&consumer) {
                self.by_load.remove(&(list.len(), consumer.clone()));
                fixed_assignments.insert(consumer, list);
            }
        }

        let before = self.current.clone();
        if !revocation_required {
            self.move_partitions(&unassigned, previous);
        }
        let moved = self.move_partitions(&all, previous);
        if !initializing && moved && unevenness(&self.current) >= unevenness(&before) {
            self.current = before;
        }
        self.current.append(&mut fixed_assignments);
    }

    /// Whether no partition can be moved to make it more even.
    fn is_balanced(&self) -> bool {
        let (Some((min, _)), Some((max, _))) = (self.by_load.first(), self.by_load.last()) else { return true };
        if min + 1 >= *max {
            return true;
        }
        for (load, consumer) in &self.by_load {
            if *load == self.most(consumer) {
                continue;
            }
            for topic in self.topics_of.get(consumer).into_iter().flatten() {
                for p in &self.topics[topic] {
                    let tp = TopicPartition { topic: topic.clone(), partition: p.partition };
                    let other = self.owners.get(&tp).filter(|o| *o != consumer).and_then(|o| self.load(o));
                    if other.is_some_and(|others| load + 1 < others) {
                        return false;
                    }
                }
            }
        }
        true
    }

    /// Moves partitions, in order and again, until none need be moved. Says whether any was.
    fn move_partitions(&mut self, movable: &[TopicPartition], previous: &Previous) -> bool {
        let mut any = false;
        loop {
            let mut modified = false;
            for tp in movable {
                if self.is_balanced() {
                    break;
                }
                modified |= self.move_if_better(tp, previous);
            }
            any |= modified;
            if !modified {
                return any;
            }
        }
    }

    fn move_if_better(&mut self, tp: &TopicPartition, previous: &Previous) -> bool {
        let Some(consumer) = self.owners.get(tp).cloned() else { return false };
        let Some(load) = self.load(&consumer) else { return false };
        if let Some((before, _)) = previous.get(tp)
            && self.load(before).is_some_and(|others| load > others + 1)
        {
            let before = before.clone();
            self.reassign(tp, &before);
            return true;
        }
        // Whether somebody, on a fitting rack or not, has less: who gets it is whoever has least.
        let somebody =
            self.consumers_of[&tp.topic].iter().any(|o| self.load(o).is_some_and(|others| load > others + 1));
        let least = self.by_load.iter().find(|(_, c)| self.wants(c, &tp.topic)).map(|(_, c)| c.clone());
        match least {
            Some(new) if somebody => {
                self.reassign(tp, &new);
                true
            }
            _ => false,
        }
    }

    fn reassign(&mut self, tp: &TopicPartition, new: &MemberId) {
        let Some(owner) = self.owners.get(tp) else { return };
        let tp = self.movements.instead_of(tp, owner, new);
        let Some(old) = self.owners.get(&tp).cloned() else { return };
        if old == *new {
            return;
        }
        for consumer in [&old, new] {
            if let Some(load) = self.load(consumer) {
                self.by_load.remove(&(load, consumer.clone()));
            }
        }
        self.movements.moved(&tp, &old, new);
        if let Some(list) = self.current.get_mut(&old) {
            list.retain(|p| *p != tp);
        }
        self.current.entry(new.clone()).or_default().push(tp.clone());
        self.owners.insert(tp, new.clone());
        for consumer in [&old, new] {
            if let Some(load) = self.load(consumer) {
                self.by_load.insert((load, consumer.clone()));
            }
        }
    }
}

/// The sum of the differences between any two members: 0 is even.
fn unevenness(assignment: &GroupAssignment) -> usize {
    let mut loads: Vec<usize> = assignment.values().map(Vec::len).collect();
    loads.sort_unstable();
    // Each load is subtracted once for every larger one and added once for every smaller one.
    let mut before = 0;
    loads
        .iter()
        .enumerate()
        .map(|(i, load)| {
            let sum = i * load - before;
            before += load;
            sum
        })
        .sum()
}
