//! The share consumer against Apache Kafka; Logrun serves no share groups yet and says so.

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use logrun_client::admin::{Admin, ConfigAlteration, ConfigResource, NewTopic, ResourceType};
use logrun_client::producer::{Producer, Record};
use logrun_client::share::{AcknowledgeType, ShareConsumer};
use logrun_client::{Config, Error, ErrorCode, Offset, TopicPartition};
use support::Broker;

const WAIT: Duration = Duration::from_secs(30);
const BRIEFLY: Duration = Duration::from_millis(400);

/// A topic, and a group that reads it from the beginning.
async fn prepare(broker: &Broker, group: &str, partitions: i32, configs: &[(&str, &str)]) -> (Admin, Config) {
    let admin = Admin::connect(&broker.config()).expect("a client");
    let created = admin.create_topics(&[NewTopic::new("t", partitions)], false).await.expect("an answer");
    created["t"].as_ref().expect("created");
    let resource = ConfigResource::new(ResourceType::Group, group);
    let mut changes = vec![ConfigAlteration::set("share.auto.offset.reset", "earliest")];
    changes.extend(configs.iter().map(|(name, value)| ConfigAlteration::set(*name, *value)));
    let changes = BTreeMap::from([(resource.clone(), changes)]);
    admin.incremental_alter_configs(&changes, false).await[&resource].as_ref().expect("altered");
    (admin, broker.config().set("group.id", group))
}

async fn produce(broker: &Broker, from: i32, to: i32) {
    let producer = Producer::connect(&broker.config()).expect("a producer");
    for n in from..to {
        let (key, value) = (n.to_string(), format!("v{n}"));
        drop(producer.send(Record::to("t").key(&key).value(&value)).await.expect("taken"));
    }
    producer.close().await;
}

fn subscribed(config: &Config) -> ShareConsumer {
    let consumer = ShareConsumer::connect(config).expect("a consumer");
    consumer.subscribe(["t"]).expect("subscribed");
    consumer
}

/// Values of polls until `count` have come, with their delivery counts.
async fn read(consumer: &ShareConsumer, count: usize, kind: Option<AcknowledgeType>) -> Vec<(String, i16)> {
    let mut found = Vec::new();
    while found.len() < count {
        for record in &consumer.poll(WAIT).await.expect("records") {
            found.push((
                String::from_utf8_lossy(record.value().unwrap_or_default()).into_owned(),
                record.delivery_count(),
            ));
            if let Some(kind) = kind {
                consumer.acknowledge(&record, kind).expect("ours");
            }
        }
    }
    found.sort();
    found
}

support::on_kafka!(what_a_poll_gave_is_accepted_by_the_next, |broker| async move {
    let (admin, config) = prepare(&broker, "implicit", 3, &[]).await;
    produce(&broker, 0, 300).await;
    let consumer = subscribed(&config.clone().set("max.poll.records", 50));
    let all = read(&consumer, 300, None).await;
    assert_eq!(all.len(), 300, "each once");
    assert!(all.windows(2).all(|w| w[0].0 != w[1].0) && all.iter().all(|r| r.1 == 1), "{all:?}");
    assert!(consumer.acquisition_lock_timeout().is_some_and(|t| t == Duration::from_secs(30)));
    let results = consumer.commit(None).await.expect("answers");
    assert!(!results.is_empty() && results.values().all(Result::is_ok), "{results:?}");
    assert!(consumer.poll(BRIEFLY).await.expect("nothing").is_empty());
    let described = admin.describe_share_groups(&["implicit".into()], false).await;
    assert_eq!(described["implicit"].as_ref().expect("described").members.len(), 1);
    consumer.close(None).await.expect("closed");
    let described = admin.describe_share_groups(&["implicit".into()], false).await;
    assert_eq!(described["implicit"].as_ref().expect("described").members.len(), 0);
    assert!(matches!(consumer.poll(BRIEFLY).await, Err(Error::Closed)));
    // Nothing is left for another.
    let other = subscribed(&config);
    produce(&broker, 300, 301).await;
    assert_eq!(read(&other, 1, None).await, [("v300".to_owned(), 1)]);
    other.close(None).await.expect("closed");
    drop(broker);
});

support::on_kafka!(each_record_is_settled_by_itself, |broker| async move {
    let (_, config) = prepare(&broker, "explicit", 1, &[]).await;
    produce(&broker, 0, 4).await;
    let consumer = subscribed(&config.set("share.acknowledgement.mode", "explicit"));
    let heard = Arc::new(Mutex::new(Vec::new()));
    let to = heard.clone();
    consumer.set_acknowledgement_callback(move |a| to.lock().expect("sound").push(a.clone()));
    let polled = consumer.poll(WAIT).await.expect("records");
    assert_eq!(polled.len(), 4);
    let e = consumer.poll(BRIEFLY).await.unwrap_err();
    assert!(e.to_string().contains("must be acknowledged before the next"), "{e}");
    let tp = TopicPartition::new("t", 0);
    use AcknowledgeType::{Accept, Reject, Release, Renew};
    for (record, kind) in polled.iter().zip([Accept, Release, Reject, Renew]) {
        consumer.acknowledge(&record, kind).expect("ours");
    }
    // What was renewed comes again, alone, and it is the same delivery.
    let renewed = consumer.poll(WAIT).await.expect("renewed");
    let of = |r: &logrun_client::share::ShareRecords| {
        r.iter().map(|r| (r.offset().get(), r.delivery_count())).collect::<Vec<_>>()
    };
    assert_eq!(of(&renewed), [(3, 1)]);
    consumer.acknowledge_offset(&tp, Offset(3), Accept).expect("ours");
    // What was released comes again, delivered twice; what was rejected or accepted does not.
    let released = consumer.poll(WAIT).await.expect("released");
    assert_eq!(of(&released), [(1, 2)]);
    assert!(consumer.acknowledge_offset(&tp, Offset(0), Accept).is_err(), "settled long ago");
    consumer.acknowledge_offset(&tp, Offset(1), Accept).expect("ours");
    assert_eq!(consumer.commit(None).await.expect("answers"), BTreeMap::from([(tp.clone(), Ok(()))]));
    assert!(consumer.poll(BRIEFLY).await.expect("nothing").is_empty());
    let mut offsets: Vec<i64> = Vec::new();
    for a in heard.lock().expect("sound").iter() {
        assert_eq!((&a.topic_partition, &a.result), (&tp, &Ok(())));
        offsets.extend(a.offsets.iter().map(|o| o.get()));
    }
    offsets.sort();
    assert_eq!(offsets, [0, 1, 1, 2, 3, 3]);
    consumer.close(None).await.expect("closed");
    drop(broker);
});

support::on_kafka!(what_is_not_acknowledged_goes_to_another, |broker| async move {
    let lock = ("share.record.lock.duration.ms", "15000");
    let (_, config) = prepare(&broker, "two", 1, &[lock]).await;
    produce(&broker, 0, 10).await;
    let explicit = config.clone().set("share.acknowledgement.mode", "explicit");
    let first = subscribed(&explicit);
    let polled = first.poll(WAIT).await.expect("records");
    assert_eq!(polled.len(), 10);
    assert_eq!(first.acquisition_lock_timeout(), Some(Duration::from_secs(15)));
    let record = polled.iter().next().expect("a record");
    first.acknowledge(&record, AcknowledgeType::Accept).expect("ours");
    // Closing sends what was acknowledged and gives back the rest, long before the lock's time is over.
    let begun = tokio::time::Instant::now();
    first.close(None).await.expect("closed");
    let second = subscribed(&explicit);
    let all = read(&second, 9, Some(AcknowledgeType::Accept)).await;
    assert!(all.iter().all(|(_, count)| *count == 2), "{all:?}");
    assert!(begun.elapsed() < Duration::from_secs(14), "{:?}", begun.elapsed());
    second.close(None).await.expect("closed");
    drop(broker);
});

support::on_kafka!(two_members_share_one_partition, |broker| async move {
    let (_, config) = prepare(&broker, "shared", 1, &[]).await;
    produce(&broker, 0, 1000).await;
    let config = config.set("max.poll.records", 20).set("share.acquire.mode", "record_limit");
    let seen = Arc::new(Mutex::new(Vec::<(usize, i64)>::new()));
    let work = |number: usize| {
        let (config, seen) = (config.clone(), seen.clone());
        async move {
            let consumer = subscribed(&config);
            while seen.lock().expect("sound").len() < 1000 {
                let records = consumer.poll(BRIEFLY).await.expect("records");
                assert!(records.len() <= 20, "{}", records.len());
                seen.lock().expect("sound").extend(records.iter().map(|r| (number, r.offset().get())));
                drop(consumer.commit(None).await.expect("answers"));
            }
            consumer.close(None).await.expect("closed");
        }
    };
    tokio::join!(work(0), work(1));
    let seen = seen.lock().expect("sound").clone();
    let mut offsets: Vec<i64> = seen.iter().map(|(_, o)| *o).collect();
    offsets.sort();
    assert_eq!(offsets, (0..1000).collect::<Vec<i64>>(), "each record to one of them");
    for member in [0, 1] {
        assert!(seen.iter().filter(|(m, _)| *m == member).count() > 50, "both had some");
    }
    drop(broker);
});

support::on_kafka!(transactions_leave_gaps_that_nobody_waits_for, |broker| async move {
    let (_, config) = prepare(&broker, "gaps", 1, &[("share.isolation.level", "read_committed")]).await;
    let producer = Producer::connect(&broker.config().set("transactional.id", "x")).expect("a producer");
    producer.init_transactions().await.expect("ready");
    for (n, commit) in [(0, true), (1, false), (2, true)] {
        producer.begin_transaction().expect("begun");
        drop(producer.send(Record::to("t").value(&format!("v{n}"))).await.expect("taken"));
        match commit {
            true => producer.commit_transaction().await.expect("committed"),
            false => producer.abort_transaction().await.expect("aborted"),
        }
    }
    producer.close().await;
    let consumer = subscribed(&config);
    assert_eq!(read(&consumer, 2, None).await, [("v0".to_owned(), 1), ("v2".to_owned(), 1)]);
    // Polls send what is left; then the group is done with everything, markers too.
    assert!(consumer.poll(BRIEFLY).await.expect("nothing").is_empty());
    let admin = Admin::connect(&broker.config()).expect("a client");
    support::eventually(async || {
        drop(consumer.poll(Duration::from_millis(50)).await.expect("nothing"));
        let listed = admin.list_share_group_offsets(&"gaps".into(), None).await.expect("an answer");
        let lag = listed.get(&TopicPartition::new("t", 0))?.as_ref().ok()?.lag;
        (lag == Some(0)).then_some(())
    })
    .await;
    consumer.close(None).await.expect("closed");
    drop(broker);
});

#[test]
fn logrun_says_that_it_has_no_share_groups() {
    support::run_on_logrun(|broker: Broker| async move {
        let consumer = subscribed(&broker.config().set("group.id", "g"));
        let e = consumer.poll(WAIT).await.unwrap_err();
        assert_eq!(e.code(), Some(ErrorCode::UnsupportedVersion), "{e}");
        assert!(e.to_string().contains("doesn't serve share groups (KIP-932)"), "{e}");
        consumer.close(None).await.expect("closed");
        drop(broker);
    });
}

#[tokio::test]
async fn what_makes_no_sense_in_a_share_group_is_refused() {
    let config = Config::new("localhost:1");
    let e = ShareConsumer::connect(&config).unwrap_err();
    assert!(e.to_string().contains("needs a group.id"), "{e}");
    let e = ShareConsumer::connect(&config.clone().set("group.id", "g").set("enable.auto.commit", "true")).unwrap_err();
    assert!(e.to_string().starts_with("enable.auto.commit can't be set for a share consumer"), "{e}");
    let consumer = ShareConsumer::connect(&config.set("group.id", "g")).expect("a consumer");
    assert!(consumer.poll(BRIEFLY).await.is_err(), "nothing is subscribed to");
    let tp = TopicPartition::new("t", 0);
    let e = consumer.acknowledge_offset(&tp, Offset(0), AcknowledgeType::Accept).unwrap_err();
    assert!(e.to_string().contains("share.acknowledgement.mode=explicit"), "{e}");
    consumer.close(None).await.expect("closed");
}
