//! How a message is written: delimiters with escapes, format strings, and the JSON envelope.

use std::fmt::Write as _;

/// A message as it is written out.
#[derive(Clone, Debug, Default)]
pub struct Message<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
    /// `create` or `logappend`.
    pub timestamp_type: &'static str,
    pub timestamp_ms: i64,
    pub broker: i32,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Vec<(&'a str, Option<&'a [u8]>)>,
}

/// A part of a format string.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Vec<u8>),
    Value,
    ValueLength,
    ValueLengthBinary,
    Key,
    KeyLength,
    Timestamp,
    Headers,
    Topic,
    Partition,
    Offset,
}

/// A format string of `-f`, or what `-D`, `-K` and `-O` amount to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format(Vec<Part>);

impl Format {
    /// Reads a format string.
    ///
    /// # Errors
    /// A sentence that names the token that does not exist.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut plain = Vec::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let after = &rest[c.len_utf8()..];
            match c {
                '%' => {
                    let token = after.chars().next().ok_or("a format string ends with a single %; write %%")?;
                    rest = &after[token.len_utf8()..];
                    let part = match token {
                        's' => Part::Value,
                        'S' => Part::ValueLength,
                        'R' => Part::ValueLengthBinary,
                        'k' => Part::Key,
                        'K' => Part::KeyLength,
                        'T' => Part::Timestamp,
                        'h' => Part::Headers,
                        't' => Part::Topic,
                        'p' => Part::Partition,
                        'o' => Part::Offset,
                        '%' => {
                            plain.push(b'%');
                            continue;
                        }
                        _ => return Err(format!("-f: there is no token %{token}; `kcat -h` lists them")),
                    };
                    if !plain.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut plain)));
                    }
                    parts.push(part);
                }
                '\\' => rest = escape(after, &mut plain)?,
                _ => {
                    plain.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                    rest = after;
                }
            }
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self(parts))
    }

    /// What is written without a format string.
    pub fn plain(print_offset: bool, key_delimiter: Option<&[u8]>, delimiter: &[u8]) -> Self {
        let mut parts = Vec::new();
        if print_offset {
            parts.extend([Part::Offset, Part::Text(key_delimiter.unwrap_or(b":").to_vec())]);
        }
        if let Some(delimiter) = key_delimiter {
            parts.extend([Part::Key, Part::Text(delimiter.to_vec())]);
        }
        parts.extend([Part::Value, Part::Text(delimiter.to_vec())]);
        Self(parts)
    }

    /// Writes a message; `null` stands for a key or a value that is null.
    pub fn render(&self, message: &Message<'_>, null: &str, out: &mut Vec<u8>) {
        let bytes = |out: &mut Vec<u8>, bytes: Option<&[u8]>| out.extend_from_slice(bytes.unwrap_or(null.as_bytes()));
        let number = |out: &mut Vec<u8>, n: i64| out.extend_from_slice(n.to_string().as_bytes());
        let length = |bytes: Option<&[u8]>| bytes.map_or(-1, |b| b.len() as i64);
        for part in &self.0 {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Value => bytes(out, message.value),
                Part::ValueLength => number(out, length(message.value)),
                Part::ValueLengthBinary => out.extend_from_slice(&(length(message.value) as i32).to_be_bytes()),
                Part::Key => bytes(out, message.key),
                Part::KeyLength => number(out, length(message.key)),
                Part::Timestamp => number(out, message.timestamp_ms),
                Part::Topic => out.extend_from_slice(message.topic.as_bytes()),
                Part::Partition => number(out, i64::from(message.partition)),
                Part::Offset => number(out, message.offset),
                Part::Headers => {
                    for (i, (name, value)) in message.headers.iter().enumerate() {
                        out.extend_from_slice(if i == 0 { b"" } else { b"," });
                        out.extend_from_slice(name.as_bytes());
                        out.push(b'=');
                        out.extend_from_slice(value.unwrap_or(b"NULL"));
                    }
                }
            }
        }
    }
}

/// Reads a delimiter: characters with the escapes of a format string.
///
/// # Errors
/// A sentence that names the escape that does not exist.
pub fn delimiter(text: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        if c == '\\' {
            rest = escape(after, &mut out)?;
        } else {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            rest = after;
        }
    }
    if out.is_empty() { Err("a delimiter has at least one character".to_owned()) } else { Ok(out) }
}

/// Reads what follows a backslash and gives what is left.
fn escape<'a>(text: &'a str, out: &mut Vec<u8>) -> Result<&'a str, String> {
    let c = text.chars().next().ok_or("a text ends with a single \\; write \\\\")?;
    let rest = &text[c.len_utf8()..];
    let byte = match c {
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        '0' => 0,
        '\\' => b'\\',
        'x' => {
            let digits: String = rest.chars().take(2).take_while(char::is_ascii_hexdigit).collect();
            let byte =
                u8::from_str_radix(&digits, 16).map_err(|_| format!("\\x{rest}: two hexadecimal digits follow"))?;
            out.push(byte);
            return Ok(&rest[digits.len()..]);
        }
        _ => return Err(format!("there is no escape \\{c}; there are \\n \\r \\t \\0 \\\\ \\xNN")),
    };
    out.push(byte);
    Ok(rest)
}

/// What a key or a value is in JSON: text, or what a `-s` made of it, already JSON, or an error.
#[derive(Clone, Debug)]
pub enum Field {
    Null,
    Text(Vec<u8>),
    Json(String),
    Error(String),
}

impl Field {
    /// Bytes as text.
    pub fn of(bytes: Option<&[u8]>) -> Self {
        bytes.map_or(Self::Null, |b| Self::Text(b.to_vec()))
    }
}

/// The JSON envelope of `-J`, in kcat's order, without a line's end.
pub fn envelope(message: &Message<'_>, key: &Field, value: &Field) -> String {
    let mut out = String::new();
    let _ = write!(out, "{{\"topic\":{},\"partition\":{}", quote(message.topic.as_bytes()), message.partition);
    let _ = write!(out, ",\"offset\":{},\"tstype\":\"{}\"", message.offset, message.timestamp_type);
    let _ = write!(out, ",\"ts\":{},\"broker\":{}", message.timestamp_ms, message.broker);
    if !message.headers.is_empty() {
        // Names may repeat, so it is a list and no object.
        out.push_str(",\"headers\":[");
        for (i, (name, value)) in message.headers.iter().enumerate() {
            let value = value.map_or_else(|| "null".to_owned(), quote);
            let _ = write!(out, "{}{},{value}", if i == 0 { "" } else { "," }, quote(name.as_bytes()));
        }
        out.push(']');
    }
    for (name, field) in [("key", key), ("payload", value)] {
        let text = match field {
            Field::Null | Field::Error(_) => "null".to_owned(),
            Field::Text(bytes) => quote(bytes),
            Field::Json(json) => json.clone(),
        };
        let _ = write!(out, ",\"{name}\":{text}");
        if let Field::Error(error) = field {
            let _ = write!(out, ",\"{name}_error\":{}", quote(error.as_bytes()));
        }
    }
    out.push('}');
    out
}

/// A JSON string; what is not UTF-8 becomes the replacement character.
pub fn quote(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if u32::from(c) < 0x20 => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message<'static> {
        Message {
            topic: "t1",
            partition: 0,
            offset: 2,
            timestamp_type: "create",
            timestamp_ms: 1795250537677,
            broker: 1,
            key: Some(b"k"),
            value: Some(b"v"),
            headers: vec![("h1", Some(b"v1")), ("h2", Some(b"")), ("h3", None)],
        }
    }

    fn rendered(format: &str, message: &Message<'_>, null: &str) -> String {
        let mut out = Vec::new();
        Format::parse(format).expect("a format").render(message, null, &mut out);
        String::from_utf8(out).expect("text")
    }

    /// The lines are what kcat 1.7.1 printed.
    #[test]
    fn messages_are_written_as_kcat_writes_them() {
        let format = r"%t|%p|%o|%k|%K|%s|%S|%h|%T\x41\n";
        assert_eq!(rendered(format, &message(), ""), "t1|0|2|k|1|v|1|h1=v1,h2=,h3=NULL|1795250537677A\n");
        let nulls = Message { key: None, value: None, headers: vec![], ..message() };
        assert_eq!(rendered(format, &nulls, ""), "t1|0|2||-1||-1||1795250537677A\n");
        assert_eq!(rendered("%k:%s 100%%", &nulls, "NULL"), "NULL:NULL 100%");
        let mut out = Vec::new();
        Format::parse("%R%s").expect("a format").render(&message(), "", &mut out);
        assert_eq!(out, b"\0\0\0\x01v");
        assert_eq!(
            envelope(&message(), &Field::of(Some(b"k")), &Field::of(Some(b"v"))),
            "{\"topic\":\"t1\",\"partition\":0,\"offset\":2,\"tstype\":\"create\",\"ts\":1795250537677,\"broker\":1,\
             \"headers\":[\"h1\",\"v1\",\"h2\",\"\",\"h3\",null],\"key\":\"k\",\"payload\":\"v\"}"
        );
    }

    #[test]
    fn plain_output_has_offset_and_key_only_if_asked() {
        let plain = |offset, key: Option<&[u8]>| {
            let mut out = Vec::new();
            Format::plain(offset, key, b"\n").render(&message(), "", &mut out);
            String::from_utf8(out).expect("text")
        };
        assert_eq!(plain(false, None), "v\n");
        assert_eq!(plain(false, Some(b"|")), "k|v\n");
        assert_eq!(plain(true, Some(b"|")), "2|k|v\n");
    }

    #[test]
    fn delimiters_have_escapes() {
        for (text, bytes) in [(r"\n", &b"\n"[..]), (r"\x1f\t", b"\x1f\t"), ("::", b"::"), ("→", "→".as_bytes())] {
            assert_eq!(delimiter(text).as_deref(), Ok(bytes), "{text}");
        }
        for text in ["", r"\q", r"\x", "\\"] {
            delimiter(text).expect_err(text);
        }
    }

    #[test]
    fn json_survives_any_bytes() {
        assert_eq!(quote(b"a\"\\\n\x01\xff"), "\"a\\\"\\\\\\n\\u0001\u{fffd}\"");
        let error = envelope(&message(), &Field::Null, &Field::Error("too short".to_owned()));
        assert!(error.ends_with("\"key\":null,\"payload\":null,\"payload_error\":\"too short\"}"), "{error}");
    }
}
