//! Programs that use the client library: a writer, and a member of the one group. They tell [`Seen`] what they were told.

use std::sync::Arc;
use std::time::Duration;

use logrun_client::consumer::{CloseOptions, Consumer};
use logrun_client::producer::{Producer, Record, RecordMetadata};
use logrun_client::{Client, ClientKind, Config, Error};
use logrun_io::Io;

use super::seen::Seen;
use super::weather::Weather;

pub const TOPIC: &str = "t";
pub const GROUP: &str = "g";
/// Records of each writer.
const RECORDS: u32 = 80;

/// What all clients have in common.
pub fn config() -> Config {
    Config::new("127.0.0.1:9092").set("reconnect.backoff.max.ms", 200).set("request.timeout.ms", 5_000)
}

/// The text of a writer's record.
pub fn text(writer: usize, number: u32) -> String {
    format!("w{writer} {number:05}")
}

/// Writes all its records, with idempotence, and waits for their fate.
pub async fn write(io: Io, weather: Arc<Weather>, writer: usize, in_flight: u64, partitions: i32, seen: Arc<Seen>) {
    let r = weather.random().clone();
    let config = config()
        .set("linger.ms", r.below(20))
        .set("batch.size", 200 + r.below(800))
        .set("max.in.flight.requests.per.connection", in_flight)
        .set("delivery.timeout.ms", 600_000)
        .set("max.block.ms", 600_000);
    let client = match Client::with_security(io.clone(), &config, ClientKind::Producer, weather) {
        Ok(client) => client,
        Err(e) => return seen.failed(&io, format!("w{writer}"), &e),
    };
    let producer = match Producer::of(client, &config, None) {
        Ok(producer) => producer,
        Err(e) => return seen.failed(&io, format!("w{writer}"), &e),
    };
    for number in 0..RECORDS {
        let text = text(writer, number);
        let partition = r.below(partitions as u64) as i32;
        seen.sent(&text);
        let (heard, told, at) = (seen.clone(), text.clone(), io.clone());
        let delivered = move |result: Result<RecordMetadata, Error>| match result {
            Ok(written) => heard.acknowledged(&at, told, &written),
            Err(e) => heard.failed(&at, told, &e),
        };
        let record = Record::to(TOPIC).partition(partition).value(&text);
        if let Err(e) = producer.send_with(record, delivered).await {
            seen.failed(&io, text, &e);
        }
        if r.chance(1, 3) {
            io.clock.sleep(Duration::from_millis(r.below(200))).await;
        }
    }
    producer.close().await;
}

/// Reads as a member of the group until all is done.
pub async fn read(io: Io, weather: Arc<Weather>, member: usize, seen: Arc<Seen>) {
    let r = weather.random().clone();
    let config = config()
        .set("group.id", GROUP)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", false)
        .set("max.poll.records", 1 + r.below(50))
        .set("session.timeout.ms", 10_000)
        .set("default.api.timeout.ms", 20_000);
    let begun = Client::with_security(io.clone(), &config, ClientKind::Consumer, weather)
        .and_then(|client| Consumer::new(client, &config))
        .and_then(|consumer| consumer.subscribe([TOPIC]).map(|()| consumer));
    let consumer = match begun {
        Ok(consumer) => consumer,
        Err(e) => return seen.failed(&io, format!("member {member}"), &e),
    };
    while !seen.is_done() {
        match consumer.poll(Duration::from_millis(500)).await {
            Ok(records) => {
                for record in &records {
                    let text = String::from_utf8_lossy(record.value().unwrap_or_default()).into_owned();
                    seen.read((record.partition(), record.offset().get()), text);
                }
                seen.note(&io, format!("member {member} has {} more", records.len()));
            }
            Err(e) => return seen.failed(&io, format!("a poll of member {member}"), &e),
        }
        // A commit may fail, for the group may have been divided anew; what it covers is then read again.
        if r.chance(2, 3) {
            drop(consumer.commit_sync().await);
        }
    }
    drop(consumer.commit_sync().await);
    let options = CloseOptions { timeout: Some(Duration::from_secs(20)), ..CloseOptions::default() };
    drop(consumer.close(options).await);
}
