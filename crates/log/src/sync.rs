//! Making writes last: group commit, and the flush that moves the recovery point.
//!
//! However many appends wait for the device, one sync at a time is under way for a log, and each covers
//! all that was written when it began. A failed sync is final: the kernel may have dropped the pages, so
//! that a second one would succeed without having written them. One that found no descriptor to begin with is not.

use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use logrun_io::{Disk, OpenMode, Tasks};
use logrun_model::Offset;
use parking_lot::Mutex;

use crate::error::LogError;
use crate::segment::SegmentShared;
use crate::writer::LogWriter;

/// What an append is promised before it's acknowledged. Either holds for all that lies before it in the log, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// The end of the process does not take it; the end of the machine may.
    Written,
    /// Nor does that.
    Synced,
}

/// When an append has reached the log's durability.
pub enum Durable {
    /// It has.
    Ready,
    /// When this completes, and what it has then. It must be polled for the sync to happen; it can be dropped. Where
    /// there is no room for it, it waits until there is.
    Pending(Promise, Pin<Box<dyn Future<Output = Result<(), LogError>> + Send>>),
}

impl std::fmt::Debug for Durable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ready => f.write_str("Ready"),
            Self::Pending(promise, _) => write!(f, "Pending({promise:?})"),
        }
    }
}

impl Durable {
    /// Waits for it.
    pub async fn wait(self) -> Result<(), LogError> {
        match self {
            Self::Ready => Ok(()),
            Self::Pending(_, f) => f.await,
        }
    }
}

/// What of a log was written and what was synced.
#[derive(Debug)]
pub(crate) struct SyncState {
    disk: Arc<dyn Disk>,
    tasks: Tasks,
    inner: Mutex<Inner>,
    /// Held while the device works, by whichever thread that is.
    device: Mutex<()>,
    /// Those who wait for a sync queue here, so that they don't occupy threads.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The log end offset.
    written: Offset,
    /// All offsets below are on the device.
    synced: Offset,
    /// Counts truncations: what was written before one may be gone.
    generation: u64,
    /// Segments with batches that were not synced.
    dirty: Vec<Arc<SegmentShared>>,
    /// Directories with names that were not synced.
    dirs: BTreeSet<PathBuf>,
    /// Small files that were replaced and not synced.
    files: BTreeSet<PathBuf>,
    failed: Option<LogError>,
}

impl SyncState {
    pub fn new(disk: Arc<dyn Disk>, tasks: Tasks, log_end_offset: Offset, synced: Offset) -> Self {
        let inner = Inner { written: log_end_offset, synced, ..Inner::default() };
        Self { disk, tasks, inner: Mutex::new(inner), device: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// The log was opened: it ends at `log_end_offset`, and what's below `synced` is on the device.
    pub fn opened(&self, log_end_offset: Offset, synced: Offset) {
        let mut i = self.inner.lock();
        i.written = log_end_offset;
        i.synced = synced;
    }

    /// `segment` got batches; the log ends at `log_end_offset` now.
    pub fn wrote(&self, segment: &Arc<SegmentShared>, log_end_offset: Offset) {
        let mut i = self.inner.lock();
        i.written = log_end_offset;
        if !i.dirty.iter().any(|s| Arc::ptr_eq(s, segment)) {
            i.dirty.push(segment.clone());
        }
    }

    /// Names in `dir` changed.
    pub fn renamed_in(&self, dir: &Path) {
        self.inner.lock().dirs.insert(dir.to_path_buf());
    }

    /// The file at `path` was replaced.
    pub fn replaced(&self, path: PathBuf) {
        self.inner.lock().files.insert(path);
    }

    /// Whether every replaced file and changed name is on the device.
    pub fn has_synced_names(&self) -> bool {
        let i = self.inner.lock();
        i.files.is_empty() && i.dirs.is_empty()
    }

    /// `segment` is no longer part of the log.
    pub fn forget(&self, segment: &Arc<SegmentShared>) {
        self.inner.lock().dirty.retain(|s| !Arc::ptr_eq(s, segment));
    }

    /// The log was cut to end at `log_end_offset`.
    pub fn truncated(&self, log_end_offset: Offset) {
        let mut i = self.inner.lock();
        i.generation += 1;
        i.written = log_end_offset;
        i.synced = i.synced.min(log_end_offset);
    }

    /// The log's directory has moved.
    pub fn moved(&self, from: &Path, to: &Path) {
        let mut i = self.inner.lock();
        if i.dirs.remove(from) {
            i.dirs.insert(to.to_path_buf());
        }
        let files = std::mem::take(&mut i.files);
        i.files = files.into_iter().map(|p| p.file_name().map_or_else(|| p.clone(), |n| to.join(n))).collect();
    }

    /// Counts truncations.
    pub fn generation(&self) -> u64 {
        self.inner.lock().generation
    }

    /// Syncs all that was written so far; waits for the device.
    pub fn sync_now(&self) -> Result<(), LogError> {
        let _device = self.device.lock();
        let (written, generation, dirty, dirs, files) = {
            let mut i = self.inner.lock();
            if let Some(e) = &i.failed {
                return Err(e.clone());
            }
            let i = &mut *i;
            let (dirty, dirs) = (std::mem::take(&mut i.dirty), std::mem::take(&mut i.dirs));
            (i.written, i.generation, dirty, dirs, std::mem::take(&mut i.files))
        };
        let result = self.sync_all(&dirty, &files, &dirs);
        let mut i = self.inner.lock();
        match &result {
            Ok(()) if i.generation == generation => i.synced = i.synced.max(written),
            Ok(()) => {}
            Err(e) => {
                // None of it counts as synced, names least of all: a journal covers batches and no names.
                i.dirty.retain(|s| !dirty.iter().any(|d| Arc::ptr_eq(s, d)));
                i.dirty.extend(dirty);
                i.dirs.extend(dirs);
                i.files.extend(files);
                // A file that could not be opened was not synced, and can be later.
                if !e.is_out_of_files() {
                    i.failed = Some(e.clone());
                }
            }
        }
        result
    }

    fn sync_all(
        &self,
        segments: &[Arc<SegmentShared>],
        files: &BTreeSet<PathBuf>,
        dirs: &BTreeSet<PathBuf>,
    ) -> Result<(), LogError> {
        for path in files {
            self.sync_path(path)?;
        }
        for s in segments {
            synced(s.file.handle(false).and_then(|f| f.sync_data()), &s.file.path())?;
        }
        for dir in dirs {
            synced(self.disk.sync_dir(dir), dir)?;
        }
        Ok(())
    }

    /// Syncs a file by its path.
    pub fn sync_path(&self, path: &Path) -> Result<(), LogError> {
        synced(self.disk.open(path, OpenMode::Write).and_then(|f| f.sync_data()), path)
    }

    /// Completes when everything below `target` is on the device. What `writer` has queued is written first; while there is
    /// no room for it, this waits.
    pub async fn reach(self: &Arc<Self>, target: Offset, writer: Arc<LogWriter>) -> Result<(), LogError> {
        let generation = self.generation();
        let _turn = self.turn.lock().await;
        {
            let i = self.inner.lock();
            if i.generation != generation || i.synced >= target {
                return Ok(());
            }
        }
        // Whoever else waits has its turn behind this one: the device is asked once for all.
        loop {
            let (this, writer) = (self.clone(), writer.clone());
            let pause = writer.pause();
            let work = move || {
                writer.flush()?;
                this.sync_now()
            };
            match self.tasks.blocking(work).await {
                Err(e) if e.is_retriable() && self.inner.lock().failed.is_none() => pause.await,
                outcome => return outcome,
            }
        }
    }
}

/// What came of the sync of `path`. What is gone was deleted in the meantime. Any failure is one of the device: a file system
/// that finds only now that it has no room may have dropped what was written.
pub(crate) fn synced(r: io::Result<()>, path: &Path) -> Result<(), LogError> {
    match r {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        r => r.map_err(|e| LogError::Io { action: "sync", path: path.to_path_buf(), source: Arc::new(e) }),
    }
}

/// A flush that can be done without the log. Runs on any thread; waits for the device.
#[derive(Debug)]
pub struct FlushPlan {
    pub(crate) sync: Arc<SyncState>,
    pub(crate) writer: Arc<LogWriter>,
    /// Index files and snapshots that were written since the last flush.
    pub(crate) files: Vec<PathBuf>,
    pub(crate) flushed: Flushed,
}

/// A flush that was done; for [`crate::Log::finish_flush`].
#[derive(Clone, Copy, Debug)]
pub struct Flushed {
    pub(crate) offset: Offset,
    pub(crate) generation: u64,
}

impl FlushPlan {
    /// Syncs batches, indexes and names.
    pub fn run(self) -> Result<Flushed, LogError> {
        let mut synced = 0;
        let files = self.writer.flush().and_then(|()| {
            self.files.iter().try_for_each(|path| {
                self.sync.sync_path(path)?;
                synced += 1;
                Ok(())
            })
        });
        if files.is_err() {
            // The log has given them away: whoever syncs next must do it.
            self.files[synced..].iter().for_each(|path| self.sync.replaced(path.clone()));
        }
        files?;
        self.sync.sync_now()?;
        Ok(self.flushed)
    }
}
