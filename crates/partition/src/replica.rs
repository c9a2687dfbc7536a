//! One partition on one node as a reactive machine (Kafka's `Partition`): its role, ISR, high watermark and last stable
//! offset.
//!
//! The role comes from metadata deltas and from nowhere else, for the only node of a cluster too.
//!
//! | role | metadata says | becomes | effects |
//! |---|---|---|---|
//! | any | we lead, higher leader epoch | Leader | `AssignLeaderEpoch`, `FailWaiting`, `HighWatermarkMoved`? |
//! | Leader | we lead, same leader epoch | Leader, other ISR | `HighWatermarkMoved`? |
//! | any | another leads, higher leader epoch | Follower | `FailWaiting`, `FollowLeader` |
//! | any | nobody leads, or we're no replica | Offline | `FailWaiting` |
//! | any | older epochs | unchanged | |
//!
//! The high watermark is the least end of the maximal ISR (committed and proposed members), of followers that have caught
//! up and may join, and of what is durable here. It never falls but by truncation. It doesn't move while the ISR is
//! smaller than `min.insync.replicas` (KIP-966).

use std::collections::BTreeMap;

use logrun_model::{LeaderEpoch, Monotonic, NodeId, Now, Offset, PartitionEpoch};

/// What the metadata image says about the partition.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct PartitionRegistration {
    pub replicas: Vec<NodeId>,
    pub isr: Vec<NodeId>,
    /// [`NodeId::NONE`] for none.
    pub leader: NodeId,
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: PartitionEpoch,
}

/// The ends of the local log, as recovery found them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOffsets {
    pub log_start_offset: Offset,
    pub log_end_offset: Offset,
    /// From `replication-offset-checkpoint`; brought within the log's bounds.
    pub high_watermark: Offset,
    /// [`crate::ProducerStateManager::first_unstable_offset`].
    pub first_unstable_offset: Option<Offset>,
}

/// The configurations that the machine needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaConfig {
    /// `min.insync.replicas`.
    pub min_insync_replicas: usize,
    /// `replica.lag.time.max.ms`.
    pub replica_lag_time_max_ms: i64,
}

impl Default for ReplicaConfig {
    fn default() -> Self {
        Self { min_insync_replicas: 1, replica_lag_time_max_ms: 30_000 }
    }
}

/// What the node is to the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Leader { leader_epoch: LeaderEpoch },
    Follower { leader: NodeId, leader_epoch: LeaderEpoch },
    Offline,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A metadata delta of this partition.
    Metadata(PartitionRegistration),
    /// The topic is deleted.
    Deleted,
    Config(ReplicaConfig),
    /// The log took batches.
    Appended {
        log_end_offset: Offset,
        first_unstable_offset: Option<Offset>,
    },
    /// What was appended up to here has reached the topic's durability.
    Durable {
        log_end_offset: Offset,
    },
    /// A follower fetched from `fetch_offset`, so that it has all that lies before. `eligible`: the metadata let it join
    /// the ISR (not fenced, not shutting down, of this broker epoch).
    FollowerFetched {
        replica: NodeId,
        fetch_offset: Offset,
        log_start_offset: Offset,
        eligible: bool,
    },
    /// The leader told its high watermark (follower only).
    LeaderHighWatermark {
        high_watermark: Offset,
    },
    /// Retention or DeleteRecords moved the log's start.
    LogStartMoved {
        log_start_offset: Offset,
    },
    /// The log was cut at its end.
    Truncated {
        log_end_offset: Offset,
        first_unstable_offset: Option<Offset>,
    },
    /// The log was emptied and begins anew.
    TruncatedFully {
        log_start_offset: Offset,
    },
    /// Producer state has taken note of the high watermark.
    FirstUnstableMoved {
        first_unstable_offset: Option<Offset>,
    },
    /// The controller refused the proposed ISR.
    IsrRefused,
    /// [`Replica::next_deadline`] has come.
    Deadline,
}

/// What the shell has to do, in the order in which it is given. A role that is over also ends its fetching from a leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Answer every parked produce and fetch with the error: the role they wait under is over.
    FailWaiting(FailReason),
    /// Assign the epoch to the epoch cache, before the first append under it.
    AssignLeaderEpoch { leader_epoch: LeaderEpoch, start_offset: Offset },
    /// Fetch from this leader under this epoch.
    FollowLeader { leader: NodeId, leader_epoch: LeaderEpoch },
    /// Followers may read further: wake their parked fetches.
    LogEndMoved(Offset),
    /// Tell producer state, answer with [`Event::FirstUnstableMoved`]; wake acks=all produces and consumers' fetches.
    HighWatermarkMoved(Offset),
    /// Wake read-committed fetches.
    LastStableOffsetMoved(Offset),
    /// Wake fetches that may now be out of range.
    LogStartMoved(Offset),
    /// Wake DeleteRecords that wait for the followers' log starts.
    LowWatermarkMoved(Offset),
    /// Propose this ISR to the controller (AlterPartition).
    ProposeIsr { isr: Vec<NodeId>, leader_epoch: LeaderEpoch, partition_epoch: PartitionEpoch },
}

/// Why parked requests fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailReason {
    /// NOT_LEADER_OR_FOLLOWER: the client asks for the metadata again.
    NotLeaderOrFollower,
    /// UNKNOWN_TOPIC_OR_PARTITION.
    Deleted,
}

/// What the leader knows of a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowerState {
    /// Everything below it is on the follower; none until its first fetch under this leader epoch.
    pub log_end_offset: Offset,
    pub log_start_offset: Offset,
    /// When it last had all that the leader had.
    pub last_caught_up: Monotonic,
    last_fetch: Monotonic,
    /// The leader's end at its last fetch.
    last_fetch_leader_end: Offset,
    eligible: bool,
}

/// One partition on this node.
#[derive(Clone, Debug)]
pub struct Replica {
    pub(crate) local: NodeId,
    config: ReplicaConfig,
    pub(crate) role: Role,
    registration: PartitionRegistration,
    /// The ISR that the controller has been asked for.
    proposed_isr: Option<Vec<NodeId>>,
    followers: BTreeMap<NodeId, FollowerState>,
    pub(crate) log_start_offset: Offset,
    pub(crate) log_end_offset: Offset,
    durable_offset: Offset,
    pub(crate) high_watermark: Offset,
    first_unstable_offset: Option<Offset>,
    pub(crate) last_stable_offset: Offset,
    pub(crate) leader_epoch_start_offset: Offset,
}

impl Replica {
    /// A partition whose log has been opened and of which no metadata is known yet.
    pub fn new(local: NodeId, offsets: LogOffsets, config: ReplicaConfig) -> Self {
        // Not `clamp`, which would panic on a log whose checkpoints contradict each other.
        let high_watermark = offsets.high_watermark.max(offsets.log_start_offset).min(offsets.log_end_offset);
        let mut this = Self {
            local,
            config,
            role: Role::Offline,
            registration: PartitionRegistration { leader: NodeId::NONE, ..PartitionRegistration::default() },
            proposed_isr: None,
            followers: BTreeMap::new(),
            log_start_offset: offsets.log_start_offset,
            log_end_offset: offsets.log_end_offset,
            durable_offset: offsets.log_end_offset,
            high_watermark,
            first_unstable_offset: offsets.first_unstable_offset,
            last_stable_offset: high_watermark,
            leader_epoch_start_offset: Offset::NONE,
        };
        this.registration.leader_epoch = LeaderEpoch::NONE;
        this.registration.partition_epoch = PartitionEpoch::NONE;
        this.last_stable_offset = this.stable_offset();
        this
    }

    /// Takes an event and adds what is to be done to `effects`.
    pub fn on(&mut self, now: Now, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Metadata(registration) => self.on_metadata(now, registration, effects),
            Event::Deleted => {
                self.role = Role::Offline;
                effects.push(Effect::FailWaiting(FailReason::Deleted));
            }
            Event::Config(config) => {
                self.config = config;
                self.advance_high_watermark(now, effects);
            }
            Event::Appended { log_end_offset, first_unstable_offset } => {
                self.log_end_offset = log_end_offset;
                self.first_unstable_offset = first_unstable_offset;
                effects.push(Effect::LogEndMoved(log_end_offset));
                self.refresh_stable_offset(effects);
            }
            Event::Durable { log_end_offset } => {
                // A completion may arrive behind a truncation that has undone what it speaks of.
                self.durable_offset = self.durable_offset.max(log_end_offset.min(self.log_end_offset));
                self.advance_high_watermark(now, effects);
            }
            Event::FollowerFetched { replica, fetch_offset, log_start_offset, eligible } => {
                self.on_follower_fetched(now, replica, fetch_offset, log_start_offset, eligible, effects);
            }
            Event::LeaderHighWatermark { high_watermark } => {
                if matches!(self.role, Role::Follower { .. }) {
                    self.raise_high_watermark(high_watermark.min(self.log_end_offset), effects);
                }
            }
            Event::LogStartMoved { log_start_offset } => self.on_log_start(log_start_offset, effects),
            Event::Truncated { log_end_offset, first_unstable_offset } => {
                self.log_end_offset = log_end_offset;
                self.first_unstable_offset = first_unstable_offset;
                self.lower_to_log_end(effects);
            }
            Event::TruncatedFully { log_start_offset } => {
                self.log_start_offset = log_start_offset;
                self.log_end_offset = log_start_offset;
                self.first_unstable_offset = None;
                self.high_watermark = log_start_offset;
                self.lower_to_log_end(effects);
                effects.push(Effect::LogStartMoved(log_start_offset));
            }
            Event::FirstUnstableMoved { first_unstable_offset } => {
                self.first_unstable_offset = first_unstable_offset;
                self.refresh_stable_offset(effects);
            }
            Event::IsrRefused => {
                // The next fetch or deadline proposes again what is still right then.
                self.proposed_isr = None;
                self.advance_high_watermark(now, effects);
            }
            Event::Deadline => self.maybe_shrink_isr(now, effects),
        }
    }

    fn on_metadata(&mut self, now: Now, new: PartitionRegistration, effects: &mut Vec<Effect>) {
        let old = &self.registration;
        if new.leader_epoch < old.leader_epoch || new.partition_epoch < old.partition_epoch {
            return;
        }
        let new_epoch = new.leader_epoch > old.leader_epoch;
        let role = if !new.replicas.contains(&self.local) || new.leader == NodeId::NONE {
            Role::Offline
        } else if new.leader == self.local {
            Role::Leader { leader_epoch: new.leader_epoch }
        } else {
            Role::Follower { leader: new.leader, leader_epoch: new.leader_epoch }
        };
        let changed = new_epoch || role != self.role;
        self.registration = new;
        self.proposed_isr = None;
        let replicas = &self.registration.replicas;
        self.followers.retain(|id, _| replicas.contains(id));
        if changed {
            if self.role != Role::Offline {
                effects.push(Effect::FailWaiting(FailReason::NotLeaderOrFollower));
            }
            self.role = role;
            self.enter_role(now, effects);
        }
        self.advance_high_watermark(now, effects);
    }

    fn enter_role(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.followers.clear();
        match self.role {
            Role::Leader { leader_epoch } => {
                self.leader_epoch_start_offset = self.log_end_offset;
                effects.push(Effect::AssignLeaderEpoch { leader_epoch, start_offset: self.log_end_offset });
                for &id in self.registration.replicas.iter().filter(|&&id| id != self.local) {
                    // Members of the ISR get the whole lag time to fetch from the new leader.
                    self.followers.insert(id, FollowerState::unknown(now.monotonic));
                }
            }
            Role::Follower { leader, leader_epoch } => {
                effects.push(Effect::FollowLeader { leader, leader_epoch });
            }
            Role::Offline => {}
        }
    }

    fn on_follower_fetched(
        &mut self,
        now: Now,
        replica: NodeId,
        fetch_offset: Offset,
        log_start_offset: Offset,
        eligible: bool,
        effects: &mut Vec<Effect>,
    ) {
        if !matches!(self.role, Role::Leader { .. })
            || replica == self.local
            || !self.registration.replicas.contains(&replica)
        {
            return;
        }
        let leader_end = self.log_end_offset;
        let old_low_watermark = self.low_watermark();
        let f = self.followers.entry(replica).or_insert_with(|| FollowerState::unknown(now.monotonic));
        if fetch_offset >= leader_end {
            f.last_caught_up = f.last_caught_up.max(now.monotonic);
        } else if f.last_fetch_leader_end.is_some() && fetch_offset >= f.last_fetch_leader_end {
            // It had all that there was at its last fetch.
            f.last_caught_up = f.last_caught_up.max(f.last_fetch);
        }
        f.last_fetch = now.monotonic;
        f.last_fetch_leader_end = leader_end;
        f.log_end_offset = fetch_offset;
        f.log_start_offset = log_start_offset;
        f.eligible = eligible;
        if self.low_watermark() > old_low_watermark {
            effects.push(Effect::LowWatermarkMoved(self.low_watermark()));
        }
        self.advance_high_watermark(now, effects);
        self.maybe_expand_isr(replica, effects);
    }

    fn maybe_expand_isr(&mut self, replica: NodeId, effects: &mut Vec<Effect>) {
        let Some(f) = self.followers.get(&replica) else { return };
        let in_sync = f.log_end_offset >= self.high_watermark && f.log_end_offset >= self.leader_epoch_start_offset;
        if self.proposed_isr.is_some() || !f.eligible || !in_sync || self.registration.isr.contains(&replica) {
            return;
        }
        let mut isr = self.registration.isr.clone();
        isr.push(replica);
        self.propose_isr(isr, effects);
    }

    fn maybe_shrink_isr(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if !matches!(self.role, Role::Leader { .. }) || self.proposed_isr.is_some() {
            return;
        }
        let out_of_sync = |id: &NodeId| {
            *id != self.local
                && self.followers.get(id).is_none_or(|f| {
                    f.log_end_offset != self.log_end_offset && f.deadline(&self.config) <= now.monotonic
                })
        };
        let isr: Vec<NodeId> = self.registration.isr.iter().copied().filter(|id| !out_of_sync(id)).collect();
        if isr.len() != self.registration.isr.len() {
            self.propose_isr(isr, effects);
        }
    }

    fn propose_isr(&mut self, isr: Vec<NodeId>, effects: &mut Vec<Effect>) {
        effects.push(Effect::ProposeIsr {
            isr: isr.clone(),
            leader_epoch: self.registration.leader_epoch,
            partition_epoch: self.registration.partition_epoch,
        });
        self.proposed_isr = Some(isr);
    }

    fn advance_high_watermark(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if !matches!(self.role, Role::Leader { .. }) || self.is_under_min_isr() {
            return;
        }
        let mut high_watermark = self.durable_offset;
        for (id, f) in &self.followers {
            // One that has caught up and may join is waited for, or the high watermark would run ahead of it for ever.
            let about_to_join = f.eligible && f.is_caught_up(self.log_end_offset, now.monotonic, &self.config);
            if self.is_in_maximal_isr(*id) || about_to_join {
                high_watermark = high_watermark.min(f.log_end_offset);
            }
        }
        self.raise_high_watermark(high_watermark, effects);
    }

    fn is_in_maximal_isr(&self, id: NodeId) -> bool {
        self.registration.isr.contains(&id) || self.proposed_isr.as_ref().is_some_and(|isr| isr.contains(&id))
    }

    fn raise_high_watermark(&mut self, to: Offset, effects: &mut Vec<Effect>) {
        let to = to.max(self.log_start_offset);
        if to > self.high_watermark {
            self.high_watermark = to;
            effects.push(Effect::HighWatermarkMoved(to));
            self.refresh_stable_offset(effects);
        }
    }

    fn on_log_start(&mut self, log_start_offset: Offset, effects: &mut Vec<Effect>) {
        if log_start_offset <= self.log_start_offset {
            return;
        }
        self.log_start_offset = log_start_offset;
        self.log_end_offset = self.log_end_offset.max(log_start_offset);
        self.durable_offset = self.durable_offset.max(log_start_offset);
        effects.push(Effect::LogStartMoved(log_start_offset));
        effects.push(Effect::LowWatermarkMoved(self.low_watermark()));
        self.raise_high_watermark(log_start_offset, effects);
    }

    /// After the log's end has come down: everything that lay beyond goes with it.
    fn lower_to_log_end(&mut self, effects: &mut Vec<Effect>) {
        let end = self.log_end_offset;
        self.durable_offset = self.durable_offset.min(end);
        self.high_watermark = self.high_watermark.min(end);
        self.last_stable_offset = self.stable_offset();
        effects.push(Effect::FailWaiting(FailReason::NotLeaderOrFollower));
    }

    fn stable_offset(&self) -> Offset {
        self.first_unstable_offset.map_or(self.high_watermark, |o| o.min(self.high_watermark))
    }

    fn refresh_stable_offset(&mut self, effects: &mut Vec<Effect>) {
        let stable = self.stable_offset();
        if stable != self.last_stable_offset {
            self.last_stable_offset = stable;
            effects.push(Effect::LastStableOffsetMoved(stable));
        }
    }

    /// When [`Event::Deadline`] is due: the next time at which a member of the ISR has lagged too long.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        if !matches!(self.role, Role::Leader { .. }) || self.proposed_isr.is_some() {
            return None;
        }
        let lagging = self
            .followers
            .iter()
            .filter(|(id, f)| self.registration.isr.contains(id) && f.log_end_offset != self.log_end_offset);
        lagging.map(|(_, f)| f.deadline(&self.config)).min()
    }

    /// Fewer replicas in sync than `min.insync.replicas` asks for, which can't be more than there are.
    pub fn is_under_min_isr(&self) -> bool {
        self.registration.isr.len() < self.config.min_insync_replicas.min(self.registration.replicas.len().max(1))
    }

    /// The least log start of all replicas: what DeleteRecords answers with.
    pub fn low_watermark(&self) -> Offset {
        match self.role {
            Role::Leader { .. } => {
                self.followers.values().map(|f| f.log_start_offset).fold(self.log_start_offset, Offset::min)
            }
            _ => self.log_start_offset,
        }
    }

    pub const fn role(&self) -> Role {
        self.role
    }

    /// The epoch of the partition's leader, whoever it is.
    pub const fn leader_epoch(&self) -> LeaderEpoch {
        self.registration.leader_epoch
    }

    pub const fn registration(&self) -> &PartitionRegistration {
        &self.registration
    }

    pub const fn log_start_offset(&self) -> Offset {
        self.log_start_offset
    }

    /// Exclusive.
    pub const fn log_end_offset(&self) -> Offset {
        self.log_end_offset
    }

    pub const fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    pub const fn last_stable_offset(&self) -> Offset {
        self.last_stable_offset
    }

    /// What the leader knows of its followers.
    pub const fn followers(&self) -> &BTreeMap<NodeId, FollowerState> {
        &self.followers
    }
}

impl FollowerState {
    const fn unknown(now: Monotonic) -> Self {
        Self {
            log_end_offset: Offset::NONE,
            log_start_offset: Offset::NONE,
            last_caught_up: now,
            last_fetch: now,
            last_fetch_leader_end: Offset::NONE,
            eligible: false,
        }
    }

    fn deadline(&self, config: &ReplicaConfig) -> Monotonic {
        self.last_caught_up.plus_ms(config.replica_lag_time_max_ms)
    }

    fn is_caught_up(&self, leader_end: Offset, now: Monotonic, config: &ReplicaConfig) -> bool {
        self.log_end_offset == leader_end || (self.log_end_offset.is_some() && now < self.deadline(config))
    }
}

#[cfg(test)]
#[path = "replica_tests.rs"]
mod tests;
