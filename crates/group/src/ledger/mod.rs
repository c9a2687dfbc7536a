//! [`Ledger`]: what a partition of `__consumer_offsets` says, and the decisions that change it; the recorded half of
//! a shard. Kafka's `OffsetMetadataManager`, and the replaying half of `GroupMetadataManager`.
//!
//! It holds committed offsets, the last GroupMetadata record of each classic group, and which other groups are
//! there. It knows nothing of who is parked where: what a decision needs of that comes in its command.

mod commit;
mod entry;
mod foreign;
mod offsets;

use std::collections::BTreeMap;
use std::sync::Arc;

use logrun_coordinator::records::group::{GroupMetadataKey, GroupMetadataValue, OffsetCommitKey};
use logrun_coordinator::{Decision, Recorded};
use logrun_model::{GroupId, Now, Offset, Str, TopicId};
use logrun_wire::messages::offset_fetch_request::OffsetFetchRequestGroup;
use logrun_wire::messages::{OffsetCommitRequest, OffsetDeleteRequest};

use crate::classic::{Expiry, Subscribed};
use crate::config::GroupConfig;
use crate::request::Response;

pub(crate) use entry::{Entry, ForeignKind};
use foreign::Foreign;
use offsets::Offsets;

/// How many bytes of tombstones go into one append, at least one of them: far below what any `max.message.bytes` refuses.
const TOMBSTONE_BYTES_AT_ONCE: usize = 16 << 10;
/// What a tombstone takes beside its names, at most: the lengths and numbers of its key and of its record.
const TOMBSTONE_OVERHEAD: usize = 24;

/// What the ledger decides. Membership has been checked before.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    CommitOffsets(Arc<OffsetCommitRequest>),
    FetchOffsets {
        group: Arc<OffsetFetchRequestGroup>,
        require_stable: bool,
    },
    DeleteOffsets {
        request: Arc<OffsetDeleteRequest>,
        subscribed: Subscribed,
    },
    /// Writes a classic group's record; the reply is [`Reply::Done`].
    WriteGroup {
        group_id: GroupId,
        value: GroupMetadataValue,
    },
    /// Buries an append full of the group's offsets and, with the last of them, the group.
    DeleteGroup {
        group_id: GroupId,
    },
    /// Buries the records of a group of another kind; its offsets stay.
    BuryForeign {
        group_id: GroupId,
    },
    /// Buries an append full of expired offsets and, if none is left and it is empty, the group.
    Expire {
        group_id: GroupId,
        expiry: Expiry,
        subscribed: Subscribed,
        is_empty: bool,
    },
    /// Buries an append full of offsets of a deleted topic.
    TopicDeleted {
        name: Str,
        topic_id: TopicId,
    },
    /// A reply that was made of soft state: it leaves after all that was written before it is committed.
    Tell(Response),
}

/// What comes of a command.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reply {
    Response(Response),
    Done,
}

/// The replayed state.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ledger {
    offset_metadata_max_bytes: i32,
    offsets_retention_ms: i64,
    offsets: Offsets,
    groups: BTreeMap<GroupId, GroupMetadataValue>,
    foreign: BTreeMap<GroupId, Foreign>,
}

impl Ledger {
    /// An empty ledger.
    pub fn new(config: &GroupConfig) -> Self {
        Self {
            offset_metadata_max_bytes: config.offset_metadata_max_bytes,
            offsets_retention_ms: config.offsets_retention_ms,
            offsets: Offsets::default(),
            groups: BTreeMap::new(),
            foreign: BTreeMap::new(),
        }
    }

    /// The classic groups that have a record, in order.
    pub fn classic_groups(&self) -> impl Iterator<Item = (&GroupId, &GroupMetadataValue)> {
        self.groups.iter()
    }

    /// The groups of other kinds, in order: their kind, and whether they have no members.
    pub fn foreign_groups(&self) -> impl Iterator<Item = (&GroupId, ForeignKind, bool)> {
        self.foreign.iter().map(|(id, f)| (id, f.kind, !f.has_members()))
    }

    /// The kind of a group that is not classic, and whether it has no members.
    pub fn foreign(&self, group_id: &str) -> Option<(ForeignKind, bool)> {
        self.foreign.get(group_id).map(|f| (f.kind, !f.has_members()))
    }

    /// The groups that have offsets but neither a record nor another kind: "simple" ones (Kafka's word), of
    /// consumers that do without membership.
    pub fn simple_groups(&self) -> impl Iterator<Item = &GroupId> {
        self.offsets.groups().filter(|id| !self.groups.contains_key(*id) && !self.foreign.contains_key(*id))
    }

    /// Whether the log says anything of the group.
    pub fn knows(&self, group_id: &str) -> bool {
        self.groups.contains_key(group_id) || self.foreign.contains_key(group_id) || self.offsets.has_group(group_id)
    }

    fn delete_group(&self, group_id: &GroupId) -> Vec<Entry> {
        let (mut records, is_last) = tombstones(self.offsets.keys_of_group(group_id));
        if is_last {
            records.extend(self.group_tombstone(group_id));
            records.extend(self.foreign_tombstones(group_id));
        }
        records
    }

    fn foreign_tombstones(&self, group_id: &GroupId) -> Vec<Entry> {
        self.foreign.get(group_id).map(|f| f.tombstones(group_id).collect()).unwrap_or_default()
    }

    fn group_tombstone(&self, group_id: &GroupId) -> Option<Entry> {
        let key = || GroupMetadataKey { group: group_id.clone() };
        self.groups.contains_key(group_id).then(|| Entry::Group { key: key(), value: None })
    }

    /// KIP-211. An offset whose topic is consumed does not expire, nor one with something pending above it.
    fn expire(&self, now: Now, group_id: &GroupId, expiry: Expiry, subscribed: &Subscribed, empty: bool) -> Vec<Entry> {
        let mut keys = Vec::new();
        let mut remains = self.offsets.has_pending(group_id);
        for (topic, partitions) in self.offsets.of_group(group_id).into_iter().flatten() {
            let consumed = subscribed.contains(topic);
            for (partition, committed) in partitions {
                let expired = !consumed
                    && self.is_expired(now, expiry, committed)
                    && !self.offsets.is_pending(group_id, topic, *partition);
                if expired {
                    let (group, topic) = (group_id.clone(), topic.clone());
                    keys.push(OffsetCommitKey { group, topic, partition: *partition });
                } else {
                    remains = true;
                }
            }
        }
        let (mut records, is_last) = tombstones(keys);
        if empty && is_last && !remains {
            records.extend(self.group_tombstone(group_id));
        }
        records
    }

    fn is_expired(&self, now: Now, expiry: Expiry, committed: &offsets::Committed) -> bool {
        if committed.expire_timestamp.is_some() {
            // A retention time of its own counts whatever the group does; but nothing expires under a rebalance.
            return expiry != Expiry::Never && now.wall >= committed.expire_timestamp;
        }
        let since = match expiry {
            Expiry::Never => return false,
            Expiry::SinceCommit => committed.commit_timestamp,
            Expiry::Since(emptied) => emptied,
        };
        now.wall.since_ms(since) >= self.offsets_retention_ms
    }
}

/// Tombstones for the first of `keys`, as many as go into one append, and whether these are all.
fn tombstones(keys: Vec<OffsetCommitKey>) -> (Vec<Entry>, bool) {
    let mut bytes = 0;
    let fitting = keys.iter().take_while(|key| {
        let is_first = bytes == 0;
        bytes += key.group.len() + key.topic.len() + TOMBSTONE_OVERHEAD;
        is_first || bytes <= TOMBSTONE_BYTES_AT_ONCE
    });
    let (count, all) = (fitting.count(), keys.len());
    (keys.into_iter().take(count).map(tombstone).collect(), count == all)
}

fn tombstone(key: OffsetCommitKey) -> Entry {
    Entry::offset(key, None)
}

impl Recorded for Ledger {
    type Command = Command;
    type Record = Entry;
    type Reply = Reply;

    fn decide(&self, now: Now, command: Command) -> Decision<Entry, Reply> {
        let records = match command {
            Command::CommitOffsets(request) => {
                let (records, response) = self.commit_offsets(now, &request);
                return Decision { records, reply: Reply::Response(Response::OffsetCommit(response)) };
            }
            Command::DeleteOffsets { request, subscribed } => {
                let (records, response) = self.delete_offsets(&request, &subscribed);
                return Decision { records, reply: Reply::Response(Response::OffsetDelete(response)) };
            }
            Command::FetchOffsets { group, require_stable } => {
                let response = self.fetch_offsets(&group, require_stable);
                return Decision::reply(Reply::Response(Response::OffsetFetch(response)));
            }
            Command::Tell(response) => return Decision::reply(Reply::Response(response)),
            Command::WriteGroup { group_id, value } => {
                let key = GroupMetadataKey { group: group_id };
                vec![Entry::Group { key, value: Some(value) }]
            }
            Command::DeleteGroup { group_id } => self.delete_group(&group_id),
            Command::BuryForeign { group_id } => self.foreign_tombstones(&group_id),
            Command::Expire { group_id, expiry, subscribed, is_empty } => {
                self.expire(now, &group_id, expiry, &subscribed, is_empty)
            }
            Command::TopicDeleted { name, topic_id } => tombstones(self.offsets.keys_of_topic(&name, topic_id)).0,
        };
        Decision { records, reply: Reply::Done }
    }

    fn replay(&mut self, record: &Entry) {
        self.replay_at(Offset::NONE, record);
    }

    fn replay_at(&mut self, offset: Offset, record: &Entry) {
        match record {
            Entry::Offset { producer_id, key, value } => {
                self.offsets.replay(offset, *producer_id, key, value.as_ref());
            }
            Entry::Group { key, value: Some(value) } => {
                self.groups.insert(key.group.detached(), value.clone());
            }
            Entry::Group { key, value: None } => {
                self.groups.remove(&key.group);
            }
            Entry::Foreign(record) => foreign::replay(&mut self.foreign, record),
            Entry::EndTransaction { producer_id, committed } => self.offsets.end_transaction(*producer_id, *committed),
        }
    }
}
