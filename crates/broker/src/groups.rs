//! The group coordinators of this broker: one shard for each partition of `__consumer_offsets` that it leads.
//!
//! The shell around [`GroupShard`]: it appends what a shard writes, tells it of the high watermark and of time, and
//! carries replies to those who wait. A request that names several groups is cut into its shards' parts here and
//! put together again. Loading runs beside everything else.
//!
//! A shard never leads with part of its log: a read that fails in passing is made again, and what can't be read at all
//! ends the load; its clients hear NOT_COORDINATOR until the next election.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use logrun_coordinator::{AppendFailed, Phase, RecordLog};
use logrun_group::{Client, Effect, GroupConfig, GroupShard, KeyValue, Request, Response, Token, Turn, partition_for};
use logrun_io::{Io, TaskHandle};
use logrun_model::{LeaderEpoch, Monotonic, NodeId, Offset, PartitionIndex, ProducerId, Str, TopicId, TopicPartition};
use logrun_record::{AnyBatch, BatchBuilder, BatchError, Compression, Limits, Record, end_txn_marker};
use logrun_wire::ErrorCode;
use logrun_wire::messages as m;
use logrun_wire::messages::offset_fetch_request::OffsetFetchRequestGroup;
use logrun_wire::messages::offset_fetch_response::OffsetFetchResponseGroup;
use parking_lot::{Mutex, RwLock};
use rustc_hash::FxHashMap;
use tokio::sync::oneshot;
use tracing::{error, info, warn};

use crate::Broker;
use crate::context::RequestContext;
use crate::errors::Failure;
use crate::handlers::GROUP_OPERATIONS;
use crate::partitions::Partition;
use crate::waiting::Waiter;

/// The topic that holds groups and committed offsets.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";
/// How much of the log is read at a time while a shard loads (`offsets.load.buffer.size`).
const LOAD_BYTES: usize = 5 << 20;
/// After so long a log that could not be opened or read in passing, for want of a descriptor say, is tried again.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// All shards of this broker.
#[derive(Debug)]
pub struct Groups {
    io: Io,
    config: GroupConfig,
    shards: RwLock<BTreeMap<PartitionIndex, Arc<Shard>>>,
    /// Partitions that this broker leads and whose logs are being opened.
    awaited: RwLock<BTreeSet<PartitionIndex>>,
    /// How many partitions the offsets topic has, here or elsewhere.
    partition_count: AtomicI32,
}

/// One partition of the offsets topic and the groups in it.
struct Shard {
    io: Io,
    partition: Arc<Partition>,
    inner: Mutex<Inner>,
    /// Wakes the shard's own task: a deadline has come nearer, or the high watermark has moved.
    waiter: Arc<Waiter>,
    task: Mutex<Option<TaskHandle<()>>>,
}

struct Inner {
    machine: GroupShard,
    next_token: u64,
    asking: FxHashMap<Token, oneshot::Sender<Response>>,
    deadline: Option<Monotonic>,
}

impl std::fmt::Debug for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shard({})", self.partition.name)
    }
}

/// Appends a shard's records to its partition.
struct ShardLog<'a> {
    partition: &'a Arc<Partition>,
    io: &'a Io,
}

impl RecordLog for ShardLog<'_> {
    type Record = KeyValue;

    fn append(&mut self, records: &[KeyValue]) -> Result<Offset, AppendFailed> {
        let now = self.io.clock.read();
        let unbuildable = |e| AppendFailed::new(ErrorCode::UnknownServerError, format!("a batch can't be built: {e}"));
        let mut batch = BatchBuilder::new(Compression::NONE);
        for (key, value) in records {
            batch.append(now.wall, Some(key), value.as_deref(), &[]).map_err(unbuildable)?;
        }
        let batch = batch.prepare().map_err(unbuildable)?;
        match self.partition.append_from_coordinator(now, batch) {
            Ok(appended) => Ok(appended.last_offset),
            Err(f) => Err(AppendFailed::new(f.code, f.message.as_deref().unwrap_or_default())),
        }
    }
}

impl Groups {
    pub fn new(io: Io, config: GroupConfig) -> Self {
        Self { io, config, shards: RwLock::default(), awaited: RwLock::default(), partition_count: AtomicI32::new(0) }
    }

    /// This broker leads the partition of the offsets topic, which has `partition_count` of them; its log is being opened.
    pub fn awaited(&self, partition: PartitionIndex, partition_count: i32) {
        self.partition_count.store(partition_count, Ordering::Relaxed);
        self.awaited.write().insert(partition);
    }

    /// This broker leads `partition` of the offsets topic, which has `partition_count` of them, from `epoch` on: its
    /// groups are loaded.
    pub fn elected(&self, partition: Arc<Partition>, epoch: LeaderEpoch, partition_count: i32) {
        self.partition_count.store(partition_count, Ordering::Relaxed);
        let index = partition.id.partition;
        let known = self.shards.read().get(&index).cloned();
        let shard = match known {
            Some(shard) if Arc::ptr_eq(&shard.partition, &partition) => shard,
            _ => {
                let shard = Shard::new(self.io.clone(), self.config.clone(), partition);
                let old = self.shards.write().insert(index, shard.clone());
                if let Some(old) = old {
                    old.resign();
                }
                shard
            }
        };
        shard.clone().elect(epoch);
        self.awaited.write().remove(&index);
    }

    /// This broker no longer leads the partition.
    pub fn resigned(&self, partition: PartitionIndex) {
        self.awaited.write().remove(&partition);
        let shard = self.shards.write().remove(&partition);
        if let Some(shard) = shard {
            shard.resign();
        }
    }

    /// Topics are gone: so are the offsets committed for them.
    pub fn topics_deleted(&self, topics: &[(Str, TopicId)]) {
        for shard in self.all() {
            shard.turn(|machine, turn| machine.topics_deleted(turn, topics));
        }
    }

    /// Ends every shard's task.
    pub fn stop(&self) {
        for shard in std::mem::take(&mut *self.shards.write()).into_values() {
            shard.resign();
        }
    }

    /// The broker that coordinates `group_id`; the offsets topic is made if it is not there yet.
    pub async fn coordinator_of(&self, broker: &Arc<Broker>, group_id: &str) -> Result<NodeId, Failure> {
        let image = broker.image();
        let Some(topic) = image.topics.by_name(OFFSETS_TOPIC) else {
            broker.controller().auto_create(broker, &[Str::from_static(OFFSETS_TOPIC)]).await;
            return Err(Failure::of(ErrorCode::CoordinatorNotAvailable));
        };
        let partition = topic.partition(partition_for(group_id, topic.partition_count()));
        match partition.map(|p| p.leader) {
            Some(leader) if leader != NodeId::NONE => Ok(leader),
            _ => Err(Failure::of(ErrorCode::CoordinatorNotAvailable)),
        }
    }

    fn all(&self) -> Vec<Arc<Shard>> {
        self.shards.read().values().cloned().collect()
    }

    /// Whether there will be shards whose logs are only being opened.
    fn awaits_logs(&self) -> bool {
        let shards = self.shards.read();
        self.awaited.read().iter().any(|p| !shards.contains_key(p))
    }

    /// The shard of `group_id`, if it is here.
    fn shard_of(&self, group_id: &str) -> Result<Arc<Shard>, ErrorCode> {
        let shards = self.shards.read();
        let count = self.partition_count.load(Ordering::Relaxed);
        if count == 0 {
            return Err(ErrorCode::NotCoordinator);
        }
        let partition = partition_for(group_id, count);
        match shards.get(&partition) {
            Some(shard) => Ok(shard.clone()),
            None if self.awaited.read().contains(&partition) => Err(ErrorCode::CoordinatorLoadInProgress),
            None => Err(ErrorCode::NotCoordinator),
        }
    }

    async fn ask(&self, context: &RequestContext, group_id: &str, request: Request) -> Response {
        match self.shard_of(group_id) {
            Ok(shard) => shard.ask(client(&self.io, context), request).await,
            // A shard that loads answers so, and the log that it will load is only being opened.
            Err(ErrorCode::CoordinatorLoadInProgress) if matches!(request, Request::Heartbeat(_)) => {
                request.refused(ErrorCode::None)
            }
            Err(code) => request.refused(code),
        }
    }

    pub async fn offset_fetch(
        &self,
        context: &RequestContext,
        group: OffsetFetchRequestGroup,
        require_stable: bool,
    ) -> OffsetFetchResponseGroup {
        let group_id = group.group_id.detached();
        match self.ask(context, &group_id, Request::OffsetFetch { group, require_stable }).await {
            Response::OffsetFetch(response) => response,
            other => unexpected(other),
        }
    }

    pub async fn describe_groups(
        &self,
        context: &RequestContext,
        request: m::DescribeGroupsRequest,
    ) -> m::DescribeGroupsResponse {
        let mut groups = Vec::with_capacity(request.groups.len());
        for id in &request.groups {
            match self.ask(context, id, Request::DescribeGroups(vec![id.clone()])).await {
                Response::DescribeGroups(part) => groups.extend(part),
                other => unexpected(other),
            }
        }
        if request.include_authorized_operations {
            for group in groups.iter_mut().filter(|g| g.error_code == 0) {
                group.authorized_operations = GROUP_OPERATIONS;
            }
        }
        m::DescribeGroupsResponse { groups, ..Default::default() }
    }

    pub async fn list_groups(&self, context: &RequestContext, request: m::ListGroupsRequest) -> m::ListGroupsResponse {
        let mut out = m::ListGroupsResponse::default();
        if self.awaits_logs() {
            // Their groups would be missing from the list.
            out.error_code = ErrorCode::CoordinatorLoadInProgress.code();
        }
        for shard in self.all() {
            match shard.ask(client(&self.io, context), Request::ListGroups(request.clone())).await {
                // Its groups are none of ours.
                Response::ListGroups(part) if part.error_code == ErrorCode::NotCoordinator.code() => {}
                Response::ListGroups(part) => {
                    if part.error_code != 0 {
                        out.error_code = part.error_code;
                    }
                    out.groups.extend(part.groups);
                }
                other => unexpected(other),
            }
        }
        out
    }

    pub async fn delete_groups(
        &self,
        context: &RequestContext,
        request: m::DeleteGroupsRequest,
    ) -> m::DeleteGroupsResponse {
        let mut results = Vec::with_capacity(request.groups_names.len());
        for id in &request.groups_names {
            match self.ask(context, id, Request::DeleteGroups(vec![id.clone()])).await {
                Response::DeleteGroups(part) => results.extend(part),
                other => unexpected(other),
            }
        }
        m::DeleteGroupsResponse { results, ..Default::default() }
    }
}

macro_rules! one_group {
    ($($method:ident $request:ident => $response:ident, $variant:ident;)*) => {
        impl Groups {$(
            pub async fn $method(&self, context: &RequestContext, request: m::$request) -> m::$response {
                let group_id = request.group_id.detached();
                match self.ask(context, &group_id, Request::$variant(request)).await {
                    Response::$variant(response) => response,
                    other => unexpected(other),
                }
            }
        )*}
    };
}

one_group! {
    join_group JoinGroupRequest => JoinGroupResponse, JoinGroup;
    sync_group SyncGroupRequest => SyncGroupResponse, SyncGroup;
    heartbeat HeartbeatRequest => HeartbeatResponse, Heartbeat;
    leave_group LeaveGroupRequest => LeaveGroupResponse, LeaveGroup;
    offset_commit OffsetCommitRequest => OffsetCommitResponse, OffsetCommit;
    offset_delete OffsetDeleteRequest => OffsetDeleteResponse, OffsetDelete;
}

fn unexpected<T>(response: Response) -> T {
    unreachable!("a shard answers in kind, not with {response:?}")
}

fn client(io: &Io, context: &RequestContext) -> Client {
    Client {
        api_version: context.api_version,
        client_id: context.client_id().detached(),
        client_host: context.client_host(),
        random: (u128::from(io.random.u64()) << 64) | u128::from(io.random.u64()),
    }
}

impl Shard {
    fn new(io: Io, config: GroupConfig, partition: Arc<Partition>) -> Arc<Self> {
        let machine = GroupShard::new(config);
        Arc::new(Self {
            io,
            partition,
            inner: Mutex::new(Inner { machine, next_token: 0, asking: FxHashMap::default(), deadline: None }),
            waiter: Waiter::new(),
            task: Mutex::new(None),
        })
    }

    /// Runs `step` on the machine and sends the replies that it brings about.
    fn turn<T>(&self, step: impl FnOnce(&mut GroupShard, &mut Turn<'_>) -> T) -> T {
        let mut inner = self.inner.lock();
        let mut effects = Vec::new();
        let now = self.io.clock.read();
        let mut log = ShardLog { partition: &self.partition, io: &self.io };
        let mut turn = Turn { now, log: &mut log, effects: &mut effects };
        let out = step(&mut inner.machine, &mut turn);
        // With one replica what was just written is committed already: nobody need wait for another turn.
        let high_watermark = self.partition.high_watermark();
        inner.machine.on_committed(&mut turn, high_watermark);
        inner.reply(effects);
        let deadline = inner.machine.next_deadline();
        if deadline != inner.deadline {
            inner.deadline = deadline;
            self.waiter.notify();
        }
        out
    }

    async fn ask(&self, client: Client, request: Request) -> Response {
        let (tx, rx) = oneshot::channel();
        let refused = request.refused(ErrorCode::NotCoordinator);
        let token = {
            let mut inner = self.inner.lock();
            inner.next_token += 1;
            let token = Token(inner.next_token);
            inner.asking.insert(token, tx);
            token
        };
        self.turn(|machine, turn| machine.handle(turn, token, client, request));
        // A sender that has gone is a shard that was given up.
        rx.await.unwrap_or(refused)
    }

    fn elect(self: Arc<Self>, epoch: LeaderEpoch) {
        {
            let mut inner = self.inner.lock();
            let mut effects = Vec::new();
            inner.machine.elected(epoch, &mut effects);
            inner.reply(effects);
        }
        let shard = self.clone();
        let task = self.io.tasks.spawn(async move {
            if shard.load(epoch).await {
                shard.run().await;
            }
        });
        if let Some(old) = self.task.lock().replace(task) {
            old.abort();
        }
    }

    fn resign(&self) {
        if let Some(task) = self.task.lock().take() {
            task.abort();
        }
        let mut inner = self.inner.lock();
        let mut effects = Vec::new();
        inner.machine.resigned(&mut effects);
        inner.reply(effects);
        inner.asking.clear();
    }

    /// Feeds the partition's log to the machine, up to the log's end at the election. Whether it became active.
    async fn load(self: &Arc<Self>, epoch: LeaderEpoch) -> bool {
        let start = self.io.clock.now();
        // What a former leader left above the high watermark is committed by our own epoch, and must be seen.
        let end = self.partition.offsets().log_end_offset;
        let mut from = Offset::ZERO;
        let mut records = 0u64;
        while from < end {
            self.wait_for_high_watermark(end).await;
            let shard = self.clone();
            let chunk = self.io.tasks.blocking(move || shard.partition.read_committed(from, LOAD_BYTES)).await;
            match chunk {
                Ok(chunk) if chunk.bytes == 0 => break,
                Ok(chunk) => {
                    let bytes = chunk.slices.concat().into();
                    let replayed = replay(&mut self.inner.lock().machine, &self.partition.name, bytes);
                    match replayed {
                        Ok(count) => records += count,
                        Err(e) => {
                            let near = chunk.next_offset;
                            self.give_up(epoch, &format!("a batch before offset {near} can't be read: {e}"));
                            return false;
                        }
                    }
                    from = chunk.next_offset;
                }
                Err(e) if e.is_retriable() => {
                    warn!(partition = %self.partition.name, "the groups can't be loaded yet: {e}");
                    self.io.clock.sleep(RETRY_AFTER).await;
                }
                Err(e) => {
                    self.give_up(epoch, &e.to_string());
                    return false;
                }
            }
        }
        let active = self.turn(|machine, turn| machine.loaded(turn, epoch));
        if records > 0 {
            let ms = self.io.clock.now().since(start).as_millis();
            info!(partition = %self.partition.name, records, ms, "loaded groups and offsets");
        }
        active
    }

    /// The load of `epoch` can't come to its end: whoever asks is to look elsewhere.
    fn give_up(&self, epoch: LeaderEpoch, why: &str) {
        error!(partition = %self.partition.name, "the groups can't be loaded: {why}");
        let mut inner = self.inner.lock();
        // Another election may have begun another load.
        if inner.machine.phase() == Phase::Loading(epoch) {
            let mut effects = Vec::new();
            inner.machine.resigned(&mut effects);
            inner.reply(effects);
        }
    }

    async fn wait_for_high_watermark(&self, at_least: Offset) {
        loop {
            self.partition.watch(&self.waiter);
            if self.partition.high_watermark() >= at_least {
                return;
            }
            self.waiter.changed().await;
        }
    }

    /// Tells the machine of time and of the high watermark, for as long as the shard is led.
    async fn run(self: Arc<Self>) {
        loop {
            // In this order: what moves after the look is heard of.
            self.partition.watch(&self.waiter);
            self.turn(|_, _| ());
            let deadline = self.inner.lock().deadline;
            let due = async {
                match deadline {
                    Some(at) => self.io.clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.waiter.changed() => {}
                () = due => self.turn(|machine, turn| machine.on_deadline(turn, self.partition.high_watermark())),
            }
        }
    }
}

impl Inner {
    fn reply(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            let Effect::Reply { token, response } = effect;
            if let Some(tx) = self.asking.remove(&token) {
                // A client that has gone no longer listens.
                let _ = tx.send(response);
            }
        }
    }
}

/// Feeds whole batches of a log to the machine, whichever format they were written in; returns how many records.
///
/// # Errors
/// A batch can't be read: what follows it was not fed. A record that is none of the groups' is skipped instead.
fn replay(machine: &mut GroupShard, name: &TopicPartition, mut bytes: Bytes) -> Result<u64, BatchError> {
    let limits = Limits::default();
    let mut count = 0;
    while !bytes.is_empty() {
        let batch = AnyBatch::parse(&bytes)?;
        bytes = bytes.slice(batch.size_in_bytes()..);
        match &batch {
            AnyBatch::V2(batch) if batch.header.is_control() => {
                let h = batch.header;
                if let Some(marker) = end_txn_marker(batch, &limits)? {
                    machine.replay_marker(h.base_offset, h.producer_id, marker.commit);
                }
            }
            AnyBatch::V2(batch) => {
                let h = batch.header;
                let producer_id = if h.is_transactional() { h.producer_id } else { ProducerId::NONE };
                for record in batch.records(&limits)? {
                    count += replay_record(machine, name, producer_id, record?);
                }
            }
            // Of a Kafka before 0.11.
            AnyBatch::Legacy(batch) => {
                for record in batch.records(&limits)? {
                    count += replay_record(machine, name, ProducerId::NONE, record);
                }
            }
        }
    }
    Ok(count)
}

/// Returns 1, or 0 if the record is skipped.
fn replay_record(machine: &mut GroupShard, name: &TopicPartition, producer_id: ProducerId, record: Record) -> u64 {
    let offset = record.offset;
    let replayed = match record.key {
        Some(key) => machine.replay(offset, producer_id, key, record.value).map_err(|e| e.to_string()),
        None => Err("it has no key".to_string()),
    };
    match replayed {
        Ok(()) => 1,
        Err(e) => {
            warn!(partition = %name, %offset, "a record of the groups' log is skipped: {e}");
            0
        }
    }
}
