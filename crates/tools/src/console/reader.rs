//! Lines to records: Kafka's `LineMessageReader` (`parse.key`, `key.separator`, headers, `null.marker`).

use crate::failure::Failure;
use crate::files::Properties;

/// Headers, by name.
type Headers = Vec<(String, Option<Vec<u8>>)>;

/// A record as it was typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Headers,
}

/// How a line is cut.
#[derive(Clone, Debug)]
pub struct LineReader {
    parse_key: bool,
    key_separator: Vec<u8>,
    parse_headers: bool,
    headers_delimiter: Vec<u8>,
    headers_separator: String,
    headers_key_separator: String,
    ignore_error: bool,
    null_marker: Option<Vec<u8>>,
    line_number: u64,
}

impl LineReader {
    /// From the reader's properties; unknown ones are the business of other readers and are passed over.
    ///
    /// # Errors
    /// Two of the separators are the same.
    pub fn new(properties: &Properties) -> Result<Self, Failure> {
        let text = |name: &str, default: &str| properties.get(name).map_or(default, String::as_str).to_owned();
        let flag = |name: &str| properties.get(name).is_some_and(|v| v.trim().eq_ignore_ascii_case("true"));
        let key = text("key.separator", "\t");
        let delimiter = text("headers.delimiter", "\t");
        let separator = text("headers.separator", ",");
        let key_separator = text("headers.key.separator", ":");
        let null = properties.get("null.marker").cloned();
        let pairs = [
            ("headers.delimiter", Some(&delimiter), "headers.separator", Some(&separator)),
            ("headers.delimiter", Some(&delimiter), "headers.key.separator", Some(&key_separator)),
            ("headers.separator", Some(&separator), "headers.key.separator", Some(&key_separator)),
            ("null.marker", null.as_ref(), "key.separator", Some(&key)),
            ("null.marker", null.as_ref(), "headers.separator", Some(&separator)),
            ("null.marker", null.as_ref(), "headers.delimiter", Some(&delimiter)),
            ("null.marker", null.as_ref(), "headers.key.separator", Some(&key_separator)),
        ];
        if let Some((a, _, b, _)) = pairs.iter().find(|(_, a, _, b)| a == b) {
            return Err(Failure::new(format!("{a} and {b} may not be equal")));
        }
        if let Some((name, _)) =
            [("key.separator", &key), ("headers.delimiter", &delimiter), ("headers.separator", &separator)]
                .iter()
                .find(|(_, value)| value.is_empty())
        {
            return Err(Failure::new(format!("{name} may not be empty")));
        }
        Ok(Self {
            parse_key: flag("parse.key"),
            key_separator: key.into_bytes(),
            parse_headers: flag("parse.headers"),
            headers_delimiter: delimiter.into_bytes(),
            headers_separator: separator,
            headers_key_separator: key_separator,
            ignore_error: flag("ignore.error"),
            null_marker: null.map(String::into_bytes),
            line_number: 0,
        })
    }

    /// The record of the next line, which comes without its end.
    ///
    /// # Errors
    /// A separator that should be there isn't, and `ignore.error` is not set.
    pub fn read(&mut self, line: &[u8]) -> Result<Line, Failure> {
        self.line_number += 1;
        let mut rest = line;
        let headers = if self.parse_headers {
            self.cut(line, &mut rest, &self.headers_delimiter, "headers delimiter")?
        } else {
            None
        };
        let key = if self.parse_key { self.cut(line, &mut rest, &self.key_separator, "key separator")? } else { None };
        let unless_null = |bytes: &[u8]| (self.null_marker.as_deref() != Some(bytes)).then(|| bytes.to_vec());
        let headers = match headers.filter(|h| self.null_marker.as_deref() != Some(*h)) {
            Some(headers) => self.headers(headers)?,
            None => Vec::new(),
        };
        Ok(Line { key: key.and_then(unless_null), value: unless_null(rest), headers })
    }

    fn cut<'l>(&self, line: &[u8], rest: &mut &'l [u8], by: &[u8], called: &str) -> Result<Option<&'l [u8]>, Failure> {
        match rest.windows(by.len()).position(|w| w == by) {
            Some(at) => {
                let (head, tail) = rest.split_at(at);
                *rest = tail.get(by.len()..).unwrap_or_default();
                Ok(Some(head))
            }
            None if self.ignore_error => Ok(None),
            None => Err(Failure::new(format!(
                "No {called} found on line number {}: '{}'",
                self.line_number,
                String::from_utf8_lossy(line)
            ))),
        }
    }

    fn headers(&self, text: &[u8]) -> Result<Headers, Failure> {
        let text = String::from_utf8_lossy(text);
        text.split(&self.headers_separator)
            .map(|pair| match pair.split_once(&self.headers_key_separator) {
                Some((key, _)) if self.null_marker.as_deref() == Some(key.as_bytes()) => Err(Failure::new(format!(
                    "Header keys should not be equal to the null marker '{key}' as they can't be null"
                ))),
                Some((key, value)) => {
                    let null = self.null_marker.as_deref() == Some(value.as_bytes());
                    Ok((key.to_owned(), (!null).then(|| value.as_bytes().to_vec())))
                }
                None if self.ignore_error => Ok((pair.to_owned(), None)),
                None => Err(Failure::new(format!(
                    "No header key separator found in pair '{pair}' on line number {}",
                    self.line_number
                ))),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::pairs;

    fn read(properties: &[&str], line: &str) -> Result<Line, String> {
        LineReader::new(&pairs(properties.iter().copied()))
            .and_then(|mut r| r.read(line.as_bytes()))
            .map_err(|f| f.message().to_owned())
    }

    fn line(key: Option<&str>, value: Option<&str>, headers: &[(&str, Option<&str>)]) -> Line {
        let bytes = |s: &str| s.as_bytes().to_vec();
        let headers = headers.iter().map(|(k, v)| ((*k).to_owned(), v.map(bytes))).collect();
        Line { key: key.map(bytes), value: value.map(bytes), headers }
    }

    #[test]
    fn keys_headers_and_nulls() {
        assert_eq!(read(&[], "a\tb"), Ok(line(None, Some("a\tb"), &[])));
        assert_eq!(read(&["parse.key=true"], "a\tb\tc"), Ok(line(Some("a"), Some("b\tc"), &[])));
        assert_eq!(read(&["parse.key=true", "key.separator=,"], "k,"), Ok(line(Some("k"), Some(""), &[])));
        let both = ["parse.key=true", "parse.headers=true", "null.marker=NULL"];
        assert_eq!(
            read(&both, "h1:v1,h2:NULL\tkey\tNULL"),
            Ok(line(Some("key"), None, &[("h1", Some("v1")), ("h2", None)]))
        );
        assert_eq!(read(&both, "NULL\tNULL\tv"), Ok(line(None, Some("v"), &[])));
    }

    #[test]
    fn what_is_missing_is_said_or_passed_over() {
        assert_eq!(
            read(&["parse.key=true", "key.separator=,"], "novalue"),
            Err("No key separator found on line number 1: 'novalue'".to_owned())
        );
        assert_eq!(read(&["parse.key=true", "ignore.error=true"], "v"), Ok(line(None, Some("v"), &[])));
        assert!(read(&["headers.delimiter=,"], "x").is_err());
        assert!(read(&["null.marker=:"], "x").is_err());
    }
}
