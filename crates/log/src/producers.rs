//! The producers' state beside the batches: updates with appends, and snapshots in files (KIP-98).
//!
//! A snapshot at an offset is written when a segment begins there, at a flush, and at a clean close. One
//! that's above the recovery point is not believed after a crash.

use std::io::{self, IoSlice};

use logrun_io::OpenMode;
use logrun_model::Offset;
use logrun_partition::{CompletedTxn, ProducerUpdate, TransactionVersion};
use logrun_record::{AppendOrigin, Limits, PreparedBatch};

use crate::error::{IoContext, LogError};
use crate::index::AbortedTxn;
use crate::log::Log;
use crate::names::{SNAPSHOT_SUFFIX, segment_path};

/// Without producers a snapshot only spares a later recovery the walk over the batches since the last one.
const BYTES_BETWEEN_EMPTY_SNAPSHOTS: u64 = 64 << 20;

impl Log {
    /// Takes batches that were appended as the leader sent them, or without a plan.
    pub(crate) fn take_into_producers(&mut self, group: &[PreparedBatch]) -> Result<(), LogError> {
        for b in group {
            let h = b.header();
            if !h.has_producer_id() {
                continue;
            }
            let completed = if h.is_control() {
                let path = self.active().shared.file.path();
                self.producers.replay(&b.to_batch(), &Limits::default()).map_err(|e| LogError::Corrupt {
                    path,
                    position: self.active().size,
                    reason: e.to_string(),
                })?
            } else {
                let mut update = ProducerUpdate::default();
                let version = TransactionVersion::default();
                // Replicated batches are never refused: whoever appends has decided.
                match self.producers.prepare(&mut update, h, None, AppendOrigin::Replication, version) {
                    Ok(_) => self.producers.update(update),
                    Err(e) => unreachable!("a replicated batch was refused: {e}"),
                }
            };
            self.note_completed(&completed)?;
        }
        Ok(())
    }

    pub(crate) fn take_producer_update(&mut self, update: ProducerUpdate) -> Result<(), LogError> {
        let completed = self.producers.update(update);
        self.note_completed(&completed)
    }

    fn note_completed(&mut self, completed: &[CompletedTxn]) -> Result<(), LogError> {
        for txn in completed {
            if let Some(aborted) = aborted(txn) {
                self.active().shared.with_txn(|index| index.append(aborted))?;
            }
        }
        Ok(())
    }

    /// Writes a snapshot at the end of what the producers' state reflects, if it says more than the last.
    pub(crate) fn take_snapshot(&mut self) -> Result<(), LogError> {
        let offset = self.producers.map_end_offset();
        if self.snapshots.contains(&offset) && !self.producers.needs_snapshot() {
            return Ok(());
        }
        let path = segment_path(&self.dir, offset, SNAPSHOT_SUFFIX);
        let file = self.env.io.disk.open(&path, OpenMode::Create).during("create", &path)?;
        file.set_len(0).during("cut", &path)?;
        file.write_all_at(0, &[IoSlice::new(&self.producers.encode_snapshot())]).during("write", &path)?;
        self.producers.snapshot_taken(offset);
        self.snapshots.insert(offset);
        self.unsynced_files.insert(path);
        self.sync.renamed_in(&self.dir);
        self.bytes_since_snapshot = 0;
        Ok(())
    }

    /// Whether a snapshot is worth its file at a flush.
    pub(crate) fn wants_snapshot(&self) -> bool {
        self.producers.needs_snapshot()
            && (!self.producers.is_empty() || self.bytes_since_snapshot > BYTES_BETWEEN_EMPTY_SNAPSHOTS)
    }

    /// Removes the snapshots that no segment begins with, except the latest.
    pub(crate) fn drop_stray_snapshots(&mut self) -> Result<(), LogError> {
        let latest = self.snapshots.last().copied();
        let stray: Vec<Offset> =
            self.snapshots.iter().copied().filter(|o| Some(*o) != latest && !self.segments.contains_key(o)).collect();
        for offset in stray {
            self.remove_snapshot(offset)?;
        }
        Ok(())
    }

    pub(crate) fn remove_snapshot(&mut self, offset: Offset) -> Result<(), LogError> {
        self.snapshots.remove(&offset);
        let path = segment_path(&self.dir, offset, SNAPSHOT_SUFFIX);
        self.unsynced_files.remove(&path);
        match self.env.io.disk.remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e).during("remove", &path),
            _ => Ok(()),
        }
    }
}

/// What the transaction index keeps of a transaction that ended.
pub(crate) fn aborted(txn: &CompletedTxn) -> Option<AbortedTxn> {
    txn.is_aborted.then_some(AbortedTxn {
        producer_id: txn.producer_id,
        first_offset: txn.first_offset,
        last_offset: txn.last_offset,
        last_stable_offset: txn.last_stable_offset,
    })
}
