//! The journal of a log directory: what was appended to any of its logs, until the segments' files have it.
//!
//! Kafka has no counterpart. One `fdatasync` of the journal makes the appends of all partitions last, where a sync of each
//! one's file takes a commit of the file system's own journal. What must last is therefore written here too, once its
//! segment's file has it ([`crate::Journaled::Synced`]).
//!
//! Appending to a file that grows costs the system several times the copy of the bytes: fresh pages, blocks, and for
//! thousands of partitions a write for every few hundred bytes. With [`crate::Journaled::All`] an append is therefore one
//! write into a file whose pages and blocks are there already, and counts as written: a killed process loses nothing.
//! The logs' own files get it later, in large writes past the page cache ([`crate::writer`]).
//!
//! ```text
//! logrun-journal-0   logrun-journal-1   …   used in turn; a file is used again when its logs' files have all it says
//! | entry | entry … | entry | entry …
//! ```
//!
//! After a crash [`redo`] brings the files to where the journal says they should be, before any log is opened: an entry
//! names a place in a segment's file, so that doing it twice is doing it once. What rewrites or cuts files must say so
//! first, by [`crate::writer::LogWriter::forget`]. A clean stop leaves no journal: Kafka finds only its own files.

mod entry;
mod redo;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;

use logrun_io::{File, Io, OpenMode};
use logrun_model::{Offset, TopicId};
use logrun_record::PreparedBatch;
use parking_lot::Mutex;

use crate::cache::{JournalConfig, Journaled};
use crate::error::LogError;
use crate::writer::LogWriter;
pub(crate) use redo::{redo, remove};

/// How many files a journal has.
const SLOTS: u64 = 8;
/// A file that stands for something is emptied when so many were begun after it.
const AGE_MAX: u64 = SLOTS / 2;
/// The names of a journal's files begin so, in the log directory.
pub const JOURNAL_PREFIX: &str = "logrun-journal-";
const ZEROS: [u8; 8] = [0; 8];

/// Where an append belongs.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    pub name: &'a str,
    pub topic_id: TopicId,
    pub segment: Offset,
    pub position: u64,
    /// A power cut must not take it once it's acknowledged: its journal file is used again only when the segment's file
    /// is on the device.
    pub promised: bool,
}

/// An entry that was written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    /// The file it is in.
    pub sequence: u64,
    /// Counts all entries.
    entry: u64,
}

/// The journal of one directory.
#[derive(Debug)]
pub(crate) struct Journal {
    io: Io,
    dir: PathBuf,
    config: JournalConfig,
    inner: Mutex<Inner>,
    /// Held while the device works.
    device: Mutex<()>,
    /// Those who wait for the device queue here, so that they don't occupy threads.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Of the file that is written; its slot is the remainder.
    sequence: u64,
    /// Where the next entry goes.
    place: u64,
    /// The files that are not yet free, by sequence.
    files: BTreeMap<u64, Live>,
    /// The open files by slot.
    open: BTreeMap<u64, Arc<dyn File>>,
    unsynced: BTreeSet<u64>,
    names_unsynced: bool,
    entries: u64,
    synced: u64,
    failed: Option<LogError>,
    emptying: bool,
}

/// What a journal file still stands for.
#[derive(Debug, Default)]
struct Live {
    bytes: u64,
    logs: BTreeMap<u64, Arc<LogWriter>>,
    promised: bool,
}

impl Inner {
    /// The oldest file that stands for something, once it has stood for long.
    fn oldest_to_empty(&self) -> Option<(u64, &Live)> {
        let (sequence, file) = self.files.first_key_value()?;
        (sequence + AGE_MAX <= self.sequence).then_some((*sequence, file))
    }
}

impl Journal {
    /// The journal of `dir`. The directory has none: [`redo`] has been there.
    pub fn new(io: Io, dir: PathBuf, config: JournalConfig) -> Self {
        let inner = Mutex::new(Inner { sequence: SLOTS, place: u64::MAX, ..Inner::default() });
        Self { io, dir, config, inner, device: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// What it is for.
    pub fn journaled(&self) -> Journaled {
        self.config.journaled
    }

    /// Writes one entry with `batches`, which lie in memory as `payload`. `None` if there is no room or the device refuses: then the batches
    /// must go to their segment's file at once. Soon after, with no lock held, the caller calls [`Self::make_room`].
    pub fn append(
        &self,
        writer: &Arc<LogWriter>,
        target: &Target<'_>,
        payload: &[IoSlice<'_>],
        batches: &[PreparedBatch],
    ) -> Option<Mark> {
        let payload_bytes = payload.iter().map(|s| s.len()).sum();
        let head = entry::Head {
            kind: entry::Kind::Append,
            promised: target.promised,
            name: target.name.to_owned(),
            topic_id: target.topic_id,
            segment: target.segment,
            position: target.position,
            payload_bytes,
        };
        let mut i = self.inner.lock();
        let headers = batches.iter().map(|b| b.segments()[0]);
        let written = self.write(&mut i, &head, payload, headers);
        written.then(|| {
            let sequence = i.sequence;
            let file = i.files.entry(sequence).or_default();
            file.bytes += payload_bytes as u64;
            file.promised |= target.promised;
            file.logs.entry(writer.id()).or_insert_with(|| writer.clone());
            Mark { sequence, entry: i.entries }
        })
    }

    /// Sees to it that the oldest files are emptied when few are free.
    pub fn make_room(self: &Arc<Self>) {
        let begins = {
            let mut i = self.inner.lock();
            i.oldest_to_empty().is_some() && !std::mem::replace(&mut i.emptying, true)
        };
        if begins {
            let this = self.clone();
            self.io.tasks.detach(move || this.empty_oldest());
        }
    }

    fn write<'a>(
        &self,
        i: &mut Inner,
        head: &entry::Head,
        payload: &[IoSlice<'_>],
        headers: impl Iterator<Item = &'a [u8]>,
    ) -> bool {
        let size = entry::size(&head.name, head.payload_bytes);
        let file_bytes = self.config.bytes / SLOTS;
        if i.failed.is_some() || size as u64 > file_bytes {
            return false;
        }
        if i.place.saturating_add(size as u64) > file_bytes {
            let next = i.sequence + 1;
            if i.files.contains_key(&(next - SLOTS)) {
                return false;
            }
            let sequence = i.sequence;
            if i.files.get(&sequence).is_some_and(|f| f.bytes == 0 && !f.promised) {
                i.files.remove(&sequence);
            }
            (i.sequence, i.place) = (next, 0);
        }
        let written = self.file(i).and_then(|file| {
            let encoded = head.encode(i.sequence, i.place as u32, headers);
            let mut slices = Vec::with_capacity(payload.len() + 2);
            slices.push(IoSlice::new(&encoded));
            slices.extend_from_slice(payload);
            slices.push(IoSlice::new(&ZEROS[..size - encoded.len() - head.payload_bytes]));
            file.write_all_at(i.place, &slices)
        });
        if let Err(e) = written {
            // What was written of it is no entry, and the next one goes to the same place.
            tracing::warn!(dir = %self.dir.display(), "the journal can't be written: {e}");
            return false;
        }
        i.place += size as u64;
        i.entries += 1;
        let sequence = i.sequence;
        i.unsynced.insert(sequence);
        true
    }

    fn file(&self, i: &mut Inner) -> io::Result<Arc<dyn File>> {
        let slot = i.sequence % SLOTS;
        if let Some(file) = i.open.get(&slot) {
            return Ok(file.clone());
        }
        let file = self.io.disk.open(&self.dir.join(format!("{JOURNAL_PREFIX}{slot}")), OpenMode::Create)?;
        i.names_unsynced = true;
        i.open.insert(slot, file.clone());
        Ok(file)
    }

    /// A log's earlier entries mean nothing any more: its files have what they say, on the device what they promised. On the
    /// device when this returns.
    pub fn forget(&self, name: &str, topic_id: TopicId) -> Result<(), LogError> {
        let name = name.to_owned();
        let kind = entry::Kind::Forget;
        let head =
            entry::Head { kind, promised: false, name, topic_id, segment: Offset(0), position: 0, payload_bytes: 0 };
        let written = self.write(&mut self.inner.lock(), &head, &[], std::iter::empty());
        if !written {
            return Err(LogError::DiskFull { path: self.dir.clone() });
        }
        self.sync()
    }

    /// `bytes` of the entries in the file of `sequence` are in their segments' files.
    pub fn done(&self, sequence: u64, bytes: u64) {
        let mut i = self.inner.lock();
        let current = i.sequence;
        if let Some(file) = i.files.get_mut(&sequence) {
            file.bytes -= bytes;
            if file.bytes == 0 && !file.promised && sequence != current {
                i.files.remove(&sequence);
            }
        }
    }

    /// No log is there any more.
    pub fn let_go(&self) {
        let files = std::mem::take(&mut self.inner.lock().files);
        drop(files);
    }

    /// Makes the oldest files free by bringing what they say to the segments' files.
    fn empty_oldest(self: Arc<Self>) {
        loop {
            let (sequence, logs, promised) = {
                let mut i = self.inner.lock();
                let Some((sequence, file)) = i.oldest_to_empty() else {
                    i.emptying = false;
                    return;
                };
                (sequence, file.logs.values().cloned().collect::<Vec<_>>(), file.promised)
            };
            let mut emptied = Ok(());
            for log in &logs {
                match log.flush().and_then(|()| if promised { log.sync_state().sync_now() } else { Ok(()) }) {
                    // A deleted log needs nothing of what is written here.
                    Ok(()) | Err(LogError::Truncated) => {}
                    // The others get on meanwhile.
                    Err(e) => emptied = emptied.and(Err(e)),
                }
            }
            let mut i = self.inner.lock();
            // What was appended a moment ago may not be in the log's queue yet.
            let free = emptied.is_ok() && i.files.get(&sequence).is_none_or(|f| f.bytes == 0);
            if free {
                i.files.remove(&sequence);
            } else {
                // The next append tries again.
                i.emptying = false;
                drop(i);
                if let Err(e) = emptied {
                    tracing::warn!(dir = %self.dir.display(), "the journal can't be emptied: {e}");
                }
                return;
            }
        }
    }

    /// Brings all entries so far to the device.
    pub fn sync(&self) -> Result<(), LogError> {
        let _device = self.device.lock();
        let (entries, files, names) = {
            let mut i = self.inner.lock();
            if let Some(e) = &i.failed {
                return Err(e.clone());
            }
            let unsynced = std::mem::take(&mut i.unsynced);
            let files: Vec<_> = unsynced.iter().filter_map(|s| i.open.get(&(s % SLOTS)).cloned()).collect();
            (i.entries, files, std::mem::take(&mut i.names_unsynced))
        };
        let result = files.iter().try_for_each(|f| f.sync_data());
        let result = result.and_then(|()| if names { self.io.disk.sync_dir(&self.dir) } else { Ok(()) });
        // That there is no room too: what waits for it was taken.
        let failed = |e| LogError::Io { action: "sync the journal in", path: self.dir.clone(), source: Arc::new(e) };
        let result = result.map_err(failed);
        let mut i = self.inner.lock();
        match &result {
            Ok(()) => i.synced = i.synced.max(entries),
            // Final: the kernel may have dropped the pages.
            Err(e) => i.failed = Some(e.clone()),
        }
        result
    }

    /// Waits until the entry of `mark` is on the device: one sync for all who wait.
    pub async fn durable(self: Arc<Self>, mark: Mark) -> Result<(), LogError> {
        let _turn = self.turn.lock().await;
        if self.inner.lock().synced >= mark.entry {
            return Ok(());
        }
        let this = self.clone();
        self.io.tasks.blocking(move || this.sync()).await
    }
}
