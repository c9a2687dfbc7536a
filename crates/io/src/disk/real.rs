//! The operating system's files.

use std::fs;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use rustix::fs::FlockOperation;
use rustix::io::{Errno, ReadWriteFlags};

use super::{DIRECT_ALIGN_BYTES, DirEntry, DirLock, Disk, File, OpenMode, PathInfo, Space};

/// The file systems that the process sees.
#[derive(Debug, Default)]
pub struct RealDisk(());

impl RealDisk {
    pub fn new() -> Self {
        Self(())
    }
}

#[derive(Debug)]
struct RealFile {
    file: fs::File,
    /// Past the page cache: a read that comes short has met the end of the file.
    direct: bool,
}

impl File for RealFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            match self.file.read_at(&mut buf[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => {
                    done += n;
                    if self.direct && !n.is_multiple_of(DIRECT_ALIGN_BYTES) {
                        break;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }

    fn read_cached(&self, offset: u64, buf: &mut [u8]) -> io::Result<Option<usize>> {
        let wanted = buf.len();
        let mut bufs = [IoSliceMut::new(buf)];
        match rustix::io::retry_on_intr(|| rustix::io::preadv2(&self.file, &mut bufs, offset, ReadWriteFlags::NOWAIT)) {
            Ok(n) if n == wanted => Ok(Some(n)),
            // The end of the file, or of what is cached.
            Ok(n) => Ok((offset + n as u64 >= self.len()?).then_some(n)),
            Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }

    fn write_all_at(&self, offset: u64, bufs: &[IoSlice<'_>]) -> io::Result<()> {
        // At most this many slices a call: the system's IOV_MAX.
        const SLICES_MAX: usize = 1024;
        let mut offset = offset;
        for group in bufs.chunks(SLICES_MAX) {
            if let [one] = group {
                self.file.write_all_at(one, offset)?;
                offset += one.len() as u64;
                continue;
            }
            let wanted: usize = group.iter().map(|b| b.len()).sum();
            let mut written = rustix::io::retry_on_intr(|| rustix::io::pwritev(&self.file, group, offset))?;
            offset += wanted as u64;
            if written == wanted {
                continue;
            }
            // A short write (a full disk, a signal): write what is left slice by slice, which ends in the error if there is one.
            let mut at = offset - wanted as u64 + written as u64;
            for b in group {
                if written >= b.len() {
                    written -= b.len();
                    continue;
                }
                self.file.write_all_at(&b[written..], at)?;
                at += (b.len() - written) as u64;
                written = 0;
            }
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

#[derive(Debug)]
struct Flock {
    _file: fs::File,
}

impl DirLock for Flock {}

impl Disk for RealDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut o = fs::OpenOptions::new();
        o.read(true);
        match mode {
            OpenMode::Read => {}
            OpenMode::Write => {
                o.write(true);
            }
            OpenMode::Create => {
                o.write(true).create(true).truncate(false);
            }
            OpenMode::CreateNew => {
                o.write(true).create_new(true);
            }
        }
        Ok(Arc::new(RealFile { file: o.open(path)?, direct: false }))
    }

    fn open_direct(&self, path: &Path) -> io::Result<Option<Arc<dyn File>>> {
        let flags = rustix::fs::OFlags::DIRECT.bits().cast_signed();
        match fs::OpenOptions::new().read(true).write(true).custom_flags(flags).open(path) {
            Ok(file) => Ok(Some(Arc::new(RealFile { file, direct: true }))),
            Err(e) if e.kind() == io::ErrorKind::InvalidInput => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn info(&self, path: &Path) -> io::Result<Option<PathInfo>> {
        match fs::metadata(path) {
            Ok(m) => Ok(Some(PathInfo {
                is_dir: m.is_dir(),
                len: m.len(),
                modified_ms: m
                    .modified()
                    .ok()
                    .and_then(|t| t.duration_since(UNIX_EPOCH).ok())
                    .map_or(0, |d| d.as_millis() as i64),
            })),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut out = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            // Names that are not UTF-8 are not Kafka's: nobody here made them.
            if let Ok(name) = entry.file_name().into_string() {
                let is_dir = match entry.file_type()? {
                    t if t.is_symlink() => fs::metadata(entry.path()).is_ok_and(|m| m.is_dir()),
                    t => t.is_dir(),
                };
                out.push(DirEntry { name, is_dir });
            }
        }
        out.sort();
        Ok(out)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }

    fn sync_tree(&self, dir: &Path) -> io::Result<()> {
        // The whole file system: what else is on it is synced as well, and it is still far less work than file by file.
        Ok(rustix::fs::syncfs(fs::File::open(dir)?)?)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DirLock>>> {
        let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        // Kafka takes a POSIX record lock through Java's FileChannel; both kinds are taken, so that
        // neither of the two programs starts on a directory that the other holds.
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(e) => return Err(e.into()),
        }
        match rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Box::new(Flock { _file: file }))),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let s = rustix::fs::statvfs(path)?;
        // The id that statvfs gives is 0 for some file systems.
        let file_system = fs::metadata(path)?.dev();
        Ok(Space { file_system, total: s.f_blocks * s.f_frsize, available: s.f_bavail * s.f_frsize })
    }
}
