//! Groups that are not classic (KIP-848 consumer groups, share and streams groups), found in a log that Apache Kafka
//! wrote: seen, never changed, except that one without members may be deleted or become classic, as in Kafka.

use std::collections::BTreeMap;

use bytes::Bytes;
use logrun_model::{GroupId, Str};

use super::entry::{Entry, ForeignKind, ForeignRecord};

/// What the log holds of such a group.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Foreign {
    pub kind: ForeignKind,
    /// The keys of its records, and the member that one says is in the group.
    keys: BTreeMap<Bytes, Option<Str>>,
}

impl Foreign {
    pub fn has_members(&self) -> bool {
        self.keys.values().any(Option::is_some)
    }

    /// Buries all of its records, those of the lowest type last: a consumer group's own goes after its members', as
    /// Kafka does it. Readers can't rely on that, since compaction keeps no such order.
    pub fn tombstones(&self, group_id: &GroupId) -> impl Iterator<Item = Entry> {
        self.keys.iter().rev().map(|(key, member_id)| {
            Entry::Foreign(ForeignRecord {
                kind: self.kind,
                group_id: group_id.clone(),
                member_id: member_id.clone(),
                key: key.clone(),
                is_tombstone: true,
            })
        })
    }
}

pub(super) fn replay(groups: &mut BTreeMap<GroupId, Foreign>, record: &ForeignRecord) {
    let ForeignRecord { kind, group_id, member_id, key, is_tombstone } = record;
    if !is_tombstone {
        let group = groups.entry(group_id.clone());
        let group = group.or_insert_with(|| Foreign { kind: *kind, keys: BTreeMap::new() });
        group.kind = *kind;
        group.keys.insert(key.clone(), member_id.clone());
    } else if let Some(group) = groups.get_mut(group_id) {
        group.keys.remove(key);
        if group.keys.is_empty() {
            groups.remove(group_id);
        }
    }
}
