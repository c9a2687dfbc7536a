//! [`Room`]: how much clients may still write to one file system before its reserve begins
//! (`logrun.disk.reserve.bytes`).
//!
//! Kafka takes a directory offline when its disk is full. Here a full disk is an ordinary state: what clients produce is
//! refused with KAFKA_STORAGE_ERROR, at which the clients we know of ask for metadata and try again without counting the
//! attempt (librdkafka) or until `delivery.timeout.ms` is over (Java, franz-go); what the node itself needs (committed
//! offsets, metadata, checkpoints, index files) may use the reserve, so that deleting, which makes the room, works.
//!
//! | state | sees | becomes |
//! |---|---|---|
//! | open | an append takes the last of what is left, or the system says that the disk is full | in doubt |
//! | in doubt | more free than the reserve and what did not fit | open |
//! | in doubt, open | no more free than that | short, said once |
//! | short | clearly more free than the reserve | open, said once |
//!
//! Between two looks at the file system appends are counted against what was left, so that even a burst ends at the
//! reserve. Must never look at the file system on an append.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use logrun_io::disk::Space;
use logrun_model::{Monotonic, Now};
use logrun_wire::ErrorCode;
use parking_lot::Mutex;
use tracing::{error, info};

use crate::errors::Failure;

/// After the system has refused a write the disk counts as full for this long, whatever is said to be free on it: a
/// quota, say, is not seen there.
const REFUSED_MS: i64 = 5_000;
/// So much more than the reserve has to be free before producers are served again, at most and at least.
const MARGIN_BYTES_MAX: u64 = 64 << 20;
const MARGIN_BYTES_MIN: u64 = 1 << 20;

/// The room of one file system. All directories on it share it.
#[derive(Debug)]
pub struct Room {
    /// Where the file system is looked at.
    path: PathBuf,
    /// What clients may still append before somebody has to look.
    left: AtomicI64,
    refusing: AtomicBool,
    /// What did not fit since the last look.
    wanted: AtomicI64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// It was said that the disk is full.
    short: bool,
    /// The system refused a write for want of room.
    refused: bool,
    /// Until when that counts.
    refused_until: Option<Monotonic>,
}

/// The reserve of a file system of `total` bytes by `logrun.disk.reserve.bytes`.
pub fn reserve_bytes(setting: i64, total: u64) -> u64 {
    match u64::try_from(setting) {
        Ok(bytes) => bytes,
        // Enough for committed offsets, a snapshot of the metadata and all checkpoints for as long as people need to
        // see the message, and no more of a large disk than anybody would miss.
        Err(_) => (total / 100).clamp(16 << 20, 1 << 30).min(total / 10),
    }
}

impl Room {
    /// A room that is open until somebody has looked.
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_path_buf(),
            left: AtomicI64::new(i64::MAX),
            refusing: AtomicBool::new(false),
            wanted: AtomicI64::new(0),
            state: Mutex::default(),
        }
    }

    /// A directory on the file system.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes room for what a client appends. `Err`: refuse it, and have somebody look.
    pub fn take(&self, bytes: usize) -> Result<(), Failure> {
        if self.refusing.load(Ordering::Relaxed) {
            return Err(self.refusal());
        }
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        if self.left.fetch_sub(bytes, Ordering::Relaxed) < bytes {
            self.wanted.fetch_max(bytes, Ordering::Relaxed);
            self.refusing.store(true, Ordering::Relaxed);
            return Err(self.refusal());
        }
        Ok(())
    }

    fn refusal(&self) -> Failure {
        let message = format!("the disk of {} is full up to its reserve; try again later", self.path.display());
        Failure::with(ErrorCode::KafkaStorageError, message)
    }

    /// The system has refused a write for want of room.
    pub fn refused(&self) {
        self.refusing.store(true, Ordering::Relaxed);
        self.state.lock().refused = true;
    }

    /// Whether clients are being refused.
    pub fn is_refusing(&self) -> bool {
        self.refusing.load(Ordering::Relaxed)
    }

    /// Takes note of what is free now.
    pub fn looked(&self, now: Now, space: Space, setting: i64) {
        let reserve = reserve_bytes(setting, space.total);
        let mut state = self.state.lock();
        if std::mem::take(&mut state.refused) {
            state.refused_until = Some(now.monotonic.plus_ms(REFUSED_MS));
        }
        let refused = state.refused_until.is_some_and(|until| now.monotonic < until);
        let wanted = u64::try_from(self.wanted.swap(0, Ordering::Relaxed)).unwrap_or(0);
        let margin = if state.short { (reserve / 8).clamp(MARGIN_BYTES_MIN, MARGIN_BYTES_MAX) } else { 0 };
        // A file system without a size says that nothing is available.
        let free = if space.total == 0 { u64::MAX } else { space.available };
        let short = refused || free <= reserve.saturating_add(margin.max(wanted));
        let left = free.saturating_sub(reserve);
        self.left.store(i64::try_from(left).unwrap_or(i64::MAX), Ordering::Relaxed);
        self.refusing.store(short, Ordering::Relaxed);
        if short == state.short {
            return;
        }
        state.short = short;
        let (path, total, available) = (self.path.display(), space.total, space.available);
        if short {
            error!(
                total,
                available,
                reserve,
                "the disk of {path} is full: producers are refused, to try again, until there is room; reading, deleting and committing offsets go on"
            );
        } else {
            state.refused_until = None;
            info!(total, available, reserve, "the disk of {path} has room again: producers are served");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use logrun_model::TimestampMs;

    const GIB: u64 = 1 << 30;
    const MIB: u64 = 1 << 20;

    fn at(ms: i64) -> Now {
        Now { monotonic: Monotonic::default().plus_ms(ms), wall: TimestampMs(ms) }
    }

    fn space(available: u64) -> Space {
        Space { file_system: 1, total: 10 * GIB, available }
    }

    #[test]
    fn the_reserve_fits_its_disk() {
        assert_eq!(reserve_bytes(-1, 100 * GIB), GIB);
        assert_eq!(reserve_bytes(-1, 1000 * GIB), GIB);
        assert_eq!(reserve_bytes(-1, 10 * GIB), 10 * GIB / 100);
        assert_eq!(reserve_bytes(-1, GIB), 16 * MIB);
        assert_eq!(reserve_bytes(-1, 64 * MIB), 64 * MIB / 10);
        assert_eq!((reserve_bytes(0, GIB), reserve_bytes(7, GIB)), (0, 7));
    }

    #[test]
    fn a_burst_ends_at_the_reserve_and_room_comes_back() {
        let room = Room::new(Path::new("/d"));
        room.take(1 << 30).unwrap();
        room.looked(at(0), space(GIB + 100), GIB as i64);
        room.take(60).unwrap();
        let refused = room.take(60).unwrap_err();
        assert_eq!(refused.code, ErrorCode::KafkaStorageError);
        // In doubt nobody gets anything, however small.
        assert!(room.take(1).is_err() && room.is_refusing());
        // The doubt was unfounded.
        room.looked(at(1), space(GIB + 100), GIB as i64);
        room.take(40).unwrap();
        // What does not fit into the little that is left is as good as a full disk, from which everything is removed.
        assert!(room.take(100).is_err());
        room.looked(at(1), space(GIB + 60), GIB as i64);
        assert!(room.is_refusing());
        room.looked(at(2), space(GIB), GIB as i64);
        assert!(room.take(1).is_err());
        // A little more than the reserve is not room yet, lest it begins anew at once.
        room.looked(at(3), space(GIB + MIB), GIB as i64);
        assert!(room.take(1).is_err());
        room.looked(at(4), space(GIB + 65 * MIB), GIB as i64);
        room.take(64 << 20).unwrap();
    }

    #[test]
    fn a_file_system_without_a_size_is_full_only_when_it_refuses() {
        let room = Room::new(Path::new("/ram"));
        let unsized_space = Space { file_system: 1, total: 0, available: 0 };
        room.looked(at(0), unsized_space, -1);
        assert!(!room.is_refusing());
        room.refused();
        room.looked(at(1), unsized_space, -1);
        assert!(room.is_refusing());
    }

    #[test]
    fn what_the_system_refused_counts_for_a_while() {
        let room = Room::new(Path::new("/d"));
        room.refused();
        assert!(room.take(1).is_err());
        room.looked(at(0), space(5 * GIB), 0);
        assert!(room.take(1).is_err());
        room.looked(at(REFUSED_MS), space(5 * GIB), 0);
        room.take(1).unwrap();
    }
}
