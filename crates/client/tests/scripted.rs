//! What a real broker can't be made to do on demand: brokers that say nothing, that go away, that send readers elsewhere.
//! In virtual time.

mod script;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use logrun_client::consumer::Consumer;
use logrun_client::producer::{Producer, Record, RecordMetadata};
use logrun_client::{Client, ClientKind, Config, Error, Offset, Target, TopicPartition};
use logrun_model::TimestampMs;
use logrun_record::{BatchBuilder, Compression, CompressionType};
use logrun_wire::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use logrun_wire::messages::produce_response::{LeaderIdAndEpoch, PartitionProduceResponse, TopicProduceResponse};
use logrun_wire::messages::{
    FetchRequest, FetchResponse, InitProducerIdResponse, MetadataRequest, ProduceRequest, ProduceResponse,
};
use logrun_wire::{ApiKey, ErrorCode, Records};
use script::{Asked, Cluster};

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        tokio::time::timeout(Duration::from_secs(3600), test).await.expect("the test hangs");
    });
}

/// Gives a producer its id, and says nothing of what it produces.
fn says_nothing(asked: Asked) -> Option<Vec<Bytes>> {
    match asked.api {
        ApiKey::InitProducerId => {
            asked.answer(&InitProducerIdResponse { producer_id: 7, producer_epoch: 0, ..Default::default() })
        }
        _ => None,
    }
}

async fn one_node(handler: impl Fn(Asked) -> Option<Vec<Bytes>> + Send + Sync + 'static) -> Cluster {
    let cluster = Cluster::new(handler);
    *cluster.view.lock().expect("sound") = ([(1, 9001)].into(), 1);
    drop(cluster.listen(1, 9001).await);
    cluster
}

#[test]
fn a_record_is_given_up_after_delivery_timeout_ms() {
    run(async {
        let cluster = one_node(says_nothing).await;
        let config = Config::new("127.0.0.1:9001")
            .set("delivery.timeout.ms", 5_000)
            .set("request.timeout.ms", 1_500)
            .set("linger.ms", 0);
        let producer = Producer::new(cluster.io.clone(), &config).expect("a producer");
        let begun = cluster.io.clock.now();
        let delivery = producer.send(Record::to("t").value("v")).await.expect("taken");
        let e = delivery.await.unwrap_err();
        let took = cluster.io.clock.now().since(begun);
        assert!(matches!(e, Error::TimedOut { .. }), "{e}");
        assert!(e.to_string().starts_with("delivery to t-0 took longer than"), "{e}");
        // A request under way is waited for.
        assert!((5_000..7_000).contains(&took.as_millis()), "{took:?}");
    });
}

#[test]
fn memory_that_does_not_come_free_is_waited_for_max_block_ms() {
    run(async {
        let cluster = one_node(says_nothing).await;
        let config =
            Config::new("127.0.0.1:9001").set("buffer.memory", 40_000).set("max.block.ms", 700).set("linger.ms", 0);
        let producer = Producer::new(cluster.io.clone(), &config).expect("a producer");
        let value = [b'x'; 16_000];
        for _ in 0..2 {
            drop(producer.send(Record::to("t").value(&value)).await.expect("taken"));
        }
        assert!(producer.try_send(Record::to("t").value(&value)).expect("not yet").is_none());
        let begun = cluster.io.clock.now();
        let e = producer.send(Record::to("t").value(&value)).await.unwrap_err();
        assert!(e.to_string().starts_with("waiting for buffer.memory took longer than 700 ms"), "{e}");
        assert_eq!(cluster.io.clock.now().since(begun).as_millis(), 700);
    });
}

#[test]
fn a_callback_may_use_the_producer() {
    run(async {
        let cluster = one_node(|mut asked| match asked.api {
            ApiKey::Produce => {
                let request: ProduceRequest = asked.read();
                let topics = request.topic_data.iter().map(|t| TopicProduceResponse {
                    name: t.name.clone(),
                    partition_responses: vec![PartitionProduceResponse { base_offset: 5, ..Default::default() }],
                    ..Default::default()
                });
                asked.answer(&ProduceResponse { responses: topics.collect(), ..Default::default() })
            }
            _ => says_nothing(asked),
        })
        .await;
        let producer = Producer::new(cluster.io.clone(), &Config::new("127.0.0.1:9001")).expect("a producer");
        let (again, heard) = (producer.clone(), Arc::new(Mutex::new(Vec::new())));
        let (first, second) = (heard.clone(), heard.clone());
        let delivered = move |result: Result<RecordMetadata, Error>| {
            first.lock().expect("sound").push(result.expect("written").offset);
            let delivery = again.try_send(Record::to("t").value("more")).expect("taken").expect("at once");
            tokio::spawn(async move {
                let written = delivery.await.expect("written");
                second.lock().expect("sound").push(written.offset);
            });
        };
        producer.send_with(Record::to("t").value("v"), delivered).await.expect("taken");
        producer.flush().await;
        // Whoever has flushed finds the callbacks done.
        assert_eq!(heard.lock().expect("sound").first(), Some(&Some(5)));
        producer.flush().await;
        while heard.lock().expect("sound").len() < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(*heard.lock().expect("sound"), [Some(5), Some(5)]);
        producer.close().await;
    });
}

/// Takes whatever is produced, named as it was named.
fn takes(mut asked: Asked) -> Option<Vec<Bytes>> {
    if asked.api != ApiKey::Produce {
        return says_nothing(asked);
    }
    let request: ProduceRequest = asked.read();
    let topics = request.topic_data.iter().map(|t| TopicProduceResponse {
        name: t.name.clone(),
        topic_id: t.topic_id,
        partition_responses: vec![PartitionProduceResponse { base_offset: 5, ..Default::default() }],
        ..Default::default()
    });
    asked.answer(&ProduceResponse { responses: topics.collect(), ..Default::default() })
}

#[test]
fn a_topic_that_is_written_to_is_not_forgotten() {
    run(async {
        let cluster = one_node(takes).await;
        let config = Config::new("127.0.0.1:9001")
            .set("metadata.max.age.ms", 10_000)
            .set("metadata.max.idle.ms", 10_000)
            .set("linger.ms", 0);
        let producer = Producer::new(cluster.io.clone(), &config).expect("a producer");
        let knows = || producer.client().cluster().topic("t").is_some();
        for _ in 0..60 {
            producer.send(Record::to("t").value("v")).await.expect("taken").await.expect("written");
            assert!(knows());
            cluster.io.clock.sleep(Duration::from_secs(1)).await;
        }
        // Without a record it is.
        cluster.io.clock.sleep(Duration::from_secs(25)).await;
        assert!(!knows());
        producer.send(Record::to("t").value("v")).await.expect("taken").await.expect("written");
    });
}

#[test]
fn an_answer_counts_though_its_topic_was_forgotten_meanwhile() {
    run(async {
        let cluster = one_node(takes).await;
        cluster.serves(ApiKey::Produce, 3, 13);
        cluster.delays.lock().expect("sound").insert(ApiKey::Produce.code(), Duration::from_secs(2));
        let config = Config::new("127.0.0.1:9001").set("linger.ms", 0);
        let producer = Producer::new(cluster.io.clone(), &config).expect("a producer");
        let delivery = producer.send(Record::to("t").value("v")).await.expect("taken");
        cluster.io.clock.sleep(Duration::from_secs(1)).await;
        producer.client().forget_topic("t");
        producer.client().refresh().await.expect("metadata");
        assert!(producer.client().cluster().topic("t").is_none());
        assert_eq!(delivery.await.expect("written").offset, Some(5));
    });
}

#[test]
fn without_acknowledgements_memory_comes_free_as_requests_are_written() {
    run(async {
        let seen = Arc::new(Mutex::new(0));
        let count = seen.clone();
        let cluster = one_node(move |asked| {
            *count.lock().expect("sound") += 1;
            says_nothing(asked)
        })
        .await;
        // A broker that is slow to read.
        cluster.delays.lock().expect("sound").insert(ApiKey::Produce.code(), Duration::from_secs(1));
        let config = Config::new("127.0.0.1:9001")
            .set("acks", "0")
            .set("enable.idempotence", "false")
            .set("buffer.memory", 400_000)
            .set("batch.size", 100_000)
            .set("max.block.ms", 20_000)
            .set("linger.ms", 0);
        let producer = Producer::new(cluster.io.clone(), &config).expect("a producer");
        let value = [b'x'; 100_000];
        let begun = cluster.io.clock.now();
        for _ in 0..40 {
            drop(producer.send(Record::to("t").value(&value)).await.expect("taken"));
        }
        // More than the memory and what the network holds: the last ones had to wait for the broker to read.
        let took = cluster.io.clock.now().since(begun);
        assert!(took.as_secs() >= 10, "{took:?}");
        // What is written when the producer is closed arrives, though nobody has the connection any more.
        producer.close().await;
        drop(producer);
        cluster.io.clock.sleep(Duration::from_secs(60)).await;
        assert_eq!(*seen.lock().expect("sound"), 40);
    });
}

#[test]
fn a_leader_that_is_named_again_and_again_is_not_asked_without_a_pause() {
    run(async {
        let asked = Arc::new(Mutex::new(0));
        let count = asked.clone();
        let cluster = one_node(move |mut asked| {
            if asked.api != ApiKey::Produce {
                return says_nothing(asked);
            }
            *count.lock().expect("sound") += 1;
            let request: ProduceRequest = asked.read();
            // The leader that the metadata names already.
            let current_leader = LeaderIdAndEpoch { leader_id: 1, leader_epoch: 1, ..Default::default() };
            let code = ErrorCode::NotLeaderOrFollower.code();
            let partition = PartitionProduceResponse { error_code: code, current_leader, ..Default::default() };
            let topics = request.topic_data.iter().map(|t| TopicProduceResponse {
                name: t.name.clone(),
                partition_responses: vec![partition.clone()],
                ..Default::default()
            });
            asked.answer(&ProduceResponse { responses: topics.collect(), ..Default::default() })
        })
        .await;
        let config = Config::new("127.0.0.1:9001")
            .set("linger.ms", 0)
            .set("request.timeout.ms", 1_000)
            .set("delivery.timeout.ms", 1_000);
        let producer = Producer::new(cluster.io.clone(), &config).expect("a producer");
        let delivery = producer.send(Record::to("t").value("v")).await.expect("taken");
        delivery.await.expect_err("never written");
        let asked = *asked.lock().expect("sound");
        assert!((2..20).contains(&asked), "{asked}");
    });
}

#[test]
fn what_is_under_way_when_time_is_up_is_not_sent_again() {
    run(async {
        let asked = Arc::new(Mutex::new(0));
        let count = asked.clone();
        let cluster = one_node(move |asked| {
            *count.lock().expect("sound") += i32::from(asked.api == ApiKey::Produce);
            says_nothing(asked)
        })
        .await;
        let config = Config::new("127.0.0.1:9001").set("linger.ms", 0).set("request.timeout.ms", 2_000);
        let producer = Producer::new(cluster.io.clone(), &config).expect("a producer");
        let delivery = producer.send(Record::to("t").value("v")).await.expect("taken");
        producer.close_within(Duration::from_secs(1)).await;
        let begun = cluster.io.clock.now();
        delivery.await.expect_err("given up");
        assert!(cluster.io.clock.now().since(begun).as_secs() < 2);
        assert_eq!(*asked.lock().expect("sound"), 1);
    });
}

/// The cluster moves: nothing answers any more but the bootstrap address, where another node listens now.
async fn moved(strategy: &str) -> Result<(), Error> {
    let cluster = Cluster::new(|_| None);
    *cluster.view.lock().expect("sound") = ([(1, 9002)].into(), 1);
    let old = [cluster.listen(1, 9001).await, cluster.listen(1, 9002).await];
    let config = Config::new("127.0.0.1:9001")
        .set("metadata.recovery.strategy", strategy)
        .set("metadata.recovery.rebootstrap.trigger.ms", 2_000)
        .set("default.api.timeout.ms", 20_000);
    let client = Client::new(cluster.io.clone(), &config, ClientKind::Admin).expect("a client");
    client.topic("t", false, None).await.expect("the topic");
    assert_eq!(client.cluster().leader("t", 0).map(|n| n.0), Some(1));
    // The connection of the beginning is closed when it is idle; here at once.
    for node in old {
        node.die().await;
    }
    *cluster.view.lock().expect("sound") = ([(8, 9003)].into(), 8);
    let _new = [cluster.listen(8, 9001).await, cluster.listen(8, 9003).await];
    client.call(Target::Any, MetadataRequest { topics: Some(Vec::new()), ..Default::default() }).await?;
    let leader = Target::Leader(TopicPartition::new("t", 0));
    client.refresh().await?;
    client.call(leader, MetadataRequest { topics: Some(Vec::new()), ..Default::default() }).await.map(drop)
}

#[test]
fn a_cluster_that_has_moved_is_found_at_the_bootstrap_servers() {
    run(async { moved("rebootstrap").await.expect("found") });
}

#[test]
fn a_cluster_that_has_moved_is_lost_to_whom_may_not_begin_again() {
    run(async {
        let e = moved("none").await.unwrap_err();
        assert!(matches!(e, Error::TimedOut { .. }), "{e}");
    });
}

#[test]
fn a_broker_can_tell_a_client_to_begin_again() {
    run(async {
        let cluster = Cluster::new(|_| None);
        *cluster.view.lock().expect("sound") = ([(1, 9002)].into(), 1);
        let old = cluster.listen(1, 9001).await;
        let _alive = cluster.listen(1, 9002).await;
        let config = Config::new("127.0.0.1:9001").set("default.api.timeout.ms", 20_000);
        let client = Client::new(cluster.io.clone(), &config, ClientKind::Admin).expect("a client");
        client.topic("t", false, None).await.expect("the topic");
        old.die().await;
        cluster.rebootstrap.lock().expect("sound").push(1);
        *cluster.view.lock().expect("sound") = ([(8, 9003)].into(), 8);
        let _new = [cluster.listen(8, 9001).await, cluster.listen(8, 9003).await];
        // The old node lives and would answer; it says that this isn't the cluster any more.
        while client.cluster().leader("t", 0).map(|n| n.0) != Some(8) {
            drop(client.refresh().await);
            cluster.io.clock.sleep(Duration::from_millis(200)).await;
        }
    });
}

#[test]
fn a_position_that_nobody_tells_is_waited_for_in_peace() {
    run(async {
        let cluster = one_node(|_| None).await;
        let config =
            Config::new("127.0.0.1:9001").set("default.api.timeout.ms", 5_000).set("request.timeout.ms", 1_500);
        let client = Client::new(cluster.io.clone(), &config, ClientKind::Consumer).expect("a client");
        let consumer = Consumer::new(client, &config).expect("a consumer");
        let tp = TopicPartition::new("t", 0);
        consumer.assign([tp.clone()]).expect("assigned");
        let begun = cluster.io.clock.now();
        let e = consumer.position(&tp).await.unwrap_err();
        assert!(matches!(e, Error::TimedOut { .. }), "{e}");
        // If one side only woke the other, virtual time would stand still.
        let took = cluster.io.clock.now().since(begun);
        assert!((5_000..5_100).contains(&took.as_millis()), "{took:?}");
    });
}

/// A consumer of a topic whose records nobody gives.
async fn reader() -> (Cluster, Consumer) {
    let cluster = one_node(|_| None).await;
    let config = Config::new("127.0.0.1:9001").set("default.api.timeout.ms", 5_000).set("request.timeout.ms", 1_500);
    let client = Client::new(cluster.io.clone(), &config, ClientKind::Consumer).expect("a client");
    let consumer = Consumer::new(client, &config).expect("a consumer");
    (cluster, consumer)
}

#[test]
fn a_consumer_that_was_unsubscribed_waits_in_peace_for_what_it_is_assigned_then() {
    run(async {
        let (cluster, consumer) = reader().await;
        let tp = TopicPartition::new("t", 0);
        consumer.assign([tp.clone()]).expect("assigned");
        consumer.unsubscribe().await.expect("unsubscribed");
        consumer.assign([tp.clone()]).expect("assigned");
        consumer.seek(&tp, Offset(0)).expect("sought");
        let begun = cluster.io.clock.now();
        assert!(consumer.poll(Duration::from_secs(3)).await.expect("nothing").is_empty());
        assert_eq!(cluster.io.clock.now().since(begun).as_secs(), 3);
        // One that is under way when the consumer is unsubscribed, too.
        let during = async {
            cluster.io.clock.sleep(Duration::from_secs(1)).await;
            consumer.unsubscribe().await.expect("unsubscribed");
        };
        let (polled, ()) = tokio::join!(consumer.poll(Duration::from_secs(3)), during);
        assert!(polled.expect("nothing").is_empty());
        assert_eq!(cluster.io.clock.now().since(begun).as_secs(), 6);
    });
}

#[test]
fn a_position_and_a_poll_wait_side_by_side() {
    run(async {
        let (cluster, consumer) = reader().await;
        let tp = TopicPartition::new("t", 0);
        consumer.assign([tp.clone()]).expect("assigned");
        let begun = cluster.io.clock.now();
        let (position, polled) = tokio::join!(consumer.position(&tp), consumer.poll(Duration::from_secs(9)));
        position.expect_err("nobody tells it");
        assert!(polled.expect("nothing").is_empty());
        assert_eq!(cluster.io.clock.now().since(begun).as_secs(), 9);
    });
}

#[test]
fn a_poll_may_wait_for_ever() {
    run(async {
        let (cluster, consumer) = reader().await;
        consumer.assign([TopicPartition::new("t", 0)]).expect("assigned");
        let waker = consumer.waker();
        let wake = async {
            cluster.io.clock.sleep(Duration::from_secs(100)).await;
            waker.wake();
        };
        let (polled, ()) = tokio::join!(consumer.poll(Duration::MAX), wake);
        assert!(matches!(polled.unwrap_err(), Error::Woken));
    });
}

#[test]
fn a_reader_goes_to_the_replica_that_the_leader_names() {
    run(async {
        let asked_of = Arc::new(Mutex::new(Vec::new()));
        let log = asked_of.clone();
        let cluster = Cluster::new(move |mut asked| {
            if asked.api != ApiKey::Fetch {
                return None;
            }
            let request: FetchRequest = asked.read();
            log.lock().expect("sound").push((asked.node, request.rack_id.to_string()));
            let from = request.topics.first().and_then(|t| t.partitions.first()).map(|p| p.fetch_offset);
            let mut data = PartitionData { high_watermark: 3, last_stable_offset: 3, ..Default::default() };
            match (asked.node, from) {
                // The leader has no time for readers elsewhere.
                (1, Some(_)) => data.preferred_read_replica = 2,
                (2, Some(from @ 0..3)) => {
                    let mut batch = BatchBuilder::new(Compression::of(CompressionType::None)).base_offset(Offset(from));
                    for n in from..3 {
                        let value = format!("v{n}");
                        batch.append(TimestampMs(1), None, Some(value.as_bytes()), &[]).expect("fits");
                    }
                    data.records = Some(Records::from(vec![batch.build().expect("a batch").bytes]));
                }
                // Nothing new: as a broker that waits.
                _ => return None,
            }
            let topic = FetchableTopicResponse { topic: "t".into(), partitions: vec![data], ..Default::default() };
            asked.answer(&FetchResponse { responses: vec![topic], ..Default::default() })
        });
        *cluster.view.lock().expect("sound") = ([(1, 9001), (2, 9002)].into(), 1);
        let _nodes = [cluster.listen(1, 9001).await, cluster.listen(2, 9002).await];
        let config = Config::new("127.0.0.1:9001").set("client.rack", "b");
        let client = Client::new(cluster.io.clone(), &config, ClientKind::Consumer).expect("a client");
        let consumer = Consumer::new(client, &config).expect("a consumer");
        let tp = TopicPartition::new("t", 0);
        consumer.assign([tp.clone()]).expect("assigned");
        consumer.seek(&tp, Offset(0)).expect("sought");
        let mut found = Vec::new();
        while found.len() < 3 {
            let records = consumer.poll(Duration::from_secs(5)).await.expect("records");
            found.extend(records.iter().map(|r| String::from_utf8_lossy(r.value().unwrap_or_default()).into_owned()));
        }
        assert_eq!(found, ["v0", "v1", "v2"]);
        let asked_of = asked_of.lock().expect("sound").clone();
        assert_eq!(asked_of[..2], [(1, "b".to_owned()), (2, "b".to_owned())], "{asked_of:?}");
        assert!(asked_of[2..].iter().all(|(node, _)| *node == 2), "{asked_of:?}");
    });
}

/// A broker that has started again knows the last batch of a producer only, and refuses the repeated one before it. As
/// Apache Kafka's producer (KIP-360, `TransactionManager.canRetry` of 4.3.1) ours goes on under the next epoch: nothing fails.
#[test]
fn a_broker_that_has_forgotten_a_number_gets_the_batch_under_the_next_epoch() {
    run(async {
        let transcript = Arc::new(Mutex::new(Vec::new()));
        let log = transcript.clone();
        let cluster = one_node(move |mut asked| {
            if asked.api != ApiKey::Produce {
                return says_nothing(asked);
            }
            let request: ProduceRequest = asked.read();
            let records = request.topic_data[0].partition_data[0].records.clone().expect("records").into_bytes();
            let batch = logrun_record::split_batches(records).next().expect("one").expect("a batch");
            let mut log = log.lock().expect("sound");
            let (number, header) = (log.len(), batch.header);
            let (error_code, said) = match number {
                1 => (0, "silence"),
                2 => (45, "OUT_OF_ORDER_SEQUENCE_NUMBER"),
                _ => (0, "written"),
            };
            log.push(format!("{}/{}: {said}", header.producer_epoch, header.base_sequence));
            if said == "silence" {
                return None;
            }
            let partition = PartitionProduceResponse { error_code, ..Default::default() };
            let topic =
                TopicProduceResponse { name: "t".into(), partition_responses: vec![partition], ..Default::default() };
            asked.answer(&ProduceResponse { responses: vec![topic], ..Default::default() })
        })
        .await;
        let config = Config::new("127.0.0.1:9001").set("request.timeout.ms", 1_500).set("linger.ms", 0);
        let producer = Producer::new(cluster.io.clone(), &config).expect("a producer");
        for value in ["a", "b", "c"] {
            let delivery = producer.send(Record::to("t").value(value)).await.expect("taken");
            delivery.await.expect("written");
        }
        let transcript = transcript.lock().expect("sound").clone();
        let expected =
            ["0/0: written", "0/1: silence", "0/1: OUT_OF_ORDER_SEQUENCE_NUMBER", "1/0: written", "1/1: written"];
        assert_eq!(transcript, expected);
        producer.close().await;
    });
}
