//! The `.snapshot` file: producer state at an offset, so that recovery needn't read the whole log (`ProducerSnapshot`).
//!
//! ```text
//! version 2 = 1 | crc 4 (CRC32C of what follows) | count 4 | entry*
//! entry (46): producer id 8 | epoch 2 | last sequence 4 | last offset 8 | offset delta 4 | timestamp 8
//!             | coordinator epoch 4 | current transaction's first offset 8 (-1 none)
//! ```
//!
//! A damaged file is an error and never a panic: recovery then takes an older one.

use logrun_model::{CoordinatorEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};
use thiserror::Error;

use crate::producer_entry::{BatchMetadata, ProducerStateEntry};

const VERSION: i16 = 1;
const CRC_OFFSET: usize = 2;
const COUNT_OFFSET: usize = CRC_OFFSET + 4;
const ENTRIES_OFFSET: usize = COUNT_OFFSET + 4;
const ENTRY_SIZE: usize = 8 + 2 + 4 + 8 + 4 + 8 + 4 + 8;

/// Why a snapshot file can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CorruptSnapshot {
    #[error("the producer snapshot ends before its entries do")]
    Truncated,
    #[error("the producer snapshot has version {0}, and only version 1 is known")]
    Version(i16),
    #[error("the producer snapshot is corrupt: its CRC is {stored:#010x} and that of its bytes {computed:#010x}")]
    Crc { stored: u32, computed: u32 },
}

/// Writes `entries` as a snapshot file's bytes.
pub fn encode_snapshot<'a>(entries: impl ExactSizeIterator<Item = &'a ProducerStateEntry>) -> Vec<u8> {
    let mut out = Vec::with_capacity(ENTRIES_OFFSET + entries.len() * ENTRY_SIZE);
    out.extend(VERSION.to_be_bytes());
    out.extend([0; 4]);
    out.extend((entries.len() as i32).to_be_bytes());
    for e in entries {
        out.extend(e.producer_id.get().to_be_bytes());
        out.extend(e.producer_epoch.get().to_be_bytes());
        out.extend(e.last_sequence().get().to_be_bytes());
        out.extend(e.last_data_offset().get().to_be_bytes());
        out.extend(e.last_batch().map_or(0, |b| b.offset_delta).to_be_bytes());
        out.extend(e.last_timestamp.get().to_be_bytes());
        out.extend(e.coordinator_epoch.get().to_be_bytes());
        out.extend(e.current_txn_first_offset.unwrap_or(Offset::NONE).get().to_be_bytes());
    }
    let crc = crc32c::crc32c(&out[COUNT_OFFSET..]);
    out[CRC_OFFSET..COUNT_OFFSET].copy_from_slice(&crc.to_be_bytes());
    out
}

/// Reads a snapshot file. Only each producer's last batch is in it.
pub fn decode_snapshot(bytes: &[u8]) -> Result<Vec<ProducerStateEntry>, CorruptSnapshot> {
    let mut r = Reader(bytes);
    let version = i16::from_be_bytes(r.take()?);
    if version != VERSION {
        return Err(CorruptSnapshot::Version(version));
    }
    let stored = u32::from_be_bytes(r.take()?);
    let computed = crc32c::crc32c(r.0);
    if stored != computed {
        return Err(CorruptSnapshot::Crc { stored, computed });
    }
    let count = usize::try_from(i32::from_be_bytes(r.take()?)).map_err(|_| CorruptSnapshot::Truncated)?;
    if count > r.0.len() / ENTRY_SIZE {
        return Err(CorruptSnapshot::Truncated);
    }
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        entries.push(entry(&mut r)?);
    }
    Ok(entries)
}

fn entry(r: &mut Reader<'_>) -> Result<ProducerStateEntry, CorruptSnapshot> {
    let mut e = ProducerStateEntry::empty(ProducerId(i64::from_be_bytes(r.take()?)));
    let epoch = ProducerEpoch(i16::from_be_bytes(r.take()?));
    let last_sequence = Sequence(i32::from_be_bytes(r.take()?));
    let last_offset = Offset(i64::from_be_bytes(r.take()?));
    let offset_delta = i32::from_be_bytes(r.take()?);
    let timestamp = TimestampMs(i64::from_be_bytes(r.take()?));
    if last_offset.is_some() {
        e.add_batch(epoch, BatchMetadata { last_sequence, last_offset, offset_delta, timestamp });
    }
    e.producer_epoch = epoch;
    e.last_timestamp = timestamp;
    e.coordinator_epoch = CoordinatorEpoch(i32::from_be_bytes(r.take()?));
    e.current_txn_first_offset = Some(Offset(i64::from_be_bytes(r.take()?))).filter(|o| o.is_some());
    Ok(e)
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], CorruptSnapshot> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(CorruptSnapshot::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trips(
            list in proptest::collection::vec((0i64.., 0i16.., -1i32.., -1i64.., 0i32..9, -1i64.., -1i32.., -1i64..), 0..9)
        ) {
            let entries: Vec<_> = list.into_iter().map(|(id, epoch, seq, offset, delta, time, coordinator, txn)| {
                let mut e = ProducerStateEntry::empty(ProducerId(id));
                if offset >= 0 {
                    e.add_batch(ProducerEpoch(epoch), BatchMetadata {
                        last_sequence: Sequence(seq), last_offset: Offset(offset), offset_delta: delta,
                        timestamp: TimestampMs(time),
                    });
                }
                e.producer_epoch = ProducerEpoch(epoch);
                e.last_timestamp = TimestampMs(time);
                e.coordinator_epoch = CoordinatorEpoch(coordinator);
                e.current_txn_first_offset = (txn >= 0).then_some(Offset(txn));
                e
            }).collect();
            let bytes = encode_snapshot(entries.iter());
            prop_assert_eq!(bytes.len(), ENTRIES_OFFSET + entries.len() * ENTRY_SIZE);
            prop_assert_eq!(decode_snapshot(&bytes).unwrap(), entries);
        }

        #[test]
        fn hostile_bytes_are_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), sealed: bool) {
            if sealed && bytes.len() >= ENTRIES_OFFSET {
                bytes[..2].copy_from_slice(&VERSION.to_be_bytes());
                let crc = crc32c::crc32c(&bytes[COUNT_OFFSET..]);
                bytes[CRC_OFFSET..COUNT_OFFSET].copy_from_slice(&crc.to_be_bytes());
            }
            if let Ok(entries) = decode_snapshot(&bytes) {
                for e in entries {
                    let _ = e.last_batch().map(|b| (b.first_sequence(), b.first_offset()));
                }
            }
        }
    }
}
