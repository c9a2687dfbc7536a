//! `logrun topics`: list, describe, create, alter, delete, compact.

mod compact;
mod describe;
pub mod sizes;

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use logrun_client::admin::{ConfigAlteration, ConfigResource, NewPartitions, NewTopic};
use logrun_client::{ErrorCode, Str};
use logrun_model::validate_topic_name;

pub use self::describe::bytes;
use crate::Failure;
use crate::args::Common;
use crate::ask::confirm;
use crate::names::{Pattern, count};
use crate::output::{Cell, Column, Screen, Table, Tone};
use crate::session::{Session, about, block_on, explain};

const EXAMPLES: &str = "\
Examples:
  logrun topics                           all of them
  logrun topics list 'orders*' --long     some, with records and bytes
  logrun topics create orders -p 12 -r 3 -c retention.ms=86400000
  logrun topics describe orders           partitions, offsets, configs
  logrun topics alter orders -p 24        more partitions
  logrun topics delete orders --yes
  logrun topics compact customers --wait  compact now and watch
  logrun topics list -o json | jq -r .topic";

/// What to do with topics.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct TopicsArgs {
    #[command(subcommand)]
    command: Option<TopicsCommand>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum TopicsCommand {
    /// List topics; this is what `logrun topics` alone does
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Show a topic's partitions, offsets and configs
    Describe(DescribeArgs),
    /// Create topics
    Create(CreateArgs),
    /// Add partitions to a topic, change its configs
    Alter(AlterArgs),
    /// Delete topics with all their records
    #[command(visible_alias = "rm")]
    Delete(DeleteArgs),
    /// Compact topics now: keep the latest record of each key of what is there
    Compact(CompactArgs),
}

#[derive(Args, Debug, Default)]
struct ListArgs {
    /// Only those with this in their name, or that fit a pattern with * and ?
    pattern: Option<String>,
    /// The cluster's own topics too
    #[arg(long, short)]
    internal: bool,
    /// Records and bytes too
    #[arg(long, short)]
    long: bool,
}

#[derive(Args, Debug)]
struct DescribeArgs {
    /// Topics
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
}

#[derive(Args, Debug)]
struct CreateArgs {
    /// Topics
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// Partitions of each [default: the broker's num.partitions]
    #[arg(long, short, value_name = "N")]
    partitions: Option<i32>,
    /// Replicas of each partition [default: the broker's default.replication.factor]
    #[arg(long, short, value_name = "N")]
    replicas: Option<i16>,
    /// A config of the topic, e.g. retention.ms=86400000; may come several times
    #[arg(long, short, value_name = "NAME=VALUE")]
    config: Vec<String>,
    /// A topic that is there already is fine
    #[arg(long)]
    if_not_exists: bool,
    /// Only say what would come of it
    #[arg(long)]
    dry_run: bool,
}

#[derive(Args, Debug)]
struct AlterArgs {
    /// The topic
    topic: String,
    /// How many partitions it shall have in all; never fewer
    #[arg(long, short, value_name = "N", required_unless_present = "config")]
    partitions: Option<i32>,
    /// A config to be set, e.g. retention.ms=86400000; may come several times
    #[arg(long, short, value_name = "NAME=VALUE")]
    config: Vec<String>,
}

#[derive(Args, Debug)]
struct DeleteArgs {
    /// Topics
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// Don't ask
    #[arg(long, short)]
    yes: bool,
}

#[derive(Args, Debug)]
struct CompactArgs {
    /// Topics
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// Watch until it is done
    #[arg(long, short)]
    wait: bool,
}

/// Runs it.
///
/// # Errors
/// A sentence.
pub fn run(args: &TopicsArgs) -> Result<ExitCode, Failure> {
    let mut screen = Screen::new(&args.common.output);
    let screen = &mut screen;
    block_on(async {
        let session = Session::open(&args.common).await?;
        match args.command.as_ref().unwrap_or(&TopicsCommand::List(ListArgs::default())) {
            TopicsCommand::List(args) => list(screen, &session, args).await?,
            TopicsCommand::Describe(args) => describe::describe(screen, &session, &args.topics).await?,
            TopicsCommand::Create(args) => create(screen, &session, args).await?,
            TopicsCommand::Alter(args) => alter(screen, &session, args).await?,
            TopicsCommand::Delete(args) => delete(screen, &session, args).await?,
            TopicsCommand::Compact(args) => compact::compact(screen, &session, &args.topics, args.wait).await?,
        }
        screen.flush()?;
        Ok(ExitCode::SUCCESS)
    })
}

async fn list(screen: &mut Screen, session: &Session, args: &ListArgs) -> Result<(), Failure> {
    let pattern = Pattern::new(args.pattern.as_deref())?;
    let listed = session.admin.list_topics(args.internal).await.map_err(|e| explain(&e))?;
    let names: Vec<String> =
        listed.iter().filter(|t| pattern.fits(&t.name)).map(|t| t.name.as_str().to_owned()).collect();
    let topics = session.topics(&names).await?;
    let mut columns = vec![
        Column::long("topic"),
        Column::number("partitions"),
        Column::number("replicas"),
        Column::text("state"),
        Column::hidden("id"),
        Column::hidden("internal"),
    ];
    let extent = match args.long {
        true => Some(describe::Extent::of(session, &topics).await?),
        false => None,
    };
    if extent.is_some() {
        columns.extend([Column::number("records"), Column::number("bytes")]);
    }
    let mut table = Table::new(columns);
    for topic in &topics {
        let replicas = topic.partitions.iter().map(|p| p.replicas.len()).max().unwrap_or(0);
        let mut row = vec![
            Cell::from(&topic.name).tone(Tone::Name),
            topic.partitions.len().into(),
            replicas.into(),
            describe::state(topic),
            topic.id.to_string().into(),
            topic.is_internal.into(),
        ];
        if let Some(extent) = &extent {
            row.extend([extent.records(topic).into(), bytes(extent.bytes(topic))]);
        }
        table.push(row);
    }
    if table.rows.is_empty() {
        screen.remark(match (&args.pattern, args.internal) {
            (Some(_), _) => "no topic fits",
            (None, true) => "no topics yet: `logrun topics create NAME` makes one",
            (None, false) => "no topics yet: `logrun topics create NAME` makes one, --internal shows the cluster's own",
        })?;
        if screen.format == crate::output::Format::Table {
            return Ok(());
        }
    }
    screen.table(&table)
}

fn pairs(arguments: &[String]) -> Result<BTreeMap<Str, Str>, Failure> {
    let pair = |argument: &String| match argument.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((Str::from(name.trim()), Str::from(value.trim()))),
        _ => Err(Failure::usage(format!("`{argument}` is not NAME=VALUE"))),
    };
    arguments.iter().map(pair).collect()
}

async fn create(screen: &mut Screen, session: &Session, args: &CreateArgs) -> Result<(), Failure> {
    let configs = pairs(&args.config)?;
    for name in &args.topics {
        validate_topic_name(name)
            .map_err(|reason| Failure::usage(format!("`{name}` is no legal name of a topic: {reason}")))?;
    }
    if args.partitions.is_some_and(|n| n < 1) || args.replicas.is_some_and(|n| n < 1) {
        return Err(Failure::usage("a topic has at least 1 partition and 1 replica"));
    }
    let new = |name: &String| NewTopic {
        name: name.into(),
        partitions: args.partitions,
        replication_factor: args.replicas,
        assignments: BTreeMap::new(),
        configs: configs.clone(),
    };
    let topics: Vec<NewTopic> = args.topics.iter().map(new).collect();
    let mut created = session.admin.create_topics(&topics, args.dry_run).await.map_err(|e| explain(&e))?;
    let mut failed = Vec::new();
    for topic in &topics {
        let Some(result) = created.remove(&topic.name) else { continue };
        match result {
            Ok(made) => {
                let size = match (made.partitions, made.replication_factor) {
                    (Some(partitions), Some(replicas)) => {
                        format!(": {}, {}", count(partitions, "partition"), count(replicas, "replica"))
                    }
                    _ => String::new(),
                };
                let done = if args.dry_run { "could be created" } else { "created" };
                screen.done(
                    &format!("topic {} {done}{size}", topic.name),
                    &[
                        ("topic", (&topic.name).into()),
                        ("id", made.id.to_string().into()),
                        ("partitions", made.partitions.into()),
                        ("replicas", made.replication_factor.into()),
                        ("created", (!args.dry_run).into()),
                    ],
                )?;
            }
            Err(e) if args.if_not_exists && e.code() == Some(ErrorCode::TopicAlreadyExists) => screen.done(
                &format!("topic {} is there already", topic.name),
                &[("topic", (&topic.name).into()), ("created", false.into())],
            )?,
            Err(e) if e.code() == Some(ErrorCode::TopicAlreadyExists) => failed.push(Failure::new(format!(
                "there is a topic {} already; `logrun topics describe {0}` shows it, --if-not-exists takes it as it is",
                topic.name
            ))),
            Err(e) => failed.push(about(&format!("topic {}", topic.name), &e)),
        }
    }
    all(screen, failed)
}

/// What went well has been printed; what didn't is the result.
fn all(screen: &mut Screen, failed: Vec<Failure>) -> Result<(), Failure> {
    screen.flush()?;
    let sentences: Vec<String> = failed.iter().map(|f| f.sentence.clone()).collect();
    match failed.is_empty() {
        true => Ok(()),
        false if failed.iter().all(|f| f.is_usage) => Err(Failure::usage(sentences.join("\n"))),
        false => Err(Failure::new(sentences.join("\n"))),
    }
}

async fn alter(screen: &mut Screen, session: &Session, args: &AlterArgs) -> Result<(), Failure> {
    let configs = pairs(&args.config)?;
    let topic = session.topics(std::slice::from_ref(&args.topic)).await?.remove(0);
    if let Some(total) = args.partitions {
        let now = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        if total < now {
            return Err(Failure::usage(format!(
                "topic {} has {now} partitions, and partitions can't be taken away: their records would be lost",
                args.topic
            )));
        }
        if total > now {
            let new = NewPartitions { total, assignments: None };
            let results = session
                .admin
                .create_partitions(&BTreeMap::from([(topic.name.clone(), new)]), false)
                .await
                .map_err(|e| explain(&e))?;
            for result in results.into_values() {
                result.map_err(|e| about(&format!("topic {}", args.topic), &e))?;
            }
        }
        let note = if total == now { "has already" } else { "now has" };
        screen.done(
            &format!("topic {} {note} {}", args.topic, count(total, "partition")),
            &[("topic", args.topic.as_str().into()), ("partitions", total.into())],
        )?;
        if total > now {
            screen.remark("records with a key go to other partitions from now on: their order per key begins anew")?;
        }
    }
    if !configs.is_empty() {
        let changes = configs.into_iter().map(|(name, value)| ConfigAlteration::set(name, value)).collect();
        crate::configs::alter(screen, session, &ConfigResource::topic(topic.name), changes, false).await?;
    }
    Ok(())
}

async fn delete(screen: &mut Screen, session: &Session, args: &DeleteArgs) -> Result<(), Failure> {
    let topics = session.topics(&args.topics).await?;
    let extent = describe::Extent::of(session, &topics).await?;
    let what: Vec<String> =
        topics.iter().map(|t| format!("{} ({})", t.name, count(extent.records(t), "record"))).collect();
    confirm(&format!("Delete {} for good?", what.join(", ")), args.yes)?;
    let names: Vec<Str> = topics.iter().map(|t| t.name.clone()).collect();
    let deleted = session.admin.delete_topics(&names).await.map_err(|e| explain(&e))?;
    let mut failed = Vec::new();
    for (name, result) in deleted {
        match result {
            Ok(()) => {
                screen.done(&format!("topic {name} deleted"), &[("topic", (&name).into()), ("deleted", true.into())])?
            }
            Err(e) => failed.push(about(&format!("topic {name}"), &e)),
        }
    }
    all(screen, failed)
}
