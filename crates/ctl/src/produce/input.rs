//! Where records come from: lines, whole files, JSON objects; and how a line becomes a record.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::thread;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Map, Value};
use tokio::sync::mpsc;

/// Lines are handed over so many at a time, if they are there.
const CHUNK_LINES: usize = 512;
/// So many chunks wait for the producer.
const CHUNKS: usize = 8;

/// Something read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Item {
    /// Where it stands, for messages: `line 3 of a.txt`.
    pub number: u64,
    pub bytes: Vec<u8>,
    /// How many bytes of the input it took.
    pub taken: u64,
}

/// Chunks of items, or why no more come.
pub type Items = mpsc::Receiver<Result<Vec<Item>, String>>;

/// Reads lines of `files`, or of standard input if there are none, on a thread of its own: reading waits.
pub fn lines(files: Vec<String>) -> Items {
    let (to, from) = mpsc::channel(CHUNKS);
    thread::spawn(move || {
        let files = if files.is_empty() { vec!["-".to_owned()] } else { files };
        for file in files {
            let read = match file.as_str() {
                "-" => lines_of(&mut io::stdin().lock(), prompts(), &to),
                path => open(path).and_then(|file| lines_of(&mut BufReader::with_capacity(1 << 16, file), false, &to)),
            };
            match read {
                Ok(true) => {}
                // Nobody wants more.
                Ok(false) => return,
                Err(e) => {
                    // Whether it is still heard decides nothing here.
                    let _ = to.blocking_send(Err(format!("can't read {}: {e}", called(&file))));
                    return;
                }
            }
        }
    });
    from
}

/// Reads each of `files` whole.
pub fn whole(files: Vec<String>) -> Items {
    let (to, from) = mpsc::channel(1);
    thread::spawn(move || {
        for (i, path) in files.into_iter().enumerate() {
            let mut bytes = Vec::new();
            let read = match path.as_str() {
                "-" => io::stdin().lock().read_to_end(&mut bytes),
                path => open(path).and_then(|mut file| file.read_to_end(&mut bytes)),
            };
            let item = read
                .map(|taken| vec![Item { number: i as u64 + 1, bytes, taken: taken as u64 }])
                .map_err(|e| format!("can't read {}: {e}", called(&path)));
            let is_end = item.is_err();
            if to.blocking_send(item).is_err() || is_end {
                return;
            }
        }
    });
    from
}

/// How many bytes there are to read, where that is known.
pub fn size(files: &[String]) -> Option<u64> {
    let of = |path: &String| {
        let metadata = match path.as_str() {
            "-" => stdin_file()?.metadata(),
            path => std::fs::metadata(path),
        };
        metadata.ok().filter(std::fs::Metadata::is_file).map(|m| m.len())
    };
    match files.is_empty() {
        true => of(&"-".to_owned()),
        false => files.iter().map(of).sum(),
    }
}

fn stdin_file() -> Option<File> {
    use std::os::fd::AsFd;
    io::stdin().as_fd().try_clone_to_owned().ok().map(File::from)
}

fn called(path: &str) -> &str {
    if path == "-" { "standard input" } else { path }
}

fn open(path: &str) -> io::Result<File> {
    let file = File::open(path)?;
    match file.metadata()?.is_dir() {
        true => Err(io::ErrorKind::IsADirectory.into()),
        false => Ok(file),
    }
}

/// Whether somebody types.
pub fn prompts() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// False if nobody wants more.
fn lines_of(
    input: &mut (impl BufRead + Buffered),
    prompt: bool,
    to: &mpsc::Sender<Result<Vec<Item>, String>>,
) -> io::Result<bool> {
    let mut chunk = Vec::new();
    let mut number = 0;
    loop {
        if prompt {
            write!(io::stderr(), "> ")?;
        }
        let mut bytes = Vec::new();
        let taken = input.read_until(b'\n', &mut bytes)? as u64;
        let is_end = taken == 0;
        if !is_end {
            number += 1;
            if bytes.last() == Some(&b'\n') {
                bytes.pop();
                if bytes.last() == Some(&b'\r') {
                    bytes.pop();
                }
            }
            chunk.push(Item { number, bytes, taken });
        }
        let is_full = chunk.len() >= CHUNK_LINES || is_end || !input.has_more();
        if is_full && !chunk.is_empty() && to.blocking_send(Ok(std::mem::take(&mut chunk))).is_err() {
            return Ok(false);
        }
        if is_end {
            if prompt {
                writeln!(io::stderr())?;
            }
            return Ok(true);
        }
    }
}

/// Whether another line can be had without waiting.
trait Buffered {
    fn has_more(&mut self) -> bool;
}

impl<R: Read> Buffered for BufReader<R> {
    fn has_more(&mut self) -> bool {
        self.buffer().contains(&b'\n')
    }
}

impl Buffered for io::StdinLock<'_> {
    fn has_more(&mut self) -> bool {
        // Its buffer can't be looked into without perhaps waiting for more: each line goes at once.
        false
    }
}

/// A record that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    pub timestamp: Option<i64>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// How what is read becomes a record.
#[derive(Clone, Debug, Default)]
pub struct Form {
    pub key_separator: Option<Vec<u8>>,
    pub key: Option<Vec<u8>>,
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// A value of this text is null: a deletion.
    pub null: Option<Vec<u8>>,
    pub json: bool,
}

impl Form {
    /// # Errors
    /// A sentence, without the place.
    pub fn read(&self, bytes: Vec<u8>) -> Result<Parsed, String> {
        let mut parsed = match (self.json, &self.key_separator) {
            (true, _) => of_json(&bytes)?,
            (false, Some(separator)) => {
                let at = find(&bytes, separator).ok_or_else(|| {
                    format!(
                        "there is no key separator `{}` in it: `{}`",
                        String::from_utf8_lossy(separator),
                        String::from_utf8_lossy(&bytes).chars().take(60).collect::<String>()
                    )
                })?;
                let value = bytes.get(at + separator.len()..).unwrap_or_default().to_vec();
                let mut key = bytes;
                key.truncate(at);
                Parsed { key: Some(key), value: Some(value), ..Parsed::default() }
            }
            (false, None) => Parsed { value: Some(bytes), ..Parsed::default() },
        };
        if parsed.key.is_none() {
            parsed.key.clone_from(&self.key);
        }
        if self.null.is_some() && parsed.value == self.null {
            parsed.value = None;
        }
        parsed.headers.extend(self.headers.iter().cloned());
        Ok(parsed)
    }
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    (!part.is_empty()).then(|| bytes.windows(part.len()).position(|w| w == part)).flatten()
}

/// `{"key": …, "value": …, "headers": …, "timestamp": …}`, as `logrun consume -o json` writes it. Where
/// the record lay (`partition`, `offset`) is passed over: the other topic may have fewer partitions.
fn of_json(bytes: &[u8]) -> Result<Parsed, String> {
    let value: Value = serde_json::from_slice(bytes).map_err(|e| format!("no JSON: {e}"))?;
    let Value::Object(fields) = value else { return Err("no JSON object".to_owned()) };
    if !["key", "value", "key_base64", "value_base64"].iter().any(|name| fields.contains_key(*name)) {
        return Err("the object has neither a key nor a value; without --json each line is a value".to_owned());
    }
    let timestamp = match fields.get("timestamp") {
        None | Some(Value::Null) => None,
        Some(n) => Some(n.as_i64().ok_or("`timestamp` is no number of milliseconds")?),
    };
    let headers = match fields.get("headers") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Object(headers)) => {
            headers.iter().map(|(name, value)| (name.clone().into_bytes(), bytes_of(value))).collect()
        }
        Some(Value::Array(headers)) => headers
            .iter()
            .map(|header| {
                let name = header.get("name").and_then(Value::as_str).ok_or("a header has no `name`")?;
                let fields = header.as_object().ok_or("a header is no object")?;
                Ok::<_, String>((name.as_bytes().to_vec(), field(fields, "value", "value_base64")?))
            })
            .collect::<Result<_, _>>()?,
        Some(_) => return Err("`headers` is neither an object nor an array".to_owned()),
    };
    Ok(Parsed {
        timestamp,
        key: field(&fields, "key", "key_base64")?,
        value: field(&fields, "value", "value_base64")?,
        headers,
    })
}

fn field(fields: &Map<String, Value>, name: &str, base64: &str) -> Result<Option<Vec<u8>>, String> {
    match fields.get(base64).and_then(Value::as_str) {
        Some(text) => BASE64_STANDARD.decode(text).map(Some).map_err(|e| format!("`{base64}` is no base 64: {e}")),
        None => Ok(fields.get(name).and_then(bytes_of)),
    }
}

/// Text is its bytes; other JSON is its text; null is null.
fn bytes_of(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone().into_bytes()),
        other => Some(other.to_string().into_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn some(text: &str) -> Option<Vec<u8>> {
        Some(text.as_bytes().to_vec())
    }

    #[test]
    fn lines_become_records() {
        let form = Form {
            key_separator: some("::"),
            null: some("NULL"),
            headers: vec![(b"h".to_vec(), some("1"))],
            ..Form::default()
        };
        let parsed = form.read(b"k::v::w".to_vec()).expect("a key");
        assert_eq!((parsed.key, parsed.value, parsed.headers.len()), (some("k"), some("v::w"), 1));
        assert_eq!(form.read(b"k::NULL".to_vec()).expect("a key").value, None);
        assert!(form.read(b"none".to_vec()).expect_err("no key").contains("`::`"));
        let plain = Form { key: some("fixed"), ..Form::default() };
        assert_eq!(plain.read(b"v".to_vec()).map(|p| (p.key, p.value)), Ok((some("fixed"), some("v"))));
    }

    #[test]
    fn objects_become_records() {
        let form = Form { json: true, ..Form::default() };
        let read = |text: &str| form.read(text.as_bytes().to_vec());
        let line = r#"{"topic":"x","partition":3,"offset":7,"timestamp":5,"time":"…","key":"k","value":{"a":1},"headers":[{"name":"h","value":"1"},{"name":"h","value":null}]}"#;
        let parsed = read(line).expect("a record");
        assert_eq!(parsed.timestamp, Some(5));
        assert_eq!((parsed.key, parsed.value), (some("k"), some("{\"a\":1}")));
        assert_eq!(parsed.headers, [(b"h".to_vec(), some("1")), (b"h".to_vec(), None)]);
        assert_eq!(read(r#"{"value_base64":"/wA="}"#).expect("a record").value, Some(vec![0xff, 0]));
        assert_eq!(read(r#"{"key":"k"}"#).expect("a deletion").value, None);
        assert_eq!(read(r#"{"value":1,"headers":{"a":"b"}}"#).expect("a record").headers, [(b"a".to_vec(), some("b"))]);
        for wrong in [
            "{",
            "[]",
            "{}",
            r#"{"a":1}"#,
            r#"{"value_base64":"%"}"#,
            r#"{"value":1,"headers":3}"#,
            r#"{"value":1,"headers":[{}]}"#,
            r#"{"value":1,"timestamp":1.5}"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn all_of_a_file_is_read() {
        let mut input = BufReader::with_capacity(16, &b"a\r\nb\n\nlast, without an end"[..]);
        let (to, mut from) = mpsc::channel(100);
        assert_eq!(lines_of(&mut input, false, &to).ok(), Some(true));
        drop(to);
        let mut all = Vec::new();
        while let Ok(chunk) = from.try_recv() {
            all.extend(chunk.expect("lines"));
        }
        let texts: Vec<&[u8]> = all.iter().map(|i| i.bytes.as_slice()).collect();
        assert_eq!(texts, [&b"a"[..], b"b", b"", b"last, without an end"]);
        assert_eq!(all.iter().map(|i| i.taken).sum::<u64>(), 26);
        assert_eq!(all.last().map(|i| i.number), Some(4));
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = Form { json: true, ..Form::default() }.read(bytes.clone());
            let _ = Form { key_separator: Some(vec![0]), ..Form::default() }.read(bytes);
        }
    }
}
