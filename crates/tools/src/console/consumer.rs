//! `kafka-console-consumer`: prints records (Kafka's `ConsoleConsumer`).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use logrun_client::consumer::{CloseOptions, Consumer, ConsumerRecord, RebalanceListener, Records, TopicPattern};
use logrun_client::{ClientKind, Offset, TopicPartition};
use logrun_record::TimestampType;

use super::formatter::{Formatter, Shown};
use super::{CONSUMER_PROPERTY, MAX_MESSAGES, SYSTEST_EVENTS, Stop, TIMEOUT_MS, Until, client_properties, end};
use crate::failure::Failure;
use crate::files::{self, Properties};
use crate::options::{BOOTSTRAP_SERVER, COMMAND_CONFIG, Given, HELP, Opt, Syntax, VERSION};
use crate::session::{block_on, config_of, failure};
use crate::{Out, Tool};

pub const TOOL: Tool = Tool { name: "kafka-console-consumer", about: SYNTAX.about, run };

/// The options of formatters, which the share consumer has too.
pub const FORMATTING: [Opt; 6] = [
    Opt::value(
        "formatter",
        "CLASS",
        "DefaultMessageFormatter (without it), LoggingMessageFormatter or NoOpMessageFormatter.",
    ),
    Opt::value(
        "formatter-property",
        "NAME=VALUE",
        "How records are printed: print.timestamp, print.key, print.offset, print.partition, print.headers, print.value (true or false), key.separator, line.separator, headers.separator, null.literal, key.deserializer, value.deserializer, headers.deserializer.",
    ),
    Opt::value("property", "NAME=VALUE", "").instead("formatter-property"),
    Opt::value("formatter-config", "FILE", "A properties file for the formatter."),
    Opt::value("key-deserializer", "CLASS", "What keys are: String, Integer, Long, … Deserializer."),
    Opt::value("value-deserializer", "CLASS", "What values are."),
];

const SYNTAX: Syntax = Syntax {
    tool: "kafka-console-consumer",
    about: "Reads records from topics and prints them",
    words: "",
    options: &[
        HELP,
        VERSION,
        BOOTSTRAP_SERVER,
        COMMAND_CONFIG,
        Opt::value("consumer.config", "FILE", "").instead("command-config"),
        CONSUMER_PROPERTY,
        Opt::value("consumer-property", "NAME=VALUE", "").instead("command-property"),
        Opt::value("topic", "TOPIC", "The topic."),
        Opt::value("include", "REGEX", "All topics whose names match."),
        Opt::value("partition", "ID", "Only this partition; from its end on, unless --offset says otherwise."),
        Opt::value("offset", "OFFSET", "With --partition: from this offset on, or earliest, or latest."),
        Opt::flag("from-beginning", "From the first record on, where the group has no committed offset."),
        MAX_MESSAGES,
        TIMEOUT_MS,
        Opt::flag("skip-message-on-error", "Pass over a record that can't be printed, instead of ending."),
        Opt::value(
            "isolation-level",
            "LEVEL",
            "read_committed leaves out records of transactions that are not committed.",
        ),
        Opt::value("group", "GROUP", "The consumer group; without it one of its own, whose offsets are not kept."),
        SYSTEST_EVENTS,
        FORMATTING[0],
        FORMATTING[1],
        FORMATTING[2],
        FORMATTING[3],
        FORMATTING[4],
        FORMATTING[5],
    ],
    examples: &[
        "--bootstrap-server localhost:9092 --topic orders --from-beginning",
        "--bootstrap-server localhost:9092 --topic orders --group billing --formatter-property print.key=true",
        "--bootstrap-server localhost:9092 --topic orders --partition 0 --offset 100 --max-messages 10",
    ],
};

fn run(args: &[OsString]) -> ExitCode {
    crate::tool(&SYNTAX, args, |given, out| {
        let plan = Plan::of(given)?;
        block_on(consume(given, out, plan))
    })
}

/// Where one partition is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Earliest,
    Latest,
    At(i64),
}

/// What the command line asks for.
struct Plan {
    properties: Properties,
    formatter: Formatter,
    until: Until,
    partition: Option<(i32, From)>,
}

impl Plan {
    fn of(given: &Given<'_>) -> Result<Self, Failure> {
        let wrong = |message: &str| Err(given.syntax.wrong(message));
        if given.count(&["topic", "include"]) != 1 {
            return wrong("Exactly one of the following arguments is required: [topic], [include]");
        }
        if given.has("partition") {
            if !given.has("topic") {
                return wrong("The topic is required when partition is specified.");
            }
            if given.has("from-beginning") && given.has("offset") {
                return wrong("Options from-beginning and offset cannot be specified together.");
            }
        } else if given.has("offset") {
            return wrong("The partition is required when offset is specified.");
        }
        given.require(&["bootstrap-server"])?;
        let from = match given.value("offset")? {
            None if given.has("from-beginning") => From::Earliest,
            None => From::Latest,
            Some(text) => match text.to_lowercase().as_str() {
                "earliest" => From::Earliest,
                "latest" => From::Latest,
                number => match number.parse() {
                    Ok(offset @ 0..) => From::At(offset),
                    _ => {
                        return wrong(&format!(
                            "The provided offset value '{text}' is incorrect. Valid values are 'earliest', 'latest', or a non-negative long."
                        ));
                    }
                },
            },
        };
        let until = Until::of(given)?;
        Ok(Self {
            properties: properties(given, until.max)?,
            formatter: formatter(given)?,
            until,
            partition: given.parsed("partition")?.map(|p| (p, from)),
        })
    }
}

/// The formatter that the options describe.
///
/// # Errors
/// There is none such, or its properties are wrong.
pub fn formatter(given: &Given<'_>) -> Result<Formatter, Failure> {
    let mut properties = match given.value("formatter-config")? {
        Some(path) => files::load(path)?,
        None => Properties::new(),
    };
    for (option, name) in [("key-deserializer", "key.deserializer"), ("value-deserializer", "value.deserializer")] {
        if let Some(class) = given.value(option)?.filter(|c| !c.is_empty()) {
            properties.insert(name.to_owned(), class.to_owned());
        }
    }
    properties.extend(files::pairs(given.values(given.either("formatter-property", "property")?)));
    Formatter::new(given.value("formatter")?, &properties)
}

fn properties(given: &Given<'_>, max: Option<u64>) -> Result<Properties, Failure> {
    let mut properties =
        client_properties(given, ("command-config", "consumer.config"), ("command-property", "consumer-property"))?;
    let group = match (given.value("group")?, properties.get("group.id")) {
        (Some(group), Some(other)) if group != other => {
            return Err(given.syntax.wrong(format!(
                "The group ids provided in different places (directly using '--group', via '--command-property', or via \
                 '--command-config') do not match. Detected group ids: '{group}', '{other}'"
            )));
        }
        (group, other) => group.map(str::to_owned).or(other.cloned()),
    };
    if group.is_some() && given.has("partition") {
        return Err(given.syntax.wrong("Options group and partition cannot be specified together."));
    }
    let mut default = |name: &str, value: String| properties.entry(name.to_owned()).or_insert(value).clone();
    let earliest = given.has("from-beginning");
    let reset = default("auto.offset.reset", if earliest { "earliest" } else { "latest" }.to_owned());
    if earliest && reset != "earliest" {
        return Err(given.syntax.wrong(format!(
            "Can't simultaneously specify --from-beginning and 'auto.offset.reset={reset}', please remove one option"
        )));
    }
    default("client.id", "console-consumer".to_owned());
    default("isolation.level", "read_uncommitted".to_owned());
    if group.is_none() {
        // Its offsets are of use to nobody.
        default("enable.auto.commit", "false".to_owned());
    }
    if let Some(max) = max {
        // What isn't printed isn't taken, so that a group goes on where this one ended.
        default("max.poll.records", max.clamp(1, 500).to_string());
    }
    if let Some(level) = given.value("isolation-level")? {
        properties.insert("isolation.level".to_owned(), level.to_owned());
    }
    let random = logrun_io::Random::from_entropy();
    let group = group.unwrap_or_else(|| format!("console-consumer-{}", random.below(100_000)));
    properties.insert("group.id".to_owned(), group);
    properties.insert("bootstrap.servers".to_owned(), given.value("bootstrap-server")?.unwrap_or_default().to_owned());
    Ok(properties)
}

/// Wants to hear nothing of rebalances.
struct Quiet;

impl RebalanceListener for Quiet {}

async fn consume(given: &Given<'_>, out: &mut Out, plan: Plan) -> Result<(), Failure> {
    let config = config_of(ClientKind::Consumer, plan.properties.clone());
    let consumer = Consumer::connect(&config).map_err(|e| failure(&e))?;
    let topic = given.value("topic")?.unwrap_or_default();
    match (plan.partition, given.value("include")?) {
        (Some((partition, from)), _) => {
            let tp = TopicPartition::new(topic, partition);
            consumer.assign([tp.clone()]).map_err(|e| failure(&e))?;
            match from {
                From::Earliest => consumer.seek_to_beginning([&tp]),
                From::Latest => consumer.seek_to_end([&tp]),
                From::At(offset) => consumer.seek(&tp, Offset(offset)),
            }
            .map_err(|e| failure(&e))?;
        }
        (None, Some(pattern)) => {
            let pattern = TopicPattern::new(pattern).map_err(|e| failure(&e))?;
            consumer.subscribe_pattern(pattern, Quiet).map_err(|e| failure(&e))?;
        }
        (None, None) => consumer.subscribe([topic]).map_err(|e| failure(&e))?,
    }
    let mut printed = 0;
    let result = print_all(given, out, &plan, &consumer, &mut printed).await;
    end(given, out, printed, result, consumer.close(CloseOptions::default())).await
}

async fn print_all(
    given: &Given<'_>,
    out: &mut Out,
    plan: &Plan,
    consumer: &Consumer,
    printed: &mut u64,
) -> Result<(), Failure> {
    let mut stop = Stop::new()?;
    let poll = |wait| consumer.poll(wait);
    while let Some(polled) = plan.until.next(*printed, &mut stop, poll, Records::is_empty).await? {
        let skip = given.has("skip-message-on-error");
        let left = print(out, &plan.formatter, &polled, plan.until.room(*printed), skip, printed)?;
        out.flush()?;
        for (tp, offset) in left {
            consumer.seek(&tp, Offset(offset)).map_err(|e| failure(&e))?;
        }
    }
    Ok(())
}

/// Prints records, at most `room`; gives where those begin that were left over.
fn print(
    out: &mut Out,
    formatter: &Formatter,
    records: &Records,
    room: Option<u64>,
    skip: bool,
    printed: &mut u64,
) -> Result<BTreeMap<TopicPartition, i64>, Failure> {
    let mut left = BTreeMap::new();
    let mut taken = 0;
    for record in records.iter() {
        if room.is_some_and(|room| taken >= room) {
            left.entry(record.topic_partition().clone()).or_insert(record.offset().get());
            continue;
        }
        taken += 1;
        *printed += 1;
        match write(formatter, &record, None, out) {
            Err(failure) if skip && failure.is_refusal() => {
                eprintln!("Error processing message, skipping this message: {failure}")
            }
            result => result?,
        }
    }
    Ok(left)
}

/// Prints one record; `delivery` says how often it was delivered, where that is counted.
///
/// # Errors
/// As [`Formatter::write`].
pub fn write(
    formatter: &Formatter,
    record: &ConsumerRecord<'_>,
    delivery: Option<i16>,
    out: &mut Out,
) -> Result<(), Failure> {
    let names: Vec<(String, Option<&[u8]>)> =
        record.headers().map(|(k, v)| (String::from_utf8_lossy(k).into_owned(), v)).collect();
    let headers: Vec<(&str, Option<&[u8]>)> = names.iter().map(|(k, v)| (k.as_str(), *v)).collect();
    let shown = Shown {
        partition: record.partition(),
        offset: record.offset().get(),
        timestamp: record.timestamp().get(),
        timestamp_type: match (record.timestamp().get(), record.timestamp_type()) {
            (..0, _) => None,
            (_, TimestampType::CreateTime) => Some("CreateTime"),
            (_, TimestampType::LogAppendTime) => Some("LogAppendTime"),
        },
        delivery,
        // Kafka's console consumer doesn't show it either.
        leader_epoch: None,
        key: record.key(),
        value: record.value(),
        headers: &headers,
    };
    formatter.write(&shown, out)
}
