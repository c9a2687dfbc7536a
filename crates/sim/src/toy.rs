//! A toy that passes for a broker in the tests of the simulation, with faults to order: each invariant must see its
//! own. It keeps everything in memory beyond the life of its "processes" and uses the disk only to be cut off by it.
//!
//! It has no groups with members; what the protocol asks of it beyond that it answers as far as the workloads look.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IoSlice;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use logrun_io::{Io, OpenMode};
use logrun_model::{Str, TopicPartition, Uuid};
use logrun_net::{Connection, Outcome, Service};
use logrun_record::Batch;
use logrun_wire::messages::*;
use logrun_wire::{ApiKey, Decoder, ErrorCode, Message, RequestHeader, frame};

use crate::system::{Local, Process, System};

/// A fault to order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Acknowledges what it does not keep.
    LosesBatches,
    /// Forgets the last batch when it is killed, and writes its offsets anew.
    ReusesOffsets,
    /// Appends a retried idempotent batch again.
    Duplicates,
    /// Tells a lower high watermark now and then.
    HighWatermarkFalls,
    /// Forgets a deletion of records at a restart.
    LogStartFalls,
    GivesProducerIdsTwice,
    /// Gives a new topic the id of a deleted one.
    ReusesTopicIds,
    ForgetsTopics,
    ForgetsCommits,
    /// Changes a byte of what it returns.
    Corrupts,
    /// Never answers some fetches.
    Hangs,
    Panics,
    /// Answers in an order that differs from run to run.
    NotDeterministic,
}

#[derive(Clone)]
pub struct Toy {
    bug: Option<Bug>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    topics: BTreeMap<Str, Topic>,
    old_ids: Vec<Uuid>,
    commits: BTreeMap<(Str, TopicPartition), i64>,
    next_producer_id: i64,
    requests: u64,
}

#[derive(Default)]
struct Topic {
    id: Uuid,
    logs: Vec<Log>,
}

#[derive(Default)]
struct Log {
    start: i64,
    end: i64,
    batches: Vec<(i64, Batch)>,
    /// (producer id, base sequence) of every idempotent batch, with its base offset.
    known: BTreeMap<(i64, i32), i64>,
}

impl Toy {
    pub fn new(bug: Option<Bug>) -> Self {
        Self { bug, state: Arc::default() }
    }
}

struct ToyProcess {
    addr: SocketAddr,
}

impl Process for ToyProcess {
    fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn stop(self: Box<Self>) -> Local<'static, ()> {
        Box::pin(async {})
    }
}

impl System for Toy {
    fn start<'a>(&'a self, io: Io, _settings: &'a [(String, String)]) -> Local<'a, Result<Box<dyn Process>, String>> {
        Box::pin(async move {
            let addr = "127.0.0.1:9092".parse().map_err(|_| "no address")?;
            let mut listener = io.net.bind(addr).await.map_err(|e| e.to_string())?;
            {
                let mut state = self.state.lock().unwrap();
                for topic in state.topics.values_mut() {
                    for log in &mut topic.logs {
                        if self.bug == Some(Bug::LogStartFalls) {
                            log.start = 0;
                        }
                        if self.bug == Some(Bug::ReusesOffsets)
                            && let Some((base, _)) = log.batches.pop()
                        {
                            log.end = base;
                        }
                    }
                }
                if self.bug == Some(Bug::ForgetsTopics) {
                    state.topics.retain(|name, _| !name.starts_with("scratch"));
                }
                if self.bug == Some(Bug::ForgetsCommits) {
                    state.commits.clear();
                }
                if self.bug == Some(Bug::GivesProducerIdsTwice) {
                    state.next_producer_id = 0;
                }
            }
            let toy = self.clone();
            let tasks = io.tasks;
            tasks.spawn(async move {
                while let Ok((stream, _, _)) = listener.accept().await {
                    let service = ToyService { toy: toy.clone(), io: io.clone() };
                    let connection = Connection::new(stream, service, 1 << 20, io.buffers.clone());
                    tasks.spawn(async move { drop(connection.run().await) });
                }
            });
            Ok(Box::new(ToyProcess { addr }) as Box<dyn Process>)
        })
    }
}

struct ToyService {
    toy: Toy,
    io: Io,
}

impl Service for ToyService {
    async fn handle(&mut self, frame: Bytes) -> Outcome {
        let Ok((header, _, d)) = frame::decode_request_header(frame) else { return Outcome::Close };
        let bug = self.toy.bug;
        // Something to be cut off by, before anything is acknowledged.
        let written = self.io.disk.open(Path::new("/toy"), OpenMode::Create);
        if written.and_then(|f| f.write_all_at(0, &[IoSlice::new(b"x")])).is_err() {
            return Outcome::Close;
        }
        self.io.clock.sleep(std::time::Duration::from_millis(1)).await;
        let nth = {
            let mut state = self.toy.state.lock().unwrap();
            state.requests += 1;
            state.requests
        };
        assert!(bug != Some(Bug::Panics) || nth < 50, "on purpose");
        if bug == Some(Bug::Hangs) && nth > 50 && nth.is_multiple_of(7) {
            return std::future::pending().await;
        }
        let mut state = self.toy.state.lock().unwrap();
        answer(&mut state, bug, &self.io, nth, &header, d).unwrap_or(Outcome::Close)
    }
}

fn answer(
    state: &mut State,
    bug: Option<Bug>,
    io: &Io,
    nth: u64,
    header: &RequestHeader,
    mut d: Decoder,
) -> Option<Outcome> {
    let v = header.request_api_version;
    macro_rules! read {
        ($request:ident) => {
            $request::decode(&mut d, v).ok()?
        };
    }
    let key = ApiKey::from_i16(header.request_api_key)?;
    let out = |m: Result<Vec<logrun_wire::Piece>, _>| {
        let pieces: Vec<Bytes> = m.ok()?.into_iter().filter_map(logrun_wire::Piece::in_memory).collect();
        Some(Outcome::Now(pieces.into()))
    };
    let id = header.correlation_id;
    match key {
        ApiKey::Metadata => {
            let mut m = MetadataResponse { brokers: vec![Default::default()], ..Default::default() };
            for (name, topic) in &state.topics {
                let partitions = (0..).zip(&topic.logs);
                m.topics.push(metadata_response::MetadataResponseTopic {
                    name: Some(name.clone()),
                    topic_id: topic.id,
                    partitions: partitions
                        .map(|(i, _)| metadata_response::MetadataResponsePartition {
                            partition_index: i,
                            leader_id: 1,
                            ..Default::default()
                        })
                        .collect(),
                    ..Default::default()
                });
            }
            out(frame::encode_response(id, key, v, &m))
        }
        ApiKey::CreateTopics => {
            let t = read!(CreateTopicsRequest).topics.into_iter().next()?;
            let mut result =
                create_topics_response::CreatableTopicResult { name: t.name.clone(), ..Default::default() };
            if state.topics.contains_key(&t.name) {
                result.error_code = ErrorCode::TopicAlreadyExists.code();
            } else {
                let reused = (bug == Some(Bug::ReusesTopicIds)).then(|| state.old_ids.pop()).flatten();
                result.topic_id = reused.unwrap_or_else(|| io.random.uuid());
                let logs = (0..t.num_partitions).map(|_| Log::default()).collect();
                state.topics.insert(t.name, Topic { id: result.topic_id, logs });
            }
            let m = CreateTopicsResponse { topics: vec![result], ..Default::default() };
            out(frame::encode_response(id, key, v, &m))
        }
        ApiKey::AlterReplicaLogDirs => {
            let topics = read!(AlterReplicaLogDirsRequest).dirs.into_iter().flat_map(|d| d.topics);
            let results = topics.map(|t| alter_replica_log_dirs_response::AlterReplicaLogDirTopicResult {
                topic_name: t.name,
                partitions: vec![Default::default(); t.partitions.len()],
                ..Default::default()
            });
            let m = AlterReplicaLogDirsResponse { results: results.collect(), ..Default::default() };
            out(frame::encode_response(id, key, v, &m))
        }
        ApiKey::DeleteTopics => {
            let r = read!(DeleteTopicsRequest);
            let by_id = |wanted: Uuid| state.topics.iter().find(|(_, t)| t.id == wanted).map(|(n, _)| n.clone());
            let name = match r.topics.first() {
                Some(t) => t.name.clone().or_else(|| by_id(t.topic_id)),
                None => r.topic_names.first().cloned(),
            };
            let gone = name.and_then(|n| state.topics.remove(&n));
            let error_code = if gone.is_some() { 0 } else { ErrorCode::UnknownTopicOrPartition.code() };
            state.old_ids.extend(gone.map(|t| t.id));
            let result = delete_topics_response::DeletableTopicResult { error_code, ..Default::default() };
            out(frame::encode_response(
                id,
                key,
                v,
                &DeleteTopicsResponse { responses: vec![result], ..Default::default() },
            ))
        }
        ApiKey::Produce => {
            let r = read!(ProduceRequest);
            let t = r.topic_data.into_iter().next()?;
            let p = t.partition_data.into_iter().next()?;
            let log = log(state, &t.name, t.topic_id, p.index)?;
            let base_offset = log.append(&p.records?.into_bytes(), bug, nth)?;
            if r.acks == 0 {
                return Some(Outcome::Nothing);
            }
            let partition =
                produce_response::PartitionProduceResponse { index: p.index, base_offset, ..Default::default() };
            let topic = produce_response::TopicProduceResponse {
                name: t.name,
                topic_id: t.topic_id,
                partition_responses: vec![partition],
                ..Default::default()
            };
            out(frame::encode_response(id, key, v, &ProduceResponse { responses: vec![topic], ..Default::default() }))
        }
        ApiKey::Fetch => {
            let t = read!(FetchRequest).topics.into_iter().next()?;
            let p = t.partitions.first()?;
            let log = log(state, &t.topic, t.topic_id, p.partition)?;
            let mut data = fetch_response::PartitionData {
                partition_index: p.partition,
                high_watermark: log.end,
                log_start_offset: log.start,
                ..Default::default()
            };
            if bug == Some(Bug::HighWatermarkFalls) && nth.is_multiple_of(20) {
                data.high_watermark = (log.end - 1).max(0);
            }
            if p.fetch_offset < log.start || p.fetch_offset > log.end {
                data.error_code = ErrorCode::OffsetOutOfRange.code();
                (data.high_watermark, data.log_start_offset) = (-1, -1);
            } else {
                data.records = Some(log.read(p.fetch_offset, p.partition_max_bytes, bug).into());
            }
            let topic = fetch_response::FetchableTopicResponse {
                topic: t.topic.clone(),
                topic_id: t.topic_id,
                partitions: vec![data],
                ..Default::default()
            };
            let m = FetchResponse { responses: vec![topic], ..Default::default() };
            out(frame::encode_response(id, key, v, &m))
        }
        ApiKey::ListOffsets => {
            let t = read!(ListOffsetsRequest).topics.into_iter().next()?;
            let p = t.partitions.first()?;
            let log = log(state, &t.name, Uuid::ZERO, p.partition_index)?;
            let partition = list_offsets_response::ListOffsetsPartitionResponse {
                partition_index: p.partition_index,
                offset: if p.timestamp == -2 { log.start } else { log.end },
                ..Default::default()
            };
            let topic = list_offsets_response::ListOffsetsTopicResponse {
                name: t.name.clone(),
                partitions: vec![partition],
                ..Default::default()
            };
            out(frame::encode_response(id, key, v, &ListOffsetsResponse { topics: vec![topic], ..Default::default() }))
        }
        ApiKey::DeleteRecords => {
            let t = read!(DeleteRecordsRequest).topics.into_iter().next()?;
            let p = t.partitions.first()?;
            let log = log(state, &t.name, Uuid::ZERO, p.partition_index)?;
            log.start = log.start.max(p.offset);
            let partition = delete_records_response::DeleteRecordsPartitionResult {
                low_watermark: log.start,
                ..Default::default()
            };
            let topic =
                delete_records_response::DeleteRecordsTopicResult { partitions: vec![partition], ..Default::default() };
            out(frame::encode_response(
                id,
                key,
                v,
                &DeleteRecordsResponse { topics: vec![topic], ..Default::default() },
            ))
        }
        ApiKey::InitProducerId => {
            let producer_id = state.next_producer_id;
            state.next_producer_id += 1;
            let m = InitProducerIdResponse { producer_id, ..Default::default() };
            out(frame::encode_response(id, key, v, &m))
        }
        ApiKey::FindCoordinator => {
            let mut m = FindCoordinatorResponse::default();
            if v >= 4 {
                m.coordinators = vec![Default::default()];
            }
            out(frame::encode_response(id, key, v, &m))
        }
        // No group has members here.
        ApiKey::JoinGroup => {
            let m = JoinGroupResponse { error_code: ErrorCode::CoordinatorNotAvailable.code(), ..Default::default() };
            out(frame::encode_response(id, key, v, &m))
        }
        ApiKey::OffsetCommit => {
            let r = read!(OffsetCommitRequest);
            let t = r.topics.into_iter().next()?;
            let p = t.partitions.first()?;
            let name = name_of(state, &t.name, t.topic_id)?;
            state.commits.insert((r.group_id, TopicPartition::new(name, p.partition_index)), p.committed_offset);
            let topic = offset_commit_response::OffsetCommitResponseTopic {
                partitions: vec![Default::default()],
                ..Default::default()
            };
            out(frame::encode_response(id, key, v, &OffsetCommitResponse { topics: vec![topic], ..Default::default() }))
        }
        ApiKey::OffsetFetch => {
            let r = read!(OffsetFetchRequest);
            let mut m = OffsetFetchResponse::default();
            let find = |state: &State, group: &Str, topic: Str, p: i32| {
                *state.commits.get(&(group.clone(), TopicPartition::new(topic, p))).unwrap_or(&-1)
            };
            if v < 8 {
                let t = r.topics?.into_iter().next()?;
                let p = *t.partition_indexes.first()?;
                let partition = offset_fetch_response::OffsetFetchResponsePartition {
                    committed_offset: find(state, &r.group_id, t.name.clone(), p),
                    ..Default::default()
                };
                m.topics = vec![offset_fetch_response::OffsetFetchResponseTopic {
                    partitions: vec![partition],
                    ..Default::default()
                }];
            } else {
                let g = r.groups.into_iter().next()?;
                let t = g.topics?.into_iter().next()?;
                let p = *t.partition_indexes.first()?;
                let name = name_of(state, &t.name, t.topic_id)?;
                let partition = offset_fetch_response::OffsetFetchResponsePartitions {
                    committed_offset: find(state, &g.group_id, name, p),
                    ..Default::default()
                };
                let topic = offset_fetch_response::OffsetFetchResponseTopics {
                    topic_id: t.topic_id,
                    partitions: vec![partition],
                    ..Default::default()
                };
                m.groups =
                    vec![offset_fetch_response::OffsetFetchResponseGroup { topics: vec![topic], ..Default::default() }];
            }
            out(frame::encode_response(id, key, v, &m))
        }
        ApiKey::IncrementalAlterConfigs => {
            let mut result = incremental_alter_configs_response::AlterConfigsResourceResponse::default();
            if bug == Some(Bug::NotDeterministic) {
                // What a hash map of the standard library gives differs from process to process, and from map to map.
                let map: std::collections::HashSet<i32> = (0..100).collect();
                let first = map.iter().next().map(ToString::to_string);
                result.error_message = first.map(Str::from);
            }
            let m = IncrementalAlterConfigsResponse { responses: vec![result], ..Default::default() };
            out(frame::encode_response(id, key, v, &m))
        }
        _ => None,
    }
}

fn name_of(state: &State, name: &Str, id: Uuid) -> Option<Str> {
    if id.is_zero() {
        return Some(name.clone());
    }
    state.topics.iter().find(|(_, t)| t.id == id).map(|(n, _)| n.clone())
}

fn log<'a>(state: &'a mut State, name: &Str, id: Uuid, partition: i32) -> Option<&'a mut Log> {
    let name = name_of(state, name, id)?;
    state.topics.get_mut(&name)?.logs.get_mut(usize::try_from(partition).ok()?)
}

impl Log {
    fn append(&mut self, records: &Bytes, bug: Option<Bug>, nth: u64) -> Option<i64> {
        let batch = Batch::parse(records).ok()?;
        let h = &batch.header;
        let known = (h.producer_id.get(), h.base_sequence.get());
        if h.producer_id.is_some()
            && let Some(base) = self.known.get(&known)
            && bug != Some(Bug::Duplicates)
        {
            return Some(*base);
        }
        let base = self.end;
        let count = i64::from(h.last_offset_delta) + 1;
        self.known.insert(known, base);
        if bug == Some(Bug::LosesBatches) && nth.is_multiple_of(9) {
            return Some(base);
        }
        self.batches.push((base, batch));
        self.end += count;
        Some(base)
    }

    fn read(&self, from: i64, max_bytes: i32, bug: Option<Bug>) -> Bytes {
        let mut out = BytesMut::new();
        for (base, batch) in &self.batches {
            if base + i64::from(batch.header.last_offset_delta) < from {
                continue;
            }
            if !out.is_empty() && out.len() + batch.bytes.len() > max_bytes.max(0) as usize {
                break;
            }
            let mut bytes = BytesMut::from(&batch.bytes[..]);
            bytes[..8].copy_from_slice(&base.to_be_bytes());
            if bug == Some(Bug::Corrupts) && base % 5 == 4 {
                let last = bytes.len() - 1;
                bytes[last] ^= 1;
            }
            out.extend_from_slice(&bytes);
        }
        out.freeze()
    }
}

/// The first violation that some seed finds.
fn found(bug: Option<Bug>) -> Option<(u64, crate::Outcome)> {
    (0..60).map(|seed| (seed, crate::run(seed, &Toy::new(bug), None))).find(|(_, o)| o.violation.is_some())
}

#[test]
fn a_toy_without_faults_passes() {
    let mut stats = crate::Stats::default();
    for seed in 0..150 {
        let outcome = crate::run(seed, &Toy::new(None), None);
        assert_eq!(outcome.violation, None, "seed {seed}");
        stats.merge(&outcome.stats);
    }
    for what in ["batches acknowledged", "records read", "commits", "kills", "power cuts", "stops", "disk faults"] {
        assert!(stats.get(what) > 20, "too little was done: {stats}");
    }
}

#[test]
fn every_fault_is_seen() {
    let expected: &[(Bug, &[&str])] = &[
        (Bug::LosesBatches, &["acked_kept", "content_fixed", "dense"]),
        (Bug::ReusesOffsets, &["high_watermark", "acked_kept", "content_fixed"]),
        (Bug::Duplicates, &["once"]),
        (Bug::HighWatermarkFalls, &["high_watermark", "readable"]),
        (Bug::LogStartFalls, &["log_start"]),
        (Bug::GivesProducerIdsTwice, &["producer_ids"]),
        (Bug::ReusesTopicIds, &["topics"]),
        (Bug::ForgetsTopics, &["topics"]),
        (Bug::ForgetsCommits, &["commits"]),
        (Bug::Corrupts, &["intact"]),
        (Bug::Hangs, &["answered", "available"]),
        (Bug::Panics, &["panic"]),
    ];
    for (bug, invariants) in expected {
        let (seed, outcome) = found(Some(*bug)).unwrap_or_else(|| panic!("nobody sees that the toy {bug:?}"));
        let violation = outcome.violation.unwrap();
        assert!(invariants.contains(&violation.invariant), "{bug:?}, seed {seed}: {violation}");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let run = |seed, bug| crate::run(seed, &Toy::new(bug), None);
    let traces: BTreeSet<u64> = (0..40).map(|seed| run(seed, None).trace).collect();
    assert_eq!(traces.len(), 40, "two seeds did the same");
    assert!((0..40).all(|seed| run(seed, None) == run(seed, None)));
    let odd = Some(Bug::NotDeterministic);
    assert!((0..40).any(|seed| run(seed, odd) != run(seed, odd)), "an order that differs was not seen");
}
