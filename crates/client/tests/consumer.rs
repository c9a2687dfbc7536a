//! The consumer against real brokers: alone and in groups, with its offsets, its positions and its listener.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use logrun_client::consumer::{
    CloseOptions, Consumer, GroupMembershipOperation, OffsetAndMetadata, RebalanceListener, TopicPattern,
};
use logrun_client::{
    Call, Client, ClientKind, Config, CoordinatorKey, Error, ErrorCode, Offset, Target, TopicPartition,
};
use logrun_io::Io;
use logrun_model::{ProducerEpoch, ProducerId, Sequence, TimestampMs};
use logrun_record::{BatchBuilder, Compression, CompressionType};
use logrun_wire::messages::create_topics_request::CreatableTopic;
use logrun_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use logrun_wire::messages::{CreateTopicsRequest, EndTxnRequest, InitProducerIdRequest, ProduceRequest};
use parking_lot::Mutex;

const WAIT: Duration = Duration::from_secs(20);

async fn create(client: &Client, name: &str, num_partitions: i32) {
    let topic = CreatableTopic { name: name.into(), num_partitions, replication_factor: 1, ..Default::default() };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
    let response = client.call(Target::Controller, request).await.expect("a response");
    assert_eq!(response.topics[0].error_code, 0, "{response:?}");
    client.topic(name, false, None).await.expect("the topic");
}

/// Writes records `key=value` with times 1000, 1001, …; the values are `PREFIX` and a number.
async fn write(client: &Client, tp: &TopicPartition, codec: CompressionType, prefix: &str, count: usize) {
    let mut batch = BatchBuilder::new(Compression::of(codec));
    for n in 0..count {
        let value = format!("{prefix}{n}");
        let time = TimestampMs(1000 + n as i64);
        batch.append(time, Some(b"k"), Some(value.as_bytes()), &[(b"h", Some(b"v")), (b"h", None)]).expect("room");
    }
    let data = PartitionProduceData {
        index: tp.partition,
        records: Some(batch.build().expect("a batch").bytes.into()),
        ..Default::default()
    };
    let id = client.topic(&tp.topic, false, None).await.expect("the topic").id;
    let topic =
        TopicProduceData { name: tp.topic.clone(), topic_id: id, partition_data: vec![data], ..Default::default() };
    let request = ProduceRequest { acks: -1, timeout_ms: 10_000, topic_data: vec![topic], ..Default::default() };
    // Just after a topic was made its leader may not know that it is one.
    let check = |_, r: &logrun_wire::messages::ProduceResponse| {
        logrun_client::check(r.responses[0].partition_responses[0].error_code, None)
    };
    client.call_with(Target::Leader(tp.clone()), |_| Ok(request.clone()), check).await.expect("a response");
}

fn tp(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

fn consumer(config: &Config) -> Consumer {
    let client = Client::new(Io::real(), config, ClientKind::Consumer).expect("a client");
    Consumer::new(client, config).expect("a consumer")
}

/// Polls until there are `count` values.
async fn read(consumer: &Consumer, count: usize) -> Vec<String> {
    let mut values = Vec::new();
    let clock = consumer.client().io().clock.clone();
    let end = clock.now().plus(WAIT);
    while values.len() < count && clock.now() < end {
        for r in &consumer.poll(Duration::from_millis(200)).await.expect("a poll") {
            values.push(String::from_utf8_lossy(r.value().unwrap_or_default()).into_owned());
        }
    }
    values
}

fn numbered(prefix: &str, range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("{prefix}{n}")).collect()
}

support::on_both!(reads_what_it_is_assigned, |broker| async move {
    let config = broker.config().set("auto.offset.reset", "earliest").set("max.poll.records", 7);
    let c = consumer(&config);
    let client = c.client().clone();
    create(&client, "t", 2).await;
    for codec in CompressionType::ALL {
        write(&client, &tp("t", 0), codec, codec.name(), 10).await;
    }
    c.assign([tp("t", 0)]).expect("assigned");
    let expected: Vec<String> = CompressionType::ALL.iter().flat_map(|c| numbered(c.name(), 0..10)).collect();
    assert_eq!(read(&c, 50).await, expected);
    assert_eq!(c.position(&tp("t", 0)).await, Ok(Offset(50)));
    assert_eq!(c.current_lag(&tp("t", 0)), Some(0));

    // Seeking, into a batch and by time.
    c.seek(&tp("t", 0), 45).expect("assigned");
    assert_eq!(read(&c, 5).await, numbered("zstd", 5..10));
    let found = c.offsets_for_times([(tp("t", 0), TimestampMs(1009)), (tp("t", 1), TimestampMs(0))]).await.unwrap();
    assert_eq!(found[&tp("t", 0)].map(|o| (o.offset, o.timestamp)), Some((Offset(9), TimestampMs(1009))));
    assert_eq!(found[&tp("t", 1)], None);
    c.seek_to_beginning([]).unwrap();
    c.pause(&[tp("t", 0)]).unwrap();
    assert!(c.poll(Duration::from_millis(300)).await.unwrap().is_empty(), "paused");
    c.resume(&[tp("t", 0)]).unwrap();
    let records = loop {
        let records = c.poll(WAIT).await.unwrap();
        if !records.is_empty() {
            break records;
        }
    };
    assert_eq!(records.len(), 7, "max.poll.records");
    let first = records.iter().next().unwrap();
    assert_eq!((first.offset(), first.timestamp(), first.key()), (Offset(0), TimestampMs(1000), Some(&b"k"[..])));
    let headers: Vec<_> = first.headers().collect();
    assert_eq!(headers, [(&b"h"[..], Some(&b"v"[..])), (&b"h"[..], None)]);
    assert_eq!(first.to_owned(), first.to_shared());

    // Ends, and reading from one.
    assert_eq!(c.beginning_offsets([tp("t", 0)]).await.unwrap()[&tp("t", 0)], Offset(0));
    assert_eq!(c.end_offsets([tp("t", 0), tp("t", 1)]).await.unwrap()[&tp("t", 0)], Offset(50));
    c.seek_to_end([]).unwrap();
    assert_eq!(c.position(&tp("t", 0)).await, Ok(Offset(50)));
    write(&client, &tp("t", 0), CompressionType::None, "new", 1).await;
    assert_eq!(read(&c, 1).await, ["new0"]);

    // An offset that is not there: the policy, or an error.
    c.seek(&tp("t", 0), 1000).unwrap();
    assert_eq!(read(&c, 51).await.len(), 51);
    let strict = consumer(&broker.config().set("auto.offset.reset", "none"));
    strict.assign([tp("t", 0)]).unwrap();
    strict.seek(&tp("t", 0), 1000).unwrap();
    let e = strict.poll(WAIT).await.unwrap_err();
    assert_eq!(e.code(), Some(ErrorCode::OffsetOutOfRange), "{e}");
    // From a time on (KIP-1106): all of it is older.
    let young = consumer(&broker.config().set("auto.offset.reset", "by_duration:PT1H"));
    young.assign([tp("t", 0)]).unwrap();
    assert_eq!(young.position(&tp("t", 0)).await, Ok(Offset(51)));

    // Waking, and calls that make no sense.
    let waker = strict.waker();
    waker.wake();
    assert_eq!(strict.poll(WAIT).await.unwrap_err(), Error::Woken);
    assert!(matches!(strict.subscribe(["t"]), Err(Error::Invalid(_))));
    assert!(matches!(strict.seek(&tp("x", 0), 0), Err(Error::Invalid(_))));
    c.close(CloseOptions::default()).await.unwrap();
});

/// Writes down what it is told.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    fn note(&self, what: &str, list: &[TopicPartition]) {
        let list: Vec<String> = list.iter().map(ToString::to_string).collect();
        self.0.lock().push(format!("{what} {}", list.join(",")));
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock())
    }
}

impl RebalanceListener for Diary {
    fn on_revoked<'a>(&'a self, _: &'a Consumer, partitions: &'a [TopicPartition]) -> BoxFuture<'a, ()> {
        self.note("revoked", partitions);
        Box::pin(std::future::ready(()))
    }

    fn on_lost<'a>(&'a self, _: &'a Consumer, partitions: &'a [TopicPartition]) -> BoxFuture<'a, ()> {
        self.note("lost", partitions);
        Box::pin(std::future::ready(()))
    }

    fn on_assigned<'a>(&'a self, _: &'a Consumer, partitions: &'a [TopicPartition]) -> BoxFuture<'a, ()> {
        self.note("assigned", partitions);
        Box::pin(std::future::ready(()))
    }
}

/// Polls all until each has as many partitions as is said; gives what was read on the way.
async fn settle(consumers: &[(&Consumer, usize)]) -> Vec<String> {
    let mut values = Vec::new();
    let clock = consumers[0].0.client().io().clock.clone();
    let end = clock.now().plus(WAIT);
    loop {
        for (c, _) in consumers {
            let records = c.poll(Duration::from_millis(20)).await.expect("a poll");
            values.extend(records.iter().map(|r| String::from_utf8_lossy(r.value().unwrap_or_default()).into_owned()));
        }
        if consumers.iter().all(|(c, n)| c.assignment().len() == *n) {
            return values;
        }
        let has: Vec<_> = consumers.iter().map(|(c, _)| c.assignment()).collect();
        assert!(clock.now() < end, "the group does not settle: {has:?}");
    }
}

async fn shares_takes_over_and_resumes(base: Config, name: &str, cooperative: bool) {
    let config = base.set("group.id", name).set("auto.offset.reset", "earliest").set("auto.commit.interval.ms", 100);
    let topic = format!("topic-{name}");
    let a = consumer(&config);
    create(a.client(), &topic, 4).await;
    let diary = Diary::default();
    a.subscribe_with([topic.as_str()], diary.clone()).unwrap();
    settle(&[(&a, 4)]).await;
    let all: Vec<String> = (0..4).map(|p| format!("{topic}-{p}")).collect();
    assert_eq!(diary.take().last(), Some(&format!("assigned {}", all.join(","))));
    for p in 0..4 {
        write(a.client(), &tp(&topic, p), CompressionType::None, "a", 10).await;
    }
    assert_eq!(read(&a, 40).await.len(), 40);

    let b = consumer(&config);
    b.subscribe([topic.as_str()]).unwrap();
    settle(&[(&a, 2), (&b, 2)]).await;
    let both: BTreeSet<_> = a.assignment().union(&b.assignment()).cloned().collect();
    assert_eq!(both.len(), 4);
    let told = diary.take();
    if cooperative {
        // What stays is never taken away.
        assert!(told.iter().filter(|t| t.starts_with("revoked")).all(|t| t.matches(',').count() == 1), "{told:?}");
    }
    assert!(told.iter().any(|t| t.starts_with("revoked")), "{told:?}");

    // What was read is committed: nothing comes twice.
    for p in 0..4 {
        write(a.client(), &tp(&topic, p), CompressionType::None, "b", 5).await;
    }
    let (mut of_a, mut of_b) = (Vec::new(), Vec::new());
    while of_a.len() + of_b.len() < 20 {
        let values = |r: logrun_client::consumer::Records| {
            r.iter().map(|r| String::from_utf8_lossy(r.value().unwrap()).into_owned()).collect::<Vec<_>>()
        };
        of_a.extend(values(a.poll(Duration::from_millis(50)).await.unwrap()));
        of_b.extend(values(b.poll(Duration::from_millis(50)).await.unwrap()));
    }
    assert_eq!((of_a.len(), of_b.len()), (10, 10));
    assert!(of_a.iter().chain(&of_b).all(|v| v.starts_with('b')));

    // One goes: the other takes over where it was.
    b.close(CloseOptions::default()).await.unwrap();
    settle(&[(&a, 4)]).await;
    for p in 0..4 {
        write(a.client(), &tp(&topic, p), CompressionType::None, "c", 1).await;
    }
    assert_eq!(read(&a, 4).await, ["c0"; 4]);
    a.unsubscribe().await.unwrap();
    assert!(diary.take().last().unwrap().starts_with("revoked"));
    a.close(CloseOptions::default()).await.unwrap();

    // A new one resumes.
    let c = consumer(&config);
    c.subscribe([topic.as_str()]).unwrap();
    settle(&[(&c, 4)]).await;
    let committed = c.committed((0..4).map(|p| tp(&topic, p))).await.unwrap();
    assert!(committed.values().all(|o| o.offset <= Offset(16)), "{committed:?}");
    write(c.client(), &tp(&topic, 0), CompressionType::None, "d", 1).await;
    let values = read(&c, 1).await;
    assert!(values.iter().all(|v| v.starts_with('c') || v.starts_with('d')), "{values:?}");
}

support::on_both!(two_members_share, |broker| async move {
    shares_takes_over_and_resumes(broker.config(), "eager", false).await;
    let config = broker.config().set("partition.assignment.strategy", "cooperative-sticky");
    shares_takes_over_and_resumes(config, "cooperative", true).await;
    let classes =
        "org.apache.kafka.clients.consumer.StickyAssignor,org.apache.kafka.clients.consumer.RoundRobinAssignor";
    let config = broker.config().set("partition.assignment.strategy", classes);
    shares_takes_over_and_resumes(config, "sticky", false).await;
    if broker.is_kafka {
        shares_takes_over_and_resumes(broker.config().set("group.protocol", "consumer"), "modern", true).await;
    }
});

support::on_both!(commits_static_members_and_patterns, |broker| async move {
    let config = broker.config().set("group.id", "g").set("auto.offset.reset", "earliest");
    let config = config.set("enable.auto.commit", false);
    let c = consumer(&config.clone().set("group.instance.id", "one"));
    let client = c.client().clone();
    create(&client, "in-a", 1).await;
    create(&client, "out", 1).await;
    write(&client, &tp("in-a", 0), CompressionType::Lz4, "v", 10).await;
    let diary = Diary::default();
    c.subscribe_pattern(TopicPattern::new("in-.*").unwrap(), diary.clone()).unwrap();
    let early = settle(&[(&c, 1)]).await;
    assert_eq!(read(&c, 10 - early.len()).await.len(), 10 - early.len());

    // Commits in every way.
    c.commit_sync().await.unwrap();
    assert_eq!(c.committed([tp("in-a", 0)]).await.unwrap()[&tp("in-a", 0)].offset, Offset(10));

    // A topic that comes later, and that is found.
    create(&client, "in-b", 1).await;
    client.refresh().await.unwrap();
    settle(&[(&c, 2)]).await;
    assert_eq!(c.position(&tp("in-a", 0)).await, Ok(Offset(10)));
    let with_metadata = OffsetAndMetadata { metadata: "note".into(), ..OffsetAndMetadata::from(Offset(3)) };
    c.commit_sync_offsets(&BTreeMap::from([(tp("in-a", 0), with_metadata.clone())])).await.unwrap();
    assert_eq!(c.committed([tp("in-a", 0)]).await.unwrap()[&tp("in-a", 0)], with_metadata);
    c.seek(&tp("in-a", 0), 0).unwrap();
    let records = loop {
        let records = c.poll(WAIT).await.unwrap();
        if !records.is_empty() {
            break records;
        }
    };
    c.commit_record(&records.iter().nth(4).unwrap()).await.unwrap();
    assert_eq!(c.committed([tp("in-a", 0)]).await.unwrap()[&tp("in-a", 0)].offset, Offset(5));
    let (tell, told) = tokio::sync::oneshot::channel();
    let offsets = records.next_offsets().into_iter().collect();
    c.commit_async(Some(offsets), move |_, result| drop(tell.send(result))).unwrap();
    told.await.unwrap().unwrap();
    assert_eq!(c.committed([tp("in-a", 0)]).await.unwrap()[&tp("in-a", 0)].offset, Offset(10));

    // A static member that comes back within its session has what it had, without a rebalance.
    let before = c.group_metadata().unwrap();
    c.close(CloseOptions::default()).await.unwrap();
    let c = consumer(&config.clone().set("group.instance.id", "one"));
    c.subscribe_pattern(TopicPattern::new("in-.*").unwrap(), diary.clone()).unwrap();
    settle(&[(&c, 2)]).await;
    let after = c.group_metadata().unwrap();
    assert_eq!(before.generation_id, after.generation_id);
    assert_ne!(before.member_id, after.member_id);
    // One that leaves for good makes room.
    let leave = CloseOptions { operation: GroupMembershipOperation::LeaveGroup, ..Default::default() };
    c.close(leave).await.unwrap();
    let d = consumer(&config);
    d.subscribe(["in-a"]).unwrap();
    settle(&[(&d, 1)]).await;

    // Without a group there is nothing to commit for.
    let alone = consumer(&broker.config());
    assert!(matches!(alone.commit_sync().await, Err(Error::Invalid(_))));
    assert!(matches!(alone.subscribe(["in-a"]), Err(Error::Invalid(_))));
    // A group of the classic protocol can be given partitions by hand, whose positions it commits.
    let simple = consumer(&config.clone().set("group.id", "simple"));
    simple.assign([tp("in-a", 0)]).unwrap();
    assert_eq!(read(&simple, 10).await.len(), 10);
    simple.commit_sync().await.unwrap();
    assert_eq!(simple.committed([tp("in-a", 0)]).await.unwrap()[&tp("in-a", 0)].offset, Offset(10));
});

support::on_kafka!(a_pattern_that_the_broker_evaluates, |broker| async move {
    let config = broker.config().set("group.id", "g").set("auto.offset.reset", "earliest");
    let c = consumer(&config.clone().set("group.protocol", "consumer"));
    create(c.client(), "in-a", 2).await;
    create(c.client(), "out", 1).await;
    write(c.client(), &tp("in-a", 1), CompressionType::None, "v", 10).await;
    let diary = Diary::default();
    c.subscribe_broker_pattern("in-.*", diary.clone()).unwrap();
    let early = settle(&[(&c, 2)]).await;
    assert_eq!(read(&c, 10 - early.len()).await.len(), 10 - early.len());
    assert_eq!(c.assignment(), [tp("in-a", 0), tp("in-a", 1)].into());
    // What is no expression is refused by the broker; the classic protocol has no such thing.
    c.unsubscribe().await.unwrap();
    c.subscribe_broker_pattern("in-(", diary.clone()).unwrap();
    let e = loop {
        match c.poll(WAIT).await {
            Ok(_) => {}
            Err(e) => break e,
        }
    };
    assert_eq!(e.code(), Some(ErrorCode::InvalidRegularExpression), "{e}");
    let classic = consumer(&config);
    assert!(matches!(classic.subscribe_broker_pattern("in-.*", diary), Err(Error::Invalid(_))));
});

#[test]
fn the_new_protocol_is_refused_in_a_sentence() {
    support::run_on_logrun(|broker| async move {
        let c = consumer(&broker.config().set("group.id", "g").set("group.protocol", "consumer"));
        create(c.client(), "t", 1).await;
        c.subscribe(["t"]).unwrap();
        let e = c.poll(WAIT).await.unwrap_err();
        assert!(e.to_string().contains("group.protocol=classic"), "{e}");
    });
}

/// Writes one record in a transaction of `id`, and ends it as is said.
async fn write_in_transaction(client: &Client, id: &str, to: &TopicPartition, value: &str, end: Option<bool>) {
    let coordinator = Target::Coordinator(CoordinatorKey::Transaction(id.into()));
    let init = InitProducerIdRequest {
        transactional_id: Some(id.into()),
        transaction_timeout_ms: 30_000,
        ..Default::default()
    };
    let check = |_, r: &logrun_wire::messages::InitProducerIdResponse| logrun_client::check(r.error_code, None);
    let init = client.call_with(coordinator.clone(), |_| Ok(init.clone()), check).await.expect("a producer id");
    let mut batch = BatchBuilder::new(Compression::NONE)
        .producer(ProducerId(init.producer_id), ProducerEpoch(init.producer_epoch), Sequence(0))
        .transactional(true);
    batch.append(TimestampMs(1), None, Some(value.as_bytes()), &[]).expect("room");
    let data = PartitionProduceData {
        index: to.partition,
        records: Some(batch.build().expect("a batch").bytes.into()),
        ..Default::default()
    };
    let topic_id = client.topic(&to.topic, false, None).await.expect("the topic").id;
    let topic = TopicProduceData { name: to.topic.clone(), topic_id, partition_data: vec![data], ..Default::default() };
    let request = ProduceRequest {
        transactional_id: Some(id.into()),
        acks: -1,
        timeout_ms: 10_000,
        topic_data: vec![topic],
        ..Default::default()
    };
    let check = |_, r: &logrun_wire::messages::ProduceResponse| {
        logrun_client::check(r.responses[0].partition_responses[0].error_code, None)
    };
    // From version 12 on the partition joins the transaction with its first record (KIP-890).
    let call = Call::to(Target::Leader(to.clone())).versions(12, i16::MAX);
    client.call_with(call, |_| Ok(request.clone()), check).await.expect("a response");
    if let Some(committed) = end {
        let end = EndTxnRequest {
            transactional_id: id.into(),
            producer_id: init.producer_id,
            producer_epoch: init.producer_epoch,
            committed,
            ..Default::default()
        };
        let check = |_, r: &logrun_wire::messages::EndTxnResponse| logrun_client::check(r.error_code, None);
        client.call_with(coordinator, |_| Ok(end.clone()), check).await.expect("an end");
    }
}

support::on_kafka!(read_committed_passes_over_what_was_aborted, |broker| async move {
    let config = broker.config().set("auto.offset.reset", "earliest");
    let c = consumer(&config.clone().set("isolation.level", "read_committed"));
    let client = c.client().clone();
    create(&client, "t", 1).await;
    write_in_transaction(&client, "x", &tp("t", 0), "aborted", Some(false)).await;
    write_in_transaction(&client, "x", &tp("t", 0), "committed", Some(true)).await;
    write(&client, &tp("t", 0), CompressionType::None, "plain", 1).await;
    write_in_transaction(&client, "y", &tp("t", 0), "open", None).await;
    c.assign([tp("t", 0)]).unwrap();
    assert_eq!(read(&c, 2).await, ["committed", "plain0"]);
    assert!(c.poll(Duration::from_millis(700)).await.unwrap().is_empty(), "what is open is waited for");
    let all = consumer(&config);
    all.assign([tp("t", 0)]).unwrap();
    assert_eq!(read(&all, 4).await, ["aborted", "committed", "plain0", "open"]);
    assert!(c.end_offsets([tp("t", 0)]).await.unwrap() < all.end_offsets([tp("t", 0)]).await.unwrap());
});
