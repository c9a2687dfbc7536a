//! Descriptions of messages as static data, for those who show any message and know none: tools, never the broker.

use std::fmt::Write;

use crate::schema::{Default, Field, FieldType, Kind, MessageSpec, Versions};

/// The static `name` with the descriptions of `messages`; the types around it are the including module's
/// (`crates/inspect` `schema/describe.rs`).
pub fn descriptions(name: &str, messages: &[MessageSpec]) -> String {
    let mut out = format!("pub static {name}: &[Message] = &[\n");
    for message in messages.iter().filter(|m| !m.versions.is_empty()) {
        let kind = match message.kind {
            Kind::CoordinatorKey => "Key",
            Kind::CoordinatorValue => "Value",
            Kind::Metadata => "Metadata",
            _ => "Data",
        };
        writeln!(
            out,
            "    Message {{ name: {:?}, kind: Kind::{kind}, number: {}, versions: {}, flexible: {}, fields: {} }},",
            message.name,
            message.api_key.unwrap_or(-1),
            versions(message.versions),
            versions(message.flexible),
            fields(message, &message.fields),
        )
        .expect("writing to a string");
    }
    out.push_str("];\n");
    out
}

fn versions(v: Versions) -> String {
    format!("Versions({}, {})", v.min, v.max)
}

fn fields(message: &MessageSpec, fields: &[Field]) -> String {
    let all: Vec<String> = fields.iter().map(|f| field(message, f)).collect();
    format!("&[{}]", all.join(", "))
}

fn field(message: &MessageSpec, f: &Field) -> String {
    let tag = f.tag.map_or_else(|| "None".to_owned(), |(tag, v)| format!("Some(({tag}, {}))", versions(v)));
    let default = match &f.default {
        Default::Zero => "Default::Zero".to_owned(),
        Default::Null => "Default::Null".to_owned(),
        Default::Bool(b) => format!("Default::Bool({b})"),
        Default::Int(n) => format!("Default::Int({n})"),
        Default::String(s) => format!("Default::Text({s:?})"),
    };
    // As Kafka spells it in JSON.
    let mut letters = f.name.chars();
    let name: String = letters.next().map(|c| c.to_ascii_lowercase()).into_iter().chain(letters).collect();
    format!(
        "Field {{ name: {name:?}, of: {}, versions: {}, nullable: {}, tag: {tag}, default: {default} }}",
        field_type(message, f, &f.field_type),
        versions(f.versions),
        versions(f.nullable),
    )
}

fn field_type(message: &MessageSpec, f: &Field, t: &FieldType) -> String {
    match t {
        FieldType::Array(element) => format!("Type::Array(&{})", field_type(message, f, element)),
        FieldType::Struct(name) => {
            let inner = if f.fields.is_empty() {
                message.find_struct(name).map(|s| s.fields).unwrap_or_default()
            } else {
                f.fields.clone()
            };
            format!("Type::Struct({})", fields(message, &inner))
        }
        plain => format!("Type::{plain:?}"),
    }
}
