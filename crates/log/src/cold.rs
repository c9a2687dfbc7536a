//! Reading what nobody has written for a while: past the page cache, in large pieces, ahead of those who read on.
//!
//! Kafka leaves this to the system, where a reader of a long log fills the page cache with what nobody asks for again and
//! pushes out what producers and the readers at the log's end need. Here such a reader has its own, bounded, part of
//! `logrun.cache.bytes`:
//!
//! ```text
//! segment's file   | extent 64 K |   extent 128 K   |        extent 2 M        |  being read  |
//!                                                          ^ the reader
//! ```
//!
//! Who reads on from an extent finds the next one there, or on its way: it was asked for when the one before it was first
//! touched. Who reads at one place only causes no more to be read than was wanted. With many readers the extents are
//! smaller. What was read longest ago goes first. Beside appends all of it is at the pace of [`crate::pace`]. Must never hold bytes behind the end of the log that a reader was
//! bounded by: they may not be whole yet.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use logrun_io::{Chunk, Chunks, DIRECT_ALIGN_BYTES, LARGE_CHUNK_BYTES, SMALL_CHUNK_BYTES, Tasks};
use parking_lot::{Condvar, Mutex};

use crate::pace::Pace;
use crate::segment::SegmentShared;

/// The lengths of what is read ahead.
const AHEAD_BYTES: [usize; 3] = [SMALL_CHUNK_BYTES, 128 << 10, LARGE_CHUNK_BYTES];
/// This part of the budget is for the readers' extents together: what they are at, and what comes next.
const AHEAD_SHARE: usize = 4;
/// Who reads on gets at most so many times as much as before.
const AHEAD_GROWTH: usize = 16;
/// So many extents are read ahead at a time.
const AHEAD_AT_ONCE: usize = 2;

/// The cold reads of one process. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct ColdReads(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    chunks: Chunks,
    budget_bytes: usize,
    state: Mutex<State>,
    /// An extent has been read, or could not be.
    read: Condvar,
}

/// A file's number, and a position in it.
type Place = (u64, u64);

#[derive(Debug, Default)]
struct State {
    next_id: u64,
    extents: BTreeMap<Place, Extent>,
    /// The extents that are there, by their last use.
    by_use: BTreeMap<u64, Place>,
    /// How many extents each file has.
    files: BTreeMap<u64, usize>,
    used_bytes: usize,
    uses: u64,
    reading_ahead: usize,
}

#[derive(Debug)]
enum Extent {
    /// Somebody reads so many bytes.
    Reading(usize),
    There {
        chunk: Chunk,
        len: usize,
        used: u64,
    },
}

/// What is known of a place.
enum Found {
    There {
        bytes: Bytes,
        extent_bytes: usize,
    },
    /// An extent of so many bytes ends there.
    End(usize),
    Nothing,
}

impl State {
    fn find(&mut self, (file, at): Place) -> Option<Found> {
        let Some((&(_, start), extent)) = self.extents.range_mut((file, 0)..=(file, at)).next_back() else {
            return Some(Found::Nothing);
        };
        let from = usize::try_from(at - start).unwrap_or(usize::MAX);
        match extent {
            Extent::Reading(len) if from < *len => None,
            Extent::There { chunk, len, used } if from < *len => {
                self.by_use.remove(used);
                self.uses += 1;
                *used = self.uses;
                self.by_use.insert(*used, (file, start));
                Some(Found::There { bytes: chunk.slice(from..*len), extent_bytes: *len })
            }
            Extent::Reading(len) | Extent::There { len, .. } if from == *len => Some(Found::End(*len)),
            _ => Some(Found::Nothing),
        }
    }

    fn insert(&mut self, place: Place, chunk: Chunk, len: usize) {
        self.uses += 1;
        self.used_bytes += chunk.capacity();
        self.by_use.insert(self.uses, place);
        self.extents.insert(place, Extent::There { chunk, len, used: self.uses });
    }

    fn remove(&mut self, place: Place) -> Option<Chunk> {
        let extent = self.extents.remove(&place)?;
        if let Some(n) = self.files.get_mut(&place.0) {
            *n -= 1;
            if *n == 0 {
                self.files.remove(&place.0);
            }
        }
        match extent {
            Extent::Reading(_) => None,
            Extent::There { chunk, used, .. } => {
                self.by_use.remove(&used);
                self.used_bytes -= chunk.capacity();
                Some(chunk)
            }
        }
    }
}

impl ColdReads {
    pub fn new(chunks: Chunks, budget_bytes: usize) -> Self {
        Self(Arc::new(Shared { chunks, budget_bytes, state: Mutex::default(), read: Condvar::new() }))
    }

    /// A number for a file, never given twice.
    pub fn next_id(&self) -> u64 {
        let mut s = self.0.state.lock();
        s.next_id += 1;
        s.next_id
    }

    /// How many bytes of memory the extents take.
    pub fn used_bytes(&self) -> usize {
        self.0.state.lock().used_bytes
    }

    /// Nothing is known of a file any more: it was cut, or nobody has used it for long.
    pub fn forget(&self, file: u64) {
        let mut s = self.0.state.lock();
        let places: Vec<Place> = s.extents.range((file, 0)..=(file, u64::MAX)).map(|(place, _)| *place).collect();
        let freed: Vec<_> = places.into_iter().map(|place| s.remove(place)).collect();
        drop(s);
        // Memory goes back outside of the lock.
        drop(freed);
    }

    /// The bytes of the file from `at` on, `wanted` of them unless `size` or the file ends before, in pieces that follow
    /// each other. `None` if the file can't be read past the page cache. May wait for the disk.
    pub fn read(
        &self,
        (tasks, pace): (Tasks, &Arc<Pace>),
        segment: &Arc<SegmentShared>,
        at: u64,
        wanted: usize,
        size: u64,
    ) -> io::Result<Option<Vec<Bytes>>> {
        let Some(file) = segment.file.cold_id(self) else { return Ok(None) };
        let end = size.min(at.saturating_add(wanted as u64));
        let (mut at, mut pieces) = (at, Vec::with_capacity(2));
        // The length of the extent before, where somebody reads on.
        let mut before = None;
        while at < end {
            match self.find((file, at)) {
                Found::There { bytes, extent_bytes } => {
                    at += bytes.len() as u64;
                    pieces.push(bytes);
                    before = Some(extent_bytes);
                }
                found => {
                    if let Found::End(extent_bytes) = found {
                        before = Some(extent_bytes);
                    }
                    let start = block_of(at);
                    let len = match before {
                        Some(bytes) => self.ahead_bytes(bytes),
                        None => ((end - start) as usize).min(LARGE_CHUNK_BYTES),
                    };
                    match self.read_extent((segment, pace), (file, start), len, size)? {
                        None => return Ok(None),
                        Some(bytes) if start + bytes.len() as u64 <= at => break,
                        Some(bytes) => {
                            let bytes = bytes.slice((at - start) as usize..);
                            at += bytes.len() as u64;
                            pieces.push(bytes);
                        }
                    }
                }
            }
        }
        if let Some(bytes) = before
            && at < size
        {
            self.read_ahead((tasks, pace), segment, (file, at), self.ahead_bytes(bytes), size);
        }
        Ok(Some(pieces))
    }

    /// Waits for whoever reads the place.
    fn find(&self, place: Place) -> Found {
        let mut s = self.0.state.lock();
        loop {
            match s.find(place) {
                Some(found) => return found,
                None => self.0.read.wait(&mut s),
            }
        }
    }

    /// How much is read behind an extent of `before` bytes.
    fn ahead_bytes(&self, before: usize) -> usize {
        let readers = self.0.state.lock().files.len().max(1);
        let share = (self.0.budget_bytes / AHEAD_SHARE / readers).min(before.saturating_mul(AHEAD_GROWTH));
        AHEAD_BYTES.into_iter().rev().find(|b| *b <= share).unwrap_or(AHEAD_BYTES[0])
    }

    fn read_ahead(
        &self,
        (tasks, pace): (Tasks, &Arc<Pace>),
        segment: &Arc<SegmentShared>,
        (file, at): Place,
        len: usize,
        size: u64,
    ) {
        {
            let mut s = self.0.state.lock();
            if s.reading_ahead >= AHEAD_AT_ONCE || !matches!(s.find((file, at)), Some(Found::End(_))) {
                return;
            }
            s.reading_ahead += 1;
        }
        let (this, segment, pace) = (self.clone(), segment.clone(), pace.clone());
        tasks.detach(move || {
            let known = !matches!(this.0.state.lock().find((file, at)), Some(Found::End(_)));
            // Whoever wants it will hear of a failure: it's not kept.
            if !known && let Err(e) = this.read_extent((&segment, &pace), (file, block_of(at)), len, size) {
                tracing::debug!("reading ahead failed: {e}");
            }
            this.0.state.lock().reading_ahead -= 1;
        });
    }

    /// Reads at most `len` bytes at `place` and keeps them. What is there already ends where the log did before.
    fn read_extent(
        &self,
        (segment, pace): (&Arc<SegmentShared>, &Pace),
        place: Place,
        len: usize,
        size: u64,
    ) -> io::Result<Option<Bytes>> {
        let (file, start) = place;
        let shorter;
        let len = {
            let mut s = self.0.state.lock();
            let next = s.extents.range((file, start + 1)..=(file, u64::MAX)).next();
            let end = next.map_or(size, |((_, start), _)| size.min(*start));
            let len = len.min(usize::try_from(end - start).unwrap_or(usize::MAX));
            shorter = s.remove(place);
            s.extents.insert(place, Extent::Reading(len));
            *s.files.entry(file).or_default() += 1;
            len
        };
        drop(shorter);
        let read = self.fetch((segment, pace), start, len);
        let mut freed = Vec::new();
        {
            let mut s = self.0.state.lock();
            // Forgotten in the meantime: then it's for this reader alone.
            let wanted = matches!(s.extents.get(&place), Some(Extent::Reading(_)));
            match &read {
                Ok(Some((chunk, len))) if wanted && *len > 0 => s.insert(place, chunk.clone(), *len),
                _ if wanted => drop(s.remove(place)),
                _ => {}
            }
            while s.used_bytes > self.0.budget_bytes
                && let Some((_, oldest)) = s.by_use.pop_first()
            {
                freed.push(s.remove(oldest));
            }
        }
        self.0.read.notify_all();
        Ok(read?.map(|(chunk, len)| chunk.slice(0..len)))
    }

    /// Reads `len` bytes of the file, less at its end.
    fn fetch(
        &self,
        (segment, pace): (&Arc<SegmentShared>, &Pace),
        start: u64,
        len: usize,
    ) -> io::Result<Option<(Chunk, usize)>> {
        let Some(direct) = segment.file.direct()? else { return Ok(None) };
        let mut chunk = self.0.chunks.take(len.next_multiple_of(DIRECT_ALIGN_BYTES))?;
        let read = |room: &mut [u8]| pace.read(room, |done, part| direct.read_at(start + done as u64, part));
        match chunk.fill(len.next_multiple_of(DIRECT_ALIGN_BYTES), read) {
            Ok(n) => Ok(Some((chunk.chunk(), n.min(len)))),
            Err(e) if e.kind() == io::ErrorKind::InvalidInput => {
                segment.file.refuses_direct();
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }
}

fn block_of(at: u64) -> u64 {
    at / DIRECT_ALIGN_BYTES as u64 * DIRECT_ALIGN_BYTES as u64
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use logrun_io::disk::{Disk, Fault, SimDisk};
    use logrun_io::{Chunks, Clock, OpenMode, Random};
    use logrun_model::Offset;

    use super::*;

    const BUDGET: usize = 16 << 20;

    struct World {
        disk: SimDisk,
        cold: ColdReads,
        pace: Arc<Pace>,
        segment: Arc<SegmentShared>,
        contents: Vec<u8>,
    }

    fn world(bytes: usize) -> World {
        let disk = SimDisk::new();
        disk.create_dir_all(Path::new("/d")).unwrap();
        let segment = Arc::new(SegmentShared::new(Arc::new(disk.clone()), Path::new("/d"), Offset(0), 4096));
        let file = disk.open(&segment.file.path(), OpenMode::Create).unwrap();
        let contents: Vec<u8> = (0..bytes).map(|i| (i / 7 + i / 4096) as u8).collect();
        file.write_all_at(0, &[io::IoSlice::new(&contents)]).unwrap();
        let pace = Arc::new(Pace::new(Clock::simulated(0)));
        World { disk, cold: ColdReads::new(Chunks::default(), BUDGET), pace, segment, contents }
    }

    impl World {
        fn read(&self, at: usize, wanted: usize, size: usize) -> io::Result<Vec<u8>> {
            let pieces =
                self.cold.read((Tasks::inline(), &self.pace), &self.segment, at as u64, wanted, size as u64)?;
            Ok(pieces.unwrap().concat())
        }
    }

    #[test]
    fn any_read_gets_what_the_file_has() {
        let w = world(9_000_000);
        let random = Random::from_seed(1);
        let mut at = 0;
        for _ in 0..400 {
            if random.chance(1, 4) {
                at = random.below(w.contents.len() as u64) as usize;
            }
            let wanted = random.below(1_200_000) as usize + 1;
            let size = (at + random.below(2_000_000) as usize + 1).min(w.contents.len());
            let got = w.read(at, wanted, size).unwrap();
            let end = (at + wanted).min(size);
            assert!(got.len() >= end - at && got[..end - at] == w.contents[at..end], "{at} {wanted}");
            assert!(got.len() <= w.contents.len() - at && got[..] == w.contents[at..at + got.len()]);
            at = end % w.contents.len();
            assert!(w.cold.used_bytes() <= BUDGET);
        }
    }

    #[test]
    fn who_reads_on_finds_it_there_and_who_does_not_reads_no_more_than_was_wanted() {
        let w = world(8 << 20);
        w.read(3 << 20, 10_000, 8 << 20).unwrap();
        assert_eq!((w.disk.counts().reads, w.cold.used_bytes()), (1, SMALL_CHUNK_BYTES));
        let mut at = 0;
        while at < 8 << 20 {
            at += w.read(at, 64 << 10, 8 << 20).unwrap().len();
        }
        // 64 K, 128 K, then 2 M each, around what was there.
        assert!(w.disk.counts().reads <= 12, "{:?}", w.disk.counts());
    }

    #[test]
    fn the_end_that_a_reader_was_bounded_by_is_kept_and_not_beyond() {
        let w = world(100_000);
        assert_eq!(w.read(0, 1 << 20, 50_000).unwrap().len(), 50_000);
        assert_eq!(w.read(40_000, 1 << 20, 100_000).unwrap(), w.contents[40_000..]);
        // A file that is shorter than the log thinks.
        assert_eq!(w.read(90_000, 1 << 20, 200_000).unwrap(), w.contents[90_000..]);
    }

    #[test]
    fn a_cut_file_is_read_anew_and_a_failure_is_told_and_not_kept() {
        let w = world(100_000);
        w.read(0, 100_000, 100_000).unwrap();
        let file = w.disk.open(&w.segment.file.path(), OpenMode::Write).unwrap();
        file.write_all_at(5000, &[io::IoSlice::new(b"new")]).unwrap();
        w.segment.file.changed();
        assert_eq!(&w.read(5000, 3, 100_000).unwrap()[..3], b"new");
        w.segment.file.release();
        assert_eq!(w.cold.used_bytes(), 0);
        w.disk.fail_read(w.disk.counts().reads + 1, Fault::Io);
        w.read(0, 10, 100_000).unwrap_err();
        assert_eq!(w.read(0, 10, 100_000).unwrap()[..10], w.contents[..10]);
    }

    #[test]
    fn a_file_system_that_refuses_is_asked_once() {
        let w = world(100_000);
        w.disk.refuse_direct(true);
        assert!(w.cold.read((Tasks::inline(), &w.pace), &w.segment, 0, 10, 100).unwrap().is_none());
        w.disk.refuse_direct(false);
        assert!(w.cold.read((Tasks::inline(), &w.pace), &w.segment, 0, 10, 100).unwrap().is_none());
    }
}
