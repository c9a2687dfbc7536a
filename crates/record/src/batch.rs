//! [`Batch`]: a record batch as a view on the bytes it arrived in, and the splitting of bytes into batches.
//!
//! Nothing is copied: a batch is a reference-counted slice of the frame or file buffer. Records are decoded only on
//! request, decompressed within [`Limits`].

use bytes::Bytes;
use logrun_model::{LeaderEpoch, Offset, TimestampMs};

use crate::compress::decompress;
use crate::crc;
use crate::error::BatchError;
use crate::header::{ATTRIBUTES_OFFSET, BatchHeader, EntryHead, MAGIC_V2, RECORDS_OFFSET};
use crate::legacy::LegacyBatch;
use crate::record::Records;
use crate::{CompressionType, Limits};

/// One batch of magic 2: its header and all its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub header: BatchHeader,
    /// The whole batch, header included; exactly `header.size_in_bytes()` long.
    pub bytes: Bytes,
}

impl Batch {
    /// Takes the batch at the front of `bytes`; what follows it is left out. The CRC is not looked at.
    pub fn parse(bytes: &Bytes) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(bytes)?;
        let size = header.size_in_bytes();
        if bytes.len() < size {
            return Err(BatchError::Incomplete { needed: size, available: bytes.len() });
        }
        Ok(Self { header, bytes: bytes.slice(..size) })
    }

    /// The records' bytes as stored: compressed if a codec is set.
    pub fn payload(&self) -> Bytes {
        self.bytes.slice(RECORDS_OFFSET..)
    }

    /// The CRC32C of the bytes that the stored CRC covers.
    pub fn compute_crc(&self) -> u32 {
        crc::append(0, &self.bytes[ATTRIBUTES_OFFSET..])
    }

    /// Checks the stored CRC against the bytes.
    pub fn verify_crc(&self) -> Result<(), BatchError> {
        let computed = self.compute_crc();
        if computed == self.header.crc {
            Ok(())
        } else {
            Err(BatchError::CrcMismatch { stored: self.header.crc, computed })
        }
    }

    /// The records' bytes, decompressed within `limits`; a slice of the batch itself if there's no codec.
    pub fn decompressed(&self, limits: &Limits) -> Result<Bytes, BatchError> {
        match self.header.attributes.compression()? {
            CompressionType::None => Ok(self.payload()),
            codec => decompress(codec, &self.payload(), limits),
        }
    }

    /// The records one by one. Keys, values and headers are slices of the (decompressed) batch.
    pub fn records(&self, limits: &Limits) -> Result<Records, BatchError> {
        Ok(Records::new(self.header, self.decompressed(limits)?))
    }
}

/// Splits `bytes` into batches of magic 2 without copying.
///
/// The iterator ends at the end of the bytes or after the first error; [`BatchError::Incomplete`] tells a torn tail
/// from nonsense, and [`Batches::position`] where it begins.
pub fn split_batches(bytes: Bytes) -> Batches {
    Batches { rest: bytes, position: 0, done: false }
}

/// See [`split_batches`].
#[derive(Clone, Debug)]
pub struct Batches {
    rest: Bytes,
    position: usize,
    done: bool,
}

impl Batches {
    /// How many bytes the whole batches returned so far take.
    pub const fn position(&self) -> usize {
        self.position
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done || self.rest.is_empty() {
            return None;
        }
        // The size is looked at first: a torn tail shorter than a header is still a torn tail.
        let batch = EntryHead::peek(&self.rest).and_then(|head| {
            if self.rest.len() < head.size_in_bytes {
                return Err(BatchError::Incomplete { needed: head.size_in_bytes, available: self.rest.len() });
            }
            Batch::parse(&self.rest)
        });
        match &batch {
            Ok(b) => {
                self.position += b.bytes.len();
                self.rest = self.rest.slice(b.bytes.len()..);
            }
            Err(_) => self.done = true,
        }
        Some(batch)
    }
}

/// An entry of a log in whichever format it was written: what recovery, indexes and dumps go through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnyBatch {
    V2(Batch),
    /// A message of magic 0 or 1, or a compressed set of them.
    Legacy(LegacyBatch),
}

impl AnyBatch {
    /// Takes the entry at the front of `bytes`. The CRC is not looked at.
    pub fn parse(bytes: &Bytes) -> Result<Self, BatchError> {
        let head = EntryHead::peek(bytes)?;
        if bytes.len() < head.size_in_bytes {
            return Err(BatchError::Incomplete { needed: head.size_in_bytes, available: bytes.len() });
        }
        if head.magic == MAGIC_V2 {
            Batch::parse(bytes).map(Self::V2)
        } else {
            LegacyBatch::parse(bytes).map(Self::Legacy)
        }
    }

    pub fn bytes(&self) -> &Bytes {
        match self {
            Self::V2(b) => &b.bytes,
            Self::Legacy(b) => &b.bytes,
        }
    }

    pub fn size_in_bytes(&self) -> usize {
        self.bytes().len()
    }

    /// The first offset. For a compressed legacy set this decompresses it, so it is fallible and slow.
    pub fn base_offset(&self, limits: &Limits) -> Result<Offset, BatchError> {
        match self {
            Self::V2(b) => Ok(b.header.base_offset),
            Self::Legacy(b) => b.base_offset(limits),
        }
    }

    /// The last offset (inclusive).
    pub fn last_offset(&self) -> Offset {
        match self {
            Self::V2(b) => b.header.last_offset(),
            Self::Legacy(b) => b.last_offset(),
        }
    }

    /// The highest timestamp, or none for magic 0.
    pub fn max_timestamp(&self) -> TimestampMs {
        match self {
            Self::V2(b) => b.header.max_timestamp,
            Self::Legacy(b) => b.timestamp,
        }
    }

    /// The leader epoch, or none for magic 0 and 1.
    pub fn partition_leader_epoch(&self) -> LeaderEpoch {
        match self {
            Self::V2(b) => b.header.partition_leader_epoch,
            Self::Legacy(_) => LeaderEpoch::NONE,
        }
    }

    /// Checks the stored CRC (CRC32C in magic 2, CRC32 before).
    pub fn verify_crc(&self) -> Result<(), BatchError> {
        match self {
            Self::V2(b) => b.verify_crc(),
            Self::Legacy(b) => b.verify_crc(),
        }
    }

    /// The batch, if it is of magic 2.
    pub fn v2(&self) -> Option<&Batch> {
        match self {
            Self::V2(b) => Some(b),
            Self::Legacy(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BatchBuilder, Compression, PreparedBatch, Record};
    use proptest::prelude::*;

    type Fields = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(Vec<u8>, Option<Vec<u8>>)>);

    fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(any::<u8>(), 0..max)
    }

    fn records() -> impl Strategy<Value = Vec<Fields>> {
        let header = (bytes(6), proptest::option::of(bytes(6)));
        let record = (
            0i64..1 << 50,
            proptest::option::of(bytes(20)),
            proptest::option::of(bytes(200)),
            proptest::collection::vec(header, 0..4),
        );
        proptest::collection::vec(record, 1..20)
    }

    fn build(codec: CompressionType, base: i64, list: &[Fields]) -> Batch {
        let mut b = BatchBuilder::new(Compression::of(codec)).base_offset(Offset(base));
        for (time, key, value, headers) in list {
            let headers: Vec<_> = headers.iter().map(|(k, v)| (&k[..], v.as_deref())).collect();
            b.append(TimestampMs(*time), key.as_deref(), value.as_deref(), &headers).unwrap();
        }
        b.build().unwrap()
    }

    fn plain(r: Record) -> Fields {
        let headers = r.headers.into_iter().map(|h| (h.key.to_vec(), h.value.map(|v| v.to_vec()))).collect();
        (r.timestamp.get(), r.key.map(|k| k.to_vec()), r.value.map(|v| v.to_vec()), headers)
    }

    proptest! {
        #[test]
        fn what_is_built_is_read(list in records(), codec in 0u8..5, base in 0i64..1 << 40) {
            let codec = CompressionType::from_id(codec).unwrap();
            let batch = build(codec, base, &list);
            batch.verify_crc().unwrap();
            prop_assert_eq!(&Batch::parse(&batch.bytes).unwrap(), &batch);
            prop_assert_eq!(batch.header.last_offset().get(), base + list.len() as i64 - 1);
            prop_assert_eq!(batch.header.max_timestamp.get(), list.iter().map(|r| r.0).max().unwrap());
            let read: Vec<_> = batch.records(&Limits::default()).unwrap().map(|r| plain(r.unwrap())).collect();
            prop_assert_eq!(read, list);
        }

        #[test]
        fn splits_whole_batches_from_a_torn_tail(list in records(), cut in 1usize..2000) {
            let one = build(CompressionType::None, 0, &list);
            let two = build(CompressionType::Snappy, list.len() as i64, &list);
            let all: Bytes = [&one.bytes[..], &two.bytes].concat().into();
            let whole: Vec<_> = split_batches(all.clone()).map(Result::unwrap).collect();
            prop_assert_eq!(&whole, &[one.clone(), two.clone()]);
            let cut = cut % two.bytes.len() + 1;
            let mut batches = split_batches(all.slice(..all.len() - cut));
            prop_assert_eq!(batches.next(), Some(Ok(one.clone())));
            if cut < two.bytes.len() {
                let torn = matches!(batches.next(), Some(Err(BatchError::Incomplete { .. })));
                prop_assert!(torn);
            }
            prop_assert!(batches.next().is_none());
            prop_assert_eq!(batches.position(), one.bytes.len());
        }

        #[test]
        fn damage_is_an_error(list in records(), codec in 0u8..5, at in any::<usize>(), flip in 1u8..) {
            let batch = build(CompressionType::from_id(codec).unwrap(), 3, &list);
            let mut bytes = batch.bytes.to_vec();
            let at = at % bytes.len();
            bytes[at] ^= flip;
            let limits = Limits { max_decompressed_bytes: 1 << 20, ..Limits::default() };
            if let Ok(AnyBatch::V2(b)) = AnyBatch::parse(&Bytes::from(bytes)) {
                prop_assert!(b.verify_crc().is_err() || at < 17);
                if let Ok(records) = b.records(&limits) {
                    prop_assert!(records.count() <= b.header.records_count.unsigned_abs() as usize + 1);
                }
            }
        }

        #[test]
        fn hostile_records_never_panic(body in bytes(300), count in any::<i32>(), magic in 0i8..3) {
            let mut b = build(CompressionType::None, 0, &[(0, None, None, vec![])]);
            b.header.records_count = count;
            if let Some(p) = PreparedBatch::from_parts(b.header, Bytes::from(body.clone())) {
                let _ = p.to_batch().records(&Limits::default()).unwrap().count();
            }
            let mut raw = body;
            if raw.len() > 17 {
                raw[16] = magic as u8;
                let length = raw.len() as i32 - 12;
                raw[8..12].copy_from_slice(&length.to_be_bytes());
            }
            if let Ok(any) = AnyBatch::parse(&Bytes::from(raw)) {
                let _ = (any.base_offset(&Limits::default()), any.last_offset(), any.verify_crc(), any.max_timestamp());
            }
        }
    }
}
