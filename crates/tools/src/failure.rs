//! How a tool ends when it can't do what it was asked: a message, where it goes, and the exit code.
//!
//! Apache Kafka's tools end with 1 for everything; so do these. What scripts read in a message stays as it is there.

use std::fmt;
use std::io;
use std::process::ExitCode;

/// Who is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The command line, or a file.
    Usage,
    /// The cluster can't be reached.
    Unreachable,
    /// The cluster, or the tool itself, refuses.
    Refused,
}

/// A tool that ends early.
#[derive(Debug)]
pub struct Failure {
    message: String,
    kind: Kind,
    stdout: bool,
    code: u8,
}

impl Failure {
    /// A message to standard error, and exit code 1.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), kind: Kind::Refused, stdout: false, code: 1 }
    }

    /// A command line that can't be obeyed.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { kind: Kind::Usage, ..Self::new(message) }
    }

    /// A cluster that can't be reached.
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self { kind: Kind::Unreachable, ..Self::new(message) }
    }

    /// Whether what was asked was refused: not a wrong command line, a cluster out of reach or closed output.
    pub fn is_refusal(&self) -> bool {
        self.kind == Kind::Refused && !self.message.is_empty()
    }

    /// A message to standard output: some of Kafka's tools report there.
    pub fn printed(message: impl Into<String>) -> Self {
        Self { stdout: true, ..Self::new(message) }
    }

    /// Ends with `code` instead of 1.
    pub fn code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// The same with something before the message, said where `stdout` says.
    pub fn prefixed(mut self, prefix: &str, stdout: bool) -> Self {
        self.message = format!("{prefix}{}", self.message);
        self.stdout = stdout;
        self
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    /// Says it and gives the exit code.
    pub fn report(self) -> ExitCode {
        use io::Write as _;
        // Whoever closed our output needs no message.
        let _ = match (self.message.is_empty(), self.stdout) {
            (true, _) => Ok(()),
            (_, true) => writeln!(io::stdout(), "{}", self.message),
            (_, false) => writeln!(io::stderr(), "{}", self.message),
        };
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<io::Error> for Failure {
    /// What printing gives. A reader that went away (`| head`) has what it wanted: that is success.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::new("").code(0),
            _ => Self::new(error.to_string()),
        }
    }
}
