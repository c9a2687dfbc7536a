//! [`Str`]: a reference-counted UTF-8 slice.
//!
//! Decoded strings are slices of the frame that they arrived in; cloning one never copies its bytes.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use bytes::Bytes;
use thiserror::Error;

/// A cheaply cloned, immutable UTF-8 string.
#[derive(Clone, Default)]
pub struct Str(Bytes);

/// Bytes that were to be a string are not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not valid UTF-8 at byte {valid_up_to}")]
pub struct InvalidUtf8 {
    pub valid_up_to: usize,
}

impl Str {
    /// The empty string.
    pub const EMPTY: Self = Self(Bytes::new());

    /// A string that lives as long as the program.
    pub const fn from_static(s: &'static str) -> Self {
        Self(Bytes::from_static(s.as_bytes()))
    }

    /// Takes `bytes` as a string without copying, if they are UTF-8.
    pub fn from_bytes(bytes: Bytes) -> Result<Self, InvalidUtf8> {
        match std::str::from_utf8(&bytes) {
            Ok(_) => Ok(Self(bytes)),
            Err(e) => Err(InvalidUtf8 { valid_up_to: e.valid_up_to() }),
        }
    }

    pub fn as_str(&self) -> &str {
        // Checked in every constructor; checking again keeps this crate free of `unsafe`.
        std::str::from_utf8(&self.0).expect("Str holds UTF-8")
    }

    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// A copy that owns just its own bytes, so that keeping it does not keep a whole frame alive.
    pub fn detached(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }
}

impl Deref for Str {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Str {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for Str {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl From<&str> for Str {
    fn from(s: &str) -> Self {
        Self(Bytes::copy_from_slice(s.as_bytes()))
    }
}

impl From<String> for Str {
    fn from(s: String) -> Self {
        Self(Bytes::from(s.into_bytes()))
    }
}

impl From<&String> for Str {
    fn from(s: &String) -> Self {
        Self::from(s.as_str())
    }
}

impl PartialEq for Str {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Str {}

impl PartialEq<str> for Str {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for Str {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialOrd for Str {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Str {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

impl Hash for Str {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The same as `str`'s, for `Borrow<str>`.
        self.as_str().hash(state);
    }
}

impl fmt::Debug for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_not_utf8() {
        assert_eq!(Str::from_bytes(Bytes::from_static(b"ab\xff")), Err(InvalidUtf8 { valid_up_to: 2 }));
        assert_eq!(Str::from_bytes(Bytes::from_static("é".as_bytes())).unwrap(), "é");
    }

    #[test]
    fn looks_itself_up_as_str() {
        let mut map = std::collections::HashMap::new();
        map.insert(Str::from("a"), 1);
        assert_eq!(map.get("a"), Some(&1));
    }
}
