//! Takes jobs from a topic, together with whoever else runs this in the same share group, and settles each by itself.
//!
//! `cargo run -p logrun-client --example share -- localhost:9092 jobs workers`

use std::time::Duration;

use logrun_client::share::{AcknowledgeType, ShareConsumer};
use logrun_client::{Config, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = |default: &str| arguments.next().unwrap_or_else(|| default.to_owned());
    let (bootstrap, topic, group) = (argument("localhost:9092"), argument("jobs"), argument("workers"));

    let config = Config::new(bootstrap).set("group.id", group).set("share.acknowledgement.mode", "explicit");
    let consumer = ShareConsumer::connect(&config)?;
    consumer.set_acknowledgement_callback(|a| println!("{}: {:?} {:?}", a.topic_partition, a.offsets, a.result));
    consumer.subscribe([topic])?;
    loop {
        let jobs = consumer.poll(Duration::from_secs(10)).await?;
        if jobs.is_empty() {
            break;
        }
        for job in &jobs {
            // Done; or not now, for somebody else; or never, for it can't be done.
            let kind = match (job.value(), job.delivery_count()) {
                (Some(b"later"), 1) => AcknowledgeType::Release,
                (None, _) => AcknowledgeType::Reject,
                _ => AcknowledgeType::Accept,
            };
            consumer.acknowledge(&job, kind)?;
        }
    }
    consumer.close(None).await
}
