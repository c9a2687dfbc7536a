//! Writing one compacted segment: batches into `.log.cleaned`, indexes beside it, all on the device at the end.
//!
//! A segment of which nothing goes need not be written: as long as every batch of a lone one was kept, only their
//! length is counted, and it's copied when the first change shows.

use std::io::IoSlice;
use std::path::PathBuf;

use bytes::Bytes;
use logrun_record::PreparedBatch;

use super::job::Source;
use crate::error::{IoContext, LogError};
use crate::index::AbortedTxn;
use crate::names::CLEANED_SUFFIX;
use crate::segment::{IndexBuilder, Segment, SegmentShared};
use crate::walk::{Span, Walker};

/// A compacted segment in the making.
#[derive(Debug)]
pub(super) struct CleanedWriter {
    shared: SegmentShared,
    index: IndexBuilder,
    aborted: Vec<AbortedTxn>,
    /// What is in the file.
    written: u64,
    /// What comes behind it.
    buffer: Vec<u8>,
    buffer_bytes: usize,
    /// How much of the only source was kept as it is, if nothing else happened yet.
    untouched: Option<u64>,
}

impl CleanedWriter {
    /// Begins a segment that takes the place of `sources`.
    pub fn new(sources: &[Source], buffer_bytes: usize) -> Result<Self, LogError> {
        let first = &sources[0].shared;
        let shared = first.sibling(CLEANED_SUFFIX);
        // What an earlier attempt left.
        shared.remove_files()?;
        let index = IndexBuilder::new(first.base_offset, first.index_interval_bytes());
        let untouched = (sources.len() == 1).then_some(0);
        let mut this =
            Self { shared, index, aborted: Vec::new(), written: 0, buffer: Vec::new(), buffer_bytes, untouched };
        if untouched.is_none() {
            this.create()?;
        }
        Ok(this)
    }

    fn create(&mut self) -> Result<(), LogError> {
        self.shared.file.create().during("create", &self.shared.file.path())
    }

    /// Keeps a batch of `source` as it is; returns how many bytes that will take to write.
    pub fn keep(&mut self, span: &Span, bytes: &Bytes) -> Result<usize, LogError> {
        if let Some(untouched) = &mut self.untouched {
            *untouched += span.size as u64;
            return Ok(0);
        }
        self.put(&[bytes])
    }

    /// Leaves a batch of `source` out.
    pub fn drop_batch(&mut self, source: &Source) -> Result<usize, LogError> {
        self.touch(source)
    }

    /// Puts `batch` in the place of one of `source`.
    pub fn replace(&mut self, source: &Source, batch: &PreparedBatch) -> Result<usize, LogError> {
        Ok(self.touch(source)? + self.put(&batch.segments())?)
    }

    /// Notes the aborted transactions whose markers were kept.
    pub fn note_aborted(&mut self, aborted: &mut Vec<AbortedTxn>) {
        self.aborted.append(aborted);
    }

    /// The first change: what was kept so far is written after all.
    fn touch(&mut self, source: &Source) -> Result<usize, LogError> {
        let Some(untouched) = self.untouched.take() else { return Ok(0) };
        self.create()?;
        let shared = &source.shared;
        let file = shared.file.reader().during("open", &shared.file.path())?;
        let mut walker = Walker::new(file, 0, untouched, self.buffer_bytes);
        while let Some(span) = walker.next_span().map_err(|e| shared.walk_error(e))? {
            let bytes = walker.bytes(&span).map_err(|e| shared.walk_error(e))?;
            self.put(&[&bytes])?;
        }
        Ok(usize::try_from(untouched).unwrap_or(usize::MAX))
    }

    fn put(&mut self, parts: &[&[u8]]) -> Result<usize, LogError> {
        let position = self.written + self.buffer.len() as u64;
        let at = self.buffer.len();
        for p in parts {
            self.buffer.extend_from_slice(p);
        }
        let path = || self.shared.file.path();
        let span = Span::parse(&self.buffer[at..], position).map_err(|reason| LogError::Corrupt {
            path: path(),
            position,
            reason,
        })?;
        self.index.add(&span);
        if self.buffer.len() >= self.buffer_bytes {
            self.write_out()?;
        }
        Ok(span.size)
    }

    fn write_out(&mut self) -> Result<(), LogError> {
        let path = self.shared.file.path();
        let file = self.shared.file.writer().during("open", &path)?;
        file.write_all_at(self.written, &[IoSlice::new(&self.buffer)]).during("write", &path)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Gives the segment up. Waits for the disk.
    pub fn remove(self) -> Result<(), LogError> {
        self.shared.remove_files()
    }

    /// Brings the segment to the device, all but its names; none if it would be as `sources` are. Waits for the disk.
    pub fn finish(mut self, sources: &[Source], now_ms: i64) -> Result<Option<Segment>, LogError> {
        if self.untouched.is_some() {
            return Ok(None);
        }
        self.write_out()?;
        let path = self.shared.file.path();
        let file = self.shared.file.writer().during("open", &path)?;
        file.sync_data().during("sync", &path)?;
        let max_timestamp = self.index.max();
        let (offset, time) = self.index.finish();
        self.shared.set_sparse(offset, time);
        self.shared.with_txn(|index| self.aborted.iter().for_each(|txn| index.append(*txn)))?;
        let mut files: Vec<PathBuf> = Vec::new();
        self.shared.touch_indexes(&mut files)?;
        self.shared.persist_indexes(&mut files)?;
        for path in files {
            let file = self.shared.file.disk().open(&path, logrun_io::OpenMode::Write).during("open", &path)?;
            file.sync_data().during("sync", &path)?;
        }
        // As old as what it stands for: retention asks, where records have no time.
        let modified_ms = sources.iter().map(|s| s.modified_ms).max().unwrap_or(now_ms);
        let mut segment = Segment::new(self.shared, self.written, now_ms, modified_ms, 0);
        segment.set_max_timestamp(max_timestamp);
        Ok(Some(segment))
    }
}
