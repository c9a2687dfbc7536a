//! A file that is opened when it's needed, follows renames, and can be let go of when idle.
//!
//! Readers and the writer share it, so that a segment renamed or a directory moved under a reader does
//! not break the read. An idle partition holds no descriptor.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use logrun_io::{Disk, File, OpenMode};
use parking_lot::Mutex;

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
}

impl SegmentFile {
    pub fn new(disk: Arc<dyn Disk>, path: PathBuf) -> Self {
        Self { disk, state: Mutex::new(State { path, handle: None, writable: false }) }
    }

    pub fn path(&self) -> PathBuf {
        self.state.lock().path.clone()
    }

    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// The file for reading.
    pub fn reader(&self) -> io::Result<Arc<dyn File>> {
        let mut s = self.state.lock();
        if let Some(f) = &s.handle {
            return Ok(f.clone());
        }
        let f = self.disk.open(&s.path, OpenMode::Read)?;
        s.handle = Some(f.clone());
        s.writable = false;
        Ok(f)
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

    /// The file for writing. One that was deleted is not made again.
    pub fn writer(&self) -> io::Result<Arc<dyn File>> {
        let mut s = self.state.lock();
        if let (Some(f), true) = (&s.handle, s.writable) {
            return Ok(f.clone());
        }
        let f = self.disk.open(&s.path, OpenMode::Write)?;
        s.handle = Some(f.clone());
        s.writable = true;
        Ok(f)
    }

    /// Closes the descriptor; the next use opens it again.
    pub fn release(&self) {
        self.state.lock().handle = None;
    }

    /// Gives the file the name `to` in its directory.
    pub fn rename(&self, to: &Path) -> io::Result<()> {
        let mut s = self.state.lock();
        self.disk.rename(&s.path, to)?;
        s.path = to.to_path_buf();
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
