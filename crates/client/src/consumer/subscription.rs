//! What a consumer wants, what it has been given, and where it stands in each partition: Kafka's `SubscriptionState`.
//!
//! A partition has two places: the *position*, the offset of the next record that [`super::Consumer::poll`] gives out,
//! which is also what is committed; and the *fetch offset*, the next that is asked of a broker, which runs ahead of it
//! while records wait in memory. Nothing here does IO.

use std::collections::{BTreeMap, BTreeSet};

use logrun_config::OffsetReset;
use logrun_model::{LeaderEpoch, Monotonic, NodeId, Offset, Str, TopicPartition};

/// A place in a partition's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// The offset of the next record.
    pub offset: Offset,
    /// The leader epoch of the record before it, if it is known: what truncation is found by (KIP-320).
    pub epoch: LeaderEpoch,
}

/// What is known of a partition's position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nothing: the committed offset is to be asked for.
    Unknown,
    /// The committed offset is being asked for.
    Asked,
    /// There is no committed offset and no policy: the application must say.
    Missing,
    /// It is to be set by the policy; not asked before the time.
    Reset { policy: OffsetReset, not_before: Monotonic, asked: bool },
    /// Known, and not refuted.
    Valid,
    /// The leader has changed: whether it still has what lies before the position is to be asked.
    Unvalidated { not_before: Monotonic, asked: bool },
}

/// A partition that the consumer has.
#[derive(Clone, Debug)]
pub(crate) struct Partition {
    pub place: Place,
    /// Meaningful in [`Place::Valid`] and [`Place::Unvalidated`].
    pub position: Position,
    /// The next offset to be asked of a broker.
    pub fetch_offset: Offset,
    /// The leader's epoch when the position was last set or validated.
    pub leader_epoch: LeaderEpoch,
    /// Changes whenever the position is set from outside: what was fetched for a former one is of no use.
    pub incarnation: u64,
    pub paused: bool,
    /// Its records are held back until the application knows that it has it, or while it is being taken away.
    pub held_back: bool,
    /// Where to read instead of at the leader, and until when (KIP-392).
    pub preferred_replica: Option<(NodeId, Monotonic)>,
    /// As of the last fetch.
    pub high_watermark: Offset,
    /// As of the last fetch.
    pub last_stable_offset: Offset,
    /// As of the last fetch.
    pub log_start_offset: Offset,
    /// Not fetched before this time: the broker has just refused.
    pub not_before: Monotonic,
}

impl Partition {
    fn new(incarnation: u64) -> Self {
        Self {
            place: Place::Unknown,
            position: Position { offset: Offset::NONE, epoch: LeaderEpoch::NONE },
            fetch_offset: Offset::NONE,
            leader_epoch: LeaderEpoch::NONE,
            incarnation,
            paused: false,
            held_back: false,
            preferred_replica: None,
            high_watermark: Offset::NONE,
            last_stable_offset: Offset::NONE,
            log_start_offset: Offset::NONE,
            not_before: Monotonic::default(),
        }
    }

    /// The position, unless it is still to be found.
    pub fn known(&self) -> Option<Position> {
        matches!(self.place, Place::Valid | Place::Unvalidated { .. }).then_some(self.position)
    }

    /// Whether records may be asked of a broker.
    pub fn is_fetchable(&self) -> bool {
        self.place == Place::Valid && !self.paused && !self.held_back
    }
}

/// What the application asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Wanted {
    #[default]
    Nothing,
    /// These partitions, without a group's help.
    Partitions,
    /// These topics, divided by the group.
    Topics(BTreeSet<Str>),
    /// Whatever topics match, as the client's metadata shows them.
    Pattern(super::TopicPattern),
    /// Whatever topics match, as the coordinator finds them (RE2J, KIP-848).
    BrokerPattern(Str),
}

/// The state of one consumer's subscription and positions.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub wanted: Wanted,
    partitions: BTreeMap<TopicPartition, Partition>,
    /// `auto.offset.reset`; `None` makes a missing position an error.
    reset: Option<OffsetReset>,
    next_incarnation: u64,
}

impl Subscription {
    pub fn new(reset: Option<OffsetReset>) -> Self {
        Self { wanted: Wanted::Nothing, partitions: BTreeMap::new(), reset, next_incarnation: 0 }
    }

    /// Whether partitions come from a group.
    pub fn is_group_managed(&self) -> bool {
        matches!(self.wanted, Wanted::Topics(_) | Wanted::Pattern(_) | Wanted::BrokerPattern(_))
    }

    pub fn assigned(&self) -> BTreeSet<TopicPartition> {
        self.partitions.keys().cloned().collect()
    }

    pub fn get(&self, tp: &TopicPartition) -> Option<&Partition> {
        self.partitions.get(tp)
    }

    pub fn get_mut(&mut self, tp: &TopicPartition) -> Option<&mut Partition> {
        self.partitions.get_mut(tp)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&TopicPartition, &Partition)> {
        self.partitions.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&TopicPartition, &mut Partition)> {
        self.partitions.iter_mut()
    }

    fn incarnation(&mut self) -> u64 {
        self.next_incarnation += 1;
        self.next_incarnation
    }

    /// Has exactly these partitions from now on. Those that it had before keep their state.
    pub fn assign(&mut self, partitions: &BTreeSet<TopicPartition>) {
        self.partitions.retain(|tp, _| partitions.contains(tp));
        for tp in partitions {
            if !self.partitions.contains_key(tp) {
                let incarnation = self.incarnation();
                self.partitions.insert(tp.clone(), Partition::new(incarnation));
            }
        }
    }

    /// Sets the position. False if the partition is not assigned.
    pub fn seek(&mut self, tp: &TopicPartition, position: Position) -> bool {
        let incarnation = self.incarnation();
        let Some(p) = self.partitions.get_mut(tp) else { return false };
        p.incarnation = incarnation;
        p.position = position;
        p.fetch_offset = position.offset;
        p.leader_epoch = LeaderEpoch::NONE;
        p.place = Place::Valid;
        p.preferred_replica = None;
        p.not_before = Monotonic::default();
        true
    }

    /// The position is to be found by `policy`, or by the configured one. False if there is no policy, or the partition
    /// is not assigned.
    pub fn reset(&mut self, tp: &TopicPartition, policy: Option<OffsetReset>) -> bool {
        let Some(policy) = policy.or(self.reset) else { return false };
        let incarnation = self.incarnation();
        let Some(p) = self.partitions.get_mut(tp) else { return false };
        p.incarnation = incarnation;
        p.place = Place::Reset { policy, not_before: Monotonic::default(), asked: false };
        p.preferred_replica = None;
        true
    }

    /// A partition's leader is known to have this epoch: a position whose own epoch is known must be validated if the
    /// leader is another than before (KIP-320).
    pub fn leader_seen(&mut self, tp: &TopicPartition, epoch: LeaderEpoch) {
        let Some(p) = self.partitions.get_mut(tp) else { return };
        if p.place != Place::Valid || epoch <= p.leader_epoch {
            return;
        }
        let first = p.leader_epoch == LeaderEpoch::NONE && p.position.epoch == epoch;
        p.leader_epoch = epoch;
        if p.position.epoch.is_some() && !first {
            p.place = Place::Unvalidated { not_before: Monotonic::default(), asked: false };
        }
    }

    /// The offsets and epochs of what was given out, for a commit.
    pub fn consumed(&self) -> BTreeMap<TopicPartition, Position> {
        self.partitions.iter().filter_map(|(tp, p)| Some((tp.clone(), p.known()?))).collect()
    }

    /// How many records lie between the position and the end, if both are known; up to the last stable offset if only
    /// committed records are read.
    pub fn lag(&self, tp: &TopicPartition, read_committed: bool) -> Option<i64> {
        let p = self.partitions.get(tp)?;
        let end = if read_committed { p.last_stable_offset } else { p.high_watermark };
        let position = p.known()?;
        end.is_some().then(|| end.distance_from(position.offset).max(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tp(n: i32) -> TopicPartition {
        TopicPartition::new("t", n)
    }

    fn at(offset: i64, epoch: i32) -> Position {
        Position { offset: Offset(offset), epoch: LeaderEpoch(epoch) }
    }

    #[test]
    fn what_stays_keeps_its_position() {
        let mut s = Subscription::new(Some(OffsetReset::Latest));
        s.assign(&BTreeSet::from([tp(0), tp(1)]));
        assert!(s.seek(&tp(0), at(5, -1)) && !s.seek(&tp(7), at(5, -1)));
        let before = s.get(&tp(0)).unwrap().incarnation;
        s.assign(&BTreeSet::from([tp(0), tp(2)]));
        assert_eq!(s.get(&tp(0)).unwrap().known(), Some(at(5, -1)));
        assert_eq!(s.get(&tp(0)).unwrap().incarnation, before);
        assert_eq!(s.get(&tp(2)).unwrap().place, Place::Unknown);
        s.assign(&BTreeSet::new());
        s.assign(&BTreeSet::from([tp(0)]));
        assert_ne!(s.get(&tp(0)).unwrap().incarnation, before, "another life");
    }

    #[test]
    fn without_a_policy_nothing_is_reset() {
        let mut s = Subscription::new(None);
        s.assign(&BTreeSet::from([tp(0)]));
        assert!(!s.reset(&tp(0), None));
        assert!(s.reset(&tp(0), Some(OffsetReset::Earliest)));
        assert!(!s.get(&tp(0)).unwrap().is_fetchable());
    }

    #[test]
    fn a_new_leader_makes_a_position_doubtful() {
        let mut s = Subscription::new(Some(OffsetReset::Latest));
        s.assign(&BTreeSet::from([tp(0), tp(1)]));
        s.seek(&tp(0), at(5, 3));
        s.leader_seen(&tp(0), LeaderEpoch(3));
        assert!(s.get(&tp(0)).unwrap().is_fetchable(), "the leader that wrote it is still there");
        s.leader_seen(&tp(0), LeaderEpoch(4));
        assert!(!s.get(&tp(0)).unwrap().is_fetchable());
        s.seek(&tp(1), at(5, -1));
        s.leader_seen(&tp(1), LeaderEpoch(4));
        assert!(s.get(&tp(1)).unwrap().is_fetchable(), "nothing to compare with");
    }
}
