//! `--format`: how a record is written, `{time} {key} {.user.name}\n`.

use super::condition::{Part, Path, Subject};
use super::view::View;
use crate::names::did_you_mean;
use crate::time::stamp;

#[derive(Clone, Debug)]
enum Piece {
    Text(Vec<u8>),
    Key,
    Value,
    Time,
    Headers,
    Part(Part),
    Path(Path),
}

const NAMES: [&str; 9] =
    ["topic", "partition", "offset", "timestamp", "time", "key", "value", "headers", "header.NAME"];

/// A template.
#[derive(Clone, Debug)]
pub struct Template(Vec<Piece>);

impl Template {
    /// Reads `{NAME}`, `{header.NAME}`, `{.path}`; `{{` is a brace; `\n`, `\t`, `\0`, `\\` are what they are elsewhere.
    ///
    /// # Errors
    /// A sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut plain: Vec<u8> = Vec::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            match c {
                '{' | '}' if rest.starts_with(c) => {
                    plain.push(c as u8);
                    rest = &rest[1..];
                }
                '{' => {
                    let (name, after) = rest.split_once('}').ok_or("a `{` is not closed; a brace is written `{{`")?;
                    if !plain.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    }
                    pieces.push(piece(name.trim())?);
                    rest = after;
                }
                _ => {
                    plain.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                    if c == '\\' {
                        plain.pop();
                        rest = escape(rest, &mut plain);
                    }
                }
            }
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self(pieces))
    }

    pub fn render(&self, view: &View<'_>, out: &mut Vec<u8>) {
        let record = view.record;
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                // As they are, though they may be no text.
                Piece::Key => out.extend_from_slice(record.key.as_deref().unwrap_or_default()),
                Piece::Value => out.extend_from_slice(record.value.as_deref().unwrap_or_default()),
                Piece::Time => out.extend_from_slice(stamp(record.timestamp.get()).as_bytes()),
                Piece::Headers => {
                    for (i, (name, value)) in record.headers.iter().enumerate() {
                        out.extend_from_slice(if i == 0 { b"" } else { b"," });
                        out.extend_from_slice(name);
                        out.push(b'=');
                        out.extend_from_slice(value.as_deref().unwrap_or_default());
                    }
                }
                Piece::Part(part) => write(view.part(part), out),
                Piece::Path(path) => write(path.of(view.json()).cloned().unwrap_or_default(), out),
            }
        }
    }
}

fn write(value: serde_json::Value, out: &mut Vec<u8>) {
    match value {
        serde_json::Value::Null => {}
        serde_json::Value::String(text) => out.extend_from_slice(text.as_bytes()),
        other => out.extend_from_slice(other.to_string().as_bytes()),
    }
}

/// What stands behind a backslash; the rest.
fn escape<'t>(rest: &'t str, plain: &mut Vec<u8>) -> &'t str {
    let Some(c) = rest.chars().next() else {
        plain.push(b'\\');
        return rest;
    };
    match c {
        'n' => plain.push(b'\n'),
        't' => plain.push(b'\t'),
        'r' => plain.push(b'\r'),
        '0' => plain.push(0),
        'e' => plain.push(0x1b),
        c => plain.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
    }
    &rest[c.len_utf8()..]
}

/// A text with escapes, as a delimiter is given.
pub fn unescaped(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((plain, after)) = rest.split_once('\\') {
        out.extend_from_slice(plain.as_bytes());
        rest = escape(after, &mut out);
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

fn piece(name: &str) -> Result<Piece, String> {
    Ok(match name {
        "topic" => Piece::Part(Part::Topic),
        "partition" => Piece::Part(Part::Partition),
        "offset" => Piece::Part(Part::Offset),
        "timestamp" => Piece::Part(Part::Timestamp),
        "time" => Piece::Time,
        "key" => Piece::Key,
        "value" => Piece::Value,
        "headers" => Piece::Headers,
        _ if name.starts_with('.') => Piece::Path(Path::parse(name)?),
        _ => match name.strip_prefix("header.") {
            Some(header) if !header.is_empty() => Piece::Part(Part::Header(header.trim_matches('"').to_owned())),
            _ => {
                let hint = did_you_mean(name, NAMES);
                return Err(format!(
                    "there is no {{{name}}}{hint}; there are {{{}}} and {{.path.into.the.value}}",
                    NAMES.join("}, {")
                ));
            }
        },
    })
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::record;
    use super::*;

    fn rendered(template: &str) -> String {
        let record = record(3, 7, 1_709_209_815_250, Some(b"k"), Some(b"{\"user\": {\"name\": \"Ann\"}, \"n\": [1]}"));
        let mut out = Vec::new();
        Template::parse(template).unwrap_or_else(|e| panic!("{template}: {e}")).render(&View::of(&record), &mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn templates() {
        assert_eq!(rendered("{topic}-{partition}@{offset} {time}"), "orders-3@7 2024-02-29T12:30:15.250Z");
        assert_eq!(rendered("{key}: {.user.name} {.n[0]} {.none}|\\t{{x}}"), "k: Ann 1 |\t{x}");
        assert_eq!(rendered("{headers} {header.h} {timestamp}"), "h=1,h=  1709209815250");
        assert_eq!(rendered("Ä{ key }"), "Äk");
        for wrong in ["{keyy}", "{", "{.a[}", "{header.}"] {
            assert!(Template::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Template::parse("{keyy}").expect_err("a typo").contains("did you mean `key`?"));
        assert_eq!(unescaped("a\\n\\0\\\\é\\"), b"a\n\0\\\xc3\xa9\\");
    }
}
