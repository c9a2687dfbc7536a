//! A file that is opened when it's needed, follows renames, and can be let go of when idle.
//!
//! Readers and the writer share it, so that a segment renamed or a directory moved under a reader does
//! not break the read. An idle partition holds no descriptor.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use logrun_io::{Disk, File, OpenMode};
use logrun_model::Monotonic;
use parking_lot::Mutex;

use crate::cold::ColdReads;
use crate::error::LogError;
use crate::writer::LogWriter;

/// So long after it was written a file's end is in the page cache, and may be on its way to the device: reading past the
/// page cache would wait for that, and hold up who writes.
const SETTLED: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct SegmentFile {
    disk: Arc<dyn Disk>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    path: PathBuf,
    handle: Option<Arc<dyn File>>,
    writable: bool,
    /// Past the page cache.
    direct: Option<Arc<dyn File>>,
    direct_refused: bool,
    /// When this process last wrote to it through the page cache.
    buffered_at: Option<Monotonic>,
    /// Where it first did: all that follows is its own.
    appended_from: Option<u64>,
    /// Where what was read of it past the page cache is kept, and under which number.
    cold: Option<(ColdReads, u64)>,
    /// Who has more for the file (and has the file), and how much of it the file has.
    queued: Option<(Weak<LogWriter>, u64)>,
}

impl SegmentFile {
    pub fn new(disk: Arc<dyn Disk>, path: PathBuf) -> Self {
        let state = State {
            path,
            handle: None,
            writable: false,
            direct: None,
            direct_refused: false,
            buffered_at: None,
            appended_from: None,
            cold: None,
            queued: None,
        };
        Self { disk, state: Mutex::new(state) }
    }

    pub fn path(&self) -> PathBuf {
        self.state.lock().path.clone()
    }

    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// The file for reading. What is queued for it is written first, which waits for the device.
    pub fn reader(&self) -> io::Result<Arc<dyn File>> {
        self.write_queued()?;
        self.handle(false)
    }

    fn write_queued(&self) -> io::Result<()> {
        let writer = self.state.lock().queued.as_ref().and_then(|(w, _)| w.upgrade());
        writer.map_or(Ok(()), |w| w.flush()).map_err(|e| match &e {
            LogError::DiskFull { .. } => io::ErrorKind::StorageFull.into(),
            // Whether it passes is told by its number or its kind.
            LogError::Io { source, .. } => match source.raw_os_error() {
                Some(number) => io::Error::from_raw_os_error(number),
                None => io::Error::new(source.kind(), e),
            },
            // It was deleted meanwhile, which is no failure of its directory.
            LogError::Truncated => io::ErrorKind::NotFound.into(),
            _ => io::Error::other(e),
        })
    }

    /// The file as it is, which may lack what is queued for it. One that was deleted is not made again.
    pub fn handle(&self, writable: bool) -> io::Result<Arc<dyn File>> {
        let mut s = self.state.lock();
        if let (Some(f), true) = (&s.handle, s.writable || !writable) {
            return Ok(f.clone());
        }
        let f = self.disk.open(&s.path, if writable { OpenMode::Write } else { OpenMode::Read })?;
        s.handle = Some(f.clone());
        s.writable = writable;
        Ok(f)
    }

    /// The file for reads and writes past the page cache; `None` if the file system can't.
    pub fn direct(&self) -> io::Result<Option<Arc<dyn File>>> {
        let mut s = self.state.lock();
        if s.direct.is_none() && !s.direct_refused {
            s.direct = self.disk.open_direct(&s.path)?;
            s.direct_refused = s.direct.is_none();
        }
        Ok(s.direct.clone())
    }

    /// The file system can't read past the page cache, as it turned out.
    pub fn refuses_direct(&self) {
        let mut s = self.state.lock();
        (s.direct, s.direct_refused) = (None, true);
    }

    /// The file's number among those that are read past the page cache; `None` if it can't be.
    pub fn cold_id(&self, cold: &ColdReads) -> Option<u64> {
        let mut s = self.state.lock();
        if s.direct_refused {
            return None;
        }
        Some(s.cold.get_or_insert_with(|| (cold.clone(), cold.next_id())).1)
    }

    /// What the file had at some place is not what it has now: it was cut.
    pub fn changed(&self) {
        let cold = self.state.lock().cold.take();
        if let Some((cold, id)) = cold {
            cold.forget(id);
        }
    }

    /// It was appended to at `position`, through the page cache.
    pub fn wrote_buffered(&self, position: u64, now: Monotonic) {
        let mut s = self.state.lock();
        s.buffered_at = Some(now);
        s.appended_from = Some(s.appended_from.map_or(position, |from| from.min(position)));
    }

    /// From where on this process appended all that is there.
    pub fn appended_from(&self) -> Option<u64> {
        self.state.lock().appended_from
    }

    /// Whether it is better read past the page cache.
    pub fn is_settled(&self, now: Monotonic) -> bool {
        self.state.lock().buffered_at.is_none_or(|at| now.since(at) >= SETTLED)
    }

    /// `writer` has more for the file than its `len` bytes.
    pub fn queued(&self, writer: &Arc<LogWriter>, len: u64) {
        self.state.lock().queued.get_or_insert_with(|| (Arc::downgrade(writer), len));
    }

    /// The file has `len` bytes now of what is queued for it.
    pub fn progressed(&self, len: u64) {
        if let Some((_, there)) = &mut self.state.lock().queued {
            *there = len;
        }
    }

    /// Nothing is queued any more.
    pub fn caught_up(&self) {
        self.state.lock().queued = None;
    }

    /// How many of the segment's `size` bytes are in the file.
    pub fn readable(&self, size: u64) -> u64 {
        self.state.lock().queued.as_ref().map_or(size, |(_, len)| size.min(*len))
    }

    /// Makes the file, empty.
    pub fn create(&self) -> io::Result<()> {
        let mut s = self.state.lock();
        let f = self.disk.open(&s.path, OpenMode::Create)?;
        if !f.is_empty()? {
            f.set_len(0)?;
        }
        s.handle = Some(f);
        s.writable = true;
        Ok(())
    }

    /// The file for writing, as [`Self::reader`]. One that was deleted is not made again.
    pub fn writer(&self) -> io::Result<Arc<dyn File>> {
        self.write_queued()?;
        self.handle(true)
    }

    /// Closes the descriptor; the next use opens it again.
    pub fn release(&self) {
        let mut s = self.state.lock();
        (s.handle, s.direct) = (None, None);
        drop(s);
        self.changed();
    }

    /// Gives the file the name `to` in its directory.
    pub fn rename(&self, to: &Path) -> io::Result<()> {
        let mut s = self.state.lock();
        if s.path != to {
            self.disk.rename(&s.path, to)?;
            s.path = to.to_path_buf();
        }
        Ok(())
    }

    /// The directory of the file has moved to `dir`.
    pub fn moved_to(&self, dir: &Path) {
        let mut s = self.state.lock();
        if let Some(name) = s.path.file_name() {
            s.path = dir.join(name);
        }
    }
}
