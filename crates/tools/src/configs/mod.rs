//! `kafka-configs`: the configuration of topics, brokers, groups and client metrics, quotas and SCRAM credentials
//! (Kafka's `ConfigCommand`).

mod entities;
mod quotas;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use logrun_client::Error;
use logrun_client::admin::ConfigAlteration;
use logrun_model::validate_topic_name;
use logrun_wire::ErrorCode;

use self::entities::{Entities, Entity, Kind};
use crate::cluster::{ResourceType, alter_configs, config_resources, describe_configs, list_groups, metadata};
use crate::failure::Failure;
use crate::files;
use crate::options::{BOOTSTRAP_SERVER, COMMAND_CONFIG, Given, HELP, Opt, Syntax, VERSION};
use crate::session::{Session, block_on, failure};
use crate::{Out, Tool};

pub const TOOL: Tool = Tool { name: "kafka-configs", about: SYNTAX.about, run };

const SYNTAX: Syntax = Syntax {
    tool: "kafka-configs",
    about: "Shows and changes the configuration of topics, brokers, groups and client metrics, quotas and SCRAM credentials",
    words: "",
    options: &[
        HELP,
        VERSION,
        BOOTSTRAP_SERVER,
        Opt::value("bootstrap-controller", "HOST:PORT,…", "The controllers to begin with, instead of brokers."),
        COMMAND_CONFIG,
        Opt::flag("alter", "Change the configuration."),
        Opt::flag("describe", "Show the configuration."),
        Opt::flag("all", "With --describe: also what is a default or in the broker's file."),
        Opt::value(
            "entity-type",
            "TYPE",
            "topics, clients, users, brokers, broker-loggers, ips, client-metrics or groups.",
        ),
        Opt::value("entity-name", "NAME", "Which of them. Goes with the --entity-type in the same place."),
        Opt::flag("entity-default", "What holds for those of the type that have nothing of their own."),
        Opt::value("add-config", "NAME=VALUE,…", "What to set. A value with commas goes into brackets: a=[b,c]."),
        Opt::value("add-config-file", "FILE", "A properties file with what to set."),
        Opt::value("delete-config", "NAME,…", "What to set back to its default.").separated(','),
        Opt::value("topic", "TOPIC", "A topic: short for --entity-type topics --entity-name."),
        Opt::value("client", "ID", "A client, by its client.id."),
        Opt::flag("client-defaults", "What holds for clients that have nothing of their own."),
        Opt::value("user", "NAME", "A user, by the principal's name."),
        Opt::flag("user-defaults", "What holds for users that have nothing of their own."),
        Opt::value("broker", "ID", "A broker."),
        Opt::flag("broker-defaults", "What holds for all brokers."),
        Opt::value("broker-logger", "ID", "A broker's loggers."),
        Opt::value("ip", "ADDRESS", "An address that clients come from."),
        Opt::flag("ip-defaults", "What holds for addresses that have nothing of their own."),
        Opt::value("group", "GROUP", "A group."),
        Opt::value("client-metrics", "NAME", "A client-metrics subscription."),
    ],
    examples: &[
        "--bootstrap-server localhost:9092 --describe --topic orders",
        "--bootstrap-server localhost:9092 --alter --topic orders --add-config retention.ms=86400000,cleanup.policy=[compact,delete]",
        "--bootstrap-server localhost:9092 --alter --user alice --add-config 'SCRAM-SHA-256=[iterations=8192,password=secret]'",
    ],
};

fn run(args: &[OsString]) -> ExitCode {
    crate::tool(&SYNTAX, args, |given, out| {
        let entities = Entities::of(given)?;
        let changes = Changes::of(given)?;
        block_on(async {
            let session = Session::of(given)?;
            if given.has("alter") {
                alter(out, &session, &entities, changes).await
            } else {
                describe(given, out, &session, &entities).await
            }
        })
    })
}

/// What to set and what to set back.
struct Changes {
    set: BTreeMap<String, String>,
    delete: Vec<String>,
}

impl Changes {
    fn of(given: &Given<'_>) -> Result<Self, Failure> {
        let mut set = match given.value("add-config-file")? {
            Some(path) => files::load(path)?,
            None => BTreeMap::new(),
        };
        if let Some(text) = given.value("add-config")? {
            for pair in outside_brackets(text, ',') {
                match outside_brackets(pair, '=').as_slice() {
                    [name, value] => {
                        set.insert(name.trim().to_owned(), value.replace(['[', ']'], "").trim().to_owned());
                    }
                    _ => {
                        return Err(SYNTAX.wrong(
                            "Invalid entity config: all configs to be added must be in the format \"key=val\" or  \
                             \"key=[val1,val2]\" to group values which contain commas.",
                        ));
                    }
                }
            }
        }
        let strange = |name: &&String| !name.chars().all(|c| c.is_ascii_alphanumeric() || "$._-".contains(c));
        if let Some(name) = set.keys().find(strange) {
            return Err(SYNTAX.wrong(format!("Invalid character found for config key: {name}")));
        }
        let delete = given.values("delete-config").into_iter().map(|n| n.trim().to_owned()).collect();
        Ok(Self { set, delete })
    }

    fn names(&self) -> impl Iterator<Item = &String> {
        self.set.keys().chain(&self.delete)
    }

    fn list(&self) -> Vec<ConfigAlteration> {
        let deleted = self.delete.iter().map(|name| ConfigAlteration::delete(name.as_str()));
        let set = self.set.iter().map(|(name, value)| ConfigAlteration::set(name.as_str(), value.as_str()));
        deleted.chain(set).collect()
    }
}

/// The parts of `text` between separators that stand in no brackets.
fn outside_brackets(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut depth) = (0, 0_u32);
    for (at, letter) in text.char_indices() {
        match letter {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ if letter == separator && depth == 0 => {
                parts.push(text.get(start..at).unwrap_or_default());
                start = at + letter.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(text.get(start..).unwrap_or_default());
    parts
}

async fn alter(out: &mut Out, session: &Session, entities: &Entities, changes: Changes) -> Result<(), Failure> {
    let first = &entities.list[0];
    let name = first.name.as_deref().unwrap_or_default();
    match first.kind.resource() {
        Some(ResourceType::BrokerLogger) => {
            let loggers = describe_configs(session, ResourceType::BrokerLogger, &[name], false).await?;
            let known: BTreeSet<&str> = loggers.iter().flat_map(|(_, configs)| configs).map(|c| &*c.name).collect();
            let unknown: Vec<&str> = changes.names().map(String::as_str).filter(|n| !known.contains(n)).collect();
            if !unknown.is_empty() {
                return Err(Failure::new(format!("Invalid broker logger(s): {}", unknown.join(","))));
            }
            alter_configs(session, ResourceType::BrokerLogger, [(name.to_owned(), changes.list())]).await?;
        }
        Some(resource) => {
            alter_configs(session, resource, [(name.to_owned(), changes.list())]).await?;
        }
        None => quotas::alter(session, entities, &changes).await?,
    }
    match name {
        "" => writeln!(out, "Completed updating default config for {} in the cluster.", first.kind.plural())?,
        _ => writeln!(out, "Completed updating config for {} {name}.", first.kind.singular())?,
    }
    Ok(())
}

async fn describe(given: &Given<'_>, out: &mut Out, session: &Session, entities: &Entities) -> Result<(), Failure> {
    let Entity { kind, name } = &entities.list[0];
    let Some(resource) = kind.resource() else {
        return quotas::describe(out, session, entities).await;
    };
    let all = given.has("all");
    if let (Some(name), false) = (name.as_deref(), all)
        && !exists(session, *kind, name).await?
    {
        let singular = kind.singular();
        return Ok(writeln!(out, "The {singular} '{name}' doesn't exist and doesn't have dynamic config.")?);
    }
    let names = match name {
        Some(name) => vec![name.clone()],
        None => everything(session, *kind).await?,
    };
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let results = describe_configs(session, resource, &names, true).await?;
    for (name, mut configs) in results {
        match name.as_str() {
            "" => writeln!(out, "Default configs for {} in the cluster are:", kind.plural())?,
            _ => {
                let which = if all { "All" } else { "Dynamic" };
                writeln!(out, "{which} configs for {} {name} are:", kind.singular())?;
            }
        }
        let own = kind.own_source(&name);
        configs.retain(|c| all || own.is_none_or(|own| c.config_source == own));
        configs.sort_by(|a, b| a.name.cmp(&b.name));
        for c in configs {
            let text = |value: &Option<logrun_client::Str>| value.as_deref().unwrap_or("null").to_owned();
            let synonyms: Vec<String> =
                c.synonyms.iter().map(|s| format!("{}:{}={}", source(s.source), s.name, text(&s.value))).collect();
            writeln!(
                out,
                "  {}={} sensitive={} synonyms={{{}}}",
                c.name,
                text(&c.value),
                c.is_sensitive,
                synonyms.join(", ")
            )?;
        }
    }
    Ok(())
}

/// `ConfigEntry.ConfigSource` by its number on the wire.
fn source(code: i8) -> &'static str {
    match code {
        1 => "DYNAMIC_TOPIC_CONFIG",
        2 => "DYNAMIC_BROKER_CONFIG",
        3 => "DYNAMIC_DEFAULT_BROKER_CONFIG",
        4 => "STATIC_BROKER_CONFIG",
        5 => "DEFAULT_CONFIG",
        6 => "DYNAMIC_BROKER_LOGGER_CONFIG",
        7 => "DYNAMIC_CLIENT_METRICS_CONFIG",
        8 => "DYNAMIC_GROUP_CONFIG",
        _ => "UNKNOWN",
    }
}

async fn exists(session: &Session, kind: Kind, name: &str) -> Result<bool, Failure> {
    Ok(match kind {
        Kind::Topics => {
            validate_topic_name(name).map_err(|e| Failure::new(e.to_string()))?;
            let cluster = metadata(session, Some(&[name])).await?;
            cluster.topics.iter().all(|t| t.error_code != ErrorCode::UnknownTopicOrPartition.code())
        }
        Kind::Brokers | Kind::BrokerLoggers => {
            name.is_empty() || everything(session, kind).await?.iter().any(|n| n == name)
        }
        _ => everything(session, kind).await?.iter().any(|n| n == name),
    })
}

/// The names of everything of a kind.
async fn everything(session: &Session, kind: Kind) -> Result<Vec<String>, Failure> {
    match kind {
        Kind::Topics => {
            let mut names: Vec<String> = metadata(session, None)
                .await?
                .topics
                .iter()
                .filter_map(|t| Some(t.name.as_deref()?.to_owned()))
                .collect();
            names.sort();
            Ok(names)
        }
        Kind::Brokers | Kind::BrokerLoggers => {
            let cluster = metadata(session, Some(&[])).await?;
            let ids = cluster.brokers.iter().map(|b| b.node_id.to_string());
            Ok(ids.chain([String::new()]).collect())
        }
        Kind::Groups => {
            let mut names: BTreeSet<String> =
                list_groups(session, &[], &[]).await?.into_iter().map(|g| g.group_id.to_string()).collect();
            match config_resources(session, ResourceType::Group).await {
                Ok(more) => names.extend(more),
                // A broker from before KIP-1142, or one that doesn't let us: only what is a group now.
                Err(Error::Unsupported { .. } | Error::Invalid(_)) => {}
                Err(e) if e.code() == Some(ErrorCode::ClusterAuthorizationFailed) => {}
                Err(e) if e.code() == Some(ErrorCode::UnsupportedVersion) => {}
                Err(e) => return Err(failure(&e)),
            }
            Ok(names.into_iter().collect())
        }
        _ => config_resources(session, ResourceType::ClientMetrics).await.map_err(|e| failure(&e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_keep_commas_together() {
        assert_eq!(outside_brackets("a=1,b=[x,y=2],c=", ','), ["a=1", "b=[x,y=2]", "c="]);
        assert_eq!(outside_brackets("b=[x,y=2]", '='), ["b", "[x,y=2]"]);
        assert_eq!(outside_brackets("c=", '='), ["c", ""]);
        assert_eq!(outside_brackets("c", '='), ["c"]);
    }
}
