//! The indexes of a segment as `DumpLogSegments` prints them, held against the segment beside them.
//!
//! A file is read as the entries it has room for, and ends at the first zero entry, as Kafka preallocates them.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use logrun_log::{AbortedTxn, Span, TxnIndex, Walker};
use logrun_model::Offset;
use logrun_record::{AnyBatch, Limits};

use super::{Dump, DumpError, absolute, base_offset, beside};
use crate::raw_index::{OFFSET_ENTRY_BYTES, TIME_ENTRY_BYTES, offset_entries, time_entries};

/// What doesn't agree with time indexes.
#[derive(Debug, Default)]
pub(super) struct TimeComplaints {
    /// By file: (timestamp in the index, in the log).
    mismatches: Vec<(PathBuf, i64, i64)>,
    /// By file: (timestamp in the index, the one before).
    out_of_order: Vec<(PathBuf, i64, i64)>,
    /// (offset in the index, last offset of the batch that was found, or −1).
    not_found: Vec<(PathBuf, i64, i64)>,
}

impl TimeComplaints {
    pub fn print(&self, err: &mut dyn Write) -> io::Result<()> {
        let mut head = None;
        for (path, index, log) in &self.mismatches {
            if head.replace(path) != Some(path) {
                writeln!(err, "Found timestamp mismatch in :{}", path.display())?;
            }
            writeln!(err, "  Index timestamp: {index}, log timestamp: {log}")?;
        }
        let mut head = None;
        for (path, index, before) in &self.out_of_order {
            if head.replace(path) != Some(path) {
                writeln!(err, "Found out of order timestamp in :{}", path.display())?;
            }
            writeln!(err, "  Index timestamp: {index}, Previously indexed timestamp: {before}")?;
        }
        let mut head = None;
        for (path, index, log) in &self.not_found {
            if head.replace(path) != Some(path) {
                writeln!(err, "The following indexed offsets are not found in the log.")?;
            }
            writeln!(err, "Indexed offset: {index}, found log offset: {log}")?;
        }
        Ok(())
    }
}

impl Dump<'_> {
    fn batch_from(&self, path: &Path, position: u64, room: u64) -> Result<Option<(Walker, Span)>, DumpError> {
        let (file, len) = self.open(path)?;
        let end = len.min(position.saturating_add(room));
        if position >= end {
            return Ok(None);
        }
        let mut walker = Walker::headers(file, position, end);
        let span = walker.next_span().map_err(|e| DumpError::walk(path, e))?;
        Ok(span.map(|span| (walker, span)))
    }

    pub(super) fn offset_index(&mut self, path: &Path, name: &str) -> Result<(), DumpError> {
        let base = base_offset(name)?;
        let log = beside(path, name, ".log");
        let bytes = self.read(path)?;
        let entries = offset_entries(base, &bytes);
        let Some(last) = entries.last() else {
            return Ok(writeln!(self.out, "{} is empty.", path.display())?);
        };
        if self.options.index_sanity_check {
            if last.0 < base.get() {
                return Err(DumpError::corrupt(path, format!("the last offset {} is below {base}", last.0)));
            }
            return self.length_is_whole(path, bytes.len(), OFFSET_ENTRY_BYTES);
        }
        for (i, (offset, position)) in entries.iter().enumerate() {
            if *offset == base.get() && i > 0 {
                return Ok(());
            }
            let found = self.batch_from(&log, *position, self.options.max_message_size)?;
            let Some((_, span)) = found else {
                return Err(DumpError::corrupt(path, format!("entry {i} points behind the end of {}", log.display())));
            };
            if span.last_offset.get() != *offset {
                let pairs = self.complaints.index_mismatches.entry(absolute(path)).or_default();
                pairs.push((Offset(*offset), span.last_offset));
            }
            if !self.options.verify_index_only {
                writeln!(self.out, "offset: {offset} position: {position}")?;
            }
        }
        Ok(())
    }

    fn length_is_whole(&mut self, path: &Path, len: usize, entry: usize) -> Result<(), DumpError> {
        if !len.is_multiple_of(entry) {
            let reason = format!("its length of {len} bytes is no multiple of an entry's {entry}");
            return Err(DumpError::corrupt(path, reason));
        }
        Ok(writeln!(self.out, "{} passed sanity check.", path.display())?)
    }

    pub(super) fn time_index(&mut self, path: &Path, name: &str) -> Result<(), DumpError> {
        let base = base_offset(name)?;
        let log = beside(path, name, ".log");
        let index = beside(path, name, ".index");
        let bytes = self.read(path)?;
        let entries = time_entries(base, &bytes);
        if self.options.index_sanity_check {
            if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
                if last.0 < first.0 {
                    let reason = format!("the last timestamp {} is before the first, {}", last.0, first.0);
                    return Err(DumpError::corrupt(path, reason));
                }
                if last.1 < base.get() {
                    return Err(DumpError::corrupt(path, format!("the last offset {} is below {base}", last.1)));
                }
            }
            return self.length_is_whole(path, bytes.len(), TIME_ENTRY_BYTES);
        }
        let offsets = offset_entries(base, &self.read(&index)?);
        let offsets: Vec<_> = offsets.iter().enumerate().take_while(|(i, e)| *i == 0 || e.0 != base.get()).collect();
        let mut before = -1;
        for (i, (timestamp, offset)) in entries.iter().enumerate() {
            if *offset == base.get() && i > 0 {
                return Ok(());
            }
            let at = offsets.partition_point(|(_, e)| e.0 <= *offset);
            let position = at.checked_sub(1).map_or(0, |at| offsets[at].1.1);
            match self.batch_ending_at(&log, position, *offset)? {
                None => self.complaints.time.not_found.push((absolute(path), *offset, -1)),
                Some((_, last)) if last != *offset => {
                    self.complaints.time.not_found.push((absolute(path), *offset, last));
                }
                Some((max, _)) => {
                    if max != *timestamp {
                        self.complaints.time.mismatches.push((absolute(path), *timestamp, max));
                    }
                    if before >= *timestamp {
                        self.complaints.time.out_of_order.push((absolute(path), *timestamp, before));
                    }
                }
            }
            if !self.options.verify_index_only {
                writeln!(self.out, "timestamp: {timestamp} offset: {offset}")?;
            }
            before = *timestamp;
        }
        Ok(())
    }

    /// The highest timestamp of the records in the first batch at `position` or behind that ends at or after `offset`,
    /// and that batch's last offset.
    fn batch_ending_at(&self, log: &Path, position: u64, offset: i64) -> Result<Option<(i64, i64)>, DumpError> {
        let walk = |e| DumpError::walk(log, e);
        let Some((mut walker, mut span)) = self.batch_from(log, position, u64::MAX)? else { return Ok(None) };
        while span.last_offset.get() < offset {
            match walker.next_span().map_err(walk)? {
                Some(next) => span = next,
                None => return Ok(None),
            }
        }
        if span.last_offset.get() != offset {
            return Ok(Some((-1, span.last_offset.get())));
        }
        let mut max = -1;
        let corrupt = |e| DumpError::corrupt(log, e);
        match walker.batch(&span).map_err(walk)? {
            AnyBatch::V2(batch) => {
                for record in batch.records(&Limits::default()).map_err(corrupt)? {
                    max = max.max(record.map_err(corrupt)?.timestamp.get());
                }
            }
            AnyBatch::Legacy(batch) => {
                for record in batch.records(&Limits::default()).map_err(corrupt)? {
                    max = max.max(record.timestamp.get());
                }
            }
        }
        Ok(Some((max, offset)))
    }

    pub(super) fn txn_index(&mut self, path: &Path, name: &str) -> Result<(), DumpError> {
        let bytes = self.read(path)?;
        let (index, whole) = TxnIndex::parse(base_offset(name)?, &bytes);
        for AbortedTxn { producer_id, first_offset, last_offset, last_stable_offset } in index.entries() {
            writeln!(
                self.out,
                "version: 0 producerId: {producer_id} firstOffset: {first_offset} lastOffset: {last_offset} \
                 lastStableOffset: {last_stable_offset}"
            )?;
        }
        if !whole {
            return Err(DumpError::corrupt(path, "an entry is not an aborted transaction's"));
        }
        Ok(())
    }
}
