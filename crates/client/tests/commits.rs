//! A consumer's commits and committed offsets before a coordinator that is slow, silent or forgetful. In virtual time.

mod script;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use logrun_client::consumer::{CloseOptions, Consumer, OffsetAndMetadata};
use logrun_client::{Client, ClientKind, Config, Error, ErrorCode, TopicPartition};
use logrun_wire::ApiKey;
use logrun_wire::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use logrun_wire::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use logrun_wire::messages::{
    FindCoordinatorResponse, OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse,
};
use script::{Asked, Cluster};

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        tokio::time::timeout(Duration::from_secs(3600), test).await.expect("the test hangs");
    });
}

fn tp() -> TopicPartition {
    TopicPartition::new("t", 0)
}

fn at(offset: i64) -> BTreeMap<TopicPartition, OffsetAndMetadata> {
    BTreeMap::from([(tp(), OffsetAndMetadata::from(offset))])
}

/// The offsets that were asked to be committed, in order.
type Committed = Arc<Mutex<Vec<i64>>>;

fn coordinator(asked: &Asked) -> Option<Vec<Bytes>> {
    asked.answer(&FindCoordinatorResponse { node_id: 1, host: "127.0.0.1".into(), port: 9001, ..Default::default() })
}

/// A consumer in a group whose coordinator takes a second for each commit.
async fn consumer(silent: bool) -> (Cluster, Consumer, Committed) {
    let committed = Committed::default();
    let log = committed.clone();
    let cluster = Cluster::new(move |mut asked| match asked.api {
        ApiKey::FindCoordinator => coordinator(&asked),
        ApiKey::OffsetCommit => {
            let request: OffsetCommitRequest = asked.read();
            log.lock().expect("sound").push(request.topics[0].partitions[0].committed_offset);
            let topic = OffsetCommitResponseTopic {
                name: "t".into(),
                partitions: vec![OffsetCommitResponsePartition::default()],
                ..Default::default()
            };
            let response = OffsetCommitResponse { topics: vec![topic], ..Default::default() };
            asked.answer(&response).filter(|_| !silent)
        }
        _ => None,
    });
    *cluster.view.lock().expect("sound") = ([(1, 9001)].into(), 1);
    cluster.serves(ApiKey::FindCoordinator, 0, 3);
    cluster.serves(ApiKey::OffsetCommit, 2, 9);
    cluster.delays.lock().expect("sound").insert(ApiKey::OffsetCommit.code(), Duration::from_secs(1));
    drop(cluster.listen(1, 9001).await);
    let config = Config::new("127.0.0.1:9001")
        .set("group.id", "g")
        .set("enable.auto.commit", false)
        .set("default.api.timeout.ms", 5_000)
        .set("request.timeout.ms", 4_000);
    let client = Client::new(cluster.io.clone(), &config, ClientKind::Consumer).expect("a client");
    (cluster.clone(), Consumer::new(client, &config).expect("a consumer"), committed)
}

#[test]
fn commits_that_nobody_waits_for_do_not_pile_up_and_closing_waits_for_them() {
    run(async {
        let (cluster, consumer, committed) = consumer(false).await;
        consumer.assign([tp()]).expect("assigned");
        let heard = Arc::new(Mutex::new(Vec::new()));
        for n in 0..100 {
            let heard = heard.clone();
            let done = move |offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>, result: Result<(), Error>| {
                result.expect("committed");
                heard.lock().expect("sound").push(offsets[&tp()].offset.get());
            };
            consumer.commit_async(Some(at(n)), done).expect("taken");
            if n == 0 {
                // This one is under way then.
                cluster.io.clock.sleep(Duration::from_millis(500)).await;
            }
        }
        consumer.close(CloseOptions::default()).await.expect("closed");
        assert_eq!(*committed.lock().expect("sound"), [0, 99]);
        assert_eq!(*heard.lock().expect("sound"), (0..100).collect::<Vec<_>>());
    });
}

#[test]
fn a_commit_behind_another_ends_in_its_own_time() {
    run(async {
        let (cluster, consumer, _) = consumer(true).await;
        consumer.assign([tp()]).expect("assigned");
        let begun = cluster.io.clock.now();
        let (one, two) = (at(1), at(2));
        let (first, second) = tokio::join!(consumer.commit_sync_offsets(&one), consumer.commit_sync_offsets(&two));
        assert!(matches!(first.unwrap_err(), Error::TimedOut { .. }));
        assert!(matches!(second.unwrap_err(), Error::TimedOut { .. }));
        let took = cluster.io.clock.now().since(begun).as_millis();
        assert!((4_000..5_100).contains(&took), "{took}");
    });
}

/// The coordinator would take it: a group without members belongs to whoever commits.
#[test]
fn a_consumer_that_is_no_member_does_not_commit() {
    run(async {
        let (_cluster, consumer, committed) = consumer(false).await;
        consumer.subscribe(["t"]).expect("subscribed");
        let e = consumer.commit_sync_offsets(&at(1)).await.unwrap_err();
        assert_eq!(e.code(), Some(ErrorCode::UnknownMemberId));
        consumer.commit_async(Some(at(2)), |_, _| panic!("it isn't tried")).unwrap_err();
        assert!(committed.lock().expect("sound").is_empty());
    });
}

/// What is said of committed offsets: by the id that was asked with, though the picture has changed since.
#[test]
fn committed_offsets_are_those_of_what_was_asked() {
    for mentions in [true, false] {
        run(async {
            let cluster = Cluster::new(move |mut asked| match asked.api {
                ApiKey::FindCoordinator => coordinator(&asked),
                ApiKey::OffsetFetch => {
                    let request: OffsetFetchRequest = asked.read();
                    let topics = request.groups[0].topics.iter().flatten().filter(|_| mentions);
                    let topic = |t: &logrun_wire::messages::offset_fetch_request::OffsetFetchRequestTopics| {
                        let partition = OffsetFetchResponsePartitions { committed_offset: 7, ..Default::default() };
                        OffsetFetchResponseTopics {
                            topic_id: t.topic_id,
                            partitions: vec![partition],
                            ..Default::default()
                        }
                    };
                    let group = OffsetFetchResponseGroup {
                        group_id: "g".into(),
                        topics: topics.map(topic).collect(),
                        ..Default::default()
                    };
                    asked.answer(&OffsetFetchResponse { groups: vec![group], ..Default::default() })
                }
                _ => None,
            });
            *cluster.view.lock().expect("sound") = ([(1, 9001)].into(), 1);
            cluster.serves(ApiKey::FindCoordinator, 0, 3);
            cluster.serves(ApiKey::OffsetFetch, 8, 10);
            cluster.delays.lock().expect("sound").insert(ApiKey::OffsetFetch.code(), Duration::from_secs(2));
            drop(cluster.listen(1, 9001).await);
            let config = Config::new("127.0.0.1:9001").set("group.id", "g");
            let client = Client::new(cluster.io.clone(), &config, ClientKind::Consumer).expect("a client");
            client.topic("t", false, None).await.expect("known");
            let consumer = Consumer::new(client.clone(), &config).expect("a consumer");
            let forgets = async {
                cluster.io.clock.sleep(Duration::from_secs(1)).await;
                client.forget_topic("t");
                client.refresh().await.expect("metadata");
                assert!(client.cluster().topic("t").is_none());
            };
            let (committed, ()) = tokio::join!(consumer.committed([tp()]), forgets);
            match mentions {
                true => assert_eq!(committed.expect("an answer")[&tp()].offset.get(), 7),
                false => assert!(committed.unwrap_err().to_string().contains("doesn't mention t-0")),
            }
        });
    }
}
