//! Snapshots of the metadata (KIP-630): all of it below an offset, in a file of batches.
//!
//! The file is `<end offset, 20 digits>-<epoch, 10 digits>.checkpoint`, written under another name and renamed
//! when it is on the device. It begins with a header, goes on with the quorum and the metadata, ends with a footer.

use std::io::IoSlice;
use std::path::{Path, PathBuf};

use logrun_io::OpenMode;
use logrun_io::disk::{Disk, read_all};
use logrun_metadata::MetadataVersion;
use logrun_metadata::records::MetadataRecord;
use logrun_model::{LeaderEpoch, Offset, RaftEpoch, TimestampMs};
use logrun_record::ControlRecordType;

use crate::RaftError;
use crate::batches::{self, Contents};
use crate::control::{self, Voter};

const SUFFIX: &str = ".checkpoint";
/// Metadata records in one batch of a snapshot.
const RECORDS_IN_BATCH: usize = 1024;

/// A snapshot's name: everything below `end_offset`, the last of it of `epoch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapshotId {
    pub end_offset: Offset,
    pub epoch: RaftEpoch,
}

impl SnapshotId {
    /// What a cluster begins with.
    pub const BOOTSTRAP: Self = Self { end_offset: Offset::ZERO, epoch: RaftEpoch(0) };

    fn file_name(self) -> String {
        format!("{:020}-{:010}{SUFFIX}", self.end_offset.get(), self.epoch.get())
    }

    /// The snapshot that a file of that name is.
    pub fn parse(name: &str) -> Option<Self> {
        let (offset, epoch) = name.strip_suffix(SUFFIX)?.split_once('-')?;
        if offset.len() != 20 || epoch.len() != 10 {
            return None;
        }
        Some(Self { end_offset: Offset(offset.parse().ok()?), epoch: RaftEpoch(epoch.parse().ok()?) })
    }

    pub fn path(self, dir: &Path) -> PathBuf {
        dir.join(self.file_name())
    }
}

/// The snapshots in `dir`, the oldest first.
pub fn list(disk: &dyn Disk, dir: &Path) -> Result<Vec<SnapshotId>, RaftError> {
    let entries = disk.list(dir).map_err(|source| RaftError::Io { action: "list", path: dir.to_owned(), source })?;
    let mut ids: Vec<_> = entries.iter().filter_map(|e| SnapshotId::parse(&e.name)).collect();
    ids.sort();
    Ok(ids)
}

/// A snapshot's metadata records, and the voters that it names.
pub type RecordsAndVoters = (Vec<MetadataRecord>, Vec<Voter>);

/// What the snapshot holds.
pub fn read(disk: &dyn Disk, dir: &Path, id: SnapshotId) -> Result<RecordsAndVoters, RaftError> {
    let path = id.path(dir);
    let gone = || RaftError::Snapshot { path: path.clone(), reason: "it is gone".into() };
    read_file(disk, &path)?.ok_or_else(gone)
}

/// As [`read`], of the file at `path`; `None` if it is not there.
pub fn read_file(disk: &dyn Disk, path: &Path) -> Result<Option<RecordsAndVoters>, RaftError> {
    let broken = |reason: String| RaftError::Snapshot { path: path.to_owned(), reason };
    let bytes =
        read_all(disk, path).map_err(|source| RaftError::Io { action: "read", path: path.to_owned(), source })?;
    let Some(bytes) = bytes else { return Ok(None) };
    let (mut records, mut voters, mut whole) = (Vec::new(), Vec::new(), false);
    batches::decode_all(bytes.into(), |batch| {
        match batch.contents {
            Contents::Data(mut data) => records.append(&mut data),
            Contents::Control(control) => {
                for (kind, value) in control {
                    match kind {
                        ControlRecordType::SnapshotFooter => whole = true,
                        ControlRecordType::KRaftVoters => {
                            voters = control::voters(value).map_err(|e| RaftError::record(0, e))?;
                        }
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    })
    .map_err(|e| broken(e.to_string()))?;
    if !whole {
        return Err(broken("it has no end".into()));
    }
    Ok(Some((records, voters)))
}

/// What a snapshot holds.
pub struct Snapshot<'a> {
    /// None where the quorum is not the snapshot's to tell.
    pub voters: &'a [Voter],
    pub metadata_version: MetadataVersion,
    pub records: &'a [MetadataRecord],
    /// The time of the last record that it covers.
    pub last_contained: TimestampMs,
}

/// Writes a snapshot; on the device when this returns.
pub fn write(
    disk: &dyn Disk,
    dir: &Path,
    id: SnapshotId,
    snapshot: &Snapshot<'_>,
    now: TimestampMs,
) -> Result<(), RaftError> {
    write_file(disk, dir, &id.file_name(), LeaderEpoch(id.epoch.get()), snapshot, now)
}

/// As [`write`], under another name.
pub fn write_file(
    disk: &dyn Disk,
    dir: &Path,
    name: &str,
    epoch: LeaderEpoch,
    snapshot: &Snapshot<'_>,
    now: TimestampMs,
) -> Result<(), RaftError> {
    let Snapshot { voters, metadata_version, records, last_contained } = *snapshot;
    let mut built = Vec::new();
    let mut next = Offset::ZERO;
    let mut head = vec![control::snapshot_header(last_contained)?];
    if !voters.is_empty() {
        head.extend(control::quorum(voters)?);
    }
    built.push(batches::control(next, epoch, now, &head)?);
    next = next.plus(head.len() as i64);
    for chunk in records.chunks(RECORDS_IN_BATCH) {
        built.push(batches::data(next, epoch, now, metadata_version, chunk)?);
        next = next.plus(chunk.len() as i64);
    }
    built.push(batches::control(next, epoch, now, &[control::snapshot_footer()?])?);

    let path = dir.join(name);
    let part = part_of(dir, name);
    let io = |source| RaftError::Io { action: "write", path: path.clone(), source };
    let file = disk.open(&part, OpenMode::Create).map_err(io)?;
    file.set_len(0).map_err(io)?;
    let mut at = 0;
    for batch in &built {
        file.write_all_at(at, &batch.segments().map(IoSlice::new)).map_err(io)?;
        at += batch.size_in_bytes() as u64;
    }
    file.sync_data().map_err(io)?;
    disk.rename(&part, &path).map_err(io)?;
    disk.sync_dir(dir).map_err(io)
}

/// A piece of a snapshot's bytes from `position` on, and how many bytes it has; `None` if there is no such snapshot.
pub fn piece(
    disk: &dyn Disk,
    dir: &Path,
    id: SnapshotId,
    position: u64,
    max_bytes: usize,
) -> Result<Option<(u64, Vec<u8>)>, RaftError> {
    let path = id.path(dir);
    let io = |source| RaftError::Io { action: "read", path: path.clone(), source };
    let file = match disk.open(&path, OpenMode::Read) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io(e)),
    };
    let size = file.len().map_err(io)?;
    let left = usize::try_from(size.saturating_sub(position)).unwrap_or(usize::MAX);
    let mut bytes = vec![0; left.min(max_bytes)];
    let read = file.read_at(position, &mut bytes).map_err(io)?;
    bytes.truncate(read);
    Ok(Some((size, bytes)))
}

/// Writes a piece of a snapshot that another node has, at its place; with the first one the file begins anew.
pub fn write_piece(disk: &dyn Disk, dir: &Path, id: SnapshotId, position: u64, bytes: &[u8]) -> Result<(), RaftError> {
    let path = part_of(dir, &id.file_name());
    let io = |source| RaftError::Io { action: "write", path: path.clone(), source };
    let file = disk.open(&path, OpenMode::Create).map_err(io)?;
    if position == 0 {
        file.set_len(0).map_err(io)?;
    }
    file.write_all_at(position, &[IoSlice::new(bytes)]).map_err(io)
}

/// Checks a snapshot that was written in pieces and gives it its name; on the device when this returns.
pub fn install(disk: &dyn Disk, dir: &Path, id: SnapshotId) -> Result<RecordsAndVoters, RaftError> {
    let part = part_of(dir, &id.file_name());
    let missing = || RaftError::Snapshot { path: part.clone(), reason: "it is gone".into() };
    let contents = read_file(disk, &part)?.ok_or_else(missing)?;
    let path = id.path(dir);
    let io = |source| RaftError::Io { action: "write", path: path.clone(), source };
    disk.open(&part, OpenMode::Write).and_then(|file| file.sync_data()).map_err(io)?;
    disk.rename(&part, &path).map_err(io)?;
    disk.sync_dir(dir).map_err(io)?;
    Ok(contents)
}

/// Where a snapshot is until it is whole.
fn part_of(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.part"))
}

/// Removes a snapshot and what an interrupted write has left.
pub fn remove(disk: &dyn Disk, dir: &Path, id: SnapshotId) -> Result<(), RaftError> {
    let path = id.path(dir);
    disk.remove_file(&path).map_err(|source| RaftError::Io { action: "remove", path, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kafkas() {
        let id = SnapshotId { end_offset: Offset(12345), epoch: RaftEpoch(7) };
        assert_eq!(id.file_name(), "00000000000000012345-0000000007.checkpoint");
        assert_eq!(SnapshotId::parse(&id.file_name()), Some(id));
        assert_eq!(SnapshotId::parse("00000000000000012345-0000000007.checkpoint.part"), None);
        assert_eq!(SnapshotId::parse("bootstrap.checkpoint"), None);
    }
}
