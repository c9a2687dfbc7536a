//! Tests of [`super::ProducerStateManager`]: a transcript of each row of its table, Kafka's snapshot, and a model.

use logrun_model::LeaderEpoch;
use logrun_record::{BatchBuilder, Compression, build_end_txn_marker};
use proptest::prelude::*;

use super::*;

const ID: ProducerId = ProducerId(7);

/// A producer's batches appended one after another, as a leader does it.
struct Log {
    producers: ProducerStateManager,
    end: i64,
    origin: AppendOrigin,
}

impl Log {
    fn new() -> Self {
        Self { producers: ProducerStateManager::new(Offset(0), 1000), end: 0, origin: AppendOrigin::Client }
    }

    fn append(&mut self, batch: &Batch, version: i16) -> Result<(Prepared, Vec<CompletedTxn>), ProducerStateError> {
        let mut header = batch.header;
        header.base_offset = Offset(self.end);
        let marker = end_txn_marker(batch, &Limits::default()).unwrap();
        let mut update = ProducerUpdate::default();
        let version = TransactionVersion(version);
        let prepared = self.producers.prepare(&mut update, &header, marker.as_ref(), self.origin, version)?;
        if prepared != Prepared::New {
            return Ok((prepared, Vec::new()));
        }
        self.end = header.next_offset().get();
        Ok((prepared, self.producers.update(update)))
    }

    /// The first batch of a transaction, which a client may not write here: as Kafka's files have it.
    fn begin(&mut self, id: i64, epoch: i16, sequence: i32, records: i32) {
        let origin = std::mem::replace(&mut self.origin, AppendOrigin::Replication);
        assert_eq!(self.data(id, epoch, sequence, records, true), Ok(Prepared::New));
        self.origin = origin;
    }

    fn data(
        &mut self,
        id: i64,
        epoch: i16,
        sequence: i32,
        records: i32,
        txn: bool,
    ) -> Result<Prepared, ProducerStateError> {
        let mut b = BatchBuilder::new(Compression::NONE)
            .producer(ProducerId(id), ProducerEpoch(epoch), Sequence(sequence))
            .partition_leader_epoch(LeaderEpoch(0))
            .transactional(txn);
        for _ in 0..records {
            b.append(TimestampMs(100 + self.end), None, None, &[]).unwrap();
        }
        self.append(&b.build().unwrap(), 0).map(|(p, _)| p)
    }

    fn marker(
        &mut self,
        id: i64,
        epoch: i16,
        coordinator: i32,
        commit: bool,
        version: i16,
    ) -> Result<Vec<CompletedTxn>, ProducerStateError> {
        let marker = EndTxnMarker {
            commit,
            coordinator_epoch: CoordinatorEpoch(coordinator),
            timestamp: TimestampMs(100 + self.end),
        };
        let batch = build_end_txn_marker(ProducerId(id), ProducerEpoch(epoch), marker).unwrap();
        let origin = std::mem::replace(&mut self.origin, AppendOrigin::Coordinator);
        let result = self.append(&batch, version).map(|(_, completed)| completed);
        self.origin = origin;
        result
    }
}

fn not_ongoing<T>(r: Result<T, ProducerStateError>) -> bool {
    matches!(r, Err(ProducerStateError::NoOngoingTransaction { .. }))
}

fn out_of_order<T>(r: Result<T, ProducerStateError>) -> bool {
    matches!(r, Err(ProducerStateError::OutOfOrderSequenceNumber { .. }))
}

#[test]
fn sequences_and_retries() {
    let mut l = Log::new();
    // A producer that isn't known may begin anywhere.
    assert_eq!(l.data(7, 0, 5, 3, false), Ok(Prepared::New));
    assert!(out_of_order(l.data(7, 0, 9, 1, false)));
    assert!(out_of_order(l.data(7, 0, 7, 1, false)));
    let Ok(Prepared::Duplicate(d)) = l.data(7, 0, 5, 3, false) else { panic!("no duplicate") };
    assert_eq!((d.first_offset(), d.last_offset, d.timestamp), (Offset(0), Offset(2), TimestampMs(100)));
    for i in 0..5 {
        assert_eq!(l.data(7, 0, 8 + i, 1, false), Ok(Prepared::New));
    }
    // Six batches ago: no longer known, and so out of order.
    assert!(out_of_order(l.data(7, 0, 5, 3, false)));
    assert!(matches!(l.data(7, 0, 8, 1, false), Ok(Prepared::Duplicate(_))));
    // A refused batch leaves no trace.
    assert_eq!(l.producers.map_end_offset(), Offset(8));
    assert_eq!(l.producers.entry(ID).unwrap().last_sequence(), Sequence(12));
}

#[test]
fn sequences_wrap() {
    let mut l = Log::new();
    l.data(7, 0, i32::MAX - 1, 4, false).unwrap();
    assert_eq!(l.producers.entry(ID).unwrap().last_sequence(), Sequence(1));
    assert!(matches!(l.data(7, 0, i32::MAX - 1, 4, false), Ok(Prepared::Duplicate(_))));
    assert_eq!(l.data(7, 0, 2, 1, false), Ok(Prepared::New));
    l.data(8, 0, i32::MAX, 1, false).unwrap();
    assert_eq!(l.data(8, 0, 0, 1, false), Ok(Prepared::New));
}

#[test]
fn epochs_fence() {
    let mut l = Log::new();
    l.data(7, 3, 0, 2, false).unwrap();
    assert!(matches!(l.data(7, 2, 2, 1, false), Err(ProducerStateError::InvalidProducerEpoch { .. })));
    assert!(out_of_order(l.data(7, 4, 2, 1, false)));
    assert_eq!(l.data(7, 4, 0, 1, false), Ok(Prepared::New));
    // A follower takes what the leader has taken.
    l.origin = AppendOrigin::Replication;
    assert_eq!(l.data(7, 1, 90, 1, false), Ok(Prepared::New));
    // The group coordinator's batches have no sequences.
    l.origin = AppendOrigin::Coordinator;
    assert_eq!(l.data(7, 1, -1, 1, false), Ok(Prepared::New));
    assert!(matches!(l.data(7, 0, -1, 1, false), Err(ProducerStateError::InvalidProducerEpoch { .. })));
}

/// A client could hold back what is stable for ever with a single batch.
#[test]
fn a_client_begins_no_transaction() {
    let mut l = Log::new();
    assert!(not_ongoing(l.data(7, 0, 0, 1, true)));
    // Before the sequence is looked at, and behind the epoch.
    l.data(7, 3, 0, 1, false).unwrap();
    assert!(not_ongoing(l.data(7, 3, 9, 1, true)));
    assert!(matches!(l.data(7, 2, 0, 1, true), Err(ProducerStateError::InvalidProducerEpoch { .. })));
    assert_eq!((l.producers.first_unstable_offset(), l.end), (None, 1));
    // What Kafka has begun goes on until its end, in its epoch.
    l.begin(7, 3, 1, 1);
    assert_eq!(l.data(7, 3, 2, 1, true), Ok(Prepared::New));
    assert!(not_ongoing(l.data(7, 4, 0, 1, true)));
    l.marker(7, 3, 1, true, 0).unwrap();
    assert!(not_ongoing(l.data(7, 3, 3, 1, true)));
    assert_eq!(l.data(7, 3, 3, 1, false), Ok(Prepared::New));
}

#[test]
fn transactions_hold_back_what_is_stable() {
    let mut l = Log::new();
    l.begin(7, 0, 0, 2);
    l.begin(8, 0, 0, 3);
    l.data(7, 0, 2, 1, true).unwrap();
    assert!(l.producers.has_ongoing_transaction(ID, ProducerEpoch(0)));
    assert_eq!(l.producers.first_unstable_offset(), Some(Offset(0)));
    assert!(matches!(l.data(7, 0, 3, 1, false), Err(ProducerStateError::InvalidTxnState { .. })));
    let done = l.marker(7, 0, 1, false, 0).unwrap();
    assert_eq!(
        done,
        [CompletedTxn {
            producer_id: ID,
            first_offset: Offset(0),
            last_offset: Offset(6),
            is_aborted: true,
            last_stable_offset: Offset(2),
        }]
    );
    // Decided, but the marker isn't replicated yet.
    assert_eq!(l.producers.first_unstable_offset(), Some(Offset(0)));
    assert_eq!(l.producers.first_undecided_offset(), Some(Offset(2)));
    l.producers.on_high_watermark_updated(Offset(6));
    assert_eq!(l.producers.first_unstable_offset(), Some(Offset(0)));
    l.producers.on_high_watermark_updated(Offset(7));
    assert_eq!(l.producers.first_unstable_offset(), Some(Offset(2)));
    assert_eq!(l.producers.last_stable_offset(Offset(7)), Offset(2));
    assert_eq!(l.producers.last_stable_offset(Offset(1)), Offset(1));
    assert_eq!(l.marker(8, 0, 1, true, 0).unwrap()[0].last_stable_offset, Offset(8));
    l.producers.on_high_watermark_updated(Offset(8));
    assert_eq!(l.producers.first_unstable_offset(), None);
    // A marker of a producer without a transaction completes none.
    assert_eq!(l.marker(9, 0, 1, true, 0), Ok(vec![]));
}

#[test]
fn markers_are_fenced() {
    let mut l = Log::new();
    l.begin(7, 5, 0, 1);
    assert!(matches!(l.marker(7, 4, 3, true, 0), Err(ProducerStateError::InvalidProducerEpoch { .. })));
    // From version 2 on a marker has an epoch of its own.
    assert!(matches!(l.marker(7, 5, 3, true, 2), Err(ProducerStateError::InvalidProducerEpoch { .. })));
    assert_eq!(l.marker(7, 6, 3, true, 2).unwrap().len(), 1);
    assert_eq!(l.marker(7, 6, 3, true, 2), Ok(vec![]));
    assert!(matches!(l.marker(7, 7, 2, true, 2), Err(ProducerStateError::TransactionCoordinatorFenced { .. })));
    l.begin(7, 6, 0, 1);
}

#[test]
fn batches_of_one_append_see_each_other() {
    let mut l = Log::new();
    l.begin(7, 0, 0, 1);
    let p = l.producers;
    let mut update = ProducerUpdate::default();
    let header = |base: i64, sequence: i32| {
        let mut b = BatchBuilder::new(Compression::NONE)
            .base_offset(Offset(base))
            .producer(ID, ProducerEpoch(0), Sequence(sequence))
            .transactional(true);
        b.append(TimestampMs(1), None, None, &[]).unwrap();
        b.build().unwrap().header
    };
    let version = TransactionVersion(0);
    let mut prepare =
        |h: BatchHeader| p.prepare(&mut update, &h, None, AppendOrigin::Client, version).map(|p| p == Prepared::New);
    assert_eq!(prepare(header(1, 1)), Ok(true));
    assert_eq!(prepare(header(2, 2)), Ok(true));
    assert_eq!(prepare(header(3, 2)), Ok(false));
    assert!(out_of_order(prepare(header(3, 5))));
    let mut p = p;
    p.update(update);
    assert_eq!(p.first_unstable_offset(), Some(Offset(0)));
    assert_eq!(p.map_end_offset(), Offset(3));
}

#[test]
fn producers_expire_unless_in_a_transaction() {
    let mut l = Log::new();
    l.data(7, 0, 0, 1, false).unwrap();
    l.begin(8, 0, 0, 1);
    assert_eq!(l.producers.remove_expired_producers(TimestampMs(1099)), 0);
    assert_eq!(l.producers.remove_expired_producers(TimestampMs(1101)), 1);
    assert!(l.producers.entry(ID).is_none());
    assert!(l.producers.has_late_transaction(TimestampMs(400_000), 60_000));
    assert!(!l.producers.has_late_transaction(TimestampMs(300_000), 60_000));
}

#[test]
fn snapshots_are_kafkas() {
    // Written by ProducerStateManager.writeSnapshot of Apache Kafka 4.3.1.
    let hex = include_str!("../testdata/producers.snapshot.hex").trim();
    let digit = |c: u8| (c as char).to_digit(16).unwrap() as u8;
    let bytes: Vec<u8> = hex.as_bytes().chunks(2).map(|d| digit(d[0]) << 4 | digit(d[1])).collect();
    let mut p = ProducerStateManager::new(Offset(0), 1000);
    p.load_snapshot(Offset(50), &bytes, TimestampMs(1_700_000_000_500)).unwrap();
    let e = p.entry(ProducerId(7000)).unwrap();
    assert_eq!((e.producer_epoch, e.coordinator_epoch), (ProducerEpoch(3), CoordinatorEpoch(12)));
    assert_eq!(e.batches().len(), 1);
    assert_eq!((e.last_sequence(), e.last_batch().unwrap().first_offset()), (Sequence(2), Offset(40)));
    assert_eq!(p.first_unstable_offset(), Some(Offset(40)));
    assert!(p.entry(ProducerId(7001)).unwrap().batches().is_empty());
    assert_eq!(p.encode_snapshot(), bytes);
    assert!(!p.needs_snapshot());
    // The idle one has expired when the snapshot is loaded later.
    p.load_snapshot(Offset(50), &bytes, TimestampMs(1_700_000_001_001)).unwrap();
    assert_eq!(p.active_producers().len(), 1);
    assert!(p.load_snapshot(Offset(50), &bytes[..40], TimestampMs(0)).is_err());
    // A damaged snapshot has changed nothing.
    assert_eq!(p.active_producers().len(), 1);
}

/// What a test does to a log: data of a producer (how far the sequence is off), or a marker.
#[derive(Clone, Debug)]
enum Op {
    Data { id: i64, skip: i32, records: i32, txn: bool },
    Marker { id: i64, commit: bool },
    HighWatermark(i64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0i64..3, -1i32..2, 1i32..4, any::<bool>())
            .prop_map(|(id, skip, records, txn)| Op::Data { id, skip, records, txn }),
        2 => (0i64..3, any::<bool>()).prop_map(|(id, commit)| Op::Marker { id, commit }),
        1 => (0i64..100).prop_map(Op::HighWatermark),
    ]
}

proptest! {
    /// Rebuilding from the log, or from a snapshot and the rest, gives the same state; and what was accepted is a
    /// gapless sequence of each producer.
    #[test]
    fn replay_agrees_with_append(ops in proptest::collection::vec(op(), 1..60), cut in 0usize..60) {
        let mut l = Log::new();
        let mut stored: Vec<Batch> = Vec::new();
        let mut next = [0i32; 3];
        let mut high_watermark = 0;
        for op in ops {
            let before = l.end;
            let mut builder = BatchBuilder::new(Compression::NONE).base_offset(Offset(before));
            match op {
                Op::Data { id, skip, records, txn } => {
                    let sequence = (next[id as usize] + skip).max(0);
                    let known = l.producers.entry(ProducerId(id)).is_some();
                    let mut result = l.data(id, 0, sequence, records, txn);
                    if not_ongoing(result) {
                        if known && sequence != next[id as usize] {
                            continue;
                        }
                        l.begin(id, 0, sequence, records);
                        result = Ok(Prepared::New);
                    }
                    if sequence != next[id as usize] && known {
                        prop_assert!(result != Ok(Prepared::New));
                    }
                    if result != Ok(Prepared::New) {
                        prop_assert_eq!(l.end, before);
                        continue;
                    }
                    next[id as usize] = sequence + records;
                    builder = builder.producer(ProducerId(id), ProducerEpoch(0), Sequence(sequence)).transactional(txn);
                    for _ in 0..records {
                        builder.append(TimestampMs(100 + before), None, None, &[]).unwrap();
                    }
                    stored.push(builder.build().unwrap());
                }
                Op::Marker { id, commit } => {
                    l.marker(id, 0, 1, commit, 0).unwrap();
                    let timestamp = TimestampMs(100 + before);
                    let marker = EndTxnMarker { commit, coordinator_epoch: CoordinatorEpoch(1), timestamp };
                    let mut b = build_end_txn_marker(ProducerId(id), ProducerEpoch(0), marker).unwrap();
                    b.header.base_offset = Offset(before);
                    stored.push(b);
                }
                Op::HighWatermark(o) => {
                    high_watermark = high_watermark.max(o.min(l.end));
                    l.producers.on_high_watermark_updated(Offset(high_watermark));
                }
            }
        }
        let mut replayed = ProducerStateManager::new(Offset(0), i64::MAX);
        let mut resumed = ProducerStateManager::new(Offset(0), i64::MAX);
        let mut snapshot = (Offset(0), resumed.encode_snapshot());
        for (i, b) in stored.iter().enumerate() {
            if i == cut {
                snapshot = (replayed.map_end_offset(), replayed.encode_snapshot());
            }
            replayed.replay(b, &Limits::default()).unwrap();
        }
        replayed.on_high_watermark_updated(Offset(high_watermark));
        prop_assert_eq!(replayed.first_unstable_offset(), l.producers.first_unstable_offset());
        prop_assert_eq!(&replayed.producers, &l.producers.producers);

        resumed.load_snapshot(snapshot.0, &snapshot.1, TimestampMs(0)).unwrap();
        for b in stored.iter().filter(|b| b.header.base_offset >= snapshot.0) {
            resumed.replay(b, &Limits::default()).unwrap();
        }
        prop_assert_eq!(resumed.map_end_offset(), replayed.map_end_offset());
        prop_assert_eq!(resumed.first_undecided_offset(), replayed.first_undecided_offset());
        for e in replayed.active_producers() {
            let r = resumed.entry(e.producer_id).unwrap();
            // The file has one timestamp for the producer; a marker's takes the batch's place.
            let place = |b: &BatchMetadata| (b.last_sequence, b.last_offset, b.offset_delta);
            prop_assert_eq!(r.last_batch().map(place), e.last_batch().map(place));
            prop_assert_eq!(r.current_txn_first_offset, e.current_txn_first_offset);
            prop_assert_eq!(r.last_timestamp, e.last_timestamp);
        }
    }
}
