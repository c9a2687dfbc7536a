//! Messages out of a stream of bytes: cut at a delimiter, and in key and value.

/// Cuts what it is fed at a delimiter. What stands behind the last one is a message, too.
#[derive(Debug)]
pub struct Splitter {
    delimiter: Vec<u8>,
    buffer: Vec<u8>,
    /// What lies before was given out.
    start: usize,
    /// No delimiter begins before.
    searched: usize,
}

impl Splitter {
    /// `delimiter` has at least one byte.
    pub fn new(delimiter: &[u8]) -> Self {
        Self { delimiter: delimiter.to_vec(), buffer: Vec::new(), start: 0, searched: 0 }
    }

    /// Takes more bytes in.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next message that is there whole.
    pub fn next(&mut self) -> Option<&[u8]> {
        match find(&self.buffer[self.searched..], &self.delimiter) {
            Some(at) => {
                let (from, to) = (self.start, self.searched + at);
                self.start = to + self.delimiter.len();
                self.searched = self.start;
                Some(&self.buffer[from..to])
            }
            None => {
                self.searched = (self.buffer.len() + 1).saturating_sub(self.delimiter.len()).max(self.start);
                None
            }
        }
    }

    /// What is left at the end of the stream.
    pub fn rest(&self) -> Option<&[u8]> {
        Some(&self.buffer[self.start..]).filter(|r| !r.is_empty())
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    match what {
        [] => None,
        [one] => text.iter().position(|b| b == one),
        _ => text.windows(what.len()).position(|w| w == what),
    }
}

/// A message in its key and its value, which is all of it where there is no delimiter in it.
pub fn key_and_value<'a>(message: &'a [u8], delimiter: Option<&[u8]>) -> (Option<&'a [u8]>, &'a [u8]) {
    match delimiter.and_then(|d| Some((find(message, d)?, d.len()))) {
        Some((at, length)) => (Some(&message[..at]), &message[at + length..]),
        None => (None, message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str, delimiter: &str, step: usize) -> Vec<String> {
        let mut splitter = Splitter::new(delimiter.as_bytes());
        let mut out = Vec::new();
        let text_of = |m: &[u8]| String::from_utf8_lossy(m).into_owned();
        for chunk in text.as_bytes().chunks(step) {
            splitter.feed(chunk);
            while let Some(message) = splitter.next() {
                out.push(text_of(message));
            }
        }
        out.extend(splitter.rest().map(text_of));
        out
    }

    #[test]
    fn messages_are_cut_however_they_arrive() {
        for step in 1..8 {
            assert_eq!(split("a\n\nbc\nd", "\n", step), ["a", "", "bc", "d"]);
            assert_eq!(split("a\n", "\n", step), ["a"]);
            assert_eq!(split("one--two-three--", "--", step), ["one", "two-three"]);
            assert_eq!(split("---x", "--", step), ["", "-x"]);
            assert_eq!(split("", "\n", step), [""; 0]);
        }
    }

    #[test]
    fn a_key_ends_at_the_first_delimiter() {
        let kv = |m: &'static str| key_and_value(m.as_bytes(), Some(b":"));
        assert_eq!(kv("k:v:w"), (Some(&b"k"[..]), &b"v:w"[..]));
        assert_eq!(kv(":x"), (Some(&b""[..]), &b"x"[..]));
        assert_eq!(kv("plain"), (None, &b"plain"[..]));
        assert_eq!(key_and_value(b"a:b", None), (None, &b"a:b"[..]));
    }
}
