//! [`Observer`]: a broker's part in the quorum (KIP-595, KIP-630; Kafka's `KafkaRaftClient` of a node without a vote). It
//! has no IO and no clock: it says what to ask whom and what to do with the answer.
//!
//! | state                | asks                              | an answer                                | then        |
//! |----------------------|-----------------------------------|------------------------------------------|-------------|
//! | no leader is known   | the named controllers, in turn    | names the epoch and its leader           | follows it  |
//! | follows a leader     | it, for what lies behind our end  | records, where we part, or a snapshot    | goes on     |
//! | takes a snapshot     | it, for the next piece            | a piece; with the last one it is installed | follows it  |
//! | any                  |                                   | none came, or an error                   | waits, and forgets the leader |
//!
//! Must never follow an older epoch than it has seen: the shell remembers each new one ([`Effect::Remember`]) before it
//! does anything else of an answer.

use std::collections::BTreeMap;

use bytes::Bytes;
use logrun_model::{DirectoryId, NodeId, Offset, RaftEpoch, Str, Uuid};
use logrun_wire::ErrorCode;
use logrun_wire::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic, ReplicaState};
use logrun_wire::messages::fetch_response::{FetchResponse, PartitionData};
use logrun_wire::messages::fetch_snapshot_request::{
    self as fsq, FetchSnapshotRequest, PartitionSnapshot, TopicSnapshot,
};
use logrun_wire::messages::fetch_snapshot_response::FetchSnapshotResponse;

use crate::follow::Position;
use crate::snapshot::SnapshotId;

/// How long the leader may wait for news before it answers (Kafka's `fetchMaxWaitMs`).
const FETCH_MAX_WAIT_MS: i32 = 500;
const METADATA_TOPIC: &str = "__cluster_metadata";

/// Where a controller listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    pub host: Str,
    pub port: u16,
}

/// What an observer is told of itself and of the quorum.
#[derive(Clone, Debug)]
pub struct ObserverConfig {
    pub id: NodeId,
    pub directory_id: DirectoryId,
    pub cluster_id: Str,
    /// `controller.quorum.bootstrap.servers`, or the voters' addresses: at least one.
    pub controllers: Vec<Node>,
    /// The voters that the configuration names.
    pub voters: BTreeMap<NodeId, Node>,
    /// `controller.quorum.fetch.max.bytes`
    pub fetch_max_bytes: i32,
    /// `controller.quorum.fetch.snapshot.max.bytes`
    pub fetch_snapshot_max_bytes: i32,
}

/// The active controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    pub id: NodeId,
    pub at: Node,
}

/// A question and whom to ask.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    Fetch(Node, FetchRequest),
    FetchSnapshot(Node, FetchSnapshotRequest),
}

/// What has come of a question.
#[derive(Debug)]
pub enum Event {
    Fetched(FetchResponse),
    SnapshotFetched(FetchSnapshotResponse),
    /// No answer that can be read came.
    Failed,
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Write down the epoch and its leader (`NodeId::NONE` if unknown), before anything else.
    Remember {
        epoch: RaftEpoch,
        leader: NodeId,
    },
    /// Cut what the leader doesn't have: of `epoch`, its log ends at `end_offset`.
    CutTo {
        epoch: RaftEpoch,
        end_offset: Offset,
    },
    Append(Bytes),
    /// Everything below is committed.
    Commit(Offset),
    WriteSnapshotPiece {
        id: SnapshotId,
        position: u64,
        bytes: Bytes,
    },
    InstallSnapshot(SnapshotId),
    /// Wait a while before the next question.
    BackOff,
    /// The controllers are of another cluster: trying again is no use.
    OtherCluster,
}

#[derive(Clone, Copy, Debug)]
struct Download {
    id: SnapshotId,
    position: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Observer {
    config: ObserverConfig,
    epoch: RaftEpoch,
    leader: Option<Leader>,
    /// Whom the last question went to.
    asked: Option<Node>,
    /// Which of the named controllers is asked next.
    next: usize,
    download: Option<Download>,
    /// What [`Effect::Remember`] said last.
    remembered: (RaftEpoch, NodeId),
}

impl Observer {
    /// An observer that has seen `epoch`.
    pub fn new(config: ObserverConfig, epoch: RaftEpoch) -> Self {
        let remembered = (epoch, NodeId::NONE);
        Self { config, epoch, leader: None, asked: None, next: 0, download: None, remembered }
    }

    /// The active controller, as far as it's known.
    pub fn leader(&self) -> Option<&Leader> {
        self.leader.as_ref()
    }

    /// The epoch that was seen last.
    pub fn epoch(&self) -> RaftEpoch {
        self.epoch
    }

    /// The next question of a copy that has come to `position`.
    pub fn ask(&mut self, position: Position) -> Ask {
        let node = match &self.leader {
            Some(leader) => leader.at.clone(),
            None => {
                let node = self.config.controllers[self.next % self.config.controllers.len()].clone();
                self.next = self.next.wrapping_add(1);
                node
            }
        };
        self.asked = Some(node.clone());
        match self.download {
            Some(download) => Ask::FetchSnapshot(node, self.snapshot_request(download)),
            None => Ask::Fetch(node, self.fetch_request(position)),
        }
    }

    fn fetch_request(&self, position: Position) -> FetchRequest {
        let partition = FetchPartition {
            partition: 0,
            current_leader_epoch: self.epoch.get(),
            fetch_offset: position.end_offset.get(),
            last_fetched_epoch: position.last_epoch.get(),
            partition_max_bytes: self.config.fetch_max_bytes,
            replica_directory_id: self.config.directory_id,
            high_watermark: position.high_watermark.get(),
            ..Default::default()
        };
        FetchRequest {
            cluster_id: Some(self.config.cluster_id.clone()),
            replica_state: ReplicaState { replica_id: self.config.id.get(), ..Default::default() },
            max_wait_ms: FETCH_MAX_WAIT_MS,
            max_bytes: self.config.fetch_max_bytes,
            topics: vec![FetchTopic { topic_id: Uuid::ONE, partitions: vec![partition], ..Default::default() }],
            ..Default::default()
        }
    }

    fn snapshot_request(&self, download: Download) -> FetchSnapshotRequest {
        let partition = PartitionSnapshot {
            partition: 0,
            current_leader_epoch: self.epoch.get(),
            snapshot_id: fsq::SnapshotId {
                end_offset: download.id.end_offset.get(),
                epoch: download.id.epoch.get(),
                ..Default::default()
            },
            position: i64::try_from(download.position).unwrap_or(i64::MAX),
            replica_directory_id: self.config.directory_id,
            ..Default::default()
        };
        FetchSnapshotRequest {
            cluster_id: Some(self.config.cluster_id.clone()),
            replica_id: self.config.id.get(),
            max_bytes: self.config.fetch_snapshot_max_bytes,
            topics: vec![TopicSnapshot {
                name: METADATA_TOPIC.into(),
                partitions: vec![partition],
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    /// What follows from `event`.
    pub fn on(&mut self, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Fetched(response) => self.on_fetched(response, effects),
            Event::SnapshotFetched(response) => self.on_snapshot(response, effects),
            Event::Failed => self.lost(effects),
        }
    }

    /// The leader is forgotten: whoever is named is asked who leads now.
    fn lost(&mut self, effects: &mut Vec<Effect>) {
        self.leader = None;
        self.download = None;
        effects.push(Effect::BackOff);
    }

    /// Whether a response has more to say than this error.
    fn is_answer(&mut self, error_code: i16, effects: &mut Vec<Effect>) -> bool {
        match ErrorCode::from_code(error_code) {
            Some(ErrorCode::None) => return true,
            Some(ErrorCode::InconsistentClusterId) => effects.push(Effect::OtherCluster),
            _ => self.lost(effects),
        }
        false
    }

    fn on_fetched(&mut self, response: FetchResponse, effects: &mut Vec<Effect>) {
        if !self.is_answer(response.error_code, effects) {
            return;
        }
        let [topic] = response.responses.as_slice() else { return self.lost(effects) };
        let [p] = topic.partitions.as_slice() else { return self.lost(effects) };
        let current = &p.current_leader;
        let endpoints = response.node_endpoints.iter().map(|e| (e.node_id, &e.host, e.port));
        let at = endpoint(current.leader_id, endpoints);
        let Ok(news) = self.learn(current.leader_epoch, current.leader_id, at, effects) else {
            return self.lost(effects);
        };
        match ErrorCode::from_code(p.error_code) {
            Some(ErrorCode::None) => self.on_records(p, effects),
            // What was learned makes the next question a better one.
            Some(ErrorCode::FencedLeaderEpoch | ErrorCode::UnknownLeaderEpoch | ErrorCode::NotLeaderOrFollower)
                if news => {}
            _ => self.lost(effects),
        }
    }

    fn on_records(&mut self, p: &PartitionData, effects: &mut Vec<Effect>) {
        if p.diverging_epoch.epoch >= 0 || p.diverging_epoch.end_offset >= 0 {
            let (epoch, end_offset) = (RaftEpoch(p.diverging_epoch.epoch), Offset(p.diverging_epoch.end_offset));
            effects.push(Effect::CutTo { epoch, end_offset });
            return;
        }
        if p.snapshot_id.epoch >= 0 || p.snapshot_id.end_offset >= 0 {
            let id = SnapshotId { end_offset: Offset(p.snapshot_id.end_offset), epoch: RaftEpoch(p.snapshot_id.epoch) };
            // One that ends nowhere can't be asked for.
            match id.end_offset.is_some() && id.epoch.is_some() {
                true => self.download = Some(Download { id, position: 0 }),
                false => self.lost(effects),
            }
            return;
        }
        if let Some(records) = p.records.as_ref().filter(|r| !r.is_empty()) {
            effects.push(Effect::Append(records.clone().into_bytes()));
        }
        if p.high_watermark >= 0 {
            effects.push(Effect::Commit(Offset(p.high_watermark)));
        }
    }

    fn on_snapshot(&mut self, response: FetchSnapshotResponse, effects: &mut Vec<Effect>) {
        if !self.is_answer(response.error_code, effects) {
            return;
        }
        let (Some(download), [topic]) = (self.download, response.topics.as_slice()) else { return self.lost(effects) };
        let [p] = topic.partitions.as_slice() else { return self.lost(effects) };
        let current = &p.current_leader;
        let endpoints = response.node_endpoints.iter().map(|e| (e.node_id, &e.host, e.port.into()));
        let at = endpoint(current.leader_id, endpoints);
        if self.learn(current.leader_epoch, current.leader_id, at, effects).is_err() {
            return self.lost(effects);
        }
        let is_it = p.snapshot_id.end_offset == download.id.end_offset.get()
            && p.snapshot_id.epoch == download.id.epoch.get()
            && u64::try_from(p.position).ok() == Some(download.position);
        let bytes = p.unaligned_records.clone().unwrap_or_default().into_bytes();
        match ErrorCode::from_code(p.error_code) {
            Some(ErrorCode::None) if is_it && !bytes.is_empty() => {}
            // The leader has another by now: the next fetch tells.
            Some(ErrorCode::SnapshotNotFound | ErrorCode::PositionOutOfRange | ErrorCode::FencedLeaderEpoch) => {
                self.download = None;
                return;
            }
            _ => return self.lost(effects),
        }
        let position = download.position + bytes.len() as u64;
        effects.push(Effect::WriteSnapshotPiece { id: download.id, position: download.position, bytes });
        if i64::try_from(position).is_ok_and(|position| position < p.size) {
            self.download = Some(Download { position, ..download });
        } else {
            self.download = None;
            effects.push(Effect::InstallSnapshot(download.id));
        }
    }

    /// Takes in who is said to lead. Whether that is news; an error if it is of the past.
    fn learn(
        &mut self,
        epoch: i32,
        leader: i32,
        endpoint: Option<Node>,
        effects: &mut Vec<Effect>,
    ) -> Result<bool, ()> {
        let (epoch, id) = (RaftEpoch(epoch), NodeId(leader));
        if epoch < self.epoch {
            return Err(());
        }
        let at = endpoint.or_else(|| self.config.voters.get(&id).cloned()).or_else(|| self.asked.clone());
        let leader = at.filter(|_| id.get() >= 0).map(|at| Leader { id, at });
        let news = epoch > self.epoch || (leader.is_some() && leader != self.leader);
        if news {
            let known = leader.as_ref().map_or(NodeId::NONE, |l| l.id);
            if self.remembered != (epoch, known) {
                self.remembered = (epoch, known);
                effects.push(Effect::Remember { epoch, leader: known });
            }
            if epoch > self.epoch {
                self.download = None;
            }
            self.epoch = epoch;
            self.leader = leader;
        }
        Ok(news)
    }
}

/// Where a node is, by what a response says of nodes: id, host and port of each.
fn endpoint<'e>(id: i32, mut endpoints: impl Iterator<Item = (i32, &'e Str, i32)>) -> Option<Node> {
    let (_, host, port) = endpoints.find(|(node_id, ..)| *node_id == id)?;
    Some(Node { host: host.detached(), port: u16::try_from(port).ok()? })
}

#[cfg(test)]
#[path = "observer_tests.rs"]
mod tests;
