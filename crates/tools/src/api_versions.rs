//! `kafka-broker-api-versions`: what each broker serves (Kafka's `BrokerApiVersionsCommand`).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use logrun_wire::messages as m;
use logrun_wire::{ApiKey, Listener, VersionRange};

use crate::cluster::{each, metadata};
use crate::failure::Failure;
use crate::options::{BOOTSTRAP_SERVER, COMMAND_CONFIG, Given, HELP, Syntax, VERSION};
use crate::session::{Session, block_on};
use crate::{Out, Tool};

pub const TOOL: Tool = Tool { name: "kafka-broker-api-versions", about: SYNTAX.about, run };

const SYNTAX: Syntax = Syntax {
    tool: "kafka-broker-api-versions",
    about: "Prints which APIs in which versions each broker serves, and which of them can be used",
    words: "",
    options: &[HELP, VERSION, BOOTSTRAP_SERVER, COMMAND_CONFIG],
    examples: &["--bootstrap-server localhost:9092"],
};

fn run(args: &[OsString]) -> ExitCode {
    crate::tool(&SYNTAX, args, |given, out| {
        given.require(&["bootstrap-server"])?;
        block_on(print(given, out))
    })
}

async fn print(given: &Given<'_>, out: &mut Out) -> Result<(), Failure> {
    let session = Session::of(given)?;
    let cluster = metadata(&session, Some(&[])).await?;
    let request = || m::ApiVersionsRequest {
        client_software_name: "logrun".into(),
        client_software_version: env!("CARGO_PKG_VERSION").into(),
        ..Default::default()
    };
    let answers = each(&cluster.brokers, |b| session.node(b.node_id, request())).await;
    for (broker, answer) in cluster.brokers.iter().zip(answers) {
        let rack = broker.rack.as_deref().unwrap_or("null");
        let (host, port, id) = (&broker.host, broker.port, broker.node_id);
        write!(out, "{host}:{port} (id: {id} rack: {rack} isFenced: false) -> ")?;
        match answer {
            Ok(answer) => writeln!(out, "{}", table(&answer.api_keys))?,
            Err(failure) => writeln!(out, "ERROR: {failure}")?,
        }
    }
    Ok(())
}

fn table(keys: &[m::api_versions_response::ApiVersion]) -> String {
    let theirs: BTreeMap<i16, VersionRange> =
        keys.iter().map(|k| (k.api_key, VersionRange::new(k.min_version, k.max_version))).collect();
    let mut lines: BTreeMap<i16, String> = BTreeMap::new();
    for api in ApiKey::ALL.iter().filter(|api| api.on(Listener::Broker) && !api.stable_versions().is_empty()) {
        let line = match theirs.get(&api.code()) {
            None => "UNSUPPORTED".to_owned(),
            Some(theirs) => {
                let ours = api.stable_versions();
                let usable = ours.max.min(theirs.max);
                let usable = match usable >= theirs.min.max(ours.min) {
                    true => format!("usable: {usable}"),
                    false => "unusable: node too new".to_owned(),
                };
                format!("{} [{usable}]", range(*theirs))
            }
        };
        lines.insert(api.code(), format!("{}({}): {line}", api.name(), api.code()));
    }
    for (key, range_) in &theirs {
        lines.entry(*key).or_insert_with(|| match ApiKey::from_i16(*key) {
            Some(api) => format!("{}({key}): {}", api.name(), range(*range_)),
            None => format!("UNKNOWN({key}): {}", range(*range_)),
        });
    }
    let lines: Vec<String> = lines.into_values().collect();
    format!("(\n\t{}\n)", lines.join(",\n\t"))
}

fn range(range: VersionRange) -> String {
    match range.min == range.max {
        true => range.min.to_string(),
        false => format!("{} to {}", range.min, range.max),
    }
}
