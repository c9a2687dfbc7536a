//! What the logs of one directory share: the journal if there is one, the one thread that writes what logs have gathered,
//! and the pace at which cold data is read beside appends.
//!
//! One thread, in turns: while it waits for the device with one log's batches those of the others gather, so that
//! writes become as large as the load makes them and no timer is needed (measured on ext4: past the page cache a write of
//! 128 KiB costs 0.43 s of CPU for a GB, of 512 KiB 0.10, of 1 MiB 0.06; into it 0.49). Must never wait for the device
//! on a thread that serves clients.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use logrun_io::{Chunks, Io};
use parking_lot::Mutex;

use crate::cache::{Journaled, Writing};
use crate::error::LogError;
use crate::journal::Journal;
use crate::load::Load;
use crate::on_panic::OnPanic;
use crate::pace::Pace;
use crate::writer::LogWriter;

/// So much may be gathered before appends wait for the device.
const GATHERED_BYTES_MAX: usize = 64 << 20;
/// What could not be written, because the device had no room or the process no descriptor, is tried again in this time, if no
/// append asks before.
const STUCK_RETRY: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(crate) struct Home {
    pub io: Io,
    pub chunks: Chunks,
    pub journal: Option<Arc<Journal>>,
    pub pace: Arc<Pace>,
    pub load: Load,
    /// The file system can't write past the page cache.
    pub direct_refused: AtomicBool,
    gather_bytes: usize,
    /// What was taken and is in no file, neither a segment's nor the journal's.
    gathered: AtomicUsize,
    /// What is in no segment's file, in the journal or not.
    waiting: AtomicU64,
    next_id: AtomicU64,
    turns: Mutex<Turns>,
}

/// The logs that have something to write, in turn.
#[derive(Debug, Default)]
struct Turns {
    logs: VecDeque<Arc<LogWriter>>,
    working: bool,
}

impl Home {
    pub fn new(io: Io, chunks: Chunks, dir: PathBuf, writing: Writing) -> Self {
        let journal = writing.journal.map(|config| Arc::new(Journal::new(io.clone(), dir, config)));
        Self {
            pace: Arc::new(Pace::new(io.clock.clone())),
            load: Load::default(),
            io,
            chunks,
            journal,
            direct_refused: AtomicBool::new(false),
            gather_bytes: writing.gather_bytes,
            gathered: AtomicUsize::new(0),
            waiting: AtomicU64::new(0),
            next_id: AtomicU64::new(0),
            turns: Mutex::default(),
        }
    }

    /// A number for a log, never given twice.
    pub fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// The journal, if an append counts as written when it has it.
    pub fn first_journal(&self) -> Option<&Arc<Journal>> {
        self.journal.as_ref().filter(|journal| journal.journaled() == Journaled::All)
    }

    /// Whether an append of `bytes` is large enough to be gathered.
    pub fn gathers(&self, bytes: usize) -> bool {
        bytes >= self.gather_bytes
    }

    /// Whether an append is gathered however small it is, if nothing is better for it.
    pub fn gathers_all(&self) -> bool {
        self.gather_bytes < usize::MAX && self.load.is_heavy()
    }

    /// Whether there is room to gather more.
    pub fn has_room(&self) -> bool {
        self.gathered.load(Ordering::Relaxed) < GATHERED_BYTES_MAX
    }

    /// Before what could not be written is tried again.
    pub fn pause(&self) -> impl Future<Output = ()> + Send + use<> {
        let clock = self.io.clock.clone();
        async move { clock.sleep(STUCK_RETRY).await }
    }

    /// How many bytes no segment's file has yet: they will take room on the disk.
    pub fn waiting_bytes(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// `bytes` were taken; `journaled` if the journal has them.
    pub fn took(&self, bytes: usize, journaled: bool) {
        self.waiting.fetch_add(bytes as u64, Ordering::Relaxed);
        if !journaled {
            self.gathered.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// `bytes` are in a segment's file, or not wanted any more.
    pub fn done(&self, bytes: usize, journal_sequence: Option<u64>) {
        self.waiting.fetch_sub(bytes as u64, Ordering::Relaxed);
        match (journal_sequence, &self.journal) {
            (Some(sequence), Some(journal)) => journal.done(sequence, bytes as u64),
            _ => {
                self.gathered.fetch_sub(bytes, Ordering::Relaxed);
            }
        }
    }

    /// Gives `log` its turn to write. Call it with no lock held.
    pub fn schedule(self: &Arc<Self>, log: Arc<LogWriter>) {
        {
            let mut turns = self.turns.lock();
            turns.logs.push_back(log);
            if std::mem::replace(&mut turns.working, true) {
                return;
            }
        }
        self.have_work_done();
    }

    /// No log is there any more.
    pub fn let_go(&self) {
        let logs = std::mem::take(&mut self.turns.lock().logs);
        drop(logs);
        if let Some(journal) = &self.journal {
            journal.let_go();
        }
    }

    fn have_work_done(self: &Arc<Self>) {
        let this = self.clone();
        self.io.tasks.detach(move || this.work());
    }

    fn work(self: &Arc<Self>) {
        // A panic in one log's turn takes none from the others: somebody else goes on with them.
        let _on_panic = OnPanic(|| self.have_work_done());
        loop {
            let log = {
                let mut turns = self.turns.lock();
                let Some(log) = turns.logs.pop_front() else {
                    turns.working = false;
                    return;
                };
                log
            };
            match log.take_turn() {
                Ok(true) => self.turns.lock().logs.push_back(log),
                Ok(false) => {}
                // Those who wait for it stay; appends are refused until it goes.
                Err(e) if e.is_retriable() => log.wake_after(STUCK_RETRY),
                // Deleted meanwhile.
                Err(LogError::Truncated) => {}
                // Who waits for it has been told, and so is the next append.
                Err(e) => tracing::error!("a log can't be written: {e}"),
            }
        }
    }
}
