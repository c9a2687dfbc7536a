//! Mends a log directory as far as a program may: ends a log before what is damaged, puts away files that a start
//! builds again, writes indexes of aborted transactions anew.
//!
//! Nothing is thrown away: what is cut or put away goes to a backup directory first, under the same names. The plan is
//! made from [`crate::verify`]'s findings and says what it would do; only [`execute`] does it, and only under the
//! directory's lock.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use logrun_io::disk::replace;
use logrun_io::{Disk, OpenMode};
use logrun_log::{
    AbortedTxn, CLEAN_SHUTDOWN_FILE, HIGH_WATERMARK_CHECKPOINT, LEADER_EPOCH_CHECKPOINT, OffsetCheckpoint,
    RECOVERY_POINT_CHECKPOINT, TxnIndex, parse_dir_name, parse_segment_name, segment_path,
};
use logrun_model::{Offset, TopicPartition};

use crate::survey::{LOCK_FILE, LogDirectory};
use crate::verify::{Finding, Mend};

const COPY_BYTES: usize = 1 << 20;

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// End the file at `position`; the rest goes to the backup.
    Cut { path: PathBuf, position: u64, bytes: u64 },
    /// Move the file to the backup.
    PutAway { path: PathBuf, why: &'static str },
    /// Write the index anew; the old file goes to the backup.
    TxnIndex { path: PathBuf, aborted: Vec<AbortedTxn> },
    /// Change what a checkpoint says of a partition.
    Checkpoint { file: &'static str, partition: TopicPartition, offset: Offset },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut { path, position, bytes } => {
                write!(f, "end {} at position {position}: its last {bytes} bytes go to the backup", path.display())
            }
            Self::PutAway { path, why } => write!(f, "move {} to the backup: {why}", path.display()),
            Self::TxnIndex { path, aborted } => {
                write!(f, "write {} anew: {} aborted transactions", path.display(), aborted.len())
            }
            Self::Checkpoint { file, partition, offset } => write!(f, "set {partition} in {file} to {offset}"),
        }
    }
}

/// What mending the findings of a directory takes, in the order in which it is done.
///
/// # Errors
/// A partition's directory can't be listed.
pub fn plan(disk: &dyn Disk, dir: &LogDirectory, findings: &[Finding]) -> io::Result<Vec<Step>> {
    let mut steps = Vec::new();
    let mut away = BTreeSet::new();
    let mut rebuild: BTreeMap<TopicPartition, Option<Offset>> = BTreeMap::new();
    for finding in findings {
        let parent = finding.path.parent().unwrap_or(&dir.path);
        let partition = parent.file_name().and_then(|n| parse_dir_name(&n.to_string_lossy())).map(|(p, _)| p);
        match &finding.mend {
            Mend::None => {}
            Mend::SetAside => {
                if finding.path.ends_with(LEADER_EPOCH_CHECKPOINT)
                    && let Some(partition) = partition
                {
                    rebuild.entry(partition).or_insert(None);
                }
                if away.insert(finding.path.clone()) {
                    steps.push(Step::PutAway { path: finding.path.clone(), why: "the next start builds it anew" });
                }
            }
            Mend::TxnIndex(aborted) => {
                steps.push(Step::TxnIndex { path: finding.path.clone(), aborted: aborted.clone() });
            }
            Mend::Cut { base_offset, position, end_offset } => {
                let log = segment_path(parent, *base_offset, ".log");
                let len = disk.info(&log)?.map_or(0, |info| info.len);
                steps.push(Step::Cut { path: log, position: *position, bytes: len.saturating_sub(*position) });
                for entry in disk.list(parent)? {
                    let Some((offset, suffix)) = parse_segment_name(&entry.name) else { continue };
                    let why = match suffix {
                        _ if suffix.starts_with(".snapshot") && offset > *end_offset => "it lies behind the end",
                        _ if suffix.starts_with(".snapshot") => continue,
                        _ if offset > *base_offset => "it lies behind the end",
                        ".index" | ".timeindex" | ".txnindex" if offset == *base_offset => {
                            "the next start builds it anew"
                        }
                        _ => continue,
                    };
                    let path = parent.join(&entry.name);
                    if away.insert(path.clone()) {
                        steps.push(Step::PutAway { path, why });
                    }
                }
                if let Some(partition) = partition {
                    rebuild.insert(partition, Some(*end_offset));
                }
            }
        }
    }
    // An index that is put away need not be written.
    steps.retain(|step| !matches!(step, Step::TxnIndex { path, .. } if away.contains(path)));
    if !rebuild.is_empty() && dir.clean_shutdown {
        let path = dir.path.join(CLEAN_SHUTDOWN_FILE);
        steps.push(Step::PutAway { path, why: "so that the next start checks the logs" });
    }
    for (partition, end) in rebuild {
        if dir.checkpoint(RECOVERY_POINT_CHECKPOINT, &partition).is_some_and(|at| at > Offset::ZERO) {
            let (file, partition) = (RECOVERY_POINT_CHECKPOINT, partition.clone());
            steps.push(Step::Checkpoint { file, partition, offset: Offset::ZERO });
        }
        if let Some(end) = end
            && dir.checkpoint(HIGH_WATERMARK_CHECKPOINT, &partition).is_some_and(|at| at > end)
        {
            steps.push(Step::Checkpoint { file: HIGH_WATERMARK_CHECKPOINT, partition, offset: end });
        }
    }
    Ok(steps)
}

/// Why a repair ended.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    #[error("{} is in use by another process: stop the broker first", .0.display())]
    Held(PathBuf),
    #[error("{} is there already: name another directory with --backup", .0.display())]
    BackupExists(PathBuf),
    #[error("could not {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
}

fn during(action: &'static str, path: &Path) -> impl Fn(io::Error) -> RepairError {
    move |source| RepairError::Io { action, path: path.to_owned(), source }
}

/// Does what the plan says. `each` is told of a step when it is done.
///
/// # Errors
/// The directory is held by a process, or a step can't be done: those before it are.
pub fn execute(
    disk: &dyn Disk,
    dir: &LogDirectory,
    steps: &[Step],
    backup: &Path,
    mut each: impl FnMut(&Step),
) -> Result<(), RepairError> {
    let lock_path = dir.path.join(LOCK_FILE);
    let lock = disk.lock(&lock_path).map_err(during("lock", &lock_path))?;
    let _lock = lock.ok_or_else(|| RepairError::Held(dir.path.clone()))?;
    if disk.info(backup).map_err(during("look at", backup))?.is_some() {
        return Err(RepairError::BackupExists(backup.to_owned()));
    }
    let mut touched = BTreeSet::new();
    for step in steps {
        match step {
            Step::Cut { path, position, .. } => {
                let to = place(disk, dir, backup, path, &format!(".from-{position}"))?;
                copy(disk, path, *position, &to)?;
                let file = disk.open(path, OpenMode::Write).map_err(during("open", path))?;
                file.set_len(*position).map_err(during("cut", path))?;
                file.sync_data().map_err(during("sync", path))?;
            }
            Step::PutAway { path, .. } => {
                copy(disk, path, 0, &place(disk, dir, backup, path, "")?)?;
                disk.remove_file(path).map_err(during("remove", path))?;
            }
            Step::TxnIndex { path, aborted } => {
                if disk.info(path).map_err(during("look at", path))?.is_some() {
                    copy(disk, path, 0, &place(disk, dir, backup, path, "")?)?;
                }
                // Its entries hold whole offsets: the segment does not matter.
                let mut index = TxnIndex::new(Offset(0));
                aborted.iter().for_each(|txn| index.append(*txn));
                let bytes = index.unwritten().map(|u| u.bytes).unwrap_or_default();
                replace(disk, path, &bytes).map_err(during("write", path))?;
            }
            Step::Checkpoint { file, partition, offset } => {
                let path = dir.path.join(file);
                let Some(bytes) = logrun_io::disk::read_all(disk, &path).map_err(during("read", &path))? else {
                    continue;
                };
                let to = place(disk, dir, backup, &path, "")?;
                if disk.info(&to).map_err(during("look at", &to))?.is_none() {
                    copy(disk, &path, 0, &to)?;
                }
                let invalid = |e: logrun_log::MalformedFile| during("read", &path)(io::Error::other(e.to_string()));
                let mut checkpoint = OffsetCheckpoint::decode(&bytes).map_err(invalid)?;
                checkpoint.0.insert(partition.clone(), *offset);
                replace(disk, &path, &checkpoint.encode()).map_err(during("write", &path))?;
            }
        }
        if let Step::Cut { path, .. } | Step::PutAway { path, .. } | Step::TxnIndex { path, .. } = step {
            touched.extend(path.parent().map(Path::to_path_buf));
        }
        each(step);
    }
    for dir in touched {
        disk.sync_dir(&dir).map_err(during("sync", &dir))?;
    }
    Ok(())
}

/// Where in the backup a file goes; the directory for it is made.
fn place(disk: &dyn Disk, dir: &LogDirectory, backup: &Path, path: &Path, end: &str) -> Result<PathBuf, RepairError> {
    let inside = path.strip_prefix(&dir.path).unwrap_or(path);
    let mut to = backup.join(inside).into_os_string();
    to.push(end);
    let to = PathBuf::from(to);
    let parent = to.parent().unwrap_or(backup);
    disk.create_dir_all(parent).map_err(during("create", parent))?;
    Ok(to)
}

/// Copies the file from `position` on; the copy is on the device when this returns.
fn copy(disk: &dyn Disk, from: &Path, position: u64, to: &Path) -> Result<(), RepairError> {
    let source = disk.open(from, OpenMode::Read).map_err(during("open", from))?;
    let target = disk.open(to, OpenMode::Create).map_err(during("create", to))?;
    let mut buf = vec![0; COPY_BYTES];
    let mut at = position;
    loop {
        let n = source.read_at(at, &mut buf).map_err(during("read", from))?;
        if n == 0 {
            break;
        }
        target.write_all_at(at - position, &[IoSlice::new(&buf[..n])]).map_err(during("write", to))?;
        at += n as u64;
    }
    target.sync_data().map_err(during("sync", to))?;
    if let Some(dir) = to.parent() {
        disk.sync_dir(dir).map_err(during("sync", dir))?;
    }
    Ok(())
}
