//! `kafka-verifiable-consumer`: reads a topic as a member of a group, and tells what it is given, reads and commits.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use futures_util::future::{BoxFuture, ready};
use logrun_client::consumer::{CloseOptions, Consumer, OffsetAndMetadata, RebalanceListener, Records};
use logrun_client::{ClientKind, Offset, TopicPartition};
use logrun_io::Io;
use serde_json::Value;

use super::Event;
use crate::Tool;
use crate::console::Stop;
use crate::errors;
use crate::failure::Failure;
use crate::files::{self, Properties};
use crate::options::{BOOTSTRAP_SERVER, COMMAND_CONFIG, Given, HELP, Opt, Syntax, VERSION};
use crate::session::{block_on, config_of, failure};

pub const TOOL: Tool = Tool { name: "kafka-verifiable-consumer", about: SYNTAX.about, run };

const SYNTAX: Syntax = Syntax {
    tool: "kafka-verifiable-consumer",
    about: "Reads a topic in a group, and prints in JSON what it is given, reads and commits",
    words: "",
    options: &[
        HELP.short("h"),
        VERSION,
        BOOTSTRAP_SERVER,
        Opt::value("broker-list", "HOST:PORT,…", "").instead("bootstrap-server"),
        COMMAND_CONFIG,
        Opt::value("consumer.config", "FILE", "").instead("command-config"),
        Opt::value("topic", "TOPIC", "The topic (required)."),
        Opt::value("group-id", "GROUP", "The group (required)."),
        Opt::value("group-protocol", "PROTOCOL", "classic (without it) or consumer."),
        Opt::value("group-remote-assignor", "NAME", "The assignor of the group's coordinator, with the new protocol."),
        Opt::value("group-instance-id", "NAME", "The name of a static member."),
        Opt::value("max-messages", "COUNT", "How many records; -1, which it is without this, for ever."),
        Opt::value("session-timeout", "MS", "How long the group waits for its heartbeat (30000)."),
        Opt::flag("verbose", "Tell of each record."),
        Opt::flag("enable-autocommit", "Commit now and then, instead of after each poll."),
        Opt::value("reset-policy", "POLICY", "Without a commit: earliest (without this), latest or none."),
        Opt::value("assignment-strategy", "CLASS", "The assignor of the members, with the classic protocol."),
    ],
    examples: &["--bootstrap-server localhost:9092 --topic checked --group-id checkers --max-messages 1000"],
};

fn run(args: &[OsString]) -> ExitCode {
    super::run(&SYNTAX, args, |given| {
        let properties = properties(given)?;
        let plan = Plan {
            properties,
            topic: given.value("topic")?.unwrap_or_default().to_owned(),
            max: given.parsed::<i32>("max-messages")?.and_then(|n| usize::try_from(n).ok()),
            commit: !given.has("enable-autocommit"),
            verbose: given.has("verbose"),
        };
        block_on(consume(plan))
    })
}

struct Plan {
    properties: Properties,
    topic: String,
    max: Option<usize>,
    commit: bool,
    verbose: bool,
}

fn properties(given: &Given<'_>) -> Result<Properties, Failure> {
    let needed = |name: &str| given.syntax.wrong(format!("argument --{name} is required"));
    if !given.has("topic") {
        return Err(needed("topic"));
    }
    let server = given.value(given.either("bootstrap-server", "broker-list")?)?;
    let server = server.ok_or_else(|| needed("bootstrap-server"))?;
    let group = given.value("group-id")?.ok_or_else(|| needed("group-id"))?;
    let mut properties = match given.value(given.either("command-config", "consumer.config")?)? {
        Some(path) => files::load(path)?,
        None => Properties::new(),
    };
    let mut set = |name: &str, value: &str| drop(properties.insert(name.to_owned(), value.to_owned()));
    match given.value("group-protocol")? {
        Some(protocol) if protocol.eq_ignore_ascii_case("consumer") => {
            set("group.protocol", "consumer");
            if let Some(assignor) = given.value("group-remote-assignor")? {
                set("group.remote.assignor", assignor);
            }
        }
        _ => {
            let range = "org.apache.kafka.clients.consumer.RangeAssignor";
            set("partition.assignment.strategy", given.value("assignment-strategy")?.unwrap_or(range));
            let timeout: i32 = given.parsed("session-timeout")?.unwrap_or(30_000);
            set("session.timeout.ms", &timeout.to_string());
        }
    }
    set("group.id", group);
    if let Some(name) = given.value("group-instance-id")? {
        set("group.instance.id", name);
    }
    set("bootstrap.servers", server);
    set("enable.auto.commit", if given.has("enable-autocommit") { "true" } else { "false" });
    set("auto.offset.reset", given.value("reset-policy")?.unwrap_or("earliest"));
    Ok(properties)
}

fn now() -> i64 {
    Io::real().clock.wall().get()
}

fn list(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<String> = items.into_iter().collect();
    format!("[{}]", items.join(","))
}

/// `"topic":"t","partition":0`
fn fields(tp: &TopicPartition) -> String {
    format!("\"topic\":{},\"partition\":{}", Value::from(&*tp.topic), tp.partition)
}

/// Tells what the group gives and takes.
struct Teller;

impl Teller {
    fn tell(name: &str, partitions: &[TopicPartition]) -> BoxFuture<'static, ()> {
        let partitions = list(partitions.iter().map(|tp| format!("{{{}}}", fields(tp))));
        Event::at(now(), name).with("partitions", partitions).tell();
        Box::pin(ready(()))
    }
}

impl RebalanceListener for Teller {
    fn on_revoked<'a>(&'a self, _: &'a Consumer, partitions: &'a [TopicPartition]) -> BoxFuture<'a, ()> {
        Self::tell("partitions_revoked", partitions)
    }

    fn on_assigned<'a>(&'a self, _: &'a Consumer, partitions: &'a [TopicPartition]) -> BoxFuture<'a, ()> {
        Self::tell("partitions_assigned", partitions)
    }
}

async fn consume(plan: Plan) -> Result<(), Failure> {
    let config = config_of(ClientKind::Consumer, plan.properties.clone());
    let consumer = Consumer::connect(&config).map_err(|e| failure(&e))?;
    Event::at(now(), "startup_complete").tell();
    consumer.subscribe_with([plan.topic.as_str()], Teller).map_err(|e| failure(&e))?;
    let result = read(&plan, &consumer).await;
    let requested = || Event::at(now(), "shutdown_requested").tell();
    let stopped = matches!(&result, Ok(End::Stopped));
    if stopped {
        requested();
    }
    let closed = consumer.close(CloseOptions::default()).await;
    Event::at(now(), "shutdown_complete").tell();
    if !stopped {
        // Kafka's tells it at its end in any case.
        requested();
    }
    result?;
    closed.map_err(|e| failure(&e))
}

/// Why it ends.
enum End {
    Stopped,
    Full,
}

async fn read(plan: &Plan, consumer: &Consumer) -> Result<End, Failure> {
    const WAIT: Duration = Duration::from_secs(3600);
    let mut stop = Stop::new()?;
    let mut taken = 0;
    while plan.max.is_none_or(|max| taken < max) {
        let polled = tokio::select! {
            polled = consumer.poll(WAIT) => polled.map_err(|e| failure(&e))?,
            () = stop.asked() => return Ok(End::Stopped),
        };
        if polled.is_empty() {
            continue;
        }
        let offsets = tell_records(&polled, plan.max.map(|max| max - taken), plan.verbose, &mut taken);
        if plan.commit {
            let failed = consumer.commit_sync_offsets(&offsets).await.err().map(|e| errors::sentence(&e));
            let committed = offsets.iter().map(|(tp, o)| format!("{{{},\"offset\":{}}}", fields(tp), o.offset.get()));
            let event = Event::at(now(), "offsets_committed").with("offsets", list(committed));
            let event = match &failed {
                Some(error) => event.text("error", Some(error)),
                None => event,
            };
            event.with("success", failed.is_none()).tell();
        }
    }
    Ok(End::Full)
}

/// Tells what was read, at most `room` records; gives where each partition goes on.
fn tell_records(
    polled: &Records,
    mut room: Option<usize>,
    verbose: bool,
    taken: &mut usize,
) -> BTreeMap<TopicPartition, OffsetAndMetadata> {
    let mut offsets = BTreeMap::new();
    let mut summaries = Vec::new();
    for tp in polled.partitions() {
        let (mut count, mut first, mut last) = (0, None, 0);
        for record in polled.of_partition(&tp).take(room.unwrap_or(usize::MAX)) {
            count += 1;
            last = record.offset().get();
            first.get_or_insert(last);
            if verbose {
                let text = |bytes: Option<&[u8]>| bytes.map(|b| String::from_utf8_lossy(b).into_owned());
                Event::at(now(), "record_data")
                    .text("key", text(record.key()).as_deref())
                    .text("value", text(record.value()).as_deref())
                    .text("topic", Some(record.topic()))
                    .with("partition", record.partition())
                    .with("offset", last)
                    .tell();
            }
        }
        let Some(first) = first else { continue };
        summaries.push(format!("{{{},\"count\":{count},\"minOffset\":{first},\"maxOffset\":{last}}}", fields(&tp)));
        offsets.insert(tp, OffsetAndMetadata::from(Offset(last + 1)));
        *taken += count;
        room = room.map(|room| room - count);
    }
    Event::at(now(), "records_consumed").with("count", polled.len()).with("partitions", list(summaries)).tell();
    offsets
}
