//! A program that is run to its end and read afterwards, as a person at a terminal would.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::background::wait_within;
use crate::broker::exit_code;

/// How a program ended and what it said.
#[derive(Debug)]
pub struct Ended {
    /// As in a shell: 128 + the signal where a signal ended it.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Ended {
    /// What it said, wherever it said it.
    pub fn said(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// Runs `command` with no input: see [`typed`].
///
/// # Errors
/// As [`typed`].
pub fn run(command: &mut Command, dir: &Path, patience: Duration) -> io::Result<Ended> {
    ended(command.stdin(Stdio::null()), dir, patience)
}

/// Runs `command` with `input` typed in; what it writes goes through files in `dir`, so that much of it can't block it.
///
/// # Errors
/// What starting it gives; `TimedOut` with what it said so far when it runs longer than `patience` (it is then killed).
pub fn typed(command: &mut Command, input: &str, dir: &Path, patience: Duration) -> io::Result<Ended> {
    let path = dir.join("stdin");
    fs::write(&path, input)?;
    ended(command.stdin(File::open(path)?), dir, patience)
}

fn ended(command: &mut Command, dir: &Path, patience: Duration) -> io::Result<Ended> {
    let (out, err) = (dir.join("stdout"), dir.join("stderr"));
    command.stdout(File::create(&out)?).stderr(File::create(&err)?);
    let start = Instant::now();
    let mut child = command.spawn()?;
    let text = |path: &Path| fs::read(path).map(|b| String::from_utf8_lossy(&b).into_owned());
    match wait_within(&mut child, patience) {
        Ok(status) => {
            let took = start.elapsed();
            Ok(Ended { code: exit_code(status), stdout: text(&out)?, stderr: text(&err)?, took })
        }
        Err(e) if e.kind() == io::ErrorKind::TimedOut => {
            child.kill()?;
            child.wait()?;
            let said = text(&out)? + &text(&err)?;
            Err(io::Error::new(e.kind(), format!("{e}: {said}")))
        }
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scratch;

    #[test]
    fn both_streams_and_the_exit_code_are_kept() {
        let scratch = Scratch::new("command").expect("scratch");
        let mut sh = Command::new("sh");
        sh.args(["-c", "echo out; echo err >&2; exit 3"]);
        let ended = run(&mut sh, scratch.path(), Duration::from_secs(10)).expect("run");
        assert_eq!((ended.code, ended.said().as_str()), (3, "out\nerr\n"));
        let heard = typed(&mut Command::new("cat"), "heard", scratch.path(), Duration::from_secs(10)).expect("run");
        assert_eq!((heard.code, heard.stdout.as_str()), (0, "heard"));
        let mut killed = Command::new("sh");
        killed.args(["-c", "kill -TERM $$"]);
        assert_eq!(run(&mut killed, scratch.path(), Duration::from_secs(10)).expect("run").code, 143);
        let mut slow = Command::new("sleep");
        let error = run(slow.arg("60"), scratch.path(), Duration::from_millis(50)).expect_err("too slow");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
