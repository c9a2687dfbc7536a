//! A controller without a log: commands are decided and replayed at once, and written down as a transcript.

use std::fmt::Write;
use std::sync::Arc;

use logrun_controller::{AnyConfig, Command, Controller, ControllerConfig, Reply, bootstrap_records};
use logrun_coordinator::Recorded;
use logrun_metadata::records::MetadataRecord;
use logrun_metadata::{Feature, MetadataVersion};
use logrun_model::{BrokerEpoch, MetadataOffset, NodeId, Now, Offset, Str, Uuid};
use logrun_wire::messages as m;
use logrun_wire::messages::broker_registration_request::{Feature as RegisteredFeature, Listener};
use logrun_wire::messages::create_topics_request::CreatableTopic;

pub const CLUSTER: &str = "4L6g3nShT-eMCtK--X86sw";

pub struct World {
    pub controller: Controller,
    pub log: Vec<MetadataRecord>,
    pub transcript: String,
}

pub fn config() -> ControllerConfig {
    ControllerConfig {
        node_id: NodeId(1),
        cluster_id: CLUSTER.into(),
        num_partitions: 1,
        default_replication_factor: 1,
        replicas_max: None,
        delete_topic_enable: true,
        schema: Arc::new(AnyConfig),
    }
}

pub fn id(n: u8) -> Uuid {
    Uuid([n.max(1); 16])
}

impl World {
    /// An activated controller; its log begins with bootstrap records.
    pub fn new() -> Self {
        Self::at(MetadataVersion::LATEST)
    }

    pub fn at(version: MetadataVersion) -> Self {
        let controller = Controller::new(config(), MetadataOffset(0));
        let mut this = Self { controller, log: Vec::new(), transcript: String::new() };
        this.run("activate", Command::Activate { bootstrap: bootstrap_records(version) });
        this
    }

    /// Decides and replays; returns the reply and how many records there were.
    pub fn run(&mut self, what: &str, command: Command) -> Reply {
        let decision = self.controller.decide(Now::default(), command);
        let _ = writeln!(self.transcript, "> {what}");
        let again = self.controller.clone();
        for record in &decision.records {
            let offset = Offset(self.log.len() as i64);
            let _ = writeln!(self.transcript, "  {offset} {}", describe(record));
            self.controller.replay_at(offset, record);
            self.log.push(record.clone());
        }
        assert_eq!(self.controller.fault(), None);
        assert_eq!(again.fault(), None);
        decision.reply
    }

    pub fn say(&mut self, line: &str) {
        let _ = writeln!(self.transcript, "  = {line}");
    }

    pub fn register(&mut self, broker: i32, incarnation: u8, previous: i64, dead: bool, session: bool) -> Reply {
        let request = registration(broker, incarnation, previous);
        let command = Command::RegisterBroker { request, former_self_is_dead: dead, session_is_valid: session };
        self.run(&format!("register broker {broker}, incarnation {incarnation}, previous epoch {previous}"), command)
    }

    pub fn heartbeat(&mut self, broker: i32, want_shut_down: bool) -> m::BrokerHeartbeatResponse {
        let epoch = self.controller.image().cluster.broker_epoch(NodeId(broker)).unwrap_or(BrokerEpoch::NONE);
        let request = m::BrokerHeartbeatRequest {
            broker_id: broker,
            broker_epoch: epoch.get(),
            current_metadata_offset: self.log.len() as i64,
            want_shut_down,
            ..Default::default()
        };
        let command = Command::BrokerHeartbeat { request, others_caught_up: true };
        match self.run(&format!("heartbeat of broker {broker}, wants to stop: {want_shut_down}"), command) {
            Reply::BrokerHeartbeat(r) => r,
            other => panic!("{other:?}"),
        }
    }

    /// A registered and unfenced broker.
    pub fn broker(&mut self, broker: i32) {
        self.register(broker, broker as u8 + 100, -1, false, false);
        assert!(!self.heartbeat(broker, false).is_fenced);
    }

    pub fn create(&mut self, topic: CreatableTopic, topic_id: u8) -> (i16, Option<Str>) {
        let what = format!("create topic {}", topic.name);
        let request = m::CreateTopicsRequest { topics: vec![topic], ..Default::default() };
        let command = Command::CreateTopics { request, topic_ids: vec![id(topic_id)], seed: 1, describable: None };
        match self.run(&what, command) {
            Reply::CreateTopics(mut r) => {
                let t = r.topics.remove(0);
                let line = format!("{} {:?}", t.error_code, t.error_message.as_deref().unwrap_or(""));
                self.say(&line);
                (t.error_code, t.error_message)
            }
            other => panic!("{other:?}"),
        }
    }
}

pub fn topic(name: &str, partitions: i32, factor: i16) -> CreatableTopic {
    CreatableTopic { name: name.into(), num_partitions: partitions, replication_factor: factor, ..Default::default() }
}

pub fn registration(broker: i32, incarnation: u8, previous: i64) -> m::BrokerRegistrationRequest {
    let features = logrun_controller::registered_features().map(|f: &Feature| RegisteredFeature {
        name: Str::from_static(f.name),
        min_supported_version: f.min,
        max_supported_version: f.max,
        ..Default::default()
    });
    m::BrokerRegistrationRequest {
        broker_id: broker,
        cluster_id: CLUSTER.into(),
        incarnation_id: id(incarnation),
        listeners: vec![Listener {
            name: "PLAINTEXT".into(),
            host: "localhost".into(),
            port: 9092,
            ..Default::default()
        }],
        features: features.collect(),
        rack: None,
        log_dirs: vec![id(200 + broker as u8)],
        previous_broker_epoch: previous,
        ..Default::default()
    }
}

/// A record in one line, without what is at its default.
pub fn describe(record: &MetadataRecord) -> String {
    match record {
        MetadataRecord::Topic(r) => format!("Topic {} {}", r.name, r.topic_id),
        MetadataRecord::Partition(r) => format!(
            "Partition {} replicas {:?} isr {:?} leader {} epochs {}/{} dirs {}",
            r.partition_id,
            r.replicas,
            r.isr,
            r.leader,
            r.leader_epoch,
            r.partition_epoch,
            r.directories.len()
        ),
        MetadataRecord::PartitionChange(r) => {
            let mut s = format!("PartitionChange {}", r.partition_id);
            let mut put = |name: &str, v: &Option<Vec<i32>>| {
                if let Some(v) = v {
                    let _ = write!(s, " {name} {v:?}");
                }
            };
            put("isr", &r.isr);
            put("replicas", &r.replicas);
            put("elr", &r.eligible_leader_replicas);
            put("last_known_elr", &r.last_known_elr);
            if r.leader != -2 {
                let _ = write!(s, " leader {}", r.leader);
            }
            if r.leader_recovery_state != -1 {
                let _ = write!(s, " recovery {}", r.leader_recovery_state);
            }
            if let Some(d) = &r.directories {
                let _ = write!(s, " dirs {d:?}");
            }
            s
        }
        MetadataRecord::RegisterBroker(r) => {
            format!("RegisterBroker {} epoch {} fenced {}", r.broker_id, r.broker_epoch, r.fenced)
        }
        MetadataRecord::BrokerRegistrationChange(r) => format!(
            "BrokerRegistrationChange {} epoch {} fenced {} shutdown {} dirs {} cordoned {:?}",
            r.broker_id,
            r.broker_epoch,
            r.fenced,
            r.in_controlled_shutdown,
            r.log_dirs.len(),
            r.cordoned_log_dirs
        ),
        MetadataRecord::FeatureLevel(r) => format!("FeatureLevel {} {}", r.name, r.feature_level),
        MetadataRecord::Config(r) => {
            format!("Config {}:{} {}={:?}", r.resource_type, r.resource_name, r.name, r.value.as_deref())
        }
        MetadataRecord::ProducerIds(r) => format!("ProducerIds next {}", r.next_producer_id),
        MetadataRecord::ClearElr(r) => format!("ClearElr '{}'", r.topic_name),
        other => other.name().to_string(),
    }
}
