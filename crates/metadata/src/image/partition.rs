//! [`PartitionRegistration`]: what the metadata says of one partition. Kafka's class of that name.
//!
//! `partition_epoch` rises with every change; `leader_epoch` rises if and only if the change names a leader
//! (KIP-101, KIP-497, KIP-841, KIP-966). Must never be changed but by [`PartitionRegistration::merge`].

use logrun_model::{DirectoryId, LeaderEpoch, NodeId, PartitionEpoch, PartitionIndex, TopicId, Uuid};
use logrun_wire::RawTaggedField;

use crate::features::MetadataVersion;
use crate::records::{PartitionChangeRecord, PartitionRecord};

/// In a PartitionChangeRecord: the leader stays, and so does its epoch.
pub const NO_LEADER_CHANGE: i32 = -2;
/// In a PartitionChangeRecord: the leader recovery state stays.
pub const NO_RECOVERY_CHANGE: i8 = -1;

/// Whether the leader was elected cleanly (KIP-704).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LeaderRecoveryState {
    #[default]
    Recovered,
    /// Elected uncleanly, and has not yet said that it is done recovering.
    Recovering,
}

impl LeaderRecoveryState {
    pub const fn from_id(id: i8) -> Option<Self> {
        match id {
            0 => Some(Self::Recovered),
            1 => Some(Self::Recovering),
            _ => None,
        }
    }

    pub const fn id(self) -> i8 {
        self as i8
    }
}

/// One partition.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct PartitionRegistration {
    pub replicas: Vec<NodeId>,
    /// The log directory of each of `replicas`, in their order.
    pub directories: Vec<DirectoryId>,
    pub isr: Vec<NodeId>,
    pub removing_replicas: Vec<NodeId>,
    pub adding_replicas: Vec<NodeId>,
    /// Eligible leader replicas: out of the ISR, yet known to hold everything up to the high watermark.
    pub elr: Vec<NodeId>,
    pub last_known_elr: Vec<NodeId>,
    /// [`NodeId::NONE`] while the partition is offline.
    pub leader: NodeId,
    pub leader_recovery_state: LeaderRecoveryState,
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: PartitionEpoch,
    /// Tagged fields of a later Kafka, kept for the snapshot.
    pub unknown_tagged_fields: Vec<RawTaggedField>,
}

pub(crate) fn nodes(ids: &[i32]) -> Vec<NodeId> {
    ids.iter().map(|id| NodeId(*id)).collect()
}

/// Bare ids for a record.
pub fn ids(nodes: &[NodeId]) -> Vec<i32> {
    nodes.iter().map(|n| n.get()).collect()
}

/// The directories of `replicas`: `given` if it is as long, else unassigned ones.
fn directories_for(given: &[Uuid], replicas: usize, otherwise: Uuid) -> Vec<DirectoryId> {
    if given.len() == replicas { given.to_vec() } else { vec![otherwise; replicas] }
}

impl PartitionRegistration {
    /// What a PartitionRecord of any version says.
    pub fn from_record(r: &PartitionRecord) -> Self {
        Self {
            replicas: nodes(&r.replicas),
            // Before KIP-858 there were no directories to name.
            directories: directories_for(&r.directories, r.replicas.len(), Uuid::MIGRATING_DIR),
            isr: nodes(&r.isr),
            removing_replicas: nodes(&r.removing_replicas),
            adding_replicas: nodes(&r.adding_replicas),
            elr: nodes(r.eligible_leader_replicas.as_deref().unwrap_or_default()),
            last_known_elr: nodes(r.last_known_elr.as_deref().unwrap_or_default()),
            leader: NodeId(r.leader),
            leader_recovery_state: LeaderRecoveryState::from_id(r.leader_recovery_state).unwrap_or_default(),
            leader_epoch: LeaderEpoch(r.leader_epoch),
            partition_epoch: PartitionEpoch(r.partition_epoch),
            unknown_tagged_fields: r.unknown_tagged_fields.clone(),
        }
    }

    /// The partition after `change`.
    #[must_use]
    pub fn merge(&self, change: &PartitionChangeRecord) -> Self {
        let or = |new: &Option<Vec<i32>>, old: &Vec<NodeId>| new.as_deref().map_or_else(|| old.clone(), nodes);
        let replicas = or(&change.replicas, &self.replicas);
        let directories = match &change.directories {
            Some(d) => directories_for(d, replicas.len(), Uuid::UNASSIGNED_DIR),
            None if change.replicas.is_none() => self.directories.clone(),
            // A replica that stays keeps its directory.
            None => replicas.iter().map(|r| self.directory(*r).unwrap_or(Uuid::UNASSIGNED_DIR)).collect(),
        };
        let (leader, leader_epoch) = match change.leader {
            NO_LEADER_CHANGE => (self.leader, self.leader_epoch),
            leader => (NodeId(leader), self.leader_epoch.next()),
        };
        Self {
            directories,
            isr: or(&change.isr, &self.isr),
            removing_replicas: or(&change.removing_replicas, &self.removing_replicas),
            adding_replicas: or(&change.adding_replicas, &self.adding_replicas),
            elr: or(&change.eligible_leader_replicas, &self.elr),
            last_known_elr: or(&change.last_known_elr, &self.last_known_elr),
            replicas,
            leader,
            leader_recovery_state: LeaderRecoveryState::from_id(change.leader_recovery_state)
                .unwrap_or(self.leader_recovery_state),
            leader_epoch,
            partition_epoch: self.partition_epoch.next(),
            unknown_tagged_fields: self.unknown_tagged_fields.clone(),
        }
    }

    /// The record that makes this partition, with the fields that `version` has.
    pub fn to_record(&self, topic_id: TopicId, partition: PartitionIndex, version: MetadataVersion) -> PartitionRecord {
        let elr = |e: &Vec<NodeId>| (version.has_elr() && !e.is_empty()).then(|| ids(e));
        PartitionRecord {
            partition_id: partition,
            topic_id,
            replicas: ids(&self.replicas),
            isr: ids(&self.isr),
            removing_replicas: ids(&self.removing_replicas),
            adding_replicas: ids(&self.adding_replicas),
            leader: self.leader.get(),
            leader_recovery_state: self.leader_recovery_state.id(),
            leader_epoch: self.leader_epoch.get(),
            partition_epoch: self.partition_epoch.get(),
            directories: if version.has_directory_assignment() { self.directories.clone() } else { Vec::new() },
            eligible_leader_replicas: elr(&self.elr),
            last_known_elr: elr(&self.last_known_elr),
            unknown_tagged_fields: self.unknown_tagged_fields.clone(),
        }
    }

    pub const fn has_leader(&self) -> bool {
        self.leader.get() >= 0
    }

    /// The replica that leads when all are well: the first.
    pub fn preferred_replica(&self) -> NodeId {
        self.replicas.first().copied().unwrap_or(NodeId::NONE)
    }

    pub fn has_preferred_leader(&self) -> bool {
        self.leader == self.preferred_replica()
    }

    /// Where `replica` keeps the partition.
    pub fn directory(&self, replica: NodeId) -> Option<DirectoryId> {
        let i = self.replicas.iter().position(|r| *r == replica)?;
        self.directories.get(i).copied()
    }

    pub fn is_reassigning(&self) -> bool {
        !self.removing_replicas.is_empty() || !self.adding_replicas.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition() -> PartitionRegistration {
        PartitionRegistration {
            replicas: nodes(&[1, 2, 3]),
            directories: vec![Uuid([1; 16]), Uuid([2; 16]), Uuid([3; 16])],
            isr: nodes(&[1, 2]),
            leader: NodeId(1),
            leader_epoch: LeaderEpoch(4),
            partition_epoch: PartitionEpoch(9),
            ..Default::default()
        }
    }

    #[test]
    fn the_leader_epoch_rises_if_and_only_if_a_leader_is_named() {
        let p = partition().merge(&PartitionChangeRecord { isr: Some(vec![1]), ..Default::default() });
        assert_eq!((p.leader_epoch, p.partition_epoch), (LeaderEpoch(4), PartitionEpoch(10)));
        let p = p.merge(&PartitionChangeRecord { leader: 1, ..Default::default() });
        assert_eq!((p.leader_epoch, p.partition_epoch), (LeaderEpoch(5), PartitionEpoch(11)));
        let p = p.merge(&PartitionChangeRecord { leader: -1, isr: Some(vec![]), ..Default::default() });
        assert!(!p.has_leader());
        assert_eq!((p.leader_epoch, p.isr.len()), (LeaderEpoch(6), 0));
    }

    #[test]
    fn a_replica_that_stays_keeps_its_directory() {
        let p = partition().merge(&PartitionChangeRecord { replicas: Some(vec![3, 4]), ..Default::default() });
        assert_eq!(p.directories, [Uuid([3; 16]), Uuid::UNASSIGNED_DIR]);
    }

    #[test]
    fn becomes_its_record_and_comes_back() {
        let p = partition();
        let r = p.to_record(Uuid([9; 16]), 3, MetadataVersion::LATEST);
        assert_eq!(PartitionRegistration::from_record(&r), p);
        let old = p.to_record(Uuid([9; 16]), 3, MetadataVersion(7));
        assert_eq!(PartitionRegistration::from_record(&old).directories, [Uuid::MIGRATING_DIR; 3]);
    }
}
