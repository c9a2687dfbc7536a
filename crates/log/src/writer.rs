//! The writer of a log: appends go to the directory's journal at once and to the segments' files in large writes.
//!
//! What is not in the files yet is queued here, as pieces of the log's chunks, and readers have it from there
//! ([`crate::tail`]). It is written when there is much of it, past the page cache if the file system can; when the
//! journal needs its room; and before anybody looks at a segment's file ([`crate::segment_file`]). The partition's lock is
//! not held meanwhile. What the device has no room for stays queued: appends are refused until it has.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use logrun_io::{Chunks, DIRECT_ALIGN_BYTES, Io};
use logrun_model::{Offset, TopicId};
use logrun_record::PreparedBatch;
use parking_lot::Mutex;

use crate::direct::{blocks, clipped};
use crate::error::{IoContext, LogError};
use crate::journal::{Journal, Mark, Target};
use crate::segment::SegmentShared;
use crate::sync::{Durable, SyncState};
use crate::tail::{Piece, WrittenMark};

/// So much of a log is written at once.
const FLUSH_BYTES: usize = 1 << 20;
/// The most that is written at once.
const FLUSH_BYTES_MAX: usize = 4 << 20;
/// From this size on a write past the page cache costs less than one into it (measured: they meet at 160 KiB).
const DIRECT_BYTES_MIN: u64 = 256 << 10;

/// What the logs of one directory share: the journal, and threads that write.
#[derive(Debug)]
pub(crate) struct Home {
    io: Io,
    chunks: Chunks,
    journal: Arc<Journal>,
    /// The file system can't write past the page cache.
    direct_refused: AtomicBool,
    next_id: AtomicU64,
}

impl Home {
    pub fn new(io: Io, chunks: Chunks, dir: std::path::PathBuf, journal_bytes: u64) -> Self {
        let journal = Arc::new(Journal::new(io.clone(), dir, journal_bytes));
        Self { io, chunks, journal, direct_refused: AtomicBool::new(false), next_id: AtomicU64::new(0) }
    }
}

/// The writer of one log.
#[derive(Debug)]
pub(crate) struct LogWriter {
    id: u64,
    home: Arc<Home>,
    sync: Arc<SyncState>,
    written: WrittenMark,
    state: Mutex<State>,
    /// Held while the device works.
    device: Mutex<()>,
}

#[derive(Debug)]
struct State {
    /// The name of the log's directory.
    name: String,
    topic_id: Option<TopicId>,
    /// In the order of the appends.
    queue: VecDeque<Unwritten>,
    queued_bytes: usize,
    /// A thread will look at the queue.
    scheduled: bool,
    /// The latest entry in the journal.
    last: Option<Mark>,
    last_sequence: u64,
    /// Whatever is not in a journal file that waits for the device is on the device.
    covered: bool,
    /// Counts what ends `covered`.
    uncovered: u64,
    /// The device had no room at the last try.
    full: Option<LogError>,
    failed: Option<LogError>,
}

/// Appended batches on their way to a segment's file.
#[derive(Debug)]
struct Unwritten {
    shared: Arc<SegmentShared>,
    /// They follow each other in the file.
    pieces: Vec<Piece>,
    /// Where appends end, in the file and in the log.
    ends: VecDeque<(u64, Offset)>,
    journal_sequence: u64,
}

impl Unwritten {
    fn position(&self) -> u64 {
        self.pieces.first().map_or(0, |p| p.position)
    }

    fn end_position(&self) -> u64 {
        self.pieces.last().map_or(0, Piece::end_position)
    }

    fn bytes(&self) -> usize {
        (self.end_position() - self.position()) as usize
    }
}

impl LogWriter {
    pub fn new(home: Arc<Home>, sync: Arc<SyncState>, written: WrittenMark, name: String) -> Self {
        let id = home.next_id.fetch_add(1, Ordering::Relaxed);
        let state = State {
            name,
            topic_id: None,
            queue: VecDeque::new(),
            queued_bytes: 0,
            scheduled: false,
            last: None,
            last_sequence: 0,
            covered: false,
            uncovered: 0,
            full: None,
            failed: None,
        };
        Self { id, home, sync, written, state: Mutex::new(state), device: Mutex::default() }
    }

    pub fn id(&self) -> u64 {
        self.id
    }

    pub fn sync_state(&self) -> &SyncState {
        &self.sync
    }

    /// The log's topic: without one nothing goes to the journal, where a name alone says too little.
    pub fn set_topic_id(&self, topic_id: TopicId) {
        self.state.lock().topic_id = Some(topic_id);
    }

    /// Takes batches, which lie in memory as `pieces`, to the journal. `false` if they must go to the segment's file at
    /// once, before which the caller calls [`Self::flush`] and [`Self::wrote_past_the_journal`].
    ///
    /// # Errors
    /// [`LogError::DiskFull`] while what was taken before has no room; the failure of an earlier write.
    pub fn append(
        self: &Arc<Self>,
        shared: &Arc<SegmentShared>,
        pieces: &[Piece],
        batches: &[PreparedBatch],
        promised: bool,
    ) -> Result<bool, LogError> {
        let (Some(first), Some(last)) = (pieces.first(), batches.last()) else { return Ok(true) };
        let mut guard = self.state.lock();
        let s = &mut *guard;
        if let Some(e) = s.failed.as_ref().or(s.full.as_ref()) {
            let (e, again) = (e.clone(), s.failed.is_none() && !std::mem::replace(&mut s.scheduled, true));
            drop(guard);
            if again {
                self.schedule();
            }
            return Err(e);
        }
        let Some(topic_id) = s.topic_id else { return Ok(false) };
        let target =
            Target { name: &s.name, topic_id, segment: shared.base_offset, position: first.position, promised };
        let payload: Vec<_> = pieces.iter().map(|p| IoSlice::new(p.bytes())).collect();
        let headers = batches.iter().map(|b| b.segments()[0]);
        let Some(mark) = self.home.journal.append(self, &target, &payload, headers) else {
            drop(guard);
            self.home.journal.make_room();
            return Ok(false);
        };
        s.last = Some(mark);
        if !promised {
            s.covered = false;
            s.uncovered += 1;
        }
        let end = (pieces[pieces.len() - 1].end_position(), last.header().next_offset());
        s.queued_bytes += pieces.iter().map(|p| p.end - p.start).sum::<usize>();
        match s.queue.back_mut() {
            Some(u) if Arc::ptr_eq(&u.shared, shared) && u.journal_sequence == mark.sequence => {
                for p in pieces {
                    match u.pieces.last_mut() {
                        Some(last) if last.chunk.is(&p.chunk) && last.end == p.start => last.end = p.end,
                        _ => u.pieces.push(p.clone()),
                    }
                }
                u.ends.push_back(end);
            }
            _ => {
                shared.file.queued(self, first.position);
                s.queue.push_back(Unwritten {
                    shared: shared.clone(),
                    pieces: pieces.to_vec(),
                    ends: VecDeque::from([end]),
                    journal_sequence: mark.sequence,
                });
            }
        }
        let schedule = s.queued_bytes >= FLUSH_BYTES && !std::mem::replace(&mut s.scheduled, true);
        // Once for each of the journal's files is enough.
        let begun = s.last_sequence != mark.sequence;
        s.last_sequence = mark.sequence;
        drop(guard);
        if begun {
            self.home.journal.make_room();
        }
        if schedule {
            self.schedule();
        }
        Ok(true)
    }

    fn schedule(self: &Arc<Self>) {
        let this = self.clone();
        self.home.io.tasks.detach(move || {
            // Whoever is told of a failure is told by the next append; what was acknowledged is in the journal.
            if let Err(e) = this.flush(false) {
                tracing::error!("a log can't be written: {e}");
            }
            this.state.lock().scheduled = false;
        });
    }

    /// Something of the log was written to its segment's file without the journal.
    pub fn wrote_past_the_journal(&self) {
        let mut s = self.state.lock();
        s.covered = false;
        s.uncovered += 1;
    }

    /// Writes what is queued to the segments' files: all of it, or only what makes large writes. Waits for the device.
    ///
    /// # Errors
    /// [`LogError::DiskFull`]: it stays queued. Any other is final, and the directory should go offline.
    pub fn flush(&self, all: bool) -> Result<(), LogError> {
        let _device = self.device.lock();
        loop {
            let (batch, whole) = {
                let mut s = self.state.lock();
                if let Some(e) = &s.failed {
                    return Err(e.clone());
                }
                if s.queue.is_empty() || (!all && s.full.is_none() && s.queued_bytes < FLUSH_BYTES) {
                    return Ok(());
                }
                take_group(&mut s.queue, all)
            };
            match self.write(&batch, whole) {
                Ok(done) => self.settle(batch, done),
                Err(e) => {
                    let mut s = self.state.lock();
                    for u in batch.into_iter().rev() {
                        s.queue.push_front(u);
                    }
                    match e {
                        LogError::DiskFull { .. } => s.full = Some(e.clone()),
                        _ => s.failed = Some(e.clone()),
                    }
                    return Err(e);
                }
            }
        }
    }

    /// Writes a row of entries of one segment: to the end if `whole`, else whole blocks only. Gives the place reached.
    fn write(&self, batch: &[Unwritten], whole: bool) -> Result<u64, LogError> {
        let file = &batch[0].shared.file;
        let pieces: Vec<Piece> = batch.iter().flat_map(|u| &u.pieces).cloned().collect();
        let (start, end) = (batch[0].position(), batch[batch.len() - 1].end_position());
        let buffered = |from: u64, to: u64| -> io::Result<()> {
            if from >= to {
                return Ok(());
            }
            let parts: Vec<Piece> = clipped(&pieces, from, to).collect();
            let slices: Vec<_> = parts.iter().map(|p| IoSlice::new(p.bytes())).collect();
            file.handle(true)?.write_all_at(from, &slices)
        };
        let block = DIRECT_ALIGN_BYTES as u64;
        let (from, to) = (start.next_multiple_of(block), end / block * block);
        let written = (|| {
            if to.saturating_sub(from) < DIRECT_BYTES_MIN || self.home.direct_refused.load(Ordering::Relaxed) {
                buffered(start, end)?;
                return Ok(end);
            }
            buffered(start, from)?;
            if !self.write_direct(file, &pieces, from, to)? {
                buffered(from, end)?;
                return Ok(end);
            }
            if whole {
                buffered(to, end)?;
            }
            Ok(if whole { end } else { to })
        })();
        written.during("write", &file.path())
    }

    /// Whether the file system can do it.
    fn write_direct(
        &self,
        file: &crate::segment_file::SegmentFile,
        pieces: &[Piece],
        from: u64,
        to: u64,
    ) -> io::Result<bool> {
        let refused = || {
            if !self.home.direct_refused.swap(true, Ordering::Relaxed) {
                tracing::info!(path = %file.path().display(), "the file system can't write past the page cache; writing through it");
            }
            Ok(false)
        };
        let Some(direct) = file.direct()? else { return refused() };
        let blocks = blocks(pieces, from, to, &self.home.chunks)?;
        match direct.write_all_at(from, &blocks.slices()) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::InvalidInput => refused(),
            Err(e) => Err(e),
        }
    }

    /// The files have the batch up to the place `done`.
    fn settle(&self, batch: Vec<Unwritten>, done: u64) {
        let shared = batch[0].shared.clone();
        let mut reached = None;
        let mut freed: Vec<(u64, u64)> = Vec::new();
        {
            let mut s = self.state.lock();
            let mut rest = Vec::new();
            for mut u in batch {
                let before = u.bytes();
                while let Some((_, offset)) = u.ends.pop_front_if(|(position, _)| *position <= done) {
                    reached = Some(offset);
                }
                u.pieces = clipped(&u.pieces, done, u64::MAX).collect();
                let left = if u.pieces.is_empty() { 0 } else { u.bytes() };
                s.queued_bytes -= before - left;
                freed.push((u.journal_sequence, (before - left) as u64));
                if left > 0 {
                    rest.push(u);
                }
            }
            for u in rest.into_iter().rev() {
                s.queue.push_front(u);
            }
            s.full = None;
            match s.queue.front() {
                Some(next) if Arc::ptr_eq(&next.shared, &shared) => shared.file.progressed(done),
                _ => shared.file.caught_up(),
            }
        }
        if let Some(reached) = reached {
            self.sync.wrote(&shared, reached);
            self.written.set(reached);
        }
        for (sequence, bytes) in freed {
            self.home.journal.done(sequence, bytes);
        }
    }

    /// When the log up to its present end, which is `end`, is on the device.
    pub fn durable(self: &Arc<Self>, end: Offset) -> Durable {
        let (mark, uncovered) = {
            let s = self.state.lock();
            (s.last.filter(|_| s.covered && self.sync.has_synced_names()), s.uncovered)
        };
        let this = self.clone();
        let generation = self.sync.generation();
        Durable::Pending(Box::pin(async move {
            match mark {
                Some(mark) => this.home.journal.clone().durable(mark).await?,
                None => {
                    this.sync.reach(end, Some(this.clone())).await?;
                    let mut s = this.state.lock();
                    s.covered |= s.uncovered == uncovered;
                }
            }
            if this.sync.generation() == generation { Ok(()) } else { Err(LogError::Truncated) }
        }))
    }

    /// Before files of the log are cut, renamed or replaced: the files get everything, and the journal's entries mean
    /// nothing any more. Waits for the device.
    pub fn forget(&self) -> Result<(), LogError> {
        self.flush(true)?;
        let (name, topic_id, last) = {
            let mut s = self.state.lock();
            s.covered = false;
            s.uncovered += 1;
            (s.name.clone(), s.topic_id, s.last)
        };
        if let (Some(topic_id), Some(_)) = (topic_id, last) {
            // A failure leaves `last`: the entries still mean something, and the next call must say so again.
            self.home.journal.forget(&name, topic_id)?;
            self.state.lock().last = None;
        }
        Ok(())
    }

    /// The log's directory has another name now.
    pub fn renamed(&self, name: String) {
        self.state.lock().name = name;
    }

    /// A segment is deleted: what is queued for it is not written any more.
    pub fn abandon_segment(&self, shared: &Arc<SegmentShared>) {
        let _device = self.device.lock();
        let abandoned: Vec<Unwritten> = {
            let mut s = self.state.lock();
            let (abandoned, kept): (Vec<_>, Vec<_>) =
                std::mem::take(&mut s.queue).into_iter().partition(|u| Arc::ptr_eq(&u.shared, shared));
            s.queue = kept.into();
            s.queued_bytes -= abandoned.iter().map(Unwritten::bytes).sum::<usize>();
            abandoned
        };
        self.give_up(abandoned);
    }

    fn give_up(&self, queue: impl IntoIterator<Item = Unwritten>) {
        for u in queue {
            u.shared.file.caught_up();
            self.home.journal.done(u.journal_sequence, u.bytes() as u64);
        }
    }

    /// The directory has failed: nothing is written any more. What was acknowledged is in the journal.
    pub fn fail(&self, e: LogError) {
        self.state.lock().failed.get_or_insert(e);
    }

    /// The log is deleted: what is queued is not written any more.
    pub fn abandon(&self, e: LogError) {
        let _device = self.device.lock();
        let queue = {
            let mut s = self.state.lock();
            s.failed.get_or_insert(e);
            s.queued_bytes = 0;
            std::mem::take(&mut s.queue)
        };
        self.give_up(queue);
    }
}

/// Takes the next row of one segment off the queue, and says whether it must be written to its end: if `all` must, or
/// another segment follows.
fn take_group(queue: &mut VecDeque<Unwritten>, all: bool) -> (Vec<Unwritten>, bool) {
    let mut group: Vec<Unwritten> = Vec::new();
    let mut bytes = 0;
    while let Some(u) = queue.pop_front_if(|u| {
        group.first().is_none_or(|first: &Unwritten| Arc::ptr_eq(&first.shared, &u.shared) && bytes < FLUSH_BYTES_MAX)
    }) {
        bytes += u.bytes();
        group.push(u);
    }
    let whole = match queue.front() {
        Some(next) => !Arc::ptr_eq(&next.shared, &group[0].shared),
        None => all,
    };
    (group, whole)
}
