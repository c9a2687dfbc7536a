//! Buffers for large reads from sockets and disks, used again and again.
//!
//! Fresh memory costs more than the bytes that are read into it: the system clears each page first. A buffer comes
//! back by itself when the last slice of what it holds is dropped, wherever that is.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

/// The smallest buffer that is kept; smaller ones are better taken from the allocator.
pub const BUFFER_BYTES_MIN: usize = 64 << 10;
/// The largest.
const BUFFER_BYTES_MAX: usize = 4 << 20;
/// The sizes of larger buffers are multiples of this.
const BUFFER_BYTES_STEP: usize = 256 << 10;
/// Free buffers are kept up to this many bytes in all.
const FREE_BYTES_MAX: usize = 16 << 20;

/// The buffers of one process. Clones are the same buffers.
#[derive(Clone, Debug, Default)]
pub struct Buffers(Arc<Mutex<Free>>);

#[derive(Debug, Default)]
struct Free {
    /// The one that came home last is at the back.
    buffers: VecDeque<Vec<u8>>,
    bytes: usize,
}

/// A buffer on loan: the first part is filled, the rest is room.
#[derive(Debug)]
pub struct Buffer {
    /// All of it is initialised, so that it can be lent out as room; what is behind `filled` is of no meaning.
    bytes: Vec<u8>,
    filled: usize,
    home: Buffers,
}

impl Buffers {
    /// An empty buffer with room for `capacity` bytes at least.
    pub fn take(&self, capacity: usize) -> Buffer {
        let mut free = self.0.lock();
        // The best fit of a handful.
        let fits = free.buffers.iter().enumerate().filter(|(_, b)| b.len() >= capacity);
        let bytes = match fits.min_by_key(|(_, b)| b.len()).map(|(i, _)| i) {
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
        };
        Buffer { bytes, filled: 0, home: self.clone() }
    }

    fn give_back(&self, buffer: Vec<u8>) {
        if !(BUFFER_BYTES_MIN..=BUFFER_BYTES_MAX).contains(&buffer.len()) {
            return;
        }
        let mut free = self.0.lock();
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
        self.filled
    }

    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// How many bytes it holds before it has to grow.
    pub fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// At most `max` bytes of the room behind what is filled; [`Self::advance`] says how many of them were written.
    pub fn room(&mut self, max: usize) -> &mut [u8] {
        let end = self.bytes.len().min(self.filled.saturating_add(max));
        &mut self.bytes[self.filled..end]
    }

    /// The next `n` bytes of the room are filled now.
    pub fn advance(&mut self, n: usize) {
        assert!(n <= self.bytes.len() - self.filled, "no more is filled than there is room");
        self.filled += n;
    }

    /// Fills in `bytes`, growing if need be.
    pub fn put(&mut self, bytes: &[u8]) {
        self.grow((self.filled + bytes.len()).saturating_sub(self.bytes.len()));
        self.room(bytes.len()).copy_from_slice(bytes);
        self.advance(bytes.len());
    }

    /// Makes `more` bytes of room.
    pub fn grow(&mut self, more: usize) {
        self.bytes.resize(self.bytes.len() + more, 0);
    }

    /// What is filled; the buffer goes home when all slices of it are gone.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }
}

impl Drop for Buffer {
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
    }

    #[test]
    fn a_full_buffer_grows_and_keeps_what_it_has() {
        let mut a = Buffers::default().take(BUFFER_BYTES_MIN);
        a.put(&vec![1; BUFFER_BYTES_MIN]);
        a.put(b"xy");
        assert_eq!(a.len(), BUFFER_BYTES_MIN + 2);
        assert_eq!(a.freeze()[BUFFER_BYTES_MIN - 1..], [1, b'x', b'y']);
    }

    #[test]
    fn what_is_free_is_bounded() {
        let buffers = Buffers::default();
        let all: Vec<_> = (0..100).map(|_| buffers.take(1 << 20)).collect();
        drop(all);
        assert!(buffers.0.lock().bytes <= FREE_BYTES_MAX);
        drop(buffers.take(100 << 20));
        assert!(buffers.0.lock().bytes <= FREE_BYTES_MAX);
    }
}
