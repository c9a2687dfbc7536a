//! Bringing the producers' state back: from the latest snapshot that can be believed, and the batches
//! behind it (Kafka's `UnifiedLog.rebuildProducerState`).

use logrun_io::disk::read_all;
use logrun_model::{Now, Offset};
use logrun_partition::{ProducerUpdate, TransactionVersion};
use logrun_record::{AppendOrigin, Limits};

use crate::error::{IoContext, LogError};
use crate::log::Log;
use crate::names::{SNAPSHOT_SUFFIX, segment_path};
use crate::producers::aborted;

impl Log {
    /// The latest snapshot that can be believed, after removing those that can't; none if there is no such.
    pub(crate) fn usable_snapshot(&mut self, trusted: Offset, clean: bool, now: Now) -> Result<Offset, LogError> {
        let mut trusted = trusted.min(self.log_end_offset);
        // A transaction index that isn't whole is built again, which takes the state from where it begins.
        for (base, s) in &self.segments {
            if matches!(s.shared.with_txn(|_| ()), Err(LogError::Corrupt { .. })) {
                s.shared.reset_txn();
                trusted = trusted.min(*base);
            }
        }
        let had_any = !self.snapshots.is_empty();
        for offset in self.snapshots.range(trusted.next()..).copied().collect::<Vec<_>>() {
            self.remove_snapshot(offset)?;
        }
        while let Some(&offset) = self.snapshots.last() {
            let path = segment_path(&self.dir, offset, SNAPSHOT_SUFFIX);
            let file = read_all(&*self.env.io.disk, &path).during("read", &path)?.unwrap_or_default();
            match self.producers.load_snapshot(offset, &file, now.wall) {
                Ok(()) => return Ok(offset),
                Err(e) => {
                    tracing::warn!(path = %path.display(), error = %e, "removing a corrupt snapshot");
                    self.remove_snapshot(offset)?;
                }
            }
        }
        // A log that was closed cleanly without ever having a snapshot is of a Kafka before idempotence.
        Ok(if clean && !had_any { self.log_end_offset } else { Offset::NONE })
    }
}

/// Replays the batches from the loaded snapshot at `from` (none: from the log's start) up to `end` into the
/// producers' state and the transaction indexes.
pub(crate) fn load_producers(log: &mut Log, from: Offset, end: Offset, now: Now) -> Result<(), LogError> {
    let from = if from.is_some() {
        if log.producers.map_end_offset() != from || !log.snapshots.contains(&from) {
            let path = segment_path(&log.dir, from, SNAPSHOT_SUFFIX);
            let file = read_all(&*log.env.io.disk, &path).during("read", &path)?.unwrap_or_default();
            if log.producers.load_snapshot(from, &file, now.wall).is_err() {
                log.producers.truncate_fully_and_start_at(from);
            }
        }
        from
    } else {
        log.producers.truncate_fully_and_start_at(log.log_start_offset);
        log.log_start_offset
    };
    let limits = Limits::default();
    let bases: Vec<Offset> = log.segments.range(log.floor(from)..).map(|(base, _)| *base).collect();
    for base in &bases {
        if *base > from && end > from {
            // As a roll would have left it.
            log.producers.update_map_end_offset(*base);
            log.take_snapshot()?;
        }
        let s = &log.segments[base];
        s.shared.with_txn(|index| index.truncate_to(from.max(*base)))?;
        if end <= from || s.size == 0 {
            continue;
        }
        let position = if from > *base { s.position_of(from)? } else { 0 };
        let mut walker = s.shared.headers(position, s.size)?;
        while let Some(span) = walker.next_span().map_err(|e| s.shared.walk_error(e))? {
            let Some(h) = span.header.filter(|h| h.has_producer_id()) else { continue };
            if span.last_offset < from || span.last_offset >= end {
                continue;
            }
            let completed = if h.is_control() {
                let batch = walker.batch(&span).map_err(|e| s.shared.walk_error(e))?;
                let corrupt =
                    |reason: String| LogError::Corrupt { path: s.shared.file.path(), position: span.position, reason };
                let batch = batch.v2().ok_or_else(|| corrupt("a control batch of an old format".to_owned()))?;
                log.producers.replay(batch, &limits).map_err(|e| corrupt(e.to_string()))?
            } else {
                let mut update = ProducerUpdate::default();
                let version = TransactionVersion::default();
                match log.producers.prepare(&mut update, &h, None, AppendOrigin::Replication, version) {
                    Ok(_) => log.producers.update(update),
                    Err(e) => unreachable!("a replicated batch was refused: {e}"),
                }
            };
            for txn in completed.iter().filter_map(aborted) {
                s.shared.with_txn(|index| index.append(txn))?;
            }
        }
    }
    log.producers.update_map_end_offset(end);
    if from.is_some() && log.snapshots.contains(&from) {
        log.producers.snapshot_taken(from);
    }
    Ok(())
}
