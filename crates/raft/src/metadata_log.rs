//! [`MetadataLog`]: formatting, loading, leading, appending, snapshots. What an observer does with it is in `follow.rs`,
//! what a leader reads of it for others in `serve.rs`.

use std::path::{Path, PathBuf};

use logrun_io::Io;
use logrun_log::{Durability, Durable, Log, LogConfig, LogEnv, OpenState};
use logrun_metadata::records::MetadataRecord;
use logrun_metadata::{MetadataImage, MetadataVersion};
use logrun_model::{LeaderEpoch, MetadataOffset, NodeId, Now, Offset, RaftEpoch, TimestampMs, Uuid};
use logrun_record::ControlRecordType;
use tracing::info;

use crate::batches::{self, Contents};
use crate::control::{self, ControlRecord, Voter};
use crate::quorum_state::QuorumState;
use crate::snapshot::{self, Snapshot, SnapshotId};
use crate::{METADATA_DIR, RaftError};

/// How much is read at a time while the log is replayed.
const LOAD_BYTES: usize = 4 << 20;
/// The largest batch that is written; Kafka's quorum reads up to 8 MiB.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// How many snapshots are kept: the latest, and the one before in case it can't be read.
const SNAPSHOTS_KEPT: usize = 2;

/// What the metadata log is told by the configuration.
#[derive(Clone, Debug)]
pub struct RaftConfig {
    /// This node; one that only observes listens nowhere for the quorum.
    pub voter: Voter,
    /// `metadata.log.segment.bytes`
    pub segment_bytes: u64,
    /// `metadata.log.max.record.bytes.between.snapshots`
    pub max_record_bytes_between_snapshots: u64,
}

/// A committed batch of metadata records.
#[derive(Clone, Debug)]
pub struct CommittedBatch {
    pub last_offset: MetadataOffset,
    pub epoch: RaftEpoch,
    pub timestamp: TimestampMs,
    pub records: Vec<MetadataRecord>,
}

/// What the quorum's control records have said so far.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The voters in the log, as they are from `kraft.version` 1 on. A quorum of voters that only the configuration names
    /// (`controller.quorum.voters`) is of version 0.
    pub(crate) voters: Vec<Voter>,
    last_timestamp: TimestampMs,
}

/// The metadata log of this node.
#[derive(Debug)]
pub struct MetadataLog {
    pub(crate) io: Io,
    pub(crate) dir: PathBuf,
    pub(crate) config: RaftConfig,
    pub(crate) log: Log,
    pub(crate) state: QuorumState,
    pub(crate) leading: bool,
    pub(crate) known: Known,
    /// The snapshots that there are, the oldest first.
    pub(crate) snapshots: Vec<SnapshotId>,
    /// Everything below is committed.
    pub(crate) high_watermark: Offset,
    /// Everything below was handed to whoever replays.
    pub(crate) applied: Offset,
    pub(crate) bytes_since_snapshot: u64,
}

impl MetadataLog {
    /// Makes the metadata log in `log_dir`, if it has none: the directory and what the cluster begins with.
    /// Kafka's counterpart is `kafka-storage format --standalone`.
    pub fn format(io: &Io, log_dir: &Path, voters: &[Voter], now: Now) -> Result<bool, RaftError> {
        let dir = log_dir.join(METADATA_DIR);
        let disk = &*io.disk;
        let failed = |action, source| RaftError::Io { action, path: dir.clone(), source };
        let exists = disk.info(&dir).map_err(|e| failed("look at", e))?.is_some();
        // A format that was cut short leaves neither.
        let begun = |name: &str| name.ends_with(".log") || name.ends_with(".checkpoint");
        if exists && disk.list(&dir).map_err(|e| failed("list", e))?.iter().any(|e| begun(&e.name)) {
            // Whoever made it may have been killed before its name was on the device.
            disk.sync_dir(log_dir).map_err(|e| failed("sync", e))?;
            return Ok(false);
        }
        disk.create_dir_all(&dir).map_err(|e| failed("create", e))?;
        let empty =
            Snapshot { voters, metadata_version: MetadataVersion::LATEST, records: &[], last_contained: now.wall };
        snapshot::write(disk, &dir, SnapshotId::BOOTSTRAP, &empty, now.wall)?;
        disk.sync_dir(log_dir).map_err(|e| failed("sync", e))?;
        Ok(true)
    }

    /// Opens the metadata log in `log_dir` as the one voter and hands every committed batch to `replay`, the latest
    /// snapshot's first.
    pub fn open(
        env: &LogEnv,
        log_dir: &Path,
        config: RaftConfig,
        state: OpenState,
        now: Now,
        mut replay: impl FnMut(CommittedBatch) -> Result<(), RaftError>,
    ) -> Result<Self, RaftError> {
        let mut this = Self::open_files(env, log_dir, config, state, now, Durability::Sync, &mut replay)?;
        // What one voter has written is committed.
        this.replay_to(this.log.log_end_offset(), &mut replay)?;
        this.high_watermark = this.applied;
        let node = this.config.voter.id;
        let voters = &this.known.voters;
        if !voters.is_empty() && !voters.iter().map(|v| v.id).eq([node]) {
            let voters = voters.iter().map(|v| v.id.get()).collect();
            return Err(RaftError::OtherVoters { voters, node: node.get() });
        }
        Ok(this)
    }

    /// Opens the files and hands the latest snapshot, which is committed in any case, to `replay`.
    pub(crate) fn open_files(
        env: &LogEnv,
        log_dir: &Path,
        config: RaftConfig,
        state: OpenState,
        now: Now,
        durability: Durability,
        replay: &mut dyn FnMut(CommittedBatch) -> Result<(), RaftError>,
    ) -> Result<Self, RaftError> {
        let io = env.io.clone();
        let dir = log_dir.join(METADATA_DIR);
        let disk = &*io.disk;
        let log_config = LogConfig {
            segment_bytes: config.segment_bytes,
            retention_ms: -1,
            retention_bytes: -1,
            durability,
            max_message_bytes: 8 << 20,
            ..LogConfig::default()
        };
        let snapshots = snapshot::list(disk, &dir)?;
        let (mut log, _) = Log::open(env, &dir, log_config, state, now)?;
        log.set_topic_id(Uuid::ONE)?;
        let quorum_state = QuorumState::read(disk, &dir)?;
        let mut known = Known::default();
        let mut applied = log.log_start_offset();
        if let Some(id) = snapshots.last().copied() {
            let (records, voters) = snapshot::read(disk, &dir, id)?;
            known.voters = voters;
            if log.log_end_offset() < id.end_offset {
                log.truncate_fully_and_start_at(id.end_offset, now)?;
            }
            applied = id.end_offset.max(log.log_start_offset());
            if !records.is_empty() {
                let last_offset = MetadataOffset(id.end_offset.get() - 1);
                replay(CommittedBatch { last_offset, epoch: id.epoch, timestamp: TimestampMs::NONE, records })?;
            }
        }
        Ok(Self {
            io,
            dir,
            config,
            log,
            state: quorum_state,
            leading: false,
            known,
            snapshots,
            high_watermark: applied,
            applied,
            bytes_since_snapshot: 0,
        })
    }

    /// Hands the batches from where the last call ended up to `end` to `replay`.
    pub(crate) fn replay_to(
        &mut self,
        end: Offset,
        replay: &mut dyn FnMut(CommittedBatch) -> Result<(), RaftError>,
    ) -> Result<(), RaftError> {
        while self.applied < end {
            let from = self.applied;
            let read = self.log.read(from, end, LOAD_BYTES, true)?;
            if read.bytes == 0 {
                break;
            }
            self.bytes_since_snapshot += read.bytes as u64;
            let known = &mut self.known;
            batches::decode_all(read.slices.concat().into(), |batch| {
                if batch.last_offset < from {
                    return Ok(());
                }
                known.last_timestamp = batch.timestamp;
                let mut records = match batch.contents {
                    Contents::Data(records) => records,
                    Contents::Control(control) => {
                        for (kind, value) in control {
                            if kind == ControlRecordType::KRaftVoters {
                                known.voters = control::voters(value)
                                    .map_err(|e| RaftError::record(batch.base_offset.get(), e))?;
                            }
                        }
                        return Ok(());
                    }
                };
                // A snapshot may end inside a batch: what it holds is not replayed again.
                if batch.base_offset < from {
                    let done = from.distance_from(batch.base_offset).unsigned_abs() as usize;
                    records.drain(..done.min(records.len()));
                }
                replay(CommittedBatch {
                    last_offset: MetadataOffset(batch.last_offset.get()),
                    epoch: RaftEpoch(batch.epoch.get()),
                    timestamp: batch.timestamp,
                    records,
                })
            })?;
            self.applied = read.next_offset;
        }
        Ok(())
    }

    /// Begins the next epoch as its leader. Nothing of the epoch is written before the epoch itself is remembered.
    pub fn become_leader(&mut self, now: Now) -> Result<RaftEpoch, RaftError> {
        let known = self.log.latest_epoch().map_or(0, LeaderEpoch::get);
        let epoch = RaftEpoch(self.state.leader_epoch.get().max(known)).next();
        self.state = QuorumState {
            leader_epoch: epoch,
            leader_id: self.config.voter.id,
            voted_id: NodeId::NONE,
            voted_directory_id: Uuid::ZERO,
        };
        self.state.write(&*self.io.disk, &self.dir)?;
        self.leading = true;
        let base = self.log.log_end_offset();
        self.log.assign_epoch_start(LeaderEpoch(epoch.get()), base);
        let mut records = vec![control::leader_change(self.config.voter.id)?];
        // The log begins with the voters that the first snapshot names. Where the configuration names them there are none.
        let begins = base == Offset::ZERO && !self.known.voters.is_empty();
        if begins {
            records.extend(control::quorum(std::slice::from_ref(&self.config.voter))?);
        }
        self.append_control(&records, now)?;
        if begins {
            self.known.voters = vec![self.config.voter.clone()];
        }
        info!(%epoch, offset = %self.log.log_end_offset(), "leads the metadata quorum");
        Ok(epoch)
    }

    /// Raises the feature `kraft.version` to 1: from here on the log names the voters, which is this node alone, and no longer
    /// the configuration (`KafkaRaftClient.upgradeKRaftVersion`, KIP-853). Waits for the device.
    pub fn raise_kraft_version(&mut self, now: Now) -> Result<(), RaftError> {
        let voter = self.config.voter.clone();
        self.append_control(&control::quorum(std::slice::from_ref(&voter))?, now)?;
        info!(offset = %self.log.log_end_offset(), "the metadata log names the quorum's voters: kraft.version is 1");
        self.known.voters = vec![voter];
        Ok(())
    }

    /// Appends a batch of the quorum's own records and waits until it is on the device, and everything before it.
    fn append_control(&mut self, records: &[ControlRecord], now: Now) -> Result<(), RaftError> {
        if !self.leading {
            return Err(RaftError::NotLeader { node: self.config.voter.id.get() });
        }
        let epoch = LeaderEpoch(self.state.leader_epoch.get());
        let batch = batches::control(self.log.log_end_offset(), epoch, now.wall, records)?;
        self.log.append(&[batch], now)?;
        self.log.flush(now)?;
        self.high_watermark = self.log.log_end_offset();
        Ok(())
    }

    /// Appends records, as one batch unless they're too large for one: what must be atomic is kept small by whoever
    /// decides it (Kafka's limit is 10,000 records). They are committed when the [`Durable`] completes.
    pub fn append(
        &mut self,
        records: Vec<MetadataRecord>,
        metadata_version: MetadataVersion,
        now: Now,
    ) -> Result<(CommittedBatch, Durable), RaftError> {
        if !self.leading {
            return Err(RaftError::NotLeader { node: self.config.voter.id.get() });
        }
        let base = self.log.log_end_offset();
        let epoch = LeaderEpoch(self.state.leader_epoch.get());
        let batches = batches::data_split(base, epoch, now.wall, metadata_version, &records, BATCH_BYTES_MAX)?;
        let appended = self.log.append(&batches, now)?;
        self.bytes_since_snapshot += appended.bytes as u64;
        self.known.last_timestamp = now.wall;
        let committed = CommittedBatch {
            last_offset: MetadataOffset(appended.last_offset.get()),
            epoch: self.state.leader_epoch,
            timestamp: now.wall,
            records,
        };
        Ok((committed, appended.durable))
    }

    /// The offset that the next record gets.
    pub fn end_offset(&self) -> MetadataOffset {
        MetadataOffset(self.log.log_end_offset().get())
    }

    /// The epoch that this node leads or last saw.
    pub fn epoch(&self) -> RaftEpoch {
        self.state.leader_epoch
    }

    /// The finalized level of the feature `kraft.version`, which is no record of the metadata.
    pub fn kraft_version(&self) -> i16 {
        if self.known.voters.is_empty() { 0 } else { control::KRAFT_VERSION }
    }

    /// Everything below `end` is on the device, and so committed.
    pub fn committed(&mut self, end: Offset) {
        self.high_watermark = self.high_watermark.max(end);
    }

    /// The first offset that is not known to be committed.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// The voters that the log names; none in a quorum that only the configuration names.
    pub fn voters(&self) -> &[Voter] {
        &self.known.voters
    }

    /// This node as a voter of the quorum.
    pub fn voter(&self) -> &Voter {
        &self.config.voter
    }

    /// Whether enough was written since the last snapshot to write the next one.
    pub fn wants_snapshot(&self) -> bool {
        self.bytes_since_snapshot >= self.config.max_record_bytes_between_snapshots
    }

    /// Writes a snapshot of `image` (which stands at its own provenance), and gives up what older snapshots and the
    /// log hold below it. Waits for the device.
    pub fn write_snapshot(&mut self, image: &MetadataImage, now: Now) -> Result<SnapshotId, RaftError> {
        let id = SnapshotId { end_offset: Offset(image.provenance.offset.get() + 1), epoch: image.provenance.epoch };
        let version = image.metadata_version();
        let disk = &*self.io.disk;
        let records = image.to_records();
        let contents = Snapshot {
            voters: &self.known.voters,
            metadata_version: version,
            records: &records,
            last_contained: image.provenance.timestamp,
        };
        snapshot::write(disk, &self.dir, id, &contents, now.wall)?;
        self.bytes_since_snapshot = 0;
        self.snapshots = snapshot::list(disk, &self.dir)?;
        let old = self.snapshots.len().saturating_sub(SNAPSHOTS_KEPT);
        let old: Vec<SnapshotId> = self.snapshots.drain(..old).collect();
        if let Some(oldest) = self.snapshots.first() {
            self.log.set_log_start_offset(oldest.end_offset)?;
            self.log.delete_old_segments(self.log.log_end_offset(), now)?;
        }
        for id in old {
            snapshot::remove(disk, &self.dir, id)?;
        }
        info!(end_offset = %id.end_offset, "wrote a snapshot of the metadata");
        Ok(id)
    }

    /// Removes files whose delay is over.
    pub fn clean_up(&mut self, now: Now) -> Result<(), RaftError> {
        Ok(self.log.due_removals(now).run()?)
    }

    /// The log's start offset and recovery point, for the checkpoint files.
    pub fn checkpoints(&self) -> (Offset, Offset) {
        (self.log.log_start_offset(), self.log.recovery_point())
    }

    /// Brings everything to the device and closes the files.
    pub fn close(&mut self, now: Now) -> Result<(), RaftError> {
        self.leading = false;
        Ok(self.log.close(now)?)
    }
}
