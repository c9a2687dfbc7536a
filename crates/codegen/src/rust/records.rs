//! The enums over log records: of the metadata log, and of each coordinator's log.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::messages;
use crate::schema::{Kind, MessageSpec};

/// The metadata records and `MetadataRecord`, the enum over them with its framing.
pub fn metadata(specs: &[MessageSpec], root: &str) -> String {
    let mut out = messages(specs, root);
    let mut records: Vec<(i16, &str)> = specs
        .iter()
        .filter(|m| m.kind == Kind::Metadata && !m.versions.is_empty())
        .filter_map(|m| Some((m.api_key?, m.name.as_str())))
        .collect();
    records.sort_by_key(|(key, _)| *key);
    out.push_str("/// Any record of the metadata log, in the order of the record types.\n");
    out.push_str(
        "#[allow(clippy::large_enum_variant)]\n#[derive(Clone, Debug, PartialEq)]\npub enum MetadataRecord {\n",
    );
    for (_, name) in &records {
        writeln!(out, "    {}({name}),", variant(name)).expect("writing to a string");
    }
    out.push_str("}\n\nimpl MetadataRecord {\n");
    function(&mut out, "The record type's number.", "record_type(&self) -> i16", &records, |key, name| {
        format!("Self::{}(_) => {key}", variant(name))
    });
    function(&mut out, "Kafka's name of the record type.", "name(&self) -> &'static str", &records, |_, name| {
        format!("Self::{}(_) => {name:?}", variant(name))
    });
    function(
        &mut out,
        "The versions of the record type that the schema describes.",
        &format!("versions(&self) -> {root}::VersionRange"),
        &records,
        |_, name| format!("Self::{}(_) => <{name} as {root}::Message>::VALID_VERSIONS", variant(name)),
    );
    writeln!(
        out,
        "    fn read_message(record_type: i16, version: i16, d: &mut {root}::Decoder) \
         -> Result<Option<Self>, {root}::DecodeError> {{\n        use {root}::Message as _;\n        \
         Ok(Some(match record_type {{"
    )
    .expect("writing to a string");
    for (key, name) in &records {
        writeln!(out, "            {key} => Self::{}({name}::decode(d, version)?),", variant(name))
            .expect("writing to a string");
    }
    out.push_str("            _ => return Ok(None),\n        }))\n    }\n\n");
    writeln!(
        out,
        "    fn write_message(&self, version: i16, e: &mut {root}::Encoder) -> Result<(), {root}::EncodeError> {{\n        \
         use {root}::Message as _;\n        match self {{"
    )
    .expect("writing to a string");
    for (_, name) in &records {
        writeln!(out, "            Self::{}(record) => record.encode(e, version),", variant(name))
            .expect("writing to a string");
    }
    out.push_str("        }\n    }\n}\n\n");
    for (_, name) in &records {
        writeln!(
            out,
            "impl From<{name}> for MetadataRecord {{ fn from(record: {name}) -> Self {{ Self::{}(record) }} }}",
            variant(name)
        )
        .expect("writing to a string");
    }
    out
}

fn function(out: &mut String, doc: &str, signature: &str, records: &[(i16, &str)], arm: impl Fn(i16, &str) -> String) {
    writeln!(out, "    /// {doc}\n    pub fn {signature} {{\n        match self {{").expect("writing to a string");
    for (key, name) in records {
        writeln!(out, "            {},", arm(*key, name)).expect("writing to a string");
    }
    out.push_str("        }\n    }\n\n");
}

fn variant(name: &str) -> &str {
    name.strip_suffix("Record").unwrap_or(name)
}

/// The keys and values of a coordinator's records and the enum `name` over them with its framing.
pub fn coordinator(specs: &[MessageSpec], root: &str, name: &str) -> String {
    let mut out = messages(specs, root);
    let mut pairs: BTreeMap<i16, (&str, &str)> = BTreeMap::new();
    for spec in specs {
        let Some(key) = spec.api_key else { continue };
        let pair = pairs.entry(key).or_default();
        match spec.kind {
            Kind::CoordinatorKey => pair.0 = &spec.name,
            Kind::CoordinatorValue => pair.1 = &spec.name,
            _ => {}
        }
    }
    // A key without a value or the reverse would be a fault of the schema: the generated code won't compile.
    let pairs: Vec<(i16, &str, &str, &str)> =
        pairs.into_iter().map(|(t, (k, v))| (t, k.strip_suffix("Key").unwrap_or(k), k, v)).collect();
    writeln!(
        out,
        "/// Any record of this coordinator's log, in the order of the record types. A value of `None` is a\n\
         /// tombstone.\n#[allow(clippy::large_enum_variant)]\n#[derive(Clone, Debug, PartialEq)]\npub enum {name} {{"
    )
    .expect("writing to a string");
    for (_, variant, key, value) in &pairs {
        writeln!(out, "    {variant} {{ key: {key}, value: Option<{value}> }},").expect("writing to a string");
    }
    out.push_str(
        "    /// A record of a type that the schema does not know: skipped, never dropped.\n    \
         Unknown { record_type: i16, key: bytes::Bytes, value: Option<bytes::Bytes> },\n}\n\n",
    );
    writeln!(
        out,
        "impl {name} {{
    /// The record type's number, which the key begins with.
    pub fn record_type(&self) -> i16 {{
        match self {{"
    )
    .expect("writing to a string");
    for (t, variant, _, _) in &pairs {
        writeln!(out, "            Self::{variant} {{ .. }} => {t},").expect("writing to a string");
    }
    writeln!(
        out,
        "            Self::Unknown {{ record_type, .. }} => *record_type,
        }}
    }}

    /// The versions of the value, none for an unknown type.
    pub fn value_versions(&self) -> {root}::VersionRange {{
        use {root}::Message as _;
        match self {{"
    )
    .expect("writing to a string");
    for (_, variant, _, value) in &pairs {
        writeln!(out, "            Self::{variant} {{ .. }} => {value}::VALID_VERSIONS,").expect("writing to a string");
    }
    writeln!(
        out,
        "            Self::Unknown {{ .. }} => {root}::VersionRange::NONE,
        }}
    }}

    /// Is this a tombstone?
    pub fn is_tombstone(&self) -> bool {{
        match self {{"
    )
    .expect("writing to a string");
    for (_, variant, _, _) in &pairs {
        writeln!(out, "            Self::{variant} {{ value, .. }} => value.is_none(),").expect("writing to a string");
    }
    writeln!(
        out,
        "            Self::Unknown {{ value, .. }} => value.is_none(),
        }}
    }}

    /// Reads a record's key and value; a type that the schema does not know is kept as it is.
    pub fn decode(key: bytes::Bytes, value: Option<bytes::Bytes>) -> Result<Self, {root}::DecodeError> {{
        let record_type = crate::records::read_type(&key)?;
        Ok(match record_type {{"
    )
    .expect("writing to a string");
    for (t, variant, _, _) in &pairs {
        writeln!(
            out,
            "            {t} => Self::{variant} {{ key: crate::records::read_key(key)?, \
             value: crate::records::read_value(value)? }},"
        )
        .expect("writing to a string");
    }
    writeln!(
        out,
        "            _ => Self::Unknown {{ record_type, key, value }},
        }})
    }}

    /// Writes the key and, at `value_version`, the value. An unknown record is written as it was read.
    pub fn encode(
        &self,
        value_version: i16,
    ) -> Result<(bytes::Bytes, Option<bytes::Bytes>), {root}::EncodeError> {{
        match self {{"
    )
    .expect("writing to a string");
    for (t, variant, _, _) in &pairs {
        writeln!(
            out,
            "            Self::{variant} {{ key, value }} => crate::records::write({t}, key, value.as_ref(), value_version),"
        )
        .expect("writing to a string");
    }
    writeln!(
        out,
        "            Self::Unknown {{ key, value, .. }} => Ok((key.clone(), value.clone())),
        }}
    }}
}}"
    )
    .expect("writing to a string");
    out
}
