//! Transcripts of an observer: what it asks and does, line by line.

use std::fmt::Write;

use logrun_wire::messages::fetch_response::{self as fr, FetchableTopicResponse};
use logrun_wire::messages::fetch_snapshot_response as fsr;

use super::*;

fn node(port: u16) -> Node {
    Node { host: "c".into(), port }
}

fn observer() -> Observer {
    let config = ObserverConfig {
        id: NodeId(7),
        directory_id: Uuid([9; 16]),
        cluster_id: "cluster".into(),
        controllers: vec![node(1), node(2)],
        voters: BTreeMap::new(),
        fetch_max_bytes: 1000,
        fetch_snapshot_max_bytes: 1000,
    };
    Observer::new(config, RaftEpoch(0))
}

/// An observer, its copy's position, and what was said.
struct World {
    observer: Observer,
    at: Position,
    said: String,
}

impl World {
    fn new() -> Self {
        let at = Position { end_offset: Offset(0), last_epoch: RaftEpoch(0), high_watermark: Offset(0) };
        Self { observer: observer(), at, said: String::new() }
    }

    fn ask(&mut self) {
        let _ = match self.observer.ask(self.at) {
            Ask::Fetch(to, r) => {
                let p = &r.topics[0].partitions[0];
                writeln!(
                    self.said,
                    "asks {} in epoch {} for {} of {}",
                    to.port, p.current_leader_epoch, p.fetch_offset, p.last_fetched_epoch
                )
            }
            Ask::FetchSnapshot(to, r) => {
                let p = &r.topics[0].partitions[0];
                writeln!(
                    self.said,
                    "asks {} in epoch {} for snapshot {}-{} from byte {}",
                    to.port, p.current_leader_epoch, p.snapshot_id.end_offset, p.snapshot_id.epoch, p.position
                )
            }
        };
    }

    fn on(&mut self, event: Event) {
        let mut effects = Vec::new();
        self.observer.on(event, &mut effects);
        for effect in effects {
            let _ = match effect {
                Effect::Append(bytes) => writeln!(self.said, "  append {} bytes", bytes.len()),
                Effect::WriteSnapshotPiece { position, bytes, .. } => {
                    writeln!(self.said, "  write {} bytes of the snapshot at {position}", bytes.len())
                }
                other => writeln!(self.said, "  {other:?}"),
            };
        }
    }

    fn fetched(&mut self, error: ErrorCode, epoch: i32, leader: i32, set: impl FnOnce(&mut PartitionData)) {
        let mut p = PartitionData {
            error_code: error.code(),
            high_watermark: -1,
            current_leader: fr::LeaderIdAndEpoch { leader_id: leader, leader_epoch: epoch, ..Default::default() },
            ..Default::default()
        };
        set(&mut p);
        let endpoint = fr::NodeEndpoint { node_id: 3, host: "c".into(), port: 3, rack: None, ..Default::default() };
        let topic = FetchableTopicResponse { topic_id: Uuid::ONE, partitions: vec![p], ..Default::default() };
        self.on(Event::Fetched(FetchResponse {
            responses: vec![topic],
            node_endpoints: vec![endpoint],
            ..Default::default()
        }));
    }

    fn piece(&mut self, position: i64, len: usize, size: i64) {
        let p = fsr::PartitionSnapshot {
            snapshot_id: fsr::SnapshotId { end_offset: 40, epoch: 5, ..Default::default() },
            current_leader: fsr::LeaderIdAndEpoch { leader_id: 3, leader_epoch: 6, ..Default::default() },
            size,
            position,
            unaligned_records: Some(Bytes::from(vec![0; len]).into()),
            ..Default::default()
        };
        let topic = fsr::TopicSnapshot { partitions: vec![p], ..Default::default() };
        self.on(Event::SnapshotFetched(FetchSnapshotResponse { topics: vec![topic], ..Default::default() }));
    }
}

fn nothing(_: &mut PartitionData) {}

#[test]
fn finds_the_leader_follows_it_and_finds_the_next() {
    let mut w = World::new();
    w.ask();
    w.on(Event::Failed);
    w.ask();
    w.fetched(ErrorCode::FencedLeaderEpoch, 6, 3, nothing);
    w.ask();
    w.fetched(ErrorCode::None, 6, 3, |p| {
        p.records = Some(Bytes::from_static(b"batches").into());
        p.high_watermark = 4;
    });
    w.at = Position { end_offset: Offset(5), last_epoch: RaftEpoch(6), high_watermark: Offset(4) };
    w.ask();
    // An answer of the past is not believed.
    w.fetched(ErrorCode::None, 5, 3, |p| p.high_watermark = 5);
    w.ask();
    w.fetched(ErrorCode::None, 6, 3, |p| p.high_watermark = 5);
    w.ask();
    // The next epoch has no leader yet.
    w.fetched(ErrorCode::NotLeaderOrFollower, 7, -1, nothing);
    w.ask();
    w.fetched(ErrorCode::NotLeaderOrFollower, 7, -1, nothing);
    w.ask();
    w.on(Event::Fetched(FetchResponse { error_code: ErrorCode::InconsistentClusterId.code(), ..Default::default() }));
    assert_eq!(
        w.said,
        concat!(
            "asks 1 in epoch 0 for 0 of 0\n",
            "  BackOff\n",
            "asks 2 in epoch 0 for 0 of 0\n",
            "  Remember { epoch: 6, leader: 3 }\n",
            "asks 3 in epoch 6 for 0 of 0\n",
            "  append 7 bytes\n",
            "  Commit(4)\n",
            "asks 3 in epoch 6 for 5 of 6\n",
            "  BackOff\n",
            "asks 1 in epoch 6 for 5 of 6\n",
            "  Commit(5)\n",
            "asks 3 in epoch 6 for 5 of 6\n",
            "  Remember { epoch: 7, leader: -1 }\n",
            "asks 2 in epoch 7 for 5 of 6\n",
            "  BackOff\n",
            "asks 1 in epoch 7 for 5 of 6\n",
            "  OtherCluster\n",
        )
    );
}

#[test]
fn cuts_where_it_parts_and_takes_snapshots_in_pieces() {
    let mut w = World::new();
    w.ask();
    w.fetched(ErrorCode::FencedLeaderEpoch, 6, 3, nothing);
    w.ask();
    w.fetched(ErrorCode::None, 6, 3, |p| {
        p.diverging_epoch = fr::EpochEndOffset { epoch: 2, end_offset: 17, ..Default::default() };
    });
    w.ask();
    let snapshot = |p: &mut PartitionData| {
        p.snapshot_id = fr::SnapshotId { end_offset: 40, epoch: 5, ..Default::default() };
    };
    w.fetched(ErrorCode::None, 6, 3, snapshot);
    w.ask();
    w.piece(0, 600, 1000);
    w.ask();
    // Not the piece that was asked for.
    w.piece(0, 600, 1000);
    w.ask();
    w.fetched(ErrorCode::None, 6, 3, snapshot);
    w.ask();
    w.piece(0, 600, 1000);
    w.ask();
    w.piece(600, 400, 1000);
    w.ask();
    assert_eq!(
        w.said,
        concat!(
            "asks 1 in epoch 0 for 0 of 0\n",
            "  Remember { epoch: 6, leader: 3 }\n",
            "asks 3 in epoch 6 for 0 of 0\n",
            "  CutTo { epoch: 2, end_offset: 17 }\n",
            "asks 3 in epoch 6 for 0 of 0\n",
            "asks 3 in epoch 6 for snapshot 40-5 from byte 0\n",
            "  write 600 bytes of the snapshot at 0\n",
            "asks 3 in epoch 6 for snapshot 40-5 from byte 600\n",
            "  BackOff\n",
            "asks 2 in epoch 6 for 0 of 0\n",
            "asks 3 in epoch 6 for snapshot 40-5 from byte 0\n",
            "  write 600 bytes of the snapshot at 0\n",
            "asks 3 in epoch 6 for snapshot 40-5 from byte 600\n",
            "  write 400 bytes of the snapshot at 600\n",
            "  InstallSnapshot(SnapshotId { end_offset: 40, epoch: 5 })\n",
            "asks 3 in epoch 6 for 0 of 0\n",
        )
    );
}

#[test]
fn what_makes_no_sense_is_asked_again() {
    let mut w = World::new();
    w.ask();
    w.on(Event::Fetched(FetchResponse::default()));
    w.ask();
    w.piece(0, 1, 1);
    w.ask();
    w.fetched(ErrorCode::None, 1, 3, |p| p.snapshot_id.epoch = 3);
    assert_eq!(
        w.said,
        concat!(
            "asks 1 in epoch 0 for 0 of 0\n",
            "  BackOff\n",
            "asks 2 in epoch 0 for 0 of 0\n",
            "  BackOff\n",
            "asks 1 in epoch 0 for 0 of 0\n",
            "  Remember { epoch: 1, leader: 3 }\n",
            "  BackOff\n",
        )
    );
}
