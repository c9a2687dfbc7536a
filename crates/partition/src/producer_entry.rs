//! What a partition remembers of one producer (Kafka's `ProducerStateEntry` and `BatchMetadata`, KIP-98).
//!
//! The last five batches are kept, because a producer may have five requests in flight: a retry of any of them must be
//! recognised.

use logrun_model::{CoordinatorEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};

/// How many batches are remembered for each producer.
pub const NUM_BATCHES_TO_RETAIN: usize = 5;

/// One appended batch of an idempotent producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct BatchMetadata {
    pub last_sequence: Sequence,
    pub last_offset: Offset,
    /// `last_offset - base_offset`.
    pub offset_delta: i32,
    pub timestamp: TimestampMs,
}

impl BatchMetadata {
    /// The sequence of the batch's first record.
    pub const fn first_sequence(&self) -> Sequence {
        // As `DefaultRecordBatch.decrementSequence`; the fields may come from a damaged snapshot.
        let (last, delta) = (self.last_sequence.get(), self.offset_delta);
        if last < delta {
            return Sequence(i32::MAX.wrapping_sub(delta.wrapping_sub(last)).wrapping_add(1));
        }
        Sequence(last.wrapping_sub(delta))
    }

    /// The offset of the batch's first record.
    pub const fn first_offset(&self) -> Offset {
        Offset(self.last_offset.get().wrapping_sub(self.offset_delta as i64))
    }
}

/// The state of one producer on one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerStateEntry {
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    /// The epoch of the coordinator that wrote the last transaction marker.
    pub coordinator_epoch: CoordinatorEpoch,
    /// The highest timestamp of the last batch, or the marker's time.
    pub last_timestamp: TimestampMs,
    /// Where the ongoing transaction began.
    pub current_txn_first_offset: Option<Offset>,
    /// The last batches, oldest first; `len` of them are in use.
    batches: [BatchMetadata; NUM_BATCHES_TO_RETAIN],
    len: u8,
}

impl ProducerStateEntry {
    /// A producer that hasn't been seen.
    pub fn empty(producer_id: ProducerId) -> Self {
        Self {
            producer_id,
            producer_epoch: ProducerEpoch::NONE,
            coordinator_epoch: CoordinatorEpoch::NONE,
            last_timestamp: TimestampMs::NONE,
            current_txn_first_offset: None,
            batches: [BatchMetadata::default(); NUM_BATCHES_TO_RETAIN],
            len: 0,
        }
    }

    /// The remembered batches, oldest first.
    pub fn batches(&self) -> &[BatchMetadata] {
        &self.batches[..usize::from(self.len)]
    }

    pub fn last_batch(&self) -> Option<&BatchMetadata> {
        self.batches().last()
    }

    /// The sequence of the last record, or none.
    pub fn last_sequence(&self) -> Sequence {
        self.last_batch().map_or(Sequence::NONE, |b| b.last_sequence)
    }

    /// The offset of the last data record, or none.
    pub fn last_data_offset(&self) -> Offset {
        self.last_batch().map_or(Offset::NONE, |b| b.last_offset)
    }

    /// The remembered batch with exactly these sequences: that of which the new one is a retry.
    pub fn find_duplicate(&self, epoch: ProducerEpoch, first: Sequence, last: Sequence) -> Option<&BatchMetadata> {
        if epoch != self.producer_epoch {
            return None;
        }
        self.batches().iter().find(|b| b.first_sequence() == first && b.last_sequence == last)
    }

    /// Remembers a batch, forgetting the oldest beyond five. Another epoch forgets them all.
    pub fn add_batch(&mut self, epoch: ProducerEpoch, batch: BatchMetadata) {
        self.set_epoch(epoch);
        if usize::from(self.len) == NUM_BATCHES_TO_RETAIN {
            self.batches.copy_within(1.., 0);
            self.len -= 1;
        }
        self.batches[usize::from(self.len)] = batch;
        self.len += 1;
        self.last_timestamp = batch.timestamp;
    }

    /// Ends the transaction, if there is one.
    pub fn end_transaction(&mut self, epoch: ProducerEpoch, coordinator: CoordinatorEpoch, timestamp: TimestampMs) {
        self.set_epoch(epoch);
        self.coordinator_epoch = coordinator;
        self.current_txn_first_offset = None;
        self.last_timestamp = timestamp;
    }

    fn set_epoch(&mut self, epoch: ProducerEpoch) {
        if self.producer_epoch != epoch {
            self.len = 0;
            self.producer_epoch = epoch;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(first: i32, count: i32, base: i64) -> BatchMetadata {
        BatchMetadata {
            last_sequence: Sequence(first).plus(count - 1),
            last_offset: Offset(base + i64::from(count) - 1),
            offset_delta: count - 1,
            timestamp: TimestampMs(7),
        }
    }

    #[test]
    fn remembers_five_batches() {
        let mut e = ProducerStateEntry::empty(ProducerId(1));
        for i in 0..7 {
            e.add_batch(ProducerEpoch(0), batch(i * 10, 10, i64::from(i) * 10));
        }
        assert_eq!(e.batches().len(), 5);
        assert!(e.find_duplicate(ProducerEpoch(0), Sequence(10), Sequence(19)).is_none());
        let d = e.find_duplicate(ProducerEpoch(0), Sequence(20), Sequence(29)).unwrap();
        assert_eq!(d.first_offset(), Offset(20));
        assert!(e.find_duplicate(ProducerEpoch(1), Sequence(20), Sequence(29)).is_none());
        assert!(e.find_duplicate(ProducerEpoch(0), Sequence(20), Sequence(28)).is_none());
        e.add_batch(ProducerEpoch(1), batch(0, 1, 70));
        assert_eq!(e.batches().len(), 1);
    }

    #[test]
    fn sequences_wrap_backwards_too() {
        let b = batch(i32::MAX - 2, 5, 100);
        assert_eq!(b.last_sequence, Sequence(1));
        assert_eq!(b.first_sequence(), Sequence(i32::MAX - 2));
    }
}
