//! [`TopicPattern`]: a regular expression over topic names that the client evaluates itself.

use regex::Regex;

use crate::error::Error;

/// A subscription by regular expression: all topics whose whole name matches, those that come later among them.
#[derive(Clone, Debug)]
pub struct TopicPattern(Regex);

impl TopicPattern {
    /// Of an expression in the syntax of the `regex` crate, which is nearly Java's; it must match the whole name.
    ///
    /// # Errors
    /// An expression that is none.
    pub fn new(expression: &str) -> Result<Self, Error> {
        match Regex::new(&format!("^(?:{expression})$")) {
            Ok(regex) => Ok(Self(regex)),
            Err(e) => Err(Error::Invalid(format!("`{expression}` is no regular expression: {e}"))),
        }
    }

    /// Whether the topic is meant.
    pub fn matches(&self, topic: &str) -> bool {
        self.0.is_match(topic)
    }

    /// The expression, with its anchors.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl PartialEq for TopicPattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for TopicPattern {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_name_must_match() {
        let p = TopicPattern::new("a|b.*").unwrap();
        assert!(p.matches("a") && p.matches("bcd") && !p.matches("ab") && !p.matches("xa"));
        let e = TopicPattern::new("(").unwrap_err();
        assert!(e.to_string().contains("regular expression"), "{e}");
    }
}
