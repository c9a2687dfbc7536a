//! What every generated type can do: [`Codec`] for structs and array elements, [`Message`] for whole messages.

use std::fmt::{self, Debug};

use bytes::Bytes;
use logrun_model::{Str, Uuid};
use thiserror::Error;

use crate::api_key::ApiKey;
use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::error::{DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind};

/// An inclusive range of versions; empty if `max < min`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionRange {
    pub min: i16,
    pub max: i16,
}

impl VersionRange {
    pub const NONE: Self = Self { min: 0, max: -1 };

    pub const fn new(min: i16, max: i16) -> Self {
        Self { min, max }
    }

    pub const fn is_empty(self) -> bool {
        self.max < self.min
    }

    pub const fn contains(self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_empty() {
            true => f.write_str("none"),
            false => write!(f, "{}-{}", self.min, self.max),
        }
    }
}

/// A tagged field that the schema does not know; kept so that it can be written again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawTaggedField {
    pub tag: u32,
    pub data: Bytes,
}

/// A struct, or an element of an array, at a version; `flex` says whether the version is flexible (KIP-482).
pub trait Codec: Sized {
    /// The fewest bytes that a value takes at any version: bounds what an array may claim. At least 1.
    const MIN_SIZE: usize;

    fn read(d: &mut Decoder, version: i16, flex: bool) -> Result<Self, DecodeError>;

    fn write(&self, e: &mut Encoder, version: i16, flex: bool) -> Result<(), EncodeError>;
}

/// A whole message. Kafka's `ApiMessage`.
pub trait Message: Codec + Default + Clone + Debug + PartialEq + Send + Sync + 'static {
    /// As Kafka names it: `ProduceRequest`.
    const NAME: &'static str;
    /// The versions that the schema describes.
    const VALID_VERSIONS: VersionRange;
    /// Those with compact lengths and tagged fields.
    const FLEXIBLE_VERSIONS: VersionRange;

    /// Reads the message from the front of `d`; what follows is left there.
    fn decode(d: &mut Decoder, version: i16) -> Result<Self, DecodeError> {
        let VersionRange { min, max } = Self::VALID_VERSIONS;
        if !Self::VALID_VERSIONS.contains(version) {
            let kind = DecodeErrorKind::UnsupportedVersion { version, min, max };
            return Err(DecodeError::new("", kind).in_message(Self::NAME, version));
        }
        Self::read(d, version, Self::FLEXIBLE_VERSIONS.contains(version)).map_err(|e| e.in_message(Self::NAME, version))
    }

    /// Reads the message from all of `bytes`; bytes left over are an error.
    fn decode_exact(bytes: Bytes, version: i16) -> Result<Self, DecodeError> {
        let mut d = Decoder::new(bytes);
        let message = Self::decode(&mut d, version)?;
        d.finish().map_err(|e| e.in_message(Self::NAME, version))?;
        Ok(message)
    }

    /// How many bytes [`Message::encode`] writes, exactly.
    fn encoded_len(&self, version: i16) -> Result<usize, EncodeError> {
        let mut e = Encoder::counter();
        self.encode(&mut e, version)?;
        Ok(e.len())
    }

    /// Writes the message behind what `e` holds.
    fn encode(&self, e: &mut Encoder, version: i16) -> Result<(), EncodeError> {
        let VersionRange { min, max } = Self::VALID_VERSIONS;
        if !Self::VALID_VERSIONS.contains(version) {
            let kind = EncodeErrorKind::UnsupportedVersion { version, min, max };
            return Err(EncodeError::new("", kind).in_message(Self::NAME, version));
        }
        self.write(e, version, Self::FLEXIBLE_VERSIONS.contains(version)).map_err(|e| e.in_message(Self::NAME, version))
    }

    /// The message as one piece of memory.
    fn to_bytes(&self, version: i16) -> Result<Bytes, EncodeError> {
        let mut e = Encoder::with_capacity(self.encoded_len(version)?);
        self.encode(&mut e, version)?;
        Ok(e.into_bytes())
    }
}

/// A request, with its key and its response.
pub trait Request: Message {
    const API_KEY: ApiKey;
    type Response: Response;
}

/// A response, with its key.
pub trait Response: Message {
    const API_KEY: ApiKey;
}

/// Either half of a codec failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CodecError {
    #[error("decoding {0}")]
    Decode(#[from] DecodeError),
    #[error("encoding {0}")]
    Encode(#[from] EncodeError),
}

/// A message type as a row of a table, for tests and tools that go over all of them.
#[derive(Clone, Copy, Debug)]
pub struct MessageInfo {
    pub name: &'static str,
    pub versions: VersionRange,
    pub flexible: VersionRange,
    /// Decodes all of the bytes at the first version and encodes the result at the second.
    pub transcode: fn(Bytes, i16, i16) -> Result<Bytes, CodecError>,
    /// Encodes the default value.
    pub encode_default: fn(i16) -> Result<Bytes, EncodeError>,
}

impl MessageInfo {
    pub const fn of<M: Message>() -> Self {
        Self {
            name: M::NAME,
            versions: M::VALID_VERSIONS,
            flexible: M::FLEXIBLE_VERSIONS,
            transcode: transcode::<M>,
            encode_default: |version| M::default().to_bytes(version),
        }
    }
}

fn transcode<M: Message>(bytes: Bytes, from: i16, to: i16) -> Result<Bytes, CodecError> {
    let message = M::decode_exact(bytes, from)?;
    let expected = message.encoded_len(to)?;
    let mut e = Encoder::new();
    message.encode(&mut e, to)?;
    assert_eq!(e.len(), expected, "the length of {} v{to} was not known exactly", M::NAME);
    Ok(e.into_bytes())
}

macro_rules! number_codec {
    ($($type:ident),*) => {$(
        impl Codec for $type {
            const MIN_SIZE: usize = size_of::<$type>();

            fn read(d: &mut Decoder, _version: i16, _flex: bool) -> Result<Self, DecodeError> {
                d.$type("")
            }

            fn write(&self, e: &mut Encoder, _version: i16, _flex: bool) -> Result<(), EncodeError> {
                e.$type(*self);
                Ok(())
            }
        }
    )*};
}

number_codec!(i8, i16, i32, i64, u16, u32, f64, bool);

impl Codec for Uuid {
    const MIN_SIZE: usize = 16;

    fn read(d: &mut Decoder, _version: i16, _flex: bool) -> Result<Self, DecodeError> {
        d.uuid("")
    }

    fn write(&self, e: &mut Encoder, _version: i16, _flex: bool) -> Result<(), EncodeError> {
        e.uuid(*self);
        Ok(())
    }
}

impl Codec for Str {
    const MIN_SIZE: usize = 1;

    fn read(d: &mut Decoder, _version: i16, flex: bool) -> Result<Self, DecodeError> {
        d.string("", flex)
    }

    fn write(&self, e: &mut Encoder, _version: i16, flex: bool) -> Result<(), EncodeError> {
        e.string("", self, flex)
    }
}

impl Codec for Bytes {
    const MIN_SIZE: usize = 1;

    fn read(d: &mut Decoder, _version: i16, flex: bool) -> Result<Self, DecodeError> {
        d.bytes("", flex)
    }

    fn write(&self, e: &mut Encoder, _version: i16, flex: bool) -> Result<(), EncodeError> {
        e.bytes("", self, flex)
    }
}
