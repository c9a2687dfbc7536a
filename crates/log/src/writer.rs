//! The writer of a log: what brings appends to the segments' files in large writes, past the page cache if it can.
//!
//! | an append | is queued | counts as written | the files get it |
//! |---|---|---|---|
//! | large, or behind one that waits for its file, or one of very many ([`crate::load`]) | yes | when its segment's file has it | as soon as the device is free |
//! | small, with a journal for all; or large, behind such a one | yes | when the journal has it | when there is much of it, or the journal needs its room |
//! | small, without one | no | at once | at once, through the page cache, and so does a journal for what must not be lost |
//! | under `logrun.durability=memory` | yes | at once | a moment later |
//!
//! What is queued are pieces of the log's chunks, and readers have it from there ([`crate::tail`]). It is also written before
//! anybody looks at a segment's file ([`crate::segment_file`]). The partition's lock is not held meanwhile. What the
//! device has no room for, or the process no descriptor, stays queued: appends are refused until there is.
//!
//! How far the files have a log is kept where it is asked for; [`LogWriter::settle`] moves all of it:
//!
//! | where | what | for whom |
//! |---|---|---|
//! | `queue` and `waiters`, here | what the files lack, and who waits until they have it | acknowledgements |
//! | `queued` of [`crate::segment_file`] | how many bytes one file has | who reads the file: the rest is not there yet |
//! | `written` of [`crate::sync`] | the offset below which they have all | a sync: so much is on the device when it's done |
//! | `written` of [`crate::tail`] | the same | the cache: it gives up nothing above |

use std::collections::VecDeque;
use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use logrun_model::{Monotonic, Offset, TopicId};
use logrun_record::PreparedBatch;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::direct::clipped;
use crate::error::LogError;
use crate::home::Home;
use crate::journal::{Mark, Target};
use crate::on_panic::OnPanic;
use crate::pace::Pace;
use crate::segment::SegmentShared;
use crate::sync::{Durable, Promise, SyncState};
use crate::tail::{Piece, WrittenMark};
use crate::unwritten::{Unwritten, take_group, write};

/// So much of a log is written at once.
const FLUSH_BYTES: usize = 1 << 20;
/// Behind less than this the journal takes a large append, too.
const GATHER_BEHIND_BYTES: usize = 4 << 20;
/// What need not be written before it counts as done waits so long for more.
const MEMORY_DELAY: Duration = Duration::from_millis(5);

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
    /// Until the files have it, that is while it's being written too.
    queued_bytes: usize,
    /// The part of it that no journal has.
    gathered_bytes: usize,
    wake: Wake,
    /// Those who wait until the files have everything below an offset, in its order.
    waiters: VecDeque<(Offset, oneshot::Sender<Result<(), LogError>>)>,
    /// The latest entry in the journal.
    last: Option<Mark>,
    last_sequence: u64,
    /// Whatever is not in a journal file that waits for the device is on the device.
    covered: bool,
    /// Counts what ends `covered`.
    uncovered: u64,
    /// Why the last try came to nothing, where another may not: the device had no room, or the process no descriptor.
    stuck: Option<LogError>,
    failed: Option<LogError>,
}

/// Whether somebody will look at the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wake {
    No,
    Later,
    Now,
}

/// How an append may be taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// A power cut must not take it once it's acknowledged.
    pub promised: bool,
    /// The caller waits for [`LogWriter::written`] before it acknowledges.
    pub may_wait: bool,
    /// It is acknowledged before it's written.
    pub in_memory: bool,
}

impl LogWriter {
    pub fn new(home: Arc<Home>, sync: Arc<SyncState>, written: WrittenMark, name: String) -> Self {
        let id = home.next_id();
        let state = State {
            name,
            topic_id: None,
            queue: VecDeque::new(),
            queued_bytes: 0,
            gathered_bytes: 0,
            wake: Wake::No,
            waiters: VecDeque::new(),
            last: None,
            last_sequence: 0,
            covered: false,
            uncovered: 0,
            stuck: None,
            failed: None,
        };
        Self { id, home, sync, written, state: Mutex::new(state), device: Mutex::default() }
    }

    pub fn id(&self) -> u64 {
        self.id
    }

    /// The pace of cold reads in the directory in which the log's own lies.
    pub fn pace(&self) -> &Arc<Pace> {
        &self.home.pace
    }

    pub fn sync_state(&self) -> &SyncState {
        &self.sync
    }

    /// The log's topic: without one nothing goes to the journal, where a name alone says too little.
    pub fn set_topic_id(&self, topic_id: TopicId) {
        self.state.lock().topic_id = Some(topic_id);
    }

    /// An append of `bytes` begins; says whether it is written from a chunk, which it therefore must be copied to.
    pub fn begins(&self, bytes: usize, now: Monotonic) -> bool {
        self.home.load.append(bytes, now);
        self.home.first_journal().is_some()
            || self.home.gathers(bytes)
            || self.home.gathers_all()
            || self.state.lock().queued_bytes > 0
    }

    /// Takes batches, which lie in memory as `pieces`. `false` if they must go to the segment's file at once, before which
    /// the caller calls [`Self::flush`], and after it [`Self::wrote_at_once`].
    ///
    /// # Errors
    /// The failure of an earlier write.
    pub fn append(
        self: &Arc<Self>,
        shared: &Arc<SegmentShared>,
        pieces: &[Piece],
        batches: &[PreparedBatch],
        terms: Terms,
    ) -> Result<bool, LogError> {
        let (Some(first), Some(last)) = (pieces.first(), batches.last()) else { return Ok(true) };
        let bytes = pieces.iter().map(|p| p.end - p.start).sum::<usize>();
        let end = (pieces[pieces.len() - 1].end_position(), last.header().next_offset());
        let mut guard = self.state.lock();
        let s = &mut *guard;
        if let Some(e) = &s.failed {
            return Err(e.clone());
        }
        if s.stuck.is_some() {
            // Whoever appends now has reason to think that there is room again: the caller's flush shows it.
            return Ok(false);
        }
        let may_gather = terms.may_wait && self.home.has_room();
        // What must last is better off in a journal that one sync brings to the device for all logs.
        let joins = !terms.promised && self.home.first_journal().is_none() && self.home.gathers_all();
        let large = self.home.gathers(bytes) && s.is_worth_gathering(bytes);
        if may_gather && (terms.in_memory || s.gathered_bytes > 0 || large || joins) {
            self.enqueue(s, shared, pieces, (bytes, end), None);
            let wake = if terms.in_memory && s.queued_bytes < FLUSH_BYTES { Wake::Later } else { Wake::Now };
            drop(guard);
            self.wake(wake);
            return Ok(true);
        }
        let Some(journal) = self.home.first_journal() else { return Ok(false) };
        let Some(target) = s.target(shared, first.position, terms.promised) else { return Ok(false) };
        let payload: Vec<_> = pieces.iter().map(|p| IoSlice::new(p.bytes())).collect();
        let mark = journal.append(self, &target, &payload, batches);
        // With an append that the journal has no room for, the caller would wait until the device has what is queued.
        let taken = mark.is_some() || (may_gather && !s.queue.is_empty());
        if let Some(mark) = mark {
            s.last = Some(mark);
            if !terms.promised {
                s.uncover();
            }
        }
        if taken {
            self.enqueue(s, shared, pieces, (bytes, end), mark.map(|m| m.sequence));
        }
        let due = taken && s.is_due();
        let wants_room = s.wants_room(mark);
        drop(guard);
        if wants_room {
            journal.make_room();
        }
        if due {
            self.wake(Wake::Now);
        }
        Ok(taken)
    }

    /// Queues an append; without a journal's file it is gathered.
    fn enqueue(
        self: &Arc<Self>,
        s: &mut State,
        shared: &Arc<SegmentShared>,
        pieces: &[Piece],
        (bytes, end): (usize, (u64, Offset)),
        journal_sequence: Option<u64>,
    ) {
        s.queued_bytes += bytes;
        if journal_sequence.is_none() {
            s.uncover();
            s.gathered_bytes += bytes;
        }
        self.home.took(bytes, journal_sequence.is_some());
        match s.queue.back_mut() {
            Some(u) if Arc::ptr_eq(&u.shared, shared) && u.journal_sequence == journal_sequence => {
                for p in pieces {
                    match u.pieces.last_mut() {
                        Some(last) if last.chunk.is(&p.chunk) && last.end == p.start => last.end = p.end,
                        _ => u.pieces.push(p.clone()),
                    }
                }
                u.ends.push_back(end);
            }
            _ => {
                shared.file.queued(self, pieces[0].position);
                s.queue.push_back(Unwritten {
                    shared: shared.clone(),
                    pieces: pieces.to_vec(),
                    ends: VecDeque::from([end]),
                    journal_sequence,
                });
            }
        }
    }

    /// Has somebody look at the queue. Call it with no lock held.
    fn wake(self: &Arc<Self>, when: Wake) {
        {
            let mut s = self.state.lock();
            match (s.wake, when) {
                (Wake::Now, _) | (Wake::Later, Wake::Later) | (_, Wake::No) => return,
                _ => s.wake = when,
            }
        }
        match when {
            Wake::Now => self.home.schedule(self.clone()),
            _ => self.wake_after(MEMORY_DELAY),
        }
    }

    /// Has somebody look at the queue after a while.
    pub fn wake_after(self: &Arc<Self>, delay: Duration) {
        self.state.lock().wake = Wake::Later;
        let this = self.clone();
        self.home.io.tasks.detach_after(&self.home.io.clock, delay, move || this.wake(Wake::Now));
    }

    /// Writes some of what is queued, if there is reason to; says whether there may be more to do.
    ///
    /// # Errors
    /// As [`Self::flush`].
    pub fn take_turn(&self) -> Result<bool, LogError> {
        let _device = self.device.lock();
        self.write_some(false).inspect_err(|_| self.state.lock().wake = Wake::No)
    }

    /// Batches, which are `payload`, were written to `position` of their segment's file at once. What a power cut must not take
    /// goes to the journal, too, if there is one: syncing that makes it last.
    pub fn wrote_at_once(
        self: &Arc<Self>,
        shared: &Arc<SegmentShared>,
        position: u64,
        payload: &[IoSlice<'_>],
        batches: &[PreparedBatch],
        promised: bool,
    ) {
        let Some(last) = batches.last() else { return };
        // First: the journal's file is used again when all that was written is synced.
        self.sync.wrote(shared, last.header().next_offset());
        let mut guard = self.state.lock();
        let s = &mut *guard;
        // One that had no room for it a moment ago is not asked again.
        let journal = self.home.journal.as_ref().filter(|_| promised && self.home.first_journal().is_none());
        let (Some(journal), Some(target)) = (journal, s.target(shared, position, promised)) else {
            return s.uncover();
        };
        let mark = journal.append(self, &target, payload, batches);
        match mark {
            Some(mark) => {
                s.last = Some(mark);
                let bytes = payload.iter().map(|p| p.len() as u64).sum();
                journal.done(mark.sequence, bytes);
            }
            None => s.uncover(),
        }
        let wants_room = s.wants_room(mark);
        drop(guard);
        if wants_room {
            journal.make_room();
        }
    }

    /// Writes all that is queued to the segments' files. Waits for the device.
    ///
    /// # Errors
    /// A retriable one: it stays queued. Any other is final, and the directory should go offline.
    pub fn flush(&self) -> Result<(), LogError> {
        let _device = self.device.lock();
        while self.write_some(true)? {}
        Ok(())
    }

    /// Writes a row of what is queued, if `all` must be written or there is reason to; `false` if there was none.
    fn write_some(&self, all: bool) -> Result<bool, LogError> {
        let (batch, whole) = {
            let mut s = self.state.lock();
            if let Some(e) = &s.failed {
                return Err(e.clone());
            }
            if s.queue.is_empty() || !(all || s.is_due()) {
                if !all {
                    // Under the lock under which appends see it: what comes from now on wakes somebody.
                    s.wake = Wake::No;
                }
                return Ok(false);
            }
            let all = all || s.gathered_bytes > 0;
            take_group(&mut s.queue, all)
        };
        // A panic on the way to the disk takes what was to be written along, so that nothing may follow it.
        let _on_panic = OnPanic(|| {
            let dir = PathBuf::from(&self.state.lock().name);
            self.fail(LogError::Offline { dir });
        });
        match write(&self.home, &batch, whole) {
            Ok(done) => self.settle(batch, done),
            Err(e) => {
                let mut s = self.state.lock();
                for u in batch.into_iter().rev() {
                    s.queue.push_front(u);
                }
                if e.is_retriable() {
                    s.stuck = Some(e.clone());
                } else {
                    drop(s);
                    self.fail(e.clone());
                }
                return Err(e);
            }
        }
        Ok(true)
    }

    /// The files have the batch up to the place `done`.
    fn settle(&self, batch: Vec<Unwritten>, done: u64) {
        let shared = batch[0].shared.clone();
        let mut reached = None;
        let counts;
        let mut freed: Vec<(usize, Option<u64>)> = Vec::new();
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
                s.took_out(before - left, u.journal_sequence);
                freed.push((before - left, u.journal_sequence));
                if left > 0 {
                    rest.push(u);
                }
            }
            for u in rest.into_iter().rev() {
                s.queue.push_front(u);
            }
            s.stuck = None;
            counts = s.counts_as_written(reached);
            match s.queue.front() {
                Some(next) if Arc::ptr_eq(&next.shared, &shared) => shared.file.progressed(done),
                _ => shared.file.caught_up(),
            }
        }
        if let Some(reached) = reached {
            self.sync.wrote(&shared, reached);
            self.written.set(reached);
        }
        for (bytes, sequence) in freed {
            self.home.done(bytes, sequence);
        }
        if let Some(counts) = counts {
            self.tell(counts, Ok(()));
        }
    }

    /// Tells those who wait for what is below `offset`.
    fn tell(&self, offset: Offset, outcome: Result<(), LogError>) {
        let told: Vec<_> = {
            let mut s = self.state.lock();
            let n = s.waiters.partition_point(|(end, _)| *end <= offset);
            s.waiters.drain(..n).collect()
        };
        for (_, waiter) in told {
            // Who doesn't wait any more need not know.
            let _ = waiter.send(outcome.clone());
        }
    }

    /// When the files have the log up to its present end, which is `end`, or the journal has what they lack.
    pub fn written(&self, end: Offset) -> Durable {
        let told = {
            let mut s = self.state.lock();
            if let Some(e) = &s.failed {
                return Durable::Pending(Promise::Written, Box::pin(std::future::ready(Err(e.clone()))));
            }
            if s.gathered_bytes == 0 {
                return Durable::Ready;
            }
            let (tell, told) = oneshot::channel();
            s.waiters.push_back((end, tell));
            told
        };
        let told = async move { told.await.unwrap_or(Err(LogError::Truncated)) };
        Durable::Pending(Promise::Written, Box::pin(told))
    }

    /// When the log up to its present end, which is `end`, is on the device.
    pub fn durable(self: &Arc<Self>, end: Offset) -> Durable {
        let (mark, uncovered) = {
            let s = self.state.lock();
            let mark = s.last.filter(|_| s.covered && self.sync.has_synced_names());
            (mark.zip(self.home.journal.clone()), s.uncovered)
        };
        let this = self.clone();
        let generation = self.sync.generation();
        let synced = async move {
            match mark {
                Some((mark, journal)) => journal.durable(mark).await?,
                None => {
                    this.sync.reach(end, this.clone()).await?;
                    let mut s = this.state.lock();
                    s.covered |= s.uncovered == uncovered;
                }
            }
            if this.sync.generation() == generation { Ok(()) } else { Err(LogError::Truncated) }
        };
        Durable::Pending(Promise::Synced, Box::pin(synced))
    }

    /// Before what could not be written is tried again.
    pub fn pause(&self) -> impl Future<Output = ()> + Send + use<> {
        self.home.pause()
    }

    /// Before files of the log are cut, renamed or replaced: the files get everything, on the device what the journal has of
    /// it, and the journal's entries mean nothing any more. Waits for the device.
    pub fn forget(&self) -> Result<(), LogError> {
        self.flush()?;
        let (name, topic_id, last) = {
            let mut s = self.state.lock();
            s.uncover();
            (s.name.clone(), s.topic_id, s.last)
        };
        if let (Some(topic_id), Some(_), Some(journal)) = (topic_id, last, &self.home.journal) {
            // What the journal has kept from a power cut the files must keep from now on.
            self.sync.sync_now()?;
            // A failure leaves `last`: the entries still mean something, and the next call must say so again.
            journal.forget(&name, topic_id)?;
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
        let (abandoned, counts) = {
            let mut s = self.state.lock();
            let (abandoned, kept): (Vec<_>, Vec<_>) =
                std::mem::take(&mut s.queue).into_iter().partition(|u| Arc::ptr_eq(&u.shared, shared));
            s.queue = kept.into();
            for u in &abandoned {
                s.took_out(u.bytes(), u.journal_sequence);
            }
            if s.queue.is_empty() {
                // What could not be written is not wanted any more.
                s.stuck = None;
            }
            // It was deleted behind those who wait for it.
            let end = abandoned.last().and_then(Unwritten::end_offset);
            (abandoned, s.counts_as_written(end))
        };
        self.give_up(abandoned);
        if let Some(counts) = counts {
            self.tell(counts, Ok(()));
        }
    }

    fn give_up(&self, queue: impl IntoIterator<Item = Unwritten>) {
        for u in queue {
            u.shared.file.caught_up();
            self.home.done(u.bytes(), u.journal_sequence);
        }
    }

    /// The directory has failed: nothing is written any more. What was acknowledged is in the journal.
    pub fn fail(&self, e: LogError) {
        let e = self.state.lock().failed.get_or_insert(e).clone();
        self.tell(Offset(i64::MAX), Err(e));
    }

    /// The log is deleted: what is queued is not written any more.
    pub fn abandon(&self) {
        let _device = self.device.lock();
        let queue = {
            let mut s = self.state.lock();
            // No failure of the directory: its other logs go on.
            s.failed.get_or_insert(LogError::Truncated);
            (s.queued_bytes, s.gathered_bytes) = (0, 0);
            std::mem::take(&mut s.queue)
        };
        self.give_up(queue);
        self.tell(Offset(i64::MAX), Err(LogError::Truncated));
    }
}

impl State {
    /// What the journal says of an append to `position` of a segment; `None` if it could not be told from another topic's.
    fn target(&self, shared: &SegmentShared, position: u64, promised: bool) -> Option<Target<'_>> {
        let segment = shared.base_offset;
        Some(Target { name: &self.name, topic_id: self.topic_id?, segment, position, promised })
    }

    /// There is something that only a sync of the log's own files brings to the device.
    fn uncover(&mut self) {
        self.covered = false;
        self.uncovered += 1;
    }

    /// Whether a large append is better gathered than journaled: it is acknowledged when the files have what is queued, so
    /// that it would wait for what the journal has of earlier ones, unless those that follow each other are large.
    fn is_worth_gathering(&self, bytes: usize) -> bool {
        self.queue.is_empty() || self.queued_bytes >= GATHER_BEHIND_BYTES || bytes >= FLUSH_BYTES
    }

    /// Whether the journal is to be asked to make room: once for each of its files is enough, and when it has none.
    fn wants_room(&mut self, mark: Option<Mark>) -> bool {
        mark.is_none_or(|mark| std::mem::replace(&mut self.last_sequence, mark.sequence) != mark.sequence)
    }

    /// Whether the queue is to be written without anybody asking for all of it.
    fn is_due(&self) -> bool {
        self.gathered_bytes > 0 || self.queued_bytes >= FLUSH_BYTES || (self.stuck.is_some() && !self.queue.is_empty())
    }

    /// How far the log counts as written, if the files have it to `reached` and nobody writes: what is queued behind counts
    /// as well if the journal has all of it.
    fn counts_as_written(&self, reached: Option<Offset>) -> Option<Offset> {
        match self.queue.back() {
            Some(last) if self.gathered_bytes == 0 => last.end_offset(),
            _ => reached,
        }
    }

    /// `bytes` of the queue are in the files, or not wanted any more.
    fn took_out(&mut self, bytes: usize, journal_sequence: Option<u64>) {
        self.queued_bytes -= bytes;
        if journal_sequence.is_none() {
            self.gathered_bytes -= bytes;
        }
    }
}
