//! `kafka-console-share-consumer`: prints records that a share group deals out, and accepts, releases or rejects each
//! (Kafka's `ConsoleShareConsumer`, KIP-932).

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use logrun_client::ClientKind;
use logrun_client::share::{AcknowledgeType, ShareConsumer, ShareRecords};

use super::consumer::{FORMATTING, formatter, write};
use super::formatter::Formatter;
use super::{CONSUMER_PROPERTY, MAX_MESSAGES, SYSTEST_EVENTS, Stop, TIMEOUT_MS, Until, client_properties, end};
use crate::failure::Failure;
use crate::files::Properties;
use crate::options::{BOOTSTRAP_SERVER, COMMAND_CONFIG, Given, HELP, Opt, Syntax, VERSION};
use crate::session::{block_on, config_of, failure};
use crate::{Out, Tool};

pub const TOOL: Tool = Tool { name: "kafka-console-share-consumer", about: SYNTAX.about, run };

/// The group, and the client, where none is named.
const NAME: &str = "console-share-consumer";

const SYNTAX: Syntax = Syntax {
    tool: "kafka-console-share-consumer",
    about: "Reads records as a member of a share group and prints them",
    words: "",
    options: &[
        HELP,
        VERSION,
        BOOTSTRAP_SERVER,
        COMMAND_CONFIG,
        Opt::value("consumer-config", "FILE", "").instead("command-config"),
        CONSUMER_PROPERTY,
        Opt::value("consumer-property", "NAME=VALUE", "").instead("command-property"),
        Opt::value("topic", "TOPIC", "The topic (required)."),
        Opt::value("group", "GROUP", "The share group (console-share-consumer)."),
        MAX_MESSAGES,
        TIMEOUT_MS,
        Opt::flag("reject", "Reject each record: nobody gets it again."),
        Opt::flag("release", "Release each record: it is delivered again."),
        Opt::flag("reject-message-on-error", "Reject a record that can't be printed, instead of ending."),
        SYSTEST_EVENTS,
        FORMATTING[0],
        FORMATTING[1],
        FORMATTING[2],
        FORMATTING[3],
        FORMATTING[4],
        FORMATTING[5],
    ],
    examples: &[
        "--bootstrap-server localhost:9092 --topic jobs --group workers --formatter-property print.delivery=true",
    ],
};

fn run(args: &[OsString]) -> ExitCode {
    crate::tool(&SYNTAX, args, |given, out| {
        let plan = Plan::of(given)?;
        block_on(consume(given, out, plan))
    })
}

struct Plan {
    properties: Properties,
    formatter: Formatter,
    until: Until,
    kind: AcknowledgeType,
}

impl Plan {
    fn of(given: &Given<'_>) -> Result<Self, Failure> {
        if !given.has("topic") {
            return Err(given.syntax.wrong("--topic is a required argument"));
        }
        let kind = match (given.has("reject"), given.has("release")) {
            (true, true) => {
                return Err(given.syntax.wrong("At most one of --reject and --release may be specified."));
            }
            (true, false) => AcknowledgeType::Reject,
            (false, true) => AcknowledgeType::Release,
            (false, false) => AcknowledgeType::Accept,
        };
        let server = given.value("bootstrap-server")?;
        let server = server.ok_or_else(|| given.missing("bootstrap-server"))?;
        let mut properties =
            client_properties(given, ("command-config", "consumer-config"), ("command-property", "consumer-property"))?;
        let groups: BTreeSet<&str> =
            given.value("group")?.into_iter().chain(properties.get("group.id").map(String::as_str)).collect();
        if groups.len() > 1 {
            let groups: Vec<String> = groups.iter().map(|g| format!("'{g}'")).collect();
            return Err(given.syntax.wrong(format!(
                "The group ids provided in different places (directly using '--group', via '--consumer-property', or via \
                 '--consumer-config') do not match. Detected group ids: {}",
                groups.join(",")
            )));
        }
        let group = groups.first().copied().unwrap_or(NAME).to_owned();
        properties.insert("group.id".to_owned(), group);
        properties.insert("bootstrap.servers".to_owned(), server.to_owned());
        properties.insert("share.acknowledgement.mode".to_owned(), "explicit".to_owned());
        properties.entry("client.id".to_owned()).or_insert_with(|| NAME.to_owned());
        let until = Until::of(given)?;
        if let Some(max) = until.max {
            // What isn't printed isn't taken from others.
            properties.entry("max.poll.records".to_owned()).or_insert_with(|| max.clamp(1, 500).to_string());
        }
        Ok(Self { properties, formatter: formatter(given)?, until, kind })
    }
}

async fn consume(given: &Given<'_>, out: &mut Out, plan: Plan) -> Result<(), Failure> {
    let config = config_of(ClientKind::Consumer, plan.properties.clone());
    let consumer = ShareConsumer::connect(&config).map_err(|e| failure(&e))?;
    consumer.subscribe([given.value("topic")?.unwrap_or_default()]).map_err(|e| failure(&e))?;
    let mut printed = 0;
    let result = print_all(given, out, &plan, &consumer, &mut printed).await;
    end(given, out, printed, result, consumer.close(None)).await
}

async fn print_all(
    given: &Given<'_>,
    out: &mut Out,
    plan: &Plan,
    consumer: &ShareConsumer,
    printed: &mut u64,
) -> Result<(), Failure> {
    let mut stop = Stop::new()?;
    let poll = |wait| consumer.poll(wait);
    while let Some(polled) = plan.until.next(*printed, &mut stop, poll, ShareRecords::is_empty).await? {
        for record in &polled {
            if plan.until.room(*printed) == Some(0) {
                // The others may have it.
                consumer.acknowledge(&record, AcknowledgeType::Release).map_err(|e| failure(&e))?;
                continue;
            }
            *printed += 1;
            let kind = match write(&plan.formatter, &record, Some(record.delivery_count()), out) {
                Err(failure) if given.has("reject-message-on-error") && failure.is_refusal() => {
                    eprintln!("Error processing message, rejecting this message: {failure}");
                    AcknowledgeType::Reject
                }
                result => result.map(|()| plan.kind)?,
            };
            consumer.acknowledge(&record, kind).map_err(|e| failure(&e))?;
        }
        out.flush()?;
    }
    Ok(())
}
