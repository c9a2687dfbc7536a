//! Reading: planned under the partition's lock, run outside of it (the read path of Kafka's `LocalLog`).
//!
//! A plan holds either slices from memory or the segments to read from, so it stays good whatever
//! happens to the log. Only whole batches are returned; bytes that were handed out never change.

use std::sync::Arc;

use bytes::Bytes;
use logrun_io::{BUFFER_BYTES_MIN, Buffers};
use logrun_model::Offset;

use crate::error::{IoContext, LogError};
use crate::segment::SegmentShared;
use crate::tail::TailSlices;
use crate::walk::Span;

/// How much is read beyond what was asked for, to reach the batch from the index entry before it.
const INDEX_GAP_BYTES: usize = 8 << 10;

/// A segment and how much of it there is to read.
#[derive(Clone, Debug)]
pub(crate) struct SegmentRef {
    pub shared: Arc<SegmentShared>,
    pub size: u64,
}

/// A read that can be done without the log. Runs on any thread; may wait for the disk.
#[derive(Clone, Debug)]
pub struct ReadPlan {
    pub(crate) from: Offset,
    pub(crate) upper_bound: Offset,
    pub(crate) max_bytes: usize,
    pub(crate) min_one_batch: bool,
    pub(crate) source: Source,
    pub(crate) buffers: Buffers,
}

#[derive(Clone, Debug)]
pub(crate) enum Source {
    Memory(TailSlices),
    /// The sealed segments, from which of them to begin, and the active one.
    Files {
        sealed: Arc<Vec<SegmentRef>>,
        first: usize,
        active: SegmentRef,
    },
}

/// Whole batches, in order.
#[derive(Clone, Debug, Default)]
pub struct LogSlices {
    /// Their bytes; a batch may lie across two slices.
    pub slices: Vec<Bytes>,
    /// The sum of the slices' lengths.
    pub bytes: usize,
    /// The offset behind the last batch, or the one asked for if there is none.
    pub next_offset: Offset,
}

impl ReadPlan {
    /// Whether running the plan touches no disk.
    pub fn is_in_memory(&self) -> bool {
        matches!(self.source, Source::Memory(_))
    }

    /// Reads. The first batch comes whole even if it exceeds `max_bytes` and one was asked for at least.
    ///
    /// # Errors
    /// [`LogError::Io`] from the disk; [`LogError::Corrupt`] if what is there is not a batch, or not the one that was
    /// written: what comes from the disk is checked against its CRC, what is still in memory need not be.
    pub fn run(self) -> Result<LogSlices, LogError> {
        let (sealed, first, active) = match self.source {
            Source::Memory(t) => {
                let next_offset = t.next_offset.unwrap_or(self.from);
                return Ok(LogSlices { slices: t.slices, bytes: t.bytes, next_offset });
            }
            Source::Files { ref sealed, first, ref active } => (sealed, first, active),
        };
        // A segment that compaction emptied has nothing at or after the offset; the next one may.
        for segment in sealed[first.min(sealed.len())..].iter().chain([active]) {
            if segment.shared.base_offset >= self.upper_bound {
                break;
            }
            if let Some(found) = self.read_segment(segment)? {
                return Ok(found);
            }
        }
        Ok(self.nothing())
    }

    fn nothing(&self) -> LogSlices {
        LogSlices { next_offset: self.from, ..LogSlices::default() }
    }

    /// What `segment` has for the reader; `None` if all of it lies before.
    fn read_segment(&self, segment: &SegmentRef) -> Result<Option<LogSlices>, LogError> {
        let shared = &segment.shared;
        // What the file lacks is in memory, and read from there.
        let size = &shared.file.readable(segment.size);
        let path = || shared.file.path();
        let mut at = shared.sparse(*size)?.parts().0.lookup(self.from).1;
        let file = shared.file.handle(false).during("open", &path())?;
        let read = |at: u64, wanted: usize| -> Result<Bytes, LogError> {
            let len = wanted.min(usize::try_from(size - at).unwrap_or(usize::MAX));
            if len < BUFFER_BYTES_MIN {
                let mut buf = vec![0; len];
                let n = file.read_at(at, &mut buf).during("read", &path())?;
                buf.truncate(n);
                return Ok(Bytes::from(buf));
            }
            let mut buf = self.buffers.take(len);
            let n = file.read_at(at, buf.room(len)).during("read", &path())?;
            buf.advance(n);
            Ok(buf.freeze())
        };
        let span_at = |buf: &[u8], at: u64| {
            Span::parse(buf, at).map_err(|reason| LogError::Corrupt { path: path(), position: at, reason })
        };
        let mut wanted = self.max_bytes.saturating_add(INDEX_GAP_BYTES);
        while at < *size {
            let buf = read(at, wanted)?;
            // Behind the batches that end before the offset, as far as the buffer has them.
            let mut skip = 0;
            let first = loop {
                let position = at + skip as u64;
                if position >= *size {
                    return Ok(None);
                }
                let rest = buf.get(skip..).unwrap_or(&[]);
                if rest.len() < crate::walk::SPAN_BYTES.min((*size - position) as usize) {
                    break None;
                }
                let span = span_at(rest, position)?;
                if span.last_offset >= self.from {
                    break Some(span);
                }
                skip += span.size;
            };
            at += skip as u64;
            let Some(first) = first else { continue };
            if first.last_offset >= self.upper_bound {
                return Ok(Some(self.nothing()));
            }
            if first.size > self.max_bytes && !self.min_one_batch {
                return Ok(Some(self.nothing()));
            }
            if buf.len() - skip < first.size {
                if first.end() > *size {
                    let reason = format!("a batch of {} bytes ends behind the segment", first.size);
                    return Err(LogError::Corrupt { path: path(), position: at, reason });
                }
                // The buffer ends inside the first batch: read again, from its beginning.
                wanted = self.max_bytes.max(first.size);
                continue;
            }
            let buf = buf.slice(skip..);
            first.check_crc(&buf).map_err(|reason| LogError::Corrupt { path: path(), position: at, reason })?;
            return Ok(Some(self.take(buf, at, first)));
        }
        Ok(None)
    }

    /// The whole batches at the front of `buf`, of which the first is there and sound.
    fn take(&self, buf: Bytes, at: u64, first: Span) -> LogSlices {
        let mut end = first.size;
        let mut next_offset = first.next_offset();
        while let Some(rest) = buf.get(end..) {
            // What follows may be cut off anywhere, here; if it's not a batch, the next read will say so.
            let Ok(span) = Span::parse(rest, at + end as u64) else { break };
            let stop = end + span.size;
            if stop > buf.len() || stop > self.max_bytes || span.last_offset >= self.upper_bound {
                break;
            }
            // Never served; the next read begins with it, and reports it.
            if span.check_crc(&buf.slice(end..)).is_err() {
                break;
            }
            end = stop;
            next_offset = span.next_offset();
        }
        LogSlices { slices: vec![buf.slice(..end)], bytes: end, next_offset }
    }
}
