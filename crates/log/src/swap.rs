//! What an interrupted compaction left in a partition's directory, put right before the log is opened.
//!
//! Kafka's cleaner writes `.cleaned` files, renames them to `.swap` when they are whole, deletes the
//! segments that they replace, and renames them again. So `.cleaned` goes, `.swap` wins, and `.deleted`
//! is overdue.

use std::io;
use std::path::Path;

use logrun_io::{Disk, OpenMode};
use logrun_model::Offset;

use crate::error::{IoContext, LogError};
use crate::names::{CLEANED_SUFFIX, DELETED_SUFFIX, LOG_SUFFIX, SWAP_SUFFIX, parse_segment_name};
use crate::walk::Walker;

/// A deleted snapshot of the metadata log; its own loader removes it.
const DELETED_METADATA_SNAPSHOT_SUFFIX: &str = ".checkpoint.deleted";

/// Brings the files in `dir` into the state that compaction meant them to have; returns whether any changed.
pub(crate) fn settle(disk: &dyn Disk, dir: &Path) -> Result<bool, LogError> {
    let names: Vec<String> =
        disk.list(dir).during("list", dir)?.into_iter().filter(|e| !e.is_dir).map(|e| e.name).collect();
    let mut changed = false;
    let mut remove = |name: &str| -> Result<(), LogError> {
        changed = true;
        let path = dir.join(name);
        match disk.remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e).during("remove", &path),
            _ => Ok(()),
        }
    };
    let of = |suffix: &'static str| {
        names.iter().filter_map(move |n| {
            let (offset, rest) = parse_segment_name(n)?;
            rest.ends_with(suffix).then_some((offset, n.as_str()))
        })
    };
    for name in names.iter().filter(|n| n.ends_with(DELETED_SUFFIX)) {
        if !name.ends_with(DELETED_METADATA_SNAPSHOT_SUFFIX) {
            remove(name)?;
        }
    }
    // A split of a segment that had not come to its end: its parts behind the first unfinished one go too.
    let unfinished = of(CLEANED_SUFFIX).map(|(o, _)| o).min();
    let (dead, swaps): (Vec<_>, Vec<_>) =
        of(SWAP_SUFFIX).partition(|(o, _)| unfinished.is_some_and(|first| *o >= first));
    for (_, name) in dead.into_iter().chain(of(CLEANED_SUFFIX)) {
        remove(name)?;
    }
    if let Some(replaced) = range_of(disk, dir, &swaps)? {
        for name in &names {
            if let Some((offset, rest)) = parse_segment_name(name)
                && replaced.contains(&offset)
                && !rest.ends_with(SWAP_SUFFIX)
                && !rest.ends_with(DELETED_SUFFIX)
            {
                remove(name)?;
            }
        }
    }
    for (_, name) in swaps {
        let (from, to) = (dir.join(name), dir.join(name.trim_end_matches(SWAP_SUFFIX)));
        disk.rename(&from, &to).during("rename", &from)?;
        changed = true;
    }
    Ok(changed)
}

/// The offsets that the segments among `swaps` stand for.
fn range_of(
    disk: &dyn Disk,
    dir: &Path,
    swaps: &[(Offset, &str)],
) -> Result<Option<std::ops::Range<Offset>>, LogError> {
    let mut range: Option<std::ops::Range<Offset>> = None;
    for (base, name) in swaps {
        if name.trim_end_matches(SWAP_SUFFIX).ends_with(LOG_SUFFIX) {
            let path = dir.join(name);
            let file = disk.open(&path, OpenMode::Read).during("open", &path)?;
            let len = file.len().during("look at", &path)?;
            let mut walker = Walker::headers(file, 0, len);
            let mut end = *base;
            // Whatever is torn in it is for the recovery of the segment to find.
            while let Ok(Some(span)) = walker.next_span() {
                end = span.next_offset();
            }
            let r = range.get_or_insert(*base..end);
            r.start = r.start.min(*base);
            r.end = r.end.max(end);
        }
    }
    Ok(range)
}
