//! Buffers for large reads from sockets and disks, used again and again.
//!
//! Fresh memory costs more than the bytes that are read into it: the system clears each page first. A buffer comes
//! back by itself when the last slice of what it holds is dropped, wherever that is.
//!
//! As many as a busy node needs lie in huge pages. Without them the processor looks up an address for every 4 KiB, which
//! where memory is virtual twice over costs more than the copy: receiving a GB from the loopback into buffers of 128 KiB took
//! 0.15 s of CPU in huge pages, and 0.45 in small ones as soon as there were two buffers in turn.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::chunk::{ChunkWriter, Chunks, LARGE_CHUNK_BYTES};

/// The smallest buffer that is kept; smaller ones are better taken from the allocator.
pub const BUFFER_BYTES_MIN: usize = 64 << 10;
/// The largest.
const BUFFER_BYTES_MAX: usize = 4 << 20;
/// The sizes of larger buffers are multiples of this.
const BUFFER_BYTES_STEP: usize = 256 << 10;
/// Buffers in huge pages take up to this many bytes, one page each.
const HUGE_BYTES_MAX: usize = 32 << 20;
/// Free buffers of the allocator's are kept up to this many bytes in all.
const FREE_BYTES_MAX: usize = 16 << 20;

/// The buffers of one process. Clones are the same buffers.
#[derive(Clone, Debug, Default)]
pub struct Buffers(Arc<Shelves>);

#[derive(Debug, Default)]
struct Shelves {
    huge: Chunks,
    plain: Mutex<Free>,
}

#[derive(Debug, Default)]
struct Free {
    /// The one that came home last is at the back.
    buffers: VecDeque<Vec<u8>>,
    bytes: usize,
}

/// A buffer on loan: the first part is filled, the rest is room.
#[derive(Debug)]
pub struct Buffer(Memory);

#[derive(Debug)]
enum Memory {
    Huge { chunk: ChunkWriter, home: Buffers },
    Plain(Plain),
}

#[derive(Debug)]
struct Plain {
    /// All of it is initialised, so that it can be lent out as room; what is behind `filled` is of no meaning.
    bytes: Vec<u8>,
    filled: usize,
    home: Buffers,
}

impl Buffers {
    /// An empty buffer with room for `capacity` bytes at least.
    pub fn take(&self, capacity: usize) -> Buffer {
        if (BUFFER_BYTES_MIN..=LARGE_CHUNK_BYTES).contains(&capacity)
            && self.0.huge.lent_bytes() < HUGE_BYTES_MAX
            && let Ok(chunk) = self.0.huge.take(LARGE_CHUNK_BYTES)
        {
            return Buffer(Memory::Huge { chunk, home: self.clone() });
        }
        Buffer(Memory::Plain(Plain { bytes: self.plain(capacity), filled: 0, home: self.clone() }))
    }

    fn plain(&self, capacity: usize) -> Vec<u8> {
        let mut free = self.0.plain.lock();
        // The best fit of a handful, and of these the one that came home last: the processor's caches may still have it.
        let fits = free.buffers.iter().enumerate().rev().filter(|(_, b)| b.len() >= capacity);
        match fits.min_by_key(|(_, b)| b.len()).map(|(i, _)| i) {
            Some(i) => {
                let buffer = free.buffers.remove(i).unwrap_or_default();
                free.bytes -= buffer.len();
                buffer
            }
            None => {
                drop(free);
                // In sizes that others will fit into as well; the allocator gives zeroed pages without touching them.
                let step = if capacity > BUFFER_BYTES_STEP { BUFFER_BYTES_STEP } else { BUFFER_BYTES_MIN };
                vec![0; capacity.max(1).next_multiple_of(step)]
            }
        }
    }

    fn give_back(&self, buffer: Vec<u8>) {
        if !(BUFFER_BYTES_MIN..=BUFFER_BYTES_MAX).contains(&buffer.len()) {
            return;
        }
        let mut free = self.0.plain.lock();
        // The oldest ones go: their size may be one that nobody asks for any more.
        while free.bytes + buffer.len() > FREE_BYTES_MAX {
            let Some(oldest) = free.buffers.pop_front() else { break };
            free.bytes -= oldest.len();
        }
        free.bytes += buffer.len();
        free.buffers.push_back(buffer);
    }
}

impl Buffer {
    /// How many bytes are filled.
    pub fn len(&self) -> usize {
        match &self.0 {
            Memory::Huge { chunk, .. } => chunk.filled(),
            Memory::Plain(plain) => plain.filled,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes it holds before it has to grow.
    pub fn capacity(&self) -> usize {
        match &self.0 {
            Memory::Huge { chunk, .. } => chunk.capacity(),
            Memory::Plain(plain) => plain.bytes.len(),
        }
    }

    /// At most `max` bytes of the room behind what is filled; [`Self::advance`] says how many of them were written.
    pub fn room(&mut self, max: usize) -> &mut [u8] {
        match &mut self.0 {
            Memory::Huge { chunk, .. } => chunk.room(max),
            Memory::Plain(Plain { bytes, filled, .. }) => {
                let end = bytes.len().min(filled.saturating_add(max));
                &mut bytes[*filled..end]
            }
        }
    }

    /// The next `n` bytes of the room are filled now.
    pub fn advance(&mut self, n: usize) {
        match &mut self.0 {
            Memory::Huge { chunk, .. } => chunk.advance(n),
            Memory::Plain(Plain { bytes, filled, .. }) => {
                assert!(n <= bytes.len() - *filled, "no more is filled than there is room");
                *filled += n;
            }
        }
    }

    /// Fills in `bytes`, growing if need be.
    pub fn put(&mut self, bytes: &[u8]) {
        self.grow((self.len() + bytes.len()).saturating_sub(self.capacity()));
        self.room(bytes.len()).copy_from_slice(bytes);
        self.advance(bytes.len());
    }

    /// Makes `more` bytes of room.
    pub fn grow(&mut self, more: usize) {
        if more == 0 {
            return;
        }
        match &mut self.0 {
            Memory::Huge { chunk, home } => {
                let filled = chunk.filled();
                let mut bytes = Vec::with_capacity(chunk.capacity() + more);
                bytes.extend_from_slice(chunk.bytes());
                bytes.resize(chunk.capacity() + more, 0);
                self.0 = Memory::Plain(Plain { bytes, filled, home: home.clone() });
            }
            Memory::Plain(plain) => plain.bytes.resize(plain.bytes.len() + more, 0),
        }
    }

    /// What is filled; the buffer goes home when all slices of it are gone.
    pub fn freeze(self) -> Bytes {
        match self.0 {
            Memory::Huge { chunk, .. } => chunk.chunk().slice(0..chunk.filled()),
            Memory::Plain(plain) => Bytes::from_owner(plain),
        }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        match &self.0 {
            Memory::Huge { chunk, .. } => chunk.bytes(),
            Memory::Plain(plain) => plain.as_ref(),
        }
    }
}

impl AsRef<[u8]> for Plain {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        self.home.give_back(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_home_with_its_last_slice() {
        let buffers = Buffers::default();
        let mut a = buffers.take(100_000);
        a.put(b"abc");
        let address = a.as_ref().as_ptr();
        let slice = a.freeze().slice(1..2);
        assert_ne!(buffers.take(100_000).as_ref().as_ptr(), address, "still in use");
        assert_eq!(&slice[..], b"b");
        drop(slice);
        let again = buffers.take(120_000);
        assert!(again.is_empty() && again.capacity() >= 120_000);
        assert_eq!(again.as_ref().as_ptr(), address, "the warmest is taken first");
    }

    #[test]
    fn a_full_buffer_grows_and_keeps_what_it_has() {
        let buffers = Buffers::default();
        for capacity in [BUFFER_BYTES_MIN, LARGE_CHUNK_BYTES, LARGE_CHUNK_BYTES + 1] {
            let mut a = buffers.take(capacity);
            let full = a.capacity();
            a.put(&vec![1; full]);
            a.put(b"xy");
            assert_eq!(a.len(), full + 2);
            assert_eq!(a.freeze()[full - 1..], [1, b'x', b'y']);
        }
    }

    #[test]
    fn what_is_in_huge_pages_and_what_is_free_is_bounded() {
        let buffers = Buffers::default();
        let mut all: Vec<_> = (0..100).map(|_| buffers.take(1 << 20)).collect();
        assert_eq!(buffers.0.huge.lent_bytes(), HUGE_BYTES_MAX);
        for (n, buffer) in all.iter_mut().enumerate() {
            buffer.put(&[n as u8; 3]);
        }
        assert!(all.iter().enumerate().all(|(n, buffer)| buffer.as_ref() == [n as u8; 3]));
        drop(all);
        assert_eq!(buffers.0.huge.lent_bytes(), 0);
        let free = || buffers.0.plain.lock().bytes;
        assert!(free() > 0 && free() <= FREE_BYTES_MAX);
        drop(buffers.take(100 << 20));
        assert!(free() <= FREE_BYTES_MAX);
    }
}
