//! The enums of API keys and error codes.

use std::fmt::Write;

use crate::names::camel_case;
use crate::schema::{ErrorSpec, Kind, MessageSpec, Versions};

/// A function of `ApiKey`: its comment, its signature, and the value for an API of this name.
type Function<'a> = (&'a str, &'a str, &'a dyn Fn(&str, &MessageSpec) -> String);

/// A predicate of `ErrorCode`: its comment, its name, and for which errors it holds.
type Flag<'a> = (&'a str, &'a str, fn(&ErrorSpec) -> bool);

/// `ApiKey`, from the requests that have a valid version.
pub fn api_keys(messages: &[MessageSpec]) -> String {
    let mut requests: Vec<(i16, &str, &MessageSpec)> = messages
        .iter()
        .filter(|m| m.kind == Kind::Request && !m.versions.is_empty())
        .filter_map(|m| Some((m.api_key?, m.name.strip_suffix("Request")?, m)))
        .collect();
    requests.sort_by_key(|(key, _, _)| *key);
    let mut out = String::from(
        "/// An API of the protocol, in the order of the keys.\n\
         #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]\n\
         #[repr(i16)]\npub enum ApiKey {\n",
    );
    for (key, name, _) in &requests {
        writeln!(out, "    {name} = {key},").expect("writing to a string");
    }
    out.push_str("}\n\nimpl ApiKey {\n    /// All of them, by key.\n    pub const ALL: &'static [Self] = &[");
    for (_, name, _) in &requests {
        write!(out, "Self::{name}, ").expect("writing to a string");
    }
    out.push_str("];\n\n");
    let range = |v: Versions| format!("VersionRange::new({}, {})", v.min, v.max);
    let functions: [Function<'_>; 6] = [
        ("Kafka's name: `Produce`.", "const fn name(self) -> &'static str", &|name, _| format!("{name:?}")),
        ("The versions that the schema describes.", "const fn valid_versions(self) -> VersionRange", &|_, m| {
            range(m.versions)
        }),
        (
            "Those without the one that is still being worked on.",
            "const fn stable_versions(self) -> VersionRange",
            &|_, m| range(m.stable()),
        ),
        ("Versions that clients should leave.", "const fn deprecated_versions(self) -> VersionRange", &|_, m| {
            range(m.deprecated)
        }),
        ("The listeners that serve the API.", "const fn listeners(self) -> &'static [Listener]", &|_, m| {
            let listeners = m.listeners.iter().map(|l| format!("Listener::{}", camel_case(l)));
            format!("&[{}]", listeners.collect::<Vec<_>>().join(", "))
        }),
        (
            "The first version with compact lengths and tagged fields, beyond all versions if none has them.",
            "const fn first_flexible_version(self) -> i16",
            &|_, m| if m.flexible.is_empty() { "i16::MAX".to_owned() } else { m.flexible.min.to_string() },
        ),
    ];
    for (doc, signature, value) in functions {
        writeln!(
            out,
            "    /// {doc}\n    #[allow(clippy::match_same_arms)]\n    pub {signature} {{\n        match self {{"
        )
        .expect("writing to a string");
        for (_, name, message) in &requests {
            writeln!(out, "            Self::{name} => {},", value(name, message)).expect("writing to a string");
        }
        out.push_str("        }\n    }\n\n");
    }
    out.push_str("}\n");
    out
}

/// `ErrorCode`, in the order of the codes.
pub fn error_codes(errors: &[ErrorSpec]) -> String {
    let mut errors: Vec<&ErrorSpec> = errors.iter().collect();
    errors.sort_by_key(|e| e.code);
    let mut out = String::from(
        "/// An error of the protocol, in the order of the codes.\n\
         #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]\n\
         #[repr(i16)]\npub enum ErrorCode {\n",
    );
    for e in &errors {
        let default = if e.code == 0 { "    #[default]\n" } else { "" };
        writeln!(out, "    /// `{}`\n{default}    {} = {},", e.name, camel_case(&e.name), e.code)
            .expect("writing to a string");
    }
    out.push_str("}\n\nimpl ErrorCode {\n    /// All of them, by code.\n    pub const ALL: &'static [Self] = &[");
    for e in &errors {
        write!(out, "Self::{}, ", camel_case(&e.name)).expect("writing to a string");
    }
    out.push_str("];\n\n    /// Kafka's name: `UNKNOWN_TOPIC_OR_PARTITION`.\n");
    out.push_str("    pub const fn name(self) -> &'static str {\n        match self {\n");
    for e in &errors {
        writeln!(out, "            Self::{} => {:?},", camel_case(&e.name), e.name).expect("writing to a string");
    }
    out.push_str("        }\n    }\n\n");
    let flags: [Flag<'_>; 2] = [
        ("May a client try again? Kafka's `RetriableException`.", "is_retriable", |e| e.retriable),
        ("Should a client fetch metadata anew? Kafka's `InvalidMetadataException`.", "is_invalid_metadata", |e| {
            e.invalid_metadata
        }),
    ];
    for (doc, name, flag) in flags {
        writeln!(out, "    /// {doc}\n    pub const fn {name}(self) -> bool {{\n        matches!(self, ")
            .expect("writing to a string");
        let set: Vec<String> =
            errors.iter().filter(|e| flag(e)).map(|e| format!("Self::{}", camel_case(&e.name))).collect();
        writeln!(out, "{})\n    }}\n", set.join(" | ")).expect("writing to a string");
    }
    out.push_str("}\n");
    out
}
