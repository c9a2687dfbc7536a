//! Transactions (KIP-98, KIP-890): begin, commit, abort, and offsets that are committed with the records.
//!
//! | state | what is possible |
//! |---|---|
//! | no producer id | `init_transactions` |
//! | ready | `begin_transaction` |
//! | open | sending, `send_offsets_to_transaction`, `commit_transaction`, `abort_transaction` |
//! | open, failed | `abort_transaction` only: a record or a call has failed |
//! | completing | nothing is taken; `commit_transaction` again if its fate is not known |
//! | fatal | nothing: another producer has taken the transactional id, or it isn't allowed |
//!
//! A cluster whose `transaction.version` is 2 takes a partition into the transaction by the produce request itself and
//! gives a new epoch at each end; others are told of each partition first.

use std::collections::{BTreeMap, BTreeSet};

use logrun_model::{ProducerEpoch, ProducerId, Str, TopicPartition};
use logrun_wire::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use logrun_wire::messages::txn_offset_commit_request::{TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic};
use logrun_wire::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest, TxnOffsetCommitRequest,
};
use logrun_wire::{ErrorCode, Request};

use super::Producer;
use super::shared::Shared;
use crate::admin::OffsetAndMetadata;
use crate::client::{Call, Target};
use crate::consumer::ConsumerGroupMetadata;
use crate::coordinators::CoordinatorKey;
use crate::error::{Error, check};

/// The feature that says which generation of transactions a cluster has.
const FEATURE: &str = "transaction.version";

/// A transactional producer's state.
#[derive(Clone, Debug)]
pub(super) struct Transaction {
    pub(super) id: Str,
    pub(super) timeout_ms: i32,
    pub(super) initialised: bool,
    pub(super) is_open: bool,
    /// Partitions become part of it by being written to.
    pub(super) implicit: bool,
    /// The partitions that the coordinator knows of.
    pub(super) admitted: BTreeSet<TopicPartition>,
    /// The coordinator is being told of partitions.
    pub(super) adding: bool,
    /// Something was sent.
    pub(super) touched: bool,
    /// The coordinator may know of offsets.
    has_offsets: bool,
    /// It is being committed (true) or aborted.
    pub(super) completing: Option<bool>,
    error: Option<Error>,
    fatal: bool,
}

impl Transaction {
    pub(super) fn new(id: Str, timeout_ms: i32) -> Self {
        Self {
            id,
            timeout_ms,
            initialised: false,
            is_open: false,
            implicit: false,
            admitted: BTreeSet::new(),
            adding: false,
            touched: false,
            has_offsets: false,
            completing: None,
            error: None,
            fatal: false,
        }
    }

    pub(super) fn admits(&self, tp: &TopicPartition) -> bool {
        self.is_open && (self.implicit || self.admitted.contains(tp))
    }

    /// Whether the coordinator may have begun it, so that it has to be told of the end.
    fn is_begun(&self) -> bool {
        match self.implicit {
            true => self.touched,
            // What became of a call that failed isn't known.
            false => !self.admitted.is_empty() || self.has_offsets || self.error.is_some(),
        }
    }

    pub(super) fn may_send(&self) -> Result<(), Error> {
        self.usable()?;
        if !self.is_open || self.completing.is_some() {
            return Err(Error::Invalid("a transactional producer sends between begin and commit only".to_owned()));
        }
        Ok(())
    }

    pub(super) fn usable(&self) -> Result<(), Error> {
        match &self.error {
            Some(e) => Err(e.clone()),
            None => Ok(()),
        }
    }

    /// From now on it can only be aborted, or not even that.
    pub(super) fn fail(&mut self, error: Error) {
        self.fatal |= is_fatal(&error);
        if self.error.is_none() || self.fatal {
            self.error = Some(error);
        }
    }

    /// Looks at an error of a batch: most are the batch's own business until it is given up.
    pub(super) fn note(&mut self, error: &Error) {
        if is_fatal(error) {
            self.fail(error.clone());
        }
    }
}

/// What becomes of the records of a transaction that is aborted before they are sent.
pub(super) fn aborted() -> Error {
    Error::Invalid("the transaction was aborted".to_owned())
}

fn is_fatal(error: &Error) -> bool {
    matches!(
        error.code(),
        Some(
            ErrorCode::ProducerFenced
                | ErrorCode::InvalidProducerIdMapping
                | ErrorCode::TransactionalIdAuthorizationFailed
                | ErrorCode::ClusterAuthorizationFailed
                | ErrorCode::InvalidTxnState
                | ErrorCode::UnsupportedVersion
        )
    )
}

/// Kafka's coordinators say so of a producer whose epoch is too old for a call.
fn fenced(error: Error) -> Error {
    match error.code() {
        Some(ErrorCode::InvalidProducerEpoch) => ErrorCode::ProducerFenced.into(),
        _ => error,
    }
}

impl Shared {
    fn transactional_id(&self) -> Result<(Str, bool, i32), Error> {
        let state = self.state.lock();
        let t = state.transaction.as_ref();
        let t = t.ok_or_else(|| Error::Invalid("the producer has no transactional.id".to_owned()))?;
        if t.fatal {
            t.usable()?;
        }
        Ok((t.id.clone(), t.implicit, t.timeout_ms))
    }

    fn identity(&self) -> Result<(i64, i16), Error> {
        let producer = self.state.lock().accumulator.producer();
        let (id, epoch) = producer.ok_or_else(|| Error::Invalid("call init_transactions first".to_owned()))?;
        Ok((id.get(), epoch.get()))
    }

    async fn at_coordinator<R: Request>(
        &self,
        id: &Str,
        versions: (i16, i16),
        build: impl FnMut(i16) -> Result<R, Error> + Send,
        code: impl Fn(i16, &R::Response) -> i16 + Sync,
    ) -> Result<R::Response, Error> {
        let target = Target::Coordinator(CoordinatorKey::Transaction(id.clone()));
        let call = Call::to(target).versions(versions.0, versions.1);
        self.client.call_with(call, build, |v, r| check(code(v, r), None)).await.map_err(fenced)
    }

    /// Tells the coordinator of partitions that are about to be written to.
    pub(super) async fn add_partitions(&self, partitions: &BTreeSet<TopicPartition>) -> Result<(), Error> {
        let (id, _, _) = self.transactional_id()?;
        let (producer_id, producer_epoch) = self.identity()?;
        let mut topics: BTreeMap<&Str, Vec<i32>> = BTreeMap::new();
        for tp in partitions {
            topics.entry(&tp.topic).or_default().push(tp.partition);
        }
        let topics: Vec<_> = topics
            .into_iter()
            .map(|(name, partitions)| AddPartitionsToTxnTopic { name: name.clone(), partitions, ..Default::default() })
            .collect();
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: id.clone(),
            v3_and_below_producer_id: producer_id,
            v3_and_below_producer_epoch: producer_epoch,
            v3_and_below_topics: topics,
            ..Default::default()
        };
        // The versions above are between brokers.
        let first_error = |_, r: &logrun_wire::messages::AddPartitionsToTxnResponse| {
            let codes = r.results_by_topic_v3_and_below.iter().flat_map(|t| &t.results_by_partition);
            let mut codes = codes.map(|p| p.partition_error_code);
            codes.find(|code| *code != 0 && *code != ErrorCode::OperationNotAttempted.code()).unwrap_or(0)
        };
        self.at_coordinator(&id, (0, 3), |_| Ok(request.clone()), first_error).await.map(drop)
    }

    async fn init(&self) -> Result<(), Error> {
        let (id, _, transaction_timeout_ms) = self.transactional_id()?;
        let before = self.state.lock().accumulator.producer();
        let build = |version: i16| {
            let mut request = InitProducerIdRequest {
                transactional_id: Some(id.clone()),
                transaction_timeout_ms,
                ..Default::default()
            };
            // Kept, so that a producer that was fenced does not come back as a new one (KIP-360).
            if let (3.., Some((id, epoch))) = (version, before) {
                request.producer_id = id.get();
                request.producer_epoch = epoch.get();
            }
            Ok(request)
        };
        let response = self.at_coordinator::<InitProducerIdRequest>(&id, (0, 5), build, |_, r| r.error_code).await?;
        let coordinator = self.client.coordinator(&CoordinatorKey::Transaction(id.clone())).await?;
        let connection = self.client.node(coordinator, crate::Lane::Coordinator).await?;
        let level = connection.versions().finalized_features.get(FEATURE).copied().unwrap_or(0);
        let mut state = self.state.lock();
        state.accumulator.transactional = true;
        state.accumulator.set_producer(ProducerId(response.producer_id), ProducerEpoch(response.producer_epoch));
        if let Some(t) = &mut state.transaction {
            t.initialised = true;
            t.implicit = level >= 2;
        }
        Ok(())
    }

    /// Ends the open transaction.
    async fn end(&self, committed: bool) -> Result<(), Error> {
        let (id, implicit, _) = self.transactional_id()?;
        self.added().await;
        let (begun, failed) = {
            let state = self.state.lock();
            let t = state.transaction.as_ref();
            (t.is_some_and(Transaction::is_begun), t.is_some_and(|t| t.error.is_some()))
        };
        if begun {
            let (producer_id, producer_epoch) = self.identity()?;
            let request = EndTxnRequest {
                transactional_id: id.clone(),
                producer_id,
                producer_epoch,
                committed,
                ..Default::default()
            };
            let versions = if implicit { (5, i16::MAX) } else { (0, 4) };
            let response = self.at_coordinator(&id, versions, |_| Ok(request.clone()), |_, r| r.error_code).await;
            let response = match response {
                // Nothing of it had reached the coordinator.
                Err(e) if !committed && failed && e.code() == Some(ErrorCode::InvalidTxnState) => None,
                response => Some(response?),
            };
            if let Some(r) = response
                && implicit
                && r.producer_id >= 0
            {
                let mut state = self.state.lock();
                state.accumulator.set_producer(ProducerId(r.producer_id), ProducerEpoch(r.producer_epoch));
            }
        }
        if failed && !implicit || self.state.lock().accumulator.needs_epoch() {
            // Numbers were lost with the batches that failed: a new epoch begins them anew. Under the old one a broker
            // would take the next transaction's for repetitions.
            self.init().await?;
        }
        let mut state = self.state.lock();
        state.accumulator.take_failure();
        if let Some(t) = &mut state.transaction {
            t.is_open = false;
            t.touched = false;
            t.has_offsets = false;
            t.completing = None;
            t.admitted.clear();
            t.error = None;
        }
        Ok(())
    }

    /// Waits until the coordinator isn't being told of partitions: they would be taken for the next transaction's.
    async fn added(&self) {
        loop {
            let over = self.memory.notified();
            tokio::pin!(over);
            over.as_mut().enable();
            if !self.state.lock().transaction.as_ref().is_some_and(|t| t.adding) {
                return;
            }
            over.await;
        }
    }
}

impl Producer {
    /// Takes the transactional id over: other producers that have it are shut out, and what they left open is aborted.
    /// To be called once, before the first transaction.
    ///
    /// # Errors
    /// If the coordinator refuses, or doesn't answer in time.
    pub async fn init_transactions(&self) -> Result<(), Error> {
        let result = self.shared().init().await;
        self.remember(result)
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// If one is open already, or the producer can't go on.
    pub fn begin_transaction(&self) -> Result<(), Error> {
        let mut state = self.shared().state.lock();
        state.accumulator.take_failure();
        let t = state.transaction.as_mut();
        let t = t.ok_or_else(|| Error::Invalid("the producer has no transactional.id".to_owned()))?;
        t.usable()?;
        if !t.initialised {
            return Err(Error::Invalid("call init_transactions first".to_owned()));
        }
        if t.is_open {
            return Err(Error::Invalid("a transaction is open already".to_owned()));
        }
        t.is_open = true;
        Ok(())
    }

    /// Commits offsets for a group with the transaction: they count if it is committed.
    ///
    /// # Errors
    /// If a coordinator refuses; the transaction can only be aborted then.
    pub async fn send_offsets_to_transaction(
        &self,
        offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>,
        group: &ConsumerGroupMetadata,
    ) -> Result<(), Error> {
        let result = self.send_offsets(offsets, group).await;
        self.remember(result)
    }

    async fn send_offsets(
        &self,
        offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>,
        group: &ConsumerGroupMetadata,
    ) -> Result<(), Error> {
        let shared = self.shared();
        let (id, implicit, _) = shared.transactional_id()?;
        let (producer_id, producer_epoch) = shared.identity()?;
        {
            let mut state = shared.state.lock();
            if let Some(t) = &mut state.transaction {
                t.may_send()?;
                t.touched = true;
                t.has_offsets = true;
            }
        }
        if !implicit {
            let request = AddOffsetsToTxnRequest {
                transactional_id: id.clone(),
                producer_id,
                producer_epoch,
                group_id: group.group_id.clone(),
                ..Default::default()
            };
            shared.at_coordinator(&id, (0, 3), |_| Ok(request.clone()), |_, r| r.error_code).await?;
        }
        let topics =
            crate::admin::by_topic(offsets).into_iter().map(|(name, partitions)| TxnOffsetCommitRequestTopic {
                name: name.clone(),
                partitions: partitions
                    .into_iter()
                    .map(|(partition_index, o)| TxnOffsetCommitRequestPartition {
                        partition_index,
                        committed_offset: o.offset,
                        committed_leader_epoch: o.leader_epoch.unwrap_or(-1),
                        committed_metadata: Some(o.metadata.clone()),
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            });
        let request = TxnOffsetCommitRequest {
            transactional_id: id,
            group_id: group.group_id.clone(),
            producer_id,
            producer_epoch,
            generation_id_or_member_epoch: group.generation_id.get(),
            member_id: group.member_id.clone(),
            group_instance_id: group.group_instance_id.clone(),
            topics: topics.collect(),
            ..Default::default()
        };
        // Version 6 has topics by id.
        let versions = if implicit { (5, 5) } else { (3, 4) };
        let target = Target::Coordinator(CoordinatorKey::Group(group.group_id.clone()));
        let call = Call::to(target).versions(versions.0, versions.1);
        let first_error = |_, r: &logrun_wire::messages::TxnOffsetCommitResponse| {
            let codes = r.topics.iter().flat_map(|t| &t.partitions).map(|p| p.error_code);
            codes.into_iter().find(|code| *code != 0).map_or(Ok(()), |code| check(code, None))
        };
        shared.client.call_with(call, |_| Ok(request.clone()), first_error).await.map(drop).map_err(fenced)
    }

    /// Sends what waits and commits the transaction.
    ///
    /// # Errors
    /// If a record failed or the coordinator refuses: then nothing is committed and the transaction is to be aborted. If
    /// the coordinator doesn't answer in time, whether it is committed is not known: call it again, or close the producer.
    pub async fn commit_transaction(&self) -> Result<(), Error> {
        self.complete(true)?;
        self.flush().await;
        {
            let mut state = self.shared().state.lock();
            if let Some(e) = state.accumulator.failure().cloned() {
                if let Some(t) = &mut state.transaction {
                    t.fail(e.clone());
                }
                return Err(e);
            }
        }
        let result = self.shared().end(true).await;
        self.remember(result)
    }

    /// Gives the transaction up: its records are never seen by readers of committed ones.
    ///
    /// # Errors
    /// If the coordinator refuses or doesn't answer in time.
    pub async fn abort_transaction(&self) -> Result<(), Error> {
        self.complete(false)?;
        self.flush().await;
        let result = self.shared().end(false).await;
        self.remember(result)
    }

    /// From now on nothing more is taken into the transaction.
    fn complete(&self, committed: bool) -> Result<(), Error> {
        let mut state = self.shared().state.lock();
        let t = state.transaction.as_mut();
        let t = t.ok_or_else(|| Error::Invalid("the producer has no transactional.id".to_owned()))?;
        if committed {
            t.usable()?;
        }
        if !t.is_open {
            return Err(Error::Invalid("no transaction is open".to_owned()));
        }
        if committed && t.completing == Some(false) {
            return Err(Error::Invalid("the transaction is being aborted".to_owned()));
        }
        t.completing = Some(committed);
        Ok(())
    }

    /// A call that failed leaves a transaction that can only be aborted.
    fn remember(&self, result: Result<(), Error>) -> Result<(), Error> {
        if let Err(e) = &result
            && let Some(t) = &mut self.shared().state.lock().transaction
            && (t.is_open || is_fatal(e))
            && !matches!(e, Error::TimedOut { .. })
        {
            t.fail(e.clone());
        }
        result
    }
}
