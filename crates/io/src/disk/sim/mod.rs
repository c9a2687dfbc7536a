//! A disk in memory that can lose power, lose its process, fill up and fail, from a seed.
//!
//! Written, synced, truncated and renamed are distinct: [`SimDisk::kill`] is the death of the process
//! (all that was written stays), [`SimDisk::crash`] is a power cut (of what was not synced, any
//! combination of 512-byte sectors and any prefix of each directory's changes stays). Nothing here
//! asks for time or entropy by itself, so the same calls give the same disk and the same
//! [`SimDisk::trace`].

mod crash;
mod faults;
mod tree;

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{DIRECT_ALIGN_BYTES, DirEntry, DirLock, Disk, File, OpenMode, PathInfo, Space};
use crate::Random;

pub use faults::Fault;
use faults::{Faults, Verdict};
use tree::{FileOp, NameOp, Node, Tree};

/// What a power cut keeps or loses as one: the unit in which a device writes.
pub const SECTOR_BYTES: usize = 512;

/// A simulated disk. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct SimDisk(Arc<Mutex<World>>);

#[derive(Debug, Default)]
struct World {
    tree: Tree,
    faults: Faults,
    /// Handles and locks of an earlier generation belong to a process that has died.
    generation: u64,
    mutations: u64,
    reads: u64,
    trace: u64,
    /// The node of each held lock file.
    locks: Vec<u64>,
    now_ms: i64,
    refuses_direct: bool,
    cached: Cached,
}

/// What the page cache is said to have.
#[derive(Debug, Default)]
enum Cached {
    #[default]
    Everything,
    Nothing,
    /// A part, anew at each look.
    Sometimes(Random),
}

/// How much a simulated disk has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SimCounts {
    /// Writes, truncations, syncs, and changes and syncs of names.
    pub mutations: u64,
    /// Reads of file contents.
    pub reads: u64,
}

impl SimDisk {
    /// An empty disk without limits or faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The process dies: what it wrote stays, its locks are free, its open files answer with errors.
    /// Scheduled faults are forgotten.
    pub fn kill(&self) {
        let mut w = self.0.lock();
        w.end_process("kill");
        w.tree.forget_handles();
    }

    /// The power fails: beside what [`Self::kill`] does, whatever was not synced stays or goes, by `random`.
    pub fn crash(&self, random: &Random) {
        let mut w = self.0.lock();
        w.end_process("crash");
        w.tree.crash(random);
    }

    /// From the `n`-th mutation on (counted as in [`Self::counts`], from 1) every call fails until
    /// [`Self::kill`] or [`Self::crash`]: the moment at which the world stops.
    pub fn halt_at(&self, n: u64) {
        self.0.lock().faults.halt_at = Some(n);
    }

    /// The `n`-th mutation (from 1) fails with `fault`.
    pub fn fail_mutation(&self, n: u64, fault: Fault) {
        self.0.lock().faults.mutations.insert(n, fault);
    }

    /// The `n`-th read (from 1) fails with `fault`.
    pub fn fail_read(&self, n: u64, fault: Fault) {
        self.0.lock().faults.reads.insert(n, fault);
    }

    /// Each mutation fails with `fault` with a probability of `numerator / denominator`; 0 ends it.
    pub fn fail_randomly(&self, random: Random, numerator: u64, denominator: u64, fault: Fault) {
        self.0.lock().faults.random = (numerator > 0).then_some((random, numerator, denominator, fault));
    }

    /// Everything below `dir` answers EIO from now on: a device that has gone.
    pub fn break_dir(&self, dir: impl Into<PathBuf>) {
        self.0.lock().faults.broken.push(dir.into());
    }

    /// The device below `dir` is back.
    pub fn mend_dir(&self, dir: &Path) {
        self.0.lock().faults.broken.retain(|d| d != dir);
    }

    /// How many bytes all files together may have; a write beyond it fails with ENOSPC.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.0.lock().faults.capacity = bytes;
    }

    /// Whether the process has no descriptor left: files that are open work, and no other can be opened (EMFILE).
    pub fn refuse_opens(&self, refuses: bool) {
        self.0.lock().faults.refuses_opens = refuses;
    }

    /// Whether files can't be opened for writes past the page cache, as on a tmpfs.
    pub fn refuse_direct(&self, refuses: bool) {
        self.0.lock().refuses_direct = refuses;
    }

    /// Whether the page cache has what was written, as it has at first, or nothing.
    pub fn keep_cached(&self, keeps: bool) {
        self.0.lock().cached = if keeps { Cached::Everything } else { Cached::Nothing };
    }

    /// The page cache has three out of four things that are looked for.
    pub fn cache_randomly(&self, random: Random) {
        self.0.lock().cached = Cached::Sometimes(random);
    }

    /// The time that files modified from now on carry, in milliseconds since the Unix epoch.
    pub fn set_now_ms(&self, now_ms: i64) {
        self.0.lock().now_ms = now_ms;
    }

    /// How many mutations and reads there were.
    pub fn counts(&self) -> SimCounts {
        let w = self.0.lock();
        SimCounts { mutations: w.mutations, reads: w.reads }
    }

    /// A hash of every operation so far with its path, place and contents: the same seed gives the same trace.
    pub fn trace(&self) -> u64 {
        self.0.lock().trace
    }

    /// The sum of all files' lengths in bytes.
    pub fn used(&self) -> u64 {
        self.0.lock().tree.used()
    }
}

impl World {
    fn end_process(&mut self, what: &str) {
        self.note(what, Path::new(""), 0, &[]);
        self.generation += 1;
        self.locks.clear();
        self.faults.restart();
    }

    /// FNV-1a over the operation.
    fn note(&mut self, what: &str, path: &Path, at: u64, contents: &[u8]) {
        const PRIME: u64 = 0x0000_0100_0000_01b3;
        let mut hash = self.trace ^ 0xcbf2_9ce4_8422_2325;
        let mut eat = |bytes: &[u8]| {
            for b in bytes {
                hash = (hash ^ u64::from(*b)).wrapping_mul(PRIME);
            }
            hash = (hash ^ 0xff).wrapping_mul(PRIME);
        };
        eat(what.as_bytes());
        eat(path.as_os_str().as_encoded_bytes());
        eat(&at.to_le_bytes());
        eat(contents);
        self.trace = hash;
    }

    fn mutate(&mut self, what: &str, path: &Path, at: u64, contents: &[u8]) -> io::Result<Verdict> {
        self.mutations += 1;
        self.note(what, path, at, contents);
        self.faults.judge_mutation(self.mutations, path)
    }

    /// As [`Self::mutate`] for operations that have no half-done form.
    fn mutate_whole(&mut self, what: &str, path: &Path) -> io::Result<()> {
        match self.mutate(what, path, 0, &[])? {
            Verdict::Proceed => Ok(()),
            Verdict::Torn => Err(eio()),
        }
    }

    fn file(&mut self, handle: &SimFile) -> io::Result<&mut tree::FileNode> {
        if handle.generation != self.generation {
            return Err(io::Error::other("the process that opened this file has died"));
        }
        self.tree.file_mut(handle.node)
    }
}

fn eio() -> io::Error {
    // EIO
    io::Error::from_raw_os_error(5)
}

fn enospc() -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, "no space left on the simulated disk")
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    path: PathBuf,
    node: u64,
    generation: u64,
    writable: bool,
    /// Opened for reads and writes past the page cache: places, lengths and memory must be aligned.
    direct: bool,
}

impl SimFile {
    fn check_writable(&self) -> io::Result<()> {
        if self.writable { Ok(()) } else { Err(io::Error::new(io::ErrorKind::PermissionDenied, "opened for reading")) }
    }

    fn check_aligned<'a>(&self, offset: u64, bufs: impl IntoIterator<Item = &'a [u8]>) -> io::Result<()> {
        let aligned = |n: usize| n.is_multiple_of(DIRECT_ALIGN_BYTES);
        let fine = offset.is_multiple_of(DIRECT_ALIGN_BYTES as u64)
            && bufs.into_iter().all(|b| aligned(b.len()) && aligned(b.as_ptr().addr()));
        if fine || !self.direct { Ok(()) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut w = self.disk.0.lock();
        if w.generation == self.generation {
            w.tree.close(self.node);
        }
    }
}

impl File for SimFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.check_aligned(offset, [&*buf])?;
        let mut w = self.disk.0.lock();
        w.reads += 1;
        let n = w.reads;
        w.faults.judge_read(n, &self.path)?;
        let data = &w.file(self)?.data;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(data.len());
        let n = buf.len().min(data.len() - start);
        buf[..n].copy_from_slice(&data[start..start + n]);
        Ok(n)
    }

    fn read_cached(&self, offset: u64, buf: &mut [u8]) -> io::Result<Option<usize>> {
        let cached = match &self.disk.0.lock().cached {
            Cached::Everything => true,
            Cached::Nothing => false,
            Cached::Sometimes(random) => !random.chance(1, 4),
        };
        if cached { self.read_at(offset, buf).map(Some) } else { Ok(None) }
    }

    fn write_all_at(&self, offset: u64, bufs: &[IoSlice<'_>]) -> io::Result<()> {
        self.check_writable()?;
        self.check_aligned(offset, bufs.iter().map(|b| &**b))?;
        let mut bytes = Vec::with_capacity(bufs.iter().map(|b| b.len()).sum());
        for b in bufs {
            bytes.extend_from_slice(b);
        }
        let mut w = self.disk.0.lock();
        let verdict = w.mutate("write", &self.path, offset, &bytes)?;
        let wanted = bytes.len();
        let mut error = None;
        if verdict == Verdict::Torn {
            bytes.truncate(wanted / 2);
            error = Some(eio());
        }
        // A full disk takes what fits, then says so.
        if let Some(capacity) = w.faults.capacity {
            let used = w.tree.used();
            let len = w.file(self)?.data.len() as u64;
            let fits = (len + capacity.saturating_sub(used)).saturating_sub(offset);
            if bytes.len() as u64 > fits {
                bytes.truncate(fits as usize);
                error = Some(enospc());
            }
        }
        let now_ms = w.now_ms;
        let file = w.file(self)?;
        let at = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        if !bytes.is_empty() || wanted == 0 {
            file.apply(FileOp::Write { at, bytes });
        }
        file.modified_ms = now_ms;
        error.map_or(Ok(()), Err)
    }

    fn len(&self) -> io::Result<u64> {
        let mut w = self.disk.0.lock();
        w.faults.judge_look(&self.path)?;
        Ok(w.file(self)?.data.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check_writable()?;
        let mut w = self.disk.0.lock();
        if w.mutate("set_len", &self.path, len, &[])? == Verdict::Torn {
            return Err(eio());
        }
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let now_ms = w.now_ms;
        let file = w.file(self)?;
        file.apply(FileOp::SetLen(len));
        file.modified_ms = now_ms;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut w = self.disk.0.lock();
        w.mutate_whole("sync_data", &self.path)?;
        w.file(self)?.sync();
        Ok(())
    }
}

#[derive(Debug)]
struct SimLock {
    disk: SimDisk,
    node: u64,
    generation: u64,
}

impl DirLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut w = self.disk.0.lock();
        if w.generation == self.generation {
            w.locks.retain(|n| *n != self.node);
        }
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut w = self.0.lock();
        w.faults.judge_open(path)?;
        let node = match w.tree.find(path)? {
            Some(_) if mode == OpenMode::CreateNew => return Err(io::ErrorKind::AlreadyExists.into()),
            Some(node) => node,
            None if matches!(mode, OpenMode::Read | OpenMode::Write) => return Err(io::ErrorKind::NotFound.into()),
            None => {
                let (dir, name) = w.tree.parent_of(path)?;
                w.mutate_whole("create", path)?;
                let now_ms = w.now_ms;
                let node = w.tree.add_file(now_ms);
                w.tree.change(NameOp::Link { dir, name, node })?;
                node
            }
        };
        w.tree.open(node)?;
        Ok(Arc::new(SimFile {
            disk: self.clone(),
            path: path.to_path_buf(),
            node,
            generation: w.generation,
            writable: mode != OpenMode::Read,
            direct: false,
        }))
    }

    fn open_direct(&self, path: &Path) -> io::Result<Option<Arc<dyn File>>> {
        let mut w = self.0.lock();
        w.faults.judge_open(path)?;
        if w.refuses_direct {
            return Ok(None);
        }
        let node = w.tree.find(path)?.ok_or(io::ErrorKind::NotFound)?;
        w.tree.open(node)?;
        let (path, generation) = (path.to_path_buf(), w.generation);
        Ok(Some(Arc::new(SimFile { disk: self.clone(), path, node, generation, writable: true, direct: true })))
    }

    fn info(&self, path: &Path) -> io::Result<Option<PathInfo>> {
        let w = self.0.lock();
        w.faults.judge_look(path)?;
        Ok(match w.tree.find(path)? {
            None => None,
            Some(node) => Some(match w.tree.node(node)? {
                Node::Dir(_) => PathInfo { is_dir: true, len: 0, modified_ms: 0 },
                Node::File(f) => PathInfo { is_dir: false, len: f.data.len() as u64, modified_ms: f.modified_ms },
            }),
        })
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let w = self.0.lock();
        w.faults.judge_look(dir)?;
        let node = w.tree.find(dir)?.ok_or(io::ErrorKind::NotFound)?;
        let entries = &w.tree.dir(node)?.entries;
        entries
            .iter()
            .map(|(name, n)| Ok(DirEntry { name: name.clone(), is_dir: matches!(w.tree.node(*n)?, Node::Dir(_)) }))
            .collect()
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut w = self.0.lock();
        w.faults.judge_look(dir)?;
        let mut at = PathBuf::new();
        for part in dir.components() {
            at.push(part);
            match w.tree.find(&at)? {
                Some(node) => {
                    w.tree.dir(node)?;
                }
                None => {
                    let (parent, name) = w.tree.parent_of(&at)?;
                    w.mutate_whole("mkdir", &at)?;
                    let node = w.tree.add_dir();
                    w.tree.change(NameOp::Link { dir: parent, name, node })?;
                }
            }
        }
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut w = self.0.lock();
        w.faults.judge_look(path)?;
        let node = w.tree.find(path)?.ok_or(io::ErrorKind::NotFound)?;
        w.tree.file_mut(node)?;
        let (dir, name) = w.tree.parent_of(path)?;
        w.mutate_whole("remove", path)?;
        w.tree.change(NameOp::Unlink { dir, name, node })
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut entries = self.list(dir)?;
        entries.sort();
        for e in entries {
            let path = dir.join(&e.name);
            if e.is_dir { self.remove_dir_all(&path)? } else { self.remove_file(&path)? }
        }
        let mut w = self.0.lock();
        let node = w.tree.find(dir)?.ok_or(io::ErrorKind::NotFound)?;
        let (parent, name) = w.tree.parent_of(dir)?;
        w.mutate_whole("rmdir", dir)?;
        w.tree.change(NameOp::Unlink { dir: parent, name, node })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut w = self.0.lock();
        w.faults.judge_look(from)?;
        let node = w.tree.find(from)?.ok_or(io::ErrorKind::NotFound)?;
        let (from_dir, from_name) = w.tree.parent_of(from)?;
        let (to_dir, to_name) = w.tree.parent_of(to)?;
        let replaced = w.tree.find(to)?;
        match replaced.map(|n| w.tree.node(n)).transpose()? {
            Some(Node::Dir(d)) if !d.entries.is_empty() => return Err(io::ErrorKind::DirectoryNotEmpty.into()),
            _ => {}
        }
        w.mutate_whole("rename", to)?;
        w.tree.change(NameOp::Rename { from_dir, from_name, to_dir, to_name, node, replaced })
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut w = self.0.lock();
        w.faults.judge_look(dir)?;
        let node = w.tree.find(dir)?.ok_or(io::ErrorKind::NotFound)?;
        w.tree.dir(node)?;
        w.mutate_whole("sync_dir", dir)?;
        w.tree.sync_dir(node)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DirLock>>> {
        // Held open only for the look-up: the lock itself is the entry in the list.
        let _file = self.open(path, OpenMode::Create)?;
        let mut w = self.0.lock();
        let node = w.tree.find(path)?.ok_or(io::ErrorKind::NotFound)?;
        if w.locks.contains(&node) {
            return Ok(None);
        }
        w.locks.push(node);
        Ok(Some(Box::new(SimLock { disk: self.clone(), node, generation: w.generation })))
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let mut w = self.0.lock();
        w.faults.judge_look(path)?;
        let total = w.faults.capacity.unwrap_or(1 << 50);
        Ok(Space { file_system: 0, total, available: total.saturating_sub(w.tree.used()) })
    }
}

#[cfg(test)]
mod tests;
