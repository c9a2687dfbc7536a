//! The `read` function of a struct.

use std::fmt::Write;

use super::{When, when};
use crate::names::field_name;
use crate::schema::{Field, FieldType, MessageSpec, StructSpec, Versions};

pub fn read(out: &mut String, message: &MessageSpec, one: &StructSpec) {
    out.push_str("    fn read(d: &mut Decoder, v: i16, flex: bool) -> Result<Self, DecodeError> {\n");
    out.push_str("        let mut this = Self::default();\n");
    let known = message.versions;
    for field in &one.fields {
        if let Some(versions) = untagged(field, known) {
            let statement = format!("this.{} = {};", field_name(&field.name), value(field, known, versions, "d"));
            match when(versions, known) {
                When::Always => writeln!(out, "        {statement}"),
                When::Never => Ok(()),
                When::If(condition) => writeln!(out, "        if {condition} {{ {statement} }}"),
            }
            .expect("writing to a string");
        }
    }
    if message.ever_flexible() {
        tags(out, message, one);
    }
    out.push_str("        Ok(this)\n    }\n");
}

/// The versions in which the field is written in line, if there are any.
pub fn untagged(field: &Field, known: Versions) -> Option<Versions> {
    let versions = field.versions.intersect(known);
    let tagged = field.tagged_versions().intersect(versions);
    let rest = match tagged.is_empty() {
        true => versions,
        // Tagged versions are open-ended, so what is left lies below them.
        false => versions.intersect(Versions { min: 0, max: tagged.min - 1 }),
    };
    (!rest.is_empty()).then_some(rest)
}

fn tags(out: &mut String, message: &MessageSpec, one: &StructSpec) {
    let known = message.versions.intersect(message.flexible);
    out.push_str("        if flex {\n");
    out.push_str("            for _ in 0..d.tag_count()? {\n");
    out.push_str("                let (tag, size) = d.tag()?;\n");
    out.push_str("                match tag {\n");
    for field in &one.fields {
        let Some((tag, versions)) = field.tag else { continue };
        let guard = match when(versions.intersect(field.versions), known) {
            When::Always => String::new(),
            When::Never => continue,
            When::If(condition) => format!(" if {condition}"),
        };
        let name = field_name(&field.name);
        writeln!(
            out,
            "                    {tag}{guard} => this.{name} = d.tagged(\"{name}\", size, |d| Ok({}))?,",
            value(field, known, versions, "d")
        )
        .expect("writing to a string");
    }
    out.push_str("                    _ => this.unknown_tagged_fields.push(d.raw_tag(tag, size)?),\n");
    out.push_str("                }\n            }\n        }\n");
}

/// An expression that reads the field at a version in `at`.
fn value(field: &Field, known: Versions, at: Versions, d: &str) -> String {
    let plain = call(field, d, "");
    if !field.is_option() {
        return plain;
    }
    let null = call(field, d, null_suffix(field, at));
    match when(field.nullable, known.intersect(at)) {
        When::Always => null,
        When::Never => format!("Some({plain})"),
        When::If(condition) => format!("if {condition} {{ {null} }} else {{ Some({plain}) }}"),
    }
}

/// What the runtime's function for a value that may be null is called, behind the type.
pub fn null_suffix(field: &Field, at: Versions) -> &'static str {
    let tagged = !field.tagged_versions().intersect(at).is_empty();
    // Kafka marks the presence of a tagged struct in another way than that of any other.
    if tagged && matches!(field.field_type, FieldType::Struct(_)) { "_opt_tagged" } else { "_opt" }
}

fn call(field: &Field, d: &str, opt: &str) -> String {
    let name = field_name(&field.name);
    let flex = if field.flexible.is_some_and(Versions::is_empty) { "false" } else { "flex" };
    match &field.field_type {
        FieldType::String => format!("{d}.string{opt}(\"{name}\", {flex})?"),
        FieldType::Bytes => format!("{d}.bytes{opt}(\"{name}\", {flex})?"),
        FieldType::Records => format!("{d}.records{opt}(\"{name}\", {flex})?"),
        FieldType::Array(_) => format!("{d}.array{opt}(\"{name}\", v, flex)?"),
        FieldType::Struct(_) => format!("{d}.structure{opt}(\"{name}\", v, flex)?"),
        FieldType::Uuid => format!("{d}.uuid(\"{name}\")?"),
        number => format!("{d}.{}(\"{name}\")?", super::rust_type(number)),
    }
}
