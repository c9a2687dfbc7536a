//! Reads a topic as a member of a group, or all its partitions if there is no group, and says how fast that was.
//!
//! ```text
//! cargo run --release -p logrun-client --example consume -- localhost:9092 TOPIC COUNT [group.id=g] [option=value …]
//! ```

use std::time::{Duration, Instant};

use logrun_client::consumer::{CloseOptions, Consumer};
use logrun_client::{Config, TopicPartition};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let usage = "consume BOOTSTRAP TOPIC COUNT [option=value …]";
    let (bootstrap, topic) = (args.next().ok_or(usage)?, args.next().ok_or(usage)?);
    let count: usize = args.next().ok_or(usage)?.parse()?;
    let mut config = Config::new(bootstrap).set("auto.offset.reset", "earliest");
    for pair in args {
        config = config.set_pair(&pair)?;
    }

    let consumer = Consumer::connect(&config)?;
    if config.get("group.id").is_some() {
        consumer.subscribe([topic.as_str()])?;
    } else {
        let partitions = consumer.partitions_for(&topic).await?.partitions.len();
        consumer.assign((0..partitions as i32).map(|p| TopicPartition::new(topic.as_str(), p)))?;
    }
    let (mut records, mut bytes, mut polls) = (0, 0, 0u64);
    let mut begun = Instant::now();
    while records < count {
        let batch = consumer.poll(Duration::from_secs(10)).await?;
        if batch.is_empty() {
            break;
        }
        if records == 0 {
            // The group has been joined: what is measured is reading.
            begun = Instant::now();
        }
        polls += 1;
        for record in &batch {
            bytes += record.value().map_or(0, <[u8]>::len);
        }
        records += batch.len();
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{records} records in {polls} polls, {:.0} MB in {seconds:.2} s: {:.0} records/s, {:.0} MB/s",
        bytes as f64 / 1e6,
        records as f64 / seconds,
        bytes as f64 / 1e6 / seconds
    );
    consumer.close(CloseOptions::default()).await?;
    Ok(())
}
