//! Random encoded messages, straight from the schema: a second reading of it that shares nothing with the
//! generated code or its runtime. For the codec oracle and for fuzz seeds.
//!
//! What comes out is canonical: a tagged field with its default value is left out, tags ascend, so that a
//! correct codec writes exactly these bytes again.

use crate::schema::{Default, Field, FieldType, MessageSpec, Versions};

/// A small seeded generator (SplitMix64): the same seed gives the same values everywhere.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`, which must not be zero.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next_u64() % n
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// What the values of a message look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Null where that is allowed, else empty; zero numbers; no tagged field unless its default differs.
    Empty,
    /// Every field its default.
    Defaults,
    /// Anything: nulls, defaults, extremes, some unknown tagged fields.
    Mixed,
    /// Nothing null or empty, unknown tagged fields in every struct.
    Full,
    /// As `Full`, with long strings, bytes and arrays of numbers.
    Big,
}

impl Shape {
    pub const ALL: [Self; 5] = [Self::Empty, Self::Defaults, Self::Mixed, Self::Full, Self::Big];
}

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Null,
    Int(i64),
    Float(f64),
    Uuid([u8; 16]),
    /// The content of a string, bytes or records.
    Content(Vec<u8>),
    Array(Vec<Value>),
    Struct {
        fields: Vec<Value>,
        unknown: Vec<(u32, Vec<u8>)>,
    },
}

/// One message of the given shape, encoded at `version`.
pub fn random_message(message: &MessageSpec, version: i16, shape: Shape, rng: &mut Rng) -> Vec<u8> {
    let mut maker = Maker { message, version, flex: message.flexible.contains(version), shape, rng, big: 3 };
    let value = maker.structure(&message.fields, 0);
    let mut out = Vec::new();
    Writer { message, version, flex: maker.flex }.structure(&message.fields, &value, &mut out);
    out
}

fn fields_of(message: &MessageSpec, name: &str) -> Vec<Field> {
    message.find_struct(name).map(|s| s.fields).unwrap_or_default()
}

fn default_of(message: &MessageSpec, field: &Field) -> Value {
    match &field.default {
        Default::Null => Value::Null,
        Default::Bool(b) => Value::Int(i64::from(*b)),
        Default::Int(n) => Value::Int(*n),
        Default::String(s) => Value::Content(s.clone().into_bytes()),
        Default::Zero => match &field.field_type {
            FieldType::Records => Value::Null,
            FieldType::Struct(name) => Value::Struct {
                fields: fields_of(message, name).iter().map(|f| default_of(message, f)).collect(),
                unknown: Vec::new(),
            },
            other => zero(other),
        },
    }
}

fn zero(field_type: &FieldType) -> Value {
    match field_type {
        FieldType::Float64 => Value::Float(0.0),
        FieldType::Uuid => Value::Uuid([0; 16]),
        FieldType::String | FieldType::Bytes | FieldType::Records => Value::Content(Vec::new()),
        FieldType::Array(_) => Value::Array(Vec::new()),
        _ => Value::Int(0),
    }
}

struct Maker<'a> {
    message: &'a MessageSpec,
    version: i16,
    flex: bool,
    shape: Shape,
    rng: &'a mut Rng,
    /// How many more large values there may be.
    big: u32,
}

impl Maker<'_> {
    fn structure(&mut self, fields: &[Field], depth: u32) -> Value {
        let values = fields.iter().map(|f| self.field(f, depth)).collect();
        let unknown = match self.shape {
            Shape::Mixed => self.flex && self.rng.one_in(4),
            Shape::Full | Shape::Big => self.flex,
            Shape::Empty | Shape::Defaults => false,
        };
        let unknown = if unknown { self.unknown_tags(fields) } else { Vec::new() };
        Value::Struct { fields: values, unknown }
    }

    fn unknown_tags(&mut self, fields: &[Field]) -> Vec<(u32, Vec<u8>)> {
        let known = |tag| fields.iter().any(|f| f.tag.is_some_and(|(t, _)| t == tag));
        let mut tags: Vec<u32> = (0..8).filter(|t| !known(*t) && self.rng.one_in(3)).collect();
        tags.extend([100, 5000, 0x7fff_0000].into_iter().filter(|_| self.rng.one_in(3)));
        tags.into_iter()
            .map(|tag| {
                let size = self.rng.below(20) as usize;
                (tag, self.content(size))
            })
            .collect()
    }

    fn field(&mut self, field: &Field, depth: u32) -> Value {
        if !field.versions.contains(self.version) {
            return default_of(self.message, field);
        }
        let null = field.nullable.contains(self.version);
        match self.shape {
            Shape::Empty if null => Value::Null,
            Shape::Mixed if null && self.rng.one_in(4) => Value::Null,
            Shape::Mixed if self.rng.one_in(6) => self.default_or_fallback(field, null),
            Shape::Defaults => self.default_or_fallback(field, null),
            _ => self.value(&field.field_type, depth),
        }
    }

    /// The default, unless it is null and null is not allowed at this version.
    fn default_or_fallback(&mut self, field: &Field, null: bool) -> Value {
        match (default_of(self.message, field), &field.field_type) {
            (Value::Null, FieldType::Struct(_)) if !null => self.value(&field.field_type, 0),
            (Value::Null, _) if !null => zero(&field.field_type),
            (value, _) => value,
        }
    }

    fn value(&mut self, field_type: &FieldType, depth: u32) -> Value {
        let empty = self.shape == Shape::Empty;
        match field_type {
            FieldType::Struct(name) => {
                let fields = fields_of(self.message, name);
                self.structure(&fields, depth + 1)
            }
            _ if empty => zero(field_type),
            FieldType::Bool => Value::Int(self.rng.below(2) as i64),
            FieldType::Int8 => self.int(8),
            FieldType::Int16 => self.int(16),
            FieldType::Int32 => self.int(32),
            FieldType::Int64 => self.int(64),
            FieldType::Uint16 => Value::Int(self.rng.below(1 << 16) as i64),
            FieldType::Uint32 => Value::Int(self.rng.below(1 << 32) as i64),
            FieldType::Float64 => Value::Float(self.rng.next_u64() as i32 as f64 / 16.0),
            FieldType::Uuid => {
                let high = u128::from(self.rng.next_u64()) << 64;
                Value::Uuid((high | u128::from(self.rng.next_u64())).to_be_bytes())
            }
            FieldType::String => {
                let length = self.length(24, i16::MAX as usize);
                Value::Content(self.text(length))
            }
            FieldType::Bytes | FieldType::Records => {
                let length = self.length(24, 20_000);
                Value::Content(self.content(length))
            }
            FieldType::Array(element) => {
                let length = match element.struct_name() {
                    Some(_) if depth > 2 => self.length(1, 1),
                    Some(_) => self.length(3, 3),
                    None => self.length(4, 300),
                };
                Value::Array((0..length).map(|_| self.value(element, depth)).collect())
            }
        }
    }

    /// An integer of so many bits: small, extreme or anything.
    fn int(&mut self, bits: u32) -> Value {
        let shift = 64 - bits;
        let any = (self.rng.next_u64() << shift) as i64 >> shift;
        Value::Int(match self.rng.below(6) {
            0 => i64::MAX >> shift,
            1 => i64::MIN >> shift,
            2 => self.rng.below(100) as i64,
            3 => -1,
            _ => any,
        })
    }

    fn length(&mut self, usual: usize, large: usize) -> usize {
        match self.shape {
            Shape::Big if self.big > 0 && large > usual => {
                self.big -= 1;
                large
            }
            Shape::Full | Shape::Big => 1 + self.rng.below(usual as u64) as usize,
            _ => self.rng.below(usual as u64 + 1) as usize,
        }
    }

    fn content(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.rng.next_u64() as u8).collect()
    }

    /// At most so many bytes of text, from one to four bytes a character.
    fn text(&mut self, length: usize) -> Vec<u8> {
        let mut out = String::new();
        while out.len() < length {
            let c = ['a', 'Z', '0', '-', '.', '\u{0}', 'é', 'ß', '中', '\u{ffff}', '🦀'][self.rng.below(11) as usize];
            out.push(if out.len() + c.len_utf8() > length { '_' } else { c });
        }
        out.into_bytes()
    }
}

struct Writer<'a> {
    message: &'a MessageSpec,
    version: i16,
    flex: bool,
}

impl Writer<'_> {
    fn structure(&self, fields: &[Field], value: &Value, out: &mut Vec<u8>) {
        let Value::Struct { fields: values, unknown } = value else { return };
        let mut tagged: Vec<(u32, Vec<u8>)> = unknown.clone();
        for (field, value) in fields.iter().zip(values) {
            if !field.versions.contains(self.version) {
                continue;
            }
            match field.tagged_at(self.version) {
                None => self.value(field, value, out),
                Some(_) if *value == default_of(self.message, field) => {}
                Some(tag) => {
                    let mut inner = Vec::new();
                    self.value(field, value, &mut inner);
                    tagged.push((tag, inner));
                }
            }
        }
        if self.flex {
            tagged.sort_by_key(|(tag, _)| *tag);
            varint(out, tagged.len());
            for (tag, inner) in tagged {
                varint(out, tag as usize);
                varint(out, inner.len());
                out.extend(inner);
            }
        }
    }

    fn value(&self, field: &Field, value: &Value, out: &mut Vec<u8>) {
        if let FieldType::Struct(_) = field.field_type
            && field.nullable.contains(self.version)
        {
            out.push(match (value, field.tagged_at(self.version)) {
                (Value::Null, None) => 0xff,
                (Value::Null, Some(_)) => 0,
                _ => 1,
            });
        }
        let flex = self.flex && field.flexible.is_none_or(|v: Versions| v.contains(self.version));
        self.typed(&field.field_type, value, flex, out);
    }

    fn typed(&self, field_type: &FieldType, value: &Value, flex: bool, out: &mut Vec<u8>) {
        let narrow = matches!(field_type, FieldType::String);
        let length = |out: &mut Vec<u8>, length: Option<usize>| match (flex, narrow) {
            (true, _) => varint(out, length.map_or(0, |n| n + 1)),
            (false, true) => out.extend(length.map_or(-1, |n| n as i16).to_be_bytes()),
            (false, false) => out.extend(length.map_or(-1, |n| n as i32).to_be_bytes()),
        };
        match (field_type, value) {
            (FieldType::Struct(_), Value::Null) => {}
            (_, Value::Null) => length(out, None),
            (FieldType::Struct(name), value) => self.structure(&fields_of(self.message, name), value, out),
            (FieldType::Array(element), Value::Array(values)) => {
                length(out, Some(values.len()));
                values.iter().for_each(|v| self.typed(element, v, flex, out));
            }
            (_, Value::Content(content)) => {
                length(out, Some(content.len()));
                out.extend(content);
            }
            (_, Value::Uuid(bytes)) => out.extend(bytes),
            (_, Value::Float(f)) => out.extend(f.to_be_bytes()),
            (FieldType::Bool | FieldType::Int8, Value::Int(n)) => out.push(*n as u8),
            (FieldType::Int16 | FieldType::Uint16, Value::Int(n)) => out.extend((*n as i16).to_be_bytes()),
            (FieldType::Int32 | FieldType::Uint32, Value::Int(n)) => out.extend((*n as i32).to_be_bytes()),
            (FieldType::Int64, Value::Int(n)) => out.extend(n.to_be_bytes()),
            (field_type, value) => unreachable!("a {field_type} can't be {value:?}"),
        }
    }
}

fn varint(out: &mut Vec<u8>, mut n: usize) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse_messages;

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let text = "data A versions 0-1 flexible 1+\n  B []string 0+ null 1+\n  C int32 1+ tag 0 1+ = 7\n";
        let spec = parse_messages("t", text).unwrap().remove(0);
        let make = |version, shape, seed| random_message(&spec, version, shape, &mut Rng::new(seed));
        assert_eq!(make(0, Shape::Defaults, 1), [0, 0, 0, 0]);
        assert_eq!(make(1, Shape::Defaults, 1), [1, 0]);
        assert_eq!(make(1, Shape::Empty, 1), [0, 1, 0, 4, 0, 0, 0, 0]);
        assert_eq!(make(1, Shape::Full, 5), make(1, Shape::Full, 5));
        assert_ne!(make(1, Shape::Full, 5), make(1, Shape::Full, 6));
    }
}
