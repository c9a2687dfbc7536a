//! Kafka's wire protocol: frames, primitives, API keys, error codes and every message, generated from `schema/`.
//!
//! - [`messages`]: one module per message; all message types are re-exported from it.
//! - [`Message`], [`Request`]: what every message can do. [`Decoder`] slices the frame, never copies it;
//!   [`Encoder`] keeps large bytes as segments of their own, so records go out without being copied.
//! - [`frame`]: headers and the length prefix, both directions.
//! - [`Records`]: record batches, opaque, in the slices in which a log keeps them.
//! - [`ApiKey`], [`ErrorCode`]: Kafka's tables.
//!
//! Nothing here does IO or knows what a message means. Input is hostile: an error, never a panic, and no
//! allocation beyond what the bytes that are there could fill.

mod api_key;
mod codec;
mod decoder;
mod encoder;
mod error;
mod error_code;
pub mod frame;
pub mod messages;
mod records;

pub use api_key::{ApiKey, Listener};
pub use codec::{Codec, CodecError, Message, MessageInfo, RawTaggedField, Request, Response, VersionRange};
pub use decoder::Decoder;
pub use encoder::{Encoder, RawTags, SEGMENT_MIN};
pub use error::{DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind};
pub use error_code::ErrorCode;
pub use frame::{HeaderError, RequestHeader, ResponseHeader};
pub use records::{Elsewhere, Piece, Records};

/// What generated code needs, here and in the crates that generate log records.
#[doc(hidden)]
pub mod prelude {
    pub use crate::codec::{Codec, CodecError, Message, MessageInfo, RawTaggedField, Request, Response, VersionRange};
    pub use crate::decoder::Decoder;
    pub use crate::encoder::{Encoder, RawTags, not_null};
    pub use crate::error::{DecodeError, EncodeError};
    pub use crate::records::Records;
    pub use bytes::Bytes;
    pub use logrun_model::{Str, Uuid};
}
