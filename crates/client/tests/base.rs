//! Connections, metadata and calls against a real broker.

mod support;

use std::time::Duration;

use logrun_client::{Call, Client, CoordinatorKey, Error, ErrorCode, NodeId, Target, TopicPartition};
use logrun_wire::ApiKey;
use logrun_wire::messages::create_topics_request::CreatableTopic;
use logrun_wire::messages::{CreateTopicsRequest, HeartbeatRequest, ListOffsetsRequest, MetadataRequest};

async fn create(client: &Client, name: &str, num_partitions: i32) {
    let topic = CreatableTopic { name: name.into(), num_partitions, replication_factor: 1, ..Default::default() };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
    let response = client.call(Target::Controller, request).await.expect("a response");
    assert_eq!(response.topics[0].error_code, 0, "{response:?}");
}

support::on_both!(finds_nodes_leaders_and_coordinators, |broker| async move {
    let client = Client::connect(&broker.config()).expect("a client");
    create(&client, "t", 3).await;
    let cluster = client.known_cluster().await.expect("metadata");
    assert_eq!(cluster.brokers.len(), 1);
    let topic = client.topic("t", false, None).await.expect("the topic");
    assert_eq!(topic.partitions.len(), 3);
    assert!(!topic.id.is_zero());
    let cluster = client.cluster();
    assert_eq!(cluster.leader("t", 2), Some(NodeId(1)));
    let leader = Target::Leader(TopicPartition::new("t", 1));
    client.call(leader, ListOffsetsRequest { replica_id: -1, ..Default::default() }).await.expect("offsets");
    let coordinator = client.coordinator(&CoordinatorKey::Group("g".into())).await;
    let group = CoordinatorKey::Group("g".into());
    let node = match coordinator {
        Ok(node) => node,
        // Kafka makes the topic of the offsets first.
        Err(e) => {
            assert_eq!(e.code(), Some(ErrorCode::CoordinatorNotAvailable));
            let check = |_, r: &logrun_wire::messages::HeartbeatResponse| match r.error_code {
                25 => Ok(()),
                code => logrun_client::check(code, None),
            };
            let request = HeartbeatRequest {
                group_id: "g".into(),
                generation_id: 1,
                member_id: "m".into(),
                ..Default::default()
            };
            client
                .call_with(Target::Coordinator(group.clone()), |_| Ok(request.clone()), check)
                .await
                .expect("an answer");
            client.coordinator(&group).await.expect("a coordinator")
        }
    };
    assert_eq!(node, NodeId(1));
    let any = client.any().await.expect("a connection");
    assert!(any.versions().of_api(ApiKey::Fetch).max >= 12);
    // Many at once, on one connection.
    let calls = (0..100).map(|_| client.call(Target::Any, MetadataRequest::default()));
    for r in futures_util::future::join_all(calls).await {
        r.expect("metadata");
    }
    let e = client.topic("no-such-topic", false, Some(Duration::from_secs(2))).await.unwrap_err();
    assert!(
        matches!(&e, Error::TimedOut { last: Some(l), .. } if l.code() == Some(ErrorCode::UnknownTopicOrPartition)),
        "{e}"
    );
});

support::on_both!(survives_a_restart, |mut broker| async move {
    let client = Client::connect(&broker.config().set("reconnect.backoff.max.ms", 100)).expect("a client");
    create(&client, "t", 1).await;
    broker.running.terminate(Duration::from_secs(30)).expect("ended");
    let call = Call::to(Target::Any).timeout(Some(Duration::from_millis(400)));
    let e = client.call(call, MetadataRequest::default()).await.unwrap_err();
    assert!(matches!(e, Error::TimedOut { .. }), "{e}");
    let (running, _) = broker.home.start(Duration::from_secs(60)).expect("a broker");
    broker.running = running;
    client.call(Target::Any, MetadataRequest::default()).await.expect("metadata");
    assert_eq!(client.topic("t", false, None).await.expect("the topic").partitions.len(), 1);
    drop(broker);
});

#[test]
fn nobody_there_is_said_in_a_sentence() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let config =
            logrun_client::Config::new("127.0.0.1:1").set("default.api.timeout.ms", 300).set("request.timeout.ms", 200);
        let client = Client::connect(&config).expect("a client");
        let e = client.known_cluster().await.unwrap_err();
        assert!(e.to_string().contains("can't connect to 127.0.0.1:1"), "{e}");
    });
}
