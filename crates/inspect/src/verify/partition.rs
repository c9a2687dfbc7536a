//! One partition's directory: its segments in order, and the files beside them.

use std::io;
use std::path::Path;
use std::sync::Arc;

use logrun_io::Disk;
use logrun_io::disk::DirEntry;
use logrun_log::{PartitionDir, parse_segment_name};
use logrun_model::Offset;

use super::segment::{Carried, SegmentCheck};
use super::{Finding, PartitionReport, metadata, side_files};

/// What a partition's check is told from outside of its directory.
pub struct Context<'a> {
    pub topic: &'a str,
    /// Whether the last process closed the log.
    pub clean_shutdown: bool,
    /// Up to where the log is known to be on the device.
    pub recovery_point: Option<Offset>,
    /// Is told how many more bytes have been read.
    pub progress: &'a (dyn Fn(u64) + Sync),
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub batches: u64,
    pub records: u64,
    pub bytes: u64,
}

/// Checks a partition's directory.
///
/// # Errors
/// The directory can't be listed.
pub fn verify_partition(
    disk: &Arc<dyn Disk>,
    dir: &PartitionDir,
    context: &Context<'_>,
) -> io::Result<PartitionReport> {
    let entries = disk.list(&dir.path)?;
    let mut found = Vec::new();
    let mut bases: Vec<Offset> = entries
        .iter()
        .filter_map(|e| parse_segment_name(&e.name))
        .filter(|(_, suffix)| *suffix == ".log")
        .map(|(base, _)| base)
        .collect();
    bases.sort_unstable();
    let side = side_files::check(disk, &dir.path, &entries, &bases, &mut found);
    let first_offset = bases.first().copied().unwrap_or(Offset::ZERO);
    let mut carried = Carried { next_offset: first_offset, ..Carried::default() };
    for (i, base_offset) in bases.iter().enumerate() {
        if carried.cut {
            break;
        }
        let is_last = i + 1 == bases.len();
        let epochs = side.epochs.as_ref();
        let mut check = SegmentCheck {
            disk,
            dir: &dir.path,
            base_offset: *base_offset,
            is_last,
            epochs,
            context,
            found: &mut found,
        };
        check.run(&mut carried);
    }
    if bases.is_empty() {
        let remedy = "an empty log is begun there by the next start; if it had records, bring them back from a copy";
        found.push(Finding::warning(&dir.path, "it holds no segment", remedy));
    }
    if dir.partition.topic.as_str() == metadata::TOPIC {
        metadata::check(disk, &dir.path, &entries, carried.next_offset, &mut found);
    }
    side.against_end(&dir.path, carried.next_offset, carried.cut, &mut found);
    Ok(PartitionReport {
        dir: dir.path.clone(),
        partition: dir.partition.clone(),
        topic_id: side.topic_id,
        first_offset,
        log_end_offset: carried.next_offset,
        segments: bases.len(),
        batches: carried.totals.batches,
        records: carried.totals.records,
        bytes: carried.totals.bytes,
        findings: found,
    })
}

/// How many bytes of segments a partition's directory holds, for whoever shows how far a check is.
///
/// # Errors
/// The directory can't be listed.
pub fn segment_bytes(disk: &dyn Disk, dir: &Path) -> io::Result<u64> {
    let mut sum = 0;
    let is_log = |e: &&DirEntry| parse_segment_name(&e.name).is_some_and(|(_, suffix)| suffix == ".log");
    for entry in disk.list(dir)?.iter().filter(is_log) {
        sum += disk.info(&dir.join(&entry.name))?.map_or(0, |info| info.len);
    }
    Ok(sum)
}
