//! The producer against real brokers: what is acknowledged is there, once and in order.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use logrun_client::admin::{Admin, NewTopic, OffsetAndMetadata};
use logrun_client::producer::{ConsumerGroupMetadata, Producer, Record};
use logrun_client::{Call, Client, Error, ErrorCode, Target, TopicPartition};
use logrun_record::{Limits, split_batches};
use logrun_wire::messages::FetchRequest;
use logrun_wire::messages::fetch_request::{FetchPartition, FetchTopic};

/// Offset, key and value of every record of a partition that isn't part of an aborted transaction.
async fn read(client: &Client, topic: &str, partition: i32, committed: bool) -> Vec<(i64, Option<String>, String)> {
    let mut found = Vec::new();
    let mut at = 0;
    loop {
        let asked = FetchPartition { partition, fetch_offset: at, partition_max_bytes: 1 << 20, ..Default::default() };
        let request = FetchRequest {
            max_wait_ms: 10,
            max_bytes: 50 << 20,
            isolation_level: i8::from(committed),
            session_epoch: -1,
            topics: vec![FetchTopic { topic: topic.into(), partitions: vec![asked], ..Default::default() }],
            ..Default::default()
        };
        let call = Call::to(Target::Leader(TopicPartition::new(topic, partition))).versions(4, 12);
        let response = client.call(call, request).await.expect("a fetch");
        let p = &response.responses[0].partitions[0];
        assert_eq!(p.error_code, 0);
        let mut aborted: Vec<(i64, i64)> =
            p.aborted_transactions.iter().flatten().map(|a| (a.first_offset, a.producer_id)).collect();
        let mut any = false;
        for batch in split_batches(p.records.clone().unwrap_or_default().into_bytes()) {
            let batch = batch.expect("a batch");
            batch.verify_crc().expect("sound");
            if batch.header.last_offset().get() < at {
                continue;
            }
            at = batch.header.last_offset().get() + 1;
            any = true;
            // An aborted transaction reaches from its first offset to its producer's next marker.
            let id = batch.header.producer_id.get();
            let within = aborted.iter().position(|(first, of)| *of == id && *first <= batch.header.base_offset.get());
            if batch.header.is_control() {
                within.map(|at| aborted.remove(at));
                continue;
            }
            if batch.header.is_transactional() && within.is_some() {
                continue;
            }
            for record in batch.records(&Limits::default()).expect("records") {
                let record = record.expect("a record");
                let text = |b: Option<bytes::Bytes>| b.map(|b| String::from_utf8_lossy(&b).into_owned());
                found.push((
                    record.offset.get(),
                    text(record.key.clone()),
                    text(record.value.clone()).unwrap_or_default(),
                ));
            }
        }
        if !any {
            return found;
        }
    }
}

async fn create(admin: &Admin, name: &str, partitions: i32) {
    let created = admin.create_topics(&[NewTopic::new(name, partitions)], false).await.expect("an answer");
    created[name].as_ref().expect("created");
}

support::on_both!(every_codec_arrives_in_order, |broker| async move {
    let admin = Admin::connect(&broker.config()).expect("a client");
    create(&admin, "t", 2).await;
    let mut expected = 0;
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let config = broker.config().set("compression.type", codec).set("batch.size", 2000);
        let producer = Producer::connect(&config).expect("a producer");
        let mut deliveries = Vec::new();
        for n in 0..500 {
            let value = format!("{codec} {n} {}", "x".repeat(50));
            let headers: &[(&[u8], Option<&[u8]>)] = &[(b"h", Some(b"1")), (b"h", None)];
            let record = Record::to("t").partition(0).key("k").value(&value).headers(headers);
            deliveries.push(producer.send(record).await.expect("taken"));
        }
        for delivery in deliveries {
            let written = delivery.await.expect("written");
            assert_eq!(written.offset, Some(expected));
            expected += 1;
        }
        producer.close().await;
        assert!(matches!(producer.send(Record::to("t")).await, Err(Error::Closed)));
    }
    let found = read(admin.client(), "t", 0, false).await;
    assert_eq!(found.len(), 2500);
    assert!(found[0].2.starts_with("none 0 ") && found[2499].2.starts_with("zstd 499 "));
    assert!(found.iter().enumerate().all(|(i, r)| r.0 == i as i64 && r.1.as_deref() == Some("k")));
    drop(broker);
});

support::on_both!(a_batch_that_is_too_large_arrives_in_parts, |broker| async move {
    let admin = Admin::connect(&broker.config()).expect("a client");
    let small = NewTopic::new("t", 1).config("max.message.bytes", "5000");
    admin.create_topics(&[small], false).await.expect("an answer")["t"].as_ref().expect("created");
    for (codec, idempotent) in [("none", true), ("gzip", true), ("zstd", false)] {
        let config = broker.config().set("batch.size", 200_000).set("linger.ms", 20);
        let config = config.set("compression.type", codec).set("enable.idempotence", idempotent);
        // Without numbers only this keeps the order.
        let config = config.set("max.in.flight.requests.per.connection", if idempotent { 5 } else { 1 });
        let producer = Producer::connect(&config).expect("a producer");
        let mut deliveries = Vec::new();
        for n in 0..300 {
            let mut text: Vec<u8> = format!("{codec} {n} ").into_bytes();
            let mut x = n as u32 + 1;
            // What doesn't compress; one in the middle is too large by itself.
            let bytes = if n == 150 { 20_000 } else { 300 };
            text.extend((0..bytes).map(|_| {
                x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                b'!' + (x >> 24) as u8 % 90
            }));
            deliveries.push(producer.send(Record::to("t").value(&text)).await.expect("taken"));
        }
        let mut offsets = Vec::new();
        for (n, delivery) in deliveries.into_iter().enumerate() {
            match delivery.await {
                Ok(written) => offsets.push(written.offset.expect("known")),
                Err(e) => assert_eq!((n, e.code()), (150, Some(ErrorCode::MessageTooLarge)), "{e}"),
            }
        }
        let first = offsets[0];
        assert_eq!(offsets, (first..first + 299).collect::<Vec<_>>(), "{codec}");
        producer.close().await;
    }
    let found = read(admin.client(), "t", 0, false).await;
    let expected: Vec<String> = ["none", "gzip", "zstd"]
        .iter()
        .flat_map(|codec| (0..300).filter(|n| *n != 150).map(move |n| format!("{codec} {n} ")))
        .collect();
    assert_eq!(found.len(), expected.len());
    assert!(found.iter().zip(&expected).all(|(found, start)| found.2.starts_with(start)));
    drop(broker);
});

support::on_both!(without_a_key_all_partitions_are_used, |broker| async move {
    let admin = Admin::connect(&broker.config()).expect("a client");
    create(&admin, "t", 4).await;
    for (acks, linger) in [("all", 0), ("1", 5), ("0", 5)] {
        let config = broker.config().set("acks", acks).set("linger.ms", linger).set("batch.size", 500);
        let producer = Producer::connect(&config).expect("a producer");
        for n in 0..400 {
            let record = producer.send(Record::to("t").value(&format!("{n} {}", "y".repeat(40)))).await.expect("taken");
            drop(record);
        }
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let last = Record::to("t").partition(3).value("last");
        producer.send_with(last, move |r| drop(sender.send(r))).await.expect("taken");
        producer.flush().await;
        let written = receiver.await.expect("called").expect("written");
        assert_eq!((written.partition.partition, written.offset.is_none()), (3, acks == "0"));
        producer.close().await;
    }
    let found = support::eventually(async || {
        let mut found = Vec::new();
        for p in 0..4 {
            found.push(read(admin.client(), "t", p, false).await.len());
        }
        (found.iter().sum::<usize>() == 1203).then_some(found)
    })
    .await;
    assert!(found.iter().all(|n| *n > 50), "{found:?}");
    drop(broker);
});

support::on_both!(what_can_not_be_sent_says_why, |broker| async move {
    let config = broker.config().set("max.block.ms", 1500).set("buffer.memory", 40_000).set("max.request.size", 30_000);
    let producer = Producer::connect(&config.clone().set("linger.ms", 60_000).set("delivery.timeout.ms", 100_000))
        .expect("a producer");
    let admin = Admin::connect(&broker.config()).expect("a client");
    create(&admin, "t", 3).await;
    let large = vec![0; 40_000];
    let e = producer.send(Record::to("t").value(&large)).await.unwrap_err();
    assert_eq!(e.code(), Some(ErrorCode::MessageTooLarge));
    let e = producer.send(Record::to("t").partition(7)).await.unwrap_err();
    assert!(e.to_string().contains("partition 7 of topic t"), "{e}");
    let e = producer.send(Record::to("bad name")).await.unwrap_err();
    assert_eq!(e.code(), Some(ErrorCode::InvalidTopicException));
    // Two batches fit into memory; a third waits until the others are sent, which its waiting brings about.
    for p in 0..3 {
        drop(producer.send(Record::to("t").partition(p).value("v")).await.expect("taken"));
    }
    assert!(producer.try_send(Record::to("t").partition(2).value("w")).expect("taken").is_some());
    producer.close().await;
    assert_eq!(read(admin.client(), "t", 2, false).await.len(), 2);
    drop(broker);
});

support::on_both!(a_killed_broker_neither_loses_nor_repeats, |mut broker| async move {
    let admin = Admin::connect(&broker.config()).expect("a client");
    create(&admin, "t", 3).await;
    let config = broker.config().set("batch.size", 300).set("linger.ms", 1).set("reconnect.backoff.max.ms", 200);
    let producer = Producer::connect(&config).expect("a producer");
    let mut deliveries = Vec::new();
    for n in 0..3000 {
        let value = n.to_string();
        deliveries.push(producer.send(Record::to("t").partition(n % 3).value(&value)).await.expect("taken"));
        if n == 1500 {
            producer.flush().await;
        }
        if n == 1700 {
            broker.running.kill().expect("killed");
            let (running, _) = broker.home.start(Duration::from_secs(60)).expect("a broker");
            broker.running = running;
        }
    }
    for delivery in deliveries {
        delivery.await.expect("written");
    }
    for p in 0..3 {
        let found: Vec<i32> =
            read(admin.client(), "t", p, false).await.into_iter().map(|r| r.2.parse().expect("a number")).collect();
        assert_eq!(found, (0..3000).filter(|n| n % 3 == p).collect::<Vec<_>>(), "partition {p}");
    }
    producer.close().await;
    drop(broker);
});

support::on_kafka!(transactions, |broker| async move {
    let admin = Admin::connect(&broker.config()).expect("a client");
    create(&admin, "t", 2).await;
    let config = broker.config().set("transactional.id", "x");
    let producer = Producer::connect(&config).expect("a producer");
    assert!(producer.send(Record::to("t").value("early")).await.is_err());
    producer.init_transactions().await.expect("a producer id");
    let group = ConsumerGroupMetadata::of("g");
    let tp = TopicPartition::new("t", 0);
    for (n, commit) in [(0, true), (1, false), (2, true), (3, false), (4, true)] {
        producer.begin_transaction().expect("begun");
        for p in 0..2 {
            let sent = producer.send(Record::to("t").partition(p).value(&n.to_string())).await.expect("taken");
            if n == 2 {
                sent.await.expect("written");
            }
        }
        let offsets = BTreeMap::from([(tp.clone(), OffsetAndMetadata::of(n))]);
        producer.send_offsets_to_transaction(&offsets, &group).await.expect("taken");
        if commit {
            producer.commit_transaction().await.expect("committed");
        } else {
            producer.abort_transaction().await.expect("aborted");
        }
        // The markers are written after the answer.
        support::eventually(async || {
            let listed = admin.list_group_offsets(&"g".into(), None, true).await.expect("offsets");
            let at = listed.get(&tp)?.as_ref().ok()?.as_ref()?.offset;
            (at == n - i64::from(!commit)).then_some(())
        })
        .await;
    }
    for p in 0..2 {
        let found: Vec<String> = read(admin.client(), "t", p, true).await.into_iter().map(|r| r.2).collect();
        assert_eq!(found.iter().filter(|v| ["0", "2", "4"].contains(&v.as_str())).count(), 3, "{found:?}");
    }
    // The second one shuts the first one out.
    let other = Producer::connect(&config).expect("a producer");
    other.init_transactions().await.expect("a producer id");
    producer.begin_transaction().expect("begun");
    let sent = producer.send(Record::to("t").partition(0).value("late")).await.expect("taken");
    let (sent, committed) = (sent.await, producer.commit_transaction().await);
    assert!(sent.is_err() && committed.is_err(), "{sent:?} {committed:?}");
    other.begin_transaction().expect("begun");
    drop(other.send(Record::to("t").partition(1).value("5")).await.expect("taken"));
    other.commit_transaction().await.expect("committed");
    assert_eq!(read(admin.client(), "t", 1, true).await.last().expect("there").2, "5");
    drop(broker);
});
