//! Appended batches on their way to a segment's file, and the write that takes them there: whole blocks past the page
//! cache where they are many, the ragged ends into it.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use logrun_io::DIRECT_ALIGN_BYTES;
use logrun_model::Offset;

use crate::direct::{blocks, clipped};
use crate::error::{IoContext, LogError};
use crate::home::Home;
use crate::segment::SegmentShared;
use crate::segment_file::SegmentFile;
use crate::tail::Piece;

/// The most that is written at once.
const FLUSH_BYTES_MAX: usize = 4 << 20;
/// From this size on a write past the page cache costs less than one into it (measured: they meet at 160 KiB).
const DIRECT_BYTES_MIN: u64 = 256 << 10;
/// And where much is written, so that the page cache has to look for fresh pages.
const HEAVY_DIRECT_BYTES_MIN: u64 = 64 << 10;

/// Appended batches on their way to a segment's file.
#[derive(Debug)]
pub(crate) struct Unwritten {
    pub shared: Arc<SegmentShared>,
    /// They follow each other in the file.
    pub pieces: Vec<Piece>,
    /// Where appends end, in the file and in the log.
    pub ends: VecDeque<(u64, Offset)>,
    /// The journal's file that has it.
    pub journal_sequence: Option<u64>,
}

impl Unwritten {
    pub fn position(&self) -> u64 {
        self.pieces.first().map_or(0, |p| p.position)
    }

    pub fn end_position(&self) -> u64 {
        self.pieces.last().map_or(0, Piece::end_position)
    }

    /// Where the last append of it ends in the log.
    pub fn end_offset(&self) -> Option<Offset> {
        self.ends.back().map(|(_, offset)| *offset)
    }

    pub fn bytes(&self) -> usize {
        (self.end_position() - self.position()) as usize
    }
}

/// Takes the next row of one segment off the queue, and says whether it must be written to its end: if `all` must, or
/// another segment follows.
pub(crate) fn take_group(queue: &mut VecDeque<Unwritten>, all: bool) -> (Vec<Unwritten>, bool) {
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

/// Writes a row of entries of one segment: to the end if `whole`, else whole blocks only. Gives the place reached.
pub(crate) fn write(home: &Home, batch: &[Unwritten], whole: bool) -> Result<u64, LogError> {
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
    // The pages have it now, and may be on their way to the device.
    let through_the_cache = |from: u64| {
        buffered(from, end)?;
        file.wrote_buffered(start, home.io.clock.now());
        Ok(end)
    };
    let writing = home.pace.append(end - start);
    let written = (|| {
        let direct_bytes_min = if home.load.is_heavy() { HEAVY_DIRECT_BYTES_MIN } else { DIRECT_BYTES_MIN };
        if to.saturating_sub(from) < direct_bytes_min || home.direct_refused.load(Ordering::Relaxed) {
            return through_the_cache(start);
        }
        buffered(start, from)?;
        if !write_direct(home, file, &pieces, from, to)? {
            return through_the_cache(from);
        }
        // The ragged ends alone are no reason to look there.
        if whole {
            buffered(to, end)?;
        }
        Ok(if whole { end } else { to })
    })();
    drop(writing);
    written.during("write", &file.path())
}

/// Whether the file system can do it.
fn write_direct(home: &Home, file: &SegmentFile, pieces: &[Piece], from: u64, to: u64) -> io::Result<bool> {
    let refused = || {
        if !home.direct_refused.swap(true, Ordering::Relaxed) {
            tracing::info!(path = %file.path().display(), "the file system can't write past the page cache; writing through it");
        }
        Ok(false)
    };
    let Some(direct) = file.direct()? else { return refused() };
    let blocks = blocks(pieces, from, to, &home.chunks)?;
    match direct.write_all_at(from, &blocks.slices()) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::InvalidInput => refused(),
        Err(e) => Err(e),
    }
}
