//! The disk: files and directories, where written, synced, truncated and renamed are distinct events.
//!
//! Calls block. Appends into the page cache may be made on any thread; syncs, deletions and cold
//! reads go through `Tasks::blocking`. What is written survives the process; only what is synced
//! (data by [`File::sync_data`], names by [`Disk::sync_dir`]) survives a power cut.

mod range;
mod real;
mod sim;

use std::fmt::Debug;
use std::io;
use std::io::IoSlice;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use range::FileRange;
pub use real::RealDisk;
pub use sim::{Fault, SECTOR_BYTES, SimCounts, SimDisk};

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Read an existing file.
    Read,
    /// Read and write an existing file.
    Write,
    /// Read and write a file that is made if it is not there.
    Create,
    /// Read and write a new file; one that exists is an error.
    CreateNew,
}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    pub name: String,
    pub is_dir: bool,
}

/// What is known of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathInfo {
    pub is_dir: bool,
    pub len: u64,
    /// Milliseconds since the Unix epoch.
    pub modified_ms: i64,
}

/// The room of a file system in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Which file system it is: two directories of the same one share their room.
    pub file_system: u64,
    /// 0 if it doesn't say: some, as ramfs, have no size.
    pub total: u64,
    pub available: u64,
}

/// An open file. Positions are explicit, so that readers and a writer may share it.
pub trait File: Send + Sync + Debug {
    /// Reads at most `buf.len()` bytes at `offset`; fewer only at the end of the file.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;
    /// As [`Self::read_at`], but only what the system's page cache has: `None` if that is not all of it, or can't be
    /// known. Never waits for the device.
    fn read_cached(&self, offset: u64, buf: &mut [u8]) -> io::Result<Option<usize>>;
    /// The system's own handle, from which the kernel can send the file's bytes; `None` if there is none.
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
    /// Writes all of `bufs`, one after the other, from `offset` on.
    fn write_all_at(&self, offset: u64, bufs: &[IoSlice<'_>]) -> io::Result<()>;
    /// The file's length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts or extends (with zeros) the file.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes the contents survive a power cut (`fdatasync`).
    fn sync_data(&self) -> io::Result<()>;
}

/// Where reads and writes past the page cache begin and end, in the file and in memory, in multiples of this many bytes.
pub const DIRECT_ALIGN_BYTES: usize = 4096;

/// Holds a directory for one process; dropping it lets go.
pub trait DirLock: Send + Sync + Debug {}

/// A file system.
pub trait Disk: Send + Sync + Debug {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;
    /// An existing file for reads and writes past the page cache (`O_DIRECT`), whose places, lengths and memory are
    /// multiples of [`DIRECT_ALIGN_BYTES`]. `None` if the file system can't; some only say so, by
    /// [`io::ErrorKind::InvalidInput`], when they are read or written.
    fn open_direct(&self, path: &Path) -> io::Result<Option<Arc<dyn File>>>;
    /// What is at `path`; `None` if nothing is.
    fn info(&self, path: &Path) -> io::Result<Option<PathInfo>>;
    /// The entries of a directory, sorted by name.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Atomically gives `from` the name `to`, replacing a file of that name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes the names in `dir` (created, renamed, removed) survive a power cut.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Makes everything below `dir` survive a power cut: for many files at once, where one call for all costs less than
    /// one for each.
    fn sync_tree(&self, dir: &Path) -> io::Result<()> {
        for entry in self.list(dir)? {
            let path = dir.join(&entry.name);
            if entry.is_dir { self.sync_tree(&path)? } else { self.open(&path, OpenMode::Read)?.sync_data()? }
        }
        self.sync_dir(dir)
    }
    /// Takes the file at `path` (made if needed) as a lock; `Ok(None)` if another process holds it.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DirLock>>>;
    /// The room of the file system that holds `path`.
    fn space(&self, path: &Path) -> io::Result<Space>;
}

/// The most that [`read_all`] takes in: the files read whole are checkpoints and settings.
const READ_ALL_BYTES_MAX: u64 = 1 << 30;

/// Reads a whole small file; `None` if it is not there.
pub fn read_all(disk: &dyn Disk, path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open(path, OpenMode::Read) {
        Ok(f) => f,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let len = file.len()?;
    if len > READ_ALL_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("{} has {len} bytes", path.display())));
    }
    let mut buf = vec![0; len as usize];
    let n = file.read_at(0, &mut buf)?;
    buf.truncate(n);
    Ok(Some(buf))
}

/// Replaces a small file, of which a killed process leaves the old contents or the new. A power cut may leave either, or
/// something that makes no sense: for what can be done without. Waits for no device, and makes nobody else wait for one.
pub fn replace_unsynced(disk: &dyn Disk, path: &Path, contents: &[u8]) -> io::Result<()> {
    let tmp = beside(path);
    write_new(disk, &tmp, contents)?;
    disk.rename(&tmp, path)
}

/// Replaces a small file so that a crash leaves the old contents or the new, never a mixture:
/// a temporary file beside it, sync, rename, sync of the directory.
pub fn replace(disk: &dyn Disk, path: &Path, contents: &[u8]) -> io::Result<()> {
    let tmp = beside(path);
    write_new(disk, &tmp, contents)?.sync_data()?;
    disk.rename(&tmp, path)?;
    match path.parent() {
        Some(dir) => disk.sync_dir(dir),
        None => Ok(()),
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut tmp = path.as_os_str().to_owned();
    tmp.push(".tmp");
    tmp.into()
}

fn write_new(disk: &dyn Disk, path: &Path, contents: &[u8]) -> io::Result<Arc<dyn File>> {
    let file = disk.open(path, OpenMode::Create)?;
    file.set_len(0)?;
    file.write_all_at(0, &[IoSlice::new(contents)])?;
    Ok(file)
}
