//! Creates a topic, shows all, and deletes it again.
//!
//! `cargo run -p logrun-client --example topics -- localhost:9092`

use logrun_client::admin::NewTopic;
use logrun_client::{Admin, Config, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let bootstrap = std::env::args().nth(1).unwrap_or_else(|| "localhost:9092".to_owned());
    let admin = Admin::connect(&Config::new(bootstrap))?;

    let topic = NewTopic::new("example", 3).config("retention.ms", "60000");
    for (name, result) in admin.create_topics(&[topic], false).await? {
        match result {
            Ok(created) => println!("{name} has the id {}", created.id),
            Err(e) => println!("{name}: {e}"),
        }
    }
    for topic in admin.list_topics(false).await? {
        println!("{}: {} partitions", topic.name, topic.partitions);
    }
    for (name, result) in admin.delete_topics(&["example".into()]).await? {
        println!("{name}: {}", result.map_or_else(|e| e.to_string(), |()| "deleted".to_owned()));
    }
    Ok(())
}
