//! The words of the command line, and the help that teaches them.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  logrun                                     port 9092, data in ./logrun-data
  logrun serve --ephemeral --port 19092      to try things, leaves nothing
  logrun serve --config server.properties    Kafka's own file, as Kafka reads it
  logrun serve --set log.retention.hours=24  any option of Kafka by its own name
  logrun config describe retention.ms        what an option means
  logrun config list retention               options with a word in the name
  logrun topics create orders -p 12          see `logrun topics --help`
  echo '42:a book' | logrun produce orders -K :
  logrun consume orders --since 2h --where '.amount > 100'
  logrun top groups                          lag in records and seconds, live
  logrun doctor -b kafka:9092                what is wrong, and how to mend it
  logrun install-tools ~/.local/bin          Kafka's tools, as links
  logrun kafka-server-stop                   one of them without a link

Environment variables as Kafka's container images use them: KAFKA_LOG_RETENTION_HOURS=24.";

/// An event streaming platform that speaks Kafka's protocol and keeps Kafka's files.
#[derive(Debug, Parser)]
#[command(name = "logrun", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
#[command(disable_help_subcommand = true, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub serve: ServeArgs,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a broker, a controller, or both; this is what `logrun` alone does
    Serve(ServeArgs),
    #[command(flatten)]
    People(Box<logrun_ctl::Command>),
    /// Look options up, and check a configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Look at a data directory, make ids
    #[command(subcommand)]
    Storage(StorageCommand),
    /// Show, check and mend log directories while no broker runs on them
    #[command(subcommand)]
    Log(LogCommand),
    /// Print a script that completes logrun's words in a shell
    #[command(after_help = COMPLETION_EXAMPLES)]
    Completion {
        /// bash, zsh, fish, ...
        shell: clap_complete::Shell,
    },
    /// Make links by which this program is each of Kafka's tools: kafka-topics, kafka-storage.sh, ...
    InstallTools(InstallArgs),
}

/// How to run a node.
#[derive(Args, Clone, Debug, Default)]
pub struct ServeArgs {
    #[command(flatten)]
    pub source: SourceArgs,
    /// Serve clients on this port; 0 takes any free one
    #[arg(long, value_name = "N")]
    pub port: Option<u16>,
    /// Keep the data in this directory
    #[arg(long, value_name = "DIR", conflicts_with = "ephemeral")]
    pub data: Option<PathBuf>,
    /// Keep nothing: the data is gone when the node stops
    #[arg(long)]
    pub ephemeral: bool,
    /// How much to log: error, warn, info, debug, trace, or `info,logrun_raft=debug`
    #[arg(long, value_name = "LEVEL", env = "RUST_LOG", hide_env_values = true, default_value = "info")]
    pub log_level: String,
}

#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Show what is in log directories, partitions' directories or files of them
    #[command(after_help = DUMP_EXAMPLES)]
    Dump(DumpArgs),
    /// Check every batch, index, snapshot and checkpoint; exit code 1 if something is wrong
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(VerifyArgs),
    /// End damaged logs before the damage and put away what a start builds again; says what it would do
    #[command(after_help = REPAIR_EXAMPLES)]
    Repair(RepairArgs),
}

const DUMP_EXAMPLES: &str = "\
Examples:
  logrun log dump logrun-data                                 its partitions
  logrun log dump logrun-data/orders-0                        its segments
  logrun log dump logrun-data/orders-0 --records --from 1000  its records
  logrun log dump logrun-data/__cluster_metadata-0 --records --jsonl | jq .data
  logrun log dump logrun-data/recovery-point-offset-checkpoint

It reads Apache Kafka's directories as well. `logrun kafka-dump-log` prints what Kafka's own tool prints.";

const VERIFY_EXAMPLES: &str = "\
Examples:
  logrun log verify logrun-data            all of a log directory
  logrun log verify /var/lib/kafka-logs-*  several, of Apache Kafka too
  logrun log verify logrun-data/orders-0   one partition
  logrun log verify logrun-data --json | jq '.findings[].path'

A directory whose broker was killed is not wrong: what the next start mends by itself is a note (--verbose).";

const REPAIR_EXAMPLES: &str = "\
Examples:
  logrun log repair logrun-data            what it would do
  logrun log repair logrun-data --execute  do it, and keep what is cut

A damaged log of a replicated topic is better copied from another replica: remove its directory instead.";

/// What to show.
#[derive(Args, Clone, Debug)]
pub struct DumpArgs {
    /// Log directories, partitions' directories, or files in them
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Show records and not only segments or batches
    #[arg(long, short)]
    pub records: bool,
    /// Begin at this offset
    #[arg(long, value_name = "OFFSET")]
    pub from: Option<i64>,
    /// End before this offset
    #[arg(long, value_name = "OFFSET")]
    pub to: Option<i64>,
    /// Show at most so many batches or records
    #[arg(long, short = 'n', value_name = "N")]
    pub limit: Option<u64>,
    /// Print one JSON array
    #[arg(long)]
    pub json: bool,
    /// Print one JSON object a line
    #[arg(long, conflicts_with = "json")]
    pub jsonl: bool,
    /// Cut no value in a table
    #[arg(long)]
    pub full: bool,
}

/// What to check.
#[derive(Args, Clone, Debug)]
pub struct VerifyArgs {
    /// Log directories, or partitions' directories in them
    #[arg(required = true, value_name = "DIR")]
    pub dirs: Vec<PathBuf>,
    /// Show notes too: what the next start takes care of
    #[arg(long, short)]
    pub verbose: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// What to mend.
#[derive(Args, Clone, Debug)]
pub struct RepairArgs {
    /// A log directory, or a partition's directory in one
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Do it
    #[arg(long)]
    pub execute: bool,
    /// Where what is cut or put away goes [default: DIR.repair-<time>]
    #[arg(long, value_name = "DIR")]
    pub backup: Option<PathBuf>,
}

const COMPLETION_EXAMPLES: &str = "\
Examples:
  logrun completion bash > ~/.local/share/bash-completion/completions/logrun
  logrun completion zsh  > ~/.zfunc/_logrun
  logrun completion fish > ~/.config/fish/completions/logrun.fish";

/// Where Kafka's tools go.
#[derive(Args, Clone, Debug)]
pub struct InstallArgs {
    /// The directory for the links; it is made if it isn't there
    #[arg(value_name = "DIR", required_unless_present = "list")]
    pub dir: Option<PathBuf>,
    /// Only list the tools
    #[arg(long)]
    pub list: bool,
}

/// Where a configuration comes from, besides the environment.
#[derive(Args, Clone, Debug, Default)]
pub struct SourceArgs {
    /// Read Kafka's configuration file (server.properties)
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Set an option, stronger than file and environment; may come several times
    #[arg(long, value_name = "KEY=VALUE", alias = "override")]
    pub set: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say what an option means, of brokers, topics and groups
    Describe {
        /// The option's name, e.g. retention.ms
        key: String,
    },
    /// List options, all or those with a word in their name
    List {
        /// A part of the name
        word: Option<String>,
    },
    /// Check a configuration without running anything
    Check(SourceArgs),
}

#[derive(Debug, Subcommand)]
pub enum StorageCommand {
    /// Print a new random id, as a cluster's or a directory's
    RandomUuid,
    /// Say what the data directories of a configuration hold
    Info(SourceArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn help(words: &[&str]) -> String {
        let mut command = Cli::command().term_width(100);
        command.build();
        let mut at = &mut command;
        for word in words {
            at = at.find_subcommand_mut(word).expect("a command");
        }
        at.render_help().to_string()
    }

    #[test]
    fn the_words_fit_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_teaches() {
        insta::assert_snapshot!("help", help(&[]));
        insta::assert_snapshot!("help_serve", help(&["serve"]));
        insta::assert_snapshot!("help_config", help(&["config"]));
    }

    #[test]
    fn serve_is_what_happens_without_a_command() {
        let cli = Cli::try_parse_from(["logrun", "--port", "1", "--set", "a=b", "--override", "c=d"]).expect("valid");
        assert!(cli.command.is_none());
        assert_eq!(cli.serve.port, Some(1));
        assert_eq!(cli.serve.source.set, ["a=b", "c=d"]);
        assert!(Cli::try_parse_from(["logrun", "serve", "--data", "x", "--ephemeral"]).is_err());
    }
}
