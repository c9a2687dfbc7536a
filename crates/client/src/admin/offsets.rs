//! Offsets of partitions by time, and deletion of the records before an offset.

use std::collections::BTreeMap;

use logrun_config::IsolationLevel;
use logrun_model::TopicPartition;
use logrun_wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use logrun_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use logrun_wire::messages::{DeleteRecordsRequest, ListOffsetsRequest};

use super::{Admin, Each, by_topic};
use crate::error::check;

/// Which offset is asked for: Kafka's `OffsetSpec`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OffsetSpec {
    /// The first one.
    Earliest,
    /// The one that the next record will get, or with `read_committed` the last stable offset.
    Latest,
    /// That of the record with the highest timestamp (KIP-734).
    MaxTimestamp,
    /// The first one that the broker itself has, with tiered storage.
    EarliestLocal,
    /// The last one that lies in the tiered storage.
    LatestTiered,
    /// The first one that isn't in the tiered storage yet (KIP-1023).
    EarliestPendingUpload,
    /// The first one whose timestamp, in milliseconds, is this or later.
    Timestamp(i64),
}

impl OffsetSpec {
    /// The timestamp that stands for it on the wire.
    pub const fn timestamp(self) -> i64 {
        match self {
            Self::Latest => -1,
            Self::Earliest => -2,
            Self::MaxTimestamp => -3,
            Self::EarliestLocal => -4,
            Self::LatestTiered => -5,
            Self::EarliestPendingUpload => -6,
            Self::Timestamp(ms) => ms,
        }
    }

    /// The first version of ListOffsets that knows it.
    const fn since(self) -> i16 {
        match self {
            Self::MaxTimestamp => 7,
            Self::EarliestLocal => 8,
            Self::LatestTiered => 9,
            Self::EarliestPendingUpload => 11,
            Self::Latest | Self::Earliest | Self::Timestamp(_) => 1,
        }
    }
}

/// An offset that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedOffset {
    /// The offset; `None` if no record is that late.
    pub offset: Option<i64>,
    /// The timestamp of its record, if it is known.
    pub timestamp: Option<i64>,
    /// The epoch of the leader that wrote it, if it is known.
    pub leader_epoch: Option<i32>,
}

impl Admin {
    /// The offsets of partitions by these specifications.
    pub async fn list_offsets(
        &self,
        specs: &BTreeMap<TopicPartition, OffsetSpec>,
        isolation: IsolationLevel,
    ) -> Each<TopicPartition, ListedOffset> {
        let isolation_level = i8::from(isolation == IsolationLevel::ReadCommitted);
        let since = specs.values().map(|s| s.since()).max().unwrap_or(1).max(if isolation_level > 0 { 2 } else { 1 });
        let timeout_ms = self.timeout_ms();
        self.at_brokers_of(
            specs.keys().cloned().collect(),
            (since, i16::MAX),
            |_, items| {
                let stamps = items.iter().map(|tp| (tp, specs.get(tp).map_or(-1, |s| s.timestamp())));
                let topics = by_topic(stamps).into_iter().map(|(name, partitions)| ListOffsetsTopic {
                    name: name.clone(),
                    partitions: partitions
                        .into_iter()
                        .map(|(partition_index, timestamp)| ListOffsetsPartition { partition_index, timestamp, ..Default::default() })
                        .collect(),
                    ..Default::default()
                });
                Ok(ListOffsetsRequest {
                    replica_id: -1,
                    isolation_level,
                    topics: topics.collect(),
                    timeout_ms,
                    ..Default::default()
                })
            },
            |_, response, _| {
                let partition = |name: &crate::Str, p: &logrun_wire::messages::list_offsets_response::ListOffsetsPartitionResponse| {
                    let known = |n: i64| (n >= 0).then_some(n);
                    let found = ListedOffset {
                        offset: known(p.offset),
                        timestamp: known(p.timestamp),
                        leader_epoch: (p.leader_epoch >= 0).then_some(p.leader_epoch),
                    };
                    (TopicPartition::new(name.clone(), p.partition_index), check(p.error_code, None).map(|()| found))
                };
                response.topics.iter().flat_map(|t| t.partitions.iter().map(|p| partition(&t.name, p))).collect()
            },
        )
        .await
    }

    /// Deletes the records before these offsets; -1 stands for all. The result is the new log start offset.
    pub async fn delete_records(&self, before: &BTreeMap<TopicPartition, i64>) -> Each<TopicPartition, i64> {
        let timeout_ms = self.timeout_ms();
        self.at_brokers_of(
            before.keys().cloned().collect(),
            (0, i16::MAX),
            |_, items| {
                let offsets = items.iter().map(|tp| (tp, before.get(tp).copied().unwrap_or(0)));
                let topics = by_topic(offsets).into_iter().map(|(name, partitions)| DeleteRecordsTopic {
                    name: name.clone(),
                    partitions: partitions
                        .into_iter()
                        .map(|(partition_index, offset)| DeleteRecordsPartition {
                            partition_index,
                            offset,
                            ..Default::default()
                        })
                        .collect(),
                    ..Default::default()
                });
                Ok(DeleteRecordsRequest { topics: topics.collect(), timeout_ms, ..Default::default() })
            },
            |_, response, _| {
                let all = response.topics.iter().flat_map(|t| t.partitions.iter().map(|p| (t.name.clone(), p)));
                all.map(|(name, p)| {
                    (TopicPartition::new(name, p.partition_index), check(p.error_code, None).map(|()| p.low_watermark))
                })
                .collect()
            },
        )
        .await
    }
}
