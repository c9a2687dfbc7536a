//! The driver of Rust's rdkafka (librdkafka). It obeys the line protocol of `../../README.md`.
//!
//! Base consumer and base producer only: no runtime of its own, so that what is tested is librdkafka and the crate.

use std::io::BufRead;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use base64::{Engine, engine::general_purpose::STANDARD};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use serde_json::{Value, json};

type Outcome = Result<(), Box<dyn std::error::Error>>;

const DEADLINE: Duration = Duration::from_secs(40);

/// Keeps the first delivery error.
#[derive(Default)]
struct Deliveries(std::sync::Mutex<Option<String>>);

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        if let Err((error, _)) = result {
            self.0.lock().unwrap().get_or_insert(error.to_string());
        }
    }
}

struct Driver {
    bootstrap: String,
    lines: Receiver<String>,
}

fn unb64(value: &Value) -> Result<Option<Vec<u8>>, base64::DecodeError> {
    value.as_str().map(|text| STANDARD.decode(text)).transpose()
}

fn text<'a>(command: &'a Value, name: &str) -> Result<&'a str, String> {
    command[name].as_str().ok_or_else(|| format!("no {name} in the command"))
}

fn list<'a>(command: &'a Value, name: &str) -> Result<&'a Vec<Value>, String> {
    command[name].as_array().ok_or_else(|| format!("no {name} in the command"))
}

fn show(m: &BorrowedMessage<'_>) {
    let headers: Vec<Value> = m
        .headers()
        .map(|hs| hs.iter().map(|h| json!([h.key, h.value.map(|v| STANDARD.encode(v))])).collect())
        .unwrap_or_default();
    println!(
        "{}",
        json!({
            "topic": m.topic(), "partition": m.partition(), "offset": m.offset(),
            "timestamp": m.timestamp().to_millis(), "key": m.key().map(|k| STANDARD.encode(k)),
            "value": m.payload().map(|v| STANDARD.encode(v)), "headers": headers,
        })
    );
}

impl Driver {
    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        config
    }

    /// Admin calls are futures that librdkafka's own thread completes: polled here until they are.
    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        struct Unpark(std::thread::Thread);
        impl std::task::Wake for Unpark {
            fn wake(self: std::sync::Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
        let mut context = std::task::Context::from_waker(&waker);
        let mut future = std::pin::pin!(future);
        loop {
            match future.as_mut().poll(&mut context) {
                std::task::Poll::Ready(value) => return value,
                std::task::Poll::Pending => std::thread::park(),
            }
        }
    }

    fn create(&self, c: &Value) -> Outcome {
        let admin: AdminClient<DefaultClientContext> = self.config().create()?;
        let partitions = c["partitions"].as_i64().ok_or("no partitions in the command")? as i32;
        let topic = NewTopic::new(text(c, "topic")?, partitions, TopicReplication::Fixed(1));
        for done in self.wait(admin.create_topics([&topic], &AdminOptions::new()))? {
            done.map_err(|(topic, code)| format!("{topic}: {code}"))?;
        }
        Ok(())
    }

    fn delete(&self, c: &Value) -> Outcome {
        let admin: AdminClient<DefaultClientContext> = self.config().create()?;
        for done in self.wait(admin.delete_topics(&[text(c, "topic")?], &AdminOptions::new()))? {
            done.map_err(|(topic, code)| format!("{topic}: {code}"))?;
        }
        Ok(())
    }

    fn produce(&self, c: &Value) -> Outcome {
        let producer: BaseProducer<Deliveries> = self
            .config()
            .set("compression.type", text(c, "codec")?)
            .set("enable.idempotence", c["idempotent"].to_string())
            .set("acks", "all")
            .set("linger.ms", "20")
            .create_with_context(Deliveries::default())?;
        for r in list(c, "records")? {
            let (key, value) = (unb64(&r["key"])?, unb64(&r["value"])?);
            let mut headers = OwnedHeaders::new();
            for h in list(r, "headers")? {
                let value = unb64(&h[1])?;
                headers = headers.insert(Header { key: h[0].as_str().ok_or("a header without name")?, value: value.as_ref() });
            }
            let mut record = BaseRecord::<[u8], [u8]>::to(text(c, "topic")?).headers(headers);
            record.key = key.as_deref();
            record.payload = value.as_deref();
            record.partition = r["partition"].as_i64().map(|p| p as i32);
            record.timestamp = r["timestamp"].as_i64();
            producer.send(record).map_err(|(error, _)| error)?;
        }
        producer.flush(Duration::from_secs(30))?;
        match producer.context().0.lock().unwrap().take() {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }

    fn consume(&self, c: &Value) -> Outcome {
        let consumer: BaseConsumer =
            self.config().set("group.id", "unused").set("enable.auto.commit", "false").create()?;
        let wait = Duration::from_secs(20);
        let from = match (c["from"].as_str(), c["from"].as_i64()) {
            (_, Some(ms)) => Offset::Offset(ms),
            (Some("latest"), _) => Offset::End,
            _ => Offset::Beginning,
        };
        let mut parts = TopicPartitionList::new();
        for topic in list(c, "topics")? {
            let name = topic.as_str().ok_or("a topic without name")?;
            let meta = consumer.fetch_metadata(Some(name), wait)?;
            for p in meta.topics().iter().flat_map(|t| t.partitions()) {
                parts.add_partition_offset(name, p.id(), from)?;
            }
        }
        if c["from"].is_i64() {
            parts = consumer.offsets_for_times(parts, wait)?;
        }
        consumer.assign(&parts)?;
        let (mut left, end) = (c["count"].as_u64().ok_or("no count in the command")?, Instant::now() + DEADLINE);
        while left > 0 {
            if Instant::now() > end {
                return Err("no end of consume before the deadline".into());
            }
            if let Some(m) = consumer.poll(Duration::from_millis(200)) {
                show(&m?);
                left -= 1;
            }
        }
        Ok(())
    }

    fn group(&self, c: &Value) -> Outcome {
        let consumer: BaseConsumer = self
            .config()
            .set("group.id", text(c, "group")?)
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("heartbeat.interval.ms", "300")
            .set("session.timeout.ms", "6000")
            .create()?;
        consumer.subscribe(&[text(c, "topic")?])?;
        let (mut left, end) = (c["count"].as_u64(), Instant::now() + DEADLINE);
        while left != Some(0) {
            if left.is_none() && self.lines.try_recv().is_ok() {
                break;
            }
            if Instant::now() > end {
                return Err("no end of group before the deadline".into());
            }
            if let Some(m) = consumer.poll(Duration::from_millis(100)) {
                let m = m?;
                show(&m);
                consumer.commit_message(&m, CommitMode::Sync)?;
                left = left.map(|n| n - 1);
            }
        }
        // Dropping it closes it: the member leaves its group.
        Ok(())
    }

    fn obey(&self, line: &str) -> Outcome {
        let command: Value = serde_json::from_str(line)?;
        match text(&command, "do")? {
            "create" => self.create(&command),
            "delete" => self.delete(&command),
            "produce" => self.produce(&command),
            "consume" => self.consume(&command),
            "group" => self.group(&command),
            other => Err(format!("no such command: {other}").into()),
        }
    }
}

fn main() {
    let bootstrap = std::env::args().nth(1).expect("usage: driver BOOTSTRAP");
    let (send, lines) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    let driver = Driver { bootstrap, lines };
    while let Ok(line) = driver.lines.recv() {
        match driver.obey(&line) {
            Ok(()) => println!("OK"),
            Err(error) => println!("FAIL {}", error.to_string().replace('\n', " ")),
        }
    }
}
