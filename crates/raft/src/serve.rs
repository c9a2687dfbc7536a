//! What the leader answers those who copy its log: records, where their copy parts from it, or that they have to begin
//! with a snapshot (Kafka's `KafkaRaftClient.tryCompleteFetchRequest` and `RaftLog.validateOffsetAndEpoch`).
//!
//! Only what is committed is given away: with one voter the rest is on its way to the device.

use logrun_log::ReadPlan;
use logrun_model::{LeaderEpoch, Offset, RaftEpoch};
use logrun_wire::ErrorCode;

use crate::RaftError;
use crate::metadata_log::MetadataLog;
use crate::snapshot::{self, SnapshotId};

/// What a replica asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchQuestion {
    /// The epoch that it takes for the present one.
    pub current_epoch: RaftEpoch,
    pub offset: Offset,
    /// Of its last batch.
    pub last_fetched_epoch: RaftEpoch,
    pub max_bytes: usize,
}

/// What it is told.
#[derive(Debug)]
pub enum FetchAnswer {
    Refused(ErrorCode),
    /// Its copy parts from the log: the latest epoch not above its own ends here.
    Diverging {
        epoch: RaftEpoch,
        end_offset: Offset,
    },
    /// What it lacks is only in this snapshot.
    Snapshot(SnapshotId),
    /// From its offset on; may be empty.
    Records(ReadPlan),
}

/// A piece of a snapshot.
#[derive(Debug, PartialEq, Eq)]
pub struct SnapshotPiece {
    /// Of the whole, in bytes.
    pub size: u64,
    pub bytes: Vec<u8>,
}

impl MetadataLog {
    /// Whether a request of `epoch` may be answered here.
    pub fn check_epoch(&self, epoch: RaftEpoch) -> Result<(), ErrorCode> {
        if !self.leading {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        match epoch.cmp(&self.state.leader_epoch) {
            std::cmp::Ordering::Less => Err(ErrorCode::FencedLeaderEpoch),
            std::cmp::Ordering::Greater => Err(ErrorCode::UnknownLeaderEpoch),
            std::cmp::Ordering::Equal => Ok(()),
        }
    }

    /// Answers a fetch; the read is planned and not done.
    pub fn answer_fetch(&self, asked: &FetchQuestion) -> Result<FetchAnswer, RaftError> {
        if !asked.offset.is_some() || !asked.last_fetched_epoch.is_some() || !asked.current_epoch.is_some() {
            return Ok(FetchAnswer::Refused(ErrorCode::InvalidRequest));
        }
        if let Err(code) = self.check_epoch(asked.current_epoch) {
            return Ok(FetchAnswer::Refused(code));
        }
        if let Some(answer) = self.where_they_part(asked.offset, asked.last_fetched_epoch) {
            return Ok(answer);
        }
        let plan = self.log.plan_read(asked.offset, self.high_watermark, asked.max_bytes, true)?;
        Ok(FetchAnswer::Records(plan))
    }

    /// `None` if the log holds all that a copy has that ends at `offset` with a batch of `epoch`, and what follows.
    fn where_they_part(&self, offset: Offset, epoch: RaftEpoch) -> Option<FetchAnswer> {
        let latest = self.snapshots.last().copied();
        // Whoever has nothing is better off with a snapshot than with its history.
        if let Some(latest) = latest.filter(|id| offset == Offset::ZERO && *id != SnapshotId::BOOTSTRAP) {
            return Some(FetchAnswer::Snapshot(latest));
        }
        let start = self.log.log_start_offset();
        if start == Offset::ZERO && offset == Offset::ZERO {
            return None;
        }
        if let (Some(earliest), Some(latest)) = (self.snapshots.first(), latest)
            && (offset < start || (offset == start && epoch != earliest.epoch) || epoch < earliest.epoch)
        {
            return Some(FetchAnswer::Snapshot(latest));
        }
        let (known, end_offset) = self.end_of_epoch(epoch);
        if known.get() != epoch.get() || end_offset < offset {
            return Some(FetchAnswer::Diverging { epoch: RaftEpoch(known.get()), end_offset });
        }
        None
    }

    /// Where `epoch` ends here, or the latest one below it; what was cut off ends with its snapshot.
    pub(crate) fn end_of_epoch(&self, epoch: RaftEpoch) -> (LeaderEpoch, Offset) {
        let (known, end) = self.log.end_offset_for_epoch(LeaderEpoch(epoch.get()));
        if !known.is_some() {
            return (LeaderEpoch(self.last_epoch().get()), self.log.log_end_offset());
        }
        match self.snapshots.first() {
            Some(first) if first.end_offset == end && known.get() == epoch.get() => {
                (LeaderEpoch(first.epoch.get()), end)
            }
            _ => (known, end),
        }
    }

    /// A piece of snapshot `id`. Waits for the disk.
    ///
    /// # Errors
    /// Inside: what the asker did wrong. Outside: the disk.
    pub fn snapshot_piece(
        &self,
        epoch: RaftEpoch,
        id: SnapshotId,
        position: i64,
        max_bytes: usize,
    ) -> Result<Result<SnapshotPiece, ErrorCode>, RaftError> {
        if let Err(code) = self.check_epoch(epoch) {
            return Ok(Err(code));
        }
        let Ok(position) = u64::try_from(position) else { return Ok(Err(ErrorCode::PositionOutOfRange)) };
        Ok(match snapshot::piece(&*self.io.disk, &self.dir, id, position, max_bytes)? {
            None => Err(ErrorCode::SnapshotNotFound),
            Some((size, _)) if position >= size => Err(ErrorCode::PositionOutOfRange),
            Some((size, bytes)) => Ok(SnapshotPiece { size, bytes }),
        })
    }
}
