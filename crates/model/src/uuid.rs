//! [`Uuid`]: Kafka's 128-bit ids of topics, clusters, directories and incarnations, written in URL-safe base64.
//!
//! See `org.apache.kafka.common.Uuid`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A 128-bit id, big-endian on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Uuid(pub [u8; 16]);

/// The id of a log directory (KIP-858), from its `meta.properties`.
pub type DirectoryId = Uuid;

/// A text that was to be a [`Uuid`] is not one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{text}` is not a UUID: 22 characters of URL-safe base64 are expected")]
pub struct InvalidUuid {
    pub text: String,
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl Uuid {
    /// All zeros: no id. Also `DirectoryId.UNASSIGNED`.
    pub const ZERO: Self = Self([0; 16]);
    /// The topic id of `__cluster_metadata`. Also `DirectoryId.LOST`.
    pub const ONE: Self = Self::reserved(1);
    /// `DirectoryId.UNASSIGNED`: not yet placed in a directory.
    pub const UNASSIGNED_DIR: Self = Self::ZERO;
    /// `DirectoryId.LOST`: in a directory that has gone.
    pub const LOST_DIR: Self = Self::reserved(1);
    /// `DirectoryId.MIGRATING`.
    pub const MIGRATING_DIR: Self = Self::reserved(2);

    const fn reserved(n: u8) -> Self {
        let mut b = [0; 16];
        b[15] = n;
        Self(b)
    }

    pub const fn is_zero(&self) -> bool {
        u128::from_be_bytes(self.0) == 0
    }

    /// A random (version 4) id from 128 random bits. Kafka's reserved ids and ids whose text starts
    /// with a dash (which tools would read as an option) are never given: the caller tries again on `None`.
    pub fn from_random(bits: u128) -> Option<Self> {
        let mut b = bits.to_be_bytes();
        b[6] = (b[6] & 0x0f) | 0x40;
        b[8] = (b[8] & 0x3f) | 0x80;
        let id = Self(b);
        (b[0] >> 2 != 62).then_some(id)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = [0u8; 22];
        let n = u128::from_be_bytes(self.0);
        for (i, o) in out.iter_mut().enumerate() {
            let shift = 122 - 6 * i as i32;
            let six = if shift >= 0 { n >> shift } else { n << -shift };
            *o = ALPHABET[(six & 63) as usize];
        }
        f.pad(std::str::from_utf8(&out).expect("base64 is ASCII"))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Uuid {
    type Err = InvalidUuid;

    fn from_str(text: &str) -> Result<Self, InvalidUuid> {
        let err = || InvalidUuid { text: text.chars().take(64).collect() };
        let body = text.trim_end_matches('=').as_bytes();
        if body.len() != 22 {
            return Err(err());
        }
        let mut n: u128 = 0;
        for (i, c) in body.iter().enumerate() {
            let six = ALPHABET.iter().position(|a| a == c).ok_or_else(err)? as u128;
            let shift = 122 - 6 * i as i32;
            n |= if shift >= 0 { six << shift } else { six >> -shift };
        }
        Ok(Self(n.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_and_writes_kafkas_text() {
        let text = "4L6g3nShT-eMCtK--X86sw";
        let id: Uuid = text.parse().unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(Uuid::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(Uuid::ONE.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert!("short".parse::<Uuid>().is_err());
        assert!("4L6g3nShT+eMCtK--X86sw".parse::<Uuid>().is_err());
    }

    proptest! {
        #[test]
        fn round_trips(bytes: [u8; 16]) {
            let id = Uuid(bytes);
            prop_assert_eq!(id.to_string().parse::<Uuid>().unwrap(), id);
        }

        #[test]
        fn random_ids_never_start_with_a_dash(bits: u128) {
            if let Some(id) = Uuid::from_random(bits) {
                prop_assert!(!id.to_string().starts_with('-'));
                prop_assert!(id > Uuid([0; 16]) && id.0[6] >> 4 == 4);
            }
        }
    }
}
