//! The producers of a partition (Kafka's `ProducerStateManager` and `ProducerAppendInfo`, KIP-98): duplicates, sequences,
//! fencing, and the transactions that hold back the last stable offset.
//!
//! An append is two steps: [`ProducerStateManager::prepare`] checks a batch and changes nothing, so that a write that
//! fails leaves no trace; [`ProducerStateManager::update`] takes what was prepared once the log holds it.
//!
//! | what arrives | state before | result |
//! |---|---|---|
//! | batch, sequences as one of the last five | any | duplicate: the first append's offset |
//! | batch, older epoch | any | INVALID_PRODUCER_EPOCH |
//! | batch, newer epoch | any | sequence 0, or OUT_OF_ORDER_SEQUENCE_NUMBER |
//! | batch, same epoch | known | next sequence (wrapping), or OUT_OF_ORDER_SEQUENCE_NUMBER |
//! | batch | unknown producer | any sequence: its records may have been deleted |
//! | transactional batch of a client | no transaction of that epoch | INVALID_TXN_STATE: no coordinator has vouched for it |
//! | transactional batch | no transaction | a transaction begins at its base offset |
//! | batch outside a transaction | transaction | INVALID_TXN_STATE |
//! | marker | transaction | it ends; unstable until the high watermark passes the marker |
//! | marker, older coordinator epoch | any | TRANSACTION_COORDINATOR_FENCED |
//!
//! Replicated batches are never refused: the leader has decided.

use std::collections::BTreeMap;

use logrun_model::{CoordinatorEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};
use logrun_record::{AppendOrigin, Batch, BatchError, BatchHeader, EndTxnMarker, Limits, end_txn_marker};
use thiserror::Error;

use crate::producer_entry::{BatchMetadata, ProducerStateEntry};
use crate::producer_snapshot::{CorruptSnapshot, decode_snapshot, encode_snapshot};

/// The version of the transaction protocol that a marker was written under (KIP-890): from 2 on each transaction has an
/// epoch of its own, so that a marker's epoch must exceed the data's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct TransactionVersion(pub i16);

/// Why a batch of a producer can't be appended; each is Kafka's error of the same name, but for
/// [`Self::NoOngoingTransaction`], which is INVALID_TXN_STATE too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProducerStateError {
    #[error("producer {producer_id} has epoch {epoch}, and epoch {current} has been seen")]
    InvalidProducerEpoch { producer_id: ProducerId, epoch: ProducerEpoch, current: ProducerEpoch },
    #[error("producer {producer_id} sent sequence {sequence} in epoch {epoch}, and its last one is {last}")]
    OutOfOrderSequenceNumber { producer_id: ProducerId, epoch: ProducerEpoch, sequence: Sequence, last: Sequence },
    #[error("producer {producer_id} wrote outside its ongoing transaction")]
    InvalidTxnState { producer_id: ProducerId },
    #[error("producer {producer_id} wrote to a transaction that is not known to be ongoing")]
    NoOngoingTransaction { producer_id: ProducerId },
    #[error(
        "the coordinator of producer {producer_id} has epoch {coordinator_epoch}, and epoch {current} has been seen"
    )]
    TransactionCoordinatorFenced {
        producer_id: ProducerId,
        coordinator_epoch: CoordinatorEpoch,
        current: CoordinatorEpoch,
    },
}

/// What became of a prepared batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prepared {
    /// It may be appended.
    New,
    /// It is a retry of this batch, which the log already holds: answer with its offset and timestamp.
    Duplicate(BatchMetadata),
}

/// A transaction that ended with an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompletedTxn {
    pub producer_id: ProducerId,
    pub first_offset: Offset,
    /// The offset of the marker.
    pub last_offset: Offset,
    /// Aborted transactions go into the transaction index.
    pub is_aborted: bool,
    /// The last stable offset once this marker is replicated, for the transaction index.
    pub last_stable_offset: Offset,
}

/// The changes that the batches of one append will make.
#[derive(Clone, Debug, Default)]
pub struct ProducerUpdate {
    entries: Vec<ProducerStateEntry>,
    started: Vec<(Offset, ProducerId)>,
    completed: Vec<CompletedTxn>,
    next_offset: Option<Offset>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct UnreplicatedTxn {
    last_offset: Offset,
}

/// The producers of one partition.
#[derive(Clone, Debug)]
pub struct ProducerStateManager {
    producers: BTreeMap<ProducerId, ProducerStateEntry>,
    /// Ongoing transactions by their first offset.
    ongoing_txns: BTreeMap<Offset, ProducerId>,
    /// Ended transactions whose marker lies at or above the high watermark, by their first offset.
    unreplicated_txns: BTreeMap<Offset, UnreplicatedTxn>,
    /// The offset up to which (exclusive) the log is reflected here.
    map_end_offset: Offset,
    /// The offset of the latest snapshot.
    last_snapshot_offset: Offset,
    producer_id_expiration_ms: i64,
}

impl ProducerStateManager {
    /// No producers, at `log_start_offset`. `producer_id_expiration_ms` is `producer.id.expiration.ms`.
    pub fn new(log_start_offset: Offset, producer_id_expiration_ms: i64) -> Self {
        Self {
            producers: BTreeMap::new(),
            ongoing_txns: BTreeMap::new(),
            unreplicated_txns: BTreeMap::new(),
            map_end_offset: log_start_offset,
            last_snapshot_offset: log_start_offset,
            producer_id_expiration_ms,
        }
    }

    /// Changes `producer.id.expiration.ms`.
    pub fn set_producer_id_expiration_ms(&mut self, ms: i64) {
        self.producer_id_expiration_ms = ms;
    }

    /// Checks the batch under `header`, whose offsets are assigned, and adds its changes to `update`.
    ///
    /// `marker` is the end of a transaction that a control batch holds; `version` says how strictly its epoch is
    /// checked. A batch of no producer changes nothing but the end offset.
    pub fn prepare(
        &self,
        update: &mut ProducerUpdate,
        header: &BatchHeader,
        marker: Option<&EndTxnMarker>,
        origin: AppendOrigin,
        version: TransactionVersion,
    ) -> Result<Prepared, ProducerStateError> {
        let mut entry = None;
        if header.has_producer_id() {
            let mut e = self.pending(update, header.producer_id);
            if header.is_control() {
                if let Some(marker) = marker {
                    update.completed.extend(prepare_marker(&mut e, header, marker, origin, version)?);
                    entry = Some(e);
                }
            } else {
                if origin == AppendOrigin::Client
                    && let Some(duplicate) =
                        e.find_duplicate(header.producer_epoch, header.base_sequence, header.last_sequence())
                {
                    return Ok(Prepared::Duplicate(*duplicate));
                }
                if prepare_data(&mut e, header, origin)? {
                    update.started.push((header.base_offset, header.producer_id));
                }
                entry = Some(e);
            }
        }
        if let Some(e) = entry {
            match update.entries.iter_mut().find(|p| p.producer_id == e.producer_id) {
                Some(pending) => *pending = e,
                None => update.entries.push(e),
            }
        }
        update.next_offset = Some(header.next_offset());
        Ok(Prepared::New)
    }

    fn pending(&self, update: &ProducerUpdate, id: ProducerId) -> ProducerStateEntry {
        let pending = update.entries.iter().find(|e| e.producer_id == id);
        pending.or_else(|| self.producers.get(&id)).copied().unwrap_or_else(|| ProducerStateEntry::empty(id))
    }

    /// Takes what was prepared, now that the log holds it. The transactions that ended are returned in order.
    pub fn update(&mut self, update: ProducerUpdate) -> Vec<CompletedTxn> {
        for e in update.entries {
            self.producers.insert(e.producer_id, e);
        }
        self.ongoing_txns.extend(update.started);
        let mut completed = update.completed;
        for txn in &mut completed {
            txn.last_stable_offset = self.last_stable_offset_after(txn);
            // The transaction may have begun below a snapshot that is lost; then there is nothing to end.
            if self.ongoing_txns.remove(&txn.first_offset).is_some() {
                self.unreplicated_txns.insert(txn.first_offset, UnreplicatedTxn { last_offset: txn.last_offset });
            }
        }
        if let Some(next) = update.next_offset {
            self.map_end_offset = next;
        }
        completed
    }

    /// Takes a batch that the log already holds or that a leader has sent: recovery and replication.
    pub fn replay(&mut self, batch: &Batch, limits: &Limits) -> Result<Vec<CompletedTxn>, BatchError> {
        let marker = if batch.header.has_producer_id() { end_txn_marker(batch, limits)? } else { None };
        let mut update = ProducerUpdate::default();
        let version = TransactionVersion::default();
        match self.prepare(&mut update, &batch.header, marker.as_ref(), AppendOrigin::Replication, version) {
            Ok(_) => Ok(self.update(update)),
            Err(_) => unreachable!("replicated batches are never refused"),
        }
    }

    /// The first offset other than `txn`'s own that is still undecided, or else the one behind its marker.
    fn last_stable_offset_after(&self, txn: &CompletedTxn) -> Offset {
        let other = self.ongoing_txns.iter().find(|&(_, id)| *id != txn.producer_id);
        other.map_or(Offset(txn.last_offset.get().saturating_add(1)), |(&first, _)| first)
    }

    /// The first offset that a read-committed consumer may not pass: of a transaction that is undecided, or decided by
    /// a marker that isn't replicated.
    pub fn first_unstable_offset(&self) -> Option<Offset> {
        let undecided = self.first_undecided_offset();
        let unreplicated = self.unreplicated_txns.first_key_value().map(|(&o, _)| o);
        [undecided, unreplicated].into_iter().flatten().min()
    }

    /// The first offset of the oldest ongoing transaction.
    pub fn first_undecided_offset(&self) -> Option<Offset> {
        self.ongoing_txns.first_key_value().map(|(&o, _)| o)
    }

    /// The last stable offset at this high watermark.
    pub fn last_stable_offset(&self, high_watermark: Offset) -> Offset {
        self.first_unstable_offset().map_or(high_watermark, |o| o.min(high_watermark))
    }

    /// Markers below `high_watermark` are replicated: their transactions hold nothing back any more.
    pub fn on_high_watermark_updated(&mut self, high_watermark: Offset) {
        self.remove_unreplicated(high_watermark);
    }

    /// The log now begins at `log_start_offset`. Producers stay, whatever became of their records.
    pub fn on_log_start_offset_incremented(&mut self, log_start_offset: Offset) {
        self.remove_unreplicated(log_start_offset);
        self.map_end_offset = self.map_end_offset.max(log_start_offset);
        self.last_snapshot_offset = self.last_snapshot_offset.max(log_start_offset);
    }

    fn remove_unreplicated(&mut self, below: Offset) {
        self.unreplicated_txns.retain(|_, txn| txn.last_offset >= below);
    }

    /// Forgets everything: the log begins anew at `offset`.
    pub fn truncate_fully_and_start_at(&mut self, offset: Offset) {
        *self = Self::new(offset, self.producer_id_expiration_ms);
    }

    /// Puts a snapshot's state in the place of all that is here: loading, and truncation to an offset below the end.
    /// The caller then replays the log from `snapshot_offset`. Producers that have expired by `now` are left out.
    pub fn load_snapshot(
        &mut self,
        snapshot_offset: Offset,
        bytes: &[u8],
        now: TimestampMs,
    ) -> Result<(), CorruptSnapshot> {
        let entries = decode_snapshot(bytes)?;
        let expiration_ms = self.producer_id_expiration_ms;
        self.truncate_fully_and_start_at(snapshot_offset);
        for e in entries.into_iter().filter(|e| !expired(e, now, expiration_ms)) {
            if let Some(first) = e.current_txn_first_offset {
                self.ongoing_txns.insert(first, e.producer_id);
            }
            self.producers.insert(e.producer_id, e);
        }
        Ok(())
    }

    /// The bytes of a snapshot at [`Self::map_end_offset`].
    pub fn encode_snapshot(&self) -> Vec<u8> {
        encode_snapshot(self.producers.values())
    }

    /// Whether a snapshot now would say more than the latest.
    pub fn needs_snapshot(&self) -> bool {
        self.map_end_offset > self.last_snapshot_offset
    }

    /// A snapshot at `offset` has been written, or is the latest one left.
    pub fn snapshot_taken(&mut self, offset: Offset) {
        self.last_snapshot_offset = offset;
    }

    /// Forgets producers that have been idle for `producer.id.expiration.ms` and have no transaction. Returns how many.
    pub fn remove_expired_producers(&mut self, now: TimestampMs) -> usize {
        let before = self.producers.len();
        let expiration_ms = self.producer_id_expiration_ms;
        self.producers.retain(|_, e| !expired(e, now, expiration_ms));
        before - self.producers.len()
    }

    /// Whether the oldest transaction is older than a transaction may be, by five minutes of grace.
    pub fn has_late_transaction(&self, now: TimestampMs, max_transaction_timeout_ms: i64) -> bool {
        const LATE_TRANSACTION_BUFFER_MS: i64 = 5 * 60 * 1000;
        let oldest = self.ongoing_txns.first_key_value().and_then(|(_, id)| self.producers.get(id));
        oldest.is_some_and(|e| {
            e.last_timestamp.get() > 0
                && now.since_ms(e.last_timestamp)
                    > max_transaction_timeout_ms.saturating_add(LATE_TRANSACTION_BUFFER_MS)
        })
    }

    /// Whether the producer has a transaction open on this partition in this epoch.
    pub fn has_ongoing_transaction(&self, id: ProducerId, epoch: ProducerEpoch) -> bool {
        self.entry(id).is_some_and(|e| e.current_txn_first_offset.is_some() && e.producer_epoch == epoch)
    }

    /// What is known of one producer.
    pub fn entry(&self, id: ProducerId) -> Option<&ProducerStateEntry> {
        self.producers.get(&id)
    }

    /// All producers, by id.
    pub fn active_producers(&self) -> impl ExactSizeIterator<Item = &ProducerStateEntry> {
        self.producers.values()
    }

    /// The offset up to which (exclusive) the log is reflected here.
    pub const fn map_end_offset(&self) -> Offset {
        self.map_end_offset
    }

    /// Batches without a producer id needn't be prepared one by one: their end can be set.
    pub fn update_map_end_offset(&mut self, offset: Offset) {
        self.map_end_offset = offset;
    }

    pub fn is_empty(&self) -> bool {
        self.producers.is_empty() && self.unreplicated_txns.is_empty()
    }
}

fn expired(e: &ProducerStateEntry, now: TimestampMs, expiration_ms: i64) -> bool {
    e.current_txn_first_offset.is_none() && now.since_ms(e.last_timestamp) >= expiration_ms
}

/// Checks a data batch against `e` and adds it. Returns whether a transaction begins with it.
fn prepare_data(e: &mut ProducerStateEntry, h: &BatchHeader, origin: AppendOrigin) -> Result<bool, ProducerStateError> {
    if origin != AppendOrigin::Replication && h.producer_epoch < e.producer_epoch {
        return Err(stale_epoch(e, h));
    }
    if origin == AppendOrigin::Client {
        // Only a transaction that a coordinator knows will ever end, and until then nothing behind it is stable (KIP-890).
        // What Kafka has begun in these files may go on, and ends when they are Kafka's again.
        let ongoing = e.current_txn_first_offset.is_some() && h.producer_epoch == e.producer_epoch;
        if h.is_transactional() && !ongoing {
            return Err(ProducerStateError::NoOngoingTransaction { producer_id: e.producer_id });
        }
        check_sequence(e, h)?;
    }
    if origin != AppendOrigin::Replication && e.current_txn_first_offset.is_some() && !h.is_transactional() {
        return Err(ProducerStateError::InvalidTxnState { producer_id: e.producer_id });
    }
    e.add_batch(
        h.producer_epoch,
        BatchMetadata {
            last_sequence: h.last_sequence(),
            last_offset: h.last_offset(),
            offset_delta: h.last_offset_delta,
            timestamp: h.max_timestamp,
        },
    );
    let begins = h.is_transactional() && e.current_txn_first_offset.is_none();
    if begins {
        e.current_txn_first_offset = Some(h.base_offset);
    }
    Ok(begins)
}

fn check_sequence(e: &ProducerStateEntry, h: &BatchHeader) -> Result<(), ProducerStateError> {
    // All that is known of the producer may have been deleted with its records: then any sequence will do.
    if e.producer_epoch == ProducerEpoch::NONE {
        return Ok(());
    }
    let last = if h.producer_epoch == e.producer_epoch { e.last_sequence() } else { Sequence::NONE };
    let in_sequence = h.base_sequence.get() == if last.get() == i32::MAX { 0 } else { last.get() + 1 };
    if in_sequence {
        return Ok(());
    }
    Err(ProducerStateError::OutOfOrderSequenceNumber {
        producer_id: e.producer_id,
        epoch: h.producer_epoch,
        sequence: h.base_sequence,
        last,
    })
}

const fn stale_epoch(e: &ProducerStateEntry, h: &BatchHeader) -> ProducerStateError {
    ProducerStateError::InvalidProducerEpoch {
        producer_id: e.producer_id,
        epoch: h.producer_epoch,
        current: e.producer_epoch,
    }
}

/// Checks a marker against `e` and ends its transaction, if there is one.
fn prepare_marker(
    e: &mut ProducerStateEntry,
    h: &BatchHeader,
    marker: &EndTxnMarker,
    origin: AppendOrigin,
    version: TransactionVersion,
) -> Result<Option<CompletedTxn>, ProducerStateError> {
    if origin != AppendOrigin::Replication {
        let own_epoch = version >= TransactionVersion(2);
        // A marker of version 2 that was written and whose answer was lost comes again with the epoch that it set.
        let retry = own_epoch && h.producer_epoch == e.producer_epoch && e.current_txn_first_offset.is_none();
        let stale = if own_epoch { h.producer_epoch <= e.producer_epoch } else { h.producer_epoch < e.producer_epoch };
        if stale && !retry {
            return Err(stale_epoch(e, h));
        }
        if e.coordinator_epoch > marker.coordinator_epoch {
            return Err(ProducerStateError::TransactionCoordinatorFenced {
                producer_id: e.producer_id,
                coordinator_epoch: marker.coordinator_epoch,
                current: e.coordinator_epoch,
            });
        }
    }
    let completed = e.current_txn_first_offset.map(|first_offset| CompletedTxn {
        producer_id: e.producer_id,
        first_offset,
        last_offset: h.base_offset,
        is_aborted: !marker.commit,
        // Known only once the update is taken.
        last_stable_offset: Offset::NONE,
    });
    e.end_transaction(h.producer_epoch, marker.coordinator_epoch, marker.timestamp);
    Ok(completed)
}

#[cfg(test)]
#[path = "producer_state_tests.rs"]
mod tests;
