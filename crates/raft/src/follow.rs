//! What an observer does with its copy of the metadata log: it takes the leader's batches as they are, cuts what the
//! leader doesn't have, takes its snapshots, and replays what is committed (KIP-595, KIP-630).
//!
//! A broker is an observer: it has no vote, so that what it has written need not be on the device before it asks for
//! more. Must never replay what is not known to be committed, nor cut below it.

use std::path::Path;

use bytes::Bytes;
use logrun_log::{Durability, LogEnv, OpenState};
use logrun_model::{LeaderEpoch, MetadataOffset, NodeId, Now, Offset, RaftEpoch, TimestampMs, Uuid};
use logrun_record::{PreparedBatch, split_batches};

use crate::metadata_log::{CommittedBatch, MetadataLog, RaftConfig};
use crate::quorum_state::QuorumState;
use crate::snapshot::{self, SnapshotId};
use crate::{METADATA_DIR, RaftError};

/// How far an observer has come: what it tells the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub end_offset: Offset,
    /// Of the last batch; 0 before the first.
    pub last_epoch: RaftEpoch,
    pub high_watermark: Offset,
}

impl MetadataLog {
    /// Opens the copy in `log_dir`, which is made if it is not there, and hands its latest snapshot to `replay`; what
    /// follows is replayed by [`Self::commit_to`] once the leader has said how far it is committed.
    pub fn open_observer(
        env: &LogEnv,
        log_dir: &Path,
        config: RaftConfig,
        state: OpenState,
        now: Now,
        mut replay: impl FnMut(CommittedBatch) -> Result<(), RaftError>,
    ) -> Result<Self, RaftError> {
        let dir = log_dir.join(METADATA_DIR);
        let failed = |source| RaftError::Io { action: "create", path: dir.clone(), source };
        let disk = &*env.io.disk;
        disk.create_dir_all(&dir).map_err(failed)?;
        disk.sync_dir(log_dir).map_err(failed)?;
        let this = Self::open_files(env, log_dir, config, state, now, Durability::Write, &mut replay)?;
        let node = this.config.voter.id;
        if this.known.voters.iter().any(|v| v.id == node) {
            let voters = this.known.voters.iter().map(|v| v.id.get()).collect();
            return Err(RaftError::IsVoter { voters, node: node.get() });
        }
        Ok(this)
    }

    /// How far this copy has come.
    pub fn position(&self) -> Position {
        Position {
            end_offset: self.log.log_end_offset(),
            last_epoch: self.last_epoch(),
            high_watermark: self.high_watermark,
        }
    }

    /// The epoch of the last batch, or of the snapshot that stands for it.
    pub(crate) fn last_epoch(&self) -> RaftEpoch {
        let of_snapshot =
            || self.snapshots.last().filter(|s| s.end_offset == self.log.log_end_offset()).map(|s| s.epoch);
        self.log.latest_epoch().map(|e| RaftEpoch(e.get())).or_else(of_snapshot).unwrap_or(RaftEpoch(0))
    }

    /// Remembers which epoch was seen and who leads it; on the device when this returns.
    pub fn saw_leader(&mut self, epoch: RaftEpoch, leader: NodeId) -> Result<(), RaftError> {
        self.state = QuorumState {
            leader_epoch: epoch,
            leader_id: leader,
            voted_id: NodeId::NONE,
            voted_directory_id: Uuid::ZERO,
        };
        self.state.write(&*self.io.disk, &self.dir)
    }

    /// Appends batches as the leader has them.
    ///
    /// # Errors
    /// If they aren't whole and sound, or don't follow the log's end.
    pub fn append_fetched(&mut self, records: Bytes, now: Now) -> Result<(), RaftError> {
        let end = self.log.log_end_offset();
        let mut batches = Vec::new();
        for batch in split_batches(records) {
            let batch = batch.map_err(|e| RaftError::record(end.get(), e))?;
            batch.verify_crc().map_err(|e| RaftError::record(batch.header.base_offset.get(), e))?;
            batches.push(PreparedBatch::from_batch(&batch));
        }
        self.log.append(&batches, now)?;
        Ok(())
    }

    /// Cuts the log to what it has in common with the leader's, whose `epoch`, the latest not above ours, ends at
    /// `end_offset` (Kafka's `truncateToEndOffset`).
    ///
    /// # Errors
    /// [`RaftError::CommittedGone`] if that would take what is committed: the leader is of another history.
    pub fn cut_to(&mut self, epoch: RaftEpoch, end_offset: Offset, now: Now) -> Result<(), RaftError> {
        let own = if epoch.get() == 0 { (LeaderEpoch(0), self.log.log_end_offset()) } else { self.end_of_epoch(epoch) };
        let at = if own.0.get() == epoch.get() { own.1.min(end_offset) } else { own.1 };
        if at < self.applied {
            return Err(RaftError::CommittedGone { offset: at.get(), committed: self.applied.get() });
        }
        self.log.truncate_to(at, now)?;
        Ok(())
    }

    /// Writes a piece of the leader's snapshot `id`, from `position` on.
    pub fn write_snapshot_piece(&self, id: SnapshotId, position: u64, bytes: &[u8]) -> Result<(), RaftError> {
        snapshot::write_piece(&*self.io.disk, &self.dir, id, position, bytes)
    }

    /// The snapshot whose pieces were written stands for everything below its end from now on: what the log holds goes.
    /// Gives the snapshot's records, which stand for all metadata, as one batch.
    pub fn install_snapshot(&mut self, id: SnapshotId, now: Now) -> Result<CommittedBatch, RaftError> {
        let (records, voters) = snapshot::install(&*self.io.disk, &self.dir, id)?;
        self.log.truncate_fully_and_start_at(id.end_offset, now)?;
        self.known.voters = voters;
        self.applied = id.end_offset;
        self.high_watermark = self.high_watermark.max(id.end_offset);
        self.bytes_since_snapshot = 0;
        let all = snapshot::list(&*self.io.disk, &self.dir)?;
        for old in all.iter().filter(|old| **old < id) {
            snapshot::remove(&*self.io.disk, &self.dir, *old)?;
        }
        self.snapshots = vec![id];
        let last_offset = MetadataOffset(id.end_offset.get() - 1);
        Ok(CommittedBatch { last_offset, epoch: id.epoch, timestamp: TimestampMs::NONE, records })
    }

    /// The leader says that everything below `high_watermark` is committed: what this copy has of it is replayed. Returns
    /// whether it has all of it.
    pub fn commit_to(
        &mut self,
        high_watermark: Offset,
        mut replay: impl FnMut(CommittedBatch) -> Result<(), RaftError>,
    ) -> Result<bool, RaftError> {
        let end = self.log.log_end_offset();
        let here = high_watermark.min(end);
        self.replay_to(here, &mut replay)?;
        self.high_watermark = self.high_watermark.max(here);
        Ok(high_watermark <= end)
    }
}
