//! The `write` function of a struct; it counts as well as it writes.

use std::fmt::Write;

use super::read::{null_suffix, untagged};
use super::{When, when};
use crate::names::field_name;
use crate::schema::{Field, FieldType, MessageSpec, StructSpec, Versions};

pub fn write(out: &mut String, message: &MessageSpec, one: &StructSpec) {
    out.push_str("    fn write(&self, e: &mut Encoder, v: i16, flex: bool) -> Result<(), EncodeError> {\n");
    let known = message.versions;
    for field in &one.fields {
        if let Some(versions) = untagged(field, known) {
            let statement = value(field, known, versions);
            match when(versions, known) {
                When::Always => writeln!(out, "        {statement}"),
                When::Never => Ok(()),
                When::If(condition) => writeln!(out, "        if {condition} {{ {statement} }}"),
            }
            .expect("writing to a string");
        }
        refuse_loss(out, field, known);
    }
    if message.ever_flexible() {
        tags(out, message, one);
    }
    out.push_str("        Ok(())\n    }\n");
}

/// A value that is not the default can't be left out, unless the field says that it may.
fn refuse_loss(out: &mut String, field: &Field, known: Versions) {
    if field.ignorable {
        return;
    }
    let name = field_name(&field.name);
    let set = field.is_set_expression();
    match when(field.versions, known) {
        When::Always => Ok(()),
        When::Never => writeln!(out, "        if {set} {{ return Err(EncodeError::unsupported_field(\"{name}\")); }}"),
        When::If(condition) => writeln!(
            out,
            "        if !({condition}) && {set} {{ return Err(EncodeError::unsupported_field(\"{name}\")); }}"
        ),
    }
    .expect("writing to a string");
}

fn tags(out: &mut String, message: &MessageSpec, one: &StructSpec) {
    let known = message.versions.intersect(message.flexible);
    out.push_str("        if flex {\n");
    let mut tagged: Vec<(u32, &Field, Versions)> = one
        .fields
        .iter()
        .filter_map(|f| f.tag.map(|(tag, versions)| (tag, f, versions.intersect(f.versions))))
        .filter(|(_, _, versions)| when(*versions, known) != When::Never)
        .collect();
    tagged.sort_by_key(|(tag, _, _)| *tag);
    let mut count = "self.unknown_tagged_fields.len() as u32".to_owned();
    for (tag, field, versions) in &tagged {
        let set = match when(*versions, known) {
            When::If(condition) => format!("{condition} && {}", field.is_set_expression()),
            _ => field.is_set_expression(),
        };
        writeln!(out, "            let tag{tag} = {set};").expect("writing to a string");
        write!(count, " + u32::from(tag{tag})").expect("writing to a string");
    }
    writeln!(out, "            e.uvarint({count});").expect("writing to a string");
    out.push_str("            let mut raw = RawTags::new(&self.unknown_tagged_fields);\n");
    for (tag, field, versions) in &tagged {
        // Unknown fields are ordered even around known ones that are not written, as Kafka does it.
        let raw = match when(*versions, known) {
            When::If(condition) => format!("if {condition} {{ raw.before(e, {tag})?; }}"),
            _ => format!("raw.before(e, {tag})?;"),
        };
        writeln!(
            out,
            "            {raw}\n            if tag{tag} {{ e.tagged({tag}, |e| {{ {} Ok(()) }})?; }}",
            value(field, known, *versions)
        )
        .expect("writing to a string");
    }
    out.push_str("            raw.rest(e)?;\n");
    out.push_str("        } else {\n            e.no_tags(&self.unknown_tagged_fields)?;\n        }\n");
}

/// A statement that writes the field at a version in `at`.
fn value(field: &Field, known: Versions, at: Versions) -> String {
    let name = field_name(&field.name);
    if !field.is_option() {
        let this = format!("self.{name}");
        return call(field, &this, "", false);
    }
    let null = call(field, &format!("self.{name}"), null_suffix(field, at), false);
    let plain = call(field, &format!("not_null(\"{name}\", &self.{name})?"), "", true);
    match when(field.nullable, known.intersect(at)) {
        When::Always => null,
        When::Never => plain,
        When::If(condition) => format!("if {condition} {{ {null} }} else {{ {plain} }}"),
    }
}

fn call(field: &Field, this: &str, opt: &str, is_reference: bool) -> String {
    let name = field_name(&field.name);
    let flex = if field.flexible.is_some_and(Versions::is_empty) { "false" } else { "flex" };
    let by_reference = if is_reference { this.to_owned() } else { format!("&{this}") };
    match &field.field_type {
        FieldType::String => format!("e.string{opt}(\"{name}\", {by_reference}, {flex})?;"),
        FieldType::Bytes => format!("e.bytes{opt}(\"{name}\", {by_reference}, {flex})?;"),
        FieldType::Records => format!("e.records{opt}(\"{name}\", {by_reference}, {flex})?;"),
        FieldType::Array(_) => format!("e.array{opt}(\"{name}\", {by_reference}, v, flex)?;"),
        FieldType::Struct(_) => format!("e.structure{opt}(\"{name}\", {by_reference}, v, flex)?;"),
        FieldType::Uuid => format!("e.uuid({this});"),
        number => format!("e.{}({this});", super::rust_type(number)),
    }
}
