//! `kafka-e2e-latency`: how long a record takes from the producer to the consumer (Kafka's `EndToEndLatency`).

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use logrun_client::TopicPartition;
use logrun_client::consumer::{CloseOptions, Consumer};
use logrun_client::producer::{Producer, Record};
use logrun_wire::ErrorCode;
use logrun_wire::messages as m;

use super::{Letters, block_on_threads};
use crate::cluster::metadata;
use crate::failure::Failure;
use crate::files::{self, Properties};
use crate::options::{BOOTSTRAP_SERVER, COMMAND_CONFIG, Given, HELP, Opt, Syntax, VERSION};
use crate::session::{Session, check, config, failure};
use crate::text::java_double;
use crate::{Out, Tool};

pub const TOOL: Tool = Tool { name: "kafka-e2e-latency", about: SYNTAX.about, run };

const SYNTAX: Syntax = Syntax {
    tool: "kafka-e2e-latency",
    about: "Measures how long a record takes from the producer to the consumer",
    words: "[bootstrap-server topic num-records producer-acks record-size [command-config]]",
    options: &[
        HELP,
        VERSION,
        BOOTSTRAP_SERVER,
        COMMAND_CONFIG,
        Opt::value("topic", "TOPIC", "The topic (required); made if it isn't there."),
        Opt::value("num-records", "COUNT", "How many records, one after the other (required)."),
        Opt::value("producer-acks", "ACKS", "1 or all (required)."),
        Opt::value("record-size", "BYTES", "How large each is (required)."),
        Opt::maybe("record-key-size", "BYTES", "How large its key is; none without it."),
        Opt::maybe("num-headers", "COUNT", "How many headers it has; none without it."),
        Opt::maybe("record-header-key-size", "BYTES", "How long their names are."),
        Opt::maybe("record-header-size", "BYTES", "How large they are."),
    ],
    examples: &["--bootstrap-server localhost:9092 --topic e2e --num-records 1000 --producer-acks 1 --record-size 100"],
};

/// How long a record may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn run(args: &[OsString]) -> ExitCode {
    crate::tool(&SYNTAX, args, |given, out| {
        let plan = Plan::of(given)?;
        block_on_threads(measure(out, plan))
    })
}

struct Plan {
    properties: Properties,
    topic: String,
    records: usize,
    acks: String,
    value: usize,
    key: Option<usize>,
    headers: usize,
    header_key: usize,
    header_value: usize,
}

impl Plan {
    fn of(given: &Given<'_>) -> Result<Self, Failure> {
        let names = ["bootstrap-server", "topic", "num-records", "producer-acks", "record-size", "command-config"];
        if !given.words.is_empty() && !(5..=6).contains(&given.words.len()) {
            return Err(given.syntax.wrong(format!(
                "Invalid number of arguments. Expected 5 or 6 positional arguments, but got {}. Usage: bootstrap-server topic \
                 num-records producer-acks record-size [optional] command-config",
                given.words.len()
            )));
        }
        // The old way: by position.
        let get = |name: &str| -> Result<Option<String>, Failure> {
            let at = names.iter().position(|n| *n == name).and_then(|at| given.words.get(at)).cloned();
            Ok(given.value(name)?.map(str::to_owned).or(at))
        };
        let needed = |name: &str| get(name)?.ok_or_else(|| given.missing(name));
        let number = |name: &str, text: String| {
            text.parse::<usize>()
                .map_err(|_| given.syntax.wrong(format!("Value for --{name} must be a positive integer.")))
        };
        let acks = needed("producer-acks")?;
        if !matches!(acks.as_str(), "1" | "all") {
            return Err(given.syntax.wrong("Invalid value for --producer-acks. Latency testing requires synchronous acknowledgement. Please use '1' or 'all'."));
        }
        let mut properties = match get("command-config")? {
            Some(path) => files::load(&path)?,
            None => Properties::new(),
        };
        properties.insert("bootstrap.servers".to_owned(), needed("bootstrap-server")?);
        let maybe = |name: &str| given.value(name)?.map(|text| number(name, text.to_owned())).transpose();
        Ok(Self {
            properties,
            topic: needed("topic")?,
            records: number("num-records", needed("num-records")?)?.max(1),
            acks,
            value: number("record-size", needed("record-size")?)?,
            key: maybe("record-key-size")?.filter(|n| *n > 0),
            headers: maybe("num-headers")?.unwrap_or(0),
            header_key: maybe("record-header-key-size")?.unwrap_or(0),
            header_value: maybe("record-header-size")?.unwrap_or(0),
        })
    }
}

async fn make_topic(out: &mut Out, plan: &Plan) -> Result<(), Failure> {
    let session = Session::with(plan.properties.clone())?;
    let cluster = metadata(&session, Some(&[&plan.topic])).await?;
    if cluster.topics.iter().all(|t| t.error_code != ErrorCode::UnknownTopicOrPartition.code()) {
        return Ok(());
    }
    let topic = &plan.topic;
    writeln!(
        out,
        "Topic \"{topic}\" does not exist. Will create topic with 1 partition(s) and replication factor = 1"
    )?;
    let topic = m::create_topics_request::CreatableTopic {
        name: topic.as_str().into(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    let request = m::CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() };
    for result in session.controller(request).await?.topics {
        check(result.error_code, result.error_message.as_deref())?;
    }
    Ok(())
}

async fn measure(out: &mut Out, plan: Plan) -> Result<(), Failure> {
    make_topic(out, &plan).await?;
    let with = |more: &[(&str, &str)]| {
        let mut properties = plan.properties.clone();
        properties.extend(more.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        config(properties)
    };
    let producer = Producer::connect(&with(&[("linger.ms", "0"), ("acks", &plan.acks)])).map_err(|e| failure(&e))?;
    let consumer = Consumer::connect(&with(&[
        ("enable.auto.commit", "false"),
        ("auto.offset.reset", "latest"),
        ("fetch.max.wait.ms", "0"),
    ]))
    .map_err(|e| failure(&e))?;
    let topic = consumer.partitions_for(&plan.topic).await.map_err(|e| failure(&e))?;
    let partitions: Vec<TopicPartition> =
        topic.partitions.iter().map(|p| TopicPartition::new(plan.topic.as_str(), p.index)).collect();
    consumer.assign(partitions.iter().cloned()).map_err(|e| failure(&e))?;
    consumer.seek_to_end(&partitions).map_err(|e| failure(&e))?;
    for partition in &partitions {
        consumer.position(partition).await.map_err(|e| failure(&e))?;
    }
    let clock = consumer.client().io().clock.clone();
    let mut letters = Letters::new();
    let mut random = |size: usize| {
        let mut bytes = vec![0; size];
        letters.fill(&mut bytes);
        bytes
    };
    let mut latencies = Vec::with_capacity(plan.records);
    for i in 0..plan.records {
        let (value, key) = (random(plan.value), plan.key.map(&mut random));
        let parts: Vec<(Vec<u8>, Vec<u8>)> =
            (0..plan.headers).map(|_| (random(plan.header_key), random(plan.header_value))).collect();
        let headers: Vec<(&[u8], Option<&[u8]>)> =
            parts.iter().map(|(k, v)| (k.as_slice(), Some(v.as_slice()))).collect();
        let begun = clock.now();
        let record = Record {
            topic: &plan.topic,
            key: key.as_deref(),
            value: Some(&value),
            headers: &headers,
            ..Record::default()
        };
        let delivery = producer.send(record).await.map_err(|e| failure(&e))?;
        delivery.await.map_err(|e| failure(&e))?;
        let polled = consumer.poll(PATIENCE).await.map_err(|e| failure(&e))?;
        let elapsed = clock.now().since(begun);
        let Some(read) = polled.iter().next() else {
            return Err(Failure::new(format!(
                "poll() timed out before finding a result (timeout:[{}ms])",
                PATIENCE.as_millis()
            )));
        };
        if read.value() != Some(&value) || read.key() != key.as_deref() {
            return Err(Failure::new(
                "The message read did not match the message sent: does somebody else write to the topic?",
            ));
        }
        if polled.len() != 1 {
            return Err(Failure::new(format!(
                "Only one result was expected during this test. We found [{}]",
                polled.len()
            )));
        }
        if i % 1000 == 0 {
            writeln!(out, "{i}\t{}", java_double(elapsed.as_secs_f64() * 1000.0))?;
            out.flush()?;
        }
        latencies.push(elapsed);
    }
    producer.close().await;
    consumer.close(CloseOptions::default()).await.map_err(|e| failure(&e))?;
    let total: f64 = latencies.iter().map(Duration::as_secs_f64).sum();
    writeln!(out, "Avg latency: {:.4} ms", total * 1000.0 / plan.records as f64)?;
    latencies.sort_unstable();
    let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| {
        let at = (latencies.len() as f64 * share) as usize;
        latencies.get(at).map_or(0, Duration::as_millis)
    });
    Ok(writeln!(out, "Percentiles: 50th = {p50}, 99th = {p99}, 99.9th = {p999}")?)
}
