//! How fast librdkafka is through Rust's rdkafka, for `cargo xtask bench --only client-…`: the same work, arguments and last
//! line as `crates/client/examples/perf.rs`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[derive(Default)]
struct Deliveries {
    failed: AtomicU64,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        if result.is_err() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn produce(config: &ClientConfig, topic: &str, records: u64, bytes: usize) -> Outcome {
    let producer: ThreadedProducer<Deliveries> = config.create_with_context(Deliveries::default())?;
    let value: Vec<u8> = (0..bytes).map(|i| b'A' + (i * 7919 % 26) as u8).collect();
    let begun = Instant::now();
    for _ in 0..records {
        let mut record = BaseRecord::<(), Vec<u8>>::to(topic).payload(&value);
        while let Err((e, back)) = producer.send(record) {
            if !matches!(e, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) {
                return Err(e.into());
            }
            record = back;
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    producer.flush(Duration::from_secs(120))?;
    let failed = producer.context().failed.load(Ordering::Relaxed);
    if failed > 0 {
        return Err(format!("{failed} records failed").into());
    }
    println!("{records} records in {:.4} s", begun.elapsed().as_secs_f64());
    Ok(())
}

fn consume(config: &ClientConfig, topic: &str, records: u64) -> Outcome {
    let consumer: BaseConsumer = config.create()?;
    consumer.subscribe(&[topic])?;
    let (mut seen, mut bytes) = (0, 0);
    let mut begun = Instant::now();
    let mut last = Instant::now();
    while seen < records {
        // Nothing may also mean that something else has happened, such as a rebalance.
        let Some(message) = consumer.poll(Duration::from_secs(1)) else {
            if last.elapsed() > Duration::from_secs(30) {
                return Err("nothing comes".into());
            }
            continue;
        };
        let message = message?;
        if seen % 1024 == 0 {
            last = Instant::now();
        }
        if seen == 0 {
            // The group has been joined: what is measured is reading.
            begun = Instant::now();
        }
        seen += 1;
        bytes += message.payload_len();
    }
    println!("{seen} records in {:.4} s", begun.elapsed().as_secs_f64());
    // What was read is used.
    eprintln!("{bytes} bytes");
    Ok(())
}

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, bootstrap, topic, records, bytes, properties @ ..] = &arguments[..] else {
        return Err("perf produce|consume BOOTSTRAP TOPIC RECORDS BYTES [name=value]...".into());
    };
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    for pair in properties {
        let (name, value) = pair.split_once('=').ok_or("name=value")?;
        config.set(name, value);
    }
    match what.as_str() {
        "produce" => produce(&config, topic, records.parse()?, bytes.parse()?),
        _ => consume(&config, topic, records.parse()?),
    }
}
