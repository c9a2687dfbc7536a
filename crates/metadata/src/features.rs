//! The features of the cluster and what each `metadata.version` means for records: one table for both
//! (KIP-584, KIP-778, KIP-1022).
//!
//! ApiVersions, broker registration, UpdateFeatures and formatting all read this table. A feature that we understand
//! when we find it in a directory, but can't serve, is `understood` and not advertised. Nothing here keeps state.

use logrun_model::Str;

use crate::records::MetadataRecord;

/// The name of the feature that says in which versions records are written.
pub const METADATA_VERSION: &str = "metadata.version";
/// The version of the quorum itself. It's a control record of the log, never a FeatureLevelRecord.
pub const KRAFT_VERSION: &str = "kraft.version";
pub const GROUP_VERSION: &str = "group.version";
pub const TRANSACTION_VERSION: &str = "transaction.version";
pub const ELIGIBLE_LEADER_REPLICAS_VERSION: &str = "eligible.leader.replicas.version";
pub const SHARE_VERSION: &str = "share.version";
pub const STREAMS_VERSION: &str = "streams.version";

/// One feature that this program knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    pub name: &'static str,
    pub min: i16,
    pub max: i16,
    /// Served as Kafka serves it: advertised to clients, set when a directory is formatted, raised by UpdateFeatures.
    /// If not, a level that another program has finalized is kept in the metadata and nothing more.
    pub served: bool,
    /// The lowest `metadata.version` at which each level above 0 is set when a directory is formatted, as (level, version).
    bootstrap: &'static [(i16, i16)],
}

const fn feature(name: &'static str, min: i16, max: i16, served: bool, bootstrap: &'static [(i16, i16)]) -> Feature {
    Feature { name, min, max, served, bootstrap }
}

/// Every feature, in the order in which `kafka-storage format` writes them.
pub const FEATURES: &[Feature] = &[
    feature(METADATA_VERSION, MetadataVersion::MIN.0, MetadataVersion::LATEST.0, true, &[]),
    feature(ELIGIBLE_LEADER_REPLICAS_VERSION, 0, 1, true, &[(1, 26)]),
    feature(GROUP_VERSION, 0, 1, false, &[(1, 22)]),
    feature(KRAFT_VERSION, 0, 1, true, &[(1, 21)]),
    feature(SHARE_VERSION, 0, 1, false, &[(1, 28)]),
    feature(STREAMS_VERSION, 0, 1, false, &[(1, 29)]),
    feature(TRANSACTION_VERSION, 0, 2, false, &[(1, 24), (2, 24)]),
];

impl Feature {
    /// The feature of that name.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        FEATURES.iter().find(|f| f.name == name)
    }

    /// Those that are served: what ApiVersions lists as supported.
    pub fn served() -> impl Iterator<Item = &'static Self> {
        FEATURES.iter().filter(|f| f.served)
    }

    /// The level that a directory formatted at `version` gets, 0 for none.
    pub fn level_at_format(&self, version: MetadataVersion) -> i16 {
        if self.name == METADATA_VERSION {
            return version.0;
        }
        if self.served { self.level_of_release(version) } else { 0 }
    }

    /// The level that Apache Kafka gives it in a cluster of that release, 0 for none; whether we serve it or not.
    pub fn level_of_release(&self, version: MetadataVersion) -> i16 {
        if self.name == METADATA_VERSION {
            return version.0;
        }
        let reached = self.bootstrap.iter().filter(|(_, since)| *since <= version.0);
        reached.map(|(level, _)| *level).max().unwrap_or(0)
    }

    /// The lowest `metadata.version` without which the level can't be had, if there is one.
    pub fn needs(&self, level: i16) -> Option<MetadataVersion> {
        match (self.name, level) {
            (ELIGIBLE_LEADER_REPLICAS_VERSION, 1) => Some(MetadataVersion(23)),
            _ => None,
        }
    }

    pub const fn contains(&self, level: i16) -> bool {
        self.min <= level && level <= self.max
    }
}

/// The level of `metadata.version`: which records exist, and at which versions they're written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetadataVersion(pub i16);

/// Names by level, from [`MetadataVersion::MIN`] on.
const NAMES: &[&str] = &[
    "3.3-IV3", "3.4-IV0", "3.5-IV0", "3.5-IV1", "3.5-IV2", "3.6-IV0", "3.6-IV1", "3.6-IV2", "3.7-IV0", "3.7-IV1",
    "3.7-IV2", "3.7-IV3", "3.7-IV4", "3.8-IV0", "3.9-IV0", "4.0-IV0", "4.0-IV1", "4.0-IV2", "4.0-IV3", "4.1-IV0",
    "4.1-IV1", "4.2-IV0", "4.2-IV1", "4.3-IV0",
];

impl MetadataVersion {
    /// The oldest that Kafka 4 knows: 3.3-IV3.
    pub const MIN: Self = Self(7);
    /// 4.3-IV0.
    pub const LATEST: Self = Self(30);

    /// Kafka's name, such as `4.3-IV0`.
    pub fn name(self) -> Option<&'static str> {
        let i = usize::try_from(self.0.checked_sub(Self::MIN.0)?).ok()?;
        NAMES.get(i).copied()
    }

    /// The version of that name; `4.3` alone means its newest.
    pub fn from_name(name: &str) -> Option<Self> {
        let found = NAMES.iter().rposition(|n| *n == name || n.split_once('-').is_some_and(|(v, _)| v == name));
        found.and_then(|i| i16::try_from(i).ok()).map(|i| Self(Self::MIN.0 + i))
    }

    /// Before 3.6, an ISR that shrinks raises the leader epoch.
    pub const fn bumps_leader_epoch_on_isr_shrink(self) -> bool {
        self.0 < 12
    }

    pub const fn has_controller_registration(self) -> bool {
        self.0 >= 15
    }

    /// Partitions carry the directories of their replicas (KIP-858).
    pub const fn has_directory_assignment(self) -> bool {
        self.0 >= 17
    }

    /// Partitions carry eligible leader replicas (KIP-966).
    pub const fn has_elr(self) -> bool {
        self.0 >= 23
    }

    pub const fn has_cordoned_log_dirs(self) -> bool {
        self.0 >= 30
    }

    /// The version at which `record` is written.
    pub fn record_version(self, record: &MetadataRecord) -> i16 {
        match record {
            MetadataRecord::RegisterBroker(_) => match self.0 {
                30.. => 4,
                17.. => 3,
                8.. => 2,
                _ => 1,
            },
            MetadataRecord::Partition(_) | MetadataRecord::PartitionChange(_) => match self.0 {
                23.. => 2,
                17.. => 1,
                _ => 0,
            },
            // Only as new as its fields need, so that plain fencing reads the same everywhere.
            MetadataRecord::BrokerRegistrationChange(r) => {
                if r.cordoned_log_dirs.is_some() {
                    3
                } else if !r.log_dirs.is_empty() {
                    2
                } else {
                    i16::from(r.in_controlled_shutdown != 0)
                }
            }
            _ => 0,
        }
    }
}

/// The feature levels of a freshly formatted cluster: the bootstrap records, without `kraft.version`.
pub fn levels_at_format(version: MetadataVersion) -> Vec<(Str, i16)> {
    FEATURES
        .iter()
        .filter(|f| f.name != KRAFT_VERSION)
        .map(|f| (Str::from_static(f.name), f.level_at_format(version)))
        .filter(|(_, level)| *level > 0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{BrokerRegistrationChangeRecord, PartitionRecord, RegisterBrokerRecord, TopicRecord};

    #[test]
    fn names_are_kafkas() {
        assert_eq!(MetadataVersion::LATEST.name(), Some("4.3-IV0"));
        assert_eq!(MetadataVersion(17).name(), Some("3.7-IV2"));
        assert_eq!(MetadataVersion::from_name("4.0"), Some(MetadataVersion(25)));
        assert_eq!(MetadataVersion::from_name("3.9-IV0"), Some(MetadataVersion(21)));
        assert_eq!(MetadataVersion(31).name(), None);
        assert_eq!(MetadataVersion(i16::MIN).name(), None);
        assert_eq!(NAMES.len() as i16, MetadataVersion::LATEST.0 - MetadataVersion::MIN.0 + 1);
    }

    #[test]
    fn record_versions_follow_the_metadata_version() {
        let v = |mv, r: MetadataRecord| MetadataVersion(mv).record_version(&r);
        assert_eq!([7, 8, 17, 29, 30].map(|m| v(m, RegisterBrokerRecord::default().into())), [1, 2, 3, 3, 4]);
        assert_eq!([16, 17, 22, 23, 30].map(|m| v(m, PartitionRecord::default().into())), [0, 1, 1, 2, 2]);
        assert_eq!(v(30, TopicRecord::default().into()), 0);
        let mut change = BrokerRegistrationChangeRecord { fenced: 1, ..Default::default() };
        assert_eq!(v(30, change.clone().into()), 0);
        change.cordoned_log_dirs = Some(Vec::new());
        assert_eq!(v(30, change.into()), 3);
    }

    #[test]
    fn only_what_is_served_is_set_by_format() {
        let levels = levels_at_format(MetadataVersion::LATEST);
        let expected = [(Str::from(METADATA_VERSION), 30), (Str::from(ELIGIBLE_LEADER_REPLICAS_VERSION), 1)];
        assert_eq!(levels, expected);
        assert!(Feature::served().all(|f| f.contains(f.level_at_format(MetadataVersion::LATEST))));
    }
}
