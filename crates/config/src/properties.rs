//! The text of a `.properties` file, read exactly as `java.util.Properties.load` reads it.
//!
//! This never touches a file: the caller has the text.

use thiserror::Error;

/// One key and value, and the line on which the pair begins (from 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    pub key: String,
    pub value: String,
    pub line: usize,
}

/// A text that Java refuses too.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: \\u must be followed by four hexadecimal digits; write \\\\u for a backslash and a u")]
pub struct PropertiesError {
    pub line: usize,
}

/// All pairs of `text`, in order; a key that comes again is there again, and the last one counts.
///
/// # Errors
/// If a `\u` escape is malformed.
pub fn parse(text: &str) -> Result<Vec<Property>, PropertiesError> {
    let mut properties = Vec::new();
    let mut lines = text.split_inclusive(['\n', '\r']).map(|line| line.trim_end_matches(['\n', '\r'])).enumerate();
    // A carriage return with a line feed is one line's end; split_inclusive makes an empty line of the feed, and
    // empty lines are skipped, but they must be counted out of the numbers and must not end a continuation.
    let breaks = line_numbers(text);
    while let Some((at, line)) = lines.next() {
        let number = breaks.get(at).copied().unwrap_or(at + 1);
        let line = trim_start(line);
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = String::new();
        let mut part = line;
        loop {
            let backslashes = part.bytes().rev().take_while(|b| *b == b'\\').count();
            if backslashes % 2 == 0 {
                logical.push_str(part);
                break;
            }
            logical.push_str(part.get(..part.len() - 1).unwrap_or(""));
            let Some((at, mut next)) = lines.next() else { break };
            if next.is_empty() && breaks.get(at) == breaks.get(at.wrapping_sub(1)) {
                // The line feed after a carriage return.
                let Some((_, after)) = lines.next() else { break };
                next = after;
            }
            part = trim_start(next);
        }
        // A line of nothing but a backslash that is joined to nothing.
        if logical.is_empty() {
            continue;
        }
        properties.push(pair(&logical, number)?);
    }
    Ok(properties)
}

/// The number of the line that each piece between line ends lies on; the piece between `\r` and `\n` shares it.
fn line_numbers(text: &str) -> Vec<usize> {
    let mut numbers = Vec::new();
    let mut number = 1;
    let mut after_return = false;
    for piece in text.split_inclusive(['\n', '\r']) {
        if after_return && piece == "\n" {
            numbers.push(number - 1);
            after_return = false;
            continue;
        }
        numbers.push(number);
        after_return = piece.ends_with('\r');
        if piece.ends_with(['\n', '\r']) {
            number += 1;
        }
    }
    numbers
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}')
}

fn trim_start(line: &str) -> &str {
    line.trim_start_matches(is_space)
}

fn pair(line: &str, number: usize) -> Result<Property, PropertiesError> {
    let mut escaped = false;
    let mut end = line.len();
    for (at, c) in line.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == '=' || c == ':' || is_space(c) {
            end = at;
            break;
        }
    }
    let (key, rest) = line.split_at(end);
    let rest = trim_start(rest);
    let value = rest.strip_prefix(['=', ':']).map_or(rest, trim_start);
    Ok(Property { key: unescape(key, number)?, value: unescape(value, number)?, line: number })
}

fn unescape(text: &str, line: usize) -> Result<String, PropertiesError> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    // Java's strings are UTF-16: a pair of escapes may be one character.
    let mut high: Option<u16> = None;
    while let Some(c) = chars.next() {
        let unit = if c == '\\' {
            match chars.next() {
                Some('u') => {
                    let mut unit: u16 = 0;
                    for _ in 0..4 {
                        let digit = chars.next().and_then(|c| c.to_digit(16)).ok_or(PropertiesError { line })?;
                        unit = (unit << 4) | u16::try_from(digit).map_err(|_| PropertiesError { line })?;
                    }
                    Ok(unit)
                }
                Some('t') => Err('\t'),
                Some('n') => Err('\n'),
                Some('r') => Err('\r'),
                Some('f') => Err('\u{c}'),
                Some(other) => Err(other),
                None => break,
            }
        } else {
            Err(c)
        };
        match (high.take(), unit) {
            (Some(first), Ok(second)) if (0xdc00..0xe000).contains(&second) => {
                out.extend(char::decode_utf16([first, second]).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)));
                continue;
            }
            (Some(_), _) => out.push(char::REPLACEMENT_CHARACTER),
            (None, _) => {}
        }
        match unit {
            Ok(unit) if (0xd800..0xdc00).contains(&unit) => high = Some(unit),
            Ok(unit) => out.push(char::from_u32(u32::from(unit)).unwrap_or(char::REPLACEMENT_CHARACTER)),
            Err(c) => out.push(c),
        }
    }
    if high.is_some() {
        out.push(char::REPLACEMENT_CHARACTER);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Texts and what `java.util.Properties` made of them; both escaped, pairs as `key→value|`.
    const JAVA: &str = include_str!("../testdata/java-properties.tsv");

    /// Undoes the escapes of the data file, which are those of a properties value.
    fn plain(text: &str) -> String {
        unescape(text, 0).expect("escaped by Java")
    }

    #[test]
    fn reads_what_java_reads() {
        for line in JAVA.lines() {
            let (text, expected) = line.split_once('\t').expect("two columns");
            let got = match parse(&plain(text)) {
                Err(_) => "!error".to_owned(),
                Ok(properties) => {
                    let last: BTreeMap<String, String> = properties.into_iter().map(|p| (p.key, p.value)).collect();
                    last.iter().map(|(key, value)| format!("{key}→{value}|")).collect()
                }
            };
            let expected = if expected == "!error" { expected.to_owned() } else { plain(expected) };
            assert_eq!(got, expected, "{text}");
        }
    }

    #[test]
    fn lines_are_counted_as_an_editor_counts_them() {
        let text = "# one\r\n\r\na=1\\\r\n  2\r\nb=3\n\nc=4\rd=5";
        let got: Vec<(String, String, usize)> =
            parse(text).expect("valid").into_iter().map(|p| (p.key, p.value, p.line)).collect();
        let want = [("a", "12", 3), ("b", "3", 5), ("c", "4", 7), ("d", "5", 8)];
        assert_eq!(got, want.map(|(k, v, n)| (k.to_owned(), v.to_owned(), n)));
        assert_eq!(parse("a=1\n\nb=\\u12").expect_err("malformed").line, 3);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[ -~\\\\\\n\\r\\t=:#é😀u0-9]{0,80}") {
            let _ = parse(&text);
        }
    }
}
