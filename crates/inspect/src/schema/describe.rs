//! Descriptions of messages as data, generated from `schema/`, and the reader that turns a message's bytes into JSON by
//! them.
//!
//! The bytes may be anything: counts are held against what is there, and nothing is allocated for a claim.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use logrun_wire::{DecodeError, DecodeErrorKind, Decoder};

use super::json::Json;

/// Versions from the first to the second, both included; none if the second is less.
#[derive(Clone, Copy, Debug)]
pub struct Versions(pub i16, pub i16);

impl Versions {
    pub const fn contains(self, version: i16) -> bool {
        self.0 <= version && version <= self.1
    }
}

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The key of a coordinator's record.
    Key,
    /// The value of a coordinator's record.
    Value,
    Metadata,
    Data,
}

/// One message.
#[derive(Debug)]
pub struct Message {
    pub name: &'static str,
    pub kind: Kind,
    /// The record type; −1 if it has none.
    pub number: i16,
    pub versions: Versions,
    pub flexible: Versions,
    pub fields: &'static [Field],
}

/// One field of a message or of a struct in it.
#[derive(Debug)]
pub struct Field {
    pub name: &'static str,
    pub of: Type,
    pub versions: Versions,
    pub nullable: Versions,
    pub tag: Option<(u32, Versions)>,
    pub default: Default,
}

/// The type of a field.
#[derive(Debug)]
pub enum Type {
    Bool,
    Int8,
    Int16,
    Int32,
    Int64,
    Uint16,
    Uint32,
    Float64,
    Uuid,
    String,
    Bytes,
    Records,
    Array(&'static Type),
    Struct(&'static [Field]),
}

/// The default of a field.
#[derive(Debug)]
pub enum Default {
    Zero,
    Null,
    Bool(bool),
    Int(i64),
    Text(&'static str),
}

include!(concat!(env!("OUT_DIR"), "/descriptions.rs"));

/// The message of that kind and record type.
pub fn find(messages: &'static [Message], kind: Kind, number: i16) -> Option<&'static Message> {
    messages.iter().find(|m| m.kind == kind && m.number == number)
}

/// The message of that name.
pub fn named(messages: &'static [Message], name: &str) -> Option<&'static Message> {
    messages.iter().find(|m| m.name == name)
}

impl Message {
    /// Reads the message at `version` from the front of `d`.
    ///
    /// # Errors
    /// The version is unknown, or the bytes are not such a message.
    pub fn read(&self, d: &mut Decoder, version: i16) -> Result<Json, DecodeError> {
        if !self.versions.contains(version) {
            let kind = DecodeErrorKind::UnsupportedVersion { version, min: self.versions.0, max: self.versions.1 };
            return Err(DecodeError::new("", kind).in_message(self.name, version));
        }
        fields(self.fields, d, version, self.flexible.contains(version)).map_err(|e| e.in_message(self.name, version))
    }

    /// Reads the message from all of `bytes`.
    ///
    /// # Errors
    /// As [`Self::read`], or bytes are left over.
    pub fn read_all(&self, bytes: Bytes, version: i16) -> Result<Json, DecodeError> {
        let mut d = Decoder::new(bytes);
        let json = self.read(&mut d, version)?;
        d.finish().map_err(|e| e.in_message(self.name, version))?;
        Ok(json)
    }
}

/// The fields of a message or struct: those in their places, then the tagged ones. Tagged fields that nobody knows are
/// left out, and known ones that have their default, as Kafka does.
fn fields(all: &'static [Field], d: &mut Decoder, version: i16, flex: bool) -> Result<Json, DecodeError> {
    let mut values: Vec<Option<Json>> = Vec::with_capacity(all.len());
    for field in all {
        let here = field.versions.contains(version) && !field.is_tagged(version);
        values.push(if here { Some(field.read(d, version, flex)?) } else { None });
    }
    if flex {
        for _ in 0..d.tag_count()? {
            let (tag, size) = d.tag()?;
            let bytes = d.take("tagged fields", size)?;
            let known = all.iter().position(|f| f.is_tagged(version) && f.tag.is_some_and(|(t, _)| t == tag));
            let Some(i) = known else { continue };
            let mut inner = Decoder::new(bytes);
            let value = all[i].read(&mut inner, version, flex)?;
            inner.finish().map_err(|e| e.within(all[i].name))?;
            values[i] = (value != all[i].default_value(version)).then_some(value);
        }
    }
    Ok(Json::Object(all.iter().zip(values).filter_map(|(f, value)| Some((f.name, value?))).collect()))
}

impl Field {
    fn is_tagged(&self, version: i16) -> bool {
        self.tag.is_some_and(|(_, versions)| versions.contains(version))
    }

    fn read(&self, d: &mut Decoder, version: i16, flex: bool) -> Result<Json, DecodeError> {
        let value = if let Type::Struct(inner) = self.of
            && self.nullable.contains(version)
        {
            // A struct that may be null stands behind a byte, or a varint where it is tagged.
            let is_null = if self.is_tagged(version) { d.uvarint(self.name)? == 0 } else { d.i8(self.name)? < 0 };
            if is_null { Json::Null } else { fields(inner, d, version, flex).map_err(|e| e.within(self.name))? }
        } else {
            self.of.read(self.name, d, version, flex)?
        };
        if value == Json::Null && !self.nullable.contains(version) && !matches!(self.of, Type::Records) {
            return Err(DecodeError::new(self.name, DecodeErrorKind::UnexpectedNull));
        }
        Ok(value)
    }

    fn default_value(&self, version: i16) -> Json {
        match self.default {
            Default::Null => Json::Null,
            Default::Bool(b) => Json::Bool(b),
            Default::Int(n) => Json::Int(n),
            Default::Text(text) => text.into(),
            Default::Zero => self.of.zero(version),
        }
    }
}

impl Type {
    fn zero(&self, version: i16) -> Json {
        match self {
            Self::Bool => Json::Bool(false),
            Self::Float64 => Json::Float(0.0),
            Self::Uuid => logrun_model::Uuid::ZERO.to_string().into(),
            Self::String | Self::Bytes => "".into(),
            Self::Records => Json::Null,
            Self::Array(_) => Json::Array(Vec::new()),
            Self::Struct(inner) => Json::Object(
                inner
                    .iter()
                    .filter(|f| f.versions.contains(version) && !f.is_tagged(version))
                    .map(|f| (f.name, f.default_value(version)))
                    .collect(),
            ),
            _ => Json::Int(0),
        }
    }

    fn read(&self, name: &'static str, d: &mut Decoder, version: i16, flex: bool) -> Result<Json, DecodeError> {
        Ok(match self {
            Self::Bool => d.bool(name)?.into(),
            Self::Int8 => i64::from(d.i8(name)?).into(),
            Self::Int16 => i64::from(d.i16(name)?).into(),
            Self::Int32 => i64::from(d.i32(name)?).into(),
            Self::Int64 => d.i64(name)?.into(),
            Self::Uint16 => i64::from(d.u16(name)?).into(),
            Self::Uint32 => i64::from(d.u32(name)?).into(),
            Self::Float64 => Json::Float(d.f64(name)?),
            Self::Uuid => d.uuid(name)?.to_string().into(),
            Self::String => d.string_opt(name, flex)?.map(|s| s.as_str().to_owned()).into(),
            Self::Bytes | Self::Records => d.bytes_opt(name, flex)?.map(|b| BASE64_STANDARD.encode(b)).into(),
            Self::Struct(inner) => fields(inner, d, version, flex).map_err(|e| e.within(name))?,
            Self::Array(element) => {
                let count = match flex {
                    true => (d.uvarint(name)? as usize).checked_sub(1),
                    false => usize::try_from(d.i32(name)?).ok(),
                };
                let Some(count) = count else { return Ok(Json::Null) };
                // Each element takes a byte at least.
                if count > d.remaining() {
                    let left = d.remaining();
                    return Err(DecodeError::new(name, DecodeErrorKind::ArrayTooLong { count, left }));
                }
                let mut elements = Vec::new();
                for i in 0..count {
                    elements.push(element.read("", d, version, flex).map_err(|e| e.at_index(i).within(name))?);
                }
                Json::Array(elements)
            }
        })
    }
}
