//! The tail of a log in memory: what was appended last, so that those who read at the end of the log are served without
//! the disk and without a copy.
//!
//! ```text
//! chunk   [ gap | batch batch batch | free ]  [ batch batch … ]
//! run           ^start             ^end        the next one
//! ```
//!
//! A run is a row of whole batches in one chunk. A batch's place in the chunk is congruent to its place in the file,
//! modulo [`CHUNK_ALIGN_BYTES`], so that whole blocks can be written past the page cache from where they are.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use logrun_io::{CHUNK_ALIGN_BYTES, Chunk, ChunkWriter, LARGE_CHUNK_BYTES, SMALL_CHUNK_BYTES};
use logrun_model::{Monotonic, Offset};
use logrun_record::PreparedBatch;
use parking_lot::Mutex;

use crate::cache::TailCache;
use crate::walk::Span;

/// One batch in so many bytes is found at once; the others by their headers.
const INDEX_INTERVAL_BYTES: usize = 4096;
/// The sizes of chunks: a log that fills one fast gets the next larger one.
const CHUNK_BYTES: [usize; 3] = [SMALL_CHUNK_BYTES, 128 << 10, LARGE_CHUNK_BYTES];
/// A chunk that was filled within this time was too small, one that took longer than that too large.
const FILLED_FAST_MS: i64 = 2_000;
const FILLED_SLOWLY_MS: i64 = 30_000;
/// One log's chunk takes at most this part of the cache.
const SHARE_OF_CACHE: usize = 8;

/// Bytes in a chunk and where in the segment's file they belong.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub chunk: Chunk,
    pub start: usize,
    pub end: usize,
    pub position: u64,
}

impl Piece {
    pub fn bytes(&self) -> &[u8] {
        self.chunk.bytes(self.start..self.end)
    }

    /// Where in the file the piece ends.
    pub fn end_position(&self) -> u64 {
        self.position + (self.end - self.start) as u64
    }
}

/// Whole batches that follow each other in a chunk.
#[derive(Debug)]
struct Run {
    chunk: Chunk,
    start: usize,
    end: usize,
    base_offset: Offset,
    next_offset: Offset,
    /// The base offsets and places of some batches, the first one among them.
    index: Vec<(Offset, usize)>,
}

impl Run {
    fn span(&self, at: usize) -> Span {
        Span::parse(self.chunk.bytes(at..self.end), 0).expect("a run consists of batches that were appended")
    }

    /// The place of the first batch that ends at or after `from`, which is below the run's end.
    fn place_of(&self, from: Offset) -> usize {
        let before = self.index.partition_point(|(base, _)| *base <= from).saturating_sub(1);
        let mut at = self.index[before].1;
        loop {
            let span = self.span(at);
            if span.last_offset >= from {
                return at;
            }
            at += span.size;
        }
    }

    /// How far whole batches from the place `at` on stay below `upper_bound` and within `max_bytes`.
    fn reach(&self, at: usize, upper_bound: Offset, max_bytes: usize) -> usize {
        if self.next_offset <= upper_bound && self.end - at <= max_bytes {
            return self.end;
        }
        // All batches before an entry end below its base offset.
        let far = |(base, place): &(Offset, usize)| *base <= upper_bound && *place <= at.saturating_add(max_bytes);
        let before = self.index.partition_point(far).saturating_sub(1);
        let mut end = self.index[before].1.max(at);
        while end < self.end {
            let span = self.span(end);
            if span.last_offset >= upper_bound || end + span.size - at > max_bytes {
                break;
            }
            end += span.size;
        }
        end
    }

    /// The offset behind the last batch before the place `end`, which is the end of a batch.
    fn next_offset_at(&self, end: usize) -> Offset {
        if end == self.end {
            return self.next_offset;
        }
        let before = self.index.partition_point(|(_, place)| *place < end).saturating_sub(1);
        let mut at = self.index[before].1;
        loop {
            let span = self.span(at);
            at += span.size;
            if at >= end {
                return span.next_offset();
            }
        }
    }
}

/// A log's share of the cache: batches that follow each other up to the log's end.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    list: VecDeque<Run>,
    writer: Option<ChunkWriter>,
    /// The place in the file behind the last batch.
    position: u64,
    /// An index into [`CHUNK_BYTES`].
    level: usize,
    taken_at: Monotonic,
    /// Everything below is in the segment's file.
    written: Offset,
    /// Below it readers are not served from here.
    floor: Offset,
}

/// What the cache took back.
pub(crate) struct Evicted {
    pub bytes: usize,
    _runs: Vec<Run>,
    _writer: Option<ChunkWriter>,
}

impl Runs {
    /// Gives up the oldest chunk, unless it has what the files have not.
    pub fn give_up_oldest(&mut self) -> Option<Evicted> {
        let chunk = self.list.front()?.chunk.clone();
        let n = self.list.iter().take_while(|r| r.chunk.is(&chunk)).count();
        if self.list[n - 1].next_offset > self.written {
            return None;
        }
        let runs: Vec<Run> = self.list.drain(..n).collect();
        let writer = if self.writer.as_ref().is_some_and(|w| w.chunk().is(&chunk)) { self.writer.take() } else { None };
        Some(Evicted { bytes: chunk.capacity(), _runs: runs, _writer: writer })
    }

    /// The offset behind the last batch in the oldest chunk.
    fn oldest_chunk_ends_at(&self) -> Option<Offset> {
        let chunk = &self.list.front()?.chunk;
        self.list.iter().take_while(|r| r.chunk.is(chunk)).last().map(|r| r.next_offset)
    }

    /// Makes room for `size` bytes that belong at `position` in the file. Returns the size of a chunk taken for it.
    fn make_room(&mut self, size: usize, position: u64, now: Monotonic, cache: &TailCache) -> io::Result<usize> {
        let phase = (position % CHUNK_ALIGN_BYTES as u64) as usize;
        if let Some(w) = &mut self.writer {
            let mut at = w.filled();
            if position != self.position || at % CHUNK_ALIGN_BYTES != phase {
                // Another segment has begun: on at the next place that is congruent.
                at = at.next_multiple_of(CHUNK_ALIGN_BYTES) + phase;
            }
            if at.saturating_add(size) <= w.capacity() {
                w.skip_to(at);
                return Ok(0);
            }
            let age_ms = i64::try_from(now.since(self.taken_at).as_millis()).unwrap_or(i64::MAX);
            if age_ms < FILLED_FAST_MS {
                self.level = (self.level + 1).min(CHUNK_BYTES.len() - 1);
            } else if age_ms > FILLED_SLOWLY_MS {
                self.level = self.level.saturating_sub(1);
            }
        }
        while self.level > 0 && CHUNK_BYTES[self.level] > cache.budget_bytes() / SHARE_OF_CACHE {
            self.level -= 1;
        }
        let mut writer = cache.chunks().take(CHUNK_BYTES[self.level].max(size + phase))?;
        writer.skip_to(phase);
        let taken = writer.capacity();
        self.writer = Some(writer);
        self.taken_at = now;
        Ok(taken)
    }

    /// Copies a batch to its place and makes it readable.
    fn put(&mut self, batch: &PreparedBatch, position: u64) -> Piece {
        let writer = self.writer.as_mut().expect("there is room");
        let start = writer.filled();
        for bytes in batch.segments() {
            writer.append(bytes);
        }
        let (end, chunk) = (writer.filled(), writer.chunk());
        let (base_offset, next_offset) = (batch.header().base_offset, batch.header().next_offset());
        match self.list.back_mut() {
            Some(run) if run.end == start && run.chunk.is(&chunk) => {
                run.end = end;
                run.next_offset = next_offset;
                if run.index.last().is_none_or(|(_, at)| start - at >= INDEX_INTERVAL_BYTES) {
                    run.index.push((base_offset, start));
                }
            }
            _ => {
                let (chunk, index) = (chunk.clone(), vec![(base_offset, start)]);
                self.list.push_back(Run { chunk, start, end, base_offset, next_offset, index });
            }
        }
        self.position = position + (end - start) as u64;
        Piece { chunk, start, end, position }
    }

    fn clear(&mut self) -> Self {
        let (level, written) = (self.level, self.written);
        std::mem::replace(self, Self { level, written, ..Self::default() })
    }
}

/// How far the segments' files have a log.
#[derive(Clone, Debug)]
pub(crate) struct WrittenMark(Arc<Mutex<Runs>>);

impl WrittenMark {
    /// Everything below `offset` is in the files now.
    pub fn set(&self, offset: Offset) {
        self.0.lock().written = offset;
    }
}

/// A log's hold on the cache.
#[derive(Debug)]
pub(crate) struct Tail {
    cache: TailCache,
    id: u64,
    runs: Arc<Mutex<Runs>>,
}

/// What a reader gets from the tail.
#[derive(Clone, Debug, Default)]
pub(crate) struct TailSlices {
    pub slices: Vec<Bytes>,
    pub bytes: usize,
    /// The offset behind the last batch.
    pub next_offset: Option<Offset>,
}

impl Tail {
    pub fn new(cache: TailCache) -> Self {
        let runs = Arc::default();
        Self { id: cache.join(&runs), cache, runs }
    }

    /// Copies batches, which are about to be appended at `position` of the active segment's file, into memory. They can
    /// be read at once: whoever reads is bounded by the log's end. `None` if there is no memory, or none is wished for and
    /// `needed` to write from; then nothing is cached any more, because what follows would not join on.
    pub fn stage(&self, batches: &[PreparedBatch], position: u64, now: Monotonic, needed: bool) -> Option<Vec<Piece>> {
        if self.cache.budget_bytes() == 0 && !needed {
            // What was staged before is in the files: nothing is needed while something is queued. Left here, it would
            // be followed by a gap, and who reads in memory takes runs to follow each other.
            if !self.runs.lock().list.is_empty() {
                self.clear();
            }
            return None;
        }
        let mut taken = 0;
        let staged = {
            let mut runs = self.runs.lock();
            let mut at = position;
            let mut pieces: Vec<Piece> = Vec::with_capacity(1);
            let all = batches.iter().try_for_each(|b| {
                taken += runs.make_room(b.size_in_bytes(), at, now, &self.cache)?;
                let piece = runs.put(b, at);
                at = piece.end_position();
                match pieces.last_mut() {
                    Some(last) if last.end == piece.start && last.chunk.is(&piece.chunk) => last.end = piece.end,
                    _ => pieces.push(piece),
                }
                Ok::<_, io::Error>(())
            });
            all.map(|()| pieces)
        };
        if taken > 0 {
            self.cache.took(self.id, taken);
        }
        if let Err(e) = &staged {
            tracing::warn!("no memory for the cache: {e}");
            self.clear();
        }
        staged.ok()
    }

    /// Takes back what was staged at and after `end`, the log's end: it could not be appended.
    pub fn unstage(&self, end: Offset) {
        let mut freed: Vec<Run> = Vec::new();
        let mut unused = None;
        let mut bytes = 0;
        {
            let mut guard = self.runs.lock();
            let runs = &mut *guard;
            while let Some(run) = runs.list.pop_back_if(|r| r.base_offset >= end) {
                freed.push(run);
                let chunk = &freed[freed.len() - 1].chunk;
                if runs.list.back().is_none_or(|r| !r.chunk.is(chunk)) {
                    bytes += chunk.capacity();
                    // Left here, it would be dropped at the next append, and counted for ever.
                    unused = runs.writer.take_if(|w| w.chunk().is(chunk)).or(unused);
                }
            }
            if let Some(run) = runs.list.back_mut()
                && run.next_offset > end
            {
                let to = run.reach(run.start, end, usize::MAX);
                run.next_offset = run.next_offset_at(to);
                run.end = to;
                run.index.retain(|(_, at)| *at < to);
            }
            // What comes next does not join on.
            runs.position = u64::MAX;
        }
        self.cache.gave(self.id, bytes);
        drop(unused);
    }

    /// Says what is in the segments' files and may be given up.
    pub fn written_mark(&self) -> WrittenMark {
        WrittenMark(self.runs.clone())
    }

    /// The batches from the one that holds `from` on, whole, below `upper_bound`, up to `max_bytes` (the
    /// first in any case if `min_one`). `None` if the tail does not reach back to `from`.
    pub fn read(&self, from: Offset, upper_bound: Offset, max_bytes: usize, min_one: bool) -> Option<TailSlices> {
        let runs = self.runs.lock();
        let list = &runs.list;
        // In a log with gaps the batch before the first kept one may still hold `from`.
        if from < runs.floor || list.front().is_none_or(|r| r.base_offset > from) {
            return None;
        }
        let first = list.partition_point(|r| r.next_offset <= from);
        let mut out = TailSlices::default();
        for run in list.range(first..) {
            let start = if run.base_offset >= from { run.start } else { run.place_of(from) };
            let mut end = run.reach(start, upper_bound, max_bytes.saturating_sub(out.bytes));
            if end == start && out.bytes == 0 && min_one {
                let one = run.span(start);
                if one.last_offset < upper_bound {
                    end = start + one.size;
                }
            }
            if end > start {
                out.slices.push(run.chunk.slice(start..end));
                out.bytes += end - start;
                out.next_offset = Some(run.next_offset_at(end));
            }
            if end < run.end {
                break;
            }
        }
        Some(out)
    }

    /// Serves nothing below `offset` any more: compaction has put other batches there.
    pub fn forget_below(&self, offset: Offset) {
        let mut freed = Vec::new();
        {
            let mut runs = self.runs.lock();
            runs.floor = runs.floor.max(offset);
            while runs.oldest_chunk_ends_at().is_some_and(|end| end <= offset)
                && let Some(evicted) = runs.give_up_oldest()
            {
                freed.push(evicted);
            }
        }
        for evicted in freed {
            self.cache.gave(self.id, evicted.bytes);
        }
    }

    /// Forgets everything: the log was cut, or is closed.
    pub fn clear(&self) {
        let freed = self.runs.lock().clear();
        self.cache.gave(self.id, usize::MAX);
        drop(freed);
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.cache.leave(self.id);
    }
}
