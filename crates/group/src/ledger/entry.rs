//! [`Entry`]: a record of `__consumer_offsets` as the ledger replays it.
//!
//! Of KIP-848, share and streams groups only the key is read: enough to know that the group is there, who is in it
//! and which keys to bury. Their values, and records of unknown types, are never touched.

use bytes::Bytes;
use logrun_coordinator::records::GroupRecord;
use logrun_coordinator::records::group::{GroupMetadataKey, GroupMetadataValue, OffsetCommitKey, OffsetCommitValue};
use logrun_model::{GroupId, ProducerId, Str};
use logrun_wire::{DecodeError, Decoder, EncodeError};

/// `GroupMetadataValue` as Kafka 4 writes it: the last version before tagged fields.
const GROUP_METADATA_VERSION: i16 = 3;
/// `OffsetCommitValue` as Kafka 4.3 writes it, with the topic id.
const OFFSET_COMMIT_VERSION: i16 = 4;
/// The only version that bears an expiry of its own (OffsetCommit v2–4 with a retention time).
const OFFSET_COMMIT_WITH_EXPIRY_VERSION: i16 = 1;

/// What kind of group a foreign record belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ForeignKind {
    Consumer,
    Share,
    Streams,
}

impl ForeignKind {
    /// Kafka's name of the group type, and of the protocol type of such a group.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Consumer => "consumer",
            Self::Share => "share",
            Self::Streams => "streams",
        }
    }

    const fn of(record_type: i16) -> Option<Self> {
        match record_type {
            3..=8 | 16 => Some(Self::Consumer),
            10..=15 => Some(Self::Share),
            17..=23 => Some(Self::Streams),
            _ => None,
        }
    }
}

/// A record of a group that is not classic: its key, and whether it is a tombstone.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ForeignRecord {
    pub kind: ForeignKind,
    pub group_id: GroupId,
    /// Set in the records that say that a member is in the group.
    pub member_id: Option<Str>,
    /// As in the log, with the record type.
    pub key: Bytes,
    pub is_tombstone: bool,
}

/// A record as the ledger takes it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Entry {
    Offset {
        producer_id: ProducerId,
        key: OffsetCommitKey,
        value: Option<OffsetCommitValue>,
    },
    Group {
        key: GroupMetadataKey,
        value: Option<GroupMetadataValue>,
    },
    Foreign(ForeignRecord),
    /// A transaction marker: the end of what the producer committed transactionally.
    EndTransaction {
        producer_id: ProducerId,
        committed: bool,
    },
}

impl Entry {
    pub fn offset(key: OffsetCommitKey, value: Option<OffsetCommitValue>) -> Self {
        Self::Offset { producer_id: ProducerId::NONE, key, value }
    }

    /// Reads a record of the log. `None` for a type that is not known: it is skipped, and stays in the log.
    pub fn decode(producer_id: ProducerId, key: Bytes, value: Option<Bytes>) -> Result<Option<Self>, DecodeError> {
        let mut d = Decoder::new(key.clone());
        let record_type = d.i16("record_type")?;
        if let Some(kind) = ForeignKind::of(record_type) {
            let group_id = d.string("group_id", false)?.detached();
            // ConsumerGroupMemberMetadata, ShareGroupMemberMetadata, StreamsGroupMemberMetadata.
            let names_member = matches!(record_type, 5 | 10 | 19);
            let member_id = if names_member { Some(d.string("member_id", false)?.detached()) } else { None };
            let key = Bytes::copy_from_slice(&key);
            let is_tombstone = value.is_none();
            return Ok(Some(Self::Foreign(ForeignRecord { kind, group_id, member_id, key, is_tombstone })));
        }
        if !matches!(record_type, 0..=2) {
            return Ok(None);
        }
        // A group is kept as it was read: on its own, so that it holds no more than itself of what a load reads.
        let (key, value) = match record_type {
            2 => (Bytes::copy_from_slice(&key), value.as_deref().map(Bytes::copy_from_slice)),
            _ => (key, value),
        };
        Ok(match GroupRecord::decode(key, value)? {
            GroupRecord::OffsetCommit { key, value } => Some(Self::Offset { producer_id, key, value }),
            GroupRecord::LegacyOffsetCommit { key, value } => {
                let key = OffsetCommitKey { group: key.group, topic: key.topic, partition: key.partition };
                let value = value.map(|v| OffsetCommitValue {
                    offset: v.offset,
                    metadata: v.metadata,
                    commit_timestamp: v.commit_timestamp,
                    ..Default::default()
                });
                Some(Self::Offset { producer_id, key, value })
            }
            GroupRecord::GroupMetadata { key, value } => Some(Self::Group { key, value }),
            _ => None,
        })
    }

    /// Key and value as they go into the log; `None` for a marker, which is not a record of this kind.
    pub fn encode(&self) -> Result<Option<(Bytes, Option<Bytes>)>, EncodeError> {
        match self {
            Self::Offset { key, value, .. } => {
                let has_expiry = value.as_ref().is_some_and(|v| v.expire_timestamp != -1);
                let version = if has_expiry { OFFSET_COMMIT_WITH_EXPIRY_VERSION } else { OFFSET_COMMIT_VERSION };
                let record = GroupRecord::OffsetCommit { key: key.clone(), value: value.clone() };
                record.encode(version).map(Some)
            }
            Self::Group { key, value } => {
                let record = GroupRecord::GroupMetadata { key: key.clone(), value: value.clone() };
                record.encode(GROUP_METADATA_VERSION).map(Some)
            }
            Self::Foreign(record) => Ok(Some((record.key.clone(), None))),
            Self::EndTransaction { .. } => Ok(None),
        }
    }
}
