//! How fast the producer is: records of a size as fast as they are taken, with the CPU time that this process used.
//!
//! `cargo run --release -p logrun-client --example producer_perf -- TOPIC RECORDS BYTES key=value...`

use std::time::Instant;

use logrun_client::{Config, Error, Producer, Record};

/// User and system time of this process in seconds.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = text.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let topic = arguments.next().unwrap_or_else(|| "perf".to_owned());
    let number = |text: Option<String>, default: u64| text.and_then(|t| t.parse().ok()).unwrap_or(default);
    let records = number(arguments.next(), 1_000_000);
    let size = number(arguments.next(), 100);
    let mut config = Config::new("localhost:9092");
    for pair in arguments {
        config = config.set_pair(&pair)?;
    }
    let producer = Producer::connect(&config)?;
    // As Kafka's own tool does it: letters by chance.
    let value: Vec<u8> = (0..size).map(|i| b'A' + (i * 7919 % 26) as u8).collect();
    let (begun, cpu) = (Instant::now(), cpu_seconds());
    for _ in 0..records {
        drop(producer.send(Record::to(&topic).value(&value)).await?);
    }
    producer.flush().await;
    let seconds = begun.elapsed().as_secs_f64();
    let cpu = cpu_seconds() - cpu;
    println!(
        "{records} records of {size} B: {:.0} records/s, {:.1} MB/s, CPU {cpu:.2} s ({:.2} us a record)",
        records as f64 / seconds,
        (records * size) as f64 / seconds / 1e6,
        cpu * 1e6 / records as f64
    );
    producer.close().await;
    Ok(())
}
