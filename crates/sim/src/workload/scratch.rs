//! Records in the topics that come and go, always by the topic's id: what is meant for one must not land in the next
//! of its name.

use logrun_model::{Str, TimestampMs, TopicPartition, Uuid};
use logrun_record::{BatchBuilder, Compression};
use logrun_wire::ErrorCode;
use logrun_wire::messages::DeleteRecordsRequest;
use logrun_wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use logrun_wire::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use logrun_wire::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};

use super::{Link, Lost, audit, error, is_disk_trouble, is_not_ready, reader};
use crate::model::Violation;

const TIMEOUT_MS: u64 = 10_000;
/// The first versions of Produce and Fetch with topic ids.
const VERSION: i16 = 13;

/// Writes a few records to the topic's first partition.
pub async fn write(link: &mut Link, name: &Str, id: Uuid) -> Result<(), Lost> {
    let phase = link.phase.clone();
    let tags = phase.run.model.borrow_mut().incarnations.next_tags(id, 1 + phase.run.random.below(3) as u32);
    let mut builder = BatchBuilder::new(Compression::NONE);
    let now = TimestampMs(phase.io.clock.wall().get());
    let built = tags.iter().try_for_each(|tag| builder.append(now, None, Some(&tag.value(0)), &[]));
    let batch = match built.and_then(|()| builder.build()) {
        Ok(batch) => batch,
        Err(e) => {
            phase.fail(Violation::new("simulator", e.to_string()));
            return Err(Lost);
        }
    };
    let partition = PartitionProduceData { index: 0, records: Some(batch.bytes.into()), ..Default::default() };
    let topic = TopicProduceData { topic_id: id, partition_data: vec![partition], ..Default::default() };
    let request = ProduceRequest { acks: -1, timeout_ms: 5_000, topic_data: vec![topic], ..Default::default() };
    let response = link.call(VERSION, &request, TIMEOUT_MS).await?;
    let Some(p) = response.responses.first().and_then(|t| t.partition_responses.first()) else {
        phase.fail(Violation::new("answered", "a produce response has no partition"));
        return Err(Lost);
    };
    match error(p.error_code) {
        ErrorCode::None => {
            phase.run.model.borrow_mut().incarnations.acked(id, p.base_offset, &tags);
            phase.run.stats.borrow_mut().add("batches to passing topics", 1);
            Ok(())
        }
        e if is_not_ready(e) || is_disk_trouble(e) => Err(Lost),
        e => {
            phase.fail(Violation::new("errors", format!("Produce to {name}: {e}")));
            Err(Lost)
        }
    }
}

/// Reads the topic's first partition from its beginning to its high watermark and tells the model.
pub async fn read(link: &mut Link, name: &Str, id: Uuid) -> Result<(), Lost> {
    let phase = link.phase.clone();
    let tp = TopicPartition::new(name.clone(), 0);
    let start = audit::list_offset(link, &tp, audit::EARLIEST).await?;
    let mut records = Vec::new();
    loop {
        let next = records.last().map_or(start, |(offset, _): &(i64, _)| offset + 1);
        let partition =
            FetchPartition { partition: 0, fetch_offset: next, partition_max_bytes: 1 << 20, ..Default::default() };
        let topic = FetchTopic { topic_id: id, partitions: vec![partition], ..Default::default() };
        let request = FetchRequest { max_wait_ms: 0, topics: vec![topic], ..Default::default() };
        let response = link.call(VERSION, &request, TIMEOUT_MS).await?;
        let Some(p) = response.responses.into_iter().next().and_then(|t| t.partitions.into_iter().next()) else {
            phase.fail(Violation::new("answered", "a fetch response has no partition"));
            return Err(Lost);
        };
        match error(p.error_code) {
            ErrorCode::None => {}
            e if is_not_ready(e) || is_disk_trouble(e) => return Err(Lost),
            e => {
                phase.fail(Violation::new("errors", format!("Fetch of {name} at {next}: {e}")));
                return Err(Lost);
            }
        }
        let high_watermark = p.high_watermark;
        let more = match reader::batches(&tp, p) {
            Ok(more) => more,
            Err(violation) => {
                phase.fail(violation);
                return Err(Lost);
            }
        };
        let before = records.len();
        records.extend(more.into_iter().filter(|(offset, _)| *offset >= next));
        if records.len() == before && next < high_watermark {
            phase.fail(Violation::new(
                "readable",
                format!("nothing was read of {name} at {next} below {high_watermark}"),
            ));
            return Err(Lost);
        }
        if records.last().map_or(start, |(offset, _)| offset + 1) >= high_watermark {
            break;
        }
    }
    phase.check(|m| m.incarnations.read(id, start, &records));
    Ok(())
}

/// Deletes some of the records of the topic's first partition. A later topic of the name must hear nothing of it.
pub async fn delete_records(link: &mut Link, name: &Str, id: Uuid) -> Result<(), Lost> {
    let phase = link.phase.clone();
    let offset = {
        let incarnations = &mut phase.run.model.borrow_mut().incarnations;
        let offset = phase.run.random.below(incarnations.end(id) as u64 + 1) as i64;
        incarnations.delete_asked(id, offset);
        offset
    };
    let request = DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: name.clone(),
            partitions: vec![DeleteRecordsPartition { partition_index: 0, offset, ..Default::default() }],
            ..Default::default()
        }],
        timeout_ms: 5_000,
        ..Default::default()
    };
    let response = link.call(phase.run.random.below(3) as i16, &request, TIMEOUT_MS).await?;
    let Some(p) = response.topics.first().and_then(|t| t.partitions.first()) else {
        phase.fail(Violation::new("answered", "a response to DeleteRecords has no partition"));
        return Err(Lost);
    };
    match error(p.error_code) {
        ErrorCode::None => Ok(()),
        e if is_not_ready(e) || is_disk_trouble(e) => Err(Lost),
        e => {
            phase.fail(Violation::new("errors", format!("DeleteRecords of {name} up to {offset}: {e}")));
            Err(Lost)
        }
    }
}
