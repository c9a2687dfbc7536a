//! How fast the client is: records of a size, as fast as they are taken or given out.
//!
//! ```text
//! cargo run --release -p logrun-client --example perf -- produce localhost:9092 TOPIC RECORDS BYTES [name=value]...
//! cargo run --release -p logrun-client --example perf -- consume localhost:9092 TOPIC RECORDS BYTES group.id=g [name=value]...
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use logrun_client::consumer::{CloseOptions, Consumer};
use logrun_client::{Config, Producer, Record};

type Outcome = Result<(), Box<dyn std::error::Error>>;

async fn produce(config: &Config, topic: &str, records: u64, bytes: usize) -> Outcome {
    let producer = Producer::connect(config)?;
    let value: Vec<u8> = (0..bytes).map(|i| b'A' + (i * 7919 % 26) as u8).collect();
    let failed = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    for _ in 0..records {
        let count = failed.clone();
        let delivered = move |result: Result<_, _>| {
            if result.is_err() {
                count.fetch_add(1, Ordering::Relaxed);
            }
        };
        producer.send_with(Record::to(topic).value(&value), delivered).await?;
    }
    producer.flush().await;
    match failed.load(Ordering::Relaxed) {
        0 => println!("{records} records in {:.4} s", begun.elapsed().as_secs_f64()),
        n => return Err(format!("{n} records failed").into()),
    }
    producer.close().await;
    Ok(())
}

async fn consume(config: &Config, topic: &str, records: u64) -> Outcome {
    let consumer = Consumer::connect(config)?;
    consumer.subscribe([topic])?;
    let (mut seen, mut bytes) = (0, 0);
    let mut begun = Instant::now();
    while seen < records {
        let polled = consumer.poll(Duration::from_secs(30)).await?;
        if polled.is_empty() {
            return Err("nothing comes".into());
        }
        if seen == 0 {
            // The group has been joined: what is measured is reading.
            begun = Instant::now();
        }
        for record in &polled {
            bytes += record.value().map_or(0, <[u8]>::len);
        }
        seen += polled.len() as u64;
    }
    println!("{seen} records in {:.4} s", begun.elapsed().as_secs_f64());
    // What was read is used.
    eprintln!("{bytes} bytes");
    consumer.close(CloseOptions::default()).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, bootstrap, topic, records, bytes, properties @ ..] = &arguments[..] else {
        return Err("perf produce|consume BOOTSTRAP TOPIC RECORDS BYTES [name=value]...".into());
    };
    let mut config = Config::new(bootstrap);
    for pair in properties {
        config = config.set_pair(pair)?;
    }
    match what.as_str() {
        "produce" => produce(&config, topic, records.parse()?, bytes.parse()?).await,
        _ => consume(&config, topic, records.parse()?).await,
    }
}
