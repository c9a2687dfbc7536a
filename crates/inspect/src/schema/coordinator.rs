//! The records of `__consumer_offsets`, `__transaction_state` and `__share_group_state` as JSON, as Apache Kafka's
//! `DumpLogSegments` shows them.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use logrun_wire::{DecodeError, Decoder};

use super::describe::{DATA, GROUP, Kind, Message, SHARE, TRANSACTION, find, named};
use super::json::Json;

/// Keys have one version.
const KEY_VERSION: i16 = 0;
/// The protocol type of consumers, whose members' bytes have a meaning that is known.
const CONSUMER: &str = "consumer";

/// Whose log a record is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoordinatorLog {
    Group,
    Transaction,
    Share,
}

/// A record's parts in text.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    pub key: Json,
    /// None is a tombstone.
    pub value: Option<Json>,
    /// The name of the record's type: `OffsetCommit`.
    pub name: &'static str,
}

/// Why a record can't be shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotShown {
    #[error("its type {0} is unknown")]
    UnknownType(i16),
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl CoordinatorLog {
    /// The log that the topic of that name is.
    pub fn of_topic(topic: &str) -> Option<Self> {
        match topic {
            "__consumer_offsets" => Some(Self::Group),
            "__transaction_state" => Some(Self::Transaction),
            "__share_group_state" => Some(Self::Share),
            _ => None,
        }
    }

    const fn messages(self) -> &'static [Message] {
        match self {
            Self::Group => GROUP,
            Self::Transaction => TRANSACTION,
            Self::Share => SHARE,
        }
    }

    /// The record with this key and value: the key as `{"type", "data"}`, the value as `{"version", "data"}`.
    ///
    /// # Errors
    /// The type is unknown, or the bytes are not such a record.
    pub fn show(self, key: Bytes, value: Option<Bytes>) -> Result<Shown, NotShown> {
        let mut d = Decoder::new(key);
        let number = d.i16("type")?;
        let of = |kind| find(self.messages(), kind, number).ok_or(NotShown::UnknownType(number));
        let (key_message, value_message) = (of(Kind::Key)?, of(Kind::Value)?);
        let data = key_message.read(&mut d, KEY_VERSION)?;
        let key = Json::Object(vec![("type", number.to_string().into()), ("data", data)]);
        let value = match value {
            None => None,
            Some(bytes) => {
                let mut d = Decoder::new(bytes);
                let version = d.i16("version")?;
                let mut data = value_message.read(&mut d, version)?;
                if value_message.name == "GroupMetadataValue" {
                    open_members(&mut data);
                }
                Some(Json::Object(vec![("version", version.to_string().into()), ("data", data)]))
            }
        };
        Ok(Shown { key, value, name: key_message.name.trim_end_matches("Key") })
    }
}

/// Puts the members' subscriptions and assignments in place of their bytes, where they can be read.
fn open_members(group: &mut Json) {
    if group.get("protocolType").and_then(Json::as_text) != Some(CONSUMER) {
        return;
    }
    let Some(members) = group.get_mut("members") else { return };
    for member in members.elements_mut() {
        for (field, message) in
            [("subscription", "ConsumerProtocolSubscription"), ("assignment", "ConsumerProtocolAssignment")]
        {
            let Some(place) = member.get_mut(field) else { continue };
            if let Some(opened) = place
                .as_text()
                .and_then(|text| BASE64_STANDARD.decode(text).ok())
                .and_then(|bytes| open(message, bytes.into()))
            {
                *place = opened;
            }
        }
    }
}

fn open(message: &str, bytes: Bytes) -> Option<Json> {
    let mut d = Decoder::new(bytes);
    let version = d.i16("version").ok()?;
    named(DATA, message)?.read(&mut d, version).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(parts: &[&[u8]]) -> Bytes {
        parts.concat().into()
    }

    #[test]
    fn an_offset_commit_and_its_tombstone() {
        let key = bytes(&[b"\0\x01", b"\0\x01g", b"\0\x01t", b"\0\0\0\x07"]);
        let value = bytes(&[b"\0\x03", &42i64.to_be_bytes(), &(-1i32).to_be_bytes(), b"\0\0", &9i64.to_be_bytes()]);
        let shown = CoordinatorLog::Group.show(key.clone(), Some(value)).expect("a commit");
        assert_eq!(shown.name, "OffsetCommit");
        assert_eq!(shown.key.to_string(), r#"{"type":"1","data":{"group":"g","topic":"t","partition":7}}"#);
        assert_eq!(
            shown.value.expect("a value").to_string(),
            r#"{"version":"3","data":{"offset":42,"leaderEpoch":-1,"metadata":"","commitTimestamp":9}}"#
        );
        assert_eq!(CoordinatorLog::Group.show(key, None).expect("a tombstone").value, None);
    }

    #[test]
    fn what_is_unknown_or_cut_is_told_apart() {
        let show = |key: &'static [u8]| CoordinatorLog::Transaction.show(Bytes::from_static(key), None);
        assert_eq!(show(b"\x7f\0"), Err(NotShown::UnknownType(0x7f00)));
        assert!(matches!(show(b"\0\0\0\x05ab"), Err(NotShown::Decode(_))));
        assert!(matches!(show(b""), Err(NotShown::Decode(_))));
    }

    #[test]
    fn members_are_opened_where_they_can_be() {
        let subscription = bytes(&[b"\0\0", b"\0\0\0\x01", b"\0\x01t", b"\xff\xff\xff\xff"]);
        let member = |subscription: &[u8]| {
            Json::Object(vec![("subscription", BASE64_STANDARD.encode(subscription).into()), ("assignment", "".into())])
        };
        let group =
            |member| Json::Object(vec![("protocolType", "consumer".into()), ("members", Json::Array(vec![member]))]);
        let mut opened = group(member(&subscription));
        open_members(&mut opened);
        assert_eq!(
            opened.get("members").expect("members").to_string(),
            r#"[{"subscription":{"topics":["t"],"userData":null},"assignment":""}]"#
        );
        let mut kept = group(member(b"\0\0\xff"));
        open_members(&mut kept);
        assert_eq!(kept, group(member(b"\0\0\xff")));
    }
}
