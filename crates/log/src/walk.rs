//! Walking over the batches in a range of a segment's file, one header at a time.
//!
//! The bytes come from a disk and may be anything: what is not a batch ends the walk with a reason and a
//! position. Whether that is a torn tail to cut or corruption to report is for the caller to say.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use logrun_io::File;
use logrun_model::{LeaderEpoch, Offset, TimestampMs};
use logrun_record::{AnyBatch, Batch, BatchHeader, EntryHead, MAGIC_V2, RECORD_BATCH_OVERHEAD};

/// Where the timestamp of a legacy message is, from magic 1 on: behind offset, size, CRC, magic and attributes.
const LEGACY_TIMESTAMP_OFFSET: usize = 18;
/// A header's worth of bytes tells all that a span has, in every format.
pub const SPAN_BYTES: usize = RECORD_BATCH_OVERHEAD;

/// One batch in a file, by its header.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Where in the file the batch begins.
    pub position: u64,
    pub size: usize,
    /// The first offset; for magic 0 and 1 the last one, which is the only one that the header has.
    pub base_offset: Offset,
    pub last_offset: Offset,
    /// None for magic 0.
    pub max_timestamp: TimestampMs,
    pub leader_epoch: LeaderEpoch,
    /// The header, if the batch is of magic 2.
    pub header: Option<BatchHeader>,
}

impl Span {
    pub fn end(&self) -> u64 {
        self.position + self.size as u64
    }

    pub fn next_offset(&self) -> Offset {
        self.last_offset.next()
    }

    /// Checks the CRC of the batch, all of which is at the front of `bytes`. Those of older formats are for whoever
    /// decodes them.
    pub fn check_crc(&self, bytes: &Bytes) -> Result<(), String> {
        if self.header.is_none() {
            return Ok(());
        }
        let checked = Batch::parse(bytes).and_then(|batch| batch.verify_crc());
        checked.map_err(|e| {
            format!("the batch of offsets {} to {} is not as it was written: {e}", self.base_offset, self.last_offset)
        })
    }

    /// Reads the span of the batch whose first bytes are `head`; `Err` says why it can't be one. A magic-2
    /// batch needs [`SPAN_BYTES`] bytes, as many as each has at least.
    pub fn parse(head: &[u8], position: u64) -> Result<Self, String> {
        let entry = EntryHead::peek(head).map_err(|e| e.to_string())?;
        let mut span = Self {
            position,
            size: entry.size_in_bytes,
            base_offset: entry.offset,
            last_offset: entry.offset,
            max_timestamp: TimestampMs::NONE,
            leader_epoch: LeaderEpoch::NONE,
            header: None,
        };
        if entry.magic == MAGIC_V2 {
            let h = BatchHeader::parse(head).map_err(|e| e.to_string())?;
            if h.last_offset_delta < 0 {
                return Err(format!("the last offset delta is {}", h.last_offset_delta));
            }
            span.last_offset = h.last_offset();
            span.max_timestamp = h.max_timestamp;
            span.leader_epoch = h.partition_leader_epoch;
            span.header = Some(h);
        } else if entry.magic == 1
            && let Some(t) = head.get(LEGACY_TIMESTAMP_OFFSET..LEGACY_TIMESTAMP_OFFSET + 8)
        {
            span.max_timestamp = TimestampMs(t.iter().fold(0u64, |n, b| n << 8 | u64::from(*b)) as i64);
        }
        // The last possible offset is none: the log end offset must lie behind it.
        if !span.base_offset.is_some() || span.last_offset.get() == i64::MAX {
            return Err(format!("offset {} can't be a batch's", span.base_offset));
        }
        Ok(span)
    }
}

/// Why a walk can't go on.
#[derive(Debug)]
pub enum WalkError {
    Io(io::Error),
    /// The bytes at `position` are no (whole) batch.
    NotABatch {
        position: u64,
        reason: String,
    },
}

/// A cursor over the batches between two positions of a file.
#[derive(Debug)]
pub struct Walker {
    file: Arc<dyn File>,
    position: u64,
    end: u64,
    chunk_bytes: usize,
    buf: Bytes,
    buf_at: u64,
}

impl Walker {
    /// Walks from `position`, the beginning of a batch, to `end`, reading `chunk_bytes` at a time.
    pub fn new(file: Arc<dyn File>, position: u64, end: u64, chunk_bytes: usize) -> Self {
        Self { file, position, end, chunk_bytes: chunk_bytes.max(SPAN_BYTES), buf: Bytes::new(), buf_at: position }
    }

    /// For walks that only look at headers.
    pub fn headers(file: Arc<dyn File>, position: u64, end: u64) -> Self {
        Self::new(file, position, end, 16 << 10)
    }

    /// The position behind the last batch returned.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The bytes from `at` on, at least `wanted` of them unless the range ends before.
    fn fill(&mut self, at: u64, wanted: usize) -> io::Result<Bytes> {
        let available = usize::try_from(self.end - at).unwrap_or(usize::MAX);
        let wanted = wanted.min(available);
        let skip = at.checked_sub(self.buf_at).and_then(|s| usize::try_from(s).ok());
        if let Some(skip) = skip
            && skip + wanted <= self.buf.len()
        {
            return Ok(self.buf.slice(skip..));
        }
        let mut buf = vec![0; wanted.max(self.chunk_bytes.min(available))];
        let n = self.file.read_at(at, &mut buf)?;
        buf.truncate(n);
        self.buf = Bytes::from(buf);
        self.buf_at = at;
        Ok(self.buf.clone())
    }

    /// The next batch's header; `None` at the end of the range. The batch is known to end within the range.
    pub fn next_span(&mut self) -> Result<Option<Span>, WalkError> {
        if self.position >= self.end {
            return Ok(None);
        }
        let position = self.position;
        let head = self.fill(position, SPAN_BYTES).map_err(WalkError::Io)?;
        let span = Span::parse(&head, position).map_err(|reason| WalkError::NotABatch { position, reason })?;
        if span.end() > self.end {
            let there = self.end - position;
            let reason = format!("{there} bytes are there of a batch of {}", span.size);
            return Err(WalkError::NotABatch { position, reason });
        }
        self.position = span.end();
        Ok(Some(span))
    }

    /// The bytes of the batch of `span`, whole. Its size has been checked against the range.
    pub fn bytes(&mut self, span: &Span) -> Result<Bytes, WalkError> {
        let bytes = self.fill(span.position, span.size).map_err(WalkError::Io)?;
        if bytes.len() < span.size {
            let reason = format!("{} bytes are there of a batch of {}", bytes.len(), span.size);
            return Err(WalkError::NotABatch { position: span.position, reason });
        }
        Ok(bytes.slice(..span.size))
    }

    /// The batch of `span`.
    pub fn batch(&mut self, span: &Span) -> Result<AnyBatch, WalkError> {
        let bytes = self.bytes(span)?;
        AnyBatch::parse(&bytes).map_err(|e| WalkError::NotABatch { position: span.position, reason: e.to_string() })
    }
}
