//! Writes a few records and says where each went.
//!
//! `cargo run -p logrun-client --example produce -- localhost:9092 greetings`

use logrun_client::{Config, Error, Producer, Record};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let bootstrap = arguments.next().unwrap_or_else(|| "localhost:9092".to_owned());
    let topic = arguments.next().unwrap_or_else(|| "greetings".to_owned());

    let producer = Producer::connect(&Config::new(bootstrap).set("compression.type", "lz4"))?;
    let mut deliveries = Vec::new();
    for (key, value) in [("en", "hello"), ("fr", "salut"), ("de", "servus")] {
        // Waits only if memory is used up: the record is sent in the background.
        deliveries.push(producer.send(Record::to(&topic).key(key).value(value)).await?);
    }
    for delivery in deliveries {
        let written = delivery.await?;
        println!("{} at offset {:?}", written.partition, written.offset);
    }
    producer.close().await;
    Ok(())
}
