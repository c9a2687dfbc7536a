//! The records of `__consumer_offsets`, `__transaction_state` and `__share_group_state`, generated from the
//! schema, and their framing: Kafka's `CoordinatorRecordSerde`.
//!
//! A key is the record type (16 bits) and the key message at version 0; a value is its version (16 bits) and the
//! value message; no value is a tombstone. A record of an unknown type is kept as it is, so that nothing that a
//! newer node wrote is lost.

use bytes::Bytes;
use logrun_wire::{DecodeError, DecodeErrorKind, Decoder, EncodeError, Encoder, Message};

/// Records of the group coordinator: classic, consumer, share and streams groups, and committed offsets.
pub mod group {
    include!(concat!(env!("OUT_DIR"), "/group.rs"));
}

/// Records of the transaction coordinator.
pub mod transaction {
    include!(concat!(env!("OUT_DIR"), "/transaction.rs"));
}

/// Records of the share coordinator.
pub mod share {
    include!(concat!(env!("OUT_DIR"), "/share.rs"));
}

pub use group::GroupRecord;
pub use share::ShareRecord;
pub use transaction::TransactionRecord;

/// Keys have one version; what would be a version there is the record type.
const KEY_VERSION: i16 = 0;

fn read_type(key: &Bytes) -> Result<i16, DecodeError> {
    let record_type = Decoder::new(key.clone()).i16("record_type")?;
    if record_type < 0 {
        let kind = DecodeErrorKind::InvalidFrame { what: "record type", value: record_type.into() };
        return Err(DecodeError::new("record_type", kind));
    }
    Ok(record_type)
}

fn read_key<K: Message>(key: Bytes) -> Result<K, DecodeError> {
    let mut d = Decoder::new(key);
    d.i16("record_type")?;
    let message = K::decode(&mut d, KEY_VERSION)?;
    d.finish().map_err(|e| e.in_message(K::NAME, KEY_VERSION))?;
    Ok(message)
}

fn read_value<V: Message>(value: Option<Bytes>) -> Result<Option<V>, DecodeError> {
    let Some(value) = value else { return Ok(None) };
    let mut d = Decoder::new(value);
    let version = d.i16("value_version")?;
    let message = V::decode(&mut d, version)?;
    d.finish().map_err(|e| e.in_message(V::NAME, version))?;
    Ok(Some(message))
}

fn write<K: Message, V: Message>(
    record_type: i16,
    key: &K,
    value: Option<&V>,
    value_version: i16,
) -> Result<(Bytes, Option<Bytes>), EncodeError> {
    let key = prefixed(record_type, key, KEY_VERSION)?;
    let value = value.map(|v| prefixed(value_version, v, value_version)).transpose()?;
    Ok((key, value))
}

fn prefixed<M: Message>(prefix: i16, message: &M, version: i16) -> Result<Bytes, EncodeError> {
    let mut e = Encoder::with_capacity(2 + message.encoded_len(version)?);
    e.i16(prefix);
    message.encode(&mut e, version)?;
    Ok(e.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use group::{OffsetCommitKey, OffsetCommitValue};
    use logrun_model::Str;

    #[test]
    fn an_offset_commit_is_kafkas() {
        let record = GroupRecord::OffsetCommit {
            key: OffsetCommitKey { group: Str::from("g"), topic: Str::from("t"), partition: 3 },
            value: Some(OffsetCommitValue { offset: 9, commit_timestamp: 5, ..Default::default() }),
        };
        let (key, value) = record.encode(3).unwrap();
        assert_eq!(key, Bytes::from_static(b"\x00\x01\x00\x01g\x00\x01t\x00\x00\x00\x03"));
        let value = value.unwrap();
        assert_eq!(value, Bytes::from_static(b"\x00\x03\0\0\0\0\0\0\0\x09\xff\xff\xff\xff\x00\x00\0\0\0\0\0\0\0\x05"));
        assert_eq!(GroupRecord::decode(key.clone(), Some(value)).unwrap(), record);
        let tombstone = GroupRecord::decode(key, None).unwrap();
        assert!(tombstone.is_tombstone());
        assert_eq!(tombstone.record_type(), 1);
    }

    #[test]
    fn an_unknown_type_is_kept() {
        let (key, value) = (Bytes::from_static(b"\x7f\x00xyz"), Some(Bytes::from_static(b"?")));
        let record = GroupRecord::decode(key.clone(), value.clone()).unwrap();
        assert_eq!(record.record_type(), 0x7f00);
        assert_eq!(record.encode(0).unwrap(), (key, value));
    }

    #[test]
    fn what_is_broken_is_an_error() {
        let decode = |k: &'static [u8], v: &'static [u8]| {
            GroupRecord::decode(Bytes::from_static(k), Some(Bytes::from_static(v)))
        };
        assert!(decode(b"\x00", b"").is_err());
        assert!(decode(b"\xff\xff", b"").is_err());
        assert!(decode(b"\x00\x02\x00\x01g\x00", b"").is_err(), "a byte too many");
        assert!(decode(b"\x00\x02\x00\x01g", b"\x00").is_err());
        assert!(decode(b"\x00\x02\x00\x01g", b"\x00\x63").is_err(), "a version that is not known");
    }
}
