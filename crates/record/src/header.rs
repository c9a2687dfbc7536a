//! The header of a record batch of magic 2 (KIP-98, Kafka's `DefaultRecordBatch`), parsed and written.
//!
//! ```text
//!  0        8        12       16  17       21   23           27             35            43
//! +--------+--------+--------+---+--------+----+------------+--------------+-------------+
//! | base   | batch  | leader | m | crc    | at | last       | base         | max         |
//! | offset | length | epoch  | 2 | (32C)  | tr | offset Δ   | timestamp    | timestamp   |
//! +--------+--------+--------+---+--------+----+------------+--------------+-------------+
//!  43            51         53         57       61
//! +-------------+----------+----------+--------+-----------------------------------------+
//! | producer id | producer | base     | record | records, compressed as one if a codec   |
//! |             | epoch    | sequence | count  | is set                                  |
//! +-------------+----------+----------+--------+-----------------------------------------+
//! ```
//!
//! All big-endian. `batch length` counts from byte 12. The CRC covers byte 21 to the end, so that base offset and
//! leader epoch can be assigned at append without touching it. Parsing must never panic on any bytes.

use logrun_model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};

use crate::error::BatchError;
use crate::{CompressionType, TimestampType};

pub const BASE_OFFSET_OFFSET: usize = 0;
pub const LENGTH_OFFSET: usize = BASE_OFFSET_OFFSET + 8;
/// The bytes before those that the length counts: base offset and the length itself, in every magic.
pub const LOG_OVERHEAD: usize = LENGTH_OFFSET + 4;
pub const PARTITION_LEADER_EPOCH_OFFSET: usize = LOG_OVERHEAD;
/// The magic is at the same place in every format.
pub const MAGIC_OFFSET: usize = PARTITION_LEADER_EPOCH_OFFSET + 4;
/// How many bytes tell the size and the format of what follows.
pub const HEADER_SIZE_UP_TO_MAGIC: usize = MAGIC_OFFSET + 1;
pub const CRC_OFFSET: usize = HEADER_SIZE_UP_TO_MAGIC;
pub const ATTRIBUTES_OFFSET: usize = CRC_OFFSET + 4;
pub const LAST_OFFSET_DELTA_OFFSET: usize = ATTRIBUTES_OFFSET + 2;
pub const BASE_TIMESTAMP_OFFSET: usize = LAST_OFFSET_DELTA_OFFSET + 4;
pub const MAX_TIMESTAMP_OFFSET: usize = BASE_TIMESTAMP_OFFSET + 8;
pub const PRODUCER_ID_OFFSET: usize = MAX_TIMESTAMP_OFFSET + 8;
pub const PRODUCER_EPOCH_OFFSET: usize = PRODUCER_ID_OFFSET + 8;
pub const BASE_SEQUENCE_OFFSET: usize = PRODUCER_EPOCH_OFFSET + 2;
pub const RECORDS_COUNT_OFFSET: usize = BASE_SEQUENCE_OFFSET + 4;
/// Where the records begin: the size of the header, `RECORD_BATCH_OVERHEAD` in Kafka.
pub const RECORDS_OFFSET: usize = RECORDS_COUNT_OFFSET + 4;
/// The size of the header.
pub const RECORD_BATCH_OVERHEAD: usize = RECORDS_OFFSET;

/// The magic of the format described here.
pub const MAGIC_V2: i8 = 2;

const COMPRESSION_MASK: i16 = 0x07;
const TIMESTAMP_TYPE_BIT: i16 = 1 << 3;
const TRANSACTIONAL_BIT: i16 = 1 << 4;
const CONTROL_BIT: i16 = 1 << 5;
const DELETE_HORIZON_BIT: i16 = 1 << 6;

/// The attributes of a batch; unknown bits are kept as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Attributes(pub i16);

impl Attributes {
    /// The codec of the records.
    pub fn compression(self) -> Result<CompressionType, BatchError> {
        CompressionType::from_id((self.0 & COMPRESSION_MASK) as u8)
    }

    /// Whether record timestamps are the producer's or the broker's.
    pub const fn timestamp_type(self) -> TimestampType {
        if self.0 & TIMESTAMP_TYPE_BIT != 0 { TimestampType::LogAppendTime } else { TimestampType::CreateTime }
    }

    pub const fn is_transactional(self) -> bool {
        self.0 & TRANSACTIONAL_BIT != 0
    }

    /// Whether the records are markers of Kafka's own and not a producer's data.
    pub const fn is_control(self) -> bool {
        self.0 & CONTROL_BIT != 0
    }

    /// Whether the base timestamp is the time from which compaction may drop tombstones and markers (KIP-534).
    pub const fn has_delete_horizon(self) -> bool {
        self.0 & DELETE_HORIZON_BIT != 0
    }

    const fn with_bit(self, bit: i16, on: bool) -> Self {
        if on { Self(self.0 | bit) } else { Self(self.0 & !bit) }
    }

    #[must_use]
    pub const fn with_compression(self, codec: CompressionType) -> Self {
        Self(self.0 & !COMPRESSION_MASK | codec.id() as i16)
    }

    #[must_use]
    pub const fn with_timestamp_type(self, t: TimestampType) -> Self {
        self.with_bit(TIMESTAMP_TYPE_BIT, matches!(t, TimestampType::LogAppendTime))
    }

    #[must_use]
    pub const fn with_transactional(self, on: bool) -> Self {
        self.with_bit(TRANSACTIONAL_BIT, on)
    }

    #[must_use]
    pub const fn with_control(self, on: bool) -> Self {
        self.with_bit(CONTROL_BIT, on)
    }

    #[must_use]
    pub const fn with_delete_horizon(self, on: bool) -> Self {
        self.with_bit(DELETE_HORIZON_BIT, on)
    }
}

/// The parsed header of a batch of magic 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// The offset of the first record, as it was before compaction removed any.
    pub base_offset: Offset,
    /// The bytes from [`LOG_OVERHEAD`] to the end.
    pub batch_length: i32,
    pub partition_leader_epoch: LeaderEpoch,
    pub magic: i8,
    /// CRC32C of everything from [`ATTRIBUTES_OFFSET`] on.
    pub crc: u32,
    pub attributes: Attributes,
    /// `last_offset - base_offset`; compaction keeps it, so that it can exceed `records_count - 1`.
    pub last_offset_delta: i32,
    /// The timestamp that the records' deltas count from.
    pub base_timestamp: TimestampMs,
    pub max_timestamp: TimestampMs,
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    pub base_sequence: Sequence,
    pub records_count: i32,
}

impl BatchHeader {
    /// Parses the first [`RECORD_BATCH_OVERHEAD`] bytes of `bytes`. Only magic and length are judged: what counts,
    /// deltas and offsets may be is the validator's to say.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let header: &[u8; RECORD_BATCH_OVERHEAD] = match bytes.first_chunk() {
            Some(h) => h,
            None => {
                return Err(BatchError::Incomplete { needed: RECORD_BATCH_OVERHEAD, available: bytes.len() });
            }
        };
        let magic = header[MAGIC_OFFSET] as i8;
        if magic != MAGIC_V2 {
            return Err(BatchError::UnknownMagic(magic));
        }
        let batch_length = i32_at(header, LENGTH_OFFSET);
        if batch_length < (RECORD_BATCH_OVERHEAD - LOG_OVERHEAD) as i32 {
            return Err(BatchError::InvalidLength { length: batch_length, magic });
        }
        Ok(Self {
            base_offset: Offset(i64_at(header, BASE_OFFSET_OFFSET)),
            batch_length,
            partition_leader_epoch: LeaderEpoch(i32_at(header, PARTITION_LEADER_EPOCH_OFFSET)),
            magic,
            crc: i32_at(header, CRC_OFFSET) as u32,
            attributes: Attributes(i16_at(header, ATTRIBUTES_OFFSET)),
            last_offset_delta: i32_at(header, LAST_OFFSET_DELTA_OFFSET),
            base_timestamp: TimestampMs(i64_at(header, BASE_TIMESTAMP_OFFSET)),
            max_timestamp: TimestampMs(i64_at(header, MAX_TIMESTAMP_OFFSET)),
            producer_id: ProducerId(i64_at(header, PRODUCER_ID_OFFSET)),
            producer_epoch: ProducerEpoch(i16_at(header, PRODUCER_EPOCH_OFFSET)),
            base_sequence: Sequence(i32_at(header, BASE_SEQUENCE_OFFSET)),
            records_count: i32_at(header, RECORDS_COUNT_OFFSET),
        })
    }

    /// The header's bytes, with the CRC as it stands in the field.
    pub fn encode(&self) -> [u8; RECORD_BATCH_OVERHEAD] {
        let mut b = [0; RECORD_BATCH_OVERHEAD];
        put(&mut b, BASE_OFFSET_OFFSET, self.base_offset.get().to_be_bytes());
        put(&mut b, LENGTH_OFFSET, self.batch_length.to_be_bytes());
        put(&mut b, PARTITION_LEADER_EPOCH_OFFSET, self.partition_leader_epoch.get().to_be_bytes());
        put(&mut b, MAGIC_OFFSET, self.magic.to_be_bytes());
        put(&mut b, CRC_OFFSET, self.crc.to_be_bytes());
        put(&mut b, ATTRIBUTES_OFFSET, self.attributes.0.to_be_bytes());
        put(&mut b, LAST_OFFSET_DELTA_OFFSET, self.last_offset_delta.to_be_bytes());
        put(&mut b, BASE_TIMESTAMP_OFFSET, self.base_timestamp.get().to_be_bytes());
        put(&mut b, MAX_TIMESTAMP_OFFSET, self.max_timestamp.get().to_be_bytes());
        put(&mut b, PRODUCER_ID_OFFSET, self.producer_id.get().to_be_bytes());
        put(&mut b, PRODUCER_EPOCH_OFFSET, self.producer_epoch.get().to_be_bytes());
        put(&mut b, BASE_SEQUENCE_OFFSET, self.base_sequence.get().to_be_bytes());
        put(&mut b, RECORDS_COUNT_OFFSET, self.records_count.to_be_bytes());
        b
    }

    /// The offset of the last record (inclusive). Hostile offsets saturate.
    pub const fn last_offset(&self) -> Offset {
        Offset(self.base_offset.get().saturating_add(self.last_offset_delta as i64))
    }

    /// The offset after the last record.
    pub const fn next_offset(&self) -> Offset {
        Offset(self.last_offset().get().saturating_add(1))
    }

    /// The sequence of the last record, or none if the producer isn't idempotent.
    pub const fn last_sequence(&self) -> Sequence {
        if self.base_sequence.get() == Sequence::NONE.get() || self.last_offset_delta < 0 {
            return self.base_sequence;
        }
        self.base_sequence.plus(self.last_offset_delta)
    }

    /// The size of the whole batch. Never negative: parsing has seen to it.
    pub const fn size_in_bytes(&self) -> usize {
        LOG_OVERHEAD + self.batch_length as usize
    }

    /// Whether an idempotent producer wrote the batch.
    pub const fn has_producer_id(&self) -> bool {
        self.producer_id.is_some()
    }

    pub const fn is_transactional(&self) -> bool {
        self.attributes.is_transactional()
    }

    pub const fn is_control(&self) -> bool {
        self.attributes.is_control()
    }

    /// From when compaction may drop the batch's tombstones or marker (KIP-534).
    pub const fn delete_horizon(&self) -> Option<TimestampMs> {
        if self.attributes.has_delete_horizon() { Some(self.base_timestamp) } else { None }
    }
}

/// What the first bytes of any entry of a log say, whichever its format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryHead {
    /// The base offset of a batch of magic 2; the *last* offset of a compressed message set of magic 0 or 1.
    pub offset: Offset,
    /// The size of the whole entry.
    pub size_in_bytes: usize,
    pub magic: i8,
}

impl EntryHead {
    /// Reads the first [`HEADER_SIZE_UP_TO_MAGIC`] bytes of an entry. Says nothing about whether the rest is there.
    pub fn peek(bytes: &[u8]) -> Result<Self, BatchError> {
        let head: &[u8; HEADER_SIZE_UP_TO_MAGIC] = match bytes.first_chunk() {
            Some(h) => h,
            None => {
                return Err(BatchError::Incomplete { needed: HEADER_SIZE_UP_TO_MAGIC, available: bytes.len() });
            }
        };
        let magic = head[MAGIC_OFFSET] as i8;
        let length = i32_at(head, LENGTH_OFFSET);
        let least = match magic {
            0 => crate::legacy::RECORD_OVERHEAD_V0,
            1 => crate::legacy::RECORD_OVERHEAD_V1,
            MAGIC_V2 => RECORD_BATCH_OVERHEAD - LOG_OVERHEAD,
            _ => return Err(BatchError::UnknownMagic(magic)),
        };
        match usize::try_from(length) {
            Ok(l) if l >= least => {
                Ok(Self { offset: Offset(i64_at(head, BASE_OFFSET_OFFSET)), size_in_bytes: LOG_OVERHEAD + l, magic })
            }
            _ => Err(BatchError::InvalidLength { length, magic }),
        }
    }
}

/// Writes `value` at `at`.
#[inline]
pub(crate) fn put<const N: usize>(to: &mut [u8], at: usize, value: [u8; N]) {
    to[at..at + N].copy_from_slice(&value);
}

fn array_at<const N: usize>(b: &[u8], at: usize) -> [u8; N] {
    // Called with constant positions inside arrays of constant size only.
    b[at..at + N].try_into().expect("position lies in the header")
}

pub(crate) fn i16_at(b: &[u8], at: usize) -> i16 {
    i16::from_be_bytes(array_at(b, at))
}

pub(crate) fn i32_at(b: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(array_at(b, at))
}

pub(crate) fn i64_at(b: &[u8], at: usize) -> i64 {
    i64::from_be_bytes(array_at(b, at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn positions_are_kafkas() {
        assert_eq!(
            [CRC_OFFSET, ATTRIBUTES_OFFSET, LAST_OFFSET_DELTA_OFFSET, PRODUCER_ID_OFFSET, RECORDS_COUNT_OFFSET],
            [17, 21, 23, 43, 57]
        );
        assert_eq!(RECORD_BATCH_OVERHEAD, 61);
    }

    #[test]
    fn attributes_keep_what_they_do_not_know() {
        let a = Attributes(0x4000).with_compression(CompressionType::Zstd).with_control(true).with_transactional(true);
        assert_eq!(a.0, 0x4000 | 4 | 0x30);
        assert_eq!(a.compression().unwrap(), CompressionType::Zstd);
        assert_eq!(a.with_compression(CompressionType::None).with_control(false).0, 0x4010);
        assert_eq!(Attributes(7).compression(), Err(BatchError::UnknownCompression(7)));
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_are_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..80), magic: bool) {
            if magic && bytes.len() > MAGIC_OFFSET {
                bytes[MAGIC_OFFSET] = 2;
            }
            let _ = EntryHead::peek(&bytes);
            if let Ok(h) = BatchHeader::parse(&bytes) {
                prop_assert_eq!(&h.encode()[..], &bytes[..RECORD_BATCH_OVERHEAD]);
                let _ = (h.last_offset(), h.next_offset(), h.last_sequence(), h.size_in_bytes(), h.delete_horizon());
            }
        }
    }
}
