//! `kafka-transactions`: transactional producers, and transactions that hang (Kafka's `TransactionsCommand`, KIP-664).

mod hanging;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use futures_util::future::try_join_all;
use logrun_client::{CoordinatorKey, Target};
use logrun_wire::messages as m;

use crate::cluster::{metadata, partitions};
use crate::errors;
use crate::failure::Failure;
use crate::options::{BOOTSTRAP_SERVER, COMMAND_CONFIG, Given, HELP, Opt, Syntax, VERSION};
use crate::session::{Session, block_on, check, failure};
use crate::text::{table, topic_partition};
use crate::{Out, Tool};

pub const TOOL: Tool = Tool { name: "kafka-transactions", about: SYNTAX.about, run };

const SYNTAX: Syntax = Syntax {
    tool: "kafka-transactions",
    about: "Shows transactional producers and their transactions, and finds and aborts transactions that hang",
    words: "list|describe|describe-producers|abort|find-hanging|forceTerminateTransaction",
    options: &[
        HELP.short("h"),
        VERSION.short("v"),
        BOOTSTRAP_SERVER,
        COMMAND_CONFIG,
        Opt::value("duration-filter", "MS", "With list: only transactions that run for longer."),
        Opt::value("transactional-id-pattern", "REGEX", "With list: only transactional ids that match."),
        Opt::value("transactional-id", "ID", "With describe: which."),
        Opt::value("transactionalId", "ID", "With forceTerminateTransaction: which."),
        Opt::value("topic", "TOPIC", "The topic."),
        Opt::value("partition", "ID", "The partition."),
        Opt::value(
            "broker-id",
            "ID",
            "The replica to ask, instead of the leader; with find-hanging, the broker to search.",
        ),
        Opt::value("max-transaction-timeout", "MINUTES", "With find-hanging: what runs for longer may hang (15)."),
        Opt::value("start-offset", "OFFSET", "With abort: where the transaction began."),
        Opt::value("producer-id", "ID", "With abort, for brokers before 3.0: its producer."),
        Opt::value("producer-epoch", "EPOCH", "With abort, for brokers before 3.0."),
        Opt::value("coordinator-epoch", "EPOCH", "With abort, for brokers before 3.0."),
    ],
    examples: &[
        "--bootstrap-server localhost:9092 list",
        "--bootstrap-server localhost:9092 find-hanging --broker-id 1",
        "--bootstrap-server localhost:9092 abort --topic orders --partition 0 --start-offset 1234",
    ],
};

const COMMANDS: [&str; 6] =
    ["list", "describe", "describe-producers", "abort", "find-hanging", "forceTerminateTransaction"];

fn run(args: &[OsString]) -> ExitCode {
    crate::tool(&SYNTAX, args, |given, out| {
        let command = given.command(&COMMANDS)?;
        block_on(async {
            let session = Session::of(given)?;
            match command {
                "list" => list(given, out, &session).await,
                "describe" => describe(given, out, &session).await,
                "describe-producers" => producers(given, out, &session).await,
                "abort" => abort(given, &session).await,
                "find-hanging" => hanging::find(given, out, &session).await,
                _ => terminate(given, &session).await,
            }
        })
    })
}

/// `what: why. Enable …`, as Kafka's tool ends.
fn because(what: &str) -> impl Fn(Failure) -> Failure {
    move |f| f.prefixed(&format!("{what}: "), false)
}

fn needed<'g>(given: &'g Given<'_>, option: &str) -> Result<&'g str, Failure> {
    given.value(option)?.ok_or_else(|| given.syntax.wrong(format!("argument --{option} is required")))
}

fn topic_and_partition(given: &Given<'_>) -> Result<(String, i32), Failure> {
    let topic = needed(given, "topic")?.to_owned();
    let partition = given.parsed("partition")?;
    Ok((topic, partition.ok_or_else(|| given.syntax.wrong("argument --partition is required"))?))
}

type Listed = m::list_transactions_response::TransactionState;

/// Transactions by the broker that coordinates them.
async fn transactions(session: &Session, request: &m::ListTransactionsRequest) -> Result<Vec<(i32, Listed)>, Failure> {
    let cluster = metadata(session, Some(&[])).await?;
    let ask = async |node: i32| Ok::<_, Failure>((node, session.node(node, request.clone()).await?));
    let mut all = Vec::new();
    for (node, response) in try_join_all(cluster.brokers.iter().map(|b| ask(b.node_id))).await? {
        check(response.error_code, None)?;
        all.extend(response.transaction_states.into_iter().map(|t| (node, t)));
    }
    all.sort_by(|a, b| (a.0, &a.1.transactional_id).cmp(&(b.0, &b.1.transactional_id)));
    Ok(all)
}

async fn list(given: &Given<'_>, out: &mut Out, session: &Session) -> Result<(), Failure> {
    let request = m::ListTransactionsRequest {
        duration_filter: given.parsed("duration-filter")?.unwrap_or(-1),
        transactional_id_pattern: given.value("transactional-id-pattern")?.map(Into::into),
        ..Default::default()
    };
    let all = transactions(session, &request).await.map_err(because("Failed to list transactions"))?;
    let row = |(node, t): &(i32, Listed)| {
        vec![
            t.transactional_id.to_string(),
            node.to_string(),
            t.producer_id.to_string(),
            t.transaction_state.to_string(),
        ]
    };
    let rows: Vec<_> = all.iter().map(row).collect();
    let headers = ["TransactionalId", "Coordinator", "ProducerId", "TransactionState"];
    Ok(write!(out, "{}", table(&headers, &rows))?)
}

type Described = m::describe_transactions_response::TransactionState;

async fn transaction(session: &Session, id: &str) -> Result<Option<(i32, Described)>, Failure> {
    let key = CoordinatorKey::Transaction(id.into());
    let request = m::DescribeTransactionsRequest { transactional_ids: vec![id.into()], ..Default::default() };
    let response = session.call(Target::Coordinator(key.clone()), request).await.map_err(|e| failure(&e))?;
    let node = session.client.coordinator(&key).await.map_err(|e| failure(&e))?;
    let Some(state) = response.transaction_states.into_iter().next() else { return Ok(None) };
    if state.error_code == logrun_wire::ErrorCode::TransactionalIdNotFound.code() {
        return Ok(None);
    }
    check(state.error_code, None)?;
    Ok(Some((node.get(), state)))
}

async fn describe(given: &Given<'_>, out: &mut Out, session: &Session) -> Result<(), Failure> {
    let id = needed(given, "transactional-id")?;
    let what = format!("Failed to describe transaction state of transactional-id `{id}`");
    let Some((node, t)) = transaction(session, id).await.map_err(because(&what))? else {
        return Err(Failure::new(format!(
            "{what}: DescribeTransactions request for transactionalId `{id}` failed because the ID could not be found. \
             Enable debug logging for additional detail."
        )));
    };
    let now = session.client.io().clock.wall().get();
    let (start, duration) = match t.transaction_start_time_ms {
        ..0 => ("None".to_owned(), "None".to_owned()),
        start => (start.to_string(), (now - start).to_string()),
    };
    let of_topic = |d: &m::describe_transactions_response::TopicData| {
        d.partitions.iter().map(|p| topic_partition(&d.topic, *p)).collect::<Vec<_>>()
    };
    let partitions: Vec<String> = t.topics.iter().flat_map(of_topic).collect();
    let row = vec![
        node.to_string(),
        id.to_owned(),
        t.producer_id.to_string(),
        t.producer_epoch.to_string(),
        t.transaction_state.to_string(),
        t.transaction_timeout_ms.to_string(),
        start,
        duration,
        partitions.join(","),
    ];
    let headers = [
        "CoordinatorId",
        "TransactionalId",
        "ProducerId",
        "ProducerEpoch",
        "TransactionState",
        "TransactionTimeoutMs",
        "CurrentTransactionStartTimeMs",
        "TransactionDurationMs",
        "TopicPartitions",
    ];
    Ok(write!(out, "{}", table(&headers, &[row]))?)
}

type Producer = m::describe_producers_response::ProducerState;

/// The producers of each partition, from a broker or from the leaders.
async fn producers_of(
    session: &Session,
    wanted: &[(String, i32)],
    broker: Option<i32>,
) -> Result<Vec<((String, i32), Vec<Producer>)>, Failure> {
    let topics: std::collections::BTreeSet<&str> = wanted.iter().map(|(topic, _)| topic.as_str()).collect();
    let leaders = match broker {
        Some(_) => Default::default(),
        None => partitions(session, &topics.into_iter().collect::<Vec<_>>()).await?,
    };
    let mut nodes: BTreeMap<i32, BTreeMap<&str, Vec<i32>>> = BTreeMap::new();
    for wanted in wanted {
        let node = match broker.or_else(|| leaders.0.get(wanted).copied()) {
            Some(node) if node >= 0 => node,
            Some(_) => return Err(Failure::new(errors::message(5, None))),
            None => return Err(Failure::new(errors::message(3, None))),
        };
        nodes.entry(node).or_default().entry(&wanted.0).or_default().push(wanted.1);
    }
    let ask = |(node, topics): (i32, BTreeMap<&str, Vec<i32>>)| {
        let topics = topics.into_iter().map(|(name, partition_indexes)| m::describe_producers_request::TopicRequest {
            name: name.into(),
            partition_indexes,
            ..Default::default()
        });
        session.node(node, m::DescribeProducersRequest { topics: topics.collect(), ..Default::default() })
    };
    let mut found = Vec::new();
    for response in try_join_all(nodes.into_iter().map(ask)).await? {
        for topic in response.topics {
            for p in topic.partitions {
                check(p.error_code, p.error_message.as_deref())?;
                found.push(((topic.name.to_string(), p.partition_index), p.active_producers));
            }
        }
    }
    Ok(found)
}

async fn producers(given: &Given<'_>, out: &mut Out, session: &Session) -> Result<(), Failure> {
    let partition = topic_and_partition(given)?;
    let broker = given.parsed("broker-id")?;
    let whom = broker.map_or("leader".to_owned(), |b: i32| format!("broker {b}"));
    let name = topic_partition(&partition.0, partition.1);
    let what = format!("Failed to describe producers for partition {name} on {whom}");
    let found = producers_of(session, &[partition], broker).await.map_err(because(&what))?;
    let row = |p: &Producer| {
        vec![
            p.producer_id.to_string(),
            p.producer_epoch.to_string(),
            p.coordinator_epoch.to_string(),
            p.last_sequence.to_string(),
            p.last_timestamp.to_string(),
            if p.current_txn_start_offset < 0 { "None".to_owned() } else { p.current_txn_start_offset.to_string() },
        ]
    };
    let rows: Vec<_> = found.iter().flat_map(|(_, producers)| producers.iter().map(row)).collect();
    let headers = [
        "ProducerId",
        "ProducerEpoch",
        "LatestCoordinatorEpoch",
        "LastSequence",
        "LastTimestamp",
        "CurrentTransactionStartOffset",
    ];
    Ok(write!(out, "{}", table(&headers, &rows))?)
}

async fn abort(given: &Given<'_>, session: &Session) -> Result<(), Failure> {
    let partition = topic_and_partition(given)?;
    let name = topic_partition(&partition.0, partition.1);
    let (producer_id, producer_epoch, coordinator_epoch) = match given.parsed::<i64>("start-offset")? {
        Some(start) => {
            let what = format!("Failed to validate producer state for partition {name}");
            let found = producers_of(session, std::slice::from_ref(&partition), None).await.map_err(because(&what))?;
            let mut producers = found.iter().flat_map(|(_, producers)| producers);
            let producer = producers.find(|p| p.current_txn_start_offset == start).ok_or_else(|| {
                Failure::new(format!(
                    "Could not find any open transactions starting at offset {start} on partition {name}"
                ))
            })?;
            (producer.producer_id, producer.producer_epoch, producer.coordinator_epoch)
        }
        None => {
            let id = given.parsed("producer-id")?.ok_or_else(|| {
                Failure::new(
                    "The transaction to abort must be identified either with --start-offset (for brokers on 3.0 or above) \
                     or with --producer-id, --producer-epoch, and --coordinator-epoch (for older brokers)",
                )
            })?;
            let missing = |name: &str| Failure::new(format!("Missing required argument --{name}"));
            let epoch = given.parsed("producer-epoch")?.ok_or_else(|| missing("producer-epoch"))?;
            (id, epoch, given.parsed("coordinator-epoch")?.ok_or_else(|| missing("coordinator-epoch"))?)
        }
    };
    let marker = m::write_txn_markers_request::WritableTxnMarker {
        producer_id,
        producer_epoch: i16::try_from(producer_epoch)
            .map_err(|_| Failure::new(format!("{producer_epoch} is no producer epoch")))?,
        transaction_result: false,
        topics: vec![m::write_txn_markers_request::WritableTxnMarkerTopic {
            name: partition.0.as_str().into(),
            partition_indexes: vec![partition.1],
            ..Default::default()
        }],
        // A transaction that was never ended knows no coordinator: 0 is below any.
        coordinator_epoch: coordinator_epoch.max(0),
        ..Default::default()
    };
    let leader = logrun_client::TopicPartition::new(partition.0.as_str(), partition.1);
    let request = m::WriteTxnMarkersRequest { markers: vec![marker], ..Default::default() };
    let what = format!("Failed to abort transaction of producer {producer_id} on partition {name}");
    let response = session.call(Target::Leader(leader), request).await.map_err(|e| because(&what)(failure(&e)))?;
    for p in response.markers.iter().flat_map(|m| &m.topics).flat_map(|t| &t.partitions) {
        check(p.error_code, None).map_err(because(&what))?;
    }
    Ok(())
}

/// Fences the producers of a transactional id, which aborts what it has open.
async fn terminate(given: &Given<'_>, session: &Session) -> Result<(), Failure> {
    let id = needed(given, "transactionalId")?;
    let request = m::InitProducerIdRequest {
        transactional_id: Some(id.into()),
        transaction_timeout_ms: 1,
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    };
    let key = CoordinatorKey::Transaction(id.into());
    let what = format!("Failed to force terminate transactionalId `{id}`");
    let response = session.call(Target::Coordinator(key), request).await.map_err(|e| because(&what)(failure(&e)))?;
    check(response.error_code, None).map_err(because(&what))
}
