//! The words that all commands share: which cluster, how to print; and the list of commands.
//!
//! The words of one command are declared beside it.

use clap::{Args, Subcommand};

use crate::output::{ColorChoice, Format};

/// The commands, to be taken into `logrun`'s own.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List, describe, create, change, delete and compact topics
    Topics(crate::topics::TopicsArgs),
    /// Show and change the configs of topics, brokers and groups
    Configs(crate::configs::ConfigsArgs),
    /// List and describe consumer groups with their lag, move their offsets, delete them
    Groups(crate::groups::GroupsArgs),
    /// Write records: lines, files or JSON
    Produce(crate::produce::ProduceArgs),
    /// Read and find records, across partitions in the order of time
    Consume(crate::consume::ConsumeArgs),
    /// Watch throughput and lag live
    Top(crate::top::TopArgs),
    /// Try out everything between here and the cluster, and say what is wrong and how to mend it
    Doctor(crate::doctor::DoctorArgs),
    /// Name clusters, so that they needn't be spelled out each time
    Contexts(crate::contexts::ContextsArgs),
    /// Print names that a shell completes
    #[command(hide = true)]
    Complete(crate::complete::CompleteArgs),
}

/// What every command that talks to a cluster understands.
#[derive(Args, Clone, Debug, Default)]
pub struct Common {
    #[command(flatten)]
    pub connection: Connection,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Which cluster.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Connection")]
pub struct Connection {
    /// Brokers to begin with [default: those of the current context, or else localhost:9092]
    #[arg(long, short = 'b', value_name = "HOST:PORT,…", global = true)]
    pub bootstrap_server: Option<String>,
    /// Use this context (see `logrun contexts`)
    #[arg(long, value_name = "NAME", env = "LOGRUN_CONTEXT", hide_env_values = true, global = true)]
    pub context: Option<String>,
    /// Read client properties from a file of Kafka's form
    #[arg(long, value_name = "FILE", global = true)]
    pub command_config: Option<std::path::PathBuf>,
    /// Set a client property, e.g. client.id=me; may come several times
    #[arg(long = "set", short = 'X', value_name = "NAME=VALUE", global = true)]
    pub set: Vec<String>,
    /// Give up when the cluster doesn't answer for so long
    #[arg(long, value_name = "DURATION", default_value = "30s", global = true, value_parser = crate::time::span_arg)]
    pub timeout: Option<std::time::Duration>,
}

/// How to print.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// How to print [default: table on a terminal, json otherwise]
    #[arg(long, short = 'o', value_name = "FORMAT", value_enum, global = true)]
    pub output: Option<Format>,
    /// When to use colours (NO_COLOR is heeded)
    #[arg(long, value_name = "WHEN", value_enum, default_value = "auto", global = true, hide_possible_values = true)]
    pub color: Option<ColorChoice>,
}

/// Gives each command of a command those of its parent's examples that are its own.
pub fn with_examples(mut program: clap::Command) -> clap::Command {
    let names: Vec<String> =
        program.get_subcommands().filter(|c| c.has_subcommands()).map(|c| c.get_name().to_owned()).collect();
    for name in names {
        program = program.mut_subcommand(&name, |mut parent| {
            let examples = parent.get_after_help().map(ToString::to_string).unwrap_or_default();
            let subs: Vec<String> = parent.get_subcommands().map(|c| c.get_name().to_owned()).collect();
            for sub in subs {
                if let Some(own) = own_examples(&examples, &format!("  logrun {name} {sub}")) {
                    parent = parent.mut_subcommand(&sub, |command| {
                        if command.get_after_help().is_some() { command } else { command.after_help(own) }
                    });
                }
            }
            parent
        });
    }
    program
}

/// The examples that begin with these words, each with the lines that it goes on in.
fn own_examples(examples: &str, words: &str) -> Option<String> {
    let mut own = String::from("Examples:");
    let mut is_own = false;
    for line in examples.lines() {
        if !line.starts_with("    ") {
            is_own = line.strip_prefix(words).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
        }
        if is_own {
            own.push('\n');
            own.push_str(line);
        }
    }
    own.contains('\n').then_some(own)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    #[command(name = "logrun")]
    struct Program {
        #[command(subcommand)]
        _command: Command,
    }

    #[test]
    fn every_command_teaches_by_examples() {
        let mut program = Program::command().term_width(100);
        program.build();
        for command in program.get_subcommands_mut().filter(|c| !c.is_hide_set() && c.get_name() != "help") {
            let help = command.render_long_help().to_string();
            assert!(help.contains("Examples:\n  logrun "), "{} has no examples", command.get_name());
        }
    }

    /// What is the same for all of them, connection and output, is left out after the first.
    #[test]
    fn help_is_as_agreed_on() {
        let mut program = Program::command().term_width(80);
        program.build();
        let mut pages = String::new();
        for command in program.get_subcommands_mut().filter(|c| !c.is_hide_set() && c.get_name() != "help") {
            let help = command.render_help().to_string();
            let shared =
                pages.contains("Connection:\n").then(|| help.find("Connection:\n").zip(help.find("Examples:\n")));
            let page = match shared.flatten() {
                Some((from, to)) if from < to => format!("{}…\n\n{}", &help[..from], &help[to..]),
                _ => help,
            };
            pages.push_str(&format!("$ logrun {} -h\n{page}\n", command.get_name()));
        }
        insta::assert_snapshot!("help", pages.lines().map(|l| l.trim_end().to_owned() + "\n").collect::<String>());
    }

    #[test]
    fn every_subcommand_teaches_by_examples_too() {
        let mut program = with_examples(Program::command()).term_width(100);
        program.build();
        for parent in program.get_subcommands_mut().filter(|c| !c.is_hide_set() && c.get_name() != "help") {
            let name = parent.get_name().to_owned();
            for sub in parent.get_subcommands_mut().filter(|c| c.get_name() != "help") {
                let help = sub.render_help().to_string();
                let start = format!("Examples:\n  logrun {name} {}", sub.get_name());
                assert!(help.contains(&start), "{help}");
            }
        }
    }

    #[test]
    fn the_words_fit_together() {
        Program::command().debug_assert();
    }
}
