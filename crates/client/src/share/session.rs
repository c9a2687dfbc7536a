//! Share sessions as the client keeps them, one for each broker: which partitions it fetches from, and the number of the
//! next request. Kafka's `ShareSessionHandler`.
//!
//! A session carries the acquired records: with it go the locks that it has, and acknowledgements can be sent only in the
//! session in which the records were acquired. One request at a time: each has the next epoch.

use std::collections::{BTreeMap, BTreeSet};

use logrun_model::{Str, Uuid};
use logrun_wire::ErrorCode;
use logrun_wire::messages::share_acknowledge_request::{AcknowledgePartition, AcknowledgeTopic};
use logrun_wire::messages::share_fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use logrun_wire::messages::{
    ShareAcknowledgeRequest, ShareFetchRequest, share_acknowledge_request, share_fetch_request,
};

use super::acknowledgements::Runs;

/// The epoch of a request that opens a session.
const INITIAL_EPOCH: i32 = 0;
/// The epoch of a request that ends it: what is acquired and not acknowledged goes to others.
const FINAL_EPOCH: i32 = -1;

/// A partition of a topic, as sessions name it.
pub(crate) type Id = (Uuid, i32);

/// What a session is opened with.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub group_id: Str,
    pub max_wait_ms: i32,
    pub min_bytes: i32,
    pub max_bytes: i32,
    pub max_records: i32,
    /// `share.acquire.mode`: 0 for whole batches, 1 for no more records than asked for.
    pub acquire_mode: i8,
}

/// The session with one broker.
#[derive(Debug)]
pub(crate) struct Session {
    epoch: i32,
    told: BTreeSet<Id>,
}

impl Session {
    pub fn new() -> Self {
        Self { epoch: INITIAL_EPOCH, told: BTreeSet::new() }
    }

    /// Whether the broker has one.
    pub fn is_open(&self) -> bool {
        self.epoch != INITIAL_EPOCH
    }

    /// A fetch of `wanted` that carries these acknowledgements, all of them of partitions in `wanted`.
    pub fn fetch(
        &mut self,
        settings: &Settings,
        member_id: &Str,
        wanted: &BTreeSet<Id>,
        acks: &BTreeMap<Id, Runs>,
    ) -> ShareFetchRequest {
        let mut topics: Vec<FetchTopic> = Vec::new();
        for id in wanted {
            let runs = acks.get(id);
            if self.is_open() && self.told.contains(id) && runs.is_none() {
                continue;
            }
            let batches = runs.map(|runs| runs.iter().map(fetch_batch).collect()).unwrap_or_default();
            let partition =
                FetchPartition { partition_index: id.1, acknowledgement_batches: batches, ..Default::default() };
            match topics.last_mut() {
                Some(t) if t.topic_id == id.0 => t.partitions.push(partition),
                _ => topics.push(FetchTopic { topic_id: id.0, partitions: vec![partition], ..Default::default() }),
            }
        }
        let mut forgotten: Vec<ForgottenTopic> = Vec::new();
        if self.is_open() {
            for id in self.told.difference(wanted) {
                match forgotten.last_mut() {
                    Some(t) if t.topic_id == id.0 => t.partitions.push(id.1),
                    _ => {
                        forgotten.push(ForgottenTopic { topic_id: id.0, partitions: vec![id.1], ..Default::default() });
                    }
                }
            }
        }
        self.told.clone_from(wanted);
        ShareFetchRequest {
            group_id: Some(settings.group_id.clone()),
            member_id: Some(member_id.clone()),
            share_session_epoch: self.epoch,
            max_wait_ms: settings.max_wait_ms,
            min_bytes: settings.min_bytes,
            max_bytes: settings.max_bytes,
            max_records: settings.max_records,
            batch_size: settings.max_records,
            share_acquire_mode: settings.acquire_mode,
            topics,
            forgotten_topics_data: forgotten,
            ..Default::default()
        }
    }

    /// Acknowledgements alone; `last` ends the session.
    pub fn acknowledge(
        &mut self,
        settings: &Settings,
        member_id: &Str,
        acks: &BTreeMap<Id, Runs>,
        last: bool,
    ) -> ShareAcknowledgeRequest {
        let mut topics: Vec<AcknowledgeTopic> = Vec::new();
        for (id, runs) in acks {
            let batches =
                runs.iter().map(|(first_offset, last_offset, kind)| share_acknowledge_request::AcknowledgementBatch {
                    first_offset,
                    last_offset,
                    acknowledge_types: vec![kind],
                    ..Default::default()
                });
            let partition = AcknowledgePartition {
                partition_index: id.1,
                acknowledgement_batches: batches.collect(),
                ..Default::default()
            };
            match topics.last_mut() {
                Some(t) if t.topic_id == id.0 => t.partitions.push(partition),
                _ => {
                    topics.push(AcknowledgeTopic { topic_id: id.0, partitions: vec![partition], ..Default::default() })
                }
            }
        }
        ShareAcknowledgeRequest {
            group_id: Some(settings.group_id.clone()),
            member_id: Some(member_id.clone()),
            share_session_epoch: if last { FINAL_EPOCH } else { self.epoch },
            is_renew_ack: acks.values().any(Runs::has_renewals),
            topics,
            ..Default::default()
        }
    }

    /// Takes the session's part of a response. False if the session is gone, and with it what it had acquired.
    pub fn answered(&mut self, error: ErrorCode) -> bool {
        if matches!(
            error,
            ErrorCode::ShareSessionNotFound | ErrorCode::InvalidShareSessionEpoch | ErrorCode::ShareSessionLimitReached
        ) {
            self.lost();
            return false;
        }
        self.epoch = self.epoch.checked_add(1).unwrap_or(1);
        true
    }

    /// The request's fate is not known: the session, if it is still there, is replaced.
    pub fn lost(&mut self) {
        *self = Self::new();
    }
}

fn fetch_batch((first_offset, last_offset, kind): (i64, i64, i8)) -> share_fetch_request::AcknowledgementBatch {
    share_fetch_request::AcknowledgementBatch {
        first_offset,
        last_offset,
        acknowledge_types: vec![kind],
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use logrun_model::Offset;

    use super::*;

    fn id(partition: i32) -> Id {
        (Uuid::ONE, partition)
    }

    #[test]
    fn only_the_difference_is_sent_and_acknowledgements_ride_along() {
        let settings = Settings {
            group_id: "g".into(),
            max_wait_ms: 1,
            min_bytes: 1,
            max_bytes: 1,
            max_records: 1,
            acquire_mode: 0,
        };
        let (mut s, member) = (Session::new(), Str::from("m"));
        let next = |s: &mut Session, wanted: &[i32], acked: Option<i32>| {
            let wanted = wanted.iter().map(|p| id(*p)).collect();
            let mut runs = Runs::default();
            runs.add(Offset(5), Offset(6), 1);
            let acks = acked.map(|p| (id(p), runs)).into_iter().collect();
            let r = s.fetch(&settings, &member, &wanted, &acks);
            let named: Vec<(i32, usize)> = r
                .topics
                .iter()
                .flat_map(|t| t.partitions.iter().map(|p| (p.partition_index, p.acknowledgement_batches.len())))
                .collect();
            let gone: Vec<i32> = r.forgotten_topics_data.iter().flat_map(|t| t.partitions.clone()).collect();
            (r.share_session_epoch, named, gone)
        };
        assert_eq!(next(&mut s, &[0, 1], None), (0, vec![(0, 0), (1, 0)], vec![]));
        assert!(s.answered(ErrorCode::None));
        assert_eq!(next(&mut s, &[0, 1], Some(1)), (1, vec![(1, 1)], vec![]));
        assert!(s.answered(ErrorCode::None));
        assert_eq!(next(&mut s, &[1, 2], None), (2, vec![(2, 0)], vec![0]));
        assert!(!s.answered(ErrorCode::ShareSessionNotFound));
        assert_eq!(next(&mut s, &[1, 2], None), (0, vec![(1, 0), (2, 0)], vec![]));
    }
}
