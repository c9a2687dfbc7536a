//! A future log (KIP-113): a copy of a partition's log in another log directory, which takes its place when it is whole.
//!
//! ```text
//!  a/t-0           current: read and written all the while
//!  b/t-0.⟨id⟩-future   takes the current log's batches as they are, until it is level with it
//! ```
//!
//! Under the partition's lock, when little is missing: the rest is copied, everything is on the device, the future log
//! gets the name of the current one, the current one that of a deleted one, each on the device before the next. So a
//! crash leaves the current log, or both (then they end alike), never neither. Must never be read by anybody before.

use bytes::{Bytes, BytesMut};
use logrun_model::{Now, Offset};
use logrun_record::{PreparedBatch, split_batches};

use crate::error::LogError;
use crate::log::Log;
use crate::read::{LogSlices, ReadPlan};

/// How much is copied under the lock in one read.
const REST_BYTES: usize = 1 << 20;

impl Log {
    /// Plans the read of what a future log that ends at `end` lacks. What the current log no longer has is left out.
    pub fn plan_copy(&self, end: Offset, max_bytes: usize) -> Result<ReadPlan, LogError> {
        let from = end.max(self.log_start_offset);
        self.plan_read(from, self.log_end_offset, max_bytes, true)
    }

    /// Appends to a future log what was read by [`Self::plan_copy`]; returns how many bytes.
    ///
    /// # Errors
    /// [`LogError::Corrupt`] if a batch is not what its writer wrote, or of a format that Kafka 4 no longer writes.
    pub fn append_copied(&mut self, read: &LogSlices, now: Now) -> Result<usize, LogError> {
        let mut whole = BytesMut::with_capacity(read.bytes);
        read.slices.iter().for_each(|s| whole.extend_from_slice(s));
        let corrupt = |e: &dyn std::fmt::Display, dir: &std::path::Path| LogError::Corrupt {
            path: dir.to_path_buf(),
            position: 0,
            reason: format!("a batch at or after offset {} can't be copied: {e}", read.next_offset),
        };
        let mut batches = Vec::new();
        for batch in split_batches(Bytes::from(whole)) {
            let batch = batch.map_err(|e| corrupt(&e, &self.dir))?;
            batch.verify_crc().map_err(|e| corrupt(&e, &self.dir))?;
            batches.push(PreparedBatch::from_batch(&batch));
        }
        let Some(first) = batches.first() else { return Ok(0) };
        let base = first.header().base_offset;
        // The current log may start inside of its first batch.
        if self.log_start_offset == self.log_end_offset && base != self.log_end_offset {
            self.truncate_fully_and_start_at(base, now)?;
        }
        Ok(self.append(&batches, now)?.bytes)
    }

    /// Cuts a future log that an earlier process has begun back to what it has in common with `current`: a crash may
    /// have taken the end of either.
    pub fn agree_with(&mut self, current: &Self, now: Now) -> Result<(), LogError> {
        // A start whose checkpoint was lost has moved back to records that were never copied.
        if self.log_end_offset < current.log_start_offset || self.log_start_offset > current.log_start_offset {
            return self.truncate_fully_and_start_at(current.log_start_offset, now);
        }
        while let Some(latest) = self.latest_epoch() {
            let (epoch, end) = current.end_offset_for_epoch(latest);
            if !end.is_some() {
                return self.truncate_fully_and_start_at(current.log_start_offset, now);
            }
            let (_, own_end) = self.end_offset_for_epoch(epoch);
            self.truncate_to(end.min(own_end.max(self.log_start_offset)), now)?;
            if epoch == latest {
                return Ok(());
            }
        }
        self.truncate_to(current.log_end_offset, now).map(|_| ())
    }

    /// The future log takes the place of `current`, and its name `name`; the partition's lock is held. Everything is on
    /// the device when this returns. From now on `current` is only good for [`Self::delete`].
    ///
    /// # Errors
    /// `current` is as it was and goes on. So does the future log after one that [is retriable](LogError::is_retriable), and
    /// after [`LogError::UnexpectedAppendOffset`]: `current` ends with a gap that nothing stands behind yet. What is done is
    /// done again by the next call. After any other the future log is good for nothing but [`Self::delete`].
    pub fn take_place_of(&mut self, current: &Self, name: &str, now: Now) -> Result<(), LogError> {
        while self.log_end_offset < current.log_end_offset {
            let rest = current.plan_copy(self.log_end_offset, REST_BYTES)?.run()?;
            // Behind the last batch there may be a gap, at whose end the log ends.
            if self.append_copied(&rest, now)? == 0 {
                break;
            }
        }
        if self.log_end_offset != current.log_end_offset {
            if current.log_start_offset < current.log_end_offset {
                return Err(LogError::UnexpectedAppendOffset {
                    base_offset: current.log_end_offset,
                    log_end_offset: self.log_end_offset,
                });
            }
            self.truncate_fully_and_start_at(current.log_end_offset, now)?;
        }
        self.set_log_start_offset(current.log_start_offset)?;
        if self.log_start_offset != current.log_start_offset {
            let reason =
                format!("it starts at {} and is to start at {}", self.log_start_offset, current.log_start_offset);
            return Err(LogError::Corrupt { path: self.dir.clone(), position: 0, reason });
        }
        // Epochs without records, and producers whose batches retention has taken, are in no batch to copy.
        self.epochs = current.epochs.clone();
        self.epochs_dirty = true;
        self.producers = current.producers.clone();
        self.producers.update_map_end_offset(self.log_end_offset);
        // One that is there may know less.
        self.snapshots.remove(&self.log_end_offset);
        self.take_snapshot()?;
        self.flush(now)?;
        self.rename_dir(name)
    }
}
