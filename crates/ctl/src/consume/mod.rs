//! `logrun consume`: reads and finds records, across partitions in the order of time.

mod condition;
mod merge;
mod read;
mod template;
mod view;

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use logrun_client::consumer::OwnedRecord;
use regex::bytes::Regex;

use self::condition::Condition;
use self::template::Template;
pub use self::template::unescaped;
use self::view::{View, text};
use crate::Failure;
use crate::args::{Common, Connection, OutputArgs};
use crate::output::progress::{Progress, Unit};
use crate::output::{ColorChoice, Format, Screen, Tone, visible};
use crate::session::block_on;
use crate::time::stamp;

const EXAMPLES: &str = "\
Examples:
  logrun consume orders                              all up to now, by time
  logrun consume orders -f                           what comes, until Ctrl-C
  logrun consume orders --tail 10 -f                 and 10 before it
  logrun consume orders --since 2h --where '.amount > 9 && .user.name == \"Ann\"'
  logrun consume orders --key 42                     the history of a key
  logrun consume orders --header trace-id=abc --grep 'timeout|refused' -n 5
  logrun consume orders --offset -100 --partition 3  the last 100 of a partition
  logrun consume orders -o value | sort              the values alone
  logrun consume orders --format '{time} {key}: {.amount}'
  logrun consume orders -o json | jq -r .value
  logrun consume orders -g billing                   as a member of a group

Conditions: .field, .a.b[0], key, value, topic, partition, offset, timestamp, header.NAME; == != < <= > >= =~ !~
contains; and or not ( ). Times: 2h (ago), today, yesterday, 2026-11-21, 2026-11-21T08:15 (UTC, or +01:00).";

/// How records are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RecordFormat {
    /// A line for people: time, place, key, value
    Table,
    /// An object a line; `logrun produce --json` reads it
    Json,
    /// Tab-separated: topic, partition, offset, timestamp, key, value
    Tsv,
    /// The values alone
    Value,
}

/// What to read.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ConsumeArgs {
    /// Topics
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// Only these partitions: 0 or 0,3
    #[arg(long, short, value_name = "N,…", value_delimiter = ',')]
    partition: Vec<i32>,
    /// Go on with what comes; alone: only that
    #[arg(long, short)]
    follow: bool,
    /// End after so many records
    #[arg(long, short = 'n', value_name = "N")]
    count: Option<u64>,
    /// Begin with the last so many records of all partitions together
    #[arg(long, value_name = "N", conflicts_with_all = ["since", "offset", "group"])]
    tail: Option<usize>,
    /// Begin at: earliest, latest, an offset, or -N for N before the end of each partition
    #[arg(long, value_name = "WHERE", allow_hyphen_values = true, conflicts_with_all = ["since", "group"])]
    offset: Option<String>,
    /// Only records of this time or later
    #[arg(long, value_name = "TIME", conflicts_with = "group")]
    since: Option<String>,
    /// Only records before this time; a partition ends at the first that is as late
    #[arg(long, value_name = "TIME", conflicts_with_all = ["follow", "group"])]
    until: Option<String>,
    /// Only records with this key
    #[arg(long, value_name = "TEXT", help_heading = "Finding")]
    key: Option<String>,
    /// Only records with this header, of this value if one is given; may come several times
    #[arg(long, value_name = "NAME[=VALUE]", help_heading = "Finding")]
    header: Vec<String>,
    /// Only records in whose key or value this regular expression is found
    #[arg(long, value_name = "REGEX", help_heading = "Finding")]
    grep: Option<String>,
    /// Only records for which this holds
    #[arg(long = "where", value_name = "CONDITION", help_heading = "Finding")]
    condition: Option<String>,
    /// Read as a member of this group: others of it get none of the same, and it goes on here next time
    #[arg(long, short, value_name = "GROUP")]
    group: Option<String>,
    /// How to print [default: table on a terminal, json otherwise]
    #[arg(long, short = 'o', value_name = "FORMAT", value_enum, help_heading = "Output")]
    output: Option<RecordFormat>,
    /// Print by a template: {time} {topic} {partition} {offset} {timestamp} {key} {value} {headers} {header.NAME} {.path}
    #[arg(long, value_name = "TEMPLATE", conflicts_with = "output", help_heading = "Output")]
    format: Option<String>,
    /// What stands behind each record with --format and -o value
    #[arg(long, value_name = "TEXT", default_value = "\\n", help_heading = "Output")]
    delimiter: String,
    /// With -o json: values that are JSON as JSON, not as text
    #[arg(long, help_heading = "Output")]
    parse: bool,
    /// When to use colours (NO_COLOR is heeded)
    #[arg(
        long,
        value_name = "WHEN",
        value_enum,
        default_value = "auto",
        hide_possible_values = true,
        help_heading = "Output"
    )]
    color: ColorChoice,
    #[command(flatten)]
    connection: Connection,
}

impl ConsumeArgs {
    fn common(&self) -> Common {
        let output = self.output.map(|o| match o {
            RecordFormat::Table => Format::Table,
            _ => Format::Json,
        });
        Common { connection: self.connection.clone(), output: OutputArgs { output, color: Some(self.color) } }
    }
}

/// Which records are wanted.
#[derive(Debug, Default)]
struct Finding {
    key: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    grep: Option<Regex>,
    condition: Option<Condition>,
    since: Option<i64>,
    until: Option<i64>,
}

impl Finding {
    fn of(args: &ConsumeArgs) -> Result<Self, Failure> {
        let grep = args.grep.as_deref().map(Regex::new).transpose().map_err(|e| {
            let e = e.to_string();
            Failure::usage(format!("--grep: {}", e.lines().last().unwrap_or_default().trim_start_matches("error: ")))
        })?;
        let condition = args.condition.as_deref().map(Condition::parse).transpose();
        let header = |text: &String| match text.split_once('=') {
            Some((name, value)) => (name.as_bytes().to_vec(), Some(value.as_bytes().to_vec())),
            None => (text.as_bytes().to_vec(), None),
        };
        Ok(Self {
            key: args.key.as_ref().map(|k| k.as_bytes().to_vec()),
            headers: args.header.iter().map(header).collect(),
            grep,
            condition: condition.map_err(|e| Failure::usage(format!("--where: {e}")))?,
            since: None,
            until: None,
        })
    }

    /// Whether it passes over records, other than by their time.
    fn is_choosy(&self) -> bool {
        self.key.is_some() || !self.headers.is_empty() || self.grep.is_some() || self.condition.is_some()
    }

    fn finds(&self, view: &View<'_>) -> bool {
        let r = view.record;
        let time = r.timestamp.get();
        self.since.is_none_or(|since| time >= since)
            && self.until.is_none_or(|until| time < until)
            && self.key.as_ref().is_none_or(|key| r.key.as_deref() == Some(key))
            && self.headers.iter().all(|(name, value)| {
                r.headers
                    .iter()
                    .any(|(n, v)| n.as_ref() == name && value.as_ref().is_none_or(|w| v.as_deref() == Some(w)))
            })
            && self
                .grep
                .as_ref()
                .is_none_or(|regex| [&r.key, &r.value].into_iter().flatten().any(|bytes| regex.is_match(bytes)))
            && self.condition.as_ref().is_none_or(|c| c.holds(view))
    }
}

/// Prints records.
struct Printer {
    screen: Screen,
    format: RecordFormat,
    template: Option<Template>,
    delimiter: Vec<u8>,
    parse: bool,
    many_topics: bool,
    line: Vec<u8>,
    /// How far the reading is, where that would not be seen from what is printed.
    progress: Progress,
}

impl Printer {
    fn of(args: &ConsumeArgs) -> Result<Self, Failure> {
        let screen = Screen::new(&args.common().output);
        let format = args.output.unwrap_or(match screen.format {
            Format::Table => RecordFormat::Table,
            _ => RecordFormat::Json,
        });
        let template = args.format.as_deref().map(Template::parse).transpose();
        Ok(Self {
            screen,
            format,
            template: template.map_err(|e| Failure::usage(format!("--format: {e}")))?,
            delimiter: unescaped(&args.delimiter),
            parse: args.parse,
            many_topics: args.topics.len() > 1,
            line: Vec::new(),
            progress: Progress::new(Unit::Records, 0, false),
        })
    }

    fn print(&mut self, view: &View<'_>) -> Result<(), Failure> {
        let r = view.record;
        self.progress.hide();
        self.line.clear();
        match (&self.template, self.format) {
            (Some(template), _) => {
                template.render(view, &mut self.line);
                self.line.extend_from_slice(&self.delimiter);
            }
            (_, RecordFormat::Value) => {
                self.line.extend_from_slice(r.value.as_deref().unwrap_or_default());
                self.line.extend_from_slice(&self.delimiter);
            }
            (_, RecordFormat::Json) => {
                self.line.extend_from_slice(view.object(self.parse).as_bytes());
                self.line.push(b'\n');
            }
            (_, RecordFormat::Tsv) => self.line = tsv(r).into_bytes(),
            (_, RecordFormat::Table) => self.line = self.row(r).into_bytes(),
        }
        self.screen.raw(&self.line)
    }

    /// A line for people.
    fn row(&self, r: &OwnedRecord) -> String {
        let paint = self.screen.paint;
        let tp = &r.topic_partition;
        let place = match self.many_topics {
            true => format!("{}/{}:{}", tp.topic, tp.partition, r.offset),
            false => format!("{}:{}", tp.partition, r.offset),
        };
        let time = stamp(r.timestamp.get());
        let mut line = format!("{}  {}", paint.tone(Tone::Dim, &time), paint.tone(Tone::Dim, &format!("{place:<10}")));
        let shown = |bytes: &[u8]| match str::from_utf8(bytes) {
            Ok(text) => visible(text),
            Err(_) => bytes.escape_ascii().to_string(),
        };
        if let Some(key) = &r.key {
            line.push_str("  ");
            line.push_str(&paint.tone(Tone::Name, &shown(key)));
        }
        line.push_str("  ");
        match &r.value {
            Some(value) => line.push_str(&shown(value)),
            None => line.push_str(&paint.tone(Tone::Warn, "(deleted)")),
        }
        for (name, value) in &r.headers {
            let value = value.as_deref().map(shown).unwrap_or_default();
            line.push_str(&paint.tone(Tone::Dim, &format!("  {}={value}", shown(name))));
        }
        line.push('\n');
        line
    }
}

fn tsv(r: &OwnedRecord) -> String {
    let cell = |bytes: &Option<bytes::Bytes>| {
        let text = bytes.as_deref().map(text).unwrap_or_default();
        crate::output::Cell::from(text.as_ref()).tsv()
    };
    let tp = &r.topic_partition;
    format!("{}\t{}\t{}\t{}\t{}\t{}\n", tp.topic, tp.partition, r.offset, r.timestamp, cell(&r.key), cell(&r.value))
}

/// Runs it.
///
/// # Errors
/// A sentence.
pub fn run(args: &ConsumeArgs) -> Result<ExitCode, Failure> {
    let mut finding = Finding::of(args)?;
    let mut printer = Printer::of(args)?;
    let result = block_on(async {
        match &args.group {
            Some(group) => read::as_member(args, group, &finding, &mut printer).await,
            None => read::alone(args, &mut finding, &mut printer).await,
        }
    });
    printer.progress.hide();
    // What was found before something went wrong is printed.
    let flushed = printer.screen.flush();
    result.and(flushed).map(|()| ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::view::tests::record;
    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        args: ConsumeArgs,
    }

    fn args(words: &[&str]) -> ConsumeArgs {
        Program::try_parse_from(["consume", "orders"].iter().chain(words)).expect("valid").args
    }

    #[test]
    fn finding() {
        let found = record(0, 1, 500, Some(b"42"), Some(b"{\"a\": \"timeout\"}"));
        let finds = |words: &[&str]| Finding::of(&args(words)).expect("valid").finds(&View::of(&found));
        assert!(finds(&[]) && finds(&["--key", "42"]) && finds(&["--header", "h"]) && finds(&["--header", "h=1"]));
        assert!(finds(&["--grep", "time.ut", "--where", ".a == 'timeout'"]));
        assert!(!finds(&["--key", "4"]) && !finds(&["--header", "x"]) && !finds(&["--header", "h=2"]));
        assert!(!finds(&["--grep", "refused"]) && !finds(&["--key", "42", "--where", "offset > 1"]));
        for wrong in [["--grep", "("], ["--where", "a"]] {
            assert!(Finding::of(&args(&wrong)).expect_err("wrong").is_usage);
        }
    }

    #[test]
    fn lines_for_people_and_tabs() {
        let printer = Printer::of(&args(&["-o", "table"])).expect("valid");
        let records = [
            record(0, 1, 1_709_209_815_250, Some(b"42"), Some("{\"name\": \"Åse\"}\n".as_bytes())),
            record(1, 12_345, 0, None, None),
            record(0, 2, 0, Some(&[0xff, 1]), Some(b"tab\t\x1b[31m")),
        ];
        let lines: String = records.iter().map(|r| printer.row(r)).chain(records.iter().map(tsv)).collect();
        insta::assert_snapshot!("record_lines", lines);
    }
}
