//! Writes two records that are seen together or not at all. Needs a broker that serves transactions.
//!
//! `cargo run -p logrun-client --example transactions -- localhost:9092 accounts`

use logrun_client::{Config, Error, Producer, Record};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let bootstrap = arguments.next().unwrap_or_else(|| "localhost:9092".to_owned());
    let topic = arguments.next().unwrap_or_else(|| "accounts".to_owned());

    let producer = Producer::connect(&Config::new(bootstrap).set("transactional.id", "transfers"))?;
    producer.init_transactions().await?;
    producer.begin_transaction()?;
    let transfer = async {
        drop(producer.send(Record::to(&topic).key("alice").value("-5")).await?);
        drop(producer.send(Record::to(&topic).key("bob").value("+5")).await?);
        producer.commit_transaction().await
    };
    match transfer.await {
        Ok(()) => println!("committed"),
        Err(e) => {
            println!("{e}");
            producer.abort_transaction().await?;
        }
    }
    producer.close().await;
    Ok(())
}
