//! The schema as data: messages, structs, fields, version ranges. Kafka's `MessageSpec`, `StructSpec`,
//! `FieldSpec` and `Versions`, reduced to what is on the wire and what a broker must know.

use std::fmt;

/// An inclusive range of versions. `NONE` holds nothing; a range that ends in [`Versions::OPEN`] is
/// written `3+`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    pub min: i16,
    pub max: i16,
}

impl Versions {
    /// The upper end of a range that has none.
    pub const OPEN: i16 = i16::MAX;
    pub const NONE: Self = Self { min: 0, max: -1 };
    pub const ALL: Self = Self { min: 0, max: Self::OPEN };

    pub fn is_empty(self) -> bool {
        self.max < self.min
    }

    pub fn contains(self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }

    pub fn intersect(self, other: Self) -> Self {
        let both = Self { min: self.min.max(other.min), max: self.max.min(other.max) };
        if both.is_empty() { Self::NONE } else { both }
    }

    /// Every version of the range, which must be closed.
    pub fn iter(self) -> impl Iterator<Item = i16> {
        debug_assert!(self.max < Self::OPEN, "an open range can't be listed");
        self.min..=self.max
    }

    /// Reads `none`, `3`, `3+` or `3-5`.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "none" {
            return Some(Self::NONE);
        }
        if let Some(min) = text.strip_suffix('+') {
            return Some(Self { min: number(min)?, max: Self::OPEN });
        }
        let (min, max) = text.split_once('-').unwrap_or((text, text));
        let range = Self { min: number(min)?, max: number(max)? };
        (!range.is_empty()).then_some(range)
    }
}

fn number(text: &str) -> Option<i16> {
    text.parse().ok().filter(|n: &i16| *n >= 0)
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            f.write_str("none")
        } else if self.max == Self::OPEN {
            write!(f, "{}+", self.min)
        } else if self.min == self.max {
            write!(f, "{}", self.min)
        } else {
            write!(f, "{}-{}", self.min, self.max)
        }
    }
}

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Request,
    Response,
    Header,
    /// A record of the metadata log (or of the remote log metadata topic).
    Metadata,
    /// The key of a coordinator's record; its `apiKey` is the record type.
    CoordinatorKey,
    CoordinatorValue,
    /// Anything else: control records, consumer protocol, snapshots.
    Data,
}

impl Kind {
    pub const ALL: [Self; 7] = [
        Self::Request,
        Self::Response,
        Self::Header,
        Self::Metadata,
        Self::CoordinatorKey,
        Self::CoordinatorValue,
        Self::Data,
    ];

    /// The word for it, the same in Kafka's descriptions and in the notation.
    pub fn word(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
            Self::Header => "header",
            Self::Metadata => "metadata",
            Self::CoordinatorKey => "coordinator-key",
            Self::CoordinatorValue => "coordinator-value",
            Self::Data => "data",
        }
    }

    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.word() == word)
    }
}

/// The type of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldType {
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
    /// Record batches: opaque bytes, whose default is null even where null can't be written.
    Records,
    Array(Box<FieldType>),
    Struct(String),
}

impl FieldType {
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "bool" => Self::Bool,
            "int8" => Self::Int8,
            "int16" => Self::Int16,
            "int32" => Self::Int32,
            "int64" => Self::Int64,
            "uint16" => Self::Uint16,
            "uint32" => Self::Uint32,
            "float64" => Self::Float64,
            "uuid" => Self::Uuid,
            "string" => Self::String,
            "bytes" => Self::Bytes,
            "records" => Self::Records,
            _ => {
                if let Some(element) = text.strip_prefix("[]") {
                    match Self::parse(element)? {
                        Self::Array(_) => return None,
                        element => Self::Array(Box::new(element)),
                    }
                } else if text.starts_with(|c: char| c.is_ascii_uppercase())
                    && text.chars().all(|c| c.is_ascii_alphanumeric())
                {
                    Self::Struct(text.to_owned())
                } else {
                    return None;
                }
            }
        })
    }

    /// The name of the struct that this is, or that this is an array of.
    pub fn struct_name(&self) -> Option<&str> {
        match self {
            Self::Struct(name) => Some(name),
            Self::Array(element) => element.struct_name(),
            _ => None,
        }
    }

    /// May a field of this type be null at all?
    pub fn can_be_null(&self) -> bool {
        matches!(self, Self::String | Self::Bytes | Self::Records | Self::Array(_) | Self::Struct(_))
    }
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "bool",
            Self::Int8 => "int8",
            Self::Int16 => "int16",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Uint16 => "uint16",
            Self::Uint32 => "uint32",
            Self::Float64 => "float64",
            Self::Uuid => "uuid",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Records => "records",
            Self::Array(element) => return write!(f, "[]{element}"),
            Self::Struct(name) => name,
        })
    }
}

/// The default of a field, where it is declared.
#[derive(Clone, Debug, PartialEq)]
pub enum Default {
    /// The type's own: zero, false, empty.
    Zero,
    Null,
    Bool(bool),
    Int(i64),
    String(String),
}

/// One field of a message or struct.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    pub name: String,
    pub field_type: FieldType,
    pub versions: Versions,
    pub nullable: Versions,
    /// The tag and the versions in which the field is tagged.
    pub tag: Option<(u32, Versions)>,
    pub default: Default,
    /// May a value be silently left out at versions that lack the field?
    pub ignorable: bool,
    /// Is this part of the key of a keyed collection?
    pub map_key: bool,
    /// What the value names (`topicName`, `brokerId`, ...).
    pub entity: Option<String>,
    /// Overrides the message's flexible versions for this field (the client id of request headers).
    pub flexible: Option<Versions>,
    /// The fields of the struct that is declared in place.
    pub fields: Vec<Field>,
}

impl Field {
    /// Is the field written in the tagged section at `version`?
    pub fn tagged_at(&self, version: i16) -> Option<u32> {
        self.tag.filter(|(_, versions)| versions.contains(version)).map(|(tag, _)| tag)
    }

    /// The versions in which the field is tagged.
    pub fn tagged_versions(&self) -> Versions {
        self.tag.map_or(Versions::NONE, |(_, versions)| versions)
    }

    /// Is the Rust type an `Option`?
    pub fn is_option(&self) -> bool {
        !self.nullable.is_empty() || self.field_type == FieldType::Records || self.default == Default::Null
    }
}

/// A named group of fields.
#[derive(Clone, Debug, PartialEq)]
pub struct StructSpec {
    pub name: String,
    pub versions: Versions,
    pub fields: Vec<Field>,
}

/// A message: its kind, key, versions and fields.
#[derive(Clone, Debug, PartialEq)]
pub struct MessageSpec {
    pub name: String,
    pub kind: Kind,
    pub api_key: Option<i16>,
    pub versions: Versions,
    pub flexible: Versions,
    pub deprecated: Versions,
    /// Is the highest version still being worked on (and served only if a node is told so)?
    pub latest_unstable: bool,
    pub listeners: Vec<String>,
    pub fields: Vec<Field>,
    /// Structs that several fields use.
    pub common: Vec<StructSpec>,
}

impl MessageSpec {
    /// The structs of the message: common ones and those declared in place, outermost first.
    pub fn structs(&self) -> Vec<StructSpec> {
        let mut out = self.common.clone();
        collect(&self.fields, &mut out);
        for common in &self.common {
            collect(&common.fields, &mut out);
        }
        out
    }

    pub fn find_struct(&self, name: &str) -> Option<StructSpec> {
        self.structs().into_iter().find(|s| s.name == name)
    }

    /// Versions that are neither unstable nor absent.
    pub fn stable(&self) -> Versions {
        match self.latest_unstable {
            true if self.versions.min == self.versions.max => Versions::NONE,
            true => Versions { min: self.versions.min, max: self.versions.max - 1 },
            false => self.versions,
        }
    }

    /// Has the message tagged fields in any version?
    pub fn ever_flexible(&self) -> bool {
        !self.flexible.intersect(self.versions).is_empty()
    }
}

fn collect(fields: &[Field], out: &mut Vec<StructSpec>) {
    for field in fields {
        if let (Some(name), false) = (field.field_type.struct_name(), field.fields.is_empty()) {
            out.push(StructSpec { name: name.to_owned(), versions: field.versions, fields: field.fields.clone() });
            collect(&field.fields, out);
        }
    }
}

/// One of Kafka's error codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorSpec {
    pub code: i16,
    /// As in Kafka's `Errors`: `UNKNOWN_TOPIC_OR_PARTITION`.
    pub name: String,
    /// May a client try again?
    pub retriable: bool,
    /// Should a client fetch metadata anew before it does?
    pub invalid_metadata: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_read_back_as_written() {
        for text in ["none", "0", "3+", "2-7"] {
            assert_eq!(Versions::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "-1", "5-2", "a", "3-", "99999"] {
            assert_eq!(Versions::parse(text), None, "{text}");
        }
    }

    #[test]
    fn types_read_back_as_written() {
        for text in ["int32", "[]int32", "[]TopicData", "TopicData", "records"] {
            assert_eq!(FieldType::parse(text).unwrap().to_string(), text);
        }
        for text in ["int31", "[][]int32", "", "[]", "topicData", "A b"] {
            assert_eq!(FieldType::parse(text), None, "{text}");
        }
    }
}
