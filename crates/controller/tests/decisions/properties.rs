//! Properties of what the controller decides, over random commands: its records say everything. An image built from
//! them, in one go or batch by batch, through bytes or through a snapshot, is always the same.

use std::collections::BTreeMap;

use crate::common::{CLUSTER, World, id, registration, topic};
use bytes::Bytes;
use logrun_controller::Command;
use logrun_metadata::records::MetadataRecord;
use logrun_metadata::{Changes, MetadataImage, MetadataLoader, MetadataVersion, Provenance};
use logrun_model::{BrokerEpoch, LeaderEpoch, MetadataOffset, NodeId, PartitionEpoch, RaftEpoch, TimestampMs};
use logrun_wire::messages as m;
use logrun_wire::messages::create_partitions_request::CreatePartitionsTopic;
use logrun_wire::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Register(i32, u8, bool, bool),
    Heartbeat(i32, bool),
    Fence(i32),
    Unregister(i32),
    Create(u8, i32, i16),
    Delete(u8),
    Grow(u8, i32),
    Config(i8, u8, Option<u8>),
    Isr(u8, i32, Vec<i32>),
    Elect(i8),
    ProducerIds(i32),
    Elr(i16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1..4, any::<u8>(), any::<bool>(), any::<bool>()).prop_map(|(b, i, c, s)| Step::Register(b, i, c, s)),
        5 => (1..4, any::<bool>()).prop_map(|(b, s)| Step::Heartbeat(b, s)),
        2 => (1..4).prop_map(Step::Fence),
        1 => (1..4).prop_map(Step::Unregister),
        4 => (0u8..6, 1..5, 1i16..4).prop_map(|(t, p, r)| Step::Create(t, p, r)),
        1 => (0u8..6).prop_map(Step::Delete),
        2 => (0u8..6, 1..8).prop_map(|(t, n)| Step::Grow(t, n)),
        3 => (prop_oneof![Just(2i8), Just(4), Just(32)], 0u8..6, proptest::option::of(1u8..3)).prop_map(|(t, n, v)| Step::Config(t, n, v)),
        3 => (0u8..6, 0..3, proptest::collection::vec(1..4, 1..4)).prop_map(|(t, p, i)| Step::Isr(t, p, i)),
        1 => (0i8..2).prop_map(Step::Elect),
        1 => (1..4).prop_map(Step::ProducerIds),
        1 => (0i16..2).prop_map(Step::Elr),
    ]
}

fn name(t: u8) -> String {
    ["a", "b", "c.d", "c_d", "e", "__consumer_offsets"][t as usize].into()
}

fn command(w: &World, n: usize, step: Step) -> Command {
    let image = w.controller.image();
    let epoch = |b: i32| image.cluster.broker_epoch(NodeId(b)).unwrap_or(BrokerEpoch::NONE);
    match step {
        Step::Register(b, incarnation, clean, session_is_valid) => Command::RegisterBroker {
            request: registration(b, incarnation, if clean { epoch(b).get() } else { -1 }),
            former_self_is_dead: clean,
            session_is_valid,
        },
        Step::Heartbeat(b, want_shut_down) => Command::BrokerHeartbeat {
            request: m::BrokerHeartbeatRequest {
                broker_id: b,
                broker_epoch: epoch(b).get(),
                current_metadata_offset: w.log.len() as i64,
                want_shut_down,
                ..Default::default()
            },
            others_caught_up: true,
        },
        Step::Fence(b) => Command::FenceBroker { broker_id: NodeId(b), broker_epoch: epoch(b) },
        Step::Unregister(b) => {
            Command::UnregisterBroker { request: m::UnregisterBrokerRequest { broker_id: b, ..Default::default() } }
        }
        Step::Create(t, partitions, factor) => Command::CreateTopics {
            request: m::CreateTopicsRequest { topics: vec![topic(&name(t), partitions, factor)], ..Default::default() },
            topic_ids: vec![logrun_model::Uuid((n as u128 + 1).to_be_bytes())],
            seed: n as u64,
            describable: None,
        },
        Step::Delete(t) => Command::DeleteTopics {
            request: m::DeleteTopicsRequest { topic_names: vec![name(t).into()], ..Default::default() },
        },
        Step::Grow(t, count) => Command::CreatePartitions {
            request: m::CreatePartitionsRequest {
                topics: vec![CreatePartitionsTopic {
                    name: name(t).into(),
                    count,
                    assignments: None,
                    ..Default::default()
                }],
                ..Default::default()
            },
            seed: n as u64,
        },
        Step::Config(kind, n, value) => {
            let key = if n % 2 == 0 { "min.insync.replicas" } else { "unclean.leader.election.enable" };
            let value = value.map(|v| if n % 2 == 0 { v.to_string() } else { (v == 1).to_string() });
            let config = AlterableConfig {
                name: key.into(),
                config_operation: i8::from(value.is_none()),
                value: value.map(Into::into),
                ..Default::default()
            };
            let resource = AlterConfigsResource {
                resource_type: kind,
                resource_name: if kind == 4 { "".into() } else { name(n).into() },
                configs: vec![config],
                ..Default::default()
            };
            Command::IncrementalAlterConfigs {
                request: m::IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() },
            }
        }
        Step::Isr(t, partition, isr) => {
            use logrun_wire::messages::alter_partition_request::{BrokerState, PartitionData, TopicData};
            let topic = image.topics.by_name(&name(t));
            let p = topic.and_then(|t| t.partition(partition));
            let mut isr = isr;
            isr.dedup();
            let new_isr_with_epochs =
                isr.iter().map(|b| BrokerState { broker_id: *b, broker_epoch: -1, ..Default::default() });
            let data = PartitionData {
                partition_index: partition,
                leader_epoch: p.map_or(0, |p| p.leader_epoch.get()),
                partition_epoch: p.map_or(0, |p| p.partition_epoch.get()),
                new_isr_with_epochs: new_isr_with_epochs.collect(),
                ..Default::default()
            };
            let leader = p.map_or(1, |p| p.leader.get());
            Command::AlterPartition {
                request: m::AlterPartitionRequest {
                    broker_id: leader,
                    broker_epoch: epoch(leader).get(),
                    topics: vec![TopicData {
                        topic_id: topic.map_or(id(1), |t| t.id),
                        partitions: vec![data],
                        ..Default::default()
                    }],
                    ..Default::default()
                },
            }
        }
        Step::Elect(election_type) => Command::ElectLeaders {
            request: m::ElectLeadersRequest { election_type, topic_partitions: None, ..Default::default() },
        },
        Step::ProducerIds(b) => Command::AllocateProducerIds {
            request: m::AllocateProducerIdsRequest { broker_id: b, broker_epoch: epoch(b).get(), ..Default::default() },
        },
        Step::Elr(level) => Command::UpdateFeatures {
            request: m::UpdateFeaturesRequest {
                feature_updates: vec![m::update_features_request::FeatureUpdateKey {
                    feature: "eligible.leader.replicas.version".into(),
                    max_version_level: level,
                    upgrade_type: if level == 0 { 2 } else { 1 },
                    ..Default::default()
                }],
                ..Default::default()
            },
            kraft_version: 1,
        },
    }
}

/// What must hold of every partition, whatever has happened.
fn check_partitions(image: &MetadataImage) -> Result<(), TestCaseError> {
    for t in image.topics.iter() {
        for (i, p) in t.partitions.iter() {
            let at = format!("{}-{i} {p:?}", t.name);
            prop_assert!(p.isr.iter().all(|r| p.replicas.contains(r)), "{}", at);
            prop_assert!(!p.has_leader() || p.isr.contains(&p.leader), "{}", at);
            prop_assert!(p.elr.iter().all(|r| !p.isr.contains(r)), "{}", at);
            prop_assert_eq!(p.directories.len(), p.replicas.len(), "{}", at);
            if p.has_leader() {
                let leader = image.cluster.broker(p.leader);
                prop_assert!(leader.is_some_and(|b| !b.fenced), "{}", at);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn the_records_say_everything(steps in proptest::collection::vec(step(), 1..60), old: bool, cut in 1usize..9) {
        let version = if old { MetadataVersion(17) } else { MetadataVersion::LATEST };
        let mut w = World::at(version);
        let mut epochs: BTreeMap<_, (LeaderEpoch, PartitionEpoch)> = BTreeMap::new();
        for (n, s) in steps.into_iter().enumerate() {
            let c = command(&w, n, s);
            // The same state and command give the same decision.
            use logrun_coordinator::Recorded;
            let now = logrun_model::Now::default();
            prop_assert_eq!(w.controller.decide(now, c.clone()), w.controller.decide(now, c.clone()));
            w.run("step", c);
            check_partitions(w.controller.image())?;
            for t in w.controller.image().topics.iter() {
                for (i, p) in t.partitions.iter() {
                    let new = (p.leader_epoch, p.partition_epoch);
                    let old = epochs.insert((t.id, *i), new).unwrap_or(new);
                    prop_assert!(old.0 <= new.0 && old.1 <= new.1, "epochs never fall");
                }
            }
        }
        let image = w.controller.image();
        let written = image.metadata_version();

        // Through bytes, at the versions of the cluster.
        let through_bytes = |r: &MetadataRecord| {
            let bytes: Bytes = r.encode_value(written.record_version(r)).expect("encodes");
            MetadataRecord::decode_value(bytes).expect("decodes")
        };
        let mut replayed = MetadataImage::empty(CLUSTER);
        for r in &w.log {
            replayed.replay(&through_bytes(r), &mut Changes::default()).expect("replays");
        }
        prop_assert_eq!(&replayed, image);

        // Batch by batch, with the delta that each publishes.
        let mut loader = MetadataLoader::new(MetadataImage::empty(CLUSTER));
        let mut offset = 0;
        for batch in w.log.chunks(cut) {
            offset += batch.len() as i64;
            let last = MetadataOffset(offset - 1);
            for p in loader.commit(batch, last, RaftEpoch(1), TimestampMs(5)).expect("commits") {
                let same = |a: &MetadataImage, b: &MetadataImage| {
                    a.topics == b.topics && a.configs == b.configs && a.cluster == b.cluster && a.features == b.features
                };
                prop_assert!(same(&p.base, &p.image) || !p.changes.is_empty());
            }
        }
        let provenance = Provenance { offset: MetadataOffset(offset - 1), epoch: RaftEpoch(1), timestamp: TimestampMs(5) };
        let expected = MetadataImage { provenance, ..image.clone() };
        prop_assert_eq!(&**loader.image(), &expected);

        // Through a snapshot.
        let mut restored = MetadataImage::empty(CLUSTER);
        for r in image.to_records() {
            restored.replay(&through_bytes(&r), &mut Changes::default()).expect("replays");
        }
        prop_assert_eq!(&restored, image);
    }
}
