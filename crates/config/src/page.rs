//! The reference page of all options, in Markdown, and the text about a single one.
//!
//! Written from the tables by `cargo xtask docs`; a test in this crate checks that the page in `docs/` is current.

use std::fmt::Write as _;

use crate::environment::variable_of;
use crate::key::{ConfigKey, DefaultValue, Effect, Type, Valid};
use crate::tables::{BROKER, CLIENT, CLIENT_METRICS, GROUP, Section, TOPIC};

/// The whole page.
pub fn markdown() -> String {
    let mut page = String::from(
        "# Configuration\n\n\
         <!-- Written by `cargo xtask docs` from the tables in crates/config/src/tables; change those. -->\n\n\
         Logrun takes every option of Apache Kafka 4.3 under its own name. Weakest first, an option's value comes from\n\
         Kafka's default, the file that `--config` names (`server.properties` as Kafka reads it), the environment\n\
         (`log.retention.ms` is `KAFKA_LOG_RETENTION_MS`; `_` is `__`, `-` is `___`), and `--set key=value`.\n\
         Options of one listener are written `listener.name.NAME.option`.\n\n\
         An option that Logrun takes and doesn't act on says so here, and at the start if it is set.\n\n\
         Without any configuration Logrun is one node, broker and controller, on port 9092 of every interface, with its\n\
         data in `./logrun-data`, internal topics with one replica, and no delay before a new group's first assignment.\n\n",
    );
    let parts = [
        ("Broker", BROKER),
        ("Topic", TOPIC),
        ("Group", GROUP),
        ("Client metrics", CLIENT_METRICS),
        ("Client", CLIENT),
    ];
    for (part, sections) in parts {
        let _ = writeln!(page, "## {part} options\n");
        for section in sections {
            one_section(&mut page, section, part == "Broker");
        }
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

fn one_section(page: &mut String, section: &Section, broker: bool) {
    let mut keys: Vec<&ConfigKey> = section.options.iter().filter(|key| !key.internal).collect();
    keys.sort_unstable_by_key(|key| key.name);
    if keys.is_empty() {
        return;
    }
    let _ = writeln!(page, "### {}\n", section.title);
    for key in keys {
        let _ = writeln!(page, "- **`{}`**: {}  ", key.name, facts(key, broker));
        let _ = writeln!(page, "  {}{}", key.text, effect(key));
    }
    page.push('\n');
}

/// Type, default, range, and how it changes or what it falls back on.
fn facts(key: &ConfigKey, broker: bool) -> String {
    let mut facts = vec![key.kind.name().to_owned()];
    facts.push(match key.default {
        DefaultValue::Required => "to be set".to_owned(),
        DefaultValue::Null => "no default".to_owned(),
        DefaultValue::Text("") => "default empty".to_owned(),
        DefaultValue::Text(text) => format!("default `{text}`"),
    });
    facts.extend(range(key));
    if broker {
        facts.push(key.importance.name().to_owned());
        facts.push(key.update.name().to_owned());
    } else if !key.synonyms.is_empty() {
        let names: Vec<String> = key.synonyms.iter().map(|synonym| format!("`{}`", synonym.name)).collect();
        facts.push(format!("from {}", names.join(", ")));
    }
    facts.join(" · ")
}

fn range(key: &ConfigKey) -> Option<String> {
    let list = |texts: &[&str]| texts.iter().map(|text| format!("`{text}`")).collect::<Vec<_>>().join(", ");
    Some(match key.valid {
        Valid::Any
        | Valid::Items
        | Valid::SomeItems
        | Valid::NotEmpty
        | Valid::OffsetReset
        | Valid::OffsetResetOrNone
        | Valid::ThrottledReplicas => {
            return None;
        }
        Valid::AtLeast(low) => format!("from {low}"),
        Valid::Between(low, high) => format!("{low} to {high}"),
        Valid::BetweenOrMinusOne(low, high) => format!("{low} to {high} or -1"),
        Valid::Fraction(low, high) if high == f64::MAX => format!("from {low}"),
        Valid::Fraction(low, high) => format!("{low} to {high}"),
        Valid::OneOf(texts) | Valid::OneOfIgnoringCase(texts) => list(texts),
        Valid::ItemsOf(texts) | Valid::SomeItemsOf(texts) => format!("out of {}", list(texts)),
    })
}

fn effect(key: &ConfigKey) -> String {
    match key.effect {
        Effect::Active => String::new(),
        Effect::Accepted(why) => format!(" *No effect: {}.*", why.text()),
    }
}

/// Everything about one option, for a terminal.
pub fn about(key: &ConfigKey, broker: bool) -> String {
    let plain = |text: String| text.replace(['`', '*'], "");
    let mut text = format!("{}\n  {}\n  {}", key.name, plain(facts(key, broker)), plain(key.text.to_owned()));
    if let Effect::Accepted(why) = key.effect {
        let _ = write!(text, "\n  No effect: {}.", why.text());
    }
    if broker && key.kind != Type::Password {
        let _ = write!(text, "\n  Environment: {}", variable_of(key));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::broker_options;

    #[test]
    fn the_page_in_docs_is_current() {
        let page = include_str!("../../../docs/configs.md");
        assert!(page == markdown(), "docs/configs.md is not what the tables say: run `cargo xtask docs`");
    }

    #[test]
    fn one_option() {
        let key = broker_options().get("log.retention.ms").expect("declared");
        assert_eq!(
            about(key, true),
            "log.retention.ms\n  long · no default · high · cluster-wide\n  \
             How long records are kept; -1 for ever. Whole segments are deleted, by their newest record.\n  \
             Environment: KAFKA_LOG_RETENTION_MS"
        );
    }
}
