//! What ends a command: a sentence for a person and an exit code for a script.

use std::io;
use std::process::ExitCode;

/// A sentence with the cause and the remedy, and whether the command line itself was wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub sentence: String,
    pub is_usage: bool,
    /// Whoever read our output has gone (`| head`): nothing is wrong and nothing is to be said.
    output_closed: bool,
}

impl Failure {
    /// Exit code 1: the command was understood and can't be done.
    pub fn new(sentence: impl ToString) -> Self {
        Self { sentence: sentence.to_string(), is_usage: false, output_closed: false }
    }

    /// Exit code 2: the command line is wrong.
    pub fn usage(sentence: impl ToString) -> Self {
        Self { is_usage: true, ..Self::new(sentence) }
    }

    /// The same with another sentence.
    #[must_use]
    pub fn saying(self, sentence: impl ToString) -> Self {
        Self { sentence: sentence.to_string(), ..self }
    }

    /// Prints the sentence, each of its lines after the program's name.
    pub fn report(&self) -> ExitCode {
        if self.output_closed {
            return ExitCode::SUCCESS;
        }
        for line in self.sentence.lines() {
            eprintln!("logrun: {line}");
        }
        ExitCode::from(if self.is_usage { 2 } else { 1 })
    }
}

impl From<io::Error> for Failure {
    /// What printing gives.
    fn from(e: io::Error) -> Self {
        let output_closed = e.kind() == io::ErrorKind::BrokenPipe;
        Self { output_closed, ..Self::new(format!("can't print: {e}")) }
    }
}
