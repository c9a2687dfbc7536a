//! One segment of a log: a file of batches and its indexes (Kafka's `LogSegment`).
//!
//! [`SegmentShared`] is what readers hold on to beside the log; [`Segment`] adds what only the log
//! itself changes. Indexes are loaded when first needed and built again from the batches' headers when
//! their files are missing or do not make sense.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use logrun_io::{Disk, OpenMode, disk::read_all};
use logrun_model::{Offset, TimestampMs};
use parking_lot::{Mutex, MutexGuard};

use crate::error::{IoContext, LogError};
use crate::index::{Missing, OffsetIndex, TimeIndex, TimestampOffset, TxnIndex};
use crate::names::{INDEX_SUFFIX, LOG_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX, segment_path};
use crate::segment_file::SegmentFile;
use crate::walk::{Span, WalkError, Walker};

/// What a segment shares with its readers.
#[derive(Debug)]
pub(crate) struct SegmentShared {
    pub base_offset: Offset,
    pub file: SegmentFile,
    index_interval_bytes: u64,
    place: Mutex<Place>,
    indexes: Mutex<Indexes>,
}

#[derive(Debug)]
struct Place {
    dir: PathBuf,
    /// Follows the names of all of the segment's files: empty, `.deleted`, or of compaction `.cleaned` and `.swap`.
    mark: &'static str,
}

/// The indexes that are in memory.
#[derive(Debug, Default)]
pub(crate) struct Indexes {
    offset: Option<OffsetIndex>,
    time: Option<TimeIndex>,
    txn: Option<TxnIndex>,
}

/// Both of the sparse indexes, loaded.
pub(crate) struct Sparse<'a>(MutexGuard<'a, Indexes>);

impl Sparse<'_> {
    pub fn parts(&mut self) -> (&mut OffsetIndex, &mut TimeIndex) {
        let i = &mut *self.0;
        (i.offset.as_mut().expect("loaded by SegmentShared::sparse"), i.time.as_mut().expect("loaded as well"))
    }
}

impl SegmentShared {
    pub fn new(disk: Arc<dyn Disk>, dir: &Path, base_offset: Offset, index_interval_bytes: u64) -> Self {
        Self {
            base_offset,
            file: SegmentFile::new(disk, segment_path(dir, base_offset, LOG_SUFFIX)),
            index_interval_bytes,
            place: Mutex::new(Place { dir: dir.to_path_buf(), mark: "" }),
            indexes: Mutex::default(),
        }
    }

    /// A segment that begins where this one does, none of whose files is there yet; `mark` follows their names.
    pub fn sibling(&self, mark: &'static str) -> Self {
        let dir = self.place.lock().dir.clone();
        let log = segment_path(&dir, self.base_offset, &format!("{LOG_SUFFIX}{mark}"));
        Self {
            base_offset: self.base_offset,
            file: SegmentFile::new(self.file.disk().clone(), log),
            index_interval_bytes: self.index_interval_bytes,
            place: Mutex::new(Place { dir, mark }),
            indexes: Mutex::default(),
        }
    }

    pub fn path(&self, suffix: &str) -> PathBuf {
        let p = self.place.lock();
        segment_path(&p.dir, self.base_offset, &format!("{suffix}{}", p.mark))
    }

    pub fn index_interval_bytes(&self) -> u64 {
        self.index_interval_bytes
    }

    fn disk(&self) -> &dyn Disk {
        &**self.file.disk()
    }

    /// An error about the segment's own file.
    pub fn walk_error(&self, e: WalkError) -> LogError {
        match e {
            WalkError::Io(e) => io::Result::<()>::Err(e).during("read", &self.file.path()).unwrap_err(),
            WalkError::NotABatch { position, reason } => LogError::Corrupt { path: self.file.path(), position, reason },
        }
    }

    /// Walks the headers of the batches from `position` to `end`.
    pub fn headers(&self, position: u64, end: u64) -> Result<Walker, LogError> {
        let file = self.file.reader().during("open", &self.file.path())?;
        Ok(Walker::headers(file, position, end))
    }

    /// The offset and the time index of a segment of `size` bytes.
    pub fn sparse(&self, size: u64) -> Result<Sparse<'_>, LogError> {
        let mut guard = self.indexes.lock();
        if guard.offset.is_none() || guard.time.is_none() {
            let (offset, time) = self.load_sparse(size)?;
            guard.offset = Some(offset);
            guard.time = Some(time);
        }
        Ok(Sparse(guard))
    }

    /// Asks the offset index, if it is in memory and nobody is busy with it.
    pub fn with_loaded_offsets<T>(&self, f: impl FnOnce(&OffsetIndex) -> T) -> Option<T> {
        self.indexes.try_lock()?.offset.as_ref().map(f)
    }

    fn load_sparse(&self, size: u64) -> Result<(OffsetIndex, TimeIndex), LogError> {
        let (offset_path, time_path) = (self.path(INDEX_SUFFIX), self.path(TIME_INDEX_SUFFIX));
        let offset = read_all(self.disk(), &offset_path).during("read", &offset_path)?;
        let time = read_all(self.disk(), &time_path).during("read", &time_path)?;
        if let (Some(offset), Some(time)) = (offset, time) {
            let (offset, offset_whole) = OffsetIndex::parse(self.base_offset, &offset, size);
            let (time, time_whole) = TimeIndex::parse(self.base_offset, &time);
            if offset_whole && time_whole {
                return Ok((offset, time));
            }
        }
        let mut builder = IndexBuilder::new(self.base_offset, self.index_interval_bytes);
        if size == 0 {
            // Not even a look at the file, which would wait for what is to be written to it.
            return Ok(builder.finish());
        }
        tracing::info!(segment = %self.file.path().display(), "building the indexes of a segment again");
        let mut walker = self.headers(0, size)?;
        while let Some(span) = walker.next_span().map_err(|e| self.walk_error(e))? {
            builder.add(&span);
        }
        Ok(builder.finish())
    }

    /// The entries below `offset` of the index files, if the files are there and their last entry agrees with
    /// the segment's file of `size` bytes: what was on the device before a crash, when `offset` is the
    /// recovery point.
    pub fn trusted_sparse(&self, size: u64, offset: Offset) -> Result<Option<(OffsetIndex, TimeIndex)>, LogError> {
        let (offset_path, time_path) = (self.path(INDEX_SUFFIX), self.path(TIME_INDEX_SUFFIX));
        let offsets = read_all(self.disk(), &offset_path).during("read", &offset_path)?;
        let times = read_all(self.disk(), &time_path).during("read", &time_path)?;
        let (Some(offsets), Some(times)) = (offsets, times) else { return Ok(None) };
        let (mut offsets, _) = OffsetIndex::parse(self.base_offset, &offsets, size);
        let (mut times, _) = TimeIndex::parse(self.base_offset, &times);
        offsets.truncate_to(offset);
        times.truncate_to(offset);
        let (last, position) = offsets.last();
        if offsets.is_empty() {
            return Ok(None);
        }
        let span = self.headers(position, size)?.next_span();
        Ok(span.ok().flatten().is_some_and(|s| s.last_offset == last).then_some((offsets, times)))
    }

    /// Puts indexes in place that were built outside.
    pub fn set_sparse(&self, offset: OffsetIndex, time: TimeIndex) {
        let mut guard = self.indexes.lock();
        guard.offset = Some(offset);
        guard.time = Some(time);
    }

    /// Runs `f` on the index of aborted transactions. A file that's not whole is an error here: only a
    /// recovery, which knows the producers, can build it again.
    pub fn with_txn<T>(&self, f: impl FnOnce(&mut TxnIndex) -> T) -> Result<T, LogError> {
        let mut guard = self.indexes.lock();
        if guard.txn.is_none() {
            let path = self.path(TXN_INDEX_SUFFIX);
            let (index, whole) = match read_all(self.disk(), &path).during("read", &path)? {
                None => (TxnIndex::new(self.base_offset), true),
                Some(file) => TxnIndex::parse(self.base_offset, &file),
            };
            if !whole {
                let position = index.bytes();
                let reason = "an entry is not an aborted transaction's".to_owned();
                return Err(LogError::Corrupt { path, position, reason });
            }
            guard.txn = Some(index);
        }
        Ok(f(guard.txn.as_mut().expect("just loaded")))
    }

    /// Forgets the index of aborted transactions, its file included, so that it is built anew.
    pub fn reset_txn(&self) {
        let mut guard = self.indexes.lock();
        // Parsed from nonsense, so that the file is cut at the next write.
        guard.txn = Some(TxnIndex::parse(self.base_offset, &[0]).0);
    }

    /// Writes what the index files lack, without waiting for the device. The paths of the files that
    /// were written go into `written`.
    pub fn persist_indexes(&self, written: &mut Vec<PathBuf>) -> Result<(), LogError> {
        let mut guard = self.indexes.lock();
        let i = &mut *guard;
        if let Some(index) = &mut i.offset
            && let Some(u) = index.unwritten()
        {
            self.write_index(INDEX_SUFFIX, &u, written)?;
            index.mark_persisted();
        }
        if let Some(index) = &mut i.time
            && let Some(u) = index.unwritten()
        {
            self.write_index(TIME_INDEX_SUFFIX, &u, written)?;
            index.mark_persisted();
        }
        if let Some(index) = &mut i.txn
            && let Some(u) = index.unwritten()
        {
            self.write_index(TXN_INDEX_SUFFIX, &u, written)?;
            index.mark_persisted();
        }
        Ok(())
    }

    fn write_index(&self, suffix: &str, u: &Missing, written: &mut Vec<PathBuf>) -> Result<(), LogError> {
        let path = self.path(suffix);
        let file = self.disk().open(&path, OpenMode::Create).during("open", &path)?;
        if u.cut {
            file.set_len(u.at).during("cut", &path)?;
        }
        if !u.bytes.is_empty() {
            file.write_all_at(u.at, &[IoSlice::new(&u.bytes)]).during("write", &path)?;
        }
        written.push(path);
        Ok(())
    }

    /// Makes sure that the files that Kafka expects beside a segment are there, even if they are empty.
    pub fn touch_indexes(&self, written: &mut Vec<PathBuf>) -> Result<(), LogError> {
        for suffix in [INDEX_SUFFIX, TIME_INDEX_SUFFIX] {
            let path = self.path(suffix);
            if self.disk().info(&path).during("look at", &path)?.is_none() {
                self.disk().open(&path, OpenMode::Create).during("create", &path)?;
                written.push(path);
            }
        }
        Ok(())
    }

    /// Gives back memory and descriptors, as far as the files have it all.
    pub fn release(&self) {
        self.file.release();
        let mut i = self.indexes.lock();
        if i.offset.as_ref().is_some_and(|x| x.unwritten().is_none())
            && i.time.as_ref().is_some_and(|x| x.unwritten().is_none())
        {
            i.offset = None;
            i.time = None;
        }
        if i.txn.as_ref().is_some_and(|x| x.unwritten().is_none()) {
            i.txn = None;
        }
    }

    /// Opens the file and loads the indexes of a segment of `size` bytes, so that those who hold on to it need no names
    /// any more.
    pub fn pin(&self, size: u64) -> Result<(), LogError> {
        self.file.reader().during("open", &self.file.path())?;
        self.sparse(size)?;
        self.with_txn(|_| ())
    }

    /// Removes the segment's files.
    pub fn remove_files(&self) -> Result<(), LogError> {
        for suffix in crate::names::SEGMENT_SUFFIXES {
            let path = self.path(suffix);
            match self.disk().remove_file(&path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e).during("remove", &path),
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes the segment's files when [`Self::set_mark`] has failed and some of them may carry `mark` already: those that
    /// don't first, and the batches last of all, so that what a stop leaves is the segment under its old name or its new one.
    pub fn remove_files_half_marked(&self, mark: &'static str) -> Result<(), LogError> {
        let place = self.place.lock();
        for mark in [place.mark, mark] {
            for suffix in crate::names::SEGMENT_SUFFIXES.iter().rev() {
                let path = segment_path(&place.dir, self.base_offset, &format!("{suffix}{mark}"));
                match self.disk().remove_file(&path) {
                    Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e).during("remove", &path),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Lets `mark` follow the names of the segment's files (`.deleted`, say); returns the new paths. Readers go on. After a
    /// failure it can be called again.
    pub fn set_mark(&self, mark: &'static str) -> io::Result<Vec<PathBuf>> {
        let mut place = self.place.lock();
        let mut renamed = Vec::new();
        for suffix in crate::names::SEGMENT_SUFFIXES {
            let from = segment_path(&place.dir, self.base_offset, &format!("{suffix}{}", place.mark));
            let to = segment_path(&place.dir, self.base_offset, &format!("{suffix}{mark}"));
            let done = if suffix == LOG_SUFFIX { self.file.rename(&to) } else { self.disk().rename(&from, &to) };
            match done {
                Ok(()) => renamed.push(to),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    // An earlier attempt may have come so far.
                    if self.disk().info(&to)?.is_some() {
                        renamed.push(to);
                    }
                }
                Err(e) => return Err(e),
            }
        }
        place.mark = mark;
        Ok(renamed)
    }

    /// The directory that the segment is in has moved to `dir`.
    pub fn moved_to(&self, dir: &Path) {
        self.place.lock().dir = dir.to_path_buf();
        self.file.moved_to(dir);
    }
}

/// Builds the sparse indexes of a segment from its batches, as an append would have.
#[derive(Debug)]
pub(crate) struct IndexBuilder {
    offset: OffsetIndex,
    time: TimeIndex,
    interval_bytes: u64,
    bytes_since: u64,
    max: TimestampOffset,
}

impl IndexBuilder {
    pub fn new(base_offset: Offset, interval_bytes: u64) -> Self {
        let mut offset = OffsetIndex::new(base_offset);
        let mut time = TimeIndex::new(base_offset);
        // Whatever the files hold, it is not these.
        offset.clear();
        time.clear();
        Self::resume(offset, time, interval_bytes)
    }

    /// Goes on behind the entries that are there.
    pub fn resume(offset: OffsetIndex, time: TimeIndex, interval_bytes: u64) -> Self {
        let max = time.last();
        Self { offset, time, interval_bytes, bytes_since: 0, max }
    }

    pub fn add(&mut self, span: &Span) {
        if span.max_timestamp > self.max.timestamp {
            self.max = TimestampOffset { timestamp: span.max_timestamp, offset: span.last_offset };
        }
        if self.bytes_since > self.interval_bytes {
            self.offset.append(span.last_offset, span.position);
            self.time.maybe_append(self.max);
            self.bytes_since = 0;
        }
        self.bytes_since += span.size as u64;
    }

    /// Takes note of a batch that is in the index already.
    pub fn skip(&mut self, span: &Span) {
        if span.max_timestamp > self.max.timestamp {
            self.max = TimestampOffset { timestamp: span.max_timestamp, offset: span.last_offset };
        }
        self.bytes_since += span.size as u64;
    }

    /// The highest timestamp so far, and the last offset of its batch.
    pub fn max(&self) -> TimestampOffset {
        self.max
    }

    /// The indexes, with the highest timestamp as the last entry, as of a segment that was closed.
    pub fn finish(mut self) -> (OffsetIndex, TimeIndex) {
        self.time.maybe_append(self.max);
        (self.offset, self.time)
    }
}

/// A segment as the log that owns it sees it.
#[derive(Debug)]
pub(crate) struct Segment {
    pub shared: Arc<SegmentShared>,
    /// How many bytes of batches the file holds.
    pub size: u64,
    /// When the segment was made or last written, for segments whose records have no timestamps.
    pub modified_ms: i64,
    pub created_ms: i64,
    /// What `segment.jitter.ms` takes off `segment.ms` for this segment.
    pub roll_jitter_ms: i64,
    pub bytes_since_index: u64,
    max_timestamp: Option<TimestampOffset>,
    first_timestamp: Option<TimestampMs>,
}

impl Segment {
    pub fn new(shared: SegmentShared, size: u64, now_ms: i64, modified_ms: i64, roll_jitter_ms: i64) -> Self {
        Self {
            shared: Arc::new(shared),
            size,
            modified_ms,
            created_ms: now_ms,
            roll_jitter_ms,
            bytes_since_index: 0,
            max_timestamp: None,
            first_timestamp: None,
        }
    }

    pub fn base_offset(&self) -> Offset {
        self.shared.base_offset
    }

    /// The highest timestamp in the segment and the last offset of its batch; none in an empty one.
    pub fn max_timestamp(&mut self) -> Result<TimestampOffset, LogError> {
        if let Some(t) = self.max_timestamp {
            return Ok(t);
        }
        let (mut max, from) = {
            let mut sparse = self.shared.sparse(self.size)?;
            let (offset, time) = sparse.parts();
            (time.last(), offset.last().1)
        };
        if from >= self.size {
            // Nothing to look at, nor to wait for in a file that is yet to be written.
            return Ok(max);
        }
        // Batches behind the last index entry may be later than the last time index entry.
        let mut walker = self.shared.headers(from, self.size)?;
        while let Some(span) = walker.next_span().map_err(|e| self.shared.walk_error(e))? {
            if span.max_timestamp > max.timestamp {
                max = TimestampOffset { timestamp: span.max_timestamp, offset: span.last_offset };
            }
        }
        self.max_timestamp = Some(max);
        Ok(max)
    }

    /// [`Self::max_timestamp`], if it's known without looking.
    pub fn known_max_timestamp(&self) -> Option<TimestampOffset> {
        self.max_timestamp
    }

    pub fn set_max_timestamp(&mut self, max: TimestampOffset) {
        self.max_timestamp = Some(max);
    }

    /// The time by which retention judges the segment: its highest timestamp, else when it was written.
    pub fn largest_timestamp(&mut self) -> Result<i64, LogError> {
        let max = self.max_timestamp()?.timestamp;
        Ok(if max.is_some() { max.get() } else { self.modified_ms })
    }

    /// The highest timestamp of the first batch; none if there is no batch.
    pub fn first_timestamp(&mut self) -> Result<Option<TimestampMs>, LogError> {
        if self.first_timestamp.is_none() && self.size > 0 {
            let first = self.shared.headers(0, self.size)?.next_span().map_err(|e| self.shared.walk_error(e))?;
            self.first_timestamp = first.map(|s| s.max_timestamp);
        }
        Ok(self.first_timestamp)
    }

    /// How long the segment has waited to be rolled, in milliseconds: by the records' time if they have
    /// one, else by the clock.
    pub fn waited_for_roll_ms(&mut self, now_ms: i64, timestamp: TimestampMs) -> Result<i64, LogError> {
        Ok(match self.first_timestamp()? {
            Some(first) if first.is_some() => timestamp.since_ms(first),
            _ => now_ms - self.created_ms,
        })
    }

    /// Takes note of a batch that was written at the segment's end.
    pub fn appended(
        &mut self,
        last_offset: Offset,
        max_timestamp: TimestampMs,
        size: usize,
        now_ms: i64,
    ) -> Result<(), LogError> {
        // Before the size changes: looking it up walks what was there.
        let mut max = self.max_timestamp()?;
        if self.size == 0 {
            self.first_timestamp = Some(max_timestamp);
        }
        if max_timestamp > max.timestamp {
            max = TimestampOffset { timestamp: max_timestamp, offset: last_offset };
            self.max_timestamp = Some(max);
        }
        if self.bytes_since_index > self.shared.index_interval_bytes {
            let mut sparse = self.shared.sparse(self.size)?;
            let (offset, time) = sparse.parts();
            offset.append(last_offset, self.size);
            time.maybe_append(max);
            self.bytes_since_index = 0;
        }
        self.bytes_since_index += size as u64;
        self.size += size as u64;
        self.modified_ms = now_ms;
        Ok(())
    }

    /// The segment takes no more batches: its time index ends with its highest timestamp.
    pub fn seal(&mut self) -> Result<(), LogError> {
        let max = self.max_timestamp()?;
        self.shared.sparse(self.size)?.parts().1.maybe_append(max);
        Ok(())
    }

    /// The position of the first batch that ends at or after `offset`; the end of the segment if none does.
    pub fn position_of(&self, offset: Offset) -> Result<u64, LogError> {
        let from = self.shared.sparse(self.size)?.parts().0.lookup(offset).1;
        let mut walker = self.shared.headers(from, self.size)?;
        while let Some(span) = walker.next_span().map_err(|e| self.shared.walk_error(e))? {
            if span.last_offset >= offset {
                return Ok(span.position);
            }
        }
        Ok(self.size)
    }

    /// The offset behind the last batch.
    pub fn next_offset(&self) -> Result<Offset, LogError> {
        let from = self.shared.sparse(self.size)?.parts().0.last().1;
        let mut walker = self.shared.headers(from, self.size)?;
        let mut next = self.base_offset();
        while let Some(span) = walker.next_span().map_err(|e| self.shared.walk_error(e))? {
            next = span.next_offset();
        }
        Ok(next)
    }

    /// Cuts the segment's file at `position` and its indexes at `offset`, and makes the cut last.
    pub fn cut(&mut self, offset: Offset, position: u64) -> Result<(), LogError> {
        {
            let mut sparse = self.shared.sparse(self.size)?;
            let (offsets, times) = sparse.parts();
            offsets.truncate_to(offset);
            times.truncate_to(offset);
        }
        self.shared.with_txn(|t| t.truncate_to(offset))?;
        let path = self.shared.file.path();
        let file = self.shared.file.writer().during("open", &path)?;
        file.set_len(position).during("cut", &path)?;
        // Not before: who reads in between would keep what is cut, for those who come later.
        self.shared.file.changed();
        file.sync_data().during("sync", &path)?;
        self.size = position;
        self.bytes_since_index = 0;
        self.max_timestamp = None;
        if position == 0 {
            self.first_timestamp = None;
        }
        self.shared.persist_indexes(&mut Vec::new())
    }
}
