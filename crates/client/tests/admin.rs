//! The admin client against real brokers.

mod support;

use std::collections::BTreeMap;

use logrun_client::admin::{
    AclFilter, Admin, AlterOp, ConfigAlteration, ConfigResource, ElectionType, GroupKind, NewPartitions, NewTopic,
    OffsetAndMetadata, OffsetSpec, ResourceType,
};
use logrun_client::{ErrorCode, NodeId, Str, TopicPartition};
use logrun_config::IsolationLevel;

fn code<T: std::fmt::Debug>(r: Option<&Result<T, logrun_client::Error>>) -> Option<ErrorCode> {
    match r.expect("an answer for it") {
        Ok(_) => None,
        Err(e) => Some(e.code().unwrap_or_else(|| panic!("{e}"))),
    }
}

support::on_both!(topics, |broker| async move {
    let admin = Admin::connect(&broker.config()).expect("a client");
    let topics = [NewTopic::new("a", 2).config("retention.ms", "1000"), NewTopic::new("b", 1)];
    let created = admin.create_topics(&topics, true).await.expect("checked");
    assert_eq!((code(created.get("a")), code(created.get("b"))), (None, None));
    assert!(admin.list_topics(false).await.expect("a list").is_empty());
    let created = admin.create_topics(&topics, false).await.expect("created");
    assert_eq!(created["a"].as_ref().expect("a").partitions, Some(2));
    let again = admin.create_topics(&topics, false).await.expect("an answer");
    assert_eq!(code(again.get("a")), Some(ErrorCode::TopicAlreadyExists));
    let names: Vec<Str> = admin.list_topics(false).await.expect("a list").into_iter().map(|t| t.name).collect();
    assert_eq!(names, ["a", "b"]);
    let more = BTreeMap::from([("b".into(), NewPartitions { total: 3, assignments: None })]);
    assert_eq!(code(admin.create_partitions(&more, false).await.expect("an answer").get("b")), None);
    // A broker follows the controller in its own time.
    let described = support::eventually(async || {
        let described = admin.describe_topics(&["a".into(), "b".into(), "c".into()], false).await.expect("topics");
        described["b"].as_ref().is_ok_and(|b| b.partitions.len() == 3).then_some(described)
    })
    .await;
    let b = described["b"].as_ref().expect("b");
    assert_eq!((b.partitions.len(), b.partitions[2].leader), (3, Some(NodeId(1))));
    assert_eq!(code(described.get("c")), Some(ErrorCode::UnknownTopicOrPartition));
    let by_id = admin.describe_topics_by_id(&[b.id], false).await.expect("topics");
    assert_eq!(by_id[&b.id].as_ref().expect("b").name, "b");
    assert_eq!(code(admin.delete_topics_by_id(&[b.id]).await.expect("an answer").get(&b.id)), None);
    let deleted = admin.delete_topics(&["a".into(), "c".into()]).await.expect("an answer");
    assert_eq!((code(deleted.get("a")), code(deleted.get("c"))), (None, Some(ErrorCode::UnknownTopicOrPartition)));
    drop(broker);
});

support::on_both!(configs, |broker| async move {
    let admin = Admin::connect(&broker.config()).expect("a client");
    admin.create_topics(&[NewTopic::new("a", 1)], false).await.expect("created");
    let a = ConfigResource::topic("a");
    let changes = vec![
        ConfigAlteration::set("retention.ms", "1234"),
        ConfigAlteration { name: "cleanup.policy".into(), op: AlterOp::Append, value: Some("compact".into()) },
    ];
    let bad = ConfigResource::topic("none");
    let changes = BTreeMap::from([(a.clone(), changes.clone()), (bad.clone(), changes)]);
    let altered = admin.incremental_alter_configs(&changes, false).await;
    assert_eq!(code(altered.get(&a)), None, "{altered:?}");
    assert_eq!(code(altered.get(&bad)), Some(ErrorCode::UnknownTopicOrPartition));
    let one = ConfigResource::broker(Some(NodeId(1)));
    let described = support::eventually(async || {
        let described = admin.describe_configs(&[a.clone(), one.clone()], true, true).await;
        let of_a = described[&a].as_ref().expect("configs");
        of_a.iter().any(|c| c.value.as_deref() == Some("1234")).then_some(described)
    })
    .await;
    let value = |r: &ConfigResource, name: &str| {
        let configs = described[r].as_ref().expect("configs");
        configs.iter().find(|c| c.name == name).and_then(|c| c.value.clone())
    };
    assert_eq!(value(&a, "retention.ms").expect("set"), "1234");
    assert_eq!(value(&a, "cleanup.policy").expect("set"), "delete,compact");
    assert_eq!(value(&one, "node.id").expect("there"), "1");
    let listed = admin.list_config_resources(&[ResourceType::Topic]).await.expect("a list");
    assert!(listed.contains(&a), "{listed:?}");
    drop(broker);
});

support::on_both!(groups_and_offsets, |broker| async move {
    let admin = Admin::connect(&broker.config()).expect("a client");
    admin.create_topics(&[NewTopic::new("a", 2)], false).await.expect("created");
    let group: Str = "g".into();
    let tp = |p| TopicPartition::new("a", p);
    let offset = OffsetAndMetadata { offset: 7, leader_epoch: None, metadata: "note".into() };
    let offsets = BTreeMap::from([(tp(0), offset.clone()), (tp(1), OffsetAndMetadata::of(3))]);
    let altered = admin.alter_group_offsets(&group, &offsets).await.expect("committed");
    assert_eq!((code(altered.get(&tp(0))), code(altered.get(&tp(1)))), (None, None));
    let listed = admin.list_group_offsets(&group, None, true).await.expect("offsets");
    assert_eq!(listed[&tp(0)], Ok(Some(offset)));
    let (groups, errors) = admin.list_groups(&[], &[]).await.expect("groups");
    assert!(errors.is_empty() && groups.len() == 1 && groups[0].group_id == "g", "{groups:?} {errors:?}");
    let described = admin.describe_consumer_groups(&[group.clone(), "none".into()], false).await;
    let g = described["g"].as_ref().expect("g");
    assert_eq!((g.kind, g.state.as_str(), g.members.len()), (GroupKind::Classic, "Empty", 0));
    assert_eq!(g.coordinator, Some(NodeId(1)));
    if let Ok(none) = &described["none"] {
        assert_eq!(none.state, "Dead");
    }
    let forgotten = admin.delete_group_offsets(&group, &[tp(1)]).await.expect("an answer");
    assert_eq!(code(forgotten.get(&tp(1))), None);
    let listed = admin.list_group_offsets(&group, Some(&[tp(0), tp(1)]), false).await.expect("offsets");
    assert_eq!(listed[&tp(1)], Ok(None));
    let deleted = admin.delete_groups(&[group.clone(), "none".into()]).await;
    assert_eq!((code(deleted.get("g")), code(deleted.get("none"))), (None, Some(ErrorCode::GroupIdNotFound)));

    let specs = [(tp(0), OffsetSpec::Latest), (tp(1), OffsetSpec::Earliest), (tp(9), OffsetSpec::Latest)];
    let quick = admin.within(std::time::Duration::from_millis(500));
    let found = quick.list_offsets(&BTreeMap::from(specs), IsolationLevel::ReadUncommitted).await;
    assert_eq!(found[&tp(0)].as_ref().expect("found").offset, Some(0));
    assert!(found[&tp(9)].is_err());
    let low = admin.delete_records(&BTreeMap::from([(tp(0), -1), (tp(1), 5)])).await;
    assert_eq!(low[&tp(0)], Ok(0));
    assert_eq!(code(low.get(&tp(1))), Some(ErrorCode::OffsetOutOfRange));
    drop(broker);
});

support::on_both!(the_cluster, |broker| async move {
    let admin = Admin::connect(&broker.config()).expect("a client");
    admin.create_topics(&[NewTopic::new("a", 1)], false).await.expect("created");
    let cluster = admin.describe_cluster(false, false).await.expect("the cluster");
    assert_eq!((cluster.nodes.len(), cluster.controller), (1, Some(NodeId(1))));
    let quorum = admin.describe_quorum().await.expect("the quorum");
    assert_eq!((quorum.leader_id, quorum.voters.len()), (NodeId(1), 1));
    let features = admin.describe_features(None).await.expect("features");
    assert!(features.finalized.contains_key("metadata.version") && features.supported.contains_key("metadata.version"));
    let a = TopicPartition::new("a", 0);
    support::eventually(async || {
        let dirs = admin.describe_log_dirs(None, None).await.expect("directories");
        let dirs = dirs[&NodeId(1)].as_ref().expect("broker 1");
        dirs.values().any(|d| d.as_ref().is_ok_and(|d| d.replicas.contains_key(&a))).then_some(())
    })
    .await;
    let elected =
        admin.elect_leaders(ElectionType::Preferred, Some(std::slice::from_ref(&a))).await.expect("an answer");
    assert_eq!(code(elected.get(&a)), Some(ErrorCode::ElectionNotNeeded));
    assert!(admin.list_partition_reassignments(None).await.expect("a list").is_empty());
    let producers = admin.describe_producers(std::slice::from_ref(&a), None).await;
    assert_eq!(producers[&a], Ok(Vec::new()));
    let versions = admin.api_versions().await.expect("versions");
    assert!(versions[&NodeId(1)].is_ok());
    drop(broker);
});

support::on_kafka!(what_logrun_does_not_serve_yet, |broker| async move {
    let admin = Admin::connect(&broker.config()).expect("a client");
    let e = admin.describe_acls(&AclFilter::ANY).await.unwrap_err();
    assert_eq!(e.code(), Some(ErrorCode::SecurityDisabled));
    assert!(admin.list_transactions(&[], &[], Some(0), None).await.expect("a list").is_empty());
    let fenced = admin.fence_producers(&["t".into()]).await;
    assert!(fenced["t"].is_ok(), "{fenced:?}");
    let described = admin.describe_transactions(&["t".into(), "none".into()]).await;
    assert_eq!(described["t"].as_ref().expect("t").state, "Empty");
    assert_eq!(code(described.get("none")), Some(ErrorCode::TransactionalIdNotFound));
    let entity = BTreeMap::from([("user".into(), Some("u".into()))]);
    let ops = BTreeMap::from([("producer_byte_rate".into(), Some(1000.0))]);
    let alteration = logrun_client::admin::QuotaAlteration { entity: entity.clone(), ops };
    assert_eq!(admin.alter_client_quotas(&[alteration], false).await.expect("an answer")[&entity], Ok(()));
    let expected = [(entity, BTreeMap::from([("producer_byte_rate".into(), 1000.0)]))];
    support::eventually(async || {
        let quotas = admin.describe_client_quotas(&[], false).await.expect("quotas");
        (quotas == expected).then_some(())
    })
    .await;
    drop(broker);
});
