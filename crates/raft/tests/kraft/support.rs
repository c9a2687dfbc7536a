//! A node's metadata without the node: a log, an image, and the controller's machine on a simulated or real disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use logrun_controller::{AnyConfig, Command, Controller, ControllerConfig, Reply, bootstrap_records};
use logrun_coordinator::Recorded;
use logrun_io::disk::SimDisk;
use logrun_io::{Disk, Io, MemoryNet};
use logrun_log::{LogEnv, OpenState, TailCache};
use logrun_metadata::records::MetadataRecord;
use logrun_metadata::{MetadataImage, MetadataLoader, MetadataVersion};
use logrun_model::{MetadataOffset, NodeId, Now, Offset, RaftEpoch, TimestampMs, Uuid};
use logrun_raft::{MetadataLog, RaftConfig, RaftError, Voter, VoterEndpoint};
use logrun_wire::messages as m;

pub const CLUSTER: &str = "4L6g3nShT-eMCtK--X86sw";
pub const WALL_MS: i64 = 1_800_000_000_000;

pub fn now() -> Now {
    Now { wall: TimestampMs(WALL_MS), ..Now::default() }
}

pub fn voter(directory_id: Uuid) -> Voter {
    let endpoint = VoterEndpoint { name: "CONTROLLER".into(), host: "127.0.0.1".into(), port: 9093 };
    Voter { id: NodeId(1), directory_id, endpoints: vec![endpoint] }
}

pub fn raft_config(directory_id: Uuid) -> RaftConfig {
    RaftConfig { voter: voter(directory_id), segment_bytes: 1 << 20, max_record_bytes_between_snapshots: 1 << 20 }
}

pub fn simulated(seed: u64) -> (SimDisk, LogEnv) {
    let disk = SimDisk::new();
    disk.create_dir_all(Path::new("/data")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    let io = Io::simulated(seed, WALL_MS, Arc::new(disk.clone()), MemoryNet::default());
    (disk, LogEnv { io, tail: TailCache::new(1 << 20) })
}

/// What a node knows once its metadata log is read.
pub struct Loaded {
    pub log: MetadataLog,
    pub records: Vec<MetadataRecord>,
    pub machine: Controller,
    pub loader: MetadataLoader,
}

pub fn load(env: &LogEnv, dir: &Path, config: RaftConfig, clean_shutdown: bool) -> Result<Loaded, RaftError> {
    let controller = ControllerConfig {
        node_id: NodeId(1),
        cluster_id: CLUSTER.into(),
        num_partitions: 1,
        default_replication_factor: 1,
        replicas_max: None,
        delete_topic_enable: true,
        schema: Arc::new(AnyConfig),
    };
    let mut machine = Controller::new(controller, MetadataOffset(0));
    let mut loader = MetadataLoader::new(MetadataImage::empty(CLUSTER));
    let mut records = Vec::new();
    let state = OpenState { clean_shutdown, ..OpenState::NEW };
    let log = MetadataLog::open(env, dir, config, state, now(), |batch| {
        let first = batch.last_offset.get() - (batch.records.len() as i64 - 1);
        for (offset, record) in (first..).zip(&batch.records) {
            machine.replay_at(Offset(offset), record);
        }
        loader.commit(&batch.records, batch.last_offset, batch.epoch, batch.timestamp).unwrap();
        records.extend(batch.records);
        Ok(())
    })?;
    machine.set_next_offset(log.end_offset());
    assert_eq!(machine.fault(), None);
    Ok(Loaded { log, records, machine, loader })
}

impl Loaded {
    /// Leads, as a node that starts does.
    pub fn lead(&mut self) -> Result<RaftEpoch, RaftError> {
        let epoch = self.log.become_leader(now())?;
        self.machine.set_next_offset(self.log.end_offset());
        Ok(epoch)
    }

    /// Decides, appends, waits for the device, publishes.
    pub async fn run(&mut self, command: Command) -> Result<Reply, RaftError> {
        let decision = self.machine.decide(now(), command);
        if !decision.records.is_empty() {
            let (batch, durable) = self.log.append(decision.records, self.machine.metadata_version(), now())?;
            let first = batch.last_offset.get() - (batch.records.len() as i64 - 1);
            for (offset, record) in (first..).zip(&batch.records) {
                self.machine.replay_at(Offset(offset), record);
            }
            durable.wait().await?;
            self.loader.commit(&batch.records, batch.last_offset, batch.epoch, batch.timestamp).unwrap();
            self.records.extend(batch.records);
        }
        Ok(decision.reply)
    }

    pub async fn activate(&mut self) -> Result<(), RaftError> {
        self.run(Command::Activate { bootstrap: bootstrap_records(MetadataVersion::LATEST) }).await.map(|_| ())
    }

    pub async fn register(&mut self, directory_id: Uuid, incarnation: u8) -> Result<(), RaftError> {
        use logrun_wire::messages::broker_registration_request::{Feature, Listener};
        let features = logrun_controller::registered_features().map(|f| Feature {
            name: f.name.into(),
            min_supported_version: f.min,
            max_supported_version: f.max,
            ..Default::default()
        });
        let listener =
            Listener { name: "PLAINTEXT".into(), host: "127.0.0.1".into(), port: 9092, ..Default::default() };
        let request = m::BrokerRegistrationRequest {
            broker_id: 1,
            cluster_id: CLUSTER.into(),
            incarnation_id: Uuid([incarnation; 16]),
            listeners: vec![listener],
            features: features.collect(),
            rack: None,
            log_dirs: vec![directory_id],
            ..Default::default()
        };
        let command = Command::RegisterBroker { request, former_self_is_dead: true, session_is_valid: true };
        let Reply::RegisterBroker(r) = self.run(command).await? else { panic!("refused") };
        assert_eq!(r.error_code, 0);
        let request = m::BrokerHeartbeatRequest {
            broker_id: 1,
            broker_epoch: r.broker_epoch,
            current_metadata_offset: self.log.end_offset().get(),
            ..Default::default()
        };
        self.run(Command::BrokerHeartbeat { request, others_caught_up: true }).await.map(|_| ())
    }

    pub async fn create(&mut self, name: &str, partitions: i32, id: u128) -> Result<(), RaftError> {
        let topic = m::create_topics_request::CreatableTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: 1,
            ..Default::default()
        };
        let request = m::CreateTopicsRequest { topics: vec![topic], ..Default::default() };
        let topic_ids = vec![Uuid((id << 64 | 7).to_be_bytes())];
        let reply = self.run(Command::CreateTopics { request, topic_ids, seed: 1, describable: None }).await?;
        let Reply::CreateTopics(r) = reply else { panic!("refused") };
        assert_eq!(r.topics[0].error_code, 0, "{:?}", r.topics[0].error_message);
        Ok(())
    }

    pub fn image(&self) -> &MetadataImage {
        self.loader.image()
    }
}

/// The two images say the same, wherever they stand.
pub fn same(a: &MetadataImage, b: &MetadataImage) {
    let at = |i: &MetadataImage| MetadataImage { provenance: Default::default(), ..i.clone() };
    assert_eq!(at(a), at(b));
}

pub fn data_dir() -> PathBuf {
    PathBuf::from("/data")
}
