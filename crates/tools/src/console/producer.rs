//! `kafka-console-producer`: sends the lines that it reads (Kafka's `ConsoleProducer`).

use std::ffi::OsString;
use std::io::{self, BufRead, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use logrun_client::producer::{Producer, Record};
use logrun_client::{ClientKind, Target};
use logrun_wire::ErrorCode;
use logrun_wire::messages as m;
use tokio::sync::mpsc;

use super::reader::{Line, LineReader};
use super::{Stop, client_properties};
use crate::Tool;
use crate::failure::Failure;
use crate::files::{self, Properties};
use crate::options::{BOOTSTRAP_SERVER, COMMAND_CONFIG, Given, HELP, Opt, Syntax, VERSION};
use crate::session::{block_on, config_of, failure};

pub const TOOL: Tool = Tool { name: "kafka-console-producer", about: SYNTAX.about, run };

const SYNTAX: Syntax = Syntax {
    tool: "kafka-console-producer",
    about: "Sends each line of its input as a record",
    words: "",
    options: &[
        HELP,
        VERSION,
        BOOTSTRAP_SERVER,
        Opt::value("broker-list", "HOST:PORT,…", "").instead("bootstrap-server"),
        COMMAND_CONFIG,
        Opt::value("producer.config", "FILE", "").instead("command-config"),
        Opt::value("command-property", "NAME=VALUE", "A configuration of the producer. Can be given several times."),
        Opt::value("producer-property", "NAME=VALUE", "").instead("command-property"),
        Opt::value("topic", "TOPIC", "The topic (required)."),
        Opt::flag("sync", "Wait for each record's acknowledgement before the next is sent."),
        Opt::maybe("compression-codec", "CODEC", "none, gzip, snappy, lz4 or zstd; gzip if nothing is said."),
        Opt::value("batch-size", "BYTES", "batch.size"),
        Opt::value("max-partition-memory-bytes", "BYTES", "").instead("batch-size"),
        Opt::value("message-send-max-retries", "COUNT", "retries"),
        Opt::value("retry-backoff-ms", "MS", "retry.backoff.ms"),
        Opt::value("timeout", "MS", "linger.ms"),
        Opt::value("request-required-acks", "ACKS", "acks"),
        Opt::value("request-timeout-ms", "MS", "request.timeout.ms"),
        Opt::value("metadata-expiry-ms", "MS", "metadata.max.age.ms"),
        Opt::value("max-block-ms", "MS", "max.block.ms"),
        Opt::value("max-memory-bytes", "BYTES", "buffer.memory"),
        Opt::value("socket-buffer-size", "BYTES", "send.buffer.bytes"),
        Opt::value("line-reader", "CLASS", "LineMessageReader; there is no other."),
        Opt::value(
            "reader-property",
            "NAME=VALUE",
            "How lines are read: parse.key, parse.headers, ignore.error (true or false), key.separator, headers.delimiter, headers.separator, headers.key.separator, null.marker.",
        ),
        Opt::value("property", "NAME=VALUE", "").instead("reader-property"),
        Opt::value("reader-config", "FILE", "A properties file for the reader."),
    ],
    examples: &[
        "--bootstrap-server localhost:9092 --topic orders",
        "--bootstrap-server localhost:9092 --topic orders --reader-property parse.key=true --reader-property key.separator=,",
    ],
};

/// Options that are configurations of the producer by another name.
const CONFIGS: [(&str, &str); 11] = [
    ("timeout", "linger.ms"),
    ("request-required-acks", "acks"),
    ("request-timeout-ms", "request.timeout.ms"),
    ("message-send-max-retries", "retries"),
    ("retry-backoff-ms", "retry.backoff.ms"),
    ("socket-buffer-size", "send.buffer.bytes"),
    ("max-memory-bytes", "buffer.memory"),
    ("batch-size", "batch.size"),
    ("max-partition-memory-bytes", "batch.size"),
    ("metadata-expiry-ms", "metadata.max.age.ms"),
    ("max-block-ms", "max.block.ms"),
];

fn run(args: &[OsString]) -> ExitCode {
    crate::tool(&SYNTAX, args, |given, out| {
        given.require(&["topic"])?;
        let properties = properties(given)?;
        let reader = reader(given)?;
        // What was announced stands before the prompt.
        out.flush()?;
        block_on(produce(given, properties, reader))
    })
}

fn properties(given: &Given<'_>) -> Result<Properties, Failure> {
    let mut properties =
        client_properties(given, ("command-config", "producer.config"), ("command-property", "producer-property"))?;
    let brokers = given.value("bootstrap-server")?.or(given.value("broker-list")?);
    let brokers = brokers.ok_or_else(|| given.missing("bootstrap-server"))?;
    properties.insert("bootstrap.servers".to_owned(), brokers.to_owned());
    properties.entry("client.id".to_owned()).or_insert_with(|| "console-producer".to_owned());
    for (option, name) in CONFIGS {
        if let Some(value) = given.value(option)? {
            properties.insert(name.to_owned(), value.to_owned());
        }
    }
    if given.has("compression-codec") {
        let codec = given.value("compression-codec")?.unwrap_or("gzip");
        properties.insert("compression.type".to_owned(), codec.to_owned());
    }
    Ok(properties)
}

fn reader(given: &Given<'_>) -> Result<LineReader, Failure> {
    match given.value("line-reader")? {
        None => {}
        Some(class) if class.ends_with("LineMessageReader") => {}
        Some(class) => {
            return Err(given.syntax.wrong(format!("there is no reader {class}: LineMessageReader is the only one")));
        }
    }
    let mut properties = match given.value("reader-config")? {
        Some(path) => files::load(path)?,
        None => Properties::new(),
    };
    properties.extend(files::pairs(given.values(given.either("reader-property", "property")?)));
    LineReader::new(&properties)
}

/// Reads lines on a thread of its own, for reading from a terminal waits.
fn lines() -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (to, from) = mpsc::channel(1024);
    let prompt = io::stdin().is_terminal() && io::stdout().is_terminal();
    std::thread::spawn(move || {
        let mut input = io::stdin().lock();
        loop {
            if prompt {
                // Nobody to prompt is nobody to read from either: the next read says so.
                let _ = write!(io::stdout(), ">").and_then(|()| io::stdout().flush());
            }
            let mut line = Vec::new();
            match input.read_until(b'\n', &mut line) {
                Ok(0) => return,
                Ok(_) => {
                    for end in [b'\n', b'\r'] {
                        if line.last() == Some(&end) {
                            line.pop();
                        }
                    }
                    if to.blocking_send(Ok(line)).is_err() {
                        return;
                    }
                }
                Err(e) => {
                    // Without a receiver nobody wants to know.
                    let _ = to.blocking_send(Err(e));
                    return;
                }
            }
        }
    });
    from
}

async fn produce(given: &Given<'_>, properties: Properties, mut reader: LineReader) -> Result<(), Failure> {
    let topic = given.value("topic")?.unwrap_or_default();
    let config = config_of(ClientKind::Producer, properties);
    let producer = Producer::connect(&config).map_err(|e| failure(&e))?;
    warn_of_new_topic(&producer, topic).await;
    let failed = Arc::new(AtomicU64::new(0));
    let mut lines = lines();
    let mut stop = Stop::new()?;
    let result = loop {
        let line = tokio::select! {
            line = lines.recv() => line,
            () = stop.asked() => break Err(Failure::new("").code(130)),
        };
        let Some(line) = line else { break Ok(()) };
        let record = match line.map_err(Failure::from).and_then(|line| reader.read(&line)) {
            Ok(record) => record,
            Err(failure) => break Err(failure),
        };
        if let Err(failure) = send(&producer, topic, &record, given.has("sync"), &failed).await {
            break Err(failure);
        }
    };
    producer.close().await;
    result?;
    match failed.load(Ordering::Relaxed) {
        0 => Ok(()),
        n => Err(Failure::new(format!("{n} records were not written"))),
    }
}

/// A misspelt topic is told of: the broker may make a new one of it.
async fn warn_of_new_topic(producer: &Producer, topic: &str) {
    let request = m::MetadataRequest {
        topics: Some(vec![m::metadata_request::MetadataRequestTopic {
            name: Some(topic.into()),
            ..Default::default()
        }]),
        allow_auto_topic_creation: false,
        ..Default::default()
    };
    // What is wrong with the cluster, the first record will be told.
    if let Ok(response) = producer.client().call(Target::Any, request).await
        && response.topics.iter().any(|t| t.error_code == ErrorCode::UnknownTopicOrPartition.code())
    {
        eprintln!(
            "WARN There is no topic {topic} yet (UNKNOWN_TOPIC_OR_PARTITION): the first record creates it, if the broker allows that."
        );
    }
}

async fn send(
    producer: &Producer,
    topic: &str,
    line: &Line,
    sync: bool,
    failed: &Arc<AtomicU64>,
) -> Result<(), Failure> {
    let headers: Vec<(&[u8], Option<&[u8]>)> = line.headers.iter().map(|(k, v)| (k.as_bytes(), v.as_deref())).collect();
    let record = Record {
        topic,
        key: line.key.as_deref(),
        value: line.value.as_deref(),
        headers: &headers,
        ..Record::default()
    };
    if sync {
        let delivery = producer.send(record).await.map_err(|e| failure(&e))?;
        delivery.await.map_err(|e| failure(&e))?;
        return Ok(());
    }
    let (failed, topic) = (failed.clone(), topic.to_owned());
    producer
        .send_with(record, move |result| {
            if let Err(e) = result {
                failed.fetch_add(1, Ordering::Relaxed);
                eprintln!("ERROR Error when sending message to topic {topic}: {}", failure(&e));
            }
        })
        .await
        .map_err(|e| failure(&e))
}
