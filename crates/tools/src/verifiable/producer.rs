//! `kafka-verifiable-producer`: produces numbers that count up, and tells what became of each.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use logrun_client::producer::{Producer, Record, RecordMetadata};
use logrun_client::{ClientKind, Error, ErrorCode};
use logrun_io::Io;

use super::Event;
use crate::Tool;
use crate::console::Stop;
use crate::errors;
use crate::failure::Failure;
use crate::files::{self, Properties};
use crate::options::{BOOTSTRAP_SERVER, COMMAND_CONFIG, Given, HELP, Opt, Syntax, VERSION};
use crate::session::{block_on, config_of, failure};
use crate::text::java_double;

pub const TOOL: Tool = Tool { name: "kafka-verifiable-producer", about: SYNTAX.about, run };

const SYNTAX: Syntax = Syntax {
    tool: "kafka-verifiable-producer",
    about: "Produces numbers that count up, and prints in JSON what became of each",
    words: "",
    options: &[
        HELP.short("h"),
        VERSION,
        BOOTSTRAP_SERVER,
        Opt::value("broker-list", "HOST:PORT,…", "").instead("bootstrap-server"),
        COMMAND_CONFIG,
        Opt::value("producer.config", "FILE", "").instead("command-config"),
        Opt::value("topic", "TOPIC", "The topic (required)."),
        Opt::value("max-messages", "COUNT", "How many records; -1, which it is without this, for ever."),
        Opt::value("throughput", "RECORDS/S", "At most about so many a second; -1 for as many as possible."),
        Opt::value("acks", "ACKS", "0, 1 or -1 (which it is without this)."),
        Opt::value("message-create-time", "MS", "The timestamp of the first record; time goes on from there."),
        Opt::value("value-prefix", "N", "Put this and a dot before each value."),
        Opt::value("repeating-keys", "N", "Give records keys that count from 0 to below this, again and again."),
    ],
    examples: &["--bootstrap-server localhost:9092 --topic checked --max-messages 1000"],
};

fn run(args: &[OsString]) -> ExitCode {
    super::run(&SYNTAX, args, |given| {
        let plan = Plan::of(given)?;
        block_on(produce(plan))
    })
}

struct Plan {
    properties: Properties,
    topic: String,
    max: Option<u64>,
    throughput: i64,
    create_time: Option<i64>,
    prefix: Option<i32>,
    keys: Option<i32>,
}

impl Plan {
    fn of(given: &Given<'_>) -> Result<Self, Failure> {
        let needed = |name: &str| given.syntax.wrong(format!("argument --{name} is required"));
        let topic = given.value("topic")?.ok_or_else(|| needed("topic"))?.to_owned();
        let server = given.value(given.either("bootstrap-server", "broker-list")?)?;
        let server = server.ok_or_else(|| needed("bootstrap-server"))?;
        let acks: i32 = given.parsed("acks")?.unwrap_or(-1);
        if !(-1..=1).contains(&acks) {
            return Err(given
                .syntax
                .wrong(format!("argument --acks: invalid choice: '{acks}' (choose from {{0,1,-1}})")));
        }
        let mut properties = Properties::new();
        properties.insert("bootstrap.servers".to_owned(), server.to_owned());
        properties.insert("acks".to_owned(), acks.to_string());
        properties.insert("retries".to_owned(), "0".to_owned());
        if let Some(path) = given.value(given.either("command-config", "producer.config")?)? {
            properties.extend(files::load(path)?);
        }
        // A record must not be tried twice, which an idempotent producer would insist on.
        if properties.get("retries").is_some_and(|r| r == "0") {
            properties.entry("enable.idempotence".to_owned()).or_insert_with(|| "false".to_owned());
        }
        let keys: Option<i32> = given.parsed("repeating-keys")?;
        Ok(Self {
            properties,
            topic,
            max: given.parsed::<i32>("max-messages")?.and_then(|n| u64::try_from(n).ok()),
            throughput: given.parsed::<i32>("throughput")?.unwrap_or(-1).into(),
            create_time: given.parsed::<i64>("message-create-time")?.filter(|ms| *ms != -1),
            prefix: given.parsed("value-prefix")?,
            keys: keys.filter(|n| *n > 0),
        })
    }

    fn value(&self, n: u64) -> String {
        self.prefix.map_or_else(|| n.to_string(), |prefix| format!("{prefix}.{n}"))
    }
}

async fn produce(plan: Plan) -> Result<(), Failure> {
    let clock = Io::real().clock.clone();
    let wall = move || clock.wall().get();
    let config = config_of(ClientKind::Producer, plan.properties.clone());
    let producer = Producer::connect(&config).map_err(|e| failure(&e))?;
    let mut stop = Stop::new()?;
    Event::at(wall(), "startup_complete").tell();
    let (start, acked) = (wall(), Arc::new(AtomicU64::new(0)));
    let mut sent = 0;
    let mut create_time = plan.create_time;
    let stopped = loop {
        if plan.max.is_some_and(|max| sent >= max) {
            break false;
        }
        let (value, key) = (plan.value(sent), plan.keys.map(|n| (sent % u64::from(n.unsigned_abs())).to_string()));
        sent += 1;
        let record = Record {
            topic: &plan.topic,
            key: key.as_deref().map(str::as_bytes),
            value: Some(value.as_bytes()),
            timestamp: create_time,
            ..Record::default()
        };
        create_time = create_time.map(|t| t + (wall() - start));
        let told = {
            let (acked, topic, key, value, wall) =
                (acked.clone(), plan.topic.clone(), key.clone(), value.clone(), wall.clone());
            move |result: Result<RecordMetadata, Error>| tell(&acked, wall(), &topic, key.as_deref(), &value, result)
        };
        let again = told.clone();
        tokio::select! {
            taken = producer.send_with(record, told) => {
                if let Err(e) = taken {
                    again(Err(e));
                }
            }
            () = stop.asked() => break true,
        }
        let due_ms = if plan.throughput > 0 { sent as f64 / plan.throughput as f64 * 1000.0 } else { 0.0 };
        let ahead_ms = due_ms - (wall() - start) as f64;
        if ahead_ms >= 1.0 {
            let pause = producer.client().io().clock.sleep(Duration::from_secs_f64(ahead_ms / 1000.0));
            tokio::select! {
                () = pause => {}
                () = stop.asked() => break true,
            }
        }
    };
    producer.close().await;
    Event::at(wall(), "shutdown_complete").tell();
    let (acked, ms) = (acked.load(Ordering::Relaxed), wall() - start);
    let average = if ms == 0 { 0.0 } else { 1000.0 * (acked as f64 / ms as f64) };
    Event::at(wall(), "tool_data")
        .with("sent", sent)
        .with("acked", acked)
        .with("target_throughput", plan.throughput)
        .with("avg_throughput", java_double(average))
        .tell();
    match stopped {
        true => Err(Failure::new("").code(130)),
        false => Ok(()),
    }
}

/// Tells a record's fate.
fn tell(
    acked: &AtomicU64,
    now: i64,
    topic: &str,
    key: Option<&str>,
    value: &str,
    result: Result<RecordMetadata, Error>,
) {
    match result {
        Ok(written) => {
            acked.fetch_add(1, Ordering::Relaxed);
            Event::at(now, "producer_send_success")
                .text("key", key)
                .text("value", Some(value))
                .with("offset", written.offset.unwrap_or(-1))
                .text("topic", Some(&written.partition.topic))
                .with("partition", written.partition.partition)
                .tell();
        }
        Err(e) => {
            let class = match &e {
                Error::Broker { code, .. } => errors::class(*code),
                Error::TimedOut { .. } => errors::class(ErrorCode::RequestTimedOut),
                Error::Disconnected { .. } | Error::Connect { .. } => errors::class(ErrorCode::NetworkException),
                _ => "org.apache.kafka.common.KafkaException".to_owned(),
            };
            Event::at(now, "producer_send_error")
                .text("key", key)
                .text("value", Some(value))
                .text("topic", Some(topic))
                .text("exception", Some(&format!("class {class}")))
                .text("message", Some(&errors::sentence(&e)))
                .tell();
        }
    }
}
