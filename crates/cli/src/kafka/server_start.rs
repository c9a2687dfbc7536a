//! `kafka-server-start [-daemon] server.properties [--override property=value]*`: as `logrun serve`, in the words of
//! Kafka's script.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use crate::args::{ServeArgs, SourceArgs};
use crate::serve;
use logrun_ctl::Failure;

const USAGE: &str = "\
USAGE: kafka-server-start [-daemon] server.properties [--override property=value]*

  -daemon                      run in the background; what it says goes to $LOG_DIR/kafkaServer.out
                               (LOG_DIR: ./logs unless it is set)
  --override property=value    stronger than the file; may come several times
  --version                    print the version and end

Example:
  kafka-server-start -daemon config/server.properties --override log.dirs=/var/lib/logrun";

/// What the words ask for.
#[derive(Debug, PartialEq, Eq)]
enum Ask {
    Usage,
    Serve { file: PathBuf, overrides: Vec<String>, is_daemon: bool },
}

/// Runs the tool.
pub fn run(words: &[OsString]) -> ExitCode {
    let started = Instant::now();
    let done = parse(words).and_then(|ask| match ask {
        Ask::Usage => {
            eprintln!("{USAGE}");
            Ok(ExitCode::FAILURE)
        }
        Ask::Serve { file, overrides, is_daemon: true } => daemon(&file, &overrides),
        Ask::Serve { file, overrides, is_daemon: false } => {
            let source = SourceArgs { config: Some(file), set: overrides };
            let log_level = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned());
            serve::serve(&ServeArgs { source, log_level, ..ServeArgs::default() }, started)
        }
    });
    done.unwrap_or_else(|failure| failure.report())
}

/// Kafka takes the file first and its options after it, `-daemon` before it.
fn parse(words: &[OsString]) -> Result<Ask, Failure> {
    let (mut file, mut overrides, mut is_daemon) = (None, Vec::new(), false);
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let text = word.to_string_lossy();
        match text.strip_prefix('-').map(|option| option.strip_prefix('-').unwrap_or(option)) {
            Some("help") => return Ok(Ask::Usage),
            Some("daemon") => is_daemon = true,
            Some(option) if option == "override" || option.starts_with("override=") => {
                let pair = match option.split_once('=') {
                    Some((_, pair)) => pair.to_owned(),
                    None => rest.next().map(|pair| pair.to_string_lossy().into_owned()).unwrap_or_default(),
                };
                if !pair.contains('=') {
                    return Err(Failure::usage(format!("--override {pair}: write --override property=value")));
                }
                overrides.push(pair);
            }
            Some(_) => return Err(Failure::usage(format!("{text} is no option of kafka-server-start\n{USAGE}"))),
            None if file.is_none() => file = Some(PathBuf::from(word)),
            None => return Err(Failure::usage(format!("Found non argument parameters: {text}"))),
        }
    }
    Ok(file.map_or(Ask::Usage, |file| Ask::Serve { file, overrides, is_daemon }))
}

/// Starts this program again, away from the terminal.
fn daemon(file: &PathBuf, overrides: &[String]) -> Result<ExitCode, Failure> {
    let dir = std::env::var_os("LOG_DIR").map_or_else(|| PathBuf::from("logs"), PathBuf::from);
    let path = dir.join("kafkaServer.out");
    let cannot = |e: std::io::Error| Failure::new(format!("can't write {}: {e}", path.display()));
    fs::create_dir_all(&dir).map_err(cannot)?;
    let out = OpenOptions::new().create(true).append(true).open(&path).map_err(cannot)?;
    let err = out.try_clone().map_err(cannot)?;
    let start = |e: std::io::Error| Failure::new(format!("can't start the node: {e}"));
    let mut command = Command::new(std::env::current_exe().map_err(start)?);
    command.arg("serve").arg("--config").arg(file);
    for pair in overrides {
        command.arg("--set").arg(pair);
    }
    // A group of its own: Ctrl-C in the terminal and its end are not for the node.
    command.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0).spawn().map_err(start)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn words_as_kafka_takes_them() {
        let serve = |overrides: &[&str], is_daemon| Ask::Serve {
            file: "a.properties".into(),
            overrides: overrides.iter().map(|pair| (*pair).to_owned()).collect(),
            is_daemon,
        };
        for (text, asked) in [
            ("", Ask::Usage),
            ("-daemon", Ask::Usage),
            ("a.properties --help", Ask::Usage),
            ("a.properties", serve(&[], false)),
            ("-daemon a.properties", serve(&[], true)),
            ("a.properties --override x=1 --override=y=2", serve(&["x=1", "y=2"], false)),
        ] {
            assert_eq!(parse(&words(text)), Ok(asked), "{text}");
        }
        for text in ["a.properties b.properties", "a.properties --override", "a.properties --overide x=1"] {
            assert!(parse(&words(text)).is_err_and(|failure| failure.is_usage), "{text}");
        }
    }
}
