//! Why a message can't be read or written. Each error names the message, its version and the field's path
//! (`FetchRequest v12: topics[0].partitions[3].fetch_offset: ...`).

use std::fmt;

use thiserror::Error;

/// What is wrong with the bytes.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DecodeErrorKind {
    #[error("{needed} bytes are needed, {left} are left")]
    Truncated { needed: usize, left: usize },
    #[error("a varint is cut short or too long")]
    InvalidVarint,
    #[error("null where null is not allowed")]
    UnexpectedNull,
    #[error("the string of {length} bytes is longer than 32767")]
    StringTooLong { length: usize },
    #[error("not UTF-8 at byte {valid_up_to}")]
    InvalidUtf8 { valid_up_to: usize },
    #[error("{count} elements can't be in the {left} bytes that are left")]
    ArrayTooLong { count: usize, left: usize },
    #[error("the tagged field claims {size} bytes but {left} of them are left over")]
    TagSize { size: usize, left: usize },
    #[error("version {version} is not one of {min} to {max}")]
    UnsupportedVersion { version: i16, min: i16, max: i16 },
    #[error("{count} bytes are left over behind the message")]
    TrailingBytes { count: usize },
    #[error("{what} {value} is not valid here")]
    InvalidFrame { what: &'static str, value: i64 },
}

/// What is wrong with the value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EncodeErrorKind {
    #[error("version {version} is not one of {min} to {max}")]
    UnsupportedVersion { version: i16, min: i16, max: i16 },
    #[error("the version has no such field, and its value can't be left out")]
    UnsupportedField,
    #[error("null where null is not allowed")]
    UnexpectedNull,
    #[error("{length} is too long")]
    TooLong { length: usize },
    #[error("the version has no tagged fields")]
    UnsupportedTags,
    #[error("what is not in memory can only be in a response")]
    NotInMemory,
    #[error("the unknown tagged field {tag} is out of order or known")]
    TagOrder { tag: u32 },
}

/// Where it went wrong: message, version, path of the field.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
struct Place {
    message: &'static str,
    version: i16,
    path: String,
}

impl Place {
    fn within(&mut self, name: &str) {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{name}{dot}{}", self.path);
    }

    fn at_index(&mut self, index: usize) {
        let dot = if self.path.is_empty() { "" } else { "." };
        self.path = format!("[{index}]{dot}{}", self.path);
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.message.is_empty() {
            write!(f, "{} v{}: ", self.message, self.version)?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        Ok(())
    }
}

macro_rules! placed_error {
    ($(#[$doc:meta])* $name:ident, $kind:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name(Box<(Place, $kind)>);

        impl $name {
            #[cold]
            pub fn new(field: &'static str, kind: $kind) -> Self {
                Self(Box::new((Place { path: field.to_owned(), ..Place::default() }, kind)))
            }

            /// What is wrong.
            pub fn kind(&self) -> &$kind {
                &self.0.1
            }

            /// The message, or nothing if it is not known yet.
            pub fn message(&self) -> &'static str {
                self.0.0.message
            }

            /// The path of the field: `topics[0].name`.
            pub fn path(&self) -> &str {
                &self.0.0.path
            }

            /// The same error, seen from the struct that holds the field `name`.
            #[cold]
            #[must_use]
            pub fn within(mut self, name: &'static str) -> Self {
                self.0.0.within(name);
                self
            }

            /// The same error, seen from the array that holds the element.
            #[cold]
            #[must_use]
            pub fn at_index(mut self, index: usize) -> Self {
                self.0.0.at_index(index);
                self
            }

            /// The same error, with the message and version that were meant.
            #[cold]
            #[must_use]
            pub fn in_message(mut self, message: &'static str, version: i16) -> Self {
                self.0.0.message = message;
                self.0.0.version = version;
                self
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", self.0.0, self.0.1)
            }
        }

        impl std::error::Error for $name {}
    };
}

placed_error!(
    /// Bytes that are not the message they should be.
    DecodeError,
    DecodeErrorKind
);
placed_error!(
    /// A value that the version can't carry. Kafka's `UnsupportedVersionException` and its kin.
    EncodeError,
    EncodeErrorKind
);

impl EncodeError {
    /// A field with a value that must not be lost, at a version that lacks the field.
    #[cold]
    pub fn unsupported_field(name: &'static str) -> Self {
        Self::new(name, EncodeErrorKind::UnsupportedField)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_where() {
        let e = DecodeError::new("index", DecodeErrorKind::UnexpectedNull)
            .at_index(3)
            .within("partitions")
            .at_index(0)
            .within("topics")
            .in_message("FetchRequest", 12);
        let text = "FetchRequest v12: topics[0].partitions[3].index: null where null is not allowed";
        assert_eq!(e.to_string(), text);
        assert_eq!(e.path(), "topics[0].partitions[3].index");
    }
}
