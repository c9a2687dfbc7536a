//! Writes Rust from the schema. One module per message; the code calls the runtime in `logrun-wire`
//! (`Decoder`, `Encoder`, `Codec`), so that it stays small and compiles quickly.

mod descriptions;
mod read;
mod records;
mod structs;
mod tables;
mod write;

pub use descriptions::descriptions;
pub use records::{coordinator, metadata};
pub use tables::{api_keys, error_codes};

use std::fmt::Write;

use crate::names::snake_case;
use crate::schema::{FieldType, MessageSpec, Versions};

/// Attributes of a generated module: its style is the generator's.
const ALLOW: &str =
    "#[allow(clippy::all, unused_variables, unused_mut, unused_imports, unused_comparisons, unused_parens)]\n";

/// Modules for `messages`, each re-exported flat, and `INFOS`, the table of all. `root` is the path of the
/// wire crate. Messages without any valid version (removed APIs) are left out.
pub fn messages(messages: &[MessageSpec], root: &str) -> String {
    let mut out = String::new();
    let live: Vec<&MessageSpec> = messages.iter().filter(|m| !m.versions.is_empty()).collect();
    for message in &live {
        let module = snake_case(&message.name);
        writeln!(out, "/// [`{0}`]({module}::{0}) and its structs.", message.name).expect("writing to a string");
        out.push_str(ALLOW);
        writeln!(out, "pub mod {module} {{\nuse {root}::prelude::*;").expect("writing to a string");
        let structs = message.structs();
        structs::message(&mut out, message, root);
        for one in &structs {
            structs::structure(&mut out, message, one);
        }
        out.push_str("}\n");
        writeln!(out, "pub use {module}::{};\n", message.name).expect("writing to a string");
    }
    writeln!(out, "/// Every message type here, for tests and tools that go over all of them.").expect("string");
    writeln!(out, "pub static INFOS: &[{root}::MessageInfo] = &[").expect("writing to a string");
    for message in &live {
        writeln!(out, "    {root}::MessageInfo::of::<{}>(),", message.name).expect("writing to a string");
    }
    out.push_str("];\n");
    out
}

/// The Rust type of a field's value, without the `Option`.
fn rust_type(field_type: &FieldType) -> String {
    match field_type {
        FieldType::Bool => "bool".into(),
        FieldType::Int8 => "i8".into(),
        FieldType::Int16 => "i16".into(),
        FieldType::Int32 => "i32".into(),
        FieldType::Int64 => "i64".into(),
        FieldType::Uint16 => "u16".into(),
        FieldType::Uint32 => "u32".into(),
        FieldType::Float64 => "f64".into(),
        FieldType::Uuid => "Uuid".into(),
        FieldType::String => "Str".into(),
        FieldType::Bytes => "Bytes".into(),
        FieldType::Records => "Records".into(),
        FieldType::Array(element) => format!("Vec<{}>", rust_type(element)),
        FieldType::Struct(name) => name.clone(),
    }
}

/// When a version that is in `known` lies in `range`.
#[derive(Clone, Debug, PartialEq)]
enum When {
    Always,
    Never,
    If(String),
}

fn when(range: Versions, known: Versions) -> When {
    let both = range.intersect(known);
    if both.is_empty() {
        When::Never
    } else if both == known {
        When::Always
    } else if both.max == known.max {
        When::If(format!("v >= {}", both.min))
    } else if both.min == known.min {
        When::If(format!("v <= {}", both.max))
    } else if both.min == both.max {
        When::If(format!("v == {}", both.min))
    } else {
        When::If(format!("(v >= {} && v <= {})", both.min, both.max))
    }
}
