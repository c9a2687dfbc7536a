//! [`PartitionChange`]: from what is wanted of a partition to the PartitionChangeRecord, elections included.
//!
//! Kafka's `PartitionChangeBuilder`, with eligible leader replicas (KIP-966) and the completion of reassignments.
//!
//! | election | takes, in this order |
//! |---|---|
//! | `Online` | the leader if it is still fit, the first fit replica, the last known leader |
//! | `Preferred` | the first replica if fit, then as `Online` |
//! | `Unclean` | as `Online`, then any live replica |
//!
//! Fit is a live replica in the ISR, or in the ELR if the ISR is empty. An unclean election cuts the ISR to the new
//! leader and marks it recovering: it may lose records.

use logrun_metadata::image::{NO_LEADER_CHANGE, NO_RECOVERY_CHANGE, ids};
use logrun_metadata::records::PartitionChangeRecord;
use logrun_metadata::{LeaderRecoveryState, MetadataVersion, PartitionRegistration};
use logrun_model::{DirectoryId, NodeId, PartitionIndex, TopicId, Uuid};

/// How far an election goes to find a leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Election {
    Preferred,
    #[default]
    Online,
    Unclean,
}

/// What is wanted of one partition.
#[derive(Debug)]
pub struct PartitionChange<'a> {
    partition: &'a PartitionRegistration,
    topic_id: TopicId,
    partition_id: PartitionIndex,
    version: MetadataVersion,
    min_isr: usize,
    pub elr_enabled: bool,
    pub election: Election,
    pub target_isr: Vec<NodeId>,
    pub target_leader_recovery_state: LeaderRecoveryState,
    /// Brokers that came back without having shut down cleanly: no longer eligible.
    pub unclean_shutdown: Vec<NodeId>,
    target_replicas: Vec<NodeId>,
    target_directories: Vec<DirectoryId>,
    target_removing: Vec<NodeId>,
    target_adding: Vec<NodeId>,
    target_elr: Vec<NodeId>,
}

impl<'a> PartitionChange<'a> {
    pub fn new(
        partition: &'a PartitionRegistration,
        topic_id: TopicId,
        partition_id: PartitionIndex,
        version: MetadataVersion,
        min_isr: usize,
    ) -> Self {
        Self {
            topic_id,
            partition_id,
            version,
            min_isr,
            elr_enabled: false,
            election: Election::Online,
            target_isr: partition.isr.clone(),
            target_leader_recovery_state: partition.leader_recovery_state,
            unclean_shutdown: Vec::new(),
            target_replicas: partition.replicas.clone(),
            target_directories: partition.directories.clone(),
            target_removing: partition.removing_replicas.clone(),
            target_adding: partition.adding_replicas.clone(),
            target_elr: partition.elr.clone(),
            partition,
        }
    }

    /// Takes `brokers` out of the wanted ISR.
    pub fn remove_from_isr(&mut self, brokers: &[NodeId]) {
        self.target_isr.retain(|r| !brokers.contains(r));
    }

    /// Says where `replica` keeps the partition.
    pub fn set_directory(&mut self, replica: NodeId, directory: DirectoryId) {
        self.target_directories.resize(self.target_replicas.len(), Uuid::UNASSIGNED_DIR);
        for (r, d) in self.target_replicas.iter().zip(&mut self.target_directories) {
            if *r == replica {
                *d = directory;
            }
        }
    }

    /// The record, or none if nothing changes. `acceptable` says who is alive and may lead.
    pub fn build(mut self, acceptable: &dyn Fn(NodeId) -> bool) -> Option<PartitionChangeRecord> {
        let mut record =
            PartitionChangeRecord { topic_id: self.topic_id, partition_id: self.partition_id, ..Default::default() };
        self.complete_reassignment();
        self.populate_elr();
        self.elect(&mut record, acceptable);
        if record.leader == NO_LEADER_CHANGE
            && !self.partition.replicas.iter().all(|r| self.target_replicas.contains(r))
        {
            // A replica that is gone must not be taken for a member: the epoch rises.
            record.leader = self.partition.leader.get();
        }
        self.record_elr(&mut record);
        if record.isr.is_none()
            && (self.elr_enabled || !self.target_isr.is_empty())
            && self.target_isr != self.partition.isr
        {
            record.isr = Some(ids(&self.target_isr));
        }
        self.bump_epoch_on_shrink(&mut record);
        self.record_last_known_leader(&mut record);
        self.record_assignment(&mut record);
        if self.target_leader_recovery_state != self.partition.leader_recovery_state {
            record.leader_recovery_state = self.target_leader_recovery_state.id();
        }
        let nothing = record.isr.is_none()
            && record.eligible_leader_replicas.is_none()
            && record.last_known_elr.is_none()
            && record.leader == NO_LEADER_CHANGE
            && record.replicas.is_none()
            && record.removing_replicas.is_none()
            && record.adding_replicas.is_none()
            && record.leader_recovery_state == NO_RECOVERY_CHANGE
            && record.directories.is_none();
        (!nothing).then_some(record)
    }

    /// Once the ISR holds every replica of the new assignment, the old ones go.
    fn complete_reassignment(&mut self) {
        if self.target_adding.is_empty() && self.target_removing.is_empty() {
            return;
        }
        let stays = |r: &NodeId| !self.target_removing.contains(r);
        let isr: Vec<NodeId> = self.target_isr.iter().copied().filter(stays).collect();
        let kept: Vec<bool> = self.target_replicas.iter().map(stays).collect();
        let replicas: Vec<NodeId> = self.target_replicas.iter().copied().filter(stays).collect();
        if replicas.is_empty() || isr.is_empty() || !self.target_adding.iter().all(|a| isr.contains(a)) {
            return;
        }
        let mut keep = kept.iter();
        self.target_directories.retain(|_| keep.next().copied().unwrap_or(true));
        self.target_isr = isr;
        self.target_replicas = replicas;
        self.target_removing.clear();
        self.target_adding.clear();
    }

    /// Who leaves an ISR that falls below the minimum stays eligible, unless its shutdown was unclean.
    fn populate_elr(&mut self) {
        if !self.elr_enabled {
            return;
        }
        if self.target_isr.len() >= self.min_isr {
            self.target_elr.clear();
            return;
        }
        let mut candidates = self.partition.isr.clone();
        candidates.extend(self.target_elr.iter().copied());
        candidates.sort();
        candidates.dedup();
        candidates.retain(|r| !self.target_isr.contains(r) && !self.unclean_shutdown.contains(r));
        self.target_elr = candidates;
    }

    fn elect(&mut self, record: &mut PartitionChangeRecord, acceptable: &dyn Fn(NodeId) -> bool) {
        let (leader, unclean) = self.choose_leader(acceptable);
        if leader == self.partition.leader {
            return;
        }
        if self.target_elr.contains(&leader) {
            self.target_isr = vec![leader];
            self.target_elr.retain(|r| *r != leader);
        }
        record.leader = leader.get();
        if unclean {
            record.isr = Some(vec![leader.get()]);
            if self.partition.leader_recovery_state != LeaderRecoveryState::Recovering {
                record.leader_recovery_state = LeaderRecoveryState::Recovering.id();
                self.target_leader_recovery_state = LeaderRecoveryState::Recovering;
            }
        }
    }

    /// The leader, [`NodeId::NONE`] if there can be none, and whether its election is unclean.
    fn choose_leader(&self, acceptable: &dyn Fn(NodeId) -> bool) -> (NodeId, bool) {
        let fit = |r: NodeId| {
            (self.target_isr.contains(&r) || (self.target_isr.is_empty() && self.target_elr.contains(&r)))
                && acceptable(r)
        };
        if self.election == Election::Preferred
            && let Some(first) = self.target_replicas.first().copied().filter(|r| fit(*r))
        {
            return (first, false);
        }
        if fit(self.partition.leader) {
            return (self.partition.leader, false);
        }
        if let Some(replica) = self.target_replicas.iter().copied().find(|r| fit(*r)) {
            return (replica, false);
        }
        if let Some(last) = self.last_known_leader().filter(|r| acceptable(*r)) {
            return (last, true);
        }
        if self.election == Election::Unclean
            && let Some(any) = self.target_replicas.iter().copied().find(|r| acceptable(*r))
        {
            return (any, true);
        }
        (NodeId::NONE, false)
    }

    /// With nobody in the ISR or eligible, whoever led last has the most.
    fn last_known_leader(&self) -> Option<NodeId> {
        match self.partition.last_known_elr.as_slice() {
            [one] if self.elr_enabled && self.target_elr.is_empty() && self.target_isr.is_empty() => Some(*one),
            _ => None,
        }
    }

    fn record_elr(&mut self, record: &mut PartitionChangeRecord) {
        let unclean = record.isr.is_some();
        if unclean || !self.elr_enabled {
            self.target_elr.clear();
        }
        if self.version.has_elr() && self.target_elr != self.partition.elr {
            record.eligible_leader_replicas = Some(ids(&self.target_elr));
        }
    }

    fn bump_epoch_on_shrink(&self, record: &mut PartitionChangeRecord) {
        if !self.version.bumps_leader_epoch_on_isr_shrink() || record.leader != NO_LEADER_CHANGE {
            return;
        }
        let Some(isr) = &record.isr else { return };
        if !self.partition.isr.iter().all(|r| isr.contains(&r.get())) {
            record.leader = self.partition.leader.get();
        }
    }

    /// `last_known_elr` holds the last leader while there is none (Kafka's "balanced" recovery).
    fn record_last_known_leader(&self, record: &mut PartitionChangeRecord) {
        if !self.elr_enabled {
            return;
        }
        let p = self.partition;
        let stays_offline = record.leader == NO_LEADER_CHANGE && !p.has_leader();
        let goes_offline = record.leader == NodeId::NONE.get();
        if record.isr.as_ref().is_some_and(Vec::is_empty) && p.has_leader() && p.last_known_elr != [p.leader] {
            record.last_known_elr = Some(vec![p.leader.get()]);
        } else if !stays_offline && !goes_offline && !p.last_known_elr.is_empty() {
            record.last_known_elr = Some(Vec::new());
        }
    }

    fn record_assignment(&self, record: &mut PartitionChangeRecord) {
        let p = self.partition;
        if self.version.has_directory_assignment() && self.target_directories != p.directories {
            record.directories = Some(self.target_directories.clone());
        }
        if self.target_replicas != p.replicas {
            record.replicas = Some(ids(&self.target_replicas));
        }
        if self.target_removing != p.removing_replicas {
            record.removing_replicas = Some(ids(&self.target_removing));
        }
        if self.target_adding != p.adding_replicas {
            record.adding_replicas = Some(ids(&self.target_adding));
        }
    }
}
