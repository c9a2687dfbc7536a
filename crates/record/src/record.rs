//! Records inside a batch of magic 2 (Kafka's `DefaultRecord`), read lazily.
//!
//! ```text
//! length varint | attributes 1 | timestamp Δ varlong | offset Δ varint
//! | key length varint (-1 null) | key | value length varint (-1 null) | value
//! | header count varint | ( key length varint | key | value length varint (-1 null) | value )*
//! ```
//!
//! Headers keep their order and may repeat. Nothing here allocates what a length field claims.

use std::ops::Range;

use bytes::Bytes;
use logrun_model::{Offset, Sequence, TimestampMs, varint};

use crate::TimestampType;
use crate::error::BatchError;
use crate::header::BatchHeader;

/// One record; key, value and headers are slices of its batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub offset: Offset,
    pub timestamp: TimestampMs,
    /// None if the producer isn't idempotent.
    pub sequence: Sequence,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    /// In the producer's order; a key may occur more than once.
    pub headers: Vec<RecordHeader>,
}

/// One header of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// UTF-8 by convention; nothing checks it.
    pub key: Bytes,
    pub value: Option<Bytes>,
}

/// Where the parts of one record lie in the (decompressed) records of its batch. Building it allocates nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordParts {
    pub attributes: i8,
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    pub key: Option<Range<usize>>,
    pub value: Option<Range<usize>>,
    /// How many headers there are; already checked one by one.
    pub header_count: usize,
    /// Where the headers begin, behind their count.
    pub headers_start: usize,
    /// The whole record, its length field included.
    pub whole: Range<usize>,
}

/// Walks the structure of records without building them: the check that every appended batch goes through.
#[derive(Debug)]
pub struct RecordWalker<'a> {
    body: &'a [u8],
    position: usize,
    declared: i32,
    index: i32,
    failed: bool,
}

impl<'a> RecordWalker<'a> {
    /// Walks `declared` records in `body`, the decompressed records of a batch.
    pub const fn new(body: &'a [u8], declared: i32) -> Self {
        Self { body, position: 0, declared, index: 0, failed: false }
    }

    /// Goes on where another walk over the same records stood: behind `index` records, which took `position` bytes.
    pub const fn resume(body: &'a [u8], declared: i32, position: usize, index: i32) -> Self {
        Self { body, position, declared, index, failed: false }
    }

    /// How many bytes the records so far took.
    pub const fn position(&self) -> usize {
        self.position
    }

    #[inline]
    fn step(&mut self) -> Result<Option<RecordParts>, BatchError> {
        if self.index >= self.declared {
            if self.position < self.body.len() {
                return Err(BatchError::WrongCount { declared: self.declared, reason: "bytes remain behind them" });
            }
            return Ok(None);
        }
        if self.position >= self.body.len() {
            return Err(BatchError::WrongCount { declared: self.declared, reason: "the bytes end before them" });
        }
        let parts = parse_parts(self.body, self.position)
            .map_err(|reason| BatchError::MalformedRecord { index: self.index, reason })?;
        self.position = parts.whole.end;
        self.index += 1;
        Ok(Some(parts))
    }
}

impl Iterator for RecordWalker<'_> {
    type Item = Result<RecordParts, BatchError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        match self.step() {
            Ok(parts) => parts.map(Ok),
            Err(e) => {
                self.failed = true;
                Some(Err(e))
            }
        }
    }
}

#[derive(Debug)]
struct Cursor<'a> {
    buf: &'a [u8],
    at: usize,
    end: usize,
}

impl Cursor<'_> {
    /// A varint of one or two bytes, as nearly all are: the loop of the general case costs as much as the rest.
    #[inline]
    fn short(&mut self) -> Option<u32> {
        match self.buf[self.at..self.end] {
            [a, ..] if a < 0x80 => {
                self.at += 1;
                Some(u32::from(a))
            }
            [a, b, ..] if b < 0x80 => {
                self.at += 2;
                Some(u32::from(a & 0x7f) | u32::from(b) << 7)
            }
            _ => None,
        }
    }

    #[inline]
    fn varint(&mut self) -> Result<i32, &'static str> {
        if let Some(byte) = self.short() {
            return Ok(varint::unzigzag32(byte));
        }
        let (v, n) = varint::read_i32(&self.buf[self.at..self.end]).map_err(|_| "a varint is malformed")?;
        self.at += n;
        Ok(v)
    }

    #[inline]
    fn varlong(&mut self) -> Result<i64, &'static str> {
        if let Some(byte) = self.short() {
            return Ok(varint::unzigzag64(u64::from(byte)));
        }
        let (v, n) = varint::read_i64(&self.buf[self.at..self.end]).map_err(|_| "a varint is malformed")?;
        self.at += n;
        Ok(v)
    }

    #[inline]
    fn take(&mut self, length: i32) -> Result<Range<usize>, &'static str> {
        let length = usize::try_from(length).map_err(|_| "a length is negative")?;
        if length > self.end - self.at {
            return Err("a field ends behind its record");
        }
        let range = self.at..self.at + length;
        self.at = range.end;
        Ok(range)
    }

    fn nullable(&mut self) -> Result<Option<Range<usize>>, &'static str> {
        let length = self.varint()?;
        if length < 0 { Ok(None) } else { self.take(length).map(Some) }
    }
}

#[inline]
fn parse_parts(body: &[u8], start: usize) -> Result<RecordParts, &'static str> {
    let mut c = Cursor { buf: body, at: start, end: body.len() };
    let length = c.varint()?;
    let whole = c.take(length)?;
    c = Cursor { buf: body, at: whole.start, end: whole.end };
    let attributes = c.take(1).map(|r| body[r.start] as i8)?;
    let timestamp_delta = c.varlong()?;
    let offset_delta = c.varint()?;
    let key = c.nullable()?;
    let value = c.nullable()?;
    let header_count = usize::try_from(c.varint()?).map_err(|_| "the number of headers is negative")?;
    // Each header takes two bytes at least.
    if header_count > (c.end - c.at) / 2 {
        return Err("more headers are declared than the record has room for");
    }
    let headers_start = c.at;
    for _ in 0..header_count {
        next_header(&mut c)?;
    }
    if c.at != c.end {
        return Err("the record is longer than its fields");
    }
    Ok(RecordParts {
        attributes,
        timestamp_delta,
        offset_delta,
        key,
        value,
        header_count,
        headers_start,
        whole: start..whole.end,
    })
}

fn next_header(c: &mut Cursor<'_>) -> Result<(Range<usize>, Option<Range<usize>>), &'static str> {
    let length = c.varint()?;
    let key = c.take(length)?;
    Ok((key, c.nullable()?))
}

/// Walks the headers of one record.
#[derive(Debug)]
pub struct HeaderWalker<'a> {
    cursor: Cursor<'a>,
    left: usize,
}

impl<'a> HeaderWalker<'a> {
    /// The `count` headers that begin at `start` in `body` and end before `end`, as [`RecordParts`] says.
    pub fn new(body: &'a [u8], start: usize, end: usize, count: usize) -> Self {
        let end = end.min(body.len());
        Self { cursor: Cursor { buf: body, at: start.min(end), end }, left: count }
    }
}

impl Iterator for HeaderWalker<'_> {
    /// Where the key and the value lie. Headers that are malformed end the walk: [`RecordWalker`] has refused them.
    type Item = (Range<usize>, Option<Range<usize>>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        next_header(&mut self.cursor).ok()
    }
}

/// The records of a batch, one by one. Ends after the first error.
#[derive(Debug)]
pub struct Records {
    header: BatchHeader,
    body: Bytes,
    position: usize,
    index: i32,
    failed: bool,
}

impl Records {
    pub(crate) const fn new(header: BatchHeader, body: Bytes) -> Self {
        Self { header, body, position: 0, index: 0, failed: false }
    }

    /// The record whose parts are `parts`.
    fn build(&self, parts: &RecordParts) -> Result<Record, BatchError> {
        let mut headers = Vec::new();
        if parts.header_count > 0 {
            let walker = HeaderWalker::new(&self.body, parts.headers_start, parts.whole.end, parts.header_count);
            headers.extend(
                walker.map(|(k, v)| RecordHeader { key: self.body.slice(k), value: v.map(|v| self.body.slice(v)) }),
            );
        }
        let h = &self.header;
        Ok(Record {
            offset: Offset(h.base_offset.get().saturating_add(i64::from(parts.offset_delta))),
            timestamp: match h.attributes.timestamp_type() {
                TimestampType::LogAppendTime => h.max_timestamp,
                TimestampType::CreateTime => TimestampMs(h.base_timestamp.get().saturating_add(parts.timestamp_delta)),
            },
            sequence: if h.base_sequence.is_some() && parts.offset_delta >= 0 {
                h.base_sequence.plus(parts.offset_delta)
            } else {
                Sequence::NONE
            },
            key: parts.key.clone().map(|r| self.body.slice(r)),
            value: parts.value.clone().map(|r| self.body.slice(r)),
            headers,
        })
    }
}

impl Iterator for Records {
    type Item = Result<Record, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let mut walker = RecordWalker::resume(&self.body, self.header.records_count, self.position, self.index);
        let result = match walker.next()? {
            Ok(parts) => self.build(&parts).inspect(|_| {
                self.position = parts.whole.end;
                self.index += 1;
            }),
            Err(e) => Err(e),
        };
        self.failed = result.is_err();
        Some(result)
    }
}
