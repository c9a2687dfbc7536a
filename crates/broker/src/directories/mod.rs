//! [`Directory`]: one of `log.dirs` as those know it who use it: its room, and whether it works (KIP-112).
//!
//! Kafka's counterpart is `LogDirFailureChannel` and the half of `LogManager` that keeps the live directories. A
//! directory fails as a whole and for good: at the first error of its device everything in it goes offline, and only a
//! new start brings it back. Whoever sees the error says so here; what follows from it is done in `watch.rs`.

mod room;
mod watch;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use logrun_io::Io;
use logrun_log::{DirsError, LogError, is_passing};
use logrun_model::{DirectoryId, Str};
use tokio::sync::Notify;
use tracing::error;

pub use room::Room;
pub use watch::Fatal;

/// A log directory that this process holds.
#[derive(Debug)]
pub struct Directory {
    pub path: PathBuf,
    pub id: DirectoryId,
    io: Io,
    room: Arc<Room>,
    failure: OnceLock<String>,
    /// Told when somebody should look after the directories.
    attention: Arc<Notify>,
}

impl Directory {
    /// A directory that works.
    pub fn new(io: &Io, path: &Path, id: DirectoryId, room: Arc<Room>, attention: Arc<Notify>) -> Self {
        Self { path: path.to_path_buf(), id, io: io.clone(), room, failure: OnceLock::new(), attention }
    }

    /// The absolute path, by which clients know the directory.
    pub fn shown(&self) -> Str {
        shown(&self.path)
    }

    /// Whether it works.
    pub fn is_online(&self) -> bool {
        self.failure.get().is_none()
    }

    /// Why it does not.
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    pub fn room(&self) -> &Arc<Room> {
        &self.room
    }

    /// Takes room for what a client appends, or refuses it.
    pub fn take_room(&self, bytes: usize) -> Result<(), crate::errors::Failure> {
        self.room.take(bytes).inspect_err(|_| self.attention.notify_one())
    }

    /// Tells of an error in the directory: a full disk refuses producers, a failing one takes the directory offline.
    pub fn saw(&self, e: &LogError) {
        match e {
            LogError::DiskFull { .. } => {
                self.room.refused();
                self.attention.notify_one();
            }
            LogError::Io { source, .. } if self.is_its_own(source) => self.fail(&e.to_string()),
            _ => {}
        }
    }

    /// As [`Self::saw`], of a file that is of no partition.
    pub fn saw_dirs_error(&self, e: &DirsError) {
        if let DirsError::Io { source, .. } = e {
            match source.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => self.room.refused(),
                _ if self.is_its_own(source) => self.fail(&e.to_string()),
                _ => {}
            }
        }
    }

    /// The directory has failed, for this reason.
    pub fn fail(&self, reason: &str) {
        if self.failure.set(reason.to_owned()).is_ok() {
            error!("the log directory {} has failed and is offline until a new start: {reason}", self.path.display());
            self.attention.notify_one();
        }
    }

    /// Whether an error speaks against the directory, and not against the process or one file.
    fn is_its_own(&self, e: &std::io::Error) -> bool {
        match e.kind() {
            _ if is_passing(e) => false,
            // A file may be gone because it was deleted while somebody was about to read it.
            ErrorKind::NotFound => !matches!(self.io.disk.info(&self.path), Ok(Some(_))),
            _ => true,
        }
    }
}

/// The absolute path, by which clients know a directory.
pub fn shown(path: &Path) -> Str {
    let absolute = std::path::absolute(path);
    Str::from(absolute.as_deref().unwrap_or(path).to_string_lossy().into_owned())
}
