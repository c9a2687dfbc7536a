//! Memory for record batches: chunks that are only appended to, whose filled part never changes while anybody looks.
//!
//! A batch is copied into its partition's chunk once. There it is the write buffer (aligned, so that it can go past
//! the page cache) and what readers are sent. Chunks come in three sizes, carved out of regions that are mapped
//! from the system and given back to it: thousands of slow partitions don't pin megabytes each.
//!
//! All of this crate's `unsafe` is here. Why it is sound:
//! - a [`Region`] owns its mapping: zeroed by the system, so initialised, and unmapped when the last block is gone;
//! - a block is lent to one [`Inner`] at a time, by the pool's bitmap;
//! - the only writer of a chunk's memory is its one [`ChunkWriter`] (not `Clone`), and only at and behind `filled`;
//! - shared slices are only made of what lies before `filled`, read with `Acquire` after the writer's `Release`:
//!   no reference ever covers a byte that is still to be written.
#![allow(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use rustix::mm::{Advice, MapFlags, ProtFlags};

/// What the kernel maps as one huge page where it may; the size of a large chunk.
pub const LARGE_CHUNK_BYTES: usize = 2 << 20;
/// The sizes that a region is carved into.
const BLOCK_BYTES: [usize; 2] = [16 << 10, 128 << 10];
/// The smallest chunk.
pub const SMALL_CHUNK_BYTES: usize = BLOCK_BYTES[0];
/// Chunks begin at multiples of this, the unit of writes past the page cache.
pub const CHUNK_ALIGN_BYTES: usize = 4096;
/// How many regions are kept for the next user instead of being given back.
const FREE_REGIONS_MAX: usize = 128;
/// Beyond so many the system may take their memory if it's short of it, and only then: to touch fresh memory again
/// costs ten times the copy into it.
const FREE_REGIONS_FIRM: usize = 32;

/// A mapping of the system's memory.
#[derive(Debug)]
struct Region {
    start: NonNull<u8>,
    bytes: usize,
    /// What the kernel was told last: 0 for nothing, 1 for small pages, 2 for huge ones.
    told: AtomicU8,
}

// SAFETY: the mapping is plain memory; who may touch which part of it is ruled by the blocks (see above).
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// Maps `bytes`, a multiple of [`LARGE_CHUNK_BYTES`], aligned to it.
    fn map(bytes: usize) -> io::Result<Self> {
        let wide = bytes.checked_add(LARGE_CHUNK_BYTES).ok_or(io::ErrorKind::OutOfMemory)?;
        // SAFETY: an anonymous mapping at an address of the kernel's choice touches nothing that exists; the
        // parts unmapped are of that mapping and nobody knows their addresses.
        unsafe {
            let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
            let mapped =
                rustix::mm::mmap_anonymous(std::ptr::null_mut(), wide, ProtFlags::READ | ProtFlags::WRITE, flags)?;
            let before = mapped.align_offset(LARGE_CHUNK_BYTES);
            let start = mapped.cast::<u8>().add(before);
            if before > 0 {
                rustix::mm::munmap(mapped, before)?;
            }
            rustix::mm::munmap(start.add(bytes).cast(), LARGE_CHUNK_BYTES - before)?;
            let start = NonNull::new(start).ok_or(io::ErrorKind::OutOfMemory)?;
            Ok(Self { start, bytes, told: AtomicU8::new(0) })
        }
    }

    /// Whether the kernel should back it by huge pages. A wish: that it can't be granted changes nothing.
    fn advise_huge(&self, huge: bool) {
        let tell = 1 + u8::from(huge);
        if self.told.swap(tell, Ordering::Relaxed) == tell {
            return;
        }
        let advice = if huge { Advice::LinuxHugepage } else { Advice::LinuxNoHugepage };
        // SAFETY: the range is a mapping of ours, and this advice changes no contents.
        let _ = unsafe { rustix::mm::madvise(self.start.as_ptr().cast(), self.bytes, advice) };
    }

    /// Lets the system have the memory when it needs it. What is in it is of no meaning from now on.
    fn offer(&self) {
        // SAFETY: the range is a mapping of ours of which no block is lent; it may read as zeros from now on.
        let _ = unsafe { rustix::mm::madvise(self.start.as_ptr().cast(), self.bytes, Advice::LinuxFree) };
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and blocks hold the region by reference count: none is left. It can only
        // fail for arguments that are no mapping.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

/// A part of a region, lent out.
#[derive(Debug)]
struct Block {
    region: Arc<Region>,
    at: usize,
    bytes: usize,
    home: Chunks,
}

impl Drop for Block {
    fn drop(&mut self) {
        self.home.give_back(&self.region, self.at, self.bytes);
    }
}

/// The chunks of one process. Clones are the same pool.
#[derive(Clone, Debug, Default)]
pub struct Chunks(Arc<Mutex<Pool>>);

#[derive(Debug, Default)]
struct Pool {
    carved: [Carved; BLOCK_BYTES.len()],
    free: Vec<Arc<Region>>,
    lent_bytes: usize,
}

/// The regions that are carved into blocks of one size.
#[derive(Debug, Default)]
struct Carved {
    /// By address: the region, and a bit for each block that is free.
    regions: BTreeMap<usize, (Arc<Region>, u128)>,
    /// The addresses of those that have a free block.
    open: BTreeSet<usize>,
}

impl Pool {
    fn region(&mut self, bytes: usize, huge: bool) -> io::Result<Arc<Region>> {
        let kept = if bytes == LARGE_CHUNK_BYTES { self.free.pop() } else { None };
        let region = kept.map_or_else(|| Region::map(bytes).map(Arc::new), Ok)?;
        region.advise_huge(huge);
        Ok(region)
    }
}

impl Chunks {
    /// An empty chunk of at least `bytes`.
    ///
    /// # Errors
    /// The system has no more memory.
    pub fn take(&self, bytes: usize) -> io::Result<ChunkWriter> {
        let mut pool = self.0.lock();
        let pool = &mut *pool;
        let (region, at, bytes) = match BLOCK_BYTES.iter().position(|b| *b >= bytes) {
            Some(class) => {
                let block = BLOCK_BYTES[class];
                if pool.carved[class].open.is_empty() {
                    let region = pool.region(LARGE_CHUNK_BYTES, false)?;
                    let address = region.start.as_ptr().addr();
                    let blocks = LARGE_CHUNK_BYTES / block;
                    let free = if blocks == 128 { u128::MAX } else { (1 << blocks) - 1 };
                    pool.carved[class].regions.insert(address, (region, free));
                    pool.carved[class].open.insert(address);
                }
                let carved = &mut pool.carved[class];
                let address = *carved.open.first().expect("one was just made if there was none");
                let (region, free) = carved.regions.get_mut(&address).expect("an open region is a region");
                let i = free.trailing_zeros() as usize;
                *free &= !(1 << i);
                let region = region.clone();
                if *free == 0 {
                    carved.open.remove(&address);
                }
                (region, i * block, block)
            }
            None => {
                let bytes = bytes.checked_next_multiple_of(LARGE_CHUNK_BYTES).ok_or(io::ErrorKind::OutOfMemory)?;
                (pool.region(bytes, true)?, 0, bytes)
            }
        };
        pool.lent_bytes += bytes;
        let block = Block { region, at, bytes, home: self.clone() };
        Ok(ChunkWriter { inner: Arc::new(Inner { block, filled: AtomicUsize::new(0) }) })
    }

    /// How many bytes the chunks in use have.
    pub fn lent_bytes(&self) -> usize {
        self.0.lock().lent_bytes
    }

    fn give_back(&self, region: &Arc<Region>, at: usize, bytes: usize) {
        let mut unmapped = None;
        {
            let mut pool = self.0.lock();
            let pool = &mut *pool;
            pool.lent_bytes -= bytes;
            let address = region.start.as_ptr().addr();
            let mut empty = bytes == LARGE_CHUNK_BYTES;
            if let Some(class) = BLOCK_BYTES.iter().position(|b| *b == bytes) {
                let carved = &mut pool.carved[class];
                let (_, free) = carved.regions.get_mut(&address).expect("a block's region is carved");
                *free |= 1 << (at / bytes);
                carved.open.insert(address);
                if free.count_ones() as usize == LARGE_CHUNK_BYTES / bytes {
                    unmapped = carved.regions.remove(&address);
                    carved.open.remove(&address);
                    empty = true;
                }
            }
            if empty && pool.free.len() < FREE_REGIONS_MAX {
                if pool.free.len() >= FREE_REGIONS_FIRM {
                    region.offer();
                }
                pool.free.push(region.clone());
            }
        }
        // Given back to the system, if at all, outside of the lock.
        drop(unmapped);
    }
}

#[derive(Debug)]
struct Inner {
    block: Block,
    /// How much of the block has been written, once and for all.
    filled: AtomicUsize,
}

impl Inner {
    fn start(&self) -> *mut u8 {
        // SAFETY: the block lies within its region.
        unsafe { self.block.region.start.as_ptr().add(self.block.at) }
    }

    fn bytes(&self, range: Range<usize>) -> &[u8] {
        assert!(range.start <= range.end && range.end <= self.filled.load(Ordering::Acquire), "only what is filled");
        // SAFETY: the range lies within the block, is initialised, and is not written again while `self` lives,
        // because it lies before `filled`.
        unsafe { std::slice::from_raw_parts(self.start().add(range.start), range.len()) }
    }
}

/// The one that fills a chunk.
#[derive(Debug)]
pub struct ChunkWriter {
    inner: Arc<Inner>,
}

impl ChunkWriter {
    /// How much is filled.
    pub fn filled(&self) -> usize {
        self.inner.filled.load(Ordering::Relaxed)
    }

    /// How many bytes the chunk has in all.
    pub fn capacity(&self) -> usize {
        self.inner.block.bytes
    }

    /// Copies `bytes` behind what is filled. There must be room.
    pub fn append(&mut self, bytes: &[u8]) {
        let at = self.filled();
        assert!(bytes.len() <= self.capacity() - at, "a chunk has no more than its capacity");
        // SAFETY: the target lies within the block, at or behind `filled`, where no slice reaches and nobody else
        // writes; `bytes`, a reference, can't overlap it.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.inner.start().add(at), bytes.len()) };
        self.inner.filled.store(at + bytes.len(), Ordering::Release);
    }

    /// Lets `read` fill in at most `max` bytes behind what is filled; it says how many it did.
    ///
    /// # Errors
    /// Those of `read`; nothing is filled then.
    pub fn fill(&mut self, max: usize, read: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<usize> {
        let n = read(self.room(max))?;
        self.advance(n);
        Ok(n)
    }

    /// At most `max` bytes of the room behind what is filled; [`Self::advance`] says how many of them were written.
    pub fn room(&mut self, max: usize) -> &mut [u8] {
        let at = self.filled();
        let max = max.min(self.capacity() - at);
        // SAFETY: the range lies within the block, at or behind `filled`, where no slice reaches and nobody else
        // writes while `self` is borrowed; the mapping is initialised.
        unsafe { std::slice::from_raw_parts_mut(self.inner.start().add(at), max) }
    }

    /// The next `n` bytes of the room are filled now.
    pub fn advance(&mut self, n: usize) {
        let at = self.filled();
        assert!(n <= self.capacity() - at, "no more is filled than there is room");
        self.inner.filled.store(at + n, Ordering::Release);
    }

    /// What is filled.
    pub fn bytes(&self) -> &[u8] {
        self.inner.bytes(0..self.filled())
    }

    /// Leaves out what is before `at`; it holds what was there before.
    pub fn skip_to(&mut self, at: usize) {
        assert!((self.filled()..=self.capacity()).contains(&at), "forwards and within the chunk");
        self.inner.filled.store(at, Ordering::Release);
    }

    /// The chunk, for those who read.
    pub fn chunk(&self) -> Chunk {
        Chunk { inner: self.inner.clone() }
    }
}

/// A chunk's filled part. Clones are the same chunk; its memory is free when all of them and all slices are gone.
#[derive(Clone, Debug)]
pub struct Chunk {
    inner: Arc<Inner>,
}

impl Chunk {
    /// The filled bytes in `range`.
    pub fn bytes(&self, range: Range<usize>) -> &[u8] {
        self.inner.bytes(range)
    }

    /// The filled bytes in `range`, to be kept.
    pub fn slice(&self, range: Range<usize>) -> Bytes {
        // Checked here, not where the range is first looked at.
        self.inner.bytes(range.clone());
        Bytes::from_owner(Slice { inner: self.inner.clone(), range })
    }

    /// How many bytes of memory it takes.
    pub fn capacity(&self) -> usize {
        self.inner.block.bytes
    }

    /// Whether both are the same chunk.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }
}

struct Slice {
    inner: Arc<Inner>,
    range: Range<usize>,
}

impl AsRef<[u8]> for Slice {
    fn as_ref(&self) -> &[u8] {
        self.inner.bytes(self.range.clone())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn blocks_do_not_overlap_and_come_back() {
        let chunks = Chunks::default();
        let sizes = [1, SMALL_CHUNK_BYTES, 100_000, 200_000, LARGE_CHUNK_BYTES + 1];
        let mut taken = Vec::new();
        for i in 0..300 {
            let mut c = chunks.take(sizes[i % sizes.len()]).unwrap();
            assert!(c.inner.start().addr().is_multiple_of(CHUNK_ALIGN_BYTES));
            c.append(&[i as u8; 1000]);
            taken.push(c);
        }
        for (i, c) in taken.iter().enumerate() {
            assert_eq!(c.chunk().bytes(0..1000), [i as u8; 1000]);
        }
        assert!(chunks.lent_bytes() >= taken.iter().map(ChunkWriter::capacity).sum());
        let slice = taken[3].chunk().slice(10..20);
        taken.clear();
        assert_eq!(slice[..], [3; 10]);
        drop(slice);
        assert_eq!(chunks.lent_bytes(), 0);
        let pool = chunks.0.lock();
        assert!(pool.free.len() <= FREE_REGIONS_MAX && pool.carved.iter().all(|c| c.regions.is_empty()));
    }

    #[test]
    fn a_slice_reads_while_the_chunk_is_filled() {
        let mut writer = Chunks::default().take(LARGE_CHUNK_BYTES).unwrap();
        let chunk = writer.chunk();
        std::thread::scope(|s| {
            s.spawn(move || {
                for i in 0..20_000u32 {
                    writer.append(&i.to_le_bytes());
                }
            });
            let mut seen = 0;
            while seen < 20_000 {
                let filled = chunk.inner.filled.load(Ordering::Acquire) / 4;
                for (i, b) in chunk.bytes(seen * 4..filled * 4).chunks(4).enumerate() {
                    assert_eq!(b, ((seen + i) as u32).to_le_bytes());
                }
                seen = filled;
            }
        });
    }

    #[test]
    fn a_read_fills_in_what_it_says() {
        let mut c = Chunks::default().take(100).unwrap();
        c.append(b"ab");
        let n = c.fill(10, |room| {
            room[..4].copy_from_slice(b"cdef");
            assert_eq!(room.len(), 10);
            Ok(3)
        });
        assert_eq!(n.unwrap(), 3);
        c.fill(1, |_| Err(io::ErrorKind::Other.into())).unwrap_err();
        assert_eq!(c.fill(usize::MAX, |room| Ok(room.len())).unwrap(), c.capacity() - 5);
        assert_eq!(&c.chunk().bytes(0..5), b"abcde");
    }

    #[test]
    #[should_panic(expected = "only what is filled")]
    fn what_is_not_filled_can_not_be_seen() {
        let mut c = Chunks::default().take(100).unwrap();
        c.append(b"abc");
        c.chunk().slice(1..4);
    }

    proptest! {
        /// Against a safe twin: vectors.
        #[test]
        fn holds_what_was_appended(ops in proptest::collection::vec((0usize..4, 0usize..40_000, any::<u8>()), 1..60)) {
            let chunks = Chunks::default();
            let mut held: Vec<(ChunkWriter, Vec<u8>)> = Vec::new();
            for (what, n, byte) in ops {
                match what {
                    0 => held.push((chunks.take(n).unwrap(), Vec::new())),
                    1 if !held.is_empty() => { held.swap_remove(n % held.len()); }
                    _ => if let Some((c, twin)) = held.last_mut() {
                        let bytes = vec![byte; n.min(c.capacity() - c.filled())];
                        c.append(&bytes);
                        twin.extend(bytes);
                    }
                }
                for (c, twin) in &held {
                    let chunk = c.chunk();
                    prop_assert_eq!(chunk.bytes(0..twin.len()), &twin[..]);
                }
            }
            drop(held);
            prop_assert_eq!(chunks.lent_bytes(), 0);
        }
    }
}
