//! What ends a command: a sentence for a person and an exit code for a script.

use std::process::ExitCode;

/// A sentence with the cause and the remedy, and whether the command line itself was wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub sentence: String,
    pub is_usage: bool,
}

impl Failure {
    /// Exit code 1: the command was understood and can't be done.
    pub fn new(sentence: impl ToString) -> Self {
        Self { sentence: sentence.to_string(), is_usage: false }
    }

    /// Exit code 2: the command line is wrong.
    pub fn usage(sentence: impl ToString) -> Self {
        Self { sentence: sentence.to_string(), is_usage: true }
    }

    /// Prints the sentence, each of its lines after the program's name.
    pub fn report(&self) -> ExitCode {
        for line in self.sentence.lines() {
            eprintln!("logrun: {line}");
        }
        ExitCode::from(if self.is_usage { 2 } else { 1 })
    }
}
