//! The command line of `kafka-storage`: Kafka takes it by another parser than its other tools (argparse4j), with
//! commands, short options and its own messages.

use std::ffi::OsString;

const COMMANDS: &str = "{info,format,version-mapping,feature-dependencies,random-uuid}";

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    pub command: String,
    pub config: Option<String>,
    pub cluster_id: Option<String>,
    pub add_scram: Vec<String>,
    pub ignore_formatted: bool,
    pub release_version: Option<String>,
    pub features: Vec<String>,
    pub standalone: bool,
    pub no_initial_controllers: bool,
    pub initial_controllers: Option<String>,
}

/// Why nothing is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Help was asked for.
    Help(String),
    /// The usage and a message, for standard error.
    Wrong(String),
}

/// An option of a command.
struct Opt {
    long: &'static str,
    short: &'static str,
    is_flag: bool,
    help: &'static str,
}

const CONFIG: Opt =
    Opt { long: "--config", short: "-c", is_flag: false, help: "The node's configuration file (required)." };
const RELEASE: Opt = Opt {
    long: "--release-version",
    short: "-r",
    is_flag: false,
    help: "The release whose features are meant, from 3.3-IV3 to 4.3-IV0 (default: 4.3-IV0).",
};
const FEATURE: Opt = Opt {
    long: "--feature",
    short: "-f",
    is_flag: false,
    help: "A feature and its level: kraft.version=1. May come again.",
};
const FORMAT: &[Opt] = &[
    CONFIG,
    Opt {
        long: "--cluster-id",
        short: "-t",
        is_flag: false,
        help: "The cluster's id (required): kafka-storage random-uuid.",
    },
    Opt { long: "--add-scram", short: "-S", is_flag: false, help: "A SCRAM credential for the new cluster." },
    Opt { long: "--ignore-formatted", short: "-g", is_flag: true, help: "Leave formatted directories as they are." },
    RELEASE,
    FEATURE,
    Opt { long: "--standalone", short: "-s", is_flag: true, help: "This controller is the only voter, for now." },
    Opt {
        long: "--no-initial-controllers",
        short: "-N",
        is_flag: true,
        help: "This node is told of the voters by those that run.",
    },
    Opt {
        long: "--initial-controllers",
        short: "-I",
        is_flag: false,
        help: "The first voters, the same for all of them: id@host:port:directory-id, separated by commas.",
    },
];

fn options(command: &str) -> Option<(&'static [Opt], &'static str)> {
    Some(match command {
        "info" => (&[CONFIG], "Says what the log directories of a node hold."),
        "format" => (FORMAT, "Formats the log directories of a node for a new cluster."),
        "version-mapping" => (&[RELEASE], "Says which levels of the features belong to a release."),
        "feature-dependencies" => (&[FEATURE], "Says what levels of features depend on."),
        "random-uuid" => (&[], "Prints a new random id."),
        _ => return None,
    })
}

fn usage(command: Option<&str>) -> String {
    match command {
        None => format!("usage: kafka-storage [-h]\n                     {COMMANDS}\n                     ..."),
        Some(command) => format!("usage: kafka-storage {command} [-h] [OPTIONS]"),
    }
}

fn wrong(command: Option<&str>, message: &str) -> Stop {
    Stop::Wrong(format!("{}\nkafka-storage: error: {message}", usage(command)))
}

fn help(command: Option<&str>) -> Stop {
    let mut text = format!("{}\n", usage(command));
    match command.and_then(|c| Some((c, options(c)?))) {
        None => {
            text.push_str("\nThe Kafka storage tool.\n\n");
            for command in ["info", "format", "version-mapping", "feature-dependencies", "random-uuid"] {
                let about = options(command).map_or("", |(_, about)| about);
                text.push_str(&format!("  {command:<22}{about}\n"));
            }
            text.push_str(
                "\nExample:\n  kafka-storage format --standalone -t $(kafka-storage random-uuid) -c server.properties\n",
            );
        }
        Some((_, (options, about))) => {
            text.push_str(&format!("\n{about}\n\n"));
            for o in options {
                text.push_str(&format!("  {:<32}{}\n", format!("{}, {}", o.long, o.short), o.help));
            }
        }
    }
    Stop::Help(text)
}

/// Reads the words behind the tool's name.
///
/// # Errors
/// Help is asked for, or the words are wrong.
pub fn parse(words: &[OsString]) -> Result<Asked, Stop> {
    let words: Vec<String> = words.iter().map(|w| w.to_string_lossy().into_owned()).collect();
    let Some((command, rest)) = words.split_first() else { return Err(wrong(None, "too few arguments")) };
    if command == "-h" || command == "--help" {
        return Err(help(None));
    }
    let choices = "'info', 'format', 'version-mapping', 'feature-dependencies', 'random-uuid'";
    let (options, _) =
        options(command).ok_or_else(|| wrong(None, &format!("invalid choice: '{command}' (choose from {choices})")))?;
    let command = command.as_str();
    let mut asked = Asked { command: command.to_owned(), ..Asked::default() };
    let mut rest = rest.iter();
    let mut quorum: Option<&Opt> = None;
    while let Some(word) = rest.next() {
        if word == "-h" || word == "--help" {
            return Err(help(Some(command)));
        }
        let (name, inline) = match word.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            _ => (word.as_str(), None),
        };
        let exact = options.iter().find(|o| o.long == name || o.short == name);
        // `-tID`, as argparse takes it.
        let glued = || {
            let option = options.iter().find(|o| !o.is_flag && !name.starts_with("--") && name.starts_with(o.short))?;
            Some((option, Some(name[option.short.len()..].to_owned())))
        };
        let (option, inline) = exact
            .map(|o| (o, inline))
            .or_else(glued)
            .ok_or_else(|| wrong(Some(command), &format!("unrecognized arguments: '{word}'")))?;
        let both = format!("argument {}/{}", option.long, option.short);
        if ["-s", "-N", "-I"].contains(&option.short) {
            if let Some(other) = quorum.filter(|other| other.short != option.short) {
                let message = format!("{both}: not allowed with argument {}/{}", other.long, other.short);
                return Err(wrong(Some(command), &message));
            }
            quorum = Some(option);
        }
        let mut value = || {
            let given = inline.clone().or_else(|| rest.next().cloned());
            given.ok_or_else(|| wrong(Some(command), &format!("{both}: expected one argument")))
        };
        match option.short {
            "-c" => asked.config = Some(value()?),
            "-t" => asked.cluster_id = Some(value()?),
            "-S" => asked.add_scram.push(value()?),
            "-g" => asked.ignore_formatted = true,
            "-r" => asked.release_version = Some(value()?),
            "-f" => asked.features.push(value()?),
            "-s" => asked.standalone = true,
            "-N" => asked.no_initial_controllers = true,
            _ => asked.initial_controllers = Some(value()?),
        }
    }
    let required = |is_there: bool, option: &str| match is_there {
        true => Ok(()),
        false => Err(wrong(Some(command), &format!("argument {option} is required"))),
    };
    if matches!(command, "info" | "format") {
        required(asked.config.is_some(), "--config/-c")?;
    }
    if command == "format" {
        required(asked.cluster_id.is_some(), "--cluster-id/-t")?;
    }
    if command == "feature-dependencies" {
        required(!asked.features.is_empty(), "--feature/-f")?;
    }
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> Result<Asked, String> {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        parse(&words).map_err(|stop| match stop {
            Stop::Help(text) => text,
            Stop::Wrong(text) => text.lines().last().unwrap_or_default().to_owned(),
        })
    }

    #[test]
    fn words_as_kafka_takes_them() {
        let a = asked("format -t id --config=x.properties -s -f a=1 --feature b=2 -g -r3.9").expect("valid");
        assert_eq!((a.cluster_id.as_deref(), a.config.as_deref()), (Some("id"), Some("x.properties")));
        assert!(a.standalone && a.ignore_formatted && !a.no_initial_controllers);
        assert_eq!((a.features.len(), a.release_version.as_deref()), (2, Some("3.9")));
        assert_eq!(asked("").expect_err("empty"), "kafka-storage: error: too few arguments");
        assert_eq!(
            asked("format -c x").expect_err("no id"),
            "kafka-storage: error: argument --cluster-id/-t is required"
        );
        assert!(asked("bogus").expect_err("bogus").contains("invalid choice: 'bogus'"));
        assert!(
            asked("format -t x -c y -s -N").expect_err("both").contains("not allowed with argument --standalone/-s")
        );
        assert!(asked("info -c x --standalone").expect_err("not there").contains("unrecognized"));
        assert!(asked("format --help").expect_err("help").contains("--initial-controllers"));
    }
}
