//! Fetch (key 1, versions 4–18; KIP-74, KIP-227, KIP-320, KIP-392, KIP-516, KIP-903, KIP-951).
//!
//! | version | what it brought                                                |
//! |---------|----------------------------------------------------------------|
//! | 4–6     | magic 2, isolation level; 5: log start offset                   |
//! | 7       | incremental sessions                                            |
//! | 9       | leader epochs checked                                           |
//! | 11      | rack of the consumer, preferred read replica                    |
//! | 12      | flexible; diverging epochs                                      |
//! | 13      | topic ids                                                       |
//! | 15      | replica state as a tag                                          |
//! | 16      | the present leaders' addresses (KIP-951)                        |
//! | 17, 18  | replica directory id; the follower's high watermark             |
//!
//! One implementation for consumers and replicas; the partition decides the bounds. It waits until
//! `min_bytes` are there, a partition has an error, or `max_wait_ms` has passed. The first record batch
//! found is returned whole even if it is larger than every limit, so that a consumer always gets on. On controllers'
//! listeners it is the metadata log that is fetched: see `crate::quorum`.

use std::sync::Arc;

use logrun_admission::{FetchContext, FetchPartition, PartitionKey, PartitionState};
use logrun_model::{LeaderEpoch, Monotonic, NodeId, Offset, Str};
use logrun_wire::messages::fetch_request::FetchRequest;
use logrun_wire::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchResponse, FetchableTopicResponse, PartitionData,
};
use logrun_wire::{ErrorCode, Records};

use super::find_topic;
use crate::Broker;
use crate::context::{ListenerKind, RequestContext};
use crate::errors::{Failure, code_of_session_error};
use crate::partitions::{FetchRead, Fetcher, Partition, PlannedRead, ReadRecords};
use crate::quorum;
use crate::waiting::Waiter;

/// What one look at a partition found.
enum Look {
    Read(PlannedRead, ReadRecords),
    Failed(Failure),
}

impl Look {
    fn bytes(&self) -> usize {
        match self {
            Self::Read(_, read) => read.records.len(),
            Self::Failed(_) => 0,
        }
    }

    /// Whether the client must hear of it at once.
    fn is_urgent(&self) -> bool {
        match self {
            Self::Read(read, _) => read.diverging.is_some(),
            Self::Failed(_) => true,
        }
    }
}

pub async fn handle(broker: &Arc<Broker>, context: &RequestContext, request: FetchRequest) -> FetchResponse {
    if context.listener.kind == ListenerKind::Controller {
        return quorum::fetch(broker, context, request).await;
    }
    let by_id = context.api_version >= 13;
    let now = broker.io().clock.now();
    let replica = match request.replica_state.replica_id {
        -1 => request.replica_id,
        id => id,
    };
    let fetcher = Fetcher::from_wire(replica, request.replica_state.replica_epoch, request.isolation_level);
    let begun = broker.fetch_sessions().lock().begin(
        now,
        (request.session_id, request.session_epoch),
        wanted(&request, by_id),
        &forgotten(&request),
        by_id,
        (replica >= 0).then_some(NodeId(replica)),
    );
    let session = match begun {
        Ok(session) => session,
        Err(e) => {
            return FetchResponse { error_code: code_of_session_error(e).code(), ..Default::default() };
        }
    };
    let max_bytes = request.max_bytes.clamp(0, broker.config().fetch.max_bytes) as usize;
    let min_bytes = (request.min_bytes.max(0) as usize).min(max_bytes);
    let deadline = now.plus_ms(i64::from(request.max_wait_ms));
    let looks = wait_for_data(broker, &session, by_id, fetcher, max_bytes, min_bytes, deadline).await;
    respond(broker, context, &session, looks)
}

fn wanted(request: &FetchRequest, by_id: bool) -> Vec<FetchPartition> {
    let mut out = Vec::with_capacity(request.topics.iter().map(|t| t.partitions.len()).sum());
    for topic in &request.topics {
        // A session outlives its requests: it must not keep their frames alive.
        let name = if by_id { Str::EMPTY } else { topic.topic.detached() };
        for p in &topic.partitions {
            out.push(FetchPartition {
                key: PartitionKey { topic_id: topic.topic_id, topic: name.clone(), partition: p.partition },
                fetch_offset: Offset(p.fetch_offset),
                log_start_offset: Offset(p.log_start_offset),
                max_bytes: p.partition_max_bytes,
                current_leader_epoch: LeaderEpoch(p.current_leader_epoch),
                last_fetched_epoch: LeaderEpoch(p.last_fetched_epoch),
            });
        }
    }
    out
}

fn forgotten(request: &FetchRequest) -> Vec<PartitionKey> {
    let keys = request.forgotten_topics_data.iter().flat_map(|t| {
        t.partitions.iter().map(|p| PartitionKey { topic_id: t.topic_id, topic: t.topic.clone(), partition: *p })
    });
    keys.collect()
}

/// Looks at every partition, again and again, until there is enough to answer.
async fn wait_for_data(
    broker: &Arc<Broker>,
    session: &FetchContext,
    by_id: bool,
    fetcher: Fetcher,
    max_bytes: usize,
    min_bytes: usize,
    deadline: Monotonic,
) -> Vec<Look> {
    let mut waiter: Option<Arc<Waiter>> = None;
    loop {
        // Registered before the look: a change between the look and the wait is not missed.
        let looks = look(broker, session, by_id, fetcher, max_bytes, waiter.as_ref()).await;
        let enough = looks.is_empty()
            || looks.iter().any(Look::is_urgent)
            || looks.iter().map(Look::bytes).sum::<usize>() >= min_bytes
            || broker.io().clock.now() >= deadline;
        if enough {
            return looks;
        }
        match &waiter {
            // The first look is the common one and registers nowhere; the second one does.
            None => waiter = Some(Waiter::new()),
            Some(waiter) => {
                tokio::select! {
                    biased;
                    () = waiter.changed() => {}
                    () = broker.io().clock.sleep_until(deadline) => {}
                }
            }
        }
    }
}

async fn look(
    broker: &Arc<Broker>,
    session: &FetchContext,
    by_id: bool,
    fetcher: Fetcher,
    max_bytes: usize,
    waiter: Option<&Arc<Waiter>>,
) -> Vec<Look> {
    let image = broker.image();
    let mut all = Some(|| {
        session.partitions().iter().filter_map(|wanted| {
            let key = &wanted.key;
            find_topic(&image, by_id, &key.topic, key.topic_id).ok().map(|topic| topic.partition(key.partition))
        })
    });
    let mut left = max_bytes;
    let mut found_any = false;
    let mut looks = Vec::with_capacity(session.partitions().len());
    for wanted in session.partitions() {
        let key = &wanted.key;
        let partition = match find_topic(&image, by_id, &key.topic, key.topic_id) {
            Ok(topic) => broker.partition_among(&topic, key.partition, &mut all).await,
            Err(failure) => Err(failure),
        };
        let fetch = FetchRead {
            fetcher,
            offset: wanted.fetch_offset,
            log_start_offset: wanted.log_start_offset,
            current_leader_epoch: wanted.current_leader_epoch,
            last_fetched_epoch: wanted.last_fetched_epoch,
            max_bytes: (wanted.max_bytes.max(0) as usize).min(left),
            at_least_one_batch: !found_any,
            waiter,
        };
        let read = match partition {
            Ok(partition) => read(broker, partition, fetch).await,
            Err(failure) => Err(failure),
        };
        looks.push(match read {
            Ok((read, records)) => {
                left = left.saturating_sub(records.records.len());
                found_any |= !records.records.is_empty();
                Look::Read(read, records)
            }
            Err(failure) => Look::Failed(failure),
        });
    }
    looks
}

/// Reads at once what memory has, sends what the page cache has from there, and reads the rest on a thread that may wait
/// for the disk.
async fn read(
    broker: &Arc<Broker>,
    partition: Arc<Partition>,
    fetch: FetchRead<'_>,
) -> Result<(PlannedRead, ReadRecords), Failure> {
    let mut read = partition.plan_fetch(broker.now(), fetch)?;
    let (fetcher, from) = (fetch.fetcher, fetch.offset);
    let records = match read.plan.take() {
        None => ReadRecords::default(),
        Some(plan) if plan.is_in_memory() => partition.run_read(fetcher, from, plan)?,
        Some(plan) => match plan.cached() {
            Some(range) => partition.range_read(fetcher, from, range)?,
            None => broker.io().tasks.blocking(move || partition.run_read(fetcher, from, plan)).await?,
        },
    };
    Ok((read, records))
}

fn respond(broker: &Arc<Broker>, context: &RequestContext, session: &FetchContext, looks: Vec<Look>) -> FetchResponse {
    let mut partitions = Vec::with_capacity(looks.len());
    let mut states = Vec::with_capacity(looks.len());
    for (wanted, look) in session.partitions().iter().zip(looks) {
        let (data, state) = partition_data(wanted, look);
        states.push((wanted.key.clone(), state));
        partitions.push(data);
    }
    let now = broker.io().clock.now();
    let random = || broker.io().random.u64();
    let (session_id, said) = broker.fetch_sessions().lock().finish(now, session, &states, random);
    let mut responses: Vec<FetchableTopicResponse> = Vec::new();
    let mut any_failed = false;
    for (((key, state), data), said) in states.into_iter().zip(partitions).zip(said) {
        if !said {
            continue;
        }
        any_failed |= state.has_error;
        match responses.last_mut() {
            Some(t) if t.topic_id == key.topic_id && t.topic == key.topic => t.partitions.push(data),
            _ => responses.push(FetchableTopicResponse {
                topic: key.topic,
                topic_id: key.topic_id,
                partitions: vec![data],
                ..Default::default()
            }),
        }
    }
    let mut response = FetchResponse { session_id, responses, ..Default::default() };
    if any_failed && context.api_version >= 12 {
        super::add_current_leaders_to_fetch(broker, context, &mut response);
    }
    response
}

fn partition_data(wanted: &FetchPartition, look: Look) -> (PartitionData, PartitionState) {
    let index = wanted.key.partition;
    match look {
        Look::Read(read, records) => {
            let state = PartitionState {
                has_records: !records.records.is_empty(),
                has_error: false,
                has_advice: read.diverging.is_some(),
                high_watermark: read.high_watermark,
                log_start_offset: read.log_start_offset,
            };
            let aborted = records.aborted.map(|list| {
                let each = list.iter().map(|a| AbortedTransaction {
                    producer_id: a.producer_id.get(),
                    first_offset: a.first_offset.get(),
                    ..Default::default()
                });
                each.collect()
            });
            let data =
                PartitionData {
                    partition_index: index,
                    high_watermark: read.high_watermark.get(),
                    last_stable_offset: read.last_stable_offset.get(),
                    log_start_offset: read.log_start_offset.get(),
                    diverging_epoch: read.diverging.map_or_else(EpochEndOffset::default, |(epoch, end)| {
                        EpochEndOffset { epoch: epoch.get(), end_offset: end.get(), ..Default::default() }
                    }),
                    aborted_transactions: aborted,
                    preferred_read_replica: -1,
                    records: Some(records.records),
                    ..Default::default()
                };
            (data, state)
        }
        Look::Failed(failure) => {
            let state = PartitionState {
                has_records: false,
                has_error: true,
                has_advice: false,
                high_watermark: Offset::NONE,
                log_start_offset: Offset::NONE,
            };
            let data = PartitionData {
                partition_index: index,
                error_code: failure.code.code(),
                high_watermark: -1,
                last_stable_offset: -1,
                log_start_offset: failure.log_start_offset.map_or(-1, Offset::get),
                aborted_transactions: None,
                preferred_read_replica: -1,
                records: Some(Records::EMPTY),
                ..Default::default()
            };
            debug_assert!(failure.code != ErrorCode::None);
            (data, state)
        }
    }
}

#[cfg(test)]
mod tests {
    use logrun_wire::messages::fetch_request::{FetchPartition, FetchTopic};

    use super::*;

    /// A name of 249 bytes was copied for each of its partitions, which are 30 bytes in a request.
    #[test]
    fn a_topics_name_is_copied_once() {
        let name = Str::from("t".repeat(249));
        let partitions = (0..3).map(|partition| FetchPartition { partition, ..Default::default() }).collect();
        let topics = vec![FetchTopic { topic: name.clone(), partitions, ..Default::default() }];
        let request = FetchRequest { topics, ..Default::default() };
        let names: Vec<Str> = wanted(&request, false).into_iter().map(|p| p.key.topic).collect();
        assert!(names.len() == 3 && names.iter().all(|n| *n == name && n.as_ptr() == names[0].as_ptr()));
        assert_ne!(names[0].as_ptr(), name.as_ptr(), "the frame is kept alive");
    }
}
