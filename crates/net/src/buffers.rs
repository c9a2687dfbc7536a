//! Buffers for large frames, used again and again.
//!
//! Fresh memory costs more than the bytes that are received into it: the system clears each page first. A frame's
//! buffer comes back by itself when the last slice of it is dropped, wherever that is.

use std::sync::{Arc, Mutex};

use bytes::Bytes;

/// The smallest buffer that is kept.
pub const BUFFER_BYTES_MIN: usize = 64 << 10;
/// The largest.
const BUFFER_BYTES_MAX: usize = 4 << 20;
/// Free buffers are kept up to this many bytes in all.
const FREE_BYTES_MAX: usize = 16 << 20;

/// The buffers of one process. Clones are the same buffers.
#[derive(Clone, Debug, Default)]
pub struct Buffers(Arc<Mutex<Free>>);

#[derive(Debug, Default)]
struct Free {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

/// A buffer on loan.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
    home: Buffers,
}

impl Buffers {
    /// An empty buffer with room for `capacity` bytes at least.
    pub fn take(&self, capacity: usize) -> Buffer {
        let mut free = self.0.lock().expect("no panic while locked");
        // The best fit of a handful.
        let fits = free.buffers.iter().enumerate().filter(|(_, b)| b.capacity() >= capacity);
        let bytes = match fits.min_by_key(|(_, b)| b.capacity()).map(|(i, _)| i) {
            Some(i) => {
                let buffer = free.buffers.swap_remove(i);
                free.bytes -= buffer.capacity();
                buffer
            }
            None => {
                drop(free);
                // In sizes that other frames will fit into as well.
                Vec::with_capacity(
                    capacity.max(BUFFER_BYTES_MIN).next_power_of_two().min(BUFFER_BYTES_MAX.max(capacity)),
                )
            }
        };
        Buffer { bytes, home: self.clone() }
    }

    fn give_back(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let capacity = buffer.capacity();
        let mut free = self.0.lock().expect("no panic while locked");
        if (BUFFER_BYTES_MIN..=BUFFER_BYTES_MAX).contains(&capacity) && free.bytes + capacity <= FREE_BYTES_MAX {
            free.bytes += capacity;
            free.buffers.push(buffer);
        }
    }
}

impl Buffer {
    pub fn get(&self) -> &Vec<u8> {
        &self.bytes
    }

    pub fn get_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The contents; the buffer goes home when all slices of them are gone.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
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
        a.get_mut().extend_from_slice(b"abc");
        let address = a.get().as_ptr();
        let slice = a.freeze().slice(1..2);
        assert_ne!(buffers.take(100_000).get().as_ptr(), address, "still in use");
        assert_eq!(&slice[..], b"b");
        drop(slice);
        let again = buffers.take(120_000);
        assert!(again.get().is_empty() && again.get().capacity() >= 120_000);
    }

    #[test]
    fn what_is_free_is_bounded() {
        let buffers = Buffers::default();
        let all: Vec<_> = (0..100).map(|_| buffers.take(1 << 20)).collect();
        drop(all);
        assert!(buffers.0.lock().unwrap().bytes <= FREE_BYTES_MAX);
        drop(buffers.take(100 << 20));
        assert!(buffers.0.lock().unwrap().bytes <= FREE_BYTES_MAX);
    }
}
