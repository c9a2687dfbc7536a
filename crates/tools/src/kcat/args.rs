//! kcat's command line, read as `getopt` reads it: single letters that may be bundled, a value in the same word or
//! the next, names of topics or files in between.

use super::format::{Format, delimiter};
use super::offsets::Start;
use super::pack::Pack;

/// What kcat is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Consume,
    Produce,
    List,
    Query,
    Group,
}

/// Everything that the command line says.
#[derive(Clone, Debug)]
pub struct Args {
    /// None if neither an option nor what follows tells.
    pub mode: Option<Mode>,
    pub brokers: Option<String>,
    /// `-t`, several only to query.
    pub topics: Vec<String>,
    pub group: Option<String>,
    pub partition: Option<i32>,
    pub delimiter: Vec<u8>,
    pub key_delimiter: Option<Vec<u8>>,
    pub count: Option<u64>,
    pub metadata_timeout_s: u64,
    pub config_file: Option<String>,
    pub properties: Vec<String>,
    pub quiet: bool,
    pub verbosity: u32,
    pub keep_going: bool,
    pub compression: Option<String>,
    pub fixed_key: Option<String>,
    pub headers: Vec<(String, Option<String>)>,
    pub line_mode: bool,
    pub tee: bool,
    pub nulls: bool,
    pub start: Start,
    /// `e@`: not at or after this time, in milliseconds.
    pub stop_at_ms: Option<i64>,
    pub exit_at_end: bool,
    pub format: Option<Format>,
    pub json: bool,
    pub key_pack: Option<Pack>,
    pub value_pack: Option<Pack>,
    pub print_offset: bool,
    pub unbuffered: bool,
    /// Topics of a group, or files to produce.
    pub rest: Vec<String>,
}

/// What else may be asked for.
#[derive(Clone, Debug)]
pub enum Asked {
    Run(Box<Args>),
    Help,
    Version,
    /// `-X list`.
    Properties,
}

/// Letters that take a value.
const WITH_VALUE: &str = "GtpbDKcmFXdzkHosf";

impl Default for Args {
    fn default() -> Self {
        Self {
            mode: None,
            brokers: None,
            topics: Vec::new(),
            group: None,
            partition: None,
            delimiter: b"\n".to_vec(),
            key_delimiter: None,
            count: None,
            metadata_timeout_s: 5,
            config_file: None,
            properties: Vec::new(),
            quiet: false,
            verbosity: 1,
            keep_going: false,
            compression: None,
            fixed_key: None,
            headers: Vec::new(),
            line_mode: false,
            tee: false,
            nulls: false,
            start: Start::Default,
            stop_at_ms: None,
            exit_at_end: false,
            format: None,
            json: false,
            key_pack: None,
            value_pack: None,
            print_offset: false,
            unbuffered: false,
            rest: Vec::new(),
        }
    }
}

/// Reads the command line.
///
/// # Errors
/// A sentence for the terminal.
pub fn parse(words: &[String]) -> Result<Asked, String> {
    let mut args = Args::default();
    let mut words = words.iter();
    let mut options_end = false;
    while let Some(word) = words.next() {
        let Some(letters) = word.strip_prefix('-').filter(|l| !l.is_empty() && !options_end) else {
            args.rest.push(word.clone());
            continue;
        };
        if letters == "-" {
            options_end = true;
            continue;
        }
        if let Some(long) = letters.strip_prefix('-') {
            match long {
                "help" => return Ok(Asked::Help),
                "version" => return Ok(Asked::Version),
                _ => return Err(format!("{word} is not an option: kcat's are single letters; `kcat -h` lists them")),
            }
        }
        for (at, letter) in letters.char_indices() {
            if !WITH_VALUE.contains(letter) {
                if let Some(asked) = args.flag(letter)? {
                    return Ok(asked);
                }
                continue;
            }
            let inside = &word[1 + at + letter.len_utf8()..];
            let value = if inside.is_empty() {
                words.next().ok_or_else(|| format!("option -{letter} needs a value; `kcat -h` says which"))?.clone()
            } else {
                inside.to_owned()
            };
            if let Some(asked) = args.option(letter, value)? {
                return Ok(asked);
            }
            break;
        }
    }
    Ok(Asked::Run(Box::new(args)))
}

impl Args {
    fn flag(&mut self, letter: char) -> Result<Option<Asked>, String> {
        match letter {
            'C' => self.mode = Some(Mode::Consume),
            'P' => self.mode = Some(Mode::Produce),
            'L' => self.mode = Some(Mode::List),
            'Q' => self.mode = Some(Mode::Query),
            'q' => self.quiet = true,
            'v' => self.verbosity += 1,
            'E' => self.keep_going = true,
            'l' => self.line_mode = true,
            'T' => self.tee = true,
            'Z' => self.nulls = true,
            'e' => self.exit_at_end = true,
            'J' => self.json = true,
            'O' => self.print_offset = true,
            'u' => self.unbuffered = true,
            'h' => return Ok(Some(Asked::Help)),
            'V' => return Ok(Some(Asked::Version)),
            'r' | 'M' | 'i' | 'S' | 'U' | 'a' => {
                return Err(format!("option -{letter} is not supported; `kcat -h` lists what is"));
            }
            _ => return Err(format!("unknown option -{letter}; `kcat -h` lists them")),
        }
        Ok(None)
    }

    fn option(&mut self, letter: char, value: String) -> Result<Option<Asked>, String> {
        let number = |what: &str| value.parse::<i64>().map_err(|_| format!("-{letter} {value}: {what}"));
        match letter {
            'G' => {
                self.mode = Some(Mode::Group);
                self.group = Some(value);
            }
            't' => self.topics.push(value),
            'p' => {
                let n = number("a partition is a number, or -1 for any")?;
                let n = i32::try_from(n).ok().filter(|n| *n >= -1);
                let n = n.ok_or_else(|| format!("-p {value}: there is no such partition"))?;
                self.partition = (n >= 0).then_some(n);
            }
            'b' => self.brokers = Some(value),
            'D' => self.delimiter = delimiter(&value)?,
            'K' => self.key_delimiter = Some(delimiter(&value)?),
            'c' => {
                let n = number("a count of messages is a number")?;
                self.count = u64::try_from(n).ok().filter(|n| *n > 0);
            }
            'm' => {
                let n = number("a time-out is a number of seconds")?;
                self.metadata_timeout_s =
                    u64::try_from(n).map_err(|_| format!("-m {value}: a time-out is not negative"))?;
            }
            'F' => self.config_file = Some(value),
            'X' if value == "list" => return Ok(Some(Asked::Properties)),
            'X' => self.properties.push(value),
            // librdkafka's own traces: there is nothing to trace here, and scripts should go on.
            'd' => {}
            'z' => self.compression = Some(value),
            'k' => self.fixed_key = Some(value),
            'H' => self.headers.push(match value.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (value, None),
            }),
            'o' => match value.strip_prefix("e@") {
                Some(ms) => {
                    let ms = ms.parse().map_err(|_| format!("-o {value}: e@ takes milliseconds since 1970"))?;
                    self.stop_at_ms = Some(ms);
                }
                None => self.start = Start::parse(&value)?,
            },
            'f' => self.format = Some(Format::parse(&value)?),
            's' => match value.split_once('=') {
                Some(("key", pack)) => self.key_pack = Some(Pack::parse(pack)?),
                Some(("value", pack)) => self.value_pack = Some(Pack::parse(pack)?),
                Some((other, _)) => return Err(format!("-s {value}: it is key=… or value=…, not {other}")),
                None => {
                    let pack = Pack::parse(&value)?;
                    self.key_pack = Some(pack.clone());
                    self.value_pack = Some(pack);
                }
            },
            _ => return Err(format!("unknown option -{letter}; `kcat -h` lists them")),
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Args {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        match parse(&words).expect("a command line") {
            Asked::Run(args) => *args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn letters_are_bundled_and_values_attached() {
        let a = args("-Ceq -b localhost:9092 -tnumbers -o -1000 -c5 -p 0");
        assert_eq!(a.mode, Some(Mode::Consume));
        assert!(a.exit_at_end && a.quiet);
        assert_eq!((a.topics, a.count, a.partition), (vec!["numbers".to_owned()], Some(5), Some(0)));
        assert_eq!(a.start, Start::BeforeEnd(1000));
    }

    #[test]
    fn a_group_takes_topics_and_a_producer_files() {
        let a = args("-b localhost:9092 -G skupina_konzumentů topic1 téma2");
        assert_eq!((a.mode, a.group.as_deref()), (Some(Mode::Group), Some("skupina_konzumentů")));
        assert_eq!(a.rest, ["topic1", "téma2"]);
        let a = args("-P -t filedrop -p 0 file1.bin -H a=b -H c= -H d -- -x");
        assert_eq!(a.rest, ["file1.bin", "-x"]);
        let header = |n: &str, v: Option<&str>| (n.to_owned(), v.map(str::to_owned));
        assert_eq!(a.headers, [header("a", Some("b")), header("c", Some("")), header("d", None)]);
    }

    #[test]
    fn both_ends_of_a_time_range_are_kept() {
        let a = args("-C -t x -o s@100 -o e@200");
        assert_eq!((a.start, a.stop_at_ms), (Start::AtTime(100), Some(200)));
    }

    #[test]
    fn mistakes_are_named() {
        for (line, says) in [
            ("-y", "unknown option -y"),
            ("-C -t", "-t needs a value"),
            ("-p x", "-p x"),
            ("-o later", "-o later"),
            ("--topic x", "single letters"),
            ("-f %q", "%q"),
            ("-s other=i", "key=… or value=…"),
        ] {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let error = parse(&words).expect_err(line);
            assert!(error.contains(says), "{line}: {error}");
        }
    }
}
