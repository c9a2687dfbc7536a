//! The cache of the newest data: one budget of memory for the process, shared fairly between its logs.
//!
//! What a log appends is copied once into a chunk of its own (see [`logrun_io::Chunks`]), from which it is written and
//! read. Beyond the budget the log that holds the most gives up its oldest chunk, so that a busy log pushes an idle one
//! out only as far as that one holds more than its share. Nothing depends on what is cached: what is not yet in
//! the files is not given up.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use logrun_io::{Chunks, Io};
use parking_lot::Mutex;

use crate::cold::ColdReads;
use crate::home::Home;
use crate::tail::Runs;

/// At most this part of the budget is for those who read what is in no memory; what they don't take is the newest data's.
const COLD_SHARE: usize = 4;

/// Which appends go to a journal (`logrun.journal`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Journaled {
    /// Those that a power cut must not take, when their segment's file has them: one sync of the journal is instead of one
    /// of each file. Whoever is killed leaves files that lack nothing.
    Synced,
    /// All that are small, instead of being written to the segment's file, which follows later.
    All,
}

/// The journal of each directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalConfig {
    /// What it is for.
    pub journaled: Journaled,
    /// `logrun.journal.bytes`: its size.
    pub bytes: u64,
}

/// How what is appended gets to the disk.
#[derive(Clone, Copy, Debug)]
pub struct Writing {
    /// [`crate::LogDirs`] brings the logs to where a journal ends: they must not be opened before.
    pub journal: Option<JournalConfig>,
    /// `logrun.write.gather.bytes`: appends of at least so many bytes are gathered and written beside who appends.
    pub gather_bytes: usize,
}

impl Default for Writing {
    /// Every append goes to its segment's file at once.
    fn default() -> Self {
        Self { journal: None, gather_bytes: usize::MAX }
    }
}

/// The cache of one process. Clones are the same cache.
#[derive(Clone, Debug)]
pub struct TailCache(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    budget_bytes: usize,
    writing: Writing,
    homes: Mutex<BTreeMap<PathBuf, Arc<Home>>>,
    chunks: Chunks,
    cold: ColdReads,
    holders: Mutex<Holders>,
}

impl Drop for Shared {
    /// No log is left: what waits to be written, and its writers, would keep each other.
    fn drop(&mut self) {
        self.homes.get_mut().values().for_each(|home| home.let_go());
    }
}

#[derive(Debug, Default)]
struct Holders {
    used_bytes: usize,
    next_id: u64,
    logs: BTreeMap<u64, Holder>,
    /// The same logs by how much they hold.
    by_bytes: BTreeSet<(usize, u64)>,
}

#[derive(Debug)]
struct Holder {
    bytes: usize,
    runs: Weak<Mutex<Runs>>,
}

impl Holders {
    fn change(&mut self, id: u64, change: impl FnOnce(usize) -> usize) {
        let Some(holder) = self.logs.get_mut(&id) else { return };
        self.by_bytes.remove(&(holder.bytes, id));
        let bytes = change(holder.bytes);
        self.used_bytes = self.used_bytes - holder.bytes + bytes;
        holder.bytes = bytes;
        if bytes > 0 {
            self.by_bytes.insert((bytes, id));
        }
    }
}

impl TailCache {
    /// A cache of at most `budget_bytes` of chunks; with 0 nothing is kept for readers.
    pub fn new(budget_bytes: usize) -> Self {
        Self::with_writing(budget_bytes, Writing::default())
    }

    /// As [`Self::new`], for logs that are written as `writing` says.
    pub fn with_writing(budget_bytes: usize, writing: Writing) -> Self {
        let chunks = Chunks::default();
        Self(Arc::new(Shared {
            budget_bytes,
            writing,
            homes: Mutex::default(),
            cold: ColdReads::new(chunks.clone(), budget_bytes / COLD_SHARE),
            chunks,
            holders: Mutex::default(),
        }))
    }

    /// What the logs in the directory `dir` share.
    pub(crate) fn home(&self, io: &Io, dir: &Path) -> Arc<Home> {
        let mut homes = self.0.homes.lock();
        if let Some(home) = homes.get(dir) {
            return home.clone();
        }
        let home = Arc::new(Home::new(io.clone(), self.0.chunks.clone(), dir.to_path_buf(), self.0.writing));
        homes.insert(dir.to_path_buf(), home.clone());
        home
    }

    /// How many bytes appended to the logs in the directory `dir` are not in their files yet: they will take room there.
    pub fn waiting_bytes(&self, dir: &Path) -> u64 {
        self.0.homes.lock().get(dir).map_or(0, |home| home.waiting_bytes())
    }

    /// How many bytes the chunks have that logs hold.
    pub fn used_bytes(&self) -> usize {
        self.0.holders.lock().used_bytes
    }

    pub(crate) fn budget_bytes(&self) -> usize {
        self.0.budget_bytes
    }

    pub(crate) fn cold(&self) -> &ColdReads {
        &self.0.cold
    }

    pub(crate) fn chunks(&self) -> &Chunks {
        &self.0.chunks
    }

    /// A log that may hold chunks; its number.
    pub(crate) fn join(&self, runs: &Arc<Mutex<Runs>>) -> u64 {
        let mut h = self.0.holders.lock();
        h.next_id += 1;
        let id = h.next_id;
        h.logs.insert(id, Holder { bytes: 0, runs: Arc::downgrade(runs) });
        id
    }

    /// A log is gone, and its chunks with it.
    pub(crate) fn leave(&self, id: u64) {
        let mut h = self.0.holders.lock();
        h.change(id, |_| 0);
        h.logs.remove(&id);
    }

    /// A log has taken chunks of `bytes`; brings the cache back into its budget. Call it with no log's runs locked.
    pub(crate) fn took(&self, id: u64, bytes: usize) {
        self.0.holders.lock().change(id, |b| b + bytes);
        self.trim();
    }

    /// A log has given up chunks of `bytes`.
    pub(crate) fn gave(&self, id: u64, bytes: usize) {
        self.0.holders.lock().change(id, |b| b.saturating_sub(bytes));
    }

    /// Evicts until the budget holds, or nothing more can go: what is left is not in the files yet.
    pub(crate) fn trim(&self) {
        let mut below = (usize::MAX, u64::MAX);
        let budget_bytes = self.0.budget_bytes.saturating_sub(self.0.cold.used_bytes());
        loop {
            let (largest, runs) = {
                let h = self.0.holders.lock();
                if h.used_bytes <= budget_bytes {
                    return;
                }
                let Some(largest) = h.by_bytes.range(..below).next_back().copied() else { return };
                (largest, h.logs.get(&largest.1).and_then(|l| l.runs.upgrade()))
            };
            let evicted = runs.and_then(|runs| runs.lock().give_up_oldest());
            match evicted {
                Some(evicted) => {
                    self.gave(largest.1, evicted.bytes);
                    // Memory goes back outside of all locks.
                    drop(evicted);
                }
                None => below = largest,
            }
        }
    }
}
