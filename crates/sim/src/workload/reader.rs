//! A reader: fetches from random offsets and from the log's end, now and then with a long poll, keeps the offsets of a
//! group that has no members, and looks closely at everything that it is given.

use std::rc::Rc;

use bytes::Bytes;
use logrun_model::{Str, TopicPartition, Uuid};
use logrun_record::{BatchError, Limits, split_batches};
use logrun_wire::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use logrun_wire::messages::fetch_response::PartitionData;
use logrun_wire::{ErrorCode, messages};

use super::member::{commit, fetch_commit};
use super::{Link, Lost, error, is_disk_trouble, is_not_ready};
use crate::model::topics::Known;
use crate::model::{Checked, Violation, high_watermark, log_start, readable};
use crate::phase::Phase;
use crate::tag::Tag;

const VERSIONS: [i16; 8] = [4, 7, 10, 11, 12, 13, 16, 18];
const TOPIC_ID_VERSION: i16 = 13;
/// How long beyond its own waiting time a fetch may take.
const TIMEOUT_MS: u64 = 10_000;

/// A reader with a group of its own.
pub struct Reader {
    name: String,
    group: Str,
}

/// What was known when a fetch was sent.
struct Floors {
    high_watermark: i64,
    log_start: i64,
}

impl Reader {
    pub fn new(number: usize) -> Self {
        Self { name: format!("reader-{number}"), group: Str::from(format!("readers-{number}")) }
    }

    /// The group whose offsets it keeps.
    pub fn group(&self) -> &Str {
        &self.group
    }

    /// Reads for as long as the phase lasts.
    pub async fn work(&mut self, phase: Rc<Phase>) {
        let mut link = Link::new(&phase, self.name.clone());
        while !phase.is_over() {
            let tp = phase.any_partition();
            let r = &phase.run.random;
            let done = match r.below(8) {
                0 => commit(&mut link, &self.group, None, &tp).await.map(|_| ()),
                1 => fetch_commit(&mut link, &self.group, &tp).await,
                _ => self.read(&mut link, &tp).await,
            };
            if done.is_ok() && phase.run.random.chance(1, 40) {
                link.cut();
            }
            phase.pause(phase.pace_ms).await;
        }
    }

    async fn read(&self, link: &mut Link, tp: &TopicPartition) -> Result<(), Lost> {
        let phase = link.phase.clone();
        let r = &phase.run.random;
        let end = phase.run.model.borrow_mut().partition(tp).known_end();
        let offset = if r.chance(1, 4) { end } else { r.below(end as u64 + 3) as i64 };
        let max_wait_ms = if r.chance(1, 2) { 0 } else { r.below(400) as i32 };
        let max_bytes = if r.chance(1, 2) { 1 + r.below(600) as i32 } else { 1 << 20 };
        let fetched = fetch(link, tp, offset, max_wait_ms, max_bytes).await?;
        if let Some(records) = fetched {
            phase.run.stats.borrow_mut().add("records read", records.len() as u64);
        }
        Ok(())
    }
}

/// Fetches from one partition and tells the model. `None` if the node is not ready or the offset is out of range.
pub async fn fetch(
    link: &mut Link,
    tp: &TopicPartition,
    offset: i64,
    max_wait_ms: i32,
    max_bytes: i32,
) -> Result<Option<Vec<(i64, Tag)>>, Lost> {
    let phase = link.phase.clone();
    let r = &phase.run.random;
    let version = VERSIONS[r.below(VERSIONS.len() as u64) as usize];
    let id = match phase.run.model.borrow().topics.get(&tp.topic) {
        Known::Exists(id) => id,
        _ => return Err(Lost),
    };
    let known = {
        let mut model = phase.run.model.borrow_mut();
        let p = model.partition(tp);
        Floors { high_watermark: p.high_watermark, log_start: p.log_start }
    };
    let request = request(tp, id, version, offset, max_wait_ms, max_bytes);
    let response = link.call(version, &request, TIMEOUT_MS + max_wait_ms as u64).await?;
    if response.error_code != 0 {
        phase.fail(Violation::new("errors", format!("Fetch: {}", error(response.error_code))));
        return Err(Lost);
    }
    let Some(p) = response.responses.into_iter().next().and_then(|t| t.partitions.into_iter().next()) else {
        phase.fail(Violation::new("answered", "a fetch response has no partition"));
        return Err(Lost);
    };
    match error(p.error_code) {
        ErrorCode::None => {}
        ErrorCode::OffsetOutOfRange => {
            phase.check(|m| named(tp, readable::out_of_range(m.partition(tp), offset, known.high_watermark)));
            return Ok(None);
        }
        e if is_not_ready(e) || is_disk_trouble(e) => return Err(Lost),
        e => {
            phase.fail(Violation::new("errors", format!("Fetch of {}-{} at {offset}: {e}", tp.topic, tp.partition)));
            return Err(Lost);
        }
    }
    let (high_watermark, log_start_offset) = (p.high_watermark, p.log_start_offset);
    let batches = match batches(tp, p) {
        Ok(batches) => batches,
        Err(violation) => {
            phase.fail(violation);
            return Err(Lost);
        }
    };
    phase.check(|m| {
        let partition = m.partition(tp);
        high_watermark::seen(partition, known.high_watermark, high_watermark)?;
        // Versions below 5 do not tell it.
        if version >= 5 {
            log_start::seen(partition, known.log_start, log_start_offset)?;
        }
        let ends = batches.first().zip(batches.last()).map(|((first, _), (last, _))| (*first, *last));
        readable::fetched(offset, ends, high_watermark)?;
        for (at, tag) in &batches {
            partition.read(*at, *tag)?;
        }
        Ok(())
    });
    Ok(Some(batches))
}

/// The violation with the partition's name.
fn named(tp: &TopicPartition, checked: Checked) -> Checked {
    checked.map_err(|v| Violation::new(v.invariant, format!("{}-{}: {}", tp.topic, tp.partition, v.text)))
}

fn request(tp: &TopicPartition, id: Uuid, version: i16, offset: i64, max_wait_ms: i32, max_bytes: i32) -> FetchRequest {
    let partition = FetchPartition {
        partition: tp.partition,
        fetch_offset: offset,
        partition_max_bytes: max_bytes,
        ..Default::default()
    };
    let by_id = version >= TOPIC_ID_VERSION;
    let topic = FetchTopic {
        topic: if by_id { Str::EMPTY } else { tp.topic.clone() },
        topic_id: if by_id { id } else { Uuid::ZERO },
        partitions: vec![partition],
        ..Default::default()
    };
    messages::FetchRequest { max_wait_ms, min_bytes: 1, topics: vec![topic], ..Default::default() }
}

/// Every record of a response, each byte of it checked.
pub fn batches(tp: &TopicPartition, data: PartitionData) -> Result<Vec<(i64, Tag)>, Violation> {
    let fail = |text: String| Violation::new("intact", format!("{}-{}: {text}", tp.topic, tp.partition));
    let bytes: Bytes = data.records.unwrap_or_default().into_bytes();
    let mut out: Vec<(i64, Tag)> = Vec::new();
    for batch in split_batches(bytes) {
        let batch = match batch {
            Ok(batch) => batch,
            // The protocol lets a response end in the middle of a batch.
            Err(BatchError::Incomplete { .. }) if !out.is_empty() => break,
            Err(e) => return Err(fail(e.to_string())),
        };
        batch.verify_crc().map_err(|e| fail(e.to_string()))?;
        let records = batch.records(&Limits::default()).map_err(|e| fail(e.to_string()))?;
        for record in records {
            let record = record.map_err(|e| fail(e.to_string()))?;
            let value = record.value.unwrap_or_default();
            let Some(tag) = Tag::of_value(&value, tp.partition) else {
                return Err(fail(format!("the record at {} is none that anybody wrote", record.offset.get())));
            };
            out.push((record.offset.get(), tag));
        }
    }
    Ok(out)
}
