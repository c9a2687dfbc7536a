//! The audit at the beginning of each life of the process: every topic, every record and every commit is looked at,
//! before anybody changes anything.

use std::rc::Rc;

use logrun_model::{Str, TopicPartition, Uuid};
use logrun_wire::ErrorCode;
use logrun_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use logrun_wire::messages::{ListOffsetsRequest, MetadataRequest};

use super::member::{fetch_commit, find_coordinator};
use super::{Link, Lost, admin, error, is_disk_trouble, is_not_ready, reader, scratch};
use crate::model::topics::Known;
use crate::model::{Audit, Violation};
use crate::phase::{Phase, data_topic};
use crate::plan::TopicPlan;

const TIMEOUT_MS: u64 = 10_000;
/// How long a node may take after its start until it has answered everything.
const READY_WITHIN_MS: i64 = 30_000;
const RETRY_MS: u64 = 200;
/// `ListOffsetsRequest.EARLIEST_TIMESTAMP` and `LATEST_TIMESTAMP`.
pub(super) const EARLIEST: i64 = -2;
const LATEST: i64 = -1;

/// Looks at everything. Lost if the process ends before.
pub async fn work(phase: Rc<Phase>, groups: &[Str]) -> Result<(), Lost> {
    let mut link = Link::new(&phase, "audit");
    let deadline = phase.now_ms() + READY_WITHIN_MS;
    until(&phase, deadline, "topics", async || topics(&mut link).await).await?;
    let passing: Vec<(Str, Uuid)> = {
        let model = phase.run.model.borrow();
        let exist = model.topics.all().filter_map(|(name, known)| match known {
            Known::Exists(id) if name.starts_with("scratch") => Some((name.clone(), id)),
            _ => None,
        });
        exist.collect()
    };
    for (name, id) in &passing {
        until(&phase, deadline, "a passing topic", async || scratch::read(&mut link, name, *id).await).await?;
    }
    let mut partitions = Vec::new();
    for (topic, plan) in phase.run.plan.topics.iter().enumerate() {
        until(&phase, deadline, "a data topic", async || make(&mut link, &data_topic(topic), *plan).await).await?;
        partitions.extend((0..plan.partitions).map(|p| TopicPartition::new(data_topic(topic), p)));
    }
    for tp in &partitions {
        until(&phase, deadline, "a log", async || log(&mut link, tp).await).await?;
    }
    for group in groups {
        until(&phase, deadline, "a coordinator", async || find_coordinator(&mut link, group).await).await?;
        for tp in &partitions {
            until(&phase, deadline, "commits", async || fetch_commit(&mut link, group, tp).await).await?;
        }
    }
    phase.note(format_args!("audit is done"));
    Ok(())
}

/// Tries `what` until it is done, the process is over, or it has taken too long.
async fn until(
    phase: &Phase,
    deadline: i64,
    what: &str,
    mut done: impl AsyncFnMut() -> Result<(), Lost>,
) -> Result<(), Lost> {
    loop {
        if phase.is_over() {
            return Err(Lost);
        }
        if done().await.is_ok() {
            return Ok(());
        }
        if phase.now_ms() > deadline {
            phase.fail(Violation::new(
                "available",
                format!("{what} could not be had within {READY_WITHIN_MS} ms of the start"),
            ));
            return Err(Lost);
        }
        phase.pause(RETRY_MS).await;
    }
}

/// Every topic is what it is known to be.
async fn topics(link: &mut Link) -> Result<(), Lost> {
    let phase = link.phase.clone();
    let version = 10 + phase.run.random.below(4) as i16;
    let request = MetadataRequest { topics: None, allow_auto_topic_creation: false, ..Default::default() };
    let response = link.call(version, &request, TIMEOUT_MS).await?;
    let led = |e: i16, leader: i32| e == 0 && leader >= 0;
    let all_led = response.topics.iter().all(|t| t.partitions.iter().all(|p| led(p.error_code, p.leader_id)));
    if response.brokers.is_empty() || !all_led {
        return Err(Lost);
    }
    phase.check(|m| {
        let known: Vec<Str> = m.topics.all().map(|(n, _)| n.clone()).collect();
        for name in &known {
            if !response.topics.iter().any(|t| t.name.as_ref() == Some(name)) {
                m.topics.seen_absent(name)?;
            }
        }
        for topic in response.topics.iter().filter(|t| !t.is_internal) {
            let name = topic.name.clone().unwrap_or_default();
            m.topics.seen(&name, topic.topic_id, topic.partitions.len() as i32)?;
        }
        Ok(())
    });
    Ok(())
}

/// The data topic is there, or is made.
async fn make(link: &mut Link, name: &Str, plan: TopicPlan) -> Result<(), Lost> {
    let known = link.phase.run.model.borrow().topics.get(name);
    match known {
        Known::Exists(_) => Ok(()),
        Known::Absent => {
            let phase = link.phase.clone();
            let durability = plan.durability.unwrap_or(phase.run.plan.durability);
            phase.run.model.borrow_mut().promises.made(name, durability);
            let configs = plan.durability.map_or(Vec::new(), |d| d.topic_configs().to_vec());
            admin::create(link, name, plan.partitions, &configs).await
        }
        // The answer was lost: is it there?
        Known::Unknown(_) => topics(link).await.and(Err(Lost)),
    }
}

/// The whole log of the partition.
async fn log(link: &mut Link, tp: &TopicPartition) -> Result<(), Lost> {
    let phase = link.phase.clone();
    let (log_start, log_end) = (list_offset(link, tp, EARLIEST).await?, list_offset(link, tp, LATEST).await?);
    let mut audit = Audit { log_start, high_watermark: log_end, log_end, records: Vec::new() };
    // A power cut may have taken the end of the log: what is expected is less from now on.
    let mut next = log_start;
    while next < log_end {
        let Some(records) = reader::fetch(link, tp, next, 0, 4_096).await? else {
            phase.fail(Violation::new("readable", format!("{}-{} at {next} is out of range", tp.topic, tp.partition)));
            return Err(Lost);
        };
        let records = records.into_iter().filter(|(offset, _)| *offset >= next);
        audit.records.extend(records);
        match audit.records.last() {
            Some((last, _)) if *last >= next => next = last + 1,
            // The node said why, or the model has.
            _ => return Err(Lost),
        }
    }
    phase.run.stats.borrow_mut().add("records audited", audit.records.len() as u64);
    phase.note(format_args!("{}-{} has {log_start} to {log_end}", tp.topic, tp.partition));
    phase.check(|m| m.audited(tp, &audit));
    Ok(())
}

pub(super) async fn list_offset(link: &mut Link, tp: &TopicPartition, timestamp: i64) -> Result<i64, Lost> {
    let phase = link.phase.clone();
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: tp.topic.clone(),
            partitions: vec![ListOffsetsPartition { partition_index: tp.partition, timestamp, ..Default::default() }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let version = [1, 2, 5, 7, 10][phase.run.random.below(5) as usize];
    let response = link.call(version, &request, TIMEOUT_MS).await?;
    let Some(p) = response.topics.first().and_then(|t| t.partitions.first()) else {
        phase.fail(Violation::new("answered", "a response to ListOffsets has no partition"));
        return Err(Lost);
    };
    match error(p.error_code) {
        ErrorCode::None => Ok(p.offset),
        e if is_not_ready(e) || is_disk_trouble(e) => Err(Lost),
        e => {
            phase.fail(Violation::new("errors", format!("ListOffsets of {}-{}: {e}", tp.topic, tp.partition)));
            Err(Lost)
        }
    }
}
