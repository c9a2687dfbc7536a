//! Struct definitions, their defaults, and the `Codec`, `Message` and `Request` implementations around them.

use std::fmt::Write;

use super::{read, rust_type, write};
use crate::names::{field_name, snake_case};
use crate::schema::{Default, Field, FieldType, Kind, MessageSpec, StructSpec, Versions};

/// The message's own struct with its trait implementations.
pub fn message(out: &mut String, message: &MessageSpec, root: &str) {
    let own = StructSpec { name: message.name.clone(), versions: message.versions, fields: message.fields.clone() };
    structure(out, message, &own);
    let name = &message.name;
    let versions = message.versions;
    let flexible = message.flexible.intersect(versions);
    writeln!(
        out,
        "impl Message for {name} {{
    const NAME: &'static str = \"{name}\";
    const VALID_VERSIONS: VersionRange = VersionRange::new({}, {});
    const FLEXIBLE_VERSIONS: VersionRange = VersionRange::new({}, {});
}}",
        versions.min, versions.max, flexible.min, flexible.max
    )
    .expect("writing to a string");
    let Some(api) = name.strip_suffix("Request").or_else(|| name.strip_suffix("Response")) else { return };
    match message.kind {
        Kind::Request => writeln!(
            out,
            "impl Request for {name} {{
    const API_KEY: {root}::ApiKey = {root}::ApiKey::{api};
    type Response = super::{}_response::{api}Response;
}}",
            snake_case(api)
        ),
        Kind::Response => {
            writeln!(out, "impl Response for {name} {{ const API_KEY: {root}::ApiKey = {root}::ApiKey::{api}; }}")
        }
        _ => Ok(()),
    }
    .expect("writing to a string");
}

/// A struct of the message with its default and its codec.
pub fn structure(out: &mut String, message: &MessageSpec, one: &StructSpec) {
    let zero = one.fields.iter().all(|f| f.default_is_zero());
    let derive = if zero { ", Default" } else { "" };
    writeln!(out, "/// `{}`, versions {}.", one.name, one.versions).expect("writing to a string");
    writeln!(out, "#[derive(Clone, Debug, PartialEq{derive})]\npub struct {} {{", one.name)
        .expect("writing to a string");
    for field in &one.fields {
        writeln!(out, "    /// {}", describe(field)).expect("writing to a string");
        writeln!(out, "    pub {}: {},", field_name(&field.name), option_type(field)).expect("writing to a string");
    }
    if message.ever_flexible() {
        out.push_str("    /// Tagged fields that the schema does not know.\n");
        out.push_str("    pub unknown_tagged_fields: Vec<RawTaggedField>,\n");
    }
    out.push_str("}\n");
    if !zero {
        writeln!(out, "impl Default for {} {{\n    fn default() -> Self {{\n        Self {{", one.name)
            .expect("writing to a string");
        for field in &one.fields {
            writeln!(out, "            {}: {},", field_name(&field.name), field.default_expression())
                .expect("writing to a string");
        }
        if message.ever_flexible() {
            out.push_str("            unknown_tagged_fields: Vec::new(),\n");
        }
        out.push_str("        }\n    }\n}\n");
    }
    writeln!(out, "impl Codec for {} {{", one.name).expect("writing to a string");
    writeln!(out, "    const MIN_SIZE: usize = {};", min_size(message, one)).expect("writing to a string");
    read::read(out, message, one);
    write::write(out, message, one);
    out.push_str("}\n");
}

/// The declaration of a field in words, for its comment.
fn describe(field: &Field) -> String {
    let mut text = format!("`{}`: {}, versions {}", field.name, field.field_type, field.versions);
    if !field.nullable.is_empty() {
        write!(text, ", null {}", field.nullable).expect("writing to a string");
    }
    if let Some((tag, versions)) = field.tag {
        write!(text, ", tag {tag} in {versions}").expect("writing to a string");
    }
    if field.ignorable {
        text.push_str(", ignorable");
    }
    if field.map_key {
        text.push_str(", key");
    }
    text.push('.');
    text.replace('[', "\\[").replace(']', "\\]")
}

fn option_type(field: &Field) -> String {
    let inner = rust_type(&field.field_type);
    if field.is_option() { format!("Option<{inner}>") } else { inner }
}

impl Field {
    /// Does Rust's own default equal Kafka's?
    fn default_is_zero(&self) -> bool {
        match self.default {
            Default::Zero => !self.is_option() || self.field_type == FieldType::Records,
            Default::Null => true,
            _ => false,
        }
    }

    fn default_expression(&self) -> String {
        let inner = match &self.default {
            Default::Null => return "None".into(),
            Default::Zero if self.field_type == FieldType::Records => return "None".into(),
            Default::Zero => match &self.field_type {
                FieldType::Bool => "false".into(),
                FieldType::Float64 => "0.0".into(),
                FieldType::Uuid => "Uuid::ZERO".into(),
                FieldType::String => "Str::EMPTY".into(),
                FieldType::Bytes => "Bytes::new()".into(),
                FieldType::Array(_) => "Vec::new()".into(),
                FieldType::Struct(name) => format!("{name}::default()"),
                _ => "0".to_owned(),
            },
            Default::Bool(b) => b.to_string(),
            Default::Int(n) => n.to_string(),
            Default::String(s) => format!("Str::from_static({s:?})"),
        };
        if self.is_option() { format!("Some({inner})") } else { inner }
    }

    /// An expression that is true if the field of `self` has not its default value.
    pub(super) fn is_set_expression(&self) -> String {
        let name = field_name(&self.name);
        let literal = match &self.default {
            Default::Null => return format!("self.{name}.is_some()"),
            Default::Bool(true) => return format!("!self.{name}"),
            Default::Bool(false) => return format!("self.{name}"),
            Default::Int(n) => return format!("self.{name} != {n}"),
            Default::String(s) => format!("{s:?}"),
            Default::Zero => match &self.field_type {
                FieldType::Bool => return format!("self.{name}"),
                FieldType::Float64 => return format!("self.{name} != 0.0"),
                FieldType::Uuid => return format!("!self.{name}.is_zero()"),
                FieldType::Records => return format!("self.{name}.is_some()"),
                FieldType::Struct(_) if self.is_option() => {
                    return format!("self.{name} != Some(Default::default())");
                }
                FieldType::Struct(_) => return format!("self.{name} != Default::default()"),
                FieldType::String | FieldType::Bytes | FieldType::Array(_) => {
                    return match self.is_option() {
                        true => format!("self.{name}.as_ref().is_none_or(|x| !x.is_empty())"),
                        false => format!("!self.{name}.is_empty()"),
                    };
                }
                _ => return format!("self.{name} != 0"),
            },
        };
        match self.is_option() {
            true => format!("self.{name}.as_ref().is_none_or(|x| *x != {literal})"),
            false => format!("self.{name} != {literal}"),
        }
    }
}

/// The fewest bytes that a value of the struct takes at any version in which it is there, at least one.
pub fn min_size(message: &MessageSpec, one: &StructSpec) -> usize {
    let versions = message.versions.intersect(one.versions);
    versions.iter().map(|v| struct_min(message, &one.fields, v)).min().unwrap_or(1).max(1)
}

fn struct_min(message: &MessageSpec, fields: &[Field], version: i16) -> usize {
    let flex = message.flexible.contains(version);
    let fields: usize = fields
        .iter()
        .filter(|f| f.versions.contains(version) && f.tagged_at(version).is_none())
        .map(|f| match &f.field_type {
            FieldType::Bool | FieldType::Int8 => 1,
            FieldType::Int16 | FieldType::Uint16 => 2,
            FieldType::Int32 | FieldType::Uint32 => 4,
            FieldType::Int64 | FieldType::Float64 => 8,
            FieldType::Uuid => 16,
            FieldType::String if f.flexible.unwrap_or(Versions::ALL).is_empty() || !flex => 2,
            FieldType::Bytes | FieldType::Records | FieldType::Array(_) if !flex => 4,
            FieldType::String | FieldType::Bytes | FieldType::Records | FieldType::Array(_) => 1,
            FieldType::Struct(_) if f.nullable.contains(version) => 1,
            FieldType::Struct(name) => {
                message.find_struct(name).map_or(1, |inner| struct_min(message, &inner.fields, version))
            }
        })
        .sum();
    fields + usize::from(flex)
}
