//! Laying out a write past the page cache: whole blocks of the file, taken from where they are in memory.
//!
//! A row of pieces goes through several chunks. Within a chunk blocks of the file are blocks of memory; the one block
//! that lies across two chunks is put together in a chunk of its own.

use std::io;

use logrun_io::{Chunk, ChunkWriter, Chunks, DIRECT_ALIGN_BYTES};

use crate::tail::Piece;

/// Parts of chunks, each aligned in memory and a multiple of a block long, that follow each other in the file.
#[derive(Debug, Default)]
pub(crate) struct Blocks(Vec<(Chunk, usize, usize)>);

impl Blocks {
    pub fn slices(&self) -> Vec<io::IoSlice<'_>> {
        self.0.iter().map(|(chunk, start, end)| io::IoSlice::new(chunk.bytes(*start..*end))).collect()
    }

    fn push(&mut self, chunk: &Chunk, start: usize, end: usize) {
        match self.0.last_mut() {
            Some((last, _, last_end)) if last.is(chunk) && *last_end == start => *last_end = end,
            _ => self.0.push((chunk.clone(), start, end)),
        }
    }
}

/// The part of `pieces` from the position `from` to `to`, both at the beginning of a block and within the pieces.
pub(crate) fn blocks(pieces: &[Piece], from: u64, to: u64, chunks: &Chunks) -> io::Result<Blocks> {
    let mut out = Blocks::default();
    let mut seams: Option<ChunkWriter> = None;
    // The beginning of a block whose rest is in the next piece.
    let mut open: Vec<u8> = Vec::new();
    for piece in clipped(pieces, from, to) {
        let (mut start, end) = (piece.start, piece.end);
        if !open.is_empty() {
            let more = (DIRECT_ALIGN_BYTES - open.len()).min(end - start);
            open.extend_from_slice(piece.chunk.bytes(start..start + more));
            start += more;
            if open.len() < DIRECT_ALIGN_BYTES {
                continue;
            }
            let seam = match &mut seams {
                Some(seam) => seam,
                None => seams.insert(chunks.take(pieces.len() * DIRECT_ALIGN_BYTES)?),
            };
            let at = seam.filled();
            seam.append(&open);
            out.push(&seam.chunk(), at, at + DIRECT_ALIGN_BYTES);
            open.clear();
        }
        let whole = (end - start) / DIRECT_ALIGN_BYTES * DIRECT_ALIGN_BYTES;
        if whole > 0 {
            out.push(&piece.chunk, start, start + whole);
        }
        open.extend_from_slice(piece.chunk.bytes(start + whole..end));
    }
    debug_assert!(open.is_empty(), "`to` is the end of a block");
    Ok(out)
}

/// The pieces' parts between the positions `from` and `to`.
pub(crate) fn clipped(pieces: &[Piece], from: u64, to: u64) -> impl Iterator<Item = Piece> {
    pieces.iter().filter(move |p| p.position < to && p.end_position() > from).map(move |p| {
        let head = from.saturating_sub(p.position);
        let tail = p.end_position().saturating_sub(to);
        Piece {
            chunk: p.chunk.clone(),
            start: p.start + head as usize,
            end: p.end - tail as usize,
            position: p.position + head,
        }
    })
}

#[cfg(test)]
mod tests {
    use logrun_io::SMALL_CHUNK_BYTES;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn blocks_are_aligned_and_hold_what_the_pieces_hold(
            sizes in proptest::collection::vec(1usize..20_000, 1..30),
            start in 0u64..10_000,
        ) {
            let chunks = Chunks::default();
            let (mut pieces, mut position, mut file) = (Vec::new(), start, vec![0; start as usize]);
            let mut writer: Option<ChunkWriter> = None;
            for (i, size) in sizes.iter().enumerate() {
                if writer.as_ref().is_none_or(|w| w.capacity() - w.filled() < *size) {
                    let phase = (position % DIRECT_ALIGN_BYTES as u64) as usize;
                    let mut w = chunks.take((size + phase).max(SMALL_CHUNK_BYTES)).unwrap();
                    w.skip_to(phase);
                    writer = Some(w);
                }
                let w = writer.as_mut().unwrap();
                let at = w.filled();
                let bytes: Vec<u8> = (0..*size).map(|n| (n * 7 + i) as u8).collect();
                w.append(&bytes);
                pieces.push(Piece { chunk: w.chunk(), start: at, end: at + size, position });
                position += *size as u64;
                file.extend(bytes);
            }
            let block = DIRECT_ALIGN_BYTES as u64;
            let (from, to) = (start.next_multiple_of(block), position / block * block);
            if from < to {
                let blocks = blocks(&pieces, from, to, &chunks).unwrap();
                let slices = blocks.slices();
                for s in &slices {
                    prop_assert!(s.as_ptr().addr().is_multiple_of(DIRECT_ALIGN_BYTES) && s.len().is_multiple_of(DIRECT_ALIGN_BYTES));
                }
                let joined: Vec<u8> = slices.iter().flat_map(|s| s.to_vec()).collect();
                prop_assert!(joined == file[from as usize..to as usize]);
            }
        }
    }
}
