//! The records of `__cluster_metadata`, of the remote log metadata topic, and the control records of every log, as JSON.

use bytes::Bytes;
use logrun_record::ControlRecordType;
use logrun_wire::{DecodeError, DecodeErrorKind, Decoder};

use super::describe::{DATA, Kind, METADATA, Message, STORAGE, find, named};
use super::json::Json;

/// The version of the framing (Kafka's `AbstractApiMessageSerde`).
const FRAME_VERSION: u32 = 1;

/// A metadata record: its Kafka name (`TOPIC_RECORD`), its version and its fields.
///
/// # Errors
/// The bytes are not a metadata record that the schema describes.
pub fn metadata_record(value: Bytes) -> Result<(String, i16, Json), DecodeError> {
    framed(METADATA, value)
}

/// A record of the remote log metadata topic, which has the same framing.
///
/// # Errors
/// The bytes are not such a record.
pub fn remote_metadata_record(value: Bytes) -> Result<(String, i16, Json), DecodeError> {
    framed(STORAGE, value)
}

fn framed(messages: &'static [Message], value: Bytes) -> Result<(String, i16, Json), DecodeError> {
    let mut d = Decoder::new(value);
    let invalid = |what, value: u32| {
        let kind = DecodeErrorKind::InvalidFrame { what, value: value.into() };
        DecodeError::new("", kind).in_message("MetadataRecord", 0)
    };
    let frame = d.uvarint("frame version")?;
    if frame != FRAME_VERSION {
        return Err(invalid("frame version", frame));
    }
    let number = d.uvarint("type")?;
    let version = d.uvarint("version")?;
    let message = i16::try_from(number).ok().and_then(|number| find(messages, Kind::Metadata, number));
    let message = message.ok_or_else(|| invalid("record type", number))?;
    let version = i16::try_from(version).map_err(|_| invalid("record version", version))?;
    let data = message.read(&mut d, version)?;
    d.finish().map_err(|e| e.in_message(message.name, version))?;
    Ok((upper_case(message.name), version, data))
}

/// `NoOpRecord` as `NO_OP_RECORD`.
fn upper_case(name: &str) -> String {
    let mut out = String::new();
    for (i, c) in name.char_indices() {
        if i > 0 && c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_uppercase());
    }
    out
}

/// The value of a control record of the quorum, at the version that it begins with; `None` for the types that have none
/// of the schema's messages as their value (transaction markers, unknown ones).
///
/// # Errors
/// The bytes are not such a message.
pub fn control_record(kind: ControlRecordType, value: Bytes) -> Result<Option<Json>, DecodeError> {
    let name = match kind {
        ControlRecordType::LeaderChange => "LeaderChangeMessage",
        ControlRecordType::SnapshotHeader => "SnapshotHeaderRecord",
        ControlRecordType::SnapshotFooter => "SnapshotFooterRecord",
        ControlRecordType::KRaftVersion => "KRaftVersionRecord",
        ControlRecordType::KRaftVoters => "VotersRecord",
        ControlRecordType::Abort | ControlRecordType::Commit | ControlRecordType::Unknown(_) => return Ok(None),
    };
    let Some(message) = named(DATA, name) else { return Ok(None) };
    // The version is the first field of the message itself.
    let version = Decoder::new(value.clone()).i16("version")?;
    message.read(&mut Decoder::new(value), version).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_record() {
        let value = [b"\x01\x02\x00\x05demo".as_slice(), &[7; 16], b"\0"].concat();
        let (name, version, data) = metadata_record(value.into()).expect("a record");
        assert_eq!((name.as_str(), version), ("TOPIC_RECORD", 0));
        assert_eq!(data.to_string(), r#"{"name":"demo","topicId":"BwcHBwcHBwcHBwcHBwcHBw"}"#);
    }

    #[test]
    fn tagged_fields_with_their_default_are_left_out() {
        // PartitionChangeRecord 0: partition id, topic id, then tags: leader (1) = −2, its default, and isr (0).
        let head = [b"\x01\x05\x00".as_slice(), &3i32.to_be_bytes(), &[7; 16]].concat();
        let tags = b"\x02\x00\x05\x02\0\0\0\x01\x01\x04\xff\xff\xff\xfe";
        let (name, _, data) = metadata_record([head, tags.to_vec()].concat().into()).expect("a record");
        assert_eq!(name, "PARTITION_CHANGE_RECORD");
        assert_eq!(data.to_string(), r#"{"partitionId":3,"topicId":"BwcHBwcHBwcHBwcHBwcHBw","isr":[1]}"#);
    }

    #[test]
    fn hostile_bytes_are_errors() {
        for bytes in [b"".as_slice(), b"\x02\x02\x00", b"\x01\xe7\x07\x00", b"\x01\x03\x00\xff\xff\xff\xff\x0f"] {
            assert!(metadata_record(Bytes::copy_from_slice(bytes)).is_err(), "{bytes:?}");
        }
        assert!(control_record(ControlRecordType::KRaftVoters, Bytes::from_static(b"\0")).is_err());
    }

    #[test]
    fn a_leader_change() {
        let value = [b"\0\0".as_slice(), &1i32.to_be_bytes(), b"\x02", &1i32.to_be_bytes(), b"\0\x01\0"].concat();
        let json = control_record(ControlRecordType::LeaderChange, value.into()).expect("sound").expect("shown");
        assert_eq!(json.to_string(), r#"{"version":0,"leaderId":1,"voters":[{"voterId":1}],"grantingVoters":[]}"#);
    }
}
