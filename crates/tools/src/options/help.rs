//! What `--help` prints: the tool in a sentence, lines to copy, and each option.

use std::fmt::Write as _;

use super::{Syntax, Takes};

/// Where the explanations begin.
const COLUMN: usize = 34;
const WIDTH: usize = 100;

impl Syntax {
    /// The page.
    pub fn help(&self) -> String {
        let mut text =
            format!("{}.\n\nUsage: {} [OPTIONS] {}\n", self.about.trim_end_matches('.'), self.tool, self.words);
        while text.ends_with(" \n") {
            text.replace_range(text.len() - 2.., "\n");
        }
        if !self.examples.is_empty() {
            text.push_str("\nExamples:\n");
            for example in self.examples {
                // Writing to a String can't fail.
                let _ = writeln!(text, "  {} {example}", self.tool);
            }
        }
        text.push_str("\nOptions:\n");
        let mut options: Vec<_> = self.options.iter().filter(|o| o.instead.is_none()).collect();
        options.sort_by_key(|o| o.name);
        for option in options {
            let mut head = match option.short {
                Some(letter) => format!("  -{letter}, --{}", option.name),
                None => format!("  --{}", option.name),
            };
            match option.takes {
                Takes::Nothing => {}
                Takes::Value(called) => head = format!("{head} {called}"),
                Takes::Maybe(called) => head = format!("{head} [{called}]"),
            }
            paragraph(&mut text, &head, option.help);
        }
        text
    }
}

fn paragraph(text: &mut String, head: &str, body: &str) {
    let mut line = head.to_owned();
    if line.chars().count() + 2 > COLUMN {
        text.push_str(&line);
        text.push('\n');
        line.clear();
    }
    let pad = |line: &mut String| line.extend(std::iter::repeat_n(' ', COLUMN.saturating_sub(line.chars().count())));
    pad(&mut line);
    let mut empty = true;
    for word in body.split_whitespace() {
        if !empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line.clear();
            pad(&mut line);
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    text.push_str(line.trim_end());
    text.push('\n');
}
