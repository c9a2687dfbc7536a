//! Reading: planned under the partition's lock, run outside of it (the read path of Kafka's `LocalLog`).
//!
//! A plan holds either slices from memory or the segments to read from, so it stays good whatever
//! happens to the log. Only whole batches are returned; bytes that were handed out never change.

use std::sync::Arc;

use bytes::Bytes;
use logrun_io::BUFFER_BYTES_MIN;
use logrun_model::{Monotonic, Offset};

use crate::error::{IoContext, LogError};
use crate::log::LogEnv;
use crate::pace::Pace;
use crate::segment::SegmentShared;
use crate::tail::TailSlices;
use crate::walk::{SPAN_BYTES, Span};

/// How much is read beyond what was asked for, to reach the batch from the index entry before it.
const INDEX_GAP_BYTES: usize = 8 << 10;
/// What one read gives at most, unless a batch is larger: a response need not be full.
const READ_BYTES_MAX: usize = 4 << 20;

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
}

#[derive(Clone, Debug)]
pub(crate) enum Source {
    Memory(TailSlices),
    /// The sealed segments, from which of them to begin, and the active one.
    Files {
        sealed: Arc<Vec<SegmentRef>>,
        first: usize,
        active: SegmentRef,
        env: LogEnv,
        pace: Arc<Pace>,
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

/// Bytes that follow each other in a file, in the pieces in which they were read.
#[derive(Debug, Default)]
struct Window {
    pieces: Vec<Bytes>,
    bytes: usize,
}

impl Window {
    fn new(pieces: Vec<Bytes>) -> Self {
        let bytes = pieces.iter().map(Bytes::len).sum();
        Self { pieces, bytes }
    }

    /// The part from `start` to `end`.
    fn part(&self, start: usize, end: usize) -> Vec<Bytes> {
        let mut at = 0;
        let mut out = Vec::with_capacity(self.pieces.len());
        for piece in &self.pieces {
            let (from, to) = (start.max(at), end.min(at + piece.len()));
            if from < to {
                out.push(piece.slice(from - at..to - at));
            }
            at += piece.len();
        }
        out
    }

    /// As [`Self::part`], joined if it lies across pieces.
    fn joined(&self, start: usize, end: usize) -> Bytes {
        let mut parts = self.part(start, end);
        match parts.len() {
            1 => parts.swap_remove(0),
            _ => Bytes::from(parts.concat()),
        }
    }

    /// The header of the batch at `at`, as far as it is here.
    fn head(&self, at: usize) -> Bytes {
        self.joined(at, self.bytes.min(at.saturating_add(SPAN_BYTES)))
    }

    /// Whether the batch of `span`, at `at`, is as it was written.
    fn check_crc(&self, at: usize, span: &Span) -> Result<(), String> {
        span.check_crc(&self.joined(at, at + span.size))
    }
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
    pub fn run(mut self) -> Result<LogSlices, LogError> {
        let source = std::mem::replace(&mut self.source, Source::Memory(TailSlices::default()));
        let (sealed, first, active, disk) = match source {
            Source::Memory(t) => {
                let next_offset = t.next_offset.unwrap_or(self.from);
                return Ok(LogSlices { slices: t.slices, bytes: t.bytes, next_offset });
            }
            Source::Files { sealed, first, active, env, pace } => (sealed, first, active, (env, pace)),
        };
        self.max_bytes = self.max_bytes.min(READ_BYTES_MAX);
        let now = disk.0.io.clock.now();
        // A segment that compaction emptied has nothing at or after the offset; the next one may.
        for segment in sealed[first.min(sealed.len())..].iter().chain([&active]) {
            if segment.shared.base_offset >= self.upper_bound {
                break;
            }
            match self.read_segment(segment, &disk, now) {
                Ok(None) => {}
                Ok(Some(found)) => return Ok(found),
                Err(e) => {
                    // What is wrong may be what was read, not what is there: the next read looks again.
                    segment.shared.file.changed();
                    return Err(e);
                }
            }
        }
        Ok(self.nothing())
    }

    fn nothing(&self) -> LogSlices {
        LogSlices { next_offset: self.from, ..LogSlices::default() }
    }

    /// What `segment` has for the reader; `None` if all of it lies before. Nothing, if the file lacks what is to come.
    fn read_segment(
        &self,
        segment: &SegmentRef,
        disk: &(LogEnv, Arc<Pace>),
        now: Monotonic,
    ) -> Result<Option<LogSlices>, LogError> {
        let shared = &segment.shared;
        // What the file lacks is in memory, and read from there.
        let size = shared.file.readable(segment.size);
        let corrupt = |position: u64, reason: String| LogError::Corrupt { path: shared.file.path(), position, reason };
        let behind = || (size < segment.size).then(|| self.nothing());
        // What is queued is written in whole blocks, and not in whole batches.
        let is_cut_off = |end: u64| end > size && size < segment.size;
        // The index is of the whole segment, whatever the file has of it yet.
        let mut at = shared.sparse(segment.size)?.parts().0.lookup(self.from).1;
        let mut wanted = self.max_bytes.saturating_add(INDEX_GAP_BYTES);
        while at < size {
            let window = read_window(segment, disk, now, at, wanted, size)?;
            let ends_at = at + window.bytes as u64;
            if ends_at < size && window.bytes < wanted.min(SPAN_BYTES) {
                return Err(corrupt(ends_at, "the file ends before the log does".to_owned()));
            }
            // Behind the batches that end before the offset, as far as the window has them.
            let mut skip = 0;
            let first = loop {
                let position = at + skip as u64;
                if position >= size {
                    return Ok(behind());
                }
                let left = window.bytes.saturating_sub(skip);
                if left < SPAN_BYTES.min((size - position) as usize) {
                    break None;
                }
                let span = match Span::parse(&window.head(skip), position) {
                    Ok(span) => span,
                    Err(_) if is_cut_off(position + SPAN_BYTES as u64) => return Ok(Some(self.nothing())),
                    Err(reason) => return Err(corrupt(position, reason)),
                };
                if span.last_offset >= self.from {
                    break Some(span);
                }
                skip += span.size;
            };
            at += skip as u64;
            let Some(first) = first else { continue };
            if is_cut_off(first.end()) {
                return Ok(Some(self.nothing()));
            }
            if first.last_offset >= self.upper_bound {
                return Ok(Some(self.nothing()));
            }
            if first.size > self.max_bytes && !self.min_one_batch {
                return Ok(Some(self.nothing()));
            }
            if window.bytes - skip < first.size {
                if first.end() > size {
                    return Err(corrupt(at, format!("a batch of {} bytes ends behind the segment", first.size)));
                }
                if ends_at < size && wanted >= skip + first.size {
                    return Err(corrupt(ends_at, "the file ends before the log does".to_owned()));
                }
                // The window ends inside the first batch: read again, from its beginning.
                wanted = self.max_bytes.max(first.size);
                continue;
            }
            window.check_crc(skip, &first).map_err(|reason| corrupt(at, reason))?;
            return Ok(Some(self.take(&window, skip, at, first)));
        }
        Ok(behind())
    }

    /// The whole batches in the window from the place `start` on, of which the first is there and sound.
    fn take(&self, window: &Window, start: usize, at: u64, first: Span) -> LogSlices {
        let mut end = start + first.size;
        let mut next_offset = first.next_offset();
        while end < window.bytes {
            // What follows may be cut off anywhere, here; if it's not a batch, the next read will say so.
            let Ok(span) = Span::parse(&window.head(end), at + (end - start) as u64) else { break };
            let stop = end + span.size;
            if stop > window.bytes || stop - start > self.max_bytes || span.last_offset >= self.upper_bound {
                break;
            }
            // Never served; the next read begins with it, and reports it.
            if window.check_crc(end, &span).is_err() {
                break;
            }
            end = stop;
            next_offset = span.next_offset();
        }
        LogSlices { slices: window.part(start, end), bytes: end - start, next_offset }
    }
}

/// Reads `wanted` bytes from `at` on: through the page cache if the file was written a moment ago, else past it.
fn read_window(
    segment: &SegmentRef,
    (env, pace): &(LogEnv, Arc<Pace>),
    now: Monotonic,
    at: u64,
    wanted: usize,
    size: u64,
) -> Result<Window, LogError> {
    let file = &segment.shared.file;
    if file.is_settled(now) {
        match env.tail.cold().read((env.io.tasks, pace), &segment.shared, at, wanted, size) {
            Ok(Some(pieces)) => return Ok(Window::new(pieces)),
            Ok(None) => {}
            // Deleted; who has it open can still read it.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(e).during("read", &file.path()),
        }
    }
    let path = || file.path();
    let handle = file.handle(false).during("open", &path())?;
    let len = wanted.min(usize::try_from(size - at).unwrap_or(usize::MAX));
    if len < BUFFER_BYTES_MIN {
        let mut buf = vec![0; len];
        let n = handle.read_at(at, &mut buf).during("read", &path())?;
        buf.truncate(n);
        return Ok(Window::new(vec![Bytes::from(buf)]));
    }
    let mut buf = env.io.buffers.take(len);
    let n = handle.read_at(at, buf.room(len)).during("read", &path())?;
    buf.advance(n);
    Ok(Window::new(vec![buf.freeze()]))
}
