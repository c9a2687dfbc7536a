//! The programs that this one also is: which of them was called, by the name of the program (a link) or by the first
//! word after it, with or without `.sh`.
//!
//! Looking a name up is all that happens before a tool runs: no runtime, no parser of `logrun`'s own words.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use logrun_config::suggest;
use logrun_tools::Tool;

use crate::kafka;
use logrun_ctl::Failure;

/// Every tool, by name.
pub fn tools() -> Vec<&'static Tool> {
    let mut all: Vec<_> = kafka::TOOLS.iter().chain(logrun_tools::TOOLS).collect();
    all.sort_unstable_by_key(|tool| tool.name);
    all
}

/// The tool that `words`, a whole command line, call, and what is said to it. `None` if they call `logrun` itself.
///
/// # Errors
/// They call a tool of Kafka's that there is not.
pub fn called(words: &[OsString]) -> Result<Option<(&'static Tool, &[OsString])>, Failure> {
    let program = words.first().and_then(|word| Path::new(word).file_name());
    if let Some(tool) = program.and_then(find) {
        return Ok(Some((tool, &words[1..])));
    }
    let Some(word) = words.get(1) else { return Ok(None) };
    match find(word) {
        Some(tool) => Ok(Some((tool, &words[2..]))),
        None => unknown(word).map_or(Ok(None), Err),
    }
}

/// The tool of this name, with or without `.sh`.
pub fn find(name: &OsStr) -> Option<&'static Tool> {
    let name = name.to_str()?;
    let name = name.strip_suffix(".sh").unwrap_or(name);
    kafka::TOOLS.iter().chain(logrun_tools::TOOLS).find(|tool| tool.name == name)
}

/// A word that can only be meant as the name of a tool.
fn unknown(word: &OsStr) -> Option<Failure> {
    let name = word.to_str().filter(|word| word.starts_with("kafka-"))?;
    let tools = tools();
    let hint = suggest::nearest(name, tools.iter().map(|tool| tool.name))
        .map_or_else(|| "see logrun install-tools --list".to_owned(), |near| format!("did you mean `{near}`?"));
    Some(Failure::usage(format!("there is no tool {name}: {hint}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    fn name_and_rest(text: &str) -> Option<(&'static str, usize)> {
        called(&words(text)).expect("no unknown tool").map(|(tool, rest)| (tool.name, rest.len()))
    }

    #[test]
    fn by_link_and_by_word() {
        for text in ["/usr/bin/kafka-server-stop a b", "kafka-server-stop.sh a b", "logrun kafka-server-stop a b"] {
            assert_eq!(name_and_rest(text), Some(("kafka-server-stop", 2)), "{text}");
        }
        assert_eq!(name_and_rest("x/logrun kafka-server-stop.sh"), Some(("kafka-server-stop", 0)));
        for text in ["logrun", "logrun serve kafka-server-stop", "other-name --port 1", "logrun --help"] {
            assert_eq!(name_and_rest(text), None, "{text}");
        }
        let e = called(&words("logrun kafka-servr-stop")).map(|_| ()).expect_err("unknown");
        assert!(e.is_usage && e.sentence.contains("did you mean `kafka-server-stop`"), "{}", e.sentence);
    }

    #[test]
    fn names_are_unique_and_sorted_for_lists() {
        let tools = tools();
        assert!(tools.windows(2).all(|pair| pair[0].name < pair[1].name));
        assert!(tools.iter().all(|tool| !tool.about.is_empty() && !tool.about.ends_with('.')));
    }
}
