//! `logrun configs`: what is configured and where that comes from; setting and unsetting it.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use logrun_client::NodeId;
use logrun_client::admin::{ConfigAlteration, ConfigDescription, ConfigResource, ResourceType};
use logrun_config::tables::{broker_options, group_options, topic_options};
use serde_json::Value;

use crate::Failure;
use crate::args::Common;
use crate::names::did_you_mean;
use crate::output::{Cell, Column, Format, Screen, Table, Tone};
use crate::session::{Session, about, block_on};

const EXAMPLES: &str = "\
Examples:
  logrun configs describe orders               all of a topic, with their source
  logrun configs describe orders retention.ms  one of them, with what it means
  logrun configs diff orders                   what is not the default
  logrun configs set orders retention.ms=86400000 cleanup.policy=compact
  logrun configs unset orders retention.ms     back to the default
  logrun configs set broker:1 log.cleaner.threads=2
  logrun configs set brokers log.retention.ms=3600000

Of what: a topic's name (or topic:NAME), broker:ID, brokers (the default of all), group:NAME, client-metrics:NAME.";

/// What to do with configs.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ConfigsArgs {
    #[command(subcommand)]
    command: ConfigsCommand,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum ConfigsCommand {
    /// Show configs: value, source, meaning
    #[command(visible_alias = "show")]
    Describe {
        /// Of what: TOPIC, broker:ID, brokers, group:NAME
        #[arg(value_name = "OF")]
        of: String,
        /// Only these; then with what they mean
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// With what each means
        #[arg(long)]
        docs: bool,
    },
    /// Show what is not the default, beside the default
    Diff {
        /// Of what: TOPIC, broker:ID, brokers, group:NAME
        #[arg(value_name = "OF")]
        of: String,
    },
    /// Set configs, leaving the others as they are
    Set {
        /// Of what: TOPIC, broker:ID, brokers, group:NAME
        #[arg(value_name = "OF")]
        of: String,
        /// What to set
        #[arg(required = true, value_name = "NAME=VALUE")]
        pairs: Vec<String>,
        /// Only say whether it could be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Put configs back to their defaults
    Unset {
        /// Of what: TOPIC, broker:ID, brokers, group:NAME
        #[arg(value_name = "OF")]
        of: String,
        /// Which
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        /// Only say whether it could be done
        #[arg(long)]
        dry_run: bool,
    },
}

/// Runs it.
///
/// # Errors
/// A sentence.
pub fn run(args: &ConfigsArgs) -> Result<ExitCode, Failure> {
    let mut screen = Screen::new(&args.common.output);
    let screen = &mut screen;
    block_on(async {
        match &args.command {
            ConfigsCommand::Describe { of, names, docs } => {
                let (session, of) = begin(args, of).await?;
                describe(screen, &session, &of, names, *docs || !names.is_empty()).await?;
            }
            ConfigsCommand::Diff { of } => {
                let (session, of) = begin(args, of).await?;
                diff(screen, &session, &of).await?;
            }
            ConfigsCommand::Set { of, pairs, dry_run } => {
                let changes = pairs.iter().map(|p| assignment(p)).collect::<Result<_, _>>()?;
                let (session, of) = begin(args, of).await?;
                alter(screen, &session, &of, changes, *dry_run).await?;
            }
            ConfigsCommand::Unset { of, names, dry_run } => {
                let changes = names.iter().map(|name| ConfigAlteration::delete(name.as_str())).collect();
                let (session, of) = begin(args, of).await?;
                alter(screen, &session, &of, changes, *dry_run).await?;
            }
        }
        screen.flush()?;
        Ok(ExitCode::SUCCESS)
    })
}

async fn begin(args: &ConfigsArgs, of: &str) -> Result<(Session, ConfigResource), Failure> {
    let of = resource(of)?;
    let session = Session::open(&args.common).await?;
    match of.kind {
        // The broker describes topics that aren't there with an error of its own; ours says what was meant.
        ResourceType::Topic => drop(session.topics(&[of.name.to_string()]).await?),
        ResourceType::Broker if !of.name.is_empty() => {
            let brokers = session.client.cluster();
            let ids: Vec<String> = brokers.brokers.keys().map(ToString::to_string).collect();
            if !ids.iter().any(|id| *id == *of.name) {
                return Err(Failure::new(format!("there is no broker {}; there are {}", of.name, ids.join(", "))));
            }
        }
        _ => {}
    }
    Ok((session, of))
}

fn assignment(pair: &str) -> Result<ConfigAlteration, Failure> {
    match pair.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok(ConfigAlteration::set(name.trim(), value.trim())),
        _ => Err(Failure::usage(format!("`{pair}` is not NAME=VALUE"))),
    }
}

/// What `OF` names.
fn resource(text: &str) -> Result<ConfigResource, Failure> {
    if text == "brokers" {
        return Ok(ConfigResource::broker(None));
    }
    let Some((kind, name)) = text.split_once(':') else { return Ok(ConfigResource::topic(text)) };
    let kind = match kind {
        "topic" => ResourceType::Topic,
        "broker" => {
            let id: i32 = name.parse().map_err(|_| Failure::usage(format!("`{name}` is no broker's id: a number")))?;
            return Ok(ConfigResource::broker(Some(NodeId(id))));
        }
        "group" => ResourceType::Group,
        "client-metrics" => ResourceType::ClientMetrics,
        _ => {
            let kinds = ["topic", "broker", "group", "client-metrics"];
            return Err(Failure::usage(format!(
                "`{text}`: there are topic:, broker:, group: and client-metrics:{}",
                did_you_mean(kind, kinds)
            )));
        }
    };
    if name.is_empty() {
        return Err(Failure::usage(format!("`{text}` has no name behind the colon")));
    }
    Ok(ConfigResource::new(kind, name))
}

/// A config as the broker describes it.
#[derive(Clone, Debug)]
pub struct Described {
    pub name: String,
    pub raw: Option<String>,
    source: i8,
    sensitive: bool,
    read_only: bool,
    default: Option<String>,
    meaning: Option<String>,
}

/// `DescribeConfigsResponse.ConfigSource`, as people say it; for programs Kafka's names.
fn source(id: i8) -> (&'static str, &'static str) {
    match id {
        1 => ("DYNAMIC_TOPIC_CONFIG", "topic"),
        2 => ("DYNAMIC_BROKER_CONFIG", "broker"),
        3 => ("DYNAMIC_DEFAULT_BROKER_CONFIG", "all brokers"),
        4 => ("STATIC_BROKER_CONFIG", "broker's file"),
        5 => ("DEFAULT_CONFIG", "default"),
        6 => ("DYNAMIC_BROKER_LOGGER_CONFIG", "logger"),
        7 => ("DYNAMIC_CLIENT_METRICS_CONFIG", "client-metrics"),
        8 => ("DYNAMIC_GROUP_CONFIG", "group"),
        _ => ("UNKNOWN", "unknown"),
    }
}

const DEFAULT: i8 = 5;

impl Described {
    fn of(kind: ResourceType, config: ConfigDescription) -> Self {
        // A broker names the default only as the last of what would be in force otherwise.
        let options = match kind {
            ResourceType::Topic => Some(topic_options()),
            ResourceType::Broker => Some(broker_options()),
            ResourceType::Group => Some(group_options()),
            _ => None,
        };
        let usual = || Some(options?.get(&config.name)?.default.text()?.to_owned());
        let default = config.synonyms.iter().find(|s| s.source == DEFAULT).and_then(|s| s.value.as_deref());
        let is_default = config.config_source == DEFAULT;
        Self {
            name: config.name.to_string(),
            raw: config.value.as_deref().map(str::to_owned),
            source: config.config_source,
            sensitive: config.is_sensitive,
            read_only: config.read_only,
            default: default
                .map(str::to_owned)
                .or_else(|| config.value.as_deref().filter(|_| is_default).map(str::to_owned))
                .or_else(usual),
            meaning: config.documentation.as_deref().filter(|d| !d.is_empty()).map(str::to_owned),
        }
    }

    /// Whether somebody set it: here, or elsewhere to something else than the default.
    pub fn is_own(&self) -> bool {
        const BY_BROKERS: [i8; 3] = [2, 3, 4];
        match self.source {
            DEFAULT => false,
            source if BY_BROKERS.contains(&source) => self.sensitive || self.raw != self.default,
            _ => true,
        }
    }

    pub fn value(&self) -> Cell {
        match (&self.raw, self.sensitive) {
            (_, true) => Cell::shown(Value::Null, "(secret)").tone(Tone::Dim),
            (Some(value), _) if value.is_empty() => Cell::shown(value.as_str(), "\"\""),
            (value, _) => Cell::from(value.clone()),
        }
    }

    pub fn default(&self) -> Cell {
        Cell::from(self.default.clone()).tone(Tone::Dim)
    }

    fn source_cell(&self) -> Cell {
        let (name, shown) = source(self.source);
        let tone = if self.is_own() { Tone::Warn } else { Tone::Dim };
        Cell::shown(name, shown).tone(tone)
    }
}

/// All configs of one thing, by name.
///
/// # Errors
/// The broker refuses, or nobody answers.
pub async fn described(session: &Session, of: &ConfigResource, docs: bool) -> Result<Vec<Described>, Failure> {
    let mut results = session.admin.describe_configs(std::slice::from_ref(of), true, docs).await;
    match results.remove(of) {
        Some(Ok(configs)) => {
            let mut configs: Vec<Described> = configs.into_iter().map(|c| Described::of(of.kind, c)).collect();
            configs.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(configs)
        }
        Some(Err(e)) => Err(about(&called(of), &e)),
        None => Err(Failure::new(format!("the broker says nothing of {}", called(of)))),
    }
}

fn called(of: &ConfigResource) -> String {
    match of.kind {
        ResourceType::Topic => format!("topic {}", of.name),
        ResourceType::Broker if of.name.is_empty() => "all brokers".to_owned(),
        ResourceType::Broker | ResourceType::BrokerLogger => format!("broker {}", of.name),
        ResourceType::Group => format!("group {}", of.name),
        ResourceType::ClientMetrics => format!("client-metrics {}", of.name),
    }
}

/// Fails if one of `names` is no config of `of`.
fn all_known(of: &ConfigResource, known: &[Described], names: &[&str]) -> Result<(), Failure> {
    for name in names {
        if !known.iter().any(|c| c.name == *name) {
            let hint = did_you_mean(name, known.iter().map(|c| c.name.as_str()));
            return Err(Failure::usage(format!("{name} is no config of {}{hint}", called(of))));
        }
    }
    Ok(())
}

async fn describe(
    screen: &mut Screen,
    session: &Session,
    of: &ConfigResource,
    names: &[String],
    docs: bool,
) -> Result<(), Failure> {
    let known = described(session, of, docs).await?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    all_known(of, &known, &names)?;
    let chosen: Vec<&Described> =
        known.iter().filter(|c| names.is_empty() || names.contains(&c.name.as_str())).collect();
    if !names.is_empty() && screen.format == Format::Table {
        for config in chosen {
            let fields = [
                ("config", Cell::from(config.name.as_str()).tone(Tone::Strong)),
                ("value", config.value()),
                ("source", config.source_cell()),
                ("default", config.default()),
                ("read_only", config.read_only.into()),
                ("meaning", config.meaning.clone().into()),
            ];
            screen.sheet(&fields, &[])?;
        }
        return Ok(());
    }
    let mut columns = vec![
        Column::text("config"),
        Column::long("value"),
        Column::text("source"),
        Column::hidden("default"),
        Column::hidden("read_only"),
    ];
    if docs {
        columns.push(Column::long("meaning"));
    }
    let mut table = Table::new(columns);
    for config in chosen {
        let mut row = vec![
            Cell::from(config.name.as_str()).tone(Tone::Name),
            config.value(),
            config.source_cell(),
            config.default(),
            config.read_only.into(),
        ];
        if docs {
            row.push(config.meaning.clone().into());
        }
        table.push(row);
    }
    screen.table(&table)
}

async fn diff(screen: &mut Screen, session: &Session, of: &ConfigResource) -> Result<(), Failure> {
    let known = described(session, of, false).await?;
    let mut table =
        Table::new([Column::text("config"), Column::long("value"), Column::long("default"), Column::text("source")]);
    for config in known.iter().filter(|c| c.is_own()) {
        table.push(vec![
            Cell::from(config.name.as_str()).tone(Tone::Name),
            config.value(),
            config.default(),
            config.source_cell(),
        ]);
    }
    if table.rows.is_empty() && screen.format == Format::Table {
        return screen.remark(&format!("{} has the default of everything", called(of)));
    }
    screen.table(&table)
}

/// Changes configs, and says from what to what.
///
/// # Errors
/// A name is unknown, the broker refuses, or nobody answers.
pub async fn alter(
    screen: &mut Screen,
    session: &Session,
    of: &ConfigResource,
    changes: Vec<ConfigAlteration>,
    dry_run: bool,
) -> Result<(), Failure> {
    let before = described(session, of, false).await?;
    // Of the defaults of all brokers only those that are set are described, and of groups the same.
    if of.kind == ResourceType::Topic || (of.kind == ResourceType::Broker && !of.name.is_empty()) {
        all_known(of, &before, &changes.iter().map(|c| c.name.as_str()).collect::<Vec<_>>())?;
    }
    let alterations = BTreeMap::from([(of.clone(), changes.clone())]);
    for result in session.admin.incremental_alter_configs(&alterations, dry_run).await.into_values() {
        result.map_err(|e| about(&called(of), &e))?;
    }
    for change in &changes {
        let old = before.iter().find(|c| c.name == change.name.as_str());
        let was = old.map_or_else(|| "not set".to_owned(), |c| c.value().text());
        let default = || old.and_then(|c| c.default.clone()).unwrap_or_else(|| "the default".to_owned());
        let now = change.value.as_ref().map_or_else(default, ToString::to_string);
        let could = if dry_run { " (could be set; nothing was changed)" } else { "" };
        let same = if was == now && !dry_run { " (as before)" } else { could };
        screen.done(
            &format!("{}: {} {was} → {now}{same}", called(of), change.name),
            &[
                ("of", called(of).into()),
                ("config", (&change.name).into()),
                ("before", old.and_then(|c| c.raw.clone()).into()),
                ("value", change.value.as_ref().map(ToString::to_string).into()),
                ("changed", (!dry_run).into()),
            ],
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_meant() {
        let of = |text: &str| resource(text).map(|r| called(&r)).map_err(|f| f.sentence);
        assert_eq!(of("orders").as_deref(), Ok("topic orders"));
        assert_eq!(of("broker:1").as_deref(), Ok("broker 1"));
        assert_eq!(of("brokers").as_deref(), Ok("all brokers"));
        assert_eq!(of("group:a:b").as_deref(), Ok("group a:b"));
        assert!(of("brokr:1").expect_err("a typo").contains("did you mean `broker`?"));
        assert!(of("broker:x").is_err() && of("topic:").is_err());
    }

    #[test]
    fn assignments() {
        let set = assignment("a.b = c=d").expect("one");
        assert_eq!((set.name.as_str(), set.value.as_deref()), ("a.b", Some("c=d")));
        assert!(assignment("a").is_err() && assignment("=b").is_err());
    }
}
