//! A part of a file that is sent from where it is, by the kernel, from the page cache (`sendfile`; what Kafka's
//! `FileRecords.writeTo` does by `transferTo`).
//!
//! The file stays readable while the range lives, whatever name it has or whether it still has one. Nothing here looks at the
//! bytes: whoever makes a range knows that they are what is to be sent, and that they don't change.

use std::sync::Arc;

use super::File;

/// A part of a file, which is there already when the range is made.
#[derive(Clone, Debug)]
pub struct FileRange {
    file: Arc<dyn File>,
    offset: u64,
    len: usize,
}

impl FileRange {
    /// The `len` bytes from `offset` on.
    pub fn new(file: Arc<dyn File>, offset: u64, len: usize) -> Self {
        Self { file, offset, len }
    }

    pub fn file(&self) -> &dyn File {
        &*self.file
    }

    /// Where in the file it begins.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Leaves out the first `bytes`, at most all.
    pub fn advance(&mut self, bytes: usize) {
        let bytes = bytes.min(self.len);
        self.offset += bytes as u64;
        self.len -= bytes;
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use super::super::{Disk, OpenMode, RealDisk, SimDisk};
    use super::*;

    #[test]
    fn what_is_cached_is_what_was_written() {
        let dir = std::env::temp_dir().join(format!("logrun-range-{}", std::process::id()));
        let disks: [&dyn Disk; 2] = [&RealDisk::new(), &SimDisk::new()];
        for disk in disks {
            disk.create_dir_all(&dir).unwrap();
            let file = disk.open(&dir.join("f"), OpenMode::Create).unwrap();
            let contents: Vec<u8> = (0..10_000u32).map(|i| (i / 7) as u8).collect();
            file.write_all_at(0, &[IoSlice::new(&contents)]).unwrap();
            for (at, wanted, there) in [(0, 61, 61), (4000, 6000, 6000), (9_990, 20, 10), (20_000, 1, 0)] {
                let mut buf = vec![0; wanted];
                // Some file systems never know.
                if let Some(n) = file.read_cached(at as u64, &mut buf).unwrap() {
                    assert_eq!((n, &buf[..n]), (there, contents.get(at..at + there).unwrap_or_default()));
                }
            }
            disk.remove_dir_all(&dir).unwrap();
        }
    }

    #[test]
    fn a_range_gets_shorter_from_the_front() {
        let disk = SimDisk::new();
        let file = disk.open(std::path::Path::new("/f"), OpenMode::Create).unwrap();
        let mut range = FileRange::new(file, 100, 10);
        range.advance(4);
        assert_eq!((range.offset(), range.len(), range.is_empty()), (104, 6, false));
        range.advance(100);
        assert_eq!((range.offset(), range.len(), range.is_empty()), (110, 0, true));
    }
}
