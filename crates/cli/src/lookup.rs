//! `logrun config`: what an option means, which there are, whether a configuration is sound.

use std::fmt::Write as _;

use logrun_config::suggest::{Scope, hint};
use logrun_config::tables::{Options, broker_options, client_metrics_options, group_options, topic_options};
use logrun_config::{Effect, page};

use crate::args::{ConfigCommand, SourceArgs};
use crate::source::{absolute, gather, process_environment};
use logrun_ctl::Failure;

/// What the command prints.
///
/// # Errors
/// If the name is unknown or the configuration is unsound.
pub fn run(command: &ConfigCommand) -> Result<String, Failure> {
    match command {
        ConfigCommand::Describe { key } => describe(key),
        ConfigCommand::List { word } => Ok(list(word.as_deref().unwrap_or(""))),
        ConfigCommand::Check(source) => check(source),
    }
}

fn kinds() -> [(&'static str, &'static Options); 4] {
    [
        ("broker", broker_options()),
        ("topic", topic_options()),
        ("group", group_options()),
        ("client-metrics", client_metrics_options()),
    ]
}

fn describe(name: &str) -> Result<String, Failure> {
    let mut text = String::new();
    for (kind, options) in kinds() {
        if let Some(key) = options.get(name) {
            let _ = writeln!(text, "{kind} option {}", page::about(key, kind == "broker"));
        }
    }
    if text.is_empty() {
        let hint = hint(name, Scope::Broker).map_or_else(String::new, |hint| format!(": {hint}"));
        return Err(Failure::new(format!("{name} is no option that Logrun knows{hint}")));
    }
    Ok(text)
}

fn list(word: &str) -> String {
    let mut text = String::new();
    for (kind, options) in kinds() {
        for key in options.iter().filter(|key| !key.internal && key.name.contains(word)) {
            let default = key.default.text().unwrap_or("-");
            let effect = if key.effect == Effect::Active { "" } else { "  (no effect)" };
            let _ = writeln!(text, "{kind:<15}{} = {default}{effect}", key.name);
        }
    }
    text
}

fn check(source: &SourceArgs) -> Result<String, Failure> {
    let loaded = gather(source, &process_environment())?.finish().map_err(Failure::new)?;
    let mut text = String::new();
    for notice in &loaded.notices {
        let _ = writeln!(text, "{}: {notice}", if notice.is_warning() { "warning" } else { "note" });
    }
    let config = &loaded.config;
    for listener in config.listeners.broker.iter().chain(&config.listeners.controller) {
        let _ = writeln!(text, "listens on {}://{}:{}", listener.name, listener.host, listener.port);
    }
    for dir in &config.log_dirs {
        let _ = writeln!(text, "keeps data in {}", absolute(dir).display());
    }
    text.push_str("the configuration is sound\n");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookups() {
        let text = describe("min.insync.replicas").expect("known");
        assert!(text.starts_with("broker option min.insync.replicas\n") && text.contains("\ntopic option "), "{text}");
        let e = describe("retention.msx").expect_err("unknown").sentence;
        assert!(e.contains("did you mean"), "{e}");
        assert!(list("retention").lines().any(|line| line == "topic          retention.ms = 604800000"));
        assert!(list("no such option").is_empty());
    }
}
