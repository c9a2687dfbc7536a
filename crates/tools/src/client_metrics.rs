//! `kafka-client-metrics`: which metrics clients push (Kafka's `ClientMetricsCommand`, KIP-714).

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use logrun_client::admin::ConfigAlteration;

use crate::cluster::{ResourceType, alter_configs, config_resources, describe_configs};
use crate::failure::Failure;
use crate::options::{BOOTSTRAP_SERVER, COMMAND_CONFIG, Given, HELP, Opt, Syntax, VERSION};
use crate::session::{Session, block_on, failure};
use crate::{Out, Tool};

pub const TOOL: Tool = Tool { name: "kafka-client-metrics", about: SYNTAX.about, run };

const SYNTAX: Syntax = Syntax {
    tool: "kafka-client-metrics",
    about: "Shows and changes which metrics clients push to the brokers",
    words: "",
    options: &[
        HELP,
        VERSION,
        BOOTSTRAP_SERVER,
        COMMAND_CONFIG,
        Opt::flag("alter", "Change a subscription, or make one."),
        Opt::flag("delete", "Delete a subscription."),
        Opt::flag("describe", "Show subscriptions."),
        Opt::flag("list", "List the names of subscriptions."),
        Opt::value("name", "NAME", "The subscription."),
        Opt::flag("generate-name", "Give it a name that nothing else has."),
        Opt::value("interval", "MS", "How often clients push."),
        Opt::value("match", "NAME=PATTERN,…", "Which clients: client_id, client_instance_id, client_software_name, client_software_version, client_source_address, client_source_port.").separated(','),
        Opt::value("metrics", "PREFIX,…", "Which metrics, by the beginnings of their names.").separated(','),
    ],
    examples: &["--bootstrap-server localhost:9092 --alter --name basic --metrics org.apache.kafka.producer. --interval 60000"],
};

fn run(args: &[OsString]) -> ExitCode {
    crate::tool(&SYNTAX, args, |given, out| {
        given.one_action(&["alter", "delete", "describe", "list"], "--alter, --delete, --describe or --list.")?;
        given.require(&["bootstrap-server"])?;
        let changes = ["generate-name", "interval", "match", "metrics"];
        given.exclusive("delete", &changes)?;
        given.exclusive("describe", &changes)?;
        given.exclusive("list", &["name", "generate-name", "interval", "match", "metrics"])?;
        if given.has("alter") && given.has("name") == given.has("generate-name") {
            return Err(given.syntax.wrong("One of --name or --generate-name must be specified with --alter."));
        }
        if given.has("delete") && !given.has("name") {
            return Err(given.syntax.wrong("A client metrics resource name must be specified with --delete."));
        }
        block_on(act(given, out)).map_err(|f| match f.message() {
            "" => f,
            _ => f.prefixed("Error while executing client metrics command : ", true),
        })
    })
}

async fn act(given: &Given<'_>, out: &mut Out) -> Result<(), Failure> {
    let session = Session::of(given)?;
    let kind = ResourceType::ClientMetrics;
    let names = async || config_resources(&session, kind).await.map_err(|e| failure(&e));
    let name = given.value("name")?;
    if given.has("list") {
        return Ok(writeln!(out, "{}", names().await?.join("\n"))?);
    }
    if given.has("describe") {
        let names = match name {
            Some(name) if !names().await?.iter().any(|n| n == name) => {
                return Ok(writeln!(
                    out,
                    "The client metric resource {name} doesn't exist and doesn't have dynamic config."
                )?);
            }
            Some(name) => vec![name.to_owned()],
            None => names().await?,
        };
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        for (name, configs) in describe_configs(&session, kind, &names, false).await? {
            writeln!(out, "Client metrics configs for {name} are:")?;
            for c in configs {
                writeln!(out, "  {}={}", c.name, c.value.as_deref().unwrap_or("null"))?;
            }
        }
        return Ok(());
    }
    if given.has("delete") {
        let name = name.unwrap_or_default();
        let old = describe_configs(&session, kind, &[name], false).await?;
        let changes = old.into_iter().flat_map(|(_, configs)| configs).map(|c| ConfigAlteration::delete(c.name));
        alter_configs(&session, kind, [(name.to_owned(), changes.collect())]).await?;
        return Ok(writeln!(out, "Deleted client metrics config for {name}.")?);
    }
    let name = name.map_or_else(|| session.client.io().random.uuid().to_string(), str::to_owned);
    let mut changes = Vec::new();
    let mut change = |key: &'static str, value: String| {
        changes.push(match value.is_empty() {
            true => ConfigAlteration::delete(key),
            false => ConfigAlteration::set(key, value),
        });
    };
    if let Some(interval) = given.parsed::<i32>("interval")? {
        change("interval.ms", interval.to_string());
    }
    for option in ["metrics", "match"] {
        if given.has(option) {
            change(option, given.values(option).join(","));
        }
    }
    alter_configs(&session, kind, [(name.clone(), changes)]).await?;
    Ok(writeln!(out, "Altered client metrics config for {name}.")?)
}
