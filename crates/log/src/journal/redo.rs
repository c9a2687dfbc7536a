//! After a crash: what the journal has and the segments' files have not is written there, before any log is opened.
//!
//! | found | done |
//! |---|---|
//! | bytes that are no whole entry of the file's round | the end of that file |
//! | an entry whose directory, topic or segment is gone | left out: it was deleted |
//! | a place behind the end of the segment's file | left out, and what follows of that log: a power cut took what was before |
//! | a whole, different batch at the first place | left out: another program has gone on from there |
//! | anything else | written at its place, whether it's there already or not |

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use logrun_io::disk::read_all;
use logrun_io::{Disk, File, OpenMode};
use logrun_model::{Offset, TopicId};
use logrun_record::AnyBatch;

use super::entry::{self, Head, Kind};
use super::{JOURNAL_PREFIX, SLOTS};
use crate::files::PartitionMetadata;
use crate::names::{LOG_SUFFIX, PARTITION_METADATA, segment_path};
use crate::walk::{SPAN_BYTES, Span};

/// Removes the journal of `dir`, for good, if there is one.
pub(crate) fn remove(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    let mut removed = false;
    for slot in 0..SLOTS {
        match disk.remove_file(&dir.join(format!("{JOURNAL_PREFIX}{slot}"))) {
            Ok(()) => removed = true,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    if removed { disk.sync_dir(dir) } else { Ok(()) }
}

/// Does what the journal of `dir` says, and removes it.
pub(crate) fn redo(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    let mut files: BTreeMap<u64, Bytes> = BTreeMap::new();
    for slot in 0..SLOTS {
        if let Some(file) = read_all(disk, &dir.join(format!("{JOURNAL_PREFIX}{slot}")))?
            && let Some(sequence) = entry::sequence_of(&file)
        {
            files.insert(sequence, Bytes::from(file));
        }
    }
    let mut logs: BTreeMap<String, Vec<(Head, Bytes)>> = BTreeMap::new();
    for (sequence, file) in &files {
        let mut place = 0;
        while let Some((head, payload, next)) = entry::parse(file, *sequence, place) {
            match head.kind {
                Kind::Append => logs.entry(head.name.clone()).or_default().push((head, payload)),
                Kind::Forget => drop(logs.remove(&head.name)),
            }
            place = next;
        }
    }
    let mut written_bytes = 0;
    for (name, entries) in &logs {
        // A name is what follows the directory; one that leads elsewhere is not ours.
        if !name.contains(['/', '\0']) && !name.starts_with('.') {
            written_bytes += redo_log(disk, &dir.join(name), entries)?;
        }
    }
    if written_bytes > 0 {
        tracing::info!(dir = %dir.display(), logs = logs.len(), bytes = written_bytes, "brought the logs to where the journal ends");
    }
    remove(disk, dir)
}

fn redo_log(disk: &dyn Disk, dir: &Path, entries: &[(Head, Bytes)]) -> io::Result<usize> {
    let Some(topic_id) = topic_id(disk, dir)? else { return Ok(0) };
    let mut bytes = 0;
    let mut promised: BTreeMap<Offset, Arc<dyn File>> = BTreeMap::new();
    /// A segment, its file if it is there, and how long that is.
    type Open = (Offset, Option<Arc<dyn File>>, u64);
    let mut open: Option<Open> = None;
    for (head, payload) in entries.iter().filter(|(h, _)| h.topic_id == topic_id) {
        if open.as_ref().is_none_or(|(segment, ..)| *segment != head.segment) {
            open = match disk.open(&segment_path(dir, head.segment, LOG_SUFFIX), OpenMode::Write) {
                Ok(file) => {
                    let len = file.len()?;
                    if len > head.position && is_of_another(&*file, head, payload, len)? {
                        tracing::warn!(dir = %dir.display(), "another program has written here since; the journal's end of this log is lost");
                        break;
                    }
                    Some((head.segment, Some(file), len))
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => Some((head.segment, None, 0)),
                Err(e) => return Err(e),
            };
        }
        let Some((_, Some(file), len)) = &mut open else { continue };
        if head.position > *len {
            break;
        }
        file.write_all_at(head.position, &[IoSlice::new(payload)])?;
        if head.promised {
            promised.insert(head.segment, file.clone());
        }
        bytes += payload.len();
        *len = (*len).max(head.position + payload.len() as u64);
    }
    // The journal is removed for good: what it kept from a power cut must be kept by the file.
    promised.values().try_for_each(|file| file.sync_data())?;
    Ok(bytes)
}

fn topic_id(disk: &dyn Disk, dir: &Path) -> io::Result<Option<TopicId>> {
    let file = match read_all(disk, &dir.join(PARTITION_METADATA)) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => None,
        Err(e) => return Err(e),
    };
    Ok(file.and_then(|f| PartitionMetadata::decode(&f).ok()).map(|m| m.topic_id))
}

/// Whether the file of `len` bytes has a sound batch at the entry's place that is not the entry's.
fn is_of_another(file: &dyn File, head: &Head, payload: &Bytes, len: u64) -> io::Result<bool> {
    let mut there = vec![0; SPAN_BYTES];
    let n = file.read_at(head.position, &mut there)?;
    there.truncate(n);
    if payload.starts_with(&there) {
        return Ok(false);
    }
    let Ok(span) = Span::parse(&there, head.position) else { return Ok(false) };
    if span.end() > len {
        return Ok(false);
    }
    let mut batch = vec![0; span.size];
    let n = file.read_at(head.position, &mut batch)?;
    batch.truncate(n);
    Ok(AnyBatch::parse(&Bytes::from(batch)).is_ok_and(|b| b.verify_crc().is_ok()))
}
