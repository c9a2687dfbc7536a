//! Transactions before a coordinator that can be made to fail: what is sent after a batch or a call went wrong. In virtual
//! time; both generations (`transaction.version` 1 and 2).

mod script;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use logrun_client::Config;
use logrun_client::producer::{Producer, Record};
use logrun_wire::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use logrun_wire::messages::{
    AddPartitionsToTxnResponse, EndTxnRequest, EndTxnResponse, FindCoordinatorResponse, InitProducerIdResponse,
    ProduceRequest, ProduceResponse,
};
use logrun_wire::{ApiKey, ErrorCode};
use script::{Asked, Cluster};

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        tokio::time::timeout(Duration::from_secs(3600), test).await.expect("the test hangs");
    });
}

/// What the coordinator, which is the leader too, was asked, and what it knows.
#[derive(Default)]
struct Known {
    transcript: Vec<String>,
    epoch: i16,
    is_open: bool,
    /// What it says of the next batches.
    errors: Vec<ErrorCode>,
}

#[derive(Clone, Default)]
struct Broker(Arc<Mutex<Known>>);

impl Broker {
    fn answer(&self, mut asked: Asked) -> Option<Vec<Bytes>> {
        let mut known = self.0.lock().expect("sound");
        match asked.api {
            ApiKey::FindCoordinator => asked.answer(&FindCoordinatorResponse {
                node_id: 1,
                host: "127.0.0.1".into(),
                port: 9001,
                ..Default::default()
            }),
            ApiKey::InitProducerId => {
                known.epoch += 1;
                let producer_epoch = known.epoch;
                known.transcript.push(format!("epoch {producer_epoch}"));
                asked.answer(&InitProducerIdResponse { producer_id: 7, producer_epoch, ..Default::default() })
            }
            ApiKey::AddPartitionsToTxn => {
                known.is_open = true;
                known.transcript.push("add".to_owned());
                asked.answer(&AddPartitionsToTxnResponse::default())
            }
            ApiKey::EndTxn => {
                let request: EndTxnRequest = asked.read();
                let said = if request.committed { "commit" } else { "abort" };
                let error =
                    if std::mem::take(&mut known.is_open) { ErrorCode::None } else { ErrorCode::InvalidTxnState };
                known.transcript.push(format!("{said}: {error:?}"));
                if asked.header.request_api_version >= 5 {
                    known.epoch += 1;
                }
                asked.answer(&EndTxnResponse {
                    error_code: error.code(),
                    producer_id: 7,
                    producer_epoch: known.epoch,
                    ..Default::default()
                })
            }
            ApiKey::Produce => {
                let request: ProduceRequest = asked.read();
                let records = request.topic_data[0].partition_data[0].records.clone().expect("records").into_bytes();
                let batch = logrun_record::split_batches(records).next().expect("one").expect("a batch");
                let error = if known.errors.is_empty() { ErrorCode::None } else { known.errors.remove(0) };
                // With the second generation it begins by itself.
                known.is_open |= asked.header.request_api_version >= 12;
                let header = batch.header;
                known.transcript.push(format!("{}/{}: {error:?}", header.producer_epoch, header.base_sequence));
                let partition = PartitionProduceResponse { error_code: error.code(), ..Default::default() };
                let topic = TopicProduceResponse {
                    name: "t".into(),
                    partition_responses: vec![partition],
                    ..Default::default()
                };
                asked.answer(&ProduceResponse { responses: vec![topic], ..Default::default() })
            }
            _ => None,
        }
    }

    fn transcript(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("sound").transcript)
    }
}

/// A producer that has begun a transaction, with its broker.
async fn begun(version: i16) -> (Broker, Cluster, Producer) {
    let broker = Broker::default();
    let answering = broker.clone();
    let cluster = Cluster::new(move |asked| answering.answer(asked));
    *cluster.view.lock().expect("sound") = ([(1, 9001)].into(), 1);
    cluster.serves(ApiKey::FindCoordinator, 0, 3);
    cluster.serves(ApiKey::AddPartitionsToTxn, 0, 3);
    cluster.serves(ApiKey::EndTxn, 0, 5);
    cluster.features.lock().expect("sound").insert("transaction.version", version);
    drop(cluster.listen(1, 9001).await);
    let config = Config::new("127.0.0.1:9001").set("transactional.id", "x").set("linger.ms", 0);
    let producer = Producer::new(cluster.io.clone(), &config).expect("a producer");
    producer.init_transactions().await.expect("initialised");
    producer.begin_transaction().expect("begun");
    assert_eq!(broker.transcript(), ["epoch 1"]);
    (broker, cluster, producer)
}

async fn send(producer: &Producer) -> Result<(), logrun_client::Error> {
    producer.send(Record::to("t").value("v")).await?.await.map(drop)
}

/// What the broker sees of another transaction, of one record.
async fn the_next(broker: &Broker, producer: &Producer) -> Vec<String> {
    producer.begin_transaction().expect("begun");
    send(producer).await.expect("written");
    producer.commit_transaction().await.expect("committed");
    broker.transcript()
}

#[test]
fn after_a_batch_that_failed_numbers_begin_anew_under_another_epoch() {
    run(async {
        let (broker, _cluster, producer) = begun(1).await;
        send(&producer).await.expect("written");
        producer.commit_transaction().await.expect("committed");
        assert_eq!(broker.transcript(), ["add", "1/0: None", "commit: None"]);

        producer.begin_transaction().expect("begun");
        broker.0.lock().expect("sound").errors = vec![ErrorCode::InvalidRecord];
        send(&producer).await.expect_err("refused");
        // It can only be aborted; what were sent now would be lost with it.
        send(&producer).await.expect_err("not taken");
        producer.abort_transaction().await.expect("aborted");
        assert_eq!(broker.transcript(), ["add", "1/1: InvalidRecord", "abort: None", "epoch 2"]);

        // Under the old epoch a broker would take number 0 for the first transaction's.
        assert_eq!(the_next(&broker, &producer).await, ["add", "2/0: None", "commit: None"]);
    });
}

#[test]
fn a_transaction_that_the_coordinator_has_not_heard_of_is_aborted_in_silence() {
    run(async {
        let (broker, _cluster, producer) = begun(1).await;
        producer.client().topic("t", false, None).await.expect("known");
        let delivery = producer.send(Record::to("t").value("v")).await.expect("taken");
        producer.abort_transaction().await.expect("aborted");
        delivery.await.expect_err("aborted");
        assert_eq!(broker.transcript(), Vec::<String>::new());

        assert_eq!(the_next(&broker, &producer).await, ["add", "1/0: None", "commit: None"]);
    });
}

#[test]
fn partitions_that_are_being_added_are_not_taken_for_those_of_the_next_transaction() {
    run(async {
        let (broker, cluster, producer) = begun(1).await;
        cluster.delays.lock().expect("sound").insert(ApiKey::AddPartitionsToTxn.code(), Duration::from_secs(2));
        let delivery = producer.send(Record::to("t").value("v")).await.expect("taken");
        cluster.io.clock.sleep(Duration::from_secs(1)).await;
        producer.abort_transaction().await.expect("aborted");
        delivery.await.expect_err("aborted");
        assert_eq!(broker.transcript(), ["add", "abort: None"]);

        assert_eq!(the_next(&broker, &producer).await, ["add", "1/0: None", "commit: None"]);
    });
}

#[test]
fn nothing_is_taken_while_a_transaction_ends() {
    for version in [1, 2] {
        run(async {
            let (broker, cluster, producer) = begun(version).await;
            producer.client().topic("t", false, None).await.expect("known");
            for api in [ApiKey::Produce, ApiKey::EndTxn] {
                cluster.delays.lock().expect("sound").insert(api.code(), Duration::from_secs(2));
            }
            let first = producer.send(Record::to("t").value("v")).await.expect("taken");
            let during = async {
                for _ in 0..3 {
                    cluster.io.clock.sleep(Duration::from_secs(1)).await;
                    producer.send(Record::to("t").value("v")).await.expect_err("not taken");
                }
            };
            let (committed, ()) = tokio::join!(producer.commit_transaction(), during);
            committed.expect("committed");
            first.await.expect("written");
            let add = (version == 1).then(|| "add".to_owned());
            let expected: Vec<String> = add.into_iter().chain(["1/0: None".into(), "commit: None".into()]).collect();
            assert_eq!(broker.transcript(), expected);
        });
    }
}
