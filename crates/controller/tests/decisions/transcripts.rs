//! Transcripts: commands in, records out, compared with what Apache Kafka 4.3.1 writes in the same course.

use crate::common::{World, id, registration, topic};
use logrun_controller::{Command, Reply};
use logrun_model::{BrokerEpoch, NodeId};
use logrun_wire::ErrorCode;
use logrun_wire::messages as m;
use logrun_wire::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopicConfig};

#[test]
fn a_single_node_is_killed_and_starts_again() {
    let mut w = World::new();
    w.register(1, 1, -1, true, false);
    w.heartbeat(1, false);
    w.create(topic("orders", 2, 1), 9);
    // Killed: the session is still valid, but whoever holds the directory's lock knows better.
    let refused = w.register(1, 2, -1, false, true);
    let duplicate = ErrorCode::DuplicateBrokerRegistration.code();
    assert!(matches!(refused, Reply::RegisterBroker(r) if r.error_code == duplicate));
    let Reply::RegisterBroker(r) = w.register(1, 2, -1, true, true) else { panic!() };
    w.say(&format!("epoch {}", r.broker_epoch));
    w.heartbeat(1, false);
    insta::assert_snapshot!(w.transcript);
}

#[test]
fn a_session_ends_and_the_broker_comes_back_unclean() {
    let mut w = World::new();
    w.broker(1);
    w.create(topic("a", 1, 1), 9);
    let broker_epoch = w.controller.image().cluster.broker_epoch(NodeId(1)).unwrap();
    let fence = |epoch| Command::FenceBroker { broker_id: NodeId(1), broker_epoch: epoch };
    w.run("an older session ends", fence(BrokerEpoch(broker_epoch.get() - 1)));
    w.run("the session ends", fence(broker_epoch));
    w.register(1, 7, -1, false, false);
    w.heartbeat(1, false);
    insta::assert_snapshot!(w.transcript);
}

#[test]
fn a_broker_stops_cleanly_and_starts_again() {
    let mut w = World::new();
    w.broker(1);
    w.create(topic("a", 1, 1), 9);
    let first = w.heartbeat(1, true);
    assert!(!first.should_shut_down);
    let second = w.heartbeat(1, true);
    assert!(second.should_shut_down);
    let epoch = w.controller.image().cluster.broker_epoch(NodeId(1)).unwrap();
    w.register(1, 7, epoch.get(), false, false);
    w.heartbeat(1, false);
    insta::assert_snapshot!(w.transcript);
}

#[test]
fn three_brokers_share_a_partition() {
    let mut w = World::new();
    (1..=3).for_each(|b| w.broker(b));
    let mut t = topic("a", -1, -1);
    t.assignments =
        vec![CreatableReplicaAssignment { partition_index: 0, broker_ids: vec![2, 1, 3], ..Default::default() }];
    w.create(t, 9);
    let epoch = |w: &World, b| w.controller.image().cluster.broker_epoch(NodeId(b)).unwrap();
    let e2 = epoch(&w, 2);
    w.run("broker 2 is silent", Command::FenceBroker { broker_id: NodeId(2), broker_epoch: e2 });
    w.run("the new leader takes 2 back too early", alter_isr(&w, 1, &[1, 3, 2]));
    w.heartbeat(2, false);
    let reply = w.run("the new leader takes 2 back", alter_isr(&w, 1, &[1, 3, 2]));
    let Reply::AlterPartition(r) = reply else { panic!() };
    let p = &r.topics[0].partitions[0];
    w.say(&format!("{} isr {:?} partition epoch {}", p.error_code, p.isr, p.partition_epoch));
    let election = m::ElectLeadersRequest { election_type: 0, topic_partitions: None, ..Default::default() };
    w.run("elect preferred leaders", Command::ElectLeaders { request: election });
    for b in [3, 1] {
        let e = epoch(&w, b);
        w.run(&format!("broker {b} is silent"), Command::FenceBroker { broker_id: NodeId(b), broker_epoch: e });
    }
    insta::assert_snapshot!(w.transcript);
}

fn alter_isr(w: &World, leader: i32, isr: &[i32]) -> Command {
    use logrun_wire::messages::alter_partition_request::{BrokerState, PartitionData, TopicData};
    let image = w.controller.image();
    let p = image.topics.by_name("a").unwrap().partition(0).unwrap();
    let state = |b: &i32| BrokerState {
        broker_id: *b,
        broker_epoch: image.cluster.broker_epoch(NodeId(*b)).unwrap().get(),
        ..Default::default()
    };
    let data = PartitionData {
        partition_index: 0,
        leader_epoch: p.leader_epoch.get(),
        partition_epoch: p.partition_epoch.get(),
        new_isr_with_epochs: isr.iter().map(state).collect(),
        ..Default::default()
    };
    let request = m::AlterPartitionRequest {
        broker_id: leader,
        broker_epoch: image.cluster.broker_epoch(NodeId(leader)).unwrap().get(),
        topics: vec![TopicData { topic_id: id(9), partitions: vec![data], ..Default::default() }],
        ..Default::default()
    };
    Command::AlterPartition { request }
}

#[test]
fn topics_are_made_refused_and_removed() {
    let mut w = World::new();
    w.create(topic("early", 1, 1), 8);
    w.broker(1);
    let mut orders = topic("orders", -1, -1);
    orders.configs = vec![CreatableTopicConfig {
        name: "cleanup.policy".into(),
        value: Some("compact".into()),
        ..Default::default()
    }];
    w.create(orders, 9);
    for t in [topic("orders", 1, 1), topic("bad/name", 1, 1), topic("__cluster_metadata", 1, 1), topic("x", 0, 1)] {
        w.create(t, 10);
    }
    w.create(topic("x", 1, 0), 10);
    w.create(topic("x", 1, 2), 10);
    w.create(topic("x", 10_001, 1), 10);
    w.create(topic("a.b", 1, 1), 11);
    w.create(topic("a_b", 1, 1), 12);
    let assigned = |lists: &[&[i32]]| {
        let mut t = topic("man", -1, -1);
        let each = (0..).zip(lists).map(|(partition_index, ids)| CreatableReplicaAssignment {
            partition_index,
            broker_ids: ids.to_vec(),
            ..Default::default()
        });
        t.assignments = each.collect();
        t
    };
    w.create(assigned(&[&[7]]), 13);
    w.create(assigned(&[&[1, 1]]), 13);
    w.create(assigned(&[&[]]), 13);
    w.create(assigned(&[&[1], &[1]]), 13);
    let create = |count, validate_only| Command::CreatePartitions {
        request: m::CreatePartitionsRequest {
            topics: vec![m::create_partitions_request::CreatePartitionsTopic {
                name: "orders".into(),
                count,
                assignments: None,
                ..Default::default()
            }],
            validate_only,
            ..Default::default()
        },
        seed: 3,
    };
    for (count, validate_only) in [(1, false), (0, false), (3, true), (3, false)] {
        let Reply::CreatePartitions(r) = w.run(&format!("{count} partitions"), create(count, validate_only)) else {
            panic!()
        };
        w.say(&format!("{:?}", r.results[0].error_message.as_deref()));
    }
    let names = ["orders", "nosuch", "a.b", "a.b"].map(Into::into).to_vec();
    let request = m::DeleteTopicsRequest { topic_names: names, ..Default::default() };
    let Reply::DeleteTopics(r) = w.run("delete topics", Command::DeleteTopics { request }) else { panic!() };
    w.say(&format!("{:?}", r.responses.iter().map(|t| t.error_code).collect::<Vec<_>>()));
    w.create(topic("orders", 1, 1), 14);
    insta::assert_snapshot!(w.transcript);
}

#[test]
fn configs_are_altered() {
    let mut w = World::new();
    w.broker(1);
    w.create(topic("t", 1, 1), 9);
    let alter = |t: i8, name: &str, ops: &[(i8, &str, Option<&str>)]| {
        use logrun_wire::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
        let configs = ops.iter().map(|(op, key, value)| AlterableConfig {
            name: (*key).into(),
            config_operation: *op,
            value: value.map(Into::into),
            ..Default::default()
        });
        let resource = AlterConfigsResource {
            resource_type: t,
            resource_name: name.into(),
            configs: configs.collect(),
            ..Default::default()
        };
        let request = m::IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
        Command::IncrementalAlterConfigs { request }
    };
    let long = "x".repeat(40_000);
    type Operations<'a> = Vec<(i8, &'a str, Option<&'a str>)>;
    let cases: &[(i8, &str, Operations<'_>)] = &[
        (2, "t", vec![(0, "retention.ms", Some("5")), (2, "cleanup.policy", Some("compact"))]),
        (2, "t", vec![(2, "cleanup.policy", Some("delete,compact"))]),
        (2, "t", vec![(3, "cleanup.policy", Some("compact"))]),
        (2, "t", vec![(2, "retention.ms", Some("6"))]),
        (2, "t", vec![(0, "retention.ms", None)]),
        (2, "t", vec![(0, "retention.ms", Some("5"))]),
        (2, "t", vec![(1, "retention.ms", None)]),
        (2, "t", vec![(0, "min.insync.replicas", Some("2"))]),
        (2, "nosuch", vec![(0, "retention.ms", Some("5"))]),
        (2, "", vec![(0, "retention.ms", Some("5"))]),
        (2, "t", vec![(0, "a", Some(&long))]),
        (2, "t", vec![(0, "a", Some("1")), (1, "a", None)]),
        (4, "", vec![(0, "min.insync.replicas", Some("1")), (0, "log.cleaner.threads", Some("2"))]),
        (4, "", vec![(1, "min.insync.replicas", None)]),
        (4, "1", vec![(0, "min.insync.replicas", Some("1"))]),
        (4, "1", vec![(0, "message.max.bytes", Some("9"))]),
        (4, "1", vec![(0, "message.max.bytes", Some("9"))]),
        (4, "7", vec![(0, "message.max.bytes", Some("9"))]),
        (4, "one", vec![(0, "message.max.bytes", Some("9"))]),
        (16, "m", vec![(0, "interval.ms", Some("9"))]),
        (32, "g", vec![(0, "consumer.session.timeout.ms", Some("9"))]),
        (8, "1", vec![(0, "root", Some("INFO"))]),
        (2, "t", vec![(9, "a", Some("1"))]),
    ];
    for (t, name, ops) in cases {
        let Reply::IncrementalAlterConfigs(r) = w.run(&format!("alter {t}:{name}"), alter(*t, name, ops)) else {
            panic!()
        };
        let r = &r.responses[0];
        w.say(&format!("{} {:?}", r.error_code, r.error_message.as_deref().unwrap_or("")));
    }
    use logrun_wire::messages::alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let resource = AlterConfigsResource {
        resource_type: 2,
        resource_name: "t".into(),
        configs: vec![AlterableConfig { name: "a".into(), value: Some("1".into()), ..Default::default() }],
        ..Default::default()
    };
    let request = m::AlterConfigsRequest { resources: vec![resource], ..Default::default() };
    w.run("replace the configs of t", Command::AlterConfigs { request });
    insta::assert_snapshot!(w.transcript);
}

#[test]
fn features_and_producer_ids() {
    use logrun_wire::messages::update_features_request::FeatureUpdateKey;
    let mut w = World::new();
    w.broker(1);
    let update = |name: &str, level: i16, upgrade_type: i8| {
        let key =
            FeatureUpdateKey { feature: name.into(), max_version_level: level, upgrade_type, ..Default::default() };
        Command::UpdateFeatures {
            request: m::UpdateFeaturesRequest { feature_updates: vec![key], ..Default::default() },
            kraft_version: 1,
        }
    };
    let elr = "eligible.leader.replicas.version";
    let cases = [
        (elr, 0, 1),
        (elr, 0, 2),
        (elr, 1, 1),
        (elr, 2, 1),
        ("metadata.version", 29, 2),
        ("metadata.version", 30, 1),
        ("metadata.version", 31, 1),
        ("kraft.version", 0, 2),
        ("kraft.version", 1, 1),
        ("nosuch", 1, 1),
        (elr, 0, 0),
    ];
    for (name, level, kind) in cases {
        let what = format!("update {name} to {level} by {kind}");
        let Reply::UpdateFeatures(r) = w.run(&what, update(name, level, kind)) else { panic!() };
        w.say(&format!("{} {:?}", r.error_code, r.error_message.as_deref().unwrap_or("")));
    }
    for (at, to) in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)] {
        let Command::UpdateFeatures { mut request, .. } = update("kraft.version", to, 1) else { panic!() };
        let raises = w.controller.raises_kraft_version(&request, at);
        assert_eq!(raises, (at, to) == (0, 1), "from {at} to {to}");
        request.validate_only = true;
        assert!(!w.controller.raises_kraft_version(&request, at), "a dry run from {at} to {to}");
        request.validate_only = false;
        request.feature_updates.push(FeatureUpdateKey { feature: "nosuch".into(), ..Default::default() });
        assert!(!w.controller.raises_kraft_version(&request, at), "with one that is refused, from {at} to {to}");
    }
    let epoch = w.controller.image().cluster.broker_epoch(NodeId(1)).unwrap().get();
    for (id, epoch) in [(1, epoch), (1, epoch), (1, epoch + 1), (2, epoch)] {
        let request = m::AllocateProducerIdsRequest { broker_id: id, broker_epoch: epoch, ..Default::default() };
        let what = format!("producer ids for broker {id}");
        let Reply::AllocateProducerIds(r) = w.run(&what, Command::AllocateProducerIds { request }) else { panic!() };
        w.say(&format!("{} from {} on", r.error_code, r.producer_id_start));
    }
    insta::assert_snapshot!(w.transcript);
}

#[test]
fn registrations_that_are_refused() {
    let mut w = World::new();
    w.broker(1);
    let cases: Vec<(&str, m::BrokerRegistrationRequest)> = vec![
        ("another cluster", m::BrokerRegistrationRequest { cluster_id: "x".into(), ..registration(2, 2, -1) }),
        ("no directories", m::BrokerRegistrationRequest { log_dirs: vec![], ..registration(2, 2, -1) }),
        (
            "the directory of broker 1",
            m::BrokerRegistrationRequest { log_dirs: vec![id(201)], ..registration(2, 2, -1) },
        ),
        ("no features", m::BrokerRegistrationRequest { features: vec![], ..registration(2, 2, -1) }),
        ("another broker 1", registration(1, 9, -1)),
    ];
    for (what, request) in cases {
        let command = Command::RegisterBroker { request, former_self_is_dead: false, session_is_valid: true };
        let Reply::RegisterBroker(r) = w.run(what, command) else { panic!() };
        w.say(&format!("{}", ErrorCode::from_code(r.error_code).unwrap()));
    }
    insta::assert_snapshot!(w.transcript);
}

/// AlterPartitionReassignments, each partition for itself; nothing of it writes a record.
#[test]
fn reassignments_to_where_a_partition_is_change_nothing_and_others_are_refused() {
    use m::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
    let mut w = World::new();
    (1..=2).for_each(|b| w.broker(b));
    let mut t = topic("a", -1, -1);
    t.assignments =
        vec![CreatableReplicaAssignment { partition_index: 0, broker_ids: vec![1, 2], ..Default::default() }];
    w.create(t, 9);
    let cases: [(&str, i32, Option<&[i32]>, ErrorCode); 9] = [
        ("a", 0, Some(&[1, 2]), ErrorCode::None),
        ("a", 0, Some(&[2, 1]), ErrorCode::InvalidReplicaAssignment),
        ("a", 0, Some(&[2]), ErrorCode::InvalidReplicaAssignment),
        ("a", 0, Some(&[]), ErrorCode::InvalidReplicaAssignment),
        ("a", 0, Some(&[1, 1]), ErrorCode::InvalidReplicaAssignment),
        ("a", 0, Some(&[1, 7]), ErrorCode::InvalidReplicaAssignment),
        ("a", 0, None, ErrorCode::NoReassignmentInProgress),
        ("a", 1, Some(&[1]), ErrorCode::UnknownTopicOrPartition),
        ("b", 0, None, ErrorCode::UnknownTopicOrPartition),
    ];
    let topics = cases.iter().map(|(name, partition_index, replicas, _)| {
        let replicas = replicas.map(<[i32]>::to_vec);
        let partition = ReassignablePartition { partition_index: *partition_index, replicas, ..Default::default() };
        ReassignableTopic { name: (*name).into(), partitions: vec![partition], ..Default::default() }
    });
    let request = m::AlterPartitionReassignmentsRequest { topics: topics.collect(), ..Default::default() };
    let records = w.log.len();
    let Reply::AlterPartitionReassignments(r) = w.run("reassign", Command::AlterPartitionReassignments { request })
    else {
        panic!()
    };
    assert_eq!((r.error_code, r.responses.len(), w.log.len()), (0, cases.len(), records));
    for (topic, (name, index, replicas, code)) in r.responses.iter().zip(&cases) {
        let [p] = &topic.partitions[..] else { panic!("one partition") };
        assert_eq!((topic.name.as_str(), p.partition_index), (*name, *index));
        assert_eq!(ErrorCode::from_code(p.error_code), Some(*code), "{name}-{index} {replicas:?}");
        assert!(p.error_message.is_none() || *code != ErrorCode::None, "{name}-{index} {replicas:?}");
    }
}
