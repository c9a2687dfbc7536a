//! Writes the notation that [`crate::parse`] reads: one line per message, struct and field.

use std::fmt::Write;

use crate::schema::{Default, ErrorSpec, Field, Kind, MessageSpec};

/// The notation of `messages`, with `head` as comment lines before them.
pub fn print_messages(head: &str, messages: &[MessageSpec]) -> String {
    let mut out = String::new();
    comment(&mut out, head);
    for message in messages {
        out.push('\n');
        print_message(&mut out, message);
    }
    out
}

/// The notation of the error codes.
pub fn print_errors(head: &str, errors: &[ErrorSpec]) -> String {
    let mut out = String::new();
    comment(&mut out, head);
    out.push('\n');
    for error in errors {
        write!(out, "{} {}", error.code, error.name).expect("writing to a string");
        out.push_str(if error.retriable { " retriable" } else { "" });
        out.push_str(if error.invalid_metadata { " invalid-metadata\n" } else { "\n" });
    }
    out
}

fn comment(out: &mut String, head: &str) {
    for line in head.lines() {
        out.push_str("# ");
        out.push_str(line);
        out.push('\n');
    }
}

fn print_message(out: &mut String, message: &MessageSpec) {
    write!(out, "{} {}", message.kind.word(), message.name).expect("writing to a string");
    if let Some(key) = message.api_key {
        let word = if matches!(message.kind, Kind::Request | Kind::Response) { "key" } else { "type" };
        write!(out, " {word} {key}").expect("writing to a string");
    }
    write!(out, " versions {}", message.versions).expect("writing to a string");
    if !message.versions.is_empty() {
        write!(out, " flexible {}", message.flexible).expect("writing to a string");
    }
    if !message.deprecated.is_empty() {
        write!(out, " deprecated {}", message.deprecated).expect("writing to a string");
    }
    if message.latest_unstable {
        out.push_str(" latest-unstable");
    }
    if !message.listeners.is_empty() {
        write!(out, " on {}", message.listeners.join(",")).expect("writing to a string");
    }
    out.push('\n');
    print_fields(out, &message.fields, 1);
    for common in &message.common {
        writeln!(out, "  struct {} {}", common.name, common.versions).expect("writing to a string");
        print_fields(out, &common.fields, 2);
    }
}

fn print_fields(out: &mut String, fields: &[Field], depth: usize) {
    for field in fields {
        write!(out, "{}{} {} {}", "  ".repeat(depth), field.name, field.field_type, field.versions)
            .expect("writing to a string");
        if !field.nullable.is_empty() {
            write!(out, " null {}", field.nullable).expect("writing to a string");
        }
        if let Some((tag, versions)) = field.tag {
            write!(out, " tag {tag} {versions}").expect("writing to a string");
        }
        if let Some(flexible) = field.flexible {
            write!(out, " flexible {flexible}").expect("writing to a string");
        }
        if field.map_key {
            out.push_str(" key");
        }
        if field.ignorable {
            out.push_str(" ignorable");
        }
        if let Some(entity) = &field.entity {
            write!(out, " entity {entity}").expect("writing to a string");
        }
        match &field.default {
            Default::Zero => {}
            Default::Null => out.push_str(" = null"),
            Default::Bool(b) => write!(out, " = {b}").expect("writing to a string"),
            Default::Int(n) => write!(out, " = {n}").expect("writing to a string"),
            Default::String(s) => write!(out, " = {s:?}").expect("writing to a string"),
        }
        out.push('\n');
        print_fields(out, &field.fields, depth + 1);
    }
}
