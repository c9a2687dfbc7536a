//! [`Trace`]: everything that a run did, as one number and, if wanted, as lines.
//!
//! Two runs of one seed must have the same number. Nothing that differs between processes (addresses of memory,
//! the real clock, the order of a randomly seeded hash map) may be noted, for it would hide what really differs.

use std::fmt::{self, Write};

/// Takes the lines of a trace as they come.
pub type Sink = Box<dyn FnMut(&str)>;

/// The events of one run.
pub struct Trace {
    hash: u64,
    events: u64,
    sink: Option<Sink>,
    line: String,
}

impl Trace {
    /// A trace that tells `sink`, if there is one, of every event.
    pub fn new(sink: Option<Sink>) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, events: 0, sink, line: String::new() }
    }

    /// Whether somebody reads the lines. What is only told, never hashed, may be worth its cost then.
    pub fn is_told(&self) -> bool {
        self.sink.is_some()
    }

    /// An event at `at_ms` of virtual time.
    pub fn note(&mut self, at_ms: i64, event: fmt::Arguments<'_>) {
        self.events += 1;
        self.line.clear();
        // Writing to a string does not fail.
        let _ = self.line.write_fmt(event);
        self.hash = mix(mix(self.hash, &at_ms.to_le_bytes()), self.line.as_bytes());
        if let Some(sink) = &mut self.sink {
            sink(&format!("{:>9.3} {}", at_ms as f64 / 1000.0, self.line));
        }
    }

    /// Bytes that went over the network or the like: hashed, not told.
    pub fn note_bytes(&mut self, bytes: &[u8]) {
        self.hash = mix(self.hash, bytes);
    }

    /// A line that is told but is no event.
    pub fn tell(&mut self, text: &str) {
        if let Some(sink) = &mut self.sink {
            sink(&format!("{:>9} {text}", ""));
        }
    }

    /// How many events there were.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The number that stands for all events so far.
    pub fn hash(&self) -> u64 {
        self.hash
    }
}

/// Mixes `bytes`, whose length counts too, into `hash`: FNV-1a over words of eight bytes.
fn mix(mut hash: u64, bytes: &[u8]) -> u64 {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let mut eat = |word: u64| hash = (hash ^ word).wrapping_mul(PRIME).rotate_left(23);
    eat(bytes.len() as u64);
    let (words, rest) = bytes.as_chunks::<8>();
    words.iter().for_each(|w| eat(u64::from_le_bytes(*w)));
    rest.iter().for_each(|b| eat(u64::from(*b)));
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_difference_shows() {
        let trace = |events: &[(i64, &str)], bytes: &[u8]| {
            let mut t = Trace::new(None);
            events.iter().for_each(|(at, e)| t.note(*at, format_args!("{e}")));
            t.note_bytes(bytes);
            t.hash()
        };
        let one = trace(&[(1, "a"), (2, "b")], b"0123456789");
        assert_eq!(one, trace(&[(1, "a"), (2, "b")], b"0123456789"));
        assert_ne!(one, trace(&[(1, "a"), (3, "b")], b"0123456789"));
        assert_ne!(one, trace(&[(2, "b"), (1, "a")], b"0123456789"));
        assert_ne!(one, trace(&[(1, "ab"), (2, "")], b"0123456789"));
        assert_ne!(one, trace(&[(1, "a"), (2, "b")], b"0123456798"));
    }

    #[test]
    fn lines_are_told() {
        let lines = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let copy = lines.clone();
        let mut t = Trace::new(Some(Box::new(move |l| copy.borrow_mut().push(l.to_owned()))));
        t.note(1500, format_args!("started {}", 1));
        t.tell("a detail");
        assert_eq!(*lines.borrow(), ["    1.500 started 1", "          a detail"]);
        assert_eq!(t.events(), 1);
    }
}
