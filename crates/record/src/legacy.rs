//! Messages of magic 0 and 1 (before Kafka 0.11), read only: a directory of an old Kafka may still hold them.
//!
//! ```text
//! offset 8 | size 4 | crc 4 (CRC-32 of what follows) | magic 1 | attributes 1 | (magic 1: timestamp 8)
//! | key length 4 (-1 null) | key | value length 4 (-1 null) | value
//! ```
//!
//! The value of a compressed message is a set of messages. Inside one of magic 1 offsets count from the set's first, and
//! the outer offset is the last one's; inside one of magic 0 they are absolute. Nothing here is ever written.

use bytes::Bytes;
use logrun_model::{Offset, Sequence, TimestampMs};

use crate::compress::decompress_magic_0;
use crate::error::BatchError;
use crate::header::{EntryHead, LOG_OVERHEAD, MAGIC_OFFSET, i32_at, i64_at};
use crate::record::Record;
use crate::{CompressionType, Limits, TimestampType, decompress};

const CRC_OFFSET: usize = LOG_OVERHEAD;
const ATTRIBUTES_OFFSET: usize = MAGIC_OFFSET + 1;
const TIMESTAMP_OFFSET: usize = ATTRIBUTES_OFFSET + 1;
/// The least size field of magic 0: CRC, magic, attributes and two lengths.
pub(crate) const RECORD_OVERHEAD_V0: usize = 4 + 1 + 1 + 4 + 4;
/// The least size field of magic 1.
pub(crate) const RECORD_OVERHEAD_V1: usize = RECORD_OVERHEAD_V0 + 8;

/// One entry of magic 0 or 1: a message, or a compressed set of messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacyBatch {
    /// The message's offset; of a compressed set the last one's.
    pub offset: Offset,
    /// 0 or 1.
    pub magic: i8,
    pub crc: u32,
    pub attributes: i8,
    /// None for magic 0.
    pub timestamp: TimestampMs,
    /// The whole entry.
    pub bytes: Bytes,
    key: Option<(usize, usize)>,
    value: Option<(usize, usize)>,
}

impl LegacyBatch {
    /// Takes the entry at the front of `bytes`. The CRC is not looked at.
    pub fn parse(bytes: &Bytes) -> Result<Self, BatchError> {
        let head = EntryHead::peek(bytes)?;
        if head.magic > 1 {
            return Err(BatchError::UnknownMagic(head.magic));
        }
        if bytes.len() < head.size_in_bytes {
            return Err(BatchError::Incomplete { needed: head.size_in_bytes, available: bytes.len() });
        }
        let bytes = bytes.slice(..head.size_in_bytes);
        // `peek` has refused sizes below each format's least, so that the fixed fields are there.
        let mut at = TIMESTAMP_OFFSET;
        let mut timestamp = TimestampMs::NONE;
        if head.magic == 1 {
            timestamp = TimestampMs(i64_at(&bytes, at));
            at += 8;
        }
        let key = nullable(&bytes, &mut at)?;
        let value = nullable(&bytes, &mut at)?;
        Ok(Self {
            offset: head.offset,
            magic: head.magic,
            crc: i32_at(&bytes, CRC_OFFSET) as u32,
            attributes: bytes[ATTRIBUTES_OFFSET] as i8,
            timestamp,
            key,
            value,
            bytes,
        })
    }

    pub const fn compression(&self) -> Result<CompressionType, BatchError> {
        CompressionType::from_id(self.attributes as u8 & 0x07)
    }

    pub const fn timestamp_type(&self) -> TimestampType {
        if self.magic == 1 && self.attributes & 0x08 != 0 {
            TimestampType::LogAppendTime
        } else {
            TimestampType::CreateTime
        }
    }

    /// The last offset (inclusive).
    pub const fn last_offset(&self) -> Offset {
        self.offset
    }

    /// The first offset, for which a compressed set is decompressed.
    pub fn base_offset(&self, limits: &Limits) -> Result<Offset, BatchError> {
        match self.compression()? {
            CompressionType::None => Ok(self.offset),
            _ => Ok(self.records(limits)?.first().map_or(self.offset, |r| r.offset)),
        }
    }

    /// Checks the CRC-32.
    pub fn verify_crc(&self) -> Result<(), BatchError> {
        let mut crc = flate2::Crc::new();
        crc.update(&self.bytes[MAGIC_OFFSET..]);
        if crc.sum() == self.crc {
            Ok(())
        } else {
            Err(BatchError::CrcMismatch { stored: self.crc, computed: crc.sum() })
        }
    }

    fn part(&self, at: Option<(usize, usize)>) -> Option<Bytes> {
        at.map(|(from, to)| self.bytes.slice(from..to))
    }

    fn record(&self, offset: Offset, timestamp: TimestampMs) -> Record {
        Record {
            offset,
            timestamp,
            sequence: Sequence::NONE,
            key: self.part(self.key),
            value: self.part(self.value),
            headers: Vec::new(),
        }
    }

    /// The messages: this one, or those of the compressed set, with their absolute offsets and timestamps.
    pub fn records(&self, limits: &Limits) -> Result<Vec<Record>, BatchError> {
        let codec = self.compression()?;
        if codec == CompressionType::None {
            return Ok(vec![self.record(self.offset, self.timestamp)]);
        }
        let compressed = self.part(self.value).ok_or(malformed("a compressed set has no value"))?;
        let set = match self.magic {
            0 => decompress_magic_0(codec, &compressed, limits)?,
            _ => decompress(codec, &compressed, limits)?,
        };
        let inner = inner_messages(&set)?;
        let last = inner.last().ok_or(malformed("a compressed set is empty"))?;
        if inner.iter().any(|m| m.magic != self.magic || m.compression() != Ok(CompressionType::None)) {
            return Err(malformed("a compressed set holds messages of another format or compressed ones"));
        }
        // Some old clients wrote absolute offsets even in magic 1; the outer offset then is the last one's as it is.
        let shift =
            if self.magic == 0 { 0 } else { self.offset.get().checked_sub(last.offset.get()).unwrap_or_default() };
        Ok(inner
            .iter()
            .map(|m| {
                let timestamp = match self.timestamp_type() {
                    TimestampType::LogAppendTime => self.timestamp,
                    TimestampType::CreateTime => m.timestamp,
                };
                m.record(Offset(m.offset.get().saturating_add(shift)), timestamp)
            })
            .collect())
    }
}

const fn malformed(reason: &'static str) -> BatchError {
    BatchError::MalformedRecord { index: 0, reason }
}

fn inner_messages(set: &Bytes) -> Result<Vec<LegacyBatch>, BatchError> {
    let mut messages = Vec::new();
    let mut at = 0;
    while at < set.len() {
        let m = LegacyBatch::parse(&set.slice(at..))?;
        m.verify_crc()?;
        at += m.bytes.len();
        messages.push(m);
    }
    Ok(messages)
}

fn nullable(bytes: &[u8], at: &mut usize) -> Result<Option<(usize, usize)>, BatchError> {
    let length =
        bytes.get(*at..).and_then(|b| b.first_chunk()).ok_or(malformed("a length lies outside the message"))?;
    let length = i32::from_be_bytes(*length);
    *at += 4;
    let Ok(length) = usize::try_from(length) else { return Ok(None) };
    if length > bytes.len() - *at {
        return Err(malformed("a field ends behind its message"));
    }
    let from = *at;
    *at += length;
    Ok(Some((from, *at)))
}
