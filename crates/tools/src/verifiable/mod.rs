//! The tools that tests of others read: what they do is told line by line, in JSON (Kafka's `VerifiableProducer` and
//! `VerifiableConsumer`).

pub mod consumer;
pub mod producer;

use std::ffi::OsString;
use std::fmt::{self, Display};
use std::process::ExitCode;

use serde_json::Value;

use crate::Out;
use crate::failure::Failure;
use crate::options::{Given, Syntax};

/// A line about what happened: its time, its name, and what belongs to it in this order, which is Kafka's.
pub struct Event(String);

impl Event {
    /// Something that happened now, by the wall clock in milliseconds.
    pub fn at(now: i64, name: &str) -> Self {
        Self(format!("{{\"timestamp\":{now},\"name\":\"{name}\""))
    }

    /// Adds a field that is JSON as it stands: a number, a boolean, a list.
    pub fn with(mut self, name: &str, value: impl Display) -> Self {
        self.0.push_str(&format!(",\"{name}\":{value}"));
        self
    }

    /// Adds a text, or `null`.
    pub fn text(self, name: &str, text: Option<&str>) -> Self {
        self.with(name, Value::from(text))
    }

    /// Prints it at once: whoever reads waits for it.
    pub fn tell(self) {
        println!("{self}");
    }
}

impl Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}}}", self.0)
    }
}

/// The frame of these tools: without arguments they show their help and are content, as Kafka's are.
fn run(syntax: &'static Syntax, args: &[OsString], body: impl FnOnce(&Given<'_>) -> Result<(), Failure>) -> ExitCode {
    if args.is_empty() {
        print!("{}", syntax.help());
        return ExitCode::SUCCESS;
    }
    crate::tool(syntax, args, |given, out: &mut Out| {
        use std::io::Write as _;
        // What was announced stands before the events, which are printed past this buffer.
        out.flush()?;
        body(given)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_kafkas_lines() {
        let event =
            Event::at(5, "producer_send_success").text("key", None).text("value", Some("a\"b")).with("offset", 7);
        let line = r#"{"timestamp":5,"name":"producer_send_success","key":null,"value":"a\"b","offset":7}"#;
        assert_eq!(event.to_string(), line);
        assert_eq!(Event::at(0, "startup_complete").to_string(), r#"{"timestamp":0,"name":"startup_complete"}"#);
    }
}
