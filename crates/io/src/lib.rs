//! The seams: time, randomness, disk, network and tasks come from here and from nowhere else.
//!
//! [`Io::real`] talks to the operating system; [`Io::simulated`] runs everything on one thread in
//! virtual time from one seed, with a disk that fails and forgets, so that a whole node replays.
//! Both run on tokio: the simulated world is a current-thread runtime whose clock is paused.

mod buffers;
mod chunk;
mod clock;
pub mod disk;
mod memory;
mod net;
mod random;
mod tasks;

use std::sync::Arc;

pub use buffers::{BUFFER_BYTES_MIN, Buffer, Buffers};
pub use chunk::{CHUNK_ALIGN_BYTES, Chunk, ChunkWriter, Chunks, LARGE_CHUNK_BYTES, SMALL_CHUNK_BYTES};
pub use clock::Clock;
pub use disk::{DIRECT_ALIGN_BYTES, Disk, File, FileRange, OpenMode};
pub use net::{Listener, MemoryNet, Net, Stream};
pub use random::Random;
pub use tasks::{TaskHandle, Tasks};

/// All seams of one process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Io {
    pub clock: Clock,
    pub random: Random,
    pub disk: Arc<dyn Disk>,
    pub net: Net,
    pub tasks: Tasks,
    pub buffers: Buffers,
}

impl Io {
    /// The operating system's clock, entropy, files, sockets and threads.
    pub fn real() -> Self {
        Self {
            clock: Clock::real(),
            random: Random::from_entropy(),
            disk: Arc::new(disk::RealDisk::new()),
            net: Net::Tcp,
            tasks: Tasks::threaded(),
            buffers: Buffers::default(),
        }
    }

    /// How much memory this process may have: the container's limit, or the machine's memory. `None` in the simulator.
    pub fn memory_bytes(&self) -> Option<u64> {
        match self.net {
            Net::Tcp => memory::bytes(),
            Net::Memory(_) => None,
        }
    }

    /// A world of one seed: virtual time that starts at `wall_ms`, the given disk and network.
    /// Must be used inside a current-thread tokio runtime whose clock is paused.
    pub fn simulated(seed: u64, wall_ms: i64, disk: Arc<dyn Disk>, net: MemoryNet) -> Self {
        Self {
            clock: Clock::simulated(wall_ms),
            random: Random::from_seed(seed),
            disk,
            net: Net::Memory(net),
            tasks: Tasks::inline(),
            buffers: Buffers::default(),
        }
    }
}
