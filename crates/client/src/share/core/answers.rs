//! The half of [`Core`] that takes brokers' answers: what has become of acknowledgements, and which records were acquired.
//!
//! Answers may be anything: a record counts as acquired only if it lies in a range that the broker says is, and what can't
//! be read is released.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use logrun_model::{LeaderEpoch, Monotonic, NodeId, Offset, Str, TopicPartition, Uuid};
use logrun_wire::ErrorCode;
use logrun_wire::messages::share_fetch_response::{AcquiredRecords, PartitionData};
use logrun_wire::messages::{
    ShareAcknowledgeResponse, ShareFetchResponse, share_acknowledge_response, share_fetch_response,
};

use super::settling::{Pending, Source, source_of};
use super::{Core, Work};
use crate::cluster::{Broker, LeaderHint};
use crate::consumer::fetched::{Fetched, Manner};
use crate::consumer::subscription::Position;
use crate::error::Error;
use crate::share::acknowledgements::{AcknowledgeType, GAP, Runs};
use crate::share::record::SharePart;

impl Core {
    /// Takes the part of a response that is about the session. `Err` if there is no more in it; what was acknowledged
    /// with the request has failed then.
    fn session_answered<T>(
        &mut self,
        now: Monotonic,
        id: NodeId,
        result: Result<T, Error>,
        code: impl Fn(&T) -> (i16, Option<Str>, i32),
    ) -> Result<(T, BTreeMap<Source, Pending>), ()> {
        let Some(node) = self.nodes.get_mut(&id) else { return Err(()) };
        let under_way = node.in_flight.take().unwrap_or_default();
        let mut throttle_ms = 0;
        let checked = match result {
            Ok(response) => {
                let (code, message, throttled) = code(&response);
                throttle_ms = throttled;
                let known = ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError);
                node.session.answered(known);
                crate::check(code, message.as_ref()).map(|()| response)
            }
            Err(e) => {
                node.session.lost();
                Err(e)
            }
        };
        node.closed = node.ending;
        match checked {
            Ok(response) => {
                node.failures = 0;
                node.not_before = now.plus_ms(throttle_ms.max(0).into());
                Ok((response, under_way))
            }
            Err(e) => {
                tracing::debug!("share session with node {id}: {e}");
                node.not_before = now.plus(self.client.backoff(node.failures));
                node.failures = node.failures.saturating_add(1);
                if e.is_invalid_metadata() {
                    self.work.push(Work::UpdateMetadata);
                }
                for (source, pending) in under_way {
                    self.settle(source, pending, Err(e.clone()));
                }
                if !e.is_retriable() && e.code() != Some(ErrorCode::UnknownMemberId) {
                    self.errors.push_back(e);
                }
                Err(())
            }
        }
    }

    pub(super) fn acknowledge_answered(
        &mut self,
        now: Monotonic,
        id: NodeId,
        result: Result<ShareAcknowledgeResponse, Error>,
    ) {
        let head = |r: &ShareAcknowledgeResponse| (r.error_code, r.error_message.clone(), r.throttle_time_ms);
        let Ok((response, mut under_way)) = self.session_answered(now, id, result, head) else { return };
        if response.acquisition_lock_timeout_ms > 0 {
            self.lock_timeout = Some(Duration::from_millis(response.acquisition_lock_timeout_ms as u64));
        }
        let nodes = response.node_endpoints.into_iter();
        let brokers: Vec<Broker> = nodes
            .filter_map(|n: share_acknowledge_response::NodeEndpoint| broker(n.node_id, &n.host, n.port, n.rack))
            .collect();
        for topic in response.responses {
            for p in topic.partitions {
                let Some(source) = source_of(&under_way, (topic.topic_id, p.partition_index)) else { continue };
                let result = crate::check(p.error_code, p.error_message.as_ref());
                let leader = (p.current_leader.leader_id, p.current_leader.leader_epoch);
                self.leader_moved(&source.tp, result.as_ref().err(), leader, &brokers);
                if let Some(pending) = under_way.remove(&source) {
                    self.settle(source, pending, result);
                }
            }
        }
        // Brokers name every partition; one that is not named has no error.
        for (source, pending) in under_way {
            self.settle(source, pending, Ok(()));
        }
    }

    fn leader_moved(&mut self, tp: &TopicPartition, e: Option<&Error>, leader: (i32, i32), brokers: &[Broker]) {
        if !e.is_some_and(Error::is_invalid_metadata) {
            return;
        }
        if leader.0 >= 0 && leader.1 >= 0 {
            let hint = LeaderHint { partition: tp.partition, leader: NodeId(leader.0), leader_epoch: leader.1 };
            self.work.push(Work::Hints(tp.topic.clone(), vec![hint], brokers.to_vec()));
        }
        self.work.push(Work::UpdateMetadata);
    }

    pub(super) fn fetch_answered(&mut self, now: Monotonic, id: NodeId, result: Result<ShareFetchResponse, Error>) {
        let head = |r: &ShareFetchResponse| (r.error_code, r.error_message.clone(), r.throttle_time_ms);
        let Ok((response, mut under_way)) = self.session_answered(now, id, result, head) else { return };
        if response.acquisition_lock_timeout_ms > 0 {
            self.lock_timeout = Some(Duration::from_millis(response.acquisition_lock_timeout_ms as u64));
        }
        let nodes = response.node_endpoints.into_iter();
        let brokers: Vec<Broker> = nodes
            .filter_map(|n: share_fetch_response::NodeEndpoint| broker(n.node_id, &n.host, n.port, n.rack))
            .collect();
        let names: BTreeMap<Uuid, Str> = self.assigned.iter().map(|(tp, id)| (*id, tp.topic.clone())).collect();
        let mut refused = false;
        for topic in response.responses {
            for data in topic.partitions {
                let partition = data.partition_index;
                if let Some(source) = source_of(&under_way, (topic.topic_id, partition))
                    && let Some(pending) = under_way.remove(&source)
                {
                    let result = crate::check(data.acknowledge_error_code, data.acknowledge_error_message.as_ref());
                    self.settle(source, pending, result);
                }
                let Some(name) = names.get(&topic.topic_id) else { continue };
                let tp = TopicPartition { topic: name.clone(), partition };
                if let Err(e) = crate::check(data.error_code, data.error_message.as_ref()) {
                    refused = true;
                    let leader = (data.current_leader.leader_id, data.current_leader.leader_epoch);
                    self.leader_moved(&tp, Some(&e), leader, &brokers);
                    if !e.is_retriable() && !e.is_invalid_metadata() {
                        self.errors.push_back(e);
                    }
                    continue;
                }
                self.acquired(Source { tp, node: id, topic_id: topic.topic_id }, data);
            }
        }
        for (source, pending) in under_way {
            self.settle(source, pending, Ok(()));
        }
        if refused && let Some(node) = self.nodes.get_mut(&id) {
            // The others wait for a moment with it.
            node.not_before = node.not_before.max(now.plus(self.client.backoff(0)));
        }
    }

    /// Takes what was acquired of a partition. What can't be read is released; gaps are said to be ones.
    fn acquired(&mut self, source: Source, data: PartitionData) {
        let ranges = &data.acquired_records;
        if ranges.is_empty() {
            return;
        }
        let sound = |r: &AcquiredRecords| r.first_offset >= 0 && r.first_offset <= r.last_offset;
        let ascending = |pair: &[AcquiredRecords]| matches!(pair, [a, b] if a.last_offset < b.first_offset);
        if !ranges.iter().all(sound) || !ranges.windows(2).all(ascending) {
            let sentence = format!("{}: the broker gives acquired offsets that overlap or run backwards", source.tp);
            return self.errors.push_back(Error::Invalid(sentence));
        }
        let mut parts = Vec::new();
        let (mut ends_at, read) = read(&source.tp, data.records, ranges, self.settings.check_crcs, &mut parts);
        if let Err(e) = read {
            let message = Some(format!("{}: {e}", source.tp).into());
            self.errors.push_back(Error::Broker { code: ErrorCode::CorruptMessage, message });
        } else {
            ends_at = Offset(i64::MAX);
        }
        let mut offsets = parts.iter().flat_map(|p| p.part.slots.iter().map(|slot| slot.offset)).peekable();
        let mut runs = Runs::default();
        for range in ranges {
            let mut from = range.first_offset;
            let mut without = |from: i64, to: i64| {
                let readable = to.min(ends_at.get().saturating_sub(1));
                if from <= readable {
                    runs.add(Offset(from), Offset(readable), GAP);
                }
                if from.max(ends_at.get()) <= to {
                    runs.add(Offset(from.max(ends_at.get())), Offset(to), AcknowledgeType::Release.code());
                }
            };
            while let Some(at) = offsets.next_if(|at| at.get() <= range.last_offset) {
                without(from, at.get() - 1);
                from = at.get().saturating_add(1);
            }
            without(from, range.last_offset);
        }
        drop(offsets);
        if !runs.is_empty() {
            self.pend(source.clone(), Pending { unseen: runs, ..Pending::default() });
        }
        self.fetched.extend(parts.into_iter().map(|part| (source.clone(), Arc::new(part))));
    }
}

fn broker(id: i32, host: &Str, port: i32, rack: Option<Str>) -> Option<Broker> {
    Some(Broker { id: NodeId(id), host: host.detached(), port: u16::try_from(port).ok()?, rack })
}

/// The records of a response that were acquired, in order, and the offset before which everything was looked at.
fn read(
    tp: &TopicPartition,
    records: Option<logrun_wire::Records>,
    ranges: &[AcquiredRecords],
    check_crcs: bool,
    parts: &mut Vec<SharePart>,
) -> (Offset, Result<(), String>) {
    let first = Offset(ranges.first().map_or(0, |r| r.first_offset));
    let bytes = records.map(logrun_wire::Records::into_bytes).unwrap_or_default();
    let mut position = Position { offset: first, epoch: LeaderEpoch::NONE };
    let mut fetched = match Fetched::new(tp.clone(), 0, first, bytes, []) {
        Ok(Some(fetched)) => fetched,
        Ok(None) => return (first, Err("records were acquired that the broker did not send".to_owned())),
        Err(e) => return (first, Err(e.to_string())),
    };
    let manner = Manner { check_crcs, read_committed: false };
    let mut whole = Vec::new();
    let mut result = Ok(());
    while !fetched.is_done() {
        if let Err(e) = fetched.take(&mut position, usize::MAX, manner, &mut whole) {
            result = Err(e.to_string());
            break;
        }
    }
    let mut ranges = ranges.iter().peekable();
    for mut part in whole {
        let mut deliveries = Vec::with_capacity(part.slots.len());
        part.slots.retain(|slot| {
            while ranges.next_if(|r| r.last_offset < slot.offset.get()).is_some() {}
            let range = ranges.peek().filter(|r| r.first_offset <= slot.offset.get());
            deliveries.extend(range.map(|r| r.delivery_count));
            range.is_some()
        });
        if !part.slots.is_empty() {
            parts.push(SharePart { part, deliveries });
        }
    }
    (position.offset, result)
}

#[cfg(test)]
mod tests {
    use logrun_config::ClientKind;
    use logrun_io::{Io, Random};

    use super::*;
    use crate::backoff::Backoff;
    use crate::share::core::Settings;
    use crate::share::core::settling::runs;
    use crate::share::membership::{self, Member};
    use crate::share::session;
    use crate::{Client, Config};

    #[tokio::test]
    async fn what_was_never_given_out_takes_no_room_however_long_a_broker_says_it_is() {
        let client = Client::new(Io::real(), &Config::new("127.0.0.1:1"), ClientKind::Consumer).unwrap();
        let session = session::Settings {
            group_id: "g".into(),
            max_wait_ms: 500,
            min_bytes: 1,
            max_bytes: 1 << 20,
            max_records: 500,
            acquire_mode: 0,
        };
        let settings = Settings {
            session,
            max_poll_records: 500,
            check_crcs: true,
            explicit: false,
            allow_auto_create_topics: false,
        };
        let membership = membership::Settings {
            group_id: "g".into(),
            rack_id: None,
            max_poll_interval_ms: 60_000,
            backoff: Backoff::new(100, 1000),
        };
        let mut core = Core::new(client, settings, Member::new(membership, Random::from_seed(1)));
        core.tells = true;
        let source = Source { tp: TopicPartition::new("t", 0), node: NodeId(1), topic_id: Uuid::ONE };
        let all =
            AcquiredRecords { first_offset: 0, last_offset: i64::MAX - 1, delivery_count: 1, ..Default::default() };
        core.acquired(source.clone(), PartitionData { acquired_records: vec![all], ..Default::default() });
        let pending = std::mem::take(&mut core.nodes.get_mut(&NodeId(1)).unwrap().pending);
        // It is released.
        let sent = runs(&pending);
        assert_eq!(sent[&source.id()].iter().collect::<Vec<_>>(), [(0, i64::MAX - 1, 2)]);
        for (source, pending) in pending {
            core.settle(source, pending, Ok(()));
        }
        assert_eq!(core.settled, []);
    }
}
