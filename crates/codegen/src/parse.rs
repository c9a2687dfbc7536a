//! Reads the schema notation.
//!
//! ```text
//! # a comment
//! request ProduceRequest key 0 versions 3-13 flexible 9+ on broker
//!   TransactionalId string 3+ null 3+ entity transactionalId = null
//!   TopicData []TopicProduceData 0+
//!     Name string 0-12 key ignorable entity topicName
//! ```
//!
//! A message is a line at the margin: kind, name, then `key N` (an API key) or `type N` (a record type),
//! `versions`, `flexible`, `deprecated`, `latest-unstable`, `on LISTENERS`. Below it, two spaces per level,
//! a field is name, type, versions, then `null VERSIONS`, `tag N VERSIONS`, `flexible VERSIONS`, `key`,
//! `ignorable`, `entity NAME` and, last, `= DEFAULT`. `struct Name VERSIONS` declares a struct that several
//! fields use.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::SplitWhitespace;

use crate::schema::{Default, ErrorSpec, Field, FieldType, Kind, MessageSpec, StructSpec, Versions};

/// A line that can't be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    pub file: String,
    pub line: usize,
    pub reason: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.reason)
    }
}

impl std::error::Error for ParseError {}

struct Line<'a> {
    number: usize,
    depth: usize,
    text: &'a str,
}

struct Parser<'a> {
    file: &'a str,
    lines: Vec<Line<'a>>,
    next: usize,
}

/// Reads the messages of one file; `file` is its name for errors.
pub fn parse_messages(file: &str, text: &str) -> Result<Vec<MessageSpec>, ParseError> {
    let mut parser = Parser { file, lines: lines(file, text)?, next: 0 };
    let mut messages = Vec::new();
    while parser.next < parser.lines.len() {
        messages.push(parser.message()?);
    }
    Ok(messages)
}

/// Reads the error codes: `CODE NAME [retriable] [invalid-metadata]` per line.
pub fn parse_errors(file: &str, text: &str) -> Result<Vec<ErrorSpec>, ParseError> {
    let mut errors: Vec<ErrorSpec> = Vec::new();
    for line in lines(file, text)? {
        let fail = |reason: String| ParseError { file: file.to_owned(), line: line.number, reason };
        let mut words = line.text.split_whitespace();
        let code = words.next().unwrap_or_default();
        let code = code.parse().map_err(|_| fail(format!("`{code}` is not an error code")))?;
        let name = words.next().ok_or_else(|| fail("the error has no name".into()))?.to_owned();
        let mut error = ErrorSpec { code, name, retriable: false, invalid_metadata: false };
        for word in words {
            match word {
                "retriable" => error.retriable = true,
                "invalid-metadata" => error.invalid_metadata = true,
                _ => return Err(fail(format!("`{word}` is unknown here"))),
            }
        }
        if errors.iter().any(|e| e.code == error.code || e.name == error.name) {
            return Err(fail(format!("{} {} is there twice", error.code, error.name)));
        }
        errors.push(error);
    }
    Ok(errors)
}

fn lines<'a>(file: &str, text: &'a str) -> Result<Vec<Line<'a>>, ParseError> {
    let mut out = Vec::new();
    for (i, raw) in text.lines().enumerate() {
        let body = raw.trim_end();
        let trimmed = body.trim_start_matches(' ');
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let indent = body.len() - trimmed.len();
        if indent % 2 != 0 || trimmed.starts_with('\t') {
            let reason = "a line is indented by two spaces per level".to_owned();
            return Err(ParseError { file: file.to_owned(), line: i + 1, reason });
        }
        out.push(Line { number: i + 1, depth: indent / 2, text: trimmed });
    }
    Ok(out)
}

impl<'a> Parser<'a> {
    fn fail<T>(&self, line: usize, reason: impl Into<String>) -> Result<T, ParseError> {
        Err(ParseError { file: self.file.to_owned(), line, reason: reason.into() })
    }

    /// The next word, which must be there and be read by `read`.
    fn word<T>(
        &self,
        line: usize,
        words: &mut SplitWhitespace<'a>,
        what: &str,
        read: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<T, ParseError> {
        match words.next() {
            None => self.fail(line, format!("{what} is missing")),
            Some(word) => match read(word) {
                Some(value) => Ok(value),
                None => self.fail(line, format!("`{word}` is not {what}")),
            },
        }
    }

    fn message(&mut self) -> Result<MessageSpec, ParseError> {
        let (line, text) = (self.lines[self.next].number, self.lines[self.next].text);
        if self.lines[self.next].depth != 0 {
            return self.fail(line, "a message begins at the margin");
        }
        self.next += 1;
        let mut words = text.split_whitespace();
        let kind = self.word(line, &mut words, "a kind of message", Kind::from_word)?;
        let name = self.word(line, &mut words, "a message name", identifier)?;
        let mut message = MessageSpec {
            name,
            kind,
            api_key: None,
            versions: Versions::NONE,
            flexible: Versions::NONE,
            deprecated: Versions::NONE,
            latest_unstable: false,
            listeners: Vec::new(),
            fields: Vec::new(),
            common: Vec::new(),
        };
        while let Some(word) = words.next() {
            match word {
                "key" | "type" => {
                    message.api_key = Some(self.word(line, &mut words, "a key", |w| w.parse().ok())?);
                }
                "versions" => message.versions = self.word(line, &mut words, "a version range", Versions::parse)?,
                "flexible" => message.flexible = self.word(line, &mut words, "a version range", Versions::parse)?,
                "deprecated" => message.deprecated = self.word(line, &mut words, "a version range", Versions::parse)?,
                "latest-unstable" => message.latest_unstable = true,
                "on" => {
                    message.listeners = self.word(line, &mut words, "a list of listeners", |w| {
                        Some(w.split(',').map(str::to_owned).collect())
                    })?;
                }
                _ => return self.fail(line, format!("`{word}` is unknown here")),
            }
        }
        if message.versions.max == Versions::OPEN {
            return self.fail(line, "the versions of a message need an upper end");
        }
        message.fields = self.fields(1)?;
        while let Some(next) = self.lines.get(self.next).filter(|l| l.depth == 1) {
            // `fields` stops at depth 1 only before a `struct`.
            let (number, text) = (next.number, next.text);
            self.next += 1;
            let mut words = text.split_whitespace();
            words.next();
            let name = self.word(number, &mut words, "a struct name", identifier)?;
            let versions = self.word(number, &mut words, "a version range", Versions::parse)?;
            let fields = self.fields(2)?;
            message.common.push(StructSpec { name, versions, fields });
        }
        self.check(line, &message)?;
        Ok(message)
    }

    fn fields(&mut self, depth: usize) -> Result<Vec<Field>, ParseError> {
        let mut fields = Vec::new();
        while let Some(line) = self.lines.get(self.next) {
            if line.depth < depth || (depth == 1 && line.depth == 1 && line.text.starts_with("struct ")) {
                break;
            }
            if line.depth > depth {
                return self.fail(line.number, "the line is indented too far");
            }
            let (number, text) = (line.number, line.text);
            self.next += 1;
            let mut field = self.field(number, text)?;
            field.fields = self.fields(depth + 1)?;
            if !field.fields.is_empty() && field.field_type.struct_name().is_none() {
                return self.fail(number, format!("{} is not a struct and can't have fields", field.name));
            }
            fields.push(field);
        }
        Ok(fields)
    }

    fn field(&self, line: usize, text: &'a str) -> Result<Field, ParseError> {
        let (text, default) = match text.split_once(" = ") {
            Some((text, default)) => (text, Some(default.trim())),
            None => (text, None),
        };
        let mut words = text.split_whitespace();
        let name = self.word(line, &mut words, "a field name", identifier)?;
        let field_type = self.word(line, &mut words, "a type", FieldType::parse)?;
        let versions = self.word(line, &mut words, "a version range", Versions::parse)?;
        let mut field = Field {
            name,
            field_type,
            versions,
            nullable: Versions::NONE,
            tag: None,
            default: Default::Zero,
            ignorable: false,
            map_key: false,
            entity: None,
            flexible: None,
            fields: Vec::new(),
        };
        while let Some(word) = words.next() {
            match word {
                "null" => field.nullable = self.word(line, &mut words, "a version range", Versions::parse)?,
                "tag" => {
                    let tag = self.word(line, &mut words, "a tag", |w| w.parse().ok())?;
                    field.tag = Some((tag, self.word(line, &mut words, "a version range", Versions::parse)?));
                }
                "flexible" => field.flexible = Some(self.word(line, &mut words, "a version range", Versions::parse)?),
                "key" => field.map_key = true,
                "ignorable" => field.ignorable = true,
                "entity" => field.entity = Some(self.word(line, &mut words, "an entity", |w| Some(w.to_owned()))?),
                _ => return self.fail(line, format!("`{word}` is unknown here")),
            }
        }
        if !field.nullable.is_empty() && !field.field_type.can_be_null() {
            return self.fail(line, format!("a {} can't be null", field.field_type));
        }
        if let Some(text) = default {
            match read_default(&field.field_type, text) {
                Some(default) => field.default = default,
                None => return self.fail(line, format!("`{text}` is not a default for a {}", field.field_type)),
            }
        }
        Ok(field)
    }

    /// What a message must hold beyond the form of its lines: unique names and tags, structs that are
    /// declared exactly once, no struct within itself.
    fn check(&self, line: usize, message: &MessageSpec) -> Result<(), ParseError> {
        let structs = message.structs();
        let mut by_name = BTreeMap::new();
        for one in &structs {
            if by_name.insert(one.name.as_str(), one).is_some() {
                return self.fail(line, format!("struct {} of {} is declared twice", one.name, message.name));
            }
        }
        let root =
            StructSpec { name: message.name.clone(), versions: message.versions, fields: message.fields.clone() };
        for one in structs.iter().chain([&root]) {
            let (mut names, mut tags) = (BTreeSet::new(), BTreeSet::new());
            for field in &one.fields {
                if !names.insert(&field.name) {
                    return self.fail(line, format!("{} has the field {} twice", one.name, field.name));
                }
                if let Some((tag, _)) = field.tag
                    && !tags.insert(tag)
                {
                    return self.fail(line, format!("{} has the tag {tag} twice", one.name));
                }
                if let Some(name) = field.field_type.struct_name()
                    && !by_name.contains_key(name)
                {
                    return self.fail(line, format!("{}.{}: struct {name} is not declared", one.name, field.name));
                }
            }
        }
        if let Some(name) = recursive(&root, &by_name, &mut Vec::new()) {
            return self.fail(line, format!("struct {name} of {} holds itself", message.name));
        }
        Ok(())
    }
}

fn recursive<'s>(
    one: &'s StructSpec,
    by_name: &BTreeMap<&str, &'s StructSpec>,
    path: &mut Vec<&'s str>,
) -> Option<String> {
    if path.contains(&one.name.as_str()) {
        return Some(one.name.clone());
    }
    path.push(&one.name);
    for field in &one.fields {
        if let Some(inner) = field.field_type.struct_name().and_then(|n| by_name.get(n))
            && let Some(name) = recursive(inner, by_name, path)
        {
            return Some(name);
        }
    }
    path.pop();
    None
}

fn identifier(word: &str) -> Option<String> {
    let ok = word.starts_with(|c: char| c.is_ascii_alphabetic()) && word.chars().all(|c| c.is_ascii_alphanumeric());
    ok.then(|| word.to_owned())
}

/// Reads a default, which must suit the type; a zero default is the same as none.
pub fn read_default(field_type: &FieldType, text: &str) -> Option<Default> {
    if text == "null" {
        return field_type.can_be_null().then_some(Default::Null);
    }
    Some(match field_type {
        FieldType::Bool => match text {
            "true" => Default::Bool(true),
            "false" => Default::Zero,
            _ => return None,
        },
        FieldType::String => {
            let inner = text.strip_prefix('"')?.strip_suffix('"')?;
            if inner.contains(['"', '\\']) {
                return None;
            }
            if inner.is_empty() { Default::Zero } else { Default::String(inner.to_owned()) }
        }
        _ => {
            let (min, max) = match field_type {
                FieldType::Int8 => (i64::from(i8::MIN), i64::from(i8::MAX)),
                FieldType::Int16 => (i64::from(i16::MIN), i64::from(i16::MAX)),
                FieldType::Int32 => (i64::from(i32::MIN), i64::from(i32::MAX)),
                FieldType::Int64 => (i64::MIN, i64::MAX),
                FieldType::Uint16 => (0, i64::from(u16::MAX)),
                FieldType::Uint32 => (0, i64::from(u32::MAX)),
                _ => return None,
            };
            let n = match text.strip_prefix("0x") {
                Some(hex) => i64::from_str_radix(hex, 16).ok()?,
                None => text.parse().ok()?,
            };
            match n {
                0 => Default::Zero,
                n if (min..=max).contains(&n) => Default::Int(n),
                _ => return None,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::print::{print_errors, print_messages};

    const PRODUCE: &str = "# head

request DemoRequest key 7 versions 3-13 flexible 9+ deprecated 3 latest-unstable on broker,controller
  TransactionalId string 3+ null 3+ entity transactionalId = null
  Acks int16 0+ ignorable = -1
  Word string 0+ = \"a b\"
  Topics []Topic 0+
    Name string 0-12 key
    Cursor Cursor 10+ null 10+ tag 0 10+ = null
  struct Cursor 0+
    Index int32 0+
";

    #[test]
    fn prints_what_it_read() {
        let messages = parse_messages("demo", PRODUCE).unwrap();
        assert_eq!(print_messages("head", &messages), PRODUCE);
        assert_eq!(messages[0].stable(), Versions { min: 3, max: 12 });
    }

    #[test]
    fn errors_name_file_and_line() {
        let cases = [
            ("request A versions 0-1\n   X int8 0+", "t:2: a line is indented by two spaces per level"),
            ("request A versions 0-1\n  X int9 0+", "t:2: `int9` is not a type"),
            ("request A versions 0-1\n  X int8", "t:2: a version range is missing"),
            ("request A versions 0-1\n  X int8 0+ null 0+", "t:2: a int8 can't be null"),
            ("request A versions 0-1\n  X int8 0+ = 300", "t:2: `300` is not a default for a int8"),
            ("request A versions 0-1\n  X []B 0+", "t:1: A.X: struct B is not declared"),
            ("request A versions 0-1\n  X []B 0+\n  struct B 0+\n    Y []B 0+", "t:1: struct B of A holds itself"),
            ("request A versions 0-1\n  X int8 0+\n  X int8 0+", "t:1: A has the field X twice"),
            ("request A versions 0+", "t:1: the versions of a message need an upper end"),
            ("wish A versions 0", "t:1: `wish` is not a kind of message"),
            ("request A versions 0\n      X int8 0+", "t:2: the line is indented too far"),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_messages("t", text).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn error_codes_read_back() {
        let text = "# head\n\n-1 UNKNOWN_SERVER_ERROR\n3 UNKNOWN_TOPIC_OR_PARTITION retriable invalid-metadata\n";
        let errors = parse_errors("errors", text).unwrap();
        assert_eq!(print_errors("head", &errors), text);
        assert!(parse_errors("errors", "1 A\n1 B").is_err());
    }
}
