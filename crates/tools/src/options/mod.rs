//! The command lines of Kafka's tools: the rules of the option parser that they use (joptsimple), and its messages.
//!
//! One or two dashes, `--opt value` and `--opt=value`, any beginning of a name that fits only one, options that come
//! again, `--` for the end. A tool declares its options as a table ([`Syntax`]) and reads what was [`Given`]. What
//! isn't an option ends the tool with Kafka's exit code and with more help than Kafka gives.
//! It never reads a file and never prints.

mod check;
mod help;
mod suggest;

use crate::failure::Failure;

/// Whether an option takes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    Nothing,
    /// A value, called so in the help.
    Value(&'static str),
    /// A value that may be left out.
    Maybe(&'static str),
}

/// One option.
#[derive(Clone, Copy, Debug)]
pub struct Opt {
    pub name: &'static str,
    /// One letter, for the few tools that have such.
    pub short: Option<&'static str>,
    pub takes: Takes,
    pub help: &'static str,
    /// The value holds several, parted by this.
    pub separator: Option<char>,
    /// What to use instead; the option works all the same, and stays out of the help.
    pub instead: Option<&'static str>,
}

impl Opt {
    /// An option that is there or not.
    pub const fn flag(name: &'static str, help: &'static str) -> Self {
        Self { name, short: None, takes: Takes::Nothing, help, separator: None, instead: None }
    }

    /// An option with a value.
    pub const fn value(name: &'static str, called: &'static str, help: &'static str) -> Self {
        Self { name, short: None, takes: Takes::Value(called), help, separator: None, instead: None }
    }

    /// An option whose value may be left out.
    pub const fn maybe(name: &'static str, called: &'static str, help: &'static str) -> Self {
        Self { name, short: None, takes: Takes::Maybe(called), help, separator: None, instead: None }
    }

    pub const fn short(mut self, letter: &'static str) -> Self {
        self.short = Some(letter);
        self
    }

    pub const fn separated(mut self, by: char) -> Self {
        self.separator = Some(by);
        self
    }

    /// An old name for what `new` does now.
    pub const fn instead(mut self, new: &'static str) -> Self {
        self.instead = Some(new);
        self
    }
}

/// What each of these tools takes.
pub const HELP: Opt = Opt::flag("help", "Print this and end.");
pub const VERSION: Opt = Opt::flag("version", "Print the version and end.");
pub const BOOTSTRAP_SERVER: Opt =
    Opt::value("bootstrap-server", "HOST:PORT,…", "The brokers to begin with (required).");
pub const COMMAND_CONFIG: Opt =
    Opt::value("command-config", "FILE", "A properties file with the client's configuration.");

/// The command line of one tool.
#[derive(Clone, Copy, Debug)]
pub struct Syntax {
    pub tool: &'static str,
    /// What it does, in a sentence.
    pub about: &'static str,
    /// Words that aren't options, e.g. `COMMAND`; empty if it takes none.
    pub words: &'static str,
    pub options: &'static [Opt],
    /// Lines to copy, without the tool's name.
    pub examples: &'static [&'static str],
}

/// What a command line gave.
#[derive(Clone, Debug)]
pub struct Given<'s> {
    pub syntax: &'s Syntax,
    /// Index into the syntax's options, and the value if there was one; in the order of the command line.
    options: Vec<(usize, Option<String>)>,
    /// What was no option.
    pub words: Vec<String>,
}

impl Syntax {
    /// Reads `args`, which follow the tool's name. `--help` and `--version` are answered by [`Given::is_asked`].
    ///
    /// # Errors
    /// An unknown or ambiguous option, or a value that is missing.
    pub fn parse(&self, args: &[String]) -> Result<Given<'_>, Failure> {
        let mut given = Given { syntax: self, options: Vec::new(), words: Vec::new() };
        let mut at = 0;
        while let Some(arg) = args.get(at) {
            at += 1;
            if arg == "--" {
                given.words.extend_from_slice(args.get(at..).unwrap_or_default());
                break;
            }
            let Some(body) = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')).filter(|b| !b.is_empty()) else {
                given.words.push(arg.clone());
                continue;
            };
            let (name, inline) = match body.split_once('=') {
                Some((name, value)) => (name, Some(value).filter(|v| !v.is_empty())),
                None => (body, None),
            };
            let index = match self.find(name) {
                Ok(index) => index,
                // `-n5`: a letter with its value.
                Err(failure) => match self.letter(arg) {
                    Some((index, value)) => {
                        given.options.push((index, Some(value.to_owned())));
                        continue;
                    }
                    None => return Err(failure),
                },
            };
            let Some(option) = self.options.get(index) else { continue };
            let value = match (option.takes, inline) {
                (Takes::Nothing, None) => None,
                (Takes::Nothing, Some(_)) => {
                    return Err(self.wrong(format!("Option {} does not allow an argument", option.name)));
                }
                (_, Some(value)) => Some(value.to_owned()),
                (Takes::Value(_), None) => {
                    let Some(value) = args.get(at) else {
                        return Err(self.wrong(format!("Option {} requires an argument", option.name)));
                    };
                    at += 1;
                    Some(value.clone())
                }
                // The next word is its value unless it looks like an option.
                (Takes::Maybe(_), None) => match args.get(at) {
                    Some(next) if !(next.starts_with('-') && next.len() > 1) => {
                        at += 1;
                        Some(next.clone())
                    }
                    _ => None,
                },
            };
            match (option.separator, value) {
                (Some(separator), Some(value)) => {
                    given.options.extend(value.split(separator).map(|part| (index, Some(part.to_owned()))));
                }
                (_, value) => given.options.push((index, value)),
            }
        }
        Ok(given)
    }

    /// The option that is called so. Beginnings of names are not taken, as Kafka's tools don't take them.
    fn find(&self, name: &str) -> Result<usize, Failure> {
        let found = self.options.iter().position(|o| o.name == name || o.short == Some(name));
        found.ok_or_else(|| self.wrong(format!("{name} is not a recognized option{}", self.did_you_mean(name))))
    }

    fn letter<'a>(&self, arg: &'a str) -> Option<(usize, &'a str)> {
        let body = arg.strip_prefix('-').filter(|b| !b.starts_with('-'))?;
        let split = body.chars().next()?.len_utf8();
        let (letter, value) = body.split_at_checked(split)?;
        let index = self.options.iter().position(|o| o.short == Some(letter) && o.takes != Takes::Nothing)?;
        (!value.is_empty()).then_some((index, value))
    }

    /// A command line that can't be obeyed: the message, and where to read more.
    pub fn wrong(&self, message: impl Into<String>) -> Failure {
        Failure::usage(format!("{}\n`{} --help` shows its options.", message.into(), self.tool))
    }

    fn index(&self, name: &str) -> usize {
        // A tool that asks for an option that it doesn't declare is a fault of ours; `every_option_is_declared` finds it.
        self.options.iter().position(|o| o.name == name).unwrap_or_else(|| panic!("{}: --{name}", self.tool))
    }
}

impl Given<'_> {
    /// The text to print, if help or the version was asked for.
    pub fn is_asked(&self) -> Option<String> {
        let declared = |name: &str| self.syntax.options.iter().any(|o| o.name == name);
        if declared("help") && self.has("help") {
            return Some(self.syntax.help());
        }
        (declared("version") && self.has("version")).then(crate::version)
    }

    /// Whether the option is there.
    pub fn has(&self, name: &str) -> bool {
        let index = self.syntax.index(name);
        self.options.iter().any(|(i, _)| *i == index)
    }

    /// The value of an option that may come once.
    ///
    /// # Errors
    /// It came more than once.
    pub fn value(&self, name: &str) -> Result<Option<&str>, Failure> {
        let values = self.values(name);
        match values.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            _ => Err(self
                .syntax
                .wrong(format!("Found multiple arguments for option {name}, but you asked for only one"))),
        }
    }

    /// All values of an option, in order.
    pub fn values(&self, name: &str) -> Vec<&str> {
        let index = self.syntax.index(name);
        self.options.iter().filter(|(i, _)| *i == index).filter_map(|(_, v)| v.as_deref()).collect()
    }

    /// The value as a number or another thing that has a form.
    ///
    /// # Errors
    /// It came more than once or has not that form.
    pub fn parsed<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Failure> {
        let Some(text) = self.value(name)? else { return Ok(None) };
        text.parse()
            .map(Some)
            .map_err(|_| self.syntax.wrong(format!("Cannot parse argument '{text}' of option {name}")))
    }

    /// The names of the given options with their values, in the order of the command line.
    pub fn in_order(&self) -> impl Iterator<Item = (&'static str, Option<&str>)> {
        self.options.iter().filter_map(|(i, v)| Some((self.syntax.options.get(*i)?.name, v.as_deref())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYNTAX: Syntax = Syntax {
        tool: "kafka-test",
        about: "Tests.",
        words: "",
        options: &[
            HELP,
            VERSION,
            BOOTSTRAP_SERVER,
            Opt::flag("list", "List."),
            Opt::flag("describe", "Describe."),
            Opt::value("topic", "TOPIC", "The topic."),
            Opt::value("topic-id", "ID", "Its id."),
            Opt::maybe("state", "STATES", "With the state."),
            Opt::value("delete-config", "K,K", "Remove.").separated(','),
            Opt::value("shift-by", "N", "Shift."),
            Opt::value("number", "N", "A number.").short("n"),
        ],
        examples: &[],
    };

    fn parse(line: &str) -> Result<Given<'static>, String> {
        static S: Syntax = SYNTAX;
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        S.parse(&args).map_err(|f| f.message().lines().next().unwrap_or_default().to_owned())
    }

    #[test]
    fn one_dash_two_dashes_and_equals_signs() {
        for line in ["-bootstrap-server h:1 -list", "--bootstrap-server=h:1 --list"] {
            let given = parse(line).expect(line);
            assert_eq!(given.value("bootstrap-server").expect(line), Some("h:1"), "{line}");
            assert!(given.has("list"), "{line}");
        }
        assert_eq!(parse("--topic x").expect("not --topic-id").values("topic"), ["x"]);
        assert_eq!(parse("--shift-by -5").expect("a dash is a value").parsed::<i64>("shift-by").expect("n"), Some(-5));
        assert_eq!(parse("-n5 -n 6").expect("letters").values("number"), ["5", "6"]);
    }

    #[test]
    fn values_that_may_be_left_out_or_come_again() {
        let given = parse("--list --state").expect("state");
        assert!(given.has("state") && given.values("state").is_empty());
        assert_eq!(parse("--state stable,empty --list").expect("state").values("state"), ["stable,empty"]);
        assert_eq!(
            parse("--delete-config a,b --delete-config c").expect("del").values("delete-config"),
            ["a", "b", "c"]
        );
        let twice = parse("--topic a --topic b").expect("twice");
        assert_eq!(twice.values("topic"), ["a", "b"]);
        assert!(twice.value("topic").is_err());
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(
            parse("--descbire").expect_err("unknown"),
            "descbire is not a recognized option; did you mean --describe?"
        );
        assert_eq!(parse("--xyzzy").expect_err("unknown"), "xyzzy is not a recognized option");
        assert_eq!(
            parse("--de").expect_err("a beginning"),
            "de is not a recognized option; did you mean --delete-config or --describe?"
        );
        assert_eq!(parse("--topic").expect_err("value"), "Option topic requires an argument");
    }
}
