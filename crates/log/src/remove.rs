//! Removing files: first they get the name of deleted ones, later they go (`file.delete.delay.ms`), so
//! that those who still read them are not disturbed; and the removal of a whole partition.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use logrun_io::Disk;
use logrun_model::{Monotonic, Now, Offset};

use crate::error::{IoContext, LogError, is_full};
use crate::log::Log;
use crate::names::{DELETED_SUFFIX, SNAPSHOT_SUFFIX, segment_path};
use crate::sync::synced;

/// Files that wait for their removal.
#[derive(Debug)]
pub(crate) struct Waiting {
    due: Monotonic,
    paths: Vec<PathBuf>,
}

/// Files or a directory to be removed, on any thread; waits for the disk.
#[derive(Debug)]
#[must_use = "nothing is removed before run"]
pub struct Removals {
    disk: Arc<dyn Disk>,
    files: Vec<PathBuf>,
    dir: Option<PathBuf>,
}

impl Removals {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.dir.is_none()
    }

    /// Removes them. What is gone already is no error.
    pub fn run(self) -> Result<(), LogError> {
        for path in &self.files {
            unless_gone(self.disk.remove_file(path)).during("remove", path)?;
        }
        if let Some(dir) = &self.dir {
            unless_gone(self.disk.remove_dir_all(dir)).during("remove", dir)?;
            if let Some(parent) = dir.parent() {
                self.disk.sync_dir(parent).during("sync", parent)?;
            }
        }
        Ok(())
    }

    /// The removal of a partition's directory that carries the name of a deleted one.
    pub fn of_dir(disk: Arc<dyn Disk>, dir: PathBuf) -> Self {
        Self { disk, files: Vec::new(), dir: Some(dir) }
    }
}

fn unless_gone(r: io::Result<()>) -> io::Result<()> {
    match r {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        r => r,
    }
}

impl Log {
    /// The deleted files whose delay is over.
    pub fn due_removals(&mut self, now: Now) -> Removals {
        let mut files = Vec::new();
        self.waiting.retain_mut(|w| {
            let keep = w.due > now.monotonic;
            if !keep {
                files.append(&mut w.paths);
            }
            keep
        });
        Removals { disk: self.env.io.disk.clone(), files, dir: None }
    }

    /// When the next deleted files are due for removal.
    pub fn next_removal(&self) -> Option<Monotonic> {
        self.waiting.iter().map(|w| w.due).min()
    }

    /// Takes a segment out of the log and marks its files as deleted.
    pub(crate) fn remove_segment(&mut self, base_offset: Offset, now: Now) -> Result<(), LogError> {
        self.mark_segment_deleted(base_offset, false, now)?;
        self.segments.remove(&base_offset);
        Ok(())
    }

    /// Marks the files of a segment as deleted, and its snapshot unless it is to be kept.
    pub(crate) fn mark_segment_deleted(
        &mut self,
        base_offset: Offset,
        keep_snapshot: bool,
        now: Now,
    ) -> Result<(), LogError> {
        let Some(segment) = self.segments.get(&base_offset) else { return Ok(()) };
        let shared = segment.shared.clone();
        self.writer.abandon_segment(&shared);
        self.sync.forget(&shared);
        let path = shared.file.path();
        let mut paths = match shared.set_mark(DELETED_SUFFIX) {
            // Not even a name has room, and what is deleted makes some: it goes at once, but for those who read it.
            Err(e) if is_full(&e) => {
                shared.pin(segment.size)?;
                shared.remove_files_half_marked(DELETED_SUFFIX)?;
                Vec::new()
            }
            marked => marked.during("rename", &path)?,
        };
        self.sync.renamed_in(&self.dir);
        if !keep_snapshot && self.snapshots.remove(&base_offset) {
            let from = segment_path(&self.dir, base_offset, SNAPSHOT_SUFFIX);
            let to = segment_path(&self.dir, base_offset, &format!("{SNAPSHOT_SUFFIX}{DELETED_SUFFIX}"));
            self.unsynced_files.remove(&from);
            match self.env.io.disk.rename(&from, &to) {
                Err(e) if is_full(&e) => unless_gone(self.env.io.disk.remove_file(&from)).during("remove", &from)?,
                renamed => unless_gone(renamed).during("rename", &from)?,
            }
            paths.push(to);
        }
        self.waiting.push(Waiting { due: now.monotonic.plus_ms(self.config.file_delete_delay_ms), paths });
        Ok(())
    }

    /// Gives the log's directory another name in the same parent: `-delete`, `-stray`, or a future log that
    /// takes its place. Readers go on. On the device when this returns.
    pub fn rename_dir(&mut self, name: &str) -> Result<(), LogError> {
        self.writer.forget()?;
        self.rename_files(name)
    }

    fn rename_files(&mut self, name: &str) -> Result<(), LogError> {
        let parent = self.dir.parent().unwrap_or(Path::new("")).to_path_buf();
        let to = parent.join(name);
        if !self.on_disk {
            self.writer.renamed(name.to_owned());
            self.dir = to;
            return Ok(());
        }
        self.env.io.disk.rename(&self.dir, &to).during("rename", &self.dir)?;
        self.writer.renamed(name.to_owned());
        for s in self.segments.values() {
            s.shared.moved_to(&to);
        }
        let moved = |p: &PathBuf| p.file_name().map_or_else(|| p.clone(), |n| to.join(n));
        for w in &mut self.waiting {
            w.paths = w.paths.iter().map(moved).collect();
        }
        self.unsynced_files = self.unsynced_files.iter().map(moved).collect();
        self.sync.moved(&self.dir, &to);
        self.dir = to;
        synced(self.env.io.disk.sync_dir(&parent), &parent)
    }

    /// The partition is deleted: the directory gets `name` (of [`crate::DirKind::Delete`]), the log refuses
    /// everything from now on, and the files go when the removal is run, after `file.delete.delay.ms`.
    pub fn delete(&mut self, name: &str) -> Result<Removals, LogError> {
        self.writer.abandon();
        self.rename_files(name)?;
        self.offline = true;
        self.tail.clear();
        self.release_idle();
        self.waiting.clear();
        let dir = self.on_disk.then(|| self.dir.clone());
        Ok(Removals { disk: self.env.io.disk.clone(), files: Vec::new(), dir })
    }
}
