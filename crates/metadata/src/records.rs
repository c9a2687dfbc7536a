//! The records of `__cluster_metadata`, generated from the schema, and their framing.
//!
//! A record's value is `frame version, record type, record version` as unsigned varints, then the message:
//! Kafka's `MetadataRecordSerde`. Every version is read, unknown tagged fields are kept; an unknown record type
//! is an error, since a metadata image that leaves out a record would be wrong.

include!(concat!(env!("OUT_DIR"), "/records.rs"));

use bytes::Bytes;
use logrun_wire::{DecodeError, DecodeErrorKind, Decoder, EncodeError, Encoder};

/// The version of the framing itself.
pub const FRAME_VERSION: u32 = 1;

impl MetadataRecord {
    /// Reads a record's value, all of it.
    pub fn decode_value(value: Bytes) -> Result<Self, DecodeError> {
        Self::decode_versioned(value).map(|(record, _)| record)
    }

    /// Reads a record's value and says at which version it was written.
    pub fn decode_versioned(value: Bytes) -> Result<(Self, i16), DecodeError> {
        let mut d = Decoder::new(value);
        let frame = d.uvarint("frame_version")?;
        if frame != FRAME_VERSION {
            return Err(invalid("frame version", frame));
        }
        let number = d.uvarint("record_type")?;
        let record_type = i16::try_from(number).map_err(|_| invalid("record type", number))?;
        let number = d.uvarint("record_version")?;
        let version = i16::try_from(number).map_err(|_| invalid("record version", number))?;
        let record = Self::read_message(record_type, version, &mut d)?
            .ok_or_else(|| invalid("record type", record_type.unsigned_abs().into()))?;
        d.finish().map_err(|e| e.in_message(record.name(), version))?;
        Ok((record, version))
    }

    /// Writes the record as a value at `version` of its type.
    pub fn encode_value(&self, version: i16) -> Result<Bytes, EncodeError> {
        let mut counter = Encoder::counter();
        self.write_value(&mut counter, version)?;
        let mut e = Encoder::with_capacity(counter.len());
        self.write_value(&mut e, version)?;
        Ok(e.into_bytes())
    }

    fn write_value(&self, e: &mut Encoder, version: i16) -> Result<(), EncodeError> {
        e.uvarint(FRAME_VERSION);
        e.uvarint(self.record_type() as u32);
        // A negative version is refused by the message.
        e.uvarint(version.max(0) as u32);
        self.write_message(version, e)
    }
}

fn invalid(what: &'static str, value: u32) -> DecodeError {
    DecodeError::new("", DecodeErrorKind::InvalidFrame { what, value: value.into() }).in_message("MetadataRecord", 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use logrun_model::{Str, Uuid};

    #[test]
    fn the_frame_is_kafkas() {
        let record = MetadataRecord::from(TopicRecord {
            name: Str::from("demo"),
            topic_id: Uuid([7; 16]),
            ..Default::default()
        });
        let bytes = record.encode_value(0).unwrap();
        assert_eq!(bytes[..8], *b"\x01\x02\x00\x05demo");
        assert_eq!(MetadataRecord::decode_versioned(bytes).unwrap(), (record, 0));
    }

    #[test]
    fn what_is_unknown_or_left_over_is_an_error() {
        let decode = |bytes: &'static [u8]| MetadataRecord::decode_value(Bytes::from_static(bytes));
        for bytes in [
            b"".as_slice(),
            b"\x02\x02\x00",
            b"\x01\xe7\x07\x00",
            b"\x01\x02\x7f\x01\x00",
            b"\x01\xff\xff\xff\xff\x0f\x00",
            // A NoOpRecord with a byte too many.
            b"\x01\x14\x00\x00\x00",
        ] {
            assert!(decode(bytes).is_err(), "{bytes:?}");
        }
        assert!(decode(b"\x01\x14\x00\x00").is_ok());
    }
}
