//! One segment: its batches and records, and the indexes beside it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use logrun_io::disk::read_all;
use logrun_io::{Disk, File, OpenMode};
use logrun_log::{AbortedTxn, Span, TxnIndex, WalkError, Walker, segment_path};
use logrun_model::{Offset, ProducerId};
use logrun_partition::EpochCache;
use logrun_record::{AnyBatch, Batch, ControlRecordType, Limits};

use super::partition::{Context, Totals};
use super::{Finding, Mend};
use crate::raw_index::{OFFSET_ENTRY_BYTES, TIME_ENTRY_BYTES, offset_entries, time_entries, used};
use crate::schema::{CoordinatorLog, NotShown, metadata_record};

const CHUNK_BYTES: usize = 4 << 20;
/// Batches of one segment whose records don't decode, or whose epoch is another, are told of so many times.
const SAME_MAX: usize = 3;

/// What is carried from segment to segment.
#[derive(Debug, Default)]
pub(super) struct Carried {
    pub next_offset: Offset,
    /// Transactions that are open, by producer.
    pub open: BTreeMap<ProducerId, Offset>,
    pub totals: Totals,
    /// The log ends before its last segment's end: what follows is not looked at.
    pub cut: bool,
}

/// A batch as the indexes may lead to it.
struct Place {
    position: u64,
    last_offset: Offset,
    /// The highest timestamp of the segment up to the end of this batch.
    max_timestamp: i64,
}

/// One segment on its way.
pub(super) struct SegmentCheck<'a> {
    pub disk: &'a Arc<dyn Disk>,
    pub dir: &'a Path,
    pub base_offset: Offset,
    pub is_last: bool,
    pub epochs: Option<&'a EpochCache>,
    pub context: &'a Context<'a>,
    pub found: &'a mut Vec<Finding>,
}

impl SegmentCheck<'_> {
    /// Goes through the segment. What can't be read is a finding.
    pub fn run(&mut self, carried: &mut Carried) {
        let path = segment_path(self.dir, self.base_offset, ".log");
        let opened = self.disk.open(&path, OpenMode::Read).and_then(|file| file.len().map(|len| (file, len)));
        let (file, len) = match opened {
            Ok(opened) => opened,
            Err(e) => return self.unreadable(&path, &e),
        };
        if self.base_offset < carried.next_offset {
            let what = format!("it begins at offset {}, which the segment before has too", self.base_offset);
            let remedy =
                "one of the two is left over from an interrupted compaction or copy: compare them, move one away";
            self.found.push(Finding::error(&path, what, remedy));
        }
        carried.next_offset = carried.next_offset.max(self.base_offset);
        let mut places = Vec::new();
        let mut aborted = Vec::new();
        let mut walker = Walker::new(file.clone(), 0, len, CHUNK_BYTES);
        let mut repeated = [0usize; 2];
        loop {
            let position = walker.position();
            let step = walker.next_span().and_then(|span| match span {
                Some(span) => Ok(Some((span, walker.batch(&span)?))),
                None => Ok(None),
            });
            let (span, batch) = match step {
                Ok(Some(step)) => step,
                Ok(None) => break,
                Err(WalkError::Io(e)) => return self.unreadable(&path, &e),
                Err(WalkError::NotABatch { position, reason }) => {
                    self.tail(&path, &file, position, len, &reason, carried);
                    break;
                }
            };
            (self.context.progress)(span.size as u64);
            if let Err(e) = batch.verify_crc() {
                let what = format!("the batch of offsets {}..{}", span.base_offset, span.last_offset);
                self.damaged(&path, position, &format!("{what} is damaged: {e}"), carried);
                break;
            }
            if span.base_offset < carried.next_offset {
                let what = format!("offset {} follows offset {}", span.base_offset, carried.next_offset.get() - 1);
                self.damaged(&path, position, &what, carried);
                break;
            }
            self.epoch(&path, &span, &mut repeated[0]);
            match self.records(&span, &batch, carried, &mut aborted) {
                Ok(()) => {}
                Err(Trouble::Malformed(what)) => {
                    self.damaged(&path, position, &what, carried);
                    break;
                }
                Err(Trouble::Odd(what)) => {
                    repeated[1] += 1;
                    if repeated[1] <= SAME_MAX {
                        let remedy = "nothing is lost; a newer version of the program may know more of it";
                        self.found.push(Finding::warning(&path, format!("at position {position}: {what}"), remedy));
                    }
                }
            }
            carried.next_offset = span.next_offset();
            carried.totals.batches += 1;
            carried.totals.bytes += span.size as u64;
            let before = places.last().map_or(-1, |p: &Place| p.max_timestamp);
            let max_timestamp = before.max(span.max_timestamp.get());
            places.push(Place { position, last_offset: span.last_offset, max_timestamp });
        }
        self.offset_index(&places, len);
        self.time_index(&places);
        self.txn_index(aborted);
    }

    fn unreadable(&mut self, path: &Path, e: &std::io::Error) {
        let remedy = "check the file's permissions and the device (dmesg)";
        self.found.push(Finding::error(path, format!("it can't be read: {e}"), remedy));
    }

    /// What lies at `position` is no batch.
    fn tail(
        &mut self,
        path: &Path,
        file: &Arc<dyn File>,
        position: u64,
        len: u64,
        reason: &str,
        carried: &mut Carried,
    ) {
        let rest = len - position;
        let is_padding = is_zero(file, position, len).unwrap_or(false);
        let is_open = self.is_last && !self.context.clean_shutdown;
        if is_padding && self.is_last {
            let what = format!("{rest} bytes of zeros follow the last batch");
            let note =
                if is_open { "ordinary after a kill: the next start cuts them" } else { "the next start cuts them" };
            self.found.push(Finding::note(path, what, note));
        } else if is_open && carried.next_offset >= self.context.recovery_point.unwrap_or(Offset::ZERO) {
            let what = format!("{rest} bytes at position {position} are no whole batch ({reason})");
            self.found.push(Finding::note(path, what, "ordinary after a kill: the next start cuts them"));
        } else {
            self.damaged(path, position, &format!("at position {position}: {reason}"), carried);
        }
        if is_open || is_padding {
            (self.context.progress)(rest);
        }
    }

    fn damaged(&mut self, path: &Path, position: u64, what: &str, carried: &mut Carried) {
        let end_offset = carried.next_offset;
        let remedy = "bring the file back from a copy or another replica; or give up what follows offset ";
        let last = end_offset.get() - 1;
        let remedy = format!("{remedy}{last} with logrun log repair --execute, which keeps what it cuts");
        let mend = Mend::Cut { base_offset: self.base_offset, position, end_offset };
        self.found.push(Finding::error(path, what, remedy).mend(mend));
        carried.cut = true;
    }

    fn epoch(&mut self, path: &Path, span: &Span, repeated: &mut usize) {
        let Some(epochs) = self.epochs.filter(|_| span.leader_epoch.is_some()) else { return };
        let known = epochs.epoch_for_offset(span.base_offset);
        if known.is_some_and(|known| known != span.leader_epoch) {
            *repeated += 1;
            if *repeated <= SAME_MAX {
                let what = format!(
                    "offset {} is of leader epoch {}, and leader-epoch-checkpoint says {}",
                    span.base_offset,
                    span.leader_epoch,
                    known.unwrap_or_default()
                );
                let remedy = "put leader-epoch-checkpoint away (logrun log repair does): a recovery writes it anew";
                self.found.push(Finding::warning(path, what, remedy));
            }
        }
    }

    /// Records within their batch, and what they mean where Kafka itself wrote them.
    fn records(
        &self,
        span: &Span,
        batch: &AnyBatch,
        carried: &mut Carried,
        aborted: &mut Vec<AbortedTxn>,
    ) -> Result<(), Trouble> {
        let limits = Limits::default();
        let of = |e: &dyn std::fmt::Display| {
            Trouble::Malformed(format!(
                "the records of offsets {}..{} are malformed: {e}",
                span.base_offset, span.last_offset
            ))
        };
        let batch = match batch {
            AnyBatch::V2(batch) => batch,
            AnyBatch::Legacy(batch) => {
                carried.totals.records += batch.records(&limits).map_err(|e| of(&e))?.len() as u64;
                return Ok(());
            }
        };
        let mut odd = None;
        let mut last = span.base_offset.get() - 1;
        let mut max_timestamp = i64::MIN;
        let mut count = 0;
        for record in batch.records(&limits).map_err(|e| of(&e))? {
            let record = record.map_err(|e| of(&e))?;
            let offset = record.offset.get();
            if offset <= last || offset > span.last_offset.get() {
                return Err(of(&format!("offset {offset} is out of order or outside of its batch")));
            }
            (last, count) = (offset, count + 1);
            max_timestamp = max_timestamp.max(record.timestamp.get());
            if batch.header.is_control() {
                let kind = ControlRecordType::parse_key(record.key.as_deref()).map_err(|e| of(&e))?;
                marker(batch, kind, span.last_offset, carried, aborted);
            } else {
                odd = odd.or_else(|| self.meaning(record.offset, record.key.clone(), record.value));
            }
        }
        if batch.header.is_transactional() && !batch.header.is_control() && count > 0 {
            carried.open.entry(batch.header.producer_id).or_insert(span.base_offset);
        }
        carried.totals.records += count;
        // Compaction may have taken the record that had the highest timestamp.
        if count > 0 && max_timestamp > span.max_timestamp.get() {
            let what = format!(
                "the batch of offsets {}..{} says that its highest timestamp is {}, a record has {max_timestamp}",
                span.base_offset, span.last_offset, span.max_timestamp
            );
            odd = odd.or(Some(what));
        }
        odd.map_or(Ok(()), |what| Err(Trouble::Odd(what)))
    }

    fn meaning(&self, offset: Offset, key: Option<Bytes>, value: Option<Bytes>) -> Option<String> {
        let topic = self.context.topic;
        if topic == super::metadata::TOPIC {
            let e = metadata_record(value.unwrap_or_default()).err()?;
            return Some(format!("the metadata record at offset {offset} is not known: {e}"));
        }
        let log = CoordinatorLog::of_topic(topic)?;
        let Some(key) = key else { return Some(format!("the record at offset {offset} has no key")) };
        match log.show(key, value) {
            Ok(_) => None,
            Err(NotShown::UnknownType(number)) => {
                Some(format!("the record at offset {offset} is of type {number}, which is unknown"))
            }
            Err(e) => Some(format!("the record at offset {offset} is not known: {e}")),
        }
    }

    fn index_bytes(&mut self, suffix: &str) -> Option<(std::path::PathBuf, Option<Vec<u8>>)> {
        let path = segment_path(self.dir, self.base_offset, suffix);
        match read_all(&**self.disk, &path) {
            Ok(bytes) => Some((path, bytes)),
            Err(e) => {
                self.unreadable(&path, &e);
                None
            }
        }
    }

    fn bad_index(&mut self, path: &Path, what: String) {
        let remedy = "put the file away (logrun log repair does): the next start builds it again";
        self.found.push(Finding::warning(path, what, remedy).mend(Mend::SetAside));
    }

    fn no_index(&mut self, path: &Path, places: &[Place]) {
        if !places.is_empty() {
            self.found.push(Finding::note(path, "it is missing", "the next start builds it again"));
        }
    }

    fn offset_index(&mut self, places: &[Place], len: u64) {
        let Some((path, bytes)) = self.index_bytes(".index") else { return };
        let Some(bytes) = bytes else { return self.no_index(&path, places) };
        let entries = offset_entries(
            self.base_offset,
            &bytes[..used(&bytes).next_multiple_of(OFFSET_ENTRY_BYTES).min(bytes.len())],
        );
        let mut before = (i64::MIN, None);
        for (offset, position) in entries {
            let place = places.binary_search_by_key(&position, |p| p.position).ok().and_then(|i| places.get(i));
            let what = match place {
                _ if offset <= before.0 || before.1.is_some_and(|p| position <= p) => "it does not rise",
                // Behind what could be read of the segment nothing can be said.
                None if places.last().is_none_or(|p| p.position < position) && position < len => continue,
                None => "no batch begins there",
                Some(place) if place.last_offset.get() != offset => "the batch there ends at another offset",
                Some(_) => {
                    before = (offset, Some(position));
                    continue;
                }
            };
            return self
                .bad_index(&path, format!("the entry of offset {offset}, position {position}, is wrong: {what}"));
        }
    }

    fn time_index(&mut self, places: &[Place]) {
        let Some((path, bytes)) = self.index_bytes(".timeindex") else { return };
        let Some(bytes) = bytes else { return self.no_index(&path, places) };
        let entries =
            time_entries(self.base_offset, &bytes[..used(&bytes).next_multiple_of(TIME_ENTRY_BYTES).min(bytes.len())]);
        let mut before = (i64::MIN, i64::MIN);
        for (timestamp, offset) in entries {
            if timestamp <= before.0 || offset < before.1 {
                return self.bad_index(&path, format!("the entry of timestamp {timestamp} does not rise"));
            }
            before = (timestamp, offset);
            let at = places.partition_point(|p| p.last_offset.get() < offset);
            // The batch may be one that compaction has taken, or lie behind what could be read.
            let Some(place) = places.get(at).filter(|p| p.last_offset.get() == offset) else { continue };
            if place.max_timestamp > timestamp {
                let what = format!(
                    "up to offset {offset} it promises no later timestamp than {timestamp}, and there is {}",
                    place.max_timestamp
                );
                return self.bad_index(&path, what);
            }
        }
    }

    fn txn_index(&mut self, aborted: Vec<AbortedTxn>) {
        let Some((path, bytes)) = self.index_bytes(".txnindex") else { return };
        let bytes = bytes.unwrap_or_default();
        let (index, whole) =
            TxnIndex::parse(self.base_offset, &bytes[..used(&bytes).next_multiple_of(34).min(bytes.len())]);
        let has = |t: &AbortedTxn| {
            index.entries().iter().any(|e| e.producer_id == t.producer_id && e.last_offset == t.last_offset)
        };
        let lacking = aborted.iter().find(|t| !has(t));
        let what = match lacking {
            Some(t) => format!(
                "it lacks the transaction of producer {} that was aborted at offset {}, whose records would be read as \
                 committed",
                t.producer_id, t.last_offset
            ),
            None if !whole => "an entry is not an aborted transaction's".to_owned(),
            None => return,
        };
        let remedy = "logrun log repair --execute writes it anew from the log";
        self.found.push(Finding::error(&path, what, remedy).mend(Mend::TxnIndex(aborted)));
    }
}

/// Why a batch's records are not as they should be.
enum Trouble {
    /// They can't be read.
    Malformed(String),
    /// They can be read, and something is strange.
    Odd(String),
}

/// A transaction ends.
fn marker(batch: &Batch, kind: ControlRecordType, at: Offset, carried: &mut Carried, aborted: &mut Vec<AbortedTxn>) {
    if !matches!(kind, ControlRecordType::Abort | ControlRecordType::Commit) {
        return;
    }
    let producer_id = batch.header.producer_id;
    let Some(first_offset) = carried.open.remove(&producer_id) else { return };
    if kind == ControlRecordType::Abort {
        let last_stable_offset = carried.open.values().min().copied().unwrap_or(at.next());
        aborted.push(AbortedTxn { producer_id, first_offset, last_offset: at, last_stable_offset });
    }
}

fn is_zero(file: &Arc<dyn File>, mut from: u64, to: u64) -> std::io::Result<bool> {
    let mut buf = vec![0; 64 << 10];
    while from < to {
        let wanted = usize::try_from(to - from).unwrap_or(usize::MAX).min(buf.len());
        let n = file.read_at(from, &mut buf[..wanted])?;
        if n == 0 {
            break;
        }
        if buf[..n].iter().any(|b| *b != 0) {
            return Ok(false);
        }
        from += n as u64;
    }
    Ok(true)
}
