//! A partition's part in a move between log directories (KIP-113): what a future log has to copy, and the moment in
//! which it becomes the partition's log.

use std::sync::Arc;

use logrun_log::{Log, LogError, LogSlices, Removals};
use logrun_model::{Now, Offset};

use super::partition::Partition;
use super::promises::Promises;
use crate::directories::Directory;

/// A future log that could not take the place of the current one, and why, which says whether it may try again.
#[derive(Debug)]
pub struct NotReplaced {
    pub future: Log,
    pub error: LogError,
}

impl Partition {
    /// Reads what a future log that ends at `end` lacks, and says where the current log ends. Waits for the disk.
    pub fn read_for_future(&self, end: Offset, max_bytes: usize) -> Result<(LogSlices, Offset), LogError> {
        let (plan, log_end_offset) = {
            let state = self.state.lock();
            (state.log.plan_copy(end, max_bytes)?, state.log.log_end_offset())
        };
        Ok((plan.run()?, log_end_offset))
    }

    /// The offset behind the last record, committed or not.
    pub fn log_end_offset(&self) -> Offset {
        self.state.lock().log.log_end_offset()
    }

    /// Cuts a future log, begun by an earlier process, back to what it has in common with the current one.
    pub fn cut_future(&self, future: &mut Log, now: Now) -> Result<(), LogError> {
        future.agree_with(&self.state.lock().log, now)
    }

    /// Puts `future`, which lies in `directory` and lacks little, in the place of the current log, whose files are then
    /// to be removed; they carry `old_name`. Waits for the disk with the partition's lock held.
    pub fn replace_log(
        &self,
        now: Now,
        mut future: Log,
        directory: Arc<Directory>,
        old_name: &str,
    ) -> Result<Option<Removals>, Box<NotReplaced>> {
        let mut state = self.state.lock();
        if let Err(error) = future.take_place_of(&state.log, &self.name.to_string(), now) {
            return Err(Box::new(NotReplaced { future, error }));
        }
        let mut old = std::mem::replace(&mut state.log, future);
        let old_directory = std::mem::replace(&mut *self.directory.write(), directory);
        let high_watermark = state.replica.fetch_offsets().high_watermark;
        state.log.producers_mut().on_high_watermark_updated(high_watermark);
        // What was on its way to the files or the device in the old log is on the device in the new one, and whoever waited
        // for the old one has nothing to say of the new one.
        state.log_generation += 1;
        state.promises = Promises::new(state.log.log_end_offset());
        state.durable_moved(now, self);
        // From here on the old log is a leftover, whatever happens to it; a start finds the better of the two.
        Ok(old.delete(old_name).inspect_err(|e| old_directory.saw(e)).ok())
    }
}
