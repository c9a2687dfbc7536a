//! kcat's configuration: librdkafka's property names, turned into those of Kafka's clients.
//!
//! People have files and habits with either vocabulary, so both are taken. A name that neither knows is an error.

use std::collections::BTreeMap;
use std::path::PathBuf;

use logrun_client::Config;

use super::args::{Args, Mode};

/// librdkafka's names for what Kafka's clients call otherwise.
const RENAMED: &[(&str, &str)] = &[
    ("metadata.broker.list", "bootstrap.servers"),
    ("queue.buffering.max.ms", "linger.ms"),
    ("compression.codec", "compression.type"),
    ("request.required.acks", "acks"),
    ("message.send.max.retries", "retries"),
    ("message.timeout.ms", "delivery.timeout.ms"),
    ("max.in.flight", "max.in.flight.requests.per.connection"),
    ("message.max.bytes", "max.request.size"),
    ("fetch.message.max.bytes", "max.partition.fetch.bytes"),
    ("fetch.wait.max.ms", "fetch.max.wait.ms"),
    ("topic.metadata.refresh.interval.ms", "metadata.max.age.ms"),
    ("socket.send.buffer.bytes", "send.buffer.bytes"),
    ("socket.receive.buffer.bytes", "receive.buffer.bytes"),
    ("sasl.mechanisms", "sasl.mechanism"),
    ("ssl.ca.location", "ssl.truststore.location"),
    ("ssl.certificate.location", "ssl.keystore.location"),
];

/// librdkafka's names for what is not ours to choose: its own threads, queues and traces. Taken, and of no effect.
const WITHOUT_EFFECT: &[&str] = &[
    "api.version.fallback.ms",
    "api.version.request",
    "api.version.request.timeout.ms",
    "batch.num.messages",
    "broker.address.family",
    "broker.address.ttl",
    "broker.version.fallback",
    "debug",
    "enable.auto.offset.store",
    "enable.partition.eof",
    "enable.random.seed",
    "fetch.error.backoff.ms",
    "internal.termination.signal",
    "log.connection.close",
    "log.queue",
    "log.thread.name",
    "log_level",
    "queue.buffering.backpressure.threshold",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "socket.blocking.max.ms",
    "socket.keepalive.enable",
    "socket.max.fails",
    "socket.nagle.disable",
    "socket.timeout.ms",
    "statistics.interval.ms",
    "topic.metadata.refresh.fast.interval.ms",
    "topic.metadata.refresh.sparse",
];

/// Everything that was set, under Kafka's names: the file first, then `-X`, then what has a letter of its own.
///
/// # Errors
/// A sentence: the file can't be read, a line is no property, no broker is named.
pub fn collect(args: &Args, mode: Mode) -> Result<BTreeMap<String, String>, String> {
    let mut set = BTreeMap::new();
    for line in file(args)? {
        put(&mut set, &line)?;
    }
    for line in &args.properties {
        put(&mut set, line)?;
    }
    let mut own = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            set.insert(name.to_owned(), value);
        }
    };
    own("bootstrap.servers", args.brokers.as_deref().map(with_ports));
    own("group.id", args.group.clone());
    if mode == Mode::Produce {
        own("compression.type", args.compression.clone());
    }
    if mode == Mode::Group {
        use super::offsets::Start;
        let reset = match args.start {
            Start::End => Some("latest"),
            Start::Beginning => Some("earliest"),
            _ => None,
        };
        own("auto.offset.reset", reset.map(str::to_owned));
        set.entry("auto.offset.reset".to_owned()).or_insert_with(|| "earliest".to_owned());
    }
    if !set.contains_key("bootstrap.servers") {
        return Err("-b <broker,..> missing: -b localhost:9092, say".to_owned());
    }
    Ok(set)
}

/// The configuration for the client library. A name that it does not know is refused there, with the nearest one.
pub fn config(set: &BTreeMap<String, String>) -> Config {
    set.iter().fold(Config::default(), |config, (name, value)| config.set(name, value))
}

/// The lines of the configuration file: the one named, else the environment's, else the user's if there is one.
fn file(args: &Args) -> Result<Vec<String>, String> {
    let named = args.config_file.clone().map(PathBuf::from);
    let named = named.or_else(|| std::env::var_os("KCAT_CONFIG").map(PathBuf::from));
    let path = match (&named, std::env::var_os("HOME")) {
        (Some(path), _) => path.clone(),
        (None, Some(home)) => PathBuf::from(home).join(".config/kcat.conf"),
        (None, None) => return Ok(Vec::new()),
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
            Ok(lines.map(str::to_owned).collect())
        }
        Err(e) if named.is_none() && e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(format!("{}: {e}", path.display())),
    }
}

fn put(set: &mut BTreeMap<String, String>, line: &str) -> Result<(), String> {
    let (name, value) = line.split_once('=').ok_or_else(|| format!("-X {line}: a property is NAME=VALUE"))?;
    let (name, value) = (name.trim(), value.trim());
    let name = name.strip_prefix("topic.").filter(|n| !n.starts_with("metadata.")).unwrap_or(name);
    if WITHOUT_EFFECT.contains(&name) {
        return Ok(());
    }
    let name = RENAMED.iter().find(|(theirs, _)| *theirs == name).map_or(name, |(_, ours)| ours);
    let value = match (name, value) {
        ("auto.offset.reset", "smallest" | "beginning") => "earliest".to_owned(),
        ("auto.offset.reset", "largest" | "end") => "latest".to_owned(),
        ("bootstrap.servers", list) => with_ports(list),
        (_, value) => value.to_owned(),
    };
    set.insert(name.to_owned(), value);
    Ok(())
}

/// Brokers without a port have Kafka's.
fn with_ports(list: &str) -> String {
    let with_port = |broker: &str| {
        let broker = broker.trim().rsplit("://").next().unwrap_or_default().to_owned();
        let bare = match broker.rfind(']') {
            Some(end) => !broker[end..].contains(':'),
            None => !broker.contains(':'),
        };
        if bare { format!("{broker}:9092") } else { broker }
    };
    list.split(',').filter(|b| !b.trim().is_empty()).map(with_port).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collected(line: &str, mode: Mode) -> BTreeMap<String, String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        match super::super::args::parse(&words) {
            Ok(super::super::args::Asked::Run(args)) => {
                let args = Args { config_file: Some("/dev/null".to_owned()), ..*args };
                collect(&args, mode).expect("a configuration")
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn both_vocabularies_are_taken() {
        let set = collected(
            "-b h1,h2:9093,[::1] -X queue.buffering.max.ms=5 -X topic.request.required.acks=-1 -X debug=all -z lz4",
            Mode::Produce,
        );
        assert_eq!(set["bootstrap.servers"], "h1:9092,h2:9093,[::1]:9092");
        assert_eq!((&*set["linger.ms"], &*set["acks"], &*set["compression.type"]), ("5", "-1", "lz4"));
        assert!(!set.contains_key("debug"));
    }

    #[test]
    fn a_group_begins_at_the_beginning_unless_told_otherwise() {
        assert_eq!(collected("-b h -G g t", Mode::Group)["auto.offset.reset"], "earliest");
        assert_eq!(collected("-b h -G g t -o end", Mode::Group)["auto.offset.reset"], "latest");
        assert_eq!(collected("-b h -G g t -X auto.offset.reset=largest", Mode::Group)["auto.offset.reset"], "latest");
    }

    #[test]
    fn what_is_no_property_is_refused() {
        let args = Args { config_file: Some("/dev/null".to_owned()), ..Args::default() };
        assert!(collect(&args, Mode::List).expect_err("no broker").contains("-b"));
        put(&mut BTreeMap::new(), "linger").expect_err("no value");
    }
}
